#include "formats/text.h"
#include "tests/test.h"

static mert_error err;

/* The lines, each in brackets; or the error. */
static const char *lines(const char *bytes, size_t size)
{
    static char to[400];
    char own[200], *line;
    mert_text t;
    int got;
    memcpy(own, bytes, size);
    own[size] = 'x'; /* the byte after the end, which may become a NUL byte */
    *to = 0;
    if ((got = mert_text_open(&t, "f", own, size, &err)) == 0)
        while ((got = mert_text_line(&t, &line, &err)) > 0)
            snprintf(to + strlen(to), sizeof to - strlen(to), "%d[%s]", (int)t.number, line);
    return got < 0 ? err.text : to;
}
#define LINES(text, expected) CHECK(!strncmp(lines(text, sizeof text - 1), expected, sizeof expected - 1))
#define EXACTLY(text, expected) CHECK(!strcmp(lines(text, sizeof text - 1), expected))

TEST(lines_end_in_lf_or_cr_lf)
{
    EXACTLY("", "");
    EXACTLY("\n", "1[]");
    EXACTLY("a\nb\r\n\r\n c ", "1[a]2[b]3[]4[ c ]");
    EXACTLY("a\r", "1[a]");
    LINES("a\rb\n", "f:1: a carriage return inside");
    LINES("a\nb\r\r\n", "f:2: a carriage return inside");
}

TEST(byte_order_marks)
{
    EXACTLY("\xef\xbb\xbf" "a\n", "1[a]");
    EXACTLY("\xef\xbb\xbf", "");
    LINES("\xef\xbb\xbf\xef\xbb\xbf" "a\n", "f: begins with two byte order marks");
    LINES("\xef\xbb\xbf\xff\xfe" "a\n", "f: begins with two byte order marks");
    EXACTLY("\xef\xbb", "1[\xef\xbb]");
    EXACTLY("a\n\xef\xbb\xbf" "b", "1[a]2[\xef\xbb\xbf" "b]"); /* at the beginning only */
    LINES("\xff\xfe" "a\0", "f: a text in UTF-16");
    LINES("\xfe\xff\0a", "f: a text in UTF-16");
    LINES("\xff\xfe\0\0a\0\0\0", "f: a text in UTF-32");
    LINES("\0\0\xfe\xff", "f: a text in UTF-32");
}

TEST(nul_bytes_are_refused)
{
    LINES("a\nb\0c\n", "f:2: a NUL byte");
    LINES("\0", "f:1: a NUL byte");
}

TEST(blanks_are_cut_off_both_ends)
{
    char a[] = " \t a b\t ", b[] = " \t", c[] = "";
    CHECK(!strcmp(mert_text_trim(a), "a b") && !strcmp(mert_text_trim(b), "") && !strcmp(mert_text_trim(c), ""));
}

int main(void)
{
    RUN(lines_end_in_lf_or_cr_lf);
    RUN(byte_order_marks);
    RUN(nul_bytes_are_refused);
    RUN(blanks_are_cut_off_both_ends);
    return test_done();
}
