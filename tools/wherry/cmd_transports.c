/* cmd_transports.c - `wherry transports`: what there is to carry messages, and what each keeps of the contract.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "clauses.h"
#include "options.h"
#include "table.h"

enum { TRANSPORTS_SCHEMA = 1, OPTION_SCDOC = OPTION_FIRST };

enum { SCHEME, OBJECT, SUMMARY, LARGEST, DEFAULT_TYPE, KEEPS, LIMITS, TRAITS, SAMPLE, COLUMNS };

static const struct column columns[COLUMNS] = {
    [SCHEME] = {"SCHEME", "what its URLs begin with", COLUMN_TEXT, true, 0},
    [OBJECT] = {"OBJECT", "the kernel object", COLUMN_TEXT, true, 0},
    [SUMMARY] = {"SUMMARY", "what it is good for", COLUMN_TEXT, true, 24},
    [LARGEST] = {"LARGEST", "the largest message that the object takes; empty: no limit of its own", COLUMN_BYTES,
                 false, 0},
    [DEFAULT_TYPE] = {"TYPE", "the type of a message whose sender names none", COLUMN_NUMBER, false, 0},
    [KEEPS] = {"KEEPS", "clauses of the contract that it keeps without reserve, wherry-semantics(7)", COLUMN_NUMBERS,
               false, 24},
    [LIMITS] = {"LIMITS", "what it cannot keep, in a word each", COLUMN_TEXTS, true, 18},
    [TRAITS] = {"TRAITS", "all its traits", COLUMN_TEXTS, false, 24},
    [SAMPLE] = {"SAMPLE", "a URL to try it with", COLUMN_TEXT, false, 0},
};

/* Lists are texts with a newline between the items; an empty one is NULL. */
struct list {
    char text[1024];
    size_t used;
};

static void list_add(struct list *list, const char *item)
{
    size_t left = sizeof list->text - list->used;
    int length = snprintf(list->text + list->used, left, "%s%s", list->used ? "\n" : "", item);
    if (length > 0 && (size_t)length < left)
        list->used += (size_t)length;
}

static void list_clauses(struct list *list, const struct wherry_traits *traits)
{
    for (int clause = 1; clause <= CLAUSES; clause++) {
        char number[16];
        snprintf(number, sizeof number, "%d", clause);
        if (keeps_clause(traits, clause))
            list_add(list, number);
    }
}

static void list_limits(struct list *list, const struct wherry_traits *traits)
{
    for (size_t i = 0; i < shortfall_count; i++) {
        char word[64];
        shortfall_word(&shortfalls[i], word, sizeof word);
        if (falls_short(traits, &shortfalls[i]))
            list_add(list, word);
    }
}

static void list_traits(struct list *list, const struct wherry_traits *traits)
{
    for (int bit = 0; bit < 64; bit++) {
        const char *name = traits->bits & UINT64_C(1) << bit ? wherry_trait_name(UINT64_C(1) << bit) : NULL;
        if (name)
            list_add(list, name);
    }
}

static const char *list_text(const struct list *list)
{
    return list->used ? list->text : NULL;
}

static int add_row(struct table *table, const struct wherry_traits *traits)
{
    struct list keeps = {.used = 0}, limits = {.used = 0}, all = {.used = 0};
    char largest[32], type[32];
    snprintf(largest, sizeof largest, "%" PRIu64, traits->largest);
    snprintf(type, sizeof type, "%" PRId64, traits->default_type);
    list_clauses(&keeps, traits);
    list_limits(&limits, traits);
    list_traits(&all, traits);
    const char *const cells[COLUMNS] = {
        [SCHEME] = traits->scheme,
        [OBJECT] = traits->object,
        [SUMMARY] = traits->summary,
        [LARGEST] = traits->largest ? largest : NULL,
        [DEFAULT_TYPE] = traits->bits & WHERRY_TRAIT_TYPES ? type : NULL,
        [KEEPS] = list_text(&keeps),
        [LIMITS] = list_text(&limits),
        [TRAITS] = list_text(&all),
        [SAMPLE] = traits->sample,
    };
    return table_row(table, cells);
}

static int print_table(const struct verb *verb, const struct table_style *style)
{
    struct table *table;
    int code = table_new(verb, "transports", TRANSPORTS_SCHEMA, columns, COLUMNS, style, &table);
    if (code != 0 || !table)
        return code;
    size_t count;
    const struct wherry_traits *const *all = wherry_transports(&count);
    for (size_t i = 0; i < count; i++)
        if (add_row(table, all[i]) < 0)
            return complain(TOOL_FAILED, "no memory");
    return table_finish(table);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        TABLE_LONG,
        LONG("scdoc", no_argument, OPTION_SCDOC),
        {0},
    };
    struct options options = options_of(verb);
    struct table_style style = {.columns = NULL};
    int option;
    bool scdoc = false;
    while ((option = options_next(&options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0)
        if (!table_option(&style, option))
            scdoc = true;
    if (option == OPTION_STOP || options_operands(&options, argc, 0, 0) < 0)
        return options.code;
    if (!scdoc)
        return print_table(verb, &style);
    print_scdoc(stdout);
    return finish_printing(TOOL_OK);
}

const struct verb verb_transports = {
    .name = "transports",
    .summary = "list what a URL can be",
    .operands = "",
    .help = "List the transports: what their URLs begin with, the kernel object behind each,\n"
            "and what of the message contract that object cannot keep, wherry-semantics(7).\n"
            "\n" TABLE_HELP "      --scdoc        the tables of wherry-semantics(7), as scdoc(5)\n"
            "\n"
            "Nothing here waits: -w has nothing to bound.\n",
    .examples = "Examples:\n"
                "  wherry transports -o SCHEME,KEEPS,LIMITS\n"
                "  wherry transports -J | jq -r '.transports[].scheme'\n",
    .run = run,
};
