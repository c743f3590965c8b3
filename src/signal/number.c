/* signal/number.c - owns the numbers and names of signals.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/why.h"
#include "signal/signals.h"

/* The first name of a number is the one that is shown. */
static const struct {
    const char *name;
    int number;
} names[] = {
    {"HUP", SIGHUP},       {"INT", SIGINT},       {"QUIT", SIGQUIT},   {"ILL", SIGILL},   {"TRAP", SIGTRAP},
    {"ABRT", SIGABRT},     {"IOT", SIGABRT},      {"BUS", SIGBUS},     {"FPE", SIGFPE},   {"KILL", SIGKILL},
    {"USR1", SIGUSR1},     {"SEGV", SIGSEGV},     {"USR2", SIGUSR2},   {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},
    {"TERM", SIGTERM},     {"CHLD", SIGCHLD},     {"CLD", SIGCHLD},    {"CONT", SIGCONT}, {"STOP", SIGSTOP},
    {"TSTP", SIGTSTP},     {"TTIN", SIGTTIN},     {"TTOU", SIGTTOU},   {"URG", SIGURG},   {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ},     {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF},   {"IO", SIGIO},     {"POLL", SIGIO},
    {"PWR", SIGPWR},       {"SYS", SIGSYS},       {"WINCH", SIGWINCH},
#ifdef SIGSTKFLT
    {"STKFLT", SIGSTKFLT},
#endif
};
enum { NAMES = sizeof names / sizeof *names };

bool wherry__signal_is(int number)
{
    /* between the standard ones and SIGRTMIN are those of the C library: cancelling threads, setuid() in all of them */
    return number > 0 && number < WHERRY__SIGNALS && (number < 32 || (number >= SIGRTMIN && number <= SIGRTMAX));
}

int wherry__signal_check(int number)
{
    if (wherry__signal_is(number))
        return 0;
    if (number >= 32 && number < SIGRTMIN)
        return wherry__fail(EINVAL, "signal %d is the C library's own; the real-time signals begin with SIGRTMIN, %d",
                            number, SIGRTMIN);
    return wherry__fail(EINVAL, "%d is no signal: they are 1 to 31 and SIGRTMIN (%d) to SIGRTMAX (%d)", number,
                        SIGRTMIN, SIGRTMAX);
}

int wherry__signal_check_own(int number)
{
    char name[WHERRY_SIGNAL_NAME];
    if (number == SIGKILL || number == SIGSTOP)
        return wherry__fail(EINVAL, "%s: the kernel lets no process receive, block or ignore it",
                            wherry_signal_name(number, name, sizeof name));
    return wherry__signal_check(number);
}

/* ---- from text ---- */

/* A decimal number up to 999 and no more; -1 for anything else. */
static int small_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 4 && text[digits] == '\0' ? atoi(text) : -1;
}

/* "RTMIN", "RTMIN+3", "RTMAX", "RTMAX-3"; 0 for anything else. */
static int real_time(const char *text)
{
    bool from_least = strncasecmp(text, "RTMIN", 5) == 0;
    if (!from_least && strncasecmp(text, "RTMAX", 5) != 0)
        return 0;
    int span = text[5] == '\0' ? 0 : text[5] == (from_least ? '+' : '-') ? small_number(text + 6) : -1;
    if (span < 0 || span > SIGRTMAX - SIGRTMIN)
        return 0;
    return from_least ? SIGRTMIN + span : SIGRTMAX - span;
}

int wherry_signal_number(const char *text)
{
    if (!text)
        return wherry__fail(EINVAL, "a signal needs a name or a number");
    int number = small_number(text);
    if (number == 0)
        return 0;
    if (number > 0) {
        int result = wherry__signal_check(number);
        return result < 0 ? result : number;
    }
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
    for (int i = 0; i < NAMES; i++)
        if (strcasecmp(name, names[i].name) == 0)
            return names[i].number;
    number = real_time(name);
    if (number > 0)
        return number;
    return wherry__fail(EINVAL, "\"%.64s\" is no signal: write a name such as TERM or RTMIN+3, or a number", text);
}

/* ---- to text: without stdio, for handlers ---- */

struct text {
    char *at;
    size_t left;
};

static void append(struct text *text, const char *more)
{
    for (; *more && text->left > 1; text->left--)
        *text->at++ = *more++;
    if (text->left > 0)
        *text->at = '\0';
}

static void append_number(struct text *text, int number)
{
    char digits[16] = "", *at = digits + sizeof digits - 1;
    unsigned left = number < 0 ? -(unsigned)number : (unsigned)number;
    do
        *--at = (char)('0' + left % 10);
    while ((left /= 10) > 0);
    if (number < 0)
        *--at = '-';
    append(text, at);
}

const char *wherry_signal_name(int number, char *buffer, size_t size)
{
    struct text text = {.at = buffer, .left = size};
    append(&text, "");
    for (int i = 0; i < NAMES; i++)
        if (names[i].number == number) {
            append(&text, "SIG");
            append(&text, names[i].name);
            return buffer;
        }
    if (number >= SIGRTMIN && number <= SIGRTMAX) {
        append(&text, number == SIGRTMAX ? "SIGRTMAX" : "SIGRTMIN");
        if (number > SIGRTMIN && number < SIGRTMAX) {
            append(&text, "+");
            append_number(&text, number - SIGRTMIN);
        }
        return buffer;
    }
    append(&text, "signal ");
    append_number(&text, number);
    return buffer;
}
