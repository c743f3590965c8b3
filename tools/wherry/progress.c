/* progress.c - owns the progress line.
 *
 * SPDX-License-Identifier: MIT */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static bool line_is_drawn;

static void put(const char *text, int length)
{
    if (length > 0)
        (void)!write(STDERR_FILENO, text, (size_t)length); /* nobody to tell if it fails */
}

void progress_clear(void)
{
    if (line_is_drawn)
        put("\r\033[K", 4);
    line_is_drawn = false;
}

void progress_begin(struct progress *progress, const struct options *options, const char *word, int busy_terminal)
{
    wherry_time now = wherry_now();
    bool busy = busy_terminal >= 0 && isatty(busy_terminal);
    *progress = (struct progress){
        .word = word,
        .draws = !options->quiet && !busy && isatty(STDERR_FILENO),
        .sums_up = options->verbose && !options->quiet,
        .start = now,
        .drawn = now,
    };
}

/* 1234567 bytes to "1.2 MB". */
static void print_bytes(char text[static 32], double bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;
    for (; bytes >= 1000 && unit + 1 < sizeof units / sizeof *units; unit++)
        bytes /= 1000;
    snprintf(text, 32, "%.*f %s", unit == 0 ? 0 : 1, bytes, units[unit]);
}

static int print_sum(const struct progress *progress, wherry_time now, char *text, size_t capacity)
{
    double seconds = (double)(now - progress->start) / (double)WHERRY_SECOND;
    double least = seconds > 1e-6 ? seconds : 1e-6;
    char bytes[32], rate[32];
    print_bytes(bytes, (double)progress->bytes);
    print_bytes(rate, (double)progress->bytes / least);
    return snprintf(text, capacity, "%" PRIu64 " message%s %s, %s in %.3f s: %.0f messages/s, %s/s", progress->messages,
                    progress->messages == 1 ? "" : "s", progress->word, bytes, seconds,
                    (double)progress->messages / least, rate);
}

void progress_draw(struct progress *progress)
{
    wherry_time now = wherry_now();
    if (!progress->draws || now - progress->drawn < WHERRY_SECOND)
        return;
    char text[256];
    text[0] = '\r';
    int length = 1 + print_sum(progress, now, text + 1, sizeof text - 8);
    put(text, length + snprintf(text + length, sizeof text - (size_t)length, "\033[K"));
    progress->drawn = now;
    line_is_drawn = true;
}

void progress_end(struct progress *progress)
{
    progress_clear();
    if (!progress->sums_up)
        return;
    char text[256];
    print_sum(progress, wherry_now(), text, sizeof text);
    note("%s", text);
}
