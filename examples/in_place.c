/* examples/in_place.c [URL] - messages written and read where they lie, without a buffer of one's own.
 *
 * SPDX-License-Identifier: MIT
 *
 *     in_place shm://points
 *
 * In shared memory nothing is copied: the sender writes where the receiver will read.  Over every other transport the
 * calls are the same, through one buffer: in_place fifo:./points. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

struct point {
    double x, y;
};

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static int sender(const char *url)
{
    struct wherry_channel *channel;
    const wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_channel_open(url, WHERRY_SEND, NULL, deadline, &channel) < 0)
        return fail("sender");
    for (int i = 1; i <= 3; i++) {
        void *memory;
        if (wherry_channel_reserve(channel, sizeof(struct point), &memory, deadline) < 0)
            return fail("sender");
        *(struct point *)memory = (struct point){i, i * i}; /* aligned to 8 bytes at least; nobody sees it yet */
        const struct wherry_message message = {.data = memory, .size = sizeof(struct point)};
        if (wherry_channel_commit(channel, &message, 0, deadline) < 0) /* sent; killed before, it never was */
            return fail("sender");
    }
    return wherry_channel_close(channel, deadline) < 0 ? fail("sender") : 0;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "shm://points";
    struct wherry_channel *channel;
    struct wherry_loan loan;
    int result, status = 1;
    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0)
        return fail("receiver");
    const struct wherry_traits *traits = wherry_channel_traits(channel);
    printf("%s: %s\n", traits->object, traits->bits & WHERRY_TRAIT_IN_PLACE ? "in its own memory" : "through a buffer");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(sender(url));
    while ((result = wherry_channel_borrow(channel, &loan, wherry_after(5 * WHERRY_SECOND))) == 1) {
        struct point point; /* what is lent has no particular alignment */
        if (loan.info.size == sizeof point) {
            memcpy(&point, loan.data, sizeof point);
            printf("%g %g\n", point.x, point.y);
        }
        wherry_channel_return(channel, &loan); /* only now may its memory be used for the next one */
    }
    if (result < 0)
        fail("receiver");
    wherry_channel_close(channel, WHERRY_NOW);
    if (child < 0 || waitpid(child, &status, 0) != child)
        perror("sender");
    return result < 0 || status != 0;
}
