#include "libcommon/models/inference/pooling.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Computes the starts of spans in order, ceil(j * num / den), without the product j * num, which could overflow. */
typedef struct stepper {
    int64_t whole, rest, den; /* num / den = whole + rest / den */
    int64_t floor, carried;   /* j * num / den = floor + carried / den */
} stepper;

static stepper first_span(const mert_pooling_plan *p)
{
    return (stepper){.whole = p->num / p->den, .rest = p->num % p->den, .den = p->den};
}

/* The first frame of the next span. */
static int64_t next_span(stepper *s)
{
    s->floor += s->whole;
    s->carried += s->rest;
    if (s->carried >= s->den) {
        s->carried -= s->den;
        s->floor++;
    }
    return s->floor + (s->carried > 0);
}

int64_t mert_pooling_rows(const mert_pooling_plan *plan, int64_t T)
{
    int64_t n = 1;
    if (plan->how == MERT_POOLING_NONE)
        return T;
    if (!plan->num)
        return 1;
    for (stepper s = first_span(plan); next_span(&s) < T;)
        n++;
    return n;
}

void mert_pooling_spans(const mert_pooling_plan *plan, int64_t T, int32_t *first)
{
    stepper s = plan->num ? first_span(plan) : (stepper){0};
    int64_t n = mert_pooling_rows(plan, T);
    for (int64_t j = 0; j < n; j++)
        first[j] = j ? (int32_t)next_span(&s) : 0;
    first[n] = (int32_t)T;
}

/* ---- lists of statistics ---- */

static const char *const names[MERT_POOLING_HOWS] = {"none", "mean", "max", "std"};

/* The k-th statistic of a row. */
static mert_pooling_how statistic(const mert_pooling_plan *plan, int k)
{
    return k ? plan->more[k - 1] : plan->how;
}

int mert_pooling_statistics(const mert_pooling_plan *plan)
{
    int n = 0;
    while (n < MERT_POOLING_HOWS - 1 && statistic(plan, n) != MERT_POOLING_NONE)
        n++;
    return n;
}

int mert_pooling_parse(mert_pooling_plan *plan, const char *list, mert_error *e)
{
    int n = 0;
    plan->how = MERT_POOLING_NONE;
    memset(plan->more, 0, sizeof plan->more);
    for (const char *p = list;; p += 1) {
        size_t length = strcspn(p, ",");
        int how = MERT_POOLING_MEAN;
        if (!n && !strcmp(list, names[MERT_POOLING_NONE]))
            return 0;
        while (how < MERT_POOLING_HOWS && (strlen(names[how]) != length || strncmp(names[how], p, length)))
            how++;
        if (how == MERT_POOLING_HOWS)
            return mert_fail(e, "'%s' is neither none nor a list of mean, std and max", list);
        for (int k = 0; k < n; k++)
            if (statistic(plan, k) == (mert_pooling_how)how)
                return mert_fail(e, "%s is there twice", names[how]);
        *(n ? &plan->more[n - 1] : &plan->how) = (mert_pooling_how)how;
        n++;
        p += length;
        if (!*p)
            return 0;
    }
}

void mert_pooling_print(const mert_pooling_plan *plan, char *to, size_t size)
{
    int n = mert_pooling_statistics(plan);
    size_t at = (size_t)snprintf(to, size, "%s", names[plan->how]);
    for (int k = 1; k < n && at < size; k++)
        at += (size_t)snprintf(to + at, size - at, ",%s", names[statistic(plan, k)]);
}

/* ---- pooling ---- */

struct mert_pooling {
    mert_pooling_plan plan;
    int statistics;
    int64_t width;
    stepper spans;
    int64_t t, end;      /* number of the next frame; end of the present span */
    int64_t n;           /* number of frames in the present span; of these, [width]: */
    double *sums;        /* mean */
    float *top;          /* max */
    float *first;        /* std: the first frame; sums of differences from it, and of their squares */
    double *distances, *squares;
    float *row;          /* [width * statistics]: the result */
};

static int has(const mert_pooling_plan *plan, mert_pooling_how how)
{
    for (int k = 0; k < mert_pooling_statistics(plan); k++)
        if (statistic(plan, k) == how)
            return 1;
    return 0;
}

/* Allocates only what the statistics need. 0: out of memory. */
static int make_sums(mert_pooling *p)
{
    size_t n = (size_t)p->width;
    if (has(&p->plan, MERT_POOLING_MEAN) && !(p->sums = malloc(n * sizeof *p->sums)))
        return 0;
    if (has(&p->plan, MERT_POOLING_MAX) && !(p->top = malloc(n * sizeof *p->top)))
        return 0;
    if (has(&p->plan, MERT_POOLING_STD) &&
        (!(p->first = malloc(n * sizeof *p->first)) || !(p->distances = malloc(n * sizeof *p->distances)) ||
         !(p->squares = malloc(n * sizeof *p->squares))))
        return 0;
    return (p->row = malloc(n * (size_t)p->statistics * sizeof *p->row)) != NULL;
}

mert_pooling *mert_pooling_new(const mert_pooling_plan *plan, int64_t width, mert_error *e)
{
    mert_pooling *p = calloc(1, sizeof *p);
    if (p) {
        p->plan = *plan;
        p->width = width;
        p->statistics = mert_pooling_statistics(plan);
        p->plan.part = plan->part ? plan->part : width;
    }
    if (!p || !make_sums(p)) {
        mert_pooling_free(p);
        mert_fail(e, "out of memory");
        return NULL;
    }
    mert_pooling_begin(p);
    return p;
}

void mert_pooling_free(mert_pooling *p)
{
    if (!p)
        return;
    free(p->sums);
    free(p->top);
    free(p->first);
    free(p->distances);
    free(p->squares);
    free(p->row);
    free(p);
}

void mert_pooling_begin(mert_pooling *p)
{
    p->t = p->n = 0;
    p->end = INT64_MAX;
    if (p->plan.num) {
        p->spans = first_span(&p->plan);
        p->end = next_span(&p->spans);
    }
}

static void add_frame(mert_pooling *p, const float *x)
{
    const size_t n = (size_t)p->width;
    if (!p->n && p->sums)
        memset(p->sums, 0, n * sizeof *p->sums);
    if (!p->n && p->top)
        memcpy(p->top, x, n * sizeof *x);
    if (!p->n && p->first) {
        memcpy(p->first, x, n * sizeof *x);
        memset(p->distances, 0, n * sizeof *p->distances);
        memset(p->squares, 0, n * sizeof *p->squares);
    }
    if (p->sums)
        for (size_t d = 0; d < n; d++)
            p->sums[d] += x[d];
    if (p->top)
        for (size_t d = 0; d < n; d++)
            p->top[d] = x[d] > p->top[d] ? x[d] : p->top[d];
    if (p->first)
        for (size_t d = 0; d < n; d++) {
            double y = (double)x[d] - (double)p->first[d];
            p->distances[d] += y;
            p->squares[d] += y * y;
        }
    p->n++;
}

/* The first frame is at most sqrt(n) standard deviations from the mean, so the relative error of the difference is at
 * most n * 2^-53. */
static float deviation(const mert_pooling *p, int64_t d)
{
    double n = (double)p->n, var = (p->squares[d] - p->distances[d] * p->distances[d] / n) / n;
    return var > 0 ? (float)sqrt(var) : 0;
}

int mert_pooling_end(mert_pooling *p, mert_rows_sink *take, void *self, mert_error *e)
{
    const int64_t part = p->plan.part;
    float *to = p->row;
    if (!p->n)
        return 0;
    for (int64_t from = 0; from < p->width; from += part)
        for (int k = 0; k < p->statistics; k++)
            for (int64_t d = from; d < from + part; d++)
                switch (statistic(&p->plan, k)) {
                case MERT_POOLING_MEAN: *to++ = (float)(p->sums[d] / (double)p->n); break;
                case MERT_POOLING_STD: *to++ = deviation(p, d); break;
                default: *to++ = p->top[d];
                }
    p->n = 0;
    return take(self, p->row, 1, e);
}

int mert_pooling_add(mert_pooling *p, const float *frames, int64_t n, mert_rows_sink *take, void *self, mert_error *e)
{
    for (int64_t i = 0; i < n; i++) {
        if (p->t == p->end) {
            if (mert_pooling_end(p, take, self, e))
                return -1;
            p->end = next_span(&p->spans);
        }
        add_frame(p, frames + i * p->width);
        p->t++;
    }
    return 0;
}
