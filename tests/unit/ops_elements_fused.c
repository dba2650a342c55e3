/* Elements of 16 bits on the CPU: the operations that do several things at once. */
#include "tests/unit/elements.h"

#include "libcommon/nn/reference.h"

enum { ROWS = 37, COLUMNS = 131 };

/* ---- the extractor ---- */

static const mert_conv_shape windows = {2, 41, 20, 6, 5, 3, 2};
enum { CONV_IN = 2 * 41 * 6, CONV_OUT = 2 * 20 * 5, CONV_WEIGHTS = 5 * 3 * 6 };

static void conv(void)
{
    float *x = values(CONV_IN, 1), *w = values(CONV_WEIGHTS, 2), *b = numbers(5, 3);
    mert_element *dx = put_values(x, CONV_IN), *dw = put_values(w, CONV_WEIGHTS), *y = elements(CONV_OUT, 4);
    mert_reference_conv(&windows, wide(x, CONV_IN), wide(w, CONV_WEIGHTS), wide(b, 5), 1, expect(CONV_OUT));
    mert_conv(ops, .y = y, .x = dx, .w = dw, .bias = put(b, 5), .shape = windows, .gelu = 1);
}

static void conv_backward(void)
{
    mert_element *x = elements(CONV_IN, 1), *w = elements(CONV_WEIGHTS, 2), *dy = elements(CONV_OUT, 3);
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

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(extractor)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
