/* examples/guarded_set.c - a semaphore set guards two things at once; who is killed holding them gives them back.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever copies a tape needs a drive and a buffer.  If one process takes the drive first and another the buffer, each
 * may wait for what the other has, for ever.  A System V set has several counters, and one operation takes from all of
 * them or from none.  With WHERRY_UNDO the kernel takes the change back when the process ends, however it ends. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/semaphore.h>

enum { DRIVE, BUFFER };

static const struct wherry_semaphore_operation take[] = {{DRIVE, -1, WHERRY_UNDO}, {BUFFER, -1, WHERRY_UNDO}};
static const struct wherry_semaphore_operation give[] = {{DRIVE, +1, WHERRY_UNDO}, {BUFFER, +1, WHERRY_UNDO}};
static const struct wherry_semaphore_operation wait_until_taken[] = {{DRIVE, 0, 0}}; /* 0: wait for nothing left */

static int holder(struct wherry_semaphore_set *set)
{
    if (wherry_semaphore_set_operate(set, take, 2, wherry_after(5 * WHERRY_SECOND)) < 0)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    for (;;)
        pause(); /* killed here, it has no chance to give anything back */
}

static int guard(struct wherry_semaphore_set *set, pid_t child)
{
    uint16_t left[2];
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND);
    if (wherry_semaphore_set_operate(set, wait_until_taken, 1, deadline) < 0 ||
        wherry_semaphore_set_values(set, left, 2) < 0)
        return -1;
    printf("the child has both; left: drives %d, buffers %d\n", left[DRIVE], left[BUFFER]);
    if (wherry_semaphore_set_operate(set, take, 2, WHERRY_NOW) != -EAGAIN)
        return -1;
    printf("not to be had now, so the buffer that is left is not taken either\n");

    kill(child, SIGKILL);
    if (wherry_semaphore_set_operate(set, take, 2, deadline) < 0) /* waits until the kernel has given them back */
        return -1;
    printf("the child is killed, and we have both\n");
    if (wherry_semaphore_set_operate(set, give, 2, WHERRY_NOW) < 0 || wherry_semaphore_set_values(set, left, 2) < 0)
        return -1;
    printf("given back; left: drives %d, buffers %d\n", left[DRIVE], left[BUFFER]);
    return 0;
}

int main(void)
{
    const char *name = "sysv-sem:.?id=g"; /* the key is made of this directory and a letter, as ftok(3) does */
    const uint16_t values[] = {[DRIVE] = 1, [BUFFER] = 2};
    struct wherry_semaphore_set_options options = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set;

    options.create = true;
    options.values = values; /* nobody sees the set before it has them */
    if (wherry_semaphore_set_open(name, 2, &options, wherry_after(5 * WHERRY_SECOND), &set) < 0)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    fflush(stdout); /* what is not written yet would be written by the child, too */
    pid_t child = fork();
    if (child == 0)
        _exit(holder(set));
    int result = child < 0 ? -1 : guard(set, child);
    if (result < 0)
        fprintf(stderr, "%s\n", child < 0 ? "no child: fork failed" : wherry_why());
    if (child > 0)
        kill(child, SIGKILL), waitpid(child, NULL, 0);
    wherry_semaphore_set_close(set);
    wherry_semaphore_set_remove(name); /* a set stays until it is removed */
    return result < 0;
}
