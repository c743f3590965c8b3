/* tests/cli/raw_records.c FIFO COUNT - writes COUNT records of 4 bytes, 0, 1, 2, ... in the machine's order, into a
 * FIFO.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>

#include "raw.h"

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int fd = open(argv[1], O_WRONLY);
    if (fd < 0)
        return fail(argv[1]);
    uint32_t count = (uint32_t)strtoul(argv[2], NULL, 10);
    for (uint32_t i = 0; i < count; i++)
        if (write(fd, &i, sizeof i) != sizeof i)
            return fail("write");
    return close(fd) == 0 ? 0 : fail("close");
}
