/* step.h - a child process that is taken through a function instruction by instruction, and killed where one likes.
 *
 * SPDX-License-Identifier: MIT
 *
 * ptrace(2) for x86-64 and aarch64, with nothing but libc.  A test that wants to know whether its process may die
 * anywhere within save() forks the process and kills it after 1, 2, 3, ... instructions:
 *
 *     for (uint64_t at = 1;; at++) {
 *         struct step step;
 *         prepare();                                               // the state before
 *         step_fork(&step, worker, argument);                      // worker() calls save()
 *         step_enter(&step, step_address(save), 1);                // its first call
 *         int result = step_advance(&step, at);
 *         if (result == STEP_THERE)
 *             step_kill(&step, SIGKILL);                           // dead, and waited for
 *         step_end(&step);
 *         if (result != STEP_THERE)
 *             break;                                               // it returned within `at` instructions
 *         check(at);                                               // recover, and look
 *     }
 *
 * A child made by fork() has its parent's functions at its parent's addresses, so no symbols are read and nothing is
 * executed: a kill costs a fork and its steps.  The child may be taken through several functions in turn, by further
 * step_enter()s.
 *
 * What is followed: one process, the child of the caller, and all its threads.  Instructions are counted in the thread
 * that entered the function; the others run freely meanwhile.  Processes that it forks are let go, without breakpoints
 * in them. What a signal handler does within the function counts as the function's; a rep-prefixed instruction counts
 * as often as it repeats.
 *
 * Results: STEP_GONE (0) when the process ended of itself and was waited for (`status` says how), another STEP_ word,
 * or
 * -errno.  All waits are without limit unless `give_up` is set.  A struct step is used by the thread that started it,
 * as ptrace(2) demands.  While a process with several threads is waited for, a SIGCHLD handler must not wait for its
 * threads. */
#ifndef STEPKILL_STEP_H
#define STEPKILL_STEP_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { STEP_BREAKS = 8, STEP_CODE = 4 };

enum step_result {
    STEP_GONE = 0, /* the process ended; waited for */
    STEP_THERE,    /* at the breakpoint, or all steps were made */
    STEP_RETURNED, /* the function returned: the instruction after its call is next */
    STEP_LEFT,     /* the thread ended within the function; the process lives */
    STEP_EXECED,   /* the process executed another program: addresses mean nothing any more */
};

enum step_state {
    STEP_IS_GONE,  /* there is no process */
    STEP_IS_TRACED, /* stands, until the next call */
    STEP_IS_LOOSE, /* let go, by a signal other than SIGKILL: runs, or is stopped by SIGSTOP */
};

struct step_break {
    uintptr_t address; /* kept when it is not wanted any more: a thread may just have hit it */
    bool wanted, planted;
    unsigned char code[STEP_CODE]; /* what was there */
};

struct step {
    /* to read */
    pid_t pid;
    pid_t thread; /* the one that is taken along; 0: it ended */
    enum step_state state;
    int status;     /* of waitpid(2), once the state is STEP_IS_GONE */
    uint64_t steps; /* made since step_enter(): instructions, or stops at system calls */

    /* to set: when this becomes true, a wait that a signal interrupts ends with -ECANCELED; NULL: wait on */
    const volatile sig_atomic_t *give_up;

    /* not for callers */
    struct step_break breaks[STEP_BREAKS];
    uintptr_t return_address, entry_sp; /* of the function that was entered */
    uint64_t planted_for;               /* vfork()s whose children borrow the memory */
    bool crowded; /* there may be threads that are not in the list: they were made as the process was killed */
    pid_t *threads;
    size_t thread_count, thread_room;
};

/* The address of a function of this process.  Of a function in a shared library it may be that of a stub in the caller,
 * where only the caller's calls come by. */
#define step_address(function_) ((uintptr_t)(function_))

/* ---- begin ------------------------------------------------------------------------------------------------------- */

/* Fork a child that runs function(argument) and then _exit(0)s; it stands before its first instruction.  Flush stdio
 * before. */
int step_fork(struct step *step, void (*function)(void *argument), void *argument);

/* The same for a child that the caller forked: it calls step_submit() where it wants to be taken over, and continues
 * there. */
int step_start(struct step *step, pid_t pid);

/* In the child: be traced by the parent, which waits in step_start(); die with it.  0 or -errno. */
int step_submit(void);

/* ---- go on ------------------------------------------------------------------------------------------------------- */

/* Run to an address.  STEP_THERE, STEP_EXECED, STEP_GONE.  Standing there already, run to the next time. */
int step_run_to(struct step *step, uintptr_t address);

/* Run to the n-th entry (from 1) of the function that begins at the address, and count from there: `steps` is 0.
 * STEP_THERE, STEP_EXECED, STEP_GONE. */
int step_enter(struct step *step, uintptr_t address, uint64_t n);

/* Make up to n steps of an instruction each, within the function that was entered.  STEP_THERE when they are made and
 * the function has not returned; STEP_RETURNED, STEP_LEFT, STEP_EXECED, STEP_GONE.  `steps` counts. */
int step_advance(struct step *step, uint64_t n);

/* The same with steps from one entry or exit of a system call to the next; the code between them runs at full speed. */
int step_advance_calls(struct step *step, uint64_t n);

/* Step until the function returns: `steps` says in how many instructions.  STEP_RETURNED, or as step_advance(). */
int step_until_return(struct step *step);

/* The address of the next instruction; 0 when nothing stands. */
uintptr_t step_pc(const struct step *step);

/* Breakpoints of one's own, for step_run(), which runs to any of them: step_pc() says which.  The memory of the process
 * has them only while it runs.  -ENOSPC: there are STEP_BREAKS.  They are gone after STEP_EXECED. */
int step_break(struct step *step, uintptr_t address);
void step_unbreak(struct step *step, uintptr_t address);
int step_run(struct step *step);

/* ---- end --------------------------------------------------------------------------------------------------------- */

/* Send a signal, before the next instruction.
 *   SIGKILL  the process is dead and waited for.
 *   SIGSTOP  it is stopped, and no longer traced: as anybody would see a stopped process.  step_finish() continues it.
 *   other    it is no longer traced; waits for its end.
 * Threads that run meanwhile get as far as they get.  0 or -errno; `status` has how it ended. */
int step_kill(struct step *step, int signal);

/* Let it run, after SIGCONT if SIGSTOP stopped it, and wait for its end.  0 or -errno. */
int step_finish(struct step *step);

/* Kill and wait for what is left, and give memory back.  Always to be called last; takes what never started. */
void step_end(struct step *step);

#endif
