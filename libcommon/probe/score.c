#include "libcommon/probe/score.h"

#include "formats/array.h"
#include "libcommon/probe/harmony.h"
#include "libcommon/probe/predictions.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- measures of ranks ---- */

static int descending(const void *pa, const void *pb)
{
    const mert_scored *a = pa, *b = pb;
    return (a->score < b->score) - (a->score > b->score);
}

/* The end of the run of equal scores that begins at i; *high: number of true ones in it. */
static int64_t run_end(const mert_scored *x, int64_t n, int64_t i, int64_t *high)
{
    int64_t end = i;
    *high = 0;
    for (; end < n && x[end].score == x[i].score; end++)
        *high += x[end].truth;
    return end;
}

double mert_score_auc(mert_scored *x, int64_t n)
{
    int64_t above = 0, high; /* number of true ones above the run */
    double won = 0;
    qsort(x, (size_t)n, sizeof *x, descending);
    for (int64_t i = 0, end; i < n; i = end, above += high) {
        end = run_end(x, n, i, &high);
        won += (double)(end - i - high) * ((double)above + 0.5 * (double)high);
    }
    return above && above < n ? won / ((double)above * (double)(n - above)) : NAN;
}

double mert_score_ap(mert_scored *x, int64_t n)
{
    int64_t found = 0, high;
    double sum = 0;
    qsort(x, (size_t)n, sizeof *x, descending);
    for (int64_t i = 0, end; i < n; i = end) {
        end = run_end(x, n, i, &high);
        found += high;
        sum += (double)high * (double)found / (double)end;
    }
    return found ? sum / (double)found : NAN;
}

double mert_score_r2(const float *y, const float *p, int64_t n, int64_t stride)
{
    double mean = 0, total = 0, left = 0;
    int constant = 1; /* tested directly, because the rounding of the sum could hide it */
    for (int64_t i = 0; i < n; i++) {
        mean += y[i * stride];
        constant &= y[i * stride] == y[0];
    }
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++) {
        double d = y[i * stride] - mean, r = (double)y[i * stride] - (double)p[i * stride];
        total += d * d;
        left += r * r;
    }
    return !constant && total > 0 ? 1 - left / total : NAN;
}

/* ---- all measures of a task ---- */

enum { ACCURACY, BALANCED, CLASS_F1, CLASS_AUC, CLASS_AP, KEY_SCORE };
enum { LABEL_AUC, LABEL_AP, LABEL_F1, LABEL_F1_MICRO };
enum { R2, MAE, R2_EACH };

void mert_score_log_odds(const float *s, int64_t C, float *to)
{
    double top = s[0], sum = 0;
    for (int64_t c = 1; c < C; c++)
        top = s[c] > top ? s[c] : top;
    for (int64_t c = 0; c < C; c++)
        sum += exp(s[c] - top);
    for (int64_t c = 0; c < C; c++) {
        double others = sum - exp(s[c] - top);
        if (others < 1e-3 * sum) { /* the difference is mostly rounding error: sums again */
            others = 0;
            for (int64_t k = 0; k < C; k++)
                others += k == c ? 0 : exp(s[k] - top);
        }
        to[c] = (float)(s[c] - top - log(others > 1e-300 ? others : 1e-300));
    }
}

static int classes_are_keys(const mert_targets *g)
{
    for (int64_t c = 0; g->names && c < g->outputs; c++)
        if (mert_key_parse(g->names[c]) < 0)
            return 0;
    return g->task == MERT_PROBE_CLASSIFY && g->names;
}

int mert_score_names(const mert_targets *g, char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX])
{
    static const char *const of[3][5] = {{"accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "ap"},
                                         {"roc_auc", "ap", "f1_macro", "f1_micro"}, {"r2", "mae"}};
    int n = 0;
    for (; n < 5 && of[g->task][n]; n++)
        snprintf(names[n], MERT_SCORE_NAME_MAX, "%s", of[g->task][n]);
    if (classes_are_keys(g))
        snprintf(names[n++], MERT_SCORE_NAME_MAX, "weighted_key_score");
    for (int64_t c = 0; g->task == MERT_PROBE_REGRESS && g->outputs > 1 && c < g->outputs && n < MERT_SCORES_MAX; c++)
        snprintf(names[n++], MERT_SCORE_NAME_MAX, "r2_%d", (int)c + 1);
    return n;
}

static int is_high(const mert_targets *g, int64_t i, int64_t c)
{
    return g->task == MERT_PROBE_CLASSIFY ? g->label[i] == c : g->y[i * g->outputs + c] > 0;
}

/* A mean over the defined values. */
typedef struct mean { double sum; int64_t n; } mean;

static void mean_add(mean *m, double x)
{
    if (!isnan(x)) {
        m->sum += x;
        m->n++;
    }
}

static double mean_of(const mean *m)
{
    return m->n ? m->sum / (double)m->n : NAN;
}

static void rank(const mert_targets *g, const float *score, const int32_t *round, int rounds, mert_scored *x,
                 double *auc, double *ap)
{
    mean aucs = {0}, aps = {0};
    for (int64_t c = 0; c < g->outputs; c++) {
        mean auc_c = {0}, ap_c = {0};
        for (int r = 0; r < rounds; r++) {
            int64_t n = 0;
            for (int64_t i = 0; i < g->n; i++)
                if (round[i] == r)
                    x[n++] = (mert_scored){score[i * g->outputs + c], is_high(g, i, c)};
            mean_add(&auc_c, mert_score_auc(x, n));
            mean_add(&ap_c, mert_score_ap(x, n));
        }
        mean_add(&aucs, mean_of(&auc_c));
        mean_add(&aps, mean_of(&ap_c));
    }
    *auc = mean_of(&aucs);
    *ap = mean_of(&aps);
}

/* right, wrong, missed [C]: true positives, false positives, false negatives. */
typedef struct counts { int64_t *right, *wrong, *missed; } counts;

static void count(const mert_targets *g, const float *score, const int32_t *round, const counts *k)
{
    for (int64_t i = 0; i < g->n; i++) {
        const float *s = score + i * g->outputs;
        int64_t best = mert_predicted_class(s, g->outputs);
        if (round[i] < 0)
            continue;
        for (int64_t c = 0; c < g->outputs; c++) {
            int said = g->task == MERT_PROBE_CLASSIFY ? c == best : s[c] > 0, is = is_high(g, i, c);
            k->right[c] += said && is;
            k->wrong[c] += said && !is;
            k->missed[c] += !said && is;
        }
    }
}

static double f1(int64_t right, int64_t wrong, int64_t missed)
{
    return right + wrong + missed ? 2 * (double)right / (double)(2 * right + wrong + missed) : NAN;
}

static void score_labels(const mert_targets *g, const counts *k, double *to)
{
    mean f = {0}, recall = {0};
    int64_t right = 0, wrong = 0, missed = 0;
    for (int64_t c = 0; c < g->outputs; c++) {
        int64_t is = k->right[c] + k->missed[c];
        mean_add(&f, f1(k->right[c], k->wrong[c], k->missed[c]));
        mean_add(&recall, is ? (double)k->right[c] / (double)is : NAN);
        right += k->right[c];
        wrong += k->wrong[c];
        missed += k->missed[c];
    }
    to[g->task == MERT_PROBE_CLASSIFY ? CLASS_F1 : LABEL_F1] = mean_of(&f);
    if (g->task == MERT_PROBE_CLASSIFY) {
        to[BALANCED] = mean_of(&recall);
        to[ACCURACY] = (double)right / (double)(right + missed);
    } else
        to[LABEL_F1_MICRO] = f1(right, wrong, missed);
}

static double score_keys(const mert_targets *g, const float *score, const int32_t *round)
{
    mean m = {0};
    for (int64_t i = 0; i < g->n; i++)
        if (round[i] >= 0)
            mean_add(&m, mert_key_score(
                             mert_key_parse(g->names[g->label[i]]),
                             mert_key_parse(g->names[mert_predicted_class(score + i * g->outputs, g->outputs)])));
    return mean_of(&m);
}

static void score_numbers(const mert_targets *g, const float *score, const int32_t *round, float *kept, double *to)
{
    int64_t C = g->outputs, n = 0;
    float *y = kept, *p = kept + g->n * C;
    double error = 0;
    mean r2 = {0};
    for (int64_t i = 0; i < g->n; i++)
        if (round[i] >= 0) {
            memcpy(y + n * C, g->y + i * C, (size_t)C * sizeof *y);
            memcpy(p + n++ * C, score + i * C, (size_t)C * sizeof *p);
        }
    for (int64_t c = 0; c < C; c++) {
        double one = mert_score_r2(y + c, p + c, n, C);
        mean_add(&r2, one);
        if (C > 1 && R2_EACH + c < MERT_SCORES_MAX)
            to[R2_EACH + c] = one;
    }
    for (int64_t i = 0; i < n * C; i++)
        error += fabs((double)y[i] - (double)p[i]);
    to[R2] = mean_of(&r2);
    to[MAE] = error / (double)(n * C);
}

int mert_score_all(const mert_targets *g, const float *score, const int32_t *round, int rounds, double *to,
                   mert_error *e)
{
    int64_t C = g->outputs;
    int bad = 0;
    if (g->task == MERT_PROBE_REGRESS) {
        float *kept = mert_array(mert_array_count(g->n, g->outputs), 2 * sizeof *kept);
        if (kept)
            score_numbers(g, score, round, kept, to);
        bad = !kept;
        free(kept);
    } else {
        mert_scored *x = mert_array(g->n, sizeof *x);
        int64_t *k = mert_array_zeroed(C, 3 * sizeof *k);
        counts all = {k, k ? k + C : NULL, k ? k + 2 * C : NULL};
        int classes = g->task == MERT_PROBE_CLASSIFY;
        if (x && k) {
            count(g, score, round, &all);
            score_labels(g, &all, to);
            rank(g, score, round, rounds, x, to + (classes ? CLASS_AUC : LABEL_AUC),
                 to + (classes ? CLASS_AP : LABEL_AP));
            if (classes_are_keys(g))
                to[KEY_SCORE] = score_keys(g, score, round);
        }
        bad = !x || !k;
        free(x);
        free(k);
    }
    return bad ? mert_fail(e, "out of memory") : 0;
}
