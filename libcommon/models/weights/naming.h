/* The names of a model's tensors in a file. They are fairseq's or HF's, with weight norm as older or newer torch stores
 * it, after a common prefix: the text before the first convolution of the extractor ("", "model.", "module.hubert.",
 * "w2v_encoder.w2v_model." ...). A Conformer's tensors have only one spelling; the prefix is the text before the query
 * projection of the first block. */
#ifndef MERT_NAMING_H
#define MERT_NAMING_H

#include "formats/checkpoint/checkpoint.h"
#include "libcommon/models/config/config.h"

enum { MERT_NAMING_PREFIX = 512, MERT_NAMING_NAME = MERT_NAMING_PREFIX + 160 };

typedef struct mert_naming {
    mert_model_kind kind;
    char prefix[MERT_NAMING_PREFIX];
    int hf;    /* 1: HF's names follow the prefix */
    int newer; /* 1: weight norm as newer torch stores it */
} mert_naming;

/* Finds the naming of a file. -1: there is no such model in it; or several, none of which has the prefix "" or
 * "model.", and the error names them. (With one of these prefixes it is the file's own model: fairseq also stores a
 * moving average.) */
int mert_naming_find(mert_naming *n, const mert_checkpoint *c, mert_error *e) MERT_MUST_USE;
/* The tensor with this name of fairseq; NULL: there is none. */
const mert_tensor *mert_naming_tensor(const mert_naming *n, const mert_checkpoint *c, const char *name);
/* Writes this name as the file would spell it. -1: HF has no name for it. */
int mert_naming_spell(const mert_naming *n, const char *name, char to[MERT_NAMING_NAME]);

/* Translates a fairseq name to the HF name. -1: HF does not have this tensor. */
int mert_name_to_hf(const char *fairseq, char to[128]);

#endif
