/* examples/fork_pair.c - a parent reads what its child sends through an unnamed pipe.
 *
 * SPDX-License-Identifier: MIT
 *
 * A pipe has no name: only who made it and who inherits it can use it.  Each of the two closes the end that it does not
 * use.  A parent that forgot to would be a sender too, and wait for ever for the end of the senders. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static int child(struct wherry_channel *pair[2])
{
    char text[64];
    const wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    wherry_channel_close(pair[0], WHERRY_NOW);
    for (int i = 1; i <= 3; i++) {
        int size = snprintf(text, sizeof text, "message %d from the child", i);
        if (wherry_channel_send(pair[1], text, (size_t)size, deadline) < 0)
            return fail("child"); /* had the parent died: -EPIPE, and never SIGPIPE */
    }
    return wherry_channel_close(pair[1], deadline) < 0 ? fail("child") : 0;
}

int main(void)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *pair[2]; /* [0] receives, [1] sends, as with pipe(2) */
    char text[64];
    size_t size;
    int result, status = 1;
    options.inheritable = true; /* without it an endpoint belongs to the process that opened it */
    if (wherry_channel_pair("pipe:", &options, pair) < 0)
        return fail("parent");
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(pair));
    wherry_channel_close(pair[1], WHERRY_NOW);
    /* A pipe carries bytes, and one read may return half a message or two.  These are whole, and 0 is the end. */
    while ((result = wherry_channel_receive(pair[0], text, sizeof text, &size, WHERRY_FOREVER)) == 1)
        printf("%.*s\n", (int)size, text);
    if (result < 0)
        fail("parent");
    wherry_channel_close(pair[0], WHERRY_NOW);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        perror("child");
    return result < 0 || status != 0;
}
