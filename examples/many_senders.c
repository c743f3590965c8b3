/* examples/many_senders.c URL - one receiver, several senders that connect to it, no thread.
 *
 * SPDX-License-Identifier: MIT
 *
 *     many_senders unix:./ferry
 *
 * Each message comes whole, and those of one sender in the order in which it sent them. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

enum { SENDERS = 4, EACH = 1000 };

static int sender(const char *url, int number)
{
    struct wherry_channel *channel;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    int result = wherry_channel_open(url, WHERRY_SEND, NULL, deadline, &channel);
    for (int i = 0; result == 0 && i < EACH; i++)
        result = wherry_channel_send(channel, &number, sizeof number, deadline);
    if (result == 0)
        result = wherry_channel_close(channel, deadline);
    if (result < 0)
        fprintf(stderr, "sender %d: %s\n", number, wherry_why());
    return result < 0;
}

int main(int argc, char **argv)
{
    struct wherry_channel *channel;
    int counts[SENDERS] = {0}, number, total = 0, status, failed = 0;
    size_t size;
    if (argc != 2) {
        fprintf(stderr, "usage: %s URL\n", argv[0]);
        return 2;
    }
    if (wherry_channel_open(argv[1], WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    for (int i = 0; i < SENDERS; i++)
        if (fork() == 0)
            _exit(sender(argv[1], i));
    /* The end may come more than once: whenever the last sender so far leaves before the next one connects. */
    while (total < SENDERS * EACH) {
        int result = wherry_channel_receive(channel, &number, sizeof number, &size, wherry_after(5 * WHERRY_SECOND));
        if (result < 0) {
            fprintf(stderr, "receiver: %s\n", wherry_why());
            break;
        }
        if (result == 1 && size == sizeof number && number >= 0 && number < SENDERS)
            counts[number]++, total++;
    }
    for (int i = 0; i < SENDERS; i++)
        printf("sender %d: %d messages\n", i, counts[i]);
    wherry_channel_close(channel, WHERRY_NOW);
    while (wait(&status) > 0)
        failed |= status;
    return failed != 0 || total != SENDERS * EACH;
}
