/* page_file.c - owns a file that is there whole or not at all: it gets its name when it is complete.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map.h"
#include "tool.h"

/* What is there already may be replaced when it is a file, and nothing else: not a link to one, not a device. */
static int refuse(const struct page_file *file, const char *path)
{
    struct stat status;
    if (fstatat(file->directory, file->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : complain(TOOL_FAILED, "map: %s: %s", path, strerror(errno));
    if (S_ISREG(status.st_mode))
        return 0;
    return complain(TOOL_FAILED, "map: %s is %s: name the file that is to be written", path,
                    S_ISLNK(status.st_mode)   ? "a symbolic link"
                    : S_ISDIR(status.st_mode) ? "a directory"
                                              : "no regular file");
}

static int open_directory(struct page_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    file->name = strdup(slash ? slash + 1 : path);
    if (!directory || !file->name) {
        free(directory);
        return complain(TOOL_FAILED, "map: no memory");
    }
    file->directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = 0;
    if (file->directory < 0)
        code = complain(TOOL_FAILED, "map: %s: %s; %s another directory for the page", directory, strerror(errno),
                        errno == ENOENT ? "make it, or give --html" : "give --html");
    free(directory);
    return code;
}

/* Give it a name beside the one it is to have: O_EXCL and linkat(2) fail for what is there, a link too. */
static int name_temporary(struct page_file *file)
{
    char link[48];
    int error = EEXIST;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file->fd);
    for (unsigned try = 0; try < 100 && error == EEXIST; try++) {
        char *name;
        if (asprintf(&name, ".wherry-map-%d-%u", (int)getpid(), try) < 0)
            return -ENOMEM;
        if (file->fd >= 0)
            error = linkat(AT_FDCWD, link, file->directory, name, AT_SYMLINK_FOLLOW) < 0 ? errno : 0;
        else {
            file->fd = openat(file->directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
            error = file->fd < 0 ? errno : 0;
        }
        if (error)
            free(name);
        else
            file->temporary = name;
    }
    return -error;
}

/* Nameless while it is written, so that who is killed leaves nothing; where the file system cannot do that, under a
 * temporary name at once. */
static int open_temporary(struct page_file *file)
{
    file->fd = openat(file->directory, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    int result = file->fd < 0 ? name_temporary(file) : 0;
    if (result == 0 && fchmod(file->fd, 0600) < 0)
        result = -errno;
    return result;
}

int page_file_open(struct page_file *file, const char *path)
{
    *file = (struct page_file){.fd = -1, .directory = -1};
    int code = path[0] ? open_directory(file, path) : complain(TOOL_USAGE, "map: --html needs the name of a file");
    if (code == 0)
        code = refuse(file, path);
    int result = code == 0 ? open_temporary(file) : 0;
    if (result < 0)
        code = complain(TOOL_FAILED, "map: %s: no file can be made beside it: %s", path, strerror(-result));
    if (code != 0)
        page_file_abandon(file);
    return code;
}

/* fsync() since a disk that is full or failing may say so only then. */
int page_file_finish(struct page_file *file, const char *path)
{
    int error = fsync(file->fd) < 0 && errno != EINVAL && errno != EROFS ? errno : 0;
    if (!error && !file->temporary)
        error = -name_temporary(file);
    if (close(file->fd) < 0 && errno != EINTR && !error)
        error = errno;
    file->fd = -1;
    if (!error && renameat(file->directory, file->temporary, file->directory, file->name) < 0)
        error = errno;
    if (!error) {
        free(file->temporary);
        file->temporary = NULL; /* nothing to remove any more */
    }
    page_file_abandon(file);
    return error ? complain(TOOL_FAILED, "map: %s: %s; it was left as it was", path, strerror(error)) : TOOL_OK;
}

void page_file_abandon(struct page_file *file)
{
    if (file->temporary)
        unlinkat(file->directory, file->temporary, 0);
    if (file->fd >= 0)
        close(file->fd);
    if (file->directory >= 0)
        close(file->directory);
    free(file->name);
    free(file->temporary);
    *file = (struct page_file){.fd = -1, .directory = -1};
}
