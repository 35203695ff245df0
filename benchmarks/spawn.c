/* The limit of all starts: posix_spawn of a program, so many at once, and nothing else.
   `spawn COUNT AT_ONCE PROGRAM [SECOND]`: with SECOND, it begins at that Unix timestamp. */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) return 2;
    long count = atol(argv[1]), at_once = atol(argv[2]), live = 0;
    char *arguments[] = {argv[3], NULL}, *environment[] = {NULL};
    struct timespec began, ended, due = {argc == 5 ? atol(argv[4]) : 0, 0};
    if (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL) != 0) return 1;
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (long started = 0; started < count || live > 0;) {
        pid_t child;
        if (started < count && live < at_once) {
            if (posix_spawn(&child, argv[3], NULL, NULL, arguments, environment) != 0) return 1;
            started++, live++;
        } else if (wait(NULL) > 0) {
            live--;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    double seconds = ended.tv_sec - began.tv_sec + (ended.tv_nsec - began.tv_nsec) / 1e9;
    printf("%f\n", count / seconds);
    return 0;
}
