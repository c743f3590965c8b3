/* process/fds.c - owns the order in which a child's descriptors are put into their places.
 *
 * SPDX-License-Identifier: MIT
 *
 * Each number of the child's is written once.  One that is still wanted elsewhere is not written before that is
 * done; what is left then are cycles (2 to 1 and 1 to 2), each broken by one spare number.  No more than one is
 * needed at a time, so that it works with a single free number under RLIMIT_NOFILE. */
#include <errno.h>
#include <stdlib.h>

#include "base/why.h"
#include "process/process.h"

enum { STANDARD = 3 };

size_t wherry__fd_plan_steps(size_t count)
{
    return (count + STANDARD) * 3; /* a step each, one more a cycle, and as much to work in */
}

size_t wherry__fd_plan_kept(size_t count)
{
    return count + STANDARD;
}

static int by_number(const void *a, const void *b)
{
    int left = *(const int *)a, right = *(const int *)b;
    return (left > right) - (left < right);
}

static const struct wherry_process_fd *find(const struct wherry_process_fd *fds, size_t count, int child)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i].child == child)
            return &fds[i];
    return NULL;
}

static int check(const struct wherry_process_fd *fds, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i].child < 0)
            return wherry__fail(EINVAL, "%s: %d is no number for a descriptor of the child", name, fds[i].child);
        if (fds[i].own < WHERRY_PROCESS_CLOSED)
            return wherry__fail(EINVAL, "%s: descriptor %d of the child cannot be %d; -1 is /dev/null, -2 closed", name,
                                fds[i].child, fds[i].own);
        if (find(fds, i, fds[i].child))
            return wherry__fail(EINVAL, "%s: descriptor %d of the child is in the list twice", name, fds[i].child);
    }
    return 0;
}

static void add(struct wherry__fd_plan *plan, enum wherry__fd_action action, int from, int to)
{
    plan->steps[plan->count++] = (struct wherry__fd_step){.action = action, .from = from, .to = to};
}

/* Whether one of the copies that are still to be made comes from this number, other than the one at `but`. */
static bool wanted(const struct wherry__fd_step *copies, size_t count, int number, size_t but)
{
    for (size_t i = 0; i < count; i++)
        if (i != but && copies[i].from == number)
            return true;
    return false;
}

/* Make the copies whose place nobody wants any more; the rest, which stays in the list, are cycles. */
static size_t make_free_ones(struct wherry__fd_plan *plan, struct wherry__fd_step *copies, size_t count)
{
    for (size_t i = 0; i < count;) {
        if (wanted(copies, count, copies[i].to, i)) {
            i++;
            continue;
        }
        add(plan, WHERRY__FD_COPY, copies[i].from, copies[i].to);
        copies[i] = copies[--count];
        i = 0; /* the one it came from may be free now */
    }
    return count;
}

static void order(struct wherry__fd_plan *plan, struct wherry__fd_step *copies, size_t count)
{
    while ((count = make_free_ones(plan, copies, count)) > 0) {
        /* what lies in this one's place goes to the spare number, and everybody who wanted it has it from there; in a
         * cycle each number is wanted once, or a copy of it would have been made above */
        struct wherry__fd_step first = copies[0];
        add(plan, WHERRY__FD_SAVE, first.to, -1);
        add(plan, WHERRY__FD_COPY, first.from, first.to);
        copies[0] = copies[--count];
        int spare = first.to, free = first.from;
        for (bool going = true; going;) { /* round the cycle: who wants to be in the place that has become free? */
            going = false;
            for (size_t i = 0; i < count && !going; i++) {
                if (copies[i].to != free)
                    continue;
                bool last = copies[i].from == spare;
                add(plan, last ? WHERRY__FD_TAKE : WHERRY__FD_COPY, last ? -1 : copies[i].from, free);
                free = copies[i].from;
                copies[i] = copies[--count];
                going = !last;
            }
        }
    }
}

/* What stands at each number of the child's, in their order: 0, 1 and 2 as they are, unless the list says otherwise. */
static struct wherry_process_fd entry_at(const struct wherry__fd_plan *plan, size_t i,
                                         const struct wherry_process_fd *fds, size_t count)
{
    const struct wherry_process_fd *asked = find(fds, count, plan->kept[i]);
    return asked ? *asked : (struct wherry_process_fd){.child = plan->kept[i], .own = plan->kept[i]};
}

static void list_numbers(struct wherry__fd_plan *plan, const struct wherry_process_fd *fds, size_t count)
{
    for (int i = 0; i < STANDARD; i++)
        if (!find(fds, count, i))
            plan->kept[plan->kept_count++] = i;
    for (size_t i = 0; i < count; i++)
        if (fds[i].own != WHERRY_PROCESS_CLOSED)
            plan->kept[plan->kept_count++] = fds[i].child;
    qsort(plan->kept, plan->kept_count, sizeof *plan->kept, by_number);
}

int wherry__fd_plan(struct wherry__fd_plan *plan, const struct wherry_process_fd *fds, size_t count, const char *name)
{
    struct wherry__fd_step *copies = plan->steps + wherry__fd_plan_kept(count) * 2; /* the last third */
    size_t copy_count = 0;
    int result = check(fds, count, name);
    if (result < 0)
        return result;
    plan->count = plan->kept_count = 0;
    list_numbers(plan, fds, count);
    for (size_t i = 0; i < plan->kept_count; i++) {
        struct wherry_process_fd entry = entry_at(plan, i, fds, count);
        if (entry.own >= 0 && entry.own != entry.child)
            copies[copy_count++] = (struct wherry__fd_step){.from = entry.own, .to = entry.child};
    }
    order(plan, copies, copy_count);
    /* these last: what they replace has been copied */
    for (size_t i = 0; i < plan->kept_count; i++) {
        struct wherry_process_fd entry = entry_at(plan, i, fds, count);
        bool by_default = !find(fds, count, entry.child);
        if (entry.own == entry.child)
            add(plan, by_default ? WHERRY__FD_KEEP_OR_NULL : WHERRY__FD_KEEP, entry.own, entry.child);
        else if (entry.own == WHERRY_PROCESS_NULL)
            add(plan, WHERRY__FD_NULL, -1, entry.child);
    }
    return 0;
}
