/* tests/crash/test_disconnects.c - owns the soak of listening endpoints: guests come and go in every way there is, and
 * afterwards descriptors, memory and statistics are back to where they were.
 *
 * SPDX-License-Identifier: MIT
 *
 * The host is this process, and so are most of its guests (guests.c): a disconnect takes microseconds, and 100,000 a
 * place some seconds.  WHERRY_DISCONNECTS says how many, WHERRY_SEED begins another sequence. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guests.h"
#include "harness.h"

static const struct guest_place places[] = {
    {"tcp", "tcp", "", .tcp = true},
    {"tcp_line_single_thread", "tcp", "&capacity=16384", .tcp = true, .line = true, .single_thread = true},
    {"tcp_report_ends", "tcp", "&report_ends=1", .tcp = true, .reports_ends = true},
    {"unix_fds", "unix", "&fds=2", .fds = true},
    {"unix_line_single_thread", "unix", "&capacity=16384", .line = true, .single_thread = true},
    {"unix_line_fds_report_ends", "unix", "&fds=1&report_ends=1", .line = true, .fds = true, .reports_ends = true},
    {"seqpacket", "unix+seqpacket", "", .packets = true},
    {"seqpacket_fds_report_ends", "unix+seqpacket", "&fds=2&report_ends=1", .packets = true, .fds = true,
     .reports_ends = true},
    {"seqpacket_single_thread", "unix+seqpacket", "&capacity=65536", .packets = true, .single_thread = true},
};

/* What this test counts by itself. */
struct tally {
    uint64_t received, received_bytes, sent, sent_bytes, ends, refused, incomplete, let_go, ended, fds_taken, fds_left;
};

struct cost {
    size_t descriptors, heap, mapped, resident; /* bytes; mapped: beside the heap */
};

struct soak {
    struct guests guests;
    struct wherry_channel *host;
    struct tally tally;
    uint32_t total;
    uint64_t *guest_of;                /* peer -> number + 1 */
    uint32_t *debtors;                 /* numbers of those who are owed answers */
    uint64_t *ended;                   /* peers whose end was reported */
    size_t debtor_count, ended_count, most_peers;
    uint64_t looked_after; /* peers up to this one are known to be gone */
    struct cost peak;
};

static uint8_t message[GUEST_LARGEST + 1];

static struct guest_record *record_of(struct soak *soak, uint64_t peer)
{
    ck_assert_uint_le(peer, soak->total);
    return soak->guest_of[peer] ? &soak->guests.records[soak->guest_of[peer] - 1] : NULL;
}

static uint32_t number_of(const struct soak *soak, const struct guest_record *record)
{
    return (uint32_t)(record - soak->guests.records);
}

static struct wherry_channel_stats stats_of(const struct soak *soak)
{
    struct wherry_channel_stats stats;
    test_ok(wherry_channel_stats(soak->host, &stats, sizeof stats));
    return stats;
}

/* ---- letting go ---- */

static void check_gone(const struct soak *soak, uint64_t peer)
{
    struct wherry_peer_stats stats;
    test_is(wherry_channel_peer_stats(soak->host, peer, &stats, sizeof stats), -ENOTCONN);
}

static void disconnect(struct soak *soak, uint64_t peer)
{
    int result = guests_draw(&soak->guests, 2) ? wherry_channel_disconnect(soak->host, peer, WHERRY_NOW) : -EAGAIN;
    if (result == -EAGAIN) /* something is kept */
        result = wherry_channel_disconnect(soak->host, peer, wherry_after(200 * WHERRY_MICROSECOND));
    ck_assert_msg(result == 0 || result == -ETIMEDOUT, "disconnect: %d, %s", result, wherry_why());
    check_gone(soak, peer);
    test_is(wherry_channel_disconnect(soak->host, peer, WHERRY_NOW), -ENOTCONN);
}

/* It is sent more than it takes, so that something is kept for it. */
static void stuff(struct soak *soak, uint64_t peer)
{
    struct wherry_message more = {.data = message, .size = GUEST_LARGEST, .to = peer};
    memset(message, '-', sizeof message);
    for (int i = 0; i < 500 && wherry_channel_send_message(soak->host, &more, 0, WHERRY_NOW) == 0; i++) {
        soak->tally.sent++;
        soak->tally.sent_bytes += more.size;
    }
}

static void let_go(struct soak *soak, struct guest_record *record)
{
    struct wherry_peer_stats stats;
    if (record->way == GUEST_NEVER_READS)
        stuff(soak, record->peer);
    if (wherry_channel_peer_stats(soak->host, record->peer, &stats, sizeof stats) == 0) {
        uint64_t came = record->came + record->incomplete; /* one of them may be on loan */
        ck_assert(stats.received_messages == came || stats.received_messages + 1 == came);
    }
    disconnect(soak, record->peer);
    record->let_go = true;
    soak->tally.let_go++;
}

/* ---- receiving ---- */

static void note(struct soak *soak, const struct wherry_info *info, const void *data)
{
    static uint8_t expected[GUEST_LARGEST + 1];
    uint32_t number, index;
    bool torn = info->flags & WHERRY_INCOMPLETE;
    soak->tally.received++;
    soak->tally.received_bytes += info->size;
    if (torn && info->size < GUEST_HEADER && soak->guests.place->tcp)
        return; /* a reset cuts anywhere */
    ck_assert_msg(guests_parse(data, info->size, &number, &index) && number < soak->guests.next,
                  "peer %llu: %zu bytes that nobody sent", (unsigned long long)info->peer.id, info->size);
    struct guest_record *record = &soak->guests.records[number];
    ck_assert_msg(!record->peer || record->peer == info->peer.id, "guest %u is two peers", number);
    ck_assert_msg(!record->let_go, "guest %u was let go, and heard again", number);
    ck_assert_uint_le(info->peer.id, soak->total);
    ck_assert(!soak->guest_of[info->peer.id] || soak->guest_of[info->peer.id] == number + 1);
    record->peer = info->peer.id;
    soak->guest_of[record->peer] = number + 1;
    size_t size = guests_message(expected, number, index);
    ck_assert_msg(index == record->came && index < record->begun && !record->incomplete,
                  "guest %u: message %u came in the place of %u, of %u", number, index, record->came, record->begun);
    ck_assert_msg((torn ? info->size <= size : info->size == size) && memcmp(data, expected, info->size) == 0,
                  "guest %u: message %u of %zu bytes is not what it sent", number, index, info->size);
    ck_assert_msg(!torn || (soak->guests.place->line &&
                            (record->way >= GUEST_RESETS || (soak->guests.place->tcp && record->way == GUEST_UNREAD))),
                  "guest %u, way %d: torn", number, record->way);
    ck_assert(torn || info->fd_count == (guests_passes(&soak->guests, number, index) ? 1 : 0));
    record->came += !torn;
    record->incomplete += torn;
    soak->tally.incomplete += torn;
    if (!record->debtor && !guests_is_ignored(&soak->guests, number)) {
        soak->debtors[soak->debtor_count++] = number;
        record->debtor = true;
    }
    if ((record->way == GUEST_LET_GO || record->way == GUEST_NEVER_READS) && record->came >= record->limit)
        let_go(soak, record);
}

static void note_end(struct soak *soak, const struct wherry_info *info)
{
    struct guest_record *record = record_of(soak, info->peer.id);
    ck_assert(soak->guests.place->reports_ends);
    ck_assert_uint_eq(info->size, 0);
    ck_assert(info->type == 0 || (soak->guests.place->tcp && info->type == -ECONNRESET));
    ck_assert(!record || !record->let_go);
    soak->ended[soak->ended_count++] = info->peer.id;
    soak->tally.ended++;
}

static int receive(struct soak *soak, wherry_time deadline)
{
    struct wherry_loan loan;
    struct wherry_info info;
    int fds[2], result;
    bool takes = soak->guests.place->fds && guests_draw(&soak->guests, 2);
    uint32_t by = guests_draw(&soak->guests, 4);
    if (by == 0) {
        result = wherry_channel_borrow(soak->host, &loan, deadline);
        if (result != 1)
            return result;
        info = loan.info;
        if (takes && info.fd_count) {
            test_is(wherry_channel_take_fds(soak->host, &loan, fds, 2), (ssize_t)info.fd_count);
            close(fds[0]);
            soak->tally.fds_taken++;
        } else {
            soak->tally.fds_left += info.fd_count > 0;
        }
        (info.flags & WHERRY_ENDED) ? note_end(soak, &info) : note(soak, &info, loan.data);
        wherry_channel_return(soak->host, &loan);
        return result;
    }
    static uint8_t buffer[GUEST_LARGEST];
    size_t room = by == 1 ? guests_draw(&soak->guests, 100) : sizeof buffer;
    result = -EMSGSIZE;
    for (; result == -EMSGSIZE; room = info.size)
        result = takes ? wherry_channel_receive_with_fds(soak->host, buffer, room, fds, 2, &info, deadline)
                       : wherry_channel_receive_info(soak->host, buffer, room, &info, deadline);
    if (result != 1)
        return result;
    if (takes && info.fd_count)
        close(fds[0]);
    soak->tally.fds_taken += takes && info.fd_count;
    soak->tally.fds_left += !takes && info.fd_count;
    (info.flags & WHERRY_ENDED) ? note_end(soak, &info) : note(soak, &info, buffer);
    return result;
}

/* True: something was there. */
static bool receive_one(struct soak *soak, wherry_time deadline)
{
    int result = receive(soak, deadline);
    soak->tally.ends += result == 0;
    soak->tally.refused += result == -EBADMSG;
    ck_assert_msg(result >= 0 || result == -EBADMSG || result == -EAGAIN || result == -ETIMEDOUT, "receive: %d, %s",
                  result, wherry_why());
    return result != -EAGAIN && result != -ETIMEDOUT;
}

/* ---- answering ---- */

/* True: it is owed nothing more. */
static bool pay(struct soak *soak, struct guest_record *record)
{
    uint32_t number = number_of(soak, record);
    while (!record->let_go && !record->unreachable && record->answered < record->came + record->incomplete) {
        struct wherry_message answer = {.data = message, .to = record->peer};
        answer.size = guests_message(message, number, record->answered);
        int result = wherry_channel_send_message(soak->host, &answer, 0, WHERRY_NOW);
        if (result == -EAGAIN)
            return false;
        ck_assert_msg(result == 0 || (result == -ENOTCONN && record->way > GUEST_FINISHES), "guest %u: answer: %d, %s",
                      number, result, wherry_why());
        record->unreachable = result < 0;
        record->answered += result == 0;
        soak->tally.sent += result == 0;
        soak->tally.sent_bytes += result == 0 ? answer.size : 0;
    }
    return true;
}

static bool answer(struct soak *soak)
{
    size_t before = soak->debtor_count + soak->ended_count;
    for (size_t i = 0; i < soak->debtor_count; i++) {
        struct guest_record *record = &soak->guests.records[soak->debtors[i]];
        if (guests_draw(&soak->guests, 4) == 0 || !pay(soak, record))
            continue;
        record->debtor = false;
        soak->debtors[i--] = soak->debtors[--soak->debtor_count];
    }
    for (size_t i = 0; i < soak->ended_count; i++) {
        struct guest_record *record = record_of(soak, soak->ended[i]);
        if (guests_draw(&soak->guests, 4) == 0 || (record && record->debtor))
            continue;
        disconnect(soak, soak->ended[i]);
        soak->ended[i--] = soak->ended[--soak->ended_count];
    }
    return soak->debtor_count + soak->ended_count < before;
}

/* ---- the soak ---- */

static struct cost cost_now(bool trimmed)
{
    if (trimmed) /* freed memory in the middle of the heap is as good as gone */
        malloc_trim(0);
    struct mallinfo2 heap = mallinfo2();
    struct cost cost = {.descriptors = test_descriptors(), .heap = heap.uordblks + heap.hblkhd};
    char text[100] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ck_assert(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
    close(fd);
    ck_assert_int_eq(sscanf(text, "%zu %zu", &cost.mapped, &cost.resident), 2);
    cost.mapped = cost.mapped * (size_t)sysconf(_SC_PAGESIZE) - (TEST_SANITIZED ? 0 : heap.arena);
    cost.resident *= (size_t)sysconf(_SC_PAGESIZE);
    return cost;
}

static void note_peak(struct soak *soak)
{
    struct cost now = cost_now(false), *peak = &soak->peak;
    uint64_t peers = stats_of(soak).peers;
    peak->descriptors = now.descriptors > peak->descriptors ? now.descriptors : peak->descriptors;
    peak->heap = now.heap > peak->heap ? now.heap : peak->heap;
    peak->resident = now.resident > peak->resident ? now.resident : peak->resident;
    soak->most_peers = peers > soak->most_peers ? peers : soak->most_peers;
}

static bool all_gone(struct soak *soak)
{
    struct wherry_peer_stats stats;
    uint64_t accepted = stats_of(soak).accepted;
    while (soak->looked_after < accepted && wherry_channel_peer_stats(soak->host, soak->looked_after + 1, &stats,
                                                                      sizeof stats) == -ENOTCONN)
        soak->looked_after++;
    return accepted == soak->guests.connected && soak->looked_after == accepted && stats_of(soak).peers == 0 &&
           soak->debtor_count == 0 && soak->ended_count == 0;
}

/* Until so many have come and gone, and nobody is there. */
static void run(struct soak *soak, uint32_t until)
{
    struct guests *guests = &soak->guests;
    size_t crowd = GUEST_CROWD; /* first of all as many as there will ever be */
    wherry_time deadline = test_deadline();
    for (uint32_t round = 1; guests->count > 0 || guests->next < until || !all_gone(soak); round++) {
        bool any = false;
        if (round % 64 == 0) {
            static const uint8_t crowds[] = {1, 3, 12, 31, 33, GUEST_CROWD};
            crowd = crowds[guests_draw(guests, sizeof crowds)];
            note_peak(soak);
        }
        while (guests->next < until && guests->count < crowd && guests->connected - stats_of(soak).accepted < 64)
            guests_arrive(guests);
        any |= guests_step(guests);
        for (uint32_t i = guests_draw(guests, 16); i > 0 && receive_one(soak, WHERRY_NOW); i--)
            any = true;
        any |= answer(soak);
        if (!any)
            any = receive_one(soak, wherry_after(WHERRY_MILLISECOND));
        if (any)
            deadline = test_deadline();
        ck_assert_msg(wherry_now() < deadline,
                      "nothing goes on: %zu guests are left, the first of way %d, sent %u of %u, %u answers; %llu "
                      "of %llu peers are gone, %zu are owed answers",
                      guests->count, (int)guests->here[0].way, guests->here[0].sent, guests->here[0].count,
                      guests->here[0].answers, (unsigned long long)soak->looked_after,
                      (unsigned long long)stats_of(soak).accepted, soak->debtor_count);
    }
}

static void check_records(const struct soak *soak)
{
    for (uint32_t i = 0; i < soak->guests.next; i++) {
        const struct guest_record *record = &soak->guests.records[i];
        ck_assert_msg(record->left && record->came >= record->must && record->came <= record->begun,
                      "guest %u, way %d: %u messages came, of %u; %u had to", i, record->way, record->came,
                      record->begun, record->must);
    }
}

static void check_stats(const struct soak *soak)
{
    const struct tally *tally = &soak->tally;
    const struct guests *guests = &soak->guests;
    const struct guest_place *place = guests->place;
    struct wherry_channel_stats stats = stats_of(soak);
    ck_assert_uint_eq(stats.accepted, guests->connected);
    ck_assert_uint_eq(stats.peers, 0);
    ck_assert_uint_eq(stats.sent_messages, tally->sent);
    ck_assert_uint_eq(stats.sent_bytes, tally->sent_bytes);
    ck_assert_uint_eq(stats.received_messages, tally->received);
    ck_assert_uint_eq(stats.received_bytes, tally->received_bytes);
    ck_assert_uint_eq(stats.ends, tally->ends);
    ck_assert_uint_eq(stats.refused, tally->refused);
    if (place->reports_ends)
        ck_assert_uint_eq(tally->ended + tally->refused + tally->let_go, stats.accepted);
    uint64_t halves = place->packets || place->line ? 0 : guests->by_way[GUEST_HALF];
    uint64_t records = place->packets || place->line ? guests->by_way[GUEST_GARBAGE] : 0; /* too long */
    uint64_t torn = place->packets ? 0 : guests->by_way[GUEST_KILLED] + guests->by_way[GUEST_RESETS];
    torn += place->tcp ? guests->by_way[GUEST_UNREAD] : 0;
    uint64_t garbage = guests->by_way[GUEST_GARBAGE]; /* what a reset left of a header may look like some, too */
    ck_assert_msg(stats.refused >= garbage && stats.refused <= garbage + (place->tcp ? torn : 0),
                  "%llu of %llu refused", (unsigned long long)stats.refused, (unsigned long long)garbage);
    ck_assert_msg(stats.dropped >= halves + records && stats.dropped <= halves + records + torn,
                  "%llu dropped: %llu halves, %llu too long, at most %llu torn", (unsigned long long)stats.dropped,
                  (unsigned long long)halves, (unsigned long long)records, (unsigned long long)torn);
    ck_assert_uint_ge(stats.dropped_fds, tally->fds_left);
    ck_assert_uint_le(stats.dropped_fds + tally->fds_taken,
                      guests->fds_sent + GUEST_MOST * guests->by_way[GUEST_KILLED]);
    ck_assert_uint_eq(stats.lost + stats.reordered, 0);
}

/* The table of peers may have grown meanwhile, for a larger crowd at one time: the spare read buffer is there since the
 * first one, and all else goes with its peer.  malloc also keeps up to seven freed blocks of each of 64 sizes at hand,
 * which count as used, unless it is told not to, as meson.build does. */
enum { HEAP_SLACK = 8192, KEPT_AT_HAND = 7 * (64 * (24 + 1032) / 2) };

static size_t heap_slack(void)
{
    const char *tunables = getenv("GLIBC_TUNABLES");
    return HEAP_SLACK + (tunables && strstr(tunables, "malloc.tcache_count=0") ? 0 : KEPT_AT_HAND);
}

/* The same in pages, some of which have but one such block in them; and code that ran for the first time. */
enum { RESIDENT_SLACK = 256 << 10 };

static void check_cost(const struct cost *before, const struct cost *after)
{
    ck_assert_uint_eq(after->descriptors, before->descriptors);
    if (TEST_SANITIZED) /* its malloc keeps what is freed; what is lost it says at the end */
        return;
    ck_assert_msg(after->heap <= before->heap + heap_slack(), "%zu bytes of the heap, and %zu before", after->heap,
                  before->heap);
    ck_assert_msg(after->mapped <= before->mapped + RESIDENT_SLACK, "%zu bytes mapped, and %zu before", after->mapped,
                  before->mapped);
    ck_assert_msg(after->resident <= before->resident + RESIDENT_SLACK, "%zu bytes resident, and %zu before",
                  after->resident, before->resident);
}

static uint32_t number_from(const char *variable, uint32_t otherwise)
{
    const char *text = getenv(variable);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static void begin(struct soak *soak, const struct guest_place *place, char *path, char url[static 500])
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    char text[400];
    size_t size = soak->total + 1;
    soak->guests.place = place;
    soak->guests.records = test_shared(size * sizeof *soak->guests.records);
    soak->guest_of = test_shared(size * sizeof *soak->guest_of);
    soak->debtors = test_shared(size * sizeof *soak->debtors);
    soak->ended = test_shared(size * sizeof *soak->ended);
    memset(soak->guests.records, 0, size * sizeof *soak->guests.records); /* resident from the beginning */
    memset(soak->guest_of, 0, size * sizeof *soak->guest_of);
    memset(soak->debtors, 0, size * sizeof *soak->debtors);
    memset(soak->ended, 0, size * sizeof *soak->ended);
    soak->guests.nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
    options.max_message = GUEST_LARGEST;
    options.frame = place->line ? "line" : NULL;
    options.single_thread = place->single_thread;
    snprintf(text, sizeof text, "%s:%s?listen%s", place->scheme, place->tcp ? "//127.0.0.1:0" : path, place->query);
    test_ok(wherry_channel_open(text, WHERRY_BOTH, &options, WHERRY_NOW, &soak->host));
    if (place->tcp)
        soak->guests.port = (uint16_t)strtoul(strrchr(wherry_channel_url(soak->host), ':') + 1, NULL, 10);
    snprintf(text, sizeof text, "//127.0.0.1:%u", soak->guests.port);
    snprintf(url, 500, "%s:%s?connect", place->scheme, place->tcp ? text : path);
    soak->guests.path = path;
    soak->guests.url = url;
}

static void end(struct soak *soak)
{
    size_t size = soak->total + 1;
    test_ok(wherry_channel_close(soak->host, WHERRY_NOW));
    close(soak->guests.nothing);
    munmap(soak->guests.records, size * sizeof *soak->guests.records);
    munmap(soak->guest_of, size * sizeof *soak->guest_of);
    munmap(soak->debtors, size * sizeof *soak->debtors);
    munmap(soak->ended, size * sizeof *soak->ended);
}

TEST_WITH(guests_come_and_go_and_all_is_as_before, .table = places, .stride = sizeof places[0],
          .length = sizeof places / sizeof places[0], .seconds = 1200)
{
    uint32_t seed = number_from("WHERRY_SEED", 1);
    struct soak soak = {.guests.random = seed};
    soak.total = number_from("WHERRY_DISCONNECTS", TEST_SANITIZED ? 1500 : 3000);
    char path[200], url[500];
    begin(&soak, &places[index], test_path(path, "host"), url);
    wherry_time began = wherry_now();
    run(&soak, soak.total >= 2000 ? 1000 : soak.total / 2);
    struct cost before = cost_now(true);
    run(&soak, soak.total);
    struct cost after = cost_now(true);
    printf("# %s, seed %u: %llu disconnects in %.1f s, at most %zu peers; %llu killed, %llu messages\n"
           "#   heap %zu, at most %zu, then %zu bytes; resident %zu, at most %zu, then %zu; mapped %zu, then %zu; "
           "at most %zu descriptors\n",
           places[index].name, seed, (unsigned long long)soak.guests.gone, (double)(wherry_now() - began) / 1e9,
           soak.most_peers, (unsigned long long)soak.guests.by_way[GUEST_KILLED],
           (unsigned long long)soak.tally.received, before.heap, soak.peak.heap, after.heap, before.resident,
           soak.peak.resident, after.resident, before.mapped, after.mapped, soak.peak.descriptors);
    fflush(stdout);
    check_records(&soak);
    check_stats(&soak);
    check_cost(&before, &after);
    end(&soak);
}
