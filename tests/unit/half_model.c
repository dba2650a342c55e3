/* A whole model on elements of 16 bits (the CPU's reference for devices, nn/cpu/rounded.c) beside float32: hidden
 * states, gradients of a batch, and a short training. How far it may be off follows from the format: every stored
 * number is off by a unit of 2^-8 (bfloat16) or 2^-11 (float16) at most, a few dozen of them in a row, at random. */
#include "tests/unit/nn.h"

#include "libcommon/models/inference/inference.h"
#include "libcommon/train/trainer.h"

enum { CLIPS = 3, UPDATES = 40 };

typedef struct kind {
    const char *name;
    int pre_ln, deepnorm, extractor_layer_norm, target_glu, cqt_bins;
    double dropout;
} kind;

static const kind kinds[] = {{"post-LN", 0, 0, 0, 0, 0, 0.1},
                             {"pre-LN, LayerNorm in the extractor, target GLU", 1, 0, 1, 1, 0, 0},
                             {"deepnorm, CQT input and target", 0, 1, 0, 0, 7, 0.1}};
enum { KINDS = (int)(sizeof kinds / sizeof *kinds) };

typedef struct format {
    const char *name;
    mert_element_type type;
    double unit;
} format;

static const format formats[] = {{"bfloat16", MERT_ELEMENT_BF16, 0x1p-8}, {"float16", MERT_ELEMENT_F16, 0x1p-11}};

/* A relative error of so many units is allowed of what a whole model makes. */
enum { STATES = 6, GRADIENTS = 6 };

static mert_config config(const kind *k)
{
    mert_config c = mert_config_95m();
    c.convs = 3;
    c.conv[0].dim = c.conv[1].dim = c.conv[2].dim = 24;
    c.conv[0].kernel = 10, c.conv[0].stride = 5;
    c.conv[1].kernel = 3, c.conv[1].stride = 2;
    c.conv[2].kernel = 2, c.conv[2].stride = 2;
    for (int i = 0; i < 3 && k->cqt_bins; i++) { /* frames of 480 samples, as the CQT's */
        static const int kernels[] = {10, 9, 11}, strides[] = {6, 8, 10};
        c.conv[i].kernel = kernels[i], c.conv[i].stride = strides[i];
    }
    c.extractor_layer_norm = c.conv_bias = k->extractor_layer_norm;
    c.pre_ln = k->pre_ln, c.deepnorm = k->deepnorm, c.target_glu = k->target_glu;
    c.width = 32, c.layers = 4, c.heads = 2, c.ffn = 64, c.pos_kernel = 8, c.pos_groups = 2;
    c.codebooks = 2, c.classes[0] = 5, c.classes[1] = 4, c.special_rows = 4, c.final_dim = 8, c.untied = 1;
    c.cqt_input = k->cqt_bins > 0, c.cqt_input_bins = k->cqt_bins;
    c.cqt_target_bins = k->cqt_bins ? 28 : 0;
    return c;
}

static size_t packs_nothing(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    (void)o, (void)rows, (void)n, (void)k, (void)as;
    return 0;
}

static int unpacked; /* as a device has it that reads weights as they are */

static mert_ops *backend(mert_element_type type)
{
    static mert_ops plain;
    mert_ops *cpu = mert_ops_cpu_of(type);
    if (unpacked) {
        plain = *cpu;
        plain.packed_bytes = packs_nothing;
        cpu = &plain;
    }
    return strcmp(ops->name, "guard") ? cpu : mert_ops_guard(cpu);
}

/* |x - y| / |y| */
static double relative(const float *x, const float *y, int64_t n)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        off += pow((double)x[i] - y[i], 2);
        all += pow((double)y[i], 2);
    }
    return sqrt(off / all);
}

static int begin(mert_weights *w, const kind *k)
{
    mert_config c = config(k);
    mert_error e = {{0}};
    if (!mert_config_check(&c, &e) && !mert_weights_init(w, &c, 5, &e))
        return 0;
    printf("# %s: %s\n", k->name, e.text);
    return -1;
}

static int64_t length(const mert_config *c)
{
    return c->cqt_input ? 12000 : 1013;
}

/* Tones that tell their labels. */
static float *sound(int64_t L)
{
    float *x = numbers(CLIPS * L, 7);
    for (int64_t i = 0; i < CLIPS * L; i++)
        x[i] = 0.1f * x[i] + 0.5f * sinf((float)(i % L) * 0.02f * (float)(1 + i / L + i % L / 300));
    return x;
}

/* ---- hidden states, as inference hands them out ---- */

enum { PLAIN, WEIGHTED, POOLED, UNPACKED };

static float *states(const mert_weights *w, mert_element_type type, int how, int64_t *n)
{
    static const int layers[] = {0, 1, 2, 3, 4};
    const float factors[] = {0.5f, 0, 0.25f, 1, -1}, *rows;
    int64_t L = length(&w->layout.config);
    mert_pooling_plan plan = {.how = MERT_POOLING_MEAN};
    mert_ops *own = backend(type);
    mert_error e = {{0}};
    mert_inference *m = mert_inference_new(w, own, MERT_PACKED_F32, layers, 5, &e);
    float *copy = NULL;
    int64_t n_rows;
    if (m && how == WEIGHTED)
        mert_inference_weigh(m, factors);
    if (m && how == POOLED)
        mert_inference_pool(m, &plan);
    if (!m)
        printf("# %s\n", e.text);
    for (int run = 0; m && run < 2; run++) /* the second meets the memory of the first */
        if (mert_inference_run(m, sound(L), run ? L : L / 2, &rows, &n_rows, &e))
            printf("# %s\n", e.text);
    if (m && !*e.text) {
        *n = n_rows * mert_inference_width(m);
        copy = keep((size_t)*n * sizeof *copy);
        memcpy(copy, rows, (size_t)*n * sizeof *copy);
    }
    mert_inference_free(m);
    own->close(own);
    return copy;
}

static void note(const char *what, const kind *k, const format *f, double off)
{
    if (!nn_again)
        printf("# %s of %s: %s moves them by %.2g, %.1f units\n", what, k->name, f->name, off, off / f->unit);
}

static void digest(const void *x, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        nn_digest = (nn_digest ^ ((const unsigned char *)x)[i]) * 0x100000001B3u;
}

TEST(hidden_states)
{
    for (const kind *k = kinds; k < kinds + KINDS; k++)
        for (int f = 0; f < 2; f++)
            for (int how = PLAIN; how <= UNPACKED; how++) {
                mert_weights w;
                int64_t n = 0, m = 0;
                float *exact, *near;
                CHECK(!begin(&w, k));
                exact = states(&w, MERT_ELEMENT_F32, how, &n);
                unpacked = how == UNPACKED;
                near = states(&w, formats[f].type, how, &m);
                unpacked = 0;
                CHECK(exact && near && n == m && n > 0);
                if (how == PLAIN)
                    note("hidden states", k, &formats[f], relative(near, exact, n));
                CHECK(relative(near, exact, n) > formats[f].unit / 64);
                CHECK(relative(near, exact, n) < STATES * formats[f].unit);
                digest(near, (size_t)n * sizeof *near);
                mert_weights_free(&w);
                forget();
            }
}

/* ---- a batch, and updates ---- */

static mert_batch batch(const mert_config *c)
{
    static const int64_t items[CLIPS] = {0, 1, 2};
    int64_t L = length(c), T = mert_config_frames(c, L);
    int32_t *labels = keep((size_t)(c->codebooks * CLIPS * T) * sizeof *labels);
    uint8_t *mask = keep((size_t)(CLIPS * T));
    float *audio = sound(L);
    for (int64_t i = 0; i < c->codebooks * CLIPS * T; i++)
        labels[i] = (int32_t)((i / T % CLIPS + i % T / 15) % 4);
    for (int64_t i = 0; i < CLIPS * T; i++)
        mask[i] = i % 5 < 3;
    return (mert_batch){.B = CLIPS, .L = L, .T = T, .K = c->codebooks, .clean = audio, .audio = audio,
                        .labels = labels, .mask = mask, .items = items};
}

static mert_trainer *trainer(const mert_weights *w, mert_ops *own, double loss_weight)
{
    mert_objective_config o = {.features_pen_weight = 10, .logit_temperature = 0.1, .cqt_weight = loss_weight};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .clip_norm = 10};
    mert_error e;
    mert_trainer *t = mert_trainer_new(w, own, &o, &a, NULL, &e);
    if (!t)
        printf("# %s\n", e.text);
    return t;
}

/* The gradients of one batch. */
static float *gradients(const kind *k, const mert_weights *w, mert_element_type type, int recompute, int narrow,
                        double *loss)
{
    mert_ops *own = backend(type);
    mert_trainer *t = trainer(w, own, 1);
    mert_batch b = batch(&w->layout.config);
    mert_forward_options o = {.dropout = k->dropout, .attention_dropout = k->dropout, .activation_dropout = k->dropout,
                              .input_dropout = k->dropout, .feature_grad_mult = 1, .recompute = recompute,
                              .narrow = narrow, .seed = 3, .update = 2};
    mert_sums sums = {0};
    mert_error e = {{0}};
    float *g = keep((size_t)w->layout.size * sizeof *g);
    if (t && (mert_trainer_accumulate(t, &o, &b, &sums, &e) ||
              mert_trainer_get(t, &(mert_shards_arrays){.gradients = g}, 1, &e)))
        printf("# %s\n", e.text);
    *loss = t && !*e.text ? sums.loss : NAN;
    mert_trainer_free(t);
    own->close(own);
    return g;
}

TEST(gradients_of_a_batch)
{
    for (const kind *k = kinds; k < kinds + KINDS; k++)
        for (const format *f = formats; f < formats + 2; f++) {
            mert_weights w;
            double loss, near_loss, again_loss, plain_loss;
            float *exact, *near, *again, *plain;
            CHECK(!begin(&w, k));
            exact = gradients(k, &w, MERT_ELEMENT_F32, 0, 0, &loss);
            near = gradients(k, &w, f->type, 0, 0, &near_loss);
            again = gradients(k, &w, f->type, 1, 1, &again_loss); /* narrow: nothing to save */
            unpacked = 1;
            plain = gradients(k, &w, f->type, 0, 0, &plain_loss);
            unpacked = 0;
            note("gradients", k, f, relative(near, exact, w.layout.size));
            CHECK_NEAR(near_loss / loss, 1, STATES * f->unit);
            CHECK(relative(near, exact, w.layout.size) > f->unit / 8);
            CHECK(relative(near, exact, w.layout.size) < GRADIENTS * f->unit);
            CHECK(relative(plain, exact, w.layout.size) < GRADIENTS * f->unit);
            CHECK_NEAR(plain_loss / loss, 1, STATES * f->unit);
            CHECK(near_loss == again_loss && !memcmp(near, again, (size_t)w.layout.size * sizeof *near));
            digest(near, (size_t)w.layout.size * sizeof *near);
            mert_weights_free(&w);
            forget();
        }
}

/* The loss of each update. */
static int train(const kind *k, const mert_weights *w, mert_element_type type, double losses[UPDATES])
{
    mert_ops *own = backend(type);
    mert_trainer *t = trainer(w, own, 0.1);
    mert_batch b = batch(&w->layout.config);
    mert_error e = {{0}};
    for (int i = 0; t && !*e.text && i < UPDATES; i++) {
        mert_forward_options o = {.dropout = k->dropout, .feature_grad_mult = 0.1, .seed = 3, .update = (uint64_t)i};
        mert_sums sums = {0};
        double norm;
        if (mert_trainer_accumulate(t, &o, &b, &sums, &e) ||
            mert_trainer_update(t, i + 1, 2e-3, (double)sums.sample_size, &norm, &e))
            printf("# update %d: %s\n", i, e.text);
        losses[i] = sums.loss / (double)sums.sample_size;
    }
    mert_trainer_free(t);
    own->close(own);
    return t && !*e.text ? 0 : -1;
}

TEST(a_short_training)
{
    for (const kind *k = kinds; k < kinds + KINDS; k++) {
        double exact[UPDATES], near[UPDATES], off = 0;
        mert_weights w;
        CHECK(!begin(&w, k));
        CHECK(!train(k, &w, MERT_ELEMENT_F32, exact) && !train(k, &w, MERT_ELEMENT_BF16, near));
        for (int i = 0; i < UPDATES; i++)
            off = fmax(off, fabs(near[i] - exact[i]) / exact[0]);
        if (!nn_again)
            printf("# %s: loss %.3f to %.3f; bfloat16 %.3f to %.3f, apart by %.2g of the first at most\n", k->name,
                   exact[0], exact[UPDATES - 1], near[0], near[UPDATES - 1], off);
        CHECK(exact[UPDATES - 1] < 0.8 * exact[0] && near[UPDATES - 1] < 0.8 * near[0]);
        CHECK(off > 0 && off < 0.05);
        digest(near, sizeof near);
        mert_weights_free(&w);
        forget();
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(hidden_states), NN_TEST(gradients_of_a_batch), NN_TEST(a_short_training)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
