/* hidden-near GOT.npy WANT.npy [SHARE]: compares hidden states as mert-encode writes them, [T, N+1, D], with those
 * of the reference, [N+1, T, D]: exits 1 if any differs by more than SHARE (2e-5) of the largest magnitude. */
#include "formats/npy.h"

#include <math.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    mert_npy a, b;
    mert_error e;
    float *x, *y;
    double worst = 0, top = 0, allowed = argc == 4 ? atof(argv[3]) : 2e-5;
    if ((argc != 3 && argc != 4) || mert_npy_open(&a, argv[1], &e) || mert_npy_open(&b, argv[2], &e) ||
        !(x = mert_npy_floats(&a, &e)) || !(y = mert_npy_floats(&b, &e))) {
        fprintf(stderr, "hidden-near: %s\n", argc >= 3 ? e.text : "two files are needed");
        return 2;
    }
    if (a.ndim != 3 || b.ndim != 3 || a.shape[0] != b.shape[1] || a.shape[1] != b.shape[0] ||
        a.shape[2] != b.shape[2]) {
        fprintf(stderr, "hidden-near: shapes differ\n");
        return 1;
    }
    for (int64_t t = 0; t < a.shape[0]; t++)
        for (int64_t n = 0; n < a.shape[1]; n++)
            for (int64_t d = 0; d < a.shape[2]; d++) {
                double v = x[(t * a.shape[1] + n) * a.shape[2] + d], w = y[(n * a.shape[0] + t) * a.shape[2] + d];
                top = fabs(w) > top ? fabs(w) : top;
                worst = fabs(v - w) > worst || isnan(v) ? fabs(v - w) : worst;
            }
    printf("largest difference %.3g of the largest magnitude (%g allowed)\n", worst / top, allowed);
    mert_npy_close(&a);
    mert_npy_close(&b);
    free(x);
    free(y);
    return worst <= allowed * top ? 0 : 1;
}
