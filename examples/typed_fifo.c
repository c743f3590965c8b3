/* examples/typed_fifo.c [FIFO] - what somebody types into a FIFO, line by line, until the line "bye".
 *
 * SPDX-License-Identifier: MIT
 *
 *     typed_fifo ./typed        in one terminal; and in another, as often as you like:
 *     echo hello >./typed
 *     cat >./typed
 *
 * frame=line says that a message is a line: whatever can write to a file can write here, and needs no wherry. */
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>

static int fail(void)
{
    return fprintf(stderr, "%s\n", wherry_why()), 1;
}

int main(int argc, char **argv)
{
    struct wherry_channel *channel;
    struct wherry_info info;
    char url[4096], line[256] = "";
    int number = 0, result = 1;
    if (snprintf(url, sizeof url, "fifo:%s?frame=line", argc > 1 ? argv[1] : "./typed") >= (int)sizeof url)
        return fputs("too long a path\n", stderr), 1;
    /* Makes the FIFO if there is none, and removes at the close what it made.  Nobody need have it open yet. */
    if (wherry_channel_open(url, WHERRY_RECEIVE, NULL, WHERRY_NOW, &channel) < 0)
        return fail();
    while (result >= 0 && strcmp(line, "bye") != 0) {
        result = wherry_channel_receive_info(channel, line, sizeof line - 1, &info, WHERRY_FOREVER);
        if (result <= 0)
            continue; /* 0: everybody who had it open has gone; the next call waits for the next one to come */
        line[info.size] = '\0';
        printf("%d: %s%s\n", ++number, line, info.flags & WHERRY_INCOMPLETE ? " (without an end of line)" : "");
        fflush(stdout); /* now, and not when 4096 bytes have come together */
    }
    if (result < 0)
        fail();
    wherry_channel_close(channel, WHERRY_NOW);
    return result < 0;
}
