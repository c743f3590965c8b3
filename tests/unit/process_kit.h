/* tests/unit/process_kit.h - starting process_child, and reading what it says.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_PROCESS_KIT_H
#define WHERRY_TESTS_PROCESS_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "harness.h"

#define WORDS(...) ((const char *const[]){"process_child", __VA_ARGS__, NULL})

/* ms, for what comes at once where the machine does not stand still. */
#define KIT_PATIENCE (15000 * (int)test_slowness())

/* Start process_child with these words. */
static inline struct wherry_process *kit_start(const char *const *words, const struct wherry_process_options *options)
{
    struct wherry_process *process = NULL;
    test_ok(wherry_process_spawn(test_program("process_child"), words, options, &process));
    return process;
}

static inline struct wherry_exit kit_wait(struct wherry_process *process)
{
    struct wherry_exit exit = {.kind = WHERRY_CONTINUED};
    test_ok(wherry_process_wait(process, test_deadline(), &exit));
    return exit;
}

/* Wait, say how it ended, close. */
static inline struct wherry_exit kit_end(struct wherry_process *process)
{
    struct wherry_exit exit = kit_wait(process);
    wherry_process_close(process);
    return exit;
}

static inline void kit_exited(struct wherry_process *process, int code)
{
    char text[64];
    struct wherry_exit exit = kit_end(process);
    ck_assert_msg(exit.kind == WHERRY_EXITED && exit.code == code, "%s, not with %d",
                  wherry_exit_text(&exit, text, sizeof text), code);
}

static inline void kit_killed(struct wherry_process *process, int signal)
{
    char text[64];
    struct wherry_exit exit = kit_end(process);
    ck_assert_msg(exit.kind == WHERRY_KILLED && exit.code == signal, "%s, not by %d",
                  wherry_exit_text(&exit, text, sizeof text), signal);
}

/* All that comes from a descriptor until its end. */
static inline void kit_read(int fd, char *text, size_t size)
{
    size_t have = 0;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (;;) {
        ck_assert_msg(poll(&wait, 1, KIT_PATIENCE) == 1 || errno == EINTR, "nothing came, and no end");
        ssize_t got = read(fd, text + have, size - 1 - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        have += (size_t)got;
    }
    text[have] = '\0';
}

/* Run it with its standard output into `text`, besides whatever descriptors the options have; it must exit with 0. */
static inline void kit_say_as(const char *const *words, const struct wherry_process_options *given, char *text,
                              size_t size)
{
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    struct wherry_process_fd fds[32] = {{0}};
    int pipe_ends[2];
    if (given)
        options = *given;
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    if (options.fd_count)
        memcpy(fds, options.fds, options.fd_count * sizeof fds[0]);
    fds[options.fd_count] = (struct wherry_process_fd){.child = 1, .own = pipe_ends[1]};
    options.fds = fds;
    options.fd_count++;
    struct wherry_process *process = kit_start(words, &options);
    close(pipe_ends[1]);
    kit_read(pipe_ends[0], text, size);
    close(pipe_ends[0]);
    kit_exited(process, 0);
}

static inline unsigned long long kit_inode(int fd)
{
    struct stat status;
    ck_assert_int_eq(fstat(fd, &status), 0);
    return (unsigned long long)status.st_ino;
}

/* The value after "Name: " of a line that `status` said. */
static inline unsigned long long kit_hex(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    ck_assert_msg(at != NULL, "no %s in %s", name, text);
    return strtoull(at + strlen(name), NULL, 16);
}

static inline bool kit_alive(pid_t pid)
{
    return kill(pid, 0) == 0;
}

/* Wait until a process that is nobody's child here has ended; whose zombie it then is does not matter. */
static inline void kit_await_end(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) {
        ck_assert_int_eq(errno, ESRCH); /* it is reaped already */
        return;
    }
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    int ended = poll(&wait, 1, KIT_PATIENCE);
    close(fd);
    ck_assert_msg(ended == 1, "process %d lives on", (int)pid);
}

#endif
