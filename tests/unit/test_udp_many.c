/* tests/unit/test_udp_many.c - owns the proof that what goes many at a time by udp: arrives as one by one, whatever the
 * kernel sends together.
 *
 * SPDX-License-Identifier: MIT */
#include <netinet/udp.h>

#include "unit/test_udp_kit.h"

/* ---- many in one call -------------------------------------------------------------------------------------------- */

static void carry_many(const char *options)
{
    static const size_t sizes[] = {64, 64, 64, 64, 0, 0, 1400, 1400, 1400, 3, 2112, 2113, 9000, 9000, 64, 64, 64, 64};
    static const struct batches batches = {
        .sizes = sizes, .size_count = sizeof sizes / sizeof *sizes, .messages = 900, .together = 50};
    char url[96];
    snprintf(url, sizeof url, "udp://:0%s", options);
    struct wherry_channel *receiver = open_at(url, WHERRY_RECEIVE);
    struct wherry_channel *sender =
        open_at(beside(url, "", receiver, strstr(options, "seq") ? "?seq=1" : ""), WHERRY_SEND);
    carry_batches(receiver, sender, &batches);
    shut(sender);
    shut(receiver);
}

static const struct {
    const char *name;
} carried[] = {{""}, {"?seq=1"}, {"?read_ahead=no"}, {"?read_ahead=no&seq=1"}, {"?single_thread=1"}};

TEST_TABLE(batches_arrive_as_they_were_sent, carried)
{
    carry_many(carried[index].name);
}

/* A way whose device cannot cut segments: each message goes by itself. */
static int (*real_sendmmsg)(int, struct mmsghdr *, unsigned, int);
static ssize_t (*real_sendmsg)(int, const struct msghdr *, int);
static unsigned cut;
static int cut_code;
static int without_segments(int fd, struct mmsghdr *headers, unsigned count, int flags)
{
    unsigned good = 0;
    while (good < count && !headers[good].msg_hdr.msg_control)
        good++;
    cut += good < count;
    errno = cut_code;
    return good ? real_sendmmsg(fd, headers, good, flags) : -1;
}

static ssize_t one_without_segments(int fd, const struct msghdr *header, int flags)
{
    cut += header->msg_control != NULL;
    errno = cut_code;
    return header->msg_control ? -1 : real_sendmsg(fd, header, flags);
}

TEST_TABLE(batches_arrive_where_nothing_goes_together, carried)
{
    real_sendmmsg = wherry__sys.sendmmsg;
    real_sendmsg = wherry__sys.sendmsg;
    wherry__sys.sendmmsg = without_segments;
    cut_code = index % 2 ? EIO : EINVAL; /* the device's word, and the MTU's */
    wherry__sys.sendmsg = one_without_segments;
    carry_many(carried[index].name);
    wherry__sys.sendmmsg = real_sendmmsg;
    wherry__sys.sendmsg = real_sendmsg;
    ck_assert_uint_gt(cut, 0);
}

/* What goes together on its way is apart for who receives with a socket of its own. */
TEST(a_plain_socket_gets_each_message_of_a_batch)
{
    unsigned port = 0;
    char url[96], data[100];
    struct wherry_message messages[20];
    int raw = raw_at(&port);
    snprintf(url, sizeof url, "udp://:%u", port);
    struct wherry_channel *sender = open_at(url, WHERRY_SEND);
    for (size_t i = 0; i < 20; i++)
        messages[i] = (struct wherry_message){.data = url, .size = 11};
    ck_assert_int_eq(wherry_channel_send_many(sender, messages, 20, test_deadline()), 20);
    for (int i = 0; i < 20; i++)
        ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), 11);
    ck_assert_int_eq(recv(raw, data, sizeof data, MSG_DONTWAIT), -1);
    close(raw);
    shut(sender);
}

/* Others may send so, too: the last segment shorter. */
TEST(segments_of_a_plain_socket_are_messages)
{
    struct wherry_channel *receiver = open_at("udp://:0?max_message=10", WHERRY_RECEIVE);
    int raw = raw_to(receiver), size = 4;
    if (setsockopt(raw, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size) != 0)
        test_skip("no UDP_SEGMENT here");
    ck_assert_int_eq(send(raw, "firstsecondlast", 15, 0), 15);
    expect_text(receiver, "firs");
    expect_text(receiver, "tsec");
    expect_text(receiver, "ondl");
    expect_text(receiver, "ast");
    close(raw);
    shut(receiver);
}

/* What goes together fits into the device's packets, or goes by itself, in fragments. */
TEST(a_batch_leaves_by_a_device_as_packets)
{
    enum { COUNT = 10 };
    static const char data[2000];
    struct wherry_message messages[COUNT];
    int device = own_device();
    struct wherry_channel *sender = open_at("udp://10.66.0.9:4711", WHERRY_SEND);
    for (size_t i = 0; i < COUNT; i++)
        messages[i] = (struct wherry_message){.data = data, .size = 1400};
    ck_assert_int_eq(wherry_channel_send_many(sender, messages, COUNT, test_deadline()), COUNT);
    for (int i = 0; i < COUNT; i++)
        left_with_ttl(device, UDP, 4711);
    for (size_t i = 0; i < COUNT; i++)
        messages[i].size = 2000; /* over the MTU */
    ck_assert_int_eq(wherry_channel_send_many(sender, messages, COUNT, test_deadline()), COUNT);
    for (int i = 0; i < COUNT; i++)
        left_with_ttl(device, UDP, 4711);
    struct pollfd wanted = {.fd = device, .events = POLLIN};
    char packet[2000];
    while (poll(&wanted, 1, 0) == 1 && read(device, packet, sizeof packet) > 0)
        ck_assert_int_ne(packet[9] == IPPROTO_UDP && (packet[6] & 0x1f) == 0 && packet[7] == 0,
                         1); /* the last fragment */
    shut(sender);
    close(device);
}
