/* examples/producer_consumer.c [FILE] - a producer writes records into a file, a consumer reads each as soon as it is
 * there, and never one that is half written.
 *
 * SPDX-License-Identifier: MIT
 *
 * The producer begins with all records locked, and gives them back one by one as it fills them.  The consumer asks for
 * the lock of each, and so waits for the producer without asking again and again whether there is something new. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

enum { RECORDS = 5 };

struct record {
    int number, square;
};

static _Noreturn void fail(const char *who)
{
    fprintf(stderr, "%s: %s\n", who, wherry_why());
    _exit(1);
}

static int consumer(const char *path)
{
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock; /* its own: a forked child does not have its parent's locks */
    options.read_only = true; /* enough for a shared lock */
    if (wherry_lock_open(path, &options, &lock) < 0)
        fail("consumer");
    for (unsigned i = 0; i < RECORDS; i++) {
        struct record record;
        const uint64_t place = i * sizeof record;
        /* A lock may be on a part of a file: this one waits for record i, however busy the others are. */
        if (wherry_lock_take(lock, WHERRY_LOCK_SHARED, place, sizeof record, wherry_after(5 * WHERRY_SECOND)) < 0)
            fail("consumer");
        if (pread(wherry_lock_fd(lock), &record, sizeof record, (off_t)place) != (ssize_t)sizeof record) {
            fprintf(stderr, "consumer: the producer ended before record %u\n", i); /* which gave its locks back */
            return 1;
        }
        printf("%d squared is %d\n", record.number, record.square);
        wherry_lock_release(lock, place, sizeof record);
    }
    fflush(stdout); /* _exit() does not */
    wherry_lock_close(lock);
    return 0;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "./records";
    struct wherry_lock_options options = WHERRY_LOCK_OPTIONS;
    struct wherry_lock *lock;
    int status = 1;
    options.create = true;
    if (wherry_lock_open(path, &options, &lock) < 0 ||
        wherry_lock_take(lock, WHERRY_LOCK_EXCLUSIVE, 0, 0, WHERRY_NOW) < 0) /* all of it, also what is not there yet */
        fail("producer");
    const int fd = wherry_lock_fd(lock);
    if (ftruncate(fd, 0) != 0) /* what another run left */
        return perror(path), 1;
    pid_t child = fork();
    if (child == 0)
        _exit(consumer(path));
    for (int i = 0; child > 0 && i < RECORDS; i++) {
        const struct record record = {i + 1, (i + 1) * (i + 1)};
        const off_t place = (off_t)sizeof record * i;
        if (pwrite(fd, &record, sizeof record, place) != (ssize_t)sizeof record)
            return perror(path), 1; /* the end of this process gives all locks back */
        if (wherry_lock_release(lock, (uint64_t)place, sizeof record) < 0)
            fail("producer");
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        perror("consumer");
    wherry_lock_close(lock);
    unlink(path); /* nobody else may come to lock it any more: to remove a lock file in use is a trap (H3) */
    return status != 0;
}
