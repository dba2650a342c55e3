#include "journal.h"

#include "../../formats/file.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 1 << 30 };

/* ---- files ---- */

static void write_names(FILE *f, int K, int valid)
{
    fputs(valid ? "update\tloss\tce" : "update\tepoch\tloss\tce", f);
    for (int k = 0; k < K; k++)
        fprintf(f, "\tce_%d", k);
    for (int k = 0; k < K; k++)
        fprintf(f, "\taccuracy_%d", k);
    for (int k = 0; valid && k < K; k++)
        fprintf(f, "\tentropy_%d", k);
    for (int k = 0; valid && k < K; k++)
        fprintf(f, "\tunigram_%d", k);
    for (int k = 0; valid && k < K; k++)
        fprintf(f, "\tneighbours_%d", k);
    fputs("\tfeatures_pen\tcqt_mse\tmel_mse\tmasked_frames", f);
    fputs(valid ? "\n" : "\tgrad_norm\tlr\taudio_seconds_per_second\twaiting\tskipped\n", f);
}

/* The names, and of what is there already the rows up to `update`. */
static int rewrite(const char *path, int K, int valid, int64_t update, mert_error *e)
{
    size_t size;
    char *text = update > 0 ? mert_file_read(path, FILE_MAX, &size, NULL) : NULL, *next;
    mert_output *o = mert_output_open(path, e);
    if (!o) {
        free(text);
        return -1;
    }
    write_names(o->stream, K, valid);
    for (char *line = text; line && *line; line = next) {
        char *end;
        long long number = strtoll(line, &end, 10);
        next = strchr(line, '\n');
        if (!next)
            break; /* cut short by whatever ended the run */
        next++;
        if (end != line && *end == '\t' && number <= update)
            fwrite(line, 1, (size_t)(next - line), o->stream);
    }
    free(text);
    return mert_output_commit(o, e);
}

static FILE *append(const char *path, mert_error *e)
{
    FILE *f = fopen(path, "a");
    if (!f)
        mert_fail(e, "%s: %s", path, strerror(errno));
    return f;
}

int mert_journal_open(mert_journal *j, const char *save, int K, int64_t update, mert_error *e)
{
    memset(j, 0, sizeof *j);
    j->K = K;
    j->log_path = mert_path_join(save, "log.tsv");
    j->valid_path = mert_path_join(save, "valid.tsv");
    if (!j->log_path || !j->valid_path)
        mert_fail(e, "out of memory");
    else if (!rewrite(j->log_path, K, 0, update, e) && !rewrite(j->valid_path, K, 1, update, e) &&
             (j->log = append(j->log_path, e)) && (j->valid = append(j->valid_path, e)))
        return 0;
    mert_journal_close(j, NULL);
    return -1;
}

int mert_journal_close(mert_journal *j, mert_error *e)
{
    int bad = 0;
    if (j->log && fclose(j->log))
        bad = mert_fail(e, "%s: cannot write: %s", j->log_path, strerror(errno));
    if (j->valid && fclose(j->valid))
        bad = mert_fail(e, "%s: cannot write: %s", j->valid_path, strerror(errno));
    free(j->log_path);
    free(j->valid_path);
    memset(j, 0, sizeof *j);
    return bad;
}

static int finish_row(FILE *f, const char *path, mert_error *e)
{
    fputc('\n', f);
    return fflush(f) || ferror(f) ? mert_fail(e, "%s: cannot write: %s", path, strerror(errno)) : 0;
}

/* ---- numbers ---- */

static double bits(double nats, int64_t n)
{
    return n ? nats / (double)n / log(2) : NAN;
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

double mert_sums_bits(const mert_sums *s, int K)
{
    double sum = 0;
    int heard = 0;
    for (int k = 0; k < K; k++)
        if (s->counted[k]) {
            sum += bits(s->ce[k], s->counted[k]);
            heard++;
        }
    return heard ? sum / heard : NAN;
}

static double mean_accuracy(const mert_sums *s, int K)
{
    int64_t correct = 0, counted = 0;
    for (int k = 0; k < K; k++) {
        correct += s->correct[k];
        counted += s->counted[k];
    }
    return share(correct, counted);
}

static double mean(double sum, int64_t batches)
{
    return batches ? sum / (double)batches : NAN;
}

static void write_losses(FILE *f, const mert_sums *s, int K)
{
    fprintf(f, "\t%.6g\t%.6g", bits(s->loss, s->masked), mert_sums_bits(s, K));
    for (int k = 0; k < K; k++)
        fprintf(f, "\t%.6g", bits(s->ce[k], s->counted[k]));
    for (int k = 0; k < K; k++)
        fprintf(f, "\t%.6g", share(s->correct[k], s->counted[k]));
}

static void write_rest(FILE *f, const mert_sums *s)
{
    fprintf(f, "\t%.6g\t%.6g\t%.6g\t%lld", mean(s->features_pen, s->batches), mean(s->cqt_mse, s->batches),
            mean(s->mel_mse, s->batches), (long long)s->masked);
}

/* ---- the line for people ---- */

typedef struct text {
    char *to;
    size_t size, used;
} text;

static void add(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(text *t, const char *format, ...)
{
    va_list ap;
    int n;
    if (t->used >= t->size)
        return;
    va_start(ap, format);
    n = vsnprintf(t->to + t->used, t->size - t->used, format, ap);
    va_end(ap);
    t->used += n > 0 ? (size_t)n : 0;
}

/* "5.21 bits (4.90 5.52) of 7.93 (7.81 8.05), 12.3% right": reference: what a guess would score; NULL: not said. */
static void add_losses(text *t, const mert_sums *s, int K, const double *reference)
{
    double sum = 0;
    add(t, "%.3f bits", mert_sums_bits(s, K));
    for (int k = 0; K > 1 && K <= 8 && k < K; k++)
        add(t, "%s%.2f%s", k ? " " : " (", bits(s->ce[k], s->counted[k]), k == K - 1 ? ")" : "");
    for (int k = 0; reference && k < K; k++)
        sum += reference[k];
    if (reference)
        add(t, ", a guess %.3f", sum / K);
    for (int k = 0; reference && K > 1 && K <= 8 && k < K; k++)
        add(t, "%s%.2f%s", k ? " " : " (", reference[k], k == K - 1 ? ")" : "");
    add(t, ", %.1f%% right", 100 * mean_accuracy(s, K));
    if (s->cqt_mse != 0)
        add(t, ", cqt %.4g", mean(s->cqt_mse, s->batches));
    if (s->mel_mse != 0)
        add(t, ", mel %.4g", mean(s->mel_mse, s->batches));
}

int mert_journal_train(mert_journal *j, const mert_train_row *r, int64_t last_update, char *line, size_t size,
                       mert_error *e)
{
    text t = {line, size, 0};
    double speed = r->seconds > 0 ? r->audio_seconds / r->seconds : 0,
           waiting = r->seconds > 0 ? r->waited / r->seconds : 0;
    fprintf(j->log, "%lld\t%lld", (long long)r->update, (long long)r->epoch);
    write_losses(j->log, &r->sums, j->K);
    write_rest(j->log, &r->sums);
    fprintf(j->log, "\t%.6g\t%.6g\t%.4g\t%.4g\t%lld", r->grad_norm, r->lr, speed, waiting, (long long)r->skipped);
    add(&t, "update %lld of %lld: ", (long long)r->update, (long long)last_update);
    add_losses(&t, &r->sums, j->K, NULL);
    add(&t, ", norm %.3g, lr %.3g, %.3g s/s, %.1f%% waiting", r->grad_norm, r->lr, speed, 100 * waiting);
    if (r->skipped)
        add(&t, ", %lld skipped", (long long)r->skipped);
    return finish_row(j->log, j->log_path, e);
}

int mert_journal_valid(mert_journal *j, const mert_valid_row *r, char *line, size_t size, mert_error *e)
{
    text t = {line, size, 0};
    fprintf(j->valid, "%lld", (long long)r->update);
    write_losses(j->valid, &r->sums, j->K);
    for (int k = 0; k < j->K; k++)
        fprintf(j->valid, "\t%.6g", r->entropy[k]);
    for (int k = 0; k < j->K; k++)
        fprintf(j->valid, "\t%.6g", r->unigram[k]);
    for (int k = 0; k < j->K; k++)
        fprintf(j->valid, "\t%.6g", r->neighbours[k]);
    write_rest(j->valid, &r->sums);
    add(&t, "update %lld, validation: ", (long long)r->update);
    add_losses(&t, &r->sums, j->K, r->entropy);
    add(&t, ", neighbours");
    for (int k = 0; k < j->K && k < 8; k++)
        add(&t, " %.2f", r->neighbours[k]);
    return finish_row(j->valid, j->valid_path, e);
}
