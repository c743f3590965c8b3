/* examples/pipeline.c - three programs as in `seq 1 N | grep 7 | wc -l`, with every exit status and a deadline for all.
 *
 * SPDX-License-Identifier: MIT
 *
 *     pipeline 1000 */
#include <signal.h>
#include <stdio.h>
#include <wherry/process.h>

int main(int argc, char **argv)
{
    const char *const make[] = {"seq", "1", argc > 1 ? argv[1] : "1000", NULL};
    const char *const pick[] = {"grep", "7", NULL};
    const char *const count[] = {"wc", "-l", NULL};
    const struct wherry_command commands[] = {{"seq", make, NULL}, {"grep", pick, NULL}, {"wc", count, NULL}};
    struct wherry_pipeline_options options = WHERRY_PIPELINE_OPTIONS;
    struct wherry_pipeline *pipeline;
    struct wherry_exit exits[3];
    char text[64];

    options.death_signal = SIGKILL; /* they end with this program, however it ends */
    if (wherry_pipeline_start(commands, 3, &options, &pipeline) < 0) {
        fprintf(stderr, "%s\n", wherry_why()); /* none of them is left */
        return 1;
    }
    if (wherry_pipeline_wait(pipeline, wherry_after(10 * WHERRY_SECOND), exits) < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        wherry_pipeline_stop(pipeline, SIGTERM, wherry_after(WHERRY_SECOND));
        wherry_pipeline_close(pipeline);
        return 1;
    }
    for (int i = 0; i < 3; i++)
        printf("%s %s\n", commands[i].program, wherry_exit_text(&exits[i], text, sizeof text));
    wherry_pipeline_close(pipeline);
    return 0;
}
