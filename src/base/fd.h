/* base/fd.h - owned descriptors: closed once, never left behind in a forked child.
 *
 * SPDX-License-Identifier: MIT
 *
 * A descriptor that lives on in a forked child makes its owner look alive for ever: the end of a pipe never comes, a
 * flock is never released, a peer's death is never noticed (fork(2), flock(2)).  CLOEXEC helps only across exec.  So
 * every descriptor that the library makes for itself is noted here, and a pthread_atfork handler closes them in the
 * child before fork() returns there.  Those of endpoints opened `inheritable` are not noted.  See
 * docs/decisions/fork.md.
 *
 * "Which process am I": a page that the kernel wipes in a child (madvise(2), MADV_WIPEONFORK) holds the generation, so
 * that each call finds out with one load, and also where no handler ran (_Fork, clone). */
#ifndef WHERRY_BASE_FD_H
#define WHERRY_BASE_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/shared.h"

/* Prepare the wiped page and the fork handlers; cheap after the first time.  Returns 0 or -ENOMEM. */
int wherry__process_start(void);

/* The generation of this process, for an object to keep; and whether an object that kept it belongs to this process.
 * 0 in a child that has not called wherry__process_start(). */
extern const volatile uint64_t *wherry__generation_page;
static inline uint64_t wherry__generation(void)
{
    return *wherry__generation_page;
}

/* The PID namespace of this process, as the inode of /proc/self/ns/pid; the page keeps it, too, because a child may
 * be in another.  0: nobody has asked in this process yet; then find it: 0 or -errno, with a sentence. */
static inline uint64_t wherry__pid_namespace(void)
{
    return __atomic_load_n((const uint64_t *)(uintptr_t)&wherry__generation_page[1], __ATOMIC_RELAXED);
}
int wherry__pid_namespace_find(uint64_t *ret_namespace);

/* gettid(2), without asking the kernel each time. */
pid_t wherry__thread_id(void);

/* Hold off fork() of other threads between the creation of a descriptor and its noting.  Never around a wait. */
WHERRY__SHARED void wherry__fd_guard(void);
WHERRY__SHARED void wherry__fd_unguard(void);

/* Note a descriptor as the library's own, under the guard.  Returns it, also when it is negative: another one where it
 * lay on 0, 1 or 2, which are not the library's to have. */
WHERRY__SHARED __attribute__((warn_unused_result)) int wherry__fd_note(int fd);

/* Stop noting it, without closing. */
WHERRY__SHARED void wherry__fd_forget(int fd);

/* Close a descriptor, noted or not; negative is fine; *fd becomes -1. */
WHERRY__SHARED void wherry__fd_close(int *fd);

/* Close a descriptor of an object made in generation `born`, from whatever process this is: in a child whose fork
 * handlers ran the number may be somebody else's by now, so nothing is closed. */
void wherry__fd_close_from(uint64_t born, bool inheritable, int *fd);

#endif
