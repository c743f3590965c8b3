/* examples/signals.c - signals as messages: a child reports its progress in values, and its end comes the same way.
 *
 * SPDX-License-Identifier: MIT
 *
 * One wait for both: the number of the job that the child is at, sent with a real-time signal, and SIGCHLD.  Neither
 * interrupts anything. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static int fail(void)
{
    return fprintf(stderr, "%s\n", wherry_why()), 1;
}

static int work(pid_t parent)
{
    for (int64_t job = 1; job <= 3; job++)
        if (wherry_signal_send(parent, SIGRTMIN, &job) < 0)
            return fail();
    return 7;
}

int main(void)
{
    const int numbers[] = {SIGRTMIN, SIGCHLD};
    struct wherry_signals *signals;
    struct wherry_signal got;
    pid_t parent = getpid();
    int jobs = 0, status = 0;
    bool ended = false;
    /* before the fork: nothing that the child sends comes too early */
    if (wherry_signals_open(numbers, 2, NULL, &signals) < 0)
        return fail();
    pid_t child = fork();
    if (child < 0)
        return perror("fork"), 1;
    if (child == 0) {
        wherry_signals_close(signals); /* the parent's: the mask is as it was */
        _exit(work(parent));
    }
    /* SIGCHLD has the lower number and may overtake the last reports */
    while (!ended || jobs < 3) {
        if (wherry_signals_receive(signals, &got, wherry_after(5 * WHERRY_SECOND)) < 0)
            return fail();
        if (got.number == SIGRTMIN)
            printf("job %d is done\n", (int)got.value), jobs++;
        else
            ended = true, status = got.status;
    }
    printf("the child ended with %d\n", status);
    wherry_signals_close(signals);
    return waitpid(child, NULL, 0) != child; /* SIGCHLD tells of its end; the zombie stays until it is waited for */
}
