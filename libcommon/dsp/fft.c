#include "libcommon/dsp/fft.h"

#include <fftw3.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct mert_rfft {
    fftwf_plan forward, backward;
};

static pthread_mutex_t planner = PTHREAD_MUTEX_INITIALIZER;

void *mert_dsp_alloc(size_t count, size_t size, mert_error *e)
{
    void *p = NULL;
    if (count <= (SIZE_MAX / 2 - 64) / size) {
        size_t bytes = (count * size + 63) & ~(size_t)63;
        p = aligned_alloc(64, bytes ? bytes : 64);
        if (p)
            memset(p, 0, bytes);
    }
    if (!p)
        mert_fail(e, "out of memory");
    return p;
}

mert_rfft *mert_rfft_new(int n, int directions, mert_error *e)
{
    mert_rfft *f = calloc(1, sizeof *f);
    float *time = mert_dsp_alloc((size_t)n, sizeof *time, e);
    float *spectrum = mert_dsp_alloc((size_t)n + 2, sizeof *spectrum, e);
    if (f && time && spectrum) {
        pthread_mutex_lock(&planner);
        if (directions & MERT_RFFT_FORWARD)
            f->forward = fftwf_plan_dft_r2c_1d(n, time, (fftwf_complex *)spectrum, FFTW_ESTIMATE | FFTW_PRESERVE_INPUT);
        if (directions & MERT_RFFT_BACKWARD)
            f->backward = fftwf_plan_dft_c2r_1d(n, (fftwf_complex *)spectrum, time, FFTW_ESTIMATE | FFTW_DESTROY_INPUT);
        pthread_mutex_unlock(&planner);
    }
    free(time);
    free(spectrum);
    if (!f || !f->forward != !(directions & MERT_RFFT_FORWARD) || !f->backward != !(directions & MERT_RFFT_BACKWARD)) {
        mert_rfft_free(f);
        mert_fail(e, "no memory for a Fourier transform of %d points", n);
        return NULL;
    }
    return f;
}

void mert_rfft_free(mert_rfft *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&planner);
    if (f->forward)
        fftwf_destroy_plan(f->forward);
    if (f->backward)
        fftwf_destroy_plan(f->backward);
    pthread_mutex_unlock(&planner);
    free(f);
}

void mert_rfft_forward(const mert_rfft *f, const float *in, float *out)
{
    /* With FFTW_PRESERVE_INPUT the input is not changed, so the cast is safe. */
    fftwf_execute_dft_r2c(f->forward, (float *)(uintptr_t)in, (fftwf_complex *)out);
}

void mert_rfft_backward(const mert_rfft *f, float *in, float *out)
{
    fftwf_execute_dft_c2r(f->backward, (fftwf_complex *)in, out);
}

struct mert_rfft64 {
    fftw_plan forward;
};

mert_rfft64 *mert_rfft64_new(int n, mert_error *e)
{
    mert_rfft64 *f = calloc(1, sizeof *f);
    double *time = mert_dsp_alloc((size_t)n, sizeof *time, e);
    double *spectrum = mert_dsp_alloc((size_t)n + 2, sizeof *spectrum, e);
    if (f && time && spectrum) {
        pthread_mutex_lock(&planner);
        f->forward = fftw_plan_dft_r2c_1d(n, time, (fftw_complex *)spectrum, FFTW_ESTIMATE | FFTW_PRESERVE_INPUT);
        pthread_mutex_unlock(&planner);
    }
    free(time);
    free(spectrum);
    if (!f || !f->forward) {
        mert_rfft64_free(f);
        mert_fail(e, "no memory for a Fourier transform of %d points", n);
        return NULL;
    }
    return f;
}

void mert_rfft64_free(mert_rfft64 *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&planner);
    if (f->forward)
        fftw_destroy_plan(f->forward);
    pthread_mutex_unlock(&planner);
    free(f);
}

void mert_rfft64_forward(const mert_rfft64 *f, const double *in, double *out)
{
    fftw_execute_dft_r2c(f->forward, (double *)(uintptr_t)in, (fftw_complex *)out);
}
