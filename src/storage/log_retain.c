/* storage/log_retain.c - owns what is dropped from the front of a log: which records, and the holes they leave.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

#include "base/sys.h"
#include "base/why.h"
#include "storage/log.h"

enum {
    STRIDE = 64 << 10,      /* one append looks at this much more than it brings */
    LEAST_HOLE = 256 << 10, /* each costs an fdatasync */
    MOST_HOLE = 16 << 20,
    BLOCK = 4096,
};

int wherry__log_can_punch(struct wherry__log *log)
{
    /* zeros become zeros */
    if (wherry__sys.fallocate(log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, LOG_UNUSED_AT, 512) == 0)
        return 0;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        return wherry__fail(EOPNOTSUPP,
                            "%s: this file system makes no holes in files, so a log on it cannot drop what "
                            "is old; leave retain_bytes and retain_age out",
                            log->name);
    return wherry__fail_errno(errno, "%s: no hole could be made in the log", log->name);
}

/* Whether the first record is one too many. */
static bool too_much(const struct wherry__log *log, const struct log_state *state, wherry_time first, wherry_time now)
{
    return (log->retain_bytes && state->end - state->start > log->retain_bytes) ||
           (log->retain_age && first < now - log->retain_age);
}

void wherry__log_trim(struct wherry__log *log, struct log_state *state, uint64_t size)
{
    struct wherry__log_record record;
    struct timespec clock;
    uint64_t budget = 2 * size + STRIDE, from = state->start;
    if (!log->retain_age && state->end - state->start <= log->retain_bytes)
        return;
    if (!log->trim && !(log->trim = calloc(1, sizeof *log->trim)))
        return; /* later */
    clock_gettime(CLOCK_REALTIME, &clock);
    wherry_time now = clock.tv_sec * WHERRY_SECOND + clock.tv_nsec;
    /* log->state is still that from before the append: what is being appended always stays */
    while (state->start < log->state.end && state->start - from < budget) {
        int result = wherry__log_read(log, log->trim, state->start, UINT32_MAX, &record);
        if (result == -EBADMSG) { /* damaged: what cannot be read is not kept for ever */
            if (!log->retain_bytes || state->end - state->start <= log->retain_bytes ||
                wherry__log_search(log, log->trim, state->start + 8, log->state.end, &state->start) < 0)
                return;
            state->start_number = state->start == log->state.end ? log->state.next : 0;
            if (wherry__log_read(log, log->trim, state->start, UINT32_MAX, &record) == 1)
                state->start_number = record.number;
            return;
        }
        if (result != 1 || !too_much(log, state, record.time, now))
            return;
        state->start = record.next;
        state->start_number = record.number + 1;
    }
}

void wherry__log_punch(struct wherry__log *log)
{
    uint64_t least = log->retain_bytes / 8, to = log->state.start & ~(uint64_t)(BLOCK - 1);
    least = least < LEAST_HOLE ? LEAST_HOLE : least > MOST_HOLE ? MOST_HOLE : least;
    if (to < log->punched + least)
        return;
    if (wherry__log_sync(log) < 0) /* rule 8 */
        return;
    log->synced = log->state.end;
    log->synced_next = log->state.next;
    if (wherry__sys.fallocate(log->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)log->punched,
                              (off_t)(to - log->punched)) == 0)
        log->punched = to;
}
