/* tests/conformance/clause_15_trust.c - foreign bytes cost a connection, never a crash, an over-read, memory or a hang.
 *
 * SPDX-License-Identifier: MIT */
#include <malloc.h>

#include "channel/framing.h"
#include "kit.h"

/* What malloc has from the system; 0 under sanitizers, which replace it. */
static size_t memory_now(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.arena + info.hblkhd;
}

static void send_raw(struct wherry_channel *raw, const void *bytes, size_t size)
{
    int result = wherry_channel_send(raw, bytes, size, soon());
    must(result == 0 || result == -EPIPE, "raw bytes: %d: %s", result, wherry_why());
}

/* The bytes of a good message in this framing. */
static size_t encode(const struct subject *subject, uint8_t *bytes, size_t size, uint64_t tag)
{
    size_t before = subject->frame == LENGTH ? WHERRY__WHOLE_HEADER : 0;
    if (before)
        wherry__whole_encode(bytes, (uint32_t)size, 0);
    compose(subject, bytes + before, size, tag);
    if (subject->frame & (LINE | NUL))
        bytes[before + size] = subject->frame == LINE ? '\n' : '\0';
    return before + size + (subject->frame & (LINE | NUL) ? 1 : 0);
}

/* After whatever happened, a good message arrives: from a new peer where there are connections, which foreign bytes
 * cost; on the same stream where they are skipped. */
static void goes_on(struct site *site, struct wherry_channel *raw, struct wherry_channel *receiver, struct crate *crate)
{
    const struct subject *subject = site->subject;
    uint8_t bytes[SMALL + 64];
    struct wherry_channel *guest = NULL;
    if (HAS(LISTENS)) {
        site->options.max_message = 0;
        guest = site_open(site, GUEST);
        test_is(post(subject, guest, SMALL, 4711, soon()), 0);
    } else {
        send_raw(raw, bytes, encode(subject, bytes, SMALL, 4711));
    }
    wherry_time deadline = soon();
    crate->any = true;
    for (;;) {
        int result = take(receiver, crate, soon());
        must(wherry_now() < deadline, "a good message does not come after bad ones");
        if (result == -EBADMSG || result == 0) /* skipped over, or the end of the one who sent them */
            continue;
        test_is(result, 1);
        if (crate->info.size == SMALL && is_message(subject, crate->data, SMALL, 4711))
            break;
    }
    close_now(guest);
}

struct attack {
    struct site site;
    struct wherry_channel *raw, *receiver;
    struct crate crate;
};

static void attack_init(struct attack *attack, const struct subject *subject, uint64_t max_message)
{
    site_init(&attack->site, subject);
    attack->site.options.max_message = max_message;
    attack->receiver = site_open(&attack->site, HOST);
    attack->raw = site_open_raw(&attack->site);
    crate_init(&attack->crate, subject, 1 << 16);
}

static void attack_fini(struct attack *attack)
{
    crate_fini(&attack->crate);
    close_two(attack->raw, attack->receiver);
    site_fini(&attack->site);
}

/* ---- no frames at all ------------------------------------------------------------------------------------------ */

CASE(15, garbage_is_ebadmsg_and_the_endpoint_goes_on, .frames = LENGTH)
{
    static const char *const texts[] = {"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", "hello, this is a line of text\n",
                                        "\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct attack attack;
        struct wherry_channel_stats stats;
        attack_init(&attack, subject, 0);
        send_raw(attack.raw, texts[i], strlen(texts[i]));
        test_is(take(attack.receiver, &attack.crate, soon()), -EBADMSG);
        must(wherry_why()[0] != '\0', "without a word of why");
        const char *why = wherry_why();
        must(((unsigned char)texts[i][0] < 0x80) == (strstr(why, "frame=") != NULL),
             "\"%s\": no hint at frame=, or one without reason", why);
        must(!HAS(LISTENS) || !HAS(DUPLEX) || strstr(why, "connection was closed"), "\"%s\" hides the cut", why);
        goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
        test_is(wherry_channel_stats(attack.receiver, &stats, sizeof stats), 0);
        must(stats.refused + stats.dropped >= 1, "the foreign bytes were not counted");
        attack_fini(&attack);
    }
}

CASE(15, good_messages_before_garbage_arrive, .frames = LENGTH)
{
    struct attack attack;
    uint8_t bytes[512];
    attack_init(&attack, subject, 0);
    size_t size = encode(subject, bytes, SMALL, 1);
    size += encode(subject, bytes + size, SMALL, 2);
    memcpy(bytes + size, "garbage garbage garbage", 23);
    send_raw(attack.raw, bytes, size + 23);
    expect(attack.receiver, &attack.crate, SMALL, 1);
    expect(attack.receiver, &attack.crate, SMALL, 2);
    test_is(take(attack.receiver, &attack.crate, soon()), -EBADMSG);
    goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
    attack_fini(&attack);
}

static uint32_t random_state;

static uint32_t random_next(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return random_state >> 8;
}

CASE(15, random_bytes_never_crash_or_hang, .frames = LENGTH | LINE | NUL | FIXED | RAW)
{
    struct attack attack;
    uint8_t bytes[3000];
    random_state = 20240229;
    attack_init(&attack, subject, 100000);
    attack.crate.any = true;
    for (int round = 0; round < 150; round++) {
        size_t size = 1 + random_next() % sizeof bytes;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (uint8_t)random_next();
        if (round % 3 == 0) /* a good header among them, of something that does not follow */
            wherry__whole_encode(bytes, random_next() % 4000, random_next());
        send_raw(attack.raw, bytes, size < 12 ? 12 : size);
        int result;
        for (unsigned takes = 0; (result = take(attack.receiver, &attack.crate, WHERRY_NOW)) != -EAGAIN; takes++) {
            must(result == 1 || result == 0 || result == -EBADMSG, "random bytes gave %d: %s", result, wherry_why());
            must(takes <= 2 * sizeof bytes, "more messages and errors than bytes");
            if (result != 0 || !HAS(LISTENS))
                continue;
            close_now(attack.raw);
            attack.raw = site_open_raw(&attack.site);
        }
        if (HAS(LISTENS) && round % 5 == 0) {
            close_now(attack.raw);
            attack.raw = site_open_raw(&attack.site);
        }
    }
    if (HAS(LISTENS) && subject->frame != RAW)
        goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
    attack_fini(&attack);
}

/* ---- claims ---------------------------------------------------------------------------------------------------- */

CASE(15, a_claim_over_the_limit_is_ebadmsg, .frames = LENGTH)
{
    static const uint32_t claims[] = {1001, 1 << 20, (16 << 20) + 1, 1 << 30, INT32_MAX};
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        struct attack attack;
        uint8_t bytes[WHERRY__WHOLE_HEADER + 100] = {0};
        attack_init(&attack, subject, i < 2 ? 1000 : 0);
        wherry__whole_encode(bytes, claims[i], 0);
        size_t before = memory_now();
        send_raw(attack.raw, bytes, sizeof bytes);
        test_is(take(attack.receiver, &attack.crate, soon()), -EBADMSG);
        must(memory_now() - before < 4 << 20 || memory_now() < before, "memory grew with the claim");
        goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
        attack_fini(&attack);
    }
}

/* A claim within the limits, of which only a little comes: memory is taken for what came. */
CASE(15, memory_grows_as_bytes_arrive, .frames = LENGTH)
{
    enum { PEERS = 24 };
    struct attack attack;
    struct wherry_channel *more[PEERS] = {NULL};
    uint8_t bytes[WHERRY__WHOLE_HEADER + 100] = {0};
    unsigned peers = HAS(LISTENS) ? PEERS : 0;
    attack_init(&attack, subject, 0);
    wherry__whole_encode(bytes, 16 << 20, 0);
    size_t before = memory_now();
    send_raw(attack.raw, bytes, sizeof bytes);
    for (unsigned i = 0; i < peers; i++) {
        more[i] = site_open_raw(&attack.site);
        send_raw(more[i], bytes, sizeof bytes);
        test_is(take(attack.receiver, &attack.crate, WHERRY_NOW), -EAGAIN);
    }
    test_is(take(attack.receiver, &attack.crate, quiet()), -ETIMEDOUT);
    size_t grown = memory_now() > before ? memory_now() - before : 0;
    must(grown < 8 << 20, "%zu bytes of memory for %zu that came", grown, (peers + 1) * sizeof bytes);
    if (HAS(LISTENS)) /* and none of them holds up another */
        goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
    for (unsigned i = 0; i < peers; i++)
        close_now(more[i]);
    attack_fini(&attack);
}

/* All peers together are held to max_memory. */
CASE(15, all_peers_together_are_bounded, .frames = LENGTH, .option = WHERRY__OPTION_WRITERS)
{
    enum { SENDERS = 600, PIECE = 1000 };
    struct attack attack;
    uint8_t bytes[WHERRY__PART_HEADER + PIECE] = {0};
    site_init(&attack.site, subject);
    attack.site.options.max_message = 1 << 20;
    attack.site.options.max_memory = 4 << 20;
    attack.receiver = site_open(&attack.site, HOST);
    attack.raw = site_open_raw(&attack.site);
    crate_init(&attack.crate, subject, 1 << 16);
    size_t before = memory_now();
    for (unsigned i = 0; i < SENDERS; i++) {
        struct wherry__part part = {.size = PIECE, .message = 1, .total = 1 << 20, .sender = 1000 + 2 * i};
        wherry__part_encode(bytes, &part);
        send_raw(attack.raw, bytes, sizeof bytes);
        int result = take(attack.receiver, &attack.crate, WHERRY_NOW);
        must(result == -EAGAIN || result == -EBADMSG, "a first part gave %d: %s", result, wherry_why());
    }
    size_t grown = memory_now() > before ? memory_now() - before : 0;
    must(grown < 6 << 20, "%zu bytes of memory where 4 MiB are the limit", grown);
    goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
    attack_fini(&attack);
}

CASE(15, a_record_without_end_is_ebadmsg, .frames = LINE | NUL)
{
    struct attack attack;
    uint8_t *bytes = malloc(4000);
    memset(bytes, 'x', 4000);
    attack_init(&attack, subject, 60000);
    size_t before = memory_now();
    int result = -EAGAIN;
    for (int i = 0; i < 2000 && result == -EAGAIN; i++) {
        send_raw(attack.raw, bytes, 4000);
        result = take(attack.receiver, &attack.crate, WHERRY_NOW);
    }
    test_is(result, -EBADMSG);
    must(memory_now() < before + (4 << 20), "memory grew with a record without end");
    bytes[0] = subject->frame == LINE ? '\n' : '\0';
    send_raw(attack.raw, bytes, 1);
    goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
    free(bytes);
    attack_fini(&attack);
}

/* ---- honest, but larger than this receiver wants --------------------------------------------------------------- */

CASE(15, larger_than_the_receiver_takes_is_ebadmsg, .frames = NONE | LENGTH | LINE | NUL)
{
    struct attack attack;
    uint8_t bytes[2100];
    if (subject->frame != NONE) {
        attack_init(&attack, subject, 1000);
        send_raw(attack.raw, bytes, encode(subject, bytes, 2000, 1));
    } else {
        site_init(&attack.site, subject);
        if (HAS(REMAINS)) /* whose maker says how large messages may be */
            attack.raw = site_open(&attack.site, GUEST);
        attack.site.options.max_message = 1000;
        attack.receiver = site_open(&attack.site, HOST);
        attack.site.options.max_message = 0;
        if (!HAS(REMAINS))
            attack.raw = site_open(&attack.site, GUEST);
        crate_init(&attack.crate, subject, 4096);
        test_is(post(subject, attack.raw, 2000, 1, soon()), 0);
    }
    test_is(take(attack.receiver, &attack.crate, soon()), -EBADMSG);
    must(strstr(wherry_why(), "max_message"), "\"%s\" does not name the limit", wherry_why());
    goes_on(&attack.site, attack.raw, attack.receiver, &attack.crate);
    attack_fini(&attack);
}
