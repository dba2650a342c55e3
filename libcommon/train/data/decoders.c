#define _GNU_SOURCE
#include "libcommon/train/data/decoders.h"

#include "formats/array.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/install_paths.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { HEAD_MAX = sizeof((mert_error *)0)->text + 32 }; /* bytes of an answer before its samples */
static const double GRACE = 2; /* seconds that a process has at most to end by itself, and then to be killed */

typedef struct decoder {
    pid_t pid; /* 0: not started */
    int fd;
    mert_decoding *at; /* what it decodes; NULL: nothing */
    unsigned char *answer;
    int64_t got, room, head; /* bytes of the answer; of those, the first line, once it is there */
    double heard;            /* when it was asked, or when bytes of the answer came last (mert_seconds) */
} decoder;

struct mert_decoders {
    int n;
    int64_t rate;
    double patience;
    mert_decoders_use use; /* of those that have ended */
    decoder *decoders;     /* [n] */
    struct pollfd *polled; /* [n] */
};

mert_decoders *mert_decoders_new(int processes, int64_t sample_rate, double patience, mert_error *e)
{
    mert_decoders *d = calloc(1, sizeof *d);
    if (d) {
        d->n = processes;
        d->rate = sample_rate;
        d->patience = patience;
        d->decoders = mert_array_zeroed(processes, sizeof *d->decoders);
        d->polled = mert_array_zeroed(processes, sizeof *d->polled);
    }
    if (!d || !d->decoders || !d->polled) {
        mert_decoders_free(d, NULL);
        mert_fail(e, "out of memory");
        return NULL;
    }
    return d;
}

/* ---- processes ---- */

/* Starts a program with a socket as standard input and output. In a group of its own, so that the signal of a key that
 * stops the run does not end it before the run has saved. */
static int spawn(decoder *x, char **argv, int theirs, mert_error *e)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t how;
    sigset_t none;
    int bad;
    sigemptyset(&none);
    if (posix_spawn_file_actions_init(&actions))
        return mert_fail(e, "out of memory");
    if (posix_spawnattr_init(&how)) {
        posix_spawn_file_actions_destroy(&actions);
        return mert_fail(e, "out of memory");
    }
    bad = posix_spawn_file_actions_adddup2(&actions, theirs, STDIN_FILENO) ||
          posix_spawn_file_actions_adddup2(&actions, theirs, STDOUT_FILENO) || posix_spawnattr_setpgroup(&how, 0) ||
          posix_spawnattr_setsigmask(&how, &none) ||
          posix_spawnattr_setflags(&how, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    bad = bad ? ENOMEM : posix_spawnp(&x->pid, argv[0], &actions, &how, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&how);
    if (bad)
        x->pid = 0;
    return bad ? mert_fail(e, "cannot start %s: %s", argv[0], strerror(bad)) : 0;
}

static int start(const mert_decoders *d, decoder *x, mert_error *e)
{
    char rate[32], *program = mert_program_path("mert-decode");
    char *argv[] = {program, "--crops", "--rate", rate, NULL};
    int both[2], bad;
    snprintf(rate, sizeof rate, "%" PRId64, d->rate);
    if (!program)
        return mert_fail(e, "out of memory");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both)) {
        free(program);
        return mert_fail(e, "a socket for mert-decode: %s", strerror(errno));
    }
    bad = spawn(x, argv, both[1], e);
    close(both[1]);
    free(program);
    if (bad)
        close(both[0]);
    else
        x->fd = both[0];
    return bad;
}

/* Waits for the process, but not for ever. Returns 1 if it has ended. */
static int ended(const mert_decoders *d, pid_t pid, int *status, struct rusage *used)
{
    double most = d->patience > 0 && d->patience < GRACE ? d->patience : GRACE;
    const struct timespec pause = {0, 1000000};
    double began = mert_seconds();
    pid_t got;
    while (!(got = wait4(pid, status, WNOHANG, used)) || (got < 0 && errno == EINTR)) {
        if (mert_seconds() - began > most)
            return 0;
        nanosleep(&pause, NULL);
    }
    return 1;
}

/* Closes the socket, which ends the process, and waits for it. One that is stopped or hangs is killed; one that the
 * kernel holds in a read is left behind. Returns its status. */
static int stop(mert_decoders *d, decoder *x)
{
    struct rusage used = {0};
    int status = 0;
    if (!x->pid)
        return 0;
    close(x->fd);
    if (!ended(d, x->pid, &status, &used)) {
        kill(-x->pid, SIGKILL); /* its group */
        ended(d, x->pid, &status, &used);
    }
    d->use.cpu += (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
                  1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    if (used.ru_maxrss * 1024 > d->use.memory)
        d->use.memory = used.ru_maxrss * 1024;
    x->pid = 0;
    return status;
}

/* The process has ended without an answer. By a signal: the item is bad, as it may be the file that does it. */
static int died(mert_decoders *d, decoder *x, mert_error *e)
{
    mert_decoding *at = x->at;
    int status = stop(d, x);
    x->at = NULL;
    if (WIFSIGNALED(status)) {
        at->bad = mert_fail(&at->why, "mert-decode was ended by signal %d while it decoded this", WTERMSIG(status));
        return 0;
    }
    return mert_fail(e, "mert-decode --crops ended with exit status %d, at %s", WEXITSTATUS(status), at->path);
}

/* ---- requests and answers ---- */

static int send_all(int fd, const char *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t sent = send(fd, bytes + done, n - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return -1;
        done += sent > 0 ? (size_t)sent : 0;
    }
    return 0;
}

static int ask(mert_decoders *d, decoder *x, mert_decoding *of, mert_error *e)
{
    char *line;
    int n, bad = 0;
    unsigned char *answer = x->answer;
    if (strchr(of->path, '\n')) {
        of->bad = mert_fail(&of->why, "its name has a line end");
        return 0;
    }
    if (2 * of->n + HEAD_MAX > x->room && !(answer = mert_array_grow(answer, &x->room, 2 * of->n + HEAD_MAX, 1)))
        return mert_fail(e, "out of memory for a crop of %" PRId64 " samples", of->n);
    x->answer = answer;
    if (!x->pid && start(d, x, e))
        return -1;
    n = asprintf(&line, "%" PRId64 " %" PRId64 " %" PRId64 " %s\n", of->first, of->n, of->whole, of->path);
    if (n < 0)
        return mert_fail(e, "out of memory");
    x->at = of;
    x->got = x->head = 0;
    x->heard = mert_seconds();
    if (send_all(x->fd, line, (size_t)n))
        bad = died(d, x, e);
    free(line);
    return bad;
}

/* The answer is complete. */
static void take(decoder *x)
{
    mert_decoding *at = x->at;
    const unsigned char *bytes = x->answer + x->head;
    static const char failed[] = "failed ";
    x->at = NULL;
    if (!memcmp(x->answer, "ok\n", 3)) {
        for (int64_t i = 0; i < at->n; i++)
            at->to[i] = (float)(int16_t)(uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8) * 0x1p-15f;
        return;
    }
    x->answer[x->head - 1] = 0;
    at->bad = mert_fail(&at->why, "%s", (const char *)x->answer + (sizeof failed - 1));
}

/* Reads what is there of the answer. */
static int hear(mert_decoders *d, decoder *x, mert_error *e)
{
    int64_t most = x->head ? x->head + 2 * x->at->n : HEAD_MAX;
    ssize_t got = recv(x->fd, x->answer + x->got, (size_t)(most - x->got), MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (got <= 0)
        return died(d, x, e);
    x->got += got;
    x->heard = mert_seconds();
    if (!x->head) {
        const unsigned char *end = memchr(x->answer, '\n', (size_t)x->got);
        x->head = end ? end - x->answer + 1 : 0;
        if ((!end && x->got == HEAD_MAX) || (end && x->head != 3 && memcmp(x->answer, "failed ", 7)) ||
            (x->head == 3 && memcmp(x->answer, "ok\n", 3)))
            return mert_fail(e, "mert-decode --crops gave no answer that is known: is it another version?");
    }
    if (x->head && x->got >= x->head + (x->head == 3 ? 2 * x->at->n : 0))
        take(x);
    return 0;
}

/* The process has not answered for too long. */
static int late(const mert_decoders *d, const decoder *x, mert_error *e)
{
    kill(-x->pid, SIGKILL);
    return mert_fail(e,
                     "%s: mert-decode has not answered for %.3g s while it decoded this (--hang-after): it hangs, or "
                     "the disk does; to train without the file, move it away, and resume with --change corpus=yes",
                     x->at->path, d->patience);
}

/* Waits for answers of the n decoders that are at work, and reads what has come. */
static int listen_to(mert_decoders *d, mert_error *e)
{
    double left = 3600, now = mert_seconds(); /* until the first of them is late */
    int bad = 0;
    for (int i = 0; i < d->n; i++) {
        const decoder *x = &d->decoders[i];
        d->polled[i] = (struct pollfd){.fd = x->at ? x->fd : -1, .events = POLLIN};
        if (x->at && d->patience > 0 && x->heard + d->patience - now < left)
            left = x->heard + d->patience - now;
    }
    if (poll(d->polled, (nfds_t)d->n, left > 0 ? (int)(1000 * left) + 1 : 0) < 0 && errno != EINTR)
        return mert_fail(e, "poll: %s", strerror(errno));
    now = mert_seconds();
    for (int i = 0; !bad && i < d->n; i++)
        if (d->polled[i].fd >= 0 && d->polled[i].revents)
            bad = hear(d, &d->decoders[i], e);
        else if (d->decoders[i].at && d->patience > 0 && now - d->decoders[i].heard >= d->patience)
            bad = late(d, &d->decoders[i], e);
    return bad;
}

int mert_decoders_run(mert_decoders *d, mert_decoding *of, int64_t n, mert_error *e)
{
    int bad = 0;
    for (int64_t next = 0, busy = 1; !bad && (next < n || busy);) {
        busy = 0;
        for (int i = 0; !bad && i < d->n; i++) {
            while (!bad && !d->decoders[i].at && next < n)
                bad = ask(d, &d->decoders[i], &of[next++], e);
            busy += d->decoders[i].at != NULL;
        }
        if (!bad && busy)
            bad = listen_to(d, e);
    }
    for (int i = 0; bad && i < d->n; i++) { /* half an answer is of no use */
        d->decoders[i].at = NULL;
        stop(d, &d->decoders[i]);
    }
    return bad ? -1 : 0;
}

void mert_decoders_free(mert_decoders *d, mert_decoders_use *use)
{
    if (!d)
        return;
    for (int i = 0; d->decoders && i < d->n; i++) {
        stop(d, &d->decoders[i]);
        free(d->decoders[i].answer);
    }
    if (use)
        *use = d->use;
    free(d->decoders);
    free(d->polled);
    free(d);
}
