#define _GNU_SOURCE
#include "input.h"

#include "container.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- FFmpeg's own words: the first error message since the last question is the most telling one ---- */

static _Thread_local char said[200];

static void listen_to(void *context, int level, const char *format, va_list ap)
{
    (void)context;
    if (level > AV_LOG_ERROR || *said)
        return;
    vsnprintf(said, sizeof said, format, ap);
    said[strcspn(said, "\n")] = 0;
    for (size_t n = strlen(said); n && (said[n - 1] == '.' || said[n - 1] == ' '); )
        said[--n] = 0;
}

static void set_listener(void)
{
    av_log_set_callback(listen_to);
}

/* Why a call failed, in FFmpeg's words. */
static int fail_av(mert_error *e, int code)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(code, text, sizeof text);
    if (code == AVERROR_INVALIDDATA && *said)
        return mert_fail(e, "%s", said);
    return *said ? mert_fail(e, "%s (%s)", text, said) : mert_fail(e, "%s", text);
}

/* ---- opening ---- */

static int open_io(mert_input *in, const char *path, mert_error *e)
{
    struct stat s;
    char *url;
    int code;
    if (stat(path, &s))
        return mert_fail(e, "%s", strerror(errno));
    if (S_ISDIR(s.st_mode))
        return mert_fail(e, "is a folder");
    if (S_ISREG(s.st_mode) && !s.st_size)
        return mert_fail(e, "is empty");
    /* With "file:" before it a name is nothing but a name, whatever it looks like. */
    if (asprintf(&url, "file:%s", path) < 0)
        return mert_fail(e, "out of memory");
    code = avio_open2(&in->io, url, AVIO_FLAG_READ, NULL, NULL);
    free(url);
    return code < 0 ? fail_av(e, code) : 0;
}

static int open_format(mert_input *in, const char *path, mert_error *e)
{
    AVDictionary *options = NULL;
    int code;
    /* A file may name others (playlists, references in MP4): with no protocol allowed, they stay closed. */
    if (!(in->format = avformat_alloc_context()) || av_dict_set(&options, "protocol_whitelist", "none", 0) < 0)
        return mert_fail(e, "out of memory");
    in->format->pb = in->io;
    /* The name serves to tell formats that look alike; what is read is io. Frees the context when it fails. */
    code = avformat_open_input(&in->format, path, NULL, &options);
    av_dict_free(&options);
    if (code >= 0)
        return 0;
    if (code == AVERROR_INVALIDDATA && !*said)
        return mert_fail(e, "not a file that FFmpeg knows");
    fail_av(e, code);
    return mert_fail_in(e, "FFmpeg cannot open it");
}

/* Containers of nothing but one audio stream, whose header counts its samples. */
static int counts_samples(const AVInputFormat *f)
{
    static const char *const names[] = {"wav", "w64", "flac", "mp3", "aiff", "au", "ape", "wv", "tta"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(f->name, names[i]))
            return 1;
    return 0;
}

/* Before FFmpeg looks further and estimates what the header does not say. */
static void note_promise(mert_input *in)
{
    in->promised = AV_NOPTS_VALUE;
    if (counts_samples(in->format->iformat) && in->format->nb_streams)
        in->promised = in->format->streams[0]->duration;
}

static int pick_stream(mert_input *in, int wanted, const AVCodec **decoder, mert_error *e)
{
    int best = -1, audio = 0;
    for (unsigned i = 0; i < in->format->nb_streams; i++)
        if (in->format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO && audio++ == wanted)
            best = (int)i;
    if (!audio)
        return mert_fail(e, "no audio stream in it");
    if (wanted >= audio)
        return mert_fail(e, "has %d audio stream%s, there is no stream %d", audio, audio > 1 ? "s" : "", wanted);
    if (wanted < 0)
        best = av_find_best_stream(in->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    if (best < 0)
        return mert_fail(e, "no audio stream in it");
    for (unsigned i = 0; i < in->format->nb_streams; i++)
        in->format->streams[i]->discard = (int)i == best ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    in->stream = in->format->streams[best];
    *decoder = avcodec_find_decoder(in->stream->codecpar->codec_id);
    if (!*decoder)
        return mert_fail(e, "no decoder for its codec (%s)", avcodec_get_name(in->stream->codecpar->codec_id));
    return 0;
}

static int is_checked_codec(enum AVCodecID id)
{
    return id == AV_CODEC_ID_FLAC || id == AV_CODEC_ID_ALAC || id == AV_CODEC_ID_WAVPACK || id == AV_CODEC_ID_TTA ||
           id == AV_CODEC_ID_APE;
}

static int open_codec(mert_input *in, const AVCodec *decoder, mert_error *e)
{
    int code;
    in->codec = avcodec_alloc_context3(decoder);
    in->packet = av_packet_alloc();
    in->frame = av_frame_alloc();
    if (!in->codec || !in->packet || !in->frame)
        return mert_fail(e, "out of memory");
    if ((code = avcodec_parameters_to_context(in->codec, in->stream->codecpar)) < 0)
        return fail_av(e, code);
    in->codec->thread_count = 1;
    in->codec->pkt_timebase = in->stream->time_base; /* by which encoder delay and padding are cut */
    if (is_checked_codec(decoder->id))
        in->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    return (code = avcodec_open2(in->codec, decoder, NULL)) < 0 ? fail_av(e, code) : 0;
}

/* FFmpeg passes over damaged Ogg pages with nothing but a message, and reads a WAV file that was cut off as if it were
 * whole. */
static int check_container(mert_input *in, const char *path, mert_error *e)
{
    int64_t missing;
    const AVCodecParameters *p = in->stream->codecpar;
    in->fault_at = -1;
    if (!(in->io->seekable & AVIO_SEEKABLE_NORMAL))
        return 0;
    if (!strcmp(in->format->iformat->name, "ogg"))
        return mert_ogg_check(path, &in->fault_at, &in->fault) ? mert_fail(e, "%s", in->fault.text) : 0;
    if (!strcmp(in->format->iformat->name, "wav") && in->promised == AV_NOPTS_VALUE && p->block_align > 0 &&
        (missing = mert_wav_missing(path)) >= p->block_align)
        in->promised = INT64_MAX; /* more than there is; how much does not matter */
    return 0;
}

int mert_input_open(mert_input *in, const char *path, int stream, mert_error *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const AVCodec *decoder;
    int code;
    pthread_once(&once, set_listener);
    memset(in, 0, sizeof *in);
    *said = 0;
    if (open_io(in, path, e) || open_format(in, path, e))
        goto fail;
    note_promise(in);
    *said = 0;
    if ((code = avformat_find_stream_info(in->format, NULL)) < 0) {
        fail_av(e, code);
        goto fail;
    }
    *said = 0;
    if (pick_stream(in, stream, &decoder, e) || open_codec(in, decoder, e) || check_container(in, path, e))
        goto fail;
    return 0;
fail:
    mert_input_close(in);
    return -1;
}

void mert_input_close(mert_input *in)
{
    av_frame_free(&in->frame);
    av_packet_free(&in->packet);
    avcodec_free_context(&in->codec);
    avformat_close_input(&in->format);
    avio_closep(&in->io);
}

/* ---- packets and frames ---- */

int mert_input_packet(mert_input *in, mert_error *e)
{
    int code;
    for (;;) {
        av_packet_unref(in->packet);
        *said = 0;
        code = av_read_frame(in->format, in->packet);
        if (code == AVERROR(EAGAIN))
            continue;
        if (code == AVERROR_EOF && in->format->pb->error < 0)
            code = in->format->pb->error;
        if (code == AVERROR_EOF) {
            if (in->fault_at >= 0)
                return mert_fail(e, "%s", in->fault.text);
            return *said ? mert_fail(e, "%s", said) : 0;
        }
        if (code < 0)
            return fail_av(e, code);
        if (in->packet->stream_index != in->stream->index)
            continue;
        if (in->fault_at >= 0 && in->packet->pos >= in->fault_at)
            return mert_fail(e, "%s", in->fault.text);
        /* A WAV header written into a pipe knows no length, that of a WAV cut off says too much: their last packet is
         * short, hence called corrupt, but what it has is good. */
        if (in->packet->flags & AV_PKT_FLAG_CORRUPT &&
            !(counts_samples(in->format->iformat) && (in->promised == AV_NOPTS_VALUE || in->promised == INT64_MAX)))
            return mert_fail(e, "a packet is cut off or damaged");
        return 1;
    }
}

int mert_input_next(mert_input *in, mert_error *e)
{
    int code, got;
    for (;;) {
        *said = 0;
        code = avcodec_receive_frame(in->codec, in->frame);
        if (code == AVERROR_EOF)
            return 0;
        if (code >= 0 && (in->frame->decode_error_flags || in->frame->flags & AV_FRAME_FLAG_CORRUPT))
            return mert_fail(e, "%s", *said ? said : "a damaged frame");
        if (code >= 0)
            return 1;
        if (code != AVERROR(EAGAIN) || in->drained)
            return fail_av(e, code);
        if ((got = mert_input_packet(in, e)) < 0) {
            in->unreadable = 1;
            return -1;
        }
        in->drained = !got;
        *said = 0;
        code = avcodec_send_packet(in->codec, got ? in->packet : NULL);
        if (code < 0 && code != AVERROR_EOF)
            return fail_av(e, code);
    }
}

int mert_input_only_remains(mert_input *in)
{
    int got = -1;
    if (av_get_exact_bits_per_sample(in->stream->codecpar->codec_id) <= 0 && strcmp(in->format->iformat->name, "mp3") &&
        strcmp(in->format->iformat->name, "aac"))
        return 0;
    while (got < 0 && !in->unreadable && !in->drained)
        got = mert_input_next(in, NULL);
    return got == 0;
}

/* ---- one channel ---- */

/* `count` and `planar` as constants where files mostly have them: then it is a loop of vectors. */
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
