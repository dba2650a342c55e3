#define _GNU_SOURCE
#include "libcommon/audio/input_parts.h"

#include "libcommon/audio/container/flac.h"
#include "libcommon/audio/container/front.h"
#include "libcommon/audio/container/mp3.h"
#include "libcommon/audio/container/pipe.h"
#include "libcommon/audio/container/place.h"
#include "libcommon/audio/container/riff.h"

#include <inttypes.h>
#include <string.h>

/* Sets the samples to keep; FFmpeg's own trimming at both ends is switched off. */
static void keep_only(mert_input *in, int64_t skip, int64_t keep)
{
    in->skip = skip;
    in->keep = keep;
    in->codec->flags2 |= AV_CODEC_FLAG2_SKIP_MANUAL;
}

/* ---- Ogg ---- */

/* Sets, for the current link, which samples are kept, and whether the fault is in it. */
static void take_link(mert_input *in)
{
    const mert_ogg_link *l = &in->ogg.links[in->link];
    const mert_ogg_stream *s = in->stream->index < l->n ? &l->streams[in->stream->index] : NULL;
    int last = in->link == in->ogg.n - 1;
    in->fault_at = last && in->ogg.fault_at >= 0 ? in->ogg.fault_at - l->begin : -1;
    if (s && s->total >= 0 && (in->ogg.fault_at < 0 || !last))
        keep_only(in, s->skip, s->total);
}

/* For a pipe, the end of a link is known when its last page was read, which is before its frames are decoded. */
void mert_input_take_pipe(mert_input *in)
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
    mert_input_close_streams(in);
    if (!(in->io = mert_ogg_pipe_next(in->pipe, e)) || mert_input_open_streams(in, known, e))
        return -1;
    mert_input_take_pipe(in);
    return 0;
}

static int open_link(mert_input *in, mert_error *e)
{
    const mert_ogg_link *l = in->pipe ? NULL : &in->ogg.links[in->link];
    if (l ? mert_input_open_span(in, l->begin, l->end, e) : open_next_of_pipe(in, e))
        return mert_fail_in(e, "link %" PRId64 " of an Ogg chain", in->link + 1);
    if (l)
        take_link(in);
    return 0;
}

int mert_input_look_into_pipe(mert_input *in, mert_error *e)
{
    const unsigned char *begin = in->from ? mert_pipe_look(in->from, 4) : NULL;
    if (!begin)
        return 0;
    if (memcmp(begin, "OggS", 4)) {
        return mert_wav_look(in->from, e);
    }
    if (!(in->pipe = mert_ogg_pipe_new(in->from, &in->ogg, e)))
        return -1;
    in->io = mert_ogg_pipe_next(in->pipe, e);
    return in->io ? 0 : -1;
}

/* Needed because FFmpeg skips damaged Ogg pages with only a message, decodes the links of a chained file with the state
 * of the previous link, and trims some streams of few pages wrongly. */
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

int mert_input_next_link(mert_input *in, mert_error *e)
{
    mert_error why;
    if (in->pipe)
        mert_input_take_pipe(in);
    if (in->keep >= 0 && in->keep < INT64_MAX / 2 && in->ogg.n && in->given < in->skip + in->keep)
        return mert_fail(e, "the Ogg pages count %" PRId64 " samples, the decoder gives %" PRId64, in->skip + in->keep,
                         in->given);
    if (in->pipe ? !mert_ogg_pipe_more(in->pipe) : in->link + 1 >= in->ogg.n)
        return 0;
    in->link++;
    if (!open_link(in, &why))
        return 1;
    in->unreadable = 1;
    /* If the link is damaged, that is the better message. */
    return mert_fail(e, "%s", in->ogg.fault_at >= 0 && in->link == in->ogg.n - 1 ? in->ogg.fault.text : why.text);
}

/* ---- MP3 ---- */

/* FFmpeg finds the info frame only directly after the tags, and ignores it if many bytes follow the last frame. So
 * FFmpeg gets only the frames, unless their number differs from the info frame: then the file may be several files,
 * joined. */
static int follow_mp3(mert_input *in, mert_error *e)
{
    mert_mp3 m;
    int64_t length;
    int got = mert_mp3_read(in->path, &m, e), cut, few;
    if (got < 0)
        return -1;
    if (!got || m.told < 1 || m.frames > m.told)
        return 0;
    cut = m.frames < m.told && m.told_bytes > m.size - m.begin;
    few = (m.told - m.frames) * m.samples > m.rate / 4; /* some encoders declare up to a quarter of a second too much */
    if (cut || few)
        mert_fail(&in->whole.cut, "the frame in front promises %" PRId64 " frames, %" PRId64 " are there", m.told,
                  m.frames);
    if ((m.begin != m.head || m.end != m.size) && mert_input_open_span(in, m.begin, cut ? m.size : m.end, e))
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

/* ---- all ---- */

/* Looks for packets of the index that are beyond the end of the file. */
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

/* Needed because FFmpeg reads most truncated files without an error. */
int mert_input_follow(mert_input *in, mert_error *e)
{
    const char *name = in->format->iformat->name;
    if (in->pipe)
        mert_input_take_pipe(in);
    if (!(in->io->seekable & AVIO_SEEKABLE_NORMAL))
        return 0;
    if (!strcmp(name, "ogg"))
        return follow_ogg(in, e);
    if (!strcmp(name, "mp3"))
        return follow_mp3(in, e);
    if (mert_whole_check(name, in->path, &in->whole, e))
        return -1;
    if (!strncmp(name, "mov,", 4))
        check_index(in, avio_size(in->io));
    if (in->whole.keep >= 0)
        keep_only(in, in->whole.skip, in->whole.keep);
    return 0;
}

static int begins_as_ogg(const char *path)
{
    char begin[4] = "";
    return mert_place_head(path, begin, 4) == 4 && !memcmp(begin, "OggS", 4);
}

void mert_input_say_better(mert_input *in, mert_error *e)
{
    mert_error why;
    const char *name;
    int64_t front;
    if (in->ogg.fault_at < 0 && in->from) /* a pipe is not read again */
        return;
    if (in->ogg.fault_at < 0 && begins_as_ogg(in->path))
        (void)!mert_ogg_read(in->path, &in->ogg, &why);
    if (in->ogg.fault_at >= 0)
        mert_fail(e, "%s", in->ogg.fault.text);
    else if (mert_mp3_is_free_format(in->path))
        mert_fail(e, "free-format MP3 is not read by FFmpeg");
    else if ((front = mert_front(in->path, &name)) > 0)
        mert_fail_in(e, "%" PRId64 " bytes of something else come before %s (tail -c +%" PRId64 " gives it)",
                     front, name, front + 1);
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

void mert_input_say_empty(const mert_input *in, mert_error *e)
{
    if (in->stream->codecpar->codec_id == AV_CODEC_ID_FLAC && in->io->seekable & AVIO_SEEKABLE_NORMAL &&
        mert_flac_bits(in->path) == 32)
        mert_fail(e, "32-bit FLAC is not known to this FFmpeg (%s)", av_version_info());
    else
        mert_fail(e, "there are no samples in it");
}
