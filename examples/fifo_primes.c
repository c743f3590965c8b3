/* examples/fifo_primes.c write|read FIFO - 768,000 integers go through a FIFO, and the primes are counted as they
 * come.
 *
 * SPDX-License-Identifier: MIT
 *
 *     fifo_primes read fifo:./numbers & fifo_primes write fifo:./numbers
 *
 * A message for each integer would be a system call for each.  A thousand of them are 4000 bytes, which with the
 * message's header go into one write that the kernel keeps in one piece (PIPE_BUF is 4096), so that there might be
 * several writers.  The FIFO holds 64 KiB: who is too fast waits for the other. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>

enum { NUMBERS = 768000, EACH = 1000 };

static int fail(const char *who)
{
    return fprintf(stderr, "%s: %s\n", who, wherry_why()), 1;
}

static bool is_prime(uint32_t number)
{
    if (number < 4 || number % 2 == 0)
        return number == 2 || number == 3;
    for (uint32_t i = 3; i * i <= number; i += 2)
        if (number % i == 0)
            return false;
    return true;
}

static int writer(const char *url)
{
    struct wherry_channel *channel;
    uint32_t block[EACH];
    const wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    if (wherry_channel_open(url, WHERRY_SEND, NULL, deadline, &channel) < 0) /* waits for the FIFO, and for a reader */
        return fail("writer");
    for (uint32_t first = 1; first <= NUMBERS; first += EACH) {
        for (uint32_t i = 0; i < EACH; i++)
            block[i] = first + i;
        if (wherry_channel_send(channel, block, sizeof block, deadline) < 0)
            return fail("writer");
    }
    return wherry_channel_close(channel, deadline) < 0 ? fail("writer") : 0;
}

static int reader(const char *url)
{
    struct wherry_channel *channel;
    uint32_t block[EACH];
    size_t size, count = 0, primes = 0;
    int result;
    const wherry_time deadline = wherry_after(60 * WHERRY_SECOND);
    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0) /* makes the FIFO */
        return fail("reader");
    while ((result = wherry_channel_receive(channel, block, sizeof block, &size, deadline)) == 1)
        for (size_t i = 0; i < size / sizeof block[0]; i++) {
            count++;
            primes += is_prime(block[i]);
        }
    if (result < 0)
        fail("reader");
    wherry_channel_close(channel, WHERRY_NOW); /* removes it */
    printf("%zu numbers, %zu of them prime\n", count, primes);
    return result < 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && (!strcmp(argv[1], "write") || !strcmp(argv[1], "read")))
        return argv[1][0] == 'w' ? writer(argv[2]) : reader(argv[2]);
    return fprintf(stderr, "usage: %s write|read FIFO\n", argv[0]), 2;
}
