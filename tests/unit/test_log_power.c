/* tests/unit/test_log_power.c - the power goes, at any instant: the log opens, and nothing that was acknowledged is
 * lost.
 *
 * SPDX-License-Identifier: MIT
 *
 * What the library writes is recorded through the table of system calls.  Then, for each instant, files are made as
 * a disk may hold them: what was there at the last fdatasync, and of the writes since then any part, sector by
 * sector of 512 bytes, each as it was after any of the writes to it; as long as the file was at any moment since
 * then.  All combinations where they are few, else the extremes and a sample.  Each such file is opened in another
 * boot. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "harness.h"

enum { SECTOR = 512, OPS = 4000, FILE_MOST = 192 << 10, SECTORS = FILE_MOST / SECTOR, ALL_UP_TO = 512, SAMPLE = 48 };

/* ---- the recorder ------------------------------------------------------------------------------------------------ */

enum kind { WRITE, SIZE, SYNC, ACK, TOOK, TRY };

static struct op {
    enum kind kind;
    uint64_t at; /* SIZE: the new one; ACK, TOOK: how many by now; TRY: whether a send is under way that will fail */
    size_t size;
    uint8_t *data;
} ops[OPS];
static size_t op_count;
static bool recording;
static struct wherry__sys real;
static uint8_t base[FILE_MOST]; /* what the disk had at the start */
static size_t base_size;

static void note(enum kind kind, uint64_t at, const void *data, size_t size)
{
    if (!recording)
        return;
    ck_assert_uint_lt(op_count, OPS);
    struct op *op = &ops[op_count++];
    *op = (struct op){kind, at, size, size ? malloc(size) : NULL};
    if (size)
        memcpy(op->data, data, size);
}

static bool tail_left, failing; /* a send failed, and nothing was written since; it is under way */

static ssize_t noted_pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (tail_left && !failing) { /* by now what it left is cut, and that is on the disk */
        note(TRY, false, NULL, 0);
        tail_left = false;
    }
    ssize_t written = real.pwrite(fd, data, size, at);
    if (written > 0)
        note(WRITE, (uint64_t)at, data, (size_t)written);
    return written;
}

/* Takes no more than the first part, so that the others show, too, as writes of their own. */
static ssize_t noted_pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    while (count > 1 && parts->iov_len == 0)
        parts++, count--;
    return noted_pwrite(fd, parts->iov_base, parts->iov_len, at);
}

static int noted_ftruncate(int fd, off_t size)
{
    note(SIZE, (uint64_t)size, NULL, 0);
    return real.ftruncate(fd, size);
}

static int noted_fdatasync(int fd)
{
    (void)fd; /* what it does is what is played here */
    note(SYNC, 0, NULL, 0);
    return 0;
}

/* As if its caller had died. */
static int no_ftruncate(int fd, off_t size)
{
    (void)fd, (void)size;
    errno = EIO;
    return -1;
}

static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static char boot = 'a';

/* Another boot: the digits of its id. */
static ssize_t read_of_another_boot(int fd, void *data, size_t size)
{
    ssize_t got = real.read(fd, data, size);
    char *text = data;
    if (got == 37 && text[8] == '-' && text[13] == '-')
        for (int i = 0; i < 36; i++)
            if (text[i] != '-')
                text[i] = boot;
    return got;
}

static void start_recording(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd >= 0 ? read(fd, base, sizeof base) : 0;
    if (fd >= 0)
        close(fd);
    base_size = size > 0 ? (size_t)size : 0;
    op_count = 0;
    recording = true;
}

static void table_replace(void)
{
    real = wherry__sys;
    wherry__sys.pwrite = noted_pwrite;
    wherry__sys.pwritev = noted_pwritev;
    wherry__sys.ftruncate = noted_ftruncate;
    wherry__sys.fdatasync = noted_fdatasync;
    wherry__sys.fsync = no_sync;
    wherry__sys.read = read_of_another_boot;
}

static void table_restore(void)
{
    recording = false;
    wherry__sys = real;
    for (size_t i = 0; i < op_count; i++)
        free(ops[i].data);
}

/* ---- what a disk may hold ---------------------------------------------------------------------------------------- */

static struct disk {
    uint8_t now[FILE_MOST]; /* the page cache */
    size_t size;
    struct {
        uint8_t (*versions)[SECTOR]; /* [0] is the disk's */
        size_t count;
    } sectors[SECTORS];
    size_t sizes[64], size_count; /* likewise */
    size_t dirty[SECTORS], dirty_count;
} disk;

static void forget_versions(void)
{
    for (size_t s = 0; s < SECTORS; s++) {
        free(disk.sectors[s].versions);
        disk.sectors[s].versions = NULL;
        disk.sectors[s].count = 0;
    }
    disk.dirty_count = 0;
    disk.sizes[0] = disk.size;
    disk.size_count = 1;
}

static void disk_init(void)
{
    memset(disk.now, 0, sizeof disk.now);
    memcpy(disk.now, base, base_size);
    disk.size = base_size;
    forget_versions();
}

/* A sector is about to change, or has. */
static void add_version(size_t s)
{
    size_t count = disk.sectors[s].count;
    disk.sectors[s].versions = realloc(disk.sectors[s].versions, (count + 1) * SECTOR);
    memcpy(disk.sectors[s].versions[count], disk.now + s * SECTOR, SECTOR);
    disk.sectors[s].count++;
}

static void change(uint64_t at, const uint8_t *data, size_t size)
{
    ck_assert_uint_le(at + size, FILE_MOST);
    for (size_t s = at / SECTOR; size > 0 && s <= (at + size - 1) / SECTOR; s++)
        if (disk.sectors[s].count == 0) {
            disk.dirty[disk.dirty_count++] = s;
            add_version(s);
        }
    if (data)
        memcpy(disk.now + at, data, size);
    else
        memset(disk.now + at, 0, size);
    for (size_t s = at / SECTOR; size > 0 && s <= (at + size - 1) / SECTOR; s++)
        add_version(s);
}

static void set_size(size_t size)
{
    if (size < disk.size)
        change(size, NULL, disk.size - size);
    disk.size = size;
    ck_assert_uint_lt(disk.size_count, 64);
    disk.sizes[disk.size_count++] = size;
}

static void play(const struct op *op)
{
    if (op->kind == SYNC)
        forget_versions();
    if (op->kind == SIZE)
        set_size(op->at);
    if (op->kind == WRITE) {
        change(op->at, op->data, op->size);
        if (op->at + op->size > disk.size)
            set_size(op->at + op->size);
    }
}

static uint64_t combinations(void)
{
    uint64_t all = disk.size_count;
    for (size_t i = 0; i < disk.dirty_count && all <= ALL_UP_TO; i++)
        all *= disk.sectors[disk.dirty[i]].count;
    return all;
}

static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)
{
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed % below;
}

/* Make the file of combination number `c`; `sampled`: 0 nothing of it, 1 all, others by chance, or but one sector. */
static void make_file(const char *path, uint64_t c, bool sampled)
{
    static uint8_t image[FILE_MOST];
    memcpy(image, disk.now, sizeof image);
    size_t odd = disk.dirty_count ? draw(disk.dirty_count) : 0;
    size_t size = disk.sizes[!sampled ? c % disk.size_count
                             : c == 0 ? 0
                             : c == 1 ? disk.size_count - 1
                                      : draw(disk.size_count)];
    if (!sampled)
        c /= disk.size_count;
    for (size_t i = 0; i < disk.dirty_count; i++) {
        size_t s = disk.dirty[i], count = disk.sectors[s].count, which;
        if (!sampled) {
            which = c % count;
            c /= count;
        } else if (c % 3 == 2) {
            which = draw(count);
        } else {
            bool last = c == 1 || (c > 1 && (c % 3 == 1) != (i == odd));
            which = last ? count - 1 : 0;
        }
        memcpy(image + s * SECTOR, disk.sectors[s].versions[which], SECTOR);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert(fd >= 0 && write(fd, image, size) == (ssize_t)size);
    close(fd);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static size_t size_of(unsigned n)
{
    static const size_t sizes[] = {64, 0, 500, 1300, 8, 447, 449, 2000, 17000, 31};
    return n % 50 == 8 ? 17000 : sizes[n % 10] == 17000 ? 70 : sizes[n % 10];
}

/* Number n, as long as it has room to say so. */
static size_t compose(unsigned n, uint8_t *data)
{
    size_t size = size_of(n);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(n * 7 + i);
    return size;
}

static void check_message(unsigned n, const void *data, size_t size)
{
    static uint8_t expected[20000];
    ck_assert_uint_eq(size, compose(n, expected));
    ck_assert(memcmp(data, expected, size) == 0);
}

static struct wherry_channel *open_end(const char *path, const char *query, enum wherry_role role)
{
    char url[700];
    struct wherry_channel *channel = NULL;
    snprintf(url, sizeof url, "file://%s%s", path, query);
    test_is(wherry_channel_open(url, role, NULL, test_deadline(), &channel), 0);
    return channel;
}

static void send_one(struct wherry_channel *channel, unsigned n)
{
    static uint8_t data[20000];
    size_t size = compose(n, data);
    test_is(wherry_channel_send(channel, data, size, test_deadline()), 0);
}

static unsigned strangers_from = UINT32_MAX; /* from here on there may be messages of a send that was to fail */

/* Receive until there is no more: messages `first` and on, in turn; how many there were. */
static unsigned receive_all(struct wherry_channel *channel, unsigned first)
{
    static uint8_t data[20000];
    size_t size;
    unsigned n = first;
    int result;
    while ((result = wherry_channel_receive(channel, data, sizeof data, &size, WHERRY_NOW)) == 1)
        if (n++ < strangers_from)
            check_message(n - 1, data, size);
    test_is(result, -EAGAIN);
    return n - first;
}

/* ---- after the power cut ----------------------------------------------------------------------------------------- */

/* `acked` messages were acknowledged, `sent` were begun; the group had received `took`. */
static void check_file(const char *path, unsigned acked, unsigned sent, unsigned took, bool group)
{
    static uint8_t data[20000];
    size_t size;
    boot = boot == 'f' ? 'b' : (char)(boot + 1);
    struct wherry_channel *reader = open_end(path, "", WHERRY_RECEIVE);
    unsigned there = receive_all(reader, 0);
    ck_assert_msg(there >= acked && (there <= sent || strangers_from != UINT32_MAX),
                  "%u messages are there; %u were acknowledged, %u sent", there, acked, sent);
    struct wherry_channel *sender = open_end(path, "?fsync=each", WHERRY_SEND);
    send_one(sender, there);
    ck_assert_uint_eq(receive_all(reader, there), 1);
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(reader, WHERRY_NOW);
    if (!group)
        return;
    /* nothing is skipped; what was received since the last fdatasync may come again */
    struct wherry_channel *member = open_end(path, "?group=g", WHERRY_RECEIVE);
    test_is(wherry_channel_receive(member, data, sizeof data, &size, WHERRY_NOW), 1);
    unsigned next = 0;
    for (unsigned n = 0; n <= there && n <= took + 1; n++) /* one may have gone with its receiver */
        if (size_of(n) == size && (size == 0 || data[0] == (uint8_t)(n * 7)))
            next = n + 1;
    ck_assert_msg(next > 0, "a message of %zu bytes that comes too late, or never was", size);
    receive_all(member, next);
    wherry_channel_close(member, WHERRY_NOW);
}

static unsigned images;

static void check_all(const char *path, bool group)
{
    char copy[300];
    unsigned acked = op_count && ops[0].kind == ACK ? (unsigned)ops[0].at : 0, took = 0, sent = 0;
    snprintf(copy, sizeof copy, "%s.cut", path);
    recording = false;
    disk_init();
    for (size_t i = 0; i <= op_count; i++) {
        uint64_t all = combinations();
        bool sampled = all > ALL_UP_TO;
        sent = acked + 1;
        for (uint64_t c = 0; c < (sampled ? SAMPLE : all); c++, images++) {
            make_file(copy, c, sampled);
            check_file(copy, acked, sent, took, group);
        }
        if (i == op_count)
            break;
        play(&ops[i]);
        if (ops[i].kind == ACK)
            acked = (unsigned)ops[i].at;
        if (ops[i].kind == TRY)
            strangers_from = ops[i].at ? acked : UINT32_MAX;
        if (ops[i].kind == TOOK)
            took = (unsigned)ops[i].at;
    }
    unlink(copy);
    forget_versions();
}

/* ---- the cases --------------------------------------------------------------------------------------------------- */

TEST_WITH(h6_a_power_cut_loses_nothing_acknowledged, .seconds = 240)
{
    char path[256];
    enum { COUNT = 22 };
    table_replace();
    test_path(path, "log");
    wherry_channel_close(open_end(path, "", WHERRY_RECEIVE), WHERRY_NOW);
    struct wherry_channel *senders[2] = {open_end(path, "?fsync=each", WHERRY_SEND),
                                         open_end(path, "?fsync=each", WHERRY_SEND)};
    start_recording(path);
    for (unsigned n = 0; n < COUNT; n++) {
        send_one(senders[n % 3 == 1], n);
        note(ACK, n + 1, NULL, 0);
    }
    check_all(path, false);
    wherry_channel_close(senders[0], WHERRY_NOW);
    wherry_channel_close(senders[1], WHERRY_NOW);
    table_restore();
    unlink(path);
    ck_assert_uint_gt(images, 500);
}

TEST_WITH(a_group_skips_nothing_after_a_power_cut, .seconds = 240)
{
    char path[256];
    enum { COUNT = 12 };
    static uint8_t data[20000];
    size_t size;
    table_replace();
    test_path(path, "log");
    struct wherry_channel *sender = open_end(path, "?fsync=each", WHERRY_SEND);
    struct wherry_channel *member = open_end(path, "?group=g", WHERRY_RECEIVE);
    start_recording(path);
    for (unsigned n = 0; n < COUNT; n++) {
        send_one(sender, n);
        note(ACK, n + 1, NULL, 0);
        struct wherry_loan loan;
        if (n % 2) {
            test_is(wherry_channel_receive(member, data, sizeof data, &size, WHERRY_NOW), 1);
        } else {
            test_is(wherry_channel_borrow(member, &loan, WHERRY_NOW), 1);
            wherry_channel_return(member, &loan);
        }
        note(TOOK, n + 1, NULL, 0);
    }
    check_all(path, true);
    wherry_channel_close(sender, WHERRY_NOW);
    wherry_channel_close(member, WHERRY_NOW);
    table_restore();
    unlink(path);
}

static ssize_t short_pwrite(int fd, const void *data, size_t size, off_t at)
{
    if (at >= 36864 && size > 100) {
        errno = ENOSPC;
        return size > 1000 ? noted_pwrite(fd, data, size - 700, at) : -1;
    }
    return noted_pwrite(fd, data, size, at);
}

/* A tail that was cut does not come back behind what was written in its place. */
TEST_WITH(h6_a_cut_tail_stays_cut_through_a_power_cut, .seconds = 240)
{
    char path[256];
    static uint8_t big[3000];
    table_replace();
    test_path(path, "log");
    struct wherry_channel *sender = open_end(path, "?fsync=each", WHERRY_SEND);
    start_recording(path);
    for (unsigned n = 0; n < 6; n++) {
        /* a batch of records like those to come, of which a part is written */
        struct wherry_message batch[40];
        for (unsigned i = 0; i < 40; i++)
            batch[i] = (struct wherry_message){.data = big, .size = size_of(n)};
        wherry__sys.pwrite = short_pwrite;
        wherry__sys.ftruncate = n % 2 ? no_ftruncate : noted_ftruncate; /* it cuts, or the next one */
        note(TRY, true, NULL, 0);
        tail_left = failing = true;
        test_is(wherry_channel_send_many(sender, batch, 40, WHERRY_NOW), -ENOSPC);
        failing = false;
        wherry__sys.pwrite = noted_pwrite;
        wherry__sys.ftruncate = noted_ftruncate;
        send_one(sender, n);
        note(ACK, n + 1, NULL, 0);
    }
    check_all(path, false);
    wherry_channel_close(sender, WHERRY_NOW);
    table_restore();
    unlink(path);
}

/* The power goes again while the log is recovered. */
TEST_WITH(a_power_cut_during_a_recovery_costs_nothing, .seconds = 240)
{
    char path[256];
    enum { BEFORE = 5, COUNT = 9 };
    table_replace();
    test_path(path, "log");
    struct wherry_channel *sender = open_end(path, "?fsync=each", WHERRY_SEND);
    for (unsigned n = 0; n < BEFORE; n++)
        send_one(sender, n);
    wherry_channel_close(sender, WHERRY_NOW);
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC); /* and a torn one */
    ck_assert(fd >= 0 && write(fd, "WREC\100\0\0\0 half of it", 19) == 19);
    close(fd);
    boot = '1';
    start_recording(path);
    note(ACK, BEFORE, NULL, 0);
    sender = open_end(path, "?fsync=each", WHERRY_SEND);
    for (unsigned n = BEFORE; n < COUNT; n++) {
        send_one(sender, n);
        note(ACK, n + 1, NULL, 0);
    }
    check_all(path, false);
    wherry_channel_close(sender, WHERRY_NOW);
    table_restore();
    unlink(path);
}

/* What the kernel wrote of a log whose senders did not ask for the disk may be any part of it; it opens all the
 * same. */
TEST_WITH(a_log_without_fsync_opens_after_any_power_cut, .seconds = 240)
{
    char path[256];
    table_replace();
    test_path(path, "log");
    wherry_channel_close(open_end(path, "", WHERRY_RECEIVE), WHERRY_NOW);
    struct wherry_channel *sender = open_end(path, "", WHERRY_SEND);
    struct wherry_channel *member = open_end(path, "?group=g", WHERRY_RECEIVE);
    start_recording(path);
    for (unsigned n = 0; n < 14; n++)
        send_one(sender, n);
    ck_assert_uint_eq(receive_all(member, 0), 14); /* whose place may be on the disk when they are not */
    /* nothing is acknowledged to be on the disk, and each number may be there */
    char copy[300];
    snprintf(copy, sizeof copy, "%s.cut", path);
    recording = false;
    disk_init();
    for (size_t i = 0; i < op_count; i++)
        play(&ops[i]);
    for (unsigned c = 0; c < 1500; c++) {
        make_file(copy, c, true);
        check_file(copy, 0, 14, 14, true);
    }
    unlink(copy);
    forget_versions();
    wherry_channel_close(member, WHERRY_NOW);
    wherry_channel_close(sender, WHERRY_NOW);
    table_restore();
    unlink(path);
}
