#include "libcommon/probe/predictions.h"

#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <math.h>

void mert_predictions_head(FILE *to, const mert_outputs *o)
{
    fputs("key\tstart\tend\tlayer\tseed\tfold\tlabel\tpredicted", to);
    for (int64_t c = 0; o->names && c < o->n; c++)
        fprintf(to, "\tscore:%s", o->names[c]);
    putc('\n', to);
}

static void write_time(FILE *to, double seconds)
{
    if (isnan(seconds))
        fputs("\t-", to);
    else
        fprintf(to, "\t%.10g", seconds);
}

static void write_number(FILE *to, int64_t n)
{
    if (n < 0)
        fputs("\t-", to);
    else
        fprintf(to, "\t%" PRId64, n);
}

/* The names of the outputs above zero, or all numbers, with commas between. */
static void write_values(FILE *to, const mert_outputs *o, const float *y)
{
    const char *between = "";
    for (int64_t c = 0; c < o->n; c++) {
        if (o->task == MERT_PROBE_REGRESS)
            fprintf(to, "%s%.7g", between, (double)y[c]);
        else if (y[c] > 0)
            fprintf(to, "%s%s", between, o->names[c]);
        else
            continue;
        between = ",";
    }
}

int64_t mert_predicted_class(const float *answers, int64_t n)
{
    int64_t best = 0;
    for (int64_t c = 1; c < n; c++)
        best = answers[c] > answers[best] ? c : best;
    return best;
}

void mert_predictions_row(FILE *to, const mert_outputs *o, const mert_prediction *p)
{
    char key[3 * MTS_KEY_MAX + 1];
    fputs(mert_key_print(key, sizeof key, p->key), to);
    write_time(to, p->start);
    write_time(to, p->end);
    fprintf(to, "\t%s", p->layer);
    write_number(to, p->seed);
    write_number(to, p->fold);
    putc('\t', to);
    if (p->label)
        fputs(o->names[*p->label], to);
    else if (p->y)
        write_values(to, o, p->y);
    else
        putc('-', to);
    putc('\t', to);
    if (o->task == MERT_PROBE_CLASSIFY)
        fputs(o->names[mert_predicted_class(p->answers, o->n)], to);
    else
        write_values(to, o, p->answers);
    for (int64_t c = 0; o->names && c < o->n; c++)
        fprintf(to, "\t%.6g", 1 / (1 + exp(-(double)p->answers[c])));
    putc('\n', to);
}

/* ---- confusion ---- */

enum { CASES = 4 };

int64_t mert_confusion_size(const mert_outputs *o)
{
    return o->task == MERT_PROBE_CLASSIFY ? o->n * o->n : o->task == MERT_PROBE_MULTILABEL ? CASES * o->n : 0;
}

void mert_confusion_add(int64_t *count, const mert_targets *g, const float *answers, const int32_t *round)
{
    int64_t C = g->outputs;
    for (int64_t i = 0; i < g->n; i++) {
        const float *s = answers + i * C;
        if (round[i] < 0)
            continue;
        if (g->task == MERT_PROBE_CLASSIFY)
            count[g->label[i] * C + mert_predicted_class(s, C)]++;
        for (int64_t c = 0; g->task == MERT_PROBE_MULTILABEL && c < C; c++)
            count[c * CASES + (s[c] > 0 ? 0 : 1) + (g->y[i * C + c] > 0 ? 0 : 2)]++;
    }
}

void mert_confusion_head(FILE *to, const mert_outputs *o)
{
    fputs("layer\tlabel", to);
    if (o->task == MERT_PROBE_MULTILABEL)
        fputs("\ttrue_positive\tfalse_negative\tfalse_positive\ttrue_negative", to);
    for (int64_t c = 0; o->task == MERT_PROBE_CLASSIFY && c < o->n; c++)
        fprintf(to, "\t%s", o->names[c]);
    putc('\n', to);
}

void mert_confusion_rows(FILE *to, const mert_outputs *o, const char *layer, const int64_t *count)
{
    int64_t columns = o->n ? mert_confusion_size(o) / o->n : 0;
    for (int64_t r = 0; r < o->n; r++) {
        fprintf(to, "%s\t%s", layer, o->names[r]);
        for (int64_t c = 0; c < columns; c++)
            fprintf(to, "\t%" PRId64, count[r * columns + c]);
        putc('\n', to);
    }
}
