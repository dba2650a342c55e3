/* Codes of several teachers, made of the same items, side by side: [T, K1] and [T, K2] become [T, K1 + K2], in the
 * order of the inputs. Read as one stream of events:
 *
 *     mert_paste *p = mert_paste_new(inputs, n, 2, report);
 *     for (int event; (event = mert_paste_next(p, &e)) > MTS_EOF;)
 *         if (event == MTS_CHUNK) use(mert_paste_record(p), mert_paste_data(p), mert_paste_frames(p));
 *     mert_paste_free(p);
 *
 * The inputs must have the same items in the same order: keys, rows and, where known, manifests; what does not pair
 * ends the run with an error that names both. An item fails, and the others go on, if it failed in one of the inputs,
 * if its frame rates differ (as fractions; not known is another than any), if it is no codes or too many, if a code is
 * outside its classes, or if the lengths differ by more than `tolerance` frames. Smaller differences, which come of
 * what extractors make of an item's edge (floor(L / hop), that + 1, or ceil), are cut to the shortest.
 *
 * Whose codes these are (contract S8): a record names one model. With one input it stays that one; several make a new
 * one, the XXH64 of the text "HASH:K HASH:K ..." of the inputs' models and numbers of codebooks. So codes pasted from
 * the same teachers in the same order fit together, others are refused, and so is decoding them with any one of the
 * teachers. If one of the models is not known, neither is the whole. What each input says of its origin goes into the
 * provenance. */
#ifndef MERT_PASTE_H
#define MERT_PASTE_H

#include "libcommon/tensor/inputs.h"

typedef struct mert_paste mert_paste;

/* inputs: n opened ones, which stay the caller's. report: told of damage in them. NULL: out of memory. */
mert_paste *mert_paste_new(mert_inputs *inputs, int n, int64_t tolerance, mert_inputs_listener *report);
void mert_paste_free(mert_paste *p);

/* BEGIN, RECORD, CHUNK, RECORD_END, FAILED as of a reader; MTS_EOF: all inputs are through; MTS_ERROR: cannot go on,
 * for the reason in e (empty: report stopped it). A new stream begins where one does in the first input.
 * Failed items are the caller's to report. */
int mert_paste_next(mert_paste *p, mert_error *e) MERT_MUST_USE;
const mts_begin *mert_paste_begin(const mert_paste *p);     /* without the caller's own line of provenance */
const mts_record *mert_paste_record(const mert_paste *p);   /* u16, or i32 where an input has that */
const void *mert_paste_data(const mert_paste *p);
int64_t mert_paste_frames(const mert_paste *p);
int64_t mert_paste_first(const mert_paste *p);              /* number, in the record, of the first of these frames */
const mts_failure *mert_paste_failure(const mert_paste *p); /* here: 1 if it failed in the pasting or in reading */
/* Of the open record: the column in which input i begins; for i = n the number of columns. */
int mert_paste_column(const mert_paste *p, int i);

/* Some codebooks of one model: `count` of them from number `first` on. */
typedef struct mert_paste_part {
    uint64_t model;
    int first, count;
} mert_paste_part;

/* The model of these parts together, as said above. A part that is not a model's first codebooks stands in the text as
 * HASH+first:count, and is a model of its own also when it is alone. */
uint64_t mert_paste_model(const mert_paste_part *parts, int n);

#endif
