/* mert-encode: hidden states of a MERT model.
 *
 *   in    pcm [T], mono, f32 or i16, at the model's sample rate
 *   out   hidden [T', layers, D], T' frames of sample_rate / 320 per second
 *         --pool: one row per item or span, of several statistics [layers, statistics * D]; --weights: [T', 1, D]
 *
 * GroupNorm and attention use the whole clip, so an item is computed as a whole. Its result is the same bytes for any
 * chunks, other items in the stream, and number of threads. Only --window divides it into shorter clips.
 *
 * samples -> a clip, or (chunker) windows of it -> (async) forward pass -> [overlap -> pooling] -> conversion -> stream
 *
 * While a clip is computed, the result of the one before is written. So output is delayed: it may come after its item
 * has ended (flush in tensor/stage.h). */
#include "formats/array.h"
#include "formats/half.h"
#include "formats/memory.h"
#include "libcommon/base/fraction.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/models/inference/async.h"
#include "libcommon/models/inference/layers.h"
#include "libcommon/models/inference/windows.h"
#include "libcommon/models/weights/adapter.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *model_path, *layer_list = "all", *factors, *device = "cpu", *span_text, *window_text, *hop_text,
    *adapter, *pool = "none";
static double adapter_alpha;
static int dtype, join, precision, normalize = -1;
static const char *const dtypes[] = {"f32", "f16", "bf16", NULL};
static const char *const joins[] = {"centre", "fade", NULL};

static const mert_option options[] = {
    {"model", 'm', MERT_STRING, &model_path, "MODEL", 0, 0, NULL,
     "the model: Hugging Face directory, safetensors, torch file, or native directory"},
    {"adapter", 0, MERT_STRING, &adapter, "FILE", 0, 0, NULL,
     "low-rank adapter (LoRA) that is merged into the model's weights"},
    {"adapter-alpha", 0, MERT_DOUBLE, &adapter_alpha, "X", 0, 1e6, NULL,
     "--adapter: its alpha (0: as adapter_config.json says, else 128)"},
    {"layers", 0, MERT_STRING, &layer_list, "LIST", 0, 0, NULL,
     "hidden states to write: all, or a list of last, last-raw, numbers and ranges (0,4-6; 0: input of layer 1)"},
    {"weights", 0, MERT_STRING, &factors, "LIST|FILE", 0, 0, NULL,
     "write the weighted sum of the layers, with these weights"},
    {"pool", 0, MERT_STRING, &pool, "LIST", 0, 0, NULL,
     "pool over the time of each item: none, or a list of mean, std and max"},
    {"span", 0, MERT_STRING, &span_text, "SECONDS", 0, 0, NULL,
     "pool over spans of this length instead of the whole item"},
    {"window", 0, MERT_STRING, &window_text, "SECONDS", 0, 0, NULL,
     "process windows of this length instead of the whole item (an approximation)"},
    {"hop", 0, MERT_STRING, &hop_text, "SECONDS", 0, 0, NULL,
     "from one window to the next (default: the length of a window)"},
    {"join", 0, MERT_CHOICE, &join, "HOW", 0, 0, joins, "frames that windows share: cut in the centre, or fade"},
    {"dtype", 0, MERT_CHOICE, &dtype, "TYPE", 0, 0, dtypes, "type of the numbers that are written"},
    {"precision", 0, MERT_CHOICE, &precision, "TYPE", 0, 0, mert_packing_names + 1,
     "matrix products of values rounded to bf16, or to 8-bit integers (approximations)"},
    {"normalize", 0, MERT_FLAG, &normalize, NULL, 0, 0, NULL,
     "normalise clips to mean 0 and variance 1 (default: as the model's preprocessor says)"},
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL,
     "what computes: cpu, guard (a test of the program itself), cuda or cuda:N"},
    {0}};
static const mert_tool tool = {"mert-encode", "hidden states of a MERT model", "[options] -m MODEL [FILE...]",
                               "Reads pcm streams, writes hidden [T, layers, D].", options, NULL};

/* What is computed at a time: a clip, or a window of it. */
typedef struct piece {
    int there, last, dropped; /* it was submitted; it is the item's last; its item failed */
    int64_t first;            /* number of its first frame */
} piece;

typedef struct state {
    mert_weights weights;
    mert_layers layers;
    mert_inference *inference;
    mert_async *async;
    uint64_t hash;
    int damaged;              /* the weights do not have the file's checksum, or are not finite; `damage` says which */
    mert_error damage;
    mert_pool *pool;          /* of the main thread */
    pthread_t reader;         /* for a packed model, whose checksum is computed while the model is used */
    int reading;
    mert_pooling_plan plan;
    mert_fraction span, window, hop; /* seconds; 0: not given */
    mert_chunker *chunker;      /* with --window */
    mert_overlap *overlap;
    mert_pooling *pooling;    /* of joined frames, or for statistics that mert_inference does not compute */

    mts_dtype from;
    struct { float *pcm; int64_t n, room; } clips[2]; /* one is computed, the other is being filled */
    int turn;                 /* index of the one that is being filled */
    piece computed;
    int fresh;                /* no rows have arrived yet of the item whose rows come next */
    mert_sink *sink;
    void *rows;               /* converted rows to write, BLOCK of them */
} state;

enum { BLOCK = 64 };

/* ---- output ---- */

static int pooled(const state *s)
{
    return s->plan.how != MERT_POOLING_NONE;
}

/* The number of values in a row of the output. */
static int64_t row_width(const state *s)
{
    return mert_inference_width(s->inference) * (pooled(s) ? mert_pooling_statistics(&s->plan) : 1);
}

static int write_rows(void *self, const float *rows, int64_t n, mert_error *e)
{
    state *s = self;
    int64_t width = row_width(s);
    uint16_t *half = s->rows;
    if (dtype == 0)
        return mert_sink_write(s->sink, rows, n, e);
    for (int64_t t = 0; t < n; t += BLOCK) {
        int64_t block = mert_smaller(n - t, BLOCK);
        for (int64_t i = 0; i < block * width; i++)
            half[i] = dtype == 1 ? mert_to_f16(rows[t * width + i]) : mert_to_bf16(rows[t * width + i]);
        if (mert_sink_write(s->sink, half, block, e))
            return -1;
    }
    return 0;
}

static int pool_rows(void *self, const float *rows, int64_t n, mert_error *e)
{
    state *s = self;
    return s->pooling ? mert_pooling_add(s->pooling, rows, n, write_rows, s, e) : write_rows(s, rows, n, e);
}

static int finish_item(state *s, mert_error *e)
{
    s->fresh = 1;
    if ((s->overlap && mert_overlap_end(s->overlap, pool_rows, s, e)) ||
        (s->pooling && mert_pooling_end(s->pooling, write_rows, s, e)))
        return -1;
    return mert_sink_done(s->sink, e);
}

static int take_answer(state *s, const piece *p, const float *rows, int64_t n, mert_error *e)
{
    if (s->fresh && s->overlap)
        mert_overlap_begin(s->overlap);
    if (s->fresh && s->pooling)
        mert_pooling_begin(s->pooling);
    s->fresh = 0;
    if (s->overlap ? mert_overlap_add(s->overlap, p->first, rows, n, pool_rows, s, e) : pool_rows(s, rows, n, e))
        return -1;
    return p->last ? finish_item(s, e) : 0;
}

/* ---- computing ---- */

/* Takes the result of the piece that was computed, starts the next one (NULL: none), and then writes the result. -1:
 * the open item failed, or the sink. */
static int turn_over(state *s, const piece *next, mert_error *e)
{
    piece done = s->computed;
    const float *rows;
    int64_t n;
    mert_error why;
    int failed = done.there && mert_async_take(s->async, &rows, &n, &why), bad = 0;
    s->computed = (piece){0};
    if (failed && !done.last && !done.dropped) { /* its item is still open */
        *e = why;
        return -1;
    }
    if (next) {
        mert_async_submit(s->async, s->clips[s->turn].pcm, s->clips[s->turn].n);
        s->turn = !s->turn;
        s->computed = *next;
    }
    if (!done.there)
        return 0;
    if (failed) {
        s->fresh = 1;
        return done.dropped ? 0 : mert_sink_fail(s->sink, &why, e);
    }
    if (!done.dropped)
        bad = take_answer(s, &done, rows, n, e);
    mert_async_release(s->async);
    return bad;
}

static int submit(state *s, int64_t first, mert_error *e)
{
    piece next = {.there = 1, .first = first};
    return turn_over(s, &next, e);
}

/* Writes what has been computed so far. */
static int write_ready(state *s, mert_error *e)
{
    while (s->computed.there && mert_async_ready(s->async))
        if (turn_over(s, NULL, e))
            return -1;
    return 0;
}

/* ---- input ---- */

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    const mert_config *c = &s->weights.layout.config;
    if (strcmp(in->kind, "pcm"))
        return mert_fail(e, "the input is %s, and this program needs pcm", in->kind);
    if (in->sample_rate != c->sample_rate)
        return mert_fail(e, "sample rate is %" PRId64 " Hz, this model needs %d Hz (mert-decode --rate %d)",
                         in->sample_rate, c->sample_rate, c->sample_rate);
    if (in->ndim != 1 && !(in->ndim == 2 && in->shape[1] == 1))
        return mert_fail(e, "%" PRId64 " channels at %" PRId64 " Hz, this model needs 1 at %d Hz",
                         in->ndim == 2 ? in->shape[1] : -1, in->sample_rate, c->sample_rate);
    if (in->dtype != MTS_F32 && in->dtype != MTS_I16)
        return mert_fail(e, "pcm of type %s, this program needs f32 or i16", mts_dtype_name(in->dtype));
    s->from = in->dtype;
    s->clips[s->turn].n = 0;
    if (s->chunker)
        mert_chunker_begin(s->chunker);
    strcpy(out->kind, "hidden");
    out->dtype = (mts_dtype[]){MTS_F32, MTS_F16, MTS_BF16}[dtype];
    out->ndim = 3;
    out->shape[0] = pooled(s) && !s->span.num ? 1 : -1;
    out->shape[1] = s->layers.weighted ? 1 : s->layers.n;
    out->shape[2] = row_width(s) / out->shape[1];
    out->frame_rate_num = !pooled(s) ? c->sample_rate : s->span.num ? s->span.den : 0; /* 0/1: no frame rate */
    out->frame_rate_den = !pooled(s) ? mert_config_stride(c) : s->span.num ? s->span.num : 1;
    out->model = s->hash;
    return 0;
}

static int make_room(state *s, int64_t n, mert_error *e)
{
    int64_t room = s->clips[s->turn].room;
    float *p;
    if (n <= room)
        return 0;
    room = mert_larger(n, 2 * room);
    if (!(p = mert_array_resize(s->clips[s->turn].pcm, room, sizeof *p)))
        return mert_fail(e, "out of memory for a clip of %" PRId64 " samples", n);
    s->clips[s->turn].pcm = p;
    s->clips[s->turn].room = room;
    return 0;
}

/* Appends samples to the clip that is being filled; behind: how many it has. */
static int gather(state *s, const void *data, int64_t n, int64_t behind, mert_error *e)
{
    int64_t have = s->clips[s->turn].n;
    float *to;
    if (make_room(s, have + n, e))
        return -1;
    to = s->clips[s->turn].pcm + have;
    for (int64_t i = 0; i < n; i++) {
        to[i] = s->from == MTS_I16 ? mert_pcm_i16(data, i) : ((const float *)data)[i];
        if (!isfinite(to[i]))
            return mert_fail(e, "sample %" PRId64 " is not a finite number", behind + i);
    }
    s->clips[s->turn].n += n;
    return 0;
}

static int submit_windows(state *s, int ended, mert_error *e)
{
    mert_window w;
    while (mert_chunker_next(s->chunker, ended, &w)) {
        s->clips[s->turn].n = 0;
        if (make_room(s, w.n, e))
            return -1;
        memcpy(s->clips[s->turn].pcm, w.pcm, (size_t)w.n * sizeof *w.pcm);
        s->clips[s->turn].n = w.n;
        if (submit(s, w.first, e))
            return -1;
    }
    return 0;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    state *s = self;
    const char *p = data;
    s->sink = sink;
    if (write_ready(s, e))
        return -1;
    if (!s->chunker)
        return gather(s, data, n, s->clips[s->turn].n, e);
    while (n) { /* samples are converted in the memory of that clip */
        int64_t some = n < 1 << 14 ? n : 1 << 14, taken;
        s->clips[s->turn].n = 0;
        if (gather(s, p, some, mert_chunker_samples(s->chunker), e))
            return -1;
        taken = mert_chunker_add(s->chunker, s->clips[s->turn].pcm, some);
        p += taken * (int64_t)mts_dtype_size(s->from);
        n -= taken;
        if (submit_windows(s, 0, e))
            return -1;
    }
    return 0;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    state *s = self;
    const mert_config *c = &s->weights.layout.config;
    int64_t n = s->chunker ? mert_chunker_samples(s->chunker) : s->clips[s->turn].n;
    s->sink = sink;
    if (mert_config_check_length(c, n, e))
        return -1;
    if (s->chunker ? submit_windows(s, 1, e) : submit(s, 0, e))
        return -1;
    if (!s->computed.there) /* the last window was written before it was known to be the last one */
        return finish_item(s, e);
    s->computed.last = 1;
    return write_ready(s, e);
}

/* A packed model is used before all of it was read and checked. Waits for the result of the check, before the end of
 * the (first) stream, so that output of a damaged model is not accepted. */
static int known_whole(state *s, mert_error *e)
{
    if (s->reading)
        pthread_join(s->reader, NULL);
    s->reading = 0;
    if (s->damaged)
        *e = s->damage;
    return s->damaged ? -1 : 0;
}

static int flush(void *self, mert_sink *sink, mert_error *e)
{
    state *s = self;
    s->sink = sink;
    return (s->computed.there && turn_over(s, NULL, e)) || known_whole(s, e) ? -1 : 0;
}

/* Marks what is computed, or waits to be joined, as belonging to a failed item, unless it is the last piece of an
 * earlier item. */
static void drop(void *self)
{
    state *s = self;
    if (s->computed.there && s->computed.last)
        return;
    s->computed.dropped = 1;
    s->fresh = 1;
}

/* ---- options ---- */

static mert_fraction seconds(const char *option, const char *text)
{
    mert_fraction f = {0, 1};
    if (text && (mert_fraction_parse(&f, text) || f.num > INT32_MAX))
        mert_usage_error("--%s: '%s' is no length in seconds (5, 2.5 or 8/75)", option, text);
    return f;
}

static int64_t whole_frames(const state *s, const char *option, const char *text, mert_fraction f)
{
    const mert_config *c = &s->weights.layout.config;
    f = mert_fraction_times(f, c->sample_rate, mert_config_stride(c));
    if (f.den != 1)
        mert_usage_error("--%s: %s seconds are not a whole number of this model's frames (%d/%d per second)", option,
                         text, c->sample_rate, mert_config_stride(c));
    return f.num;
}

static void check_options(state *s)
{
    mert_error e;
    if (!model_path)
        mert_usage_error("-m MODEL is needed");
    if (mert_pooling_parse(&s->plan, pool, &e))
        mert_usage_error("--pool: %s", e.text);
    if (span_text && !pooled(s))
        mert_usage_error("--span needs --pool, which pools the rows of a span");
    if (hop_text && !window_text)
        mert_usage_error("--hop needs --window");
    if (join && !window_text)
        mert_usage_error("--join needs --window");
}

static void plan_pooling(state *s)
{
    const mert_config *c = &s->weights.layout.config;
    s->plan.part = c->width;
    if (s->span.num) {
        mert_fraction f = mert_fraction_times(s->span, c->sample_rate, mert_config_stride(c));
        if (f.num < f.den)
            mert_usage_error("--span: %s seconds are less than a frame of this model (%d/%d per second)", span_text,
                             c->sample_rate, mert_config_stride(c));
        s->plan.num = f.num;
        s->plan.den = f.den;
    }
}

/* Windows are pooled after they are joined. Whole clips are pooled layer by layer or, for statistics other than a
 * single mean or maximum, with all layers of a frame. */
static int set_up(state *s, mert_ops *ops, mert_error *e)
{
    const mert_config *c = &s->weights.layout.config;
    int64_t width;
    plan_pooling(s);
    if (!(s->inference = mert_inference_new(&s->weights, ops, (mert_packing)(precision + 1),
                                            s->layers.index, s->layers.n, e)))
        return -1;
    if (s->layers.weighted)
        mert_inference_weigh(s->inference, s->layers.factors);
    width = mert_inference_width(s->inference);
    if (s->window.num) {
        int64_t W = whole_frames(s, "window", window_text, s->window), H = whole_frames(s, "hop", hop_text, s->hop);
        if (H > W)
            mert_usage_error("--hop: windows of %s seconds that are %s seconds apart leave gaps", window_text,
                             hop_text);
        if (!(s->chunker = mert_chunker_new(W, H, mert_config_stride(c), mert_config_receptive_field(c), e)) ||
            !(s->overlap = mert_overlap_new((mert_join)join, W, width, e)))
            return -1;
    }
    if (s->window.num || s->plan.how == MERT_POOLING_STD || mert_pooling_statistics(&s->plan) > 1) {
        if (pooled(s) && !(s->pooling = mert_pooling_new(&s->plan, width, e)))
            return -1;
    } else
        mert_inference_pool(s->inference, &s->plan);
    s->rows = mert_array(mert_array_count(BLOCK, row_width(s)), sizeof(uint16_t));
    if (!s->rows)
        return mert_fail(e, "out of memory");
    s->async = mert_async_new(s->inference, mert_options.threads > 1, e);
    return s->async ? 0 : -1;
}

static void *read_main(void *arg)
{
    state *s = arg;
    mert_pool_use(s->pool);
    s->damaged = mert_weights_check_sums(&s->weights, model_path, &s->damage) != 0;
    return NULL;
}

static void *hash_main(void *arg)
{
    state *s = arg;
    mert_pool_use(s->pool);
    s->hash = mert_weights_hash(&s->weights);
    if (s->weights.packed)
        return NULL;
    read_main(s);
    if (!s->damaged && mert_weights_check_finite(&s->weights, s->weights.source, 0, &s->damage)) {
        mert_fail_in(&s->damage, "%s", model_path);
        s->damaged = 1;
    }
    return NULL;
}

/* Computes the model's hash and its file's checksum, which read every weight, while the weights are copied to the
 * device. */
static int set_up_and_hash(state *s, mert_ops *ops, mert_error *e)
{
    pthread_t thread;
    int bad, beside;
    s->pool = mert_pool_used();
    beside = mert_options.threads > 1 && !pthread_create(&thread, NULL, hash_main, s);
    if (!beside)
        hash_main(s);
    bad = set_up(s, ops, e);
    if (beside)
        pthread_join(thread, NULL);
    if (bad)
        return mert_fail_in(e, "%s", model_path);
    if (s->damaged) {
        *e = s->damage;
        return -1;
    }
    if (s->weights.packed && !(s->reading = !pthread_create(&s->reader, NULL, read_main, s)))
        read_main(s);
    return 0;
}

/* The settings that change the payload (contract S3). NULL: out of memory. */
static char *settings_text(const state *s)
{
    const mert_config *c = &s->weights.layout.config;
    mert_memory m;
    char *layers = mert_layers_print(&s->layers, c->layers), number[48], statistics[48];
    FILE *f = layers ? mert_memory_open(&m) : NULL;
    if (f) {
        mert_pooling_print(&s->plan, statistics, sizeof statistics);
        fprintf(f, "model=%016" PRIx64 " %s pool=%s", s->hash, layers, statistics);
        if (s->span.num)
            fprintf(f, " span=%s", mert_fraction_print(number, s->span));
        fprintf(f, " dtype=%s normalize=%s", dtypes[dtype], !c->normalize ? "no" : s->chunker ? "window" : "yes");
        if (c->normalize && c->normalize_eps != MERT_NORMALIZE_EPS_HF)
            fprintf(f, " normalize-eps=%.9g", c->normalize_eps);
        if (precision)
            fprintf(f, " precision=%s", mert_packing_names[precision + 1]);
        if (s->chunker) {
            fprintf(f, " window=%s", mert_fraction_print(number, s->window));
            fprintf(f, " hop=%s join=%s", mert_fraction_print(number, s->hop), joins[join]);
        }
    }
    free(layers);
    return mert_memory_close(f, &m);
}

/* Unmapping page by page takes as long as reading a layer, so all threads do it, in pieces of this many floats. */
enum { UNMAPPED = 1 << 22 };

static void unmap_piece(void *arg, int64_t i, int worker)
{
    const mert_weights *w = arg;
    int64_t at = i * UNMAPPED, n = mert_smaller(w->packed_size - at, UNMAPPED);
    (void)worker;
    mert_checkpoint_forget(w->source, w->packed + at, (size_t)n * sizeof *w->packed);
}

static int merge_adapter(state *s, mert_error *e)
{
    mert_adapter about;
    char text[512];
    if (mert_adapter_merge(&s->weights, adapter, adapter_alpha, &about, e))
        return -1;
    mert_adapter_text(&about, text, sizeof text);
    mert_log_note("%s: %s", adapter, text);
    return 0;
}

int main(int argc, char **argv)
{
    static const mert_stage stage = {.begin = begin, .frames = frames, .end = end, .drop = drop, .flush = flush};
    state s = {.fresh = 1};
    mert_error e;
    mert_ops *ops;
    char *settings = NULL;
    int status = 1;
    mert_options_parse(&tool, &argc, &argv);
    check_options(&s);
    s.span = seconds("span", span_text);
    s.window = seconds("window", window_text);
    hop_text = hop_text ? hop_text : window_text;
    s.hop = seconds("hop", hop_text);
    if (!(ops = mert_ops_open(device, MERT_ELEMENT_F32, &e))) {
        mert_log_error("%s", e.text);
        return 1;
    }
    if (mert_weights_open(&s.weights, model_path, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    if (adapter && merge_adapter(&s, &e)) {
        mert_log_error("%s", e.text);
        mert_weights_free(&s.weights);
        return 1;
    }
    if (normalize >= 0 && s.weights.layout.config.kind == MERT_CONFORMER)
        mert_usage_error("--normalize: a MERT-v2 model takes samples as they are");
    if (normalize >= 0)
        s.weights.layout.config.normalize = normalize;
    if (mert_layers_parse(&s.layers, layer_list, s.weights.layout.config.layers, &e))
        mert_usage_error("--layers: %s", e.text);
    for (int i = 0; i < s.layers.n && !s.weights.layout.config.pre_ln; i++)
        if (s.layers.index[i] > s.weights.layout.config.layers)
            mert_usage_error("--layers: last-raw is the last state before the final norm, and this model (post-LN) has "
                             "no such norm: last");
    if (factors && mert_layers_weigh(&s.layers, factors, &e))
        mert_usage_error("--weights: %s", e.text);
    if (set_up_and_hash(&s, ops, &e)) {
        mert_log_error("%s", e.text);
        goto done;
    }
    mert_weights_drop(&s.weights); /* the device has a copy */
    if ((settings = settings_text(&s)))
        status = mert_filter_run(&(mert_filter){.stage = &stage, .self = &s, .settings = settings}, argv, argc);
    else
        mert_log_error("out of memory");
    known_whole(&s, &e);
done:
    mert_async_free(s.async);
    mert_inference_free(s.inference);
    if (s.weights.packed)
        mert_pool_run((s.weights.packed_size + UNMAPPED - 1) / UNMAPPED, unmap_piece, &s.weights);
    mert_weights_free(&s.weights);
    mert_chunker_free(s.chunker);
    mert_overlap_free(s.overlap);
    mert_pooling_free(s.pooling);
    ops->close(ops);
    free(s.clips[0].pcm);
    free(s.clips[1].pcm);
    free(s.rows);
    free(settings);
    return status;
}
