/* Compares the encoder for inference (models/inference/forward.h) with that for training, which is tested by reference
 * vectors: all architectures, lengths around the blocks of time and of rows, from the weights and from a packed file,
 * on both backends. */
#include "tests/unit/nn.h"

#include "libcommon/models/cqt_input.h"
#include "libcommon/models/encoder/encoder.h"
#include "libcommon/models/inference/forward.h"

enum { LAYERS = 2 };

typedef struct kind {
    const char *name;
    int layer_norm, conv_bias, pre_ln, deepnorm, cqt_bins, width, heads, groups;
    int mels, conformer;
    int one; /* this layer of the extractor, from 1, has one channel; 0: none has */
} kind;

static const kind kinds[] = {
    {"post-LN", 0, 0, 0, 0, 0, 32, 4, 4, 0, 0, 0},
    {"pre-LN, other extractor", 1, 1, 1, 0, 0, 48, 4, 3, 0, 0, 0},
    {"deepnorm, conv bias", 0, 1, 0, 1, 0, 24, 2, 1, 0, 0, 0},
    {"CQT input", 0, 0, 1, 0, 7, 96, 2, 2, 0, 0, 0},
    {"Conformer on spectra", 0, 0, 0, 0, 0, 48, 4, 1, 20, 1, 0},
    {"Conformer on the waveform", 0, 0, 0, 0, 0, 36, 3, 1, 0, 1, 0},
    {"Conformer, other extractor", 1, 1, 0, 0, 0, 24, 2, 1, 0, 1, 0},
    {"one channel", 0, 1, 0, 0, 0, 32, 4, 4, 0, 0, 1},
    {"one channel, other extractor", 1, 0, 1, 0, 0, 32, 4, 4, 0, 0, 2}};
enum { KINDS = (int)(sizeof kinds / sizeof *kinds) };

static mert_config config_of(const kind *k)
{
    mert_config c = k->conformer ? mert_config_mert2() : mert_config_95m();
    if (k->conformer)
        c.conformer = (mert_conformer_config){.n_fft = 64, .win_length = 64, .hop = 20, .mels = k->mels, .stages = 3,
                                              .stage = {{24, 1, 1}, {30, 2, 3}, {k->width, 1, 2}},
                                              .subsampler_kernel = 5, .subsampler_eps = 1e-6, .kernel = 7,
                                              .rotary_base = 50, .initializer_range = 0.1};
    c.sample_rate = k->cqt_bins ? 16000 : 24000;
    c.convs = k->mels ? 0 : 3;
    c.conv[0].dim = 40;
    c.conv[1].dim = 33;
    c.conv[2].dim = 24;
    if (k->one)
        c.conv[k->one - 1].dim = 1;
    c.conv[0].kernel = 10;
    c.conv[0].stride = 5;
    c.conv[1].kernel = 3;
    c.conv[1].stride = 2;
    c.conv[2].kernel = 2;
    c.conv[2].stride = 2;
    c.conv_bias = k->conv_bias;
    c.extractor_layer_norm = k->layer_norm;
    c.width = k->width;
    c.layers = LAYERS;
    c.heads = k->heads;
    c.ffn = 70;
    c.pos_kernel = 12;
    c.pos_groups = k->groups;
    c.pre_ln = k->pre_ln;
    c.deepnorm = k->deepnorm;
    c.cqt_input = k->cqt_bins > 0;
    c.cqt_input_bins = k->cqt_bins;
    return c;
}

/* Sets the parameters of norms to values other than 1 and 0, so that each has an effect. */
static void roughen(mert_weights *w)
{
    for (int i = 0; i < w->layout.count; i++) {
        const mert_parameter *p = &w->layout.parameters[i];
        int response = strstr(p->name, "pointwise_block.3.") != NULL;
        for (int64_t j = 0; (p->ndim == 1 || response) && j < p->n; j++)
            w->values[p->offset + j] += 0.3f * sinf((float)(j + 7 * i));
    }
}

typedef struct states {
    float *state[LAYERS + 1]; /* device [T, D] */
    int64_t n;
    int seen;
} states;

static void keep_state(void *self, int index, const float *hidden)
{
    states *s = self;
    if (index > LAYERS) /* before the final norm: mert-encode --layers last-raw */
        return;
    s->seen += index == s->seen;
    mert_copy(ops, .to = s->state[index], .from = hidden, .bytes = (size_t)s->n * sizeof *hidden);
}

static int tap_state(void *self, int index, const float *hidden)
{
    keep_state(self, index, hidden);
    return 0;
}

static states room_for_states(int64_t n)
{
    states s = {.n = n};
    for (int i = 0; i <= LAYERS; i++)
        s.state[i] = room(n);
    return s;
}

/* Spectra for so many samples; NULL: the model hears the waveform. */
static float *some_mel(const mert_config *c, int64_t L)
{
    int64_t n = c->conformer.mels ? mert_config_mel_frames(c, L) * c->conformer.mels : 0;
    return n ? put(numbers(n, (uint32_t)L), n) : NULL;
}

/* The training encoder's hidden states, as doubles. */
static void oracle(const mert_weights *w, const float *x, int64_t L, const float *cqt, double *exact[LAYERS + 1],
                   int64_t n) /* L: of x, samples or mel frames */
{
    mert_error e;
    mert_forward_options inference = {0};
    float *flat = put(w->values, w->layout.size);
    mert_encoder *m = mert_encoder_new(&w->layout, ops, flat, NULL, &e);
    states s = room_for_states(n);
    mert_layer_tap tap = {tap_state, &s};
    CHECK(m && mert_encoder_forward(m, &inference, 1, L, 0, x, NULL, cqt, &tap, &e));
    for (int i = 0; i <= LAYERS; i++) {
        uint64_t before = nn_digest;
        exact[i] = wide(get(s.state[i], n), n);
        nn_digest = before; /* results of the reference are not part of the digest */
    }
    mert_encoder_free(m);
}

static void one_length(const mert_weights *w, mert_forward *f, int64_t L, int last, double tolerance)
{
    mert_error e;
    const mert_config *c = &w->layout.config;
    int64_t T = mert_config_frames(c, L), n = T * c->width;
    float *x = put(numbers(L, (uint32_t)L), L), *mel = some_mel(c, L),
          *cqt = c->cqt_input ? put(numbers(T * c->cqt_input_bins, 3), T * c->cqt_input_bins) : NULL;
    double *exact[LAYERS + 1];
    states s = room_for_states(n);
    oracle(w, mel ? mel : x, mel ? mert_config_mel_frames(c, L) : L, cqt, exact, n);
    if (test_bad)
        return;
    CHECK(!mert_forward_run(f, &(mert_forward_input){L, x, cqt, mel}, last, keep_state, &s, &e));
    CHECK(s.seen == last + 1);
    for (int i = 0; i <= last; i++)
CHECK_APART(get(s.state[i], n), exact[i], n, tolerance);
}

static void one_kind(const kind *k, mert_packing packing, double tolerance)
{
    /* frames: 1, 2, around one block of time (64) and of rows (264), several of both */
    static const int64_t frames[] = {1, 2, 63, 64, 65, 263, 265, 530};
    mert_config c = config_of(k);
    mert_weights w;
    mert_error e;
    mert_forward *f;
    CHECK(!mert_weights_init(&w, &c, 5, &e));
    roughen(&w);
    CHECK((f = mert_forward_new(&w, ops, packing, &e)));
    for (int i = 0; i < 8 && !test_bad; i++)
        one_length(&w, f, (frames[i] - 1) * mert_config_stride(&c) + mert_config_receptive_field(&c) + i % 3,
                   i == 3 ? 1 : LAYERS, tolerance);
    mert_forward_free(f);
    mert_weights_free(&w);
}

TEST(all_kinds_and_lengths)
{
    for (int i = 0; i < KINDS && !test_bad; i++) {
        one_kind(&kinds[i], MERT_PACKED_F32, 5e-6);
        if (test_bad)
            printf("# %s\n", kinds[i].name);
    }
}

/* A clip whose offset is fifty times its variation. GroupNorm removes most of it; the remaining error may only be the
 * rounding of the larger numbers in float. */
TEST(offset)
{
    mert_config c = config_of(&kinds[0]);
    mert_weights w;
    mert_error e;
    mert_forward *f;
    int64_t L = 2000, n = mert_config_frames(&c, L) * c.width;
    float *x = numbers(L, 1), *dx;
    double *exact[LAYERS + 1];
    states s = room_for_states(n);
    for (int64_t i = 0; i < L; i++)
        x[i] = 0.5f + 0.01f * x[i];
    CHECK(!mert_weights_init(&w, &c, 5, &e));
    CHECK((f = mert_forward_new(&w, ops, MERT_PACKED_F32, &e)));
    dx = put(x, L);
    oracle(&w, dx, L, NULL, exact, n);
    CHECK(!mert_forward_run(f, &(mert_forward_input){.samples = L, .pcm = dx}, LAYERS, keep_state, &s, &e));
    for (int i = 0; i <= LAYERS; i++)
        CHECK_APART(get(s.state[i], n), exact[i], n, 1e-4);
    mert_forward_free(f);
    mert_weights_free(&w);
}

TEST(too_short)
{
    mert_config c = config_of(&kinds[0]);
    mert_weights w;
    mert_error e;
    mert_forward *f;
    CHECK(!mert_weights_init(&w, &c, 5, &e));
    CHECK((f = mert_forward_new(&w, ops, MERT_PACKED_F32, &e)));
    CHECK(mert_forward_run(f, &(mert_forward_input){.samples = 20, .pcm = put(numbers(20, 1), 20)}, LAYERS, keep_state, NULL, &e));
    CHECK(strstr(e.text, "20 samples are shorter than the model's receptive field"));
    mert_forward_free(f);
    mert_weights_free(&w);
}

/* A packed file gives the same bytes. With another precision it is not used. */
static void one_packed(const kind *k, mert_packing packing)
{
    mert_config c = config_of(k);
    mert_weights w, p;
    mert_error e;
    mert_forward *f, *g;
    const float *block;
    int64_t L = 1500, T = mert_config_frames(&c, L), n = T * c.width, size;
    float *x = put(numbers(L, 9), L), *mel = some_mel(&c, L), *host;
    float *cqt = c.cqt_input ? put(numbers(T * c.cqt_input_bins, 3), T * c.cqt_input_bins) : NULL;
    states a = room_for_states(n), b = room_for_states(n);
    CHECK(!mert_weights_init(&w, &c, 5, &e));
    CHECK((f = mert_forward_new(&w, ops, packing, &e)));
    size = mert_forward_weights(f, &block);
    host = get(block, size);
    p = (mert_weights){.layout = w.layout, .packed = host, .packed_size = size - 16, .packed_as = packing};
    CHECK(!mert_forward_new(&p, ops, packing, &e));
    p.packed_size = size;
    CHECK(!mert_forward_new(&p, ops, packing == MERT_PACKED_F32 ? MERT_PACKED_BF16 : MERT_PACKED_F32, &e));
    CHECK(strstr(e.text, "--precision"));
    CHECK((g = mert_forward_new(&p, ops, packing, &e)));
    CHECK(!mert_forward_run(f, &(mert_forward_input){L, x, cqt, mel}, LAYERS, keep_state, &a, &e));
    CHECK(!mert_forward_run(g, &(mert_forward_input){L, x, cqt, mel}, LAYERS, keep_state, &b, &e));
    for (int l = 0; l <= LAYERS; l++)
        CHECK(!memcmp(get(a.state[l], n), get(b.state[l], n), (size_t)n * sizeof(float)));
    mert_forward_free(f);
    mert_forward_free(g);
    mert_weights_free(&w);
}

TEST(packed)
{
    for (int i = 0; i < KINDS; i++) {
        one_packed(&kinds[i], MERT_PACKED_F32);
        one_packed(&kinds[i], MERT_PACKED_BF16);
    }
}

/* Every product uses its weights, rounded to 8 bits. */
TEST(bf16)
{
    for (int i = 0; i < KINDS && !test_bad; i++) {
        one_kind(&kinds[i], MERT_PACKED_BF16, 2e-2);
        if (test_bad)
            printf("# %s\n", kinds[i].name);
    }
}

/* ---- a backend with other properties: it does not pack, and processes all rows at once ---- */

static size_t packs_nothing(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    (void)o, (void)rows, (void)n, (void)k, (void)as;
    return 0;
}

static int64_t all_rows(const mert_ops *o, mert_block block)
{
    (void)o, (void)block;
    return INT64_MAX;
}

static void refuses_what_is_packed(void)
{
    mert_config c = config_of(&kinds[0]);
    mert_weights w, p;
    mert_error e;
    float nothing[16] = {0};
    CHECK(!mert_weights_init(&w, &c, 5, &e));
    p = (mert_weights){.layout = w.layout, .packed = nothing, .packed_size = 16, .packed_as = MERT_PACKED_F32};
    CHECK(!mert_forward_new(&p, ops, MERT_PACKED_F32, &e) && strstr(e.text, "packs nothing"));
    CHECK(!mert_forward_new(&w, ops, MERT_PACKED_BF16, &e) && strstr(e.text, "no products in bf16"));
    mert_weights_free(&w);
}

TEST(nothing_packed_and_all_rows_at_once)
{
    mert_ops plain = *mert_ops_cpu(), *tested = ops;
    plain.packed_bytes = packs_nothing;
    plain.rows_at_once = all_rows;
    ops = strcmp(tested->name, "guard") ? &plain : mert_ops_guard(&plain);
    for (int i = 0; i < KINDS && !test_bad; i++) {
        one_kind(&kinds[i], MERT_PACKED_F32, 5e-6);
        if (test_bad)
            printf("# %s\n", kinds[i].name);
    }
    if (!test_bad)
        refuses_what_is_packed();
    forget();
    ops->close(ops);
    ops = tested;
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(all_kinds_and_lengths), NN_TEST(offset), NN_TEST(too_short),
                                    NN_TEST(packed), NN_TEST(bf16),
                                    NN_TEST(nothing_packed_and_all_rows_at_once)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
