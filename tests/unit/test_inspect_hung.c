/* tests/unit/test_inspect_hung.c - a snapshot asks nothing of a file system that does not answer, and yet names its
 * files.
 *
 * SPDX-License-Identifier: MIT
 *
 * The file system is this program's own, through /dev/fuse, in a mount namespace of its own; fuse(4). */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/inspect.h>
#include <wherry/wherry.h>

#include "harness.h"
#include "inspect_kit.h"

enum { ROOT = 1, NAME = 2, SIZE = 65536, PAGE = 4096 };

/* Answers what is needed until somebody has a file open, mapped, and is in the directory; then never again. */
struct hung {
    char directory[200], file[260], link[260], outside[200];
    struct test_gate ready, looked, end;
    atomic_bool silent;
    atomic_uint asked; /* since it is silent */
    pid_t by[64];      /* whom; others of this host may look at it, too */
    pid_t looked_by[8];
    unsigned looks;
    pid_t user;
};

static void answer(int fd, uint64_t unique, const void *data, size_t size)
{
    struct fuse_out_header header = {.len = (uint32_t)(sizeof header + size), .unique = unique};
    struct iovec parts[] = {{&header, sizeof header}, {(void *)(uintptr_t)data, size}};
    ck_assert_int_eq(writev(fd, parts, 2), (ssize_t)header.len);
}

static struct fuse_attr attributes(uint64_t node)
{
    return (struct fuse_attr){.ino = node,
                              .size = node == ROOT ? 0 : SIZE,
                              .mode = node == ROOT ? S_IFDIR | 0755 : S_IFREG | 0644,
                              .nlink = 1,
                              .blksize = 4096};
}

static void serve_one(int fd, const struct fuse_in_header *in, const void *body)
{
    switch (in->opcode) {
    case FUSE_INIT: {
        const struct fuse_init_in *asked = body;
        struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION, .minor = asked->minor, .max_write = PAGE};
        answer(fd, in->unique, &out, sizeof out);
        break;
    }
    case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = NAME, .attr = attributes(NAME)}; /* valid for no time at all */
        answer(fd, in->unique, &out, sizeof out);
        break;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attributes(in->nodeid)};
        answer(fd, in->unique, &out, sizeof out);
        break;
    }
    case FUSE_OPEN:
    case FUSE_OPENDIR: {
        struct fuse_open_out out = {.fh = 1};
        answer(fd, in->unique, &out, sizeof out);
        break;
    }
    case FUSE_READ: {
        static const char zeros[SIZE];
        const struct fuse_read_in *asked = body;
        answer(fd, in->unique, zeros, asked->size < SIZE ? asked->size : SIZE);
        break;
    }
    default: {
        struct fuse_out_header header = {.len = sizeof header, .error = -ENOSYS, .unique = in->unique};
        if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && in->opcode != FUSE_INTERRUPT)
            ck_assert_int_eq(write(fd, &header, sizeof header), sizeof header);
    }
    }
}

static void serve(struct hung *hung, int fd)
{
    _Alignas(8) static char buffer[131072];
    for (;;) {
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got < 0 && errno != EINTR && errno != EAGAIN)
            return; /* unmounted */
        if (got <= 0)
            continue;
        const struct fuse_in_header *in = (const void *)buffer;
        if (!atomic_load(&hung->silent))
            serve_one(fd, in, buffer + sizeof *in);
        else if (in->opcode != FUSE_FORGET && in->opcode != FUSE_BATCH_FORGET && in->opcode != FUSE_INTERRUPT)
            hung->by[atomic_fetch_add(&hung->asked, 1) % 64] = (pid_t)in->pid;
    }
}

static pid_t mount_it(struct hung *hung)
{
    char options[100];
    ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
    ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "/dev/fuse: %s", strerror(errno));
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    ck_assert_msg(mount("wherry-test", hung->directory, "fuse", MS_NOSUID | MS_NODEV, options) == 0, "mount: %s",
                  strerror(errno));
    pid_t server = fork();
    if (server == 0) {
        serve(hung, fd);
        _exit(0);
    }
    close(fd); /* the server's alone: with it the connection ends */
    return server;
}

static void use_it(struct hung *hung)
{
    int fd = open(hung->file, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "%s: %s", hung->file, strerror(errno));
    const volatile char *memory = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne((const void *)memory, MAP_FAILED);
    ck_assert_int_eq(memory[0], 0);
    ck_assert_int_eq(flock(fd, LOCK_SH), 0);
    ck_assert_int_eq(chdir(hung->directory), 0);
    test_gate_open(&hung->ready);
    pause();
}

/* Both are stuck in it: one in a call, one at a page that never comes. */
static void get_stuck(const struct hung *hung, bool by_a_page)
{
    struct stat status;
    int fd = open(hung->file, O_RDONLY | O_CLOEXEC);
    const volatile char *memory = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
    while (!atomic_load(&hung->silent))
        sched_yield();
    if (by_a_page)
        (void)memory[SIZE - 1];
    else
        stat(hung->file, &status);
    _exit(0);
}

static void check_user(const struct wherry_inspect *snapshot, const struct hung *hung)
{
    const struct wherry_inspect_object *object;
    const struct wherry_inspect_hold *hold;
    bool opened = false, mapped = false, locked = false;
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++)
        for (size_t j = 0; strcmp(object->name, hung->file) == 0 && (hold = wherry_inspect_hold_of(object, j)); j++)
            if (hold->process->pid == hung->user) {
                opened |= hold->how == WHERRY_INSPECT_OPEN;
                mapped |= hold->how == WHERRY_INSPECT_MAPPED;
                locked |= hold->how == WHERRY_INSPECT_LOCKED;
            }
    ck_assert_msg(opened, "who has it open is not seen");
    ck_assert_msg(mapped, "who has it mapped is not seen");
    ck_assert_msg(locked, "who has it locked is not seen");
}

static void look_by_name(struct hung *hung, const char *name)
{
    struct wherry_inspect *snapshot = take_with(name);
    const struct wherry_inspect_object *object = wherry_inspect_find(snapshot, name, 0);
    ck_assert_msg(object != NULL, "%s is not found", name);
    ck_assert_str_eq(object->name, hung->file);
    check_user(snapshot, hung);
    wherry_inspect_free(snapshot);
}

static void run_verb(struct hung *hung, const char *verb, const char *operand)
{
    int status;
    pid_t child = fork();
    if (child > 0)
        hung->looked_by[hung->looks++] = child;
    if (child == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        dup2(null, 1);
        execl(test_program("wherry"), "wherry", verb, "-q", operand, NULL);
        _exit(126);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 4),
                  "wherry %s %s: status %x", verb, operand ? operand : "", (unsigned)status);
}

static void look_from_inside(void *argument)
{
    struct hung *hung = argument;
    char relative[100];
    hung->looked_by[hung->looks++] = getpid();
    struct wherry_inspect *snapshot = take_with(NULL);
    check_user(snapshot, hung);
    ck_assert(wherry_inspect_find(snapshot, hung->link, 0) != NULL);
    ck_assert(wherry_inspect_find(snapshot, "/proc/self/status", 0) == NULL);
    wherry_inspect_free(snapshot);
    look_by_name(hung, hung->file);
    look_by_name(hung, hung->link);
    ck_assert_int_eq(chdir(hung->outside), 0);
    snprintf(relative, sizeof relative, ".%s/hung//./file", strrchr(hung->outside, '/'));
    look_by_name(hung, "link");
    look_by_name(hung, "./hung//./file");
    ck_assert_int_eq(chdir(".."), 0);
    look_by_name(hung, relative);
    struct wherry_inspect_options options = {.size = sizeof options, .file = "missing"};
    test_is(wherry_inspect_take(&options, &snapshot), -ENOENT);
    if (getenv("WHERRY_PROGRAM_wherry")) {
        run_verb(hung, "ls", NULL);
        run_verb(hung, "who", hung->file);
        run_verb(hung, "locks", hung->file);
        run_verb(hung, "locks", hung->link);
    }
}

static void be_hung(void *argument)
{
    struct hung *hung = argument;
    pid_t server = mount_it(hung), stuck[2];
    pid_t user = fork();
    if (user == 0)
        use_it(hung);
    hung->user = user;
    test_gate_wait(&hung->ready);
    for (int i = 0; i < 2; i++)
        if ((stuck[i] = fork()) == 0)
            get_stuck(hung, i);
    wherry_time deadline = test_deadline();
    for (int i = 0; i < 2; i++) { /* once they have it mapped, nothing is answered any more */
        char maps[32], text[16384];
        size_t got = 0;
        do {
            ck_assert_int_lt(wherry_now(), deadline);
            snprintf(maps, sizeof maps, "/proc/%d/maps", (int)stuck[i]);
            FILE *file = fopen(maps, "re");
            got = file ? fread(text, 1, sizeof text - 1, file) : 0;
            text[got] = 0;
            if (file)
                fclose(file);
        } while (!strstr(text, hung->file));
    }
    char byte; /* a read makes the known access time old: from now on even a look at what is cached would ask */
    int own = open(hung->file, O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(pread(own, &byte, 1, 8 * PAGE), 1);
    close(own);
    atomic_store(&hung->silent, true);
    while (atomic_load(&hung->asked) < 2)
        ck_assert_int_lt(wherry_now(), deadline);
    pid_t looker = test_fork(look_from_inside, hung);
    test_join_by(looker, wherry_after(20 * WHERRY_SECOND * (wherry_time)test_slowness()));
    test_gate_open(&hung->looked);
    test_gate_wait(&hung->end);
    unsigned asked = atomic_load(&hung->asked);
    kill(hung->user, SIGKILL);
    for (int i = 0; i < 2; i++)
        kill(stuck[i], SIGKILL);
    kill(server, SIGKILL); /* with it the connection ends, and whoever is stuck in it can die */
    while (wait(NULL) > 0)
        continue;
    for (unsigned i = 0; i < asked && i < 64; i++)
        for (unsigned j = 0; j < hung->looks; j++)
            ck_assert_msg(hung->by[i] != hung->looked_by[j], "look %u asked it", j);
}

TEST_WITH(a_file_system_that_does_not_answer_is_not_asked, .seconds = 60)
{
    if (!test_is_root() || access("/dev/fuse", R_OK | W_OK) != 0)
        test_skip("needs root and /dev/fuse, to make a file system");
    struct hung *hung = test_shared(sizeof *hung);
    test_gate_init(&hung->ready);
    test_gate_init(&hung->looked);
    test_gate_init(&hung->end);
    snprintf(hung->outside, sizeof hung->outside, "%s", test_dir());
    test_path(hung->directory, "hung");
    snprintf(hung->file, sizeof hung->file, "%s/file", hung->directory);
    test_path(hung->link, "link");
    ck_assert_int_eq(mkdir(hung->directory, 0700), 0);
    ck_assert_int_eq(symlink("hung/file", hung->link), 0);
    pid_t scene = test_fork(be_hung, hung);
    struct pollfd looked = {hung->looked.fd, POLLIN, 0};
    poll(&looked, 1, 25000 * (int)test_slowness());
    hung->looked_by[hung->looks++] = getpid();
    struct wherry_inspect *snapshot = take_with(NULL); /* here it is not mounted, and yet it is seen */
    check_user(snapshot, hung);
    wherry_inspect_free(snapshot);
    test_gate_open(&hung->end);
    test_join(scene);
    test_gate_fini(&hung->ready);
    test_gate_fini(&hung->looked);
    test_gate_fini(&hung->end);
    unlink(hung->link);
    rmdir(hung->directory);
}
