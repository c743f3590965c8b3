/* bench/common.c - time, cores, memory, messages that can be checked, numbers.
 *
 * SPDX-License-Identifier: MIT */
#include "common.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static void *map(size_t size, int flags)
{
    void *memory = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        die("no memory for %zu bytes", size);
    return memory;
}

void *need_memory(size_t size)
{
    return map(size, MAP_PRIVATE);
}

void *need_shared(size_t size)
{
    return map(size, MAP_SHARED);
}

void drop_memory(void *memory, size_t size)
{
    munmap(memory, size ? size : 1);
}

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The cores this program was given, asked once: a pinned child would see only its own. */
static const cpu_set_t *allowed_cores(void)
{
    static cpu_set_t cores;
    static bool asked;
    if (!asked) {
        if (sched_getaffinity(0, sizeof cores, &cores) < 0)
            die("which cores may be used is not known");
        asked = true;
    }
    return &cores;
}

int core_count(void)
{
    return CPU_COUNT(allowed_cores());
}

void pin_to_core(int core)
{
    if (core < 0)
        return;
    int left = core % core_count();
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, allowed_cores()) || left-- > 0)
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) < 0)
            die("cannot stay on core %zu", cpu);
        return;
    }
}

void spin_once(void)
{
    if (core_count() == 1)
        sched_yield();
#if defined(__x86_64__) || defined(__i386__)
    else
        __builtin_ia32_pause();
#endif
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

void sort_numbers(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
}

double quantile(double *values, size_t count, double q)
{
    if (count == 0)
        return 0;
    size_t at = (size_t)(q * (double)(count - 1) + 0.5);
    return values[at];
}

double median(double *values, size_t count)
{
    if (count == 0)
        return 0;
    sort_numbers(values, count);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

void pattern_fill(unsigned char *data, size_t size)
{
    uint64_t state = 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        data[i] = (unsigned char)(state >> 56);
    }
}
