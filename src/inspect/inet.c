/* inspect/inet.c - owns TCP and UDP sockets as the kernel lists them, their addresses and names; sock_diag(7), tcp(7),
 * udp(7).
 *
 * SPDX-License-Identifier: MIT */
#include "inspect/inet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/collectors.h"

/* ---- addresses ---- */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const struct address *address)
{
    return memcmp(address->ip, mapped, sizeof mapped) == 0;
}

static struct address address_of(bool v6, const void *ip, uint16_t port)
{
    struct address address = {.port = port};
    memcpy(address.ip, mapped, sizeof mapped);
    if (v6)
        memcpy(address.ip, ip, 16);
    else
        memcpy(address.ip + sizeof mapped, ip, 4);
    return address;
}

bool wherry__address_any(const struct address *address)
{
    static const uint8_t none[16];
    return memcmp(address->ip + (is_v4(address) ? 12 : 0), none, is_v4(address) ? 4 : 16) == 0;
}

bool wherry__address_loopback(const struct address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    return is_v4(address) ? address->ip[12] == 127 : memcmp(address->ip, one, sizeof one) == 0;
}

static char *put_number(char *at, unsigned number)
{
    char digits[12];
    size_t count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count)
        *at++ = digits[--count];
    return at;
}

/* Without printf: a host may have many thousands of them. */
const char *wherry__address_text(const struct address *address, char text[static ADDRESS_TEXT])
{
    char *at = text;
    if (is_v4(address)) {
        for (int i = 12; i < 16; i++) {
            at = put_number(at, address->ip[i]);
            *at++ = i < 15 ? '.' : ':';
        }
    } else {
        *at++ = '[';
        inet_ntop(AF_INET6, address->ip, at, INET6_ADDRSTRLEN);
        at = stpcpy(at + strlen(at), "]:");
    }
    *put_number(at, address->port) = 0;
    return text;
}

void wherry__inet_name(struct end *end, const char *scheme)
{
    char here[ADDRESS_TEXT], there[ADDRESS_TEXT];
    if (end->object->public.name[0])
        return;
    wherry__address_text(&end->inet.here, here);
    end->object->public.name = end->inet.there.port
                                   ? wherry__inspect_text(end->object->snapshot, "%s:%s-%s", scheme, here,
                                                          wherry__address_text(&end->inet.there, there))
                                   : wherry__inspect_text(end->object->snapshot, "%s:%s", scheme, here);
}

void wherry__inet_link(struct end *end, struct end *peer, const char *note)
{
    char here[ADDRESS_TEXT], there[ADDRESS_TEXT];
    wherry__inspect_link(end->object, peer->object, WHERRY_INSPECT_PEER,
                         wherry__inspect_text(end->object->snapshot, "%s and %s%s",
                                              wherry__address_text(&end->inet.here, here),
                                              wherry__address_text(&peer->inet.here, there), note));
}

/* ---- a table by them ---- */

static size_t slot_of(const struct by_address *table, const struct address *here, const struct address *there)
{
    uint64_t words[2], hash = here->port;
    for (int i = 0; there && i < 2; i++) {
        memcpy(words, i ? there->ip : here->ip, sizeof words);
        hash = (hash ^ words[0]) * UINT64_C(0x9e3779b97f4a7c15);
        hash = (hash ^ words[1] ^ (uint64_t)there->port << 40) * UINT64_C(0xff51afd7ed558ccd);
    }
    hash *= UINT64_C(0xc4ceb9fe1a85ec53);
    return (size_t)(hash >> 32) & (table->count - 1);
}

struct end *wherry__by_address_slot(const struct by_address *table, const struct address *here,
                                    const struct address *there)
{
    return table->slots[slot_of(table, here, there)];
}

bool wherry__by_address(struct snapshot *snapshot, struct end *list, size_t count, bool (*with)(const struct end *end),
                        bool port_only, struct by_address *ret_table)
{
    struct by_address table = {.count = 16};
    while (table.count < count)
        table.count *= 2;
    table.slots = wherry__inspect_memory(snapshot, table.count * sizeof *table.slots);
    if (!table.slots)
        return false;
    for (struct end *end = list; end; end = end->next) {
        if (end->object->drop || !with(end))
            continue;
        struct end **slot = &table.slots[slot_of(&table, &end->inet.here, port_only ? NULL : &end->inet.there)];
        end->inet.same_slot = *slot;
        *slot = end;
    }
    *ret_table = table;
    return true;
}

/* ---- by sock_diag ---- */

struct listing {
    struct snapshot *snapshot;
    struct net *net;
    enum wherry_inspect_kind kind;
};

static void fill(struct end *end, uint8_t state, uint32_t uid, uint32_t received, uint32_t other)
{
    end->state = state;
    end->object->public.uid = uid;
    if (state == STATE_LISTEN && end->object->public.kind == WHERRY_INSPECT_TCP) { /* connections, not bytes */
        end->object->public.messages = received;
        end->object->public.limit = other;
    } else {
        end->object->public.used = received;
    }
}

/* One without an inode, because nobody has it open, is told by the kernel's own number of it. */
static void take(const struct nlmsghdr *answer, void *argument)
{
    const struct listing *listing = argument;
    const struct inet_diag_msg *message = mnl_nlmsg_get_payload(answer);
    const struct nlattr *attributes[INET_DIAG_SKV6ONLY + 1];
    if (mnl_nlmsg_get_payload_len(answer) < sizeof *message)
        return;
    uint64_t cookie = (uint64_t)message->id.idiag_cookie[1] << 32 | message->id.idiag_cookie[0];
    struct end *end = wherry__end(listing->snapshot, listing->net, listing->kind, message->idiag_inode,
                                  message->idiag_inode ? 0 : cookie);
    if (!end)
        return;
    wherry__diag_attributes(answer, sizeof *message, attributes, INET_DIAG_SKV6ONLY);
    const struct nlattr *only = attributes[INET_DIAG_SKV6ONLY];
    fill(end, message->idiag_state, message->idiag_uid, message->idiag_rqueue, message->idiag_wqueue);
    end->inet.v6 = message->idiag_family == AF_INET6;
    end->inet.v6only = only && mnl_attr_get_payload_len(only) >= 1 && mnl_attr_get_u8(only);
    end->inet.here = address_of(end->inet.v6, message->id.idiag_src, ntohs(message->id.idiag_sport));
    end->inet.there = address_of(end->inet.v6, message->id.idiag_dst, ntohs(message->id.idiag_dport));
}

int wherry__inet_list(struct snapshot *snapshot, struct net *net, int diag)
{
    static const struct {
        uint8_t family, protocol;
        enum wherry_inspect_kind kind;
    } lists[] = {
        {AF_INET, IPPROTO_TCP, WHERRY_INSPECT_TCP},
        {AF_INET6, IPPROTO_TCP, WHERRY_INSPECT_TCP},
        {AF_INET, IPPROTO_UDP, WHERRY_INSPECT_UDP},
        {AF_INET6, IPPROTO_UDP, WHERRY_INSPECT_UDP},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct listing listing = {snapshot, net, lists[i].kind};
        struct inet_diag_req_v2 request = {
            .sdiag_family = lists[i].family,
            .sdiag_protocol = lists[i].protocol,
            .idiag_states =
                UINT32_MAX & ~(UINT32_C(1) << STATE_TIME_WAIT), /* no sockets any more, and often thousands */
        };
        int result = wherry__diag_list(diag, &request, sizeof request, take, &listing);
        if (result < 0)
            return result;
    }
    return 0;
}

/* ---- by /proc/net ---- */

/* "   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 20345 ..."; addresses
 * as words of this machine. */
static bool parse_address(const char *text, bool v6, struct address *ret_address)
{
    uint32_t words[4] = {0};
    char word[9] = "";
    size_t count = v6 ? 4 : 1;
    if (strlen(text) < 8 * count + 2 || text[8 * count] != ':')
        return false;
    for (size_t i = 0; i < count; i++) {
        memcpy(word, text + 8 * i, 8);
        words[i] = (uint32_t)strtoul(word, NULL, 16);
    }
    *ret_address = address_of(v6, words, (uint16_t)strtoul(text + 8 * count + 1, NULL, 16));
    return true;
}

static void take_line(const struct listing *listing, const char *line, bool v6)
{
    char here[48], there[48];
    unsigned state, received, uid;
    unsigned long long inode;
    struct address a, b;
    if (sscanf(line, " %*d: %47s %47s %x %*x:%x %*x:%*x %*x %u %*d %llu", here, there, &state, &received, &uid,
               &inode) != 6 ||
        !inode || state == STATE_TIME_WAIT || !parse_address(here, v6, &a) || !parse_address(there, v6, &b))
        return;
    struct end *end = wherry__end(listing->snapshot, listing->net, listing->kind, inode, 0);
    if (!end || end->state) /* which sock_diag has told before it failed */
        return;
    fill(end, (uint8_t)state, uid, received, 0);
    end->object->public.limit = -1;
    end->inet.v6 = v6;
    end->inet.here = a;
    end->inet.there = b;
}

int wherry__inet_list_proc(struct snapshot *snapshot, struct net *net, int directory)
{
    static const struct {
        const char *file;
        enum wherry_inspect_kind kind;
        bool v6;
    } lists[] = {
        {"tcp", WHERRY_INSPECT_TCP, false},
        {"udp", WHERRY_INSPECT_UDP, false},
        {"tcp6", WHERRY_INSPECT_TCP, true},
        {"udp6", WHERRY_INSPECT_UDP, true},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        char *text, *rest;
        size_t size;
        struct listing listing = {snapshot, net, lists[i].kind};
        int result = wherry__proc_read_all(snapshot, directory, lists[i].file, &text, &size);
        if (result < 0 && !(lists[i].v6 && result == -ENOENT)) /* a kernel without IPv6 */
            return result;
        for (char *line = result < 0 ? NULL : strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            take_line(&listing, line, lists[i].v6);
    }
    return 0;
}

bool wherry__inet_join(struct end *end, const struct by_address *connected, bool itself)
{
    struct end *other = wherry__by_address_slot(connected, &end->inet.there, &end->inet.here), *elsewhere = NULL;
    size_t others = 0;
    for (; other; other = other->inet.same_slot) {
        if ((other == end && !itself) || !wherry__address_same(&other->inet.here, &end->inet.there) ||
            !wherry__address_same(&other->inet.there, &end->inet.here))
            continue;
        if (other->net == end->net) {
            wherry__inet_link(end, other, "");
            return true;
        }
        elsewhere = other;
        others++;
    }
    if (others != 1 || wherry__address_loopback(&end->inet.here) || wherry__address_loopback(&end->inet.there))
        return false;
    wherry__inet_link(end, elsewhere, ", in two network namespaces");
    return true;
}
