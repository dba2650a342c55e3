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
    const char *name; /* for a heading, its text */
    mert_setting_kind kind;
    size_t offset;
    double min, max;
    const char *preset; /* the default, as text */
    const char *help;
    int free; /* may change when a run is resumed */
    const char *const *choices;
    int only; /* only for these models (MERT_OF_...); 0: for all */
} mert_setting;

/* Kinds of models and of their inputs. */
enum { MERT_OF_TRANSFORMER = 1, MERT_OF_CONFORMER = 2, MERT_OF_WAVEFORM = 4, MERT_OF_MEL = 8 };

enum { MERT_SETTINGS_MAX = 160 };

extern const mert_setting mert_settings[];
/* Whether a run may change the setting (mert-train --change): 0 no; 1 yes; 2 yes, and it changes the batches of an
 * epoch. */
int mert_setting_may_change(const mert_setting *s);
extern const int mert_settings_n;

/* The first setting that is neither its default nor 0 and has no meaning for the model of this recipe; NULL: none. */
const mert_setting *mert_recipe_meaningless(const mert_recipe *r);

#endif
