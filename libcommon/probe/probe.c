#include "libcommon/probe/probe.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/probe/folds.h"
#include "libcommon/probe/net.h"
#include "libcommon/teachers/features.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWERS_MAX = 1 << 26 }; /* the most floats of answers in memory at a time, but at least those of one line */

typedef struct run {
    const mert_probe_options *o;
    const mert_targets *g;
    mert_folds folds;
    const float *x;
    int64_t layers, d;
    mert_probe_result *r;
    int64_t first, block;   /* the lines being computed */
    float *answers;         /* [block, seeds, n, outputs] */
    int32_t *round;         /* [block, seeds, n] */
    double *mixtures;       /* [seeds, rounds, layers] */
    int64_t done, unfinished;
    int failed;
    mert_trained *keep;     /* not NULL: the probe that was trained is stored here */
} run;

/* One task: a line, a seed and a round. */
typedef struct task {
    run *run;
    int64_t line, seed, round;
    int64_t *order;         /* [n] instances: training part, valid part, test part */
    int64_t n_train, n_valid, n_test;
    double *mean, *scale;   /* [d] of one layer, or of all layers */
    double *y_mean, *y_size; /* [outputs] regress */
    float *y;               /* [n, outputs] regress: scaled to mean 0 and variance 1; by instance */
    float *scores;          /* [n_test, outputs] */
} task;

/* ---- data of a task ---- */

static int deal(task *t)
{
    const mert_targets *g = t->run->g;
    mert_probe_part *part = mert_array(g->n, sizeof *part);
    int64_t *n[] = {&t->n_train, &t->n_valid, &t->n_test}, at = 0;
    int bad = !part || mert_folds_assign(&t->run->folds, t->run->o->seed + (uint64_t)t->seed, (int)t->round, part,
                                         NULL);
    for (int p = MERT_PROBE_TRAIN; !bad && p <= MERT_PROBE_TEST; p++)
        for (int64_t i = 0; i < g->n; i++)
            if (part[i] == (mert_probe_part)p) {
                t->order[at++] = i;
                ++*n[p];
            }
    free(part);
    return bad;
}

/* Mean, and 1 / standard deviation (0 if the deviation is only rounding), of d columns over instances order[0..m), in
 * double. */
static void statistics(const float *x, int64_t stride, const int64_t *order, int64_t m, int64_t d, double *mean,
                       double *scale)
{
    memset(mean, 0, (size_t)d * sizeof *mean);
    memset(scale, 0, (size_t)d * sizeof *scale);
    for (int64_t k = 0; k < m; k++)
        for (int64_t i = 0; i < d; i++)
            mean[i] += x[order[k] * stride + i];
    for (int64_t i = 0; i < d; i++)
        mean[i] /= (double)m;
    for (int64_t k = 0; k < m; k++)
        for (int64_t i = 0; i < d; i++) {
            double v = x[order[k] * stride + i] - mean[i];
            scale[i] += v * v;
        }
    for (int64_t i = 0; i < d; i++) {
        double deviation = sqrt(scale[i] / (double)m);
        scale[i] = deviation > 1e-7 * fabs(mean[i]) ? 1 / deviation : 0;
    }
}

/* Scales the numbers to predict, by mean and deviation over order[0..m). */
static void scale_targets(task *t, int64_t m)
{
    const mert_targets *g = t->run->g;
    int64_t C = g->outputs;
    if (g->task != MERT_PROBE_REGRESS)
        return;
    statistics(g->y, C, t->order, m, C, t->y_mean, t->y_size);
    for (int64_t i = 0; i < g->n * C; i++)
        t->y[i] = (float)((g->y[i] - t->y_mean[i % C]) * t->y_size[i % C]);
    for (int64_t c = 0; c < C; c++)
        t->y_size[c] = t->y_size[c] > 0 ? 1 / t->y_size[c] : 0;
}

/* ---- the prior ---- */

static void guess(task *t)
{
    const mert_targets *g = t->run->g;
    int64_t C = g->outputs, m = t->n_train + (t->run->folds.carved ? t->n_valid : 0);
    scale_targets(t, m);
    for (int64_t c = 0; c < C; c++) {
        double have = 0, score;
        for (int64_t i = 0; i < m; i++)
            have += g->task == MERT_PROBE_CLASSIFY     ? g->label[t->order[i]] == c
                    : g->task == MERT_PROBE_MULTILABEL ? g->y[t->order[i] * C + c]
                                                       : 0;
        score = g->task == MERT_PROBE_REGRESS ? 0 : log((have + 0.5) / ((double)m - have + 0.5));
        for (int64_t i = 0; i < t->n_test; i++)
            t->scores[i * C + c] = (float)score;
    }
}

/* ---- linear ---- */

/* Copies the rows in the order of the parts: x [n, d], scaled by the statistics of the first m of them, and their
 * targets. */
static void gather(task *t, int64_t m, float *x, int32_t *label, float *y)
{
    const run *r = t->run;
    const mert_targets *g = r->g;
    int64_t d = r->d, stride = r->layers * d, C = g->outputs;
    const float *from = r->x + (t->line - 1) * d;
    statistics(from, stride, t->order, m, d, t->mean, t->scale);
    scale_targets(t, m);
    for (int64_t k = 0; k < g->n; k++) {
        const float *row = from + t->order[k] * stride;
        for (int64_t i = 0; i < d; i++)
            x[k * d + i] = (float)((row[i] - t->mean[i]) * t->scale[i]);
        if (g->task == MERT_PROBE_CLASSIFY)
            label[k] = g->label[t->order[k]];
        else
            memcpy(y + k * C, (g->task == MERT_PROBE_REGRESS ? t->y : g->y) + t->order[k] * C, (size_t)C * sizeof *y);
    }
}

static int fit(task *t, const mert_linear_data *data, double decay, float *w)
{
    int steps = mert_linear_fit(data, decay, w, NULL);
    if (steps == MERT_LINEAR_STEPS)
        __atomic_fetch_add(&t->run->unfinished, 1, __ATOMIC_RELAXED);
    return steps < 0;
}

/* Trains with each decay, from strong to weak; each starts from the previous result. valid: memory for its scores. */
static int choose(task *t, mert_linear_data data, float *w, float *best, double *decay, float *valid)
{
    int64_t size = data.outputs * (data.d + 1);
    mert_linear_data judge = data;
    double least = INFINITY;
    int bad = 0;
    data.n = t->n_train;
    judge.n = t->n_valid;
    judge.label = data.label ? data.label + t->n_train : NULL;
    judge.y = data.y ? data.y + t->n_train * data.outputs : NULL;
    for (int i = 0; !bad && i < t->run->o->decays.n; i++) {
        double loss;
        bad = fit(t, &data, t->run->o->decays.from[i], w);
        mert_linear_scores(data.x + t->n_train * data.d, t->n_valid, data.d, data.outputs, w, valid);
        loss = mert_linear_loss(&judge, valid, NULL);
        if (i && !(loss < least))
            continue;
        least = loss;
        *decay = t->run->o->decays.from[i];
        memcpy(best, w, (size_t)size * sizeof *w);
    }
    return bad;
}

/* Stores the statistics with which features and numbers were scaled. */
static void keep_scale(const task *t)
{
    mert_trained *to = t->run->keep;
    for (int64_t i = 0; i < to->layers * to->width; i++) {
        to->mean[i] = (float)t->mean[i];
        to->scale[i] = (float)t->scale[i];
    }
    for (int64_t c = 0; to->number_mean && c < to->outputs.n; c++) {
        to->number_mean[c] = (float)t->y_mean[c];
        to->number_size[c] = (float)t->y_size[c];
    }
}

static void keep_linear(const task *t, const float *w)
{
    mert_trained *to = t->run->keep;
    int64_t C = to->outputs.n, weights = C * to->width;
    keep_scale(t);
    memcpy(to->weight, w, (size_t)weights * sizeof *w);
    memcpy(to->bias, w + weights, (size_t)C * sizeof *w);
}

static void keep_net(const task *t, const mert_net *net, double *share)
{
    mert_trained *to = t->run->keep;
    keep_scale(t);
    mert_net_parameters(net, to->hidden_weight, to->weight, to->hidden_bias, to->bias);
    mert_net_mixture(net, share);
    for (int64_t l = 0; l < to->layers; l++)
        to->mixture[l] = (float)share[l];
}

static int train_linear(task *t)
{
    const run *r = t->run;
    const mert_targets *g = r->g;
    int64_t C = g->outputs, size = C * (r->d + 1), asked = t->n_train + t->n_valid;
    int classify = g->task == MERT_PROBE_CLASSIFY;
    float *x = mert_array(mert_array_count(g->n, r->d), sizeof *x);
    float *w = mert_array_zeroed(size, 2 * sizeof *w), *best = w ? w + size : NULL;
    int32_t *label = classify ? mert_array(g->n, sizeof *label) : NULL;
    int64_t targets = classify ? 0 : g->n * C;
    float *y = mert_array(targets + t->n_valid * C, sizeof *y), *valid = y ? y + targets : NULL;
    mert_linear_data data = {
        .task = g->task, .d = r->d, .outputs = C, .x = x, .label = label, .y = classify ? NULL : y};
    double decay = 0;
    int bad = !x || !w || (classify && !label) || !y;
    if (!bad) {
        gather(t, t->n_train, x, label, y);
        bad = choose(t, data, w, best, &decay, valid);
    }
    if (!bad && r->folds.carved) {
        gather(t, asked, x, label, y);
        data.n = asked;
        bad = fit(t, &data, decay, best);
    }
    if (!bad && r->keep)
        keep_linear(t, best);
    else if (!bad)
        mert_linear_scores(x + asked * r->d, t->n_test, r->d, C, best, t->scores);
    free(x);
    free(w);
    free(label);
    free(y);
    return bad;
}

/* ---- networks ---- */

static int train_net(task *t)
{
    const run *r = t->run;
    const mert_probe_options *o = r->o;
    const mert_targets *g = r->g;
    int mixed = t->line > r->layers;
    int64_t layers = mixed ? r->layers : 1, values = layers * r->d, stride = r->layers * r->d;
    float *norm = mert_array(values, 2 * sizeof *norm);
    mert_net_data data = {.task = g->task,
                          .layers = layers,
                          .d = r->d,
                          .outputs = g->outputs,
                          .stride = stride,
                          .x = r->x + (mixed ? 0 : (t->line - 1) * r->d),
                          .mean = norm,
                          .scale = norm ? norm + values : NULL,
                          .label = g->label,
                          .y = g->task == MERT_PROBE_REGRESS ? t->y : g->y};
    /* A batch is at most an eighth of the training part, so that an epoch has at least 8 steps. */
    int batch = t->n_train / 8 >= o->batch ? o->batch : t->n_train < 8 ? 1 : (int)(t->n_train / 8);
    mert_net *best = NULL;
    double least = INFINITY;
    int bad = !norm;
    if (!bad) {
        statistics(data.x, stride, t->order, t->n_train, values, t->mean, t->scale);
        scale_targets(t, t->n_train);
        for (int64_t i = 0; i < values; i++) {
            norm[i] = (float)t->mean[i];
            norm[values + i] = (float)t->scale[i];
        }
    }
    for (int i = 0; !bad && i < o->net_decays.n; i++) {
        mert_net_options no = {.hidden = o->hidden,
                               .epochs = o->epochs,
                               .patience = o->patience,
                               .batch = batch,
                               .lr = o->lr,
                               .dropout = o->dropout,
                               .decay = o->net_decays.from[i],
                               .seed = o->seed + (uint64_t)t->seed,
                               .place = (uint32_t)((t->line * r->folds.rounds + t->round) * o->net_decays.n + i)};
        double loss;
        mert_net *net =
            mert_net_train(&data, &no, t->order, t->n_train, t->order + t->n_train, t->n_valid, &loss, NULL);
        bad = !net;
        if (net && (!best || loss < least)) {
            mert_net_free(best);
            best = net;
            least = loss;
        } else
            mert_net_free(net);
    }
    bad = bad || mert_net_scores(best, &data, t->order + t->n_train + t->n_valid, t->n_test, t->scores, NULL);
    if (!bad && r->keep)
        keep_net(t, best, r->mixtures);
    else if (!bad && mixed)
        mert_net_mixture(best, r->mixtures + (t->seed * r->folds.rounds + t->round) * r->layers);
    mert_net_free(best);
    free(norm);
    return bad;
}

/* ---- tasks ---- */

/* Converts the probe's scores to answers for score.h. Those of the prior are log-odds already. */
static void answer(task *t)
{
    run *r = t->run;
    const mert_targets *g = r->g;
    int64_t C = g->outputs, at = (t->line - r->first) * r->r->seeds + t->seed;
    for (int64_t k = 0; k < t->n_test; k++) {
        int64_t i = t->order[t->n_train + t->n_valid + k];
        const float *s = t->scores + k * C;
        float *to = r->answers + (at * g->n + i) * C;
        r->round[at * g->n + i] = (int32_t)t->round;
        if (g->task == MERT_PROBE_CLASSIFY && t->line)
            mert_score_log_odds(s, C, to);
        else
            for (int64_t c = 0; c < C; c++)
                to[c] = g->task == MERT_PROBE_REGRESS ? (float)(s[c] * t->y_size[c] + t->y_mean[c]) : s[c];
    }
}

/* Trains the probe of a task and computes its scores. */
static int solve(task *t)
{
    const run *r = t->run;
    int64_t values = t->line > r->layers ? r->layers * r->d : r->d, C = r->g->outputs, n = r->g->n;
    t->order = mert_array(n, sizeof *t->order);
    t->mean = mert_array(2 * values + 2 * C, sizeof *t->mean);
    t->scores = mert_array(mert_array_count(n, C), 2 * sizeof *t->scores);
    if (!t->order || !t->mean || !t->scores || deal(t))
        return -1;
    t->scale = t->mean + values;
    t->y_mean = t->scale + values;
    t->y_size = t->y_mean + C;
    t->y = t->scores + n * C;
    if (t->line)
        return t->line > r->layers || r->o->hidden ? train_net(t) : train_linear(t);
    guess(t);
    return 0;
}

static void task_free(task *t)
{
    free(t->order);
    free(t->mean);
    free(t->scores);
}

static void work(void *arg, int64_t i, int worker)
{
    run *r = arg;
    int64_t per_line = (int64_t)r->r->seeds * r->folds.rounds;
    task t = {.run = r,
              .line = r->first + i / per_line,
              .seed = i % per_line / r->folds.rounds,
              .round = i % r->folds.rounds};
    if (!solve(&t))
        answer(&t);
    else
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
    task_free(&t);
    __atomic_fetch_add(&r->done, 1, __ATOMIC_RELAXED);
    if (!worker && r->o->progress)
        r->o->progress(__atomic_load_n(&r->done, __ATOMIC_RELAXED), per_line * r->r->lines);
}

static void score(void *arg, int64_t i, int worker)
{
    run *r = arg;
    const mert_targets *g = r->o->items ? &r->o->items->g : r->g;
    mert_probe_result *to = r->r;
    float *answers = r->answers + i * r->g->n * g->outputs;
    int32_t *round = r->round + i * r->g->n;
    double value[MERT_SCORES_MAX];
    (void)worker;
    if (r->o->items)
        mert_items_average(r->o->items, answers, round);
    if (mert_score_all(g, answers, round, r->folds.rounds, value, NULL)) {
        __atomic_store_n(&r->failed, 1, __ATOMIC_RELAXED);
        return;
    }
    for (int k = 0; k < to->scores; k++)
        to->value[((r->first + i / to->seeds) * to->scores + k) * to->seeds + i % to->seeds] = value[k];
}

/* ---- the run ---- */

/* Shows the answers of a block of lines to the caller. */
static int show_answers(const run *r, mert_error *e)
{
    int64_t seeds = r->r->seeds, n = r->g->n;
    for (int64_t i = 0; r->o->answered && i < r->block * seeds; i++) {
        mert_probe_answers a = {.line = r->first + i / seeds,
                                .seed = r->o->seed + (uint64_t)(i % seeds),
                                .g = r->o->items ? &r->o->items->g : r->g,
                                .answers = r->answers + i * n * r->g->outputs,
                                .round = r->round + i * n};
        if (r->o->answered(r->o->answered_self, &a, e))
            return -1;
    }
    return 0;
}

static int compute(run *r, mert_error *e)
{
    mert_probe_result *to = r->r;
    int64_t seeds = to->seeds, n = r->g->n, per_line = seeds * n * (r->g->outputs + 1), rows;
    r->block = ANSWERS_MAX / per_line < 1 ? 1 : mert_smaller(ANSWERS_MAX / per_line, to->lines);
    rows = mert_array_count(mert_array_count(r->block, seeds), n);
    to->value = mert_array(mert_array_count(mert_array_count(to->lines, to->scores), seeds), sizeof *to->value);
    r->answers = mert_array(mert_array_count(rows, r->g->outputs), sizeof *r->answers);
    r->round = mert_array(rows, sizeof *r->round);
    r->mixtures = mert_array(mert_array_count(seeds * r->folds.rounds, r->layers), sizeof *r->mixtures);
    if (!to->value || !r->answers || !r->round || !r->mixtures)
        return mert_fail(e, "out of memory");
    for (r->first = 0; r->first < to->lines; r->first += r->block) {
        if (r->block > to->lines - r->first)
            r->block = to->lines - r->first;
        for (int64_t i = 0; i < r->block * seeds * n; i++)
            r->round[i] = -1;
        mert_pool_run(r->block * seeds * r->folds.rounds, work, r);
        mert_pool_run(r->failed ? 0 : r->block * seeds, score, r);
        if (r->failed)
            return mert_fail(e, "out of memory");
        if (show_answers(r, e))
            return -1;
    }
    to->unfinished = r->unfinished;
    if (!r->o->weighted)
        return 0;
    to->mixture = mert_array_zeroed(r->layers, sizeof *to->mixture);
    if (!to->mixture)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < seeds * r->folds.rounds * r->layers; i++)
        to->mixture[i % r->layers] += r->mixtures[i] / (double)(seeds * r->folds.rounds);
    return 0;
}

int mert_probe_run(mert_probe_result *to, const mert_probe_options *o, const mert_targets *g, const float *x,
                   int64_t layers, int64_t d, mert_error *e)
{
    run r = {.o = o, .g = g, .x = x, .layers = layers, .d = d, .r = to};
    int bad;
    *to = (mert_probe_result){.lines = 1 + layers + (o->weighted ? 1 : 0), .seeds = o->seeds};
    if (mert_features_same(x, g->n, layers * d))
        return mert_fail(e, "all features are the same: there is nothing to predict");
    if (mert_folds_make(&r.folds, g, o->folds, e))
        return -1;
    if (!o->hidden && !o->weighted && !r.folds.carved)
        to->seeds = 1;
    to->rounds = r.folds.rounds;
    to->rare = mert_folds_rare(&r.folds);
    to->scores = mert_score_names(g, to->names);
    bad = compute(&r, e);
    free(r.answers);
    free(r.round);
    free(r.mixtures);
    mert_folds_free(&r.folds);
    if (bad)
        mert_probe_result_free(to);
    return bad;
}

/* Sets the sizes and the names of outputs; allocates. */
static int shape_trained(mert_trained *to, const mert_targets *g, int64_t layers, int64_t d, int64_t hidden,
                         mert_error *e)
{
    to->outputs = (mert_outputs){.task = g->task, .n = g->outputs};
    to->layers = layers;
    to->width = d;
    to->hidden = hidden;
    if (g->names && !(to->names = mert_array_zeroed(g->outputs, sizeof *to->names)))
        return mert_fail(e, "out of memory");
    to->outputs.names = to->names;
    for (int64_t c = 0; g->names && c < g->outputs; c++)
        if (!(to->names[c] = strdup(g->names[c])))
            return mert_fail(e, "out of memory");
    return mert_trained_make(to, e);
}

int mert_probe_train(mert_trained *to, const mert_probe_options *o, const mert_targets *g, const float *x,
                     int64_t layers, int64_t d, int64_t line, mert_error *e)
{
    run r = {.o = o, .g = g, .x = x, .layers = layers, .d = d, .keep = to};
    task t = {.run = &r, .line = line};
    int bad;
    *to = (mert_trained){0};
    if (mert_folds_all(&r.folds, g, o->folds, e))
        return -1;
    bad = shape_trained(to, g, line > layers ? layers : 1, d, o->hidden, e);
    r.mixtures = mert_array(layers, sizeof *r.mixtures);
    if (!bad && (!r.mixtures || solve(&t)))
        bad = mert_fail(e, "out of memory");
    task_free(&t);
    free(r.mixtures);
    mert_folds_free(&r.folds);
    if (bad)
        mert_trained_free(to);
    return bad;
}

void mert_probe_result_free(mert_probe_result *r)
{
    free(r->value);
    free(r->mixture);
    r->value = NULL;
    r->mixture = NULL;
}

mert_probe_range mert_probe_result_range(const mert_probe_result *r, int64_t line, int which)
{
    const double *v = r->value + (line * r->scores + which) * r->seeds;
    mert_probe_range s = {NAN, NAN, NAN, 0};
    for (int i = 0; i < r->seeds; i++) {
        if (isnan(v[i]))
            continue;
        s.mean = s.n ? s.mean + v[i] : v[i];
        s.min = !s.n || v[i] < s.min ? v[i] : s.min;
        s.max = !s.n || v[i] > s.max ? v[i] : s.max;
        s.n++;
    }
    s.mean /= s.n ? s.n : 1;
    return s;
}
