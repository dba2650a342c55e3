/* Inside of mel.h: the stream of overlapping windows that spectrogram-like transforms share. A window of samples
 * becomes a row by itself, so rows are computed in any order by any thread; deltas, which look at neighbouring rows,
 * follow on the calling thread. */
#ifndef MERT_FRAMES_H
#define MERT_FRAMES_H

#include "libcommon/dsp/fft.h"
#include "libcommon/dsp/mel.h"

/* Triangular filters over the DFT's bins, only what is not zero: filter m weighs power[first[m]] .. with
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
/* On HTK's scale, linear in Hz, as torchaudio has them. */
int mel_bank_htk(mel_bank *b, int filters, double low, double high, int n_fft, double top, mert_error *e);
void mel_bank_free(mel_bank *b);

struct mert_mel {
    /* What a kind of row is. */
    int window, hop, before;  /* samples; row t looks at samples t * hop - before .. + window - 1 */
    int whole_only;           /* 1: rows only where the window lies inside of the signal; 0: one for each hop */
    int reflect;              /* 1: beyond both ends the signal is mirrored instead of zero, and the row behind the
                                 last whole hop is left out */
    int width, base, orders;  /* base numbers computed from the window, then `orders` times as many deltas */
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

    /* The signal on its way. */
    int pooled, workers;
    float **scratch;
    float *in;                /* sample `first` and on; `have` of them, room for `room` */
    int64_t first, have, room;
    float *rows;              /* row `row_first` and on */
    int64_t row_first;
    int64_t done[4];          /* rows whose base, deltas, delta-deltas are there */
    int64_t emitted, samples;
};

/* A row's scratch is the window, then its spectrum, each this many floats: aligned as FFTW's plans expect. */
static inline size_t frames_part(int n_fft) { return ((size_t)n_fft + 2 + 15) & ~(size_t)15; }

mert_mel *mert_mel_alloc(void); /* zeroed; NULL without memory */
int mert_mel_prepare(mert_mel *m, int pooled, mert_error *e) MERT_MUST_USE; /* buffers, once the kind is described */

#endif
