/* tests/crash/test_ring_random.c - owns a thousand deaths at random: whoever uses a ring is killed at any time and
 * comes again.
 *
 * SPDX-License-Identifier: MIT
 *
 * Senders, receivers that copy, that borrow and that poll, and those who only come and go.  Every message has a number,
 * its type, which its bytes and size follow from; a table says what became of it.  WHERRY_SEED begins another sequence,
 * WHERRY_KILLS says how many. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/channel.h>

#include "harness.h"
#include "unit/pattern.h"

enum { LIVES = 16384, EACH = 512, LARGEST = 3000 };
enum { BEGUN = 1, ACCEPTED = 2, REFUSED = 4, CAME = 8, CAME_AGAIN = 16 };
enum role { SENDER, COPIER, BORROWER, POLLER, PASSING_SENDER, PASSING_RECEIVER, ROLES };
static const enum role cast[] = {SENDER,   SENDER,   SENDER, COPIER,         COPIER,
                                 BORROWER, BORROWER, POLLER, PASSING_SENDER, PASSING_RECEIVER};
enum { CAST = sizeof cast / sizeof cast[0] };

struct table {
    _Atomic uint8_t entries[LIVES * EACH];
    _Atomic uint32_t lives, copies_killed, accepted;
    _Atomic bool senders_stop, receivers_stop;
    _Atomic uint32_t complaints;
    char complaint[400];
};

struct company {
    struct table *table;
    char url[200];
    uint32_t random;
    pid_t pids[CAST];
};

static uint32_t draw(struct company *company, uint32_t below)
{
    company->random = company->random * 1664525u + 1013904223u;
    return (company->random >> 12) % below;
}

static void complain(struct table *table, const char *what, uint32_t number, long long detail)
{
    if (atomic_fetch_add(&table->complaints, 1) == 0)
        snprintf(table->complaint, sizeof table->complaint, "%s: message %u of life %u, %lld, %s", what, number % EACH,
                 number / EACH, detail, detail < 0 ? wherry_why() : "");
}

static size_t size_of(uint32_t number)
{
    uint32_t random = number * 2654435761u;
    return random >> 30 == 0 ? 0 : random >> 30 == 1 ? (random >> 8) % LARGEST : (random >> 8) % 100;
}

/* ---- what they do ---- */

static void send_for_ever(struct company *company, bool passing)
{
    static uint8_t data[LARGEST];
    struct table *table = company->table;
    while (!table->senders_stop) {
        struct wherry_channel *sender;
        if (wherry_channel_open(company->url, WHERRY_SEND, NULL, wherry_after(20 * WHERRY_MILLISECOND), &sender) < 0)
            continue; /* nobody receives at the moment */
        uint32_t life = passing ? LIVES : table->lives++;
        for (uint32_t i = 0; life < LIVES && i < EACH && !table->senders_stop; i++) {
            uint32_t number = life * EACH + i;
            size_t size = size_of(number);
            pattern_fill(data, size, number);
            struct wherry_message message = {.data = data, .size = size, .type = number + 1};
            table->entries[number] |= BEGUN;
            int result = wherry_channel_send_message(sender, &message, 0, wherry_after(WHERRY_SECOND));
            table->entries[number] |= result == 0 ? ACCEPTED : REFUSED;
            if (result < 0 && result != -EPIPE && result != -ETIMEDOUT)
                complain(table, "a send failed", number, result);
            if (draw(company, 8) == 0)
                test_sleep(draw(company, 200) * WHERRY_MICROSECOND);
        }
        wherry_channel_close(sender, WHERRY_NOW);
    }
}

static void note(struct table *table, const struct wherry_info *info, const void *data)
{
    uint32_t number = (uint32_t)info->type - 1;
    bool again = info->flags & WHERRY_REDELIVERED;
    if (number >= LIVES * EACH || !(table->entries[number] & BEGUN)) {
        complain(table, "a message came that nobody sent", number, (long long)info->size);
        return;
    }
    if (info->size != size_of(number) || !pattern_is(data, info->size, number))
        complain(table, "a message came torn", number, (long long)info->size);
    uint8_t before = atomic_fetch_or(&table->entries[number], again ? CAME_AGAIN : CAME);
    if (before & REFUSED)
        complain(table, "a refused message came", number, before);
    if (!again && (before & (CAME | CAME_AGAIN)))
        complain(table, "a message came twice, unmarked", number, before);
}

static int borrow_one(struct table *table, struct wherry_channel *receiver, wherry_time deadline)
{
    struct wherry_loan loan;
    int result = wherry_channel_borrow(receiver, &loan, deadline);
    if (result == 1) {
        note(table, &loan.info, loan.data);
        wherry_channel_return(receiver, &loan);
    }
    return result;
}

static int copy_one(struct table *table, struct wherry_channel *receiver, wherry_time deadline)
{
    static uint8_t data[LARGEST];
    struct wherry_info info;
    int result = wherry_channel_receive_info(receiver, data, sizeof data, &info, deadline);
    if (result == 1)
        note(table, &info, data);
    return result;
}

static void receive_for_ever(struct company *company, enum role role)
{
    struct table *table = company->table;
    while (!table->receivers_stop) {
        struct wherry_channel *receiver;
        int result = wherry_channel_open(company->url, WHERRY_RECEIVE, NULL, wherry_after(WHERRY_SECOND), &receiver);
        if (result < 0) {
            complain(table, "a receiver cannot open", 0, result);
            return;
        }
        struct pollfd entry = {.fd = role == POLLER ? wherry_channel_receive_fd(receiver) : -1, .events = POLLIN};
        for (uint32_t left = role == PASSING_RECEIVER ? 0 : 1 + draw(company, 4000); left > 0 && !table->receivers_stop;
             left--) {
            wherry_time deadline = role == POLLER ? WHERRY_NOW : wherry_after(20 * WHERRY_MILLISECOND);
            result = role == BORROWER ? borrow_one(table, receiver, deadline) : copy_one(table, receiver, deadline);
            if (result < 0 && result != -EAGAIN && result != -ETIMEDOUT)
                complain(table, "a receive failed", 0, result);
            if (result == -EAGAIN && role == POLLER)
                poll(&entry, 1, 20);
        }
        wherry_channel_close(receiver, WHERRY_NOW);
    }
}

static void play(struct company *company, enum role role)
{
    if (role == SENDER || role == PASSING_SENDER)
        send_for_ever(company, role == PASSING_SENDER);
    else
        receive_for_ever(company, role);
}

/* ---- who kills them ---- */

static void start(struct company *company, size_t i)
{
    fflush(NULL);
    company->random++;
    company->pids[i] = fork();
    ck_assert_int_ge(company->pids[i], 0);
    if (company->pids[i] == 0) {
        play(company, cast[i]);
        _exit(0);
    }
}

static void kill_and_restart(struct company *company)
{
    size_t i = draw(company, CAST);
    kill(company->pids[i], SIGKILL);
    ck_assert_int_eq(waitpid(company->pids[i], NULL, 0), company->pids[i]);
    company->table->copies_killed += cast[i] == COPIER || cast[i] == POLLER;
    start(company, i);
}

static void stop(struct company *company, bool senders)
{
    for (size_t i = 0; i < CAST; i++) {
        int status = 0;
        if ((cast[i] == SENDER || cast[i] == PASSING_SENDER) != senders)
            continue;
        wherry_time deadline = wherry_after(10 * WHERRY_SECOND * test_slowness());
        while (waitpid(company->pids[i], &status, WNOHANG) == 0 && wherry_now() < deadline)
            test_sleep(WHERRY_MILLISECOND);
        if (wherry_now() >= deadline) {
            complain(company->table, "a process hangs; its role", (uint32_t)cast[i], 0);
            kill(company->pids[i], SIGKILL);
            waitpid(company->pids[i], NULL, 0);
        } else if (status != 0) {
            complain(company->table, "a process ended otherwise", (uint32_t)cast[i], status);
        }
    }
}

/* All that was accepted came, save one message for each copying receiver that was killed. */
static size_t count_lost(struct table *table)
{
    size_t lost = 0;
    for (uint32_t number = 0; number < LIVES * EACH; number++) {
        uint8_t entry = table->entries[number];
        table->accepted += (entry & ACCEPTED) != 0;
        if ((entry & ACCEPTED) && !(entry & (CAME | CAME_AGAIN)))
            lost++;
    }
    return lost;
}

static unsigned kills_wanted(void)
{
    const char *text = getenv("WHERRY_KILLS");
    return text ? (unsigned)strtoul(text, NULL, 10) : TEST_SANITIZED ? 200 : 1000;
}

/* `kept`: one sender lives through all of it, so that the ring stays and nothing may be lost with it. */
static void run_company(bool kept, unsigned kills)
{
    struct company company = {.table = test_shared(sizeof *company.table)};
    struct table *table = company.table;
    struct wherry_channel *first, *keeper = NULL;
    const char *seed = getenv("WHERRY_SEED");
    char path[200];
    company.random = seed ? (uint32_t)strtoul(seed, NULL, 10) : 1;
    snprintf(company.url, sizeof company.url, "shm://%s?capacity=8192&places=16", test_word());
    if (kept) {
        test_ok(wherry_channel_open(company.url, WHERRY_RECEIVE, NULL, test_deadline(), &first));
        test_ok(wherry_channel_open(company.url, WHERRY_SEND, NULL, test_deadline(), &keeper));
        wherry_channel_close(first, WHERRY_NOW);
    }
    for (size_t i = 0; i < CAST; i++)
        start(&company, i);
    for (unsigned i = 0; i < kills && !table->complaints; i++) {
        test_sleep(draw(&company, 6000) * WHERRY_MICROSECOND);
        kill_and_restart(&company);
    }
    table->senders_stop = true;
    stop(&company, true);
    table->receivers_stop = true;
    stop(&company, false);
    if (kept) { /* what is left, and the end */
        int result = 1;
        test_ok(wherry_channel_open(company.url, WHERRY_RECEIVE, NULL, test_deadline(), &first));
        while (result == 1)
            result = copy_one(table, first, wherry_after(200 * WHERRY_MILLISECOND));
        ck_assert_msg(result == -ETIMEDOUT, "a living sender's ring: %d, %s", result, wherry_why());
        wherry_channel_close(keeper, WHERRY_NOW);
        test_is(wherry_channel_receive(first, NULL, 0, NULL, test_deadline()), 0);
        wherry_channel_close(first, WHERRY_NOW);
    } else if (wherry_channel_open(company.url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &first) ==
               0) { /* what a crash left goes */
        wherry_channel_close(first, WHERRY_NOW);
    }
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), test_word());
    ck_assert_msg(access(path, F_OK) != 0, "%s is left behind", path);
    size_t lost = count_lost(table);
    printf("# %u kills, %u messages accepted, %zu lost (%u receivers killed that might have taken one with them)%s\n",
           kills, table->accepted, lost, table->copies_killed,
           kept ? "" : "; those that went with a ring are among them");
    fflush(stdout);
    ck_assert_msg(table->complaints == 0, "%u complaints: %s", table->complaints, table->complaint);
    ck_assert_msg(!kept || lost <= table->copies_killed, "%zu messages lost", lost);
    munmap(table, sizeof *table);
}

TEST_WITH(a_thousand_deaths_in_a_ring_that_stays, .seconds = 300)
{
    run_company(true, kills_wanted());
}

TEST_WITH(deaths_in_a_ring_that_comes_and_goes, .seconds = 300)
{
    run_company(false, kills_wanted() / 3);
}
