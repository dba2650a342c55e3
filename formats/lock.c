#define _GNU_SOURCE
#include "formats/lock.h"

#include "formats/file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct mert_lock {
    char *path;
    int fd; /* the descriptor with the flock; -1: locked by name */
    pid_t owner;
};

typedef struct owner {
    long process;
    char host[256];
    unsigned long long started; /* start time from /proc: tells apart processes that had the same number */
} owner;

static const char form[] = "process %ld on %255s started %llu\n";

/* The start time of a process of this machine; 0: it does not run, or not known. */
static unsigned long long start_of(long process)
{
    char name[64], text[1024], *at;
    unsigned long long started = 0;
    size_t n;
    FILE *f;
    snprintf(name, sizeof name, "/proc/%ld/stat", process);
    if (!(f = fopen(name, "re")))
        return 0;
    n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    at = strrchr(text, ')'); /* the second field; the 22nd is wanted */
    for (int i = 2; at && i < 22; i++)
        at = strchr(at + 1, ' ');
    if (at)
        started = strtoull(at, NULL, 10);
    return started;
}

static owner myself(void)
{
    owner o = {.process = (long)getpid()};
    o.started = start_of(o.process);
    if (gethostname(o.host, sizeof o.host - 1) || !*o.host)
        strcpy(o.host, "?");
    return o;
}

static int same(const owner *a, const owner *b)
{
    return a->process == b->process && a->started == b->started && !strcmp(a->host, b->host);
}

/* Reads the owner that the file names; -1: none (yet). */
static int read_owner(const char *path, owner *o)
{
    char text[512];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    memset(o, 0, sizeof *o);
    if (fd < 0)
        return -1;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return -1;
    text[n] = 0;
    return sscanf(text, form, &o->process, o->host, &o->started) == 3 && o->process > 0 ? 0 : -1;
}

static int write_owner(int fd)
{
    owner o = myself();
    char text[512];
    int n = snprintf(text, sizeof text, form, o.process, o.host, o.started);
    return ftruncate(fd, 0) || pwrite(fd, text, (size_t)n, 0) != n ? -1 : 0;
}

static mert_lock *lock_of(const char *path, int fd)
{
    mert_lock *l = calloc(1, sizeof *l);
    if (l && !(l->path = strdup(path))) {
        free(l);
        return NULL;
    }
    if (l) {
        l->fd = fd;
        l->owner = getpid();
    }
    return l;
}

static mert_lock *refuse(const char *path, const char *way_on, mert_error *e)
{
    owner o;
    if (read_owner(path, &o))
        mert_fail(e, "%s: in use by another process%s", path, way_on);
    else
        mert_fail(e, "%s: in use by process %ld on %s%s", path, o.process, o.host, way_on);
    return NULL;
}

static mert_lock *give_up(const char *path, mert_error *e)
{
    mert_fail(e, "%s: cannot lock: %s", path, strerror(errno));
    return NULL;
}

/* Refuses a path that exists and is not a regular file: a link may point to another file, and opening a FIFO waits. */
static int is_no_file(const char *path, mert_error *e)
{
    struct stat there;
    return !lstat(path, &there) && !S_ISREG(there.st_mode)
               ? mert_fail(e, "%s: is %s, not a regular file, which a lock must be", path,
                           mert_file_kind(there.st_mode))
               : 0;
}

/* ---- flock ---- */

/* Whether the path still refers to the open file. */
static int still_there(int fd, const char *path)
{
    struct stat open_file, named;
    return !fstat(fd, &open_file) && !stat(path, &named) && open_file.st_ino == named.st_ino &&
           open_file.st_dev == named.st_dev;
}

mert_lock *mert_lock_take(const char *path, mert_error *e)
{
    mert_lock *l;
    for (;;) {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666), made = fd >= 0;
        if (!made && is_no_file(path, e))
            return NULL;
        if (!made && errno == EEXIST && (fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)) < 0 && errno == ENOENT)
            continue;
        if (fd < 0)
            return give_up(path, e);
        if (flock(fd, LOCK_EX | LOCK_NB)) {
            int why = errno;
            close(fd);
            errno = why;
            if (why == EWOULDBLOCK)
                return refuse(path, "", e);
            if (why == EINTR)
                continue;
            if (why != ENOSYS && why != ENOLCK && why != EOPNOTSUPP && why != EINVAL)
                return give_up(path, e);
            if (made)
                unlink(path);
            return mert_lock_take_by_name(path, e);
        }
        if (!still_there(fd, path)) { /* its owner removed it in the meantime */
            close(fd);
            continue;
        }
        if (write_owner(fd) || !(l = lock_of(path, fd))) {
            mert_fail(e, "%s: cannot write: %s", path, strerror(errno));
            unlink(path);
            close(fd);
            return NULL;
        }
        return l;
    }
}

/* ---- by name ---- */

/* Moves away the lock file of a process that has ended, unless another process has taken it in the meantime. */
static void take_away(const char *path, const owner *dead)
{
    char aside[4096];
    owner moved;
    if (snprintf(aside, sizeof aside, "%s.%ld", path, (long)getpid()) >= (int)sizeof aside || rename(path, aside))
        return;
    if (!read_owner(aside, &moved) && !same(&moved, dead) && link(aside, path))
        return; /* a third process took the name: the owner of the moved file will see that at its release, and remove
                   nothing */
    unlink(aside);
}

/* Whether the owner, a process of this machine, still runs. */
static int runs(const owner *o)
{
    unsigned long long started;
    if (kill((pid_t)o->process, 0) && errno == ESRCH)
        return 0;
    started = start_of(o->process);
    return !started || started == o->started;
}

mert_lock *mert_lock_take_by_name(const char *path, mert_error *e)
{
    owner me = myself(), o;
    for (int tries = 0; tries < 3; tries++) {
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) {
            int bad = write_owner(fd) || close(fd);
            mert_lock *l = bad ? NULL : lock_of(path, -1);
            if (!l) {
                mert_fail(e, "%s: cannot write: %s", path, strerror(errno));
                unlink(path);
            }
            return l;
        }
        if (errno != EEXIST)
            return give_up(path, e);
        if (is_no_file(path, e))
            return NULL;
        if (read_owner(path, &o) || strcmp(o.host, me.host))
            return refuse(path, "; if it runs no longer, remove this file", e);
        if (runs(&o))
            return refuse(path, "", e);
        take_away(path, &o);
    }
    return refuse(path, "", e);
}

void mert_lock_release(mert_lock *l)
{
    owner me = myself(), o;
    if (!l)
        return;
    if (l->owner == getpid() && !read_owner(l->path, &o) && same(&o, &me))
        unlink(l->path);
    if (l->fd >= 0)
        close(l->fd);
    free(l->path);
    free(l);
}
