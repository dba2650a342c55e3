/* What a run was started with: a hash of each manifest, of the labels of each codebook, and of the audio; also of the
 * codebooks, if .meta files name them. These hashes are part of the run's identity: a run cannot be resumed with other
 * inputs.
 *
 * Labels are hashed as classes, item by item, so that text, arrays and streams of the same labels have the same hash.
 * Audio is hashed by the checksums of its records, so that it does not matter how it is packed. Audio in place is
 * hashed by the states of its files (data/files.h), under a name of its own ("train.files.0"), so a run that was begun
 * with packed audio can go on in place, and the other way round, without that comparison. No hash depends on the
 * contents of .meta files. */
#ifndef MERT_RUN_INPUTS_H
#define MERT_RUN_INPUTS_H

#include "formats/json.h"
#include "libcommon/train/data/corpus.h"

#include <stdio.h>

typedef struct mert_run_input {
    char name[64]; /* for example "train.labels.0.1": the corpus, the number of its manifest, the codebook */
    char *path;    /* the file, or the first of several */
    uint64_t hash;
} mert_run_input;

typedef struct mert_run_inputs {
    mert_run_input *items;
    int n, room;
} mert_run_inputs;

/* Adds the inputs of a corpus. of: "train", "valid", "replay". */
int mert_run_inputs_add(mert_run_inputs *in, const char *of, const mert_corpus *c, mert_error *e) MERT_MUST_USE;
/* Adds the labels of a task. */
int mert_run_inputs_add_task(mert_run_inputs *in, const char *path, uint64_t hash, mert_error *e) MERT_MUST_USE;
void mert_run_inputs_free(mert_run_inputs *in);

/* Writes {"train.manifest.0": "0123456789abcdef", ...}, one line for each; the second function reads it (paths NULL). A
 * json of NULL gives an empty list. */
void mert_run_inputs_write(const mert_run_inputs *in, FILE *f);
int mert_run_inputs_read(mert_run_inputs *in, const mert_json *json, mert_error *e) MERT_MUST_USE;
/* Whether the codebooks of the labels are those of the start of the run, if both are known. If they were others, the
 * same classes of a changed corpus would have another meaning. */
int mert_run_inputs_same_codebooks(const mert_run_inputs *begun, const mert_run_inputs *now, mert_error *e)
    MERT_MUST_USE;
/* Whether the inputs are those of the start of the run. The error names the file and both hashes. partly: inputs that
 * are missing in `now` are accepted. */
int mert_run_inputs_same(const mert_run_inputs *begun, const mert_run_inputs *now, int partly, mert_error *e)
    MERT_MUST_USE;

#endif
