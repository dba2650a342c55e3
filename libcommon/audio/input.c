#include "libcommon/audio/input_parts.h"

#include "libcommon/audio/container/pipe.h"
#include "libcommon/audio/ff_error.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

int mert_input_open(mert_input *in, const char *path, int stream, mert_error *e)
{
    mert_ff_listen();
    memset(in, 0, sizeof *in);
    in->wanted = stream;
    in->fault_at = in->ogg.fault_at = in->whole.end = -1;
    mert_ff_forget();
    if (!(in->path = strdup(path))) {
        mert_fail(e, "out of memory");
        goto fail;
    }
    if (mert_input_open_io(in, path, e) || mert_input_look_into_pipe(in, e))
        goto fail;
    if (mert_input_open_streams(in, NULL, e)) {
        mert_input_say_better(in, e);
        goto fail;
    }
    if (mert_input_follow(in, e))
        goto fail;
    return 0;
fail:
    mert_input_close(in);
    return -1;
}

void mert_input_close(mert_input *in)
{
    mert_input_close_streams(in);
    mert_ogg_pipe_free(in->pipe);
    in->pipe = NULL;
    mert_pipe_close(&in->from);
    mert_ogg_free(&in->ogg);
    free(in->path);
    in->path = NULL;
}

/* ---- packets and frames ---- */

/* Whether reading has reached the place where the file is cut off: that is then the reason, not FFmpeg's error. */
static int at_cut(const mert_input *in)
{
    return *in->whole.cut.text && avio_feof(in->format->pb);
}

static int fail_cut(const mert_input *in, mert_error *e)
{
    return mert_fail(e, "the file ends here: %s", in->whole.cut.text);
}

/* Whether reading has reached the end of the audio, and other bytes follow. */
static int at_end(const mert_input *in, int64_t at)
{
    return in->whole.end >= 0 && at >= in->whole.end;
}

/* The header of a WAV written into a pipe has no length, that of a truncated WAV has a larger one. The last packet is
 * then short and marked as corrupt, but its samples are good. */
static int is_short_only(const mert_input *in)
{
    if (!mert_input_counts_samples(in->format->iformat) && strcmp(in->format->iformat->name, "caf"))
        return 0;
    return in->promised == AV_NOPTS_VALUE || *in->whole.cut.text;
}

/* Called when reading has failed or ended. Returns 0: the end, -1: a fault. */
static int end_or_fault(mert_input *in, int code, mert_error *e)
{
    int64_t at = avio_tell(in->format->pb);
    if (code == AVERROR_EOF && in->format->pb->error < 0)
        code = in->format->pb->error;
    in->no_memory |= code == AVERROR(ENOMEM);
    if (code == AVERROR_EOF && (in->fault_at >= 0 || (in->pipe && in->ogg.fault_at >= 0)))
        return mert_fail(e, "%s", in->ogg.fault.text);
    if (at_end(in, at) || (code == AVERROR_EOF && (!*mert_ff_said() || at_cut(in))))
        return 0;
    if (code == AVERROR_EOF)
        return mert_ff_fail(e, 0, "what follows cannot be read");
    if (at_cut(in))
        return fail_cut(in, e);
    return mert_ff_fail(e, code, "what follows byte %" PRId64 " cannot be read", in->base + at);
}

int mert_input_packet(mert_input *in, mert_error *e)
{
    AVPacket *p = in->packet;
    int code;
    for (;;) {
        av_packet_unref(p);
        mert_ff_forget();
        code = av_read_frame(in->format, p);
        if (code == AVERROR(EAGAIN))
            continue;
        if (code < 0)
            return end_or_fault(in, code, e);
        if (p->stream_index != in->stream->index)
            continue;
        if (at_end(in, p->pos))
            return 0;
        if (p->pos >= 0 && at_end(in, p->pos + p->size)) /* a tag follows the last frame in the same packet */
            av_shrink_packet(p, (int)(in->whole.end - p->pos));
        if (in->fault_at >= 0 && p->pos >= in->fault_at)
            return mert_fail(e, "%s", in->ogg.fault.text);
        if (p->flags & AV_PKT_FLAG_CORRUPT && !is_short_only(in))
            return at_cut(in) ? fail_cut(in, e) : mert_fail(e, "a packet is cut off or damaged");
        return 1;
    }
}

/* Cuts in->frame to the samples that are kept; 0: none. */
static int cut_frame(mert_input *in)
{
    AVFrame *f = in->frame;
    int64_t n = f->nb_samples, begin, end;
    int planar = av_sample_fmt_is_planar(f->format), channels = f->ch_layout.nb_channels;
    if (in->pipe)
        mert_input_take_pipe(in);
    /* The first packet of Vorbis gives no samples, but FFmpeg 7 returns a frame for it. */
    if (in->keep >= 0 && in->packets == 1 && in->codec->codec_id == AV_CODEC_ID_VORBIS)
        return 0;
    begin = in->skip - in->given;
    end = in->skip + in->keep - in->given;
    in->given += n;
    if (in->keep < 0)
        return 1;
    begin = begin < 0 ? 0 : begin < n ? begin : n;
    end = end < begin ? begin : end < n ? end : n;
    for (int c = 0; c < (planar ? channels : 1); c++) {
        uint8_t *from = f->extended_data[c];
        from += begin * av_get_bytes_per_sample(f->format) * (planar ? 1 : channels);
        f->extended_data[c] = from;
    }
    f->nb_samples = (int)(end - begin);
    return end > begin;
}

/* Fills the error: the decoder refused the last packet. */
static int fail_packet(mert_input *in, int code, mert_error *e)
{
    in->no_memory |= code == AVERROR(ENOMEM);
    if (at_cut(in))
        return fail_cut(in, e);
    if (in->drained || in->packet->pos < 0)
        return mert_ff_fail(e, code < 0 ? code : 0, "a packet does not decode");
    return mert_ff_fail(e, code < 0 ? code : 0, "the packet at byte %" PRId64 " does not decode",
                        in->base + in->packet->pos);
}

int mert_input_next(mert_input *in, mert_error *e)
{
    int code, got;
    for (;;) {
        mert_ff_forget();
        code = avcodec_receive_frame(in->codec, in->frame);
        if (code == AVERROR_EOF && (got = mert_input_next_link(in, e)) <= 0)
            return got;
        if (code == AVERROR_EOF)
            continue;
        if (code >= 0 && (in->frame->decode_error_flags || in->frame->flags & AV_FRAME_FLAG_CORRUPT))
            return fail_packet(in, code, e);
        if (code >= 0 && !cut_frame(in))
            continue;
        if (code >= 0)
            return 1;
        if (code != AVERROR(EAGAIN) || in->drained)
            return fail_packet(in, code, e);
        if ((got = mert_input_packet(in, e)) < 0) {
            in->unreadable = 1;
            return -1;
        }
        in->drained = !got;
        in->packets += got;
        mert_ff_forget();
        code = avcodec_send_packet(in->codec, got ? in->packet : NULL);
        if (code < 0 && code != AVERROR_EOF)
            return fail_packet(in, code, e);
    }
}

int mert_input_only_remains(mert_input *in)
{
    int got = -1;
    if (in->unreadable)
        return 0;
    if (av_get_exact_bits_per_sample(in->stream->codecpar->codec_id) <= 0 && strcmp(in->format->iformat->name, "mp3") &&
        strcmp(in->format->iformat->name, "aac"))
        return 0;
    while (got < 0 && !in->unreadable && !in->drained)
        got = mert_input_next(in, NULL);
    return got == 0;
}

/* ---- one channel ---- */

/* `count` and `planar` are constants in the most frequent cases, so that the compiler vectorises the loop. */
#define MIX(type, value, count, planar)                                                                                \
    for (int t = 0; t < frame->nb_samples; t++) {                                                                      \
        double sum = 0;                                                                                                \
        for (int c = 0; c < (count); c++) {                                                                            \
            type x = (planar) ? ((const type *)frame->extended_data[c])[t]                                             \
                              : ((const type *)frame->extended_data[0])[t * (count) + c];                              \
            sum += (value);                                                                                            \
        }                                                                                                              \
        to[t] = (float)(sum / (count));                                                                                \
    }

#define MEAN(type, value)                                                                                              \
    do {                                                                                                               \
        if (channels == 1)                                                                                             \
            MIX(type, value, 1, 1)                                                                                     \
        else if (channels == 2 && planar)                                                                              \
            MIX(type, value, 2, 1)                                                                                     \
        else if (channels == 2)                                                                                        \
            MIX(type, value, 2, 0)                                                                                     \
        else                                                                                                           \
            MIX(type, value, channels, planar)                                                                         \
        return 0;                                                                                                      \
    } while (0)

int mert_frame_mean(const AVFrame *frame, float *to)
{
    int channels = frame->ch_layout.nb_channels, planar = av_sample_fmt_is_planar(frame->format);
    if (channels < 1)
        return -1;
    switch (av_get_packed_sample_fmt(frame->format)) {
    case AV_SAMPLE_FMT_U8: MEAN(uint8_t, (x - 128) / 128.0);
    case AV_SAMPLE_FMT_S16: MEAN(int16_t, x / 32768.0);
    case AV_SAMPLE_FMT_S32: MEAN(int32_t, x / 2147483648.0);
    case AV_SAMPLE_FMT_S64: MEAN(int64_t, (double)x / 9223372036854775808.0);
    case AV_SAMPLE_FMT_FLT: MEAN(float, (double)x);
    case AV_SAMPLE_FMT_DBL: MEAN(double, x);
    default: return -1;
    }
}
