#include "tools/mert-plot/predictions.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/tensor/values.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Of the frames of a piece, all codebooks together: how many there are, and in how many both agree. */
typedef struct share {
    int64_t frames, agree;
} share;

typedef struct piece {
    mts_record r;
    int K;
    int32_t *codes; /* [T, 2 K + 1] */
    int64_t T, room;
} piece;

static int begin_piece(piece *p, const mts_record *r, mert_error *e)
{
    p->r = *r;
    p->K = (r->ncodebooks - 1) / 2;
    p->T = 0;
    if (strcmp(r->kind, "codes") || r->dtype != MTS_I32 || p->K < 1 || r->ncodebooks != 2 * p->K + 1 ||
        r->classes[2 * p->K] != 2)
        return mert_fail(e, "%s: not labels, predictions and a mask", r->key);
    return 0;
}

static int add_frames(piece *p, const void *data, int64_t n, mert_error *e)
{
    int64_t step = p->r.ncodebooks;
    int32_t *more = mert_array_grow(p->codes, &p->room, (p->T + n) * step, sizeof *more);
    if (!more)
        return mert_fail(e, "out of memory");
    p->codes = more;
    memcpy(more + p->T * step, data, (size_t)(n * step) * sizeof *more);
    p->T += n;
    return 0;
}

static void count(const piece *p, share *masked, share *others)
{
    for (int64_t t = 0; t < p->T; t++) {
        const int32_t *row = p->codes + t * p->r.ncodebooks;
        share *s = row[2 * p->K] ? masked : others;
        for (int k = 0; k < p->K; k++) {
            s->frames++;
            s->agree += row[k] == row[p->K + k];
        }
    }
}

/* A panel of columns [first, first + n) of the codes. */
static int draw(const piece *p, int first, int n, const char *what, const mert_view_options *o, mert_figure *f,
                mert_error *e)
{
    mts_record r = p->r;
    mert_panel *panel = mert_figure_add(f);
    mert_view *v;
    int bad = 0;
    r.shape[0] = p->T;
    r.shape[1] = r.ncodebooks = n;
    for (int k = 0; k < n; k++)
        r.classes[k] = p->r.classes[first + k];
    v = panel ? mert_view_begin(o, &r, "", e) : NULL;
    if (!v)
        return panel ? -1 : mert_fail(e, "out of memory");
    for (int64_t t = 0; !bad && t < p->T; t++)
        bad = mert_view_frames(v, p->codes + t * p->r.ncodebooks + first, 1, e);
    bad = bad || mert_view_end(v, panel, e);
    if (!bad)
        snprintf(panel->title, sizeof panel->title, "%s", what);
    mert_view_free(v);
    return bad ? -1 : 0;
}

static double percent(const share *s)
{
    return s->frames ? 100 * (double)s->agree / (double)s->frames : 0;
}

static int write_piece(FILE *to, const piece *p, const mert_view_options *o, int width, int height, mert_error *e)
{
    mert_figure f = {.across = 1, .width = width, .height = 3 * height};
    share masked = {0}, others = {0};
    char caption[3 * MTS_KEY_MAX + 200], key[3 * MTS_KEY_MAX + 1];
    int bad = draw(p, 0, p->K, "labels", o, &f, e) || draw(p, p->K, p->K, "predictions", o, &f, e) ||
              draw(p, 2 * p->K, 1, "masked frames", o, &f, e);
    count(p, &masked, &others);
    snprintf(caption, sizeof caption,
             "%s: %.1f %% of the predictions of masked frames agree with the labels, %.1f %% of the others",
             mert_key_print(key, sizeof key, p->r.key), percent(&masked), percent(&others));
    bad = bad || mert_page_figure(to, &f, caption, 1, e);
    mert_figure_free(&f);
    return bad ? -1 : 0;
}

/* Reads the stream and writes each piece. */
static int write_pieces(FILE *to, mts_reader *r, const mert_view_options *o, int width, int height, mert_error *e)
{
    piece p = {0};
    int bad = 0;
    for (int event; !bad && (event = mts_next(r)) != MTS_EOF;)
        switch (event) {
        case MTS_BEGIN:
            if (strncmp(mts_reader_begin(r)->provenance, "mert-train predictions ", 23))
                bad = mert_fail(e, "not written by mert-train --pieces");
            break;
        case MTS_RECORD: bad = begin_piece(&p, mts_reader_record(r), e); break;
        case MTS_CHUNK: bad = add_frames(&p, mts_reader_data(r), mts_reader_frames(r), e); break;
        case MTS_RECORD_END: bad = p.T ? write_piece(to, &p, o, width, height, e) : 0; break;
        case MTS_FAILED:
        case MTS_DAMAGE: bad = mert_fail(e, "%s", mts_reader_failure(r)->reason); break;
        case MTS_END: break;
        default: bad = mert_fail(e, "%s", mts_reader_error(r)); break;
        }
    free(p.codes);
    return bad;
}

int plot_predictions(FILE *to, const char *folder, const mert_view_options *o, int width, int height, mert_error *e)
{
    char *path = mert_path_join(folder, "predictions.mts");
    FILE *f = path ? fopen(path, "rb") : NULL;
    mts_reader *r = f ? mts_reader_open(f, path) : NULL;
    int bad = 0;
    if (!path || (f && !r))
        bad = mert_fail(e, "out of memory");
    else if (!f && errno != ENOENT)
        bad = mert_fail(e, "%s: %s", path, strerror(errno));
    if (!bad && r) {
        mert_page_section(to, "Predictions");
        mert_page_paragraph(to, "Labels of the beginnings of held-out pieces, and what the newest validation predicts "
                                "of them. A row is a codebook, and a colour a class.");
        bad = write_pieces(to, r, o, width, height, e);
        if (bad && strncmp(e->text, path, strlen(path)))
            mert_fail_in(e, "%s", path);
    }
    mts_reader_close(r);
    if (f)
        fclose(f);
    free(path);
    return bad ? -1 : 0;
}
