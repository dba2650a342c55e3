#include "libcommon/models/inference/pooling.h"

#include <stdlib.h>
#include <string.h>

/* Where spans begin, one after the other: ceil(j * num / den) without ever forming j * num. */
typedef struct stepper {
    int64_t whole, rest, den; /* num / den = whole + rest / den */
    int64_t floor, carried;   /* j * num / den = floor + carried / den */
} stepper;

static stepper first_span(const mert_pooling_plan *p)
{
    return (stepper){.whole = p->num / p->den, .rest = p->num % p->den, .den = p->den};
}

/* The first frame of the span after. */
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

struct mert_pooling {
    mert_pooling_plan plan;
    int64_t width;
    stepper spans;
    int64_t t, end;      /* the next frame; where the present span ends */
    int64_t n;           /* frames in the present span */
    double *sums;        /* [width] */
    float *row;          /* [width]: the largest so far; what goes out */
};

mert_pooling *mert_pooling_new(const mert_pooling_plan *plan, int64_t width, mert_error *e)
{
    mert_pooling *p = calloc(1, sizeof *p);
    if (p) {
        p->plan = *plan;
        p->width = width;
        p->sums = malloc((size_t)width * sizeof *p->sums);
        p->row = malloc((size_t)width * sizeof *p->row);
    }
    if (!p || !p->sums || !p->row) {
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

static void take_in(mert_pooling *p, const float *x)
{
    if (p->plan.how == MERT_POOLING_MEAN) {
        if (!p->n)
            memset(p->sums, 0, (size_t)p->width * sizeof *p->sums);
        for (int64_t d = 0; d < p->width; d++)
            p->sums[d] += x[d];
    } else if (!p->n) {
        memcpy(p->row, x, (size_t)p->width * sizeof *x);
    } else {
        for (int64_t d = 0; d < p->width; d++)
            p->row[d] = x[d] > p->row[d] ? x[d] : p->row[d];
    }
    p->n++;
}

int mert_pooling_end(mert_pooling *p, mert_take_rows *take, void *self, mert_error *e)
{
    if (!p->n)
        return 0;
    if (p->plan.how == MERT_POOLING_MEAN)
        for (int64_t d = 0; d < p->width; d++)
            p->row[d] = (float)(p->sums[d] / (double)p->n);
    p->n = 0;
    return take(self, p->row, 1, e);
}

int mert_pooling_add(mert_pooling *p, const float *frames, int64_t n, mert_take_rows *take, void *self, mert_error *e)
{
    for (int64_t i = 0; i < n; i++) {
        if (p->t == p->end) {
            if (mert_pooling_end(p, take, self, e))
                return -1;
            p->end = next_span(&p->spans);
        }
        take_in(p, frames + i * p->width);
        p->t++;
    }
    return 0;
}
