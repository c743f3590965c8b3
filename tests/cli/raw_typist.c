/* tests/cli/raw_typist.c SOCKET COUNT - types COUNT lines at a Unix stream socket, each after the answer to the one
 * before; an answer must be the line that was typed.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "raw.h"

/* Read as many bytes as were typed; they may come in pieces. */
static int answer_is(int fd, const char *line, size_t size)
{
    char answer[64];
    size_t got = 0;
    while (got < size) {
        ssize_t more = read(fd, answer + got, size - got);
        if (more <= 0)
            return 0;
        got += (size_t)more;
    }
    return memcmp(answer, line, size) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct sockaddr_un address = unix_address(argv[1]);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return fail(argv[1]);
    long count = strtol(argv[2], NULL, 10);
    char line[] = "the quick brown fox 000000\n";
    const size_t size = sizeof line - 1;
    for (long i = 0; i < count; i++) {
        long number = i;
        for (size_t digit = size - 2; number > 0 || digit > size - 8; digit--, number /= 10)
            line[digit] = (char)('0' + number % 10);
        if (write_whole(fd, line, size) < 0)
            return fail("write");
        if (!answer_is(fd, line, size)) {
            errno = EPROTO;
            return fail("the answer");
        }
    }
    return close(fd) == 0 ? 0 : fail("close");
}
