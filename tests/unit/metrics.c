/* The rows of a run, in both forms, and the rows that are kept when it is resumed. */
#include "libcommon/train/monitor/metrics.h"

#include "formats/file.h"
#include "formats/json.h"
#include "tests/test.h"

#include <sys/stat.h>
#include <unistd.h>

enum { K = 3 };

static const mert_metrics_kind kind = {.K = K}, more = {.K = K + 1}, all = {.K = K, .scaled = 1, .norms = 5};
static mert_error e;
static char line[1024];

static mert_train_row a_row(int64_t update)
{
    static const int64_t used[K] = {16, 3, 0};
    mert_train_row r = {.update = update, .epoch = 2, .grad_norm = 1.5, .lr = 0.001, .seconds = 2, .waited = 0.5,
                        .audio_seconds = 8, .skipped = 1, .used = used, .hours_heard = 0.5, .wall_seconds = 12.5,
                        .eta_seconds = 11400, .time = 1764517717};
    r.sums = (mert_sums){.loss = 1500 * log(2), .masked_loss = 640 * log(2), .masked = 100, .sample_size = 300,
                         .batches = 4, .features_pen = 2, .cqt_mse = 1, .largest_logit = -3.25};
    for (int k = 0; k < K - 1; k++) { /* the last codebook was not used */
        r.sums.ce[k] = 100 * (k + 3) * log(2);
        r.sums.counted[k] = 100;
        r.sums.correct[k] = 25 * (k + 1);
        r.sums.unmasked_ce[k] = 200 * (k + 1) * log(2);
        r.sums.unmasked_counted[k] = 200;
        r.sums.unmasked_correct[k] = 100;
    }
    return r;
}

static mert_valid_row a_validation(int64_t update, const double *each)
{
    return (mert_valid_row){.update = update, .sums = a_row(update).sums, .entropy = each, .unigram = each,
                            .neighbours = each, .used = a_row(update).used, .hours_heard = 0.5};
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
    int bad = mert_metrics_open(&j, test_tmp(""), &kind, from, &e);
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
             "mel_mse\tmasked_frames\tgrad_norm\tlr\tattention_logit\taudio_seconds_per_second\twaiting\tskipped\t"
             "objective\tunmasked_ce\tunmasked_ce_0\tunmasked_ce_1\tunmasked_ce_2\tunmasked_accuracy_0\t"
             "unmasked_accuracy_1\tunmasked_accuracy_2\tused_0\tused_1\tused_2\thours_heard\twall_seconds\ttime\t"
             "updates_left\teta_seconds"));
    CHECK(is(line_of("log.tsv", 2),
             "2\t2\t6.4\t3.5\t3\t4\tnan\t0.25\t0.5\tnan\t0.5\t0.25\t0\t100\t1.5\t0.001\t-3.25\t4\t0.25\t1\t"
             "5\t1.5\t1\t2\tnan\t0.5\t0.5\tnan\t16\t3\t0\t0.5\t12.5\t2025-11-30T15:48:37Z\t8\t11400"));
    CHECK(is(line_of("valid.tsv", 1),
             "1\t6.4\t3.5\t3\t4\tnan\t0.25\t0.5\tnan\t7\t6\t5\t7\t6\t5\t7\t6\t5\t0.5\t0.25\t0\t100\t16\t3\t0\t0.5"));
    CHECK(strstr(line, "update 2 of 10: 3.500 bits") && strstr(line, "logit -3.25") && strstr(line, "25.0% waiting"));
    CHECK(strstr(line, ", loss 6.4 (unmasked 1.500 bits), ") && strstr(line, ", 3 h 10 min left"));
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
    CHECK(is(mert_json_string(j, "time"), "2025-11-30T15:48:37Z") && mert_json_size(mert_json_get(j, "used_k")) == K);
    CHECK(!mert_json_double(j, "unmasked_ce", &ce) && ce == 1.5);
    CHECK(!mert_json_as_double(mert_json_at(mert_json_get(j, "unmasked_ce_k"), 1), &ce) && ce == 2);
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
        CHECK(mert_metrics_open(&j, test_tmp(""), &kind, 5, &e) == -1);
        CHECK(strstr(e.text, where) && strstr(e.text, "no row of a run"));
        after = strdup(line_of(damage[i].name, 4));
        CHECK(before && after && is(after, before));
        free(before);
        free(after);
        CHECK(!remove(test_tmp(damage[i].name)) && !mert_metrics_open(&j, test_tmp(""), &kind, 5, &e));
        CHECK(!mert_metrics_close(&j, &e));
    }
}

TEST(a_log_of_other_columns_is_left_alone)
{
    mert_metrics j;
    char *before, *after;
    CHECK(!write_both(0, 3));
    before = read_file("log.tsv");
    CHECK(mert_metrics_open(&j, test_tmp(""), &more, 3, &e) == -1 && strstr(e.text, "log.tsv: other columns"));
    after = read_file("log.tsv");
    CHECK(before && after && is(after, before));
    free(before);
    free(after);
    CHECK(!mert_metrics_open(&j, test_tmp(""), &more, 0, &e) && !mert_metrics_close(&j, &e)); /* a new run */
}

/* Cuts each line of a file after n columns, as an older version wrote it. */
static int cut_columns(const char *name, int n)
{
    char *text = read_file(name);
    FILE *f = text ? fopen(test_tmp(name), "w") : NULL;
    int at = 0, bad = !f;
    for (const char *c = text; !bad && *c; c++) {
        at = *c == '\n' ? 0 : at + (*c == '\t');
        if (at < n)
            fputc(*c, f);
    }
    free(text);
    return (f && fclose(f)) || bad;
}

TEST(a_log_of_fewer_columns_gets_the_others)
{
    CHECK(!write_both(0, 4) && !cut_columns("log.tsv", 20) && !cut_columns("valid.tsv", 22));
    CHECK(is(strrchr(line_of("log.tsv", 0), '\t'), "\tskipped"));
    CHECK(!write_both(3, 4));
    CHECK(is(strrchr(line_of("log.tsv", 0), '\t'), "\teta_seconds"));
    CHECK(is(line_of("log.tsv", 3),
             "3\t2\t6.4\t3.5\t3\t4\tnan\t0.25\t0.5\tnan\t0.5\t0.25\t0\t100\t1.5\t0.001\t-3.25\t4\t0.25\t1"
             "\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan\tnan"));
    CHECK(strstr(line_of("log.tsv", 4), "\t2025-11-30T15:48:37Z\t6\t11400"));
    CHECK(strstr(line_of("valid.tsv", 3), "\t0.25\t0\t100\tnan\tnan\tnan\tnan"));
}

/* A loss scale, and norms of a model of two layers. */
TEST(all_that_there_can_be)
{
    mert_norms n = {.n = 5, .gradient = {1, 2, 3, 4, 5}, .weight = {10, 20, 30, 40, 50}};
    mert_train_row r = a_row(1);
    mert_metrics j;
    mert_json *row;
    CHECK(!mert_metrics_open(&j, test_tmp(""), &all, 0, &e) && j.validated == -1);
    CHECK(!mert_metrics_train(&j, &r, 10, line, sizeof line, &e) && !mert_metrics_norms(&j, 1, &n, &e));
    CHECK(!mert_metrics_close(&j, &e));
    CHECK(strstr(line_of("log.tsv", 0), "\tskipped\tloss_scale\toverflows\tobjective\t"));
    CHECK(is(line_of("norms.tsv", 0), "update\tgradient_extractor\tgradient_input\tgradient_layer_0\tgradient_layer_1\t"
                                      "gradient_heads\tweight_extractor\tweight_input\tweight_layer_0\t"
                                      "weight_layer_1\tweight_heads"));
    CHECK(is(line_of("norms.tsv", 1), "1\t1\t2\t3\t4\t5\t10\t20\t30\t40\t50"));
    row = mert_json_parse(line_of("log.jsonl", 1), strlen(line_of("log.jsonl", 1)), "line", &e);
    CHECK(row && is(mert_json_string(row, "kind"), "norms"));
    CHECK(mert_json_size(mert_json_get(row, "weight_layer_k")) == 2);
    mert_json_free(row);
    CHECK(!write_both(0, 3) && !mert_metrics_open(&j, test_tmp(""), &kind, 2, &e) && j.validated == 2);
    CHECK(!mert_metrics_close(&j, &e));
}

TEST(a_log_that_cannot_be_read_is_not_begun_anew)
{
    mert_metrics j;
    CHECK(!write_both(0, 3) && !remove(test_tmp("log.tsv")) && !mkdir(test_tmp("log.tsv"), 0777));
    CHECK(mert_metrics_open(&j, test_tmp(""), &kind, 3, &e) == -1 && strstr(e.text, "log.tsv: cannot read: "));
    CHECK(!rmdir(test_tmp("log.tsv")));
    CHECK(!mert_metrics_open(&j, test_tmp(""), &kind, 3, &e) && !mert_metrics_close(&j, &e)); /* a missing file */
}

int main(void)
{
    RUN(rows_say_what_happened);
    RUN(lines_of_json_hold_the_same);
    RUN(a_resumed_run_writes_what_comes_after);
    RUN(a_damaged_row_is_named);
    RUN(a_log_of_other_columns_is_left_alone);
    RUN(a_log_of_fewer_columns_gets_the_others);
    RUN(all_that_there_can_be);
    RUN(a_log_that_cannot_be_read_is_not_begun_anew);
    return test_done();
}
