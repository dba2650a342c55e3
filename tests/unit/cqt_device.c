/* The CQT target as a device computes it (train/cqt_device.h), against the definition in time (mert_cqt_direct) and the
 * host's transform: music, noise, tones, silence, in all forms; who computes it; and training with it, whose losses are
 * those of the host's. On the CPU and on the guard backend, which do not compute it unless they are asked to. */
#include "tests/unit/nn.h"
#include "tests/unit/signal.h"

#include "libcommon/train/cqt_device.h"
#include "libcommon/train/prepared.h"
#include "libcommon/train/targets.h"
#include "libcommon/train/trainer.h"

enum { CLIPS = 2 };

static mert_config config_of(int rate, int stride, int bins, mert_cqt_target form)
{
    mert_config c = mert_config_95m();
    c.sample_rate = rate;
    c.convs = 2;
    c.conv[0].dim = c.conv[1].dim = 8;
    c.conv[0].kernel = c.conv[0].stride = 5, c.conv[1].kernel = c.conv[1].stride = stride / 5;
    c.width = 16, c.layers = 2, c.heads = 2, c.ffn = 24, c.pos_kernel = 4, c.pos_groups = 2;
    c.codebooks = 1, c.classes[0] = 5, c.special_rows = 4, c.final_dim = 6;
    c.cqt_target_bins = bins;
    c.cqt_target_form = form;
    return c;
}

/* ---- against the definition ---- */

typedef enum sound { MUSIC, NOISE, SILENCE, TONE_ENDS, LOW_TONE, HIGH_TONE, OFFSET, SOUNDS } sound;

static float *clip_of(sound s, int rate, int64_t n)
{
    float *x = s == NOISE ? numbers(n, 5) : keep((size_t)n * sizeof *x), *music;
    for (int64_t i = 0; i < n; i++) {
        double at = 2 * 3.141592653589793 * (double)i / rate;
        switch (s) {
        case NOISE: x[i] *= 0.3f; break;
        case TONE_ENDS: x[i] = i < n / 2 ? (float)(0.9 * sin(440 * at)) : 0; break;
        case LOW_TONE: x[i] = i > n / 3 ? (float)(0.9 * sin(55 * at)) : 0; break;
        case HIGH_TONE: x[i] = (float)(0.5 * sin(0.3 * rate * at)); break;
        case OFFSET: x[i] = (float)(0.5 + 0.1 * sin(440 * at)); break;
        default: break;
        }
    }
    if (s == MUSIC) {
        music = signal_music(n, rate);
        memcpy(x, music, (size_t)n * sizeof *x);
        free(music);
    }
    return x;
}

typedef struct differences { double definition, host, largest; } differences;

/* The largest differences of chosen frames of two clips, one of which is the sound: from the definition, and from the
 * host's targets. Infinite: a NaN, or a failure. */
static differences difference(const mert_config *c, sound s, int64_t L, int64_t apart_by)
{
    mert_cqt_config q = mert_train_cqt(c);
    int64_t T = mert_config_frames(c, L), bins = c->cqt_target_bins, n = 0;
    float *audio = keep((size_t)(CLIPS * L) * sizeof *audio), *host = keep((size_t)(CLIPS * T * bins) * sizeof *host);
    float *want = keep((size_t)bins * sizeof *want), *got;
    const float *y = NULL;
    int32_t *chosen = keep((size_t)(CLIPS * T) * sizeof *chosen);
    mert_train_targets *targets;
    mert_cqt_device *t;
    mert_arena arena;
    mert_error e = {{0}};
    differences d = {0, 0, 0};
    memcpy(audio + L, clip_of(s, c->sample_rate, L), (size_t)L * sizeof *audio);
    for (int64_t i = 1; i < CLIPS * T; i += apart_by)
        chosen[n++] = (int32_t)(CLIPS * T - i);
    mert_arena_open(&arena, ops);
    targets = mert_train_targets_new(c, &e);
    t = mert_cqt_device_new(c, ops, &e);
    if (targets && t && !mert_train_targets_compute(targets, CLIPS, L, T, audio, host, NULL, &e))
        y = mert_cqt_device_run(t, &arena, CLIPS, L, T, n, put_bytes(chosen, (size_t)n * sizeof *chosen),
                                put(audio, CLIPS * L));
    if (!y)
        d.definition = INFINITY;
    got = y ? get(y, n * bins) : keep((size_t)(n * bins) * sizeof *got);
    for (int64_t r = 0; r < n; r++) {
        if (mert_cqt_direct(&q, audio + chosen[r] / T * L, L, chosen[r] % T, 1, want, &e))
            d.definition = INFINITY;
        for (int64_t k = 0; k < bins; k++) {
            double m = got[r * bins + k], a, b;
            m = c->cqt_target_std != 0 ? m * c->cqt_target_std + c->cqt_target_mean : m;
            a = fabs(m - want[k]), b = fabs(got[r * bins + k] - (double)host[chosen[r] * bins + k]);
            d.definition = a <= d.definition ? d.definition : a != a ? INFINITY : a;
            d.host = b <= d.host ? d.host : b != b ? INFINITY : b;
            d.largest = fmax(d.largest, fabs(want[k]));
        }
    }
    mert_arena_close(&arena);
    mert_cqt_device_free(t);
    mert_train_targets_free(targets);
    return d;
}

static void magnitudes(mert_config c, sound s, int64_t L, int64_t apart_by)
{
    differences d = difference(&c, s, L, apart_by);
    if (!(d.definition <= 2e-6 * d.largest + 4e-6 && d.host <= 2.2e-5 * d.largest + 8e-6))
        printf("# sound %d: %g from the definition, %g from the host, largest %g\n", (int)s, d.definition, d.host,
               d.largest);
    CHECK(d.definition <= 2e-6 * d.largest + 4e-6 && d.host <= 2.2e-5 * d.largest + 8e-6);
}

TEST(magnitudes_of_all_sounds)
{
    for (int s = 0; s < SOUNDS; s++)
        magnitudes(config_of(16000, 320, 84, MERT_TARGET_MAGNITUDE), (sound)s, 9000, 7);
}

/* As published: 336 bins at four levels. */
TEST(magnitudes_of_the_published_models)
{
    magnitudes(config_of(24000, 320, 336, MERT_TARGET_MAGNITUDE), MUSIC, 60000, 83);
}

/* Hops that allow four levels, two, and one, clips that are shorter than most kernels. */
TEST(magnitudes_at_other_hops)
{
    magnitudes(config_of(16000, 640, 84, MERT_TARGET_MAGNITUDE), MUSIC, 8000, 5);
    magnitudes(config_of(16000, 160, 84, MERT_TARGET_MAGNITUDE), MUSIC, 1700, 3);
    magnitudes(config_of(24000, 300, 42, MERT_TARGET_MAGNITUDE), MUSIC, 6001, 5);
    magnitudes(config_of(16000, 325, 14, MERT_TARGET_MAGNITUDE), MUSIC, 6001, 9);
}

/* The host's own bound is 0.1 (dsp/cqt.h). */
TEST(logarithms_of_all_sounds)
{
    for (int s = 0; s < SOUNDS; s++) {
        mert_config c = config_of(16000, 320, 84, MERT_TARGET_LOG);
        differences d = difference(&c, (sound)s, 9000, 11);
        if (!(d.definition <= 0.01 && d.host <= 0.11))
            printf("# sound %d: %g from the definition, %g from the host\n", s, d.definition, d.host);
        CHECK(d.definition <= 0.01 && d.host <= 0.11);
    }
}

TEST(log_power_of_all_sounds)
{
    for (int s = 0; s < SOUNDS; s++) {
        mert_config c = config_of(16000, 320, 84, MERT_TARGET_LOG_POWER), plain = c;
        double largest;
        plain.cqt_target_form = MERT_TARGET_MAGNITUDE;
        largest = difference(&plain, (sound)s, 9000, 29).largest;
        CHECK(difference(&c, (sound)s, 9000, 29).definition <= 43.5 * (2e-6 * largest + 4e-6));
    }
}

TEST(standardised)
{
    mert_config c = config_of(16000, 320, 84, MERT_TARGET_LOG_POWER);
    c.cqt_target_mean = 2.1, c.cqt_target_std = 1.3;
    CHECK(difference(&c, MUSIC, 12000, 29).definition <= 43.5 * 2e-5);
}

/* ---- who computes it ---- */

/* With a backend that wants it, the prepared batch has no CQT target, unless the hop is odd. */
TEST(what_is_prepared)
{
    static const struct { int stride, bins, wanted, later; } cases[] = {
        {320, 84, 1, 1}, {320, 84, 0, 0}, {320, 0, 1, 0}, {5 * 63, 336, 1, 0}, {5 * 63, 14, 1, 1}, {960, 336, 1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mert_ops *dry = mert_ops_dry(NULL);
        mert_config c = config_of(24000, cases[i].stride, cases[i].bins, MERT_TARGET_MAGNITUDE);
        int64_t L = 8 * cases[i].stride, T = mert_config_frames(&c, L), items[1] = {0};
        float *audio = numbers(L, 1);
        int32_t *labels = keep((size_t)T * sizeof *labels);
        uint8_t *mask = keep((size_t)T);
        mert_batch b = {.B = 1, .L = L, .T = T, .K = 1, .clean = audio, .audio = audio, .labels = labels, .mask = mask,
                        .items = items};
        mert_prepared p = {0};
        mert_preparer *preparer;
        mert_weights w;
        mert_error e = {{0}};
        memset(mask, 1, (size_t)T);
        dry->cqt = cases[i].wanted;
        CHECK(!mert_weights_init(&w, &c, 1, &e));
        preparer = mert_preparer_new(&w, 0, dry, &e);
        CHECK(preparer && !mert_prepare(preparer, &b, 1, &p, &e) && p.cqt_later == cases[i].later);
        CHECK((mert_cqt_device_work(&c, dry) > 0) == cases[i].later);
        CHECK((p.mask - p.cqt >= (size_t)T * 4 * (size_t)cases[i].bins) == !cases[i].later);
        mert_prepared_free(&p), mert_preparer_free(preparer), mert_weights_free(&w);
        dry->close(dry);
    }
}

/* 287 thousand complex multiplications a frame for the published models, a tenth more for lanes that are not full. */
TEST(work_of_the_published_models)
{
    mert_config c = config_of(24000, 320, 336, MERT_TARGET_MAGNITUDE);
    mert_ops *dry = mert_ops_dry(NULL);
    double work = mert_cqt_device_work(&c, dry);
    CHECK(work > 4 * 287e3 && work < 4 * 345e3);
    dry->close(dry);
}

/* ---- training ---- */

/* Sums of two batches, the first of which has other clean audio than the model hears, and of one without a backward
 * pass. on: NULL: the CPU, whose host computes the target. */
static void train(mert_ops *on, mert_cqt_target form, double error[3], double loss[3])
{
    mert_ops *as = on ? on : mert_ops_cpu();
    mert_config c = config_of(16000, 320, 84, form);
    int64_t L = 16000, T = mert_config_frames(&c, L), items[CLIPS] = {0, 1};
    float *clean = keep((size_t)(CLIPS * L) * sizeof *clean), *mixed = numbers(CLIPS * L, 8);
    int32_t *labels = keep((size_t)(CLIPS * T) * sizeof *labels);
    uint8_t *mask = keep((size_t)(CLIPS * T));
    mert_batch b = {.B = CLIPS, .L = L, .T = T, .K = 1, .clean = clean, .audio = mixed, .labels = labels,
                    .mask = mask, .items = items};
    mert_objective_config o = {.features_pen_weight = 10, .cqt_weight = 1, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .clip_norm = 10};
    mert_forward_options how = {.feature_grad_mult = 0.1, .seed = 1};
    mert_sums sums[3] = {{0}};
    mert_weights w;
    mert_trainer *t;
    mert_error e = {{0}};
    double norm;
    for (int i = 0; i < CLIPS; i++)
        memcpy(clean + i * L, clip_of(i ? TONE_ENDS : MUSIC, 16000, L), (size_t)L * sizeof *clean);
    for (int64_t i = 0; i < CLIPS * L; i++)
        mixed[i] = clean[i] + 0.3f * mixed[i];
    for (int64_t i = 0; i < CLIPS * T; i++)
        mask[i] = i % 4 != 0, labels[i] = (int32_t)(i % 5);
    CHECK(!mert_weights_init(&w, &c, 3, &e) && (t = mert_trainer_new(&w, as, &o, &a, NULL, &e)));
    for (int i = 0; i < 2; i++) {
        CHECK(!mert_trainer_accumulate(t, &how, &b, &sums[i], &e));
        CHECK(mert_trainer_update(t, i + 1, 1e-3, (double)sums[i].sample_size, &norm, &e) == 0);
        b.audio = clean;
    }
    CHECK(!mert_trainer_evaluate(t, &b, &sums[2], &e));
    for (int i = 0; i < 3; i++)
        error[i] = sums[i].cqt_mse, loss[i] = sums[i].loss;
    mert_trainer_free(t), mert_weights_free(&w);
}

/* The logarithm of quiet bins: the host's errors, up to 0.1, are what differs. */
TEST(losses_are_those_of_the_host)
{
    static const double tolerances[] = {1e-6, 5e-4, 1e-6};
    int before = ops->cqt;
    for (int form = MERT_TARGET_MAGNITUDE; form <= MERT_TARGET_LOG_POWER; form++) {
        double error[2][3], loss[2][3];
        ops->cqt = 0;
        train(ops->host_memory ? NULL : ops, (mert_cqt_target)form, error[0], loss[0]);
        ops->cqt = 1;
        train(ops, (mert_cqt_target)form, error[1], loss[1]);
        for (int i = 0; i < 3; i++) {
            CHECK(error[0][i] > 0.01);
            CHECK_NEAR(error[1][i], error[0][i], tolerances[form] * error[0][i]);
            CHECK_NEAR(loss[1][i], loss[0][i], tolerances[form] * loss[0][i]);
        }
    }
    ops->cqt = before;
}

int main(void)
{
    static const nn_test tests[] = {
        NN_TEST(magnitudes_of_all_sounds), NN_TEST(magnitudes_of_the_published_models),
        NN_TEST(magnitudes_at_other_hops), NN_TEST(logarithms_of_all_sounds), NN_TEST(log_power_of_all_sounds),
        NN_TEST(standardised),             NN_TEST(losses_are_those_of_the_host)};
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    RUN(what_is_prepared);
    RUN(work_of_the_published_models);
    return test_done();
}
