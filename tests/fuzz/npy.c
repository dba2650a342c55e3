/* NumPy arrays. */
#include "tests/fuzz/fuzz.h"

#include "formats/npy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_npy a;
    mert_error e;
    float *x;
    if (mert_npy_open(&a, fuzz_file("x.npy", data, size), &e))
        return 0;
    FUZZ_CHECK(a.elements >= 0 && (size_t)a.elements <= size);
    if ((x = mert_npy_floats(&a, &e)))
        free(x);
    mert_npy_close(&a);
    return 0;
}
