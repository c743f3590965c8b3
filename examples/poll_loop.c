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
#include <wherry/channel.h>

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), -1;
}

static int sender(const char *url)
{
    struct wherry_channel *channel;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_channel_open(url, WHERRY_SEND, NULL, deadline, &channel) < 0)
        return fail("sender");
    for (int i = 0; i < 3; i++)
        if (wherry_channel_send(channel, "tick", 4, deadline) < 0)
            return fail("sender");
    return wherry_channel_close(channel, deadline) < 0 ? fail("sender") : 0;
}

/* Take all there is, then poll again: readiness is told anew only after -EAGAIN.  1: go on; 0: the senders are gone. */
static int drain(struct wherry_channel *channel)
{
    char text[64];
    size_t size;
    int result;
    while ((result = wherry_channel_receive(channel, text, sizeof text, &size, WHERRY_NOW)) == 1)
        printf("%.*s\n", (int)size, text);
    return result == -EAGAIN ? 1 : result < 0 ? fail("receiver") : 0;
}

int main(int argc, char **argv)
{
    struct wherry_channel *channel;
    struct itimerspec in_ten_seconds = {.it_value.tv_sec = 10};
    int status, going = 1;
    if (argc != 2)
        return fprintf(stderr, "usage: poll_loop URL\n"), 1;
    if (wherry_channel_open(argv[1], WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0)
        return fail("receiver"), 1;
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (timer < 0 || timerfd_settime(timer, 0, &in_ten_seconds, NULL) < 0)
        perror("timerfd"), going = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(sender(argv[1]) < 0);
    struct pollfd fds[2] = {{.fd = wherry_channel_receive_fd(channel), .events = POLLIN},
                            {.fd = timer, .events = POLLIN}};
    while (going > 0) {
        if (poll(fds, 2, -1) < 0 || fds[1].revents)
            going = -1; /* a signal, or it takes too long */
        else if (fds[0].revents)
            going = drain(channel);
    }
    printf(going == 0 ? "the sender is gone\n" : "gave up\n");
    wherry_channel_close(channel, WHERRY_NOW);
    close(timer);
    return waitpid(child, &status, 0) != child || status != 0 || going != 0;
}
