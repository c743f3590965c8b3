/* tests/conformance/kit_actors.c - owns threads, blows and polls: what happens to a channel from outside.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>

#include "kit.h"

/* ---- time ------------------------------------------------------------------------------------------------------ */

wherry_time soon(void)
{
    /* a broken double is to be seen failing without waiting for it as long as for a loaded machine */
    return getenv("WHERRY_IMPATIENT") ? wherry_after(700 * WHERRY_MILLISECOND) : test_deadline();
}

wherry_time quiet(void)
{
    return wherry_after(40 * WHERRY_MILLISECOND * test_slowness());
}

/* ---- threads --------------------------------------------------------------------------------------------------- */

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    worker->tid = (pid_t)syscall(SYS_gettid);
    worker->run(worker->argument);
    return NULL;
}

void worker_start(struct worker *worker, void (*run)(void *argument), void *argument)
{
    *worker = (struct worker){.run = run, .argument = argument};
    int result = pthread_create(&worker->thread, NULL, worker_main, worker);
    must(result == 0, "no thread: %s", strerror(result));
}

void worker_until_asleep(struct worker *worker)
{
    test_until(worker->tid != 0, "the thread does not start");
    test_until_asleep(worker->tid);
}

void worker_join(struct worker *worker)
{
    wherry_time deadline = wherry_now() + 3 * (soon() - wherry_now());
    struct timespec at = {.tv_sec = deadline / WHERRY_SECOND, .tv_nsec = deadline % WHERRY_SECOND};
    int result = pthread_clockjoin_np(worker->thread, NULL, CLOCK_MONOTONIC, &at);
    must(result == 0, "a thread does not come back: %s", strerror(result));
}

enum { NOT_YET = 99 }; /* no result of any call */

struct errand to_send(const struct subject *subject, struct wherry_channel *channel, size_t size, uint64_t tag,
                      wherry_time deadline)
{
    return (struct errand){
        .subject = subject, .channel = channel, .size = size, .tag = tag, .deadline = deadline, .result = NOT_YET};
}

struct errand to_receive(const struct subject *subject, struct wherry_channel *channel, wherry_time deadline)
{
    return (struct errand){
        .subject = subject, .channel = channel, .size = SMALL, .deadline = deadline, .result = NOT_YET};
}

struct errand to_finish(struct wherry_channel *channel, wherry_time deadline)
{
    return (struct errand){.channel = channel, .deadline = deadline, .result = NOT_YET};
}

void errand_send(void *errand)
{
    struct errand *e = errand;
    e->result = post(e->subject, e->channel, e->size, e->tag, e->deadline);
    e->ended = wherry_now();
}

void errand_receive(void *errand)
{
    struct errand *e = errand;
    crate_init(&e->crate, e->subject, e->size);
    e->result = take(e->channel, &e->crate, e->deadline);
    e->ended = wherry_now();
    if (e->result == 1)
        e->tag = e->crate.tag;
    crate_fini(&e->crate);
}

void errand_flush(void *errand)
{
    struct errand *e = errand;
    e->result = wherry_channel_flush(e->channel, e->deadline);
    e->ended = wherry_now();
}

void errand_close(void *errand)
{
    struct errand *e = errand;
    e->result = wherry_channel_close(e->channel, e->deadline);
    e->ended = wherry_now();
}

/* ---- blows ----------------------------------------------------------------------------------------------------- */

static void strike_now(void *argument)
{
    struct blow *blow = argument;
    test_until_asleep(blow->sleeper);
    *blow->when = wherry_now();
    kill(blow->target, blow->signal);
}

pid_t strike(struct blow *blow)
{
    blow->when = test_shared(sizeof *blow->when);
    return test_fork(strike_now, blow);
}

void end_stranger(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return;
    kill(pid, SIGKILL);
    must(readable(fd, soon()), "process %d survives SIGKILL", (int)pid);
    close(fd);
}

/* ---- polling --------------------------------------------------------------------------------------------------- */

bool readable(int fd, wherry_time deadline)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    for (;;) {
        wherry_time left = deadline - wherry_now();
        int count = poll(&entry, 1, left > 0 ? (int)(left / WHERRY_MILLISECOND) + 1 : 0);
        must(count >= 0 || errno == EINTR, "poll: %s", strerror(errno));
        if (count > 0)
            return (entry.revents & POLLIN) != 0;
        if (left <= 0)
            return false;
    }
}

bool falls_quiet(struct wherry_channel *receiver, struct crate *crate, int fd)
{
    for (int alarms = 0; alarms < 5; alarms++) {
        int result = take(receiver, crate, WHERRY_NOW);
        if (result != -EAGAIN)
            return false;
        if (!readable(fd, quiet()))
            return true;
    }
    return false;
}
