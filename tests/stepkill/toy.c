/* tests/stepkill/toy.c - a program to be killed: it saves a pair of numbers in a file, in ways that are safe and that
 * are not.
 *
 * SPDX-License-Identifier: MIT
 *
 *     toy FILE torn|atomic|library|twice|shy|fork|threads     saves
 *     toy FILE check                                          fails unless both numbers are the same
 *
 * The functions are written in instructions, so that it is known which is how many steps from the entry. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "toy.h"

#if defined(__x86_64__)
/* the stores are the 2nd and the 5th of 7: torn after 2, 3 and 4 */
#define TORN "lea 1(%rsi), %rax\n mov %rax, (%rdi)\n nop\n nop\n mov %rax, 8(%rdi)\n nop\n ret\n"
/* both numbers at once */
#define ATOMIC "nop\n movd %esi, %xmm0\n pshufd $0x44, %xmm0, %xmm0\n movdqa %xmm0, (%rdi)\n nop\n nop\n ret\n"
#elif defined(__aarch64__)
#define TORN "add x1, x1, 1\n str x1, [x0]\n nop\n nop\n str x1, [x0, 8]\n nop\n ret\n"
#define ATOMIC "nop\n nop\n nop\n stp x1, x1, [x0]\n nop\n nop\n ret\n"
#endif
#define FUNCTION(name, text)                                                                                           \
    __asm__(".text\n.globl " name "\n.type " name ", %function\n" name ":\n" text ".size " name ", .-" name "\n")

FUNCTION("save_torn", TORN);
FUNCTION("save_atomic", ATOMIC);
void save_torn(volatile struct pair *pair, long number);
void save_atomic(volatile struct pair *pair, long number);

static void *save_in_thread(void *pair)
{
    save_torn(pair, 5);
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int fd = open(argv[1], O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, 4096) != 0)
        return 3;
    volatile struct pair *pair = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (pair == MAP_FAILED)
        return 3;
    if (strcmp(argv[2], "check") == 0) {
        printf("%ld and %ld\n", pair->first, pair->second);
        return pair->first != pair->second;
    }
    if (strcmp(argv[2], "torn") == 0) {
        save_torn(pair, 1);
    } else if (strcmp(argv[2], "atomic") == 0) {
        save_atomic(pair, 1);
    } else if (strcmp(argv[2], "library") == 0) {
        toy_save(pair, 1);
    } else if (strcmp(argv[2], "twice") == 0) {
        save_torn(pair, 1);
        save_torn(pair, 7);
    } else if (strcmp(argv[2], "fork") == 0) { /* the child comes by first, and lives on */
        pid_t child = fork();
        int status;
        if (child == 0) {
            save_torn(pair, 3);
            _exit(0);
        }
        if (waitpid(child, &status, 0) != child || status != 0)
            return 4;
        if (fork() == 0)
            for (;;)
                pause();
        save_torn(pair, 8);
        return 0;
    } else if (strcmp(argv[2], "threads") == 0) {
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], NULL, save_in_thread, (void *)(uintptr_t)pair);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
    }
    return 0;
}
