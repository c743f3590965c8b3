/* base/url.h - URLs taken apart: scheme, authority, path, options; every error names its place.
 *
 * SPDX-License-Identifier: MIT
 *
 *     scheme:body?key=value&key=value          body: //authority/path, or a path, or something of the scheme's own
 *
 * Text is percent-decoded (RFC 3986); an unknown key is the caller's to refuse, a repeated one or a fragment is refused
 * here. */
#ifndef WHERRY_BASE_URL_H
#define WHERRY_BASE_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/shared.h"

enum { WHERRY__URL_OPTIONS_MAX = 40 };

struct wherry__url_option {
    const char *key;
    const char *value; /* NULL when there was no "=" */
    size_t at;         /* where the key begins in the text, from 0 */
    size_t value_at;
};

struct wherry__url {
    char *text;            /* as given: what messages about it begin with */
    const char *scheme;    /* lower case as given; [a-z][a-z0-9+.-]* */
    bool has_authority;    /* there was a "//" */
    const char *authority; /* "" when empty or absent */
    const char *path;      /* with its leading slash after an authority; the whole body otherwise */
    size_t path_at;
    size_t option_count;
    struct wherry__url_option options[WHERRY__URL_OPTIONS_MAX];
    char *memory; /* what the strings above lie in */
};

/* Take `text` apart.  Returns 0, -EINVAL or -ENOMEM; on success wherry__url_fini() gives the memory back. */
WHERRY__SHARED int wherry__url_init(struct wherry__url *url, const char *text);
WHERRY__SHARED void wherry__url_fini(struct wherry__url *url);

/* Fail with -EINVAL and a sentence that names the place: `at` counts from 0. */
int wherry__url_fail(const char *text, size_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* For schemes that name a file: the path, which must be there, with an empty authority or none.  Returns 0 or
 * -EINVAL. */
int wherry__url_file(const struct wherry__url *url, const char **ret_path);

#endif
