/* Products, then what follows them. */
#include "activation.h"
#include "product.h"

/* ---- bias, GELU, residual ---- */

/* sums: what the product left, in float [batch, M, N] with strides; may be c itself. */
template <class C> static void finish(device *d, const mert_gemm_args &g, C *c, const float *sums, int64_t lds,
                                      int64_t step, int64_t first, int64_t rows, int64_t batch, int add)
{
    const C *residual = as<C>(g.residual);
    C *pre = as<C>(g.pre);
    const float *bias = g.bias;
    int64_t N = g.N, ldc = g.ldc, c_step = g.c_step, bias_step = g.bias_step;
    int gelu = g.gelu;
    each(d, batch * rows * N, DEVICE_LAMBDA(int64_t i) {
        int64_t j = i % N, r = i / N % rows, n = i / N / rows, at = n * c_step + (first + r) * ldc + j;
        float v = sums[n * step + r * lds + j];
        if (add)
            v += to_float(c[at]);
        if (bias)
            v += bias[n * bias_step + j];
        if (pre)
            store(pre + at, v);
        if (gelu)
            v = gelu_of(v);
        if (residual)
            v += to_float(residual[at]);
        store(c + at, v);
    });
}

/* p with all that goes into one result: the products of a sum one after the other. */
template <class T> static void products_of(device *d, const mert_gemm_args &g, product p)
{
    if (!g.sum) {
        one_product<T>(d, p);
        return;
    }
    for (int64_t n = 0, many = p.batch > 0 ? p.batch : 1; n < many; n++) {
        product one = p;
        one.a = (const T *)p.a + n * p.a_step;
        one.b = (const T *)p.b + n * p.b_step;
        one.batch = 0;
        one.add = p.add || n > 0;
        one_product<T>(d, one);
    }
}

enum { SUMS_AT_ONCE = 24 << 20 }; /* bytes: they stay in the device's cache until they are rounded */

/* With more to do than a product where c cannot hold it in between (elements of 16 bits; a residual that stands in c's
 * place): in float, some rows after the others, and rounded once. */
template <class T> static void rounded_once(device *d, const mert_gemm_args &g, product p)
{
    int64_t batch = !g.sum && g.batch > 0 ? g.batch : 1, row = batch * g.N * (int64_t)sizeof(float);
    int64_t at_once = SUMS_AT_ONCE / row > 0 ? SUMS_AT_ONCE / row : 1, rows = at_once < g.M ? at_once : g.M;
    float *sums = (float *)scratch(d, (size_t)(rows * row));
    if (!sums)
        return;
    p.c = sums;
    p.ldc = g.N;
    p.out = MERT_ELEMENT_F32;
    p.add = 0;
    for (int64_t first = 0; first < g.M; first += rows) {
        p.M = g.M - first < rows ? g.M - first : rows;
        p.a = as<T>(g.a) + first * (g.ta ? 1 : g.lda);
        p.c_step = p.M * g.N;
        products_of<T>(d, g, p);
        finish<T>(d, g, as<T>(g.c), sums, g.N, p.c_step, first, p.M, batch, g.add);
    }
}

template <class T> static void gemm(device *d, const mert_gemm_args &g)
{
    int more = g.bias || g.pre || g.gelu || g.residual, to_floats = g.gradient || sizeof(T) == sizeof(float);
    float *c = g.gradient ? g.gradient : (float *)(void *)g.c;
    product p = {};
    if (g.M <= 0 || g.N <= 0)
        return;
    if (g.packed) {
        failed(d, "a product with packed weights, which this device does not read,");
        return;
    }
    p.M = g.M, p.N = g.N, p.K = g.K;
    p.a = g.a, p.b = g.b, p.c = c;
    p.lda = g.lda, p.ldb = g.ldb, p.ldc = g.ldc;
    p.batch = g.batch, p.a_step = g.a_step, p.b_step = g.b_step, p.c_step = g.c_step;
    p.ta = !!g.ta, p.tb = !!g.tb, p.add = !!g.add;
    p.alpha = g.alpha == 0 ? 1.0f : g.alpha;
    p.in = type_of<T>::is;
    p.out = to_floats ? MERT_ELEMENT_F32 : p.in;
    if ((!to_floats && (more || (g.sum && g.batch > 1))) || (g.residual && g.residual == g.c)) {
        rounded_once<T>(d, g, p);
        return;
    }
    products_of<T>(d, g, p);
    if (more && g.gradient)
        failed(d, "a gradient with more than a product");
    else if (more)
        finish<float>(d, g, c, c, g.ldc, g.c_step, 0, g.M, !g.sum && g.batch > 0 ? g.batch : 1, 0);
}

const operations product_operations[] = {
    BY_TYPE(MERT_OP_GEMM, gemm, mert_gemm_args),
    END_OF_OPERATIONS,
};
