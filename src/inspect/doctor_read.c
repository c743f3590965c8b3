/* inspect/doctor_read.c - owns the reading of what the doctor looks at: sysctls, lines, limits of control groups.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/doctor.h"
#include "inspect/snapshot.h"

const char *wherry__doctor_root = "";

bool wherry__doctor_path(const char *path, char full[static DOCTOR_PATH])
{
    return snprintf(full, DOCTOR_PATH, "%s%s", wherry__doctor_root, path) < DOCTOR_PATH;
}

bool wherry__doctor_read(const char *path, char *text, size_t size)
{
    char full[DOCTOR_PATH];
    return wherry__doctor_path(path, full) && wherry__proc_read(AT_FDCWD, full, text, size) > 0;
}

/* One number at *at, which moves behind it. */
static bool take_number(const char **at, uint64_t *ret_number)
{
    char *end;
    *at += strspn(*at, " \t\n");
    if (strncmp(*at, "max", 3) == 0) {
        *ret_number = UINT64_MAX;
        *at += 3;
        return true;
    }
    if (**at < '0' || **at > '9')
        return false;
    *ret_number = strtoull(*at, &end, 10);
    *at = end;
    return true;
}

bool wherry__doctor_sysctl(const char *name, uint64_t *ret_numbers, size_t count)
{
    char path[128] = "/proc/sys/", text[256];
    size_t length = strlen(path);
    for (const char *at = name; *at && length < sizeof path - 1; at++)
        path[length++] = *at == '.' ? '/' : *at;
    path[length] = 0;
    const char *at = text;
    if (!wherry__doctor_read(path, text, sizeof text))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!take_number(&at, &ret_numbers[i]))
            return false;
    return true;
}

void wherry__doctor_lines(const char *path, void (*row)(void *context, char *line), void *context)
{
    char full[DOCTOR_PATH], text[4096], line[1000];
    size_t length = 0;
    ssize_t got;
    int fd = wherry__doctor_path(path, full) ? wherry__sys.open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) : -1;
    if (fd < 0)
        return;
    while ((got = wherry__sys.read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < got; i++) {
            if (text[i] != '\n') {
                line[length] = text[i];
                length += length < sizeof line - 1;
                continue;
            }
            line[length] = 0;
            row(context, line);
            length = 0;
        }
    wherry__sys.close(fd);
    line[length] = 0;
    if (length)
        row(context, line);
}

/* ---- control groups ---- */

struct group {
    const char *controller;
    char path[1000]; /* "" until it is found */
    bool version_1;
};

/* "0::/user.slice" or "4:memory:/user.slice"; the latter counts where both are. */
static void find_group(void *context, char *line)
{
    struct group *group = context;
    char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
    if (!path || path[1] != '/')
        return;
    *list++ = *path++ = 0;
    bool is_first = false;
    char *rest;
    for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        is_first |= strcmp(word, group->controller) == 0;
    if (is_first || (strcmp(line, "0") == 0 && !group->version_1)) {
        snprintf(group->path, sizeof group->path, "%s", path);
        group->version_1 = is_first;
    }
}

/* The number in a file of the group, or of one above it. */
static bool group_number(const struct group *group, const char *file, uint64_t *ret_number)
{
    char path[1200], text[64];
    const char *at = text;
    snprintf(path, sizeof path, "/sys/fs/cgroup%s%s%s/%s", group->version_1 ? "/" : "",
             group->version_1 ? group->controller : "", group->path[1] ? group->path : "", file);
    return wherry__doctor_read(path, text, sizeof text) && take_number(&at, ret_number);
}

uint64_t wherry__doctor_group_limit(const char *controller, const char *file, const char *before_2, const char *now,
                                    uint64_t *ret_now)
{
    struct group group = {.controller = controller};
    uint64_t least = UINT64_MAX, number;
    wherry__doctor_lines("/proc/self/cgroup", find_group, &group);
    for (char *end = group.path; group.path[0]; *end = 0) {
        if (group_number(&group, group.version_1 ? before_2 : file, &number) && number < least) {
            least = number;
            *ret_now = 0;
            if (now)
                group_number(&group, now, ret_now);
        }
        if (!group.path[1])
            break;
        end = strrchr(group.path, '/');
        end += end == group.path; /* the root's is "/" */
    }
    return least;
}
