#include "libcommon/plot/figure.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void panel_free(mert_panel *p)
{
    for (int i = 0; i < p->nlines; i++) {
        free(p->lines[i].x);
        free(p->lines[i].y);
    }
    free(p->lines);
    free(p->values);
}

mert_panel *mert_figure_add(mert_figure *f)
{
    mert_panel *more = mert_array_resize(f->panels, f->npanels + 1, sizeof *more);
    if (!more)
        return NULL;
    f->panels = more;
    memset(&more[f->npanels], 0, sizeof *more);
    return &more[f->npanels++];
}

void mert_figure_pop(mert_figure *f)
{
    panel_free(&f->panels[--f->npanels]);
}

void mert_figure_free(mert_figure *f)
{
    while (f->npanels)
        mert_figure_pop(f);
    free(f->panels);
    f->panels = NULL;
}

mert_line *mert_panel_line(mert_panel *p, int64_t n)
{
    mert_line *more = mert_array_resize(p->lines, p->nlines + 1, sizeof *more);
    mert_line *l;
    if (!more)
        return NULL;
    p->lines = more;
    l = &more[p->nlines];
    *l = (mert_line){.colour = p->nlines, .dash = p->nlines >= 7}; /* there are seven colours; further lines have the
                                                                    * same colours, dashed */
    l->x = mert_array(n, sizeof *l->x);
    l->y = mert_array(n, sizeof *l->y);
    p->nlines++; /* so that panel_free frees what was allocated */
    return l->x && l->y ? l : NULL;
}

static void widen(double v, double *low, double *high)
{
    if (isfinite(v)) {
        *low = fmin(*low, v);
        *high = fmax(*high, v);
    }
}

void mert_panel_fit(mert_panel *p, const char *x, const char *y)
{
    double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY, margin;
    for (int k = 0; k < p->nlines; k++)
        for (int64_t i = 0; i < p->lines[k].n; i++) {
            widen(p->lines[k].x[i], &x0, &x1);
            widen(p->lines[k].y[i], &y0, &y1);
        }
    for (int64_t i = 0; p->type == MERT_BAND && i < 2 * p->columns; i++)
        widen(p->values[i], &y0, &y1);
    if (y0 > y1)
        y0 = 0, y1 = 1;
    margin = y1 > y0 ? 0.04 * (y1 - y0) : fmax(fabs(y0), 1) / 10;
    mert_axis_linear(&p->y, y0 - margin, y1 + margin, 6, y);
    if (p->type == MERT_LINES)
        mert_axis_linear(&p->x, x0 > x1 ? 0 : x0, x0 > x1 ? 1 : x1, 8, x);
}

void mert_panel_range(const mert_panel *p, double *low, double *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int64_t i = 0; i < p->columns * p->rows; i++)
        widen(p->values[i], low, high);
    if (*low > *high)
        *low = *high = NAN;
}

/* Which cells pixel i shows, of `pixels` between low and high: [from, to) of the `n` cells, the first at position
 * `first`, each of length `span`; none if to <= from. */
static void cells_of(int i, int pixels, double low, double high, double first, double span, int64_t n, int64_t *from,
                     int64_t *to)
{
    const double a = (low + (high - low) * i / pixels - first) / span;
    const double b = (low + (high - low) * (i + 1) / pixels - first) / span;
    *from = (int64_t)floor(fmin(fmax(a + 1e-9, 0), (double)n));
    *to = (int64_t)ceil(fmin(fmax(b - 1e-9, 0), (double)n));
}

static double cell_column(const mert_panel *p, int64_t from, int64_t to, int64_t row)
{
    double x = NAN;
    for (int64_t k = from; k < to; k++)
        x = mert_reduction_join(p->keep, 0, x, (double)(k - from), p->values[k * p->rows + row], 1);
    return x;
}

int mert_panel_pixels(const mert_panel *p, mert_colour_map map, int width, int height, unsigned char *rgb)
{
    mert_colour table[MERT_MAP_SIZE];
    double *column = mert_array(p->rows, sizeof *column);
    int64_t from, to;
    if (!column)
        return -1;
    mert_colour_table(map, table);
    for (int x = 0; x < width; x++) {
        cells_of(x, width, p->x.low, p->x.high, p->first, p->span, p->columns, &from, &to);
        for (int64_t r = 0; r < p->rows; r++)
            column[r] = cell_column(p, from, to, r);
        for (int y = 0; y < height; y++) {
            unsigned char *at = rgb + 3 * ((size_t)(height - 1 - y) * (size_t)width + (size_t)x);
            mert_colour c = {235, 235, 235};
            double v = NAN;
            cells_of(y, height, p->y.low, p->y.high, 0, 1, p->rows, &from, &to);
            for (int64_t r = from; r < to; r++)
                v = mert_reduction_join(p->keep, 0, v, (double)(r - from), column[r], 1);
            if (!isnan(v) && p->type == MERT_CLASSES)
                c = mert_colour_class((int64_t)v);
            else if (!isnan(v))
                c = table[(int)lround(255 * fmin(fmax((v - p->low) / fmax(p->high - p->low, 1e-300), 0), 1))];
            at[0] = c.r, at[1] = c.g, at[2] = c.b;
        }
    }
    free(column);
    return 0;
}
