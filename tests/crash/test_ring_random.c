/* tests/crash/test_ring_random.c - owns a thousand deaths at random: whoever uses a ring is killed at any time and
 * comes again; and thousands of times that one leaves a ring while another comes.
 *
 * SPDX-License-Identifier: MIT
 *
 * Senders, receivers that copy, that borrow and that poll, and those who only come and go.  Every message has a number,
 * its type, which its bytes and size follow from; a table says what became of it.  WHERRY_SEED begins another sequence,
 * WHERRY_KILLS says how many. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
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
        int result = wherry_channel_open(company->url, WHERRY_RECEIVE, NULL, test_deadline(), &receiver);
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

static bool ends_soon(pid_t pid)
{
    struct pollfd wait = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    ck_assert_int_ge(wait.fd, 0);
    int ended = poll(&wait, 1, 10000 * (int)test_slowness());
    close(wait.fd);
    return ended == 1;
}

static void stop(struct company *company, bool senders)
{
    for (size_t i = 0; i < CAST; i++) {
        int status = 0;
        if ((cast[i] == SENDER || cast[i] == PASSING_SENDER) != senders)
            continue;
        bool hangs = !ends_soon(company->pids[i]);
        if (hangs) {
            complain(company->table, "a process hangs; its role", (uint32_t)cast[i], 0);
            kill(company->pids[i], SIGKILL);
        }
        ck_assert_int_eq(waitpid(company->pids[i], &status, 0), company->pids[i]);
        if (!hangs && status != 0)
            complain(company->table, "a process ended otherwise", (uint32_t)cast[i], status);
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

/* ---- one leaves, another comes ---- */

enum change { LAST_SENDER, LAST_RECEIVER, LAST_USER };
enum { ROUNDS = TEST_SANITIZED ? 300 : 1500, MOST_SENT = 1 << 20, WORDS = 40 };

struct turnover {
    enum change change;
    unsigned parties;
    char url[200];
    _Atomic unsigned arrived;
    _Atomic unsigned opened, parted; /* round + 1: the newcomer is in; how many have done their part, in all */
    _Atomic unsigned together;       /* round + 1: the newcomer was in before the other began to leave */
    _Atomic unsigned accepted;       /* LAST_RECEIVER: messages */
    _Atomic unsigned sent_in;        /* round + 1: no more of it will be sent */
    _Atomic unsigned taken;
    _Atomic unsigned both, ends, refused; /* for the report */
    _Atomic uint8_t came[MOST_SENT];
    _Atomic unsigned complaints;
    char complaint[400];
};

static void object(struct turnover *turnover, const char *what, unsigned round, long long detail)
{
    if (atomic_fetch_add(&turnover->complaints, 1) == 0)
        snprintf(turnover->complaint, sizeof turnover->complaint, "round %u: %s: %lld, %s", round, what, detail,
                 detail < 0 ? wherry_why() : "");
}

/* All of them are here; false: something went wrong. */
static bool meet(struct turnover *turnover, unsigned round)
{
    unsigned parties = turnover->parties, target = (turnover->arrived++ / parties + 1) * parties;
    wherry_time deadline = wherry_after(20 * WHERRY_SECOND);
    for (unsigned i = 1; turnover->arrived < target && !turnover->complaints; i++)
        if (i % 512 == 0) {
            sched_yield(); /* a machine with fewer processors than parties */
            if (wherry_now() > deadline)
                object(turnover, "somebody hangs", round, 0);
        }
    return !turnover->complaints;
}

/* Each to a processor of its own, where there are two. */
static void pin(unsigned who)
{
    cpu_set_t all, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    for (unsigned cpu = 0, seen = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && seen++ == who) {
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
}

static void tarry(uint32_t *random, uint32_t most)
{
    *random = *random * 1664525u + 1013904223u;
    for (volatile uint32_t left = (*random >> 8) % most; left > 0; left--)
        ;
}

static int tell_one(struct wherry_channel *sender, uint32_t number)
{
    uint8_t data[WORDS];
    pattern_fill(data, sizeof data, number);
    struct wherry_message message = {.data = data, .size = sizeof data, .type = number + 1};
    return wherry_channel_send_message(sender, &message, 0, test_deadline());
}

/* 1 and noted, or what receive says. */
static int hear_one(struct turnover *turnover, struct wherry_channel *receiver, unsigned round, wherry_time deadline)
{
    uint8_t data[WORDS];
    struct wherry_info info;
    int result = wherry_channel_receive_info(receiver, data, sizeof data, &info, deadline);
    if (result != 1)
        return result;
    uint32_t number = (uint32_t)info.type - 1;
    if (number >= MOST_SENT || info.size != WORDS || !pattern_is(data, WORDS, number))
        object(turnover, "a message that nobody sent", round, (long long)info.type);
    else if (turnover->came[number]++)
        object(turnover, "a message came twice", round, number);
    turnover->taken++;
    return 1;
}

/* All that was accepted in this round. */
static void hear_the_rest(struct turnover *turnover, struct wherry_channel *receiver, unsigned round)
{
    wherry_time deadline = test_deadline();
    while (!turnover->complaints && (turnover->sent_in != round + 1 || turnover->taken < turnover->accepted)) {
        int result = hear_one(turnover, receiver, round, wherry_after(WHERRY_MILLISECOND));
        if (result == 0)
            object(turnover, "an end, and the sender is there", round, 0);
        else if (result < 0 && result != -ETIMEDOUT && result != -EAGAIN)
            object(turnover, "a receive failed", round, result);
        else if (wherry_now() > deadline)
            object(turnover, "messages are lost", round, (long long)turnover->accepted - turnover->taken);
    }
}

static void leave(struct turnover *turnover, struct wherry_channel **channel, unsigned round)
{
    if (turnover->change == LAST_SENDER && tell_one(*channel, 3 * round) < 0)
        object(turnover, "the last message of one that leaves", round, -EPIPE);
    if (turnover->change == LAST_RECEIVER && hear_one(turnover, *channel, round, WHERRY_NOW) == 0)
        object(turnover, "an end, and the sender is there", round, 0);
    if (turnover->opened == round + 1) {
        turnover->together = round + 1;
        turnover->both++;
    }
    wherry_channel_close(*channel, WHERRY_NOW);
    *channel = NULL;
    turnover->parted++;
}

static void come(struct turnover *turnover, struct wherry_channel **channel, unsigned round)
{
    enum wherry_role role = turnover->change == LAST_SENDER ? WHERRY_SEND : WHERRY_RECEIVE;
    int result = wherry_channel_open(turnover->url, role, NULL, test_deadline(), channel);
    turnover->opened = round + 1;
    turnover->parted++;
    if (result < 0) {
        *channel = NULL;
        object(turnover, "one that comes", round, result);
        return;
    }
    for (unsigned i = 1; turnover->change == LAST_SENDER && i < 3; i++)
        if ((result = tell_one(*channel, 3 * round + i)) < 0)
            object(turnover, "a send of one that came", round, result);
    if (turnover->change == LAST_RECEIVER)
        hear_the_rest(turnover, *channel, round);
}

/* The name leads to the newcomer's ring: a message goes there, and its sender's end. */
static void try_the_name(struct turnover *turnover, struct wherry_channel *receiver, unsigned round)
{
    int result;
    if (receiver) {
        if ((result = hear_one(turnover, receiver, round, test_deadline())) != 1)
            object(turnover, "a message for one that came", round, result);
        else if ((result = hear_one(turnover, receiver, round, test_deadline())) != 0)
            object(turnover, "the end behind it", round, result);
        return;
    }
    struct wherry_channel *sender;
    if ((result = wherry_channel_open(turnover->url, WHERRY_SEND, NULL, test_deadline(), &sender)) < 0) {
        object(turnover, "a sender to one that came", round, result);
        return;
    }
    if ((result = tell_one(sender, round)) < 0)
        object(turnover, "a send to one that came", round, result);
    wherry_channel_close(sender, WHERRY_NOW);
}

static void take_turns(struct turnover *turnover, unsigned who)
{
    struct wherry_channel *channel = NULL;
    uint32_t random = who + 1;
    pin(who);
    if (who == 0)
        test_ok(wherry_channel_open(turnover->url, turnover->change == LAST_SENDER ? WHERRY_SEND : WHERRY_RECEIVE, NULL,
                                    test_deadline(), &channel));
    for (unsigned round = 0; round < ROUNDS && meet(turnover, round); round++) {
        bool leaves = round % 2 == who;
        tarry(&random, leaves ? 60000 : 20000); /* to leave is quicker than to come */
        if (leaves)
            leave(turnover, &channel, round);
        else
            come(turnover, &channel, round);
        if (!meet(turnover, round))
            break;
        if (turnover->change == LAST_USER)
            try_the_name(turnover, channel, round);
    }
    wherry_channel_close(channel, WHERRY_NOW);
}

static void first_player(void *argument)
{
    take_turns(argument, 0);
}

static void second_player(void *argument)
{
    take_turns(argument, 1);
}

/* It receives all the time: three messages, and an end only if the one left before the other had come. */
static void stay_to_receive(struct turnover *turnover, struct wherry_channel *receiver)
{
    unsigned ends = 0;
    for (unsigned round = 0; round < ROUNDS && meet(turnover, round); round++) {
        for (unsigned i = 0; i < 3 && !turnover->complaints;) {
            int result = hear_one(turnover, receiver, round, round % 2 ? WHERRY_NOW : test_deadline());
            if (result < 0 && result != -EAGAIN)
                object(turnover, "a message is lost", round, result);
            i += result == 1;
            ends += result == 0;
        }
        if (!meet(turnover, round))
            break;
        if (ends > 0 && turnover->together == round + 1)
            object(turnover, "an end, and there was a sender all the time", round, ends);
        if (ends > 1)
            object(turnover, "more than one end", round, ends);
        turnover->ends += ends;
        ends = 0;
        for (unsigned i = 0; i < 3; i++)
            if (turnover->came[3 * round + i] != 1)
                object(turnover, "a message is lost", round, i);
    }
}

/* It sends all the time. */
static void stay_to_send(struct turnover *turnover, struct wherry_channel *sender)
{
    uint32_t random = 7;
    for (unsigned round = 0; round < ROUNDS && meet(turnover, round); round++) {
        unsigned refused = 0;
        for (bool last = false; !last && turnover->accepted < MOST_SENT && !turnover->complaints;) {
            last = turnover->parted == 2 * (round + 1);
            int result = tell_one(sender, turnover->accepted); /* one that is refused gives its number to the next */
            if (result == 0)
                turnover->accepted++;
            else if (result == -EPIPE)
                refused++;
            else
                object(turnover, "a send", round, result);
            tarry(&random, 12000);
        }
        turnover->sent_in = round + 1;
        if (!meet(turnover, round))
            break;
        if (refused > 0 && turnover->together == round + 1)
            object(turnover, "nobody left to receive, and there was a receiver all the time", round, refused);
        turnover->refused += refused;
    }
}

static const char *const changes[] = {"last_sender", "last_receiver", "last_user"};

static size_t change_count(void)
{
    return sizeof changes / sizeof changes[0];
}

static const char *change_name(size_t index)
{
    return changes[index];
}

TEST_WITH(one_comes_as_the_other_leaves, .count = change_count, .entry = change_name, .seconds = 120)
{
    struct turnover *turnover = test_shared(sizeof *turnover);
    struct wherry_channel *channel = NULL;
    char path[200];
    turnover->change = (enum change)index;
    turnover->parties = index == LAST_USER ? 2 : 3;
    snprintf(turnover->url, sizeof turnover->url, "shm://%s?capacity=65536&places=8", test_word());
    wherry_time began = wherry_now();
    if (index == LAST_SENDER)
        test_ok(wherry_channel_open(turnover->url, WHERRY_RECEIVE, NULL, test_deadline(), &channel));
    pid_t first = test_fork(first_player, turnover), second = test_fork(second_player, turnover);
    if (index == LAST_SENDER) {
        stay_to_receive(turnover, channel);
    } else if (index == LAST_RECEIVER) {
        test_ok(wherry_channel_open(turnover->url, WHERRY_SEND, NULL, test_deadline(), &channel));
        stay_to_send(turnover, channel);
    }
    test_join_by(first, wherry_after(60 * WHERRY_SECOND));
    test_join_by(second, wherry_after(60 * WHERRY_SECOND));
    wherry_channel_close(channel, WHERRY_NOW);
    snprintf(path, sizeof path, "/dev/shm/wherry-%u/%s", (unsigned)geteuid(), test_word());
    printf("# %s: %u rounds, in %u both were there; %u ends, %u sends to nobody, %u messages; %lld ms\n",
           changes[index], (unsigned)ROUNDS, turnover->both, turnover->ends, turnover->refused, turnover->taken,
           (long long)((wherry_now() - began) / WHERRY_MILLISECOND));
    fflush(stdout);
    ck_assert_msg(turnover->complaints == 0, "%u complaints: %s", turnover->complaints, turnover->complaint);
    ck_assert_msg(access(path, F_OK) != 0, "%s is left behind", path);
    munmap(turnover, sizeof *turnover);
}
