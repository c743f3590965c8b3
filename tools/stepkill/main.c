/* main.c - owns the process: its signals, its exit code.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "checker.h"
#include "image.h"
#include "stepkill.h"

volatile sig_atomic_t asked_to_end, give_up;

int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int complain(int code, const char *format, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *letter = text; *letter; letter++)
        if ((unsigned char)*letter < ' ' || *letter == 0x7f)
            *letter = letter[1] ? '?' : '\0';
    fprintf(stderr, "stepkill: %s\n", text);
    return code;
}

static void on_signal(int signal)
{
    if (signal != SIGALRM)
        asked_to_end = signal;
    give_up = 1;
}

/* Without SA_RESTART: waits are to end. */
static void catch_signals(void)
{
    static const int caught[] = {SIGALRM, SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal}, old;
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        if (sigaction(caught[i], NULL, &old) == 0 && (caught[i] == SIGALRM || old.sa_handler != SIG_IGN))
            sigaction(caught[i], &action, NULL);
    signal(SIGCHLD, SIG_DFL); /* ignored, children would not be waited for */
}

int main(int argc, char **argv)
{
    struct options options;
    struct image image = {.file_count = 0};
    int code = options_read(&options, argc, argv);
    if (code >= 0) {
        options_free(&options);
        return code;
    }
    struct finding *findings = calloc(options.target_count, sizeof *findings);
    if (!findings)
        return complain(KILL_CANNOT, "%s", strerror(errno));
    catch_signals();
    check_adopt();
    size_t count = 0;
    uint64_t violations = 0;
    for (code = KILL_OK; code == KILL_OK && count < options.target_count; count++) {
        code = explore(&options, &image, &options.targets[count], &findings[count]);
        violations += findings[count].violations;
        if (options.first_only && violations > 0) {
            count++;
            break;
        }
    }
    /* of a function that could not be begun there is nothing to tell */
    size_t told = code == KILL_OK || findings[count - 1].points > 0 ? count : count - 1;
    if (!options.quiet && told > 0)
        (options.json ? report_json : report_text)(&options, findings, told);
    if (fflush(stdout) != 0)
        code = complain(KILL_CANNOT, "standard output: %s", strerror(errno));
    for (size_t i = 0; i < count; i++)
        finding_free(&findings[i]);
    free(findings);
    image_close(&image);
    options_free(&options);
    return code == KILL_OK && violations > 0 ? KILL_VIOLATIONS : code;
}
