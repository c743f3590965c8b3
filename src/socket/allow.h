/* socket/allow.h - which uids a peer may have.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_SOCKET_ALLOW_H
#define WHERRY_SOCKET_ALLOW_H

#include <stdbool.h>
#include <sys/types.h>

enum { WHERRY__ALLOW_MAX = 32 };

struct wherry__allow {
    bool any;
    int count;
    uid_t uids[WHERRY__ALLOW_MAX];
};

/* Parse "1000,33" or "any".  Returns the length of what was understood, strlen(text) when all was. */
int wherry__allow_parse(struct wherry__allow *allow, const char *text);

/* The same for one uid alone: whether `text` is one. */
bool wherry__allow_parse_one(uid_t *ret_uid, const char *text);

/* One's own effective uid and root always may: root can do to us whatever it likes anyway. */
bool wherry__allow_check(const struct wherry__allow *allow, uid_t uid);

#endif
