/* train-parity DIR [--device NAME] [--precision WHAT] [--threads N] [--processes N [--shard WHAT]] [--recompute]:
 * replays a folder of reference training (tests/golden/README.md: init.safetensors, audio.npy, labels.npy, mask.npy,
 * expect.json, grads_step1.safetensors, after.safetensors) with the trainer's code. Prints the largest deviations of
 * losses, gradients and final parameters, and exits with 1 if one is beyond its bound; in float32:
 *
 *     losses      1e-5 relative
 *     gradients   |difference| <= 1e-4 of the tensor's norm + 1e-6 of the global norm
 *     parameters  1e-5 absolute if the clipped gradient of update 1 is at least 1e-5, else 2 * lr * updates
 *                 (k_proj.bias excepted) */
#include "formats/checkpoint/checkpoint.h"
#include "formats/file.h"
#include "formats/json.h"
#include "formats/npy.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/session.h"
#include "libcommon/train/trainer.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int recompute;

typedef struct replay {
    const char *dir;
    const mert_json *expect;
    mert_config config;
    mert_objective_config objective;
    mert_adam_config adam;
    double lr, label_rate, feature_grad_mult;
    int64_t updates, B, L, T, label_T;
    float *audio;       /* [updates, B, L] */
    int64_t *labels;    /* [updates, K, B, label_T] */
    int64_t *mask;      /* [updates, B, T of all frames] */
    int64_t mask_T;
    mert_checkpoint *init, *grads, *after;
    double worst_loss, worst_gradient, worst_parameter, worst_excepted, worst_change;
    int64_t excepted, parameters;
    int bad;
    mert_loss_scale loss_scale;
    mert_sharing sharing;
    mert_exchange *x;
} replay;

static const char *in(const replay *r, const char *name)
{
    static char path[2048];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return path;
}

static double number(const mert_json *j, const char *key, double otherwise)
{
    mert_json_double(j, key, &otherwise);
    return otherwise;
}

static int64_t whole(const mert_json *j, const char *key, int64_t otherwise)
{
    mert_json_int(j, key, &otherwise);
    return otherwise;
}

static int flag(const mert_json *j, const char *key)
{
    int v = 0;
    mert_json_bool(j, key, &v);
    return v;
}

/* expect.json has the names of fairseq's configuration. */
static int read_config(replay *r, mert_error *e)
{
    const mert_json *x = r->expect, *m = mert_json_get(x, "model"), *o = mert_json_get(x, "options");
    mert_config *c = &r->config;
    const char *convs = mert_json_string(m, "conv_feature_layers"), *mode = mert_json_string(m, "extractor_mode");
    *c = mert_config_95m();
    if (convs && mert_config_parse_convs(c, convs, e))
        return -1;
    c->sample_rate = (int)whole(x, "sample_rate", 24000);
    c->layers = (int)whole(m, "encoder_layers", c->layers);
    c->width = (int)whole(m, "encoder_embed_dim", c->width);
    c->ffn = (int)whole(m, "encoder_ffn_embed_dim", c->ffn);
    c->heads = (int)whole(m, "encoder_attention_heads", c->heads);
    c->pos_kernel = (int)whole(m, "conv_pos", c->pos_kernel);
    c->pos_groups = (int)whole(m, "conv_pos_groups", c->pos_groups);
    c->pre_ln = flag(m, "layer_norm_first");
    c->deepnorm = flag(m, "deepnorm");
    c->conv_bias = flag(m, "conv_bias");
    c->extractor_layer_norm = mode && !strcmp(mode, "layer_norm");
    c->final_dim = (int)whole(m, "final_dim", 64);
    c->untied = flag(m, "untie_final_proj");
    c->codebooks = (int)whole(x, "n_codebooks", 1);
    for (int k = 0; k < c->codebooks && k < MERT_CODEBOOKS_MAX; k++)
        c->classes[k] = whole(x, "n_classes", 0);
    c->cqt_target_bins = (int)whole(x, "cqt_bins", 0);
    c->mel_target_bins = flag(o, "audio_mel_loss_m") ? (int)whole(o, "audio_mel_bins", 84) : 0;
    c->learnable_temperature = flag(o, "learnable_temp");
    c->target_glu = flag(o, "target_glu");
    r->objective = (mert_objective_config){.features_pen_weight = 10, .cqt_weight = 1, .mel_weight = 1,
                                           .logit_temperature = number(x, "logit_temp", 0.1)};
    mert_json_as_double(mert_json_at(mert_json_get(x, "loss_weights"), 0), &r->objective.features_pen_weight);
    mert_json_as_double(mert_json_at(mert_json_get(x, "loss_weights"), 1), &r->objective.cqt_weight);
    r->objective.mel_weight = r->objective.cqt_weight;
    r->adam = (mert_adam_config){.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = number(x, "weight_decay", 0),
                                 .clip_norm = number(x, "clip_norm", 0)};
    mert_json_as_double(mert_json_at(mert_json_get(x, "adam"), 0), &r->adam.beta1);
    mert_json_as_double(mert_json_at(mert_json_get(x, "adam"), 1), &r->adam.beta2);
    mert_json_as_double(mert_json_at(mert_json_get(x, "adam"), 2), &r->adam.eps);
    r->updates = whole(x, "updates", 0);
    r->lr = number(x, "lr", 0);
    r->label_rate = number(x, "label_rate", 75);
    r->feature_grad_mult = number(x, "feature_grad_mult", 1);
    return mert_config_check(c, e);
}

static int read_arrays(replay *r, mert_error *e)
{
    mert_npy audio, labels, mask;
    if (mert_npy_open(&audio, in(r, "audio.npy"), e) || mert_npy_open(&labels, in(r, "labels.npy"), e) ||
        mert_npy_open(&mask, in(r, "mask.npy"), e))
        return -1;
    if (audio.ndim != 3 || labels.ndim != 4 || mask.ndim != 3 || audio.shape[0] < r->updates ||
        labels.shape[1] != r->config.codebooks || labels.shape[2] != audio.shape[1] || mask.shape[1] != audio.shape[1])
        return mert_fail(e, "%s: audio, labels and mask do not fit together", r->dir);
    r->B = audio.shape[1];
    r->L = audio.shape[2];
    r->label_T = labels.shape[3];
    r->mask_T = mask.shape[2];
    r->audio = mert_npy_floats(&audio, e);
    r->labels = malloc((size_t)labels.elements * sizeof *r->labels);
    r->mask = malloc((size_t)mask.elements * sizeof *r->mask);
    if (!r->audio || !r->labels || !r->mask || mert_npy_to_ints(&labels, 0, labels.elements, r->labels) ||
        mert_npy_to_ints(&mask, 0, mask.elements, r->mask))
        return mert_fail(e, "%s: cannot read labels and mask as whole numbers", r->dir);
    mert_npy_close(&audio);
    mert_npy_close(&labels);
    mert_npy_close(&mask);
    r->T = mert_config_frames(&r->config, r->L);
    return 0;
}

static int take_weights(const mert_layout *l, const mert_checkpoint *c, float *to, mert_error *e)
{
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        const mert_tensor *t = mert_checkpoint_find(c, p->name);
        if (!t || t->elements != p->n)
            return mert_fail(e, "no tensor %s of %" PRId64 " elements", p->name, p->n);
        if (mert_tensor_read(t, to + p->offset, e))
            return -1;
    }
    return mert_checkpoint_count(c) == (size_t)l->count
               ? 0
               : mert_fail(e, "%zu tensors, but the model has %d", mert_checkpoint_count(c), l->count);
}

/* What each precision may be off by: losses relative; a tensor's gradient, of its own norm and of the global one;
 * frames that are told right otherwise, of all; and with 16 bits, where single parameters may go anywhere that Adam
 * takes them, what all updates have changed, of its norm. bfloat16 has an eighth of float16's steps. The six folders of
 * reference training are off by a third of that at most. */
static const struct bounds {
    double loss, gradient, global, correct, change;
} bounds[] = {{1e-5, 1e-4, 1e-6, 0, 0}, {0.02, 0.1, 4e-3, 0.08, 0.3}, {0.0025, 0.0125, 5e-4, 0.02, 0.075}};
static int precision;
static const char *const precisions[] = {"f32", "bf16", "fp16", NULL};

static void compare_loss(replay *r, int64_t update, const char *what, double got, double want)
{
    double d = fabs(got - want) / (fabs(want) > 1e-30 ? fabs(want) : 1e-30);
    if (d > r->worst_loss || isnan(d))
        r->worst_loss = d;
    if (!(d <= bounds[precision].loss)) {
        printf("update %" PRId64 ": %s is %.9g, the reference has %.9g\n", update, what, got, want);
        r->bad = 1;
    }
}

static void compare_sums(replay *r, int64_t update, const mert_sums *s, double norm)
{
    const mert_json *x = mert_json_at(mert_json_get(r->expect, "log"), (size_t)update - 1);
    const mert_json *ce = mert_json_get(x, "ce_sum"), *correct = mert_json_get(x, "correct");
    compare_loss(r, update, "loss", s->loss, number(x, "loss_sum", NAN));
    compare_loss(r, update, "sample size", (double)s->sample_size, number(x, "sample_size", NAN));
    compare_loss(r, update, "features_pen", s->features_pen, number(x, "features_pen", NAN));
    compare_loss(r, update, "gradient norm", norm, number(x, "grad_norm", NAN));
    if (r->config.cqt_target_bins)
        compare_loss(r, update, "CQT error", s->cqt_mse, number(x, "cqt_mse", NAN));
    if (r->config.mel_target_bins)
        compare_loss(r, update, "mel error", s->mel_mse, number(x, "mel_mse", NAN));
    for (int k = 0; k < r->config.codebooks; k++) {
        double want = NAN;
        int64_t right = -1;
        mert_json_as_double(mert_json_at(ce, (size_t)k), &want);
        mert_json_as_int(mert_json_at(correct, (size_t)k), &right);
        compare_loss(r, update, "cross entropy", s->ce[k], want);
        if (!(fabs((double)(right - s->correct[k])) <= bounds[precision].correct * (double)s->counted[k])) {
            printf("update %" PRId64 ": codebook %d: %" PRId64 " correct, the reference has %" PRId64 "\n", update, k,
                   s->correct[k], right);
            r->bad = 1;
        }
    }
}

static double norm_of(const float *x, int64_t n)
{
    double s = 0;
    for (int64_t i = 0; i < n; i++)
        s += (double)x[i] * x[i];
    return sqrt(s);
}

/* |difference| is the norm of the tensor's difference, and element by element no more than that either. */
static void compare_gradients(replay *r, const mert_layout *l, const float *got, const float *want)
{
    double global = norm_of(want, l->size);
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        const struct bounds *of = &bounds[precision];
        double own = norm_of(want + p->offset, p->n), allowed = of->gradient * own + of->global * global, d = 0;
        for (int64_t j = 0; j < p->n; j++)
            d += pow((double)got[p->offset + j] - want[p->offset + j], 2);
        d = sqrt(d) / allowed;
        if (d > r->worst_gradient || isnan(d))
            r->worst_gradient = d;
        if (!(d <= 1)) {
            printf("gradient of %s: off by %.3g of what is allowed (its norm %.3g)\n", p->name, d, own);
            r->bad = 1;
        }
    }
}

static void compare_parameters(replay *r, const mert_layout *l, const float *got, const float *want,
                               const float *gradient)
{
    double global = norm_of(gradient, l->size),
           clip = r->adam.clip_norm > 0 && global > r->adam.clip_norm ? r->adam.clip_norm / global : 1;
    for (int i = 0; i < l->count; i++) {
        const mert_parameter *p = &l->parameters[i];
        for (int64_t j = p->offset; j < p->offset + p->n; j++) {
            double d = fabs((double)got[j] - want[j]);
            int free = fabs(gradient[j]) * clip < 1e-5 || strstr(p->name, "k_proj.bias") != NULL;
            double allowed = free || precision ? 2 * r->lr * (double)r->updates : 1e-5;
            r->excepted += free;
            r->parameters++;
            if (free && d > r->worst_excepted)
                r->worst_excepted = d;
            if (!free && d > r->worst_parameter)
                r->worst_parameter = d;
            if (!(d <= allowed)) {
                if (r->bad < 20)
                    printf("%s[%" PRId64 "] is %.9g, the reference has %.9g (gradient %.3g)\n", p->name,
                           j - p->offset, got[j], want[j], gradient[j]);
                r->bad++;
            }
        }
    }
}

/* With 16 bits: how much of what the updates have done is otherwise. */
static void compare_change(replay *r, const mert_layout *l, const float *got, const float *want, const float *before)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < l->size; i++) {
        off += pow((double)got[i] - want[i], 2);
        all += pow((double)want[i] - before[i], 2);
    }
    r->worst_change = sqrt(off / all);
    if (precision && !(r->worst_change <= bounds[precision].change)) {
        printf("the updates are off by %.3g of what they change\n", r->worst_change);
        r->bad = 1;
    }
}

/* Labels at their own rate to labels by frame: frame t takes floor(t * ratio); frames beyond the labels are cut. */
static int make_batch(const replay *r, int64_t u, mert_batch *b, int32_t *labels, uint8_t *mask)
{
    double ratio = r->label_rate * mert_config_stride(&r->config) / r->config.sample_rate;
    int64_t T = r->T, K = r->config.codebooks, B = r->B;
    if (ratio * (double)T > (double)r->label_T)
        T = (int64_t)((double)r->label_T / ratio);
    for (int64_t kb = 0; kb < K * B; kb++)
        for (int64_t t = 0; t < T; t++)
            labels[kb * T + t] = (int32_t)r->labels[(u * K * B + kb) * r->label_T + (int64_t)((float)t * (float)ratio)];
    for (int64_t i = 0; i < B; i++)
        for (int64_t t = 0; t < T; t++)
            mask[i * T + t] = r->mask[(u * B + i) * r->mask_T + t] != 0;
    *b = (mert_batch){.B = B,
                      .L = r->L,
                      .T = T,
                      .K = (int)K,
                      .clean = r->audio + u * B * r->L,
                      .audio = r->audio + u * B * r->L,
                      .labels = labels,
                      .mask = mask};
    return 0;
}

/* Many processes share a batch as if its clips were batches: its sums are sums over clips, and its means are means over
 * equally many frames of each. */
static int can_be_shared(const replay *r, const mert_batch *b)
{
    int64_t first = 0;
    for (int64_t i = 0; i < b->B; i++) {
        int64_t masked = 0;
        for (int64_t t = 0; t < b->T; t++)
            masked += b->mask[i * b->T + t];
        if (i && masked != first)
            return 0;
        first = masked;
    }
    return b->B >= r->x->ranks && !r->config.mel_target_bins; /* which are normalised over the whole batch */
}

/* This process's share: some clips, or in turn all of them or none. */
static void share_batch(const replay *r, int64_t update, mert_batch *b)
{
    int64_t all = b->B, from = all * r->x->rank / r->x->ranks, to = all * (r->x->rank + 1) / r->x->ranks;
    int32_t *labels = (int32_t *)b->labels;
    if (!can_be_shared(r, b)) {
        b->B = update % r->x->ranks == r->x->rank ? all : 0;
        return;
    }
    for (int k = 0; k < b->K; k++)
        memmove(labels + k * (to - from) * b->T, labels + (k * all + from) * b->T,
                (size_t)((to - from) * b->T) * sizeof *labels);
    b->B = to - from;
    b->clean += from * b->L;
    b->audio += from * b->L;
    b->mask += from * b->T;
}

/* One batch of the reference, by all processes; *sums: of all. */
static int pass(replay *r, mert_trainer *t, int64_t update, const mert_batch *whole, mert_sums *sums, mert_error *e)
{
    mert_forward_options options = {.feature_grad_mult = r->feature_grad_mult,
                          .update = (uint64_t)update,
                          .recompute = recompute};
    mert_batch b = *whole;
    mert_sums mine = {0}, *all;
    double part;
    int bad = 0;
    share_batch(r, update, &b);
    part = (double)b.B / (double)whole->B;
    mert_trainer_batch(t, 1, !b.B);
    if (b.B)
        bad = mert_trainer_accumulate(t, &options, &b, &mine, e);
    else if (mert_trainer_together(t))
        bad = mert_trainer_accumulate(t, &options, whole, NULL, e);
    if (bad || mert_trainer_sum(t, e) || mert_trainer_settle(t, e))
        return -1;
    mine.features_pen *= part;
    mine.cqt_mse *= part;
    mine.mel_mse *= part;
    all = malloc((size_t)r->x->ranks * sizeof *all);
    if (!all || r->x->collect(r->x, &mine, all, sizeof mine, e)) {
        free(all);
        return -1;
    }
    for (int i = 0; i < r->x->ranks; i++)
        mert_sums_add(sums, &all[i]);
    free(all);
    return 0;
}

static int run(replay *r, mert_ops *ops, mert_error *e)
{
    mert_weights w;
    mert_trainer *t;
    float *gradients, *want, *want_gradients, *before;
    int32_t *labels = malloc((size_t)(r->config.codebooks * r->B * r->T + 1) * sizeof *labels);
    uint8_t *mask = malloc((size_t)(r->B * r->T + 1));
    if (mert_weights_allocate(&w, &r->config, e) || take_weights(&w.layout, r->init, w.values, e) || !labels || !mask)
        return -1;
    gradients = calloc((size_t)w.layout.size, sizeof *gradients);
    before = calloc((size_t)w.layout.size, sizeof *before);
    want = calloc((size_t)w.layout.size, sizeof *want);
    want_gradients = calloc((size_t)w.layout.size, sizeof *want_gradients);
    if (!gradients || !before || !want || !want_gradients || take_weights(&w.layout, r->init, before, e) ||
        take_weights(&w.layout, r->grads, want_gradients, e) ||
        take_weights(&w.layout, r->after, want, e) ||
        !(t = mert_trainer_new(&w, ops, &r->objective, &r->adam, &r->sharing, e)) || mert_trainer_join(t, e) < 0)
        return -1;
    for (int64_t u = 1; u <= r->updates; u++) {
        mert_sums sums = {0};
        mert_batch b;
        double norm;
        int overflow;
        make_batch(r, u - 1, &b, labels, mask);
        mert_trainer_scale(t, r->loss_scale.scale);
        if (pass(r, t, u, &b, &sums, e) ||
            (u == 1 && mert_trainer_get(t, &(mert_shards_arrays){.gradients = gradients}, 1, e)) ||
            (overflow = mert_trainer_update(t, u, r->lr, (double)sums.sample_size, &norm, e)) < 0)
            return -1;
        if (overflow && precision != MERT_ELEMENT_F16)
            return mert_fail(e, "update %" PRId64 ": the gradient is not finite", u);
        if (overflow) {
            if (mert_loss_scale_overflow(&r->loss_scale, e))
                return -1;
            u--;
            continue;
        }
        for (int64_t i = 0; u == 1 && i < w.layout.size; i++)
            gradients[i] /= (float)((double)sums.sample_size * r->loss_scale.scale);
        if (u == 1)
            compare_gradients(r, &w.layout, gradients, want_gradients);
        compare_sums(r, u, &sums, norm);
    }
    if (mert_trainer_get(t, &(mert_shards_arrays){.weights = w.values}, 1, e))
        return -1;
    compare_parameters(r, &w.layout, w.values, want, want_gradients);
    compare_change(r, &w.layout, w.values, want, before);
    mert_trainer_free(t);
    mert_weights_free(&w);
    free(gradients);
    free(before);
    free(want);
    free(want_gradients);
    free(labels);
    free(mask);
    return 0;
}

static const char *device = "cpu";
static int processes = 1, sharding;
static double loss_scale;
static const char *const shardings[] = {"none", "optimizer", "full", NULL};
static const mert_option options[] = {
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL, "cpu, or a test backend: guard, emulated"},
    {"precision", 0, MERT_CHOICE, &precision, "WHAT", 0, 0, precisions, "of activations and of weights in products"},
    {"loss-scale", 0, MERT_DOUBLE, &loss_scale, "N", 0, 1e30, NULL,
     "fp16: the first; too large a one overflows until it fits (default: 128)"},
    {"processes", 0, MERT_INT, &processes, "N", 1, 64, NULL, "so many of this machine; or start it by mpirun"},
    {"shard", 0, MERT_CHOICE, &sharding, "WHAT", 0, 0, shardings, "what each process keeps a part of"},
    {"recompute", 0, MERT_FLAG, &recompute, NULL, 0, 0, NULL, "run layers again in the backward pass"}, {0}};
static const mert_tool tool = {
    "train-parity", "replay a folder of reference training through the trainer", "[options] DIR", NULL, options, NULL};

static void say(const replay *r)
{
    printf("%s, process %d of %d (%s, %s): losses %.2g relative (%.2g allowed); gradients %.2g of what is allowed; "
           "parameters %.2g (%.2g allowed), %.2f%% of them excepted, those off by at most %.2g",
           r->dir, r->x->rank, r->x->ranks, r->x->name, precisions[precision], r->worst_loss, bounds[precision].loss,
           r->worst_gradient, r->worst_parameter, precision ? 2 * r->lr * (double)r->updates : 1e-5,
           100.0 * (double)r->excepted / (double)r->parameters, r->worst_excepted);
    if (precision)
        printf("; all updates off by %.2g of what they change (%.2g allowed)", r->worst_change,
               bounds[precision].change);
    if (precision == MERT_ELEMENT_F16)
        printf("; loss scale %g after %lld overflows", r->loss_scale.scale, (long long)r->loss_scale.overflows);
    printf(": %s\n", r->bad ? "beyond the bounds" : "within the bounds");
}

static int compare(replay *r)
{
    mert_error e = {{0}};
    char name[128];
    mert_ops *ops = mert_exchange_device(r->x, device, name, sizeof name, &e)
                        ? NULL
                        : mert_ops_open(name, (mert_element_type)precision, &e);
    mert_json *expect;
    if (!ops)
        mert_usage_error("--device: %s", e.text);
    r->loss_scale = mert_loss_scale_first((mert_element_type)precision);
    if (loss_scale > 0 && precision == MERT_ELEMENT_F16)
        r->loss_scale.scale = loss_scale;
    r->sharing = (mert_sharing){.exchange = r->x, .sharding = (mert_sharding)sharding};
    r->expect = expect = mert_json_read(in(r, "expect.json"), &e);
    if (!expect || read_config(r, &e) || read_arrays(r, &e) ||
        !(r->init = mert_checkpoint_open(in(r, "init.safetensors"), &e)) ||
        !(r->grads = mert_checkpoint_open(in(r, "grads_step1.safetensors"), &e)) ||
        !(r->after = mert_checkpoint_open(in(r, "after.safetensors"), &e)) || run(r, ops, &e)) {
        mert_log_error("%s: %s", r->dir, e.text);
        r->x->abandon(r->x);
        return 1;
    }
    say(r);
    mert_checkpoint_close(r->init);
    mert_checkpoint_close(r->grads);
    mert_checkpoint_close(r->after);
    mert_json_free(expect);
    free(r->audio);
    free(r->labels);
    free(r->mask);
    ops->close(ops);
    fflush(stdout);
    r->x->close(r->x);
    return r->bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    replay r = {0};
    mert_error e = {{0}};
    int status = 0;
    mert_options_parse(&tool, &argc, &argv);
    if (argc != 1)
        mert_usage_error("one folder is needed");
    r.dir = argv[0];
    if (processes > 1) {
        int over = mert_exchange_local(processes, &r.x, &status, &e);
        if (over && *e.text)
            mert_log_error("%s", e.text);
        if (over)
            return over < 0 || status ? 1 : 0;
    } else if (!(r.x = mert_exchange_launched() > 1 ? mert_exchange_mpi(&e) : mert_exchange_alone())) {
        mert_log_error("%s", e.text);
        return 1;
    }
    return compare(&r);
}
