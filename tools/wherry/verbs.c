/* verbs.c - owns the table of verbs, how it is printed, and the guess at a mistyped one.
 *
 * SPDX-License-Identifier: MIT */
#include "verbs.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct verb *const channels[] = {&verb_send, &verb_recv, &verb_ask,        &verb_echo, &verb_relay,
                                              &verb_pipe, &verb_stat, &verb_transports, NULL};
static const struct verb *const processes[] = {&verb_run, &verb_wait, &verb_kill, &verb_signals, NULL};
static const struct verb *const host[] = {&verb_ls,  &verb_show,  &verb_who, &verb_peers,  &verb_map,
                                          &verb_top, &verb_locks, &verb_gc,  &verb_doctor, NULL};
static const struct verb *const objects[] = {&verb_segment, &verb_sem, &verb_lock, &verb_mk, &verb_rm, NULL};

const struct verb_group verb_groups[] = {
    {"Channels, each named by a URL such as unix:./s, fifo:./q or tcp://:9000", channels},
    {"Processes", processes},
    {"What the host has, and who holds it", host},
    {"Objects, each named as in posix-shm:/name or sysv-sem:0xKEY", objects},
    {NULL, NULL},
};

enum { LONGEST = 15 }; /* bytes of a name that is looked for; no verb is longer */

static const struct verb *each(bool (*is_it)(const struct verb *verb, const char *name), const char *name)
{
    for (const struct verb_group *group = verb_groups; group->title; group++)
        for (size_t i = 0; group->verbs[i]; i++)
            if (is_it(group->verbs[i], name))
                return group->verbs[i];
    return NULL;
}

static bool is_called(const struct verb *verb, const char *name)
{
    return strcmp(verb->name, name) == 0;
}

static bool begins_with(const struct verb *verb, const char *name)
{
    return name[0] && name[1] && strncmp(verb->name, name, strlen(name)) == 0;
}

const struct verb *verb_find(const char *name)
{
    return is_called(&verb_complete, name) ? &verb_complete : each(is_called, name);
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters must be added, removed, replaced or swapped with the next: optimal string alignment.  Both have at
 * most LONGEST. */
static size_t distance(const char *a, const char *b)
{
    size_t rows = strlen(a), columns = strlen(b), cost[LONGEST + 1][LONGEST + 1];
    for (size_t i = 0; i <= rows; i++)
        for (size_t j = 0; j <= columns; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = i + j;
                continue;
            }
            cost[i][j] = least(cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]), least(cost[i - 1][j], cost[i][j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
        }
    return cost[rows][columns];
}

const struct verb *verb_nearest(const char *name)
{
    const struct verb *nearest = each(begins_with, name);
    if (nearest || strlen(name) > LONGEST)
        return nearest;
    /* Beyond half of its letters it is no slip of the finger; of two as near, the one that begins alike. */
    size_t best = 2 * ((strlen(name) + 1) / 2) + 2;
    for (const struct verb_group *group = verb_groups; group->title; group++)
        for (size_t i = 0; group->verbs[i]; i++) {
            size_t far = 2 * distance(name, group->verbs[i]->name) + (name[0] != group->verbs[i]->name[0]);
            if (far < best) {
                best = far;
                nearest = group->verbs[i];
            }
        }
    return nearest;
}

void verbs_print(void)
{
    printf("Usage: wherry VERB [options] [operands]; 'wherry VERB --help' says more of each\n\n");
    for (const struct verb_group *group = verb_groups; group->title; group++) {
        printf("%s:\n", group->title);
        for (size_t i = 0; group->verbs[i]; i++) {
            bool second = i % 2 == 1, last = !group->verbs[i + 1];
            printf(second ? "%-11s%s"
                   : last ? "  %-11s%s"
                          : "  %-11s%-27s",
                   group->verbs[i]->name, group->verbs[i]->summary);
            if (second || last)
                putchar('\n');
        }
    }
    printf("\nEvery verb takes -h, -V, -q, -v, and -w DUR to bound a wait; see wherry(1).\n");
}
