/* tests/cli/raw_segment.c SHM SEM TEXT - fills a POSIX segment and posts a semaphore, both of which it makes if it
 * must.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "raw.h"

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    int fd = shm_open(argv[1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 4096) != 0)
        return fail(argv[1]);
    char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return fail("mmap");
    strncpy(memory, argv[3], 4095);
    sem_t *semaphore = sem_open(argv[2], O_CREAT, 0600, 0);
    if (semaphore == SEM_FAILED)
        return fail(argv[2]);
    return sem_post(semaphore) == 0 ? 0 : fail("sem_post");
}
