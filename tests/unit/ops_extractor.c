/* The extractor's operations: convolutions over time, the first layer with its norm and GELU, LayerNorm with a GELU
 * behind it. Forward against nn/reference, and against the same made of single operations, bit for bit on the CPU;
 * backward against differences of nn/reference. */
#include "tests/unit/gradients.h"

#include "libcommon/nn/reference.h"

#define SUM 3e-6 /* float32's, of a sum, as in ops.c */

/* What the losses below are functions of. */
static struct {
    double *x, *w, *b, *norm_w, *norm_b, *y, *dy;
    int64_t n, rows, columns;
    mert_conv_shape shape;
    int kind;
} f;

static mert_conv_shape with_frames(mert_conv_shape s)
{
    s.T_out = (s.T_in - s.kernel) / s.stride + 1;
    return s;
}

/* ---- convolution ---- */

/* The kernels and strides of MERT's extractor, and others: stride above the kernel, kernel not a multiple of the
 * stride. */
TEST(conv)
{
    static const mert_conv_shape shapes[] = {{1, 1, 0, 1, 1, 1, 1},    {2, 53, 0, 1, 7, 10, 5}, {3, 40, 0, 6, 5, 3, 2},
                                             {1, 41, 0, 6, 5, 2, 2}, {2, 30, 0, 3, 4, 2, 5}, {2, 29, 0, 4, 140, 7, 1},
                                             {1, 1100, 0, 2, 3, 4, 2}};
    for (int i = 0; i < 7; i++) {
        mert_conv_shape s = with_frames(shapes[i]);
        int64_t inner = s.kernel * s.C, nx = s.B * s.T_in * s.C, nw = s.O * inner, ny = s.B * s.T_out * s.O;
        int64_t packed = mert_ops_packed_floats(ops, INT64_MAX, s.O, inner, MERT_PACKED_F32);
        float *x = numbers(nx, 1), *w = numbers(nw, 2), *b = numbers(s.O, 3), *dx = put(x, nx), *dw = put(w, nw);
        float *db = i % 2 ? NULL : put(b, s.O), *y[2] = {room(ny), room(ny)}, *panels = room(packed);
        double *exact = zeros(ny);
        mert_reference_conv(&s, wide(x, nx), wide(w, nw), i % 2 ? NULL : wide(b, s.O), i % 3 != 0, exact);
        mert_conv(ops, .y = y[0], .x = dx, .w = dw, .bias = db, .shape = s, .gelu = i % 3 != 0);
        if (packed) { /* else this backend packs nothing */
            mert_pack(ops, .to = panels, .w = dw, .ldw = inner, .n = s.O, .k = inner);
            mert_conv(ops, .y = y[1], .x = dx, .w = panels, .packed = MERT_PACKED_F32, .bias = db, .shape = s,
                      .gelu = i % 3 != 0);
        }
        for (int k = 0; k < (packed ? 2 : 1); k++)
            CHECK_APART(get(y[k], ny), exact, ny, SUM);
    }
}

static double conv_loss(void)
{
    mert_reference_conv(&f.shape, f.x, f.w, f.b, 0, f.y);
    return dot(f.y, f.dy, f.n);
}

TEST(conv_gradient)
{
    static const mert_conv_shape shapes[] = {{1, 1, 0, 1, 1, 1, 1}, {2, 28, 0, 1, 3, 10, 5}, {3, 15, 0, 2, 3, 3, 2},
                                             {1, 12, 0, 3, 2, 2, 2}, {2, 13, 0, 2, 2, 2, 5}, {2, 600, 0, 3, 5, 4, 1}};
    for (int i = 0; i < 6; i++) {
        mert_conv_shape s = f.shape = with_frames(shapes[i]);
        int64_t nx = s.B * s.T_in * s.C, nw = s.O * s.kernel * s.C, n = f.n = s.B * s.T_out * s.O;
        float *x = numbers(nx, 1), *w = numbers(nw, 2), *b = numbers(s.O, 3), *dy = numbers(n, 4);
        float *before_w = numbers(nw, 5), *before_b = numbers(s.O, 6);
        float *dx = room(nx), *dw = put(before_w, nw), *db = put(before_b, s.O), *alone = put(before_w, nw);
        f.x = wide(x, nx), f.w = wide(w, nw), f.b = wide(b, s.O), f.dy = wide(dy, n), f.y = zeros(n);
        mert_conv_backward(ops, .dx = dx, .dw = dw, .db = db, .dy = put(dy, n), .x = put(x, nx), .w = put(w, nw),
                           .shape = s);
        CHECK_GRADIENT(conv_loss, f.x, get(dx, nx), NULL, nx);
        CHECK_GRADIENT(conv_loss, f.w, get(dw, nw), before_w, nw);
        CHECK_GRADIENT(conv_loss, f.b, get(db, s.O), before_b, s.O);
        mert_conv_backward(ops, .dw = alone, .dy = put(dy, n), .x = put(x, nx), .shape = s);
        CHECK(!memcmp(get(alone, nw), get(dw, nw), (size_t)nw * sizeof *w));
    }
}

/* ---- the first layer ---- */

static const mert_conv_shape first[] = {{1, 7, 0, 1, 3, 2, 1}, {2, 53, 0, 1, 7, 10, 5}, {3, 1507, 0, 1, 67, 10, 5},
                                        {1, 4111, 0, 1, 5, 4, 2}};

/* Clips around a level, and of another loudness each. */
static float *waves(const mert_conv_shape *s)
{
    float *x = numbers(s->B * s->T_in, 1);
    for (int64_t i = 0; i < s->B * s->T_in; i++)
        x[i] = x[i] * (float)(1 + i / s->T_in) + 0.5f;
    return x;
}

TEST(first_layer)
{
    for (int i = 0; i < 8; i++) {
        mert_conv_shape s = with_frames(first[i / 2]);
        int64_t nx = s.B * s.T_in, nw = s.O * s.kernel, ny = s.B * s.T_out * s.O;
        float *x = waves(&s), *w = numbers(nw, 2), *b = numbers(s.O, 3), *nb = numbers(s.O, 4), *dx = put(x, nx);
        float *db = i < 4 ? put(b, s.O) : NULL, *dw = put(w, nw), *y = room(ny);
        double *exact = zeros(ny);
        mert_reference_first_layer(&s, wide(x, nx), wide(w, nw), db ? wide(b, s.O) : NULL, wide(b, s.O),
                                   wide(nb, s.O), 1e-5f, i % 2, exact);
        mert_first_layer(ops, .y = y, .x = dx, .w = dw, .bias = db, .norm_w = put(b, s.O), .norm_b = put(nb, s.O),
                         .shape = s, .eps = 1e-5f, .over_channels = i % 2);
        CHECK_APART(get(y, ny), exact, ny, 10 * SUM); /* of a difference */
    }
}

/* The same made of single operations: product, norm, GELU. */
TEST(first_layer_by_parts)
{
    for (int i = 0; i < 8; i++) {
        mert_conv_shape s = with_frames(first[i / 2]);
        int64_t rows = s.B * s.T_out, n = rows * s.O, nx = s.B * s.T_in, nw = s.O * s.kernel;
        int64_t count = i % 2 ? rows : s.B * s.O;
        float *dx = put(waves(&s), nx), *dw = put(numbers(nw, 2), nw), *nb = put(numbers(s.O, 3), s.O), *y = room(n);
        float *gain = put(numbers(s.O, 4), s.O), *zero = numbers(nw, 5), *panels;
        float *z = room(n), *pre = room(n), *h = room(n);
        float *dy = numbers(n, 6), *g = put(dy, n), *mean = room(count), *rstd = room(count), *to[2][3];
        int64_t packed = mert_ops_packed_floats(ops, INT64_MAX, s.O, s.kernel, MERT_PACKED_F32);
        memset(zero, 0, (size_t)nw * sizeof *zero);
        for (int k = 0; k < 6; k++)
            to[k / 3][k % 3] = put(zero, k % 3 ? s.O : nw);
        mert_first_layer(ops, .y = y, .x = dx, .w = dw, .norm_w = gain, .norm_b = nb, .shape = s, .eps = 1e-5f,
                         .over_channels = i % 2);
        mert_first_layer_backward(ops, .dw = to[0][0], .dnorm_w = to[0][1], .dnorm_b = to[0][2], .dy = put(dy, n),
                                  .room = room(n), .x = dx, .w = dw, .norm_w = gain, .norm_b = nb, .shape = s,
                                  .eps = 1e-5f, .over_channels = i % 2);
        panels = room(packed);
        if (packed)
            mert_pack(ops, .to = panels, .w = dw, .ldw = s.kernel, .n = s.O, .k = s.kernel);
        mert_conv(ops, .y = z, .x = dx, .w = packed ? panels : dw, .packed = packed ? MERT_PACKED_F32 : 0, .shape = s);
        if (i % 2)
            mert_layer_norm(ops, .y = pre, .x = z, .w = gain, .b = nb, .mean = mean, .rstd = rstd, .rows = rows,
                            .columns = s.O, .eps = 1e-5f);
        else
            mert_time_norm(ops, .y = pre, .x = z, .w = gain, .b = nb, .mean = mean, .rstd = rstd, .B = s.B,
                           .T = s.T_out, .C = s.O, .eps = 1e-5f);
        mert_gelu(ops, .y = h, .x = pre, .n = n);
        mert_gelu_backward(ops, .dx = g, .dy = g, .x = pre, .n = n);
        if (i % 2)
            mert_layer_norm_backward(ops, .dx = g, .dw = to[1][1], .db = to[1][2], .dy = g, .x = z, .w = gain,
                                     .mean = mean, .rstd = rstd, .rows = rows, .columns = s.O);
        else
            mert_time_norm_backward(ops, .dx = g, .dw = to[1][1], .db = to[1][2], .dy = g, .x = z, .w = gain,
                                    .mean = mean, .rstd = rstd, .B = s.B, .T = s.T_out, .C = s.O);
        mert_conv_backward(ops, .dw = to[1][0], .dy = g, .x = dx, .shape = s);
        CHECK(!memcmp(get(y, n), get(h, n), (size_t)n * sizeof *y));
        for (int k = 0; k < 3; k++)
            CHECK(!memcmp(get(to[0][k], k ? s.O : nw), get(to[1][k], k ? s.O : nw),
                          (size_t)(k ? s.O : nw) * sizeof *y));
    }
}

static double first_loss(void)
{
    mert_reference_first_layer(&f.shape, f.x, f.w, f.b, f.norm_w, f.norm_b, 1e-5f, f.kind, f.y);
    return dot(f.y, f.dy, f.n);
}

TEST(first_layer_gradient)
{
    for (int i = 0; i < 8; i++) {
        mert_conv_shape s = f.shape = with_frames(first[i / 2]);
        int64_t nx = s.B * s.T_in, nw = s.O * s.kernel, n = f.n = s.B * s.T_out * s.O;
        float *x = waves(&s), *w = numbers(nw, 2), *b[3] = {numbers(s.O, 3), numbers(s.O, 4), numbers(s.O, 5)};
        float *dy = numbers(n, 6), *before_w = numbers(nw, 7), *before[3], *d[3], *dw = put(before_w, nw);
        for (int k = 0; k < 3; k++) {
            before[k] = numbers(s.O, 8 + (uint32_t)k);
        }
        f.kind = i % 2;
        if (!f.kind)
            memset(before[0], 0, (size_t)s.O * sizeof **before); /* the gradient is 0: all that is left is rounding */
        for (int k = 0; k < 3; k++)
            d[k] = put(before[k], s.O);
        f.x = wide(x, nx), f.w = wide(w, nw), f.dy = wide(dy, n), f.y = zeros(n);
        f.b = wide(b[0], s.O), f.norm_w = wide(b[1], s.O), f.norm_b = wide(b[2], s.O);
        mert_first_layer_backward(ops, .dw = dw, .db = d[0], .dnorm_w = d[1], .dnorm_b = d[2], .dy = put(dy, n),
                                  .room = room(n), .x = put(x, nx), .w = put(w, nw), .bias = put(b[0], s.O),
                                  .norm_w = put(b[1], s.O), .norm_b = put(b[2], s.O), .shape = s, .eps = 1e-5f,
                                  .over_channels = f.kind);
        CHECK_GRADIENT(first_loss, f.w, get(dw, nw), before_w, nw);
        if (f.kind)
            CHECK_GRADIENT(first_loss, f.b, get(d[0], s.O), before[0], s.O);
        else /* a bias before the norm over time does nothing: what is left is rounding, of sums of thousands */
            CHECK_NEAR(gradient_error(first_loss, f.b, get(d[0], s.O), before[0], s.O), 0, 2e-2);
        CHECK_GRADIENT(first_loss, f.norm_w, get(d[1], s.O), before[1], s.O);
        CHECK_GRADIENT(first_loss, f.norm_b, get(d[2], s.O), before[2], s.O);
    }
}

/* ---- LayerNorm and GELU ---- */

static double layer_norm_loss(void)
{
    mert_reference_layer_norm(f.y, f.x, f.norm_w, f.norm_b, NULL, NULL, f.rows, f.columns, 1e-5f, 1);
    return dot(f.y, f.dy, f.n);
}

TEST(layer_norm_and_gelu)
{
    static const int64_t shapes[][2] = {{1, 2}, {3, 5}, {300, 67}};
    for (int i = 0; i < 6; i++) {
        int64_t rows = f.rows = shapes[i / 2][0], C = f.columns = shapes[i / 2][1], n = f.n = rows * C;
        float *x = numbers(n, 1), *w = numbers(C, 2), *b = numbers(C, 3), *dy = numbers(n, 4), *before = numbers(n, 5);
        float *before_w = numbers(C, 6), *before_b = numbers(C, 7), *fx = put(x, n), *fw = put(w, C), *fb = put(b, C);
        float *mean = room(rows), *rstd = room(rows), *dw = put(before_w, C), *db = put(before_b, C), *y = room(n);
        float *pre = room(n), *dx = put(before, n), *g;
        f.x = wide(x, n), f.norm_w = wide(w, C), f.norm_b = wide(b, C), f.dy = wide(dy, n), f.y = zeros(n);
        mert_layer_norm(ops, .y = y, .x = fx, .w = fw, .b = fb, .mean = mean, .rstd = rstd, .rows = rows, .columns = C,
                        .eps = 1e-5f, .gelu = 1);
        mert_layer_norm(ops, .y = pre, .x = fx, .w = fw, .b = fb, .rows = rows, .columns = C, .eps = 1e-5f);
        mert_gelu(ops, .y = pre, .x = pre, .n = n);
        layer_norm_loss();
        CHECK_APART(get(y, n), f.y, n, SUM);
        CHECK(!memcmp(get(pre, n), get(y, n), (size_t)n * sizeof *y));
        mert_layer_norm_backward(ops, .dx = dx, .dw = dw, .db = db, .dy = put(dy, n), .x = fx, .w = fw, .b = fb,
                                 .mean = mean, .rstd = rstd, .rows = rows, .columns = C, .add = i % 2, .gelu = 1);
        g = get(dx, n);
        CHECK_GRADIENT(layer_norm_loss, f.x, g, i % 2 ? before : NULL, n);
        CHECK_GRADIENT(layer_norm_loss, f.norm_w, get(dw, C), before_w, C);
        CHECK_GRADIENT(layer_norm_loss, f.norm_b, get(db, C), before_b, C);
        if (i % 2 == 0) { /* dx may be dy, or x */
            float *both = put(dy, n);
            mert_layer_norm_backward(ops, .dx = both, .dw = dw, .db = db, .dy = both, .x = fx, .w = fw, .b = fb,
                                     .mean = mean, .rstd = rstd, .rows = rows, .columns = C, .gelu = 1);
            mert_layer_norm_backward(ops, .dx = fx, .dw = dw, .db = db, .dy = put(dy, n), .x = fx, .w = fw, .b = fb,
                                     .mean = mean, .rstd = rstd, .rows = rows, .columns = C, .gelu = 1);
            CHECK(!memcmp(get(both, n), g, (size_t)n * sizeof *g) && !memcmp(get(fx, n), g, (size_t)n * sizeof *g));
        }
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(conv), NN_TEST(conv_gradient), NN_TEST(first_layer),
                                    NN_TEST(first_layer_by_parts), NN_TEST(first_layer_gradient),
                                    NN_TEST(layer_norm_and_gelu)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
