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
#include "lane.h"

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

static double lost_share(const struct carried *carried)
{
    return 100 * (double)carried->lost / (double)(carried->lost + carried->messages);
}

static void print_verdict(const struct carried *carried, const char *delay_why)
{
    printf("  %s", carried->verified ? "yes" : "NO");
    if (carried->lost)
        printf(", lost %llu (%.2f %%)", (unsigned long long)carried->lost, lost_share(carried));
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

/* What became of the transports, for the last line. */
struct sum {
    size_t carried, lossy, bad, skipped; /* `lossy`: verified, but for what was lost */
    char names[256], shares[256];        /* of the lossy ones: "udp and ip" */
};

/* "a", "a and b", "a, b and c": one more, behind so many. */
static void append(char *list, size_t size, const char *item, size_t before)
{
    char *last = strstr(list, " and ");
    if (before > 1 && last) {
        char tail[256];
        snprintf(tail, sizeof tail, "%s", last + strlen(" and "));
        snprintf(last, size - (size_t)(last - list), ", %s", tail);
    }
    snprintf(list + strlen(list), size - strlen(list), "%s%s", before ? " and " : "", item);
}

static void count(struct sum *sum, const struct wherry_traits *traits, const struct carried *carried, bool good)
{
    char share[32];
    if (!good) {
        sum->bad++;
    } else if (carried->lost) {
        snprintf(share, sizeof share, "%.2f %%", lost_share(carried));
        append(sum->names, sizeof sum->names, traits->scheme, sum->lossy);
        append(sum->shares, sizeof sum->shares, share, sum->lossy);
        sum->lossy++;
    } else {
        sum->carried++;
    }
}

static void show(const struct wherry_traits *traits, const struct text *text, struct sum *sum)
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
    count(sum, traits, &carried, carried.verified && !spinning.why[0] && !blocking.why[0]);
}

static void print_sum(const struct sum *sum)
{
    size_t verified = sum->carried + sum->lossy, all = verified + sum->bad + sum->skipped;
    if (sum->bad) {
        printf("\n%zu of %zu transports FAILED\n", sum->bad, all);
        return;
    }
    if (sum->skipped)
        printf("\n%zu of %zu transports verified, the others were skipped: ", verified, all);
    else
        printf("\nall %zu transports verified: ", all);
    printf("%zu carried every byte, in order", sum->carried);
    if (sum->lossy)
        printf("; %s, which may lose messages, lost %s, and delivered the rest in order", sum->names, sum->shares);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct text text;
    struct sum sum = {0};
    size_t transports;
    if (argc > 2 || (argc == 2 && strcmp(argv[1], "--help") == 0)) {
        fprintf(argc > 2 ? stderr : stdout, "usage: %s [FILE]\n", argv[0]);
        return argc > 2 ? 2 : 0;
    }
    stop_prepare();
    text_load(&text, argc == 2 ? argv[1] : NULL);
    print_head(&text);
    const struct wherry_traits *const *all = wherry_transports(&transports);
    for (size_t i = 0; i < transports; i++) {
        bool forbidden = lane_forbidden(all[i]);
        sum.skipped += forbidden;
        if (forbidden)
            printf("%-16s skipped: %s\n", all[i]->scheme, wherry_why());
        else
            show(all[i], &text, &sum);
    }
    print_sum(&sum);
    text_free(&text);
    return sum.bad ? 1 : 0;
}
