/* inspect/hidepid.c - owns whether /proc leaves processes out of its list; proc(5), hidepid.
 *
 * SPDX-License-Identifier: MIT
 *
 * With "noaccess" they are in the list, and refuse.  CAP_SYS_PTRACE is not asked for: a security module may refuse who
 * has it, and then the kernel leaves out those whom it refuses. */
#include "inspect/hidepid.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inspect/snapshot.h"

/* "22 27 0:21 / /proc rw,relatime - proc proc rw,gid=4,hidepid=invisible" */
void wherry__hidepid_line(void *given, char *line)
{
    struct hidepid *hidepid = given;
    const char *dash = strstr(line, " - proc "), *option = dash ? strstr(dash, "hidepid=") : NULL,
               *group = dash ? strstr(dash, "gid=") : NULL;
    if (!dash || !strstr(line, " / /proc "))
        return;
    *hidepid = (struct hidepid){.value = ""};
    if (option)
        sscanf(option + strlen("hidepid="), "%31[a-z0-9]", hidepid->value);
    if (group)
        hidepid->group = (gid_t)strtoul(group + strlen("gid="), NULL, 10);
}

bool wherry__hidepid_is_off(const struct hidepid *hidepid)
{
    return !hidepid->value[0] || strcmp(hidepid->value, "0") == 0 || strcmp(hidepid->value, "off") == 0;
}

static bool is_member(gid_t group)
{
    gid_t *list = NULL;
    int count = getgroups(0, NULL);
    bool found = getegid() == group;
    if (count > 0 && (list = calloc((size_t)count, sizeof *list)))
        count = getgroups(count, list);
    for (int i = 0; list && i < count; i++)
        found |= list[i] == group;
    free(list);
    return found;
}

bool wherry__hidepid_hides(struct snapshot *snapshot)
{
    struct hidepid hidepid = {.value = ""};
    char *text, *rest;
    size_t size;
    if (wherry__proc_read_all(snapshot, AT_FDCWD, "/proc/self/mountinfo", &text, &size) < 0)
        return true;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        wherry__hidepid_line(&hidepid, line);
    if (wherry__hidepid_is_off(&hidepid) || strcmp(hidepid.value, "noaccess") == 0 || strcmp(hidepid.value, "1") == 0)
        return false;
    bool by_trace = strcmp(hidepid.value, "ptraceable") == 0 || strcmp(hidepid.value, "4") == 0;
    return by_trace || !is_member(hidepid.group);
}
