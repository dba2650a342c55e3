/* What a model answers, stored beside it: whoever gets the directory can see whether it still does, on his machine,
 * with his version of the program. DIR/known_answer.safetensors:
 *
 *     hash    U8 [8]        of the model (contract S9), the most significant byte first
 *     pcm     F32 [L]       noise and two tones, 32 frames of the model
 *     frames  I32 [F]       which of them are stored
 *     hidden  F32 [N+1, F, D]  all hidden states of these
 *
 * transformers and fairseq do not look at the file. */
#ifndef MERT_SELF_TEST_H
#define MERT_SELF_TEST_H

#include "libcommon/models/weights/weights.h"

/* Relative to the largest magnitude of each hidden state: float32 on another processor stays within a tenth of it. */
#define MERT_ANSWER_TOLERANCE 2e-5
/* Packed for products in bfloat16: float32's last bits turn a rounding here and there, which is as large as bfloat16's
 * own error. */
#define MERT_ANSWER_HALF_TOLERANCE 2e-2

/* Computes it on the CPU and writes it by contract F4. A model that answers with something else than finite numbers is
 * refused. */
int mert_self_test_save(const mert_weights *w, const char *dir, mert_error *e) MERT_MUST_USE;
/* 1: the model answers as it did; *worst: the largest difference, relative. 0: there is none. -1: another answer, other
 * weights, or a file that makes no sense. */
int mert_self_test_check(const mert_weights *w, const char *dir, double *worst, mert_error *e) MERT_MUST_USE;
/* Without a file: whether the model answers the same input with finite numbers. -1: it does not. */
int mert_self_test_sane(const mert_weights *w, mert_error *e) MERT_MUST_USE;

#endif
