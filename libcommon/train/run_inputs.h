/* What a run was begun with: a hash of each manifest, of the labels of each codebook, and of the audio; and, where
 * .meta files know them, the codebooks. It is a part of
 * the run's identity: with others it would go on as another run.
 *
 * Labels are hashed as the classes they are, item by item, so that it does not matter whether they stand in text, in an
 * array or in a stream; audio by the checksums of its records, so that it does not matter how it is packed. Neither
 * depends on what .meta files say. */
#ifndef MERT_RUN_INPUTS_H
#define MERT_RUN_INPUTS_H

#include "formats/json.h"
#include "libcommon/train/data/corpus.h"

#include <stdio.h>

typedef struct mert_run_input {
    char name[64]; /* "train.labels.0.1": of which corpus, its part, the codebook */
    char *path;    /* the file, or the first of several */
    uint64_t hash;
} mert_run_input;

typedef struct mert_run_inputs {
    mert_run_input *items;
    int n, room;
} mert_run_inputs;

/* Adds those of a corpus. of: "train", "valid", "replay". */
int mert_run_inputs_add(mert_run_inputs *in, const char *of, const mert_corpus *c, mert_error *e) MERT_MUST_USE;
void mert_run_inputs_free(mert_run_inputs *in);

/* {"train.manifest.0": "0123456789abcdef", ...}, a line for each, and the same read back (paths NULL). A json of NULL:
 * none are known. */
void mert_run_inputs_write(const mert_run_inputs *in, FILE *f);
int mert_run_inputs_read(mert_run_inputs *in, const mert_json *json, mert_error *e) MERT_MUST_USE;
/* Whether the codebooks of the labels are those that it was begun with, as far as both know them: with others the
 * labels of a changed corpus would mean something else. */
int mert_run_inputs_same_codebooks(const mert_run_inputs *begun, const mert_run_inputs *now, mert_error *e)
    MERT_MUST_USE;
/* Whether those that a run has now are those it was begun with; the error names the file and both hashes. partly: now
 * need not have all of them yet. */
int mert_run_inputs_same(const mert_run_inputs *begun, const mert_run_inputs *now, int partly, mert_error *e)
    MERT_MUST_USE;

#endif
