#define _GNU_SOURCE
#include "formats/labels/labels.h"

#include "formats/array.h"
#include "formats/labels/array.h"
#include "formats/labels/meta.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mert_labels_writer {
    char *pattern;
    const char *number;      /* the %d in it, or NULL */
    int K;                   /* 0: no record has come yet */
    mert_output *out[MTS_CODEBOOKS_MAX]; /* text; for arrays all labels as int32, converted at the commit */
    off_t line[MTS_CODEBOOKS_MAX]; /* where the open row begins, in case it fails */
    mts_record first;        /* later records must agree with it */
    mts_dtype dtype;         /* of the open record */
    int open, begun;         /* a record is open; its line has labels already */
    char key[MTS_KEY_MAX];   /* of the open record */
    uint64_t manifest;
    int64_t total;           /* rows of the manifest; -1: not known */
    int64_t next;            /* the row that comes next */
    int64_t failed;
    int64_t nameless;        /* failures without a row, not yet assigned to a missing row */
    int dict;
    int npy, npy_typed;      /* the output is arrays; their type was given */
    mert_npy_type npy_type;
    int64_t *lengths, rows_room; /* arrays: labels of each row */
    int64_t frames;          /* of the open record */
};

int mert_labels_is_npy(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".npy");
}

mert_labels_writer *mert_labels_create(const char *pattern, mert_error *e)
{
    mert_labels_writer *w;
    const char *number = strstr(pattern, "%d");
    if (!*pattern || (number && strstr(number + 2, "%d"))) {
        mert_fail(e, "'%s' cannot name label files: a file name with at most one %%d is needed", pattern);
        return NULL;
    }
    if (!(w = calloc(1, sizeof *w)) || !(w->pattern = strdup(pattern))) {
        mert_fail(e, "out of memory");
        free(w);
        return NULL;
    }
    w->number = number ? w->pattern + (number - pattern) : NULL;
    w->total = -1;
    w->npy = mert_labels_is_npy(pattern);
    return w;
}

void mert_labels_with_dict(mert_labels_writer *w)
{
    w->dict = 1;
}

void mert_labels_npy_type(mert_labels_writer *w, mert_npy_type type)
{
    w->npy_type = type;
    w->npy_typed = 1;
}

char *mert_labels_name(const char *pattern, int k)
{
    const char *number = strstr(pattern, "%d");
    char *name;
    if (!number)
        return strdup(pattern);
    return asprintf(&name, "%.*s%d%s", (int)(number - pattern), pattern, k, number + 2) < 0 ? NULL : name;
}

static char *file_name(const mert_labels_writer *w, int k, mert_error *e)
{
    char *name = mert_labels_name(w->pattern, k);
    if (!name)
        mert_fail(e, "out of memory");
    return name;
}

/* ---- rows: in order, each once ---- */

/* Sets the lengths of rows [w->next, next) to `frames`: one row with labels, or any number of rows with 0. */
static int put_lengths(mert_labels_writer *w, int64_t next, int64_t frames, mert_error *e)
{
    if (next > w->rows_room) {
        int64_t *grown = mert_array_grow(w->lengths, &w->rows_room, next, sizeof *grown);
        if (!grown)
            return mert_fail(e, "%s: out of memory", w->pattern);
        w->lengths = grown;
    }
    while (w->next < next)
        w->lengths[w->next++] = frames;
    return 0;
}

static int put_empty_lines(mert_labels_writer *w, int64_t n, mert_error *e)
{
    w->failed += n;
    if (w->npy && w->K)
        return put_lengths(w, w->next + n, 0, e);
    w->next += n;
    for (int k = 0; k < w->K; k++)
        for (int64_t i = 0; i < n; i++)
            if (putc('\n', w->out[k]->stream) == EOF)
                return mert_fail(e, "%s: cannot write: %s", w->out[k]->path, strerror(errno));
    return 0;
}

/* Advances w->next to `row`. Rows in between are missing, which is an error unless there are as many failures without a
 * row. */
static int expect_row(mert_labels_writer *w, int64_t row, const char *what, mert_error *e)
{
    int64_t gap = row - w->next;
    if (gap < 0)
        return mert_fail(e, "%s: %s comes after row %" PRId64 ": twice, or out of order", w->pattern, what,
                         w->next - 1);
    if (gap > w->nameless && gap == 1)
        return mert_fail(e, "%s: row %" PRId64 " is missing before %s", w->pattern, w->next, what);
    if (gap > w->nameless)
        return mert_fail(e, "%s: rows %" PRId64 " to %" PRId64 " are missing before %s", w->pattern, w->next, row - 1,
                         what);
    w->nameless -= gap;
    return put_empty_lines(w, gap, e);
}

int mert_labels_stream(mert_labels_writer *w, const mts_begin *b, mert_error *e)
{
    if (w->manifest && b->manifest && b->manifest != w->manifest)
        return mert_fail(e, "%s: streams of two manifests: %016" PRIx64 " and %016" PRIx64, w->pattern, w->manifest,
                         b->manifest);
    if (w->total >= 0 && b->rows_total >= 0 && b->rows_total != w->total)
        return mert_fail(e, "%s: streams of manifests with %" PRId64 " and %" PRId64 " rows", w->pattern, w->total,
                         b->rows_total);
    if (b->manifest)
        w->manifest = b->manifest;
    if (b->rows_total >= 0)
        w->total = b->rows_total;
    return b->row_first >= 0 ? expect_row(w, b->row_first, "the stream that now begins", e) : 0;
}

/* ---- records ---- */

static int open_files(mert_labels_writer *w, const mts_record *r, mert_error *e)
{
    if (r->ncodebooks > 1 && !w->number)
        return mert_fail(e, "%s: there are %d codebooks, so the label files' name needs a %%d", w->pattern,
                         r->ncodebooks);
    for (int k = 0; k < r->ncodebooks; k++) {
        char *name = file_name(w, k, e), *rows = NULL;
        if (name && w->npy && asprintf(&rows, "%s.rows", name) < 0)
            mert_fail(e, "out of memory");
        w->out[k] = w->npy ? rows ? mert_output_open(rows, e) : NULL : name ? mert_output_open(name, e) : NULL;
        free(name);
        free(rows);
        if (!w->out[k])
            return -1;
        w->K = k + 1;
    }
    w->first = *r;
    /* Rows that failed before the first record, when K was not known. */
    int64_t failed = w->next;
    w->next = w->failed = 0;
    return put_empty_lines(w, failed, e);
}

static int same_as_first(const mert_labels_writer *w, const mts_record *r, mert_error *e)
{
    const mts_record *f = &w->first;
    if (r->ncodebooks != f->ncodebooks)
        return mert_fail(e, "%s: %d codebooks, but %s has %d", r->key, r->ncodebooks, f->key, f->ncodebooks);
    for (int k = 0; k < f->ncodebooks; k++)
        if (r->classes[k] != f->classes[k])
            return mert_fail(e, "%s: %" PRId64 " classes in codebook %d, but %s has %" PRId64, r->key, r->classes[k], k,
                             f->key, f->classes[k]);
    if (r->frame_rate_num != f->frame_rate_num || r->frame_rate_den != f->frame_rate_den)
        return mert_fail(e, "%s: frame rate %" PRId64 "/%" PRId64 ", but %s has %" PRId64 "/%" PRId64, r->key,
                         r->frame_rate_num, r->frame_rate_den, f->key, f->frame_rate_num, f->frame_rate_den);
    if (r->model != f->model)
        return mert_fail(e, "%s: made by codebook %016" PRIx64 ", but %s by %016" PRIx64, r->key, r->model, f->key,
                         f->model);
    return 0;
}

int mert_labels_record(mert_labels_writer *w, const mts_record *r, mert_error *e)
{
    char what[MTS_KEY_MAX + 64];
    if (w->open)
        return mert_fail(e, "%s: begins before %s has ended", r->key, w->key);
    if (strcmp(r->kind, "codes") || r->ndim != 2 || r->ncodebooks < 1 || r->ncodebooks > MTS_CODEBOOKS_MAX ||
        r->shape[1] != r->ncodebooks)
        return mert_fail(e, "%s: label files are made of codes [T, K], this is %s", r->key, r->kind);
    if (r->dtype != MTS_U16 && r->dtype != MTS_I16 && r->dtype != MTS_I32)
        return mert_fail(e, "%s: codes of type %s cannot be labels", r->key, mts_dtype_name(r->dtype));
    if (r->row < 0)
        return mert_fail(e, "%s: has no row, and lines of label files are rows: decode with --manifest", r->key);
    snprintf(what, sizeof what, "row %" PRId64 " (%s)", r->row, r->key);
    if (w->total >= 0 && r->row >= w->total)
        return mert_fail(e, "%s: %s is beyond the manifest's %" PRId64 " rows", w->pattern, what, w->total);
    if ((w->K ? same_as_first(w, r, e) : open_files(w, r, e)) || expect_row(w, r->row, what, e))
        return -1;
    for (int k = 0; k < w->K; k++)
        if ((w->line[k] = ftello(w->out[k]->stream)) < 0)
            return mert_fail(e, "%s: %s", w->out[k]->path, strerror(errno));
    memcpy(w->key, r->key, sizeof w->key);
    w->dtype = r->dtype;
    w->open = 1;
    w->begun = 0;
    w->frames = 0;
    return 0;
}

static int64_t code_at(const void *codes, mts_dtype t, int64_t i)
{
    uint16_t u;
    int16_t s;
    int32_t v;
    const char *p = (const char *)codes + (size_t)i * mts_dtype_size(t);
    switch (t) {
    case MTS_U16: memcpy(&u, p, sizeof u); return u;
    case MTS_I16: memcpy(&s, p, sizeof s); return s;
    default: memcpy(&v, p, sizeof v); return v;
    }
}

/* Formats a label, at most 16 bytes: a blank and the number, or 32 bits. */
static size_t put_label(const mert_labels_writer *w, int64_t v, int first, char *to)
{
    char digits[12], *p = digits + sizeof digits;
    int32_t bits = (int32_t)v;
    if (w->npy) {
        memcpy(to, &bits, sizeof bits);
        return sizeof bits;
    }
    do
        *--p = (char)('0' + v % 10);
    while (v /= 10);
    if (!first)
        *to++ = ' ';
    memcpy(to, p, (size_t)(digits + sizeof digits - p));
    return (size_t)(digits + sizeof digits - p) + !first;
}

/* Writes the labels of one codebook for these frames, through a buffer. */
static int put_column(mert_labels_writer *w, int k, const void *codes, int64_t frames, mert_error *e)
{
    char text[8192];
    size_t n = 0;
    for (int64_t t = 0; t < frames; t++) {
        int64_t v = code_at(codes, w->dtype, t * w->K + k);
        if (v < 0 || v >= w->first.classes[k])
            return mert_fail(e, "%s: code %" PRId64 " of codebook %d is outside 0 to %" PRId64, w->key, v, k,
                             w->first.classes[k] - 1);
        n += put_label(w, v, !w->begun && !t, text + n);
        if (n > sizeof text - 16 || t == frames - 1) {
            if (fwrite(text, 1, n, w->out[k]->stream) != n)
                return mert_fail(e, "%s: cannot write: %s", w->out[k]->path, strerror(errno));
            n = 0;
        }
    }
    return 0;
}

int mert_labels_frames(mert_labels_writer *w, const void *codes, int64_t frames, mert_error *e)
{
    if (!w->open)
        return mert_fail(e, "%s: labels without a record", w->pattern);
    for (int k = 0; k < w->K; k++)
        if (put_column(w, k, codes, frames, e))
            return -1;
    w->begun |= frames > 0;
    w->frames += frames;
    return 0;
}

int mert_labels_end(mert_labels_writer *w, mert_error *e)
{
    if (!w->open)
        return mert_fail(e, "%s: the end of no record", w->pattern);
    w->open = 0;
    if (w->npy)
        return put_lengths(w, w->next + 1, w->frames, e);
    for (int k = 0; k < w->K; k++)
        if (putc('\n', w->out[k]->stream) == EOF)
            return mert_fail(e, "%s: cannot write: %s", w->out[k]->path, strerror(errno));
    w->next++;
    return 0;
}

int mert_labels_failed(mert_labels_writer *w, const char *key, int64_t row, mert_error *e)
{
    char what[MTS_KEY_MAX + 64];
    if (w->open) {
        for (int k = 0; k < w->K; k++) {
            FILE *f = w->out[k]->stream;
            if (fflush(f) || fseeko(f, w->line[k], SEEK_SET) || ftruncate(fileno(f), w->line[k]))
                return mert_fail(e, "%s: cannot remove a row: %s", w->out[k]->path, strerror(errno));
        }
        w->open = 0;
        return put_empty_lines(w, 1, e);
    }
    if (row < 0) {
        w->nameless++;
        return 0;
    }
    snprintf(what, sizeof what, "row %" PRId64 " (%s)", row, key);
    if (w->total >= 0 && row >= w->total)
        return mert_fail(e, "%s: %s is beyond the manifest's %" PRId64 " rows", w->pattern, what, w->total);
    return expect_row(w, row, what, e) || put_empty_lines(w, 1, e) ? -1 : 0;
}

/* ---- commit ---- */

static mert_output *write_meta(const mert_labels_writer *w, int k, mert_error *e)
{
    const mts_record *r = &w->first;
    mert_labels_meta m
        = {r->classes[k], r->frame_rate_num, r->frame_rate_den, r->model, k, w->manifest, w->next, w->failed, 0};
    char *name = file_name(w, k, e);
    mert_output *o = name ? mert_labels_meta_open(name, &m, e) : NULL;
    free(name);
    return o;
}

/* Calls `how` (write, or only check) for the dictionary of codebook k. */
static int dictionary(const mert_labels_writer *w, int k, int (*how)(const char *, int64_t, mert_error *),
                      mert_error *e)
{
    char *name = file_name(w, k, e);
    int bad = !name || how(name, w->first.classes[k], e);
    free(name);
    return bad;
}

/* Flushes and syncs, so that a full disk is an error before any file has its final name. */
static int settle(mert_output *o, mert_error *e)
{
    if (fflush(o->stream) || ferror(o->stream) || fsync(fileno(o->stream)))
        return mert_fail(e, "%s: cannot write: %s", o->path, strerror(errno));
    return 0;
}

static int whole(mert_labels_writer *w, mert_error *e)
{
    if (w->open)
        return mert_fail(e, "%s: %s has not ended", w->pattern, w->key);
    if (w->total >= 0 && expect_row(w, w->total, "the end", e))
        return -1;
    if (w->nameless)
        return mert_fail(e, "%s: %" PRId64 " items were lost to damage, and their rows are not known",
                         w->pattern, w->nameless);
    if (!w->K)
        return mert_fail(e, "%s: all items failed, so there are no labels to write", w->pattern);
    return 0;
}

/* The output of codebook k at the commit: the text file, or the array that is made of the int32 file. */
typedef struct finished {
    mert_output *meta;
    mert_npy_writer *array;
} finished;

static int finish(mert_labels_writer *w, int k, finished *f, mert_error *e)
{
    if (settle(w->out[k], e))
        return -1;
    if (w->npy) {
        mert_npy_type type = w->npy_typed ? w->npy_type : w->first.classes[k] > 32768 ? MERT_NPY_I32 : MERT_NPY_I16;
        char *name = file_name(w, k, e);
        f->array
            = name ? mert_labels_array(name, w->out[k]->temporary, w->lengths, w->next, type, w->first.classes[k], e)
                   : NULL;
        free(name);
        if (!f->array)
            return -1;
    }
    return !(f->meta = write_meta(w, k, e)) || settle(f->meta, e) ? -1 : 0;
}

static int put_labels(mert_labels_writer *w, int k, finished *f, mert_error *e)
{
    mert_npy_writer *array = f->array;
    mert_output *o = w->out[k];
    f->array = NULL;
    if (array)
        return mert_npy_commit(array, e);
    w->out[k] = NULL;
    return mert_output_commit(o, e);
}

int mert_labels_commit(mert_labels_writer *w, mert_error *e)
{
    finished f[MTS_CODEBOOKS_MAX] = {{0}};
    mert_output *o;
    int bad = whole(w, e);
    for (int k = 0; k < w->K && !bad; k++)
        bad = (w->dict && dictionary(w, k, mert_label_dict_check, e)) || finish(w, k, &f[k], e);
    for (int k = 0; k < w->K && !bad; k++)
        bad = mert_output_clear(f[k].meta, e);
    for (int k = 0; k < w->K && !bad; k++)
        bad = put_labels(w, k, &f[k], e);
    for (int k = 0; k < w->K && !bad && w->dict; k++)
        bad = dictionary(w, k, mert_label_dict_write, e);
    for (int k = 0; k < w->K && !bad; k++) {
        char *name = file_name(w, k, e);
        o = f[k].meta;
        if ((bad = !name))
            break;
        f[k].meta = NULL;
        bad = mert_labels_meta_commit(o, name, e);
        free(name);
    }
    for (int k = 0; k < w->K; k++) {
        mert_output_abandon(f[k].meta);
        mert_npy_abandon(f[k].array);
    }
    mert_labels_abandon(w);
    return bad ? -1 : 0;
}

void mert_labels_abandon(mert_labels_writer *w)
{
    if (!w)
        return;
    for (int k = 0; k < w->K; k++)
        mert_output_abandon(w->out[k]);
    free(w->lengths);
    free(w->pattern);
    free(w);
}
