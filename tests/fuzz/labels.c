/* A label file, its .meta and a dictionary. */
#include "tests/fuzz/fuzz.h"

#include "formats/labels/labels.h"

static void read_all(const char *path)
{
    mert_labels l;
    mert_error e;
    if (mert_labels_open(&l, path, &e))
        return;
    for (int64_t row = 0; row < l.rows; row++) {
        int64_t n = mert_labels_count(&l, row);
        int32_t *to;
        FUZZ_CHECK(n >= 0 && n < 1 << 24 && (to = malloc((size_t)n * sizeof *to + 1)));
        if (!mert_labels_read(&l, row, 0, n, to, &e))
            for (int64_t i = 0; i < n; i++)
                FUZZ_CHECK(to[i] >= 0 && (!l.meta.classes || to[i] < l.meta.classes));
        free(to);
    }
    mert_labels_close(&l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"x.km", "x.km.meta", "dict.km.txt", NULL};
    fuzz_files(names, data, size);
    read_all(fuzz_path("x.km"));
    return 0;
}
