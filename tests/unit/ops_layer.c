/* What a transformer layer's operations do at once: the end of a branch (dropout, residual, LayerNorm), GELU with
 * dropout and the sums of its gradient, queries, keys and values beside each other. Forward against nn/reference and,
 * bit for bit on the CPU, against the same made of single operations; backward against differences of nn/reference. */
#include "tests/unit/gradients.h"

#include "libcommon/nn/reference.h"

#define ELEMENT 2e-7
#define SUM 3e-6 /* as in ops.c */

static const mert_dropout_key key = {3, (uint64_t)5 << 33 | 7, 11};

/* What the losses below are functions of. */
static struct {
    double *x, *residual, *w, *b, *y, *s, *dy, *ds;
    int64_t n, B, T, D;
    double scale, p;
    int norm;
    mert_reference_attention_args attention;
    double *qkv, *parts[3];
} f;

static int same(const float *x, const float *y, int64_t n)
{
    return !memcmp(get(x, n), get(y, n), (size_t)n * sizeof *x);
}

/* ---- the end of a branch ---- */

static const int64_t shapes[][3] = {{1, 1, 3}, {2, 5, 4}, {3, 70, 33}, {1, 300, 96}};

TEST(add_norm)
{
    for (int i = 0; i < 16; i++) {
        int64_t B = shapes[i / 4][0], T = shapes[i / 4][1], D = shapes[i / 4][2], n = B * T * D;
        double p = i & 1 ? 0.3 : 0;
        float *x = numbers(n, 1), *r = numbers(n, 2), *w = numbers(D, 3), *b = numbers(D, 4), scale = i & 2 ? 1.7f : 0;
        float *s = put(x, n), *dr = put(r, n), *dw = put(w, D), *db = put(b, D), *y = room(n), *mean = room(B * T);
        float *rstd = room(B * T), *single = put(x, n), *single_y = room(n), *apart_s = room(n), *no_norm = put(x, n);
        double *es = zeros(n), *ey = zeros(n), *emean = zeros(B * T), *erstd = zeros(B * T);
        mert_reference_add_norm(es, ey, wide(x, n), wide(r, n), wide(w, D), wide(b, D), emean, erstd, B, T, D,
                                scale == 0 ? 1 : (double)scale, 1e-5f, p, &key);
        mert_add_norm(ops, .s = s, .y = y, .x = s, .residual = dr, .w = dw, .b = db, .mean = mean, .rstd = rstd,
                      .B = B, .T = T, .D = D, .scale = scale, .eps = 1e-5f, .p = p, .key = key);
        mert_add_norm(ops, .s = no_norm, .x = no_norm, .residual = dr, .B = B, .T = T, .D = D, .scale = scale, .p = p,
                      .key = key);
        mert_add_norm(ops, .s = apart_s, .y = room(n), .x = put(x, n), .residual = dr, .w = dw, .b = db, .B = B,
                      .T = T, .D = D, .scale = scale, .eps = 1e-5f, .p = p, .key = key);
        CHECK_APART(get(s, n), es, n, ELEMENT);
        CHECK_APART(get(y, n), ey, n, SUM);
        CHECK_APART(get(mean, B * T), emean, B * T, SUM);
        CHECK_APART(get(rstd, B * T), erstd, B * T, 10 * SUM);
        CHECK(same(no_norm, s, n) && same(apart_s, s, n));
        mert_dropout(ops, .x = single, .B = B, .n = T * D, .p = p, .key = key);
        mert_axpy(ops, .to = single, .from = dr, .alpha = scale, .n = n);
        mert_layer_norm(ops, .y = single_y, .x = single, .w = dw, .b = db, .rows = B * T, .columns = D, .eps = 1e-5f);
        CHECK(same(single, s, n) && same(single_y, y, n));
    }
}

static double add_norm_loss(void)
{
    double sum;
    mert_reference_add_norm(f.s, f.norm ? f.y : NULL, f.x, f.residual, f.w, f.b, NULL, NULL, f.B, f.T, f.D, f.scale,
                            1e-5f, f.p, &key);
    sum = dot(f.norm ? f.y : f.s, f.dy, f.n);
    return f.ds ? sum + dot(f.s, f.ds, f.n) : sum;
}

/* x ends with a bias, whose gradient are the sums: what the loss does when all rows of x move. */
static double moved(const double *by, double h)
{
    double value, *before = f.x, *x = malloc((size_t)f.n * sizeof *x);
    if (!x)
        abort();
    for (int64_t i = 0; i < f.n; i++)
        x[i] = before[i] + h * by[i % f.D];
    f.x = x;
    value = add_norm_loss();
    f.x = before;
    free(x);
    return value;
}

TEST(add_norm_gradient)
{
    for (int i = 0; i < 32; i++) {
        int64_t B = f.B = shapes[i / 8][0], T = f.T = shapes[i / 8][1], D = f.D = shapes[i / 8][2];
        int64_t n = f.n = B * T * D;
        int add = i >> 2 & 1;
        float *x = numbers(n, 1), *r = numbers(n, 2), *w = numbers(D, 3), *b = numbers(D, 4), *dy = numbers(n, 5);
        float *ds = numbers(n, 6), *before_w = numbers(D, 7), *before_b = numbers(D, 8), *before_s = numbers(D, 9);
        float *s = put(x, n), *dw = put(before_w, D), *db = put(before_b, D), *sums = put(before_s, D), *dx = room(n);
        float *dresidual = put(ds, n), *fw = put(w, D), *mean = room(B * T), *rstd = room(B * T), *g;
        double *by = wide(numbers(D, 10), D), along = 0;
        f.p = i & 1 ? 0.3 : 0, f.scale = i & 2 ? 1.7f : 1, f.norm = (i >> 3) % 2 || i & 1;
        f.x = wide(x, n), f.residual = wide(r, n), f.w = wide(w, D), f.b = wide(b, D), f.dy = wide(dy, n);
        f.ds = add ? wide(ds, n) : NULL, f.s = zeros(n), f.y = zeros(n);
        mert_add_norm(ops, .s = s, .y = room(n), .x = s, .residual = put(r, n), .w = fw, .b = put(b, D), .mean = mean,
                      .rstd = rstd, .B = B, .T = T, .D = D, .scale = (float)f.scale, .eps = 1e-5f, .p = f.p,
                      .key = key);
        mert_add_norm_backward(ops, .dresidual = dresidual, .dx = dx, .dw = dw, .db = db, .sums = sums,
                               .dy = put(dy, n), .s = s, .w = f.norm ? fw : NULL, .mean = mean, .rstd = rstd, .B = B,
                               .T = T, .D = D, .scale = (float)f.scale, .add = add, .p = f.p, .key = key);
        CHECK_GRADIENT(add_norm_loss, f.x, get(dx, n), NULL, n);
        CHECK_GRADIENT(add_norm_loss, f.residual, get(dresidual, n), NULL, n);
        if (f.norm) {
            CHECK_GRADIENT(add_norm_loss, f.w, get(dw, D), before_w, D);
            CHECK_GRADIENT(add_norm_loss, f.b, get(db, D), before_b, D);
        } else
            CHECK(!memcmp(get(dw, D), before_w, (size_t)D * sizeof *w));
        g = get(sums, D);
        for (int64_t c = 0; c < D; c++)
            along += ((double)g[c] - (double)before_s[c]) * by[c];
        CHECK_NEAR(along, (moved(by, 1e-5) - moved(by, -1e-5)) / 2e-5, 1e-4 * sqrt((double)n));
    }
}

/* Results in the places of operands; and the same made of single operations. */
TEST(add_norm_backward_in_place)
{
    for (int i = 0; i < 8; i++) {
        int64_t B = shapes[i / 2][0], T = shapes[i / 2][1], D = shapes[i / 2][2], rows = B * T, n = rows * D;
        double p = i & 1 ? 0.3 : 0;
        float *dy = numbers(n, 1), *s = put(numbers(n, 2), n), *w = put(numbers(D, 3), D);
        float *mean = put(numbers(rows, 4), rows);
        float *rstd = put(numbers(rows, 5), rows), *zero = numbers(D, 6), *to[4][2], *parameters[4][3], *none;
        memset(zero, 0, (size_t)D * sizeof *zero);
        for (int k = 0; k < 4; k++) {
            to[k][0] = k == 0 || k == 3 ? put(dy, n) : room(n);
            to[k][1] = k == 1 ? put(dy, n) : room(n);
            for (int j = 0; j < 3; j++)
                parameters[k][j] = put(zero, D);
        }
        for (int k = 0; k < 3; k++)
            mert_add_norm_backward(ops, .dresidual = to[k][0], .dx = to[k][1], .dw = parameters[k][0],
                                   .db = parameters[k][1], .sums = parameters[k][2],
                                   .dy = k < 2 ? to[k][k] : put(dy, n), .s = s, .w = w, .mean = mean, .rstd = rstd,
                                   .B = B, .T = T, .D = D, .scale = 0.5f, .p = p, .key = key);
        mert_layer_norm_backward(ops, .dx = to[3][0], .dw = parameters[3][0], .db = parameters[3][1], .dy = to[3][0],
                                 .x = s, .w = w, .mean = mean, .rstd = rstd, .rows = rows, .columns = D);
        mert_copy(ops, .to = to[3][1], .from = to[3][0], .bytes = (size_t)n * sizeof *dy);
        mert_dropout(ops, .x = to[3][1], .B = B, .n = T * D, .p = p, .key = key);
        mert_column_sum(ops, .sums = parameters[3][2], .x = to[3][1], .rows = rows, .columns = D, .ldx = D);
        mert_copy_2d(ops, .to = to[3][0], .ldto = D, .from = to[3][0], .ldfrom = D, .rows = rows, .columns = D,
                     .scale = 0.5f);
        for (int k = 0; k < 3; k++) {
            CHECK(same(to[k][0], to[3][0], n) && same(to[k][1], to[3][1], n));
            for (int j = 0; j < 3; j++)
                CHECK(same(parameters[k][j], parameters[3][j], D));
        }
        /* one result alone, where both would be the same */
        none = put(dy, n);
        mert_add_norm_backward(ops, .dresidual = none, .sums = parameters[0][2], .dy = none, .B = B, .T = T, .D = D);
        CHECK(!memcmp(get(none, n), dy, (size_t)n * sizeof *dy));
        /* and scaled: the sums are still those of dx */
        for (int k = 0; k < 2; k++) {
            to[k][0] = put(dy, n);
            parameters[k][2] = put(zero, D);
            mert_add_norm_backward(ops, .dresidual = to[k][0], .dx = k ? NULL : room(n), .sums = parameters[k][2],
                                   .dy = to[k][0], .B = B, .T = T, .D = D, .scale = 0.5f);
        }
        CHECK(same(to[0][0], to[1][0], n) && same(parameters[0][2], parameters[1][2], D));
    }
}

/* ---- GELU and dropout ---- */

static double gelu_loss(void)
{
    mert_reference_gelu_all(f.y, f.x, NULL, f.n);
    mert_reference_dropout(f.y, f.B, f.n / f.B, f.p, &key);
    return dot(f.y, f.dy, f.n);
}

TEST(gelu_and_dropout)
{
    static const int64_t sizes[][3] = {{1, 1, 5}, {3, 7, 4}, {2, 400, 90}}; /* the last: more than a piece */
    for (int i = 0; i < 3; i++) {
        int64_t B = f.B = sizes[i][0], D = sizes[i][2], n = f.n = B * sizes[i][1] * D;
        float *x = numbers(n, 1), *r = numbers(n, 2), *dy = numbers(n, 3), *before = numbers(D, 4), *dx = put(x, n);
        float *y = room(n), *single = room(n), *ddx = room(n), *sums = put(before, D), *in_place = put(x, n), *g;
        float *summed = put(before, D), *dropped = put(dy, n);
        f.p = 0.3, f.x = wide(x, n), f.dy = wide(dy, n), f.y = zeros(n);
        mert_gelu(ops, .y = y, .x = dx, .residual = put(r, n), .n = n, .B = B, .p = 0.3, .key = key);
        mert_gelu(ops, .y = single, .x = dx, .n = n);
        mert_dropout(ops, .x = single, .B = B, .n = n / B, .p = 0.3, .key = key);
        mert_axpy(ops, .to = single, .from = put(r, n), .n = n);
        gelu_loss();
        for (int64_t k = 0; k < n; k++)
            f.y[k] += r[k];
        CHECK_APART(get(y, n), f.y, n, ELEMENT);
        CHECK(same(single, y, n));
        mert_gelu_backward(ops, .dx = ddx, .dy = put(dy, n), .x = dx, .sums = sums, .n = n, .columns = D, .B = B,
                           .p = 0.3, .key = key);
        mert_gelu_backward(ops, .dx = in_place, .dy = put(dy, n), .x = in_place, .n = n, .B = B, .p = 0.3, .key = key);
        g = get(ddx, n);
        CHECK_GRADIENT(gelu_loss, f.x, g, NULL, n);
        CHECK(same(in_place, ddx, n));
        mert_dropout(ops, .x = dropped, .B = B, .n = n / B, .p = 0.3, .key = key);
        mert_gelu_backward(ops, .dx = dropped, .dy = dropped, .x = dx, .n = n);
        mert_column_sum(ops, .sums = summed, .x = dropped, .rows = n / D, .columns = D, .ldx = D);
        CHECK(same(dropped, ddx, n) && same(summed, sums, D));
    }
}

/* ---- queries, keys and values ---- */

TEST(column_sums_of_groups)
{
    int64_t rows = 600, D = 131, step = D + 5, ldx = 3 * D + 1;
    float *x = numbers(rows * ldx, 1), *s = numbers(3 * step, 2), *sums = put(s, 3 * step);
    double *exact = wide(s, 3 * step), *wx = wide(x, rows * ldx);
    mert_column_sum(ops, .sums = sums, .x = put(x, rows * ldx), .rows = rows, .columns = D, .ldx = ldx, .count = 3,
                    .sums_step = step);
    for (int k = 0; k < 3; k++)
        mert_reference_column_sum(exact + k * step, wx + k * D, rows, D, ldx);
    CHECK_APART(get(sums, 3 * step), exact, 3 * step, SUM);
}

static double attention_loss(void)
{
    int64_t D = f.D;
    for (int64_t i = 0; i < 3 * f.n; i++)
        f.parts[i / D % 3][i / (3 * D) * D + i % D] = f.qkv[i];
    mert_reference_attention(&f.attention);
    return dot(f.y, f.dy, f.n);
}

/* The order in which the flat array has them. */
TEST(attention_on_one_array)
{
    int64_t B = 2, T = 131, H = 2, dh = 3, D = f.D = H * dh, n = f.n = B * T * D;
    float *qkv = numbers(3 * n, 1), *dy = numbers(n, 2), *x = put(qkv, 3 * n), *out = room(n), *lse = room(B * H * T);
    float *d = room(3 * n);
    f.qkv = wide(qkv, 3 * n), f.dy = wide(dy, n), f.y = zeros(n);
    for (int k = 0; k < 3; k++)
        f.parts[k] = zeros(n);
    f.attention = (mert_reference_attention_args){f.y, NULL, f.parts[2], f.parts[0], f.parts[1], B, T, H, dh, D, 0.8f,
                                                  0.25, key};
    mert_attention(ops, .out = out, .lse = lse, .q = x + 2 * D, .k = x, .v = x + D, .B = B, .T = T, .H = H, .dh = dh,
                   .ld = 3 * D, .ldout = D, .scale = 0.8f, .p = 0.25, .key = key);
    attention_loss();
    CHECK_APART(get(out, n), f.y, n, 2 * SUM);
    mert_attention_backward(ops, .dq = d + 2 * D, .dk = d, .dv = d + D, .dout = put(dy, n), .out = out, .lse = lse,
                            .q = x + 2 * D, .k = x, .v = x + D, .B = B, .T = T, .H = H, .dh = dh, .ld = 3 * D,
                            .ldout = D, .scale = 0.8f, .p = 0.25, .key = key);
    CHECK_GRADIENT(attention_loss, f.qkv, get(d, 3 * n), NULL, 3 * n);
}

/* ---- pooling ---- */

TEST(pool_spans)
{
    static const int32_t first[] = {0, 1, 4, 5, 130, 300};
    int64_t spans = 5, D = 131, ldy = 3 * D, n = 300 * D;
    float *x = numbers(n, 1), *before = numbers(spans * ldy, 2), *dx = put(x, n);
    int32_t *places = put_bytes(first, sizeof first);
    for (int largest = 0; largest < 2; largest++) {
        float *y = put(before, spans * ldy);
        double *exact = wide(before, spans * ldy);
        mert_reference_pool_spans(exact + D, ldy, wide(x, n), first, spans, D, largest);
        mert_pool_spans(ops, .y = y + D, .x = dx, .first = places, .spans = spans, .D = D, .ldy = ldy,
                        .largest = largest);
        CHECK_APART(get(y, spans * ldy), exact, spans * ldy, 6e-8); /* one rounding */
    }
}

/* ---- what is done to frames ---- */

/* A chain (a source that is replaced itself), a masked source, one of another item. */
static const int32_t to[] = {1, 5, 9, 0}, from[] = {5, 9, 3, 11};

static struct { const float *mask, *channels; int64_t replaced; } how;

static double corrupt_loss(void)
{
    mert_reference_corrupt(f.y, f.x, f.b, how.mask, to, from, how.replaced, how.channels, f.B, f.T, f.D, f.p, &key);
    return dot(f.y, f.dy, f.n);
}

TEST(corrupt)
{
    for (int i = 0; i < 16; i++) {
        int64_t B = f.B = 2, T = f.T = 7, D = f.D = i % 2 ? 5 : 132, n = f.n = B * T * D;
        float *x = numbers(n, 1), *e = numbers(D, 2), *dy = numbers(n, 3), *before = numbers(D, 4), *y = room(n);
        float *mask = keep((size_t)(B * T) * sizeof *mask), *channels = keep((size_t)(B * D) * sizeof *channels);
        float *rows = keep((size_t)(B * T) * sizeof *rows), *dx = room(n), *de = put(before, D), *d[2], *dmask = NULL;
        float *dchannels = NULL, *g[2];
        int32_t *dto = put_bytes(to, sizeof to), *dfrom = put_bytes(from, sizeof from);
        for (int64_t k = 0; k < B * T; k++)
            mask[k] = k % 4 == 3;
        for (int64_t k = 0; k < B * D; k++)
            channels[k] = k % 3 == 1;
        for (int k = 0; k < 4; k++)
            rows[to[k]] = 1;
        how.mask = i & 2 ? mask : NULL, how.channels = i & 4 ? channels : NULL, how.replaced = i & 8 ? 4 : 0;
        f.p = i % 3 ? 0.3 : 0, f.x = wide(x, n), f.b = wide(e, D), f.dy = wide(dy, n), f.y = zeros(n);
        dmask = how.mask ? put(mask, B * T) : NULL, dchannels = how.channels ? put(channels, B * D) : NULL;
        mert_corrupt(ops, .y = y, .x = put(x, n), .e = put(e, D), .mask = dmask, .channels = dchannels, .to = dto,
                     .from = dfrom, .replaced = how.replaced, .B = B, .T = T, .D = D, .p = f.p, .key = key);
        corrupt_loss();
        CHECK_APART(get(y, n), f.y, n, ELEMENT);
        mert_corrupt_backward(ops, .dx = dx, .de = de, .dy = put(dy, n), .mask = dmask, .channels = dchannels,
                              .replaced_rows = put(rows, B * T), .to = dto, .from = dfrom, .replaced = how.replaced,
                              .B = B, .T = T, .D = D, .p = f.p, .key = key);
        CHECK_GRADIENT(corrupt_loss, f.x, get(dx, n), NULL, n);
        CHECK_GRADIENT(corrupt_loss, f.b, get(de, D), before, D);
        /* the same made of single operations */
        d[0] = put(x, n), d[1] = room(4 * D);
        mert_dropout(ops, .x = d[0], .B = B, .n = T * D, .p = f.p, .key = key);
        if (dmask)
            mert_mask(ops, .x = d[0], .e = put(e, D), .mask = dmask, .rows = B * T, .D = D);
        mert_gather(ops, .to = d[1], .from = d[0], .index = dfrom, .n = how.replaced, .D = D);
        if (how.replaced)
            mert_zero(ops, .x = d[0], .rows = put(rows, B * T), .B = B, .T = T, .D = D);
        mert_scatter_add(ops, .to = d[0], .from = d[1], .index = dto, .n = how.replaced, .D = D);
        if (dchannels)
            mert_zero(ops, .x = d[0], .channels = dchannels, .B = B, .T = T, .D = D);
        g[0] = get(d[0], n), g[1] = get(y, n);
        for (int64_t k = 0; k < n; k++) /* the same but for the sign of a zero */
            CHECK(g[0][k] == g[1][k]);
    }
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(add_norm), NN_TEST(add_norm_gradient), NN_TEST(add_norm_backward_in_place),
                                    NN_TEST(gelu_and_dropout), NN_TEST(column_sums_of_groups),
                                    NN_TEST(attention_on_one_array), NN_TEST(pool_spans),
                                    NN_TEST(corrupt)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
