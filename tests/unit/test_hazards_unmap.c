/* tests/unit/test_hazards_unmap.c - owns the tests of H28: memory in which a thread holds a robust mutex is not
 * unmapped, moved or cut by segments and maps.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sys/mman.h>

#include "unit/segment_kit.h"

enum site { POSIX, SYSV, ANONYMOUS, MAP, SITES };
static const struct {
    const char *name;
} sites[SITES] = {{"posix"}, {"sysv"}, {"anonymous"}, {"map"}};
#define SITES_TABLE .table = sites, .stride = sizeof *sites, .length = SITES

/* What is mapped, of any kind. */
struct memory {
    struct wherry_segment *segment;
    struct wherry_map *map;
    struct wherry_mutex *mutex; /* in its second page, if there is one */
    char *data;
};

static struct memory make(size_t site)
{
    struct memory memory = {0};
    if (site == MAP) {
        char path[200];
        struct wherry_map_options options = WHERRY_MAP_OPTIONS;
        options.write = options.create = true;
        options.file_size = LENGTH;
        test_ok(wherry_map_open(test_path(path, "map"), &options, &memory.map));
        memory.data = wherry_map_data(memory.map);
    } else {
        memory.segment = create(site == POSIX ? posix() : site == SYSV ? sysv() : NULL);
        memory.data = wherry_segment_data(memory.segment);
    }
    memory.mutex = (struct wherry_mutex *)(memory.data + 4096);
    test_ok(wherry_mutex_init(memory.mutex));
    return memory;
}

static void close_memory(struct memory *memory)
{
    wherry_segment_close(memory->segment);
    wherry_map_close(memory->map);
    if (memory->map) {
        char path[200];
        unlink(test_path(path, "map"));
    }
}

static int resize(struct memory *memory, size_t size)
{
    return memory->map ? wherry_map_resize(memory->map, size) : wherry_segment_resize(memory->segment, size);
}

static bool is_mapped(const void *at)
{
    unsigned char there;
    return mincore((void *)((uintptr_t)at & ~(uintptr_t)4095), 1, &there) == 0;
}

/* ---- closing ---- */

/* Takes the mutex through a mapping of its own, closes that, and dies with the lock. */
static void die_with_it(void *argument)
{
    const struct memory *inherited = argument; /* the parent's */
    struct memory own = {0};
    char path[200];
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    options.write = true;
    if (inherited->map) {
        test_ok(wherry_map_open(test_path(path, "map"), &options, &own.map));
        own.data = wherry_map_data(own.map);
    } else {
        own.segment = open_for(posix(), true);
        own.data = wherry_segment_data(own.segment);
    }
    own.mutex = (struct wherry_mutex *)(own.data + 4096);
    test_is(wherry_mutex_lock(own.mutex, WHERRY_NOW), 0);
    close_memory(&own);
    says("stays mapped");
    _exit(0);
}

static void death_is_told(struct memory *memory)
{
    test_join(test_fork(die_with_it, memory));
    test_is(wherry_mutex_lock(memory->mutex, WHERRY_NOW), -EOWNERDEAD);
    test_ok(wherry_mutex_consistent(memory->mutex));
    test_ok(wherry_mutex_unlock(memory->mutex));
}

TEST(h28_who_dies_behind_its_close_is_known_to_be_dead)
{
    test_needs(TEST_ROBUST_LIST);
    struct memory memory = make(POSIX), map = make(MAP);
    test_ok(wherry_segment_publish(memory.segment));
    death_is_told(&memory);
    death_is_told(&map);
    test_ok(wherry_segment_remove(posix()));
    close_memory(&memory);
    close_memory(&map);
}

static void close_held(void *argument)
{
    struct memory memory = make(*(size_t *)argument);
    test_is(wherry_mutex_lock(memory.mutex, WHERRY_NOW), 0);
    close_memory(&memory);
    says("unlock before you close");
    ck_assert(is_mapped(memory.data));
    ck_assert(is_mapped(memory.mutex));
    test_ok(wherry_mutex_unlock(memory.mutex)); /* still a mutex */
    _exit(0);
}

TEST_WITH(h28_what_is_held_stays_mapped, SITES_TABLE)
{
    test_needs(TEST_ROBUST_LIST);
    test_join(test_fork(close_held, &index));
    struct memory memory = make(index);
    test_is(wherry_mutex_lock(memory.mutex, WHERRY_NOW), 0);
    test_ok(wherry_mutex_unlock(memory.mutex));
    close_memory(&memory);
    ck_assert(!is_mapped(memory.data));
}

static struct test_gate ready, go;

static void *hold_in_thread(void *argument)
{
    struct wherry_mutex *mutex = argument;
    test_is(wherry_mutex_lock(mutex, WHERRY_NOW), 0);
    test_gate_open(&ready);
    test_gate_wait(&go);
    test_ok(wherry_mutex_unlock(mutex)); /* in memory that was closed */
    return NULL;
}

static void close_under_a_thread(void *argument)
{
    struct memory memory = make(*(size_t *)argument);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, hold_in_thread, memory.mutex), 0);
    test_gate_wait(&ready);
    close_memory(&memory);
    says("a thread of it");
    ck_assert(is_mapped(memory.mutex));
    test_gate_open(&go);
    pthread_join(thread, NULL);
    _exit(0);
}

TEST_WITH(h28_what_another_thread_holds_stays_mapped, SITES_TABLE)
{
    test_needs(TEST_ROBUST_LIST);
    test_gate_init(&ready);
    test_gate_init(&go);
    test_join(test_fork(close_under_a_thread, &index));
    test_gate_fini(&ready);
    test_gate_fini(&go);
}

/* ---- another size ---- */

TEST_WITH(h28_what_is_held_does_not_change_its_size, SITES_TABLE)
{
    test_needs(TEST_ROBUST_LIST);
    struct memory memory = make(index);
    if (index == SYSV) { /* one size for ever */
        test_is(resize(&memory, 2 * LENGTH), -EOPNOTSUPP);
        close_memory(&memory);
        return;
    }
    test_is(wherry_mutex_lock(memory.mutex, WHERRY_NOW), 0);
    test_is(resize(&memory, 100 * LENGTH), -EBUSY);
    says("holds a mutex");
    test_is(resize(&memory, 100), -EBUSY);
    struct stat status;
    char path[200];
    if (memory.map) {
        ck_assert_int_eq(stat(test_path(path, "map"), &status), 0);
        ck_assert_uint_eq(wherry_map_size(memory.map), LENGTH);
    } else {
        ck_assert_int_eq(fstat(wherry_segment_fd(memory.segment), &status), 0);
        ck_assert_uint_eq(wherry_segment_size(memory.segment), LENGTH);
    }
    ck_assert_int_eq(status.st_size, LENGTH);
    test_ok(wherry_mutex_unlock(memory.mutex));
    test_ok(resize(&memory, 100 * LENGTH));
    test_ok(resize(&memory, 100));
    close_memory(&memory);
}
