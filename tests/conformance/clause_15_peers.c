/* tests/conformance/clause_15_peers.c - one peer's misbehaviour is no other peer's business; nothing unasked is taken.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "channel/framing.h"
#include "kit.h"

/* Half a header, and then nothing: the others are served. */
CASE(15, h55_a_stalled_peer_stalls_nobody, .frames = LENGTH | LINE | NUL | FIXED, .needs = WHERRY_TRAIT_LISTENS)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    struct wherry_channel *stalled[3];
    for (int i = 0; i < 3; i++) {
        stalled[i] = site_open_raw(&site);
        test_is(wherry_channel_send(stalled[i], "half!", 5, soon()), 0);
    }
    struct wherry_channel *sender = site_open(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    for (unsigned n = 0; n < 50; n++) {
        test_is(post(subject, sender, SMALL, tag_of(0, n), soon()), 0);
        expect(receiver, &crate, SMALL, tag_of(0, n));
    }
    expect_nothing(receiver, &crate);
    for (int i = 0; i < 3; i++)
        close_now(stalled[i]);
    crate_fini(&crate);
    close_two(sender, receiver);
    site_fini(&site);
}

/* One peer that sends without end leaves the others their turn. */
struct flooder {
    const struct subject *subject;
    struct wherry_channel *sender;
    _Atomic bool stop;
};

static void flood(void *argument)
{
    struct flooder *flooder = argument;
    while (!atomic_load(&flooder->stop))
        post(flooder->subject, flooder->sender, SMALL, tag_of(1, 0), quiet());
}

static void send_five(void *argument)
{
    struct flooder *quiet_one = argument;
    for (unsigned n = 0; n < 5; n++)
        test_is(post(quiet_one->subject, quiet_one->sender, SMALL, tag_of(2, n), soon()), 0);
}

CASE(15, a_flood_leaves_the_others_their_turn, .needs = WHERRY_TRAIT_LISTENS, .lacks = WHERRY_TRAIT_LOSSY)
{
    struct site site;
    struct crate crate;
    struct worker worker, quiet_worker;
    static struct flooder flooder, quiet_one;
    site_init(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    flooder = (struct flooder){.subject = subject, .sender = site_open(&site, GUEST)};
    quiet_one = (struct flooder){.subject = subject, .sender = site_open(&site, GUEST)};
    worker_start(&worker, flood, &flooder);
    worker_until_asleep(&worker); /* all is full */
    worker_start(&quiet_worker, send_five, &quiet_one);
    crate_init(&crate, subject, SMALL);
    /* before each turn come thousands of the flood's, which take a while on a slow machine */
    wherry_time now = wherry_now(), deadline = now + 3 * (soon() - now);
    for (unsigned n = 0; n < 5; n++) {
        do {
            test_is(take(receiver, &crate, soon()), 1);
            must(wherry_now() < deadline, "message %u of the quiet one does not get its turn", n);
        } while (sender_of(crate.tag) != 2);
        ck_assert_uint_eq(number_of(crate.tag), n);
    }
    atomic_store(&flooder.stop, true);
    while (take(receiver, &crate, quiet()) == 1)
        continue;
    worker_join(&worker);
    worker_join(&quiet_worker);
    close_now(flooder.sender);
    crate_fini(&crate);
    close_two(quiet_one.sender, receiver);
    site_fini(&site);
}

/* ---- descriptors ----------------------------------------------------------------------------------------------- */

/* A socket of the kernel's own at the other end of the site, or -1 where the object is none; found by trying. */
static int bare_socket(struct site *site)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct stat status;
    if (site->fds[GUEST] >= 0 && fstat(site->fds[GUEST], &status) == 0 && S_ISSOCK(status.st_mode))
        return dup(site->fds[GUEST]);
    if (!site->path[0] || stat(site->path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, site->path, strlen(site->path) + 1);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        int fd = socket(AF_UNIX, types[i] | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
            return fd;
        close(fd);
    }
    must(false, "there is a socket at %s, and none of ours is let in: %s", site->path, strerror(errno));
    return -1;
}

/* `count` descriptors with a good message. */
static void send_descriptors(int fd, const void *data, size_t size, int count)
{
    int fds[8];
    union {
        char bytes[CMSG_SPACE(sizeof fds)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {(void *)(uintptr_t)data, size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes};
    for (int i = 0; i < count; i++)
        fds[i] = STDERR_FILENO;
    message.msg_controllen = CMSG_SPACE((size_t)count * sizeof *fds);
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN((size_t)count * sizeof *fds);
    memcpy(CMSG_DATA(header), fds, (size_t)count * sizeof *fds);
    must(sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)size, "sendmsg: %s", strerror(errno));
}

CASE(15, h49_descriptors_that_nobody_asked_for_are_closed)
{
    struct site site;
    struct crate crate;
    uint8_t bytes[WHERRY__WHOLE_HEADER + SMALL];
    test_needs(TEST_CUT_RIGHTS);
    size_t before = subject->frame == LENGTH ? WHERRY__WHOLE_HEADER : 0;
    site_init(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    int fd = bare_socket(&site);
    if (fd < 0) { /* no socket: no descriptors can come */
        close_now(receiver);
        site_fini(&site);
        return;
    }
    crate_init(&crate, subject, SMALL);
    wherry__whole_encode(bytes, SMALL, 0);
    compose(subject, bytes + before, SMALL, 1);
    must(write(fd, bytes, before + SMALL) == (ssize_t)(before + SMALL), "write: %s", strerror(errno));
    expect(receiver, &crate, SMALL, 1); /* all is open that will be */
    size_t open_before = test_descriptors();
    for (int count = 1; count <= 8; count++) {
        send_descriptors(fd, bytes, before + SMALL, count);
        int result = take(receiver, &crate, soon());
        must(result == 1 || result == -EBADMSG, "a message with descriptors gave %d", result);
        ck_assert_uint_eq(test_descriptors(), open_before);
    }
    crate_fini(&crate);
    close(fd);
    close_now(receiver);
    site_fini(&site);
}
