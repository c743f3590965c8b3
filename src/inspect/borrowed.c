/* inspect/borrowed.c - owns the child that borrows this process's memory; clone(2), CLONE_VM | CLONE_VFORK.
 *
 * SPDX-License-Identifier: MIT
 *
 * It has no signal to send at its end, so that nobody else's wait sees it.  Its exit status carries the answer, because
 * under valgrind and qemu-user it has a copy of the memory.  Its descriptors are a copy, too: with CLONE_FILES,
 * valgrind would refuse.  qemu-user refuses a child without a signal: there it has a fork's. */
#include "inspect/borrowed.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

enum { STACK = 32768, SIGNAL_SET = 8 };

struct call {
    int (*function)(void *);
    void *argument;
};

WHERRY__RAW static int begin(void *argument)
{
    struct call *call = argument;
    wherry__raw(SYS_setsid); /* who kills the caller's process group does not end this halfway */
    wherry__raw(SYS_exit_group, call->function(call->argument));
    return 0;
}

static int run(struct call *call, char *stack_end)
{
    uint64_t all = UINT64_MAX, before = 0;
    int cancel, status = 0;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    wherry__raw(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNAL_SET);
    pid_t pid = wherry__sys.clone(begin, stack_end, CLONE_VM | CLONE_VFORK, call, NULL, NULL);
    if (pid < 0 && errno == EINVAL)
        pid = wherry__sys.clone(begin, stack_end, CLONE_VM | CLONE_VFORK | SIGCHLD, call, NULL, NULL);
    int code = errno;
    wherry__raw(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET);
    while (pid > 0 && waitpid(pid, &status, (int)__WALL) < 0 && errno == EINTR)
        continue;
    pthread_setcancelstate(cancel, &cancel);
    if (pid < 0)
        return -code;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -ESRCH;
}

int wherry__borrowed_child(int (*function)(void *), void *argument)
{
    struct call call = {function, argument};
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = page + (STACK > page ? STACK : page);
    char *memory = wherry__sys.mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    int result = wherry__sys.mprotect(memory, page, PROT_NONE) < 0 ? -errno : 0; /* stacks grow down */
    if (result == 0)
        result = run(&call, memory + size);
    wherry__sys.munmap(memory, size);
    return result;
}
