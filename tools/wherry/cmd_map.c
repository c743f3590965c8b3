/* cmd_map.c - `wherry map`: the host as a graph of processes joined by what they share.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "inventory.h"
#include "map.h"

enum { OPTION_PID = OPTION_FIRST, OPTION_DEPTH, OPTION_ARGS, OPTION_DOT, OPTION_JSON, OPTION_HTML };

struct request {
    struct options options;
    struct map_choice choice;
    bool arguments, deep;
    int form; /* OPTION_DOT, OPTION_JSON, OPTION_HTML; 0: text */
    const char *file;
};

/* ---- writing ---- */

static bool write_form(const struct request *request, const struct map *map, struct output *output)
{
    switch (request->form) {
    case OPTION_HTML:
        return map_page(map, output);
    case OPTION_JSON:
        return map_json(map, output);
    case OPTION_DOT:
        map_dot(map, output);
        return true;
    default:
        map_text(map, &request->choice, output);
        return true;
    }
}

/* 0 or the exit code, with what failed said. */
static int write_to(const struct request *request, const struct map *map, int fd, const char *name)
{
    struct output output;
    if (output_init(&output, fd) < 0)
        return complain(TOOL_FAILED, "map: no memory");
    bool fine = write_form(request, map, &output);
    int error = output_flush(&output);
    output_fini(&output);
    if (error)
        return complain(TOOL_FAILED, "%s%s: %s", request->form == OPTION_HTML ? "map: " : "", name, strerror(error));
    return fine ? TOOL_OK : complain(TOOL_FAILED, "map: no memory");
}

static int write_file(const struct request *request, const struct map *map)
{
    struct page_file file;
    int code = page_file_open(&file, request->file);
    if (code)
        return code;
    code = write_to(request, map, file.fd, request->file);
    if (code == TOOL_OK)
        return page_file_finish(&file, request->file);
    page_file_abandon(&file);
    return code;
}

static int show(const struct request *request, const struct wherry_inspect *snapshot)
{
    struct map map;
    if (map_make(&map, snapshot, &request->choice) < 0)
        return complain(TOOL_FAILED, "map: no memory");
    map.arguments = request->arguments;
    int code = request->file && strcmp(request->file, "-") != 0
                   ? write_file(request, &map)
                   : write_to(request, &map, STDOUT_FILENO, "standard output");
    if (request->options.verbose)
        note("map: %zu processes, %zu ties; %zu files that nobody can write or locks were left out", map.process_count,
             map.tie_count, map.quiet_files);
    map_free(&map);
    return code;
}

/* ---- the command line ---- */

static int take_form(struct request *request, int form)
{
    if (request->form && request->form != form)
        return misuse(request->options.verb, "--dot, --json and --html are three forms: choose one");
    request->form = form;
    if (form == OPTION_HTML)
        request->file = optarg;
    return 0;
}

static int take_depth(struct request *request)
{
    int64_t depth;
    const char *wrong = parse_number(optarg, 1, 1000, &depth);
    if (wrong)
        return misuse(request->options.verb, "--depth: %s %s", optarg, wrong);
    request->choice.depth = (size_t)depth;
    request->deep = true;
    return 0;
}

static int take_option(struct request *request, int option)
{
    switch (option) {
    case OPTION_PID:
        return inventory_pid(request->options.verb, optarg, &request->choice.pid);
    case OPTION_DEPTH:
        return take_depth(request);
    case OPTION_ARGS:
        request->arguments = true;
        return 0;
    case 'J':
        return take_form(request, OPTION_JSON);
    default:
        return take_form(request, option);
    }
}

static int parse(struct request *request, int argc, char **argv)
{
    static const struct option longs[] = {
        COMMON_LONG,
        LONG("pid", required_argument, OPTION_PID),
        LONG("depth", required_argument, OPTION_DEPTH),
        LONG("args", no_argument, OPTION_ARGS),
        LONG("dot", no_argument, OPTION_DOT),
        LONG("json", no_argument, 'J'),
        LONG("html", required_argument, OPTION_HTML),
        {0},
    };
    const struct verb *verb = request->options.verb;
    int option, code = 0;
    while ((option = options_next(&request->options, argc, argv, COMMON_SHORT "J", longs)) >= 0)
        if ((code = take_option(request, option)))
            return code;
    if (option == OPTION_STOP)
        return request->options.code;
    if (request->deep && !request->choice.pid)
        return misuse(verb, "--depth counts steps from a process: name it with --pid");
    return inventory_kinds(verb, argv + optind, argc - optind, &request->choice.kinds);
}

static int run(const struct verb *verb, int argc, char **argv)
{
    struct request request = {.options = options_of(verb), .choice = {.depth = 1}};
    struct wherry_inspect_options what = WHERRY_INSPECT_OPTIONS;
    struct wherry_inspect *snapshot;
    request.options.code = -1;
    int code = parse(&request, argc, argv);
    if (code || request.options.code >= 0)
        return code;
    what.kinds = request.choice.kinds;
    what.flags = WHERRY_INSPECT_WAITERS | (request.arguments ? WHERRY_INSPECT_ARGUMENTS : 0);
    code = inventory_take(&request.options, &what, &snapshot);
    if (code)
        return code;
    if (request.choice.pid && !wherry_inspect_process_of(snapshot, request.choice.pid))
        code = complain(TOOL_FAILED, "map: there is no process %d", (int)request.choice.pid);
    else
        code = show(&request, snapshot);
    return inventory_finish(&request.options, snapshot, code);
}

const struct verb verb_map = {
    .name = "map",
    .summary = "who is joined to whom",
    .operands = "[TYPE...]",
    .help = INVENTORY_TYPES
            "\n"
            "      --pid PID      this process and those it shares something with\n"
            "      --depth N      with --pid: and those N steps away, not one\n"
            "      --args         with command lines, which may hold secrets\n"
            "      --dot          for graphviz\n"
            "  -J, --json         as JSON\n"
            "      --html FILE    a page of its own, to be looked at in a browser;\n"
            "                     -: to standard output\n",
    .examples = "Examples:\n"
                "  wherry map                      all of it, as text\n"
                "  wherry map --pid 4711           who a process is joined to\n"
                "  wherry map --html=map.html      to search, filter and zoom\n"
                "  wherry map --dot pipe | dot -Tsvg >pipes.svg\n",
    .run = run,
};
