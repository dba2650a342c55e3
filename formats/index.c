#define _GNU_SOURCE
#include "formats/index.h"

#include "formats/stream/mts.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char magic[8] = "MERTIDX1";

/* The file's first bytes. */
typedef struct head {
    char magic[8], kind[8];
    uint64_t bytes, sum;
    struct stamp {
        int64_t size, modified[2], changed[2];
    } stamp;
    uint64_t context, sections;
    struct place {
        uint64_t offset, bytes;
    } places[]; /* [sections] */
} head;

static size_t head_bytes(int sections)
{
    return sizeof(head) + (size_t)sections * sizeof(struct place);
}

static int stamp_of(struct stamp *s, const char *file, mert_error *e)
{
    struct stat now;
    if (stat(file, &now))
        return mert_fail(e, "%s: %s", file, strerror(errno));
    *s = (struct stamp){.size = now.st_size,
                        .modified = {now.st_mtim.tv_sec, now.st_mtim.tv_nsec},
                        .changed = {now.st_ctim.tv_sec, now.st_ctim.tv_nsec}};
    return 0;
}

static uint64_t sum_of(const unsigned char *data, size_t bytes)
{
    const size_t from = offsetof(head, stamp);
    return mts_xxh64(data + from, bytes - from, 0);
}

/* 1: these bytes are a complete index of the file as it is now. */
static int fits(const unsigned char *data, size_t bytes, const struct stamp *now, const char *kind, uint64_t context,
                int sections)
{
    const head *h = (const head *)(const void *)data;
    char padded[8] = {0};
    if (bytes < head_bytes(sections))
        return 0;
    memcpy(padded, kind, strnlen(kind, sizeof padded));
    if (memcmp(h->magic, magic, sizeof magic) || memcmp(h->kind, padded, sizeof padded) || h->bytes != bytes ||
        memcmp(&h->stamp, now, sizeof *now) || h->context != context || h->sections != (uint64_t)sections ||
        h->sum != sum_of(data, bytes))
        return 0;
    for (int i = 0; i < sections; i++)
        if (h->places[i].offset % 8 || h->places[i].offset > bytes || h->places[i].bytes > bytes - h->places[i].offset)
            return 0;
    return 1;
}

/* Maps the index file. 1: mapped; 0: there is none that fits. */
static int open_there(mert_index *x, const char *path, const struct stamp *now, const char *kind, uint64_t context,
                      int sections)
{
    mert_error unsaid;
    if (access(path, R_OK) || mert_mapping_open(&x->mapping, path, &unsaid))
        return 0;
    if (x->mapping.data && fits(x->mapping.data, x->mapping.size, now, kind, context, sections)) {
        mert_index_rest(x);
        return 1;
    }
    mert_mapping_close(&x->mapping);
    return 0;
}

static unsigned char *image(const mert_index_part *parts, int sections, const char *kind, uint64_t context,
                            const struct stamp *stamp)
{
    size_t bytes = head_bytes(sections), at = bytes;
    unsigned char *data;
    head *h;
    for (int i = 0; i < sections; i++)
        bytes += (parts[i].bytes + 7) / 8 * 8;
    if (!(data = calloc(1, bytes)))
        return NULL;
    h = (head *)(void *)data;
    memcpy(h->magic, magic, sizeof magic);
    memcpy(h->kind, kind, strnlen(kind, sizeof h->kind));
    h->bytes = bytes;
    h->stamp = *stamp;
    h->context = context;
    h->sections = (uint64_t)sections;
    for (int i = 0; i < sections; i++) {
        h->places[i] = (struct place){at, parts[i].bytes};
        if (parts[i].bytes)
            memcpy(data + at, parts[i].data, parts[i].bytes);
        at += (parts[i].bytes + 7) / 8 * 8;
    }
    h->sum = sum_of(data, bytes);
    return data;
}

/* The file system's clock has coarse steps: two changes in the same step give the same time. If the file was changed
 * just now, waits for the next step, so that every later change is noticed. */
static void let_clock_pass(const struct stamp *s)
{
    const struct timespec pause = {0, 20 * 1000 * 1000};
    struct timespec now;
    if (!clock_gettime(CLOCK_REALTIME, &now) && now.tv_sec - s->changed[0] <= 1)
        nanosleep(&pause, NULL);
}

/* Writes the index. -1: it could not be written; the copy in memory is used then. */
static int keep(const char *path, const char *file, const unsigned char *data, const struct stamp *stamp)
{
    mert_error unsaid;
    struct stamp now;
    mert_output *o;
    let_clock_pass(stamp);
    if (stamp_of(&now, file, &unsaid) || memcmp(&now, stamp, sizeof now) || !(o = mert_output_open(path, &unsaid)))
        return -1;
    fwrite(data, 1, ((const head *)(const void *)data)->bytes, o->stream);
    return mert_output_commit(o, &unsaid);
}

static int make_it(mert_index *x, const char *path, const char *file, const char *kind, uint64_t context, int sections,
                   mert_index_keeping keeping, mert_index_maker *make, void *arg, mert_error *e)
{
    mert_index_part parts[MERT_INDEX_SECTIONS] = {{0}};
    struct stamp before, after;
    int worth = 1, bad = stamp_of(&before, file, e) || make(arg, parts, &worth, e) || stamp_of(&after, file, e);
    if (!bad && memcmp(&before, &after, sizeof before))
        bad = mert_fail(e, "%s: changed while it was read", file);
    if (!bad && !(x->made = image(parts, sections, kind, context, &before)))
        bad = mert_fail(e, "%s: out of memory for its index", file);
    for (int i = 0; i < sections; i++)
        free(parts[i].data);
    if (bad || !worth || keeping == MERT_INDEX_FORGET || keep(path, file, x->made, &before))
        return bad;
    if (open_there(x, path, &before, kind, context, sections)) {
        free(x->made);
        x->made = NULL;
    }
    return 0;
}

int mert_index_get(mert_index *x, const char *file, const char *suffix, const char *kind, uint64_t context,
                   int sections, mert_index_keeping keeping, mert_index_maker *make, void *arg, mert_error *e)
{
    struct stamp now;
    char *path;
    int fd, bad;
    memset(x, 0, sizeof *x);
    if (mert_file_regular(file, e) || stamp_of(&now, file, e))
        return -1;
    if (asprintf(&path, "%s%s", file, suffix) < 0)
        return mert_fail(e, "%s: out of memory", file);
    if (open_there(x, path, &now, kind, context, sections)) {
        free(path);
        return 0;
    }
    /* The lock is on the file itself. Where locks do not work, each process makes the same index. */
    fd = keeping == MERT_INDEX_KEEP ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0)
        while (flock(fd, LOCK_EX) && errno == EINTR)
            ;
    bad = stamp_of(&now, file, e);
    if (!bad && !open_there(x, path, &now, kind, context, sections))
        bad = make_it(x, path, file, kind, context, sections, keeping, make, arg, e);
    if (fd >= 0)
        close(fd);
    free(path);
    return bad ? -1 : 0;
}

const void *mert_index_section(const mert_index *x, int i, size_t *bytes)
{
    const unsigned char *data = x->made ? x->made : x->mapping.data;
    const head *h = (const head *)(const void *)data;
    *bytes = h->places[i].bytes;
    return data + h->places[i].offset;
}

void mert_index_rest(const mert_index *x)
{
    if (x->mapping.data)
        mert_mapping_forget(&x->mapping, x->mapping.data, x->mapping.size);
}

void mert_index_close(mert_index *x)
{
    mert_mapping_close(&x->mapping);
    free(x->made);
    memset(x, 0, sizeof *x);
}
