/* Products with weights that are packed in few bits: tests that are the same for each kind of packing. The test file
 * defines `kind`. */
#ifndef MERT_TEST_PACKED_PRODUCTS_H
#define MERT_TEST_PACKED_PRODUCTS_H

#include "tests/unit/nn.h"

#include "libcommon/nn/reference.h"

typedef struct packed_kind {
    mert_packing as;
    int64_t (*floats)(int64_t n, int64_t k); /* size of packed weights [n, k] */
    /* what the products use of m rows of k numbers, ld apart, and of weights [n, k]: [m, k], [n, k] */
    double *(*rows)(const float *x, int64_t m, int64_t k, int64_t ld);
    double *(*weights)(const float *w, int64_t n, int64_t k);
    void (*spoil)(float *row, int64_t k, int i); /* makes numbers of a row not finite, so that its products are NaN */
    double tolerance;
} packed_kind;

static const packed_kind kind;

static inline float *packed(const float *w, int64_t n, int64_t k, int64_t count)
{
    int64_t size = kind.floats(n, k);
    float *to = room(count * size);
    mert_pack(ops, .to = to, .w = put(w, count * n * k), .ldw = k, .n = n, .k = k, .count = count, .to_step = size,
              .w_step = n * k, .as = kind.as);
    return to;
}

/* shape: M, N, K, distance of rows. how: add, gelu, bias, pre, residual, three products at once, and these with
 * different rows. */
static inline void packed_product(const int64_t shape[4], int how)
{
    int64_t M = shape[0], N = shape[1], K = shape[2], lda = shape[3];
    int add = how & 1, gelu = how >> 1 & 1, bias = how >> 2 & 1, pre = how >> 3 & 1, residual = how >> 4 & 1;
    int64_t batch = how >> 5 & 1 ? 3 : 0, many = batch ? 3 : 1, ldc = many * N + 2, na = lda * (M - 1) + K,
            nc = ldc * M;
    int64_t a_step = how >> 6 & 1 ? na : 0;
    float *a = numbers(na * many, 1), *b = numbers(N * K * many, 2), *c = numbers(nc, 3), *f = numbers(N * many, 4),
          *s = numbers(nc, 5);
    float *kept = numbers(nc, 6), *dc = put(c, nc), *dkept = put(kept, nc), *db = packed(b, N, K, many);
    double *wc = wide(c, nc), *wkept = wide(kept, nc);
    for (int64_t i = 0; i < many; i++) { /* the reference has no step of its own for the bias */
        mert_reference_gemm_args exact = {
            .M = M, .N = N, .K = K, .a = kind.rows(a + i * a_step, M, K, lda), .b = kind.weights(b + i * N * K, N, K),
            .c = wc + i * N, .lda = K, .ldb = K, .ldc = ldc, .tb = 1, .add = add, .alpha = 0.5,
            .bias = bias ? wide(f + i * N, N) : NULL, .residual = residual ? wide(s, nc) + i * N : NULL,
            .pre = pre ? wkept + i * N : NULL, .gelu = gelu};
        mert_reference_gemm(&exact);
    }
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(a, na * many), .lda = lda, .a_step = a_step, .b = db,
              .b_step = kind.floats(N, K), .packed = kind.as, .c = dc, .ldc = ldc, .c_step = N, .add = add,
              .alpha = 0.5f, .batch = batch, .bias = bias ? put(f, N * many) : NULL, .bias_step = N,
              .residual = residual ? put(s, nc) : NULL, .pre = pre ? dkept : NULL, .gelu = gelu);
    CHECK_APART(get(dc, nc), wc, nc, kind.tolerance);
    CHECK_APART(get(dkept, nc), wkept, nc, kind.tolerance);
}

static inline void packed_products(const int64_t shapes[][4], int n)
{
    for (int i = 0; i < n && !test_bad; i++)
        for (int how = 0; how < 128 && !test_bad; how += i < 8 ? 9 : 25) {
            packed_product(shapes[i], how);
            if (test_bad)
                printf("# %d x %d x %d, flags %#x\n", (int)shapes[i][0], (int)shapes[i][1], (int)shapes[i][2], how);
            forget();
        }
}

/* Rows alone, in pairs, from the middle have the same bits as all at once, even beside a row of NaN. */
static inline void packed_rows_alone(void)
{
    static const int64_t widths[] = {5, 48, 160};
    for (int i = 0; i < 3; i++) {
        int64_t M = 131, N = widths[i], K = 77;
        float *x = numbers(M * K, 1), *a = put(x, M * K), *b = packed(numbers(N * K, 2), N, K, 1), *c = room(M * N),
              *one = room(M * N), *d = room(M * N);
        float *all, *part, *beside;
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = a, .lda = K, .b = b, .packed = kind.as, .c = c, .ldc = N,
                  .gelu = 1);
        for (int64_t r = 0, n = 1; r < M; r += n, n = n % 17 + 1)
            mert_gemm(ops, .M = r + n > M ? M - r : n, .N = N, .K = K, .a = a + r * K, .lda = K, .b = b,
                      .packed = kind.as, .c = one + r * N, .ldc = N, .gelu = 1);
        all = get(c, M * N);
        part = get(one, M * N);
        CHECK(!memcmp(all, part, (size_t)(M * N) * sizeof(float)));
        kind.spoil(x + 40 * K, K, i);
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = put(x, M * K), .lda = K, .b = b, .packed = kind.as, .c = d,
                  .ldc = N, .gelu = 1);
        beside = keep((size_t)(M * N) * sizeof *beside);
        ops->download(ops, beside, d, (size_t)(M * N) * sizeof *beside);
        CHECK(!ops->wait(ops, NULL));
        for (int64_t j = 0; j < N; j++)
            CHECK(isnan(beside[40 * N + j]));
        CHECK(!memcmp(all, beside, (size_t)(40 * N) * sizeof(float)));
        CHECK(!memcmp(all + 41 * N, beside + 41 * N, (size_t)((M - 41) * N) * sizeof(float)));
    }
}

#endif
