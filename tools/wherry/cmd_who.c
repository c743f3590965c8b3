/* cmd_who.c - `wherry who`: which processes hold an object or a file, and how.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "inventory.h"
#include "table.h"

enum { WHO_SCHEMA = 1 };

enum { PID, COMMAND, USER, HOW, FD, ACCESS, START, LENGTH, EVIDENCE, OBJECT, TYPE, THREAD, COLUMNS };

static const struct column columns[COLUMNS] = {
    [PID] = {"PID", "the process", COLUMN_NUMBER, true, 0},
    [COMMAND] = {"COMMAND", "its name", COLUMN_TEXT, true, 0},
    [USER] = {"USER", "its user", COLUMN_TEXT, true, 0},
    [HOW] = {"HOW", "open, mapped, attached, locked or waiting", COLUMN_TEXT, true, 0},
    [FD] = {"FD", "the descriptor", COLUMN_NUMBER, true, 0},
    [ACCESS] = {"ACCESS", "r, w or rw", COLUMN_TEXT, true, 0},
    [START] = {"START", "of a mapping its address, of a lock its first byte", COLUMN_NUMBER, false, 0},
    [LENGTH] = {"LENGTH", "bytes mapped or locked; 0: to the end", COLUMN_BYTES, false, 0},
    [EVIDENCE] = {"EVIDENCE", "what the kernel shows of it", COLUMN_TEXT, true, 24},
    [OBJECT] = {"OBJECT", "what is held", COLUMN_TEXT, true, 44},
    [TYPE] = {"TYPE", "the kind of object", COLUMN_TEXT, false, 0},
    [THREAD] = {"THREAD", "the thread, where it is one thread's alone", COLUMN_NUMBER, false, 0},
};

static int add_row(struct table *table, const struct wherry_inspect_hold *hold)
{
    const char *cells[COLUMNS] = {NULL};
    char pid[24], fd[24], start[24], length[24], thread[24], user[64];
    snprintf(pid, sizeof pid, "%d", (int)hold->process->pid);
    snprintf(fd, sizeof fd, "%d", hold->fd);
    snprintf(start, sizeof start, "%" PRIu64, hold->start);
    snprintf(length, sizeof length, "%" PRIu64, hold->length);
    snprintf(thread, sizeof thread, "%d", (int)hold->thread);
    cells[PID] = pid;
    cells[COMMAND] = hold->process->command;
    cells[USER] = inventory_user(hold->process->uid, user);
    cells[HOW] = inventory_how(hold);
    cells[FD] = hold->fd >= 0 ? fd : NULL;
    cells[ACCESS] = inventory_access(hold)[0] ? inventory_access(hold) : NULL;
    cells[START] = hold->how == WHERRY_INSPECT_OPEN ? NULL : start;
    cells[LENGTH] = hold->how == WHERRY_INSPECT_OPEN ? NULL : length;
    cells[EVIDENCE] = hold->detail[0] ? hold->detail : NULL;
    cells[OBJECT] = hold->object->name;
    cells[TYPE] = wherry_inspect_kind_name(hold->object->kind);
    cells[THREAD] = hold->thread ? thread : NULL;
    return table_row(table, cells);
}

static int print_table(const struct options *options, const struct table_style *style,
                       const struct wherry_inspect *snapshot, const char *name)
{
    struct table *table;
    int code = table_new(options->verb, "holders", WHO_SCHEMA, columns, COLUMNS, style, &table);
    if (code != 0 || !table)
        return code;
    const struct wherry_inspect_object *object;
    const struct wherry_inspect_hold *hold;
    size_t found = 0;
    for (size_t i = 0; (object = wherry_inspect_find(snapshot, name, i)); i++)
        for (size_t j = 0; (hold = wherry_inspect_hold_of(object, j)); j++, found++)
            if (add_row(table, hold) < 0)
                return complain(TOOL_FAILED, "who: no memory");
    code = inventory_table(table, snapshot);
    if (code == TOOL_OK && !found && !wherry_inspect_find(snapshot, name, 0))
        return inventory_none(options, name);
    if (code == TOOL_OK && !found)
        return options->quiet ? TOOL_FAILED : complain(TOOL_FAILED, "%s: nobody that can be seen holds it", name);
    return code;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {COMMON_LONG, TABLE_LONG, {0}};
    struct options options = options_of(verb);
    struct table_style style = {.columns = NULL};
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    int option;
    while ((option = options_next(&options, argc, argv, COMMON_SHORT TABLE_SHORT, longs)) >= 0)
        table_option(&style, option);
    if (option == OPTION_STOP || options_operands(&options, argc, style.list_columns ? 0 : 1, 1) < 0)
        return options.code;
    if (style.list_columns)
        return print_table(&options, &style, NULL, NULL);
    what.flags = WHERRY_INSPECT_WAITERS;
    int code = inventory_take_named(&options, &what, argv[optind], &snapshot);
    if (code == 0)
        code = inventory_finish(&options, snapshot, print_table(&options, &style, snapshot, argv[optind]));
    return code;
}

const struct verb verb_who = {
    .name = "who",
    .summary = "which processes hold it",
    .operands = "PATH|OBJECT|URL",
    .help = "Finds open descriptors, mappings, attached segments, locks and waits.  A file is\n"
            "told by its device and inode, so that another name of it does as well.\n"
            "\n" TABLE_HELP,
    .examples = "Examples:\n"
                "  wherry who /var/lib/db/LOCK     who has the file open, mapped or locked\n"
                "  wherry who posix-shm:/frames    who has the segment mapped\n"
                "  wherry who unix:///run/x.sock   who is at the socket\n",
    .run = run,
};
