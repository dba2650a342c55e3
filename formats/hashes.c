#include "formats/hashes.h"

#include "formats/file.h"
#include "formats/stream/mts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char file_name[] = "hashes", first_line[] = "mert-hashes 1\n", last_line[] = "xxh64=";
enum { BLOCK = 1 << 20, TEXT_MAX = MERT_HASHES_MAX * (MERT_HASHES_NAME_MAX + 64) + 128 };

int mert_hashes_add(mert_hashes *h, const char *name, uint64_t size, uint64_t hash, mert_error *e)
{
    struct mert_hashed *f = &h->files[h->n];
    if (h->n == MERT_HASHES_MAX || strlen(name) >= sizeof f->name)
        return mert_fail(e, "%s: no room for its hash", name);
    *f = (struct mert_hashed){.size = size, .hash = hash};
    strcpy(f->name, name);
    h->n++;
    return 0;
}

/* Read, not mapped: a mapping would count as memory of this process. */
static int hash_file(const char *path, uint64_t *size, uint64_t *hash, mert_error *e)
{
    int fd = mert_file_regular(path, e) ? -2 : open(path, O_RDONLY | O_CLOEXEC), bad = 0;
    char *block = fd >= 0 ? malloc(BLOCK) : NULL;
    mts_xxh64_state s;
    ssize_t n = 1;
    if (fd < 0)
        return fd == -1 ? mert_fail(e, "%s: %s", path, strerror(errno)) : -1;
    mts_xxh64_begin(&s, 0);
    while (block && n) {
        n = read(fd, block, BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            bad = mert_fail(e, "%s: cannot read: %s", path, strerror(errno));
            break;
        }
        mts_xxh64_add(&s, block, (size_t)n);
    }
    if (!block)
        bad = mert_fail(e, "%s: out of memory", path);
    free(block);
    close(fd);
    *size = s.total;
    *hash = mts_xxh64_end(&s, 0);
    return bad;
}

int mert_hashes_add_file(mert_hashes *h, const char *dir, const char *name, mert_error *e)
{
    char *path = mert_path_join(dir, name);
    uint64_t size, hash;
    int bad = path ? hash_file(path, &size, &hash, e) : mert_fail(e, "%s: out of memory", name);
    free(path);
    return bad ? -1 : mert_hashes_add(h, name, size, hash, e);
}

int mert_hashes_write(const mert_hashes *h, const char *dir, mert_error *e)
{
    char text[TEXT_MAX], *path = mert_path_join(dir, file_name);
    mert_output *o = path ? mert_output_open(path, e) : NULL;
    int n = snprintf(text, sizeof text, "%s", first_line);
    if (!path)
        mert_fail(e, "%s: out of memory", dir);
    free(path);
    if (!o)
        return -1;
    for (int i = 0; i < h->n; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%016" PRIx64 " %" PRIu64 " %s\n", h->files[i].hash,
                      h->files[i].size, h->files[i].name);
    fwrite(text, 1, (size_t)n, o->stream);
    fprintf(o->stream, "%s%016" PRIx64 "\n", last_line, mts_xxh64(text, (size_t)n, 0));
    return mert_output_commit(o, e);
}

/* Strict: accepts only the exact text that mert_hashes_write produces. */
static int parse(mert_hashes *h, const char *text, size_t size)
{
    char expected[64];
    size_t tail = sizeof last_line - 1 + 17;
    const char *line = text + sizeof first_line - 1, *end = text + size - tail;
    if (size < sizeof first_line - 1 + tail || strlen(text) != size || strncmp(text, first_line, sizeof first_line - 1))
        return -1;
    snprintf(expected, sizeof expected, "%s%016" PRIx64 "\n", last_line, mts_xxh64(text, size - tail, 0));
    if (strcmp(end, expected))
        return -1;
    for (; line < end; line = strchr(line, '\n') + 1) {
        struct mert_hashed *f = &h->files[h->n];
        if (h->n == MERT_HASHES_MAX ||
            sscanf(line, "%16" SCNx64 " %" SCNu64 " %63s", &f->hash, &f->size, f->name) != 3 || strchr(f->name, '/'))
            return -1;
        h->n++;
    }
    return 0;
}

int mert_hashes_read(mert_hashes *h, const char *dir, mert_error *e)
{
    char *path = mert_path_join(dir, file_name), *text = NULL;
    size_t size;
    int result = 0;
    h->n = 0;
    if (!path)
        return mert_fail(e, "%s: out of memory", dir);
    if (access(path, F_OK) && errno == ENOENT)
        result = 1;
    else if (!(text = mert_file_read(path, TEXT_MAX, &size, e)))
        result = -1;
    else if (parse(h, text, size))
        result = mert_fail(e, "%s: damaged: it is not what was written", path);
    free(text);
    free(path);
    return result;
}

int mert_hashes_check(const char *dir, mert_error *e)
{
    mert_hashes h;
    int result = mert_hashes_read(&h, dir, e);
    for (int i = 0; !result && i < h.n; i++) {
        const struct mert_hashed *f = &h.files[i];
        mert_hashes is = {.n = 0};
        if (mert_hashes_add_file(&is, dir, f->name, e))
            result = -1;
        else if (is.files[0].size != f->size)
            result = mert_fail(e, "%s/%s: damaged: %" PRIu64 " bytes, %" PRIu64 " were written", dir, f->name,
                               is.files[0].size, f->size);
        else if (is.files[0].hash != f->hash)
            result = mert_fail(e, "%s/%s: damaged: its hash is %016" PRIx64 ", %016" PRIx64 " was written", dir,
                               f->name, is.files[0].hash, f->hash);
    }
    return result;
}
