/* tests/unit/test_interrupted_objects.c - owns the proof that signals change nothing (H59) for what are no channels:
 * locks, semaphores, queues, segments, maps, and what waits in shared memory.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "unit/interrupted_kit.h"

static struct {
    struct wherry_lock *lock;
    struct wherry_queue *queue;
    struct wherry_semaphore *semaphore;
    struct wherry_semaphore_set *set;
    struct wherry_signals *signals;
    char name[300];
    pid_t holder; /* a child that holds what is waited for */
} here;

static struct shared {
    struct wherry_mutex mutex;
    struct wherry_rwlock rwlock;
    struct wherry_condition condition;
    struct wherry_barrier barrier;
    struct wherry_event event;
    struct test_gate held;
} * shared;

/* ---- everything else: prepared by what a child holds, or by nobody coming ---- */

static enum wherry_lock_kind kind;

static struct wherry_lock *open_lock(void)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    char path[200];
    options.kind = kind;
    options.create = true;
    test_ok(wherry_lock_open(test_path(path, "lock"), &options, &lock));
    return lock;
}

static void hold_lock(void *argument)
{
    (void)argument;
    struct wherry_lock *lock = open_lock();
    test_ok(wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW));
    test_gate_open(&shared->held);
    for (;;)
        pause();
}

static void hold_mutex(void *argument)
{
    (void)argument;
    test_ok(wherry_mutex_lock(&shared->mutex, WHERRY_NOW));
    test_ok(wherry_rwlock_write(&shared->rwlock, WHERRY_NOW));
    test_gate_open(&shared->held);
    for (;;)
        pause();
}

static void let_hold(void (*hold)(void *))
{
    here.holder = test_fork(hold, NULL);
    test_gate_wait(&shared->held);
}

static int take_exclusive(wherry_time deadline)
{
    return wherry_lock_take(here.lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, deadline);
}

static int take_shared(wherry_time deadline)
{
    return wherry_lock_take(here.lock, WHERRY_LOCK_SHARED, 0, 0, deadline);
}

static void share(void)
{
    shared = test_shared(sizeof *shared);
    test_gate_init(&shared->held);
    test_ok(wherry_mutex_init(&shared->mutex));
    test_ok(wherry_rwlock_init(&shared->rwlock));
    test_ok(wherry_condition_init(&shared->condition));
    test_ok(wherry_barrier_init(&shared->barrier, 2));
    test_ok(wherry_event_init(&shared->event, 0));
}

TEST(h59_locks_on_files)
{
    static const enum wherry_lock_kind kinds[] = {WHERRY_LOCK_OFD, WHERRY_LOCK_POSIX, WHERRY_LOCK_FLOCK};
    char path[200];
    share();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        kind = kinds[i];
        let_hold(hold_lock);
        here.lock = open_lock();
        wait_in_vain("lock, exclusive", take_exclusive);
        wait_in_vain("lock, shared", take_shared);
        test_kill(here.holder);
        test_ok(wherry_lock_take(here.lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, test_deadline()));
        wherry_lock_close(here.lock);
    }
    ck_assert_int_eq(unlink(test_path(path, "lock")), 0);
    test_gate_fini(&shared->held);
}

static int lock_mutex(wherry_time deadline)
{
    return wherry_mutex_lock(&shared->mutex, deadline);
}

static int read_rwlock(wherry_time deadline)
{
    return wherry_rwlock_read(&shared->rwlock, deadline);
}

static int write_rwlock(wherry_time deadline)
{
    return wherry_rwlock_write(&shared->rwlock, deadline);
}

static int wait_condition(wherry_time deadline)
{
    /* wake-ups without a reason are allowed: as its users do, look again */
    int result;
    while ((result = wherry_condition_wait(&shared->condition, &shared->mutex, deadline)) == 0)
        ;
    return result;
}

static int wait_barrier(wherry_time deadline)
{
    return wherry_barrier_wait(&shared->barrier, deadline);
}

static int wait_event(wherry_time deadline)
{
    return wherry_event_wait(&shared->event, deadline);
}

TEST(h59_locks_and_events_in_shared_memory)
{
    test_needs(TEST_ROBUST_LIST);
    share();
    let_hold(hold_mutex);
    wait_in_vain("mutex", lock_mutex);
    wait_in_vain("rwlock, reading", read_rwlock);
    wait_in_vain("rwlock, writing", write_rwlock);
    test_kill(here.holder);
    test_is(lock_mutex(test_deadline()), -EOWNERDEAD);
    test_ok(wherry_mutex_consistent(&shared->mutex));
    wait_in_vain("condition", wait_condition);
    test_ok(wherry_mutex_unlock(&shared->mutex));
    wait_in_vain("barrier", wait_barrier);
    wait_in_vain("event", wait_event);
    test_gate_fini(&shared->held);
}

static int wait_semaphore(wherry_time deadline)
{
    return wherry_semaphore_wait(here.semaphore, deadline);
}

static int open_semaphore(wherry_time deadline)
{
    return wherry_semaphore_open(here.name, NULL, deadline, &here.semaphore);
}

TEST(h59_posix_semaphores)
{
    struct wherry_semaphore_options options = WHERRY_SEMAPHORE_OPTIONS;
    snprintf(here.name, sizeof here.name, "posix-sem:/%s", test_word());
    wait_in_vain("semaphore_open", open_semaphore);
    options.create = true;
    test_ok(wherry_semaphore_open(here.name, &options, WHERRY_NOW, &here.semaphore));
    wait_in_vain("semaphore_wait", wait_semaphore);
    wherry_semaphore_close(here.semaphore);
    test_ok(wherry_semaphore_remove(here.name));
}

static int open_set(wherry_time deadline)
{
    return wherry_semaphore_set_open(here.name, 1, NULL, deadline, &here.set);
}

static int operate_set(wherry_time deadline)
{
    struct wherry_semaphore_operation take = {.index = 0, .change = -1};
    return wherry_semaphore_set_operate(here.set, &take, 1, deadline);
}

TEST(h59_system_v_semaphores)
{
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    snprintf(here.name, sizeof here.name, "sysv-sem:0x%x", (unsigned)test_key(0));
    wait_in_vain("semaphore_set_open", open_set);
    options.create = true;
    test_ok(wherry_semaphore_set_open(here.name, 1, &options, WHERRY_NOW, &here.set));
    wait_in_vain("semaphore_set_operate", operate_set);
    wherry_semaphore_set_close(here.set);
    test_ok(wherry_semaphore_set_remove(here.name));
}

static int open_queue(wherry_time deadline)
{
    return wherry_queue_open(here.name, NULL, deadline, &here.queue);
}

static int queue_send(wherry_time deadline)
{
    static const char data[1000];
    return wherry_queue_send(here.queue, 0, data, sizeof data, deadline);
}

static int queue_send_letter(wherry_time deadline)
{
    static struct {
        struct wherry_queue_letter letter;
        char data[1000];
    } message;
    return wherry_queue_send_letter(here.queue, &message.letter, sizeof message.data, deadline);
}

static char room[70000];

static int queue_receive(wherry_time deadline)
{
    return wherry_queue_receive(here.queue, WHERRY_QUEUE_ANY, 0, room, sizeof room, NULL, deadline);
}

static int queue_receive_letter(wherry_time deadline)
{
    static struct {
        struct wherry_queue_letter letter;
        char data[70000];
    } message;
    size_t size;
    return wherry_queue_receive_letter(here.queue, WHERRY_QUEUE_ANY, 0, &message.letter, sizeof message.data, &size,
                                       deadline);
}

static const struct {
    const char *name;
    bool posix;
} queues[] = {{"posix", true}, {"sysv", false}};

TEST_TABLE(h59_message_queues, queues)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    int result = 0;
    if (queues[index].posix)
        snprintf(here.name, sizeof here.name, "posix-mq:/%s", test_word());
    else
        snprintf(here.name, sizeof here.name, "sysv-msg:0x%x", (unsigned)test_key(0));
    wait_in_vain("queue_open", open_queue);
    options.create = true;
    test_ok(wherry_queue_open(here.name, &options, WHERRY_NOW, &here.queue));
    wait_in_vain("queue_receive", queue_receive);
    wait_in_vain("queue_receive_letter", queue_receive_letter);
    for (int i = 0; i < 100000 && result == 0; i++)
        result = queue_send(WHERRY_NOW);
    test_is(result, -EAGAIN);
    wait_in_vain("queue_send", queue_send);
    wait_in_vain("queue_send_letter", queue_send_letter);
    wherry_queue_close(here.queue);
    test_ok(wherry_queue_remove(here.name));
}

static int open_segment(wherry_time deadline)
{
    struct wherry_segment *segment;
    return wherry_segment_open(here.name, NULL, deadline, &segment);
}

/* Newer kernels reserve pages to the end, whatever comes; older ones end it with EINTR, and give back what they had. */
static int interrupted;
static int interrupt_fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (interrupted++ % 3 == 2)
        return fallocate(fd, mode, offset, size);
    errno = EINTR;
    return -1;
}

TEST(h59_segments)
{
    struct wherry_segment *segment;
    snprintf(here.name, sizeof here.name, "posix-shm:/%s", test_word());
    wait_in_vain("segment_open, posix", open_segment);
    snprintf(here.name, sizeof here.name, "sysv-shm:0x%x", (unsigned)test_key(0));
    wait_in_vain("segment_open, sysv", open_segment);
    wherry__sys.fallocate = interrupt_fallocate;
    storm_begin();
    test_ok(wherry_segment_create(NULL, 64 << 20, NULL, &segment));
    memset(wherry_segment_data(segment), 1, 64 << 20);
    wherry_segment_close(segment);
    storm_end();
    ck_assert_int_ge(interrupted, 3);
}

TEST(h59_a_mapped_file_is_made_grown_and_synced)
{
    enum { SIZE = 32 << 20 };
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map;
    char path[200];
    options.create = true;
    options.write = true;
    options.file_size = SIZE / 2;
    storm_begin();
    test_ok(wherry_map_open(test_path(path, "map"), &options, &map));
    test_ok(wherry_map_resize(map, SIZE));
    for (int i = 0; i < 10; i++) {
        memset(wherry_map_data(map), i, SIZE);
        test_ok(wherry_map_sync(map, 0, 0));
        test_ok(wherry_map_write(map, 0, room, sizeof room));
        test_ok(wherry_map_read(map, SIZE - sizeof room, room, sizeof room));
        ck_assert_int_eq(room[sizeof room - 1], i);
    }
    storm_end();
    wherry_map_close(map);
    ck_assert_int_gt(ticks, 10);
    ck_assert_int_eq(unlink(path), 0);
}

static int receive_signal(wherry_time deadline)
{
    struct wherry_signal signal;
    return wherry_signals_receive(here.signals, &signal, deadline);
}

TEST(h59_signals)
{
    struct wherry_signals_options options = WHERRY_SIGNALS_OPTIONS;
    int number = SIGUSR1;
    for (int i = 0; i < 2; i++) {
        options.handler = i == 1;
        test_ok(wherry_signals_open(&number, 1, &options, &here.signals));
        wait_in_vain("signals_receive", receive_signal);
        wherry_signals_close(here.signals);
    }
}
