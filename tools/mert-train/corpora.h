/* What mert-train reads: names by the user and by default, packed audio that is made if need be, corpora opened and
 * described. */
#ifndef MERT_TRAIN_CORPORA_H
#define MERT_TRAIN_CORPORA_H

#include "libcommon/program/options.h"
#include "libcommon/train/session.h"

typedef struct corpus_names {
    const char *manifest;
    mert_strings labels, pcm;
} corpus_names;

/* Names of validation that were not given: 'valid' for 'train' in those of training. Ends the program as wrong use. */
void corpora_default_names(const corpus_names *train, corpus_names *valid);

/* Training's audio where none was named: SAVE/train.pcm.mts (one for each shard that has a manifest of its own), and
 * likewise that of validation and (older->manifest not NULL) of the old corpus. What is not there yet is packed now
 * from the manifest, or named all the same (another process packs it), or stays unnamed. */
typedef enum corpora_packing { PACK_NOW, PACK_ELSEWHERE, PACK_NOT } corpora_packing;
int corpora_pack(corpus_names *train, corpus_names *valid, corpus_names *older, const mert_recipe *r, const char *save,
                 corpora_packing packing, mert_error *e);

/* Opens s->train and s->valid, and s->older if there is a name for it. Corpora without packed audio count as not packed
 * yet (corpus.h). Says on stderr what they are. */
int corpora_open(mert_session *s, const corpus_names *train, const corpus_names *valid, const corpus_names *older,
                 mert_error *e);

/* What is wrong with names, labels and the run in s->save (checkpoint `newest`; -1: none) and can be said before the
 * audio is packed. Where it is all there already, corpora_open says so as soon, and this does nothing. */
int corpora_check(const mert_recipe *r, const char *save, int64_t newest, const corpus_names *train,
                  const corpus_names *valid, const corpus_names *older, mert_error *e);

#endif
