#define _GNU_SOURCE
#include "libcommon/plot/canvas.h"

#include "formats/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct svg {
    mert_canvas canvas; /* first, so that a pointer to the canvas can be cast to this */
    FILE *to;
} svg;

void mert_xml_text(FILE *to, const char *text)
{
    for (const char *s = text; *s;) {
        const int n = mert_utf8_length(s);
        switch (*s) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '"': fputs("&quot;", to); break;
        case '\'': fputs("&#39;", to); break;
        default:
            if (n)
                fwrite(s, 1, (size_t)n, to);
            else
                fputs("\xef\xbf\xbd", to);
        }
        s += n ? n : 1;
    }
}

void mert_base64(FILE *to, const unsigned char *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const uint32_t word = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                              (left > 2 ? data[i + 2] : 0);
        putc(digits[word >> 18], to);
        putc(digits[word >> 12 & 63], to);
        putc(left > 1 ? digits[word >> 6 & 63] : '=', to);
        putc(left > 2 ? digits[word & 63] : '=', to);
    }
}

/* ---- drawing ---- */

static const char *hex(mert_colour c)
{
    static char text[8];
    snprintf(text, sizeof text, "#%02x%02x%02x", c.r, c.g, c.b);
    return text;
}

static void rectangle(mert_canvas *c, double x, double y, double w, double h, mert_colour colour)
{
    fprintf(((svg *)c)->to, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y, w, h,
            hex(colour));
}

static void path(mert_canvas *c, const double *xy, int64_t n, mert_colour colour, double width, int dash)
{
    static const char *const dashes[] = {"", " stroke-dasharray=\"7 3\"", " stroke-dasharray=\"2 2\""};
    FILE *to = ((svg *)c)->to;
    if (n == 1) {
        fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"%s\"/>\n", xy[0], xy[1], 1.5 * width,
                hex(colour));
        return;
    }
    fputs("<path d=\"M", to);
    for (int64_t i = 0; i < n; i++)
        fprintf(to, "%s%.1f,%.1f", i ? " " : "", xy[2 * i], xy[2 * i + 1]);
    if (width > 0)
        fprintf(to, "\" fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\"%s/>\n", hex(colour), width,
                dashes[dash]);
    else
        fprintf(to, "z\" fill=\"%s\"/>\n", hex(colour));
}

static void text(mert_canvas *c, double x, double y, const char *s, mert_text_place place)
{
    static const char *const anchor[] = {"start", "middle", "end", "middle"};
    FILE *to = ((svg *)c)->to;
    fprintf(to, "<text x=\"%.1f\" y=\"%.1f\"", x, y);
    if (place != MERT_TEXT_LEFT)
        fprintf(to, " text-anchor=\"%s\"", anchor[place]);
    if (place == MERT_TEXT_UPWARDS)
        fprintf(to, " transform=\"rotate(-90 %.1f %.1f)\"", x, y);
    fputs(c->bold ? " font-weight=\"bold\">" : ">", to);
    mert_xml_text(to, s);
    fputs("</text>\n", to);
}

static void image(mert_canvas *c, double x, double y, const unsigned char *rgb, int w, int h)
{
    FILE *to = ((svg *)c)->to, *png;
    char *data = NULL;
    size_t size = 0;
    int bad;
    if (!(png = open_memstream(&data, &size))) {
        mert_fail(&c->fault, "out of memory");
        return;
    }
    bad = mert_png_write(png, rgb, w, h, &c->fault);
    if ((fclose(png) || !data) && !bad)
        bad = mert_fail(&c->fault, "out of memory");
    if (!bad) {
        fprintf(to, "<image x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" style=\"image-rendering:pixelated\" "
                    "href=\"data:image/png;base64,", x, y, w, h);
        mert_base64(to, (const unsigned char *)data, size);
        fputs("\"/>\n", to);
    }
    free(data);
}

static void tip(mert_canvas *c, double x, double y, const char *s)
{
    FILE *to = ((svg *)c)->to;
    fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"none\" pointer-events=\"all\"><title>", x, y);
    mert_xml_text(to, s);
    fputs("</title></circle>\n", to);
}

mert_canvas *mert_canvas_svg(FILE *to, int width, int height, const char *title, int inside, mert_error *e)
{
    svg *s = calloc(1, sizeof *s);
    if (!s) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    *s = (svg){
        .canvas = {.rectangle = rectangle, .path = path, .text = text, .image = image, .tip = inside ? tip : NULL},
        .to = to};
    if (!inside)
        fputs("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", to);
    fprintf(to, "<svg %sviewBox=\"0 0 %d %d\" role=\"img\" font-family=\"sans-serif\" font-size=\"%d\"",
            inside ? "" : "xmlns=\"http://www.w3.org/2000/svg\" ", width, height, MERT_TEXT_SIZE);
    fprintf(to, inside ? ">\n<title>" : " width=\"%d\" height=\"%d\">\n<title>", width, height);
    mert_xml_text(to, title);
    fputs("</title>\n", to);
    rectangle(&s->canvas, 0, 0, width, height, (mert_colour){255, 255, 255});
    return &s->canvas;
}

int mert_canvas_svg_end(mert_canvas *c, mert_error *e)
{
    svg *s = (svg *)c;
    int bad = *c->fault.text ? mert_fail(e, "%s", c->fault.text) : 0;
    errno = 0;
    fputs("</svg>\n", s->to);
    if (!bad && ferror(s->to))
        bad = mert_fail(e, "cannot write: %s", strerror(errno ? errno : EIO));
    free(s);
    return bad;
}
