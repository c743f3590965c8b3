/* tests/unit/test_descriptors_streams.c - owns the proof that descriptors come with exactly their message: in streams,
 * whatever is read ahead or comes in pieces, and in batches (channel/link_fds.c).
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>

#include "unit/faults.h"
#include "unit/test_descriptors_kit.h"

static const struct ends_kind streams[] = {ENDS_UNIX, ENDS_SOCKETPAIR, ENDS_SOCKET_FD};
static const struct ends_kind named[] = {ENDS_UNIX, ENDS_SEQPACKET, ENDS_DGRAM};

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
