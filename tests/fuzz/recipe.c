/* Recipes; the text of a valid recipe must be valid again. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/train/recipe/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_recipe r, again;
    mert_error e;
    mert_config c;
    char *text;
    mert_recipe_defaults(&r);
    if (mert_recipe_read(&r, fuzz_file("recipe", data, size), &e) || mert_recipe_check(&r, &e))
        return 0;
    if ((text = mert_recipe_text(&r, 0))) {
        mert_recipe_defaults(&again);
        FUZZ_CHECK(!mert_recipe_read(&again, fuzz_file("again", (const uint8_t *)text, strlen(text)), &e));
        FUZZ_CHECK(!mert_recipe_difference(&r, &again));
    }
    free(text);
    if (!mert_recipe_model(&r, NULL, 0, &c, &e))
        FUZZ_CHECK(c.layers >= 1);
    return 0;
}
