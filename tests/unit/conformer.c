/* The Conformer for training: the reference vectors' hidden states; every parameter's gradient against differences of
 * the same model in double precision, with dropouts, LayerDrop, masks, both front ends; what is kept for the backward
 * pass changes nothing; on the CPU and on the guard backend, all results with the same bytes. */
#include "tests/unit/nn.h"

#include "tests/unit/conformer_reference.h"

#include "formats/npy.h"

/* ---- golden vectors ---- */

static float *golden_array(const char *name, const char *file, int64_t shape[4])
{
    char path[64];
    mert_error e;
    mert_npy a;
    float *x;
    snprintf(path, sizeof path, "%s/%s", name, file);
    if (mert_npy_open(&a, test_golden(path), &e))
        return NULL;
    memcpy(shape, a.shape, 4 * sizeof *shape);
    x = mert_npy_floats(&a, &e);
    mert_npy_close(&a);
    return x;
}

/* Hidden states as they come: downloaded one after the other. */
typedef struct arrivals { float *to; int64_t n; } arrivals;

static int state_arrives(void *self, int layer, const mert_element *y)
{
    arrivals *s = self;
    ops->download(ops, s->to + layer * s->n, y, (size_t)s->n * sizeof *s->to);
    return 0;
}

static double golden_off(const char *name, int in_double)
{
    mert_weights w;
    mert_error e;
    int64_t mel_shape[4], shape[4], n, all;
    float *mel = golden_array(name, "mel.npy", mel_shape), *hidden = golden_array(name, "hidden.npy", shape), *got;
    double off;
    if (!mel || !hidden || mert_weights_load(&w, test_golden(name), 0, &e))
        return INFINITY;
    n = shape[1] * shape[2];
    all = n * shape[0];
    got = keep((size_t)all * sizeof *got);
    if (in_double) {
        double *states[8] = {0};
        reference r = {.l = &w.layout, .w = wide(w.values, w.layout.size), .B = 1, .L = mel_shape[0],
                       .x = wide(mel, mel_shape[0] * mel_shape[1]), .hidden = states};
        r_run(&r);
        for (int64_t i = 0; i < all; i++)
            got[i] = (float)states[i / n][i % n];
        for (int i = 0; i < shape[0]; i++)
            free(states[i]);
    } else {
        mert_encoder *m = mert_encoder_new(&w.layout, ops, put(w.values, w.layout.size), NULL, &e);
        arrivals s = {got, n};
        mert_layer_tap tap = {state_arrives, &s};
        mert_forward_options o = {0};
        if (!m || !mert_encoder_forward(m, &o, 1, mel_shape[0], 0, put(mel, mel_shape[0] * mel_shape[1]), NULL, NULL,
                                        &tap, &e) || ops->wait(ops, &e))
            return INFINITY;
        mert_encoder_free(m);
        for (int64_t i = 0; i < all; i++)
            nn_digest = nn_digest * 31 + (uint64_t)(int64_t)(got[i] * 1e6);
    }
    off = apart(got, wide(hidden, all), all);
    free(mel);
    free(hidden);
    mert_weights_free(&w);
    return off;
}

TEST(hidden_states)
{
    CHECK(nn_again || golden_off("mert2-small", 1) < 1e-6);
    CHECK(golden_off("mert2-small", 0) < 5e-6);
}

/* ---- gradients ---- */

enum { B = 2, LAYERS = 3 };

typedef struct kind {
    const char *name;
    int waveform, layer_norm;
    double dropout, layerdrop;
    int64_t cut; /* frames at the end that do not take part */
    int masks;
} kind;

static const kind kinds[] = {{"mel", 0, 0, 0, 0, 0, 1},
                             {"mel, dropouts", 0, 0, 0.2, 0.4, 1, 1},
                             {"waveform", 1, 0, 0, 0, 0, 0},
                             {"waveform, dropouts", 1, 1, 0.2, 0.4, 2, 1}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static mert_config config(const kind *k)
{
    mert_config c = mert_config_mert2();
    c.width = 12, c.layers = LAYERS, c.heads = 3, c.ffn = 20;
    c.conformer = (mert_conformer_config){
        .n_fft = 32, .win_length = 32, .hop = 8, .mels = 6, .stages = 3, .subsampler_kernel = 3,
        .stage = {{6, 1, 1}, {8, 2, 2}, {12, 1, 2}}, .kernel = 5, .subsampler_eps = 1e-6, .rotary_base = 100};
    c.codebooks = 1, c.classes[0] = 2, c.final_dim = 4; /* for a mask vector */
    if (k->waveform) {
        c.convs = 2;
        c.conv[0].dim = 5, c.conv[0].kernel = 4, c.conv[0].stride = 2;
        c.conv[1].dim = 6, c.conv[1].kernel = 3, c.conv[1].stride = 2;
        c.extractor_layer_norm = c.conv_bias = k->layer_norm;
    }
    return c;
}

/* Weights and inputs of one kind, and the loss: the sum of dy y over the last hidden state, plus pen times the mean of
 * the extractor's squares. */
static struct {
    mert_weights w;
    mert_forward_options options;
    int64_t L, T0, T, n;
    float *x, *dy, *mask;
    double *weights, pen;
} g;

static void make(const kind *k)
{
    mert_config c = config(k);
    mert_error e;
    int64_t t;
    if (mert_weights_allocate(&g.w, &c, &e))
        abort();
    for (int i = 0; i < g.w.layout.count; i++) { /* large enough that everything bends */
        const mert_parameter *p = &g.w.layout.parameters[i];
        const float *v = numbers(p->n, (uint32_t)i + 1);
        int gain = p->ndim == 1 && strstr(p->name, "weight");
        for (int64_t j = 0; j < p->n; j++)
            g.w.values[p->offset + j] = (gain ? 1 : 0) + v[j] * 0.25f;
    }
    g.L = k->waveform ? 91 : 23;
    g.T0 = k->waveform ? ((g.L - 4) / 2 + 1 - 3) / 2 + 1 : g.L;
    t = ((g.T0 - 2) / 2 + 1 - 2) / 2 + 1;
    g.T = t - k->cut;
    g.n = B * g.T * c.width;
    g.x = numbers(B * g.L * (k->waveform ? 1 : 6), 1000);
    g.dy = numbers(g.n, 1001);
    g.mask = keep((size_t)(B * g.T0) * sizeof *g.mask);
    for (int64_t i = 0; k->masks && i < B * g.T0; i++)
        g.mask[i] = i % 7 > 3;
    g.weights = wide(g.w.values, g.w.layout.size);
    g.pen = k->waveform ? 3 : 0;
    g.options = (mert_forward_options){.training = 1, .dropout = k->dropout, .attention_dropout = k->dropout,
                                       .activation_dropout = k->dropout, .input_dropout = k->dropout,
                                       .layerdrop = k->layerdrop, .feature_grad_mult = 1, .seed = 9, .update = 2};
}

static double loss(const kind *k)
{
    double *states[LAYERS + 1], sum = 0;
    int64_t nx = B * g.L * (k->waveform ? 1 : 6);
    double *x = r_new(nx);
    reference r = {.l = &g.w.layout, .w = g.weights, .options = g.options, .B = B, .L = g.L, .T = g.T, .x = x,
                   .mask = k->masks ? g.mask : NULL, .hidden = states};
    for (int64_t i = 0; i < nx; i++)
        x[i] = g.x[i];
    r_run(&r);
    for (int64_t i = 0; i < g.n; i++)
        sum += g.dy[i] * states[LAYERS][i];
    for (int i = 0; i <= LAYERS; i++)
        free(states[i]);
    free(x);
    return sum + (k->waveform ? g.pen * r.squares / (double)(B * g.T0 * 6) : 0);
}

/* Floats as elements of the backend under test. */
static mert_element *elements(const float *x, int64_t n)
{
    mert_element *to = room_bytes(mert_element_bytes(ops, n));
    mert_to_elements(ops, .to = to, .from = put(x, n), .n = n);
    return to;
}

/* The gradients of the weights as the encoder computes them; y (NULL: not wanted): the last hidden state. */
static float *gradients(const kind *k, const mert_forward_options *o, float **y, size_t *memory)
{
    mert_error e = {{0}};
    int64_t size = g.w.layout.size;
    float *dw = room(size);
    mert_encoder *m = mert_encoder_new(&g.w.layout, ops, put(g.w.values, size), dw, &e);
    mert_corruption corruption = {.mask = k->masks ? put(g.mask, B * g.T0) : NULL};
    const mert_element *last;
    float *out;
    mert_clear(ops, .to = dw, .bytes = (size_t)size * sizeof *dw);
    if (!m || !(last = mert_encoder_forward(m, o, B, g.L, g.T, elements(g.x, B * g.L * (k->waveform ? 1 : 6)),
                                            &corruption, NULL, NULL, &e))) {
        printf("# %s\n", e.text);
        return NULL;
    }
    if (y) {
        float *full = room(g.n);
        mert_to_floats(ops, .to = full, .from = last, .n = g.n);
        *y = get(full, g.n);
    }
    if (mert_encoder_backward(m, elements(g.dy, g.n), g.pen, &e)) {
        printf("# %s\n", e.text);
        return NULL;
    }
    out = get(dw, size);
    if (memory)
        *memory = mert_encoder_memory(m);
    mert_encoder_free(m);
    return out;
}

/* Of each parameter: along a random direction, and (small ones) along the gradient's own largest element. */
static double parameter_off(const kind *k, const mert_parameter *p, const float *dw)
{
    const float *direction = numbers(p->n, 77);
    double *w = g.weights + p->offset, h = 1e-5, along = 0, length = 0, norm = 0, value[2], worst;
    double *before = r_new(p->n);
    int64_t top = 0;
    memcpy(before, w, (size_t)p->n * sizeof *w);
    for (int64_t i = 0; i < p->n; i++) {
        double v = dw[p->offset + i];
        along += v * direction[i];
        length += direction[i] * direction[i];
        norm += v * v;
        top = fabs(v) > fabs(dw[p->offset + top]) ? i : top;
    }
    for (int side = 0; side < 2; side++) {
        for (int64_t i = 0; i < p->n; i++)
            w[i] = before[i] + (side ? -h : h) * direction[i];
        value[side] = loss(k);
    }
    worst = fabs(along - (value[0] - value[1]) / (2 * h)) / sqrt(length);
    memcpy(w, before, (size_t)p->n * sizeof *w);
    for (int side = 0; side < 2; side++) {
        w[top] = before[top] + (side ? -h : h);
        value[side] = loss(k);
    }
    memcpy(w, before, (size_t)p->n * sizeof *w);
    free(before);
    worst = fmax(worst, fabs(dw[p->offset + top] - (value[0] - value[1]) / (2 * h)));
    return worst / fmax(sqrt(norm), 0.05);
}

TEST(gradients)
{
    for (int i = 0; i < KINDS; i++) {
        const kind *k = &kinds[i];
        float *y, *dw;
        make(k);
        dw = gradients(k, &g.options, &y, NULL);
        CHECK(dw);
        for (int j = 0; j < g.w.layout.count && !nn_again; j++) {
            const mert_parameter *p = &g.w.layout.parameters[j];
            int unused = p->offset < g.w.layout.constants ||
                         (p->training_only && (!k->masks || strcmp(p->name, "mask_emb")));
            double off = unused ? 0 : parameter_off(k, p, dw);
            for (int64_t n = 0; unused && n < p->n; n++)
                CHECK(dw[p->offset + n] == 0);
            if (off > 3e-5)
                printf("# %s: %s\n", k->name, p->name);
            CHECK_NEAR(off, 0, 3e-5);
        }
        mert_weights_free(&g.w);
        forget();
    }
}

static double apart_by_norm(const float *x, const float *y, int64_t n)
{
    double off = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        off += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        norm += (double)y[i] * y[i];
    }
    return off == off ? sqrt(off / norm) : INFINITY;
}

/* What is kept, and what is made again, give the same gradients; rounded to bfloat16 they are a little off. */
TEST(recompute_and_narrow)
{
    for (int i = 0; i < KINDS; i++) {
        const kind *k = &kinds[i];
        mert_forward_options o;
        float *dw, *again, *narrow;
        size_t memory[3];
        make(k);
        o = g.options;
        dw = gradients(k, &o, NULL, &memory[0]);
        o.recompute = 1;
        again = gradients(k, &o, NULL, &memory[1]);
        o.recompute = 0;
        o.narrow = 1;
        narrow = gradients(k, &o, NULL, &memory[2]);
        CHECK(dw && again && narrow);
        CHECK(!memcmp(dw, again, (size_t)g.w.layout.size * sizeof *dw));
        CHECK(memcmp(dw, narrow, (size_t)g.w.layout.size * sizeof *dw));
        CHECK_NEAR(apart_by_norm(narrow, dw, g.w.layout.size), 0, 0x1p-6);
        CHECK(memory[1] < memory[0] && memory[2] < memory[0]);
        o.recompute = 1;
        CHECK(gradients(k, &o, NULL, NULL));
        mert_weights_free(&g.w);
        forget();
    }
}

/* Elements of 16 bits: every stored number is off by a unit at most, some dozens of them in a row, at random. */
TEST(elements_of_16_bits)
{
    mert_ops *tested = ops;
    int guarded = !strcmp(ops->name, "guard");
    for (int i = 0; i < 2 * KINDS && !test_bad; i++) {
        const kind *k = &kinds[i / 2];
        double unit = i % 2 ? 0x1p-11 : 0x1p-8;
        float *y, *dw, *half_y, *half_dw;
        mert_ops *half = mert_ops_cpu_of(i % 2 ? MERT_ELEMENT_F16 : MERT_ELEMENT_BF16);
        make(k);
        ops = half = guarded ? mert_ops_guard(half) : half;
        half_dw = gradients(k, &g.options, &half_y, NULL);
        for (int j = 0; j < nn_devices; j++)
            ops->release(ops, nn_device[j]);
        nn_devices = 0;
        half->close(half);
        ops = tested;
        dw = gradients(k, &g.options, &y, NULL);
        CHECK(dw && half_dw);
        CHECK_NEAR(apart_by_norm(half_y, y, g.n), 0, 8 * unit);
        CHECK_NEAR(apart_by_norm(half_dw, dw, g.w.layout.size), 0, 64 * unit);
        mert_weights_free(&g.w);
        forget();
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(hidden_states), NN_TEST(gradients), NN_TEST(recompute_and_narrow),
                                    NN_TEST(elements_of_16_bits)};
    (void)argc;
    (void)argv;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    return test_done();
}
