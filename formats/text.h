/* Text files that people edit. The same rules hold for manifests, labels, dictionaries, .meta files, tables of labels
 * and recipes.
 *
 *     A UTF-8 byte order mark at the beginning is skipped. UTF-16, UTF-32, git-lfs pointers and web pages are refused,
 *     each with its own message.
 *     Lines end in \n or \r\n; the last one needs no end. A \r elsewhere is refused, and so is a NUL byte.
 *     Blanks (spaces, and tabs that are not separators) around a field are ignored, except around paths and keys:
 *     these are taken exactly as written.
 *
 *     mert_text t;
 *     char *line;
 *     int got = mert_text_open(&t, path, text, size, e);      // text: of mert_file_read
 *     while (!got && (got = mert_text_line(&t, &line, e)) > 0) { ... t.number ...; got = 0; }
 *
 * Nothing is allocated; a line may have any length. */
#ifndef MERT_TEXT_H
#define MERT_TEXT_H

#include "formats/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mert_text {
    const char *path;     /* the caller's, for messages */
    const char *at, *end; /* the rest of the text */
    int64_t number;       /* of the last line read, from 1 */
} mert_text;

enum { MERT_TEXT_WORDS = 128 };
/* 1: the text is a git-lfs pointer or a web page, which a failed download often leaves under the name of the file;
 * `words` then says which, and what to do. The text may be the whole file or its first bytes. */
int mert_text_stands_in(const char *text, size_t size, char words[MERT_TEXT_WORDS]);
/* The size of the UTF-8 byte order mark in bytes (0: none). -1: the mark is that of UTF-16 or UTF-32, there are two
 * marks, or the text is a git-lfs pointer or a web page. */
int mert_text_mark(const char *path, const char *text, size_t size, mert_error *e) MERT_MUST_USE;

/* 1: a file that begins with this text would be misread, because it looks like a byte order mark, a git-lfs pointer or
 * a web page. */
int mert_text_misread(const char *text);

int mert_text_open(mert_text *t, const char *path, const char *text, size_t size, mert_error *e) MERT_MUST_USE;
/* The next line without its line end. 1: read, 0: no more lines, -1: the line contains a NUL byte or a \r. */
int mert_text_next(mert_text *t, const char **line, size_t *size, mert_error *e) MERT_MUST_USE;
/* The same for a text that may be changed and has one byte after its end: the line end is replaced by a NUL byte. */
int mert_text_line(mert_text *t, char **line, mert_error *e) MERT_MUST_USE;

/* The length of the UTF-8 character at s, which is not NUL; 0: there is none, or a control character. */
int mert_utf8_length(const char *s);

/* Removes blanks from both ends, in place. */
char *mert_text_trim(char *s);

#endif
