/* raw_queue.c - message queues by their system calls alone, as programs of the 1990s use them.
 *
 * SPDX-License-Identifier: MIT
 *
 *     six PATH ID          six messages of types 1, 1, 2, 2, 3, 3
 *     say PATH ID          lines of "TYPE text" from standard input, each with its NUL; then waits until all were
 *     taken, and
 *                          removes the queue under its readers
 *     listen PATH ID       prints the texts that come, a line each, until the queue is removed
 *     post NAME            lines of "PRIORITY text" into a POSIX queue
 *     take NAME COUNT      prints so many messages of a POSIX queue, with their priority */
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <unistd.h>

struct letter {
    long type;
    char text[4000];
};

static int die(const char *what)
{
    perror(what);
    exit(1);
}

static int open_queue(const char *path, const char *id)
{
    int queue = msgget(ftok(path, id[0]), IPC_CREAT | 0600);
    return queue >= 0 ? queue : die("msgget");
}

static void put(int queue, long type, const char *text)
{
    struct letter letter = {.type = type};
    size_t size = strlen(text) + 1;
    memcpy(letter.text, text, size);
    if (msgsnd(queue, &letter, size, 0) != 0)
        die("msgsnd");
}

static void six(int queue)
{
    static const char *const texts[] = {"1a", "1b", "2a", "2b", "3a", "3b"};
    for (int i = 0; i < 6; i++)
        put(queue, texts[i][0] - '0', texts[i]);
}

static void say(int queue)
{
    char line[4000];
    struct msqid_ds status;
    while (fgets(line, sizeof line, stdin)) {
        char *text;
        long type = strtol(line, &text, 10);
        text[strcspn(text, "\n")] = '\0';
        put(queue, type, text + 1);
    }
    while (msgctl(queue, IPC_STAT, &status) == 0 && status.msg_qnum > 0)
        usleep(1000);
    if (msgctl(queue, IPC_RMID, NULL) != 0)
        die("msgctl");
}

static void listen_to(int queue)
{
    struct letter letter;
    while (msgrcv(queue, &letter, sizeof letter.text, 0, 0) >= 0) {
        letter.text[sizeof letter.text - 1] = '\0';
        puts(letter.text);
        fflush(stdout);
    }
    if (errno != EIDRM && errno != EINVAL)
        die("msgrcv");
}

static void post(const char *name)
{
    char line[4000];
    mqd_t queue = mq_open(name, O_WRONLY | O_CREAT, 0600, NULL);
    if (queue < 0)
        die("mq_open");
    while (fgets(line, sizeof line, stdin)) {
        char *text;
        unsigned priority = (unsigned)strtoul(line, &text, 10);
        if (mq_send(queue, text + 1, strcspn(text + 1, "\n"), priority) != 0)
            die("mq_send");
    }
    mq_close(queue);
}

static void take(const char *name, int count)
{
    mqd_t queue = mq_open(name, O_RDONLY | O_CREAT, 0600, NULL);
    struct mq_attr attributes;
    if (queue < 0 || mq_getattr(queue, &attributes) != 0)
        die("mq_open");
    char *text = malloc((size_t)attributes.mq_msgsize);
    for (; count > 0; count--) {
        unsigned priority;
        ssize_t size = mq_receive(queue, text, (size_t)attributes.mq_msgsize, &priority);
        if (size < 0)
            die("mq_receive");
        printf("%u %.*s\n", priority, (int)size, text);
        fflush(stdout);
    }
    free(text);
    mq_close(queue);
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    if (strcmp(what, "six") == 0)
        six(open_queue(argv[2], argv[3]));
    else if (strcmp(what, "say") == 0)
        say(open_queue(argv[2], argv[3]));
    else if (strcmp(what, "listen") == 0)
        listen_to(open_queue(argv[2], argv[3]));
    else if (strcmp(what, "post") == 0)
        post(argv[2]);
    else if (strcmp(what, "take") == 0)
        take(argv[2], atoi(argv[3]));
    else
        return 2;
    return 0;
}
