#define _GNU_SOURCE /* fopencookie */
#include "libcommon/train/data/corpus.h"

#include "formats/array.h"
#include "libcommon/base/pool.h"
#include "libcommon/dsp/pcm.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static int read_item(const mert_corpus *c, int64_t item, mts_reader *r, int64_t first, int64_t n, float *to,
                     mert_error *e)
{
    mts_entry entry = {.offset = c->items[item].offset};
    if (mts_reader_seek(r, &entry) || mts_next(r) != MTS_RECORD)
        return mert_fail(e, "%s: %s", mert_corpus_key(c, item), mts_reader_error(r));
    return read_chunks(r, first, n, to, e) || check_finite(to, first, n, e) ? -1 : 0;
}

/* ---- by the threads of the pool ---- */

enum { VIEW_BUFFER = 1 << 16 };

/* A place of its own in a file that others read, too. */
typedef struct view {
    int fd;
    off64_t at;
} view;

/* What one worker reads: the file that it read last stays open. */
struct mert_corpus_worker {
    const struct mert_corpus_file *file; /* NULL: none */
    view view;
    FILE *stream;
    mts_reader *reader;
};

static ssize_t view_read(void *cookie, char *to, size_t n)
{
    view *v = cookie;
    ssize_t got = pread(v->fd, to, n, v->at);
    v->at += got > 0 ? got : 0;
    return got;
}

static int view_seek(void *cookie, off64_t *to, int whence)
{
    view *v = cookie;
    *to += whence == SEEK_CUR ? v->at : 0;
    if (whence == SEEK_END || *to < 0) /* nobody asks for the end, which would move the descriptor's own place */
        return -1;
    v->at = *to;
    return 0;
}

static void worker_close(struct mert_corpus_worker *w)
{
    mts_reader_close(w->reader);
    if (w->stream)
        fclose(w->stream);
    *w = (struct mert_corpus_worker){.file = NULL};
}

static int worker_open(struct mert_corpus_worker *w, const struct mert_corpus_file *f)
{
    static const cookie_io_functions_t of = {.read = view_read, .seek = view_seek};
    if (w->file == f && w->reader)
        return 0;
    worker_close(w);
    w->view = (view){.fd = fileno(f->stream)};
    if (!(w->stream = fopencookie(&w->view, "r", of)) || setvbuf(w->stream, NULL, _IOFBF, VIEW_BUFFER) ||
        !(w->reader = mts_reader_open(w->stream, f->name))) {
        worker_close(w);
        return -1;
    }
    w->file = f;
    return 0;
}

typedef struct reading {
    const mert_corpus *c;
    struct mert_corpus_worker *workers;
    mert_corpus_crop *crops;
} reading;

static void read_crop(void *arg, int64_t i, int worker)
{
    const reading *h = arg;
    struct mert_corpus_worker *w = &h->workers[worker];
    mert_corpus_crop *x = &h->crops[i];
    int64_t item = x->item;
    const mert_corpus *c = mert_corpus_owner(h->c, &item);
    const struct mert_corpus_file *f = &c->files[c->items[item].file];
    if (worker_open(w, f))
        x->bad = mert_fail(&x->why, "%s: out of memory", f->name);
    else if ((x->bad = read_item(c, item, w->reader, x->first, x->n, x->to, &x->why)))
        worker_close(w); /* a reader that failed stays failed: the next item gets a new one */
}

int mert_corpus_read(mert_corpus *c, mert_corpus_crop *crops, int64_t n, mert_error *e)
{
    int workers = mert_pool_threads();
    if (c->nworkers < workers) {
        mert_corpus_read_end(c);
        if (!(c->workers = calloc((size_t)workers, sizeof *c->workers)))
            return mert_fail(e, "out of memory");
        c->nworkers = workers;
    }
    mert_pool_run(n, read_crop, &(reading){c, c->workers, crops});
    return 0;
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

void mert_corpus_read_end(mert_corpus *c)
{
    for (int i = 0; i < c->nworkers; i++)
        worker_close(&c->workers[i]);
    free(c->workers);
    c->workers = NULL;
    c->nworkers = 0;
}
