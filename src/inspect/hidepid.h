/* inspect/hidepid.h - whether /proc leaves processes out; proc(5), hidepid.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY__INSPECT_HIDEPID_H
#define WHERRY__INSPECT_HIDEPID_H

#include <stdbool.h>
#include <sys/types.h>

struct snapshot;

struct hidepid {
    char value[32]; /* "" or "off", else what the kernel says: "invisible", before Linux 5.8 "2" */
    gid_t group;    /* whose members see all, save with "ptraceable" */
};

/* Takes each line of /proc/self/mountinfo in turn; a later mount lies over an earlier one. */
void wherry__hidepid_line(void *hidepid, char *line);

bool wherry__hidepid_is_off(const struct hidepid *hidepid);

/* Whether this process may have been shown less than there is. */
bool wherry__hidepid_hides(struct snapshot *snapshot);

#endif
