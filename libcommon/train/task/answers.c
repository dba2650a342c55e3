#include "libcommon/train/task/answers.h"

#include "formats/array.h"
#include "libcommon/probe/items.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRAMES = 2, EACH }; /* of sums */

int64_t mert_task_answers_size(const mert_task_answers *a)
{
    return a->task->targets.n * a->task->targets.outputs * EACH;
}

int mert_task_answers_make(mert_task_answers *a, const mert_task *t, mert_error *e)
{
    const mert_targets *g = &t->targets;
    *a = (mert_task_answers){.task = t};
    a->sums = mert_array_zeroed(mert_array_count(g->n, g->outputs), EACH * sizeof *a->sums);
    a->answers = mert_array_zeroed(mert_array_count(g->n, g->outputs), sizeof *a->answers);
    a->round = mert_array(g->n, sizeof *a->round);
    a->scores = mert_score_names(g, a->names);
    return a->sums && a->answers && a->round ? 0 : mert_fail(e, "out of memory for the answers of a task");
}

void mert_task_answers_free(mert_task_answers *a)
{
    free(a->sums);
    free(a->answers);
    free(a->round);
    *a = (mert_task_answers){0};
}

int mert_task_answers_add(mert_task_answers *a, const mert_examples *x, const float *scores, mert_error *e)
{
    const mert_task *t = a->task;
    int64_t C = t->targets.outputs;
    float *answers = mert_array(C, sizeof *answers);
    if (!answers)
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < x->n; i++) {
        const float *s = scores + i * C;
        double frames = x->to[i] - x->from[i];
        if (t->kind == MERT_PROBE_CLASSIFY)
            mert_score_log_odds(s, C, answers);
        else
            for (int64_t c = 0; c < C; c++)
                answers[c] = t->kind == MERT_PROBE_REGRESS ? s[c] * t->size[c] + t->mean[c] : s[c];
        for (int64_t c = 0; c < C; c++) {
            double one[2] = {0, 0}, *to = a->sums + (x->row[i] * C + c) * EACH;
            mert_answer_add(one, t->kind, answers[c]);
            to[0] += frames * one[0];
            to[1] += frames * one[1];
            to[FRAMES] += frames;
        }
    }
    free(answers);
    return 0;
}

int mert_task_answers_score(mert_task_answers *a, mert_probe_part part, mert_error *e)
{
    const mert_task *t = a->task;
    int64_t C = t->targets.outputs;
    a->answered = a->silent = 0;
    for (int64_t i = 0; i < t->targets.n; i++) {
        const double *sums = a->sums + i * C * EACH;
        int is = t->part[i] == part && sums[FRAMES] > 0;
        a->round[i] = is ? 0 : -1;
        a->answered += is;
        a->silent += t->part[i] == part && !is;
        for (int64_t c = 0; is && c < C; c++)
            a->answers[i * C + c] = mert_answer_mean(sums + c * EACH, t->kind, (int64_t)sums[FRAMES]);
    }
    if (!a->answered)
        return mert_fail(e, "%s: no %s of the %s part has a frame", t->table.path, t->table.spans ? "span" : "item",
                         part == MERT_PROBE_TEST ? "test" : "validation");
    return mert_score_all(&t->targets, a->answers, a->round, 1, a->value, e);
}

int mert_task_answers_guess(mert_task_answers *a, mert_probe_part part, mert_error *e)
{
    const mert_task *t = a->task;
    const mert_targets *g = &t->targets;
    int64_t n = 0, C = g->outputs;
    int both = t->carved;
    for (int64_t i = 0; i < g->n; i++) {
        a->round[i] = t->part[i] == part ? 0 : -1;
        n += t->part[i] == MERT_PROBE_TRAIN || (both && t->part[i] == MERT_PROBE_VALID);
    }
    for (int64_t c = 0; c < C; c++) {
        double have = 0, score;
        for (int64_t i = 0; i < g->n; i++)
            if (t->part[i] == MERT_PROBE_TRAIN || (both && t->part[i] == MERT_PROBE_VALID))
                have += g->label ? g->label[i] == c : g->y[i * C + c];
        score = g->task == MERT_PROBE_REGRESS ? have / (double)n : log((have + 0.5) / ((double)n - have + 0.5));
        for (int64_t i = 0; i < g->n; i++)
            a->answers[i * C + c] = (float)score;
    }
    return mert_score_all(g, a->answers, a->round, 1, a->value, e);
}
