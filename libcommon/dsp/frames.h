/* Internal to mel.h: the stream of overlapping windows, common to mel spectra and MFCC. Each row depends on one window
 * of samples, so rows can be computed in any order by any thread; deltas, which use neighbouring rows, follow on the
 * calling thread. */
#ifndef MERT_FRAMES_H
#define MERT_FRAMES_H

#include "libcommon/dsp/fft.h"
#include "libcommon/dsp/mel.h"

/* Triangular filters over the DFT's bins, stored without zeros: filter m weights power[first[m]] .. with
 * weight[start[m]] .. weight[start[m + 1] - 1]. */
typedef struct mel_bank {
    int filters;
    int *first, *start; /* [filters], [filters + 1] */
    float *weight;
} mel_bank;

/* Filters whose corners are `filters` + 2 points evenly spaced from low to high on the scale `to_mel`; linear in Hz
 * or in mel. top: the frequency of bin n_fft / 2, Hz. */
int mel_bank_make(mel_bank *b, int filters, double low, double high, int n_fft, double top,
                  double (*to_mel)(double), double (*to_hz)(double), int linear_in_mel, mert_error *e);
/* On HTK's scale, linear in Hz, as in torchaudio. */
int mel_bank_htk(mel_bank *b, int filters, double low, double high, int n_fft, double top, mert_error *e);
void mel_bank_free(mel_bank *b);

struct mert_mel {
    /* The description of a row. */
    int window, hop, before;  /* samples; row t uses samples t * hop - before .. + window - 1 */
    int whole_only;           /* 1: only rows whose window is inside the signal; 0: one for each hop */
    int reflect;              /* 1: the signal is mirrored at both ends, not extended by zeros, and there are floor(L /
                                 hop) rows */
    int width, base, orders;  /* `base` values computed from the window, then `orders` times as many deltas */
    void (*row)(const mert_mel *m, const float *samples, float *scratch, float *out);
    size_t scratch_size;      /* floats */

    /* Tables. */
    int n_fft;
    mert_rfft *dft;
    mert_rfft64 *dft64;
    float *shape;             /* [window] */
    mel_bank bank;
    int log;
    float floor;
    float *mean, *scale;      /* [base]: log-mel rows are (x - mean) * scale */
    float *dct;               /* [base][filters], lifter included */

    /* The state of the signal. */
    int pooled, workers;
    float **scratch;
    float *in;                /* samples from `first` on; `have` of them, capacity `room` */
    int64_t first, have, room;
    float *rows;              /* rows from `row_first` on */
    int64_t row_first;
    int64_t done[4];          /* number of rows whose base, deltas, delta-deltas are computed */
    int64_t emitted, samples;
};

/* A row's scratch is the window, then its spectrum, each this many floats: keeps FFTW's alignment. */
static inline size_t frames_part(int n_fft) { return ((size_t)n_fft + 2 + 15) & ~(size_t)15; }

mert_mel *mert_mel_alloc(void); /* zeroed; NULL: out of memory */
int mert_mel_prepare(mert_mel *m, int pooled, mert_error *e) MERT_MUST_USE; /* allocates the buffers, after the
                                                                               description is set */

#endif
