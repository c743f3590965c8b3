/* storage/log_layout.h - the file of a log, byte for byte; LOG.md says who writes what when.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_STORAGE_LOG_LAYOUT_H
#define WHERRY_STORAGE_LOG_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/size.h"

#define LOG_MAGIC "wherry log 1\n\0\0" /* 16 bytes with the last zero */
#define LOG_RECORD_MARK 0x43455257u    /* "WREC" */
#define LOG_UNKNOWN UINT64_MAX /* cuts of a state that cannot be read */

enum {
    LOG_HEAD = 36864, /* where records begin */
    LOG_HEAD_SIZE = 40,
    LOG_STATE_AT = 512,
    LOG_STATE_SIZE = 96,
    LOG_UNUSED_AT = 1024,
    LOG_GROUPS_AT = 4096,
    LOG_GROUPS = 64,
    LOG_GROUP_SIZE = 512,
    LOG_GROUP_NAME = 48, /* with its zero */
    LOG_MEMBERS = 56,
    LOG_GROUP_NEXT = 48, /* where it is in a group's sector */
    LOG_GROUP_LENT = 64,
    LOG_RECORD_HEAD = 32,
    LOG_BOOT = 16,
    /* locks */
    LOG_LOCK_APPEND = 0,
    LOG_LOCK_TABLE = 1,
    LOG_LOCK_GROUP = 64,
    LOG_LOCK_MEMBER = 4096,
};
_Static_assert(LOG_GROUPS_AT + LOG_GROUPS * LOG_GROUP_SIZE == LOG_HEAD, "the records follow the groups");
_Static_assert(LOG_GROUP_LENT + 8 * LOG_MEMBERS == LOG_GROUP_SIZE, "a group is one sector");
_Static_assert(sizeof LOG_MAGIC == 16, "the magic has 16 bytes");

/* The state, as it is in memory. */
struct log_state {
    uint64_t end, next, start, durable, durable_next;
    uint8_t boot[LOG_BOOT];
    uint64_t recoveries, start_number, cuts, kept;
};

/* What a record takes in the file. */
static inline uint64_t log_record_size(uint64_t payload)
{
    return (LOG_RECORD_HEAD + payload + 7) & ~UINT64_C(7);
}

/* What ties a record to its log, its place and its number. */
static inline uint32_t log_mix(uint64_t id, uint64_t position, uint64_t number)
{
    uint64_t sum = id + position * UINT64_C(0x9E3779B97F4A7C15) + number * UINT64_C(0xC2B2AE3D27D4EB4F);
    return (uint32_t)((sum * UINT64_C(0xD6E8FEB86659FD93)) >> 32);
}

/* CRC-32C (Castagnoli) of more bytes; `crc` is what the bytes before came to, 0 for none. */
uint32_t wherry__log_crc(uint32_t crc, const void *data, size_t size);

#endif
