/* step_arch.h - owns what differs between processors: registers, breakpoints, return addresses.
 *
 * SPDX-License-Identifier: MIT
 *
 * Another processor is one more block here. */
#ifndef STEPKILL_STEP_ARCH_H
#define STEPKILL_STEP_ARCH_H

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

#if defined(__x86_64__)

enum { ARCH_ELF = EM_X86_64 };
static const unsigned char arch_break[] = {0xcc}; /* int3 */
enum { ARCH_BREAK_SKIP = 1 };                     /* the pc stands behind a breakpoint that was hit */

struct arch_regs {
    struct user_regs_struct user;
};

static inline uintptr_t arch_pc(const struct arch_regs *regs)
{
    return regs->user.rip;
}

static inline void arch_set_pc(struct arch_regs *regs, uintptr_t pc)
{
    regs->user.rip = pc;
}

static inline uintptr_t arch_sp(const struct arch_regs *regs)
{
    return regs->user.rsp;
}

/* Where the function returns to whose first instruction is next. */
static inline int arch_return(pid_t thread, const struct arch_regs *regs, uintptr_t *ret_address)
{
    errno = 0;
    long word = ptrace(PTRACE_PEEKDATA, thread, (void *)arch_sp(regs), NULL);
    if (errno != 0)
        return -errno;
    *ret_address = (uintptr_t)word;
    return 0;
}

/* Whether a stack pointer is that of the caller: the return takes the return address from the stack. */
static inline bool arch_has_returned(uintptr_t sp, uintptr_t sp_at_entry)
{
    return sp > sp_at_entry;
}

/* The program counter alone, which is asked for after each instruction. */
static inline int arch_read_pc(pid_t thread, uintptr_t *ret_pc)
{
    errno = 0;
    long pc = ptrace(PTRACE_PEEKUSER, thread, (void *)offsetof(struct user_regs_struct, rip), NULL);
    if (errno != 0)
        return -errno;
    *ret_pc = (uintptr_t)pc;
    return 0;
}

#elif defined(__aarch64__)

enum { ARCH_ELF = EM_AARCH64 };
static const unsigned char arch_break[] = {0x00, 0x00, 0x20, 0xd4}; /* brk #0 */
enum { ARCH_BREAK_SKIP = 0 };                                       /* the pc stands on a breakpoint that was hit */

struct arch_regs {
    struct user_regs_struct user;
};

static inline uintptr_t arch_pc(const struct arch_regs *regs)
{
    return regs->user.pc;
}

static inline void arch_set_pc(struct arch_regs *regs, uintptr_t pc)
{
    regs->user.pc = pc;
}

static inline uintptr_t arch_sp(const struct arch_regs *regs)
{
    return regs->user.sp;
}

static inline int arch_return(pid_t thread, const struct arch_regs *regs, uintptr_t *ret_address)
{
    (void)thread;
    *ret_address = regs->user.regs[30]; /* not signed yet: that is the function's first instruction */
    return 0;
}

static inline bool arch_has_returned(uintptr_t sp, uintptr_t sp_at_entry)
{
    return sp >= sp_at_entry;
}

#else
#error "stepkill knows x86-64 and aarch64: step_arch.h wants a block for this processor"
#endif

static inline int arch_read(pid_t thread, struct arch_regs *ret_regs)
{
    struct iovec place = {.iov_base = &ret_regs->user, .iov_len = sizeof ret_regs->user};
    return ptrace(PTRACE_GETREGSET, thread, (void *)NT_PRSTATUS, &place) == 0 ? 0 : -errno;
}

static inline int arch_write(pid_t thread, struct arch_regs *regs)
{
    struct iovec place = {.iov_base = &regs->user, .iov_len = sizeof regs->user};
    return ptrace(PTRACE_SETREGSET, thread, (void *)NT_PRSTATUS, &place) == 0 ? 0 : -errno;
}

#if defined(__aarch64__)
static inline int arch_read_pc(pid_t thread, uintptr_t *ret_pc)
{
    struct arch_regs regs;
    int result = arch_read(thread, &regs);
    if (result == 0)
        *ret_pc = arch_pc(&regs);
    return result;
}
#endif

#endif
