/* tests/crash/ring_points.c - owns finding the instructions of a call, and going to one of them.
 *
 * SPDX-License-Identifier: MIT */
#include "crash/ring_points.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stepkill/step_arch.h"

/* The linker's: where this program's code is. */
extern const char __executable_start[], etext[];

static bool is_own(uintptr_t pc)
{
    return pc >= (uintptr_t)__executable_start && pc < (uintptr_t)etext;
}

static bool has_returned(const struct step *step)
{
    struct arch_regs regs;
    return step_pc(step) == step->return_address && arch_read(step->thread, &regs) == 0 &&
           arch_has_returned(arch_sp(&regs), step->entry_sp);
}

/* Out of libc again, to whom it returns.  Callbacks into this program run through. */
static int leave_libc(struct step *step)
{
    struct arch_regs regs;
    uintptr_t back = 0, sp;
    int result = arch_read(step->thread, &regs);
    if (result == 0)
        result = arch_return(step->thread, &regs, &back);
    if (result < 0)
        return result;
    if (!is_own(back))
        return -ENOEXEC; /* lazy binding: link with -z now */
    sp = arch_sp(&regs);
    do { /* a callback may pass by the same instruction, deeper in */
        result = step_run_to(step, back);
        if (result != STEP_THERE)
            return result;
        arch_read(step->thread, &regs);
    } while (!arch_has_returned(arch_sp(&regs), sp));
    return has_returned(step) ? STEP_RETURNED : STEP_THERE;
}

int ring_points_step(struct step *step)
{
    int result = step_advance(step, 1);
    while (result == STEP_THERE && !is_own(step_pc(step)))
        result = leave_libc(step);
    return result;
}

/* ---- rounds ---- */

/* How often each instruction was come by: a table by offset, grown to the text's size. */
static uint32_t *rounds_of(uint32_t **table, uintptr_t pc)
{
    size_t size = (size_t)(etext - __executable_start);
    if (!*table)
        *table = calloc(size, sizeof **table);
    return *table ? &(*table)[pc - (uintptr_t)__executable_start] : NULL;
}

static int add(struct ring_points *points, uintptr_t pc, uint32_t round)
{
    if (points->count == points->room) {
        size_t room = points->room ? 2 * points->room : 512;
        void *more = realloc(points->points, room * sizeof *points->points);
        if (!more)
            return -ENOMEM;
        points->points = more;
        points->room = room;
    }
    points->points[points->count++] = (struct ring_point){.pc = pc, .round = round};
    return 0;
}

int ring_points_find(struct ring_points *points, struct step *step, uint32_t rounds, uint64_t most)
{
    uint32_t *table = NULL;
    int result = STEP_THERE;
    *points = (struct ring_points){0};
    while (result == STEP_THERE && points->instructions < most) {
        uintptr_t pc = step_pc(step);
        uint32_t *round = rounds_of(&table, pc);
        if (!round || (++*round <= rounds && add(points, pc, *round) < 0)) {
            result = -ENOMEM;
            break;
        }
        points->instructions++;
        result = ring_points_step(step);
    }
    free(table);
    points->cut = result == STEP_THERE;
    if (result == STEP_RETURNED)
        result = add(points, 0, 1);
    return result == STEP_THERE ? 0 : result;
}

void ring_points_fini(struct ring_points *points)
{
    free(points->points);
    *points = (struct ring_points){0};
}

int ring_points_go(struct step *step, const struct ring_point *point)
{
    int result = STEP_THERE;
    uintptr_t back = step->return_address, wanted = point->pc ? point->pc : back;
    uint32_t left = point->round;
    if (step_pc(step) == wanted && --left == 0)
        return STEP_THERE;
    if ((result = step_break(step, wanted)) < 0 || (result = step_break(step, back)) < 0)
        return result;
    for (;;) {
        result = step_run(step);
        if (result != STEP_THERE)
            break;
        if (has_returned(step)) {
            result = point->pc ? STEP_RETURNED : STEP_THERE;
            break;
        }
        if (step_pc(step) == point->pc && --left == 0)
            break;
    }
    step_unbreak(step, wanted);
    step_unbreak(step, back);
    return result;
}

const char *ring_point_name(const struct ring_point *point)
{
    static char name[48];
    if (point->pc == 0)
        return "return";
    snprintf(name, sizeof name, "+0x%zx round %u", (size_t)(point->pc - (uintptr_t)__executable_start), point->round);
    return name;
}
