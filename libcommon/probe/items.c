#include "libcommon/probe/items.h"

#include "formats/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Counts the items and fills first[], whose size is that of the instances. */
static int find_items(mert_items *m, const mert_probe_table *t, const int64_t *row, int64_t n, mert_error *e)
{
    for (int64_t i = 0; i < n; i++) {
        const mert_probe_row *r = &t->rows[row[i]], *before = i ? &t->rows[row[i - 1]] : NULL;
        if (!before || strcmp(before->key, r->key))
            m->first[m->g.n++] = i;
        else if (strcmp(before->label, r->label))
            return mert_fail(e, "%s: line %" PRId64 ": '%.200s' has another label than in line %" PRId64
                             ": --per-item needs one label for each item",
                             r->path, r->line, r->key, before->line);
    }
    m->first[m->g.n] = n;
    return 0;
}

int mert_items_make(mert_items *m, const mert_targets *g, const mert_probe_table *t, const int64_t *row, mert_error *e)
{
    int64_t C = g->outputs;
    *m = (mert_items){.g = *g};
    m->g.n = 0;
    m->g.label = g->label ? mert_array(g->n, sizeof *m->g.label) : NULL;
    m->g.y = g->y ? mert_array(mert_array_count(g->n, C), sizeof *m->g.y) : NULL;
    m->g.group = mert_array(g->n, sizeof *m->g.group);
    m->first = mert_array(g->n + 1, sizeof *m->first);
    if (!m->first || !m->g.group || (g->label && !m->g.label) || (g->y && !m->g.y) ? mert_fail(e, "out of memory")
                                                                                  : find_items(m, t, row, g->n, e)) {
        mert_items_free(m);
        return -1;
    }
    for (int64_t i = 0; i < m->g.n; i++) {
        m->g.group[i] = g->group[m->first[i]];
        if (g->label)
            m->g.label[i] = g->label[m->first[i]];
        if (g->y)
            memcpy(m->g.y + i * C, g->y + m->first[i] * C, (size_t)C * sizeof *g->y);
    }
    return 0;
}

void mert_items_free(mert_items *m)
{
    free(m->g.label);
    free(m->g.y);
    free(m->g.group);
    free(m->first);
    *m = (mert_items){0};
}

void mert_answer_add(double sums[2], mert_probe_task task, float answer)
{
    if (task == MERT_PROBE_REGRESS)
        sums[0] += answer;
    else { /* separately, so that numbers near 0 and near 1 keep their precision */
        sums[0] += 1 / (1 + exp(-(double)answer));
        sums[1] += 1 / (1 + exp((double)answer));
    }
}

float mert_answer_mean(const double sums[2], mert_probe_task task, int64_t n)
{
    const double least = 1e-300;
    if (task == MERT_PROBE_REGRESS)
        return (float)(sums[0] / (double)n);
    return (float)log((sums[0] > least ? sums[0] : least) / (sums[1] > least ? sums[1] : least));
}

void mert_answers_mean(mert_probe_task task, const float *answers, int64_t n, int64_t outputs, float *to)
{
    for (int64_t c = 0; c < outputs; c++) {
        double sums[2] = {0, 0};
        for (int64_t i = 0; i < n; i++)
            mert_answer_add(sums, task, answers[i * outputs + c]);
        to[c] = mert_answer_mean(sums, task, n);
    }
}

void mert_items_average(const mert_items *m, float *answers, int32_t *round)
{
    int64_t C = m->g.outputs;
    for (int64_t i = 0; i < m->g.n; i++) {
        int64_t first = m->first[i];
        round[i] = round[first]; /* an item is in one part as a whole */
        mert_answers_mean(m->g.task, answers + first * C, m->first[i + 1] - first, C, answers + i * C);
    }
}
