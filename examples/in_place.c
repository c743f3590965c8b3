/* examples/in_place.c - messages written and read where they lie, without a buffer of one's own.
 *
 * SPDX-License-Identifier: MIT
 *
 * On transports that share memory nothing is copied at all; on the others the calls work alike, through one buffer. */
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>

struct point {
    double x, y;
};

static int send_points(struct wherry_channel *channel)
{
    for (int i = 1; i <= 3; i++) {
        void *memory;
        if (wherry_channel_reserve(channel, sizeof(struct point), &memory, WHERRY_NOW) < 0)
            return -1;
        *(struct point *)memory = (struct point){i, i * i}; /* aligned to 8 bytes at least */
        struct wherry_message message = {.data = memory, .size = sizeof(struct point)};
        if (wherry_channel_commit(channel, &message, 0, WHERRY_NOW) < 0) {
            wherry_channel_abandon(channel); /* on failure the reservation stands until it is given up */
            return -1;
        }
    }
    return 0;
}

static int receive_points(struct wherry_channel *channel)
{
    struct wherry_loan loan;
    int count = 0;
    while (wherry_channel_borrow(channel, &loan, WHERRY_NOW) == 1) {
        struct point point; /* what is lent has no particular alignment */
        if (loan.info.size == sizeof point) {
            memcpy(&point, loan.data, sizeof point);
            printf("%g %g\n", point.x, point.y);
            count++;
        }
        wherry_channel_return(channel, &loan); /* received; its memory may be used for the next */
    }
    return count;
}

int main(void)
{
    struct wherry_channel *pair[2];
    if (wherry_channel_pair("pipe:", NULL, pair) < 0)
        return 1;
    int good = send_points(pair[1]) == 0 && receive_points(pair[0]) == 3;
    if (!good)
        fprintf(stderr, "%s\n", wherry_why());
    wherry_channel_close(pair[1], WHERRY_NOW);
    wherry_channel_close(pair[0], WHERRY_NOW);
    return !good;
}
