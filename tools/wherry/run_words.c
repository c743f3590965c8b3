/* run_words.c - owns the option lines of a unit: each one's words, and what is wrong with them.
 *
 * SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "run.h"

enum { MOST_WORDS = 128, MOST_GROUPS = 1024 };

/* A line under way. */
struct line {
    struct run_plan *plan;
    struct run_unit *unit;
    struct run_spot spot;
    const char *text;               /* all of it */
    const char *words[MOST_WORDS];  /* behind the option's name; copies */
    const char *places[MOST_WORDS]; /* in the text */
    size_t count;
    const char *form; /* what to write */
};

/* At a word; NULL: at the option. */
static const struct run_spot *spot_at(struct line *line, const char *place)
{
    line->spot.column = (size_t)(place - line->text) + 1;
    return &line->spot;
}

static const struct run_spot *spot_of(struct line *line, size_t word)
{
    return spot_at(line, line->places[word]);
}

/* ---- words that mean something in several options ---- */

static int take_duration(struct line *line, size_t word, wherry_time *ret_duration)
{
    if (word >= line->count)
        return 0;
    const char *wrong = parse_duration(line->words[word], ret_duration);
    if (!wrong && *ret_duration == 0)
        wrong = "is no time at all";
    return wrong ? run_mistake(spot_of(line, word), "%s %s", line->words[word], wrong) : 0;
}

static int take_signal(struct line *line, size_t word, int *ret_signal)
{
    int number = wherry_signal_number(line->words[word]);
    if (number <= 0)
        return run_mistake(spot_of(line, word), "there is no signal %s: write TERM, INT, QUIT, USR1 or the like",
                           line->words[word]);
    *ret_signal = number;
    return 0;
}

/* All behind the option's name, blanks included. */
static const char *rest_of(const struct line *line)
{
    return line->places[0];
}

/* ---- the options ---- */

static int take_after(struct line *line)
{
    for (size_t i = 0; i < line->count; i++) {
        char where[512];
        const struct run_spot *spot = spot_of(line, i);
        if (strcmp(line->words[i], line->unit->name) == 0)
            return run_mistake(spot, "%s cannot start after itself", line->unit->name);
        snprintf(where, sizeof where, "%s:%zu:%zu", spot->file, spot->line, spot->column);
        if (!plan_append(line->plan, &line->unit->after, line->words[i]) ||
            !plan_append(line->plan, &line->unit->after_at, plan_text(line->plan, where, strlen(where))))
            return TOOL_FAILED;
    }
    line->unit->options.after = line->unit->after.items;
    return 0;
}

/* What somebody may wait for: an address at which one side listens. */
static int take_ready_url(struct line *line)
{
    const char *url = line->words[0];
    size_t size = strcspn(url, ":"), count;
    const struct wherry_traits *const *all = wherry_transports(&count);
    for (size_t i = 0; i < count; i++) {
        if (strlen(all[i]->scheme) != size || memcmp(all[i]->scheme, url, size) != 0)
            continue;
        if (!(all[i]->bits & WHERRY_TRAIT_LISTENS) || all[i]->bits & WHERRY_TRAIT_LOSSY)
            return run_mistake(spot_of(line, 0),
                               "at %.*s: nobody listens who could answer: take unix: or tcp:", (int)size, url);
        struct wherry_channel *channel = NULL;
        int result = wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel);
        wherry_channel_close(channel, WHERRY_NOW);
        if (result == -EINVAL || result == -EOPNOTSUPP || result == -ENAMETOOLONG)
            return run_mistake(spot_of(line, 0), "%s", wherry_why());
        line->unit->options.ready = WHERRY_READY_URL;
        line->unit->options.ready_url = url;
        return 0;
    }
    return run_mistake(spot_of(line, 0),
                       "%s is no way to be ready: write notify, fd [N], exit, or a URL such as "
                       "tcp://127.0.0.1:5000",
                       url);
}

static int take_ready(struct line *line)
{
    struct wherry_unit_options *options = &line->unit->options;
    bool is_fd = strcmp(line->words[0], "fd") == 0;
    int64_t number = 3;
    if (line->count > 1 && !is_fd)
        return run_mistake(spot_of(line, 1), "%s: write \"%s\"", line->words[1], line->form);
    if (is_fd) {
        const char *wrong = line->count > 1 ? parse_number(line->words[1], 3, 1023, &number) : NULL;
        if (wrong)
            return run_mistake(spot_of(line, 1), "%s %s", line->words[1], wrong);
        options->ready = WHERRY_READY_FD;
        options->ready_fd = (int)number;
        return 0;
    }
    if (strcmp(line->words[0], "notify") == 0) {
        options->ready = WHERRY_READY_NOTIFY;
        return 0;
    }
    if (strcmp(line->words[0], "exit") == 0) {
        options->ready = WHERRY_READY_EXITED;
        return 0;
    }
    return take_ready_url(line);
}

static int take_ready_timeout(struct line *line)
{
    if (strcmp(line->words[0], "never") == 0) {
        line->unit->options.ready_timeout = WHERRY_FOREVER;
        return 0;
    }
    return take_duration(line, 0, &line->unit->options.ready_timeout);
}

static int take_restart(struct line *line)
{
    static const char *const ways[] = {"never", "on-failure", "always"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(line->words[0], ways[i]) == 0) {
            line->unit->options.restart = (enum wherry_restart)i;
            return 0;
        }
    return run_mistake(spot_of(line, 0), "%s: write never, on-failure or always", line->words[0]);
}

static int take_backoff(struct line *line)
{
    struct wherry_unit_options *options = &line->unit->options;
    int code = take_duration(line, 0, &options->backoff_first);
    if (code == 0)
        code = take_duration(line, 1, &options->backoff_most);
    if (code == 0 && line->count == 1 && options->backoff_first > 10 * WHERRY_SECOND)
        options->backoff_most = options->backoff_first;
    if (code == 0 && options->backoff_most && options->backoff_most < options->backoff_first)
        return run_mistake(spot_of(line, 1), "%s is less than %s, from which the pause grows up to it", line->words[1],
                           line->words[0]);
    return code;
}

static int take_limit(struct line *line)
{
    int64_t number = 0;
    const char *wrong = parse_number(line->words[0], 1, 63, &number);
    if (wrong)
        return run_mistake(spot_of(line, 0), "%s %s", line->words[0], wrong);
    line->unit->options.restart_limit = (unsigned)number;
    return take_duration(line, 1, &line->unit->options.restart_span);
}

static int take_stop(struct line *line)
{
    int code = take_signal(line, 0, &line->unit->options.stop_signal);
    return code == 0 ? take_duration(line, 1, &line->unit->options.stop_timeout) : code;
}

static int take_reload(struct line *line)
{
    int number = 0, code = take_signal(line, 0, &number);
    if (code == 0 && (number == SIGKILL || number == SIGSTOP))
        return run_mistake(spot_of(line, 0),
                           "%s: no program can handle this signal: it would %s rather than read its files again: write "
                           "HUP, USR1 or the like",
                           line->words[0], number == SIGKILL ? "die" : "stand still");
    if (code == 0)
        line->unit->options.reload_signal = number;
    return code;
}

static int take_env(struct line *line)
{
    const char *rest = rest_of(line);
    size_t size = strcspn(rest, "= \t");
    if (size == 0 || rest[size] != '=' || isdigit((unsigned char)rest[0]))
        return run_mistake(spot_of(line, 0), "%s: write \"%s\"", rest, line->form);
    const char *text = plan_text(line->plan, rest, strlen(rest));
    return plan_append(line->plan, &line->unit->variables, text) ? 0 : TOOL_FAILED;
}

static int take_dir(struct line *line)
{
    const char *rest = rest_of(line);
    line->unit->process.directory = plan_text(line->plan, rest, strlen(rest));
    return line->unit->process.directory ? 0 : TOOL_FAILED;
}

static int take_cgroup(struct line *line)
{
    const char *rest = rest_of(line);
    struct stat status;
    int code = stat(rest, &status) != 0 ? errno : S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
    if (code != 0)
        return run_mistake(spot_of(line, 0),
                           "%s: %s: make the cgroup's directory first, below where cgroup version 2 is mounted", rest,
                           strerror(code));
    line->unit->process.cgroup = plan_text(line->plan, rest, strlen(rest));
    return line->unit->process.cgroup ? 0 : TOOL_FAILED;
}

static int take_pidns(struct line *line)
{
    line->unit->process.pid_namespace = true;
    return 0;
}

static bool set_variable(struct line *line, const char *name, const char *value)
{
    char text[1024];
    snprintf(text, sizeof text, "%s=%s", name, value);
    return plan_append(line->plan, &line->unit->variables, plan_text(line->plan, text, strlen(text)));
}

/* A name, or a number that has one; with the groups that it is in. */
static int take_user(struct line *line)
{
    struct wherry_process_options *process = &line->unit->process;
    char *end;
    unsigned long number = strtoul(line->words[0], &end, 10);
    bool is_number = isdigit((unsigned char)line->words[0][0]) && *end == '\0' && number < UINT32_MAX;
    const struct passwd *user = is_number ? getpwuid((uid_t)number) : getpwnam(line->words[0]);
    if (!user)
        return run_mistake(spot_of(line, 0), "there is no user %s: getent passwd lists them", line->words[0]);
    int count = MOST_GROUPS;
    gid_t *groups = plan_memory(line->plan, MOST_GROUPS * sizeof *groups);
    if (!groups)
        return TOOL_FAILED;
    if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
        return run_mistake(spot_of(line, 0), "%s is in more than %d groups", line->words[0], MOST_GROUPS);
    process->set_ids = true;
    process->uid = user->pw_uid;
    process->gid = user->pw_gid;
    process->groups = groups;
    process->group_count = (size_t)count;
    bool fine = set_variable(line, "USER", user->pw_name) && set_variable(line, "LOGNAME", user->pw_name) &&
                set_variable(line, "HOME", user->pw_dir);
    return fine ? 0 : TOOL_FAILED;
}

static const struct {
    const char *name;
    int resource;
} limits[] = {
    {"as", RLIMIT_AS},
    {"core", RLIMIT_CORE},
    {"cpu", RLIMIT_CPU},
    {"data", RLIMIT_DATA},
    {"fsize", RLIMIT_FSIZE},
    {"memlock", RLIMIT_MEMLOCK},
    {"msgqueue", RLIMIT_MSGQUEUE},
    {"nice", RLIMIT_NICE},
    {"nofile", RLIMIT_NOFILE},
    {"nproc", RLIMIT_NPROC},
    {"rtprio", RLIMIT_RTPRIO},
    {"sigpending", RLIMIT_SIGPENDING},
    {"stack", RLIMIT_STACK},
};

/* "1024" or "unlimited", of which there are two with a colon between them, or one for both. */
static int take_limit_value(struct line *line, const char *text, size_t size, uint64_t *ret_value)
{
    const char *place = line->places[1] + (text - line->words[1]), *form = line->form;
    const char *digits = text + (size > 0 && text[0] == '-');
    int64_t number;
    if (size == 9 && memcmp(text, "unlimited", size) == 0) {
        *ret_value = UINT64_MAX;
        return 0;
    }
    if (size == 0)
        return run_mistake(spot_at(line, place), "%s: a number is missing %s the colon: write \"%s\"", line->words[1],
                           text == line->words[1] ? "before" : "behind", form);
    const char *copy = plan_text(line->plan, text, size);
    if (!copy)
        return TOOL_FAILED;
    if (parse_number(copy, 0, INT64_MAX, &number) == NULL) {
        *ret_value = (uint64_t)number;
        return 0;
    }
    if (strspn(digits, "0123456789") < size - (size_t)(digits - text) || digits == text + size)
        return run_mistake(
            spot_at(line, place),
            "%s is no limit: write a whole number, without a unit behind it, or unlimited, as in \"rlimit "
            "%s 1024:4096\"",
            copy, line->words[0]);
    return run_mistake(spot_at(line, place), "%s is out of range: write a number from 0 to %" PRId64 ", or unlimited",
                       copy, INT64_MAX);
}

static int take_rlimit(struct line *line)
{
    struct wherry_process_options *process = &line->unit->process;
    struct wherry_process_limit limit = {.resource = -1};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        if (strcmp(line->words[0], limits[i].name) == 0)
            limit.resource = limits[i].resource;
    if (limit.resource < 0)
        return run_mistake(spot_of(line, 0),
                           "there is no limit %s: write nofile, nproc, as, core, cpu, data, fsize, "
                           "memlock, msgqueue, nice, rtprio, sigpending or stack",
                           line->words[0]);
    const char *text = line->words[1], *colon = strchr(text, ':');
    int code = take_limit_value(line, text, strcspn(text, ":"), &limit.soft);
    limit.hard = limit.soft;
    if (code == 0 && colon)
        code = take_limit_value(line, colon + 1, strlen(colon + 1), &limit.hard);
    if (code != 0)
        return code;
    if (limit.soft > limit.hard)
        return run_mistake(spot_of(line, 1),
                           "%s: the soft limit, before the colon, is over the hard one: exchange them", text);
    struct wherry_process_limit *all = plan_memory(line->plan, (process->limit_count + 1) * sizeof *all);
    if (!all)
        return TOOL_FAILED;
    if (process->limit_count > 0)
        memcpy(all, line->unit->limits, process->limit_count * sizeof *all);
    all[process->limit_count++] = limit;
    process->limits = line->unit->limits = all;
    return 0;
}

/* ---- which there are ---- */

static const struct taker {
    const char *name, *form;
    size_t least, most; /* words */
    bool again;         /* may be said twice; its words are all of the rest */
    int (*take)(struct line *line);
} takers[] = {
    {"after", "after NAME...", 1, MOST_WORDS, true, take_after},
    {"backoff", "backoff DUR [DUR]", 1, 2, false, take_backoff},
    {"cgroup", "cgroup PATH", 1, MOST_WORDS, false, take_cgroup},
    {"dir", "dir PATH", 1, MOST_WORDS, false, take_dir},
    {"env", "env NAME=VALUE", 1, MOST_WORDS, true, take_env},
    {"limit", "limit N [DUR]", 1, 2, false, take_limit},
    {"pidns", "pidns", 0, 0, false, take_pidns},
    {"ready", "ready notify | fd [N] | exit | URL", 1, 2, false, take_ready},
    {"ready-timeout", "ready-timeout DUR | never", 1, 1, false, take_ready_timeout},
    {"reload", "reload SIGNAL", 1, 1, false, take_reload},
    {"restart", "restart never | on-failure | always", 1, 1, false, take_restart},
    {"rlimit", "rlimit NAME SOFT[:HARD]", 2, 2, true, take_rlimit},
    {"stop", "stop SIGNAL [DUR]", 1, 2, false, take_stop},
    {"user", "user NAME", 1, 1, false, take_user},
};

enum { TAKERS = sizeof takers / sizeof *takers };

static const struct taker *find_taker(const char *word, size_t size)
{
    for (size_t i = 0; i < TAKERS; i++)
        if (strlen(takers[i].name) == size && memcmp(takers[i].name, word, size) == 0)
            return &takers[i];
    return NULL;
}

bool unit_has_option(const char *word, size_t size)
{
    return find_taker(word, size) != NULL;
}

static int no_such_option(struct line *line, const char *word, size_t size)
{
    char names[256] = "";
    for (size_t i = 0; i < TAKERS; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s",
                 i == 0            ? ""
                 : i + 1 == TAKERS ? " or "
                                   : ", ",
                 takers[i].name);
    }
    if (size > 1 && word[size - 1] == ':')
        return run_mistake(spot_at(line, word), "%.*s is below the unit %s: the name of a unit begins its line",
                           (int)size, word, line->unit->name);
    return run_mistake(spot_at(line, word), "there is no option %.*s: write %s", (int)size, word, names);
}

/* The words from here on, up to a comment; more than there is room for are left out. */
static bool split(struct line *line, const char *text)
{
    for (text += strspn(text, " \t"); *text && *text != '#' && line->count < MOST_WORDS; text += strspn(text, " \t")) {
        size_t size = strcspn(text, " \t");
        const char *word = plan_text(line->plan, text, size);
        if (!word)
            return false;
        line->places[line->count] = text;
        line->words[line->count++] = word;
        text += size;
    }
    return true;
}

/* Options that contradict each other, in whichever order they came. */
static int check_unit(struct line *line, const char *word)
{
    const struct wherry_unit_options *options = &line->unit->options;
    if (options->ready == WHERRY_READY_EXITED && options->restart == WHERRY_RESTART_ALWAYS)
        return run_mistake(spot_at(line, word),
                           "a unit that is ready once it has ended cannot be restarted always: write "
                           "\"restart on-failure\"");
    return 0;
}

int unit_take_option(struct run_plan *plan, struct run_unit *unit, const char *file, size_t number, const char *text)
{
    struct line line = {.plan = plan, .unit = unit, .spot = {.file = file, .line = number}, .text = text};
    const char *word = text + strspn(text, " \t");
    size_t size = strcspn(word, " \t");
    const struct taker *taker = find_taker(word, size);
    if (!taker)
        return no_such_option(&line, word, size);
    line.form = taker->form;
    if (!split(&line, word + size))
        return TOOL_FAILED;
    const char *last = line.count > 0 ? line.places[line.count - 1] + strlen(line.words[line.count - 1]) : word + size;
    if (line.count < taker->least)
        return run_mistake(spot_at(&line, last), "something is missing: write \"%s\"", taker->form);
    if (line.count > taker->most || (line.count == MOST_WORDS && taker->take == take_after)) {
        size_t first = line.count > taker->most ? taker->most : line.count - 1;
        return run_mistake(spot_of(&line, first), "%s is too much: write \"%s\"", line.words[first], taker->form);
    }
    unsigned bit = 1u << (taker - takers);
    if (unit->said & bit && !taker->again)
        return run_mistake(spot_at(&line, word), "%s has %s already: leave one of the two out", unit->name,
                           taker->name);
    unit->said |= bit;
    int code = taker->take(&line);
    return code != 0 ? code : check_unit(&line, word);
}
