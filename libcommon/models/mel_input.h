/* The log-mel spectrum that is the input of a Conformer. Window, filters, mean and deviation are in the model's
 * file. */
#ifndef MERT_MEL_INPUT_H
#define MERT_MEL_INPUT_H

#include "libcommon/dsp/log_mel.h"
#include "libcommon/models/weights/weights.h"

/* Copies the tables, so w is not needed afterwards. pooled as in dsp/mel.h. A model whose input is the waveform is
 * refused. */
mert_mel *mert_mel_input_new(const mert_weights *w, int pooled, mert_error *e);
/* With the default tables, mean 0 and deviation 1. */
mert_mel *mert_mel_input_plain(const mert_config *c, int pooled, mert_error *e);

#endif
