/* tests/unit/sync_kit.h - memory that each process of a test maps at an address of its own (H17).
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_SYNC_KIT_H
#define WHERRY_TESTS_SYNC_KIT_H

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "harness.h"

enum { KIT_SIZE = 65536 };

struct kit {
    int fd;
    void *memory; /* of this process */
};

static inline void *kit_map(int fd)
{
    void *memory = mmap(NULL, KIT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(memory != MAP_FAILED);
    return memory;
}

static inline void *kit_open(struct kit *kit)
{
    kit->fd = memfd_create("sync", MFD_CLOEXEC);
    ck_assert_int_ge(kit->fd, 0);
    ck_assert_int_eq(ftruncate(kit->fd, KIT_SIZE), 0);
    kit->memory = kit_map(kit->fd);
    return kit->memory;
}

/* In a child: the same memory elsewhere; what it inherited is gone. */
static inline void *kit_again(struct kit *kit)
{
    void *memory = kit_map(kit->fd);
    ck_assert(memory != kit->memory);
    munmap(kit->memory, KIT_SIZE);
    kit->memory = memory;
    return memory;
}

static inline void kit_close(struct kit *kit)
{
    munmap(kit->memory, KIT_SIZE);
    close(kit->fd);
}

/* Run the function in a PID namespace of its own.  It ends without exit handlers: LeakSanitizer's find no /proc
 * there. */
static inline void kit_elsewhere(void (*act)(void *argument))
{
    pid_t child = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        act(NULL);
        _exit(0);
    }
    test_join(child);
}

static inline wherry_time kit_soon(void)
{
    return wherry_after(30 * WHERRY_MILLISECOND);
}

#endif
