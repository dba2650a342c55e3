#define _GNU_SOURCE
#include "formats/file.h"

#include "formats/stream/mts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* A FIFO is not opened: its writer would take this for the real reader, and could finish before that one opens it. */
static void add_file(mts_xxh64_state *hash, const char *path)
{
    enum { ENDS = 4096 };
    char block[ENDS];
    struct stat s;
    int fd = !stat(path, &s) && S_ISREG(s.st_mode) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    mts_xxh64_add(hash, path, strlen(path) + 1);
    if (fd >= 0 && !fstat(fd, &s) && S_ISREG(s.st_mode)) {
        int64_t size = s.st_size, last = size > ENDS ? size - ENDS : 0;
        ssize_t n;
        mts_xxh64_add(hash, &size, sizeof size);
        if ((n = pread(fd, block, ENDS, 0)) > 0)
            mts_xxh64_add(hash, block, (size_t)n);
        if (last && (n = pread(fd, block, ENDS, (off_t)last)) > 0)
            mts_xxh64_add(hash, block, (size_t)n);
    }
    if (fd >= 0)
        close(fd);
}

uint64_t mert_files_hash(char *const *paths, int n)
{
    mts_xxh64_state hash;
    mts_xxh64_begin(&hash, 0);
    for (int i = 0; i < n; i++)
        add_file(&hash, paths[i]);
    uint64_t h = mts_xxh64_end(&hash, 0);
    return h ? h : 1;
}

const char *mert_file_kind(unsigned mode)
{
    return S_ISREG(mode)   ? "a regular file"
           : S_ISDIR(mode) ? "a folder"
           : S_ISLNK(mode) ? "a link"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISSOCK(mode) ? "a socket"
           : S_ISBLK(mode)  ? "a disk"
                            : "a device";
}

int mert_file_regular(const char *path, mert_error *e)
{
    struct stat s;
    if (stat(path, &s))
        return mert_fail(e, "%s: %s", path, strerror(errno));
    return S_ISREG(s.st_mode) ? 0 : mert_fail(e, "%s: is %s, not a regular file", path, mert_file_kind(s.st_mode));
}

int mert_mapping_open(mert_mapping *m, const char *path, mert_error *e)
{
    struct stat s;
    void *p = NULL;
    int fd;
    m->data = NULL;
    m->size = 0;
    if (mert_file_regular(path, e))
        return -1;
    if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return mert_fail(e, "%s: %s", path, strerror(errno));
    if (fstat(fd, &s)) {
        int why = errno;
        close(fd);
        return mert_fail(e, "%s: cannot read: %s", path, strerror(why));
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
    void *p = (void *)(uintptr_t)m->data;
    if (!p)
        return; /* both are hints: errors appear at the read */
#ifdef MADV_HUGEPAGE
    madvise(p, m->size, MADV_HUGEPAGE);
#endif
    madvise(p, m->size, MADV_WILLNEED);
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

void mert_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* mkdir of `at`, which is path up to one of its slashes. */
static int make_one(const char *path, const char *at, mert_error *e)
{
    char target[PATH_MAX];
    struct stat s;
    int why, there;
    ssize_t n;
    if (mert_path_is_directory(at) || !mkdir(at, 0777))
        return 0;
    there = errno == EEXIST; /* another process may have made it in the meantime */
    if (there && mert_path_is_directory(at))
        return 0;
    why = errno;
    if (there && (n = readlink(at, target, sizeof target - 1)) >= 0 && stat(at, &s)) {
        target[n] = 0;
        return mert_fail(e, "%s: cannot make the folder: %s is a link to %s: %s", path, at, target, strerror(why));
    }
    if (there && !stat(at, &s))
        return mert_fail(e, "%s: cannot make the folder: %s is %s", path, at, mert_file_kind(s.st_mode));
    return mert_fail(e, "%s: cannot make the folder: %s", path, strerror(why));
}

int mert_make_directory(const char *path, mert_error *e)
{
    char *copy = strdup(path), *p;
    int bad = 0;
    if (!copy)
        return mert_fail(e, "%s: out of memory", path);
    for (p = copy + (*copy == '/'); *p && !bad; p++)
        if (*p == '/') {
            *p = 0;
            bad = make_one(path, copy, e);
            *p = '/';
        }
    bad = bad || make_one(path, copy, e);
    free(copy);
    return bad ? -1 : 0;
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
