/* Vectorised inner loops of the CPU backend: one table for each instruction set (base/cpu.h). Sums run in 16 fixed
 * lanes that are added in a fixed order. So a result depends on the instruction set, but not on alignment or on the
 * calling thread. */
#ifndef MERT_VECTOR_H
#define MERT_VECTOR_H

#include "libcommon/base/cpu.h"

#include <stdint.h>

typedef struct mert_vector {
    void (*gelu)(float *y, const float *x, const float *residual, int64_t n);
    void (*gelu_backward)(float *dx, const float *dy, const float *x, int64_t n);
    /* The steps after a product, for one row: + bias, copy to pre, GELU, + residual */
    void (*epilogue)(float *c, const float *bias, float *pre, int gelu, const float *residual, int64_t n);
    void (*axpy)(float *y, const float *x, float a, int64_t n);              /* y += a x */
    void (*scale)(float *y, const float *x, float a, int64_t n);             /* y = a x */
    double (*sum)(const float *x, int64_t n);
    double (*dot)(const float *x, const float *y, int64_t n);
    void (*layer_norm)(float *y, const float *x, const float *w, const float *b, int64_t n, float eps, float *mean,
                       float *rstd);
    void (*apply_norm)(float *y, const float *x, const float *w, const float *b, float mean, float rstd,
                       int64_t n); /* y = (x - mean) rstd w + b, as in layer_norm */
    void (*layer_norm_backward)(float *dx, const float *dy, const float *x, const float *w, float mean, float rstd,
                                int64_t n, int add);
    void (*norm_parameters)(float *dw, float *db, const float *dy, const float *x, float mean, float rstd, int64_t n);
    /* x[i] = exp(x[i] - shift); returns their sum */
    double (*exp_sum)(float *x, float shift, int64_t n);
    float (*max)(const float *x, int64_t n);
    /* ds = p * (dp - d) */
    void (*softmax_backward)(float *ds, const float *p, float d, int64_t n); /* ds holds dp on entry */
    /* x[i] *= bits[first + i] of the key < limit ? 0 : factor; first is a multiple of 4 */
    void (*dropout)(float *x, const uint32_t key[2], const uint32_t counter[3], uint32_t first, uint32_t limit,
                    float factor, int64_t n);
    /* beta: b1, 1 - b1, b2, 1 - b2; decay: the part of the weight that is subtracted (a factor 1 - decay would round it
     * away if lr is small) */
    void (*adam)(float *w, float *m, float *v, const float *g, int64_t n, float gscale, float decay, float step,
                 const float beta[4], float eps);
    void (*add_squares)(float *sum, const float *x, const float *mean, int64_t n); /* sum += (x - mean)^2 by element;
                                                                                      mean NULL: sum += x */
    void (*affine)(float *y, const float *x, const float *mean, const float *a, const float *b,
                   int64_t n); /* y = a (x - mean) + b by element */
    void (*glu)(float *y, const float *a, const float *g, int64_t n);
    void (*glu_backward)(float *da, float *dg, const float *dy, const float *a, const float *g, int64_t n);
    void (*narrow)(uint16_t *y, const float *x, int64_t n); /* conversion to bfloat16, and from it */
    void (*widen)(float *y, const uint16_t *x, int64_t n);
    /* by element: sum += x y; y = a x + b; z = a x + b y; (x1, x2) rotated by the angle with cosine c and sine (sign
     * s) */
    void (*add_products)(double *sum, const float *x, const float *y, int64_t n);
    void (*scale_shift)(float *y, const float *x, const float *a, const float *b, int64_t n);
    void (*combine)(float *z, const float *x, const float *a, const float *y, const float *b, int64_t n);
    void (*rotate)(float *x1, float *x2, const float *c, const float *s, float sign, int64_t n);
    void (*elu)(float *y, const float *x, int64_t n); /* x > 0 ? x : exp(x) - 1 */
    /* One step of an LSTM for n units: the gates are at gates, gates + h, ... (input, forget, cell, output, before the
     * nonlinearity); c and out [n]: c = sigmoid(f) c + sigmoid(i) tanh(g); out = sigmoid(o) tanh(c). */
    void (*lstm_gates)(const float *gates, int64_t h, float *c, float *out, int64_t n);
} mert_vector;

MERT_KERNEL_DECLARE(mert_vector, mert_vector)
#define MERT_VECTOR MERT_KERNEL_TABLE(mert_vector)

#endif
