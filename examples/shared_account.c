/* examples/shared_account.c - a lock in shared memory that survives its holder: one that moves money is killed
 * half-way, with kill -9, and the next one puts the accounts right.
 *
 * SPDX-License-Identifier: MIT
 *
 * Who dies holding the mutex hands it on: the next one gets -EOWNERDEAD with it, repairs what the dead one left half
 * done, and says so with wherry_mutex_consistent(). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

enum { TELLERS = 3, TRANSFERS = 1000, MONEY = 1000000 };

struct bank {
    struct wherry_mutex mutex;     /* over the accounts */
    struct wherry_event half_done; /* money is out of the one and not yet in the other */
    volatile long savings, purse;  /* MONEY together */
    volatile long repairs;
};

static _Noreturn void fail(const char *who)
{
    fprintf(stderr, "%s: %s\n", who, wherry_why());
    _exit(1);
}

static void enter(struct bank *bank)
{
    int result = wherry_mutex_lock(&bank->mutex, wherry_after(5 * WHERRY_SECOND));
    if (result == -EOWNERDEAD) {
        bank->purse = MONEY - bank->savings; /* whatever the dead one had in its hands */
        bank->repairs++;
        result = wherry_mutex_consistent(&bank->mutex);
    }
    if (result < 0)
        fail("teller");
}

static void teller(struct bank *bank, int dies)
{
    for (int i = 0; i < TRANSFERS; i++) {
        enter(bank);
        bank->savings--;
        if (dies && wherry_event_set(&bank->half_done) == 0)
            pause(); /* until it is killed, with the mutex */
        bank->purse++;
        wherry_mutex_unlock(&bank->mutex);
    }
    _exit(0);
}

int main(void)
{
    /* Not only for children: any memory does that is MAP_SHARED, in each process at an address of its own. */
    struct bank *bank = mmap(NULL, sizeof *bank, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[TELLERS + 1];
    if (bank == MAP_FAILED || wherry_mutex_init(&bank->mutex) < 0 || wherry_event_init(&bank->half_done, 0) < 0)
        fail("bank");
    bank->savings = MONEY;
    for (int i = 0; i <= TELLERS; i++) {
        if ((pids[i] = fork()) == 0)
            teller(bank, i == 0);
        if (i == 0 && wherry_event_wait(&bank->half_done, wherry_after(5 * WHERRY_SECOND)) < 0)
            fail("bank");
    }
    kill(pids[0], SIGKILL); /* the others wait for it, or are about to */
    while (wait(NULL) > 0)
        ;
    enter(bank);
    printf("%ld in the savings, %ld in the purse, %ld repaired\n", bank->savings, bank->purse, bank->repairs);
    wherry_mutex_unlock(&bank->mutex);
    return wherry_mutex_fini(&bank->mutex) < 0 || munmap(bank, sizeof *bank) != 0;
}
