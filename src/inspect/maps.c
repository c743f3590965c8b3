/* inspect/maps.c - owns the reading of a process's mappings, and offers the shared ones to the collectors;
 * proc_pid_maps(5).
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/snapshot.h"

static uint64_t number(const char **text, unsigned base)
{
    uint64_t value = 0;
    for (;; ++*text) {
        unsigned char c = (unsigned char)**text;
        unsigned digit = c >= '0' && c <= '9' ? c - 48u : c >= 'a' && c <= 'f' ? c - 97u + 10u : 99u;
        if (digit >= base)
            return value;
        value = value * base + digit;
    }
}

/* The kernel writes a newline in a name as \012, and nothing else. */
static void unescape_newlines(char *path)
{
    char *to = strstr(path, "\\012");
    if (!to)
        return;
    for (char *from = to; (*to = *from); to++, from++)
        if (strncmp(from, "\\012", 4) == 0) {
            *to = '\n';
            from += 3;
        }
}

static void offer(struct mapping *mapping)
{
    for (int kind = 0; kind < WHERRY_INSPECT_KINDS; kind++)
        if (wherry__collectors[kind]->mapped && wherry__collectors[kind]->mapped(mapping))
            return;
}

/* "7f2a00000000-7f2a00001000 rw-s 00000000 00:01 32769      /SYSV00001234 (deleted)" */
static void line(struct snapshot *snapshot, struct process *process, int directory, char *text)
{
    struct mapping mapping = {.snapshot = snapshot, .process = process, .directory = directory};
    const char *at = text;
    mapping.start = number(&at, 16);
    if (*at++ != '-')
        return;
    mapping.end = number(&at, 16);
    if (strnlen(at, 6) < 6)
        return;
    mapping.reads = at[1] == 'r';
    mapping.writes = at[2] == 'w';
    mapping.shared = at[4] == 's';
    const char *slash = mapping.shared ? NULL : strchr(at, '/');
    bool of_shm = slash && wherry__begins(slash, "/dev/shm/"); /* who maps it for himself alone holds it, too */
    if (!mapping.shared && !of_shm && !snapshot->file_inode && !snapshot->file_path)
        return;
    at += 6;
    mapping.offset = number(&at, 16);
    at += *at == ' ';
    unsigned major = (unsigned)number(&at, 16);
    at += *at == ':';
    unsigned minor = (unsigned)number(&at, 16);
    at += *at == ' ';
    mapping.device = wherry__device(major, minor);
    mapping.inode = number(&at, 10);
    at += strspn(at, " ");
    bool asked_for = mapping.inode && mapping.inode == snapshot->file_inode && mapping.device == snapshot->file_device;
    bool by_name = snapshot->file_path && process->mount_space == snapshot->mount_space &&
                   strcmp(at, snapshot->file_path) == 0;
    if (!mapping.shared && !asked_for && !by_name && !of_shm)
        return;
    char *path = text + (at - text);
    size_t length = strlen(path);
    if (length > 10 && strcmp(path + length - 10, " (deleted)") == 0) {
        mapping.deleted = true;
        path[length - 10] = 0;
    }
    unescape_newlines(path);
    mapping.path = path;
    offer(&mapping);
}

/* The file is read in pieces of whole lines, as the kernel gives them; a line that does not fit (a path of 4,096 bytes,
 * each a newline) loses its end. */
bool wherry__inspect_maps(struct snapshot *snapshot, struct process *process, int directory)
{
    static const size_t ROOM = 16384;
    char text[16384 + 1];
    size_t used = 0;
    bool all;
    int fd = wherry__sys.openat(directory, "maps", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return errno == ENOENT || errno == ESRCH;
    for (;;) {
        ssize_t got = wherry__sys.read(fd, text + used, ROOM - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            all = got == 0 || errno == ESRCH;
            break;
        }
        used += (size_t)got;
        char *from = text, *end;
        while ((end = memchr(from, '\n', used - (size_t)(from - text)))) {
            *end = 0;
            line(snapshot, process, directory, from);
            from = end + 1;
        }
        used -= (size_t)(from - text);
        memmove(text, from, used);
        if (used == ROOM)
            used = 0;
    }
    wherry__sys.close(fd);
    return all;
}

struct wherry_inspect_hold *wherry__mapping_hold(struct mapping *mapping, struct object *object,
                                                 enum wherry_inspect_how how)
{
    struct hold *last = object->holds;
    if (last && last->public.process == &mapping->process->public && last->public.how == how &&
        last->public.start + last->public.length == mapping->start &&
        last->end_offset == mapping->offset) { /* one mapping, whose pages differ in permissions */
        last->public.length += mapping->end - mapping->start;
        last->end_offset += mapping->end - mapping->start;
        last->public.reads |= mapping->reads;
        last->public.writes |= mapping->writes;
        return &last->public;
    }
    struct wherry_inspect_hold *hold = wherry__inspect_hold(object, mapping->process, how);
    if (!hold)
        return NULL;
    hold->reads = mapping->reads;
    hold->writes = mapping->writes;
    hold->start = mapping->start;
    hold->length = mapping->end - mapping->start;
    hold->detail = mapping->shared ? "shared mapping" : "private mapping";
    object->holds->end_offset = mapping->offset + mapping->end - mapping->start;
    return hold;
}

/* What has no mount (memfds, System V segments, anonymous memory) is the kernel's own.  A file whose mount is gone
 * might be one of a server that is gone, too. */
bool wherry__mapping_status(struct mapping *mapping, struct statx *ret_status)
{
    struct process *process = mapping->process;
    char path[64];
    if (wherry__mounts_remote(mapping->snapshot, process->mount_space, mapping->directory) &&
        !wherry__begins(mapping->path, "/memfd:") && !wherry__begins(mapping->path, "/SYSV") &&
        !wherry__mounts_local(mapping->snapshot, process->mount_space, mapping->directory, mapping->device))
        return false;
    snprintf(path, sizeof path, "map_files/%llx-%llx", (unsigned long long)mapping->start,
             (unsigned long long)mapping->end);
    return wherry__sys.statx(mapping->directory, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT,
                             STATX_BASIC_STATS | STATX_BTIME, ret_status) == 0;
}
