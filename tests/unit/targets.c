/* The forms of the CQT target, magnitude, log and log-power, plain and standardised: what is prepared for the masked
 * frames, the loss and its gradients, against the definitions in double. On the CPU and on the guard backend. */
#include "tests/unit/nn.h"

#include "libcommon/dsp/cqt.h"
#include "libcommon/models/weights/parameter_groups.h"
#include "libcommon/train/objective.h"
#include "libcommon/train/prepared.h"

enum { CLIPS = 2, L = 9000, BINS = 14, WIDTH = 16, FRAMES_MAX = 128 };

static mert_config config(mert_cqt_target form, double mean, double std)
{
    mert_config c = mert_config_95m();
    c.sample_rate = 16000;
    c.convs = 2;
    c.conv[0].dim = c.conv[1].dim = 8;
    c.conv[0].kernel = c.conv[0].stride = 8, c.conv[1].kernel = c.conv[1].stride = 20; /* 160 samples per frame */
    c.width = WIDTH, c.layers = 2, c.heads = 2, c.ffn = 24, c.pos_kernel = 4, c.pos_groups = 2;
    c.codebooks = 1, c.classes[0] = 5, c.special_rows = 4, c.final_dim = 6;
    c.cqt_target_bins = BINS;
    c.cqt_target_form = form, c.cqt_target_mean = mean, c.cqt_target_std = std;
    return c;
}

/* Tones that begin and end, loud and soft. */
static float *sound(void)
{
    float *x = numbers(CLIPS * L, 7);
    for (int i = 0; i < CLIPS * L; i++) {
        double t = i % L / 16000.0;
        x[i] = 1e-4f * x[i] + (t > 0.1 && t < 0.4 ? 0.5f : 0.01f) * 
                             sinf((float)(6.283185307 * (130.8 + 260 * (i / L)) * t));
    }
    return x;
}

/* (form(|Y|) - mean) / std of clip `clip`, in double: [T, BINS]. */
static double *by_definition(const mert_config *c, const float *audio, int64_t T)
{
    mert_cqt_config q = {c->sample_rate, mert_config_stride(c), BINS, BINS / 7, 32.7, MERT_CQT_MAGNITUDE, 0, 0};
    float *magnitude = keep((size_t)(T * BINS) * sizeof *magnitude);
    double *y = zeros(T * BINS);
    mert_error e;
    test_bad |= mert_cqt_direct(&q, audio, L, 0, T, magnitude, &e);
    for (int64_t i = 0; i < T * BINS; i++) {
        double m = magnitude[i];
        y[i] = c->cqt_target_form == MERT_TARGET_LOG         ? log(m + 1e-5)
               : c->cqt_target_form == MERT_TARGET_LOG_POWER ? log10(1 + 10000 * m * m)
                                                             : m;
        if (c->cqt_target_std != 0)
            y[i] = (y[i] - c->cqt_target_mean) / c->cqt_target_std;
    }
    return y;
}

static mert_batch batch(const mert_config *c, const float *audio)
{
    static const int64_t items[CLIPS] = {0, 1};
    int64_t T = mert_config_frames(c, L);
    int32_t *labels = keep((size_t)(CLIPS * T) * sizeof *labels);
    uint8_t *mask = keep((size_t)(CLIPS * T));
    for (int64_t i = 0; i < CLIPS * T; i++)
        mask[i] = i % 3 != 0, labels[i] = (int32_t)(i % 5);
    return (mert_batch){.B = CLIPS, .L = L, .T = T, .K = 1, .clean = audio, .audio = audio, .labels = labels,
                        .mask = mask, .items = items};
}

static const float *floats_at(const mert_prepared *p, size_t at)
{
    return (const float *)(const void *)(p->block + at);
}

static const int32_t *rows_of(const mert_prepared *p)
{
    return (const int32_t *)(const void *)(p->block + p->rows);
}

/* The regression's loss and gradients of `hidden` [rows, WIDTH] by the objective, compared with doubles. */
static void check_loss(mert_weights *w, const mert_prepared *p, const double *target, int64_t rows)
{
    const mert_parameter *weight = mert_layout_find(&w->layout, "encoder_cqt_model.fc.weight");
    const mert_parameter *bias = mert_layout_find(&w->layout, "encoder_cqt_model.fc.bias");
    mert_objective_config config = {.cqt_weight = 0.7, .logit_temperature = 0.1};
    const float *hidden = numbers(rows * WIDTH, 3), *values = w->values;
    float *device = put(w->values, w->layout.size), *gradients = put_bytes(keep((size_t)w->layout.size * 4),
                                                                          (size_t)w->layout.size * 4);
    mert_element *dhidden = (mert_element *)put_bytes(keep((size_t)(rows * WIDTH) * 4), (size_t)(rows * WIDTH) * 4);
    char *block = put_bytes(p->block, p->bytes);
    double loss = 0, *dw = zeros(BINS * WIDTH), *db = zeros(BINS), *dx = zeros(rows * WIDTH), *sums;
    mert_groups parts;
    mert_objective o;
    mert_error e;
    mert_chosen m = {.S = p->S, .rows = (const int32_t *)(const void *)(block + p->rows),
                     .targets = (const int32_t *)(const void *)(block + p->targets),
                     .cqt = (const float *)(const void *)(block + p->cqt)};
    for (int64_t s = 0; s < p->S; s++)
        for (int64_t b = 0; b < BINS; b++) {
            int64_t row = rows_of(p)[s];
            double off = values[bias->offset + b] - target[row * BINS + b], factor;
            for (int64_t d = 0; d < WIDTH; d++)
                off += (double)values[weight->offset + b * WIDTH + d] * hidden[row * WIDTH + d];
            loss += off * off;
            factor = 2 * 0.7 / BINS * off; /* S times the mean over S and BINS */
            db[b] += factor;
            for (int64_t d = 0; d < WIDTH; d++) {
                dw[b * WIDTH + d] += factor * hidden[row * WIDTH + d];
                dx[row * WIDTH + d] += factor * values[weight->offset + b * WIDTH + d];
            }
        }
    CHECK(!mert_groups_make(&parts, &w->layout, device, gradients, &e));
    CHECK(!mert_objective_open(&o, &w->layout, ops, &parts, &config, &e));
    mert_clear(ops, .to = o.sums, .bytes = MERT_OBJECTIVE_SUMS * sizeof *o.sums);
    CHECK(!mert_objective_run(&o, &m, (double)p->S, (const mert_element *)put(hidden, rows * WIDTH), dhidden, &e));
    sums = get_bytes(o.sums, MERT_OBJECTIVE_SUMS * sizeof *sums);
    CHECK_NEAR(sums[MERT_OBJECTIVE_CQT], loss, 1e-3 * loss);
    CHECK_APART(get(gradients + weight->offset, BINS * WIDTH), dw, BINS * WIDTH, 1e-3);
    CHECK_APART(get(gradients + bias->offset, BINS), db, BINS, 1e-3);
    CHECK_APART(get((const float *)(const void *)dhidden, rows * WIDTH), dx, rows * WIDTH, 1e-3);
    mert_objective_close(&o), mert_groups_free(&parts);
}

/* tolerance: of the targets; the transform's own error is 2e-5 of the largest magnitude. */
static void one(mert_cqt_target form, double mean, double std, double tolerance)
{
    mert_config c = config(form, mean, std);
    mert_weights w;
    mert_error e = {{0}};
    const float *audio = sound();
    mert_prepared p = {0};
    mert_preparer *preparer;
    mert_batch b;
    double *target;
    CHECK(!mert_config_check(&c, &e) && !mert_weights_init(&w, &c, 3, &e));
    b = batch(&c, audio);
    target = zeros(CLIPS * b.T * BINS);
    for (int i = 0; i < CLIPS; i++)
        memcpy(target + i * b.T * BINS, by_definition(&c, audio + i * L, b.T), (size_t)(b.T * BINS) * sizeof *target);
    preparer = mert_preparer_new(&w, 0, ops, &e);
    CHECK(preparer && !mert_prepare(preparer, &b, 1, &p, &e) && p.S > 30);
    for (int64_t s = 0; s < p.S; s++)
        for (int k = 0; k < BINS; k++)
            CHECK_NEAR(floats_at(&p, p.cqt)[s * BINS + k], target[rows_of(&p)[s] * BINS + k], tolerance);
    check_loss(&w, &p, target, CLIPS * b.T);
    mert_prepared_free(&p), mert_preparer_free(preparer), mert_weights_free(&w);
}

TEST(magnitudes) { one(MERT_TARGET_MAGNITUDE, 0, 0, 2e-4); }
TEST(logarithms) { one(MERT_TARGET_LOG, 0, 0, 0.1); }
TEST(log_power) { one(MERT_TARGET_LOG_POWER, 0, 0, 43.5 * 2e-4); }
TEST(standardised_magnitudes) { one(MERT_TARGET_MAGNITUDE, 0.4, 1.7, 2e-4 / 1.7); }
TEST(standardised_log_power) { one(MERT_TARGET_LOG_POWER, 2.1, 1.3, 43.5 * 2e-4 / 1.3); }
TEST(standardised_logarithms) { one(MERT_TARGET_LOG, -4.2, 2.5, 0.1 / 2.5); }

TEST(the_configuration_keeps_it)
{
    mert_config c = config(MERT_TARGET_LOG_POWER, 2.1, 1.3), back, plain = config(MERT_TARGET_MAGNITUDE, 0, 0);
    char *text = mert_config_to_hf(&c), *plain_text = mert_config_to_hf(&plain), *at;
    mert_error e;
    mert_json *j = mert_json_parse(text, strlen(text), "config.json", &e), *p;
    CHECK(j && !mert_config_from_hf(&back, j, NULL, NULL, &e));
    CHECK(back.cqt_target_form == MERT_TARGET_LOG_POWER && back.cqt_target_mean == 2.1 && back.cqt_target_std == 1.3);
    CHECK(mert_cqt_target_same(&c, &back) && !mert_cqt_target_same(&plain, &back));
    CHECK(!strstr(plain_text, "cqt_target_form") && !strstr(plain_text, "cqt_target_std"));
    mert_json_free(j);
    at = strstr(text, "log-power");
    memcpy(at, "lug-power", 9);
    CHECK((p = mert_json_parse(text, strlen(text), "config.json", &e)) && mert_config_from_hf(&back, p, NULL, NULL, &e));
    CHECK(test_says(e.text, "cqt_target_form 'lug-power' is none of: magnitude log log-power"));
    mert_json_free(p);
    free(text), free(plain_text);
}

int main(void)
{
    static const nn_test tests[] = {NN_TEST(magnitudes),     NN_TEST(logarithms),
                                    NN_TEST(log_power),      NN_TEST(standardised_magnitudes),
                                    NN_TEST(standardised_log_power), NN_TEST(standardised_logarithms)};
    run_everywhere(tests, sizeof tests / sizeof *tests);
    RUN(the_configuration_keeps_it);
    return test_done();
}
