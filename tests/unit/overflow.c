/* A gradient that is not finite: the update does not change weights and moments, reports that, and discards the
 * gradient, so that the next update uses only its own batch. And the loss of frames that are not masked. */
#include "tests/unit/nn.h"

#include "libcommon/train/trainer.h"

enum { CLIPS = 2, L = 1013, FRAMES_MAX = 64 };

static mert_config tiny(void)
{
    mert_config c = mert_config_95m();
    c.convs = 2;
    c.conv[0].dim = c.conv[1].dim = 8;
    c.conv[0].kernel = 10, c.conv[0].stride = 5, c.conv[1].kernel = 4, c.conv[1].stride = 4;
    c.width = 16, c.layers = 1, c.heads = 2, c.ffn = 24, c.pos_kernel = 4, c.pos_groups = 2;
    c.codebooks = 1, c.classes[0] = 5, c.special_rows = 4, c.final_dim = 6;
    c.cqt_target_bins = 0;
    return c;
}

/* One update with a clip that contains `sample`; returns its result. */
static int update(mert_trainer *t, int64_t number, float sample, double *norm)
{
    static int32_t labels[CLIPS * FRAMES_MAX];
    static uint8_t mask[CLIPS * FRAMES_MAX];
    static const int64_t items[CLIPS] = {0, 1};
    mert_config c = tiny();
    float *audio = numbers(CLIPS * L, 7);
    mert_batch b = {.B = CLIPS, .L = L, .T = mert_config_frames(&c, L), .K = 1, .clean = audio, .audio = audio,
                    .labels = labels, .mask = mask, .items = items};
    mert_forward_options options = {.feature_grad_mult = 1, .seed = 1, .update = (uint64_t)number};
    mert_sums sums = {0};
    mert_error e = {{0}};
    for (int64_t i = 0; i < CLIPS * b.T; i++) {
        labels[i] = (int32_t)(i % 5);
        mask[i] = i % 3 != 0;
    }
    audio[L + L / 2] = sample;
    if (mert_trainer_accumulate(t, &options, &b, &sums, &e))
        return -1;
    return mert_trainer_update(t, number, 1e-3, (double)sums.sample_size, norm, &e);
}

static float *weights_of(mert_trainer *t, int64_t n)
{
    float *weights = keep((size_t)n * sizeof *weights);
    mert_error e;
    if (mert_trainer_get(t, &(mert_shards_arrays){.weights = weights}, 1, &e))
        abort();
    return weights;
}

static int same(const float *a, const float *b, int64_t n)
{
    return !memcmp(a, b, (size_t)n * sizeof *a);
}

TEST(an_update_that_is_not_finite_is_left_out)
{
    static const float broken[] = {NAN, INFINITY, -INFINITY};
    mert_objective_config o = {.features_pen_weight = 10, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.01, .clip_norm = 10};
    mert_config c = tiny();
    mert_weights w;
    mert_error e;
    mert_trainer *t, *undisturbed;
    double norm, usual;
    int64_t n;
    CHECK(!mert_weights_init(&w, &c, 3, &e));
    n = w.layout.size;
    t = mert_trainer_new(&w, ops, &o, &a, NULL, &e);
    undisturbed = mert_trainer_new(&w, ops, &o, &a, NULL, &e);
    CHECK(t && undisturbed);
    CHECK(update(t, 1, 0.1f, &norm) == 0 && update(undisturbed, 1, 0.1f, &usual) == 0 && norm == usual && usual > 0);
    for (int i = 0; i < 3; i++) {
        float *before = weights_of(t, n);
        CHECK(update(t, 2, broken[i], &norm) == 1 && !isfinite(norm));
        CHECK(same(before, weights_of(t, n), n));
    }
    CHECK(update(t, 2, 0.1f, &norm) == 0 && update(undisturbed, 2, 0.1f, &usual) == 0 && norm == usual);
    CHECK(same(weights_of(t, n), weights_of(undisturbed, n), n)); /* the moments were those of the first update, too */
    mert_trainer_free(t);
    mert_trainer_free(undisturbed);
    mert_weights_free(&w);
}

/* The sums of a training pass without replacing masked frames in the input. */
static int pass(const mert_weights *w, double nomask_weight, int inverted, mert_sums *sums)
{
    mert_objective_config o = {.nomask_weight = nomask_weight, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    mert_config c = tiny();
    int32_t labels[CLIPS * FRAMES_MAX], source[CLIPS * FRAMES_MAX];
    uint8_t mask[CLIPS * FRAMES_MAX];
    static const int64_t items[CLIPS] = {0, 1};
    float *audio = numbers(CLIPS * L, 7);
    mert_batch b = {.B = CLIPS, .L = L, .T = mert_config_frames(&c, L), .K = 1, .clean = audio, .audio = audio,
                    .labels = labels, .mask = mask, .source = source, .items = items};
    mert_forward_options options = {.feature_grad_mult = 1, .seed = 1, .update = 1};
    mert_error e = {{0}};
    mert_trainer *t = mert_trainer_new(w, ops, &o, &a, NULL, &e);
    int bad;
    for (int64_t i = 0; i < CLIPS * b.T; i++) {
        labels[i] = (int32_t)(i % 5);
        mask[i] = (i % 3 != 0) != inverted;
        source[i] = (int32_t)i;
    }
    *sums = (mert_sums){0};
    bad = !t || mert_trainer_accumulate(t, &options, &b, sums, &e) || mert_trainer_settle(t, &e);
    mert_trainer_free(t);
    return bad;
}

TEST(unmasked_frames_have_their_weight_in_the_loss)
{
    mert_config c = tiny();
    mert_weights w;
    mert_error e;
    mert_sums masked, others, both;
    CHECK(!mert_weights_init(&w, &c, 3, &e));
    CHECK(!pass(&w, 0, 0, &masked) && !pass(&w, 0, 1, &others) && !pass(&w, 0.25, 0, &both));
    CHECK(masked.loss > 0 && others.loss > 0 && masked.masked > others.masked && others.masked > 0);
    CHECK_NEAR(both.loss, masked.loss + 0.25 * others.loss, 1e-5 * both.loss);
    CHECK(both.masked == masked.masked && masked.sample_size == masked.masked);
    CHECK(both.sample_size == masked.masked + others.masked); /* the divisor of gradients: all frames */
    CHECK_NEAR(both.ce[0], masked.ce[0], 1e-6 * masked.ce[0]); /* the log has only masked frames */
    mert_weights_free(&w);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(an_update_that_is_not_finite_is_left_out),
                                    NN_TEST(unmasked_frames_have_their_weight_in_the_loss)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, 2);
    return test_done();
}
