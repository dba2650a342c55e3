/* Codebook files, sums of k-means, EnCodec's checkpoints: each reader gets the file. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/teachers/encodec/encodec.h"
#include "libcommon/teachers/kmeans/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("x.safetensors", data, size);
    mert_codebook b = {0};
    mert_kmeans_shard s = {0};
    mert_checkpoint *c;
    mert_error e;
    if (!mert_codebook_read(&b, path, &e)) {
        FUZZ_CHECK(b.count >= 1 && b.classes >= 1 && b.width >= 1 && (b.levels[0] ? b.project : b.codewords));
        mert_codebook_free(&b);
    }
    if (!mert_kmeans_shard_read(&s, path, &e))
        mert_kmeans_shard_free(&s);
    if ((c = mert_checkpoint_open(path, &e))) {
        if (mert_encodec_is(c))
            mert_encodec_free(mert_encodec_open(c, 1, &e));
        mert_checkpoint_close(c);
    }
    return 0;
}
