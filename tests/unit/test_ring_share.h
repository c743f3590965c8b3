/* tests/unit/test_ring_share.h - gives all endpoints of one process the same addresses for the same bytes of a ring.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each endpoint maps the ring for itself, so that ThreadSanitizer, which knows memory by its address, would see none of
 * what passes between them.  Here the mappings of one process are one: a message written and read without the orders
 * that license it is then a race that it reports.  Needs the linker's --wrap=munmap and
 * --wrap=wherry__ring_map_lanes. */
#ifndef WHERRY_TESTS_RING_SHARE_H
#define WHERRY_TESTS_RING_SHARE_H

#include <pthread.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "ring/receive.h"
#include "unit/test_ring_kit.h"

uint64_t __real_wherry__ring_map_lanes(struct wherry__ring *ring);
uint64_t __wrap_wherry__ring_map_lanes(struct wherry__ring *ring);
int __real_munmap(void *at, size_t size);
int __wrap_munmap(void *at, size_t size);

static struct share {
    ino_t inode;
    off_t at;
    uint8_t *address;
    size_t size;
} shares[2048];
static size_t share_count;
static bool share_on;
static pthread_mutex_t share_lock = PTHREAD_MUTEX_INITIALIZER;
static struct wherry__sys share_real;

/* The lanes that this thread is about to map, in order: the reservation itself does not say which. */
static _Thread_local struct {
    int fd;
    unsigned count, next;
    off_t at[RING_PLACES];
    size_t size;
} share_expected;

static struct share *share_of(const void *address)
{
    for (size_t i = 0; i < share_count; i++)
        if ((const uint8_t *)address >= shares[i].address &&
            (const uint8_t *)address < shares[i].address + shares[i].size)
            return &shares[i];
    return NULL;
}

static void *share_find(int fd, off_t at, size_t size, bool twice)
{
    struct stat status;
    uint8_t *address = MAP_FAILED;
    if (share_real.fstat(fd, &status) != 0)
        return MAP_FAILED;
    pthread_mutex_lock(&share_lock);
    for (size_t i = 0; i < share_count; i++)
        if (shares[i].inode == status.st_ino && shares[i].at == at)
            address = shares[i].address;
    if (address == MAP_FAILED && share_count < sizeof shares / sizeof *shares) {
        size_t all = twice ? 2 * size : size;
        address = share_real.mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        for (size_t done = 0; done < all; done += size)
            share_real.mmap(address + done, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, at);
        shares[share_count++] = (struct share){status.st_ino, at, address, all};
    }
    pthread_mutex_unlock(&share_lock);
    return address;
}

static void *share_mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && !(flags & MAP_FIXED) && offset == 0 && size == RING_CONTROL)
        return share_find(fd, 0, size, false);
    if ((flags & MAP_ANONYMOUS) && share_expected.next < share_expected.count)
        return share_find(share_expected.fd, share_expected.at[share_expected.next++], share_expected.size, true);
    if (flags & MAP_FIXED) {
        pthread_mutex_lock(&share_lock);
        const struct share *share = share_of(at);
        void *result = share && share->at == offset ? at : MAP_FAILED; /* else it is tried again at the next look */
        pthread_mutex_unlock(&share_lock);
        if (share)
            return result;
    }
    return share_real.mmap(at, size, protection, flags, fd, offset);
}

static int share_fallocate(int fd, int mode, off_t at, off_t size)
{
    int result = share_real.fallocate(fd, mode, at, size);
    if (result == 0 && at >= RING_CONTROL) {
        share_expected.fd = fd;
        share_expected.at[0] = at;
        share_expected.size = (size_t)size;
        share_expected.next = 0;
        share_expected.count = 1;
    }
    return result;
}

uint64_t __wrap_wherry__ring_map_lanes(struct wherry__ring *ring)
{
    if (!share_on)
        return __real_wherry__ring_map_lanes(ring);
    uint64_t used =
        atomic_load_explicit(&ring->control->shared.lanes, memory_order_acquire) & ~ring->mapped & ~ring->bad;
    if (!used)
        return ring->mapped; /* what comes meanwhile is found at the next look, its lane known */
    share_expected.fd = wherry__life_fd(ring->life);
    share_expected.size = ring->capacity;
    share_expected.count = share_expected.next = 0;
    for (; used; used &= used - 1)
        share_expected.at[share_expected.count++] =
            (off_t)(RING_CONTROL + ring->capacity * (unsigned)__builtin_ctzll(used));
    uint64_t mapped = __real_wherry__ring_map_lanes(ring);
    share_expected.count = 0;
    return mapped;
}

int __wrap_munmap(void *at, size_t size)
{
    pthread_mutex_lock(&share_lock);
    bool shared = share_of(at) != NULL;
    pthread_mutex_unlock(&share_lock);
    return shared ? 0 : __real_munmap(at, size);
}

static inline void share_start(void)
{
    share_real = wherry__sys;
    wherry__sys.mmap = share_mmap;
    wherry__sys.fallocate = share_fallocate;
    share_on = true;
}

#endif
