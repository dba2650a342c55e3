#include "libcommon/probe/linear.h"

#include "formats/array.h"
#include "libcommon/nn/cpu/product.h"
#include "libcommon/nn/cpu/vector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY = 10, HALVINGS = 30 };
static const double smallest_gradient = 1e-5, smallest_gain = 1e-7;

void mert_linear_scores(const float *x, int64_t n, int64_t d, int64_t outputs, const float *w, float *scores)
{
    mert_product(.M = n, .N = outputs, .K = d, .a = x, .lda = d, .b = w, .ldb = d, .tb = 1, .c = scores,
                 .ldc = outputs);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < outputs; c++)
            scores[i * outputs + c] += w[outputs * d + c];
}

/* log(1 + exp(x)) */
static double softplus(double x)
{
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

static double softmax_row(const float *s, int64_t C, int32_t label, float scale, float *grad)
{
    double top = s[0], sum = 0, target = s[label];
    for (int64_t c = 1; c < C; c++)
        top = s[c] > top ? s[c] : top;
    for (int64_t c = 0; c < C; c++) {
        double p = exp(s[c] - top);
        sum += p;
        if (grad)
            grad[c] = (float)p;
    }
    for (int64_t c = 0; grad && c < C; c++)
        grad[c] = scale * (float)(grad[c] / sum - (c == label));
    return top + log(sum) - target;
}

double mert_linear_loss(const mert_linear_data *data, const float *scores, float *grad)
{
    int64_t C = data->outputs;
    float scale = 1 / (float)data->n;
    double loss = 0;
    for (int64_t i = 0; i < data->n; i++) {
        const float *s = scores + i * C, *y = data->y ? data->y + i * C : NULL;
        float *g = grad ? grad + i * C : NULL;
        if (data->task == MERT_PROBE_CLASSIFY) {
            loss += softmax_row(s, C, data->label[i], scale, g);
            continue;
        }
        for (int64_t c = 0; c < C; c++) {
            double v = s[c], r = v - y[c];
            if (data->task == MERT_PROBE_MULTILABEL) {
                loss += softplus(v) - y[c] * v;
                r = 1 / (1 + exp(-v)) - y[c];
            } else
                loss += 0.5 * r * r;
            if (g)
                g[c] = scale * (float)r;
        }
    }
    return data->n ? loss / (double)data->n : 0;
}

/* ---- L-BFGS ---- */

typedef struct descent {
    const mert_linear_data *data;
    double decay;
    int64_t size;                 /* length of w */
    float *scores, *w, *g, *next, *next_g, *direction;
    float *s[MEMORY], *y[MEMORY]; /* a ring of the last steps and the changes of the gradient */
    double sy[MEMORY];
    int held, last;
} descent;

static double objective(descent *k, const float *w, float *g)
{
    const mert_linear_data *p = k->data;
    int64_t C = p->outputs, weights = C * p->d;
    double loss;
    mert_linear_scores(p->x, p->n, p->d, C, w, k->scores);
    loss = mert_linear_loss(p, k->scores, k->scores);
    mert_product(.M = C, .N = p->d, .K = p->n, .a = k->scores, .lda = C, .ta = 1, .b = p->x, .ldb = p->d, .c = g,
                 .ldc = p->d);
    for (int64_t c = 0; c < C; c++) {
        double sum = 0;
        for (int64_t i = 0; i < p->n; i++)
            sum += k->scores[i * C + c];
        g[weights + c] = (float)sum;
    }
    MERT_VECTOR->axpy(g, w, (float)k->decay, weights);
    return loss + 0.5 * k->decay * MERT_VECTOR->dot(w, w, weights);
}

/* direction = -(approximate inverse Hessian) g: the two-loop recursion. */
static void find_direction(descent *k)
{
    const mert_vector *v = MERT_VECTOR;
    double a[MEMORY];
    v->scale(k->direction, k->g, -1, k->size);
    for (int i = 0; i < k->held; i++) {
        int at = (k->last - i + MEMORY) % MEMORY;
        a[at] = v->dot(k->s[at], k->direction, k->size) / k->sy[at];
        v->axpy(k->direction, k->y[at], (float)-a[at], k->size);
    }
    if (k->held)
        v->scale(k->direction, k->direction, (float)(k->sy[k->last] / v->dot(k->y[k->last], k->y[k->last], k->size)),
                 k->size);
    for (int i = k->held; i-- > 0;) {
        int at = (k->last - i + MEMORY) % MEMORY;
        v->axpy(k->direction, k->s[at], (float)(a[at] - v->dot(k->y[at], k->direction, k->size) / k->sy[at]), k->size);
    }
}

/* Stores the step from (w, g) to (next, next_g), unless the curvature along it is below the rounding error. */
static void remember(descent *k)
{
    int at = (k->last + 1) % MEMORY;
    double sy, yy;
    for (int64_t i = 0; i < k->size; i++) {
        k->s[at][i] = k->next[i] - k->w[i];
        k->y[at][i] = k->next_g[i] - k->g[i];
    }
    sy = MERT_VECTOR->dot(k->s[at], k->y[at], k->size);
    yy = MERT_VECTOR->dot(k->y[at], k->y[at], k->size);
    if (!(sy > 1e-10 * yy))
        return;
    k->sy[at] = sy;
    k->last = at;
    k->held += k->held < MEMORY;
}

/* Halves the step until it satisfies Armijo's condition. -1: no step decreases the loss. */
static int search(descent *k, double f, double *next_f)
{
    double slope = MERT_VECTOR->dot(k->g, k->direction, k->size), step = 1;
    if (!k->held)
        step = 1 / (1 + sqrt(-slope));
    for (int i = 0; i < HALVINGS && slope < 0; i++, step /= 2) {
        memcpy(k->next, k->w, (size_t)k->size * sizeof *k->next);
        MERT_VECTOR->axpy(k->next, k->direction, (float)step, k->size);
        *next_f = objective(k, k->next, k->next_g);
        if (*next_f <= f + 1e-4 * step * slope)
            return 0;
    }
    return -1;
}

static double largest(const float *x, int64_t n)
{
    double top = 0;
    for (int64_t i = 0; i < n; i++)
        top = fabs(x[i]) > top ? fabs(x[i]) : top;
    return top;
}

static int descend(descent *k)
{
    double f = objective(k, k->w, k->g), next_f = f;
    int small = 0;
    for (int step = 0; step < MERT_LINEAR_STEPS; step++) {
        float *swap;
        if (largest(k->g, k->size) < smallest_gradient || small == 3)
            return step;
        find_direction(k);
        if (search(k, f, &next_f)) {
            if (!k->held)
                return step;
            k->held = 0; /* discards the stored steps and tries again along the gradient */
            continue;
        }
        remember(k);
        swap = k->w, k->w = k->next, k->next = swap;
        swap = k->g, k->g = k->next_g, k->next_g = swap;
        small = f - next_f < smallest_gain * fabs(f) ? small + 1 : 0;
        f = next_f;
    }
    return MERT_LINEAR_STEPS;
}

int mert_linear_fit(const mert_linear_data *data, double decay, float *w, mert_error *e)
{
    descent k = {.data = data, .decay = decay, .size = data->outputs * (data->d + 1)};
    int64_t all = k.size * (5 + 2 * MEMORY) + data->n * data->outputs;
    float *room = mert_array(all, sizeof *room), *at = room, **parts[] = {&k.w, &k.g, &k.next, &k.next_g, &k.direction};
    int steps;
    if (!room)
        return mert_fail(e, "out of memory");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, at += k.size)
        *parts[i] = at;
    for (int i = 0; i < MEMORY; i++, at += 2 * k.size) {
        k.s[i] = at;
        k.y[i] = at + k.size;
    }
    k.scores = at;
    memcpy(k.w, w, (size_t)k.size * sizeof *w);
    steps = descend(&k);
    memcpy(w, k.w, (size_t)k.size * sizeof *w);
    free(room);
    return steps;
}
