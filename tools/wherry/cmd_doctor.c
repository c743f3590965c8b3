/* cmd_doctor.c - `wherry doctor`: limits and settings of this host that will bite.
 *
 * SPDX-License-Identifier: MIT */
#include <wherry/inspect.h>

#include "table.h"

enum { DOCTOR_SCHEMA = 1, OPTION_ALL = OPTION_FIRST, OPTION_STRICT };

enum { LEVEL, NAME, VALUE, EFFECT, REMEDY, COLUMNS };

static const struct column columns[COLUMNS] = {
    [LEVEL] = {"LEVEL", "fine, note or warning", COLUMN_TEXT, true, 0},
    [NAME] = {"NAME", "the limit or setting", COLUMN_TEXT, true, 0},
    [VALUE] = {"VALUE", "as it is", COLUMN_TEXT, true, 20},
    [EFFECT] = {"EFFECT", "what it bounds, or causes", COLUMN_TEXT, true, 36},
    [REMEDY] = {"REMEDY", "the command that mends it, or what else to do", COLUMN_TEXT, true, 32},
};

struct request {
    struct options options;
    struct table_style style;
    bool all, strict;
};

static const char *level_name(enum wherry_inspect_level level)
{
    static const char *const names[] = {
        [WHERRY_INSPECT_FINE] = "fine",
        [WHERRY_INSPECT_NOTE] = "note",
        [WHERRY_INSPECT_WARNING] = "warning",
    };
    return names[level];
}

/* The rows, and whether there is a warning. */
static int add_rows(struct table *table, const struct wherry_inspect_findings *findings, bool all, bool *ret_warned)
{
    const struct wherry_inspect_finding *finding;
    int result = 0;
    for (size_t i = 0; result == 0 && (finding = wherry_inspect_finding(findings, i)); i++) {
        const char *cells[COLUMNS] = {
            [LEVEL] = level_name(finding->level),
            [NAME] = finding->name,
            [VALUE] = finding->value,
            [EFFECT] = finding->effect,
            [REMEDY] = finding->remedy[0] ? finding->remedy : NULL,
        };
        *ret_warned |= finding->level == WHERRY_INSPECT_WARNING;
        if (all || finding->level != WHERRY_INSPECT_FINE)
            result = table_row(table, cells);
    }
    return result;
}

static int print_findings(const struct request *request)
{
    struct wherry_inspect_findings *findings;
    struct table *table;
    bool warned = false;
    int code = table_new(request->options.verb, "findings", DOCTOR_SCHEMA, columns, COLUMNS, &request->style, &table);
    if (code != 0 || !table)
        return code;
    if (wherry_inspect_check(&findings) < 0)
        return complain(TOOL_FAILED, "doctor: %s", wherry_why());
    int result = add_rows(table, findings, request->all || request->options.verbose, &warned);
    wherry_inspect_findings_free(findings);
    if (result < 0)
        return complain(TOOL_FAILED, "doctor: no memory");
    code = table_finish(table);
    return code == TOOL_OK && request->strict && warned ? TOOL_FAILED : code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG, TABLE_LONG, LONG("all", no_argument, OPTION_ALL), LONG("strict", no_argument, OPTION_STRICT), {0},
    };
    struct request request = {.options = options_of(verb)};
    int option;
    while ((option = options_next(&request.options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0)
        if (option == OPTION_ALL)
            request.all = true;
        else if (option == OPTION_STRICT)
            request.strict = true;
        else
            table_option(&request.style, option);
    if (option == OPTION_STOP || options_operands(&request.options, argc, 0, 0) < 0)
        return request.options.code;
    return print_findings(&request);
}

const struct verb verb_doctor = {
    .name = "doctor",
    .summary = "limits that will bite",
    .operands = "",
    .help = "Prints what is worth a note or a warning, each with its value, what it causes,\n"
            "and what mends it.  Changes nothing.\n"
            "\n"
            "      --all          also what is fine; -v does the same\n"
            "      --strict       exit code 1 when there is a warning\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry doctor\n"
                "  wherry doctor -J --all | jq '.findings[] | select(.name | startswith(\"fs.\"))'\n"
                "  wherry doctor --strict -q >/dev/null || echo look at it\n",
    .run = run,
};
