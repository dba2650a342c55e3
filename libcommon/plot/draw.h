/* Draws figures on a canvas: panels in a grid, each with its title, axes and ticks; a bar of colours beside an image,
 * names beside lines. */
#ifndef MERT_DRAW_H
#define MERT_DRAW_H

#include "libcommon/plot/canvas.h"
#include "libcommon/plot/figure.h"

enum { MERT_PANEL_WIDTH_MIN = 180, MERT_PANEL_HEIGHT_MIN = 90 }; /* pixels for one panel with its axes */

void mert_draw_figure(const mert_figure *f, mert_canvas *c);
/* Only the data, without axes, frames and texts. */
void mert_draw_bare(const mert_figure *f, mert_canvas *c);

#endif
