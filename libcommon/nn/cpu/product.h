/* A matrix product in the calling thread, for tasks of the pool that each are a whole small problem (a probe's
 * training): the pool is busy with the tasks, so a product must not use it (base/pool.h). Host memory only. The same
 * arguments give the same bits whichever thread calls, and whatever the others do. */
#ifndef MERT_PRODUCT_H
#define MERT_PRODUCT_H

#include <stdint.h>

/* c[M,N] = (add: c +) alpha * op(a) op(b), as mert_gemm_args (nn/ops.h) has it. */
typedef struct mert_product_args {
    int64_t M, N, K;
    const float *a, *b;
    float *c;
    int64_t lda, ldb, ldc;
    int ta, tb, add;
    float alpha;
} mert_product_args;

void mert_product_run(const mert_product_args *g);
#define mert_product(...) mert_product_run(&(mert_product_args){__VA_ARGS__})

#endif
