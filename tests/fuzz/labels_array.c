/* Labels as an array, with a .meta of its rows and classes. */
#include "tests/fuzz/fuzz.h"

#include "formats/labels/labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char meta[] = "classes=16\nframe_rate=75/1\ncodebook=0000000000000000\ncodebook_index=0\n"
                               "manifest=0000000000000000\nrows=3\nfailed_rows=0\n";
    mert_labels l;
    mert_error e;
    int with_meta = size && data[0] & 1;
    if (with_meta)
        fuzz_file("x.npy.meta", (const uint8_t *)meta, sizeof meta - 1);
    else
        unlink(fuzz_path("x.npy.meta"));
    if (size < 1 || mert_labels_open(&l, fuzz_file("x.npy", data + 1, size - 1), &e))
        return 0;
    for (int64_t row = 0; row < l.rows; row++) {
        int64_t n = mert_labels_count(&l, row);
        int32_t *to;
        FUZZ_CHECK(n >= 0 && (to = malloc((size_t)n * sizeof *to + 1)));
        if (!mert_labels_read(&l, row, 0, n, to, &e))
            for (int64_t i = 0; i < n; i++)
                FUZZ_CHECK(to[i] >= 0 && (!with_meta || to[i] < 16));
        free(to);
    }
    mert_labels_close(&l);
    return 0;
}
