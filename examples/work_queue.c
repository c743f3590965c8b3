/* examples/work_queue.c - jobs shared out among workers; one is killed with a job in its hands, and another does it.
 *
 * SPDX-License-Identifier: MIT
 *
 * What is borrowed and not returned is given again, marked WHERRY_REDELIVERED, when its borrower dies. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

enum { JOBS = 10 };

static _Noreturn void fail(const char *who)
{
    fprintf(stderr, "%s: %s\n", who, wherry_why());
    _exit(1);
}

/* Borrows its first job, and is killed before it is done. */
static void clumsy_worker(const char *url)
{
    struct wherry_channel *jobs;
    struct wherry_loan job;
    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &jobs) < 0 ||
        wherry_channel_borrow(jobs, &job, wherry_after(5 * WHERRY_SECOND)) != 1)
        fail("clumsy worker");
    raise(SIGKILL);
}

/* Does all there is until the senders are gone. */
static int careful_worker(struct wherry_channel *jobs)
{
    struct wherry_loan job;
    int again = 0, done = 0, result;
    while ((result = wherry_channel_borrow(jobs, &job, wherry_after(5 * WHERRY_SECOND))) == 1) {
        done++;
        again += (job.info.flags & WHERRY_REDELIVERED) != 0;
        wherry_channel_return(jobs, &job); /* only now is it done */
    }
    if (result < 0)
        fail("careful worker");
    printf("%d jobs done, %d of them for one that died\n", done, again);
    return done == JOBS ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "shm://jobs";
    struct wherry_channel *jobs, *sender;
    int status;
    /* this end holds the ring open; it begins to receive when the clumsy one is dead */
    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &jobs) < 0 ||
        wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &sender) < 0)
        fail("foreman");
    for (int i = 0; i < JOBS; i++) {
        char text[32];
        int size = snprintf(text, sizeof text, "job %d", i);
        if (wherry_channel_send(sender, text, (size_t)size, wherry_after(5 * WHERRY_SECOND)) < 0)
            fail("foreman");
    }
    pid_t clumsy = fork();
    if (clumsy == 0)
        clumsy_worker(url);
    if (clumsy < 0 || waitpid(clumsy, &status, 0) < 0 || !WIFSIGNALED(status))
        return fprintf(stderr, "foreman: nobody was killed with a job\n"), 1;
    wherry_channel_close(sender, WHERRY_NOW);
    int result = careful_worker(jobs);
    wherry_channel_close(jobs, WHERRY_NOW);
    return result;
}
