#include "decode.h"

#include "input.h"
#include "resample.h"

#include <libavutil/mathematics.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mert_audio {
    mert_input in;
    mert_resampler *resampler;
    int native, rate;        /* Hz: of the file, of what is read */
    int64_t decoded;         /* samples at the native rate so far */
    int64_t first, count;    /* the segment, in samples of the output; count -1: to the end */
    int64_t at;              /* the output's sample that samples.data[given] is */
    mert_samples mono, samples;
    int64_t given;           /* of samples: how many were read or dropped */
    int have_frame, ended, salvage;
    int counting;            /* nothing is resampled */
    int moved;               /* packets were read out of order: fit for nothing more */
    mert_error salvaged;
};

void mert_audio_segment(const mert_audio_settings *s, int rate, int64_t *first, int64_t *count)
{
    *first = llrint(s->start * rate);
    *count = s->duration < 0 ? -1 : llrint(s->duration * rate);
}

int mert_audio_rate(const mert_audio *a)
{
    return a->rate;
}

const char *mert_audio_salvaged(const mert_audio *a)
{
    return *a->salvaged.text ? a->salvaged.text : NULL;
}

void mert_audio_versions(char *to, size_t size)
{
    unsigned f = avformat_version(), c = avcodec_version(), r = swresample_version();
    snprintf(to, size, "libavformat=%u.%u.%u libavcodec=%u.%u.%u libswresample=%u.%u.%u", f >> 16, f >> 8 & 255,
             f & 255, c >> 16, c >> 8 & 255, c & 255, r >> 16, r >> 8 & 255, r & 255);
}

/* ---- faults ---- */

/* A fault behind the first samples: the end of the item, or with --salvage of what is kept of it. */
static int fault(mert_audio *a, const mert_error *why, mert_error *e)
{
    mert_error said = *why;
    double seconds = (double)a->decoded / (double)(a->native ? a->native : 1);
    if (!a->salvage || !a->decoded)
        return mert_fail(e, "fault at %.3f s: %s", seconds, said.text);
    mert_fail(&a->salvaged, "fault at %.3f s: %s", seconds, said.text);
    a->ended = 1;
    return a->counting ? 0 : mert_resampler_finish(a->resampler, &a->samples, e);
}

/* What the header promises, at the native rate: -1: nothing, INT64_MAX: more than there is. */
static int64_t promised(const mert_audio *a)
{
    if (a->in.promised == AV_NOPTS_VALUE || a->in.promised == INT64_MAX)
        return a->in.promised == INT64_MAX ? INT64_MAX : -1;
    return av_rescale_q(a->in.promised, a->in.stream->time_base, (AVRational){1, a->native});
}

/* A header's count of samples is exact, except that MP3's counts whole frames, padding included. */
static int check_promise(mert_audio *a, mert_error *e)
{
    mert_error why;
    int64_t n = promised(a), grace = !strcmp(a->in.format->iformat->name, "mp3") ? a->native / 4 : 0;
    if (n < 0 || a->decoded >= n - grace)
        return 0;
    if (n == INT64_MAX)
        mert_fail(&why, "the file ends here, but its header promises more");
    else
        mert_fail(&why, "the file ends here, but its header promises %.3f s", (double)n / a->native);
    return fault(a, &why, e);
}

/* ---- from frames to samples ---- */

/* in.frame, mixed and resampled, behind what samples still holds. */
static int take_frame(mert_audio *a, mert_error *e)
{
    const AVFrame *f = a->in.frame;
    mert_error why = {{0}};
    int n = f->nb_samples, good = 0;
    if (f->sample_rate != a->native) {
        mert_fail(&why, "the sample rate changes from %d to %d Hz", a->native, f->sample_rate);
        return fault(a, &why, e);
    }
    if (mert_samples_grow(&a->mono, n, e))
        return -1;
    if (mert_frame_mean(f, a->mono.data)) {
        mert_fail(&why, "samples of an unknown format");
        return fault(a, &why, e);
    }
    while (good < n && isfinite(a->mono.data[good]))
        good++;
    if (!a->counting && mert_resampler_push(a->resampler, a->mono.data, good, &a->samples, e))
        return -1;
    a->decoded += good;
    if (good == n)
        return 0;
    mert_fail(&why, "sample %lld is no finite number (%s)", (long long)a->decoded,
              isnan(a->mono.data[good]) ? "NaN" : "infinite");
    return fault(a, &why, e);
}

/* One more frame into samples, or the end. */
static int advance(mert_audio *a, mert_error *e)
{
    mert_error why = {{0}};
    int got = 1;
    if (a->given == a->samples.n)
        a->given = a->samples.n = 0;
    if (!a->have_frame)
        got = mert_input_next(&a->in, &why);
    a->have_frame = 0;
    /* What follows the last sample that the header counts is not the item's. */
    if (got < 0 && ((promised(a) > 0 && a->decoded >= promised(a)) || mert_input_only_remains(&a->in)))
        got = 0;
    if (got < 0)
        return fault(a, &why, e);
    if (got)
        return take_frame(a, e);
    if (check_promise(a, e))
        return -1;
    if (a->ended) /* cut short by that check */
        return 0;
    a->ended = 1;
    return a->counting ? 0 : mert_resampler_finish(a->resampler, &a->samples, e);
}

/* ---- handles ---- */

static int open_at_first_frame(mert_audio *a, const char *path, const mert_audio_settings *s, mert_error *e)
{
    int got;
    if (mert_input_open(&a->in, path, s->stream, e))
        return -1;
    while ((got = mert_input_next(&a->in, e)) > 0 && !a->in.frame->nb_samples)
        ;
    if (got < 0)
        return mert_fail_in(e, "fault at 0.000 s");
    if (!got)
        return mert_fail(e, "there are no samples in it");
    a->have_frame = 1;
    a->native = a->in.frame->sample_rate;
    if (a->native < 1)
        return mert_fail(e, "its sample rate is not known");
    a->rate = s->rate ? s->rate : a->native;
    a->resampler = mert_resampler_new(a->native, a->rate, e);
    return a->resampler ? 0 : -1;
}

mert_audio *mert_audio_open(const char *path, const mert_audio_settings *s, mert_error *e)
{
    mert_audio *a = calloc(1, sizeof *a);
    if (!a) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    a->salvage = s->salvage;
    if (open_at_first_frame(a, path, s, e)) {
        mert_audio_close(a);
        return NULL;
    }
    mert_audio_segment(s, a->rate, &a->first, &a->count);
    return a;
}

void mert_audio_close(mert_audio *a)
{
    if (!a)
        return;
    mert_input_close(&a->in);
    mert_resampler_free(a->resampler);
    free(a->mono.data);
    free(a->samples.data);
    free(a);
}

int64_t mert_audio_read(mert_audio *a, float *to, int64_t max, mert_error *e)
{
    int64_t got = 0, n, end = a->count < 0 ? INT64_MAX : a->first + a->count;
    while (got < max && a->at < end) {
        if (a->given == a->samples.n) {
            if (a->ended)
                break;
            if (advance(a, e))
                return -1;
            continue;
        }
        n = a->samples.n - a->given;
        if (a->at < a->first) {
            n = n < a->first - a->at ? n : a->first - a->at;
        } else {
            n = n < max - got ? n : max - got;
            n = n < end - a->at ? n : end - a->at;
            memcpy(to + got, a->samples.data + a->given, (size_t)n * sizeof *to);
            got += n;
        }
        a->given += n;
        a->at += n;
    }
    if (!got && max > 0 && a->first > 0 && a->at <= a->first && a->at < end)
        return mert_fail(e, "the segment begins at %.3f s, but there are only %.3f s", (double)a->first / a->rate,
                         (double)a->at / a->rate);
    return got;
}

/* ---- counting ---- */

/* Seeks to the last sample that the header promises and reads on: the last packet must end exactly there. (The time
 * base of the containers that come here is the sample.) */
static int ends_where_promised(mert_audio *a)
{
    mert_input *in = &a->in;
    int64_t end = AV_NOPTS_VALUE;
    int got;
    a->moved = 1;
    if (av_seek_frame(in->format, in->stream->index, in->promised - 1, AVSEEK_FLAG_BACKWARD) < 0)
        return 0;
    while ((got = mert_input_packet(in, NULL)) > 0)
        end = in->packet->pts == AV_NOPTS_VALUE ? AV_NOPTS_VALUE : in->packet->pts + in->packet->duration;
    return got == 0 && end == in->promised;
}

/* Whether a header's count is as good as counting: one packet per frame, stamped with its place. */
static int header_is_exact(const mert_input *in)
{
    const char *container = in->format->iformat->name;
    switch (in->stream->codecpar->codec_id) {
    case AV_CODEC_ID_FLAC: return !strcmp(container, "flac");
    case AV_CODEC_ID_PCM_U8:
    case AV_CODEC_ID_PCM_S16LE:
    case AV_CODEC_ID_PCM_S24LE:
    case AV_CODEC_ID_PCM_S32LE: return !strcmp(container, "wav");
    default: return 0;
    }
}

/* The length at the native rate by the header, or -1. */
static int64_t header_count(mert_audio *a, mert_audio_count_how how)
{
    const mert_input *in = &a->in;
    int64_t n = promised(a);
    if (how == MERT_COUNT_HEADER && n != INT64_MAX && in->stream->duration != AV_NOPTS_VALUE)
        return av_rescale_q(in->stream->duration, in->stream->time_base, (AVRational){1, a->native});
    if (how == MERT_COUNT_EXACT && n > 0 && n < INT64_MAX && header_is_exact(in) && ends_where_promised(a))
        return n;
    return -1;
}

int64_t mert_audio_count(const char *path, const mert_audio_settings *s, mert_audio_count_how how, mert_error *e)
{
    mert_audio *a = mert_audio_open(path, s, e);
    int64_t n;
    if (!a)
        return -1;
    n = header_count(a, how);
    if (n < 0 && a->moved) {
        mert_audio_close(a);
        if (!(a = mert_audio_open(path, s, e)))
            return -1;
    }
    if (n < 0) {
        a->counting = 1;
        while (!a->ended)
            if (advance(a, e)) {
                mert_audio_close(a);
                return -1;
            }
        n = a->decoded;
    }
    n = mert_resampled_count(n, a->native, a->rate);
    mert_audio_close(a);
    return n;
}
