/* report.c - owns how what was found is printed.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stepkill.h"

enum { SHOWN_LINES = 5 };

void finding_free(struct finding *finding)
{
    for (size_t i = 0; i < finding->kept_count; i++) {
        free(finding->kept[i].where);
        free(finding->kept[i].reason);
        free(finding->kept[i].output);
    }
    finding->kept_count = 0;
}

static void print_target(const struct target *target)
{
    printf(target->call > 1 ? "%s@%" PRIu64 : "%s", target->name, target->call);
}

/* ---- for people ------------------------------------------------------------------------------------------------ */

static void print_duration(int64_t time)
{
    if (time < 1000000)
        printf("%.0f us", (double)time / 1e3);
    else if (time < 1000000000)
        printf("%.1f ms", (double)time / 1e6);
    else
        printf("%.2f s", (double)time / 1e9);
}

/* The last lines; what a terminal would take for a command shows as a question mark. */
static void print_output(const char *text)
{
    size_t size = strlen(text), from, lines = 0;
    while (size > 0 && text[size - 1] == '\n')
        size--;
    for (from = size; from > 0; from--)
        if (text[from - 1] == '\n' && ++lines == SHOWN_LINES)
            break;
    for (bool fresh = true; from < size; from++) {
        unsigned char letter = (unsigned char)text[from];
        if (fresh)
            fputs("      | ", stdout);
        fresh = letter == '\n';
        putchar((letter < ' ' && letter != '\n' && letter != '\t') || letter == 0x7f ? '?' : letter);
    }
    if (size > 0)
        putchar('\n');
}

static void print_finding(const struct options *options, const struct finding *finding)
{
    const char *unit = options->by_calls ? "system call stops" : "steps";
    print_target(finding->target);
    printf(": %" PRIu64 " points", finding->points);
    if (finding->complete)
        printf(" in %" PRIu64 " %s", finding->steps, unit);
    printf(", %" PRIu64 " violations", finding->violations);
    if (options->checker && finding->points > 0) {
        fputs(", worst recovery ", stdout);
        print_duration(finding->worst);
        printf(" (step %" PRIu64 ")", finding->worst_step);
    }
    putchar('\n');
    for (size_t i = 0; i < finding->kept_count; i++) {
        const struct violation *kept = &finding->kept[i];
        printf("  step %" PRIu64 ", %s: %s\n", kept->step, kept->where, kept->reason ? kept->reason : "violation");
        print_output(kept->output);
    }
    if (finding->violations > finding->kept_count)
        printf("  and %" PRIu64 " more\n", finding->violations - finding->kept_count);
    if (!finding->complete)
        puts("  not all: the function goes on after the last step that was tried");
    else if (finding->ended)
        puts("  the function does not return: the thread or the process ends in it");
}

void report_text(const struct options *options, const struct finding *findings, size_t count)
{
    for (size_t i = 0; i < count; i++)
        print_finding(options, &findings[i]);
}

/* ---- for programs ---------------------------------------------------------------------------------------------- */

/* The length of the UTF-8 letter here; 0 when it is none. */
static size_t letter_size(const unsigned char *at)
{
    size_t size = at[0] < 0x80                     ? 1
                  : at[0] >= 0xc2 && at[0] < 0xe0 ? 2
                  : (at[0] & 0xf0) == 0xe0        ? 3
                  : at[0] >= 0xf0 && at[0] < 0xf5 ? 4
                                                  : 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    /* overlong forms, surrogates, and what lies beyond U+10FFFF */
    unsigned char low = at[0] == 0xe0 ? 0xa0 : at[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = at[0] == 0xed ? 0x9f : at[0] == 0xf4 ? 0x8f : 0xbf;
    return size > 1 && (at[1] < low || at[1] > high) ? 0 : size;
}

static void print_string(const char *text)
{
    putchar('"');
    for (const unsigned char *at = (const unsigned char *)(text ? text : ""); *at;) {
        size_t size = letter_size(at);
        if (size == 0)
            fputs("\\ufffd", stdout);
        else if (*at == '"' || *at == '\\')
            printf("\\%c", *at);
        else if (*at < ' ' || *at == 0x7f)
            printf("\\u%04x", *at);
        else
            fwrite(at, 1, size, stdout);
        at += size ? size : 1;
    }
    putchar('"');
}

static void json_finding(const struct options *options, const struct finding *finding)
{
    fputs("{\"function\":", stdout);
    print_string(finding->target->name);
    printf(",\"call\":%" PRIu64 ",\"points\":%" PRIu64 ",\"violations\":%" PRIu64 ",\"complete\":%s",
           finding->target->call, finding->points, finding->violations, finding->complete ? "true" : "false");
    if (finding->complete)
        printf(",\"steps\":%" PRIu64 ",\"returned\":%s", finding->steps, finding->ended ? "false" : "true");
    printf(",\"steps_made\":%" PRIu64 ",\"seconds\":%.6f", finding->made, (double)finding->took / 1e9);
    if (options->checker && finding->points > 0)
        printf(",\"recovery\":{\"worst\":%.6f,\"worst_step\":%" PRIu64 ",\"mean\":%.6f}", (double)finding->worst / 1e9,
               finding->worst_step, (double)finding->all / 1e9 / (double)finding->points);
    fputs(",\"found\":[", stdout);
    for (size_t i = 0; i < finding->kept_count; i++) {
        const struct violation *kept = &finding->kept[i];
        printf("%s{\"step\":%" PRIu64 ",\"place\":", i ? "," : "", kept->step);
        print_string(kept->where);
        fputs(",\"reason\":", stdout);
        print_string(kept->reason);
        fputs(",\"output\":", stdout);
        print_string(kept->output);
        putchar('}');
    }
    fputs("]}", stdout);
}

void report_json(const struct options *options, const struct finding *findings, size_t count)
{
    fputs("{\"program\":[", stdout);
    for (char **word = options->program; *word; word++) {
        if (word != options->program)
            putchar(',');
        print_string(*word);
    }
    printf("],\"signal\":\"%s\",\"unit\":\"%s\",\"functions\":[", signal_name(options->signal),
           options->by_calls ? "system call stop" : "instruction");
    for (size_t i = 0; i < count; i++) {
        if (i)
            putchar(',');
        json_finding(options, &findings[i]);
    }
    puts("]}");
}
