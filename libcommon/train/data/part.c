#include "formats/array.h"
#include "libcommon/train/data/part.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *mert_shard_name(const char *name, int shard, int shards)
{
    const char *base = strrchr(name, '/'), *at = NULL;
    char *to;
    for (const char *p = strstr(base ? base : name, "train"); p; p = strstr(p + 1, "train"))
        at = p + 5;
    if (!at || !(to = malloc(strlen(name) + 32)))
        return NULL;
    sprintf(to, "%.*s_%d_%d%s", (int)(at - name), name, shard, shards, at);
    return to;
}

int mert_shards_apart(const char *manifest, int shards)
{
    char *name = shards > 1 ? mert_shard_name(manifest, 0, shards) : NULL;
    int apart = name && (!access(name, F_OK) || access(manifest, F_OK));
    free(name);
    return apart;
}

/* A part that is being opened. */
typedef struct opening {
    mert_corpus_part *p;
    const mert_corpus_config *config;
    mert_codebook_labels *codebooks;
    int *K;
    int first; /* the first part: sets the codebooks */
} opening;

/* Returns the name, or with .npy appended if only that file exists. Takes ownership of the name. */
static char *labels_file(char *name)
{
    char *array = name && access(name, F_OK) ? malloc(strlen(name) + sizeof ".npy") : NULL;
    if (!array)
        return name;
    strcpy(array, name);
    strcat(array, ".npy");
    if (access(array, F_OK)) {
        free(array);
        return name;
    }
    free(name);
    return array;
}

/* Sets classes and rate of a codebook from its first file. */
static int describe_codebook(const mert_corpus_config *c, const mert_labels *l, mert_codebook_labels *b, mert_error *e)
{
    const mert_labels_meta *m = &l->meta;
    b->path = l->path;
    b->meta = *m;
    b->verified = l->verified;
    b->classes = m->classes ? m->classes : c->classes;
    if (!b->classes)
        return mert_fail(
            e, "%s: the number of classes is not known: there is no .meta file, and the recipe's classes is 0",
            l->path);
    if (b->classes > 1 << 24)
        return mert_fail(e, "%s: %" PRId64 " classes: at most %d", l->path, b->classes, 1 << 24);
    if (c->classes && b->classes != c->classes)
        return mert_fail(e, "%s: %" PRId64 " classes, the recipe says %" PRId64, l->path, b->classes, c->classes);
    b->rate_num = m->frame_rate_num;
    b->rate_den = m->frame_rate_den;
    if (b->rate_num <= 0 || b->rate_den <= 0) {
        b->rate_num = c->label_rate > 0 ? llround(c->label_rate * 1000) : c->sample_rate;
        b->rate_den = c->label_rate > 0 ? 1000 : c->stride;
    } else if (c->label_rate > 0 &&
               fabs((double)b->rate_num / (double)b->rate_den - c->label_rate) > 1e-6) {
        return mert_fail(e, "%s: %g labels per second, the recipe says %g", l->path,
                         (double)b->rate_num / (double)b->rate_den, c->label_rate);
    }
    b->counts = mert_array_zeroed(b->classes, sizeof *b->counts);
    return b->counts ? 0 : mert_fail(e, "%s: out of memory", l->path);
}

/* Checks a codebook's file of a further part. */
static int check_same(const mert_labels *l, mert_codebook_labels *b, mert_error *e)
{
    const mert_labels_meta *m = &l->meta;
    b->verified &= l->verified;
    if (m->classes && m->classes != b->classes)
        return mert_fail(e, "%s: %" PRId64 " classes, %s has %" PRId64, l->path, m->classes, b->path, b->classes);
    if (m->frame_rate_num > 0 && m->frame_rate_num * b->rate_den != b->rate_num * m->frame_rate_den)
        return mert_fail(e, "%s: %g labels per second, %s has %g", l->path,
                         (double)m->frame_rate_num / (double)m->frame_rate_den, b->path,
                         (double)b->rate_num / (double)b->rate_den);
    if (m->codebook != b->meta.codebook || m->codebook_index != b->meta.codebook_index)
        return mert_fail(e, "%s: made by codebook %016" PRIx64 ":%" PRId64 ", %s by %016" PRIx64 ":%" PRId64, l->path,
                         m->codebook, m->codebook_index, b->path, b->meta.codebook, b->meta.codebook_index);
    return 0;
}

static int take_codebook(const opening *o, const mert_labels *l, int k, mert_error *e)
{
    if (!o->first)
        return check_same(l, &o->codebooks[k], e);
    ++*o->K;
    return describe_codebook(o->config, l, &o->codebooks[k], e);
}

/* Opens the codebooks of a stream of codes, as the part's codebooks from `found` on; at most `most` (0: all). Returns
 * their number; -1: error. */
static int open_codes(const opening *o, int found, int most, const char *name, mert_error *e)
{
    mert_corpus_part *p = o->p;
    mert_codes *codes = calloc(1, sizeof *codes);
    int n;
    if (!codes)
        return mert_fail(e, "%s: out of memory", name);
    if (mert_codes_open(codes, name, &p->manifest, o->config->keeping, e)) {
        free(codes);
        return -1;
    }
    n = !most || codes->K < most - found ? codes->K : most - found;
    if (found + n > MERT_CODEBOOKS_MAX) {
        mert_codes_close(codes);
        free(codes);
        return mert_fail(e, "%s: more than %d codebooks", name, MERT_CODEBOOKS_MAX);
    }
    p->columns[found].owner = 1;
    for (int k = 0; k < n; k++) {
        mert_labels *l = &p->labels[found + k];
        p->columns[found + k].codes = codes;
        p->columns[found + k].column = k;
        *l = (mert_labels){.path = strdup(name), .meta = codes->meta[k], .verified = 1, .rows = codes->rows};
        if (!l->path)
            return mert_fail(e, "%s: out of memory", name);
        if (take_codebook(o, l, found + k, e))
            return -1;
    }
    return n;
}

/* Opens codebook k of a part. */
static int open_codebook(const opening *o, int k, const char *name, mert_error *e)
{
    const mert_corpus_part *p = o->p;
    mert_labels *l = &p->labels[k];
    if (k == MERT_CODEBOOKS_MAX)
        return mert_fail(e, "%s: more than %d codebooks", name, MERT_CODEBOOKS_MAX);
    if (mert_labels_open_indexed(l, name, o->config->keeping, e))
        return -1;
    if (l->rows != p->manifest.n)
        return mert_fail(e, "%s: %" PRId64 " lines for the %" PRId64 " rows of the manifest", l->path, l->rows,
                         p->manifest.n);
    if (l->meta.manifest && l->meta.manifest != p->manifest.hash)
        return mert_fail(e, "%s: made for another manifest (hash %016" PRIx64 ", this one has %016" PRIx64 ")", l->path,
                         l->meta.manifest, p->manifest.hash);
    return take_codebook(o, l, k, e);
}

static int open_labels(const opening *o, const char *const *patterns, int n, int shard, mert_error *e)
{
    int most = o->first ? o->config->codebooks : *o->K, found = 0;
    if (!n)
        return 0;
    for (int i = 0; i < n; i++) {
        char *pattern = shard < 0 ? strdup(patterns[i]) : mert_shard_name(patterns[i], shard, o->config->shards);
        int more = 1, bad = 0;
        if (!pattern)
            return mert_fail(e, "%s: a name without 'train' has no shards", patterns[i]);
        for (int k = 0; !bad && more && (!most || found < most); k++) {
            char *name = labels_file(mert_labels_name(pattern, k));
            more = strstr(pattern, "%d") != NULL;
            if (!name)
                bad = mert_fail(e, "out of memory");
            else if (k && access(name, F_OK))
                more = 0;
            else if (mert_codes_is_stream(name))
                found += bad = open_codes(o, found, most, name, e);
            else
                bad = open_codebook(o, found++, name, e);
            bad = bad < 0 ? -1 : 0;
            free(name);
        }
        free(pattern);
        if (bad)
            return -1;
    }
    if (!o->first && found < *o->K)
        return mert_fail(e, "%s: shard %d has %d codebooks, the first has %d", patterns[0], shard, found, *o->K);
    if (found < o->config->codebooks)
        return mert_fail(e, "%s: %d codebooks, the recipe asks for %d", patterns[0], found, o->config->codebooks);
    return 0;
}

int mert_corpus_part_open(mert_corpus_part *p, const mert_corpus_config *config, const char *manifest,
                          const char *const *labels, int nlabels, int shard, mert_codebook_labels *codebooks, int *K,
                          mert_error *e)
{
    opening o = {p, config, codebooks, K, *K == 0};
    p->labels = mert_array_zeroed(MERT_CODEBOOKS_MAX, sizeof *p->labels);
    p->columns = mert_array_zeroed(MERT_CODEBOOKS_MAX, sizeof *p->columns);
    p->path = strdup(manifest);
    if (!p->labels || !p->columns || !p->path)
        return mert_fail(e, "%s: out of memory", manifest);
    return mert_manifest_read(&p->manifest, manifest, e) ? -1 : open_labels(&o, labels, nlabels, shard, e);
}

void mert_corpus_part_close(mert_corpus_part *p)
{
    for (int k = 0; p->columns && k < MERT_CODEBOOKS_MAX; k++)
        if (p->columns[k].owner) {
            mert_codes_close(p->columns[k].codes);
            free(p->columns[k].codes);
        }
    for (int k = 0; p->labels && k < MERT_CODEBOOKS_MAX; k++)
        if (p->labels[k].path)
            mert_labels_close(&p->labels[k]);
    free(p->columns);
    free(p->labels);
    free(p->path);
    mert_manifest_free(&p->manifest);
}

/* ---- labels of all items ---- */

int mert_corpus_part_check(const mert_corpus_part *p, int k, int64_t row, int64_t classes, mert_error *e)
{
    const mert_labels *l = &p->labels[k];
    int32_t label;
    int64_t n;
    if (p->columns[k].codes || l->known[row].largest < classes)
        return 0;
    n = mert_corpus_part_count(p, k, row);
    for (int64_t i = 0; i < n; i++) { /* finds the label for the message */
        if (mert_corpus_part_read(p, k, row, i, 1, &label, e))
            return -1;
        if (label >= classes)
            return mert_fail(e, "%s: line %" PRId64 ": label %d is not below the %" PRId64 " classes", l->path, row + 1,
                             (int)label, classes);
    }
    return mert_fail(e, "%s: line %" PRId64 ": its labels are not those of its index: remove %s.index", l->path,
                     row + 1, l->path);
}

typedef struct added_up {
    uint64_t sum;
    int64_t total;
} added_up;

typedef struct adding {
    mert_corpus_part *p;
    int k;
    int64_t classes;
    const mert_corpus_rows *items;
} adding;

/* Reads and counts all labels of the items. */
static int add_labels(const adding *a, added_up *to, int64_t *counts, mert_error *e)
{
    mts_xxh64_state sum;
    int32_t *labels = NULL;
    int64_t room = 0;
    int bad = 0;
    mts_xxh64_begin(&sum, 0);
    a->items->begin(a->items->arg);
    for (int64_t row = 0; !bad && row < a->p->manifest.n; row++) {
        int64_t n = a->items->is(a->items->arg, row) ? mert_corpus_part_count(a->p, a->k, row) : 0;
        int32_t *grown = n > room ? mert_array_grow(labels, &room, n, sizeof *grown) : labels;
        if (!n)
            continue;
        if (!grown) {
            bad = mert_fail(e, "%s: out of memory", a->p->labels[a->k].path);
            break;
        }
        labels = grown;
        if ((bad = mert_corpus_part_read(a->p, a->k, row, 0, n, labels, e)))
            break;
        mts_xxh64_add(&sum, &n, sizeof n);
        mts_xxh64_add(&sum, labels, (size_t)n * sizeof *labels);
        for (int64_t i = 0; i < n; i++)
            counts[labels[i]]++;
        to->total += n;
    }
    free(labels);
    to->sum = mts_xxh64_end(&sum, 0);
    return bad;
}

enum { ADDED_UP, COUNTS, SECTIONS };
enum { WORTH = 1 << 12 }; /* fewer labels get no index file */

static int find_out(void *arg, mert_index_part *parts, int *worth, mert_error *e)
{
    const adding *a = arg;
    added_up *to = calloc(1, sizeof *to);
    int64_t *counts = mert_array_zeroed(a->classes, sizeof *counts);
    int bad = !to || !counts ? mert_fail(e, "%s: out of memory", a->p->labels[a->k].path)
                             : add_labels(a, to, counts, e);
    if (bad) {
        free(to);
        free(counts);
        return -1;
    }
    parts[ADDED_UP] = (mert_index_part){to, sizeof *to};
    parts[COUNTS] = (mert_index_part){counts, (size_t)a->classes * sizeof *counts};
    *worth = to->total >= WORTH;
    return 0;
}

/* The context of the index: a hash of the rows that are items, and of the classes. */
static uint64_t context_of(const adding *a)
{
    const mert_labels *l = &a->p->labels[a->k];
    mts_xxh64_state sum;
    uint64_t facts[] = {(uint64_t)a->classes, (uint64_t)a->k, a->p->manifest.hash,
                        a->p->columns[a->k].codes ? 0 : mert_labels_index_facts(l)->classes};
    mts_xxh64_begin(&sum, 0);
    mts_xxh64_add(&sum, facts, sizeof facts);
    a->items->begin(a->items->arg);
    for (int64_t row = 0; row < a->p->manifest.n; row++)
        if (a->items->is(a->items->arg, row))
            mts_xxh64_add(&sum, &row, sizeof row);
    return mts_xxh64_end(&sum, 0);
}

static int add_up_items(const adding *a, mert_codebook_labels *b, mert_index_keeping keeping, mert_error *e)
{
    mert_index x;
    const added_up *found;
    const int64_t *counts;
    char suffix[32];
    size_t bytes[SECTIONS];
    int fits;
    snprintf(suffix, sizeof suffix, ".items-%d.index", a->p->columns[a->k].column);
    if (mert_index_get(&x, a->p->labels[a->k].path, suffix, "items", context_of(a), SECTIONS, keeping, find_out,
                       (void *)a, e))
        return -1;
    found = mert_index_section(&x, ADDED_UP, &bytes[ADDED_UP]);
    counts = mert_index_section(&x, COUNTS, &bytes[COUNTS]);
    fits = bytes[ADDED_UP] == sizeof *found && bytes[COUNTS] == (size_t)a->classes * sizeof *counts;
    for (int64_t v = 0; fits && v < a->classes; v++)
        b->counts[v] += counts[v];
    b->total += fits ? found->total : 0;
    a->p->columns[a->k].sum = fits ? found->sum : 0;
    mert_index_close(&x);
    return fits ? 0 : mert_fail(e, "%s%s: is not of this file: remove it", a->p->labels[a->k].path, suffix);
}

int mert_corpus_part_add_up(mert_corpus_part *p, int k, mert_codebook_labels *b, const mert_corpus_rows *items,
                            mert_index_keeping keeping, mert_error *e)
{
    const mert_labels_facts *f = p->columns[k].codes ? NULL : mert_labels_index_facts(&p->labels[k]);
    const adding a = {p, k, b->classes, items};
    const int64_t *counts;
    if (!f || p->items != f->rows - f->empty - f->bad || f->largest >= b->classes)
        return add_up_items(&a, b, keeping, e);
    counts = mert_labels_index_counts(&p->labels[k]);
    for (int64_t v = 0; v <= f->largest; v++)
        b->counts[v] += counts[v];
    b->total += f->total;
    p->columns[k].sum = f->classes;
    return 0;
}

void mert_corpus_part_rest(const mert_corpus_part *p)
{
    for (int k = 0; k < MERT_CODEBOOKS_MAX; k++)
        if (p->labels[k].path && p->labels[k].index)
            mert_labels_rest(&p->labels[k]);
}

int64_t mert_corpus_part_count(const mert_corpus_part *p, int k, int64_t row)
{
    return p->columns[k].codes ? mert_codes_count(p->columns[k].codes, row) : mert_labels_count(&p->labels[k], row);
}

int mert_corpus_part_read(const mert_corpus_part *p, int k, int64_t row, int64_t first, int64_t n, int32_t *to,
                          mert_error *e)
{
    struct mert_corpus_column *column = &p->columns[k];
    if (column->codes)
        return mert_codes_read(column->codes, row, column->column, first, n, to, e);
    /* Each read maps further pages. Without this they would become the whole file. */
    if (++column->reads % 16 == 0)
        mert_labels_rest(&p->labels[k]);
    return mert_labels_read(&p->labels[k], row, first, n, to, e);
}
