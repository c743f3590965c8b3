/* tests/unit/test_addresses.c - owns the proof for src/channel/addresses.c: it does what a list would, sooner.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/addresses.h"
#include "harness.h"

TEST(the_table_of_addresses_does_what_a_list_would)
{
    enum { KEYS = 1500, ROUNDS = 200000 };
    static uint64_t ids[KEYS], spoke[KEYS]; /* 0: not known */
    struct wherry__addresses table = {0};
    uint64_t clock = 0;
    unsigned known = 0;
    srandom(7);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned key = (unsigned)random() % KEYS;
        struct wherry__datagram_address address = {.size = 16};
        memcpy(&address.address, &key, sizeof key);
        if (random() % 8 == 0) {
            struct wherry__addressee *found = ids[key] ? wherry__addresses_find(&table, ids[key]) : NULL;
            ck_assert_int_eq(found != NULL, ids[key] != 0);
            if (found) {
                ck_assert(memcmp(&found->address.address, &address.address, 16) == 0);
                wherry__addresses_forget(&table, found);
                ck_assert_ptr_null(wherry__addresses_find(&table, ids[key]));
                ids[key] = 0;
                known--;
            }
            continue;
        }
        if (!ids[key] && known == WHERRY__ADDRESSES) {
            unsigned oldest = KEYS;
            for (unsigned k = 0; k < KEYS; k++)
                if (ids[k] && (oldest == KEYS || spoke[k] < spoke[oldest]))
                    oldest = k;
            ids[oldest] = 0;
            known--;
        }
        uint64_t id = wherry__addresses_note(&table, &address)->peer.id;
        ck_assert(ids[key] ? id == ids[key] : id == table.last_id);
        known += ids[key] == 0;
        ids[key] = id;
        spoke[key] = ++clock;
        ck_assert_uint_eq(table.count, known);
    }
    wherry__addresses_fini(&table);
}

TEST(who_is_asked_for)
{
    struct wherry__addresses table = {0};
    struct wherry__datagram_address one = {.size = 4}, two = {.size = 5}; /* the same bytes, of another length */
    struct wherry_peer peer;
    test_is(wherry__addresses_peer(&table, 0, "x", &peer), -ENOTCONN);
    test_is(wherry__addresses_peer(&table, 1, "x", &peer), -ENOTCONN);
    uint64_t id = wherry__addresses_note(&table, &one)->peer.id;
    test_is(wherry__addresses_peer(&table, 0, "x", &peer), 0);
    ck_assert_uint_eq(peer.id, id);
    ck_assert_uint_ne(wherry__addresses_note(&table, &two)->peer.id, id);
    test_is(wherry__addresses_peer(&table, 0, "x", &peer), -EDESTADDRREQ);
    test_is(wherry__addresses_peer(&table, id, "x", &peer), 0);
    ck_assert_uint_eq(peer.id, id);
    test_is(wherry__addresses_peer(&table, id + 2, "x", &peer), -ENOTCONN);
    wherry__addresses_fini(&table);
}
