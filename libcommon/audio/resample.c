#include "libcommon/audio/resample.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"

#include <libavutil/channel_layout.h>
#include <libavutil/mathematics.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <stdlib.h>
#include <string.h>

enum { TAPS = 32, PIECE = 16384, RATIO_MAX = 512 };
static const double cutoff = 0.97, kaiser_beta = 9;

struct mert_resampler {
    SwrContext *swr;    /* NULL: the rates are equal */
    int from, to;
    int64_t in, out;    /* number of input and output samples so far */
    float *recent;      /* a ring of the last `reach` samples, for the mirror image at the end */
    int64_t reach;
};

int mert_samples_grow(mert_samples *s, int64_t room, mert_error *e)
{
    float *grown;
    if (room <= s->room)
        return 0;
    room += room / 2;
    if (!(grown = mert_array_resize(s->data, room, sizeof *grown)))
        return mert_fail(e, "out of memory");
    s->data = grown;
    s->room = room;
    return 0;
}

int64_t mert_resampled_count(int64_t n, int from, int to)
{
    return av_rescale_rnd(n, to, from, AV_ROUND_UP);
}

/* libswresample has at most 2^phase_shift filters; with exact_rational it uses the largest multiple of the ratio's
 * number of phases below that. The smallest sufficient power gives one filter per phase, so nothing is interpolated. */
static int phase_bits(int from, int to)
{
    int phases = to / (int)av_gcd(from, to), bits = 0;
    while (1 << bits < phases)
        bits++;
    return bits;
}

static SwrContext *make_swr(int from, int to)
{
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
    SwrContext *s = NULL;
    if (swr_alloc_set_opts2(&s, &mono, AV_SAMPLE_FMT_FLT, to, &mono, AV_SAMPLE_FMT_FLT, from, 0, NULL) < 0)
        return NULL;
    if (av_opt_set_int(s, "resampler", SWR_ENGINE_SWR, 0) ||
        av_opt_set_int(s, "filter_type", SWR_FILTER_TYPE_KAISER, 0) ||
        av_opt_set_double(s, "kaiser_beta", kaiser_beta, 0) || av_opt_set_int(s, "filter_size", TAPS, 0) ||
        av_opt_set_double(s, "cutoff", cutoff, 0) || av_opt_set_int(s, "phase_shift", phase_bits(from, to), 0) ||
        av_opt_set_int(s, "exact_rational", 1, 0) || av_opt_set_int(s, "linear_interp", 0, 0) ||
        av_opt_set_int(s, "dither_method", SWR_DITHER_NONE, 0) ||
        av_opt_set_sample_fmt(s, "internal_sample_fmt", AV_SAMPLE_FMT_FLTP, 0) || swr_init(s) < 0)
        swr_free(&s);
    return s;
}

mert_resampler *mert_resampler_new(int from, int to, mert_error *e)
{
    mert_resampler *r;
    if (from < 1 || to < 1 || from / to >= RATIO_MAX || to / from >= RATIO_MAX) {
        mert_fail(e, "cannot resample from %d Hz to %d Hz", from, to);
        return NULL;
    }
    if (!(r = calloc(1, sizeof *r))) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    r->from = from;
    r->to = to;
    if (from == to)
        return r;
    /* Half a filter would do (its taps are spaced by the lower rate); this is one filter and 64 more, because of its
     * padding. */
    r->reach = (int64_t)(TAPS * ((double)from / (cutoff * to) + 1)) + 64;
    r->recent = mert_array_zeroed(r->reach, sizeof *r->recent);
    r->swr = make_swr(from, to);
    if (!r->recent || !r->swr) {
        mert_fail(e, "cannot resample from %d Hz to %d Hz", from, to);
        mert_resampler_free(r);
        return NULL;
    }
    return r;
}

void mert_resampler_free(mert_resampler *r)
{
    if (!r)
        return;
    swr_free(&r->swr);
    free(r->recent);
    free(r);
}

int64_t mert_resampler_reach(const mert_resampler *r)
{
    return r->reach;
}

/* Where both signals have a sample at the same time, the filter's phase is that of the beginning; what is within reach
 * of it is other: its mirror image is in front of it. */
void mert_resampler_begin_at(const mert_resampler *r, int64_t first, int64_t *in, int64_t *out)
{
    int64_t common = av_gcd(r->from, r->to), step = r->from / common, steps;
    steps = (av_rescale_rnd(first, r->from, r->to, AV_ROUND_DOWN) - r->reach) / step;
    if (steps < 0)
        steps = 0;
    *in = steps * step;
    *out = steps * (r->to / common);
}

/* Runs libswresample, which holds back samples until their right context is there. */
static int convert(mert_resampler *r, const float *in, int n, mert_samples *out, mert_error *e)
{
    const uint8_t *from = (const uint8_t *)in;
    int room = swr_get_out_samples(r->swr, n), got;
    uint8_t *to;
    if (room < 0 || mert_samples_grow(out, out->n + room, e))
        return mert_fail(e, "out of memory");
    to = (uint8_t *)(out->data + out->n);
    if ((got = swr_convert(r->swr, &to, room, &from, n)) < 0)
        return mert_fail(e, "resampling from %d Hz to %d Hz failed", r->from, r->to);
    out->n += got;
    r->out += got;
    return 0;
}

static void remember(mert_resampler *r, const float *in, int64_t n)
{
    for (int64_t i = n > r->reach ? n - r->reach : 0; i < n; i++)
        r->recent[(r->in + i) % r->reach] = in[i];
}

int mert_resampler_push(mert_resampler *r, const float *in, int64_t n, mert_samples *out, mert_error *e)
{
    if (!n)
        return 0;
    if (!r->swr) {
        if (mert_samples_grow(out, out->n + n, e))
            return -1;
        memcpy(out->data + out->n, in, (size_t)n * sizeof *in);
        out->n += n;
        return 0;
    }
    remember(r, in, n);
    r->in += n;
    for (int64_t at = 0; at < n; at += PIECE)
        if (convert(r, in + at, (int)mert_smaller(n - at, PIECE), out, e))
            return -1;
    return 0;
}

/* Flushing libswresample gives one sample less at some lengths, and nothing for signals shorter than its filter. So the
 * mirror image is appended here, then silence until all samples are out, and the output is cut to its length. */
int mert_resampler_finish(mert_resampler *r, mert_samples *out, mert_error *e)
{
    float *tail;
    int64_t wanted = mert_resampled_count(r->in, r->from, r->to);
    int bad = 0;
    if (!r->swr || !r->in)
        return 0;
    if (!(tail = mert_array_zeroed(r->reach, sizeof *tail)))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; i < r->reach && i < r->in; i++)
        tail[i] = r->recent[(r->in - 1 - i) % r->reach];
    for (int turn = 0; r->out < wanted && turn < 8 && !bad; turn++) {
        bad = convert(r, tail, (int)r->reach, out, e);
        memset(tail, 0, (size_t)r->reach * sizeof *tail);
    }
    free(tail);
    if (!bad && r->out < wanted)
        bad = mert_fail(e, "resampling from %d Hz to %d Hz came to no end", r->from, r->to);
    if (!bad) {
        out->n -= r->out - wanted;
        r->out = wanted;
    }
    return bad;
}
