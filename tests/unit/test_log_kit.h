/* tests/unit/test_log_kit.h - what the tests of logs share: the file, endpoints of file: on it, messages with numbers.
 *
 * SPDX-License-Identifier: MIT */
#ifndef WHERRY_TESTS_LOG_KIT_H
#define WHERRY_TESTS_LOG_KIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wherry/wherry.h>

#include "base/sys.h"
#include "harness.h"
#include "storage/log_layout.h"

static char path[256];

static inline struct wherry_channel *open_end(const char *query, enum wherry_role role)
{
    char url[700];
    struct wherry_channel *channel = NULL;
    test_path(path, "log");
    snprintf(url, sizeof url, "file://%s%s", path, query);
    test_is(wherry_channel_open(url, role, NULL, test_deadline(), &channel), 0);
    return channel;
}

/* In the place of read(2): the machine has been started anew since the log was written. */
static inline ssize_t read_of_another_boot(int fd, void *data, size_t size)
{
    ssize_t got = read(fd, data, size);
    char *text = data;
    if (got == 37 && text[8] == '-') /* a boot's id */
        text[0] = text[0] == '0' ? '1' : '0';
    return got;
}

static inline void shut(struct wherry_channel *channel)
{
    wherry_channel_close(channel, WHERRY_NOW);
}

static inline int send_number(struct wherry_channel *channel, unsigned n)
{
    char text[32];
    snprintf(text, sizeof text, "message %u", n);
    return wherry_channel_send(channel, text, strlen(text), test_deadline());
}

static inline void send_numbers(struct wherry_channel *channel, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++)
        test_is(send_number(channel, n), 0);
}

static inline void expect_number(struct wherry_channel *channel, unsigned n)
{
    char text[32], got[64] = "";
    size_t size;
    snprintf(text, sizeof text, "message %u", n);
    test_is(wherry_channel_receive(channel, got, sizeof got - 1, &size, test_deadline()), 1);
    got[size] = '\0';
    ck_assert_str_eq(got, text);
}

static inline void expect_nothing(struct wherry_channel *channel)
{
    char got[64];
    test_is(wherry_channel_receive(channel, got, sizeof got, NULL, WHERRY_NOW), -EAGAIN);
}

static inline void why_says(const char *words)
{
    ck_assert_msg(strstr(wherry_why(), words), "\"%s\" does not say \"%s\"", wherry_why(), words);
}

static inline size_t file_size(void)
{
    struct stat status;
    ck_assert(stat(path, &status) == 0);
    return (size_t)status.st_size;
}

static inline void poke(off_t at, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert(fd >= 0 && pwrite(fd, data, size, at) == (ssize_t)size);
    close(fd);
}

#endif
