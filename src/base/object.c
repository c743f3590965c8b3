/* base/object.c - owns the names of kernel objects: their grammar, and ftok's keys.
 *
 * SPDX-License-Identifier: MIT */
#include "base/object.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>

#include "base/sys.h"
#include "base/url.h"
#include "base/why.h"

static const char *const words[] = {
    [WHERRY__POSIX_SHM] = "posix-shm", [WHERRY__POSIX_SEM] = "posix-sem", [WHERRY__POSIX_MQ] = "posix-mq",
    [WHERRY__SYSV_SHM] = "sysv-shm",   [WHERRY__SYSV_SEM] = "sysv-sem",   [WHERRY__SYSV_MSG] = "sysv-msg",
};
enum { TYPES = sizeof words / sizeof *words };

const char *wherry__object_word(enum wherry__object_type type)
{
    return words[type];
}

/* ---- POSIX ---- */

int wherry__object_posix_name(char ret_name[static 257], const char *text, const char *name)
{
    name += name[0] == '/';
    size_t length = strlen(name);
    if (length == 0)
        return wherry__fail(EINVAL, "%s: the name is missing: a slash and up to %d bytes", text, NAME_MAX);
    if (strchr(name, '/'))
        return wherry__fail(EINVAL, "%s: a name has no slash but the first one", text);
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return wherry__fail(EINVAL, "%s: \"%s\" is no name", text, name);
    if (length > NAME_MAX)
        return wherry__fail(ENAMETOOLONG, "%s: a name has at most %d bytes", text, NAME_MAX);
    ret_name[0] = '/';
    memcpy(ret_name + 1, name, length + 1);
    return 0;
}

/* ---- System V ---- */

static bool parse_id(const char *text, unsigned *ret_id)
{
    char *end;
    errno = 0;
    if (text[0] && !text[1]) {
        *ret_id = (unsigned char)text[0];
        return true;
    }
    if (*text < '0' || *text > '9')
        return false;
    unsigned long id = strtoul(text, &end, text[1] == 'x' || text[1] == 'X' ? 16 : 10);
    *ret_id = (unsigned)id;
    return !errno && !*end && id <= UINT_MAX;
}

static int key_of(key_t *ret_key, struct stat *ret_file, const char *text, const char *path, const char *id)
{
    unsigned number;
    struct stat status;
    if (!parse_id(id, &number))
        return wherry__fail(EINVAL, "%s: id is one character, 0xNN or a decimal, not \"%.32s\"", text, id);
    if ((number & 0xff) == 0)
        return wherry__fail(EINVAL, "%s: the low 8 bits of id may not be 0 (ftok(3))", text);
    if (wherry__sys.fstatat(AT_FDCWD, path, &status, 0) != 0)
        return wherry__fail_errno(errno, "%s: the file %s, whose number is in the key, cannot be looked at", text,
                                  path);
    uint32_t key = ((uint32_t)status.st_ino & 0xffff) | ((uint32_t)status.st_dev & 0xff) << 16 | (number & 0xff) << 24;
    if ((key_t)key == IPC_PRIVATE)
        return wherry__fail(EINVAL, "%s: that file and id give the key 0, which is nobody's; take another id", text);
    *ret_key = (key_t)key;
    *ret_file = status;
    return 0;
}

int wherry__object_key(key_t *ret_key, const char *text, const char *path, const char *id)
{
    struct stat file;
    return key_of(ret_key, &file, text, path, id);
}

int wherry__object_hex_key(key_t *ret_key, const char *text, const char *digits)
{
    bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
    size_t length = hex ? strspn(digits + 2, "0123456789abcdefABCDEF") : 0;
    if (length == 0 || digits[2 + length])
        return 0;
    errno = 0;
    unsigned long key = strtoul(digits, NULL, 16);
    if (errno || key > UINT32_MAX)
        return wherry__fail(EINVAL, "%s: a key has 32 bits: it is at most 0xffffffff", text);
    *ret_key = (key_t)key;
    return 1;
}

static int parse_id_number(const char *text, const char *digits, int *ret_id)
{
    size_t length = strspn(digits, "0123456789");
    if (length == 0 || digits[length])
        return wherry__fail(EINVAL, "%s: write 0xKEY, #ID or PATH?id=C", text);
    errno = 0;
    unsigned long number = strtoul(digits, NULL, 10);
    if (errno || number > INT_MAX)
        return wherry__fail(EINVAL, "%s: the kernel's numbers end at %d", text, INT_MAX);
    *ret_id = (int)number;
    return 0;
}

static int parse_sysv(struct wherry__object *object, const char *text, const char *rest)
{
    int result;
    if (rest[0] == '#') {
        object->by_id = true;
        return parse_id_number(text, rest + 1, &object->id);
    }
    if (rest[0] == '0' && (rest[1] == 'x' || rest[1] == 'X')) {
        result = wherry__object_hex_key(&object->key, text, rest);
        if (result == 0)
            return wherry__fail(EINVAL, "%s: write 0xKEY, #ID or PATH?id=C", text);
        if (result > 0 && object->key == IPC_PRIVATE)
            return wherry__fail(EINVAL, "%s: the key 0 is nobody's: such an object is named by its number, #ID", text);
        return result < 0 ? result : 0;
    }
    struct wherry__url url;
    struct stat file = {0};
    const char *path;
    result = wherry__url_init(&url, text);
    if (result < 0)
        return result;
    result = wherry__url_file(&url, &path);
    if (result == 0 && (url.option_count != 1 || strcmp(url.options[0].key, "id") != 0 || !url.options[0].value))
        result = wherry__fail(EINVAL, "%s: write 0xKEY, #ID or PATH?id=C", text);
    if (result == 0)
        result = key_of(&object->key, &file, text, path, url.options[0].value);
    if (result == 0) {
        object->by_path = true;
        object->device = file.st_dev;
        object->inode = file.st_ino;
    }
    wherry__url_fini(&url);
    return result;
}

/* ---- both ---- */

static int no_such_type(const char *text, unsigned types)
{
    char list[128] = "";
    for (int i = 0; i < TYPES; i++)
        if (types & 1u << i) {
            strcat(list, *list ? ", " : "");
            strcat(strcat(list, words[i]), ":");
        }
    return wherry__fail(EINVAL, "%.64s: a name begins with one of %s here", text, list);
}

int wherry__object_parse(struct wherry__object *object, const char *text, unsigned types)
{
    if (!text)
        return wherry__fail(EINVAL, "the name is NULL");
    size_t length = strcspn(text, ":");
    for (unsigned i = 0; i < TYPES; i++) {
        if (!(types & 1u << i) || strlen(words[i]) != length || strncmp(text, words[i], length) != 0 || !text[length])
            continue;
        *object = (struct wherry__object){.type = (enum wherry__object_type)i};
        if (i <= WHERRY__POSIX_MQ)
            return wherry__object_posix_name(object->name, text, text + length + 1);
        return parse_sysv(object, text, text + length + 1);
    }
    return no_such_type(text, types);
}
