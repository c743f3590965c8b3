/* tests/unit/inspect_compare.c - owns the comparison of an inventory with what a situation is known to be.
 *
 * SPDX-License-Identifier: MIT
 *
 * What the snapshot says of the objects is written in the words in which it is expected; then both are sorted, and
 * compared as sets of words: what is expected and not there is missed, what is there and not expected is extra. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/inspect.h>

#include "harness.h"
#include "unit/inspect_scene.h"

enum { WORDS = 4096 };

/* ---- sets of words ---- */

struct words {
    char *list[WORDS];
    size_t count;
};

__attribute__((format(printf, 2, 3))) static void add(struct words *words, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    ck_assert(words->count < WORDS && vasprintf(&words->list[words->count++], format, list) >= 0);
    va_end(list);
}

static int compare_words(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct words *words)
{
    qsort(words->list, words->count, sizeof *words->list, compare_words);
}

static void empty(struct words *words)
{
    while (words->count)
        free(words->list[--words->count]);
}

/* "A50r>B51,A51": what stands behind ">" in order. */
static char *join(const char *head, struct words *ends, const char *between)
{
    size_t size = strlen(head) + 2;
    sort(ends);
    for (size_t i = 0; i < ends->count; i++)
        size += strlen(ends->list[i]) + 1;
    char *text = malloc(size);
    ck_assert_ptr_nonnull(text);
    char *to = stpcpy(text, head);
    for (size_t i = 0; i < ends->count; i++)
        to = stpcpy(stpcpy(to, i ? "," : between), ends->list[i]);
    return text;
}

static void add_ends(struct words *words, char letter, const char *hold, struct words *ends)
{
    char *text = join(hold, ends, ">");
    add(words, "%c: %s", letter, text);
    free(text);
}

/* ---- what is expected ---- */

static void expect_hold(struct words *words, char letter, char *token)
{
    struct words ends = {.count = 0};
    char *rest = strchr(token, '>'), *next;
    if (rest)
        *rest++ = 0;
    for (; rest && *rest; rest = next ? next + 1 : NULL) {
        if ((next = strchr(rest, ',')))
            *next = 0;
        add(&ends, "%s", rest);
    }
    add_ends(words, letter, token, &ends);
    empty(&ends);
}

static void expect(struct words *words, const char *line)
{
    char text[1024], *bar, *rest;
    ck_assert(strlen(line) < sizeof text);
    strcpy(text, line);
    bar = strstr(text, " |");
    if (!bar) { /* a link, or what is gone */
        char *star = strchr(text, '*');
        for (long times = star ? strtol(text, NULL, 10) : 1; times > 0; times--)
            add(words, "%s", star ? star + 1 : text);
        return;
    }
    *bar = 0;
    add(words, "%c: %s", text[0], text + 2);
    for (char *token = strtok_r(bar + 2, " ", &rest); token; token = strtok_r(NULL, " ", &rest))
        expect_hold(words, text[0], token);
}

/* ---- who is who ---- */

static char letter_of_process(pid_t pid)
{
    for (int i = 0; i < SCENE_ACTORS; i++)
        if (pid && scene->actors[i].pid == pid)
            return (char)('A' + i);
    return 0;
}

/* "A", "a" for its thread of that letter, "pid 4711" for somebody else. */
static void write_holder(char *text, size_t size, const struct wherry_inspect_hold *hold)
{
    char letter = letter_of_process(hold->process->pid);
    if (letter && (!hold->thread || hold->thread == hold->process->pid))
        snprintf(text, size, "%c", letter);
    else if (letter && hold->thread == scene->actors[letter - 'A'].thread)
        snprintf(text, size, "%c", letter - 'A' + 'a');
    else
        snprintf(text, size, "{pid %d (%s), thread %d}", (int)hold->process->pid, hold->process->command,
                 (int)hold->thread);
}

static void write_place(char *text, size_t size, const struct wherry_inspect_hold *hold)
{
    static const char *const letters[] = {[WHERRY_INSPECT_MAPPED] = "m",
                                          [WHERRY_INSPECT_ATTACHED] = "t",
                                          [WHERRY_INSPECT_LOCKED] = "L",
                                          [WHERRY_INSPECT_WAITING] = "W"};
    if (hold->how == WHERRY_INSPECT_OPEN)
        snprintf(text, size, "%d", hold->fd);
    else
        snprintf(text, size, "%s", letters[hold->how]);
}

/* As it stands at the other end of another. */
static void write_end(char *text, size_t size, const struct wherry_inspect_hold *hold)
{
    char holder[128], place[32];
    write_holder(holder, sizeof holder, hold);
    write_place(place, sizeof place, hold);
    snprintf(text, size, "%s%s", holder, place);
}

static void write_lock(char *text, size_t size, const struct wherry_inspect_hold *hold)
{
    static const char *const kinds[] = {"ofd", "posix", "flock"};
    int length = snprintf(text, size, ":%s:%s", hold->lease ? "lease" : kinds[hold->lock], hold->exclusive ? "w" : "r");
    if (hold->start || hold->length)
        snprintf(text + length, size - (size_t)length, ":%llu+%llu", (unsigned long long)hold->start,
                 (unsigned long long)hold->length);
}

/* The whole of it. */
static void write_hold(char *text, size_t size, const struct wherry_inspect_hold *hold)
{
    write_end(text, size, hold);
    size_t used = strlen(text);
    const char *access = hold->reads ? (hold->writes ? "rw" : "r") : hold->writes ? "w" : "-";
    bool lock = hold->how == WHERRY_INSPECT_LOCKED ||
                (hold->how == WHERRY_INSPECT_WAITING && hold->object->kind == WHERRY_INSPECT_FILE);
    if (lock)
        write_lock(text + used, size - used, hold);
    else if (hold->how == WHERRY_INSPECT_WAITING)
        snprintf(text + used, size - used, ":%s", strcmp(hold->detail, "semtimedop") == 0 ? "semop" : hold->detail);
    else
        snprintf(text + used, size - used, "%s%s", hold->how == WHERRY_INSPECT_OPEN ? "" : ":", access);
}

/* ---- what was found ---- */

static const struct wherry_inspect_object *found[SCENE_THINGS]; /* of scene->things */

static char letter_of_object(const struct wherry_inspect_object *object)
{
    for (size_t i = 0; i < scene->thing_count; i++)
        if (found[i] == object)
            return scene->things[i].letter;
    return 0;
}

static bool held_at(const struct wherry_inspect_object *object, char letter, int fd)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->fd == fd && hold->how == WHERRY_INSPECT_OPEN && letter_of_process(hold->process->pid) == letter)
            return true;
    return false;
}

/* By what the kernel numbers it by, and its kind where numbers of several kinds can be the same. */
static bool is_thing(const struct wherry_inspect_object *object, const struct thing *thing)
{
    const char *kind = wherry_inspect_kind_name(object->kind);
    if (thing->has_inode)
        return object->inode == thing->inode && (object->device == thing->device || !object->device);
    if (thing->has_id)
        return object->id == thing->id && strncmp(thing->name, kind, strlen(kind)) == 0 &&
               (!thing->has_key || object->key == thing->key) && (!thing->space || object->space == thing->space);
    if (thing->holder)
        return held_at(object, thing->holder, thing->fd);
    return strcmp(object->name, thing->name) == 0 && thing->pending == !!(object->flags & WHERRY_INSPECT_PENDING);
}

static void find_things(const struct wherry_inspect *snapshot, struct words *words)
{
    const struct wherry_inspect_object *object;
    for (size_t i = 0; i < scene->thing_count; i++) {
        const struct thing *thing = &scene->things[i];
        found[i] = NULL;
        for (size_t at = 0; (object = wherry_inspect_object(snapshot, at)); at++)
            if (is_thing(object, thing) && !found[i])
                found[i] = object;
            else if (is_thing(object, thing))
                add(words, "%c: a second time, as %s", thing->letter, object->name);
        if (!found[i])
            add(words, "%c gone", thing->letter);
    }
}

static bool contains(const struct words *words, const char *word)
{
    for (size_t i = 0; i < words->count; i++)
        if (strcmp(words->list[i], word) == 0)
            return true;
    return false;
}

/* Where not all processes can be seen, an orphan is rightly called unknown. */
static void write_object(struct words *words, char letter, const struct wherry_inspect_object *object,
                         const struct words *expected, bool complete)
{
    static const char *const states[] = {"live", "orphan", "unknown"};
    static const struct {
        uint64_t bit;
        const char *word;
    } flags[] = {{WHERRY_INSPECT_DELETED, " deleted"},   {WHERRY_INSPECT_LISTENING, " listening"},
                 {WHERRY_INSPECT_CONNECTED, " connected"}, {WHERRY_INSPECT_PENDING, " pending"},
                 {WHERRY_INSPECT_OWNER_DEAD, " owner-dead"}, {WHERRY_INSPECT_ELSEWHERE, " elsewhere"}};
    char text[256];
    for (int i = complete || object->state != WHERRY_INSPECT_UNKNOWN ? 1 : 0; i < 2; i++) {
        const char *state = i ? states[object->state] : "orphan";
        char *to = text + sprintf(text, "%c: %s %s", letter, wherry_inspect_kind_name(object->kind), state);
        for (size_t flag = 0; flag < sizeof flags / sizeof *flags; flag++)
            if (object->flags & flags[flag].bit)
                to = stpcpy(to, flags[flag].word);
        if (!(object->flags & WHERRY_INSPECT_TRACKED))
            stpcpy(to, " untracked");
        if (i || contains(expected, text))
            break;
    }
    add(words, "%s", text);
}

static void write_holds(struct words *words, char letter, const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold, *other;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++) {
        struct words ends = {.count = 0};
        char text[256];
        for (size_t at = 0; (other = wherry_inspect_other_end(hold, at)); at++) {
            write_end(text, sizeof text, other);
            add(&ends, "%s", text);
        }
        write_hold(text, sizeof text, hold);
        add_ends(words, letter, text, &ends);
        empty(&ends);
    }
}

static void write_links(struct words *words, const struct wherry_inspect *snapshot)
{
    static const char *const kinds[] = {"peer", "watches", "queued"};
    const struct wherry_inspect_link *link;
    for (size_t i = 0; (link = wherry_inspect_link(snapshot, i)); i++) {
        char from = letter_of_object(link->from), to = letter_of_object(link->to);
        bool peer = link->kind == WHERRY_INSPECT_PEER;
        if (!from && !to)
            continue;
        if (!from || !to)
            add(words, "%s %s %s", from ? (char[]){from, 0} : link->from->name, kinds[link->kind],
                to ? (char[]){to, 0} : link->to->name);
        else
            add(words, "%c %s %c", peer && to < from ? to : from, kinds[link->kind], peer && to < from ? from : to);
    }
}

/* ---- what stands in the object ---- */

static bool is_name_of(const struct thing *thing, const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold;
    if (!thing->name[0])
        return true;
    if (strcmp(thing->name, "~") != 0)
        return strcmp(object->name, thing->name) == 0;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++) {
        char name[64];
        snprintf(name, sizeof name, "%s:[%d/%d]", wherry_inspect_kind_name(object->kind), (int)hold->process->pid,
                 hold->fd);
        if (strcmp(name, object->name) == 0)
            return true;
    }
    return false;
}

static void compare_number(struct words *words, char letter, const char *what, long long is, long long should)
{
    if (should != SCENE_UNKNOWN && is != should)
        add(words, "%c: %s %lld, not %lld", letter, what, is, should);
}

static bool is_only_mapped(const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->how != WHERRY_INSPECT_MAPPED)
            return false;
    return object->kind == WHERRY_INSPECT_MEMFD || object->kind == WHERRY_INSPECT_FILE;
}

static void compare_thing(struct words *words, const struct thing *thing, const struct wherry_inspect_object *object)
{
    char letter = thing->letter;
    if (!is_name_of(thing, object))
        add(words, "%c: called \"%s\", not \"%s\"", letter, object->name, thing->name);
    if (thing->has_inode) {
        if (thing->device)
            compare_number(words, letter, "device", (long long)object->device, (long long)thing->device);
        compare_number(words, letter, "inode", (long long)object->inode, (long long)thing->inode);
    }
    if (thing->has_id)
        compare_number(words, letter, "id", (long long)object->id, (long long)thing->id);
    if (thing->has_key)
        compare_number(words, letter, "key", object->key, thing->key);
    if (test_is_root() || !is_only_mapped(object)) { /* of a mapping only root is told these */
        if (thing->uid != (uid_t)-1)
            compare_number(words, letter, "uid", object->uid, thing->uid);
        if (thing->gid != (gid_t)-1)
            compare_number(words, letter, "gid", object->gid, thing->gid);
        compare_number(words, letter, "mode", object->mode, thing->mode);
        compare_number(words, letter, "size", object->size, thing->size);
    }
    compare_number(words, letter, "messages", object->messages, thing->messages);
    compare_number(words, letter, "limit", object->limit, thing->limit);
    if (!object->reason[0])
        add(words, "%c: no reason for its state", letter);
}

static uint64_t start_of(pid_t pid)
{
    char path[64], text[1024];
    unsigned long long start = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *stat = fopen(path, "re");
    ck_assert_ptr_nonnull(stat);
    size_t length = fread(text, 1, sizeof text - 1, stat);
    fclose(stat);
    text[length] = 0;
    ck_assert(sscanf(strrchr(text, ')') + 1,
                     " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &start) == 1);
    return start;
}

static void compare_process(struct words *words, const struct wherry_inspect *snapshot, int index)
{
    const struct actor *actor = &scene->actors[index];
    char letter = (char)('A' + index);
    const struct wherry_inspect_process *process = wherry_inspect_process_of(snapshot, actor->pid);
    if (!process) {
        add(words, "process %c gone", letter);
        return;
    }
    pid_t parent = actor->parent ? scene->actors[actor->parent - 'A'].pid : getpid();
    compare_number(words, letter, "parent", process->parent, parent);
    compare_number(words, letter, "start", (long long)process->start, (long long)start_of(actor->pid));
    if (actor->ended)
        return;
    compare_number(words, letter, "uid", process->uid, actor->uid);
    compare_number(words, letter, "net name space", (long long)process->net_space, (long long)actor->net_space);
    compare_number(words, letter, "ipc name space", (long long)process->ipc_space, (long long)actor->ipc_space);
    compare_number(words, letter, "pid name space", (long long)process->pid_space, (long long)actor->pid_space);
    if (strcmp(process->command, actor->command) != 0)
        add(words, "process %c is called \"%s\", not \"%s\"", letter, process->command, actor->command);
    if (process->hidden)
        add(words, "process %c is hidden", letter);
}

/* ---- what nobody noted ---- */

static bool held_by_test(const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->process->pid == getpid())
            return true;
    return false;
}

static void find_strangers(struct words *words, const struct wherry_inspect *snapshot)
{
    const struct wherry_inspect_object *object;
    const struct wherry_inspect_hold *hold;
    struct stat space;
    ck_assert_int_eq(stat("/proc/self/ns/ipc", &space), 0);
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++) {
        if (letter_of_object(object) || held_by_test(object))
            continue;
        /* root's test programs have an IPC name space of their own */
        if (strstr(object->name, test_word()) || (test_is_root() && object->id && object->space == space.st_ino))
            add(words, "%s, which nobody made", object->name);
        for (size_t at = 0; (hold = wherry_inspect_hold_of(object, at)); at++)
            if (letter_of_process(hold->process->pid)) {
                char text[256];
                write_hold(text, sizeof text, hold);
                add(words, "%s of %s", text, object->name);
            }
    }
}

/* ---- together ---- */

static char report[65536];

static void say(size_t *count, const char *what, const char *word)
{
    size_t used = strlen(report), length = strlen(word) + 1;
    ++*count;
    if (used > length && strncmp(report + used - length, word, length - 1) == 0)
        return; /* once more the same */
    snprintf(report + used, sizeof report - used, "%s: %s\n", what, word);
}

static void subtract(const struct words *expected, const struct words *seen, size_t *ret_missed, size_t *ret_extra)
{
    size_t i = 0, j = 0;
    while (i < expected->count || j < seen->count) {
        int order = i == expected->count ? 1 : j == seen->count ? -1 : strcmp(expected->list[i], seen->list[j]);
        if (order < 0)
            say(ret_missed, "missed", expected->list[i]);
        else if (order > 0)
            say(ret_extra, "extra", seen->list[j]);
        i += order <= 0;
        j += order >= 0;
    }
}

static void look(struct words *seen, const struct words *expected)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    options.flags = WHERRY_INSPECT_WAITERS | (test_is_root() ? WHERRY_INSPECT_PROVE : 0);
    test_ok(wherry_inspect_take(&options, &snapshot));
    struct stat pids;
    bool complete = !wherry_inspect_hidden(snapshot, 0) && stat("/proc/self/ns/pid", &pids) == 0 &&
                    pids.st_ino == 0xeffffffc; /* PROC_PID_INIT_INO */
    find_things(snapshot, seen);
    for (size_t i = 0; i < scene->thing_count; i++)
        if (found[i]) {
            write_object(seen, scene->things[i].letter, found[i], expected, complete);
            write_holds(seen, scene->things[i].letter, found[i]);
            compare_thing(seen, &scene->things[i], found[i]);
        }
    write_links(seen, snapshot);
    for (int i = 0; i < SCENE_ACTORS; i++)
        if (scene->actors[i].pid)
            compare_process(seen, snapshot, i);
    find_strangers(seen, snapshot);
    wherry_inspect_free(snapshot);
}

const char *scene_compare(const struct situation *situation, size_t *ret_missed, size_t *ret_extra)
{
    static struct words expected, seen;
    for (int i = 0; i < SCENE_LINES && situation->lines[i]; i++)
        expect(&expected, situation->lines[i]);
    look(&seen, &expected);
    sort(&expected);
    sort(&seen);
    report[0] = 0;
    subtract(&expected, &seen, ret_missed, ret_extra);
    empty(&expected);
    empty(&seen);
    return report;
}
