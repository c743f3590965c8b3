/* base/directory.h - a user's own directory in /dev/shm, for what the processes of one user share.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_DIRECTORY_H
#define WHERRY_BASE_DIRECTORY_H

#include <sys/types.h>

/* /dev/shm/wherry-UID and then `suffix`, made with `mode` when it is not there: "" and 0700 for what is this user's
 * alone. A noted descriptor to close, or -errno with the sentence set, which begins with `name`. */
int wherry__directory_own(const char *name, const char *suffix, mode_t mode);

#endif
