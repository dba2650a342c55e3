/* What a file calls the tensors of a model: fairseq's names or HF's, old or new weight norm, all behind one prefix,
 * which is whatever stands before the first convolution of the extractor ("", "model.", "module.hubert.",
 * "w2v_encoder.w2v_model." ...). A Conformer's tensors have one spelling; its prefix is what stands before the first
 * block's query projection. */
#ifndef MERT_NAMING_H
#define MERT_NAMING_H

#include "formats/checkpoint/checkpoint.h"
#include "libcommon/models/config/config.h"

enum { MERT_NAMING_PREFIX = 512, MERT_NAMING_NAME = MERT_NAMING_PREFIX + 160 };

typedef struct mert_naming {
    mert_model_kind kind;
    char prefix[MERT_NAMING_PREFIX];
    int hf;    /* HF's names behind it */
    int newer; /* weight norm as newer torch stores it */
} mert_naming;

/* -1: the file holds no such model, or several of which none is the file's own ("" or "model.": fairseq keeps a moving
 * average beside it), which are named. */
int mert_naming_find(mert_naming *n, const mert_checkpoint *c, mert_error *e) MERT_MUST_USE;
/* The tensor that fairseq calls by this name; NULL: it has none. */
const mert_tensor *mert_naming_tensor(const mert_naming *n, const mert_checkpoint *c, const char *name);
/* That name as the file would spell it. -1: HF has no name for it. */
int mert_naming_spell(const mert_naming *n, const char *name, char to[MERT_NAMING_NAME]);

/* fairseq name -> HF name into to[128]; -1 for tensors that HF does not have. */
int mert_name_to_hf(const char *fairseq, char to[128]);

#endif
