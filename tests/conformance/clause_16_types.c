/* tests/conformance/clause_16_types.c - messages carry their type, or a transport without types refuses any other.
 *
 * SPDX-License-Identifier: MIT */
#include "kit.h"

static int post_typed(struct two *two, int64_t type, uint64_t tag, unsigned flags)
{
    uint8_t data[SMALL];
    struct wherry_message message = {.data = data, .size = sizeof data, .type = type};
    compose(two->site.subject, data, sizeof data, tag);
    return wherry_channel_send_message(two->sender, &message, flags, soon());
}

static void expect_typed(struct two *two, int64_t type, uint64_t tag)
{
    expect(two->receiver, &two->crate, SMALL, tag);
    must(two->crate.info.type == type, "a message of type %lld came as %lld", (long long)type,
         (long long)two->crate.info.type);
}

CASE(16, no_type_is_the_default_type, .frames = RECORDS)
{
    struct two two;
    struct wherry_loan loan;
    int64_t usual = subject->traits->default_type;
    two_init(&two, subject, 16384);
    test_is(post(subject, two.sender, SMALL, 1, soon()), 0);
    expect_typed(&two, usual, 1);
    test_is(post_typed(&two, 0, 2, 0), 0);
    expect_typed(&two, usual, 2);
    test_is(post_typed(&two, usual, 3, 0), 0); /* to name the default is no other type, anywhere */
    test_is(wherry_channel_borrow(two.receiver, &loan, soon()), 1);
    ck_assert_int_eq(loan.info.type, usual);
    wherry_channel_return(two.receiver, &loan);
    two_fini(&two);
}

CASE(16, types_are_carried_or_refused, .frames = RECORDS)
{
    static const int64_t types[] = {1, 2, 7, 31};
    struct two two;
    two_init(&two, subject, 16384);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!has_types(subject) && types[i] != subject->traits->default_type) {
            test_is(post_typed(&two, types[i], i, 0), -EOPNOTSUPP);
            must(wherry_why()[0] != '\0', "without a word of why");
            expect_nothing(two.receiver, &two.crate);
            continue;
        }
        test_is(post_typed(&two, types[i], i, 0), 0);
        expect_typed(&two, types[i], i);
    }
    test_is(post(subject, two.sender, SMALL, 9, soon()), 0);
    expect_typed(&two, subject->traits->default_type, 9);
    two_fini(&two);
}

/* Whatever a type is, it arrives as it was or is refused; never cut. */
CASE(16, the_range_of_types_has_an_end_but_no_mangling, .frames = RECORDS)
{
    static const int64_t types[] = {
        -1,        INT16_MAX, UINT16_MAX, INT32_MAX, (int64_t)INT32_MAX + 1, UINT32_MAX, (int64_t)UINT32_MAX + 1,
        INT64_MAX, INT64_MIN};
    struct two two;
    two_init(&two, subject, 16384);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int result = post_typed(&two, types[i], i, 0);
        if (result == 0) {
            must(has_types(subject), "a type was accepted where there are none");
            expect_typed(&two, types[i], i);
            continue;
        }
        test_is(result, has_types(subject) ? -EINVAL : -EOPNOTSUPP);
        expect_nothing(two.receiver, &two.crate);
    }
    two_fini(&two);
}

CASE(16, every_way_of_sending_carries_the_type)
{
    struct two two;
    uint8_t data[SMALL];
    void *place;
    two_init(&two, subject, 16384);
    if (!has_types(subject)) {
        struct wherry_message message = {.data = data, .size = SMALL, .type = 5};
        test_is(wherry_channel_send_many(two.sender, &message, 1, soon()), -EOPNOTSUPP);
        test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
        message.data = place;
        test_is(wherry_channel_commit(two.sender, &message, 0, soon()), -EOPNOTSUPP);
        wherry_channel_abandon(two.sender);
        two_fini(&two);
        return;
    }
    compose(subject, data, SMALL, 1);
    struct wherry_message messages[2] = {{.data = data, .size = SMALL, .type = 5},
                                         {.data = data, .size = SMALL, .type = 5}};
    test_is(wherry_channel_send_many(two.sender, messages, 2, soon()), 2);
    expect_typed(&two, 5, 1);
    expect_typed(&two, 5, 1);
    test_is(wherry_channel_reserve(two.sender, SMALL, &place, soon()), 0);
    compose(subject, place, SMALL, 2);
    struct wherry_message placed = {.data = place, .size = SMALL, .type = 6};
    test_is(wherry_channel_commit(two.sender, &placed, 0, soon()), 0);
    expect_typed(&two, 6, 2);
    test_is(post_typed(&two, 8, 3, WHERRY_MORE), 0);
    test_is(wherry_channel_flush(two.sender, soon()), 0);
    expect_typed(&two, 8, 3);
    two_fini(&two);
}

/* Also when the message is split, or too big for the first buffer. */
/* Where there are none: types_are_carried_or_refused. */
CASE(16, big_messages_carry_the_type, .when = has_types)
{
    struct two two;
    two_init(&two, subject, 16384);
    size_t limit = site_limit(&two.site), size = limit < 16000 ? limit : 16000;
    uint8_t *data = malloc(size);
    compose(subject, data, size, 1);
    struct wherry_message message = {.data = data, .size = size, .type = 9};
    test_is(wherry_channel_send_message(two.sender, &message, 0, soon()), 0);
    struct wherry_info info = {0};
    test_is(wherry_channel_receive_info(two.receiver, two.crate.data, 10, &info, soon()), -EMSGSIZE);
    expect(two.receiver, &two.crate, size, 1);
    ck_assert_int_eq(two.crate.info.type, 9);
    free(data);
    two_fini(&two);
}

/* ---- open descriptors, which are no clause: the trait is held to all the same ------------------------------------ */

static struct wherry_message with_descriptors(const struct subject *subject, uint8_t data[static SMALL], const int *fds)
{
    compose(subject, data, SMALL, 1);
    return (struct wherry_message){.data = data, .size = SMALL, .fds = fds, .fd_count = 2};
}

CASE(16, descriptors_come_with_their_message, .frames = RECORDS, .needs = WHERRY_TRAIT_CARRIES_FDS)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    struct wherry_info info;
    uint8_t data[SMALL];
    int came[2], fds[2] = {STDIN_FILENO, STDERR_FILENO};
    site_init(&site, subject);
    site.options.fds = 2;
    open_two(&site, &sender, &receiver);
    struct wherry_message message = with_descriptors(subject, data, fds);
    test_is(wherry_channel_send_message(sender, &message, 0, soon()), 0);
    test_is(wherry_channel_receive_with_fds(receiver, data, SMALL, came, 2, &info, soon()), 1);
    ck_assert_uint_eq(info.fd_count, 2);
    for (int i = 0; i < 2; i++) {
        struct stat sent, received;
        must(fstat(fds[i], &sent) == 0 && fstat(came[i], &received) == 0 && sent.st_ino == received.st_ino,
             "descriptor %d leads elsewhere", i);
        close(came[i]);
    }
    close_two(sender, receiver);
    site_fini(&site);
}

CASE(16, without_the_trait_descriptors_are_refused, .frames = RECORDS,
     .lacks = WHERRY_TRAIT_CARRIES_FDS | WHERRY_TRAIT_DESCRIPTOR)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    uint8_t data[SMALL];
    int fds[2] = {STDIN_FILENO, STDERR_FILENO};
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    struct wherry_message message = with_descriptors(subject, data, fds);
    test_is(wherry_channel_send_message(sender, &message, 0, soon()), -EOPNOTSUPP);
    close_two(sender, receiver);
    site_fini(&site);
}
