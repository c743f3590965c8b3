/* base/holder.c - owns the reading of /proc/locks; proc_locks(5).
 *
 * SPDX-License-Identifier: MIT */
#include "base/holder.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

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
