/* tests/cli/raw_echod.c SOCKET stream|seqpacket CONNECTIONS - an echo server as textbooks have it: one connection after
 * the other, as many as said.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "raw.h"

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    struct sockaddr_un address = unix_address(argv[1]);
    int type = strcmp(argv[2], "stream") == 0 ? SOCK_STREAM : SOCK_SEQPACKET;
    int listener = socket(AF_UNIX, type, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 8) < 0)
        return fail(argv[1]);
    for (long left = strtol(argv[3], NULL, 10); left > 0; left--) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            return fail("accept");
        if (copy(fd, fd) < 0 && errno != ECONNRESET && errno != EPIPE)
            return fail("echo");
        close(fd);
    }
    return unlink(argv[1]) == 0 ? 0 : fail("unlink");
}
