/* inspect/doctor_limits.c - owns the limits that bite by their value alone: sysctls and limits of the process.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspect/doctor.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* ---- sysctls ---- */

struct sysctl {
    const char *name, *effect, *remedy;
    uint64_t least; /* below it: a warning */
    uint64_t few;   /* below it: a note */
    uint64_t many;  /* from there on: a note; 0: never */
    bool zero_is_none;
};

static const struct sysctl sysctls[] = {
    {"fs.mqueue.msg_max", "a POSIX queue (mq:) holds no more messages; then its senders wait",
     "sysctl -w fs.mqueue.msg_max=1000", .few = 11},
    {"fs.mqueue.msgsize_max", "no message of a POSIX queue (mq:) has more bytes",
     "sysctl -w fs.mqueue.msgsize_max=65536", .few = 8193},
    {"kernel.msgmax", "no message of a System V queue (sysv:) has more bytes", "sysctl -w kernel.msgmax=65536",
     .few = 8193},
    {"kernel.msgmnb",
     "a System V queue (sysv:) holds no more bytes, unless root makes it larger; then its senders wait",
     "sysctl -w kernel.msgmnb=1048576", .few = 16385},
    {"kernel.shmmax", "no System V segment has more bytes", "sysctl -w kernel.shmmax=18446744073692774399",
     .least = 16 * MIB, .few = GIB},
    {"fs.pipe-max-size", "no pipe or FIFO is made larger than this (capacity=) without CAP_SYS_RESOURCE",
     "sysctl -w fs.pipe-max-size=1048576", .few = MIB},
    {"fs.pipe-user-pages-soft",
     "an ordinary user whose pipes have more pages than this gets new ones of 8 KiB, and none is made larger",
     "sysctl -w fs.pipe-user-pages-soft=16384", .few = 16384, .zero_is_none = true},
    {"fs.pipe-user-pages-hard", "an ordinary user whose pipes have more pages than this gets no new one",
     "sysctl -w fs.pipe-user-pages-hard=0", .few = UINT64_MAX, .zero_is_none = true},
    {"net.unix.max_dgram_qlen",
     "a Unix datagram socket (unix+dgram:) holds hardly more messages; then its senders wait",
     "sysctl -w net.unix.max_dgram_qlen=512", .few = 64},
    {"net.core.somaxconn", "backlog= is cut to it: when more connect at once, they wait, or try again",
     "sysctl -w net.core.somaxconn=4096", .least = 128},
    {"net.core.rmem_max",
     "without CAP_NET_ADMIN a UDP socket has no more room than this (capacity=): of a burst the rest is lost",
     "sysctl -w net.core.rmem_max=4194304", .few = MIB},
    {"net.core.wmem_max", "without CAP_NET_ADMIN no message of unix+seqpacket: and unix+dgram: is larger",
     "sysctl -w net.core.wmem_max=4194304", .few = MIB},
    {"fs.inotify.max_user_instances",
     "each file: that is followed and each ring with keep that is polled takes one of its user's",
     "sysctl -w fs.inotify.max_user_instances=1024", .least = 16, .few = 128},
    {"fs.inotify.max_user_watches", "each file: that is followed takes one or two of its user's",
     "sysctl -w fs.inotify.max_user_watches=65536", .least = 64, .few = 1024},
    {"vm.overcommit_memory",
     "with 2, memory is promised only as far as there is some: large segments and forks of large programs fail "
     "(-ENOMEM)",
     "sysctl -w vm.overcommit_memory=0", .many = 2},
    {"fs.protected_regular",
     "in a directory such as /tmp nobody, root neither, takes over a socket whose lock file is another user's "
     "(-EACCES)",
     "place sockets in a directory of their user's, such as /run/NAME", .many = 1},
};

static enum wherry_inspect_level level_of(const struct sysctl *row, uint64_t value)
{
    if (row->zero_is_none && value == 0)
        return WHERRY_INSPECT_FINE;
    if (value < row->least)
        return WHERRY_INSPECT_WARNING;
    return value < row->few || (row->many && value >= row->many) ? WHERRY_INSPECT_NOTE : WHERRY_INSPECT_FINE;
}

static void fill(struct finding *finding, uint64_t value, const char *effect, const char *remedy)
{
    if (!finding->value[0])
        snprintf(finding->value, sizeof finding->value, "%llu", (unsigned long long)value);
    snprintf(finding->effect, sizeof finding->effect, "%s", effect);
    snprintf(finding->remedy, sizeof finding->remedy, "%s", remedy);
}

static void look_at_sysctls(struct wherry_inspect_findings *findings)
{
    uint64_t value;
    for (size_t i = 0; i < sizeof sysctls / sizeof *sysctls; i++)
        if (wherry__doctor_sysctl(sysctls[i].name, &value, 1))
            fill(wherry__doctor_add(findings, sysctls[i].name, level_of(&sysctls[i], value)), value, sysctls[i].effect,
                 sysctls[i].remedy);
}

/* ---- limits that are to be seen beside each other ---- */

/* What a queue is made for when nothing is said must be allowed, or it is not made. */
static void look_at_default(struct wherry_inspect_findings *findings, const char *name, const char *most_name)
{
    uint64_t usual, most;
    if (!wherry__doctor_sysctl(name, &usual, 1) || !wherry__doctor_sysctl(most_name, &most, 1))
        return;
    struct finding *finding =
        wherry__doctor_add(findings, name, usual > most ? WHERRY_INSPECT_WARNING : WHERRY_INSPECT_FINE);
    char remedy[160];
    snprintf(remedy, sizeof remedy, "sysctl -w %s=%llu", name, (unsigned long long)most);
    fill(finding, usual, "what a POSIX queue (mq:) is made for unless more is said; above the limit none is made",
         remedy);
}

static void look_at_message_size(struct wherry_inspect_findings *findings)
{
    uint64_t bytes, message;
    if (!wherry__doctor_sysctl("kernel.msgmnb", &bytes, 1) || !wherry__doctor_sysctl("kernel.msgmax", &message, 1) ||
        bytes >= message)
        return;
    struct finding *finding = wherry__doctor_add(findings, "kernel.msgmnb", WHERRY_INSPECT_WARNING);
    char remedy[160];
    snprintf(remedy, sizeof remedy, "sysctl -w kernel.msgmnb=%llu", (unsigned long long)message * 2);
    fill(finding, bytes,
         "less than kernel.msgmax: a message that is allowed fits no queue, and its sender gets -EMSGSIZE", remedy);
}

static void look_at_ports(struct wherry_inspect_findings *findings)
{
    static const char name[] = "net.ipv4.ip_local_port_range";
    uint64_t ports[2];
    if (!wherry__doctor_sysctl(name, ports, 2))
        return;
    uint64_t count = ports[1] < ports[0] ? 0 : ports[1] - ports[0] + 1;
    struct finding *finding = wherry__doctor_add(findings, name,
                                                 count < 64     ? WHERRY_INSPECT_WARNING
                                                 : count < 4096 ? WHERRY_INSPECT_NOTE
                                                                : WHERRY_INSPECT_FINE);
    snprintf(finding->value, sizeof finding->value, "%llu to %llu", (unsigned long long)ports[0],
             (unsigned long long)ports[1]);
    fill(finding, count, "so many connections (tcp:) to one address at once, those of the last minute counted",
         "sysctl -w net.ipv4.ip_local_port_range='32768 60999'");
}

/* ---- limits of the process ---- */

struct limit {
    const char *name, *row, *effect, *remedy;
    uint64_t least, few, ask; /* what the remedy asks for */
    uint64_t soft, hard;      /* as found */
    bool found;
};

static const struct limit limits[] = {
    {.name = "RLIMIT_NOFILE",
     .row = "Max open files",
     .effect = "descriptors of a process: each connection takes one, an endpoint some; then -EMFILE",
     .remedy = "ulimit -n 65536%s (LimitNOFILE= of a systemd unit)",
     .least = 64,
     .few = 1025,
     .ask = 65536},
    {.name = "RLIMIT_NPROC",
     .row = "Max processes",
     .effect = "processes and threads of an ordinary user; beyond them none is started (-EAGAIN)",
     .remedy = "ulimit -u 4096%s (LimitNPROC= of a systemd unit)",
     .least = 32,
     .few = 512,
     .ask = 4096},
    {.name = "RLIMIT_SIGPENDING",
     .row = "Max pending signals",
     .effect = "signals with a value that wait for a user's processes, and their timers; then -EAGAIN",
     .remedy = "ulimit -i 16384%s (LimitSIGPENDING= of a systemd unit)",
     .least = 16,
     .few = 1024,
     .ask = 16384},
    {.name = "RLIMIT_FSIZE",
     .row = "Max file size",
     .effect = "no file grows larger: logs, mapped files, and rings and segments, which are files of /dev/shm",
     .remedy = "ulimit -f unlimited%s (LimitFSIZE= of a systemd unit)",
     .least = MIB,
     .few = GIB,
     .ask = UINT64_MAX},
    {.name = "RLIMIT_MSGQUEUE",
     .row = "Max msgqueue size",
     .ask = UINT64_MAX,
     .remedy = "ulimit -q unlimited%s (LimitMSGQUEUE= of a systemd unit)"},
};

enum { LIMITS = sizeof limits / sizeof *limits, MSGQUEUE = LIMITS - 1 };

static uint64_t limit_number(const char *word)
{
    return strcmp(word, "unlimited") == 0 ? UINT64_MAX : strtoull(word, NULL, 10);
}

/* "Max open files            1024                 524288               files" */
static void find_limit(void *context, char *line)
{
    struct limit *rows = context;
    for (size_t i = 0; i < LIMITS; i++) {
        char soft[32], hard[32];
        size_t length = strlen(rows[i].row);
        if (strncmp(line, rows[i].row, length) != 0 || sscanf(line + length, " %31s %31s", soft, hard) != 2)
            continue;
        rows[i].soft = limit_number(soft);
        rows[i].hard = limit_number(hard);
        rows[i].found = true;
    }
}

static struct finding *add_limit(struct wherry_inspect_findings *findings, const struct limit *row,
                                 enum wherry_inspect_level level)
{
    struct finding *finding = wherry__doctor_add(findings, row->name, level);
    if (row->soft == UINT64_MAX)
        snprintf(finding->value, sizeof finding->value, "unlimited");
    fill(finding, row->soft, row->effect ? row->effect : "", "");
    const char *who = strstr(row->remedy, "%s"); /* who may ask for so much */
    snprintf(finding->remedy, sizeof finding->remedy, "%.*s%s%s", (int)(who - row->remedy), row->remedy,
             row->hard < row->ask ? ", as root" : "", who + 2);
    return finding;
}

/* What the kernel charges for a queue of the usual size: mq_overview(7), RLIMIT_MSGQUEUE of getrlimit(2). */
static void look_at_queues(struct wherry_inspect_findings *findings, const struct limit *row)
{
    uint64_t messages, size;
    if (!wherry__doctor_sysctl("fs.mqueue.msg_default", &messages, 1) ||
        !wherry__doctor_sysctl("fs.mqueue.msgsize_default", &size, 1))
        return;
    uint64_t overhead = 48 * messages + 48 * (messages < 32768 ? messages : 32768);
    uint64_t queues = row->soft == UINT64_MAX ? UINT64_MAX : row->soft / (messages * size + overhead + 1);
    struct finding *finding = add_limit(findings, row,
                                        queues == 0   ? WHERRY_INSPECT_WARNING
                                        : queues < 16 ? WHERRY_INSPECT_NOTE
                                                      : WHERRY_INSPECT_FINE);
    if (queues == UINT64_MAX)
        snprintf(finding->effect, sizeof finding->effect, "bytes of all POSIX queues (mq:) of a user");
    else
        snprintf(finding->effect, sizeof finding->effect,
                 "bytes of all POSIX queues (mq:) of a user: %llu queues of the usual size; then -EMFILE",
                 (unsigned long long)queues);
}

static void look_at_limits(struct wherry_inspect_findings *findings)
{
    struct limit rows[LIMITS];
    memcpy(rows, limits, sizeof rows);
    wherry__doctor_lines("/proc/self/limits", find_limit, rows);
    for (size_t i = 0; i < LIMITS; i++)
        if (rows[i].found && i == MSGQUEUE)
            look_at_queues(findings, &rows[i]);
        else if (rows[i].found)
            add_limit(findings, &rows[i],
                      rows[i].soft < rows[i].least ? WHERRY_INSPECT_WARNING
                      : rows[i].soft < rows[i].few ? WHERRY_INSPECT_NOTE
                                                   : WHERRY_INSPECT_FINE);
}

void wherry__doctor_limits(struct wherry_inspect_findings *findings)
{
    look_at_sysctls(findings);
    look_at_default(findings, "fs.mqueue.msg_default", "fs.mqueue.msg_max");
    look_at_default(findings, "fs.mqueue.msgsize_default", "fs.mqueue.msgsize_max");
    look_at_message_size(findings);
    look_at_ports(findings);
    look_at_limits(findings);
}
