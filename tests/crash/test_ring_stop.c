/* tests/crash/test_ring_stop.c - owns the proof that one who is stopped in any instruction of a call on shm: holds
 * nobody up, loses nothing and is robbed of nothing.
 *
 * SPDX-License-Identifier: MIT
 *
 * SIGSTOP before an instruction; then a new sender's message reaches another receiver; then SIGCONT, and all is as if
 * nothing had happened.  One that is stopped in opening finds, at every other instruction, that all others went and
 * came again meanwhile. WHERRY_KILL_POINTS says at how many instructions of each call; "all" at every one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "channel/channel.h"
#include "crash/ring_scene.h"
#include "crash/ring_victim.h"
#include "harness.h"
#include "ring/ring.h"

enum { DEFAULT_POINTS = TEST_SANITIZED ? 4 : 60, ENOUGH = 20 /* violations: a hang takes seconds */ };

struct sweep {
    struct ring_run run;
    struct ring_points points;
    size_t stops, missed, violations, held_up, shut_out;
    wherry_time worst;
};

static uint32_t wanted_number(void)
{
    return BOOK_MEANWHILE * BOOK_EACH;
}

/* One that is about to remove the ring has all its places: who comes waits for it, or for its death. */
static bool may_shut_out(const struct ring_run *run)
{
    enum ring_call call = run->scene.call;
    return call == CALL_CLOSE_LAST || call == CALL_CREATE_SENDER || call == CALL_CLEAN;
}

static int open_meanwhile(struct ring_run *run, enum wherry_role role, struct wherry_channel **ret)
{
    wherry_time deadline =
        may_shut_out(run) ? wherry_after(50 * WHERRY_MILLISECOND * test_slowness()) : test_deadline();
    int result = wherry_channel_open(run->url, role, NULL, deadline, ret);
    if (result == -ETIMEDOUT && may_shut_out(run))
        run->book->shut_out = true;
    else if (result < 0)
        book_complain(run->book, "one that comes meanwhile: %d, %s", result, wherry_why());
    return result;
}

static void send_meanwhile(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *sender;
    if (open_meanwhile(run, WHERRY_SEND, &sender) < 0)
        return;
    int result = book_say(run->book, sender, BOOK_MEANWHILE, 200, test_deadline());
    if (result < 0)
        book_complain(run->book, "the send of one that comes meanwhile: %d, %s", result, wherry_why());
    wherry_channel_close(sender, WHERRY_NOW);
}

/* Until the message that was sent meanwhile has come, or its sender was shut out.  Where the victim is inside, it need
 * not come (rule 8): a short look. */
static void take_meanwhile(struct ring_run *run, struct wherry_channel *receiver)
{
    wherry_time step = 20 * WHERRY_MILLISECOND * test_slowness(), until = test_deadline();
    int result = 1;
    while (run->book->entries[wanted_number()].came != BOOK_CAME && !run->book->shut_out && result >= 0) {
        result = book_take(run->book, receiver, wherry_after(step));
        if (result == -ETIMEDOUT && !run->book->inside && wherry_now() < until)
            result = 1;
    }
}

static void receive_meanwhile(void *argument)
{
    struct ring_run *run = argument;
    struct wherry_channel *receiver;
    int result = open_meanwhile(run, WHERRY_RECEIVE, &receiver);
    test_gate_open(run->gate);
    if (result < 0)
        return;
    take_meanwhile(run, receiver);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* The victim has all lanes to itself, and stands within. */
static bool is_inside(const struct ring_run *run)
{
    if (!run->senders[0])
        return false;
    const struct wherry__ring *ring = run->senders[0]->endpoint.state;
    uint64_t bias = ring->control->shared.bias & ~RING_REVOKED;
    return bias && ring->control->places[ring_mark_place(bias)].inside;
}

static void go_on_without(struct sweep *sweep)
{
    struct ring_run *run = &sweep->run;
    pid_t sender, receiver = 0;
    bool inside = is_inside(run);
    run->book->inside = inside;
    wherry_time began = wherry_now();
    if (!run->receivers[0]) {
        receiver = test_fork(receive_meanwhile, run);
        test_gate_wait(run->gate);
    }
    sender = test_fork(send_meanwhile, run);
    if (run->receivers[0])
        take_meanwhile(run, run->receivers[0]);
    if (receiver)
        test_join(receiver);
    test_join(sender);
    if (run->book->entries[wanted_number()].came == BOOK_CAME) {
        wherry_time took = run->book->entries[wanted_number()].at - began;
        sweep->worst = took > sweep->worst ? took : sweep->worst;
    } else if (inside && !run->receivers[0]) {
        sweep->held_up++; /* rule 8: the lanes are all its own until it is outside, or dead */
    } else if (run->book->shut_out) {
        sweep->shut_out++;
    } else {
        book_complain(run->book, "it holds others up: what was sent meanwhile did not come");
    }
}

/* All others go, and some come again: the ring may be another by then. */
static void leave_and_come(struct ring_run *run)
{
    for (int i = 0; i < 2; i++) {
        wherry_channel_close(run->senders[i], WHERRY_NOW);
        while (run->receivers[i] && book_take(run->book, run->receivers[i], WHERRY_NOW) == 1)
            ;
        wherry_channel_close(run->receivers[i], WHERRY_NOW);
        run->senders[i] = run->receivers[i] = NULL;
    }
    test_ok(wherry_channel_open(run->url, WHERRY_RECEIVE, NULL, test_deadline(), &run->receivers[0]));
    test_ok(wherry_channel_open(run->url, WHERRY_SEND, NULL, test_deadline(), &run->senders[0]));
}

static void stop_at(struct sweep *sweep, const struct ring_point *point, bool leaves)
{
    struct ring_run *run = &sweep->run;
    bool there = false;
    enum ring_call call = run->scene.call;
    run->fresh = leaves;
    if (ring_run_begin(run)) {
        int result = ring_points_go(&run->step, point);
        there = result == STEP_THERE || result == STEP_RETURNED;
        sweep->missed += result == STEP_RETURNED;
        if (!there)
            book_complain(run->book, "the victim did not come to the point: %d", result);
    }
    if (there && step_kill(&run->step, SIGSTOP) == 0) {
        sweep->stops++;
        run->book->lives = !ring_call_recovers(call);
        if (leaves && (call == CALL_OPEN_SENDER || call == CALL_OPEN_RECEIVER))
            leave_and_come(run);
        go_on_without(sweep);
        ring_run_make_ready(run);
        int result = step_finish(&run->step);
        if (result < 0 || !WIFEXITED(run->step.status) || WEXITSTATUS(run->step.status) != 0)
            book_complain(run->book, "the victim could not go on: %d, status 0x%x", result, run->step.status);
    }
    step_kill(&run->step, SIGKILL);
    step_end(&run->step);
    run->released = wherry_now();
    ring_run_end(run, true);
    if (run->book->complaints && sweep->violations++ < ENOUGH)
        printf("# VIOLATION: %s, stopped at %s%s: %s (%u in all)\n", ring_call_name(call), ring_point_name(point),
               leaves ? ", others may leave" : "", run->book->complaint, run->book->complaints);
}

static void sweep_scene(struct sweep *sweep, const struct ring_scene *scene, size_t wanted)
{
    struct ring_run *run = &sweep->run;
    run->scene = *scene;
    run->stops = true;
    run->patience = 20 * WHERRY_MILLISECOND;
    if (ring_run_begin(run))
        ring_points_find(&sweep->points, &run->step, 4, 200000);
    step_kill(&run->step, SIGKILL);
    step_end(&run->step);
    ring_run_end(run, true);
    size_t stride = wanted ? sweep->points.count / wanted + 1 : 1;
    for (size_t at = 0; at < sweep->points.count && sweep->violations < ENOUGH; at += stride)
        stop_at(sweep, &sweep->points.points[at], (at / stride) % 2);
    ring_points_fini(&sweep->points);
}

static size_t calls(void)
{
    return CALLS;
}

static const char *call_name(size_t index)
{
    return ring_call_name((enum ring_call)index);
}

TEST_WITH(stopped_at_each_instruction_of, .count = calls, .entry = call_name, .seconds = 3000)
{
    struct test_gate gate;
    struct sweep *sweep = calloc(1, sizeof *sweep);
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    size_t points = wanted && !TEST_SANITIZED ? strtoul(wanted, NULL, 10) : DEFAULT_POINTS; /* "all": 0 */
    test_gate_init(&gate);
    sweep->run.book = test_shared(sizeof *sweep->run.book);
    sweep->run.gate = &gate;
    for (int i = 0; i < 2; i++) {
        struct ring_scene scene = {
            .call = (enum ring_call)index, .size = 56, .start = SCENE_CAPACITY - 24, .two_receivers = i == 0};
        sweep_scene(sweep, &scene, points);
    }
    printf("# %s: %zu stops (%zu too late), %zu violations; worst time for others %lld us", call_name(index),
           sweep->stops, sweep->missed, sweep->violations, (long long)(sweep->worst / WHERRY_MICROSECOND));
    if (sweep->held_up || sweep->shut_out)
        printf("; all held up at %zu by a receiver alone, at %zu by one that removes the ring", sweep->held_up,
               sweep->shut_out);
    printf("\n");
    fflush(stdout);
    test_gate_fini(&gate);
    ck_assert_uint_eq(sweep->violations, 0);
    free(sweep);
}

/* ---- what others do between two of its instructions ---- */

enum meanwhile {
    OTHERS_TAKE,      /* another receiver takes a message of the lane */
    OTHERS_HOLD,      /* it has it on loan until the victim is done */
    SENDERS_CHANGE,   /* a new sender comes, then the last one goes */
    RECEIVERS_CHANGE, /* a new receiver comes, then the last one goes */
};

static const struct interplay {
    const char *name;
    enum meanwhile meanwhile;
    struct ring_scene scene;
} interplays[] = {
    {"receive_while_others_hold", OTHERS_HOLD, {.call = CALL_RECEIVE, .size = 56, .two_receivers = true}},
    {"receive_while_others_take", OTHERS_TAKE, {.call = CALL_RECEIVE, .size = 56, .two_receivers = true}},
    {"receive_of_one_thread_while_others_hold",
     OTHERS_HOLD,
     {.call = CALL_RECEIVE, .size = 300, .two_receivers = true, .single_thread = true}},
    {"borrow_while_others_hold", OTHERS_HOLD, {.call = CALL_BORROW, .size = 56, .two_receivers = true}},
    {"borrow_while_others_take", OTHERS_TAKE, {.call = CALL_BORROW, .size = 56, .two_receivers = true}},
    {"receive_while_senders_change", SENDERS_CHANGE, {.call = CALL_RECEIVE_WAITS, .size = 56, .two_senders = true}},
    {"receive_of_two_while_senders_change",
     SENDERS_CHANGE,
     {.call = CALL_RECEIVE_WAITS, .size = 56, .two_senders = true, .two_receivers = true}},
    {"send_while_receivers_change", RECEIVERS_CHANGE, {.call = CALL_SEND, .size = 56}},
    {"send_that_waits_while_receivers_change", RECEIVERS_CHANGE, {.call = CALL_SEND_WAITS, .size = 56}},
};

/* At the entry of the victim's call: what makes it look who is there. */
static void stir(struct ring_run *run, enum meanwhile meanwhile)
{
    if (meanwhile == SENDERS_CHANGE) { /* the one who stays is behind the place that is free now */
        wherry_channel_close(run->senders[0], WHERRY_NOW);
        run->senders[0] = run->senders[1];
        run->senders[1] = NULL;
    } else if (meanwhile == RECEIVERS_CHANGE) { /* as one leaves it that died in saying so */
        const struct wherry__ring *ring = run->receivers[0]->endpoint.state;
        ring->control->shared.deserted = 1;
    }
}

static void change(struct ring_run *run, enum wherry_role role, struct wherry_channel **one)
{
    struct wherry_channel *newcomer;
    test_ok(wherry_channel_open(run->url, role, NULL, test_deadline(), &newcomer));
    wherry_channel_close(*one, WHERRY_NOW);
    *one = newcomer;
}

/* Between the same two instructions; a loan stays until the victim is done. */
static bool interfere(struct ring_run *run, enum meanwhile meanwhile, struct wherry_loan *ret_loan)
{
    switch (meanwhile) {
    case OTHERS_TAKE:
        book_take(run->book, run->receivers[0], WHERRY_NOW);
        return false;
    case OTHERS_HOLD:
        if (wherry_channel_borrow(run->receivers[0], ret_loan, WHERRY_NOW) != 1)
            return false;
        book_note(run->book, ret_loan->data, &ret_loan->info, BOOK_CAME);
        return true;
    case SENDERS_CHANGE:
        change(run, WHERRY_SEND, &run->senders[0]);
        return false;
    default:
        change(run, WHERRY_RECEIVE, &run->receivers[0]);
        return false;
    }
}

static void interplay_at(struct sweep *sweep, const struct interplay *interplay, const struct ring_point *point)
{
    struct ring_run *run = &sweep->run;
    struct wherry_loan loan;
    bool there = false, holds = false;
    run->fresh = false;
    if (ring_run_begin(run)) {
        stir(run, interplay->meanwhile);
        int result =
            point ? ring_points_go(&run->step, point) : ring_points_find(&sweep->points, &run->step, 4, 200000);
        there = point && (result == STEP_THERE || result == STEP_RETURNED);
        if (point && !there)
            book_complain(run->book, "the victim did not come to the point: %d", result);
    }
    if (there && step_kill(&run->step, SIGSTOP) == 0) {
        sweep->stops++;
        run->book->lives = true;
        run->book->result = 1;
        holds = interfere(run, interplay->meanwhile, &loan);
        int result = step_finish(&run->step);
        if (result < 0 || !WIFEXITED(run->step.status) || WEXITSTATUS(run->step.status) != 0)
            book_complain(run->book, "the victim could not go on: %d, status 0x%x", result, run->step.status);
        if (run->book->result == 0 && interplay->meanwhile == SENDERS_CHANGE)
            book_complain(run->book, "it received an end, and there was a sender all the time");
        if (run->book->result == -EPIPE)
            book_complain(run->book, "it found nobody left to receive, and there was a receiver all the time");
    }
    step_kill(&run->step, SIGKILL);
    step_end(&run->step);
    run->released = wherry_now();
    if (holds)
        wherry_channel_return(run->receivers[0], &loan);
    if (!point)
        run->book->complaints = 0;
    ring_run_end(run, true);
    if (point && run->book->complaints && sweep->violations++ < ENOUGH)
        printf("# VIOLATION: %s, stopped at %s: %s (%u in all)\n", interplay->name, ring_point_name(point),
               run->book->complaint, run->book->complaints);
}

static size_t interplay_count(void)
{
    return sizeof interplays / sizeof interplays[0];
}

static const char *interplay_name(size_t index)
{
    return interplays[index].name;
}

TEST_WITH(nothing_comes_twice_and_no_end_before_its_time, .count = interplay_count, .entry = interplay_name,
          .seconds = 600)
{
    const struct interplay *interplay = &interplays[index];
    struct test_gate gate;
    struct sweep *sweep = calloc(1, sizeof *sweep);
    test_gate_init(&gate);
    sweep->run.book = test_shared(sizeof *sweep->run.book);
    sweep->run.gate = &gate;
    sweep->run.scene = interplay->scene;
    sweep->run.stops = true;
    sweep->run.patience = WHERRY_MILLISECOND;
    interplay_at(sweep, interplay, NULL);
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    bool changes = interplay->meanwhile == SENDERS_CHANGE || interplay->meanwhile == RECEIVERS_CHANGE;
    size_t stride = TEST_SANITIZED                                       ? sweep->points.count / 40 + 1
                    : changes && !(wanted && strcmp(wanted, "all") == 0) ? 6 /* a look at places takes dozens of them */
                                                                         : 1;
    for (size_t at = 0; at < sweep->points.count && sweep->violations < ENOUGH; at += stride)
        interplay_at(sweep, interplay, &sweep->points.points[at]);
    ring_points_fini(&sweep->points);
    printf("# %s: %zu stops, %zu violations\n", interplay->name, sweep->stops, sweep->violations);
    fflush(stdout);
    test_gate_fini(&gate);
    ck_assert_uint_eq(sweep->violations, 0);
    free(sweep);
}
