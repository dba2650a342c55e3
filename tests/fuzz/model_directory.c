/* A model directory; its JSON files come first in the input, because the fuzzer changes them most. */
#include "tests/fuzz/fuzz.h"

#include <sys/stat.h>

#include "libcommon/models/weights/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"model/config.json", "model/preprocessor_config.json",
                                        "model/processor_config.json", "model/model.safetensors", NULL};
    mert_weights w = {0};
    mert_error e;
    if (mkdir(fuzz_path("model"), 0777) && access(fuzz_path("model"), W_OK))
        abort();
    fuzz_files(names, data, size);
    if (!mert_weights_load(&w, fuzz_path("model"), 1, &e)) {
        FUZZ_CHECK(mert_weights_hash(&w));
        mert_weights_free(&w);
    }
    return 0;
}
