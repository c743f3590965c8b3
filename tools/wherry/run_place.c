/* run_place.c - owns where a run is found: a directory of the user's own for sockets, and a name for each run.
 *
 * SPDX-License-Identifier: MIT
 *
 * A run is known by the directory that it supervises, that is by its device and inode, so that every path to it leads
 * here; or by the name that --name gives.  Whoever could put something into the directory of sockets could pose as a
 * run, so it is ours alone, 0700, and no link. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "run.h"

/* Whether it is a directory of this user's, and nobody else has these permissions; -errno when not. */
static int check_own(const char *path, mode_t forbidden)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int result = fstat(fd, &status) != 0 ? -errno : 0;
    close(fd);
    if (result == 0 && (status.st_uid != geteuid() || (status.st_mode & forbidden)))
        return -EPERM;
    return result;
}

/* The user's own runtime directory, as far as there is one. */
static bool find_base(char base[static RUN_PATH])
{
    const char *said = getenv("XDG_RUNTIME_DIR");
    if (said && said[0] == '/' && strlen(said) < RUN_PATH / 2 && check_own(said, 022) == 0) {
        strcpy(base, said);
        return true;
    }
    snprintf(base, RUN_PATH, "/run/user/%u", (unsigned)geteuid());
    return check_own(base, 022) == 0;
}

static int make_directory(const char *path, bool make)
{
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
        return complain(TOOL_FAILED, "run: %s: %s: set XDG_RUNTIME_DIR to a directory of your own", path,
                        strerror(errno));
    int result = check_own(path, 077);
    if (result == 0 || (result == -ENOENT && !make))
        return 0;
    if (result == -EPERM || result == -ELOOP || result == -ENOTDIR)
        return complain(TOOL_FAILED,
                        "run: %s: it is not a directory of uid %u's own with mode 0700, so somebody else may "
                        "control what is there: remove it, or set XDG_RUNTIME_DIR",
                        path, (unsigned)geteuid());
    return complain(TOOL_FAILED, "run: %s: %s", path, strerror(-result));
}

/* "%", "?" and "#" mean something in a URL. */
static int make_url(char *url, size_t capacity, const char *path)
{
    size_t used = (size_t)snprintf(url, capacity, "unix://");
    for (; *path && used + 4 < capacity; path++)
        if (strchr("%?#", *path))
            used += (size_t)snprintf(url + used, capacity - used, "%%%02X", (unsigned)(unsigned char)*path);
        else
            url[used++] = *path;
    url[used] = '\0';
    return *path ? complain(TOOL_FAILED, "run: %s: the name is too long", path) : 0;
}

static int check_name(const char *name)
{
    size_t size = strlen(name);
    if (size == 0 || size > 63 || name[0] == '.' || name[0] == '-' ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != size)
        return complain(TOOL_USAGE, "run: --name %s: write 1 to 63 letters, digits, and . _ - behind the first", name);
    return 0;
}

/* The directory of the file, or the current one: its name for people, and its identity. */
static int identify(const struct run_request *request, struct run_place *place, char *key, size_t capacity)
{
    struct stat status;
    const char *slash = request->file ? strrchr(request->file, '/') : NULL;
    char path[PATH_MAX] = ".";
    if (slash && slash - request->file < PATH_MAX - 1)
        snprintf(path, sizeof path, "%.*s", (int)(slash - request->file) + 1, request->file);
    if (stat(path, &status) != 0)
        return complain(TOOL_FAILED, "run: %s: %s", path, strerror(errno));
    char *resolved = realpath(path, NULL);
    snprintf(place->what, sizeof place->what, "%.*s", RUN_PATH, resolved ? resolved : path);
    free(resolved);
    snprintf(key, capacity, "dir-%llx-%llx", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
    return 0;
}

int place_find(const struct run_request *request, bool make, struct run_place *ret_place)
{
    char base[RUN_PATH], key[96];
    struct run_place place = {0};
    int code;
    if (request->name) {
        if ((code = check_name(request->name)) != 0)
            return code;
        snprintf(key, sizeof key, "name-%s", request->name);
        snprintf(place.what, sizeof place.what, "the name %s", request->name);
    } else if ((code = identify(request, &place, key, sizeof key)) != 0) {
        return code;
    }
    if (find_base(base))
        strcat(base, "/wherry");
    else
        snprintf(base, sizeof base, "/tmp/wherry-%u", (unsigned)geteuid());
    if ((code = make_directory(base, make)) != 0)
        return code;
    char path[RUN_PATH];
    if (snprintf(place.lock, sizeof place.lock, "%s/%s.lock", base, key) >= (int)sizeof place.lock ||
        snprintf(path, sizeof path, "%s/%s.sock", base, key) >= (int)sizeof path)
        return complain(TOOL_FAILED, "run: %s: the path of the directory for sockets is too long", base);
    code = make_url(place.socket, sizeof place.socket, path);
    if (code == 0)
        *ret_place = place;
    return code;
}
