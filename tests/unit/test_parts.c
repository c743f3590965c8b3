/* tests/unit/test_parts.c - owns the tests of channel/parts.c: split messages put together within bounds.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel/parts.h"
#include "harness.h"
#include "unit/pattern.h"

/* Without the lowest bit a sender says that nothing proves its death. */
enum { UNPROVEN = 0 };
static struct wherry__parts parts;
static uint64_t dropped;
static int fds[2] = {-1, -1};

static void setup(void)
{
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
}

static void teardown(void)
{
    wherry__parts_clear(&parts);
    ck_assert_uint_eq(parts.held, 0);
    close(fds[0]);
    close(fds[1]);
}

/* Part of message `message` of `sender`, whose bytes follow from both. */
static int take_into(uint64_t sender, uint32_t message, uint32_t total, uint32_t offset, uint32_t size,
                     size_t max_memory, struct wherry__part_box **ret_box)
{
    uint8_t *whole = malloc(total + 1);
    pattern_fill(whole, total, (uint32_t)sender * 100 + message);
    struct wherry__part part = {.size = size,
                                .message = message,
                                .total = total,
                                .offset = offset,
                                .sender = sender << 2 | UNPROVEN,
                                .type = 9};
    int result = wherry__parts_take(&parts, fds[0], 1, 1, &part, whole + offset, max_memory, &dropped, ret_box);
    free(whole);
    return result;
}

static int take(uint64_t sender, uint32_t message, uint32_t total, uint32_t offset, uint32_t size)
{
    struct wherry__part_box *box = NULL;
    int result = take_into(sender, message, total, offset, size, 1 << 24, &box);
    if (result == 1) {
        ck_assert_uint_eq(box->total, total);
        ck_assert_uint_eq(box->type, 9);
        ck_assert(pattern_is(box->data, total, (uint32_t)sender * 100 + message));
        wherry__part_box_free(&parts, box);
    } else {
        ck_assert_ptr_null(box);
    }
    return result;
}

TEST(parts_in_order_make_a_message)
{
    setup();
    for (uint32_t message = 1; message < 4; message++) {
        for (uint32_t offset = 0; offset + 4064 < 100000; offset += 4064)
            ck_assert_int_eq(take(1, message, 100000, offset, 4064), 0);
        ck_assert_int_eq(take(1, message, 100000, 24 * 4064, 100000 - 24 * 4064), 1);
        ck_assert_uint_eq(parts.held, 0);
    }
    ck_assert_int_eq(take(1, 9, 10, 0, 10), 1); /* one part may be all of it */
    ck_assert_uint_eq(dropped, 0);
    teardown();
}

TEST(interleaved_senders_do_not_mix)
{
    setup();
    for (uint32_t offset = 0; offset < 40; offset++)
        for (uint64_t sender = 1; sender <= 20; sender++)
            ck_assert_int_eq(take(sender, 1, 4000, offset * 100, 100), offset == 39);
    ck_assert_uint_eq(dropped, 0);
    ck_assert_ptr_null(parts.first);
    teardown();
}

TEST(what_fits_nowhere_is_refused)
{
    setup();
    ck_assert_int_eq(take(1, 1, 1000, 100, 100), -EBADMSG); /* no beginning */
    ck_assert_uint_eq(dropped, 0);
    ck_assert_int_eq(take(1, 1, 1000, 0, 100), 0);
    ck_assert_int_eq(take(1, 1, 1000, 200, 100), -EBADMSG); /* a gap */
    ck_assert_uint_eq(dropped, 1);
    ck_assert_int_eq(take(1, 1, 1000, 100, 100), -EBADMSG); /* what was dropped stays dropped */
    ck_assert_uint_eq(dropped, 1);
    ck_assert_int_eq(take(1, 2, 1000, 0, 100), 0);
    ck_assert_int_eq(take(1, 2, 1000, 0, 100), -EBADMSG); /* the same again */
    ck_assert_uint_eq(dropped, 2);
    ck_assert_int_eq(take(1, 3, 1000, 0, 100), 0);
    ck_assert_int_eq(take(1, 4, 1000, 0, 1000), 1); /* given up for another */
    ck_assert_uint_eq(dropped, 3);
    ck_assert_int_eq(take(1, 5, 1000, 0, 100), 0);
    ck_assert_int_eq(take(1, 5, 1001, 100, 100), -EBADMSG); /* of another length all of a sudden */
    ck_assert_uint_eq(dropped, 4);
    ck_assert_uint_eq(parts.held, 0);
    teardown();
}

TEST(memory_grows_as_bytes_arrive)
{
    setup();
    ck_assert_int_eq(take(1, 1, 1 << 20, 0, 10), 0);
    ck_assert_uint_le(parts.held, 65536);
    uint32_t filled = 10;
    while (filled + 4000 < 1 << 20) {
        ck_assert_int_eq(take(1, 1, 1 << 20, filled, 4000), 0);
        filled += 4000;
        ck_assert_uint_le(parts.held, filled < 65536 ? 65536 : 2 * filled);
        ck_assert_uint_le(parts.held, 1 << 20);
    }
    teardown();
}

TEST(max_memory_bounds_all_senders_together)
{
    struct wherry__part_box *box = NULL;
    unsigned refused = 0;
    setup();
    for (uint64_t sender = 1; sender <= 10; sender++)
        for (uint32_t offset = 0; offset < 100000; offset += 4000) {
            int result = take_into(sender, 1, 1 << 20, offset, 4000, 300000, &box);
            ck_assert_uint_le(parts.held, 300000);
            ck_assert(result == 0 || result == -ENOBUFS || result == -EBADMSG);
            refused += result == -ENOBUFS;
        }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_eq(dropped, refused);
    ck_assert_uint_gt(wherry__parts_clear(&parts), 0);
    ck_assert_int_eq(take_into(77, 1, 100, 0, 100, 300000, &box), 1); /* and all is well again */
    wherry__part_box_free(&parts, box);
    teardown();
}

/* ---- the proof of life ----------------------------------------------------------------------------------------- */

static void own_half(void *argument)
{
    uint64_t *number = argument;
    char path[256];
    int fd = open(test_path(path, "fifo"), O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    *number = wherry__parts_sender(fd);
    for (;;)
        pause();
}

/* A part that ends at `position` of the stream, of which as much was read. */
static int take_of(uint64_t sender, uint32_t offset, uint32_t size, uint64_t position)
{
    struct wherry__part_box *box = NULL;
    uint8_t data[1000] = {0};
    struct wherry__part part = {.size = size, .message = 1, .total = 1000, .offset = offset, .sender = sender};
    int result = wherry__parts_take(&parts, fds[0], position, position, &part, data, 1 << 20, &dropped, &box);
    if (box)
        wherry__part_box_free(&parts, box);
    return result;
}

/* What a dead sender still has in the pipe counts; when that was read and its message is not whole, its half goes. */
static const struct {
    const char *name;
    bool finished;
} deaths[] = {{"in_the_middle", false}, {"with_the_rest_in_the_pipe", true}};

TEST_TABLE(the_half_of_a_dead_sender_is_dropped_and_of_a_living_kept, deaths)
{
    char path[256], waiting[200] = {0};
    volatile uint64_t *number = test_shared(sizeof *number);
    ck_assert_int_eq(mkfifo(test_path(path, "fifo"), 0600), 0);
    fds[0] = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fds[1] = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    pid_t child = test_fork(own_half, (void *)(uintptr_t)number);
    test_until_asleep(child);
    uint64_t dead = *number, living = wherry__parts_sender(fds[1]);
    ck_assert(dead & 1); /* the lock was taken */
    ck_assert(living & 1);
    ck_assert_uint_ne(dead, living);
    ck_assert_int_eq(take_of(dead, 0, 100, 1000), 0);
    ck_assert_int_eq(take_of(living, 0, 100, 1100), 0);
    ck_assert_int_eq(take_of(8, 0, 100, 1200), 0); /* another half begins: all others still have their senders */
    ck_assert_int_eq(write(fds[1], waiting, sizeof waiting), sizeof waiting);
    test_kill(child);
    ck_assert_int_eq(take_of(16, 0, 100, 1300), 0); /* 200 bytes still wait in the pipe: up to 1500 */
    ck_assert_int_eq(take_of(24, 0, 100, 1400), 0);
    ck_assert_uint_eq(dropped, 0);
    if (deaths[index].finished) {
        ck_assert_int_eq(take_of(dead, 100, 900, 1450), 1);
        ck_assert_int_eq(take_of(32, 0, 100, 1600), 0);
        ck_assert_uint_eq(dropped, 0);
    } else {
        ck_assert_int_eq(take_of(32, 0, 100, 1600), 0);
        ck_assert_uint_eq(dropped, 1);
        ck_assert_int_eq(take_of(dead, 100, 100, 1700), -EBADMSG);
    }
    ck_assert_int_eq(take_of(living, 100, 900, 1800), 1);
    unlink(path);
    teardown();
}

TEST(numbers_of_senders_differ)
{
    uint64_t numbers[50];
    setup();
    for (int i = 0; i < 50; i++) {
        numbers[i] = wherry__parts_sender(fds[1]);
        ck_assert_uint_ne(numbers[i], 0);
        for (int j = 0; j < i; j++)
            ck_assert_uint_ne(numbers[i], numbers[j]);
    }
    teardown();
}
