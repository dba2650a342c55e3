#include "libcommon/plot/page.h"

#include "formats/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char style[] =
    "body{font:16px/1.5 sans-serif;color:#111;background:#fff;max-width:75rem;margin:0 auto;padding:1rem}\n"
    "h1{font-size:1.6rem}h2{font-size:1.25rem;border-bottom:1px solid #767676;margin-top:2rem}\n"
    ".grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}\n"
    "figure{margin:0 0 1rem}figcaption{font-size:.9rem}svg{width:100%;height:auto;display:block}\n"
    ".wide{overflow-x:auto}.wide svg,.wide table{min-width:40rem}\n"
    "table{border-collapse:collapse;font-size:.9rem}"
    "th,td{border:1px solid #767676;padding:.15rem .5rem;text-align:left}\n"
    "td.number{text-align:right;font-variant-numeric:tabular-nums}summary{cursor:pointer;padding:.3rem 0}\n"
    "audio{width:100%;max-width:30rem}footer{margin-top:2rem;font-size:.85rem;color:#444}\n";

static void element(FILE *to, const char *name, const char *attributes, const char *text)
{
    fprintf(to, "<%s%s%s>", name, *attributes ? " " : "", attributes);
    mert_xml_text(to, text);
    fprintf(to, "</%s>", name);
}

void mert_page_begin(FILE *to, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n", to);
    element(to, "title", "", title);
    fprintf(to, "\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", style);
    element(to, "h1", "", title);
    fputs("\n<section>\n", to);
}

void mert_page_section(FILE *to, const char *title)
{
    fputs("</section>\n<section>\n", to);
    element(to, "h2", "", title);
    putc('\n', to);
}

void mert_page_end(FILE *to, const char *made_by)
{
    fputs("</section>\n</main>\n", to);
    element(to, "footer", "", made_by);
    fputs("\n</body>\n</html>\n", to);
}

void mert_page_paragraph(FILE *to, const char *text)
{
    element(to, "p", "", text);
    putc('\n', to);
}

void mert_page_grid(FILE *to, int begin)
{
    fputs(begin ? "<div class=\"grid\">\n" : "</div>\n", to);
}

/* An area that scrolls sideways, also with the keyboard. */
static void begin_wide(FILE *to, const char *name)
{
    fputs("<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"", to);
    mert_xml_text(to, name);
    fputs("\">\n", to);
}

int mert_page_figure(FILE *to, const mert_figure *f, const char *caption, int wide, mert_error *e)
{
    mert_canvas *c;
    fputs("<figure>\n", to);
    if (wide)
        begin_wide(to, caption);
    c = mert_canvas_svg(to, f->width, f->height, caption, 1, e);
    if (!c)
        return -1;
    mert_draw_figure(f, c);
    if (mert_canvas_svg_end(c, e))
        return -1;
    fputs(wide ? "</div>\n" : "", to);
    element(to, "figcaption", "", caption);
    fputs("\n</figure>\n", to);
    return 0;
}

void mert_page_table(FILE *to, const mert_table *t, const char *caption, int64_t most)
{
    const int64_t first = t->rows > most ? t->rows - most : 0;
    char left[64] = "";
    if (first)
        snprintf(left, sizeof left, ", the last %" PRId64 " of %" PRId64 " rows", most, t->rows);
    fputs("<details>\n<summary>", to);
    mert_xml_text(to, caption);
    fprintf(to, "%s</summary>\n", left);
    begin_wide(to, caption);
    fputs("<table>\n<thead><tr>", to);
    for (int64_t c = 0; c < t->columns; c++)
        element(to, "th", "scope=\"col\"", t->names[c]);
    fputs("</tr></thead>\n<tbody>\n", to);
    for (int64_t r = first; r < t->rows; r++) {
        fputs("<tr>", to);
        for (int64_t c = 0; c < t->columns; c++)
            element(to, "td", "class=\"number\"", t->cells[r * t->columns + c]);
        fputs("</tr>\n", to);
    }
    fputs("</tbody>\n</table>\n</div>\n</details>\n", to);
}

/* ---- codebooks ---- */

static double of_codebook(const mert_table *t, int64_t row, const char *name, int k)
{
    char column[64];
    snprintf(column, sizeof column, "%s_%d", name, k);
    return mert_table_column(t, column) < 0 ? NAN : mert_table_number(t, row, mert_table_column(t, column));
}

static void number(FILE *to, double x, const char *format, double times)
{
    char text[32] = "";
    if (isfinite(x))
        snprintf(text, sizeof text, format, x * times);
    element(to, "td", "class=\"number\"", text);
}

void mert_page_codebooks(FILE *to, const mert_table *valid)
{
    static const char *const names[] = {"codebook", "unigram",       "neighbours", "first",
                                        "last",     "below unigram", "accuracy"};
    const int64_t last = valid->rows - 1;
    if (mert_table_column(valid, "ce_0") < 0)
        return;
    mert_page_paragraph(to, "Bits per masked frame of the held-out pieces. Unigram: a guess that knows only how often "
                            "each class occurs in the training labels. Neighbours: a guess that knows the nearest "
                            "unmasked label on either side. First and last: the first and the last validation.");
    begin_wide(to, "codebooks");
    fputs("<table>\n<thead><tr>", to);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        element(to, "th", "scope=\"col\"", names[i]);
    fputs("</tr></thead>\n<tbody>\n", to);
    for (int k = 0; isfinite(of_codebook(valid, last, "ce", k)); k++) {
        const double unigram = of_codebook(valid, last, "unigram", k), ce = of_codebook(valid, last, "ce", k);
        fprintf(to, "<tr><th scope=\"row\">%d</th>", k);
        number(to, unigram, "%.3f", 1);
        number(to, of_codebook(valid, last, "neighbours", k), "%.3f", 1);
        number(to, of_codebook(valid, 0, "ce", k), "%.3f", 1);
        number(to, ce, "%.3f", 1);
        number(to, (unigram - ce) / unigram, "%.1f %%", 100);
        number(to, of_codebook(valid, last, "accuracy", k), "%.1f %%", 100);
        fputs("</tr>\n", to);
    }
    fputs("</tbody>\n</table>\n</div>\n", to);
}

/* ---- settings ---- */

int mert_page_settings(FILE *to, char *text, size_t size, const char *path, mert_error *e)
{
    mert_text t;
    char *line, *meaning = "";
    int got;
    if (mert_text_open(&t, path, text, size, e))
        return -1;
    fputs("<details>\n<summary>All settings</summary>\n", to);
    begin_wide(to, "settings");
    fputs("<table>\n<thead><tr><th scope=\"col\">setting</th><th scope=\"col\">value</th>"
          "<th scope=\"col\">meaning (range; default)</th></tr></thead>\n<tbody>\n", to);
    while ((got = mert_text_line(&t, &line, e)) > 0) {
        char *value = strchr(line, '=');
        if (*line == '#') {
            meaning = line + 1;
            continue;
        }
        if (!value)
            continue;
        *value++ = 0;
        fputs("<tr>", to);
        element(to, "th", "scope=\"row\"", mert_text_trim(line));
        element(to, "td", "", mert_text_trim(value));
        element(to, "td", "", mert_text_trim(meaning));
        fputs("</tr>\n", to);
        meaning = "";
    }
    fputs("</tbody>\n</table>\n</div>\n</details>\n", to);
    return got;
}

/* ---- sounds ---- */

const char *mert_page_sound_type(const char *path)
{
    static const char *const types[][2] = {{".wav", "audio/wav"}, {".mp3", "audio/mpeg"}, {".ogg", "audio/ogg"},
                                           {".opus", "audio/ogg"}, {".flac", "audio/flac"}, {".m4a", "audio/mp4"}};
    const char *dot = strrchr(path, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++)
        if (!strcasecmp(dot, types[i][0]))
            return types[i][1];
    return NULL;
}

void mert_page_sound(FILE *to, const char *path, const unsigned char *data, size_t size)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    fputs("<figure>\n", to);
    element(to, "figcaption", "", name);
    fputs("\n<audio controls=\"controls\" preload=\"none\" aria-label=\"", to);
    mert_xml_text(to, name);
    fprintf(to, "\" src=\"data:%s;base64,", mert_page_sound_type(path));
    mert_base64(to, data, size);
    fputs("\"></audio>\n</figure>\n", to);
}
