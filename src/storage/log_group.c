/* storage/log_group.c - owns groups of readers: where each is, which member has what, and what the dead had.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/sys.h"
#include "base/why.h"
#include "storage/log.h"

/* As in log_append.c. */
#define CRASH(name) ((void)0)

static uint64_t sector_at(int index)
{
    return LOG_GROUPS_AT + (uint64_t)index * LOG_GROUP_SIZE;
}

static uint64_t member_byte(int index, int member)
{
    return LOG_LOCK_MEMBER + (uint64_t)index * 64 + (uint64_t)member;
}

static int read_sector(struct wherry__log *log, uint64_t at, uint8_t sector[static LOG_GROUP_SIZE])
{
    size_t got;
    int result = wherry__log_read_all(log->fd, sector, LOG_GROUP_SIZE, at, &got);
    if (result == 0 && got < LOG_GROUP_SIZE)
        return wherry__fail(ESTALE, "%s: the file was emptied or overwritten by somebody else; open it again",
                            log->name);
    return result == 0 ? 0 : wherry__fail_errno(-result, "%s: could not be read", log->name);
}

static int write_field(struct wherry__log *log, uint64_t at, const void *data, size_t size)
{
    int result = wherry__log_write_all(log->fd, data, size, at);
    if (result == -ENOSPC || result == -EDQUOT)
        return wherry__fail(-result,
                            "%s: the %s is full: the group's place could not be saved; make room and try again, or "
                            "leave group= out",
                            log->name, result == -ENOSPC ? "disk" : "quota");
    if (result < 0)
        return wherry__fail_errno(-result, "%s: the group's place could not be saved", log->name);
    return 0;
}

static int write_lent(struct wherry__log *log, const struct wherry__log_group *group, int member, uint64_t position)
{
    uint8_t bytes[8];
    wherry__store64(bytes, position);
    return write_field(log, group->at + LOG_GROUP_LENT + 8 * (uint64_t)member, bytes, sizeof bytes);
}

static int write_next(struct wherry__log *log, uint64_t at, uint64_t next, uint64_t number)
{
    uint8_t bytes[16];
    wherry__store64(bytes, next);
    wherry__store64(bytes + 8, number);
    return write_field(log, at + LOG_GROUP_NEXT, bytes, sizeof bytes);
}

/* Rule 6: what lies behind the end of a recovered log was never there, or was cut off: then the number of what the
 * group was to get stays, so that it counts what it missed. */
int wherry__log_clamp_groups(struct wherry__log *log, uint64_t end, uint64_t next)
{
    uint8_t sector[LOG_GROUP_SIZE], zero[8] = {0};
    for (int i = 0; i < LOG_GROUPS; i++) {
        size_t got;
        uint64_t at = sector_at(i);
        int result = wherry__log_read_all(log->fd, sector, sizeof sector, at, &got);
        if (result < 0)
            return wherry__fail_errno(-result, "%s: could not be read", log->name);
        if (got < sizeof sector || !sector[0])
            continue;
        uint64_t number = wherry__load64(sector + LOG_GROUP_NEXT + 8);
        if (wherry__load64(sector + LOG_GROUP_NEXT) > end &&
            (result = write_next(log, at, end, number < next ? number : next)) < 0)
            return result;
        for (uint64_t lent = LOG_GROUP_LENT; lent < LOG_GROUP_SIZE; lent += 8)
            if (wherry__load64(sector + lent) >= end && (result = write_field(log, at + lent, zero, sizeof zero)) < 0)
                return result;
    }
    return 0;
}

/* ---- joining ----------------------------------------------------------------------------------------------------- */

/* Under the table's lock: the group's sector, or a free one. */
static int find_group(struct wherry__log *log, struct wherry__log_group *group, const char *name, bool *ret_new)
{
    uint8_t sector[LOG_GROUP_SIZE];
    int vacant = -1;
    *ret_new = false;
    for (int i = 0; i < LOG_GROUPS; i++) {
        int result = read_sector(log, sector_at(i), sector);
        if (result < 0)
            return result;
        if (sector[0] && strncmp((const char *)sector, name, LOG_GROUP_NAME) == 0) {
            group->index = i;
            return 0;
        }
        if (!sector[0] && vacant < 0)
            vacant = i;
    }
    if (vacant < 0)
        return wherry__fail(EUSERS, "%s: the log has %d groups already, and no room for \"%s\"; use one of those",
                            log->name, LOG_GROUPS, name);
    group->index = vacant;
    *ret_new = true;
    return 0;
}

/* Under the group's lock, with a state read under it, so that no recovery comes in between. */
static int begin_group(struct wherry__log *log, const struct wherry__log_group *group, const char *name)
{
    /* the name and the place in one write: a group is there with its place or not at all */
    uint8_t sector[LOG_GROUP_SIZE] = {0};
    memcpy(sector, name, strlen(name));
    wherry__store64(sector + LOG_GROUP_NEXT, log->state.start);
    wherry__store64(sector + LOG_GROUP_NEXT + 8, log->state.start_number);
    return write_field(log, group->at, sector, sizeof sector);
}

static int lock_group(struct wherry__log *log, struct wherry__log_group *group)
{
    int result = group->locked ? 0 : wherry__log_lock(log, LOG_LOCK_GROUP + (uint64_t)group->index);
    if (result < 0)
        return result;
    group->locked = true;
    log->held_group = LOG_LOCK_GROUP + (uint64_t)group->index;
    return wherry__log_refresh(log);
}

static int find_member(struct wherry__log *log, struct wherry__log_group *group, const char *name)
{
    for (int m = 0; m < LOG_MEMBERS; m++) {
        int result = wherry__log_lock(log, member_byte(group->index, m));
        if (result == 0)
            group->member = m;
        if (result != -EAGAIN)
            return result;
    }
    return wherry__fail(EUSERS, "%s: the group \"%s\" has %d members already", log->name, name, LOG_MEMBERS);
}

int wherry__log_group_join(struct wherry__log *log, struct wherry__log_group *group, const char *name,
                           enum wherry__log_from from)
{
    bool is_new;
    *group = (struct wherry__log_group){.index = -1, .member = -1};
    int result = wherry__log_lock(log, LOG_LOCK_TABLE);
    if (result < 0)
        return result;
    result = find_group(log, group, name, &is_new);
    if (result == 0) {
        group->at = sector_at(group->index);
        result = lock_group(log, group);
    }
    if (result == 0 && is_new)
        result = begin_group(log, group, name);
    wherry__log_unlock(log, LOG_LOCK_TABLE);
    if (result < 0) {
        wherry__log_group_unlock(log, group);
        return result;
    }
    if (from == WHERRY__LOG_END)
        result = write_next(log, group->at, log->state.end, log->state.next);
    else if (from == WHERRY__LOG_BEGINNING)
        result = write_next(log, group->at, log->state.start, log->state.start_number);
    if (result == 0)
        result = find_member(log, group, name);
    wherry__log_group_unlock(log, group);
    return result;
}

/* ---- taking ------------------------------------------------------------------------------------------------------ */

void wherry__log_group_unlock(struct wherry__log *log, struct wherry__log_group *group)
{
    if (group->locked)
        wherry__log_unlock(log, LOG_LOCK_GROUP + (uint64_t)group->index);
    group->locked = false;
    log->held_group = 0;
}

/* Whether the dead one's message is with somebody else by now: it took it over and died, or lives, before the dead
 * one's field was cleared. */
static bool is_held_twice(const uint8_t *sector, int member)
{
    uint64_t position = wherry__load64(sector + LOG_GROUP_LENT + 8 * member);
    for (int m = 0; m < LOG_MEMBERS; m++)
        if (m != member && wherry__load64(sector + LOG_GROUP_LENT + 8 * m) == position)
            return true;
    return false;
}

/* Rule 11.  1: a message of a dead member's is ours; 0: there is none. */
static int take_over(struct wherry__log *log, struct wherry__log_group *group, uint8_t *sector)
{
    group->others_lent = false;
    for (int m = 0; m < LOG_MEMBERS; m++) {
        uint8_t *field = sector + LOG_GROUP_LENT + 8 * m;
        uint64_t lent = wherry__load64(field);
        if (lent == 0)
            continue;
        if (m != group->member && wherry__log_locked(log, member_byte(group->index, m))) {
            group->others_lent = true;
            continue;
        }
        /* our own field is that of a dead one who had the place before */
        bool out = lent < group->next && lent >= log->state.start && !is_held_twice(sector, m);
        int result = 0;
        if (out && m != group->member) {
            result = write_lent(log, group, group->member, lent);
            CRASH(group_held_twice); /* two of the same are one */
        }
        if (result == 0 && (!out || m != group->member))
            result = write_lent(log, group, m, 0);
        wherry__store64(field, 0);
        if (result < 0)
            return result;
        if (out) {
            group->lent = lent;
            return 1;
        }
    }
    return 0;
}

int wherry__log_group_take(struct wherry__log *log, struct wherry__log_group *group)
{
    uint8_t sector[LOG_GROUP_SIZE];
    int result = lock_group(log, group);
    if (result == 0)
        result = read_sector(log, group->at, sector);
    if (result == 0) {
        group->next = wherry__load64(sector + LOG_GROUP_NEXT);
        group->number = wherry__load64(sector + LOG_GROUP_NEXT + 8);
        uint64_t ours = wherry__load64(sector + LOG_GROUP_LENT + 8 * group->member);
        if (group->lent && (ours != group->lent || ours < log->state.start))
            group->lent = 0; /* it was cut off meanwhile, or dropped */
        result = group->lent ? 1 : take_over(log, group, sector);
    }
    if (result < 0)
        wherry__log_group_unlock(log, group);
    return result;
}

int wherry__log_group_move(struct wherry__log *log, struct wherry__log_group *group, uint64_t next, uint64_t number)
{
    int result = write_next(log, group->at, next, number);
    if (result == 0) {
        group->next = next;
        group->number = number;
    }
    if (result == 0 && log->sync_each) /* rule 12 */
        result = wherry__log_sync(log);
    return result;
}

int wherry__log_group_lend(struct wherry__log *log, struct wherry__log_group *group, uint64_t position)
{
    int result = write_lent(log, group, group->member, position);
    if (result == 0)
        group->lent = position;
    return result;
}

void wherry__log_group_leave(struct wherry__log *log, struct wherry__log_group *group)
{
    wherry__log_group_unlock(log, group);
    if (group->member >= 0)
        wherry__log_unlock(log, member_byte(group->index, group->member));
    group->member = -1;
}
