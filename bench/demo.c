/* bench/demo.c - the main job: a file, line by line, from one process to another, over every transport there is.
 *
 * SPDX-License-Identifier: MIT
 *
 * Walks wherry_transports() and prints one row for each, so that a transport added later appears by itself.  Uses the
 * public headers alone.  Exits with 0 only when every row is verified. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "common.h"
#include "demo.h"

static void print_head(const struct text *text)
{
    char digest[65];
    struct utsname system;
    digest_print(digest, text->digest);
    uname(&system);
    printf("wherry %s on Linux %s, %d core%s\n", wherry_version(), system.release, core_count(),
           core_count() > 1 ? "s" : "");
    printf("%s: %zu lines, %.1f MB, SHA-256 %s\n", text->name, text->lines, (double)text->size / 1e6, digest);
    printf("a message is a line; latency is one way, of %s\n\n",
           core_count() > 1 ? "64 bytes, sender and receiver on a core of their own" : "64 bytes, on the only core");
    printf("%-16s %9s %11s %8s  %17s  %17s\n", "", "", "", "", "spinning, us", "blocking, us");
    printf("%-16s %9s %11s %8s  %8s %8s  %8s %8s  %s\n", "transport", "messages", "messages/s", "MB/s", "p50", "p99",
           "p50", "p99", "verified");
}

static void print_delay(const struct delay *delay)
{
    if (delay->why[0])
        printf("  %8s %8s", "-", "-");
    else
        printf("  %8.2f %8.2f", delay->middle / 1e3, delay->late / 1e3);
}

static void print_verdict(const struct carried *carried, const char *delay_why)
{
    printf("  %s", carried->verified ? "yes" : "NO");
    if (carried->lost)
        printf(", lost %llu (%.2f %%)", (unsigned long long)carried->lost,
               100 * (double)carried->lost / (double)(carried->lost + carried->messages));
    if (carried->too_large)
        printf(", %zu line%s in pieces: it takes %zu bytes at most", carried->too_large,
               carried->too_large > 1 ? "s" : "", carried->piece);
    if (carried->why[0])
        printf(": %s", carried->why);
    if (delay_why[0])
        printf("; latency: %s", delay_why);
    printf("\n");
    fflush(stdout);
}

/* Whether all is well with this transport. */
static bool show(const struct wherry_traits *traits, const struct text *text)
{
    struct carried carried;
    struct delay spinning, blocking;
    carry(traits, text, &carried);
    measure_delay(traits, true, &spinning);
    measure_delay(traits, false, &blocking);
    printf("%-16s %9llu", traits->scheme, (unsigned long long)carried.messages);
    if (carried.messages && carried.seconds > 0)
        printf(" %11.0f %8.1f", (double)carried.messages / carried.seconds, (double)text->size / carried.seconds / 1e6);
    else
        printf(" %11s %8s", "-", "-");
    print_delay(&spinning);
    print_delay(&blocking);
    print_verdict(&carried, spinning.why[0] ? spinning.why : blocking.why);
    return carried.verified && !spinning.why[0] && !blocking.why[0];
}

int main(int argc, char **argv)
{
    struct text text;
    size_t count, bad = 0;
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--help") == 0)) {
        fprintf(argc > 2 ? stderr : stdout, "usage: %s [FILE]\n", argv[0]);
        return argc > 2 ? 2 : 0;
    }
    stop_prepare();
    text_load(&text, argc == 2 ? argv[1] : NULL);
    print_head(&text);
    const struct wherry_traits *const *all = wherry_transports(&count);
    for (size_t i = 0; i < count; i++)
        bad += !show(all[i], &text);
    if (bad)
        printf("\n%zu of %zu transports FAILED\n", bad, count);
    else
        printf("\nall %zu transports carried every byte in order\n", count);
    return bad ? 1 : 0;
}
