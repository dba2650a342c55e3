#include "libcommon/plot/record.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/tensor/values.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 4096, STATES = 512, TICKS = 9, VALUES = 16 << 20 /* floats of all columns: 64 MiB */ };
static const double floor_db = -80;

typedef struct spectrum { /* the properties of a spectrum that the provenance has */
    int known;
    double fmin, fmax, per_octave; /* per_octave 0: mel */
    double db; /* decibels are db * log10(value) or, with `logarithm`, db * value. 0: not shown in decibels */
    int logarithm;
} spectrum;

struct mert_view {
    mert_view_options o;
    mert_view_kind kind;
    mts_record r;
    spectrum spectrum;
    char maker[48];             /* "labels by mert-kmeans" */
    double rate;                /* frames per second; 1: not known */
    int64_t at;                 /* number of frames so far */
    int64_t stride, width, begin; /* values of a frame; the number of those that are shown, and the first of them */
    int complex, layers;
    mert_columns columns;
    double *values;             /* [stride] */
    float *row;                 /* [width] */
};

/* ---- provenance ---- */

/* The value of "NAME=" in a line; `other` if there is none. */
static double field(const char *line, size_t n, const char *name, double other)
{
    const size_t length = strlen(name);
    for (const char *p = line; p + length + 1 < line + n; p++)
        if (p > line && p[-1] == ' ' && !strncmp(p, name, length) && p[length] == '=')
            return strtod(p + length + 1, NULL);
    return other;
}

static int word(const char *line, size_t n, const char *w)
{
    const size_t length = strlen(w);
    for (const char *p = line + 1; p + length <= line + n; p++)
        if (p[-1] == ' ' && !strncmp(p, w, length) && (p + length == line + n || p[length] == ' '))
            return 1;
    return 0;
}

static void cqt_spectrum(spectrum *s, const char *line, size_t n)
{
    s->fmin = field(line, n, "fmin", 0);
    s->per_octave = field(line, n, "bins-per-octave", 0);
    s->logarithm = word(line, n, "form=log");
    s->db = s->logarithm ? 20 / log(10) : 20;
    s->known = s->fmin > 0 && s->per_octave > 0;
}

static void mel_spectrum(spectrum *s, const char *line, size_t n, const mts_record *r)
{
    const int preset = word(line, n, "preset=mert2");
    s->fmin = field(line, n, "fmin", 0);
    s->fmax = field(line, n, "fmax", 0);
    s->fmax = s->fmax > 0 ? s->fmax : (double)r->sample_rate / 2;
    s->logarithm = word(line, n, "log");
    s->db = preset || field(line, n, "normalize-with", -1) >= 0 ? 0 : s->logarithm ? 10 / log(10) : 10;
    s->known = s->fmax > s->fmin && !word(line, n, "mfcc");
}

static void look_up(spectrum *s, const mts_record *r, const char *provenance)
{
    const char *program = strcmp(r->kind, "mel") ? "mert-cqt " : "mert-mel ";
    if (strcmp(r->kind, "mel") && strcmp(r->kind, "cqt") && strcmp(r->kind, "chroma"))
        return;
    for (const char *line = provenance; *line; line += strspn(line, "\n")) {
        const size_t n = strcspn(line, "\n");
        if (!strncmp(line, program, strlen(program))) {
            memset(s, 0, sizeof *s);
            if (!strcmp(r->kind, "mel"))
                mel_spectrum(s, line, n, r);
            else
                cqt_spectrum(s, line, n);
        }
        line += n;
    }
}

/* The name of the program in the last line. */
static void name_maker(mert_view *v, const char *provenance)
{
    const char *last = provenance;
    for (const char *line = provenance; *line; line += strspn(line, "\n")) {
        last = line;
        line += strcspn(line, "\n");
    }
    snprintf(v->maker, sizeof v->maker, "labels%s%.*s", *last ? " by " : "", (int)strcspn(last, " \n"), last);
}

/* ---- the begin of a record ---- */

static mert_view_kind usual(const mts_record *r)
{
    if (!strcmp(r->kind, "pcm"))
        return MERT_VIEW_WAVEFORM;
    if (!strcmp(r->kind, "codes"))
        return MERT_VIEW_CODES;
    if (!strcmp(r->kind, "hidden"))
        return r->ndim == 3 && r->shape[1] > 1 ? MERT_VIEW_LAYERS : MERT_VIEW_SIMILARITY;
    return MERT_VIEW_MATRIX;
}

static int choose(mert_view *v, mert_error *e)
{
    const mts_record *r = &v->r;
    const int hidden = !strcmp(r->kind, "hidden") && r->ndim == 3;
    const int layer = v->o.layer < 0 ? v->layers - 1 : v->o.layer;
    mert_reduction keep = MERT_KEEP_MEAN;
    int64_t room = COLUMNS, whole;
    if ((v->kind == MERT_VIEW_CODES) != !strcmp(r->kind, "codes"))
        return mert_fail(e, "kind is %s, of which there is no such picture (--kind)", r->kind);
    if ((v->kind == MERT_VIEW_WAVEFORM && strcmp(r->kind, "pcm")) || (v->kind == MERT_VIEW_LAYERS && !hidden))
        return mert_fail(e, "kind is %s, this picture is of %s", r->kind,
                         v->kind == MERT_VIEW_LAYERS ? "hidden [T, layers, D]" : "pcm");
    if (layer >= v->layers)
        return mert_fail(e, "--layer %d: there are %d, from 0 to %d", layer, v->layers, v->layers - 1);
    v->complex = !strcmp(r->kind, "cqt") && r->ndim == 3 && r->shape[2] == 2;
    v->width = v->complex ? v->stride / 2 : v->stride;
    if (hidden && v->kind != MERT_VIEW_LAYERS) {
        v->width = v->stride / v->layers;
        v->begin = layer * v->width;
    }
    if (v->kind == MERT_VIEW_WAVEFORM)
        v->width = 2, keep = MERT_KEEP_RANGE;
    else if (v->kind == MERT_VIEW_CODES)
        keep = MERT_KEEP_FIRST;
    else if (!strcmp(r->kind, "cqt") || !strcmp(r->kind, "mel"))
        keep = MERT_KEEP_MAX;
    if (v->kind == MERT_VIEW_SIMILARITY)
        room = STATES;
    whole = mert_array_count(room, v->width);
    if (v->width < 1 || whole < 0)
        return mert_fail(e, "there is nothing in a time step to draw");
    if (whole > VALUES)
        room = VALUES / v->width > 16 ? VALUES / v->width : 16;
    v->values = mert_array(v->stride, sizeof *v->values);
    v->row = mert_array(v->width, sizeof *v->row);
    if (!v->values || !v->row)
        return mert_fail(e, "out of memory");
    return mert_columns_begin(&v->columns, keep, v->width, room, e);
}

mert_view *mert_view_begin(const mert_view_options *o, const mts_record *r, const char *provenance, mert_error *e)
{
    mert_view *v = calloc(1, sizeof *v);
    if (!v) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    v->o = *o;
    v->r = *r;
    v->kind = o->kind == MERT_VIEW_AUTO ? usual(r) : o->kind;
    v->rate = r->frame_rate_num > 0 ? (double)r->frame_rate_num / (double)r->frame_rate_den : 1;
    v->stride = mts_record_width(r);
    v->layers = !strcmp(r->kind, "hidden") && r->ndim == 3 ? (int)r->shape[1] : 1;
    look_up(&v->spectrum, r, provenance);
    name_maker(v, provenance);
    if (!choose(v, e))
        return v;
    mert_view_free(v);
    return NULL;
}

void mert_view_free(mert_view *v)
{
    if (!v)
        return;
    mert_columns_free(&v->columns);
    free(v->values);
    free(v->row);
    free(v);
}

/* ---- frames ---- */

static void put(mert_view *v)
{
    const double scale = mert_dtype_is_integer(v->r.dtype) ? 1.0 / 32768 : 1;
    double mean = 0;
    if (v->kind == MERT_VIEW_WAVEFORM) {
        for (int64_t i = 0; i < v->stride; i++)
            mean += v->values[i];
        v->row[0] = v->row[1] = (float)(mean * scale / (double)v->stride);
    } else if (v->complex) {
        for (int64_t i = 0; i < v->width; i++)
            v->row[i] = (float)hypot(v->values[2 * i], v->values[2 * i + 1]);
    } else {
        for (int64_t i = 0; i < v->width; i++)
            v->row[i] = (float)v->values[v->begin + i];
    }
    mert_columns_add(&v->columns, v->row);
}

int mert_view_frames(mert_view *v, const void *data, int64_t n, mert_error *e)
{
    const unsigned char *p = data;
    const size_t step = mts_record_step(&v->r);
    for (int64_t i = 0; i < n; i++, v->at++) {
        const double t = (double)v->at / v->rate;
        if (t < v->o.from || t >= v->o.to)
            continue;
        mert_values_read(v->r.dtype, p + (size_t)i * step, v->stride, v->values);
        if (v->kind == MERT_VIEW_CODES && mert_codes_check(v->r.ncodebooks, v->r.classes, v->values, 1, v->at, e))
            return -1;
        put(v);
    }
    return 0;
}

/* ---- the end of a record ---- */

static void decibels(const mert_view *v, mert_panel *p)
{
    const spectrum *s = &v->spectrum;
    double low, high;
    for (int64_t i = 0; i < p->columns * p->rows; i++)
        p->values[i] = (float)(s->logarithm ? s->db * p->values[i] : s->db * log10(fmax(p->values[i], 1e-30)));
    mert_panel_range(p, &low, &high);
    for (int64_t i = 0; i < p->columns * p->rows; i++)
        p->values[i] -= (float)high;
    p->low = floor_db;
    p->high = 0;
    snprintf(p->unit, sizeof p->unit, "dB");
}

/* Subtracts the mean from each row of the image, and divides by its deviation. */
static void standardise(mert_panel *p)
{
    for (int64_t r = 0; r < p->rows; r++) {
        mert_moments m;
        mert_moments_begin(&m);
        for (int64_t k = 0; k < p->columns; k++)
            mert_moments_add(&m, &(double){p->values[k * p->rows + r]}, 1);
        for (int64_t k = 0; k < p->columns; k++) {
            float *x = &p->values[k * p->rows + r];
            *x = m.m2 > 0 ? (float)((*x - m.mean) / mert_moments_std(&m)) : 0;
        }
    }
    p->low = -3;
    p->high = 3;
    snprintf(p->unit, sizeof p->unit, "deviations");
}

/* The mean over all columns, [width]; NULL: out of memory. */
static double *mean_of(const mert_columns *c)
{
    double *mean = mert_array_zeroed(c->width, sizeof *mean);
    for (int64_t k = 0; mean && k < c->n; k++)
        for (int64_t i = 0; i < c->width; i++)
            mean[i] += c->values[k * c->width + i] / (double)c->n;
    return mean;
}

static int similarity(mert_panel *p, mert_columns *c, mert_error *e)
{
    double *mean = mean_of(c);
    float *x = c->values, *to = mert_array(mert_array_count(c->n, c->n), sizeof *to);
    const int64_t w = c->width;
    if (!mean || !to) {
        free(mean);
        free(to);
        return mert_fail(e, "out of memory");
    }
    for (int64_t k = 0; k < c->n; k++) {
        double square = 0;
        for (int64_t i = 0; i < w; i++) {
            x[k * w + i] -= (float)mean[i];
            square += (double)x[k * w + i] * x[k * w + i];
        }
        for (int64_t i = 0; i < w; i++)
            x[k * w + i] *= (float)(square > 0 ? 1 / sqrt(square) : 0);
    }
    for (int64_t a = 0; a < c->n; a++)
        for (int64_t b = 0; b <= a; b++) {
            double sum = 0;
            for (int64_t i = 0; i < w; i++)
                sum += (double)x[a * w + i] * x[b * w + i];
            to[a * c->n + b] = to[b * c->n + a] = (float)sum;
        }
    free(mean);
    p->values = to;
    p->columns = p->rows = c->n;
    return 0;
}

static int distances(mert_panel *p, const mert_columns *c, int layers, mert_error *e)
{
    double *mean = mean_of(c);
    const int64_t w = c->width / layers;
    p->values = mert_array(mert_array_count(c->n, layers), sizeof *p->values);
    if (!mean || !p->values) {
        free(mean);
        return mert_fail(e, "out of memory");
    }
    for (int64_t k = 0; k < c->n * layers; k++) {
        const float *x = c->values + k * w;
        const double *m = mean + k % layers * w;
        double xm = 0, xx = 0, mm = 0;
        for (int64_t i = 0; i < w; i++)
            xm += x[i] * m[i], xx += (double)x[i] * x[i], mm += m[i] * m[i];
        p->values[k] = (float)(xx > 0 && mm > 0 ? 1 - xm / sqrt(xx * mm) : 0);
    }
    free(mean);
    p->columns = c->n;
    p->rows = layers;
    return 0;
}

static void matrix_axes(const mert_view *v, mert_panel *p)
{
    const spectrum *s = &v->spectrum;
    const int bins = (int)p->rows;
    if (!strcmp(v->r.kind, "chroma"))
        mert_axis_classes(&p->y, s->known ? s->fmin : 32.703, bins, 12);
    else if (s->known && s->per_octave > 0) {
        mert_axis_octaves(&p->y, s->fmin, s->per_octave, bins, TICKS);
        mert_axis_notes(&p->right, s->fmin, s->per_octave, bins, TICKS);
    } else if (s->known)
        mert_axis_mel(&p->y, s->fmin, s->fmax, bins, TICKS);
    else
        mert_axis_bins(&p->y, bins, TICKS, !strcmp(v->r.kind, "mfcc") ? "coefficient" : "dimension");
}

static const char *name_of(const mert_view *v)
{
    static const char *const names[][2] = {{"cqt", "constant-Q spectrum"}, {"mel", "mel spectrum"}, {"mfcc", "MFCC"},
                                           {"chroma", "chroma"}, {"hidden", "hidden states"}};
    switch (v->kind) {
    case MERT_VIEW_WAVEFORM: return "waveform";
    case MERT_VIEW_CODES: return v->maker;
    case MERT_VIEW_SIMILARITY: return "similarity of states";
    case MERT_VIEW_LAYERS: return "layers: distance from the mean";
    default:
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!strcmp(v->r.kind, names[i][0]))
                return names[i][1];
        return v->r.kind;
    }
}

/* The values of the first and last colour: given, or from the image. */
static void colours(const mert_view *v, mert_panel *p)
{
    if (v->kind == MERT_VIEW_MATRIX && v->spectrum.known && strcmp(v->r.kind, "chroma") && v->spectrum.db > 0)
        decibels(v, p);
    else if (!strcmp(v->r.kind, "mfcc") && v->kind == MERT_VIEW_MATRIX)
        standardise(p);
    else
        mert_panel_range(p, &p->low, &p->high);
    if (!strcmp(v->r.kind, "chroma") && v->kind == MERT_VIEW_MATRIX)
        p->low = 0;
    if (v->kind == MERT_VIEW_SIMILARITY)
        p->high = 1;
    if (v->o.ranged)
        p->low = v->o.low, p->high = v->o.high;
    if (!(p->high > p->low))
        p->high = p->low + 1;
}

int mert_view_end(mert_view *v, mert_panel *to, mert_error *e)
{
    mert_columns *c = &v->columns;
    char key[3 * MTS_KEY_MAX + 1];
    double first, last;
    if (!c->n)
        return mert_fail(e, v->at ? "no frame from %g to %g s: it ends at %g s" : "it has no frame", v->o.from, v->o.to,
                         (double)v->at / v->rate);
    first = ceil(v->o.from * v->rate - 1e-9) / v->rate;
    last = first + (double)c->rows / v->rate;
    snprintf(to->title, sizeof to->title, "%.180s: %s", mert_key_print(key, sizeof key, v->r.key), name_of(v));
    to->type = v->kind == MERT_VIEW_WAVEFORM ? MERT_BAND : v->kind == MERT_VIEW_CODES ? MERT_CLASSES : MERT_IMAGE;
    to->keep = c->keep;
    to->first = first;
    to->span = (double)c->step / v->rate;
    if (v->r.frame_rate_num > 0)
        mert_axis_seconds(&to->x, first, last, 8);
    else
        mert_axis_linear(&to->x, first, last, 8, "frame");
    if (v->kind == MERT_VIEW_SIMILARITY) {
        if (similarity(to, c, e))
            return -1;
        to->y = to->x;
        to->y.high = (to->x.high - first) / to->span;
        to->y.low = 0;
        for (int i = 0; i < to->y.nticks; i++)
            to->y.ticks[i].at = (to->x.ticks[i].at - first) / to->span;
    } else if (v->kind == MERT_VIEW_LAYERS) {
        if (distances(to, c, v->layers, e))
            return -1;
        mert_axis_bins(&to->y, v->layers, TICKS, "layer");
    } else {
        to->values = c->values;
        to->columns = c->n;
        to->rows = c->width;
        c->values = NULL;
    }
    if (v->kind == MERT_VIEW_WAVEFORM)
        mert_panel_fit(to, "", "");
    if (v->kind == MERT_VIEW_CODES)
        mert_axis_bins(&to->y, (int)to->rows, TICKS, "codebook");
    if (v->kind == MERT_VIEW_MATRIX)
        matrix_axes(v, to);
    if (to->type == MERT_IMAGE)
        colours(v, to);
    return 0;
}

/* ---- the use of classes ---- */

static int descending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

int mert_class_panel(const mert_code_counts *c, mert_panel *to, mert_error *e)
{
    double lowest = 1, highest = 0, most = 1;
    to->type = MERT_LINES;
    snprintf(to->title, sizeof to->title, "use of classes, %" PRId64 " frames", c->frames);
    for (int k = 0; k < c->codebooks; k++) {
        const mert_code_use use = mert_code_counts_use(c, k);
        int64_t *sorted = mert_array(c->room[k], sizeof *sorted);
        mert_line *l = mert_panel_line(to, use.used);
        if (!sorted || !l) {
            free(sorted);
            return mert_fail(e, "out of memory");
        }
        memcpy(sorted, c->count[k], (size_t)c->room[k] * sizeof *sorted);
        qsort(sorted, (size_t)c->room[k], sizeof *sorted, descending);
        snprintf(l->name, sizeof l->name, "%d: %" PRId64 " of %" PRId64 ", %.2f bits", k, use.used, c->classes[k],
                 use.entropy);
        l->n = use.used;
        for (int64_t i = 0; i < l->n; i++) {
            const double share = (double)sorted[i] / (double)c->frames;
            l->x[i] = (double)(i + 1);
            l->y[i] = log10(share);
            lowest = fmin(lowest, share);
            highest = fmax(highest, share);
        }
        most = fmax(most, (double)l->n);
        free(sorted);
    }
    if (!(highest > 0))
        return mert_fail(e, "there is no label to count");
    if (c->codebooks == 1)
        snprintf(to->title, sizeof to->title, "use of classes, %" PRId64 " frames: %s", c->frames,
                 to->lines[0].name + 3);
    mert_axis_linear(&to->x, 1, most > 1 ? most : 2, 8, "class, by rank");
    mert_axis_decades(&to->y, pow(10, floor(log10(lowest) * (1 + 1e-12))), pow(10, ceil(log10(highest) - 1e-12)), 8,
                      "share of frames");
    return 0;
}
