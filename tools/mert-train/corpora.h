/* The input of mert-train: names from the user and defaults, packed audio that is made if necessary, corpora that are
 * opened and described. */
#ifndef MERT_TRAIN_CORPORA_H
#define MERT_TRAIN_CORPORA_H

#include "libcommon/program/options.h"
#include "libcommon/train/session.h"

typedef struct corpus_names {
    const char *manifest;
    mert_strings labels, pcm;
    int in_place; /* the audio is decoded from the manifest's files during the run */
    double patience; /* for how long a decoder of it, or of the audio that is packed, may be silent, in seconds */
} corpus_names;

/* Sets the names of validation that were not given: those of training, with 'valid' in place of 'train'. Ends the
 * program (wrong use) if that is not possible. */
void corpora_default_names(const corpus_names *train, corpus_names *valid);

/* Sets the names of packed audio that were not given: SAVE/train.pcm.mts (one for each shard with its own manifest),
 * and in the same way for validation and, if replay->manifest is not NULL, for the old corpus. If a file does
 * not exist, PACK_NOW packs it from the manifest, PACK_ELSEWHERE sets its name (another process packs it), PACK_NOT
 * sets no name. */
typedef enum corpora_packing { PACK_NOW, PACK_ELSEWHERE, PACK_NOT } corpora_packing;
int corpora_pack(corpus_names *train, corpus_names *valid, corpus_names *replay, const mert_recipe *r, const char *save,
                 corpora_packing packing, mert_error *e);

/* Opens s->train, and s->valid and s->replay if they have names. Corpora without packed audio are opened as `unpacked`
 * or `in_place` (part.h). Describes them on stderr. keeping: of the indexes beside what is read. */
int corpora_open(mert_session *s, const corpus_names *train, const corpus_names *valid, const corpus_names *replay,
                 mert_index_keeping keeping, mert_error *e);

/* Stores the states of the files of audio in place in s->save, once it is sure that the run goes on with them. */
int corpora_store(mert_session *s, mert_error *e);

/* Of a task's parts: sets the name of packed audio that was not given to SAVE/NAME, and packs it, as corpora_pack;
 * opens a corpus without labels of frames. aloud: reports rows that failed. */
int corpora_pack_one(corpus_names *n, const char *name, const mert_recipe *r, const char *save, corpora_packing packing,
                     mert_error *e);
int corpora_open_one(mert_corpus *c, const mert_recipe *r, const corpus_names *n, int aloud, mert_index_keeping keeping,
                     mert_error *e);

/* Checks names, labels and the run in s->save (checkpoint `newest`; -1: none) as far as possible before the audio is
 * packed. If everything is packed already this does nothing, because corpora_open makes the same checks. */
int corpora_check(const mert_session *s, int64_t newest, const corpus_names *train, const corpus_names *valid,
                  const corpus_names *replay, mert_error *e);

#endif
