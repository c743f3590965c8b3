/* inspect/unix.c - owns Unix sockets as the kernel lists them, and which two are the ends of one connection; unix(7).
 *
 * SPDX-License-Identifier: MIT
 *
 * A connection that nobody has accepted yet has no inode and is in no list: the listening socket tells who made it. */
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "inspect/collectors.h"
#include "inspect/sockets.h"

/* ---- names ---- */

/* As /proc/net/unix has them: an abstract name begins with "@", and its NULs are "@", too. */
static void set_name(struct object *object, const char *name, size_t length)
{
    char text[256] = "";
    if (object->public.name[0])
        return;
    if (length && name[0])
        length = strnlen(name, length);
    if (length > sizeof text - 1)
        length = sizeof text - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = name[i] ? name[i] : '@';
    object->public.name =
        length ? wherry__inspect_text(object->snapshot, "unix:%s", text)
               : wherry__inspect_text(object->snapshot, "unix:[%llu]", (unsigned long long)object->public.inode);
}

/* ---- by sock_diag ---- */

struct listing {
    struct snapshot *snapshot;
    struct net *net;
};

static uint32_t number_of(const struct nlattr *attribute)
{
    return mnl_attr_get_payload_len(attribute) >= sizeof(uint32_t) ? mnl_attr_get_u32(attribute) : 0;
}

static void take_waiting(struct snapshot *snapshot, struct end *end, const struct nlattr *attribute)
{
    size_t size = mnl_attr_get_payload_len(attribute);
    uint32_t *copy = wherry__inspect_memory(snapshot, size);
    if (!copy)
        return;
    memcpy(copy, mnl_attr_get_payload(attribute), size);
    end->local.waiting = copy;
    end->local.waiting_count = (uint32_t)(size / sizeof *copy);
}

static void take_queue(struct end *end, const struct unix_diag_rqlen *queue)
{
    if (end->state == STATE_LISTEN) { /* connections, not bytes */
        end->object->public.messages = queue->udiag_rqueue;
        end->object->public.limit = queue->udiag_wqueue;
    } else {
        end->object->public.used = queue->udiag_rqueue;
        end->local.sent = queue->udiag_wqueue;
    }
}

static void take_attributes(struct snapshot *snapshot, struct end *end, const struct nlattr *const *attributes)
{
    const struct nlattr *name = attributes[UNIX_DIAG_NAME], *file = attributes[UNIX_DIAG_VFS];
    const struct nlattr *queue = attributes[UNIX_DIAG_RQLEN];
    set_name(end->object, name ? mnl_attr_get_payload(name) : "", name ? mnl_attr_get_payload_len(name) : 0);
    if (file && mnl_attr_get_payload_len(file) >= sizeof(struct unix_diag_vfs)) {
        const struct unix_diag_vfs *vfs = mnl_attr_get_payload(file);
        end->local.device = vfs->udiag_vfs_dev;
        end->local.inode = vfs->udiag_vfs_ino;
    }
    end->local.has_peer = attributes[UNIX_DIAG_PEER];
    end->local.peer = attributes[UNIX_DIAG_PEER] ? number_of(attributes[UNIX_DIAG_PEER]) : 0;
    if (attributes[UNIX_DIAG_ICONS])
        take_waiting(snapshot, end, attributes[UNIX_DIAG_ICONS]);
    if (queue && mnl_attr_get_payload_len(queue) >= sizeof(struct unix_diag_rqlen))
        take_queue(end, mnl_attr_get_payload(queue));
    if (attributes[UNIX_DIAG_SHUTDOWN] && mnl_attr_get_payload_len(attributes[UNIX_DIAG_SHUTDOWN]) >= 1)
        end->local.shutdown = mnl_attr_get_u8(attributes[UNIX_DIAG_SHUTDOWN]) & 3;
    if (attributes[UNIX_DIAG_UID])
        end->object->public.uid = number_of(attributes[UNIX_DIAG_UID]);
}

static void take(const struct nlmsghdr *answer, void *argument)
{
    const struct listing *listing = argument;
    const struct unix_diag_msg *message = mnl_nlmsg_get_payload(answer);
    const struct nlattr *attributes[UNIX_DIAG_MAX + 1];
    if (mnl_nlmsg_get_payload_len(answer) < sizeof *message || message->udiag_family != AF_UNIX)
        return;
    struct end *end = wherry__end(listing->snapshot, listing->net, WHERRY_INSPECT_UNIX, message->udiag_ino, 0);
    if (!end)
        return;
    end->type = message->udiag_type;
    end->state = message->udiag_state;
    wherry__diag_attributes(answer, sizeof *message, attributes, UNIX_DIAG_MAX);
    take_attributes(listing->snapshot, end, attributes);
}

/* Who waits to be accepted is asked once: thousands of them do not fit an answer, and the list would end there. */
int wherry__unix_list(struct snapshot *snapshot, struct net *net, int diag)
{
    struct listing listing = {snapshot, net};
    struct unix_diag_req request = {
        .sdiag_family = AF_UNIX,
        .udiag_states = UINT32_MAX,
        .udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN | UDIAG_SHOW_UID |
                      (wherry__sockets(snapshot)->again ? 0 : UDIAG_SHOW_ICONS),
    };
    return wherry__diag_list(diag, &request, sizeof request, take, &listing);
}

/* ---- by /proc/net/unix: neither peers nor queues ---- */

/* "00000000a1b2c3d4: 00000002 00000000 00010000 0001 01 20345 /run/a"; paths may hold anything, a newline too. */
static void take_line(struct snapshot *snapshot, struct net *net, const char *line)
{
    unsigned long long inode;
    unsigned flags, type, state;
    int at = 0;
    if (sscanf(line, "%*x: %*x %*x %x %x %x %llu%n", &flags, &type, &state, &inode, &at) != 4 || !inode)
        return;
    struct end *end = wherry__end(snapshot, net, WHERRY_INSPECT_UNIX, inode, 0);
    if (!end)
        return;
    end->type = (uint8_t)type;
    end->state = flags & 0x10000 ? STATE_LISTEN : state == 3 ? STATE_ESTABLISHED : STATE_CLOSE;
    end->local.has_peer = end->state == STATE_ESTABLISHED;
    const char *name = line + at + (line[at] == ' ');
    set_name(end->object, name, strlen(name));
    if (end->local.has_peer && !wherry__sockets(snapshot)->again && !net->starved)
        wherry__inspect_hide(snapshot, "peers of Unix sockets",
                             "have the kernel list them: load its module unix_diag, or run it as root", 1);
}

int wherry__unix_list_proc(struct snapshot *snapshot, struct net *net, int directory)
{
    char *text, *rest;
    size_t size;
    int result = wherry__proc_read_all(snapshot, directory, "unix", &text, &size);
    if (result < 0)
        return result;
    net->no_peers = true;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        take_line(snapshot, net, line);
    return 0;
}

/* The kernel lists the lower 32 bits of the inode, and the device by its own way of packing the numbers. */
bool wherry__unix_bound_to(const struct object *object, const struct statx *status)
{
    const struct end *end = object->data;
    return object->public.kind == WHERRY_INSPECT_UNIX && object->space == SPACE_SOCKET && end && end->local.inode &&
           end->local.inode == (uint32_t)status->stx_ino &&
           end->local.device == (status->stx_dev_major << 20 | status->stx_dev_minor);
}

/* ---- joining ---- */

static const char *type_name(const struct end *end)
{
    return end->type == SOCK_STREAM ? "stream" : end->type == SOCK_SEQPACKET ? "seqpacket" : "dgram";
}

static struct end *end_of(const struct snapshot *snapshot, uint32_t inode)
{
    struct object *object = inode ? wherry__inspect_known(snapshot, SPACE_SOCKET, inode, 0) : NULL;
    return object && object->public.kind == WHERRY_INSPECT_UNIX ? object->data : NULL;
}

/* Descriptors come with at least a byte on a stream; else also with an empty message, which no list shows.  That one is
 * from its peer, if it has one, and counted there as sent; or from anybody, if it has an address. */
bool wherry__unix_may_carry(const struct end *end)
{
    if (end->state == STATE_LISTEN)
        return false;
    if (!end->net || end->net->no_peers || end->object->public.used > 0)
        return true;
    if (end->type == SOCK_STREAM)
        return false;
    if (!end->local.has_peer)
        return end->type == SOCK_DGRAM && !wherry__begins(end->object->public.name, "unix:[");
    const struct end *peer = end_of(end->object->snapshot, end->local.peer);
    return !peer || !peer->net || peer->local.sent;
}

/* The connections that nobody has accepted yet: each an object that nobody holds. */
static void join_waiting(struct snapshot *snapshot, struct end *listener)
{
    for (uint32_t i = 0; i < listener->local.waiting_count; i++) {
        struct end *client = end_of(snapshot, listener->local.waiting[i]);
        if (client && (client->object->drop || client->local.peer))
            continue; /* accepted meanwhile */
        uint64_t cookie = client ? listener->local.waiting[i] : UINT64_C(1) << 63 | listener->object->a << 24 | i;
        struct object *object = wherry__inspect_object(snapshot, WHERRY_INSPECT_UNIX, SPACE_SOCKET, 0, cookie, NULL);
        struct end *end = object ? wherry__inspect_memory(snapshot, sizeof *end) : NULL;
        if (!end || object->data)
            continue;
        *end = (struct end){.object = object, .net = listener->net, .type = listener->type, .listener = listener};
        object->data = end;
        object->public.name = listener->object->public.name;
        object->public.space = listener->object->public.space;
        object->public.flags = WHERRY_INSPECT_TRACKED | WHERRY_INSPECT_PENDING |
                               (client ? WHERRY_INSPECT_CONNECTED : 0) |
                               (listener->object->public.flags & WHERRY_INSPECT_ELSEWHERE);
        object->public.detail = wherry__inspect_text(snapshot, "%s, not accepted yet%s", type_name(end),
                                                     client ? "" : ", and closed by who connected");
        wherry__inspect_link(object, listener->object, WHERRY_INSPECT_QUEUED, "sock_diag");
        /* in there, nobody can see what was sent with the bytes */
        snapshot->in_flight += !client || client->local.sent;
        if (client) {
            client->listener = listener;
            wherry__inspect_link(client->object, object, WHERRY_INSPECT_PEER, "sock_diag");
        }
    }
}

static void join_peer(struct snapshot *snapshot, struct end *end)
{
    struct end *peer = end_of(snapshot, end->local.peer);
    if (!peer || peer->object->drop)
        return;
    bool both = peer->local.has_peer && peer->local.peer == end->object->a;
    wherry__inspect_link(end->object, peer->object, WHERRY_INSPECT_PEER,
                         both ? "sock_diag" : "sock_diag, one way: it sends there");
}

static const char *connection(const struct end *end)
{
    static const char *const halves[] = {"connected", "connected, receives no more", "connected, sends no more",
                                         "connected, shut down both ways"};
    if (end->type == SOCK_DGRAM)
        return end->local.has_peer ? "connected" : "unconnected";
    if (end->net->no_peers)
        return end->local.has_peer ? "connected" : "unconnected";
    if (!end->local.has_peer)
        return "unconnected";
    if (end->local.peer)
        return halves[end->local.shutdown];
    return end->listener ? "connected, not accepted yet" : "its peer has closed";
}

static void describe(struct snapshot *snapshot, struct end *end)
{
    struct wherry_inspect_object *public = &end->object->public;
    if (end->state == STATE_LISTEN) {
        public->flags |= WHERRY_INSPECT_LISTENING;
        public->detail = public->limit < 0
                             ? wherry__inspect_text(snapshot, "%s, listening", type_name(end))
                             : wherry__inspect_text(snapshot, "%s, listening, %lld of %lld wait", type_name(end),
                                                    (long long)public->messages, (long long)public->limit);
        return;
    }
    if (end->local.peer || (end->net->no_peers && end->local.has_peer) || (end->local.has_peer && end->listener))
        public->flags |= WHERRY_INSPECT_CONNECTED;
    public->detail = wherry__inspect_text(snapshot, "%s, %s", type_name(end), connection(end));
}

void wherry__unix_join(struct snapshot *snapshot)
{
    struct end *list = wherry__sockets(snapshot)->local;
    for (struct end *end = list; end; end = end->next)
        if (end->local.waiting_count && !end->object->drop)
            join_waiting(snapshot, end);
    for (struct end *end = list; end; end = end->next) {
        if (end->local.peer && !end->object->drop)
            join_peer(snapshot, end);
        describe(snapshot, end);
    }
}

/* ---- states ---- */

/* A socket file: if a socket that could not be seen may be bound to it, that is not known. */
static void state(struct object *object)
{
    const struct sockets *sockets = wherry__sockets(object->snapshot);
    struct wherry_inspect_object *public = &object->public;
    if (object->space != SPACE_FILE) {
        wherry__end_state(object);
        return;
    }
    if (object->path && wherry__mounts_overlaid(object->snapshot, object->path)) {
        public->state = WHERRY_INSPECT_UNKNOWN;
        public->reason = "it lies beneath an overlay, and who is bound to it there knows it by another inode";
        public->flags &= ~WHERRY_INSPECT_OWNER_DEAD;
        object->path = NULL; /* the kernel cannot be asked by it either */
        return;
    }
    if (public->state == WHERRY_INSPECT_ORPHAN && !sockets->local_unlisted && !sockets->nets_failed && !object->data) {
        public->reason = "no socket is bound to this file any more";
        return;
    }
    public->state = WHERRY_INSPECT_UNKNOWN;
    public->reason = object->data ? "which sockets are bound to files of this file system cannot be told for certain"
                                  : "no socket that could be seen is bound to this file, but not all could be seen";
}

const struct collector wherry__collector_unix = {
    .name = "unix",
    .summary = "an end of a Unix socket, or its file",
    .state = state,
};
