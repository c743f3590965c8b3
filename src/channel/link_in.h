/* channel/link_in.h - what the files of the receiving half share: link.c, link_read.c, link_big.c, link_memory.c.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_CHANNEL_LINK_IN_H
#define WHERRY_CHANNEL_LINK_IN_H

#include <sys/types.h>
#include <sys/uio.h>

#include "channel/link.h"

/* From this size on a message is worth a read of its own. */
enum { WHERRY__BIG = 16384 };

/* ---- link_memory.c ---- */

/* Memory of this link for receiving changes from `before` to `after` bytes: false when all links together would pass
 * max_memory. */
bool wherry__link_account(struct wherry__link *link, size_t before, size_t after);
/* The failure to report then. */
int wherry__link_over_memory(const struct wherry__link *link);
/* Room for `more` bytes in `in`, which may grow up to `most`.  0 or -errno. */
int wherry__link_reserve_in(struct wherry__link *link, size_t more, size_t most);
void wherry__link_free_in(struct wherry__link *link);
/* Of a lean link: nothing more comes for now.  What there is of a message moves to memory of its size. */
void wherry__link_settle_in(struct wherry__link *link);
void wherry__link_free_big(struct wherry__link *link);
void wherry__buffer_free(struct wherry__buffer *buffer);

/* ---- link_read.c ---- */

/* Read without waiting.  Bytes, 0 at the end, or -errno (-EAGAIN without a sentence).  Shortens the parts. */
ssize_t wherry__link_read(struct wherry__link *link, struct iovec *parts, int count);
static inline ssize_t wherry__link_read_one(struct wherry__link *link, void *to, size_t size)
{
    struct iovec part = {.iov_base = to, .iov_len = size};
    return wherry__link_read(link, &part, 1);
}
/* Called before a read of small messages: while they are found at once again and again, reads keep a small distance. */
void wherry__link_gather(struct wherry__link *link);
/* The same as wherry__link_read() behind what `in` holds, up to the next delimiter and no further. */
ssize_t wherry__link_read_to_delimiter(struct wherry__link *link, size_t room);

/* ---- link_fds.c, where `takes` is set ---- */

/* As wherry__descriptors_receive(): what comes is held for the message that has the last byte of this read. */
ssize_t wherry__fds_receive(struct wherry__link *link, struct iovec *parts, size_t count,
                            struct wherry__credentials *ret_credentials, bool *ret_had, int *ret_flags);
/* The bytes of the last read will not be used: nor what came with them. */
void wherry__fds_unread(struct wherry__link *link);
/* The loan gets its count: 1, or -EBADMSG: the message is dropped, because not all of them could be had. */
int wherry__fds_lend(struct wherry__link *link, struct wherry_loan *ret_loan);
void wherry__fds_give_back(struct wherry__link *link); /* those that were not taken are closed */
/* Close those of bytes that were passed over, or all. */
void wherry__fds_skip(struct wherry__link *link, bool all);
void wherry__fds_forget(struct wherry__link *link); /* in a forked child */
void wherry__fds_fini(struct wherry__link *link, uint64_t born);

/* ---- link_big.c ---- */

/* Turn to reading a frame of known size to its place: what `in` has of it already goes there first. */
void wherry__big_begin(struct wherry__link *link, const struct wherry__frame *frame, void *buffer, size_t capacity);
/* Read until the message is whole.  1, 0 at the end, -EAGAIN, or a failure. */
int wherry__big_fill(struct wherry__link *link);
void wherry__big_end(struct wherry__link *link);
/* Where a message of the size of the last can go; NULL: nothing big is expected, or there is no such place. */
void *wherry__big_place(const struct wherry__link *link, void *buffer, size_t capacity);
/* Read a header and a payload of the expected size in one call.  As wherry__link_read(). */
ssize_t wherry__big_fill_expected(struct wherry__link *link, void *place);

#endif
