/* inspect/socket.c - owns which kind of socket a descriptor leads to, and the order in which sockets are listed and
 * joined; sockets of other families: netlink, raw, packet, vsock.
 *
 * SPDX-License-Identifier: MIT
 *
 * What a list has shown costs no system call here.  Of the rest getxattr(2) tells the protocol: sockets of other
 * families, TCP and UDP sockets that are not bound yet, those of a namespace that nobody is in, and those made a
 * moment ago; for these the namespaces are listed once more after the walk. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

#include "base/fd.h"
#include "base/sys.h"
#include "inspect/collectors.h"
#include "inspect/describe.h"
#include "inspect/sockets.h"

static bool wants_any(const struct snapshot *snapshot)
{
    return wherry__inspect_wants(snapshot, WHERRY_INSPECT_UNIX) ||
           wherry__inspect_wants(snapshot, WHERRY_INSPECT_TCP) || wherry__inspect_wants(snapshot, WHERRY_INSPECT_UDP) ||
           wherry__inspect_wants(snapshot, WHERRY_INSPECT_SOCKET);
}

static int list(struct snapshot *snapshot)
{
    struct timespec now;
    struct sockets *sockets = wherry__inspect_memory(snapshot, sizeof *sockets);
    if (!sockets)
        return -ENOMEM;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    sockets->began = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    snapshot->data[WHERRY_INSPECT_SOCKET] = sockets;
    /* the sockets of the thread that asks are listed, and it may be elsewhere than the first one */
    char link[64];
    ssize_t length = wherry__sys.readlinkat(AT_FDCWD, "/proc/thread-self/ns/net", link, sizeof link - 1);
    if (length > (ssize_t)strlen("net:[")) {
        link[length] = 0;
        snapshot->net_space = strtoull(link + strlen("net:["), NULL, 10);
    }
    wherry__nets_own(snapshot);
    return 0;
}

struct end *wherry__end(struct snapshot *snapshot, struct net *net, enum wherry_inspect_kind kind, uint64_t inode,
                        uint64_t cookie)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    struct object *object = sockets->again ? wherry__inspect_known(snapshot, SPACE_SOCKET, inode, cookie)
                                           : wherry__inspect_object(snapshot, kind, SPACE_SOCKET, inode, cookie, NULL);
    struct end *end = object ? object->data : NULL;
    if (!object || (!end && !(end = object->data = wherry__inspect_memory(snapshot, sizeof *end))))
        return NULL;
    end->again = sockets->again;
    if (end->net && object->public.kind == kind)
        return end; /* a second look at it; its name stays */
    struct end **list = kind == WHERRY_INSPECT_UNIX  ? &sockets->local
                        : kind == WHERRY_INSPECT_TCP ? &sockets->tcp
                                                     : &sockets->udp;
    size_t *count = kind == WHERRY_INSPECT_UNIX  ? &sockets->local_count
                    : kind == WHERRY_INSPECT_TCP ? &sockets->tcp_count
                                                 : &sockets->udp_count;
    if (end->net)
        return NULL; /* two kinds by one inode: the first */
    end->object = object;
    end->net = net;
    end->next = *list;
    *list = end;
    ++*count;
    object->public.kind = kind;
    object->public.name = "";
    object->public.inode = inode;
    object->public.space = net->space;
    object->public.flags = WHERRY_INSPECT_TRACKED | (net->own ? 0 : WHERRY_INSPECT_ELSEWHERE);
    return end;
}

/* ---- descriptors ---- */

static const struct {
    const char *protocol;
    enum wherry_inspect_kind kind;
} protocols[] = {
    {"UNIX", WHERRY_INSPECT_UNIX}, {"UNIX-STREAM", WHERRY_INSPECT_UNIX}, {"TCP", WHERRY_INSPECT_TCP},
    {"TCPv6", WHERRY_INSPECT_TCP}, {"UDP", WHERRY_INSPECT_UDP},          {"UDPv6", WHERRY_INSPECT_UDP},
};

static enum wherry_inspect_kind kind_of(struct visit *visit, const char **ret_protocol)
{
    char path[64], protocol[64] = "";
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", visit->directory, visit->number);
    ssize_t size = wherry__sys.getxattr(path, "system.sockprotoname", protocol, sizeof protocol - 1);
    protocol[size > 0 ? size : 0] = 0;
    *ret_protocol = size > 0 ? wherry__inspect_text(visit->snapshot, "%s", protocol) : "";
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocol, protocols[i].protocol) == 0)
            return protocols[i].kind;
    return WHERRY_INSPECT_SOCKET;
}

static struct object *make_unlisted(struct visit *visit, uint64_t inode)
{
    const char *protocol;
    struct sockets *sockets = wherry__sockets(visit->snapshot);
    enum wherry_inspect_kind kind = kind_of(visit, &protocol);
    struct object *object = wherry__inspect_object(visit->snapshot, kind, SPACE_SOCKET, inode, 0, NULL);
    struct end *end = object ? wherry__inspect_memory(visit->snapshot, sizeof *end) : NULL;
    if (!end)
        return NULL;
    object->data = end;
    end->object = object;
    end->next_unlisted = sockets->unlisted;
    sockets->unlisted = end;
    object->public.inode = inode;
    object->public.flags = WHERRY_INSPECT_TRACKED;
    object->public.detail = protocol;
    if (wherry__visit_status(visit))
        object->public.uid = visit->status.stx_uid;
    return object;
}

/* Descriptors that lie in the queue of a Unix socket have no number in any process: whatever nobody has open may be
 * there. */
static void look_for_descriptors(struct visit *visit, struct end *end)
{
    uint64_t count;
    if (end->asked || end->object->public.kind != WHERRY_INSPECT_UNIX || !wherry__unix_may_carry(end))
        return;
    end->asked = true;
    if (wherry__visit_number(visit, "scm_fds", 10, &count))
        visit->snapshot->in_flight += count;
}

static void descriptor(struct visit *visit)
{
    struct snapshot *snapshot = visit->snapshot;
    uint64_t inode = strtoull(visit->link + strlen("socket:["), NULL, 10);
    wherry__nets_meet(snapshot, visit->process->public.net_space, visit->process->public.pid, visit->directory,
                      "../ns/net", "../net");
    struct object *object = wherry__inspect_known(snapshot, SPACE_SOCKET, inode, 0);
    if (!object && wants_any(snapshot))
        object = make_unlisted(visit, inode);
    if (!object)
        return;
    if (object->data)
        look_for_descriptors(visit, object->data);
    visit->has_access = true; /* a socket always does both */
    visit->access = 6;
    wherry__visit_hold(visit, object);
}

/* ---- joining ---- */

/* Those of a kind that is not wanted were not listed the first time either. */
static bool is_listed_kind(const struct snapshot *snapshot, enum wherry_inspect_kind kind)
{
    return kind == WHERRY_INSPECT_UNIX || (kind != WHERRY_INSPECT_SOCKET && wherry__inspect_wants(snapshot, kind));
}

static bool is_of_use_again(const struct snapshot *snapshot)
{
    const struct sockets *sockets = wherry__sockets(snapshot);
    const struct end *const lists[] = {sockets->local, sockets->tcp, sockets->udp};
    for (const struct end *end = sockets->unlisted; end; end = end->next_unlisted)
        if (!end->net && is_listed_kind(snapshot, end->object->public.kind))
            return true;
    for (size_t i = 0; i < 3; i++)
        for (const struct end *end = lists[i]; end; end = end->next)
            if (!end->object->public.holds && end->object->public.inode)
                return true;
    return false;
}

/* Another thread of who holds it may be in the namespace that it is of. */
static void ask_threads(struct snapshot *snapshot)
{
    const struct process *asked = NULL;
    for (const struct end *end = wherry__sockets(snapshot)->unlisted; end; end = end->next_unlisted) {
        if (end->net || !is_listed_kind(snapshot, end->object->public.kind))
            continue;
        for (const struct hold *hold = end->object->holds; hold; hold = hold->next_of_object) {
            const struct process *process = (const void *)hold->public.process;
            if (process->threads > 1 && process != asked)
                wherry__nets_of_threads(snapshot, process);
            asked = process;
        }
    }
}

/* Those that ended during the walk. */
static void drop_ended(struct end *list)
{
    for (struct end *end = list; end; end = end->next)
        if (!end->object->public.holds && end->net->again && !end->again)
            end->object->drop = true;
}

/* One that a process made and closed during the walk is in no list either, and nothing of it was hidden. */
static bool is_still_held(const struct end *end)
{
    char path[48], link[64], wanted[32];
    int length = snprintf(wanted, sizeof wanted, "socket:[%llu]", (unsigned long long)end->object->public.inode);
    for (const struct hold *hold = end->object->holds; hold; hold = hold->next_of_object) {
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)hold->public.process->pid, hold->public.fd);
        if (wherry__sys.readlinkat(AT_FDCWD, path, link, sizeof link) == length &&
            memcmp(link, wanted, (size_t)length) == 0)
            return true;
    }
    return false;
}

static void describe_unlisted(struct snapshot *snapshot, struct end *end)
{
    struct wherry_inspect_object *public = &end->object->public;
    const struct collector *collector = wherry__collectors[public->kind];
    public->name = wherry__inspect_text(snapshot, "%s:[%llu]", collector->name, (unsigned long long)public->inode);
    if (public->kind == WHERRY_INSPECT_UNIX) {
        public->detail =
            "of a network namespace that cannot be listed, since no process was seen in it: its peer is unknown";
        wherry__sockets(snapshot)->local_unlisted++;
        if (!wherry__sockets(snapshot)->nets_failed && is_still_held(end))
            wherry__inspect_hide(snapshot, "peers of Unix sockets of network namespaces that nobody is in",
                                 "the kernel lists them only to a process that is in their namespace", 1);
    } else if (public->kind != WHERRY_INSPECT_SOCKET) {
        public->detail = "neither bound nor connected, or of a network namespace that cannot be listed";
    }
}

static int join(struct snapshot *snapshot)
{
    struct sockets *sockets = wherry__sockets(snapshot);
    wherry__nets_rest(snapshot);
    ask_threads(snapshot);
    wherry__nets_count(snapshot);
    if (is_of_use_again(snapshot)) {
        wherry__nets_again(snapshot);
        drop_ended(sockets->local);
        drop_ended(sockets->tcp);
        drop_ended(sockets->udp);
    }
    for (struct end *end = sockets->unlisted; end; end = end->next_unlisted)
        if (!end->net)
            describe_unlisted(snapshot, end);
    wherry__unix_join(snapshot);
    if (wherry__inspect_wants(snapshot, WHERRY_INSPECT_UNIX))
        wherry__unix_files(snapshot);
    wherry__tcp_join(snapshot);
    wherry__udp_join(snapshot);
    return 0;
}

void wherry__end_state(struct object *object)
{
    const struct end *end = object->data;
    struct wherry_inspect_object *public = &object->public;
    if (!end || public->holds)
        return;
    if (public->flags & WHERRY_INSPECT_PENDING) {
        bool awaited = end->listener && end->listener->object->public.holds;
        public->state = awaited ? WHERRY_INSPECT_LIVE : WHERRY_INSPECT_UNKNOWN;
        public->reason = awaited ? "who listens has not accepted it yet" : "nobody was seen who could accept it";
    } else if (!public->inode) {
        public->state = WHERRY_INSPECT_ORPHAN;
        public->reason = "its process has closed it; the kernel ends it when the connection has ended";
    } else if (public->state == WHERRY_INSPECT_ORPHAN) {
        public->state = WHERRY_INSPECT_UNKNOWN;
        public->reason =
            "the kernel has it open, but no process was seen to: it is on its way in a message, the kernel's "
            "own, or went from one process to another meanwhile";
    }
}

const struct collector wherry__collector_socket = {
    .name = "socket",
    .summary = "a socket of another family: netlink, raw, packet, vsock",
    .list = list,
    .link = "socket:[",
    .descriptor = descriptor,
    .join = join,
    .state = wherry__end_state,
};
