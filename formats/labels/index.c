#include "formats/labels/index.h"

#include "formats/array.h"
#include "formats/labels/array.h"
#include "formats/labels/text.h"

#include <stdlib.h>
#include <string.h>

enum { FACTS, ROWS, COUNTS, SECTIONS };
enum { WORTH = 1 << 18 }; /* smaller files (in bytes) get no index file */

/* ---- making an index ---- */

typedef struct finding {
    mert_labels_facts facts;
    mert_labels_row *rows;
    int64_t *counts, counts_room;
    int32_t *labels;
    int64_t labels_room;
    mts_xxh64_state classes;
} finding;

/* Reads the labels of a row into f->labels. Returns their number; -1: out of memory. *bad = 1: one is not a label. */
static int64_t take_row(const mert_labels *l, int64_t row, finding *f, int *bad)
{
    mert_error unsaid;
    int64_t n = l->npy ? mert_labels_array_count(l, row) : mert_labels_text_most(l, row);
    if (n > f->labels_room) {
        int32_t *grown = mert_array_grow(f->labels, &f->labels_room, n, sizeof *grown);
        if (!grown)
            return -1;
        f->labels = grown;
    }
    if (!l->npy)
        return mert_labels_text_row(l, row, f->labels, bad);
    *bad = mert_labels_array_read(l, row, 0, n, f->labels, &unsaid) != 0;
    return n;
}

static int count_labels(finding *f, int64_t n, int32_t largest)
{
    if (largest >= f->counts_room) {
        int64_t had = f->counts_room;
        int64_t *grown = mert_array_grow(f->counts, &f->counts_room, largest + 1, sizeof *grown);
        if (!grown)
            return -1;
        memset(grown + had, 0, (size_t)(f->counts_room - had) * sizeof *grown);
        f->counts = grown;
    }
    for (int64_t i = 0; i < n; i++)
        f->counts[f->labels[i]]++;
    return 0;
}

static int add_row(const mert_labels *l, int64_t row, finding *f, mert_error *e)
{
    int bad = 0;
    int32_t largest = -1;
    int64_t n = take_row(l, row, f, &bad);
    if (n < 0)
        return mert_fail(e, "%s: out of memory", l->path);
    bad |= n > INT32_MAX;
    for (int64_t i = 0; !bad && i < n; i++)
        largest = f->labels[i] > largest ? f->labels[i] : largest;
    bad |= largest >= MERT_LABELS_LARGEST;
    f->rows[row] = (mert_labels_row){.offset = l->npy ? 0 : l->offset[row],
                                     .count = n > INT32_MAX ? INT32_MAX : (int32_t)n,
                                     .largest = bad ? MERT_LABELS_BAD : largest};
    if (bad) {
        f->facts.bad_row = f->facts.bad++ ? f->facts.bad_row : row;
        return 0;
    }
    if (!n) {
        f->facts.empty++;
        return 0;
    }
    f->facts.total += n;
    f->facts.largest = largest > f->facts.largest ? largest : f->facts.largest;
    mts_xxh64_add(&f->classes, &n, sizeof n);
    mts_xxh64_add(&f->classes, f->labels, (size_t)n * sizeof *f->labels);
    return count_labels(f, n, largest) ? mert_fail(e, "%s: out of memory", l->path) : 0;
}

/* Piece by piece, so that the whole file is never in memory. */
static uint64_t hash_of(const mert_mapping *map)
{
    enum { PIECE = 1 << 24 };
    mts_xxh64_state sum;
    mts_xxh64_begin(&sum, 0);
    for (size_t at = 0, n; at < map->size; at += n) {
        n = map->size - at < PIECE ? map->size - at : PIECE;
        mts_xxh64_add(&sum, map->data + at, n);
        mert_mapping_forget(map, map->data, at + n);
    }
    return map->data ? mts_xxh64_end(&sum, 0) : 0;
}

static int find_out(void *arg, mert_index_part *parts, int *worth, mert_error *e)
{
    mert_labels *l = arg;
    const mert_mapping *map = l->npy ? &l->npy->mapping : l->mapping;
    finding f = {.facts = {.largest = -1, .bad_row = -1}};
    mert_labels_facts *facts = NULL;
    int bad = !l->npy && mert_labels_text_lines(l, map->size, e);
    if (bad)
        return -1;
    mts_xxh64_begin(&f.classes, 0);
    if (!(f.rows = mert_array_zeroed(l->rows + 1, sizeof *f.rows)))
        bad = mert_fail(e, "%s: out of memory", l->path);
    for (int64_t row = 0; !bad && row < l->rows; row++) {
        bad = add_row(l, row, &f, e);
        if (row % 8192 == 0)
            mert_mapping_forget(map, map->data, map->size);
    }
    free(f.labels);
    if (!bad && !(facts = malloc(sizeof *facts)))
        bad = mert_fail(e, "%s: out of memory", l->path);
    if (bad) {
        free(f.rows);
        free(f.counts);
        return -1;
    }
    f.rows[l->rows].offset = l->npy ? 0 : l->offset[l->rows];
    f.facts.rows = l->rows;
    f.facts.cut = l->cut;
    f.facts.bytes = hash_of(map);
    f.facts.classes = mts_xxh64_end(&f.classes, 0);
    *facts = f.facts;
    parts[FACTS] = (mert_index_part){facts, sizeof *facts};
    parts[ROWS] = (mert_index_part){f.rows, (size_t)(l->rows + 1) * sizeof *f.rows};
    parts[COUNTS] = (mert_index_part){f.counts, (size_t)(f.facts.largest + 1) * sizeof *f.counts};
    *worth = map->size >= WORTH;
    if (map->data)
        mert_mapping_forget(map, map->data, map->size);
    return 0;
}

/* ---- using an index ---- */

static const void *section(const mert_labels *l, int i)
{
    size_t bytes;
    return mert_index_section(l->index, i, &bytes);
}

const mert_labels_facts *mert_labels_index_facts(const mert_labels *l)
{
    return section(l, FACTS);
}

const int64_t *mert_labels_index_counts(const mert_labels *l)
{
    return section(l, COUNTS);
}

void mert_labels_rest(const mert_labels *l)
{
    const mert_mapping *map = l->npy ? &l->npy->mapping : l->mapping;
    mert_index_rest(l->index);
    if (map->data)
        mert_mapping_forget(map, map->data, map->size);
}

int mert_labels_index_find(mert_labels *l, mert_index_keeping keeping, mert_error *e)
{
    const mert_mapping *map = l->npy ? &l->npy->mapping : l->mapping;
    const mert_labels_facts *f;
    size_t bytes = 0;
    uint64_t context = 0;
    if (l->dict) {
        char *text = mert_file_read(mert_label_dict_file(l->dict), (size_t)1 << 34, &bytes, e);
        if (!text)
            return -1;
        context = mts_xxh64(text, bytes, 0) | 1;
        free(text);
    }
    if (!(l->index = calloc(1, sizeof *l->index)))
        return mert_fail(e, "%s: out of memory", l->path);
    if (mert_index_get(l->index, l->path, ".index", "labels", context, SECTIONS, keeping, find_out, l, e)) {
        free(l->index);
        l->index = NULL;
        return -1;
    }
    free(l->offset);
    l->offset = NULL;
    f = mert_labels_index_facts(l);
    l->known = mert_index_section(l->index, ROWS, &bytes);
    if (f->rows < 0 || bytes / sizeof *l->known != (size_t)f->rows + 1 ||
        (!l->npy && l->known[f->rows].offset != (int64_t)map->size))
        return mert_fail(e, "%s.index: is not of this file: remove it", l->path);
    l->rows = f->rows;
    l->cut = (int)f->cut;
    mert_index_section(l->index, COUNTS, &bytes);
    return bytes / sizeof(int64_t) == (size_t)(f->largest + 1)
               ? 0
               : mert_fail(e, "%s.index: is not of this file: remove it", l->path);
}
