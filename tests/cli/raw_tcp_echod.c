/* tests/cli/raw_tcp_echod.c 4|6 CONNECTIONS - an echo server as textbooks have it, at a port of loopback that it
 * prints: one connection after the other, as many as said; of each read the whole buffer goes back.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "raw_tcp.h"

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct raw_address address = tcp_address(argv[1], "0");
    int listener = socket(address.u.any.sa_family, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, &address.u.any, address.size) < 0 || listen(listener, 8) < 0 ||
        getsockname(listener, &address.u.any, &address.size) < 0)
        return fail("listen");
    char line[16];
    int length =
        snprintf(line, sizeof line, "%d\n", ntohs(*argv[1] == '6' ? address.u.six.sin6_port : address.u.four.sin_port));
    if (write_whole(1, line, (size_t)length) < 0)
        return fail("write");
    for (long left = strtol(argv[2], NULL, 10); left > 0; left--) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return fail("accept");
        if (copy(fd, fd) < 0 && errno != ECONNRESET && errno != EPIPE)
            return fail("echo");
        close(fd);
    }
    return 0;
}
