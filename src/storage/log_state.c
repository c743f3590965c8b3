/* storage/log_state.c - owns the state of a log: how it is read and written, cut, and recovered after a power cut.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "storage/log.h"

enum { LOOKS = 1000 }; /* at a state that somebody is writing */

/* ---- the state's bytes ------------------------------------------------------------------------------------------- */

static uint32_t state_check(const struct wherry__log *log, const uint8_t *bytes)
{
    uint8_t id[8];
    wherry__store64(id, log->id);
    return wherry__log_crc(wherry__log_crc(0, bytes, LOG_STATE_SIZE - 4), id, sizeof id);
}

int wherry__log_write_state(struct wherry__log *log, const struct log_state *state)
{
    uint8_t bytes[LOG_STATE_SIZE] = {0};
    wherry__store64(bytes, state->end);
    wherry__store64(bytes + 8, state->next);
    wherry__store64(bytes + 16, state->start);
    wherry__store64(bytes + 24, state->durable);
    wherry__store64(bytes + 32, state->durable_next);
    memcpy(bytes + 40, state->boot, LOG_BOOT);
    wherry__store64(bytes + 56, state->recoveries);
    wherry__store64(bytes + 64, state->start_number);
    wherry__store64(bytes + 72, state->cuts);
    wherry__store64(bytes + 80, state->kept);
    wherry__store32(bytes + 92, state_check(log, bytes));
    return wherry__log_write_all(log->fd, bytes, sizeof bytes, LOG_STATE_AT);
}

/* 0; -EBADMSG: its check is wrong, or it says what cannot be; or another -errno. */
static int read_state(struct wherry__log *log, struct log_state *ret)
{
    uint8_t bytes[LOG_STATE_SIZE];
    size_t got;
    int result = wherry__log_read_all(log->fd, bytes, sizeof bytes, LOG_STATE_AT, &got);
    if (result < 0)
        return result;
    if (got < sizeof bytes || wherry__load32(bytes + 92) != state_check(log, bytes))
        return -EBADMSG;
    *ret = (struct log_state){.end = wherry__load64(bytes),
                              .next = wherry__load64(bytes + 8),
                              .start = wherry__load64(bytes + 16),
                              .durable = wherry__load64(bytes + 24),
                              .durable_next = wherry__load64(bytes + 32),
                              .recoveries = wherry__load64(bytes + 56),
                              .start_number = wherry__load64(bytes + 64),
                              .cuts = wherry__load64(bytes + 72),
                              .kept = wherry__load64(bytes + 80)};
    memcpy(ret->boot, bytes + 40, LOG_BOOT);
    bool sound = ret->start >= LOG_HEAD && ret->start <= ret->end && ret->durable >= LOG_HEAD &&
                 ret->durable <= ret->end && ret->end <= INT64_MAX / 2 && !((ret->end | ret->start | ret->durable) & 7);
    return sound ? 0 : -EBADMSG;
}

/* Another file's worth of bytes lies there by now, or none. */
static int check_id(struct wherry__log *log)
{
    uint8_t head[LOG_HEAD_SIZE];
    struct stat status;
    size_t got;
    int result = wherry__log_read_all(log->fd, head, sizeof head, 0, &got);
    if (result < 0 || wherry__sys.fstat(log->fd, &status) != 0)
        return wherry__fail_errno(result < 0 ? -result : errno, "%s: could not be read", log->name);
    if (status.st_size < LOG_HEAD || got < sizeof head || memcmp(head, LOG_MAGIC, 16) != 0 ||
        wherry__load64(head + 16) != log->id)
        return wherry__fail(ESTALE, "%s: the file was emptied or overwritten by somebody else; open it again",
                            log->name);
    return 0;
}

int wherry__log_sync(struct wherry__log *log)
{
    if (log->failed == 0 && wherry__sys.fdatasync(log->fd) != 0)
        log->failed = errno;
    if (log->failed == 0) {
        log->unsynced_since = 0;
        return 0;
    }
    /* what the kernel could not write it may have dropped; to ask again would be answered with yes */
    wherry__fail_errno(log->failed,
                       "%s: the disk did not take it: whether what was sent is in the log is not known; "
                       "look after the disk, then open the log again",
                       log->name);
    return -EIO;
}

/* ---- cutting and recovering -------------------------------------------------------------------------------------- */

/* Rule 5. */
static int cut(struct wherry__log *log, uint64_t end)
{
    if (wherry__sys.ftruncate(log->fd, (off_t)end) != 0)
        return wherry__fail_errno(errno, "%s: a torn tail could not be cut", log->name);
    return wherry__log_sync(log);
}

/* The count of cuts is gone with the state: what none can have reached, nor an earlier one of these. */
static uint64_t unlike_before(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * WHERRY_SECOND + (uint64_t)now.tv_nsec;
}

/* Where to begin to believe: *after gets the first record that is kept, and where the look begins is its `durable`. 
 * Number 0: any. */
static int begin(struct wherry__log *log, const struct log_state *before, uint64_t size,
                 struct wherry__log_window *window, struct log_state *after)
{
    if (before && (before->start > before->durable ? before->start : before->durable) <= size) {
        *after = *before;
        if (before->start > before->durable) {
            after->durable = before->start;
            after->durable_next = before->start_number;
        }
        return 0;
    }
    *after = (struct log_state){.recoveries = before ? before->recoveries : 0,
                                .cuts = before ? before->cuts : unlike_before(),
                                .kept = before ? before->kept : 0};
    uint64_t from = before && before->start <= size ? before->start : LOG_HEAD;
    int result = wherry__log_search(log, window, from, size, &after->start);
    if (result == 0 && after->start >= size) { /* there is none */
        after->start = LOG_HEAD;
        after->start_number = after->durable_next = before ? before->next : 1;
    }
    after->durable = after->start;
    return result;
}

/* The end of what is whole, from after->durable on. */
static int find_end(struct wherry__log *log, struct wherry__log_window *window, struct log_state *after)
{
    struct wherry__log_record record;
    int result;
    after->end = after->durable;
    after->next = after->durable_next;
    while ((result = wherry__log_read(log, window, after->end, UINT32_MAX, &record)) == 1) {
        if (after->next == 0)
            after->start_number = after->next = record.number;
        if (record.number < after->next)
            break;
        after->end = record.next;
        after->next = record.number + 1; /* numbers that are left out are those of records that were cut off (rule 6) */
    }
    return result == 1 || result == 0 || result == -EBADMSG ? 0 : result;
}

/* The file is shorter than it can have become but by somebody's cutting it: the number up to which records are known
 * to have been there; 0: none is.  In the same boot `end` is the truth, and `durable` was on the disk in any. */
static uint64_t known_number(const struct wherry__log *log, const struct log_state *before, uint64_t size)
{
    if (!before)
        return 0;
    if (memcmp(before->boot, log->boot, LOG_BOOT) == 0)
        return size < before->end ? before->next : 0;
    return size < before->durable ? before->durable_next : 0;
}

/* Rule 6, under the groups' locks too.  `before`: the state, NULL when it is damaged. */
static int recover_locked(struct wherry__log *log, const struct log_state *before, uint64_t size)
{
    struct wherry__log_window window = {0};
    struct log_state after;
    log->state.end = size; /* as far as may be read */
    int result = begin(log, before, size, &window, &after);
    if (result == 0)
        result = find_end(log, &window, &after);
    wherry__log_window_fini(&window);
    if (result < 0)
        return result;
    uint64_t known = known_number(log, before, size);
    if (known && after.end == LOG_HEAD) { /* none is left */
        after.start_number = before->start_number;
        after.next = known;
    }
    if (known > after.next)
        after.next = known; /* what readers miss they count */
    if (!before || after.end < before->end) { /* who has read further must know */
        after.cuts++;
        after.kept = after.end;
    }
    after.durable = after.end;
    after.durable_next = after.next;
    memcpy(after.boot, log->boot, LOG_BOOT);
    after.recoveries++;
    if (size != after.end && wherry__sys.ftruncate(log->fd, (off_t)after.end) != 0)
        return wherry__fail_errno(errno, "%s: a torn tail could not be cut", log->name);
    result = wherry__log_clamp_groups(log, after.end, after.next);
    if (result == 0)
        result = wherry__log_sync(log);
    if (result == 0 && (result = wherry__log_write_state(log, &after)) < 0)
        wherry__fail_errno(-result, "%s: the state of the log could not be written", log->name);
    if (result == 0)
        result = wherry__log_sync(log);
    if (result == 0)
        log->state = after;
    return result;
}

/* A member of a group is between its look at the group's place and the receipt: the place that it writes then would not
 * be set back. */
static int recover(struct wherry__log *log, const struct log_state *before, uint64_t size)
{
    int result = wherry__log_lock_groups(log);
    if (result < 0)
        return result;
    result = recover_locked(log, before, size);
    wherry__log_unlock_groups(log);
    return result;
}

int wherry__log_settle(struct wherry__log *log)
{
    struct log_state state;
    struct stat status;
    if (wherry__sys.fstat(log->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s", log->name);
    int result = read_state(log, &state);
    if (result < 0 && result != -EBADMSG)
        return wherry__fail_errno(-result, "%s: could not be read", log->name);
    if (status.st_nlink == 0)
        return wherry__fail(ESTALE, "%s: the log was removed; open it again to begin a new one", log->name);
    uint64_t size = (uint64_t)status.st_size;
    if (__builtin_expect(result == 0 && memcmp(state.boot, log->boot, LOG_BOOT) == 0 && size >= state.end, 1)) {
        log->state = state;
        log->foreign = false;
        return size > state.end ? cut(log, state.end) : 0;
    }
    bool damaged = result < 0;
    result = check_id(log);
    if (result == 0)
        result = recover(log, damaged ? NULL : &state, size);
    if (result == 0)
        log->foreign = false;
    return result;
}

/* Who may not write believes the records themselves. */
static int look_from_outside(struct wherry__log *log, const struct log_state *state)
{
    struct stat status;
    if (wherry__sys.fstat(log->fd, &status) != 0)
        return wherry__fail_errno(errno, "%s", log->name);
    log->state = *state;
    log->state.end = (uint64_t)status.st_size & ~UINT64_C(7);
    if (log->state.start > log->state.end)
        log->state.start = log->state.end;
    log->foreign = true;
    return 0;
}

int wherry__log_mend(struct wherry__log *log)
{
    int result = check_id(log);
    if (result == 0)
        result = wherry__log_lock(log, LOG_LOCK_APPEND);
    if (result < 0)
        return result;
    result = wherry__log_settle(log);
    wherry__log_unlock(log, LOG_LOCK_APPEND);
    return result;
}

int wherry__log_refresh(struct wherry__log *log)
{
    struct log_state state;
    int result = -EBADMSG;
    for (int i = 0; i < LOOKS && result == -EBADMSG; i++) {
        if (i > 0)
            wherry__breathe();
        result = read_state(log, &state);
    }
    if (__builtin_expect(result == 0 && memcmp(state.boot, log->boot, LOG_BOOT) == 0, 1)) {
        log->state = state;
        log->foreign = false;
        return 0;
    }
    if (result < 0 && result != -EBADMSG)
        return wherry__fail_errno(-result, "%s: could not be read", log->name);
    bool damaged = result < 0;
    if (log->writable)
        return wherry__log_mend(log);
    result = check_id(log);
    if (result < 0)
        return result;
    if (damaged)
        state = (struct log_state){.start = LOG_HEAD, .start_number = 1, .cuts = LOG_UNKNOWN};
    return look_from_outside(log, &state);
}
