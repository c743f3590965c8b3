/* storage/log_held.c - owns the sentences about a lock of the log that another holds: who, and what to do.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/stat.h>
#include <unistd.h>

#include "base/why.h"
#include "storage/holders.h"
#include "storage/log.h"

static const struct {
    uint64_t first, last;
    const char *what;
} places[] = {
    [WHERRY__LOG_HELD_SEND] = {LOG_LOCK_APPEND, LOG_LOCK_APPEND,
                               "holds the lock that appending takes; wait longer, or end it"},
    [WHERRY__LOG_HELD_CLOSE] = {LOG_LOCK_APPEND, LOG_LOCK_APPEND,
                                "holds the lock that appending takes: what was not appended yet is lost; close with "
                                "more time, or end it first"},
    [WHERRY__LOG_HELD_JOIN] = {LOG_LOCK_TABLE, LOG_LOCK_MEMBER - 1,
                               "holds the lock of the group's place, or is stopped with it; wait longer, or end it"},
};

static bool covers(const struct wherry_lock_holder *one, uint64_t first, uint64_t last)
{
    if (one->kind == WHERRY_LOCK_FLOCK || one->waiting || one->start > last)
        return false;
    return one->length == 0 || one->start >= first || one->length > first - one->start;
}

/* Another process rather than this one, and one that is known rather than one that is not. */
static const struct wherry_lock_holder *find(const struct wherry__holders *holders, enum wherry__log_held held)
{
    const struct wherry_lock_holder *found = NULL;
    for (size_t i = 0; i < holders->count; i++) {
        const struct wherry_lock_holder *one = &holders->list[i];
        bool better = !found || found->pid == 0 || (found->pid == getpid() && one->pid != 0);
        if (better && covers(one, places[held].first, places[held].last))
            found = one;
    }
    return found;
}

int wherry__log_say_held(const struct wherry__log *log, enum wherry__log_held held, int code)
{
    struct wherry__holders holders = {.list = NULL};
    struct stat status;
    char process[64];
    const char *who = wherry__process_name(0, process);
    if (fstat(log->fd, &status) == 0 && wherry__holders_find(&holders, status.st_dev, status.st_ino, 0) == 0) {
        const struct wherry_lock_holder *one = find(&holders, held);
        if (one)
            who = one->pid == getpid() ? "this process, through another open file,"
                                       : wherry__process_name(one->pid, process);
    }
    wherry__holders_fini(&holders);
    return wherry__fail(code, "%s: %s %s", log->name, who, places[held].what);
}
