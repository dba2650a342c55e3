#include "libcommon/train/data/codes.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/train/data/keys.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

int mert_codes_is_stream(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".mts");
}

/* ---- opening ---- */

/* Checks a record; the first one sets classes, rate and model. */
static int check_record(mert_codes *c, const mert_record_kind *kind, const char *key, mert_error *e)
{
    const mts_record of = mert_record_of(kind), *r = &of;
    if (strcmp(r->kind, "codes") || r->ncodebooks < 1)
        return mert_fail(e, "%s: %s: a record of kind %s, codes are needed", c->path, key, r->kind);
    if (r->dtype != MTS_I32 && r->dtype != MTS_U16 && r->dtype != MTS_I16)
        return mert_fail(e, "%s: %s: codes are %s, whole numbers are needed", c->path, key,
                         mts_dtype_name(r->dtype));
    if (!c->K) {
        c->K = r->ncodebooks;
        for (int k = 0; k < c->K; k++)
            c->meta[k] = (mert_labels_meta){.classes = r->classes[k],
                                            .frame_rate_num = r->frame_rate_num,
                                            .frame_rate_den = r->frame_rate_den,
                                            .codebook = r->model,
                                            .codebook_index = k,
                                            .rows = c->rows};
    }
    if (r->ncodebooks != c->K || r->model != c->meta[0].codebook ||
        r->frame_rate_num * c->meta[0].frame_rate_den != c->meta[0].frame_rate_num * r->frame_rate_den)
        return mert_fail(e, "%s: %s: %d codebooks of %016" PRIx64 " at %" PRId64 "/%" PRId64
                         ", those before had %d of %016" PRIx64 " at %" PRId64 "/%" PRId64, c->path, key,
                         r->ncodebooks, r->model, r->frame_rate_num, r->frame_rate_den, c->K, c->meta[0].codebook,
                         c->meta[0].frame_rate_num, c->meta[0].frame_rate_den);
    for (int k = 0; k < c->K; k++)
        if (r->classes[k] != c->meta[k].classes)
            return mert_fail(e, "%s: %s: codebook %d has %" PRId64 " classes, it had %" PRId64 " before", c->path, key,
                             k, r->classes[k], c->meta[k].classes);
    return 0;
}

static int take_places(mert_codes *c, const mert_manifest *m, const mert_keys *keys, const mert_records *r,
                       mert_error *e)
{
    int64_t row, last = -1; /* the kind that was checked last */
    for (int64_t i = 0; i < r->facts->failed; i++)
        if ((row = mert_keys_find(keys, r->failed[i])) >= 0)
            c->places[row].known = 1;
    c->nameless = (int)r->facts->nameless;
    for (int64_t i = 0; i < r->facts->records; i++) {
        const mert_record_place *p = &r->places[i];
        if ((row = mert_keys_find(keys, p->key)) < 0)
            continue;
        if (p->kind < 0 || p->kind >= r->facts->kinds)
            return mert_fail(e, "%s.index: is not of this file: remove it", c->path);
        if (p->kind != last && check_record(c, &r->kinds[p->kind], m->rows[row].path, e))
            return -1;
        last = p->kind;
        if (c->places[row].frames)
            return mert_fail(e, "%s: %s: a second time", c->path, m->rows[row].path);
        c->places[row].known = 1;
        c->places[row].offset = p->offset;
        c->places[row].frames = p->steps;
    }
    return c->K ? 0 : mert_fail(e, "%s: codes of none of the manifest's %" PRId64 " rows", c->path, m->n);
}

static int find_places(mert_codes *c, const mert_manifest *m, mert_index_keeping keeping, mert_error *e)
{
    mert_records r;
    mert_keys keys;
    int bad;
    if (mert_records_open(&r, c->path, keeping, e))
        return -1;
    bad = mert_keys_begin(&keys, m->n, e);
    for (int64_t i = 0; !bad && i < m->n; i++) {
        int64_t there = mert_keys_add(&keys, mert_record_key(m->rows[i].path));
        if (there >= 0)
            bad = mert_fail(e, "%s and %s have the same hash: rename one of them", m->rows[there].path,
                            m->rows[i].path);
    }
    bad = bad || take_places(c, m, &keys, &r, e);
    mert_keys_free(&keys);
    mert_records_close(&r);
    return bad;
}

int mert_codes_open(mert_codes *c, const char *path, const mert_manifest *m, mert_index_keeping keeping, mert_error *e)
{
    int bad;
    memset(c, 0, sizeof *c);
    c->manifest = m;
    c->rows = m->n;
    c->held_row = -1;
    c->path = strdup(path);
    c->places = mert_array_zeroed(m->n, sizeof *c->places);
    bad = mert_file_regular(path, e); /* the reader seeks in it */
    if (!bad && !(c->stream = fopen(path, "rb")))
        bad = mert_fail(e, "%s: %s", path, strerror(errno));
    else if (!bad && (!c->path || !c->places || !(c->reader = mts_reader_open(c->stream, path))))
        bad = mert_fail(e, "%s: out of memory", path);
    else if (!bad)
        bad = find_places(c, m, keeping, e);
    if (bad)
        mert_codes_close(c);
    return bad ? -1 : 0;
}

void mert_codes_close(mert_codes *c)
{
    mts_reader_close(c->reader);
    if (c->stream)
        fclose(c->stream);
    free(c->path);
    free(c->places);
    free(c->held);
    memset(c, 0, sizeof *c);
}

/* ---- reading ---- */

int64_t mert_codes_count(const mert_codes *c, int64_t row)
{
    return row >= 0 && row < c->rows ? c->places[row].frames : 0;
}

int mert_codes_absent(const mert_codes *c, int64_t row)
{
    return !mert_codes_count(c, row) && !c->nameless && !c->places[row].known;
}

static int32_t code_at(const mts_record *r, const void *data, int64_t i)
{
    return r->dtype == MTS_I32   ? ((const int32_t *)data)[i]
           : r->dtype == MTS_U16 ? ((const uint16_t *)data)[i]
                                 : ((const int16_t *)data)[i];
}

/* Reads frames [first, first + n) of the current record into held. */
static int read_frames(mert_codes *c, int64_t first, int64_t n, mert_error *e)
{
    mts_reader *r = c->reader;
    int64_t done = 0;
    if (mts_jump_to(r, first))
        return mert_fail(e, "%s", mts_reader_error(r));
    while (done < n) {
        int event = mts_next(r);
        if (event == MTS_FAILED || event == MTS_DAMAGE)
            return mert_fail(e, "%s", mts_reader_failure(r)->reason);
        if (event != MTS_CHUNK)
            return mert_fail(e, "%s: %s", c->path, event == MTS_ERROR ? mts_reader_error(r) : "a record ends early");
        for (int64_t t = first + done - mts_reader_first(r); t < mts_reader_frames(r) && done < n; t++, done++)
            for (int k = 0; k < c->K; k++) {
                int32_t v = code_at(mts_reader_record(r), mts_reader_data(r), t * c->K + k);
                if (v < 0 || v >= c->meta[k].classes)
                    return mert_fail(e, "%s: %s: frame %" PRId64 ": code %d of codebook %d is not below its %" PRId64
                                     " classes", c->path, mts_reader_record(r)->key, first + done, (int)v, k,
                                     c->meta[k].classes);
                c->held[done * c->K + k] = v;
            }
    }
    return 0;
}

static int hold(mert_codes *c, int64_t row, int64_t first, int64_t n, mert_error *e)
{
    const struct mert_codes_place *p = &c->places[row];
    int bad;
    c->held_row = -1;
    if (n * c->K > c->room) {
        free(c->held);
        c->held = mert_array(n * c->K, sizeof *c->held);
        c->room = c->held ? n * c->K : 0;
    }
    if (!c->held || !c->reader)
        return mert_fail(e, "%s: out of memory", c->path);
    bad = mert_records_seek(c->reader, c->path, p->offset, c->manifest->rows[row].path, p->frames, e) ||
          read_frames(c, first, n, e);
    if (bad) { /* a failed reader cannot be used again */
        mts_reader_close(c->reader);
        c->reader = mts_reader_open(c->stream, c->path);
        return -1;
    }
    c->held_row = row;
    c->held_first = first;
    c->held_n = n;
    return 0;
}

int mert_codes_read(mert_codes *c, int64_t row, int k, int64_t first, int64_t n, int32_t *to, mert_error *e)
{
    if (first < 0 || first + n > mert_codes_count(c, row))
        return mert_fail(e, "%s: row %" PRId64 " has %" PRId64 " codes, %" PRId64 " to %" PRId64 " were wanted",
                         c->path, row, mert_codes_count(c, row), first, first + n - 1);
    if ((row != c->held_row || first < c->held_first || first + n > c->held_first + c->held_n) &&
        hold(c, row, first, n, e))
        return -1;
    for (int64_t i = 0; i < n; i++)
        to[i] = c->held[(first - c->held_first + i) * c->K + k];
    return 0;
}
