/* Figures on a terminal: one panel below the other, with the title, the ends of both axes, and its data as coloured
 * half blocks, or as letters from dark to light. */
#ifndef MERT_TERMINAL_H
#define MERT_TERMINAL_H

#include "libcommon/plot/figure.h"

#include <stdio.h>

typedef enum mert_terminal_colours { MERT_TERMINAL_ASCII, MERT_TERMINAL_256, MERT_TERMINAL_24BIT }
    mert_terminal_colours;

/* Chooses by the environment. LC_ALL, LC_CTYPE or LANG without UTF-8, or TERM=dumb: ASCII; COLORTERM=truecolor or
 * 24bit: all colours. */
mert_terminal_colours mert_terminal_known(void);
/* columns: of the terminal; lines: for the data of each panel. */
int mert_terminal_draw(const mert_figure *f, mert_terminal_colours colours, int columns, int lines, FILE *to,
                       mert_error *e);

#endif
