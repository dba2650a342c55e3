#define _GNU_SOURCE /* memmem */
/* k-means: comparison with scikit-learn's result; the sample, exact sums, and the file. */
#include "tests/test.h"

#include "formats/npy.h"
#include "libcommon/base/random.h"
#include "libcommon/teachers/codebook_file.h"
#include "libcommon/teachers/kmeans/kmeans.h"
#include "libcommon/teachers/kmeans/nearest.h"
#include "libcommon/teachers/kmeans/pass.h"
#include "libcommon/teachers/kmeans/shard.h"
#include "libcommon/teachers/sample.h"
#include "tests/unit/threads.h"

static float *load(const char *name, int64_t shape[2])
{
    mert_npy a;
    mert_error e;
    float *x = NULL;
    if (mert_npy_open(&a, test_golden(name), &e)) {
        printf("# %s\n", e.text);
        return NULL;
    }
    shape[0] = a.shape[0];
    shape[1] = a.ndim > 1 ? a.shape[1] : 1;
    x = mert_npy_floats(&a, &e);
    mert_npy_close(&a);
    return x;
}

TEST(labels_are_the_reference_s)
{
    int64_t xs[2], cs[2], ls[2];
    float *x = load("kmeans/features.npy", xs), *c = load("kmeans/centroids.npy", cs);
    float *l = load("kmeans/labels.npy", ls);
    int32_t *label;
    mert_nearest *n;
    CHECK(x && c && l && cs[1] == xs[1] && ls[0] == xs[0]);
    label = malloc((size_t)xs[0] * sizeof *label);
    n = mert_nearest_new(c, cs[0], cs[1]);
    CHECK(n && mert_nearest_find(n, x, xs[1], xs[0], label, NULL) == -1);
    for (int64_t i = 0; i < xs[0]; i++)
        CHECK(label[i] == (int32_t)l[i]);
    mert_nearest_free(n);
    free(x), free(c), free(l), free(label);
}

TEST(training_reaches_the_reference_s_inertia_whatever_the_threads)
{
    int64_t xs[2];
    float *x = load("kmeans/features.npy", xs), *one, *two;
    mert_json *expect;
    mert_error e;
    double reference = 0;
    mert_kmeans_options o = mert_kmeans_defaults;
    mert_kmeans_result r;
    CHECK(x);
    expect = mert_json_read(test_golden("kmeans/expect.json"), &e);
    CHECK(expect && !mert_json_int(expect, "k", &o.k) && !mert_json_double(expect, "kmeans_inertia", &reference));
    one = malloc((size_t)(o.k * xs[1]) * sizeof *one);
    two = malloc((size_t)(o.k * xs[1]) * sizeof *two);
    for (int lloyd = 0; lloyd <= 1; lloyd++) {
        o.lloyd = 100 * lloyd;
        use_threads(1);
        CHECK(!mert_kmeans_train(&o, x, xs[0], xs[1], one, &r, &e));
        CHECK(r.inertia < 1.01 * reference && r.empty == 0);
        CHECK(lloyd ? r.iterations > 0 && r.iterations < 100 : r.iterations == 0);
        use_threads(2);
        CHECK(!mert_kmeans_train(&o, x, xs[0], xs[1], two, &r, &e));
        CHECK(!memcmp(one, two, (size_t)(o.k * xs[1]) * sizeof *one));
    }
    o.seed = 1;
    CHECK(!mert_kmeans_train(&o, x, xs[0], xs[1], two, &r, &e));
    CHECK(memcmp(one, two, (size_t)(o.k * xs[1]) * sizeof *one));
    mert_json_free(expect);
    free(x), free(one), free(two);
}

/* Separate groups, one of them rare: every group must get a centre. */
TEST(seeding_finds_separate_groups)
{
    enum { GROUPS = 20, N = 4000, D = 3 };
    mert_random key = mert_random_key(3, MERT_FOR_TEST, 0, 0, 0);
    float *x = malloc(N * D * sizeof *x), centres[GROUPS * D];
    mert_kmeans_options o = mert_kmeans_defaults;
    int found[GROUPS] = {0};
    o.k = GROUPS;
    o.n_init = 3;
    for (int i = 0; i < N; i++) {
        int group = i < 5 ? GROUPS - 1 : i % (GROUPS - 1);
        for (int j = 0; j < D; j++)
            x[i * D + j] = (float)(100.0 * (group * (j + 1) % 23) + mert_random_normal(&key, (uint32_t)(i * D + j)));
    }
    CHECK(mert_kmeans_seed(&o, x, N, D, centres) > 0);
    for (int c = 0; c < GROUPS; c++) {
        int is_row = 0;
        for (int i = 0; i < N && !is_row; i++)
            if (!memcmp(x + i * D, centres + c * D, sizeof *x * D)) {
                is_row = 1;
                found[i < 5 ? GROUPS - 1 : i % (GROUPS - 1)]++;
            }
        CHECK(is_row);
    }
    for (int g = 0; g < GROUPS; g++)
        CHECK(found[g] == 1);
    free(x);
}

TEST(few_different_points_and_bad_ones)
{
    float x[60], centres[60];
    mert_kmeans_options o = mert_kmeans_defaults;
    mert_kmeans_result r;
    mert_error e;
    for (int i = 0; i < 60; i++)
        x[i] = (float)(i / 2 % 3); /* 30 points of width 2, three different ones */
    o.k = 3;
    CHECK(!mert_kmeans_train(&o, x, 30, 2, centres, &r, &e) && r.inertia == 0 && r.empty == 0);
    o.k = 5;
    CHECK(!mert_kmeans_train(&o, x, 30, 2, centres, &r, &e) && r.inertia == 0 && r.empty == 2);
    o.k = 31;
    CHECK(mert_kmeans_train(&o, x, 30, 2, centres, &r, &e) == -1 && strstr(e.text, "31") && strstr(e.text, "30"));
    o.k = 3;
    x[21] = NAN;
    CHECK(mert_kmeans_train(&o, x, 30, 2, centres, &r, &e) == -1 && strstr(e.text, "frame 10"));
}

/* Contract A3: any division and order of the points gives the same bytes, and the sums are exact. */
TEST(sums_do_not_depend_on_order_or_split)
{
    enum { N = 500, D = 5, K = 7 };
    mert_random key = mert_random_key(9, MERT_FOR_TEST, 0, 0, 0);
    float x[N * D], one[D];
    int32_t label[N];
    double d2[N], before[K * D], inertia;
    long double all = 0;
    mert_kmeans_sums a, b, c;
    mert_error e;
    for (int i = 0; i < N * D; i++)
        x[i] = (float)(mert_random_normal(&key, (uint32_t)i) * pow(10, i % 9 - 4) *
                       (i == 777   ? 1e-36
                        : i == 901 ? 1e13
                                   : 1));
    for (int i = 0; i < N; i++) {
        label[i] = i * 31 % K;
        d2[i] = mert_random_uniform(&key, (uint32_t)(N * D + i)) * pow(10, i % 7);
        all += d2[i];
    }
    CHECK(!mert_kmeans_sums_new(&a, K, D, &e) && !mert_kmeans_sums_new(&b, K, D, &e) &&
          !mert_kmeans_sums_new(&c, K, D, &e));
    CHECK(!mert_kmeans_sums_add(&a, x, N, label, d2, &e));
    CHECK(!mert_kmeans_sums_add(&b, x + 123 * D, N - 123, label + 123, d2 + 123, &e));
    for (int i = 122; i >= 0; i--) {
        memcpy(one, x + i * D, sizeof one);
        CHECK(!mert_kmeans_sums_add(&c, one, 1, &label[i], &d2[i], &e));
    }
    CHECK(!mert_kmeans_sums_merge(&c, &b, &e));
    for (int v = 0; v < K; v++)
        for (int j = 0; j < D; j++)
            before[v * D + j] = mert_kmeans_sums_value(&a, v, j);
    inertia = mert_kmeans_sums_inertia(&a);
    mert_kmeans_sums_carry(&a);
    mert_kmeans_sums_carry(&c);
    CHECK(a.lo == c.lo && a.hi == c.hi && !memcmp(a.count, c.count, K * sizeof *a.count));
    CHECK(!memcmp(a.inertia, c.inertia, sizeof a.inertia) && mert_kmeans_sums_inertia(&a) == inertia);
    for (int p = a.lo; p < a.hi; p++)
        CHECK(!memcmp(a.plane[p], c.plane[p], K * D * sizeof *a.plane[p]));
    for (int i = 0; i < K * D; i++)
        CHECK(before[i] == mert_kmeans_sums_value(&c, i / D, i % D));
    for (int v = 0; v < K; v++)
        for (int j = 0; j < D; j++) {
            long double s = 0;
            for (int i = 0; i < N; i++)
                s += label[i] == v ? (long double)x[i * D + j] : 0;
            CHECK_NEAR(mert_kmeans_sums_value(&a, v, j), (double)s,
                       1e-15 * fabs((double)s) + (fabs((double)s) > 1e10 ? 1e-5 : 1e-12));
        }
    CHECK_NEAR(inertia, (double)all, 1e-12 * inertia);
    mert_kmeans_sums_free(&a), mert_kmeans_sums_free(&b), mert_kmeans_sums_free(&c);
}

/* Far points are the farthest of all, each once, for any division; empty clusters get them in order; the next centroids
 * are the means. */
TEST(a_pass_does_not_depend_on_order_or_split)
{
    enum { N = 900, D = 2, K = 4 };
    mert_random key = mert_random_key(10, MERT_FOR_TEST, 0, 0, 0);
    float x[N * D], a_next[K * D], b_next[K * D], centre[K * D] = {0, 0, 50, 50, 5e5f, 5e5f, 6e5f, 6e5f};
    int32_t label[N];
    double d2[N], mean = 0, n = 0;
    mert_kmeans_pass a, b, c;
    mert_kmeans_step step;
    mert_error e;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < D; j++) /* some points are equal, and the two farthest are 17 and 600 */
            x[i * D + j] = i == 17    ? 9e3f
                           : i == 600 ? -8e3f
                                      : (float)(50 * (i % 2) + mert_random_normal(&key, (uint32_t)(i / 3 * D + j)));
    mert_nearest_plain(centre, K, D, x, N, label, d2);
    CHECK(!mert_kmeans_pass_new(&a, K, D, &e) && !mert_kmeans_pass_new(&b, K, D, &e) &&
          !mert_kmeans_pass_new(&c, K, D, &e));
    CHECK(!mert_kmeans_pass_add(&a, x, N, label, d2, &e));
    for (int at = 800; at >= 0; at -= 100) {
        mert_kmeans_pass_clear(&c);
        for (int i = at + 99; i >= at; i--)
            CHECK(!mert_kmeans_pass_add(&c, x + i * D, 1, label + i, d2 + i, &e));
        CHECK(!mert_kmeans_pass_merge(&b, &c, &e));
    }
    memcpy(a_next, centre, sizeof centre);
    memcpy(b_next, centre, sizeof centre);
    mert_kmeans_pass_step(&b, b_next, &step);
    mert_kmeans_pass_step(&a, a_next, &step);
    CHECK(!memcmp(a_next, b_next, sizeof a_next) && a.far_n == K && b.far_n == K);
    CHECK(step.points == N && step.empty == 2 && step.placed == 2 && step.moved > 1e5);
    CHECK(a_next[4] == 9e3f && a_next[5] == 9e3f && a_next[6] == -8e3f && a_next[7] == -8e3f);
    for (int i = 0; i < N; i++)
        if (label[i] == 0) {
            mean += x[i * D];
            n++;
        }
    CHECK_NEAR(a_next[0], mean / n, 1e-5);
    for (int i = 0; i + 1 < K; i++)
        CHECK(a.far[i].distance2 > a.far[i + 1].distance2 ||
              memcmp(a.far_points + a.far[i].slot * D, a.far_points + a.far[i + 1].slot * D, sizeof *x * D));
    mert_kmeans_pass_free(&a), mert_kmeans_pass_free(&b), mert_kmeans_pass_free(&c);
}

/* 12 items of 50 frames; frame f of item i holds the number 1000 i + f. */
static int64_t sample_of(int order, int chunk, int64_t max, uint64_t seed, int drop, float *to)
{
    mert_sample *s = mert_sample_new(1, max, seed);
    mert_error e;
    int64_t n;
    for (int i = 0; i < 12; i++) {
        int item = order ? (i * 7 + 3) % 12 : i;
        mert_sample_begin(s, (uint64_t)item);
        for (int f = 0; f < 50; f += chunk) {
            float x[50];
            int m = 50 - f < chunk ? 50 - f : chunk;
            for (int j = 0; j < m; j++)
                x[j] = (float)(1000 * item + f + j);
            if (mert_sample_add(s, x, m, &e))
                return -1;
        }
        if (item == drop)
            mert_sample_drop(s);
    }
    const float *data = mert_sample_finish(s, &n, &e);
    memcpy(to, data, (size_t)n * sizeof *to);
    mert_sample_free(s);
    return n;
}

TEST(a_sample_does_not_depend_on_how_it_came)
{
    float a[600], b[600];
    double mean = 0;
    for (int64_t max = 100; max <= 600; max += 500) {
        CHECK(sample_of(0, 50, max, 1, -1, a) == max);
        CHECK(sample_of(1, 7, max, 1, -1, b) == max && !memcmp(a, b, (size_t)max * sizeof *a));
        CHECK(sample_of(0, 1, max, 2, -1, b) == max && memcmp(a, b, (size_t)max * sizeof *a));
    }
    for (int64_t i = 0; i < 600; i++) /* all frames are in the sample, each once */
        for (int64_t j = 0; j < i; j++)
            CHECK(a[i] != a[j]);
    CHECK(sample_of(0, 50, 100, 1, -1, a) == 100);
    for (int i = 0; i < 100; i++)
        mean += a[i] / 100;
    CHECK_NEAR(mean, 5524.5, 1000); /* uniform over items: deviation of the mean 345 */
    CHECK(sample_of(1, 7, 600, 1, 4, b) == 550);
    for (int i = 0; i < 550; i++)
        CHECK(b[i] < 4000 || b[i] >= 5000);
}

/* Replaces each float `from` in a file, at multiples of four bytes, by `to`; returns their number. */
static int replace_float(const char *path, float from, float to)
{
    FILE *f = fopen(path, "r+b");
    int n = 0;
    for (float x; f && fread(&x, sizeof x, 1, f) == 1;)
        if (x == from) {
            fseek(f, -(long)sizeof x, SEEK_CUR);
            n += fwrite(&to, sizeof to, 1, f) == 1;
            fseek(f, 0, SEEK_CUR);
        }
    if (f)
        fclose(f);
    return n;
}

/* Replaces the file's checksum by zeros: not known. */
static int forget_sum(const char *path)
{
    static const char name[] = "\"mert_xxh64\":\"";
    char head[512] = "", *at;
    FILE *f = fopen(path, "r+b");
    int done = f && fread(head, 1, sizeof head, f) > 8 && (at = memmem(head, sizeof head, name, sizeof name - 1)) &&
               !fseek(f, at - head + (long)sizeof name - 1, SEEK_SET) && fputs("0000000000000000", f) >= 0;
    if (f)
        fclose(f);
    return done;
}

TEST(a_codebook_file_says_what_it_belongs_to)
{
    float words[] = {1, 2, 3, 4, 5, 6};
    mert_codebook b = {.type = "kmeans", .count = 1, .classes = 3, .width = 2, .codewords = words}, r;
    mert_features f;
    mts_begin s = {0};
    mts_record in = {.kind = "mel", .ndim = 2, .shape = {-1, 2}, .sample_rate = 16000, .frame_rate_num = 16000,
                     .frame_rate_den = 160};
    mert_error e;
    snprintf(s.provenance, sizeof s.provenance,
             "mert-decode 0.1.0 rate=16000\nmert-mel 0.1.0 bins=2 dtype=f16 \"x\"\nmert-tensor 0.1.0 cat\n");
    CHECK(!mert_features_of(&b.features, &s, &in, &e));
    CHECK(!strcmp(b.features.recipe, "mert-mel bins=2 \"x\""));
    CHECK(!mert_codebook_write(&b, test_tmp("book.safetensors"), &e));
    CHECK(!mert_codebook_read(&r, test_tmp("book.safetensors"), &e));
    CHECK(r.classes == 3 && r.width == 2 && r.count == 1 && !strcmp(r.type, "kmeans") && r.hash == b.hash && r.hash);
    CHECK(!memcmp(r.codewords, words, sizeof words) && !r.mean);
    CHECK(!mert_features_check(&r.features, &b.features, 0, &e));
    f = b.features;
    f.width = 3;
    CHECK(mert_features_check(&r.features, &f, 0, &e) && strstr(e.text, "3 values") && strstr(e.text, "for 2"));
    f = b.features;
    snprintf(f.kind, sizeof f.kind, "cqt");
    CHECK(mert_features_check(&r.features, &f, 0, &e) && strstr(e.text, "cqt") && strstr(e.text, "mel"));
    f = b.features;
    f.frame_rate_den = 320;
    CHECK(mert_features_check(&r.features, &f, 0, &e) && strstr(e.text, "16000/320") && strstr(e.text, "16000/160"));
    f.frame_rate_num = 100;
    f.frame_rate_den = 1;
    CHECK(!mert_features_check(&r.features, &f, 0, &e)); /* the same rate as another fraction */
    f = b.features;
    f.sample_rate = 24000;
    CHECK(mert_features_check(&r.features, &f, 0, &e) && strstr(e.text, "24000") && strstr(e.text, "16000"));
    snprintf(s.provenance, sizeof s.provenance, "mert-mel 0.2.0 bins=2 log=1\n");
    CHECK(!mert_features_of(&f, &s, &in, &e));
    CHECK(mert_features_check(&r.features, &f, 0, &e) && strstr(e.text, "log=1"));
    CHECK(!mert_features_check(&r.features, &f, 1, &e));
    snprintf(in.kind, sizeof in.kind, "pcm");
    CHECK(mert_features_of(&f, &s, &in, &e) && strstr(e.text, "pcm"));
    mert_codebook_free(&r);
    words[4] = NAN;
    CHECK(mert_codebook_write(&b, test_tmp("unwritten.safetensors"), &e));
    CHECK(strstr(e.text, "not written") && strstr(e.text, "codebooks.0") && strstr(e.text, "element 4"));
    CHECK(mert_codebook_read(&r, test_tmp("unwritten.safetensors"), &e));
    words[4] = 123.456f;
    CHECK(!mert_codebook_write(&b, test_tmp("nan.safetensors"), &e));
    CHECK(replace_float(test_tmp("nan.safetensors"), 123.456f, NAN) == 1);
    CHECK(mert_codebook_read(&r, test_tmp("nan.safetensors"), &e) && strstr(e.text, "checksum"));
    CHECK(forget_sum(test_tmp("nan.safetensors")) == 1);
    CHECK(mert_codebook_read(&r, test_tmp("nan.safetensors"), &e));
    CHECK(strstr(e.text, "codebooks.0") && strstr(e.text, "element 4"));
    CHECK(mert_codebook_read(&r, test_golden("kmeans/expect.json"), &e));
    CHECK(mert_codebook_read(&r, test_tmp("none.safetensors"), &e));
}

/* Sums for the same centroids, but for other features, are refused. */
TEST(sums_over_other_features_do_not_merge)
{
    float words[] = {0, 0, 1, 1};
    mert_kmeans_shard s[3];
    mert_error e = {{0}};
    for (int i = 0; i < 3; i++) {
        mert_codebook b = {.type = "kmeans", .count = 1, .classes = 2, .width = 2, .stack = 1, .hash = 7};
        CHECK((b.codewords = malloc(sizeof words)));
        memcpy(b.codewords, words, sizeof words);
        b.features = (mert_features){.kind = "mel", .width = 2, .sample_rate = 16000, .frame_rate_num = 50,
                                     .frame_rate_den = 1};
        snprintf(b.features.recipe, sizeof b.features.recipe, "%s", i == 2 ? "log=1" : "log=0");
        CHECK(!mert_kmeans_shard_new(&s[i], &b, &e));
    }
    CHECK(!mert_kmeans_shard_merge(&s[0], &s[1], &e));
    CHECK(mert_kmeans_shard_merge(&s[0], &s[2], &e) && strstr(e.text, "other features"));
    s[1].book.hash = 8;
    CHECK(mert_kmeans_shard_merge(&s[0], &s[1], &e) && strstr(e.text, "0000000000000008"));
    for (int i = 0; i < 3; i++)
        mert_kmeans_shard_free(&s[i]);
}

/* Cauchy and lognormal points: k-means++ has centroids at far points that mini-batches rarely draw. */
TEST(training_never_ends_above_its_start)
{
    enum { N = 1500, D = 3, K = 30 };
    static float x[N * D], c[K * D];
    mert_kmeans_options o = mert_kmeans_defaults;
    mert_kmeans_result end, start;
    mert_error e = {{0}};
    int better = 0;
    o.k = K;
    o.batch = 250;
    o.n_init = 2;
    for (uint64_t seed = 0; seed < 24; seed++) {
        mert_random key = mert_random_key(seed, MERT_FOR_TEST, 0, 0, 0);
        for (uint32_t i = 0; i < N * D; i++)
            x[i] = seed % 2 ? (float)tan(3.14159265 * (mert_random_uniform(&key, i) - 0.5))
                            : (float)exp(3 * mert_random_normal(&key, i));
        o.seed = seed;
        o.max_iter = 0;
        CHECK(!mert_kmeans_train(&o, x, N, D, c, &start, &e));
        o.max_iter = 10;
        CHECK(!mert_kmeans_train(&o, x, N, D, c, &end, &e));
        CHECK(end.inertia <= start.inertia);
        better += end.inertia < start.inertia;
    }
    CHECK(better >= 12);
}

int main(void)
{
    RUN(sums_over_other_features_do_not_merge);
    RUN(training_never_ends_above_its_start);
    RUN(labels_are_the_reference_s);
    RUN(training_reaches_the_reference_s_inertia_whatever_the_threads);
    RUN(seeding_finds_separate_groups);
    RUN(few_different_points_and_bad_ones);
    RUN(sums_do_not_depend_on_order_or_split);
    RUN(a_pass_does_not_depend_on_order_or_split);
    RUN(a_sample_does_not_depend_on_how_it_came);
    RUN(a_codebook_file_says_what_it_belongs_to);
    return test_done();
}
