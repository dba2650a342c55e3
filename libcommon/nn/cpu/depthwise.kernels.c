#include "libcommon/nn/cpu/depthwise.h"

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { WIDTH = MERT_DEPTHWISE_WIDTH, ROWS = MERT_DEPTHWISE_ROWS };

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

/* For a loop with constant bounds. It must be unrolled completely, so that its array becomes registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 12")
#endif

static void tile(float *y, const float *x, const float *w, const float *bias, int64_t taps)
{
    vec sum[ROWS];
    UNROLL for (int r = 0; r < ROWS; r++)
        sum[r] = *(const vec *)bias;
    for (int64_t k = 0; k < taps; k++, x += WIDTH) {
        vec by = *(const vec *)(w + k * WIDTH);
        /* The rows of x are loaded again for the next tap, from the first cache: if the compiler kept them in
         * registers, there would be too few for the sums. This statement hides from the compiler that x moves by one
         * row. */
        __asm__("" : "+r"(x));
        UNROLL for (int r = 0; r < ROWS; r++)
            sum[r] += by * *(const vec *)(x + r * WIDTH);
    }
    UNROLL for (int r = 0; r < ROWS; r++)
        *(vec *)(y + r * WIDTH) = sum[r];
}

static void rows(float *y, const float *x, const float *w, const float *bias, int64_t n, int64_t taps)
{
    for (int64_t t = 0; t < n; t += ROWS)
        for (int c = 0; c < WIDTH; c += LANES)
            tile(y + t * WIDTH + c, x + t * WIDTH + c, w + c, bias + c, taps);
}

const mert_depthwise MERT_KERNEL(mert_depthwise) = {rows};
