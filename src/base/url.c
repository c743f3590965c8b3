/* base/url.c - owns the grammar of URLs.
 *
 * SPDX-License-Identifier: MIT */
#include "base/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "base/why.h"

int wherry__url_fail(const char *text, size_t at, const char *format, ...)
{
    char reason[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    size_t length = strlen(text);
    if (at >= length)
        return wherry__fail(EINVAL, "%s: at the end: %s", text, reason);
    int shown = (int)strcspn(text + at + 1, "?&") + 1; /* no option behind it */
    return wherry__fail(EINVAL, "%s: at character %zu (\"%.*s\"): %s", text, at + 1, shown < 24 ? shown : 24, text + at,
                        reason);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode text[from, to) to *out, a string, and move *out behind it. */
static int decode(const char *text, size_t from, size_t to, char **out)
{
    while (from < to) {
        char c = text[from];
        if (c == '%') {
            int high = to - from >= 3 ? hex_digit(text[from + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[from + 2]) : -1;
            if (high < 0 || low < 0)
                return wherry__url_fail(text, from, "%% must be followed by two hexadecimal digits");
            c = (char)(high * 16 + low);
            if (c == '\0')
                return wherry__url_fail(text, from, "a NUL byte cannot be part of a name");
            from += 3;
        } else {
            if (c == '#')
                return wherry__url_fail(text, from, "a fragment has no meaning here; write %%23 for the character #");
            if ((unsigned char)c < 0x20 || c == 0x7f)
                return wherry__url_fail(text, from, "a control character must be percent-encoded");
            from++;
        }
        *(*out)++ = c;
    }
    *(*out)++ = '\0';
    return 0;
}

static int parse_options(struct wherry__url *url, size_t from, char **out)
{
    const char *text = url->text;
    for (;;) {
        size_t to = from + strcspn(text + from, "&");
        size_t equals = from + strcspn(text + from, "=&");
        if (equals == from)
            return wherry__url_fail(text, from, "an option needs a name: key=value");
        if (url->option_count == WHERRY__URL_OPTIONS_MAX)
            return wherry__url_fail(text, from, "more than %d options", WHERRY__URL_OPTIONS_MAX);
        struct wherry__url_option *option = &url->options[url->option_count];
        *option = (struct wherry__url_option){.key = *out, .at = from, .value_at = equals < to ? equals + 1 : to};
        int result = decode(text, from, equals, out);
        if (result == 0 && equals < to) {
            option->value = *out;
            result = decode(text, equals + 1, to, out);
        }
        if (result < 0)
            return result;
        for (size_t i = 0; i < url->option_count; i++)
            if (strcmp(url->options[i].key, option->key) == 0)
                return wherry__url_fail(text, from, "the option \"%s\" is given twice", option->key);
        url->option_count++;
        if (text[to] == '\0')
            return 0;
        from = to + 1;
    }
}

static int parse(struct wherry__url *url, char *out)
{
    const char *text = url->text;
    size_t colon = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    if (text[colon] != ':' || colon == 0 || !islower((unsigned char)text[0]))
        return wherry__url_fail(text, 0, "a URL begins with a scheme such as fifo: or unix:");
    url->scheme = out;
    int result = decode(text, 0, colon, &out);
    size_t at = colon + 1;
    size_t end = at + strcspn(text + at, "?");
    url->authority = "";
    if (result == 0 && strncmp(text + at, "//", 2) == 0) {
        url->has_authority = true;
        at += 2;
        size_t slash = wherry__size_min(at + strcspn(text + at, "/"), end);
        url->authority = out;
        result = decode(text, at, slash, &out);
        at = slash;
    }
    url->path_at = at;
    url->path = out;
    if (result == 0)
        result = decode(text, at, end, &out);
    if (result == 0 && text[end] == '?')
        result = parse_options(url, end + 1, &out);
    return result;
}

int wherry__url_init(struct wherry__url *url, const char *text)
{
    if (!text)
        return wherry__fail(EINVAL, "the URL is NULL");
    *url = (struct wherry__url){0};
    size_t length = strlen(text);
    /* decoded text is no longer than what it came from; each string adds a NUL */
    url->text = strdup(text);
    url->memory = malloc(length + 2 * WHERRY__URL_OPTIONS_MAX + 8);
    int result = url->text && url->memory ? parse(url, url->memory) : wherry__fail(ENOMEM, "%s: no memory", text);
    if (result < 0)
        wherry__url_fini(url);
    return result;
}

void wherry__url_fini(struct wherry__url *url)
{
    free(url->text);
    free(url->memory);
    url->text = url->memory = NULL;
}

int wherry__url_file(const struct wherry__url *url, const char **ret_path)
{
    if (url->authority[0])
        return wherry__url_fail(url->text, url->path_at - strlen(url->authority),
                                "%s: names a file on this host: write %s:///absolute/path or %s:./relative/path",
                                url->scheme, url->scheme, url->scheme);
    if (!url->path[0])
        return wherry__url_fail(url->text, url->path_at,
                                "the path is missing: write %s:///absolute/path or %s:./relative/path", url->scheme,
                                url->scheme);
    *ret_path = url->path;
    return 0;
}
