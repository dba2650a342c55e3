#include "libcommon/teachers/kmeans/sums.h"

#include "formats/array.h"
#include "libcommon/base/pool.h"
#include "libcommon/teachers/codes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const int64_t most_pending = INT64_C(1) << 29;

int mert_kmeans_sums_new(mert_kmeans_sums *s, int64_t k, int64_t d, mert_error *e)
{
    memset(s, 0, sizeof *s);
    s->k = k;
    s->d = d;
    s->count = mert_array_zeroed(k, sizeof *s->count);
    return s->count ? 0 : mert_fail(e, "out of memory");
}

void mert_kmeans_sums_free(mert_kmeans_sums *s)
{
    for (int p = 0; p < MERT_SUM_PLANES; p++)
        free(s->plane[p]);
    free(s->count);
    memset(s, 0, sizeof *s);
}

void mert_kmeans_sums_clear(mert_kmeans_sums *s)
{
    for (int64_t c = 0; c < s->k; c++)
        for (int p = s->lo; p < s->hi && s->count[c]; p++)
            memset(s->plane[p] + c * s->d, 0, (size_t)s->d * sizeof(int64_t));
    memset(s->count, 0, (size_t)s->k * sizeof *s->count);
    memset(s->inertia, 0, sizeof s->inertia);
    s->pending = 0;
}

int mert_kmeans_sums_reach(mert_kmeans_sums *s, int lo, int hi, mert_error *e)
{
    if (s->hi > s->lo) {
        lo = lo < s->lo ? lo : s->lo;
        hi = hi > s->hi ? hi : s->hi;
    }
    for (int p = lo; p < hi; p++)
        if (!s->plane[p] && !(s->plane[p] = mert_array_zeroed(mert_array_count(s->k, s->d), sizeof(int64_t))))
            return mert_fail(e, "out of memory");
    s->lo = lo;
    s->hi = hi;
    return 0;
}

/* ---- adding ---- */

/* The planes of the bits of x[n], and one for carries. */
static void planes_of(const float *x, int64_t n, int *lo, int *hi)
{
    float most = 0, least = INFINITY;
    int top, bottom;
    for (int64_t i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        most = a > most ? a : most;
        least = a > 0 && a < least ? a : least;
    }
    if (most == 0) {
        *lo = *hi = -MERT_SUM_UNIT / 32;
        *hi += 2;
        return;
    }
    frexpf(most, &top); /* below 2^top */
    frexpf(least, &bottom);
    bottom = bottom - 24 < -149 ? -149 : bottom - 24; /* a multiple of 2^bottom */
    *lo = (bottom - MERT_SUM_UNIT) / 32;
    *hi = (top - 1 - MERT_SUM_UNIT) / 32 + 2;
}

typedef struct job {
    mert_kmeans_sums *s;
    const float *x;
    const int32_t *label;
    int64_t n, clusters; /* of one piece */
    int lo, top;         /* planes that these points use */
} job;

/* Each task owns some clusters and reads all labels, so no other task writes to the same sums. */
static void piece(void *arg, int64_t at, int worker)
{
    const job *j = arg;
    const mert_codes_kernels *v = MERT_CODES_KERNELS;
    mert_kmeans_sums *s = j->s;
    int64_t first = at * j->clusters, end = first + j->clusters;
    (void)worker;
    for (int64_t r = 0; r < j->n; r++) {
        int64_t c = j->label[r];
        if (c < first || c >= end)
            continue;
        s->count[c]++;
        v->add_digits(s->plane, j->lo, j->top, MERT_SUM_UNIT, c * s->d, j->x + r * s->d, s->d);
    }
}

/* Adds a non-negative number, truncated to the unit. */
static void add_distance(int64_t *digit, double distance2)
{
    int exponent, at;
    uint64_t m = (uint64_t)ldexp(frexp(distance2, &exponent), 53);
    unsigned __int128 bits;
    at = exponent - 53 - MERT_INERTIA_UNIT;
    if (at < 0) {
        m = at > -64 ? m >> -at : 0;
        at = 0;
    }
    bits = (unsigned __int128)m << (at & 31);
    for (int i = at >> 5; bits && i < MERT_INERTIA_DIGITS; i++, bits >>= 32)
        digit[i] += (int64_t)(uint32_t)bits;
}

int mert_kmeans_sums_add(mert_kmeans_sums *s, const float *x, int64_t n, const int32_t *label, const double *distance2,
                         mert_error *e)
{
    job j = {s, x, label, n, (s->k + 15) / 16, 0, 0};
    int hi;
    if (n > most_pending)
        return mert_fail(e, "too many points at once");
    planes_of(x, n * s->d, &j.lo, &hi);
    j.top = hi - 1;
    if (mert_kmeans_sums_reach(s, j.lo, hi, e))
        return -1;
    if (s->pending + n > most_pending)
        mert_kmeans_sums_carry(s);
    s->pending += n;
    mert_pool_run((s->k + j.clusters - 1) / j.clusters, piece, &j);
    for (int64_t r = 0; distance2 && r < n; r++)
        add_distance(s->inertia, distance2[r]);
    return 0;
}

void mert_kmeans_sums_carry(mert_kmeans_sums *s)
{
    for (int p = s->lo; p + 1 < s->hi; p++)
        for (int64_t i = 0; i < s->k * s->d; i++) {
            s->plane[p + 1][i] += s->plane[p][i] >> 32;
            s->plane[p][i] = (int64_t)(uint32_t)s->plane[p][i];
        }
    for (int i = 0; i + 1 < MERT_INERTIA_DIGITS; i++) {
        s->inertia[i + 1] += s->inertia[i] >> 32;
        s->inertia[i] = (int64_t)(uint32_t)s->inertia[i];
    }
    s->pending = 1;
}

int mert_kmeans_sums_merge(mert_kmeans_sums *s, const mert_kmeans_sums *t, mert_error *e)
{
    if (t->hi > t->lo && mert_kmeans_sums_reach(s, t->lo, t->hi, e))
        return -1;
    if (s->pending + t->pending > most_pending)
        mert_kmeans_sums_carry(s);
    s->pending += t->pending;
    for (int64_t c = 0; c < s->k; c++) {
        if (!t->count[c])
            continue;
        s->count[c] += t->count[c];
        for (int p = t->lo; p < t->hi; p++) {
            int64_t *to = s->plane[p] + c * s->d;
            const int64_t *from = t->plane[p] + c * s->d;
            for (int64_t i = 0; i < s->d; i++)
                to[i] += from[i];
        }
    }
    for (int i = 0; i < MERT_INERTIA_DIGITS; i++)
        s->inertia[i] += t->inertia[i];
    return 0;
}

/* ---- reading ---- */

/* Converts digits, from 2^unit upwards, to a double. Digits can be any int64; the result depends only on the sum, not
 * on its representation. */
static double to_double(const int64_t *digits, int n, int unit)
{
    uint32_t clean[MERT_INERTIA_DIGITS];
    __int128 h, carry = 0;
    int p;
    for (p = 0; p < n; p++) {
        carry += digits[p];
        clean[p] = (uint32_t)carry;
        carry >>= 32;
    }
    h = carry;
    for (p = n - 1; p >= 0 && h < (__int128)1 << 90 && h > -((__int128)1 << 90); p--)
        h = h * ((int64_t)1 << 32) + clean[p];
    return ldexp((double)h, 32 * (p + 1) + unit);
}

double mert_kmeans_sums_value(const mert_kmeans_sums *s, int64_t cluster, int64_t i)
{
    int64_t digits[MERT_SUM_PLANES];
    for (int p = s->lo; p < s->hi; p++)
        digits[p - s->lo] = s->plane[p][cluster * s->d + i];
    return to_double(digits, s->hi - s->lo, MERT_SUM_UNIT + 32 * s->lo);
}

double mert_kmeans_sums_inertia(const mert_kmeans_sums *s)
{
    return to_double(s->inertia, MERT_INERTIA_DIGITS, MERT_INERTIA_UNIT);
}

int64_t mert_kmeans_sums_points(const mert_kmeans_sums *s)
{
    int64_t n = 0;
    for (int64_t c = 0; c < s->k; c++)
        n += s->count[c];
    return n;
}
