/* examples/exec_pair.c - a channel that survives exec: the new program gets it as a URL on its command line.
 *
 * SPDX-License-Identifier: MIT
 *
 * What exec leaves of a process is its number, and the descriptors that are not close-on-exec.  wherry's all are, so
 * that none goes where it should not; the one end that the new program is to have is exported. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/channel.h>

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

/* The program that is started; here the same one, called with a URL. */
static int answer(const char *url)
{
    struct wherry_channel *channel;
    char text[64];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_channel_open(url, WHERRY_BOTH, NULL, deadline, &channel) < 0 ||
        wherry_channel_receive(channel, text, sizeof text, &size, deadline) != 1 ||
        wherry_channel_send(channel, "pong", 4, deadline) < 0)
        return fail("the other program");
    return wherry_channel_close(channel, deadline) < 0 ? fail("the other program") : 0;
}

static _Noreturn void start(struct wherry_channel *end, char *program)
{
    char url[128];
    if (wherry_channel_export(end, url, sizeof url) < 0) /* lets the descriptor through, and names it: "fd:5" */
        _exit(fail("child"));
    execv("/proc/self/exe", (char *[]){program, url, NULL});
    perror("exec");
    _exit(127);
}

static int ask(struct wherry_channel *end)
{
    char text[64];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_channel_send(end, "ping", 4, deadline) < 0 ||
        wherry_channel_receive(end, text, sizeof text, &size, deadline) != 1)
        return fail("parent");
    printf("ping, and the other program says %.*s\n", (int)size, text);
    return 0;
}

int main(int argc, char **argv)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *ends[2];
    int status;
    if (argc == 2)
        return answer(argv[1]);
    options.inheritable = true; /* the child may use it between fork and exec */
    if (wherry_channel_pair("socketpair:", &options, ends) < 0)
        return fail("parent");
    pid_t child = fork();
    if (child == 0)
        start(ends[1], argv[0]);
    if (child < 0)
        return perror("fork"), 1;
    wherry_channel_close(ends[1], WHERRY_NOW); /* the other's: so that its death is seen here */
    int result = ask(ends[0]);
    wherry_channel_close(ends[0], WHERRY_NOW);
    return waitpid(child, &status, 0) != child || status != 0 || result != 0;
}
