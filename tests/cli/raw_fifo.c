/* tests/cli/raw_fifo.c read|write FIFO - copies a FIFO to standard output, or standard input to a FIFO.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>

#include "raw.h"

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int reads = strcmp(argv[1], "read") == 0;
    int fd = open(argv[2], reads ? O_RDONLY : O_WRONLY);
    if (fd < 0)
        return fail(argv[2]);
    return copy(reads ? fd : 0, reads ? 1 : fd) == 0 ? 0 : fail("copy");
}
