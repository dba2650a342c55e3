#include "inference.h"

#include "cqt_input.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mert_inference {
    const mert_config *c;
    mert_ops *ops;
    mert_forward *encoder;
    mert_cqt_batch *cqt;       /* models with CQT input */

    int slot[MERT_LAYERS_MAX + 1]; /* of hidden state i: its place in the answer, -1: not wanted */
    int n_layers, last;        /* last: the highest wanted */
    int weighted;
    float factors[MERT_LAYERS_MAX + 1]; /* of hidden state i */
    mert_pooling_plan plan;
    mert_pooling *pooling;     /* one layer at a time */

    int64_t room_L, room_T;    /* what these hold: */
    float *pcm, *cqt_rows, *state,
        *pooled; /* host: normalised clip; CQT; when pooling, one hidden state and the answer */
    float *device_pcm, *device_cqt,
        *device_answer;        /* device_answer [T, layers, D]; NULL where layers are pooled one by one */
    float *answer;             /* of mert_inference_run */
    int64_t room_answer;

    int64_t T, rows;           /* of the last clip */
    int pooling_slot;
    int64_t pooled_rows;
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
    for (int i = 0; i <= MERT_LAYERS_MAX; i++)
        m->slot[i] = -1;
    for (int i = 0; i < n_layers; i++) {
        m->slot[layers[i]] = i;
        m->last = layers[i] > m->last ? layers[i] : m->last;
    }
    if ((m->c->cqt_input && !(m->cqt = mert_cqt_input_new(m->c, e))) ||
        !(m->encoder = mert_forward_new(w, ops, packing, e))) {
        mert_inference_free(m);
        return NULL;
    }
    return m;
}

void mert_inference_weigh(mert_inference *m, const float *factors)
{
    m->weighted = 1;
    for (int i = 0; i <= m->last; i++)
        m->factors[i] = m->slot[i] >= 0 ? factors[m->slot[i]] : 0;
}

int mert_inference_pool(mert_inference *m, const mert_pooling_plan *plan, mert_error *e)
{
    m->plan = *plan;
    if (plan->how == MERT_POOLING_NONE)
        return 0;
    m->pooling = mert_pooling_new(plan, m->c->width, e);
    return m->pooling ? 0 : -1;
}

int64_t mert_inference_width(const mert_inference *m)
{
    return (int64_t)m->c->width * (m->weighted ? 1 : m->n_layers);
}

static void free_buffers(mert_inference *m)
{
    free(m->pcm);
    free(m->cqt_rows);
    free(m->state);
    free(m->pooled);
    m->ops->release(m->ops, m->device_pcm);
    m->ops->release(m->ops, m->device_cqt);
    m->ops->release(m->ops, m->device_answer);
    m->pcm = m->cqt_rows = m->state = m->pooled = m->device_pcm = m->device_cqt = m->device_answer = NULL;
    m->room_L = m->room_T = 0;
}

void mert_inference_free(mert_inference *m)
{
    if (!m)
        return;
    free_buffers(m);
    free(m->answer);
    mert_pooling_free(m->pooling);
    mert_forward_free(m->encoder);
    mert_cqt_batch_free(m->cqt);
    free(m);
}

static float *host_floats(int64_t n)
{
    return malloc((size_t)(n > 0 ? n : 1) * sizeof(float));
}

static int make_room(mert_inference *m, int64_t L, int64_t T, mert_error *e)
{
    int64_t D = m->c->width, width = mert_inference_width(m), bins = m->cqt ? m->c->cqt_input_bins : 0;
    int whole = !m->pooling || m->weighted; /* all frames of the answer stand on the device */
    if (L <= m->room_L && T <= m->room_T)
        return 0;
    free_buffers(m);
    m->pcm = host_floats(m->c->normalize ? L : 0);
    m->cqt_rows = host_floats(T * bins);
    m->state = host_floats(m->pooling ? T * D : 0);
    m->pooled = host_floats(m->pooling ? mert_pooling_rows(&m->plan, T) * width : 0);
    m->device_pcm = mert_ops_floats(m->ops, L);
    m->device_cqt = mert_ops_floats(m->ops, T * bins);
    m->device_answer = mert_ops_floats(m->ops, whole ? T * width : 0);
    if (!m->pcm || !m->cqt_rows || !m->state || !m->pooled || !m->device_pcm || !m->device_cqt || !m->device_answer) {
        free_buffers(m);
        return mert_fail(e, "out of memory for a clip of %lld samples", (long long)L);
    }
    m->room_L = L;
    m->room_T = T;
    return 0;
}

/* (x - mean) / sqrt(var + 1e-7), as transformers' feature extractor does. */
static void normalise(float *to, const float *x, int64_t n)
{
    double mean = 0, var = 0, f;
    for (int64_t i = 0; i < n; i++)
        mean += x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++)
        var += (x[i] - mean) * (x[i] - mean);
    f = 1 / sqrt(var / (double)n + 1e-7);
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)((x[i] - mean) * f);
}

/* ---- layers as they are finished ---- */

static int take_span(void *self, const float *row, int64_t n, mert_error *e)
{
    mert_inference *m = self;
    (void)n;
    (void)e;
    memcpy(m->pooled + m->pooled_rows++ * mert_inference_width(m) + (int64_t)m->pooling_slot * m->c->width, row,
           (size_t)m->c->width * sizeof *row);
    return 0;
}

/* x: device [T, D] */
static void pool_layer(mert_inference *m, const float *x, int slot)
{
    m->ops->download(m->ops, m->state, x, (size_t)(m->T * m->c->width) * sizeof *x);
    m->ops->wait(m->ops);
    m->pooling_slot = slot;
    m->pooled_rows = 0;
    mert_pooling_begin(m->pooling);
    mert_pooling_add(m->pooling, m->state, m->T, take_span, m, NULL);
    mert_pooling_end(m->pooling, take_span, m, NULL);
}

static void give_layer(void *self, int layer, const float *y)
{
    mert_inference *m = self;
    int slot = m->slot[layer];
    int64_t D = m->c->width;
    if (slot >= 0 && m->weighted) {
        if (m->factors[layer] != 0) /* to axpy, alpha 0 is 1 */
            mert_axpy(m->ops, .to = m->device_answer, .from = y, .alpha = m->factors[layer], .n = m->T * D);
    } else if (slot >= 0 && m->pooling)
        pool_layer(m, y, slot);
    else if (slot >= 0)
        mert_copy_2d(m->ops, .to = m->device_answer + slot * D, .ldto = m->n_layers * D, .from = y, .ldfrom = D,
                     .rows = m->T, .columns = D);
}

int mert_inference_forward(mert_inference *m, const float *pcm, int64_t n, int64_t *rows, mert_error *e)
{
    int64_t T = mert_config_frames(m->c, n);
    if (T < 1)
        return mert_fail(e, "%lld samples are shorter than the model's receptive field of %d", (long long)n,
                         mert_config_receptive_field(m->c));
    if (make_room(m, n, T, e))
        return -1;
    if (m->c->normalize) {
        normalise(m->pcm, pcm, n);
        pcm = m->pcm;
    }
    m->ops->upload(m->ops, m->device_pcm, pcm, (size_t)n * sizeof(float));
    if (m->cqt) {
        if (mert_cqt_batch_run(m->cqt, 1, n, T, pcm, m->cqt_rows, e))
            return -1;
        m->ops->upload(m->ops, m->device_cqt, m->cqt_rows, (size_t)(T * m->c->cqt_input_bins) * sizeof(float));
    }
    m->T = T;
    if (m->weighted)
        mert_fill(m->ops, .to = m->device_answer, .n = T * m->c->width);
    if (mert_forward_run(m->encoder, m->device_pcm, n, m->cqt ? m->device_cqt : NULL, m->last, give_layer, m, e)) {
        m->ops->wait(m->ops);
        return -1;
    }
    if (m->weighted && m->pooling)
        pool_layer(m, m->device_answer, 0);
    m->ops->wait(m->ops);
    *rows = m->rows = m->pooling ? m->pooled_rows : T;
    return 0;
}

void mert_inference_fetch(mert_inference *m, float *to)
{
    size_t bytes = (size_t)(m->rows * mert_inference_width(m)) * sizeof *to;
    if (m->pooling) {
        memcpy(to, m->pooled, bytes);
        return;
    }
    m->ops->download(m->ops, to, m->device_answer, bytes);
    m->ops->wait(m->ops);
}

int mert_inference_run(mert_inference *m, const float *pcm, int64_t n, const float **answer, int64_t *rows,
                       mert_error *e)
{
    int64_t size;
    if (mert_inference_forward(m, pcm, n, rows, e))
        return -1;
    size = *rows * mert_inference_width(m);
    if (size > m->room_answer) {
        free(m->answer);
        m->answer = host_floats(size);
        m->room_answer = m->answer ? size : 0;
        if (!m->answer)
            return mert_fail(e, "out of memory for a clip of %lld samples", (long long)n);
    }
    mert_inference_fetch(m, m->answer);
    *answer = m->answer;
    return 0;
}
