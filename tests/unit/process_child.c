/* tests/unit/process_child.c - a program that says what it was started with.
 *
 * SPDX-License-Identifier: MIT
 *
 * Its words are done in turn; what it has to say goes to standard output, a line each. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* "0 1 2 7", without the one that reads them. */
static void say_descriptors(void)
{
    int own = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fdopendir(own);
    int count = 0, numbers[1024];
    for (struct dirent *entry; (entry = readdir(directory)) && count < 1024;)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != own)
            numbers[count++] = atoi(entry->d_name);
    closedir(directory);
    for (int i = 0; i < count; i++)
        printf("%d%s", numbers[i], i + 1 < count ? " " : "\n");
}

static void say_inode(int fd)
{
    struct stat status;
    if (fstat(fd, &status) == 0)
        printf("%d is %llu, cloexec %d\n", fd, (unsigned long long)status.st_ino, fcntl(fd, F_GETFD) & FD_CLOEXEC);
    else
        printf("%d is closed\n", fd);
}

/* One line of /proc/self/status, without tabs. */
static void say_status(const char *name)
{
    char line[4096];
    size_t length = strlen(name);
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, name, length) != 0 || line[length] != ':')
            continue;
        for (char *at = line; *at; at++)
            *at = *at == '\t' ? ' ' : *at;
        fputs(line, stdout);
    }
    if (file)
        fclose(file);
}

static void say_limit(int resource)
{
    struct rlimit limit = {0};
    getrlimit((__rlimit_resource_t)resource, &limit);
    printf("limit %lld %lld\n", (long long)limit.rlim_cur, (long long)limit.rlim_max);
}

static void say_place(void)
{
    char path[4096];
    int death = 0;
    prctl(PR_GET_PDEATHSIG, &death);
    printf("cwd %s\npid %d parent %d group %d session %d death %d\n", getcwd(path, sizeof path) ? path : "?",
           (int)getpid(), (int)getppid(), (int)getpgrp(), (int)getsid(0), death);
}

static int number_after(char **argv, int *at)
{
    return argv[*at + 1] ? atoi(argv[++*at]) : 0;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "fds") == 0) {
            say_descriptors();
        } else if (strcmp(argv[i], "inode") == 0) {
            say_inode(number_after(argv, &i));
        } else if (strcmp(argv[i], "status") == 0 && argv[i + 1]) {
            say_status(argv[++i]);
        } else if (strcmp(argv[i], "limit") == 0) {
            say_limit(number_after(argv, &i));
        } else if (strcmp(argv[i], "place") == 0) {
            say_place();
        } else if (strcmp(argv[i], "name") == 0) {
            printf("%s %d\n", argv[0], argc);
        } else if (strcmp(argv[i], "environment") == 0) {
            for (char **at = environ; *at; at++)
                puts(*at);
        } else if (strcmp(argv[i], "append") == 0 && argv[i + 1]) { /* a mark that it was started */
            int fd = open(argv[++i], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
            if (fd < 0 || write(fd, "x", 1) != 1)
                return 1;
            close(fd);
        } else if (strcmp(argv[i], "eof") == 0) { /* wait for the end of standard input */
            char byte;
            while (read(0, &byte, 1) > 0 || errno == EINTR)
                ;
        } else if (strcmp(argv[i], "pause") == 0) {
            fflush(stdout);
            for (;;)
                pause();
        } else if (strcmp(argv[i], "kill") == 0) {
            fflush(stdout);
            kill(getpid(), number_after(argv, &i));
        } else if (strcmp(argv[i], "close") == 0) {
            fflush(stdout);
            close(number_after(argv, &i));
        } else if (strcmp(argv[i], "exit") == 0) {
            return number_after(argv, &i);
        } else {
            fprintf(stderr, "what is \"%s\"?\n", argv[i]);
            return 2;
        }
    }
    return 0;
}
