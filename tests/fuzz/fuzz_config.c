/* tests/fuzz/fuzz_config.c - any text as a URL: an answer, within bounds, and a sentence for each refusal.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "channel/config.h"
#include "channel/transport.h"
#include "fuzz/fuzz.h"

void fuzz_config(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    unsigned flags = fuzz_byte(&input);
    char *url = malloc(input.left + 1); /* of exactly its size, so that reading behind it is seen */
    memcpy(url, input.data, input.left);
    url[input.left] = '\0';
    struct wherry__config config;
    const struct wherry__transport *transport = NULL;
    struct wherry_channel_options options = WHERRY_CHANNEL_OPTIONS;
    options.mode = flags & 8 ? 0640 : 0;
    options.frame = flags & 16 ? "line" : NULL;
    options.max_message = flags & 32 ? 4096 : 0;
    int result = wherry__config_init(&config, url, (enum wherry_role)(flags & 3), flags & 128 ? &options : NULL,
                                     flags & 4, &transport);
    fuzz_must((result == 0) == (transport != NULL), "a transport exactly on success");
    if (result == 0) {
        fuzz_must(strcmp(config.name, url) == 0, "the name is the URL");
        fuzz_must(config.max_message > 0 && config.max_message <= (size_t)1 << 30, "max_message within its bounds");
        fuzz_must(config.max_memory >= config.max_message, "max_memory no less than max_message");
        fuzz_must(config.mode > 0 && config.mode <= 0777, "a mode of permissions alone");
        fuzz_must(config.framing.kind != WHERRY__FRAME_FIXED ||
                      (config.framing.size > 0 && config.framing.size <= config.max_message),
                  "records that fit");
        fuzz_must(config.spin >= 0 && config.backlog > 0 && config.allow.count <= WHERRY__ALLOW_MAX,
                  "the rest within bounds");
    } else {
        fuzz_must(wherry_why()[0] != '\0', "a sentence");
        fuzz_must(result == -EINVAL || result == -EPROTONOSUPPORT || result == -EOPNOTSUPP || result == -E2BIG,
                  "a known error");
    }
    wherry__config_fini(&config);
    free(url);
}
