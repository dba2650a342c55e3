#include "inference.h"

#include "cqt_input.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct mert_inference {
    const mert_config *c;
    mert_ops *ops;
    float *weights;            /* device */
    mert_encoder *encoder;
    int layers[MERT_LAYERS_MAX + 1], n_layers;
    mert_cqt_batch *cqt;       /* models with CQT input */
    float *pcm, *cqt_rows, *hidden;                /* host */
    float *device_pcm, *device_cqt, *device_hidden;
    int64_t room_L, room_T;    /* what these hold */
};

mert_inference *mert_inference_new(const mert_weights *w, mert_ops *ops, const int *layers, int n_layers, mert_error *e)
{
    mert_inference *m = calloc(1, sizeof *m);
    size_t bytes = (size_t)w->layout.size * sizeof(float);
    if (!m) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    m->c = &w->layout.config;
    m->ops = ops;
    m->n_layers = n_layers;
    memcpy(m->layers, layers, (size_t)n_layers * sizeof *layers);
    if (!(m->weights = ops->alloc(ops, bytes))) {
        mert_fail(e, "out of memory for the weights");
        goto fail;
    }
    ops->upload(ops, m->weights, w->values, bytes);
    ops->wait(ops);
    if ((m->c->cqt_input && !(m->cqt = mert_cqt_input_new(m->c, e))) || !(m->encoder = mert_encoder_new(&w->layout, ops, m->weights, NULL, e)))
        goto fail;
    return m;
fail:
    mert_inference_free(m);
    return NULL;
}

static void free_buffers(mert_inference *m)
{
    free(m->pcm);
    free(m->cqt_rows);
    free(m->hidden);
    m->ops->release(m->ops, m->device_pcm);
    m->ops->release(m->ops, m->device_cqt);
    m->ops->release(m->ops, m->device_hidden);
    m->pcm = m->cqt_rows = m->hidden = m->device_pcm = m->device_cqt = m->device_hidden = NULL;
    m->room_L = m->room_T = 0;
}

void mert_inference_free(mert_inference *m)
{
    if (!m)
        return;
    free_buffers(m);
    mert_encoder_free(m->encoder);
    mert_cqt_batch_free(m->cqt);
    m->ops->release(m->ops, m->weights);
    free(m);
}

static int make_room(mert_inference *m, int64_t L, int64_t T, mert_error *e)
{
    int64_t bins = m->c->cqt_input ? m->c->cqt_input_bins : 0;
    size_t hidden = (size_t)(T * m->c->width) * (size_t)m->n_layers * sizeof(float);
    if (L <= m->room_L && T <= m->room_T)
        return 0;
    free_buffers(m);
    m->pcm = malloc((size_t)L * sizeof(float));
    m->hidden = malloc(hidden);
    m->cqt_rows = malloc((size_t)(T * bins + 1) * sizeof(float));
    m->device_pcm = mert_ops_floats(m->ops, L);
    m->device_cqt = mert_ops_floats(m->ops, T * bins);
    m->device_hidden = m->ops->alloc(m->ops, hidden);
    if (!m->pcm || !m->hidden || !m->cqt_rows || !m->device_pcm || !m->device_cqt || !m->device_hidden) {
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

int mert_inference_run(mert_inference *m, const float *pcm, int64_t n, const float **hidden, int64_t *T, mert_error *e)
{
    int64_t frames = mert_config_frames(m->c, n), size = frames * m->c->width;
    float *out[MERT_LAYERS_MAX + 1] = {NULL};
    mert_regime inference = {0};
    if (frames < 1)
        return mert_fail(e, "%lld samples are shorter than the model's receptive field of %d", (long long)n, mert_config_receptive_field(m->c));
    if (make_room(m, n, frames, e))
        return -1;
    if (m->c->normalize)
        normalise(m->pcm, pcm, n);
    else
        memcpy(m->pcm, pcm, (size_t)n * sizeof(float));
    m->ops->upload(m->ops, m->device_pcm, m->pcm, (size_t)n * sizeof(float));
    if (m->cqt) {
        if (mert_cqt_batch_run(m->cqt, 1, n, frames, m->pcm, m->cqt_rows, e))
            return -1;
        m->ops->upload(m->ops, m->device_cqt, m->cqt_rows, (size_t)(frames * m->c->cqt_input_bins) * sizeof(float));
    }
    for (int i = 0; i < m->n_layers; i++)
        out[m->layers[i]] = m->device_hidden + i * size;
    if (!mert_encoder_forward(m->encoder, &inference, 1, n, 0, m->device_pcm, NULL, m->cqt ? m->device_cqt : NULL, out, e)) {
        m->ops->wait(m->ops);
        return -1;
    }
    m->ops->download(m->ops, m->hidden, m->device_hidden, (size_t)(size * m->n_layers) * sizeof(float));
    m->ops->wait(m->ops);
    *hidden = m->hidden;
    *T = frames;
    return 0;
}
