/* examples/mapped_byte.c FILE OFFSET [CHARACTER] - one byte of a file, as memory: look at it, or change it.
 *
 * SPDX-License-Identifier: MIT
 *
 *     mapped_byte notes.txt 7 W
 *
 * A file that is mapped is an array: no seek, no read, no write, and every process that maps it sees the change at
 * once.  The array ends where the file ends, so the offset is compared with its size first. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <wherry/wherry.h>

int main(int argc, char **argv)
{
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map;
    char *end;
    if (argc < 3 || argc > 4 || (argc == 4 && (argv[3][0] == '\0' || argv[3][1] != '\0')))
        return fprintf(stderr, "usage: %s FILE OFFSET [CHARACTER]\n", argv[0]), 2;
    errno = 0;
    const unsigned long long offset = strtoull(argv[2], &end, 0);
    if (errno != 0 || end == argv[2] || *end != '\0')
        return fprintf(stderr, "%s: not an offset\n", argv[2]), 2;

    options.write = argc == 4; /* else it may be a file that this user may only read */
    if (wherry_map_open(argv[1], &options, &map) < 0)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    const size_t size = wherry_map_size(map);
    if (offset >= size) {
        fprintf(stderr, "%s: has %zu bytes, and none at %llu\n", argv[1], size, offset);
        wherry_map_close(map);
        return 1;
    }

    /* Should another program cut the file short at this moment, to touch bytes[offset] would be SIGBUS.  Where that
     * may be, wherry_map_read() and wherry_map_write() do the same and return -ENODATA. */
    char *bytes = wherry_map_data(map);
    printf("byte %llu is '%c'\n", offset, bytes[offset]);
    int result = 0;
    if (argc == 4) {
        bytes[offset] = argv[3][0];
        printf("now it is '%c'\n", bytes[offset]);
        result = wherry_map_sync(map, offset, 1); /* to the disk; other processes see it without that */
        if (result < 0)
            fprintf(stderr, "%s\n", wherry_why());
    }
    wherry_map_close(map);
    return result < 0;
}
