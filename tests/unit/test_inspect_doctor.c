/* tests/unit/test_inspect_doctor.c - limits and settings that bite: each is provoked in a file system of its own.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/sys.h"
#include "doctor_cases.h"
#include "harness.h"
#include "inspect/doctor.h"

/* ---- a file system to look at ---- */

static char root[PATH_MAX];

static void begin(void)
{
    test_path(root, "root");
    ck_assert_int_eq(mkdir(root, 0755), 0);
    wherry__doctor_root = root;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void finish(void)
{
    wherry__doctor_root = "";
    ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* The path below the root, with its directories made. */
static const char *place(const char *path)
{
    static char full[PATH_MAX];
    ck_assert_int_lt(snprintf(full, sizeof full, "%s%s", root, path), (int)sizeof full);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        ck_assert(mkdir(full, 0755) == 0 || errno == EEXIST);
    }
    return full;
}

/* A text; "LINK:target" is a link, "DIR:" a directory, "ROWS:n:line" a first line and then n of these. */
static void put(const char *path, const char *text)
{
    const char *full = place(path);
    if (strncmp(text, "LINK:", 5) == 0) {
        ck_assert_int_eq(symlink(text + 5, full), 0);
        return;
    }
    if (strcmp(text, "DIR:") == 0) {
        ck_assert(mkdir(full, 0755) == 0 || errno == EEXIST);
        return;
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    int rows, at = 0;
    if (sscanf(text, "ROWS:%d:%n", &rows, &at) == 1 && at) {
        fputs("       key      semid perms      nsems                  size\n", file);
        for (int i = 0; i < rows; i++)
            fprintf(file, "%s\n", text + at);
    } else {
        fputs(text, file);
    }
    ck_assert_int_eq(fclose(file), 0);
}

static const struct wherry_inspect_finding *find(const struct wherry_inspect_findings *findings, const char *name)
{
    /* the gravest of that name */
    const struct wherry_inspect_finding *finding, *worst = NULL;
    for (size_t i = 0; (finding = wherry_inspect_finding(findings, i)); i++)
        if (strcmp(finding->name, name) == 0 && (!worst || finding->level > worst->level))
            worst = finding;
    return worst;
}

static void expect(const char *name, enum wherry_inspect_level level, const char *value)
{
    struct wherry_inspect_findings *findings;
    test_ok(wherry_inspect_check(&findings));
    const struct wherry_inspect_finding *finding = find(findings, name);
    if (level == NOWHERE) {
        ck_assert_ptr_null(finding);
    } else {
        ck_assert_ptr_nonnull(finding);
        ck_assert_msg(finding->level == level, "%s: level %d, expected %d", name, (int)finding->level, (int)level);
        ck_assert_str_eq(finding->value, value);
        ck_assert_str_ne(finding->effect, "");
        ck_assert(level == FINE || finding->remedy[0]);
    }
    wherry_inspect_findings_free(findings);
}

/* ---- what files say: doctor_cases.h ---- */

TEST_TABLE(what_files_say, settings)
{
    begin();
    for (size_t i = 0; i < 5 && settings[index].files[i].path; i++)
        put(settings[index].files[i].path, settings[index].files[i].text);
    enum wherry_inspect_level level = settings[index].level;
    if (level == NOTE && strcmp(settings[index].finding, "RemoveIPC") == 0 && geteuid() >= 1000 && geteuid() != 65534)
        level = WARNING; /* it is this user's own that go */
    expect(settings[index].finding, level, settings[index].value);
    finish();
}

/* What is found of this host has a case above, or a test below. */
TEST(each_finding_has_its_case)
{
    static const char *const below[] = {"/dev/shm", "sock_diag", "unix_diag", "tcp_diag", "udp_diag"};
    const struct wherry_inspect_finding *finding;
    struct wherry_inspect_findings *findings;
    test_ok(wherry_inspect_check(&findings));
    size_t i = 0;
    for (; (finding = wherry_inspect_finding(findings, i)); i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++)
            known |= strcmp(settings[k].finding, finding->name) == 0;
        for (size_t k = 0; k < sizeof below / sizeof *below; k++)
            known |= strcmp(below[k], finding->name) == 0;
        ck_assert_msg(known, "%s has no case", finding->name);
    }
    ck_assert_uint_gt(i, 20);
    ck_assert_uint_lt(i, DOCTOR_MOST - 1);
    wherry_inspect_findings_free(findings);
}

/* With nothing to read, nothing is invented: what remains is what the kernel itself says, and what is not there. */
TEST(an_empty_host)
{
    begin();
    struct wherry_inspect_findings *findings;
    test_ok(wherry_inspect_check(&findings));
    ck_assert_ptr_nonnull(find(findings, "/dev/shm"));
    ck_assert_ptr_null(find(findings, "RLIMIT_NOFILE"));
    ck_assert_ptr_null(find(findings, "memory.max"));
    wherry_inspect_findings_free(findings);
    wherry_inspect_findings_free(NULL);
    finish();
}

/* ---- /dev/shm ---- */

static struct statfs given;

static int give_statfs(int fd, struct statfs *status)
{
    (void)fd;
    *status = given;
    return 0;
}

#define TMPFS(blocks_, free_)                                                                                          \
    {                                                                                                                  \
        .f_type = TMPFS_MAGIC, .f_bsize = 1 << 20, .f_blocks = (blocks_), .f_bavail = (free_)                          \
    }

static const struct shm {
    const char *name;
    enum wherry_inspect_level level;
    const char *value;
    struct statfs status;
} shms[] = {
    {"roomy", FINE, "2000 MiB free of 4096 MiB", TMPFS(4096, 2000)},
    {"of a container", NOTE, "64 MiB free of 64 MiB", TMPFS(64, 64)},
    {"filling", NOTE, "300 MiB free of 4096 MiB", TMPFS(4096, 300)},
    {"full", WARNING, "10 MiB free of 4096 MiB", TMPFS(4096, 10)},
    {"without a limit", FINE, "without a limit", TMPFS(0, 0)},
    {"without inodes",
     WARNING,
     "nearly no inodes free",
     {.f_type = TMPFS_MAGIC, .f_bsize = 1 << 20, .f_blocks = 4096, .f_bavail = 4096, .f_files = 1000, .f_ffree = 10}},
    {"read-only", WARNING, "read-only", {.f_type = TMPFS_MAGIC, .f_bsize = 4096, .f_blocks = 1, .f_flags = ST_RDONLY}},
    {"on a disk",
     WARNING,
     "no tmpfs",
     {.f_type = EXT4_SUPER_MAGIC, .f_bsize = 1 << 20, .f_blocks = 99, .f_bavail = 99}},
};

TEST_TABLE(dev_shm, shms)
{
    begin();
    put("/dev/shm", "DIR:");
    given = shms[index].status;
    wherry__sys.fstatfs = give_statfs;
    expect("/dev/shm", shms[index].level, shms[index].value);
    finish();
}

TEST(no_dev_shm)
{
    begin();
    expect("/dev/shm", WARNING, "No such file or directory");
    finish();
}

static void look_as_nobody(void *unused)
{
    (void)unused;
    ck_assert(test_become_nobody());
    given = (struct statfs)TMPFS(4096, 2000);
    wherry__sys.fstatfs = give_statfs;
    expect("/dev/shm", WARNING, "not writable for this user");
}

TEST(dev_shm_of_another)
{
    if (!test_is_root())
        test_skip("needs root, to be another user");
    begin();
    put("/dev/shm", "DIR:"); /* 0755 */
    ck_assert_int_eq(chmod(test_dir(), 0755), 0);
    test_join(test_fork(look_as_nobody, NULL));
    finish();
}

TEST(a_group_with_less_memory_than_dev_shm)
{
    begin();
    put("/dev/shm", "DIR:");
    put("/proc/self/cgroup", "0::/x\n");
    put("/sys/fs/cgroup/x/memory.max", "1073741824\n");
    given = (struct statfs)TMPFS(4096, 2000);
    wherry__sys.fstatfs = give_statfs;
    expect("memory.max", NOTE, "1024 MiB");
    finish();
}

/* ---- sock_diag ---- */

static int refuse_socket(int domain, int type, int protocol)
{
    (void)domain;
    (void)type;
    (void)protocol;
    errno = EPROTONOSUPPORT;
    return -1;
}

static int answer_with; /* the error of the kernel's answer */

static ssize_t give_answer(int fd, void *data, size_t size, int flags)
{
    struct {
        struct nlmsghdr header;
        int error;
    } answer = {{.nlmsg_len = sizeof answer, .nlmsg_type = NLMSG_ERROR}, -answer_with};
    (void)fd;
    ck_assert_uint_ge(size, sizeof answer);
    ck_assert(flags & MSG_DONTWAIT);
    memcpy(data, &answer, sizeof answer);
    return sizeof answer;
}

TEST(no_sock_diag)
{
    wherry__sys.socket = refuse_socket;
    expect("sock_diag", WARNING, "missing");
    expect("unix_diag", NOWHERE, "");
}

TEST(no_diag_modules)
{
    test_needs(TEST_SOCKET_LISTS);
    static const char *const names[] = {"unix_diag", "tcp_diag", "udp_diag"};
    for (size_t i = 0; i < 3; i++) {
        answer_with = ENOENT;
        wherry__sys.recv = give_answer;
        expect(names[i], WARNING, "missing");
        answer_with = i == 0 ? EINVAL : 0;
        expect(names[i], FINE, "there");
    }
}

/* ---- no harm ---- */

static struct wherry__sys real;
static unsigned opened;

static int watch_open(const char *path, int flags, mode_t mode)
{
    ck_assert_msg((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)) && flags & O_CLOEXEC, "%s: %#x",
                  path, (unsigned)flags);
    opened++;
    return real.open(path, flags, mode);
}

static int watch_openat(int directory, const char *path, int flags, mode_t mode)
{
    ck_assert_msg((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)) && flags & O_CLOEXEC, "%s: %#x",
                  path, (unsigned)flags);
    opened++;
    return real.openat(directory, path, flags, mode);
}

TEST(nothing_is_opened_for_writing)
{
    real = wherry__sys;
    wherry__sys.open = watch_open;
    wherry__sys.openat = watch_openat;
    struct wherry_inspect_findings *findings;
    test_ok(wherry_inspect_check(&findings));
    ck_assert_uint_gt(opened, 20);
    wherry_inspect_findings_free(findings);
}
