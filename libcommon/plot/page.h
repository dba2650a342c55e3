/* One HTML page without other files: pictures are inline SVG, sounds are data: URIs. It is also well-formed XML, so
 * tests can parse it. All texts are escaped.
 *
 *     mert_page_begin(to, "a run");
 *     mert_page_section(to, "Curves");
 *     if (mert_page_figure(to, &figure, "caption", 0, e)) ...
 *     mert_page_end(to, "mert-plot 0.1.0");
 *
 * Only functions that can fail return a result. Errors of writing are found by the caller (mert_output_commit). */
#ifndef MERT_PAGE_H
#define MERT_PAGE_H

#include "libcommon/plot/draw.h"
#include "libcommon/plot/table.h"

void mert_page_begin(FILE *to, const char *title);
void mert_page_section(FILE *to, const char *title); /* ends the previous section */
void mert_page_end(FILE *to, const char *made_by);
void mert_page_paragraph(FILE *to, const char *text);

/* Figures between begin 1 and begin 0 are side by side if there is room. */
void mert_page_grid(FILE *to, int begin);
/* wide: on a narrow screen the figure scrolls sideways instead of shrinking. */
int mert_page_figure(FILE *to, const mert_figure *f, const char *caption, int wide, mert_error *e) MERT_MUST_USE;
/* The last `most` rows, collapsed until the reader opens them. */
void mert_page_table(FILE *to, const mert_table *t, const char *caption, int64_t most);
/* The cost of each codebook, from the columns of valid.tsv; nothing if it has no such columns. */
void mert_page_codebooks(FILE *to, const mert_table *valid);
/* The settings of a run, from its file `recipe`: lines "name = value", each after a comment that describes it. Changes
 * the text. */
int mert_page_settings(FILE *to, char *text, size_t size, const char *path, mert_error *e) MERT_MUST_USE;
/* The type of a sound file, by the ending of its name; NULL: not known. */
const char *mert_page_sound_type(const char *path);
void mert_page_sound(FILE *to, const char *path, const unsigned char *data, size_t size);

#endif
