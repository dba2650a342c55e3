#include "formats/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- git-lfs pointers and web pages ---- */

/* Ignores case. */
static int begins(const char *text, size_t size, const char *with)
{
    size_t n = strlen(with);
    return size >= n && !strncasecmp(text, with, n);
}

/* https://git-lfs.github.com/spec/v1: lines of "key value", one of them "size N". 0: not a pointer. */
static int is_pointer(const char *bytes, size_t size, char words[MERT_TEXT_WORDS])
{
    static const char first[] = "version https://git-lfs.github.com/spec/";
    char text[1025];
    const char *at;
    if (size >= sizeof text || !begins(bytes, size, first))
        return 0;
    memcpy(text, bytes, size);
    text[size] = 0;
    at = strstr(text, "\nsize ");
    snprintf(words, MERT_TEXT_WORDS, "a git-lfs pointer%s%.*s%s; fetch the file with git lfs pull", at ? " of " : "",
             at ? (int)strspn(at + 6, "0123456789") : 0, at ? at + 6 : "", at ? " bytes" : "");
    return 1;
}

int mert_text_stands_in(const char *text, size_t size, char words[MERT_TEXT_WORDS])
{
    static const char *const pages[] = {"<!doctype html", "<html", "<head", "<?xml", "<error"};
    if (is_pointer(text, size, words))
        return 1;
    for (size_t left = 1 << 10; size && left && *text && strchr(" \t\r\n\xef\xbb\xbf", *text); left--) {
        text++;
        size--;
    }
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        if (begins(text, size, pages[i])) {
            snprintf(words, MERT_TEXT_WORDS,
                     "a web page, perhaps of an error, saved under this name; fetch the file again");
            return 1;
        }
    return 0;
}

/* ---- lines ---- */

/* The name of the byte order mark at the beginning of the text, and its size in bytes; NULL: none. */
static const char *mark_of(const char *text, size_t size, int *bytes)
{
    static const struct { const char *name; int n; char bytes[4]; } marks[] = {
        {"UTF-8", 3, "\xef\xbb\xbf"}, {"UTF-32", 4, "\0\0\xfe\xff"}, {"UTF-32", 4, "\xff\xfe\0\0"},
        {"UTF-16", 2, "\xff\xfe"}, {"UTF-16", 2, "\xfe\xff"}};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (size >= (size_t)marks[i].n && !memcmp(text, marks[i].bytes, (size_t)marks[i].n)) {
            *bytes = marks[i].n;
            return marks[i].name;
        }
    *bytes = 0;
    return NULL;
}

int mert_text_mark(const char *path, const char *text, size_t size, mert_error *e)
{
    char words[MERT_TEXT_WORDS];
    int bytes, more;
    const char *name = mark_of(text, size, &bytes);
    if (mert_text_stands_in(text, size, words))
        return mert_fail(e, "%s: this is %s", path, words);
    if (name && strcmp(name, "UTF-8"))
        return mert_fail(e, "%s: a text in %s (by its byte order mark): save it as UTF-8", path, name);
    if (mark_of(text + bytes, size - (size_t)bytes, &more) && bytes)
        return mert_fail(e, "%s: begins with two byte order marks: save it again, as UTF-8", path);
    return bytes;
}

int mert_text_misread(const char *text)
{
    char words[MERT_TEXT_WORDS];
    int bytes;
    return mark_of(text, strlen(text), &bytes) || mert_text_stands_in(text, strlen(text), words);
}

int mert_text_open(mert_text *t, const char *path, const char *text, size_t size, mert_error *e)
{
    int mark = mert_text_mark(path, text, size, e);
    *t = (mert_text){path, text + (mark > 0 ? mark : 0), text + size, 0};
    return mark < 0 ? -1 : 0;
}

int mert_text_next(mert_text *t, const char **line, size_t *size, mert_error *e)
{
    const char *stop;
    if (t->at >= t->end)
        return 0;
    *line = t->at;
    stop = memchr(t->at, '\n', (size_t)(t->end - t->at));
    t->at = stop ? stop + 1 : t->end;
    stop = stop ? stop : t->end;
    stop -= stop > *line && stop[-1] == '\r';
    *size = (size_t)(stop - *line);
    t->number++;
    if (memchr(*line, 0, *size))
        return mert_fail(e, "%s:%" PRId64 ": a NUL byte: not a text file", t->path, t->number);
    if (memchr(*line, '\r', *size))
        return mert_fail(e, "%s:%" PRId64 ": a carriage return inside the line: lines end in LF or CR LF", t->path,
                         t->number);
    return 1;
}

int mert_text_line(mert_text *t, char **line, mert_error *e)
{
    const char *begin;
    size_t size;
    int got = mert_text_next(t, &begin, &size, e);
    if (got == 1) {
        *line = (char *)(uintptr_t)begin;
        (*line)[size] = 0;
    }
    return got;
}

char *mert_text_trim(char *s)
{
    size_t n;
    s += strspn(s, " \t");
    for (n = strlen(s); n && (s[n - 1] == ' ' || s[n - 1] == '\t');)
        s[--n] = 0;
    return s;
}

/* ---- characters ---- */

int mert_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    const int n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    uint32_t c = n == 1 ? s[0] : n ? s[0] & (0xffu >> (n + 1)) : 0;
    for (int i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || (c >= 0xd800 && c < 0xe000) || c > 0x10ffff ||
        (c & 0xfffe) == 0xfffe || (c >= 0x7f && c < 0xa0))
        return 0;
    return c >= 0x20 || c == '\t' || c == '\n' ? n : 0;
}
