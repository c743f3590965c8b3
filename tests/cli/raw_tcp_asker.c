/* tests/cli/raw_tcp_asker.c 4|6 PORT TEXT... - connects to a port of loopback, and sends each TEXT when the one before
 * has come back.
 *
 * SPDX-License-Identifier: MIT */
#include "raw_tcp.h"

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    struct raw_address address = tcp_address(argv[1], argv[2]);
    int fd = socket(address.u.any.sa_family, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, &address.u.any, address.size) < 0)
        return fail(argv[2]);
    for (int i = 3; i < argc; i++) {
        char answer[200];
        size_t size = strlen(argv[i]), got = 0;
        if (size > sizeof answer || write_whole(fd, argv[i], size) < 0)
            return fail("write");
        while (got < size) {
            ssize_t more = read(fd, answer + got, size - got);
            if (more <= 0)
                return fail("read");
            got += (size_t)more;
        }
        if (memcmp(answer, argv[i], size) != 0) {
            errno = EPROTO;
            return fail("the answer");
        }
    }
    return close(fd) == 0 ? 0 : fail("close");
}
