/* Measures how well labels can be predicted from frozen features, layer by layer.
 *
 *   in    features: hidden [T, layers, D] (pooled or not), or any others [T, D], all of the same kind and provenance
 *   out   a table: layer, metric, mean, min, max, n (over seeds); on request tables of predictions and of confusion
 *
 * The streams become one vector per layer and labelled item, span or frame (probe/instances.h), the table's labels
 * become targets (probe/targets.h), and every layer gets probes of its own (probe/probe.h). */
#include "formats/array.h"
#include "formats/file.h"
#include "formats/json.h"
#include "libcommon/probe/instances.h"
#include "libcommon/probe/linear.h"
#include "libcommon/probe/probe.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "tools/mert-probe/commands.h"
#include "tools/mert-probe/tables.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *labels, *column, *decay_list, *manifests[3], *predictions, *confusion, *layer, *output;
static int task, probe, chords, weighted, frames, per_item, json;
static int folds = 5, seeds = 5, epochs = 200, patience = 10, batch = 64;
static int64_t hidden = 512, max_frames = 10000, seed = 1;
static double lr = 1e-3, dropout = 0.25;
static const char *const tasks[] = {"classify", "multilabel", "regress", NULL};
static const char *const probes[] = {"linear", "mlp", NULL};
static const char *const chord_rules[] = {"as-written", "majmin", "thirds", NULL}; /* mert_chord_rule */
enum { DECAYS_MAX = 32 };
static double decays[DECAYS_MAX], net_decays[DECAYS_MAX];
static int n_decays, n_net_decays;

static const mert_option options[] = {
    {"labels", 'l', MERT_STRING, &labels, "FILE", 0, 0, NULL,
     "table of keys and labels, for items or time spans, or a folder of .lab files"},
    {"column", 0, MERT_STRING, &column, "NAME", 0, 0, NULL,
     "the column with the labels, if the first line of the table names its columns (default: label)"},
    {"task", 0, MERT_CHOICE, &task, "TASK", 0, 0, tasks, "one class, any number of labels, or numbers"},
    {"chords", 0, MERT_CHOICE, &chords, "RULE", 0, 0, chord_rules,
     "labels are chords: reduce them to root and major or minor"},
    {"probe", 0, MERT_CHOICE, &probe, "PROBE", 0, 0, probes, "linear, or with one hidden layer"},
    {"weighted", 0, MERT_FLAG, &weighted, NULL, 0, 0, NULL,
     "also probe a weighted sum of all layers, with trained weights"},
    {"frames", 0, MERT_FLAG, &frames, NULL, 0, 0, NULL, "probe single frames instead of means over items or spans"},
    {"max-frames", 0, MERT_INT64, &max_frames, "N", 1, 1e9, NULL,
     "number of frames that are used, as a uniform sample"},
    {"folds", 0, MERT_INT, &folds, "K", 3, 1000, NULL, "number of parts of the cross-validation"},
    {"train", 0, MERT_STRING, &manifests[MERT_PROBE_TRAIN], "MANIFEST", 0, 0, NULL,
     "train on the items of this manifest, instead of cross-validation"},
    {"valid", 0, MERT_STRING, &manifests[MERT_PROBE_VALID], "MANIFEST", 0, 0, NULL,
     "choose the decay with these items (default: a part of --train)"},
    {"test", 0, MERT_STRING, &manifests[MERT_PROBE_TEST], "MANIFEST", 0, 0, NULL, "test with these items"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "the first seed"},
    {"seeds", 0, MERT_INT, &seeds, "N", 1, 1000, NULL, "number of seeds, one after the other"},
    {"decay", 0, MERT_STRING, &decay_list, "LIST", 0, 0, NULL,
     "weight decays to choose from (default: see the page)"},
    {"hidden", 0, MERT_INT64, &hidden, "N", 1, 1 << 16, NULL, "units of the hidden layer (mlp)"},
    {"epochs", 0, MERT_INT, &epochs, "N", 1, 1e6, NULL,
     "maximum number of passes over the training part (mlp, weighted)"},
    {"patience", 0, MERT_INT, &patience, "N", 1, 1e6, NULL,
     "end training after N passes without a smaller validation loss (mlp, weighted)"},
    {"batch", 0, MERT_INT, &batch, "N", 1, 1 << 16, NULL, "instances of a step (mlp, weighted)"},
    {"lr", 0, MERT_DOUBLE, &lr, "X", 1e-9, 10, NULL, "learning rate (mlp, weighted)"},
    {"dropout", 0, MERT_DOUBLE, &dropout, "P", 0, 0.99, NULL,
     "probability that a hidden unit is left out in a step (mlp)"},
    {"per-item", 0, MERT_FLAG, &per_item, NULL, 0, 0, NULL,
     "average what is predicted for the spans or frames of an item, and score that"},
    {"predictions", 0, MERT_STRING, &predictions, "FILE", 0, 0, NULL, "also write the predictions for all test parts"},
    {"confusion", 0, MERT_STRING, &confusion, "FILE", 0, 0, NULL,
     "also write how often each class was predicted for each other"},
    {"layer", 0, MERT_STRING, &layer, "NAME", 0, 0, NULL,
     "the layer of --predictions, --confusion (default: all) and --output (default: the best)"},
    {"output", 'o', MERT_STRING, &output, "PROBE", 0, 0, NULL, "also train a probe on all rows and write it"},
    {"json", 0, MERT_FLAG, &json, NULL, 0, 0, NULL, "print JSON with the value of every seed instead of a table"},
    {0}};
static const mert_command commands[] = {
    {"apply", "[options] -m PROBE [FILE...]", "predict with a probe that -o has written", probe_apply_options,
     probe_apply},
    {0}};
static const mert_tool tool = {"mert-probe",
                               "train probes on the features of every layer, and score them",
                               "[options] --labels FILE [FILE...]\n"
                               "       mert-probe apply [options] -m PROBE [FILE...]",
                               "Reads streams of features (hidden, mfcc, chroma ...), writes a table of scores.",
                               options,
                               commands};

/* ---- what is printed ---- */

static void print_number(double x, const char *none)
{
    if (isnan(x))
        fputs(none, stdout);
    else
        printf("%.4f", x);
}

static void print_table(const mert_instances *in, const mert_probe_result *r)
{
    puts("layer\tmetric\tmean\tmin\tmax\tn");
    for (int64_t l = 0; l < r->lines; l++)
        for (int k = 0; k < r->scores; k++) {
            mert_probe_range s = mert_probe_result_range(r, l, k);
            const double three[] = {s.mean, s.min, s.max};
            printf("%s\t%s", probe_line_name(in, l), r->names[k]);
            for (int i = 0; i < 3; i++) {
                putchar('\t');
                print_number(three[i], "nan");
            }
            printf("\t%d\n", s.n);
        }
}

static int print_quoted(const char *s, mert_error *e)
{
    char *quoted = mert_json_quote(s);
    if (!quoted)
        return mert_fail(e, "'%.100s' cannot be written as JSON: out of memory, or no UTF-8", s);
    fputs(quoted, stdout);
    free(quoted);
    return 0;
}

static int print_json(const mert_instances *in, const mert_targets *g, const mert_probe_result *r, mert_error *e)
{
    printf("{\"task\": \"%s\", \"probe\": \"%s\", \"instances\": %" PRId64 ", \"groups\": %" PRId64
           ", \"rounds\": %d, \"seeds\": [",
           tasks[task], probes[probe], g->n, g->groups, r->rounds);
    for (int i = 0; i < r->seeds; i++)
        printf("%s%" PRId64, i ? ", " : "", seed + i);
    printf("]");
    for (int64_t c = 0; g->names && c < g->outputs; c++) {
        fputs(c ? ", " : ",\n \"classes\": [", stdout);
        if (print_quoted(g->names[c], e))
            return -1;
    }
    fputs(g->names ? "]" : "", stdout);
    for (int64_t l = 0; r->mixture && l < in->layers; l++)
        printf("%s%.4f", l ? ", " : ",\n \"mixture\": [", r->mixture[l]);
    fputs(r->mixture ? "],\n \"scores\": [" : ",\n \"scores\": [", stdout);
    for (int64_t l = 0; l < r->lines; l++)
        for (int k = 0; k < r->scores; k++) {
            fputs(l || k ? ",\n  {\"layer\": " : "\n  {\"layer\": ", stdout);
            if (print_quoted(probe_line_name(in, l), e))
                return -1;
            printf(", \"metric\": \"%s\", \"values\": [", r->names[k]);
            for (int i = 0; i < r->seeds; i++) {
                fputs(i ? ", " : "", stdout);
                print_number(r->value[(l * r->scores + k) * r->seeds + i], "null");
            }
            fputs("]}", stdout);
        }
    puts("]}");
    return 0;
}

static const char *const outputs_are[] = {"classes", "labels", "numbers"}; /* by task */

/* The line that is best by the task's first measure, of the first n lines. */
static int64_t best_line(const mert_probe_result *r, int64_t n)
{
    double best = mert_probe_result_range(r, 1, 0).mean;
    int64_t at = 1;
    for (int64_t l = 2; l <= n; l++) {
        double mean = mert_probe_result_range(r, l, 0).mean;
        if (isnan(best) || mean > best) {
            best = mean;
            at = l;
        }
    }
    return at;
}

/* A note for the user: the best layer by the task's first measure. */
static void say_best(const mert_instances *in, const mert_targets *g, const mert_probe_result *r)
{
    int64_t at = best_line(r, in->layers);
    mert_probe_range best = mert_probe_result_range(r, at, 0), guess = mert_probe_result_range(r, 0, 0);
    mert_log_note("%" PRId64 " %s of %" PRId64 " items or groups, %" PRId64
                  " %s; best %s: layer %s, %.3f (%.3f to %.3f over %d seed%s); a guess: %.3f",
                  g->n,
                  frames             ? "frames"
                  : in->table->spans ? "spans"
                                     : "items",
                  g->groups, g->outputs, outputs_are[g->task], r->names[0], probe_line_name(in, at), best.mean,
                  best.min, best.max, best.n, best.n == 1 ? "" : "s", guess.mean);
    if (r->mixture) {
        int64_t top = 0;
        for (int64_t l = 1; l < in->layers; l++)
            top = r->mixture[l] > r->mixture[top] ? l : top;
        mert_log_note("the mixture's largest share: layer %s, %.3f of 1", in->layer[top], r->mixture[top]);
    }
}

/* Notes, with counts: items without labels, labels without items, spans without frames. */
static void say_unmatched(const mert_instances *in)
{
    char text[2 * MTS_KEY_MAX] = "", what[3][128] = {"", "", ""};
    if (in->unknown)
        snprintf(what[0], sizeof what[0], "%" PRId64 " item%s without a row (the first: '%.60s'); ", in->unknown,
                 in->unknown == 1 ? "" : "s", in->first_unknown);
    if (in->missing)
        snprintf(what[1], sizeof what[1], "%" PRId64 " row%s without features; ", in->missing,
                 in->missing == 1 ? "" : "s");
    if (in->empty)
        snprintf(what[2], sizeof what[2], "%" PRId64 " span%s without a frame; ", in->empty, in->empty == 1 ? "" : "s");
    snprintf(text, sizeof text, "%s%s%s", what[0], what[1], what[2]);
    if (*text)
        mert_log_note("%s: %.*s", in->table->path, (int)strlen(text) - 2, text);
}

/* ---- the end of the input ---- */

static void show(int64_t done, int64_t all)
{
    mert_log_progress("%" PRId64 " of %" PRId64 " probes", done, all);
}

static int print_result(const mert_instances *in, const mert_targets *g, const mert_probe_result *r, mert_error *e)
{
    errno = 0;
    if (!json)
        print_table(in, r);
    else if (print_json(in, g, r, e))
        return -1;
    if (fflush(stdout) || ferror(stdout))
        return mert_fail(e, "cannot write to standard output: %s", strerror(errno ? errno : EIO));
    return 0;
}

/* Refuses a --layer that is no line of the result. */
static int check_layer(const mert_instances *in, mert_error *e)
{
    for (int64_t l = 1; layer && l <= in->layers + weighted; l++)
        if (!strcmp(layer, probe_line_name(in, l)))
            return 0;
    return layer ? mert_fail(e, "--layer: the features have no layer '%.31s': the first one is '%s'%s", layer,
                             probe_line_name(in, 1), weighted ? "" : " (and 'weighted' needs --weighted)")
                 : 0;
}

/* Trains a probe on all instances and writes it. */
static int save(const mert_instances *in, const mert_targets *g, const mert_probe_options *o,
                const mert_probe_result *r, mert_error *e)
{
    mert_trained t;
    int64_t line = 1;
    int bad;
    if (layer)
        while (strcmp(layer, probe_line_name(in, line)))
            line++;
    else
        line = best_line(r, r->lines - 1);
    if (mert_probe_train(&t, o, g, in->x, in->layers, in->width, line, e))
        return mert_fail_in(e, "%s", labels);
    t.features = in->features;
    t.frames = frames;
    t.layer = mert_array(t.layers, sizeof *t.layer);
    if (t.layer)
        memcpy(t.layer, t.layers > 1 ? in->layer : in->layer + (line > in->layers ? 0 : line - 1),
               (size_t)t.layers * sizeof *t.layer);
    bad = t.layer ? mert_trained_write(&t, output, e) : mert_fail(e, "out of memory");
    if (!bad)
        mert_log_note("%s: a probe for layer %s", output, probe_line_name(in, line));
    mert_trained_free(&t);
    return bad;
}

/* Trains and tests all probes, and writes the results. */
static int compute(mert_instances *in, const mert_targets *g, const mert_items *items, mert_error *e)
{
    probe_tables tables = {.predictions = predictions,
                           .confusion = confusion,
                           .layer = layer,
                           .in = in,
                           .items = items,
                           .outputs = {g->task, g->outputs, g->names}};
    mert_probe_options o = {.hidden = probe ? hidden : 0,
                            .weighted = weighted,
                            .folds = folds,
                            .seeds = seeds,
                            .seed = (uint64_t)seed,
                            .decays = {decays, n_decays},
                            .net_decays = {net_decays, n_net_decays},
                            .epochs = epochs,
                            .patience = patience,
                            .batch = batch,
                            .lr = lr,
                            .dropout = dropout,
                            .items = items,
                            .progress = show,
                            .answered = probe_tables_add,
                            .answered_self = &tables};
    mert_probe_result r = {0};
    int bad = probe_tables_open(&tables, items ? items->g.n : g->n, e);
    if (!bad) {
        bad = mert_probe_run(&r, &o, g, in->x, in->layers, in->width, e);
        mert_log_progress_end();
        if (bad && !tables.failed)
            mert_fail_in(e, "%s", labels);
    }
    bad = bad || probe_tables_commit(&tables, e);
    probe_tables_free(&tables);
    if (!bad && r.rare)
        mert_log_note("%s: %" PRId64 " of %" PRId64 " labels occur in fewer items or groups than there are folds",
                      labels, r.rare, g->outputs);
    bad = bad || (output && save(in, g, &o, &r, e)) || print_result(in, g, &r, e);
    if (!bad && mert_options.verbose) {
        say_best(in, g, &r);
        if (r.unfinished)
            mert_log_note("%" PRId64 " trainings were stopped after %d steps", r.unfinished, MERT_LINEAR_STEPS);
    }
    mert_probe_result_free(&r);
    return bad ? -1 : 0;
}

static int finish(void *self, mert_instances *in, mert_error *e)
{
    mert_targets g;
    mert_items items = {0};
    int bad;
    (void)self;
    say_unmatched(in);
    if (check_layer(in, e) || mert_targets_make(&g, (mert_probe_task)task, in->table, in->row, in->n, e))
        return -1;
    bad = (per_item && mert_items_make(&items, &g, in->table, in->row, e)) ||
          compute(in, &g, per_item ? &items : NULL, e);
    mert_items_free(&items);
    mert_targets_free(&g);
    return bad ? -1 : 0;
}

/* ---- options ---- */

static int descending(const void *a, const void *b)
{
    return (*(const double *)a < *(const double *)b) - (*(const double *)a > *(const double *)b);
}

static int read_decays(const char *list, double *to)
{
    const char *p = list;
    int n = 0;
    for (char *stop;; p = stop + 1) {
        double v = strtod(p, &stop);
        if (stop == p || (*stop && *stop != ',') || !(v >= 0 && v <= 1e6))
            mert_usage_error("--decay: '%s' is no list of numbers from 0 to 1e6", list);
        if (n == DECAYS_MAX)
            mert_usage_error("--decay: more than %d numbers", DECAYS_MAX);
        to[n++] = v;
        if (!*stop)
            break;
    }
    qsort(to, (size_t)n, sizeof *to, descending);
    return n;
}

static int reduce_chords(mert_probe_table *t, mert_error *e)
{
    int64_t out;
    if (!chords)
        return 0;
    if (mert_probe_table_chords(t, (mert_chord_rule)chords, &out, e))
        return -1;
    if (!t->n)
        return mert_fail(e, "%s: no chord is major, minor or N by this rule", labels);
    if (out)
        mert_log_note("%s: %" PRId64 " row%s of chords that --chords %s has no name for", labels, out,
                      out == 1 ? "" : "s", chord_rules[chords]);
    return 0;
}

/* Reads the table, and the split from manifests. */
static int read_table(mert_probe_table *t, mert_error *e)
{
    int64_t out;
    if (mert_input_note(labels, e))
        return -1;
    if (column && mert_path_is_directory(labels))
        return mert_fail(e, "%s: a folder of .lab files has no column '%s'", labels, column);
    if (mert_path_is_directory(labels) ? mert_probe_table_read_folder(t, labels, e)
                                       : mert_probe_table_read(t, labels, column, e))
        return -1;
    if (reduce_chords(t, e))
        return -1;
    if (!manifests[MERT_PROBE_TRAIN])
        return 0;
    if (t->splits)
        return mert_fail(e, "%s: has a column 'split': --train and --test would give another", labels);
    for (int p = MERT_PROBE_TRAIN; p <= MERT_PROBE_TEST; p++)
        if (manifests[p] && mert_probe_table_assign(t, manifests[p], (mert_probe_part)p, e))
            return -1;
    out = mert_probe_table_keep_parts(t);
    if (!t->n)
        return mert_fail(e, "%s: no key is an item of the manifests", labels);
    if (out)
        mert_log_note("%s: %" PRId64 " row%s of items that are in no manifest", labels, out, out == 1 ? "" : "s");
    return 0;
}

static int check_outputs(char **files, int n, mert_error *e)
{
    const char *const outputs[] = {predictions, confusion, output};
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++)
        if (outputs[i] && mert_output_check(outputs[i], files, n, e))
            return -1;
    return 0;
}

int main(int argc, char **argv)
{
    mert_probe_table table = {0};
    mert_instances in = {.table = &table};
    mert_filter f = {.stage = &mert_instances_stage, .self = &in, .no_output = 1};
    mert_error e;
    int status = 1;
    if (argc > 1 && !strcmp(argv[1], "apply"))
        return mert_tool_main(&tool, argc, argv);
    mert_options_parse(&tool, &argc, &argv);
    signal(SIGPIPE, SIG_DFL); /* if the reader of our output has ended, we end without a message, even if the parent
                                 ignored SIGPIPE */
    if (!labels)
        mert_usage_error("--labels FILE is needed");
    if (!manifests[MERT_PROBE_TRAIN] != !manifests[MERT_PROBE_TEST] ||
        (manifests[MERT_PROBE_VALID] && !manifests[MERT_PROBE_TRAIN]))
        mert_usage_error("--train and --test go together, --valid with them");
    if (chords && task != MERT_PROBE_CLASSIFY)
        mert_usage_error("--chords is for --task classify");
    if (confusion && task == MERT_PROBE_REGRESS)
        mert_usage_error("--confusion is for classes and labels, not for --task regress");
    if (predictions && confusion && !strcmp(predictions, confusion))
        mert_usage_error("--predictions and --confusion name the same file");
    n_decays = read_decays(decay_list ? decay_list : "0.0001,0.001,0.01,0.1,1,10,100", decays);
    n_net_decays = read_decays(decay_list ? decay_list : "0.01,0.1,1", net_decays);
    if (read_table(&table, &e) || check_outputs(argv, argc, &e))
        mert_log_error("%s", e.text);
    else {
        in.frames = frames;
        in.max_frames = max_frames;
        in.seed = (uint64_t)seed;
        in.finish = finish;
        status = mert_filter_run(&f, argv, argc);
    }
    mert_instances_free(&in);
    mert_probe_table_free(&table);
    return status;
}
