/* examples/reply.c - two clients ask at the same time, and each gets its own answer: reply URL
 *
 * SPDX-License-Identifier: MIT
 *
 * One endpoint listens, and all clients are behind it.  Each message comes with the id of the peer that sent it, and a
 * message with an id goes to that peer and no other. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/channel.h>

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static int client(const char *url, const char *question)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    char text[64];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    options.side = WHERRY_CONNECT; /* who does both must say which side it is */
    if (wherry_channel_open(url, WHERRY_BOTH, &options, deadline, &channel) < 0 ||
        wherry_channel_send(channel, question, strlen(question), deadline) < 0 ||
        wherry_channel_receive(channel, text, sizeof text, &size, deadline) != 1)
        return fail("client");
    printf("%s -> %.*s\n", question, (int)size, text);
    fflush(stdout);
    return wherry_channel_close(channel, deadline) < 0 ? fail("client") : 0;
}

/* The answer is the question in capitals. */
static int answer_one(struct wherry_channel *channel)
{
    struct wherry_info info;
    char text[64];
    int result = 0;
    while (result == 0) /* the end: all who were there have gone, and the other client has not come yet */
        result = wherry_channel_receive_info(channel, text, sizeof text, &info, wherry_after(5 * WHERRY_SECOND));
    if (result < 0)
        return fail("server");
    for (size_t i = 0; i < info.size; i++)
        text[i] = (char)toupper((unsigned char)text[i]);
    struct wherry_message answer = {.data = text, .size = info.size, .to = info.peer.id};
    return wherry_channel_send_message(channel, &answer, 0, wherry_after(WHERRY_SECOND)) < 0 ? fail("server") : 0;
}

int main(int argc, char **argv)
{
    static const char *const questions[] = {"up the river", "down the river"};
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    int status, bad = 0;
    if (argc != 2)
        return fprintf(stderr, "usage: reply URL\n"), 1;
    options.side = WHERRY_LISTEN;
    if (wherry_channel_open(argv[1], WHERRY_BOTH, &options, WHERRY_NOW, &channel) < 0)
        return fail("server");
    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            _exit(client(argv[1], questions[i]));
    for (int i = 0; i < 2 && !bad; i++)
        bad = answer_one(channel);
    while (wait(&status) > 0)
        bad |= status;
    wherry_channel_close(channel, WHERRY_NOW);
    return bad != 0;
}
