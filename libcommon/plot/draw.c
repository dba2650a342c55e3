#include "libcommon/plot/draw.h"

#include "formats/array.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct box { int x, y, w, h; } box;

/* Margins around a panel's data, in pixels. */
enum { LEFT = 64, RIGHT = 20, RIGHT_BAR = 110, TOP = 26, BOTTOM = 38, BAR = 12, HEAD = 28, LETTER = 7, LEGEND = 16 };

static const mert_colour black = {0, 0, 0}, pale = {225, 225, 225};

static double across(const mert_axis *a, double at, int from, int size)
{
    return from + (at - a->low) / (a->high - a->low) * size;
}

static double up(const mert_axis *a, double at, const box *b)
{
    return b->y + b->h - (at - a->low) / (a->high - a->low) * b->h;
}

/* ---- the data ---- */

static void draw_image(const mert_figure *f, const mert_panel *p, mert_canvas *c, const box *b)
{
    unsigned char *rgb = mert_array(mert_array_count(3 * (int64_t)b->w, b->h), 1);
    if (!rgb || mert_panel_pixels(p, f->map, b->w, b->h, rgb))
        mert_fail(&c->fault, "out of memory");
    else
        c->image(c, b->x, b->y, rgb, b->w, b->h);
    free(rgb);
}

/* The minimum and maximum in each pixel column, as a closed area at least one pixel high. */
static void draw_band(const mert_panel *p, mert_canvas *c, const box *b)
{
    double *xy = mert_array(4 * (int64_t)b->w + 4, sizeof *xy);
    int64_t n = 0, last = 4 * (int64_t)b->w;
    if (!xy) {
        mert_fail(&c->fault, "out of memory");
        return;
    }
    for (int x = 0; x < b->w; x++) {
        const double wide = (p->x.high - p->x.low) / b->w, at = (p->x.low + wide * x - p->first) / p->span;
        const int64_t from = (int64_t)fmax(at, 0), to = (int64_t)fmin(ceil(at + wide / p->span), (double)p->columns);
        double low = INFINITY, high = -INFINITY, y;
        for (int64_t k = from; k < to; k++) {
            low = fmin(low, p->values[2 * k]);
            high = fmax(high, p->values[2 * k + 1]);
        }
        if (!(low <= high))
            continue;
        y = up(&p->y, high, b);
        xy[n++] = b->x + x + 0.5;
        xy[n++] = y;
        xy[--last] = fmax(up(&p->y, low, b), y + 1);
        xy[--last] = b->x + x + 0.5;
    }
    memmove(xy + n, xy + last, (size_t)(4 * b->w - last) * sizeof *xy);
    n += 4 * b->w - last;
    if (n)
        c->path(c, xy, n / 2, mert_colour_line(0), 0, 0);
    free(xy);
}

static void draw_line(const mert_panel *p, int k, mert_canvas *c, const box *b)
{
    const mert_line *l = &p->lines[k];
    double *xy = mert_array(2 * l->n + 2, sizeof *xy);
    int64_t n = 0;
    if (!xy) {
        mert_fail(&c->fault, "out of memory");
        return;
    }
    for (int64_t i = 0; i <= l->n; i++)
        if (i < l->n && isfinite(l->y[i]) && isfinite(l->x[i])) {
            xy[n++] = across(&p->x, l->x[i], b->x, b->w);
            xy[n++] = up(&p->y, l->y[i], b);
        } else if (n) {
            c->path(c, xy, n / 2, mert_colour_line(l->colour), 1.6, l->dash);
            n = 0;
        }
    free(xy);
}

/* The most points of a line that show their value. */
static void draw_tips(const mert_panel *p, int k, mert_canvas *c, const box *b)
{
    enum { TIPS = 100 };
    const mert_line *l = &p->lines[k];
    const int64_t by = (l->n + TIPS - 1) / TIPS;
    char text[160];
    for (int64_t i = 0; i < l->n; i += by)
        if (isfinite(l->y[i]) && isfinite(l->x[i])) {
            snprintf(text, sizeof text, "%s %.10g: %s %.4g", p->x.label, l->x[i], l->name, l->y[i]);
            c->tip(c, across(&p->x, l->x[i], b->x, b->w), up(&p->y, l->y[i], b), text);
        }
}

static void draw_data(const mert_figure *f, const mert_panel *p, mert_canvas *c, const box *b)
{
    switch (p->type) {
    case MERT_IMAGE: case MERT_CLASSES: draw_image(f, p, c, b); break;
    case MERT_BAND: draw_band(p, c, b); break;
    case MERT_LINES:
        for (int k = 0; k < p->nlines; k++)
            draw_line(p, k, c, b);
        break;
    }
}

/* ---- titles, axes, legends ---- */

static void rule(mert_canvas *c, double x0, double y0, double x1, double y1, mert_colour colour)
{
    c->path(c, (double[]){x0, y0, x1, y1}, 2, colour, 1, 0);
}

static void frame(mert_canvas *c, const box *b)
{
    const double x = b->x - 0.5, y = b->y - 0.5, w = b->w + 1, h = b->h + 1;
    c->path(c, (double[]){x, y, x + w, y, x + w, y + h, x, y + h, x, y - 0.5}, 5, black, 1, 0);
}

/* left: width of the margin left of the data. */
static void draw_axes(const mert_panel *p, mert_canvas *c, const box *b, int left, int grid)
{
    for (int i = 0; i < p->x.nticks; i++) {
        const double x = floor(across(&p->x, p->x.ticks[i].at, b->x, b->w)) + 0.5;
        if (grid)
            rule(c, x, b->y, x, b->y + b->h, pale);
        rule(c, x, b->y + b->h, x, b->y + b->h + 4, black);
        c->text(c, x, b->y + b->h + 16, p->x.ticks[i].text, MERT_TEXT_MIDDLE);
    }
    for (int i = 0; i < p->y.nticks; i++) {
        const double y = floor(up(&p->y, p->y.ticks[i].at, b)) + 0.5;
        if (grid)
            rule(c, b->x, y, b->x + b->w, y, pale);
        rule(c, b->x - 4, y, b->x, y, black);
        c->text(c, b->x - 6, y + 4, p->y.ticks[i].text, MERT_TEXT_RIGHT);
    }
    for (int i = 0; i < p->right.nticks; i++) {
        const double y = floor(up(&p->y, p->right.ticks[i].at, b)) + 0.5;
        rule(c, b->x + b->w, y, b->x + b->w + 4, y, black);
        c->text(c, b->x + b->w + 6, y + 4, p->right.ticks[i].text, MERT_TEXT_LEFT);
    }
    if (*p->x.label)
        c->text(c, b->x + b->w / 2, b->y + b->h + 32, p->x.label, MERT_TEXT_MIDDLE);
    if (*p->y.label)
        c->text(c, b->x - left + 14, b->y + b->h / 2, p->y.label, MERT_TEXT_UPWARDS);
}

static void draw_bar(const mert_figure *f, const mert_panel *p, mert_canvas *c, const box *b)
{
    float values[MERT_MAP_SIZE];
    const mert_panel map = {.type = MERT_IMAGE, .columns = 1, .rows = MERT_MAP_SIZE, .span = 1, .values = values,
                            .high = 255, .x = {.high = 1}, .y = {.high = MERT_MAP_SIZE}};
    const box bar = {b->x + b->w + (p->right.nticks ? 36 : 14), b->y, BAR, b->h};
    mert_axis a;
    for (int i = 0; i < MERT_MAP_SIZE; i++)
        values[i] = (float)i;
    draw_image(f, &map, c, &bar);
    frame(c, &bar);
    mert_axis_linear(&a, p->low, p->high, bar.h / 28 + 1, "");
    for (int i = 0; i < a.nticks; i++)
        c->text(c, bar.x + BAR + 5, up(&a, a.ticks[i].at, &bar) + 4, a.ticks[i].text, MERT_TEXT_LEFT);
    c->text(c, bar.x + BAR, b->y - 8, p->unit, MERT_TEXT_MIDDLE);
}

static void draw_names(const mert_panel *p, mert_canvas *c, const box *b)
{
    for (int k = 0; k < p->nlines; k++) {
        const double y = b->y + 8 + LEGEND * k;
        if (y > b->y + b->h)
            break;
        c->path(c, (double[]){b->x + b->w + 10, y, b->x + b->w + 28, y}, 2,
                mert_colour_line(p->lines[k].colour), 2, p->lines[k].dash);
        c->text(c, b->x + b->w + 32, y + 4, p->lines[k].name, MERT_TEXT_LEFT);
    }
}

/* A title that is too long is cut at its beginning, because it is often a path. */
static void draw_title(const char *title, mert_canvas *c, double x, double y, int room)
{
    char text[256];
    const size_t n = strlen(title), most = (size_t)(room / LETTER > 8 ? room / LETTER : 8);
    const char *from = title + (n > most ? n - most : 0);
    while (((unsigned char)*from & 0xc0) == 0x80)
        from++;
    snprintf(text, sizeof text, "%s%s", from > title ? "..." : "", from);
    c->text(c, x, y, text, MERT_TEXT_LEFT);
}

/* Width of the margin left of the data. */
static int left_room(const mert_panel *p)
{
    size_t longest = 0;
    for (int i = 0; i < p->y.nticks; i++)
        longest = strlen(p->y.ticks[i].text) > longest ? strlen(p->y.ticks[i].text) : longest;
    return LETTER * (int)longest + 30;
}

/* Width of the margin right of the data. */
static int right_room(const mert_panel *p)
{
    size_t longest = 0;
    for (int k = 0; p->nlines > 1 && k < p->nlines; k++)
        longest = strlen(p->lines[k].name) > longest ? strlen(p->lines[k].name) : longest;
    if (longest)
        return 40 + LETTER * (int)longest;
    return p->type == MERT_IMAGE ? RIGHT_BAR : p->right.nticks ? 44 : RIGHT;
}

static void cell(const mert_figure *f, int i, int head, int rows, box *b)
{
    const int w = f->width / f->across, h = (f->height - head) / rows;
    *b = (box){i % f->across * w, head + i / f->across * h, w, h};
}

static int rows_of(const mert_figure *f)
{
    return (f->npanels + f->across - 1) / f->across;
}

void mert_draw_figure(const mert_figure *f, mert_canvas *c)
{
    const int head = *f->title ? HEAD : 0;
    const int most = f->width / f->across * 2 / 5;
    int left = LEFT, right = RIGHT;
    for (int i = 0; i < f->npanels; i++) { /* equal for all panels, so that their time axes are aligned */
        left = left_room(&f->panels[i]) > left ? left_room(&f->panels[i]) : left;
        right = right_room(&f->panels[i]) > right ? right_room(&f->panels[i]) : right;
    }
    left = left < most ? left : most;
    right = right < most ? right : most;
    c->bold = 1;
    if (head)
        draw_title(f->title, c, 12, 19, f->width - 24);
    for (int i = 0; i < f->npanels; i++) {
        const mert_panel *p = &f->panels[i];
        const int lines = p->type == MERT_LINES || p->type == MERT_BAND;
        box b;
        cell(f, i, head, rows_of(f), &b);
        b = (box){b.x + left, b.y + TOP, b.w - left - right, b.h - TOP - BOTTOM};
        b.w = b.w < 8 ? 8 : b.w;
        b.h = b.h < 8 ? 8 : b.h;
        c->bold = 1;
        draw_title(p->title, c, b.x, b.y - 8, b.w);
        c->bold = 0;
        if (lines)
            draw_axes(p, c, &b, left, 1);
        draw_data(f, p, c, &b);
        frame(c, &b);
        if (!lines)
            draw_axes(p, c, &b, left, 0);
        if (p->type == MERT_IMAGE)
            draw_bar(f, p, c, &b);
        if (p->nlines > 1)
            draw_names(p, c, &b);
        for (int k = 0; c->tip && k < p->nlines; k++)
            draw_tips(p, k, c, &b);
    }
}

void mert_draw_bare(const mert_figure *f, mert_canvas *c)
{
    for (int i = 0; i < f->npanels; i++) {
        box b;
        cell(f, i, 0, rows_of(f), &b);
        draw_data(f, &f->panels[i], c, &b);
    }
}
