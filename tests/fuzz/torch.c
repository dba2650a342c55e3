/* torch files: zip, or the older single pickle. */
#include "tests/fuzz/tensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_checkpoint(fuzz_file("x.pt", data, size), size);
    return 0;
}
