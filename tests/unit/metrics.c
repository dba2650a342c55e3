/* The rows of a run, in both forms, and the rows that are kept when it is resumed. */
#include "libcommon/train/monitor/metrics.h"

#include "formats/file.h"
#include "formats/json.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>

enum { K = 3 };

static mert_error e;
static char line[1024];

static mert_train_row a_row(int64_t update)
{
    mert_train_row r = {.update = update, .epoch = 2, .grad_norm = 1.5, .lr = 0.001, .seconds = 2, .waited = 0.5,
                        .audio_seconds = 8, .skipped = 1};
    r.sums = (mert_sums){.loss = 640 * log(2), .masked = 100, .batches = 4, .features_pen = 2, .cqt_mse = 1,
                         .largest_logit = -3.25};
    for (int k = 0; k < K - 1; k++) { /* the last codebook was not used */
        r.sums.ce[k] = 100 * (k + 3) * log(2);
        r.sums.counted[k] = 100;
        r.sums.correct[k] = 25 * (k + 1);
    }
    return r;
}

static mert_valid_row a_validation(int64_t update, const double *each)
{
    return (mert_valid_row){.update = update, .sums = a_row(update).sums, .entropy = each, .unigram = each,
                            .neighbours = each};
}

static char *read_file(const char *name)
{
    size_t size;
    return mert_file_read(test_tmp(name), 1 << 20, &size, NULL);
}

/* Line i of a file, in a buffer of its own. */
static const char *line_of(const char *name, int i)
{
    static char found[4096];
    char *text = read_file(name), *at = text;
    *found = 0;
    for (; at && i > 0; i--)
        at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL;
    if (at)
        snprintf(found, sizeof found, "%.*s", (int)strcspn(at, "\n"), at);
    free(text);
    return found;
}

static int is(const char *is, const char *expected)
{
    if (!strcmp(is, expected))
        return 1;
    printf("# '%s'\n# expected '%s'\n", is, expected);
    return 0;
}

static int write_both(int64_t from, int64_t last)
{
    static const double each[K] = {7, 6, 5};
    mert_metrics j;
    int bad = mert_metrics_open(&j, test_tmp(""), K, 0, from, &e);
    for (int64_t u = from + 1; !bad && u <= last; u++) {
        mert_train_row r = a_row(u);
        mert_valid_row v = a_validation(u, each);
        bad = mert_metrics_train(&j, &r, 10, line, sizeof line, &e) ||
              mert_metrics_valid(&j, &v, line + 500, sizeof line - 500, &e);
    }
    return mert_metrics_close(&j, &e) || bad;
}

TEST(rows_say_what_happened)
{
    CHECK(!write_both(0, 2));
    CHECK(is(line_of("log.tsv", 0),
             "update\tepoch\tloss\tce\tce_0\tce_1\tce_2\taccuracy_0\taccuracy_1\taccuracy_2\tfeatures_pen\tcqt_mse\t"
             "mel_mse\tmasked_frames\tgrad_norm\tlr\tattention_logit\taudio_seconds_per_second\twaiting\tskipped"));
    CHECK(is(line_of("log.tsv", 2),
             "2\t2\t6.4\t3.5\t3\t4\tnan\t0.25\t0.5\tnan\t0.5\t0.25\t0\t100\t1.5\t0.001\t-3.25\t4\t0.25\t1"));
    CHECK(is(line_of("valid.tsv", 1),
             "1\t6.4\t3.5\t3\t4\tnan\t0.25\t0.5\tnan\t7\t6\t5\t7\t6\t5\t7\t6\t5\t0.5\t0.25\t0\t100"));
    CHECK(strstr(line, "update 2 of 10: 3.500 bits") && strstr(line, "logit -3.25") && strstr(line, "25.0% waiting"));
}

TEST(lines_of_json_hold_the_same)
{
    mert_json *j;
    const char *text;
    int64_t update = 0, masked = 0;
    double ce = 0, logit = 0;
    CHECK(!write_both(0, 2));
    text = line_of("log.jsonl", 2);
    j = mert_json_parse(text, strlen(text), "line", &e);
    CHECK(j != NULL);
    CHECK(!mert_json_int(j, "update", &update) && update == 2 && is(mert_json_string(j, "kind"), "train"));
    CHECK(!mert_json_double(j, "ce", &ce) && ce == 3.5 && !mert_json_int(j, "masked_frames", &masked) && masked == 100);
    CHECK(!mert_json_double(j, "attention_logit", &logit) && logit == -3.25);
    CHECK(mert_json_size(mert_json_get(j, "ce_k")) == K && mert_json_size(mert_json_get(j, "accuracy_k")) == K);
    CHECK(!mert_json_as_double(mert_json_at(mert_json_get(j, "ce_k"), 1), &ce) && ce == 4);
    CHECK(mert_json_is_null(mert_json_at(mert_json_get(j, "ce_k"), 2)));
    mert_json_free(j);
    text = line_of("log.jsonl", 3);
    j = mert_json_parse(text, strlen(text), "line", &e);
    CHECK(j && is(mert_json_string(j, "kind"), "valid") && mert_json_size(mert_json_get(j, "neighbours_k")) == K);
    CHECK(!mert_json_get(j, "lr") && mert_json_size(mert_json_get(j, "entropy_k")) == K);
    mert_json_free(j);
}

TEST(a_resumed_run_writes_what_comes_after)
{
    static const char *const names[] = {"log.tsv", "valid.tsv", "log.jsonl"};
    char *whole[3], *parts[3];
    CHECK(!write_both(0, 6));
    for (int i = 0; i < 3; i++)
        whole[i] = read_file(names[i]);
    CHECK(!write_both(0, 5));
    for (int i = 0; i < 3; i++) { /* cut short in the middle of a row */
        FILE *f = fopen(test_tmp(names[i]), "a");
        CHECK(f && fputs(i == 2 ? "{\"update\":6,\"ki" : "6\t2\t6.", f) > 0 && !fclose(f));
    }
    CHECK(!write_both(3, 6));
    for (int i = 0; i < 3; i++) {
        parts[i] = read_file(names[i]);
        CHECK(whole[i] && parts[i] && is(parts[i], whole[i]));
        free(whole[i]);
        free(parts[i]);
    }
}

/* Changes the byte at the first occurrence of `at` in a file; returns the old byte, or -1. */
static int spoil(const char *name, const char *at, int byte)
{
    char *text = read_file(name), *place = text ? strstr(text, at) : NULL;
    FILE *f = place ? fopen(test_tmp(name), "r+") : NULL;
    int was = f && !fseek(f, place - text, SEEK_SET) ? *place : -1;
    if (!f || fputc(byte, f) != byte || fclose(f))
        was = -1;
    free(text);
    return was;
}

/* An invalid row is an error, and text after a zero byte is not lost. */
TEST(a_damaged_row_is_named)
{
    static const struct { const char *name, *at; int byte; } damage[] = {
        {"log.tsv", "\n2\t", '|'}, {"log.tsv", "\n3", 0}, {"valid.tsv", "\n3", 'x'}, {"valid.tsv", "\n4\t", '\t'},
        {"log.jsonl", "\"update\":2", '!'}, {"log.jsonl", "}\n", 0}, {"log.jsonl", "\n", 0}};
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        mert_metrics j;
        char *before, *after, where[64];
        snprintf(where, sizeof where, "%s:", damage[i].name);
        CHECK(!write_both(0, 5) && spoil(damage[i].name, damage[i].at, damage[i].byte) >= 0);
        before = strdup(line_of(damage[i].name, 4));
        CHECK(mert_metrics_open(&j, test_tmp(""), K, 0, 5, &e) == -1);
        CHECK(strstr(e.text, where) && strstr(e.text, "no row of a run"));
        after = strdup(line_of(damage[i].name, 4));
        CHECK(before && after && is(after, before));
        free(before);
        free(after);
        CHECK(!remove(test_tmp(damage[i].name)) && !mert_metrics_open(&j, test_tmp(""), K, 0, 5, &e));
        CHECK(!mert_metrics_close(&j, &e));
    }
}

TEST(a_log_of_other_columns_is_left_alone)
{
    mert_metrics j;
    char *before, *after;
    CHECK(!write_both(0, 3));
    before = read_file("log.tsv");
    CHECK(mert_metrics_open(&j, test_tmp(""), K + 1, 0, 3, &e) == -1 && strstr(e.text, "log.tsv: other columns"));
    after = read_file("log.tsv");
    CHECK(before && after && is(after, before));
    free(before);
    free(after);
    CHECK(!mert_metrics_open(&j, test_tmp(""), K + 1, 0, 0, &e) && !mert_metrics_close(&j, &e)); /* a new run */
}

TEST(a_log_that_cannot_be_read_is_not_begun_anew)
{
    mert_metrics j;
    CHECK(!write_both(0, 3) && !remove(test_tmp("log.tsv")) && !mkdir(test_tmp("log.tsv"), 0777));
    CHECK(mert_metrics_open(&j, test_tmp(""), K, 0, 3, &e) == -1 && strstr(e.text, "log.tsv: cannot read: "));
    CHECK(!rmdir(test_tmp("log.tsv")));
    CHECK(!mert_metrics_open(&j, test_tmp(""), K, 0, 3, &e) && !mert_metrics_close(&j, &e)); /* a missing file */
}

int main(void)
{
    RUN(rows_say_what_happened);
    RUN(lines_of_json_hold_the_same);
    RUN(a_resumed_run_writes_what_comes_after);
    RUN(a_damaged_row_is_named);
    RUN(a_log_of_other_columns_is_left_alone);
    RUN(a_log_that_cannot_be_read_is_not_begun_anew);
    return test_done();
}
