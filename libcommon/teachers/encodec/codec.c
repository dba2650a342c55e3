#include "libcommon/teachers/encodec/codec.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/teachers/encodec/batch.h"
#include "libcommon/teachers/rvq/fsq.h"
#include "libcommon/teachers/rvq/projected.h"

#include "formats/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FRAMES = 4096,           /* decoded at a time, for our own codebooks */
    WAITING_BYTES = 1 << 27  /* the most waiting bytes before the LSTM, of all items in a batch */
};

struct mert_codec {
    mert_encodec *encodec;      /* or NULL */
    mert_codebook book;
    mert_rvq *own;
    mert_rvq *rvq;              /* the quantiser of EnCodec or of our own codebooks; or NULL, and one of: */
    mert_projected *projected;
    mert_fsq *fsq;
    mert_stack stack;
    int64_t count, classes;     /* codebooks, classes of each */
    uint64_t hash;
    int64_t use;                /* codebooks used: the option; decoding: those of the open record */
    int any_settings, decode;
    mert_ops *ops;              /* the device that encodes, or NULL */
    mert_encodec_batch *batch;  /* encoding: the items in the network */
    mert_encodec_item *item;    /* decoding: the open item */
    mert_error failed;          /* why the oldest item fails; empty: it does not */
    mert_feature_input input;
    mts_record record;          /* the open input record */
    int64_t position;           /* its samples or frames so far */
    int64_t out_frame;
    float *values;              /* [room] */
    int32_t *codes;
    int64_t room, codes_room;
    mert_sink *sink;            /* set while frames are being processed */
};

uint64_t mert_codec_hash(const mert_codec *c)
{
    return c->hash;
}

int64_t mert_codec_codebooks(const mert_codec *c)
{
    return c->use;
}

static int floats_for(mert_codec *c, int64_t n, mert_error *e)
{
    if (n <= c->room)
        return 0;
    free(c->values);
    c->room = 0;
    c->values = mert_array(n, sizeof *c->values);
    if (!c->values)
        return mert_fail(e, "out of memory");
    c->room = n;
    return 0;
}

static int codes_for(mert_codec *c, int64_t n, mert_error *e)
{
    if (n <= c->codes_room)
        return 0;
    free(c->codes);
    c->codes_room = 0;
    c->codes = mert_array(n, sizeof *c->codes);
    if (!c->codes)
        return mert_fail(e, "out of memory");
    c->codes_room = n;
    return 0;
}

static int on_stream(void *self, const mts_begin *b, mert_error *e)
{
    (void)e;
    mert_feature_input_stream(&((mert_codec *)self)->input, b);
    return 0;
}

/* ---- encoding ---- */

static int pcm_fits(const mert_codec *c, const mts_record *in, mert_error *e)
{
    if (strcmp(in->kind, "pcm"))
        return mert_fail(e, "is %s, this model needs pcm", in->kind);
    if (in->dtype != MTS_F32 && in->dtype != MTS_I16)
        return mert_fail(e, "samples are %s, this model needs f32 or i16", mts_dtype_name(in->dtype));
    if (mts_record_width(in) != 1)
        return mert_fail(e, "has %" PRId64 " channels, this model needs 1", mts_record_width(in));
    if (in->sample_rate != c->encodec->sample_rate)
        return mert_fail(e,
                         "sample rate is %" PRId64 " Hz, this model needs %" PRId64
                         " Hz (mert-decode --rate %" PRId64 ")",
                         in->sample_rate, c->encodec->sample_rate, c->encodec->sample_rate);
    return 0;
}

static int encode_begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    mert_codec *c = self;
    c->record = *in;
    c->position = 0;
    if (!c->batch)
        c->out_frame = 0;
    if (c->encodec) {
        if (pcm_fits(c, in, e) || mert_encodec_batch_begin(c->batch, e))
            return -1;
        out->shape[0] = in->shape[0] < 0 ? -1 : (in->shape[0] + c->encodec->hop - 1) / c->encodec->hop;
        out->frame_rate_num = c->encodec->sample_rate;
        out->frame_rate_den = c->encodec->hop;
    } else {
        if (mert_feature_input_begin(&c->input, in, e) ||
            mert_features_check(&c->book.features, &c->input.features, c->any_settings, e))
            return -1;
        mert_stack_reset(&c->stack);
        out->shape[0] = in->shape[0] < 0 ? -1 : in->shape[0] / c->stack.n;
        if (out->shape[0] == 0 && in->shape[0] > 0)
            return mert_fail(e, "has %" PRId64 " frames, and one code stands for %" PRId64, in->shape[0], c->stack.n);
        if (in->frame_rate_den > INT64_MAX / c->stack.n)
            return mert_fail(e, "its frame rate is out of range");
        out->frame_rate_num = in->frame_rate_num;
        out->frame_rate_den = in->frame_rate_den * c->stack.n;
    }
    snprintf(out->kind, sizeof out->kind, "codes");
    out->dtype = c->classes > 65535 ? MTS_I32 : MTS_U16;
    out->ndim = 2;
    out->shape[1] = c->use;
    out->ncodebooks = (int)c->use;
    for (int64_t k = 0; k < c->use; k++)
        out->classes[k] = c->classes;
    out->model = c->hash;
    return 0;
}

/* Writes the n frames of codes in c->codes. */
static int write_codes(mert_codec *c, int64_t n, mert_error *e)
{
    c->out_frame += n;
    if (c->classes <= 65535)
        for (int64_t i = 0; i < n * c->use; i++) { /* in place: the narrower value never overtakes the wider one */
            uint16_t v = (uint16_t)c->codes[i];
            memcpy((char *)c->codes + i * 2, &v, sizeof v);
        }
    return mert_sink_write(c->sink, c->codes, n, e);
}

/* Encodes vectors [n, D] and writes the codes. */
static int put_codes(void *self, const float *x, int64_t n, mert_error *e)
{
    mert_codec *c = self;
    int64_t bad;
    if (codes_for(c, n * c->use, e))
        return -1;
    if (c->fsq         ? mert_fsq_encode(c->fsq, x, n, c->use, c->codes, &bad, e)
        : c->projected ? mert_projected_encode(c->projected, x, n, c->use, c->codes, &bad, e)
                       : mert_rvq_encode(c->rvq, x, n, c->use, c->codes, &bad, e))
        return mert_fail_in(e, "frame %" PRId64, c->out_frame + (bad < 0 ? 0 : bad));
    return write_codes(c, n, e);
}

/* Reads samples as float32 into c->values; NaN and infinity are refused. */
static int read_samples(mert_codec *c, const void *data, int64_t n, mert_error *e)
{
    if (floats_for(c, n, e))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        if (c->record.dtype == MTS_I16)
            c->values[i] = mert_pcm_i16(data, i);
        else
            memcpy(&c->values[i], (const char *)data + i * 4, sizeof(float));
        if (!(c->values[i] > -MERT_FEATURE_MOST && c->values[i] < MERT_FEATURE_MOST))
            return mert_fail(e, "sample %" PRId64 " is a NaN, an infinity or beyond 1e18", c->position + i);
    }
    c->position += n;
    return 0;
}

static int encode_frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    const float *x;
    int64_t rows;
    c->sink = sink;
    x = mert_feature_input_read(&c->input, data, n, e);
    if (!x || floats_for(c, n * c->book.features.width, e))
        return -1;
    c->position += n;
    mert_codebook_to_words(&c->book, x, n, c->values);
    x = mert_stack_add(&c->stack, c->values, n, &rows, e);
    if (!x)
        return -1;
    return rows ? put_codes(c, x, rows, e) : 0;
}

static int encode_end(void *self, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    (void)sink;
    if (c->position && !c->out_frame)
        return mert_fail(e, "has %" PRId64 " frames, and one code stands for %" PRId64, c->position, c->stack.n);
    return 0;
}

/* ---- encoding many items at a time ---- */

/* Receives embeddings of the oldest item. An error fails that item, when it ends. */
static int put_oldest(void *self, const float *x, int64_t n, mert_error *e)
{
    mert_codec *c = self;
    mert_error why;
    int64_t bad;
    if (*c->failed.text)
        return 0;
    if (codes_for(c, n * c->use, e))
        return -1;
    if (!mert_rvq_encode(c->rvq, x, n, c->use, c->codes, &bad, &why))
        return write_codes(c, n, e);
    mert_fail_in(&why, "frame %" PRId64, c->out_frame + (bad < 0 ? 0 : bad));
    c->failed = why;
    return 0;
}

/* The same with codes of a device. */
static int put_oldest_codes(void *self, const int32_t *codes, int64_t n, mert_error *e)
{
    mert_codec *c = self;
    if (*c->failed.text)
        return 0;
    if (codes_for(c, n * c->use, e))
        return -1;
    for (int64_t i = 0; i < n * c->use; i++)
        if (codes[i] < 0) {
            mert_fail(&c->failed, "frame %" PRId64 ": " MERT_RVQ_BAD, c->out_frame + i / c->use);
            return 0;
        }
    memcpy(c->codes, codes, (size_t)(n * c->use) * sizeof *codes);
    return write_codes(c, n, e);
}

static int oldest_ended(void *self, mert_error *e)
{
    mert_codec *c = self;
    int bad = *c->failed.text ? mert_sink_fail(c->sink, &c->failed, e) : mert_sink_done(c->sink, e);
    *c->failed.text = 0;
    c->out_frame = 0;
    return bad;
}

static int batch_flush(void *self, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    c->sink = sink;
    return c->ops ? mert_encodec_batch_run_on(c->batch, put_oldest_codes, oldest_ended, c, e)
                  : mert_encodec_batch_run(c->batch, put_oldest, oldest_ended, c, e);
}

static int batch_frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    if (read_samples(c, data, n, e) || mert_encodec_batch_add(c->batch, c->values, n, e))
        return -1;
    return mert_encodec_batch_full(c->batch) ? batch_flush(c, sink, e) : 0;
}

static int batch_end(void *self, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    if (!c->position)
        return mert_fail(e, "holds no samples");
    mert_encodec_batch_end(c->batch);
    return mert_encodec_batch_full(c->batch) ? batch_flush(c, sink, e) : 0;
}

static void batch_drop(void *self)
{
    mert_encodec_batch_drop(((mert_codec *)self)->batch);
}

/* ---- decoding ---- */

static int codes_fit(const mert_codec *c, const mts_record *in, mert_error *e)
{
    if (strcmp(in->kind, "codes"))
        return mert_fail(e, "is %s, decoding needs codes", in->kind);
    if (in->dtype != MTS_U16 && in->dtype != MTS_I32 && in->dtype != MTS_I16)
        return mert_fail(e, "codes are %s, not integers", mts_dtype_name(in->dtype));
    if (in->model && in->model != c->hash)
        return mert_fail(e, "codes are of model %016" PRIx64 ", this model is %016" PRIx64, in->model, c->hash);
    if (in->ndim != 2 || in->shape[1] < 1 || in->shape[1] > c->count)
        return mert_fail(e, "has %" PRId64 " codebooks, this model has %" PRId64, mts_record_width(in), c->count);
    for (int k = 0; k < in->ncodebooks; k++)
        if (in->classes[k] != c->classes)
            return mert_fail(e, "codebook %d has %" PRId64 " classes, this model's have %" PRId64, k, in->classes[k],
                             c->classes);
    return 0;
}

static int decode_begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    mert_codec *c = self;
    const mert_features *f = &c->book.features;
    if (codes_fit(c, in, e))
        return -1;
    c->record = *in;
    c->position = 0;
    c->use = in->shape[1];
    out->dtype = MTS_F32;
    if (c->encodec) {
        mert_encodec_item_reset(c->item);
        snprintf(out->kind, sizeof out->kind, "pcm");
        out->ndim = 1;
        out->shape[0] = in->shape[0] < 0 ? -1 : in->shape[0] * c->encodec->hop;
        out->sample_rate = out->frame_rate_num = c->encodec->sample_rate;
        out->frame_rate_den = 1;
        out->model = c->hash;
    } else {
        memcpy(out->kind, f->kind, sizeof out->kind);
        out->ndim = 2;
        out->shape[0] = in->shape[0] < 0 ? -1 : in->shape[0] * c->stack.n;
        out->shape[1] = f->width;
        out->sample_rate = f->sample_rate;
        out->frame_rate_num = f->frame_rate_num;
        out->frame_rate_den = f->frame_rate_den;
        out->model = f->model;
    }
    return 0;
}

static int put_samples(void *self, const float *x, int64_t n, mert_error *e)
{
    return mert_sink_write(((mert_codec *)self)->sink, x, n, e);
}

static int read_codes(mert_codec *c, const char *data, int64_t n, mert_error *e)
{
    if (codes_for(c, n * c->use, e))
        return -1;
    for (int64_t i = 0; i < n * c->use; i++) {
        uint16_t u;
        int16_t s;
        if (c->record.dtype == MTS_U16) {
            memcpy(&u, data + i * 2, sizeof u);
            c->codes[i] = u;
        } else if (c->record.dtype == MTS_I16) {
            memcpy(&s, data + i * 2, sizeof s);
            c->codes[i] = s;
        } else
            memcpy(&c->codes[i], data + i * 4, sizeof(int32_t));
        if (c->codes[i] < 0 || c->codes[i] >= c->classes)
            return mert_fail(e, "frame %" PRId64 ", codebook %" PRId64 ": code %d is outside 0 to %" PRId64,
                             c->position + i / c->use,
                             i % c->use, (int)c->codes[i], c->classes - 1);
    }
    c->position += n;
    return 0;
}

static int decode_frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    size_t step = mts_record_step(&c->record);
    int64_t row = c->encodec ? c->rvq->width : c->stack.n * c->stack.width;
    c->sink = sink;
    for (int64_t at = 0; at < n; at += FRAMES) {
        int64_t m = mert_smaller(n - at, FRAMES);
        if (read_codes(c, (const char *)data + (size_t)at * step, m, e) || floats_for(c, m * row, e))
            return -1;
        if (c->fsq) {
            if (mert_fsq_decode(c->fsq, c->codes, m, c->use, c->values, e))
                return -1;
        } else if (c->projected)
            mert_projected_decode(c->projected, c->codes, m, c->use, c->values);
        else
            mert_rvq_decode(c->rvq, c->codes, m, c->use, c->values);
        if (c->encodec) {
            if (mert_encodec_item_run(c->item, c->values, m, 0, put_samples, c, e))
                return -1;
        } else {
            mert_codebook_from_words(&c->book, c->values, m * c->stack.n);
            if (mert_sink_write(sink, c->values, m * c->stack.n, e))
                return -1;
        }
    }
    return 0;
}

static int decode_end(void *self, mert_sink *sink, mert_error *e)
{
    mert_codec *c = self;
    c->sink = sink;
    return c->encodec ? mert_encodec_item_run(c->item, NULL, 0, 1, put_samples, c, e) : 0;
}

/* ---- opening ---- */

const mert_stage *mert_codec_stage(const mert_codec *c)
{
    static const mert_stage encode = {
        .stream = on_stream, .begin = encode_begin, .frames = encode_frames, .end = encode_end};
    static const mert_stage batch = {.stream = on_stream, .begin = encode_begin, .frames = batch_frames,
                                     .end = batch_end, .drop = batch_drop, .flush = batch_flush};
    static const mert_stage decode = {.begin = decode_begin, .frames = decode_frames, .end = decode_end};
    return c->decode ? &decode : c->batch ? &batch : &encode;
}

/* How many codebooks are used. */
static int choose(mert_codec *c, int64_t codebooks, mert_error *e)
{
    c->use = codebooks ? codebooks : c->encodec && c->count > 8 ? 8 : c->count;
    return c->use <= c->count ? 0 : mert_fail(e, "has %" PRId64 " codebooks, not %" PRId64, c->count, c->use);
}

static int open_own(mert_codec *c, const mert_checkpoint *file, mert_error *e)
{
    mert_codebook *b = &c->book;
    if (c->ops)
        return mert_fail(e, "is no EnCodec model, and only EnCodec runs on a device");
    if (mert_codebook_from(b, file, e))
        return -1;
    if (!strncmp(b->type, "kmeans", 6))
        return mert_fail(e, "is a codebook of kind %s, not a residual quantiser: see mert-kmeans assign", b->type);
    if (c->decode && b->project && !b->out)
        return mert_fail(e, "is a codebook of kind %s: its codes cannot be decoded", b->type);
    c->hash = b->hash;
    c->count = b->count;
    c->classes = b->classes;
    c->stack = (mert_stack){.n = b->stack, .width = b->features.width};
    if (b->levels[0])
        return (c->fsq = mert_fsq_new(b, e)) ? 0 : -1;
    if (b->project)
        return (c->projected = mert_projected_new(b, e)) ? 0 : -1;
    c->own = c->rvq = mert_rvq_new(b->codewords, b->count, b->classes, b->width);
    return c->rvq ? 0 : mert_fail(e, "out of memory");
}

static int open_encodec(mert_codec *c, const mert_checkpoint *file, int64_t codebooks, int64_t batch, mert_error *e)
{
    int64_t width = 1, frames;
    c->encodec = mert_encodec_open(file, c->decode, e);
    if (!c->encodec)
        return -1;
    c->hash = c->encodec->hash;
    c->rvq = c->encodec->quantiser;
    c->count = c->rvq->count;
    c->classes = c->rvq->classes;
    if (c->decode) {
        c->item = mert_encodec_item_new(c->encodec, c->decode, e);
        return c->item ? 0 : -1;
    }
    for (int i = 0; i < c->encodec->encoder.n; i++)
        if (c->encodec->encoder.stages[i].kind == MERT_SEANET_LSTM)
            width = c->encodec->encoder.stages[i].width;
    frames = WAITING_BYTES / (int64_t)sizeof(float) / width + 1;
    batch = batch > 1 ? batch : 1;
    if (choose(c, codebooks, e))
        return -1;
    c->batch = c->ops ? mert_encodec_batch_new_on(c->encodec, c->ops, c->use, batch, frames, e)
                      : mert_encodec_batch_new(c->encodec, 0, batch, frames, e);
    return c->batch ? 0 : -1;
}

mert_codec *mert_codec_open(const char *path, int64_t codebooks, int decode, int any_settings, int64_t batch,
                            mert_ops *ops, mert_error *e)
{
    mert_codec *c = calloc(1, sizeof *c);
    mert_checkpoint *file = c ? mert_checkpoint_open(path, e) : NULL;
    int bad;
    if (!c)
        mert_fail(e, "out of memory");
    if (file && mert_input_note(path, e)) {
        mert_checkpoint_close(file);
        file = NULL;
    }
    if (!file) {
        free(c);
        return NULL;
    }
    c->decode = decode;
    c->any_settings = any_settings;
    c->ops = decode ? NULL : ops;
    if (mert_encodec_is(file) || !mert_checkpoint_find(file, "config"))
        bad = open_encodec(c, file, codebooks, batch, e);
    else
        bad = open_own(c, file, e);
    mert_checkpoint_close(file);
    bad = bad || choose(c, codebooks, e);
    if (bad) {
        mert_fail_in(e, "%s", path);
        mert_codec_free(c);
        return NULL;
    }
    return c;
}

void mert_codec_free(mert_codec *c)
{
    if (!c)
        return;
    mert_encodec_item_free(c->item);
    mert_encodec_batch_free(c->batch);
    mert_encodec_free(c->encodec);
    mert_rvq_free(c->own);
    mert_projected_free(c->projected);
    mert_fsq_free(c->fsq);
    mert_stack_free(&c->stack);
    mert_codebook_free(&c->book);
    mert_feature_input_free(&c->input);
    free(c->values);
    free(c->codes);
    free(c);
}
