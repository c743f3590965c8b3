/* socket/inet.c - owns TCP sockets: listening, connecting, their options.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/inet.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/fd.h"
#include "base/holder.h"
#include "base/sys.h"
#include "base/time.h"
#include "base/why.h"
#include "socket/socket.h"

static int at_least(wherry_time time, wherry_time unit)
{
    wherry_time count = (time + unit - 1) / unit;
    return count > INT_MAX ? INT_MAX : (int)count;
}

/* Before the connection is made, which inherits it from the socket that listens: its window is scaled for it. */
static int bound_receiving(int fd, const struct wherry__inet_options *options)
{
    if (!options->capacity)
        return 0;
    return wherry__socket_set(fd, SOL_SOCKET, SO_RCVBUF,
                              options->capacity > INT_MAX ? INT_MAX : (int)options->capacity);
}

int wherry__inet_apply(int fd, const struct wherry__inet_options *options, const char *name)
{
    enum { ASKED = 3, KEEP_MOST = 32767 };
    int result = options->delay ? 0 : wherry__socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (result == 0 && options->keepalive) {
        int idle = at_least(options->keepalive, WHERRY_SECOND);
        idle = idle > KEEP_MOST ? KEEP_MOST : idle;
        result = wherry__socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        if (result == 0)
            result = wherry__socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
        if (result == 0) /* dead after half as long again */
            result = wherry__socket_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, idle / (2 * ASKED) ? idle / (2 * ASKED) : 1);
        if (result == 0)
            result = wherry__socket_set(fd, IPPROTO_TCP, TCP_KEEPCNT, ASKED);
    }
    if (result == 0 && options->user_timeout)
        result = wherry__socket_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
                                    at_least(options->user_timeout, WHERRY_MILLISECOND));
    if (result == 0)
        result = bound_receiving(fd, options);
    if (result < 0)
        return wherry__fail_errno(-result, "%s: an option of the connection could not be set", name);
    return wherry__socket_resize(fd, options->capacity, name);
}

bool wherry__inet_local(int fd, struct wherry__inet_address *ret_address)
{
    ret_address->size = sizeof ret_address->address;
    return getsockname(fd, (struct sockaddr *)&ret_address->address, &ret_address->size) == 0;
}

bool wherry__inet_remote(int fd, struct wherry__inet_address *ret_address)
{
    ret_address->size = sizeof ret_address->address;
    return getpeername(fd, (struct sockaddr *)&ret_address->address, &ret_address->size) == 0;
}

bool wherry__inet_arrived(int fd)
{
    int left = 0;
    return ioctl(fd, SIOCOUTQ, &left) != 0 || left <= 1; /* the end itself counts as a byte */
}

/* ---- listening ---- */

static int listen_at(const struct wherry__inet_address *address, const struct wherry__inet_options *options,
                     uint32_t backlog, bool inheritable)
{
    const struct sockaddr *to = (const struct sockaddr *)&address->address;
    int fd = wherry__socket_new(to->sa_family, SOCK_STREAM, 0, inheritable);
    if (fd < 0)
        return fd;
    bool any = to->sa_family == AF_INET6 &&
               IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)to)->sin6_addr);
    int result = wherry__socket_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0 && to->sa_family == AF_INET6)
        result = wherry__socket_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !any); /* whatever the host's default is */
    if (result == 0)
        result = bound_receiving(fd, options);
    if (result == 0 && options->beside)
        result = wherry__socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (result == 0 && wherry__sys.bind(fd, to, address->size) != 0)
        result = -errno;
    /* the first is bound without, so that it does not slip in beside a stranger's; those that follow find it sharing */
    if (result == 0 && options->share_port)
        result = wherry__socket_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (result == 0 && wherry__sys.listen(fd, (int)backlog) != 0)
        result = -errno;
    if (result < 0)
        wherry__fd_close(&fd);
    return result < 0 ? result : fd;
}

static int cannot_listen(const struct wherry__inet_place *place, const struct wherry__inet_address *address, int code)
{
    char text[WHERRY__INET_TEXT], who[64];
    wherry__inet_text(address, text);
    if (code == EADDRINUSE)
        return wherry__fail(
            EADDRINUSE, "%s: %s is listening at %s; stop it, or take another port", place->name,
            wherry__process_name(wherry__holder_of_tcp((const struct sockaddr *)&address->address), who), text);
    if (code == EADDRNOTAVAIL)
        return wherry__fail(EADDRNOTAVAIL, "%s: %s is no address of this host; * takes all of them", place->name, text);
    if (code == EACCES)
        return wherry__fail(EACCES, "%s: port %u is for privileged processes (net.ipv4.ip_unprivileged_port_start)",
                            place->name, place->port);
    return wherry__fail_errno(code, "%s: listening at %s failed", place->name, text);
}

/* Over IPv4 the kernel lets one listen there, where nobody can ever connect. */
static int refuse_group(const struct wherry__inet_place *place, const struct wherry__inet_address *address)
{
    char text[WHERRY__INET_TEXT];
    wherry__inet_text(address, text);
    return wherry__fail(EINVAL,
                        "%s: %s is the address of a multicast group, to which nobody can connect; listen at an address "
                        "of this host, or use udp:",
                        place->name, text);
}

int wherry__inet_listen(const struct wherry__inet_place *place, const struct wherry__inet_options *options,
                        uint32_t backlog, bool inheritable, wherry_time deadline,
                        struct wherry__inet_address *ret_address)
{
    struct wherry__inet_list list = {.count = 1};
    int result = 0;
    if (options->beside)
        wherry__inet_local(options->beside, &list.addresses[0]);
    else
        result = wherry__inet_resolve(place, true, deadline, &list);
    if (result < 0)
        return result;
    int fd = -EADDRNOTAVAIL;
    for (int i = 0; i < list.count && fd < 0; i++) {
        if (wherry__inet_is_group((const struct sockaddr *)&list.addresses[i].address))
            return refuse_group(place, &list.addresses[i]);
        fd = listen_at(&list.addresses[i], options, backlog, inheritable);
        if (fd < 0 && fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)
            return cannot_listen(place, &list.addresses[i], -fd);
    }
    if (fd < 0)
        return cannot_listen(place, &list.addresses[0], -fd);
    result = wherry__inet_apply(fd, options, place->name); /* what the kernel refuses is said now, not to each peer */
    if (result < 0) {
        wherry__fd_close(&fd);
        return result;
    }
    wherry__inet_local(fd, ret_address);
    return fd;
}

/* ---- connecting ---- */

enum { STEP = 250 * 1000 * 1000 /* ns */, WHY_SIZE = 400 };

struct attempts {
    const struct wherry__inet_list *list;
    struct pollfd fds[WHERRY__INET_ADDRESSES];
    int codes[WHERRY__INET_ADDRESSES]; /* why not, positive; 0: not tried or under way */
    int begun, open;
    int refused;      /* -errno with the sentence set: an option, which no other address would take either */
    wherry_time next; /* when the next is begun */
};

/* With nobody listening at a port of the kernel's own range a socket can be given that very port, and be connected to
 * itself.  It goes with a reset: else the kernel would remember it for a minute, and keep the port from who is to
 * listen there. */
static bool is_itself(int fd)
{
    struct wherry__inet_address local, remote;
    if (!wherry__inet_local(fd, &local) || !wherry__inet_remote(fd, &remote) || local.size != remote.size ||
        memcmp(&local.address, &remote.address, local.size) != 0)
        return false;
    const struct linger reset = {.l_onoff = 1};
    wherry__sys.setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return true;
}

static void give_up(struct attempts *attempts, int i, int code)
{
    attempts->codes[i] = code;
    if (attempts->fds[i].fd >= 0) {
        wherry__fd_close(&attempts->fds[i].fd);
        attempts->open--;
    }
    attempts->next = 0; /* the next one at once */
}

/* Returns the descriptor when it is connected already, or -1. */
static int begin(struct attempts *attempts, const struct wherry__inet_options *options, const char *name)
{
    int i = attempts->begun++;
    const struct wherry__inet_address *address = &attempts->list->addresses[i];
    const struct sockaddr *to = (const struct sockaddr *)&address->address;
    attempts->next = wherry_after(STEP);
    int fd = wherry__socket_new(to->sa_family, SOCK_STREAM, 0, false);
    attempts->fds[i] = (struct pollfd){.fd = fd < 0 ? -1 : fd, .events = POLLOUT};
    if (fd < 0) {
        give_up(attempts, i, -fd);
        return -1;
    }
    attempts->open++;
    int result = wherry__inet_apply(fd, options, name);
    if (result < 0) {
        give_up(attempts, i, -result);
        attempts->refused = result;
        return -1;
    }
    if (wherry__sys.connect(fd, to, address->size) != 0) {
        if (errno != EINPROGRESS)
            give_up(attempts, i, errno);
        return -1;
    }
    if (!is_itself(fd))
        return fd;
    give_up(attempts, i, ECONNREFUSED);
    return -1;
}

/* The first that is connected, or -1. */
static int take_events(struct attempts *attempts)
{
    for (int i = 0; i < attempts->begun; i++) {
        int fd = attempts->fds[i].fd, code = 0;
        socklen_t size = sizeof code;
        if (fd < 0 || !attempts->fds[i].revents)
            continue;
        if (wherry__sys.getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) != 0)
            code = errno;
        if (code == 0 && !is_itself(fd))
            return fd;
        give_up(attempts, i, code ? code : ECONNREFUSED);
    }
    return -1;
}

/* One round over all addresses: the descriptor, or -1 with each one's reason; -ETIMEDOUT when the deadline passed. */
static int connect_any(struct attempts *attempts, const struct wherry__inet_options *options, const char *name,
                       wherry_time deadline)
{
    int fd = -1;
    for (;;) {
        while (fd < 0 && !attempts->refused && attempts->begun < attempts->list->count &&
               (attempts->open == 0 || attempts->next <= wherry_now()))
            fd = begin(attempts, options, name);
        if (fd >= 0 || attempts->open == 0 || attempts->refused)
            return fd;
        bool more = attempts->begun < attempts->list->count;
        wherry_time until = more && attempts->next < deadline ? attempts->next : deadline;
        struct timespec storage;
        int ready = wherry__sys.ppoll(attempts->fds, (nfds_t)attempts->begun, wherry__deadline_left(until, &storage));
        if (ready > 0 && (fd = take_events(attempts)) >= 0)
            return fd;
        if (ready == 0 && wherry__deadline_passed(deadline))
            return -ETIMEDOUT;
    }
}

/* All but the one that won. */
static void close_others(struct attempts *attempts, int winner)
{
    for (int i = 0; i < attempts->begun; i++)
        if (attempts->fds[i].fd != winner)
            wherry__fd_close(&attempts->fds[i].fd);
}

static int say_why(const struct wherry__inet_place *place, const struct attempts *attempts, int code)
{
    char why[WHY_SIZE] = "";
    size_t length = 0;
    for (int i = 0; i < attempts->list->count && length < sizeof why; i++) {
        char text[WHERRY__INET_TEXT];
        wherry__inet_text(&attempts->list->addresses[i], text);
        const char *reason = attempts->codes[i]    ? strerror(attempts->codes[i])
                             : i < attempts->begun ? "no answer"
                                                   : "not tried";
        length += (size_t)snprintf(why + length, sizeof why - length, "%s%s: %s", i ? "; " : "", text, reason);
    }
    return wherry__fail(code, "%s: nobody could be reached there (%s)", place->name, why);
}

/* What may pass when the other side begins to listen, or the network comes back.  EPIPE is a reset of a connection that
 * the other side had ended already: a server that was killed just when it had the connection. */
static bool may_pass(int code)
{
    return code == 0 || code == ECONNREFUSED || code == ETIMEDOUT || code == ENETUNREACH || code == EHOSTUNREACH ||
           code == ECONNRESET || code == EPIPE || code == EADDRNOTAVAIL || code == ENETDOWN || code == EHOSTDOWN ||
           code == EAGAIN || code == EAFNOSUPPORT;
}

int wherry__inet_connect(const struct wherry__inet_place *place, const struct wherry__inet_options *options,
                         wherry_time deadline)
{
    struct wherry__inet_list list;
    struct wherry__steps steps = {0};
    int result = wherry__inet_resolve(place, false, deadline, &list);
    if (result < 0)
        return result;
    for (;;) {
        struct attempts attempts = {.list = &list};
        int fd = connect_any(&attempts, options, place->name, deadline);
        close_others(&attempts, fd);
        if (fd >= 0)
            return fd;
        if (attempts.refused)
            return attempts.refused;
        bool passes = false;
        for (int i = 0; i < attempts.begun; i++)
            passes |= may_pass(attempts.codes[i]);
        if (!passes)
            return say_why(place, &attempts, attempts.codes[0]);
        if (fd == -ETIMEDOUT || wherry__deadline_passed(deadline))
            return say_why(place, &attempts, wherry__deadline_code(deadline));
        wherry__steps_sleep(&steps, deadline);
    }
}
