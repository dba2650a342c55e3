/* Comparison of the logs of two runs. */
#include "libcommon/train/monitor/compare.h"

#include "tests/test.h"

static mert_error e;
static mert_log_comparison c;

static const char *const names = "update\tepoch\tloss\tce\tce_0\tcqt_mse\tgrad_norm\tlr\n";

static void put(const char *name, const char *first, const char *rest)
{
    FILE *f = fopen(test_tmp(name), "w");
    if (!f || fputs(first, f) < 0 || fputs(rest, f) < 0 || fclose(f))
        abort();
}

static int compare(void)
{
    return mert_compare(&c, test_tmp(""), test_tmp("reference"), &e);
}

static int says(const char *expected) { return test_says(e.text, expected); }

TEST(rows_of_the_same_update)
{

    put("reference", "# made somewhere\nupdate\tepoch\tloss\tce\tce_0\tcqt_mse\tgrad_norm\tlr\n",
        "10\t0\t8\t7\t7\t0.4\t2\t1e-3\n20\t0\t7\t6\t6\t0.3\t2\t1e-3\n30\t1\t6\t5\t5\t0.2\t1\t1e-3\n");
    put("log.tsv", names,
        "5\t0\t99\t99\t99\t9\t9\t0\n10\t0\t8.7\t7.6\t6.4\t0.49\t7.9\t5\n20\t0\t7\t6\t6\t0.3\t2\t0\n25\t0\t99\t9\t9\t9\t9\t0\n");
    CHECK(!compare());
    CHECK(c.rows == 2 && c.within == 2 && c.left == -1 && c.last == 20 && c.n == 5);
    CHECK(!strcmp(c.columns[0].column, "loss") && c.columns[0].own == 7 && c.columns[0].reference == 7);
    CHECK_NEAR(c.columns[0].band, 0.7, 1e-12);
    CHECK_NEAR(c.columns[3].band, 0.075, 1e-12);
}

TEST(the_first_that_left_its_band)
{
    static const struct { const char *row, *column; } wrong[] = {
        {"20\t0\t7.8\t6\t6\t0.3\t2\t0\n", "loss"}, {"20\t0\t7\t6.7\t6\t0.3\t2\t0\n", "ce"},
        {"20\t0\t7\t6\t5.3\t0.3\t2\t0\n", "ce_0"}, {"20\t0\t7\t6\t6\t0.38\t2\t0\n", "cqt_mse"},
        {"20\t0\t7\t6\t6\t0.3\t8.1\t0\n", "grad_norm"}, {"20\t0\t7\t6\tnan\t0.3\t2\t0\n", "ce_0"},
        {"20\t0\t7\t6\t6\tinf\t2\t0\n", "cqt_mse"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char rows[256];
        put("reference", names, "10\t0\t8\t7\t7\t0.4\t2\t0\n20\t0\t7\t6\t6\t0.3\t2\t0\n30\t1\t1\t1\t1\t0.2\t1\t0\n");
        snprintf(rows, sizeof rows, "10\t0\t8\t7\t7\t0.4\t2\t0\n%s30\t1\t1\t1\t1.4\t0.2\t1\t0\n", wrong[i].row);
        put("log.tsv", names, rows);
        CHECK(!compare());
        CHECK(c.rows == 3 && c.within == 1 && c.left == 20 && c.last == 30);
        CHECK(!strcmp(c.first.column, wrong[i].column) && c.first.outside);
        CHECK(c.columns[2].outside && !c.columns[1].outside); /* 0.4 bits from 1 */
    }
}

TEST(nan_where_the_reference_has_one)
{
    put("reference", names, "10\t0\t8\t7\tnan\t0.4\t2\t0\n");
    put("log.tsv", names, "10\t0\t8\t7\t3\t0.4\t2\t0\n");
    CHECK(!compare() && c.left == -1);
}

TEST(validation_against_validation)
{
    put("reference", "update\tloss\tce\tce_0\tentropy_0\n", "0\t9\t8\t8\t7\n");
    put("log.tsv", names, "0\t0\t1\t1\t1\t0.4\t2\t0\n");
    put("valid.tsv", "update\tloss\tce\tce_0\tentropy_0\n", "0\t9\t8\t8.1\t2\n");
    CHECK(!compare() && c.rows == 1 && c.n == 3 && c.left == -1);
}

TEST(a_last_line_without_end_is_still_being_written)
{
    put("reference", names, "10\t0\t8\t7\t7\t0.4\t2\t0\n20\t0\t7\t6\t6\t0.3\t2\t0\n");
    put("log.tsv", names, "10\t0\t8\t7\t7\t0.4\t2\t0\n20\t0\t7\t6\t6\t0");
    CHECK(!compare() && c.rows == 1 && c.last == 10);
}

TEST(what_is_no_comparison)
{
    put("log.tsv", names, "10\t0\t8\t7\t7\t0.4\t2\t0\n");
    put("reference", names, "20\t0\t7\t6\t6\t0.3\t2\t0\n");
    CHECK(compare() == -1 && says("no update in common"));
    put("reference", "update\tepoch\tloss\tce\tce_0\tce_1\tcqt_mse\tgrad_norm\n", "10\t0\t8\t7\t7\t7\t0.4\t2\n");
    CHECK(compare() == -1 && says("log.tsv: no column ce_1, as"));
    put("reference", "update\tepoch\tloss\tce\tcqt_mse\tgrad_norm\n", "10\t0\t8\t7\t0.4\t2\n");
    CHECK(compare() == -1 && says("reference: no column ce_0, as"));
    put("reference", names, "10\t0\t8\t7\t7\t0.4\t2\t0\n20\t0\tx\t6\t6\t0.3\t2\t0\n");
    CHECK(compare() == -1 && says("reference: line 3: column 3 (loss)"));
    put("reference", names, "10\t0\t8\t7\t7\t0.4\t2\n");
    CHECK(compare() == -1 && says("reference: line 2: column 7 (grad_norm)"));
    put("reference", names, "10\t0\t8\t7\t7\t0.4\t2\t0\t5\n");
    CHECK(compare() == -1 && says("reference: line 2: column 8 (lr)"));
    put("reference", "# nothing\n", "");
    CHECK(compare() == -1 && says("reference: line 1: empty"));
    put("reference", "one line\n", "");
    CHECK(compare() == -1 && says("not the log of a training run"));
    remove(test_tmp("reference"));
    CHECK(compare() == -1 && says("reference: No such file"));
}

int main(void)
{
    RUN(rows_of_the_same_update);
    RUN(the_first_that_left_its_band);
    RUN(nan_where_the_reference_has_one);
    RUN(validation_against_validation);
    RUN(a_last_line_without_end_is_still_being_written);
    RUN(what_is_no_comparison);
    return test_done();
}
