/* fairseq's checkpoints: the configuration of a model under the names that fairseq and MERT give it, both ways, and the
 * file that fairseq loads. */
#ifndef MERT_FAIRSEQ_H
#define MERT_FAIRSEQ_H

#include "libcommon/models/weights/weights.h"

/* What a fairseq file says of itself: mert_checkpoint_extras, whose "cfg" (hydra) has the parts model and task, or
 * whose "args" (before hydra) has all in one. What it leaves out has fairseq's default. The heads are not read: their
 * classes stand in dictionaries outside of the file. An option that changes the model and that this program does not
 * compute is an error that names it. */
int mert_config_from_fairseq(mert_config *c, const mert_json *extras, mert_error *e) MERT_MUST_USE;

/* All of a fairseq file but the tensors, as JSON text to be freed by the caller; NULL: out of memory. */
char *mert_config_to_fairseq(const mert_config *c);

/* Writes a .pt that fairseq loads (with MERT's own code for the model), heads included, by contract F4. What fairseq
 * has no option for is refused by name. */
int mert_weights_save_fairseq(const mert_weights *w, const char *path, mert_error *e) MERT_MUST_USE;

#endif
