/* tests/cli/raw_spawn.c recv|send QUERY WHERRY - one end of a socketpair for itself, the other for `wherry recv
 * fd:N?QUERY` or `wherry send fd:N?QUERY`, which it forks and execs.  recv: copies standard input to the pair; send:
 * copies the pair to standard output.  Exits as the child does.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/wait.h>

#include "raw.h"

enum { FAR_END = 7 };

int main(int argc, char **argv)
{
    int ends[2], status;
    if (argc != 4)
        return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        return fail("socketpair");
    pid_t child = fork();
    if (child < 0)
        return fail("fork");
    if (child == 0) {
        char url[128] = "fd:7?";
        strncat(url, argv[2], sizeof url - 8);
        close(ends[0]);
        if (dup2(ends[1], FAR_END) < 0)
            _exit(fail("dup2"));
        if (ends[1] != FAR_END)
            close(ends[1]);
        execl(argv[3], "wherry", argv[1], url, (char *)NULL);
        _exit(fail(argv[3]));
    }
    close(ends[1]);
    int receives = strcmp(argv[1], "recv") == 0; /* the child does */
    if (copy(receives ? 0 : ends[0], receives ? ends[0] : 1) < 0)
        return fail("copy");
    close(ends[0]);
    if (waitpid(child, &status, 0) < 0)
        return fail("waitpid");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
