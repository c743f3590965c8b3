/* json.c - owns the JSON form of a message.
 *
 * SPDX-License-Identifier: MIT */
#include "json.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

/* Takes over `value`; false when it or room for it could not be had, so that failures add up. */
static bool add(struct json_object *object, const char *key, struct json_object *value)
{
    if (value && json_object_object_add(object, key, value) == 0)
        return true;
    json_object_put(value);
    return false;
}

static struct json_object *peer_object(const struct wherry_peer *peer)
{
    struct json_object *object = json_object_new_object();
    bool fine = object != NULL;
    if (fine && peer->id != 0)
        fine = add(object, "id", json_object_new_uint64(peer->id));
    if (fine && peer->has_credentials) {
        if (peer->pid != 0) /* 0: it lives in another PID namespace */
            fine = add(object, "pid", json_object_new_int64(peer->pid));
        fine = fine && add(object, "uid", json_object_new_int64(peer->uid)) &&
               add(object, "gid", json_object_new_int64(peer->gid));
    }
    if (fine)
        return object;
    json_object_put(object);
    return NULL;
}

/* RFC 3339, in UTC, with nanoseconds. */
static struct json_object *time_object(void)
{
    struct timespec now;
    struct tm parts;
    char text[64];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t length = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + length, sizeof text - length, ".%09ldZ", now.tv_nsec);
    return json_object_new_string(text);
}

static struct json_object *base64_object(const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc((size + 2) / 3 * 4 + 1), *out = text;
    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t bits = (uint32_t)data[i] << 16;
        bits |= left > 1 ? (uint32_t)data[i + 1] << 8 : 0;
        bits |= left > 2 ? (uint32_t)data[i + 2] : 0;
        *out++ = digits[bits >> 18];
        *out++ = digits[bits >> 12 & 63];
        *out++ = left > 1 ? digits[bits >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[bits & 63] : '=';
    }
    *out = '\0';
    struct json_object *object = json_object_new_string(text);
    free(text);
    return object;
}

static bool add_payload(struct json_object *object, const struct wherry_loan *loan)
{
    if (loan->info.size > INT_MAX / 2)
        return false;
    if (utf8_is_text(loan->data, loan->info.size))
        return add(object, "data", json_object_new_string_len(loan->data ? loan->data : "", (int)loan->info.size));
    return add(object, "data_b64", base64_object(loan->data, loan->info.size));
}

static struct json_object *message_object(const struct wherry_loan *loan)
{
    const struct wherry_info *info = &loan->info;
    struct json_object *object = json_object_new_object();
    if (!object)
        return NULL;
    bool fine = add(object, "peer", peer_object(&info->peer)) &&
                add(object, "type", json_object_new_int64(info->type)) && add(object, "time", time_object()) &&
                add(object, "size", json_object_new_uint64(info->size));
    if (fine && (info->flags & WHERRY_INCOMPLETE))
        fine = add(object, "incomplete", json_object_new_boolean(true));
    if (fine && (info->flags & WHERRY_REDELIVERED))
        fine = add(object, "redelivered", json_object_new_boolean(true));
    if (fine && add_payload(object, loan))
        return object;
    json_object_put(object);
    return NULL;
}

/* json-c escapes what JSON must; a terminal minds DEL and the C1 controls as well, which stand in strings only. */
static void print_escaped(struct output *output, const char *text, size_t length)
{
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        const uint8_t *at = (const uint8_t *)text + i;
        bool is_delete = at[0] == 0x7f, is_c1 = at[0] == 0xc2 && i + 1 < length && at[1] < 0xa0;
        if (!is_delete && !is_c1)
            continue;
        char escaped[8];
        snprintf(escaped, sizeof escaped, "\\u%04x", is_delete ? 0x7fu : (unsigned)at[1]);
        output_bytes(output, text + from, i - from);
        output_bytes(output, escaped, 6);
        i += is_c1;
        from = i + 1;
    }
    output_bytes(output, text + from, length - from);
}

bool json_message(struct output *output, const struct wherry_loan *loan)
{
    size_t length = 0;
    struct json_object *object = message_object(loan);
    const char *text = NULL;
    if (object)
        text =
            json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
    if (text) {
        print_escaped(output, text, length);
        output_bytes(output, "\n", 1);
    }
    json_object_put(object);
    return text != NULL;
}
