/* supervise/ready.c - owns how a unit shows that it is ready: sd_notify(3), a line on a descriptor, a URL that answers.
 *
 * SPDX-License-Identifier: MIT
 *
 * The notification socket is an abstract one, which the kernel names, a new one for each run: what an earlier run sent
 * is gone with its socket, and there is no name to be removed.  Only the unit's own group is heard.  A program that
 * does nothing but notify has often ended before it is looked at, and then nobody knows its group: it is heard if it
 * ran as the unit does. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/libc.h"
#include "base/sys.h"
#include "base/why.h"
#include "supervise/child.h"
#include "supervise/supervisor.h"

enum { MOST_FDS = 16, MOST_MESSAGE = 4096 };

/* ---- preparing ---- */

static int make_socket(struct wherry_supervisor *supervisor, struct unit *unit, struct wherry__child *child)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof address;
    char name[sizeof address.sun_path + 1];
    const int on = 1;
    wherry__fd_guard();
    int fd = unit->notify_fd =
        wherry__fd_note(wherry__sys.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    wherry__fd_unguard();
    if (fd < 0 || wherry__sys.setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        wherry__sys.bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return wherry__fail_errno(errno, "no socket to be notified on");
    snprintf(name, sizeof name, "@%.*s", (int)(size - offsetof(struct sockaddr_un, sun_path) - 1),
             address.sun_path + 1);
    int result = wherry__child_set(child, "NOTIFY_SOCKET", name);
    return result < 0 ? result
                      : wherry__wait_add(&supervisor->wait, fd, EPOLLIN, watch_key(unit->index, WATCH_NOTIFY));
}

static int make_pipe(struct wherry_supervisor *supervisor, struct unit *unit, struct wherry__child *child)
{
    int fds[2];
    wherry__fd_guard();
    int result = wherry__sys.pipe2(fds, O_CLOEXEC | O_NONBLOCK);
    if (result == 0) {
        fds[0] = wherry__fd_note(fds[0]);
        fds[1] = wherry__fd_note(fds[1]);
    }
    wherry__fd_unguard();
    if (result != 0)
        return wherry__fail_errno(errno, "no pipe to be notified on");
    unit->ready_fd = fds[0];
    wherry__child_give(child, unit->options.ready_fd, fds[1]);
    if (fcntl(fds[1], F_SETFL, 0) != 0) /* programs expect theirs to block */
        return wherry__fail_errno(errno, "no pipe to be notified on");
    return wherry__wait_add(&supervisor->wait, fds[0], EPOLLIN, watch_key(unit->index, WATCH_READY));
}

int wherry__ready_prepare(struct wherry_supervisor *supervisor, struct unit *unit, struct wherry__child *child)
{
    if (unit->options.ready == WHERRY_READY_NOTIFY)
        return make_socket(supervisor, unit, child);
    return unit->options.ready == WHERRY_READY_FD ? make_pipe(supervisor, unit, child) : 0;
}

/* ---- sd_notify(3) ---- */

static void close_all(const struct cmsghdr *part)
{
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
        wherry__sys.close(fd);
    }
}

static uid_t uid_of(const struct unit *unit)
{
    return unit->process_options.set_ids ? unit->process_options.uid : geteuid();
}

/* Descriptors that came along (FDSTORE=1) are not kept. */
static bool is_of(const struct unit *unit, struct msghdr *message)
{
    struct ucred sender = {.pid = 0};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = wherry__control_next(message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&sender, CMSG_DATA(part), sizeof sender);
        } else if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
            close_all(part);
        }
    }
    if (sender.pid <= 0)
        return false;
    pid_t group = getpgid(sender.pid);
    return group == unit->pid || (group < 0 && sender.uid == uid_of(unit));
}

/* Lines NAME=VALUE; `text` ends with a zero. */
static void obey(struct wherry_supervisor *supervisor, struct unit *unit, char *text)
{
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        if (strcmp(line, "READY=1") == 0)
            wherry__unit_ready(supervisor, unit);
        else if (strncmp(line, "STATUS=", 7) == 0)
            wherry__unit_say(unit, "%s", line + 7);
    }
}

void wherry__ready_notified(struct wherry_supervisor *supervisor, struct unit *unit)
{
    char text[MOST_MESSAGE + 1];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(MOST_FDS * sizeof(int))];
    } control;
    while (unit->notify_fd >= 0) {
        struct iovec part = {.iov_base = text, .iov_len = MOST_MESSAGE};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        ssize_t size = wherry__sys.recvmsg(unit->notify_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return;
        bool own = is_of(unit, &message);
        text[size] = '\0';
        if (own && !(message.msg_flags & MSG_TRUNC))
            obey(supervisor, unit, text);
    }
}

/* ---- a line on a descriptor ---- */

void wherry__ready_written(struct wherry_supervisor *supervisor, struct unit *unit)
{
    char text[256];
    ssize_t size;
    while ((size = wherry__sys.read(unit->ready_fd, text, sizeof text)) > 0 || (size < 0 && errno == EINTR))
        if (size > 0 && memchr(text, '\n', (size_t)size)) {
            wherry__unit_ready(supervisor, unit);
            size = 0;
            break;
        }
    if (size == 0) { /* said, or closed without a word: then the time-out tells */
        wherry__wait_remove(&supervisor->wait, unit->ready_fd);
        wherry__wait_drop(&supervisor->wait, watch_key(unit->index, WATCH_READY));
        wherry__fd_close(&unit->ready_fd);
    }
}

/* ---- a URL that answers ---- */

bool wherry__ready_answers(struct unit *unit)
{
    struct wherry_channel *channel;
    /* a moment, within which a connection on this host is made */
    int result = wherry_channel_open(unit->options.ready_url, WHERRY_SEND, NULL, wherry_after(10 * WHERRY_MILLISECOND),
                                     &channel);
    if (result < 0) {
        snprintf(unit->answer, sizeof unit->answer, "%s", wherry_why());
        unit->hopeless = result == -EINVAL || result == -EPROTONOSUPPORT || result == -EOPNOTSUPP;
        return false;
    }
    wherry_channel_close(channel, WHERRY_NOW);
    return true;
}
