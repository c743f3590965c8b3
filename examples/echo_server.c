/* examples/echo_server.c - an echo server and its client, on any transport with connections: echo_server URL
 *
 * SPDX-License-Identifier: MIT
 *
 *     echo_server unix:./echo               on a Unix socket, a name in the file system
 *     echo_server tcp://127.0.0.1:0         on TCP; port 0 is one that the kernel picks, and the server's URL says it
 *
 * The program is the same: what it says is in the messages, and where it says it is in the URL. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/channel.h>

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static int client(const char *url)
{
    const char *const words[] = {"hello", "", "good-bye"}; /* an empty message is a message, too */
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    char text[100];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND); /* for all of it together */
    options.side = WHERRY_CONNECT; /* waits for the server; who sends and receives must say which side it is */
    if (wherry_channel_open(url, WHERRY_BOTH, &options, deadline, &channel) < 0)
        return fail("client");
    for (int i = 0; i < 3; i++) {
        if (wherry_channel_send(channel, words[i], strlen(words[i]), deadline) < 0 ||
            wherry_channel_receive(channel, text, sizeof text, &size, deadline) != 1)
            return fail("client");
        printf("sent \"%s\", got \"%.*s\"\n", words[i], (int)size, text); /* as it was sent, never in pieces */
    }
    return wherry_channel_close(channel, deadline) < 0 ? fail("client") : 0;
}

/* Serves until the last client has gone: this one has no more to do then, others would go on. */
static int serve(struct wherry_channel *channel)
{
    struct wherry_loan request;
    int result;
    while ((result = wherry_channel_borrow(channel, &request, wherry_after(10 * WHERRY_SECOND))) == 1) {
        /* to the very client that asked, and as much as came: never the size of a buffer */
        struct wherry_message echo = {.data = request.data, .size = request.info.size, .to = request.info.peer.id};
        if (wherry_channel_send_message(channel, &echo, 0, wherry_after(WHERRY_SECOND)) < 0)
            fail("server"); /* that client is gone; others may be there */
        wherry_channel_return(channel, &request);
    }
    return result < 0 ? fail("server") : 0;
}

int main(int argc, char **argv)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    int status, result = 1;
    if (argc != 2)
        return fprintf(stderr, "usage: echo_server URL\n"), 1;
    options.side = WHERRY_LISTEN;
    if (wherry_channel_open(argv[1], WHERRY_BOTH, &options, WHERRY_NOW, &channel) < 0)
        return fail("server");
    pid_t child = fork();
    if (child < 0)
        perror("fork");
    else
        result = child == 0 ? client(wherry_channel_url(channel)) : serve(channel); /* the URL has the port by now */
    wherry_channel_close(channel, wherry_after(WHERRY_SECOND)); /* takes the name away; in the child, memory alone */
    if (child > 0 && (waitpid(child, &status, 0) < 0 || status != 0))
        return 1;
    return result;
}
