/* socket/packets.c - owns many datagrams in one call: sendmmsg(2), recvmmsg(2), and where they are received.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/packets.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/mman.h>

#include "base/libc.h"
#include "base/size.h"
#include "base/sys.h"

/* ---- sending ---- */

/* What the kernel takes as one: so many segments, so many bytes in all, the headers of either family among them. */
enum { SEGMENTS = 64, TOGETHER = 65000, HEADERS = 64 };

struct segment_control {
    _Alignas(struct cmsghdr) char space[CMSG_SPACE(sizeof(uint16_t))];
};

/* How many packets from the first on go as one. */
static unsigned neighbours(const struct wherry__packet *packets, unsigned count, size_t segment)
{
    const struct wherry__packet *first = packets;
    unsigned most =
        first->size && first->size < segment ? (unsigned)wherry__size_min(TOGETHER / first->size, SEGMENTS) : 1;
    unsigned together = 1;
    while (together < most && together < count && packets[together].to == first->to &&
           packets[together].size == first->size)
        together++;
    return together;
}

static void mark_segments(struct msghdr *header, struct segment_control *control, size_t size)
{
    *control = (struct segment_control){.space = {0}};
    header->msg_control = control->space;
    header->msg_controllen = sizeof control->space;
    struct cmsghdr *c = CMSG_FIRSTHDR(header);
    c->cmsg_level = IPPROTO_UDP;
    c->cmsg_type = UDP_SEGMENT;
    c->cmsg_len = CMSG_LEN(sizeof(uint16_t));
    memcpy(CMSG_DATA(c), &(uint16_t){(uint16_t)size}, sizeof(uint16_t));
}

/* One alone to where the socket is connected needs no list. */
static int send_one(int fd, const struct iovec *part)
{
    ssize_t size;
    do
        size = wherry__sys.send(fd, part->iov_base, part->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (size < 0 && errno == EINTR);
    return size < 0 ? -errno : 0;
}

int wherry__send_packets(int fd, size_t *segment, const struct wherry__packet *packets, unsigned count,
                         unsigned *ret_sent)
{
    struct mmsghdr headers[HEADERS];
    struct segment_control controls[HEADERS];
    struct iovec parts[2 * WHERRY__PACKETS];
    unsigned ends[HEADERS]; /* how many packets have left with each header */
    *ret_sent = 0;
    if (count == 1 && packets->part_count == 1 && !packets->to) {
        int result = send_one(fd, packets->parts);
        *ret_sent = result == 0;
        return result;
    }
    for (;;) {
        unsigned used = 0, at = 0, part = 0;
        for (; used < HEADERS && at < count && at < WHERRY__PACKETS; used++) {
            const struct wherry__packet *packet = &packets[at];
            unsigned together = neighbours(packet, (unsigned)wherry__size_min(count, WHERRY__PACKETS) - at, *segment);
            struct msghdr *header = &headers[used].msg_hdr;
            *header = (struct msghdr){.msg_iov = &parts[part]};
            if (packet->to) {
                header->msg_name = (void *)(uintptr_t)&packet->to->address;
                header->msg_namelen = packet->to->size;
            }
            for (unsigned i = 0; i < together; i++)
                for (unsigned p = 0; p < packet[i].part_count; p++)
                    parts[part++] = packet[i].parts[p];
            header->msg_iovlen = (wherry__iov_count)(&parts[part] - header->msg_iov);
            if (together > 1)
                mark_segments(header, &controls[used], packet->size);
            ends[used] = at += together;
        }
        int sent;
        do {
            if (used == 1)
                sent = wherry__sys.sendmsg(fd, &headers[0].msg_hdr, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 1;
            else
                sent = wherry__sys.sendmmsg(fd, headers, used, MSG_DONTWAIT | MSG_NOSIGNAL);
        } while (sent < 0 && errno == EINTR);
        if (sent > 0) {
            *ret_sent = ends[sent - 1];
            return 0;
        }
        /* larger than the way takes in one piece, or its device cannot do the sums for segments: each by itself */
        if (ends[0] > 1 && (errno == EINVAL || errno == EIO || errno == EMSGSIZE || errno == EOPNOTSUPP)) {
            *segment = packets->size;
            continue;
        }
        return -errno;
    }
}

int wherry__packets_pending(int fd)
{
    int code = 0;
    socklen_t size = sizeof code;
    return wherry__sys.getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 ? code : 0;
}

/* ---- receiving ---- */

/* A datagram is read into a small place of its own, close to the others, and what does not fit there into a large one,
 * of which the kernel touches only what it fills.  Before the large place is room for the small part, to stand there as
 * one. */
enum { SLOTS = 32, SMALL = 2048 + 64, PAGE = 4096, LARGE = PAGE + 65536 };
/* SMALL is no power of two, so that the beginnings of datagrams do not all meet in one set of the cache. */

struct slot {
    struct wherry__datagram_address from;
    struct iovec parts[2];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(uint32_t))];
    uint8_t *data; /* once received; NULL: not what it has to be */
    size_t size, segment;
    bool whole, counted;
    uint32_t dropped;
};

struct memory {
    struct mmsghdr headers[SLOTS];
    struct slot slots[SLOTS];
    _Alignas(64) uint8_t small[SLOTS][SMALL];
    _Alignas(PAGE) uint8_t large[SLOTS][LARGE];
};

static struct memory *memory_of(const struct wherry__inbox *inbox)
{
    return (struct memory *)(void *)inbox->memory;
}

static int inbox_init(struct wherry__inbox *inbox)
{
    void *memory =
        mmap(NULL, sizeof(struct memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    inbox->memory = memory;
    inbox->want = 1;
    struct memory *m = memory;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &m->slots[i];
        slot->parts[0] = (struct iovec){m->small[i], SMALL};
        slot->parts[1] = (struct iovec){m->large[i] + PAGE, LARGE - PAGE};
        m->headers[i].msg_hdr = (struct msghdr){
            .msg_name = &slot->from.address, .msg_iov = slot->parts, .msg_iovlen = 2, .msg_control = slot->control};
    }
    return 0;
}

void wherry__inbox_fini(struct wherry__inbox *inbox)
{
    if (inbox->memory)
        munmap(inbox->memory, sizeof(struct memory));
    inbox->memory = NULL;
    inbox->count = inbox->at = 0;
    inbox->offset = 0;
}

/* How long an IPv4 header says that it is, read once; 0: that is no such header. */
static size_t header_of(const uint8_t *data, size_t size)
{
    enum { LEAST = 20 };
    if (size < LEAST)
        return 0;
    uint8_t first = data[0];
    size_t length = (size_t)(first & 15) * 4;
    return first >> 4 == 4 && length >= LEAST && length <= size ? length : 0;
}

static void strip_header(struct slot *slot)
{
    size_t skip = header_of(slot->data, slot->size);
    slot->data = skip ? slot->data + skip : NULL;
    slot->size -= skip;
    slot->segment = slot->size;
}

static void finish_slot(struct memory *m, unsigned i, bool headers)
{
    struct slot *slot = &m->slots[i];
    struct msghdr *header = &m->headers[i].msg_hdr;
    slot->size = slot->segment = m->headers[i].msg_len;
    slot->from.size = header->msg_namelen;
    slot->whole = !(header->msg_flags & MSG_TRUNC);
    slot->counted = false;
    if (header->msg_controllen)
        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = wherry__control_next(header, c)) {
            int segment;
            if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
                memcpy(&segment, CMSG_DATA(c), sizeof segment);
                if (segment > 0)
                    slot->segment = (size_t)segment;
            } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
                memcpy(&slot->dropped, CMSG_DATA(c), sizeof slot->dropped);
                slot->counted = true;
            }
        }
    slot->data = m->small[i];
    if (slot->size > SMALL) {
        slot->data = m->large[i] + PAGE - SMALL;
        memcpy(slot->data, m->small[i], SMALL);
    }
    if (headers)
        strip_header(slot);
}

int wherry__inbox_receive(int fd, struct wherry__inbox *inbox)
{
    int result = inbox->memory ? 0 : inbox_init(inbox);
    if (result < 0)
        return result;
    struct memory *m = memory_of(inbox);
    unsigned want = inbox->exact ? 1 : inbox->want;
    for (unsigned i = 0; i < want; i++) {
        struct msghdr *header = &m->headers[i].msg_hdr;
        header->msg_namelen = sizeof m->slots[i].from.address;
        header->msg_controllen = sizeof m->slots[i].control;
    }
    inbox->count = inbox->at = 0;
    inbox->offset = 0;
    int count;
    do {
        if (want > 1) {
            count = wherry__sys.recvmmsg(fd, m->headers, want, MSG_DONTWAIT, NULL);
        } else {
            ssize_t size = wherry__sys.recvmsg(fd, &m->headers[0].msg_hdr, MSG_DONTWAIT);
            m->headers[0].msg_len = size < 0 ? 0 : (unsigned)size;
            count = size < 0 ? -1 : 1;
        }
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        inbox->want = 1;
        return -errno;
    }
    for (unsigned i = 0; i < (unsigned)count; i++)
        finish_slot(m, i, inbox->headers);
    inbox->count = (unsigned)count;
    if (inbox->count == want) /* there may be more */
        inbox->want = (unsigned)wherry__size_min(want * 2, SLOTS);
    else
        inbox->want = (unsigned)wherry__size_max(inbox->count, 1);
    return 0;
}

void wherry__inbox_next(struct wherry__inbox *inbox, const uint8_t **ret_data, size_t *ret_size,
                        const struct wherry__datagram_address **ret_from, bool *ret_whole, uint32_t *ret_dropped)
{
    const struct slot *slot = &memory_of(inbox)->slots[inbox->at];
    size_t left = slot->size - inbox->offset;
    *ret_data = slot->data ? slot->data + inbox->offset : NULL;
    *ret_size = wherry__size_min(left, slot->segment);
    *ret_from = &slot->from;
    *ret_whole = slot->whole;
    if (slot->counted)
        *ret_dropped = slot->dropped;
    inbox->offset += *ret_size;
    if (inbox->offset >= slot->size) {
        inbox->at++;
        inbox->offset = 0;
    }
}
