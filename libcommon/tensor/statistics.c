#include "libcommon/tensor/statistics.h"

#include "formats/array.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- moments ---- */

void mert_moments_begin(mert_moments *m)
{
    memset(m, 0, sizeof *m);
    m->min = INFINITY;
    m->max = -INFINITY;
}

/* Two passes over these values, then merged: no cancellation, even if the mean is far from zero. */
void mert_moments_add(mert_moments *m, const double *x, int64_t n)
{
    mert_moments block;
    double sum = 0;
    mert_moments_begin(&block);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) {
            block.nan += isnan(x[i]) != 0;
            block.inf += isinf(x[i]) != 0;
            continue;
        }
        block.n++;
        sum += x[i];
        block.min = x[i] < block.min ? x[i] : block.min;
        block.max = x[i] > block.max ? x[i] : block.max;
    }
    block.mean = block.n ? sum / (double)block.n : 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i]))
            block.m2 += (x[i] - block.mean) * (x[i] - block.mean);
    mert_moments_merge(m, &block);
}

void mert_moments_merge(mert_moments *m, const mert_moments *other)
{
    double n = (double)(m->n + other->n), apart = other->mean - m->mean;
    m->nan += other->nan;
    m->inf += other->inf;
    if (!other->n)
        return;
    m->m2 += other->m2 + apart * apart * (double)m->n * (double)other->n / n;
    m->mean += apart * (double)other->n / n;
    m->n += other->n;
    m->min = other->min < m->min ? other->min : m->min;
    m->max = other->max > m->max ? other->max : m->max;
}

double mert_moments_std(const mert_moments *m)
{
    return m->n ? sqrt(m->m2 / (double)m->n) : NAN;
}

/* ---- codes ---- */

int mert_code_counts_begin(mert_code_counts *c, const mts_record *r, mert_error *e)
{
    memset(c, 0, sizeof *c);
    for (int k = 0; k < r->ncodebooks; k++)
        if (r->classes[k] > MERT_CODE_COUNTS_MAX)
            return mert_fail(e, "%" PRId64 " classes, more than the %d that can be counted", r->classes[k],
                             MERT_CODE_COUNTS_MAX);
    c->codebooks = r->ncodebooks;
    memcpy(c->classes, r->classes, sizeof c->classes);
    return 0;
}

int mert_code_counts_fit(const mert_code_counts *c, const mts_record *r)
{
    return c->codebooks == r->ncodebooks && !memcmp(c->classes, r->classes, (size_t)c->codebooks * sizeof *c->classes);
}

static int grow(mert_code_counts *c, int k, int64_t code, mert_error *e)
{
    int64_t room = c->room[k] ? 2 * c->room[k] : 1024;
    while (room <= code)
        room *= 2;
    int64_t *count = mert_array_resize(c->count[k], room, sizeof *count);
    if (!count)
        return mert_fail(e, "out of memory");
    memset(count + c->room[k], 0, (size_t)(room - c->room[k]) * sizeof *count);
    c->count[k] = count;
    c->room[k] = room;
    return 0;
}

int mert_codes_check(int codebooks, const int64_t *classes, const double *x, int64_t frames, int64_t first,
                     mert_error *e)
{
    for (int64_t t = 0; t < frames; t++)
        for (int k = 0; k < codebooks; k++)
            if (!(x[t * codebooks + k] >= 0 && x[t * codebooks + k] < (double)classes[k]))
                return mert_fail(e, "frame %" PRId64 ": code %g of codebook %d is outside its %" PRId64 " classes",
                                 first + t, x[t * codebooks + k], k, classes[k]);
    return 0;
}

int mert_code_counts_add(mert_code_counts *c, const double *x, int64_t frames, int64_t first, mert_error *e)
{
    if (mert_codes_check(c->codebooks, c->classes, x, frames, first, e))
        return -1;
    for (int64_t t = 0; t < frames; t++)
        for (int k = 0; k < c->codebooks; k++) {
            int64_t code = (int64_t)x[t * c->codebooks + k];
            if (code >= c->room[k] && grow(c, k, code, e))
                return -1;
            c->count[k][code]++;
            c->runs[k] += first + t == 0 || code != c->last[k];
            c->last[k] = code;
        }
    c->frames += frames;
    return 0;
}

void mert_code_counts_free(mert_code_counts *c)
{
    for (int k = 0; k < c->codebooks; k++)
        free(c->count[k]);
    memset(c, 0, sizeof *c);
}

mert_code_use mert_code_counts_use(const mert_code_counts *c, int k)
{
    mert_code_use u = {0};
    double total = 0;
    for (int64_t i = 0; i < c->room[k]; i++)
        total += (double)c->count[k][i];
    for (int64_t i = 0; i < c->room[k]; i++) {
        double p = (double)c->count[k][i] / total;
        if (!c->count[k][i])
            continue;
        u.used++;
        u.entropy -= p * log2(p);
        u.commonest = p > u.largest ? i : u.commonest;
        u.largest = p > u.largest ? p : u.largest;
    }
    u.run = c->runs[k] ? total / (double)c->runs[k] : 0;
    return u;
}

/* ---- rows ---- */

int mert_row_set_add(mert_row_set *s, int64_t row)
{
    int64_t low = 0, high = s->n;
    while (low < high) { /* the first span that ends after row */
        int64_t mid = low + (high - low) / 2;
        if (s->span[mid][1] > row)
            high = mid;
        else
            low = mid + 1;
    }
    int joins_left = low > 0 && s->span[low - 1][1] == row, joins_right = low < s->n && s->span[low][0] == row + 1;
    if (low < s->n && s->span[low][0] <= row)
        return 0;
    if (joins_left && joins_right) {
        s->span[low - 1][1] = s->span[low][1];
        memmove(&s->span[low], &s->span[low + 1], (size_t)(--s->n - low) * sizeof *s->span);
    } else if (joins_left) {
        s->span[low - 1][1]++;
    } else if (joins_right) {
        s->span[low][0]--;
    } else {
        if (s->n == s->room) {
            int64_t(*span)[2] = mert_array_grow(s->span, &s->room, s->n + 1, sizeof *span);
            if (!span)
                return -1;
            s->span = span;
        }
        memmove(&s->span[low + 1], &s->span[low], (size_t)(s->n++ - low) * sizeof *s->span);
        s->span[low][0] = row;
        s->span[low][1] = row + 1;
    }
    return 1;
}

void mert_row_set_free(mert_row_set *s)
{
    free(s->span);
    memset(s, 0, sizeof *s);
}
