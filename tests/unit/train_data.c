/* Corpora and batches. */
#include "tests/unit/train_corpus.h"

#include "libcommon/train/run_inputs.h"

/* ---- batches ---- */

/* Checks that every row of the batch is consecutive audio of one item, with the item's labels at the given rate. */
static int rows_are_right(const mert_load *l, const mert_corpus *c, const spec *s)
{
    const mert_batch *b = &l->batch;
    for (int64_t i = 0; i < b->B; i++) {
        const float *x = b->clean + i * b->L;
        int64_t row = (int64_t)x[0] / ROW, start = (int64_t)x[0] % ROW, frame = start / STRIDE;
        if (c->items[l->corpus_items[i]].row != row || start % STRIDE || start + b->L > samples_of(row))
            return 0;
        for (int64_t t = 0; t < b->L; t++)
            if (x[t] != (float)(row * ROW + start + t))
                return 0;
        for (int k = 0; k < b->K; k++)
            for (int64_t t = 0; t < b->T; t++)
                if (b->labels[(k * b->B + i) * b->T + t] !=
                    label_of(row, k, (frame + t) * STRIDE * s->rate_num / (24000 * s->rate_den)))
                    return 0;
    }
    return 1;
}

/* Checks an epoch: correct rows, sizes within the limits, every item that is long enough once. */
static int epoch_is_right(mert_corpus *c, const spec *s, const mert_recipe *r, int64_t epoch, int64_t *batches)
{
    mert_epoch_plan p;
    mert_load l = {0};
    mert_config m = model();
    int heard[ITEMS] = {0}, good = !mert_epoch_plan_make(&p, c, r, epoch, &e);
    for (int64_t i = 0; good && i < p.n; i++) {
        const mert_batch *b = &l.batch;
        good = !mert_load_fill(&l, c, r, &m, &p, epoch, i, i + 1, 0, &e) && rows_are_right(&l, c, s);
        good = good && b->B * b->L <= r->max_tokens && (b->B <= r->batch_multiple || b->B % r->batch_multiple == 0);
        good = good && b->L <= r->max_sample_size && b->L >= r->min_sample_size &&
               b->T <= mert_config_frames(&m, b->L) && b->T >= mert_config_frames(&m, b->L) - 1;
        for (int64_t k = 0; good && k < b->B; k++)
            heard[c->items[l.corpus_items[k]].row]++;
        if (!good)
            printf("# batch %d: B %d L %d T %d: %s\n", (int)i, (int)b->B, (int)b->L, (int)b->T, e.text);
    }
    for (int row = 0; good && row < ITEMS; row++)
        good = heard[row] ==
               (samples_of(row) >= r->min_sample_size && row != s->failed_labels && row != s->failed_audio);
    if (batches)
        *batches = p.n;
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    return good;
}

TEST(an_epoch_hears_every_item_once_and_labels_fit)
{
    mert_corpus c;
    mert_recipe r = recipe();
    int64_t batches;
    CHECK(!make(&c, &usual));
    CHECK(c.n == ITEMS && c.K == 2 && c.failed == 0 && c.off_count == 0);
    CHECK(epoch_is_right(&c, &usual, &r, 0, &batches) && epoch_is_right(&c, &usual, &r, 7, NULL));
    CHECK(batches >= 5 && batches <= 9);
    mert_corpus_close(&c);
}

TEST(labels_at_other_rates)
{
    spec s = usual;
    mert_corpus c;
    mert_recipe r = recipe();
    s.name = "denser";
    s.rate_num = 100;
    s.rate_den = 1;
    CHECK(!make(&c, &s) && epoch_is_right(&c, &s, &r, 0, NULL));
    mert_corpus_close(&c);
    s.name = "sparser";
    s.rate_num = 50;
    CHECK(!make(&c, &s) && epoch_is_right(&c, &s, &r, 0, NULL));
    mert_corpus_close(&c);
}

TEST(several_crops_of_an_item)
{
    mert_corpus c;
    mert_epoch_plan p;
    mert_recipe r = recipe();
    int64_t expected = 0, *seen;
    r.crops_per_item = 0;
    CHECK(!open_files(&c, &usual, &config) && !mert_epoch_plan_make(&p, &c, &r, 0, &e));
    for (int64_t row = 0; row < ITEMS; row++)
        expected += samples_of(row) < 24000 ? 0 : samples_of(row) < 96000 ? 1 : samples_of(row) / 48000;
    CHECK(p.crops_n == expected && p.too_short == 1);
    seen = calloc((size_t)expected, sizeof *seen);
    for (int64_t i = 0; i < expected; i++)
        seen[p.crops[i].number]++;
    for (int64_t i = 0; i < expected; i++)
        CHECK(seen[i] == 1);
    free(seen);
    mert_epoch_plan_free(&p);
    mert_corpus_close(&c);
}

TEST(i16_is_scaled)
{
    spec s = usual;
    mert_corpus c;
    float x[100];
    s.name = "i16";
    s.dtype = MTS_I16;
    CHECK(!make(&c, &s));
    CHECK(!mert_corpus_audio(&c, 5, 20000, 100, x, &e));
    for (int i = 0; i < 100; i++)
        CHECK(x[i] == (float)((20000 + i + 5) % 30000 - 15000) / 32768);
    mert_corpus_close(&c);
}

TEST(failed_rows_are_left_out_and_counted)
{
    spec s = usual;
    mert_corpus c;
    mert_recipe r = recipe();
    s.name = "failed";
    s.failed_labels = 11;
    s.failed_audio = 30;
    CHECK(!make(&c, &s));
    CHECK(c.n == ITEMS - 2 && c.failed == 2 && !strcmp(c.failed_key, "piece11.flac"));
    CHECK(epoch_is_right(&c, &s, &r, 0, NULL));
    mert_corpus_close(&c);
}

/* ---- the loader ---- */

TEST(a_resumed_loader_goes_on_with_the_same_batches)
{
    enum { UPDATES = 13, FREQ = 3, AFTER = 5 };
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_position from = {0}, middle = {0};
    mert_loader *l;
    uint64_t undisturbed[UPDATES * FREQ];
    int64_t epochs = 0;
    r.update_freq = FREQ;
    CHECK(!open_files(&c, &usual, &config));
    CHECK((l = mert_loader_start(&c, &r, &m, from, NULL, NULL, &e)));
    for (int i = 0; i < UPDATES * FREQ; i++) {
        const mert_load *load = mert_loader_next(l, NULL, &e);
        CHECK(load && load->update == i / FREQ + 1 && load->micro_batch == i % FREQ);
        undisturbed[i] = hash_of(load);
        epochs = load->epoch;
        if (i == AFTER * FREQ - 1)
            middle = (mert_position){AFTER, load->epoch, load->index + 1};
    }
    mert_loader_stop(l);
    CHECK(epochs >= 3);
    CHECK((l = mert_loader_start(&c, &r, &m, middle, NULL, NULL, &e)));
    for (int i = AFTER * FREQ; i < UPDATES * FREQ; i++) {
        const mert_load *load = mert_loader_next(l, NULL, &e);
        CHECK(load && hash_of(load) == undisturbed[i]);
    }
    mert_loader_stop(l);
    for (int i = 0; i < UPDATES * FREQ; i++)
        for (int j = 0; j < i; j++)
            CHECK(undisturbed[i] != undisturbed[j]);
    mert_corpus_close(&c);
}

TEST(validation_never_changes)
{
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load a = {0}, b = {0};
    CHECK(!open_files(&c, &usual, &config) && !mert_epoch_plan_make(&p, &c, &r, MERT_VALIDATION, &e));
    for (int64_t i = 0; i < p.n; i++) {
        CHECK(!mert_load_fill(&a, &c, &r, &m, &p, MERT_VALIDATION, i, 0, i, &e));
        CHECK(!mert_load_fill(&b, &c, &r, &m, &p, MERT_VALIDATION, i, 0, i, &e));
        CHECK(hash_of(&a) == hash_of(&b) && a.batch.audio == a.batch.clean);
    }
    mert_load_free(&a);
    mert_load_free(&b);
    mert_epoch_plan_free(&p);
    mert_corpus_close(&c);
}

/* One flipped byte in the packed audio makes the item fail, with a message. */
TEST(unreadable_audio_costs_its_item_only)
{
    spec s = usual;
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load l = {0};
    FILE *f;
    int64_t failed = 0, heard = 0;
    s.name = "damaged";
    CHECK(!make(&c, &s) && (f = fopen(pcm_path(&s), "r+b")));
    /* within the data of item 5, which is longer than a crop by so little that each has a part of all its chunks */
    CHECK(!fseeko(f, c.items[6].offset - 2000, SEEK_SET) && fputc(0x55, f) != EOF && !fclose(f));
    CHECK(!mert_epoch_plan_make(&p, &c, &r, 0, &e));
    for (int64_t i = 0; i < p.n; i++) {
        CHECK(!mert_load_fill(&l, &c, &r, &m, &p, 0, i, i + 1, 0, &e) && rows_are_right(&l, &c, &s));
        failed += l.failed;
        heard += l.batch.B;
        if (l.failed)
            CHECK(l.failures->item == 5 && strstr(l.failures->why, "record 5") &&
                  strstr(l.failures->why, "damaged.mts"));
    }
    CHECK(failed == 1 && heard == ITEMS - 2);
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    mert_corpus_close(&c);
}

TEST(samples_that_are_no_numbers_cost_their_item_only)
{
    spec s = usual;
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load l = {0};
    char expected[64];
    int64_t failed = 0, heard = 0;
    s.name = "poisoned";
    s.poisoned = 5; /* only a little longer than a crop, so every crop contains the middle */
    snprintf(expected, sizeof expected, "sample %d is not a finite number", (int)samples_of(5) / 2);
    CHECK(!make(&c, &s) && !mert_epoch_plan_make(&p, &c, &r, 0, &e));
    for (int64_t i = 0; i < p.n; i++) {
        CHECK(!mert_load_fill(&l, &c, &r, &m, &p, 0, i, i + 1, 0, &e) && rows_are_right(&l, &c, &s));
        failed += l.failed;
        heard += l.batch.B;
        if (l.failed)
            CHECK(l.failures->item == 5 && !strcmp(l.failures->why, expected));
    }
    CHECK(failed == 1 && heard == ITEMS - 2);
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    mert_corpus_close(&c);
}

/* For an item that is a little longer than the crop: every position on the grid, with the last one, and no others. */
TEST(crops_reach_the_last_position)
{
    enum { ITEM = 4, PLACES = (49328 - 48000) / STRIDE + 1 };
    mert_corpus c;
    mert_recipe r = recipe();
    mert_config m = model();
    mert_load l = {0};
    int seen[PLACES] = {0}, all = 0;
    CHECK(samples_of(ITEM) == 49328 && PLACES == 5);
    r.max_tokens = 48000; /* batches of one crop, so that no crop is shortened */
    CHECK(!open_files(&c, &usual, &config));
    for (int64_t epoch = 0; epoch < 60; epoch++) {
        mert_epoch_plan p;
        CHECK(!mert_epoch_plan_make(&p, &c, &r, epoch, &e));
        for (int64_t i = 0; i < p.n; i++) {
            int64_t start;
            if (p.crops[p.batches[i].first].item != ITEM)
                continue;
            CHECK(p.batches[i].L == 48000 && !mert_load_fill(&l, &c, &r, &m, &p, epoch, i, 1, 0, &e));
            start = (int64_t)l.batch.clean[0] - ITEM * ROW;
            CHECK(start >= 0 && start % STRIDE == 0 && start / STRIDE < PLACES);
            seen[start / STRIDE]++;
        }
        mert_epoch_plan_free(&p);
    }
    for (int i = 0; i < PLACES; i++)
        all += seen[i] > 0;
    CHECK(all == PLACES);
    mert_load_free(&l);
    mert_corpus_close(&c);
}

/* With jitter, a crop that begins half way between two labels has the even one first. */
TEST(ties_of_the_jitter_are_even)
{
    static const struct { int64_t start, label; } cases[] = {
        {0, 0}, {159, 0}, {160, 0}, {161, 1}, {320, 1}, {479, 1}, {480, 2}, {481, 2}, {800, 2}, {801, 3}, {1120, 4}};
    mert_corpus_config jittered = config;
    mert_corpus c;
    jittered.jitter = 1;
    CHECK(!open_files(&c, &usual, &jittered));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t label;
        CHECK(!mert_corpus_labels(&c, 7, 1, cases[i].start, 1, &label, &e));
        CHECK(label == label_of(7, 1, cases[i].label));
    }
    mert_corpus_close(&c);
}

/* ---- the inputs of a run ---- */

static uint64_t input(const mert_run_inputs *in, const char *name)
{
    for (int i = 0; i < in->n; i++)
        if (!strcmp(in->items[i].name, name))
            return in->items[i].hash;
    return 0;
}

TEST(inputs_are_labels_and_samples_however_they_are_kept)
{
    spec s = usual;
    mert_corpus a, b;
    mert_run_inputs in = {0}, other = {0}, back = {0};
    mert_json *j;
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    CHECK(f && !open_files(&a, &usual, &config) && !mert_run_inputs_add(&in, "train", &a, &e));
    CHECK(in.n == 6 && !strcmp(in.items[4].name, "train.codebook.0"));
    CHECK(!strcmp(in.items[0].name, "train.manifest.0") && !strcmp(in.items[2].name, "train.labels.0.1") &&
          !strcmp(in.items[3].name, "train.audio.0"));
    mert_run_inputs_write(&in, f);
    CHECK(!fclose(f) && (j = mert_json_parse(text, size, "inputs", &e)) != NULL);
    CHECK(!mert_run_inputs_read(&back, j, &e) && !mert_run_inputs_same(&back, &in, 0, &e));
    mert_json_free(j);
    free(text);
    s.name = "elsewhere"; /* other names, no .meta, of another codebook: the same labels */
    s.codebook = 7;
    CHECK(!make(&b, &s) && !mert_run_inputs_add(&other, "train", &b, &e) && !mert_run_inputs_same(&back, &other, 0, &e));
    mert_run_inputs_free(&other);
    mert_corpus_close(&b);
    s.name = "another";
    s.dtype = MTS_I16;
    s.flat = 1;
    CHECK(!make(&b, &s) && !mert_run_inputs_add(&other, "train", &b, &e));
    CHECK(input(&in, "train.manifest.0") == input(&other, "train.manifest.0"));
    CHECK(input(&in, "train.labels.0.0") != input(&other, "train.labels.0.0"));
    CHECK(input(&in, "train.audio.0") != input(&other, "train.audio.0"));
    CHECK(mert_run_inputs_same(&back, &other, 0, &e) == -1 &&
          says("another.codes_0: other labels than the run was begun with (hash "));
    mert_run_inputs_free(&other);
    CHECK(mert_run_inputs_same(&back, &other, 0, &e) == -1 && says("there is no train.manifest.0 now"));
    CHECK(!mert_run_inputs_same(&back, &other, 1, &e));
    CHECK(mert_run_inputs_same(&other, &in, 0, &e) == -1 && says("usual.tsv: the run was begun without it"));
    mert_run_inputs_free(&in);
    mert_run_inputs_free(&back);
    mert_corpus_close(&a);
    mert_corpus_close(&b);
}

/* ---- costs of guesses ---- */

TEST(entropies)
{
    mert_corpus a, b;
    spec s = usual;
    s.name = "flat";
    s.flat = 1;
    CHECK(!open_files(&a, &usual, &config) && !make(&b, &s));
    CHECK_NEAR(mert_corpus_entropy(&a, 0), log2(CLASSES), 0.01);
    CHECK(mert_corpus_entropy(&b, 1) == 0);
    CHECK_NEAR(mert_corpus_cross_entropy(&a, &b, 0), log2(CLASSES), 0.2);
    CHECK(mert_corpus_cross_entropy(&b, &a, 0) > 10);
    CHECK_NEAR(mert_corpus_cross_entropy(&a, &a, 0), mert_corpus_entropy(&a, 0), 0.01);
    mert_corpus_close(&a);
    mert_corpus_close(&b);
}

/* ---- refusals ---- */

TEST(what_does_not_fit_is_refused)
{
    mert_corpus c, d;
    spec s = usual;
    mert_corpus_config with = config;
    s.name = "wrong";
    s.pcm_rate = 16000;
    CHECK(make(&c, &s) && says("wrong.mts: piece00.flac: sample rate is 16000 Hz, the recipe needs 24000 Hz"));
    s.pcm_rate = 24000;
    s.short_labels = 17;
    CHECK(make(&c, &s) && says("wrong.codes_0: line 18 (piece17.flac)"));
    s.short_labels = -1;
    s.bare = 1;
    CHECK(make(&c, &s) && says("wrong.codes_0: the number of classes is not known"));
    with.classes = CLASSES - 1;
    CHECK(open_files(&c, &s, &with) && says("label 96 is not below the 96 classes"));
    with.classes = CLASSES;
    CHECK(!open_files(&c, &s, &with) && !c.codebooks[0].verified);
    CHECK(c.codebooks[0].rate_num * 320 == c.codebooks[0].rate_den * 24000);
    mert_corpus_close(&c);
    with.codebooks = 3;
    CHECK(open_files(&c, &s, &with) && says("2 codebooks, the recipe asks for 3"));
    with.codebooks = 1;
    CHECK(!open_files(&c, &s, &with) && c.K == 1);
    CHECK(!open_files(&d, &usual, &config) && mert_corpus_fits(&c, &d, &e) && says("2 codebooks"));
    mert_corpus_close(&c);
    s.bare = 0;
    s.codebook = 0xbad;
    CHECK(!make(&c, &s) && mert_corpus_fits(&d, &c, &e) && says("0000000000000bad"));
    mert_corpus_close(&c);
    with = config;
    with.label_rate = 50;
    CHECK(open_files(&c, &s, &with) && says("75 labels per second, the recipe says 50"));
    mert_corpus_close(&d);
}

TEST(an_item_twice_in_packed_audio_is_refused)
{
    mert_corpus c;
    mert_corpus_config with = config;
    spec s = usual;
    s.name = "doubled";
    with.classes = CLASSES;
    CHECK(!make(&c, &s));
    mert_corpus_close(&c);
    const char *labels = labels_path(&s), *pcm = pcm_path(&s), *both[] = {pcm, pcm};
    CHECK(mert_corpus_open(&c, &with, manifest_path(&s), &labels, 1, both, 2, &e));
    CHECK(says("doubled.mts: piece00.flac: a second time"));
}

/* The files of one corpus with the manifest of another. */
static int open_mixed(mert_corpus *c, const mert_corpus_config *with, const spec *manifest, const spec *files)
{
    char *tsv = strdup(manifest_path(manifest)), *labels = strdup(labels_path(files)), *pcm = strdup(pcm_path(files));
    const char *l = labels, *p = pcm;
    int bad = mert_corpus_open(c, with, tsv, &l, 1, &p, 1, &e);
    free(tsv);
    free(labels);
    free(pcm);
    return bad;
}

TEST(files_of_another_manifest_are_refused)
{
    spec s = usual, two = usual, absent = usual;
    mert_corpus_config with = config;
    mert_corpus c;
    mert_manifest_row rows[2] = {{"a.flac", 50000}, {"b.flac", 50000}};
    mert_manifest m = {.root = "/nowhere", .rows = rows, .n = 2};
    s.name = "first";
    two.name = "second";
    absent.name = "absent";
    with.classes = CLASSES;
    CHECK(!make(&c, &s));
    mert_corpus_close(&c);
    CHECK(!mert_manifest_write(&m, manifest_path(&two), &e));
    CHECK(open_mixed(&c, &with, &two, &s) && says("first.codes_0: 40 lines for the 2 rows"));
    write_labels(&s, 0xfeed);
    CHECK(open_mixed(&c, &with, &s, &s) && says("first.codes_0: made for another manifest (hash 000000000000feed"));
    for (int i = 0; i < 2; i++) {
        char name[64];
        FILE *f;
        snprintf(name, sizeof name, "second.codes_%d", i);
        CHECK((f = fopen(test_tmp(name), "w")) && fputs("1 2 3\n4 5 6\n", f) >= 0 && !fclose(f));
    }
    CHECK(!rename(pcm_path(&s), pcm_path(&two)));
    CHECK(open_mixed(&c, &with, &two, &two) && says("second.tsv: none of its 2 rows has both labels and audio"));
    CHECK(open_mixed(&c, &with, &absent, &s) && says("absent.tsv: No such file"));
    CHECK(open_mixed(&c, &with, &s, &absent) && says("absent.codes_0: No such file"));
    s.codebook = 1;
    CHECK(!make(&c, &s));
    mert_corpus_close(&c);
    CHECK(!remove(pcm_path(&s)) && open_mixed(&c, &with, &s, &s) && says("first.mts: No such file"));
}

int main(void)
{
    RUN(an_epoch_hears_every_item_once_and_labels_fit);
    RUN(labels_at_other_rates);
    RUN(several_crops_of_an_item);
    RUN(i16_is_scaled);
    RUN(failed_rows_are_left_out_and_counted);
    RUN(a_resumed_loader_goes_on_with_the_same_batches);
    RUN(validation_never_changes);
    RUN(unreadable_audio_costs_its_item_only);
    RUN(samples_that_are_no_numbers_cost_their_item_only);
    RUN(crops_reach_the_last_position);
    RUN(ties_of_the_jitter_are_even);
    RUN(inputs_are_labels_and_samples_however_they_are_kept);
    RUN(entropies);
    RUN(what_does_not_fit_is_refused);
    RUN(an_item_twice_in_packed_audio_is_refused);
    RUN(files_of_another_manifest_are_refused);
    return test_done();
}
