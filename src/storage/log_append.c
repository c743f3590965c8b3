/* storage/log_append.c - owns how records come into the log: batches, the append itself, and the disk.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/log.h"

/* The instants at which dying was thought about (LOG.md, rule 3).  Compiles to nothing. */
#define CRASH(name) ((void)0)

/* ---- batches ----------------------------------------------------------------------------------------------------- */

static wherry_time real_time(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * WHERRY_SECOND + now.tv_nsec;
}

/* All of a record's head but its number and what ties it to its place. */
static void write_head(uint8_t *head, const void *data, size_t size, uint32_t type)
{
    uint8_t fields[16];
    wherry__store32(fields, (uint32_t)size);
    wherry__store32(fields + 4, type);
    wherry__store64(fields + 8, (uint64_t)real_time());
    wherry__store32(head, LOG_RECORD_MARK);
    memcpy(head + 4, fields, 4);
    wherry__store32(head + 8, wherry__log_crc(wherry__log_crc(0, fields, sizeof fields), data, size));
    memcpy(head + 12, fields + 4, 4);
    wherry__store64(head + 16, 0);
    memcpy(head + 24, fields + 8, 8);
}

int wherry__log_batch_add(struct wherry__log_batch *batch, const void *data, size_t size, uint32_t type)
{
    bool copied = size <= WHERRY__LOG_COPIED;
    size_t more = copied ? (size_t)log_record_size(size) : LOG_RECORD_HEAD, needed = batch->size + more;
    if (needed > batch->capacity) {
        size_t capacity = wherry__size_grow(batch->capacity, needed, 4096, SIZE_MAX / 2);
        uint8_t *bytes = realloc(batch->bytes, capacity);
        if (!bytes)
            return wherry__fail(ENOMEM, "no memory for %zu bytes on their way into a log", capacity);
        batch->bytes = bytes;
        batch->capacity = capacity;
    }
    uint8_t *head = batch->bytes + batch->size;
    write_head(head, data, size, type);
    if (copied && size > 0) {
        wherry__store64(head + more - 8, 0); /* what fills up */
        memcpy(head + LOG_RECORD_HEAD, data, size);
    } else if (!copied) {
        batch->big = data;
        batch->big_size = size;
    }
    batch->size = needed;
    batch->count++;
    return 0;
}

void wherry__log_batch_cut(struct wherry__log_batch *batch, size_t size, size_t count)
{
    batch->size = size;
    batch->count = count;
    batch->big = NULL;
    batch->big_size = 0;
}

void wherry__log_batch_fini(struct wherry__log_batch *batch)
{
    free(batch->bytes);
    *batch = (struct wherry__log_batch){0};
}

/* What it takes in the file. */
static uint64_t batch_size(const struct wherry__log_batch *batch)
{
    return batch->size + (batch->big ? log_record_size(batch->big_size) - LOG_RECORD_HEAD : 0);
}

/* Tie the records to their places; the second time unties them. */
static void tie(const struct wherry__log *log, struct wherry__log_batch *batch, uint64_t position, uint64_t number)
{
    for (size_t at = 0; at < batch->size;) {
        uint8_t *head = batch->bytes + at;
        uint64_t size = log_record_size(wherry__load32(head + 4));
        wherry__store64(head + 16, number);
        wherry__store32(head + 8, wherry__load32(head + 8) ^ log_mix(log->id, position, number));
        at += (size_t)size;
        position += size;
        number++;
    }
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

/* H5: a call that takes less than all is followed by another. */
static int write_batch(const struct wherry__log *log, const struct wherry__log_batch *batch, uint64_t at)
{
    static const uint8_t zeros[8];
    struct iovec parts[3] = {{.iov_base = batch->bytes, .iov_len = batch->size}};
    if (!batch->big)
        return wherry__log_write_all(log->fd, batch->bytes, batch->size, at);
    parts[1] = (struct iovec){.iov_base = (void *)(uintptr_t)batch->big, .iov_len = batch->big_size};
    parts[2] = (struct iovec){.iov_base = (void *)(uintptr_t)zeros, .iov_len = -batch->big_size & 7};
    for (int first = 0; first < 3;) {
        ssize_t written = wherry__sys.pwritev(log->fd, parts + first, 3 - first, (off_t)at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        at += (uint64_t)written;
        while (first < 3 && (size_t)written >= parts[first].iov_len)
            written -= (ssize_t)parts[first++].iov_len;
        if (first < 3) {
            parts[first].iov_base = (uint8_t *)parts[first].iov_base + written;
            parts[first].iov_len -= (size_t)written;
        }
    }
    return 0;
}

static int refuse(const struct wherry__log *log, int code)
{
    if (code == ENOSPC || code == EDQUOT)
        return wherry__fail(code,
                            "%s: the %s is full: nothing was appended; make room and send again, or let the log drop "
                            "what is old with retain_bytes=",
                            log->name, code == ENOSPC ? "disk" : "quota");
    if (code == EFBIG)
        return wherry__fail(EFBIG,
                            "%s: the file would be larger than this process (ulimit -f) or its file system "
                            "allows; begin a new log",
                            log->name);
    return wherry__fail_errno(code, "%s: could not be written", log->name);
}

/* Rule 4: nothing of it stays. */
static int take_back(struct wherry__log *log, int code)
{
    struct stat status;
    uint64_t end = log->state.end;
    if (wherry__sys.fstat(log->fd, &status) != 0 || (uint64_t)status.st_size > end) {
        if (wherry__sys.ftruncate(log->fd, (off_t)end) == 0)
            wherry__log_sync(log); /* its failure is the next call's to report */
    }
    return refuse(log, code);
}

/* Rule 3, under the lock. */
static int append_locked(struct wherry__log *log, struct wherry__log_batch *batch)
{
    int result = wherry__log_settle(log);
    if (result < 0)
        return result;
    struct log_state after = log->state;
    uint64_t size = batch_size(batch);
    if (size > log->most || after.end > log->most - size)
        return refuse(log, EFBIG);
    tie(log, batch, after.end, after.next);
    after.end += size;
    after.next += batch->count;
    if (log->synced > after.durable && log->synced < after.end) {
        after.durable = log->synced;
        after.durable_next = log->synced_next;
    }
    if (log->retain_bytes || log->retain_age)
        wherry__log_trim(log, &after, size);
    result = write_batch(log, batch, log->state.end);
    CRASH(append_written); /* the next appender cuts */
    if (result == 0)
        result = wherry__log_write_state(log, &after);
    CRASH(append_committed); /* it is in the log, and its sender may not know */
    if (result < 0) {
        tie(log, batch, log->state.end, log->state.next);
        return take_back(log, -result);
    }
    log->state = after;
    return 0;
}

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

/* All that was written before the call is on the disk behind it, others' records too: many who append at once each call
 * fdatasync(2), and the file system commits for all of them together (docs/decisions/log.md). */
static int sync_to(struct wherry__log *log, uint64_t end, uint64_t next)
{
    int result = wherry__log_sync(log);
    if (result == 0) {
        log->synced = end;
        log->synced_next = next;
    }
    return result;
}

static int keep_policy(struct wherry__log *log)
{
    if (log->sync_each)
        return sync_to(log, log->state.end, log->state.next);
    if (!log->sync_every)
        return 0;
    wherry_time now = wherry_now();
    if (!log->unsynced_since)
        log->unsynced_since = now;
    return now - log->unsynced_since < log->sync_every ? 0 : sync_to(log, log->state.end, log->state.next);
}

int wherry__log_sync_rest(struct wherry__log *log)
{
    return log->unsynced_since ? sync_to(log, log->state.end, log->state.next) : 0;
}

int wherry__log_append(struct wherry__log *log, struct wherry__log_batch *batch)
{
    if (log->failed)
        return wherry__log_sync(log); /* which says so */
    int result = wherry__log_lock(log, LOG_LOCK_APPEND);
    if (result < 0)
        return result;
    result = append_locked(log, batch);
    wherry__log_unlock(log, LOG_LOCK_APPEND);
    if (result < 0)
        return result;
    wherry__log_batch_cut(batch, 0, 0);
    result = keep_policy(log);
    if (log->retain_bytes || log->retain_age)
        wherry__log_punch(log);
    return result;
}
