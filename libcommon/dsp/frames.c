#include "libcommon/dsp/frames.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* GATHER: rows computed at a time; TASK: rows per task of the pool; REACH: rows that deltas use before and after each
 * row. */
enum { GATHER = 512, TASK = 32, REACH = 2, KEPT = 8 };

mert_mel *mert_mel_alloc(void) { return calloc(1, sizeof(mert_mel)); }

void mert_mel_reset(mert_mel *m)
{
    m->first = -m->before;
    m->have = m->before;
    memset(m->in, 0, (size_t)m->have * sizeof *m->in);
    m->row_first = m->emitted = m->samples = 0;
    memset(m->done, 0, sizeof m->done);
}

int mert_mel_prepare(mert_mel *m, int pooled, mert_error *e)
{
    m->pooled = pooled;
    m->workers = pooled ? mert_pool_threads() : 1;
    m->width = m->base * (1 + m->orders);
    m->room = m->window + (int64_t)GATHER * m->hop;
    m->in = mert_dsp_alloc((size_t)m->room, sizeof *m->in, e);
    m->rows = mert_dsp_alloc((size_t)(GATHER + KEPT) * (size_t)m->width, sizeof *m->rows, e);
    m->scratch = mert_array_zeroed(m->workers, sizeof *m->scratch);
    if (!m->in || !m->rows || !m->scratch)
        return mert_fail(e, "out of memory");
    for (int w = 0; w < m->workers; w++)
        if (!(m->scratch[w] = mert_dsp_alloc(m->scratch_size, sizeof(float), e)))
            return -1;
    mert_mel_reset(m);
    return 0;
}

void mel_bank_free(mel_bank *b)
{
    free(b->first);
    free(b->start);
    free(b->weight);
}

void mert_mel_free(mert_mel *m)
{
    if (!m)
        return;
    for (int w = 0; m->scratch && w < m->workers; w++)
        free(m->scratch[w]);
    free(m->scratch);
    free(m->in);
    free(m->rows);
    free(m->shape);
    free(m->dct);
    free(m->mean);
    free(m->scale);
    mel_bank_free(&m->bank);
    mert_rfft_free(m->dft);
    mert_rfft64_free(m->dft64);
    free(m);
}

int mert_mel_width(const mert_mel *m) { return m->width; }
int mert_mel_hop(const mert_mel *m) { return m->hop; }

int64_t mert_mel_frames(const mert_mel *m, int64_t samples)
{
    if (m->reflect) /* the mirror image of n samples needs n samples besides the last one */
        return samples < m->before + 1 ? 0 : samples / m->hop;
    if (!m->whole_only)
        return samples / m->hop + 1;
    return samples < m->window ? 0 : (samples - m->window) / m->hop + 1;
}

typedef struct row_job {
    mert_mel *m;
    int64_t count;
} row_job;

static void row_task(void *arg, int64_t i, int worker)
{
    row_job *job = arg;
    mert_mel *m = job->m;
    for (int64_t r = i * TASK; r < job->count && r < (i + 1) * TASK; r++) {
        int64_t t = m->done[0] + r;
        m->row(m, m->in + (t * m->hop - m->before - m->first), m->scratch[worker],
               m->rows + (t - m->row_first) * m->width);
    }
}

/* Deltas of order s from those of order s - 1: d[t] = sum_{i=1,2} i (x[t + i] - x[t - i]) / 10, the rows at the ends
 * repeated. last: the signal's last row, INT64_MAX: not known yet. */
static void add_deltas(mert_mel *m, int s, int64_t last)
{
    int64_t end = last == INT64_MAX ? m->done[s - 1] - REACH : m->done[s - 1];
    for (int64_t t = m->done[s]; t < end; t++) {
        const float *x[2 * REACH + 1];
        float *out = m->rows + (t - m->row_first) * m->width + s * m->base;
        for (int i = -REACH; i <= REACH; i++) {
            int64_t at = t + i < 0 ? 0 : t + i > last ? last : t + i;
            x[i + REACH] = m->rows + (at - m->row_first) * m->width + (s - 1) * m->base;
        }
        for (int c = 0; c < m->base; c++)
            out[c] = ((x[3][c] - x[1][c]) + 2 * (x[4][c] - x[0][c])) / 10;
    }
    m->done[s] = end > m->done[s] ? end : m->done[s];
}

/* Computes rows up to `end`, whose samples must be complete; last: as above. */
static int make_rows(mert_mel *m, int64_t end, int64_t last, mert_mel_emit emit, void *to, mert_error *e)
{
    do {
        row_job job = {m, end - m->done[0]};
        int64_t fresh, keep;
        if (job.count > GATHER)
            job.count = GATHER;
        if (m->pooled)
            mert_pool_run((job.count + TASK - 1) / TASK, row_task, &job);
        else
            for (int64_t i = 0; i * TASK < job.count; i++)
                row_task(&job, i, 0);
        m->done[0] += job.count;
        for (int s = 1; s <= m->orders; s++)
            add_deltas(m, s, m->done[0] == end ? last : INT64_MAX);
        fresh = m->done[m->orders] - m->emitted;
        if (fresh > 0 && emit(to, m->rows + (m->emitted - m->row_first) * m->width, fresh, e))
            return -1;
        m->emitted = m->done[m->orders];
        keep = m->emitted - REACH;
        if (keep > m->row_first) {
            memmove(m->rows, m->rows + (keep - m->row_first) * m->width,
                    (size_t)((m->done[0] - keep) * m->width) * sizeof *m->rows);
            m->row_first = keep;
        }
    } while (m->done[0] < end);
    return 0;
}

/* Removes samples before the next row's window. One more is kept for the mirror at the end of the signal. */
static void forget(mert_mel *m)
{
    int64_t gone = m->done[0] * m->hop - m->before - m->first - m->reflect;
    if (gone > m->have)
        gone = m->have;
    if (gone > 0) {
        memmove(m->in, m->in + gone, (size_t)(m->have - gone) * sizeof *m->in);
        m->first += gone;
        m->have -= gone;
    }
}

/* Sample -i is sample i. */
static void mirror_front(mert_mel *m)
{
    for (int i = 1; m->reflect && m->first == -m->before && i <= m->before; i++)
        m->in[m->before - i] = m->in[m->before + i];
}

/* The samples after the end of the signal, up to `have` samples of the buffer: zeros or, mirrored, sample L - 1 + i is
 * sample L - 1 - i. */
static void add_behind(mert_mel *m, int64_t have)
{
    for (int64_t i = m->have; i < have; i++) {
        int64_t mirrored = 2 * (m->samples - 1) - (m->first + i) - m->first;
        m->in[i] = m->reflect && mirrored >= 0 ? m->in[mirrored] : 0;
    }
    m->have = have > m->have ? have : m->have;
}

int mert_mel_push(mert_mel *m, const float *pcm, int64_t n, mert_mel_emit emit, void *to, mert_error *e)
{
    while (n > 0) {
        int64_t skip = m->done[0] * m->hop - m->before - (m->first + m->have), take;
        if (m->have == 0 && skip > 0) { /* hop longer than the window: samples that no row uses */
            skip = skip < n ? skip : n;
            m->first += skip;
            m->samples += skip;
            pcm += skip;
            n -= skip;
            continue;
        }
        take = mert_smaller(m->room - m->have, n);
        memcpy(m->in + m->have, pcm, (size_t)take * sizeof *pcm);
        m->have += take;
        m->samples += take;
        pcm += take;
        n -= take;
        if (m->have == m->room) {
            int64_t end = (m->first + m->have + m->before - m->window) / m->hop + 1;
            mirror_front(m);
            if (make_rows(m, end, INT64_MAX, emit, to, e))
                return -1;
            forget(m);
        }
    }
    return 0;
}

int mert_mel_finish(mert_mel *m, mert_mel_emit emit, void *to, mert_error *e)
{
    int64_t frames = mert_mel_frames(m, m->samples);
    int bad = 0;
    while (!bad && m->done[0] < frames) {
        int64_t end = frames, have = (frames - 1) * m->hop - m->before + m->window - m->first;
        if (have > m->room) {
            have = m->room;
            end = (m->first + have + m->before - m->window) / m->hop + 1;
        }
        mirror_front(m);
        add_behind(m, have);
        bad = make_rows(m, end, end == frames ? frames - 1 : INT64_MAX, emit, to, e);
        forget(m);
    }
    if (!bad && m->emitted < frames) /* only the deltas of the last rows are missing */
        bad = make_rows(m, frames, frames - 1, emit, to, e);
    mert_mel_reset(m);
    return bad;
}

typedef struct copy {
    float *out;
    int64_t width;
} copy;

static int copy_rows(void *to, const float *rows, int64_t n, mert_error *e)
{
    copy *c = to;
    (void)e;
    memcpy(c->out, rows, (size_t)(n * c->width) * sizeof *rows);
    c->out += n * c->width;
    return 0;
}

int mert_mel_whole(mert_mel *m, const float *pcm, int64_t n, float *out, mert_error *e)
{
    copy c = {out, m->width};
    mert_mel_reset(m);
    return mert_mel_push(m, pcm, n, copy_rows, &c, e) || mert_mel_finish(m, copy_rows, &c, e) ? -1 : 0;
}

/* ---- filters ---- */

int mel_bank_make(mel_bank *b, int filters, double low, double high, int n_fft, double top,
                  double (*to_mel)(double), double (*to_hz)(double), int linear_in_mel, mert_error *e)
{
    double m0 = to_mel(low), step = (to_mel(high) - m0) / (filters + 1), per_bin = top / (n_fft / 2);
    int bins = n_fft / 2 + 1, used = 0;
    b->filters = filters;
    b->first = mert_array_zeroed(filters, sizeof *b->first);
    b->start = mert_array_zeroed(filters + 1, sizeof *b->start);
    /* A bin is inside at most two triangles. */
    b->weight = mert_array_zeroed(2 * bins + filters, sizeof *b->weight);
    if (!b->first || !b->start || !b->weight)
        return mert_fail(e, "out of memory");
    for (int m = 0; m < filters; m++) {
        double left = m0 + m * step, middle = left + step, right = middle + step;
        b->start[m] = used;
        if (!linear_in_mel)
            left = to_hz(left), middle = to_hz(middle), right = to_hz(right);
        for (int j = 0; j < bins; j++) {
            double at = linear_in_mel ? to_mel(j * per_bin) : j * per_bin;
            double w = fmin((at - left) / (middle - left), (right - at) / (right - middle));
            if (w <= 0)
                continue;
            if (used == b->start[m])
                b->first[m] = j;
            b->weight[used++] = (float)w;
        }
    }
    b->start[filters] = used;
    return 0;
}
