/* For the tests of corpora and batches: a corpus whose samples encode their item and position. */
#ifndef TEST_TRAIN_CORPUS_H
#define TEST_TRAIN_CORPUS_H

#include "formats/file.h"
#include "libcommon/train/loader.h"
#include "tests/test.h"

enum { ITEMS = 40, CLASSES = 97, STRIDE = 320, ROW = 200000 };

static mert_error e;

static inline int says(const char *expected) { return test_says(e.text, expected); }

/* ---- a corpus ---- */

typedef struct spec {
    const char *name;
    mts_dtype dtype;
    int64_t rate_num, rate_den; /* labels per second */
    int K;
    int64_t failed_labels, failed_audio, short_labels; /* rows; -1: none */
    uint64_t codebook;
    int bare; /* no .meta */
    int64_t pcm_rate;
    int flat; /* all labels are 5 */
    int64_t poisoned; /* the row whose middle sample is NaN; 0: none */
} spec;

static const spec usual = {"usual", MTS_F32, 24000, 320, 2, -1, -1, -1, 0xc0de, 0, 24000, 0, 0};

/* 1.5 s to 7 s, in odd lengths; one too short for anything. */
static inline int64_t samples_of(int64_t row)
{
    return row == 3 ? 9000 : 36000 + 3331 * row + row % 7;
}

static inline int32_t label_of(int64_t row, int k, int64_t label)
{
    return (int32_t)((label * 7 + row * 13 + k * 31 + label / 5) % CLASSES);
}

static const char *manifest_path(const spec *s)
{
    char name[64];
    snprintf(name, sizeof name, "%s.tsv", s->name);
    return test_tmp(name);
}

static const char *pcm_path(const spec *s)
{
    char name[64];
    snprintf(name, sizeof name, "%s.mts", s->name);
    return test_tmp(name);
}

static const char *labels_path(const spec *s)
{
    char name[64];
    snprintf(name, sizeof name, "%s.codes_%%d", s->name);
    return test_tmp(name);
}

static inline uint64_t write_manifest(const spec *s)
{
    static char keys[ITEMS][32];
    mert_manifest_row rows[ITEMS];
    mert_manifest m = {.root = "/nowhere", .rows = rows, .n = ITEMS}, back;
    uint64_t hash;
    for (int i = 0; i < ITEMS; i++) {
        snprintf(keys[i], sizeof keys[i], "piece%02d.flac", i);
        rows[i] = (mert_manifest_row){keys[i], samples_of(i)};
    }
    if (mert_manifest_write(&m, manifest_path(s), &e) || mert_manifest_read(&back, manifest_path(s), &e))
        abort();
    hash = back.hash;
    mert_manifest_free(&back);
    return hash;
}

static inline mts_record record_of(const spec *s, int64_t row, const char *kind)
{
    mts_record r = {.row = row,
                    .dtype = s->dtype,
                    .ndim = 1,
                    .shape = {-1},
                    .sample_rate = s->pcm_rate,
                    .frame_rate_num = s->pcm_rate,
                    .frame_rate_den = 1};
    snprintf(r.kind, sizeof r.kind, "%s", kind);
    snprintf(r.key, sizeof r.key, "piece%02d.flac", (int)row);
    return r;
}

static inline void write_pcm(const spec *s, uint64_t hash)
{
    FILE *f = fopen(pcm_path(s), "wb");
    mts_begin b = {.manifest = hash, .row_first = 0, .row_end = ITEMS, .rows_total = ITEMS};
    mts_writer *w = f ? mts_writer_open(f, "pcm", &b, 1) : NULL;
    float *x = malloc(ROW * sizeof *x);
    int bad = !w || !x;
    for (int64_t row = 0; !bad && row < ITEMS; row++) {
        mts_record r = record_of(s, row, "pcm");
        int64_t n = samples_of(row);
        if (row == s->failed_audio) {
            bad = mts_write_failed(w, r.key, row, "mert-decode", "made to fail") < 0;
            continue;
        }
        for (int64_t i = 0; i < n; i++) {
            x[i] = (float)(row * ROW + i);
            if (s->dtype == MTS_I16)
                ((int16_t *)x)[i] = (int16_t)((i + row) % 30000 - 15000);
        }
        if (s->poisoned && row == s->poisoned)
            x[n / 2] = NAN;
        bad = mts_write_record(w, &r) < 0 || mts_write_frames(w, x, n) < 0 || mts_write_record_end(w) < 0;
    }
    free(x);
    if (bad || mts_writer_close(w, 1, NULL, 0) || fclose(f))
        abort();
}

static inline void write_labels(const spec *s, uint64_t hash)
{
    mert_labels_writer *w = mert_labels_create(labels_path(s), &e);
    mts_begin b = {.manifest = hash, .row_first = 0, .row_end = ITEMS, .rows_total = ITEMS};
    int32_t codes[ROW * 2 / 100];
    int bad = !w || mert_labels_stream(w, &b, &e);
    for (int64_t row = 0; !bad && row < ITEMS; row++) {
        mts_record r = record_of(s, row, "codes");
        int64_t n = (samples_of(row) * s->rate_num + 24000 * s->rate_den - 1) / (24000 * s->rate_den) -
                    (row == s->short_labels ? 20 : 0);
        r.dtype = MTS_I32;
        r.ndim = 2;
        r.shape[1] = r.ncodebooks = s->K;
        r.frame_rate_num = s->rate_num;
        r.frame_rate_den = s->rate_den;
        r.model = s->codebook;
        for (int k = 0; k < s->K; k++) {
            r.classes[k] = CLASSES;
            for (int64_t i = 0; i < n; i++)
                codes[i * s->K + k] = s->flat ? 5 : label_of(row, k, i);
        }
        bad = row == s->failed_labels
                  ? mert_labels_failed(w, r.key, row, &e)
                  : mert_labels_record(w, &r, &e) || mert_labels_frames(w, codes, n, &e) || mert_labels_end(w, &e);
    }
    if (bad || mert_labels_commit(w, &e))
        abort();
    for (int k = 0; s->bare && k < s->K; k++) {
        char name[64];
        snprintf(name, sizeof name, "%s.codes_%d.meta", s->name, k);
        remove(test_tmp(name));
    }
}

static const mert_corpus_config config = {.sample_rate = 24000, .stride = STRIDE, .label_tolerance = 0.1};

static inline int open_files(mert_corpus *c, const spec *s, const mert_corpus_config *with)
{
    const char *labels = labels_path(s), *pcm = pcm_path(s);
    return mert_corpus_open(c, with, manifest_path(s), &labels, 1, &pcm, 1, &e);
}

static inline int make(mert_corpus *c, const spec *s)
{
    uint64_t hash = write_manifest(s);
    write_pcm(s, hash);
    write_labels(s, hash);
    return open_files(c, s, &config);
}

static inline mert_recipe recipe(void)
{
    mert_recipe r;
    mert_recipe_defaults(&r);
    r.max_sample_size = 48000;
    r.min_sample_size = 24000;
    r.max_tokens = 400000;
    r.batch_multiple = 4;
    r.mixture_length[0] = r.mixture_length[1] = 8000;
    return r;
}

static inline mert_config model(void)
{
    return mert_config_95m();
}

static inline uint64_t hash_of(const mert_load *l)
{
    const mert_batch *b = &l->batch;
    mts_xxh64_state x;
    int64_t facts[] = {b->B, b->L, b->T, b->K, l->epoch, l->index, l->update, l->micro_batch};
    mts_xxh64_begin(&x, 0);
    mts_xxh64_add(&x, facts, sizeof facts);
    mts_xxh64_add(&x, b->clean, (size_t)(b->B * b->L) * sizeof *b->clean);
    mts_xxh64_add(&x, b->audio, (size_t)(b->B * b->L) * sizeof *b->audio);
    mts_xxh64_add(&x, b->labels, (size_t)(b->K * b->B * b->T) * sizeof *b->labels);
    mts_xxh64_add(&x, b->mask, (size_t)(b->B * b->T));
    mts_xxh64_add(&x, b->items, (size_t)b->B * sizeof *b->items);
    return mts_xxh64_end(&x, 0);
}

#endif
