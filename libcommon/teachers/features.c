#include "libcommon/teachers/features.h"

#include "formats/array.h"
#include "formats/checkpoint/checkpoint.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/teachers/codes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ignored(const char *word, size_t n)
{
    static const char *const names[] = {"dtype=", "device="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (n >= strlen(names[i]) && !strncmp(word, names[i], strlen(names[i])))
            return 1;
    return 0;
}

/* The line of the provenance that describes how the features were made, without the version and without settings that
 * do not matter (dtype, device): the last line that is not of mert-tensor, which only copies. */
static void features_recipe(char recipe[MERT_RECIPE_MAX], const char *provenance)
{
    const char *line = provenance, *last = NULL;
    size_t n = 0;
    while (*line) {
        const char *end = line + strcspn(line, "\n");
        if (end > line && (strncmp(line, "mert-tensor", 11) || !strchr(" \n", line[11])))
            last = line;
        line = *end ? end + 1 : end;
    }
    recipe[0] = 0;
    if (!last)
        return;
    for (int word = 0; *last && *last != '\n'; word++) {
        size_t length = strcspn(last, " \n");
        if (word != 1 && !ignored(last, length) && n + length + 2 < MERT_RECIPE_MAX) {
            n += (size_t)snprintf(recipe + n, MERT_RECIPE_MAX - n, "%s%.*s", n ? " " : "", (int)length, last);
        }
        last += length;
        last += *last == ' ';
    }
}

int mert_features_of(mert_features *f, const mts_begin *b, const mts_record *r, mert_error *e)
{
    memset(f, 0, sizeof *f);
    if (!strcmp(r->kind, "pcm") || !strcmp(r->kind, "codes"))
        return mert_fail(e, "needs features (cqt, mel, mfcc, hidden ...), got %s", r->kind);
    memcpy(f->kind, r->kind, sizeof f->kind);
    f->width = mts_record_width(r);
    f->sample_rate = r->sample_rate;
    f->frame_rate_num = r->frame_rate_num;
    f->frame_rate_den = r->frame_rate_den;
    f->model = r->model;
    if (f->width < 1 || f->width > 1 << 20)
        return mert_fail(e, "frames of %" PRId64 " values are no features", f->width);
    if (b)
        features_recipe(f->recipe, b->provenance);
    return 0;
}

int mert_features_check(const mert_features *want, const mert_features *have, int any_recipe, mert_error *e)
{
    if (want->width != have->width)
        return mert_fail(e, "frames have %" PRId64 " values (%s), this codebook is for %" PRId64 "%s%s%s", have->width,
                         have->kind, want->width, *want->kind ? " (" : "", want->kind, *want->kind ? ")" : "");
    if (!*want->kind)
        return 0;
    if (strcmp(want->kind, have->kind))
        return mert_fail(e, "features are %s, this codebook is for %s", have->kind, want->kind);
    if (want->sample_rate && have->sample_rate && want->sample_rate != have->sample_rate)
        return mert_fail(e, "features are of audio at %" PRId64 " Hz, this codebook is for %" PRId64 " Hz",
                         have->sample_rate, want->sample_rate);
    if (want->frame_rate_num && have->frame_rate_num &&
        (__int128)want->frame_rate_num * have->frame_rate_den != (__int128)have->frame_rate_num * want->frame_rate_den)
        return mert_fail(e, "features have %" PRId64 "/%" PRId64 " frames per second, this codebook is for "
                         "%" PRId64 "/%" PRId64,
                         have->frame_rate_num, have->frame_rate_den, want->frame_rate_num, want->frame_rate_den);
    if (want->model && have->model && want->model != have->model)
        return mert_fail(e, "features are of model %016" PRIx64 ", this codebook is for model %016" PRIx64,
                         have->model, want->model);
    if (!any_recipe && *want->recipe && *have->recipe && strcmp(want->recipe, have->recipe))
        return mert_fail(e,
                         "features were made by '%.400s', this codebook is for those of '%.400s' (see --any-settings)",
                             have->recipe,
                         want->recipe);
    return 0;
}

int mert_features_same(const float *x, int64_t n, int64_t width)
{
    for (int64_t i = 1; i < n; i++)
        if (memcmp(x, x + i * width, (size_t)width * sizeof *x))
            return 0;
    return 1;
}

uint64_t mert_features_item(const mts_begin *b, const mts_record *r)
{
    mts_xxh64_state s;
    mts_xxh64_begin(&s, 0);
    if (!b->manifest)
        mts_xxh64_add(&s, &r->row, sizeof r->row);
    mts_xxh64_add(&s, r->key, strlen(r->key));
    return mts_xxh64_end(&s, 0);
}

void mert_feature_input_stream(mert_feature_input *in, const mts_begin *b)
{
    in->stream = *b;
}

int mert_feature_input_begin(mert_feature_input *in, const mts_record *r, mert_error *e)
{
    in->record = *r;
    in->frame = 0;
    return mert_features_of(&in->features, &in->stream, r, e);
}

static int to_floats(const mts_record *r, const void *data, int64_t n, float *to, mert_error *e)
{
    mert_dtype type;
    switch (r->dtype) {
    case MTS_F32: type = MERT_E_F32; break;
    case MTS_F16: type = MERT_E_F16; break;
    case MTS_BF16: type = MERT_E_BF16; break;
    case MTS_I16: type = MERT_E_I16; break;
    case MTS_I32: type = MERT_E_I32; break;
    default: return mert_fail(e, "features cannot be %s", mts_dtype_name(r->dtype));
    }
    mert_elements_to_floats(type, data, n, to);
    return 0;
}

/* Large chunks are checked by all threads: the values are then in the caches where they are used next. */
enum { SEARCHED = 1 << 15 }; /* values per task */

typedef struct search {
    const float *values;
    int64_t n, bad; /* bad: the first bad value; n: none */
} search;

static void search_piece(void *arg, int64_t at, int worker)
{
    search *s = arg;
    int64_t first = at * SEARCHED, n = mert_smaller(s->n - first, SEARCHED);
    int64_t bad = MERT_CODES_KERNELS->beyond(s->values + first, n, MERT_FEATURE_MOST);
    (void)worker;
    if (bad < n)
        mert_pool_first(&s->bad, first + bad);
}

const float *mert_feature_input_floats(mert_feature_input *in, const void *data, int64_t frames, mert_error *e)
{
    int64_t n = frames * in->features.width;
    int as_they_are = in->record.dtype == MTS_F32 && (uintptr_t)data % sizeof(float) == 0;
    if (!as_they_are && n > in->room) {
        free(in->values);
        in->room = 0;
        in->values = mert_array(n, sizeof *in->values);
        if (!in->values) {
            mert_fail(e, "out of memory");
            return NULL;
        }
        in->room = n;
    }
    if (!as_they_are && to_floats(&in->record, data, n, in->values, e))
        return NULL;
    in->before = in->frame;
    in->frame += frames;
    return as_they_are ? data : in->values;
}

int mert_feature_input_refuse(const mert_feature_input *in, int64_t row, mert_error *e)
{
    return mert_fail(e, "frame %" PRId64 " holds a NaN, an infinity or a value beyond 1e18", in->before + row);
}

const float *mert_feature_input_read(mert_feature_input *in, const void *data, int64_t frames, mert_error *e)
{
    const float *values = mert_feature_input_floats(in, data, frames, e);
    int64_t n = frames * in->features.width;
    search s = {values, n, n};
    if (!values)
        return NULL;
    mert_pool_run((n + SEARCHED - 1) / SEARCHED, search_piece, &s);
    if (s.bad == n)
        return values;
    mert_feature_input_refuse(in, s.bad / in->features.width, e);
    return NULL;
}

void mert_feature_input_free(mert_feature_input *in)
{
    free(in->values);
    in->values = NULL;
    in->room = 0;
}

void mert_stack_reset(mert_stack *s)
{
    s->held = 0;
}

const float *mert_stack_add(mert_stack *s, const float *x, int64_t frames, int64_t *rows, mert_error *e)
{
    int64_t all = s->held + frames;
    size_t frame = (size_t)s->width * sizeof *x;
    *rows = all / s->n;
    if (s->n == 1)
        return x;
    if (all > s->room || !s->rows) {
        float *more = mert_array_resize(s->rows, all + s->n, frame);
        if (!more) {
            mert_fail(e, "out of memory");
            return NULL;
        }
        s->rows = more;
        s->room = all + s->n;
    }
    /* The frames that were kept are after the rows that the last call returned. */
    if (s->held)
        memmove(s->rows, s->rows + s->kept * s->width, (size_t)s->held * frame);
    memcpy(s->rows + s->held * s->width, x, (size_t)frames * frame);
    s->held = all % s->n;
    s->kept = *rows * s->n;
    return s->rows;
}

void mert_stack_free(mert_stack *s)
{
    free(s->rows);
    s->rows = NULL;
    s->room = 0;
}
