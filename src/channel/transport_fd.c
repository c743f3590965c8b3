/* channel/transport_fd.c - fd: descriptors that the process was given, such as its standard input and output.
 *
 * SPDX-License-Identifier: MIT
 *
 * Others may share them, the shell that started us for one, so their open file descriptions are left as they are: no
 * O_NONBLOCK on them, and no more read than must be.  A pipe is opened anew through /proc for a description of our
 * own, a socket takes MSG_DONTWAIT, and anything else is asked by poll(2) before each call.
 *
 * A socket that listens is a crowd, as with unix: and tcp:; it alone is made O_NONBLOCK, since accept(2) has no other
 * way not to wait for a connection that another process took first. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "channel/connected.h"
#include "channel/pipe_link.h"
#include "socket/activation.h"
#include "socket/socket.h"
#include "socket/unix.h"
#include "stream/pipe.h"

struct fd_state {
    union wherry__connected u;
    int listener; /* -1 */
};

/* "3", or "0,1": to read, to write; or "@name". */
static int parse(const struct wherry__config *config, int ret_fds[2])
{
    const struct wherry__url *url = &config->url;
    if (url->path[0] == '@' && !url->has_authority) {
        ret_fds[0] = ret_fds[1] = wherry__activation_find(url->path + 1, config->name);
        return ret_fds[0] < 0 ? ret_fds[0] : 0;
    }
    const char *at = url->path;
    long values[2] = {-1, -1};
    int count = 0;
    do {
        char *end;
        at += count > 0; /* the comma */
        if (*at < '0' || *at > '9' || (values[count++] = strtol(at, &end, 10)) > 1 << 24)
            return wherry__url_fail(url->text, url->path_at + (size_t)(at - url->path),
                                    "fd: takes descriptor numbers: fd:N, or fd:R,W to read R and write W");
        at = end;
    } while (*at == ',' && count < 2);
    if (*at || url->has_authority)
        return wherry__url_fail(url->text, url->path_at + (size_t)(at - url->path),
                                "fd: takes descriptor numbers: fd:N, or fd:R,W to read R and write W");
    ret_fds[0] = (int)values[0];
    ret_fds[1] = (int)values[count - 1];
    return 0;
}

static int check_access(const struct wherry__config *config, int fd, bool for_writing)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return wherry__fail(EBADF, "%s: descriptor %d is not open", config->name, fd);
    int mode = flags & O_ACCMODE;
    if (mode != O_RDWR && mode != (for_writing ? O_WRONLY : O_RDONLY))
        return wherry__fail(EBADF, "%s: descriptor %d is not open for %s", config->name, fd,
                            for_writing ? "writing" : "reading");
    return 0;
}

/* The endpoint owns the numbers it was given.  0, 1 and 2 stay taken, so that no later open() lands there by
 * accident. */
static void release_number(int fd)
{
    if (fd > 2) {
        wherry__fd_close(&fd);
        return;
    }
    int null = wherry__sys.open("/dev/null", O_RDWR | O_CLOEXEC, 0);
    if (null >= 0 && null != fd) {
        dup2(null, fd);
        close(null);
    }
}

static int own_duplicate(int fd, bool inheritable)
{
    wherry__fd_guard();
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (own >= 0 && !inheritable)
        own = wherry__fd_note(own);
    wherry__fd_unguard();
    return own >= 0 ? own : wherry__fail_errno(errno, "descriptor %d could not be taken", fd);
}

/* A descriptor of our own for `fd`: *ret_blocks when the calls on it must be preceded by poll. */
static int take(const struct wherry__config *config, int fd, bool for_writing, mode_t kind, bool *ret_blocks)
{
    *ret_blocks = false;
    if (S_ISFIFO(kind)) {
        int own = wherry__pipe_reopen(fd, for_writing, config->inheritable);
        if (own >= 0)
            return own;
    }
    if (!S_ISSOCK(kind))
        *ret_blocks = !(fcntl(fd, F_GETFL) & O_NONBLOCK);
    return own_duplicate(fd, config->inheritable);
}

/* An option of a socket that is a number; 0 where there is none, or no socket. */
static int option_of(int fd, int option)
{
    int value = 0;
    socklen_t size = sizeof value;
    return wherry__sys.getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : 0;
}

static void socket_kind(struct wherry__link *link, int fd)
{
    int type = option_of(fd, SO_TYPE), domain = option_of(fd, SO_DOMAIN);
    link->kind = type == SOCK_STREAM ? WHERRY__LINK_SOCKET : WHERRY__LINK_PACKET;
    link->datagram = type == SOCK_DGRAM;
    if (domain != AF_UNIX)
        return;
    wherry__link_is_unix(link);
    wherry__credentials_ask(fd);
    wherry__socket_least(fd, 4 * WHERRY__PART_ATOM); /* a part must fit into the socket whole */
    struct wherry__credentials credentials;
    if (wherry__credentials_of_connection(fd, &credentials) == 0) {
        link->peer.has_credentials = true;
        link->peer.pid = credentials.pid;
        link->peer.uid = credentials.uid;
        link->peer.gid = credentials.gid;
    }
}

static int check_kinds(const struct wherry__config *config, const int fds[2], mode_t ret_kinds[2])
{
    struct stat status[2] = {0};
    for (int i = 0; i < 2; i++) {
        if (!(config->role & (i == 0 ? WHERRY_RECEIVE : WHERRY_SEND)))
            continue;
        if (wherry__sys.fstat(fds[i], &status[i]) != 0)
            return wherry__fail(EBADF, "%s: descriptor %d is not open", config->name, fds[i]);
        int result = check_access(config, fds[i], i == 1);
        if (result < 0)
            return result;
        ret_kinds[i] = status[i].st_mode;
    }
    if (config->role == WHERRY_BOTH && fds[0] != fds[1] && (S_ISSOCK(ret_kinds[0]) || S_ISSOCK(ret_kinds[1])))
        return wherry__fail(EINVAL, "%s: a socket is duplex by itself: name it once, as fd:N", config->name);
    int domain = option_of(fds[0], SO_DOMAIN);
    if (config->fds && domain != AF_UNIX)
        return wherry__fail(EOPNOTSUPP, "%s: descriptors come with messages on Unix sockets alone: leave fds= out",
                            config->name);
    bool listens = option_of(fds[0], SO_ACCEPTCONN);
    if (config->report_ends && !listens)
        return wherry__fail(EINVAL, "%s: descriptor %d has one peer at most: report_ends is for a socket that listens",
                            config->name, fds[0]);
    if (listens && domain != AF_UNIX && domain != AF_INET && domain != AF_INET6)
        return wherry__fail(EOPNOTSUPP, "%s: descriptor %d listens, but neither on a Unix socket nor for TCP",
                            config->name, fds[0]);
    return 0;
}

/* The descriptor we were given may carry the claim itself, from the endpoint that handed it over: take it along. */
static int claim_reading(const struct wherry__config *config, int given, int own)
{
    if (wherry__sys.flock(given, LOCK_EX | LOCK_NB) == 0)
        wherry__sys.flock(given, LOCK_UN);
    return wherry__pipe_claim_reading(own, config->name);
}

static int fd_check(const struct wherry__config *config)
{
    int fds[2];
    mode_t kinds[2];
    int result = parse(config, fds);
    return result < 0 ? result : check_kinds(config, fds, kinds);
}

static int open_listening(struct wherry__endpoint *endpoint, int fd)
{
    struct fd_state *state = endpoint->state;
    struct wherry__crowd *crowd = &state->u.crowd;
    bool is_unix = option_of(fd, SO_DOMAIN) == AF_UNIX;
    memset(&state->u, 0, sizeof state->u);
    endpoint->config->side = WHERRY_LISTEN; /* from now on close() looks for a crowd */
    int own = own_duplicate(fd, endpoint->config->inheritable);
    if (own < 0)
        return own;
    state->listener = crowd->listener = own;
    crowd->listener_home = &state->listener;
    if (is_unix)
        wherry__credentials_ask(own); /* who is accepted inherits it */
    int flags = fcntl(own, F_GETFL);
    if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) != 0)
        return wherry__fail_errno(errno, "%s: descriptor %d could not be kept from waiting", endpoint->config->name,
                                  fd);
    crowd->kind = option_of(fd, SO_TYPE) == SOCK_STREAM ? WHERRY__LINK_SOCKET : WHERRY__LINK_PACKET;
    crowd->plain = !is_unix;
    crowd->admit = is_unix ? wherry__unix_admit : wherry__tcp_admit;
    int result = wherry__crowd_start(endpoint);
    if (result == 0)
        release_number(fd);
    return result;
}

static int fd_open(struct wherry__endpoint *endpoint, wherry_time deadline)
{
    (void)deadline;
    struct fd_state *state = endpoint->state;
    struct wherry__link *link = &state->u.single.link;
    struct wherry__config *config = endpoint->config;
    state->listener = -1;
    wherry__pipe_link_init(link, endpoint, -1, -1);
    int fds[2];
    mode_t kinds[2] = {0, 0};
    int result = parse(config, fds);
    if (result == 0)
        result = check_kinds(config, fds, kinds);
    if (result < 0)
        return result;
    bool receives = config->role & WHERRY_RECEIVE, sends = config->role & WHERRY_SEND;
    mode_t kind = receives ? kinds[0] : kinds[1];
    bool is_socket = S_ISSOCK(kind);
    if (is_socket && option_of(receives ? fds[0] : fds[1], SO_ACCEPTCONN))
        return open_listening(endpoint, receives ? fds[0] : fds[1]);
    link->exact = wherry__reads_exactly(config, true);
    if (is_socket)
        socket_kind(link, receives ? fds[0] : fds[1]);
    else
        link->kind = S_ISFIFO(kind) ? WHERRY__LINK_PIPE : WHERRY__LINK_FILE;
    /* a socket has one writer as a rule: big records go out as they are, and frames, which can be split, are */
    if (link->kind != WHERRY__LINK_PIPE)
        link->atoms = link->atoms && link->kind == WHERRY__LINK_SOCKET && config->framing.kind == WHERRY__FRAME_LENGTH;
    bool blocks[2] = {false, false};
    if (result == 0 && (receives || is_socket))
        result = link->in_fd = take(config, receives ? fds[0] : fds[1], false, kind, &blocks[0]);
    if (result >= 0 && is_socket)
        link->out_fd = link->in_fd;
    else if (result >= 0 && sends)
        result = link->out_fd = take(config, fds[1], true, kinds[1], &blocks[1]);
    link->blocks = blocks[0] || blocks[1];
    if (result >= 0 && receives && link->kind == WHERRY__LINK_PIPE)
        result = claim_reading(config, fds[0], link->in_fd);
    if (result >= 0)
        result = wherry__single_start(endpoint);
    if (result < 0)
        return result;
    if (receives)
        release_number(fds[0]);
    if (sends && !(receives && fds[1] == fds[0]))
        release_number(fds[1]);
    return 0;
}

static int fd_adopt(struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? wherry__crowd_adopt(endpoint) : wherry__single_adopt(endpoint);
}

static int fd_peer_stats(struct wherry__endpoint *endpoint, uint64_t id, struct wherry_peer_stats *ret_stats)
{
    if (wherry__listens(endpoint))
        return wherry__crowd_peer_stats(endpoint, id, ret_stats);
    return wherry__fail(EOPNOTSUPP, "%s: descriptors have no connections to count on", endpoint->config->name);
}

static int fd_descriptors(struct wherry__endpoint *endpoint, int ret_fds[2])
{
    if (!wherry__listens(endpoint))
        return wherry__single_descriptors(endpoint, ret_fds);
    ret_fds[0] = ret_fds[1] = wherry__crowd_of(endpoint)->listener;
    return 0;
}

static void fd_close(struct wherry__endpoint *endpoint, bool own)
{
    struct fd_state *state = endpoint->state;
    if (!wherry__listens(endpoint)) {
        wherry__single_close(endpoint, own);
        return;
    }
    wherry__crowd_fini(endpoint); /* the socket's name is whose who made it */
    wherry__fd_close_from(endpoint->born, endpoint->config->inheritable, &state->listener);
}

#define FD_TRAITS(more)                                                                                                \
    {                                                                                                                  \
        .scheme = "fd",                                                                                                \
        .summary = "descriptors the process was given: standard input and output, an inherited socket",                \
        .object = "inherited descriptor", .sample = "fd:{fds}",                                                        \
        .bits = WHERRY_TRAIT_DESCRIPTOR | WHERRY__PIPE_TRAITS | WHERRY_TRAIT_DUPLEX | (more),                          \
    }

static const struct wherry_traits listening_traits = FD_TRAITS(WHERRY_TRAIT_LISTENS);

static const struct wherry_traits *fd_traits_of(const struct wherry__endpoint *endpoint)
{
    return wherry__listens(endpoint) ? &listening_traits : &endpoint->transport->traits;
}

const struct wherry__transport wherry__transport_fd = {
    .traits = FD_TRAITS(WHERRY_TRAIT_ENDS_FOR_EVER),
    .traits_of = fd_traits_of,
    .options = WHERRY__OPTION_FRAME | WHERRY__OPTION_WRITERS | WHERRY__OPTION_READ_AHEAD | WHERRY__OPTION_UID |
               WHERRY__OPTION_FDS | WHERRY__OPTION_ENDS,
    .roles = 1u << WHERRY_SEND | 1u << WHERRY_RECEIVE | 1u << WHERRY_BOTH,
    .state_size = sizeof(struct fd_state),
    .check = fd_check,
    .open = fd_open,
    .try_send = wherry__connected_try_send,
    .try_finish = wherry__connected_try_finish,
    .keep = wherry__connected_keep,
    .try_borrow = wherry__connected_try_borrow,
    .take_fds = wherry__connected_take_fds,
    .give_back = wherry__connected_give_back,
    .rescue = wherry__connected_rescue,
    .ready = wherry__connected_ready,
    .wait = wherry__connected_wait,
    .make_room = wherry__connected_make_room,
    .linger = wherry__connected_linger,
    .finish = wherry__connected_finish,
    .disconnect = wherry__connected_disconnect,
    .peer = wherry__connected_peer,
    .peer_pidfd = wherry__connected_peer_pidfd,
    .peer_stats = fd_peer_stats,
    .adopt = fd_adopt,
    .descriptors = fd_descriptors,
    .close = fd_close,
};
