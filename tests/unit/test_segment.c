/* tests/unit/test_segment.c - owns the tests of src/storage/segment*.c: what is made, when it is seen, what is left.
 *
 * SPDX-License-Identifier: MIT */
#include <sys/mman.h>

#include "unit/segment_kit.h"

/* ---- life ---- */

struct opener {
    const char *name;
    struct test_gate *gate;
};

static void open_and_check(void *argument)
{
    struct opener *opener = argument;
    struct wherry_segment *segment;
    test_gate_open(opener->gate);
    test_ok(wherry_segment_open(opener->name, NULL, test_deadline(), &segment));
    expect_filled(segment, 'x');
    wherry_segment_close(segment);
}

TEST_TABLE(h13_nobody_sees_it_before_it_is_published, kinds)
{
    const char *name = kinds[index].object();
    struct test_gate gate;
    struct opener opener = {name, &gate};
    test_gate_init(&gate);
    pid_t early = test_fork(open_and_check, &opener);
    test_gate_wait(&gate);
    struct wherry_segment *segment = create(name);
    expect_filled(segment, 0);
    expect_open(name, NULL, -EAGAIN, name);
    fill(segment, 'x');
    test_until_asleep(early);
    expect_open(name, NULL, -EAGAIN, name);
    struct wherry_segment *none = NULL;
    test_is(wherry_segment_open(name, NULL, wherry_after(WHERRY_MILLISECOND), &none), -ETIMEDOUT);
    says(name);
    test_ok(wherry_segment_publish(segment));
    test_join(early);
    test_is(wherry_segment_publish(segment), -EALREADY);
    wherry_segment_close(segment);
    segment = open_for(name, false);
    expect_filled(segment, 'x');
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(name));
    test_is(wherry_segment_remove(name), -ENOENT);
    test_gate_fini(&gate);
}

TEST_TABLE(what_was_not_published_goes_with_close, kinds)
{
    const char *name = kinds[index].object();
    struct wherry_segment_stat stat;
    wherry_segment_close(create(name));
    test_is(wherry_segment_stat(name, &stat, sizeof stat), -ENOENT);
    wherry_segment_close(NULL);
}

TEST_TABLE(h14_the_second_run_finds_nothing_of_the_first, kinds)
{
    const char *name = kinds[index].object();
    for (int run = 0; run < 2; run++) {
        struct wherry_segment *segment = create(name), *other = NULL;
        expect_filled(segment, 0);
        fill(segment, 'a');
        test_ok(wherry_segment_publish(segment));
        test_is(wherry_segment_create(name, LENGTH, NULL, &other), -EEXIST);
        says("of 10000 bytes, of uid");
        wherry_segment_close(segment);
        test_ok(wherry_segment_remove(name));
    }
}

TEST(of_two_makers_one_gets_the_name)
{
    struct wherry_segment *one = create(posix()), *two = create(posix());
    test_ok(wherry_segment_publish(two));
    test_is(wherry_segment_publish(one), -EEXIST);
    test_is(wherry_segment_publish(one), -EEXIST); /* it stays as it was */
    test_ok(wherry_segment_remove(posix()));
    test_ok(wherry_segment_publish(one));
    wherry_segment_close(one);
    wherry_segment_close(two);
    test_ok(wherry_segment_remove(posix()));
}

TEST_TABLE(h17_two_mappings_lie_at_two_addresses, kinds)
{
    const char *name = kinds[index].object();
    struct wherry_segment *one = create(name);
    test_ok(wherry_segment_publish(one));
    struct wherry_segment *two = open_for(name, true);
    ck_assert_ptr_ne(wherry_segment_data(one), wherry_segment_data(two));
    memcpy((char *)wherry_segment_data(two) + 100, "hello", 6);
    ck_assert_str_eq((char *)wherry_segment_data(one) + 100, "hello");
    wherry_segment_close(one);
    wherry_segment_close(two);
    test_ok(wherry_segment_remove(name));
}

TEST_TABLE(h42_removed_while_attached_it_stays_for_who_has_it, kinds)
{
    const char *name = kinds[index].object();
    struct wherry_segment *segment = create(name);
    struct wherry_segment_stat stat;
    test_ok(wherry_segment_publish(segment));
    test_ok(wherry_segment_remove(name));
    fill(segment, 'q');
    expect_filled(segment, 'q');
    test_ok(wherry_segment_stat_open(segment, &stat, sizeof stat));
    ck_assert(stat.removed);
    expect_open(name, NULL, -EAGAIN, "there is none");
    wherry_segment_close(segment);
}

/* ---- stat, read, write, size ---- */

TEST_TABLE(stat_says_what_there_is, kinds)
{
    const char *name = kinds[index].object();
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment;
    struct wherry_segment_stat stat, open;
    options.mode = 0644;
    umask(0777);
    test_ok(wherry_segment_create(name, LENGTH, &options, &segment));
    test_ok(wherry_segment_publish(segment));
    umask(022);
    test_ok(wherry_segment_stat(name, &stat, sizeof stat));
    ck_assert_uint_eq(stat.mode, 0644); /* exactly, whatever the umask */
    ck_assert_uint_eq(stat.length, LENGTH);
    ck_assert_uint_eq(stat.uid, geteuid());
    ck_assert(stat.published && !stat.removed && stat.changed_at > 0);
    if (stat.kind == WHERRY_SEGMENT_SYSV) {
        ck_assert_int_eq(stat.creator, getpid());
        ck_assert_uint_eq(stat.attached, 1);
        ck_assert_int_eq(stat.key, test_key(0));
        ck_assert_int_ge(stat.id, 0);
    } else {
        ck_assert_uint_ge(stat.resident, LENGTH);
        ck_assert_int_eq(stat.id, -1);
    }
    test_ok(wherry_segment_stat_open(segment, &open, sizeof open));
    ck_assert(open.length == stat.length && open.mode == stat.mode && open.id == stat.id);
    memset(&open, 0x55, sizeof open);
    test_ok(wherry_segment_stat(name, &open, offsetof(struct wherry_segment_stat, mode)));
    ck_assert_uint_eq(open.mode, 0x55555555); /* an older program's struct */
    wherry_segment_close(segment);
    test_ok(wherry_segment_remove(name));
}

TEST_TABLE(reading_and_writing_stay_within, kinds)
{
    const char *name = kinds[index].object();
    struct wherry_segment *segment = create(name), *reader;
    char data[16] = "";
    test_ok(wherry_segment_publish(segment));
    reader = open_for(name, false);
    test_ok(wherry_segment_write(segment, LENGTH - 6, "hello", 6));
    test_ok(wherry_segment_read(reader, LENGTH - 6, data, 6));
    ck_assert_str_eq(data, "hello");
    test_ok(wherry_segment_read(reader, LENGTH, data, 0));
    test_is(wherry_segment_read(reader, LENGTH - 5, data, 6), -EINVAL);
    test_is(wherry_segment_read(reader, UINT64_MAX, data, 6), -EINVAL);
    test_is(wherry_segment_write(segment, LENGTH + 1, data, 0), -EINVAL);
    test_is(wherry_segment_write(reader, 0, data, 1), -EACCES);
    wherry_segment_close(segment);
    wherry_segment_close(reader);
    test_ok(wherry_segment_remove(name));
}

TEST(another_size)
{
    struct wherry_segment *segment = create(posix());
    fill(segment, 'a');
    test_ok(wherry_segment_publish(segment));
    struct wherry_segment *other = open_for(posix(), true), *reader = open_for(posix(), false);
    test_ok(wherry_segment_resize(segment, 5000000));
    ck_assert_uint_eq(wherry_segment_size(segment), 5000000);
    const char *data = wherry_segment_data(segment);
    ck_assert(data[LENGTH - 1] == 'a' && data[LENGTH] == 0 && data[4999999] == 0);
    test_ok(wherry_segment_resize(other, 0));
    ck_assert_uint_eq(wherry_segment_size(other), 5000000);
    ((char *)wherry_segment_data(other))[4999999] = 'z';
    ck_assert_int_eq(data[4999999], 'z');
    test_ok(wherry_segment_resize(other, 100));
    ck_assert_uint_eq(wherry_segment_size(other), 100);
    test_ok(wherry_segment_resize(segment, 0));
    expect_filled(segment, 'a');
    test_is(wherry_segment_resize(reader, 200), -EACCES);
    test_is(wherry_segment_resize(other, UINT64_MAX), -EINVAL);
    ck_assert_int_eq(truncate(shm_path(""), 0), 0);
    test_is(wherry_segment_resize(other, 0), -EINVAL);
    wherry_segment_close(segment);
    wherry_segment_close(other);
    wherry_segment_close(reader);
    test_ok(wherry_segment_remove(posix()));
}

/* ---- names and options ---- */

static const struct {
    const char *name;
    int result;
} names[] = {
    {"posix-shm:/a/b", -EINVAL}, {"posix-shm:/", -EINVAL},
    {"posix-sem:/x", -EINVAL},   {"/x", -EINVAL},
    {"sysv-shm:0x0", -EINVAL},   {"sysv-shm:./nothing?id=A", -ENOENT},
};

TEST_TABLE(h10_one_rule_for_names, names)
{
    struct wherry_segment *segment = NULL;
    struct wherry_segment_stat stat;
    const char *name = names[index].name;
    test_is(wherry_segment_create(name, 1, NULL, &segment), names[index].result);
    test_is(wherry_segment_open(name, NULL, WHERRY_NOW, &segment), names[index].result);
    test_is(wherry_segment_stat(name, &stat, sizeof stat), names[index].result);
    test_is(wherry_segment_remove(name), names[index].result);
    ck_assert_ptr_null(segment);
    says(name);
}

TEST(options_that_cannot_be)
{
    struct wherry_segment *segment = NULL;
    struct {
        struct wherry_segment_options known;
        int tail;
    } newer;
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    memset(&newer, 0, sizeof newer); /* what is between the members, too */
    newer.known = options;
    newer.known.size = sizeof newer;
    test_ok(wherry_segment_create(posix(), 1, &newer.known, &segment));
    wherry_segment_close(segment);
    newer.tail = 1;
    test_is(wherry_segment_create(posix(), 1, &newer.known, &segment), -E2BIG);
    options.mode = 0700;
    test_is(wherry_segment_create(posix(), 1, &options, &segment), -EINVAL);
    options.mode = 0;
    options.size = 0;
    test_is(wherry_segment_create(posix(), 1, &options, &segment), -EINVAL);
    test_is(wherry_segment_create(posix(), 0, NULL, &segment), -EINVAL);
    test_is(wherry_segment_create(posix(), UINT64_MAX, NULL, &segment), -EINVAL);
    test_is(wherry_segment_open(NULL, NULL, WHERRY_NOW, &segment), -EINVAL);
}

/* ---- forks, descriptors, other programs ---- */

static void use_in_child(void *argument)
{
    struct wherry_segment *segment = argument;
    char byte;
    ((char *)wherry_segment_data(segment))[0] = 'c';
    test_is(wherry_segment_publish(segment), -ECHILD);
    if (wherry_segment_fd(segment) != -EOPNOTSUPP) {
        test_is(wherry_segment_fd(segment), -ECHILD);
        test_is(wherry_segment_read(segment, 0, &byte, 1), -ECHILD);
        test_is(wherry_segment_resize(segment, 1), -ECHILD);
    }
    wherry_segment_close(segment);
}

TEST_TABLE(a_child_has_the_mapping_and_removes_nothing, kinds)
{
    const char *name = kinds[index].object();
    struct wherry_segment *segment = create(name);
    test_join(test_fork(use_in_child, segment));
    ck_assert_int_eq(((char *)wherry_segment_data(segment))[0], 'c');
    test_ok(wherry_segment_publish(segment));
    wherry_segment_close(segment);
    wherry_segment_close(open_for(name, false));
    test_ok(wherry_segment_remove(name));
}

TEST(h66_its_descriptor_is_closed_on_exec)
{
    struct wherry_segment *named = create(posix()), *nameless = create(NULL);
    ck_assert(fcntl(wherry_segment_fd(named), F_GETFD) & FD_CLOEXEC);
    ck_assert(fcntl(wherry_segment_fd(nameless), F_GETFD) & FD_CLOEXEC);
    wherry_segment_close(named);
    wherry_segment_close(nameless);
}

TEST(h13_another_programs_segment_without_a_size_is_waited_for)
{
    int fd = shm_open(strrchr(posix(), '/'), O_RDWR | O_CREAT, 0600);
    expect_open(posix(), NULL, -EAGAIN, "has no size yet");
    ck_assert_int_eq(ftruncate(fd, LENGTH), 0);
    wherry_segment_close(open_for(posix(), true));
    close(fd);
    test_ok(wherry_segment_remove(posix()));
}

TEST(a_segment_of_textbooks_is_opened_whatever_its_mode)
{
    int id = shmget(test_key(0), LENGTH, IPC_CREAT | 0777); /* with x, which is not the mark of who makes one */
    ck_assert_int_ge(id, 0);
    wherry_segment_close(open_for(sysv(), true));
    test_ok(wherry_segment_remove(sysv()));
}

TEST(huge_pages_or_what_to_set)
{
    const char *objects[] = {NULL, sysv(), posix()};
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    options.huge = true;
    for (size_t i = 0; i < 3; i++) {
        struct wherry_segment *segment = NULL;
        int result = wherry_segment_create(objects[i], LENGTH, &options, &segment);
        if (result == 0) {
            ck_assert_uint_ge(wherry_segment_size(segment), LENGTH);
            fill(segment, 'h');
            test_ok(wherry_segment_write(segment, 5, "x", 1));
            wherry_segment_close(segment);
        } else {
            ck_assert_msg(result == -ENOMEM || result == -EOPNOTSUPP || result == -EPERM, "%d", result);
            ck_assert(strstr(wherry_why(), "sysctl vm.") || strstr(wherry_why(), "/sys/kernel/mm") ||
                      strstr(wherry_why(), "this kernel"));
        }
    }
}
