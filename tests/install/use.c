/* use.c - a program of somebody who has wherry installed: C11 and C++17, with WITH_INSPECT for libwherry-inspect too.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <wherry/wherry.h>
#ifdef WITH_INSPECT
#include <wherry/inspect.h>
#endif

int main(void)
{
    struct wherry_channel *ends[2];
    char text[64];
    size_t size;
    wherry_time deadline = wherry_after(20 * WHERRY_SECOND);
    if (wherry_channel_pair("socketpair:", NULL, ends) < 0 ||
        wherry_channel_send(ends[0], "hello there", 11, deadline) < 0 ||
        wherry_channel_receive(ends[1], text, sizeof text, &size, deadline) != 1)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    wherry_channel_close(ends[0], WHERRY_NOW);
    wherry_channel_close(ends[1], WHERRY_NOW);
    printf("%.*s, %s\n", (int)size, text, wherry_version());
#ifdef WITH_INSPECT
    struct wherry_inspect *snapshot;
    if (wherry_inspect_take(NULL, &snapshot) < 0)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    printf("%s\n", wherry_inspect_process(snapshot, 0) ? "processes" : "no processes");
    wherry_inspect_free(snapshot);
#endif
    return 0;
}
