#define _GNU_SOURCE
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- files on their way ----
 *
 * Their temporary names once more, in places that a signal's handler can read at any moment. One that finds no place,
 * or is too long for it, stays behind if the process is ended. */
enum { PLACES = 64, NAME = 1024 };
enum { FREE, CLAIMED, THERE };
static struct place {
    int state;
    pid_t owner; /* a child that was forked meanwhile is not */
    char name[NAME];
} places[PLACES];

static void remember(const char *name)
{
    size_t n = strlen(name) + 1;
    for (int i = 0; n <= NAME && i < PLACES; i++) {
        int state = FREE;
        if (__atomic_compare_exchange_n(&places[i].state, &state, CLAIMED, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            memcpy(places[i].name, name, n);
            places[i].owner = getpid();
            __atomic_store_n(&places[i].state, THERE, __ATOMIC_RELEASE);
            return;
        }
    }
}

static void forget(const char *name)
{
    for (int i = 0; i < PLACES; i++)
        if (__atomic_load_n(&places[i].state, __ATOMIC_ACQUIRE) == THERE && !strcmp(places[i].name, name))
            __atomic_store_n(&places[i].state, FREE, __ATOMIC_RELEASE);
}

void mert_outputs_unlink(void)
{
    for (int i = 0; i < PLACES; i++)
        if (__atomic_load_n(&places[i].state, __ATOMIC_ACQUIRE) == THERE && places[i].owner == getpid())
            unlink(places[i].name);
}

mert_output *mert_output_open(const char *path, mert_error *e)
{
    mert_output *o = calloc(1, sizeof *o);
    int fd;
    if (!o || !(o->path = strdup(path)) || asprintf(&o->temporary, "%s.tmp-%ld", path, (long)getpid()) < 0) {
        mert_fail(e, "%s: out of memory", path);
        goto fail;
    }
    remember(o->temporary);
    fd = open(o->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0 || !(o->stream = fdopen(fd, "wb"))) {
        mert_fail(e, "%s: cannot create: %s", path, strerror(errno));
        if (fd >= 0) {
            close(fd);
            unlink(o->temporary);
        }
        goto fail;
    }
    return o;
fail:
    if (o) {
        if (o->temporary)
            forget(o->temporary);
        free(o->path);
        free(o->temporary);
    }
    free(o);
    return NULL;
}

void mert_output_abandon(mert_output *o)
{
    if (!o)
        return;
    if (o->stream)
        fclose(o->stream);
    unlink(o->temporary);
    forget(o->temporary);
    free(o->path);
    free(o->temporary);
    free(o);
}

/* The rename itself must survive a power cut, too. Folders that cannot be synced (some network file systems) are let
 * be. */
static void sync_folder_of(const char *path)
{
    char *copy = strdup(path), *slash = copy ? strrchr(copy, '/') : NULL;
    int fd;
    if (slash)
        *(slash == copy ? slash + 1 : slash) = 0;
    fd = copy ? open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(copy);
}

int mert_output_commit(mert_output *o, mert_error *e)
{
    int bad = fflush(o->stream) || ferror(o->stream) || fsync(fileno(o->stream));
    int why = errno;
    if (fclose(o->stream) && !bad) {
        bad = 1;
        why = errno;
    }
    o->stream = NULL;
    if (!bad && rename(o->temporary, o->path)) {
        bad = 1;
        why = errno;
    }
    if (bad) {
        mert_fail(e, "%s: cannot write: %s", o->path, strerror(why));
        mert_output_abandon(o);
        return -1;
    }
    forget(o->temporary);
    sync_folder_of(o->path);
    free(o->path);
    free(o->temporary);
    free(o);
    return 0;
}

char *mert_file_read(const char *path, size_t max, size_t *size, mert_error *e)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL, *grown;
    size_t n = 0, room = 0;
    if (!f) {
        mert_fail(e, "%s: %s", path, strerror(errno));
        return NULL;
    }
    for (;;) {
        if (n + 1 >= room) {
            room = room ? 2 * room : 1 << 14;
            grown = realloc(text, room);
            if (!grown) {
                mert_fail(e, "%s: out of memory", path);
                goto fail;
            }
            text = grown;
        }
        size_t got = fread(text + n, 1, room - 1 - n, f);
        n += got;
        if (n > max) {
            mert_fail(e, "%s: larger than the %zu bytes that such a file may have", path, max);
            goto fail;
        }
        if (!got) {
            if (ferror(f)) {
                mert_fail(e, "%s: cannot read: %s", path, strerror(errno));
                goto fail;
            }
            break;
        }
    }
    fclose(f);
    text[n] = 0;
    if (size)
        *size = n;
    return text;
fail:
    fclose(f);
    free(text);
    return NULL;
}

int mert_mapping_open(mert_mapping *m, const char *path, mert_error *e)
{
    struct stat s;
    void *p = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    m->data = NULL;
    m->size = 0;
    if (fd < 0)
        return mert_fail(e, "%s: %s", path, strerror(errno));
    if (fstat(fd, &s) || !S_ISREG(s.st_mode)) {
        close(fd);
        return mert_fail(e, "%s: not a regular file", path);
    }
    if (s.st_size > 0 && (p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED) {
        int why = errno;
        close(fd);
        return mert_fail(e, "%s: cannot map: %s", path, strerror(why));
    }
    close(fd);
    m->data = p;
    m->size = (size_t)s.st_size;
    return 0;
}

void mert_mapping_close(mert_mapping *m)
{
    if (m->data)
        munmap((void *)m->data, m->size);
    m->data = NULL;
    m->size = 0;
}

void mert_mapping_expect(const mert_mapping *m)
{
#ifdef MADV_POPULATE_READ
    if (m->data)
        madvise((void *)(uintptr_t)m->data, m->size, MADV_POPULATE_READ); /* a hint: what fails shows when it is read */
#else
    (void)m;
#endif
}

void mert_mapping_forget(const mert_mapping *m, const void *data, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)data, to = from + size,
              start = (uintptr_t)m->data;
    if (!m->data || from < start || to > start + m->size)
        return;
    from = (from + page - 1) / page * page;
    to = to / page * page;
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

int mert_make_directory(const char *path, mert_error *e)
{
    char *copy = strdup(path), *p;
    if (!copy)
        return mert_fail(e, "%s: out of memory", path);
    for (p = copy + (*copy == '/'); *p; p++)
        if (*p == '/') {
            *p = 0;
            mkdir(copy, 0777); /* what fails here fails below, where it is said */
            *p = '/';
        }
    if (mkdir(copy, 0777) && errno != EEXIST) {
        mert_fail(e, "%s: cannot make the folder: %s", path, strerror(errno));
        free(copy);
        return -1;
    }
    free(copy);
    return 0;
}

char *mert_path_join(const char *dir, const char *name)
{
    char *s;
    size_t n = strlen(dir);
    return asprintf(&s, "%s%s%s", dir, n && dir[n - 1] != '/' ? "/" : "", name) < 0 ? NULL : s;
}

int mert_path_is_directory(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}
