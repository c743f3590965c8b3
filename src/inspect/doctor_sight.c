/* inspect/doctor_sight.c - owns what keeps this process from seeing who holds what: capabilities, namespaces, mount
 * options of /proc, Yama, and a kernel that lists no sockets.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "inspect/doctor.h"
#include "inspect/hidepid.h"
#include "inspect/snapshot.h"

static void say(struct wherry_inspect_findings *findings, const char *name, enum wherry_inspect_level level,
                const char *value, const char *effect, const char *remedy)
{
    struct finding *finding = wherry__doctor_add(findings, name, level);
    snprintf(finding->value, sizeof finding->value, "%s", value);
    snprintf(finding->effect, sizeof finding->effect, "%s", effect);
    snprintf(finding->remedy, sizeof finding->remedy, "%s", remedy);
}

static enum wherry_inspect_level unless(bool fine, enum wherry_inspect_level level)
{
    return fine ? WHERRY_INSPECT_FINE : level;
}

/* ---- capabilities and namespaces ---- */

enum { SYS_PTRACE_BIT = 19, SYS_ADMIN_BIT = 21 };

static void find_capabilities(void *context, char *line)
{
    uint64_t *capabilities = context;
    if (strncmp(line, "CapEff:", 7) == 0)
        *capabilities = strtoull(line + 7, NULL, 16);
}

/* The number of a namespace of ours, as /proc/self/ns has it; 0. */
static uint64_t own_space(const char *name)
{
    char path[64], full[DOCTOR_PATH], link[64];
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    ssize_t length =
        wherry__doctor_path(path, full) ? wherry__sys.readlinkat(AT_FDCWD, full, link, sizeof link - 1) : -1;
    if (length <= 0)
        return 0;
    link[length] = 0;
    const char *open = strchr(link, '[');
    return open ? strtoull(open + 1, NULL, 10) : 0;
}

/* Whether it may look at every process of its PID namespace. */
static bool look_at_privileges(struct wherry_inspect_findings *findings)
{
    static const uint64_t INITIAL_USER_SPACE = 0xeffffffd; /* linux/proc_ns.h */
    uint64_t capabilities = 0, users = own_space("user"), pids = own_space("pid");
    wherry__doctor_lines("/proc/self/status", find_capabilities, &capabilities);
    bool is_initial = users == 0 || users == INITIAL_USER_SPACE;
    bool traces = is_initial && capabilities >> SYS_PTRACE_BIT & 1,
         rules = is_initial && capabilities >> SYS_ADMIN_BIT & 1;
    say(findings, "CAP_SYS_PTRACE", unless(traces, WHERRY_INSPECT_NOTE),
        traces       ? "there"
        : is_initial ? "missing"
                     : "of its user namespace only",
        "without, processes of other users show nothing of what they hold, and nothing is proven an orphan",
        "run the command as root (sudo), or with that capability");
    say(findings, "CAP_SYS_ADMIN", unless(rules, WHERRY_INSPECT_NOTE),
        rules        ? "there"
        : is_initial ? "missing"
                     : "of its user namespace only",
        "without, sockets of other network namespaces are not listed", "run the command as root (sudo)");
    if (pids)
        say(findings, "PID namespace", unless(pids == INITIAL_PID_SPACE, WHERRY_INSPECT_NOTE),
            pids == INITIAL_PID_SPACE ? "the host's" : "not the host's",
            "processes outside of it are not seen, and nothing they may hold is proven an orphan",
            "run the command on the host, or in a container with --pid=host");
    return traces;
}

/* ---- /proc ---- */

static void look_at_hidepid(struct wherry_inspect_findings *findings, bool traces)
{
    struct hidepid hidepid = {.value = ""};
    wherry__doctor_lines("/proc/self/mountinfo", wherry__hidepid_line, &hidepid);
    bool is_off = wherry__hidepid_is_off(&hidepid);
    say(findings, "hidepid", unless(is_off || traces, WHERRY_INSPECT_WARNING), is_off ? "off" : hidepid.value,
        "set, the processes of other users are not in /proc, and what they hold looks as if nobody did",
        "run the command as root, or mount -o remount,hidepid=off /proc");
}

static void look_at_yama(struct wherry_inspect_findings *findings, bool traces)
{
    uint64_t scope;
    if (!wherry__doctor_sysctl("kernel.yama.ptrace_scope", &scope, 1))
        return;
    char value[24];
    snprintf(value, sizeof value, "%llu", (unsigned long long)scope);
    say(findings, "kernel.yama.ptrace_scope", unless(scope == 0 || (traces && scope < 3), WHERRY_INSPECT_NOTE), value,
        "from 1 on, in which call a process waits (for a System V semaphore, queue) is hidden without CAP_SYS_PTRACE, "
        "with 3 from root too; who holds what is not",
        scope < 3 ? "run the command as root, or sysctl -w kernel.yama.ptrace_scope=0" : "start the host without it");
}

/* ---- sock_diag ---- */

/* Ask for something that is quickly said: 0 or a positive error of the kernel's answer; -1: there was none. */
static int ask(int fd, const void *request, size_t size)
{
    char answer[8192] __attribute__((aligned(16)));
    if (wherry__sys.send(fd, request, size, MSG_DONTWAIT) < 0)
        return errno;
    for (;;) {
        ssize_t got = wherry__sys.recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        const struct nlmsghdr *header = (const void *)answer;
        if (got < (ssize_t)sizeof *header)
            return -1;
        int error = 0;
        if ((header->nlmsg_type == NLMSG_ERROR || header->nlmsg_type == NLMSG_DONE) &&
            got >= (ssize_t)(sizeof *header + sizeof error)) {
            memcpy(&error, answer + sizeof *header, sizeof error);
            return -error;
        }
    }
}

/* The socket of inode 0, which is none: EINVAL from unix_diag, ENOENT where there is no unix_diag. */
static bool has_unix_diag(int fd)
{
    struct {
        struct nlmsghdr header;
        struct unix_diag_req request;
    } message = {
        .header = {.nlmsg_len = sizeof message, .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .request = {.sdiag_family = AF_UNIX}};
    return ask(fd, &message, sizeof message) != ENOENT;
}

/* All sockets in none of the states. */
static bool has_inet_diag(int fd, unsigned char protocol)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 request;
    } message = {.header = {.nlmsg_len = sizeof message,
                            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                            .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
                 .request = {.sdiag_family = AF_INET, .sdiag_protocol = protocol}};
    return ask(fd, &message, sizeof message) != ENOENT;
}

static void say_diag(struct wherry_inspect_findings *findings, const char *name, bool there, const char *effect,
                     const char *remedy)
{
    say(findings, name, unless(there, WHERRY_INSPECT_WARNING), there ? "there" : "missing", effect, remedy);
}

static void look_at_sock_diag(struct wherry_inspect_findings *findings)
{
    int fd = wherry__sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0) {
        say_diag(findings, "sock_diag", false, "without, the kernel does not tell the peers of any sockets",
                 errno == EACCES || errno == EPERM ? "let this process have netlink sockets (RestrictAddressFamilies=)"
                                                   : "a kernel with CONFIG_NET and its diag modules");
        return;
    }
    say_diag(findings, "unix_diag", has_unix_diag(fd), "without, the peers of Unix sockets are not known",
             "modprobe unix_diag");
    say_diag(findings, "tcp_diag", has_inet_diag(fd, IPPROTO_TCP), "without, TCP connections are not listed",
             "modprobe tcp_diag");
    say_diag(findings, "udp_diag", has_inet_diag(fd, IPPROTO_UDP), "without, UDP sockets are not listed",
             "modprobe udp_diag");
    wherry__sys.close(fd);
}

void wherry__doctor_sight(struct wherry_inspect_findings *findings)
{
    bool traces = look_at_privileges(findings);
    look_at_hidepid(findings, traces);
    look_at_yama(findings, traces);
    look_at_sock_diag(findings);
}
