/* Colours. In the maps for values, CIE lightness L* is proportional to the value, so they can be read without seeing
 * hues, and on a grey printer. Their hues are arranged in CIELAB (CIE 15:2004, D65): from blue over red to yellow.
 * Lines have the colours of Okabe and Ito (2008), which readers with any kind of colour vision can distinguish. */
#ifndef MERT_COLOUR_H
#define MERT_COLOUR_H

#include <stdint.h>

typedef struct mert_colour {
    unsigned char r, g, b; /* sRGB */
} mert_colour;

typedef enum mert_colour_map {
    MERT_MAP_DARK,  /* low values are dark */
    MERT_MAP_LIGHT, /* low values are light: for print */
    MERT_MAP_GREY   /* low values are light, no hues */
} mert_colour_map;

enum { MERT_MAP_SIZE = 256 };

void mert_colour_table(mert_colour_map map, mert_colour table[MERT_MAP_SIZE]);
/* A colour for a class. The numbers of classes have no order, so hue and lightness are multiples of golden ratios, and
 * neighbouring numbers differ. */
mert_colour mert_colour_class(int64_t c);
mert_colour mert_colour_line(int i); /* seven colours, then the same again */
double mert_colour_lightness(mert_colour c); /* L*, 0 to 100 */

#endif
