/* examples/zero_copy.c [MEBIBYTES] - two gigabytes are handed to another process, in a message of four bytes.
 *
 * SPDX-License-Identifier: MIT
 *
 * What goes over the socket is a descriptor of the memory.  The memory has no name that anybody could guess; its size
 * is sealed, so that neither side can take it away under the other; and it goes with the last who has it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wherry/wherry.h>

static _Noreturn void fail(const char *who)
{
    fprintf(stderr, "%s: %s\n", who, wherry_why());
    _exit(1);
}

static int receiver(struct wherry_channel *channel)
{
    struct wherry_segment_options options = WHERRY_SEGMENT_OPTIONS;
    struct wherry_segment *segment;
    struct wherry_info info;
    const wherry_time deadline = wherry_after(20 * WHERRY_SECOND);
    char word[16];
    int fd;
    options.write = true;
    if (wherry_channel_receive_with_fds(channel, word, sizeof word, &fd, 1, &info, deadline) != 1 ||
        info.fd_count != 1 || wherry_segment_open_fd(fd, &options, &segment) < 0) /* refused if it is not sealed */
        fail("receiver");
    close(fd);
    char *data = wherry_segment_data(segment);
    const uint64_t size = wherry_segment_size(segment);
    printf("the receiver has %" PRIu64 " MiB, from '%c' to '%c'\n", size >> 20, data[0], data[size - 1]);
    fflush(stdout);
    data[0] = 'B';
    wherry_segment_close(segment);
    return wherry_channel_send(channel, "done", 4, deadline) < 0 || wherry_channel_close(channel, deadline) < 0;
}

int main(int argc, char **argv)
{
    const uint64_t size = (uint64_t)(argc > 1 ? strtoul(argv[1], NULL, 10) : 2048) << 20;
    struct wherry_channel *pair[2];
    struct wherry_segment *segment;
    struct wherry_segment_stat memory;
    struct wherry_channel_stats sent;
    char word[16];
    size_t length;
    const wherry_time deadline = wherry_after(20 * WHERRY_SECOND);
    if (wherry_channel_pair("socketpair:?inheritable=1&fds=1", NULL, pair) < 0)
        fail("sender");
    pid_t child = fork(); /* before the memory is made: nothing of it is inherited */
    if (child == 0)
        _exit(receiver(pair[1]));
    wherry_channel_close(pair[1], WHERRY_NOW);
    if (wherry_segment_create(NULL, size, NULL, &segment) < 0)
        fail("sender"); /* all of it is reserved: too much is an error here, and no crash later */
    char *data = wherry_segment_data(segment);
    data[0] = 'A';
    data[size - 1] = 'Z';
    if (wherry_segment_publish(segment) < 0) /* seals its size */
        fail("sender");
    const int fd = wherry_segment_fd(segment);
    const struct wherry_message message = {.data = "take", .size = 4, .fds = &fd, .fd_count = 1};
    if (wherry_channel_send_message(pair[0], &message, 0, deadline) < 0 ||
        wherry_channel_receive(pair[0], word, sizeof word, &length, deadline) != 1 ||
        wherry_channel_stats(pair[0], &sent, sizeof sent) < 0 ||
        wherry_segment_stat_open(segment, &memory, sizeof memory) < 0)
        fail("sender");
    printf("the sender sent %" PRIu64 " bytes and finds '%c' in its memory\n", sent.sent_bytes, data[0]);
    printf("both together took %s\n", memory.resident <= size ? "no more than that" : "more than that");
    wherry_segment_close(segment);
    wherry_channel_close(pair[0], WHERRY_NOW);
    int status = 1;
    return waitpid(child, &status, 0) != child || status != 0;
}
