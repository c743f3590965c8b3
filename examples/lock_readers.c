/* examples/lock_readers.c [FILE] - readers lock together, a writer alone.
 *
 * SPDX-License-Identifier: MIT
 *
 * Any number may have a shared lock at a time, as long as nobody has an exclusive one; and an exclusive one is given to
 * one alone.  So many read at once what nobody changes meanwhile, and nobody sees a change half done. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static _Noreturn void fail(void)
{
    fprintf(stderr, "%s\n", wherry_why());
    _exit(1);
}

/* In another process: try to get the lock, without waiting, and say what came of it. */
static void meanwhile(const char *path, enum wherry_lock_mode mode)
{
    fflush(stdout); /* or the child would print it again */
    pid_t pid = fork();
    if (pid == 0) {
        struct wherry_lock *lock;
        if (wherry_lock_open(path, NULL, &lock) < 0)
            fail();
        int result = wherry_lock_take(lock, mode, 0, 0, WHERRY_NOW);
        if (result < 0 && result != -EAGAIN) /* -EAGAIN: somebody has a lock that does not go with this one */
            fail();
        printf("  another %s %s\n", mode == WHERRY_LOCK_SHARED ? "reader" : "writer",
               result == 0 ? "comes in" : "has to wait");
        fflush(stdout);
        wherry_lock_close(lock);
        _exit(0);
    }
    int status = 1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        exit(1);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "./state";
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    options.create = true;
    if (wherry_lock_open(path, &options, &lock) < 0)
        fail();

    if (wherry_lock_take(lock, WHERRY_LOCK_SHARED, 0, 0, wherry_after(5 * WHERRY_SECOND)) < 0)
        fail();
    puts("somebody reads");
    meanwhile(path, WHERRY_LOCK_SHARED);
    meanwhile(path, WHERRY_LOCK_EXCLUSIVE);

    /* To write what it has read it asks for more.  No writer comes between; if two did this at once, each would wait
     * for the other to stop reading, and one of them would be told so: -EDEADLK. */
    if (wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, wherry_after(5 * WHERRY_SECOND)) < 0)
        fail();
    puts("the same one writes");
    meanwhile(path, WHERRY_LOCK_SHARED);
    meanwhile(path, WHERRY_LOCK_EXCLUSIVE);

    wherry_lock_release(lock, 0, 0);
    puts("nobody is there");
    meanwhile(path, WHERRY_LOCK_EXCLUSIVE);
    wherry_lock_close(lock);
    unlink(path);
    return 0;
}
