/* Files of trained probes. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/probe/trained.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_trained t;
    mert_error e;
    float *x, *work;
    if (mert_trained_read(&t, fuzz_file("x.safetensors", data, size), &e))
        return 0;
    FUZZ_CHECK(t.layers >= 1 && t.width >= 1 && t.outputs.n >= 1 && !t.names == (t.outputs.task == MERT_PROBE_REGRESS));
    x = calloc((size_t)(t.layers * t.width), sizeof *x);
    work = calloc((size_t)(t.width + t.hidden + 2 * t.outputs.n), sizeof *work);
    if (x && work)
        mert_trained_answer(&t, x, work, work + t.width + t.hidden + t.outputs.n);
    free(x);
    free(work);
    mert_trained_free(&t);
    return 0;
}
