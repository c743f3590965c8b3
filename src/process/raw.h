/* process/raw.h - system calls without libc: nothing is touched but registers.
 *
 * SPDX-License-Identifier: MIT
 *
 * A child that borrows its parent's memory has its thread-local storage, too, errno with it, while the parent's
 * thread may run.  Returns what the kernel does: a value or -errno. */
#ifndef WHERRY_PROCESS_RAW_H
#define WHERRY_PROCESS_RAW_H

#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What runs in such a child must leave no trace in the sanitizers' shadow of the memory. */
#if defined(__clang__)
#define WHERRY__RAW __attribute__((no_sanitize("address", "thread", "undefined", "memory"), noinline))
#else
#define WHERRY__RAW __attribute__((no_sanitize("address"), no_sanitize("thread"), no_sanitize("undefined"), noinline))
#endif

#if defined(__x86_64__) && !defined(__ILP32__)
WHERRY__RAW static long wherry__raw6(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
WHERRY__RAW static long wherry__raw6(long number, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
/* Elsewhere by libc, and errno is the parent's: read at once, so that the two would have to fail together. */
WHERRY__RAW static long wherry__raw6(long number, long a, long b, long c, long d, long e, long f)
{
    long result = syscall(number, a, b, c, d, e, f);
    return result == -1 ? -errno : result;
}
#endif

#define wherry__raw_pick(n, a, b, c, d, e, f, ...)                                                                     \
    wherry__raw6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* wherry__raw(SYS_name, up to six arguments) */
#define wherry__raw(...) wherry__raw_pick(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

#endif
