/* tests/crash/test_gc.c - owns the proof that `wherry gc --apply` removes nothing that is in use, and all that the
 * dead leave.
 *
 * SPDX-License-Identifier: MIT
 *
 * Everything happens in an IPC namespace of its own, and with a /dev/shm, a /run and a /tmp of its own, so that gc can
 * never reach what others have.  WHERRY_GC_ROUNDS says how many situations and kills; WHERRY_GC_SEED which. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/inspect.h>
#include <wherry/wherry.h>

#include "gc_stage.h"
#include "gc_things.h"
#include "harness.h"

static const struct run runs[] = {
    {false, false, false, NULL}, {false, false, true, NULL},  {false, false, true, "0s"}, {true, false, true, NULL},
    {true, false, true, "0s"},   {false, true, true, NULL},   {true, false, false, NULL}, {false, false, true, "0s"},
};
enum { RUNS = sizeof runs / sizeof *runs, MOST = 8 };

struct tally {
    unsigned situations, in_use, removed, left, by_use[USES];
};

static void situation(unsigned number, struct tally *tally)
{
    struct thing things[MOST];
    unsigned count = 3 + gc_below(MOST - 2);
    const struct run *run = &runs[gc_below(RUNS)];
    board->ready = board->stop = 0;
    for (unsigned i = 0; i < count; i++) {
        struct thing *thing = &things[i];
        *thing = (struct thing){.kind = gc_below(KINDS), .nobody = gc_below(3) == 0, .number = i};
        do
            thing->use = gc_below(USES);
        while (!gc_can(thing->kind, thing->use));
        thing->pid = fork();
        if (thing->pid == 0)
            gc_use(thing);
    }
    gc_wait_ready((int)count);
    for (unsigned i = 0; i < count; i++) {
        if (things[i].use == KILLED) {
            kill(things[i].pid, SIGKILL);
            waitpid(things[i].pid, NULL, 0);
        }
        things[i].inode = gc_identity(&things[i]);
        ck_assert_msg(things[i].inode, "situation %u: %s was not made", number, kind_names[things[i].kind]);
    }
    if (gc_below(2))
        test_sleep(60 * WHERRY_MILLISECOND); /* stale sockets are told from new ones by their age */
    pid_t gc = gc_begin(run);
    int code = gc_finish(gc);
    gc_reap();
    (void)code;
    tally->situations++;
    for (unsigned i = 0; i < count; i++) {
        const struct thing *thing = &things[i];
        bool there = gc_identity(thing) == thing->inode;
        tally->by_use[thing->use]++;
        if (gc_in_use(thing) && !there)
            gc_say_output();
        ck_assert_msg(there || !gc_in_use(thing),
                      "situation %u: a %s that is %s%s was removed by gc%s%s%s%s%s", number, kind_names[thing->kind],
                      use_names[thing->use], thing->nobody ? ", of uid 65534," : "", run->nobody ? " as uid 65534" : "",
                      run->inside ? " in a PID namespace" : "", run->unheld ? " --unheld" : "",
                      run->older ? " --older " : "", run->older ? run->older : "");
        tally->in_use += gc_in_use(thing);
        tally->removed += !there;
        tally->left += there && !gc_in_use(thing);
    }
    gc_kill_descendants();
    for (unsigned i = 0; i < count; i++)
        gc_remove(&things[i]);
}

static void situations(void *unused)
{
    struct tally tally = {0};
    unsigned count = gc_rounds() ? gc_rounds() : 50;
    (void)unused;
    gc_place();
    for (unsigned i = 0; i < count; i++) {
        gc_seed(i);
        situation(i, &tally);
    }
    fprintf(stderr, "# %u situations: %u objects in use, none removed; of those left behind %u removed, %u not\n",
            tally.situations, tally.in_use, tally.removed, tally.left);
    for (unsigned use = 0; use < USES; use++)
        ck_assert_msg(tally.by_use[use] > 0, "nothing was ever %s", use_names[use]);
    ck_assert_uint_gt(tally.removed, tally.situations / 5); /* it does remove something */
}

TEST_WITH(nothing_in_use_is_ever_removed, .seconds = 900)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for namespaces in which gc can do no harm");
    board = test_shared(sizeof *board);
    pid_t child = test_fork(situations, NULL);
    test_join_by(child, wherry_after(850 * WHERRY_SECOND));
}

/* ---- what killed processes leave ---- */

static char listing[4 << 20];

static void list_directory(const char *path)
{
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char below_it[400];
        const char *name = names[i]->d_name;
        snprintf(below_it, sizeof below_it, "%s/%.200s", path, name);
        struct stat status;
        bool directory = lstat(below_it, &status) == 0 && S_ISDIR(status.st_mode);
        size_t length = strlen(name);
        if (strncmp(path, "/dev/shm", 8) != 0 && length > 5 && strcmp(name + length - 5, ".lock") == 0) {
            free(names[i]); /* which may be another program's, and stays */
            continue;
        }
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !directory &&
            strcmp(name, ".makers") != 0) { /* which is never removed (base/maker.h) */
            size_t used = strlen(listing);
            snprintf(listing + used, sizeof listing - used, "%s\n", below_it);
        }
        if (directory && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            list_directory(below_it);
        free(names[i]);
    }
    if (count >= 0)
        free(names);
}

static void list_file(const char *path)
{
    char line[300];
    FILE *file = fopen(path, "re");
    for (int i = 0; file && fgets(line, sizeof line, file); i++) {
        size_t used = strlen(listing);
        if (i > 0)
            snprintf(listing + used, sizeof listing - used, "%s", line);
    }
    if (file)
        fclose(file);
}

/* All that is in this place. */
static const char *list_all(void)
{
    listing[0] = 0;
    list_directory("/dev/shm");
    list_directory("/run");
    list_directory("/tmp");
    list_directory("/mnt/mqueue");
    list_file("/proc/sysvipc/shm");
    list_file("/proc/sysvipc/sem");
    list_file("/proc/sysvipc/msg");
    return listing;
}

/* Of every kind, by plain calls and by wherry's. */
static void hold_everything(unsigned number)
{
    static const char *const urls[][2] = {{"shm://ring-", ""},
                                          {"shm://kept-", "?keep=1"},
                                          {"shm://shared-", "?share=65534"},
                                          {"unix:///tmp/stream-", ""},
                                          {"unix+seqpacket:///tmp/seqpacket-", ""},
                                          {"unix+dgram:///run/dgram-", ""},
                                          {"mq:///queue-", "?capacity=64&max_message=16"}};
    char text[100];
    for (unsigned kind = 0; kind < KINDS; kind++)
        gc_make(&(struct thing){.kind = kind, .number = number});
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct wherry_channel *channel;
        snprintf(text, sizeof text, "%s%u%s", urls[i][0], number, urls[i][1]);
        if (wherry_channel_open(text, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0) {
            fprintf(stderr, "# %s: %s\n", text, wherry_why());
            _exit(70);
        }
        wherry_channel_receive_fd(channel);
        wherry_channel_receive(channel, text, sizeof text, NULL, WHERRY_NOW);
    }
    board->ready++;
    for (;;)
        pause();
}

static void kills(void *unused)
{
    unsigned count = gc_rounds() ? gc_rounds() : 100, done = 0;
    (void)unused;
    gc_place();
    ck_assert_int_eq(mkdir("/mnt/mqueue", 0755), 0);
    ck_assert_int_eq(mount("none", "/mnt/mqueue", "mqueue", 0, NULL), 0);
    char *before = strdup(list_all());
    unsigned left = 0;
    while (done < count) {
        for (unsigned i = 0; i < 100 && done < count; i++, done++) { /* there may be 256 queues */
            board->ready = 0;
            pid_t pid = fork();
            if (pid == 0)
                hold_everything(done);
            gc_wait_ready(1);
            kill(pid, SIGKILL);
            ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        }
        for (const char *at = list_all(); (at = strchr(at, '\n')); at++)
            left++;
        test_sleep(60 * WHERRY_MILLISECOND); /* stale sockets are told from new ones by their age */
        int code = gc_finish(gc_begin(&(struct run){.unheld = true, .older = "0s"}));
        if (strcmp(list_all(), before) != 0)
            gc_say_output();
        ck_assert_msg(strcmp(listing, before) == 0, "after %u kills and gc (%d) there is\n%.2000s\nand was\n%s", done,
                      code, listing, before);
    }
    free(before);
    fprintf(stderr, "# %u kills left %u files and objects; none after gc\n", done, left);
    ck_assert_uint_gt(left, count * 10);
}

TEST_WITH(what_killed_processes_leave_goes, .seconds = 900)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for namespaces in which gc can do no harm");
    board = test_shared(sizeof *board);
    pid_t child = test_fork(kills, NULL);
    test_join_by(child, wherry_after(850 * WHERRY_SECOND));
}

/* ---- those who come in the very moment ---- */

enum { COMERS = 3 };
#define MOMENT "/dev/shm/moment"

struct moment {
    _Atomic unsigned long held, wrong;
    _Atomic int stop;
};
static struct moment *moment;

/* Opens or makes it, and while it is held the name leads to it. */
static void come_and_go(void *unused)
{
    struct stat own, named;
    (void)unused;
    gc_seed((unsigned)getpid());
    while (!moment->stop) {
        int fd = open(MOMENT, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &own), 0);
        for (int i = 0; i < 3; i++) {
            if (lstat(MOMENT, &named) != 0 || named.st_ino != own.st_ino) {
                moment->wrong++;
                break;
            }
            sched_yield();
        }
        moment->held++;
        close(fd);
        if (gc_below(2) == 0) /* so that it is nobody's now and then */
            test_sleep(gc_below(40) * WHERRY_MILLISECOND);
    }
}

/* What the command does, without its start. */
static int remove_once(void)
{
    struct wherry_inspect_options options = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    options.kinds = UINT64_C(1) << WHERRY_INSPECT_POSIX_SHM;
    options.flags = WHERRY_INSPECT_PROVE;
    test_ok(wherry_inspect_take(&options, &snapshot));
    const struct wherry_inspect_object *object = wherry_inspect_find(snapshot, "posix-shm:/moment", 0);
    int result = object ? wherry_inspect_remove(snapshot, object, 0) : -ENOENT;
    wherry_inspect_free(snapshot);
    return result;
}

static void moments(void *unused)
{
    unsigned count = gc_rounds() ? gc_rounds() : 300, removed = 0, kept = 0, stuck = 0;
    pid_t comers[COMERS];
    (void)unused;
    gc_place();
    for (size_t i = 0; i < COMERS; i++)
        comers[i] = test_fork(come_and_go, NULL);
    for (unsigned i = 0; i < count || (removed == 0 && i < 20 * count); i++) { /* busy: they hold it longer */
        test_sleep(gc_below(10) * WHERRY_MILLISECOND);
        int result = remove_once();
        ck_assert_msg(result == 0 || result == -EBUSY || result == -ESTALE || result == -ENOENT || result == -EEXIST,
                      "%d: %s", result, wherry_why());
        removed += result == 0;
        if (result == -EEXIST) {
            stuck++;
            char aside[60];
            snprintf(aside, sizeof aside, "/dev/shm/.wherry-gc-%d-moment", (int)getpid());
            unlink(aside);
        }
        kept += result == -EBUSY;
    }
    moment->stop = 1;
    for (size_t i = 0; i < COMERS; i++)
        test_join(comers[i]);
    fprintf(stderr, "# %u rounds: removed %u times, kept %u times, could not come back %u times; held %lu times, "
                    "%lu times without its name\n",
            count, removed, kept, stuck, moment->held, moment->wrong);
    ck_assert_uint_gt(removed, 0);
    ck_assert_uint_eq(moment->wrong, 0);
    ck_assert_uint_eq(stuck, 0);
}

TEST_WITH(who_comes_while_it_is_removed_holds_what_has_the_name, .seconds = 900)
{
    if (!test_is_root())
        test_skip("needs CAP_SYS_ADMIN, for a /dev/shm of its own");
    moment = test_shared(sizeof *moment);
    pid_t child = test_fork(moments, NULL);
    test_join_by(child, wherry_after(850 * WHERRY_SECOND));
}
