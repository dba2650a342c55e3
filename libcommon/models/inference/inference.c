#include "libcommon/models/inference/inference.h"

#include "libcommon/models/cqt_input.h"
#include "libcommon/models/mel_input.h"
#include "libcommon/nn/arena.h"
#include "libcommon/nn/no_room.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The result of a clip. It is in device memory, and also in host memory if the host cannot read device memory. */
struct answer {
    mert_element *device; /* [T, layers, D]; for a pooled weighted sum the sum before pooling */
    float *pooled, *host; /* [rows, layers, D]; pooled: device memory */
    int64_t device_room, pooled_room, host_room;
};

struct mert_inference {
    const mert_config *c;
    mert_ops *ops;
    mert_forward *encoder;
    mert_cqt_batch *cqt;       /* models with CQT input */
    mert_mel *mel;             /* Conformers */

    int slot[MERT_LAYERS_MAX + 2]; /* of hidden state i: its place in the result; -1: not wanted */
    int n_layers, last;        /* last: the last hidden state that is wanted */
    int weighted;
    float factors[MERT_LAYERS_MAX + 2]; /* of hidden state i */
    mert_pooling_plan plan;

    int64_t room_L, room_T;    /* the largest clip that the following buffers have room for */
    float *pcm, *spectrum;     /* host: the clip, normalised or without its offset; CQT or mel */
    int32_t *spans, *device_spans; /* for pooling: the first frames of the spans */
    float *device_pcm, *device_spectrum, *floats; /* floats: the result, converted to float32 */
    int64_t floats_room;
    mert_arena rounded;        /* the inputs as elements, if these are not float32 */

    struct answer answers[2];         /* one can be read while the other is computed */
    int turn;

    int64_t T, rows;           /* of the last clip */
    int queued;                /* 1: the last clip was queued, and there was no wait yet */
};

mert_inference *mert_inference_new(const mert_weights *w, mert_ops *ops, mert_packing packing, const int *layers,
                                   int n_layers, mert_error *e)
{
    mert_inference *m = calloc(1, sizeof *m);
    if (!m) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m->c = &w->layout.config;
    m->ops = ops;
    m->n_layers = n_layers;
    mert_arena_open(&m->rounded, ops);
    for (int i = 0; i <= MERT_LAYERS_MAX + 1; i++)
        m->slot[i] = -1;
    for (int i = 0; i < n_layers; i++) {
        m->slot[layers[i]] = i;
        m->last = layers[i] > m->last ? layers[i] : m->last;
    }
    m->last = m->last > m->c->layers ? m->c->layers : m->last;
    if ((m->c->cqt_input && !(m->cqt = mert_cqt_input_new(m->c, e))) ||
        (m->c->kind == MERT_CONFORMER && !m->c->convs && !(m->mel = mert_mel_input_new(w, 1, e))) ||
        !(m->encoder = mert_forward_new(w, ops, packing, e))) {
        mert_ops_no_room(ops, "a smaller model, or --device cpu", e);
        mert_inference_free(m);
        return NULL;
    }
    return m;
}

void mert_inference_weigh(mert_inference *m, const float *factors)
{
    m->weighted = 1;
    for (int i = 0; i <= m->c->layers + 1; i++)
        m->factors[i] = m->slot[i] >= 0 ? factors[m->slot[i]] : 0;
}

void mert_inference_pool(mert_inference *m, const mert_pooling_plan *plan)
{
    m->plan = *plan;
}

static int pooled(const mert_inference *m)
{
    return m->plan.how != MERT_POOLING_NONE;
}

int64_t mert_inference_width(const mert_inference *m)
{
    return (int64_t)m->c->width * (m->weighted ? 1 : m->n_layers);
}

static void free_buffers(mert_inference *m)
{
    free(m->pcm);
    free(m->spectrum);
    free(m->spans);
    m->ops->release(m->ops, m->device_pcm);
    m->ops->release(m->ops, m->device_spectrum);
    m->ops->release(m->ops, m->device_spans);
    m->pcm = m->spectrum = m->device_pcm = m->device_spectrum = NULL;
    m->spans = m->device_spans = NULL;
    m->room_L = m->room_T = 0;
}

/* Waits for a queued clip whose result is not needed. Returns -1. */
static int wait_for_queued(mert_inference *m)
{
    if (m->queued)
        (void)!m->ops->wait(m->ops, NULL);
    m->queued = 0;
    return -1;
}

void mert_inference_free(mert_inference *m)
{
    if (!m)
        return;
    wait_for_queued(m);
    free_buffers(m);
    m->ops->release(m->ops, m->floats);
    mert_arena_close(&m->rounded);
    for (int i = 0; i < 2; i++) {
        m->ops->release(m->ops, m->answers[i].device);
        m->ops->release(m->ops, m->answers[i].pooled);
        free(m->answers[i].host);
    }
    mert_forward_free(m->encoder);
    mert_cqt_batch_free(m->cqt);
    mert_mel_free(m->mel);
    free(m);
}

static float *host_floats(int64_t n)
{
    return malloc((size_t)(n > 0 ? n : 1) * sizeof(float));
}

static int out_of_memory(int64_t L, mert_error *e)
{
    return mert_fail(e, "out of memory for a clip of %lld samples", (long long)L);
}

/* Makes room for n numbers of the present result. The other result may still be read. */
static int device_room(mert_inference *m, int64_t n)
{
    struct answer *a = &m->answers[m->turn];
    if (n <= a->device_room)
        return 0;
    m->ops->release(m->ops, a->device);
    a->device = mert_ops_elements(m->ops, n);
    a->device_room = a->device ? n : 0;
    return a->device ? 0 : -1;
}

static int pooled_room(mert_inference *m, int64_t n)
{
    struct answer *a = &m->answers[m->turn];
    if (n <= a->pooled_room)
        return 0;
    m->ops->release(m->ops, a->pooled);
    a->pooled = mert_ops_floats(m->ops, n);
    a->pooled_room = a->pooled ? n : 0;
    return a->pooled ? 0 : -1;
}

static int host_room(mert_inference *m, int64_t n)
{
    struct answer *a = &m->answers[m->turn];
    if (n <= a->host_room)
        return 0;
    free(a->host);
    a->host = host_floats(n);
    a->host_room = a->host ? n : 0;
    return a->host ? 0 : -1;
}

/* Size of the spectrum that is an input, beside the samples or, for a Conformer, in their place. */
static int64_t spectrum_size(const mert_inference *m, int64_t L)
{
    const mert_config *c = m->c;
    return m->mel ? mert_config_mel_frames(c, L) * c->conformer.mels
           : m->cqt ? mert_config_frames(c, L) * c->cqt_input_bins
                    : 0;
}

static int allocate_buffers(mert_inference *m, int64_t L, int64_t T, mert_error *e)
{
    int64_t width = mert_inference_width(m), spectrum = spectrum_size(m, L);
    int whole = !pooled(m) || m->weighted; /* all frames of the result are stored on the device */
    if ((whole && device_room(m, T * width)) || (pooled(m) && pooled_room(m, m->rows * width)))
        return out_of_memory(L, e);
    if (L <= m->room_L && T <= m->room_T)
        return 0;
    free_buffers(m);
    m->pcm = host_floats(m->c->normalize ? L : 0);
    m->spectrum = host_floats(spectrum);
    m->spans = malloc((size_t)(T + 1) * sizeof *m->spans);
    m->device_pcm = mert_ops_floats(m->ops, m->mel ? 0 : L);
    m->device_spectrum = mert_ops_floats(m->ops, spectrum);
    m->device_spans = m->ops->alloc(m->ops, (size_t)(T + 1) * sizeof *m->spans);
    if (!m->pcm || !m->spectrum || !m->spans || !m->device_pcm || !m->device_spectrum || !m->device_spans) {
        free_buffers(m);
        return out_of_memory(L, e);
    }
    m->room_L = L;
    m->room_T = T;
    return 0;
}

/* (x - mean) / sqrt(var + eps), as in transformers' feature extractor and in fairseq. */
static void normalise(float *to, const float *x, int64_t n, double eps)
{
    double mean = 0, var = 0, f;
    for (int64_t i = 0; i < n; i++)
        mean += x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++)
        var += (x[i] - mean) * (x[i] - mean);
    f = 1 / sqrt(var / (double)n + eps);
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)((x[i] - mean) * f);
}

/* The mean of a clip whose samples all stay within 3 dB of the first one, with the same sign; 0 for all other clips,
 * which are almost all. */
static float constant_offset(const float *x, int64_t n)
{
    double first = n > 0 ? x[0] : 0, sum = 0;
    for (int64_t i = 0; i < n; i++) {
        double ratio = x[i] / first;
        if (!(ratio > 0.7072 && ratio < 1.4141))
            return 0;
        sum += x[i];
    }
    return n > 0 ? (float)(sum / (double)n) : 0;
}

/* Subtracts a constant offset from the clip. GroupNorm removes an offset, but only after products with large weights,
 * whose rounding errors remain. Subtracting it before is exact for each sample (Sterbenz), and the result is
 * mathematically the same. -1: out of memory. */
static int subtract_offset(mert_inference *m, const float **pcm, int64_t n, mert_error *e)
{
    float offset = m->c->extractor_layer_norm || m->c->normalize ? 0 : constant_offset(*pcm, n);
    if (offset == 0)
        return 0;
    free(m->pcm);
    if (!(m->pcm = host_floats(n)))
        return out_of_memory(n, e);
    for (int64_t i = 0; i < n; i++)
        m->pcm[i] = (*pcm)[i] - offset;
    *pcm = m->pcm;
    return 0;
}

/* ---- hidden states ---- */

/* Downloads n elements as float32; `to` is valid after the next wait. -1: out of memory. */
static int download(mert_inference *m, float *to, const mert_element *x, int64_t n)
{
    const void *from = x;
    if (m->ops->type != MERT_ELEMENT_F32) {
        if (n > m->floats_room) {
            m->ops->release(m->ops, m->floats);
            m->floats = mert_ops_floats(m->ops, n);
            m->floats_room = m->floats ? n : 0;
        }
        if (!m->floats)
            return -1;
        mert_to_floats(m->ops, .to = m->floats, .from = x, .n = n);
        from = m->floats;
    }
    m->ops->download(m->ops, to, from, (size_t)n * sizeof *to);
    return 0;
}

/* x: device [T, D] */
static void pool_layer(mert_inference *m, const mert_element *x, int slot)
{
    mert_pool_spans(m->ops, .y = m->answers[m->turn].pooled + slot * m->c->width, .x = x, .first = m->device_spans,
                    .spans = m->rows, .D = m->c->width, .ldy = mert_inference_width(m),
                    .largest = m->plan.how == MERT_POOLING_MAX);
}

static void store_layer(void *self, int layer, const mert_element *y)
{
    mert_inference *m = self;
    int slot = m->slot[layer];
    int64_t D = m->c->width;
    mert_element *answer = m->answers[m->turn].device;
    if (slot >= 0 && m->weighted) {
        if (m->factors[layer] != 0) /* alpha 0 would mean 1 */
            mert_axpy(m->ops, .to = answer, .from = y, .alpha = m->factors[layer], .n = m->T * D);
    } else if (slot >= 0 && pooled(m))
        pool_layer(m, y, slot);
    else if (slot >= 0)
        mert_copy_2d(m->ops, .to = mert_at(m->ops, answer, slot * D), .ldto = m->n_layers * D, .from = y, .ldfrom = D,
                     .rows = m->T, .columns = D);
}

/* Uploads the samples, normalised or without their offset, and the CQT's input. The host's copy does not change until
 * the next wait. */
static int upload_samples(mert_inference *m, const float *pcm, int64_t n, mert_forward_input *in, mert_error *e)
{
    if (m->c->normalize) {
        normalise(m->pcm, pcm, n, m->c->normalize_eps);
        pcm = m->pcm;
    }
    if (m->cqt && mert_cqt_batch_run(m->cqt, 1, n, m->T, pcm, m->spectrum, e))
        return -1;
    if (subtract_offset(m, &pcm, n, e))
        return -1;
    m->ops->upload(m->ops, m->device_pcm, pcm, (size_t)n * sizeof(float));
    in->pcm = mert_arena_rounded(&m->rounded, m->device_pcm, n);
    return 0;
}

/* Uploads all inputs of the encoder for this clip. */
static int upload_input(mert_inference *m, const float *pcm, int64_t n, mert_forward_input *in, mert_error *e)
{
    int64_t size = spectrum_size(m, n);
    const mert_element *spectrum;
    *in = (mert_forward_input){.samples = n};
    mert_arena_reset(&m->rounded);
    if (m->mel ? mert_mel_whole(m->mel, pcm, n, m->spectrum, e) : upload_samples(m, pcm, n, in, e))
        return -1;
    if (size) {
        m->ops->upload(m->ops, m->device_spectrum, m->spectrum, (size_t)size * sizeof(float));
        spectrum = mert_arena_rounded(&m->rounded, m->device_spectrum, size);
        in->mel = m->mel ? spectrum : NULL;
        in->cqt = m->mel ? NULL : spectrum;
    }
    if (pooled(m)) {
        mert_pooling_spans(&m->plan, m->T, m->spans);
        m->ops->upload(m->ops, m->device_spans, m->spans, (size_t)(m->rows + 1) * sizeof *m->spans);
    }
    return m->rounded.failed ? out_of_memory(n, e) : 0;
}

static int forward(mert_inference *m, const float *pcm, int64_t n, int64_t *rows, mert_error *e)
{
    mert_forward_input in;
    if (mert_config_check_length(m->c, n, e))
        return -1;
    wait_for_queued(m);
    m->T = mert_config_frames(m->c, n);
    m->rows = pooled(m) ? mert_pooling_rows(&m->plan, m->T) : m->T;
    if (m->ops->renew(m->ops, e) || allocate_buffers(m, n, m->T, e))
        return -1;
    m->queued = 1; /* uploaded host memory must not change until the wait */
    if (upload_input(m, pcm, n, &in, e))
        return wait_for_queued(m);
    if (m->weighted)
        mert_clear(m->ops, .to = m->answers[m->turn].device, .bytes = mert_element_bytes(m->ops, m->T * m->c->width));
    if (mert_forward_run(m->encoder, &in, m->last, store_layer, m, e))
        return wait_for_queued(m);
    if (m->weighted && pooled(m))
        pool_layer(m, m->answers[m->turn].device, 0);
    *rows = m->rows;
    return 0;
}

int mert_inference_forward(mert_inference *m, const float *pcm, int64_t n, int64_t *rows, mert_error *e)
{
    int bad = forward(m, pcm, n, rows, e);
    if (bad)
        mert_ops_no_room(m->ops, "--window takes less", e);
    return bad;
}

int mert_inference_answer(mert_inference *m, const float **rows, mert_error *e)
{
    struct answer *a = &m->answers[m->turn];
    int64_t n = m->rows * mert_inference_width(m);
    int there = m->ops->host_memory && (pooled(m) || m->ops->type == MERT_ELEMENT_F32);
    if (!there && host_room(m, n))
        return out_of_memory(m->T * mert_config_stride(m->c), e);
    if (!there && pooled(m))
        m->ops->download(m->ops, a->host, a->pooled, (size_t)n * sizeof *a->host);
    else if (!there && download(m, a->host, a->device, n))
        return out_of_memory(m->T * mert_config_stride(m->c), e);
    m->queued = 0;
    if (m->ops->wait(m->ops, e))
        return -1;
    *rows = !there ? a->host : pooled(m) ? a->pooled : (const float *)(const void *)a->device;
    if (there) /* the next clip uses the other one */
        m->turn = !m->turn;
    return 0;
}

int mert_inference_run(mert_inference *m, const float *pcm, int64_t n, const float **answer, int64_t *rows,
                       mert_error *e)
{
    return mert_inference_forward(m, pcm, n, rows, e) || mert_inference_answer(m, answer, e) ? -1 : 0;
}
