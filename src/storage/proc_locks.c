/* storage/proc_locks.c - owns the reading of /proc/locks, /proc/PID/fdinfo and /proc/PID/stat; proc(5).
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "storage/holders.h"

/* What all kinds have behind the number: "POSIX  ADVISORY  WRITE 4711 08:01:1234 0 EOF", "LEASE  ACTIVE  READ ...". */
static bool parse_kind(struct wherry__lock_line *line, const char *kind, const char *mode)
{
    static const char *const kinds[] = {
        [WHERRY_LOCK_OFD] = "OFDLCK", [WHERRY_LOCK_POSIX] = "POSIX", [WHERRY_LOCK_FLOCK] = "FLOCK"};
    line->holder.mode = strcmp(mode, "WRITE") == 0 ? WHERRY_LOCK_EXCLUSIVE : WHERRY_LOCK_SHARED;
    line->lease = strcmp(kind, "LEASE") == 0 || strcmp(kind, "DELEG") == 0;
    for (unsigned i = 0; i <= WHERRY_LOCK_FLOCK; i++)
        if (strcmp(kind, kinds[i]) == 0) {
            line->holder.kind = (enum wherry_lock_kind)i;
            return true;
        }
    return line->lease;
}

/* Who waits for a lease to be given back has no file yet: "<none>:0". */
bool wherry__lock_line_parse(const char *text, struct wherry__lock_line *ret_line)
{
    struct wherry__lock_line line = {.holder = {.pid = 0}};
    char kind[16], mode[16], end[24] = "EOF", *rest;
    unsigned major = 0, minor = 0;
    unsigned long inode = 0;
    unsigned long long start = 0;
    int pid, at = 0;
    line.number = strtoul(text, &rest, 10);
    if (*rest != ':')
        return false;
    rest += 1 + strspn(rest + 1, " ");
    line.holder.waiting = strncmp(rest, "->", 2) == 0;
    rest += line.holder.waiting ? 2 : 0;
    if (sscanf(rest, "%15s %*s %15s %d %n", kind, mode, &pid, &at) != 3 || !at || !parse_kind(&line, kind, mode))
        return false;
    if (strncmp(rest + at, "<none>", 6) != 0 &&
        sscanf(rest + at, "%x:%x:%lu %llu %23s", &major, &minor, &inode, &start, end) != 5)
        return false;
    line.holder.pid = pid;
    line.holder.start = start;
    line.holder.length = end[0] == 'E' ? 0 : strtoull(end, NULL, 10) - start + 1;
    line.device = makedev(major, minor);
    line.inode = inode;
    *ret_line = line;
    return true;
}

bool wherry__lock_line_next(char **rest, struct wherry__lock_line *ret_line)
{
    char *line;
    while ((line = strsep(rest, "\n")))
        if (wherry__lock_line_parse(line, ret_line) && !ret_line->lease)
            return true;
    return false;
}

static bool read_line(FILE *file, struct wherry__lock_line *ret_line)
{
    char text[256];
    while (fgets(text, sizeof text, file)) {
        const char *from = strncmp(text, "lock:", 5) == 0 ? text + 5 : text;
        from += strspn(from, " \t");
        if (isdigit((unsigned char)*from) && wherry__lock_line_parse(from, ret_line) && !ret_line->lease)
            return true;
    }
    return false;
}

/* btrfs and overlayfs tell stat(2) of devices that the file system as a whole has not; all of them have no major
 * number. */
bool wherry__lock_line_is(const struct wherry__lock_line *line, dev_t device, ino_t inode)
{
    return line->inode == inode && (line->device == device || (major(line->device) == 0 && major(device) == 0));
}

/* ---- descriptors ---- */

/* A process with several descriptors of one open file has its locks once. */
static bool has(const struct wherry__holders *holders, const struct wherry_lock_holder *one)
{
    for (size_t i = 0; i < holders->count; i++) {
        const struct wherry_lock_holder *other = &holders->list[i];
        if (other->pid == one->pid && other->kind == one->kind && other->mode == one->mode &&
            other->start == one->start && other->length == one->length && other->waiting == one->waiting)
            return true;
    }
    return false;
}

/* /proc/PID/fdinfo/N has a line for each lock through that open file; classic locks are in /proc/locks with their
 * process. */
static bool add_locks_of(struct wherry__holders *holders, pid_t pid, const char *number)
{
    char path[64];
    struct wherry__lock_line line;
    bool fine = true;
    snprintf(path, sizeof path, "/proc/%d/fdinfo/%.16s", (int)pid, number);
    FILE *file = fopen(path, "re");
    while (file && fine && read_line(file, &line)) {
        line.holder.pid = pid;
        if (line.holder.kind != WHERRY_LOCK_POSIX && !has(holders, &line.holder))
            fine = wherry__holders_add(holders, &line.holder);
    }
    if (file)
        fclose(file);
    return fine;
}

static bool add_descriptors_of(struct wherry__holders *holders, pid_t pid, dev_t device, ino_t inode)
{
    char path[32];
    struct stat status;
    bool fine = true;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && fine && (entry = readdir(directory));)
        if (entry->d_name[0] != '.' && fstatat(dirfd(directory), entry->d_name, &status, 0) == 0 &&
            status.st_ino == inode && status.st_dev == device)
            fine = add_locks_of(holders, pid, entry->d_name);
    if (directory)
        closedir(directory);
    return fine;
}

bool wherry__holders_of_descriptors(struct wherry__holders *holders, dev_t device, ino_t inode)
{
    DIR *directory = opendir("/proc");
    bool fine = true;
    for (struct dirent *entry; directory && fine && (entry = readdir(directory));)
        if (isdigit((unsigned char)entry->d_name[0]))
            fine = add_descriptors_of(holders, (pid_t)atoi(entry->d_name), device, inode);
    if (directory)
        closedir(directory);
    return fine;
}

/* ---- processes ---- */

bool wherry__process_look(pid_t pid, unsigned long long *ret_start, long *ret_threads)
{
    char path[32], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    const char *rest = strrchr(text, ')'); /* the command's name may hold anything */
    char state = 'Z';
    /* from field 3, the state, on: threads are field 20, the start is field 22 */
    bool found =
        rest && sscanf(rest + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
                       &state, ret_threads, ret_start) == 3;
    return found && state != 'Z' && state != 'X';
}
