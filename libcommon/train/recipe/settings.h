/* The table of a recipe's settings: recipe.c reads and writes by it. */
#ifndef MERT_RECIPE_SETTINGS_H
#define MERT_RECIPE_SETTINGS_H

#include "libcommon/train/recipe/recipe.h"

/* WHOLES, REALS: a pair of numbers. _LIST: up to MERT_LIST_MAX of them, rising or not; "none": no one. */
typedef enum mert_setting_kind {
    HEADING, WHOLE, REAL, FLAG, CHOICE, CONVS, WHOLES, REALS, WHOLE_LIST, REAL_LIST, PATH
} mert_setting_kind;

typedef struct mert_setting {
    const char *name; /* of a heading: its text */
    mert_setting_kind kind;
    size_t offset;
    double min, max;
    const char *preset; /* the default, as it would be written */
    const char *help;
    int free; /* may change when a run is resumed */
    const char *const *choices;
} mert_setting;

enum { MERT_SETTINGS_MAX = 128 };

extern const mert_setting mert_settings[];
extern const int mert_settings_n;

#endif
