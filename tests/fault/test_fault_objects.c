/* tests/fault/test_fault_objects.c - owns the proof that any system call and any allocation may fail, once, anywhere
 * in the life of a segment or a semaphore.
 *
 * SPDX-License-Identifier: MIT
 *
 * A life: made, published, opened, used, looked at, closed, removed.  In each run one call fails, with one errno;
 * whatever fails says so and why, keeps its hands off its output, leaves no descriptor, and the next life succeeds
 * and leaves nothing. */
#include <ftw.h>
#include <pthread.h>

#include "base/why.h"
#include "fault/inject.h"
#include "unit/objects.h"

enum { LENGTH = 10000 };
static const int codes[] = {EINTR, EIO, ENOMEM, ENOSPC, EACCES, EMFILE, EEXIST, ENOENT, EINVAL, EAGAIN};

static const char *object;
static char problem[400];
static const char nothing[] = "nothing was said";

/* Whether a step of a life went well; one that did not has to say why, and to have failed by what was injected. */
static bool went(const char *what, long long result, bool output_kept)
{
    if (result >= 0)
        return true;
    bool said = strcmp(wherry_why(), nothing) != 0;
    if (!problem[0] && (!output_kept || !said || !inject_fired()))
        snprintf(problem, sizeof problem, "%s: %lld, %s%s%s", what, result, wherry_why(),
                 output_kept ? "" : "; its output was touched", inject_fired() ? "" : "; nothing was injected");
    return false;
}
#define STEP(call_) went(#call_, IN_LIBRARY(call_), true)
#define STEP_TO(output_, call_) went(#call_, IN_LIBRARY(call_), (output_) == NULL)

/* What is to be said by all that did not fail: `expected`. */
static bool said(const char *what, long long result, int expected)
{
    return result == expected || (result >= 0 && inject_fired()) ||
           went(what, result >= 0 ? -ENOTRECOVERABLE : result, true);
}
#define SAYS(expected_, call_) said(#call_, IN_LIBRARY(call_), expected_)

static wherry_time soon(void)
{
    return wherry_after(100 * WHERRY_MICROSECOND);
}

/* ---- lives: whether all of it went well ---- */

static bool use_segment(struct wherry_segment *segment, bool grows)
{
    struct wherry_segment_stat stat;
    char data[100] = "x";
    return STEP(wherry_segment_write(segment, 50, data, sizeof data)) &&
           STEP(wherry_segment_read(segment, 50, data, sizeof data)) &&
           STEP(wherry_segment_stat_open(segment, &stat, sizeof stat)) &&
           (!grows ||
            (STEP(wherry_segment_resize(segment, 3 * LENGTH)) && STEP(wherry_segment_resize(segment, LENGTH))));
}

static bool live_as_segment(void)
{
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment = NULL, *opened = NULL;
    struct wherry_segment_stat stat;
    options.write = true;
    bool posix = strncmp(object, "posix", 5) == 0;
    bool fine = STEP_TO(segment, wherry_segment_create(object, LENGTH, NULL, &segment)) &&
                use_segment(segment, posix) && STEP(wherry_segment_publish(segment)) &&
                STEP_TO(opened, wherry_segment_open(object, &options, WHERRY_NOW, &opened)) &&
                use_segment(opened, posix) && STEP(wherry_segment_stat(object, &stat, sizeof stat)) &&
                STEP(wherry_segment_remove(object));
    (void)IN_LIBRARY((wherry_segment_close(opened), wherry_segment_close(segment), 0));
    return fine;
}

static bool live_anonymously(void)
{
    struct wherry_segment *segment = NULL, *opened = NULL;
    bool fine = STEP_TO(segment, wherry_segment_create(NULL, LENGTH, NULL, &segment)) && use_segment(segment, true) &&
                STEP(wherry_segment_publish(segment)) &&
                STEP_TO(opened, wherry_segment_open_fd(wherry_segment_fd(segment), NULL, &opened));
    (void)IN_LIBRARY((wherry_segment_close(opened), wherry_segment_close(segment), 0));
    return fine;
}

static bool live_as_semaphore(void)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *made = NULL, *opened = NULL;
    options.create = true;
    bool fine = STEP_TO(made, wherry_semaphore_open(object, &options, WHERRY_NOW, &made)) &&
                STEP_TO(opened, wherry_semaphore_open(object, NULL, WHERRY_NOW, &opened)) &&
                STEP(wherry_semaphore_post(made)) && STEP(wherry_semaphore_wait(opened, WHERRY_NOW)) &&
                STEP(wherry_semaphore_remove(object));
    (void)IN_LIBRARY((wherry_semaphore_close(opened), wherry_semaphore_close(made), 0));
    return fine;
}

static bool live_as_set(void)
{
    static const uint16_t values[2] = {1, 2};
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *made = NULL, *opened = NULL;
    struct wherry_semaphore_operation take = {.index = 1, .change = -2}, too_many = {.index = 0, .change = -9};
    struct wherry_semaphore_stat stat;
    uint16_t found[2];
    options.create = true;
    options.values = values;
    bool fine =
        STEP_TO(made, wherry_semaphore_set_open(object, 2, &options, WHERRY_NOW, &made)) &&
        STEP_TO(opened, wherry_semaphore_set_open(object, 2, NULL, WHERRY_NOW, &opened)) &&
        STEP(wherry_semaphore_set_operate(opened, &take, 1, test_deadline())) &&
        SAYS(-ETIMEDOUT, wherry_semaphore_set_operate(opened, &too_many, 1, soon())) &&
        STEP(wherry_semaphore_set_values(made, found, 2)) && STEP(wherry_semaphore_set_assign(made, values, 2)) &&
        STEP(wherry_semaphore_set_stat_one(made, 1, &stat, sizeof stat)) && STEP(wherry_semaphore_set_remove(object));
    (void)IN_LIBRARY((wherry_semaphore_set_close(opened), wherry_semaphore_set_close(made), 0));
    return fine;
}

struct shared {
    struct wherry_mutex mutex;
    struct wherry_rwlock lock;
    struct wherry_condition condition;
    struct wherry_event event;
    struct wherry_barrier barrier;
};

static bool use_memory(struct shared *shared)
{
    return STEP(wherry_mutex_init(&shared->mutex)) && STEP(wherry_rwlock_init(&shared->lock)) &&
           STEP(wherry_condition_init(&shared->condition)) && STEP(wherry_event_init(&shared->event, 0)) &&
           STEP(wherry_barrier_init(&shared->barrier, 2)) && STEP(wherry_mutex_lock(&shared->mutex, WHERRY_NOW)) &&
           SAYS(-ETIMEDOUT, wherry_condition_wait(&shared->condition, &shared->mutex, soon())) &&
           SAYS(-EBUSY, wherry_mutex_may_unmap(shared, sizeof *shared)) &&
           STEP(wherry_condition_broadcast(&shared->condition)) && STEP(wherry_mutex_unlock(&shared->mutex)) &&
           STEP(wherry_mutex_may_unmap(shared, sizeof *shared)) &&
           SAYS(-ETIMEDOUT, wherry_event_wait(&shared->event, soon())) && STEP(wherry_event_set(&shared->event)) &&
           STEP(wherry_event_wait(&shared->event, WHERRY_NOW)) &&
           SAYS(-ETIMEDOUT, wherry_barrier_wait(&shared->barrier, soon())) &&
           STEP(wherry_rwlock_write(&shared->lock, WHERRY_NOW)) && STEP(wherry_rwlock_unlock(&shared->lock)) &&
           STEP(wherry_rwlock_fini(&shared->lock)) && STEP(wherry_mutex_fini(&shared->mutex));
}

static void *park(void *gate)
{
    pthread_mutex_lock(gate); /* a thread whose robust list is to be looked at */
    pthread_mutex_unlock(gate);
    return NULL;
}

static bool live_in_memory(void)
{
    static struct shared memory;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_t thread;
    pthread_mutex_lock(&gate);
    ck_assert_int_eq(pthread_create(&thread, NULL, park, &gate), 0);
    bool fine = use_memory(&memory);
    pthread_mutex_unlock(&gate);
    pthread_join(thread, NULL);
    (void)IN_LIBRARY((wherry_barrier_fini(&memory.barrier), wherry_event_fini(&memory.event),
                      wherry_condition_fini(&memory.condition), wherry_mutex_unlock(&memory.mutex), 0));
    return fine;
}

static void remove_object(void)
{
    if (!object)
        return;
    if (strstr(object, "shm"))
        wherry_segment_remove(object);
    else if (strstr(object, "posix"))
        wherry_semaphore_remove(object);
    else
        wherry_semaphore_set_remove(object);
}

static const char *of_file(const char *type)
{
    static char name[400];
    char path[300];
    close(open(test_path(path, "key"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    snprintf(name, sizeof name, "%s:%s?id=F", type, path);
    return name;
}

static const struct {
    const char *name;
    const char *type; /* NULL: nameless */
    bool by_file;
    bool (*live)(void);
} lives[] = {
    {"posix-shm", "posix-shm", false, live_as_segment}, {"sysv-shm", "sysv-shm", true, live_as_segment},
    {"anonymous", NULL, false, live_anonymously},       {"posix-sem", "posix-sem", false, live_as_semaphore},
    {"sysv-sem", "sysv-sem", true, live_as_set},        {"memory", NULL, false, live_in_memory},
};

/* Of a /dev/shm of one's own. */
static int forget(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    if (place->level > 0)
        ck_assert_int_eq(type == FTW_DP ? rmdir(path) : unlink(path), 0);
    return 0;
}

/* What nobody can do anything about when it fails, and what does not fail. */
static bool is_left_out(enum inject_call call)
{
    return call == INJECT_munmap || (call == INJECT_fchmodat && !test_is_root()) || call == INJECT_shmdt;
}

TEST_WITH(each_call_fails_once, .table = lives, .stride = sizeof *lives, .length = sizeof lives / sizeof *lives,
          .seconds = 300)
{
    size_t runs = 0, failures = 0;
    bool failed[INJECT_CALLS] = {false};
    const char *type = lives[index].type;
    object = !type ? NULL : lives[index].by_file ? of_file(type) : posix_name(type);
    if (lives[index].by_file && test_is_root())
        private_shm("size=16m"); /* where wherry's own directory is made anew, each time */
    inject_init();
    ck_assert_msg(lives[index].live(), "%s", problem);
    size_t descriptors = test_descriptors();
    for (size_t call = 0; call < INJECT_CALLS; call++)
        for (size_t c = 0; c < sizeof codes / sizeof *codes && !is_left_out((enum inject_call)call); c++)
            for (unsigned nth = 1;; nth++) {
                inject_arm((enum inject_call)call, nth, codes[c]);
                wherry__fail_quietly(EPERM, nothing);
                if (lives[index].by_file && test_is_root())
                    nftw("/dev/shm", forget, 8, FTW_DEPTH | FTW_PHYS);
                bool fine = lives[index].live(), fired = inject_fired();
                inject_arm(INJECT_read, 0, 0);
                ck_assert_msg(!problem[0], "call %u of %s fails with %s: %s", nth, inject_name(call),
                              strerrorname_np(codes[c]), problem);
                ck_assert_msg(test_descriptors() == descriptors, "call %u of %s fails with %s: descriptors are left",
                              nth, inject_name(call), strerrorname_np(codes[c]));
                if (!fine)
                    remove_object();
                failures += !fine;
                failed[call] |= fired;
                runs++;
                if (!fired)
                    break;
            }
    for (size_t call = 0; call < INJECT_CALLS; call++)
        ck_assert_msg(failed[call] || !inject_called(call) || is_left_out((enum inject_call)call),
                      "%s is called, and was never made to fail", inject_name(call));
    ck_assert_msg(lives[index].live(), "the next life fails: %s", wherry_why());
    if (object && lives[index].by_file) {
        char path[300];
        unlink(test_path(path, "key"));
    }
    printf("# %s: %zu runs, %zu of them failed, and said why\n", lives[index].name, runs, failures);
    fflush(stdout);
}
