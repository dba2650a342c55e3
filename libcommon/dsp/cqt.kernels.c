#include "libcommon/dsp/cqt_vector.h"

#include <math.h>
#include <string.h>

/* The compiler's portable vector type, which becomes instructions of the selected instruction set. */
typedef float lanes __attribute__((vector_size(4 * CQT_LANES), may_alias));

typedef struct point {
    lanes re, im;
} point;

/* The sums of one point. FOLDS: number of spectra at a time, so that two points of each fit into registers. A row of
 * the response is multiplied by a complex number: with 64-byte vectors this is one product, with (re, im) of each lane
 * side by side. */
#if defined __AVX512F__ && defined __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define WIDE 1
#endif
#endif
#ifdef WIDE
enum { FOLDS = 4 };
typedef float sums __attribute__((vector_size(8 * CQT_LANES), may_alias));
typedef double numbers __attribute__((vector_size(8 * CQT_LANES), may_alias));
#define ADD_ROW(h, x, sum)                                                                                  \
    do {                                                                                                    \
        double number;                                                                                      \
        memcpy(&number, x, sizeof number);                                                                  \
        (sum) += __builtin_shufflevector(h, h, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7) *            \
                 (sums)(numbers){number, number, number, number, number, number, number, number};           \
    } while (0)
#define PUT_POINT(sum, z)                                                      \
    ((z).re = __builtin_shufflevector(sum, sum, 0, 2, 4, 6, 8, 10, 12, 14),    \
     (z).im = __builtin_shufflevector(sum, sum, 1, 3, 5, 7, 9, 11, 13, 15))
#define NOTHING {0}
#else
#ifdef __AVX2__
enum { FOLDS = 2 };
#else
enum { FOLDS = 1 };
#endif
typedef point sums;
#define ADD_ROW(h, x, sum) ((sum).re += (h) * (x)[0], (sum).im += (h) * (x)[1])
#define PUT_POINT(sum, z) ((z) = (sum))
#define NOTHING {{0}, {0}}
#endif

/* Two points of each of a constant number of spectra: enough independent sums to keep the arithmetic units busy, and
 * each row of the response is loaded once for all spectra. */
static inline __attribute__((always_inline)) void fold_some(const lanes *h, const float *spectrum, size_t stride,
                                                            int blocks, int rows, int frames, int count, int first,
                                                            point *z)
{
    int m = first % frames;
    for (int q = 0; q < frames; q += 2) {
        sums even[FOLDS] = {NOTHING}, odd[FOLDS] = {NOTHING};
        const float *x = spectrum + 2 * (size_t)cqt_spectrum_place(first + q, count, frames);
        for (int r = q; r < rows; r += frames, h += 2, x += 4) {
            for (int b = 0; b < blocks; b++) {
                ADD_ROW(h[0], x + b * stride, even[b]);
                ADD_ROW(h[1], x + b * stride + 2, odd[b]);
            }
        }
        for (int b = 0; b < blocks; b++)
            PUT_POINT(even[b], z[(size_t)b * frames + m]);
        m = m + 1 == frames ? 0 : m + 1;
        for (int b = 0; b < blocks; b++)
            PUT_POINT(odd[b], z[(size_t)b * frames + m]);
        m = m + 1 == frames ? 0 : m + 1;
    }
}

static void fold(const float *response, const float *spectrum, size_t stride, int blocks, int rows, int frames,
                 int count, int first, float *z)
{
    const lanes *h = (const lanes *)response;
    point *out = (point *)z;
    for (; blocks >= FOLDS; blocks -= FOLDS, spectrum += FOLDS * stride, out += FOLDS * (size_t)frames)
        fold_some(h, spectrum, stride, FOLDS, rows, frames, count, first, out);
    for (; blocks > 0; blocks--, spectrum += stride, out += frames)
        fold_some(h, spectrum, stride, 1, rows, frames, count, first, out);
}

static void advance(const float *spectrum, const float *w, int count, float *out)
{
    for (int i = 0; i < 2 * count; i += 2) {
        float re = spectrum[i] * w[i] - spectrum[i + 1] * w[i + 1];
        out[i + 1] = spectrum[i] * w[i + 1] + spectrum[i + 1] * w[i];
        out[i] = re;
    }
}

/* Operations on the points y, a, b in the stages below. They are macros because compilers differ in passing vectors by
 * value. ROTATE: y = (re + i im) * w. */
#define SUM(y, a, b) (y.re = a.re + b.re, y.im = a.im + b.im)
#define DIFFERENCE(y, a, b) (y.re = a.re - b.re, y.im = a.im - b.im)
#define ROTATE(y, real, imaginary, w)           \
    do {                                        \
        lanes re = (real), im = (imaginary);    \
        (y).re = re * (w)[0] - im * (w)[1];     \
        (y).im = re * (w)[1] + im * (w)[0];     \
    } while (0)

/* One stage of Stockham's algorithm, for `stride` interleaved transforms of n points.
 *     y[radix * p + k] = exp(2 pi i p k / n) * sum_j x[p + j * n/radix] exp(2 pi i j k / radix) */
static void stage2(int n, int stride, const float *w, const point *x, point *y)
{
    int m = n / 2;
    for (int p = 0; p < m; p++, w += 2)
        for (int q = 0; q < stride; q++) {
            point a = x[q + stride * p], b = x[q + stride * (p + m)], *to = y + q + stride * 2 * p;
            SUM(to[0], a, b);
            ROTATE(to[stride], a.re - b.re, a.im - b.im, w);
        }
}

static void stage4(int n, int stride, const float *w, const point *x, point *y)
{
    int m = n / 4;
    for (int p = 0; p < m; p++, w += 6)
        for (int q = 0; q < stride; q++) {
            point a = x[q + stride * p], b = x[q + stride * (p + m)];
            point c = x[q + stride * (p + 2 * m)], d = x[q + stride * (p + 3 * m)], ac, bd, amc, bmd;
            point *to = y + q + stride * 4 * p;
            SUM(ac, a, c);
            SUM(bd, b, d);
            DIFFERENCE(amc, a, c);
            DIFFERENCE(bmd, b, d);
            SUM(to[0], ac, bd);
            ROTATE(to[stride], amc.re - bmd.im, amc.im + bmd.re, w);
            ROTATE(to[2 * stride], ac.re - bd.re, ac.im - bd.im, w + 2);
            ROTATE(to[3 * stride], amc.re + bmd.im, amc.im - bmd.re, w + 4);
        }
}

static float *inverse(const cqt_lane_fft *f, float *x, float *y)
{
    int n = f->n, stride = 1;
    for (int s = 0; s < f->stages; s++) {
        float *swap = x;
        if (f->radix[s] == 4)
            stage4(n, stride, f->twiddle[s], (const point *)x, (point *)y);
        else
            stage2(n, stride, f->twiddle[s], (const point *)x, (point *)y);
        n /= f->radix[s];
        stride *= f->radix[s];
        x = y;
        y = swap;
    }
    return x;
}

/* All arithmetic is in whole vectors, so that the bits of a row do not depend on the number of rows. */
static void magnitude(const float *z, int n, float *out)
{
    const point *in = (const point *)z;
    for (int i = 0; i < n; i++, out += CQT_LANES) {
        lanes square = in[i].re * in[i].re + in[i].im * in[i].im;
        for (int l = 0; l < CQT_LANES; l++)
            out[l] = sqrtf(square[l]);
    }
}

static void rotate(float *z, int n, const float *w)
{
    point *x = (point *)z, by = *(const point *)w;
    for (int i = 0; i < n; i++) {
        lanes re = x[i].re * by.re - x[i].im * by.im;
        x[i].im = x[i].re * by.im + x[i].im * by.re;
        x[i].re = re;
    }
}

/* The sines of the evenly spaced u are computed by rotations, restarted every ANEW rows, so that rounding errors do not
 * accumulate. Four lanes at a time, which are one register of AVX2. */
enum { ANEW = 128, QUAD = 4 };
typedef double quad __attribute__((vector_size(QUAD * sizeof(double)), aligned(8), may_alias));

/* Rows first .. first + n - 1 of four lanes; to[r]: where a row is. */
static void four_windows(const cqt_windows *s, int lane, int first, int n, float *const *to)
{
    double start[4][QUAD], rotate[2][QUAD];
    const double sd = sin(s->step), cd = cos(s->step);
    quad su, cu, sl, cl, st, ct;
    const quad b2 = *(const quad *)(s->sin_b2 + lane), half = *(const quad *)(s->scale + lane) * b2 * 0.5;
    for (int i = 0; i < QUAD; i++) {
        double l = s->l[lane + i], u = s->step * (first - s->centre[lane + i]);
        start[0][i] = sin(u), start[1][i] = cos(u), start[2][i] = sin(l * u), start[3][i] = cos(l * u);
        rotate[0][i] = sin(l * s->step), rotate[1][i] = cos(l * s->step);
    }
    su = *(const quad *)start[0], cu = *(const quad *)start[1];
    sl = *(const quad *)start[2], cl = *(const quad *)start[3];
    st = *(const quad *)rotate[0], ct = *(const quad *)rotate[1];
    for (int r = 0; r < n; r++) {
        quad w = half * sl * cu / (su * (b2 - su * su)), t;
        for (int i = 0; i < QUAD; i++)
            to[r][lane + i] = (float)w[i];
        t = su * cd + cu * sd, cu = cu * cd - su * sd, su = t;
        t = sl * ct + cl * st, cl = cl * ct - sl * st, sl = t;
    }
}

static void windows(const cqt_windows *s, int rows, int frames, float *response)
{
    float *to[ANEW];
    for (int first = 0; first < rows; first += ANEW) {
        int n = rows - first < ANEW ? rows - first : ANEW;
        for (int r = 0; r < n; r++)
            to[r] = response + (size_t)cqt_response_place(first + r, rows, frames) * CQT_LANES;
        for (int lane = 0; lane < CQT_LANES; lane += QUAD)
            four_windows(s, lane, first, n, to);
    }
}

const cqt_vector MERT_KERNEL(mert_cqt_vector) = {windows, fold, advance, inverse, magnitude, rotate};
