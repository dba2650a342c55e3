/* Compares every forward operation with nn/reference, on shapes that are not multiples of the tiles, on both backends,
 * with 1 and 3 threads, with every instruction set. (Backward operations: ops_gradients.c; the update: ops_update.c;
 * contract A1 by items: ops_alone.c; the vectorised loops: vector.c.) */
#include "tests/unit/nn.h"

#include "libcommon/nn/conv.h"
#include "libcommon/nn/reference.h"

/* Float rounding for single numbers, and for sums. */
#define ELEMENT 2e-7
#define SUM 3e-6

static int64_t at_least_1(int64_t n)
{
    return n > 0 ? n : 1;
}

/* ---- products ---- */

typedef struct product { int64_t M, N, K; } product;

/* Sizes of 1, odd ones, more than one tile of rows (512), of columns (128 in two, 256), and both. */
static const product products[] = {{1, 1, 1}, {1, 5, 3}, {7, 1, 9}, {3, 17, 1}, {16, 16, 16}, {33, 31, 65},
                                   {130, 129, 7}, {515, 33, 19}, {5, 300, 12}, {513, 257, 5}, {40, 530, 21},
                                   {1025, 3, 4}};

/* One product with the flags in the bits of `how`, and gaps after rows, which must not change. */
static void one_product(const product *p, uint32_t how)
{
    static const float alphas[] = {0, 1, 0.5f, -1.25f};
    int ta = how & 1, tb = how >> 1 & 1, add = how >> 2 & 1, gelu = how >> 3 & 1, bias = how >> 4 & 1;
    int pre = how >> 5 & 1, residual = how >> 6 & 1;
    float alpha = alphas[how >> 7 & 3];
    int64_t batch = (how >> 9 & 3) % 3 * 2, sum = how >> 11 & 1, gap = how >> 12 & 3, many = at_least_1(batch);
    int64_t lda = (ta ? p->M : p->K) + gap, ldb = (tb ? p->K : p->N) + gap / 2, ldc = p->N + gap;
    int64_t a_step = lda * (ta ? p->K : p->M) + 1, b_step = ldb * (tb ? p->N : p->K) + 3, c_step = ldc * p->M + 2;
    int64_t na = a_step * many, nb = b_step * many, nc = c_step * many;
    float *a = numbers(na, 1), *b = numbers(nb, 2), *c = numbers(nc, 3), *f = numbers(p->N, 4), *s = numbers(nc, 5);
    float *kept = numbers(nc, 6);
    double *wc = wide(c, nc), *wkept = wide(kept, nc);
    mert_reference_gemm_args exact = {p->M, p->N, p->K, wide(a, na), wide(b, nb), wc, lda, ldb, ldc, ta, tb, add,
                                      alpha == 0 ? 1 : alpha, batch, a_step, b_step, c_step, (int)sum,
                                      bias ? wide(f, p->N) : NULL, residual ? wide(s, nc) : NULL, pre ? wkept : NULL,
                                      gelu};
    float *dc = put(c, nc), *dkept = put(kept, nc);
    mert_reference_gemm(&exact);
    mert_gemm(ops, .M = p->M, .N = p->N, .K = p->K, .a = put(a, na), .b = put(b, nb), .c = dc, .lda = lda, .ldb = ldb,
              .ldc = ldc, .ta = ta, .tb = tb, .add = add, .alpha = alpha, .batch = batch, .a_step = a_step,
              .b_step = b_step, .c_step = c_step, .sum = (int)sum, .bias = bias ? put(f, p->N) : NULL,
              .residual = residual ? put(s, nc) : NULL, .pre = pre ? dkept : NULL, .gelu = gelu);
    CHECK_APART(get(dc, nc), wc, nc, SUM);
    CHECK_APART(get(dkept, nc), wkept, nc, SUM);
}

TEST(gemm)
{
    uint32_t how = 0;
    for (int i = 0; i < (int)(sizeof products / sizeof *products); i++)
        for (int turn = 0; turn < (products[i].M * products[i].N > 9000 ? 5 : 20) && !test_bad; turn++) {
            how = how * 1664525u + 1013904223u;
            one_product(&products[i], turn == 0 ? 0 : how >> 8);
            if (test_bad)
                printf("# %d x %d x %d, flags %#x\n", (int)products[i].M, (int)products[i].N, (int)products[i].K,
                       (unsigned)(how >> 8));
            forget();
        }
}

TEST(gemm_of_nothing)
{
    float *x = numbers(6, 1), zero[6] = {0};
    float *c = put(x, 6);
    mert_gemm(ops, .M = 0, .N = 3, .K = 2, .a = c, .lda = 2, .b = c, .ldb = 3, .c = c, .ldc = 3);
    mert_gemm(ops, .M = 3, .N = 0, .K = 2, .a = c, .lda = 2, .b = c, .ldb = 1, .c = c, .ldc = 1);
    CHECK(!memcmp(get(c, 6), x, sizeof zero));
    /* an empty sum is 0 */
    mert_gemm(ops, .M = 2, .N = 3, .K = 0, .a = c, .lda = 1, .b = c, .ldb = 3, .c = c, .ldc = 3);
    CHECK(!memcmp(get(c, 6), zero, sizeof zero));
}

TEST(linear)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 2}, {70, 33, 131}, {514, 24, 3}};
    for (int i = 0; i < 4; i++) {
        int64_t rows = shapes[i][0], in = shapes[i][1], out = shapes[i][2], n = rows * out;
        float *x = numbers(rows * in, 1), *w = numbers(out * in, 2), *b = numbers(out, 3), *r = numbers(n, 4);
        float *y = room(n), *pre = room(n);
        double *ey = zeros(n), *epre = zeros(n);
        mert_linear(ops, rows, in, out, put(x, rows * in), put(w, out * in), put(b, out), pre, 1, put(r, n), y);
        mert_reference_linear(rows, in, out, wide(x, rows * in), wide(w, out * in), wide(b, out), epre, 1, wide(r, n),
                              ey);
        CHECK_APART(get(y, n), ey, n, SUM);
        CHECK_APART(get(pre, n), epre, n, SUM);
    }
}

/* ---- memory, elementwise, sums over rows ---- */

static const int64_t lengths[] = {1, 3, 17, 1000, 70001}; /* the last: several pieces of 2^15 and of 2^16 */

TEST(copy_fill_axpy)
{
    for (int i = 0; i < 5; i++) {
        int64_t n = lengths[i];
        float *x = numbers(n, 1), *y = numbers(n, 2), *to = room(n), *dx = put(x, n), *dy = put(y, n);
        float *filled = room(n), *out;
        double *sum = wide(y, n), *wx = wide(x, n);
        mert_copy(ops, .to = to, .from = dx, .bytes = (size_t)n * sizeof *x);
        mert_fill(ops, .to = filled, .value = -2.5f, .n = n);
        CHECK(!memcmp(get(to, n), x, (size_t)n * sizeof *x));
        out = get(filled, n);
        for (int64_t k = 0; k < n; k++)
            CHECK(out[k] == -2.5f);
        mert_axpy(ops, .to = dy, .from = dx, .n = n);
        mert_axpy(ops, .to = dy, .from = dx, .alpha = -0.75f, .n = n);
        mert_reference_copy_2d(sum, 0, wx, 0, 1, n, 1, 1);
        mert_reference_copy_2d(sum, 0, wx, 0, 1, n, 1, -0.75);
        CHECK_APART(get(dy, n), sum, n, ELEMENT);
    }
}

TEST(copy_2d)
{
    static const int64_t shapes[][4] = {{1, 1, 1, 1}, {3, 5, 9, 5}, {40, 17, 17, 31}, {2, 40000, 40001, 40003},
                                        {5000, 9, 10, 9}};
    for (int i = 0; i < 20; i++) {
        int64_t rows = shapes[i / 4][0], columns = shapes[i / 4][1], ldto = shapes[i / 4][2], ldfrom = shapes[i / 4][3];
        float *x = numbers(rows * ldfrom, 1), *y = numbers(rows * ldto, 2), *to = put(y, rows * ldto);
        float scale = i % 4 < 2 ? 0 : 0.3f;
        double *exact = wide(y, rows * ldto);
        mert_copy_2d(ops, .to = to, .ldto = ldto, .from = put(x, rows * ldfrom), .ldfrom = ldfrom, .rows = rows,
                     .columns = columns, .add = i % 2, .scale = scale);
        mert_reference_copy_2d(exact, ldto, wide(x, rows * ldfrom), ldfrom, rows, columns, i % 2,
                               scale == 0 ? 1 : (double)scale);
        CHECK_APART(get(to, rows * ldto), exact, rows * ldto, ELEMENT);
    }
}

TEST(swap_axes)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 5}, {7, 1, 9}, {3, 300, 70}, {1, 17, 128}};
    for (int i = 0; i < 10; i++) {
        int64_t n = shapes[i / 2][0], a = shapes[i / 2][1], b = shapes[i / 2][2], all = n * a * b;
        float *x = numbers(all, 1), *y = numbers(all, 2), *to = put(y, all);
        double *exact = wide(y, all);
        mert_swap_axes(ops, .to = to, .from = put(x, all), .n = n, .a = a, .b = b, .add = i % 2);
        mert_reference_swap_axes(exact, wide(x, all), n, a, b, i % 2);
        CHECK_APART(get(to, all), exact, all, ELEMENT);
    }
}

TEST(gelu)
{
    for (int i = 0; i < 5; i++) {
        int64_t n = lengths[i];
        float *x = numbers(n, 1), *r = numbers(n, 2), *dx = put(x, n), *y = room(n);
        double *exact = zeros(n), *wx = wide(x, n);
        mert_gelu(ops, .y = y, .x = dx, .residual = put(r, n), .n = n);
        mert_reference_gelu_all(exact, wx, wide(r, n), n);
        CHECK_APART(get(y, n), exact, n, ELEMENT);
        mert_gelu(ops, .y = dx, .x = dx, .n = n);
        mert_reference_gelu_all(exact, wx, NULL, n);
        CHECK_APART(get(dx, n), exact, n, ELEMENT);
    }
}

TEST(column_sum)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {600, 131, 133}, {1000, 1, 2}};
    for (int i = 0; i < 4; i++) {
        int64_t rows = shapes[i][0], columns = shapes[i][1], ldx = shapes[i][2];
        float *x = numbers(rows * ldx, 1), *s = numbers(columns, 2), *sums = put(s, columns);
        double *exact = wide(s, columns);
        mert_column_sum(ops, .sums = sums, .x = put(x, rows * ldx), .rows = rows, .columns = columns, .ldx = ldx);
        mert_reference_column_sum(exact, wide(x, rows * ldx), rows, columns, ldx);
        CHECK_APART(get(sums, columns), exact, columns, SUM);
    }
}

/* ---- dropout ---- */

static const float *dropped(int64_t B, int64_t n, double p, mert_dropout_key key)
{
    float *x = room(B * n);
    mert_fill(ops, .to = x, .value = 1, .n = B * n);
    mert_dropout(ops, .x = x, .B = B, .n = n, .p = p, .key = key);
    return get(x, B * n);
}

TEST(dropout)
{
    mert_dropout_key key = {42, (uint64_t)7 << 32 | 3, 5}, other[3] = {key, key, key};
    int64_t B = 3, n = 40001;
    const float *y = dropped(B, n, 0.1, key);
    double *exact = zeros(B * n), mean = 0, expected = 1.0 / 0.9;
    int64_t zero = 0, same = 0;
    for (int64_t i = 0; i < B * n; i++)
        exact[i] = 1;
    mert_reference_dropout(exact, B, n, 0.1, &key);
    CHECK_APART(y, exact, B * n, ELEMENT);
    for (int64_t i = 0; i < B * n; i++) {
        mean += y[i] / (double)(B * n);
        zero += y[i] == 0;
        CHECK(y[i] == 0 || fabs(y[i] - expected) < 1e-6);
    }
    CHECK_NEAR(mean, 1, 5 * sqrt(0.1 / 0.9 / (double)(B * n)));
    CHECK_NEAR((double)zero / (double)(B * n), 0.1, 5 * sqrt(0.09 / (double)(B * n)));
    for (int64_t i = 0; i < n; i++)
        same += (y[i] == 0) == (y[n + i] == 0);
    /* rows have different masks: 0.82 of the elements agree by chance */
    CHECK_NEAR((double)same / (double)n, 0.82, 0.02);
    other[0].seed++;
    other[1].place++;
    other[2].site++;
    for (int k = 0; k < 3; k++)
        CHECK(memcmp(dropped(B, n, 0.1, other[k]), y, (size_t)(B * n) * sizeof *y));
    CHECK(!memcmp(dropped(B, n, 0.1, key), y, (size_t)(B * n) * sizeof *y));
    /* an element's number does not depend on the length */
    CHECK(!memcmp(dropped(1, 1001, 0.1, key), y, 1001 * sizeof *y));
    y = dropped(B, n, 0, key);
    for (int64_t i = 0; i < B * n; i++)
        CHECK(y[i] == 1);
}

/* ---- norms ---- */

TEST(layer_norm)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 2}, {33, 17}, {70, 768}, {2, 5001}};
    for (int i = 0; i < 5; i++) {
        int64_t rows = shapes[i][0], columns = shapes[i][1], n = rows * columns;
        float *x = numbers(n, 1), *w = numbers(columns, 2), *b = numbers(columns, 3), *mean = room(rows);
        float *rstd = room(rows), *y = room(n);
        double *ey = zeros(n), *emean = zeros(rows), *erstd = zeros(rows);
        for (int64_t k = 0; k < n; k++)
            x[k] = 2 * x[k] + 3; /* a mean, which must be removed */
        float *dx = put(x, n), *dw = put(w, columns), *db = put(b, columns);
        mert_layer_norm(ops, .y = y, .x = dx, .w = dw, .b = db, .mean = mean, .rstd = rstd, .rows = rows,
                        .columns = columns, .eps = 1e-5f);
        mert_layer_norm(ops, .y = dx, .x = dx, .w = dw, .b = db, .rows = rows, .columns = columns, .eps = 1e-5f);
        mert_reference_layer_norm(ey, wide(x, n), wide(w, columns), wide(b, columns), emean, erstd, rows, columns,
                                  1e-5f, 0);
        CHECK_APART(get(y, n), ey, n, SUM);
        CHECK(!memcmp(get(dx, n), get(y, n), (size_t)n * sizeof *x));
        CHECK_APART(get(mean, rows), emean, rows, SUM);
        CHECK_APART(get(rstd, rows), erstd, rows, SUM);
    }
}

TEST(time_norm)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {2, 3, 5}, {3, 700, 67}, {1, 2049, 3}, {2, 256, 64}};
    for (int i = 0; i < 5; i++) {
        int64_t B = shapes[i][0], T = shapes[i][1], C = shapes[i][2], n = B * T * C;
        float *x = numbers(n, 1), *w = numbers(C, 2), *b = numbers(C, 3), *y = room(n), *pre = room(n);
        float *mean = room(B * C), *rstd = room(B * C);
        double *ey = zeros(n), *epre = zeros(n), *emean = zeros(B * C), *erstd = zeros(B * C);
        for (int64_t k = 0; k < n; k++)
            x[k] = x[k] / 2 + 1;
        float *dx = put(x, n), *dw = put(w, C), *db = put(b, C);
        mert_time_norm(ops, .y = y, .x = dx, .w = dw, .b = db, .mean = mean, .rstd = rstd, .pre = pre, .B = B, .T = T,
                       .C = C, .eps = 1e-5f, .gelu = 1);
        mert_time_norm(ops, .y = dx, .x = dx, .w = dw, .b = db, .B = B, .T = T, .C = C, .eps = 1e-5f);
        mert_reference_time_norm(ey, wide(x, n), wide(w, C), wide(b, C), emean, erstd, epre, B, T, C, 1e-5f, 1);
        CHECK_APART(get(y, n), ey, n, SUM);
        CHECK_APART(get(pre, n), epre, n, SUM);
        CHECK(!memcmp(get(dx, n), get(pre, n), (size_t)n * sizeof *x));
        CHECK_APART(get(mean, B * C), emean, B * C, SUM);
        CHECK_APART(get(rstd, B * C), erstd, B * C, SUM);
    }
}

TEST(weight_norm)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {6, 3, 5}, {32, 8, 128}, {5, 7, 33}};
    for (int i = 0; i < 4; i++) {
        int64_t out = shapes[i][0], in = shapes[i][1], kernel = shapes[i][2], n = out * in * kernel;
        float *g = numbers(kernel, 1), *v = numbers(n, 2), *w = room(n), *norm = room(kernel);
        double *ew = zeros(n), *enorm = zeros(kernel);
        mert_weight_norm(ops, .w = w, .norm = norm, .g = put(g, kernel), .v = put(v, n), .out = out, .in = in,
                         .kernel = kernel);
        mert_reference_weight_norm(ew, enorm, wide(g, kernel), wide(v, n), out, in, kernel);
        CHECK_APART(get(w, n), ew, n, SUM);
        CHECK_APART(get(norm, kernel), enorm, kernel, SUM);
    }
}

/* ---- positional convolution ---- */

TEST(grouped_conv)
{
    static const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 0}, {2, 5, 6, 2, 4, 2}, {1, 3, 4, 4, 9, 4},
                                        {2, 150, 12, 3, 16, 8}, {1, 65, 10, 1, 3, 1}, {1, 4, 6, 2, 128, 64}};
    for (int i = 0; i < 6; i++) {
        int64_t B = shapes[i][0], T = shapes[i][1], D = shapes[i][2], groups = shapes[i][3], kernel = shapes[i][4];
        int64_t pad = shapes[i][5];
        int64_t n = B * T * D, nw = D * kernel * (D / groups);
        float *x = numbers(n, 1), *w = numbers(nw, 2), *b = numbers(D, 3), *y = room(n);
        double *exact = zeros(n);
        mert_grouped_conv(ops, .y = y, .x = put(x, n), .w = put(w, nw), .bias = i % 2 ? put(b, D) : NULL, .B = B,
                          .T = T, .D = D, .groups = groups, .kernel = kernel, .pad = pad);
        mert_reference_grouped_conv(exact, wide(x, n), wide(w, nw), i % 2 ? wide(b, D) : NULL, B, T, D, groups, kernel,
                                    pad);
        CHECK_APART(get(y, n), exact, n, SUM);
    }
}

/* ---- attention ---- */

/* B, T, H, dh, ld; T up to three tiles of queries (128) and two of keys (256). */
static const int64_t attentions[][5] = {{1, 1, 1, 1, 1}, {2, 3, 2, 5, 10}, {1, 129, 1, 3, 4}, {2, 301, 1, 8, 11},
                                        {1, 257, 3, 1, 3}};

/* Over all items, heads, queries and keys. */
static double largest_score(const mert_reference_attention_args *a)
{
    double largest = -INFINITY;
    for (int64_t i = 0; i < a->B * a->H * a->T * a->T; i++) {
        int64_t u = i % a->T, t = i / a->T % a->T, h = i / a->T / a->T % a->H, b = i / a->T / a->T / a->H;
        const double *q = a->q + (b * a->T + t) * a->ld + h * a->dh, *k = a->k + (b * a->T + u) * a->ld + h * a->dh;
        double score = 0;
        for (int64_t c = 0; c < a->dh; c++)
            score += a->scale * q[c] * k[c];
        largest = score > largest ? score : largest;
    }
    return largest;
}

TEST(attention)
{
    for (int i = 0; i < 10; i++) {
        const int64_t *s = attentions[i / 2];
        int64_t B = s[0], T = s[1], H = s[2], n = B * T * s[4], heads = B * H * T;
        float *q = numbers(n, 1), *k = numbers(n, 2), *v = numbers(n, 3), *out = put(v, n), *lse = room(heads);
        float before[2] = {-INFINITY, 100}, *largest = put(before, 2);
        double *eout = wide(v, n), *else_ = zeros(heads);
        mert_reference_attention_args exact = {eout, else_, wide(q, n), wide(k, n), wide(v, n), B, T, H, s[3], s[4],
                                               0.7f, i % 2 ? 0.3 : 0, {9, 8, 7}};
        for (int again = 0; again < 2; again++) /* the second run uses memory that was used for larger ones */
            mert_attention(ops, .out = out, .lse = lse, .largest = largest + again, .q = put(q, n), .k = put(k, n),
                           .v = put(v, n), .B = B, .T = T, .H = H, .dh = s[3], .ld = s[4], .scale = 0.7f,
                           .p = exact.p, .key = exact.key);
        mert_reference_attention(&exact);
        CHECK_NEAR(get(largest, 2)[0], largest_score(&exact), 1e-5);
        CHECK(get(largest, 2)[1] == 100);
        CHECK_APART(get(out, n), eout, n, SUM); /* with the gaps between rows, which must not change */
        CHECK_APART(get(lse, heads), else_, heads, SUM);
    }
}

/* Scores of many hundreds, ascending from tile to tile, then descending: tests the running maximum. */
TEST(attention_of_large_scores)
{
    int64_t T = 300, dh = 4, n = T * dh;
    float *q = numbers(n, 1), *k = numbers(n, 2), *v = numbers(n, 3), *out = room(n);
    double *exact_out = zeros(n);
    for (int64_t i = 0; i < n; i++)
        k[i] *= (float)(i < n / 2 ? i : n - i) / 8;
    mert_reference_attention_args exact = {exact_out, NULL, wide(q, n), wide(k, n), wide(v, n), 1, T, 1, dh, dh, 1, 0,
                                           {0, 0, 0}};
    mert_attention(ops, .out = out, .q = put(q, n), .k = put(k, n), .v = put(v, n), .B = 1, .T = T, .H = 1, .dh = dh,
                   .ld = dh, .scale = 1);
    mert_reference_attention(&exact);
    CHECK_APART(get(out, n), exact_out, n, 1e-4); /* a score of 500 has a rounding error of 3e-5 */
}

/* ---- masking, and choosing rows ---- */

TEST(mask_gather_scatter)
{
    static const int64_t shapes[][2] = {{1, 1}, {5, 3}, {41, 131}, {3000, 17}};
    for (int i = 0; i < 4; i++) {
        int64_t rows = shapes[i][0], D = shapes[i][1], n = rows * D, few = (rows + 2) / 3;
        float *x = numbers(n, 1), *e = numbers(D, 2), *mask = keep((size_t)rows * sizeof *mask), *to = room(few * D);
        float *dx = put(x, n);
        double *exact = wide(x, n), *exact_to = zeros(few * D);
        int32_t *index = keep((size_t)few * sizeof *index), *dindex;
        for (int64_t r = 0; r < rows; r++)
            mask[r] = r % 3 == 1;
        for (int64_t r = 0; r < few; r++)
            index[r] = (int32_t)(rows - 1 - 3 * r); /* backwards, distinct */
        dindex = put_bytes(index, (size_t)few * sizeof *index);
        mert_mask(ops, .x = dx, .e = put(e, D), .mask = put(mask, rows), .rows = rows, .D = D);
        mert_gather(ops, .to = to, .from = dx, .index = dindex, .n = few, .D = D);
        mert_scatter_add(ops, .to = dx, .from = to, .index = dindex, .n = few, .D = D);
        mert_reference_mask(exact, wide(e, D), mask, rows, D);
        mert_reference_gather(exact_to, exact, index, few, D);
        mert_reference_scatter_add(exact, exact_to, index, few, D);
        CHECK_APART(get(to, few * D), exact_to, few * D, 0);
        CHECK_APART(get(dx, n), exact, n, 0);
    }
}

TEST(zero)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {2, 5, 3}, {3, 41, 131}, {4, 700, 17}};
    for (int i = 0; i < 12; i++) {
        int64_t B = shapes[i / 3][0], T = shapes[i / 3][1], D = shapes[i / 3][2], n = B * T * D;
        float *x = numbers(n, 1), *rows = keep((size_t)(B * T) * sizeof *rows);
        float *channels = keep((size_t)(B * D) * sizeof *channels), *dx = put(x, n);
        double *exact = wide(x, n);
        int with_rows = i % 3 != 0, with_channels = i % 3 != 1;
        for (int64_t r = 0; r < B * T; r++)
            rows[r] = r % 4 == 1;
        for (int64_t k = 0; k < B * D; k++)
            channels[k] = k % 5 == 2 || k == 0;
        mert_zero(ops, .x = dx, .rows = with_rows ? put(rows, B * T) : NULL,
                  .channels = with_channels ? put(channels, B * D) : NULL, .B = B, .T = T, .D = D);
        mert_reference_zero(exact, with_rows ? rows : NULL, with_channels ? channels : NULL, B, T, D);
        CHECK_APART(get(dx, n), exact, n, 0);
    }
}

/* ---- losses ---- */

TEST(normalize)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {3, 5, 7}, {40, 64, 64}, {17, 131, 262}};
    for (int i = 0; i < 4; i++) {
        int64_t rows = shapes[i][0], D = shapes[i][1], ld = shapes[i][2], n = rows * ld;
        float *x = numbers(n, 1), *y, *norm = room(rows);
        double *ey, *enorm = zeros(rows);
        if (i == 2)
            memset(x + D, 0, (size_t)D * sizeof *x); /* a row of zeros stays zero */
        y = put(x, n);
        ey = wide(x, n);
        mert_normalize(ops, .y = y, .norm = norm, .x = put(x, n), .rows = rows, .D = D, .ld = ld);
        mert_reference_normalize(ey, enorm, wide(x, n), rows, D, ld);
        CHECK_APART(get(y, n), ey, n, SUM);
        CHECK_APART(get(norm, rows), enorm, rows, SUM);
    }
}

/* How often each class has the largest logit of a row alone. */
static void count_predictions(const float *cosine, int64_t rows, int64_t V, int64_t *to)
{
    for (int64_t r = 0; r < rows; r++) {
        int64_t best = 0, equal = 0;
        for (int64_t v = 0; v < V; v++)
            best = cosine[r * V + v] > cosine[r * V + best] ? v : best;
        for (int64_t v = 0; v < V; v++)
            equal += cosine[r * V + v] >= cosine[r * V + best];
        to[best] += equal == 1;
    }
}

TEST(cross_entropy)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 2}, {37, 17}, {50, 1028}};
    for (int i = 0; i < 8; i++) {
        int64_t rows = shapes[i / 2][0], V = shapes[i / 2][1], n = rows * V, correct;
        float *cosine = numbers(n, 1), *logits, theta = 2.3f;
        double wtheta = theta, *sums, before[2] = {3, 5}, loss;
        int32_t *target = keep((size_t)rows * sizeof *target);
        int64_t *predicted = keep((size_t)V * sizeof *predicted), *counts;
        for (int64_t k = 0; k < n; k++)
            cosine[k] /= 3;
        for (int64_t v = 0; v < V; v++)
            predicted[v] = v;
        counts = put_bytes(predicted, (size_t)V * sizeof *predicted);
        for (int64_t r = 0; r < rows; r++) {
            target[r] = (int32_t)(r * 7 % V);
            if (r % 3 == 0)
                cosine[r * V + target[r]] = 1.25f;
            if (r % 6 == 3 && V > 1)
                cosine[r * V + (target[r] + 1) % V] = 1.25f; /* as good as the target: not correct */
        }
        logits = put(cosine, n);
        sums = put_bytes(before, sizeof before);
        mert_cross_entropy(ops, .logits = logits, .target = put_bytes(target, (size_t)rows * sizeof *target),
                           .sums = sums, .predicted = counts, .log_temperature = i % 2 ? put(&theta, 1) : NULL,
                           .rows = rows, .V = V, .scale = 10);
        counts = get_bytes(counts, (size_t)V * sizeof *counts);
        count_predictions(cosine, rows, V, predicted);
        CHECK(!memcmp(counts, predicted, (size_t)V * sizeof *counts));
        loss = mert_reference_cross_entropy(wide(cosine, n), target, i % 2 ? &wtheta : NULL, 10, rows, V, &correct);
        sums = get_bytes(sums, sizeof before);
        CHECK_NEAR(sums[0] - 3, loss, 1e-6 * (fabs(loss) + (double)rows));
        CHECK(sums[1] == 5 + (double)correct);
        CHECK(V == 1 || correct < rows);
        CHECK(!memcmp(get(logits, n), cosine, (size_t)n * sizeof *cosine)); /* unchanged without grad */
    }
}

TEST(sums_of_squares)
{
    for (int i = 0; i < 5; i++) {
        int64_t n = lengths[i];
        double before[2] = {7, 11}, *sums = put_bytes(before, sizeof before), *got, exact;
        float *x = numbers(n, 1), *y = numbers(n, 2), *dx = put(x, n);
        mert_sum_squares(ops, .sum = sums, .x = dx, .n = n);
        mert_squared_error(ops, .sum = sums + 1, .x = dx, .y = put(y, n), .n = n);
        got = get_bytes(sums, sizeof before);
        exact = mert_reference_sum_squares(wide(x, n), n);
        CHECK_NEAR(got[0] - 7, exact, SUM * exact + 1e-12);
        exact = mert_reference_squared_error(wide(x, n), wide(y, n), n);
        CHECK_NEAR(got[1] - 11, exact, SUM * exact + 1e-12);
        CHECK(!memcmp(get(dx, n), x, (size_t)n * sizeof *x));
    }
}

TEST(glu)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 5}, {33, 70}};
    for (int i = 0; i < 3; i++) {
        int64_t rows = shapes[i][0], D = shapes[i][1], n = rows * D;
        float *x = numbers(2 * n, 1), *y = room(n);
        double *exact = zeros(n);
        mert_glu(ops, .y = y, .x = put(x, 2 * n), .rows = rows, .D = D);
        mert_reference_glu(exact, wide(x, 2 * n), rows, D);
        CHECK_APART(get(y, n), exact, n, ELEMENT);
    }
}

TEST(narrow_and_widen)
{
    static const float special[] = {
        0,           -0.0f,         INFINITY,           -INFINITY,    0x1p-149f,       -0x1.8p-134f,
        0x1.8p-133f, 0x1p-126f,     0x1.fffffep127f,    0x1.fep127f,  0x1.fefffep127f, -0x1.ffp127f,
        1 + 0x1p-8f, 1 + 0x1.8p-7f, 1 + 0x1.000002p-8f, -1 - 0x1p-8f, 0x1.fffp0f};
    enum { SPECIAL = sizeof special / sizeof *special };
    for (int i = 0; i < 5; i++) {
        int64_t n = lengths[i] + SPECIAL;
        float *x = numbers(n, 1), *back = room(n), *y;
        uint16_t *narrow = room_bytes((size_t)n * sizeof *narrow);
        memcpy(x, special, sizeof special);
        for (int64_t k = SPECIAL; k < n; k++)
            x[k] = ldexpf(x[k], (int)(k % 200) - 100);
        mert_narrow(ops, .to = narrow, .from = put(x, n), .n = n);
        mert_widen(ops, .to = back, .from = narrow, .n = n);
        y = get(back, n);
        for (int64_t k = 0; k < n && !test_bad; k++)
            CHECK(y[k] == mert_reference_narrow(x[k]) && !signbit(y[k]) == !signbit(x[k]));
        for (uint32_t bits = 0x7f800001; bits < 0x7fffffff; bits += 0x4fff3) { /* any NaN */
            memcpy(x, &bits, sizeof bits);
            mert_narrow(ops, .to = narrow, .from = put(x, 1), .n = 1);
            mert_widen(ops, .to = back, .from = narrow, .n = 1);
            CHECK(isnan(get(back, 1)[0]));
        }
        forget();
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {
        NN_TEST(gemm), NN_TEST(gemm_of_nothing), NN_TEST(linear), NN_TEST(copy_fill_axpy),
        NN_TEST(copy_2d), NN_TEST(swap_axes), NN_TEST(gelu), NN_TEST(column_sum), NN_TEST(dropout),
        NN_TEST(layer_norm), NN_TEST(time_norm), NN_TEST(weight_norm), NN_TEST(grouped_conv), NN_TEST(attention),
        NN_TEST(attention_of_large_scores), NN_TEST(mask_gather_scatter), NN_TEST(zero), NN_TEST(normalize),
        NN_TEST(cross_entropy), NN_TEST(sums_of_squares), NN_TEST(glu),
        NN_TEST(narrow_and_widen)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
