/* bench/demo_carry.c - carries the text line by line from one process to another and checks what arrived.
 *
 * SPDX-License-Identifier: MIT
 *
 * A message is a line with its newline, so that the messages in a row are the file again, whatever is in it.  The
 * receiver lets them land one behind the other and takes the digest afterwards, so that SHA-256 is not measured.  A
 * line that the transport does not take whole goes in pieces, and the table says so. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "demo.h"
#include "lane.h"
#include "sha256.h"

#define PATIENCE (20 * WHERRY_SECOND)  /* for the other process */
#define QUIET (500 * WHERRY_MILLISECOND) /* without a message, after the last was sent: the rest is lost */

/* What the processes share. */
struct report {
    _Atomic uint64_t sent;
    _Atomic size_t piece; /* the sender makes none smaller, but of the end of a line */
    _Atomic bool done; /* the sender has sent all */
    wherry_time began, ended;
    struct carried carried;
};

struct job {
    struct lane lane;
    const struct text *text;
    struct report *report;
    unsigned char *landing; /* where the text arrives, as large as the text and a little larger */
    size_t room;
};

/* ---- being stopped ---- */

static struct wherry_channel *volatile interruptible;

static void interrupt(void)
{
    if (interruptible)
        wherry_channel_interrupt(interruptible);
}

void demo_interruptible(struct wherry_channel *channel)
{
    interruptible = channel;
    stop_hook(interrupt);
    if (channel && stop_wanted()) /* it came before we could be interrupted */
        wherry_channel_interrupt(channel);
}

/* Note the first failure, close properly, leave. */
static _Noreturn void give_up(struct job *job, struct wherry_channel *channel, const char *what, int failure)
{
    if (!job->report->carried.why[0])
        snprintf(job->report->carried.why, sizeof job->report->carried.why, "%s: %s (%s)", what, wherry_why(),
                 strerror(-failure));
    demo_interruptible(NULL);
    wherry_channel_close(channel, WHERRY_NOW);
    _exit(1);
}

/* ---- sending ---- */

/* One line, whole if the transport takes it.  *piece shrinks as the transport refuses, before what is smaller goes. */
static int send_line(struct wherry_channel *channel, const unsigned char *line, size_t size, _Atomic size_t *piece,
                     uint64_t *messages)
{
    for (size_t at = 0; at < size;) {
        size_t most = *piece, now = size - at < most ? size - at : most;
        int result = wherry_channel_send(channel, line + at, now, wherry_after(PATIENCE));
        if (result == -EMSGSIZE && now > 1) {
            *piece = now / 2 + now % 2;
            continue;
        }
        if (result < 0)
            return result;
        at += now;
        ++*messages;
    }
    return 0;
}

static void sender(struct crew *crew, void *argument)
{
    struct job *job = argument;
    const struct text *text = job->text;
    struct wherry_channel *channel = NULL;
    struct carried *carried = &job->report->carried;
    uint64_t messages = 0;
    demo_interruptible(NULL);
    pin_to_core(0);
    int result = lane_open(&job->lane, 1, wherry_after(PATIENCE), &channel);
    if (result < 0)
        give_up(job, NULL, "open to send", result);
    demo_interruptible(channel);
    crew_meet(crew);
    job->report->began = wherry_now();
    for (size_t line = 0, at = 0; line < text->lines; at = text->ends[line++]) {
        uint64_t before = messages;
        result = send_line(channel, text->data + at, text->ends[line] - at, &job->report->piece, &messages);
        if (result < 0)
            give_up(job, channel, "send", result);
        carried->too_large += messages - before > 1;
    }
    carried->piece = job->report->piece;
    demo_interruptible(NULL);
    result = wherry_channel_close(channel, wherry_after(PATIENCE));
    if (result < 0)
        give_up(job, NULL, "close", result);
    job->report->sent = messages;
    job->report->done = true;
}

/* ---- receiving ---- */

static void check_digest(struct job *job, size_t size)
{
    struct carried *carried = &job->report->carried;
    struct sha256 hash;
    unsigned char digest[32];
    sha256_init(&hash);
    sha256_add(&hash, job->landing, size);
    sha256_end(&hash, digest);
    carried->verified = size == job->text->size && memcmp(digest, job->text->digest, sizeof digest) == 0;
    if (!carried->verified && !carried->why[0])
        snprintf(carried->why, sizeof carried->why, "%zu bytes went in, %zu came out, or they differ", job->text->size,
                 size);
}

/* A place in the text: so many bytes into this line. */
struct place {
    size_t line, offset;
};

/* The first bytes of `line` from `offset` on that can be this message, or NULL.  A line no longer than `piece` comes
 * whole.  Of a longer one a message is the end, or not smaller than `piece`. */
static const unsigned char *part_of(const unsigned char *line, size_t length, size_t offset,
                                    const struct wherry_message *message, size_t piece)
{
    size_t size = message->size, left = length - offset;
    const unsigned char *from = line + offset;
    if (length <= piece)
        return size == length && memcmp(line, message->data, size) == 0 ? line : NULL;
    if (size > left)
        return NULL;
    if (size < piece)
        from += left - size;
    if (memcmp(from, message->data, size) == 0)
        return from;
    return size < piece ? NULL : memmem(from, left, message->data, size);
}

/* Where messages may be lost those that came must still be lines of the text, or pieces of lines, in order.  *place is
 * the next to look at. */
static bool in_order(const struct text *text, const struct wherry_message *message, size_t piece, struct place *place)
{
    for (; place->line < text->lines; place->line++, place->offset = 0) {
        size_t start = place->line ? text->ends[place->line - 1] : 0, length = text->ends[place->line] - start;
        const unsigned char *line = text->data + start;
        const unsigned char *part = part_of(line, length, place->offset, message, piece);
        if (!part)
            continue;
        place->offset = (size_t)(part - line) + message->size;
        if (place->offset == length)
            *place = (struct place){.line = place->line + 1};
        return true;
    }
    return false;
}

struct arrival {
    uint64_t messages;
    size_t size;
    struct place place;
    bool ordered;
};

/* Whether to stop waiting: all that was sent is here, or the sender is done and nothing more comes. */
static bool enough(const struct job *job, const struct arrival *arrival, bool quiet)
{
    return job->report->done && (quiet || arrival->messages >= job->report->sent);
}

static void take(struct job *job, struct arrival *arrival, const unsigned char *data, size_t size)
{
    uint64_t traits = job->lane.traits->bits;
    arrival->messages++;
    if (traits & WHERRY_TRAIT_LOSSY)
        arrival->ordered =
            arrival->ordered && in_order(job->text, &(struct wherry_message){.data = data, .size = size},
                                         job->report->piece, &arrival->place);
    else
        arrival->size += size;
    if (!(traits & WHERRY_TRAIT_ENDS))
        job->report->ended = wherry_now(); /* of each, since the last is not known as such */
}

static void receive_all(struct job *job, struct wherry_channel *channel, struct arrival *arrival)
{
    bool ends = job->lane.traits->bits & WHERRY_TRAIT_ENDS;
    bool quiet = false;
    wherry_time deadline = wherry_after(QUIET), last_try = wherry_after(PATIENCE);
    while (ends || !enough(job, arrival, false)) {
        unsigned char *data = job->landing + arrival->size;
        size_t size;
        int result = wherry_channel_receive(channel, data, job->room - arrival->size, &size, deadline);
        if (result == 0)
            return;
        if (result == 1) {
            take(job, arrival, data, size);
            last_try = deadline + PATIENCE;
            quiet = false;
            continue;
        }
        if (result != -EAGAIN && result != -ETIMEDOUT)
            give_up(job, channel, "receive", result);
        if (!ends && enough(job, arrival, quiet))
            return;
        if (wherry_now() > last_try)
            give_up(job, channel, "receive", result);
        quiet = true; /* unless something comes until the next deadline */
        deadline = wherry_after(QUIET);
    }
}

static void receiver(struct crew *crew, void *argument)
{
    struct job *job = argument;
    struct wherry_channel *channel = NULL;
    struct arrival arrival = {.ordered = true};
    demo_interruptible(NULL);
    pin_to_core(1);
    job->landing = need_memory(job->room);
    int result = lane_open(&job->lane, 0, wherry_after(PATIENCE), &channel);
    if (result < 0)
        give_up(job, NULL, "open to receive", result);
    demo_interruptible(channel);
    crew_meet(crew);
    receive_all(job, channel, &arrival);
    if (!job->report->ended)
        job->report->ended = wherry_now();
    demo_interruptible(NULL);
    wherry_channel_close(channel, wherry_after(PATIENCE));
    job->report->carried.messages = arrival.messages;
    if (!(job->lane.traits->bits & WHERRY_TRAIT_LOSSY))
        check_digest(job, arrival.size);
    else
        job->report->carried.verified = arrival.ordered;
}

/* ---- both ---- */

void carry(const struct wherry_traits *traits, const struct text *text, struct carried *ret_carried)
{
    struct job job = {.text = text, .room = text->size + 4096};
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct crew crew;
    options.single_thread = true;
    if (text->longest > (16u << 20))
        options.max_message = text->longest;
    lane_alone(traits, &options);
    job.report = need_shared(sizeof *job.report);
    job.report->piece = traits->largest ? traits->largest : SIZE_MAX;
    int result = lane_prepare(&job.lane, traits, &options);
    crew_init(&crew);
    if (result == 0) {
        crew_add(&crew, receiver, &job);
        crew_add(&crew, sender, &job);
    }
    lane_drop(&job.lane);
    bool good = crew_finish(&crew) && result == 0;
    lane_remove(&job.lane);
    *ret_carried = job.report->carried;
    ret_carried->lost = job.report->sent > ret_carried->messages ? job.report->sent - ret_carried->messages : 0;
    ret_carried->seconds = (double)(job.report->ended - job.report->began) / 1e9;
    ret_carried->verified = good && ret_carried->verified;
    if (!good && !ret_carried->why[0])
        snprintf(ret_carried->why, sizeof ret_carried->why, "%s", result < 0 ? wherry_why() : "a process died");
    drop_memory(job.report, sizeof *job.report);
}
