/* cmd_rm.c - `wherry rm OBJECT...`: remove kernel objects; never a regular file.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/queue.h>
#include <wherry/segment.h>
#include <wherry/semaphore.h>

#include "objects.h"

/* ---- names in the file system ---- */

/* What may be removed: FIFOs, sockets, or both.  0; -ENOENT; or the failure said, and the exit code. */
static int remove_path(const char *object, const char *path, bool fifo, bool socket)
{
    struct stat status;
    if (!path[0])
        return complain(TOOL_USAGE, "%s: the path is missing", *object ? object : "an empty word");
    if (path[0] == '@')
        return complain(TOOL_FAILED, "%s: an abstract name goes with the last process that has it", object);
    if (lstat(path, &status) != 0)
        return errno == ENOENT ? -ENOENT : complain(TOOL_FAILED, "%s: %s", object, strerror(errno));
    if (!(fifo && S_ISFIFO(status.st_mode)) && !(socket && S_ISSOCK(status.st_mode)))
        return complain(TOOL_FAILED, "%s: is no %s; rm(1) removes files", object,
                        fifo && socket ? "FIFO and no socket"
                        : fifo         ? "FIFO"
                                       : "socket");
    if (unlink(path) == 0)
        return 0;
    return errno == ENOENT ? -ENOENT : complain(TOOL_FAILED, "%s: %s", object, strerror(errno));
}

static int remove_fifo(const char *object)
{
    return remove_path(object, strchr(object, ':') + 1, true, false);
}

static int remove_socket(const char *object)
{
    const char *path = strchr(object, ':') + 1;
    return remove_path(object, strncmp(path, "///", 3) == 0 ? path + 2 : path, false, true);
}

/* ---- the table: by what a name begins with; 0 or -errno of the library, or a code, said, of remove_path() ---- */

static const struct {
    const char *prefix;
    int (*remove)(const char *object);
} types[] = {
    {"posix-shm:", wherry_segment_remove},
    {"sysv-shm:", wherry_segment_remove},
    {"posix-sem:", wherry_semaphore_remove},
    {"sysv-sem:", wherry_semaphore_set_remove},
    {"posix-mq:", wherry_queue_remove},
    {"sysv-msg:", wherry_queue_remove},
    {"fifo:", remove_fifo},
    {"unix:", remove_socket},
};
enum { TYPES = sizeof types / sizeof *types };

static int remove_object(const char *object)
{
    for (size_t i = 0; i < TYPES; i++)
        if (strncmp(object, types[i].prefix, strlen(types[i].prefix)) == 0)
            return types[i].remove(object);
    return remove_path(object, object, true, true);
}

/* What begins like a type and is none: there is no file of that name either, but that is not what was meant. */
static bool looks_typed(const char *object)
{
    size_t size = strspn(object, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    for (size_t i = 0; i < TYPES; i++)
        if (strncmp(object, types[i].prefix, strlen(types[i].prefix)) == 0)
            return false;
    return size > 0 && object[size] == ':';
}

static int remove_one(const struct options *options, const char *object, bool force)
{
    int result = remove_object(object);
    if (result >= 0)
        return result;
    if (result == -ENOENT && force)
        return TOOL_OK;
    if (result == -ENOENT && looks_typed(object))
        return complain(TOOL_FAILED,
                        "%s: \"%.*s\" is no type of object that is removed here (wherry rm --help lists them), "
                        "and there is no file of that name",
                        object, (int)strcspn(object, ":") + 1, object);
    if (result == -ENOENT && strncmp(wherry_why(), object, strlen(object)) != 0)
        return complain(TOOL_FAILED, "%s: there is none", object);
    return object_complain(options, object, result);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, LONG("force", no_argument, 'f'), {0}};
    struct options options = options_of(verb);
    bool force = false;
    int option, code = TOOL_OK;
    while ((option = options_next(&options, argc, argv, COMMON_SHORT "f", longs)) >= 0)
        force = true;
    if (option == OPTION_STOP || options_operands(&options, argc, 1, argc) < 0)
        return options.code;
    for (int i = optind; i < argc; i++) {
        int one = remove_one(&options, argv[i], force);
        code = code ? code : one;
    }
    return code;
}

const struct verb verb_rm = {
    .name = "rm",
    .summary = "remove kernel objects",
    .operands = "OBJECT...",
    .help = "OBJECT is posix-shm:/name (posix-sem:, posix-mq: alike), sysv-shm:0xKEY,\n"
            "sysv-shm:#ID or sysv-shm:PATH?id=C (sysv-sem:, sysv-msg: alike), fifo:PATH,\n"
            "unix:PATH, or the bare path of a FIFO or a socket; never a regular file.  What\n"
            "fails is said, and the rest is removed.\n"
            "\n"
            "  -f, --force        what is not there is no failure\n"
            "\n"
            "Nothing here waits: -w has nothing to bound.\n",
    .examples = "Examples:\n"
                "  wherry rm posix-shm:/frames 'sysv-sem:#3'\n"
                "  wherry rm -f /run/app/events\n",
    .run = run,
};
