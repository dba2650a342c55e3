/* What the model predicts for the beginnings of a few pieces, as a stream. */
#include "libcommon/train/session.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/base/integer.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/train/data/level.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the heads, on the host ---- */

typedef struct heads {
    const mert_config *c;
    int64_t P;                                /* outputs of the projection */
    mert_rows *projection;                    /* D -> P */
    mert_rows *classes[MERT_PREDICTED_MAX];   /* final_dim -> V: the label embeddings as unit vectors */
} heads;

static void free_heads(heads *h)
{
    mert_rows_free(h->projection);
    for (int k = 0; k < MERT_PREDICTED_MAX; k++)
        mert_rows_free(h->classes[k]);
}

/* A parameter, to be freed. NULL: out of memory, or the device failed. */
static float *fetch(mert_session *s, mert_ops *ops, const char *name, mert_error *e)
{
    const mert_parameter *p = mert_layout_find(&s->weights.layout, name);
    float *to = mert_array(p->n, sizeof *to);
    if (!to) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    ops->download(ops, to, mert_groups_weight(mert_trainer_groups(s->trainer), p->offset), (size_t)p->n * sizeof *to);
    if (!ops->wait(ops, e))
        return to;
    free(to);
    return NULL;
}

/* e [R, d] -> GLU(G e + g), in place. */
static int pass_glu(float *e, int64_t R, int64_t d, const float *G, const float *g)
{
    double wide[2];
    float *row = mert_array(d, sizeof *row);
    if (!row)
        return -1;
    for (int64_t r = 0; r < R; r++) {
        memcpy(row, e + r * d, (size_t)d * sizeof *row);
        for (int64_t i = 0; i < d; i++) {
            for (int half = 0; half < 2; half++) {
                wide[half] = g[half * d + i];
                for (int64_t j = 0; j < d; j++)
                    wide[half] += (double)G[(half * d + i) * d + j] * row[j];
            }
            e[r * d + i] = (float)(wide[0] / (1 + exp(-wide[1])));
        }
    }
    free(row);
    return 0;
}

static void to_unit(float *e, int64_t R, int64_t d)
{
    for (int64_t r = 0; r < R; r++, e += d) {
        double s = 0;
        for (int64_t i = 0; i < d; i++)
            s += (double)e[i] * e[i];
        for (int64_t i = 0; i < d && s > 0; i++)
            e[i] = (float)(e[i] / sqrt(s));
    }
}

static int take_heads(heads *h, mert_session *s, mert_ops *ops, mert_error *e)
{
    const mert_config *c = h->c = &s->weights.layout.config;
    int64_t d = c->final_dim, R = mert_trainer_embeddings(s->trainer), at = 0;
    float *projection = fetch(s, ops, "final_proj.weight", e), *bias = fetch(s, ops, "final_proj.bias", e);
    float *labels = fetch(s, ops, "label_embs_concat", e), *G = NULL, *g = NULL;
    int bad = !projection || !bias || !labels;
    h->P = d * (c->untied ? c->codebooks : 1);
    if (!bad && c->target_glu) {
        G = fetch(s, ops, "target_glu.0.weight", e);
        g = fetch(s, ops, "target_glu.0.bias", e);
        bad = !G || !g || (pass_glu(labels, R, d, G, g) && mert_fail(e, "out of memory"));
    }
    if (!bad) {
        to_unit(labels, R, d);
        h->projection = mert_rows_new(projection, c->width, h->P, c->width, bias);
        bad = !h->projection;
        for (int k = 0; !bad && k < c->codebooks; at += c->special_rows + c->classes[k++])
            bad = !(h->classes[k] = mert_rows_new(labels + (at + c->special_rows) * d, d, c->classes[k], d, NULL));
        if (bad)
            mert_fail(e, "out of memory");
    }
    free(projection), free(bias), free(labels), free(G), free(g);
    return bad ? -1 : 0;
}

/* The class with the largest cosine for each of T frames: hidden [T, D] -> to [k], `step` apart. */
static int most_probable(const heads *h, const float *hidden, int64_t T, int32_t *to, int64_t step, mert_error *e)
{
    const mert_config *c = h->c;
    int64_t most = 0;
    float *projected = mert_array(mert_array_count(T, h->P), sizeof *projected), *scores;
    for (int k = 0; k < c->codebooks; k++)
        most = mert_larger(most, c->classes[k]);
    scores = mert_array(mert_array_count(T, most), sizeof *scores);
    if (!projected || !scores) {
        free(projected), free(scores);
        return mert_fail(e, "out of memory");
    }
    mert_rows_pool(h->projection, hidden, c->width, T, projected, h->P, 0);
    for (int k = 0; k < c->codebooks; k++) {
        int64_t V = c->classes[k];
        mert_rows_pool(h->classes[k], projected + (c->untied ? k * c->final_dim : 0), h->P, T, scores, V, 0);
        for (int64_t t = 0; t < T; t++) {
            const float *row = scores + t * V;
            int32_t best = 0;
            for (int32_t v = 1; v < V; v++)
                if (row[v] > row[best])
                    best = v;
            to[t * step + k] = best;
        }
    }
    free(projected), free(scores);
    return 0;
}

/* ---- a piece ---- */

typedef struct piece {
    int64_t item, L, T;
    float *audio, *masked, *hidden; /* [L], [L], [T, D] */
    int32_t *labels, *codes;        /* [K, T], [T, 2 K + 1] */
    int32_t *source;                /* [T], with mask_with = noise */
    uint8_t *mask;                  /* of all frames of L samples */
} piece;

static void free_piece(piece *p)
{
    free(p->audio), free(p->masked), free(p->hidden), free(p->labels), free(p->codes), free(p->source), free(p->mask);
}

/* 0: the item is too short, or has no labels. */
static int fits(piece *p, const mert_session *s, int64_t item)
{
    const mert_recipe *r = &s->recipe;
    int64_t samples = s->valid.items[item].samples, labelled;
    if (samples < mert_recipe_shortest(r, MERT_VALIDATION))
        return 0;
    *p = (piece){.item = item, .L = mert_smaller(samples, mert_recipe_crop(r, MERT_VALIDATION))};
    labelled = mert_corpus_frames(&s->valid, item, 0);
    p->T = mert_smaller(mert_config_frames(&s->model, p->L), labelled);
    return p->T > mert_recipe_mask(r, MERT_LAST_UPDATE).length;
}

static int read_piece(piece *p, mert_session *s, mert_error *e)
{
    int64_t K = s->model.codebooks, frames = mert_config_frames(&s->model, p->L);
    p->audio = mert_array(p->L, sizeof *p->audio);
    p->masked = mert_array(p->L, sizeof *p->masked);
    p->hidden = mert_array(mert_array_count(p->T, s->model.width), sizeof *p->hidden);
    p->labels = mert_array(mert_array_count(p->T, K), sizeof *p->labels);
    p->codes = mert_array(mert_array_count(p->T, 2 * K + 1), sizeof *p->codes);
    p->source = mert_array(p->T, sizeof *p->source);
    p->mask = mert_array(frames, 1);
    if (!p->audio || !p->masked || !p->hidden || !p->labels || !p->codes || !p->source || !p->mask)
        return mert_fail(e, "out of memory");
    if (mert_corpus_audio(&s->valid, p->item, 0, p->L, p->audio, e) ||
        (s->model.normalize && mert_level_crop(&s->valid, p->item, s->model.normalize_eps, p->audio, p->L, e)))
        return -1;
    for (int k = 0; k < K; k++)
        if (mert_corpus_labels(&s->valid, p->item, k, 0, p->T, p->labels + k * p->T, e))
            return -1;
    return 0;
}

/* Labels, predictions and mask, side by side. */
static int predict(piece *p, mert_session *s, const heads *h, mert_error *e)
{
    const mert_recipe *r = &s->recipe;
    mert_mask_config how = mert_recipe_mask(r, MERT_LAST_UPDATE);
    uint64_t seed = (uint64_t)r->valid_seed;
    int64_t K = s->model.codebooks, step = 2 * K + 1;
    mert_batch b = {.B = 1, .L = p->L, .T = p->T, .K = (int)K, .clean = p->audio, .audio = p->audio,
                    .labels = p->labels, .mask = p->mask, .items = &p->item};
    if (mert_mask_make(&how, seed, UINT64_MAX, 0, &p->item, 1, mert_config_frames(&s->model, p->L), p->mask, e))
        return -1;
    if (r->mask_with) {
        memcpy(p->masked, p->audio, (size_t)p->L * sizeof *p->masked);
        mert_mask_noise(r->mask_noise, seed, UINT64_MAX, 0, &p->item, 1, p->T, p->mask,
                        mert_config_stride(&s->model), p->L, p->masked);
        for (int64_t t = 0; t < p->T; t++)
            p->source[t] = (int32_t)t;
        b.audio = p->masked;
        b.source = p->source;
    }
    if (mert_trainer_hidden(s->trainer, &b, p->hidden, e) || most_probable(h, p->hidden, p->T, p->codes + K, step, e))
        return -1;
    for (int64_t t = 0; t < p->T; t++) {
        for (int64_t k = 0; k < K; k++)
            p->codes[t * step + k] = p->labels[k * p->T + t];
        p->codes[t * step + 2 * K] = p->mask[t];
    }
    return 0;
}

static int write_piece(mts_writer *w, const piece *p, const mert_session *s, mert_error *e)
{
    int K = s->model.codebooks;
    mts_record r = {.kind = "codes", .row = p->item, .dtype = MTS_I32, .ndim = 2, .shape = {p->T, 2 * K + 1},
                    .sample_rate = s->model.sample_rate, .frame_rate_num = s->model.sample_rate,
                    .frame_rate_den = mert_config_stride(&s->model), .ncodebooks = 2 * K + 1};
    for (int k = 0; k < K; k++)
        r.classes[k] = r.classes[K + k] = s->model.classes[k];
    r.classes[2 * K] = 2;
    snprintf(r.key, sizeof r.key, "%s", mert_corpus_key(&s->valid, p->item));
    return mts_write_record(w, &r) || mts_write_frames(w, p->codes, p->T) || mts_write_record_end(w)
               ? mert_fail(e, "%s", mts_writer_error(w))
               : 0;
}

static int write_pieces(mert_session *s, const heads *h, int n, mts_writer *w, mert_error *e)
{
    for (int64_t item = 0; n > 0 && item < s->valid.n; item++) {
        piece p;
        int bad;
        if (!fits(&p, s, item))
            continue;
        bad = read_piece(&p, s, e) || predict(&p, s, h, e) || write_piece(w, &p, s, e);
        free_piece(&p);
        if (bad)
            return mert_fail_in(e, "%s", mert_corpus_key(&s->valid, item));
        n--;
    }
    return 0;
}

int mert_session_predict(mert_session *s, int n, const char *path, mert_error *e)
{
    mts_begin begin = {.row_first = -1, .row_end = -1, .rows_total = -1};
    mert_ops *ops = mert_preparer_ops(mert_trainer_preparer(s->trainer));
    char why[256] = "";
    heads h = {0};
    mert_output *o;
    mts_writer *w;
    int bad;
    if (mert_session_exchange(s)->rank)
        return 0;
    if (!(o = mert_output_open(path, e)))
        return -1;
    snprintf(begin.provenance, sizeof begin.provenance, "mert-train predictions update=%" PRId64 "\n",
             s->state.position.update);
    w = mts_writer_open(o->stream, path, &begin, MTS_LEVEL_DEFAULT);
    bad = w ? take_heads(&h, s, ops, e) || write_pieces(s, &h, n, w, e) : mert_fail(e, "out of memory");
    if (w && mts_writer_close(w, !bad, why, sizeof why) && !bad)
        bad = mert_fail(e, "%s", why);
    free_heads(&h);
    if (!bad)
        return mert_output_commit(o, e);
    mert_output_abandon(o);
    return -1;
}
