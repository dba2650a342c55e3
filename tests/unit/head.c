/* The head of a labelled task: alone, against differences of a version in double precision; on a transformer and on a
 * Conformer, whose loss moves as its gradient says; and what an update changes at which rate. */
#include "tests/unit/gradients.h"

#include "libcommon/probe/targets.h"
#include "libcommon/train/head.h"
#include "libcommon/train/rates.h"
#include "libcommon/train/trainer.h"

enum { B = 2, D = 6, LAYERS = 2, MOST_OUTPUTS = 4, L = 24 * 9 + 5 };

typedef struct kind {
    const char *name;
    int task, outputs, hidden, layer; /* layer -1: all */
    int conformer, pre_ln;
    double dropout;
} kind;

static mert_config config(const kind *k)
{
    mert_config c = k->conformer ? mert_config_mert2() : mert_config_95m();
    c.sample_rate = 2400, c.width = D, c.layers = LAYERS, c.heads = 3, c.ffn = 10;
    if (k->conformer)
        c.conformer = (mert_conformer_config){
            .n_fft = 32, .win_length = 24, .hop = 6, .mels = 6, .stages = 2, .subsampler_kernel = 3,
            .stage = {{6, 1, 2}, {D, 1, 2}}, .kernel = 5, .subsampler_eps = 1e-6, .rotary_base = 100,
            .initializer_range = 0.2};
    else {
        c.heads = 2, c.pos_kernel = 4, c.pos_groups = 2, c.pre_ln = k->pre_ln, c.convs = 2;
        c.conv[0].dim = 5, c.conv[0].kernel = 6, c.conv[0].stride = 4;
        c.conv[1].dim = 5, c.conv[1].kernel = 4, c.conv[1].stride = 4;
    }
    c.task_outputs = k->outputs, c.task_hidden = k->hidden, c.task_layers = k->layer < 0 ? LAYERS + 1 : 1;
    return c;
}

static mert_task_config task(const kind *k)
{
    return (mert_task_config){.kind = k->task, .layer = k->layer, .dropout = k->dropout, .layer_decay = 0.5,
                              .head_lr = 4, .extractor = 1};
}

/* ---- alone ---- */

static const kind alone[] = {
    {"classes", MERT_PROBE_CLASSIFY, 3, 0, -1, 0, 0, 0}, {"of one layer", MERT_PROBE_CLASSIFY, 4, 0, 1, 0, 0, 0},
    {"labels", MERT_PROBE_MULTILABEL, 3, 5, -1, 0, 0, 0}, {"numbers", MERT_PROBE_REGRESS, 2, 3, 2, 0, 0, 0}};
enum { ALONE = sizeof alone / sizeof *alone, T = 5, EXAMPLES = 3, SPANS = EXAMPLES };

/* The first clip has two examples that overlap, the second has one. */
static const int64_t first_of_clip[B + 1] = {0, 2, 3};
static const int spans[SPANS][2] = {{0, 3}, {2, 5}, {1, 4}};
static const double WEIGHT = 0.5;

static const kind *now;
static mert_layout layout;
static double *weights, *hidden[LAYERS + 1]; /* [layout.size], [B, T, D] */

static const double *of(const char *name)
{
    return weights + mert_layout_offset(&layout, "%s", name);
}

static int32_t label_of(int i, int c)
{
    return now->task == MERT_PROBE_CLASSIFY ? (i * 2 + 1) % now->outputs : (i + c) % 2;
}

static double number_of(int i, int c)
{
    return 0.3 * i - 0.7 * c + 0.2;
}

static double loss_of(const double *s, int i)
{
    double sum = 0, loss = 0;
    for (int c = 0; c < now->outputs; c++) {
        sum += exp(s[c]);
        loss += now->task == MERT_PROBE_REGRESS      ? 0.5 * pow(s[c] - number_of(i, c), 2)
                : now->task == MERT_PROBE_MULTILABEL ? log1p(exp(s[c])) - label_of(i, c) * s[c]
                                                     : 0;
    }
    return now->task == MERT_PROBE_CLASSIFY ? log(sum) - s[label_of(i, 0)] : loss;
}

static void product(const double *w, const double *b, const double *x, int in, int out, double *y)
{
    for (int o = 0; o < out; o++) {
        y[o] = b[o];
        for (int i = 0; i < in; i++)
            y[o] += w[o * in + i] * x[i];
    }
}

/* What an example is given by hidden state l. */
static void mean_of(int i, int l, double *x)
{
    int clip = i >= first_of_clip[1];
    for (int d = 0; d < D; d++) {
        x[d] = 0;
        for (int t = spans[i][0]; t < spans[i][1]; t++)
            x[d] += hidden[l][(clip * T + t) * D + d] / (spans[i][1] - spans[i][0]);
    }
}

static void scores_of(int i, double *s)
{
    int states = now->layer < 0 ? LAYERS + 1 : 1, H = now->hidden;
    double x[D] = {0}, h[D], act[8];
    for (int l = 0; l < states; l++) {
        mean_of(i, now->layer < 0 ? l : now->layer, h);
        for (int d = 0; d < D; d++)
            x[d] += (states > 1 ? of("task.mixture")[l] : 1) *
                    (h[d] * of("task.scale")[l * D + d] + of("task.shift")[l * D + d]);
    }
    if (H) {
        product(of("task.hidden.weight"), of("task.hidden.bias"), x, D, H, act);
        for (int k = 0; k < H; k++)
            act[k] = act[k] / 2 * (1 + erf(act[k] / sqrt(2)));
    }
    product(of("task.output.weight"), of("task.output.bias"), H ? act : x, H ? H : D, now->outputs, s);
}

static double exact_loss(void)
{
    double sum = 0, s[MOST_OUTPUTS];
    for (int i = 0; i < EXAMPLES; i++) {
        scores_of(i, s);
        sum += loss_of(s, i);
    }
    return WEIGHT * sum;
}

static mert_head_batch batch_alone(void)
{
    float share[EXAMPLES * T] = {0}, values[EXAMPLES * MOST_OUTPUTS];
    int32_t labels[EXAMPLES * MOST_OUTPUTS];
    int each = now->task == MERT_PROBE_CLASSIFY ? 1 : now->outputs;
    for (int i = 0; i < EXAMPLES; i++) {
        for (int t = spans[i][0]; t < spans[i][1]; t++)
            share[i * T + t] = 1.0f / (float)(spans[i][1] - spans[i][0]);
        for (int c = 0; c < each; c++) {
            labels[i * each + c] = label_of(i, c);
            values[i * each + c] = (float)number_of(i, c);
        }
    }
    mert_head_batch b = {.n = EXAMPLES, .B = B, .T = T, .first = first_of_clip, .share = put(share, EXAMPLES * T),
                         .labels = put_bytes(labels, sizeof labels), .numbers = put(values, EXAMPLES * MOST_OUTPUTS)};
    ops->wait(ops, NULL);
    return b;
}

static void check_alone(void)
{
    mert_task_config how = task(now);
    float *w = numbers(layout.size, 7), *device = put(w, layout.size), *g = room(layout.size), *states[LAYERS + 1];
    double *sums = room_bytes(2 * sizeof *sums), *back, exact = exact_loss() / WEIGHT, s[MOST_OUTPUTS];
    mert_head_batch b = batch_alone();
    mert_layer_tap tap;
    mert_gradient_tap gradient;
    mert_groups parts;
    mert_head h;
    mert_error e;
    float scores[EXAMPLES * MOST_OUTPUTS];
    mert_fill(ops, .to = g, .n = layout.size);
    mert_clear(ops, .to = sums, .bytes = 2 * sizeof *sums);
    CHECK(!mert_groups_make(&parts, &layout, device, g, &e));
    CHECK(!mert_head_open(&h, &layout, ops, &parts, &how, sums, &e) && !mert_head_begin(&h, &b, &tap, &e));
    CHECK(h.top == (now->layer < 0 ? LAYERS : now->layer));
    for (int l = 0; l <= LAYERS; l++) {
        states[l] = put(numbers(B * T * D, 20 + (uint32_t)l), B * T * D);
        CHECK(tap.give(tap.self, l, states[l]) == (l == h.top));
    }
    CHECK(!mert_head_run(&h, WEIGHT, 1, &e));
    back = get_bytes(sums, 2 * sizeof *sums);
    CHECK_NEAR(back[0] / (now->task == MERT_PROBE_REGRESS ? 2 : 1), exact, 1e-5 * exact);
    CHECK(!mert_head_scores(&h, scores, &e));
    for (int i = 0; i < EXAMPLES; i++) {
        scores_of(i, s);
        CHECK_APART(scores + i * now->outputs, s, now->outputs, 1e-5);
    }
    gradient = mert_head_gradient(&h);
    for (int l = 0; l <= LAYERS; l++) {
        const float *before = numbers(B * T * D, 40 + (uint32_t)l);
        float *dy = put(before, B * T * D);
        gradient.add(gradient.self, l, dy);
        CHECK_GRADIENT(exact_loss, hidden[l], get(dy, B * T * D), before, B * T * D);
    }
    for (int i = 0; i < layout.count; i++) {
        const mert_parameter *p = &layout.parameters[i];
        const float *of_p = get(g + p->offset, p->n);
        if (!strncmp(p->name, "task.", 5) && !strstr(p->name, "scale") && !strstr(p->name, "shift"))
            CHECK_GRADIENT(exact_loss, weights + p->offset, of_p, NULL, p->n);
        else
            for (int64_t j = 0; j < p->n; j++)
                CHECK(of_p[j] == 0);
    }
    mert_head_close(&h);
    mert_groups_free(&parts);
}

TEST(gradients_are_those_of_a_version_in_double_precision)
{
    for (int i = 0; i < ALONE; i++) {
        mert_config c = config(now = &alone[i]);
        mert_error e;
        CHECK(!mert_layout_make(&layout, &c, &e));
        weights = wide(numbers(layout.size, 7), layout.size);
        for (int l = 0; l <= LAYERS; l++)
            hidden[l] = wide(numbers(B * T * D, 20 + (uint32_t)l), B * T * D);
        check_alone();
        mert_layout_free(&layout);
        forget();
    }
}

/* ---- on a model ---- */

static const kind whole[] = {
    {"transformer", MERT_PROBE_CLASSIFY, 3, 0, -1, 0, 0, 0}, {"pre-LN", MERT_PROBE_MULTILABEL, 3, 5, -1, 0, 1, 0.2},
    {"pre-LN, layer 1", MERT_PROBE_REGRESS, 2, 0, 1, 0, 1, 0}, {"layer 0", MERT_PROBE_CLASSIFY, 3, 0, 0, 0, 0, 0.2},
    {"conformer", MERT_PROBE_CLASSIFY, 4, 0, -1, 1, 0, 0},
    {"conformer, layer 1", MERT_PROBE_REGRESS, 1, 4, 1, 1, 0, 0}};
enum { WHOLE = sizeof whole / sizeof *whole };

static float audio[B * L];
static int64_t clips[B + 1] = {0, 2, 3}, rows[EXAMPLES] = {0, 1, 2};
static int32_t from[EXAMPLES] = {0, 1, 1}, to[EXAMPLES], answers[EXAMPLES * MOST_OUTPUTS];
static float values[EXAMPLES * MOST_OUTPUTS];
static mert_examples examples;
static const int64_t items[B] = {0, 1};

static mert_batch batch(const mert_config *c)
{
    int64_t frames = mert_config_frames(c, L);
    int single = now->task == MERT_PROBE_CLASSIFY;
    for (int i = 0; i < B * L; i++)
        audio[i] = (float)sin(0.05 * i * (1 + i / L) + 0.3 * (i % 7));
    for (int i = 0; i < EXAMPLES; i++) {
        to[i] = (int32_t)frames - i;
        for (int k = 0; k < (single ? 1 : now->outputs); k++) {
            answers[i * (single ? 1 : now->outputs) + k] = label_of(i, k);
            values[i * now->outputs + k] = (float)number_of(i, k);
        }
    }
    examples = (mert_examples){.n = EXAMPLES, .first = clips, .row = rows, .from = from, .to = to,
                               .labels = now->task == MERT_PROBE_REGRESS ? NULL : answers,
                               .numbers = now->task == MERT_PROBE_REGRESS ? values : NULL,
                               .outputs = now->outputs, .single = single};
    return (mert_batch){.B = B, .L = L, .T = frames, .clean = audio, .audio = audio, .items = items,
                        .examples = &examples};
}

static mert_trainer *trainer(const mert_weights *w, mert_error *e)
{
    mert_objective_config o = {.task = task(now)};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-30, .weight_decay = 0.1};
    return mert_trainer_new(w, ops, &o, &a, NULL, e);
}

static mert_forward_options options(void)
{
    return (mert_forward_options){.training = 1, .feature_grad_mult = 1, .dropout = now->dropout,
                                  .attention_dropout = now->dropout, .activation_dropout = now->dropout, .seed = 1,
                                  .update = 4};
}

/* Loss of the weights moved by h along `direction`; gradients (NULL: not wanted) of the weights as they are. */
static double loss(const mert_weights *w, const float *direction, double h, float *gradients)
{
    mert_forward_options how = options();
    mert_weights moved = *w;
    mert_error e = {{0}};
    mert_batch b = batch(&w->layout.config);
    mert_sums sums = {0};
    mert_trainer *t;
    moved.values = keep((size_t)w->layout.size * sizeof(float));
    for (int64_t i = 0; i < w->layout.size; i++)
        moved.values[i] = w->values[i] + (float)(h * (direction ? direction[i] : 0));
    t = trainer(&moved, &e);
    if (!t || mert_trainer_accumulate(t, &how, &b, &sums, &e) || mert_trainer_settle(t, &e) ||
        (gradients && mert_trainer_get(t, &(mert_shards_arrays){.gradients = gradients}, 1, &e))) {
        printf("# %s: %s\n", now->name, e.text);
        sums.loss = NAN;
    }
    mert_trainer_free(t);
    if (sums.examples != EXAMPLES || sums.sample_size != EXAMPLES)
        return NAN;
    nn_digest = nn_digest * 31 + (uint64_t)(int64_t)(sums.loss * 1e6);
    return sums.loss;
}

static int is_above(const char *name, int top)
{
    int layer;
    return (sscanf(name, "encoder.layers.%d.", &layer) == 1 || sscanf(name, "layers.%d.", &layer) == 1) && layer >= top;
}

static double largest(const float *x, const mert_parameter *p)
{
    double most = 0;
    for (int64_t i = 0; i < p->n; i++)
        most = fmax(most, fabs((double)x[p->offset + i]));
    return most;
}

/* A model whose head already says something. */
static void make_model(mert_weights *w)
{
    mert_config c = config(now);
    mert_error e;
    const mert_parameter *p;
    CHECK(!mert_weights_init(w, &c, 3, &e));
    mert_head_reset(w);
    p = mert_layout_find(&w->layout, "task.output.weight");
    memcpy(w->values + p->offset, numbers(p->n, 5), (size_t)p->n * sizeof(float));
}

/* float32 and a whole model in between: some tenths of a percent. */
TEST(the_loss_moves_as_the_gradient_says)
{
    for (int i = 0; i < WHOLE; i++) {
        mert_weights w;
        float *gradients;
        double length = 0, h = 1e-3, along, moved;
        int top;
        now = &whole[i];
        top = now->layer < 0 ? LAYERS : now->layer;
        make_model(&w);
        gradients = keep((size_t)w.layout.size * sizeof *gradients);
        loss(&w, NULL, 0, gradients);
        for (int j = 0; j < w.layout.count; j++) {
            const mert_parameter *p = &w.layout.parameters[j];
            CHECK(!is_above(p->name, top) || largest(gradients, p) == 0);
            CHECK(strncmp(p->name, "task.output", 11) || largest(gradients, p) > 0);
            CHECK(!is_above(p->name, 0) || is_above(p->name, top) || !strstr(p->name, "norm") ||
                  largest(gradients, p) > 0);
        }
        for (int64_t j = 0; j < w.layout.size; j++)
            length += (double)gradients[j] * gradients[j];
        along = sqrt(length); /* in the direction of the gradient itself */
        for (int64_t j = 0; j < w.layout.size; j++)
            gradients[j] = (float)(gradients[j] / along);
        moved = (loss(&w, gradients, h, NULL) - loss(&w, gradients, -h, NULL)) / (2 * h);
        CHECK_NEAR(moved / along, 1, 0.01);
        mert_weights_free(&w);
        forget();
    }
}

/* ---- an update ---- */

/* The rate by which a parameter changes, as a multiple of lr. */
static double rate_of(const char *name, int frozen)
{
    int top = now->layer < 0 ? LAYERS : now->layer, layer;
    if (!strncmp(name, "task.", 5))
        return strstr(name, "scale") || strstr(name, "shift") ? 0 : 4;
    if (frozen || is_above(name, top) || !strcmp(name, "mask_emb"))
        return 0;
    if (sscanf(name, "encoder.layers.%d.", &layer) == 1 || sscanf(name, "layers.%d.", &layer) == 1)
        return pow(0.5, top - layer - 1);
    if (now->pre_ln && !strncmp(name, "encoder.layer_norm", 18))
        return top == LAYERS ? 1 : 0;
    return pow(0.5, top);
}

/* The first step of Adam is lr, up or down, wherever there is a gradient; weight decay adds a little. */
TEST(each_layer_has_its_own_rate)
{
    const double lr = 1e-4;
    for (int i = 0; i < 2 * WHOLE; i++) {
        int frozen = i % 2;
        mert_forward_options how;
        mert_weights w;
        mert_batch b;
        mert_trainer *t;
        mert_error e = {{0}};
        float *after;
        double norm;
        now = &whole[i / 2];
        how = options();
        make_model(&w);
        b = batch(&w.layout.config);
        after = keep((size_t)w.layout.size * sizeof *after);
        t = trainer(&w, &e);
        CHECK(t != NULL);
        mert_trainer_freeze(t, frozen);
        CHECK(!mert_trainer_accumulate(t, &how, &b, NULL, &e));
        CHECK(!mert_trainer_update(t, 1, lr, EXAMPLES, &norm, &e) && norm > 0);
        CHECK(!mert_trainer_get(t, &(mert_shards_arrays){.weights = after}, 1, &e));
        for (int j = 0; j < w.layout.count; j++) {
            const mert_parameter *p = &w.layout.parameters[j];
            double most = 0, rate = rate_of(p->name, frozen), size = largest(w.values, p);
            for (int64_t k = p->offset; k < p->offset + p->n; k++)
                most = fmax(most, fabs((double)after[k] - w.values[k]));
            if (p->offset < w.layout.constants || rate == 0)
                CHECK(most == 0);
            else
                CHECK(most <= 1.01 * rate * lr * (1 + 0.1 * size) + 1e-6 * size);
            if (rate > 0 && (!strcmp(p->name, "task.output.bias") || strstr(p->name, "norm.weight")))
                CHECK(most > 0.9 * rate * lr - 1e-6 * size);
        }
        mert_trainer_free(t);
        mert_weights_free(&w);
        forget();
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(gradients_are_those_of_a_version_in_double_precision),
                                    NN_TEST(the_loss_moves_as_the_gradient_says),
                                    NN_TEST(each_layer_has_its_own_rate)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
