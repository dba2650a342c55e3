/* Internal to config/: the functions of each kind of model. */
#ifndef MERT_CONFIG_KINDS_H
#define MERT_CONFIG_KINDS_H

#include "libcommon/models/config/config.h"
#include "libcommon/models/config/json.h"

#include <stdio.h>

/* model_type of Conformers that the published code does not support. */
#define MERT_CONFORMER_OWN "mert_conformer"

/* The convolutions over the waveform, for both kinds. mert_config_read_extractor does not change values that j does not
 * have. */
int mert_extractor_check(const mert_config *c, mert_error *e) MERT_MUST_USE;
int mert_config_read_extractor(mert_config *c, const mert_json *j, mert_error *e) MERT_MUST_USE;
void mert_extractor_put(FILE *f, const mert_config *c);

/* Check the relations between the numbers of this kind. */
int mert_hubert_check(const mert_config *c, mert_error *e) MERT_MUST_USE;
int mert_conformer_check(const mert_config *c, mert_error *e) MERT_MUST_USE;
/* Read everything except the heads. */
int mert_hubert_from_hf(mert_config *c, const mert_json *config, const mert_json *preprocessor,
                        const mert_json *processor, mert_error *e) MERT_MUST_USE;
int mert_conformer_from_hf(mert_config *c, const mert_json *config, const mert_json *preprocessor,
                           const mert_json *processor, mert_error *e) MERT_MUST_USE;
/* Write config.json from its opening brace on, without the heads and the end. */
void mert_hubert_put(FILE *f, const mert_config *c);
void mert_conformer_put(FILE *f, const mert_config *c);

int mert_hubert_stride(const mert_config *c);
int mert_hubert_receptive_field(const mert_config *c);
int64_t mert_hubert_frames(const mert_config *c, int64_t samples);
int mert_conformer_stride(const mert_config *c);
int mert_conformer_field(const mert_config *c);
int64_t mert_conformer_frames(const mert_config *c, int64_t samples);
int64_t mert_conformer_shortest(const mert_config *c);

#endif
