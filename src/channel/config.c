/* channel/config.c - owns the options: one table says for each its key, its field and how it is read.
 *
 * SPDX-License-Identifier: MIT */
#include "channel/config.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/size.h"
#include "base/why.h"
#include "channel/transport.h"
#include "socket/descriptor.h"

#define DEFAULT_MAX_MESSAGE ((uint64_t)16 << 20)
#define MOST_MAX_MESSAGE ((uint64_t)1 << 30) /* a length in a frame has 31 bits */

enum value { SIZE, NUMBER, OCTAL, TEXT, DURATION, FLAG, YES_NO };

static const struct option {
    const char *key;
    enum value value;
    size_t at; /* of the field */
    unsigned bit; /* which transports have a use for it; 0: all */
} options_table[] = {
#define FIELD(name, value, bit) {#name, value, offsetof(struct wherry_channel_options, name), bit}
    FIELD(frame, TEXT, WHERRY__OPTION_FRAME),
    FIELD(max_message, SIZE, 0),
    FIELD(max_memory, SIZE, 0),
    FIELD(capacity, SIZE, WHERRY__OPTION_CAPACITY),
    FIELD(mode, OCTAL, WHERRY__OPTION_MODE),
    FIELD(backlog, NUMBER, WHERRY__OPTION_BACKLOG),
    FIELD(writers, NUMBER, WHERRY__OPTION_WRITERS),
    FIELD(uid, TEXT, WHERRY__OPTION_UID),
    FIELD(spin, DURATION, 0),
    FIELD(single_thread, FLAG, 0),
    FIELD(inheritable, FLAG, 0),
    FIELD(report_ends, FLAG, WHERRY__OPTION_ENDS),
    FIELD(read_ahead, YES_NO, WHERRY__OPTION_READ_AHEAD),
    FIELD(keep, FLAG, WHERRY__OPTION_RING),
    FIELD(places, NUMBER, WHERRY__OPTION_RING),
    FIELD(redeliver, YES_NO, WHERRY__OPTION_RING),
    FIELD(share, TEXT, WHERRY__OPTION_RING),
    FIELD(delay, FLAG, WHERRY__OPTION_TCP),
    FIELD(keepalive, DURATION, WHERRY__OPTION_TCP),
    FIELD(user_timeout, DURATION, WHERRY__OPTION_TCP),
    FIELD(fds, NUMBER, WHERRY__OPTION_FDS),
    FIELD(seq, FLAG, WHERRY__OPTION_UDP),
    FIELD(broadcast, FLAG, WHERRY__OPTION_UDP),
    FIELD(interface, TEXT, WHERRY__OPTION_UDP),
    FIELD(ttl, NUMBER, WHERRY__OPTION_UDP),
    FIELD(loop, YES_NO, WHERRY__OPTION_UDP),
    FIELD(proto, NUMBER, WHERRY__OPTION_PROTO),
    FIELD(id, TEXT, WHERRY__OPTION_SYSV),
    FIELD(type, TEXT, WHERRY__OPTION_SYSV),
    FIELD(from, TEXT, WHERRY__OPTION_LOG),
    FIELD(group, TEXT, WHERRY__OPTION_LOG),
    FIELD(fsync, TEXT, WHERRY__OPTION_LOG),
    FIELD(retain_bytes, SIZE, WHERRY__OPTION_LOG),
    FIELD(retain_age, DURATION, WHERRY__OPTION_LOG),
#undef FIELD
};
_Static_assert(sizeof options_table / sizeof *options_table + 2 <= WHERRY__URL_OPTIONS_MAX, "all may be given");
enum { OPTION_COUNT = sizeof options_table / sizeof *options_table };

/* "16M", "65536": bytes with k, M, G for powers of 1024. */
static bool parse_size(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long value = strtoull(text, &end, 10);
    unsigned shift = *end == 'k' || *end == 'K' ? 10 : *end == 'M' ? 20 : *end == 'G' ? 30 : 0;
    if (errno || end[shift != 0] != '\0' || value > UINT64_MAX >> shift)
        return false;
    *ret = (uint64_t)value << shift;
    return true;
}

static bool parse_number(const char *text, int base, uint32_t *ret)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, base);
    if (*text < '0' || *text > '9' || errno || *end || value > UINT32_MAX)
        return false;
    *ret = (uint32_t)value;
    return true;
}

static bool parse_duration(const char *text, wherry_time *ret)
{
    static const struct {
        const char *unit;
        wherry_time ns;
    } units[] = {{"ns", 1},           {"us", WHERRY_MICROSECOND},  {"ms", WHERRY_MILLISECOND},
                 {"s", WHERRY_SECOND}, {"", WHERRY_SECOND}};
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || errno)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (strcmp(end, units[i].unit) == 0 && value <= (unsigned long long)(INT64_MAX / units[i].ns)) {
            *ret = (wherry_time)value * units[i].ns;
            return true;
        }
    return false;
}

/* What a URL says of one option, written into a struct of its own.  Returns what was expected, or NULL when
 * understood. */
static const char *parse_value(const struct option *option, const char *text, void *field)
{
    switch (option->value) {
    case SIZE:
        return parse_size(text, field) && *(uint64_t *)field > 0
                   ? NULL
                   : "a number of bytes from 1 on, such as 4096, 64k or 16M";
    case NUMBER:
        return parse_number(text, 10, field) && *(uint32_t *)field > 0 ? NULL : "a number from 1 on";
    case OCTAL:
        return parse_number(text, 8, field) && *(uint32_t *)field > 0 && *(uint32_t *)field <= 0777
                   ? NULL
                   : "permissions in octal, such as 0660";
    case TEXT:
        *(const char **)field = text;
        return *text ? NULL : "a value";
    case DURATION:
        return parse_duration(text, field) ? NULL : "a time, such as 50us or 1ms";
    case FLAG:
        if (strcmp(text, "1") != 0)
            return "the value 1 (leave it out otherwise)";
        *(bool *)field = true;
        return NULL;
    case YES_NO:
        if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0)
            return "yes or no";
        *(int *)field = text[0] == 'y' ? 1 : 2; /* WHERRY_..._YES, WHERRY_..._NO */
        return NULL;
    }
    return "a value";
}

_Static_assert(sizeof(enum wherry_read_ahead) == sizeof(int) && sizeof(enum wherry_redeliver) == sizeof(int) &&
                   WHERRY_READ_AHEAD_YES == 1 && WHERRY_READ_AHEAD_NO == 2 && WHERRY_REDELIVER_YES == 1 &&
                   WHERRY_REDELIVER_NO == 2 && sizeof(enum wherry_loop) == sizeof(int) && WHERRY_LOOP_YES == 1 &&
                   WHERRY_LOOP_NO == 2,
               "YES_NO reads and writes them alike");

static size_t value_size(enum value value)
{
    static const size_t sizes[] = {[SIZE] = sizeof(uint64_t),   [NUMBER] = sizeof(uint32_t),
                                   [OCTAL] = sizeof(uint32_t),  [TEXT] = sizeof(char *),
                                   [DURATION] = sizeof(wherry_time), [FLAG] = sizeof(bool),
                                   [YES_NO] = sizeof(int)};
    return sizes[value];
}

static bool is_set(const struct option *option, const void *field)
{
    static const char zero[16];
    return memcmp(field, zero, value_size(option->value)) != 0;
}

static bool is_equal(const struct option *option, const void *a, const void *b)
{
    if (option->value == TEXT)
        return strcmp(*(const char *const *)a, *(const char *const *)b) == 0;
    return memcmp(a, b, value_size(option->value)) == 0;
}

/* ---- ?listen and ?connect ---- */

static int merge_side(struct wherry__config *config, const struct wherry__url_option *given)
{
    enum wherry_side side = given->key[0] == 'l' ? WHERRY_LISTEN : WHERRY_CONNECT;
    if (given->value)
        return wherry__url_fail(config->name, given->value_at, "%s takes no value", given->key);
    if (config->side != WHERRY_SIDE_DEFAULT && config->side != side)
        return wherry__url_fail(config->name, given->at, "the side is said twice, and differently");
    config->side = side;
    return 0;
}

static int settle_side(struct wherry__config *config, const struct wherry__transport *transport)
{
    if (!(transport->options & WHERRY__OPTION_SIDE)) {
        if (config->side != WHERRY_SIDE_DEFAULT)
            return wherry__fail(EINVAL, "%s: %s: has no sides: leave listen and connect out", config->name,
                                transport->traits.scheme);
        return 0;
    }
    if (config->side == WHERRY_SIDE_DEFAULT && config->role == WHERRY_BOTH)
        return wherry__fail(EINVAL, "%s: to send and receive, say which side this is: add ?listen or ?connect",
                            config->name);
    if (config->side == WHERRY_SIDE_DEFAULT)
        config->side = config->role == WHERRY_RECEIVE ? WHERRY_LISTEN : WHERRY_CONNECT;
    return 0;
}

/* ---- the URL's options into the struct's ---- */

static int merge_one(struct wherry__config *config, const struct wherry__url_option *given,
                     const struct wherry__transport *transport, struct wherry_channel_options *options)
{
    if (strcmp(given->key, "listen") == 0 || strcmp(given->key, "connect") == 0)
        return merge_side(config, given);
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option *option = &options_table[i];
        if (strcmp(given->key, option->key) != 0)
            continue;
        if (option->bit && !(transport->options & option->bit))
            return wherry__url_fail(config->name, given->at, "%s: has no use for the option \"%s\"",
                                    transport->traits.scheme, given->key);
        _Alignas(16) char value[16] = {0};
        const char *expected = given->value ? parse_value(option, given->value, value) : "a value: key=value";
        if (expected)
            return wherry__url_fail(config->name, given->value_at, "%s takes %s", given->key, expected);
        void *field = (char *)options + option->at;
        if (is_set(option, field) && !is_equal(option, field, value))
            return wherry__url_fail(
                config->name, given->at,
                "the URL and the options that came with it say different things of \"%s\"; say it once", given->key);
        memcpy(field, value, value_size(option->value));
        return 0;
    }
    return wherry__url_fail(config->name, given->at, "unknown option \"%s\"; wherry-url(7) lists them", given->key);
}

static int check_uses(const struct wherry__config *config, const struct wherry__transport *transport,
                      const struct wherry_channel_options *options)
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        if (options_table[i].bit && !(transport->options & options_table[i].bit) &&
            is_set(&options_table[i], (const char *)options + options_table[i].at))
            return wherry__fail(EINVAL, "%s: %s: has no use for the option \"%s\"", config->name,
                                transport->traits.scheme, options_table[i].key);
    return 0;
}

/* ---- what the struct says ---- */

int wherry__config_read(const struct wherry_channel_options *given, const char *name,
                        struct wherry_channel_options *ret)
{
    *ret = (struct wherry_channel_options)WHERRY_CHANNEL_OPTIONS;
    int result = wherry__options_read(ret, sizeof *ret, given, offsetof(struct wherry_channel_options, side), name,
                                      "WHERRY_CHANNEL_OPTIONS");
    if (result < 0)
        return result;
    if ((unsigned)ret->side > WHERRY_CONNECT)
        return wherry__fail(EINVAL, "%s: side is %d, which is no side", name, (int)ret->side);
    if ((unsigned)ret->read_ahead > WHERRY_READ_AHEAD_NO)
        return wherry__fail(EINVAL, "%s: read_ahead is %d, which means nothing", name, (int)ret->read_ahead);
    if ((unsigned)ret->redeliver > WHERRY_REDELIVER_NO)
        return wherry__fail(EINVAL, "%s: redeliver is %d, which means nothing", name, (int)ret->redeliver);
    if ((unsigned)ret->loop > WHERRY_LOOP_NO)
        return wherry__fail(EINVAL, "%s: loop is %d, which means nothing", name, (int)ret->loop);
    if (ret->mode > 0777)
        return wherry__fail(EINVAL, "%s: the mode is 0%o: only permissions are allowed, at most 0777", name,
                            ret->mode);
    if (ret->spin < 0 || ret->keepalive < 0 || ret->user_timeout < 0 || ret->retain_age < 0)
        return wherry__fail(EINVAL, "%s: %s is negative", name,
                            ret->spin < 0           ? "spin"
                            : ret->keepalive < 0    ? "keepalive"
                            : ret->user_timeout < 0 ? "user_timeout"
                                                    : "retain_age");
    return 0;
}

/* Where in the URL an option is, for a sentence about its value; the end when the struct said it. */
static size_t place_of(const struct wherry__config *config, const char *key)
{
    for (size_t i = 0; i < config->url.option_count; i++)
        if (strcmp(config->url.options[i].key, key) == 0)
            return config->url.options[i].value_at;
    return strlen(config->name);
}

/* Which messages of a queue: "N", "-N", "!N". */
static bool parse_which(const char *text, enum wherry_queue_which *ret_which, int64_t *ret_type)
{
    char *end;
    *ret_which = *text == '-' ? WHERRY_QUEUE_UP_TO : *text == '!' ? WHERRY_QUEUE_EXCEPT : WHERRY_QUEUE_TYPE;
    text += *ret_which != WHERRY_QUEUE_TYPE;
    errno = 0;
    long long type = strtoll(text, &end, 10);
    *ret_type = type;
    return *text >= '0' && *text <= '9' && !errno && !*end && type >= 1 && type <= LONG_MAX;
}

static int settle_queue(struct wherry__config *config, const struct wherry_channel_options *options)
{
    if (options->id && strlen(options->id) >= sizeof config->id)
        return wherry__url_fail(config->name, place_of(config, "id"), "id is one character, 0xNN or a decimal");
    if (options->id)
        memcpy(config->id, options->id, strlen(options->id) + 1);
    if (options->type && !parse_which(options->type, &config->which, &config->which_type))
        return wherry__url_fail(config->name, place_of(config, "type"),
                                "type is N, -N (the lowest of at most N first) or !N (all but N), with N from 1 on");
    return 0;
}

/* What only a log has a use for. */
static int settle_log(struct wherry__config *config, const struct wherry_channel_options *options)
{
    static const char *const places[] = {[WHERRY__FROM_SAVED] = "saved",
                                         [WHERRY__FROM_BEGINNING] = "beginning",
                                         [WHERRY__FROM_END] = "end"};
    for (int i = WHERRY__FROM_SAVED; options->from && i <= WHERRY__FROM_END; i++)
        if (strcmp(options->from, places[i]) == 0)
            config->from = (enum wherry__from)i;
    if (options->from && !config->from)
        return wherry__url_fail(config->name, place_of(config, "from"), "from takes beginning, end or saved");
    if (options->group && (strlen(options->group) >= sizeof config->group || !options->group[0]))
        return wherry__url_fail(config->name, place_of(config, "group"), "a group's name has from 1 to %zu bytes",
                                sizeof config->group - 1);
    if (options->group)
        memcpy(config->group, options->group, strlen(options->group) + 1);
    config->sync_each = options->fsync && strcmp(options->fsync, "each") == 0;
    if (options->fsync && !config->sync_each && strcmp(options->fsync, "none") != 0 &&
        (!parse_duration(options->fsync, &config->sync_every) || config->sync_every == 0))
        return wherry__url_fail(config->name, place_of(config, "fsync"),
                                "fsync takes none, each, or a time such as 50ms");
    config->retain_bytes = options->retain_bytes;
    config->retain_age = options->retain_age;
    return 0;
}

static int settle(struct wherry__config *config, const struct wherry_channel_options *options)
{
    if (options->frame && wherry__framing_parse(&config->framing, options->frame) < 0)
        return wherry__url_fail(
            config->name, place_of(config, "frame"),
            "\"%.32s\" is no framing: length, line, nul, fixed:N with N from 1 to 1073741824, or raw", options->frame);
    if (options->uid && options->uid[wherry__allow_parse(&config->allow, options->uid)] != '\0')
        return wherry__url_fail(config->name, place_of(config, "uid"),
                                "uid takes \"any\", or up to %d numbers with commas", WHERRY__ALLOW_MAX);
    uint64_t max_message = options->max_message ? options->max_message : DEFAULT_MAX_MESSAGE;
    if (max_message > MOST_MAX_MESSAGE)
        return wherry__url_fail(config->name, place_of(config, "max_message"), "max_message is at most 1G");
    if (config->framing.kind == WHERRY__FRAME_FIXED && config->framing.size > max_message)
        return wherry__url_fail(config->name, place_of(config, "frame"),
                                "a record of %zu bytes is over max_message (%llu; at most 1G)", config->framing.size,
                                (unsigned long long)max_message);
    uint64_t max_memory = options->max_memory ? options->max_memory : 16 * max_message;
    if (max_memory < max_message)
        return wherry__url_fail(config->name, place_of(config, "max_memory"), "max_memory is less than max_message");
    config->max_message = (size_t)max_message;
    config->sized = options->max_message != 0;
    config->max_memory = (size_t)wherry__size_min(max_memory, SIZE_MAX / 2);
    config->capacity = (size_t)options->capacity;
    if (options->capacity > INT32_MAX)
        return wherry__url_fail(config->name, place_of(config, "capacity"), "capacity is less than 2G");
    config->mode = options->mode ? options->mode : 0600;
    config->backlog = options->backlog ? options->backlog : 128;
    if (config->backlog > INT32_MAX) /* what listen(2) takes */
        return wherry__url_fail(config->name, place_of(config, "backlog"), "backlog is at most %d", INT32_MAX);
    if (options->fds > WHERRY__DESCRIPTORS_MAX)
        return wherry__url_fail(config->name, place_of(config, "fds"), "fds is at most %d", WHERRY__DESCRIPTORS_MAX);
    if (options->fds && config->framing.kind == WHERRY__FRAME_RAW)
        return wherry__url_fail(config->name, place_of(config, "fds"),
                                "with frame=raw no message is told from the next: nothing can come with one");
    config->fds = options->fds;
    config->writers = options->writers;
    config->spin = options->spin;
    config->single_thread = options->single_thread;
    config->inheritable = options->inheritable;
    config->report_ends = options->report_ends;
    config->read_ahead = options->read_ahead;
    config->keep = options->keep;
    config->drops = options->redeliver == WHERRY_REDELIVER_NO;
    config->places = options->places;
    config->delay = options->delay;
    config->keepalive = options->keepalive;
    config->user_timeout = options->user_timeout;
    config->seq = options->seq;
    config->broadcast = options->broadcast;
    config->ttl = options->ttl;
    config->loop = options->loop;
    config->proto = options->proto;
    if (options->ttl > 255)
        return wherry__url_fail(config->name, place_of(config, "ttl"), "ttl is from 1 to 255");
    if (options->proto > 254)
        return wherry__url_fail(config->name, place_of(config, "proto"),
                                "proto is from 1 to 254; 255 is no protocol that can be received");
    if (options->interface && strlen(options->interface) >= sizeof config->interface)
        return wherry__url_fail(config->name, place_of(config, "interface"),
                                "an interface's name has at most %zu characters", sizeof config->interface - 1);
    if (options->interface)
        memcpy(config->interface, options->interface, strlen(options->interface) + 1);
    config->shared = options->share != NULL;
    if (options->share && !wherry__allow_parse_one(&config->other, options->share))
        return wherry__url_fail(config->name, place_of(config, "share"), "share takes the number of a uid");
    if (options->share && options->keep)
        return wherry__url_fail(config->name, place_of(config, "share"),
                                "a shared ring has no name to be kept under: keep=1 or share=, not both");
    int result = settle_queue(config, options);
    return result < 0 ? result : settle_log(config, options);
}

static int find_transport(struct wherry__config *config, bool pair, const struct wherry__transport **ret_transport)
{
    const struct wherry__transport *transport = wherry__transport_find(config->url.scheme);
    if (!transport)
        return wherry__fail(EPROTONOSUPPORT,
                            "%s: at character 1: unknown scheme \"%s\"; `wherry transports` lists those there are",
                            config->name, config->url.scheme);
    if (pair && !transport->pair)
        return wherry__fail(EINVAL, "%s: %s: does not come as a pair; use wherry_channel_open()", config->name,
                            config->url.scheme);
    if (pair && (config->url.path[0] || config->url.has_authority))
        return wherry__url_fail(config->name, config->url.path_at, "%s: takes no path: a pair has no name",
                                config->url.scheme);
    if (!pair && !transport->open)
        return wherry__fail(EINVAL,
                            "%s: %s: connects a process with its children (wherry_channel_pair()); programs meet at "
                            "unix: and fifo:",
                            config->name, config->url.scheme);
    if (!pair && !(transport->roles & 1u << config->role))
        return wherry__fail(EOPNOTSUPP, "%s: one endpoint of a %s cannot send and receive both; open two", config->name,
                            transport->traits.object);
    *ret_transport = transport;
    return 0;
}

int wherry__config_init(struct wherry__config *config, const char *url, enum wherry_role role,
                        const struct wherry_channel_options *given, bool pair,
                        const struct wherry__transport **ret_transport)
{
    *config = (struct wherry__config){.role = role};
    if (!pair && role != WHERRY_SEND && role != WHERRY_RECEIVE && role != WHERRY_BOTH)
        return wherry__fail(EINVAL, "%s: %d is no role: WHERRY_SEND, WHERRY_RECEIVE or WHERRY_BOTH", url ? url : "NULL",
                            (int)role);
    int result = wherry__url_init(&config->url, url);
    if (result < 0)
        return result;
    config->name = config->url.text;
    struct wherry_channel_options options;
    const struct wherry__transport *transport = NULL;
    result = find_transport(config, pair, &transport);
    if (result == 0)
        result = wherry__config_read(given, config->name, &options);
    if (result == 0)
        config->side = options.side;
    for (size_t i = 0; result == 0 && i < config->url.option_count; i++)
        result = merge_one(config, &config->url.options[i], transport, &options);
    if (result == 0)
        result = check_uses(config, transport, &options);
    if (result == 0)
        result = settle_side(config, transport);
    if (result == 0)
        result = settle(config, &options);
    if (result == 0 && config->inheritable && !transport->adopt)
        result = wherry__fail(EINVAL, "%s: %s: cannot be inherited", config->name, transport->traits.scheme);
    if (result == 0)
        *ret_transport = transport;
    return result;
}

int wherry__config_say_port(struct wherry__config *config, const struct wherry__inet_address *address)
{
    struct wherry__url *url = &config->url;
    char text[WHERRY__INET_TEXT];
    wherry__inet_text(address, text);
    const char *port = strrchr(text, ':');
    size_t before = url->path_at, size = strlen(url->text) + sizeof text;
    while (before > 0 && url->text[before - 1] != ':')
        before--;
    char *said = malloc(size);
    if (!said || !port) {
        free(said);
        return wherry__fail(ENOMEM, "%s: no memory", config->name);
    }
    snprintf(said, size, "%.*s%s%s", (int)before, url->text, port + 1, url->text + url->path_at);
    free(url->text);
    config->name = url->text = said;
    return 0;
}

void wherry__config_fini(struct wherry__config *config)
{
    wherry__url_fini(&config->url);
    config->name = NULL;
}
