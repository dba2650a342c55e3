/* measure [-n RUNS] COMMAND [ARG...]: runs the command RUNS times (1), discards its standard output, and prints "WALL
 * CPU KIB": the median wall time in seconds, the processor time of that run, and the largest resident set of all runs,
 * of the largest process if the command starts others. If a run fails, exits with 1. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS_MAX = 99 };

typedef struct measured {
    double wall, cpu;
} measured;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

/* Processor time of all children so far, and of their children. */
static double cpu_of_children(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return seconds(u.ru_utime) + seconds(u.ru_stime);
}

static void become(char **argv)
{
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0 && dup2(null, STDOUT_FILENO) >= 0)
        execvp(argv[0], argv);
    fprintf(stderr, "measure: %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static int run(char **argv, measured *m)
{
    double cpu = cpu_of_children(), start = now();
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        become(argv);
    if (pid < 0 || waitpid(pid, &status, 0) < 0) {
        perror("measure");
        return -1;
    }
    m->wall = now() - start;
    m->cpu = cpu_of_children() - cpu;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        fprintf(stderr, "measure: %s: killed by signal %d\n", argv[0], WTERMSIG(status));
    else
        fprintf(stderr, "measure: %s: exit status %d\n", argv[0], WEXITSTATUS(status));
    return -1;
}

static int by_wall(const void *a, const void *b)
{
    double x = ((const measured *)a)->wall, y = ((const measured *)b)->wall;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    measured m[RUNS_MAX];
    struct rusage u;
    int runs = 1, first = 1;
    if (argc > 2 && !strcmp(argv[1], "-n")) {
        runs = atoi(argv[2]);
        first = 3;
    }
    if (first >= argc || runs < 1 || runs > RUNS_MAX) {
        fprintf(stderr, "usage: measure [-n RUNS] COMMAND [ARG...]\n");
        return 2;
    }
    for (int i = 0; i < runs; i++)
        if (run(argv + first, &m[i]))
            return 1;
    qsort(m, (size_t)runs, sizeof *m, by_wall);
    getrusage(RUSAGE_CHILDREN, &u);
    printf("%.4f %.4f %ld\n", m[runs / 2].wall, m[runs / 2].cpu, u.ru_maxrss);
    return 0;
}
