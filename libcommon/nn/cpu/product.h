/* A matrix product in the calling thread, for tasks of the pool that each are a whole small problem (a probe's
 * training): the pool is busy with the tasks, so a product must not use it (base/pool.h). Host memory only. The same
 * arguments give the same bits whichever thread calls, and whatever the others do. */
#ifndef MERT_PRODUCT_H
#define MERT_PRODUCT_H

#include "libcommon/nn/ops.h"

/* c[M,N] = (add: c +) alpha * op(a) op(b); of mert_gemm_args, batch and what follows it must be 0. */
void mert_product_run(const mert_gemm_args *g);
#define mert_product(...) mert_product_run(&(mert_gemm_args){__VA_ARGS__})

#endif
