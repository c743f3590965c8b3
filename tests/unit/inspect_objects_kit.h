/* tests/unit/inspect_objects_kit.h - a snapshot to look at, and children that hold something, for the tests of objects
 * with names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_INSPECT_OBJECTS_KIT_H
#define WHERRY_TESTS_INSPECT_OBJECTS_KIT_H

#include <mqueue.h>
#include <semaphore.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <wherry/inspect.h>

#include "base/fd.h"
#include "base/maker.h"
#include "base/sys.h"
#include "ring/look.h"
#include "objects.h"

/* ---- looking ---- */

static struct wherry_inspect *snapshot;

static inline void look(unsigned flags)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    options.flags = flags;
    wherry_inspect_free(snapshot);
    snapshot = NULL;
    test_ok(wherry_inspect_take(&options, &snapshot));
}

static inline void look_no_more(void)
{
    wherry_inspect_free(snapshot);
    snapshot = NULL;
}

static inline size_t count_of(const char *name)
{
    size_t count = 0;
    while (wherry_inspect_find(snapshot, name, count))
        count++;
    return count;
}

/* The one of that name. */
static inline const struct wherry_inspect_object *object_of(const char *name)
{
    ck_assert_msg(count_of(name) == 1, "%zu objects are called \"%s\"", count_of(name), name);
    return wherry_inspect_find(snapshot, name, 0);
}

static inline const struct wherry_inspect_hold *hold_by(const struct wherry_inspect_object *object, pid_t pid,
                                                 enum wherry_inspect_how how)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->process->pid == pid && hold->how == how)
            return hold;
    ck_abort_msg("%s: pid %d is not seen to hold it so; %zu holds; %s", object->name, (int)pid, object->holds,
                 object->reason);
}

/* Others on this host, who look as we do, have it open for an instant: they do not count. */
static inline size_t holds_of(const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold;
    size_t count = 0;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        count += hold->process->pid == getpid() || hold->process->parent == getpid();
    return count;
}

/* The state once no such onlooker is there. */
static inline enum wherry_inspect_state state_of(const char *name, unsigned flags)
{
    wherry_time deadline = test_deadline();
    do
        look(flags);
    while (object_of(name)->state == WHERRY_INSPECT_LIVE && holds_of(object_of(name)) == 0 && object_of(name)->holds &&
           wherry_now() < deadline);
    return object_of(name)->state;
}

static inline void has_words(const char *text, const char *words)
{
    ck_assert_msg(strstr(text, words), "\"%s\" does not say \"%s\"", text, words);
}

static inline const char *named(const char *prefix)
{
    static char names[4][200];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], "%s%s", prefix, test_word());
    return name;
}

/* ---- children that hold something ---- */

struct child {
    struct test_gate ready;
    int number; /* of a System V object */
};

static struct child *child;

static inline pid_t start(void (*hold)(void *), int number)
{
    child = test_shared(sizeof *child);
    child->number = number;
    test_gate_init(&child->ready);
    pid_t pid = test_fork(hold, NULL);
    test_gate_wait(&child->ready);
    return pid;
}

static inline void hold_on(void)
{
    test_gate_open(&child->ready);
    wait_for_the_end();
}

static inline void stop(pid_t pid)
{
    test_kill(pid);
    test_gate_fini(&child->ready);
}

#endif
