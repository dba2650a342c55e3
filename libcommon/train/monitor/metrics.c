#include "libcommon/train/monitor/metrics.h"

#include "formats/file.h"
#include "formats/json.h"
#include "formats/memory.h"
#include "libcommon/train/monitor/metrics_row.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 30 };

typedef mert_column column;
typedef mert_row row;

/* ---- numbers ---- */

static double bits(double nats, int64_t n)
{
    return n ? nats / (double)n / log(2) : NAN;
}

static double share(int64_t part, int64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

/* Mean cross entropy over the codebooks, in bits per frame and codebook. */
static double mean_bits(const double *ce, const int64_t *counted, int K)
{
    double sum = 0;
    int heard = 0;
    for (int k = 0; k < K; k++)
        if (counted[k]) {
            sum += bits(ce[k], counted[k]);
            heard++;
        }
    return heard ? sum / heard : NAN;
}

static double sums_bits(const mert_sums *s, int K)
{
    return mean_bits(s->ce, s->counted, K);
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

/* ---- rows: the same columns in both forms ---- */

static void put(row *r, const char *name, int digits, double value)
{
    r->column[r->n++] = (column){name, -1, digits, value, NULL, 0};
}

static void put_clock(row *r, const char *name, int digits, double value, int clock)
{
    put(r, name, digits, value);
    r->column[r->n - 1].clock = clock;
}

static void put_one(row *r, const char *name, int k, int digits, double value)
{
    r->column[r->n++] = (column){name, k, digits, value, NULL, 0};
}

static void put_losses(row *r, const mert_sums *s, int K)
{
    put(r, "loss", 6, bits(s->masked_loss, s->masked));
    put(r, "ce", 6, sums_bits(s, K));
    for (int k = 0; k < K; k++)
        put_one(r, "ce", k, 6, bits(s->ce[k], s->counted[k]));
    for (int k = 0; k < K; k++)
        put_one(r, "accuracy", k, 6, share(s->correct[k], s->counted[k]));
}

/* The objective, and the part of it from unmasked frames, which validation does not have. */
static void put_unmasked(row *r, const mert_sums *s, int K)
{
    put(r, "objective", 6, bits(s->loss, s->sample_size));
    put(r, "unmasked_ce", 6, mean_bits(s->unmasked_ce, s->unmasked_counted, K));
    for (int k = 0; k < K; k++)
        put_one(r, "unmasked_ce", k, 6, bits(s->unmasked_ce[k], s->unmasked_counted[k]));
    for (int k = 0; k < K; k++)
        put_one(r, "unmasked_accuracy", k, 6, share(s->unmasked_correct[k], s->unmasked_counted[k]));
}

static void put_used(row *r, const int64_t *used, int K)
{
    for (int k = 0; k < K; k++)
        put_one(r, "used", k, 0, used ? (double)used[k] : NAN);
}

/* UTC, as 2026-11-30T15:48:37Z. */
static void put_time(row *r, int64_t seconds)
{
    time_t t = (time_t)seconds;
    struct tm utc;
    if (!gmtime_r(&t, &utc) || !strftime(r->time, sizeof r->time, "%Y-%m-%dT%H:%M:%SZ", &utc))
        snprintf(r->time, sizeof r->time, "nan");
    put_clock(r, "time", 0, NAN, MERT_TIME);
    r->column[r->n - 1].text = r->time;
}

static void put_each(row *r, const char *name, const double *values, int K)
{
    for (int k = 0; k < K; k++)
        put_one(r, name, k, 6, values ? values[k] : 0);
}

static void put_rest(row *r, const mert_sums *s)
{
    put(r, "features_pen", 6, mean(s->features_pen, s->batches));
    put(r, "cqt_mse", 6, mean(s->cqt_mse, s->batches));
    put(r, "mel_mse", 6, mean(s->mel_mse, s->batches));
    put(r, "masked_frames", 0, (double)s->masked);
}

static void put_examples(row *r, double loss, double examples)
{
    put(r, "loss", 6, examples > 0 ? loss / examples : NAN);
    put(r, "examples", 0, examples);
}

static double per_second(double x, const mert_train_row *r)
{
    return r->seconds > 0 ? x / r->seconds : 0;
}

static void train_row(row *to, const mert_train_row *r, int64_t last_update, const mert_metrics_kind *kind)
{
    int K = kind->K;
    to->n = 0;
    put(to, "update", 0, (double)r->update);
    put(to, "epoch", 0, (double)r->epoch);
    if (kind->task) {
        put_examples(to, r->sums.loss, (double)r->sums.examples);
        put(to, "accuracy", 6,
            kind->task->task->kind == MERT_PROBE_CLASSIFY ? share(r->sums.right, r->sums.examples) : NAN);
    } else {
        put_losses(to, &r->sums, K);
        put_rest(to, &r->sums);
    }
    put(to, "grad_norm", 6, r->grad_norm);
    put(to, "lr", 6, r->lr);
    put(to, "attention_logit", 6, r->sums.batches ? r->sums.largest_logit : NAN);
    put_clock(to, "audio_seconds_per_second", 4, per_second(r->audio_seconds, r), MERT_SPEED);
    put_clock(to, "waiting", 4, per_second(r->waited, r), MERT_SHARE);
    put(to, "skipped", 0, (double)r->skipped);
    if (kind->scaled) {
        put(to, "loss_scale", 6, r->loss_scale);
        put(to, "overflows", 0, (double)r->overflows);
    }
    if (!kind->task) {
        put_unmasked(to, &r->sums, K);
        put_used(to, r->used, K);
    }
    put(to, "hours_heard", 6, r->hours_heard);
    put_clock(to, "wall_seconds", 7, r->wall_seconds, MERT_TIME);
    put_time(to, r->time);
    put(to, "updates_left", 0, (double)(last_update - r->update));
    put_clock(to, "eta_seconds", 6, r->eta_seconds, MERT_TIME);
}

static void answers_row(row *to, const mert_valid_row *r, const mert_task_answers *names)
{
    const mert_task_answers *a = r->answers;
    put_examples(to, a ? a->loss : 0, a ? a->heard : 0);
    for (int i = 0; i < names->scores; i++)
        put(to, names->names[i], 6, a ? a->value[i] : 0);
    put(to, "hours_heard", 6, r->hours_heard);
}

static void valid_row(row *to, const mert_valid_row *r, const mert_metrics_kind *kind)
{
    int K = kind->K;
    to->n = 0;
    put(to, "update", 0, (double)r->update);
    if (kind->task) {
        answers_row(to, r, kind->task);
        return;
    }
    put_losses(to, &r->sums, K);
    put_each(to, "entropy", r->entropy, K);
    put_each(to, "unigram", r->unigram, K);
    put_each(to, "neighbours", r->neighbours, K);
    put_rest(to, &r->sums);
    put_used(to, r->used, K);
    put(to, "hours_heard", 6, r->hours_heard);
}

/* The groups of parameter_groups.h: extractor, input of the layers, layers, heads. */
static void put_norms(row *r, const char *const names[4], const double *norm, int groups)
{
    put(r, names[0], 6, norm[0]);
    put(r, names[1], 6, norm[1]);
    for (int k = 0; k < groups - 3; k++)
        put_one(r, names[2], k, 6, norm[2 + k]);
    put(r, names[3], 6, norm[groups - 1]);
}

static void norms_row(row *to, int64_t update, const mert_norms *n, int groups)
{
    static const char *const gradient[] = {"gradient_extractor", "gradient_input", "gradient_layer", "gradient_heads"};
    static const char *const weight[] = {"weight_extractor", "weight_input", "weight_layer", "weight_heads"};
    to->n = 0;
    put(to, "update", 0, (double)update);
    put_norms(to, gradient, n->gradient, groups);
    put_norms(to, weight, n->weight, groups);
}

/* ---- files ---- */

static int64_t tabs(const char *line, const char *end)
{
    int64_t n = 0;
    for (; line < end; line++)
        n += *line == '\t';
    return n;
}

/* The update of a row (from `line` to its newline); -1: not a row. names: as in rewrite. */
static int64_t update_of(const char *line, const char *newline, const char *names)
{
    static const char before[] = "{\"update\":";
    size_t skip = names ? 0 : sizeof before - 1;
    char *end;
    long long n;
    if (names ? tabs(line, newline) != tabs(names, names + strlen(names))
              : newline - line < 20 || strncmp(line, before, skip) ||
                    memchr(line, '}', (size_t)(newline - line)) != newline - 1)
        return -1;
    n = strtoll(line + skip, &end, 10);
    return end != line + skip && (*end == '\t' || *end == ',') && n >= 0 ? n : -1;
}

/* Copies the rows of text[0..size) up to `update`, without an incomplete last row. names: those of the rows; added:
 * number of columns that they get. *newest becomes the update of the last one. */
static int copy_rows(const char *text, size_t size, const char *path, const char *names, int64_t added, int64_t update,
                     FILE *to, int64_t *newest, mert_error *e)
{
    const char *line = text, *newline, *end = text + size;
    for (int number = 1; line < end && (newline = memchr(line, '\n', (size_t)(end - line))); number++) {
        int64_t n = names && number == 1 ? update + 1 : update_of(line, newline, names);
        if (n < 0)
            return mert_fail(e, "%s:%d: is no row of a run, so it is damaged: move the file away, and the run goes on",
                             path, number);
        if (n <= update) {
            *newest = n;
            fwrite(line, 1, (size_t)(newline - line), to);
            for (int64_t i = 0; i < added; i++)
                fputs("\tnan", to);
            fputc('\n', to);
        }
        line = newline + 1;
    }
    return 0;
}

/* The names in the first line of `text`, in a copy with its line end, if they are the first of `names`; NULL: others,
 * or no memory. */
static char *older_names(const char *text, const char *names)
{
    size_t n = strcspn(text, "\n");
    return text[n] && !strncmp(text, names, n) && (names[n] == '\t' || names[n] == '\n') ? strndup(text, n + 1) : NULL;
}

/* Writes the names (NULL: JSON) and the existing rows up to `update`. *newest: of the last of these; -1: none. */
static int rewrite(const char *path, const char *names, int64_t update, int64_t *newest, mert_error *e)
{
    size_t size = 0;
    char *text = NULL, *had = NULL;
    int bad = 0;
    mert_output *o;
    *newest = -1;
    if (update > 0 && (!access(path, F_OK) || errno != ENOENT) && !(text = mert_file_read(path, FILE_MAX, &size, e)))
        return -1; /* its rows must not be lost */
    if (text && names && *text && !(had = older_names(text, names))) {
        free(text);
        return mert_fail(e, "%s: other columns than this version writes: move it away, and the run goes on", path);
    }
    o = mert_output_open(path, e);
    if (o && names)
        fputs(names, o->stream);
    bad = !o || (text && copy_rows(text, size, path, had,
                                   had ? tabs(names, names + strlen(names)) - tabs(had, had + strlen(had)) : 0, update,
                                   o->stream, newest, e));
    if (o && bad)
        mert_output_abandon(o);
    free(had);
    free(text);
    return bad ? -1 : mert_output_commit(o, e);
}

static int open_file(mert_metrics_file *f, const char *save, const char *name, const row *names, int64_t update,
                     int64_t *newest, mert_error *e)
{
    mert_memory m;
    FILE *memory = names ? mert_memory_open(&m) : NULL;
    char *text;
    int bad;
    f->path = mert_path_join(save, name);
    if (memory)
        mert_row_names(memory, names);
    text = mert_memory_close(memory, &m);
    bad = !f->path || (names && !text) ? mert_fail(e, "out of memory") : rewrite(f->path, text, update, newest, e);
    free(text);
    if (!bad && !(f->stream = fopen(f->path, "a")))
        bad = mert_fail(e, "%s: %s", f->path, strerror(errno));
    return bad;
}

static int open_events(mert_events *v, const char *save, int64_t update, mert_error *e)
{
    char *folder = mert_path_join(save, "tensorboard");
    int bad = folder ? mert_events_open(v, folder, update, e) : mert_fail(e, "out of memory");
    free(folder);
    return bad;
}

int mert_metrics_open(mert_metrics *j, const char *save, const mert_metrics_kind *kind, int64_t update, mert_error *e)
{
    row train, valid, norms;
    int64_t newest;
    memset(j, 0, sizeof *j);
    j->kind = *kind;
    train_row(&train, &(mert_train_row){0}, 0, kind);
    valid_row(&valid, &(mert_valid_row){0}, kind);
    if (kind->norms)
        norms_row(&norms, 0, &(mert_norms){0}, kind->norms);
    if (!open_file(&j->log, save, "log.tsv", &train, update, &newest, e) &&
        !open_file(&j->valid, save, "valid.tsv", &valid, update, &j->validated, e) &&
        (!kind->norms || !open_file(&j->norms, save, "norms.tsv", &norms, update, &newest, e)) &&
        !open_file(&j->json, save, "log.jsonl", NULL, update, &newest, e) &&
        (!kind->events || !open_events(&j->events, save, update, e)))
        return 0;
    (void)!mert_metrics_close(j, NULL);
    return -1;
}

int mert_metrics_close(mert_metrics *j, mert_error *e)
{
    mert_metrics_file *files[] = {&j->log, &j->valid, &j->norms, &j->json};
    int bad = mert_events_close(&j->events, e);
    for (int i = 0; i < 4; i++) {
        if (files[i]->stream && fclose(files[i]->stream))
            bad = mert_fail(e, "%s: cannot write: %s", files[i]->path, strerror(errno));
        free(files[i]->path);
    }
    memset(j, 0, sizeof *j);
    return bad;
}

static int flush(const mert_metrics_file *f, mert_error *e)
{
    return fflush(f->stream) || ferror(f->stream) ? mert_fail(e, "%s: cannot write: %s", f->path, strerror(errno)) : 0;
}

/* "train/ce_0"; the update is the step. */
static int write_events(mert_events *v, const row *r, const char *kind, mert_error *e)
{
    char tag[96];
    for (int i = 1; v->stream && i < r->n; i++) {
        const column *c = &r->column[i];
        if (c->k < 0)
            snprintf(tag, sizeof tag, "%s/%s", kind, c->name);
        else
            snprintf(tag, sizeof tag, "%s/%s_%d", kind, c->name, c->k);
        mert_events_add(v, tag, c->value);
    }
    return mert_events_step(v, (int64_t)r->column[0].value, e);
}

static int write_row(mert_metrics *j, const mert_metrics_file *tsv, const row *r, const char *kind, mert_error *e)
{
    mert_row_tsv(tsv->stream, r);
    mert_row_json(j->json.stream, r, kind);
    return flush(tsv, e) || flush(&j->json, e) || write_events(&j->events, r, kind, e) ? -1 : 0;
}

/* ---- the line for users ---- */

typedef struct text {
    char *to;
    size_t size, used;
} text;

static void add(text *t, const char *format, ...) MERT_PRINTF(2, 3);

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

/* "5.21 bits (4.90 5.52) of 7.93 (7.81 8.05), 12.3% right": reference: the cost of a guess; NULL: none. */
static void add_losses(text *t, const mert_sums *s, int K, const double *reference)
{
    double sum = 0;
    add(t, "%.3f bits", sums_bits(s, K));
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

/* What the gradient is of. */
static void add_training(text *t, const mert_sums *s, int K)
{
    add_losses(t, s, K, NULL);
    add(t, ", loss %.4g", bits(s->masked_loss, s->masked));
    if (isfinite(mean_bits(s->unmasked_ce, s->unmasked_counted, K)))
        add(t, " (unmasked %.3f bits)", mean_bits(s->unmasked_ce, s->unmasked_counted, K));
}

static void add_examples(text *t, const mert_sums *s)
{
    add(t, "%" PRId64 " examples, loss %.4g", s->examples, s->examples ? s->loss / (double)s->examples : NAN);
    if (s->right)
        add(t, ", %.1f%% right", 100 * share(s->right, s->examples));
}

/* "2 d 3 h", "3 h 20 min", "4 min 10 s", "9 s" */
static void add_duration(text *t, double seconds)
{
    static const struct { const char *name; int64_t seconds; } units[] = {
        {"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};
    int64_t s = seconds < 1e15 ? (int64_t)(seconds + 0.5) : (int64_t)1e15;
    int i = 0;
    while (i < 3 && s < units[i].seconds)
        i++;
    add(t, "%" PRId64 " %s", s / units[i].seconds, units[i].name);
    if (i < 3)
        add(t, " %" PRId64 " %s", s % units[i].seconds / units[i + 1].seconds, units[i + 1].name);
}

int mert_metrics_train(mert_metrics *j, const mert_train_row *r, int64_t last_update, char *line, size_t size,
                       mert_error *e)
{
    text t = {line, size, 0};
    row columns;
    train_row(&columns, r, last_update, &j->kind);
    add(&t, "update %" PRId64 " of %" PRId64 ": ", r->update, last_update);
    if (j->kind.task)
        add_examples(&t, &r->sums);
    else
        add_training(&t, &r->sums, j->kind.K);
    add(&t, ", norm %.3g", r->grad_norm);
    if (!isnan(r->sums.largest_logit))
        add(&t, ", logit %.3g", r->sums.largest_logit);
    add(&t, ", lr %.3g, %.3g s/s, %.1f%% waiting", r->lr, per_second(r->audio_seconds, r), 100 * per_second(r->waited, r));
    if (r->skipped)
        add(&t, ", %" PRId64 " skipped", r->skipped);
    if (j->kind.scaled)
        add(&t, ", loss scale %.6g, %" PRId64 " overflows", r->loss_scale, r->overflows);
    if (r->update < last_update && isfinite(r->eta_seconds)) {
        add(&t, ", ");
        add_duration(&t, r->eta_seconds);
        add(&t, " left");
    }
    return write_row(j, &j->log, &columns, "train", e);
}

int mert_metrics_valid(mert_metrics *j, const mert_valid_row *r, char *line, size_t size, mert_error *e)
{
    text t = {line, size, 0};
    row columns;
    valid_row(&columns, r, &j->kind);
    add(&t, "update %" PRId64 ", validation: ", r->update);
    if (r->answers) {
        add(&t, "loss %.4g", r->answers->loss / r->answers->heard);
        for (int i = 0; i < r->answers->scores && i < 4; i++)
            add(&t, ", %s %.4f", r->answers->names[i], r->answers->value[i]);
        return write_row(j, &j->valid, &columns, "valid", e);
    }
    add_losses(&t, &r->sums, j->kind.K, r->entropy);
    add(&t, ", neighbours");
    for (int k = 0; k < j->kind.K && k < 8; k++)
        add(&t, " %.2f", r->neighbours[k]);
    return write_row(j, &j->valid, &columns, "valid", e);
}

int mert_metrics_norms(mert_metrics *j, int64_t update, const mert_norms *n, mert_error *e)
{
    row columns;
    norms_row(&columns, update, n, j->kind.norms);
    return write_row(j, &j->norms, &columns, "norms", e);
}

int mert_metrics_change(mert_metrics *j, const mert_change *c, mert_error *e)
{
    char *from = mert_json_quote(c->from), *to = mert_json_quote(c->to);
    int bad = !from || !to ? mert_fail(e, "out of memory") : 0;
    if (!bad)
        fprintf(j->json.stream,
                "{\"update\":%" PRId64 ",\"kind\":\"change\",\"name\":\"%s\",\"from\":%s,\"to\":%s}\n", c->update,
                c->name, from, to);
    free(from);
    free(to);
    return bad || flush(&j->json, e) ? -1 : 0;
}
