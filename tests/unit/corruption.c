/* Masking in training (masks, replacement, channel masks), compared with a readable version of MERT's apply_mask in
 * double precision, and its backward pass compared with central differences of that; on the CPU and on the guard
 * backend, with the same bytes. Then through the whole trainer: the change of the loss agrees with the gradient.
 */
#include "tests/unit/nn.h"

#include "libcommon/models/encoder/state.h"
#include "libcommon/train/trainer.h"

enum { B = 3, T = 7, D = 16, ROWS = B * T };

static mert_config tiny(void)
{
    mert_config c = mert_config_95m();
    c.convs = 2;
    c.conv[0].dim = c.conv[1].dim = 8;
    c.conv[0].kernel = 10, c.conv[0].stride = 5, c.conv[1].kernel = 4, c.conv[1].stride = 4;
    c.width = D, c.layers = 1, c.heads = 2, c.ffn = 24, c.pos_kernel = 4, c.pos_groups = 2;
    c.codebooks = 2, c.classes[0] = 5, c.classes[1] = 4, c.special_rows = 4, c.final_dim = 6, c.untied = 1;
    c.cqt_target_bins = 0;
    return c;
}

/* ---- the step itself ---- */

typedef struct corruption {
    float mask[ROWS], replaced_rows[ROWS], channels[B * D];
    int32_t to[ROWS], from[ROWS];
    int64_t replaced;
} corruption;

/* Frame 4 is replaced by frame 2, which is replaced by frame 9; frame 15 by a frame that is masked by the embedding; 20
 * by itself. */
static void fill(corruption *k, int masks, int moves, int channels)
{
    static const int32_t to[] = {2, 4, 15, 20}, from[] = {9, 2, 6, 20};
    memset(k, 0, sizeof *k);
    for (int i = 0; masks && i < ROWS; i++)
        k->mask[i] = i % 7 == 6 || i == 12;
    k->replaced = moves ? 4 : 0;
    for (int i = 0; i < k->replaced; i++) {
        k->to[i] = to[i];
        k->from[i] = from[i];
        k->replaced_rows[to[i]] = 1;
        k->mask[to[i]] = 0;
    }
    for (int i = 0; channels && i < B * D; i++)
        k->channels[i] = i % 5 == 1;
}

static struct {
    corruption k;
    double *x, *e, *y, *dy;
    int channels;
} g;

/* MERT: x[mask] = mask_emb; x[replace] = x[replace_target]; x[channels] = 0 */
static double loss(void)
{
    double held[ROWS * D], sum = 0;
    memcpy(g.y, g.x, ROWS * D * sizeof *g.y);
    for (int i = 0; i < ROWS * D; i++)
        if (g.k.mask[i / D] != 0)
            g.y[i] = g.e[i % D];
    memcpy(held, g.y, sizeof held);
    for (int64_t r = 0; r < g.k.replaced; r++)
        memcpy(g.y + g.k.to[r] * D, held + g.k.from[r] * D, D * sizeof *g.y);
    for (int i = 0; g.channels && i < ROWS * D; i++)
        if (g.k.channels[i / (T * D) * D + i % D] != 0)
            g.y[i] = 0;
    for (int i = 0; i < ROWS * D; i++)
        sum += g.y[i] * g.dy[i];
    return sum;
}

/* The largest difference of the gradient v from central differences with respect to x[n]. */
static double gradient_off(double *x, const float *v, const float *before, int64_t n)
{
    double worst = 0;
    for (int64_t i = 0; i < n && !nn_again; i++) {
        double held = x[i], d;
        x[i] = held + 1e-4;
        d = loss();
        x[i] = held - 1e-4;
        d = (d - loss()) / 2e-4;
        x[i] = held;
        worst = fmax(worst, fabs(v[i] - (before ? before[i] : 0) - d));
        if (!(worst >= 0))
            return INFINITY;
    }
    return worst;
}

static void set_corruption(mert_encoder *m, const corruption *k, int channels)
{
    m->corruption = (mert_corruption){.mask = put(k->mask, ROWS),
                                      .replaced = k->replaced,
                                      .to = put_bytes(k->to, sizeof k->to),
                                      .from = put_bytes(k->from, sizeof k->from),
                                      .replaced_rows = put(k->replaced_rows, ROWS),
                                      .channels = channels ? put(k->channels, B * D) : NULL};
}

TEST(corruption_and_its_gradient)
{
    mert_config c = tiny();
    mert_weights w;
    mert_error e;
    for (int i = 1; i < 8; i++) {
        float *x = numbers(ROWS * D, 1), *dy = numbers(ROWS * D, 2), *before, *dx, *dw, *y = room(ROWS * D);
        mert_encoder *m;
        int64_t at;
        CHECK(!mert_weights_init(&w, &c, 3, &e));
        at = mert_layout_offset(&w.layout, "mask_emb");
        before = numbers(w.layout.size, 5);
        dw = put(before, w.layout.size);
        m = mert_encoder_new(&w.layout, ops, put(w.values, w.layout.size), dw, &e);
        CHECK(m);
        m->B = B;
        m->T = T;
        fill(&g.k, i & 1, i & 2, i & 4);
        g.channels = i & 4;
        g.x = wide(x, ROWS * D), g.dy = wide(dy, ROWS * D), g.e = wide(w.values + at, D), g.y = zeros(ROWS * D);
        set_corruption(m, &g.k, i & 4);
        CHECK(mert_corruption_any(m));
        mert_corruption_forward(m, put(x, ROWS * D), y);
        loss();
        CHECK_APART(get(y, ROWS * D), g.y, ROWS * D, 0);
        dx = room(ROWS * D);
        mert_corruption_backward(m, put(dy, ROWS * D), dx);
        CHECK_NEAR(gradient_off(g.x, get(dx, ROWS * D), NULL, ROWS * D), 0, 1e-6);
        CHECK_NEAR(gradient_off(g.e, get(dw + at, D), before + at, D), 0, 1e-5);
        mert_encoder_free(m);
        mert_weights_free(&w);
    }
}

/* ---- through the whole trainer ---- */

enum { L = 10 + 5 * (4 + 4 * (T - 1) - 1) };

static float audio[B * L];
static int32_t labels[2 * ROWS], source[ROWS];
static uint8_t mask[ROWS], channels[B * D];
static const int64_t items[B] = {0, 1, 2};

static mert_batch batch(int kind)
{
    mert_batch b = {.B = B, .L = L, .T = T, .K = 2, .clean = audio, .audio = audio, .labels = labels, .mask = mask,
                    .items = items};
    for (int i = 0; i < B * L; i++)
        audio[i] = (float)sin(0.05 * i * (1 + i / L) + 0.3 * (i % 7));
    for (int i = 0; i < ROWS; i++) {
        labels[i] = i % 5;
        labels[ROWS + i] = i * 3 % 4;
        mask[i] = i % 3 != 0;
        source[i] = !mask[i] ? i : i % 4 == 0 ? i : i % 4 == 1 ? ROWS - 1 - i : MERT_MASK_EMBEDDING;
    }
    for (int i = 0; i < B * D; i++)
        channels[i] = i % 6 == 2;
    b.source = kind & 1 ? source : NULL;
    b.channels = kind & 2 ? channels : NULL;
    return b;
}

/* The loss with the weights moved by h along `direction`; gradients (NULL: not needed) of the unchanged weights. */
static double trained_loss(const mert_weights *w, const float *direction, double h, int kind, float *gradients,
                           mert_sums *sums, int random_codebook)
{
    mert_objective_config o = {.features_pen_weight = 10, .logit_temperature = 0.1, .random_codebook = random_codebook};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    mert_forward_options options = {.training = 1, .feature_grad_mult = 1, .seed = 1, .update = 4};
    mert_weights moved = *w;
    mert_error e = {{0}};
    mert_batch b = batch(kind);
    mert_trainer *t;
    moved.values = malloc((size_t)w->layout.size * sizeof(float));
    for (int64_t i = 0; moved.values && i < w->layout.size; i++)
        moved.values[i] = w->values[i] + (float)(h * (direction ? direction[i] : 0));
    t = mert_trainer_new(&moved, ops, &o, &a, NULL, &e);
    memset(sums, 0, sizeof *sums);
    if (!t || mert_trainer_accumulate(t, &options, &b, sums, &e) || mert_trainer_settle(t, &e) ||
        (gradients && mert_trainer_get(t, &(mert_shards_arrays){.gradients = gradients}, 1, &e))) {
        printf("# %s\n", e.text);
        sums->loss = NAN;
    }
    mert_trainer_free(t);
    free(moved.values);
    return sums->loss;
}

/* A whole model in float32: accurate to some tenths of a percent. */
TEST(the_loss_moves_as_the_gradient_says)
{
    mert_config c = tiny();
    mert_weights w;
    mert_sums sums;
    mert_error e;
    double losses[4];
    CHECK(!mert_weights_init(&w, &c, 3, &e));
    for (int kind = 0; kind < 4; kind++) {
        float *gradients = keep((size_t)w.layout.size * sizeof *gradients);
        double length = 0, h = 1e-3, along, difference;
        losses[kind] = trained_loss(&w, NULL, 0, kind, gradients, &sums, 0);
        for (int64_t i = 0; i < w.layout.size; i++)
            length += (double)gradients[i] * gradients[i];
        CHECK(length > 1e-6);
        along = sqrt(length); /* in the direction of the gradient itself */
        for (int64_t i = 0; i < w.layout.size; i++)
            gradients[i] = (float)(gradients[i] / along);
        difference = (trained_loss(&w, gradients, h, kind, NULL, &sums, 0) -
                      trained_loss(&w, gradients, -h, kind, NULL, &sums, 0)) / (2 * h);
        CHECK_NEAR(difference / along, 1, 0.01);
    }
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i; j++)
            CHECK(fabs(losses[i] - losses[j]) > 1e-3); /* each of them has an effect */
    mert_weights_free(&w);
}

TEST(a_random_codebook_has_all_of_the_loss)
{
    mert_config c = tiny();
    mert_weights w;
    mert_sums all, one;
    mert_error e;
    CHECK(!mert_weights_init(&w, &c, 3, &e));
    trained_loss(&w, NULL, 0, 0, NULL, &all, 0);
    trained_loss(&w, NULL, 0, 0, NULL, &one, 1);
    CHECK(all.counted[0] == all.masked && all.counted[1] == all.masked && all.ce[0] > 0 && all.ce[1] > 0);
    CHECK(one.counted[0] + one.counted[1] == all.masked && (one.ce[0] == 0) != (one.ce[1] == 0));
    CHECK(one.ce[0] == 0 || one.ce[0] == all.ce[0]);
    CHECK(one.ce[1] == 0 || one.ce[1] == all.ce[1]);
    mert_weights_free(&w);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(corruption_and_its_gradient), NN_TEST(the_loss_moves_as_the_gradient_says),
                                    NN_TEST(a_random_codebook_has_all_of_the_loss)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
