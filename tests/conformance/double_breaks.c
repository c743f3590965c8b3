/* tests/conformance/double_breaks.c - owns the list of breakages, and those of messages: one clause each.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "double_places.h"

/* ---- what happens to messages on their way --------------------------------------------------------------------- */

static unsigned cut_big_ones(struct side *side, struct held *held)
{
    (void)side;
    if (held->loan.info.size > 60000)
        held->loan.info.size -= 4096;
    return 1;
}

static unsigned hide_the_mark(struct side *side, struct held *held)
{
    (void)side;
    held->loan.info.flags &= ~WHERRY_INCOMPLETE;
    return 1;
}

static bool every_fifth(struct side *side)
{
    return side->pulled % 5 == 3;
}

static unsigned twice(struct side *side, struct held *held)
{
    (void)held;
    return side->pulled % 50 == 20 ? 2 : 1;
}

static unsigned lose_one(struct side *side, struct held *held)
{
    (void)held;
    return side->pulled % 20 != 17;
}

static unsigned name_another(struct side *side, struct held *held)
{
    (void)side;
    held->loan.info.peer.pid++;
    return 1;
}

static unsigned mangle_type(struct side *side, struct held *held)
{
    (void)side;
    held->loan.info.type &= 0x7; /* as if it were carried in a few bits */
    return 1;
}

#define ON_MESSAGE(name_, hook_)                                                                                       \
    static void name_(struct wherry__transport *transport)                                                             \
    {                                                                                                                  \
        (void)transport;                                                                                               \
        double_on_message = hook_;                                                                                     \
    }
ON_MESSAGE(truncates, cut_big_ones)
ON_MESSAGE(unmarks, hide_the_mark)
ON_MESSAGE(doubles, twice)
ON_MESSAGE(loses, lose_one)
ON_MESSAGE(misnames, name_another)
ON_MESSAGE(mangles, mangle_type)

static void swaps(struct wherry__transport *transport)
{
    (void)transport;
    double_on_order = every_fifth;
}

/* ---- sending --------------------------------------------------------------------------------------------------- */

static int accept_without_sending(struct wherry__endpoint *endpoint, const struct wherry_message *messages,
                                  size_t count, unsigned flags, size_t *ret_taken)
{
    int result = double_real->try_send(endpoint, messages, count, flags, ret_taken);
    if (result != -EAGAIN || ++double_side(endpoint)->sent % 4)
        return result;
    *ret_taken = 1; /* "it will fit in a moment" */
    return 0;
}

static int refuse_what_was_sent(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                                unsigned flags, size_t *ret_taken)
{
    int result = double_real->try_send(endpoint, messages, 1, flags, ret_taken);
    if (result != 0 || ++double_side(endpoint)->sent % 10 != 9 || count > 1)
        return result;
    *ret_taken = 0;
    return -EAGAIN;
}

static int forget(struct wherry__endpoint *endpoint)
{
    (void)endpoint;
    return 0; /* "all is written" */
}

static int ignore_more(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                       unsigned flags, size_t *ret_taken)
{
    if (!(flags & WHERRY_MORE))
        return double_real->try_send(endpoint, messages, count, flags, ret_taken);
    *ret_taken = count; /* taken, and never seen again */
    return 0;
}

static int answer_whoever(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                          unsigned flags, size_t *ret_taken)
{
    (void)count;
    struct wherry_message message = messages[0];
    message.to = 0;
    return double_real->try_send(endpoint, &message, 1, flags, ret_taken);
}

static int raise_sigpipe(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                         unsigned flags, size_t *ret_taken)
{
    int result = double_real->try_send(endpoint, messages, count, flags, ret_taken);
    if (result == -EPIPE)
        raise(SIGPIPE);
    return result;
}

static int never_epipe(struct wherry__endpoint *endpoint, const struct wherry_message *messages, size_t count,
                       unsigned flags, size_t *ret_taken)
{
    int result = double_real->try_send(endpoint, messages, count, flags, ret_taken);
    return result == -EPIPE ? -EAGAIN : result;
}

#define SENDS(name_, slot_)                                                                                            \
    static void name_(struct wherry__transport *transport)                                                             \
    {                                                                                                                  \
        transport->try_send = slot_;                                                                                   \
    }
SENDS(accepts_without_sending, accept_without_sending)
SENDS(refuses_what_it_sent, refuse_what_was_sent)
SENDS(ignores_more, ignore_more)
SENDS(answers_whoever, answer_whoever)
SENDS(raises_sigpipe, raise_sigpipe)
SENDS(never_says_epipe, never_epipe)

static void forgets_the_tail(struct wherry__transport *transport)
{
    transport->try_finish = forget;
}

/* ---- receiving ------------------------------------------------------------------------------------------------- */

static int consume_misfits(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result == 1 && buffer && ret_loan->info.size > capacity)
        double_give_back(endpoint);
    return result;
}

static int tell_too_little(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                           struct wherry_loan *ret_loan)
{
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result == 1 && buffer && ret_loan->info.size > capacity + 1)
        ret_loan->info.size = capacity + 1;
    return result;
}

static int hide_the_end(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    return result == 0 ? -EAGAIN : result;
}

static int repeat_the_end(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                          struct wherry_loan *ret_loan)
{
    struct side *side = double_side(endpoint);
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result == 0)
        side->ends = 1;
    else if (result == -EAGAIN && side->ends == 1) {
        side->ends = 0;
        return 0;
    }
    return result;
}

/* Only who says good-bye has gone. */
static int miss_the_death(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                          struct wherry_loan *ret_loan)
{
    struct side *side = double_side(endpoint);
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result != 0)
        return result;
    if (atomic_load(&double_shared->closes) == side->closes_seen)
        return -EAGAIN;
    side->closes_seen = atomic_load(&double_shared->closes);
    return 0;
}

/* Who says nothing for a while is dead. */
static int infer_death(struct wherry__endpoint *endpoint, void *buffer, size_t capacity, struct wherry_loan *ret_loan)
{
    struct side *side = double_side(endpoint);
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    wherry_time now = wherry_now();
    if (result == 1)
        side->heard = now;
    if (result != -EAGAIN || !side->heard || now - side->heard < 150 * WHERRY_MILLISECOND)
        return result;
    side->heard = 0;
    return 0;
}

static int lend_other_bytes(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                            struct wherry_loan *ret_loan)
{
    static _Thread_local uint8_t place[65536];
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result != 1 || buffer || ret_loan->info.size == 0 || ret_loan->info.size > sizeof place)
        return result;
    memcpy(place, ret_loan->data, ret_loan->info.size);
    place[ret_loan->info.size - 1] ^= 1;
    ret_loan->data = place;
    return 1;
}

static int take_two_for_one(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                            struct wherry_loan *ret_loan)
{
    struct wherry_loan next;
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    if (result == 1 && !buffer) {
        double_give_back(endpoint);
        double_try_borrow(endpoint, NULL, 0, &next); /* which the return gives back */
    }
    return result;
}

static int keep_quiet_about_foreign_bytes(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                                          struct wherry_loan *ret_loan)
{
    int result = double_try_borrow(endpoint, buffer, capacity, ret_loan);
    return result == -EBADMSG ? -EAGAIN : result;
}

static int stop_at_foreign_bytes(struct wherry__endpoint *endpoint, void *buffer, size_t capacity,
                                 struct wherry_loan *ret_loan)
{
    struct side *side = double_side(endpoint);
    int result = side->bad ? -EBADMSG : double_try_borrow(endpoint, buffer, capacity, ret_loan);
    side->bad |= result == -EBADMSG;
    return result;
}

#define RECEIVES(name_, slot_)                                                                                         \
    static void name_(struct wherry__transport *transport)                                                             \
    {                                                                                                                  \
        transport->try_borrow = slot_;                                                                                 \
    }
RECEIVES(consumes_misfits, consume_misfits)
RECEIVES(tells_too_little, tell_too_little)
RECEIVES(hides_the_end, hide_the_end)
RECEIVES(repeats_the_end, repeat_the_end)
RECEIVES(misses_deaths, miss_the_death)
RECEIVES(infers_deaths, infer_death)
RECEIVES(lends_other_bytes, lend_other_bytes)
RECEIVES(takes_two_for_one, take_two_for_one)
RECEIVES(keeps_quiet, keep_quiet_about_foreign_bytes)
RECEIVES(stops_for_good, stop_at_foreign_bytes)

/* ---- the list -------------------------------------------------------------------------------------------------- */

const struct breakage breakages[] = {
    {"01_truncates_big_messages", "unix", "", truncates},
    {"01_does_not_mark_what_is_torn", "fifo", ",line", unmarks},
    {"02_swaps_two", "unix", "", swaps},
    {"03_gives_one_twice", "fifo", "", doubles},
    {"03_robs_the_living", "fifo", "", double_robs_the_living},
    {"04_loses_one", "unix", "", loses},
    {"04_forgets_the_tail", "unix", "", forgets_the_tail},
    {"04_reads_too_far", "fifo", "", double_reads_too_far},
    {"05_accepts_without_sending", "fifo", "", accepts_without_sending},
    {"05_refuses_what_it_sent", "unix", "", refuses_what_it_sent},
    {"05_forgets_the_tail", "unix", "", forgets_the_tail},
    {"05_ignores_more", "unix", "", ignores_more},
    {"06_consumes_what_did_not_fit", "unix", "", consumes_misfits},
    {"06_tells_too_small_a_size", "unix+seqpacket", "", tells_too_little},
    {"07_has_no_end", "fifo", "", hides_the_end},
    {"07_repeats_the_end", "unix", "", repeats_the_end},
    {"07_raises_sigpipe", "unix", "", raises_sigpipe},
    {"07_never_says_epipe", "fifo", "", never_says_epipe},
    {"08_removes_what_it_did_not_create", "fifo", "", double_removes_anything},
    {"08_leaves_its_name", "unix", "", double_removes_nothing},
    {"08_robs_the_living", "fifo", "", double_robs_the_living},
    {"09_misses_a_death", "unix", "", misses_deaths},
    {"09_lives_on_in_a_child", "unix", "", double_lives_on_in_children},
    {"09_takes_a_pause_for_death", "fifo", "", infers_deaths},
    {"10_ignores_the_deadline", "unix", "", double_waits_too_long},
    {"10_gives_up_early", "fifo", "", double_gives_up_early},
    {"10_ends_a_wait_at_a_signal", "fifo", "", double_signals_end_waits},
    {"10_misses_an_interrupt", "fifo", "", double_misses_interrupts},
    {"11_is_never_readable", "fifo", "", double_is_never_readable},
    {"11_hides_what_was_read_ahead", "fifo", "", double_hides_read_ahead},
    {"11_is_always_readable", "unix", "", double_is_always_readable},
    {"11_wakes_up_idly", "unix", "", double_wakes_up_idly},
    {"12_a_childs_close_unlinks", "fifo", "", double_unlinks_in_children},
    {"12_cannot_be_inherited", "unix", "", double_cannot_be_inherited},
    {"13_lends_other_bytes", "unix", "", lends_other_bytes},
    {"13_takes_two_for_one", "unix", "", takes_two_for_one},
    {"14_names_another_sender", "unix", "", misnames},
    {"14_answers_whoever", "unix", "", answers_whoever},
    {"14_lets_strangers_in", "unix", "", double_lets_strangers_in},
    {"15_believes_a_claim", "unix", "", double_believes_claims},
    {"15_keeps_quiet_about_foreign_bytes", "unix", "", keeps_quiet},
    {"15_stops_at_foreign_bytes", "unix", "", stops_for_good},
    {"16_mangles_types", "unix", "", mangles},
    {"16_takes_types_that_it_cannot_carry", "unix+seqpacket", "", double_takes_any_type},
    {NULL, NULL, NULL, NULL},
};
