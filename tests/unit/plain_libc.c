/* tests/unit/plain_libc.c - owns the proof of what C libraries have differently, in programs that link libwherry alone.
 *
 * SPDX-License-Identifier: MIT
 *
 * base/libc.h, sync/clock.h and the asking for names stand on other calls of musl's than of glibc's, and Check is not
 * to be had for every C library: so this prints its TAP itself. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

enum { TIMED_OUT = -ETIMEDOUT };

static struct shared {
    struct wherry_mutex mutex;
    struct wherry_semaphore semaphore;
} * shared;

static int number, failures;

static void say(bool passed, const char *name)
{
    printf("%sok %d - %s\n", passed ? "" : "not ", ++number, name);
    failures += !passed;
    if (!passed)
        printf("# %s\n", wherry_why());
}

static bool took(wherry_time begin, wherry_time least, wherry_time most)
{
    wherry_time time = wherry_now() - begin;
    printf("# %lld ms\n", (long long)(time / WHERRY_MILLISECOND));
    return time >= least && time <= most;
}

static void *lock_until_later(void *argument)
{
    int result = wherry_mutex_lock(&shared->mutex, wherry_after(1500 * WHERRY_MILLISECOND));
    *(int *)argument = result;
    return NULL;
}

static void *post_later(void *argument)
{
    usleep(1300000);
    wherry_semaphore_post(&shared->semaphore);
    return argument;
}

/* Longer than a second, which is the longest step where there are steps. */
static void waits_by_a_deadline(void)
{
    pthread_t thread;
    int result = 0;
    wherry_time begin = wherry_now();
    wherry_mutex_lock(&shared->mutex, WHERRY_NOW);
    pthread_create(&thread, NULL, lock_until_later, &result);
    pthread_join(thread, NULL);
    say(result == TIMED_OUT && took(begin, 1500 * WHERRY_MILLISECOND, 10 * WHERRY_SECOND),
        "a wait for a mutex ends at its deadline");
    wherry_mutex_unlock(&shared->mutex);

    begin = wherry_now();
    result = wherry_semaphore_wait(&shared->semaphore, wherry_after(1200 * WHERRY_MILLISECOND));
    say(result == TIMED_OUT && took(begin, 1200 * WHERRY_MILLISECOND, 10 * WHERRY_SECOND),
        "a wait for a semaphore ends at its deadline");

    begin = wherry_now();
    pthread_create(&thread, NULL, post_later, NULL);
    result = wherry_semaphore_wait(&shared->semaphore, wherry_after(20 * WHERRY_SECOND));
    say(result == 0 && took(begin, 1200 * WHERRY_MILLISECOND, 15 * WHERRY_SECOND),
        "a semaphore that is posted late is had before the deadline");
    pthread_join(thread, NULL);
}

static void a_death_is_told(void)
{
    void *head;
    size_t size;
    if (syscall(SYS_get_robust_list, 0, &head, &size) != 0) {
        printf("ok %d - the death of a holder is told # SKIP get_robust_list(2) fails here\n", ++number);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        wherry_mutex_lock(&shared->mutex, WHERRY_NOW);
        kill(getpid(), SIGKILL);
    }
    waitpid(child, NULL, 0);
    int result = wherry_mutex_lock(&shared->mutex, wherry_after(5 * WHERRY_SECOND));
    say(result == -EOWNERDEAD, "the death of a holder is told");
    wherry_mutex_consistent(&shared->mutex);
    wherry_mutex_unlock(&shared->mutex);
}

/* RFC 6761: no name ends so. */
static void a_name_is_asked_for(void)
{
    struct wherry_channel *channel;
    wherry_time begin = wherry_now();
    int result =
        wherry_channel_open("tcp://nonesuch.invalid:9", WHERRY_SEND, NULL, wherry_after(WHERRY_SECOND), &channel);
    bool unknown = result == -ENOENT || result == TIMED_OUT;
    say(unknown && strstr(wherry_why(), "nonesuch.invalid") && took(begin, 0, 6 * WHERRY_SECOND),
        "a name that nobody has is asked for by a deadline");
}

static void errors_have_words(void)
{
    struct wherry_channel *channel;
    struct wherry_exit end = {.kind = WHERRY_KILLED, .code = SIGTERM};
    char text[64];
    int result = wherry_channel_open("fifo:/dev/null/fifo", WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel);
    say(result == -ENOTDIR && strstr(wherry_why(), "Not a directory"), "an errno has its sentence");
    say(strcmp(wherry_exit_text(&end, text, sizeof text), "killed by SIGTERM") == 0, "a signal has its name");
}

int main(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || wherry_mutex_init(&shared->mutex) < 0 ||
        wherry_semaphore_init(&shared->semaphore, 0) < 0)
        return 1;
    waits_by_a_deadline();
    a_death_is_told();
    a_name_is_asked_for();
    errors_have_words();
    printf("1..%d\n", number);
    return failures != 0;
}
