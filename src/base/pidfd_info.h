/* base/pidfd_info.h - what a pidfd tells of its process; ioctl_pidfd(2), PIDFD_GET_INFO, Linux 6.13.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_BASE_PIDFD_INFO_H
#define WHERRY_BASE_PIDFD_INFO_H

#include <stdint.h>
#include <sys/ioctl.h>

/* struct pidfd_info of linux/pidfd.h, as far as Linux 6.15 has it */
struct wherry__pidfd_info {
    uint64_t mask; /* what is asked for, and then what was told */
    uint64_t cgroup;
    uint32_t pid, group, parent, ids[8]; /* real, effective, saved and file system's uid and gid, in turns */
    int32_t exit_code;
};

#define WHERRY__PIDFD_INFO_EXIT (UINT64_C(1) << 3) /* Linux 6.15 */
#define WHERRY__PIDFD_GET_INFO _IOWR(0xff, 11, struct wherry__pidfd_info)

#endif
