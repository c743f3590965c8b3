/* tests/conformance/kit_message.c - owns what test messages look like, and the ways to send and take them.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>

#include "kit.h"

enum { TAG = 16, STACK = 4096 };

/* ---- contents -------------------------------------------------------------------------------------------------- */

uint64_t tag_of(unsigned sender, unsigned number)
{
    return (uint64_t)sender << 32 | number;
}

unsigned sender_of(uint64_t tag)
{
    return (unsigned)(tag >> 32);
}

unsigned number_of(uint64_t tag)
{
    return (unsigned)(tag & UINT32_MAX);
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ (x >> 27);
}

static uint8_t avoid(const struct subject *subject, uint8_t byte)
{
    if ((subject->frame & (LINE | NUL)) && (byte == '\n' || byte == '\0'))
        return 'x';
    return byte;
}

/* The bytes [from, size) of what follows the tag: eight at a time, for speed under sanitizers. */
static void tail(const struct subject *subject, uint8_t *data, size_t size, uint64_t tag)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = mix(tag * 0x9e3779b97f4a7c15u + at + 1);
        for (size_t i = 0; i < 8 && at + i < size; i++)
            data[at + i] = avoid(subject, (uint8_t)(word >> (8 * i)));
    }
}

void compose(const struct subject *subject, void *data, size_t size, uint64_t tag)
{
    uint8_t *bytes = data;
    char digits[TAG + 1];
    size_t lead = size >= TAG ? TAG : 0;
    snprintf(digits, sizeof digits, "%016llx", (unsigned long long)tag);
    memcpy(bytes, digits, lead);
    tail(subject, bytes + lead, size - lead, tag);
}

bool is_message(const struct subject *subject, const void *data, size_t size, uint64_t tag)
{
    if (size == 0)
        return true;
    uint8_t *wanted = malloc(size);
    compose(subject, wanted, size, tag);
    bool same = memcmp(wanted, data, size) == 0;
    free(wanted);
    return same;
}

static uint64_t read_tag(const uint8_t *data)
{
    char digits[TAG + 1] = "";
    memcpy(digits, data, TAG);
    return strtoull(digits, NULL, 16);
}

/* ---- sending and taking ---------------------------------------------------------------------------------------- */

int post(const struct subject *subject, struct wherry_channel *sender, size_t size, uint64_t tag, wherry_time deadline)
{
    uint8_t small[STACK], *data = size <= sizeof small ? small : malloc(size);
    compose(subject, data, size, tag);
    int result = wherry_channel_send(sender, data, size, deadline);
    if (data != small)
        free(data);
    return result;
}

void crate_init(struct crate *crate, const struct subject *subject, size_t capacity)
{
    *crate = (struct crate){.subject = subject, .data = malloc(capacity ? capacity : 1), .capacity = capacity};
}

void crate_fini(struct crate *crate)
{
    free(crate->data);
    crate->data = NULL;
}

void two_init(struct two *two, const struct subject *subject, size_t capacity)
{
    site_init(&two->site, subject);
    open_two(&two->site, &two->sender, &two->receiver);
    crate_init(&two->crate, subject, capacity);
}

void two_fini(struct two *two)
{
    crate_fini(&two->crate);
    close_two(two->sender, two->receiver);
    site_fini(&two->site);
}

int take(struct wherry_channel *receiver, struct crate *crate, wherry_time deadline)
{
    int result = wherry_channel_receive_info(receiver, crate->data, crate->capacity, &crate->info, deadline);
    if (result != 1)
        return result;
    must(crate->info.size <= crate->capacity, "a message of %zu bytes in a buffer of %zu", crate->info.size,
         crate->capacity);
    if (crate->info.size < TAG || (crate->info.flags & WHERRY_INCOMPLETE) || crate->subject->frame == RAW || crate->any)
        return result;
    crate->tag = read_tag(crate->data);
    must(is_message(crate->subject, crate->data, crate->info.size, crate->tag),
         "a message of %zu bytes that nobody sent: it begins with \"%.16s\"", crate->info.size,
         (const char *)crate->data);
    return result;
}

void expect(struct wherry_channel *receiver, struct crate *crate, size_t size, uint64_t tag)
{
    test_is(take(receiver, crate, soon()), 1);
    must(crate->info.size == size && is_message(crate->subject, crate->data, size, tag),
         "message %u of sender %u, %zu bytes, was to come; there came %u of %u, %zu bytes", number_of(tag),
         sender_of(tag), size, number_of(crate->tag), sender_of(crate->tag), crate->info.size);
}

void expect_nothing(struct wherry_channel *receiver, struct crate *crate)
{
    test_is(take(receiver, crate, WHERRY_NOW), -EAGAIN);
}

void expect_end(struct wherry_channel *receiver, struct crate *crate)
{
    const struct subject *subject = crate->subject;
    if (!HAS(ENDS)) {
        expect_nothing(receiver, crate);
        return;
    }
    test_is(take(receiver, crate, soon()), 0);
    test_is(take(receiver, crate, WHERRY_NOW), HAS(ENDS_FOR_EVER) ? 0 : -EAGAIN);
}

bool in_turn(const struct crate *crate, unsigned *next)
{
    const struct subject *subject = crate->subject;
    unsigned number = number_of(crate->tag), wanted = *next;
    *next = number + 1;
    return number == wanted || (HAS(LOSSY) && number > wanted);
}

/* Far beyond what any kernel object holds by default; a transport without bounds breaks the clause. */
enum { FILL_MESSAGES = 1 << 20, FILL_BYTES = 1 << 28 };

int post_until_refused(const struct subject *subject, struct wherry_channel *sender)
{
    int result;
    wherry_time deadline = soon();
    while ((result = post(subject, sender, SMALL, 1, WHERRY_NOW)) == 0)
        must(wherry_now() < deadline, "messages are taken for ever");
    return result;
}

unsigned fill(const struct subject *subject, struct wherry_channel *sender, size_t size, unsigned first)
{
    unsigned count = 0;
    int result;
    /* ms: longer than an acknowledgement is put off, and than what had no memory there waits to be sent again */
    unsigned settles = moves_on(subject) ? 250 : 0;
    for (unsigned full = 0;;) {
        result = post(subject, sender, size, tag_of(0, first + count), WHERRY_NOW);
        if (result == -EAGAIN && full++ < settles) {
            test_sleep(WHERRY_MILLISECOND);
            continue;
        }
        if (result != 0)
            break;
        full = 0;
        count++;
        must(count < FILL_MESSAGES && (uint64_t)count * size < FILL_BYTES, "%u messages of %zu bytes: never full",
             count, size);
    }
    test_is(result, -EAGAIN);
    return count;
}

void drain(struct wherry_channel *sender, struct wherry_channel *receiver, struct crate *crate, size_t size,
           unsigned first, unsigned count)
{
    wherry_time deadline = soon();
    for (unsigned n = 0; n < count;) {
        int result = take(receiver, crate, wherry_after(WHERRY_MILLISECOND));
        if (result == -EAGAIN || result == -ETIMEDOUT) {
            wherry_channel_flush(sender, WHERRY_NOW); /* a half-written message waits in the sender */
            must(wherry_now() < deadline, "message %u of %u did not come", n, count);
            continue;
        }
        test_is(result, 1);
        must(crate->info.size == size && crate->tag == tag_of(0, first + n),
             "message %u was to come; there came %u, %zu bytes", first + n, number_of(crate->tag), crate->info.size);
        n++;
        deadline = soon();
    }
    wherry_channel_flush(sender, WHERRY_NOW);
    expect_nothing(receiver, crate);
}
