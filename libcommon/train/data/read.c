#include "libcommon/train/data/corpus.h"

#include "formats/array.h"
#include "libcommon/dsp/pcm.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- costs of guesses ---- */

double mert_corpus_entropy(const mert_corpus *c, int k)
{
    const mert_codebook_labels *b = &c->codebooks[k];
    double bits = 0;
    for (int64_t v = 0; v < b->classes; v++)
        if (b->counts[v])
            bits -= (double)b->counts[v] * log2((double)b->counts[v] / (double)b->total);
    return b->total ? bits / (double)b->total : 0;
}

double mert_corpus_cross_entropy(const mert_corpus *model, const mert_corpus *on, int k)
{
    const mert_codebook_labels *m = &model->codebooks[k], *b = &on->codebooks[k];
    double bits = 0;
    for (int64_t v = 0; v < b->classes; v++)
        if (b->counts[v])
            bits -= (double)b->counts[v] * log2((double)(m->counts[v] + 1) / (double)(m->total + m->classes));
    return b->total ? bits / (double)b->total : 0;
}

/* ---- reading ---- */

static int64_t round_half_even(__int128 over, __int128 under)
{
    __int128 whole = over / under, twice = 2 * (over % under);
    return (int64_t)(whole + (twice > under || (twice == under && whole % 2)));
}

/* The index of the label for frame t of a crop that begins at sample `start`. */
static int64_t label_at(const mert_corpus *c, const mert_codebook_labels *b, int64_t start, int64_t t)
{
    __int128 per_sample = (__int128)c->config.sample_rate * b->rate_den;
    if (c->config.jitter)
        return round_half_even((__int128)start * b->rate_num, per_sample) +
               (int64_t)((__int128)t * c->config.stride * b->rate_num / per_sample);
    return (int64_t)((__int128)(start / c->config.stride + t) * c->config.stride * b->rate_num / per_sample);
}

static const mert_corpus_part *part_of(const mert_corpus *c, int64_t item)
{
    return &c->parts[c->items[item].part];
}

int64_t mert_corpus_frames(const mert_corpus *c, int64_t item, int64_t start)
{
    int64_t fewest = INT64_MAX, stride = c->config.stride;
    c = mert_corpus_owner(c, &item);
    for (int k = 0; k < c->K; k++) {
        const mert_codebook_labels *b = &c->codebooks[k];
        int64_t labels = c->labelled[item * c->K + k], first = 0, frames;
        __int128 over, under = (__int128)stride * b->rate_num;
        if (c->config.jitter)
            labels -= label_at(c, b, start, 0);
        else
            first = start / stride;
        over = (__int128)labels * c->config.sample_rate * b->rate_den;
        frames = labels > 0 ? (int64_t)((over + under - 1) / under) - first : 0;
        fewest = frames < fewest ? frames : fewest;
    }
    return fewest;
}

int mert_corpus_labels(const mert_corpus *c, int64_t item, int k, int64_t start, int64_t T, int32_t *to, mert_error *e)
{
    const mert_codebook_labels *b;
    int64_t begin, n;
    int32_t *room = to;
    int bad;
    c = mert_corpus_owner(c, &item);
    b = &c->codebooks[k];
    begin = label_at(c, b, start, 0);
    n = label_at(c, b, start, T - 1) - begin + 1;
    if (n > T && !(room = mert_array(n, sizeof *room)))
        return mert_fail(e, "%s: out of memory", b->path);
    bad = mert_corpus_part_read(part_of(c, item), k, c->items[item].row, begin, n, room, e);
    /* If there are fewer labels than frames, spreads them in place from the end, so that no label is overwritten before
     * it is used. */
    if (!bad && room == to)
        for (int64_t t = T - 1; t >= 0; t--)
            to[t] = to[label_at(c, b, start, t) - begin];
    else if (!bad)
        for (int64_t t = 0; t < T; t++)
            to[t] = room[label_at(c, b, start, t) - begin];
    if (room != to)
        free(room);
    return bad;
}

static void samples_from(const mts_record *r, const void *data, int64_t skip, int64_t n, float *to)
{
    if (r->dtype == MTS_F32) {
        memcpy(to, (const float *)data + skip, (size_t)n * sizeof *to);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        to[i] = mert_pcm_i16(data, skip + i);
}

/* Reads the open record's samples from `first` on; earlier chunks are not decompressed. */
static int read_chunks(mts_reader *r, int64_t first, int64_t n, float *to, mert_error *e)
{
    int64_t done = 0;
    if (mts_skip_to(r, first))
        return mert_fail(e, "%s", mts_reader_error(r));
    while (done < n) {
        int event = mts_next(r);
        if (event == MTS_CHUNK) {
            int64_t size = mts_reader_frames(r), skip = first + done - mts_reader_first(r), take;
            if (skip >= size)
                continue;
            take = size - skip < n - done ? size - skip : n - done;
            samples_from(mts_reader_record(r), mts_reader_data(r), skip, take, to + done);
            done += take;
        } else if (event == MTS_FAILED || event == MTS_DAMAGE) {
            return mert_fail(e, "%s", mts_reader_failure(r)->reason);
        } else {
            return mert_fail(e, "%s",
                             event == MTS_ERROR ? mts_reader_error(r) : "the record is shorter than the index said");
        }
    }
    return 0;
}

static int check_finite(const float *x, int64_t first, int64_t n, mert_error *e)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return mert_fail(e, "sample %" PRId64 " is not a finite number", first + i);
    return 0;
}

int mert_corpus_audio(const mert_corpus *c, int64_t item, int64_t first, int64_t n, float *to, mert_error *e)
{
    const mert_corpus_item *i;
    struct mert_corpus_file *f;
    mts_entry entry;
    int bad;
    c = mert_corpus_owner(c, &item);
    i = &c->items[item];
    f = &c->files[i->file];
    entry = (mts_entry){.offset = i->offset};
    if (!f->reader)
        return mert_fail(e, "%s: out of memory", f->name);
    if (mts_reader_seek(f->reader, &entry) || mts_next(f->reader) != MTS_RECORD)
        bad = mert_fail(e, "%s: %s", mert_corpus_key(c, item), mts_reader_error(f->reader));
    else
        bad = read_chunks(f->reader, first, n, to, e) || check_finite(to, first, n, e);
    /* A failed reader cannot be used again: the next item gets a new one. */
    if (bad) {
        mts_reader_close(f->reader);
        f->reader = mts_reader_open(f->stream, f->name);
    }
    return bad;
}
