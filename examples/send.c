/* examples/send.c URL [WORD...] - sends each word as a message.
 *
 * SPDX-License-Identifier: MIT
 *
 *     send unix:./ferry one two three
 *
 * with recv in another terminal, started before or after. */
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>

int main(int argc, char **argv)
{
    struct wherry_channel *channel;
    if (argc < 2) {
        fprintf(stderr, "usage: %s URL [WORD...]\n", argv[0]);
        return 2;
    }
    /* Waits up to five seconds for a receiver to appear; every call that can wait takes such a deadline. */
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    int result = wherry_channel_open(argv[1], WHERRY_SEND, NULL, deadline, &channel);
    if (result < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    for (int i = 2; i < argc && result >= 0; i++)
        result = wherry_channel_send(channel, argv[i], strlen(argv[i]), deadline);
    int closed = wherry_channel_close(channel, deadline); /* what is still in memory goes out first */
    if (result < 0 || closed < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    return 0;
}
