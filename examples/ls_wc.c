/* examples/ls_wc.c [DIRECTORY...] - `ls DIRECTORY | wc -l`, for each, and how both of its processes ended.
 *
 * SPDX-License-Identifier: MIT
 *
 * Both are started, the output of the one being the input of the other, or none is.  A shell tells how the last one
 * ended; but where ls finds no directory, wc counts nothing and ends well. */
#include <signal.h>
#include <stdio.h>
#include <wherry/wherry.h>

static int count(const char *directory)
{
    const char *const list[] = {"ls", "-A", "--", directory, NULL};
    const char *const lines[] = {"wc", "-l", NULL};
    const struct wherry_command commands[] = {{"ls", list, NULL}, {"wc", lines, NULL}};
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline;
    struct wherry_exit exits[2];
    char text[64];
    options.death_signal = SIGKILL;      /* they end with this program, however it ends */
    options.error = WHERRY_PROCESS_NULL; /* ls would complain there */
    if (wherry_pipeline_start(commands, 2, &options, &pipeline) < 0)
        return fprintf(stderr, "%s\n", wherry_why()), 1;
    int result = wherry_pipeline_wait(pipeline, wherry_after(10 * WHERRY_SECOND), exits);
    if (result < 0) { /* one of them hangs: end it, and leave nobody behind */
        fprintf(stderr, "%s\n", wherry_why());
        wherry_pipeline_stop(pipeline, SIGTERM, wherry_after(WHERRY_SECOND));
    }
    for (int i = 0; result == 0 && i < 2; i++)
        printf("%s %s\n", commands[i].program, wherry_exit_text(&exits[i], text, sizeof text));
    wherry_pipeline_close(pipeline);
    return result < 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 2 ? count(".") : 0;
    setvbuf(stdout, NULL, _IOLBF, 0); /* wc writes to the same place: keep the order */
    for (int i = 1; i < argc; i++)
        failed |= count(argv[i]);
    return failed;
}
