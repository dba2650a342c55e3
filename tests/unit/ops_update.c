/* The operations of the update against nn/reference, as ops.c has the others. */
#include "tests/unit/nn.h"

#include "libcommon/nn/reference.h"

static const int64_t lengths[] = {1, 7, 64, 1000, 65537};

TEST(clip)
{
    static const double limits[] = {0, 1, 2.5, 1e9}, slacks[] = {0, 1e-6};
    for (int i = 0; i < 8; i++) {
        double squares = 5.76 * 64, limit = limits[i / 2], slack = slacks[i % 2], norm, also[3] = {0, -1e300, 3};
        double factor = mert_reference_clip(squares, 0.125, limit, slack, &norm), broken = i % 4 ? NAN : INFINITY;
        double *from = put_bytes(&squares, sizeof squares);
        mert_clipping *to = room_bytes(sizeof *to), c;
        mert_clip(ops, .to = to, .squares = from, .also = put_bytes(also, sizeof also), .n = 3, .scale = 0.125,
                  .clip_norm = limit, .slack = slack);
        c = *(mert_clipping *)get_bytes(to, sizeof c);
        CHECK_NEAR(norm, 2.4, 1e-14);
        CHECK(c.norm == norm && c.finite == 1);
        CHECK_NEAR(c.factor, factor, 1e-15);
        also[1] = i % 2 ? NAN : -INFINITY;
        mert_clip(ops, .to = to, .squares = from, .also = put_bytes(also, sizeof also), .n = 3, .scale = 1);
        CHECK(!((mert_clipping *)get_bytes(to, sizeof c))->finite);
        mert_clip(ops, .to = to, .squares = put_bytes(&broken, sizeof broken), .scale = 1, .clip_norm = 1);
        c = *(mert_clipping *)get_bytes(to, sizeof c);
        CHECK(!c.finite && !isfinite(c.norm));
    }
}

/* Weights after one step, by a factor of the caller's (c NULL) or of the clipping's; the last of the moments, which were
 * a half. */
static float *stepped(const float *w, int64_t n, double factor, const mert_clipping *c, float *m, float *v)
{
    float *dw = put(w, n), *dm = room(n), *dv = room(n);
    mert_fill(ops, .to = dm, .value = 0.5f, .n = n);
    mert_fill(ops, .to = dv, .value = 0.5f, .n = n);
    mert_adam(ops, .w = dw, .m = dm, .v = dv, .g = put(numbers(n, 4), n), .n = n, .gradient_scale = factor, .lr = 1e-2,
              .step = 1e-2, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6,
              .clipping = c ? put_bytes(c, sizeof *c) : NULL);
    *m = get(dm, n)[n - 1];
    *v = get(dv, n)[n - 1];
    return get(dw, n);
}

TEST(adam_does_what_clipping_says)
{
    static const mert_clipping go = {2, 0.25, 1}, stay = {NAN, 0.25, 0};
    enum { FEW = 100 };
    float *w = numbers(FEW, 1), m[2], v[2];
    CHECK(!memcmp(stepped(w, FEW, 0.25, NULL, m, v), stepped(w, FEW, 8, &go, m + 1, v + 1), FEW * sizeof *w));
    CHECK(m[0] == m[1] && v[0] == v[1] && m[0] != 0.5f && v[0] != 0.5f);
    CHECK(memcmp(stepped(w, FEW, 8, &go, m, v), w, FEW * sizeof *w));
    CHECK(!memcmp(stepped(w, FEW, 8, &stay, m, v), w, FEW * sizeof *w) && m[0] == 0.5f && v[0] == 0.5f);
}

TEST(adam)
{
    for (int i = 0; i < 5; i++) {
        int64_t n = lengths[i];
        float *w = numbers(n, 1), *dw = put(w, n), *dm = room(n), *dv = room(n);
        double *ew = wide(w, n), *em = zeros(n), *ev = zeros(n), *change = zeros(n);
        mert_fill(ops, .to = dm, .n = n);
        mert_fill(ops, .to = dv, .n = n);
        for (int t = 1; t <= 5; t++) {
            float *g = numbers(n, (uint32_t)(10 + t));
            double lr = 1e-3 * t, step = lr * sqrt(1 - pow(0.98, t)) / (1 - pow(0.9, t));
            mert_reference_adam_args exact = {ew, em, ev, wide(g, n), n, 0.125, lr, step, 0.9, 0.98, 1e-6, 0.01};
            mert_adam(ops, .w = dw, .m = dm, .v = dv, .g = put(g, n), .n = n, .gradient_scale = 0.125, .lr = lr,
                      .step = step, .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.01);
            mert_reference_adam(&exact);
        }
        CHECK_APART(get(dm, n), em, n, 1e-6);
        CHECK_APART(get(dv, n), ev, n, 1e-6);
        for (int64_t k = 0; k < n; k++)
            change[k] = ew[k];
        CHECK_APART(get(dw, n), change, n, 5e-7);
    }
}

/* At the start of the warm-up lr times decay is less than 1 - lr decay can hold in a float: the weight lost must be
 * right all the same. */
TEST(adam_decays_slowly)
{
    int64_t n = 1000;
    float *w = numbers(n, 1), *dw, *m = room(n), *v = room(n), *g = room(n), *after;
    double before_sum = 0, after_sum = 0;
    for (int64_t k = 0; k < n; k++)
        w[k] = 1 + (float)k / (float)n * 0.9f;
    dw = put(w, n);
    mert_fill(ops, .to = m, .n = n);
    mert_fill(ops, .to = v, .value = 1, .n = n);
    for (int t = 0; t < 1000; t++) {
        mert_fill(ops, .to = g, .value = t % 2 ? 1.0f : -1.0f, .n = n);
        mert_adam(ops, .w = dw, .m = m, .v = v, .g = g, .n = n, .gradient_scale = 1, .lr = 5e-6, .step = 5e-6,
                  .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.01);
    }
    after = get(dw, n);
    for (int64_t k = 0; k < n; k++) {
        before_sum += w[k];
        after_sum += after[k];
    }
    CHECK_NEAR(1 - after_sum / before_sum, 1000 * 0.01 * 5e-6, 0.03 * 1000 * 0.01 * 5e-6);
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(clip), NN_TEST(adam_does_what_clipping_says), NN_TEST(adam),
                                    NN_TEST(adam_decays_slowly)};
    (void)argc;
    run_everywhere(tests, (int)(sizeof tests / sizeof *tests));
    run_lesser_sets(argv);
    return test_done();
}
