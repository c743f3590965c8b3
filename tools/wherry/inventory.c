/* inventory.c - owns what the verbs that look at the host share.
 *
 * SPDX-License-Identifier: MIT */
#include "inventory.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json.h"
#include "table.h"

int inventory_take(const struct options *options, const struct wherry_inspect_options *what,
                   struct wherry_inspect **ret_snapshot)
{
    int result = wherry_inspect_take(what, ret_snapshot);
    if (what->file && (result == -ENOENT || result == -ENOTDIR || result == -ENAMETOOLONG || result == -EACCES)) {
        struct wherry_inspect_options other = *what;
        other.file = NULL; /* the name of something else, perhaps */
        result = wherry_inspect_take(&other, ret_snapshot);
    }
    return result < 0 ? complain(TOOL_FAILED, "%s: %s", options->verb->name, wherry_why()) : 0;
}

struct json_object *inventory_hidden(const struct wherry_inspect *snapshot)
{
    struct json_object *array = json_object_new_array();
    const struct wherry_inspect_hidden *hidden;
    bool fine = array;
    for (size_t i = 0; fine && (hidden = wherry_inspect_hidden(snapshot, i)); i++) {
        struct json_object *one = json_object_new_object();
        fine = one && json_object_array_add(array, one) == 0;
        if (!fine)
            json_object_put(one);
        fine = fine && json_add(one, "count", json_object_new_int64((int64_t)hidden->count)) &&
               json_add(one, "what", json_object_new_string(hidden->what)) &&
               json_add(one, "why", json_object_new_string(hidden->why));
    }
    if (fine)
        return array;
    json_object_put(array);
    return NULL;
}

int inventory_table(struct table *table, const struct wherry_inspect *snapshot)
{
    bool fine = table_add(table, "hidden", inventory_hidden(snapshot)) == 0;
    int code = table_finish(table);
    return fine ? code : complain(TOOL_FAILED, "no memory");
}

int inventory_finish(const struct options *options, struct wherry_inspect *snapshot, int code)
{
    const struct wherry_inspect_hidden *hidden;
    for (size_t i = 0; (hidden = wherry_inspect_hidden(snapshot, i)); i++) {
        char count[32] = "";
        if (hidden->count)
            snprintf(count, sizeof count, " (%" PRIu64 ")", hidden->count);
        if (!options->quiet && code != TOOL_USAGE)
            complain(0, "%s: not seen: %s%s; %s", options->verb->name, hidden->what, count, hidden->why);
        if (code == TOOL_OK)
            code = TOOL_PARTIAL;
    }
    wherry_inspect_free(snapshot);
    return code;
}

/* ---- operands ---- */

#define BIT(kind) (UINT64_C(1) << WHERRY_INSPECT_##kind)

static const struct {
    const char *word;
    uint64_t kinds;
} groups[] = {
    {"shm", BIT(POSIX_SHM) | BIT(SYSV_SHM)},
    {"sem", BIT(POSIX_SEM) | BIT(SYSV_SEM)},
    {"mq", BIT(POSIX_MQ) | BIT(SYSV_MSG)},
    {"sysv", BIT(SYSV_SHM) | BIT(SYSV_SEM) | BIT(SYSV_MSG)},
    {"posix", BIT(POSIX_SHM) | BIT(POSIX_SEM) | BIT(POSIX_MQ)},
    {"memory", BIT(POSIX_SHM) | BIT(SYSV_SHM) | BIT(MEMFD) | BIT(ANONYMOUS) | BIT(RING) | BIT(FILE)},
    {"sockets", BIT(UNIX) | BIT(TCP) | BIT(UDP) | BIT(SOCKET)},
    {"lock", BIT(FILE)},
};

static uint64_t kinds_of(const char *word)
{
    for (unsigned kind = 0; kind < WHERRY_INSPECT_KINDS; kind++)
        if (strcmp(word, wherry_inspect_kind_name((enum wherry_inspect_kind)kind)) == 0)
            return UINT64_C(1) << kind;
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        if (strcmp(word, groups[i].word) == 0)
            return groups[i].kinds;
    return 0;
}

const char *inventory_type(size_t index, const char **ret_what)
{
    if (index < WHERRY_INSPECT_KINDS) {
        *ret_what = wherry_inspect_kind_summary((enum wherry_inspect_kind)index);
        return wherry_inspect_kind_name((enum wherry_inspect_kind)index);
    }
    index -= WHERRY_INSPECT_KINDS;
    *ret_what = "several types at once";
    return index < sizeof groups / sizeof *groups ? groups[index].word : NULL;
}

int inventory_kinds(const struct verb *verb, char *const *words, int count, uint64_t *ret_kinds)
{
    *ret_kinds = 0;
    for (int i = 0; i < count; i++) {
        uint64_t kinds = kinds_of(words[i]);
        if (!kinds)
            return misuse(verb, "\"%s\" is no type of object", words[i]);
        *ret_kinds |= kinds;
    }
    return 0;
}

int inventory_pid(const struct verb *verb, const char *word, pid_t *ret_pid)
{
    int64_t pid;
    const char *wrong = parse_number(word, 1, INT32_MAX, &pid);
    if (wrong)
        return misuse(verb, "\"%s\" is no pid: it %s", word, wrong);
    *ret_pid = (pid_t)pid;
    return 0;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool inventory_decode(char *name)
{
    char *to = name;
    bool any = false;
    for (const char *from = name; *from; from++) {
        int high = from[0] == '\\' && from[1] == 'x' ? hex_digit(from[2]) : -1;
        int low = high < 0 ? -1 : hex_digit(from[3]);
        if (low < 0 || high + low == 0) {
            *to++ = *from;
            continue;
        }
        *to++ = (char)(high << 4 | low);
        from += strlen("xNN");
        any = true;
    }
    *to = 0;
    return any;
}

int inventory_take_named(const struct options *options, struct wherry_inspect_options *what, char *name,
                         struct wherry_inspect **ret_snapshot)
{
    what->file = name[0] ? name : NULL;
    int code = inventory_take(options, what, ret_snapshot);
    if (code != 0 || wherry_inspect_find(*ret_snapshot, name, 0) || !inventory_decode(name))
        return code;
    wherry_inspect_free(*ret_snapshot);
    return inventory_take(options, what, ret_snapshot);
}

int inventory_none(const struct options *options, const char *name)
{
    const char *why = wherry_why();
    if (why[0])
        return complain(TOOL_FAILED, "%s: %s", options->verb->name, why);
    return complain(TOOL_FAILED, "%s: there is no object \"%s\"; 'wherry ls' lists what there is",
                    options->verb->name, name);
}

/* ---- texts ---- */

const char *inventory_state(enum wherry_inspect_state state)
{
    switch (state) {
    case WHERRY_INSPECT_LIVE:
        return "live";
    case WHERRY_INSPECT_ORPHAN:
        return "orphan";
    default:
        return "unknown";
    }
}

const char *inventory_how(const struct wherry_inspect_hold *hold)
{
    static const char *const words[] = {
        [WHERRY_INSPECT_OPEN] = "open",         [WHERRY_INSPECT_MAPPED] = "mapped",
        [WHERRY_INSPECT_ATTACHED] = "attached", [WHERRY_INSPECT_LOCKED] = "locked",
        [WHERRY_INSPECT_WAITING] = "waiting",
    };
    return words[hold->how];
}

const char *inventory_access(const struct wherry_inspect_hold *hold)
{
    return hold->reads ? (hold->writes ? "rw" : "r") : hold->writes ? "w" : "";
}

const char *inventory_process(const struct wherry_inspect_process *process, char text[HOLDER_TEXT])
{
    snprintf(text, HOLDER_TEXT, "%d (%s)", (int)process->pid, process->command);
    for (char *at = text; (at = strchr(at, '\n'));) /* it would begin the next holder */
        *at = '?';
    return text;
}

const char *inventory_holder(const struct wherry_inspect_hold *hold, char text[HOLDER_TEXT])
{
    inventory_process(hold->process, text);
    size_t length = strlen(text);
    if (hold->fd >= 0)
        snprintf(text + length, HOLDER_TEXT - length, " fd %d", hold->fd);
    return text;
}

char *inventory_holders(const struct wherry_inspect_object *object, size_t most)
{
    const struct wherry_inspect_hold *hold, *before = NULL;
    size_t used = 0, count = 0, room = (object->holds + 1) * HOLDER_TEXT + 1;
    char *text = malloc(room);
    if (!text)
        return NULL;
    text[0] = 0;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); before = hold, i++) {
        char one[HOLDER_TEXT];
        if ((!before || before->process != hold->process) && count++ < most)
            used += (size_t)snprintf(text + used, room - used, "%s%s", used ? "\n" : "",
                                     inventory_process(hold->process, one));
    }
    if (count > most)
        snprintf(text + used, room - used, "\nand %zu more", count - most);
    return text;
}

/* A list names few users many times, and each look opens files. */
const char *inventory_user(uid_t uid, char text[64])
{
    static struct {
        uid_t uid;
        char name[64];
    } known[64];
    static size_t count;
    if (uid == (uid_t)-1)
        return NULL;
    size_t i = 0;
    while (i < count && known[i].uid != uid)
        i++;
    if (i == count) {
        const struct passwd *entry = getpwuid(uid);
        i = count < sizeof known / sizeof *known ? count++ : count - 1;
        known[i].uid = uid;
        if (entry)
            snprintf(known[i].name, sizeof known[i].name, "%s", entry->pw_name);
        else
            snprintf(known[i].name, sizeof known[i].name, "%u", uid);
    }
    return strcpy(text, known[i].name);
}

const char *inventory_time(int64_t nanoseconds, char text[40])
{
    struct tm parts;
    time_t seconds = (time_t)(nanoseconds / 1000000000);
    if (nanoseconds == 0 || !gmtime_r(&seconds, &parts))
        return NULL;
    return strftime(text, 40, "%Y-%m-%dT%H:%M:%SZ", &parts) ? text : NULL;
}
