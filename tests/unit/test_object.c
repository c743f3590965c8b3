/* tests/unit/test_object.c - owns the tests of base/object.c: which names are taken, and what they name.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <unistd.h>
#include <wherry/base.h>

#include "base/object.h"
#include "harness.h"

enum { ALL = 0x3f };

static const struct {
    const char *name; /* the text */
    enum wherry__object_type type;
    const char *posix;
    bool by_id;
    int id;
    key_t key;
} good[] = {
    {"posix-shm:/name", WHERRY__POSIX_SHM, "/name", false, 0, 0},
    {"posix-shm:name", WHERRY__POSIX_SHM, "/name", false, 0, 0},
    {"posix-sem:/a.b c", WHERRY__POSIX_SEM, "/a.b c", false, 0, 0},
    {"posix-mq:/%41", WHERRY__POSIX_MQ, "/%41", false, 0, 0},
    {"sysv-shm:0x1", WHERRY__SYSV_SHM, "", false, 0, 1},
    {"sysv-sem:0xffffffff", WHERRY__SYSV_SEM, "", false, 0, -1},
    {"sysv-msg:#0", WHERRY__SYSV_MSG, "", true, 0, 0},
    {"sysv-msg:#2147483647", WHERRY__SYSV_MSG, "", true, 2147483647, 0},
};

TEST_TABLE(names_that_are_taken, good)
{
    struct wherry__object object;
    test_ok(wherry__object_parse(&object, good[index].name, ALL));
    ck_assert(object.type == good[index].type);
    ck_assert_str_eq(object.name, good[index].posix);
    ck_assert(object.by_id == good[index].by_id && object.id == good[index].id && object.key == good[index].key);
}

static const struct {
    const char *name;
    int result;
    const char *says;
} bad[] = {
    {"", -EINVAL, "begins with one of posix-shm:, posix-sem:"},
    {"posix-shm", -EINVAL, "begins with"},
    {"posix:/x", -EINVAL, "begins with"},
    {"posix-shm:", -EINVAL, "the name is missing"},
    {"posix-shm:/", -EINVAL, "the name is missing"},
    {"posix-shm:/a/b", -EINVAL, "no slash but the first"}, /* H10 */
    {"posix-shm:a/b", -EINVAL, "no slash but the first"},
    {"posix-shm://a", -EINVAL, "no slash but the first"},
    {"posix-sem:/..", -EINVAL, "no name"},
    {"sysv-shm:", -EINVAL, "the path is missing"},
    {"sysv-shm:0x", -EINVAL, "write 0xKEY"},
    {"sysv-shm:0xg", -EINVAL, "write 0xKEY"},
    {"sysv-shm:0x+1", -EINVAL, "write 0xKEY"},
    {"sysv-shm:0x123456789", -EINVAL, "a key has 32 bits"},
    {"sysv-shm:0x11111111111111111", -EINVAL, "a key has 32 bits"},
    {"sysv-shm:0x0", -EINVAL, "the key 0 is nobody's"},
    {"sysv-shm:#", -EINVAL, "write 0xKEY"},
    {"sysv-shm:#-1", -EINVAL, "write 0xKEY"},
    {"sysv-shm:#1x", -EINVAL, "write 0xKEY"},
    {"sysv-shm:#2147483648", -EINVAL, "end at 2147483647"},
    {"sysv-shm:#99999999999999999999", -EINVAL, "end at 2147483647"},
    {"sysv-shm:/etc/passwd", -EINVAL, "write 0xKEY"},
    {"sysv-shm:/etc/passwd?id", -EINVAL, "write 0xKEY"},
    {"sysv-shm:/etc/passwd?id=", -EINVAL, "id is one character"},
    {"sysv-shm:/etc/passwd?id=xy", -EINVAL, "id is one character"},
    {"sysv-shm:/etc/passwd?id=256", -EINVAL, "the low 8 bits"},
    {"sysv-shm:/etc/passwd?key=1", -EINVAL, "write 0xKEY"},
    {"sysv-shm:/no/such/file?id=a", -ENOENT, "/no/such/file"},
};

TEST_TABLE(names_that_are_refused, bad)
{
    struct wherry__object object;
    test_is(wherry__object_parse(&object, bad[index].name, ALL), bad[index].result);
    if (!strstr(wherry_why(), bad[index].says))
        ck_abort_msg("%s: \"%s\" does not say \"%s\"", bad[index].name, wherry_why(), bad[index].says);
}

TEST(other_types_are_refused_where_they_are_not_meant)
{
    struct wherry__object object;
    test_is(wherry__object_parse(&object, "posix-shm:/x", 1u << WHERRY__SYSV_SHM), -EINVAL);
    ck_assert_ptr_nonnull(strstr(wherry_why(), "one of sysv-shm: here"));
    test_is(wherry__object_parse(&object, NULL, ALL), -EINVAL);
}

TEST(h10_a_long_name_is_refused_in_one_way)
{
    struct wherry__object object;
    char text[300];
    snprintf(text, sizeof text, "posix-mq:/%0255d", 1);
    test_ok(wherry__object_parse(&object, text, ALL));
    ck_assert_uint_eq(strlen(object.name), 256);
    snprintf(text, sizeof text, "posix-mq:/%0256d", 1);
    test_is(wherry__object_parse(&object, text, ALL), -ENAMETOOLONG);
}

static const struct {
    const char *name; /* of the id */
    int id;
} ids[] = {{"a", 'a'}, {"1", '1'}, {"10", 10}, {"0x41", 0x41}, {"0x141", 0x141}, {"300", 300}, {"%25", '%'}};

TEST_TABLE(a_file_and_an_id_give_the_key_of_ftok, ids)
{
    struct wherry__object object;
    char path[512], text[600];
    test_path(path, "key");
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert(fd >= 0);
    close(fd);
    snprintf(text, sizeof text, "sysv-msg:%s?id=%s", path, ids[index].name);
    test_ok(wherry__object_parse(&object, text, ALL));
    ck_assert_int_eq(object.key, ftok(path, ids[index].id));
    ck_assert(!object.by_id);
    unlink(path);
}
