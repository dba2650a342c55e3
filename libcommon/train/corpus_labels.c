#include "corpus_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The name itself, or with .npy behind it if only that is there; takes the name. */
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

/* Classes and rate of a codebook by its first file. */
static int describe_codebook(const mert_corpus *c, const mert_labels *l, mert_codebook *b, mert_error *e)
{
    const mert_labels_meta *m = &l->meta;
    b->path = l->path;
    b->meta = *m;
    b->verified = l->verified;
    b->classes = m->classes ? m->classes : c->config.classes;
    if (!b->classes)
        return mert_fail(
            e, "%s: the number of classes is not known: there is no .meta file, and the recipe's classes is 0",
            l->path);
    if (b->classes > 1 << 24)
        return mert_fail(e, "%s: %lld classes: at most %d", l->path, (long long)b->classes, 1 << 24);
    if (c->config.classes && b->classes != c->config.classes)
        return mert_fail(e, "%s: %lld classes, the recipe says %lld", l->path, (long long)b->classes,
                         (long long)c->config.classes);
    b->rate_num = m->frame_rate_num;
    b->rate_den = m->frame_rate_den;
    if (b->rate_num <= 0 || b->rate_den <= 0) {
        b->rate_num = c->config.label_rate > 0 ? llround(c->config.label_rate * 1000) : c->config.sample_rate;
        b->rate_den = c->config.label_rate > 0 ? 1000 : c->config.stride;
    } else if (c->config.label_rate > 0 &&
               fabs((double)b->rate_num / (double)b->rate_den - c->config.label_rate) > 1e-6) {
        return mert_fail(e, "%s: %g labels per second, the recipe says %g", l->path,
                         (double)b->rate_num / (double)b->rate_den, c->config.label_rate);
    }
    b->counts = calloc((size_t)b->classes, sizeof *b->counts);
    return b->counts ? 0 : mert_fail(e, "%s: out of memory", l->path);
}

/* A further part's file of a codebook. */
static int check_same(const mert_labels *l, mert_codebook *b, mert_error *e)
{
    const mert_labels_meta *m = &l->meta;
    b->verified &= l->verified;
    if (m->classes && m->classes != b->classes)
        return mert_fail(e, "%s: %lld classes, %s has %lld", l->path, (long long)m->classes, b->path,
                         (long long)b->classes);
    if (m->frame_rate_num > 0 && m->frame_rate_num * b->rate_den != b->rate_num * m->frame_rate_den)
        return mert_fail(e, "%s: %g labels per second, %s has %g", l->path,
                         (double)m->frame_rate_num / (double)m->frame_rate_den, b->path,
                         (double)b->rate_num / (double)b->rate_den);
    if (m->codebook != b->meta.codebook || m->codebook_index != b->meta.codebook_index)
        return mert_fail(e, "%s: made by codebook %016llx:%lld, %s by %016llx:%lld", l->path,
                         (unsigned long long)m->codebook, (long long)m->codebook_index, b->path,
                         (unsigned long long)b->meta.codebook, (long long)b->meta.codebook_index);
    return 0;
}

/* As many codebooks of a stream of codes, from the part's `found` on, as there are, or are wanted (most, 0: all).
 * Returns how many; -1: error. */
static int open_codes(mert_corpus *c, mert_corpus_part *p, int found, int most, const char *name, mert_error *e)
{
    mert_codes *codes = calloc(1, sizeof *codes);
    int n;
    if (!codes)
        return mert_fail(e, "%s: out of memory", name);
    if (mert_codes_open(codes, name, &p->manifest, e)) {
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
        if (p == c->parts)
            c->K++;
        if (p == c->parts ? describe_codebook(c, l, &c->codebooks[found + k], e)
                          : check_same(l, &c->codebooks[found + k], e))
            return -1;
    }
    return n;
}

/* Codebook k of a part. */
static int open_codebook(mert_corpus *c, mert_corpus_part *p, int k, const char *name, mert_error *e)
{
    mert_labels *l = &p->labels[k];
    if (k == MERT_CODEBOOKS_MAX)
        return mert_fail(e, "%s: more than %d codebooks", name, MERT_CODEBOOKS_MAX);
    if (mert_labels_open(l, name, e))
        return -1;
    if (l->rows != p->manifest.n)
        return mert_fail(e, "%s: %lld lines for the %lld rows of the manifest", l->path, (long long)l->rows,
                         (long long)p->manifest.n);
    if (l->meta.manifest && l->meta.manifest != p->manifest.hash)
        return mert_fail(e, "%s: made for another manifest (hash %016llx, this one has %016llx)", l->path,
                         (unsigned long long)l->meta.manifest, (unsigned long long)p->manifest.hash);
    if (p != c->parts)
        return check_same(l, &c->codebooks[k], e);
    c->K++;
    return describe_codebook(c, l, &c->codebooks[k], e);
}

int mert_corpus_open_labels(mert_corpus *c, mert_corpus_part *p, const char *const *patterns, int n, int shard,
                            mert_error *e)
{
    int most = p == c->parts ? c->config.codebooks : c->K, found = 0;
    for (int i = 0; i < n; i++) {
        char *pattern = shard < 0 ? strdup(patterns[i]) : mert_shard_name(patterns[i], shard, c->config.shards);
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
                found += bad = open_codes(c, p, found, most, name, e);
            else
                bad = open_codebook(c, p, found++, name, e);
            bad = bad < 0 ? -1 : 0;
            free(name);
        }
        free(pattern);
        if (bad)
            return -1;
    }
    if (p != c->parts && found < c->K)
        return mert_fail(e, "%s: shard %d has %d codebooks, the first has %d", patterns[0], shard, found, c->K);
    if (found < c->config.codebooks)
        return mert_fail(e, "%s: %d codebooks, the recipe asks for %d", patterns[0], found, c->config.codebooks);
    return 0;
}

void mert_corpus_close_labels(mert_corpus_part *p)
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
}

int64_t mert_corpus_part_count(const mert_corpus_part *p, int k, int64_t row)
{
    return p->columns[k].codes ? mert_codes_count(p->columns[k].codes, row) : mert_labels_count(&p->labels[k], row);
}

int mert_corpus_part_read(const mert_corpus_part *p, int k, int64_t row, int64_t first, int64_t n, int32_t *to,
                          mert_error *e)
{
    return p->columns[k].codes ? mert_codes_read(p->columns[k].codes, row, p->columns[k].column, first, n, to, e)
                               : mert_labels_read(&p->labels[k], row, first, n, to, e);
}
