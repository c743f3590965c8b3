/* examples/poll_loop.c - a channel beside other descriptors in a poll(2) loop: poll_loop URL
 *
 * SPDX-License-Identifier: MIT
 *
 * The same descriptor goes into epoll or libuv.  It is only ever watched, never read. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static int sender(const char *url)
{
    struct wherry_channel *channel;
    if (wherry_channel_open(url, WHERRY_SEND, NULL, wherry_after(5 * WHERRY_SECOND), &channel) < 0)
        return 1;
    for (int i = 0; i < 3; i++)
        wherry_channel_send(channel, "tick", 4, wherry_after(WHERRY_SECOND));
    return wherry_channel_close(channel, wherry_after(WHERRY_SECOND)) < 0;
}

/* Take all there is, then poll again: readiness is told anew only after -EAGAIN.  0: the senders are gone. */
static int drain(struct wherry_channel *channel)
{
    char text[64];
    size_t size;
    int result;
    while ((result = wherry_channel_receive(channel, text, sizeof text, &size, WHERRY_NOW)) == 1)
        printf("%.*s\n", (int)size, text);
    return result == -EAGAIN;
}

int main(int argc, char **argv)
{
    struct wherry_channel *channel;
    struct itimerspec in_five_seconds = {.it_value.tv_sec = 5};
    if (argc != 2 || wherry_channel_open(argv[1], WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0) {
        fprintf(stderr, "%s\n", argc == 2 ? wherry_why() : "usage: poll_loop URL");
        return 1;
    }
    if (fork() == 0)
        _exit(sender(argv[1]));
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    timerfd_settime(timer, 0, &in_five_seconds, NULL);
    struct pollfd fds[2] = {{.fd = wherry_channel_receive_fd(channel), .events = POLLIN},
                            {.fd = timer, .events = POLLIN}};
    int alive = 1;
    while (alive && poll(fds, 2, -1) > 0 && !fds[1].revents)
        if (fds[0].revents)
            alive = drain(channel);
    printf(alive ? "gave up\n" : "the sender is gone\n");
    wherry_channel_close(channel, WHERRY_NOW);
    close(timer);
    wait(NULL);
    return alive;
}
