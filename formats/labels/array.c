#include "formats/labels/array.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 4096 };

/* ---- writing ---- */

static int64_t largest_of(mert_npy_type t)
{
    return t == MERT_NPY_I16 ? INT16_MAX : t == MERT_NPY_I32 ? INT32_MAX : INT64_MAX;
}

/* Converts n labels to the type. */
static void as_type(const int32_t *from, int64_t n, mert_npy_type t, unsigned char *to)
{
    for (int64_t i = 0; i < n; i++) {
        const int16_t narrow = (int16_t)from[i];
        const int64_t wide = from[i];
        switch (t) {
        case MERT_NPY_I16: memcpy(to + 2 * i, &narrow, 2); break;
        case MERT_NPY_I32: memcpy(to + 4 * i, &from[i], 4); break;
        default: memcpy(to + 8 * i, &wide, 8);
        }
    }
}

static int append_row(mert_npy_writer *w, FILE *f, int64_t labels, int64_t width, mert_npy_type t, const char *path,
                      mert_error *e)
{
    int32_t block[BLOCK];
    unsigned char typed[8 * BLOCK];
    for (int64_t at = 0, n; at < width; at += n) {
        int64_t there = labels > at ? labels - at : 0;
        n = width - at < BLOCK ? width - at : BLOCK;
        there = there < n ? there : n;
        if (fread(block, sizeof *block, (size_t)there, f) != (size_t)there)
            return mert_fail(e, "%s: what was gathered cannot be read back: %s", path,
                             strerror(ferror(f) ? errno : EIO));
        for (int64_t i = there; i < n; i++)
            block[i] = -1;
        as_type(block, n, t, typed);
        if (mert_npy_append(w, typed, n, e))
            return -1;
    }
    return 0;
}

mert_npy_writer *mert_labels_array(const char *path, const char *from, const int64_t *lengths, int64_t rows,
                                   mert_npy_type type, int64_t classes, mert_error *e)
{
    int64_t shape[2] = {rows, 0};
    int bad = 0;
    for (int64_t i = 0; i < rows; i++)
        shape[1] = lengths[i] > shape[1] ? lengths[i] : shape[1];
    if (!shape[1]) { /* an array without columns has no data to check the number of rows against */
        mert_fail(e, "%s: no row has a label", path);
        return NULL;
    }
    if (classes - 1 > largest_of(type)) {
        mert_fail(e, "%s: %" PRId64 " classes do not fit %s", path, classes, mert_npy_type_name(type));
        return NULL;
    }
    FILE *f = fopen(from, "rb");
    if (!f) {
        mert_fail(e, "%s: %s", from, strerror(errno));
        return NULL;
    }
    mert_npy_writer *w = mert_npy_create(path, type, 2, shape, e);
    for (int64_t i = 0; w && !bad && i < rows; i++)
        bad = append_row(w, f, lengths[i], shape[1], type, path, e);
    fclose(f);
    if (!bad)
        return w;
    mert_npy_abandon(w);
    return NULL;
}

/* ---- reading ---- */

int mert_labels_array_open(mert_labels *l, mert_error *e)
{
    if (!(l->npy = calloc(1, sizeof *l->npy)))
        return mert_fail(e, "%s: out of memory", l->path);
    if (mert_npy_open(l->npy, l->path, e)) {
        free(l->npy);
        l->npy = NULL;
        return -1;
    }
    if (l->npy->ndim != 2 || !mert_npy_type_is_integer(l->npy->type) || l->npy->type == MERT_NPY_BOOL)
        return mert_fail(e, "%s: %d axes of %s; labels are [rows, T] of integers, filled up with -1", l->path,
                         l->npy->ndim, mert_npy_type_name(l->npy->type));
    if (!l->npy->elements)
        return mert_fail(e, "%s: no row has a label", l->path);
    l->rows = l->npy->shape[0];
    return 0;
}

int64_t mert_labels_array_count(const mert_labels *l, int64_t row)
{
    const int64_t width = l->npy->shape[1];
    int64_t block[BLOCK];
    for (int64_t end = width, n; end > 0; end -= n) {
        n = end < BLOCK ? end : BLOCK;
        mert_npy_to_ints(l->npy, row * width + end - n, n, block);
        for (int64_t i = n; i-- > 0;)
            if (block[i] != -1)
                return end - n + i + 1;
    }
    return 0;
}

int mert_labels_array_read(const mert_labels *l, int64_t row, int64_t first, int64_t n, int32_t *to, mert_error *e)
{
    const int64_t limit = l->meta.classes ? l->meta.classes : (int64_t)1 << 31, count = mert_labels_array_count(l, row);
    int64_t block[BLOCK];
    if (first + n > count)
        return mert_fail(e, "%s: row %" PRId64 ": has %" PRId64 " labels, %" PRId64 " to %" PRId64 " were wanted",
                         l->path, row, count, first, first + n - 1);
    for (int64_t at = 0, now; at < n; at += now) {
        now = n - at < BLOCK ? n - at : BLOCK;
        mert_npy_to_ints(l->npy, row * l->npy->shape[1] + first + at, now, block);
        for (int64_t i = 0; i < now; i++) {
            if (block[i] < 0 || block[i] >= limit)
                return mert_fail(e,
                                 "%s: row %" PRId64 ", place %" PRId64 ": %" PRId64 " is no label (0 to %" PRId64 ")",
                                 l->path, row, first + at + i, block[i], limit - 1);
            if (to)
                to[at + i] = (int32_t)block[i];
        }
    }
    return 0;
}

int mert_labels_array_check(const mert_labels *l, int64_t *empty, mert_error *e)
{
    for (int64_t row = 0; row < l->rows; row++) {
        int64_t n = mert_labels_array_count(l, row);
        *empty += n == 0;
        if (mert_labels_array_read(l, row, 0, n, NULL, e))
            return -1;
    }
    return 0;
}
