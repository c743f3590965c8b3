/* base/why.c - owns the thread's last sentence.
 *
 * SPDX-License-Identifier: MIT */
#include "base/why.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wherry/base.h>

static _Thread_local struct wherry__why why; /* the constant is what to show, when not NULL */

const char *wherry_why(void)
{
    return why.constant ? why.constant : why.text;
}

const char *wherry_version(void)
{
#define TEXT(x) #x
#define VERSION(a, b, c) TEXT(a) "." TEXT(b) "." TEXT(c)
    return VERSION(WHERRY_VERSION_MAJOR, WHERRY_VERSION_MINOR, WHERRY_VERSION_PATCH);
}

/* A sentence that is too long, for a path of thousands of bytes, is shortened in the middle: what went wrong is at its
 * end. */
static void note(const char *text)
{
    static const char gap[] = " ... ";
    size_t length = strlen(text), half = (sizeof why.text - sizeof gap) / 2;
    why.constant = NULL;
    if (length < sizeof why.text) {
        memcpy(why.text, text, length + 1);
        return;
    }
    memcpy(why.text, text, half);
    memcpy(why.text + half, gap, sizeof gap - 1);
    memcpy(why.text + half + sizeof gap - 1, text + length - half, half + 1);
}

__attribute__((format(printf, 1, 0))) static void note_formatted(const char *format, va_list arguments)
{
    char *text; /* not written in place: an argument may be wherry_why() itself */
    if (vasprintf(&text, format, arguments) < 0) {
        why.constant = "no memory to say why";
        return;
    }
    note(text);
    free(text);
}

int wherry__fail(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_formatted(format, arguments);
    va_end(arguments);
    return -code;
}

/* GNU's and POSIX's share a name; musl's strerror(3) is safe in threads. */
static const char *reason_of(int code, char *buffer, size_t size)
{
#ifdef __GLIBC__
    return strerror_r(code, buffer, size);
#else
    (void)buffer, (void)size;
    return strerror(code);
#endif
}

int wherry__fail_errno(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    note_formatted(format, arguments);
    va_end(arguments);
    char reason[128];
    return wherry__fail(code, "%s: %s", wherry_why(), reason_of(code, reason, sizeof reason));
}

int wherry__fail_quietly(int code, const char *constant)
{
    why.constant = constant;
    return -code;
}

void wherry__why_save(struct wherry__why *ret_before)
{
    ret_before->constant = why.constant;
    strcpy(ret_before->text, why.text);
}

int wherry__why_settle(const struct wherry__why *before, int result)
{
    if (result >= 0) {
        why.constant = before->constant;
        strcpy(why.text, before->text);
    }
    return result;
}

const char *wherry__process_name(int pid, char buffer[static 64])
{
    if (pid <= 0)
        return strcpy(buffer, "another process");
    char path[32], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t size = read(fd, name, sizeof name - 1);
        name[size > 0 ? size : 0] = '\0';
        name[strcspn(name, "\n")] = '\0';
        close(fd);
    }
    if (name[0])
        snprintf(buffer, 64, "pid %d (%s)", pid, name);
    else
        snprintf(buffer, 64, "pid %d", pid);
    return buffer;
}
