/* examples/kept_string.c put|get|remove NAME [TEXT] - a string that stays in shared memory when its writer has ended.
 *
 * SPDX-License-Identifier: MIT
 *
 *     kept_string put posix-shm:/motto 'all aboard'
 *     kept_string get posix-shm:/motto
 *     kept_string remove posix-shm:/motto
 *
 * A segment belongs to the kernel, not to a process: it stays until it is removed or the machine restarts.  To change
 * the string, a second segment takes the first one's name.  Who reads meanwhile has the old one or the new one whole,
 * and nobody needs a lock. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>

static int fail(void)
{
    return fprintf(stderr, "%s\n", wherry_why()), 1;
}

static int put(const char *name, const char *text)
{
    struct wherry_segment *segment;
    int result = wherry_segment_remove(name); /* those who have it open keep it */
    if (result < 0 && result != -ENOENT)
        return fail();
    if (wherry_segment_create(name, strlen(text) + 1, NULL, &segment) < 0)
        return fail();
    strcpy(wherry_segment_data(segment), text); /* unseen */
    result = wherry_segment_publish(segment);   /* seen, all at once */
    if (result < 0)
        fail();
    wherry_segment_close(segment); /* unmaps it; what is published stays */
    return result < 0;
}

static int get(const char *name)
{
    struct wherry_segment *segment;
    if (wherry_segment_open(name, NULL, wherry_after(WHERRY_SECOND), &segment) < 0) /* it may be changing just now */
        return fail();
    /* What others wrote may lack its NUL: no further than the segment goes. */
    const uint64_t size = wherry_segment_size(segment);
    printf("%.*s\n", (int)strnlen(wherry_segment_data(segment), size), (char *)wherry_segment_data(segment));
    wherry_segment_close(segment);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "put"))
        return put(argv[2], argv[3]);
    if (argc == 3 && !strcmp(argv[1], "get"))
        return get(argv[2]);
    if (argc == 3 && !strcmp(argv[1], "remove"))
        return wherry_segment_remove(argv[2]) < 0 ? fail() : 0;
    return fprintf(stderr, "usage: %s put NAME TEXT | get NAME | remove NAME\n", argv[0]), 2;
}
