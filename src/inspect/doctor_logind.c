/* inspect/doctor_logind.c - owns what is found of RemoveIPC: logind removes the objects of ordinary users who have
 * logged out, those of their services too; logind.conf(5).
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/sys.h"
#include "inspect/doctor.h"

enum { NAME_SIZE = 256, DROPINS_MOST = 64 };

/* In the order in which a name of one hides the same name of the next. */
static const char *const places[] = {"/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd"};

enum { PLACES = sizeof places / sizeof *places };

struct setting {
    bool removes, in_login;
};

/* Sections and "key=value" of one file, blanks around both. */
static void take_line(void *context, char *line)
{
    struct setting *setting = context;
    line += strspn(line, " \t");
    line[strcspn(line, "\r")] = 0;
    if (line[0] == '[')
        setting->in_login = strncmp(line, "[Login]", 7) == 0;
    size_t key = strcspn(line, "= \t");
    const char *value = strchr(line, '=');
    if (!setting->in_login || !value || key != strlen("RemoveIPC") || strncmp(line, "RemoveIPC", key) != 0)
        return;
    value += 1 + strspn(value + 1, " \t");
    static const char *const yes[] = {"yes", "y", "true", "t", "on", "1", ""}; /* empty: the default */
    size_t length = strcspn(value, " \t");
    setting->removes = false;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        setting->removes |= strlen(yes[i]) == length && strncasecmp(value, yes[i], length) == 0;
}

static void take_file(struct setting *setting, const char *path)
{
    setting->in_login = false;
    wherry__doctor_lines(path, take_line, setting);
}

/* ---- the files there are ---- */

struct dropin {
    char name[NAME_SIZE];
    size_t place;
};

struct dropins {
    struct dropin list[DROPINS_MOST];
    size_t count;
};

static bool is_known(const struct dropins *dropins, const char *name)
{
    for (size_t i = 0; i < dropins->count; i++)
        if (strcmp(dropins->list[i].name, name) == 0)
            return true;
    return false;
}

static void add_dropin(struct dropins *dropins, const char *name, size_t place)
{
    size_t length = strlen(name);
    if (length < 6 || strcmp(name + length - 5, ".conf") != 0 || dropins->count == DROPINS_MOST ||
        is_known(dropins, name))
        return;
    snprintf(dropins->list[dropins->count].name, NAME_SIZE, "%s", name);
    dropins->list[dropins->count++].place = place;
}

static void list_dropins(struct dropins *dropins, size_t place)
{
    char path[128], full[DOCTOR_PATH], entries[4096] __attribute__((aligned(16)));
    snprintf(path, sizeof path, "%s/logind.conf.d", places[place]);
    int fd = wherry__doctor_path(path, full)
                 ? wherry__sys.open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK, 0)
                 : -1;
    ssize_t got;
    while (fd >= 0 && (got = wherry__sys.getdents(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            add_dropin(dropins, entry->d_name, place);
            at += entry->d_reclen;
        }
    if (fd >= 0)
        wherry__sys.close(fd);
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct dropin *)a)->name, ((const struct dropin *)b)->name);
}

static bool exists(const char *path)
{
    char full[DOCTOR_PATH];
    int fd = wherry__doctor_path(path, full) ? wherry__sys.open(full, O_PATH | O_CLOEXEC, 0) : -1;
    if (fd >= 0)
        wherry__sys.close(fd);
    return fd >= 0;
}

/* The main file first, of the first place that has one; then the drop-ins by name, wherever they are. */
static bool removes(void)
{
    struct setting setting = {.removes = true};
    char path[512];
    for (size_t i = 0; i < PLACES; i++) {
        snprintf(path, sizeof path, "%s/logind.conf", places[i]);
        if (exists(path)) {
            take_file(&setting, path);
            break;
        }
    }
    struct dropins *dropins = calloc(1, sizeof *dropins);
    for (size_t i = 0; dropins && i < PLACES; i++)
        list_dropins(dropins, i);
    if (dropins)
        qsort(dropins->list, dropins->count, sizeof *dropins->list, compare);
    for (size_t i = 0; dropins && i < dropins->count; i++) {
        snprintf(path, sizeof path, "%s/logind.conf.d/%s", places[dropins->list[i].place], dropins->list[i].name);
        take_file(&setting, path);
    }
    free(dropins);
    return setting.removes;
}

void wherry__doctor_logind(struct wherry_inspect_findings *findings)
{
    if (!exists("/run/systemd/system"))
        return; /* another init: nobody removes anything; sd_booted(3) */
    bool is_set = removes(), is_ordinary = geteuid() >= 1000 && geteuid() != 65534;
    struct finding *finding = wherry__doctor_add(findings, "RemoveIPC",
                                                 !is_set       ? WHERRY_INSPECT_FINE
                                                 : is_ordinary ? WHERRY_INSPECT_WARNING
                                                               : WHERRY_INSPECT_NOTE);
    snprintf(finding->value, sizeof finding->value, "%s", is_set ? "yes" : "no");
    snprintf(
        finding->effect, sizeof finding->effect,
        "when an ordinary user's last session ends, logind removes that user's files of /dev/shm, POSIX queues and "
        "System V objects, whoever uses them");
    snprintf(finding->remedy, sizeof finding->remedy,
             "mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nRemoveIPC=no\\n' "
             ">/etc/systemd/logind.conf.d/wherry.conf && systemctl restart systemd-logind; or run it as a system user");
}
