#include "libcommon/dsp/cqt_plan.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* GATHER: blocks of level 0 that are collected before they are computed. RUN: blocks per task. */
enum { GATHER = 16, RUN = 4 };

/* Larger than any number of frames or blocks, and sums with it do not overflow. */
static const int64_t UNKNOWN = INT64_MAX / 2;

/* The state of one level. Positions are in the level's samples; block 0 begins at `origin`. */
typedef struct level_state {
    float *in;
    int64_t origin, first, have, room; /* in[0] is sample `first`; `have` samples are in it */
    int64_t next;                      /* the first block not done */
    int64_t end;                       /* number of blocks needed; UNKNOWN until the signal's end */
    int ready, ready_room;             /* blocks whose spectra are computed and not yet used */
    float *spectra;                    /* [ready_room][even, odd][count][2] */
} level_state;

struct mert_cqt {
    const mert_cqt_plan *plan;
    int pooled, workers;
    level_state level[CQT_LEVELS];
    float **scratch;          /* one per worker */
    float *rows;              /* [rows_room][width]: frames from `emitted` on, some bins still missing */
    int64_t rows_room, emitted, samples, total; /* total: frames; UNKNOWN until the end */
};

static int64_t origin_of(const mert_cqt_plan *p, const cqt_level *v)
{
    return -(int64_t)(v->lead + v->left) * p->config.hop / v->step;
}

static size_t scratch_size(const mert_cqt_plan *p)
{
    size_t most = 0;
    for (int i = 0; i < p->levels; i++) {
        const cqt_level *v = &p->level[i];
        size_t transform = 3 * ((size_t)v->n + 64), lanes = (size_t)v->frames * (2 * RUN + 3) * CQT_LANES;
        most = transform > most ? transform : most;
        most = lanes > most ? lanes : most;
    }
    return most;
}

void mert_cqt_reset(mert_cqt *q)
{
    for (int i = 0; i < q->plan->levels; i++) {
        level_state *s = &q->level[i];
        /* Before the signal there are zeros: level 0 begins with them; the other levels get them from the level
         * above. */
        s->origin = s->first = origin_of(q->plan, &q->plan->level[i]);
        s->have = i == 0 ? -s->origin : 0;
        if (i > 0) {
            const cqt_level *above = &q->plan->level[i - 1];
            int64_t begins = -(int64_t)above->lead * q->plan->config.hop / q->plan->level[i].step;
            s->have = begins > s->first ? begins - s->first : 0;
        }
        memset(s->in, 0, (size_t)s->have * sizeof *s->in);
        s->next = 0;
        s->ready = 0;
        s->end = UNKNOWN;
    }
    q->emitted = q->samples = 0;
    q->total = UNKNOWN;
}

mert_cqt *mert_cqt_new(const mert_cqt_plan *p, int pooled, mert_error *e)
{
    mert_cqt *q = calloc(1, sizeof *q);
    int64_t incoming;
    if (!q) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    q->plan = p;
    q->pooled = pooled;
    q->workers = pooled ? mert_pool_threads() : 1;
    incoming = (int64_t)GATHER * p->level[0].advance * p->config.hop;
    for (int i = 0; i < p->levels; i++) {
        const cqt_level *v = &p->level[i];
        level_state *s = &q->level[i];
        int64_t step = (int64_t)v->advance * p->config.hop / v->step;
        /* The samples left from before are fewer than a block and a step; the ready blocks of the level above add to
         * them. */
        s->room = v->n + step + incoming;
        s->ready_room = (int)(s->room / step + 1);
        incoming = s->ready_room * step / 4;
        s->in = mert_dsp_alloc((size_t)s->room, sizeof *s->in, e);
        s->spectra = mert_dsp_alloc((size_t)s->ready_room * 4 * (size_t)v->count, sizeof *s->spectra, e);
        if (!s->in || !s->spectra)
            goto failed;
    }
    q->scratch = mert_array_zeroed(q->workers, sizeof *q->scratch);
    if (!q->scratch) {
        mert_fail(e, "out of memory");
        goto failed;
    }
    for (int w = 0; w < q->workers; w++)
        if (!(q->scratch[w] = mert_dsp_alloc(scratch_size(p), sizeof **q->scratch, e)))
            goto failed;
    mert_cqt_reset(q);
    return q;
failed:
    mert_cqt_free(q);
    return NULL;
}

void mert_cqt_free(mert_cqt *q)
{
    if (!q)
        return;
    for (int i = 0; i < q->plan->levels; i++) {
        free(q->level[i].in);
        free(q->level[i].spectra);
    }
    for (int w = 0; q->scratch && w < q->workers; w++)
        free(q->scratch[w]);
    free(q->scratch);
    free(q->rows);
    free(q);
}

/* ---- samples to spectra, and to the next level's samples ---- */

typedef struct transform_job {
    mert_cqt *q;
    int level;
} transform_job;

/* Points j and j + 1 of a spectrum (j even, below n) that is known at 0 .. n/2; the others are their mirror image. */
static void mirrored_pair(const float *x, int n, int j, float *to)
{
    const float *a = j <= n / 2 ? x + 2 * j : x + 2 * (n - j), *b = x + 2 * (n - j - 1);
    to[0] = a[0];
    to[1] = j <= n / 2 ? a[1] : -a[1];
    to[2] = b[0];
    to[3] = -b[1];
}

/* Copies the part of the spectrum that this level's groups use to its places (cqt_spectrum_place), periodically
 * continued: unchanged, and advanced by half a sample. n, frames and v->first are even. */
static void keep_spectrum(const cqt_level *v, const cqt_vector *vector, const float *x, float *even)
{
    int j = (v->first % v->n + v->n) % v->n, folds = v->count / v->frames;
    size_t step = 4 * (size_t)folds;
    for (int p = 0; p < folds; p++) {
        float *to = even + 4 * (size_t)p;
        if (j + v->frames <= v->n / 2) {
            for (const float *from = x + 2 * j, *end = from + 2 * v->frames; from < end; from += 4, to += step)
                memcpy(to, from, 4 * sizeof *to);
            j += v->frames;
            continue;
        }
        for (int m = 0; m < v->frames; m += 2, to += step, j = j + 2 == v->n ? 0 : j + 2) {
            if (j + 1 <= v->n / 2)
                memcpy(to, x + 2 * j, 4 * sizeof *to);
            else
                mirrored_pair(x, v->n, j, to);
        }
    }
    if (v->parities & 2)
        vector->advance(even, v->half, v->count, even + 2 * (size_t)v->count);
}

/* X * lowpass, folded to a quarter of its points. The filter is zero beyond n/4, so only the mirror image at n/4 is
 * added. */
static void decimate(const cqt_level *v, const float *x, float *folded)
{
    int quarter = v->n / 4;
    const float *h = v->lowpass;
    for (int m = 0; m <= quarter / 2; m++) {
        const float *a = x + 2 * m, *b = x + 2 * (quarter - m);
        folded[2 * m] = h[m] * a[0] + h[quarter - m] * b[0];
        folded[2 * m + 1] = h[m] * a[1] - h[quarter - m] * b[1];
    }
}

/* Task i: transforms the i-th block that is complete. */
static void transform_block(void *arg, int64_t i, int worker)
{
    const transform_job *job = arg;
    mert_cqt *q = job->q;
    const cqt_level *v = &q->plan->level[job->level];
    level_state *s = &q->level[job->level], *below = s + 1;
    int64_t hop = q->plan->config.hop, block = s->next + i;
    int64_t start = s->origin + block * v->advance * hop / v->step;
    size_t part = ((size_t)v->n + 64) & ~(size_t)15;
    float *time = q->scratch[worker], *spectrum = time + part;
    memcpy(time, s->in + (start - s->first), (size_t)v->n * sizeof *time);
    mert_rfft_forward(v->dft, time, spectrum);
    if (v->groups)
        keep_spectrum(v, q->plan->vector, spectrum, s->spectra + (size_t)i * 4 * (size_t)v->count);
    if (v->quarter) {
        int64_t count = v->advance * hop / (4 * v->step), skip = v->left * hop / (4 * v->step);
        int64_t at = (block * v->advance - v->lead) * hop / (4 * v->step) - below->first, lost = at < 0 ? -at : 0;
        float *folded = spectrum + part;
        decimate(v, spectrum, folded);
        mert_rfft_backward(v->quarter, folded, time);
        if (lost < count)
            memcpy(below->in + at + lost, time + skip + lost, (size_t)(count - lost) * sizeof *time);
    }
}

/* ---- spectra to rows ---- */

static float formed(const mert_cqt_config *c, float magnitude)
{
    switch (c->form) {
    case MERT_CQT_LOG: return logf(magnitude + (float)c->log_floor);
    case MERT_CQT_LOG_POWER: return log10f(1 + 1e4f * magnitude * magnitude);
    default: return magnitude;
    }
}

static void put_magnitudes(const mert_cqt *q, const cqt_group *g, const float *m, int64_t frames, float *out)
{
    const mert_cqt_config *c = &q->plan->config;
    for (int64_t i = 0; i < frames; i++, m += CQT_LANES, out += c->bins)
        for (int l = 0; l < g->lanes; l++)
            out[g->bin[l]] = formed(c, m[l]);
}

static void put_complex(const mert_cqt *q, const cqt_group *g, const float *z, int64_t frames, float *out)
{
    for (int64_t i = 0; i < frames; i++, z += 2 * CQT_LANES, out += 2 * q->plan->config.bins)
        for (int l = 0; l < g->lanes; l++) {
            out[2 * g->bin[l]] = z[l];
            out[2 * g->bin[l] + 1] = z[CQT_LANES + l];
        }
}

/* A bin's values in a block have rounding errors of about 1e-7 of the largest value, which are visible in a logarithm
 * before a sound begins or after it ends. Such values are computed again by their definition. z: all frames of the
 * block; m: magnitudes of `count` frames from the block's frame `first` on. */
static void hear_quiet_frames(const mert_cqt *q, const cqt_level *v, const cqt_group *g, int64_t block, const float *z,
                              float *m, int first, int64_t count)
{
    const mert_cqt_config *c = &q->plan->config;
    const level_state *s = &q->level[v - q->plan->level];
    const float *x = s->in + (s->origin + block * v->advance * c->hop / v->step - s->first);
    float most[CQT_LANES] = {0};
    for (int i = 0; i < v->frames; i++)
        for (int l = 0; l < CQT_LANES; l++) {
            const float *re = z + (size_t)i * 2 * CQT_LANES + l;
            most[l] = fmaxf(most[l], re[0] * re[0] + re[CQT_LANES] * re[CQT_LANES]);
        }
    for (int l = 0; l < g->lanes; l++) {
        double noise = 3e-7 * sqrt((double)most[l]), least = noise / 0.03 - c->log_floor;
        for (int64_t i = 0; i < count; i++)
            if (m[i * CQT_LANES + l] < least)
                m[i * CQT_LANES + l] = (float)cqt_magnitude_at(c, g->bin[l], v->step, x, v->n,
                                                               (double)((first + i) * c->hop) / v->step);
    }
}

/* Computes the rows of ready block `block`, which is folded at z. spare: frames * 3 lanes. */
static void finish_block(mert_cqt *q, const cqt_level *v, const cqt_group *g, int64_t block, float *z, float *spare)
{
    const cqt_vector *vector = q->plan->vector;
    size_t size = (size_t)v->frames * 2 * CQT_LANES, width = (size_t)mert_cqt_width(&q->plan->config);
    int64_t frame = block * v->advance - v->lead, from = frame < 0 ? -frame : 0, count = v->advance;
    float *whole;
    if (q->total - frame < count)
        count = q->total - frame;
    if (from >= count)
        return;
    whole = vector->inverse(&v->lane_fft, z, spare);
    z = whole + (size_t)(v->left + from) * 2 * CQT_LANES;
    count -= from;
    if (q->plan->config.form == MERT_CQT_COMPLEX) {
        vector->rotate(z, (int)count, g->phase);
        put_complex(q, g, z, count, q->rows + (size_t)(frame + from - q->emitted) * width);
    } else {
        vector->magnitude(z, (int)count, spare + size);
        if (q->plan->config.form == MERT_CQT_LOG)
            hear_quiet_frames(q, v, g, block, whole, spare + size, (int)(v->left + from), count);
        put_magnitudes(q, g, spare + size, count, q->rows + (size_t)(frame + from - q->emitted) * width);
    }
}

/* Task i: one group and up to RUN blocks of one level, so that the group's table is read once for all of them. */
static void run_group(void *arg, int64_t i, int worker)
{
    mert_cqt *q = arg;
    for (int level = 0; level < q->plan->levels; level++) {
        const cqt_level *v = &q->plan->level[level];
        const level_state *s = &q->level[level];
        size_t size = (size_t)v->frames * 2 * CQT_LANES, stride = 4 * (size_t)v->count;
        int64_t runs = (s->ready + RUN - 1) / RUN, tasks = runs * v->groups, first = i % (runs ? runs : 1) * RUN;
        const cqt_group *g;
        float *z = q->scratch[worker], *spectra;
        int blocks = s->ready - first < RUN ? (int)(s->ready - first) : RUN;
        if (i >= tasks) {
            i -= tasks;
            continue;
        }
        g = &v->group[i / runs];
        spectra = s->spectra + (size_t)first * stride + 2 * (size_t)(g->odd * v->count);
        q->plan->vector->fold(g->response, spectra, stride, blocks, g->rows, v->frames, v->count, g->first - v->first,
                              z);
        for (int b = 0; b < blocks; b++)
            finish_block(q, v, g, s->next + first + b, z + b * size, z + RUN * size);
        return;
    }
}

static void run(const mert_cqt *q, int64_t n, void (*task)(void *, int64_t, int), void *arg)
{
    if (q->pooled)
        mert_pool_run(n, task, arg);
    else
        for (int64_t i = 0; i < n; i++)
            task(arg, i, 0);
}

/* ---- streaming ---- */

/* The number of frames whose bins are all computed. */
static int64_t complete_frames(const mert_cqt *q)
{
    int64_t least = q->total;
    for (int i = 0; i < q->plan->levels; i++) {
        const cqt_level *v = &q->plan->level[i];
        int64_t done = q->level[i].next * v->advance - v->lead;
        if (v->groups && done < least)
            least = done;
    }
    return least;
}

static int make_room_for_rows(mert_cqt *q, mert_error *e)
{
    size_t width = (size_t)mert_cqt_width(&q->plan->config);
    int64_t last = q->emitted;
    float *more;
    for (int i = 0; i < q->plan->levels; i++) {
        int64_t end = (q->level[i].next + q->level[i].ready) * q->plan->level[i].advance - q->plan->level[i].lead;
        last = end > last ? end : last;
    }
    last = last > q->total ? q->total : last;
    if (last - q->emitted <= q->rows_room)
        return 0;
    more = mert_array_resize(q->rows, last - q->emitted, width * sizeof *more);
    if (!more)
        return mert_fail(e, "out of memory");
    q->rows = more;
    q->rows_room = last - q->emitted;
    return 0;
}

/* Transforms every block whose samples are complete; returns their number. */
static int transform_level(mert_cqt *q, int level)
{
    const cqt_level *v = &q->plan->level[level];
    level_state *s = &q->level[level], *below = s + 1;
    int64_t hop = q->plan->config.hop, step = v->advance * hop / v->step;
    int64_t blocks = (s->first + s->have - v->n - s->origin) / step + 1 - s->next;
    if (s->first + s->have - v->n < s->origin)
        blocks = 0;
    blocks = mert_smaller(blocks, s->end - s->next);
    s->ready = (int)(blocks < 0 ? 0 : blocks > s->ready_room ? s->ready_room : blocks);
    if (!s->ready)
        return 0;
    run(q, s->ready, transform_block, &(transform_job){q, level});
    if (v->quarter) {
        int64_t end = ((s->next + s->ready) * v->advance - v->lead) * hop / (4 * v->step);
        below->have = end > below->first ? end - below->first : below->have;
    }
    return s->ready;
}

/* When the signal's end is known: appends the zeros that the level's last block needs. */
static void pad_level(mert_cqt *q, int level)
{
    const cqt_level *v = &q->plan->level[level];
    level_state *s = &q->level[level];
    int64_t wanted, missing;
    if (s->end == UNKNOWN || (level > 0 && s[-1].next + s[-1].ready < s[-1].end))
        return;
    wanted = s->origin + (s->end - 1) * v->advance * q->plan->config.hop / v->step + v->n;
    missing = wanted - (s->first + s->have);
    if (missing > s->room - s->have)
        missing = s->room - s->have;
    if (missing > 0) {
        memset(s->in + s->have, 0, (size_t)missing * sizeof *s->in);
        s->have += missing;
    }
}

/* Removes samples before the next block. */
static void forget(mert_cqt *q, int level)
{
    const cqt_level *v = &q->plan->level[level];
    level_state *s = &q->level[level];
    int64_t keep;
    s->next += s->ready;
    s->ready = 0;
    keep = s->origin + s->next * v->advance * q->plan->config.hop / v->step - s->first;
    if (keep > s->have)
        keep = s->have;
    if (keep > 0) {
        memmove(s->in, s->in + keep, (size_t)(s->have - keep) * sizeof *s->in);
        s->first += keep;
        s->have -= keep;
    }
}

/* Computes everything that is possible with the samples so far. */
static int advance(mert_cqt *q, mert_cqt_emit emit, void *to, mert_error *e)
{
    size_t width = (size_t)mert_cqt_width(&q->plan->config);
    for (int busy = 1; busy;) {
        int64_t tasks = 0, done;
        busy = 0;
        for (int i = 0; i < q->plan->levels; i++) {
            pad_level(q, i);
            busy |= transform_level(q, i);
            tasks += (int64_t)q->plan->level[i].groups * ((q->level[i].ready + RUN - 1) / RUN);
        }
        if (!busy)
            break;
        if (make_room_for_rows(q, e))
            return -1;
        run(q, tasks, run_group, q);
        for (int i = 0; i < q->plan->levels; i++)
            forget(q, i);
        done = complete_frames(q) - q->emitted;
        if (done > 0) {
            if (emit(to, q->rows, done, e))
                return -1;
            memmove(q->rows, q->rows + (size_t)done * width, (size_t)(q->rows_room - done) * width * sizeof *q->rows);
            q->emitted += done;
        }
    }
    return 0;
}

int mert_cqt_push(mert_cqt *q, const float *pcm, int64_t n, mert_cqt_emit emit, void *to, mert_error *e)
{
    level_state *s = &q->level[0];
    while (n > 0) {
        int64_t take = mert_smaller(s->room - s->have, n);
        memcpy(s->in + s->have, pcm, (size_t)take * sizeof *pcm);
        s->have += take;
        q->samples += take;
        pcm += take;
        n -= take;
        if (s->have == s->room && advance(q, emit, to, e))
            return -1;
    }
    return 0;
}

/* Sets how many blocks each level must still compute: those that contain frames, and those whose samples the levels
 * below need. */
static void find_ends(mert_cqt *q)
{
    int64_t hop = q->plan->config.hop;
    q->total = mert_cqt_frames(&q->plan->config, q->samples);
    for (int i = q->plan->levels - 1; i >= 0; i--) {
        const cqt_level *v = &q->plan->level[i];
        level_state *s = &q->level[i];
        int64_t frames = v->groups ? q->total + v->lead : 1;
        if (v->quarter) {
            const cqt_level *w = v + 1;
            /* The end of the samples that level i + 1 uses, as far as they are not zero. */
            int64_t seen = s[1].origin + (s[1].end - 1) * w->advance * hop / w->step + w->n;
            int64_t sounds = (q->samples + w->extent) / w->step + 1;
            int64_t needed = (seen < sounds ? seen : sounds) * w->step / hop + 1 + v->lead;
            frames = needed > frames ? needed : frames;
        }
        s->end = (frames + v->advance - 1) / v->advance;
        if (s->end < s->next)
            s->end = s->next;
    }
}

int mert_cqt_finish(mert_cqt *q, mert_cqt_emit emit, void *to, mert_error *e)
{
    int bad;
    find_ends(q);
    bad = advance(q, emit, to, e);
    mert_cqt_reset(q);
    return bad;
}

static int copy_rows(void *to, const float *rows, int64_t n, mert_error *e)
{
    struct { float *out; size_t width; } *copy = to;
    (void)e;
    memcpy(copy->out, rows, (size_t)n * copy->width * sizeof *rows);
    copy->out += (size_t)n * copy->width;
    return 0;
}

int mert_cqt_whole(mert_cqt *q, const float *pcm, int64_t n, float *out, mert_error *e)
{
    struct { float *out; size_t width; } copy = {out, (size_t)mert_cqt_width(&q->plan->config)};
    mert_cqt_reset(q);
    return mert_cqt_push(q, pcm, n, copy_rows, &copy, e) || mert_cqt_finish(q, copy_rows, &copy, e) ? -1 : 0;
}
