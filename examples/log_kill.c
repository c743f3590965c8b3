/* examples/log_kill.c [URL] - a log that survives kill -9: whatever was accepted before is in it, whole and in order.
 *
 * SPDX-License-Identifier: MIT
 *
 * The writer tells its parent of each message that the log has accepted, and is killed at some moment of its work.  The
 * log may hold one more than the parent was told of; it must not hold one less. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static _Noreturn void fail(const char *who)
{
    fprintf(stderr, "%s: %s\n", who, wherry_why());
    _exit(1);
}

static _Noreturn void writer(const char *url, struct wherry_channel *pair[2])
{
    struct wherry_channel *log;
    wherry_channel_close(pair[0], WHERRY_NOW);
    if (wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &log) < 0)
        fail("writer");
    for (long n = 1;; n++) /* a power cut is worse than a kill: for that there is ?fsync=each */
        if (wherry_channel_send(log, &n, sizeof n, wherry_after(5 * WHERRY_SECOND)) < 0 ||
            wherry_channel_send(pair[1], &n, sizeof n, wherry_after(5 * WHERRY_SECOND)) < 0)
            fail("writer");
}

int main(int argc, char **argv)
{
    const char *url = argc > 1 ? argv[1] : "file:./orders.log";
    struct wherry_channel *pair[2], *log;
    long n, accepted = 0, kept = 0;
    size_t size;
    int status = 0, result;
    if (wherry_channel_pair("pipe:?inheritable=1", NULL, pair) < 0)
        fail("reader");
    pid_t child = fork();
    if (child == 0)
        writer(url, pair);
    wherry_channel_close(pair[1], WHERRY_NOW);
    while (wherry_channel_receive(pair[0], &n, sizeof n, &size, wherry_after(5 * WHERRY_SECOND)) == 1) {
        accepted = n; /* and on to the end, for it has sent more than this by the time that it is dead */
        if (n == 1000)
            kill(child, SIGKILL);
    }
    wherry_channel_close(pair[0], WHERRY_NOW);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFSIGNALED(status))
        return fprintf(stderr, "the writer was not killed\n"), 1;

    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &log) < 0)
        fail("reader");
    while ((result = wherry_channel_receive(log, &n, sizeof n, &size, WHERRY_NOW)) == 1)
        kept += size == sizeof n && n == kept + 1; /* anything else than the next number is not counted, and missed */
    if (result != -EAGAIN) /* for the end of what is there: a log has no end, somebody may append to it tomorrow */
        fail("reader");
    wherry_channel_close(log, WHERRY_NOW);
    printf("the writer was killed by signal %d\n", WTERMSIG(status));
    printf("%s\n", accepted >= 1000 ? "1000 messages and more were accepted" : "it came to nothing");
    printf("%s\n", kept == accepted || kept == accepted + 1 ? "all of them are in the log" : "some are lost");
    return unlink(strchr(url, ':') + 1) != 0 || kept < accepted;
}
