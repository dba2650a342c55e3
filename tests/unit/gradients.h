/* Gradients that a backward operation left, against central differences of a loss in double precision. Small shapes are
 * checked at every coordinate, large ones (to cross the tiles) at some, and along a random direction. */
#ifndef TEST_GRADIENTS_H
#define TEST_GRADIENTS_H

#include "tests/unit/nn.h"

#define TOLERANCE 1e-5

static inline double dot(const double *x, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* The derivative of loss() when x moves along `direction`, or (NULL) at its coordinate i. */
static inline double difference(double (*loss)(void), double *x, int64_t n, const float *direction, int64_t i)
{
    const double h = 1e-5;
    double value[2];
    for (int side = 0; side < 2; side++) {
        double move = side ? -h : h;
        double *before = malloc((size_t)n * sizeof *before);
        if (!before)
            abort();
        memcpy(before, x, (size_t)n * sizeof *before);
        if (direction)
            for (int64_t k = 0; k < n; k++)
                x[k] += move * direction[k];
        else
            x[i] += move;
        value[side] = loss();
        memcpy(x, before, (size_t)n * sizeof *before);
        free(before);
    }
    return (value[0] - value[1]) / (2 * h);
}

/* How far g - before (NULL: 0) is from the gradient of loss() by x, as a share of the largest (or of 0.01: everything
 * is about 1, and a gradient that is 0 in exact arithmetic is what is left of a float subtraction). */
static inline double gradient_error(double (*loss)(void), double *x, const float *g, const float *before, int64_t n)
{
    const float *direction = numbers(n, 12345);
    double worst = 0, largest = 0.01, along = 0, length = 0;
    if (nn_again)
        return 0; /* the same bytes have been checked */
    int64_t some = n <= 48 ? n : 6;
    for (int64_t k = 0; k < n; k++) {
        double v = (double)g[k] - (before ? (double)before[k] : 0);
        largest = fmax(largest, fabs(v));
        along += v * direction[k];
        length += direction[k] * direction[k];
        if (v != v)
            return INFINITY;
    }
    for (int64_t k = 0; k < some; k++) {
        int64_t i = some == n ? k : k == 0 ? n - 1 : (int64_t)((uint64_t)k * 0x9E3779B97F4A7C15u % (uint64_t)n);
        double exact = difference(loss, x, n, NULL, i);
        largest = fmax(largest, fabs(exact));
        worst = fmax(worst, fabs(g[i] - (before ? (double)before[i] : 0) - exact));
    }
    worst = fmax(worst, fabs(along - difference(loss, x, n, direction, 0)) / sqrt(length));
    return worst / largest;
}

#define CHECK_GRADIENT(loss, x, g, before, n) CHECK_NEAR(gradient_error(loss, x, g, before, n), 0, TOLERANCE)

#endif
