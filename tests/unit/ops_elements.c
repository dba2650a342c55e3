/* Elements of 16 bits on the CPU (nn/cpu/rounded.c): every operation that does one thing. Those that do several:
 * ops_elements_fused.c. */
#include "tests/unit/elements.h"

#include "libcommon/nn/reference.h"

/* ---- products ---- */

enum { M = 70, N = 45, K = 33, WIDE = 51 }; /* row stride */

static void gemm_how(int ta, int tb, int add_too, int many, int sum)
{
    int64_t lda = WIDE + 20, a_step = lda * 71, b_step = WIDE * 46, c_step = WIDE * M + 2;
    int64_t na = a_step * many, nb = b_step * many, nc = c_step * many;
    float *a = values(na, 1), *b = values(nb, 2), *c = values(nc, 3), *f = numbers(N, 4), *s = values(nc, 5);
    mert_element *da = put_values(a, na), *db = put_values(b, nb), *dc = put_values(c, nc), *dpre, *ds;
    double *exact = expect(nc), *pre;
    another_order();
    dpre = put_values(c, nc);
    pre = expect(nc);
    ds = put_values(s, nc);
    for (int64_t i = 0; i < nc; i++)
        exact[i] = pre[i] = c[i];
    mert_reference_gemm(&(mert_reference_gemm_args){M, N, K, wide(a, na), wide(b, nb), exact, lda, WIDE, WIDE, ta, tb,
                                                    add_too, 0.5, many > 1 ? many : 0, a_step, b_step, c_step, sum,
                                                    wide(f, N), wide(s, nc), pre, 1});
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = da, .b = db, .c = dc, .lda = lda, .ldb = WIDE, .ldc = WIDE, .ta = ta,
              .tb = tb, .add = add_too, .alpha = 0.5f, .batch = many > 1 ? many : 0, .a_step = a_step,
              .b_step = b_step, .c_step = c_step, .sum = sum, .bias = put(f, N), .residual = ds, .pre = dpre,
              .gelu = 1);
}

static void gemm_plain(void) { gemm_how(0, 0, 0, 1, 0); }
static void gemm_transposed(void) { gemm_how(1, 1, 1, 3, 0); }
static void gemm_summed(void) { gemm_how(0, 1, 0, 3, 1); }

static void gemm_gradient(void)
{
    another_order();
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = elements(K * M, 1), .lda = M, .ta = 1, .b = elements(K * N, 2),
              .ldb = N, .gradient = floats(M * N, 3), .ldc = N, .add = 1);
}

static void gemm_packed(void)
{
    float *x = values(M * K, 1), *w = numbers(2 * N * K, 2), *near = keep(2 * N * K * sizeof *near);
    int64_t step = mert_ops_packed_floats(ops, INT64_MAX, N, K, MERT_PACKED_F32);
    mert_element *packed, *dx, *y;
    double *exact;
    if (!step) { /* this backend packs nothing */
        gemm_plain();
        return;
    }
    another_order();
    packed = room_bytes((size_t)(2 * step) * sizeof(float));
    dx = put_values(x, M * K);
    for (int64_t i = 0; i < 2 * N * K; i++) /* float32 has these, too */
        near[i] = rounded(w[i]);
    y = elements(2 * M * N, 3);
    exact = expect(2 * M * N);
    mert_reference_gemm(&(mert_reference_gemm_args){
        M, N, K, wide(x, M * K), wide(near, 2 * N * K), exact, K, K, N, 0, 1, 0, 1, 2, 0, N * K, M * N, 0, NULL, NULL,
        NULL, 0});
    mert_pack(ops, .to = packed, .w = put(half ? w : near, 2 * N * K), .ldw = K, .n = N, .k = K, .count = 2,
              .to_step = step, .w_step = N * K);
    mert_gemm(ops, .M = M, .N = N, .K = K, .a = dx, .lda = K, .b = packed, .b_step = step, .packed = MERT_PACKED_F32,
              .c = y, .ldc = N, .c_step = M * N, .batch = 2);
}

TEST(products)
{
    EACH(gemm_plain, gemm_transposed, gemm_summed, gemm_gradient, gemm_packed);
}

/* ---- elementwise, and sums over rows ---- */

enum { LONG = 40001, ROWS = 37, COLUMNS = 131 };

static void gelu(void)
{
    float *x = values(LONG, 1), *r = values(LONG, 2);
    mert_element *dx = put_values(x, LONG), *dr = put_values(r, LONG), *y = elements(LONG, 3);
    mert_reference_gelu_all(expect(LONG), wide(x, LONG), wide(r, LONG), LONG);
    mert_gelu(ops, .y = y, .x = dx, .residual = dr, .n = LONG);
}

static void gelu_in_place(void)
{
    float *x = values(1 << 15, 1); /* a whole number of blocks */
    mert_element *dx = put_values(x, 1 << 15);
    mert_reference_gelu_all(expect(1 << 15), wide(x, 1 << 15), NULL, 1 << 15);
    mert_gelu(ops, .y = dx, .x = dx, .n = 1 << 15);
}

static void gelu_backward(void)
{
    mert_element *dx = elements(LONG, 1), *dy = elements(LONG, 2), *x = elements(LONG, 3);
    mert_gelu_backward(ops, .dx = dx, .dy = dy, .x = x, .n = LONG);
}

static void axpy(void)
{
    mert_element *to = elements(LONG, 1), *from = elements(LONG, 2);
    mert_axpy(ops, .to = to, .from = from, .alpha = -0.75f, .n = LONG);
}

/* Columns of two interleaved matrices. */
static void copy_2d(void)
{
    mert_element *to = elements(ROWS * 2 * COLUMNS, 1), *from = elements(ROWS * WIDE, 2);
    mert_copy_2d(ops, .to = mert_at(ops, to, COLUMNS), .ldto = 2 * COLUMNS, .from = from, .ldfrom = WIDE, .rows = ROWS,
                 .columns = WIDE, .scale = 0.3f);
    mert_copy_2d(ops, .to = to, .ldto = 2 * COLUMNS, .from = from, .ldfrom = WIDE, .rows = ROWS, .columns = WIDE,
                 .add = 1);
}

static void column_sum(void)
{
    mert_element *x = elements(ROWS * COLUMNS, 1);
    mert_column_sum(ops, .sums = floats(WIDE, 2), .x = x, .rows = ROWS, .columns = WIDE, .ldx = COLUMNS);
}

static void dropout(void)
{
    mert_element *x = elements(3 * LONG, 1);
    mert_dropout(ops, .x = x, .B = 3, .n = LONG, .p = 0.1, .key = {1, 2, 3});
}

static void glu(void)
{
    float *x = values(ROWS * 2 * COLUMNS, 1);
    mert_element *dx = put_values(x, ROWS * 2 * COLUMNS), *y = elements(ROWS * COLUMNS, 2);
    mert_reference_glu(expect(ROWS * COLUMNS), wide(x, ROWS * 2 * COLUMNS), ROWS, COLUMNS);
    mert_glu(ops, .y = y, .x = dx, .rows = ROWS, .D = COLUMNS);
}

static void glu_backward(void)
{
    mert_element *x = elements(ROWS * 2 * COLUMNS, 1), *dy = elements(ROWS * COLUMNS, 2);
    mert_glu_backward(ops, .dx = x, .dy = dy, .x = x, .rows = ROWS, .D = COLUMNS);
}

static void sum_squares(void)
{
    mert_element *x = elements(LONG, 1);
    mert_sum_squares(ops, .sum = doubles(1), .elements = x, .n = LONG);
}

static void squared_error(void)
{
    mert_element *x = elements(LONG, 1);
    mert_squared_error(ops, .dx = x, .sum = doubles(1), .x = x, .y = floats(LONG, 2), .n = LONG, .factor = 0.01f);
}

TEST(elementwise)
{
    EACH(gelu, gelu_in_place, gelu_backward, axpy, copy_2d, column_sum, dropout, glu, glu_backward, sum_squares,
         squared_error);
}

/* ---- norms, convolution, attention ---- */

static void layer_norm(void)
{
    int64_t n = ROWS * COLUMNS;
    float *x = values(n, 1), *w = numbers(COLUMNS, 2), *b = numbers(COLUMNS, 3);
    mert_element *dx = put_values(x, n), *y = elements(n, 4);
    mert_reference_layer_norm(expect(n), wide(x, n), wide(w, COLUMNS), wide(b, COLUMNS), zeros(ROWS), zeros(ROWS), ROWS,
                              COLUMNS, 1e-5f, 1);
    mert_layer_norm(ops, .y = y, .x = dx, .w = put(w, COLUMNS), .b = put(b, COLUMNS), .mean = floats(ROWS, 5),
                    .rstd = floats(ROWS, 6), .rows = ROWS, .columns = COLUMNS, .eps = 1e-5f, .gelu = 1);
}

static void layer_norm_backward(void)
{
    int64_t n = ROWS * COLUMNS;
    mert_element *dx = elements(n, 1), *dy = elements(n, 2), *x = elements(n, 3);
    mert_layer_norm_backward(ops, .dx = dx, .dw = floats(COLUMNS, 4), .db = floats(COLUMNS, 5), .dy = dy, .x = x,
                             .w = floats(COLUMNS, 6), .mean = floats(ROWS, 7), .rstd = floats(ROWS, 8), .rows = ROWS,
                             .columns = COLUMNS, .add = 1);
}

enum { B = 2, T = 300, C = 67 };

static void time_norm(void)
{
    int64_t n = B * T * C;
    float *x = values(n, 1), *w = numbers(C, 2), *b = numbers(C, 3);
    mert_element *dx = put_values(x, n), *y = elements(n, 4), *pre;
    double *exact = expect(n);
    pre = elements(n, 5);
    mert_reference_time_norm(exact, wide(x, n), wide(w, C), wide(b, C), zeros(B * C), zeros(B * C), expect(n), B, T, C,
                             1e-5f, 1);
    mert_time_norm(ops, .y = y, .x = dx, .w = put(w, C), .b = put(b, C), .mean = floats(B * C, 6),
                   .rstd = floats(B * C, 7), .pre = pre, .B = B, .T = T, .C = C, .eps = 1e-5f, .gelu = 1);
}

static void time_norm_backward(void)
{
    int64_t n = B * T * C;
    mert_element *dy = elements(n, 2), *x = elements(n, 3);
    mert_time_norm_backward(ops, .dx = dy, .dw = floats(C, 4), .db = floats(C, 5), .dy = dy, .x = x, .w = floats(C, 6),
                            .mean = floats(B * C, 7), .rstd = floats(B * C, 8), .B = B, .T = T, .C = C);
}

static void window_moments(void)
{
    mert_element *x = elements(5 * T + 10, 1);
    mert_window_moments(ops, .sums = doubles(10), .products = doubles(100), .x = x, .T = T, .kernel = 10, .stride = 5);
}

/* 7 taps: of 8, a device's tensor cores would take the convolution, whose sums are in another order (cuda_half.c). */
enum { D = 24, GROUPS = 3, TAPS = 7, WEIGHTS = D * TAPS * (D / GROUPS) };

static void grouped_conv(void)
{
    int64_t n = B * T * D;
    float *x = values(n, 1), *w = values(WEIGHTS, 2), *b = numbers(D, 3);
    mert_element *dx = put_values(x, n), *dw = put_values(w, WEIGHTS), *y = elements(n, 4);
    mert_reference_grouped_conv(expect(n), wide(x, n), wide(w, WEIGHTS), wide(b, D), B, T, D, GROUPS, TAPS, 4);
    mert_grouped_conv(ops, .y = y, .x = dx, .w = dw, .bias = put(b, D), .B = B, .T = T, .D = D, .groups = GROUPS,
                      .kernel = TAPS, .pad = 4);
}

static void grouped_conv_with_residual(void)
{
    int64_t n = B * T * D;
    mert_element *x = elements(n, 1), *w = elements(WEIGHTS, 2), *y = elements(n, 4);
    mert_grouped_conv(ops, .y = y, .x = x, .w = w, .bias = floats(D, 3), .residual = x, .gelu = 1, .B = B, .T = T,
                      .D = D, .groups = GROUPS, .kernel = TAPS, .pad = 4);
}

static void grouped_conv_backward(void)
{
    int64_t n = B * T * D;
    mert_element *dx = elements(n, 1), *dy = elements(n, 2), *x = elements(n, 3), *w = elements(WEIGHTS, 4);
    mert_grouped_conv_backward(ops, .dx = dx, .dw = floats(WEIGHTS, 5), .dy = dy, .x = x, .w = w, .B = B, .T = T,
                               .D = D, .groups = GROUPS, .kernel = TAPS, .pad = 4);
}

enum { H = 3 };

/* q, k and v are interleaved, as in inference. */
static void attention(void)
{
    int64_t n = B * T * D;
    float *x = values(3 * n, 1);
    mert_element *qkv = put_values(x, 3 * n), *out = elements(n, 2);
    double *exact = expect(n), *in[3] = {zeros(n), zeros(n), zeros(n)};
    for (int64_t i = 0; i < 3 * n; i++)
        in[i / D % 3][i / (3 * D) * D + i % D] = x[i];
    mert_reference_attention(&(mert_reference_attention_args){exact, zeros(B * H * T), in[0], in[1], in[2], B, T, H,
                                                              D / H, D, 0.3, 0, {0}});
    mert_attention(ops, .out = out, .ldout = D, .lse = floats(B * H * T, 3), .q = qkv, .k = mert_at(ops, qkv, D),
                   .v = mert_at(ops, qkv, 2 * D), .B = B, .T = T, .H = H, .dh = D / H, .ld = 3 * D, .scale = 0.3f);
}

static void attention_backward(void)
{
    int64_t n = B * T * D;
    mert_element *x[8];
    for (int i = 0; i < 8; i++)
        x[i] = elements(n, (uint32_t)i);
    mert_attention_backward(ops, .dq = x[0], .dk = x[1], .dv = x[2], .dout = x[3], .out = x[4],
                            .lse = floats(B * H * T, 9), .q = x[5], .k = x[6], .v = x[7], .B = B, .T = T, .H = H,
                            .dh = D / H, .ld = D, .scale = 0.05f, .p = 0.1, .key = {1, 2, 3});
}

static void depthwise_conv(void)
{
    int64_t n = B * T * C;
    float *x = values(n, 1), *w = numbers(C * TAPS, 2), *b = numbers(C, 3);
    mert_element *dx = put_values(x, n), *y = elements(n, 4);
    mert_reference_depthwise_conv(expect(n), wide(x, n), wide(w, C * TAPS), wide(b, C), B, T, C, TAPS, 4, T);
    mert_depthwise_conv(ops, .y = y, .x = dx, .w = put(w, C * TAPS), .bias = put(b, C), .B = B, .T = T, .C = C,
                        .kernel = TAPS, .pad = 4);
}

static void depthwise_conv_backward(void)
{
    int64_t n = B * T * C;
    mert_element *dy = elements(n, 1), *x = elements(n, 2), *dx = elements(n, 3);
    mert_depthwise_conv_backward(ops, .dx = dx, .dw = floats(C * TAPS, 4), .dy = dy, .x = x, .w = floats(C * TAPS, 5),
                                 .B = B, .T = T, .C = C, .kernel = TAPS, .pad = 4, .add = 1);
}

static void response_norm(void)
{
    int64_t n = B * T * C;
    float *x = values(n, 1), *w = numbers(C, 2), *b = numbers(C, 3);
    double *exact, *sums = zeros(B * C);
    mert_element *dx = put_values(x, n);
    void *squares = doubles(B * C);
    mert_element *y = elements(n, 4);
    exact = expect(n);
    mert_reference_time_squares(sums, wide(x, n), B, T, C);
    mert_reference_response_norm(exact, wide(x, n), sums, wide(w, C), wide(b, C), B, T, C, 1e-6);
    mert_time_squares(ops, .squares = squares, .x = dx, .B = B, .T = T, .C = C);
    mert_response_norm(ops, .y = y, .x = dx, .squares = squares, .w = put(w, C), .b = put(b, C), .B = B, .T = T,
                       .C = C, .eps = 1e-6);
}

static void response_norm_backward(void)
{
    int64_t n = B * T * C;
    mert_element *dy = elements(n, 1), *x = elements(n, 2);
    void *squares = doubles(B * C);
    mert_time_squares(ops, .squares = squares, .x = x, .B = B, .T = T, .C = C);
    mert_response_norm_backward(ops, .dx = dy, .dw = floats(C, 3), .db = floats(C, 4), .dy = dy, .x = x,
                                .squares = squares, .w = floats(C, 5), .B = B, .T = T, .C = C, .eps = 1e-6);
}

static void rotary(void)
{
    int64_t n = B * T * (D + 3);
    float *x = values(n, 1), *c = numbers(T * 4, 2), *s = numbers(T * 4, 3);
    mert_element *dx = put_values(x, n);
    double *exact = expect(n);
    memcpy(exact, wide(x, n), (size_t)n * sizeof *exact);
    mert_reference_rotary(exact, wide(c, T * 4), wide(s, T * 4), B, T, GROUPS, 8, D + 3, 0);
    mert_rotary(ops, .x = dx, .cosines = put(c, T * 4), .sines = put(s, T * 4), .B = B, .T = T, .H = GROUPS, .dh = 8,
                .ld = D + 3);
}

TEST(operations_of_a_conformer)
{
    EACH(depthwise_conv, depthwise_conv_backward, response_norm, response_norm_backward, rotary);
}

TEST(norms_convolution_attention)
{
    EACH(layer_norm, layer_norm_backward, time_norm, time_norm_backward, window_moments, grouped_conv,
         grouped_conv_with_residual, grouped_conv_backward, attention, attention_backward);
}

/* ---- rows, losses ---- */

static const float *flags(int64_t n)
{
    float *x = keep((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = i % 3 == 1;
    return put(x, n);
}

static const int32_t *places(int64_t n)
{
    int32_t *x = keep((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (int32_t)(2 * i + 1);
    return put_bytes(x, (size_t)n * sizeof *x);
}

static void mask(void)
{
    mert_element *x = elements(B * T * D, 1);
    mert_mask(ops, .x = x, .e = floats(D, 2), .mask = flags(B * T), .rows = B * T, .D = D);
}

static void mask_backward(void)
{
    mert_element *x = elements(B * T * D, 1);
    mert_mask_backward(ops, .dx = x, .de = floats(D, 2), .mask = flags(B * T), .rows = B * T, .D = D);
}

static void zero(void)
{
    mert_element *x = elements(B * T * D, 1);
    mert_zero(ops, .x = x, .rows = flags(B * T), .channels = flags(B * D), .B = B, .T = T, .D = D);
}

static void gather(void)
{
    mert_element *to = elements(ROWS * D, 1), *from = elements(2 * ROWS * D, 2);
    mert_gather(ops, .to = to, .from = from, .index = places(ROWS), .n = ROWS, .D = D);
}

static void scatter_add(void)
{
    mert_element *to = elements(2 * ROWS * D, 1), *from = elements(ROWS * D, 2);
    mert_scatter_add(ops, .to = to, .from = from, .index = places(ROWS), .n = ROWS, .D = D);
}

static void normalize(void)
{
    float *x = values(ROWS * WIDE, 1);
    mert_element *dx = put_values(x, ROWS * WIDE), *y = put_values(x, ROWS * WIDE);
    double *exact = expect(ROWS * WIDE);
    for (int64_t i = 0; i < ROWS * WIDE; i++)
        exact[i] = x[i];
    mert_reference_normalize(exact, zeros(ROWS), wide(x, ROWS * WIDE), ROWS, D, WIDE);
    mert_normalize(ops, .y = y, .norm = floats(ROWS, 3), .x = dx, .rows = ROWS, .D = D, .ld = WIDE);
}

static void normalize_backward(void)
{
    mert_element *dx = elements(ROWS * WIDE, 1), *dy = elements(ROWS * D, 2), *y = elements(ROWS * WIDE, 3);
    mert_normalize_backward(ops, .dx = dx, .dy = dy, .y = y, .norm = floats(ROWS, 4), .rows = ROWS, .D = D, .ld = WIDE,
                            .add = 1);
}

static void normalize_gradient(void)
{
    mert_element *dy = elements(ROWS * D, 2), *y = elements(ROWS * D, 3);
    mert_normalize_backward(ops, .gradient = floats(ROWS * D, 1), .dy = dy, .y = y, .norm = floats(ROWS, 4),
                            .rows = ROWS, .D = D, .ld = D, .add = 1);
}

static void cross_entropy(void)
{
    mert_element *logits = elements(ROWS * (2 * ROWS), 1);
    mert_cross_entropy(ops, .logits = logits, .target = places(ROWS), .sums = doubles(2), .rows = ROWS, .V = 2 * ROWS,
                       .scale = 3, .grad = 1);
}

TEST(rows_and_losses)
{
    EACH(mask, mask_backward, zero, gather, scatter_add, normalize, normalize_backward, normalize_gradient,
         cross_entropy);
}

/* ---- conversions ---- */

/* Every 16-bit number is unchanged after both conversions. */
static void all_numbers(mert_element_type type)
{
    mert_ops *cpu = mert_ops_cpu_of(type);
    uint16_t x[1 << 16], y[1 << 16];
    float *full = keep(sizeof x / sizeof *x * sizeof *full);
    for (int i = 0; i < 1 << 16; i++)
        x[i] = (uint16_t)i;
    mert_to_floats(cpu, .to = full, .from = (const mert_element *)(void *)x, .n = 1 << 16);
    mert_to_elements(cpu, .to = (mert_element *)(void *)y, .from = full, .n = 1 << 16);
    CHECK(!cpu->wait(cpu, NULL));
    for (int i = 0; i < 1 << 16; i++)
        CHECK(x[i] == y[i] || (full[i] != full[i] && (x[i] ^ y[i]) < 0x400)); /* NaN stays NaN */
    CHECK(full[type == MERT_ELEMENT_BF16 ? 0x3f80 : 0x3c00] == 1 && full[0x8000] == 0 && signbit(full[0x8000]));
    if (type == MERT_ELEMENT_F16)
        CHECK(full[1] == 0x1p-24f && full[0x3ff] == 1023 * 0x1p-24f && full[0x400] == 0x1p-14f &&
              full[0x7bff] == 65504 && full[0xfc00] == -INFINITY);
}

TEST(all_numbers_of_16_bits)
{
    if (strcmp(ops->name, "guard")) {
        all_numbers(MERT_ELEMENT_BF16);
        all_numbers(MERT_ELEMENT_F16);
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(products), NN_TEST(elementwise), NN_TEST(norms_convolution_attention),
                                    NN_TEST(operations_of_a_conformer),
                                    NN_TEST(rows_and_losses), NN_TEST(all_numbers_of_16_bits)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
