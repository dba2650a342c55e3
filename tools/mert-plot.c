/* mert-plot: pictures of streams, of a run's curves, and of probes.
 *
 *   in    streams of any kind; or log.tsv and valid.tsv of mert-train, tables of mert-probe
 *   out   a PNG or SVG file, or a drawing on the terminal
 *
 *     mert-decode song.mp3 | mert-cqt | mert-plot -o cqt.png
 *
 * Each item of a stream, or each table, is a panel (libcommon/plot/figure.h). This file collects the panels and writes
 * the picture; `report` is in mert-plot/. */
#include "formats/file.h"
#include "libcommon/plot/draw.h"
#include "libcommon/plot/record.h"
#include "libcommon/plot/table.h"
#include "libcommon/plot/terminal.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "tools/mert-plot/commands.h"
#include "tools/mert-plot/count.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FORMAT_NAME, FORMAT_PNG, FORMAT_SVG };
enum { PANEL_HEIGHT = 230, SQUARE_HEIGHT = 460, TITLE_HEIGHT = 28, SIDE_MAX = 16384 }; /* pixels */

static const char *output, *range, *title, *metrics;
static mert_strings patterns;
static int format, term, kind, layer = -1, colours, width = 1000, height, across = 1, items = 8, bare;
static double from, to;
static const char *const formats[] = {"name", "png", "svg", NULL};
static const char *const kinds[] = {"auto", "waveform", "matrix", "codes", "classes", "similarity", "layers", NULL};
static const char *const maps[] = {"dark", "light", "grey", NULL};

static const mert_option options[] = {
    {"output", 'o', MERT_STRING, &output, "FILE", 0, 0, NULL, "the picture, .png or .svg ('-': standard output)"},
    {"format", 0, MERT_CHOICE, &format, "FORMAT", 0, 0, formats, "format; name: by the end of FILE"},
    {"term", 0, MERT_FLAG, &term, NULL, 0, 0, NULL, "draw on the terminal"},
    {"kind", 0, MERT_CHOICE, &kind, "KIND", 0, 0, kinds, "what to draw of a stream; auto: by the kind of its records"},
    {"layer", 0, MERT_INT, &layer, "N", -1, 65535, NULL, "the layer of hidden states, from 0 (-1: the last)"},
    {"from", 0, MERT_DOUBLE, &from, "S", 0, 1e9, NULL, "begin here, in seconds"},
    {"to", 0, MERT_DOUBLE, &to, "S", 0, 1e9, NULL, "end here, in seconds (0: the end)"},
    {"items", 0, MERT_INT, &items, "N", 1, 64, NULL, "draw the first N items of each stream"},
    {"columns", 'c', MERT_LIST, &patterns, "NAMES", 0, 0, NULL, "of a log: draw these columns, 'ce_*,loss'"},
    {"metric", 0, MERT_STRING, &metrics, "NAMES", 0, 0, NULL, "of a probe's table: draw these metrics"},
    {"range", 0, MERT_STRING, &range, "LOW,HIGH", 0, 0, NULL, "the values with the first and the last colour"},
    {"colours", 0, MERT_CHOICE, &colours, "MAP", 0, 0, maps,
     "low values dark, or light for print, or light without hues"},
    {"title", 0, MERT_STRING, &title, "TEXT", 0, 0, NULL, "the title of the picture (empty: none, and none of panels)"},
    {"width", 0, MERT_INT, &width, "N", 1, SIDE_MAX, NULL, "pixels"},
    {"height", 0, MERT_INT, &height, "N", 0, SIDE_MAX, NULL, "pixels (0: as the panels need)"},
    {"across", 0, MERT_INT, &across, "N", 1, 16, NULL, "panels beside each other"},
    {"bare", 0, MERT_FLAG, &bare, NULL, 0, 0, NULL, "draw the data only, without axes and texts"},
    {0}};

/* ---- the picture ---- */

static void default_height(mert_figure *f)
{
    const int rows = (f->npanels + across - 1) / across;
    int one = bare ? PANEL_HEIGHT / 2 : PANEL_HEIGHT;
    for (int i = 0; i < f->npanels; i++)
        if (!strcmp(f->panels[i].y.label, f->panels[i].x.label) && f->panels[i].type == MERT_IMAGE)
            one = SQUARE_HEIGHT; /* time by time, so it is square */
    one = one < (SIDE_MAX - TITLE_HEIGHT) / rows ? one : (SIDE_MAX - TITLE_HEIGHT) / rows;
    f->height = height ? height : rows * one + (*f->title ? TITLE_HEIGHT : 0);
}

static int check_size(const mert_figure *f, mert_error *e)
{
    const int rows = (f->npanels + across - 1) / across, least_x = bare ? 1 : MERT_PANEL_WIDTH_MIN;
    const int least_y = bare ? 1 : MERT_PANEL_HEIGHT_MIN;
    if (f->width / across >= least_x && f->height / rows >= least_y)
        return 0;
    return mert_fail(e, "%d x %d pixels are too few for %d panel%s: each needs %d x %d (--width, --height, --items)",
                     f->width, f->height, f->npanels, f->npanels == 1 ? "" : "s", least_x, least_y);
}

static int draw_pixels(const mert_figure *f, FILE *stream, mert_error *e)
{
    unsigned char *rgb = malloc(3 * (size_t)f->width * (size_t)f->height);
    mert_canvas *c = rgb ? mert_canvas_pixels(f->width, f->height, e) : NULL;
    int bad = c ? 0 : rgb ? -1 : mert_fail(e, "out of memory");
    if (c) {
        (bare ? mert_draw_bare : mert_draw_figure)(f, c);
        bad = mert_canvas_pixels_end(c, rgb, e) || mert_png_write(stream, rgb, f->width, f->height, e);
    }
    free(rgb);
    return bad ? -1 : 0;
}

static int draw_svg(const mert_figure *f, FILE *stream, mert_error *e)
{
    mert_canvas *c = mert_canvas_svg(stream, f->width, f->height, *f->title ? f->title : f->panels[0].title, 0, e);
    if (!c)
        return -1;
    (bare ? mert_draw_bare : mert_draw_figure)(f, c);
    return mert_canvas_svg_end(c, e);
}

static int draw_terminal(const mert_figure *f, mert_error *e)
{
    struct winsize size = {0};
    const int known = !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > 20;
    const int lines = f->npanels == 1 && known && size.ws_row > 16 ? size.ws_row / 2 : 12;
    return mert_terminal_draw(f, mert_terminal_known(), known ? size.ws_col : 80, lines, stdout, e);
}

static int write_figure(mert_figure *f, mert_error *e)
{
    mert_output *o = NULL;
    FILE *stream = stdout;
    int bad;
    f->across = across;
    f->map = (mert_colour_map)colours;
    f->width = width;
    snprintf(f->title, sizeof f->title, "%s", title ? title : "");
    for (int i = 0; i < f->npanels && title && !*title; i++)
        f->panels[i].title[0] = 0;
    if (term)
        return draw_terminal(f, e);
    default_height(f);
    if (check_size(f, e))
        return -1;
    if (strcmp(output, "-")) {
        o = mert_output_open(output, e);
        if (!o)
            return -1;
        stream = o->stream;
    }
    bad = (format == FORMAT_SVG ? draw_svg : draw_pixels)(f, stream, e);
    if (bad)
        mert_fail_in(e, "%s", o ? output : "standard output");
    if (o && bad)
        mert_output_abandon(o);
    else if (o)
        bad = mert_output_commit(o, e);
    return bad;
}

/* ---- streams ---- */

typedef struct state {
    mert_view_options options;
    char provenance[sizeof ((mts_begin *)0)->provenance];
    mert_view *view;         /* of the open item; NULL: it is not drawn */
    mert_figure figure;
    plot_count count;        /* --kind classes */
    int counting;
    int drawn;               /* items of this stream */
    int64_t left_out;        /* number of items that are not drawn */
} state;

static int stream(void *self, const mts_begin *b, mert_error *e)
{
    state *s = self;
    (void)e;
    s->drawn = 0;
    memcpy(s->provenance, b->provenance, sizeof b->provenance);
    return 0;
}

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    (void)out;
    if (kind == MERT_VIEW_CLASSES) {
        if (strcmp(in->kind, "codes"))
            return mert_fail(e, "kind is %s, this picture is of codes", in->kind);
        if (s->counting)
            return plot_count_fits(&s->count, in) ? 0 : mert_fail(e, "other codebooks or another model than before");
        s->counting = 1;
        return plot_count_begin(&s->count, in, e);
    }
    if (s->drawn == items) {
        s->left_out++;
        return 0;
    }
    s->view = mert_view_begin(&s->options, in, s->provenance, e);
    return s->view ? 0 : -1;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    state *s = self;
    (void)sink;
    if (s->view)
        return mert_view_frames(s->view, data, n, e);
    return kind == MERT_VIEW_CLASSES ? plot_count_add(&s->count, data, n, e) : 0;
}

static void drop(void *self)
{
    state *s = self;
    mert_view_free(s->view);
    s->view = NULL;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    state *s = self;
    mert_panel *p;
    int bad;
    (void)sink;
    if (!s->view)
        return 0;
    p = mert_figure_add(&s->figure);
    bad = p ? mert_view_end(s->view, p, e) : mert_fail(e, "out of memory");
    if (p && bad)
        mert_figure_pop(&s->figure);
    s->drawn += !bad;
    drop(s);
    return bad;
}

static int finish(void *self, mert_error *e)
{
    state *s = self;
    int bad = 0;
    if (s->counting) {
        mert_panel *p = mert_figure_add(&s->figure);
        bad = p ? mert_class_panel(&s->count.counts, p, e) : mert_fail(e, "out of memory");
    }
    if (!bad && !s->figure.npanels)
        bad = mert_fail(e, "there is no item to draw");
    if (!bad && s->left_out)
        mert_log_note("%d item%s of each stream %s drawn, %" PRId64 " more are not (--items)", items,
                      items == 1 ? "" : "s", items == 1 ? "is" : "are", s->left_out);
    return bad || write_figure(&s->figure, e) ? -1 : 0;
}

/* ---- tables ---- */

static int curves(const mert_table *t, mert_figure *f, mert_error *e)
{
    for (int i = 0; i < (patterns.n ? patterns.n : 1); i++) {
        mert_panel *p = mert_figure_add(f);
        if (!p)
            return mert_fail(e, "out of memory");
        if (mert_table_curves(t, patterns.n ? patterns.items[i] : NULL, "", p, e))
            return -1;
        snprintf(p->title, sizeof p->title, "%s", t->path);
    }
    return 0;
}

static int scores(const mert_table *t, int n, mert_figure *f, mert_error *e)
{
    mert_panel *p = mert_figure_add(f);
    if (!p)
        return mert_fail(e, "out of memory");
    return n == 1 ? mert_table_scores(t, metrics, p, e) : mert_table_tasks(t, n, metrics, p, e);
}

/* Draws curves, with panels of its own for each table, and then the scores of all tables in one panel. */
static int draw_tables(char **files, int n, mert_error *e)
{
    mert_table *tables = calloc((size_t)n, sizeof *tables);
    mert_figure f = {0};
    int bad = tables ? 0 : mert_fail(e, "out of memory"), k = 0;
    for (int i = 0; !bad && i < n; i++) {
        const int is_stdin = !strcmp(files[i], "-");
        FILE *in = is_stdin ? stdin : fopen(files[i], "rb");
        if (!in)
            bad = mert_fail(e, "%s: %s", files[i], strerror(errno));
        else
            bad = mert_input_note(files[i], e) ||
                  mert_table_read(&tables[k], in, is_stdin ? "standard input" : files[i], e) ||
                  mert_table_needs_rows(&tables[k], e);
        if (in && !is_stdin)
            fclose(in);
        if (!bad && mert_table_is_log(&tables[k]))
            bad = curves(&tables[k], &f, e);
        if (bad || mert_table_is_log(&tables[k]))
            mert_table_free(&tables[k]);
        else
            k++;
    }
    if (!bad && k)
        bad = scores(tables, k, &f, e);
    if (!bad)
        bad = write_figure(&f, e);
    for (int i = 0; i < k; i++)
        mert_table_free(&tables[i]);
    free(tables);
    mert_figure_free(&f);
    return bad;
}

/* ---- tables or streams ---- */

/* 1: the input begins like a table. Anything but a regular file is treated as a stream, because it can be opened only
 * once. */
static int is_table(const char *file)
{
    struct stat st;
    const int is_stdin = !strcmp(file, "-");
    FILE *f;
    int c;
    if (!is_stdin && (stat(file, &st) || !S_ISREG(st.st_mode)))
        return 0;
    f = is_stdin ? stdin : fopen(file, "rb");
    if (!f)
        return 0;
    c = getc(f);
    if (is_stdin && c != EOF) {
        ungetc(c, f);
        mert_options.threads = 1; /* a thread that reads ahead reads the descriptor, and would not get the byte that
                                   * was looked at */
    }
    if (!is_stdin)
        fclose(f);
    return c == '#' || c == 'u' || c == 'l' || c == 0xef; /* a comment, update, layer, a byte order mark */
}

static void take_range(mert_view_options *o)
{
    char *end;
    if (!range)
        return;
    o->ranged = 1;
    o->low = strtod(range, &end);
    if (end == range || *end != ',')
        mert_usage_error("--range: '%s' is not two numbers, as in -60,0", range);
    o->high = strtod(end + 1, &end);
    if (*end || end[-1] == ',' || !(o->low < o->high) || !isfinite(o->high - o->low))
        mert_usage_error("--range: '%s' is not two numbers, as in -60,0", range);
}

static void check_output(void)
{
    const char *dot;
    if (term + (output != NULL) != 1)
        mert_usage_error(term ? "--term draws on the terminal: no -o beside it"
                              : "an output is needed: -o FILE.png, -o FILE.svg, or --term");
    if (term)
        return;
    dot = strrchr(output, '.');
    if (format == FORMAT_NAME && dot && !strcasecmp(dot, ".svg"))
        format = FORMAT_SVG;
    else if (format == FORMAT_NAME && ((dot && !strcasecmp(dot, ".png")) || !strcmp(output, "-")))
        format = FORMAT_PNG;
    if (format == FORMAT_NAME)
        mert_usage_error("-o %s: its end is neither .png nor .svg: --format says which it is", output);
    if (!strcmp(output, "-") && isatty(STDOUT_FILENO))
        mert_usage_error("a picture is not written to a terminal: redirect it, or draw with --term");
}

static int plot_run(int argc, char **argv)
{
    static const mert_stage stage = {.begin = begin, .frames = frames, .end = end, .drop = drop, .stream = stream,
                                     .finish = finish};
    static state s;
    static char *standard_input[] = {"-"};
    mert_filter f = {.stage = &stage, .self = &s, .no_output = 1};
    mert_error e;
    int tables = 0, status;
    check_output();
    take_range(&s.options);
    if (to > 0 && to <= from)
        mert_usage_error("--to %g is not after --from %g", to, from);
    mert_refuse_terminal(argv, argc);
    if (!argc)
        argc = 1, argv = standard_input;
    for (int i = 0; i < argc; i++)
        tables += is_table(argv[i]);
    if (tables && tables < argc)
        mert_usage_error("streams and tables are not drawn in one picture");
    s.options.kind = (mert_view_kind)kind;
    s.options.layer = layer;
    s.options.from = from;
    s.options.to = to > 0 ? to : INFINITY;
    f.output = term || !strcmp(output, "-") ? NULL : output;
    if (!tables) {
        status = mert_filter_run(&f, argv, argc);
        mert_figure_free(&s.figure);
        mert_code_counts_free(&s.count.counts);
    } else {
        status = (f.output && mert_output_check(f.output, argv, argc, &e)) || draw_tables(argv, argc, &e);
        if (status)
            mert_log_error("%s", e.text);
    }
    return status ? status : mert_log_stdout();
}

static const mert_command commands[] = {
    {"report", "-o FILE.html [options] RUN", "write one page about a run of mert-train, with all that is given",
     plot_report_options, plot_report_run},
    {0}};
static const mert_tool tool = {"mert-plot", "pictures of streams, training runs and probes",
                               "-o PICTURE [options] [FILE...]",
                               "Reads streams, or tables of mert-train and mert-probe; writes PNG or SVG.",
                               options, commands};

int main(int argc, char **argv)
{
    return mert_tool_main_or(&tool, plot_run, argc, argv);
}
