/* channel/addresses.c - owns the table of peers by address: two hashes and the order in which they spoke.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/addresses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/why.h"

enum { BY_ADDRESS, BY_ID, FIRST_CAPACITY = 16 };
#define NOBODY UINT32_MAX

static uint64_t hash_address(const struct wherry__addresses *addresses, const struct wherry__datagram_address *address)
{
    const uint8_t *bytes = (const uint8_t *)&address->address;
    uint64_t hash = addresses->seed ^ address->size;
    for (size_t i = 0; i < address->size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return (hash ^ hash >> 32) % WHERRY__ADDRESSES;
}

static uint32_t *head_of(struct wherry__addresses *addresses, int chain, const struct wherry__addressee *addressee)
{
    uint64_t at =
        chain == BY_ID ? addressee->peer.id % WHERRY__ADDRESSES : hash_address(addresses, &addressee->address);
    return &addresses->heads[chain][at];
}

static uint32_t index_of(const struct wherry__addresses *addresses, const struct wherry__addressee *addressee)
{
    return (uint32_t)(addressee - addresses->all);
}

/* ---- the order in which they spoke ---- */

static void unlink_age(struct wherry__addresses *addresses, const struct wherry__addressee *addressee)
{
    uint32_t *from_newer = addressee->newer == NOBODY ? &addresses->newest : &addresses->all[addressee->newer].older;
    uint32_t *from_older = addressee->older == NOBODY ? &addresses->oldest : &addresses->all[addressee->older].newer;
    *from_newer = addressee->older;
    *from_older = addressee->newer;
}

static void link_newest(struct wherry__addresses *addresses, struct wherry__addressee *addressee)
{
    uint32_t index = index_of(addresses, addressee);
    addressee->newer = NOBODY;
    addressee->older = addresses->newest;
    *(addresses->newest == NOBODY ? &addresses->oldest : &addresses->all[addresses->newest].newer) = index;
    addresses->newest = index;
}

/* ---- the table ---- */

static bool reserve(struct wherry__addresses *addresses)
{
    if (addresses->count < addresses->capacity)
        return true;
    if (!addresses->heads[0]) {
        uint32_t *heads = malloc(2 * WHERRY__ADDRESSES * sizeof *heads);
        if (!heads)
            return false;
        memset(heads, 0xff, 2 * WHERRY__ADDRESSES * sizeof *heads); /* NOBODY */
        addresses->heads[0] = heads;
        addresses->heads[1] = heads + WHERRY__ADDRESSES;
        addresses->newest = addresses->oldest = NOBODY;
        addresses->seed = (uint64_t)(uintptr_t)heads; /* where memory lies is random enough for a table this small */
    }
    if (addresses->capacity == WHERRY__ADDRESSES)
        return false;
    uint32_t capacity = addresses->capacity ? addresses->capacity * 2 : FIRST_CAPACITY;
    struct wherry__addressee *all = realloc(addresses->all, capacity * sizeof *all);
    if (!all)
        return false;
    addresses->all = all;
    addresses->capacity = capacity;
    return true;
}

static void unlink_chain(struct wherry__addresses *addresses, int chain, const struct wherry__addressee *addressee)
{
    uint32_t index = index_of(addresses, addressee), *at = head_of(addresses, chain, addressee);
    while (*at != index)
        at = &addresses->all[*at].next[chain];
    *at = addressee->next[chain];
}

static void link_chains(struct wherry__addresses *addresses, struct wherry__addressee *addressee)
{
    for (int chain = BY_ADDRESS; chain <= BY_ID; chain++) {
        uint32_t *head = head_of(addresses, chain, addressee);
        addressee->next[chain] = *head;
        *head = index_of(addresses, addressee);
    }
}

void wherry__addresses_forget(struct wherry__addresses *addresses, struct wherry__addressee *addressee)
{
    struct wherry__addressee *last = &addresses->all[addresses->count - 1];
    unlink_chain(addresses, BY_ADDRESS, addressee);
    unlink_chain(addresses, BY_ID, addressee);
    unlink_age(addresses, addressee);
    if (last != addressee) { /* the last one moves here, so that those in use stay together; its age stays */
        unlink_chain(addresses, BY_ADDRESS, last);
        unlink_chain(addresses, BY_ID, last);
        *addressee = *last;
        link_chains(addresses, addressee);
        uint32_t index = index_of(addresses, addressee);
        *(addressee->newer == NOBODY ? &addresses->newest : &addresses->all[addressee->newer].older) = index;
        *(addressee->older == NOBODY ? &addresses->oldest : &addresses->all[addressee->older].newer) = index;
    }
    addresses->count--;
}

struct wherry__addressee *wherry__addresses_note(struct wherry__addresses *addresses,
                                                 const struct wherry__datagram_address *address)
{
    if (addresses->heads[0])
        for (uint32_t i = addresses->heads[BY_ADDRESS][hash_address(addresses, address)]; i != NOBODY;
             i = addresses->all[i].next[BY_ADDRESS]) {
            struct wherry__addressee *known = &addresses->all[i];
            if (known->address.size != address->size ||
                memcmp(&known->address.address, &address->address, address->size) != 0)
                continue;
            if (addresses->newest != i) {
                unlink_age(addresses, known);
                link_newest(addresses, known);
            }
            return known;
        }
    if (!reserve(addresses)) {
        if (!addresses->count)
            return NULL;
        wherry__addresses_forget(addresses, &addresses->all[addresses->oldest]);
    }
    struct wherry__addressee *new = &addresses->all[addresses->count++];
    *new = (struct wherry__addressee){.address.size = address->size, .peer.id = ++addresses->last_id};
    memcpy(&new->address.address, &address->address, wherry__size_min(address->size, sizeof address->address));
    link_chains(addresses, new);
    link_newest(addresses, new);
    return new;
}

struct wherry__addressee *wherry__addresses_find(struct wherry__addresses *addresses, uint64_t id)
{
    if (addresses->heads[0])
        for (uint32_t i = addresses->heads[BY_ID][id % WHERRY__ADDRESSES]; i != NOBODY;
             i = addresses->all[i].next[BY_ID])
            if (addresses->all[i].peer.id == id)
                return &addresses->all[i];
    return NULL;
}

int wherry__addresses_one(struct wherry__addresses *addresses, uint64_t id, const char *name,
                          struct wherry__addressee **ret_addressee)
{
    if (id == 0 && addresses->count > 1)
        return wherry__fail(EDESTADDRREQ, "%s: %u peers are known: say which", name, (unsigned)addresses->count);
    struct wherry__addressee *found = id ? wherry__addresses_find(addresses, id) : addresses->all;
    if (!found || !addresses->count)
        return wherry__fail(ENOTCONN, "%s: no such peer has sent a datagram", name);
    *ret_addressee = found;
    return 0;
}

int wherry__addresses_peer(struct wherry__addresses *addresses, uint64_t id, const char *name,
                           struct wherry_peer *ret_peer)
{
    struct wherry__addressee *found = NULL;
    int result = wherry__addresses_one(addresses, id, name, &found);
    if (result == 0)
        *ret_peer = found->peer;
    return result;
}

void wherry__addresses_fini(struct wherry__addresses *addresses)
{
    free(addresses->all);
    free(addresses->heads[0]);
    *addresses = (struct wherry__addresses){.last_id = addresses->last_id};
}
