/* base/futex.h - sleeping on a word of memory that processes share, and waking who sleeps there; futex(2).
 *
 * SPDX-License-Identifier: MIT
 *
 * Never FUTEX_PRIVATE, which wakes no other process (H25). */
#ifndef WHERRY_BASE_FUTEX_H
#define WHERRY_BASE_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>
#include <wherry/base.h>

/* Sleep while *word is `value`, at most until `deadline`.  0: woken, changed, or a signal; -ETIMEDOUT; -errno when the
 * kernel does not let us sleep (ENOSYS or EPERM from a filter, ENOMEM). */
int wherry__futex_wait(const _Atomic uint32_t *word, uint32_t value, wherry_time deadline);

/* Wake all who sleep there, or at most so many; async-signal-safe, and leaves errno alone. */
void wherry__futex_wake(const _Atomic uint32_t *word);
void wherry__futex_wake_some(const _Atomic uint32_t *word, int most);

/* The half of a 64-bit word that counts, for the kernel, whose words have 32 bits. */
static inline const _Atomic uint32_t *wherry__futex_low(const _Atomic uint64_t *word)
{
    return (const _Atomic uint32_t *)word + (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
}

#endif
