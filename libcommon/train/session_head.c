/* The first values of a task's head, from the hidden states of the model as it is. */
#include "formats/array.h"
#include "libcommon/probe/linear.h"
#include "libcommon/train/head.h"
#include "libcommon/train/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int mert_session_piece(mert_session *s, mert_corpus *c, const mert_epoch_plan *p, int64_t index, mert_load *load,
                       mert_sums *sums, mert_error *e)
{
    if (mert_load_fill(load, c, &s->recipe, &s->model, p, MERT_VALIDATION, index, 0, index, e))
        return -1;
    if (load->failed) /* what is compared must be the same every time */
        return mert_fail(e, "%s: %s", mert_corpus_key(c, load->failures->item), load->failures->why);
    return mert_trainer_evaluate(s->trainer, &load->batch, sums, e);
}

/* ---- hidden states of examples ---- */

enum { GATHERED = 2000 }; /* examples of a part, about */

typedef struct gathered {
    int64_t n, room, width; /* width: of all hidden states of an example together */
    float *x;               /* [n, width]; later [n, D], what the head is given */
    int64_t *row;           /* [n]: which examples they are */
} gathered;

static void forget(gathered *g)
{
    free(g->x);
    free(g->row);
}

static int make_room(gathered *g, int64_t n, mert_error *e)
{
    int64_t room = 2 * n;
    float *x;
    int64_t *row;
    if (n <= g->room)
        return 0;
    x = mert_array_resize(g->x, mert_array_count(room, g->width), sizeof *x);
    g->x = x ? x : g->x;
    row = mert_array_resize(g->row, room, sizeof *row);
    g->row = row ? row : g->row;
    g->room = x && row ? room : 0;
    return g->room ? 0 : mert_fail(e, "out of memory for the hidden states of %lld examples", (long long)n);
}

/* Adds the examples of the batch that the trainer has evaluated. */
static int add_batch(mert_session *s, gathered *g, const mert_examples *x, mert_error *e)
{
    int64_t D = s->model.width, layers = s->model.task_layers;
    float *features = mert_array(mert_array_count(x->n, g->width), sizeof *features); /* [layers, n, D] */
    int bad = !features ? mert_fail(e, "out of memory")
                        : mert_trainer_features(s->trainer, features, e) || make_room(g, g->n + x->n, e);
    for (int64_t i = 0; !bad && i < x->n; i++, g->n++) {
        g->row[g->n] = x->row[i];
        for (int64_t l = 0; l < layers; l++)
            memcpy(g->x + g->n * g->width + l * D, features + (l * x->n + i) * D, (size_t)D * sizeof *features);
    }
    free(features);
    return bad;
}

/* Every process does the same. */
static int gather(mert_session *s, mert_corpus *c, mert_probe_part part, gathered *g, mert_error *e)
{
    int64_t step = (mert_task_count(s->task, part) + GATHERED - 1) / GATHERED;
    mert_load load = {0};
    mert_epoch_plan p;
    int bad = 0;
    *g = (gathered){.width = s->model.task_layers * s->model.width};
    if (mert_plan_pieces(&p, c, &s->recipe, &s->model, e))
        return -1;
    for (int64_t i = 0; !bad && i < p.n; i += step > 0 ? step : 1) {
        mert_sums sums = {0};
        bad = mert_session_piece(s, c, &p, i, &load, &sums, e) || add_batch(s, g, &load.examples, e);
    }
    mert_load_free(&load);
    mert_epoch_plan_free(&p);
    return bad || g->n ? bad
                       : mert_fail(e, "%s: no example of the %s part has a frame", s->task->table.path,
                                   part == MERT_PROBE_TRAIN ? "training" : "validation");
}

/* ---- mean and deviation ---- */

static void measure(const gathered *g, float *scale, float *shift)
{
    for (int64_t k = 0; k < g->width; k++) {
        double sum = 0, squares = 0, mean, variance;
        for (int64_t i = 0; i < g->n; i++)
            sum += g->x[i * g->width + k];
        mean = sum / (double)g->n;
        for (int64_t i = 0; i < g->n; i++)
            squares += pow(g->x[i * g->width + k] - mean, 2);
        variance = squares / (double)g->n;
        scale[k] = variance > 1e-12 * (1 + mean * mean) ? (float)(1 / sqrt(variance)) : 0; /* 0: always the same */
        shift[k] = (float)(-mean * scale[k]);
    }
}

/* What the head is given, in place: [n, D]. */
static void mix(gathered *g, const float *scale, const float *shift, int64_t layers, int64_t D)
{
    for (int64_t i = 0; i < g->n; i++)
        for (int64_t d = 0; d < D; d++) {
            double sum = 0;
            for (int64_t l = 0; l < layers; l++)
                sum += (double)g->x[i * g->width + l * D + d] * scale[l * D + d] + shift[l * D + d];
            g->x[i * D + d] = (float)(sum / (double)layers); /* (what is overwritten has been read) */
        }
}

/* ---- a linear probe ---- */

typedef struct answers {
    int32_t *label;
    float *y;
} answers;

static int make_answers(const mert_task *t, const gathered *g, answers *to, mert_error *e)
{
    int64_t C = t->targets.outputs;
    *to = (answers){mert_array(g->n, sizeof *to->label), mert_array(mert_array_count(g->n, C), sizeof *to->y)};
    if (!to->label || !to->y)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < g->n; i++) {
        int64_t row = g->row[i];
        to->label[i] = t->targets.label ? t->targets.label[row] : 0;
        for (int64_t c = 0; t->targets.y && c < C; c++)
            to->y[i * C + c] =
                t->mean ? (t->targets.y[row * C + c] - t->mean[c]) / t->size[c] : t->targets.y[row * C + c];
    }
    return 0;
}

static mert_linear_data data_of(const mert_session *s, const gathered *g, const answers *a)
{
    return (mert_linear_data){.task = s->task->kind, .n = g->n, .d = s->model.width,
                              .outputs = s->task->targets.outputs, .x = g->x, .label = a->label, .y = a->y};
}

/* From the largest decay to the smallest, each from the one before; w becomes that with the smallest loss on the
 * validation part. now [size], scores [valid->n, outputs]: memory. */
static int choose(const mert_linear_data *train, const mert_linear_data *valid, int64_t size, float *w, float *now,
                  float *scores, mert_error *e)
{
    static const double decays[] = {100, 10, 1, 0.1, 0.01, 0.001, 0.0001};
    double best = INFINITY;
    memset(now, 0, (size_t)size * sizeof *now);
    memset(w, 0, (size_t)size * sizeof *w);
    for (size_t i = 0; i < sizeof decays / sizeof *decays; i++) {
        double loss;
        if (mert_linear_fit(train, decays[i], now, e) < 0)
            return -1;
        mert_linear_scores(valid->x, valid->n, valid->d, valid->outputs, now, scores);
        loss = mert_linear_loss(valid, scores, NULL);
        if (loss < best) {
            best = loss;
            memcpy(w, now, (size_t)size * sizeof *w);
        }
    }
    return 0;
}

static int fit(mert_session *s, const gathered *train, const gathered *valid, mert_error *e)
{
    int64_t C = s->task->targets.outputs, D = s->model.width, size = C * D + C;
    const mert_layout *l = &s->weights.layout;
    answers a = {0}, b = {0};
    float *w = mert_array(2 * size + mert_array_count(valid->n, C), sizeof *w);
    int bad = !w ? mert_fail(e, "out of memory")
                 : make_answers(s->task, train, &a, e) || make_answers(s->task, valid, &b, e);
    if (!bad) {
        mert_linear_data of_train = data_of(s, train, &a), of_valid = data_of(s, valid, &b);
        bad = choose(&of_train, &of_valid, size, w, w + size, w + 2 * size, e);
    }
    if (!bad) {
        memcpy(s->weights.values + mert_layout_offset(l, "task.output.weight"), w, (size_t)(C * D) * sizeof *w);
        memcpy(s->weights.values + mert_layout_offset(l, "task.output.bias"), w + C * D, (size_t)C * sizeof *w);
    }
    free(w);
    free(a.label);
    free(a.y);
    free(b.label);
    free(b.y);
    return bad;
}

int mert_session_begin_head(mert_session *s, mert_error *e)
{
    int64_t D = s->model.width, layers = s->model.task_layers;
    float *scale = s->weights.values + mert_layout_offset(&s->weights.layout, "task.scale");
    float *shift = s->weights.values + mert_layout_offset(&s->weights.layout, "task.shift");
    gathered train = {0}, valid = {0};
    int bad = gather(s, &s->train, MERT_PROBE_TRAIN, &train, e);
    if (!bad)
        measure(&train, scale, shift);
    if (!bad && !s->recipe.head_init && !s->model.task_hidden) {
        bad = gather(s, &s->valid, MERT_PROBE_VALID, &valid, e);
        if (!bad) {
            mix(&train, scale, shift, layers, D);
            mix(&valid, scale, shift, layers, D);
            bad = fit(s, &train, &valid, e);
        }
    }
    forget(&train);
    forget(&valid);
    return bad ? -1 : mert_trainer_set(s->trainer, s->weights.values, NULL, NULL, e);
}
