/* A surface to draw on. Positions and sizes are in pixels, from the upper left corner. There are two kinds: SVG as
 * text, and pixels by cairo. The first error is stored, and returned by the call that ends the picture.
 *
 *     mert_canvas *c = mert_canvas_svg(stream, width, height, title, 0, e);
 *     c->text(c, 10, 20, "a & b", MERT_TEXT_LEFT);
 *     if (mert_canvas_svg_end(c, e)) ...                     // frees c */
#ifndef MERT_CANVAS_H
#define MERT_CANVAS_H

#include "formats/error.h"
#include "libcommon/plot/colour.h"

#include <stdio.h>

typedef enum mert_text_place { MERT_TEXT_LEFT, MERT_TEXT_MIDDLE, MERT_TEXT_RIGHT, MERT_TEXT_UPWARDS } mert_text_place;

typedef struct mert_canvas mert_canvas;
struct mert_canvas {
    int bold;        /* for the next texts */
    mert_error fault; /* "": none */
    void (*rectangle)(mert_canvas *c, double x, double y, double w, double h, mert_colour colour); /* filled */
    /* n points x, y. width 0: a filled area; otherwise a line of this width; dash 1: dashed, 2: dotted. */
    void (*path)(mert_canvas *c, const double *xy, int64_t n, mert_colour colour, double width, int dash);
    /* x, y: a point on the base line; with UPWARDS the middle of the text, which is turned to the left. UTF-8. */
    void (*text)(mert_canvas *c, double x, double y, const char *text, mert_text_place place);
    /* w x h pixels of 3 bytes, not scaled. */
    void (*image)(mert_canvas *c, double x, double y, const unsigned char *rgb, int w, int h);
    /* A text that is shown while the pointer is there; may be NULL. */
    void (*tip)(mert_canvas *c, double x, double y, const char *text);
};

enum { MERT_TEXT_SIZE = 12 }; /* pixels */

/* SVG. inside: a part of an HTML page. The caller closes the stream. */
mert_canvas *mert_canvas_svg(FILE *to, int width, int height, const char *title, int inside, mert_error *e);
int mert_canvas_svg_end(mert_canvas *c, mert_error *e);

/* Pixels, white at first. */
mert_canvas *mert_canvas_pixels(int width, int height, mert_error *e);
/* Its pixels, of 3 bytes; to: [height, width, 3]. Frees c. */
int mert_canvas_pixels_end(mert_canvas *c, unsigned char *to, mert_error *e);

/* Writes a PNG file. */
int mert_png_write(FILE *to, const unsigned char *rgb, int width, int height, mert_error *e);

/* Text in XML and HTML: &, <, >, quotes are escaped; control characters, and bytes that are no UTF-8, become U+FFFD. */
void mert_xml_text(FILE *to, const char *text);
/* Bytes as base64. */
void mert_base64(FILE *to, const unsigned char *data, size_t size);

#endif
