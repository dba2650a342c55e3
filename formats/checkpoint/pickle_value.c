#include "formats/checkpoint/pickle.h"

#include <string.h>

int mert_pickle_is_text(const mert_pickle_value *v, const char *text)
{
    return v && v->type == MERT_P_TEXT && v->size == strlen(text) && !memcmp(v->text, text, v->size);
}

mert_pickle_value *mert_pickle_get(const mert_pickle_value *dict, const char *key)
{
    if (dict && dict->type == MERT_P_DICT)
        for (size_t i = dict->size; i >= 2; i -= 2)
            if (mert_pickle_is_text(dict->items[i - 2], key))
                return dict->items[i - 1];
    return NULL;
}

int mert_pickle_is_of(const mert_pickle_value *v, const char *name)
{
    return v && (v->type == MERT_P_OBJECT || v->type == MERT_P_DICT) && v->of && !strcmp(v->of->text, name);
}
