/* Real Fourier transforms of one length: FFTW in single precision, FFTW_ESTIMATE and single-threaded, so that the same
 * input gives the same bits in every run (measured plans do not). A transform object is immutable and may be used by
 * many threads at once; creating one takes a lock inside (FFTW's planner is not thread-safe). Buffers must come from
 * mert_dsp_alloc, because plans depend on their alignment. */
#ifndef MERT_FFT_H
#define MERT_FFT_H

#include "formats/error.h"

#include <stddef.h>

#define MERT_PI 3.14159265358979323846

typedef struct mert_rfft mert_rfft;

/* directions: which of the two are needed (planning each takes milliseconds). */
enum { MERT_RFFT_FORWARD = 1, MERT_RFFT_BACKWARD = 2 };
mert_rfft *mert_rfft_new(int n, int directions, mert_error *e);
void mert_rfft_free(mert_rfft *f); /* NULL is fine */
/* in[n] -> out[n/2 + 1][2]: out[j] = sum_i in[i] exp(-2 pi i j / n). `in` is not changed. */
void mert_rfft_forward(const mert_rfft *f, const float *in, float *out);
/* in[n/2 + 1][2] -> out[n]: the sum without 1/n. `in` is destroyed. */
void mert_rfft_backward(const mert_rfft *f, float *in, float *out);

/* The forward transform in double precision: in[n] -> out[n/2 + 1][2]. `in` is not changed. It is for spectra whose
 * logarithm is taken: in single precision, quiet bins beside loud ones are lost. */
typedef struct mert_rfft64 mert_rfft64;
mert_rfft64 *mert_rfft64_new(int n, mert_error *e);
void mert_rfft64_free(mert_rfft64 *f); /* NULL is allowed */
void mert_rfft64_forward(const mert_rfft64 *f, const double *in, double *out);

/* count elements of `size` bytes, aligned to 64 bytes, zeroed. NULL with the error set: out of memory, or the product
 * does not fit. Freed with free(). */
void *mert_dsp_alloc(size_t count, size_t size, mert_error *e);

#endif
