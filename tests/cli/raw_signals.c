/* tests/cli/raw_signals.c NAME... - blocks these signals (a number each), prints "ready", and for each that comes a
 * line: its number, whether kill(2) or sigqueue(3) sent it, and sival_int.  SIGTERM, when it is not one of them, ends
 * it.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "raw.h"

int main(int argc, char **argv)
{
    sigset_t set;
    siginfo_t info;
    sigemptyset(&set);
    for (int i = 1; i < argc; i++)
        sigaddset(&set, atoi(argv[i]));
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return fail("sigprocmask");
    dprintf(1, "ready\n");
    while (sigwaitinfo(&set, &info) >= 0)
        dprintf(1, "%d %s %d\n", info.si_signo, info.si_code == SI_QUEUE ? "sigqueue" : "kill",
                info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
    return fail("sigwaitinfo");
}
