/* base/holder.c - owns the reading of /proc for sentences: /proc/locks, /proc/net/unix, /proc/net/tcp,
 * /proc/PID/fd; proc(5).
 *
 * SPDX-License-Identifier: MIT */
#include "base/holder.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/locks.h"

pid_t wherry__holder_of_flock(int fd)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return 0;
    char *text;
    if (wherry__locks_read(&text) < 0)
        return 0;
    pid_t holder = 0;
    for (char *rest = text, *line; !holder && (line = strsep(&rest, "\n"));) {
        char kind[16];
        int pid;
        unsigned major, minor;
        unsigned long inode;
        if (sscanf(line, "%*d: %15s %*s %*s %d %x:%x:%lu", kind, &pid, &major, &minor, &inode) == 5 &&
            strcmp(kind, "FLOCK") == 0 && inode == status.st_ino && makedev(major, minor) == status.st_dev)
            holder = pid > 0 ? pid : 0;
    }
    free(text);
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

static pid_t holder_of_socket(unsigned long inode)
{
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

pid_t wherry__holder_of_abstract(const char *name)
{
    return holder_of_socket(inode_of_abstract(name));
}

/* proc_net_tcp(5): addresses are hexadecimal words in the order of the machine; the fourth column is the state, 0A for
 * one that listens, and 07 for a UDP socket that is not connected. */
enum { TCP_LISTENS = 0x0a, UDP_UNCONNECTED = 0x07 };

static void table_text(const struct sockaddr *address, char text[static 48])
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const void *)address;
        snprintf(text, 48, "%08X:%04X", four->sin_addr.s_addr, ntohs(four->sin_port));
        return;
    }
    const struct sockaddr_in6 *six = (const void *)address;
    uint32_t words[4];
    memcpy(words, &six->sin6_addr, sizeof words);
    snprintf(text, 48, "%08X%08X%08X%08X:%04X", words[0], words[1], words[2], words[3], ntohs(six->sin6_port));
}

/* Whether all addresses are meant: the zeros before the port. */
static bool is_any(const char *text)
{
    return strspn(text, "0") == strcspn(text, ":");
}

/* Of one that listens at this very address, or else at all of them; or, where all are wanted, at any. */
static unsigned long inode_of_listener(const char *table, const char *text, unsigned wanted)
{
    FILE *file = fopen(table, "re");
    char line[512], local[48];
    unsigned long found = 0;
    bool exact = false;
    while (file && !exact && fgets(line, sizeof line, file)) {
        unsigned long inode;
        unsigned state;
        if (sscanf(line, "%*d: %47s %*s %x %*s %*s %*s %*s %*s %lu", local, &state, &inode) != 3 || state != wanted)
            continue;
        exact = strcmp(local, text) == 0;
        bool any = (is_any(local) || is_any(text)) && strcmp(strchr(local, ':'), strchr(text, ':')) == 0;
        if (exact || any)
            found = inode;
    }
    if (file)
        fclose(file);
    return found;
}

static pid_t holder_of_port(const struct sockaddr *address, const char *four, const char *six, unsigned state)
{
    char text[48];
    table_text(address, text);
    bool is_four = address->sa_family == AF_INET;
    unsigned long inode = inode_of_listener(is_four ? four : six, text, state);
    if (!inode && (is_four || is_any(text))) /* all addresses of one family stand in the way of the other's */
        inode = inode_of_listener(is_four ? six : four, text, state);
    return holder_of_socket(inode);
}

pid_t wherry__holder_of_tcp(const struct sockaddr *address)
{
    return holder_of_port(address, "/proc/net/tcp", "/proc/net/tcp6", TCP_LISTENS);
}

pid_t wherry__holder_of_udp(const struct sockaddr *address)
{
    return holder_of_port(address, "/proc/net/udp", "/proc/net/udp6", UDP_UNCONNECTED);
}
