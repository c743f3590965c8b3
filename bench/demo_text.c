/* bench/demo_text.c - owns the text that the demo carries.
 *
 * SPDX-License-Identifier: MIT
 *
 * Read whole before anything starts, so that the disk is not measured, and so that the receiver can check the order of
 * what arrives. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "demo.h"
#include "sha256.h"

enum { MADE_LINES = 200000, MADE_WIDTH = 160, FIRST_ROOM = 1 << 20 };

static void *grow(void *memory, size_t size)
{
    void *more = realloc(memory, size ? size : 1);
    if (!more)
        die("no memory for %zu bytes", size);
    return more;
}

static void read_all(struct text *text, int fd)
{
    size_t room = 0;
    for (;;) {
        if (room - text->size < FIRST_ROOM) {
            room = room ? room * 2 : 2 * (size_t)FIRST_ROOM;
            text->data = grow(text->data, room);
        }
        ssize_t got = read(fd, text->data + text->size, room - text->size);
        if (got < 0 && errno == EINTR && !stop_wanted())
            continue;
        if (got < 0)
            die("%s: %s", text->name, strerror(errno));
        if (got == 0)
            return;
        text->size += (size_t)got;
    }
}

/* Lines of words, short and long, some empty: the same on every machine. */
static void make(struct text *text)
{
    static const char *const words[] = {"ferry",     "river",  "oar",    "bank",   "tide", "mooring",
                                        "passenger", "boat",   "signal", "queue",  "pipe", "lock",
                                        "message",   "wherry", "kernel", "current"};
    uint64_t state = 1;
    text->data = grow(NULL, (size_t)MADE_LINES * MADE_WIDTH);
    for (int line = 1; line <= MADE_LINES; line++) {
        char *start = (char *)text->data + text->size;
        int used = line % 100 ? snprintf(start, MADE_WIDTH, "%d", line) : 0;
        state = state * 6364136223846793005u + 1442695040888963407u;
        for (uint64_t left = line % 100 ? state >> 60 : 0; left > 0; left--) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            if (used < MADE_WIDTH - 16)
                used += snprintf(start + used, (size_t)(MADE_WIDTH - used), " %s", words[state >> 60]);
        }
        start[used] = '\n';
        text->size += (size_t)used + 1;
    }
}

static void find_lines(struct text *text)
{
    size_t room = 0;
    for (size_t at = 0; at < text->size;) {
        const unsigned char *newline = memchr(text->data + at, '\n', text->size - at);
        size_t end = newline ? (size_t)(newline - text->data) + 1 : text->size;
        if (text->lines == room) {
            room = room ? room * 2 : 4096;
            text->ends = grow(text->ends, room * sizeof *text->ends);
        }
        text->ends[text->lines++] = end;
        if (end - at > text->longest)
            text->longest = end - at;
        at = end;
    }
}

void text_load(struct text *text, const char *path)
{
    *text = (struct text){.name = path ? path : "a text made for the occasion"};
    if (!path) {
        make(text);
    } else if (strcmp(path, "-") == 0) {
        text->name = "standard input";
        read_all(text, STDIN_FILENO);
    } else {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            die("%s: %s", path, strerror(errno));
        read_all(text, fd);
        close(fd);
    }
    find_lines(text);
    struct sha256 hash;
    sha256_init(&hash);
    sha256_add(&hash, text->data, text->size);
    sha256_end(&hash, text->digest);
}

void text_free(struct text *text)
{
    free(text->data);
    free(text->ends);
}

void digest_print(char ret_text[static 65], const unsigned char digest[static 32])
{
    for (int i = 0; i < 32; i++)
        snprintf(ret_text + 2 * (size_t)i, 3, "%02x", digest[i]);
}
