/* inspect/posix_mq.c - owns POSIX message queues as a snapshot has them; mq_overview(7).
 *
 * SPDX-License-Identifier: MIT
 *
 * Each IPC namespace has a file system of its queues, which need not be mounted: root has it by a mount that is
 * attached nowhere (fsmount(2)), others where somebody mounted it, and else by the descriptors of those who have
 * queues open.  The attributes are asked by mq_getattr(3), which leaves the access time alone; reading the file
 * would not. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/describe.h"
#include "inspect/ipc.h"
#include "inspect/queues.h"

enum { MAGIC = 0x19800202, CONTEXT_CREATE = 6, CLOSE_ON_EXEC = 1, DEVICES = 32 };

struct queues {
    int64_t began; /* ns of CLOCK_REALTIME */
    struct {
        dev_t device;
        bool is_queues;
    } devices[DEVICES]; /* that were asked */
    unsigned count;
};

/* ---- the directory ---- */

int wherry__queues_open_context(int context)
{
    if (wherry__sys.fsconfig(context, CONTEXT_CREATE, NULL, NULL, 0) != 0)
        return -errno;
    int mount = wherry__sys.fsmount(context, CLOSE_ON_EXEC, 0);
    if (mount < 0)
        return -errno;
    int fd = wherry__sys.openat(mount, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC, 0), code = errno;
    wherry__sys.close(mount);
    return fd < 0 ? -code : fd;
}

int wherry__queues_open(void)
{
    int context = wherry__sys.fsopen("mqueue", CLOSE_ON_EXEC);
    if (context < 0)
        return -errno;
    int fd = wherry__queues_open_context(context);
    wherry__sys.close(context);
    return fd;
}

/* ---- one queue ---- */

static void describe(struct object *object, int directory, const char *name)
{
    struct mq_attr attributes;
    mqd_t queue = wherry__sys.openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    if (queue < 0)
        return;
    if (wherry__sys.mq_getattr(queue, &attributes) == 0) {
        object->public.messages = attributes.mq_curmsgs;
        object->public.limit = attributes.mq_maxmsg;
        object->public.size = attributes.mq_maxmsg * attributes.mq_msgsize;
        object->public.detail = wherry__inspect_text(object->snapshot, "%ld of %ld messages of %ld bytes at most",
                                                     attributes.mq_curmsgs, attributes.mq_maxmsg,
                                                     attributes.mq_msgsize);
    }
    wherry__sys.close(queue);
}

static struct object *make(struct snapshot *snapshot, const struct statx *status, const char *name, uint64_t space,
                           bool *ret_new)
{
    dev_t device = wherry__device(status->stx_dev_major, status->stx_dev_minor);
    struct object *object =
        wherry__inspect_object(snapshot, WHERRY_INSPECT_POSIX_MQ, SPACE_FILE, device, status->stx_ino, ret_new);
    if (!object || !*ret_new)
        return object;
    object->public.flags = WHERRY_INSPECT_TRACKED | (space == snapshot->ipc_space ? 0 : WHERRY_INSPECT_ELSEWHERE);
    object->public.space = space;
    wherry__describe_status(object, status);
    wherry__describe_change(object, status);
    object->public.size = -1; /* the file's is that of a text */
    object->public.name = wherry__inspect_text(snapshot, "posix-mq:/%s", name);
    return object;
}

/* ---- all of a namespace ---- */

static void list_directory(struct snapshot *snapshot, int fd, uint64_t space, const char *path)
{
    _Alignas(8) char entries[8192];
    ssize_t got;
    while (!snapshot->failed && (got = wherry__sys.getdents(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            struct statx status;
            bool is_new;
            at += entry->d_reclen;
            if (wherry__sys.statx(fd, entry->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &status) !=
                    0 ||
                !S_ISREG(status.stx_mode))
                continue;
            struct object *object = make(snapshot, &status, entry->d_name, space, &is_new);
            if (!object || !is_new)
                continue;
            describe(object, fd, entry->d_name);
            if (path)
                object->path = wherry__inspect_text(snapshot, "%s/%s", path, entry->d_name);
        }
}

/* Before the walk, so that whoever holds one of these is seen to. */
static int list(struct snapshot *snapshot)
{
    struct timespec now;
    const char *path = NULL;
    struct queues *queues = snapshot->data[WHERRY_INSPECT_POSIX_MQ] =
        wherry__inspect_memory(snapshot, sizeof *queues);
    if (!queues)
        return -ENOMEM;
    clock_gettime(CLOCK_REALTIME, &now);
    queues->began = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    if (!wherry__inspect_wants(snapshot, WHERRY_INSPECT_POSIX_MQ))
        return 0;
    int opened = wherry__queues_open(), fd = opened;
    if (fd < 0 && (path = wherry__mounts_of_type(snapshot, "mqueue")))
        fd = wherry__sys.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 && wherry__inspect_starved(snapshot, -opened))
        return 0;
    if (fd < 0) {
        wherry__inspect_hide(
            snapshot, "directories of POSIX message queues, of which only those that are open are seen",
            "run it as root, or mount them: mount -t mqueue none /dev/mqueue", 1);
        return 0;
    }
    list_directory(snapshot, fd, snapshot->ipc_space, path);
    wherry__sys.close(fd);
    return snapshot->failed ? -ENOMEM : 0;
}

/* Those of other namespaces, now that these are known. */
static int join(struct snapshot *snapshot)
{
    struct ipc_space *spaces;
    if (!wherry__inspect_wants(snapshot, WHERRY_INSPECT_POSIX_MQ))
        return 0;
    int result = wherry__ipc_spaces(snapshot, &spaces);
    for (struct ipc_space *space = snapshot->ipc_spaces; space; space = space->next) {
        if (space->queues < 0)
            continue;
        int fd = wherry__queues_open_context(space->queues);
        wherry__fd_close(&space->queues);
        if (fd < 0)
            continue;
        list_directory(snapshot, fd, space->space, NULL);
        wherry__sys.close(fd);
    }
    return result;
}

/* ---- by descriptors ---- */

static bool ask_device(struct visit *visit)
{
    struct statfs status = {0};
    int fd = wherry__sys.openat(visit->directory, visit->number, O_PATH | O_CLOEXEC, 0);
    bool is_queues = fd >= 0 && wherry__sys.fstatfs(fd, &status) == 0 && status.f_type == MAGIC;
    if (fd >= 0)
        wherry__sys.close(fd);
    return is_queues;
}

/* The file system is asked once a device; names of queues have one slash. */
static bool is_queue(struct visit *visit)
{
    struct queues *queues = visit->snapshot->data[WHERRY_INSPECT_POSIX_MQ];
    dev_t device = wherry__device(visit->status.stx_dev_major, visit->status.stx_dev_minor);
    if (visit->status.stx_dev_major != 0 || !(visit->status.stx_mask & STATX_MODE) ||
        !S_ISREG(visit->status.stx_mode) || strchr(visit->link + 1, '/'))
        return false;
    for (unsigned i = 0; i < queues->count; i++)
        if (queues->devices[i].device == device)
            return queues->devices[i].is_queues;
    bool is_queues = ask_device(visit);
    if (queues->count < DEVICES) {
        queues->devices[queues->count].device = device;
        queues->devices[queues->count++].is_queues = is_queues;
    }
    return is_queues;
}

static void descriptor(struct visit *visit)
{
    bool is_new;
    wherry__cut_deleted(visit->link);
    struct object *object =
        make(visit->snapshot, &visit->status, visit->link + 1, visit->process->public.ipc_space, &is_new);
    if (!object)
        return;
    if (is_new)
        describe(object, visit->directory, visit->number);
    wherry__visit_hold(visit, object);
}

/* Those of other namespaces are listed after the walk: one that was made meanwhile may be held by a process that had
 * been looked at before. */
static void suspect(struct object *object)
{
    const struct queues *queues = object->snapshot->data[WHERRY_INSPECT_POSIX_MQ];
    if (object->public.state != WHERRY_INSPECT_ORPHAN || object->public.since < queues->began)
        return;
    object->public.state = WHERRY_INSPECT_UNKNOWN;
    object->public.reason = "it was made or used while the snapshot was taken";
}

/* It need not have a path in this mount name space. */
static void prove(struct object *object)
{
    int fd = wherry__queues_open();
    if (fd < 0)
        return;
    wherry__inspect_settle(object, wherry__prove_file(fd, strchr(object->public.name, '/') + 1, object->public.device,
                                                      object->public.inode));
    wherry__sys.close(fd);
}

static void state(struct object *object)
{
    if (object->public.flags & WHERRY_INSPECT_ELSEWHERE)
        suspect(object);
    else if (object->snapshot->options.flags & WHERRY_INSPECT_PROVE && !object->path && object->public.holds == 0)
        prove(object);
}

const struct collector wherry__collector_posix_mq = {
    .name = "posix-mq",
    .summary = "a POSIX message queue, mq_open(3)",
    .list = list,
    .descriptor = descriptor,
    .file = is_queue,
    .join = join,
    .state = state,
};
