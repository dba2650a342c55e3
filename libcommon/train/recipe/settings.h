/* The table of a recipe's settings, by which recipe.c reads and writes. */
#ifndef MERT_RECIPE_SETTINGS_H
#define MERT_RECIPE_SETTINGS_H

#include "libcommon/train/recipe/recipe.h"

/* WHOLES, REALS: a pair of numbers. _LIST: up to MERT_LIST_MAX numbers, in any order or ascending; "none": an empty
 * list. */
typedef enum mert_setting_kind {
    HEADING, WHOLE, REAL, FLAG, CHOICE, CONVS, WHOLES, REALS, WHOLE_LIST, REAL_LIST, PATH
} mert_setting_kind;

typedef struct mert_setting {
    const char *name; /* for a heading: its text */
    mert_setting_kind kind;
    size_t offset;
    double min, max;
    const char *preset; /* the default, as text */
    const char *help;
    int free; /* may change when a run is resumed */
    const char *const *choices;
} mert_setting;

enum { MERT_SETTINGS_MAX = 128 };

extern const mert_setting mert_settings[];
extern const int mert_settings_n;

#endif
