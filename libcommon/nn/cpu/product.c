#include "libcommon/nn/cpu/product.h"

#include "libcommon/nn/ops.h"

#include <cblas.h>

void mert_product_run(const mert_product_args *g)
{
    mert_ops_cpu(); /* limits OpenBLAS to one thread */
    if (g->M <= 0 || g->N <= 0)
        return;
    cblas_sgemm(CblasRowMajor, g->ta ? CblasTrans : CblasNoTrans, g->tb ? CblasTrans : CblasNoTrans, (int)g->M,
                (int)g->N, (int)g->K, g->alpha == 0 ? 1.0f : g->alpha, g->a, (int)g->lda, g->b, (int)g->ldb,
                g->add ? 1.0f : 0.0f, g->c, (int)g->ldc);
}
