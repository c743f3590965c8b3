/* tests/unit/test_ring_house.h - what the tests of rings between two uids share: being another user, and its files.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_RING_HOUSE_H
#define WHERRY_TESTS_RING_HOUSE_H

#include <dirent.h>
#include <wherry/ring.h>

#include "unit/test_ring_kit.h"

enum { NOBODY = 65534, STRANGER = 65533 };

#define MINE "share=65534" /* what we say: the other is nobody */
#define ITS "share=0"      /* what nobody says */

static inline void become(uid_t uid)
{
    ck_assert_int_eq(setresgid(uid, uid, uid), 0);
    ck_assert_int_eq(setresuid(uid, uid, uid), 0);
}

static inline void need_uids(void)
{
    if (!test_is_root())
        test_skip("needs root, to be two users");
}

/* One who has to be let in. */
static inline struct wherry_channel *enter(const char *url, enum wherry_role role)
{
    struct wherry_channel *channel = NULL;
    test_ok(wherry_channel_open(url, role, NULL, test_deadline(), &channel));
    return channel;
}

static inline const char *door_of(uid_t uid, const char *name)
{
    static char paths[4][300];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "/dev/shm/wherry-%u-shared/%s", (unsigned)uid, name);
    return path;
}

/* Sockets in a uid's directory whose names begin with a dot. */
static inline unsigned bells_of(uid_t uid)
{
    unsigned count = 0;
    DIR *directory = opendir(door_of(uid, ""));
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] == '.' && strlen(entry->d_name) > 32 && !strchr(entry->d_name + 1, '.');
    if (directory)
        closedir(directory);
    return count;
}

/* Serve until the child is done. */
static inline void receive_until_done(struct wherry_channel *receiver, pid_t child)
{
    for (wherry_time end = test_deadline(); wherry_now() < end;) {
        siginfo_t info = {0};
        ck_assert_int_eq(waitid(P_PID, (id_t)child, &info, WEXITED | WNOHANG | WNOWAIT), 0);
        if (info.si_pid == child)
            break;
        uint64_t got;
        wherry_channel_receive(receiver, &got, sizeof got, NULL, wherry_after(10 * WHERRY_MILLISECOND));
    }
    test_join(child);
}

#endif
