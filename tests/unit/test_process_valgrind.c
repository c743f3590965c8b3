/* tests/unit/test_process_valgrind.c - owns the proof that a program which starts children works under valgrind(1).
 *
 * SPDX-License-Identifier: MIT
 *
 * There a vfork(2) is a fork(2), unknown calls are ENOSYS, and every byte is watched. */
#include "process_kit.h"

TEST_WITH(a_program_with_children_and_pipelines_works_under_valgrind, .seconds = 120)
{
    char path[300], log[400], text[8000];
    struct wherry_process *process = NULL;
    if (TEST_SANITIZED)
        test_skip("valgrind does not run what a sanitizer watches already");
    test_path(path, "log");
    snprintf(log, sizeof log, "--log-file=%s", path);
    const char *const arguments[] = {"valgrind",
                                     "-q",
                                     "--error-exitcode=99",
                                     "--leak-check=full",
                                     "--track-fds=no",
                                     "--child-silent-after-fork=yes",
                                     log,
                                     test_program("process_user"),
                                     NULL};
    int result = wherry_process_spawn("valgrind", arguments, NULL, &process);
    if (result == -ENOENT)
        test_skip("valgrind is not installed: scripts/install-deps installs it");
    test_ok(result);
    struct wherry_exit exit = kit_end(process);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    kit_read(fd, text, sizeof text);
    close(fd);
    unlink(path);
    ck_assert_msg(wherry_exit_status(&exit) == 0, "%s, and said: %s", wherry_exit_text(&exit, log, sizeof log), text);
    ck_assert_msg(!strstr(text, "definitely lost") && !strstr(text, "Invalid") && !strstr(text, "uninitialised"), "%s",
                  text);
}

/* The same without, so that what it expects is known to be right. */
TEST(the_same_program_works_without_valgrind)
{
    struct wherry_process *process = NULL;
    test_ok(wherry_process_spawn(test_program("process_user"), NULL, NULL, &process));
    kit_exited(process, 0);
}
