/* examples/typed_queue.c - six messages of several types, taken out of the order in which they were sent.
 *
 * SPDX-License-Identifier: MIT
 *
 * A System V message queue is no pipe: each message has a type, a number from 1 on, and whoever receives says which
 * types it wants.  The classic use is one queue for a whole office.  Requests have a type from 1 to 3, the lower the
 * more urgent; what is meant for one process alone has that process's number as its type. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wherry/queue.h>

static int fail(const char *name)
{
    fprintf(stderr, "%s\n", wherry_why());
    wherry_queue_remove(name); /* else it stays: a queue outlives its processes */
    return 1;
}

/* Take all messages that `which` and `type` choose.  0, or -errno. */
static int take(struct wherry_queue *office, const char *who, enum wherry_queue_which which, int64_t type)
{
    struct wherry_queue_message message;
    char text[100];
    int result;
    while ((result = wherry_queue_receive(office, which, type, text, sizeof text, &message, WHERRY_NOW)) == 0)
        if (message.type <= 3)
            printf("%s gets type %d: %.*s\n", who, (int)message.type, (int)message.size, text);
        else
            printf("%s gets a message of its own: %.*s\n", who, (int)message.size, text);
    return result == -EAGAIN ? 0 : result; /* with WHERRY_NOW: there is no such message, and nobody waits for one */
}

int main(void)
{
    const char *name = "sysv-msg:.?id=t";  /* the key is made of this directory and a letter, as ftok(3) does */
    const int64_t me = 1000000 + getpid(); /* above all types of requests */
    const struct letter {
        int64_t type;
        const char *text;
    } letters[6] = {{3, "sweep the floor"},   {1, "the house is on fire"}, {me, "you have mail"},
                    {2, "answer the letter"}, {3, "water the plants"},     {1, "the cat is in the tree"}};
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *office;

    options.create = true;
    if (wherry_queue_open(name, &options, WHERRY_NOW, &office) < 0)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    for (int i = 0; i < 6; i++)
        if (wherry_queue_send(office, letters[i].type, letters[i].text, strlen(letters[i].text), WHERRY_NOW) < 0)
            return fail(name);

    if (take(office, "the clerk", WHERRY_QUEUE_TYPE, me) < 0 ||        /* of this type alone: the third sent */
        take(office, "the fire brigade", WHERRY_QUEUE_UP_TO, 2) < 0 || /* of types 1 and 2, the lowest first */
        take(office, "the janitor", WHERRY_QUEUE_ANY, 0) < 0)          /* the rest, as it was sent */
        return fail(name);
    wherry_queue_close(office);
    return wherry_queue_remove(name) < 0 ? fail(name) : 0;
}
