/* tests/fault/test_fault_inspect.c - owns the proof that any system call and any allocation may fail, once, anywhere
 * while a snapshot is taken.
 *
 * SPDX-License-Identifier: MIT
 *
 * It fails and says why, and leaves its output, descriptors and memory alone; or it has all that it has without the
 * fault; or it counts something as hidden.  What is held is never called an orphan.  In a PID namespace of two
 * processes, so that a snapshot is short and nobody else comes and goes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/inspect.h>

#include "base/why.h"
#include "fault/inject.h"
#include "harness.h"
#include "unit/inspect_kit.h"

static const int codes[] = {EIO, ENOMEM, EACCES, EMFILE, ENOENT};

/* ---- the scene ---- */

/* The other process has some of it alone. */
static void have_more(void *argument)
{
    struct test_gate *gate = argument;
    int ends[2], fd = eventfd(0, EFD_CLOEXEC), epoll = epoll_create1(EPOLL_CLOEXEC);
    int memory = memfd_create("other", MFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    ck_assert_int_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(ftruncate(memory, 4096), 0);
    ck_assert_ptr_ne(mmap(NULL, 4096, PROT_READ, MAP_SHARED, memory, 0), MAP_FAILED);
    test_gate_open(gate);
    pause();
}

static void have_something(char path[200])
{
    static char file[200];
    int fd = open(test_path(file, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600), ends[2];
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
    strcpy(path, file);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &range), 0);
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    ck_assert_ptr_ne(mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
    ck_assert_ptr_ne(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), MAP_FAILED);
}

/* ---- what a snapshot has ---- */

enum { MOST = 400, TEXT = 160 };

struct holds {
    size_t count;
    char text[MOST][TEXT];
};

/* Without descriptors that are the test's own for a moment. */
static void note_holds(struct holds *holds, const struct wherry_inspect *snapshot)
{
    const struct wherry_inspect_object *object;
    const struct wherry_inspect_hold *hold;
    holds->count = 0;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        for (size_t j = 0; (hold = wherry_inspect_hold_of(object, j)); j++) {
            ck_assert_uint_lt(holds->count, MOST);
            snprintf(holds->text[holds->count++], TEXT, "%s %.80s: %d %d %d %llu",
                     wherry_inspect_kind_name(object->kind), object->name, (int)hold->process->pid, (int)hold->how,
                     hold->fd, (unsigned long long)hold->start);
        }
}

static const char *missing(const struct holds *all, const struct holds *some)
{
    for (size_t i = 0; i < all->count; i++) {
        size_t j = 0;
        while (j < some->count && strcmp(all->text[i], some->text[j]) != 0)
            j++;
        if (j == some->count)
            return all->text[i];
    }
    return NULL;
}

static const char *orphan(const struct wherry_inspect *snapshot)
{
    const struct wherry_inspect_object *object;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        if (object->state == WHERRY_INSPECT_ORPHAN)
            return object->name;
    return NULL;
}

/* ---- one fault ---- */

static struct holds whole, now;
static size_t runs, failures, counted;

static bool run(size_t call, unsigned nth, int code, size_t descriptors)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot = (void *)&options;
    options.flags = WHERRY_INSPECT_ARGUMENTS | WHERRY_INSPECT_WAITERS;
    inject_arm((enum inject_call)call, nth, code);
    long long result = IN_LIBRARY(wherry_inspect_take(&options, &snapshot));
    bool fired = inject_fired();
    inject_arm(INJECT_read, 0, 0);
    const char *what = "";
    char problem[300] = "";
    if (result < 0) {
        failures++;
        if (!wherry_why()[0] || snapshot != (void *)&options)
            snprintf(problem, sizeof problem, "it gave %lld and %s", result,
                     wherry_why()[0] ? "touched its output" : "said nothing");
    } else {
        note_holds(&now, snapshot);
        bool hidden = wherry_inspect_hidden(snapshot, 0);
        counted += hidden;
        what = missing(&whole, &now);
        if (what && !hidden && code != ENOENT) /* ENOENT: it is gone, as far as the kernel says */
            snprintf(problem, sizeof problem, "%s is missing, and nothing counted", what);
        else if ((what = orphan(snapshot)))
            snprintf(problem, sizeof problem, "%s is said to be an orphan", what);
        wherry_inspect_free(snapshot);
    }
    ck_assert_msg(!problem[0], "call %u of %s fails with %s: %s", nth, inject_name(call), strerrorname_np(code),
                  problem);
    ck_assert_msg(test_descriptors() == descriptors, "call %u of %s fails with %s: descriptors are left", nth,
                  inject_name(call), strerrorname_np(code));
    runs += fired;
    return fired;
}

static void run_all(void)
{
    struct wherry_inspect *snapshot;
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    size_t descriptors = test_descriptors();
    options.flags = WHERRY_INSPECT_ARGUMENTS | WHERRY_INSPECT_WAITERS;
    test_ok(wherry_inspect_take(&options, &snapshot));
    ck_assert_ptr_eq(wherry_inspect_hidden(snapshot, 0), NULL);
    note_holds(&whole, snapshot);
    ck_assert_uint_gt(whole.count, 12);
    wherry_inspect_free(snapshot);
    inject_init();
    for (size_t call = 0; call < INJECT_CALLS; call++)
        for (size_t c = 0; c < sizeof codes / sizeof *codes; c++)
            for (unsigned nth = 1; run(call, nth, codes[c], descriptors);)
                nth += nth < 24 ? 1 : 1 + nth / 8; /* the same call for one descriptor after the other */
}

static void be_alone(void *argument)
{
    struct test_gate *gate = argument;
    char path[200];
    ck_assert_int_eq(mount("proc", "/proc", "proc", 0, NULL), 0);
    ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL), 0);
    pid_t other = test_fork(have_more, gate);
    test_gate_wait(gate);
    have_something(path);
    run_all();
    test_kill(other);
    printf("# %zu runs, %zu of them failed, and said why; %zu counted something as hidden\n", runs, failures, counted);
    fflush(stdout);
    ck_assert_uint_gt(failures, 10);
    ck_assert_uint_gt(counted, 10);
    unlink(path);
}

static void be_first(void *argument)
{
    first_of_its_own(be_alone, argument, CLONE_NEWNET, 200);
}

TEST_WITH(each_call_fails_once, .seconds = 240)
{
    struct test_gate gate;
    if (!test_is_root())
        test_skip("needs root, for a PID namespace");
    test_gate_init(&gate);
    test_join_by(test_fork(be_first, &gate), wherry_after(220 * WHERRY_SECOND * (wherry_time)test_slowness()));
    test_gate_fini(&gate);
}
