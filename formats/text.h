/* Text files that people edit: one rule for manifests, labels, dictionaries, .meta files, tables of labels, recipes.
 *
 *     A UTF-8 byte order mark at the beginning is passed over; UTF-16 and UTF-32 are refused as what they are, and so
 *     are git-lfs pointers and web pages.
 *     Lines end in \n or \r\n; the last one needs no end. A \r elsewhere is refused, and so is a NUL byte.
 *     Blanks (spaces, tabs that separate nothing) around a field do not count, but where the field is a path: paths and
 *     keys are taken exactly as they stand.
 *
 *     mert_text t;
 *     char *line;
 *     int got = mert_text_open(&t, path, text, size, e);      // text: of mert_file_read
 *     while (!got && (got = mert_text_line(&t, &line, e)) > 0) { ... t.number ...; got = 0; }
 *
 * Nothing is allocated; lines may be as long as the text. */
#ifndef MERT_TEXT_H
#define MERT_TEXT_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_text {
    const char *path;     /* the caller's, for messages */
    const char *at, *end; /* what is still to come */
    int64_t number;       /* of the line that came last, from 1 */
} mert_text;

enum { MERT_TEXT_WORDS = 128 };
/* What often stands under the name of a file that was to be fetched: a git-lfs pointer, a web page. 1: this is one, and
 * `words` say which and what to do; the whole of it, or its first bytes. */
int mert_text_stands_in(const char *text, size_t size, char words[MERT_TEXT_WORDS]);
/* How many bytes the byte order mark takes (0: there is none); -1: it is that of UTF-16 or UTF-32, there are two, or
 * the text stands in the place of another. */
int mert_text_mark(const char *path, const char *text, size_t size, mert_error *e) MERT_MUST_USE;

/* 1: a file that begins with this text would be taken for another: by a byte order mark, or as what stands in. */
int mert_text_misread(const char *text);

int mert_text_open(mert_text *t, const char *path, const char *text, size_t size, mert_error *e) MERT_MUST_USE;
/* The next line without its end: 1, 0: there is none, -1: a NUL byte or a \r inside of it. */
int mert_text_next(mert_text *t, const char **line, size_t *size, mert_error *e) MERT_MUST_USE;
/* The same for a text that is the caller's own, with a byte behind it: a NUL byte is put where the line ends. */
int mert_text_line(mert_text *t, char **line, mert_error *e) MERT_MUST_USE;

/* Cuts blanks off both ends, in place. */
char *mert_text_trim(char *s);

#endif
