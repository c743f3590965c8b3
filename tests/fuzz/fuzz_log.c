/* tests/fuzz/fuzz_log.c - any bytes as the file of a log: read from either end, by a group, and appended to.
 *
 * SPDX-License-Identifier: MIT
 *
 * Of half the inputs the bytes are the file; the others describe a log whose checks are right and whose fields are not,
 * so that what stands behind the checks is reached.  Each call ends, with a known answer; no reader says that the log
 * is damaged more often than the file has places for records; and what was accepted is read back, behind all else. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "fuzz/fuzz.h"
#include "storage/log_layout.h"

enum { MOST = 1 << 17, MAX_MESSAGE = 1 << 16, SENT = 3 };
static uint8_t bytes[MOST];
static char path[64];
static const uint64_t id = 0x0123456789abcdef;

static void remove_file(void)
{
    unlink(path);
}

/* ---- what the input describes ---- */

/* Small numbers, large ones, and such as are near to what is there. */
static uint64_t wild(struct fuzz_input *input, uint64_t near)
{
    unsigned what = fuzz_byte(input);
    uint64_t value = fuzz_word(input);
    switch (what & 7) {
    case 0:
        return near + (value & 0xff) * 8;
    case 1:
        return near - (value & 0xff);
    case 2:
        return value << (what >> 3);
    case 3:
        return UINT64_MAX >> (value & 63);
    default:
        return near;
    }
}

static void read_boot(uint8_t boot[static LOG_BOOT])
{
    char text[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    unsigned digits = 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    for (ssize_t i = 0; i < got && digits < 2 * LOG_BOOT; i++) {
        const char *hex = "0123456789abcdef", *at = text[i] ? strchr(hex, text[i]) : NULL;
        if (at) {
            boot[digits / 2] = (uint8_t)(boot[digits / 2] << 4 | (at - hex));
            digits++;
        }
    }
}

static void build_head(void)
{
    memcpy(bytes, LOG_MAGIC, 16);
    wherry__store64(bytes + 16, id);
    wherry__store32(bytes + 32, LOG_HEAD);
    wherry__store32(bytes + 36, wherry__log_crc(0, bytes, 36));
}

static void build_state(struct fuzz_input *input, uint64_t end, uint64_t next)
{
    uint8_t *state = bytes + LOG_STATE_AT, key[8];
    memset(state, 0, LOG_STATE_SIZE);
    wherry__store64(state, wild(input, end));
    wherry__store64(state + 8, wild(input, next));
    wherry__store64(state + 16, wild(input, LOG_HEAD));
    wherry__store64(state + 24, wild(input, LOG_HEAD));
    wherry__store64(state + 32, wild(input, 1));
    if (fuzz_byte(input) & 1)
        read_boot(state + 40);
    wherry__store64(state + 64, wild(input, 1));
    wherry__store64(state + 72, wild(input, 0));
    wherry__store64(state + 80, wild(input, 0));
    wherry__store64(key, id);
    wherry__store32(state + 92, wherry__log_crc(wherry__log_crc(0, state, LOG_STATE_SIZE - 4), key, sizeof key));
}

static void build_group(struct fuzz_input *input, uint64_t end)
{
    uint8_t *sector = bytes + LOG_GROUPS_AT + (fuzz_byte(input) & 3) * LOG_GROUP_SIZE;
    memcpy(sector, "g", 2);
    if (fuzz_byte(input) & 1)
        memset(sector, 'g', LOG_GROUP_NAME); /* no end */
    wherry__store64(sector + LOG_GROUP_NEXT, wild(input, end));
    wherry__store64(sector + LOG_GROUP_NEXT + 8, wild(input, 1));
    for (unsigned lent = fuzz_byte(input) & 7; lent > 0; lent--)
        wherry__store64(sector + LOG_GROUP_LENT + 8 * (fuzz_byte(input) % LOG_MEMBERS), wild(input, LOG_HEAD));
}

static uint64_t build_records(struct fuzz_input *input, uint64_t *ret_next)
{
    uint64_t at = LOG_HEAD, number = 1;
    for (unsigned left = fuzz_byte(input) & 31; left > 0; left--) {
        unsigned what = fuzz_byte(input);
        uint32_t size = what & 64 ? fuzz_word(input) % 4000 : what & 31;
        uint8_t *head = bytes + at, fields[16];
        if (at + log_record_size(size) > MOST)
            break;
        memset(head, (int)what, (size_t)log_record_size(size));
        wherry__store32(head, LOG_RECORD_MARK);
        wherry__store32(head + 4, size);
        wherry__store64(head + 16, number);
        memcpy(fields, head + 4, 4);
        memcpy(fields + 4, head + 12, 4);
        memcpy(fields + 8, head + 24, 8);
        uint32_t crc = wherry__log_crc(wherry__log_crc(0, fields, sizeof fields), head + LOG_RECORD_HEAD, size);
        wherry__store32(head + 8, crc ^ log_mix(id, at, number));
        at += log_record_size(size);
        number = what & 128 ? wild(input, number + 1) : number + 1;
    }
    *ret_next = number;
    return at;
}

static size_t build(struct fuzz_input *input)
{
    uint64_t next, end = build_records(input, &next);
    build_head();
    build_state(input, end, next);
    build_group(input, end);
    for (unsigned left = fuzz_byte(input) & 7; left > 0; left--) { /* damage */
        uint64_t at = fuzz_word(input);
        at = at & 1 ? LOG_HEAD + at / 2 : at / 2;
        if (at < end)
            bytes[at] = (uint8_t)fuzz_byte(input);
    }
    uint64_t size = wild(input, end);
    return size < MOST ? (size_t)size : MOST;
}

static size_t write_file(const uint8_t *data, size_t size, unsigned *ret_flags)
{
    struct fuzz_input input = {data, size};
    *ret_flags = fuzz_byte(&input);
    memset(bytes, 0, sizeof bytes);
    size_t length = input.left;
    if (*ret_flags & 1)
        length = build(&input);
    else
        memcpy(bytes, input.data, length);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    fuzz_must(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "the file can be written");
    close(fd);
    return length;
}

/* ---- what is done with it ---- */

static int open_log(const char *query, enum wherry_role role, struct wherry_channel **ret)
{
    char url[160];
    snprintf(url, sizeof url, "file://%s?max_message=64k%s", path, query);
    int result = wherry_channel_open(url, role, NULL, WHERRY_NOW, ret);
    fuzz_must(result == 0 || wherry_why()[0], "a reason");
    fuzz_must(result == 0 || result == -EEXIST || result == -EBADMSG || result == -EPROTO || result == -EUSERS ||
                  result == -ESTALE || result == -EFBIG,
              "a known answer of open");
    return result;
}

/* How often the last message was one of ours, in their order. */
static unsigned read_all(const char *query, size_t places)
{
    static uint8_t buffer[MAX_MESSAGE];
    struct wherry_channel *reader;
    unsigned ours = 0;
    size_t size, answers = 0;
    if (open_log(query, WHERRY_RECEIVE, &reader) < 0)
        return 0;
    for (int result = 1; result == 1 || result == -EBADMSG;) {
        result = wherry_channel_receive(reader, buffer, sizeof buffer, &size, WHERRY_NOW);
        fuzz_must(result == 1 || result == 0 || result == -EAGAIN || result == -EBADMSG || result == -ESTALE,
                  "a known answer of receive");
        fuzz_must(++answers <= places, "no more answers than there are places for records");
        if (result == 1)
            ours = size == 6 && memcmp(buffer, "ours ", 5) == 0 && buffer[5] == 'a' + ours ? ours + 1 : 0;
    }
    wherry_channel_close(reader, WHERRY_NOW);
    return ours;
}

static bool append(const char *query)
{
    struct wherry_channel *sender;
    char text[] = "ours a";
    int result = open_log(query, WHERRY_SEND, &sender);
    if (result < 0)
        return false;
    for (unsigned i = 0; i < SENT && result == 0; i++, text[5]++) {
        result = wherry_channel_send(sender, text, 6, WHERRY_NOW);
        fuzz_must(result == 0 || result == -EFBIG || result == -ESTALE || result == -EBADMSG || result == -ENOSPC,
                  "a known answer of send");
    }
    fuzz_must(wherry_channel_close(sender, WHERRY_NOW) == 0, "closed");
    return result == 0;
}

void fuzz_log(const uint8_t *data, size_t size)
{
    static const char *const readers[] = {"", "&from=end", "&group=g", "&group=g&from=beginning"};
    unsigned flags;
    if (!path[0]) {
        snprintf(path, sizeof path, "/dev/shm/wherry-fuzz-log-%d", (int)getpid());
        atexit(remove_file);
    }
    size_t length = write_file(data, size, &flags), places = length / 8 + 100;
    for (unsigned i = 0; i < 4; i++)
        if (flags >> i & 2)
            read_all(readers[i], places);
    if (append(flags & 32 ? "&retain_bytes=4096" : flags & 64 ? "&fsync=each" : ""))
        fuzz_must(read_all("", places + SENT) == SENT, "what was accepted is there");
    read_all("&group=g", places + SENT);
}
