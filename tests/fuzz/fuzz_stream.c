/* tests/fuzz/fuzz_stream.c - any bytes on a stream: the messages that come do not depend on how the kernel cuts them.
 *
 * SPDX-License-Identifier: MIT
 *
 * The input describes a stream of good frames, broken ones and garbage, which goes three times through a pipe or a
 * socket: in the largest pieces, received into a large buffer; in random pieces, borrowed; and in other random pieces
 * with small buffers. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "channel/framing.h"
#include "fuzz/fuzz.h"

enum { MOST = 1 << 18, MAX_MESSAGE = 40000, MESSAGES = 4096 };

static const char *const framings[] = {"length", "line", "nul", "fixed:7", "raw"};
enum { LENGTH, LINE, NUL, FIXED, RAW };

static uint8_t stream[MOST + 80000];

/* ---- what is sent ---------------------------------------------------------------------------------------------- */

static size_t put_part(uint8_t *to, struct fuzz_input *input, unsigned what)
{
    struct wherry__part part = {.sender = (uint64_t)(what >> 3 & 3) << 2 | 2, .message = what >> 5, .type = what};
    part.total = 1 + fuzz_word(input) % 12000;
    part.offset = fuzz_byte(input) * 64 % part.total;
    part.size = 1 + fuzz_word(input) % WHERRY__PART_PAYLOAD;
    if (part.size > part.total - part.offset)
        part.size = part.total - part.offset;
    wherry__part_encode(to, &part);
    memset(to + WHERRY__PART_HEADER, (int)what, part.size);
    return WHERRY__PART_HEADER + part.size;
}

static size_t build(struct fuzz_input *input)
{
    size_t filled = 0;
    while (input->left && filled < MOST) {
        unsigned what = fuzz_byte(input);
        uint8_t *to = stream + filled;
        size_t size = fuzz_word(input) % (what & 8 ? 64 : 5000);
        size_t cut = what & 16 ? fuzz_byte(input) : SIZE_MAX;
        size_t made = 0;
        switch (what & 7) {
        case 0:
        case 1: /* a whole frame */
            wherry__whole_encode(to, (uint32_t)size, what);
            memset(to + WHERRY__WHOLE_HEADER, (int)(what | 1), size);
            made = WHERRY__WHOLE_HEADER + size;
            break;
        case 2:
        case 3:
            made = put_part(to, input, what);
            break;
        case 4: /* a big frame, over max_message at times */
            size *= 13;
            wherry__whole_encode(to, (uint32_t)size, what);
            memset(to + WHERRY__WHOLE_HEADER, (int)what, size);
            made = WHERRY__WHOLE_HEADER + (what & 32 ? size : 0);
            break;
        default: /* as it comes */
            for (made = 0; made < size % 300 && input->left; made++)
                to[made] = (uint8_t)fuzz_byte(input);
            break;
        }
        filled += made < cut ? made : cut;
    }
    return filled < MOST ? filled : MOST;
}

/* ---- what comes ------------------------------------------------------------------------------------------------ */

struct outcome {
    size_t count, bytes;
    uint64_t hashes[MESSAGES]; /* of each message, size, type and flags included; raw: of all bytes, in [0] */
};

static void add(struct outcome *outcome, bool raw, const uint8_t *data, const struct wherry_info *info)
{
    uint64_t hash = raw ? outcome->hashes[0] : (uint64_t)info->size << 32 ^ (uint64_t)info->type << 8 ^ info->flags;
    fuzz_must(info->size <= MAX_MESSAGE, "no message over max_message");
    for (size_t i = 0; i < info->size; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    outcome->bytes += info->size;
    if (raw)
        outcome->hashes[0] = hash;
    else if (outcome->count < MESSAGES)
        outcome->hashes[outcome->count++] = hash;
}

enum mode { INTO_LARGE_BUFFER, BORROWED, INTO_SMALL_BUFFERS };

/* Everything that is there.  False when there will be no more. */
static bool drain(struct wherry_channel *receiver, enum mode mode, bool raw, struct outcome *outcome)
{
    static uint8_t buffer[MAX_MESSAGE];
    size_t capacity = mode == INTO_LARGE_BUFFER ? sizeof buffer : 16;
    for (;;) {
        struct wherry_loan loan;
        struct wherry_info info;
        int result;
        if (mode == BORROWED) {
            result = wherry_channel_borrow(receiver, &loan, WHERRY_NOW);
            if (result == 1) {
                add(outcome, raw, loan.data, &loan.info);
                wherry_channel_return(receiver, &loan);
            }
        } else {
            result = wherry_channel_receive_info(receiver, buffer, capacity, &info, WHERRY_NOW);
            if (result == 1) {
                fuzz_must(info.size <= capacity, "no message over the buffer");
                add(outcome, raw, buffer, &info);
                capacity = mode == INTO_LARGE_BUFFER ? sizeof buffer : 16;
            }
            if (result == -EMSGSIZE) {
                fuzz_must(info.size > capacity && info.size <= sizeof buffer, "a size that suffices");
                capacity = info.size;
                continue;
            }
        }
        if (result == -EAGAIN)
            return true;
        if (result == 1)
            continue;
        fuzz_must(result == 0 || result == -EBADMSG || result == -ENOBUFS, "a known answer");
        fuzz_must(result == 0 || wherry_why()[0], "a sentence");
        if (result == 0)
            return false;
    }
}

static void carry(size_t size, unsigned framing, bool sockets, bool exact, enum mode mode, uint32_t random,
                  struct outcome *outcome)
{
    int fds[2];
    char url[160];
    struct wherry_channel *receiver;
    fuzz_must((sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds)
                       : pipe2(fds, O_CLOEXEC | O_NONBLOCK)) == 0,
              "a pipe");
    snprintf(url, sizeof url, "fd:%d?frame=%s&max_message=%d&max_memory=100000&single_thread=1&read_ahead=%s", fds[0],
             framings[framing], MAX_MESSAGE, exact ? "no" : "yes");
    fuzz_must(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver) == 0, "an endpoint");
    bool more = true;
    for (size_t at = 0; more && at < size;) {
        size_t piece = size - at;
        if (mode != INTO_LARGE_BUFFER) {
            random = random * 1664525u + 1013904223u;
            size_t most = random >> 30 == 0 ? 8 : random >> 30 == 1 ? 100 : 9000;
            piece = 1 + (random >> 8) % most;
            piece = piece < size - at ? piece : size - at;
        }
        ssize_t written = send(fds[1], stream + at, piece, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written < 0 && errno == ENOTSOCK)
            written = write(fds[1], stream + at, piece);
        if (written < 0 && errno != EAGAIN)
            break; /* it was cut off */
        at += written > 0 ? (size_t)written : 0;
        more = drain(receiver, mode, framing == RAW, outcome);
    }
    close(fds[1]);
    while (more)
        more = drain(receiver, mode, framing == RAW, outcome);
    wherry_channel_close(receiver, WHERRY_NOW);
}

void fuzz_stream(const uint8_t *data, size_t size)
{
    static struct outcome outcomes[3];
    struct fuzz_input input = {data, size};
    unsigned flags = fuzz_byte(&input);
    uint32_t random = fuzz_word(&input);
    unsigned framing = flags % 8 < 4 ? LENGTH : flags % 8 - 3;
    size_t length = build(&input);
    memset(outcomes, 0, sizeof outcomes);
    for (unsigned mode = INTO_LARGE_BUFFER; mode <= INTO_SMALL_BUFFERS; mode++)
        carry(length, framing, flags & 8, flags & 16, (enum mode)mode, random + mode, &outcomes[mode]);
    for (unsigned mode = BORROWED; mode <= INTO_SMALL_BUFFERS; mode++) {
        fuzz_must(outcomes[mode].count == outcomes[0].count && outcomes[mode].bytes == outcomes[0].bytes,
                  "as many messages, however they come");
        fuzz_must(memcmp(outcomes[mode].hashes, outcomes[0].hashes, sizeof outcomes[0].hashes) == 0,
                  "the same messages, however they come");
    }
    fuzz_must(framing != RAW || outcomes[0].bytes == length, "every byte");
}
