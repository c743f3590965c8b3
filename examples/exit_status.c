/* examples/exit_status.c - what becomes of forked children: exit statuses, a signal, and one that does not end.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child's last word is its exit status, 0 to 255, or the signal that killed it.  The kernel keeps that until the
 * parent asks; so long the child is a zombie, and its number is not given to another.  wait(2) has no deadline; here
 * the child is held by a descriptor, and waited for until a deadline. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <wherry/process.h>

/* What the children do.  _exit, not exit: what the parent has printed and not yet written would come out twice. */
static _Noreturn void live(int number)
{
    switch (number) {
    case 0:
        _exit(0); /* all went well */
    case 1:
        _exit(3); /* it did not, and 3 says why; of a larger number the parent would see 8 bits */
    case 2:
        kill(getpid(), SIGKILL); /* as by the kernel when memory runs out */
    }
    for (;;)
        pause(); /* waits for what never comes */
}

/* 0, or -errno: of fork(2), or of a call that wherry_why() tells of. */
static int watch(int number)
{
    struct wherry_process *child;
    struct wherry_exit how;
    char text[64];
    pid_t pid = fork();
    if (pid == 0)
        live(number);
    if (pid < 0)
        return perror("fork"), -1;
    int result = wherry_process_open(pid, 0, &child); /* nobody else can have the number: it is not waited for yet */
    if (result < 0)
        return fprintf(stderr, "%s\n", wherry_why()), kill(pid, SIGKILL), result;
    result = wherry_process_wait(child, wherry_after((number == 3 ? 0 : 5) * WHERRY_SECOND), &how);
    if (result == -ETIMEDOUT) {
        printf("child %d: runs still, and is sent SIGTERM\n", number);
        wherry_process_kill(child, SIGTERM);
        result = wherry_process_wait(child, wherry_after(5 * WHERRY_SECOND), &how);
    }
    if (result == 0)
        printf("child %d: %s, in a shell $? is %d\n", number, wherry_exit_text(&how, text, sizeof text),
               wherry_exit_status(&how));
    else
        fprintf(stderr, "%s\n", wherry_why());
    wherry_process_close(child);
    return result;
}

int main(void)
{
    for (int number = 0; number < 4; number++)
        if (watch(number) < 0)
            return 1;
    return 0;
}
