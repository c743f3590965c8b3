/* examples/user_signal.c - SIGUSR1, to which every program gives its own meaning, ends a loop.
 *
 * SPDX-License-Identifier: MIT
 *
 * Here the child works until its parent has had enough.  By default SIGUSR1 kills: one that comes before the child is
 * prepared would end it in the middle.  So the parent blocks it before the fork, and the child inherits that: what
 * comes too early waits. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/signal.h>

static const int enough[] = {SIGUSR1};

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

/* `inherited` was opened by the parent: it blocks the signal here, too, and receives only there. */
static int child(struct wherry_signals *inherited, pid_t parent)
{
    struct wherry_signals *signals;
    struct wherry_signal got;
    unsigned rounds = 0;
    int result;
    if (wherry_signals_open(enough, 1, NULL, &signals) < 0)
        return fail("child");
    wherry_signals_close(inherited); /* only now: the signal is blocked all the time */
    do
        rounds++; /* the work; then one look, which does not wait */
    while ((result = wherry_signals_receive(signals, &got, WHERRY_NOW)) == -EAGAIN);
    if (result < 0)
        return fail("child");
    printf("the child has worked; SIGUSR1 came from %s\n", got.pid == parent ? "its parent" : "somebody else");
    wherry_signals_close(signals);
    return rounds > 0 ? 0 : 1;
}

int main(void)
{
    struct wherry_signals *signals;
    pid_t parent = getpid();
    int status;
    if (wherry_signals_open(enough, 1, NULL, &signals) < 0) /* before the fork */
        return fail("parent");
    pid_t pid = fork();
    if (pid == 0)
        return child(signals, parent);
    wherry_signals_close(signals);
    if (pid < 0)
        return perror("fork"), 1;
    if (wherry_signal_send(pid, SIGUSR1, NULL) < 0) /* the number is the child's until it is waited for */
        return kill(pid, SIGKILL), fail("parent");
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
        return fprintf(stderr, "parent: the child was killed\n"), 1;
    printf("the child exited with %d\n", WEXITSTATUS(status));
    return WEXITSTATUS(status);
}
