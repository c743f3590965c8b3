/* socket/allow.c - owns the list of uids that a peer may have.
 *
 * SPDX-License-Identifier: MIT */
#include "socket/allow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int wherry__allow_parse(struct wherry__allow *allow, const char *text)
{
    *allow = (struct wherry__allow){.any = false};
    if (strcmp(text, "any") == 0) {
        allow->any = true;
        return 3;
    }
    const char *at = text;
    for (;;) {
        char *end;
        errno = 0;
        unsigned long uid = strtoul(at, &end, 10);
        if (*at == '\0' && at > text)
            return (int)(at - 1 - text); /* the comma before nothing */
        if (*at < '0' || *at > '9' || errno || uid >= (uid_t)-1 || allow->count == WHERRY__ALLOW_MAX)
            return (int)(at - text);
        allow->uids[allow->count++] = (uid_t)uid;
        if (*end != ',')
            return (int)(end - text);
        at = end + 1;
    }
}

bool wherry__allow_parse_one(uid_t *ret_uid, const char *text)
{
    struct wherry__allow allow;
    if (text[wherry__allow_parse(&allow, text)] != '\0' || allow.count != 1)
        return false;
    *ret_uid = allow.uids[0];
    return true;
}

bool wherry__allow_check(const struct wherry__allow *allow, uid_t uid)
{
    if (allow->any || uid == 0 || uid == geteuid())
        return true;
    for (int i = 0; i < allow->count; i++)
        if (allow->uids[i] == uid)
            return true;
    return false;
}
