/* Tables of labels for probes, with a manifest that splits their items. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/probe/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"labels.tsv", "train.tsv", NULL};
    mert_probe_table t;
    mert_error e;
    int64_t first;
    fuzz_files(names, data, size);
    if (access(fuzz_path("labels.tsv"), R_OK) || mert_probe_table_read(&t, fuzz_path("labels.tsv"), NULL, &e))
        return 0;
    for (int64_t i = 0; i < t.n; i++)
        FUZZ_CHECK(t.rows[i].key && t.rows[i].label && t.rows[i].start <= t.rows[i].end &&
                   mert_probe_table_find(&t, t.rows[i].key, &first) >= 1);
    if (!access(fuzz_path("train.tsv"), R_OK) &&
        !mert_probe_table_assign(&t, fuzz_path("train.tsv"), MERT_PROBE_TRAIN, &e))
        mert_probe_table_keep_parts(&t);
    mert_probe_table_free(&t);
    return 0;
}
