/* tests/conformance/kit_site.c - owns how the two seats of a channel are opened, whatever kind of transport it is.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <sys/msg.h>
#include <sys/socket.h>

#include "channel/sequence.h"
#include "kit.h"

static const char *const seat_names[] = {"host", "guest"};

bool has_option(const struct subject *subject, unsigned option)
{
    return (wherry__transport_find(subject->traits->scheme)->options & option) != 0;
}

bool shares_stream(const struct subject *subject)
{
    return HAS(STREAM) && has_option(subject, WHERRY__OPTION_WRITERS);
}

bool moves_on(const struct subject *subject)
{
    return strcmp(subject->traits->scheme, "tcp") == 0;
}

bool waits_for_the_other(const struct subject *subject)
{
    return !HAS(LOSSY);
}

bool knows_at_once(const struct subject *subject)
{
    return HAS(KNOWS_RECEIVERS) && !moves_on(subject);
}

bool has_types(const struct subject *subject)
{
    return HAS(TYPES) && (subject->frame & (NONE | LENGTH));
}

bool one_place(const struct subject *subject)
{
    return !HAS(FANS_OUT) && (!HAS(MANY_RECEIVERS) || HAS(LISTENS));
}

bool comes_in_alone(const struct subject *subject)
{
    return strstr(subject->sample, "share=") == NULL;
}

bool addressed(const struct subject *subject)
{
    return !HAS(PAIR) && !HAS(DESCRIPTOR);
}

/* ---- what is there before the first open ----------------------------------------------------------------------- */

/* Replace the first {word} of the sample by `value`; "" for `value` where the word is not in it. */
static void substitute(char *url, size_t capacity, const char *word, const char *value)
{
    char *at = strstr(url, word), rest[512];
    if (!at)
        return;
    snprintf(rest, sizeof rest, "%s", at + strlen(word));
    snprintf(at, capacity - (size_t)(at - url), "%s%s", value, rest);
}

void site_init(struct site *site, const struct subject *subject)
{
    static unsigned sites;
    char name[64];
    *site = (struct site){.subject = subject, .options = WHERRY_CHANNEL_OPTIONS, .record = SMALL, .fds = {-1, -1}};
    snprintf(site->url, sizeof site->url, "%s", subject->sample);
    if (strstr(subject->sample, "{path}")) {
        snprintf(name, sizeof name, "site%u", sites);
        test_path(site->path, name);
        substitute(site->url, sizeof site->url, "{path}", site->path);
    }
    /* any of 127.0.0.0/8 is this host: one for each site of each process */
    snprintf(name, sizeof name, "127.%u.%u.%u", (unsigned)getpid() / 250 % 250 + 1, (unsigned)getpid() % 250 + 1,
             sites % 250 + 1);
    substitute(site->url, sizeof site->url, "{host}", name);
    substitute(site->url, sizeof site->url, "{port}", "4711");
    if (moves_on(subject)) /* else the kernel takes megabytes */
        site->options.capacity = 65536;
    snprintf(name, sizeof name, "%x", (unsigned)test_key(sites));
    substitute(site->url, sizeof site->url, "{key}", name);
    snprintf(name, sizeof name, "%s-%u", test_word(), sites++);
    substitute(site->url, sizeof site->url, "{name}", name);
}

static void set_frame(struct site *site)
{
    static const struct {
        enum frame frame;
        const char *text;
    } names[] = {{LENGTH, "length"}, {LINE, "line"}, {NUL, "nul"}, {RAW, "raw"}};
    if (site->subject->frame == NONE || site->options.frame)
        return;
    if (site->subject->frame == FIXED)
        snprintf(site->frame, sizeof site->frame, "fixed:%zu", site->record);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].frame == site->subject->frame)
            snprintf(site->frame, sizeof site->frame, "%s", names[i].text);
    site->options.frame = site->frame;
}

static void make_descriptors(struct site *site)
{
    int result = site->subject->sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, site->fds)
                                        : pipe2(site->fds, O_CLOEXEC);
    must(result == 0, "no descriptors: %s", strerror(errno));
}

static void prepare(struct site *site)
{
    const struct subject *subject = site->subject;
    if (site->ready)
        return;
    site->ready = true;
    set_frame(site);
    if (HAS(DESCRIPTOR))
        make_descriptors(site);
    if (HAS(PAIR))
        test_ok(wherry_channel_pair(site->url, &site->options, site->made));
}

void site_for_all(struct site *site)
{
    const struct subject *subject = site->subject;
    if (HAS(PAIR))
        site->options.inheritable = true;
}

void site_share(struct site *site)
{
    site_for_all(site);
    prepare(site);
}

void site_leave(struct site *site, enum seat seat)
{
    if (site->made[seat])
        wherry_channel_close(site->made[seat], WHERRY_NOW);
    site->made[seat] = NULL;
    if (site->fds[seat] >= 0)
        close(site->fds[seat]);
    site->fds[seat] = -1;
}

/* Whatever in the test's directory begins with the site's name. */
static void sweep(const struct site *site)
{
    const char *name = site->path[0] ? strrchr(site->path, '/') + 1 : NULL;
    DIR *directory = name ? opendir(test_dir()) : NULL;
    for (struct dirent *entry; directory && (entry = readdir(directory)) != NULL;)
        if (strncmp(entry->d_name, name, strlen(name)) == 0)
            unlinkat(dirfd(directory), entry->d_name, 0);
    if (directory)
        closedir(directory);
}

/* What remains when all have closed it goes by name; by the kernel's own calls, which leave wherry_why() as it is. */
static void remove_object(const struct site *site)
{
    const char *scheme = site->subject->traits->scheme, *place = strchr(site->url, ':') + 1;
    char name[640];
    if (strcmp(scheme, "mq") == 0) {
        snprintf(name, sizeof name, "%s", place + strspn(place, "/") - 1);
        name[strcspn(name, "?")] = '\0';
        mq_unlink(name);
    } else if (strcmp(scheme, "sysv") == 0) {
        int id = msgget((key_t)strtoul(place, NULL, 16), 0);
        if (id >= 0)
            msgctl(id, IPC_RMID, NULL);
    }
}

void site_fini(struct site *site)
{
    site_leave(site, HOST);
    site_leave(site, GUEST);
    if (site->litter || (site->subject->bits & WHERRY_TRAIT_REMAINS)) /* what outlives its users is there still */
        sweep(site);
    remove_object(site);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static enum wherry_role role_of(const struct site *site, enum seat seat)
{
    if (site->duplex)
        return WHERRY_BOTH;
    return seat == HOST ? WHERRY_RECEIVE : WHERRY_SEND;
}

/* The endpoint owns the descriptor of its URL from then on, so the site's own goes only if the open failed. */
static int open_descriptor(struct site *site, enum seat seat, struct wherry_channel **ret_channel)
{
    char url[640], number[16];
    snprintf(url, sizeof url, "%s", site->url);
    snprintf(number, sizeof number, "%d", site->fds[seat]);
    substitute(url, sizeof url, "{fds}", number);
    int result = wherry_channel_open(url, role_of(site, seat), &site->options, WHERRY_NOW, ret_channel);
    if (result == 0)
        site->fds[seat] = -1;
    return result;
}

int site_try(struct site *site, enum seat seat, wherry_time deadline, struct wherry_channel **ret_channel)
{
    const struct subject *subject = site->subject;
    prepare(site);
    if (HAS(PAIR)) {
        must(site->made[seat], "the %s of a pair can be opened once", seat_names[seat]);
        *ret_channel = site->made[seat];
        site->made[seat] = NULL;
        return 0;
    }
    if (HAS(DESCRIPTOR)) {
        must(site->fds[seat] >= 0, "the %s's descriptor can be opened once", seat_names[seat]);
        return open_descriptor(site, seat, ret_channel);
    }
    struct wherry_channel_options options = site->options;
    if (site->reversed)
        options.side = seat == HOST ? WHERRY_CONNECT : WHERRY_LISTEN;
    else if (site->duplex && HAS(LISTENS))
        options.side = seat == HOST ? WHERRY_LISTEN : WHERRY_CONNECT;
    return wherry_channel_open(site->url, role_of(site, seat), &options, deadline, ret_channel);
}

struct wherry_channel *site_open(struct site *site, enum seat seat)
{
    struct wherry_channel *channel = NULL;
    test_is(site_try(site, seat, soon(), &channel), 0);
    return channel;
}

void open_two(struct site *site, struct wherry_channel **ret_sender, struct wherry_channel **ret_receiver)
{
    if (site->reversed)
        *ret_sender = site_open(site, GUEST);
    *ret_receiver = site_open(site, HOST);
    if (!site->reversed)
        *ret_sender = site_open(site, GUEST);
}

void close_now(struct wherry_channel *channel)
{
    wherry_channel_close(channel, WHERRY_NOW);
}

void close_two(struct wherry_channel *sender, struct wherry_channel *receiver)
{
    close_now(sender);
    close_now(receiver);
}

/* A pair is opened with one framing for both ends, so its guest is opened once more, by its descriptor. */
static struct wherry_channel *reopen_raw(struct site *site)
{
    char exported[128], url[64];
    struct wherry_channel *raw = NULL;
    test_is(wherry_channel_export(site->made[GUEST], exported, sizeof exported), 0);
    char *digits = exported + strcspn(exported, "0123456789");
    int fd = fcntl((int)strtol(digits, &digits, 10), F_DUPFD_CLOEXEC, 0);
    if (*digits == ',') { /* fd:R,W */
        close(fd);
        fd = fcntl((int)strtol(digits + 1, NULL, 10), F_DUPFD_CLOEXEC, 0);
    }
    must(fd >= 0, "%s names no descriptor", exported);
    site_leave(site, GUEST);
    snprintf(url, sizeof url, "fd:%d?frame=raw&writers=1", fd);
    test_is(wherry_channel_open(url, WHERRY_SEND, NULL, WHERRY_NOW, &raw), 0);
    return raw;
}

struct wherry_channel *site_open_raw(struct site *site)
{
    const struct subject *subject = site->subject;
    prepare(site);
    if (HAS(PAIR))
        return reopen_raw(site);
    const char *frame = site->options.frame;
    uint32_t writers = site->options.writers;
    uint64_t max_message = site->options.max_message, max_memory = site->options.max_memory;
    site->options.frame = "raw";
    site->options.max_message = site->options.max_memory = 0;
    if (has_option(subject, WHERRY__OPTION_WRITERS))
        site->options.writers = 1;
    struct wherry_channel *raw = site_open(site, GUEST);
    site->options.frame = frame;
    site->options.writers = writers;
    site->options.max_message = max_message;
    site->options.max_memory = max_memory;
    return raw;
}

/* ---- what it takes --------------------------------------------------------------------------------------------- */

size_t site_limit(const struct site *site)
{
    /* of a duplex pair each end is one process's, unless it is to be inherited */
    const struct subject *subject = site->subject;
    size_t limit = site->options.max_message ? (size_t)site->options.max_message : (size_t)16 << 20;
    if (subject->traits->largest && subject->traits->largest < limit)
        limit = (size_t)subject->traits->largest - (strstr(subject->sample, "seq=1") ? WHERRY__SEQUENCE_HEADER : 0);
    bool shared = shares_stream(subject) && (!(HAS(PAIR) && HAS(DUPLEX)) || site->options.inheritable);
    if (shared && subject->frame != LENGTH && site->options.writers != 1) {
        size_t atom = PIPE_BUF - (subject->frame & (LINE | NUL) ? 1u : 0u);
        limit = limit < atom ? limit : atom;
    }
    return limit;
}

int site_verdict(const struct site *site, size_t size)
{
    const struct subject *subject = site->subject;
    if (size > (site->options.max_message ? site->options.max_message : (uint64_t)16 << 20))
        return -EMSGSIZE;
    if (subject->frame == FIXED && size != site->record)
        return -EINVAL;
    if (size == 0 && (subject->frame & (FIXED | RAW)))
        return -EINVAL;
    if (size == 0 && !HAS(EMPTY))
        return -EOPNOTSUPP;
    return size > site_limit(site) ? -EMSGSIZE : 0;
}
