/* ring/name.c - owns the files of rings: the directory, what is made, what its head says, what is removed.
 *
 * SPDX-License-Identifier: MIT */
#include "ring/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "ring/ring.h"

enum { NAME_MOST = 200 };

int wherry__ring_directory(const char *url, const char *suffix, mode_t mode)
{
    return wherry__directory_own(url, suffix, mode);
}

int wherry__ring_check_name(const char *name, const char *url)
{
    size_t length = strlen(name);
    if (length == 0)
        return wherry__fail(EINVAL, "%s: names no ring: shm://NAME", url);
    if (length > NAME_MOST)
        return wherry__fail(ENAMETOOLONG, "%s: the name has %zu characters; at most %d are allowed", url, length,
                            NAME_MOST);
    if (strchr(name, '/') || name[0] == '.')
        return wherry__fail(EINVAL, "%s: a ring's name has no slash and does not begin with a dot", url);
    return 0;
}

int wherry__ring_fill(int fd, const struct ring_head *head, const char *url)
{
    static const struct ring_lane lane = {.sleep.wake_at = UINT64_MAX, .receiver.lent = UINT64_MAX};
    struct rlimit limit;
    off_t size = (off_t)(RING_CONTROL + head->capacity * RING_PLACES);
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (rlim_t)size)
        return wherry__fail(EFBIG,
                            "%s: a ring's file has %lld bytes, and this process may make none so large (ulimit -f)",
                            url, (long long)size); /* else ftruncate(2) sends SIGXFSZ */
    if (wherry__sys.ftruncate(fd, size) != 0)
        return wherry__fail_errno(errno, "%s: a ring could not be made in /dev/shm", url);
    if (wherry__sys.fallocate(fd, 0, 0, RING_CONTROL) != 0)
        return wherry__fail_errno(errno, "%s: no room for a ring's %d bytes in /dev/shm (df /dev/shm)", url,
                                  RING_CONTROL);
    bool written = wherry__sys.pwrite(fd, head, sizeof *head, 0) == sizeof *head;
    for (size_t i = 0; i < RING_PLACES && written; i++)
        written = wherry__sys.pwrite(fd, &lane, sizeof lane,
                                     (off_t)(offsetof(struct ring_control, lanes) + i * sizeof lane)) == sizeof lane;
    return written ? 0 : wherry__fail_errno(errno, "%s: a ring could not be written", url);
}

static int cannot_make(int code, const char *name, const char *url)
{
    char path[300];
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), name);
    return wherry__naming_fail(code, path, url);
}

int wherry__ring_make(struct wherry__naming *ret, int directory, const char *name, const struct ring_head *head,
                      const char *url, struct wherry__life **ret_life)
{
    struct wherry__naming naming;
    int result = wherry__naming_begin(&naming, directory, name, 0600);
    if (result < 0)
        return cannot_make(-result, name, url);
    result = wherry__ring_fill(naming.fd, head, url);
    if (result == 0 && (result = wherry__life_adopt(naming.fd, ret_life)) < 0)
        result = wherry__fail_errno(-result, "%s: no memory", url);
    if (result < 0) {
        wherry__naming_drop(&naming, directory, name);
        wherry__fd_close(&naming.fd);
        return result;
    }
    *ret = naming;
    return 0;
}

int wherry__ring_link(struct wherry__naming *naming, int directory, const char *name, const char *url)
{
    int result = wherry__naming_end(naming, directory, name);
    if (result == 0)
        return 0;
    wherry__naming_drop(naming, directory, name);
    return result == -EEXIST ? result : cannot_make(-result, name, url);
}

int wherry__ring_cannot_open(int code, const char *url, const char *name)
{
    const char *what = code == ELOOP    ? "a symbolic link"
                       : code == EISDIR ? "a directory"
                       : code == EBADF  ? "neither a file nor a ring"
                                        : NULL;
    if (!what)
        return wherry__fail_errno(code, "%s: the ring's file could not be opened", url);
    return wherry__fail(code, "%s: /dev/shm/wherry-%u/%s is %s; remove it, or use another name", url,
                        (unsigned)geteuid(), name, what);
}

bool wherry__ring_head_fits(const struct ring_head *head, off_t size)
{
    return head->capacity >= RING_LEAST_CAPACITY && head->capacity <= RING_MOST_CAPACITY &&
           !(head->capacity & (head->capacity - 1)) && head->places > 0 && head->places <= RING_PLACES &&
           size == (off_t)(RING_CONTROL + head->capacity * RING_PLACES);
}

int wherry__ring_read_head(const struct wherry__life *life, struct ring_head *ret_head, const char *url,
                           const char *name)
{
    struct ring_head head = {0};
    struct stat status;
    char remedy[300] = "end the process that keeps it";
    int fd = wherry__life_fd(life);
    if (name)
        snprintf(remedy, sizeof remedy, "remove /dev/shm/wherry-%u/%s, or use another name", (unsigned)geteuid(), name);
    if (wherry__sys.fstat(fd, &status) != 0)
        return wherry__fail_errno(errno, "%s: the file could not be looked at", url);
    if (name && status.st_uid != geteuid())
        return wherry__fail(EPERM, "%s: the ring belongs to uid %u; rings by name are for one user", url,
                            (unsigned)status.st_uid);
    if (wherry__sys.pread(fd, &head, sizeof head, 0) != sizeof head || head.magic != RING_MAGIC)
        return wherry__fail(EBADMSG, "%s: the file is no ring; %s", url, remedy);
    if (head.version != RING_VERSION)
        return wherry__fail(EPROTO, "%s: the ring is of layout %u, this program knows %u; end the programs that use it",
                            url, head.version, RING_VERSION);
    if (!name && head.keep)
        return wherry__fail(EBADMSG, "%s: what was handed over says that it is kept, and has no name; %s", url, remedy);
    if (!wherry__ring_head_fits(&head, status.st_size))
        return wherry__fail(EBADMSG, "%s: the ring's file is damaged (%lld bytes); %s", url, (long long)status.st_size,
                            remedy);
    *ret_head = head;
    return 0;
}

void wherry__ring_bell_name(char bell[static 256], const char *name, unsigned place)
{
    snprintf(bell, 256, ".%s.bell-%u", name, place);
}

/* Few calls, and most often two: who is stopped in here keeps others from the name. */
void wherry__ring_unlink(const struct wherry__life *life, int directory, const char *name)
{
    char bell[256];
    uint64_t bells = 0;
    const off_t at = offsetof(struct ring_control, shared.bells);
    if (!wherry__life_named(life, directory, name))
        return;
    if (wherry__sys.pread(wherry__life_fd(life), &bells, sizeof bells, at) != sizeof bells)
        bells = ~UINT64_C(0);
    for (; bells; bells &= bells - 1) {
        wherry__ring_bell_name(bell, name, (unsigned)__builtin_ctzll(bells));
        wherry__sys.unlinkat(directory, bell, 0);
    }
    CRASH(bells_gone);
    wherry__sys.unlinkat(directory, name, 0);
}
