/* mert-plot report: one page about a run. Its log and settings come from the run's folder; streams, tables of probes
 * and sounds are added as they are given. */
#include "formats/file.h"
#include "libcommon/plot/page.h"
#include "libcommon/plot/record.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "libcommon/tensor/values.h"
#include "tools/mert-plot/commands.h"
#include "tools/mert-plot/count.h"
#include "tools/mert-plot/predictions.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHART_WIDTH = 520, CHART_HEIGHT = 260, PICTURE_WIDTH = 900, PICTURE_HEIGHT = 200, SQUARE = 420, ROWS = 200,
       RECIPE_MAX = 1 << 20, CODEBOOKS = 8, TEACHERS = 8 };

static const char *output, *title;
static mert_strings streams, scores, sounds;
static int items = 3, layer = -1;
static double to_seconds = 30, max_size = 32;

const mert_option plot_report_options[] = {
    {"output", 'o', MERT_STRING, &output, "FILE", 0, 0, NULL, "the page, .html"},
    {"title", 0, MERT_STRING, &title, "TEXT", 0, 0, NULL, "its title (default: the folder of the run)"},
    {"stream", 0, MERT_LIST, &streams, "FILE", 0, 0, NULL, "draw the first items of this stream"},
    {"items", 0, MERT_INT, &items, "N", 1, 32, NULL, "how many items: those of the first stream"},
    {"to", 0, MERT_DOUBLE, &to_seconds, "S", 0.01, 1e6, NULL, "of each item, draw so many seconds"},
    {"layer", 0, MERT_INT, &layer, "N", -1, 65535, NULL, "--stream: the layer of hidden states, from 0 (-1: the last)"},
    {"scores", 0, MERT_LIST, &scores, "FILE", 0, 0, NULL, "show this table of mert-probe"},
    {"sound", 0, MERT_LIST, &sounds, "FILE", 0, 0, NULL, "include this sound file"},
    {"max-size", 0, MERT_DOUBLE, &max_size, "MB", 0.01, 2000, NULL, "refuse to write a larger page"},
    {0}};

typedef struct page {
    FILE *to;
    const char *folder;       /* of the run */
    /* Of the streams: */
    mert_view_options options;
    char provenance[sizeof ((mts_begin *)0)->provenance];
    mert_view *view;          /* of the open item; NULL: it is not drawn */
    int item;                 /* its number */
    char (*keys)[MTS_KEY_MAX]; /* [items], nkeys of them: keys of the first stream that was read */
    int nkeys;
    mert_figure *figures;     /* [items] */
    plot_count counts[TEACHERS]; /* of labels, one for each teacher */
    int ncounts, count;       /* count: index of the one with the open item; -1: none */
    int files;                /* number of streams so far */
} page;

/* ---- curves ---- */

/* 1: read; 0: there is no such file, or it has no rows yet. */
static int open_table(mert_table *t, const page *p, const char *name, char **path, mert_error *e)
{
    FILE *f;
    int bad;
    memset(t, 0, sizeof *t);
    *path = mert_path_join(p->folder, name);
    if (!*path)
        return mert_fail(e, "out of memory");
    f = fopen(*path, "rb");
    if (!f)
        return errno == ENOENT ? 0 : mert_fail(e, "%s: %s", *path, strerror(errno));
    bad = mert_table_read(t, f, *path, e);
    fclose(f);
    return bad ? -1 : t->rows > 0;
}

/* One chart of the columns that match in both logs; no chart if there are none. */
static int chart(page *p, const mert_table *log, const mert_table *valid, const char *pattern, const char *caption,
                 mert_error *e)
{
    mert_figure f = {.across = 1, .width = CHART_WIDTH, .height = CHART_HEIGHT};
    mert_panel *panel = mert_figure_add(&f);
    int bad = panel ? 0 : mert_fail(e, "out of memory");
    if (!bad && log && mert_table_fits(log, pattern))
        bad = mert_table_curves(log, pattern, valid ? "train " : "", panel, e);
    if (!bad && valid && mert_table_fits(valid, pattern))
        bad = mert_table_curves(valid, pattern, log ? "valid " : "", panel, e);
    if (!bad && panel->nlines)
        bad = mert_page_figure(p->to, &f, caption, 0, e);
    mert_figure_free(&f);
    return bad;
}

static int charts(page *p, const mert_table *log, const mert_table *valid, mert_error *e)
{
    static const char *const more[][3] = {{"log", "loss", "Loss in training"},
                                          {"valid", "accuracy*", "Accuracy on masked frames of the held-out pieces"},
                                          {"log", "lr", "Learning rate"},
                                          {"log", "grad_norm", "Norm of the gradient"},
                                          {"log", "audio_seconds_per_second", "Seconds of audio per second"}};
    char pattern[96], caption[96];
    int k = 0;
    mert_page_grid(p->to, 1);
    for (; k < CODEBOOKS; k++) {
        snprintf(pattern, sizeof pattern, "ce_%d", k);
        if ((!log || mert_table_column(log, pattern) < 0) && (!valid || mert_table_column(valid, pattern) < 0))
            break;
        snprintf(pattern, sizeof pattern, "ce_%d,unigram_%d,neighbours_%d", k, k, k);
        snprintf(caption, sizeof caption, "Codebook %d: bits per masked frame", k);
        if (chart(p, log, valid, pattern, caption, e))
            return -1;
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (chart(p, *more[i][0] == 'v' ? NULL : log, *more[i][0] == 'l' ? NULL : valid, more[i][1], more[i][2], e))
            return -1;
    mert_page_grid(p->to, 0);
    snprintf(pattern, sizeof pattern, "ce_%d", k);
    if (valid && mert_table_column(valid, pattern) >= 0)
        mert_page_paragraph(p->to, "Codebooks after the eighth have no curve here; their values are in the tables.");
    return 0;
}

static int write_curves(page *p, mert_error *e)
{
    mert_table log = {0}, valid = {0};
    char *paths[2] = {NULL, NULL};
    const int has_log = open_table(&log, p, "log.tsv", &paths[0], e);
    const int has_valid = has_log < 0 ? -1 : open_table(&valid, p, "valid.tsv", &paths[1], e);
    int bad = has_log < 0 || has_valid < 0 ? -1 : 0;
    if (!bad && !has_log && !has_valid)
        bad = mert_fail(e, "%s: neither log.tsv nor valid.tsv with a row: it is not the folder of a run (mert-train "
                           "--save), or the run has just begun", p->folder);
    if (!bad && has_valid) {
        mert_page_section(p->to, "Codebooks");
        mert_page_codebooks(p->to, &valid);
    }
    if (!bad) {
        mert_page_section(p->to, "Curves");
        bad = charts(p, has_log ? &log : NULL, has_valid ? &valid : NULL, e);
    }
    if (!bad && has_valid)
        mert_page_table(p->to, &valid, "Validations (valid.tsv)", ROWS);
    if (!bad && has_log)
        mert_page_table(p->to, &log, "Training (log.tsv)", ROWS);
    mert_table_free(&log);
    mert_table_free(&valid);
    free(paths[0]);
    free(paths[1]);
    return bad;
}

static int write_settings(page *p, mert_error *e)
{
    char *path = mert_path_join(p->folder, "recipe"), *text;
    size_t size;
    int bad = 0;
    if (!path)
        return mert_fail(e, "out of memory");
    if (!access(path, F_OK)) {
        text = mert_file_read(path, RECIPE_MAX, &size, e);
        bad = text ? 0 : -1;
        if (!bad)
            mert_page_section(p->to, "Settings");
        bad = bad || mert_page_settings(p->to, text, size, path, e) ? -1 : 0;
        free(text);
    }
    free(path);
    return bad;
}

/* ---- scores and sounds ---- */

static int write_scores(page *p, mert_error *e)
{
    mert_table *t = calloc((size_t)scores.n + 1, sizeof *t);
    mert_figure f = {.across = 1, .width = PICTURE_WIDTH, .height = 120 + 40 * scores.n};
    mert_panel *panel = mert_figure_add(&f);
    int n = 0, bad = t && panel ? 0 : mert_fail(e, "out of memory");
    for (; !bad && n < scores.n; n++) {
        FILE *in = fopen(scores.items[n], "rb");
        bad = in ? mert_table_read(&t[n], in, scores.items[n], e) || mert_table_needs_rows(&t[n], e)
                 : mert_fail(e, "%s: %s", scores.items[n], strerror(errno));
        if (!bad && !mert_table_is_scores(&t[n]))
            bad = mert_fail(e, "%s: not a table of mert-probe", scores.items[n]);
        if (in)
            fclose(in);
    }
    if (!bad) {
        mert_page_section(p->to, "Probes");
        bad = mert_table_tasks(t, n, NULL, panel, e) ||
              mert_page_figure(p->to, &f, "Scores of each layer, by task. prior: a guess without features", 1, e);
    }
    for (int i = 0; !bad && i < n; i++)
        mert_page_table(p->to, &t[i], scores.items[i], ROWS);
    for (int i = 0; t && i < scores.n; i++)
        mert_table_free(&t[i]);
    free(t);
    mert_figure_free(&f);
    return bad ? -1 : 0;
}

static int write_sounds(page *p, mert_error *e)
{
    double whole = 0;
    mert_page_section(p->to, "Sounds");
    for (int i = 0; i < sounds.n; i++) {
        size_t size;
        char *data = mert_file_read(sounds.items[i], (size_t)(max_size * 1e6), &size, e);
        if (!data)
            return mert_fail_in(e, "--max-size %g", max_size);
        whole += (double)size * 4 / 3;
        if (whole <= max_size * 1e6)
            mert_page_sound(p->to, sounds.items[i], (const unsigned char *)data, size);
        free(data);
        if (whole > max_size * 1e6)
            return mert_fail(e, "%s: the sounds up to this one need more than the %g MB of --max-size", sounds.items[i],
                             max_size);
    }
    return 0;
}

/* ---- streams ---- */

static int stream(void *self, const mts_begin *b, mert_error *e)
{
    page *p = self;
    (void)e;
    memcpy(p->provenance, b->provenance, sizeof b->provenance);
    p->files++;
    return 0;
}

/* The index of the item with this key; -1: it is not drawn. The first stream decides which items are drawn. */
static int item_of(page *p, const char *key)
{
    for (int i = 0; i < p->nkeys; i++)
        if (!strcmp(p->keys[i], key))
            return i;
    if (p->files > 1 || p->nkeys == items)
        return -1;
    memcpy(p->keys[p->nkeys], key, strlen(key) + 1);
    return p->nkeys++;
}

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    page *p = self;
    (void)out;
    p->count = -1;
    if (!strcmp(in->kind, "codes")) {
        for (p->count = 0; p->count < p->ncounts && !plot_count_fits(&p->counts[p->count], in); p->count++)
            ;
        if (p->count == TEACHERS)
            return mert_fail(e, "labels of more than %d teachers", TEACHERS);
        if (p->count == p->ncounts && plot_count_begin(&p->counts[p->ncounts++], in, e))
            return -1;
    }
    p->item = item_of(p, in->key);
    p->view = p->item < 0 ? NULL : mert_view_begin(&p->options, in, p->provenance, e);
    return p->item < 0 || p->view ? 0 : -1;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    page *p = self;
    (void)sink;
    if (p->view && mert_view_frames(p->view, data, n, e))
        return -1;
    return p->count >= 0 ? plot_count_add(&p->counts[p->count], data, n, e) : 0;
}

static void drop(void *self)
{
    page *p = self;
    mert_view_free(p->view);
    p->view = NULL;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    page *p = self;
    mert_panel *panel;
    int bad;
    (void)sink;
    if (!p->view)
        return 0;
    panel = mert_figure_add(&p->figures[p->item]);
    bad = panel ? mert_view_end(p->view, panel, e) : mert_fail(e, "out of memory");
    if (panel && bad)
        mert_figure_pop(&p->figures[p->item]);
    drop(p);
    return bad;
}

/* ---- the page ---- */

static int write_streams(page *p, mert_error *e)
{
    char key[3 * MTS_KEY_MAX + 1];
    int bad = 0;
    if (p->ncounts) {
        mert_page_section(p->to, "Labels");
        mert_page_grid(p->to, 1);
    }
    for (int i = 0; !bad && i < p->ncounts; i++) {
        mert_figure f = {.across = 1, .width = CHART_WIDTH, .height = CHART_HEIGHT};
        mert_panel *panel = mert_figure_add(&f);
        bad = panel ? mert_class_panel(&p->counts[i].counts, panel, e) : mert_fail(e, "out of memory");
        if (!bad)
            bad = mert_page_figure(p->to, &f, "Share of each class, from the most frequent on; classes that occur, and "
                                              "entropy", 0, e);
        mert_figure_free(&f);
    }
    if (p->ncounts)
        mert_page_grid(p->to, 0);
    if (p->nkeys)
        mert_page_section(p->to, "Pieces");
    for (int i = 0; !bad && i < p->nkeys; i++) {
        mert_figure *f = &p->figures[i];
        if (!f->npanels)
            continue;
        f->across = 1;
        f->width = PICTURE_WIDTH;
        f->height = PICTURE_HEIGHT * f->npanels;
        bad = mert_page_figure(p->to, f, mert_key_print(key, sizeof key, p->keys[i]), 1, e);
    }
    return bad ? -1 : 0;
}

static int write_page(page *p, mert_error *e)
{
    char made_by[128];
    long size;
    mert_page_begin(p->to, title ? title : p->folder);
    if (write_curves(p, e) ||
        plot_predictions(p->to, p->folder, &p->options, PICTURE_WIDTH, PICTURE_HEIGHT, e) || (scores.n && write_scores(p, e)) || (streams.n && write_streams(p, e)) ||
        (sounds.n && write_sounds(p, e)) || write_settings(p, e))
        return -1;
    snprintf(made_by, sizeof made_by, "Made by %s %s.", mert_tool_name(), mert_version());
    mert_page_end(p->to, made_by);
    size = ftell(p->to);
    if ((double)size > max_size * 1e6)
        return mert_fail(e, "the page would have %.1f MB, more than the %g of --max-size: fewer --items or sounds",
                         (double)size / 1e6, max_size);
    return 0;
}

static int finish(void *self, mert_error *e)
{
    page *p = self;
    mert_output *o = mert_output_open(output, e);
    if (!o)
        return -1;
    p->to = o->stream;
    if (write_page(p, e)) {
        mert_output_abandon(o);
        return -1;
    }
    return mert_output_commit(o, e);
}

/* Finds the folder with the log: RUN, or RUN/model as in the demo. To be freed. */
static char *find_run(const char *run)
{
    char *own = mert_path_join(run, "log.tsv"), *inside = mert_path_join(run, "model"), *log = NULL, *result = NULL;
    if (inside)
        log = mert_path_join(inside, "log.tsv");
    if (own && log)
        result = strdup(access(own, F_OK) && !access(log, F_OK) ? inside : run);
    free(own);
    free(inside);
    free(log);
    return result;
}

int plot_report_run(int argc, char **argv)
{
    static const mert_stage stage = {.begin = begin, .frames = frames, .end = end, .drop = drop, .stream = stream,
                                     .finish = finish};
    static page p = {.options = {.layer = -1}};
    const mert_filter f = {.stage = &stage, .self = &p, .no_output = 1, .output = output};
    mert_error e;
    int status = 1;
    if (argc != 1)
        mert_usage_error("one folder of a run is needed");
    if (!output)
        mert_usage_error("-o FILE.html is needed");
    for (int i = 0; i < sounds.n; i++)
        if (!mert_page_sound_type(sounds.items[i]))
            mert_usage_error("--sound %s: its end is none of .wav, .mp3, .ogg, .opus, .flac, .m4a", sounds.items[i]);
    p.folder = find_run(argv[0]);
    p.keys = calloc((size_t)items, sizeof *p.keys);
    p.figures = calloc((size_t)items, sizeof *p.figures);
    p.options.to = to_seconds;
    p.options.layer = layer;
    if (!p.folder || !p.keys || !p.figures)
        mert_no_memory();
    if (streams.n)
        status = mert_filter_run(&f, (char **)streams.items, streams.n);
    else if (mert_output_check(output, argv, argc, &e) || finish(&p, &e))
        mert_log_error("%s", e.text);
    else
        status = 0;
    for (int i = 0; i < items; i++)
        mert_figure_free(&p.figures[i]);
    for (int i = 0; i < p.ncounts; i++)
        mert_code_counts_free(&p.counts[i].counts);
    free((char *)p.folder);
    free(p.keys);
    free(p.figures);
    return status;
}
