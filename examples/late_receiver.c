/* examples/late_receiver.c - a queue outlives its sender: who comes later finds the messages.  late_receiver NAME
 *
 * SPDX-License-Identifier: MIT
 *
 *     late_receiver posix-mq:/jobs
 *
 * A pipe or socket is gone with its processes, and so is what was in it.  A message queue is the kernel's, like a file:
 * it has a name, and it stays, with what is in it, until somebody removes it or the machine starts anew. */
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/queue.h>

static int fail(void)
{
    return fprintf(stderr, "%s\n", wherry_why()), 1;
}

/* Makes the queue, leaves three messages in it, and is gone. */
static int sender(const char *name)
{
    const char *const jobs[] = {"wash", "dry", "iron"};
    struct wherry_queue_options options = WHERRY_QUEUE_OPTIONS;
    struct wherry_queue *queue;
    options.create = options.exclusive = true; /* one that is there already would be somebody else's */
    options.message_size = 100;                /* the kernel asks at the beginning how large they can be ... */
    options.messages = 10;                     /* ... and how many: who sends one more waits */
    if (wherry_queue_open(name, &options, WHERRY_NOW, &queue) < 0)
        return fail();
    for (int i = 0; i < 3; i++)
        if (wherry_queue_send(queue, 0, jobs[i], strlen(jobs[i]), WHERRY_NOW) < 0)
            return fail();
    wherry_queue_close(queue);
    return 0;
}

/* Comes when there is no sender any more. */
static int receiver(const char *name)
{
    struct wherry_queue_stat stat;
    struct wherry_queue_message message;
    struct wherry_queue *queue;
    char text[100]; /* never less than the largest message: the kernel would refuse even a short one */
    if (wherry_queue_open(name, NULL, WHERRY_NOW, &queue) < 0 || wherry_queue_stat(queue, &stat, sizeof stat) < 0)
        return fail();
    printf("the receiver finds %d messages\n", (int)stat.messages);
    for (uint64_t i = 0; i < stat.messages; i++) {
        if (wherry_queue_receive(queue, WHERRY_QUEUE_ANY, 0, text, sizeof text, &message, WHERRY_NOW) < 0)
            return fail();
        printf("%.*s\n", (int)message.size, text);
    }
    wherry_queue_close(queue);
    return 0;
}

int main(int argc, char **argv)
{
    int status;
    if (argc != 2)
        return fprintf(stderr, "usage: late_receiver posix-mq:/NAME\n"), 1;
    pid_t child = fork();
    if (child == 0)
        return sender(argv[1]);
    if (child < 0 || waitpid(child, &status, 0) < 0) /* from here on nobody has the queue open */
        return perror("late_receiver"), 1;
    if (status != 0)
        return 1; /* the child said why, and the queue may not be ours */
    printf("the sender is gone\n");
    int result = receiver(argv[1]);
    return wherry_queue_remove(argv[1]) < 0 ? fail() : result; /* nobody else would */
}
