/* tests/conformance/clause_08_names.c - an endpoint removes what it created, only if it is still the same inode.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>

#include "kit.h"

static bool look(const char *path, struct stat *ret_status)
{
    *ret_status = (struct stat){0};
    return lstat(path, ret_status) == 0;
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Cases about names are about subjects that have one in the file system. */
static bool has_name(const struct subject *subject)
{
    return strstr(subject->sample, "{path}") && addressed(subject);
}

static size_t files_in_directory(void)
{
    size_t count = 0;
    DIR *directory = opendir(test_dir());
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count;
}

CASE(08, what_was_created_is_removed_at_close)
{
    struct site site;
    struct wherry_channel *sender, *receiver;
    site_init(&site, subject);
    open_two(&site, &sender, &receiver);
    if (site.path[0])
        ck_assert_int_eq(access(site.path, F_OK), 0);
    close_now(sender);
    if (site.path[0])
        ck_assert_int_eq(access(site.path, F_OK), 0); /* the guest did not create it */
    close_now(receiver);
    if (!HAS(REMAINS))
        ck_assert_uint_eq(files_in_directory(), 0);
    site_fini(&site);
}

/* A new receiver either uses what is there, and leaves it, or makes its own in its place, and takes that away. */
CASE(08, what_existed_before_stays, .when = has_name)
{
    struct site site;
    struct stat before, during, after;
    site_init(&site, subject);
    /* what is there is made as a receiver makes it, and given a second name, so that it survives it */
    char keep[300];
    snprintf(keep, sizeof keep, "%s.keep", site.path);
    struct wherry_channel *receiver = site_open(&site, HOST);
    must(link(site.path, keep) == 0, "link: %s", strerror(errno));
    close_now(receiver);
    /* the second name stays too, or the next inode may get the same number */
    must(HAS(REMAINS) || link(keep, site.path) == 0, "link: %s", strerror(errno));
    must(look(site.path, &before), "%s is gone", site.path);
    receiver = site_open(&site, HOST);
    must(look(site.path, &during), "an open receiver has no name");
    close_now(receiver);
    bool there = look(site.path, &after);
    if (same(&before, &during))
        must(there && same(&before, &after), "what existed before was removed");
    else
        must(!there, "what was created in its place stayed");
    site.litter = true;
    site_fini(&site);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s: %s", path, strerror(errno));
    close(fd);
}

static void check_file(const char *path, const char *text)
{
    char got[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0, "%s is gone", path);
    must(read(fd, got, sizeof got - 1) == (ssize_t)strlen(text) && strcmp(got, text) == 0, "%s was changed", path);
    close(fd);
}

CASE(08, a_name_that_became_anothers_is_left, .when = has_name)
{
    struct site site;
    char aside[300];
    site_init(&site, subject);
    struct wherry_channel *receiver = site_open(&site, HOST);
    snprintf(aside, sizeof aside, "%s.aside", site.path);
    must(rename(site.path, aside) == 0, "rename: %s", strerror(errno));
    write_file(site.path, "another's");
    close_now(receiver);
    check_file(site.path, "another's");
    unlink(site.path);
    unlink(aside);
    site_fini(&site);
}

/* The same when the other one is of the same kind: a second receiver that came when the name was free. */
CASE(08, a_successor_keeps_its_name, .lacks = WHERRY_TRAIT_REMAINS, .when = has_name)
{
    struct site site;
    struct crate crate;
    site_init(&site, subject);
    struct wherry_channel *first = site_open(&site, HOST);
    unlink(site.path);
    struct wherry_channel *second = NULL;
    int result = site_try(&site, HOST, soon(), &second);
    if (result < 0) { /* it may hold the place by more than the name */
        must(result == -EADDRINUSE || result == -EBUSY, "a successor got %d: %s", result, wherry_why());
        close_now(first);
        site_fini(&site);
        return;
    }
    close_now(first);
    struct wherry_channel *sender = site_open(&site, GUEST);
    crate_init(&crate, subject, SMALL);
    test_is(post(subject, sender, SMALL, 1, soon()), 0);
    expect(second, &crate, SMALL, 1);
    crate_fini(&crate);
    close_two(sender, second);
    site_fini(&site);
}

CASE(08, h67_what_is_no_channel_is_refused_and_stays, .when = has_name)
{
    struct site site;
    struct wherry_channel *channel = NULL;
    char target[300];
    site_init(&site, subject);
    write_file(site.path, "a file");
    must(site_try(&site, HOST, WHERRY_NOW, &channel) < 0, "a regular file was taken for a channel");
    must(strstr(wherry_why(), site.path), "\"%s\" does not name the path", wherry_why());
    must(site_try(&site, GUEST, WHERRY_NOW, &channel) < 0, "a regular file was taken for a channel");
    check_file(site.path, "a file");
    unlink(site.path);
    must(mkdir(site.path, 0700) == 0, "mkdir: %s", strerror(errno));
    must(site_try(&site, HOST, WHERRY_NOW, &channel) < 0, "a directory was taken for a channel");
    must(rmdir(site.path) == 0, "the directory is gone, or full: %s", strerror(errno));
    snprintf(target, sizeof target, "%s.target", site.path);
    must(symlink(target, site.path) == 0, "symlink: %s", strerror(errno));
    must(site_try(&site, HOST, WHERRY_NOW, &channel) < 0, "a planted symbolic link was followed");
    ck_assert_int_ne(access(target, F_OK), 0);
    struct stat status;
    must(look(site.path, &status) && S_ISLNK(status.st_mode), "the symbolic link is gone");
    unlink(site.path);
    site_fini(&site);
}

static mode_t mode_of(struct site *site, mode_t mask)
{
    struct stat status;
    mode_t before = umask(mask);
    struct wherry_channel *receiver = site_open(site, HOST);
    umask(before);
    must(look(site->path, &status), "an open receiver has no name");
    close_now(receiver);
    return status.st_mode & 07777;
}

CASE(08, permissions_are_set_exactly, .option = WHERRY__OPTION_MODE, .when = has_name)
{
    struct site site;
    site_init(&site, subject);
    ck_assert_uint_eq(mode_of(&site, 0), 0600);
    ck_assert_uint_eq(mode_of(&site, 0277), 0600);
    site.options.mode = 0664;
    if (HAS(REMAINS))
        unlink(site.path); /* of what is there the mode stays as it is */
    ck_assert_uint_eq(mode_of(&site, 0), 0664);
    ck_assert_uint_eq(mode_of(&site, 0077), 0664);
    site_fini(&site);
}

CASE(08, a_failed_open_leaves_nothing, .when = has_name)
{
    struct site site;
    struct wherry_channel *channel = NULL;
    site_init(&site, subject);
    char *in_url = strstr(site.url, site.path);
    ck_assert_ptr_nonnull(in_url);
    snprintf(in_url, sizeof site.url - (size_t)(in_url - site.url), "%s/no-such-directory/x", test_dir());
    test_is(site_try(&site, HOST, WHERRY_NOW, &channel), -ENOENT);
    must(wherry_why()[0] != '\0', "without a word of why");
    ck_assert_uint_eq(files_in_directory(), 0);
    site.path[0] = '\0';
    site_fini(&site);
}
