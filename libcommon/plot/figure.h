/* The contents of a picture: panels with axes, each an image of values or of classes, a band between two curves, or
 * lines. draw.h draws it. */
#ifndef MERT_FIGURE_H
#define MERT_FIGURE_H

#include "libcommon/plot/axis.h"
#include "libcommon/plot/colour.h"
#include "libcommon/plot/columns.h"

typedef enum mert_panel_type { MERT_IMAGE, MERT_CLASSES, MERT_BAND, MERT_LINES } mert_panel_type;

typedef struct mert_line {
    char name[64];
    int64_t n;
    double *x, *y; /* [n]; y NaN: a gap */
    int colour, dash;  /* mert_colour_line; 0: solid, 1: dashes, 2: dots */
} mert_line;

typedef struct mert_panel {
    mert_panel_type type;
    char title[256];
    mert_axis x, y, right; /* right: additional ticks; nticks 0: none */
    /* IMAGE, CLASSES: values [columns, rows], row 0 at the bottom; BAND: [columns, 2]. Column k takes the positions
     * first + k * span to first + (k + 1) * span of the x axis. NaN: nothing there. */
    int64_t columns, rows;
    double first, span;
    float *values;
    mert_reduction keep;        /* how several values in one pixel become one */
    double low, high;      /* IMAGE: the values of the first and the last colour */
    char unit[24];         /* IMAGE: of the values */
    mert_line *lines;
    int nlines;
} mert_panel;

typedef struct mert_figure {
    char title[256];
    mert_panel *panels;
    int npanels, across; /* across: number of panels side by side */
    int width, height;   /* pixels */
    mert_colour_map map;
} mert_figure;

/* Adds a panel, zeroed. NULL: out of memory. Pointers to other panels become invalid. */
mert_panel *mert_figure_add(mert_figure *f);
void mert_figure_pop(mert_figure *f); /* removes the last panel */
void mert_figure_free(mert_figure *f);
/* Adds a line, in the next colour, with memory for n points; the caller sets n and the values. NULL: out of memory. */
mert_line *mert_panel_line(mert_panel *p, int64_t n);
/* Sets the axes of a panel of lines or of a band from its values, with a margin above and below. */
void mert_panel_fit(mert_panel *p, const char *x, const char *y);
/* The minimum and maximum of an image's values; NaN, NaN if it has none. */
void mert_panel_range(const mert_panel *p, double *low, double *high);
/* Draws the image into [height, width] pixels of 3 bytes, the first row at the top. Values in one pixel are joined by
 * `keep`. -1: out of memory. */
int mert_panel_pixels(const mert_panel *p, mert_colour_map map, int width, int height, unsigned char *rgb);

#endif
