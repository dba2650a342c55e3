/* The measures of a probe's answers, compared with values by hand. */
#include "tests/test.h"

#include "libcommon/probe/score.h"

TEST(auc_by_hand_ties_count_half)
{
    /* high: .9 .7 .1; low: .8 .7. Pairs won: .8 by .9; .7 by .9 and half by the tie: 2.5 of 6 */
    mert_scored x[] = {{.7f, 1}, {.1f, 1}, {.8f, 0}, {.9f, 1}, {.7f, 0}};
    mert_scored same[] = {{1, 0}, {1, 1}, {1, 0}}, best[] = {{3, 1}, {2, 1}, {1, 0}}, worst[] = {{1, 1}, {2, 0}};
    CHECK_NEAR(mert_score_auc(x, 5), 2.5 / 6, 1e-15);
    CHECK(mert_score_auc(same, 3) == 0.5 && mert_score_auc(best, 3) == 1 && mert_score_auc(worst, 2) == 0);
    CHECK(isnan(mert_score_auc(best, 2)) && isnan(mert_score_auc(worst, 1)) && isnan(mert_score_auc(worst, 0)));
}

TEST(average_precision_by_hand)
{
    /* .9: 1/1; .7: two of four with half of it new; .1: 3/5: (1 + 2/4 + 3/5) / 3 */
    mert_scored x[] = {{.7f, 1}, {.1f, 1}, {.8f, 0}, {.9f, 1}, {.7f, 0}};
    mert_scored same[] = {{1, 0}, {1, 1}, {1, 0}, {1, 0}}, none[] = {{1, 0}};
    CHECK_NEAR(mert_score_ap(x, 5), 0.7, 1e-15);
    CHECK(mert_score_ap(same, 4) == 0.25 && isnan(mert_score_ap(none, 1)));
}

TEST(r2_by_hand)
{
    float y[] = {1, 9, 2, 9, 3, 9, 4, 9}, p[] = {1.5, 9, 2, 9, 2.5, 9, 4, 9};
    CHECK_NEAR(mert_score_r2(y, p, 4, 2), 1 - 0.5 / 5, 1e-12);
    CHECK(isnan(mert_score_r2(y + 1, p + 1, 4, 2)));
    float tenths[1000], wrong[1000]; /* whose mean in float64 may differ from the value */
    for (int n = 1; n <= 1000; n++) {
        tenths[n - 1] = 0.1f;
        wrong[n - 1] = 0.2f;
        CHECK(isnan(mert_score_r2(tenths, wrong, n, 1)));
    }
    CHECK(mert_score_r2(y, y, 4, 2) == 1);
}

static double named(const mert_targets *g, const double *value, const char *name)
{
    char names[MERT_SCORES_MAX][MERT_SCORE_NAME_MAX];
    int n = mert_score_names(g, names);
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return value[i];
    return -1;
}

TEST(scores_of_classes_by_hand)
{
    /* Answers 0 1 1 2 0 of the truth 0 1 2 2 1; the sixth is in no round. Recalls 1, 1/2, 1/2; F1 2/3, 1/2, 2/3. */
    int32_t label[] = {0, 1, 2, 2, 1, 0}, round[] = {0, 0, 0, 1, 1, -1}, group[6] = {0};
    float s[] = {3, 0, 0, 0, 3, 0, 0, 3, 1, 0, 0, 3, 3, 1, 0, 0, 0, 9};
    mert_targets g = {.task = MERT_PROBE_CLASSIFY, .n = 6, .outputs = 3, .label = label, .group = group, .groups = 1};
    double v[MERT_SCORES_MAX];
    mert_error e;
    CHECK(!mert_score_all(&g, s, round, 2, v, &e));
    CHECK_NEAR(named(&g, v, "accuracy"), 3.0 / 5, 1e-12);
    CHECK_NEAR(named(&g, v, "balanced_accuracy"), 2.0 / 3, 1e-12);
    CHECK_NEAR(named(&g, v, "f1_macro"), (2.0 / 3 + 0.5 + 2.0 / 3) / 3, 1e-12);
    /* By round. Class 0: 1, none. Class 1: in round 0 {0, 3, 3} of which the second: 3/4; in round 1 {0, 1}, the
     * second: 1. Class 2: {0, 0, 1}, the third: 1; {3, 0}: 1. */
    CHECK_NEAR(named(&g, v, "roc_auc"), (1 + (0.75 + 1) / 2 + 1) / 3, 1e-12);
    CHECK_NEAR(named(&g, v, "ap"), (1 + (0.5 + 1) / 2 + 1) / 3, 1e-12);
}

TEST(scores_of_labels_and_numbers_by_hand)
{
    float y[] = {1, 0, 0, 1, 1, 1, 0, 0}, s[] = {1, 1, -1, 1, -1, 2, -3, -1};
    int32_t round[4] = {0};
    mert_targets g = {.task = MERT_PROBE_MULTILABEL, .n = 4, .outputs = 2, .y = y};
    double v[MERT_SCORES_MAX];
    mert_error e;
    CHECK(!mert_score_all(&g, s, round, 1, v, &e));
    /* label 0: right 1, missed 1; label 1: right 2, wrong 1 */
    CHECK_NEAR(named(&g, v, "f1_macro"), (2.0 / 3 + 4.0 / 5) / 2, 1e-12);
    CHECK_NEAR(named(&g, v, "f1_micro"), 6.0 / 8, 1e-12);
    /* label 0: high 1, -1; low -1, -3: (2 + 1.5) / 4. label 1: high 1, 2; low 1, -1: (1.5 + 2) / 4 */
    CHECK_NEAR(named(&g, v, "roc_auc"), 3.5 / 4, 1e-12);
    g.task = MERT_PROBE_REGRESS;
    CHECK(!mert_score_all(&g, s, round, 1, v, &e));
    CHECK_NEAR(named(&g, v, "mae"), (0 + 1 + 1 + 0 + 2 + 1 + 3 + 1) / 8.0, 1e-12);
    CHECK_NEAR(named(&g, v, "r2_1"), 1 - (0 + 1 + 4 + 9) / 1.0, 1e-12);
    CHECK_NEAR(named(&g, v, "r2_2"), 1 - (1 + 0 + 1 + 1) / 1.0, 1e-12);
    CHECK_NEAR(named(&g, v, "r2"), (-13 - 2) / 2.0, 1e-12);
}

int main(void)
{
    RUN(auc_by_hand_ties_count_half);
    RUN(average_precision_by_hand);
    RUN(r2_by_hand);
    RUN(scores_of_classes_by_hand);
    RUN(scores_of_labels_and_numbers_by_hand);
    return test_done();
}
