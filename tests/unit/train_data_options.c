/* Corpora of shards and of arrays, crops with jitter or changing length, masks of the recipe. */
#include "tests/npy.h"
#include "tests/unit/train_corpus.h"

#include <unistd.h>

/* ---- crops at any sample, of lengths that change ---- */

static int64_t half_even(int64_t over, int64_t under)
{
    double x = (double)over / (double)under;
    return (int64_t)nearbyint(x); /* to even: the default rounding */
}

/* Like rows_are_right, for crops that begin anywhere, labels at 100/s. */
static int jittered_rows_are_right(const mert_load *l, int64_t *off_grid, int *ties)
{
    const mert_batch *b = &l->batch;
    for (int64_t i = 0; i < b->B; i++) {
        const float *x = b->clean + i * b->L;
        int64_t row = (int64_t)x[0] / ROW, start = (int64_t)x[0] % ROW, first = half_even(start * 100, 24000);
        if (start + b->L > samples_of(row))
            return 0;
        *off_grid += start % STRIDE != 0;
        *ties |= start % 240 == 120;
        for (int64_t t = 0; t < b->L; t++)
            if (x[t] != (float)(row * ROW + start + t))
                return 0;
        for (int k = 0; k < b->K; k++)
            for (int64_t t = 0; t < b->T; t++)
                if (b->labels[(k * b->B + i) * b->T + t] != label_of(row, k, first + t * STRIDE * 100 / 24000))
                    return 0;
    }
    return 1;
}

TEST(crops_may_begin_at_any_sample)
{
    spec s = usual;
    mert_corpus c;
    mert_corpus_config with = config;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load l = {0};
    int64_t off_grid = 0, heard = 0;
    int ties = 0;
    s.name = "jitter";
    s.rate_num = 100;
    s.rate_den = 1;
    CHECK(!make(&c, &s));
    mert_corpus_close(&c);
    with.jitter = 1;
    CHECK(!open_files(&c, &s, &with));
    for (int64_t epoch = 0; epoch < 12; epoch++) {
        CHECK(!mert_epoch_plan_make(&p, &c, &r, epoch, &e));
        for (int64_t i = 0; i < p.n; i++) {
            CHECK(!mert_load_fill(&l, &c, &r, &m, &p, epoch, i, i + 1, 0, &e) &&
                  jittered_rows_are_right(&l, &off_grid, &ties));
            heard += l.batch.B;
            CHECK(l.batch.T >= mert_config_frames(&m, l.batch.L) - 1);
        }
        mert_epoch_plan_free(&p);
    }
    CHECK(off_grid > heard * 9 / 10);
    CHECK(ties);
    mert_load_free(&l);
    mert_corpus_close(&c);
}

TEST(crop_lengths_change_by_epoch)
{
    static const int64_t longest[] = {30000, 30000, 60000, 60000, 12000};
    mert_corpus c;
    mert_epoch_plan p;
    mert_recipe r = recipe();
    CHECK(!mert_recipe_set(&r, "dynamic_crops=1.25 2.5 0.5", &e) &&
          !mert_recipe_set(&r, "dynamic_crops_epoches=1 3 5", &e) && !mert_recipe_check(&r, &e));
    CHECK(!open_files(&c, &usual, &config));
    for (int64_t epoch = MERT_VALIDATION; epoch < 5; epoch++) {
        int64_t most = 0, items = 0;
        CHECK(!mert_epoch_plan_make(&p, &c, &r, epoch, &e));
        for (int64_t i = 0; i < p.n; i++) {
            most = p.batches[i].L > most ? p.batches[i].L : most;
            items += p.batches[i].B;
            CHECK(p.batches[i].B * p.batches[i].L <= r.max_tokens);
        }
        CHECK(most == (epoch == MERT_VALIDATION ? 48000 : longest[epoch]));
        CHECK(items == ITEMS - 1); /* min_sample_size is for items, not for crops */
        mert_epoch_plan_free(&p);
    }
    mert_corpus_close(&c);
}

/* A record of several chunks (of 1 MiB): crops before, across and after their borders. */
TEST(crops_out_of_a_long_record)
{
    enum { LONG = 1500000, CHUNK = 1 << 19, N = 2000 };
    static const int64_t starts[] = {0, CHUNK - N, CHUNK - 320, CHUNK, 2 * CHUNK - 1, LONG - N, 777};
    mert_manifest_row row = {"long.flac", LONG};
    mert_manifest m = {.root = "/nowhere", .rows = &row, .n = 1};
    mts_begin b = {.row_first = -1, .row_end = -1, .rows_total = -1};
    mts_record r = record_of(&usual, 0, "pcm");
    int16_t *x = malloc(LONG * sizeof *x);
    float crop[N];
    char *tsv = strdup(test_tmp("long.tsv")), *km = strdup(test_tmp("long.km")), *pcm = strdup(test_tmp("long.mts"));
    const char *ls = km, *ps = pcm;
    mert_corpus_config with = config;
    mert_corpus c;
    FILE *f = fopen(km, "w");
    mts_writer *w;
    for (int i = 0; i < LONG / STRIDE; i++)
        fprintf(f, "%d ", i % CLASSES);
    CHECK(!fclose(f) && !mert_manifest_write(&m, tsv, &e) && (f = fopen(pcm, "wb")));
    for (int64_t i = 0; i < LONG; i++)
        x[i] = (int16_t)(i * 2654435761u >> 13);
    snprintf(r.key, sizeof r.key, "long.flac");
    r.dtype = MTS_I16;
    w = mts_writer_open(f, "pcm", &b, 1);
    CHECK(!mts_write_record(w, &r) && !mts_write_frames(w, x, LONG) && !mts_write_record_end(w));
    CHECK(!mts_writer_close(w, 1, NULL, 0) && !fclose(f));
    with.classes = CLASSES;
    CHECK(!mert_corpus_open(&c, &with, tsv, &ls, 1, &ps, 1, &e));
    for (size_t k = 0; k < sizeof starts / sizeof *starts; k++) {
        CHECK(!mert_corpus_audio(&c, 0, starts[k], N, crop, &e));
        for (int i = 0; i < N; i++)
            CHECK(crop[i] == (float)x[starts[k] + i] / 32768);
    }
    mert_corpus_close(&c);
    free(x);
    free(tsv);
    free(km);
    free(pcm);
}

/* ---- shards ---- */

/* The items of an epoch as bits, by row of the whole corpus; 0: wrong labels. */
static uint64_t heard_in(mert_corpus *c, const mert_recipe *r, int64_t epoch)
{
    mert_epoch_plan p;
    mert_load l = {0};
    mert_config m = model();
    uint64_t rows = 0;
    int good = !mert_epoch_plan_make(&p, c, r, epoch, &e);
    for (int64_t i = 0; good && i < p.n; i++) {
        good = !mert_load_fill(&l, c, r, &m, &p, epoch, i, i + 1, 0, &e);
        for (int64_t b = 0; good && b < l.batch.B; b++) {
            int64_t place = (int64_t)l.batch.clean[b * l.batch.L], row = place / ROW;
            char key[32];
            snprintf(key, sizeof key, "piece%02d.flac", (int)row);
            good = !strcmp(mert_corpus_key(c, l.corpus_items[b]), key) && !(rows >> row & 1);
            rows |= (uint64_t)1 << row;
            for (int64_t t = 0; good && t < l.batch.T; t++)
                good = l.batch.labels[b * l.batch.T + t] == label_of(row, 0, place % ROW / STRIDE + t);
        }
    }
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    return good ? rows : 0;
}

/* Writes the rows r modulo 3 as train_r_3.tsv, with their labels. classes: in the .meta. */
static void write_shard(int r, int64_t classes, uint64_t codebook)
{
    static char keys[ITEMS][32];
    mert_manifest_row rows[ITEMS];
    mert_manifest m = {.root = "/nowhere", .rows = rows}, back;
    mts_begin b = {.row_first = 0};
    char name[64];
    mert_labels_writer *w;
    for (int i = r; i < ITEMS; i += 3) {
        snprintf(keys[i], sizeof keys[i], "piece%02d.flac", i);
        rows[m.n++] = (mert_manifest_row){keys[i], samples_of(i)};
    }
    snprintf(name, sizeof name, "train_%d_3.tsv", r);
    if (mert_manifest_write(&m, test_tmp(name), &e) || mert_manifest_read(&back, test_tmp(name), &e))
        abort();
    b.manifest = back.hash;
    b.row_end = b.rows_total = m.n;
    mert_manifest_free(&back);
    snprintf(name, sizeof name, "train_%d_3.km", r);
    w = mert_labels_create(test_tmp(name), &e);
    if (!w || mert_labels_stream(w, &b, &e))
        abort();
    for (int64_t i = 0; i < m.n; i++) {
        int64_t row = r + 3 * i, n = (samples_of(row) + STRIDE - 1) / STRIDE;
        int32_t codes[ROW / STRIDE + 1];
        mts_record record = record_of(&usual, i, "codes");
        snprintf(record.key, sizeof record.key, "piece%02d.flac", (int)row);
        record.dtype = MTS_I32;
        record.ndim = 2;
        record.shape[1] = record.ncodebooks = 1;
        record.classes[0] = classes;
        record.frame_rate_num = 24000;
        record.frame_rate_den = STRIDE;
        record.model = codebook;
        for (int64_t t = 0; t < n; t++)
            codes[t] = label_of(row, 0, t);
        if (mert_labels_record(w, &record, &e) || mert_labels_frames(w, codes, n, &e) || mert_labels_end(w, &e))
            abort();
    }
    if (mert_labels_commit(w, &e))
        abort();
}

static int open_shards(mert_corpus *c, int shards)
{
    char *tsv = strdup(test_tmp("train.tsv")), *km = strdup(test_tmp("train.km")), *pcm = strdup(pcm_path(&usual));
    const char *l = km, *p = pcm;
    mert_corpus_config with = config;
    int bad;
    with.shards = shards;
    bad = mert_corpus_open(c, &with, tsv, &l, 1, &p, 1, &e);
    free(tsv);
    free(km);
    free(pcm);
    return bad;
}

TEST(shards_are_heard_one_per_epoch)
{
    mert_corpus c;
    mert_recipe r = recipe();
    uint64_t all = 0;
    r.sharding_data = 3;
    r.load_random_data_shard = 0;
    for (int i = 0; i < 3; i++)
        write_shard(i, CLASSES, 0xc0de);
    CHECK(!open_shards(&c, 3));
    CHECK(c.n == ITEMS && c.nparts == 3 && c.K == 1 && c.codebooks[0].total > 10000);
    for (int64_t epoch = 0; epoch < 6; epoch++) {
        uint64_t rows = heard_in(&c, &r, epoch), expected = 0;
        for (int row = 0; row < ITEMS; row++)
            expected |= (uint64_t)(row % 3 == epoch % 3 && row != 3) << row;
        CHECK(rows == expected);
        all |= rows;
    }
    CHECK(all == (((uint64_t)1 << ITEMS) - 1 - 8)); /* row 3 is too short for anything */
    r.load_random_data_shard = 1;
    for (int64_t epoch = 0; epoch < 6; epoch++) {
        uint64_t rows = heard_in(&c, &r, epoch);
        int shard = (int)mert_recipe_shard(&r, epoch);
        CHECK(rows && (rows >> (shard + 12) & 1) && !(rows >> ((shard + 1) % 3 + 12) & 1));
    }
    mert_corpus_close(&c);
}

TEST(one_manifest_is_cut_into_shards)
{
    mert_corpus c;
    mert_corpus_config with = config;
    mert_recipe r = recipe();
    with.shards = 3; /* there is no usual_0_3.tsv */
    r.sharding_data = 3;
    r.load_random_data_shard = 0;
    CHECK(!open_files(&c, &usual, &with) && c.nparts == 1);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        uint64_t rows = heard_in(&c, &r, epoch), expected = 0;
        int64_t first, end;
        mert_shard_rows(ITEMS, (int)epoch, 3, &first, &end);
        for (int64_t row = first; row < end; row++)
            expected |= (uint64_t)(row != 3) << row;
        CHECK(rows == expected);
    }
    mert_corpus_close(&c);
}

TEST(shards_that_do_not_fit_are_refused)
{
    mert_corpus c;
    write_shard(1, CLASSES + 3, 0xc0de);
    CHECK(open_shards(&c, 3) && says("train_1_3.km: 100 classes, ") && says("train_0_3.km has 97"));
    write_shard(1, CLASSES, 0xbad);
    CHECK(open_shards(&c, 3) && says("train_1_3.km: made by codebook 0000000000000bad:0"));
    write_shard(1, CLASSES, 0xc0de);
    CHECK(!rename(test_tmp("train_2_3.tsv"), test_tmp("gone")));
    CHECK(open_shards(&c, 3) && says("train_2_3.tsv: No such file"));
    {
        char *from = strdup(test_tmp("train_1_3.tsv"));
        CHECK(!link(from, test_tmp("train_2_3.tsv")));
        free(from);
    }
    CHECK(open_shards(&c, 3) && says("train_2_3.km: ")); /* labels of another manifest */
}

/* ---- labels as arrays ---- */

static uint64_t hash_of_epoch(mert_corpus *c, const mert_recipe *r, int64_t epoch)
{
    mert_epoch_plan p;
    mert_load l = {0};
    mert_config m = model();
    uint64_t hash = 0;
    int bad = mert_epoch_plan_make(&p, c, r, epoch, &e);
    for (int64_t i = 0; !bad && i < p.n; i++) {
        bad = mert_load_fill(&l, c, r, &m, &p, epoch, i, i + 1, 0, &e);
        hash = hash * 31 + hash_of(&l);
    }
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    return bad ? 0 : hash;
}

/* The text labels of `usual` as an array padded with -1, written here and not by the library. */
static void write_array(int k, const char *name)
{
    int64_t shape[2] = {ITEMS, 0};
    int16_t *x;
    for (int row = 0; row < ITEMS; row++)
        shape[1] = samples_of(row) / STRIDE + 1 > shape[1] ? samples_of(row) / STRIDE + 1 : shape[1];
    x = malloc((size_t)(shape[0] * shape[1]) * sizeof *x);
    for (int64_t row = 0; row < ITEMS; row++)
        for (int64_t t = 0; t < shape[1]; t++)
            x[row * shape[1] + t] =
                t < (samples_of(row) + STRIDE - 1) / STRIDE && row != 11 ? (int16_t)label_of(row, k, t) : -1;
    if (put_npy(test_tmp(name), MERT_NPY_I16, 2, shape, x, &e))
        abort();
    free(x);
}

static int open_with_labels(mert_corpus *c, const char *labels)
{
    char *tsv = strdup(manifest_path(&usual)), *l = strdup(test_tmp(labels)), *pcm = strdup(pcm_path(&usual));
    const char *ls = l, *ps = pcm;
    mert_corpus_config with = config;
    int bad;
    with.classes = CLASSES;
    bad = mert_corpus_open(c, &with, tsv, &ls, 1, &ps, 1, &e);
    free(tsv);
    free(l);
    free(pcm);
    return bad;
}

TEST(arrays_of_labels_give_the_batches_of_text)
{
    spec s = usual;
    mert_corpus text, array;
    mert_recipe r = recipe();
    s.name = "texts";
    s.failed_labels = 11;
    CHECK(!make(&text, &s));
    write_array(0, "arrays_0.npy");
    write_array(1, "arrays_1.npy");
    for (int by_name = 0; by_name < 2; by_name++) {
        CHECK(!open_with_labels(&array, by_name ? "arrays_%d.npy" : "arrays_%d") && array.K == 2);
        CHECK(array.n == ITEMS - 1 && array.failed == 1 && !strcmp(array.failed_key, "piece11.flac"));
        CHECK(!memcmp(array.codebooks[1].counts, text.codebooks[1].counts, CLASSES * sizeof(int64_t)));
        CHECK(hash_of_epoch(&text, &r, 3) && hash_of_epoch(&text, &r, 3) == hash_of_epoch(&array, &r, 3));
        mert_corpus_close(&array);
    }
    mert_corpus_close(&text);
}

/* The text labels of `usual` as a packed stream, in another order, with an item that is not in the manifest. wrong: the
 * error in the record of row 14. */
enum { ALL_RIGHT, OTHER_CLASSES, OTHER_MODEL, OTHER_KIND, CODE_TOO_LARGE };

static const char *write_codes(const char *name, mts_dtype dtype, int wrong)
{
    FILE *f = fopen(test_tmp(name), "wb");
    mts_begin b = {.row_first = -1, .row_end = -1, .rows_total = -1};
    mts_writer *w = f ? mts_writer_open(f, "codes", &b, 1) : NULL;
    int bad = !w;
    for (int64_t i = 0; !bad && i <= ITEMS; i++) {
        int64_t row = i == 0 ? ITEMS : (i * 7) % ITEMS, n = (samples_of(row) + STRIDE - 1) / STRIDE;
        int is = row == 14 ? wrong : ALL_RIGHT;
        int32_t codes[2 * (ROW / STRIDE + 1)];
        mts_record r = record_of(&usual, row, is == OTHER_KIND ? "mel" : "codes");
        if (row == 11) { /* failed, or missing */
            bad = dtype == MTS_I32 && mts_write_failed(w, r.key, i, "mert-kmeans", "made to fail") < 0;
            continue;
        }
        r.row = i;
        r.dtype = dtype;
        r.ndim = 2;
        r.shape[1] = 2;
        r.frame_rate_num = 24000;
        r.frame_rate_den = STRIDE;
        r.model = is == OTHER_MODEL ? 1 : 0xc0de;
        r.ncodebooks = is == OTHER_KIND ? 0 : 2;
        for (int k = 0; k < r.ncodebooks; k++)
            r.classes[k] = CLASSES + (is == OTHER_CLASSES && k);
        for (int64_t j = 0; j < 2 * n; j++) {
            codes[j] = label_of(row, (int)(j % 2), j / 2);
            if (is == CODE_TOO_LARGE && j == 41)
                codes[j] = CLASSES;
        }
        for (int64_t j = 0; dtype == MTS_U16 && j < 2 * n; j++)
            ((uint16_t *)codes)[j] = (uint16_t)codes[j];
        bad = mts_write_record(w, &r) < 0 || mts_write_frames(w, codes, n) < 0 || mts_write_record_end(w) < 0;
    }
    if (bad || mts_writer_close(w, 1, NULL, 0) || fclose(f))
        abort();
    return name;
}

TEST(streams_of_codes_give_the_batches_of_text)
{
    mert_corpus text, codes;
    mert_recipe r = recipe();
    spec s = usual;
    s.name = "texts";
    CHECK(!open_files(&text, &s, &config));
    for (int i = 0; i < 2; i++) {
        CHECK(!open_with_labels(&codes, write_codes("codes.mts", i ? MTS_U16 : MTS_I32, ALL_RIGHT)));
        CHECK(codes.K == 2 && codes.n == ITEMS - 1 && codes.failed == 1 && codes.nabsent == i);
        CHECK(i ? !codes.failed_key && !strcmp(codes.absent->key, "piece11.flac") && strstr(codes.absent->file, "codes.mts")
                : !strcmp(codes.failed_key, "piece11.flac"));
        CHECK(codes.codebooks[1].verified && codes.codebooks[1].meta.codebook_index == 1 &&
              codes.codebooks[0].meta.codebook == 0xc0de);
        CHECK(!memcmp(codes.codebooks[1].counts, text.codebooks[1].counts, CLASSES * sizeof(int64_t)));
        CHECK(hash_of_epoch(&text, &r, 3) && hash_of_epoch(&text, &r, 3) == hash_of_epoch(&codes, &r, 3));
        CHECK(!mert_corpus_fits(&text, &codes, &e));
        mert_corpus_close(&codes);
    }
    mert_corpus_close(&text);
}

TEST(streams_of_codes_that_do_not_fit_are_refused)
{
    mert_corpus c;
    static const struct {
        int wrong;
        const char *says;
    } cases[] = {{OTHER_CLASSES, "wrong.mts: piece14.flac: codebook 1 has 98 classes, it had 97 before"},
                 {OTHER_MODEL, "wrong.mts: piece14.flac: 2 codebooks of 0000000000000001 at "},
                 {OTHER_KIND, "wrong.mts: piece14.flac: a record of kind mel, codes are needed"},
                 {CODE_TOO_LARGE, "wrong.mts: piece14.flac: frame 20: code 97 of codebook 1 is not below its 97"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK(open_with_labels(&c, write_codes("wrong.mts", MTS_I32, cases[i].wrong)) && says(cases[i].says));
    CHECK(open_with_labels(&c, "nowhere.mts") && says("nowhere.mts: No such file"));
    {
        FILE *f = fopen(test_tmp("stranger.mts"), "wb");
        mts_begin b = {.row_first = -1, .row_end = -1, .rows_total = -1};
        mts_writer *w = mts_writer_open(f, "codes", &b, 1);
        CHECK(w && !mts_writer_close(w, 1, NULL, 0) && !fclose(f));
        CHECK(open_with_labels(&c, "stranger.mts") && says("stranger.mts: codes of none of the manifest's 40 rows"));
    }
}

/* ---- masks and mixture ---- */

TEST(masks_of_a_batch_follow_the_recipe)
{
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load l = {0};
    double share[3] = {0};
    int64_t kept = 0, moved = 0;
    CHECK(!mert_recipe_set(&r, "mask_dynamic_prob_step=5 10", &e) &&
          !mert_recipe_set(&r, "mask_dynamic_prob=0.1 0.9 0.4", &e));
    CHECK(!open_files(&c, &usual, &config) && !mert_epoch_plan_make(&p, &c, &r, 0, &e));
    for (int64_t update = 1; update <= 15; update++) {
        int64_t masked = 0;
        CHECK(!mert_load_fill(&l, &c, &r, &m, &p, 0, 0, update, 0, &e) && !l.batch.source && !l.batch.channels);
        for (int64_t i = 0; i < l.batch.B * l.batch.T; i++)
            masked += l.batch.mask[i];
        share[(update - 1) / 5] += (double)masked / (double)(5 * l.batch.B * l.batch.T);
    }
    CHECK(share[0] > 0.05 && share[0] < 0.12 && share[1] > 0.45 && share[2] > 0.2 && share[2] < 0.4);
    CHECK(!mert_recipe_set(&r, "mask_replace=0.2", &e) && !mert_recipe_set(&r, "mask_origin=0.3", &e) &&
          !mert_recipe_set(&r, "mask_channel_prob=0.2", &e));
    CHECK(!mert_load_fill(&l, &c, &r, &m, &p, 0, 0, 7, 0, &e) && l.batch.source && l.batch.channels);
    for (int64_t i = 0; i < l.batch.B * l.batch.T; i++) {
        kept += l.batch.mask[i] && l.batch.source[i] == i;
        moved += l.batch.mask[i] && l.batch.source[i] >= 0 && l.batch.source[i] != i;
        CHECK(l.batch.source[i] < l.batch.B * l.batch.T && (l.batch.mask[i] || l.batch.source[i] == i));
    }
    CHECK(kept > 10 && moved > 10);
    for (int64_t b = 0; b < l.batch.B; b++) {
        int64_t silent = 0;
        for (int64_t d = 0; d < m.width; d++)
            silent += l.batch.channels[b * m.width + d];
        CHECK(silent > m.width / 10 && silent < m.width / 4);
    }
    mert_epoch_plan_free(&p);
    CHECK(!mert_epoch_plan_make(&p, &c, &r, MERT_VALIDATION, &e));
    CHECK(!mert_load_fill(&l, &c, &r, &m, &p, MERT_VALIDATION, 0, 0, 0, &e) && !l.batch.source && !l.batch.channels);
    mert_epoch_plan_free(&p);
    mert_load_free(&l);
    mert_corpus_close(&c);
}

/* The samples of an item are a ramp, so that mean and variance of the whole are known. */
TEST(items_are_normalised_as_a_whole)
{
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load l = {0};
    double worst = 0;
    m.normalize = 1;
    m.normalize_eps = 1e-5;
    CHECK(!open_files(&c, &usual, &config) && !mert_epoch_plan_make(&p, &c, &r, 0, &e));
    for (int64_t i = 0; i < p.n; i++) {
        CHECK(!mert_load_fill(&l, &c, &r, &m, &p, 0, i, i + 1, 0, &e) && l.batch.B > 0);
        for (int64_t b = 0; b < l.batch.B; b++) {
            double n = (double)samples_of(c.items[l.corpus_items[b]].row), sd = sqrt((n * n - 1) / 12);
            const float *x = l.batch.clean + b * l.batch.L;
            double start = nearbyint((double)x[0] * sd + (n - 1) / 2);
            CHECK(start >= 0 && start + (double)l.batch.L <= n && fmod(start, STRIDE) == 0);
            for (int64_t t = 0; t < l.batch.L; t++)
                worst = fmax(worst, fabs((double)x[t] - (start + (double)t - (n - 1) / 2) / sd));
        }
    }
    CHECK(worst < 1e-5);
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    mert_corpus_close(&c);
}

int main(void)
{
    mert_corpus c;
    if (make(&c, &usual))
        abort();
    mert_corpus_close(&c);
    RUN(crops_may_begin_at_any_sample);
    RUN(crops_out_of_a_long_record);
    RUN(crop_lengths_change_by_epoch);
    RUN(shards_are_heard_one_per_epoch);
    RUN(one_manifest_is_cut_into_shards);
    RUN(shards_that_do_not_fit_are_refused);
    RUN(arrays_of_labels_give_the_batches_of_text);
    RUN(streams_of_codes_give_the_batches_of_text);
    RUN(streams_of_codes_that_do_not_fit_are_refused);
    RUN(items_are_normalised_as_a_whole);
    RUN(masks_of_a_batch_follow_the_recipe);
    return test_done();
}
