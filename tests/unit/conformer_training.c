/* A Conformer through the whole trainer: masks before the subsampler, all kinds of targets at its frame rate, the
 * penalty on what an extractor gives. The loss moves as its gradient says; both with the same bytes on the CPU and on
 * the guard backend. */
#include "tests/unit/nn.h"

#include "libcommon/train/trainer.h"

enum { B = 3, L = 24 * 9 + 5, CODEBOOKS = 2, T_MOST = 9 };

typedef struct kind {
    const char *name;
    int waveform, noise; /* noise: masked frames stay what they are */
    double dropout;
} kind;

static const kind kinds[] = {{"mel", 0, 0, 0}, {"mel, dropouts", 0, 0, 0.2}, {"waveform", 1, 0, 0},
                             {"waveform, dropouts", 1, 0, 0.2}, {"waveform, noise", 1, 1, 0}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static mert_config config(const kind *k)
{
    mert_config c = mert_config_mert2();
    c.sample_rate = 2400, c.width = 12, c.layers = 2, c.heads = 3, c.ffn = 20;
    c.conformer = (mert_conformer_config){
        .n_fft = 32, .win_length = 24, .hop = 6, .mels = 6, .stages = 2, .subsampler_kernel = 3,
        .stage = {{6, 1, 2}, {12, 1, 2}}, .kernel = 5, .subsampler_eps = 1e-6, .rotary_base = 100,
        .initializer_range = 0.2};
    c.codebooks = CODEBOOKS, c.classes[0] = 5, c.classes[1] = 4, c.special_rows = 4, c.final_dim = 6, c.untied = 1;
    c.mel_target_bins = 4;
    if (k->waveform) {
        c.convs = 2;
        c.conv[0].dim = 5, c.conv[0].kernel = 4, c.conv[0].stride = 3;
        c.conv[1].dim = 6, c.conv[1].kernel = 2, c.conv[1].stride = 2;
    }
    return c;
}

static float audio[B * L];
static int32_t labels[CODEBOOKS * B * T_MOST], source[B * T_MOST];
static uint8_t mask[B * T_MOST];
static const int64_t items[B] = {0, 1, 2};

static mert_batch batch(const kind *k, const mert_config *c)
{
    int64_t T = mert_config_frames(c, L) - 1; /* the labels end before the audio */
    mert_batch b = {.B = B, .L = L, .T = T, .K = CODEBOOKS, .clean = audio, .audio = audio, .labels = labels,
                    .mask = mask, .items = items, .source = k->noise ? source : NULL};
    for (int i = 0; i < B * L; i++)
        audio[i] = (float)sin(0.05 * i * (1 + i / L) + 0.3 * (i % 7));
    for (int i = 0; i < B * T; i++) {
        labels[i] = i % 5;
        labels[B * T + i] = i * 3 % 4;
        mask[i] = i % 3 != 0;
        source[i] = i;
    }
    return b;
}

/* Loss of the weights moved by h along `direction`; gradients (NULL: not wanted) of the weights as they are. */
static double loss(const kind *k, const mert_weights *w, const float *direction, double h, float *gradients,
                   mert_sums *sums)
{
    mert_objective_config o = {.features_pen_weight = k->waveform ? 10 : 0, .mel_weight = 1, .logit_temperature = 0.1,
                               .nomask_weight = 0.5};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    mert_forward_options options = {.training = 1, .feature_grad_mult = 1, .dropout = k->dropout,
                                    .attention_dropout = k->dropout, .activation_dropout = k->dropout,
                                    .input_dropout = k->dropout, .seed = 1, .update = 4};
    mert_weights moved = *w;
    mert_error e = {{0}};
    mert_batch b = batch(k, &w->layout.config);
    mert_trainer *t;
    moved.values = malloc((size_t)w->layout.size * sizeof(float));
    for (int64_t i = 0; moved.values && i < w->layout.size; i++)
        moved.values[i] = w->values[i] + (float)(h * (direction ? direction[i] : 0));
    t = mert_trainer_new(&moved, ops, &o, &a, NULL, &e);
    memset(sums, 0, sizeof *sums);
    if (!t || mert_trainer_accumulate(t, &options, &b, sums, &e) || mert_trainer_settle(t, &e) ||
        (gradients && mert_trainer_get(t, &(mert_shards_arrays){.gradients = gradients}, 1, &e))) {
        printf("# %s: %s\n", k->name, e.text);
        sums->loss = NAN;
    }
    mert_trainer_free(t);
    free(moved.values);
    nn_digest = nn_digest * 31 + (uint64_t)(int64_t)(sums->loss * 1e6);
    return sums->loss;
}

static double norm_of(const mert_weights *w, const float *gradients, const char *name)
{
    const mert_parameter *p = mert_layout_find(&w->layout, name);
    double sum = 0;
    for (int64_t i = 0; p && i < p->n; i++)
        sum += (double)gradients[p->offset + i] * gradients[p->offset + i];
    return sqrt(sum);
}

/* float32 and a whole model in between: some tenths of a percent. */
TEST(the_loss_moves_as_the_gradient_says)
{
    for (int i = 0; i < KINDS; i++) {
        const kind *k = &kinds[i];
        mert_config c = config(k);
        mert_weights w;
        mert_sums sums;
        mert_error e;
        float *gradients;
        double length = 0, h = 1e-3, along, difference;
        CHECK(!mert_weights_init(&w, &c, 3, &e));
        gradients = keep((size_t)w.layout.size * sizeof *gradients);
        loss(k, &w, NULL, 0, gradients, &sums);
        CHECK(sums.masked > 0 && sums.mel_mse > 0 && (sums.features_pen > 0) == k->waveform);
        CHECK((norm_of(&w, gradients, "mask_emb") > 0) == !k->noise);
        for (int64_t j = 0; j < w.layout.size; j++)
            length += (double)gradients[j] * gradients[j];
        CHECK(length > 1e-6);
        along = sqrt(length); /* in the direction of the gradient itself */
        for (int64_t j = 0; j < w.layout.size; j++)
            gradients[j] = (float)(gradients[j] / along);
        difference = (loss(k, &w, gradients, h, NULL, &sums) - loss(k, &w, gradients, -h, NULL, &sums)) / (2 * h);
        CHECK_NEAR(difference / along, 1, 0.01);
        mert_weights_free(&w);
        forget();
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(the_loss_moves_as_the_gradient_says)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
