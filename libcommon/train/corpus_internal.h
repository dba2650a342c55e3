/* What the files of a corpus share: corpus.c opens manifests and audio, corpus_labels.c labels. */
#ifndef MERT_CORPUS_INTERNAL_H
#define MERT_CORPUS_INTERNAL_H

#include "corpus.h"

/* Opens the labels of a part whose manifest has been read, and checks that they are its; those of the first part say
 * what the codebooks are. shard: which of the shards' files; -1: those of the names as they are. */
int mert_corpus_open_labels(mert_corpus *c, mert_corpus_part *p, const char *const *patterns, int n, int shard,
                            mert_error *e);
void mert_corpus_close_labels(mert_corpus_part *p);

#endif
