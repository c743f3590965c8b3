/* tests/unit/inspect_remove_kit.h - a snapshot to remove from, and looks at what is left, for the tests of removal.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_INSPECT_REMOVE_KIT_H
#define WHERRY_TESTS_INSPECT_REMOVE_KIT_H

#include <mqueue.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <wherry/inspect.h>

#include "base/fd.h"
#include "base/maker.h"
#include "base/sys.h"
#include "inspect/prove.h"
#include "ring/look.h"
#include "objects.h"

static struct wherry_inspect *snapshot;

static inline const char *named(const char *prefix)
{
    static char names[4][300];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], "%s%s", prefix, test_word());
    return name;
}

static inline const char *sysv(const char *kind)
{
    static char name[60];
    snprintf(name, sizeof name, "%s:0x%x", kind, (unsigned)test_key(0));
    return name;
}

/* Others on this host, who look as we do, have it open for an instant. */
static inline bool onlookers_alone(const struct wherry_inspect_object *object)
{
    const struct wherry_inspect_hold *hold;
    for (size_t i = 0; (hold = wherry_inspect_hold_of(object, i)); i++)
        if (hold->process->pid == getpid() || hold->process->parent == getpid())
            return false;
    return object->holds > 0;
}

/* The object of that name in a snapshot of now. */
static inline const struct wherry_inspect_object *look_at(const char *name)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    const struct wherry_inspect_object *object;
    wherry_time deadline = test_deadline();
    options.flags = WHERRY_INSPECT_PROVE | WHERRY_INSPECT_WAITERS;
    do {
        wherry_inspect_free(snapshot);
        snapshot = NULL;
        test_ok(wherry_inspect_take(&options, &snapshot));
        object = wherry_inspect_find(snapshot, name, 0);
        ck_assert_msg(object != NULL, "there is no %s", name);
    } while (onlookers_alone(object) && wherry_now() < deadline);
    return object;
}

static inline int remove_it(const struct wherry_inspect_object *object)
{
    return wherry_inspect_remove(snapshot, object, 0);
}

static inline int remove_untracked(const struct wherry_inspect_object *object)
{
    return wherry_inspect_remove(snapshot, object, WHERRY_INSPECT_REMOVE_UNTRACKED);
}

static inline void end(void)
{
    wherry_inspect_free(snapshot);
    snapshot = NULL;
}

static inline ino_t make_file(const char *path)
{
    struct stat status;
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    close(fd);
    return status.st_ino;
}

static inline ino_t inode_at(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 ? status.st_ino : 0;
}

static inline bool something_put_aside(void)
{
    bool found = false;
    FILE *list = popen("ls -A /dev/shm /dev/shm/wherry-0 2>&-", "re");
    char line[600];
    while (fgets(line, sizeof line, list))
        found |= strstr(line, ".wherry-gc-") && strstr(line, test_word());
    pclose(list);
    return found;
}

static inline pid_t started(void (*hold)(void *), struct test_gate *gate)
{
    test_gate_init(gate);
    pid_t pid = test_fork(hold, gate);
    test_gate_wait(gate);
    return pid;
}

#endif
