/* A product by the library where it takes it, else by a kernel of our own, a thread an output. */
#ifndef MERT_CUDA_PRODUCT_H
#define MERT_CUDA_PRODUCT_H

#include "device.h"

template <class T, class C> void own_product(device *d, const product *p)
{
    const T *a = (const T *)p->a, *b = (const T *)p->b;
    C *c = (C *)p->c;
    int64_t N = p->N, K = p->K, rows = p->M, a_row = p->ta ? 1 : p->lda, a_k = p->ta ? p->lda : 1;
    int64_t b_column = p->tb ? p->ldb : 1, b_k = p->tb ? 1 : p->ldb;
    int64_t ldc = p->ldc, a_step = p->a_step, b_step = p->b_step, c_step = p->c_step;
    float alpha = p->alpha;
    int add = p->add;
    each(d, (p->batch > 0 ? p->batch : 1) * rows * N, DEVICE_LAMBDA(int64_t i) {
        int64_t j = i % N, r = i / N % rows, n = i / N / rows;
        const T *x = a + n * a_step + r * a_row, *y = b + n * b_step + j * b_column;
        C *to = c + n * c_step + r * ldc + j;
        float sum = 0;
        for (int64_t k = 0; k < K; k++)
            sum += to_float(x[k * a_k]) * to_float(y[k * b_k]);
        sum *= alpha;
        store(to, add ? to_float(*to) + sum : sum);
    });
}

template <class T> void one_product(device *d, const product &p)
{
    int how = blas_product(blas_of(d), stream_of(d), &p);
    if (how < 0)
        failed(d, "a product");
    else if (how > 0 && p.out == MERT_ELEMENT_F32)
        own_product<T, float>(d, &p);
    else if (how > 0)
        own_product<T, T>(d, &p);
}

#endif
