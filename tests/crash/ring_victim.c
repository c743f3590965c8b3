/* tests/crash/ring_victim.c - owns what the victims of scenes do.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/ring_victim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel/channel.h"
#include "crash/ring_scene.h"
#include "harness.h"
#include "ring/ring.h"
#include "unit/pattern.h"

static uint8_t data[BOOK_LARGEST];

__attribute__((noinline)) void ring_victim_mark(void)
{
    __asm__ volatile("nop" ::: "memory");
}

uintptr_t ring_victim_entry(enum ring_call call)
{
    switch (call) {
    case CALL_SEND:
    case CALL_SEND_WAITS:
    case CALL_SEND_WOKEN:
    case CALL_SEND_WAKES:
        return step_address(wherry_channel_send);
    case CALL_SEND_MESSAGE:
        return step_address(wherry_channel_send_message);
    case CALL_RESERVE:
        return step_address(wherry_channel_reserve);
    case CALL_COMMIT:
        return step_address(wherry_channel_commit);
    case CALL_ABANDON:
        return step_address(wherry_channel_abandon);
    case CALL_SEND_FD:
    case CALL_SEND_FD_READY:
        return step_address(wherry_channel_send_fd);
    case CALL_RECEIVE_FD:
    case CALL_RECEIVE_FD_READY:
        return step_address(wherry_channel_receive_fd);
    case CALL_BORROW:
    case CALL_BORROW_DROPPED:
        return step_address(wherry_channel_borrow);
    case CALL_RETURN:
    case CALL_RETURN_DROPPED:
        return step_address(wherry_channel_return);
    case CALL_CLOSE_SENDER:
    case CALL_CLOSE_RECEIVER:
    case CALL_CLOSE_HOLDING:
    case CALL_CLOSE_LAST:
    case CALL_KEEP_CLOSE_SENDER:
    case CALL_KEEP_CLOSE_RECEIVER:
        return step_address(wherry_channel_close);
    case CALL_OPEN_SENDER:
    case CALL_OPEN_RECEIVER:
    case CALL_CREATE:
    case CALL_CREATE_SENDER:
    case CALL_CLEAN:
    case CALL_KEEP_CREATE:
    case CALL_KEEP_OPEN_SENDER:
    case CALL_KEEP_OPEN_RECEIVER:
        return step_address(wherry_channel_open);
    default:
        return step_address(wherry_channel_receive);
    }
}

static void give_up(struct ring_run *run, const char *what, int result)
{
    book_complain(run->book, "%s: %d, %s", what, result, wherry_why());
    _exit(0); /* the complaint is enough */
}

static int open_end(const struct ring_run *run, enum wherry_role role, enum wherry_side side, wherry_time deadline,
                    struct wherry_channel **ret)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.single_thread = run->scene.single_thread;
    options.side = side;
    return wherry_channel_open(run->url, role, &options, deadline, ret);
}

/* The end of one that may live. */
static void finish(struct ring_run *run, struct wherry_channel *channel, const struct wherry_loan *loan)
{
    if (!run->stops)
        return;
    for (uint32_t number = 0; loan && number < BOOK_NUMBERS; number++)
        if (run->book->entries[number].came == BOOK_HELD) {
            run->book->entries[number].came = BOOK_RETURNED;
            wherry_channel_return(channel, loan);
        }
    wherry_channel_close(channel, WHERRY_NOW);
}

/* ---- sending ---- */

static void say(struct ring_run *run, struct wherry_channel *sender, size_t size)
{
    int result = book_say(run->book, sender, BOOK_VICTIM, size, test_deadline());
    if (result < 0)
        give_up(run, "the victim's message before", result);
}

static size_t frame(size_t size)
{
    return (8 + size + 7) & ~(size_t)7;
}

/* So that one more message of `size` bytes fits exactly, or lacks 8 bytes. */
static void fill(struct ring_run *run, struct wherry_channel *sender, size_t used, size_t size, size_t lacking)
{
    size_t left = SCENE_CAPACITY - used - frame(size) - 8 + lacking;
    while (left > 0) {
        size_t now = left > 2048 + 8 ? 2048 : left;
        say(run, sender, now - 8);
        left -= now;
    }
}

static void await(struct ring_run *run, int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    if (poll(&entry, 1, 8000) != 1) /* no time-out of its own: a wake-up that is lost is a hang */
        give_up(run, "the descriptor tells nothing", -ETIMEDOUT);
}

/* It may live: then the lane was emptied, and the descriptor says so. */
static void ask_to_send(struct ring_run *run, struct wherry_channel *sender)
{
    int fd = wherry_channel_send_fd(sender), result = fd;
    if (fd < 0)
        give_up(run, "the victim's call", fd);
    ring_victim_mark();
    if (!run->stops)
        return;
    do
        await(run, fd);
    while ((result = book_say(run->book, sender, BOOK_VICTIM, 24, WHERRY_NOW)) == -EAGAIN);
    if (result < 0)
        give_up(run, "the victim's message behind it", result);
    wherry_channel_close(sender, WHERRY_NOW);
}

/* What was reserved is nothing that was sent, and the next message has its place. */
static void abandon(struct ring_run *run, struct wherry_channel *sender)
{
    void *place;
    int result = wherry_channel_reserve(sender, run->scene.size, &place, test_deadline());
    if (result < 0)
        give_up(run, "the victim's reserve", result);
    uint32_t number = book_begin(run->book, BOOK_VICTIM, run->scene.size, data);
    memcpy(place, data, run->scene.size);
    book_end(run->book, number, -ECANCELED);
    ring_victim_mark();
    wherry_channel_abandon(sender);
    ring_victim_mark();
    if (!run->stops)
        return;
    say(run, sender, 24);
    wherry_channel_close(sender, WHERRY_NOW);
}

static void be_sender(struct ring_run *run)
{
    const struct ring_scene *scene = &run->scene;
    struct wherry_channel *sender;
    struct book *book = run->book;
    int result = open_end(run, WHERRY_SEND, WHERRY_SIDE_DEFAULT, test_deadline(), &sender);
    if (result < 0)
        give_up(run, "the victim's open", result);
    ring_victim_mark();
    ring_victim_mark();
    size_t first = scene->size <= 1024 ? scene->size : 56;
    say(run, sender, first);
    say(run, sender, 40);
    bool full = scene->call == CALL_SEND_WAITS || scene->call == CALL_SEND_WOKEN || scene->call == CALL_SEND_FD;
    if (full || scene->nearly_full)
        fill(run, sender, frame(first) + frame(40), scene->call == CALL_SEND_FD ? 0 : scene->size, full ? 8 : 0);
    if (scene->call == CALL_SEND_FD || scene->call == CALL_SEND_FD_READY) {
        ring_victim_mark();
        ask_to_send(run, sender);
        return;
    }
    if (scene->call == CALL_ABANDON) {
        abandon(run, sender);
        return;
    }
    void *place = NULL;
    if (scene->call == CALL_COMMIT &&
        (result = wherry_channel_reserve(sender, scene->size, &place, test_deadline())) < 0)
        give_up(run, "the victim's reserve", result);
    if (scene->call == CALL_CLOSE_SENDER || scene->call == CALL_KEEP_CLOSE_SENDER) {
        ring_victim_mark();
        wherry_channel_close(sender, WHERRY_NOW);
        ring_victim_mark();
        return;
    }
    uint32_t number = book_begin(book, BOOK_VICTIM, scene->size, data);
    book->in_call = number + 1;
    if (place)
        memcpy(place, data, scene->size);
    struct wherry_message message = {.data = place ? place : data, .size = scene->size};
    wherry_time deadline = scene->call == CALL_SEND_WAITS ? wherry_after(3 * WHERRY_MILLISECOND) : test_deadline();
    ring_victim_mark();
    switch (scene->call) {
    case CALL_SEND_MESSAGE:
        result = wherry_channel_send_message(sender, &message, 0, deadline);
        break;
    case CALL_RESERVE:
        result = wherry_channel_reserve(sender, scene->size, &place, deadline);
        break;
    case CALL_COMMIT:
        result = wherry_channel_commit(sender, &message, 0, deadline);
        break;
    default:
        result = wherry_channel_send(sender, data, scene->size, deadline);
    }
    book->result = result;
    if (scene->call != CALL_RESERVE)
        book_end(book, number, result);
    if (result < 0 && scene->call != CALL_SEND_WAITS)
        give_up(run, "the victim's call", result);
    ring_victim_mark();
    finish(run, sender, NULL);
}

/* ---- receiving ---- */

static void note_received(struct book *book, size_t size)
{
    uint32_t number = book_recognize(book, data, size);
    if (size == 0) {
        book->nameless++;
    } else if (number == UINT32_MAX) {
        book_complain(book, "the victim received %zu bytes that nobody sent", size);
    } else {
        struct wherry_info info = {.size = size, .type = number + 1};
        book_note(book, data, &info, BOOK_BY_VICTIM);
    }
}

static void borrow(struct ring_run *run, struct wherry_channel *receiver, struct wherry_loan *loan,
                   wherry_time deadline)
{
    int result = wherry_channel_borrow(receiver, loan, deadline);
    if ((result == -ETIMEDOUT || result == -EAGAIN) && run->stops) /* others took all, or it stood too long */
        return;
    if (result != 1)
        give_up(run, "a borrow", result);
    book_note(run->book, loan->data, &loan->info, BOOK_HELD);
}

static uint32_t held(const struct book *book)
{
    uint32_t number = 0;
    while (number < BOOK_NUMBERS && book->entries[number].came != BOOK_HELD)
        number++;
    return number;
}

/* It may live: then one message has been sent since, and the descriptor says so. */
static void ask_to_receive(struct ring_run *run, struct wherry_channel *receiver)
{
    size_t size;
    int fd = wherry_channel_receive_fd(receiver), result = fd;
    if (fd < 0)
        give_up(run, "the victim's call", fd);
    ring_victim_mark();
    if (!run->stops)
        return;
    do
        await(run, fd);
    while ((result = wherry_channel_receive(receiver, data, sizeof data, &size, WHERRY_NOW)) == -EAGAIN);
    if (result != 1)
        give_up(run, "the victim's message behind it", result);
    note_received(run->book, size);
    wherry_channel_close(receiver, WHERRY_NOW);
}

static void be_receiver(struct ring_run *run)
{
    enum ring_call call = run->scene.call;
    struct wherry_channel *receiver;
    struct wherry_loan loan;
    size_t size;
    int result = open_end(run, WHERRY_RECEIVE, WHERRY_SIDE_DEFAULT, test_deadline(), &receiver);
    if (result < 0)
        give_up(run, "the victim's open", result);
    ring_victim_mark();
    bool recovers = ring_call_recovers(call);
    if (!recovers && !ring_call_keeps(call) &&
        (result = wherry_channel_receive(receiver, data, sizeof data, &size, WHERRY_NOW)) != -EAGAIN && result != 0)
        give_up(run, "a receive with nothing there", result);
    ring_victim_mark();
    if (!recovers && !ring_call_finds_nothing(call)) { /* the first of those that lie there now */
        result = wherry_channel_receive(receiver, data, sizeof data, &size, test_deadline());
        if (result != 1)
            give_up(run, "the first message", result);
        note_received(run->book, size);
    }
    if (call == CALL_RETURN || call == CALL_RETURN_DROPPED || call == CALL_CLOSE_HOLDING)
        borrow(run, receiver, &loan, test_deadline());
    if (call == CALL_CLOSE_HOLDING) /* it goes back without having been anybody's */
        run->book->entries[held(run->book)].came = BOOK_NOT_YET;
    wherry_time deadline = call == CALL_RECEIVE_WAITS ? wherry_after(3 * WHERRY_MILLISECOND)
                           : run->stops               ? wherry_after(run->patience)
                           : run->scene.poller        ? wherry_after(50 * WHERRY_MILLISECOND) /* which may be quicker */
                                                      : test_deadline();
    bool closes = call == CALL_CLOSE_RECEIVER || call == CALL_CLOSE_HOLDING || call == CALL_CLOSE_LAST ||
                  call == CALL_KEEP_CLOSE_RECEIVER;
    ring_victim_mark();
    switch (call) {
    case CALL_RECEIVE_FD:
    case CALL_RECEIVE_FD_READY:
        ask_to_receive(run, receiver);
        return;
    case CALL_BORROW:
    case CALL_BORROW_DROPPED:
        borrow(run, receiver, &loan, deadline);
        break;
    case CALL_RETURN:
    case CALL_RETURN_DROPPED: {
        uint32_t number = held(run->book);
        wherry_channel_return(receiver, &loan);
        run->book->entries[number].came = BOOK_RETURNED;
        break;
    }
    case CALL_CLOSE_RECEIVER:
    case CALL_CLOSE_HOLDING:
    case CALL_CLOSE_LAST:
    case CALL_KEEP_CLOSE_RECEIVER:
        wherry_channel_close(receiver, WHERRY_NOW);
        break;
    default:
        result = wherry_channel_receive(receiver, data, sizeof data, &size, deadline);
        run->book->result = result;
        if (result == 1)
            note_received(run->book, size);
        else if (call != CALL_RECEIVE_WAITS && !run->stops && !run->scene.poller)
            give_up(run, "the victim's call", result);
    }
    ring_victim_mark();
    if (!closes)
        finish(run, receiver, &loan);
}

/* ---- opening ---- */

static void be_opener(struct ring_run *run)
{
    enum ring_call call = run->scene.call;
    struct wherry_channel *channel;
    bool sends = call == CALL_OPEN_SENDER || call == CALL_CREATE_SENDER || call == CALL_KEEP_CREATE ||
                 call == CALL_KEEP_OPEN_SENDER;
    wherry_time deadline = call == CALL_CREATE_SENDER ? wherry_after(WHERRY_MILLISECOND) : test_deadline();
    ring_victim_mark();
    ring_victim_mark();
    ring_victim_mark();
    int result = open_end(run, sends ? WHERRY_SEND : WHERRY_RECEIVE,
                          call == CALL_CREATE_SENDER ? WHERRY_LISTEN : WHERRY_SIDE_DEFAULT, deadline, &channel);
    if (result < 0 && call != CALL_CREATE_SENDER)
        give_up(run, "the victim's open", result);
    ring_victim_mark();
    if (!run->stops || result < 0)
        return;
    const struct wherry__ring *ring = channel->endpoint.state;
    if (!wherry__life_named(ring->life, ring->directory, run->name))
        book_complain(run->book, "the victim opened a ring that has lost its name");
    if (sends)
        say(run, channel, 56);
    finish(run, channel, NULL);
}

void ring_victim(void *argument)
{
    struct ring_run *run = argument;
    if (ring_call_opens(run->scene.call))
        be_opener(run);
    else if (ring_call_receives(run->scene.call))
        be_receiver(run);
    else
        be_sender(run);
    while (!run->stops)
        pause();
}

/* ---- those beside it ---- */

void ring_poller(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *receiver;
    if (open_end(run, WHERRY_RECEIVE, WHERRY_SIDE_DEFAULT, test_deadline(), &receiver) < 0)
        give_up(run, "the poller cannot open", -1);
    struct pollfd entry = {.fd = wherry_channel_receive_fd(receiver), .events = POLLIN};
    test_gate_open(run->gate);
    for (int result = -EAGAIN;;) {
        /* no time-out of its own: a wake-up that is lost is a hang */
        if (result == -EAGAIN && poll(&entry, 1, 8000) != 1)
            give_up(run, "the poller hangs", result);
        result = book_take(run->book, receiver, WHERRY_NOW);
        if (result < 0 && result != -EAGAIN)
            give_up(run, "the poller", result);
        if (result == 0 && run->book->entries[BOOK_NEW * BOOK_EACH].came == BOOK_CAME)
            break;
    }
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* The state in /proc/PID/stat; '?' when it is gone. */
static char state_of(pid_t pid)
{
    char path[64], text[300] = "", *end;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    end = size > 0 ? strrchr(text, ')') : NULL;
    return end ? end[2] : '?';
}

void ring_waker(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *channel;
    bool sends = ring_call_receives(run->scene.call);
    int asleep = 0;
    if (open_end(run, sends ? WHERRY_SEND : WHERRY_RECEIVE, WHERRY_SIDE_DEFAULT, test_deadline(), &channel) < 0)
        give_up(run, "the waker cannot open", -1);
    test_gate_open(run->gate);
    /* one that is dead by now, or stepped, is not waited for */
    for (int i = 0; i < 40 && asleep < 2; i++) {
        char state = state_of(run->step.pid);
        asleep = state == 'S' ? asleep + 1 : 0;
        if (state == '?' || state == 'Z')
            break;
        test_sleep(200 * WHERRY_MICROSECOND);
    }
    for (int i = 0; i < 3; i++) {
        int result = sends ? book_say(run->book, channel, BOOK_WAKER, run->scene.size, test_deadline())
                           : book_take(run->book, channel, WHERRY_NOW);
        if (result == -EPIPE && run->stops) /* the victim was alone, and has ended by now */
            break;
        if (result < 0 && (sends || result != -EAGAIN))
            give_up(run, "the waker", result);
        if (sends)
            break;
    }
    test_until(!run->stops || run->book->waker_goes, "nobody tells the waker to go");
    wherry_channel_close(channel, WHERRY_NOW);
}

/* ---- those that died before ---- */

void ring_casualty_holding(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *receiver;
    struct wherry_loan loan;
    if (open_end(run, WHERRY_RECEIVE, WHERRY_SIDE_DEFAULT, test_deadline(), &receiver) < 0)
        give_up(run, "the casualty cannot open", -1);
    borrow(run, receiver, &loan, test_deadline());
    test_gate_open(run->gate);
    for (;;)
        pause();
}

void ring_casualty_receiving(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *receiver;
    size_t size;
    if (open_end(run, WHERRY_RECEIVE, WHERRY_SIDE_DEFAULT, test_deadline(), &receiver) < 0)
        give_up(run, "the casualty cannot open", -1);
    ring_victim_mark(); /* it is alone from here on */
    for (;;) {
        wherry_channel_receive(receiver, data, sizeof data, &size, WHERRY_NOW);
        ring_victim_mark();
    }
}

void ring_casualty_leaving(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *receiver, *sender = NULL;
    if (open_end(run, WHERRY_RECEIVE, WHERRY_SIDE_DEFAULT, test_deadline(), &receiver) < 0 ||
        open_end(run, WHERRY_SEND, WHERRY_SIDE_DEFAULT, test_deadline(), &sender) < 0)
        give_up(run, "the casualty cannot open", -1);
    wherry_channel_send(sender, "old", 3, WHERRY_NOW);
    test_gate_open(run->gate);
    for (;;)
        pause();
}
