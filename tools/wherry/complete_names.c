/* complete_names.c - owns the words that `wherry complete` offers: names that the host, the library and a verb have.
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/inspect.h>
#include <wherry/wherry.h>

#include "complete.h"
#include "inventory.h"
#include "run.h"

enum { NAME = PATH_MAX + 64 }; /* room for a name; longer ones are not offered */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* ---- types ---- */

static bool has_word(const char *text, size_t size, const char *word)
{
    size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++) {
        bool starts = i == 0 || !strchr("abcdefghijklmnopqrstuvwxyz-", text[i - 1]);
        if (starts && strncmp(text + i, word, length) == 0 && !islower((unsigned char)text[i + length]) &&
            text[i + length] != '-')
            return true;
    }
    return false;
}

void offer_types(struct completion *at)
{
    const char *list = strstr(at->verb->help, "TYPE is"), *end = list ? strstr(list, "\n\n") : NULL;
    const char *word, *what;
    for (size_t i = 0; end && (word = inventory_type(i, &what)); i++)
        if (has_word(list, (size_t)(end - list), word))
            offer(at, word, what);
}

/* ---- objects ---- */

#define BIT(kind) (UINT64_C(1) << WHERRY_INSPECT_##kind)

#define WITH_NAMES                                                                                                     \
    (BIT(POSIX_SHM) | BIT(POSIX_SEM) | BIT(POSIX_MQ) | BIT(SYSV_SHM) | BIT(SYSV_SEM) | BIT(SYSV_MSG) | BIT(FIFO) |     \
     BIT(UNIX))

/* Call `take` for each object of these kinds that has a name of its own here, once for each name. */
static void each_object(struct completion *at, uint64_t kinds,
                        void (*take)(struct completion *at, const struct wherry_inspect_object *object,
                                     const char *what))
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    options.kinds = kinds;
    if (!kinds || wherry_inspect_take(&options, &snapshot) < 0)
        return;
    const struct wherry_inspect_object *object;
    const char *last = "";
    for (size_t i = 0; (object = wherry_inspect_object(snapshot, i)); i++) {
        bool here = !(object->flags & (WHERRY_INSPECT_DELETED | WHERRY_INSPECT_ELSEWHERE));
        if (!(kinds >> object->kind & 1) || !here || strcmp(object->name, last) == 0)
            continue;
        char text[HOLDER_TEXT];
        const struct wherry_inspect_hold *hold = wherry_inspect_hold_of(object, 0);
        take(at, object, hold ? inventory_process(hold->process, text) : inventory_state(object->state));
        last = object->name;
    }
    wherry_inspect_free(snapshot);
}

static void offer_object(struct completion *at, const struct wherry_inspect_object *object, const char *what)
{
    /* what has a number for a name is for who begins to type it */
    if (!strstr(object->name, ":[") || strchr(offered_for(at), ':'))
        offer(at, object->name, what);
}

static void offer_removable(struct completion *at, const struct wherry_inspect_object *object, const char *what)
{
    if (!strstr(object->name, ":[") && !begins(object->name, "unix:@"))
        offer(at, object->name, what);
}

void offer_objects(struct completion *at)
{
    static const struct {
        const char *verb;
        uint64_t kinds;
    } some[] = {
        {"segment", BIT(POSIX_SHM) | BIT(SYSV_SHM)},
        {"sem", BIT(POSIX_SEM) | BIT(SYSV_SEM)},
        {"rm", WITH_NAMES},
        {"mk", 0}, /* it is to be a new one */
    };
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        if (strcmp(at->verb->name, some[i].verb) == 0) {
            each_object(at, some[i].kinds, offer_removable);
            return;
        }
    uint64_t kinds = WITH_NAMES | BIT(RING);
    const char *word = offered_for(at), *colon = strchr(word, ':');
    for (unsigned kind = 0; colon && kind < WHERRY_INSPECT_KINDS; kind++) {
        const char *name = wherry_inspect_kind_name((enum wherry_inspect_kind)kind);
        if (strlen(name) == (size_t)(colon - word) && begins(word, name))
            kinds = UINT64_C(1) << kind;
    }
    each_object(at, kinds, offer_object);
}

/* ---- URLs ---- */

/* A text as it stands in a URL; false: it is too long. */
static bool encode(const char *text, char *out, size_t room)
{
    size_t used = 0;
    for (; *text; text++) {
        bool odd = (unsigned char)*text <= ' ' || *text == 0x7f || strchr("%?#", *text);
        if (used + 4 > room)
            return false;
        used += (size_t)snprintf(out + used, room - used, odd ? "%%%02X" : "%c", (unsigned char)*text);
    }
    out[used] = '\0';
    return true;
}

/* Which objects a scheme's URLs lead to, and what stands before their names in both. */
static const struct reach {
    const char *scheme, *object, *url;
    uint64_t kinds;
    const char *detail;  /* how their detail begins; NULL: in any way */
    unsigned char files; /* DT_..., of the paths that are offered; 0: it has no paths */
} reaches[] = {
    {"unix", "unix:", "unix:", BIT(UNIX), "stream", DT_SOCK},
    {"unix+seqpacket", "unix:", "unix+seqpacket:", BIT(UNIX), "seqpacket", DT_SOCK},
    {"unix+dgram", "unix:", "unix+dgram:", BIT(UNIX), "dgram", DT_SOCK},
    {"fifo", "fifo:", "fifo:", BIT(FIFO), NULL, DT_FIFO},
    {"shm", "ring:", "shm://", BIT(RING), NULL, 0},
    {"mq", "posix-mq:", "mq://", BIT(POSIX_MQ), NULL, 0},
    {"sysv", "sysv-msg:0x", "sysv:0x", BIT(SYSV_MSG), NULL, DT_REG},
    {"tcp", "tcp:", "tcp://", BIT(TCP), NULL, 0},
    {"udp", "udp:", "udp://", BIT(UDP), NULL, 0},
    {"file", NULL, NULL, 0, NULL, DT_REG},
};

/* The one of the URL that is typed; NULL: none, or not yet. */
static const struct reach *find_reach(const char *word)
{
    size_t size = strcspn(word, ":");
    for (size_t i = 0; word[size] && i < sizeof reaches / sizeof *reaches; i++)
        if (strlen(reaches[i].scheme) == size && begins(word, reaches[i].scheme))
            return &reaches[i];
    return NULL;
}

static void offer_reached(struct completion *at, const struct wherry_inspect_object *object, const char *what)
{
    const struct reach *reach = find_reach(offered_for(at));
    bool network = object->kind == WHERRY_INSPECT_TCP || object->kind == WHERRY_INSPECT_UDP;
    bool fits = (!reach->detail || begins(object->detail, reach->detail)) && begins(object->name, reach->object) &&
                !strstr(object->name, ":[") && !(object->flags & WHERRY_INSPECT_CONNECTED && network);
    const char *rest = fits ? object->name + strlen(reach->object) : "";
    char url[NAME];
    size_t used = (size_t)snprintf(url, sizeof url, "%s", reach->url);
    /* both forms of a path: unix:/run/s and unix:///run/s */
    if (rest[0] == '/' && url[used - 1] == ':' && begins(offered_for(at) + used, "//"))
        used += (size_t)snprintf(url + used, sizeof url - used, "//");
    if (fits && encode(rest, url + used, sizeof url - used))
        offer(at, url, what);
}

/* The files of the directory that stands in the URL, as far as it is typed. */
static void offer_paths(struct completion *at, const struct reach *reach)
{
    const char *word = offered_for(at), *path = word + strlen(reach->scheme) + 1, *slash = strrchr(path, '/');
    char directory[NAME], url[NAME], encoded[3 * NAME_MAX + 1];
    if (begins(path, "//"))
        path += 2;
    if (!slash || slash < path || strchr(path, '%') || strchr(path, '?'))
        return;
    snprintf(directory, sizeof directory, "%.*s", (int)(slash + 1 - path), path);
    DIR *stream = opendir(directory);
    for (const struct dirent *entry; stream && (entry = readdir(stream));) {
        bool branch = entry->d_type == DT_DIR, known = entry->d_type != DT_UNKNOWN && entry->d_type != DT_LNK;
        if ((entry->d_name[0] == '.' && slash[1] != '.') || (known && !branch && entry->d_type != reach->files) ||
            !encode(entry->d_name, encoded, sizeof encoded))
            continue;
        int length = snprintf(url, sizeof url, "%.*s%s%s", (int)(slash + 1 - word), word, encoded, branch ? "/" : "");
        if (length > 0 && (size_t)length < sizeof url)
            offer(at, url, "");
    }
    if (stream)
        closedir(stream);
}

static void offer_schemes(struct completion *at, const char *front, const char *back)
{
    size_t count;
    const struct wherry_traits *const *all = wherry_transports(&count);
    for (size_t i = 0; i < count; i++) {
        char word[64];
        snprintf(word, sizeof word, "%s%s%s", front, all[i]->scheme, back);
        if (!(all[i]->bits & WHERRY_TRAIT_PAIR))
            offer(at, word, all[i]->object);
    }
}

void offer_urls(struct completion *at)
{
    bool ring = strcmp(at->verb->name, "stat") == 0;
    const struct reach *reach = find_reach(offered_for(at));
    if (!reach && ring)
        offer(at, "shm://", "a ring");
    else if (!reach)
        offer_schemes(at, "", ":");
    else if (!ring || strcmp(reach->scheme, "shm") == 0)
        each_object(at, reach->kinds, offer_reached);
    if (reach && reach->files)
        offer_paths(at, reach);
}

void offer_links(struct completion *at)
{
    if (offered_for(at)[0] == '=')
        offer_schemes(at, "=", "=");
}

/* ---- processes, users, signals ---- */

static void read_line(const char *path, char *line, size_t room)
{
    FILE *file = fopen(path, "re");
    line[0] = '\0';
    if (file && fgets(line, (int)room, file))
        line[strcspn(line, "\n")] = '\0';
    if (file)
        fclose(file);
}

void offer_pids(struct completion *at)
{
    DIR *stream = opendir("/proc");
    for (const struct dirent *entry; stream && (entry = readdir(stream));) {
        char path[NAME_MAX + 16], command[32];
        if (!isdigit((unsigned char)entry->d_name[0]) || !begins(entry->d_name, offered_for(at)))
            continue;
        snprintf(path, sizeof path, "/proc/%s/comm", entry->d_name);
        read_line(path, command, sizeof command);
        offer(at, entry->d_name, command);
    }
    if (stream)
        closedir(stream);
}

void offer_fds(struct completion *at, const char *pid, size_t size)
{
    char path[NAME_MAX + 64], target[256];
    snprintf(path, sizeof path, "/proc/%.*s/fd", (int)(size < 16 ? size : 16), pid);
    DIR *stream = strspn(pid, "0123456789") == size ? opendir(path) : NULL;
    for (const struct dirent *entry; stream && (entry = readdir(stream));) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        ssize_t length = readlinkat(dirfd(stream), entry->d_name, target, sizeof target - 1);
        target[length > 0 ? length : 0] = '\0';
        offer(at, entry->d_name, target);
    }
    if (stream)
        closedir(stream);
}

void offer_users(struct completion *at)
{
    setpwent();
    for (const struct passwd *entry; (entry = getpwent());)
        offer(at, entry->pw_name, entry->pw_gecos ? entry->pw_gecos : "");
    endpwent();
}

void offer_signals(struct completion *at)
{
    size_t skipped = begins(offered_for(at), "S") ? 0 : strlen("SIG"); /* TERM, or SIGTERM for who began so */
    for (int number = 1; number <= SIGRTMAX; number++) {
        char name[WHERRY_SIGNAL_NAME];
        if (begins(wherry_signal_name(number, name, sizeof name), "SIG"))
            offer(at, name + skipped, "");
    }
}

/* ---- columns ---- */

/* The verb prints what --list-columns prints, in a child, since it does so on standard output. */
void offer_columns(struct completion *at)
{
    int ends[2];
    fflush(stdout);
    if (pipe(ends) < 0)
        return;
    pid_t child = fork();
    if (child == 0) {
        char name[32], option[] = "--list-columns";
        snprintf(name, sizeof name, "%s", at->verb->name);
        char *arguments[] = {name, option, NULL};
        if (dup2(ends[1], STDOUT_FILENO) >= 0)
            at->verb->run(at->verb, 2, arguments);
        _exit(0);
    }
    close(ends[1]);
    FILE *lines = fdopen(ends[0], "r");
    for (char line[256]; lines && fgets(line, sizeof line, lines);) {
        size_t size = strcspn(line, " \n"), blanks = strspn(line + size, " ");
        line[size + blanks + strcspn(line + size + blanks, "\n")] = '\0';
        const char *what = line + size + blanks;
        line[size] = '\0';
        offer(at, line, blanks ? what : "");
    }
    if (lines)
        fclose(lines);
    else
        close(ends[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
}

/* ---- units ---- */

void offer_units(struct completion *at, const char *file)
{
    struct run_plan plan = {.units = NULL};
    if (!file)
        file = access("Procfile", F_OK) == 0 ? "Procfile" : "wherry.run";
    if (plan_read_file(&plan, file) == 0)
        for (size_t i = 0; i < plan.count; i++) {
            const char *command = plan.units[i]->arguments[2] ? plan.units[i]->arguments[2] : "";
            offer(at, plan.units[i]->name, begins(command, "exec ") ? command + strlen("exec ") : command);
        }
    plan_free(&plan);
}
