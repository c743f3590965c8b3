/* tests/cli/raw_sender.c SOCKET stream|seqpacket|dgram TEXT... - connects and writes each TEXT in one write.
 *
 * SPDX-License-Identifier: MIT */
#include "raw.h"

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    struct sockaddr_un address = unix_address(argv[1]);
    int type = strcmp(argv[2], "stream") == 0  ? SOCK_STREAM
               : strcmp(argv[2], "dgram") == 0 ? SOCK_DGRAM
                                               : SOCK_SEQPACKET;
    int fd = socket(AF_UNIX, type, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return fail(argv[1]);
    for (int i = 3; i < argc; i++)
        if (write_whole(fd, argv[i], strlen(argv[i])) < 0)
            return fail("write");
    return close(fd) == 0 ? 0 : fail("close");
}
