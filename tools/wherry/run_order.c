/* run_order.c - owns the order of units: who is needed comes before who needs it, else as they were written.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

/* "Procfile:3:11" was kept with each name. */
static int nobody(const struct run_plan *plan, const char *where, const char *name)
{
    char names[256] = "";
    for (size_t i = 0; i < plan->count; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "", plan->units[i]->name);
    }
    return complain(TOOL_USAGE, "run: %s: there is no unit %s; the units are %s", where, name, names);
}

static int check_names(const struct run_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct run_list *after = &plan->units[i]->after;
        for (size_t k = 0; k < after->count; k++)
            if (!plan_find(plan, after->items[k], strlen(after->items[k])))
                return nobody(plan, plan->units[i]->after_at.items[k], after->items[k]);
    }
    return 0;
}

/* The first that it needs and that has no place yet, and where that was said. */
static struct run_unit *lacks(const struct run_plan *plan, const struct run_unit *unit, const char **ret_where)
{
    for (size_t k = 0; k < unit->after.count; k++) {
        struct run_unit *other = plan_find(plan, unit->after.items[k], strlen(unit->after.items[k]));
        if (!other->placed) {
            *ret_where = unit->after_at.items[k];
            return other;
        }
    }
    return NULL;
}

/* Nobody without a place has all it needs: whoever is followed long enough comes round again. */
static int say_circle(const struct run_plan *plan, struct run_unit *unit)
{
    char text[512];
    const char *where = "", *unused;
    for (size_t i = 0; i < plan->count; i++)
        unit = lacks(plan, unit, &unused);
    const struct run_unit *first = unit;
    struct run_unit *next = lacks(plan, unit, &where);
    int used = snprintf(text, sizeof text, "%s needs %s", first->name, next->name);
    while (next != first && used < (int)sizeof text) {
        next = lacks(plan, next, &unused);
        used += snprintf(text + used, sizeof text - (size_t)used, ", which needs %s", next->name);
    }
    return complain(TOOL_USAGE, "run: %s: %s: none of them could ever start; take one \"after\" away", where, text);
}

int plan_order(struct run_plan *plan)
{
    const char *unused;
    size_t placed = 0;
    int code = check_names(plan);
    if (code != 0)
        return code;
    struct run_unit **order = calloc(plan->count + 1, sizeof *order);
    if (!order)
        return complain(TOOL_FAILED, "run: no memory");
    while (code == 0 && placed < plan->count) {
        struct run_unit *next = NULL, *stuck = NULL;
        for (size_t i = 0; i < plan->count && !next; i++) {
            struct run_unit *unit = plan->units[i];
            if (!unit->placed && !lacks(plan, unit, &unused))
                next = unit;
            else if (!unit->placed)
                stuck = unit;
        }
        if (next) {
            next->placed = true;
            order[placed++] = next;
        } else {
            code = say_circle(plan, stuck);
        }
    }
    if (code == 0)
        memcpy(plan->units, order, placed * sizeof *order);
    free(order);
    return code;
}
