#define _GNU_SOURCE
#include "formats/labels/labels.h"

#include "formats/labels/array.h"
#include "formats/labels/index.h"
#include "formats/labels/meta.h"
#include "formats/labels/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mert_mapping *mapping_of(const mert_labels *l)
{
    return l->npy ? &l->npy->mapping : l->mapping;
}

/* Compares the file's bytes with the hash in its .meta. */
static int check_bytes(const mert_labels *l, mert_error *e)
{
    const mert_mapping *map = mapping_of(l);
    const uint64_t hash = !l->meta.hash || !map ? 0
                          : l->known            ? mert_labels_index_facts(l)->bytes
                                                : mts_xxh64(map->data, map->size, 0);
    if (l->meta.hash && hash != l->meta.hash)
        return mert_fail(e,
                         "%s: damaged or changed since it was written: its hash is %016" PRIx64
                         ", %s.meta says %016" PRIx64
                         "; write the labels again, or, if they were changed on purpose, take out that line 'hash='",
                         l->path, hash, l->path, l->meta.hash);
    if (!l->meta.hash && l->verified && l->cut)
        return mert_fail(e,
                         "%s:%" PRId64 ": the last line has no end, so the file was cut (its .meta has no hash to tell "
                         "how); write the labels again, or, if it is whole, end its last line",
                         l->path, l->rows);
    return 0;
}

/* Compares the file with its .meta and dictionary. */
static int check(const mert_labels *l, mert_error *e)
{
    int64_t empty = 0;
    if (check_bytes(l, e))
        return -1;
    if (l->verified && l->rows != l->meta.rows)
        return mert_fail(e, "%s: has %" PRId64 " %s, but its .meta says %" PRId64 " rows", l->path, l->rows,
                         l->npy ? "rows" : "lines", l->meta.rows);
    if (l->known)
        empty = mert_labels_index_facts(l)->empty;
    else if (l->npy ? mert_labels_array_check(l, &empty, e) : mert_labels_text_check(l, &empty, e))
        return -1;
    /* Items shorter than a frame have no labels either, so there can be more empty lines than failures, but not
     * fewer. */
    if (empty < l->meta.failed_rows)
        return mert_fail(e, "%s: has %" PRId64 " empty %s, but its .meta says that %" PRId64 " rows failed", l->path,
                         empty, l->npy ? "rows" : "lines", l->meta.failed_rows);
    return 0;
}

static int map_text(mert_labels *l, mert_error *e)
{
    mert_mapping *map = calloc(1, sizeof *map);
    if (!map)
        return mert_fail(e, "%s: out of memory", l->path);
    if (mert_mapping_open(map, l->path, e)) {
        free(map);
        return -1;
    }
    l->mapping = map;
    l->text = map->data ? (const char *)map->data : "";
    return 0;
}

/* Reads the dictionary, if there is one; it and the .meta must have the same number of classes. */
static int find_dict(mert_labels *l, mert_error *e)
{
    if (mert_label_dict_find(&l->dict, l->path, e) < 0)
        return -1;
    if (l->dict && l->verified && mert_label_dict_classes(l->dict) != l->meta.classes)
        return mert_fail(e, "%s: its .meta says %" PRId64 " classes, but %s lists %" PRId64, l->path, l->meta.classes,
                         mert_label_dict_file(l->dict), mert_label_dict_classes(l->dict));
    if (l->dict)
        l->meta.classes = mert_label_dict_classes(l->dict);
    return 0;
}

/* The first part of both ways of opening: everything but the rows of a text. */
static int begin(mert_labels *l, const char *path, mert_error *e)
{
    const int npy = mert_labels_is_npy(path);
    memset(l, 0, sizeof *l);
    l->meta.frame_rate_den = 1;
    if (!(l->path = strdup(path)))
        return mert_fail(e, "%s: out of memory", path);
    return (npy ? mert_labels_array_open(l, e) : map_text(l, e))
                   || (l->verified = mert_labels_meta_read(path, &l->meta, e)) < 0 || (!npy && find_dict(l, e))
               ? -1
               : 0;
}

static int finish(mert_labels *l, int bad, mert_error *e)
{
    if (bad || ((l->verified || l->dict) && check(l, e))) {
        mert_labels_close(l);
        return -1;
    }
    if (!l->verified)
        l->meta.rows = l->rows;
    return 0;
}

int mert_labels_open(mert_labels *l, const char *path, mert_error *e)
{
    return finish(l, begin(l, path, e) || (!l->npy && mert_labels_text_lines(l, mapping_of(l)->size, e)), e);
}

int mert_labels_open_indexed(mert_labels *l, const char *path, mert_index_keeping keeping, mert_error *e)
{
    return finish(l, begin(l, path, e) || mert_labels_index_find(l, keeping, e), e);
}

void mert_labels_close(mert_labels *l)
{
    if (l->mapping)
        mert_mapping_close(l->mapping);
    if (l->npy)
        mert_npy_close(l->npy);
    mert_label_dict_free(l->dict);
    if (l->index)
        mert_index_close(l->index);
    free(l->npy);
    free(l->mapping);
    free(l->index);
    free(l->offset);
    free(l->path);
    memset(l, 0, sizeof *l);
}

int64_t mert_labels_count(const mert_labels *l, int64_t row)
{
    if (row < 0 || row >= l->rows)
        return 0;
    if (l->known)
        return l->known[row].count;
    return l->npy ? mert_labels_array_count(l, row) : mert_labels_text_count(l, row);
}

int mert_labels_read_on(const mert_labels *l, mert_labels_cursor *c, int64_t n, int32_t *to, mert_error *e)
{
    if (c->row < 0 || c->row >= l->rows)
        return mert_fail(e, "%s: has %" PRId64 " rows, there is no row %" PRId64, l->path, l->rows, c->row);
    if (!l->npy)
        return mert_labels_text_read(l, c, n, to, e);
    if (mert_labels_array_read(l, c->row, c->index, n, to, e))
        return -1;
    c->index += n;
    return 0;
}

int mert_labels_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
{
    mert_labels_cursor c = {.row = row};
    if (l->npy)
        c.index = first;
    else if (first && row >= 0 && row < l->rows && mert_labels_read_on(l, &c, first, NULL, e))
        return mert_fail(e, "%s:%" PRId64 ": has %" PRId64 " labels, %" PRId64 " to %" PRId64 " were wanted", l->path,
                         row + 1, mert_labels_count(l, row), first, first + n - 1);
    return mert_labels_read_on(l, &c, n, to, e);
}

const char *mert_labels_line(const mert_labels *l, int64_t row, size_t *size)
{
    return l->npy || row < 0 || row >= l->rows ? NULL : mert_labels_text_line(l, row, size);
}

/* ---- several codebooks ---- */

static int same_items(const mert_labels *a, const mert_labels *b, mert_error *e)
{
    const mert_labels_meta *x = &a->meta, *y = &b->meta;
    if (a->rows != b->rows)
        return mert_fail(e, "%s has %" PRId64 " rows, %s has %" PRId64, a->path, a->rows, b->path, b->rows);
    if (x->frame_rate_num * y->frame_rate_den != y->frame_rate_num * x->frame_rate_den)
        return mert_fail(e, "%s has %" PRId64 "/%" PRId64 " labels per second, %s has %" PRId64 "/%" PRId64, a->path,
                         x->frame_rate_num, x->frame_rate_den, b->path, y->frame_rate_num, y->frame_rate_den);
    if (x->manifest && y->manifest && x->manifest != y->manifest)
        return mert_fail(e, "%s belongs to the manifest %016" PRIx64 ", %s to %016" PRIx64, a->path, x->manifest,
                         b->path, y->manifest);
    return 0;
}

int mert_labels_open_all(mert_labels **all, const char *pattern, mert_error *e)
{
    const int many = strstr(pattern, "%d") != NULL;
    int K = 0, bad = 0;
    if (!(*all = calloc(many ? MTS_CODEBOOKS_MAX : 1, sizeof **all)))
        return mert_fail(e, "%s: out of memory", pattern);
    do {
        char *name = mert_labels_name(pattern, K);
        if (name && K && access(name, F_OK)) {
            free(name);
            break;
        }
        if (!name)
            bad = mert_fail(e, "%s: out of memory", pattern);
        else if (K == MTS_CODEBOOKS_MAX)
            bad = mert_fail(e, "%s: more than %d codebooks", pattern, MTS_CODEBOOKS_MAX);
        else
            bad = mert_labels_open(&(*all)[K], name, e);
        K += !bad;
        bad = bad || (K > 1 && same_items(&(*all)[0], &(*all)[K - 1], e));
        free(name);
    } while (many && !bad);
    if (!bad)
        return K;
    mert_labels_close_all(*all, K);
    *all = NULL;
    return -1;
}

void mert_labels_close_all(mert_labels *all, int K)
{
    for (int k = 0; k < K; k++)
        mert_labels_close(&all[k]);
    free(all);
}

int mert_labels_match(const mert_labels *l, const mert_manifest *m, int64_t sample_rate, int64_t frame_rate_num,
                      int64_t frame_rate_den, int64_t tolerance, mert_error *e)
{
    int64_t num = frame_rate_num, unit;
    if (l->rows != m->n)
        return mert_fail(e, "%s: has %" PRId64 " rows, but the manifest has %" PRId64, l->path, l->rows, m->n);
    if (l->meta.manifest && m->hash && l->meta.manifest != m->hash)
        return mert_fail(e, "%s: belongs to the manifest %016" PRIx64 ", this one is %016" PRIx64, l->path,
                         l->meta.manifest, m->hash);
    if (!num) {
        num = l->meta.frame_rate_num;
        frame_rate_den = l->meta.frame_rate_den;
    }
    if (!num || sample_rate <= 0)
        return 0;
    unit = sample_rate * frame_rate_den; /* `unit` samples carry `num` labels */
    for (int64_t row = 0; row < l->rows; row++) {
        int64_t n = mert_labels_count(l, row), samples = m->rows[row].samples;
        int64_t fit = samples / unit * num + (int64_t)((double)(samples % unit) * (double)num / (double)unit);
        if (n && (n < fit - tolerance || n > fit + tolerance))
            return mert_fail(e,
                             "%s:%" PRId64 ": %s has %" PRId64 " labels, but its %" PRId64 " samples make %" PRId64
                             " at %" PRId64 "/%" PRId64 " per second",
                             l->path, row + 1, m->rows[row].path, n, samples, fit, num, frame_rate_den);
    }
    return 0;
}
