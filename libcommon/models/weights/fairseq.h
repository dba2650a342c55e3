/* fairseq's checkpoints: conversion of a model's configuration from and to the options of fairseq and MERT, and writing
 * a file that fairseq loads. */
#ifndef MERT_FAIRSEQ_H
#define MERT_FAIRSEQ_H

#include "libcommon/models/weights/weights.h"

/* Reads the configuration of a fairseq file, from mert_checkpoint_extras: "cfg" (hydra) has the parts model and task;
 * "args" (before hydra) has all options together. Missing options have fairseq's defaults. The heads are not read,
 * because their classes are in dictionaries outside of the file. An option that changes the model and is not supported
 * is an error that names it. */
int mert_config_from_fairseq(mert_config *c, const mert_json *extras, mert_error *e) MERT_MUST_USE;

/* The contents of a fairseq file without the tensors, as JSON text that the caller frees. NULL: out of memory. */
char *mert_config_to_fairseq(const mert_config *c);

/* Writes a .pt file that fairseq loads (with MERT's code for the model), including heads, by contract F4. A model for
 * which fairseq has no option is refused, with the reason. */
int mert_weights_save_fairseq(const mert_weights *w, const char *path, mert_error *e) MERT_MUST_USE;

#endif
