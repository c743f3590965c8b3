/* examples/finish_line.c - a signal comes in the middle of a line; the line is finished, and then the program ends.
 *
 * SPDX-License-Identifier: MIT
 *
 *     finish_line         prints line after line; type ^C, or send it SIGTERM
 *     finish_line 3       sends itself SIGTERM in the middle of line 3
 *
 * SIGINT and SIGTERM end a program wherever it is, half a line printed.  A handler of one's own runs just as suddenly,
 * within printf too, and may hardly do anything there.  So the signals are blocked and taken from a descriptor, as
 * messages are, at a place where ending does no harm. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <wherry/signal.h>

static int fail(void)
{
    return fprintf(stderr, "%s\n", wherry_why()), 1;
}

static int print_line(int line, int middle)
{
    printf("line %d: to be, ", line);
    if (line == middle && wherry_signal_send(getpid(), SIGTERM, NULL) < 0) /* as kill(1) does, from elsewhere */
        return fail();
    printf("or not to be\n");
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    const int ends[] = {SIGINT, SIGTERM};
    struct wherry_signals *signals;
    struct wherry_signal got;
    char name[WHERRY_SIGNAL_NAME];
    int result, middle = argc > 1 ? atoi(argv[1]) : 0;

    if (wherry_signals_open(ends, 2, NULL, &signals) < 0) /* from here on they wait until they are received */
        return fail();
    for (int line = 1;; line++) {
        if (print_line(line, middle) != 0)
            return 1;
        /* between two lines: the pause is the wait for a signal, and ends at once when one comes */
        result = wherry_signals_receive(signals, &got, wherry_after(WHERRY_SECOND / 10));
        if (result != -ETIMEDOUT)
            break;
    }
    if (result < 0)
        return fail();
    printf("%s came, and the last line is whole\n", wherry_signal_name(got.number, name, sizeof name));
    wherry_signals_close(signals); /* from here on they do again what they did before */
    return 0;
}
