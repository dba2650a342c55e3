#define _GNU_SOURCE
#include "libcommon/plot/terminal.h"

#include "formats/array.h"
#include "libcommon/plot/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MARGIN = 9 };

mert_terminal_colours mert_terminal_known(void)
{
    const char *names[] = {"LC_ALL", "LC_CTYPE", "LANG"}, *set = "";
    const char *term = getenv("TERM"), *colour = getenv("COLORTERM");
    for (int i = 0; i < 3 && !*set; i++)
        set = getenv(names[i]) ? getenv(names[i]) : "";
    if ((!strcasestr(set, "utf-8") && !strcasestr(set, "utf8")) || (term && !strcmp(term, "dumb")))
        return MERT_TERMINAL_ASCII;
    return colour && (!strcmp(colour, "truecolor") || !strcmp(colour, "24bit")) ? MERT_TERMINAL_24BIT
                                                                                : MERT_TERMINAL_256;
}

static const unsigned char *pixel(const unsigned char *rgb, int width, int x, int y)
{
    return rgb + 3 * ((size_t)y * (size_t)width + (size_t)x);
}

/* The nearest of the 6 x 6 x 6 colours, whose levels are 0, 95, 135, 175, 215, 255. */
static int nearest(const unsigned char *c)
{
    int at = 0;
    for (int i = 0; i < 3; i++)
        at = 6 * at + (c[i] < 48 ? 0 : c[i] < 115 ? 1 : (c[i] - 35) / 40);
    return 16 + at;
}

static void half_block(const unsigned char *upper, const unsigned char *lower, mert_terminal_colours colours, FILE *to)
{
    if (colours == MERT_TERMINAL_24BIT)
        fprintf(to, "\033[38;2;%d;%d;%d;48;2;%d;%d;%dm", upper[0], upper[1], upper[2], lower[0], lower[1], lower[2]);
    else
        fprintf(to, "\033[38;5;%d;48;5;%dm", nearest(upper), nearest(lower));
    fputs("\xe2\x96\x80", to);
}

/* ink: dark values are drawn. */
static char letter(const unsigned char *c, int ink)
{
    static const char ramp[] = " .:-=+*#%@";
    const double light = mert_colour_lightness((mert_colour){c[0], c[1], c[2]}) / 100.001;
    return ramp[(int)((ink ? 0.99999 - light : light) * (sizeof ramp - 1))];
}

/* The tick at this text line, if there is one. */
static const char *tick_at(const mert_axis *a, int line, int lines)
{
    for (int i = 0; i < a->nticks; i++)
        if ((int)fmin((a->high - a->ticks[i].at) / (a->high - a->low) * lines, lines - 1) == line)
            return a->ticks[i].text;
    return "";
}

static void draw_rows(const mert_panel *p, const unsigned char *rgb, mert_terminal_colours colours, int width,
                      int lines, FILE *to)
{
    const int ink = p->type == MERT_LINES || p->type == MERT_BAND;
    for (int y = 0; y < lines; y++) {
        fprintf(to, "%*.*s ", MARGIN - 1, MARGIN - 1, tick_at(&p->y, y, lines));
        for (int x = 0; x < width; x++)
            if (colours == MERT_TERMINAL_ASCII)
                putc(letter(pixel(rgb, width, x, y), ink), to);
            else
                half_block(pixel(rgb, width, x, 2 * y), pixel(rgb, width, x, 2 * y + 1), colours, to);
        fprintf(to, "%s %s\n", colours == MERT_TERMINAL_ASCII ? "" : "\033[0m", tick_at(&p->right, y, lines));
    }
}

static void draw_times(const mert_panel *p, int width, FILE *to)
{
    int at = -MARGIN + 1;
    fprintf(to, "%*s", 1, "");
    for (int i = 0; i < p->x.nticks; i++) {
        const char *text = p->x.ticks[i].text;
        const int n = (int)strlen(text);
        const int x = (int)lround((p->x.ticks[i].at - p->x.low) / (p->x.high - p->x.low) * width) - n / 2;
        if (x <= at || x + n > width + MARGIN)
            continue;
        fprintf(to, "%*s%s", x - at, "", text);
        at = x + n;
    }
    fprintf(to, " %s\n", p->x.label);
}

int mert_terminal_draw(const mert_figure *f, mert_terminal_colours colours, int columns, int lines, FILE *to,
                       mert_error *e)
{
    const int width = columns - MARGIN - 6 > 8 ? columns - MARGIN - 6 : 8;
    const int height = colours == MERT_TERMINAL_ASCII ? lines : 2 * lines;
    unsigned char *rgb = mert_array(mert_array_count(3 * (int64_t)width, height), 1);
    int bad = rgb ? 0 : mert_fail(e, "out of memory");
    for (int i = 0; !bad && i < f->npanels; i++) {
        const mert_figure one = {.panels = &f->panels[i], .npanels = 1, .across = 1, .width = width, .height = height,
                                 .map = colours == MERT_TERMINAL_ASCII ? MERT_MAP_DARK : f->map};
        mert_canvas *c = mert_canvas_pixels(width, height, e);
        if (!c) {
            bad = -1;
            break;
        }
        mert_draw_bare(&one, c);
        bad = mert_canvas_pixels_end(c, rgb, e);
        if (bad)
            break;
        fprintf(to, "%*s%s%s%s\n", MARGIN, "", f->panels[i].title,
                *f->panels[i].title && *f->panels[i].unit ? ", " : "", f->panels[i].unit);
        draw_rows(&f->panels[i], rgb, colours, width, lines, to);
        draw_times(&f->panels[i], width, to);
        for (int k = 0; f->panels[i].nlines > 1 && k < f->panels[i].nlines; k++) {
            const mert_colour ink = mert_colour_line(f->panels[i].lines[k].colour);
            if (colours == MERT_TERMINAL_ASCII)
                fprintf(to, "%*s%s\n", MARGIN, "", f->panels[i].lines[k].name);
            else
                fprintf(to, "%*s\033[38;5;%dm\xe2\x96\x80\xe2\x96\x80\033[0m %s\n", MARGIN, "",
                        nearest((unsigned char[]){ink.r, ink.g, ink.b}), f->panels[i].lines[k].name);
        }
    }
    free(rgb);
    return bad;
}
