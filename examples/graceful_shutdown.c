/* examples/graceful_shutdown.c - on SIGTERM a parent asks its children to end, waits, and kills who does not.
 *
 * SPDX-License-Identifier: MIT
 *
 * Whoever stops a program sends SIGTERM to its first process, which must not leave the others behind.  Each child is
 * asked and has time to finish what it is about, but not for ever: one may hang. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <wherry/process.h>
#include <wherry/signal.h>

static const int ask_to_end[] = {SIGTERM};

static int fail(void)
{
    return fprintf(stderr, "%s\n", wherry_why()), 1;
}

/* The children are this program too, called with a name.  The stubborn one hears the question and does not care. */
static int child(const char *name)
{
    struct wherry_signals *signals;
    struct wherry_signal got;
    if (wherry_signals_open(ask_to_end, 1, NULL, &signals) < 0)
        return fail();
    do
        if (wherry_signals_receive(signals, &got, WHERRY_FOREVER) < 0)
            return fail();
    while (strcmp(name, "stubborn") == 0);
    return 0;
}

static int start(const char *name, struct wherry_process **ret_process)
{
    const char *const arguments[] = {"graceful_shutdown", name, NULL};
    struct wherry_process_options options = WHERRY_PROCESS_OPTIONS;
    options.blocked = ask_to_end; /* from its first instruction on: a SIGTERM that comes early waits for it */
    options.blocked_count = 1;
    options.death_signal = SIGKILL; /* if the parent is killed, and can ask nobody, the kernel ends the child */
    return wherry_process_spawn("/proc/self/exe", arguments, &options, ret_process);
}

int main(int argc, char **argv)
{
    const char *const names[] = {"polite", "stubborn"};
    const wherry_time patience[] = {10 * WHERRY_SECOND, WHERRY_SECOND / 10};
    struct wherry_process *children[2];
    struct wherry_signals *signals;
    struct wherry_signal got;
    struct wherry_exit how;
    char text[64];
    if (argc > 1)
        return child(argv[1]);
    if (wherry_signals_open(ask_to_end, 1, NULL, &signals) < 0 || start(names[0], &children[0]) < 0 ||
        start(names[1], &children[1]) < 0)
        return fail();
    if (wherry_signal_send(getpid(), SIGTERM, NULL) < 0 || /* as `kill` of a shell would, or systemd */
        wherry_signals_receive(signals, &got, WHERRY_FOREVER) < 0)
        return fail();
    for (int i = 0; i < 2; i++) /* all are asked first, so that they end at the same time */
        if (wherry_process_kill(children[i], SIGTERM) < 0)
            return fail(); /* and the kernel kills them */
    for (int i = 0; i < 2; i++) {
        int result = wherry_process_wait(children[i], wherry_after(patience[i]), &how);
        if (result == -ETIMEDOUT && wherry_process_kill(children[i], SIGKILL) == 0) /* not its number: the process */
            result = wherry_process_wait(children[i], WHERRY_FOREVER, &how);
        if (result < 0)
            return fail();
        printf("the %s child: %s\n", names[i], wherry_exit_text(&how, text, sizeof text));
        wherry_process_close(children[i]);
    }
    wherry_signals_close(signals);
    return 0;
}
