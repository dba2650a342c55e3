/* The CQT that is an additional input of some models, beside the extractor's channels (man/model.md 2.3): magnitudes,
 * hop sample_rate / 50, seven octaves from 32.7 Hz, [B, T, cqt_input_bins] for mert_encoder_forward. */
#ifndef MERT_CQT_INPUT_H
#define MERT_CQT_INPUT_H

#include "libcommon/dsp/cqt_batch.h"
#include "libcommon/models/config/config.h"

/* For a configuration with cqt_input. A configuration whose frames are not 1/50 s apart is refused. */
mert_cqt_batch *mert_cqt_input_new(const mert_config *c, mert_error *e);

#endif
