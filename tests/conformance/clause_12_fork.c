/* tests/conformance/clause_12_fork.c - a child's close only closes; other calls in a child give -ECHILD.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/wait.h>

#include "kit.h"

/* ---- not inheritable ------------------------------------------------------------------------------------------- */

static void try_everything(struct two *two)
{
    const struct subject *subject = two->site.subject;
    struct wherry_channel *sender = two->sender, *receiver = two->receiver;
    uint8_t data[SMALL] = {0};
    struct wherry_message message = {.data = data, .size = sizeof data};
    struct wherry_loan loan;
    struct wherry_peer peer;
    void *place;
    compose(subject, data, sizeof data, 1);
    test_is(wherry_channel_send(sender, data, sizeof data, WHERRY_NOW), -ECHILD);
    must(wherry_why()[0] != '\0', "without a word of why");
    test_is(wherry_channel_send_message(sender, &message, 0, soon()), -ECHILD);
    test_is(wherry_channel_send_many(sender, &message, 1, soon()), -ECHILD);
    test_is(wherry_channel_flush(sender, soon()), -ECHILD);
    test_is(wherry_channel_finish(sender, soon()), -ECHILD);
    test_is(wherry_channel_reserve(sender, SMALL, &place, soon()), -ECHILD);
    test_is(wherry_channel_receive(receiver, data, sizeof data, NULL, WHERRY_NOW), -ECHILD);
    test_is(wherry_channel_receive_info(receiver, data, sizeof data, &two->crate.info, soon()), -ECHILD);
    test_is(wherry_channel_borrow(receiver, &loan, soon()), -ECHILD);
    test_is(wherry_channel_receive_fd(receiver), -ECHILD);
    test_is(wherry_channel_send_fd(sender), -ECHILD);
    if (HAS(PEER))
        test_is(wherry_channel_peer(receiver, 0, &peer), -ECHILD);
}

static void be_a_child(void *argument)
{
    struct two *two = argument;
    try_everything(two);
    test_is(wherry_channel_close(two->sender, soon()), 0);
    test_is(wherry_channel_close(two->receiver, soon()), 0);
}

/* The parent's channel works, its name is there, and others reach it. */
static void check_untouched(struct two *two, unsigned expected)
{
    const struct subject *subject = two->site.subject;
    for (unsigned n = 0; n < expected; n++)
        expect(two->receiver, &two->crate, SMALL, tag_of(0, n));
    expect_nothing(two->receiver, &two->crate);
    test_is(post(subject, two->sender, SMALL, 7, soon()), 0);
    expect(two->receiver, &two->crate, SMALL, 7);
    if (!addressed(subject))
        return;
    if (two->site.path[0])
        ck_assert_int_eq(access(two->site.path, F_OK), 0);
    if (!HAS(MANY_SENDERS))
        return;
    struct wherry_channel *another = site_open(&two->site, GUEST);
    test_is(post(subject, another, SMALL, 8, soon()), 0);
    expect(two->receiver, &two->crate, SMALL, 8);
    close_now(another);
}

CASE(12, a_child_gets_echild_and_its_close_touches_nothing, .frames = RECORDS)
{
    struct two two;
    two_init(&two, subject, SMALL);
    for (unsigned n = 0; n < 3; n++)
        test_is(post(subject, two.sender, SMALL, tag_of(0, n), soon()), 0);
    test_join(test_fork(be_a_child, &two));
    check_untouched(&two, 3);
    two_fini(&two);
}

/* Also where no fork handler ran. */
CASE(12, so_it_is_after_a_bare_fork)
{
    struct two two;
    test_needs(TEST_WIPE_ON_FORK);
    two_init(&two, subject, SMALL);
    test_is(post(subject, two.sender, SMALL, tag_of(0, 0), soon()), 0);
    fflush(NULL);
    pid_t child = _Fork();
    must(child >= 0, "_Fork: %s", strerror(errno));
    if (child == 0) {
        be_a_child(&two);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: status 0x%x", (unsigned)status);
    check_untouched(&two, 1);
    two_fini(&two);
}

/* What the parent keeps in memory is the parent's to write. */
CASE(12, a_child_writes_nothing_that_the_parent_keeps, .frames = RECORDS)
{
    struct two two;
    uint8_t data[SMALL];
    struct wherry_message message = {.data = data, .size = sizeof data};
    two_init(&two, subject, SMALL);
    compose(subject, data, sizeof data, tag_of(0, 0));
    test_is(wherry_channel_send_message(two.sender, &message, WHERRY_MORE, soon()), 0);
    test_join(test_fork(be_a_child, &two));
    test_is(wherry_channel_flush(two.sender, soon()), 0);
    check_untouched(&two, 1);
    two_fini(&two);
}

/* What was read ahead is in the child's memory as well; it is the parent's to receive. */
CASE(12, a_loan_survives_a_childs_close)
{
    struct two two;
    struct wherry_loan loan;
    two_init(&two, subject, SMALL);
    test_is(post(subject, two.sender, SMALL, tag_of(0, 0), soon()), 0);
    test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
    pid_t child = fork();
    if (child == 0) {
        wherry_channel_return(two.receiver, &loan);
        _exit(wherry_channel_close(two.receiver, WHERRY_NOW) == 0 && wherry_channel_close(two.sender, WHERRY_NOW) == 0
                  ? 0
                  : 3);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: status 0x%x", (unsigned)status);
    must(is_message(subject, loan.data, SMALL, tag_of(0, 0)), "the loan changed");
    wherry_channel_return(two.receiver, &loan);
    check_untouched(&two, 0);
    two_fini(&two);
}

/* Grandchildren, and children of threads that wait. */
static void fork_again(void *argument)
{
    test_join(test_fork(be_a_child, argument));
    be_a_child(argument);
}

CASE(12, a_fork_while_a_thread_waits_disturbs_nobody)
{
    struct two two;
    struct worker worker;
    two_init(&two, subject, SMALL);
    struct errand errand = to_receive(subject, two.receiver, WHERRY_FOREVER);
    worker_start(&worker, errand_receive, &errand);
    worker_until_asleep(&worker);
    test_join(test_fork(fork_again, &two));
    test_is(post(subject, two.sender, SMALL, tag_of(0, 5), soon()), 0);
    worker_join(&worker);
    test_is(errand.result, 1);
    check_untouched(&two, 0);
    two_fini(&two);
}

/* ---- inheritable ----------------------------------------------------------------------------------------------- */

static bool inherits(const struct subject *subject)
{
    return wherry__transport_find(subject->traits->scheme)->adopt != NULL;
}

static void send_as_a_child(void *argument)
{
    struct two *two = argument;
    close_now(two->receiver);
    for (unsigned n = 0; n < 5; n++)
        test_is(post(two->site.subject, two->sender, SMALL, tag_of(1, n), soon()), 0);
    test_is(wherry_channel_close(two->sender, soon()), 0);
}

static void receive_as_a_child(void *argument)
{
    struct two *two = argument;
    close_now(two->sender);
    for (unsigned n = 0; n < 5; n++)
        expect(two->receiver, &two->crate, SMALL, tag_of(2, n));
    test_is(wherry_channel_close(two->receiver, soon()), 0);
}

static int open_inheritable(struct two *two, const struct subject *subject)
{
    struct wherry_channel *pair[2];
    site_init(&two->site, subject);
    two->site.options.inheritable = true;
    two->receiver = NULL;
    crate_init(&two->crate, subject, SMALL);
    if (HAS(PAIR) && !inherits(subject))
        return wherry_channel_pair(two->site.url, &two->site.options, pair);
    return site_try(&two->site, HOST, soon(), &two->receiver);
}

CASE(12, what_is_inheritable_works_in_a_child, .frames = RECORDS)
{
    struct two two;
    int result = open_inheritable(&two, subject);
    if (!inherits(subject)) {
        must(result == -EINVAL || result == -EOPNOTSUPP, "what cannot be inherited was opened inheritable: %d", result);
        crate_fini(&two.crate);
        site_fini(&two.site);
        return;
    }
    test_is(result, 0);
    result = site_try(&two.site, GUEST, soon(), &two.sender);
    if (result == -EINVAL || result == -EOPNOTSUPP) { /* of some only the listening side is inherited */
        two.site.options.inheritable = false;
        two.sender = site_open(&two.site, GUEST);
    } else {
        test_is(result, 0);
        test_join(test_fork(send_as_a_child, &two));
        for (unsigned n = 0; n < 5; n++)
            expect(two.receiver, &two.crate, SMALL, tag_of(1, n));
        expect_nothing(two.receiver, &two.crate); /* the parent sends still: no end */
    }
    test_is(post(subject, two.sender, SMALL, 7, soon()), 0);
    expect(two.receiver, &two.crate, SMALL, 7);
    two_fini(&two);
}

/* Whoever listens and forks: the child takes in those who come. */
CASE(12, an_inherited_listener_works_in_a_child, .needs = WHERRY_TRAIT_LISTENS)
{
    struct two two;
    int result = open_inheritable(&two, subject);
    test_is(result, inherits(subject) ? 0 : -EINVAL);
    if (result == 0) {
        two.sender = NULL;
        pid_t child = test_fork(receive_as_a_child, &two);
        two.site.options.inheritable = false;
        two.sender = site_open(&two.site, GUEST);
        for (unsigned n = 0; n < 5; n++)
            test_is(post(subject, two.sender, SMALL, tag_of(2, n), soon()), 0);
        test_join(child);
        if (two.site.path[0])
            ck_assert_int_eq(access(two.site.path, F_OK), 0); /* the name is its creator's */
        close_two(two.sender, two.receiver);
    }
    crate_fini(&two.crate);
    site_fini(&two.site);
}

CASE(12, an_inherited_receiver_works_in_a_child, .needs = WHERRY_TRAIT_PAIR, .frames = RECORDS)
{
    struct two two;
    test_is(open_inheritable(&two, subject), 0);
    two.sender = site_open(&two.site, GUEST);
    pid_t child = test_fork(receive_as_a_child, &two);
    for (unsigned n = 0; n < 5; n++)
        test_is(post(subject, two.sender, SMALL, tag_of(2, n), soon()), 0);
    test_join(child);
    two_fini(&two);
}
