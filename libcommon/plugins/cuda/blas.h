/* Products of matrices for this backend: one interface with two implementations, cuBLASLt (blas_cublas.cu) and loops
 * (tests/cuda/emulated_blas.cpp). Row major; sums are float32, and the result is rounded once. */
#ifndef MERT_CUDA_BLAS_H
#define MERT_CUDA_BLAS_H

#define MERT_CUDA_BLAS_WORKSPACE ((size_t)32 << 20)

#include "libcommon/nn/ops.h"
#include "portable.h"

/* c[M,N] = (add: c +) alpha op(a) op(b), as mert_gemm_args. batch > 0: this number of products, whose matrices are
 * *_step elements apart. */
struct product {
    int64_t M, N, K;
    const void *a, *b;
    void *c;
    int64_t lda, ldb, ldc, batch, a_step, b_step, c_step;
    int ta, tb, add;
    float alpha;
    mert_element_type in, out;
};

struct blas;

/* NULL: out of memory, or the library is missing; e says which. */
blas *blas_open(mert_error *e);
void blas_close(blas *b);

/* Returns 0 if the product was queued; 1 if it was refused, because rows overlap or addresses are aligned to less than
 * 4 bytes (nothing is queued then); -1 on an error. A row of c does not depend on M: each (N, K), with its types and
 * alignments, has one algorithm, and this algorithm does not split K. */
int blas_product(blas *b, cudaStream_t s, const product *p);

/* 1: both implementations refuse the product. */
static inline int blas_refuses(const product *p)
{
    int64_t in = p->in == MERT_ELEMENT_F32 ? 4 : 2, out = p->out == MERT_ELEMENT_F32 ? 4 : 2;
    int64_t a_columns = p->ta ? p->M : p->K, b_columns = p->tb ? p->K : p->N;
    int64_t bytes = (int64_t)(uintptr_t)p->a | (int64_t)(uintptr_t)p->b | (int64_t)(uintptr_t)p->c | p->lda * in |
                    p->ldb * in | p->ldc * out;
    if (p->batch > 1)
        bytes |= p->a_step * in | p->b_step * in | p->c_step * out;
    return p->M <= 0 || p->N <= 0 || p->K <= 0 || p->lda < a_columns || p->ldb < b_columns || p->ldc < p->N ||
           bytes % 4 != 0;
}

#endif
