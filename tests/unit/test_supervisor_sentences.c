/* unit/test_supervisor_sentences.c - what a person reads who asked a supervisor for what there is not, or cannot be.
 *
 * SPDX-License-Identifier: MIT */
#include "harness.h"
#include "unit/supervisor_kit.h"

static void why_is(const char *expected)
{
    ck_assert_msg(strstr(wherry_why(), expected) != NULL, "\"%s\" has no \"%s\"", wherry_why(), expected);
}

TEST(a_unit_that_there_is_not_is_answered_with_those_there_are)
{
    struct wherry_supervisor *supervisor = open_quietly();
    test_is(wherry_supervisor_stop(supervisor, "wbe"), -ENOENT);
    why_is("there is no unit wbe, and no other");
    add_shell(supervisor, "db", "exit 0", NULL);
    add_shell(supervisor, "web", "exit 0", NULL);
    why_is("there is no unit wbe, and no other"); /* what succeeds leaves the sentence as it was */
    test_is(wherry_supervisor_start(supervisor, "wbe"), -ENOENT);
    ck_assert_str_eq(wherry_why(), "there is no unit wbe; the units are db, web");
    test_is(wherry_supervisor_signal(supervisor, "wbe", SIGTERM), -ENOENT);
    why_is("the units are db, web");
    ck_assert_ptr_null(wherry_supervisor_channel(supervisor, "wbe"));
    why_is("the units are db, web");
    wherry_supervisor_close(supervisor);
}

/* Each name that is there is whole; what there is no room for is "...". */
TEST(of_many_units_some_are_named)
{
    struct wherry_supervisor *supervisor = open_quietly();
    char name[64];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%02d-%060d", i, 0);
        add_shell(supervisor, name, "exit 0", NULL);
    }
    test_is(wherry_supervisor_stop(supervisor, "x"), -ENOENT);
    snprintf(name, sizeof name, "02-%060d", 0);
    why_is(name);
    ck_assert_str_eq(wherry_why() + strlen(wherry_why()) - strlen("000, ..."), "000, ...");
    wherry_supervisor_close(supervisor);
}

TEST(a_signal_that_nobody_handles_is_no_reload_signal)
{
    struct wherry_supervisor *supervisor = open_quietly();
    struct wherry_unit_options options = WHERRY_UNIT_OPTIONS;
    options.arguments = (const char *const[]){"true", NULL};
    options.reload_signal = SIGKILL;
    test_is(wherry_supervisor_add(supervisor, "a", &options), -EINVAL);
    why_is("unit a: reload_signal is SIGKILL, which no program can handle; take SIGHUP");
    options.reload_signal = SIGSTOP;
    test_is(wherry_supervisor_add(supervisor, "a", &options), -EINVAL);
    why_is("reload_signal is SIGSTOP");
    options.reload_signal = SIGUSR1;
    options.stop_signal = SIGKILL; /* at once, and why not */
    test_ok(wherry_supervisor_add(supervisor, "a", &options));
    wherry_supervisor_close(supervisor);
}
