#include "libcommon/probe/trained.h"

#include "formats/array.h"
#include "libcommon/nn/cpu/vector.h"
#include "libcommon/probe/score.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

int mert_trained_make(mert_trained *t, mert_error *e)
{
    int64_t C = t->outputs.n, H = t->hidden, D = t->width, L = t->layers, inner = H ? H : D;
    int numbers = t->outputs.task == MERT_PROBE_REGRESS;
    const struct { float **to; int64_t n; } parts[] = {
        {&t->mean, L * D},
        {&t->scale, L * D},
        {&t->mixture, L},
        {&t->hidden_weight, H * D},
        {&t->hidden_bias, H},
        {&t->weight, C * inner},
        {&t->bias, C},
        {&t->number_mean, numbers ? C : 0},
        {&t->number_size, numbers ? C : 0}};
    int64_t at = 0;
    t->block_size = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        t->block_size += parts[i].n;
    t->block = mert_array_zeroed(t->block_size, sizeof *t->block);
    if (!t->block)
        return mert_fail(e, "out of memory");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; at += parts[i++].n)
        *parts[i].to = parts[i].n ? t->block + at : NULL;
    for (int64_t l = 0; l < L; l++)
        t->mixture[l] = 1 / (float)L;
    return 0;
}

void mert_trained_free(mert_trained *t)
{
    for (int64_t i = 0; t->names && i < t->outputs.n; i++)
        free(t->names[i]);
    free(t->names);
    free(t->layer);
    free(t->block);
    *t = (mert_trained){0};
}

/* ---- what it answers ---- */

void mert_trained_answer(const mert_trained *t, const float *x, float *work, float *answers)
{
    int64_t C = t->outputs.n, H = t->hidden, D = t->width;
    float *mixed = work, *h = H ? work + D : mixed, *s = work + D + H;
    for (int64_t i = 0; i < D; i++) {
        double sum = 0;
        for (int64_t l = 0; l < t->layers; l++)
            sum += t->mixture[l] * (((double)x[l * D + i] - t->mean[l * D + i]) * t->scale[l * D + i]);
        mixed[i] = (float)sum;
    }
    for (int64_t k = 0; k < H; k++) {
        double v = MERT_VECTOR->dot(t->hidden_weight + k * D, mixed, D) + t->hidden_bias[k];
        h[k] = (float)(t->gelu ? v / 2 * (1 + erf(v / sqrt(2))) : v > 0 ? v : 0);
    }
    for (int64_t c = 0; c < C; c++)
        s[c] = (float)(MERT_VECTOR->dot(t->weight + c * (H ? H : D), h, H ? H : D) + t->bias[c]);
    if (t->outputs.task == MERT_PROBE_CLASSIFY)
        mert_score_log_odds(s, C, answers);
    for (int64_t c = 0; t->outputs.task != MERT_PROBE_CLASSIFY && c < C; c++)
        answers[c] = t->number_mean ? s[c] * t->number_size[c] + t->number_mean[c] : s[c];
}

/* ---- which features it is for ---- */

static int find_layer(const mert_trained *t, int64_t wanted, const mert_layer_name *names, int64_t n, int64_t *at,
                      mert_error *e)
{
    char list[160] = "";
    size_t used = 0;
    for (*at = 0; *at < n; ++*at)
        if (!strcmp(names[*at], t->layer[wanted]))
            return 0;
    for (int64_t l = 0; l < n && used + 8 < sizeof list; l++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.31s", l ? ", " : "", names[l]);
    return mert_fail(e, "has no layer %s, which the probe is for, but %s", t->layer[wanted], list);
}

/* 1: a word of the recipe that a probe does not depend on. */
static int is_free(const char *word, size_t n)
{
    static const char *const free_words[] = {"layers=", "pool=", "span="};
    for (size_t i = 0; i < sizeof free_words / sizeof *free_words; i++)
        if (n >= strlen(free_words[i]) && !strncmp(word, free_words[i], strlen(free_words[i])))
            return 1;
    return 0;
}

/* The next word that counts; *n: its length, 0 at the end. */
static const char *next_word(const char **at, size_t *n)
{
    const char *word;
    do {
        word = *at + strspn(*at, " ");
        *n = strcspn(word, " ");
        *at = word + *n;
    } while (*n && is_free(word, *n));
    return word;
}

static int same_settings(const char *a, const char *b)
{
    size_t n, m;
    do {
        const char *x = next_word(&a, &n), *y = next_word(&b, &m);
        if (n != m || strncmp(x, y, n))
            return 0;
    } while (n);
    return 1;
}

int mert_trained_check(const mert_trained *t, const mert_features *f, const mts_record *r, int any_settings,
                       int64_t *at, mert_error *e)
{
    const mert_features *own = &t->features;
    int64_t n = mert_layers_count(r), width = f->width / n;
    mert_layer_name *names;
    int bad = 0;
    if (strcmp(own->kind, f->kind))
        return mert_fail(e, "is %s, but the probe is for %s", f->kind, own->kind);
    if (own->model && f->model && own->model != f->model)
        return mert_fail(e, "is of model %016" PRIx64 ", but the probe is for model %016" PRIx64, f->model, own->model);
    if (width != t->width)
        return mert_fail(e, "has %" PRId64 " values in a layer, but the probe is for %" PRId64, width, t->width);
    if (own->sample_rate && f->sample_rate && own->sample_rate != f->sample_rate)
        return mert_fail(e, "is of audio at %" PRId64 " Hz, but the probe is for %" PRId64 " Hz", f->sample_rate,
                         own->sample_rate);
    names = mert_layers_names(f, r);
    if (!names)
        return mert_fail(e, "out of memory");
    for (int64_t l = 0; !bad && l < t->layers; l++)
        bad = find_layer(t, l, names, n, &at[l], e);
    free(names);
    if (bad)
        return -1;
    if (!any_settings && *own->recipe && *f->recipe && !same_settings(own->recipe, f->recipe))
        return mert_fail(e, "was made by '%.400s', but the probe is for '%.400s' (see --any-settings)", f->recipe,
                         own->recipe);
    return 0;
}
