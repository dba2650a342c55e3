#include "libcommon/teachers/kmeans/shard.h"

#include "formats/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_MAX = 1 << 26 };

int mert_kmeans_shard_new(mert_kmeans_shard *s, mert_codebook *book, mert_error *e)
{
    memset(s, 0, sizeof *s);
    s->book = *book;
    memset(book, 0, sizeof *book);
    if (!mert_kmeans_pass_new(&s->pass, s->book.classes, s->book.width, e))
        return 0;
    mert_kmeans_shard_free(s);
    return -1;
}

void mert_kmeans_shard_free(mert_kmeans_shard *s)
{
    mert_codebook_free(&s->book);
    mert_kmeans_pass_free(&s->pass);
    free(s->rows);
    memset(s, 0, sizeof *s);
}

/* ---- rows ---- */

static int add_rows(mert_kmeans_shard *s, const mert_kmeans_rows *r, mert_error *e)
{
    if (s->n_rows == s->room) {
        int64_t room = s->room ? 2 * s->room : 64;
        mert_kmeans_rows *more = room <= ROWS_MAX ? mert_array_resize(s->rows, room, sizeof *more) : NULL;
        if (!more)
            return mert_fail(e, "out of memory: too many separate rows");
        s->rows = more;
        s->room = room;
    }
    s->rows[s->n_rows++] = *r;
    return 0;
}

int mert_kmeans_shard_row(mert_kmeans_shard *s, const mts_begin *b, int64_t row, mert_error *e)
{
    mert_kmeans_rows one = {(int64_t)b->manifest, b->rows_total, row, row + 1};
    mert_kmeans_rows *last = s->n_rows ? &s->rows[s->n_rows - 1] : NULL;
    if (!b->manifest || row < 0 || row == INT64_MAX)
        return 0;
    if (last && last->manifest == one.manifest && last->total == one.total && last->end == row) {
        last->end++;
        return 0;
    }
    return add_rows(s, &one, e);
}

static int compare_rows(const void *pa, const void *pb)
{
    const mert_kmeans_rows *a = pa, *b = pb;
    if (a->manifest != b->manifest)
        return a->manifest < b->manifest ? -1 : 1;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

/* Sorts the ranges of rows and joins adjacent ones. */
static int settle_rows(mert_kmeans_shard *s, mert_error *e)
{
    int64_t n = 0;
    if (s->n_rows)
        qsort(s->rows, (size_t)s->n_rows, sizeof *s->rows, compare_rows);
    for (int64_t i = 0; i < s->n_rows; i++) {
        mert_kmeans_rows *last = n ? &s->rows[n - 1] : NULL, *now = &s->rows[i];
        int same = last && last->manifest == now->manifest;
        if (same && last->total != now->total)
            return mert_fail(e, "manifest %016" PRIx64 " has %" PRId64 " rows, and elsewhere %" PRId64,
                             (uint64_t)now->manifest, last->total, now->total);
        if (same && now->first < last->end)
            return mert_fail(e, "row %" PRId64 " came twice", now->first);
        if (same && now->first == last->end)
            last->end = now->end;
        else
            s->rows[n++] = *now;
    }
    s->n_rows = n;
    return 0;
}

int mert_kmeans_shard_complete(mert_kmeans_shard *s, mert_error *e)
{
    if (settle_rows(s, e))
        return -1;
    for (int64_t i = 0; i < s->n_rows; i++) {
        const mert_kmeans_rows *r = &s->rows[i];
        int first = !i || r[-1].manifest != r->manifest, last = i + 1 == s->n_rows || r[1].manifest != r->manifest;
        if (r->total < 0)
            continue;
        if (first && r->first > 0)
            return mert_fail(e, "row 0 of %" PRId64 " is missing", r->total);
        if (!last || r->end < r->total)
            return mert_fail(e, "row %" PRId64 " of %" PRId64 " is missing", r->end, r->total);
    }
    return 0;
}

/* ---- merging ---- */

static int same_features(const mert_features *a, const mert_features *b)
{
    return !strcmp(a->kind, b->kind) && !strcmp(a->recipe, b->recipe) && a->sample_rate == b->sample_rate &&
           a->frame_rate_num == b->frame_rate_num && a->frame_rate_den == b->frame_rate_den && a->model == b->model;
}

int mert_kmeans_shard_merge(mert_kmeans_shard *s, const mert_kmeans_shard *t, mert_error *e)
{
    if (s->book.hash != t->book.hash || s->book.classes != t->book.classes || s->book.width != t->book.width)
        return mert_fail(e, "sums over model %016" PRIx64 ", the others are over model %016" PRIx64, t->book.hash,
                         s->book.hash);
    if (!same_features(&s->book.features, &t->book.features))
        return mert_fail(e, "sums over the same centroids, but of other features");
    for (int64_t i = 0; i < t->n_rows; i++)
        if (add_rows(s, &t->rows[i], e))
            return -1;
    return settle_rows(s, e) ? -1 : mert_kmeans_pass_merge(&s->pass, &t->pass, e);
}

/* ---- the file ---- */

enum { NAME = 24, TENSORS = MERT_SUM_PLANES + 5 };

int mert_kmeans_shard_write(mert_kmeans_shard *s, const char *path, mert_error *e)
{
    mert_tensor_out t[TENSORS];
    char names[MERT_SUM_PLANES][NAME];
    mert_kmeans_pass *p = &s->pass;
    double *distance2 = mert_array(p->far_n, sizeof *distance2);
    float *points = mert_array(mert_array_count(p->far_n, p->d), sizeof *points);
    size_t n = 0;
    int bad = -1;
    if (!distance2 || !points) {
        mert_fail(e, "out of memory");
        goto done;
    }
    if (settle_rows(s, e))
        goto done;
    mert_kmeans_sums_carry(&p->sums);
    t[n++] = (mert_tensor_out){"sums.count", MERT_E_I64, 1, {p->k}, p->sums.count};
    for (int i = p->sums.lo; i < p->sums.hi; i++) {
        snprintf(names[i], NAME, "sums.%d", i);
        t[n++] = (mert_tensor_out){names[i], MERT_E_I64, 2, {p->k, p->d}, p->sums.plane[i]};
    }
    t[n++] = (mert_tensor_out){"sums.inertia", MERT_E_I64, 1, {MERT_INERTIA_DIGITS}, p->sums.inertia};
    for (int64_t i = 0; i < p->far_n; i++) {
        distance2[i] = p->far[i].distance2;
        memcpy(points + i * p->d, p->far_points + p->far[i].slot * p->d, (size_t)p->d * sizeof *points);
    }
    if (p->far_n) {
        t[n++] = (mert_tensor_out){"far.distance2", MERT_E_F64, 1, {p->far_n}, distance2};
        t[n++] = (mert_tensor_out){"far.points", MERT_E_F32, 2, {p->far_n, p->d}, points};
    }
    if (s->n_rows)
        t[n++] = (mert_tensor_out){"rows", MERT_E_I64, 2, {s->n_rows, 4}, s->rows};
    bad = mert_codebook_write_with(&s->book, "kmeans-sums", t, n, path, e);
done:
    free(distance2);
    free(points);
    return bad;
}

/* NULL with *bad 0: an optional tensor that is not there. */
static const mert_tensor *tensor(const mert_checkpoint *c, const char *name, mert_dtype type, int64_t rows,
                                 int64_t width, int needed, int *bad, mert_error *e)
{
    const mert_tensor *t = mert_checkpoint_find(c, name);
    *bad = 0;
    if (!t && needed)
        *bad = mert_fail(e, "tensor %s is missing", name);
    else if (t && (t->type != type || t->ndim != (width ? 2 : 1) || (rows >= 0 && t->shape[0] != rows) ||
                   (width && t->shape[1] != width))) {
        *bad = mert_fail(e, "tensor %s has another shape or type than in sums", name);
        t = NULL;
    }
    return t;
}

static int read_sums(mert_kmeans_sums *s, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *t;
    char name[NAME];
    int bad;
    if (!(t = tensor(c, "sums.count", MERT_E_I64, s->k, 0, 1, &bad, e)))
        return -1;
    memcpy(s->count, t->data, (size_t)s->k * sizeof *s->count);
    for (int64_t i = 0; i < s->k; i++)
        if (s->count[i] < 0 || s->count[i] > INT64_C(1) << 44)
            return mert_fail(e, "tensor sums.count: %" PRId64 " points in cluster %" PRId64, s->count[i], i);
    for (int p = 0; p < MERT_SUM_PLANES; p++) {
        snprintf(name, sizeof name, "sums.%d", p);
        t = tensor(c, name, MERT_E_I64, s->k, s->d, 0, &bad, e);
        if (bad || (t && mert_kmeans_sums_reach(s, p, p + 1, e)))
            return -1;
        if (t)
            memcpy(s->plane[p], t->data, (size_t)(s->k * s->d) * sizeof(int64_t));
        for (int64_t i = 0; t && i < s->k * s->d; i++)
            if (s->plane[p][i] < -(INT64_C(1) << 45) || s->plane[p][i] > INT64_C(1) << 45)
                return mert_fail(e, "tensor %s holds %" PRId64 ", which no sum has", name, s->plane[p][i]);
    }
    if (!(t = tensor(c, "sums.inertia", MERT_E_I64, MERT_INERTIA_DIGITS, 0, 1, &bad, e)))
        return -1;
    memcpy(s->inertia, t->data, sizeof s->inertia);
    for (int i = 0; i < MERT_INERTIA_DIGITS; i++)
        if (s->inertia[i] < 0 || s->inertia[i] > INT64_C(1) << 45)
            return mert_fail(e, "tensor sums.inertia holds %" PRId64 ", which no sum has", s->inertia[i]);
    s->pending = 1 << 14; /* for the largest digits that the checks above allow */
    return 0;
}

static int read_far(mert_kmeans_pass *p, const mert_checkpoint *c, mert_error *e)
{
    const mert_tensor *d, *x;
    float *row;
    int bad;
    d = tensor(c, "far.distance2", MERT_E_F64, -1, 0, 0, &bad, e);
    if (bad || !d)
        return bad;
    x = tensor(c, "far.points", MERT_E_F32, d->shape[0], p->d, 1, &bad, e);
    if (!x)
        return -1;
    if (!(row = mert_array(p->d, sizeof *row)))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < d->shape[0] && !bad; i++) {
        double distance2;
        memcpy(&distance2, (const char *)d->data + i * 8, sizeof distance2);
        memcpy(row, (const char *)x->data + i * p->d * 4, (size_t)p->d * sizeof *row);
        for (int64_t j = 0; j < p->d; j++)
            bad |= !(row[j] > -MERT_FEATURE_MOST && row[j] < MERT_FEATURE_MOST);
        if (bad || !isfinite(distance2))
            bad = mert_fail(e, "tensor far.points: point %" PRId64 " holds a NaN, an infinity or a value beyond 1e18",
                            i);
        else
            mert_kmeans_pass_far(p, row, distance2);
    }
    free(row);
    return bad;
}

static int read_rows(mert_kmeans_shard *s, const mert_checkpoint *c, mert_error *e)
{
    int bad;
    const mert_tensor *t = tensor(c, "rows", MERT_E_I64, -1, 4, 0, &bad, e);
    for (int64_t i = 0; t && i < t->shape[0]; i++) {
        mert_kmeans_rows r;
        memcpy(&r, (const char *)t->data + i * (int64_t)sizeof r, sizeof r);
        if (r.first < 0 || r.end <= r.first || r.total < -1)
            return mert_fail(e, "tensor rows: [%" PRId64 ", %" PRId64 ") are no rows", r.first, r.end);
        if (add_rows(s, &r, e))
            return -1;
    }
    return bad;
}

int mert_kmeans_shard_read(mert_kmeans_shard *s, const char *path, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(path, e);
    mert_codebook book;
    int bad;
    memset(s, 0, sizeof *s);
    if (!c)
        return -1;
    bad = mert_codebook_from(&book, c, e);
    if (!bad && strcmp(book.type, "kmeans-sums")) {
        bad = mert_fail(e, "is a codebook of kind %s, not sums of 'accumulate'", book.type);
        mert_codebook_free(&book);
    } else if (!bad) {
        snprintf(book.type, sizeof book.type, "kmeans");
        bad = mert_kmeans_shard_new(s, &book, e) || read_sums(&s->pass.sums, c, e) || read_far(&s->pass, c, e) ||
              read_rows(s, c, e);
    }
    mert_checkpoint_close(c);
    if (!bad)
        return 0;
    mert_kmeans_shard_free(s);
    return mert_fail_in(e, "%s", path);
}
