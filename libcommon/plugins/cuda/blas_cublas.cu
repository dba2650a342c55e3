/* Products by cuBLASLt. An algorithm is found once for each kind of product and kept, because finding one takes as long
 * as several launches. Row major c = a b is column major c^T = b^T a^T, so the operands change places.
 *
 * Contract A1: the algorithm follows from N, K, types, strides and alignments, never from M: it is the one that suits
 * ROWS_ASKED rows. Sums over K are not split. float32 is float32, not TF32. */
#include "blas.h"

#include <cublasLt.h>
#include <map>
#include <stdio.h>
#include <string.h>
#include <string>

enum { ROWS_ASKED = 4096, ALIGNED = 16, PLANS_MAX = 4096 };

/* What products of one kind have in common; compared by its bytes. */
struct kind {
    int64_t N, K, M, lda, ldb, ldc, batch, a_step, b_step, c_step; /* M: 0 where the algorithm does not depend on it */
    int ta, tb, in, out, a_alignment, b_alignment, c_alignment, unused;
};

struct algorithm {
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
};

struct blas {
    cublasLtHandle_t handle;
    void *workspace;
    std::map<std::string, algorithm> algorithms;
};

blas *blas_open(mert_error *e)
{
    blas *b = new blas();
    if (cublasLtCreate(&b->handle)) {
        snprintf(e->text, sizeof e->text, "cuBLASLt cannot be used on this device");
        b->handle = NULL;
    } else if (!cudaMalloc(&b->workspace, MERT_CUDA_BLAS_WORKSPACE))
        return b;
    else
        snprintf(e->text, sizeof e->text, "out of device memory: %zu bytes for products", MERT_CUDA_BLAS_WORKSPACE);
    blas_close(b);
    return NULL;
}

void blas_close(blas *b)
{
    if (b->handle)
        cublasLtDestroy(b->handle);
    cudaFree(b->workspace);
    delete b;
}

static cudaDataType_t type_of(mert_element_type t)
{
    return t == MERT_ELEMENT_F32 ? CUDA_R_32F : t == MERT_ELEMENT_BF16 ? CUDA_R_16BF : CUDA_R_16F;
}

/* The largest power of two, up to ALIGNED, that all addresses of the operand's rows are multiples of. */
static int alignment_of(const void *p, int64_t ld, int64_t step, int64_t batch, mert_element_type t)
{
    uint64_t size = t == MERT_ELEMENT_F32 ? 4 : 2;
    uint64_t all = (uint64_t)(uintptr_t)p | (uint64_t)ld * size | (batch > 1 ? (uint64_t)step * size : 0) | ALIGNED;
    return (int)(all & (~all + 1));
}

static kind kind_of(const product *p)
{
    kind k;
    memset(&k, 0, sizeof k);
    k.N = p->N, k.K = p->K, k.lda = p->lda, k.ldb = p->ldb, k.ldc = p->ldc;
    k.M = p->ta ? p->M : 0;
    k.batch = p->batch > 1 ? p->batch : 1;
    k.a_step = k.batch > 1 ? p->a_step : 0, k.b_step = k.batch > 1 ? p->b_step : 0;
    k.c_step = k.batch > 1 ? p->c_step : 0;
    k.ta = p->ta, k.tb = p->tb, k.in = p->in, k.out = p->out;
    k.a_alignment = alignment_of(p->a, p->lda, p->a_step, p->batch, p->in);
    k.b_alignment = alignment_of(p->b, p->ldb, p->b_step, p->batch, p->in);
    k.c_alignment = alignment_of(p->c, p->ldc, p->c_step, p->batch, p->out);
    return k;
}

struct descriptors {
    cublasLtMatmulDesc_t op;
    cublasLtMatrixLayout_t a, b, c; /* as cuBLASLt sees them: its a is our b */
    int bad;
};

static cublasLtMatrixLayout_t layout(int *bad, mert_element_type t, int64_t rows, int64_t columns, int64_t ld,
                                     int64_t batch, int64_t step)
{
    cublasLtMatrixLayout_t l = NULL;
    int32_t n = (int32_t)(batch > 1 ? batch : 1);
    *bad |= cublasLtMatrixLayoutCreate(&l, type_of(t), (uint64_t)rows, (uint64_t)columns, ld) != CUBLAS_STATUS_SUCCESS;
    if (*bad)
        return l;
    *bad |= cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &n, sizeof n) != 0;
    *bad |= cublasLtMatrixLayoutSetAttribute(l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step) != 0;
    return l;
}

static descriptors describe(const product *p, int64_t rows)
{
    cublasOperation_t n = CUBLAS_OP_N, t = CUBLAS_OP_T;
    descriptors d = {};
    d.bad = cublasLtMatmulDescCreate(&d.op, CUBLAS_COMPUTE_32F, CUDA_R_32F) != CUBLAS_STATUS_SUCCESS;
    if (d.bad)
        return d;
    d.bad |= cublasLtMatmulDescSetAttribute(d.op, CUBLASLT_MATMUL_DESC_TRANSA, p->tb ? &t : &n, sizeof t) != 0;
    d.bad |= cublasLtMatmulDescSetAttribute(d.op, CUBLASLT_MATMUL_DESC_TRANSB, p->ta ? &t : &n, sizeof t) != 0;
    d.a = layout(&d.bad, p->in, p->tb ? p->K : p->N, p->tb ? p->N : p->K, p->ldb, p->batch, p->b_step);
    d.b = layout(&d.bad, p->in, p->ta ? rows : p->K, p->ta ? p->K : rows, p->lda, p->batch, p->a_step);
    d.c = layout(&d.bad, p->out, p->N, rows, p->ldc, p->batch, p->c_step);
    return d;
}

static void forget(descriptors *d)
{
    if (d->a)
        cublasLtMatrixLayoutDestroy(d->a);
    if (d->b)
        cublasLtMatrixLayoutDestroy(d->b);
    if (d->c)
        cublasLtMatrixLayoutDestroy(d->c);
    if (d->op)
        cublasLtMatmulDescDestroy(d->op);
}

/* The algorithm for a kind of products; -1: there is none. */
static int find(blas *b, const product *p, const kind *k, algorithm *found)
{
    cublasLtMatmulPreference_t want;
    cublasLtMatmulHeuristicResult_t result;
    size_t most = MERT_CUDA_BLAS_WORKSPACE;
    uint32_t whole = CUBLASLT_REDUCTION_SCHEME_NONE;
    uint32_t a = (uint32_t)k->b_alignment, bb = (uint32_t)k->a_alignment, c = (uint32_t)k->c_alignment;
    descriptors d = describe(p, p->ta ? p->M : ROWS_ASKED);
    int count = 0;
    if (!d.bad && !cublasLtMatmulPreferenceCreate(&want)) {
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most);
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &whole, sizeof whole);
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &a, sizeof a);
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &bb, sizeof bb);
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &c, sizeof c);
        cublasLtMatmulPreferenceSetAttribute(want, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &c, sizeof c);
        if (cublasLtMatmulAlgoGetHeuristic(b->handle, d.op, d.a, d.b, d.c, d.c, want, 1, &result, &count))
            count = 0;
        cublasLtMatmulPreferenceDestroy(want);
    }
    forget(&d);
    if (!count)
        return -1;
    found->algo = result.algo;
    found->workspace = result.workspaceSize;
    return 0;
}

int blas_product(blas *b, cudaStream_t s, const product *p)
{
    kind k = kind_of(p);
    std::string key((const char *)&k, sizeof k);
    float alpha = p->alpha, beta = p->add ? 1.0f : 0.0f;
    descriptors d;
    int bad;
    if (blas_refuses(p))
        return 1;
    auto i = b->algorithms.find(key);
    if (i == b->algorithms.end()) {
        algorithm found;
        if (find(b, p, &k, &found))
            return 1;
        if (b->algorithms.size() >= PLANS_MAX) /* lengths that never end: those that are needed come back */
            b->algorithms.clear();
        i = b->algorithms.emplace(key, found).first;
    }
    d = describe(p, p->M);
    bad = d.bad || cublasLtMatmul(b->handle, d.op, &alpha, p->b, d.a, p->a, d.b, &beta, p->c, d.c, p->c, d.c,
                                  &i->second.algo, b->workspace, i->second.workspace, s) != CUBLAS_STATUS_SUCCESS;
    forget(&d);
    return bad ? -1 : 0;
}
