/* Finite scalar quantisers: the rule and the numbering of the paper, the straight-through gradient against differences
 * of its surrogate in double, training, the file, and what is refused. */
#include "tests/test.h"

#include "formats/checkpoint/checkpoint.h"
#include "formats/checkpoint/write.h"
#include "libcommon/base/random.h"
#include "libcommon/teachers/rvq/fsq.h"
#include "tests/unit/near_plane.h"
#include "tests/unit/threads.h"

enum { N = 1600, W = 6, STACK = 2, S = W * STACK, K = 2, H = 24, D = 3, CODES = 5 * 4 * 3 };

static mert_codebook sized(const char *type, const char *levels, int64_t count)
{
    mert_codebook b = {.count = count, .stack = STACK, .hidden = strcmp(type, "fsq") ? 0 : H};
    mert_error e;
    snprintf(b.type, sizeof b.type, "%s", type);
    b.features.width = W;
    test_bad |= mert_codebook_levels(&b, levels, &e);
    return b;
}

static float *rows(void)
{
    return rows_near_plane(N, S, 3);
}

/* ---- the rule ---- */

/* Values that the authors' published code gives for levels 3, 5, 4 (in double). */
TEST(values_of_the_paper_s_code)
{
    static const int levels[3] = {3, 5, 4};
    static const struct {
        double z[3];
        int level[3], code;
    } given[] = {
        {{0.25, 0.6, -7}, {1, 3, 0}, 10},      {{-1.3, -0.2, 0.1}, {0, 2, 2}, 36}, {{0.8, 2, 0.9}, {2, 4, 3}, 59},
        {{0, 0, 0}, {1, 2, 2}, 37},            {{-0.56, 0.26, -0.4}, {0, 3, 1}, 24}, {{9, -9, 9}, {2, 0, 3}, 47},
    };
    CHECK_NEAR(mert_fsq_bound(0.25, 3), 0.24467374374130543, 1e-14);
    CHECK_NEAR(mert_fsq_bound(0.6, 5), 1.0730250348620745, 1e-14);
    CHECK_NEAR(mert_fsq_bound(0.1, 4), 0.1280553234970624, 1e-14);
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        int code = 0, basis = 1;
        for (int d = 0; d < 3; d++) {
            int level = mert_fsq_level(given[i].z[d], levels[d], 0);
            CHECK(level == given[i].level[d]);
            CHECK_NEAR(mert_fsq_value(level, levels[d]), (level - levels[d] / 2) / (double)(levels[d] / 2), 0);
            code += level * basis;
            basis *= levels[d];
        }
        CHECK(code == given[i].code);
    }
}

/* Between two levels the rule changes where y is a whole number and a half, and nowhere else. */
TEST(levels_change_where_the_definition_says)
{
    for (int L = 2; L <= 17; L++) {
        double half = (L - 1) * 0.999 / 2, offset = L % 2 ? 0 : 0.5, shift = tan(offset / half);
        CHECK(mert_fsq_level(-40, L, 0) == 0 && mert_fsq_level(40, L, 0) == L - 1);
        CHECK(mert_fsq_level(-40, L, 1) == 0 && mert_fsq_level(40, L, 1) == L - 1);
        for (int l = 0; l + 1 < L; l++) {
            double paper = atanh((l + 0.5 - L / 2 + offset) / half) - shift;
            double symmetric = atanh((2 * l + 1.0) / (L - 1) - 1);
            CHECK(mert_fsq_level(paper - 1e-9, L, 0) == l && mert_fsq_level(paper + 1e-9, L, 0) == l + 1);
            if (isfinite(symmetric))
                CHECK(mert_fsq_level(symmetric - 1e-9, L, 1) == l && mert_fsq_level(symmetric + 1e-9, L, 1) == l + 1);
        }
        for (double z = -4; z < 4; z += 0.37)
            CHECK_NEAR(mert_fsq_slope(z, L), (mert_fsq_bound(z + 1e-5, L) - mert_fsq_bound(z - 1e-5, L)) / 2e-5, 1e-8);
    }
}

/* A random quantiser with projections that are set by hand: the code is l_0 + L_0 (l_1 + L_1 l_2). */
TEST(codes_number_the_combinations)
{
    mert_codebook b = sized("random-fsq", "3,5,4", 1);
    mert_error e;
    float x[60 * S] = {0};
    int32_t codes[60];
    int64_t bad;
    mert_fsq *q;
    CHECK(b.classes == 60 && b.width == 3 && !mert_fsq_random(&b, 1, &e));
    memset(b.project, 0, 3 * S * sizeof *b.project), memset(b.project_bias, 0, 3 * sizeof *b.project_bias);
    for (int d = 0; d < 3; d++)
        b.project[d * S + 2 * d] = 1;
    for (int code = 0; code < 60; code++)
        for (int d = 0, rest = code; d < 3; rest /= b.levels[d], d++) /* the middle of each level */
            x[code * S + 2 * d] = (float)fmax(-9, fmin(9, atanh(2.0 * (rest % b.levels[d]) / (b.levels[d] - 1) - 1)));
    q = mert_fsq_new(&b, &e);
    CHECK(q && !mert_fsq_encode(q, x, 60, 1, codes, &bad, &e));
    for (int code = 0; code < 60; code++)
        CHECK(codes[code] == code);
    x[41 * S] = INFINITY;
    CHECK(mert_fsq_encode(q, x, 60, 1, codes, &bad, &e) == -1 && bad == 41);
    mert_fsq_free(q), mert_codebook_free(&b);
}

/* ---- the gradient ---- */

static double gelu(double x)
{
    return x * (1 + erf(x / sqrt(2))) / 2;
}

enum { ROWS = 5 };
typedef struct network {
    double w[MERT_FSQ_LAYERS][H * S], b[MERT_FSQ_LAYERS][S + H];
} network;

/* y = w x + b */
static void layer(const mert_fsq_layers *like, const network *w, int i, const double *x, double *y)
{
    for (int64_t o = 0; o < like->layer[i].out; o++) {
        y[o] = w->b[i][o];
        for (int64_t j = 0; j < like->layer[i].in; j++)
            y[o] += w->w[i][o * like->layer[i].in + j] * x[j];
    }
}

/* The loss where round(y) is y + rounding[row, value]; rounding is set first if `set`. */
static double surrogate(const mert_codebook *b, const mert_fsq_layers *like, const network *w, const float *x,
                        double *rounding, int set)
{
    double loss = 0;
    for (int r = 0; r < ROWS; r++) {
        double in[S], h[H], z[D], c[D], back[S];
        for (int j = 0; j < S; j++)
            in[j] = x[r * S + j];
        layer(like, w, MERT_FSQ_HIDDEN, in, h);
        for (int j = 0; j < H; j++)
            h[j] = gelu(h[j]);
        layer(like, w, MERT_FSQ_PROJECT, h, z);
        for (int d = 0; d < D; d++) {
            double y = mert_fsq_bound(z[d], b->levels[d]);
            if (set)
                rounding[r * D + d] = rint(y) - y;
            c[d] = (y + rounding[r * D + d]) / (b->levels[d] / 2);
        }
        layer(like, w, MERT_FSQ_EXPAND, c, h);
        for (int j = 0; j < H; j++)
            h[j] = gelu(h[j]);
        layer(like, w, MERT_FSQ_OUT, h, back);
        for (int j = 0; j < S; j++)
            loss += pow(in[j] - back[j], 2) / (ROWS * S);
    }
    return loss;
}

TEST(straight_through_gradient_is_that_of_the_surrogate)
{
    mert_codebook b = sized("fsq", "5,4,3", 1);
    mert_rvq_options o = mert_rvq_defaults;
    mert_rvq_result result;
    mert_error e;
    float *x = rows(), *copy = rows();
    static network w;
    static float weights[MERT_FSQ_LAYERS][H * S], biases[MERT_FSQ_LAYERS][S + H];
    double rounding[ROWS * D], loss, expected;
    mert_fsq_layers l, g;
    mert_fsq_pass *p;
    o.batch = 100, o.updates = 16, o.seed = 5;
    CHECK(x && copy && !mert_fsq_train(&b, &o, copy, N, &result, &e)); /* weights of all sizes, biases that are not 0 */
    l = g = mert_fsq_layers_of(&b, 0);
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        g.layer[i].weight = weights[i], g.layer[i].bias = biases[i];
        for (int64_t j = 0; j < l.layer[i].out * l.layer[i].in; j++)
            w.w[i][j] = l.layer[i].weight[j];
        for (int64_t j = 0; j < l.layer[i].out; j++)
            w.b[i][j] = l.layer[i].bias[j];
    }
    p = mert_fsq_pass_new(&b, ROWS + 3); /* fewer rows than there is room for */
    CHECK(p != NULL);
    mert_fsq_pass_run(p, &l, x, ROWS, &g, &loss);
    expected = surrogate(&b, &l, &w, x, rounding, 1);
    CHECK_NEAR(loss, expected, 1e-5 * expected);
    for (int i = 0; i < MERT_FSQ_LAYERS; i++) {
        double largest = 0;
        for (int64_t j = 0; j < l.layer[i].out * l.layer[i].in; j++)
            largest = fmax(largest, fabs(weights[i][j]));
        CHECK(largest > 1e-4);
        for (int bias = 0; bias < 2; bias++)
            for (int64_t j = 0; j < (bias ? l.layer[i].out : l.layer[i].out * l.layer[i].in); j += bias ? 1 : 3) {
                double *at = bias ? &w.b[i][j] : &w.w[i][j], was = *at, high, low;
                *at = was + 1e-5;
                high = surrogate(&b, &l, &w, x, rounding, 0);
                *at = was - 1e-5;
                low = surrogate(&b, &l, &w, x, rounding, 0);
                *at = was;
                CHECK_NEAR(bias ? biases[i][j] : weights[i][j], (high - low) / 2e-5, 1e-4 * largest + 1e-7);
            }
    }
    mert_fsq_pass_free(p), mert_codebook_free(&b);
    free(x), free(copy);
}

/* ---- training and the file ---- */

TEST(training_learns_and_does_not_depend_on_threads)
{
    mert_codebook b[2] = {sized("fsq", "5,4,3", K), sized("fsq", "5,4,3", K)}, back;
    mert_rvq_options o = mert_rvq_defaults;
    mert_rvq_result r;
    mert_error e;
    float *x = rows(), *z = rows(), *decoded = malloc(N * S * sizeof *decoded);
    int32_t codes[N * K], one[K];
    int64_t bad;
    double last = INFINITY;
    mert_fsq *q;
    o.batch = 64, o.updates = 750, o.seed = 3;
    for (int t = 0; t < 2; t++) {
        use_threads(1 + 2 * t);
        memcpy(z, x, N * S * sizeof *z);
        CHECK(!mert_fsq_train(&b[t], &o, z, N, &r, &e) && !mert_codebook_write(&b[t], test_tmp(t ? "two" : "one"), &e));
    }
    CHECK(b[0].hash == b[1].hash && b[0].hash && r.used > CODES);
    CHECK(!mert_codebook_read(&back, test_tmp("one"), &e));
    CHECK(back.hash == b[0].hash && back.count == K && back.hidden == H && back.width == D && back.classes == CODES);
    CHECK(back.levels[0] == 5 && back.levels[2] == 3 && back.features.width == W && back.stack == STACK);
    q = mert_fsq_new(&back, &e);
    CHECK(q && !mert_fsq_encode(q, x, N, K, codes, &bad, &e));
    for (int i = 0; i < N; i += 7) /* a row alone */
        CHECK(!mert_fsq_encode(q, x + i * S, 1, K, one, &bad, &e) && !memcmp(one, codes + i * K, sizeof one));
    for (int k = 1; k <= K; k++) { /* each codebook reduces the error, as training reported it */
        double error = 0;
        int32_t some[N * K];
        CHECK(!mert_fsq_encode(q, x, N, k, some, &bad, &e) && !mert_fsq_decode(q, some, N, k, decoded, &e));
        for (int i = 0; i < N * S; i++)
            error += pow(x[i] - decoded[i], 2) / N;
        CHECK(error < 0.7 * last && some[5 * k] == codes[5 * K]);
        last = error;
    }
    CHECK_NEAR(last, r.error, 1e-3 * r.error);
    CHECK(r.error < 0.2 * r.power);
    mert_fsq_free(q);
    mert_codebook_free(&back), mert_codebook_free(&b[0]), mert_codebook_free(&b[1]);
    free(x), free(z), free(decoded);
}

TEST(random_ones_are_the_seed_s_and_use_their_codes)
{
    mert_codebook a = sized("random-fsq", "6,6,6", K), b = sized("random-fsq", "6,6,6", K), back;
    mert_error e;
    float *x = rows();
    int32_t codes[N * K];
    int64_t bad;
    int seen[216] = {0}, used = 0, differ = 0;
    mert_fsq *q;
    CHECK(x && !mert_fsq_random(&a, 5, &e) && !mert_fsq_random(&b, 6, &e));
    CHECK(!mert_codebook_write(&a, test_tmp("random"), &e) && !mert_codebook_write(&b, test_tmp("other"), &e));
    CHECK(a.hash != b.hash && !mert_codebook_read(&back, test_tmp("random"), &e));
    CHECK(back.hash == a.hash && !back.out && !back.hidden && back.classes == 216);
    q = mert_fsq_new(&back, &e);
    CHECK(q && !mert_fsq_encode(q, x, N, K, codes, &bad, &e));
    for (int i = 0; i < N; i++) { /* by definition, in double, unless a value is at the edge of a level */
        for (int k = 0; k < K; k++) {
            int code = 0, basis = 1, edge = 0;
            for (int d = 0; d < 3; d++, basis *= 6) {
                double z = a.project_bias[k * 3 + d], t;
                for (int j = 0; j < S; j++)
                    z += (double)a.project[(k * 3 + d) * S + j] * x[i * S + j];
                t = 5 * (tanh(z) + 1) / 2 + 0.5;
                edge |= fabs(t - rint(t)) < 1e-4;
                code += basis * (int)floor(t);
            }
            CHECK(edge || codes[i * K + k] == code);
        }
        used += !seen[codes[i * K]]++;
        differ += codes[i * K] != codes[i * K + 1];
    }
    CHECK(used > 60 && differ > N / 2);
    mert_fsq_free(q);
    mert_codebook_free(&a), mert_codebook_free(&b), mert_codebook_free(&back);
    free(x);
}

/* A name of its own for each file: what was read is never replaced. */
static int spoilt_files;
static const char *spoilt_name(void)
{
    char name[32];
    snprintf(name, sizeof name, "spoilt%d", spoilt_files);
    return test_tmp(name);
}

static const char *spoil_config; /* in place of the file's own; NULL: that */

/* Writes the file again, with tensor `name` left out, or with its first value replaced. */
static void spoil(const char *from, const char *name, const float *value)
{
    mert_error e;
    mert_checkpoint *c = mert_checkpoint_open(from, &e);
    mert_tensor_out t[32];
    float *read[32];
    size_t n = 0;
    CHECK(c != NULL);
    for (size_t i = 0; c && i < mert_checkpoint_count(c) && n < 32; i++) {
        const mert_tensor *in = mert_checkpoint_tensor(c, i);
        if (!strcmp(in->name, name) && !value)
            continue;
        read[n] = malloc((size_t)in->elements * sizeof(float));
        t[n] = (mert_tensor_out){in->name, in->type, in->ndim, {in->shape[0], in->shape[1]}, in->data};
        if (in->type == MERT_E_F32) {
            CHECK(!mert_tensor_read(in, read[n], &e));
            if (!strcmp(in->name, name))
                read[n][0] = *value;
            t[n].data = read[n];
        } else if (spoil_config) {
            t[n] = (mert_tensor_out){in->name, in->type, 1, {(int64_t)strlen(spoil_config)}, spoil_config};
        }
        n++;
    }
    spoilt_files++;
    CHECK(!mert_safetensors_write(spoilt_name(), t, n, &e));
    while (n)
        free(read[--n]);
    mert_checkpoint_close(c);
}

static void refused(const char *says)
{
    mert_codebook b;
    mert_error e;
    CHECK(mert_codebook_read(&b, spoilt_name(), &e) == -1);
    CHECK(test_says(e.text, says));
    CHECK(!b.codewords && !b.project && !b.hidden_in);
}

TEST(files_that_cannot_be_are_refused)
{
    static const char *const all[] = {"hidden.1", "hidden_bias.0", "project.0", "project_bias.1", "expand.0",
                                      "expand_bias.0", "out.1", "out_bias.0", "levels", "hidden.0"};
    float half = 2.5f, one = 1, many = 1 << 19;
    char says[80];
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        spoil(test_tmp("one"), all[i], NULL);
        snprintf(says, sizeof says, "tensor %s is missing", all[i]);
        refused(says);
    }
    /* without the first tensor of a codebook by which they are counted, the others say that there was one */
    spoil(test_tmp("one"), "project.1", NULL);
    refused("config says 2 codebooks, the tensors are of 1: the file is damaged");
    spoil_config = "{\"type\": \"fsq\"}", spoil(test_tmp("one"), "project.1", NULL);
    refused("is of a codebook that is not whole: project.1 is missing: the file is damaged");
    spoil_config = "{\"type\": \"fsq\", \"classes\": 7}", spoil(test_tmp("one"), "none", NULL);
    refused("config says 7 classes, the tensors are of ");
    spoil_config = "{\"type\": \"fsq\", \"width\": 9}", spoil(test_tmp("one"), "none", NULL);
    refused("config says 9 values in a codeword, the tensors are of ");
    spoil_config = "{\"type\": \"fsq\", \"codebooks\": 64}", spoil(test_tmp("one"), "none", NULL);
    refused("config says 64 codebooks, the tensors are of 2: the file is damaged");
    spoil_config = NULL;
    spoil(test_tmp("one"), "levels", &half), refused("levels: 2.5 is no number of levels");
    spoil(test_tmp("one"), "levels", &one), refused("levels: 1 is no number of levels");
    spoil(test_tmp("one"), "levels", &many), refused("together they are more than 1048576 classes");
}

TEST(a_scale_that_cannot_be_divided_by_is_refused)
{
    float none = 0, negative = -1;
    mert_codebook b;
    mert_error e;
    CHECK(!mert_codebook_read(&b, test_tmp("one"), &e));
    b.mean = calloc((size_t)b.features.width, sizeof(float));
    b.scale = calloc((size_t)b.features.width, sizeof(float));
    for (int64_t i = 0; i < b.features.width; i++)
        b.scale[i] = 2;
    CHECK(!mert_codebook_write(&b, test_tmp("scaled"), &e));
    mert_codebook_free(&b);
    spoil(test_tmp("scaled"), "scale", &none), refused("tensor scale: element 0 is 0: it must be above 0");
    spoil(test_tmp("scaled"), "scale", &negative), refused("tensor scale: element 0 is -1: it must be above 0");
}

TEST(levels_as_text)
{
    mert_codebook b = {0};
    mert_error e;
    CHECK(!mert_codebook_levels(&b, "8,5,5,5", &e) && b.classes == 1000 && b.width == 4);
    CHECK(!mert_codebook_levels(&b, "7", &e) && b.classes == 7 && b.width == 1 && b.levels[1] == 0);
    static const char *const wrong[][2] = {{"", "is no list"},        {"8,", "is no list"},  {"8 5", "is no list"},
                                           {"8,5x", "is no list"},    {"-3", "is no list"},  {"8,1", "1 is less than 2"},
                                           {"1024,1025", "together"}, {"2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2,2", "more than 16"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(mert_codebook_levels(&b, wrong[i][0], &e) == -1);
        CHECK(test_says(e.text, wrong[i][1]));
    }
}

int main(void)
{
    RUN(values_of_the_paper_s_code);
    RUN(levels_change_where_the_definition_says);
    RUN(codes_number_the_combinations);
    RUN(straight_through_gradient_is_that_of_the_surrogate);
    RUN(training_learns_and_does_not_depend_on_threads);
    RUN(random_ones_are_the_seed_s_and_use_their_codes);
    RUN(files_that_cannot_be_are_refused);
    RUN(a_scale_that_cannot_be_divided_by_is_refused);
    RUN(levels_as_text);
    return test_done();
}
