/* top_loop.c - owns the terminal while `wherry top` is on it, and the signals: whatever ends or stops the command, the
 * terminal is as it was.
 *
 * SPDX-License-Identifier: MIT
 *
 * Signals are blocked and read from a descriptor, so that none comes while curses is at work.  Nothing is drawn while
 * the terminal takes nothing (^S).  Should it be held in the midst of a drawing, the write waits; so while it draws,
 * signals that end the command do so from their handler, without curses. */
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "top.h"

struct live {
    struct top *top;
    struct top_view *view;
    struct top_screen screen;
    sigset_t signals, before;
    int signal_fd;
    wherry_time next; /* look */
    bool dirty;
    int code; /* -1: it goes on */
};

/* ---- the terminal ---- */

static int cannot(const char *why)
{
    return complain(TOOL_FAILED, "top: %s; `wherry top --batch -c 1` prints a table", why);
}

static int check_terminal(void)
{
    const char *type = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return cannot("standard input and output are no terminal");
    if (!type || !type[0] || strcmp(type, "dumb") == 0)
        return cannot(type && type[0] ? "a terminal of TERM=dumb cannot move its cursor" : "TERM is not set");
    return 0;
}

static bool wants_colors(const struct options *options)
{
    const char *none = getenv("NO_COLOR");
    return options->color == COLOR_ALWAYS || (options->color == COLOR_AUTO && !(none && none[0]));
}

static bool has_room(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&output, 1, 0) > 0 && output.revents & POLLOUT;
}

/* Held by ^S, or by who reads it no more, the terminal would have the end wait for it: it is let go, and what it did
 * not take is thrown away. */
static void leave(void)
{
    if (!has_room()) {
        tcflush(STDOUT_FILENO, TCOFLUSH);
        tcflow(STDOUT_FILENO, TCOOFF); /* or TCOON would not undo ^S */
        tcflow(STDOUT_FILENO, TCOON);
    }
    endwin();
}

static void resize(void)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0)
        resizeterm(size.ws_row, size.ws_col);
    clearok(curscr, TRUE);
}

/* ---- signals ---- */

static int open_signals(struct live *live)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
    sigemptyset(&live->signals);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&live->signals, numbers[i]);
    live->signal_fd = signalfd(-1, &live->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (live->signal_fd < 0)
        return complain(TOOL_FAILED, "top: no descriptor to hear signals by: %s", strerror(errno));
    sigprocmask(SIG_BLOCK, &live->signals, &live->before);
    return 0;
}

static void close_signals(struct live *live)
{
    sigprocmask(SIG_SETMASK, &live->before, NULL);
    close(live->signal_fd);
}

/* ---- the end in the midst of a drawing ---- */

static struct {
    struct termios modes;
    char sequences[128]; /* that have the terminal as it was */
    size_t length;
} last_words;

static void remember_sequence(const char *capability)
{
    const char *sequence = tigetstr((NCURSES_CONST char *)capability);
    size_t length = sequence && sequence != (const char *)-1 ? strlen(sequence) : 0;
    if (last_words.length + length > sizeof last_words.sequences)
        return;
    memcpy(last_words.sequences + last_words.length, sequence ? sequence : "", length);
    last_words.length += length;
}

/* What is only half written is cut off by CAN. */
static void remember_the_end(void)
{
    static const char *const capabilities[] = {"sgr0", "rmcup", "cnorm", "rmkx"};
    last_words.sequences[last_words.length++] = 0x18;
    for (size_t i = 0; i < sizeof capabilities / sizeof *capabilities; i++)
        remember_sequence(capabilities[i]);
}

/* All of these are async-signal-safe. */
static void abandon(int number)
{
    tcflush(STDOUT_FILENO, TCOFLUSH);
    tcflow(STDOUT_FILENO, TCOOFF); /* or TCOON would not undo ^S */
    tcflow(STDOUT_FILENO, TCOON);
    (void)!write(STDOUT_FILENO, last_words.sequences, last_words.length);
    tcsetattr(STDOUT_FILENO, TCSANOW, &last_words.modes);
    _exit(TOOL_SIGNAL + number);
}

static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

enum { ENDS = sizeof ends / sizeof *ends };

static void install_ends(void)
{
    struct sigaction action = {.sa_handler = abandon}, before;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < ENDS; i++)
        if (sigaction(ends[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(ends[i], &action, NULL); /* curses' own would not do while it writes */
}

static void let_ends_through(int how)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ENDS; i++)
        sigaddset(&set, ends[i]);
    sigprocmask(how, &set, NULL);
}

/* ---- stopping ---- */

/* Stop as the shell expects it, with the terminal given back; here it goes on. */
static void stop(struct live *live)
{
    struct sigaction usual = {.sa_handler = SIG_DFL}, ours;
    sigset_t only;
    leave();
    sigemptyset(&only);
    sigaddset(&only, SIGTSTP);
    sigaction(SIGTSTP, &usual, &ours); /* curses has a handler there */
    raise(SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
    sigprocmask(SIG_BLOCK, &only, NULL);
    sigaction(SIGTSTP, &ours, NULL);
    live->dirty = true;
}

static void on_signal(struct live *live, int number)
{
    live->dirty = true;
    if (number == SIGTSTP)
        stop(live);
    else if (number == SIGCONT)
        reset_prog_mode(); /* whoever stopped us by SIGSTOP did not let us give the terminal back */
    else if (number != SIGWINCH)
        live->code = TOOL_SIGNAL + number;
    if (live->code < 0)
        resize();
}

static void take_signals(struct live *live)
{
    struct signalfd_siginfo got;
    while (live->code < 0 && read(live->signal_fd, &got, sizeof got) == (ssize_t)sizeof got)
        on_signal(live, (int)got.ssi_signo);
}

/* ---- looking, drawing, keys ---- */

/* The next is after it, and not before four times what it took: on a crowded host it takes a fifth of a processor at
 * most. */
static void look(struct live *live)
{
    wherry_time began = wherry_now();
    int result = top_look(live->top, NULL);
    wherry_time now = wherry_now(), rest = 4 * (now - began);
    snprintf(live->screen.sentence, sizeof live->screen.sentence, "%s", result < 0 ? wherry_why() : "");
    live->next = now + (rest > live->screen.interval ? rest : live->screen.interval);
    live->dirty = true;
}

static void draw(struct live *live)
{
    if (!live->dirty || !has_room())
        return;
    if (!top_view_update(live->view, live->top)) {
        live->code = TOOL_FAILED;
        return;
    }
    let_ends_through(SIG_UNBLOCK);
    top_draw(&live->screen, live->top, live->view);
    let_ends_through(SIG_BLOCK);
    live->dirty = false;
}

static void take_keys(struct live *live)
{
    wint_t key;
    int kind;
    wherry_time interval = live->screen.interval;
    while (live->code < 0 && (kind = get_wch(&key)) != ERR) {
        bool wants_look = false;
        live->dirty = true;
        if (!top_key(&live->screen, live->view, key, kind == KEY_CODE_YES, &wants_look))
            live->code = TOOL_OK;
        if (wants_look)
            look(live);
    }
    if (live->screen.interval != interval)
        live->next = wherry_now() + live->screen.interval;
}

static void wait_for_something(struct live *live)
{
    struct pollfd fds[] = {
        {.fd = live->signal_fd, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
        /* while it takes nothing, for the moment when it does */
        {.fd = live->dirty ? STDOUT_FILENO : -1, .events = POLLOUT},
    };
    wherry_time left = live->screen.paused ? WHERRY_SECOND : live->next - wherry_now();
    struct timespec span = {.tv_sec = 0};
    if (left > 0)
        span = (struct timespec){.tv_sec = left / WHERRY_SECOND, .tv_nsec = left % WHERRY_SECOND};
    if (ppoll(fds, 3, live->screen.paused && !live->dirty ? NULL : &span, NULL) <= 0)
        return;
    if (fds[0].revents)
        take_signals(live);
    if (live->code < 0 && fds[1].revents & POLLIN)
        take_keys(live);
    else if (live->code < 0 && fds[1].revents)
        live->code = TOOL_SIGNAL + SIGHUP; /* the terminal is gone */
}

static void set_terminal(void)
{
    cbreak(); /* keys as they come; ^C, ^Z and ^S are the terminal's as ever */
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25); /* ms in which the rest of a key's sequence comes, or it was Esc */
    curs_set(0);
}

static void go(struct live *live)
{
    set_terminal();
    look(live);
    while (live->code < 0) {
        if (!live->screen.paused && wherry_now() >= live->next)
            look(live);
        draw(live);
        if (live->code < 0)
            wait_for_something(live);
    }
}

int top_live(struct top *top, struct top_view *view, const struct options *options, wherry_time interval)
{
    struct live live = {.top = top, .view = view, .screen = {.interval = interval}, .code = -1};
    int code = check_terminal();
    if (code == 0)
        code = open_signals(&live);
    if (code != 0)
        return code;
    tcgetattr(STDOUT_FILENO, &last_words.modes);
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (!screen) {
        close_signals(&live);
        return cannot("curses does not know this terminal (TERM)");
    }
    remember_the_end();
    install_ends();
    top_colors(&live.screen, wants_colors(options));
    go(&live);
    leave();
    delscreen(screen);
    close_signals(&live);
    return live.code;
}
