/* examples/fork_pair.c - a parent reads what its child sends over a pipe.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static int child(struct wherry_channel *pair[2])
{
    char text[64];
    wherry_channel_close(pair[0], WHERRY_NOW); /* ours is the other end */
    for (int i = 1; i <= 3; i++) {
        int size = snprintf(text, sizeof text, "message %d from the child", i);
        if (wherry_channel_send(pair[1], text, (size_t)size, wherry_after(WHERRY_SECOND)) < 0)
            return 1;
    }
    return wherry_channel_close(pair[1], wherry_after(WHERRY_SECOND)) < 0;
}

int main(void)
{
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *pair[2]; /* [0] receives, [1] sends, as with pipe(2) */
    char text[64];
    size_t size;
    options.inheritable = true; /* without it an endpoint belongs to the process that opened it */
    if (wherry_channel_pair("pipe:", &options, pair) < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(pair));
    wherry_channel_close(pair[1], WHERRY_NOW); /* or the end would never come: we would be a sender too */
    while (pid > 0 && wherry_channel_receive(pair[0], text, sizeof text, &size, WHERRY_FOREVER) == 1)
        printf("%.*s\n", (int)size, text);
    wherry_channel_close(pair[0], WHERRY_NOW);
    int status = 1;
    if (pid > 0)
        waitpid(pid, &status, 0);
    return status != 0;
}
