/* text.c - owns how foreign text is shown, and the lines that the command says on standard error.
 *
 * SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "progress.h"
#include "tool.h"

size_t utf8_length(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint8_t first = data[0];
    if (first < 0x80)
        return 1;
    size_t length = first >= 0xc2 && first < 0xe0   ? 2
                    : (first & 0xf0) == 0xe0        ? 3
                    : first >= 0xf0 && first < 0xf5 ? 4
                                                    : 0;
    if (length == 0 || length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((data[i] & 0xc0) != 0x80)
            return 0;
    /* the second byte tells overlong forms, surrogates and what lies beyond U+10FFFF */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    return data[1] >= low && data[1] <= high ? length : 0;
}

bool utf8_is_text(const uint8_t *data, size_t size)
{
    while (size > 0) {
        size_t length = utf8_length(data, size);
        if (length == 0 || data[0] == '\0')
            return false;
        data += length;
        size -= length;
    }
    return true;
}

static bool is_control(const uint8_t *data, size_t length)
{
    return (length == 1 && (data[0] < 0x20 || data[0] == 0x7f)) || (length == 2 && data[0] == 0xc2 && data[1] < 0xa0);
}

size_t escape_next(const uint8_t **data, size_t *size, const char *keep, char out[ESCAPED_MAX])
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = *data;
    size_t length = utf8_length(from, *size);
    size_t taken = length ? length : 1;
    *data += taken;
    *size -= taken;
    bool kept = from[0] != '\0' && strchr(keep, from[0]);
    if (length != 0 && (kept || !is_control(from, length))) {
        memcpy(out, from, length);
        return length;
    }
    for (size_t i = 0; i < taken; i++) {
        const char escaped[] = {'\\', 'x', digits[from[i] >> 4], digits[from[i] & 15]};
        memcpy(out + 4 * i, escaped, sizeof escaped);
    }
    return 4 * taken;
}

size_t escape_text(const char *text, char *out, size_t capacity)
{
    const uint8_t *data = (const uint8_t *)text;
    size_t size = strlen(text), used = 0;
    while (size > 0 && capacity - used > ESCAPED_MAX)
        used += escape_next(&data, &size, "", out + used);
    out[used] = '\0';
    return used;
}

/* One write, so that lines of several processes on one terminal or log do not mix. */
__attribute__((format(printf, 2, 0))) static void say(const char *lead, const char *format, va_list arguments)
{
    char raw[4096], line[3 * sizeof raw];
    size_t used = (size_t)snprintf(line, sizeof line, "wherry: %s", lead);
    vsnprintf(raw, sizeof raw, format, arguments);
    used += escape_text(raw, line + used, sizeof line - used - 1);
    line[used++] = '\n';
    progress_clear();
    while (write(STDERR_FILENO, line, used) < 0 && errno == EINTR)
        ;
}

int complain(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
    return code;
}

void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    say("", format, arguments);
    va_end(arguments);
}

int misuse(const struct verb *verb, const char *format, ...)
{
    char reason[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (!verb)
        return complain(TOOL_USAGE, "%s; try 'wherry --help'", reason);
    return complain(TOOL_USAGE, "%s: %s; try 'wherry %s --help'", verb->name, reason, verb->name);
}

int finish_printing(int code)
{
    int failed = fflush(stdout) != 0 || ferror(stdout) ? errno : 0;
    if (!failed)
        return code;
    return complain(TOOL_FAILED, "standard output: %s", strerror(failed));
}
