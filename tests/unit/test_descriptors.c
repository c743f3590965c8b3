/* tests/unit/test_descriptors.c - owns the tests of descriptors that come with messages: H49, socket/descriptor.c and
 * channel/link_fds.c.
 *
 * SPDX-License-Identifier: MIT
 *
 * A descriptor is told from others by the file it leads to: each message that has one says which. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/size.h"
#include "channel/framing.h"
#include "socket/credentials.h"
#include "socket/descriptor.h"
#include "unit/ends.h"
#include "unit/faults.h"

#define ENDS_SOCKET_FD                                                                                                 \
    {                                                                                                                  \
        "fd", "fd:", "?writers=1", .ends = true, .duplex = true                                                        \
    }

static const struct ends_kind kinds[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM, ENDS_SOCKETPAIR, ENDS_SOCKET_FD};
static const struct ends_kind streams[] = {ENDS_UNIX, ENDS_SOCKETPAIR, ENDS_SOCKET_FD};
static const struct ends_kind named[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};

enum { MOST = 253, BIG = 300000 };

/* As ends_open(), but fd: on a socket, and `more` is for the receiver alone: it asks for descriptors. */
static void open_ends(struct ends *ends, const struct ends_kind *kind, const char *more)
{
    if (kind->by_name) {
        ends_url(ends->url, sizeof ends->url, kind, more);
        test_ok(wherry_channel_open(ends->url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
        ends_url(ends->url, sizeof ends->url, kind, "");
        test_ok(wherry_channel_open(ends->url, WHERRY_SEND, NULL, test_deadline(), &ends->sender));
    } else if (strcmp(kind->scheme, "fd:") == 0) {
        int fds[2];
        char url[200];
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        snprintf(url, sizeof url, "fd:%d%s%s%s", fds[0], kind->query, kind->query[1] ? "&" : "", more);
        test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &ends->receiver));
        snprintf(url, sizeof url, "fd:%d%s", fds[1], kind->query[1] ? kind->query : "");
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &ends->sender));
    } else {
        ends_open(ends, kind, more);
    }
}

/* ---- files, told from each other by their sizes ------------------------------------------------------------------ */

/* A file that leads nowhere else, of this many bytes. */
static int file_of(unsigned tag)
{
    int fd = memfd_create("tag", MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)tag), 0);
    return fd;
}

static unsigned tag_of(int fd)
{
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    return (unsigned)status.st_size;
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* A message of `size` bytes that says its tag, with `count` descriptors of the files tag * 1000 + i. */
static int try_send(struct wherry_channel *sender, unsigned tag, size_t size, size_t count, unsigned flags)
{
    int fds[MOST + 1];
    char said[16];
    uint8_t *data = malloc(size);
    memset(data, 'x', size);
    snprintf(said, sizeof said, "%08u", tag);
    memcpy(data, said, 8);
    for (size_t i = 0; i < count; i++)
        fds[i] = file_of(tag * 1000 + (unsigned)i);
    struct wherry_message message = {.data = data, .size = size, .fds = count ? fds : NULL, .fd_count = count};
    int result = wherry_channel_send_message(sender, &message, flags, test_deadline());
    for (size_t i = 0; i < count; i++)
        close(fds[i]); /* the sender's own: those under way are others */
    free(data);
    return result;
}

static void send_one(struct wherry_channel *sender, unsigned tag, size_t size, size_t count)
{
    test_ok(try_send(sender, tag, size, count, 0));
}

static uint8_t buffer[BIG];

/* The next message has this tag, size, and its own descriptors. */
static void expect(struct wherry_channel *receiver, unsigned tag, size_t size, size_t count)
{
    int fds[MOST];
    struct wherry_info info;
    char said[16];
    test_is(wherry_channel_receive_with_fds(receiver, buffer, sizeof buffer, fds, MOST, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.size, size);
    snprintf(said, sizeof said, "%08u", tag);
    ck_assert_msg(memcmp(buffer, said, 8) == 0, "%.8s came for %s", (char *)buffer, said);
    ck_assert_msg(info.fd_count == count, "%u: %zu descriptors came, not %zu", tag, info.fd_count, count);
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(tag_of(fds[i]), tag * 1000 + i);
        ck_assert_int_eq(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
}

static struct wherry_channel_stats stats_of(struct wherry_channel *channel)
{
    struct wherry_channel_stats stats;
    test_ok(wherry_channel_stats(channel, &stats, sizeof stats));
    return stats;
}

/* ---- how many ---------------------------------------------------------------------------------------------------- */

TEST_TABLE(they_come_with_their_message, kinds)
{
    static const size_t counts[] = {1, 0, 2, 3, 16, 17, 0, 252, 253};
    struct ends ends;
    open_ends(&ends, &kinds[index], "fds=253");
    size_t before = 0;
    for (unsigned i = 0; i < sizeof counts / sizeof *counts; i++) {
        send_one(ends.sender, i, 100, counts[i]);
        expect(ends.receiver, i, 100, counts[i]);
        before = i == 0 ? test_descriptors() : before;
        ck_assert_uint_eq(test_descriptors(), before);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 0);
    ends_close(&ends);
}

TEST_TABLE(one_more_than_the_kernel_takes_is_refused, kinds)
{
    struct ends ends;
    int fd = 0;
    open_ends(&ends, &kinds[index], "fds=253");
    test_is(try_send(ends.sender, 1, 100, MOST + 1, 0), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "253"));
    struct wherry_message message = {.data = "x", .size = 1, .fd_count = 1};
    test_is(wherry_channel_send_message(ends.sender, &message, 0, WHERRY_NOW), -EINVAL);
    message.fds = &fd;
    fd = 1 << 20; /* not open */
    test_is(wherry_channel_send_message(ends.sender, &message, 0, WHERRY_NOW), -EBADF);
    send_one(ends.sender, 2, 100, 1); /* and nothing of all that was sent */
    expect(ends.receiver, 2, 100, 1);
    ends_close(&ends);
}

TEST_TABLE(more_than_the_receiver_asked_for_cost_their_message, kinds)
{
    struct ends ends;
    struct wherry_info info;
    int fds[3];
    open_ends(&ends, &kinds[index], "fds=3");
    send_one(ends.sender, 1, 100, 3);
    test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, test_deadline()), 1);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    size_t before = test_descriptors();
    for (unsigned more = 4; more < 9; more++) { /* padding makes room for one of them */
        send_one(ends.sender, more, 100, more);
        send_one(ends.sender, 10 + more, 100, 0);
        test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, test_deadline()),
                -EBADMSG);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "fds=3"));
        ck_assert_uint_eq(test_descriptors(), before);
        test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, test_deadline()),
                1);
        ck_assert_uint_eq(info.fd_count, 0);
        ck_assert_int_eq(buffer[6], '1'); /* the one behind it: the connection goes on */
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped, 5);
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 5);
    ends_close(&ends);
}

/* ---- not wanted -------------------------------------------------------------------------------------------------- */

TEST_TABLE(who_did_not_ask_gets_none, kinds)
{
    struct ends ends;
    struct wherry_info info;
    int fds[4];
    open_ends(&ends, &kinds[index], "max_message=16M"); /* says nothing */
    test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 4, &info, WHERRY_NOW),
            -EOPNOTSUPP);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "fds="));
    size_t before = 0;
    for (unsigned i = 0; i < 5; i++) {
        send_one(ends.sender, i, 100, i * i);
        test_is(wherry_channel_receive_info(ends.receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
        ck_assert_uint_eq(info.size, 100);
        ck_assert_uint_eq(info.fd_count, 0);
        before = i == 0 ? test_descriptors() : before;
        ck_assert_uint_eq(test_descriptors(), before);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 4);
    ck_assert_uint_eq(stats_of(ends.receiver).dropped, 0);
    ends_close(&ends);
}

TEST_TABLE(what_is_not_taken_is_closed, kinds)
{
    struct ends ends;
    struct wherry_info info;
    struct wherry_loan loan;
    size_t size;
    int fds[8];
    open_ends(&ends, &kinds[index], "fds=4");
    test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, sizeof buffer, fds, 3, &info, WHERRY_NOW), -EINVAL);
    send_one(ends.sender, 0, 100, 0);
    expect(ends.receiver, 0, 100, 0);
    size_t before = test_descriptors();
    for (unsigned i = 1; i < 5; i++) {
        send_one(ends.sender, i, 100, i);
        test_is(wherry_channel_receive_info(ends.receiver, buffer, sizeof buffer, &info, test_deadline()), 1);
        ck_assert_uint_eq(info.fd_count, i);
        ck_assert_uint_eq(test_descriptors(), before);
        send_one(ends.sender, i, 100, i);
        test_is(wherry_channel_receive(ends.receiver, buffer, sizeof buffer, &size, test_deadline()), 1);
        ck_assert_uint_eq(test_descriptors(), before);
        send_one(ends.sender, i, 100, i);
        test_is(wherry_channel_borrow(ends.receiver, &loan, test_deadline()), 1);
        ck_assert_uint_eq(loan.info.fd_count, i);
        ck_assert_uint_eq(test_descriptors(), before + i);
        if (i > 1)
            test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, i - 1), -EMSGSIZE);
        wherry_channel_return(ends.receiver, &loan);
        ck_assert_uint_eq(test_descriptors(), before);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 12);
    send_one(ends.sender, 7, 100, 2); /* never received */
    ends_close(&ends);
}

TEST_TABLE(a_loan_hands_them_over_once, kinds)
{
    struct ends ends;
    struct wherry_loan loan;
    int fds[4];
    open_ends(&ends, &kinds[index], "fds=4");
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), -EINVAL);
    send_one(ends.sender, 3, 100, 4);
    test_is(wherry_channel_borrow(ends.receiver, &loan, test_deadline()), 1);
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), 4);
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), 0);
    wherry_channel_return(ends.receiver, &loan);
    test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), -EINVAL);
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(tag_of(fds[i]), 3000 + i);
        close(fds[i]);
    }
    ck_assert_uint_eq(stats_of(ends.receiver).dropped_fds, 0);
    ends_close(&ends);
}

/* A message that did not fit keeps its descriptors until it is received. */
TEST_TABLE(too_small_a_buffer_loses_none, kinds)
{
    static const size_t sizes[] = {100, 20000, 100000};
    struct ends ends;
    struct wherry_info info;
    int fds[4];
    open_ends(&ends, &kinds[index], "fds=4");
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        send_one(ends.sender, i, sizes[i], 2);
        for (int tries = 0; tries < 3; tries++) {
            test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, 50, fds, 4, &info, test_deadline()),
                    -EMSGSIZE);
            ck_assert_uint_eq(info.size, sizes[i]);
        }
        expect(ends.receiver, i, sizes[i], 2);
    }
    ends_close(&ends);
}

/* ---- streams: with exactly its message --------------------------------------------------------------------------- */

static const struct {
    const char *name;
    const char *query;
    bool single; /* of one size */
} framings[] = {
    {"length", "frame=length&fds=253", false},
    {"length_exact", "frame=length&fds=253&read_ahead=no", false},
    {"length_ahead", "frame=length&fds=253&read_ahead=yes", false},
    {"line", "frame=line&fds=253&read_ahead=yes", false},
    {"line_exact", "frame=line&fds=253&read_ahead=no", false},
    {"nul", "frame=nul&fds=253&read_ahead=yes", false},
    {"fixed", "frame=fixed:100&fds=253&read_ahead=yes", true},
    {"fixed_big", "frame=fixed:20000&fds=253&read_ahead=yes", true},
    {"fixed_exact", "frame=fixed:20000&fds=253&read_ahead=no", true},
};

static void open_framed(struct ends *ends, const struct ends_kind *kind, const char *query)
{
    char both[200];
    const char *end = strchr(query, '&');
    if (!kind->by_name && strcmp(kind->scheme, "fd:") != 0) {
        open_ends(ends, kind, query);
        return;
    }
    struct ends_kind framed = *kind;
    snprintf(both, sizeof both, "%s%s%.*s", kind->query, strlen(kind->query) > 1 ? "&" : "", (int)(end - query), query);
    framed.query = both;
    open_ends(ends, &framed, end + 1);
}

struct script {
    unsigned random, count;
    size_t size; /* of all messages; 0: any */
};

static unsigned next_random(struct script *script)
{
    script->random = script->random * 1664525u + 1013904223u;
    return script->random >> 8;
}

/* What message `i` is.  Mostly small ones, so that many are read ahead, and few with descriptors. */
static void next_message(struct script *script, size_t *ret_size, size_t *ret_fds, unsigned *ret_flags)
{
    static const size_t sizes[] = {8, 20, 100, 2030, 2040, 5000, 16383, 16384, 30000, 70000, 290000};
    unsigned a = next_random(script), b = next_random(script), c = next_random(script);
    *ret_size = script->size ? script->size : a % 4 ? 8 + a / 4 % 100 : sizes[a / 4 % 11];
    *ret_fds = b % 3 ? 0 : 1 + b / 3 % 3;
    *ret_flags = c % 2 ? WHERRY_MORE : 0;
}

struct writer {
    struct wherry_channel *sender;
    struct script script;
};

static void *write_all(void *argument)
{
    struct writer *writer = argument;
    size_t size, count;
    unsigned flags;
    for (unsigned i = 0; i < writer->script.count; i++) {
        next_message(&writer->script, &size, &count, &flags);
        test_ok(try_send(writer->sender, i, size, count, flags));
    }
    test_ok(wherry_channel_flush(writer->sender, test_deadline()));
    return NULL;
}

static void carry_script(struct ends *ends, struct script script)
{
    struct writer writer = {ends->sender, script};
    pthread_t thread;
    size_t size, count;
    unsigned flags;
    ck_assert_int_eq(pthread_create(&thread, NULL, write_all, &writer), 0);
    for (unsigned i = 0; i < script.count; i++) {
        next_message(&script, &size, &count, &flags);
        expect(ends->receiver, i, size, count);
    }
    pthread_join(thread, NULL);
    ck_assert_uint_eq(stats_of(ends->receiver).dropped_fds, 0);
}

static size_t size_of(size_t framing)
{
    return framings[framing].single ? strtoul(strchr(framings[framing].query, ':') + 1, NULL, 10) : 0;
}

TEST_TABLE(streams_keep_them_with_their_message, framings)
{
    for (size_t k = 0; k < sizeof streams / sizeof *streams; k++) {
        struct ends ends;
        open_framed(&ends, &streams[k], framings[index].query);
        carry_script(&ends, (struct script){.random = (unsigned)k, .count = 400, .size = size_of(index)});
        ends_close(&ends);
    }
}

/* The same, however short the reads and writes are. */
TEST_TABLE(pieces_keep_them_with_their_message, framings)
{
    static const size_t limits[] = {1, 7, 4096, 13, 100000, 2, 12, 30};
    faults_short_writes(limits, sizeof limits / sizeof *limits);
    struct wherry__sys writes = wherry__sys;
    faults_short_reads(limits, sizeof limits / sizeof *limits);
    wherry__sys.recvmsg = faults_recvmsg;
    wherry__sys.sendmsg = writes.sendmsg;
    faults_real.sendmsg = sendmsg;
    struct ends ends;
    open_framed(&ends, &streams[1], framings[index].query);
    struct script script = {.random = 5, .count = 100, .size = size_of(index)};
    size_t size, count;
    unsigned flags;
    for (unsigned i = 0; i < script.count; i++) { /* both ends in one thread: the limits are shared */
        next_message(&script, &size, &count, &flags);
        if (size > 30000)
            size = 30000;
        send_one(ends.sender, i, size, count);
        expect(ends.receiver, i, size, count);
    }
    ends_close(&ends);
}

/* Many small ones lie read ahead when one with descriptors is received, and those of later ones are held meanwhile. */
TEST(read_ahead_holds_no_more_than_one_message_has)
{
    struct ends ends;
    open_ends(&ends, &streams[1], "fds=4");
    size_t before = test_descriptors();
    for (unsigned i = 0; i < 20; i++)
        test_ok(try_send(ends.sender, i, 20, i % 5 == 4 ? 4 : 0, WHERRY_MORE));
    test_ok(wherry_channel_flush(ends.sender, WHERRY_NOW));
    for (unsigned i = 0; i < 20; i++) {
        expect(ends.receiver, i, 20, i % 5 == 4 ? 4 : 0);
        ck_assert_uint_le(test_descriptors(), before + 4);
    }
    ends_close(&ends);
}

/* What is exported asks for as many. */
TEST(an_exported_end_asks_for_them_too)
{
    struct wherry_channel *pair[2], *again;
    char url[128];
    test_ok(wherry_channel_pair("socketpair:?fds=3", NULL, pair));
    test_ok(wherry_channel_export(pair[0], url, sizeof url));
    ck_assert_ptr_nonnull(strstr(url, "&fds=3"));
    int fd = dup(atoi(url + 3)); /* the number itself is the endpoint's */
    char other[160];
    snprintf(other, sizeof other, "fd:%d%s", fd, strchr(url, '?'));
    wherry_channel_close(pair[0], WHERRY_NOW);
    test_ok(wherry_channel_open(other, WHERRY_RECEIVE, NULL, WHERRY_NOW, &again));
    send_one(pair[1], 1, 20, 3);
    expect(again, 1, 20, 3);
    wherry_channel_close(pair[1], WHERRY_NOW);
    wherry_channel_close(again, WHERRY_NOW);
}

static const struct ends_kind shared = {"shared", "fd:", "?", .ends = true, .duplex = true};

/* Where several write, what would go in parts has none. */
TEST(messages_in_parts_have_none)
{
    struct ends ends;
    open_ends(&ends, &shared, "fds=2");
    test_is(try_send(ends.sender, 1, 4085, 1, 0), -EMSGSIZE);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "writers=1"));
    send_one(ends.sender, 2, 4085, 0);
    send_one(ends.sender, 3, 4084, 2);
    send_one(ends.sender, 4, 50000, 0);
    send_one(ends.sender, 5, 10, 1);
    expect(ends.receiver, 2, 4085, 0);
    expect(ends.receiver, 3, 4084, 2);
    expect(ends.receiver, 4, 50000, 0);
    expect(ends.receiver, 5, 10, 1);
    ends_close(&ends);
}

TEST_TABLE(packets_keep_them_in_a_batch, named)
{
    enum { COUNT = 40 };
    struct ends ends;
    struct wherry_message messages[COUNT];
    static char texts[COUNT][9];
    int fds[2] = {file_of(1), file_of(2)};
    open_ends(&ends, &named[index], "fds=2");
    for (unsigned done = 0; done < COUNT;) {
        for (unsigned i = done; i < COUNT; i++) {
            snprintf(texts[i], sizeof texts[i], "%08u", i);
            messages[i] = (struct wherry_message){.data = texts[i], .size = 8};
            if (i % 7 > 4)
                messages[i].fds = fds, messages[i].fd_count = 2;
        }
        ssize_t sent = wherry_channel_send_many(ends.sender, messages + done, COUNT - done, WHERRY_NOW);
        ck_assert_int_gt(sent, 0);
        for (unsigned end = done + (unsigned)sent; done < end; done++) {
            int came[2];
            struct wherry_info info;
            test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, 8, came, 2, &info, test_deadline()), 1);
            ck_assert_int_eq(memcmp(buffer, texts[done], 8), 0);
            ck_assert_uint_eq(info.fd_count, done % 7 > 4 ? 2 : 0);
            for (unsigned f = 0; f < info.fd_count; f++) {
                ck_assert_uint_eq(tag_of(came[f]), f + 1);
                close(came[f]);
            }
        }
    }
    close(fds[0]);
    close(fds[1]);
    ends_close(&ends);
}

/* ---- where there are none ---------------------------------------------------------------------------------------- */

static const struct ends_kind without[] = {ENDS_PIPE, ENDS_FIFO, ENDS_FD};

TEST_TABLE(other_objects_carry_none, without)
{
    struct ends ends;
    struct wherry_channel *channel;
    char url[400];
    ends_open(&ends, &without[index], "");
    test_is(try_send(ends.sender, 1, 10, 1, 0), -EOPNOTSUPP);
    ends_close(&ends);
    if (without[index].by_name) {
        ends_url(url, sizeof url, &without[index], "fds=1");
        test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EINVAL);
    }
}

TEST(neither_a_ring_nor_an_inherited_pipe_carries_any)
{
    struct wherry_channel *channel, *receiver;
    char url[100];
    int fds[2];
    snprintf(url, sizeof url, "shm://%s", test_word());
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &channel));
    test_is(try_send(channel, 1, 10, 1, 0), -EOPNOTSUPP);
    wherry_channel_close(channel, WHERRY_NOW);
    wherry_channel_close(receiver, WHERRY_NOW);
    ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
    snprintf(url, sizeof url, "fd:%d?fds=1", fds[0]);
    test_is(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel), -EOPNOTSUPP);
    close(fds[0]);
    close(fds[1]);
}

TEST(frame_raw_carries_none)
{
    struct wherry_channel *pair[2];
    test_is(wherry_channel_pair("socketpair:?frame=raw&fds=1", NULL, pair), -EINVAL);
    test_is(wherry_channel_pair("socketpair:?fds=254", NULL, pair), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "253"));
    test_ok(wherry_channel_pair("socketpair:?frame=raw", NULL, pair));
    test_is(try_send(pair[0], 1, 10, 1, 0), -EOPNOTSUPP);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
}

/* ---- strangers --------------------------------------------------------------------------------------------------- */

static void raw_send(int fd, const void *data, size_t size, const int *fds, size_t count)
{
    union wherry__descriptors_space space;
    struct iovec part = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (count)
        wherry__descriptors_attach(&message, &space, fds, count);
    ck_assert_int_eq(sendmsg(fd, &message, MSG_NOSIGNAL), (ssize_t)size);
}

/* A receiver on one end of a socket pair, and the other end. */
static int raw_pair(const char *query, struct wherry_channel **receiver)
{
    int fds[2];
    char url[100];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    snprintf(url, sizeof url, "fd:%d%s", fds[0], query);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, receiver));
    return fds[1];
}

static const struct {
    const char *name;
    const char *query;
    bool to_first;
} manners[] = {{"ahead", "?frame=line&fds=8&read_ahead=yes", false},
               {"exact", "?frame=line&fds=8&read_ahead=no", true}};

/* One write with several messages: nothing says whose they are.  The last has them, or with exact reads the first;
 * never is one lost, or given twice. */
TEST_TABLE(of_several_messages_in_one_write_one_has_them, manners)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    int fd = raw_pair(manners[index].query, &receiver), file = file_of(9), came[8];
    raw_send(fd, "one\n", 4, NULL, 0);
    raw_send(fd, "two\nthree\nfour\n", 15, &file, 1);
    raw_send(fd, "five\n", 5, NULL, 0);
    static const char *const words[] = {"one", "two", "three", "four", "five"};
    for (size_t i = 0; i < 5; i++) {
        test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 1);
        ck_assert_int_eq(memcmp(buffer, words[i], info.size), 0);
        ck_assert_uint_eq(info.fd_count, i == (manners[index].to_first ? 1 : 3));
        if (info.fd_count)
            close(came[0]);
    }
    close(file);
    close(fd);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* A message in many writes, each with descriptors: all are its, up to fds=. */
TEST(several_writes_of_one_message_add_up)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    int came[8], file = file_of(9);
    int fd = raw_pair("?frame=line&fds=8&read_ahead=yes", &receiver);
    size_t before = test_descriptors();
    for (unsigned writes = 1; writes < 20; writes++) {
        for (unsigned i = 0; i < writes; i++) {
            raw_send(fd, "x", 1, &file, 1);
            test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, WHERRY_NOW), -EAGAIN);
            ck_assert_uint_le(test_descriptors(), before + 16);
        }
        raw_send(fd, "\n", 1, NULL, 0);
        int result = wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline());
        test_is(result, writes <= 8 ? 1 : -EBADMSG);
        for (unsigned i = 0; result == 1 && i < writes; i++)
            close(came[i]);
        ck_assert_uint_eq(test_descriptors(), before);
    }
    close(file);
    close(fd);
    wherry_channel_close(receiver, WHERRY_NOW);
}

TEST(foreign_bytes_take_theirs_with_them)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    uint8_t frame[WHERRY__WHOLE_HEADER + 8];
    int came[8], file = file_of(9);
    int fd = raw_pair("?fds=8&read_ahead=yes", &receiver);
    wherry__whole_encode(frame, 8, 0);
    memcpy(frame + WHERRY__WHOLE_HEADER, "00000001", 8);
    size_t before = test_descriptors();
    raw_send(fd, "this is no frame at all, and long", 33, &file, 1);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), -EBADMSG);
    raw_send(fd, frame, sizeof frame, NULL, 0); /* now the last of those bytes are known to begin none */
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.fd_count, 0);
    ck_assert_uint_eq(test_descriptors(), before);
    raw_send(fd, frame, 15, &file, 1); /* and nothing more: the end comes within it */
    close(fd);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 0);
    ck_assert_uint_eq(test_descriptors(), before - 1);
    close(file);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* What a process wrote that may not is dropped with what came along. */
TEST_TABLE(what_a_stranger_sent_goes_with_it, manners)
{
    struct wherry_channel *receiver;
    struct wherry_info info;
    if (!test_is_root())
        test_skip("only root can say to be another user");
    int fd = raw_pair(manners[index].query, &receiver), file = file_of(9), came[8];
    struct ucred other = {.pid = getpid(), .uid = 4711, .gid = 4711};
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof other) + CMSG_SPACE(sizeof file)];
    } control = {0};
    struct iovec part = {(void *)(uintptr_t) "no\n", 3};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header =
        (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS, .cmsg_len = CMSG_LEN(sizeof other)};
    memcpy(CMSG_DATA(header), &other, sizeof other);
    header = CMSG_NXTHDR(&message, header);
    *header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof file)};
    memcpy(CMSG_DATA(header), &file, sizeof file);
    size_t before = test_descriptors();
    ck_assert_int_eq(sendmsg(fd, &message, 0), 3);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), -EPERM);
    ck_assert_uint_eq(test_descriptors(), before);
    raw_send(fd, "yes, and more\n", 14, NULL, 0);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, 100, came, 8, &info, test_deadline()), 1);
    ck_assert_uint_eq(info.fd_count, 0);
    close(file);
    close(fd);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* Whatever room the padding makes, and the credentials that were not asked for. */
TEST(all_that_were_sent_come_or_none)
{
    int fds[2];
    char byte;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    size_t before = test_descriptors();
    for (size_t most = 1; most < 8; most++)
        for (size_t sent = 0; sent < 20; sent++) {
            int many[20];
            struct wherry__descriptors came = {.most = most};
            struct wherry__credentials credentials;
            struct iovec part = {&byte, 1};
            bool had;
            int flags;
            for (size_t i = 0; i < sent; i++)
                many[i] = fds[0];
            raw_send(fds[1], "x", 1, many, sent);
            ck_assert_int_eq(wherry__descriptors_receive(fds[0], &part, 1, &credentials, &had, NULL, &flags, &came), 1);
            ck_assert(!had && came.cut == (sent > most));
            ck_assert_uint_eq(came.count, came.cut ? 0 : sent);
            ck_assert_uint_eq(test_descriptors(), before + came.count);
            while (came.count > 0)
                close(came.fds[--came.count]);
        }
    close(fds[0]);
    close(fds[1]);
}

/* ---- no number left ---------------------------------------------------------------------------------------------- */

static void limit_to(rlim_t limit)
{
    struct rlimit now;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &now), 0);
    now.rlim_cur = limit;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
}

TEST_TABLE(h49_without_numbers_the_message_is_lost_and_nothing_leaks, kinds)
{
    struct ends ends;
    struct wherry_info info;
    struct rlimit whole;
    int fds[8];
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &whole), 0);
    open_ends(&ends, &kinds[index], "fds=8");
    send_one(ends.sender, 0, 100, 8);
    expect(ends.receiver, 0, 100, 8);
    size_t before = test_descriptors();
    int lowest = dup(0);
    close(lowest);
    for (rlim_t room = 0; room < 4; room++) {
        send_one(ends.sender, 1, 100, 4);
        send_one(ends.sender, 2, 100, 0);
        send_one(ends.sender, 3, 100, 1);
        limit_to((rlim_t)lowest + room);
        test_is(wherry_channel_receive_with_fds(ends.receiver, buffer, 100, fds, 8, &info, test_deadline()), -EBADMSG);
        ck_assert_ptr_nonnull(strstr(wherry_why(), "ulimit"));
        limit_to(whole.rlim_cur);
        ck_assert_uint_eq(test_descriptors(), before);
        expect(ends.receiver, 2, 100, 0);
        expect(ends.receiver, 3, 100, 1);
    }
    ends_close(&ends);
}

/* ---- death ------------------------------------------------------------------------------------------------------- */

struct victim {
    char url[400];
    struct test_gate written;
};

/* Sends one whole message, then of another the beginning alone, and waits to be killed. */
static void send_half(void *argument)
{
    struct victim *victim = argument;
    uint8_t frame[WHERRY__WHOLE_HEADER];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fds[2] = {file_of(1), file_of(2)};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    memcpy(address.sun_path, victim->url, strlen(victim->url) + 1);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    wherry__whole_encode(frame, 50000, 0);
    raw_send(fd, frame, sizeof frame, fds, 2);
    static uint8_t half[20000];
    raw_send(fd, half, sizeof half, NULL, 0);
    test_gate_open(&victim->written);
    for (;;)
        pause();
}

TEST(a_sender_killed_within_a_message_leaves_none)
{
    struct victim victim;
    struct wherry_channel *receiver;
    struct wherry_info info;
    char url[400];
    int fds[4];
    test_path(victim.url, "place");
    snprintf(url, sizeof url, "unix:%.300s?fds=4", victim.url);
    test_gate_init(&victim.written);
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &receiver));
    size_t before = test_descriptors();
    pid_t child = test_fork(send_half, &victim);
    test_gate_wait(&victim.written);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, sizeof buffer, fds, 4, &info, WHERRY_NOW), -EAGAIN);
    ck_assert_uint_eq(test_descriptors(), before + 3); /* the connection, and what came with the half */
    test_kill(child);
    test_is(wherry_channel_receive_with_fds(receiver, buffer, sizeof buffer, fds, 4, &info, test_deadline()), 0);
    ck_assert_uint_eq(test_descriptors(), before);
    ck_assert_uint_eq(stats_of(receiver).dropped, 1);
    test_gate_fini(&victim.written);
    wherry_channel_close(receiver, WHERRY_NOW);
}

/* An endpoint that is closed with descriptors read ahead, and one with a message on loan's. */
TEST_TABLE(closing_leaves_none, kinds)
{
    size_t before = test_descriptors();
    for (int takes = 0; takes < 2; takes++) {
        struct ends ends;
        struct wherry_loan loan;
        int fds[4];
        open_ends(&ends, &kinds[index], "fds=4");
        send_one(ends.sender, 1, 100, 4);
        send_one(ends.sender, 2, 100, 3);
        test_is(wherry_channel_borrow(ends.receiver, &loan, test_deadline()), 1);
        if (takes)
            test_is(wherry_channel_take_fds(ends.receiver, &loan, fds, 4), 4);
        ends_close(&ends);
        for (int i = 0; takes && i < 4; i++) {
            ck_assert_uint_eq(tag_of(fds[i]), 1000 + (unsigned)i); /* those are the caller's */
            close(fds[i]);
        }
    }
    ck_assert_uint_eq(test_descriptors(), before);
}

/* ---- fork -------------------------------------------------------------------------------------------------------- */

struct family {
    struct ends ends;
    struct wherry_loan loan;
    int taken[4];
    size_t open;
};

static void in_the_child(void *argument)
{
    struct family *family = argument;
    int fds[4];
    for (int i = 0; i < 4; i++) { /* the user's own: they live on */
        ck_assert_uint_eq(tag_of(family->taken[i]), 1000 + (unsigned)i);
        close(family->taken[i]);
    }
    test_is(wherry_channel_take_fds(family->ends.receiver, &family->loan, fds, 4), -ECHILD);
    /* whoever closes now a number that the fork handler closed before would close one of these */
    int mine[64];
    for (int i = 0; i < 64; i++)
        mine[i] = file_of((unsigned)i);
    wherry_channel_return(family->ends.receiver, &family->loan);
    ends_close(&family->ends);
    for (int i = 0; i < 64; i++) {
        ck_assert_uint_eq(tag_of(mine[i]), (unsigned)i);
        close(mine[i]);
    }
}

static int count_leading_to(unsigned tag)
{
    struct stat status;
    int count = 0;
    for (int fd = 0; fd < 200; fd++)
        count += fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == (off_t)tag;
    return count;
}

static void held_are_closed(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < 4; i++)
        ck_assert_int_eq(count_leading_to(2000 + i), 0);
}

TEST_TABLE(in_a_forked_child_what_is_held_is_closed_once, kinds)
{
    struct family family;
    open_ends(&family.ends, &kinds[index], "fds=4");
    struct wherry_info info;
    send_one(family.ends.sender, 1, 100, 4);
    send_one(family.ends.sender, 2, 100, 4);
    test_is(wherry_channel_receive_with_fds(family.ends.receiver, buffer, 100, family.taken, 4, &info, test_deadline()),
            1);
    test_is(wherry_channel_borrow(family.ends.receiver, &family.loan, test_deadline()), 1);
    ck_assert_uint_eq(family.loan.info.fd_count, 4);
    test_join(test_fork(held_are_closed, NULL));
    test_join(test_fork(in_the_child, &family));
    int fds[4];
    test_is(wherry_channel_take_fds(family.ends.receiver, &family.loan, fds, 4), 4); /* the parent's are as they were */
    for (unsigned i = 0; i < 4; i++) {
        ck_assert_uint_eq(tag_of(fds[i]), 2000 + i);
        close(fds[i]);
        close(family.taken[i]);
    }
    wherry_channel_return(family.ends.receiver, &family.loan);
    ends_close(&family.ends);
}

/* An inheritable end with descriptors of what was read ahead: the child begins with none. */
static void go_on_in_the_child(void *argument)
{
    struct wherry_channel **pair = argument;
    held_are_closed(NULL);
    int fds[4];
    struct wherry_info info;
    int mine[64]; /* with numbers that were the library's before the fork */
    for (unsigned i = 0; i < 64; i++)
        mine[i] = file_of(i);
    test_is(wherry_channel_receive_with_fds(pair[0], buffer, 100, fds, 4, &info, WHERRY_NOW), -EAGAIN);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
    for (unsigned i = 0; i < 64; i++) {
        ck_assert_uint_eq(tag_of(mine[i]), i);
        close(mine[i]);
    }
}

TEST(an_inheritable_end_leaves_what_it_holds_to_the_parent)
{
    struct wherry_channel *pair[2];
    test_ok(wherry_channel_pair("socketpair:?inheritable=1&fds=4&read_ahead=yes", NULL, pair));
    test_ok(try_send(pair[1], 1, 100, 0, WHERRY_MORE));
    test_ok(try_send(pair[1], 2, 100, 4, 0));
    expect(pair[0], 1, 100, 0);
    ck_assert_int_eq(count_leading_to(2000), 1); /* read ahead */
    test_join(test_fork(go_on_in_the_child, pair));
    expect(pair[0], 2, 100, 4);
    wherry_channel_close(pair[0], WHERRY_NOW);
    wherry_channel_close(pair[1], WHERRY_NOW);
}

/* ---- many peers -------------------------------------------------------------------------------------------------- */

static const struct ends_kind connected[] = {ENDS_UNIX, ENDS_SEQPACKET};

TEST_TABLE(each_peer_has_its_own, connected)
{
    enum { PEERS = 40, ROUNDS = 5 }; /* more than 32: each gives its memory back */
    struct wherry_channel *host, *guests[PEERS];
    char url[400];
    unsigned next[PEERS] = {0};
    ends_url(url, sizeof url, &connected[index], "listen&fds=3");
    test_ok(wherry_channel_open(url, WHERRY_BOTH, NULL, WHERRY_NOW, &host));
    ends_url(url, sizeof url, &connected[index], "connect&fds=3");
    for (unsigned i = 0; i < PEERS; i++) {
        test_ok(wherry_channel_open(url, WHERRY_BOTH, NULL, test_deadline(), &guests[i]));
        send_one(guests[i], i, 20, i % 4);
    }
    for (unsigned n = 0; n < PEERS * ROUNDS; n++) {
        int fds[3];
        struct wherry_info info;
        test_is(wherry_channel_receive_with_fds(host, buffer, sizeof buffer, fds, 3, &info, test_deadline()), 1);
        unsigned from = (unsigned)strtoul((char *)buffer, NULL, 10);
        ck_assert_uint_eq(info.fd_count, from % 4);
        for (unsigned i = 0; i < info.fd_count; i++)
            ck_assert_uint_eq(tag_of(fds[i]), from * 1000 + i);
        /* back to whom they came from, and nobody else */
        struct wherry_message answer = {
            .data = buffer, .size = info.size, .to = info.peer.id, .fds = fds, .fd_count = info.fd_count};
        test_ok(wherry_channel_send_message(host, &answer, 0, test_deadline()));
        for (unsigned i = 0; i < info.fd_count; i++)
            close(fds[i]);
        expect(guests[from], from, 20, from % 4);
        if (++next[from] < ROUNDS)
            send_one(guests[from], from, 20, from % 4);
    }
    for (unsigned i = 0; i < PEERS; i++)
        wherry_channel_close(guests[i], WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
}

/* One peer's faulty message costs nobody else anything, nor the rest of its own. */
TEST_TABLE(a_peer_that_sends_too_many_stays, connected)
{
    struct wherry_channel *host, *guests[2];
    struct wherry_info info;
    char url[400];
    int fds[1], bad = 0, good = 0;
    ends_url(url, sizeof url, &connected[index], "fds=1");
    test_ok(wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &host));
    ends_url(url, sizeof url, &connected[index], "");
    for (unsigned i = 0; i < 2; i++) {
        test_ok(wherry_channel_open(url, WHERRY_SEND, NULL, test_deadline(), &guests[i]));
        for (unsigned n = 0; n < 10; n++)
            send_one(guests[i], n, 20, i == 1 && n % 2 ? 2 : n % 2);
    }
    while (bad + good < 20) {
        int result = wherry_channel_receive_with_fds(host, buffer, sizeof buffer, fds, 1, &info, test_deadline());
        bad += result == -EBADMSG;
        good += result == 1;
        ck_assert(result == 1 || result == -EBADMSG);
        if (result == 1 && info.fd_count)
            close(fds[0]);
    }
    ck_assert_int_eq(bad, 5);
    ck_assert_uint_eq(stats_of(host).refused, 0);
    for (unsigned i = 0; i < 2; i++)
        wherry_channel_close(guests[i], WHERRY_NOW);
    wherry_channel_close(host, WHERRY_NOW);
}
