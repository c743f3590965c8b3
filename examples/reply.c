/* examples/reply.c - a server answers the very peer that asked, by its id: reply URL
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

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
        return 1;
    printf("%s -> %.*s\n", question, (int)size, text);
    fflush(stdout);
    return wherry_channel_close(channel, deadline) < 0;
}

int main(int argc, char **argv)
{
    static const char *const questions[] = {"up the river", "down the river"};
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *channel;
    struct wherry_info info;
    char text[64];
    options.side = WHERRY_LISTEN;
    if (argc != 2 || wherry_channel_open(argv[1], WHERRY_BOTH, &options, WHERRY_NOW, &channel) < 0) {
        fprintf(stderr, "%s\n", argc == 2 ? wherry_why() : "usage: reply URL");
        return 1;
    }
    for (size_t i = 0; i < 2; i++)
        if (fork() == 0)
            _exit(client(argv[1], questions[i]));
    for (int answers = 0; answers < 2;) {
        int result = wherry_channel_receive_info(channel, text, sizeof text, &info, wherry_after(5 * WHERRY_SECOND));
        if (result < 0)
            break;
        for (size_t i = 0; result == 1 && i < info.size; i++)
            text[i] = (char)toupper((unsigned char)text[i]);
        struct wherry_message answer = {.data = text, .size = info.size, .to = info.peer.id};
        if (result == 1 && wherry_channel_send_message(channel, &answer, 0, wherry_after(WHERRY_SECOND)) == 0)
            answers++;
    }
    int status, bad = 0;
    while (wait(&status) > 0)
        bad |= status;
    wherry_channel_close(channel, WHERRY_NOW);
    return bad != 0;
}
