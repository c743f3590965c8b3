/* storage/lock_wait.c - owns waiting for a lock: steps until a deadline, or the kernel's own wait; and what is said
 * when it was in vain.
 *
 * SPDX-License-Identifier: MIT
 *
 * fcntl(2) and flock(2) wait for ever or not at all.  An alarm could end their wait, and would be the program's; so a
 * wait with a deadline tries again and again (base/time.h). */
#include <errno.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "storage/deadlock.h"
#include "storage/holders.h"
#include "storage/lock.h"

/* ---- in vain ---- */

const char *wherry__range_text(uint64_t start, uint64_t length, char buffer[static 64])
{
    bool to_end = length == 0 || length >= (uint64_t)WHERRY__TURNSTILE - start; /* as `fair` has it */
    if (to_end && start == 0)
        snprintf(buffer, 64, "all of it");
    else if (to_end)
        snprintf(buffer, 64, "bytes %llu and up", (unsigned long long)start);
    else
        snprintf(buffer, 64, "bytes %llu to %llu", (unsigned long long)start, (unsigned long long)(start + length - 1));
    return buffer;
}

static int name_holder(const struct wherry_lock *lock, const struct wherry_lock_holder *holder, int code)
{
    char range[64], process[64];
    const char *who = wherry__process_name(holder->pid, process);
    if (holder->pid == getpid())
        who = "this process, through another open file,";
    return wherry__fail(code, "%s: %s has %s lock on %s; wait longer, or end it", lock->name, who,
                        holder->mode == WHERRY_LOCK_SHARED ? "a shared" : "an exclusive",
                        wherry__range_text(holder->start, holder->length, range));
}

static int somebody_has_it(const struct wherry_lock *lock, const struct wherry__want *want, int code)
{
    struct wherry__holders holders = {.list = NULL};
    struct wherry_lock_holder mine = {
        .kind = lock->kind, .mode = want->mode, .start = want->start, .length = want->length};
    const struct wherry_lock_holder *found = NULL, *first = NULL; /* `fair`: who goes first */
    char process[64];
    int result = -1;
    if (!lock->quiet && wherry__holders_find(&holders, lock->device, lock->inode, 0) == 0)
        for (size_t i = 0; i < holders.count; i++) {
            const struct wherry_lock_holder *one = &holders.list[i];
            if (lock->fair && one->start == WHERRY__TURNSTILE)
                first = one;
            bool better = !found || found->pid == 0 || (found->pid == getpid() && one->pid != 0);
            if (!one->waiting && better && wherry__locks_conflict(one, &mine))
                found = one;
        }
    if (found)
        result = name_holder(lock, found, code);
    else if (first)
        result = wherry__fail(code, "%s: %s waits for an exclusive lock, and goes first; wait longer", lock->name,
                              wherry__process_name(first->pid, process));
    wherry__holders_fini(&holders);
    return found || first ? result
                          : wherry__fail(code,
                                         "%s: another process has a lock on it; wait longer, or look for it with "
                                         "'wherry lock --holders'",
                                         lock->name);
}

/* ---- waiting ---- */

/* For a writer of a `fair` lock: keeps readers from going first.  Taken anew at each step, for another thread's end may
 * have given it back. */
static void hold_turnstile(const struct wherry_lock *lock, short type)
{
    struct flock turnstile = {.l_type = type, .l_whence = SEEK_SET, .l_start = WHERRY__TURNSTILE, .l_len = 1};
    wherry__sys.record_lock(lock->fd, lock->kind == WHERRY_LOCK_POSIX ? F_SETLK : F_OFD_SETLK, &turnstile);
}

static bool is_interrupted(struct wherry_lock *lock, uint32_t answered)
{
    uint32_t now = atomic_load_explicit(&lock->interrupts, memory_order_relaxed);
    if (now == answered)
        return false;
    atomic_store_explicit(&lock->answered, now, memory_order_relaxed);
    return true;
}

static int wait_in_kernel(struct wherry_lock *lock, const struct wherry__want *want)
{
    struct flock range = want->flock;
    int result = lock->kind == WHERRY_LOCK_FLOCK   ? wherry__sys.flock(lock->fd, want->command & ~LOCK_NB)
                 : lock->kind == WHERRY_LOCK_POSIX ? wherry__sys.record_lock(lock->fd, F_SETLKW, &range)
                                                   : wherry__sys.record_lock(lock->fd, F_OFD_SETLKW, &range);
    if (result == 0)
        return 0;
    return errno == EINTR ? wherry__fail_quietly(EINTR, "a signal ended the wait for the lock")
                          : wherry__lock_refused(lock, want, errno);
}

static int wait_in_steps(struct wherry_lock *lock, struct wherry__want *want, wherry_time deadline, uint32_t answered)
{
    struct wherry__deadlock deadlock;
    struct wherry__steps steps = {0};
    bool is_writer = lock->fair && want->mode == WHERRY_LOCK_EXCLUSIVE;
    int result;
    wherry__deadlock_begin(&deadlock, lock, want);
    do {
        if (is_writer)
            hold_turnstile(lock, F_WRLCK);
        wherry__steps_sleep(&steps, deadline);
        bool last = wherry__deadline_passed(deadline);
        result = wherry__lock_try(lock, want);
        if (result != -EAGAIN)
            break;
        if (is_interrupted(lock, answered))
            result = wherry__fail_quietly(ECANCELED, "the wait for the lock was interrupted");
        else if (last)
            result = somebody_has_it(lock, want, ETIMEDOUT);
        else if (wherry__deadlock_look(&deadlock))
            result = -EDEADLK;
    } while (result == -EAGAIN);
    if (is_writer)
        hold_turnstile(lock, F_UNLCK);
    wherry__deadlock_end(&deadlock);
    return result;
}

static int wait(struct wherry_lock *lock, struct wherry__want *want, wherry_time deadline)
{
    uint32_t answered = atomic_load_explicit(&lock->answered, memory_order_relaxed);
    if (is_interrupted(lock, answered))
        return wherry__fail_quietly(ECANCELED, "the wait for the lock was interrupted");
    if (wherry__deadline_passed(deadline))
        return somebody_has_it(lock, want, wherry__deadline_code(deadline));
    if (lock->block && deadline == WHERRY_FOREVER)
        return wait_in_kernel(lock, want);
    return wait_in_steps(lock, want, deadline, answered);
}

/* flock(2) has given the old lock up, to convert it, before it found somebody in the way. */
static int get_back(struct wherry_lock *lock, int had, int result)
{
    if (wherry__sys.flock(lock->fd, (had == WHERRY_LOCK_SHARED ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0)
        return result;
    atomic_store_explicit(&lock->had, 0, memory_order_relaxed);
    return wherry__fail(ENOLCK,
                        "%s: the %s lock could not be converted, and flock has given it up meanwhile: nothing "
                        "is locked now",
                        lock->name, had == WHERRY_LOCK_SHARED ? "shared" : "exclusive");
}

int wherry__lock_wait(struct wherry_lock *lock, struct wherry__want *want, wherry_time deadline)
{
    int result = wait(lock, want, deadline);
    int had = lock->kind == WHERRY_LOCK_FLOCK ? atomic_load_explicit(&lock->had, memory_order_relaxed) : 0;
    return result < 0 && had ? get_back(lock, had, result) : result;
}
