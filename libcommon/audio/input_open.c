#define _GNU_SOURCE
#include "libcommon/audio/input_parts.h"

#include "formats/text.h"
#include "libcommon/audio/container/pipe.h"
#include "libcommon/audio/container/place.h"
#include "libcommon/audio/container/riff.h"
#include "libcommon/audio/container/span.h"
#include "libcommon/audio/ff_error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int mert_input_open_io(mert_input *in, const char *path, mert_error *e)
{
    struct stat s;
    char *url;
    int code;
    if (mert_place_in_tar(path)) {
        in->io = mert_span_open(path, 0, INT64_MAX, e);
        in->is_span = in->io != NULL;
        return in->io ? avio_size(in->io) ? 0 : mert_fail(e, "is empty") : -1;
    }
    if (stat(path, &s))
        return mert_fail(e, "%s", strerror(errno));
    if (S_ISDIR(s.st_mode))
        return mert_fail(e, "is a folder");
    if (S_ISREG(s.st_mode) && !s.st_size)
        return mert_fail(e, "is empty");
    if (!S_ISREG(s.st_mode)) {
        in->io = in->from = mert_pipe_open(path, e);
        return in->io ? 0 : -1;
    }
    /* "file:" prevents that a name is taken for a URL. */
    if (asprintf(&url, "file:%s", path) < 0)
        return mert_fail(e, "out of memory");
    code = avio_open2(&in->io, url, AVIO_FLAG_READ, NULL, NULL);
    free(url);
    return code < 0 ? mert_ff_fail(e, code, "cannot be opened") : 0;
}

/* Whether the file is a git-lfs pointer or a web page instead of audio; 1: `words` describes it. */
static int stands_in(const char *path, char words[MERT_TEXT_WORDS])
{
    char head[1024];
    return mert_text_stands_in(head, mert_place_head(path, head, sizeof head), words);
}

static int open_format(mert_input *in, const char *path, const AVInputFormat *known, mert_error *e)
{
    AVDictionary *options = NULL;
    char words[MERT_TEXT_WORDS];
    int code;
    /* A file may refer to others (playlists, references in MP4). No protocol is allowed, so they are not opened. */
    if (!(in->format = avformat_alloc_context()) || av_dict_set(&options, "protocol_whitelist", "none", 0) < 0)
        return mert_fail(e, "out of memory");
    in->format->pb = in->io;
    /* FFmpeg uses the name only to distinguish similar formats; it reads io. On failure it frees the context. */
    code = avformat_open_input(&in->format, path, known, &options);
    av_dict_free(&options);
    if (code >= 0)
        return 0;
    if (stands_in(path, words))
        return mert_fail(e, "this is %s", words);
    if (code == AVERROR_INVALIDDATA && !*mert_ff_said())
        return mert_fail(e, "not a file that FFmpeg knows");
    return mert_ff_fail(e, code, "cannot be opened as audio");
}

/* Containers with one audio stream only, whose header has the number of samples. */
int mert_input_counts_samples(const AVInputFormat *f)
{
    static const char *const names[] = {"wav", "w64", "flac", "mp3", "aiff", "au", "ape", "wv", "tta", "mpc"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(f->name, names[i]))
            return 1;
    return 0;
}

/* Reads the length in the header, before FFmpeg analyses the file and replaces missing values by estimates. */
static void note_promise(mert_input *in)
{
    in->promised = AV_NOPTS_VALUE;
    in->loose = !strcmp(in->format->iformat->name, "mp3");
    if (mert_input_counts_samples(in->format->iformat) && in->format->nb_streams)
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
        return mert_ff_fail(e, code, "its stream cannot be set up");
    in->codec->thread_count = 1;
    in->codec->pkt_timebase = in->stream->time_base; /* needed to trim encoder delay and padding */
    if (is_checked_codec(decoder->id))
        in->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    code = avcodec_open2(in->codec, decoder, NULL);
    return code < 0 ? mert_ff_fail(e, code, "the decoder %s cannot be set up", decoder->name) : 0;
}

void mert_input_close_streams(mert_input *in)
{
    av_frame_free(&in->frame);
    av_packet_free(&in->packet);
    avcodec_free_context(&in->codec);
    avformat_close_input(&in->format);
    if (in->is_span)
        mert_span_close(&in->io);
    else if (!in->from)
        avio_closep(&in->io);
    in->io = NULL;
    in->is_span = 0;
}

/* Sets the layout of WAV and W64 samples, before FFmpeg reads the first of them. */
static int settle_samples(mert_input *in, mert_error *e)
{
    const char *name = in->format->iformat->name;
    enum AVCodecID guess = in->format->nb_streams ? in->format->streams[0]->codecpar->codec_id : AV_CODEC_ID_NONE;
    int64_t frames;
    int changed;
    if (in->format->nb_streams != 1 || (strcmp(name, "wav") && strcmp(name, "w64")) ||
        (guess != AV_CODEC_ID_NONE && av_get_exact_bits_per_sample(guess) <= 0))
        return 0;
    changed = mert_wav_settle(in->path, in->from, in->format->streams[0]->codecpar, &frames, e);
    /* FFmpeg counted with a wrong width or, in a pipe, used a count other than the size of the samples. */
    if (changed > 0 || (in->from && frames >= 0))
        in->promised = in->format->streams[0]->duration = frames < 0 ? AV_NOPTS_VALUE : frames;
    return changed < 0 ? -1 : 0;
}

/* For a pipe whose header is complete, FFmpeg must read no more than the header: otherwise it waits for some seconds of
 * audio. */
static void look_no_further(AVFormatContext *f)
{
    if (f->pb->seekable & AVIO_SEEKABLE_NORMAL)
        return;
    if (mert_input_counts_samples(f->iformat) || !strcmp(f->iformat->name, "ogg") || !strcmp(f->iformat->name, "aac"))
        f->probesize = 32; /* bytes, the minimum: the analysis ends with the first packet */
}

/* Opens the streams of in->io. */
int mert_input_open_streams(mert_input *in, const AVInputFormat *known, mert_error *e)
{
    const AVCodec *decoder;
    int code;
    in->skip = in->given = in->packets = in->drained = 0;
    in->keep = -1;
    mert_ff_forget();
    if (open_format(in, in->path, known, e))
        return -1;
    note_promise(in);
    if (settle_samples(in, e))
        return -1;
    look_no_further(in->format);
    mert_ff_forget();
    if ((code = avformat_find_stream_info(in->format, NULL)) < 0)
        return mert_ff_fail(e, code, "its streams cannot be looked at");
    mert_ff_forget();
    return pick_stream(in, in->wanted, &decoder, e) || open_codec(in, decoder, e) ? -1 : 0;
}

/* Reopens a part of the file, with the same format. */
int mert_input_open_span(mert_input *in, int64_t begin, int64_t end, mert_error *e)
{
    const AVInputFormat *known = in->format->iformat;
    mert_input_close_streams(in);
    if (!(in->io = mert_span_open(in->path, begin, end, e)))
        return -1;
    in->is_span = 1;
    in->base = begin;
    return mert_input_open_streams(in, known, e);
}
