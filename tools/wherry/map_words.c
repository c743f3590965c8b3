/* map_words.c - owns the words that all forms of the map share.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "inventory.h"
#include "map.h"

void map_print(struct output *output, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    output_bytes(output, text, length < (int)sizeof text ? (size_t)length : sizeof text - 1);
}

static const char *lock_word(const struct wherry_inspect_hold *hold)
{
    static const char *const words[] = {
        [WHERRY_LOCK_OFD] = "OFD lock", [WHERRY_LOCK_POSIX] = "POSIX lock", [WHERRY_LOCK_FLOCK] = "flock"};
    return hold->lease ? "lease" : words[hold->lock];
}

/* "4096-8191", "0-" */
static void range(const struct wherry_inspect_hold *hold, char text[48])
{
    int used = snprintf(text, 48, "%" PRIu64 "-", hold->start);
    if (hold->length)
        snprintf(text + used, 48 - (size_t)used, "%" PRIu64, hold->start + hold->length - 1);
}

const char *map_hold(const struct wherry_inspect_hold *hold, char text[MAP_HOLD_TEXT])
{
    char bytes[48], fd[32] = "";
    const char *access = inventory_access(hold), *blank = access[0] ? " " : "";
    bool is_lock = hold->object->kind == WHERRY_INSPECT_FILE &&
                   (hold->how == WHERRY_INSPECT_LOCKED || hold->how == WHERRY_INSPECT_WAITING);
    if (hold->fd >= 0)
        snprintf(fd, sizeof fd, "fd %d", hold->fd);
    if (is_lock) {
        range(hold, bytes);
        snprintf(text, MAP_HOLD_TEXT, "%s %s %s of bytes %s%s%s",
                 hold->how == WHERRY_INSPECT_LOCKED ? "holds" : "waits for",
                 hold->exclusive ? "an exclusive" : "a shared", lock_word(hold), bytes, fd[0] ? ", " : "", fd);
    } else if (hold->how == WHERRY_INSPECT_OPEN)
        snprintf(text, MAP_HOLD_TEXT, "%s%s%s", fd[0] ? fd : "open", blank, access);
    else if (hold->how == WHERRY_INSPECT_WAITING)
        snprintf(text, MAP_HOLD_TEXT, "waits in %s", hold->detail[0] ? hold->detail : "a call");
    else
        snprintf(text, MAP_HOLD_TEXT, "%s%s%s at 0x%" PRIx64 ", %" PRIu64 " bytes", inventory_how(hold), blank, access,
                 hold->start, hold->length);
    if (hold->thread) {
        size_t length = strlen(text);
        snprintf(text + length, MAP_HOLD_TEXT - length, " of thread %d", (int)hold->thread);
    }
    return text;
}

const char *map_started(const struct wherry_inspect_process *process, char text[40])
{
    struct timespec now, booted;
    long hertz = sysconf(_SC_CLK_TCK);
    if (hertz <= 0 || clock_gettime(CLOCK_REALTIME, &now) < 0 || clock_gettime(CLOCK_BOOTTIME, &booted) < 0)
        return NULL;
    int64_t boot = (now.tv_sec - booted.tv_sec) * INT64_C(1000000000) + now.tv_nsec - booted.tv_nsec;
    return inventory_time(boot + (int64_t)(process->start * UINT64_C(1000) / (uint64_t)hertz) * INT64_C(1000000), text);
}
