/* Probes: groups are never divided between folds; the linear probe compared with the conditions for a minimum and the
 * closed form; nets on problems that a linear probe can and cannot solve; the same results with any number of
 * threads. */
#include "tests/test.h"

#include "libcommon/base/random.h"
#include "libcommon/probe/folds.h"
#include "libcommon/probe/net.h"
#include "libcommon/probe/probe.h"
#include "tests/unit/threads.h"

static double normal(uint32_t what, int64_t i)
{
    mert_random r = mert_random_key(7, MERT_FOR_TEST, what, 0, 0);
    return mert_random_normal(&r, (uint32_t)i);
}

/* ---- folds ---- */

enum { N = 240, GROUPS = 60, CLASSES = 4 };

typedef struct world {
    int32_t label[N], group[N];
    float y[N];
    mert_probe_part part[GROUPS];
    mert_targets g;
} world;

static void make_world(world *w, mert_probe_task task)
{
    for (int i = 0; i < N; i++) {
        w->group[i] = i % GROUPS;
        w->label[i] = w->group[i] % CLASSES;
        w->y[i] = (float)(w->group[i] / 4);
    }
    for (int i = 0; i < GROUPS; i++)
        w->part[i] = MERT_PROBE_OUT;
    w->g = (mert_targets){.task = task,
                          .n = N,
                          .outputs = task == MERT_PROBE_CLASSIFY ? CLASSES : 1,
                          .label = w->label,
                          .y = w->y,
                          .group = w->group,
                          .groups = GROUPS,
                          .part = w->part};
}

TEST(no_group_is_on_two_sides_and_each_is_asked_once)
{
    static world w;
    mert_folds f;
    mert_error e;
    mert_probe_part part[N], before[N];
    int differ = 0;
    for (int task = MERT_PROBE_CLASSIFY; task <= MERT_PROBE_REGRESS; task += 2) {
        make_world(&w, (mert_probe_task)task);
        CHECK(!mert_folds_make(&f, &w.g, 5, &e) && f.rounds == 5 && f.carved);
        for (uint64_t seed = 0; seed < 20; seed++) {
            int asked[N] = {0}, chose[N] = {0};
            for (int round = 0; round < 5; round++) {
                int of_class[CLASSES] = {0};
                CHECK(!mert_folds_assign(&f, seed, round, part, &e));
                for (int i = 0; i < N; i++) {
                    CHECK(part[i] == part[w.group[i]]);
                    asked[i] += part[i] == MERT_PROBE_TEST;
                    chose[i] += part[i] == MERT_PROBE_VALID;
                    if (part[i] == MERT_PROBE_TEST && i < GROUPS)
                        of_class[w.label[i]]++;
                }
                for (int c = 0; task == MERT_PROBE_CLASSIFY && c < CLASSES; c++)
                    CHECK(of_class[c] == GROUPS / CLASSES / 5);
                if (seed && !round)
                    differ += memcmp(part, before, sizeof part) != 0;
                if (!round)
                    memcpy(before, part, sizeof part);
            }
            for (int i = 0; i < N; i++)
                CHECK(asked[i] == 1 && chose[i] == 1);
        }
        mert_folds_free(&f);
    }
    CHECK(differ == 38); /* every seed gives other folds */
}

TEST(a_given_split_is_kept_and_its_valid_part_carved_from_train)
{
    static world w;
    mert_folds f;
    mert_error e;
    mert_probe_part part[N];
    int valid = 0;
    make_world(&w, MERT_PROBE_CLASSIFY);
    w.g.given = 1;
    for (int i = 0; i < GROUPS; i++)
        w.part[i] = i < 40 ? MERT_PROBE_TRAIN : MERT_PROBE_TEST;
    CHECK(!mert_folds_make(&f, &w.g, 5, &e) && f.rounds == 1 && f.carved && !mert_folds_assign(&f, 3, 0, part, &e));
    for (int i = 0; i < N; i++) {
        CHECK((part[i] == MERT_PROBE_TEST) == (w.group[i] >= 40));
        CHECK(part[i] == part[w.group[i]]);
        valid += part[i] == MERT_PROBE_VALID;
    }
    CHECK(valid == 160 / 5);
    mert_folds_free(&f);
    for (int i = 0; i < 10; i++)
        w.part[i] = MERT_PROBE_VALID;
    CHECK(!mert_folds_make(&f, &w.g, 5, &e) && !f.carved && !mert_folds_assign(&f, 3, 0, part, &e));
    for (int i = 0; i < N; i++)
        CHECK(part[i] == w.part[w.group[i]]);
    mert_folds_free(&f);
    for (int i = 40; i < GROUPS; i++)
        w.part[i] = MERT_PROBE_TRAIN;
    CHECK(mert_folds_make(&f, &w.g, 5, &e) && strstr(e.text, "test"));
}

TEST(fewer_groups_than_folds_are_refused)
{
    static world w;
    mert_folds f;
    mert_error e;
    make_world(&w, MERT_PROBE_CLASSIFY);
    CHECK(mert_folds_make(&f, &w.g, GROUPS + 1, &e) && strstr(e.text, "60") && strstr(e.text, "61"));
    CHECK(!mert_folds_make(&f, &w.g, 16, &e) && mert_folds_rare(&f) == CLASSES); /* 15 groups of each class */
    mert_folds_free(&f);
    CHECK(!mert_folds_make(&f, &w.g, 15, &e) && mert_folds_rare(&f) == 0);
    mert_folds_free(&f);
}

/* ---- linear ---- */

enum { ROWS = 90, D = 12, C = 3 };

static void make_rows(float *x, int32_t *label, float *y, mert_probe_task task)
{
    for (int i = 0; i < ROWS; i++) {
        double s[C];
        int best = 0;
        for (int d = 0; d < D; d++)
            x[i * D + d] = (float)(normal(1, i * D + d) + 0.6 * normal(2, i)); /* correlated columns */
        for (int c = 0; c < C; c++) {
            s[c] = normal(3, i * C + c);
            for (int d = 0; d < D; d++)
                s[c] += x[i * D + d] * normal(4, c * D + d) / 2;
            best = s[c] > s[best] ? c : best;
            y[i * C + c] = task == MERT_PROBE_REGRESS ? (float)s[c] : s[c] > 0;
        }
        label[i] = best;
    }
}

/* The largest element of the objective's gradient at w, in double and from the formulas. */
static double steepest(const mert_linear_data *p, double decay, const float *w)
{
    double g[C * D + C] = {0}, top = 0;
    for (int i = 0; i < ROWS; i++) {
        double s[C], r[C], sum = 0;
        for (int c = 0; c < C; c++) {
            s[c] = w[C * D + c];
            for (int d = 0; d < D; d++)
                s[c] += (double)p->x[i * D + d] * w[c * D + d];
            sum += exp(s[c]);
        }
        for (int c = 0; c < C; c++) {
            r[c] = p->task == MERT_PROBE_CLASSIFY     ? exp(s[c]) / sum - (p->label[i] == c)
                   : p->task == MERT_PROBE_MULTILABEL ? 1 / (1 + exp(-s[c])) - p->y[i * C + c]
                                                      : s[c] - p->y[i * C + c];
            for (int d = 0; d < D; d++)
                g[c * D + d] += r[c] * p->x[i * D + d] / ROWS;
            g[C * D + c] += r[c] / ROWS;
        }
    }
    for (int k = 0; k < C * D; k++)
        g[k] += decay * w[k];
    for (int k = 0; k < C * D + C; k++)
        top = fabs(g[k]) > top ? fabs(g[k]) : top;
    return top;
}

TEST(linear_probes_end_where_the_gradient_is_zero)
{
    static float x[ROWS * D], y[ROWS * C];
    static int32_t label[ROWS];
    mert_error e;
    for (int task = 0; task < 3; task++) {
        mert_linear_data p = {
            .task = (mert_probe_task)task, .n = ROWS, .d = D, .outputs = C, .x = x, .label = label, .y = y};
        make_rows(x, label, y, p.task);
        for (double decay = 1; decay > 1e-5; decay /= 10) {
            float w[C * D + C] = {0};
            int steps = mert_linear_fit(&p, decay, w, &e);
            CHECK(steps > 0 && steps < MERT_LINEAR_STEPS);
            CHECK_NEAR(steepest(&p, decay, w), 0, 3e-4);
        }
    }
}

/* (X^T X / n + decay I) w = X^T y / n over centred columns, by elimination. */
static void ridge(const float *x, const float *y, double decay, double *w)
{
    double a[D][D + 1] = {{0}}, mx[D] = {0}, my = 0;
    for (int i = 0; i < ROWS; i++) {
        for (int d = 0; d < D; d++)
            mx[d] += x[i * D + d] / (double)ROWS;
        my += y[i * C] / (double)ROWS;
    }
    for (int i = 0; i < ROWS; i++)
        for (int r = 0; r < D; r++) {
            for (int c = 0; c < D; c++)
                a[r][c] += (x[i * D + r] - mx[r]) * (x[i * D + c] - mx[c]) / ROWS;
            a[r][D] += (x[i * D + r] - mx[r]) * (y[i * C] - my) / ROWS;
        }
    for (int r = 0; r < D; r++)
        a[r][r] += decay;
    for (int k = 0; k < D; k++)
        for (int r = 0; r < D; r++) {
            double f = a[r][k] / a[k][k];
            for (int c = 0; r != k && c <= D; c++)
                a[r][c] -= f * a[k][c];
        }
    for (int d = 0; d < D; d++)
        w[d] = a[d][D] / a[d][d];
}

TEST(regression_is_the_closed_form_of_ridge)
{
    static float x[ROWS * D], y[ROWS * C];
    static int32_t label[ROWS];
    mert_linear_data p = {.task = MERT_PROBE_REGRESS, .n = ROWS, .d = D, .outputs = C, .x = x, .y = y};
    mert_error e;
    make_rows(x, label, y, p.task);
    for (double decay = 1; decay > 1e-3; decay /= 10) {
        float w[C * D + C] = {0};
        double expect[D];
        ridge(x, y, decay, expect);
        CHECK(mert_linear_fit(&p, decay, w, &e) > 0);
        for (int d = 0; d < D; d++)
            CHECK_NEAR(w[d], expect[d], 2e-3);
    }
}

/* ---- nets ---- */

static int64_t everyone[N];

static mert_net_options net_options(int64_t hidden)
{
    return (mert_net_options){.hidden = hidden, .epochs = 600, .patience = 600, .batch = 32, .lr = 3e-3, .seed = 1};
}

static double share_right(const mert_net *net, const mert_net_data *p)
{
    static float s[N * CLASSES];
    mert_error e;
    int right = 0;
    if (mert_net_scores(net, p, everyone, N, s, &e))
        return -1;
    for (int i = 0; i < N; i++) {
        int64_t best = 0;
        for (int64_t c = 1; c < p->outputs; c++)
            best = s[i * p->outputs + c] > s[i * p->outputs + best] ? c : best;
        right += best == p->label[i];
    }
    return (double)right / N;
}

TEST(without_hidden_units_a_net_reaches_the_linear_minimum)
{
    static float x[ROWS * D], y[ROWS * C], w[C * D + C], s[ROWS * C], mean[D], scale[D];
    static int32_t label[ROWS];
    mert_error e;
    for (int task = 0; task < 3; task++) {
        mert_linear_data p = {
            .task = (mert_probe_task)task, .n = ROWS, .d = D, .outputs = C, .x = x, .label = label, .y = y};
        mert_net_data q = {.task = p.task,
                           .layers = 1,
                           .d = D,
                           .outputs = C,
                           .stride = D,
                           .x = x,
                           .mean = mean,
                           .scale = scale,
                           .label = label,
                           .y = y};
        mert_net_options o = net_options(0);
        mert_net *net;
        double loss;
        make_rows(x, label, y, p.task);
        for (int d = 0; d < D; d++)
            scale[d] = 1;
        memset(w, 0, sizeof w);
        CHECK(mert_linear_fit(&p, 0, w, &e) > 0);
        mert_linear_scores(x, ROWS, D, C, w, s);
        o.batch = ROWS, o.lr = 1e-2, o.epochs = o.patience = 3000;
        net = mert_net_train(&q, &o, everyone, ROWS, everyone, ROWS, &loss, &e);
        CHECK(net);
        CHECK_NEAR(loss / mert_linear_loss(&p, s, NULL), 1, 0.01);
        mert_net_free(net);
    }
}

TEST(hidden_units_learn_what_no_line_separates)
{
    static float x[N * 2], mean[2], scale[2] = {1, 1};
    static int32_t label[N];
    mert_net_data p = {.task = MERT_PROBE_CLASSIFY,
                       .layers = 1,
                       .d = 2,
                       .outputs = 2,
                       .stride = 2,
                       .x = x,
                       .mean = mean,
                       .scale = scale,
                       .label = label};
    mert_error e;
    for (int i = 0; i < N; i++) { /* exclusive or: opposite corners */
        int a = i & 1, b = i >> 1 & 1;
        x[2 * i] = (float)(2 * a - 1 + 0.2 * normal(5, 2 * i));
        x[2 * i + 1] = (float)(2 * b - 1 + 0.2 * normal(5, 2 * i + 1));
        label[i] = a ^ b;
    }
    for (int h = 0; h <= 16; h += 16) {
        mert_net_options o = net_options(h);
        double loss;
        mert_net *net = mert_net_train(&p, &o, everyone, N, everyone, N, &loss, &e);
        CHECK(net && (h ? share_right(net, &p) > 0.99 : share_right(net, &p) < 0.8));
        mert_net_free(net);
    }
}

TEST(a_mixture_turns_to_the_layer_that_knows)
{
    enum { L = 3, W = 4 };
    static float x[N * L * W], mean[L * W], scale[L * W];
    static int32_t label[N];
    mert_net_data p = {.task = MERT_PROBE_CLASSIFY,
                       .layers = L,
                       .d = W,
                       .outputs = CLASSES,
                       .stride = L * W,
                       .x = x,
                       .mean = mean,
                       .scale = scale,
                       .label = label};
    mert_error e;
    for (int i = 0; i < N; i++) {
        label[i] = i % CLASSES;
        for (int k = 0; k < L * W; k++)
            x[i * L * W + k] = (float)(normal(6, i * L * W + k) + (k / W == 1 && k % W == label[i] ? 4 : 0));
    }
    for (int k = 0; k < L * W; k++)
        scale[k] = 1;
    for (int h = 0; h <= 8; h += 8) {
        mert_net_options o = net_options(h);
        double loss, share[L];
        mert_net *net;
        o.epochs = 100;
        net = mert_net_train(&p, &o, everyone, N, everyone, N, &loss, &e);
        CHECK(net && share_right(net, &p) > 0.95);
        mert_net_mixture(net, share);
        CHECK_NEAR(share[0] + share[1] + share[2], 1, 1e-9);
        CHECK(share[1] > 0.7);
        mert_net_free(net);
    }
}

/* ---- trained probes ---- */

/* The weights of a linear probe that is trained on all rows are where the gradient on all rows is zero. */
TEST(a_probe_is_trained_on_all_rows)
{
    static const double decays[] = {0.1};
    static float x[ROWS * D], y[ROWS * C], z[ROWS * D], w[C * D + C];
    static int32_t label[ROWS], group[ROWS];
    static mert_probe_part part[ROWS];
    char *names[C];
    mert_probe_options o = {.folds = 3, .seeds = 1, .decays = {decays, 1}, .net_decays = {decays, 1}};
    mert_targets g = {.task = MERT_PROBE_CLASSIFY, .n = ROWS, .outputs = C, .label = label, .names = names,
                      .group = group, .groups = ROWS, .part = part, .given = 1};
    mert_linear_data data = {.task = MERT_PROBE_CLASSIFY, .n = ROWS, .d = D, .outputs = C, .x = z, .label = label};
    mert_trained t;
    mert_error e;
    make_rows(x, label, y, MERT_PROBE_CLASSIFY);
    for (int c = 0; c < C; c++)
        names[c] = "class";
    for (int i = 0; i < ROWS; i++) {
        group[i] = i;
        part[i] = i % 2 ? MERT_PROBE_TEST : MERT_PROBE_TRAIN;
    }
    CHECK(!mert_probe_train(&t, &o, &g, x, 1, D, 1, &e));
    for (int i = 0; i < ROWS * D; i++)
        z[i] = (x[i] - t.mean[i % D]) * t.scale[i % D];
    memcpy(w, t.weight, C * D * sizeof *w);
    memcpy(w + C * D, t.bias, C * sizeof *w);
    CHECK(steepest(&data, 0.1, w) < 1e-4);
    mert_trained_free(&t);
}

/* ---- whole runs ---- */

static double first_score(const mert_probe_result *r, int64_t line)
{
    return mert_probe_result_range(r, line, 0).mean;
}

TEST(the_same_numbers_on_any_number_of_threads)
{
    enum { L = 2, W = 6 };
    static world w;
    static float x[N * L * W];
    static const double decays[] = {1, 0.01};
    mert_error e;
    make_world(&w, MERT_PROBE_CLASSIFY);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < L * W; k++)
            x[i * L * W + k] = (float)(100 + normal(8, i * L * W + k) + (k / W == 1 && k % W == w.label[i] ? 6 : 0));
    for (int h = 0; h <= 8; h += 8) {
        mert_probe_options o = {.hidden = h,
                                .weighted = 1,
                                .folds = 4,
                                .seeds = 2,
                                .seed = 3,
                                .decays = {decays, 2},
                                .net_decays = {decays, 2},
                                .epochs = 30,
                                .patience = 5,
                                .batch = 16,
                                .lr = 1e-2,
                                .dropout = 0.2};
        mert_probe_result one, three;
        use_threads(1);
        CHECK(!mert_probe_run(&one, &o, &w.g, x, L, W, &e));
        use_threads(3);
        CHECK(!mert_probe_run(&three, &o, &w.g, x, L, W, &e));
        CHECK(one.lines == 4 && one.seeds == 2 && one.rounds == 4);
        CHECK(!memcmp(one.value, three.value, (size_t)(one.lines * one.scores * one.seeds) * sizeof *one.value));
        CHECK(!memcmp(one.mixture, three.mixture, L * sizeof *one.mixture));
        CHECK(first_score(&one, 2) > 0.97 && first_score(&one, 3) > 0.97);
        CHECK(first_score(&one, 1) > 0.12 && first_score(&one, 1) < 0.38);
        CHECK(first_score(&one, 0) > 0.1 &&
              first_score(&one, 0) <= 0.25); /* the prior predicts the class that is more frequent in training */
        mert_probe_result_free(&one);
        mert_probe_result_free(&three);
    }
}

/* Each group has its own mark in the features, and a random label. The label can only be predicted for groups in the
 * training part. If groups were in several parts, the score would be near 1. */
TEST(marks_of_a_group_do_not_help)
{
    static world w;
    static float x[N * GROUPS];
    static const double decays[] = {0.001};
    mert_probe_options o = {.folds = 5, .seeds = 4, .seed = 1, .decays = {decays, 1}, .net_decays = {decays, 1}};
    mert_probe_result r;
    mert_error e;
    make_world(&w, MERT_PROBE_CLASSIFY);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < GROUPS; k++)
            x[i * GROUPS + k] = (float)(0.02 * normal(9, i * GROUPS + k) + (k == w.group[i]));
    CHECK(!mert_probe_run(&r, &o, &w.g, x, 1, GROUPS, &e));
    CHECK(first_score(&r, 1) < 0.4);
    mert_probe_result_free(&r);
    for (int i = 0; i < N; i++) /* control: with each instance as its own group, the marks help */
        w.group[i] = i;
    w.g.groups = N;
    w.g.part = calloc(N, sizeof *w.g.part);
    CHECK(w.g.part && !mert_probe_run(&r, &o, &w.g, x, 1, GROUPS, &e));
    CHECK(first_score(&r, 1) > 0.9);
    mert_probe_result_free(&r);
    free(w.g.part);
}

TEST(a_given_split_leaves_nothing_to_chance_for_a_linear_probe)
{
    static world w;
    static float x[N * 2];
    static const double decays[] = {0.1, 0.01};
    mert_probe_options o = {.folds = 5, .seeds = 4, .decays = {decays, 2}, .net_decays = {decays, 2}};
    mert_probe_result r;
    mert_error e;
    make_world(&w, MERT_PROBE_REGRESS);
    w.g.given = 1;
    for (int i = 0; i < GROUPS; i++)
        w.part[i] = (mert_probe_part)(i % 3);
    for (int i = 0; i < N; i++) {
        x[2 * i] = (float)(1e4 + 3 * w.y[i] + normal(10, i));
        x[2 * i + 1] = 5; /* a constant column */
    }
    CHECK(!mert_probe_run(&r, &o, &w.g, x, 1, 2, &e));
    CHECK(r.seeds == 1 && r.rounds == 1 && first_score(&r, 1) > 0.98 && first_score(&r, 1) < 1);
    CHECK(first_score(&r, 0) <= 0 && first_score(&r, 0) > -0.2); /* the mean of train is about that of test */
    mert_probe_result_free(&r);
    for (int i = 0; i < N; i++)
        x[2 * i] = 1;
    CHECK(mert_probe_run(&r, &o, &w.g, x, 1, 2, &e) && strstr(e.text, "the same"));
}

int main(void)
{
    for (int i = 0; i < N; i++)
        everyone[i] = i;
    RUN(no_group_is_on_two_sides_and_each_is_asked_once);
    RUN(a_given_split_is_kept_and_its_valid_part_carved_from_train);
    RUN(fewer_groups_than_folds_are_refused);
    RUN(linear_probes_end_where_the_gradient_is_zero);
    RUN(regression_is_the_closed_form_of_ridge);
    RUN(without_hidden_units_a_net_reaches_the_linear_minimum);
    RUN(hidden_units_learn_what_no_line_separates);
    RUN(a_mixture_turns_to_the_layer_that_knows);
    RUN(a_probe_is_trained_on_all_rows);
    RUN(the_same_numbers_on_any_number_of_threads);
    RUN(marks_of_a_group_do_not_help);
    RUN(a_given_split_leaves_nothing_to_chance_for_a_linear_probe);
    return test_done();
}
