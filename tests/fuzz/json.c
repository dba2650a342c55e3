/* JSON documents; a valid one is written and read again. */
#include "tests/fuzz/fuzz.h"

#include "formats/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_error e;
    mert_json *j = mert_json_parse((const char *)data, size, "x", &e), *again;
    mert_json_iterator walk = {j, NULL};
    const mert_json *value;
    char *text;
    int64_t number;
    if (!j)
        return 0;
    if (mert_json_is_object(j))
        for (const char *key; (key = mert_json_next(&walk, &value));)
            FUZZ_CHECK(value && mert_json_int(j, key, &number) <= 1);
    if ((text = mert_json_text(j, 1))) {
        FUZZ_CHECK((again = mert_json_parse(text, strlen(text), "again", &e)));
        mert_json_free(again);
    }
    free(text);
    mert_json_free(j);
    return 0;
}
