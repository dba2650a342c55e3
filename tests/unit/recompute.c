/* The memory of training between forward and backward pass: everything that the backward pass needs, only inputs of
 * layers (the rest is recomputed), or everything in bfloat16. The gradients of the first two are the same bit for bit
 * and agree with the change of the loss; the error of the third is within the bound below. Small models of every kind
 * (the one with deepnorm has one projection for all codebooks), with every dropout, LayerDrop and masks; clips so short
 * that the extractor processes all at once, and so long that it processes one or two at a time. */
#include "tests/unit/nn.h"

#include "libcommon/train/trainer.h"

enum { CLIPS = 3, CODEBOOKS = 2, KINDS = 5, LONGEST = 9000 };

/* Relative to the norm of all gradients: stored values are rounded to 8 significant bits, with an error of at most
 * 2^-9. */
static const double bf16_bound = 0x1p-8;

typedef struct kind {
    const char *name;
    int pre_ln, deepnorm, extractor_layer_norm, convs, long_clips;
    double dropout, layerdrop;
} kind;

static const kind kinds[KINDS] = {{"post-LN", 0, 0, 0, 3, 0, 0.1, 0.3},
                                  {"pre-LN, LayerNorm in the extractor", 1, 0, 1, 3, 0, 0.1, 0.3},
                                  {"deepnorm, long clips", 0, 1, 0, 3, 1, 0.1, 0.3},
                                  {"pre-LN, LayerNorm in the extractor, long clips", 1, 0, 1, 3, 1, 0, 0},
                                  {"one convolution", 0, 0, 0, 1, 0, 0, 0}};

static mert_config config(const kind *k)
{
    mert_config c = mert_config_95m();
    c.convs = k->convs;
    for (int i = 0; i < c.convs; i++)
        c.conv[i].dim = k->long_clips ? 4 : 24;
    c.conv[0].kernel = k->long_clips ? 2 : 10, c.conv[0].stride = k->long_clips ? 1 : k->convs == 1 ? 20 : 5;
    c.conv[1].kernel = 3, c.conv[1].stride = k->long_clips ? 3 : 2;
    c.conv[2].kernel = k->long_clips ? 18 : 2, c.conv[2].stride = k->long_clips ? 17 : 2;
    c.extractor_layer_norm = c.conv_bias = k->extractor_layer_norm;
    c.pre_ln = k->pre_ln, c.deepnorm = k->deepnorm;
    c.width = 16, c.layers = k->long_clips ? 4 : 10, c.heads = 2, c.ffn = 40, c.pos_kernel = 4, c.pos_groups = 2;
    c.codebooks = CODEBOOKS, c.classes[0] = 5, c.classes[1] = 4, c.special_rows = 4, c.final_dim = 6;
    c.untied = !k->deepnorm;
    c.cqt_target_bins = 0;
    return c;
}

typedef struct pass {
    double loss;
    float *gradients; /* owned by the test */
    size_t memory;
    int64_t masked;
} pass;

/* One micro-batch with the weights moved by h along `direction`. */
static pass run(const kind *k, const mert_weights *w, const float *direction, double h, int recompute, int narrow)
{
    static const int64_t items[CLIPS] = {0, 1, 2};
    int64_t L = k->long_clips ? LONGEST : 1013, T = mert_config_frames(&w->layout.config, L), size = w->layout.size;
    float *audio = numbers(CLIPS * L, 7);
    int32_t *labels = keep((size_t)(CODEBOOKS * CLIPS * T) * sizeof *labels);
    uint8_t *mask = keep((size_t)(CLIPS * T));
    mert_batch b = {.B = CLIPS,
                    .L = L,
                    .T = T,
                    .K = CODEBOOKS,
                    .clean = audio,
                    .audio = audio,
                    .labels = labels,
                    .mask = mask,
                    .items = items};
    mert_forward_options options = {.training = 1,
                          .dropout = k->dropout,
                          .attention_dropout = k->dropout,
                          .activation_dropout = k->dropout,
                          .input_dropout = k->dropout,
                          .layerdrop = k->layerdrop,
                          .feature_grad_mult = 1,
                          .recompute = recompute,
                          .narrow = narrow,
                          .seed = 3,
                          .update = 2};
    mert_objective_config o = {.features_pen_weight = 10, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    mert_weights moved = *w;
    mert_sums sums = {0};
    mert_error e = {{0}};
    mert_trainer *t;
    pass p = {.gradients = keep((size_t)size * sizeof *p.gradients)};
    moved.values = keep((size_t)size * sizeof *moved.values);
    for (int64_t i = 0; i < size; i++)
        moved.values[i] = w->values[i] + (float)(h * (direction ? direction[i] : 0));
    for (int64_t i = 0; i < CODEBOOKS * CLIPS * T; i++)
        labels[i] = (int32_t)(i * 7 % 11 % 4);
    for (int64_t i = 0; i < CLIPS * T; i++)
        mask[i] = i % 5 < 3;
    t = mert_trainer_new(&moved, ops, &o, &a, NULL, &e);
    /* twice: the second pass reuses the memory of the first */
    if (!t || mert_trainer_accumulate(t, &options, &b, &(mert_sums){0}, &e) ||
        mert_trainer_accumulate(t, &options, &b, &sums, &e) ||
        mert_trainer_get(t, &(mert_shards_arrays){.gradients = p.gradients}, 1, &e))
        printf("# %s\n", e.text);
    p.loss = *e.text ? NAN : sums.loss;
    p.memory = t ? mert_trainer_memory(t) : 0;
    p.masked = sums.masked;
    mert_trainer_free(t);
    return p;
}

static double norm(const float *x, const float *y, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += pow((double)x[i] - (y ? y[i] : 0), 2);
    return sqrt(s);
}

/* For the comparison of threads and backends. */
static void result(const pass *p, int64_t n)
{
    const unsigned char *bytes = (const unsigned char *)p->gradients;
    for (size_t i = 0; i < (size_t)n * sizeof *p->gradients; i++)
        nn_digest = (nn_digest ^ bytes[i]) * 0x100000001B3u;
}

static int begin(mert_weights *w, const kind *k)
{
    mert_config c = config(k);
    mert_error e;
    return mert_config_check(&c, &e) || mert_weights_init(w, &c, 5, &e);
}

TEST(the_same_gradients_with_recomputation)
{
    for (const kind *k = kinds; k < kinds + KINDS; k++) {
        mert_weights w;
        pass kept, again;
        CHECK(!begin(&w, k));
        kept = run(k, &w, NULL, 0, 0, 0);
        again = run(k, &w, NULL, 0, 1, 0);
        CHECK(norm(kept.gradients, NULL, w.layout.size) > 1e-3 && kept.masked > 0);
        CHECK(kept.loss == again.loss);
        CHECK(!memcmp(kept.gradients, again.gradients, (size_t)w.layout.size * sizeof(float)));
        if (!nn_again)
            printf("# %s: %zu bytes for a batch, with recomputation %zu\n", k->name, kept.memory, again.memory);
        CHECK(again.memory <= kept.memory && (k != kinds || 2 * again.memory < kept.memory));
        result(&kept, w.layout.size);
        if (test_bad)
            printf("# %s\n", k->name);
        mert_weights_free(&w);
        forget();
    }
}

TEST(bfloat16_between_the_passes)
{
    for (const kind *k = kinds; k < kinds + KINDS; k++) {
        mert_weights w;
        pass exact, rounded, again;
        double off;
        CHECK(!begin(&w, k));
        exact = run(k, &w, NULL, 0, 0, 0);
        rounded = run(k, &w, NULL, 0, 0, 1);
        again = run(k, &w, NULL, 0, 1, 1);
        CHECK(exact.loss == rounded.loss && exact.loss == again.loss); /* the forward pass uses unrounded values */
        off = norm(rounded.gradients, exact.gradients, w.layout.size) / norm(exact.gradients, NULL, w.layout.size);
        CHECK(off > 1e-6 && off < bf16_bound);
        if (!nn_again)
            printf("# %s: bfloat16 moves the gradient by %.2g of its norm\n", k->name, off);
        off = norm(again.gradients, exact.gradients, w.layout.size) / norm(exact.gradients, NULL, w.layout.size);
        CHECK(off > 1e-6 && off < bf16_bound);
        result(&rounded, w.layout.size);
        mert_weights_free(&w);
        forget();
    }
}

/* A whole model in float32: accurate to some tenths of a percent. */
TEST(the_loss_moves_as_the_gradient_says)
{
    for (const kind *k = kinds; k < kinds + KINDS && !nn_again; k++) {
        const double h = 1e-3;
        mert_weights w;
        double length, moved;
        pass p;
        CHECK(!begin(&w, k));
        p = run(k, &w, NULL, 0, 1, 0);
        length = norm(p.gradients, NULL, w.layout.size);
        for (int64_t i = 0; i < w.layout.size; i++)
            p.gradients[i] = (float)(p.gradients[i] / length);
        moved = run(k, &w, p.gradients, h, 1, 0).loss - run(k, &w, p.gradients, -h, 1, 0).loss;
        CHECK_NEAR(moved / (2 * h) / (length / 2), 1, 0.01); /* the gradients are those of two micro-batches */
        mert_weights_free(&w);
        forget();
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(the_same_gradients_with_recomputation),
                                    NN_TEST(bfloat16_between_the_passes), NN_TEST(the_loss_moves_as_the_gradient_says)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
