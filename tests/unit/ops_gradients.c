/* Compares every backward operation with central differences of the readable forward operation (nn/reference) in double
 * precision. The loss is the sum of dy[i] y[i] over the result y, so its gradient with respect to y is dy, which is
 * random. */
#include "tests/unit/gradients.h"

#include "libcommon/nn/conv.h"
#include "libcommon/nn/reference.h"

/* ---- arguments of the losses below ---- */

static struct {
    double *x, *w, *b, *y, *dy; /* y: where the forward operation leaves its result; n elements, as dy */
    int64_t n, rows, in, out, B, T, C, groups, kernel, pad;
    const float *mask, *channels;
    const int32_t *index;
    mert_reference_attention_args attention;
    mert_dropout_key key;
    double *temperature;
} f;

static double projected(void)
{
    return dot(f.y, f.dy, f.n);
}

/* ---- elementwise ---- */

static double gelu_loss(void)
{
    mert_reference_gelu_all(f.y, f.x, NULL, f.n);
    return projected();
}

TEST(gelu_gradient)
{
    static const int64_t lengths[] = {1, 17, 40001};
    for (int i = 0; i < 3; i++) {
        int64_t n = f.n = lengths[i];
        float *x = numbers(n, 1), *dy = numbers(n, 2), *ddy = put(dy, n), *fx = put(x, n), *dx = room(n), *g;
        f.x = wide(x, n), f.dy = wide(dy, n), f.y = zeros(n);
        mert_gelu_backward(ops, .dx = dx, .dy = ddy, .x = put(x, n), .n = n);
        mert_gelu_backward(ops, .dx = fx, .dy = ddy, .x = fx, .n = n);
        mert_gelu_backward(ops, .dx = ddy, .dy = ddy, .x = put(x, n), .n = n);
        g = get(dx, n);
        CHECK_GRADIENT(gelu_loss, f.x, g, NULL, n);
        CHECK(!memcmp(get(ddy, n), g, (size_t)n * sizeof *g)); /* dx may be dy, or x */
        CHECK(!memcmp(get(fx, n), g, (size_t)n * sizeof *g));
    }
}

static double glu_loss(void)
{
    mert_reference_glu(f.y, f.x, f.rows, f.C);
    return projected();
}

TEST(glu_gradient)
{
    static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {35, 67}};
    for (int i = 0; i < 3; i++) {
        int64_t rows = f.rows = shapes[i][0], D = f.C = shapes[i][1], n = f.n = rows * D;
        float *x = numbers(2 * n, 1), *dy = numbers(n, 2), *dx = room(2 * n);
        f.x = wide(x, 2 * n), f.dy = wide(dy, n), f.y = zeros(n);
        mert_glu_backward(ops, .dx = dx, .dy = put(dy, n), .x = put(x, 2 * n), .rows = rows, .D = D);
        CHECK_GRADIENT(glu_loss, f.x, get(dx, 2 * n), NULL, 2 * n);
    }
}

static double dropout_loss(void)
{
    memcpy(f.y, f.x, (size_t)f.n * sizeof *f.y);
    mert_reference_dropout(f.y, f.B, f.n / f.B, 0.4, &f.key);
    return projected();
}

TEST(dropout_gradient)
{
    int64_t n = f.n = 3 * 11;
    float *x = numbers(n, 1), *dy = numbers(n, 2), *dx = put(dy, n);
    f.B = 3, f.key = (mert_dropout_key){5, 6, 7};
    f.x = wide(x, n), f.dy = wide(dy, n), f.y = zeros(n);
    mert_dropout(ops, .x = dx, .B = 3, .n = 11, .p = 0.4, .key = f.key);
    CHECK_GRADIENT(dropout_loss, f.x, get(dx, n), NULL, n);
}

static double mask_loss(void)
{
    memcpy(f.y, f.x, (size_t)f.n * sizeof *f.y);
    mert_reference_mask(f.y, f.b, f.mask, f.rows, f.C);
    return projected();
}

TEST(mask_gradient)
{
    static const int64_t shapes[][2] = {{1, 1}, {6, 5}, {300, 131}};
    for (int i = 0; i < 3; i++) {
        int64_t rows = f.rows = shapes[i][0], D = f.C = shapes[i][1], n = f.n = rows * D;
        float *x = numbers(n, 1), *dy = numbers(n, 2), *e = numbers(D, 3), *before = numbers(D, 4);
        float *mask = keep((size_t)rows * sizeof *mask);
        float *dx = put(dy, n), *de = put(before, D);
        for (int64_t r = 0; r < rows; r++)
            mask[r] = r % 3 != 1;
        f.x = wide(x, n), f.dy = wide(dy, n), f.y = zeros(n), f.b = wide(e, D), f.mask = mask;
        mert_mask_backward(ops, .dx = dx, .de = de, .mask = put(mask, rows), .rows = rows, .D = D);
        CHECK_GRADIENT(mask_loss, f.x, get(dx, n), NULL, n);
        CHECK_GRADIENT(mask_loss, f.b, get(de, D), before, D);
    }
}

static double zero_loss(void)
{
    memcpy(f.y, f.x, (size_t)f.n * sizeof *f.y);
    mert_reference_zero(f.y, f.mask, f.channels, f.B, f.T, f.C);
    return projected();
}

TEST(zero_gradient)
{
    static const int64_t shapes[][3] = {{1, 1, 2}, {2, 3, 4}, {3, 90, 31}};
    for (int i = 0; i < 3; i++) {
        int64_t B = f.B = shapes[i][0], T = f.T = shapes[i][1], D = f.C = shapes[i][2], n = f.n = B * T * D;
        float *x = numbers(n, 1), *dy = numbers(n, 2), *dx = put(dy, n);
        float *rows = keep((size_t)(B * T) * sizeof *rows), *channels = keep((size_t)(B * D) * sizeof *channels);
        for (int64_t r = 0; r < B * T; r++)
            rows[r] = r % 3 == 1;
        for (int64_t k = 0; k < B * D; k++)
            channels[k] = k % 3 == 0;
        f.x = wide(x, n), f.dy = wide(dy, n), f.y = zeros(n), f.mask = rows, f.channels = channels;
        mert_zero(ops, .x = dx, .rows = put(rows, B * T), .channels = put(channels, B * D), .B = B, .T = T, .D = D);
        CHECK_GRADIENT(zero_loss, f.x, get(dx, n), NULL, n);
    }
}

static double gather_loss(void)
{
    mert_reference_gather(f.y, f.x, f.index, f.rows, f.C);
    return projected();
}

TEST(gather_gradient)
{
    static const int32_t index[] = {4, 0, 6};
    int64_t rows = f.rows = 3, D = f.C = 5, n = f.n = rows * D, all = 7 * D;
    float *x = numbers(all, 1), *dy = numbers(n, 2), *before = numbers(all, 3), *dx = put(before, all);
    f.x = wide(x, all), f.dy = wide(dy, n), f.y = zeros(n), f.index = index;
    mert_scatter_add(ops, .to = dx, .from = put(dy, n), .index = put_bytes(index, sizeof index), .n = rows, .D = D);
    CHECK_GRADIENT(gather_loss, f.x, get(dx, all), before, all);
}

/* ---- products ---- */

static double linear_loss(void)
{
    mert_reference_linear(f.rows, f.in, f.out, f.x, f.w, f.b, NULL, 0, NULL, f.y);
    return projected();
}

TEST(linear_gradient)
{
    static const int64_t shapes[][3] = {{1, 1, 1}, {5, 3, 4}, {514, 24, 3}, {20, 530, 3}, {3, 2, 300}};
    for (int i = 0; i < 10; i++) {
        int64_t rows = f.rows = shapes[i / 2][0], in = f.in = shapes[i / 2][1], out = f.out = shapes[i / 2][2];
        int64_t n = f.n = rows * out;
        int64_t nx = rows * in, nw = in * out;
        float *x = numbers(nx, 1), *w = numbers(nw, 2), *b = numbers(out, 3), *dy = numbers(n, 4);
        float *before_x = numbers(nx, 5);
        float *before_w = numbers(nw, 6), *before_b = numbers(out, 7), *dx = put(before_x, nx), *dw = put(before_w, nw);
        float *db = put(before_b, out);
        f.x = wide(x, nx), f.w = wide(w, nw), f.b = wide(b, out), f.dy = wide(dy, n), f.y = zeros(n);
        mert_linear_backward(ops, rows, in, out, put(x, nx), put(w, nw), put(dy, n), dw, db, dx, i % 2);
        CHECK_GRADIENT(linear_loss, f.x, get(dx, nx), i % 2 ? before_x : NULL, nx);
        CHECK_GRADIENT(linear_loss, f.w, get(dw, nw), before_w, nw);
        CHECK_GRADIENT(linear_loss, f.b, get(db, out), before_b, out);
        mert_linear_backward(ops, rows, in, out, put(x, nx), put(w, nw), put(dy, n), put(before_w, nw), NULL, NULL, 0);
    }
}

static double grouped_conv_loss(void)
{
    mert_reference_grouped_conv(f.y, f.x, f.w, f.b, f.B, f.T, f.C, f.groups, f.kernel, f.pad);
    return projected();
}

TEST(grouped_conv_gradient)
{
    static const int64_t shapes[][6] = {{1, 1, 1, 1, 1, 0}, {2, 5, 4, 2, 4, 2}, {1, 3, 4, 4, 9, 4},
                                        {2, 150, 12, 3, 16, 8}, {1, 4, 6, 2, 128, 64}};
    for (int i = 0; i < 5; i++) {
        int64_t B = f.B = shapes[i][0], T = f.T = shapes[i][1], D = f.C = shapes[i][2], n = f.n = B * T * D;
        f.groups = shapes[i][3], f.kernel = shapes[i][4], f.pad = shapes[i][5];
        int64_t nw = D * f.kernel * (D / f.groups);
        float *x = numbers(n, 1), *w = numbers(nw, 2), *b = numbers(D, 3), *dy = numbers(n, 4);
        float *before_x = numbers(n, 5);
        float *before_w = numbers(nw, 6), *before_b = numbers(D, 7), *ddy = put(dy, n), *dx = put(before_x, n);
        float *dw = put(before_w, nw);
        float *db = put(before_b, D);
        f.x = wide(x, n), f.w = wide(w, nw), f.b = wide(b, D), f.dy = wide(dy, n), f.y = zeros(n);
        mert_grouped_conv_backward(ops, .dx = dx, .dw = dw, .dy = ddy, .x = put(x, n), .w = put(w, nw), .B = B, .T = T,
                                   .D = D, .groups = f.groups, .kernel = f.kernel, .pad = f.pad);
        mert_column_sum(ops, .sums = db, .x = ddy, .rows = B * T, .columns = D, .ldx = D);
        CHECK_GRADIENT(grouped_conv_loss, f.x, get(dx, n), before_x, n);
        CHECK_GRADIENT(grouped_conv_loss, f.w, get(dw, nw), before_w, nw);
        CHECK_GRADIENT(grouped_conv_loss, f.b, get(db, D), before_b, D);
    }
}

/* ---- norms ---- */

static double layer_norm_loss(void)
{
    mert_reference_layer_norm(f.y, f.x, f.w, f.b, NULL, NULL, f.rows, f.C, 1e-5f, 0);
    return projected();
}

TEST(layer_norm_gradient)
{
    static const int64_t shapes[][2] = {{1, 2}, {3, 5}, {300, 67}, {2, 5001}};
    for (int i = 0; i < 8; i++) {
        int64_t rows = f.rows = shapes[i / 2][0], C = f.C = shapes[i / 2][1], n = f.n = rows * C;
        float *x = numbers(n, 1), *w = numbers(C, 2), *b = numbers(C, 3), *dy = numbers(n, 4);
        float *before_x = numbers(n, 5), *before_w = numbers(C, 6);
        float *before_b = numbers(C, 7), *fx = put(x, n), *fw = put(w, C), *ddy = put(dy, n), *mean = room(rows);
        float *rstd = room(rows);
        float *dx = put(before_x, n), *dw = put(before_w, C), *db = put(before_b, C), *g;
        f.x = wide(x, n), f.w = wide(w, C), f.b = wide(b, C), f.dy = wide(dy, n), f.y = zeros(n);
        mert_layer_norm(ops, .y = room(n), .x = fx, .w = fw, .b = put(b, C), .mean = mean, .rstd = rstd, .rows = rows,
                        .columns = C, .eps = 1e-5f);
        mert_layer_norm_backward(ops, .dx = dx, .dw = dw, .db = db, .dy = ddy, .x = fx, .w = fw, .mean = mean,
                                 .rstd = rstd, .rows = rows, .columns = C, .add = i % 2);
        g = get(dx, n);
        CHECK_GRADIENT(layer_norm_loss, f.x, g, i % 2 ? before_x : NULL, n);
        CHECK_GRADIENT(layer_norm_loss, f.w, get(dw, C), before_w, C);
        CHECK_GRADIENT(layer_norm_loss, f.b, get(db, C), before_b, C);
        if (i % 2 == 0) { /* dx may be dy, or x */
            float *both = put(dy, n);
            mert_layer_norm_backward(ops, .dx = both, .dw = dw, .db = db, .dy = both, .x = fx, .w = fw, .mean = mean,
                                     .rstd = rstd, .rows = rows, .columns = C);
            CHECK(!memcmp(get(both, n), g, (size_t)n * sizeof *g));
            mert_layer_norm_backward(ops, .dx = fx, .dw = dw, .db = db, .dy = ddy, .x = fx, .w = fw, .mean = mean,
                                     .rstd = rstd, .rows = rows, .columns = C);
            CHECK(!memcmp(get(fx, n), g, (size_t)n * sizeof *g));
        }
    }
}

static double time_norm_loss(void)
{
    mert_reference_time_norm(f.y, f.x, f.w, f.b, NULL, NULL, NULL, f.B, f.T, f.C, 1e-5f, 1);
    return projected();
}

/* With the GELU after it, as in the extractor. */
TEST(time_norm_gradient)
{
    static const int64_t shapes[][3] = {{1, 2, 1}, {2, 5, 3}, {2, 300, 67}, {1, 1025, 2}};
    for (int i = 0; i < 4; i++) {
        int64_t B = f.B = shapes[i][0], T = f.T = shapes[i][1], C = f.C = shapes[i][2], n = f.n = B * T * C;
        float *x = numbers(n, 1), *w = numbers(C, 2), *b = numbers(C, 3), *dy = numbers(n, 4);
        float *before_w = numbers(C, 5), *before_b = numbers(C, 6);
        float *fx = put(x, n), *fw = put(w, C), *d = put(dy, n), *mean = room(B * C), *rstd = room(B * C);
        float *pre = room(n), *dx = room(n);
        float *dw = put(before_w, C), *db = put(before_b, C), *g;
        f.x = wide(x, n), f.w = wide(w, C), f.b = wide(b, C), f.dy = wide(dy, n), f.y = zeros(n);
        mert_time_norm(ops, .y = room(n), .x = fx, .w = fw, .b = put(b, C), .mean = mean, .rstd = rstd, .pre = pre,
                       .B = B, .T = T, .C = C, .eps = 1e-5f, .gelu = 1);
        mert_gelu_backward(ops, .dx = d, .dy = d, .x = pre, .n = n);
        mert_time_norm_backward(ops, .dx = dx, .dw = dw, .db = db, .dy = d, .x = fx, .w = fw, .mean = mean,
                                .rstd = rstd, .B = B, .T = T, .C = C);
        g = get(dx, n);
        CHECK_GRADIENT(time_norm_loss, f.x, g, NULL, n);
        CHECK_GRADIENT(time_norm_loss, f.w, get(dw, C), before_w, C);
        CHECK_GRADIENT(time_norm_loss, f.b, get(db, C), before_b, C);
        mert_time_norm_backward(ops, .dx = d, .dw = dw, .db = db, .dy = d, .x = fx, .w = fw, .mean = mean, .rstd = rstd,
                                .B = B, .T = T, .C = C);
        CHECK(!memcmp(get(d, n), g, (size_t)n * sizeof *g)); /* dx may be dy */
    }
}

static double weight_norm_loss(void)
{
    mert_reference_weight_norm(f.y, zeros(f.kernel), f.b, f.x, f.out, f.in, f.kernel);
    return projected();
}

TEST(weight_norm_gradient)
{
    static const int64_t shapes[][3] = {{1, 2, 1}, {3, 2, 5}, {6, 4, 70}};
    for (int i = 0; i < 3; i++) {
        int64_t out = f.out = shapes[i][0], in = f.in = shapes[i][1], kernel = f.kernel = shapes[i][2];
        int64_t n = f.n = out * in * kernel;
        float *v = numbers(n, 1), *g = numbers(kernel, 2), *dw = numbers(n, 3), *before_v = numbers(n, 4);
        float *before_g = numbers(kernel, 5);
        float *fv = put(v, n), *fg = put(g, kernel), *norm = room(kernel), *dv = put(before_v, n);
        float *dg = put(before_g, kernel);
        f.x = wide(v, n), f.b = wide(g, kernel), f.dy = wide(dw, n), f.y = zeros(n);
        mert_weight_norm(ops, .w = room(n), .norm = norm, .g = fg, .v = fv, .out = out, .in = in, .kernel = kernel);
        mert_weight_norm_backward(ops, .dg = dg, .dv = dv, .dw = put(dw, n), .g = fg, .v = fv, .norm = norm, .out = out,
                                  .in = in, .kernel = kernel);
        CHECK_GRADIENT(weight_norm_loss, f.x, get(dv, n), before_v, n);
        CHECK_GRADIENT(weight_norm_loss, f.b, get(dg, kernel), before_g, kernel);
    }
}

/* ---- attention ---- */

static double attention_loss(void)
{
    mert_reference_attention(&f.attention);
    return projected();
}

/* Runs twice into the same memory: results that are overwritten must not be added. The gaps between rows (ld) stay 0,
 * like their derivatives. */
TEST(attention_gradient)
{
    static const int64_t shapes[][5] = {{1, 1, 1, 1, 1}, {2, 3, 2, 2, 5}, {1, 129, 2, 1, 2}, {1, 257, 1, 1, 2}};
    for (int i = 0; i < 8; i++) {
        int64_t B = shapes[i / 2][0], T = shapes[i / 2][1], H = shapes[i / 2][2], dh = shapes[i / 2][3];
        int64_t ld = shapes[i / 2][4], n = f.n = B * T * ld;
        double p = i % 2 ? 0.25 : 0;
        mert_dropout_key key = {1, (uint64_t)2 << 33, 3};
        float *q = numbers(n, 1), *k = numbers(n, 2), *v = numbers(n, 3), *dout = numbers(n, 4), *out = room(n);
        float *lse = room(B * H * T);
        float *fq = put(q, n), *fk = put(k, n), *fv = put(v, n), *fdout = put(dout, n);
        float *d[3] = {room(n), room(n), room(n)};
        for (int64_t j = 0; j < n; j++)
            if (j % ld >= H * dh)
                dout[j] = 0; /* no gradient from the gaps */
        f.dy = wide(dout, n), f.y = zeros(n);
        f.attention = (mert_reference_attention_args){f.y, NULL, wide(q, n), wide(k, n), wide(v, n), B, T, H, dh, ld,
                                                      0.8f, p, key};
        mert_attention(ops, .out = out, .lse = lse, .q = fq, .k = fk, .v = fv, .B = B, .T = T, .H = H, .dh = dh,
                       .ld = ld, .scale = 0.8f, .p = p, .key = key);
        for (int j = 0; j < 3; j++)
            mert_fill(ops, .to = d[j], .n = n);
        for (int twice = 0; twice < 2; twice++)
            mert_attention_backward(ops, .dq = d[0], .dk = d[1], .dv = d[2], .dout = fdout, .out = out, .lse = lse,
                                    .q = fq, .k = fk, .v = fv, .B = B, .T = T, .H = H, .dh = dh, .ld = ld,
                                    .scale = 0.8f, .p = p, .key = key);
        CHECK_GRADIENT(attention_loss, (double *)f.attention.q, get(d[0], n), NULL, n);
        CHECK_GRADIENT(attention_loss, (double *)f.attention.k, get(d[1], n), NULL, n);
        CHECK_GRADIENT(attention_loss, (double *)f.attention.v, get(d[2], n), NULL, n);
    }
}

/* ---- losses ---- */

static double normalize_loss(void)
{
    mert_reference_normalize(f.y, NULL, f.x, f.rows, f.C, f.in);
    double sum = 0; /* dy has no gaps between its rows */
    for (int64_t r = 0; r < f.rows; r++)
        sum += dot(f.y + r * f.in, f.dy + r * f.C, f.C);
    return sum;
}

TEST(normalize_gradient)
{
    static const int64_t shapes[][3] = {{1, 2, 2}, {3, 5, 7}, {40, 131, 262}};
    for (int i = 0; i < 6; i++) {
        int64_t rows = f.rows = shapes[i / 2][0], D = f.C = shapes[i / 2][1], ld = f.in = shapes[i / 2][2];
        int64_t n = rows * ld;
        float *x = numbers(n, 1), *dy = numbers(rows * D, 2), *before = numbers(n, 3), *y = put(x, n);
        float *norm = room(rows), *dx;
        if (i % 2 == 0)
            memset(before, 0, (size_t)n * sizeof *before); /* so that the gaps are 0; a second run must not add */
        dx = put(before, n);
        f.x = wide(x, n), f.dy = wide(dy, rows * D), f.y = zeros(n);
        mert_normalize(ops, .y = y, .norm = norm, .x = put(x, n), .rows = rows, .D = D, .ld = ld);
        for (int times = 0; times < 2 - i % 2; times++)
            mert_normalize_backward(ops, .dx = dx, .dy = put(dy, rows * D), .y = y, .norm = norm, .rows = rows, .D = D,
                                    .ld = ld, .add = i % 2);
        CHECK_GRADIENT(normalize_loss, f.x, get(dx, n), before, n);
        if (ld == D && i % 2 == 0) { /* dx may be dy, and y x */
            float *both = put(dy, n), *in_place = put(x, n);
            mert_normalize(ops, .y = in_place, .norm = norm, .x = in_place, .rows = rows, .D = D, .ld = ld);
            mert_normalize_backward(ops, .dx = both, .dy = both, .y = in_place, .norm = norm, .rows = rows, .D = D,
                                    .ld = ld);
            CHECK(!memcmp(get(both, n), get(dx, n), (size_t)n * sizeof *dx));
        }
    }
}

static double cross_entropy_loss(void)
{
    return mert_reference_cross_entropy(f.x, f.index, f.temperature, 10, f.rows, f.C, NULL);
}

TEST(cross_entropy_gradient)
{
    static const int64_t shapes[][2] = {{1, 2}, {3, 5}, {37, 131}};
    /* none; log 10; lower; above the limit of 100, where the result does not depend on it */
    static const float temperatures[] = {0, 2.302585f, 1.5f, 5};
    for (int i = 0; i < 12; i++) {
        int64_t rows = f.rows = shapes[i / 4][0], V = f.C = shapes[i / 4][1], n = rows * V;
        float theta = temperatures[i % 4], before = 0.5f, *cosine = numbers(n, 1), *logits, *dtheta = put(&before, 1);
        double wtheta = theta, sums[2] = {0, 0};
        int32_t *target = keep((size_t)rows * sizeof *target);
        for (int64_t k = 0; k < n; k++)
            cosine[k] /= theta > 4 ? 30 : 3;
        for (int64_t r = 0; r < rows; r++)
            target[r] = (int32_t)((r * 7 + 1) % V);
        logits = put(cosine, n);
        f.x = wide(cosine, n), f.index = target, f.temperature = theta != 0 ? &wtheta : NULL;
        mert_cross_entropy(ops, .logits = logits, .target = put_bytes(target, (size_t)rows * sizeof *target),
                           .sums = put_bytes(sums, sizeof sums), .log_temperature = theta != 0 ? put(&theta, 1) : NULL,
                           .dtemperature = theta != 0 ? dtheta : NULL, .rows = rows, .V = V, .scale = 10, .grad = 1);
        CHECK_GRADIENT(cross_entropy_loss, f.x, get(logits, n), NULL, n);
        if (f.temperature)
            CHECK_GRADIENT(cross_entropy_loss, f.temperature, get(dtheta, 1), &before, 1);
        CHECK(theta > 0 && theta < 4 ? *get(dtheta, 1) != before : *get(dtheta, 1) == before);
    }
}

/* All codebooks at once, with room between their rows, are each alone. */
TEST(cross_entropy_of_codebooks)
{
    int64_t K = 3, rows = 37, V = 131, ld = 136, n = K * rows * ld;
    float *cosine = numbers(n, 1), theta[3] = {1.5f, 2.3f, 5}, before[3] = {1, 2, 3}, *logits = put(cosine, n);
    float *alone = put(cosine, n), *temperatures = put(theta, 3), *d[2] = {put(before, 3), put(before, 3)};
    double zero[6] = {0}, *sums[2] = {put_bytes(zero, sizeof zero), put_bytes(zero, sizeof zero)};
    int64_t none[3 * 131] = {0}, *predicted[2] = {put_bytes(none, sizeof none), put_bytes(none, sizeof none)}, all = 0;
    int32_t *target = keep((size_t)(K * rows) * sizeof *target);
    for (int64_t r = 0; r < K * rows; r++)
        target[r] = (int32_t)(r * 7 % V);
    target = put_bytes(target, (size_t)(K * rows) * sizeof *target);
    mert_cross_entropy(ops, .logits = logits, .target = target, .sums = sums[0], .predicted = predicted[0],
                       .log_temperature = temperatures, .dtemperature = d[0], .rows = rows, .V = V, .ld = ld,
                       .count = K, .weight = 0.5f, .grad = 1);
    for (int64_t k = 0; k < K; k++)
        for (int64_t r = 0; r < rows; r++) { /* row by row */
            int64_t at = k * rows + r;
            mert_cross_entropy(ops, .logits = alone + at * ld, .target = target + at, .sums = sums[1] + 2 * k,
                               .predicted = predicted[1] + k * V, .log_temperature = temperatures + k,
                               .dtemperature = d[1] + k, .rows = 1, .V = V, .weight = 0.5f, .grad = 1);
        }
    CHECK(!memcmp(get(logits, n), get(alone, n), (size_t)n * sizeof *logits));
    CHECK(!memcmp(get_bytes(predicted[0], sizeof none), get_bytes(predicted[1], sizeof none), sizeof none));
    for (int64_t v = 0; v < K * V; v++)
        all += ((int64_t *)get_bytes(predicted[0], sizeof none))[v];
    CHECK(all > K * rows / 2);
    for (int k = 0; k < 6; k++)
        CHECK_NEAR(((double *)get_bytes(sums[0], sizeof zero))[k], ((double *)get_bytes(sums[1], sizeof zero))[k],
                   1e-9);
    for (int k = 0; k < 3; k++) {
        CHECK_NEAR(get(d[0], 3)[k], get(d[1], 3)[k], 1e-3);
        CHECK((get(d[0], 3)[k] == before[k]) == (k == 2));
    }
}

static double squared_error_loss(void)
{
    return mert_reference_squared_error(f.x, f.y, f.n);
}

TEST(squared_error_gradient)
{
    static const int64_t lengths[] = {1, 17, 70001};
    for (int i = 0; i < 3; i++) {
        int64_t n = f.n = lengths[i];
        float *x = numbers(n, 1), *y = numbers(n, 2), *fx = put(x, n), *fy = put(y, n), *dx = room(n), *g;
        double sum = 0, *fsum = put_bytes(&sum, sizeof sum);
        f.x = wide(x, n), f.y = wide(y, n);
        mert_squared_error(ops, .dx = dx, .sum = fsum, .x = fx, .y = fy, .n = n, .factor = 2);
        mert_squared_error(ops, .dx = fx, .sum = fsum, .x = fx, .y = fy, .n = n, .factor = 2);
        g = get(dx, n);
        CHECK_GRADIENT(squared_error_loss, f.x, g, NULL, n);
        CHECK(!memcmp(get(fx, n), g, (size_t)n * sizeof *g)); /* dx may be x */
        CHECK_NEAR(*(double *)get_bytes(fsum, sizeof sum), 2 * squared_error_loss(), 1e-6 * squared_error_loss());
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {
        NN_TEST(gelu_gradient), NN_TEST(glu_gradient), NN_TEST(dropout_gradient), NN_TEST(mask_gradient),
        NN_TEST(zero_gradient), NN_TEST(gather_gradient), NN_TEST(linear_gradient),
        NN_TEST(grouped_conv_gradient),
        NN_TEST(layer_norm_gradient), NN_TEST(time_norm_gradient), NN_TEST(weight_norm_gradient),
        NN_TEST(attention_gradient), NN_TEST(normalize_gradient), NN_TEST(cross_entropy_gradient),
        NN_TEST(cross_entropy_of_codebooks),
        NN_TEST(squared_error_gradient)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
