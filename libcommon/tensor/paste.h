/* Joins the codes of several teachers for the same items: [T, K1] and [T, K2] become [T, K1 + K2], in the order of the
 * inputs. The result is read as one sequence of events:
 *
 *     mert_paste *p = mert_paste_new(inputs, n, 2, report);
 *     for (int event; (event = mert_paste_next(p, &e)) > MTS_EOF;)
 *         if (event == MTS_CHUNK) use(mert_paste_record(p), mert_paste_data(p), mert_paste_frames(p));
 *     mert_paste_free(p);
 *
 * The inputs must have the same items in the same order (keys, rows and, if known, manifests); otherwise the run ends
 * with an error that names both. An item fails, and the others continue, if it failed in one of the inputs, if its
 * frame rates differ (as fractions; an unknown rate differs from any known one), if it is not codes or has too many
 * codebooks, if a code is outside its classes, or if the lengths differ by more than `tolerance` frames. Smaller
 * differences, which come from the extractors' different treatment of edges (floor(L / hop), that + 1, or ceil), are
 * cut to the shortest.
 *
 * The model of the output (contract S8): with one input it is that of the input. With several it is the XXH64 of the
 * text "HASH:K HASH:K ..." of the inputs' models and numbers of codebooks. So codes of the same teachers in the same
 * order are compatible; other codes, and decoding with one of the teachers, are refused. If one of the models is not
 * known, the result is not known. The provenance of each input is kept. */
#ifndef MERT_PASTE_H
#define MERT_PASTE_H

#include "libcommon/tensor/inputs.h"

typedef struct mert_paste mert_paste;

/* inputs: n open ones, which the caller closes. report: called for damage in them. NULL: out of memory. */
mert_paste *mert_paste_new(mert_inputs *inputs, int n, int64_t tolerance, mert_inputs_listener *report);
void mert_paste_free(mert_paste *p);

/* Returns BEGIN, RECORD, CHUNK, RECORD_END or FAILED like a reader; MTS_EOF: all inputs have ended; MTS_ERROR: cannot
 * continue, for the reason in e (empty: stopped by report). A new stream begins when one begins in the first input. The
 * caller reports failed items. */
int mert_paste_next(mert_paste *p, mert_error *e) MERT_MUST_USE;
const mts_begin *mert_paste_begin(const mert_paste *p);     /* without the caller's own line of provenance */
const mts_record *mert_paste_record(const mert_paste *p);   /* u16, or i32 if an input has that */
const void *mert_paste_data(const mert_paste *p);
int64_t mert_paste_frames(const mert_paste *p);
int64_t mert_paste_first(const mert_paste *p);              /* number, in the record, of the first of these frames */
const mts_failure *mert_paste_failure(const mert_paste *p); /* here: 1 if it failed here or in reading */
/* The first column of input i in the open record; for i = n the number of columns. */
int mert_paste_column(const mert_paste *p, int i);

/* Some codebooks of a model: `count` of them, from number `first` on. */
typedef struct mert_paste_part {
    uint64_t model;
    int first, count;
} mert_paste_part;

/* The hash for these parts together, as described above. A part that does not begin with the model's first codebook is
 * HASH+first:count in the text, and gets a new hash even if it is the only part. */
uint64_t mert_paste_model(const mert_paste_part *parts, int n);

#endif
