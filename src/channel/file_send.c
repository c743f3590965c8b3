/* channel/file_send.c - owns the sending half of a file: endpoint: messages gathered into a batch until a flush.
 *
 * SPDX-License-Identifier: MIT
 *
 * storage/log_append.c writes the batch and takes the lock for it; waiting for that lock is file_wait.c. */
#include <errno.h>

#include "base/why.h"
#include "channel/file_state.h"

enum { BATCH = 256 << 10 }; /* bytes that leave in one write */

static int push(struct wherry__file_state *state)
{
    int result = wherry__log_append(&state->log, &state->batch);
    if (result != -EAGAIN)
        state->step = 0;
    return result;
}

/* Add what fits into one write; how many, or -errno when not even the first could be. */
static ssize_t gather(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count)
{
    struct wherry__log_batch *batch = &wherry__file_state_of(endpoint)->batch;
    size_t added = 0;
    int result = 0;
    while (added < count && batch->size < BATCH && !batch->big) {
        const struct wherry_message *message = &messages[added];
        if (message->to)
            result = wherry__fail(EOPNOTSUPP, "%s: a log has no addressees: leave `to` 0", endpoint->config->name);
        else
            result = wherry__log_batch_add(batch, message->data, message->size, (uint32_t)message->type);
        if (result < 0)
            break;
        added++;
    }
    return added > 0 ? (ssize_t)added : result;
}

int wherry__file_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                         unsigned flags, size_t *ret_taken)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    struct wherry__log_batch *batch = &state->batch;
    *ret_taken = 0;
    while (*ret_taken < count) {
        int result = 0;
        if (batch->size >= BATCH) /* of earlier calls, which met the lock */
            result = push(state);
        size_t size = batch->size, before = batch->count;
        ssize_t added = result < 0 ? result : gather(endpoint, messages + *ret_taken, count - *ret_taken);
        if (added < 0)
            return added == -EAGAIN && *ret_taken ? 0 : (int)added;
        bool waits = (flags & WHERRY_MORE) && *ret_taken + (size_t)added == count && !batch->big && batch->size < BATCH;
        result = waits ? 0 : push(state);
        if (result < 0 && batch->size == 0) /* it is in the log, and not known to be on the disk */
            return result;
        if (result < 0) {
            wherry__log_batch_cut(batch, size, before);
            return result == -EAGAIN && *ret_taken ? 0 : result;
        }
        *ret_taken += (size_t)added;
    }
    return 0;
}

/* What could not be appended waits on: a flush that returns 0 has accepted it, and none may that has not. */
int wherry__file_try_finish(struct wherry__endpoint *endpoint)
{
    struct wherry__file_state *state = wherry__file_state_of(endpoint);
    return state->batch.count > 0 || state->log.failed ? push(state) : 0;
}

/* A log is never full: what a send waits for is the lock. */
int wherry__file_full(struct wherry__endpoint *endpoint)
{
    return wherry__log_say_held(&wherry__file_state_of(endpoint)->log, WHERRY__LOG_HELD_SEND, ETIMEDOUT);
}

int wherry__file_cut_off(struct wherry__endpoint *endpoint, int code)
{
    return wherry__log_say_held(&wherry__file_state_of(endpoint)->log, WHERRY__LOG_HELD_CLOSE, code);
}

/* What fsync= with a time still owes. */
int wherry__file_settle(struct wherry__endpoint *endpoint)
{
    return wherry__log_sync_rest(&wherry__file_state_of(endpoint)->log);
}
