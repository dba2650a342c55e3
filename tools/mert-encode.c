/* mert-encode: hidden states of a MERT model.
 *
 *   in    pcm [T], mono, f32 or i16, at the model's sample rate
 *   out   hidden [T', layers, D], T' frames of sample_rate / 320 per second; [1, layers, D] with --pool
 *
 * A clip is taken as a whole: GroupNorm and attention see all of it, and the result is the same bytes however it was cut into
 * chunks, whatever else was in the stream, on any number of threads. */
#include "../libcommon/base/filter.h"
#include "../libcommon/base/half.h"
#include "../libcommon/base/log.h"
#include "../libcommon/base/options.h"
#include "../libcommon/models/inference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *model_path, *layer_list = "all", *device = "cpu";
static int pool, dtype, normalize = -1;
static const char *const pools[] = {"none", "mean", "max", NULL};
static const char *const dtypes[] = {"f32", "f16", "bf16", NULL};

static const mert_option options[] = {
    {"model", 'm', MERT_STRING, &model_path, "MODEL", 0, 0, NULL, "a model: HF directory, safetensors, torch file, or our own directory"},
    {"layers", 0, MERT_STRING, &layer_list, "LIST", 0, 0, NULL, "hidden states to write: all, last, or numbers (0: input of layer 1)"},
    {"pool", 0, MERT_CHOICE, &pool, "HOW", 0, 0, pools, "over the time of each item"},
    {"dtype", 0, MERT_CHOICE, &dtype, "TYPE", 0, 0, dtypes, "numbers written"},
    {"normalize", 0, MERT_FLAG, &normalize, NULL, 0, 0, NULL, "clip to mean 0, variance 1 first (default: as the model's preprocessor says)"},
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL, "what computes: cpu, or guard (a test of the program itself)"},
    {0}};
static const mert_tool tool = {"mert-encode", "hidden states of a MERT model", "[options] -m MODEL [FILE...]",
                               "Reads pcm streams, writes hidden [T, layers, D].", options, NULL};

typedef struct state {
    mert_weights weights;
    mert_inference *inference;
    uint64_t hash;
    int layers[MERT_LAYERS_MAX + 1], n_layers;
    mts_dtype from;
    float *pcm;          /* the clip so far */
    int64_t n, room;
    void *rows;          /* output on its way: BLOCK time steps */
} state;

enum { BLOCK = 64 };

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    const mert_config *c = &s->weights.layout.config;
    if (strcmp(in->kind, "pcm"))
        return mert_fail(e, "%s comes in, and this program needs pcm", in->kind);
    if (in->sample_rate != c->sample_rate)
        return mert_fail(e, "sample rate is %lld Hz, this model needs %d Hz", (long long)in->sample_rate, c->sample_rate);
    if (in->ndim != 1 && !(in->ndim == 2 && in->shape[1] == 1))
        return mert_fail(e, "%lld channels, this model needs 1", (long long)(in->ndim == 2 ? in->shape[1] : -1));
    if (in->dtype != MTS_F32 && in->dtype != MTS_I16)
        return mert_fail(e, "pcm of type %s, this program needs f32 or i16", mts_dtype_name(in->dtype));
    s->from = in->dtype;
    s->n = 0;
    strcpy(out->kind, "hidden");
    out->dtype = (mts_dtype[]){MTS_F32, MTS_F16, MTS_BF16}[dtype];
    out->ndim = 3;
    out->shape[0] = pool == MERT_POOLING_NONE ? -1 : 1;
    out->shape[1] = s->n_layers;
    out->shape[2] = c->width;
    out->frame_rate_num = pool == MERT_POOLING_NONE ? c->sample_rate : 0;
    out->frame_rate_den = pool == MERT_POOLING_NONE ? mert_config_stride(c) : 1;
    out->model = s->hash;
    return 0;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    state *s = self;
    (void)sink;
    if (s->n + n > s->room) {
        int64_t room = s->n + n > 2 * s->room ? s->n + n : 2 * s->room;
        float *p = realloc(s->pcm, (size_t)room * sizeof *p);
        if (!p)
            return mert_fail(e, "out of memory for a clip of %lld samples", (long long)(s->n + n));
        s->pcm = p;
        s->room = room;
    }
    for (int64_t i = 0; i < n; i++) {
        float x = s->from == MTS_I16 ? (float)((const int16_t *)data)[i] / 32768.0f : ((const float *)data)[i];
        if (!isfinite(x))
            return mert_fail(e, "sample %lld is not a finite number", (long long)(s->n + i));
        s->pcm[s->n + i] = x;
    }
    s->n += n;
    return 0;
}

static int write_rows(state *s, const float *rows, int64_t n, mert_sink *sink, mert_error *e)
{
    int64_t m = n * s->n_layers * s->weights.layout.config.width;
    uint16_t *half = s->rows;
    if (dtype == 0)
        return mert_sink_write(sink, rows, n, e);
    for (int64_t i = 0; i < m; i++)
        half[i] = dtype == 1 ? mert_to_f16(rows[i]) : mert_to_bf16(rows[i]);
    return mert_sink_write(sink, half, n, e);
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    state *s = self;
    int64_t T, width = mert_inference_width(s->inference);
    const float *rows;
    if (mert_inference_run(s->inference, s->pcm, s->n, &rows, &T, e))
        return -1;
    for (int64_t t = 0; t < T; t += BLOCK)
        if (write_rows(s, rows + t * width, T - t < BLOCK ? T - t : BLOCK, sink, e))
            return -1;
    return 0;
}

static void choose_layers(state *s)
{
    int N = s->weights.layout.config.layers;
    const char *p = layer_list;
    if (!strcmp(p, "all")) {
        for (int i = 0; i <= N; i++)
            s->layers[s->n_layers++] = i;
        return;
    }
    if (!strcmp(p, "last")) {
        s->layers[s->n_layers++] = N;
        return;
    }
    for (;;) {
        char *stop;
        long v = strtol(p, &stop, 10);
        if (stop == p || (*stop && *stop != ','))
            mert_usage_error("--layers: '%s' is neither all, last nor a list of numbers", layer_list);
        if (v < 0 || v > N)
            mert_usage_error("--layers: %ld is outside 0 to %d", v, N);
        for (int i = 0; i < s->n_layers; i++)
            if (s->layers[i] == v)
                mert_usage_error("--layers: %ld is there twice", v);
        s->layers[s->n_layers++] = (int)v;
        if (!*stop)
            return;
        p = stop + 1;
    }
}

int main(int argc, char **argv)
{
    static const mert_stage stage = {.begin = begin, .frames = frames, .end = end};
    state s = {.n = 0};
    mert_error e;
    mert_ops *ops;
    char settings[1024];
    int status;
    mert_options_parse(&tool, &argc, &argv);
    if (!model_path)
        mert_usage_error("which model? (-m MODEL)");
    if (!(ops = mert_ops_open(device)))
        mert_usage_error("no such device '%s'", device);
    if (mert_weights_load(&s.weights, model_path, 0, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    if (normalize >= 0)
        s.weights.layout.config.normalize = normalize;
    choose_layers(&s);
    s.rows = malloc((size_t)BLOCK * (size_t)s.n_layers * (size_t)s.weights.layout.config.width * sizeof(uint16_t));
    s.inference = s.rows ? mert_inference_new(&s.weights, ops, s.layers, s.n_layers, &e) : NULL;
    if (!s.inference || mert_inference_pool(s.inference, &(mert_pooling_plan){.how = (mert_pooling_how)pool}, &e)) {
        mert_log_error("%s: %s", model_path, s.rows ? e.text : "out of memory");
        return 1;
    }
    s.hash = mert_weights_hash(&s.weights);
    snprintf(settings, sizeof settings, "model=%016llx layers=%s pool=%s dtype=%s normalize=%s", (unsigned long long)s.hash, layer_list,
             pools[pool], dtypes[dtype],
             s.weights.layout.config.normalize ? "yes" : "no");
    status = mert_filter_run(&(mert_filter){.stage = &stage, .self = &s, .settings = settings}, argv, argc);
    mert_inference_free(s.inference);
    mert_weights_free(&s.weights);
    ops->close(ops);
    free(s.pcm);
    free(s.rows);
    return status;
}
