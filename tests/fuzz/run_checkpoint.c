/* The checkpoint of a run: its progress, recipe, and hashes of files. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/train/state.h"

#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"checkpoint-1/state.json", "checkpoint-1/recipe", "checkpoint-1/hashes",
                                        NULL};
    mert_state s = {0};
    mert_recipe r;
    mert_error e;
    if (mkdir(fuzz_path("checkpoint-1"), 0777) && access(fuzz_path("checkpoint-1"), W_OK))
        abort();
    fuzz_files(names, data, size);
    FUZZ_CHECK(mert_state_newest(fuzz_dir) == 1);
    mert_recipe_defaults(&r);
    (void)!mert_state_load(fuzz_dir, 1, &s, NULL, &r, NULL, NULL, NULL, &e);
    (void)!mert_state_verify(fuzz_dir, 1, &e);
    return 0;
}
