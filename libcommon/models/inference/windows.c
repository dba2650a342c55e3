#include "libcommon/models/inference/windows.h"

#include <stdlib.h>
#include <string.h>

/* ---- chunker ---- */

struct mert_chunker {
    int64_t window, hop, stride, field;
    int64_t total;          /* samples of the clip so far */
    int64_t base, held;     /* pcm[0] is sample `base` of the clip; number of samples in pcm */
    int64_t next, end;      /* first frame of the next regular window; end of the last window that was returned, 0:
                               none */
    int64_t room;
    float *pcm;
};

mert_chunker *mert_chunker_new(int64_t window, int64_t hop, int64_t stride, int64_t field, mert_error *e)
{
    mert_chunker *c = calloc(1, sizeof *c);
    if (c) {
        *c = (mert_chunker){.window = window, .hop = hop, .stride = stride, .field = field};
        c->room = 2 * (window * stride +
                       field); /* twice what is needed, so that samples are moved once per window */
        c->pcm = malloc((size_t)c->room * sizeof *c->pcm);
    }
    if (!c || !c->pcm) {
        mert_chunker_free(c);
        mert_fail(e, "out of memory for windows of %lld frames", (long long)window);
        return NULL;
    }
    return c;
}

void mert_chunker_free(mert_chunker *c)
{
    if (!c)
        return;
    free(c->pcm);
    free(c);
}

void mert_chunker_begin(mert_chunker *c)
{
    c->total = c->base = c->held = c->next = c->end = 0;
}

int64_t mert_chunker_samples(const mert_chunker *c)
{
    return c->total;
}

static int64_t frames_so_far(const mert_chunker *c)
{
    return c->total < c->field ? 0 : (c->total - c->field) / c->stride + 1;
}

/* Discards samples that no later window needs. The next window begins at `next`, or, if the clip ends now, at its last
 * window. */
static void discard_old(mert_chunker *c)
{
    int64_t last = frames_so_far(c) - c->window, from;
    if (last > c->next)
        last = c->next;
    from = last > 0 ? last * c->stride : 0;
    if (from <= c->base)
        return;
    c->held -= from - c->base;
    memmove(c->pcm, c->pcm + (from - c->base), (size_t)c->held * sizeof *c->pcm);
    c->base = from;
}

int64_t mert_chunker_add(mert_chunker *c, const float *pcm, int64_t n)
{
    if (c->held == c->room)
        discard_old(c);
    if (n > c->room - c->held)
        n = c->room - c->held;
    memcpy(c->pcm + c->held, pcm, (size_t)n * sizeof *pcm);
    c->held += n;
    c->total += n;
    return n;
}

static void return_window(mert_chunker *c, int64_t first, int64_t n, mert_window *w)
{
    *w = (mert_window){.pcm = c->pcm + (first * c->stride - c->base), .n = n, .first = first};
    c->end = first + c->window;
}

int mert_chunker_next(mert_chunker *c, int ended, mert_window *w)
{
    int64_t T = frames_so_far(c), whole = (c->window - 1) * c->stride + c->field;
    /* The first window waits until there are more frames than it has, because a clip of one window is returned with all
     * its samples. */
    if (T >= c->next + c->window + (c->next == 0)) {
        return_window(c, c->next, whole, w);
        c->next += c->hop;
        return 1;
    }
    if (!ended || T < 1 || c->end >= T)
        return 0;
    if (T <= c->window)
        return_window(c, 0, c->total, w);
    else
        return_window(c, T - c->window, whole, w);
    return 1;
}

/* ---- overlap ---- */

struct mert_overlap {
    mert_join how;
    int64_t width, room;
    int64_t first, n;   /* the rows that are not passed on yet: of frames first .. first + n - 1 */
    float *rows;        /* [room, width] */
};

mert_overlap *mert_overlap_new(mert_join how, int64_t window, int64_t width, mert_error *e)
{
    mert_overlap *j = calloc(1, sizeof *j);
    if (j) {
        *j = (mert_overlap){.how = how, .width = width, .room = window};
        j->rows = malloc((size_t)(window * width) * sizeof *j->rows);
    }
    if (!j || !j->rows) {
        mert_overlap_free(j);
        mert_fail(e, "out of memory for windows of %lld frames", (long long)window);
        return NULL;
    }
    return j;
}

void mert_overlap_free(mert_overlap *j)
{
    if (!j)
        return;
    free(j->rows);
    free(j);
}

void mert_overlap_begin(mert_overlap *j)
{
    j->first = j->n = 0;
}

/* Joins the n shared rows of the later window with the rows that are waiting. */
static void blend(mert_overlap *j, const float *later, int64_t n)
{
    if (j->how == MERT_JOIN_CENTRE) {
        int64_t kept = (n + 1) / 2 * j->width;
        memcpy(j->rows + kept, later + kept, (size_t)(n * j->width - kept) * sizeof *later);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        float *x = j->rows + i * j->width, a = (float)(i + 1) / (float)(n + 1);
        const float *y = later + i * j->width;
        for (int64_t d = 0; d < j->width; d++)
            x[d] += a * (y[d] - x[d]);
    }
}

int mert_overlap_add(mert_overlap *j, int64_t first, const float *rows, int64_t n, mert_rows_sink *take, void *self,
                    mert_error *e)
{
    int64_t done = j->n ? first - j->first : 0, shared = j->n - done;
    if (done && take(self, j->rows, done, e))
        return -1;
    memmove(j->rows, j->rows + done * j->width, (size_t)(shared * j->width) * sizeof *rows);
    blend(j, rows, shared);
    memcpy(j->rows + shared * j->width, rows + shared * j->width, (size_t)((n - shared) * j->width) * sizeof *rows);
    j->first = first;
    j->n = n;
    return 0;
}

int mert_overlap_end(mert_overlap *j, mert_rows_sink *take, void *self, mert_error *e)
{
    int64_t n = j->n;
    j->n = 0;
    return n ? take(self, j->rows, n, e) : 0;
}
