/* cmd_segment.c - `wherry segment`: make, show, fill and remove shared memory.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/segment.h>

#include "objects.h"
#include "output.h"

struct segment_verb {
    struct options options;
    struct wherry_segment_options how;
    const char *name, *file;
    uint64_t size, offset, length;
    unsigned given; /* of the options in `uses` */
    bool bounded;   /* length was said */
    bool text, raw;
    struct wherry_segment *segment;
};

enum { OPTION_HUGE = OPTION_FIRST, OPTION_RAW, OPTION_ANY_OWNER };
enum { PIECE = 65536, LINE = 16 };

static int fail(const struct segment_verb *verb, int error)
{
    return object_complain(&verb->options, verb->name, error);
}

/* ---- create and write ---- */

/* Where the size was given as if it were the FILE: said, with the option it wants. */
static bool size_as_file(const struct segment_verb *verb)
{
    const char *file = verb->file;
    if (!file || !file[0] || file[strspn(file, "0123456789")] || verb->size || access(file, F_OK) == 0)
        return false;
    complain(TOOL_FAILED, "%s: %s; a size is an option: -s %s", file, strerror(errno), file);
    return true;
}

static int create(struct segment_verb *verb)
{
    if (size_as_file(verb))
        return TOOL_FAILED;
    char *data = NULL;
    size_t size = 0;
    uint64_t memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    int code = verb->file ? read_file(verb->file, verb->name, verb->size ? verb->size : memory / 4, &data, &size) : 0;
    if (code != 0)
        return code;
    if (verb->size == 0)
        verb->size = size;
    if (verb->size == 0)
        code = misuse(verb->options.verb, "create needs a size: -s N, or a FILE that has bytes");
    int result = code == 0 ? wherry_segment_create(verb->name, verb->size, &verb->how, &verb->segment) : 0;
    if (code == 0 && result == 0 && size > 0)
        result = wherry_segment_write(verb->segment, 0, data, size);
    if (code == 0 && result == 0)
        result = wherry_segment_publish(verb->segment);
    free(data);
    return result < 0 ? fail(verb, result) : code;
}

static int try_open(void *context, wherry_time deadline)
{
    struct segment_verb *verb = context;
    return wherry_segment_open(verb->name, &verb->how, deadline, &verb->segment);
}

/* Without -w it is there or not. */
static int open_segment(struct segment_verb *verb)
{
    if (!verb->options.timed)
        return try_open(verb, WHERRY_NOW);
    return open_waiting(&verb->options, options_deadline(&verb->options), try_open, verb);
}

static int write_into(struct segment_verb *verb)
{
    char *data = NULL;
    size_t size = 0;
    verb->how.write = true;
    int result = open_segment(verb);
    if (result < 0)
        return fail(verb, result);
    int code = read_file(verb->file, verb->name, wherry_segment_size(verb->segment), &data, &size);
    if (code == 0 && (result = wherry_segment_write(verb->segment, verb->offset, data, size)) < 0)
        code = fail(verb, result);
    free(data);
    return code == TOOL_USAGE ? TOOL_FAILED : code; /* what does not fit is no wrong command line */
}

/* ---- show ---- */

static void print_line(struct output *output, uint64_t at, const unsigned char *data, size_t size)
{
    char line[100];
    int used = snprintf(line, sizeof line, "%08" PRIx64 " ", at);
    for (size_t i = 0; i < LINE; i++) {
        used += snprintf(line + used, sizeof line - (size_t)used, "%s", i == LINE / 2 ? " " : "");
        used += i < size ? snprintf(line + used, sizeof line - (size_t)used, " %02x", data[i])
                         : snprintf(line + used, sizeof line - (size_t)used, "   ");
    }
    used += snprintf(line + used, sizeof line - (size_t)used, "  |");
    for (size_t i = 0; i < size; i++)
        line[used++] = data[i] >= ' ' && data[i] < 0x7f ? (char)data[i] : '.';
    line[used++] = '|';
    line[used++] = '\n';
    output_bytes(output, line, (size_t)used);
}

/* As hexdump -C does: lines that repeat the one before are a star. */
struct dump {
    unsigned char last[LINE];
    bool any, starred;
};

static void print_hex(struct output *output, struct dump *dump, uint64_t at, const unsigned char *data, size_t size)
{
    for (size_t i = 0; i < size; i += LINE) {
        size_t length = size - i < LINE ? size - i : LINE;
        if (dump->any && length == LINE && memcmp(dump->last, data + i, LINE) == 0) {
            if (!dump->starred)
                output_bytes(output, "*\n", 2);
            dump->starred = true;
            continue;
        }
        print_line(output, at + i, data + i, length);
        memcpy(dump->last, data + i, length);
        dump->any = length == LINE;
        dump->starred = false;
    }
}

static void print_text(struct output *output, const char *data, size_t size, char *ret_last)
{
    if (isatty(STDOUT_FILENO))
        output_visible(output, data, size);
    else
        output_bytes(output, data, size);
    *ret_last = size > 0 ? data[size - 1] : *ret_last;
}

/* Copy by copy, so that a segment that somebody cuts off is an error. */
static int print_all(const struct segment_verb *verb, struct output *output, uint64_t end)
{
    static unsigned char data[PIECE];
    struct dump dump = {.any = false};
    char last = '\n';
    bool ended = false;
    for (uint64_t at = verb->offset; at < end && !ended && output->error == 0;) {
        size_t size = end - at < PIECE ? (size_t)(end - at) : PIECE;
        int result = wherry_segment_read(verb->segment, at, data, size);
        if (result < 0)
            return result;
        const void *nul = verb->text ? memchr(data, 0, size) : NULL;
        ended = nul != NULL;
        if (verb->text)
            print_text(output, (char *)data, nul ? (size_t)((const unsigned char *)nul - data) : size, &last);
        else if (verb->raw)
            output_bytes(output, data, size);
        else
            print_hex(output, &dump, at, data, size);
        at += size;
    }
    char tail[20];
    if (verb->text && last != '\n')
        output_bytes(output, "\n", 1);
    if (!verb->text && !verb->raw && end > verb->offset) /* none of none, as hexdump -n 0 */
        output_bytes(output, tail, (size_t)snprintf(tail, sizeof tail, "%08" PRIx64 "\n", end));
    return 0;
}

static int show(struct segment_verb *verb)
{
    struct output output;
    int result = open_segment(verb);
    if (result < 0)
        return fail(verb, result);
    uint64_t size = wherry_segment_size(verb->segment);
    if (verb->offset > size)
        return complain(TOOL_FAILED, "%s: has %" PRIu64 " bytes, none at %" PRIu64, verb->name, size, verb->offset);
    if (!verb->bounded || verb->length > size - verb->offset)
        verb->length = size - verb->offset;
    if (output_init(&output, STDOUT_FILENO) < 0)
        return complain(TOOL_FAILED, "no memory");
    result = print_all(verb, &output, verb->offset + verb->length);
    int code = result < 0 ? fail(verb, result) : TOOL_OK;
    int error = output_flush(&output);
    if (error != 0)
        code = complain(TOOL_FAILED, "standard output: %s", strerror(error));
    output_fini(&output);
    return code;
}

/* ---- stat and remove ---- */

static int print_stat(struct segment_verb *verb)
{
    struct wherry_segment_stat stat;
    int result = wherry_segment_stat(verb->name, &stat, sizeof stat);
    if (result < 0)
        return fail(verb, result);
    printf("length %" PRIu64 "\nmode 0%o\nuid %u\ngid %u\nstate %s\n", stat.length, stat.mode, (unsigned)stat.uid,
           (unsigned)stat.gid,
           stat.removed     ? "removed"
           : stat.published ? "published"
                            : "half-made");
    if (stat.kind == WHERRY_SEGMENT_POSIX)
        printf("resident %" PRIu64 "\n", stat.resident);
    else
        printf("id %d\nkey 0x%08x\ncreator-uid %u\ncreator %d\nlast %d\nattached %" PRIu64 "\n", stat.id,
               (unsigned)stat.key, (unsigned)stat.creator_uid, (int)stat.creator, (int)stat.last, stat.attached);
    return finish_printing(TOOL_OK);
}

static int remove_segment(struct segment_verb *verb)
{
    int result = wherry_segment_remove(verb->name);
    return result < 0 ? fail(verb, result) : TOOL_OK;
}

/* ---- the command line ---- */

static const struct {
    const char *name;
    int (*run)(struct segment_verb *verb);
    bool file; /* takes a FILE */
} actions[] = {
    {"create", create, true},          {"show", show, false}, {"write", write_into, true}, {"stat", print_stat, false},
    {"remove", remove_segment, false},
};

static const struct option_use uses[] = {
    {'s', "-s", "create"},
    {'m', "-m", "create"},
    {OPTION_HUGE, "--huge", "create"},
    {'t', "-t", "show"},
    {OPTION_RAW, "--raw", "show"},
    {'o', "-o", "show, write"},
    {'n', "-n", "show"},
    {OPTION_ANY_OWNER, "--any-owner", "show, write"},
};
enum { USES = sizeof uses / sizeof *uses };

static int take_option(struct segment_verb *verb, int option)
{
    verb->given |= option_bit(uses, USES, option);
    switch (option) {
    case 's':
        return take_bytes(&verb->options, "-s", &verb->size);
    case 'm':
        return take_mode(&verb->options, "-m", &verb->how.mode);
    case 'o':
        return take_bytes(&verb->options, "-o", &verb->offset);
    case 'n':
        verb->bounded = true;
        return take_bytes(&verb->options, "-n", &verb->length);
    case OPTION_HUGE:
        verb->how.huge = true;
        break;
    case 't':
        verb->text = true;
        break;
    case OPTION_RAW:
        verb->raw = true;
        break;
    case OPTION_ANY_OWNER:
        verb->how.any_owner = true;
        break;
    }
    return 0;
}

static int run(const struct verb *verb, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("size", required_argument, 's'),
        LONG("mode", required_argument, 'm'),
        LONG("huge", no_argument, OPTION_HUGE),
        LONG("text", no_argument, 't'),
        LONG("raw", no_argument, OPTION_RAW),
        LONG("offset", required_argument, 'o'),
        LONG("length", required_argument, 'n'),
        LONG("any-owner", no_argument, OPTION_ANY_OWNER),
        {0},
    };
    struct segment_verb segment = {.options = options_of(verb), .how = WHERRY_SEGMENT_OPTIONS};
    int option;
    while ((option = options_next(&segment.options, argc, argv, COMMON_SHORT "s:m:to:n:", longs)) >= 0)
        if (take_option(&segment, option) < 0)
            return segment.options.code;
    if (option == OPTION_STOP || options_operands(&segment.options, argc, 2, 3) < 0)
        return segment.options.code;
    if (segment.text && segment.raw)
        return misuse(verb, "--text and --raw exclude each other");
    segment.name = argv[optind + 1];
    segment.file = argc - optind > 2 ? argv[optind + 2] : NULL;
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++) {
        if (strcmp(actions[i].name, argv[optind]) != 0)
            continue;
        if (segment.file && !actions[i].file)
            return misuse(verb, "%s takes no file", actions[i].name);
        int code = check_uses(verb, uses, USES, segment.given, actions[i].name);
        code = code ? code : actions[i].run(&segment);
        wherry_segment_close(segment.segment);
        return code;
    }
    return misuse(verb, "%s is none of create, show, write, stat and remove", argv[optind]);
}

const struct verb verb_segment = {
    .name = "segment",
    .summary = "shared memory",
    .operands = "create|show|write|stat|remove NAME [FILE]",
    .help = "NAME is posix-shm:/name, sysv-shm:0xKEY, sysv-shm:#ID or sysv-shm:PATH?id=C.\n"
            "create makes a segment with the bytes of FILE, which nobody sees before they are\n"
            "in it; show prints it; write copies FILE or standard input into it; stat prints\n"
            "what the kernel knows of it.\n"
            "\n"
            "  -s, --size N       create: so many bytes; k, M, G, T for powers of 1024\n"
            "  -m, --mode OCTAL   create: these permissions, exactly; else 0600\n"
            "      --huge         create: in huge pages\n"
            "  -t, --text         show: up to the first NUL, as text\n"
            "      --raw          show: the bytes as they are\n"
            "  -o, --offset N     show, write: from this byte on\n"
            "  -n, --length N     show: at most so many bytes\n"
            "      --any-owner    show, write: also one of another user than this and root\n"
            "\n"
            "An option that says nothing to what is done is refused.\n"
            "With -w show and write wait for the segment to be there; else they try once.\n",
    .examples = "Examples:\n"
                "  wherry segment create -s 64k posix-shm:/table table.bin\n"
                "  wherry segment show -n 256 posix-shm:/table\n"
                "  echo hello | wherry segment write 'sysv-shm:./key?id=A'\n",
    .run = run,
};
