/* inspect/find.c - owns which objects a name means: as objects print it, a channel's URL, a path, or an inode.
 *
 * SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/base.h>

#include "base/object.h"
#include "base/sys.h"
#include "base/url.h"
#include "base/why.h"
#include "inspect/collectors.h"
#include "inspect/inet.h"
#include "inspect/snapshot.h"
#include "socket/resolve.h"

/* ---- what a name is ---- */

enum form {
    PATH,   /* of a file; or of no form that is known */
    LOCAL,  /* of a Unix socket: a path, or an abstract name */
    RING,   /* shm: */
    QUEUE,  /* mq: */
    SYSV,   /* sysv: */
    INET,   /* tcp: and udp: */
    PRINTED /* as an object of another kind prints it */
};

static const struct {
    const char *scheme;
    enum form form;
} schemes[] = {
    {"file", PATH},  {"lock", PATH},           {"fifo", PATH},       {"unix", LOCAL},
    {"shm", RING},   {"unix+seqpacket", LOCAL}, {"unix+dgram", LOCAL}, {"mq", QUEUE},
    {"sysv", SYSV},  {"tcp", INET},            {"udp", INET},
};

static bool is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

/* *ret_prefix: the bytes of a scheme that is known, with its colon; 0. */
static enum form form_of(const char *name, size_t *ret_prefix)
{
    size_t length = strcspn(name, ":");
    *ret_prefix = 0;
    if (name[0] == '/' || name[0] == '.' || !name[length])
        return PATH;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (is_word(name, length, schemes[i].scheme)) {
            *ret_prefix = length + 1;
            return schemes[i].form;
        }
    for (int kind = 0; kind < WHERRY_INSPECT_KINDS; kind++)
        if (is_word(name, length, wherry__collectors[kind]->name))
            return PRINTED;
    return PATH;
}

/* ---- the paths of it ---- */

static void add_path(struct paths *paths, const char *path)
{
    if (!path[0] || strlen(path) >= sizeof paths->list[0] || (paths->count && strcmp(paths->list[0], path) == 0))
        return;
    strcpy(paths->list[paths->count++], path);
}

/* A ring between two uids is a memfd; who keeps it gives it out at a socket in a directory of its own; ring/door.h. */
static void add_doors(struct paths *paths, const struct wherry__url *url)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < url->option_count; i++) {
        const char *value = strcmp(url->options[i].key, "share") == 0 ? url->options[i].value : NULL;
        unsigned long uids[] = {geteuid(), value ? strtoul(value, NULL, 10) : 0};
        for (int k = 0; value && k < 2; k++)
            if (snprintf(path, sizeof path, "/dev/shm/wherry-%lu-shared/%s", uids[k],
                         url->has_authority ? url->authority : url->path) < (int)sizeof path)
                add_path(paths, path);
    }
}

/* A name as an object prints it and a URL, which is percent-decoded and may have options, look alike: the file that is
 * called just so comes first. */
void wherry__find_paths(const char *name, struct paths *ret_paths)
{
    size_t prefix;
    enum form form = form_of(name, &prefix);
    const char *rest = name + prefix;
    struct wherry__url url;
    ret_paths->count = 0;
    if (form != PATH && form != LOCAL && form != RING)
        return;
    if (prefix && wherry__begins(rest, "//"))
        rest += 2;
    if (form != RING && !(form == LOCAL && rest[0] == '@'))
        add_path(ret_paths, rest);
    if (!prefix || wherry__url_init(&url, name) < 0)
        return;
    if (form == RING)
        add_doors(ret_paths, &url);
    else if (!url.authority[0] && !(form == LOCAL && url.path[0] == '@'))
        add_path(ret_paths, url.path);
    wherry__url_fini(&url);
}

/* ---- what is wanted ---- */

/* A file at a path, by device and inode: it may have had another name when it was opened, and one that is called so may
 * be another, of before or of another mount namespace.  On a remote file system by its name: it is not asked. */
struct place {
    bool there, remote;
    bool plain; /* its device is the one that the kernel lists */
    int refused; /* EACCES; 0 */
    char resolved[PATH_MAX];
    struct statx status;
    const struct object *file;
};

struct wanted {
    const char *name;
    enum wherry_inspect_kind only; /* of what goes by its path; WHERRY_INSPECT_KINDS: any */
    struct paths paths;
    struct place place;
    char other[PATH_MAX + 16]; /* as the object prints it; "" */
    bool by_id;                /* kind and number of a System V object */
    bool bound;                /* kind and addresses of a TCP or UDP socket */
    enum wherry_inspect_kind kind;
    uint64_t id;
    int address_count;
    struct address addresses[WHERRY__INET_ADDRESSES];
};

static bool look_at(const struct snapshot *snapshot, const char *path, struct place *place)
{
    struct statx *status = &place->status;
    bool resolved = wherry__mounts_resolve(snapshot, path, place->resolved, &place->remote);
    if (place->remote)
        return place->there = resolved;
    place->there =
        wherry__sys.statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO | STATX_MNT_ID, status) == 0;
    if (!place->there) {
        place->refused = errno == EACCES ? EACCES : place->refused;
        return false;
    }
    place->plain = wherry__mounts_plain(snapshot, status);
    place->file = wherry__inspect_known(snapshot, SPACE_FILE,
                                        wherry__device(status->stx_dev_major, status->stx_dev_minor), status->stx_ino);
    return true;
}

static void want_path(const struct snapshot *snapshot, struct wanted *wanted)
{
    wherry__find_paths(wanted->name, &wanted->paths);
    for (size_t i = 0; i < wanted->paths.count; i++)
        if (look_at(snapshot, wanted->paths.list[i], &wanted->place))
            return;
}

static void want_sysv(struct wanted *wanted, const struct wherry__url *url)
{
    key_t key;
    int result = url->has_authority ? 0 : wherry__object_hex_key(&key, wanted->name, url->path);
    for (size_t i = 0; i < url->option_count && result == 0; i++)
        if (strcmp(url->options[i].key, "id") == 0 && url->options[i].value)
            result = wherry__object_key(&key, wanted->name, url->path, url->options[i].value) < 0 ? -1 : 1;
    if (result > 0)
        snprintf(wanted->other, sizeof wanted->other, "sysv-msg:0x%x", (unsigned)key);
}

static struct address address_of(const struct wherry__inet_address *from)
{
    struct address address = {.ip = {[10] = 0xff, [11] = 0xff}};
    const struct sockaddr_in *v4 = (const void *)&from->address;
    const struct sockaddr_in6 *v6 = (const void *)&from->address;
    if (from->address.ss_family == AF_INET)
        memcpy(address.ip + 12, &v4->sin_addr, 4);
    else
        memcpy(address.ip, &v6->sin6_addr, 16);
    address.port = ntohs(from->address.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    return address;
}

static void want_inet(struct wanted *wanted, const struct wherry__url *url)
{
    const wherry_time most = 5 * WHERRY_SECOND;
    struct wherry__inet_place place;
    struct wherry__inet_list list;
    if (wherry__inet_parse(&place, url, true) < 0 ||
        wherry__inet_resolve(&place, strcmp(place.host, "*") == 0, wherry_after(most), &list) < 0)
        return;
    wanted->bound = true;
    wanted->kind = strcmp(url->scheme, "tcp") == 0 ? WHERRY_INSPECT_TCP : WHERRY_INSPECT_UDP;
    for (int i = 0; i < list.count; i++)
        wanted->addresses[wanted->address_count++] = address_of(&list.addresses[i]);
}

static void want_url(struct wanted *wanted, enum form form)
{
    struct wherry__url url;
    if (wherry__url_init(&url, wanted->name) < 0)
        return;
    const char *place = url.has_authority && url.authority[0] ? url.authority : url.path;
    if (form == LOCAL && place == url.path && place[0] == '@')
        snprintf(wanted->other, sizeof wanted->other, "unix:%s", place);
    else if (form == RING && !wanted->paths.count)
        snprintf(wanted->other, sizeof wanted->other, "ring:%s", place);
    else if (form == QUEUE)
        snprintf(wanted->other, sizeof wanted->other, "posix-mq:/%s", place + (place[0] == '/'));
    else if (form == SYSV)
        want_sysv(wanted, &url);
    else if (form == INET)
        want_inet(wanted, &url);
    wherry__url_fini(&url);
}

/* Of an object that outlives processes: a key, a number or a name may be written in several ways. */
static void want_printed(struct wanted *wanted)
{
    static const enum wherry_inspect_kind kinds[] = {
        [WHERRY__POSIX_SHM] = WHERRY_INSPECT_POSIX_SHM, [WHERRY__POSIX_SEM] = WHERRY_INSPECT_POSIX_SEM,
        [WHERRY__POSIX_MQ] = WHERRY_INSPECT_POSIX_MQ,   [WHERRY__SYSV_SHM] = WHERRY_INSPECT_SYSV_SHM,
        [WHERRY__SYSV_SEM] = WHERRY_INSPECT_SYSV_SEM,   [WHERRY__SYSV_MSG] = WHERRY_INSPECT_SYSV_MSG,
    };
    const unsigned all = (1u << sizeof kinds / sizeof *kinds) - 1;
    struct wherry__object object;
    if ((!wherry__begins(wanted->name, "posix-") && !wherry__begins(wanted->name, "sysv-")) ||
        wherry__object_parse(&object, wanted->name, all) < 0)
        return;
    wanted->kind = kinds[object.type];
    wanted->by_id = object.by_id;
    wanted->id = (uint64_t)object.id;
    const char *word = wherry_inspect_kind_name(wanted->kind);
    if (object.name[0])
        snprintf(wanted->other, sizeof wanted->other, "%s:%s", word, object.name);
    else if (!object.by_id)
        snprintf(wanted->other, sizeof wanted->other, "%s:0x%x", word, (unsigned)object.key);
}

static void want(const struct snapshot *snapshot, const char *name, struct wanted *wanted)
{
    size_t prefix;
    enum form form = form_of(name, &prefix);
    *wanted = (struct wanted){.name = name, .only = WHERRY_INSPECT_KINDS};
    if (form == LOCAL)
        wanted->only = WHERRY_INSPECT_UNIX;
    else if (prefix && wherry__begins(name, "fifo:"))
        wanted->only = WHERRY_INSPECT_FIFO;
    want_path(snapshot, wanted);
    if (form == PRINTED)
        want_printed(wanted);
    else if (prefix && (form != INET || wherry__begins(name + prefix, "//")))
        want_url(wanted, form);
}

/* ---- whether an object is it ---- */

static bool is_called(const struct wanted *wanted, const struct object *object)
{
    const char *name = object->public.name;
    enum wherry_inspect_kind kind = object->public.kind;
    if (strcmp(name, wanted->name) == 0 || (wanted->other[0] && strcmp(name, wanted->other) == 0))
        return true;
    if (wanted->place.remote && wanted->place.there && strcmp(name, wanted->place.resolved) == 0)
        return true;
    if (wanted->only != WHERRY_INSPECT_KINDS && wanted->only != kind)
        return false;
    if ((kind == WHERRY_INSPECT_UNIX && wherry__begins(name, "unix:")) ||
        (kind == WHERRY_INSPECT_FIFO && wherry__begins(name, "fifo:")))
        name += strlen("unix:");
    for (size_t i = 0; i < wanted->paths.count; i++)
        if (strcmp(name, wanted->paths.list[i]) == 0)
            return true;
    return false;
}

/* Something is at the path: what else is called so is something else.  By the name only where the kernel lists another
 * device than the file shows (btrfs, overlayfs), or no file of a socket. */
static bool is_there(const struct wanted *wanted, const struct object *object)
{
    const struct place *place = &wanted->place;
    const struct statx *status = &place->status;
    const struct end *end = object->public.kind == WHERRY_INSPECT_UNIX && object->space == SPACE_SOCKET ? object->data
                                                                                                        : NULL;
    if (end && object->public.flags & WHERRY_INSPECT_PENDING && end->listener)
        return is_there(wanted, end->listener->object); /* it is called as who is to accept it */
    if (object == place->file || wherry__unix_bound_to(object, status))
        return true;
    if (object->space == SPACE_FILE &&
        (place->plain || object->a == wherry__device(status->stx_dev_major, status->stx_dev_minor)))
        return false;
    if (end && end->local.inode &&
        (place->plain || end->local.device == (status->stx_dev_major << 20 | status->stx_dev_minor)))
        return false;
    return is_called(wanted, object);
}

static bool is_bound(const struct wanted *wanted, const struct object *object)
{
    const struct end *end = object->data;
    if (!wanted->bound || object->public.kind != wanted->kind || object->space != SPACE_SOCKET || !end ||
        end->inet.there.port)
        return false;
    for (int i = 0; i < wanted->address_count; i++)
        if (wherry__address_same(&wanted->addresses[i], &end->inet.here))
            return true;
    return false;
}

static bool is_inode(const char *name, const struct object *object)
{
    char *end;
    if (name[0] != '[')
        return false;
    uint64_t inode = strtoull(name + 1, &end, 10);
    return strcmp(end, "]") == 0 && (object->space == SPACE_PIPE || object->space == SPACE_SOCKET) &&
           object->a == inode;
}

static bool is_wanted(const struct wanted *wanted, const struct object *object)
{
    if (is_inode(wanted->name, object))
        return true;
    if (wanted->place.there && !wanted->place.remote)
        return is_there(wanted, object);
    return is_called(wanted, object) || is_bound(wanted, object) ||
           (wanted->by_id && object->public.kind == wanted->kind && object->public.id == wanted->id &&
            !(object->public.flags & WHERRY_INSPECT_ELSEWHERE));
}

const struct wherry_inspect_object *wherry_inspect_find(const struct wherry_inspect *given, const char *name,
                                                        size_t index)
{
    const struct snapshot *snapshot = (const void *)given;
    struct wherry__why before;
    struct wanted wanted;
    bool first = index == 0;
    wherry__why_save(&before);
    if (first)
        wherry__fail_quietly(ENOENT, "");
    want(snapshot, name, &wanted);
    for (size_t i = 0; i < snapshot->objects.count; i++)
        if (is_wanted(&wanted, snapshot->objects.list[i]) && index-- == 0) {
            wherry__why_settle(&before, 0);
            return &snapshot->objects.list[i]->public;
        }
    if (!first)
        wherry__why_settle(&before, 0);
    else if (wanted.place.refused && !wanted.place.there)
        wherry__fail(EACCES, "%s: permission to look at it is denied, so it cannot be told who has it; run it as root",
                     wanted.paths.list[0]);
    return NULL;
}
