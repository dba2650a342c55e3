/* One HTML page that needs nothing else: pictures are inline SVG, sounds are data: URIs. It is well-formed XML too, so
 * that it can be checked and searched as such. All texts are escaped.
 *
 *     mert_page_begin(to, "a run");
 *     mert_page_section(to, "Curves");
 *     if (mert_page_figure(to, &figure, "caption", 0, e)) ...
 *     mert_page_end(to, "mert-plot 0.1.0");
 *
 * Only what can fail returns something; whether all was written is for the caller to see (mert_output_commit). */
#ifndef MERT_PAGE_H
#define MERT_PAGE_H

#include "libcommon/plot/draw.h"
#include "libcommon/plot/table.h"

void mert_page_begin(FILE *to, const char *title);
void mert_page_section(FILE *to, const char *title); /* ends the section before it */
void mert_page_end(FILE *to, const char *made_by);
void mert_page_paragraph(FILE *to, const char *text);

/* Figures between these two stand beside each other where there is room. */
void mert_page_grid(FILE *to, int begin);
/* wide: on a narrow screen it is moved sideways, not made smaller. */
int mert_page_figure(FILE *to, const mert_figure *f, const char *caption, int wide, mert_error *e) MERT_MUST_USE;
/* The last `most` rows as they are, closed until one opens it. */
void mert_page_table(FILE *to, const mert_table *t, const char *caption, int64_t most);
/* What each codebook costs, by the names of the columns of valid.tsv; nothing if they are not there. */
void mert_page_codebooks(FILE *to, const mert_table *valid);
/* The settings of a run, from its file `recipe`: lines "name = value", each after a comment that says what it means.
 * Changes the text. */
int mert_page_settings(FILE *to, char *text, size_t size, const char *path, mert_error *e) MERT_MUST_USE;
/* A sound file, its type known by the end of its name; NULL: it is not known. */
const char *mert_page_sound_type(const char *path);
void mert_page_sound(FILE *to, const char *path, const unsigned char *data, size_t size);

#endif
