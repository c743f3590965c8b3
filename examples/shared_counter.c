/* examples/shared_counter.c [FILE] - four processes count a number up in a mapped file, one at a time.
 *
 * SPDX-License-Identifier: MIT
 *
 * To count up is to read, to add and to write; without the lock two would read the same number, and one step would be
 * lost.  The lock is on the same file.  Were a process killed with it, the kernel would give it to the next one. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

enum { PROCESSES = 4, TIMES = 1000 };

static int fail(void)
{
    fprintf(stderr, "%s\n", wherry_why());
    return 1;
}

/* Locks are a process's own: each opens the file for itself. */
static int count_up(const char *path, volatile uint64_t *counter)
{
    struct wherry_lock *lock;
    if (wherry_lock_open(path, NULL, &lock) < 0)
        return fail();
    for (int i = 0; i < TIMES; i++) {
        if (wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, wherry_after(10 * WHERRY_SECOND)) < 0)
            return fail();
        *counter = *counter + 1;
        if (wherry_lock_release(lock, 0, 0) < 0)
            return fail();
    }
    wherry_lock_close(lock);
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "./counter";
    struct wherry_map_options options = WHERRY_MAP_OPTIONS;
    struct wherry_map *map;
    int status, code = 0;
    options.write = options.create = true;
    options.file_size = sizeof(uint64_t);
    if (wherry_map_open(path, &options, &map) < 0)
        return fail();
    volatile uint64_t *counter = wherry_map_data(map);
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0)
            _exit(count_up(path, counter)); /* the mapping is inherited, and the memory the same */
    while (wait(&status) > 0)
        code |= status;
    printf("%llu\n", (unsigned long long)*counter);
    wherry_map_close(map);
    unlink(path);
    return code != 0;
}
