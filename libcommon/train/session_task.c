/* What a session does with a labelled task: answers, and the head as a file. */
#include "formats/array.h"
#include "libcommon/probe/trained.h"
#include "libcommon/train/head.h"
#include "libcommon/train/session.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- answers ---- */

/* Adds this process's share of the batches. */
static int answer(mert_session *s, mert_corpus *c, const mert_epoch_plan *p, mert_load *load, mert_task_answers *a,
                  int *stop, mert_error *e)
{
    const mert_exchange *x = mert_session_exchange(s);
    int64_t C = s->task->targets.outputs;
    for (int64_t i = x->rank; i < p->n; i += x->ranks) {
        mert_sums sums = {0};
        float *scores;
        int bad;
        if (s->stop && (*stop = s->stop()))
            return 0;
        if (mert_session_piece(s, c, p, i, load, &sums, e))
            return -1;
        if (!(scores = mert_array(mert_array_count(load->examples.n, C), sizeof *scores)))
            return mert_fail(e, "out of memory");
        bad = mert_trainer_scores(s->trainer, scores, e) || mert_task_answers_add(a, &load->examples, scores, e);
        free(scores);
        if (bad)
            return -1;
        a->loss += sums.loss;
        a->heard += (double)sums.examples;
    }
    return 0;
}

static int sum_all(mert_exchange *x, double *data, int64_t n, mert_error *e)
{
    enum { PIECE = 1 << 20 };
    for (int64_t at = 0; at < n; at += PIECE)
        if (mert_exchange_sum(x, data + at, (int)(n - at < PIECE ? n - at : PIECE), e))
            return -1;
    return 0;
}

int mert_session_answer(mert_session *s, mert_corpus *c, mert_probe_part part, mert_task_answers *a, int *stop,
                        mert_error *e)
{
    mert_exchange *x = mert_session_exchange(s);
    mert_load load = {0};
    mert_epoch_plan p;
    double whole[3];
    int bad;
    *stop = 0;
    if (mert_task_answers_make(a, s->task, e) || mert_plan_pieces(&p, c, &s->recipe, &s->model, e))
        return -1;
    bad = answer(s, c, &p, &load, a, stop, e);
    mert_load_free(&load);
    mert_epoch_plan_free(&p);
    whole[0] = a->loss;
    whole[1] = a->heard;
    whole[2] = *stop != 0;
    if (bad || sum_all(x, whole, 3, e) || sum_all(x, a->sums, mert_task_answers_size(a), e))
        return -1;
    a->loss = whole[0];
    a->heard = whole[1];
    *stop |= whole[2] > 0;
    return *stop ? 0 : mert_task_answers_score(a, part, e);
}

/* ---- the head as a file ---- */

void mert_session_layer(const mert_session *s, mert_layer_name name)
{
    if (s->recipe.task_layer < 0)
        snprintf(name, sizeof(mert_layer_name), "weighted");
    else
        snprintf(name, sizeof(mert_layer_name), "%" PRId64, s->recipe.task_layer);
}

static void copy(const mert_weights *w, const char *name, float *to)
{
    const mert_parameter *p = mert_layout_find(&w->layout, name);
    if (p)
        memcpy(to, w->values + p->offset, (size_t)p->n * sizeof *to);
}

static void fill_probe(const mert_session *s, const mert_weights *w, mert_trained *t)
{
    t->gelu = t->hidden > 0;
    for (int64_t l = 0; l < t->layers; l++)
        snprintf(t->layer[l], sizeof t->layer[l], "%" PRId64, s->recipe.task_layer < 0 ? l : s->recipe.task_layer);
    copy(w, "task.scale", t->scale);
    copy(w, "task.shift", t->mean);
    for (int64_t i = 0; i < t->layers * t->width; i++)
        t->mean[i] = t->scale[i] > 0 ? -t->mean[i] / t->scale[i] : 0;
    t->mixture[0] = 1;
    copy(w, "task.mixture", t->mixture);
    if (t->hidden) {
        copy(w, "task.hidden.weight", t->hidden_weight);
        copy(w, "task.hidden.bias", t->hidden_bias);
    }
    copy(w, "task.output.weight", t->weight);
    copy(w, "task.output.bias", t->bias);
    if (t->outputs.task == MERT_PROBE_REGRESS) {
        memcpy(t->number_mean, s->task->mean, (size_t)t->outputs.n * sizeof *t->number_mean);
        memcpy(t->number_size, s->task->size, (size_t)t->outputs.n * sizeof *t->number_size);
    }
}

static int write_probe(const mert_session *s, const mert_weights *w, const char *path, mert_error *e)
{
    const mert_targets *g = &s->task->targets;
    mert_trained t = {.outputs = {g->task, g->outputs, NULL}, .layers = s->model.task_layers, .width = s->model.width,
                      .hidden = s->model.task_hidden};
    int bad;
    snprintf(t.features.kind, sizeof t.features.kind, "hidden");
    t.features.width = t.width;
    t.features.sample_rate = s->model.sample_rate;
    t.features.model = mert_weights_hash(w);
    t.layer = mert_array_zeroed(t.layers, sizeof *t.layer);
    t.names = mert_array_zeroed(g->outputs, sizeof *t.names);
    bad = !t.layer || !t.names || mert_trained_make(&t, e);
    for (int64_t c = 0; !bad && g->names && c < g->outputs; c++)
        bad = !(t.names[c] = strdup(g->names[c]));
    if (!g->names) {
        free(t.names);
        t.names = NULL;
    }
    t.outputs.names = t.names;
    if (bad)
        mert_fail(e, "out of memory");
    else {
        fill_probe(s, w, &t);
        bad = mert_trained_write(&t, path, e);
    }
    mert_trained_free(&t);
    return bad ? -1 : 0;
}

int mert_session_take_model(mert_session *s, const char *path, const char *probe, mert_error *e)
{
    mert_weights w;
    int bad;
    if (mert_weights_load(&w, path, 1, e))
        return -1;
    bad = w.layout.size != s->weights.layout.size ? mert_fail(e, "%s: not a model of this run", path)
                                                  : mert_trainer_set(s->trainer, w.values, NULL, NULL, e);
    if (!bad && !mert_session_exchange(s)->rank)
        bad = write_probe(s, &w, probe, e);
    mert_weights_free(&w);
    return bad ? -1 : 0;
}
