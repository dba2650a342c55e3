#include "libcommon/audio/container/place.h"

#include "formats/tar.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- tar files ---- */

enum { KEPT = 8 };

static struct kept {
    char *path; /* NULL: unused */
    struct stat state;
    mert_tar tar;
    int64_t used;
} kept[KEPT];
static int64_t uses;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int same_state(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           !memcmp(&a->st_mtim, &b->st_mtim, sizeof a->st_mtim) && !memcmp(&a->st_ctim, &b->st_ctim, sizeof a->st_ctim);
}

static void forget(struct kept *k)
{
    mert_tar_close(&k->tar);
    free(k->path);
    k->path = NULL;
}

/* The open headers of a tar file, in the place of those that were not used for the longest time. Called with the lock
 * held. NULL: it cannot be opened. */
static struct kept *keep(const char *path, const struct stat *now, mert_error *e)
{
    struct kept *k = kept;
    for (int i = 0; i < KEPT; i++) {
        if (kept[i].path && !strcmp(kept[i].path, path)) {
            k = &kept[i];
            break;
        }
        if (!kept[i].path || (k->path && kept[i].used < k->used))
            k = &kept[i];
    }
    if (k->path && (strcmp(k->path, path) || !same_state(&k->state, now)))
        forget(k);
    if (!k->path) {
        if (mert_tar_open(&k->tar, path, MERT_INDEX_KEEP, e))
            return NULL;
        if (!(k->path = strdup(path))) {
            mert_tar_close(&k->tar);
            mert_fail(e, "out of memory");
            return NULL;
        }
        k->state = *now;
    }
    k->used = ++uses;
    return k;
}

static int find_member(mert_place *p, const char *tar, const char *member, const struct stat *now, mert_error *e)
{
    const mert_tar_member *m;
    struct kept *k;
    int bad = 0;
    pthread_mutex_lock(&lock);
    k = keep(tar, now, e);
    m = k ? mert_tar_find(&k->tar, member) : NULL;
    if (m && !m->offset) {
        bad = mert_fail(e, "is a link in the tar file: those are not followed, name the member it leads to");
    } else if (m) {
        p->begin = m->offset;
        p->size = m->size;
    } else {
        bad = k ? mert_fail(e, "there is no such member in the tar file") : -1;
    }
    pthread_mutex_unlock(&lock);
    if (bad)
        errno = ENOENT;
    return bad;
}

static int open_member(mert_place *p, const char *path, const char *member, mert_error *e)
{
    struct stat now;
    char *tar = strndup(path, (size_t)(member - 1 - path));
    int bad;
    if (!tar) {
        errno = ENOMEM;
        return mert_fail(e, "out of memory");
    }
    p->fd = open(tar, O_RDONLY | O_CLOEXEC);
    bad = p->fd < 0 || fstat(p->fd, &now) ? mert_fail(e, "%s", strerror(errno)) : 0;
    bad = bad || find_member(p, tar, member, &now, e);
    if (bad && p->fd >= 0) {
        int why = errno;
        close(p->fd);
        errno = why;
    }
    free(tar);
    return bad ? -1 : 0;
}

/* ---- all ---- */

int mert_place_open(mert_place *p, const char *path, mert_error *e)
{
    const char *member = mert_tar_member_of(path);
    struct stat s;
    if (member)
        return open_member(p, path, member, e);
    if (stat(path, &s))
        return mert_fail(e, "%s", strerror(errno));
    errno = 0;
    if (!S_ISREG(s.st_mode))
        return mert_fail(e, "is no regular file");
    if ((p->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0 || fstat(p->fd, &s))
        return mert_fail(e, "%s", strerror(errno));
    p->begin = 0;
    p->size = s.st_size;
    return 0;
}

size_t mert_place_head(const char *path, void *to, size_t n)
{
    mert_place p;
    mert_error unsaid;
    size_t done = 0;
    ssize_t got = 1;
    if (mert_place_open(&p, path, &unsaid))
        return 0;
    if ((uint64_t)p.size < n)
        n = (size_t)p.size;
    while (done < n && (got = pread(p.fd, (char *)to + done, n - done, p.begin + (int64_t)done)) > 0)
        done += (size_t)got;
    close(p.fd);
    return done;
}

int mert_place_in_tar(const char *path)
{
    return mert_tar_member_of(path) != NULL;
}
