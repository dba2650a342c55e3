/* The only file that uses cairo, with its toy text API, which is enough for text in a sans-serif font. */
#include "libcommon/plot/canvas.h"

#include "formats/array.h"
#include "formats/text.h"

#include <cairo.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct pixels {
    mert_canvas canvas; /* first, so that a pointer to the canvas can be cast to this */
    cairo_surface_t *surface;
    cairo_t *cairo;
    int width, height;
} pixels;

static void ink(pixels *p, mert_colour c)
{
    cairo_set_source_rgb(p->cairo, c.r / 255.0, c.g / 255.0, c.b / 255.0);
}

static void rectangle(mert_canvas *c, double x, double y, double w, double h, mert_colour colour)
{
    pixels *p = (pixels *)c;
    ink(p, colour);
    cairo_rectangle(p->cairo, x, y, w, h);
    cairo_fill(p->cairo);
}

static void path(mert_canvas *c, const double *xy, int64_t n, mert_colour colour, double width, int dash)
{
    pixels *p = (pixels *)c;
    const double dashes[][2] = {{0, 0}, {7, 3}, {2, 2}};
    ink(p, colour);
    for (int64_t i = 0; i < n; i++)
        if (i)
            cairo_line_to(p->cairo, xy[2 * i], xy[2 * i + 1]);
        else
            cairo_move_to(p->cairo, xy[0], xy[1]);
    if (width <= 0) {
        cairo_fill(p->cairo);
        return;
    }
    cairo_set_line_join(p->cairo, CAIRO_LINE_JOIN_ROUND);
    cairo_set_line_cap(p->cairo, n == 1 ? CAIRO_LINE_CAP_ROUND : CAIRO_LINE_CAP_BUTT);
    if (n == 1)
        cairo_close_path(p->cairo);
    cairo_set_line_width(p->cairo, n == 1 ? 3 * width : width);
    cairo_set_dash(p->cairo, dashes[dash], dash ? 2 : 0, 0);
    cairo_stroke(p->cairo);
}

static void text(mert_canvas *c, double x, double y, const char *raw, mert_text_place place)
{
    pixels *p = (pixels *)c;
    cairo_text_extents_t size;
    char s[512];
    size_t n = 0;
    for (int length; *raw && n < sizeof s - 5; raw += length ? length : 1) { /* cairo refuses text that is not UTF-8 */
        length = mert_utf8_length(raw);
        memcpy(s + n, length ? raw : "?", (size_t)(length ? length : 1));
        n += (size_t)(length ? length : 1);
    }
    s[n] = 0;
    cairo_select_font_face(p->cairo, "sans-serif", CAIRO_FONT_SLANT_NORMAL,
                           c->bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(p->cairo, MERT_TEXT_SIZE);
    ink(p, (mert_colour){0, 0, 0});
    cairo_text_extents(p->cairo, s, &size);
    cairo_save(p->cairo);
    cairo_move_to(p->cairo, x, y);
    if (place == MERT_TEXT_UPWARDS)
        cairo_rotate(p->cairo, -1.57079632679);
    if (place != MERT_TEXT_LEFT)
        cairo_rel_move_to(p->cairo, -size.x_advance / (place == MERT_TEXT_RIGHT ? 1 : 2), 0);
    cairo_show_text(p->cairo, s);
    cairo_restore(p->cairo);
}

/* A surface with these pixels. */
static cairo_surface_t *surface_of(const unsigned char *rgb, int w, int h)
{
    cairo_surface_t *s = cairo_image_surface_create(CAIRO_FORMAT_RGB24, w, h);
    unsigned char *data = cairo_image_surface_get_data(s);
    if (cairo_surface_status(s) != CAIRO_STATUS_SUCCESS)
        return s;
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, rgb += 3) {
            const uint32_t word = (uint32_t)rgb[0] << 16 | (uint32_t)rgb[1] << 8 | rgb[2];
            memcpy(data + (size_t)y * (size_t)cairo_image_surface_get_stride(s) + 4 * (size_t)x, &word, sizeof word);
        }
    cairo_surface_mark_dirty(s);
    return s;
}

static void image(mert_canvas *c, double x, double y, const unsigned char *rgb, int w, int h)
{
    pixels *p = (pixels *)c;
    cairo_surface_t *s = surface_of(rgb, w, h);
    cairo_set_source_surface(p->cairo, s, x, y);
    cairo_paint(p->cairo);
    cairo_surface_destroy(s);
}

mert_canvas *mert_canvas_pixels(int width, int height, mert_error *e)
{
    pixels *p = calloc(1, sizeof *p);
    if (!p) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    *p = (pixels){.canvas = {.rectangle = rectangle, .path = path, .text = text, .image = image},
                  .surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, width, height),
                  .width = width, .height = height};
    p->cairo = cairo_create(p->surface);
    rectangle(&p->canvas, 0, 0, width, height, (mert_colour){255, 255, 255});
    return &p->canvas;
}

int mert_canvas_pixels_end(mert_canvas *c, unsigned char *to, mert_error *e)
{
    pixels *p = (pixels *)c;
    const cairo_status_t status = cairo_status(p->cairo);
    const unsigned char *data;
    int bad = *c->fault.text ? mert_fail(e, "%s", c->fault.text) : 0;
    if (!bad && status != CAIRO_STATUS_SUCCESS)
        bad = mert_fail(e, "cairo: %s", cairo_status_to_string(status));
    cairo_surface_flush(p->surface);
    data = cairo_image_surface_get_data(p->surface);
    for (int y = 0; !bad && y < p->height; y++)
        for (int x = 0; x < p->width; x++, to += 3) {
            uint32_t word;
            memcpy(&word, data + (size_t)y * (size_t)cairo_image_surface_get_stride(p->surface) + 4 * (size_t)x,
                   sizeof word);
            to[0] = (unsigned char)(word >> 16), to[1] = (unsigned char)(word >> 8), to[2] = (unsigned char)word;
        }
    cairo_destroy(p->cairo);
    cairo_surface_destroy(p->surface);
    free(p);
    return bad;
}

static cairo_status_t put(void *to, const unsigned char *data, unsigned size)
{
    return fwrite(data, 1, size, to) == size ? CAIRO_STATUS_SUCCESS : CAIRO_STATUS_WRITE_ERROR;
}

int mert_png_write(FILE *to, const unsigned char *rgb, int width, int height, mert_error *e)
{
    cairo_surface_t *s = surface_of(rgb, width, height);
    cairo_status_t status;
    errno = 0;
    status = cairo_surface_write_to_png_stream(s, put, to);
    cairo_surface_destroy(s);
    if (status == CAIRO_STATUS_WRITE_ERROR)
        return mert_fail(e, "cannot write: %s", strerror(errno ? errno : EIO));
    return status == CAIRO_STATUS_SUCCESS ? 0 : mert_fail(e, "cairo: %s", cairo_status_to_string(status));
}
