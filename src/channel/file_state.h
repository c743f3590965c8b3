/* channel/file_state.h - what the files of a file: endpoint share: transport_file.c opens and closes it, file_send.c,
 * file_receive.c and file_wait.c have the slots in between.
 *
 * SPDX-License-Identifier: MIT
 *
 * What each slot must do is in transport.h. */
#ifndef WHERRY_CHANNEL_FILE_STATE_H
#define WHERRY_CHANNEL_FILE_STATE_H

#include "channel/transport.h"
#include "storage/log.h"

struct wherry__file_state {
    struct wherry__log log;
    struct wherry__log_batch batch;
    /* receiving */
    struct wherry__log_window window;
    struct wherry__log_record record; /* of the last try_borrow() */
    uint64_t position, number;        /* without a group: where we are */
    struct wherry__log_group group;
    bool grouped;
    int failed; /* errno: a place could not be saved, which the next call reports */
    bool ended; /* the file was removed, and that was said */
    bool stale; /* it was cut below our place, and that was said */
    uint64_t seen; /* the count of cuts to which the place and the window belong */
    uint64_t cut_said; /* the place at which the file was found cut, until somebody appends there; 0: it was not */
    int notify_fd, timer_fd;
    bool busy; /* the last try met a lock */
    wherry_time step;
};

static inline struct wherry__file_state *wherry__file_state_of(struct wherry__endpoint *endpoint)
{
    return endpoint->state;
}

/* ---- file_send.c ---- */

int wherry__file_try_send(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                          unsigned flags, size_t *ret_taken);
int wherry__file_try_finish(struct wherry__endpoint *endpoint);
int wherry__file_full(struct wherry__endpoint *endpoint);
int wherry__file_cut_off(struct wherry__endpoint *endpoint, int code);
int wherry__file_settle(struct wherry__endpoint *endpoint);

/* ---- file_receive.c ---- */

int wherry__file_try_borrow(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                            struct wherry_loan *ret_loan);
void wherry__file_give_back(struct wherry__endpoint *endpoint);
void wherry__file_put_back(struct wherry__endpoint *endpoint);
void wherry__file_lend(struct wherry__endpoint *endpoint);

/* ---- file_wait.c ---- */

int wherry__file_wait(struct wherry__endpoint *endpoint, enum wherry__direction direction, uint64_t to,
                      wherry_time deadline);
int wherry__file_watch(struct wherry__endpoint *endpoint, enum wherry__direction direction);

#endif
