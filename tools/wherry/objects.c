/* objects.c - owns what the verbs about kernel objects share.
 *
 * SPDX-License-Identifier: MIT */
#include "objects.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *parse_bytes(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "kMGT";
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end == 'K' ? 'k' : *end) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    if (!isdigit((unsigned char)text[0]) || errno || end[unit != NULL] != '\0')
        return "is no size: write a number of bytes, or one with k, M, G or T";
    if (value > (uint64_t)INT64_MAX >> shift)
        return "is more than there can be";
    *ret_bytes = (uint64_t)value << shift;
    return NULL;
}

const char *parse_mode(const char *text, uint32_t *ret_mode)
{
    char *end;
    errno = 0;
    unsigned long mode = strtoul(text, &end, 8);
    if (!isdigit((unsigned char)text[0]) || *end || errno || mode == 0 || (mode & ~0666ul))
        return "is no mode: write permissions to read and write in octal, such as 0640";
    *ret_mode = (uint32_t)mode;
    return NULL;
}

static int wrong_value(struct options *options, const char *name, const char *wrong)
{
    if (!wrong)
        return 0;
    options->code = misuse(options->verb, "%s %s %s", name, optarg, wrong);
    return -1;
}

int take_bytes(struct options *options, const char *name, uint64_t *ret_bytes)
{
    return wrong_value(options, name, parse_bytes(optarg, ret_bytes));
}

int take_mode(struct options *options, const char *name, uint32_t *ret_mode)
{
    return wrong_value(options, name, parse_mode(optarg, ret_mode));
}

int take_number(struct options *options, const char *name, int64_t least, int64_t most, int64_t *ret_number)
{
    return wrong_value(options, name, parse_number(optarg, least, most, ret_number));
}

unsigned option_bit(const struct option_use *uses, size_t count, int option)
{
    for (size_t i = 0; i < count; i++)
        if (uses[i].option == option)
            return 1u << i;
    return 0;
}

int check_uses(const struct verb *verb, const struct option_use *uses, size_t count, unsigned given,
               const char *action)
{
    for (size_t i = 0; i < count; i++)
        if ((given & 1u << i) && !strstr(uses[i].actions, action))
            return misuse(verb, "%s is for %s, and says nothing to %s", uses[i].shown, uses[i].actions, action);
    return 0;
}

int read_file(const char *path, const char *what, uint64_t most, char **ret_data, size_t *ret_size)
{
    bool standard = !path || strcmp(path, "-") == 0;
    const char *name = standard ? "standard input" : path;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *data = NULL;
    size_t size = 0, room = 0;
    ssize_t done = fd < 0 ? -1 : 1;
    while (size <= most && (done > 0 || (done < 0 && errno == EINTR && fd >= 0))) {
        if (size == room) {
            room = room ? room * 2 : 65536;
            char *more = realloc(data, room);
            if (!more) {
                errno = ENOMEM;
                done = -1;
                break;
            }
            data = more;
        }
        done = read(fd, data + size, room - size);
        size += done > 0 ? (size_t)done : 0;
    }
    int code = errno;
    if (!standard && fd >= 0)
        close(fd);
    if (done < 0) {
        free(data);
        return complain(TOOL_FAILED, "%s: %s", name, strerror(code));
    }
    if (size > most) {
        free(data);
        return complain(TOOL_FAILED, "%s: %s has more than the %" PRIu64 " bytes that there is room for", what, name,
                        most);
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}

int object_complain(const struct options *options, const char *name, int error)
{
    int code = error == -ETIMEDOUT                                                  ? TOOL_TIMED_OUT
               : error == -EAGAIN && options->timed                                 ? TOOL_TIMED_OUT
               : error == -EINVAL || error == -ENAMETOOLONG || error == -EOPNOTSUPP ? TOOL_USAGE
                                                                                    : TOOL_FAILED;
    const char *why = wherry_why();
    if (strncmp(why, name, strlen(name)) == 0)
        return complain(code, "%s", why);
    return complain(code, "%s: %s", name, why);
}

int open_waiting(const struct options *options, wherry_time deadline, int (*open)(void *context, wherry_time deadline),
                 void *context)
{
    bool looked_at = options->verbose || isatty(STDERR_FILENO);
    wherry_time first = looked_at ? WHERRY_NOW : wherry_after(WHERRY_SECOND);
    int result = open(context, deadline < first ? deadline : first);
    if ((result != -EAGAIN && result != -ETIMEDOUT) || deadline <= wherry_now())
        return result;
    note("%s; waiting", wherry_why());
    return open(context, deadline);
}
