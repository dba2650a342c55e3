/* Dictionaries of labels. */
#include "tests/fuzz/fuzz.h"

#include "formats/labels/dict.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_label_dict *d = NULL;
    mert_error e;
    fuzz_file("dict.km.txt", data, size);
    if (mert_label_dict_find(&d, fuzz_path("x.km"), &e) != 1)
        return 0;
    FUZZ_CHECK(mert_label_dict_classes(d) >= 0);
    FUZZ_CHECK(mert_label_dict_class(d, "0", 1) < mert_label_dict_classes(d));
    mert_label_dict_free(d);
    return 0;
}
