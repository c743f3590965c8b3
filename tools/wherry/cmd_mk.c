/* cmd_mk.c - `wherry mk TYPE NAME`: make a kernel object.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <wherry/queue.h>
#include <wherry/segment.h>
#include <wherry/semaphore.h>

#include "objects.h"

struct mk {
    struct options options;
    char *name; /* "TYPE:NAME" */
    const char *path;
    uint64_t size;
    uint32_t mode;
    int64_t count, value;
    bool sized, counted, valued; /* -s, -n, --value were given */
};

/* ---- what there is to be made: 0, or the exit code with the failure said ---- */

static int fail(const struct mk *mk, int error)
{
    return object_complain(&mk->options, mk->name, error);
}

static int make_segment(const struct mk *mk)
{
    struct wherry_segment_options how = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment = NULL;
    how.mode = mk->mode;
    if (mk->size == 0)
        return misuse(mk->options.verb, "shared memory needs a size: -s N");
    int result = wherry_segment_create(mk->name, mk->size, &how, &segment);
    if (result == 0)
        result = wherry_segment_publish(segment);
    int code = result < 0 ? fail(mk, result) : TOOL_OK;
    wherry_segment_close(segment);
    return code;
}

static int make_semaphore(const struct mk *mk)
{
    struct wherry_semaphore_options how = WHERRY_SEMAPHORE_OPTIONS;
    struct wherry_semaphore *semaphore;
    how.create = how.exclusive = true;
    how.mode = mk->mode;
    how.value = (uint32_t)mk->value;
    int result = wherry_semaphore_open(mk->name, &how, WHERRY_NOW, &semaphore);
    if (result < 0)
        return fail(mk, result);
    wherry_semaphore_close(semaphore);
    return TOOL_OK;
}

static int make_set(const struct mk *mk)
{
    struct wherry_semaphore_set_options how = WHERRY_SEMAPHORE_SET_OPTIONS;
    struct wherry_semaphore_set *set = NULL;
    uint16_t *values = calloc((size_t)mk->count, sizeof *values);
    if (!values)
        return complain(TOOL_FAILED, "no memory");
    for (int64_t i = 0; i < mk->count; i++)
        values[i] = (uint16_t)mk->value;
    how.create = how.exclusive = true;
    how.mode = mk->mode;
    how.values = values;
    int result = mk->value > INT16_MAX ? misuse(mk->options.verb, "--value: a set counts to %d", INT16_MAX) : 0;
    if (result == 0)
        result = wherry_semaphore_set_open(mk->name, (unsigned)mk->count, &how, options_deadline(&mk->options), &set);
    free(values);
    wherry_semaphore_set_close(set);
    return result < 0 ? fail(mk, result) : result;
}

static int make_queue(const struct mk *mk)
{
    struct wherry_queue_options how = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    bool posix = strncmp(mk->name, "posix", 5) == 0;
    how.create = how.exclusive = true;
    how.mode = mk->mode;
    if (posix) {
        how.messages = mk->counted ? (uint64_t)mk->count : 0;
        how.message_size = mk->size;
    } else {
        how.bytes = mk->size;
    }
    int result = wherry_queue_open(mk->name, &how, WHERRY_NOW, &queue);
    wherry_queue_close(queue);
    return result < 0 ? fail(mk, result) : TOOL_OK;
}

static int make_fifo(const struct mk *mk)
{
    if (!mk->path[0])
        return complain(TOOL_USAGE, "fifo: the path is missing");
    umask(0); /* exactly these permissions, from its first moment on */
    if (mkfifo(mk->path, mk->mode ? mk->mode : 0600) == 0)
        return TOOL_OK;
    int code = errno;
    struct stat status;
    if (code == EEXIST && lstat(mk->path, &status) == 0 && S_ISFIFO(status.st_mode))
        return complain(TOOL_FAILED, "%s: there is one already; use it, or remove it with `wherry rm`", mk->name);
    if (code == EEXIST)
        return complain(TOOL_FAILED, "%s: something else has that name already; take another", mk->name);
    if (code == ENOENT)
        return complain(TOOL_FAILED, "%s: the directory does not exist; make it, or name another", mk->name);
    return complain(TOOL_FAILED, "%s: could not be made: %s", mk->name, strerror(code));
}

/* Why an option that changes nothing of the type is refused: NULL, it does change something. */
static const struct type {
    const char *name;
    int (*make)(const struct mk *mk);
    const char *no_size, *no_count, *no_value;
} types[] = {
    {"posix-shm", make_segment, NULL, "a segment is one", "a segment begins with zeros"},
    {"posix-sem", make_semaphore, "a semaphore has no size", "a POSIX semaphore is one", NULL},
    {"sysv-shm", make_segment, NULL, "a segment is one", "a segment begins with zeros"},
    {"sysv-sem", make_set, "a set has no size: -n says how many semaphores", NULL, NULL},
    {"posix-mq", make_queue, NULL, NULL, "a queue begins empty"},
    {"sysv-msg", make_queue, NULL, "a System V queue holds as many bytes as -s says, in any number of messages",
     "a queue begins empty"},
    {"fifo", make_fifo, "a FIFO is as large as the kernel makes it", "a FIFO is one", "a FIFO begins empty"},
};
enum { TYPES = sizeof types / sizeof *types };

static int make(struct mk *mk, const struct type *type)
{
    const struct {
        const char *option, *why;
        bool given;
    } idle[] = {
        {"-s", type->no_size, mk->sized}, {"-n", type->no_count, mk->counted}, {"--value", type->no_value, mk->valued}};
    for (size_t i = 0; i < sizeof idle / sizeof *idle; i++)
        if (idle[i].given && idle[i].why)
            return misuse(mk->options.verb, "%s: %s takes none: %s", idle[i].option, type->name, idle[i].why);
    if (mk->sized && mk->size == 0)
        return misuse(mk->options.verb, "-s: %s of 0 bytes cannot be", type->name);
    if (asprintf(&mk->name, "%s:%s", type->name, mk->path) < 0)
        return complain(TOOL_FAILED, "no memory");
    int code = type->make(mk);
    free(mk->name);
    return code;
}

/* ---- the command line ---- */

enum { OPTION_VALUE = OPTION_FIRST };

static int take_option(struct mk *mk, int option)
{
    switch (option) {
    case 's':
        mk->sized = true;
        return take_bytes(&mk->options, "-s", &mk->size);
    case 'm':
        return take_mode(&mk->options, "-m", &mk->mode);
    case 'n':
        mk->counted = true;
        return take_number(&mk->options, "-n", 1, INT16_MAX, &mk->count);
    case OPTION_VALUE:
        mk->valued = true;
        return take_number(&mk->options, "--value", 0, INT32_MAX, &mk->value);
    }
    return 0;
}

static int no_such_type(const struct verb *verb, const char *type)
{
    char list[200] = "";
    for (size_t i = 0; i < TYPES; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", types[i].name);
    return misuse(verb, "%s is no type of object that can be made: %s", type, list);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("size", required_argument, 's'),
        LONG("mode", required_argument, 'm'),
        LONG("count", required_argument, 'n'),
        LONG("value", required_argument, OPTION_VALUE),
        {0},
    };
    struct mk mk = {.options = options_of(verb), .count = 1};
    int option;
    while ((option = options_next(&mk.options, argc, argv, COMMON_SHORT "s:m:n:", longs)) >= 0)
        if (take_option(&mk, option) < 0)
            return mk.options.code;
    if (option == OPTION_STOP || options_operands(&mk.options, argc, 2, 2) < 0)
        return mk.options.code;
    const char *type = argv[optind];
    mk.path = argv[optind + 1];
    for (size_t i = 0; i < TYPES; i++)
        if (strcmp(types[i].name, type) == 0)
            return make(&mk, &types[i]);
    return no_such_type(verb, type);
}

const struct verb verb_mk = {
    .name = "mk",
    .summary = "make a kernel object",
    .operands = "TYPE NAME",
    .help = "TYPE is posix-shm or posix-sem, with a NAME such as /name; sysv-shm or sysv-sem,\n"
            "with 0xKEY or PATH?id=C; posix-mq or sysv-msg likewise; or fifo, with a path.\n"
            "It fails if there is one, and if an option says nothing about the type.\n"
            "\n"
            "  -s, --size N       bytes of shared memory, of a posix-mq's largest message, or\n"
            "                     that a sysv-msg holds; k, M, G, T for powers of 1024\n"
            "  -n, --count N      semaphores of a set, else 1; messages that a posix-mq holds\n"
            "      --value N      what semaphores begin with; else 0\n"
            "  -m, --mode OCTAL   these permissions, exactly; else 0600\n"
            "\n"
            "-w bounds the wait for another process that is making the same set.\n",
    .examples = "Examples:\n"
                "  wherry mk -s 1M posix-shm /frames\n"
                "  wherry mk -n 3 --value 1 sysv-sem './key?id=S'\n",
    .run = run,
};
