/* examples/lock_holders.c [FILE] - who has a lock, and who waits for it: both by name.
 *
 * SPDX-License-Identifier: MIT
 *
 * The kernel gives pid -1 for the holder of a modern lock, which belongs to an open file and not to a process.  wherry
 * looks who has that file open: for the sentence of a lock that was not to be had, and whenever it is asked. */
#include <errno.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wherry/wherry.h>

static _Noreturn void fail(const char *who)
{
    fprintf(stderr, "%s: %s\n", who, wherry_why());
    _exit(1);
}

static int visitor(const char *path)
{
    struct wherry_lock *lock;
    prctl(PR_SET_NAME, "visitor"); /* as the processes of two programs would have names of their own */
    if (wherry_lock_open(path, NULL, &lock) < 0)
        fail("visitor");
    if (wherry_lock_take(lock, WHERRY_LOCK_SHARED, 0, 0, WHERRY_NOW) != -EAGAIN)
        fail("visitor");
    printf("%s\n", wherry_why());
    fflush(stdout);
    if (wherry_lock_take(lock, WHERRY_LOCK_SHARED, 0, 0, wherry_after(20 * WHERRY_SECOND)) < 0)
        fail("visitor");
    puts("now the visitor has it");
    fflush(stdout);
    wherry_lock_close(lock);
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "./state";
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock_holder who[2];
    struct wherry_lock *lock;
    const wherry_time deadline = wherry_after(10 * WHERRY_SECOND);
    int count, status = 1;
    options.create = true;
    prctl(PR_SET_NAME, "keeper");
    if (wherry_lock_open(path, &options, &lock) < 0 ||
        wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, deadline) < 0)
        fail("keeper");
    pid_t child = fork();
    if (child == 0)
        _exit(visitor(path));
    /* To look is for people: the answer is old when it comes, and nothing may be decided by it.  So there is no call
     * that waits for it either; this looks again until the visitor has begun to wait. */
    do {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        count = wherry_lock_holders(path, who, 2, sizeof who[0], NULL);
    } while (count >= 0 && !(count == 2 && who[1].waiting) && wherry_now() < deadline);
    if (count < 0)
        fail("keeper");
    for (int i = 0; i < count && i < 2; i++)
        printf("%s %s a lock that is %s\n", who[i].command, who[i].waiting ? "waits for" : "has",
               who[i].mode == WHERRY_LOCK_SHARED ? "shared" : "exclusive");
    fflush(stdout);
    wherry_lock_close(lock); /* and with it the lock is given back */
    if (child < 0 || waitpid(child, &status, 0) != child)
        perror("visitor");
    unlink(path);
    return status != 0;
}
