/* top_screen.c - owns what `wherry top` draws, and what its keys do.
 *
 * SPDX-License-Identifier: MIT
 *
 * Columns come and go with the width; each text is cut to its place by the columns that its characters take, and what
 * is no character of the locale, or takes none, is a question mark. */
#define NCURSES_NOMACROS 1
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

#include "text.h"
#include "top.h"

enum { PAIR_NEW = 1, PAIR_GONE = 2, MOST_COLUMNS = 1024 };

static void paint(attr_t attributes)
{
    attrset((int)attributes);
}

/* ---- text ---- */

struct cells {
    wchar_t text[MOST_COLUMNS + 1];
    int count, columns;
};

static void add_cell(struct cells *cells, wchar_t character, int width)
{
    cells->text[cells->count++] = character;
    cells->columns += width;
}

/* The end of a text that does not fit is a tilde. */
static void cut(struct cells *cells, int width)
{
    while (cells->count > 0 && cells->columns > width - 1)
        cells->columns -= wcwidth(cells->text[--cells->count]);
    add_cell(cells, L'~', 1);
}

/* Foreign text in `width` columns; how many it took. */
static int put(int row, int column, int width, const char *foreign)
{
    char text[2048];
    struct cells cells = {.count = 0};
    mbstate_t state = {0};
    if (width > MOST_COLUMNS)
        width = MOST_COLUMNS;
    escape_text(foreign, text, sizeof text);
    for (const char *at = text; width > 0 && *at;) {
        wchar_t character;
        size_t length = mbrtowc(&character, at, strlen(at), &state);
        bool is_bad = length == 0 || length > MB_LEN_MAX || wcwidth(character) < 1;
        at += length == 0 || length > MB_LEN_MAX ? 1 : length;
        if (is_bad)
            state = (mbstate_t){0};
        int columns = is_bad ? 1 : wcwidth(character);
        if (cells.columns + columns > width) {
            cut(&cells, width);
            break;
        }
        add_cell(&cells, is_bad ? L'?' : character, columns);
    }
    mvaddnwstr(row, column, cells.text, cells.count);
    return cells.columns;
}

static void put_right(int row, int column, int width, const char *text)
{
    int length = (int)strlen(text);
    put(row, column + (length < width ? width - length : 0), width, text);
}

/* ---- rows ---- */

enum { TYPE, NAME, MESSAGES, BYTES, DEPTH, LIMIT, QUEUED, HOLDERS, COLUMNS_OF_TOP };

static const struct {
    const char *heading;
    int width;          /* 0: what is left */
    int from;           /* on screens so wide */
    enum top_sort sort; /* TOP_SORTS: by none */
} columns[COLUMNS_OF_TOP] = {
    [TYPE] = {"TYPE", 9, 48, TOP_TYPE},          [NAME] = {"NAME", 0, 0, TOP_NAME},
    [MESSAGES] = {"MSG/S", 6, 28, TOP_MESSAGES}, [BYTES] = {"B/S", 6, 58, TOP_BYTES},
    [DEPTH] = {"DEPTH", 6, 16, TOP_DEPTH},       [LIMIT] = {"LIMIT", 6, 66, TOP_SORTS},
    [QUEUED] = {"QUEUED", 6, 38, TOP_QUEUED},    [HOLDERS] = {"HOLDERS", 0, 90, TOP_SORTS},
};

/* The widths of all; 0: not shown.  A blank stands before each. */
static void lay_out(int width, int widths[COLUMNS_OF_TOP])
{
    int left = width - 1; /* the mark */
    for (int i = 0; i < COLUMNS_OF_TOP; i++) {
        widths[i] = width >= columns[i].from ? columns[i].width : 0;
        left -= widths[i] ? widths[i] + 1 : 0;
    }
    if (width >= columns[HOLDERS].from) {
        widths[HOLDERS] = left / 3;
        left -= widths[HOLDERS] + 1;
    }
    widths[NAME] = left > 1 ? left - 1 : 0;
}

static void draw_headings(int row, const int widths[COLUMNS_OF_TOP], enum top_sort sort)
{
    int at = 1;
    paint(A_REVERSE);
    move(row, 0);
    for (int i = 0; i < getmaxx(stdscr); i++)
        addnstr(" ", 1);
    for (int i = 0; i < COLUMNS_OF_TOP; i++) {
        if (!widths[i])
            continue;
        paint(A_REVERSE | (columns[i].sort == sort ? A_UNDERLINE : 0));
        if (columns[i].width && i != TYPE)
            put_right(row, at + 1, widths[i], columns[i].heading);
        else
            put(row, at + 1, widths[i], columns[i].heading);
        at += widths[i] + 1;
    }
    paint(A_NORMAL);
}

/* The holders beside each other. */
static void in_a_row(const char *lines, char *text, size_t size)
{
    snprintf(text, size, "%s", lines);
    for (char *at = text; (at = strchr(at, '\n')); at++)
        *at = ' ';
}

static void draw_row(int at_row, const int widths[COLUMNS_OF_TOP], const struct top_row *row, bool colors)
{
    char number[16], holders[512];
    int at = 1;
    if (row->gone)
        paint(colors ? (attr_t)COLOR_PAIR(PAIR_GONE) : A_DIM);
    else if (row->fresh)
        paint(colors ? (attr_t)COLOR_PAIR(PAIR_NEW) : A_BOLD);
    put(at_row, 0, 1, row->gone ? "-" : row->fresh ? "+" : " ");
    in_a_row(row->holders, holders, sizeof holders);
    const double numbers[COLUMNS_OF_TOP] = {
        [MESSAGES] = row->message_rate, [BYTES] = row->byte_rate,     [DEPTH] = (double)row->messages,
        [LIMIT] = (double)row->limit,   [QUEUED] = (double)row->used,
    };
    for (int i = 0; i < COLUMNS_OF_TOP; i++) {
        if (!widths[i])
            continue;
        if (i == TYPE || i == NAME || i == HOLDERS)
            put(at_row, at + 1, widths[i],
                i == TYPE   ? wherry_inspect_kind_name(row->kind)
                : i == NAME ? row->name
                            : holders);
        else
            put_right(at_row, at + 1, widths[i],
                      top_number(number, numbers[i], i == BYTES || i == QUEUED ? 1024 : 1000));
        at += widths[i] + 1;
    }
    paint(A_NORMAL);
}

/* ---- the whole ---- */

static void draw_title(const struct top_screen *screen, const struct top *top, const struct top_view *view)
{
    char title[768];
    size_t used = 0;
    if (screen->typing)
        snprintf(title, sizeof title, "filter: %s_", view->filter);
    else if (screen->sentence[0])
        snprintf(title, sizeof title, "%s", screen->sentence);
    else {
        used += (size_t)snprintf(title, sizeof title, "%s%s%s%s%zu", screen->paused ? "paused, " : "",
                                 view->filter[0] ? "/" : "", view->filter, view->filter[0] ? ": " : "", view->count);
        if (view->count != top->count)
            used += (size_t)snprintf(title + used, sizeof title - used, " of %zu", top->count);
        used += (size_t)snprintf(title + used, sizeof title - used, top->count == 1 ? " object" : " objects");
        if (view->fresh)
            used += (size_t)snprintf(title + used, sizeof title - used, ", %zu new", view->fresh);
        if (view->gone)
            used += (size_t)snprintf(title + used, sizeof title - used, ", %zu gone", view->gone);
        if (top->hidden)
            used +=
                (size_t)snprintf(title + used, sizeof title - used, ", %llu hidden", (unsigned long long)top->hidden);
        snprintf(title + used, sizeof title - used, ", by %s%s; h: help", top_sort_name(view->sort),
                 view->reverse ? ", reversed" : "");
    }
    paint(A_BOLD);
    put(0, 0, getmaxx(stdscr), title);
    paint(A_NORMAL);
}

static void draw_help(void)
{
    static const char *const lines[] = {
        "q        end",
        "space    pause, go on",
        "a m b d u n t   by activity, messages/s, bytes/s, depth, queued bytes, name, type",
        "r        the other way round",
        "/        filter: words that all fit; type:ring, pid:4711, or a part of a name or holder",
        "Esc      no filter",
        "+ -      look more often, less often",
        "l        look now",
        "arrows, PgUp, PgDn, Home, End   move",
        "",
        "+ new, - gone.  Rates are of what counts itself: rings.",
        "Any key goes back.",
    };
    for (int i = 0; i < (int)(sizeof lines / sizeof *lines) && i < getmaxy(stdscr); i++)
        put(i, 0, getmaxx(stdscr), lines[i]);
}

void top_draw(struct top_screen *screen, const struct top *top, struct top_view *view)
{
    int widths[COLUMNS_OF_TOP], height = getmaxy(stdscr);
    size_t room = height > 2 ? (size_t)height - 2 : 0;
    erase();
    if (screen->helping) {
        draw_help();
        refresh();
        return;
    }
    if (screen->first + room > view->count)
        screen->first = view->count > room ? view->count - room : 0;
    lay_out(getmaxx(stdscr), widths);
    draw_title(screen, top, view);
    if (height > 1)
        draw_headings(1, widths, view->sort);
    for (size_t i = 0; i < room && screen->first + i < view->count; i++)
        draw_row((int)i + 2, widths, view->rows[screen->first + i], screen->colors);
    move(0, 0);
    refresh();
}

/* ---- keys ---- */

static void type_key(struct top_screen *screen, struct top_view *view, wint_t key, bool is_code)
{
    size_t length = strlen(view->filter);
    char bytes[MB_LEN_MAX];
    mbstate_t state = {0};
    if (key == '\n' || key == '\r' || (is_code && key == KEY_ENTER)) {
        screen->typing = false;
    } else if (key == 27) {
        screen->typing = false;
        view->filter[0] = 0;
    } else if (key == 127 || key == '\b' || (is_code && key == KEY_BACKSPACE)) {
        while (length > 0 && (view->filter[length - 1] & 0xc0) == 0x80) /* the rest of a character of UTF-8 */
            length--;
        view->filter[length > 0 ? length - 1 : 0] = 0;
    } else if (key == 21) { /* ^U */
        view->filter[0] = 0;
    } else if (!is_code && key >= ' ') {
        size_t size = wcrtomb(bytes, (wchar_t)key, &state);
        if (size <= sizeof bytes && length + size < sizeof view->filter) {
            memcpy(view->filter + length, bytes, size);
            view->filter[length + size] = 0;
        }
    }
    screen->first = 0;
}

static void scroll_by(struct top_screen *screen, long rows)
{
    screen->first = rows < 0 && screen->first < (size_t)-rows ? 0 : screen->first + (size_t)rows;
}

/* True: it was one that moves. */
static bool move_key(struct top_screen *screen, wint_t key, bool is_code)
{
    long page = getmaxy(stdscr) > 3 ? getmaxy(stdscr) - 2 : 1;
    if (!is_code)
        return false;
    switch (key) {
    case KEY_UP:
        scroll_by(screen, -1);
        return true;
    case KEY_DOWN:
        scroll_by(screen, 1);
        return true;
    case KEY_PPAGE:
        scroll_by(screen, -page);
        return true;
    case KEY_NPAGE:
        scroll_by(screen, page);
        return true;
    case KEY_HOME:
        screen->first = 0;
        return true;
    case KEY_END:
        screen->first = SIZE_MAX / 2; /* drawing finds the end */
        return true;
    default:
        return true; /* of no meaning here */
    }
}

static bool sort_key(struct top_view *view, wint_t key)
{
    static const char keys[TOP_SORTS] = {
        [TOP_ACTIVITY] = 'a', [TOP_MESSAGES] = 'm', [TOP_BYTES] = 'b', [TOP_DEPTH] = 'd',
        [TOP_QUEUED] = 'u',   [TOP_NAME] = 'n',     [TOP_TYPE] = 't',
    };
    for (int i = 0; i < TOP_SORTS; i++)
        if ((wint_t)keys[i] == key) {
            view->sort = (enum top_sort)i;
            return true;
        }
    return false;
}

static void change_interval(struct top_screen *screen, bool more_often)
{
    wherry_time changed = more_often ? screen->interval / 2 : screen->interval * 2;
    if (changed >= TOP_INTERVAL_LEAST && changed <= 3600 * WHERRY_SECOND)
        screen->interval = changed;
}

bool top_key(struct top_screen *screen, struct top_view *view, wint_t key, bool is_code, bool *ret_look)
{
    if (screen->helping) {
        screen->helping = false;
        return true;
    }
    if (screen->typing) {
        type_key(screen, view, key, is_code);
        return true;
    }
    if (move_key(screen, key, is_code))
        return true;
    if (sort_key(view, key)) {
        screen->first = 0;
        return true;
    }
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case ' ':
        screen->paused = !screen->paused;
        break;
    case 'r':
        view->reverse = !view->reverse;
        break;
    case '/':
        screen->typing = true;
        break;
    case 27:
        view->filter[0] = 0;
        break;
    case '+':
    case '-':
        change_interval(screen, key == '+');
        break;
    case 'h':
    case '?':
        screen->helping = true;
        break;
    case 'l':
        *ret_look = true;
        break;
    case 12: /* ^L */
        clearok(curscr, TRUE);
        break;
    default:
        break;
    }
    return true;
}

void top_colors(struct top_screen *screen, bool wanted)
{
    screen->colors = wanted && has_colors() && start_color() == OK && use_default_colors() == OK &&
                     init_pair(PAIR_NEW, COLOR_GREEN, -1) == OK && init_pair(PAIR_GONE, COLOR_RED, -1) == OK;
}
