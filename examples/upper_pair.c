/* examples/upper_pair.c - a child turns what its parent says into capitals, over a socket pair.
 *
 * SPDX-License-Identifier: MIT
 *
 * A pipe goes one way; two processes that talk need two of them, or one socket pair: two ends, each to send and to
 * receive.  It is made before the fork, so that parent and child have both ends, and each closes the other's. */
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

/* Answers until the parent has said that it sends no more, or has died. */
static int child(struct wherry_channel *channel)
{
    char text[100];
    size_t size;
    int result;
    while ((result = wherry_channel_receive(channel, text, sizeof text, &size, WHERRY_FOREVER)) == 1) {
        for (size_t i = 0; i < size; i++)
            text[i] = (char)toupper((unsigned char)text[i]);
        if (wherry_channel_send(channel, text, size, wherry_after(5 * WHERRY_SECOND)) < 0)
            return fail("child");
    }
    return result < 0 ? fail("child") : 0;
}

/* Says both lines before it listens: neither is mixed with the other, since a message stays whole. */
static int parent(struct wherry_channel *channel)
{
    const char *const lines[] = {"down the river", "and up again"};
    char text[100];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    int result;
    for (int i = 0; i < 2; i++)
        if (wherry_channel_send(channel, lines[i], strlen(lines[i]), deadline) < 0)
            return fail("parent");
    if (wherry_channel_finish(channel, deadline) < 0) /* the child gets its end, and can still answer */
        return fail("parent");
    while ((result = wherry_channel_receive(channel, text, sizeof text, &size, deadline)) == 1)
        printf("%.*s\n", (int)size, text);
    return result < 0 ? fail("parent") : 0;
}

int main(void)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *ends[2];
    int status;
    options.inheritable = true; /* a forked child may use it */
    if (wherry_channel_pair("socketpair:", &options, ends) < 0)
        return fail("parent");
    pid_t pid = fork();
    if (pid < 0)
        return perror("fork"), 1;
    wherry_channel_close(ends[pid == 0 ? 0 : 1], WHERRY_NOW); /* the other's: or the end would never come */
    struct wherry_channel *mine = ends[pid == 0 ? 1 : 0];
    int result = pid == 0 ? child(mine) : parent(mine);
    wherry_channel_close(mine, wherry_after(WHERRY_SECOND));
    if (pid == 0)
        return result;
    return waitpid(pid, &status, 0) < 0 || status != 0 || result != 0;
}
