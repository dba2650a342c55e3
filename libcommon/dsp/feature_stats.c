#include "libcommon/dsp/feature_stats.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/memory.h"
#include "formats/stream/mts.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAST = 344, WIDTH_MAX = 1 << 16, CARRY_AFTER = 1 << 28, HEX_MAX = 8 * MERT_EXACT_DIGITS + 32 };
static const char MAGIC[] = "mert feature statistics 1\n";

int mert_feature_stats_new(mert_feature_stats *s, int width, const char *of, mert_error *e)
{
    memset(s, 0, sizeof *s);
    snprintf(s->of, sizeof s->of, "%s", of);
    s->sum = mert_array_zeroed(width, sizeof *s->sum);
    s->square = mert_array_zeroed(width, sizeof *s->square);
    s->width = width;
    if (s->sum && s->square)
        return 0;
    mert_feature_stats_free(s);
    return mert_fail(e, "out of memory");
}

void mert_feature_stats_free(mert_feature_stats *s)
{
    free(s->sum);
    free(s->square);
    memset(s, 0, sizeof *s);
}

void mert_feature_stats_clear(mert_feature_stats *s)
{
    s->rows = s->uncarried = 0;
    memset(s->sum, 0, (size_t)s->width * sizeof *s->sum);
    memset(s->square, 0, (size_t)s->width * sizeof *s->square);
}

/* ---- exact numbers ---- */

/* x += m 2^(at - 344), |m| < 2^53. */
static void exact_add(mert_exact *x, int64_t m, int at)
{
    unsigned __int128 v = (unsigned __int128)(m < 0 ? -m : m) << (at % 32);
    int64_t *d = x->digit + at / 32;
    for (int i = 0; v; i++, v >>= 32)
        d[i] += m < 0 ? -(int64_t)(uint32_t)v : (int64_t)(uint32_t)v;
}

/* Carries: all digits become 0 .. 2^32 - 1, except the highest one, which has the sign. */
static void exact_carry(mert_exact *x)
{
    for (int i = 0; i + 1 < MERT_EXACT_DIGITS; i++) {
        int64_t low = (int64_t)(uint32_t)x->digit[i];
        x->digit[i + 1] += (x->digit[i] - low) / ((int64_t)1 << 32);
        x->digit[i] = low;
    }
}

/* *to = |x|, carried; returns the sign. */
static int exact_magnitude(const mert_exact *x, mert_exact *to)
{
    *to = *x;
    exact_carry(to);
    if (to->digit[MERT_EXACT_DIGITS - 1] >= 0)
        return 1;
    for (int i = 0; i < MERT_EXACT_DIGITS; i++)
        to->digit[i] = -to->digit[i];
    exact_carry(to);
    return -1;
}

static long double exact_value(const mert_exact *x)
{
    mert_exact m;
    int sign = exact_magnitude(x, &m);
    long double v = 0;
    for (int i = MERT_EXACT_DIGITS - 1; i >= 0; i--)
        v += ldexpl((long double)m.digit[i], 32 * i - LEAST);
    return sign * v;
}

static void exact_print(const mert_exact *x, char text[HEX_MAX])
{
    mert_exact m;
    int sign = exact_magnitude(x, &m), top = MERT_EXACT_DIGITS - 1, n;
    while (top > 0 && !m.digit[top])
        top--;
    n = snprintf(text, HEX_MAX, "%s%" PRIx64, sign < 0 ? "-" : "", (uint64_t)m.digit[top]);
    while (top-- > 0)
        n += snprintf(text + n, HEX_MAX - (size_t)n, "%08" PRIx64, (uint64_t)m.digit[top]);
}

/* Reads the output of exact_print; returns its end, or NULL. */
static const char *exact_parse(mert_exact *x, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    int negative = *text == '-';
    size_t n;
    text += negative;
    n = strspn(text, hex);
    if (n < 1 || n > 8 * MERT_EXACT_DIGITS + 7)
        return NULL;
    memset(x, 0, sizeof *x);
    for (size_t i = 0; i < n; i++) {
        size_t place = (n - 1 - i) / 8, shift = (n - 1 - i) % 8;
        int64_t nibble = strchr(hex, text[i]) - hex;
        if (place >= MERT_EXACT_DIGITS) /* the highest digit has more bits than the others */
            place = MERT_EXACT_DIGITS - 1, shift += 8;
        x->digit[place] += (negative ? -nibble : nibble) * ((int64_t)1 << 4 * shift);
    }
    exact_carry(x);
    return text + n;
}

/* ---- rows ---- */

static void carry(mert_feature_stats *s)
{
    for (int i = 0; i < s->width; i++) {
        exact_carry(&s->sum[i]);
        exact_carry(&s->square[i]);
    }
    s->uncarried = 0;
}

int mert_feature_stats_add(mert_feature_stats *s, const float *rows, int64_t n, mert_error *e)
{
    for (int64_t r = 0; r < n; r++, rows += s->width) {
        for (int i = 0; i < s->width; i++) {
            int exponent;
            double fraction = frexp((double)rows[i], &exponent);
            int64_t m = (int64_t)ldexp(fraction, 24);
            if (!isfinite(rows[i]))
                return mert_fail(e, "row %" PRId64 ": %g is not a finite number", s->rows + r, (double)rows[i]);
            if (!m)
                continue;
            exact_add(&s->sum[i], m, exponent - 24 + LEAST);
            exact_add(&s->square[i], m * m, 2 * (exponent - 24) + LEAST);
        }
    }
    s->rows += n;
    s->uncarried += n;
    if (s->uncarried >= CARRY_AFTER)
        carry(s);
    return 0;
}

int mert_feature_stats_merge(mert_feature_stats *s, const mert_feature_stats *t, mert_error *e)
{
    if (s->width != t->width)
        return mert_fail(e, "statistics of %d dimensions do not go with those of %d", t->width, s->width);
    if (strcmp(s->of, t->of))
        return mert_fail(e, "statistics of '%s' do not go with those of '%s'", t->of, s->of);
    carry(s);
    for (int i = 0; i < s->width; i++) {
        for (int d = 0; d < MERT_EXACT_DIGITS; d++) {
            s->sum[i].digit[d] += t->sum[i].digit[d];
            s->square[i].digit[d] += t->square[i].digit[d];
        }
    }
    carry(s);
    s->rows += t->rows;
    return 0;
}

void mert_feature_stats_of(const mert_feature_stats *s, int dimension, double *mean, double *std)
{
    long double n = (long double)(s->rows ? s->rows : 1), m = exact_value(&s->sum[dimension]) / n;
    long double variance = exact_value(&s->square[dimension]) / n - m * m;
    *mean = (double)m;
    *std = variance > 0 ? sqrt((double)variance) : 0;
}

/* ---- files ---- */

static int print(mert_feature_stats *s, FILE *f)
{
    char sum[HEX_MAX], square[HEX_MAX];
    fprintf(f, "%s%s\nrows %" PRId64 "\nmean, standard deviation, sum, sum of squares (in 2^-%d) of %d dimensions:\n",
            MAGIC, s->of, s->rows, LEAST, s->width);
    for (int i = 0; i < s->width; i++) {
        double mean, std;
        mert_feature_stats_of(s, i, &mean, &std);
        exact_print(&s->sum[i], sum);
        exact_print(&s->square[i], square);
        fprintf(f, "%.9g %.9g %s %s\n", mean, std, sum, square);
    }
    return ferror(f);
}

int mert_feature_stats_write(mert_feature_stats *s, const char *path, mert_error *e)
{
    mert_output *o = mert_output_open(path, e);
    if (!o)
        return -1;
    if (print(s, o->stream)) {
        mert_fail(e, "%s: cannot write: %s", path, strerror(errno));
        mert_output_abandon(o);
        return -1;
    }
    return mert_output_commit(o, e);
}

uint64_t mert_feature_stats_hash(mert_feature_stats *s)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    int bad = f && print(s, f);
    char *text = mert_memory_close(f, &m);
    uint64_t hash = text && !bad ? mts_xxh64(text, m.size, 0) : 0;
    free(text);
    return hash;
}

static int parse(mert_feature_stats *s, const char *text, mert_error *e)
{
    int width = 0, skipped = 0;
    int64_t rows = 0;
    char of[sizeof s->of];
    const char *p = text + strlen(MAGIC), *line;
    if (strncmp(text, MAGIC, strlen(MAGIC)) || !(line = strchr(p, '\n')) || (size_t)(line - p) >= sizeof of)
        return mert_fail(e, "not a file of feature statistics");
    memcpy(of, p, (size_t)(line - p));
    of[line - p] = 0;
    p = line + 1;
    if (sscanf(p, "rows %" SCNd64 " mean, standard deviation, sum, sum of squares (in 2^-344) of %d dimensions:%n",
               &rows, &width, &skipped) != 2 || !skipped || rows < 0 || width < 1 || width > WIDTH_MAX)
        return mert_fail(e, "its third or fourth line is not as it should be");
    p += skipped;
    if (mert_feature_stats_new(s, width, of, e))
        return -1;
    s->rows = rows;
    for (int i = 0; i < width; i++) {
        const char *q;
        p += strspn(p, "\n");
        p += strcspn(p, " \n"); /* skips mean and deviation, which are for users only */
        p += *p == ' ';
        p += strcspn(p, " \n");
        if (*p != ' ' || !(q = exact_parse(&s->sum[i], p + 1)) || *q != ' ' ||
            !(q = exact_parse(&s->square[i], q + 1)) || *q != '\n')
            return mert_fail(e, "dimension %d is not as it should be", i);
        p = q;
    }
    return p[1] ? mert_fail(e, "something follows its last dimension") : 0;
}

int mert_feature_stats_read(mert_feature_stats *s, const char *path, mert_error *e)
{
    size_t size;
    char *text = mert_file_read(path, (size_t)WIDTH_MAX * 2 * HEX_MAX, &size, e);
    int bad;
    memset(s, 0, sizeof *s);
    if (!text)
        return -1;
    bad = strlen(text) != size ? mert_fail(e, "not a file of feature statistics") : parse(s, text, e);
    free(text);
    if (bad)
        mert_fail_in(e, "%s", path);
    if (!bad && !(bad = mert_input_note(path, e)))
        return 0;
    mert_feature_stats_free(s);
    return -1;
}
