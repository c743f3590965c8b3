/* base/locks.c - owns the reading of /proc/locks as one list; proc_locks(5).
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/locks.h"
#include "base/sys.h"

enum { LOOKS = 7, PIECE = 4096 /* as the kernel has them */ };

/* A lock and those who wait for it: "12: FLOCK ...\n12: -> FLOCK ...\n". */
struct record {
    const char *text;
    size_t size;
};

struct look {
    char *text;
    size_t size;
    unsigned pieces;
    struct record *records; /* ordered by what they say */
    size_t count;
    size_t at; /* how far they are merged */
};

static void fini(struct look *look)
{
    free(look->text);
    free(look->records);
}

static const char *behind_number(const char *line)
{
    while (isdigit((unsigned char)*line))
        line++;
    return line;
}

static bool is_waiting(const char *line)
{
    line = behind_number(line);
    line += *line == ':';
    return strncmp(line + strspn(line, " "), "->", 2) == 0;
}

static size_t first_record(const char *text)
{
    const char *end = text;
    do {
        end += strcspn(end, "\n");
        end += *end == '\n';
    } while (*end && is_waiting(end));
    return (size_t)(end - text);
}

/* What is wrong is so at the ends of pieces: they are elsewhere in each look.  A piece that is not full is the last,
 * unless the next lock, with those who wait for it, had no room: what else comes then was there, and has moved. */
static int read_whole(struct look *look, size_t number)
{
    size_t room = 0, piece = PIECE - number * (PIECE / LOOKS), last = PIECE;
    int result = 0, fd = wherry__sys.openat(AT_FDCWD, "/proc/locks", O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    for (;;) {
        if (room - look->size <= PIECE) {
            char *more = realloc(look->text, room = room ? 2 * room : (size_t)4 * PIECE);
            if (!more) {
                result = -ENOMEM;
                break;
            }
            look->text = more;
        }
        char *at = look->text + look->size;
        ssize_t got = wherry__sys.read(fd, at, piece);
        if (got < 0 && errno == EINTR)
            continue;
        at[got > 0 ? got : 0] = '\0';
        if (got <= 0 || last + first_record(at) < PIECE) {
            result = got < 0 ? -errno : 0;
            break;
        }
        last = (size_t)got < piece ? (size_t)got : PIECE;
        look->size += (size_t)got;
        look->pieces++;
        piece = PIECE;
    }
    if (look->text)
        look->text[look->size] = '\0';
    wherry__sys.close(fd);
    return result;
}

/* ---- looks at one list ---- */

/* The numbers at the beginning of lines say how many came before, and nothing else. */
static int compare(const void *one, const void *other)
{
    const struct record *a = one, *b = other;
    const char *x = a->text, *y = b->text, *x_end = x + a->size, *y_end = y + b->size;
    while (x < x_end && y < y_end) {
        x = behind_number(x);
        y = behind_number(y);
        size_t x_size = strcspn(x, "\n"), y_size = strcspn(y, "\n");
        int result = memcmp(x, y, x_size < y_size ? x_size : y_size);
        if (result != 0 || x_size != y_size)
            return result != 0 ? result : x_size < y_size ? -1 : 1;
        x += x_size + (x[x_size] == '\n');
        y += y_size + (y[y_size] == '\n');
    }
    return (x < x_end) - (y < y_end);
}

static int split(struct look *look)
{
    size_t lines = 1;
    for (const char *at = look->text; (at = strchr(at, '\n')); at++)
        lines++;
    look->records = malloc(lines * sizeof *look->records);
    if (!look->records)
        return -ENOMEM;
    for (const char *line = look->text, *next; *line; line = next) {
        const char *end = strchr(line, '\n');
        next = end ? end + 1 : line + strlen(line);
        if (look->count > 0 && is_waiting(line))
            look->records[look->count - 1].size += (size_t)(next - line);
        else
            look->records[look->count++] = (struct record){.text = line, .size = (size_t)(next - line)};
    }
    qsort(look->records, look->count, sizeof *look->records, compare);
    return 0;
}

static bool say_the_same(const struct look *a, const struct look *b)
{
    for (size_t i = 0; i < a->count && i < b->count; i++)
        if (compare(&a->records[i], &b->records[i]) != 0)
            return false;
    return a->count == b->count;
}

/* ---- out of many looks ---- */

static const struct record *least(const struct look *looks, size_t count)
{
    const struct record *found = NULL;
    for (size_t i = 0; i < count; i++)
        if (looks[i].at < looks[i].count && (!found || compare(&looks[i].records[looks[i].at], found) < 0))
            found = &looks[i].records[looks[i].at];
    return found;
}

static int compare_sizes(const void *one, const void *other)
{
    const size_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

/* How often it is in the middle one of the looks, all of which are then behind it. */
static size_t pass(struct look *looks, const struct record *record)
{
    size_t times[LOOKS];
    for (size_t i = 0; i < LOOKS; i++) {
        size_t first = looks[i].at;
        while (looks[i].at < looks[i].count && compare(&looks[i].records[looks[i].at], record) == 0)
            looks[i].at++;
        times[i] = looks[i].at - first;
    }
    qsort(times, LOOKS, sizeof *times, compare_sizes);
    return times[LOOKS / 2];
}

static int merge(struct look *looks, char **ret_text)
{
    size_t most = 1, used = 0;
    for (size_t i = 0; i < LOOKS; i++)
        most += looks[i].size + 1;
    char *text = malloc(most);
    if (!text)
        return -ENOMEM;
    for (const struct record *record; (record = least(looks, LOOKS));)
        for (size_t times = pass(looks, record); times > 0; times--) {
            memcpy(text + used, record->text, record->size);
            used += record->size;
        }
    text[used] = '\0';
    *ret_text = text;
    return 0;
}

int wherry__locks_read(char **ret_text)
{
    struct look looks[LOOKS] = {{.text = NULL}};
    size_t count = 0;
    int result;
    do {
        result = read_whole(&looks[count], count);
        if (result == 0 && (count > 0 || looks[count].pieces > 1))
            result = split(&looks[count]);
        count++;
    } while (result == 0 && looks[count - 1].pieces > 1 && count < LOOKS &&
             (count < 2 || !say_the_same(&looks[count - 2], &looks[count - 1])));
    if (result == 0 && count == LOOKS) {
        result = merge(looks, ret_text);
    } else if (result == 0) {
        *ret_text = looks[count - 1].text;
        looks[count - 1].text = NULL;
    }
    while (count > 0)
        fini(&looks[--count]);
    return result;
}
