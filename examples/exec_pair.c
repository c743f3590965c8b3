/* examples/exec_pair.c - a channel that survives exec: the new program gets it as a URL on its command line.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

/* The program that is started; here the same one, called with a URL. */
static int answer(const char *url)
{
    struct wherry_channel *channel;
    char text[64];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_channel_open(url, WHERRY_BOTH, NULL, deadline, &channel) < 0 ||
        wherry_channel_receive(channel, text, sizeof text, &size, deadline) != 1 ||
        wherry_channel_send(channel, "pong", 4, deadline) < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    return wherry_channel_close(channel, deadline) < 0;
}

static void start(struct wherry_channel *pair[2], char *program)
{
    char url[128];
    if (wherry_channel_export(pair[1], url, sizeof url) == 0) /* lets the descriptors through and names them */
        execv("/proc/self/exe", (char *[]){program, url, NULL});
    _exit(127);
}

int main(int argc, char **argv)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *pair[2];
    char text[64];
    size_t size = 0;
    if (argc == 2)
        return answer(argv[1]);
    options.inheritable = true;
    if (wherry_channel_pair("socketpair:", &options, pair) < 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0)
        start(pair, argv[0]);
    wherry_channel_close(pair[1], WHERRY_NOW);
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_channel_send(pair[0], "ping", 4, deadline) == 0 &&
        wherry_channel_receive(pair[0], text, sizeof text, &size, deadline) == 1)
        printf("ping, and the other program says %.*s\n", (int)size, text);
    wherry_channel_close(pair[0], WHERRY_NOW);
    return pid < 0 || waitpid(pid, NULL, 0) != pid || size != 4;
}
