/* step_internal.h - what step.c and step_events.c share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef STEPKILL_STEP_INTERNAL_H
#define STEPKILL_STEP_INTERNAL_H

#include "step.h"

/* What a wait ended with. */
enum {
    EVENT_GONE = 0,
    EVENT_BREAK,       /* step->thread stands at a breakpoint */
    EVENT_STEP,        /* step->thread made its step */
    EVENT_CALL,        /* step->thread is at the entry or the exit of a system call */
    EVENT_EXEC,        /* another program; step->thread stands at its beginning */
    EVENT_THREAD_GONE, /* step->thread ended, others live */
};

/* Let step->thread go on by PTRACE_CONT, _SINGLESTEP or _SYSCALL, and wait for one of the above; or -errno.  All other
 * threads run, before and after. */
int step__go(struct step *step, int request);

/* Put the breakpoints that are wanted into memory, and take them out. */
int step__plant(struct step *step);
void step__lift(struct step *step);

int step__add_thread(struct step *step, pid_t thread);

/* Wait for the end of the process, which is dying. */
int step__bury(struct step *step);

/* No longer trace any thread; `signal` is sent when all stand, so that no instruction is made before it. */
int step__let_go(struct step *step, int signal);

#endif
