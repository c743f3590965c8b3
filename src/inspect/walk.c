/* inspect/walk.c - owns the walk through /proc: each process once, its descriptors and its mappings; proc(5).
 *
 * SPDX-License-Identifier: MIT
 *
 * What vanishes meanwhile is left out without a word.  Threads may have descriptors of their own (unshare(2),
 * CLONE_FILES), and a process lives on when its first thread has ended: kcmp(2) tells which tables are the same. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/sys.h"
#include "base/why.h"
#include "inspect/describe.h"
#include "inspect/hidepid.h"
#include "inspect/lock.h"
#include "inspect/snapshot.h"

enum { EXITING = 4, KERNEL_THREAD = 0x00200000 }; /* PF_EXITING, PF_KTHREAD in the flags of proc_pid_stat(5) */

/* ---- directories of numbers ---- */

struct numbers {
    struct snapshot *snapshot;
    int fd;
    size_t used, at;
    bool whole; /* until the kernel says that it is at the end: processes come and go meanwhile */
    bool ended; /* the kernel had room for more, and gave none */
    _Alignas(8) char entries[16384];
};

/* The next name that begins with a digit, until the next call; NULL at the end or when the process is gone. */
static const char *next_number(struct numbers *numbers)
{
    for (;;) {
        if (numbers->at == numbers->used) {
            if (numbers->ended)
                return NULL;
            ssize_t got = wherry__sys.getdents(numbers->fd, numbers->entries, sizeof numbers->entries);
            if (got < 0)
                wherry__inspect_missed(numbers->snapshot, errno);
            if (got <= 0)
                return NULL;
            numbers->used = (size_t)got;
            numbers->at = 0;
            numbers->ended = !numbers->whole && numbers->used < sizeof numbers->entries - sizeof(struct dirent64);
        }
        const struct dirent64 *entry = (const void *)(numbers->entries + numbers->at);
        numbers->at += entry->d_reclen;
        if (isdigit((unsigned char)entry->d_name[0]))
            return entry->d_name;
    }
}

/* ---- descriptors ---- */

static void keep_candidate(struct visit *visit, dev_t device)
{
    struct candidate *candidate = wherry__inspect_memory(visit->snapshot, sizeof *candidate);
    if (!candidate)
        return;
    *candidate = (struct candidate){visit->snapshot->candidates, visit->process, visit->thread, visit->fd, device,
                                    visit->status.stx_ino, !(visit->status.stx_mask & STATX_MODE)};
    visit->snapshot->candidates = candidate;
}

/* options.file on a remote file system is known once somebody is seen to have it. */
static bool is_asked_for(const struct visit *visit)
{
    const struct snapshot *snapshot = visit->snapshot;
    return snapshot->file_path && !snapshot->file_inode && visit->process->mount_space == snapshot->mount_space &&
           strcmp(visit->link, snapshot->file_path) == 0;
}

static void note_asked_for(struct visit *visit, dev_t device)
{
    visit->snapshot->file_device = device;
    visit->snapshot->file_inode = visit->status.stx_ino;
    wherry__describe_file(visit, WHERRY_INSPECT_FILE, "");
}

/* A relative options.file gets its whole name. */
static void name_asked_for(struct visit *visit, struct object *object)
{
    const struct snapshot *snapshot = visit->snapshot;
    if (!snapshot->file_inode || object->a != snapshot->file_device || object->b != snapshot->file_inode ||
        snapshot->options.file[0] == '/' || visit->process->mount_space != snapshot->mount_space)
        return;
    if (wherry__cut_deleted(visit->link) &&
        !wherry__find_linked_name(visit->snapshot, visit->process, visit->link, sizeof visit->link, (dev_t)object->a,
                                  object->b))
        return; /* it was made without a name: the one that it was asked for by is better */
    const char *prefix = object->public.kind == WHERRY_INSPECT_FIFO ? "fifo:" : "";
    object->public.name = wherry__inspect_text(visit->snapshot, "%s%s", prefix, visit->link);
}

/* Half of all descriptors lead to /dev/null and terminals: what was one once is not asked again. */
static bool is_terminal(const struct visit *visit)
{
    if (!wherry__begins(visit->link, "/dev/"))
        return false;
    for (unsigned i = 0; i < visit->snapshot->terminals; i++)
        if (strcmp(visit->snapshot->terminal[i], visit->link) == 0)
            return true;
    return false;
}

static void note_terminal(const struct visit *visit)
{
    struct snapshot *snapshot = visit->snapshot;
    size_t most = sizeof snapshot->terminal / sizeof *snapshot->terminal, length = strlen(visit->link);
    if (snapshot->terminals < most && length < sizeof *snapshot->terminal && wherry__begins(visit->link, "/dev/"))
        memcpy(snapshot->terminal[snapshot->terminals++], visit->link, length + 1);
}

static void visit_file(struct visit *visit)
{
    if (is_terminal(visit) || !wherry__visit_status(visit))
        return;
    dev_t device = wherry__device(visit->status.stx_dev_major, visit->status.stx_dev_minor);
    if (is_asked_for(visit))
        note_asked_for(visit, device);
    struct object *known = wherry__inspect_known(visit->snapshot, SPACE_FILE, device, visit->status.stx_ino);
    if (known) {
        name_asked_for(visit, known);
        if (known->public.kind == WHERRY_INSPECT_FILE && known->public.uid == (uid_t)-1)
            wherry__describe_status(known, &visit->status); /* of a mapping it is not always known */
        wherry__visit_hold(visit, known);
        return;
    }
    for (int kind = 0; kind < WHERRY_INSPECT_KINDS; kind++) {
        const struct collector *collector = wherry__collectors[kind];
        if (collector->file && collector->file(visit)) {
            collector->descriptor(visit);
            return;
        }
    }
    if (wherry__inspect_visit_locked(visit, device))
        return;
    if (S_ISCHR(visit->status.stx_mode))
        note_terminal(visit);
    else
        keep_candidate(visit, device);
}

static void visit_descriptor(struct visit *visit)
{
    ssize_t length = wherry__sys.readlinkat(visit->directory, visit->number, visit->link, sizeof visit->link - 1);
    bool too_long = length < 0 && errno == ENAMETOOLONG; /* a path of more than a page; it is a file */
    if (length < 0 && !too_long) {
        if (errno == EACCES || errno == EPERM)
            visit->refused = true;
        else
            wherry__inspect_missed(visit->snapshot, errno);
        return;
    }
    visit->link[too_long ? 0 : length] = 0;
    visit->has_status = visit->has_access = visit->has_info = false;
    for (int kind = 0; kind < WHERRY_INSPECT_KINDS; kind++) {
        const struct collector *collector = wherry__collectors[kind];
        if (collector->link && wherry__begins(visit->link, collector->link)) {
            collector->descriptor(visit);
            return;
        }
    }
    if (visit->link[0] == '/' || too_long)
        visit_file(visit);
}

struct wherry_inspect_hold *wherry__visit_hold(struct visit *visit, struct object *object)
{
    struct wherry_inspect_hold *hold = wherry__inspect_hold(object, visit->process, WHERRY_INSPECT_OPEN);
    if (!hold)
        return NULL;
    /* what is no file is always open for both, and need not be asked */
    bool both = wherry__begins(visit->link, "socket:") || wherry__begins(visit->link, "anon_inode:");
    unsigned access = both ? 6 : wherry__visit_access(visit);
    hold->fd = visit->fd;
    hold->thread = visit->thread;
    hold->reads = access & 4;
    hold->writes = access & 2;
    wherry__inspect_visit_locks(visit, object);
    return hold;
}

/* `path` leads to a directory of descriptors.  False: it may not be looked at. */
static bool walk_descriptors(struct visit *visit, int process_directory, const char *path, pid_t thread)
{
    struct numbers numbers = {.snapshot = visit->snapshot};
    numbers.fd = wherry__sys.openat(process_directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (numbers.fd < 0)
        return errno == ENOENT || errno == ESRCH;
    visit->directory = numbers.fd;
    visit->thread = thread;
    visit->refused = false;
    visit->remote = wherry__mounts_remote(visit->snapshot, visit->process->mount_space, process_directory);
    for (const char *number; (number = next_number(&numbers)) && !visit->snapshot->failed;) {
        snprintf(visit->number, sizeof visit->number, "%.11s", number);
        visit->fd = (int)strtol(number, NULL, 10);
        visit_descriptor(visit);
    }
    wherry__sys.close(numbers.fd);
    return !visit->refused;
}

/* ---- directories that a process has without a descriptor ---- */

/* One on a remote file system is not asked. */
static bool leads_to_file(struct visit *visit, int process_directory, const char *name)
{
    struct snapshot *snapshot = visit->snapshot;
    struct statx status;
    char link[PATH_MAX];
    if (visit->remote) {
        ssize_t length = wherry__sys.readlinkat(process_directory, name, link, sizeof link - 1);
        link[length > 0 ? length : 0] = 0;
        if (visit->process->mount_space != snapshot->mount_space || wherry__mounts_path_remote(snapshot, link))
            return false;
    }
    return wherry__sys.statx(process_directory, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &status) == 0 &&
           status.stx_ino == snapshot->file_inode &&
           wherry__device(status.stx_dev_major, status.stx_dev_minor) == snapshot->file_device;
}

/* They keep a file system from being unmounted, as descriptors do. */
static void walk_directories(struct visit *visit, int process_directory)
{
    static const char *const names[][2] = {{"cwd", "current directory"}, {"root", "root directory"}};
    struct snapshot *snapshot = visit->snapshot;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct object *object =
            snapshot->file_inode && leads_to_file(visit, process_directory, names[i][0])
                ? wherry__inspect_known(snapshot, SPACE_FILE, snapshot->file_device, snapshot->file_inode)
                : NULL;
        struct wherry_inspect_hold *hold =
            object ? wherry__inspect_hold(object, visit->process, WHERRY_INSPECT_OPEN) : NULL;
        if (!hold)
            continue;
        hold->fd = -1;
        hold->detail = names[i][1];
        ssize_t length =
            wherry__sys.readlinkat(process_directory, names[i][0], visit->link, sizeof visit->link - 1);
        visit->link[length > 0 ? length : 0] = 0;
        if (length > 0)
            name_asked_for(visit, object);
    }
}

/* ---- threads ---- */

/* Threads whose tables have been walked. */
struct tables {
    pid_t list[64];
    size_t count;
};

/* Whether a thread has a table that none of those before it has.  Where kcmp(2) is not allowed, threads share one as
 * they nearly always do. */
static bool has_own_table(const struct tables *tables, pid_t thread)
{
    for (size_t i = 0; i < tables->count; i++)
        if (wherry__sys.kcmp(tables->list[i], thread, KCMP_FILES, 0, 0) <= 0)
            return false;
    return true;
}

static void note_table(struct tables *tables, pid_t thread)
{
    if (tables->count < sizeof tables->list / sizeof *tables->list)
        tables->list[tables->count++] = thread;
}

/* The links of a first thread that has ended lead nowhere: another thread has them. */
static void find_spaces(struct process *process, int directory)
{
    process->public.pid_space = wherry__proc_space(directory, "pid");
    process->public.net_space = wherry__proc_space(directory, "net");
    process->public.ipc_space = wherry__proc_space(directory, "ipc");
    process->mount_space = wherry__proc_space(directory, "mnt");
}

/* All threads but the first, unless that has ended: then the next one stands for the process. */
static void walk_threads(struct visit *visit, int process_directory, bool leader_ended)
{
    struct process *process = visit->process;
    pid_t pid = process->public.pid;
    struct tables tables = {{pid}, leader_ended ? 0 : 1};
    bool waiters = visit->snapshot->options.flags & WHERRY_INSPECT_WAITERS;
    struct numbers tasks = {.snapshot = visit->snapshot};
    tasks.fd = wherry__sys.openat(process_directory, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (tasks.fd < 0) {
        wherry__inspect_missed(visit->snapshot, errno);
        return;
    }
    for (const char *number; (number = next_number(&tasks));) {
        pid_t thread = (pid_t)strtol(number, NULL, 10);
        char path[32];
        snprintf(path, sizeof path, "task/%.11s/fd", number);
        int task = wherry__sys.openat(tasks.fd, number, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (task < 0) {
            wherry__inspect_missed(visit->snapshot, errno);
            continue;
        }
        if (waiters)
            wherry__inspect_wait_of(visit->snapshot, process, thread, task);
        if (thread == pid) {
        } else if (!tables.count) {
            note_table(&tables, thread);
            process->table = thread;
            find_spaces(process, task);
            process->public.hidden = !walk_descriptors(visit, process_directory, path, 0) ||
                                     !wherry__inspect_maps(visit->snapshot, process, task);
        } else if (!process->public.hidden && has_own_table(&tables, thread)) {
            note_table(&tables, thread);
            walk_descriptors(visit, process_directory, path, thread);
        }
        wherry__sys.close(task);
    }
    wherry__sys.close(tasks.fd);
}

/* ---- processes ---- */

/* "4711 (a name) S 1 ..."; the name may hold blanks and parentheses. */
static bool parse_stat(struct process *process, char *text, char *ret_state, unsigned *ret_flags)
{
    char *open = strchr(text, '('), *close = strrchr(text, ')');
    int parent;
    unsigned long long start;
    if (!open || !close ||
        sscanf(close + 1, " %c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %u %*d %llu", ret_state,
               &parent, ret_flags, &process->threads, &start) != 5)
        return false;
    *close = 0;
    process->public.parent = parent;
    process->public.threads = process->threads;
    process->public.start = start;
    process->public.command = wherry__inspect_text(process->snapshot, "%s", open + 1);
    return true;
}

/* The directory itself belongs to the effective uid, also of a process whose files beneath are root's because it must
 * not be looked at by others (prctl(2), PR_SET_DUMPABLE). */
static void find_uid(struct process *process, int directory)
{
    struct stat status;
    process->public.uid = wherry__sys.fstat(directory, &status) == 0 ? status.st_uid : (uid_t)-1;
}

static void read_arguments(struct process *process, int directory)
{
    char text[4096];
    int length = wherry__proc_read(directory, "cmdline", text, sizeof text);
    while (length > 0 && !text[length - 1])
        length--;
    for (int i = 0; i < length; i++)
        if (!text[i])
            text[i] = ' ';
    if (length > 0)
        process->public.arguments = wherry__inspect_text(process->snapshot, "%.*s", length, text);
}

static bool note_process(struct snapshot *snapshot, struct process *process)
{
    if (snapshot->processes.count == snapshot->processes.room) {
        size_t room = snapshot->processes.room ? 2 * snapshot->processes.room : 256;
        struct process **list = realloc(snapshot->processes.list, room * sizeof *list);
        if (!list) {
            snapshot->failed = true;
            return false;
        }
        snapshot->processes.list = list;
        snapshot->processes.room = room;
    }
    snapshot->processes.list[snapshot->processes.count++] = process;
    return true;
}

/* What could not be looked at because it is ending is not hidden, but gone: an exiting process loses its memory before
 * its state changes, and without memory its files of /proc are root's. */
static bool has_ended(int directory)
{
    char text[1024], state;
    unsigned flags, threads;
    int result = wherry__proc_read(directory, "stat", text, sizeof text);
    const char *close = result > 0 ? strrchr(text, ')') : NULL;
    if (!close)
        return result == 0 || result == -ENOENT || result == -ESRCH;
    if (sscanf(close + 1, " %c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %u", &state, &flags,
               &threads) != 3)
        return false;
    return state == 'Z' || state == 'X' || (flags & EXITING && threads <= 1);
}

static void walk_process(struct visit *visit, int directory, pid_t pid)
{
    struct snapshot *snapshot = visit->snapshot;
    char text[1024], state;
    unsigned flags;
    struct process *process = wherry__inspect_memory(snapshot, sizeof *process);
    int result = process ? wherry__proc_read(directory, "stat", text, sizeof text) : -ENOENT;
    bool refused = result == -EPERM || result == -EACCES; /* hidepid=noaccess, or a security module */
    if (result < 0 && !refused) {
        wherry__inspect_missed(snapshot, -result);
        return;
    }
    process->snapshot = snapshot;
    process->public.pid = process->table = pid;
    process->public.arguments = "";
    if (refused) {
        process->public.command = "?";
        process->public.hidden = true;
        find_uid(process, directory);
        note_process(snapshot, process);
        return;
    }
    if (!parse_stat(process, text, &state, &flags) || flags & KERNEL_THREAD)
        return;
    find_uid(process, directory);
    find_spaces(process, directory);
    if (snapshot->options.flags & WHERRY_INSPECT_ARGUMENTS)
        read_arguments(process, directory);
    if (!note_process(snapshot, process))
        return;
    visit->process = process;
    bool ended = state == 'Z' || state == 'X', seen = true;
    if (!ended)
        seen = walk_descriptors(visit, directory, "fd", 0) && wherry__inspect_maps(snapshot, process, directory);
    if (!ended && snapshot->options.file)
        walk_directories(visit, directory);
    process->public.hidden = !seen && !has_ended(directory);
    if (process->threads > 1 || (!ended && snapshot->options.flags & WHERRY_INSPECT_WAITERS))
        walk_threads(visit, directory, ended);
}

static int compare_processes(const void *a, const void *b)
{
    const struct process *x = *(struct process *const *)a, *y = *(struct process *const *)b;
    return (x->public.pid > y->public.pid) - (x->public.pid < y->public.pid);
}

static void count_hidden(struct snapshot *snapshot)
{
    uint64_t hidden = 0;
    for (size_t i = 0; i < snapshot->processes.count; i++)
        hidden += snapshot->processes.list[i]->public.hidden;
    if (hidden)
        wherry__inspect_hide(snapshot, "processes whose descriptors and mappings may not be looked at",
                             geteuid() ? "run it as root, or as their user"
                                       : "they have capabilities that this process has not",
                             hidden);
    snapshot->blind = wherry__hidepid_hides(snapshot);
    if (snapshot->blind)
        wherry__inspect_hide(snapshot, "processes of others, which /proc leaves out",
                             "run it as root, or mount -o remount,hidepid=off /proc", 0);
}

int wherry__inspect_walk(struct snapshot *snapshot)
{
    struct numbers numbers = {.snapshot = snapshot, .whole = true};
    numbers.fd = wherry__sys.open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (numbers.fd < 0)
        return wherry__fail_errno(errno, "/proc cannot be read, and without it nothing is known of processes");
    struct visit *visit = wherry__inspect_memory(snapshot, sizeof *visit);
    if (visit)
        visit->snapshot = snapshot;
    for (const char *number; visit && !snapshot->failed && (number = next_number(&numbers));) {
        int directory = wherry__sys.openat(numbers.fd, number, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        if (directory >= 0) {
            walk_process(visit, directory, (pid_t)strtol(number, NULL, 10));
            wherry__sys.close(directory);
        } else if (errno == EMFILE || errno == ENFILE) {
            int code = errno;
            wherry__sys.close(numbers.fd);
            return wherry__fail_errno(code, "/proc/%s: no descriptor to read it by", number);
        } else {
            wherry__inspect_missed(snapshot, errno);
        }
    }
    wherry__sys.close(numbers.fd);
    if (snapshot->processes.list)
        qsort(snapshot->processes.list, snapshot->processes.count, sizeof *snapshot->processes.list,
              compare_processes);
    count_hidden(snapshot);
    return 0;
}
