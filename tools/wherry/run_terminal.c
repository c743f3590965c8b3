/* run_terminal.c - owns the terminal of a command that runs in a process group of its own: who is in its foreground.
 *
 * SPDX-License-Identifier: MIT
 *
 * The command gets it as soon as it runs.  Should it have asked for it in that instant and been stopped, it is woken.
 * When it is stopped, so is this process, whom the shell waits for; when the shell continues us, it is continued. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "run.h"

void terminal_open(struct run_terminal *terminal)
{
    *terminal = (struct run_terminal){.fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), .own = getpgrp()};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGTTOU, &ignore, NULL); /* or taking it back from the background would stop us */
}

void terminal_give(struct run_terminal *terminal, pid_t child)
{
    terminal->child = child;
    if (terminal->fd >= 0 && tcgetpgrp(terminal->fd) == terminal->own)
        terminal->given = tcsetpgrp(terminal->fd, child) == 0;
}

void terminal_take_back(struct run_terminal *terminal)
{
    if (terminal->given)
        (void)tcsetpgrp(terminal->fd, terminal->own);
    terminal->given = false;
}

/* Whether somebody is there who would continue us: a shell in our session, but not in our group. */
static bool may_be_continued(void)
{
    pid_t parent = getppid();
    return parent > 0 && getsid(parent) == getsid(0) && getpgid(parent) != getpgrp();
}

void terminal_child_stopped(struct run_terminal *terminal, int number)
{
    if (terminal->fd < 0)
        return;
    bool wants_it = number == SIGTTIN || number == SIGTTOU;
    if (wants_it && tcgetpgrp(terminal->fd) == terminal->child) {
        kill(-terminal->child, SIGCONT); /* it has it by now */
        return;
    }
    if (may_be_continued()) {
        terminal_take_back(terminal);
        kill(0, SIGSTOP); /* here we stay until we are continued */
        terminal_give(terminal, terminal->child);
        kill(-terminal->child, SIGCONT);
    } else if (number == SIGTSTP) {
        kill(-terminal->child, SIGCONT); /* nobody could */
    }
}

void terminal_close(struct run_terminal *terminal)
{
    terminal_take_back(terminal);
    if (terminal->fd >= 0)
        close(terminal->fd);
    terminal->fd = -1;
}
