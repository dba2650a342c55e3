/* What a run predicts, beside its labels: a section of the report, from RUN/predictions.mts (mert-train
 * --pieces). */
#ifndef MERT_PLOT_PREDICTIONS_H
#define MERT_PLOT_PREDICTIONS_H

#include "libcommon/plot/page.h"
#include "libcommon/plot/record.h"

#include <stdio.h>

/* folder: of the run; without such a file nothing is written. o: what is drawn of each piece. width, height: of a
 * panel. */
int plot_predictions(FILE *to, const char *folder, const mert_view_options *o, int width, int height, mert_error *e)
    MERT_MUST_USE;

#endif
