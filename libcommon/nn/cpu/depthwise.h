/* The inner loop of the depthwise convolution and of its backward pass: one table for each instruction set
 * (base/cpu.h). */
#ifndef MERT_DEPTHWISE_H
#define MERT_DEPTHWISE_H

#include "libcommon/base/cpu.h"

#include <stdint.h>

enum {
    MERT_DEPTHWISE_WIDTH = 64, /* channels in a row */
    MERT_DEPTHWISE_ROWS = 12   /* rows of y at once: enough independent sums to hide the latency of additions */
};

typedef struct mert_depthwise {
    /* y[t] = bias + sum over k < taps of w[k] x[t + k], for t < rows, a multiple of MERT_DEPTHWISE_ROWS. Rows have
     * MERT_DEPTHWISE_WIDTH numbers and are contiguous. Each sum starts with k = 0. */
    void (*rows)(float *y, const float *x, const float *w, const float *bias, int64_t rows, int64_t taps);
} mert_depthwise;

MERT_KERNEL_DECLARE(mert_depthwise, mert_depthwise)
#define MERT_DEPTHWISE MERT_KERNEL_TABLE(mert_depthwise)

#endif
