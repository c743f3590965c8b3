/* tests/crash/guests.c - owns what guests do: coming, sending in pieces, reading their answers, and the ways to go.
 *
 * SPDX-License-Identifier: MIT */
#include "guests.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel/framing.h"
#include "harness.h"
#include "unit/pattern.h"

enum { FIRST_PIECE = 24 }; /* of a frame: who is torn behind it can still be told */

uint32_t guests_draw(struct guests *guests, uint32_t below)
{
    guests->random = guests->random * 1664525u + 1013904223u;
    return (guests->random >> 12) % below;
}

/* ---- messages ---- */

static size_t size_of(uint32_t number, uint32_t index)
{
    uint32_t random = pattern_seed(number * 64 + index);
    random = random * 1664525u + 1013904223u;
    if (random >> 27 == 0) /* most of these are read to a place of their own */
        return 15000 + random % (GUEST_LARGEST - 15000 + 1);
    return GUEST_HEADER + (random >> 6) % (random >> 28 == 1 ? 3000 : 68);
}

size_t guests_message(uint8_t *to, uint32_t number, uint32_t index)
{
    char header[GUEST_HEADER + 1];
    size_t size = size_of(number, index);
    snprintf(header, sizeof header, "%08x%04x", (unsigned)number, (unsigned)index & 0xffff);
    memcpy(to, header, GUEST_HEADER);
    pattern_fill(to + GUEST_HEADER, size - GUEST_HEADER, number * 64 + index);
    return size;
}

bool guests_parse(const uint8_t *data, size_t size, uint32_t *ret_number, uint32_t *ret_index)
{
    char text[GUEST_HEADER + 1] = "";
    if (size < GUEST_HEADER)
        return false;
    memcpy(text, data, GUEST_HEADER);
    return sscanf(text, "%8x%4x", ret_number, ret_index) == 2;
}

bool guests_passes(const struct guests *guests, uint32_t number, uint32_t index)
{
    return guests->place->fds && pattern_seed(number * 64 + index) >> 16 & 1;
}

bool guests_is_ignored(const struct guests *guests, uint32_t number)
{
    uint8_t way = guests->records[number].way;
    return way == GUEST_NEVER_READS ||
           (!guests->place->tcp && way >= GUEST_RESETS && way != GUEST_LET_GO && number % 2);
}

/* As it stands in the stream. */
static size_t frame(const struct guests *guests, uint8_t to[static GUEST_FRAME], uint32_t number, uint32_t index)
{
    const struct guest_place *place = guests->place;
    size_t before = place->packets || place->line ? 0 : WHERRY__WHOLE_HEADER;
    size_t size = guests_message(to + before, number, index);
    if (before)
        wherry__whole_encode(to, (uint32_t)size, 0);
    if (place->line)
        to[size++] = '\n';
    return before + size;
}

static ssize_t send_bytes(int fd, const uint8_t *data, size_t size, int descriptor, int flags)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    union {
        struct cmsghdr header;
        uint8_t space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof control.space;
        control.header = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof descriptor), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
    }
    return sendmsg(fd, &header, flags | MSG_NOSIGNAL);
}

/* How much of the rest of a frame goes into one write. */
static size_t piece(struct guests *guests, size_t offset, size_t size)
{
    size_t rest = size - offset, least = offset == 0 ? FIRST_PIECE : 1;
    if (guests->place->packets || rest <= least || guests_draw(guests, 4) > 0)
        return rest;
    return least + guests_draw(guests, (uint32_t)(rest - least));
}

/* ---- coming ---- */

static int raw_socket(struct guests *guests)
{
    const struct guest_place *place = guests->place;
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in remote = {.sin_family = AF_INET, .sin_port = htons(guests->port)};
    remote.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (!place->tcp)
        snprintf(local.sun_path, sizeof local.sun_path, "%s", guests->path);
    int fd = socket(place->tcp ? AF_INET : AF_UNIX, (place->packets ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    ck_assert_msg(fd >= 0, "socket: %s", strerror(errno));
    if (place->tcp) { /* an address of many: their ports are not used up by those that wait for stray packets */
        struct sockaddr_in own = {.sin_family = AF_INET};
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + guests->next % 64);
        int on = 1;
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        ck_assert_int_eq(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
    }
    int result = place->tcp ? connect(fd, (struct sockaddr *)&remote, sizeof remote)
                            : connect(fd, (struct sockaddr *)&local, sizeof local);
    ck_assert_msg(result == 0, "connect: %s", strerror(errno));
    guests->connected++;
    return fd;
}

static int open_endpoint(const struct guests *guests, struct wherry_channel **ret_channel)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.frame = guests->place->line ? "line" : NULL;
    options.max_message = GUEST_LARGEST;
    options.single_thread = guests->place->single_thread;
    return wherry_channel_open(guests->url, WHERRY_BOTH, &options, test_deadline(), ret_channel);
}

struct doomed {
    struct guests *guests;
    struct guest *guest;
};

/* A process that is killed while it does this. */
static void send_until_killed(void *argument)
{
    struct doomed *doomed = argument;
    struct guests *guests = doomed->guests;
    struct guest *guest = doomed->guest;
    struct guest_record *record = &guests->records[guest->number];
    static uint8_t data[GUEST_FRAME];
    for (size_t i = 0; i < guests->count; i++) /* or they would not end where they do */
        if (guests->here[i].fd >= 0)
            close(guests->here[i].fd);
    if (guest->fd < 0)
        test_ok(open_endpoint(guests, &guest->endpoint));
    record->opened = true;
    for (uint32_t i = 0; i < GUEST_MOST; i++) {
        int descriptor = guests_passes(guests, guest->number, i) ? guests->nothing : -1;
        record->begun = i + 1;
        if (guest->endpoint) {
            struct wherry_message message = {.data = data, .fds = &descriptor, .fd_count = descriptor >= 0};
            message.size = guests_message(data, guest->number, i);
            if (wherry_channel_send_message(guest->endpoint, &message, 0, WHERRY_FOREVER) < 0)
                break;
        } else {
            size_t size = frame(guests, data, guest->number, i), offset = 0;
            for (ssize_t sent = 1; offset < size && sent > 0; offset += sent > 0 ? (size_t)sent : 0) {
                sent = send_bytes(guest->fd, data + offset, piece(guests, offset, size), descriptor, 0);
                descriptor = -1;
            }
            if (offset < size)
                break;
        }
        record->accepted = i + 1;
    }
    for (;;)
        pause();
}

static enum guest_way draw_way(struct guests *guests)
{
    static const uint8_t odds[GUEST_WAYS] = {
        [GUEST_ORDERLY] = 20, [GUEST_FINISHES] = 15, [GUEST_UNREAD] = 15,     [GUEST_RESETS] = 10,
        [GUEST_KILLED] = 2,   [GUEST_HALF] = 10,     [GUEST_GARBAGE] = 8,     [GUEST_SILENT] = 10,
        [GUEST_LET_GO] = 8,   [GUEST_NEVER_READS] = 2};
    uint32_t drawn = guests_draw(guests, 100), way = 0;
    while (drawn >= odds[way])
        drawn -= odds[way++];
    return (enum guest_way)way;
}

void guests_arrive(struct guests *guests)
{
    enum guest_way way = draw_way(guests);
    struct guest *guest = &guests->here[guests->count];
    struct guest_record *record = &guests->records[guests->next];
    *guest = (struct guest){.way = way, .number = guests->next, .fd = -1};
    record->way = (uint8_t)way;
    guest->count = way == GUEST_SILENT ? 0 : guests_draw(guests, 6);
    guest->waits = guests_draw(guests, 2);
    guest->reads = way <= GUEST_FINISHES || way == GUEST_LET_GO || guests->place->tcp || guests_draw(guests, 2);
    guest->reads &= way != GUEST_UNREAD && way != GUEST_RESETS && way != GUEST_NEVER_READS;
    guest->reads &= !guests_is_ignored(guests, guest->number);
    if (way == GUEST_UNREAD || way == GUEST_NEVER_READS)
        guest->count++;
    if (way == GUEST_LET_GO || way == GUEST_KILLED)
        guest->count = 1 + guests_draw(guests, GUEST_MOST);
    record->limit = way == GUEST_LET_GO ? 1 + guests_draw(guests, guest->count) : 1;
    bool own = guests_draw(guests, 3) == 0;
    if (own && (way <= GUEST_UNREAD || way == GUEST_LET_GO)) {
        test_ok(open_endpoint(guests, &guest->endpoint));
        guests->connected++;
    } else if (way != GUEST_KILLED || !own) {
        guest->fd = raw_socket(guests);
    }
    if (way == GUEST_KILLED) {
        struct doomed doomed = {guests, guest};
        guest->pid = test_fork(send_until_killed, &doomed);
        if (guest->fd >= 0)
            close(guest->fd);
        else
            guests->connected++; /* its own, which it is given the time for */
        guest->fd = -1;
    }
    guests->next++;
    guests->count++;
}

/* ---- sending and hearing ---- */

/* Its next message, as far as there is room.  True: it got on. */
static bool say(struct guests *guests, struct guest *guest)
{
    static uint8_t data[GUEST_FRAME];
    struct guest_record *record = &guests->records[guest->number];
    int descriptor = guests_passes(guests, guest->number, guest->sent) ? guests->nothing : -1;
    record->begun = guest->sent + 1;
    if (guest->endpoint) {
        struct wherry_message message = {.data = data, .fds = &descriptor, .fd_count = descriptor >= 0};
        message.size = guests_message(data, guest->number, guest->sent);
        int result = wherry_channel_send_message(guest->endpoint, &message, 0, WHERRY_NOW);
        if (result == -EAGAIN)
            return false;
        guest->over |= result < 0;
        guest->sent += result == 0;
        guests->fds_sent += result == 0 && descriptor >= 0;
    } else {
        size_t size = frame(guests, data, guest->number, guest->sent);
        size_t some = piece(guests, guest->offset, size);
        ssize_t sent =
            send_bytes(guest->fd, data + guest->offset, some, guest->offset ? -1 : descriptor, MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN)
            return false;
        guest->over |= sent < 0;
        guests->fds_sent += sent > 0 && guest->offset == 0 && descriptor >= 0;
        guest->offset += sent > 0 ? (size_t)sent : 0;
        guest->sent += guest->offset == size;
        guest->offset = guest->offset == size ? 0 : guest->offset;
    }
    record->accepted = guest->sent;
    return true;
}

/* What came is the next of its answers, or the next bytes of it. */
static void check_answer(const struct guests *guests, struct guest *guest, const uint8_t *data, size_t size)
{
    static uint8_t expected[GUEST_FRAME];
    while (size > 0) {
        size_t whole = guest->endpoint ? guests_message(expected, guest->number, guest->answers)
                                       : frame(guests, expected, guest->number, guest->answers);
        size_t some = whole - guest->heard < size ? whole - guest->heard : size;
        ck_assert_msg(memcmp(data, expected + guest->heard, some) == 0, "guest %u: answer %u is another's",
                      guest->number, guest->answers);
        ck_assert_uint_lt(guest->answers, guest->sent); /* none to what it did not say */
        guest->heard += some;
        guest->answers += guest->heard == whole;
        guest->heard = guest->heard == whole ? 0 : guest->heard;
        data += some;
        size -= some;
    }
}

static bool hear(struct guests *guests, struct guest *guest)
{
    static uint8_t data[65536];
    size_t size = 0;
    if (guest->endpoint) {
        int result = wherry_channel_receive(guest->endpoint, data, sizeof data, &size, WHERRY_NOW);
        if (result == -EAGAIN)
            return false;
        guest->over |= result <= 0;
    } else {
        bool sips = !guests->place->packets && guests_draw(guests, 2);
        ssize_t got = recv(guest->fd, data, sips ? 1 + guests_draw(guests, 100) : sizeof data, MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return false;
        guest->over |= got <= 0;
        size = got > 0 ? (size_t)got : 0;
    }
    check_answer(guests, guest, data, size);
    return true;
}

/* Half a message, or what is none.  True: it is out, or of no use any more. */
static bool say_last_word(struct guests *guests, struct guest *guest)
{
    static uint8_t data[GUEST_FRAME];
    const struct guest_place *place = guests->place;
    size_t size = frame(guests, data, guest->number, guest->sent);
    if (guest->way == GUEST_HALF && place->packets)
        return true; /* the kernel knows no halves */
    if (guest->way == GUEST_HALF) {
        size_t least = size < FIRST_PIECE ? GUEST_HEADER : FIRST_PIECE - 1;
        size = least + guests_draw(guests, (uint32_t)(size - least));
        guests->records[guest->number].begun = guest->sent + 1;
    } else {
        size = place->packets || place->line ? GUEST_LARGEST + 2 : 40;
        memset(data, '*', size);
    }
    ssize_t sent = send_bytes(guest->fd, data + guest->offset, size - guest->offset, -1, MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN)
        return false;
    guest->offset += sent > 0 ? (size_t)sent : 0;
    return sent < 0 || guest->way == GUEST_HALF || guest->offset == size;
}

/* ---- going ---- */

static bool has_answer(const struct guest *guest)
{
    struct pollfd poll_fd = {.fd = guest->endpoint ? wherry_channel_receive_fd(guest->endpoint) : guest->fd,
                             .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

/* Whether it goes now. */
static bool is_time(struct guests *guests, struct guest *guest)
{
    const struct guest_record *record = &guests->records[guest->number];
    bool said = guest->sent == guest->count &&
                (!guest->endpoint || guest->over || wherry_channel_flush(guest->endpoint, WHERRY_NOW) == 0);
    bool answered = said && guest->answers == guest->count;
    switch (guest->way) {
    case GUEST_ORDERLY:
        return answered;
    case GUEST_FINISHES:
        if (said && !guest->said_end)
            guest->said_end = (guest->endpoint ? wherry_channel_finish(guest->endpoint, WHERRY_NOW)
                                               : shutdown(guest->fd, SHUT_WR)) == 0;
        return answered && guest->said_end && (guest->over || !guest->waits);
    case GUEST_UNREAD:
        return guest->over || (said && has_answer(guest));
    case GUEST_HALF:
    case GUEST_GARBAGE:
        if (guest->reads ? answered : said)
            guest->last_word = say_last_word(guests, guest);
        return guest->last_word;
    case GUEST_KILLED:
        return record->opened && record->begun >= guest->count && guests_draw(guests, 3) == 0;
    case GUEST_LET_GO:
        return guest->over;
    case GUEST_NEVER_READS:
        return record->let_go;
    default:
        return said && guests_draw(guests, 2);
    }
}

/* How many of its messages have to come: TCP may lose what is under way when a side closes with bytes unread. */
static uint32_t must_come(const struct guests *guests, const struct guest *guest)
{
    bool tcp = guests->place->tcp;
    switch (guest->way) {
    case GUEST_UNREAD:
    case GUEST_RESETS:
        return tcp ? 0 : guest->sent;
    case GUEST_KILLED:
        return tcp ? 0 : guests->records[guest->number].accepted;
    case GUEST_LET_GO:
    case GUEST_NEVER_READS:
        return 0;
    default:
        return guest->sent;
    }
}

static void leave(struct guests *guests, struct guest *guest)
{
    struct guest_record *record = &guests->records[guest->number];
    if (guest->pid)
        test_kill(guest->pid);
    if (guest->way == GUEST_RESETS) {
        struct linger at_once = {.l_onoff = 1};
        setsockopt(guest->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    if (guest->endpoint) /* a guest that was let go may keep what nobody takes */
        ck_assert(wherry_channel_close(guest->endpoint, WHERRY_NOW) == 0 || guest->way == GUEST_LET_GO);
    if (guest->fd >= 0)
        close(guest->fd);
    record->must = must_come(guests, guest);
    record->left = true;
    guests->gone++;
    guests->by_way[guest->way]++;
}

bool guests_step(struct guests *guests)
{
    bool any = false;
    for (size_t i = 0; i < guests->count; i++) {
        struct guest *guest = &guests->here[i];
        if (guests_draw(guests, 4) == 0)
            continue;
        if (!guest->pid && !guest->over && guest->reads)
            any |= hear(guests, guest);
        if (!guest->pid && !guest->over && guest->sent < guest->count)
            any |= say(guests, guest);
        if (guest->over && guest->way <= GUEST_FINISHES)
            ck_assert_msg(guest->answers == guest->count && guest->said_end,
                          "guest %u, which was orderly, was closed on behind %u of %u messages and %u answers",
                          guest->number, guest->sent, guest->count, guest->answers);
        if (!is_time(guests, guest))
            continue;
        leave(guests, guest);
        *guest = guests->here[--guests->count];
        i--;
        any = true;
    }
    return any;
}
