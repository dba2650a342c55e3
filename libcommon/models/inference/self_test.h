/* A known answer: an input and a model's hidden states for it, stored with the model. With it, users can test that the
 * model gives the same result on their machine and with their version of the program. DIR/known_answer.safetensors:
 *
 *     hash    U8 [8]        of the model (contract S9), most significant byte first
 *     pcm     F32 [L]       noise and two tones, 32 frames of the model
 *     frames  I32 [F]       the frames that are stored
 *     hidden  F32 [N+1, F, D]  all hidden states of these frames
 *
 * transformers and fairseq ignore this file. */
#ifndef MERT_SELF_TEST_H
#define MERT_SELF_TEST_H

#include "libcommon/models/weights/weights.h"

/* Relative to the largest magnitude of each hidden state. With float32, other processors differ by a tenth of it at
 * most. */
#define MERT_ANSWER_TOLERANCE 2e-5
/* For models packed for products in bfloat16. Differences in the last bits of float32 change some roundings to
 * bfloat16, each by as much as the error of bfloat16. */
#define MERT_ANSWER_HALF_TOLERANCE 2e-2
/* For models packed for products in 8-bit integers: here such a difference changes a rounding by one of 255 steps. On
 * the small models of the tests, two instruction sets differ by up to 0.012. */
#define MERT_ANSWER_INT8_TOLERANCE 5e-2

/* Computes the known answer on the CPU and writes it by contract F4. A model whose hidden states are not finite is
 * refused. */
int mert_self_test_save(const mert_weights *w, const char *dir, mert_error *e) MERT_MUST_USE;
/* 1: the model gives the known answer; *worst: the largest relative difference. 0: there is no known answer. -1: the
 * result differs, the weights are others, or the file is invalid. */
int mert_self_test_check(const mert_weights *w, const char *dir, double *worst, mert_error *e) MERT_MUST_USE;
/* Without a file: checks that hidden states for the same input are finite. -1: they are not. */
int mert_self_test_sane(const mert_weights *w, mert_error *e) MERT_MUST_USE;

#endif
