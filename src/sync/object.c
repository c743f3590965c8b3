/* sync/object.c - owns what the objects in shared memory have in common.
 *
 * SPDX-License-Identifier: MIT */
#include "sync/object.h"

#include <errno.h>

#include "base/futex.h"
#include "base/time.h"
#include "base/why.h"

int wherry__sync_aligned(const void *memory, const char *noun)
{
    if (memory && (uintptr_t)memory % 64 == 0)
        return 0;
    return wherry__fail(EINVAL, "no %s can be made at %p: its address must be a multiple of 64", noun, memory);
}

int wherry__sync_is_none(const void *memory, const char *noun)
{
    return wherry__fail(EINVAL,
                        "there is no %s at %p: it was not made, or is ended, or a program with another C library "
                        "made it; call wherry_%s_init() first",
                        noun, memory, noun);
}

int wherry__sync_sleep(const _Atomic uint64_t *word, uint64_t seen, wherry_time deadline)
{
    wherry_time until = wherry_after(WHERRY__SYNC_TICK);
    int result = wherry__futex_wait(wherry__futex_low(word), (uint32_t)seen, until < deadline ? until : deadline);
    if (result == 0 || result == -ETIMEDOUT)
        return 0;
    return wherry__fail_errno(-result, "futex(2), without which nobody can wait in shared memory");
}

int wherry__sync_late(wherry_time deadline, const char *now, const char *later)
{
    int code = wherry__deadline_code(deadline);
    return wherry__fail_quietly(code, code == EAGAIN ? now : later);
}

int wherry__sync_ended(void)
{
    return wherry__fail_quietly(EIDRM, "what was waited for in shared memory was ended by its _fini() meanwhile");
}
