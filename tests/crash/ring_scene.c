/* tests/crash/ring_scene.c - owns the stage: the ring, those beside the victim, and what they find when it is dead.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/ring_scene.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/channel.h"
#include "crash/ring_victim.h"
#include "harness.h"
#include "ring/ring.h"
#include "unit/pattern.h"

const char *ring_call_name(enum ring_call call)
{
    static const char *const names[CALLS] = {
        "send",
        "send_message",
        "send_that_waits",
        "send_that_is_woken",
        "send_that_wakes",
        "reserve",
        "commit",
        "abandon",
        "send_fd",
        "send_fd_with_room",
        "receive",
        "receive_that_wakes",
        "receive_that_waits",
        "receive_that_is_woken",
        "receive_fd",
        "receive_fd_with_messages",
        "borrow",
        "borrow_without_redelivery",
        "return",
        "return_without_redelivery",
        "close_of_a_sender",
        "close_of_a_receiver",
        "close_with_a_loan",
        "close_of_the_last",
        "open_of_a_sender",
        "open_of_a_receiver",
        "open_that_creates",
        "open_of_a_sender_that_creates",
        "open_that_cleans",
        "receive_after_a_borrower",
        "receive_after_a_biased_one",
        "receive_after_a_borrower_without_redelivery",
        "open_that_creates_a_kept_ring",
        "open_of_a_sender_of_a_kept_ring",
        "open_of_a_receiver_of_a_kept_ring",
        "close_of_a_sender_of_a_kept_ring",
        "close_of_a_receiver_of_a_kept_ring",
    };
    return names[call];
}

bool ring_call_receives(enum ring_call call)
{
    return (call >= CALL_RECEIVE && call <= CALL_RETURN_DROPPED) ||
           (call >= CALL_CLOSE_RECEIVER && call <= CALL_CLOSE_LAST) || ring_call_recovers(call) ||
           call == CALL_KEEP_CLOSE_RECEIVER;
}

bool ring_call_opens(enum ring_call call)
{
    return (call >= CALL_OPEN_SENDER && call <= CALL_CLEAN) ||
           (call >= CALL_KEEP_CREATE && call <= CALL_KEEP_OPEN_RECEIVER);
}

bool ring_call_keeps(enum ring_call call)
{
    return call >= CALL_KEEP_CREATE && call <= CALL_KEEP_CLOSE_RECEIVER;
}

bool ring_call_drops(enum ring_call call)
{
    return call == CALL_BORROW_DROPPED || call == CALL_RETURN_DROPPED || call == CALL_DROP_LOAN;
}

bool ring_call_finds_nothing(enum ring_call call)
{
    return call == CALL_RECEIVE_WAITS || call == CALL_RECEIVE_WOKEN || call == CALL_RECEIVE_FD ||
           call == CALL_CLOSE_LAST;
}

bool ring_call_recovers(enum ring_call call)
{
    return call == CALL_RECOVER_LOAN || call == CALL_RECOVER_INSIDE || call == CALL_DROP_LOAN;
}

bool ring_call_polls(enum ring_call call)
{
    return call == CALL_RECEIVE_WAITS || call == CALL_RECEIVE_WOKEN || call == CALL_RECEIVE_FD ||
           (call <= CALL_SEND_FD_READY && call != CALL_SEND_WOKEN) || call == CALL_CLOSE_SENDER ||
           call == CALL_OPEN_SENDER || call == CALL_OPEN_RECEIVER;
}

/* Nobody is there before the victim, or it is the last. */
static bool is_alone(enum ring_call call)
{
    return call == CALL_CREATE || call == CALL_CREATE_SENDER || call == CALL_CLEAN || call == CALL_KEEP_CREATE;
}

static struct wherry__ring *ring_of(struct wherry_channel *channel)
{
    return channel->endpoint.state;
}

#define check(condition_, ...) ((condition_) ? true : (book_complain(run->book, __VA_ARGS__), false))

/* ---- the ring ---- */

static void path_of(const struct ring_run *run, char path[static 200])
{
    snprintf(path, 200, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), run->name);
}

/* In a child: closing the file would drop the locks of a process that has an end of it. */
static void age(void *argument)
{
    struct ring_run *run = argument;
    char path[200];
    struct stat status;
    path_of(run, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (!check(fd >= 0 && fstat(fd, &status) == 0, "%s: %s", path, strerror(errno)))
        return;
    uint8_t *memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (!check(memory != MAP_FAILED, "mmap: %s", strerror(errno)))
        return;
    struct ring_control *control = (void *)memory;
    uint32_t state = (uint32_t)run->scene.size * 2654435761u + (uint32_t)run->scene.start + 1;
    for (unsigned i = 0; i < SCENE_PLACES; i++) {
        uint8_t *lane = memory + RING_CONTROL + (size_t)i * SCENE_CAPACITY;
        for (size_t at = 0; at < SCENE_CAPACITY; at += 4) {
            state = state * 1664525u + 1013904223u;
            uint32_t word = state ^ state >> 15;
            memcpy(lane + at, &word, 4);
        }
        memset(lane + (run->scene.start & (SCENE_CAPACITY - 1)), 0, 8);
        control->lanes[i].sender.position = run->scene.start;
        control->lanes[i].receiver.position = run->scene.start;
        control->lanes[i].room.freed = run->scene.start;
    }
}

static bool open_end(struct ring_run *run, enum wherry_role role, struct wherry_channel **ret)
{
    int result = wherry_channel_open(run->url, role, NULL, test_deadline(), ret);
    return check(result == 0, "open: %d, %s", result, wherry_why());
}

static bool say(struct ring_run *run, unsigned who, size_t size)
{
    int result = book_say(run->book, run->senders[who], who ? BOOK_BESIDE_TOO : BOOK_BESIDE, size, test_deadline());
    return check(result == 0, "a living sender's send: %d, %s", result, wherry_why());
}

static bool say_some(struct ring_run *run)
{
    /* the message in question is the second one; the first where the victim receives none before */
    enum ring_call call = run->scene.call;
    bool first = ring_call_recovers(call) || call == CALL_OPEN_RECEIVER || ring_call_keeps(call);
    for (int i = 0; i < 3; i++)
        if (!say(run, 0, i == !first ? run->scene.size : 40) || (run->senders[1] && !say(run, 1, 48)))
            return false;
    return true;
}

static void close_all(struct wherry_channel *channels[2])
{
    for (int i = 0; i < 2; i++) {
        wherry_channel_close(channels[i], WHERRY_NOW);
        channels[i] = NULL;
    }
}

static bool open_beside(struct ring_run *run)
{
    if (!open_end(run, WHERRY_RECEIVE, &run->receivers[0]))
        return false;
    test_join(test_fork(age, run));
    if (run->scene.two_receivers && !open_end(run, WHERRY_RECEIVE, &run->receivers[1]))
        return false;
    if (run->scene.call != CALL_CLOSE_LAST &&
        (!open_end(run, WHERRY_SEND, &run->senders[0]) ||
         (run->scene.two_senders && !open_end(run, WHERRY_SEND, &run->senders[1]))))
        return false;
    int result = book_take(run->book, run->receivers[0], WHERRY_NOW); /* and is biased now, if it is alone */
    return check(result == -EAGAIN || result == 0, "a receive from an empty ring: %d, %s", result, wherry_why());
}

/* ---- those who died before ---- */

static void run_casualty(struct ring_run *run, void (*function)(void *run))
{
    pid_t child = test_fork(function, run);
    test_gate_wait(run->gate);
    test_kill(child);
}

/* A biased receiver dies with `inside` said. */
static bool kill_inside(struct ring_run *run)
{
    struct step step;
    struct ring_shared *shared = &ring_of(run->senders[0])->control->shared;
    int result = step_fork(&step, ring_casualty_receiving, run);
    if (result == STEP_THERE)
        result = step_enter(&step, step_address(ring_victim_mark), 1);
    close_all(run->receivers);
    for (int i = 0; i < 5 && result == STEP_THERE && !shared->bias; i++)
        result = step_enter(&step, step_address(ring_victim_mark), 1);
    if (!check(result == STEP_THERE && shared->bias, "the casualty is not biased: %d", result) || !say_some(run)) {
        step_end(&step);
        return false;
    }
    struct ring_place *place = &ring_of(run->senders[0])->control->places[ring_mark_place(shared->bias)];
    result = step_enter(&step, step_address(wherry_channel_receive), 1);
    while (result == STEP_THERE && !place->inside)
        result = ring_points_step(&step);
    step_kill(&step, SIGKILL);
    step_end(&step);
    return check(result == STEP_THERE, "the casualty was never inside: %d", result);
}

/* Nobody is there any more, or those who are stay. */
static void leave_it_kept(struct ring_run *run)
{
    if (run->scene.two_receivers)
        return;
    close_all(run->receivers);
    close_all(run->senders);
}

static bool prepare(struct ring_run *run)
{
    enum ring_call call = run->scene.call;
    if (call == CALL_CLEAN)
        run_casualty(run, ring_casualty_leaving);
    if (is_alone(call))
        return true;
    if (!open_beside(run))
        return false;
    if (call == CALL_RECOVER_INSIDE)
        return kill_inside(run);
    if (run->scene.poller) {
        run->poller = test_fork(ring_poller, run);
        test_gate_wait(run->gate);
        close_all(run->receivers);
    }
    if (!ring_call_receives(call) && run->senders[0] && !say(run, 0, 24))
        return false;
    bool loan = ring_call_recovers(call); /* the other one was killed above */
    if ((loan || call == CALL_OPEN_RECEIVER || ring_call_keeps(call)) && !say_some(run))
        return false;
    if (loan)
        run_casualty(run, ring_casualty_holding);
    if (ring_call_keeps(call) && ring_call_opens(call))
        leave_it_kept(run);
    return true;
}

/* ---- to the entry ---- */

static bool to_mark(struct ring_run *run)
{
    int result = step_enter(&run->step, step_address(ring_victim_mark), 1);
    return check(result == STEP_THERE, "the victim did not come to its call: %d", result);
}

/* The victim is the only receiver; or nobody else is there at all. */
static void leave_it_alone(struct ring_run *run)
{
    if (!ring_call_receives(run->scene.call) || (run->scene.two_receivers && run->scene.call != CALL_CLOSE_LAST))
        return;
    close_all(run->receivers);
}

static bool before_its_call(struct ring_run *run)
{
    switch (run->scene.call) {
    case CALL_SEND_WAKES: {
        if (!run->receivers[0]) /* the poller sleeps */
            return true;
        struct wherry__ring *ring = ring_of(run->receivers[0]);
        ring->control->shared.sleepers |= UINT64_C(1) << ring->place;
        return true;
    }
    case CALL_RECEIVE_WAKES: {
        struct wherry__ring *ring = ring_of(run->senders[0]);
        ring->lane->sleep.wake_at = ring->lane->receiver.position + 8;
        return true;
    }
    case CALL_SEND_WOKEN:
    case CALL_RECEIVE_WOKEN:
        run->waker = test_fork(ring_waker, run);
        test_gate_wait(run->gate);
        return true;
    case CALL_KEEP_CLOSE_SENDER:
    case CALL_KEEP_CLOSE_RECEIVER:
        leave_it_kept(run);
        return true;
    default:
        return true;
    }
}

static bool to_entry(struct ring_run *run)
{
    enum ring_call call = run->scene.call;
    int result = step_fork(&run->step, ring_victim, run);
    if (!check(result == STEP_THERE, "fork: %d", result) || !to_mark(run))
        return false;
    bool says = ring_call_receives(call) && !ring_call_finds_nothing(call) && !ring_call_recovers(call) &&
                !ring_call_keeps(call);
    leave_it_alone(run);
    if (!to_mark(run) || (says && !say_some(run)))
        return false;
    if (!to_mark(run) || !before_its_call(run))
        return false;
    result = step_enter(&run->step, ring_victim_entry(call), 1);
    return check(result == STEP_THERE, "the victim did not call: %d", result);
}

bool ring_run_begin(struct ring_run *run)
{
    static unsigned runs;
    memset(run->book, 0, sizeof *run->book);
    memset(run->receivers, 0, sizeof run->receivers);
    memset(run->senders, 0, sizeof run->senders);
    run->step = (struct step){.state = STEP_IS_GONE};
    run->poller = run->waker = 0;
    snprintf(run->name, sizeof run->name, "%s-%u", test_word(), runs++);
    snprintf(run->url, sizeof run->url, "shm://%s?capacity=%d&places=%d%s%s", run->name, SCENE_CAPACITY, SCENE_PLACES,
             ring_call_keeps(run->scene.call) ? "&keep=1" : "",
             ring_call_drops(run->scene.call) ? "&redeliver=no" : "");
    return prepare(run) && to_entry(run);
}

/* ---- afterwards ---- */

static uint32_t first_new(void)
{
    return BOOK_NEW * BOOK_EACH;
}

/* A kept ring has no end: until all has come that was accepted. */
static void take_all_kept(struct ring_run *run, struct wherry_channel *first, struct wherry_channel *second)
{
    wherry_time deadline = test_deadline();
    while (!run->book->all_said || run->book->entries[first_new()].came != BOOK_CAME || !book_is_complete(run->book)) {
        int result = book_take(run->book, first, wherry_after(WHERRY_MILLISECOND));
        if (second && result != 1)
            result = book_take(run->book, second, WHERRY_NOW);
        if (!check(result == 1 || result == -ETIMEDOUT || result == -EAGAIN, "a receive from a kept ring: %d, %s",
                   result, wherry_why()) ||
            !check(wherry_now() < deadline, "not all comes from a kept ring"))
            return;
    }
}

/* All there is, until the end behind the new sender's message. */
static void take_all(struct ring_run *run, struct wherry_channel *first, struct wherry_channel *second)
{
    if (ring_call_keeps(run->scene.call)) {
        take_all_kept(run, first, second);
        return;
    }
    wherry_time deadline = test_deadline();
    for (int result = 1;;) {
        struct wherry_channel *receiver = second && result == 1 ? second : first;
        result = book_take(run->book, receiver, receiver == second ? WHERRY_NOW : deadline);
        if (result == 0 && run->book->entries[first_new()].came == BOOK_CAME)
            return;
        if (result < 0 && receiver == second)
            continue;
        if (!check(result >= 0, "a receive hangs: %d, %s", result, wherry_why()))
            return;
    }
}

static void receive_afresh(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *receiver;
    bool opened = open_end(run, WHERRY_RECEIVE, &receiver);
    test_gate_open(run->gate);
    if (!opened)
        return;
    take_all(run, receiver, NULL);
    wherry_channel_close(receiver, WHERRY_NOW);
}

static void send_afresh(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *sender;
    if (!open_end(run, WHERRY_SEND, &sender))
        return;
    enum ring_call call = run->scene.call;
    bool polls = call == CALL_SEND_FD || call == CALL_SEND_FD_READY; /* in the dead one's place, where its bell is */
    int result = polls ? wherry_channel_send_fd(sender) : 0;
    check(result >= 0, "the new sender's descriptor: %d, %s", result, wherry_why());
    result = book_say(run->book, sender, BOOK_NEW, 72, test_deadline());
    check(result == 0, "the new sender's send: %d, %s", result, wherry_why());
    wherry_channel_close(sender, WHERRY_NOW);
}

/* What comes until the message in question does, which is held: its bytes must stay while others send. */
static bool take_and_hold(struct ring_run *run, struct wherry_loan *ret_loan)
{
    if (run->fresh || run->poller || run->book->in_call == 0 || run->scene.nearly_full ||
        run->scene.call == CALL_SEND_WAITS || run->scene.call == CALL_SEND_WOKEN)
        return false;
    while (wherry_channel_borrow(run->receivers[0], ret_loan, WHERRY_NOW) == 1) {
        book_note(run->book, ret_loan->data, &ret_loan->info, BOOK_CAME);
        if (ret_loan->info.type == 0)
            return true;
        wherry_channel_return(run->receivers[0], ret_loan);
    }
    return false;
}

static void let_go(struct ring_run *run, const struct wherry_loan *loan)
{
    check(pattern_is(loan->data, loan->info.size, run->book->in_call - 1),
          "another sender wrote over a message on loan");
    wherry_channel_return(run->receivers[0], loan);
}

/* What was on loan when the victim died. */
static bool is_lent(const struct ring_run *run)
{
    const struct ring_control *control = ring_of(run->senders[0])->control;
    for (unsigned i = 0; i < SCENE_PLACES; i++)
        if (control->lanes[i].receiver.lent == control->lanes[i].receiver.position)
            return true;
    return false;
}

static unsigned grace_of(const struct ring_run *run, bool returned)
{
    switch (run->scene.call) {
    case CALL_RECEIVE:
    case CALL_RECEIVE_WAKES:
    case CALL_RECEIVE_WOKEN:
    case CALL_RECOVER_LOAN:
    case CALL_RECOVER_INSIDE:
        return returned ? BOOK_NONE : BOOK_ONE;
    case CALL_BORROW_DROPPED:
        return run->stops ? BOOK_NONE : returned ? BOOK_ITS_LOAN : is_lent(run) ? BOOK_ONE : BOOK_NONE;
    case CALL_DROP_LOAN:
        return returned ? BOOK_ITS_LOAN : BOOK_ONE | BOOK_ITS_LOAN;
    case CALL_RETURN:
    case CALL_RETURN_DROPPED:
        return BOOK_ITS_LOAN;
    default:
        return BOOK_NONE;
    }
}

static bool may_mark(enum ring_call call)
{
    return call == CALL_BORROW || call == CALL_RETURN || call == CALL_CLOSE_HOLDING || call == CALL_RECOVER_LOAN;
}

void ring_run_make_ready(struct ring_run *run)
{
    enum ring_call call = run->scene.call;
    if (call == CALL_RECEIVE_FD || call == CALL_RECEIVE_FD_READY)
        say(run, 0, 24);
    else if (call == CALL_SEND_FD || call == CALL_SEND_FD_READY)
        while (book_take(run->book, run->receivers[0], WHERRY_NOW) == 1)
            ;
}

/* The ring's own name goes with the last one, or stays with keep=1; those of its bells are gone in any case. */
static void look_at_names(struct ring_run *run)
{
    char path[200], bell[256];
    path_of(run, path);
    bool there = access(path, F_OK) == 0;
    if (ring_call_keeps(run->scene.call))
        check(there, "the kept ring's file is gone");
    else
        check(!there, "the ring's file is left behind");
    if (there)
        unlink(path);
    for (unsigned i = 0; i < SCENE_PLACES; i++) {
        snprintf(bell, sizeof bell, "/dev/shm/wherry-%u/.%s.bell-%u", (unsigned)geteuid(), run->name, i);
        if (!check(access(bell, F_OK) != 0, "a bell's FIFO is left behind"))
            unlink(bell);
    }
}

void ring_run_end(struct ring_run *run, bool returned)
{
    unsigned grace = grace_of(run, returned);
    run->fresh = !run->poller && (run->fresh || !run->receivers[0]);
    pid_t receiver = 0, sender;
    run->book->waker_goes = true;
    if (run->waker) /* what two receive side by side has no order to look at */
        test_join_by(run->waker, wherry_after(20 * WHERRY_SECOND));
    if (run->fresh) {
        receiver = test_fork(receive_afresh, run);
        test_gate_wait(run->gate);
    }
    struct wherry_loan loan;
    bool holds = take_and_hold(run, &loan);
    sender = test_fork(send_afresh, run);
    if (holds) {
        test_join_by(sender, wherry_after(20 * WHERRY_SECOND));
        let_go(run, &loan);
    }
    for (unsigned i = 0; i < 2; i++)
        if (run->senders[i])
            say(run, i, 32);
    close_all(run->senders);
    run->book->all_said = true; /* save what the new sender says, who is waited for by all */
    if (!run->fresh && !run->poller)
        take_all(run, run->receivers[0], run->receivers[1]);
    if (!holds)
        test_join_by(sender, wherry_after(20 * WHERRY_SECOND));
    if (run->poller)
        test_join_status(run->poller, 0);
    if (receiver)
        test_join_by(receiver, wherry_after(20 * WHERRY_SECOND));
    for (int i = 0; i < 2; i++)
        while (run->receivers[i] && book_take(run->book, run->receivers[i], WHERRY_NOW) == 1)
            ;
    close_all(run->receivers);
    look_at_names(run);
    bool marks = may_mark(run->scene.call) && !(run->stops && run->scene.call != CALL_RECOVER_LOAN) &&
                 !(returned && run->scene.call == CALL_CLOSE_HOLDING); /* what a close gave back nobody had */
    book_judge(run->book, grace, marks);
    run->recovery = run->book->entries[first_new()].at - run->released;
}
