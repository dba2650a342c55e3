#include "cqt_vector.h"

#include <math.h>

/* A vector type of the compilers', not of one instruction set: each lowers it to what it has. */
typedef float lanes __attribute__((vector_size(4 * CQT_LANES), may_alias));

typedef struct point {
    lanes re, im;
} point;

static void fold(const float *response, const float *spectrum, int rows, int frames, int first, float *z)
{
    const lanes *h = (const lanes *)response;
    point *out = (point *)z;
    int m = first % frames + (first % frames < 0 ? frames : 0);
    for (int q = 0; q < frames; q += 4) {
        /* Four frequencies at a time: eight independent chains of sums keep the units busy. */
        lanes re0 = {0}, im0 = {0}, re1 = {0}, im1 = {0}, re2 = {0}, im2 = {0}, re3 = {0}, im3 = {0};
        for (int r = q; r < rows; r += frames) {
            const float *x = spectrum + 2 * r;
            re0 += h[r] * x[0];
            im0 += h[r] * x[1];
            re1 += h[r + 1] * x[2];
            im1 += h[r + 1] * x[3];
            re2 += h[r + 2] * x[4];
            im2 += h[r + 2] * x[5];
            re3 += h[r + 3] * x[6];
            im3 += h[r + 3] * x[7];
        }
        out[m].re = re0;
        out[m].im = im0;
        m = m + 1 == frames ? 0 : m + 1;
        out[m].re = re1;
        out[m].im = im1;
        m = m + 1 == frames ? 0 : m + 1;
        out[m].re = re2;
        out[m].im = im2;
        m = m + 1 == frames ? 0 : m + 1;
        out[m].re = re3;
        out[m].im = im3;
        m = m + 1 == frames ? 0 : m + 1;
    }
}

/* Of points y, a, b in the stages below; macros because functions that take vectors by value are not the same in
 * every compiler. TURNED: y = (re + i im) * w. */
#define SUM(y, a, b) (y.re = a.re + b.re, y.im = a.im + b.im)
#define DIFFERENCE(y, a, b) (y.re = a.re - b.re, y.im = a.im - b.im)
#define TURNED(y, real, imaginary, w)           \
    do {                                        \
        lanes re = (real), im = (imaginary);    \
        (y).re = re * (w)[0] - im * (w)[1];     \
        (y).im = re * (w)[1] + im * (w)[0];     \
    } while (0)

/* One stage of Stockham's algorithm: n points are left of each of `stride` interleaved transforms.
 *     y[radix * p + k] = exp(2 pi i p k / n) * sum_j x[p + j * n/radix] exp(2 pi i j k / radix) */
static void stage2(int n, int stride, const float *w, const point *x, point *y)
{
    int m = n / 2;
    for (int p = 0; p < m; p++, w += 2)
        for (int q = 0; q < stride; q++) {
            point a = x[q + stride * p], b = x[q + stride * (p + m)], *to = y + q + stride * 2 * p;
            SUM(to[0], a, b);
            TURNED(to[stride], a.re - b.re, a.im - b.im, w);
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
            TURNED(to[stride], amc.re - bmd.im, amc.im + bmd.re, w);
            TURNED(to[2 * stride], ac.re - bd.re, ac.im - bd.im, w + 2);
            TURNED(to[3 * stride], amc.re + bmd.im, amc.im - bmd.re, w + 4);
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

/* The arithmetic is written in whole vectors, so that a row's bits do not depend on how many rows there are. */
static void magnitude(const float *z, int n, float *out)
{
    const point *in = (const point *)z;
    for (int i = 0; i < n; i++, out += CQT_LANES) {
        lanes square = in[i].re * in[i].re + in[i].im * in[i].im;
        for (int l = 0; l < CQT_LANES; l++)
            out[l] = sqrtf(square[l]);
    }
}

static void turn(float *z, int n, const float *w)
{
    point *x = (point *)z, by = *(const point *)w;
    for (int i = 0; i < n; i++) {
        lanes re = x[i].re * by.re - x[i].im * by.im;
        x[i].im = x[i].re * by.im + x[i].im * by.re;
        x[i].re = re;
    }
}

const cqt_vector MERT_KERNEL(mert_cqt_vector) = {fold, inverse, magnitude, turn};
