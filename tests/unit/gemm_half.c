/* Products of bfloat16 elements on the CPU (nn/cpu/gemm_half.h) as in training: forward, and both gradients, at odd
 * sizes. Elements are within half a unit of the last place, and float32's rounding, of nn/reference; gradients of
 * parameters within float32's rounding of the operation on float32. The bytes are the same for any number of
 * threads. */
#include "tests/unit/elements.h"

#include "libcommon/nn/reference.h"

static struct shape { int64_t M, N, K; int ta, tb, add, many, sum, steps; } now;

static void elements_of(void)
{
    const struct shape *g = &now;
    int64_t lda = (g->ta ? g->M : g->K) + 3, ldb = (g->tb ? g->K : g->N) + (g->K % 3), ldc = g->N + 1;
    int64_t a_step = lda * (g->ta ? g->K : g->M), b_step = ldb * (g->tb ? g->N : g->K), c_step = ldc * g->M;
    int64_t na = a_step * g->many, nb = b_step * g->many, nc = c_step * (g->sum ? 1 : g->many);
    float *a = values(na, 1), *b = values(nb, 2), *c = values(nc, 3), *f = numbers(g->N, 4), *s = values(nc, 5);
    mert_element *da = put_values(a, na), *db = put_values(b, nb), *dc = put_values(c, nc), *dpre, *ds;
    double *exact = expect(nc), *pre;
    dpre = put_values(c, nc);
    pre = expect(nc);
    ds = put_values(s, nc);
    for (int64_t i = 0; i < nc; i++)
        exact[i] = pre[i] = c[i];
    mert_reference_gemm(&(mert_reference_gemm_args){g->M, g->N, g->K, wide(a, na), wide(b, nb), exact, lda, ldb, ldc,
                                                    g->ta, g->tb, g->add, 0.5, g->many, a_step, b_step, c_step, g->sum,
                                                    g->steps ? wide(f, g->N) : NULL, g->steps ? wide(s, nc) : NULL,
                                                    g->steps ? pre : NULL, g->steps});
    another_order();
    mert_gemm(ops, .M = g->M, .N = g->N, .K = g->K, .a = da, .b = db, .c = dc, .lda = lda, .ldb = ldb, .ldc = ldc,
              .ta = g->ta, .tb = g->tb, .add = g->add, .alpha = 0.5f, .batch = g->many, .a_step = a_step,
              .b_step = b_step, .c_step = c_step, .sum = g->sum, .bias = g->steps ? put(f, g->N) : NULL,
              .residual = g->steps ? ds : NULL, .pre = g->steps ? dpre : NULL, .gelu = g->steps);
}

TEST(elements)
{
    /* rows 1 to 33 and more than a block (96); terms that are no multiples of 2 and 32; columns that are none of 16,
     * and more than a block (256) */
    static const struct shape shapes[] = {
        {2, 15, 34, 0, 1, 0, 1, 0, 1},  {3, 16, 31, 0, 1, 1, 1, 0, 0},   {97, 40, 5, 0, 0, 0, 1, 0, 1},
        {7, 17, 32, 1, 0, 0, 2, 0, 0},  {33, 300, 63, 0, 0, 1, 3, 1, 1}, {100, 33, 70, 1, 1, 0, 2, 1, 0},
        {12, 32, 65, 0, 1, 0, 2, 0, 1}, {200, 513, 64, 0, 0, 0, 1, 0, 0}};
    for (int m = 1; m <= 33 && !test_bad; m++) {
        now = (struct shape){m, 2 * m + 7, 37 + m, m & 1, m >> 1 & 1, m >> 2 & 1, 1, 0, m >> 3 & 1};
        on_both(elements_of);
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !test_bad; i++) {
        now = shapes[i];
        on_both(elements_of);
    }
    if (test_bad)
        printf("# %d x %d x %d\n", (int)now.M, (int)now.N, (int)now.K);
}

static void gradient_of(void)
{
    const struct shape *g = &now;
    int64_t lda = g->ta ? g->M : g->K, ldb = g->tb ? g->K : g->N;
    mert_element *a = elements(g->many * g->M * g->K, 1), *b = elements(g->many * g->N * g->K, 2);
    float *c = floats((g->sum ? 1 : g->many) * g->M * g->N, 3);
    another_order();
    mert_gemm(ops, .M = g->M, .N = g->N, .K = g->K, .a = a, .lda = lda, .ta = g->ta, .a_step = g->M * g->K, .b = b,
              .ldb = ldb, .tb = g->tb, .b_step = g->N * g->K, .gradient = c, .ldc = g->N, .add = g->add,
              .batch = g->many, .c_step = g->M * g->N, .sum = g->sum);
}

TEST(gradients)
{
    /* more terms than a block (1024), too, and more columns than one (1024) */
    static const struct shape shapes[] = {{1, 1, 1, 1, 0, 1, 1, 0, 0},      {33, 17, 2050, 1, 0, 1, 1, 0, 0},
                                          {17, 33, 1025, 1, 0, 0, 2, 1, 0}, {97, 1100, 31, 1, 0, 1, 1, 0, 0},
                                          {20, 30, 1027, 0, 1, 0, 2, 0, 0}, {16, 48, 64, 1, 1, 1, 3, 1, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !test_bad; i++) {
        now = shapes[i];
        on_both(gradient_of);
    }
}

/* A row of NaN changes no other row: alone and among others, the bytes are the same. */
TEST(rows_do_not_see_each_other)
{
    enum { M = 101, N = 40, K = 51 };
    uint16_t *all[2];
    mert_ops *tested = ops;
    int guarded = !strcmp(tested->name, "guard");
    ops = guarded ? mert_ops_guard(mert_ops_cpu_of(MERT_ELEMENT_BF16)) : mert_ops_cpu_of(MERT_ELEMENT_BF16);
    for (int bad = 0; bad < 2; bad++) {
        uint16_t *x = keep(M * K * sizeof *x), *w = keep(N * K * sizeof *w);
        float *from = numbers(M * K, 1), *weights = numbers(N * K, 2);
        mert_element *y = room_bytes(M * N * sizeof(uint16_t));
        for (int i = 0; i < M * K; i++)
            x[i] = bad && i / K == 40 ? 0x7fc0 : mert_to_bf16(from[i]);
        for (int i = 0; i < N * K; i++)
            w[i] = mert_to_bf16(weights[i]);
        mert_gemm(ops, .M = M, .N = N, .K = K, .a = put_bytes(x, M * K * sizeof *x), .lda = K,
                  .b = put_bytes(w, N * K * sizeof *w), .ldb = K, .tb = 1, .c = y, .ldc = N, .gelu = 1);
        all[bad] = get_bytes(y, M * N * sizeof(uint16_t));
    }
    CHECK(!memcmp(all[0], all[1], 40 * N * sizeof(uint16_t)) && isnan(mert_from_bf16(all[1][40 * N])));
    CHECK(!memcmp(all[0] + 41 * N, all[1] + 41 * N, (M - 41) * N * sizeof(uint16_t)));
    for (int i = 0; i < nn_devices; i++)
        ops->release(ops, nn_device[i]);
    nn_devices = 0;
    ops->close(ops);
    ops = tested;
}

/* ---- convolutions ---- */

static mert_conv_shape windows;

static void convolution(void)
{
    const mert_conv_shape *s = &windows;
    int64_t in = s->B * s->T_in * s->C, out = s->B * s->T_out * s->O, weights = s->O * s->kernel * s->C;
    float *x = values(in, 1), *w = values(weights, 2), *b = numbers(s->O, 3);
    mert_element *dx = put_values(x, in), *dw = put_values(w, weights), *y = elements(out, 4);
    another_order();
    mert_reference_conv(s, wide(x, in), wide(w, weights), wide(b, s->O), 1, expect(out));
    mert_conv(ops, .y = y, .x = dx, .w = dw, .bias = put(b, s->O), .shape = *s, .gelu = 1);
}

/* dx against the definition: dx[stride t + k] += dy[t] w_k. */
static void gradient_of_convolution(void)
{
    const mert_conv_shape *s = &windows;
    int64_t in = s->B * s->T_in * s->C, out = s->B * s->T_out * s->O, weights = s->O * s->kernel * s->C;
    float *w = values(weights, 2), *dy = values(out, 3);
    mert_element *x = elements(in, 1), *dw = put_values(w, weights), *ddy = put_values(dy, out), *dx = elements(in, 4);
    double *exact = expect(in);
    for (int64_t i = 0; i < out; i++)
        for (int64_t j = 0; j < s->kernel * s->C; j++)
            exact[((i / s->O / s->T_out) * s->T_in + i / s->O % s->T_out * s->stride) * s->C + j] +=
                (double)dy[i] * (double)w[i % s->O * s->kernel * s->C + j];
    another_order();
    mert_conv_backward(ops, .dx = dx, .dw = floats(weights, 5), .db = floats(s->O, 6), .dy = ddy, .x = x, .w = dw,
                       .shape = *s);
}

TEST(convolutions)
{
    /* B, T_in, T_out, C, O, kernel, stride: taps that overlap, that touch, that leave frames out; frames after the last
     * window; more rows than a block (96) and channels than one (128) */
    static const mert_conv_shape shapes[] = {{2, 41, 20, 6, 5, 3, 2},   {1, 400, 199, 33, 17, 3, 2},
                                             {3, 9, 4, 16, 31, 2, 2},
                                             {1, 300, 98, 5, 7, 7, 3},  {2, 50, 13, 3, 4, 2, 4},
                                             {1, 12, 1, 2, 3, 10, 5},
                                             {2, 205, 102, 140, 20, 2, 2}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !test_bad; i++) {
        windows = shapes[i];
        on_both(convolution);
        if (!test_bad)
            on_both(gradient_of_convolution);
        if (test_bad)
            printf("# shape %d\n", (int)i);
    }
}

/* ---- the positional convolution ---- */

static struct positions { int64_t B, T, D, groups, kernel, pad; int packed; } grouped;

static void positional(void)
{
    const struct positions *s = &grouped;
    int64_t n = s->B * s->T * s->D, Cg = s->D / s->groups, inner = s->kernel * Cg, weights = s->D * inner;
    float *x = values(n, 1), *w = values(weights, 2), *b = numbers(s->D, 3), *r = values(n, 4);
    mert_element *dx = put_values(x, n), *dr = put_values(r, n), *y = elements(n, 5), *dw;
    double *exact = expect(n);
    int64_t step = mert_ops_packed_floats(ops, INT64_MAX, Cg, inner, MERT_PACKED_F32);
    mert_reference_grouped_conv(exact, wide(x, n), wide(w, weights), wide(b, s->D), s->B, s->T, s->D, s->groups,
                                s->kernel, s->pad);
    for (int64_t i = 0; i < n; i++)
        exact[i] = exact[i] / 2 * (1 + erf(exact[i] / sqrt(2.0))) + (double)r[i];
    another_order();
    if (s->packed) {
        dw = room_bytes((size_t)(s->groups * step) * sizeof(float));
        mert_pack(ops, .to = dw, .w = put(w, weights), .ldw = inner, .n = Cg, .k = inner, .count = s->groups,
                  .to_step = step, .w_step = Cg * inner);
    } else {
        dw = put_values(w, weights);
    }
    mert_grouped_conv(ops, .y = y, .x = dx, .w = dw, .packed = s->packed ? MERT_PACKED_F32 : (mert_packing)0,
                      .bias = put(b, s->D), .residual = dr, .gelu = 1, .B = s->B, .T = s->T, .D = s->D,
                      .groups = s->groups, .kernel = s->kernel, .pad = s->pad);
}

static void gradient_of_positional(void)
{
    const struct positions *s = &grouped;
    int64_t n = s->B * s->T * s->D, weights = s->D * s->kernel * s->D / s->groups;
    mert_element *dx = elements(n, 1), *dy = elements(n, 2), *x = elements(n, 3), *w = elements(weights, 4);
    another_order();
    mert_grouped_conv_backward(ops, .dx = dx, .dw = floats(weights, 5), .dy = dy, .x = x, .w = w, .B = s->B, .T = s->T,
                               .D = s->D, .groups = s->groups, .kernel = s->kernel, .pad = s->pad);
}

TEST(positional_convolutions)
{
    /* a block of frames (96) and more, odd numbers of frames, groups of 1 to 48 channels; the third is not divisible by
     * 32, and runs on copies */
    static const struct positions shapes[] = {{2, 70, 16, 2, 4, 2, 0},   {1, 201, 96, 2, 32, 16, 1},
                                              {2, 33, 20, 5, 7, 3, 1},
                                              {3, 97, 8, 8, 64, 31, 0},  {1, 5, 64, 2, 1, 0, 1},
                                              {2, 31, 40, 2, 8, 7, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes && !test_bad; i++) {
        grouped = shapes[i];
        on_both(positional);
        if (!test_bad)
            on_both(gradient_of_positional);
        if (test_bad)
            printf("# shape %d\n", (int)i);
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(elements), NN_TEST(gradients), NN_TEST(rows_do_not_see_each_other),
                                    NN_TEST(convolutions), NN_TEST(positional_convolutions)};
    (void)argc;
    printf("# products of bfloat16 elements by instructions for them: %s\n", mert_half_fast() ? "yes" : "no");
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
