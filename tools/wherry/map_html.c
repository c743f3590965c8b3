/* map_html.c - owns the map as a page: what embed.py made of map.html, map.css and map*.js, and the data in between.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "map.h"
#include "map_page.h"

static void put_lines(struct output *output, const char *const *lines)
{
    for (; *lines; lines++)
        output_bytes(output, *lines, strlen(*lines));
}

bool map_page(const struct map *map, struct output *output)
{
    put_lines(output, page_before);
    bool fine = map_json_embedded(map, output);
    put_lines(output, page_after);
    return fine;
}
