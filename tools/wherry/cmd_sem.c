/* cmd_sem.c - `wherry sem`: make, post, wait for and remove semaphores, POSIX and System V.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wherry/semaphore.h>

#include "objects.h"

enum { MOST_NUMBERS = 500 };

struct sem_verb {
    struct options options;
    const char *name;
    char **numbers; /* operands behind the name */
    int number_count;
    int64_t count, by;
    unsigned given; /* of the options in `uses` */
    uint32_t mode;
    bool zero, as_found, any_owner;
    struct wherry_semaphore *semaphore;
    struct wherry_semaphore_set *set;
    bool create;
    uint16_t *values;
    uint32_t value;
};

enum { OPTION_AS_FOUND = OPTION_FIRST, OPTION_ANY_OWNER };

static bool is_posix(const struct sem_verb *verb)
{
    return strncmp(verb->name, "posix-sem:", strlen("posix-sem:")) == 0;
}

static int fail(const struct sem_verb *verb, int error)
{
    return object_complain(&verb->options, verb->name, error);
}

/* ---- opening ---- */

static int try_open(void *context, wherry_time deadline)
{
    struct sem_verb *verb = context;
    if (is_posix(verb)) {
        struct wherry_semaphore_options how = WHERRY_SEMAPHORE_OPTIONS;
        how.create = how.exclusive = verb->create;
        how.mode = verb->mode;
        how.value = verb->value;
        how.any_owner = verb->any_owner;
        return wherry_semaphore_open(verb->name, &how, deadline, &verb->semaphore);
    }
    struct wherry_semaphore_set_options how = WHERRY_SEMAPHORE_SET_OPTIONS;
    how.create = how.exclusive = verb->create;
    how.mode = verb->mode;
    how.values = verb->values;
    how.any_owner = verb->any_owner;
    how.as_found = verb->as_found;
    return wherry_semaphore_set_open(verb->name, verb->create ? (unsigned)verb->count : 0, &how, deadline, &verb->set);
}

static int create(struct sem_verb *verb)
{
    if (verb->count == 0)
        verb->count = verb->number_count ? verb->number_count : 1;
    if (verb->number_count > verb->count)
        return misuse(verb->options.verb, "more values than semaphores");
    if (verb->number_count && verb->number_count < verb->count)
        return misuse(verb->options.verb, "-n says %d semaphores, and %d have a value: say all, or none",
                      (int)verb->count, verb->number_count);
    if (is_posix(verb) && verb->count > 1)
        return misuse(verb->options.verb, "a POSIX semaphore is one, and has one value");
    verb->values = calloc((size_t)verb->count, sizeof *verb->values);
    if (!verb->values)
        return complain(TOOL_FAILED, "no memory");
    for (int i = 0; i < verb->number_count; i++) {
        int64_t value;
        const char *wrong = parse_number(verb->numbers[i], 0, is_posix(verb) ? INT32_MAX : INT16_MAX, &value);
        if (wrong)
            return misuse(verb->options.verb, "the value %s %s", verb->numbers[i], wrong);
        verb->values[i] = (uint16_t)value;
        verb->value = (uint32_t)value;
    }
    verb->create = true;
    int result = try_open(verb, verb->options.timed ? options_deadline(&verb->options) : wherry_after(WHERRY_SECOND));
    return result < 0 ? fail(verb, result) : TOOL_OK;
}

/* ---- post and wait ---- */

/* The operations on a set: as many as there are indices, or on the first. */
static int operate(struct sem_verb *verb, int64_t change, wherry_time deadline)
{
    struct wherry_semaphore_operation operations[MOST_NUMBERS] = {{.change = (int16_t)change}};
    for (int i = 0; i < verb->number_count; i++) {
        int64_t index;
        const char *wrong = parse_number(verb->numbers[i], 0, UINT16_MAX, &index);
        if (wrong)
            return misuse(verb->options.verb, "the index %s %s", verb->numbers[i], wrong);
        operations[i] = (struct wherry_semaphore_operation){.index = (uint16_t)index, .change = (int16_t)change};
    }
    int result = wherry_semaphore_set_operate(verb->set, operations,
                                              verb->number_count ? (size_t)verb->number_count : 1, deadline);
    return result < 0 ? fail(verb, result) : TOOL_OK;
}

static int check_numbers(const struct sem_verb *verb)
{
    if (is_posix(verb) && (verb->number_count || verb->zero))
        return misuse(verb->options.verb, "a POSIX semaphore is one: it has no indices, and nobody waits for its zero");
    if (verb->number_count > MOST_NUMBERS)
        return misuse(verb->options.verb, "at most %d indices", MOST_NUMBERS);
    return 0;
}

static int post(struct sem_verb *verb)
{
    wherry_time deadline = verb->options.timed ? options_deadline(&verb->options) : WHERRY_NOW;
    int code = check_numbers(verb);
    if (code != 0)
        return code;
    int result = open_waiting(&verb->options, deadline, try_open, verb);
    if (result < 0)
        return fail(verb, result);
    if (verb->set)
        return operate(verb, verb->by, deadline);
    for (int64_t i = 0; i < verb->by && result == 0; i++)
        result = wherry_semaphore_post(verb->semaphore);
    return result < 0 ? fail(verb, result) : TOOL_OK;
}

/* SIGINT, SIGTERM and SIGHUP, to be held off while some are taken; not those that are ignored or held off already. */
static void find_signals(sigset_t *ret)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action;
    sigset_t blocked;
    sigemptyset(ret);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (sigaction(numbers[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN &&
            sigismember(&blocked, numbers[i]) == 0)
            sigaddset(ret, numbers[i]);
}

/* The one of them that has come, or 0. */
static int signal_of(const sigset_t *signals)
{
    sigset_t pending;
    sigpending(&pending);
    for (int i = 1; i < NSIG; i++)
        if (sigismember(signals, i) == 1 && sigismember(&pending, i) == 1)
            return i;
    return 0;
}

/* Several of a POSIX semaphore, one after another, and all or none.  A handler could not know whether the one that is
 * waited for has just been taken: the signals are held off, and looked for in steps. */
static int take_several(struct sem_verb *verb, wherry_time deadline)
{
    const wherry_time step = 50 * WHERRY_MILLISECOND;
    sigset_t signals, before;
    int64_t taken = 0;
    int result = 0, came = 0;
    find_signals(&signals);
    sigprocmask(SIG_BLOCK, &signals, &before);
    while (taken < verb->by && (came = signal_of(&signals)) == 0) {
        wherry_time until = wherry_after(step);
        result = wherry_semaphore_wait(verb->semaphore, until < deadline ? until : deadline);
        if (result == 0)
            taken++;
        else if (result != -ETIMEDOUT || until >= deadline)
            break;
    }
    for (; (result < 0 || came) && taken > 0; taken--)
        wherry_semaphore_post(verb->semaphore);
    if (came)
        sigprocmask(SIG_SETMASK, &before, NULL); /* and it ends here */
    return came ? TOOL_SIGNAL + came : result < 0 ? fail(verb, result) : TOOL_OK;
}

static int wait_for(struct sem_verb *verb)
{
    wherry_time deadline = options_deadline(&verb->options);
    int code = check_numbers(verb);
    if (code != 0)
        return code;
    int result = open_waiting(&verb->options, deadline, try_open, verb);
    if (result < 0)
        return fail(verb, result);
    if (verb->set)
        return operate(verb, verb->zero ? 0 : -verb->by, deadline);
    if (verb->by > 1)
        return take_several(verb, deadline);
    result = wherry_semaphore_wait(verb->semaphore, deadline);
    return result < 0 ? fail(verb, result) : TOOL_OK;
}

/* ---- value and remove ---- */

static int print_values(struct sem_verb *verb)
{
    verb->as_found = true;
    int result = try_open(verb, WHERRY_NOW);
    if (result < 0)
        return fail(verb, result);
    if (verb->semaphore) {
        printf("%" PRIu32 "\n", wherry_semaphore_value(verb->semaphore));
        return finish_printing(TOOL_OK);
    }
    unsigned count = wherry_semaphore_set_count(verb->set);
    verb->values = calloc(count, sizeof *verb->values);
    if (!verb->values)
        return complain(TOOL_FAILED, "no memory");
    result = wherry_semaphore_set_values(verb->set, verb->values, count);
    for (unsigned i = 0; i < count && result == 0; i++)
        printf("%u\n", verb->values[i]);
    return result < 0 ? fail(verb, result) : finish_printing(TOOL_OK);
}

static int remove_semaphore(struct sem_verb *verb)
{
    int result = is_posix(verb) ? wherry_semaphore_remove(verb->name) : wherry_semaphore_set_remove(verb->name);
    return result < 0 ? fail(verb, result) : TOOL_OK;
}

/* ---- the command line ---- */

static const struct {
    const char *name;
    int (*run)(struct sem_verb *verb);
    bool numbers;
} actions[] = {
    {"create", create, true},
    {"post", post, true},
    {"wait", wait_for, true},
    {"value", print_values, false},
    {"remove", remove_semaphore, false},
};

static const struct option_use uses[] = {
    {'n', "-n", "create"},
    {'m', "-m", "create"},
    {'b', "-b", "post, wait"},
    {'z', "-z", "wait"},
    {OPTION_AS_FOUND, "--as-found", "post, wait, value"},
    {OPTION_ANY_OWNER, "--any-owner", "post, wait, value"},
};
enum { USES = sizeof uses / sizeof *uses };

static int take_option(struct sem_verb *verb, int option)
{
    verb->given |= option_bit(uses, USES, option);
    switch (option) {
    case 'n':
        return take_number(&verb->options, "-n", 1, INT16_MAX, &verb->count);
    case 'm':
        return take_mode(&verb->options, "-m", &verb->mode);
    case 'b':
        return take_number(&verb->options, "-b", 1, INT16_MAX, &verb->by);
    case 'z':
        verb->zero = true;
        break;
    case OPTION_AS_FOUND:
        verb->as_found = true;
        break;
    case OPTION_ANY_OWNER:
        verb->any_owner = true;
        break;
    }
    return 0;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("count", required_argument, 'n'),
        LONG("mode", required_argument, 'm'),
        LONG("by", required_argument, 'b'),
        LONG("zero", no_argument, 'z'),
        LONG("as-found", no_argument, OPTION_AS_FOUND),
        LONG("any-owner", no_argument, OPTION_ANY_OWNER),
        {0},
    };
    struct sem_verb sem = {.options = options_of(verb), .by = 1};
    int option;
    while ((option = options_next(&sem.options, argc, argv, COMMON_SHORT "n:m:b:z", longs)) >= 0)
        if (take_option(&sem, option) < 0)
            return sem.options.code;
    if (option == OPTION_STOP || options_operands(&sem.options, argc, 2, INT16_MAX) < 0)
        return sem.options.code;
    sem.name = argv[optind + 1];
    sem.numbers = argv + optind + 2;
    sem.number_count = argc - optind - 2;
    if (!is_posix(&sem) && strncmp(sem.name, "sysv-sem:", strlen("sysv-sem:")) != 0)
        return misuse(verb, "%s is no semaphore: a name begins with posix-sem: or sysv-sem:", sem.name);
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].name, argv[optind]) != 0)
            continue;
        if (sem.number_count && !actions[i].numbers)
            return misuse(verb, "%s takes a name and no numbers", actions[i].name);
        int code = check_uses(verb, uses, USES, sem.given, actions[i].name);
        if (code == 0 && sem.zero && (sem.given & option_bit(uses, USES, 'b')))
            code = misuse(verb, "-z changes nothing, and -b says by how much: one of the two");
        code = code ? code : actions[i].run(&sem);
        wherry_semaphore_close(sem.semaphore);
        wherry_semaphore_set_close(sem.set);
        free(sem.values);
        return code;
    }
    return misuse(verb, "%s is none of create, post, wait, value and remove", argv[optind]);
}

const struct verb verb_sem = {
    .name = "sem",
    .summary = "semaphores",
    .operands = "create|post|wait|value|remove NAME [NUMBER]...",
    .help = "NAME is posix-sem:/name, or a System V set: sysv-sem:0xKEY, sysv-sem:#ID or\n"
            "sysv-sem:PATH?id=C.  create takes the values that they begin with; post and wait\n"
            "take the indices in a set, from 0 on, that are changed all together: 0 without.\n"
            "\n"
            "  -n, --count N      create: a set of so many\n"
            "  -m, --mode OCTAL   create: these permissions, exactly; else 0600\n"
            "  -b, --by N         post, wait: by so much instead of 1\n"
            "  -z, --zero         wait: until a set's semaphores are 0, changing nothing\n"
            "      --as-found     post, wait: a set that nobody has operated on yet, as it is\n"
            "      --any-owner    post, wait, value: also another user's than this and root's\n"
            "\n"
            "An option that says nothing to what is done is refused.\n"
            "wait waits for ever, or -w; post tries once, or waits with -w for the name.\n",
    .examples = "Examples:\n"
                "  wherry sem create posix-sem:/ready 0\n"
                "  wherry sem wait -w 10s posix-sem:/ready && echo go\n"
                "  wherry sem create 'sysv-sem:./key?id=S' 4 1\n",
    .run = run,
};
