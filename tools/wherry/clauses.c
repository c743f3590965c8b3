/* clauses.c - owns the words for traits: the tables of wherry-semantics(7).
 *
 * SPDX-License-Identifier: MIT */
#include "clauses.h"

#include <inttypes.h>

const struct shortfall shortfalls[] = {
    {1, WHERRY_TRAIT_EMPTY, false, "A message of zero bytes cannot be sent."},
    {3, WHERRY_TRAIT_FANS_OUT, true, "Each message reaches every receiver, not one."},
    {4, WHERRY_TRAIT_LOSSY, true, "Messages may be lost; losses are counted where they show."},
    {4, WHERRY_TRAIT_READS_AHEAD, true, "What a receiver read ahead dies with it."},
    {5, WHERRY_TRAIT_KEEPS_TAIL, true,
     "The tail of a message that was half written lives in the sender's memory, and dies with it."},
    {5, WHERRY_TRAIT_NEVER_FULL, true, "It is never full: no send waits for a receiver."},
    {6, WHERRY_TRAIT_HOLDS, true,
     "The endpoint holds a message that was too big for the buffer, since the kernel cannot show its size first."},
    {7, WHERRY_TRAIT_ENDS, false, "There is no end: that the last sender has gone is not seen."},
    {7, WHERRY_TRAIT_ENDS_FOR_EVER, true, "After the end no sender can come."},
    {7, WHERRY_TRAIT_KNOWS_RECEIVERS, false, "A send is accepted although nobody is left to receive."},
    {9, WHERRY_TRAIT_NOTICES_DEATH, false, "A peer that waits does not notice the death of the other."},
    {10, WHERRY_TRAIT_STEPS, true, "Waits look again in growing steps of 50 µs to 10 ms."},
    {10, WHERRY_TRAIT_TICKS, true, "A wait in a call looks 17 times a second at who is alive; who polls is not woken."},
    {11, WHERRY_TRAIT_POLLABLE, false, "There are no descriptors for poll(2)."},
    {13, WHERRY_TRAIT_IN_PLACE, false, "Reserve and borrow work through a buffer: one copy."},
    {14, WHERRY_TRAIT_PEER, false, "The kernel does not say who sent a message."},
    {16, WHERRY_TRAIT_TYPES, false, "Messages carry no type."},
    {0, WHERRY_TRAIT_CARRIES_FDS, false, "Messages carry no open descriptors."},
};
const size_t shortfall_count = sizeof shortfalls / sizeof *shortfalls;

bool falls_short(const struct wherry_traits *traits, const struct shortfall *shortfall)
{
    return ((traits->bits & shortfall->trait) != 0) == shortfall->when_set;
}

bool keeps_clause(const struct wherry_traits *traits, int clause)
{
    for (size_t i = 0; i < shortfall_count; i++)
        if (shortfalls[i].clause == clause && falls_short(traits, &shortfalls[i]))
            return false;
    return true;
}

const char *clause_name(int clause)
{
    static const char *const names[CLAUSES + 1] = {
        "",         "whole",        "ordered", "once",      "kept",     "back-pressure", "too small a buffer",
        "the end",  "either first", "death",   "deadlines", "pollable", "threads, fork", "no copy",
        "who sent", "never trust",  "types",
    };
    return clause >= 1 && clause <= CLAUSES ? names[clause] : "";
}

void shortfall_word(const struct shortfall *shortfall, char *word, size_t capacity)
{
    const char *name = wherry_trait_name(shortfall->trait);
    snprintf(word, capacity, "%s%s", shortfall->when_set ? "" : "no-", name ? name : "?");
}

/* scdoc gives a meaning to these. */
static void print_text(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, "%s%c", *text == '_' || *text == '*' || *text == '\\' ? "\\" : "", *text);
}

static void print_objects(FILE *out, const struct wherry_traits *const *all, size_t count)
{
    fprintf(out, "[[ *Transport*\n:[ *Kernel object*\n:] *Largest*\n:< *What it is*\n");
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "|  *");
        print_text(out, all[i]->scheme);
        fprintf(out, "*\n:  ");
        print_text(out, all[i]->object);
        if (all[i]->largest > 0)
            fprintf(out, "\n:  %" PRIu64 "\n:  ", all[i]->largest);
        else
            fprintf(out, "\n:  -\n:  ");
        print_text(out, all[i]->summary);
        fprintf(out, "\n");
    }
}

static void print_who(FILE *out, const struct wherry_traits *const *all, size_t count,
                      const struct shortfall *shortfall)
{
    size_t who = 0;
    for (size_t i = 0; i < count; i++) {
        if (!falls_short(all[i], shortfall))
            continue;
        fprintf(out, "%s", who++ ? ", " : "");
        print_text(out, all[i]->scheme);
    }
    if (who == 0)
        fprintf(out, "none");
    else if (who == count)
        fprintf(out, " (all)");
}

void print_scdoc(FILE *out)
{
    size_t count;
    const struct wherry_traits *const *all = wherry_transports(&count);
    print_objects(out, all, count);
    fprintf(out, "\nWhat kernel objects cannot keep, and which:\n\n[[ *Clause*\n:< *What is not kept*\n:[ *By*\n");
    for (size_t i = 0; i < shortfall_count; i++) {
        if (shortfalls[i].clause)
            fprintf(out, "|  %d %s\n:  ", shortfalls[i].clause, clause_name(shortfalls[i].clause));
        else
            fprintf(out, "|  -\n:  ");
        print_text(out, shortfalls[i].detail);
        fprintf(out, "\n:  ");
        print_who(out, all, count, &shortfalls[i]);
        fprintf(out, "\n");
    }
}
