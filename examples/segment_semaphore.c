/* examples/segment_semaphore.c write|read NAME - lines handed over in shared memory, one at a time, between two
 * programs that may start in either order.
 *
 * SPDX-License-Identifier: MIT
 *
 *     segment_semaphore read posix-shm:/board & segment_semaphore write posix-shm:/board
 *
 * Two semaphores say whose turn it is: `empty` counts places that may be written, `full` those that may be read.  The
 * reader waits for the segment, which is complete from the first moment that anybody can see it: the semaphores are
 * in it, ready.  With sysv-shm:0x4d2 as NAME it is System V shared memory. */
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>

static const char *const lines[] = {"the tide is in", "the ferry leaves at nine", "no dogs on deck", ""};

struct board {
    struct wherry_semaphore empty, full;
    char line[64]; /* no pointers in shared memory: it is at another address in each process */
};

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static int writer(const char *name)
{
    struct wherry_segment *segment;
    const wherry_time deadline = wherry_after(10 * WHERRY_SECOND);
    if (wherry_segment_create(name, sizeof(struct board), NULL, &segment) < 0) /* nobody sees it yet */
        return fail("writer");
    struct board *board = wherry_segment_data(segment);
    if (wherry_semaphore_init(&board->empty, 1) < 0 || wherry_semaphore_init(&board->full, 0) < 0 ||
        wherry_segment_publish(segment) < 0)
        return fail("writer");
    int result = wherry_semaphore_wait(&board->empty, deadline);
    for (size_t i = 0; result == 0 && i < sizeof lines / sizeof lines[0]; i++) {
        snprintf(board->line, sizeof board->line, "%s", lines[i]);
        wherry_semaphore_post(&board->full);
        result = wherry_semaphore_wait(&board->empty, deadline); /* until it is read, the last one too */
    }
    if (result < 0)
        fail("writer");
    wherry_segment_close(segment);
    return wherry_segment_remove(name) < 0 ? fail("writer") : result < 0; /* or it would be there until a reboot */
}

static int reader(const char *name)
{
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment;
    const wherry_time deadline = wherry_after(10 * WHERRY_SECOND);
    char line[sizeof((struct board *)0)->line] = "";
    options.write = true;                  /* a semaphore is written to */
    options.length = sizeof(struct board); /* another program's layout is an error that names both sizes */
    if (wherry_segment_open(name, &options, deadline, &segment) < 0)
        return fail("reader");
    struct board *board = wherry_segment_data(segment);
    do {
        if (wherry_semaphore_wait(&board->full, deadline) < 0)
            return fail("reader"); /* a writer that died posts nothing: that is what the deadline is for */
        snprintf(line, sizeof line, "%.*s", (int)sizeof line - 1, board->line);
        wherry_semaphore_post(&board->empty);
        printf("%s%s", line, line[0] ? "\n" : "");
    } while (line[0]);
    wherry_segment_close(segment);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && (!strcmp(argv[1], "write") || !strcmp(argv[1], "read")))
        return argv[1][0] == 'w' ? writer(argv[2]) : reader(argv[2]);
    return fprintf(stderr, "usage: %s write|read NAME\n", argv[0]), 2;
}
