/* examples/supervise.c - two programs kept running, the second once the first is ready, in a loop of one's own.
 *
 * SPDX-License-Identifier: MIT
 *
 * The second is killed on purpose, once, and started again; then both are stopped, in order: the one that needs the
 * other first. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <wherry/wherry.h>

/* `data` counts how often the worker has been ready. */
static void on_change(void *data, const struct wherry_unit_status *unit)
{
    int *ready = data;
    printf("%s is %s%s%s\n", unit->name, wherry_unit_state_name(unit->state), unit->why[0] ? ": " : "", unit->why);
    if (unit->name[0] == 'w' && unit->state == WHERRY_UNIT_READY && unit->starts > 0)
        ++*ready;
}

int main(void)
{
    int ready = 0;
    struct wherry_supervisor_options options = WHERRY_SUPERVISOR_OPTIONS;
    struct wherry_unit_options base = WHERRY_UNIT_OPTIONS, worker = WHERRY_UNIT_OPTIONS;
    struct wherry_supervisor *supervisor;
    options.on_change = on_change;
    options.data = &ready;
    base.arguments = (const char *const[]){"sh", "-c", "sleep 0.1; echo >&3; exec sleep 1000", NULL};
    base.ready = WHERRY_READY_FD; /* a line on descriptor 3 */
    worker.arguments = (const char *const[]){"sh", "-c", "exec sleep 1000", NULL};
    worker.after = (const char *const[]){"base", NULL};
    worker.restart = WHERRY_RESTART_ALWAYS;
    if (wherry_supervisor_open(&options, &supervisor) < 0 || wherry_supervisor_add(supervisor, "base", &base) < 0 ||
        wherry_supervisor_add(supervisor, "worker", &worker) < 0) {
        fprintf(stderr, "%s\n", wherry_why());
        return 1;
    }
    struct pollfd wake = {.fd = wherry_supervisor_fd(supervisor), .events = POLLIN};
    bool killed = false, stopped = false;
    int result;
    while ((result = wherry_supervisor_dispatch(supervisor, WHERRY_NOW)) > 0 || result == -EAGAIN) {
        if (result == -EAGAIN)
            poll(&wake, 1, -1); /* with whatever else the program waits for */
        if (ready == 1 && !killed)
            killed = wherry_supervisor_signal(supervisor, "worker", SIGKILL) == 0;
        if (ready == 2 && !stopped)
            stopped = wherry_supervisor_stop(supervisor, NULL) == 0;
    }
    if (result < 0)
        fprintf(stderr, "%s\n", wherry_why());
    wherry_supervisor_close(supervisor);
    return result < 0;
}
