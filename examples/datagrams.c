/* examples/datagrams.c - without a connection, on UDP: measurements go out, and one answer comes back.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each datagram travels by itself.  Nobody knows whether somebody is there, there is no end, and a datagram may be
 * lost, come twice, or be overtaken.  With seq=1 each has a number, so that the receiver can count what is missing. */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/channel.h>

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static int thermometer(const char *url)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    char text[100];
    size_t size;
    int result = -ETIMEDOUT;
    options.side = WHERRY_CONNECT; /* sends nothing yet: it says where all this goes, and who may answer */
    if (wherry_channel_open(url, WHERRY_BOTH, &options, wherry_after(WHERRY_SECOND), &channel) < 0)
        return fail("thermometer");
    for (int degrees = 18; degrees <= 20; degrees++) {
        size = (size_t)snprintf(text, sizeof text, "%d degrees", degrees);
        if (wherry_channel_send(channel, text, size, wherry_after(WHERRY_SECOND)) < 0)
            return fail("thermometer");
    }
    /* Who wants to be sure asks until an answer comes: the question may be lost, and so may the answer. */
    for (int tries = 0; tries < 10 && result == -ETIMEDOUT; tries++) {
        if (wherry_channel_send(channel, "", 0, wherry_after(WHERRY_SECOND)) < 0) /* 0 bytes: a message like others */
            return fail("thermometer");
        result = wherry_channel_receive(channel, text, sizeof text, &size, wherry_after(WHERRY_SECOND));
    }
    if (result != 1)
        return fail("thermometer");
    printf("the answer: %.*s\n", (int)size, text);
    return wherry_channel_close(channel, WHERRY_NOW) < 0 ? fail("thermometer") : 0;
}

static int collect(struct wherry_channel *channel)
{
    struct wherry_channel_stats stats;
    struct wherry_info info;
    char text[100];
    wherry_time deadline = wherry_after(10 * WHERRY_SECOND);
    int result, came = 0;
    while ((result = wherry_channel_receive_info(channel, text, sizeof text, &info, deadline)) == 1 && info.size > 0)
        printf("%.*s\n", (int)info.size, text), fflush(stdout), came++;
    if (result != 1 || wherry_channel_stats(channel, &stats, sizeof stats) < 0)
        return fail("collector");
    int size = snprintf(text, sizeof text, "%d came, %d lost", came, (int)stats.lost);
    struct wherry_message answer = {.data = text, .size = (size_t)size, .to = info.peer.id}; /* to the last sender */
    return wherry_channel_send_message(channel, &answer, 0, deadline) < 0 ? fail("collector") : 0;
}

int main(void)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    int status, result = 1;
    options.side = WHERRY_LISTEN; /* port 0: any that is free */
    if (wherry_channel_open("udp://127.0.0.1:0?seq=1", WHERRY_BOTH, &options, WHERRY_NOW, &channel) < 0)
        return fail("collector");
    pid_t child = fork();
    if (child < 0)
        perror("fork");
    else
        result = child == 0 ? thermometer(wherry_channel_url(channel)) : collect(channel); /* the URL has the port */
    wherry_channel_close(channel, WHERRY_NOW); /* in the child its memory alone */
    if (child > 0 && (waitpid(child, &status, 0) < 0 || status != 0))
        return 1;
    return result;
}
