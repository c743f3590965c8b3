/* examples/server.c - a concurrent server: two workers answer four clients, and SIGTERM loses no request.
 *
 * SPDX-License-Identifier: MIT
 *
 * A process that answers one client after the other lets all wait for the slowest.  Here a master listens and forks
 * workers, which accept from one socket.  It replaces one that dies; on SIGTERM what has come is still answered. */
#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/channel.h>
#include <wherry/server.h>

/* In a worker, once for each request: it comes back in capitals. */
static int answer(struct wherry_channel *channel, const struct wherry_loan *request, void *data)
{
    char text[256];
    size_t size = request->info.size < sizeof text ? request->info.size : sizeof text;
    struct wherry_message reply = {.data = text, .size = size, .to = request->info.peer.id};
    (void)data;
    for (size_t i = 0; i < size; i++)
        text[i] = (char)toupper(((const unsigned char *)request->data)[i]);
    return wherry_channel_send_message(channel, &reply, 0, wherry_after(WHERRY_SECOND)); /* < 0: drop this client */
}

/* In the master. */
static void tell(const struct wherry_server_event *event, void *data)
{
    (void)data;
    if ((event->kind == WHERRY_SERVER_ENDED && event->status != 0) || event->kind == WHERRY_SERVER_NOT_STARTED)
        fprintf(stderr, "%s\n", event->text);
}

/* All four are connected before the first asks, and the last one asks first. */
static int clients(const char *url)
{
    const char *const questions[4] = {"first", "second", "third", "fourth"};
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    struct wherry_channel *client[4];
    char text[256];
    size_t size;
    wherry_time deadline = wherry_after(5 * WHERRY_SECOND); /* it waits for the server, too */
    options.side = WHERRY_CONNECT;
    for (int i = 0; i < 4; i++)
        if (wherry_channel_open(url, WHERRY_BOTH, &options, deadline, &client[i]) < 0)
            return fprintf(stderr, "%s\n", wherry_why()), 1;
    for (int i = 3; i >= 0; i--) {
        if (wherry_channel_send(client[i], questions[i], strlen(questions[i]), deadline) < 0 ||
            wherry_channel_receive(client[i], text, sizeof text, &size, deadline) != 1)
            return fprintf(stderr, "%s\n", wherry_why()), 1;
        printf("%s: %.*s\n", questions[i], (int)size, text);
    }
    for (int i = 0; i < 4; i++)
        wherry_channel_close(client[i], deadline); /* all that was sent was answered */
    return 0;
}

int main(void)
{
    const char *url = "unix:./example-server";
    struct wherry_server_options options = WHERRY_SERVER_OPTIONS;
    int status;
    options.workers = 2;
    options.event = tell;
    pid_t master = getpid(), child = fork();
    if (child == 0) {
        status = clients(url);
        kill(master, SIGTERM); /* in any case, or the server would go on */
        return status;
    }
    if (child < 0)
        return perror("fork"), 1;
    int result = wherry_server_run(url, &options, answer, NULL); /* until SIGTERM */
    if (result < 0)
        fprintf(stderr, "%s\n", wherry_why());
    return waitpid(child, &status, 0) < 0 || status != 0 || result < 0;
}
