/* tests/cli/raw_sysv.c read|hold|write|wait|post PATH CHAR [TEXT] - System V objects of ftok(3)'s key, as textbooks use
 * them: who comes first polls.
 *
 * SPDX-License-Identifier: MIT
 *
 * read, hold and write: a segment, which read prints, hold keeps attached until its input ends and prints then, and
 * write makes and fills.  wait and post: the first semaphore of a set; wait polls until sem_otime is set, and says
 * so. */
#include <poll.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "raw.h"

static void pause_a_little(void)
{
    poll(NULL, 0, 2);
}

static int with_segment(const char *verb, key_t key, const char *text)
{
    char byte;
    int writes = verb[0] == 'w', id;
    while ((id = shmget(key, writes ? 1000 : 0, writes ? IPC_CREAT | 0600 : 0400)) < 0)
        if (errno != ENOENT && errno != EACCES) /* its maker is not done */
            return fail("shmget");
        else
            pause_a_little();
    char *memory;
    while ((memory = shmat(id, NULL, writes ? 0 : SHM_RDONLY)) == (void *)-1)
        if (errno != EACCES)
            return fail("shmat");
    if (writes) {
        strcpy(memory, text);
        return 0;
    }
    while (verb[0] == 'r' && !*(volatile char *)memory) /* root attaches what is half made, too */
        pause_a_little();
    if (verb[0] == 'h') {
        write_whole(1, "attached\n", 9);
        (void)!read(0, &byte, 1);
    }
    return write_whole(1, memory, strlen(memory)) == 0 ? 0 : fail("write");
}

static int with_set(const char *verb, key_t key)
{
    struct sembuf operation = {.sem_op = verb[0] == 'w' ? -1 : 1};
    struct semid_ds data;
    int id;
    while ((id = semget(key, 0, 0600)) < 0)
        if (errno != ENOENT)
            return fail("semget");
        else
            pause_a_little();
    do {
        if (semctl(id, 0, IPC_STAT, &data) != 0)
            return fail("semctl");
    } while (data.sem_otime == 0);
    if (verb[0] == 'w')
        write_whole(1, "sem_otime is set\n", 17);
    return semop(id, &operation, 1) == 0 ? 0 : fail("semop");
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    key_t key = ftok(argv[2], argv[3][0]);
    if (key < 0)
        return fail(argv[2]);
    if (strcmp(argv[1], "wait") == 0 || strcmp(argv[1], "post") == 0)
        return with_set(argv[1], key);
    return with_segment(argv[1], key, argc > 4 ? argv[4] : "");
}
