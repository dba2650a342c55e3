#include "libcommon/train/data/corpus.h"

#include "formats/array.h"
#include "libcommon/base/pool.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/train/data/decoders.h"
#include "libcommon/train/data/open_files.h"
#include "libcommon/train/data/records.h"

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

const char *mert_corpus_key(const mert_corpus *c, int64_t item)
{
    c = mert_corpus_owner(c, &item);
    return c->parts[c->items[item].part].manifest.rows[c->items[item].row].path;
}

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
        int64_t labels = c->items[item].labels, first = 0, frames;
        __int128 over, under = (__int128)stride * b->rate_num;
        if (labels < 0)
            labels = mert_corpus_part_count(part_of(c, item), k, c->items[item].row);
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

/* Reads the open record's samples from `first` on; seeks past earlier chunks. */
static int read_chunks(mts_reader *r, int64_t first, int64_t n, float *to, mert_error *e)
{
    int64_t done = 0;
    if (mts_jump_to(r, first))
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

/* ---- by the threads of the pool ---- */

typedef struct reading {
    const mert_corpus *c;
    mert_open_files *files;
    mert_corpus_crop *crops;
} reading;

static void read_crop(void *arg, int64_t i, int thread)
{
    const reading *h = arg;
    mert_corpus_crop *x = &h->crops[i];
    int64_t item = x->item;
    const mert_corpus *c = mert_corpus_owner(h->c, &item);
    const mert_corpus_item *of = &c->items[item];
    const char *name;
    mts_reader *r;
    if (c->config.in_place)
        return;
    name = c->files[of->file];
    r = mert_open_files_reader(h->files, thread, name, &x->why);
    x->bad = !r || mert_records_seek(r, name, of->offset, mert_corpus_key(c, item), of->samples, &x->why) ||
                     read_chunks(r, x->first, x->n, x->to, &x->why) || check_finite(x->to, x->first, x->n, &x->why)
                 ? -1
                 : 0;
    if (x->bad)
        mert_open_files_drop(h->files, thread);
}

/* ---- in place ---- */

static int in_place(const mert_corpus *c, const mert_corpus_crop *x)
{
    int64_t item = x->item;
    return mert_corpus_owner(c, &item)->config.in_place;
}

/* What a decoder is asked for. */
static int describe(const mert_corpus *c, const mert_corpus_crop *x, mert_decoding *to, mert_error *e)
{
    int64_t item = x->item;
    const mert_corpus_item *of;
    c = mert_corpus_owner(c, &item);
    of = &c->items[item];
    *to = (mert_decoding){.path = mert_manifest_item(&c->parts[of->part].manifest, of->row),
                          .whole = of->samples,
                          .first = x->first,
                          .n = x->n,
                          .to = x->to};
    return to->path ? 0 : mert_fail(e, "out of memory");
}

static int decode_crops(mert_corpus *c, mert_corpus_crop *crops, int64_t n, mert_error *e)
{
    mert_decoding *work;
    int64_t wanted = 0, k = 0;
    int bad = 0;
    for (int64_t i = 0; i < n; i++)
        wanted += in_place(c, &crops[i]);
    if (!wanted)
        return 0;
    if (!c->decoders && !(c->decoders = mert_decoders_new(mert_pool_threads(), c->config.sample_rate,
                                                         c->config.patience, e)))
        return -1;
    if (!(work = mert_array_zeroed(wanted, sizeof *work)))
        return mert_fail(e, "out of memory");
    for (int64_t i = 0; !bad && i < n; i++)
        if (in_place(c, &crops[i]))
            bad = describe(c, &crops[i], &work[k++], e);
    bad = bad || mert_decoders_run(c->decoders, work, wanted, e);
    for (int64_t i = k = 0; i < n; i++)
        if (in_place(c, &crops[i])) {
            crops[i].bad = work[k].bad;
            crops[i].why = work[k].why;
            free(work[k++].path);
        }
    free(work);
    return bad ? -1 : 0;
}

int mert_corpus_read(mert_corpus *c, mert_corpus_crop *crops, int64_t n, mert_error *e)
{
    int threads = mert_pool_threads();
    if (c->open_files && mert_open_files_threads(c->open_files) < threads) {
        mert_open_files_free(c->open_files);
        c->open_files = NULL;
    }
    if (!c->open_files && !(c->open_files = mert_open_files_new(threads)))
        return mert_fail(e, "out of memory");
    mert_pool_run(n, read_crop, &(reading){c, c->open_files, crops});
    return decode_crops(c, crops, n, e);
}

int mert_corpus_audio(mert_corpus *c, int64_t item, int64_t first, int64_t n, float *to, mert_error *e)
{
    mert_corpus_crop one = {.item = item, .first = first, .n = n, .to = to};
    if (mert_corpus_read(c, &one, 1, e))
        return -1;
    if (one.bad && e)
        *e = one.why;
    return one.bad;
}
