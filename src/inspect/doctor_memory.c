/* inspect/doctor_memory.c - owns what is found of /dev/shm, and of the memory that the process's control group may use.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/stat.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/sys.h"
#include "inspect/doctor.h"

#define MIB (UINT64_C(1) << 20)

static const char what_for[] = "where rings (shm:), segments and semaphores are";

static void trouble(struct wherry_inspect_findings *findings, enum wherry_inspect_level level, const char *value,
                    const char *effect, const char *remedy)
{
    struct finding *finding = wherry__doctor_add(findings, "/dev/shm", level);
    snprintf(finding->value, sizeof finding->value, "%s", value);
    snprintf(finding->effect, sizeof finding->effect, "%s: %s", what_for, effect);
    snprintf(finding->remedy, sizeof finding->remedy, "%s", remedy);
}

/* As access(2) would say, which a network file system might be asked for. */
static bool may_write(int fd)
{
    struct statx status;
    if (geteuid() == 0 || wherry__sys.statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &status) < 0)
        return true;
    return status.stx_mode & (status.stx_uid == geteuid() ? 0200 : 0002);
}

static void in_mib(uint64_t bytes, char text[24])
{
    snprintf(text, 24, "%llu MiB", (unsigned long long)(bytes / MIB));
}

static void look_at_room(struct wherry_inspect_findings *findings, const struct statfs *status)
{
    static const char remedy[] = "mount -o remount,size=2G /dev/shm, or the container's --shm-size=2g";
    uint64_t size = (uint64_t)status->f_blocks * (uint64_t)status->f_bsize;
    uint64_t room = (uint64_t)status->f_bavail * (uint64_t)status->f_bsize;
    char value[96], sizes[24], rooms[24];
    in_mib(size, sizes);
    in_mib(room, rooms);
    snprintf(value, sizeof value, "%s free of %s", rooms, sizes);
    if (status->f_blocks == 0) /* mounted with size=0 */
        trouble(findings, WHERRY_INSPECT_FINE, "without a limit", "memory is the limit", "");
    else if (room < size / 20 || room < MIB)
        trouble(findings, WHERRY_INSPECT_WARNING, value, "nearly full; new ones are not made (-ENOSPC)",
                "wherry ls memory --orphan, rm; mount -o remount,size=2G /dev/shm");
    else
        trouble(findings, size <= 64 * MIB || room < size / 5 ? WHERRY_INSPECT_NOTE : WHERRY_INSPECT_FINE, value,
                "what does not fit is not made (-ENOSPC)", remedy);
    if (status->f_files && status->f_ffree < status->f_files / 20)
        trouble(findings, WHERRY_INSPECT_WARNING, "nearly no inodes free", "new ones are not made (-ENOSPC)",
                "wherry ls memory --orphan, rm; mount -o remount,nr_inodes=1M /dev/shm");
}

/* Bytes of it; 0: none. */
static uint64_t look_at_shm(struct wherry_inspect_findings *findings)
{
    static const char mount[] = "mkdir -p /dev/shm && mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm";
    char full[DOCTOR_PATH];
    struct statfs status = {0};
    int fd = wherry__doctor_path("/dev/shm", full) ? wherry__sys.open(full, O_PATH | O_DIRECTORY | O_CLOEXEC, 0) : -1;
    bool is_known = fd >= 0 && wherry__sys.fstatfs(fd, &status) == 0;
    if (fd < 0)
        trouble(findings, WHERRY_INSPECT_WARNING, strerror(errno), "none of them can be made", mount);
    else if (is_known && (status.f_flags & ST_RDONLY))
        trouble(findings, WHERRY_INSPECT_WARNING, "read-only", "none of them can be made (-EROFS)",
                "mount -o remount,rw /dev/shm");
    else if (!may_write(fd))
        trouble(findings, WHERRY_INSPECT_WARNING, "not writable for this user", "none of them can be made (-EACCES)",
                "chmod 1777 /dev/shm");
    else if (is_known && status.f_type != TMPFS_MAGIC)
        trouble(findings, WHERRY_INSPECT_WARNING, "no tmpfs", "they lie on a disk, slow, and outlive the host's start",
                mount);
    else if (is_known)
        look_at_room(findings, &status);
    if (fd >= 0)
        wherry__sys.close(fd);
    return is_known ? (uint64_t)status.f_blocks * (uint64_t)status.f_bsize : 0;
}

void wherry__doctor_memory(struct wherry_inspect_findings *findings)
{
    uint64_t size = look_at_shm(findings), now = 0;
    uint64_t most = wherry__doctor_group_limit("memory", "memory.max", "memory.limit_in_bytes", NULL, &now);
    if (most >= UINT64_C(1) << 60)
        return; /* version 1 has no word for "no limit" */
    struct finding *finding =
        wherry__doctor_add(findings, "memory.max", most < size ? WHERRY_INSPECT_NOTE : WHERRY_INSPECT_FINE);
    in_mib(most, finding->value);
    snprintf(
        finding->effect, sizeof finding->effect,
        "memory of this control group; what it writes to /dev/shm counts%s, and at the limit it is killed (SIGKILL)",
        most < size ? ", which has room for more" : "");
    snprintf(finding->remedy, sizeof finding->remedy,
             "systemctl set-property UNIT MemoryMax=, or the container's --memory");
}
