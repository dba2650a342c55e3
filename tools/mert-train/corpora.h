/* The input of mert-train: names from the user and defaults, packed audio that is made if necessary, corpora that are
 * opened and described. */
#ifndef MERT_TRAIN_CORPORA_H
#define MERT_TRAIN_CORPORA_H

#include "libcommon/program/options.h"
#include "libcommon/train/session.h"

typedef struct corpus_names {
    const char *manifest;
    mert_strings labels, pcm;
} corpus_names;

/* Sets the names of validation that were not given: those of training, with 'valid' in place of 'train'. Ends the
 * program (wrong use) if that is not possible. */
void corpora_default_names(const corpus_names *train, corpus_names *valid);

/* Sets the names of packed audio that were not given: SAVE/train.pcm.mts (one for each shard with its own manifest),
 * and in the same way for validation and, if older->manifest is not NULL, for the old corpus. If a file does not exist,
 * PACK_NOW packs it from the manifest, PACK_ELSEWHERE sets its name (another process packs it), PACK_NOT sets no
 * name. */
typedef enum corpora_packing { PACK_NOW, PACK_ELSEWHERE, PACK_NOT } corpora_packing;
int corpora_pack(corpus_names *train, corpus_names *valid, corpus_names *older, const mert_recipe *r, const char *save,
                 corpora_packing packing, mert_error *e);

/* Opens s->train, and s->valid and s->older if they have names. Corpora without packed audio are opened as `unpacked`
 * (part.h). Describes them on stderr. keeping: of the indexes beside what is read. */
int corpora_open(mert_session *s, const corpus_names *train, const corpus_names *valid, const corpus_names *older,
                 mert_index_keeping keeping, mert_error *e);

/* Checks names, labels and the run in s->save (checkpoint `newest`; -1: none) as far as possible before the audio is
 * packed. If everything is packed already this does nothing, because corpora_open makes the same checks. */
int corpora_check(const mert_session *s, int64_t newest, const corpus_names *train, const corpus_names *valid,
                  const corpus_names *older, mert_error *e);

#endif
