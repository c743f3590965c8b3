/* examples/recv.c URL - prints messages, one a line, until the senders are gone.
 *
 * SPDX-License-Identifier: MIT
 *
 *     recv unix:./ferry
 *
 * Nothing in it is about sockets: with another URL it is another transport. */
#include <stdio.h>
#include <wherry/wherry.h>

int main(int argc, char **argv)
{
    struct wherry_channel *channel;
    char message[4096];
    size_t size;
    if (argc != 2) {
        fprintf(stderr, "usage: %s URL\n", argv[0]);
        return 2;
    }
    if (wherry_channel_open(argv[1], WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    int result; /* 1: a message; 0: the end; negative: an error number */
    while ((result = wherry_channel_receive(channel, message, sizeof message, &size, WHERRY_FOREVER)) == 1)
        printf("%.*s\n", (int)size, message);
    if (result < 0)
        fprintf(stderr, "%s\n", wherry_why());
    wherry_channel_close(channel, WHERRY_NOW); /* removes the name that open created */
    return result < 0;
}
