/* Manifests; a valid one is written and read again, and must be the same. */
#include "tests/fuzz/fuzz.h"

#include "formats/labels/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_manifest m, again;
    mert_error e;
    const char *copy = fuzz_path("copy.tsv");
    if (mert_manifest_read(&m, fuzz_file("x.tsv", data, size), &e))
        return 0;
    if (!mert_manifest_write(&m, copy, &e)) {
        FUZZ_CHECK(!mert_manifest_read(&again, copy, &e) && again.n == m.n && !strcmp(again.root, m.root));
        mert_manifest_free(&again);
    }
    mert_manifest_free(&m);
    return 0;
}
