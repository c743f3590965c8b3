/* channel/link.c - owns the receiving half of one byte stream: from read(2) to messages.
 *
 * SPDX-License-Identifier: MIT
 *
 * Small messages: one read takes in as much as there is, and many messages are handed out of it.  Big ones: the bytes
 * are read to where the message is delivered from, which is the receiver's own buffer when it is large enough; once one
 * big message has come, the next read asks for a header and as many bytes again in one call (readv).  What is read
 * twice as often, or copied once more, shows in bench/. */
#include "channel/link_in.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"
#include "socket/inet.h"

void wherry__link_init(struct wherry__link *link, const struct wherry__config *config,
                       struct wherry__counters *counters)
{
    link->config = config;
    link->counters = counters;
    link->ahead = config->framing.kind == WHERRY__FRAME_LENGTH;
    link->peek_fds[0] = link->peek_fds[1] = -1;
}

void wherry__link_is_unix(struct wherry__link *link)
{
    link->passes = true;
    link->takes = link->config->fds > 0;
    link->ahead &= !link->takes;
}

void wherry__link_forget(struct wherry__link *link)
{
    wherry__link_drop_kept(link);
    link->in.start = link->in.end = link->scanned = 0;
    link->big.active = false;
    link->big.data = NULL;
    if (link->boxed)
        wherry__part_box_free(&link->parts, link->boxed);
    link->boxed = NULL;
    wherry__parts_clear(&link->parts);
    link->ended = link->seen = link->skipping = link->held = false;
    link->sender = 0; /* two processes never send under one number */
    link->peek_fds[0] = link->peek_fds[1] = -1; /* closed at the fork */
    wherry__fds_forget(link);
}

bool wherry__connection_lost(int code)
{
    return code == ECONNRESET || code == ETIMEDOUT || code == EHOSTUNREACH || code == ENETUNREACH || code == ENETDOWN ||
           code == EHOSTDOWN || code == ECONNABORTED || code == EPIPE || code == ENOTCONN;
}

/* A socket's next bytes, up to a MiB of them, are taken in and dropped.  False: no more will come. */
static bool drop_what_comes(const struct wherry__link *link)
{
    enum { PIECES = 64 };
    char dropped[16384];
    for (int i = 0; i < PIECES; i++) {
        ssize_t size = wherry__sys.recv(link->in_fd, dropped, sizeof dropped, MSG_DONTWAIT);
        if (size == 0 || (size < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (size < 0 && errno == EAGAIN)
            break;
    }
    return true;
}

void wherry__link_make_room(const struct wherry__link *link)
{
    bool own = !link->exact; /* else another process may receive from it */
    if (own && link->kind == WHERRY__LINK_SOCKET && link->in_fd >= 0 && link->in_fd == link->out_fd &&
        wherry__link_keeps(link))
        drop_what_comes(link);
}

bool wherry__link_lingers(struct wherry__link *link)
{
    if (!link->plain || link->in_fd < 0)
        return false;
    if (!link->finished)
        wherry__sys.shutdown(link->out_fd, SHUT_WR);
    link->finished = link->lingers = true;
    return drop_what_comes(link) && !wherry__inet_arrived(link->in_fd);
}

void wherry__link_fini(struct wherry__link *link, uint64_t born)
{
    if (born == wherry__generation())
        wherry__link_lingers(link);
    bool inheritable = link->config->inheritable;
    if (link->out_fd != link->in_fd)
        wherry__fd_close_from(born, inheritable, &link->out_fd);
    wherry__fd_close_from(born, inheritable, &link->in_fd);
    wherry__fd_close_from(born, false, &link->peek_fds[0]);
    wherry__fd_close_from(born, false, &link->peek_fds[1]);
    wherry__fds_fini(link, born);
    link->in_fd = link->out_fd = -1;
    if (link->boxed)
        wherry__part_box_free(&link->parts, link->boxed);
    link->boxed = NULL;
    wherry__parts_clear(&link->parts);
    wherry__link_free_in(link);
    wherry__link_drop_kept(link);
    wherry__buffer_free(&link->out);
    wherry__link_free_big(link);
    wherry__packet_fini(link);
}

/* ---- filling the buffer ---- */

/* Bring in at least a byte towards the `needed` that the front of `in` lacks.  Bytes, 0 at the end, or -errno. */
static ssize_t fill(struct wherry__link *link, size_t needed, void *buffer, size_t capacity)
{
    size_t have = link->in.end - link->in.start;
    enum wherry__framing_kind kind = link->config->framing.kind;
    void *place = have == 0 ? wherry__big_place(link, buffer, capacity) : NULL;
    if (place)
        return wherry__big_fill_expected(link, place);
    size_t most = wherry__size_max(needed, WHERRY__LINK_BUFFER);
    int result = wherry__link_reserve_in(link, needed - have, wherry__size_max(most, link->config->max_message + 1));
    if (result < 0)
        return result;
    size_t room = link->in.capacity - link->in.end;
    ssize_t size;
    if (!link->exact)
        wherry__link_gather(link);
    if (link->exact && (kind == WHERRY__FRAME_LINE || kind == WHERRY__FRAME_NUL))
        size = wherry__link_read_to_delimiter(link, room);
    else if (kind == WHERRY__FRAME_RAW)
        size = wherry__link_read_one(link, link->in.data + link->in.end,
                                     wherry__size_min(room, link->config->max_message));
    else
        size = wherry__link_read_one(link, link->in.data + link->in.end, link->exact ? needed - have : room);
    link->drained = size < (ssize_t)room;
    if (size > 0)
        link->in.end += (size_t)size;
    return size;
}

void wherry__link_stats(const struct wherry__link *link, struct wherry_peer_stats *ret_stats)
{
    struct wherry__inet_address address;
    ret_stats->kept_bytes = link->out.end - link->out.start + link->rest_size;
    ret_stats->memory = sizeof *link + link->in.capacity + link->out.capacity + link->big.capacity +
                        (link->rest_memory ? link->rest_size : 0);
    if (link->plain && wherry__inet_remote(link->in_fd, &address))
        wherry__inet_text(&address, ret_stats->address);
}

bool wherry__link_hung_up(const struct wherry__link *link)
{
    struct pollfd poll = {.fd = link->out_fd};
    static const struct timespec at_once;
    return wherry__sys.ppoll(&poll, 1, &at_once) == 1 && (poll.revents & (POLLHUP | POLLERR));
}

int wherry__link_pidfd(const struct wherry__link *link)
{
    int fd = link->passes ? wherry__credentials_pidfd(link->in_fd) : -ENODATA;
    if (fd == -ENODATA)
        return wherry__fail(EOPNOTSUPP, "%s: the kernel knows no process at the other end", link->config->name);
    if (fd == -ESRCH)
        return wherry__fail(ESRCH, "%s: the process that made the connection is gone, or of another PID namespace",
                            link->config->name);
    if (fd < 0)
        return wherry__fail_errno(-fd, "%s: no pidfd of the peer", link->config->name);
    if (!wherry__link_hung_up(link)) /* so it was alive when it was opened, if by number */
        return fd;
    wherry__fd_close(&fd);
    return wherry__fail(ENOTCONN, "%s: the other end is closed", link->config->name);
}

/* ---- what the bytes mean ---- */

static void loan_of(const struct wherry__link *link, struct wherry_loan *ret_loan, const void *data, size_t size,
                    uint32_t type, uint32_t flags)
{
    ret_loan->data = data;
    ret_loan->info.size = size;
    ret_loan->info.type = type;
    ret_loan->info.flags = flags;
    ret_loan->info.peer = link->peer;
    ret_loan->info.fd_count = 0;
}

static int lend_big(struct wherry__link *link, struct wherry_loan *ret_loan)
{
    link->loan = 0;
    loan_of(link, ret_loan, link->big.data, link->big.size, link->big.type, 0);
    return 1;
}

static int lend_box(struct wherry__link *link, struct wherry_loan *ret_loan)
{
    link->loan = 0;
    loan_of(link, ret_loan, link->boxed->data, link->boxed->total, link->boxed->type, 0);
    return 1;
}

static const char *text_hint(const uint8_t *data, size_t size)
{
    return wherry__looks_like_text(data, size) ? "; they look like text: try frame=line" : "";
}

/* Foreign bytes at the front.  One of many connections is the caller's to cut; where there is but one, or where writers
 * cannot be told apart, they are skipped up to the next frame, and reported once. */
static int foreign_bytes(struct wherry__link *link)
{
    const uint8_t *data = link->in.data + link->in.start;
    size_t size = link->in.end - link->in.start;
    const char *hint = text_hint(data, size);
    if (link->cuts) {
        char name[64] = "the peer";
        if (link->peer.has_credentials)
            wherry__process_name(link->peer.pid, name);
        return wherry__fail(EBADMSG, "%s: %s sent bytes that are no wherry frame, or one over max_message%s",
                            link->config->name, name, hint);
    }
    bool known = link->skipping;
    link->skipping = true;
    link->in.start += wherry__frame_resync(data, size, link->config->max_message);
    if (known)
        return 0;
    wherry__count(&link->counters->dropped, 1);
    return wherry__fail(EBADMSG, "%s: skipped bytes that are no wherry frame, or one over max_message%s",
                        link->config->name, hint);
}

/* The stream ended with something at the front that is no whole message. */
static int leftover(struct wherry__link *link, struct wherry_loan *ret_loan)
{
    size_t size = link->in.end - link->in.start;
    enum wherry__framing_kind kind = link->config->framing.kind;
    size_t torn = wherry__parts_clear(&link->parts) + (link->big.active && link->big.filled < link->big.size);
    if (torn)
        wherry__count(&link->counters->dropped, torn);
    if (link->big.active)
        wherry__big_end(link);
    if (size == 0)
        return 0;
    const uint8_t *data = link->in.data + link->in.start;
    if ((kind == WHERRY__FRAME_LINE || kind == WHERRY__FRAME_NUL) && !link->skipping) {
        loan_of(link, ret_loan, data, size, 0, WHERRY_INCOMPLETE);
        link->loan = size;
        return 1;
    }
    link->in.start = link->in.end;
    link->scanned = 0;
    if (!link->skipping) /* those bytes were counted */
        wherry__count(&link->counters->dropped, 1);
    if (kind == WHERRY__FRAME_LENGTH && size < WHERRY__WHOLE_HEADER && !link->skipping &&
        wherry__looks_like_text(data, size))
        return wherry__fail(EBADMSG, "%s: the stream ended with bytes that are no wherry frame%s", link->config->name,
                            text_hint(data, size));
    return 0;
}

/* A record that has outgrown max_message: `size` bytes of it are there and go; when its delimiter is not among them,
 * what follows up to it goes too (`skipping`), since the middle of a record is no message. */
static int too_long(struct wherry__link *link, size_t size, bool whole)
{
    bool known = link->skipping;
    link->in.start += size;
    link->scanned = 0;
    link->skipping = !whole;
    if (known)
        return 0;
    wherry__count(&link->counters->dropped, 1);
    return wherry__fail(EBADMSG, "%s: a record longer than max_message (%zu bytes) was dropped; raise max_message",
                        link->config->name, link->config->max_message);
}

static int take_part(struct wherry__link *link, const struct wherry__frame *frame, struct wherry_loan *ret_loan)
{
    const uint8_t *payload = link->in.data + link->in.start + frame->before;
    uint64_t dropped = 0;
    link->in.start += frame->before + frame->payload;
    uint64_t position = link->bytes_read - (link->in.end - link->in.start);
    int result = wherry__parts_take(&link->parts, link->in_fd, position, link->bytes_read, &frame->part, payload,
                                    link->config->max_memory, &dropped, &link->boxed);
    if (result == -ENOBUFS) {
        wherry__count(&link->counters->dropped, dropped);
        return wherry__fail(EBADMSG, "%s: halves of messages fill max_memory (%zu bytes); one was dropped",
                            link->config->name, link->config->max_memory);
    }
    if (result == -EBADMSG)
        dropped += frame->part.offset == 0; /* later parts of a message already counted go quietly */
    if (dropped)
        wherry__count(&link->counters->dropped, dropped);
    if (result != 1)
        return 0;
    return lend_box(link, ret_loan);
}

/* Look at the front of `in`.  1: lent.  0: *ret_needed bytes must be there (more than there are), or 0 when something
 * was taken off and it is worth looking again. */
static int look(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan,
                size_t *ret_needed)
{
    struct wherry__frame frame;
    size_t have = link->in.end - link->in.start;
    const struct wherry__config *config = link->config;
    bool is_length = config->framing.kind == WHERRY__FRAME_LENGTH;
    *ret_needed = 0;
    switch (wherry__frame_decode(&config->framing, link->in.data + link->in.start, have, config->max_message,
                                 &link->scanned, &frame)) {
    case WHERRY__FRAME_BAD:
        return foreign_bytes(link);
    case WHERRY__FRAME_UNKNOWN:
        if (!is_length && (have > config->max_message || link->skipping))
            return too_long(link, have, false);
        *ret_needed = frame.needed;
        return 0;
    case WHERRY__FRAME_PART:
        link->skipping = false;
        *ret_needed = frame.before + frame.payload;
        if (have < *ret_needed)
            return 0;
        *ret_needed = 0;
        return take_part(link, &frame, ret_loan);
    case WHERRY__FRAME_WHOLE:
        break;
    }
    size_t total = frame.before + frame.payload + frame.after;
    if (!is_length && (frame.payload > config->max_message || link->skipping))
        return too_long(link, total, true);
    link->skipping = false;
    if (have >= total) {
        loan_of(link, ret_loan, link->in.data + link->in.start + frame.before, frame.payload, frame.type, 0);
        link->loan = total;
        return 1;
    }
    if (frame.payload >= WHERRY__BIG)
        wherry__big_begin(link, &frame, buffer, capacity);
    else
        *ret_needed = total;
    return 0;
}

/* raw framing with room in the receiver's buffer: one read, straight to its place. */
static int borrow_raw(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    ssize_t size = wherry__link_read_one(link, buffer, wherry__size_min(capacity, link->config->max_message));
    if (size <= 0)
        return (int)size;
    link->loan = 0;
    loan_of(link, ret_loan, buffer, (size_t)size, 0, 0);
    return 1;
}

/* How much to ask for when nothing is known of the next message. */
static size_t first_read(const struct wherry__link *link)
{
    switch (link->config->framing.kind) {
    case WHERRY__FRAME_LENGTH:
        return WHERRY__WHOLE_HEADER;
    case WHERRY__FRAME_FIXED:
        return wherry__size_min(link->config->framing.size, WHERRY__BIG);
    default:
        return 1;
    }
}

static int borrow(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    if (link->boxed) /* put together, and not taken when it was offered */
        return lend_box(link, ret_loan);
    bool straight = link->config->framing.kind == WHERRY__FRAME_RAW && buffer && capacity;
    for (;;) {
        ssize_t result;
        if (link->big.active) {
            result = wherry__big_fill(link);
            if (result == 1)
                return lend_big(link, ret_loan);
        } else {
            size_t needed = first_read(link);
            if (link->in.end > link->in.start) {
                result = look(link, buffer, capacity, ret_loan, &needed);
                if (result != 0)
                    return (int)result;
                if (needed == 0)
                    continue;
            } else {
                link->scanned = 0;
            }
            if (link->ended)
                result = 0;
            else if (straight)
                result = borrow_raw(link, buffer, capacity, ret_loan);
            else
                result = fill(link, needed, buffer, capacity);
            if (result > 0 && straight)
                return 1;
        }
        if (result == -EAGAIN && link->lean)
            wherry__link_settle_in(link);
        if (result < 0)
            return (int)result;
        if (result == 0) {
            link->ended = true;
            return leftover(link, ret_loan);
        }
    }
}

int wherry__link_borrow(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    int result = link->kind == WHERRY__LINK_PACKET ? wherry__packet_borrow(link, buffer, capacity, ret_loan)
                                                   : borrow(link, buffer, capacity, ret_loan);
    if (__builtin_expect(link->fds != NULL, 0)) {
        if (result == 1)
            return wherry__fds_lend(link, ret_loan);
        if (result != -EAGAIN) /* they go with what was dropped, not at the next call */
            wherry__fds_skip(link, result == 0 || link->kind == WHERRY__LINK_PACKET);
    }
    return result;
}

void wherry__link_give_back(struct wherry__link *link)
{
    wherry__fds_give_back(link);
    if (link->kind == WHERRY__LINK_PACKET) {
        wherry__packet_give_back(link);
        return;
    }
    if (link->boxed) {
        wherry__part_box_free(&link->parts, link->boxed);
        link->boxed = NULL;
    } else if (link->big.active) {
        wherry__big_end(link);
    } else {
        link->in.start += link->loan;
        link->loan = 0;
        link->scanned = 0;
    }
    if (link->lean && link->in.start == link->in.end)
        wherry__link_free_in(link);
}

bool wherry__link_ready(const struct wherry__link *link)
{
    if (link->kind == WHERRY__LINK_PACKET)
        return link->held;
    if (link->boxed || (link->big.active && link->big.filled == link->big.size))
        return true;
    size_t have = link->in.end - link->in.start, scanned = link->scanned;
    if (have == 0 || link->big.active)
        return false;
    struct wherry__frame frame;
    switch (wherry__frame_decode(&link->config->framing, link->in.data + link->in.start, have,
                                 link->config->max_message, &scanned, &frame)) {
    case WHERRY__FRAME_WHOLE:
    case WHERRY__FRAME_PART:
        return have >= frame.before + frame.payload + frame.after;
    case WHERRY__FRAME_BAD:
        return true;
    case WHERRY__FRAME_UNKNOWN:
        break;
    }
    return false;
}
