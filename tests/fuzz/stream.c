/* Streams; most inputs are damaged. */
#include "tests/fuzz/stream_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_stream(data, size);
    return 0;
}
