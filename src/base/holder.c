/* base/holder.c - owns the reading of /proc for sentences: /proc/locks, /proc/net/unix, /proc/PID/fd; proc(5).
 *
 * SPDX-License-Identifier: MIT */
#include "base/holder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

pid_t wherry__holder_of_flock(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return 0;
    FILE *file = fopen("/proc/locks", "re");
    if (!file)
        return 0;
    char line[256];
    pid_t holder = 0;
    while (!holder && fgets(line, sizeof line, file)) {
        char kind[16];
        int pid;
        unsigned major, minor;
        unsigned long inode;
        if (sscanf(line, "%*d: %15s %*s %*s %d %x:%x:%lu", kind, &pid, &major, &minor, &inode) == 5 &&
            strcmp(kind, "FLOCK") == 0 && inode == status.st_ino && makedev(major, minor) == status.st_dev)
            holder = pid > 0 ? pid : 0;
    }
    fclose(file);
    return holder;
}

static unsigned long inode_of_abstract(const char *name)
{
    FILE *file = fopen("/proc/net/unix", "re");
    char line[512];
    unsigned long found = 0;
    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned long inode;
        int at = 0;
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %lu %n", &inode, &at) != 1 || at == 0)
            continue;
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line + at, name) == 0)
            found = inode;
    }
    if (file)
        fclose(file);
    return found;
}

static bool has_descriptor(const char *pid, const char *target)
{
    char path[64], link[64];
    snprintf(path, sizeof path, "/proc/%.20s/fd", pid);
    DIR *directory = opendir(path);
    bool found = false;
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));) {
        ssize_t size = readlinkat(dirfd(directory), entry->d_name, link, sizeof link - 1);
        link[size > 0 ? size : 0] = '\0';
        found = strcmp(link, target) == 0;
    }
    if (directory)
        closedir(directory);
    return found;
}

pid_t wherry__holder_of_abstract(const char *name)
{
    unsigned long inode = inode_of_abstract(name);
    char target[64];
    snprintf(target, sizeof target, "socket:[%lu]", inode);
    DIR *directory = inode ? opendir("/proc") : NULL;
    pid_t holder = 0;
    for (struct dirent *entry; directory && !holder && (entry = readdir(directory));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && has_descriptor(entry->d_name, target))
            holder = (pid_t)atoi(entry->d_name);
    if (directory)
        closedir(directory);
    return holder;
}
