/* json.c - owns the JSON form of a message, and lines of JSON.
 *
 * SPDX-License-Identifier: MIT */
#include "json.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "text.h"

bool json_add(struct json_object *object, const char *key, struct json_object *value)
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
        fine = json_add(object, "id", json_object_new_uint64(peer->id));
    if (fine && peer->has_credentials) {
        if (peer->pid != 0) /* 0: it lives in another PID namespace */
            fine = json_add(object, "pid", json_object_new_int64(peer->pid));
        fine = fine && json_add(object, "uid", json_object_new_int64(peer->uid)) &&
               json_add(object, "gid", json_object_new_int64(peer->gid));
    }
    if (fine)
        return object;
    json_object_put(object);
    return NULL;
}

struct json_object *json_now(void)
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
        return json_add(object, "data", json_object_new_string_len(loan->data ? loan->data : "", (int)loan->info.size));
    return json_add(object, "data_b64", base64_object(loan->data, loan->info.size));
}

static struct json_object *message_object(const struct wherry_loan *loan)
{
    const struct wherry_info *info = &loan->info;
    struct json_object *object = json_object_new_object();
    if (!object)
        return NULL;
    bool fine = json_add(object, "peer", peer_object(&info->peer)) &&
                json_add(object, "type", json_object_new_int64(info->type)) && json_add(object, "time", json_now()) &&
                json_add(object, "size", json_object_new_uint64(info->size));
    if (fine && (info->flags & WHERRY_INCOMPLETE))
        fine = json_add(object, "incomplete", json_object_new_boolean(true));
    if (fine && (info->flags & WHERRY_REDELIVERED))
        fine = json_add(object, "redelivered", json_object_new_boolean(true));
    if (fine && add_payload(object, loan))
        return object;
    json_object_put(object);
    return NULL;
}

/* What follows is written as \u and four digits: the code of the character at the front, *ret_size bytes; 0: as it is.
 * A terminal minds DEL and the C1 controls.  In a script of a page </script> and <!-- mean something, in JavaScript the
 * line separators once did. */
static unsigned to_escape(const uint8_t *at, size_t left, bool embedded, size_t *ret_size)
{
    *ret_size = 1;
    if (at[0] == 0x7f || (embedded && (at[0] == '<' || at[0] == '>' || at[0] == '&')))
        return at[0];
    *ret_size = 2;
    if (at[0] == 0xc2 && left > 1 && at[1] < 0xa0)
        return at[1];
    *ret_size = 3;
    if (embedded && at[0] == 0xe2 && left > 2 && at[1] == 0x80 && (at[2] == 0xa8 || at[2] == 0xa9))
        return 0x2000u + (at[2] & 0x3fu);
    return 0;
}

/* json-c escapes what JSON must.  What is escaped here stands in strings only. */
static void print_escaped(struct output *output, const char *text, size_t length, bool embedded)
{
    size_t from = 0, size;
    for (size_t i = 0; i < length; i++) {
        char escaped[16];
        unsigned code = to_escape((const uint8_t *)text + i, length - i, embedded, &size);
        if (!code)
            continue;
        snprintf(escaped, sizeof escaped, "\\u%04x", code);
        output_bytes(output, text + from, i - from);
        output_bytes(output, escaped, 6);
        i += size - 1;
        from = i + 1;
    }
    output_bytes(output, text + from, length - from);
}

static bool print_line(struct output *output, struct json_object *object, bool embedded)
{
    size_t length = 0;
    const char *text = NULL;
    if (object)
        text =
            json_object_to_json_string_length(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);
    if (text) {
        print_escaped(output, text, length, embedded);
        output_bytes(output, "\n", 1);
    }
    json_object_put(object);
    return text != NULL;
}

bool json_line(struct output *output, struct json_object *object)
{
    return print_line(output, object, false);
}

bool json_line_embedded(struct output *output, struct json_object *object)
{
    return print_line(output, object, true);
}

struct json_object *json_name(const char *name)
{
    size_t left = strlen(name), used = 0;
    if (utf8_is_text((const uint8_t *)name, left))
        return json_object_new_string(name);
    char *text = malloc(left * 4 + ESCAPED_MAX);
    if (!text)
        return NULL;
    for (const uint8_t *from = (const uint8_t *)name; left > 0;) {
        size_t length = utf8_length(from, left);
        if (length > 0) {
            memcpy(text + used, from, length);
            from += length, left -= length, used += length;
        } else
            used += escape_next(&from, &left, "", text + used);
    }
    struct json_object *object = json_object_new_string_len(text, (int)used);
    free(text);
    return object;
}

bool json_message(struct output *output, const struct wherry_loan *loan)
{
    return json_line(output, message_object(loan));
}
