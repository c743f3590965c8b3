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

/* Prepare the wiped page and the fork handlers; cheap after the first time.  Returns 0 or -ENOMEM. */
int wherry__process_start(void);

/* The generation of this process, for an object to keep; and whether an object that kept it belongs to this process.
 * 0 in a child that has not called wherry__process_start(). */
extern const volatile uint64_t *wherry__generation_page;
static inline uint64_t wherry__generation(void)
{
    return *wherry__generation_page;
}

/* Hold off fork() of other threads between the creation of a descriptor and its noting.  Never around a wait. */
void wherry__fd_guard(void);
void wherry__fd_unguard(void);

/* Note a descriptor as the library's own, under the guard.  Returns fd, also when it is negative. */
int wherry__fd_note(int fd);

/* Stop noting it, without closing. */
void wherry__fd_forget(int fd);

/* Close a descriptor, noted or not; negative is fine; *fd becomes -1. */
void wherry__fd_close(int *fd);

/* Close a descriptor of an object made in generation `born`, from whatever process this is: in a child whose fork
 * handlers ran the number may be somebody else's by now, so nothing is closed. */
void wherry__fd_close_from(uint64_t born, bool inheritable, int *fd);

#endif
