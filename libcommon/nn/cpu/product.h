/* A matrix product in the calling thread, for tasks of the pool that are each a whole small problem (the training of a
 * probe). The pool is busy with the tasks, so a product must not use it (base/pool.h). Host memory only. The same
 * arguments give the same bits in any thread, whatever the other threads do. */
#ifndef MERT_PRODUCT_H
#define MERT_PRODUCT_H

#include <stdint.h>

/* c[M,N] = (add: c +) alpha * op(a) op(b), as in mert_gemm_args (nn/operations.h). */
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
