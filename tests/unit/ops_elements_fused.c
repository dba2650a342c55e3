/* Elements of 16 bits on the CPU: the operations that do several things at once. */
#include "tests/unit/elements.h"

#include "libcommon/nn/reference.h"

enum { ROWS = 37, COLUMNS = 131, WIDE = 51 };

/* ---- the extractor ---- */

static const mert_conv_shape windows = {2, 41, 20, 6, 5, 3, 2};
enum { CONV_IN = 2 * 41 * 6, CONV_OUT = 2 * 20 * 5, CONV_WEIGHTS = 5 * 3 * 6 };

static void conv(void)
{
    float *x = values(CONV_IN, 1), *w = values(CONV_WEIGHTS, 2), *b = numbers(5, 3);
    mert_element *dx = put_values(x, CONV_IN), *dw = put_values(w, CONV_WEIGHTS), *y = elements(CONV_OUT, 4);
    another_order();
    mert_reference_conv(&windows, wide(x, CONV_IN), wide(w, CONV_WEIGHTS), wide(b, 5), 1, expect(CONV_OUT));
    mert_conv(ops, .y = y, .x = dx, .w = dw, .bias = put(b, 5), .shape = windows, .gelu = 1);
}

static void conv_backward(void)
{
    mert_element *x = elements(CONV_IN, 1), *w = elements(CONV_WEIGHTS, 2), *dy = elements(CONV_OUT, 3);
    another_order();
    mert_conv_backward(ops, .dx = elements(CONV_IN, 4), .dw = floats(CONV_WEIGHTS, 5), .db = floats(5, 6), .dy = dy,
                       .x = x, .w = w, .shape = windows);
}

static const mert_conv_shape first = {2, 187, 36, 1, 7, 10, 5};

/* What is between the convolution and the GELU is never rounded. */
static void first_layer(void)
{
    for (int kind = 0; kind < 2; kind++) {
        float *x = values(2 * 187, 1), *w = numbers(70, 2), *b = numbers(7, 3);
        mert_element *dx = put_values(x, 2 * 187), *y = elements(2 * 36 * 7, 4);
        mert_reference_first_layer(&first, wide(x, 2 * 187), wide(w, 70), wide(b, 7), wide(b, 7), wide(b, 7), 1e-5f,
                                   kind, expect(2 * 36 * 7));
        mert_first_layer(ops, .y = y, .x = dx, .w = put(w, 70), .bias = put(b, 7), .norm_w = put(b, 7),
                         .norm_b = put(b, 7), .shape = first, .eps = 1e-5f, .over_channels = kind);
    }
}

static void first_layer_backward(int kind)
{
    float *dy = values(2 * 36 * 7, 1);
    const float *w = floats(70, 3), *b = floats(7, 4), *norm_w = floats(7, 5), *norm_b = floats(7, 6);
    float *dw = floats(70, 7), *db = floats(7, 8), *dnorm_w = floats(7, 9), *dnorm_b = floats(7, 10);
    mert_first_layer_backward(ops, .dw = dw, .db = db, .dnorm_w = dnorm_w, .dnorm_b = dnorm_b,
                              .dy = unread(dy, 2 * 36 * 7), .room = unread(dy, 2 * 36 * 7),
                              .x = elements(2 * 187, 2), .w = w, .bias = b, .norm_w = norm_w, .norm_b = norm_b,
                              .shape = first, .eps = 1e-5f, .over_channels = kind);
}

static void first_layer_backward_over_time(void) { first_layer_backward(0); }
static void first_layer_backward_over_channels(void) { first_layer_backward(1); }

static void layer_norm_gelu_backward(void)
{
    int64_t n = ROWS * COLUMNS;
    float *dy = values(n, 2);
    mert_element *dx = elements(n, 1), *x = elements(n, 3);
    mert_layer_norm_backward(ops, .dx = dx, .dw = floats(COLUMNS, 4), .db = floats(COLUMNS, 5), .dy = unread(dy, n),
                             .x = x, .w = floats(COLUMNS, 6), .b = floats(COLUMNS, 9), .mean = floats(ROWS, 7),
                             .rstd = floats(ROWS, 8), .rows = ROWS, .columns = COLUMNS, .gelu = 1);
}

TEST(extractor)
{
    EACH(conv, conv_backward, first_layer, first_layer_backward_over_time, first_layer_backward_over_channels,
         layer_norm_gelu_backward);
}

/* ---- a transformer layer ---- */

enum { B = 2, T = 70, D = 24, H = 3, N = B * T * D };

static void add_norm(void)
{
    float *x = values(N, 1), *r = values(N, 2);
    mert_element *s = put_values(x, N), *residual;
    double *exact = expect(N);
    residual = put_values(r, N);
    mert_reference_add_norm(exact, NULL, wide(x, N), wide(r, N), NULL, NULL, NULL, NULL, B, T, D, 1.7f, 0, 0.3,
                            &(mert_dropout_key){1, 2, 3});
    mert_add_norm(ops, .s = s, .x = s, .residual = residual, .B = B, .T = T, .D = D, .scale = 1.7f, .p = 0.3,
                  .key = {1, 2, 3});
}

static void add_norm_backward(int in_place)
{
    mert_element *dresidual = elements(N, 1), *dx = elements(N, 2), *s = elements(N, 3);
    mert_element *dy = in_place ? dresidual : elements(N, 4);
    mert_add_norm_backward(ops, .dresidual = dresidual, .dx = dx, .dw = floats(D, 5), .db = floats(D, 6),
                           .sums = floats(D, 7), .dy = dy, .s = s, .w = floats(D, 8), .mean = floats(B * T, 9),
                           .rstd = floats(B * T, 10), .B = B, .T = T, .D = D, .scale = 1.7f, .add = !in_place,
                           .p = 0.3, .key = {1, 2, 3});
}

static void add_norm_backward_apart(void) { add_norm_backward(0); }
static void add_norm_backward_in_place(void) { add_norm_backward(1); }

static void gelu_and_dropout(void)
{
    mert_element *x = elements(N, 1), *residual = elements(N, 2), *y = elements(N, 3);
    mert_gelu(ops, .y = y, .x = x, .residual = residual, .n = N, .B = B, .p = 0.3, .key = {1, 2, 3});
}

static void gelu_and_dropout_backward(void)
{
    mert_element *dx = elements(N, 1), *x = elements(N, 2);
    mert_gelu_backward(ops, .dx = dx, .dy = dx, .x = x, .sums = floats(D, 3), .n = N, .columns = D, .B = B, .p = 0.3,
                       .key = {1, 2, 3});
}

static void column_sums_of_groups(void)
{
    mert_element *x = elements(3 * N, 1);
    mert_column_sum(ops, .sums = floats(3 * WIDE, 2), .x = x, .rows = B * T, .columns = D, .ldx = 3 * D, .count = 3,
                    .sums_step = WIDE);
}

static void attention_on_one_array(void)
{
    mert_element *x = elements(3 * N, 1), *out = elements(N, 2), *d = elements(3 * N, 3), *dout = elements(N, 4);
    float *lse = floats(B * H * T, 5);
    mert_attention(ops, .out = out, .lse = lse, .q = mert_at(ops, x, 2 * D), .k = x, .v = mert_at(ops, x, D), .B = B,
                   .T = T, .H = H, .dh = D / H, .ld = 3 * D, .ldout = D, .scale = 0.3f);
    /* of what is rounded already */
    mert_attention_backward(ops, .dq = mert_at(ops, d, 2 * D), .dk = d, .dv = mert_at(ops, d, D), .dout = dout,
                            .out = dout, .lse = floats(B * H * T, 6), .q = mert_at(ops, x, 2 * D), .k = x,
                            .v = mert_at(ops, x, D), .B = B, .T = T, .H = H, .dh = D / H, .ld = 3 * D, .ldout = D,
                            .scale = 0.05f, .p = 0.1, .key = {1, 2, 3});
}

/* ---- all codebooks ---- */

static void cross_entropy_of_codebooks(void)
{
    enum { LD = 2 * ROWS + 6 };
    mert_element *logits = elements(2 * ROWS * LD, 1);
    int32_t *targets = keep(2 * ROWS * sizeof *targets);
    for (int i = 0; i < 2 * ROWS; i++)
        targets[i] = i;
    mert_cross_entropy(ops, .logits = logits, .target = put_bytes(targets, 2 * ROWS * sizeof *targets),
                       .sums = doubles(4), .rows = ROWS, .V = 2 * ROWS, .ld = LD, .count = 2, .scale = 3, .grad = 1);
}

static void pool_spans(void)
{
    static const int32_t begin[] = {0, 1, 70, 140};
    mert_element *x = elements(N, 1);
    mert_pool_spans(ops, .y = floats(3 * D, 2), .x = x, .first = put_bytes(begin, sizeof begin), .spans = 3, .D = D,
                    .ldy = D);
}

static void corrupt(int back)
{
    static const int32_t to[] = {1, 5, 9}, from[] = {5, 9, 3};
    float flags[B * T] = {0, 1, 0, 0, 0, 1, 0, 0, 0, 1}, mask[B * T] = {0, 0, 0, 1}, channels[B * D] = {0, 1};
    mert_element *x = elements(N, 1), *y = elements(N, 2);
    const float *m = add(0, put(mask, B * T), sizeof mask), *c = add(0, put(channels, B * D), sizeof channels);
    const int32_t *t = put_bytes(to, sizeof to), *s = put_bytes(from, sizeof from);
    const float *r = put(flags, B * T);
    if (back)
        mert_corrupt_backward(ops, .dx = y, .de = floats(D, 3), .dy = x, .mask = m, .channels = c, .replaced_rows = r,
                              .to = t, .from = s, .replaced = 3, .B = B, .T = T, .D = D, .p = 0.3, .key = {1, 2, 3});
    else
        mert_corrupt(ops, .y = y, .x = x, .e = floats(D, 3), .mask = m, .channels = c, .to = t, .from = s,
                     .replaced = 3, .B = B, .T = T, .D = D, .p = 0.3, .key = {1, 2, 3});
    ops->wait(ops, NULL); /* what was put from the stack */
}

static void corrupt_forward(void) { corrupt(0); }
static void corrupt_backward(void) { corrupt(1); }

TEST(layer)
{
    EACH(add_norm, add_norm_backward_apart, add_norm_backward_in_place, gelu_and_dropout, gelu_and_dropout_backward,
         column_sums_of_groups, attention_on_one_array, cross_entropy_of_codebooks, pool_spans,
         corrupt_forward, corrupt_backward);
}

/* The norm that goes with the sum is that of the sum as it is stored, as whoever makes it again has it. */
TEST(the_norm_is_of_the_stored_sum)
{
    static const mert_element_type types[] = {MERT_ELEMENT_F32, MERT_ELEMENT_BF16, MERT_ELEMENT_F16};
    mert_ops *tested = ops;
    for (int i = 0; i < 3; i++) {
        size_t bytes = (size_t)N * (i ? sizeof(uint16_t) : sizeof(float));
        mert_element *x, *residual, *s, *y, *again;
        float *w, *b;
        ops = mert_ops_cpu_of(types[i]);
        ops = strcmp(tested->name, "guard") ? ops : mert_ops_guard(ops);
        x = room(N), residual = room(N), s = room(N), y = room(N), again = room(N);
        w = put(numbers(D, 3), D), b = put(numbers(D, 4), D);
        mert_to_elements(ops, .to = x, .from = put(numbers(N, 1), N), .n = N);
        mert_to_elements(ops, .to = residual, .from = put(numbers(N, 2), N), .n = N);
        mert_add_norm(ops, .s = s, .y = y, .x = x, .residual = residual, .w = w, .b = b, .mean = room(B * T),
                      .rstd = room(B * T), .B = B, .T = T, .D = D, .eps = 1e-5f);
        mert_layer_norm(ops, .y = again, .x = s, .w = w, .b = b, .rows = B * T, .columns = D, .eps = 1e-5f);
        CHECK(!memcmp(get_bytes(y, bytes), get_bytes(again, bytes), bytes));
        while (nn_devices > 0)
            ops->release(ops, nn_device[--nn_devices]);
        ops->close(ops);
    }
    ops = tested;
}

/* ---- an audio codec ---- */

enum { STEPS = 9, UNITS = 13, LEFT = 4 };

static void elu(void)
{
    float *x = values(N, 1);
    mert_element *dx = put_values(x, N), *y = elements(N, 2);
    double *exact = expect(N);
    for (int i = 0; i < N; i++)
        exact[i] = mert_reference_elu(x[i]);
    mert_elu(ops, .y = y, .x = dx, .n = N);
}

static void pad(void)
{
    static const mert_span spans[2] = {{2, 25, 1, 0}, {40, 21, 0, 0}};
    mert_element *x = elements(T * D, 1), *y = elements((T + LEFT) * D, 2);
    mert_pad(ops, .y = y, .x = x, .spans = put_bytes(spans, sizeof spans), .n = 2, .T = T, .C = D, .scale = 1,
             .left = LEFT, .stride = 2, .elu = 1);
}

/* The state between two steps is float32. */
static void lstm(void)
{
    static const mert_span spans[2] = {{1, STEPS, 0, 1}, {STEPS + 2, STEPS - 3, 0, 0}};
    int64_t rows = 2 * STEPS + 2;
    mert_element *gates = elements(rows * 4 * UNITS, 1), *w = elements(4 * UNITS * UNITS, 2),
                 *y = elements(rows * UNITS, 3);
    mert_lstm(ops, .y = y, .state = floats(2 * 2 * UNITS, 4), .gates = gates, .w = w,
              .spans = put_bytes(spans, sizeof spans), .n = 2, .longest = STEPS, .T = rows, .W = UNITS);
}

TEST(codec)
{
    EACH(elu, pad, lstm);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(extractor), NN_TEST(layer), NN_TEST(the_norm_is_of_the_stored_sum),
                                    NN_TEST(codec)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
