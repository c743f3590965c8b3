/* channel/link.c - owns the receiving half of one byte stream: from read(2) to messages.
 *
 * SPDX-License-Identifier: MIT
 *
 * Small messages: one read takes in as much as there is, and many messages are handed out of it.  Big ones: the bytes
 * are read to where the message is delivered from, which is the receiver's own buffer when it is large enough; once one big
 * message has come, the next read asks for a header and as many bytes again in one call (readv).  What is read twice as
 * often, or copied once more, shows in bench/. */
#include "channel/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/size.h"
#include "base/sys.h"
#include "base/why.h"

/* From this size on a message is worth a read of its own. */
enum { BIG = 16384 };
/* A pipe wakes its writer when a read has made room: with short reads the one writes while the other reads on, 64 KiB messages go
 * through a quarter faster (docs/decisions/pipes.md). */
enum { PIPE_READ = 16384 };
/* Bytes that a big read takes in behind its message: the next header, and little that is copied twice. */
enum { BEHIND = 4096 };
/* Memory that a busy link keeps for its next big message. */
enum { KEEP_MEMORY = 1 << 20 };
/* Read buffers that many links may have beside the unfinished messages that max_memory speaks of. */
enum { READ_BUFFERS = 64 * WHERRY__LINK_BUFFER };

void wherry__link_init(struct wherry__link *link, const struct wherry__config *config,
                       struct wherry__counters *counters)
{
    link->config = config;
    link->counters = counters;
    link->peek_fds[0] = link->peek_fds[1] = -1;
}

static void buffer_free(struct wherry__buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct wherry__buffer){0};
}

/* Memory of this link for receiving changes from `before` to `after` bytes: false when all links together would pass
 * max_memory. */
static bool account(struct wherry__link *link, size_t before, size_t after)
{
    if (!link->all_held)
        return true;
    size_t total = *link->all_held - before + after;
    if (after > before && total > link->config->max_memory + READ_BUFFERS)
        return false;
    *link->all_held = total;
    return true;
}

static int over_memory(const struct wherry__link *link)
{
    return wherry__fail(EBADMSG, "%s: unfinished messages of all peers fill max_memory (%zu bytes)", link->config->name,
                        link->config->max_memory);
}

static void free_in(struct wherry__link *link)
{
    account(link, link->in.capacity, 0);
    buffer_free(&link->in);
}

static void free_big(struct wherry__link *link)
{
    account(link, link->big.capacity, 0);
    free(link->big.memory);
    link->big.memory = NULL;
    link->big.capacity = 0;
}

static int reserve_in(struct wherry__link *link, size_t more, size_t most)
{
    size_t before = link->in.capacity;
    if (wherry__buffer_reserve(&link->in, more, most) < 0)
        return wherry__fail(ENOMEM, "%s: no memory to receive", link->config->name);
    if (account(link, before, link->in.capacity))
        return 0;
    account(link, before, 0);
    buffer_free(&link->in); /* its connection is about to go */
    return over_memory(link);
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
}

void wherry__link_fini(struct wherry__link *link, uint64_t born)
{
    bool inheritable = link->config->inheritable;
    if (link->out_fd != link->in_fd)
        wherry__fd_close_from(born, inheritable, &link->out_fd);
    wherry__fd_close_from(born, inheritable, &link->in_fd);
    wherry__fd_close_from(born, false, &link->peek_fds[0]);
    wherry__fd_close_from(born, false, &link->peek_fds[1]);
    link->in_fd = link->out_fd = -1;
    if (link->boxed)
        wherry__part_box_free(&link->parts, link->boxed);
    link->boxed = NULL;
    wherry__parts_clear(&link->parts);
    free_in(link);
    wherry__link_drop_kept(link);
    buffer_free(&link->out);
    free_big(link);
    wherry__packet_fini(link);
}

int wherry__buffer_reserve(struct wherry__buffer *buffer, size_t more, size_t most)
{
    if (buffer->start == buffer->end)
        buffer->start = buffer->end = 0;
    if (buffer->capacity - buffer->end >= more)
        return 0;
    size_t used = buffer->end - buffer->start;
    size_t needed;
    if (!wherry__size_add(used, more, &needed))
        return -ENOMEM;
    if (needed > buffer->capacity) {
        size_t capacity = wherry__size_grow(buffer->capacity, needed, WHERRY__LINK_BUFFER, wherry__size_max(most, needed));
        uint8_t *data = malloc(capacity);
        if (!data)
            return -ENOMEM;
        if (used)
            memcpy(data, buffer->data + buffer->start, used);
        free(buffer->data);
        buffer->data = data;
        buffer->capacity = capacity;
    } else {
        memmove(buffer->data, buffer->data + buffer->start, used);
    }
    buffer->start = 0;
    buffer->end = used;
    return 0;
}

/* ---- reading ---- */

/* The writer of what was just read: its connection goes when it is of a uid that may not. */
static int take_credentials(struct wherry__link *link, const struct wherry__credentials *credentials)
{
    if (!wherry__allow_check(&link->config->allow, credentials->uid)) {
        char name[64];
        return wherry__fail(EPERM, "%s: %s of uid %u wrote to the connection; allow it with uid=%u", link->config->name,
                            wherry__process_name(credentials->pid, name), (unsigned)credentials->uid,
                            (unsigned)credentials->uid);
    }
    link->peer.has_credentials = true;
    link->peer.pid = credentials->pid;
    link->peer.uid = credentials->uid;
    link->peer.gid = credentials->gid;
    return 0;
}

/* 1: the descriptor can be read without waiting. */
static int may_read(int fd)
{
    struct pollfd poll = {.fd = fd, .events = POLLIN};
    static const struct timespec at_once;
    int count = wherry__sys.ppoll(&poll, 1, &at_once);
    return count < 0 ? -errno : count;
}

static ssize_t read_now(int fd, const struct iovec *parts, int count)
{
    ssize_t size;
    do
        size = count == 1 ? wherry__sys.read(fd, parts[0].iov_base, parts[0].iov_len) : wherry__sys.readv(fd, parts, count);
    while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : size;
}

/* On a FIFO, read() says 0 also before the first writer has come; poll() tells one from the other (pipe(7), H37).  But poll() asks
 * without the pipe's lock, and while a writer is within open(2) it may see that one came and not yet that it is there: a hang-up
 * that is none.  The second read waits for that lock (docs/decisions/pipes.md). */
static ssize_t end_or_nobody_yet(const struct wherry__link *link, const struct iovec *parts, int count)
{
    struct pollfd poll = {.fd = link->in_fd, .events = POLLIN};
    static const struct timespec at_once;
    if (wherry__sys.ppoll(&poll, 1, &at_once) <= 0 || !(poll.revents & (POLLHUP | POLLIN)))
        return -EAGAIN;
    ssize_t size = read_now(link->in_fd, parts, count);
    return size == 0 && !(poll.revents & POLLHUP) ? -EAGAIN : size;
}

/* Read without waiting.  Bytes, 0 at the end, or -errno (EAGAIN without a sentence). */
static ssize_t read_parts(struct wherry__link *link, struct iovec *parts, int count)
{
    ssize_t size;
    if (link->kind == WHERRY__LINK_SOCKET) {
        struct wherry__credentials credentials;
        bool had = false;
        int flags;
        size = wherry__credentials_receive(link->in_fd, parts, (size_t)count, 0, &credentials, &had, NULL, &flags);
        if (size > 0 && had && !wherry__credentials_none(&credentials) &&
            (credentials.pid != link->peer.pid || credentials.uid != link->peer.uid || credentials.gid != link->peer.gid)) {
            int result = take_credentials(link, &credentials);
            if (result < 0)
                return result;
        }
    } else {
        if (link->blocks && may_read(link->in_fd) != 1)
            return -EAGAIN;
        if (link->kind == WHERRY__LINK_PIPE)
            count = wherry__iovec_shorten(parts, count, PIPE_READ);
        size = read_now(link->in_fd, parts, count);
        if (size == 0 && link->fifo && !link->seen)
            size = end_or_nobody_yet(link, parts, count);
    }
    if (size > 0) {
        link->seen = true;
        link->bytes_read += (size_t)size;
        return size;
    }
    if (size == 0 || size == -EAGAIN)
        return size;
    if (size == -ECONNRESET && link->kind == WHERRY__LINK_SOCKET)
        return 0; /* the other end went with bytes of ours unread */
    if (size == -EIO && link->kind == WHERRY__LINK_FILE)
        return 0; /* the terminal hung up: ioctl_tty(2) */
    return wherry__fail_errno((int)-size, "%s: reading failed", link->config->name);
}

static ssize_t read_one(struct wherry__link *link, void *to, size_t size)
{
    struct iovec part = {.iov_base = to, .iov_len = size};
    return read_parts(link, &part, 1);
}

/* ---- big messages ---- */

static int big_grow(struct wherry__link *link)
{
    size_t capacity = wherry__size_grow(link->big.capacity, link->big.filled + 1, WHERRY__LINK_BUFFER, link->big.size);
    if (!account(link, link->big.capacity, capacity))
        return over_memory(link);
    uint8_t *memory = realloc(link->big.memory, capacity);
    if (!memory) {
        account(link, capacity, link->big.capacity);
        return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", link->config->name, link->big.size);
    }
    link->big.memory = link->big.data = memory;
    link->big.capacity = capacity;
    return 0;
}

static void big_begin(struct wherry__link *link, size_t size, uint32_t type, void *buffer, size_t capacity)
{
    link->big.size = size;
    link->big.filled = 0;
    link->big.type = type;
    link->big.active = true;
    link->big.data = buffer && capacity >= size ? buffer : link->big.memory;
}

bool wherry__link_in_buffer(const struct wherry__link *link)
{
    return link->big.active && link->big.data && link->big.data != link->big.memory;
}

/* Room in `in`, which is empty, for what a big read takes in behind its message. */
static bool reads_behind(struct wherry__link *link)
{
    return !link->exact && link->config->framing.kind == WHERRY__FRAME_LENGTH && link->in.start == link->in.end &&
           reserve_in(link, BEHIND, BEHIND) == 0;
}

/* Read until the message is whole.  1, 0 at the end, -EAGAIN, or a failure. */
static int big_fill(struct wherry__link *link)
{
    while (link->big.filled < link->big.size) {
        size_t room = link->big.size;
        if (!wherry__link_in_buffer(link)) {
            if (link->big.filled == link->big.capacity || !link->big.memory) {
                int result = big_grow(link);
                if (result < 0)
                    return result;
            }
            room = wherry__size_min(room, link->big.capacity);
        }
        struct iovec parts[2] = {{link->big.data + link->big.filled, room - link->big.filled}};
        int count = 1;
        if (room == link->big.size && reads_behind(link))
            parts[count++] = (struct iovec){link->in.data + link->in.end, BEHIND};
        ssize_t size = read_parts(link, parts, count);
        if (size <= 0)
            return (int)size;
        size_t here = wherry__size_min((size_t)size, room - link->big.filled);
        link->big.filled += here;
        link->in.end += (size_t)size - here;
    }
    return 1;
}

static void big_end(struct wherry__link *link)
{
    link->big.active = false;
    if (link->lean || link->big.capacity > KEEP_MEMORY)
        free_big(link);
    link->big.data = NULL;
}

int wherry__link_rescue(struct wherry__link *link)
{
    if (!wherry__link_in_buffer(link))
        return 0;
    size_t filled = link->big.filled;
    if (filled > link->big.capacity || !link->big.memory) {
        size_t capacity = wherry__size_max(filled, WHERRY__LINK_BUFFER);
        bool within = account(link, link->big.capacity, capacity);
        uint8_t *memory = within ? realloc(link->big.memory, capacity) : NULL;
        if (!memory) {
            if (within)
                account(link, capacity, link->big.capacity);
            link->ended = true; /* what follows on the stream can no longer be told apart */
            big_end(link);
            return wherry__fail(ENOMEM, "%s: no memory for a message of %zu bytes", link->config->name, link->big.size);
        }
        link->big.memory = memory;
        link->big.capacity = capacity;
    }
    if (filled)
        memcpy(link->big.memory, link->big.data, filled);
    link->big.data = link->big.memory;
    return 0;
}

/* Turn to reading a frame of known size to its place: what `in` has of it already goes there first. */
static void big_begin_from_buffer(struct wherry__link *link, const struct wherry__frame *frame, void *buffer,
                                  size_t capacity)
{
    size_t have = wherry__size_min(link->in.end - link->in.start - frame->before, frame->payload);
    big_begin(link, frame->payload, frame->type, buffer, capacity);
    const uint8_t *from = link->in.data + link->in.start + frame->before;
    while (link->big.filled < have) {
        if (!wherry__link_in_buffer(link) && (!link->big.memory || link->big.filled == link->big.capacity) && big_grow(link) < 0)
            break; /* big_fill() meets the same lack of memory and reports it */
        size_t room = wherry__link_in_buffer(link) ? have : wherry__size_min(have, link->big.capacity);
        memcpy(link->big.data + link->big.filled, from + link->big.filled, room - link->big.filled);
        link->big.filled = room;
    }
    link->in.start += frame->before + link->big.filled;
    link->expected = frame->payload;
}

/* ---- filling the buffer ---- */

/* Where a message of the expected size can go: the receiver's buffer, or for a borrow the memory kept from the last. */
static void *place_for_expected(const struct wherry__link *link, void *buffer, size_t capacity)
{
    if (link->exact || link->config->framing.kind != WHERRY__FRAME_LENGTH || link->expected < BIG)
        return NULL;
    if (buffer)
        return capacity >= link->expected ? buffer : NULL;
    return link->big.capacity >= link->expected ? link->big.memory : NULL;
}

/* What a read for an expected message brought instead of one: into `in`, as if it had been read ahead.  Of `read` bytes the
 * first are in `header`, the next in `buffer`, and the last `over` already where `in` ends. */
static ssize_t put_ahead(struct wherry__link *link, const uint8_t *header, const void *buffer, size_t read, size_t over)
{
    size_t first = wherry__size_min(read, WHERRY__WHOLE_HEADER);
    link->in.end += over;
    int result = reserve_in(link, read - over, read);
    if (result < 0)
        return result;
    uint8_t *to = link->in.data + link->in.start;
    memmove(to + (read - over), to, over);
    memcpy(to, header, first);
    memcpy(to + first, buffer, read - over - first);
    link->in.end += read - over;
    return (ssize_t)read;
}

/* With a big message expected and nothing read ahead: a header, the payload, which goes to its place, and the beginning of what
 * follows in one call. */
static ssize_t fill_expecting(struct wherry__link *link, void *buffer)
{
    uint8_t header[WHERRY__WHOLE_HEADER];
    struct iovec parts[3] = {{header, sizeof header}, {buffer, link->expected}};
    int count = 2;
    if (reads_behind(link))
        parts[count++] = (struct iovec){link->in.data + link->in.end, BEHIND};
    ssize_t size = read_parts(link, parts, count);
    if (size <= 0)
        return size;
    size_t read = (size_t)size, scanned = 0, expected = link->expected;
    size_t payload = read > sizeof header ? read - sizeof header : 0;
    size_t over = payload > expected ? payload - expected : 0;
    struct wherry__frame frame;
    bool whole = payload && wherry__frame_decode(&link->config->framing, header, sizeof header,
                                                 link->config->max_message, &scanned, &frame) == WHERRY__FRAME_WHOLE;
    if (!whole || frame.payload > expected || (frame.payload < expected && frame.payload < payload)) {
        link->expected = 0;
        return put_ahead(link, header, buffer, read, over);
    }
    big_begin(link, frame.payload, frame.type, buffer == link->big.memory ? NULL : buffer, expected);
    link->big.filled = payload - over;
    link->in.end += over;
    return size;
}

/* The distance behind the next delimiter within `size` peeked bytes, or all of them. */
static size_t up_to_delimiter(const struct wherry__link *link, const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, wherry__framing_delimiter(&link->config->framing), size);
    return end ? (size_t)(end - data) + 1 : size;
}

/* Look at what the kernel holds without taking it: MSG_PEEK on sockets, tee(2) to a pipe of our own on pipes.  Elsewhere a
 * byte at a time must do, as in every shell's `read`. */
static ssize_t peek(struct wherry__link *link, uint8_t *to, size_t size)
{
    if (link->kind == WHERRY__LINK_SOCKET) {
        ssize_t peeked = wherry__sys.recv(link->in_fd, to, size, MSG_PEEK | MSG_DONTWAIT);
        return peeked < 0 ? -errno : peeked;
    }
    if (link->kind != WHERRY__LINK_PIPE)
        return 1;
    if (link->peek_fds[0] < 0) {
        wherry__fd_guard();
        if (wherry__sys.pipe2(link->peek_fds, O_CLOEXEC | O_NONBLOCK) == 0) {
            wherry__fd_note(link->peek_fds[0]);
            wherry__fd_note(link->peek_fds[1]);
        }
        wherry__fd_unguard();
        if (link->peek_fds[0] < 0)
            return 1;
    }
    ssize_t copied = wherry__sys.tee(link->in_fd, link->peek_fds[1], size, SPLICE_F_NONBLOCK);
    if (copied <= 0)
        return copied < 0 && errno != EAGAIN ? 1 : copied < 0 ? -EAGAIN : 0;
    if (wherry__sys.read(link->peek_fds[0], to, (size_t)copied) == copied)
        return copied;
    wherry__fd_close(&link->peek_fds[0]); /* what stays in it would be taken for the next message */
    wherry__fd_close(&link->peek_fds[1]);
    return 1;
}

/* For line and nul framing on shared descriptors: read to the delimiter and no further. */
static ssize_t fill_to_delimiter(struct wherry__link *link, size_t room)
{
    uint8_t *to = link->in.data + link->in.end;
    ssize_t peeked = peek(link, to, wherry__size_min(room, WHERRY__PART_ATOM));
    if (peeked == -EAGAIN)
        return -EAGAIN;
    size_t size = peeked > 0 ? up_to_delimiter(link, to, (size_t)peeked) : 1;
    if (peeked == 1)
        size = 1;
    return read_one(link, to, size);
}

/* Bring in at least a byte towards the `needed` that the front of `in` lacks.  Bytes, 0 at the end, or -errno. */
static ssize_t fill(struct wherry__link *link, size_t needed, void *buffer, size_t capacity)
{
    size_t have = link->in.end - link->in.start;
    enum wherry__framing_kind kind = link->config->framing.kind;
    void *place = have == 0 ? place_for_expected(link, buffer, capacity) : NULL;
    if (place)
        return fill_expecting(link, place);
    size_t most = wherry__size_max(needed, WHERRY__LINK_BUFFER);
    int result = reserve_in(link, needed - have, wherry__size_max(most, link->config->max_message + 1));
    if (result < 0)
        return result;
    size_t room = link->in.capacity - link->in.end;
    ssize_t size;
    if (link->exact && (kind == WHERRY__FRAME_LINE || kind == WHERRY__FRAME_NUL))
        size = fill_to_delimiter(link, room);
    else if (kind == WHERRY__FRAME_RAW)
        size = read_one(link, link->in.data + link->in.end, wherry__size_min(room, link->config->max_message));
    else
        size = read_one(link, link->in.data + link->in.end, link->exact ? needed - have : room);
    if (size > 0)
        link->in.end += (size_t)size;
    return size;
}

bool wherry__link_hung_up(const struct wherry__link *link)
{
    struct pollfd poll = {.fd = link->out_fd};
    static const struct timespec at_once;
    return wherry__sys.ppoll(&poll, 1, &at_once) == 1 && (poll.revents & (POLLHUP | POLLERR));
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

/* Foreign bytes at the front.  One of many connections is the caller's to cut; where there is but one, or where writers cannot be
 * told apart, they are skipped up to the next frame, and reported once. */
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
        big_end(link);
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

/* A record that has outgrown max_message: `size` bytes of it are there and go; when its delimiter is not among them, what
 * follows up to it goes too (`skipping`), since the middle of a record is no message. */
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

/* Look at the front of `in`.  1: lent.  0: *ret_needed bytes must be there (more than there are), or 0 when something was
 * taken off and it is worth looking again. */
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
    if (frame.payload >= BIG)
        big_begin_from_buffer(link, &frame, buffer, capacity);
    else
        *ret_needed = total;
    return 0;
}

/* raw framing with room in the receiver's buffer: one read, straight to its place. */
static int borrow_raw(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    ssize_t size = read_one(link, buffer, wherry__size_min(capacity, link->config->max_message));
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
        return wherry__size_min(link->config->framing.size, BIG);
    default:
        return 1;
    }
}

int wherry__link_borrow(struct wherry__link *link, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    if (link->kind == WHERRY__LINK_PACKET)
        return wherry__packet_borrow(link, buffer, capacity, ret_loan);
    if (link->boxed) /* put together, and not taken when it was offered */
        return lend_box(link, ret_loan);
    bool straight = link->config->framing.kind == WHERRY__FRAME_RAW && buffer && capacity;
    for (;;) {
        ssize_t result;
        if (link->big.active) {
            result = big_fill(link);
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
        if (result < 0)
            return (int)result;
        if (result == 0) {
            link->ended = true;
            return leftover(link, ret_loan);
        }
    }
}

void wherry__link_give_back(struct wherry__link *link)
{
    if (link->kind == WHERRY__LINK_PACKET) {
        wherry__packet_give_back(link);
        return;
    }
    if (link->boxed) {
        wherry__part_box_free(&link->parts, link->boxed);
        link->boxed = NULL;
    } else if (link->big.active) {
        big_end(link);
    } else {
        link->in.start += link->loan;
        link->loan = 0;
        link->scanned = 0;
    }
    if (link->lean && link->in.start == link->in.end)
        free_in(link);
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
    switch (wherry__frame_decode(&link->config->framing, link->in.data + link->in.start, have, link->config->max_message,
                                 &scanned, &frame)) {
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
