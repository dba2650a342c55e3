#define _GNU_SOURCE
#include "input.h"

#include "ff_error.h"
#include "flac.h"
#include "mp3.h"
#include "riff.h"
#include "span.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- streams ---- */

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
    return code < 0 ? mert_ff_fail(e, code, "cannot be opened") : 0;
}

static int open_format(mert_input *in, const char *path, const AVInputFormat *known, mert_error *e)
{
    AVDictionary *options = NULL;
    int code;
    /* A file may name others (playlists, references in MP4): with no protocol allowed, they stay closed. */
    if (!(in->format = avformat_alloc_context()) || av_dict_set(&options, "protocol_whitelist", "none", 0) < 0)
        return mert_fail(e, "out of memory");
    in->format->pb = in->io;
    /* The name serves to tell formats that look alike; what is read is io. Frees the context when it fails. */
    code = avformat_open_input(&in->format, path, known, &options);
    av_dict_free(&options);
    if (code >= 0)
        return 0;
    if (code == AVERROR_INVALIDDATA && !*mert_ff_said())
        return mert_fail(e, "not a file that FFmpeg knows");
    return mert_ff_fail(e, code, "cannot be opened as audio");
}

/* Containers of nothing but one audio stream, whose header counts its samples. */
static int counts_samples(const AVInputFormat *f)
{
    static const char *const names[] = {"wav", "w64", "flac", "mp3", "aiff", "au", "ape", "wv", "tta", "mpc"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(f->name, names[i]))
            return 1;
    return 0;
}

/* Before FFmpeg looks further and estimates what the header does not say. */
static void note_promise(mert_input *in)
{
    in->promised = AV_NOPTS_VALUE;
    in->loose = !strcmp(in->format->iformat->name, "mp3");
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
        return mert_ff_fail(e, code, "its stream cannot be set up");
    in->codec->thread_count = 1;
    in->codec->pkt_timebase = in->stream->time_base; /* by which encoder delay and padding are cut */
    if (is_checked_codec(decoder->id))
        in->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    code = avcodec_open2(in->codec, decoder, NULL);
    return code < 0 ? mert_ff_fail(e, code, "the decoder %s cannot be set up", decoder->name) : 0;
}

static void close_streams(mert_input *in)
{
    av_frame_free(&in->frame);
    av_packet_free(&in->packet);
    avcodec_free_context(&in->codec);
    avformat_close_input(&in->format);
    if (in->is_span)
        mert_span_close(&in->io);
    else if (!in->pipe)
        avio_closep(&in->io);
    in->io = NULL;
    in->is_span = 0;
}

/* How samples of WAV and W64 lie: before FFmpeg looks at the first of them. */
static int settle_samples(mert_input *in, mert_error *e)
{
    const char *name = in->format->iformat->name;
    enum AVCodecID guess = in->format->nb_streams ? in->format->streams[0]->codecpar->codec_id : AV_CODEC_ID_NONE;
    int64_t frames;
    int changed;
    if (!(in->io->seekable & AVIO_SEEKABLE_NORMAL) || in->format->nb_streams != 1 ||
        (strcmp(name, "wav") && strcmp(name, "w64")) ||
        (guess != AV_CODEC_ID_NONE && av_get_exact_bits_per_sample(guess) <= 0))
        return 0;
    changed = mert_wav_settle(in->path, in->format->streams[0]->codecpar, &frames, e);
    if (changed > 0) /* FFmpeg counted with the wrong width */
        in->promised = in->format->streams[0]->duration = frames < 0 ? AV_NOPTS_VALUE : frames;
    return changed < 0 ? -1 : 0;
}

/* Of a pipe nothing more is read than its header, where that says all: FFmpeg would look some seconds ahead, which may
 * never come. */
static void look_no_further(AVFormatContext *f)
{
    if (f->pb->seekable & AVIO_SEEKABLE_NORMAL)
        return;
    if (counts_samples(f->iformat) || !strcmp(f->iformat->name, "ogg") || !strcmp(f->iformat->name, "aac"))
        f->probesize = 32; /* bytes, the least that it takes: it ends with the first packet */
}

/* The streams of what in->io reads. */
static int open_streams(mert_input *in, const AVInputFormat *known, mert_error *e)
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

/* Opens some bytes of the file instead of what was open, as the format that it was. */
static int open_span(mert_input *in, int64_t begin, int64_t end, mert_error *e)
{
    const AVInputFormat *known = in->format->iformat;
    close_streams(in);
    if (!(in->io = mert_span_open(in->path, begin, end, e)))
        return -1;
    in->is_span = 1;
    in->base = begin;
    return open_streams(in, known, e);
}

/* FFmpeg's own count of the samples to drop at both ends is left aside. */
static void keep_only(mert_input *in, int64_t skip, int64_t keep)
{
    in->skip = skip;
    in->keep = keep;
    in->codec->flags2 |= AV_CODEC_FLAG2_SKIP_MANUAL;
}

/* ---- Ogg ---- */

/* Of the link at hand: which of the samples count, and whether the fault lies in it. */
static void take_link(mert_input *in)
{
    const mert_ogg_link *l = &in->ogg.links[in->link];
    const mert_ogg_stream *s = in->stream->index < l->n ? &l->streams[in->stream->index] : NULL;
    int last = in->link == in->ogg.n - 1;
    in->fault_at = last && in->ogg.fault_at >= 0 ? in->ogg.fault_at - l->begin : -1;
    if (s && s->total >= 0 && (in->ogg.fault_at < 0 || !last))
        keep_only(in, s->skip, s->total);
}

/* Of a pipe, the end is known when its page has passed: before the frames on it are decoded. */
static void take_pipe(mert_input *in)
{
    const mert_ogg_link *l = in->ogg.n ? &in->ogg.links[in->ogg.n - 1] : NULL;
    const mert_ogg_stream *s = l && in->stream->index < l->n ? &l->streams[in->stream->index] : NULL;
    in->fault_at = in->ogg.fault_at >= 0 ? INT64_MAX : -1;
    if (s && s->counted)
        keep_only(in, s->skip, s->total < 0 ? INT64_MAX / 2 : s->total);
}

static int open_next_of_pipe(mert_input *in, mert_error *e)
{
    const AVInputFormat *known = in->format ? in->format->iformat : NULL;
    close_streams(in);
    if (!(in->io = mert_ogg_pipe_next(in->pipe, e)) || open_streams(in, known, e))
        return -1;
    take_pipe(in);
    return 0;
}

static int open_link(mert_input *in, mert_error *e)
{
    const mert_ogg_link *l = in->pipe ? NULL : &in->ogg.links[in->link];
    if (l ? open_span(in, l->begin, l->end, e) : open_next_of_pipe(in, e))
        return mert_fail_in(e, "link %lld of an Ogg chain", (long long)in->link + 1);
    if (l)
        take_link(in);
    return 0;
}

/* If what comes through a pipe is Ogg, it comes through mert_ogg_pipe. */
static int look_into_pipe(mert_input *in, mert_error *e)
{
    unsigned char begin[4] = {0};
    if (in->io->seekable & AVIO_SEEKABLE_NORMAL)
        return 0;
    avio_read(in->io, begin, sizeof begin);
    avio_seek(in->io, 0, SEEK_SET); /* in its buffer */
    if (memcmp(begin, "OggS", 4))
        return 0;
    in->from = in->io;
    in->io = NULL;
    if (!(in->pipe = mert_ogg_pipe_new(in->from, &in->ogg, e)))
        return -1;
    in->io = mert_ogg_pipe_next(in->pipe, e);
    return in->io ? 0 : -1;
}

/* FFmpeg passes over damaged Ogg pages with nothing but a message, decodes the links of a chain with the state of the
 * one before, and cuts some streams of few pages in the wrong place. */
static int follow_ogg(mert_input *in, mert_error *e)
{
    if (mert_ogg_read(in->path, &in->ogg, e))
        return -1;
    if (in->ogg.n > 1)
        return open_link(in, e);
    in->fault_at = in->ogg.fault_at;
    if (in->ogg.n)
        take_link(in);
    return 0;
}

int64_t mert_input_total(const mert_input *in)
{
    int64_t n = 0;
    if (in->pipe)
        return -1;
    if (in->ogg.n < 1)
        return in->keep;
    for (int64_t i = 0; i < in->ogg.n; i++) {
        const mert_ogg_link *l = &in->ogg.links[i];
        if (in->stream->index >= l->n || l->streams[in->stream->index].total < 0)
            return -1;
        n += l->streams[in->stream->index].total;
    }
    return n;
}

/* ---- MP3 ---- */

/* FFmpeg finds the frame that tells only right behind the tags, and does not believe it where much lies behind the last
 * frame. So it is given nothing but the frames, unless they are others than was told: then the file may be several. */
static int follow_mp3(mert_input *in, mert_error *e)
{
    mert_mp3 m;
    int64_t length;
    int got = mert_mp3_read(in->path, &m, e), cut;
    if (got < 0)
        return -1;
    if (!got || m.told < 1 || m.frames > m.told)
        return 0;
    cut = m.frames < m.told && m.told_bytes > m.size - m.begin;
    if ((m.begin != m.head || m.end != m.size) && open_span(in, m.begin, cut ? m.size : m.end, e))
        return -1;
    length = m.told * m.samples;
    if (m.delay >= 0) {
        length = length > m.delay + m.padding ? length - m.delay - m.padding : 0;
        keep_only(in, m.delay + MERT_MP3_DECODER_DELAY, length);
    }
    in->promised = av_rescale_q(length, (AVRational){1, m.rate}, in->stream->time_base);
    in->loose = !cut;
    return 0;
}

/* ---- opening ---- */

/* Packets that an index counts, but that lie beyond the end of the file. */
static void check_index(mert_input *in, int64_t size)
{
    int n = avformat_index_get_entries_count(in->stream), beyond = 0;
    for (int i = 0; i < n; i++) {
        const AVIndexEntry *entry = avformat_index_get_entry(in->stream, i);
        beyond += entry && entry->pos + entry->size > size;
    }
    if (beyond && !*in->whole.cut.text)
        mert_fail(&in->whole.cut, "its index promises %d packets, %d are there", n, n - beyond);
}

/* FFmpeg reads most files that were cut off as if they were whole. */
static int check_container(mert_input *in, mert_error *e)
{
    const char *name = in->format->iformat->name;
    if (in->pipe)
        take_pipe(in);
    if (!(in->io->seekable & AVIO_SEEKABLE_NORMAL))
        return 0;
    if (!strcmp(name, "ogg"))
        return follow_ogg(in, e);
    if (!strcmp(name, "mp3"))
        return follow_mp3(in, e);
    mert_whole_check(name, in->path, &in->whole);
    if (!strncmp(name, "mov,", 4))
        check_index(in, avio_size(in->io));
    return 0;
}

static int begins_as_ogg(const char *path)
{
    char begin[4] = "";
    FILE *f = fopen(path, "rb");
    int yes = f && fread(begin, 1, 4, f) == 4 && !memcmp(begin, "OggS", 4);
    if (f)
        fclose(f);
    return yes;
}

/* What FFmpeg has no word for: damage at an Ogg file's very beginning, free format. */
static void say_better(mert_input *in, mert_error *e)
{
    struct stat s;
    mert_error why;
    if (in->ogg.fault_at < 0 && (stat(in->path, &s) || !S_ISREG(s.st_mode)))
        return;
    if (in->ogg.fault_at < 0 && begins_as_ogg(in->path))
        mert_ogg_read(in->path, &in->ogg, &why);
    if (in->ogg.fault_at >= 0)
        mert_fail(e, "%s", in->ogg.fault.text);
    else if (mert_mp3_is_free_format(in->path))
        mert_fail(e, "free-format MP3 is not read by FFmpeg");
}

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
    if (open_io(in, path, e) || look_into_pipe(in, e))
        goto fail;
    if (open_streams(in, NULL, e)) {
        say_better(in, e);
        goto fail;
    }
    if (check_container(in, e))
        goto fail;
    return 0;
fail:
    mert_input_close(in);
    return -1;
}

void mert_input_close(mert_input *in)
{
    close_streams(in);
    mert_ogg_pipe_free(in->pipe);
    in->pipe = NULL;
    avio_closep(&in->from);
    mert_ogg_free(&in->ogg);
    free(in->path);
    in->path = NULL;
}

void mert_input_say_empty(const mert_input *in, mert_error *e)
{
    if (in->stream->codecpar->codec_id == AV_CODEC_ID_FLAC && in->io->seekable & AVIO_SEEKABLE_NORMAL &&
        mert_flac_bits(in->path) == 32)
        mert_fail(e, "32-bit FLAC is not known to this FFmpeg (%s)", av_version_info());
    else
        mert_fail(e, "there are no samples in it");
}

/* ---- packets and frames ---- */

/* Whether reading has come to where the file was cut off: that is why then, whatever FFmpeg makes of it. */
static int at_cut(const mert_input *in)
{
    return *in->whole.cut.text && avio_feof(in->format->pb);
}

static int fail_cut(const mert_input *in, mert_error *e)
{
    return mert_fail(e, "the file ends here: %s", in->whole.cut.text);
}

/* Whether reading has come to where the audio ends, with something behind it. */
static int at_end(const mert_input *in, int64_t at)
{
    return in->whole.end >= 0 && at >= in->whole.end;
}

/* A WAV header written into a pipe knows no length, that of a WAV cut off says too much: their last packet is short,
 * hence called corrupt, but what it has is good. */
static int is_short_only(const mert_input *in)
{
    if (!counts_samples(in->format->iformat) && strcmp(in->format->iformat->name, "caf"))
        return 0;
    return in->promised == AV_NOPTS_VALUE || *in->whole.cut.text;
}

/* Nothing more can be read. Returns 0: it is the end, -1: a fault. */
static int end_or_fault(const mert_input *in, int code, mert_error *e)
{
    int64_t at = avio_tell(in->format->pb);
    if (code == AVERROR_EOF && in->format->pb->error < 0)
        code = in->format->pb->error;
    if (code == AVERROR_EOF && (in->fault_at >= 0 || (in->pipe && in->ogg.fault_at >= 0)))
        return mert_fail(e, "%s", in->ogg.fault.text);
    if (at_end(in, at) || (code == AVERROR_EOF && (!*mert_ff_said() || at_cut(in))))
        return 0;
    if (code == AVERROR_EOF)
        return mert_ff_fail(e, 0, "what follows cannot be read");
    if (at_cut(in))
        return fail_cut(in, e);
    return mert_ff_fail(e, code, "what follows byte %lld cannot be read", (long long)(in->base + at));
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
        if (p->pos >= 0 && at_end(in, p->pos + p->size)) /* a tag hangs on the last frame */
            av_shrink_packet(p, (int)(in->whole.end - p->pos));
        if (in->fault_at >= 0 && p->pos >= in->fault_at)
            return mert_fail(e, "%s", in->ogg.fault.text);
        if (p->flags & AV_PKT_FLAG_CORRUPT && !is_short_only(in))
            return at_cut(in) ? fail_cut(in, e) : mert_fail(e, "a packet is cut off or damaged");
        return 1;
    }
}

/* Of in->frame what counts; 0: nothing. */
static int cut_frame(mert_input *in)
{
    AVFrame *f = in->frame;
    int64_t n = f->nb_samples, begin, end;
    int planar = av_sample_fmt_is_planar(f->format), channels = f->ch_layout.nb_channels;
    if (in->pipe)
        take_pipe(in);
    /* The first packet of Vorbis only begins the overlap: FFmpeg 7 gives a frame of it all the same. */
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

/* After the last frame: 1: another link of an Ogg chain follows and is open, 0: the end. */
static int next_link(mert_input *in, mert_error *e)
{
    mert_error why;
    if (in->pipe)
        take_pipe(in);
    if (in->keep >= 0 && in->keep < INT64_MAX / 2 && in->ogg.n && in->given < in->skip + in->keep)
        return mert_fail(e, "the Ogg pages count %lld samples, the decoder gives %lld",
                         (long long)(in->skip + in->keep), (long long)in->given);
    if (in->pipe ? !mert_ogg_pipe_more(in->pipe) : in->link + 1 >= in->ogg.n)
        return 0;
    in->link++;
    if (!open_link(in, &why))
        return 1;
    in->unreadable = 1;
    return mert_fail(e, "%s", why.text);
}

/* Why the decoder does not take what was read last. */
static int fail_packet(const mert_input *in, int code, mert_error *e)
{
    if (at_cut(in))
        return fail_cut(in, e);
    if (in->drained || in->packet->pos < 0)
        return mert_ff_fail(e, code < 0 ? code : 0, "a packet does not decode");
    return mert_ff_fail(e, code < 0 ? code : 0, "the packet at byte %lld does not decode",
                        (long long)(in->base + in->packet->pos));
}

int mert_input_next(mert_input *in, mert_error *e)
{
    int code, got;
    for (;;) {
        mert_ff_forget();
        code = avcodec_receive_frame(in->codec, in->frame);
        if (code == AVERROR_EOF && (got = next_link(in, e)) <= 0)
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
