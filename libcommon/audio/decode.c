#include "libcommon/audio/decode.h"

#include "formats/file.h"
#include "libcommon/audio/input.h"
#include "libcommon/audio/resample.h"
#include "libcommon/base/integer.h"

#include <libavutil/mathematics.h>
#include <libswresample/swresample.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct mert_audio {
    mert_input in;
    mert_resampler *resampler;
    int native, rate;        /* Hz: of the file; of the output */
    /* Decoding's. */
    int64_t decoded;         /* samples at the native rate so far */
    int64_t enough;          /* how many the segment can need at most */
    int have_frame, ended, salvage;
    int moved;               /* packets were read out of order: cannot be used further */
    int sought;              /* began at the segment: frames must follow each other by their own numbers */
    int64_t begin;           /* the sample with which the resampler begins: what is in front of it is dropped */
    mert_error salvaged;
    /* Resampling's. */
    int64_t first, end;      /* the segment, in samples of the output; end INT64_MAX: to the end */
    int64_t at;              /* samples of the output so far */
    int complete;            /* all decoded samples are resampled */
};

/* Samples decoded at a time, and the most output at a time: large enough for passing between threads, small enough for
 * the cache. */
enum { PIECE = 1 << 16 };

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
    return a->complete && *a->salvaged.text ? a->salvaged.text : NULL;
}

void mert_audio_versions(char *to, size_t size)
{
    unsigned f = avformat_version(), c = avcodec_version(), r = swresample_version();
    snprintf(to, size, "libavformat=%u.%u.%u libavcodec=%u.%u.%u libswresample=%u.%u.%u", f >> 16, f >> 8 & 255,
             f & 255, c >> 16, c >> 8 & 255, c & 255, r >> 16, r >> 8 & 255, r & 255);
}

/* ---- faults ---- */

/* Handles a fault after the first samples: the item fails or, with --salvage, ends here. */
static int fault(mert_audio *a, const mert_error *why, mert_error *e)
{
    mert_error said = *why;
    double seconds = (double)a->decoded / (double)(a->native ? a->native : 1);
    if (!a->salvage || !a->decoded || a->in.no_memory)
        return mert_fail(e, "fault at %.3f s: %s", seconds, said.text);
    mert_fail(&a->salvaged, "fault at %.3f s: %s", seconds, said.text);
    a->ended = 1;
    return 0;
}

/* The number of samples in the header, at the native rate; -1: not known. */
static int64_t promised(const mert_audio *a)
{
    if (a->in.keep >= 0 && !a->in.ogg.n)
        return a->in.keep;
    if (a->in.promised == AV_NOPTS_VALUE)
        return -1;
    return av_rescale_q(a->in.promised, a->in.stream->time_base, (AVRational){1, a->native});
}

/* By how much the count in the header may be too large: 0, but MP3 and Musepack count whole frames, with padding. */
static int64_t grace(const mert_audio *a)
{
    return a->in.loose ? a->native / 4 : !strcmp(a->in.format->iformat->name, "mpc") ? 1152 : 0;
}

/* Whether a FLAC file ends between two frames: some programs cut a file into parts, and each part keeps the header of
 * the whole. */
static int is_piece(const mert_audio *a)
{
    return !strcmp(a->in.format->iformat->name, "flac") && !a->in.unreadable;
}

/* Checks at the end that nothing is missing: by the sizes in the container, otherwise by the count in its header. */
static int check_promise(mert_audio *a, mert_error *e)
{
    static const char piece[] = " (a piece of a longer file, with its header? --salvage takes what is there)";
    mert_error why;
    int64_t n = promised(a);
    if (*a->in.whole.cut.text)
        mert_fail(&why, "the file ends here: %s", a->in.whole.cut.text);
    else if (n >= 0 && a->decoded < n - grace(a))
        mert_fail(&why, "the file ends here: its header promises %" PRId64 " samples, %" PRId64 " are there%s", n,
                  a->decoded, is_piece(a) ? piece : "");
    else
        return 0;
    return fault(a, &why, e);
}

/* ---- from frames to samples ---- */

/* The number of finite samples before the first one that is not. */
static int64_t finite(const float *x, int64_t n)
{
    int64_t good = 0;
    while (good < n) {
        int64_t some = mert_smaller(n - good, 64);
        int odd = 0;
        for (int64_t i = 0; i < some; i++)
            odd |= !isfinite(x[good + i]);
        if (odd)
            break;
        good += some;
    }
    while (good < n && isfinite(x[good]))
        good++;
    return good;
}

/* Appends in.frame, mixed to one channel, to `to`. */
static int take_frame(mert_audio *a, mert_samples *to, mert_error *e)
{
    const AVFrame *f = a->in.frame;
    mert_error why = {{0}};
    int64_t n = f->nb_samples, good, drop = mert_smaller(a->begin - a->decoded, n);
    float *mono;
    if (f->sample_rate != a->native) {
        mert_fail(&why, "the sample rate changes from %d to %d Hz", a->native, f->sample_rate);
        return fault(a, &why, e);
    }
    if (!n)
        return 0;
    if (a->sought && f->pts != a->decoded) {
        mert_fail(&why, "a frame begins at sample %" PRId64 " by its own number, sample %" PRId64 " comes next", f->pts,
                  a->decoded);
        return fault(a, &why, e);
    }
    if (drop == n) {
        a->decoded += n;
        return 0;
    }
    if (mert_samples_grow(to, to->n + n, e))
        return -1;
    mono = to->data + to->n;
    if (mert_frame_mean(f, mono)) {
        mert_fail(&why, "samples of an unknown format");
        return fault(a, &why, e);
    }
    if (drop > 0) {
        memmove(mono, mono + drop, (size_t)(n - drop) * sizeof *mono);
        n -= drop;
        a->decoded += drop;
    }
    good = finite(mono, n);
    to->n += good;
    a->decoded += good;
    if (good == n)
        return 0;
    mert_fail(&why, "sample %" PRId64 " is no finite number (%s)", a->decoded, isnan(mono[good]) ? "NaN" : "infinite");
    return fault(a, &why, e);
}

/* Decodes one frame, or finds the end. */
static int advance(mert_audio *a, mert_samples *to, mert_error *e)
{
    mert_error why = {{0}};
    int got = 1;
    if (!a->have_frame)
        got = mert_input_next(&a->in, &why);
    a->have_frame = 0;
    /* Errors after the last sample that the header counts are ignored. */
    if (got < 0 && !a->in.no_memory && ((promised(a) > 0 && a->decoded >= promised(a)) || mert_input_only_remains(&a->in)))
        got = 0;
    /* If reading fails at the end of the file, a message about missing bytes is better. in.format is NULL if a link
     * could not be opened. */
    if (got < 0 && a->in.unreadable && a->in.format && avio_feof(a->in.format->pb) && check_promise(a, e))
        return -1;
    if (got < 0)
        return a->ended ? 0 : fault(a, &why, e);
    if (got)
        return take_frame(a, to, e);
    if (check_promise(a, e))
        return -1;
    a->ended = 1; /* the check may have ended it (--salvage) */
    return 0;
}

int mert_audio_enough(const mert_audio *a)
{
    return a->decoded >= a->enough;
}

void mert_audio_decode(mert_audio *a, mert_audio_piece *to)
{
    int64_t most = a->rate > a->native ? av_rescale(PIECE, a->native, a->rate) + 1 : PIECE;
    int was_enough = mert_audio_enough(a);
    to->samples.n = 0;
    to->how = MERT_PIECE_MORE;
    while (!a->ended && to->samples.n < most && (was_enough || !mert_audio_enough(a)))
        if (advance(a, &to->samples, &to->why)) {
            to->how = MERT_PIECE_FAULT;
            return;
        }
    if (a->ended)
        to->how = MERT_PIECE_LAST;
}

/* ---- the output ---- */

/* s begins at sample `at` of the output: keeps only the part inside the segment. */
static void keep_segment(mert_audio *a, mert_samples *s)
{
    int64_t n = s->n, before = mert_smaller(a->first - a->at, n);
    if (before < 0)
        before = 0;
    s->n = mert_smaller(a->end - a->at, n) - before;
    if (s->n < 0)
        s->n = 0;
    if (before && s->n)
        memmove(s->data, s->data + before, (size_t)s->n * sizeof *s->data);
    a->at += n;
}

void mert_audio_resample(mert_audio *a, const mert_audio_piece *decoded, mert_audio_piece *to)
{
    const mert_samples *in = &decoded->samples;
    int bad;
    to->samples.n = 0;
    bad = mert_resampler_push(a->resampler, in->data, in->n, &to->samples, &to->why);
    to->how = decoded->how;
    if (!bad && a->at + to->samples.n >= a->end) { /* what follows the segment is ignored, even a fault */
        to->how = MERT_PIECE_LAST;
    } else if (!bad && decoded->how == MERT_PIECE_LAST) {
        bad = mert_resampler_finish(a->resampler, &to->samples, &to->why);
        a->complete = 1;
    } else if (decoded->how == MERT_PIECE_FAULT) {
        to->why = decoded->why;
    }
    keep_segment(a, &to->samples);
    if (!bad && a->complete && a->first > 0 && a->at <= a->first && a->at < a->end)
        bad = mert_fail(&to->why, "the segment begins at %.3f s, but there are only %.3f s", (double)a->first / a->rate,
                        (double)a->decoded / a->native);
    if (bad)
        to->how = MERT_PIECE_FAULT;
}

/* ---- handles ---- */

static int open_at_first_frame(mert_audio *a, const char *path, const mert_audio_settings *s, mert_error *e)
{
    int got;
    if (mert_input_open(&a->in, path, s->stream, e))
        return -1;
    while ((got = mert_input_next(&a->in, e)) > 0 && !a->in.frame->nb_samples)
        ;
    if (got < 0) {
        mert_input_say_better(&a->in, e);
        return mert_fail_in(e, "fault at 0.000 s");
    }
    if (!got) {
        mert_input_say_empty(&a->in, e);
        return -1;
    }
    a->have_frame = 1;
    a->native = a->in.frame->sample_rate;
    if (a->native < 1)
        return mert_fail(e, "its sample rate is not known");
    a->rate = s->rate ? s->rate : a->native;
    a->resampler = mert_resampler_new(a->native, a->rate, e);
    return a->resampler ? 0 : -1;
}

/* ---- seeking ---- */

/* Whether the header's count can be trusted, and time stamps are numbers of samples: formats with one packet per frame
 * and exact time stamps. */
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

/* A frame of FLAC has the number of its first sample or, in streams of frames of one size, its own number. STREAMINFO
 * has the smallest and the largest size of a frame, without the last one. */
static int flac_is_numbered(const mert_input *in)
{
    const AVCodecParameters *p = in->stream->codecpar;
    const AVPacket *first = in->packet;
    if (first->size < 2 || first->data[0] != 0xff || (first->data[1] & 0xfe) != 0xf8)
        return 0;
    return first->data[1] & 1 || (p->extradata_size == 34 && !memcmp(p->extradata, p->extradata + 2, 2));
}

/* FFmpeg finds samples of WAV by the header's bytes per second. */
static int wav_is_regular(const mert_input *in)
{
    const AVCodecParameters *p = in->stream->codecpar;
    int bytes = p->ch_layout.nb_channels * av_get_exact_bits_per_sample(p->codec_id) / 8;
    return p->block_align == bytes && p->bit_rate == (int64_t)8 * bytes * p->sample_rate;
}

/* For a file whose first frame is there: whether FFmpeg's time stamps count its samples. */
static int can_seek(const mert_audio *a)
{
    const mert_input *in = &a->in;
    AVRational base = in->stream->time_base;
    return header_is_exact(in) && !in->from && in->io->seekable & AVIO_SEEKABLE_NORMAL && !*in->whole.cut.text &&
           base.num == 1 && base.den == a->native && in->frame->pts == 0 &&
           (in->stream->codecpar->codec_id == AV_CODEC_ID_FLAC ? flac_is_numbered(in) : wav_is_regular(in));
}

/* Goes to the frame with the first sample that the resampler needs. 0: it stands there, or it is so near that decoding
 * goes on from the beginning; -1: what is there is not what it should be, and the file must be opened again. */
static int seek_segment(mert_audio *a)
{
    mert_input *in = &a->in;
    mert_error unsaid;
    int64_t from = a->begin;
    int got;
    if (from < in->frame->nb_samples)
        return 0;
    if (av_seek_frame(in->format, in->stream->index, from, AVSEEK_FLAG_BACKWARD) < 0)
        return -1;
    avcodec_flush_buffers(in->codec);
    in->drained = 0;
    do
        got = mert_input_next(in, &unsaid);
    while (got > 0 && in->frame->pts >= 0 && in->frame->pts + in->frame->nb_samples <= from);
    if (got <= 0 || in->frame->pts < 0 || in->frame->pts > from)
        return -1;
    a->sought = 1;
    a->decoded = in->frame->pts;
    return 0;
}

mert_audio *mert_audio_open(const char *path, const mert_audio_settings *s, mert_error *e)
{
    mert_audio *a = calloc(1, sizeof *a);
    mert_audio_settings plain = *s;
    struct stat is;
    int64_t count;
    if (!a) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    if (s->regular && !stat(path, &is) && !S_ISREG(is.st_mode)) {
        mert_fail(e, "is %s, not a regular file", mert_file_kind(is.st_mode));
        free(a);
        return NULL;
    }
    a->salvage = s->salvage;
    if (open_at_first_frame(a, path, s, e)) {
        mert_audio_close(a);
        return NULL;
    }
    mert_audio_segment(s, a->rate, &a->first, &count);
    a->end = count < 0 ? INT64_MAX : a->first + count;
    a->enough = count < 0 ? INT64_MAX : av_rescale(a->end, a->native, a->rate) + mert_resampler_reach(a->resampler);
    if (s->seek)
        mert_resampler_begin_at(a->resampler, a->first, &a->begin, &a->at);
    if (s->seek && can_seek(a) && seek_segment(a)) {
        mert_audio_close(a);
        plain.seek = 0;
        return mert_audio_open(path, &plain, e);
    }
    return a;
}

void mert_audio_close(mert_audio *a)
{
    if (!a)
        return;
    mert_input_close(&a->in);
    mert_resampler_free(a->resampler);
    free(a);
}

/* ---- counting ---- */

/* Seeks to the last sample that the header counts and reads on: the last packet must end exactly there. (The time base
 * of these containers is one sample.) */
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

/* The length at the native rate, from the header, or -1. */
static int64_t header_count(mert_audio *a, mert_audio_count_how how)
{
    const mert_input *in = &a->in;
    int64_t n = promised(a), total = mert_input_total(in);
    if (*in->whole.cut.text)
        return -1;
    if (how == MERT_COUNT_HEADER && total >= 0)
        return total;
    if (header_is_exact(in) && in->frame->pts != 0) /* a part of a longer file, with the header of the whole */
        return -1;
    if (how == MERT_COUNT_HEADER && in->stream->duration != AV_NOPTS_VALUE)
        return av_rescale_q(in->stream->duration, in->stream->time_base, (AVRational){1, a->native});
    if (how == MERT_COUNT_EXACT && n > 0 && header_is_exact(in) && ends_where_promised(a))
        return n;
    return -1;
}

int64_t mert_audio_total(const mert_audio *a)
{
    int64_t n = a->in.ogg.n ? mert_input_total(&a->in) : header_is_exact(&a->in) ? promised(a) : -1;
    return n < 0 ? -1 : mert_resampled_count(n, a->native, a->rate);
}

int64_t mert_audio_count(const char *path, const mert_audio_settings *s, mert_audio_count_how how, mert_error *e)
{
    mert_audio_settings whole = *s;
    mert_audio_piece piece = {0};
    mert_audio *a;
    int64_t n;
    whole.start = 0;
    whole.duration = -1;
    a = mert_audio_open(path, &whole, e);
    if (!a)
        return -1;
    n = header_count(a, how);
    if (n < 0 && a->moved) {
        mert_audio_close(a);
        if (!(a = mert_audio_open(path, &whole, e)))
            return -1;
    }
    if (n < 0) {
        do
            mert_audio_decode(a, &piece);
        while (piece.how == MERT_PIECE_MORE);
        free(piece.samples.data);
        if (piece.how == MERT_PIECE_FAULT) {
            mert_audio_close(a);
            return mert_fail(e, "%s", piece.why.text);
        }
        n = a->decoded;
    }
    n = mert_resampled_count(n, a->native, a->rate);
    mert_audio_close(a);
    return n;
}
