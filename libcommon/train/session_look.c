/* Measurements of a session's model: validation, predicted classes. */
#include "libcommon/train/data/neighbours.h"
#include "libcommon/train/session.h"

#include <math.h>
#include <stdlib.h>

/* ---- labels ---- */

/* The labels of codebook k in all batches of a plan, or in the first ones, up to a limit. cost NULL: counts them in n;
 * otherwise adds their cost to *cost, and their number to *frames. */
static int pass_labels(mert_session *s, mert_neighbours *n, const mert_corpus *c, const mert_epoch_plan *p,
                       int64_t epoch, int k, double *cost, int64_t *frames, mert_error *e)
{
    mert_load load = {0};
    const mert_batch *b = &load.batch;
    int64_t masked = 0;
    int bad = 0;
    for (int64_t i = 0; !bad && i < p->n && masked < MERT_NEIGHBOURS_COUNTED; i++) {
        bad = mert_load_fill_labels(&load, c, &s->recipe, &s->model, p, epoch, i,
                                    epoch == MERT_VALIDATION ? 0 : MERT_LAST_UPDATE, k, e);
        for (int64_t j = 0; !bad && j < b->B; j++) {
            const int32_t *labels = b->labels + (k * b->B + j) * b->T;
            const uint8_t *mask = b->mask + j * b->T;
            for (int64_t t = 0; t < b->T; t++)
                masked += mask[t];
            if (cost)
                *cost += mert_neighbours_cost(n, 0, labels, mask, b->T, frames);
            else
                bad = mert_neighbours_learn(n, 0, labels, mask, b->T, e);
        }
    }
    mert_load_free(&load);
    return bad;
}

int mert_session_neighbours(mert_session *s, double *bits, mert_error *e)
{
    mert_epoch_plan train, valid;
    int bad;
    if (mert_epoch_plan_make(&train, &s->train, &s->recipe, 0, e))
        return -1;
    if (mert_epoch_plan_make(&valid, &s->valid, &s->recipe, MERT_VALIDATION, e)) {
        mert_epoch_plan_free(&train);
        return -1;
    }
    bad = 0;
    for (int k = 0; !bad && k < s->train.K; k++) {
        mert_neighbours *n = mert_neighbours_new(1, &s->train.codebooks[k].classes);
        double cost = 0;
        int64_t frames = 0;
        bad = !n ? mert_fail(e, "out of memory")
                 : pass_labels(s, n, &s->train, &train, 0, k, NULL, NULL, e) ||
                       pass_labels(s, n, &s->valid, &valid, MERT_VALIDATION, k, &cost, &frames, e);
        bits[k] = cost / (double)frames / log(2);
        mert_neighbours_free(n);
    }
    mert_epoch_plan_free(&train);
    mert_epoch_plan_free(&valid);
    return bad ? -1 : 0;
}

/* ---- validation ---- */

/* Whether to stop. Processes that must pass equally often decide together, otherwise each decides for itself. */
static int asked_to_stop(const mert_session *s, mert_exchange *x, int *stop, mert_error *e)
{
    int mine = s->stop ? s->stop() : 0, *all, bad;
    *stop = mine;
    if (!mert_trainer_together(s->trainer))
        return 0;
    if (!(all = malloc((size_t)x->ranks * sizeof *all)))
        return mert_fail(e, "out of memory");
    bad = x->collect(x, &mine, all, sizeof mine, e);
    for (int r = 0; !bad && r < x->ranks; r++)
        *stop |= all[r];
    free(all);
    return bad;
}

/* This process's batches of validation. */
static int evaluate(mert_session *s, mert_exchange *x, mert_load *load, mert_sums *sums, int *stop, mert_error *e)
{
    for (int64_t first = 0; first < s->valid_plan.n; first += x->ranks) {
        int64_t i = first + x->rank;
        int silent = i >= s->valid_plan.n;
        if (asked_to_stop(s, x, stop, e))
            return -1;
        if (*stop || (silent && !mert_trainer_together(s->trainer)))
            return 0;
        if (silent)
            i = first;
        if (mert_load_fill(load, &s->valid, &s->recipe, &s->model, &s->valid_plan, MERT_VALIDATION, i, 0, i, e))
            return -1;
        if (load->failed) /* validations are compared, so all must have the same items */
            return mert_fail(e, "%s: %s", mert_corpus_key(&s->valid, load->failures->item), load->failures->why);
        if (mert_trainer_evaluate(s->trainer, &load->batch, silent ? NULL : sums, e))
            return -1;
    }
    return 0;
}

int mert_session_validate(mert_session *s, mert_sums *sums, int *stop, mert_error *e)
{
    struct { mert_sums sums; int stop; } mine = {.stop = 0}, *all;
    mert_exchange *x = mert_session_exchange(s);
    mert_load load = {0};
    int bad;
    *sums = (mert_sums){0};
    *stop = 0;
    if (!(all = malloc((size_t)x->ranks * sizeof *all)))
        return mert_fail(e, "out of memory");
    bad = evaluate(s, x, &load, &mine.sums, &mine.stop, e) || x->collect(x, &mine, all, sizeof mine, e);
    for (int r = 0; !bad && r < x->ranks; r++) {
        mert_sums_add(sums, &all[r].sums);
        *stop |= all[r].stop;
    }
    mert_load_free(&load);
    free(all);
    return bad ? -1 : 0;
}

/* The value of the recipe's best_metric; smaller is better. */
static double figure(const mert_recipe *r, const mert_sums *s, int K)
{
    double ce = 0, correct = 0, counted = 0;
    for (int k = 0; k < K; k++) {
        ce += s->ce[k] / (double)s->counted[k];
        correct += (double)s->correct[k];
        counted += (double)s->counted[k];
    }
    return r->best_metric == 1 ? s->masked_loss / (double)s->masked : r->best_metric == 2 ? ce / K : -correct / counted;
}

static int judge(mert_session *s, double is)
{
    mert_best *b = &s->state.best;
    if (b->metric != s->recipe.best_metric) /* values of different metrics cannot be compared */
        *b = (mert_best){.metric = s->recipe.best_metric, .update = -1};
    if (!s->recipe.best_metric)
        return 0;
    if (!isfinite(is) || (b->update >= 0 && !(is < b->figure))) {
        b->since++;
        return 0;
    }
    *b = (mert_best){s->recipe.best_metric, is, s->state.position.update, 0};
    return 1;
}

int mert_session_judge(mert_session *s, const mert_sums *sums)
{
    return judge(s, figure(&s->recipe, sums, s->model.codebooks));
}

int mert_session_judge_answers(mert_session *s, const mert_task_answers *a)
{
    return judge(s, s->recipe.best_metric == 1 ? a->loss / a->heard : -a->value[0]);
}

/* ---- predictions ---- */

/* counts [n]: becomes the counts of all processes. */
static int collect_counts(mert_exchange *x, int64_t *counts, int64_t n, mert_error *e)
{
    enum { PIECE = 1 << 15 };
    int64_t *all = x->ranks > 1 ? malloc((size_t)x->ranks * PIECE * sizeof *all) : NULL;
    int bad = 0;
    if (x->ranks == 1)
        return 0;
    if (!all)
        return mert_fail(e, "out of memory");
    for (int64_t at = 0; !bad && at < n; at += PIECE) {
        int64_t m = n - at < PIECE ? n - at : PIECE;
        bad = x->collect(x, counts + at, all, (size_t)m * sizeof *all, e);
        for (int64_t i = 0; !bad && i < x->ranks * m; i++)
            counts[at + i % m] = i < m ? all[i] : counts[at + i % m] + all[i];
    }
    free(all);
    return bad;
}

int mert_session_used(mert_session *s, int training, int64_t *used, mert_error *e)
{
    const mert_config *c = &s->model;
    int64_t n = mert_trainer_embeddings(s->trainer), at = 0, *counts = malloc((size_t)n * sizeof *counts);
    int bad = !counts ? mert_fail(e, "out of memory")
                      : mert_trainer_predicted(s->trainer, training, counts, e) ||
                            collect_counts(mert_session_exchange(s), counts, n, e);
    for (int k = 0; !bad && k < c->codebooks; k++) {
        used[k] = 0;
        at += c->special_rows;
        for (int64_t v = 0; v < c->classes[k]; v++)
            used[k] += counts[at + v] > 0;
        at += c->classes[k];
    }
    free(counts);
    return bad ? -1 : 0;
}
