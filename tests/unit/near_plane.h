/* Rows near a plane of a few dimensions, for tests of quantisers. */
#ifndef MERT_TEST_NEAR_PLANE_H
#define MERT_TEST_NEAR_PLANE_H

#include "libcommon/base/random.h"

#include <stdlib.h>

/* [n, width]: sums of `directions` directions, and some noise. width <= 20, directions <= 12. NULL: out of memory. The
 * caller frees it. */
static inline float *rows_near_plane(int n, int width, int directions)
{
    mert_random key = mert_random_key(1, MERT_FOR_TEST, 0, 0, 0), mix = mert_random_key(2, MERT_FOR_TEST, 0, 0, 0);
    float *x = malloc((size_t)n * (size_t)width * sizeof *x);
    for (int i = 0; x && i < n; i++)
        for (int j = 0; j < width; j++) {
            double s = 0.1 * mert_random_normal(&key, (uint32_t)(i * 32 + j));
            for (int l = 0; l < directions; l++)
                s += mert_random_normal(&key, (uint32_t)(i * 32 + 20 + l)) *
                     mert_random_normal(&mix, (uint32_t)(l * width + j));
            x[i * width + j] = (float)s;
        }
    return x;
}

#endif
