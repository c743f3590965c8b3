/* clauses.h - what each trait of a transport means for the clauses of the message contract.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TOOL_CLAUSES_H
#define WHERRY_TOOL_CLAUSES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <wherry/wherry.h>

enum { CLAUSES = 16 };

/* One way in which a kernel object may fall short of a clause. */
struct shortfall {
    int clause; /* 0: of what is no clause, and only some objects can */
    uint64_t trait;
    bool when_set;      /* falls short with the trait; else without it */
    const char *detail; /* what is not kept, as a sentence for wherry-semantics(7) */
};

extern const struct shortfall shortfalls[];
extern const size_t shortfall_count;

/* Whether a transport falls short in this way. */
bool falls_short(const struct wherry_traits *traits, const struct shortfall *shortfall);

/* Whether a transport keeps a clause without a shortfall. */
bool keeps_clause(const struct wherry_traits *traits, int clause);

/* The name of a clause: "whole", "ordered", ... */
const char *clause_name(int clause);

/* "no-ends", "reads-ahead": the shortfall in one word. */
void shortfall_word(const struct shortfall *shortfall, char *word, size_t capacity);

/* Print the tables of wherry-semantics(7), made from the traits, as scdoc(5). */
void print_scdoc(FILE *out);

#endif
