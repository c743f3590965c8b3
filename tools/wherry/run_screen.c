/* run_screen.c - owns what `wherry run` prints: whole lines of units, sentences, and the status line of a terminal.
 *
 * SPDX-License-Identifier: MIT
 *
 * Lines go to standard output, sentences and the status line to standard error.  On a terminal both end up in one
 * place, so the status line is taken away before anything else is written there. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "run.h"
#include "text.h"

enum { MOST_WIDTH = 512 };
static const wherry_time between_drawings = 100 * WHERRY_MILLISECOND;

static bool wants_colors(const struct options *options)
{
    const char *none = getenv("NO_COLOR"), *terminal = getenv("TERM");
    if (options->color != COLOR_AUTO)
        return options->color == COLOR_ALWAYS;
    return isatty(STDOUT_FILENO) && !(none && none[0]) && terminal && strcmp(terminal, "dumb") != 0;
}

void screen_open(struct screen *screen, const struct options *options, const struct run_plan *plan)
{
    const char *terminal = getenv("TERM");
    *screen = (struct screen){.plan = plan, .colors = wants_colors(options)};
    sink_open(&screen->out, STDOUT_FILENO);
    sink_open(&screen->err, STDERR_FILENO);
    screen->draws = screen->err.is_terminal && !options->quiet && terminal && strcmp(terminal, "dumb") != 0;
    for (size_t i = 0; i < plan->count; i++)
        if ((int)strlen(plan->units[i]->name) > screen->width)
            screen->width = (int)strlen(plan->units[i]->name);
}

void screen_clear(struct screen *screen)
{
    if (screen->drawn)
        sink_put(&screen->err, "\r\033[K", 4);
    screen->drawn = false;
    screen->dirty = true;
    sink_flush(&screen->err);
}

/* ---- lines ---- */

void screen_line(struct screen *screen, const char *unit, const char *line, size_t size)
{
    static const char *const colors[] = {"36", "33", "32", "35", "34", "31"};
    char before[160];
    size_t index = 0;
    while (index < screen->plan->count && strcmp(screen->plan->units[index]->name, unit) != 0)
        index++;
    if (screen->drawn)
        screen_clear(screen);
    int used = snprintf(before, sizeof before, screen->colors ? "\033[%s;1m%-*s |\033[0m " : "%.0s%-*s | ",
                        colors[index % (sizeof colors / sizeof *colors)], screen->width, unit);
    sink_put(&screen->out, before, (size_t)used);
    sink_put(&screen->out, line, size);
    sink_put(&screen->out, "\n", 1);
}

void screen_say(struct screen *screen, const char *format, ...)
{
    char raw[1024], line[3 * sizeof raw + 32];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(raw, sizeof raw, format, arguments);
    va_end(arguments);
    size_t used = (size_t)snprintf(line, sizeof line, "wherry: run: ");
    used += escape_text(raw, line + used, sizeof line - used - 1);
    line[used++] = '\n';
    screen_clear(screen);
    sink_flush(&screen->out); /* what came before it, where both are one terminal */
    sink_put(&screen->err, line, used);
    sink_flush(&screen->err);
}

/* ---- the status line ---- */

static size_t describe(char *text, size_t capacity, const struct wherry_unit_status *status)
{
    static const char *const signs[] = {
        [WHERRY_UNIT_WAITING] = "waiting",   [WHERRY_UNIT_STARTING] = "starting",  [WHERRY_UNIT_READY] = "ready",
        [WHERRY_UNIT_STOPPING] = "stopping", [WHERRY_UNIT_BACKOFF] = "again soon", [WHERRY_UNIT_ENDED] = "ended",
        [WHERRY_UNIT_FAILED] = "failed",
    };
    uint64_t restarts = status->starts > 1 ? status->starts - 1 : 0;
    int used = snprintf(text, capacity, "%s %s", status->name, signs[status->state]);
    if (restarts > 0 && used > 0 && (size_t)used < capacity)
        used += snprintf(text + used, capacity - (size_t)used, " (%llu restart%s)", (unsigned long long)restarts,
                         restarts == 1 ? "" : "s");
    return used > 0 ? (size_t)used : 0;
}

static void draw(struct screen *screen)
{
    struct winsize size;
    char line[MOST_WIDTH + 256] = "\r";
    size_t width = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79, used = 1;
    struct wherry_unit_status status;
    if (width > MOST_WIDTH)
        width = MOST_WIDTH;
    for (size_t i = 0; used - 1 < width && wherry_supervisor_status(screen->supervisor, i, &status) == 0; i++) {
        if (i > 0)
            used += (size_t)snprintf(line + used, 4, " | ");
        used += describe(line + used, 200, &status);
    }
    if (used - 1 > width)
        used = width + 1;
    memcpy(line + used, "\033[K", 3);
    sink_put(&screen->err, line, used + 3);
    screen->drawn = true;
    screen->dirty = false;
    screen->drawn_at = wherry_now();
}

wherry_time screen_update(struct screen *screen)
{
    wherry_time next = screen->drawn_at + between_drawings;
    sink_flush(&screen->out);
    sink_flush(&screen->err);
    bool has_room = sink_waiting(&screen->err) == 0 && sink_waiting(&screen->out) == 0;
    if (!screen->draws || !screen->dirty || !has_room)
        return WHERRY_FOREVER;
    if (wherry_now() < next)
        return next;
    draw(screen);
    sink_flush(&screen->err);
    return WHERRY_FOREVER;
}

void screen_close(struct screen *screen)
{
    screen->draws = false;
    if (screen->drawn)
        screen_clear(screen);
    sink_close(&screen->err);
    sink_close(&screen->out);
}
