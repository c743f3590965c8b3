/* tests/unit/test_queue.c - owns the tests of <wherry/queue.h>, both kinds: names, opening, permissions; forks and
 * threads.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "unit/test_queue_kit.h"

/* ---- names and opening ---- */

static const struct {
    const char *name, *text;
    int result;
} bad_names[] = {
    {"no_scheme", "jobs", -EINVAL},
    {"segment", "posix-shm:/jobs", -EINVAL},
    {"no_name", "posix-mq:", -EINVAL},
    {"slash_alone", "posix-mq:/", -EINVAL},
    {"slash_inside", "posix-mq:/a/b", -EINVAL},
    {"dots", "posix-mq:/..", -EINVAL},
    {"no_key", "sysv-msg:", -EINVAL},
    {"key_0", "sysv-msg:0x0", -EINVAL},
    {"key_too_long", "sysv-msg:0x123456789", -EINVAL},
    {"no_number", "sysv-msg:#x", -EINVAL},
    {"path_without_id", "sysv-msg:/etc/passwd", -EINVAL},
    {"missing_file", "sysv-msg:/no/such/file?id=x", -ENOENT},
};

TEST_TABLE(h10_a_bad_name_is_refused_alike_everywhere, bad_names)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    options.create = true;
    test_is(wherry_queue_open(bad_names[index].text, &options, WHERRY_NOW, &queue), bad_names[index].result);
    why_names(bad_names[index].text);
    test_is(wherry_queue_remove(bad_names[index].text), bad_names[index].result);
    why_names(bad_names[index].text);
    ck_assert_ptr_null(queue);
}

TEST(h10_a_posix_name_may_leave_its_slash_out)
{
    struct place place = place_of(&kinds[0], 0);
    char bare[160], longest[300] = "posix-mq:/";
    struct wherry_queue *queue = make(&place), *same = NULL;
    snprintf(bare, sizeof bare, "posix-mq:%s", place.mq + 1);
    test_ok(wherry_queue_open(bare, NULL, WHERRY_NOW, &same));
    test_ok(send_text(queue, 0, "hello"));
    expect(same, WHERRY_QUEUE_ANY, 0, "hello", 0);
    wherry_queue_close(same);
    drop(queue, &place);
    memset(longest + 10, 'x', NAME_MAX + 1);
    test_is(wherry_queue_open(longest, NULL, WHERRY_NOW, &queue), -ENAMETOOLONG);
}

TEST_TABLE(what_is_not_there_is_made_or_waited_for, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL, *again = NULL;
    test_is(wherry_queue_open(place.name, NULL, WHERRY_NOW, &queue), -ENOENT);
    wherry_time deadline = wherry_after(30 * WHERRY_MILLISECOND);
    test_is(wherry_queue_open(place.name, NULL, deadline, &queue), -ETIMEDOUT);
    ck_assert_int_ge(wherry_now(), deadline);
    test_is(wherry_queue_remove(place.name), -ENOENT);
    why_names(place.name);
    options.exclusive = true;
    test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue), -EINVAL);
    options.create = true;
    test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue), 0);
    test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &again), -EEXIST);
    options.exclusive = false;
    test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &again), 0);
    test_ok(send_text(queue, 0, "one"));
    expect(again, WHERRY_QUEUE_ANY, 0, "one", place.posix ? 0 : 1);
    wherry_queue_close(again);
    drop(queue, &place);
    wherry_queue_close(NULL);
}

static void open_and_tell(void *argument)
{
    struct wherry_queue *queue = NULL;
    test_is(wherry_queue_open(argument, NULL, test_deadline(), &queue), 0);
    test_ok(send_text(queue, 0, "I waited"));
    wherry_queue_close(queue);
}

TEST_TABLE(who_waits_for_a_queue_gets_it, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    pid_t child = test_fork(open_and_tell, place.name);
    test_until_asleep(child);
    struct wherry_queue *queue = make(&place);
    expect(queue, WHERRY_QUEUE_ANY, 0, "I waited", place.posix ? 0 : 1);
    test_join(child);
    drop(queue, &place);
}

TEST_TABLE(h11_the_mode_is_exact_whatever_the_umask, kinds)
{
    static const mode_t masks[] = {0, 0077, 0277};
    struct place place = place_of(&kinds[index], 0);
    for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
        struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
        struct wherry_queue *queue = NULL;
        struct wherry_queue_stat stat;
        options.create = true;
        options.mode = i == 0 ? 0 : 0664;
        mode_t before = umask(masks[i]);
        test_ok(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue));
        umask(before);
        test_ok(wherry_queue_stat(queue, &stat, sizeof stat));
        ck_assert_uint_eq(stat.mode, i == 0 ? 0600 : 0664);
        ck_assert_uint_eq(stat.uid, geteuid());
        drop(queue, &place);
    }
}

static void plant(void *argument)
{
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    ck_assert(test_become_nobody());
    options.create = true;
    options.mode = 0666;
    test_ok(wherry_queue_open(argument, &options, WHERRY_NOW, &queue));
    test_ok(send_text(queue, 0, "planted"));
    wherry_queue_close(queue);
}

TEST_TABLE(h11_a_strangers_queue_is_refused_unless_named, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    if (!test_is_root())
        test_skip("only root can become another user");
    test_join(test_fork(plant, place.name));
    options.create = true;
    test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue), -EPERM);
    why_names("uid 65534's");
    options.uid = "65533,65534";
    test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue), 0);
    expect(queue, WHERRY_QUEUE_ANY, 0, "planted", place.posix ? 0 : 1);
    drop(queue, &place);
}

static void come_uninvited(void *argument)
{
    struct wherry_queue *queue = NULL;
    ck_assert(test_become_nobody());
    test_is(wherry_queue_open(argument, NULL, WHERRY_NOW, &queue), -EACCES);
    why_names(argument);
    int result = wherry_queue_remove(argument);
    ck_assert_msg(result == -EPERM || result == -EACCES, "%d: %s", result, wherry_why());
    why_names("owner");
}

TEST_TABLE(by_default_it_is_its_owners_alone, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    if (!test_is_root())
        test_skip("only root can become another user");
    struct wherry_queue *queue = make(&place);
    test_join(test_fork(come_uninvited, place.name));
    drop(queue, &place);
}

static void send_only_as_nobody(void *argument)
{
    const struct place *place = argument;
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    ck_assert(test_become_nobody());
    options.uid = "any";
    options.send_only = place->posix;
    test_is(wherry_queue_open(place->name, &options, WHERRY_NOW, &queue), 0);
    test_ok(send_text(queue, 0, "from nobody"));
    test_is(receive_now(queue), place->posix ? -EOPNOTSUPP : -EACCES);
    wherry_queue_close(queue);
}

TEST_TABLE(permission_to_send_alone_is_enough_to_send, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = NULL;
    if (!test_is_root())
        test_skip("only root can become another user");
    options.create = true;
    options.mode = 0622;
    test_ok(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue));
    test_join(test_fork(send_only_as_nobody, &place));
    expect(queue, WHERRY_QUEUE_ANY, 0, "from nobody", place.posix ? 0 : 1);
    drop(queue, &place);
}

TEST_TABLE(options_without_a_use_or_a_meaning_are_refused, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue_options good = WHERRY_QUEUE_OPTIONS, options;
    struct wherry_queue *queue = NULL;
    good.create = true;
#define REFUSED(code_, ...)                                                                                            \
    do {                                                                                                               \
        options = good;                                                                                                \
        __VA_ARGS__;                                                                                                   \
        test_is(wherry_queue_open(place.name, &options, WHERRY_NOW, &queue), code_);                                   \
        why_names(place.name);                                                                                         \
    } while (0)
    REFUSED(-EINVAL, options.size = 0);
    REFUSED(-EINVAL, options.size = 4);
    REFUSED(-EINVAL, options.mode = 01777);
    REFUSED(-EINVAL, options.uid = "root");
    REFUSED(-EINVAL, options.send_only = options.receive_only = true);
    if (place.posix) {
        REFUSED(-EINVAL, options.bytes = 4096);
        REFUSED(-EINVAL, options.block = true);
        REFUSED(-ENOBUFS, options.messages = UINT64_MAX);
    } else {
        REFUSED(-EINVAL, options.messages = 4);
        REFUSED(-EINVAL, options.message_size = 4);
        REFUSED(-EINVAL, options.send_only = true);
    }
#undef REFUSED
    struct {
        struct wherry_queue_options options;
        char tail[16];
    } newer = {.options = good};
    newer.options.size = sizeof newer;
    test_is(wherry_queue_open(place.name, &newer.options, WHERRY_NOW, &queue), 0);
    drop(queue, &place);
    newer.tail[15] = 1;
    test_is(wherry_queue_open(place.name, &newer.options, WHERRY_NOW, &queue), -E2BIG);
}

TEST(a_sysv_queue_has_a_number_a_key_and_a_file)
{
    char path[256], name[300];
    struct wherry_queue *by_file = NULL, *by_number = NULL;
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue_stat stat;
    test_path(path, "key");
    close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    options.create = true;
    snprintf(name, sizeof name, "sysv-msg:%s?id=w", path);
    test_ok(wherry_queue_open(name, &options, WHERRY_NOW, &by_file));
    int id = msgget(ftok(path, 'w'), 0);
    test_ok(wherry_queue_stat(by_file, &stat, sizeof stat));
    ck_assert_int_eq(stat.id, id);
    char numbered[64];
    snprintf(numbered, sizeof numbered, "sysv-msg:#%d", id);
    test_is(wherry_queue_open(numbered, &options, WHERRY_NOW, &by_number), -EINVAL); /* it cannot be made */
    test_ok(wherry_queue_open(numbered, NULL, WHERRY_NOW, &by_number));
    test_ok(send_text(by_number, 5, "by number"));
    expect(by_file, WHERRY_QUEUE_ANY, 0, "by number", 5);
    wherry_queue_close(by_file);
    wherry_queue_close(by_number);
    test_is(wherry_queue_remove(numbered), 0);
    test_is(wherry_queue_remove(numbered), -ENOENT);
    test_is(wherry_queue_open(numbered, NULL, WHERRY_NOW, &by_number), -ENOENT);
    unlink(path);
}

/* ---- forks and threads ---- */

static void use_in_child(void *argument)
{
    struct wherry_queue *queue = argument;
    struct wherry_queue_stat stat;
    test_is(send_text(queue, 0, "x"), -ECHILD);
    why_names("inheritable");
    test_is(receive_now(queue), -ECHILD);
    test_is(wherry_queue_copy(queue, 0, room, 9, NULL), -ECHILD);
    test_is(wherry_queue_fd(queue), -ECHILD);
    test_is(wherry_queue_stat(queue, &stat, sizeof stat), -ECHILD);
    test_is(wherry_queue_set_limit(queue, 9), -ECHILD);
    wherry_queue_close(queue);
}

static void send_in_child(void *argument)
{
    test_ok(send_text(argument, 0, "from the child"));
    wherry_queue_close(argument);
}

TEST_TABLE(a_forked_child_is_refused_unless_it_inherits, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue = make(&place), *inherited = NULL;
    options.inheritable = true;
    test_ok(wherry_queue_open(place.name, &options, WHERRY_NOW, &inherited));
    test_join(test_fork(use_in_child, queue));
    test_join(test_fork(send_in_child, inherited));
    expect(queue, WHERRY_QUEUE_ANY, 0, "from the child", place.posix ? 0 : 1);
    test_ok(send_text(inherited, 0, "after the child closed it"));
    wherry_queue_close(inherited);
    drop(queue, &place);
}

enum { THREADS = 4, EACH = 3000 };
static struct wherry_queue *shared;
static _Atomic unsigned sum;

static void *send_numbers(void *first)
{
    for (unsigned i = 0; i < EACH; i++) {
        unsigned number = *(unsigned *)first + i;
        test_ok(wherry_queue_send(shared, 1 + number % 5, &number, sizeof number, WHERRY_FOREVER));
    }
    return NULL;
}

static void *receive_numbers(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < EACH; i++) {
        unsigned number;
        char data[8192];
        struct wherry_queue_message message;
        test_ok(wherry_queue_receive(shared, WHERRY_QUEUE_ANY, 0, data, sizeof data, &message, WHERRY_FOREVER));
        ck_assert_uint_eq(message.size, sizeof number);
        memcpy(&number, data, sizeof number);
        ck_assert_int_eq(message.type, 1 + number % 5);
        atomic_fetch_add(&sum, number);
    }
    return NULL;
}

TEST_TABLE(threads_may_share_a_queue, kinds)
{
    struct place place = place_of(&kinds[index], 0);
    pthread_t threads[2 * THREADS];
    unsigned firsts[THREADS], wanted = 0;
    shared = make(&place);
    for (unsigned i = 0; i < THREADS; i++) {
        firsts[i] = i * EACH;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, send_numbers, &firsts[i]), 0);
        ck_assert_int_eq(pthread_create(&threads[THREADS + i], NULL, receive_numbers, NULL), 0);
    }
    for (unsigned i = 0; i < THREADS * EACH; i++)
        wanted += i;
    for (unsigned i = 0; i < 2 * THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&sum), wanted);
    drop(shared, &place);
}
