/* tests/crash/test_lock_kill.c - owns the proof that who takes, holds, releases or waits for a lock, or makes the
 * file of a lock or a map, may be killed at any instruction.
 *
 * SPDX-License-Identifier: MIT
 *
 * For each instruction of each call, and what libc does as one: a process is killed there.  Then the lock can be had at
 * once, whoever waited for it gets it, a file that was being made is whole or not there, and nothing else is left; the
 * note of a waiter is removed by the next who reads the notes.  WHERRY_KILL_POINTS says at how many points of those
 * calls that wait; "all" at every one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "crash/ring_points.h"
#include "harness.h"

enum { FILE_SIZE = 8192, FILE_MODE = 0640, ROUNDS = 2, MOST = 400000 };

static const char *const kind_names[] = {"ofd", "posix", "flock"};

/* What is done, in the victim; which call of it is gone through. */
enum call { TAKE, RELEASE, CLOSE, CONVERT, WAIT, OPEN, MAP, CALLS };
static const char *const call_names[CALLS] = {"take", "release", "close", "convert", "wait", "open", "map"};

struct scene {
    enum call call;
    enum wherry_lock_kind kind;
    enum wherry_lock_mode mode;
    bool fair;
    struct step step;
    struct ring_points points;
    size_t kills;
};

static const char *file_path(void)
{
    static char path[200];
    return test_path(path, "file");
}

static struct wherry_lock *open_lock(const struct scene *scene)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock = NULL;
    options.kind = scene->kind;
    options.fair = scene->fair;
    options.mode = FILE_MODE;
    options.create = true;
    if (wherry_lock_open(file_path(), &options, &lock) < 0)
        abort();
    return lock;
}

/* ---- the victim ---- */

static void be_killed(void *argument)
{
    const struct scene *scene = argument;
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map = NULL;
    struct wherry_lock *lock = scene->call == MAP ? NULL : open_lock(scene);
    enum wherry_lock_mode other = scene->mode == WHERRY_LOCK_SHARED ? WHERRY_LOCK_EXCLUSIVE : WHERRY_LOCK_SHARED;
    switch (scene->call) {
    case TAKE:
        if (wherry_lock_take(lock, scene->mode, 0, 0, WHERRY_NOW) < 0)
            _exit(1);
        break;
    case CONVERT: /* the second take */
        if (wherry_lock_take(lock, other, 0, 0, WHERRY_NOW) < 0 ||
            wherry_lock_take(lock, scene->mode, 0, 0, WHERRY_NOW) < 0)
            _exit(1);
        break;
    case RELEASE:
        if (wherry_lock_take(lock, scene->mode, 0, 0, WHERRY_NOW) < 0 || wherry_lock_release(lock, 0, 0) < 0)
            _exit(1);
        break;
    case CLOSE:
        if (wherry_lock_take(lock, scene->mode, 0, 0, WHERRY_NOW) < 0)
            _exit(1);
        wherry_lock_close(lock);
        break;
    case WAIT: /* long enough for a note, and a look at who waits for whom */
        if (wherry_lock_take(lock, scene->mode, 0, 0, wherry_after(120 * WHERRY_MILLISECOND)) != -ETIMEDOUT)
            _exit(1);
        break;
    case MAP:
        options.write = options.create = true;
        options.mode = FILE_MODE;
        options.file_size = FILE_SIZE;
        if (wherry_map_open(file_path(), &options, &map) < 0)
            _exit(1);
        break;
    default:
        break;
    }
}

static int enter(struct scene *scene)
{
    uintptr_t address = scene->call == RELEASE ? step_address(wherry_lock_release)
                        : scene->call == CLOSE ? step_address(wherry_lock_close)
                        : scene->call == OPEN  ? step_address(wherry_lock_open)
                        : scene->call == MAP   ? step_address(wherry_map_open)
                                               : step_address(wherry_lock_take);
    int result = step_fork(&scene->step, be_killed, scene);
    return result < 0 ? result : step_enter(&scene->step, address, scene->call == CONVERT ? 2 : 1);
}

/* ---- those beside ---- */

struct waiter {
    const struct scene *scene;
    struct test_gate open;
    int result;
};

static void wait_beside(void *argument)
{
    struct waiter *waiter = argument;
    struct wherry_lock *lock = open_lock(waiter->scene);
    test_gate_open(&waiter->open);
    waiter->result = wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, test_deadline());
    wherry_lock_close(lock);
}

/* ---- what is left ---- */

/* Of the dead, about our file: others are other programs'. */
static size_t count_notes(void)
{
    char path[64];
    size_t count = 0;
    struct stat status;
    ck_assert_int_eq(stat(file_path(), &status), 0);
    snprintf(path, sizeof path, "/dev/shm/wherry-%u", (unsigned)geteuid());
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        unsigned pid = 0;
        unsigned long long inode = 0; /* src/storage/waits.c, NAME */
        if (sscanf(entry->d_name, ".wait-%*x-%x-%*x-%*x-%*x-%*x-%llx", &pid, &inode) == 2)
            count += kill((pid_t)pid, 0) != 0 && inode == status.st_ino;
    }
    if (directory)
        closedir(directory);
    return count;
}

#define must(condition_, ...)                                                                                          \
    do {                                                                                                               \
        if (!(condition_)) {                                                                                           \
            char what_[400];                                                                                           \
            snprintf(what_, sizeof what_, __VA_ARGS__);                                                                \
            ck_abort_msg("%s %s %s, killed at %s: %s", call_names[scene->call], kind_names[scene->kind],               \
                         scene->mode == WHERRY_LOCK_SHARED ? "shared" : "exclusive", ring_point_name(point), what_);   \
        }                                                                                                              \
    } while (0)

static void check_lock(const struct scene *scene, const struct ring_point *point)
{
    struct wherry_lock *lock = open_lock(scene);
    int result = wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW);
    must(result == 0, "the lock is not free: %s", wherry_why());
    wherry_lock_close(lock);
}

static void check_file(const struct scene *scene, const struct ring_point *point)
{
    struct stat status;
    DIR *directory = opendir(test_dir());
    for (struct dirent *entry; (entry = readdir(directory));)
        must(entry->d_name[0] == '.' || strcmp(entry->d_name, "file") == 0, "%s is left", entry->d_name);
    closedir(directory);
    if (stat(file_path(), &status) == 0) {
        must((status.st_mode & 07777) == FILE_MODE, "it has mode 0%o", (unsigned)status.st_mode & 07777);
        must(status.st_size == (scene->call == MAP ? FILE_SIZE : 0), "it has %lld bytes", (long long)status.st_size);
    }
    if (scene->call == OPEN)
        check_lock(scene, point);
    unlink(file_path());
}

/* ---- kills ---- */

static void kill_at(struct scene *scene, const struct ring_point *point)
{
    struct waiter *waiter = test_shared(sizeof *waiter);
    struct wherry_lock *own = NULL;
    pid_t beside = 0;
    bool waited_for = scene->call == RELEASE || scene->call == CLOSE || scene->call == CONVERT;
    if (scene->call == WAIT) {
        own = open_lock(scene);
        test_ok(wherry_lock_take(own, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW));
    }
    int result = enter(scene);
    must(result == STEP_THERE, "the victim did not come to the call: %d", result);
    if (waited_for) {
        *waiter = (struct waiter){.scene = scene};
        test_gate_init(&waiter->open);
        beside = test_fork(wait_beside, waiter);
        test_gate_wait(&waiter->open);
    }
    result = ring_points_go(&scene->step, point);
    must(result == STEP_THERE || result == STEP_RETURNED, "the victim did not come to the point: %d", result);
    step_kill(&scene->step, SIGKILL);
    step_end(&scene->step);
    scene->kills++;
    if (waited_for) {
        test_join(beside);
        must(waiter->result == 0, "who waited got %d", waiter->result);
        test_gate_fini(&waiter->open);
    }
    wherry_lock_close(own);
    if (scene->call == OPEN || scene->call == MAP)
        check_file(scene, point);
    else
        check_lock(scene, point);
    if (scene->call == WAIT) {
        test_ok(wherry_lock_holders(file_path(), NULL, 0, 0, NULL));
        must(count_notes() == 0, "its note is left");
    }
}

/* How many points of a call, 0: all.  The sanitizers' own instructions are not of interest: a look whether they have
 * something to say. */
static size_t wanted_points(const struct scene *scene)
{
    const char *wanted = getenv("WHERRY_KILL_POINTS");
    if (TEST_SANITIZED)
        return 6;
    if (scene->call != WAIT || (wanted && strcmp(wanted, "all") == 0))
        return 0;
    size_t points = wanted ? strtoul(wanted, NULL, 10) : 0;
    return points ? points : 60;
}

static void sweep(struct scene *scene)
{
    const struct ring_point *point = &(struct ring_point){.pc = 0};
    struct wherry_lock *own = NULL;
    if (scene->call == WAIT) {
        own = open_lock(scene);
        test_ok(wherry_lock_take(own, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW));
    }
    int result = enter(scene);
    must(result == STEP_THERE, "the victim did not come to the call: %d", result);
    result = ring_points_find(&scene->points, &scene->step, ROUNDS, MOST);
    must(result == STEP_RETURNED || result == 0, "the call could not be stepped through: %d", result);
    must(scene->points.count > 20 && (TEST_SANITIZED || !scene->points.cut), "%zu points", scene->points.count);
    step_kill(&scene->step, SIGKILL);
    step_end(&scene->step);
    wherry_lock_close(own);
    if (scene->call == OPEN || scene->call == MAP)
        unlink(file_path());
    size_t wanted = wanted_points(scene), stride = wanted ? scene->points.count / wanted + 1 : 1;
    for (size_t i = 0; i < scene->points.count; i += stride)
        kill_at(scene, &scene->points.points[i]);
    printf("# %s %s %s%s: %zu instructions, %zu points, killed at %zu\n", call_names[scene->call],
           kind_names[scene->kind], scene->mode == WHERRY_LOCK_SHARED ? "shared" : "exclusive",
           scene->fair ? " fair" : "", (size_t)scene->points.instructions, scene->points.count, scene->kills);
    fflush(stdout);
    ring_points_fini(&scene->points);
    unlink(file_path());
}

static void sweep_kinds(enum call call, bool fair)
{
    for (int kind = 0; kind <= (fair ? WHERRY_LOCK_POSIX : WHERRY_LOCK_FLOCK); kind++)
        for (int mode = WHERRY_LOCK_SHARED; mode <= WHERRY_LOCK_EXCLUSIVE; mode++) {
            struct scene scene = {
                .call = call, .kind = (enum wherry_lock_kind)kind, .mode = (enum wherry_lock_mode)mode, .fair = fair};
            sweep(&scene);
        }
}

TEST_WITH(who_takes_a_lock, .seconds = 300)
{
    sweep_kinds(TAKE, false);
    sweep_kinds(TAKE, true);
}

TEST_WITH(who_converts_a_lock, .seconds = 300)
{
    sweep_kinds(CONVERT, false);
}

TEST_WITH(who_releases_a_lock, .seconds = 300)
{
    sweep_kinds(RELEASE, false);
    sweep_kinds(RELEASE, true);
}

TEST_WITH(who_closes_a_lock, .seconds = 300)
{
    sweep_kinds(CLOSE, false);
}

TEST_WITH(who_waits_for_a_lock, .seconds = 3000)
{
    sweep_kinds(WAIT, false);
    sweep_kinds(WAIT, true);
}

TEST_WITH(who_makes_the_file_of_a_lock, .seconds = 300)
{
    struct scene scene = {.call = OPEN, .mode = WHERRY_LOCK_EXCLUSIVE};
    sweep(&scene);
}

TEST_WITH(h13_who_makes_a_mapped_file, .seconds = 300)
{
    struct scene scene = {.call = MAP, .mode = WHERRY_LOCK_EXCLUSIVE};
    sweep(&scene);
}
