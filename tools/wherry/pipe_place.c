/* pipe_place.c - owns the addresses that `wherry pipe` makes for the occasion, and their end.
 *
 * SPDX-License-Identifier: MIT
 *
 * Some need no name that could stay behind: an abstract socket, a port that the kernel picks.  For the others there is
 * a directory, wherry-pipe-XXXXXX (mode 0700), with a file for each object, "0.shm"; the file tells what the object is
 * called, which has the same XXXXXX in its name.  It is made before the object, and removed after.
 *
 * A file in it, "lock", is locked, flock(2), by one open file that all of this pipeline's own processes share.  When
 * the last of them was killed before it could remove anything, the lock is free, and the next pipeline of this user
 * that needs a directory removes it all. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/queue.h>

#include "endpoint.h"
#include "pipe.h"

static const char prefix[] = "wherry-pipe-", lock_file[] = "lock";
enum { UNIQUE = 6 }; /* characters of XXXXXX */

/* ---- what is made ---- */

enum kind { IN_DIRECTORY, SHM, MQ, SYSV };

static const struct scheme {
    const char *name;
    const char *suffix; /* of its file; NULL: needs none */
    enum kind kind;
    const char *options; /* one, unless the caller says otherwise */
} schemes[] = {
    {"unix", NULL, 0, ""},
    {"unix+seqpacket", NULL, 0, ""},
    {"unix+dgram", ".dgram", IN_DIRECTORY, ""},
    {"tcp", NULL, 0, ""},
    {"udp", NULL, 0, ""},
    {"fifo", ".fifo", IN_DIRECTORY, "writers=1"},
    {"file", ".log", IN_DIRECTORY, "retain_bytes=16777216"}, /* more than is on its way, so that none is lost */
    {"shm", ".shm", SHM, ""},
    {"mq", ".mq", MQ, ""},
    {"sysv", ".sysv", SYSV, ""},
};
enum { SCHEMES = sizeof schemes / sizeof *schemes };

static const char *unique_of(const char *path)
{
    return path + strlen(path) - UNIQUE;
}

static void name_object(char *name, size_t size, const char *unique, int index)
{
    snprintf(name, size, "%s%.*s-%d", prefix, UNIQUE, unique, index);
}

/* ---- removing ---- */

/* A ring goes with the last who leaves it; of one whose users were killed that is whoever looks in.  It is not made. */
static void remove_ring(const char *name)
{
    char url[128], path[160];
    struct wherry_channel *ring;
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), name);
    snprintf(url, sizeof url, "shm://%s", name);
    if (access(path, F_OK) == 0 && wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ring) == 0)
        wherry_channel_close(ring, WHERRY_NOW);
}

/* The key that a file of the directory has in it, "sysv-msg:0x01234567". */
static void remove_keyed(int directory, const char *file)
{
    char object[64] = "";
    int fd = openat(directory, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && read(fd, object, sizeof object - 1) > 0)
        wherry_queue_remove(object);
    if (fd >= 0)
        close(fd);
}

/* The object that a file of the directory tells of; the file is still there. */
static void remove_object(const char *path, int directory, const char *file)
{
    char name[64], object[96], *suffix;
    long index = strtol(file, &suffix, 10);
    const struct scheme *scheme = NULL;
    for (size_t i = 0; i < SCHEMES; i++)
        if (schemes[i].suffix && strcmp(schemes[i].suffix, suffix) == 0)
            scheme = &schemes[i];
    name_object(name, sizeof name, unique_of(path), (int)index);
    if (!scheme || suffix == file)
        return;
    switch (scheme->kind) {
    case SHM:
        remove_ring(name);
        break;
    case MQ:
        snprintf(object, sizeof object, "posix-mq:/%s", name);
        wherry_queue_remove(object);
        break;
    case SYSV:
        remove_keyed(directory, file);
        break;
    case IN_DIRECTORY:
        break;
    }
}

static void remove_all(const char *path, int fd)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* closedir() closes it */
    DIR *directory = again < 0 ? NULL : fdopendir(again);
    for (const struct dirent *entry; directory && (entry = readdir(directory));) {
        if (entry->d_name[0] == '.' || strcmp(entry->d_name, lock_file) == 0)
            continue;
        remove_object(path, fd, entry->d_name);
        unlinkat(fd, entry->d_name, 0);
    }
    if (directory)
        closedir(directory);
    unlinkat(fd, lock_file, 0); /* last: who is killed before is followed by somebody else */
    rmdir(path);
}

void pipe_place_remove(struct pipe_place *place)
{
    if (place->fd < 0)
        return;
    remove_all(place->path, place->fd);
    close(place->fd);
    close(place->lock);
    place->fd = place->lock = -1;
    place->path[0] = '\0';
}

/* ---- making ---- */

static const char fallback[] = "/tmp";

static const char *base(void)
{
    const char *own = getenv("XDG_RUNTIME_DIR");
    struct stat status;
    bool fine = own && own[0] == '/' && strlen(own) < PATH_MAX / 2 && !strpbrk(own, "?#%") && /* it goes into a URL */
                stat(own, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
    return fine ? own : fallback;
}

static int open_own(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &status) == 0 && status.st_uid == geteuid() && (status.st_mode & 0777) == 0700)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Whether nobody else has the lock; then it is `fd`'s.  One that another has just removed is nobody's. */
static bool take_lock(int fd)
{
    struct stat status;
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &status) == 0 && status.st_nlink > 0;
}

/* What others of this user left when all of them were killed.  Without a lock there is nothing in it yet: whoever makes
 * it just now will find it gone, and make another. */
static void reclaim_one(const char *path)
{
    int fd = open_own(path), lock = fd < 0 ? -1 : openat(fd, lock_file, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && lock < 0 && errno == ENOENT)
        rmdir(path);
    else if (take_lock(lock))
        remove_all(path, fd);
    if (lock >= 0)
        close(lock);
    if (fd >= 0)
        close(fd);
}

static void reclaim(const char *where)
{
    char path[PATH_MAX];
    DIR *directory = opendir(where);
    for (const struct dirent *entry; directory && (entry = readdir(directory));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 || strlen(entry->d_name) != strlen(prefix) + UNIQUE)
            continue;
        snprintf(path, sizeof path, "%.*s/%.32s", PATH_MAX / 2, where, entry->d_name);
        reclaim_one(path);
    }
    if (directory)
        closedir(directory);
}

/* False: another took it for one that was left behind, before the lock. */
static bool lock_place(struct pipe_place *place)
{
    place->fd = open_own(place->path);
    place->lock =
        place->fd < 0 ? -1 : openat(place->fd, lock_file, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (take_lock(place->lock))
        return true;
    if (place->lock >= 0)
        close(place->lock);
    if (place->fd >= 0)
        close(place->fd);
    place->fd = place->lock = -1;
    return false;
}

static int make_directory(struct pipe_place *place)
{
    const char *where = base();
    if (place->fd >= 0)
        return TOOL_OK;
    reclaim(where);
    for (int tries = 0; tries < 100; tries++) {
        snprintf(place->path, sizeof place->path, "%.*s/%sXXXXXX", PATH_MAX / 2, where, prefix);
        if (!mkdtemp(place->path) || (chmod(place->path, 0700) != 0 && errno != ENOENT))
            break;
        if (lock_place(place)) /* not where another pipeline took it for left behind, and removed it */
            return TOOL_OK;
    }
    return complain(TOOL_CANNOT, "pipe: no directory of its own could be made in %s: %s%s", where, strerror(errno),
                    strcmp(where, fallback) == 0 ? "; set XDG_RUNTIME_DIR to a directory of this user" : "");
}

static int make_file(const struct pipe_place *place, const char *name, const char *text)
{
    int fd = openat(place->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    bool fine = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    int code = fine ? TOOL_OK : complain(TOOL_CANNOT, "pipe: %s/%s: %s", place->path, name, strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

/* A System V queue has no name, and keys made of a file's are not unique (H16): one of a key that nobody has. */
static int make_keyed(const struct pipe_place *place, const char *file, const char *query, char *url)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    int result = -EEXIST;
    options.create = options.exclusive = true;
    while (result == -EEXIST) {
        uint32_t key;
        char object[64];
        if (getrandom(&key, sizeof key, 0) != sizeof key)
            return complain(TOOL_CANNOT, "pipe: no random number for a key: %s", strerror(errno));
        if (key == 0) /* IPC_PRIVATE */
            continue;
        snprintf(object, sizeof object, "sysv-msg:0x%08x", (unsigned)key);
        snprintf(url, PIPE_URL, "sysv:0x%08x%s", (unsigned)key, query);
        int code = make_file(place, file, object);
        if (code != TOOL_OK)
            return code;
        result = wherry_queue_open(object, &options, WHERRY_NOW, &queue);
    }
    wherry_queue_close(queue);
    return result == 0 ? TOOL_OK : complain(TOOL_CANNOT, "pipe: %s", wherry_why());
}

/* "?a&b", "?a", "?b" or ""; without `more`, which is "key=value" or "", where the key is given. */
static void join_query(char *query, size_t size, const char *given, const char *more)
{
    char key[32];
    snprintf(key, sizeof key, "%.*s", (int)strcspn(more, "="), more);
    if (!more[0] || endpoint_says(given, key))
        more = "";
    snprintf(query, size, "%s%s%s", given, !more[0] ? "" : given[0] ? "&" : "?", more);
}

static int name_place(struct pipe_place *place, const struct scheme *scheme, const char *query, int index, char *url)
{
    char name[64], file[32];
    snprintf(file, sizeof file, "%d%s", index, scheme->suffix);
    int code = make_directory(place);
    if (code != TOOL_OK)
        return code;
    name_object(name, sizeof name, unique_of(place->path), index);
    switch (scheme->kind) {
    case SHM:
        snprintf(url, PIPE_URL, "shm://%s%s", name, query);
        return make_file(place, file, "");
    case MQ:
        snprintf(url, PIPE_URL, "mq:///%s%s", name, query);
        return make_file(place, file, "");
    case SYSV:
        return make_keyed(place, file, query, url);
    case IN_DIRECTORY:
    default:
        snprintf(url, PIPE_URL, "%s://%s/%s%s", scheme->name, place->path, file, query);
        return TOOL_OK;
    }
}

int pipe_place_url(struct pipe_place *place, const char *scheme, const char *given, size_t index, char url[PIPE_URL])
{
    const struct scheme *found = NULL;
    char query[512];
    uint64_t random = 0;
    for (size_t i = 0; i < SCHEMES; i++)
        if (strcmp(schemes[i].name, scheme) == 0)
            found = &schemes[i];
    if (!found)
        return -1;
    join_query(query, sizeof query, given, found->options);
    if (found->suffix)
        return name_place(place, found, query, (int)index, url);
    if (strcmp(scheme, "tcp") == 0 || strcmp(scheme, "udp") == 0) {
        snprintf(url, PIPE_URL, "%s://127.0.0.1:0%s", scheme, query);
        return TOOL_OK;
    }
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return complain(TOOL_CANNOT, "pipe: no random number for a name: %s", strerror(errno));
    snprintf(url, PIPE_URL, "%s:@%s%016llx%s", scheme, prefix, (unsigned long long)random, query);
    return TOOL_OK;
}
