/* tests/fault/test_fault.c - owns the proof that any system call and any allocation may fail, once, anywhere.
 *
 * SPDX-License-Identifier: MIT
 *
 * One case a call: on each transport a receiver and a sender open, carry messages and close, over and over, with the
 * first, the second, the third ... call of it failing with each errno that it may give, until there is no such call any
 * more.  Whatever fails says so and why, takes no longer than its deadline, leaves no descriptor and no name behind,
 * and loses or tears no message that was accepted without a word; and afterwards the same channel can be opened and
 * used. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fault/inject.h"
#include "harness.h"
#include "unit/ends.h"
#include "unit/pattern.h"

/* What each call may fail with; the first 0 ends the list.  Left out: what would be a fault of the caller (EBADF,
 * EFAULT). */
static const int errnos[INJECT_CALLS][8] = {
    [INJECT_read] = {EINTR, EAGAIN, EIO},
    [INJECT_readv] = {EINTR, EAGAIN, EIO},
    [INJECT_write] = {EINTR, EAGAIN},
    [INJECT_writev] = {EINTR, EAGAIN, EPIPE, EIO, ENOMEM},
    [INJECT_pwritev2] = {EINTR, EAGAIN, EPIPE, EIO, ENOMEM, EOPNOTSUPP, ENOSYS},
    [INJECT_send] = {EINTR, EAGAIN, EPIPE, ECONNRESET, ENOMEM, ENOBUFS},
    [INJECT_sendmsg] = {EINTR, EAGAIN, EPIPE, ECONNRESET, ENOMEM, ENOBUFS},
    [INJECT_sendmmsg] = {EINTR, EAGAIN, EPIPE, ECONNRESET, ENOMEM, ENOBUFS},
    [INJECT_recvmsg] = {EINTR, EAGAIN, ECONNRESET, ENOMEM, EIO},
    [INJECT_recvmmsg] = {EINTR, EAGAIN, ENOMEM},
    [INJECT_recv] = {EINTR, EAGAIN, ECONNRESET, ENOMEM},
    [INJECT_open] = {EINTR, EMFILE, ENFILE, ENOMEM, EACCES, ENOSPC, EIO},
    [INJECT_openat] = {EINTR, EMFILE, ENFILE, ENOMEM, EACCES, ENOSPC, EIO},
    [INJECT_close] = {EINTR, EIO, ENOSPC},
    [INJECT_pipe2] = {EMFILE, ENFILE, ENOMEM},
    [INJECT_tee] = {EAGAIN, ENOMEM, EINVAL, EINTR},
    [INJECT_fstat] = {EIO, ENOMEM},
    [INJECT_fstatat] = {EACCES, EIO, ENOMEM},
    [INJECT_fchmod] = {EPERM, EIO, EROFS},
    [INJECT_fchmodat] = {EPERM, EIO, ENOENT},
    [INJECT_mkfifoat] = {EACCES, ENOSPC, EROFS, EEXIST, EDQUOT},
    [INJECT_unlinkat] = {EACCES, EIO, ENOENT},
    [INJECT_flock] = {EINTR, ENOLCK, EWOULDBLOCK},
    [INJECT_socket] = {EMFILE, ENFILE, ENOMEM, EACCES, ENOBUFS},
    [INJECT_socketpair] = {EMFILE, ENFILE, ENOMEM},
    [INJECT_bind] = {EACCES, EADDRINUSE, ENOMEM, ENOSPC, EROFS},
    [INJECT_listen] = {EADDRINUSE, ENOMEM},
    [INJECT_accept4] = {EINTR, EAGAIN, ECONNABORTED, EMFILE, ENFILE, ENOMEM},
    [INJECT_connect] = {EINTR, EAGAIN, ECONNREFUSED, ENOENT, EACCES, EPROTOTYPE},
    [INJECT_shutdown] = {ENOTCONN, ENOBUFS},
    [INJECT_getsockopt] = {ENOMEM, ENOBUFS},
    [INJECT_setsockopt] = {ENOMEM, EPERM, ENOBUFS},
    [INJECT_epoll_create1] = {EMFILE, ENFILE, ENOMEM},
    [INJECT_epoll_ctl] = {ENOMEM, ENOSPC},
    [INJECT_epoll_pwait2] = {EINTR, ENOSYS},
    [INJECT_epoll_wait] = {EINTR},
    [INJECT_ppoll] = {EINTR, ENOMEM},
    [INJECT_eventfd] = {EMFILE, ENFILE, ENOMEM},
    [INJECT_mkdirat] = {EACCES, ENOSPC, EROFS, EDQUOT},
    [INJECT_linkat] = {EEXIST, EACCES, ENOSPC, EMLINK, EDQUOT},
    [INJECT_renameat] = {EACCES, ENOSPC, EIO},
    [INJECT_ftruncate] = {EINTR, ENOSPC, EIO},
    [INJECT_fallocate] = {EINTR, ENOSPC, EIO, EOPNOTSUPP},
    [INJECT_pread] = {EINTR, EIO},
    [INJECT_pwrite] = {EINTR, ENOSPC, EIO},
    [INJECT_pwritev] = {ENOSPC, EIO, EINTR},
    [INJECT_record_lock] = {EAGAIN, ENOLCK, EIO},
    [INJECT_fdatasync] = {EIO},
    [INJECT_fsync] = {EIO},
    [INJECT_inotify_init1] = {EMFILE, ENOMEM},
    [INJECT_inotify_add_watch] = {ENOSPC},
    [INJECT_mmap] = {ENOMEM, EAGAIN},
    [INJECT_memfd_create] = {EMFILE, ENFILE, ENOMEM},
    [INJECT_pidfd_open] = {EMFILE, ENFILE, ENOMEM, ESRCH},
    [INJECT_futex] = {EINTR, EAGAIN},
    [INJECT_membarrier] = {ENOSYS, EPERM, ENOMEM},
    [INJECT_malloc] = {ENOMEM},
    [INJECT_calloc] = {ENOMEM},
    [INJECT_realloc] = {ENOMEM},
    [INJECT_strdup] = {ENOMEM},
    [INJECT_strndup] = {ENOMEM},
};

static const struct {
    struct ends_kind kind;
    const char *more;
} sites[] = {
    {ENDS_PIPE, ""},      {ENDS_PIPE_ATOMS, ""}, {ENDS_PIPE, "frame=line&read_ahead=no"}, {ENDS_FD, "frame=line"},
    {ENDS_FIFO, ""},      {ENDS_FIFO_SINGLE, ""}, {ENDS_SOCKETPAIR, ""}, {ENDS_SOCKETPAIR, "frame=nul&read_ahead=no"},
    {ENDS_UNIX, ""},      {ENDS_UNIX, "frame=line&capacity=8192"}, {ENDS_SEQPACKET, ""}, {ENDS_DGRAM, ""},
    {ENDS_TCP, ""},       {ENDS_UDP, ""},        {ENDS_UDP, "seq=1"}, {ENDS_SHM, ""}, {ENDS_SHM, "keep=1"},
    {ENDS_LOG, ""},       {ENDS_LOG, "group=g"}, {ENDS_LOG, "fsync=each&retain_bytes=1k"},
};
enum { SITES = sizeof sites / sizeof *sites, LARGEST = 200000, MESSAGES = 10, BATCH = 4 };
static const uint32_t sizes[MESSAGES] = {10, 5000, 0, 150000, 20, 30, 40, 50, 3000, 1};

/* No datagram is longer than an IP packet. */
static uint32_t size_of(const struct ends_kind *kind, uint32_t number)
{
    return kind->network && kind->packets && sizes[number] > 60000 ? 60000 : sizes[number];
}

static uint8_t data[BATCH][LARGEST], buffer[LARGEST];

struct run {
    const struct ends_kind *kind;
    const char *more;
    struct ends ends;
    uint32_t accepted, received; /* messages, in their order */
    bool broken;                 /* something said that it failed */
    char problem[512];
};

static bool problem(struct run *run, const char *what, int result)
{
    if (!run->problem[0])
        snprintf(run->problem, sizeof run->problem, "%s: %d, %s", what, result, wherry_why());
    return false;
}

/* A failure says why. */
static bool explained(struct run *run, const char *what, int result)
{
    return wherry_why()[0] ? true : problem(run, what, result);
}

/* Open both ends; a failure is fine, and must be over with one more try. */
static bool open_both(struct run *run)
{
    struct ends *ends = &run->ends;
    struct wherry_channel *pair[2];
    char url[128];
    const char *query = strchr(ends_url(ends->url, sizeof ends->url, run->kind, run->more), '?');
    query = query ? query : "";
    for (int tries = 0; tries < 3; tries++) {
        int result = 0, fds[2] = {-1, -1};
        *ends = (struct ends){.url = ""};
        ends_url(ends->url, sizeof ends->url, run->kind, run->more);
        if (run->kind->by_name) {
            result = (int)IN_LIBRARY(wherry_channel_open(ends->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
            if (result == 0 && strcmp(run->kind->scheme, "fifo:") == 0) { /* before the first writer has come */
                size_t size;
                result = (int)IN_LIBRARY(wherry_channel_receive(ends->receiver, buffer, LARGEST, &size, WHERRY_NOW));
                result = result == -EAGAIN ? 0 : result;
            }
            if (result == 0)
                result = (int)IN_LIBRARY(
                    wherry_channel_open(ends->url, WHERRY_SEND, NULL, wherry_after(WHERRY_SECOND), &ends->sender));
        } else if (strcmp(run->kind->name, "fd") == 0) {
            ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
            snprintf(url, sizeof url, "fd:%d%s", fds[0], query);
            result = (int)IN_LIBRARY(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
            if (result == 0)
                fds[0] = -1;
            snprintf(url, sizeof url, "fd:%d%s", fds[1], query);
            if (result == 0)
                result = (int)IN_LIBRARY(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &ends->sender));
            if (result == 0)
                fds[1] = -1;
        } else {
            result = (int)IN_LIBRARY(wherry_channel_pair(ends->url, NULL, pair));
            if (result == 0) {
                ends->receiver = pair[0];
                ends->sender = pair[1];
            }
        }
        if (result == 0)
            return true;
        explained(run, "opening", result);
        run->broken = true;
        ends_close(ends);
        for (int i = 0; i < 2; i++)
            if (fds[i] >= 0)
                close(fds[i]);
    }
    return problem(run, "cannot be opened although nothing fails any more", 0);
}

/* Receive what there is.  False when that failed. */
static bool receive_ready(struct run *run)
{
    for (;;) {
        struct wherry_info info;
        int result =
            (int)IN_LIBRARY(wherry_channel_receive_info(run->ends.receiver, buffer, LARGEST, &info, WHERRY_NOW));
        if (result == -EAGAIN)
            return true;
        if (result == 0 && !run->broken && !inject_fired())
            return problem(run, "an end while the sender lives", result);
        if (result <= 0) {
            run->broken = true;
            return result == 0 ? false : explained(run, "receiving", result) && false;
        }
        size_t size = info.size;
        if (info.flags & WHERRY_INCOMPLETE) { /* the beginning of a record, and said to be one */
            run->broken = true;
            continue;
        }
        uint32_t number = run->received;
        while (run->broken && number < run->accepted + BATCH && number < MESSAGES &&
               !(size_of(run->kind, number) == size && pattern_is(buffer, size, number)))
            number++;
        if (number >= MESSAGES || size != size_of(run->kind, number) || !pattern_is(buffer, size, number))
            return problem(run, "a message came that was not sent so", (int)size);
        run->received = number + 1;
    }
}

/* Until all that was accepted has come. */
static void pump(struct run *run)
{
    wherry_time deadline = wherry_after(8 * WHERRY_SECOND);
    unsigned rounds = 0;
    bool first = true; /* what was refused may need room, too */
    for (; (first || run->received < run->accepted) && !run->problem[0]; first = false) {
        int result = (int)IN_LIBRARY(wherry_channel_flush(run->ends.sender, WHERRY_NOW));
        if (result < 0 && result != -EAGAIN) {
            run->broken = true;
            explained(run, "flushing", result);
        }
        bool good = receive_ready(run);
        if (run->broken && (!good || ++rounds > 50))
            return; /* what did not come may have gone down with the connection */
        struct wherry_channel_stats stats;
        wherry_channel_stats(run->ends.receiver, &stats, sizeof stats);
        if (stats.refused) { /* whose credentials could not be asked for is not let in */
            run->broken = true;
            return;
        }
        if (wherry_now() > deadline)
            problem(run, "what was accepted does not come", (int)run->received);
    }
}

static void send_one(struct run *run, uint32_t number, size_t count)
{
    struct wherry_message messages[BATCH];
    for (size_t i = 0; i < count; i++) {
        size_t size = size_of(run->kind, number + (uint32_t)i);
        pattern_fill(data[i], size, number + (uint32_t)i);
        messages[i] = (struct wherry_message){.data = data[i], .size = size};
    }
    for (size_t sent = 0, tries = 0; sent < count && !run->problem[0]; tries++) {
        long long result =
            IN_LIBRARY(wherry_channel_send_many(run->ends.sender, messages + sent, count - sent, WHERRY_NOW));
        if (result < 0 && result != -EAGAIN) {
            run->broken = true;
            explained(run, "sending", (int)result);
            if (tries > 2)
                return; /* it says so each time: the connection is gone */
        }
        sent += result > 0 ? (size_t)result : 0;
        run->accepted = number + (uint32_t)sent;
        pump(run);
        if (tries > 1000)
            problem(run, "a send says again for ever", (int)result);
    }
}

/* An empty wait keeps its deadline; readiness is told; then close. */
static void wait_and_close(struct run *run)
{
    size_t size;
    int result;
    wherry_time deadline = wherry_after(200 * WHERRY_MICROSECOND);
    result = (int)IN_LIBRARY(wherry_channel_receive(run->ends.receiver, buffer, LARGEST, &size, deadline));
    if (!run->broken && result != -ETIMEDOUT && result != -EAGAIN && !inject_fired())
        problem(run, "nothing came, and a wait said", result);
    if (result < 0)
        explained(run, "waiting", result);
    IN_LIBRARY((wherry_channel_interrupt(run->ends.receiver), 0));
    result = (int)IN_LIBRARY(wherry_channel_receive(run->ends.receiver, buffer, LARGEST, &size, deadline));
    if (result > 0 && !run->broken && !inject_fired())
        problem(run, "nothing came, and after an interrupt a wait said", result);
    IN_LIBRARY(wherry_channel_receive_fd(run->ends.receiver));
    IN_LIBRARY(wherry_channel_send_fd(run->ends.sender));
    IN_LIBRARY(wherry_channel_finish(run->ends.sender, WHERRY_NOW));
    IN_LIBRARY((ends_close(&run->ends), 0));
}

/* What an unlink that failed left behind. */
static size_t sweep(const struct run *run)
{
    size_t count = 0;
    DIR *entries = opendir(test_dir());
    struct dirent *entry;
    char path[512];
    while ((entry = readdir(entries)) != NULL)
        if (entry->d_name[0] != '.' && ++count)
            unlink(test_path(path, entry->d_name));
    closedir(entries);
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), test_word());
    return count + (unlink(path) == 0 && !strstr(run->more, "keep"));
}

/* Everyday outcomes of moving bytes: nobody may notice (H59). */
static bool must_pass_unnoticed(enum inject_call call, int code)
{
    switch (call) {
    case INJECT_read:
    case INJECT_readv:
    case INJECT_writev:
    case INJECT_pwritev2:
    case INJECT_send:
    case INJECT_sendmsg:
    case INJECT_sendmmsg:
    case INJECT_recvmsg:
    case INJECT_recvmmsg:
    case INJECT_recv:
    case INJECT_accept4:
    case INJECT_epoll_pwait2:
    case INJECT_epoll_wait:
    case INJECT_ppoll:
        return code == EINTR || code == EAGAIN;
    default:
        return false;
    }
}

/* Returns whether the fault took place. */
static bool carry(struct run *run, enum inject_call call, unsigned nth, int code)
{
    wherry_time began = wherry_now();
    size_t descriptors = test_descriptors();
    run->accepted = run->received = 0;
    run->broken = false;
    inject_arm(call, nth, code);
    if (open_both(run)) {
        for (uint32_t i = 0; i < MESSAGES - BATCH && !(run->broken && inject_fired()) && !run->problem[0]; i++)
            send_one(run, i, 1);
        if (!run->broken && !run->problem[0])
            send_one(run, MESSAGES - BATCH, BATCH);
        wait_and_close(run);
    }
    bool fired = inject_fired();
    inject_arm(call, 0, 0);
    if (fired && run->broken && must_pass_unnoticed(call, code))
        problem(run, "it was noticed", 0);
    size_t left = sweep(run);
    if (strcmp(run->kind->name, "log") == 0)
        left -= left > 0; /* which is to stay */
    /* a name stays when what says whose it is, or what removes it, fails; whoever could not claim it leaves it to the
     * other */
    if (left && call != INJECT_unlinkat && call != INJECT_fstatat && call != INJECT_fstat && call != INJECT_flock)
        problem(run, "files are left", (int)left);
    if (test_descriptors() != descriptors)
        problem(run, "descriptors are left", (int)(test_descriptors() - descriptors));
    if (wherry_now() - began > 12 * WHERRY_SECOND * (wherry_time)test_slowness())
        problem(run, "it took too long", (int)((wherry_now() - began) / WHERRY_MILLISECOND));
    if (fired && !run->problem[0]) { /* and once more, with nothing in the way */
        run->accepted = run->received = 0;
        run->broken = false;
        if (open_both(run)) {
            send_one(run, 0, 1);
            send_one(run, 1, 1);
            wait_and_close(run);
        }
        if (run->broken)
            problem(run, "it does not work afterwards", 0);
        sweep(run);
    }
    return fired;
}

/* What nobody can do anything about when it fails. */
static bool is_left_out(enum inject_call call)
{
    return call == INJECT_munmap;
}

static size_t call_count(void)
{
    return INJECT_CALLS;
}

/* What older kernels lack, so that what stands in for it can fail, too. */
static ssize_t no_pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    (void)fd, (void)parts, (void)count, (void)at, (void)flags;
    errno = EOPNOTSUPP;
    return -1;
}

static int no_epoll_pwait2(int epoll, struct epoll_event *events, int count, const struct timespec *timeout)
{
    (void)epoll, (void)events, (void)count, (void)timeout;
    errno = ENOSYS;
    return -1;
}

TEST_WITH(may_fail, .count = call_count, .entry = inject_name, .seconds = 120)
{
    enum inject_call call = (enum inject_call)index;
    char report[3000] = "";
    size_t faults = 0, problems = 0;
    if (call == INJECT_writev)
        wherry__sys.pwritev2 = no_pwritev2;
    if (call == INJECT_epoll_wait)
        wherry__sys.epoll_pwait2 = no_epoll_pwait2;
    inject_init();
    for (size_t s = 0; s < SITES; s++)
        for (const int *code = errnos[call]; *code; code++)
            for (unsigned nth = 1; nth < 400; nth += nth < 20 ? 1 : 7) {
                struct run run = {.kind = &sites[s].kind, .more = sites[s].more};
                bool fired = carry(&run, call, nth, *code);
                if (run.problem[0]) {
                    size_t filled = strlen(report);
                    problems++;
                    snprintf(report + filled, sizeof report - filled, "\n%s %s: call %u with %s: %.200s",
                             sites[s].kind.name, sites[s].more, nth, strerrorname_np(*code), run.problem);
                }
                faults += fired;
                if (!fired)
                    break;
            }
    for (size_t s = 0; s < SITES && !errnos[call][0]; s++) {
        struct run run = {.kind = &sites[s].kind, .more = sites[s].more};
        carry(&run, call, 0, 0);
        ck_assert_msg(!inject_called(call) || is_left_out(call), "%s calls it, and nothing makes it fail",
                      run.kind->name);
    }
    ck_assert_msg(problems == 0, "%zu problems in %zu faults:%s", problems, faults, report);
    printf("# %s: %zu faults, 0 problems\n", inject_name(index), faults);
    fflush(stdout);
}
