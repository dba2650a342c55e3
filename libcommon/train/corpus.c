#include "corpus.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- labels ---- */

/* The pattern with its %d replaced by k; without one, the pattern. */
static char *pattern_name(const char *pattern, int k)
{
    const char *at = strstr(pattern, "%d");
    size_t room = strlen(pattern) + 16;
    char *name = malloc(room);
    if (name && at)
        snprintf(name, room, "%.*s%d%s", (int)(at - pattern), pattern, k, at + 2);
    else if (name)
        strcpy(name, pattern);
    return name;
}

static int check_labels(const mert_corpus *c, mert_codebook *b, mert_error *e)
{
    const mert_labels *l = &b->labels;
    const mert_labels_meta *m = &l->meta;
    if (l->rows != c->manifest.n)
        return mert_fail(e, "%s: %lld lines for the %lld rows of the manifest", l->path, (long long)l->rows,
                         (long long)c->manifest.n);
    if (m->manifest && m->manifest != c->manifest.hash)
        return mert_fail(e, "%s: made for another manifest (hash %016llx, this one has %016llx)", l->path,
                         (unsigned long long)m->manifest, (unsigned long long)c->manifest.hash);
    b->classes = m->classes ? m->classes : c->config.classes;
    if (!b->classes)
        return mert_fail(
            e, "%s: the number of classes is not known: there is no .meta file, and the recipe's classes is 0",
            l->path);
    if (b->classes > 1 << 24)
        return mert_fail(e, "%s: %lld classes: at most %d", l->path, (long long)b->classes, 1 << 24);
    if (c->config.classes && b->classes != c->config.classes)
        return mert_fail(e, "%s: %lld classes, the recipe says %lld", l->path, (long long)b->classes,
                         (long long)c->config.classes);
    b->rate_num = m->frame_rate_num;
    b->rate_den = m->frame_rate_den;
    if (b->rate_num <= 0 || b->rate_den <= 0) {
        b->rate_num = c->config.label_rate > 0 ? llround(c->config.label_rate * 1000) : c->config.sample_rate;
        b->rate_den = c->config.label_rate > 0 ? 1000 : c->config.stride;
    } else if (c->config.label_rate > 0 &&
               fabs((double)b->rate_num / (double)b->rate_den - c->config.label_rate) > 1e-6) {
        return mert_fail(e, "%s: %g labels per second, the recipe says %g", l->path,
                         (double)b->rate_num / (double)b->rate_den, c->config.label_rate);
    }
    b->counts = calloc((size_t)b->classes, sizeof *b->counts);
    return b->counts ? 0 : mert_fail(e, "%s: out of memory", l->path);
}

static int open_codebook(mert_corpus *c, const char *name, mert_error *e)
{
    mert_codebook *grown;
    if (c->K == MERT_CODEBOOKS_MAX)
        return mert_fail(e, "%s: more than %d codebooks", name, MERT_CODEBOOKS_MAX);
    grown = realloc(c->codebooks, (size_t)(c->K + 1) * sizeof *grown);
    if (!grown)
        return mert_fail(e, "%s: out of memory", name);
    c->codebooks = grown;
    memset(&grown[c->K], 0, sizeof *grown);
    if (mert_labels_open(&grown[c->K].labels, name, e))
        return -1;
    return check_labels(c, &grown[c->K++], e);
}

static int open_labels(mert_corpus *c, const char *const *patterns, int n, mert_error *e)
{
    for (int i = 0; i < n; i++)
        for (int k = 0, more = 1; more && (!c->config.codebooks || c->K < c->config.codebooks); k++) {
            char *name = pattern_name(patterns[i], k);
            int bad = 0;
            if (!name)
                return mert_fail(e, "out of memory");
            more = strstr(patterns[i], "%d") != NULL;
            if (k && access(name, F_OK))
                more = 0;
            else
                bad = open_codebook(c, name, e);
            free(name);
            if (bad)
                return -1;
        }
    if (c->K < c->config.codebooks)
        return mert_fail(e, "%s: %d codebooks, the recipe asks for %d", patterns[0], c->K, c->config.codebooks);
    return 0;
}

/* ---- packed audio ---- */

static int check_pcm(const mert_corpus *c, const char *file, const mts_record *r, mert_error *e)
{
    if (strcmp(r->kind, "pcm"))
        return mert_fail(e, "%s: %s: a record of kind %s, pcm is needed", file, r->key, r->kind);
    if (r->sample_rate != c->config.sample_rate)
        return mert_fail(e, "%s: %s: sample rate is %lld Hz, the recipe needs %lld Hz", file, r->key,
                         (long long)r->sample_rate, (long long)c->config.sample_rate);
    if (mts_record_width(r) != 1)
        return mert_fail(e, "%s: %s: %lld channels, one is needed", file, r->key, (long long)mts_record_width(r));
    if (r->dtype != MTS_F32 && r->dtype != MTS_I16)
        return mert_fail(e, "%s: %s: samples are %s, f32 or i16 are needed", file, r->key, mts_dtype_name(r->dtype));
    return 0;
}

typedef struct named_row {
    const char *key;
    int64_t row;
} named_row;

static int by_key(const void *a, const void *b)
{
    return strcmp(((const named_row *)a)->key, ((const named_row *)b)->key);
}

/* The manifest row of a record, by its key: packed audio may hold more than the manifest, and in another order. -1:
 * none. */
static int64_t row_of(const mert_corpus *c, const named_row *names, const char *key)
{
    named_row wanted = {key, 0}, *found = bsearch(&wanted, names, (size_t)c->manifest.n, sizeof *names, by_key);
    return found ? found->row : -1;
}

/* places: [rows of the manifest], samples < 0 where nothing was found yet. */
static int index_file(mert_corpus *c, int number, const named_row *names, mert_corpus_item *places, mert_error *e)
{
    struct mert_corpus_file *f = &c->files[number];
    mts_index x;
    int bad = 0;
    if (mts_index_make(&x, f->stream, f->name, e->text, sizeof e->text))
        return -1;
    if (x.damaged)
        bad = -1;
    for (size_t i = 0; !bad && i < x.n; i++) {
        const mts_record *r = &x.entries[i].record;
        int64_t row = row_of(c, names, r->key);
        if (row < 0)
            continue;
        if (check_pcm(c, f->name, r, e))
            bad = -1;
        else if (places[row].samples >= 0)
            bad = mert_fail(e, "%s: %s: a second time", f->name, r->key);
        else
            places[row] = (mert_corpus_item){
                .row = row, .samples = r->shape[0], .offset = x.entries[i].offset, .file = number};
    }
    mts_index_free(&x);
    return bad;
}

static int open_file(mert_corpus *c, const char *name, mert_error *e)
{
    struct mert_corpus_file *f = &c->files[c->nfiles];
    f->stream = fopen(name, "rb");
    if (!f->stream)
        return mert_fail(e, "%s: %s", name, strerror(errno));
    c->nfiles++;
    f->name = strdup(name);
    f->reader = mts_reader_open(f->stream, name);
    return f->name && f->reader ? 0 : mert_fail(e, "%s: out of memory", name);
}

static int open_audio(mert_corpus *c, const char *const *pcm, int npcm, mert_corpus_item *places, mert_error *e)
{
    named_row *names = calloc((size_t)c->manifest.n + 1, sizeof *names);
    int bad = 0;
    c->files = calloc((size_t)npcm + 1, sizeof *c->files);
    if (!names || !c->files) {
        free(names);
        return mert_fail(e, "out of memory");
    }
    for (int64_t i = 0; i < c->manifest.n; i++)
        names[i] = (named_row){c->manifest.rows[i].path, i};
    qsort(names, (size_t)c->manifest.n, sizeof *names, by_key);
    for (int i = 0; !bad && i < npcm; i++)
        bad = open_file(c, pcm[i], e) || index_file(c, i, names, places, e);
    free(names);
    return bad;
}

/* ---- labels and audio together ---- */

/* Label of frame t. */
static int64_t label_at(const mert_corpus *c, const mert_codebook *b, int64_t t)
{
    return (int64_t)((__int128)t * c->config.stride * b->rate_num / ((__int128)c->config.sample_rate * b->rate_den));
}

/* The first frame whose label is `label` or later. */
static int64_t frame_from(const mert_corpus *c, const mert_codebook *b, int64_t label)
{
    __int128 over = (__int128)label * c->config.sample_rate * b->rate_den,
             under = (__int128)c->config.stride * b->rate_num;
    return (int64_t)((over + under - 1) / under);
}

static int count_labels(mert_corpus *c, const mert_corpus_item *item, mert_codebook *b, int32_t **room, int64_t *size,
                        mert_error *e)
{
    int64_t n = mert_labels_count(&b->labels, item->row);
    double audio = (double)item->samples / (double)c->config.sample_rate,
           labels = (double)n * (double)b->rate_den / (double)b->rate_num;
    if (fabs(audio - labels) > c->config.label_tolerance)
        return mert_fail(e, "%s: line %lld (%s): %lld labels cover %.2f s, the audio lasts %.2f s", b->labels.path,
                         (long long)item->row + 1, c->manifest.rows[item->row].path, (long long)n, labels, audio);
    if (n > *size) {
        int32_t *grown = realloc(*room, (size_t)n * sizeof *grown);
        if (!grown)
            return mert_fail(e, "%s: out of memory", b->labels.path);
        *room = grown;
        *size = n;
    }
    if (mert_labels_read(&b->labels, item->row, 0, n, *room, e))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        if ((*room)[i] < 0 || (*room)[i] >= b->classes)
            return mert_fail(e, "%s: line %lld: label %d is not below the %lld classes", b->labels.path,
                             (long long)item->row + 1, (int)(*room)[i], (long long)b->classes);
        b->counts[(*room)[i]]++;
    }
    b->total += n;
    return 0;
}

static int row_failed(const mert_corpus *c, const mert_corpus_item *place, int64_t row)
{
    int failed = place->samples < 0;
    for (int k = 0; k < c->K; k++)
        failed |= mert_labels_count(&c->codebooks[k].labels, row) == 0;
    return failed;
}

/* Keeps the rows that have both, checks them, and counts their labels. */
static int gather(mert_corpus *c, mert_error *e)
{
    int32_t *room = NULL;
    int64_t size = 0;
    int bad = 0;
    for (int64_t row = 0; !bad && row < c->manifest.n; row++) {
        mert_corpus_item item = c->items[row];
        if (row_failed(c, &item, row)) {
            if (!c->failed++)
                c->failed_row = row;
            continue;
        }
        c->items[c->n++] = item;
        c->off_count += item.samples != c->manifest.rows[row].samples;
        c->seconds += (double)item.samples / (double)c->config.sample_rate;
        for (int k = 0; !bad && k < c->K; k++)
            bad = count_labels(c, &item, &c->codebooks[k], &room, &size, e);
    }
    free(room);
    return bad;
}

int mert_corpus_open(mert_corpus *c, const mert_corpus_config *config, const char *manifest, const char *const *labels,
                     int nlabels, const char *const *pcm, int npcm, mert_error *e)
{
    memset(c, 0, sizeof *c);
    c->config = *config;
    c->failed_row = -1;
    if (mert_manifest_read(&c->manifest, manifest, e))
        return -1;
    c->items = malloc((size_t)(c->manifest.n + 1) * sizeof *c->items);
    if (!c->items) {
        mert_fail(e, "%s: out of memory", manifest);
        goto fail;
    }
    for (int64_t i = 0; i < c->manifest.n; i++)
        c->items[i].samples = -1;
    if (open_labels(c, labels, nlabels, e) || open_audio(c, pcm, npcm, c->items, e) || gather(c, e))
        goto fail;
    if (!c->n) {
        mert_fail(e, "%s: none of its %lld rows has both labels and audio", manifest, (long long)c->manifest.n);
        goto fail;
    }
    return 0;
fail:
    mert_corpus_close(c);
    return -1;
}

void mert_corpus_close(mert_corpus *c)
{
    for (int k = 0; k < c->K; k++) {
        mert_labels_close(&c->codebooks[k].labels);
        free(c->codebooks[k].counts);
    }
    for (int i = 0; i < c->nfiles; i++) {
        mts_reader_close(c->files[i].reader);
        fclose(c->files[i].stream);
        free(c->files[i].name);
    }
    free(c->codebooks);
    free(c->files);
    free(c->items);
    mert_manifest_free(&c->manifest);
    memset(c, 0, sizeof *c);
}

const char *mert_corpus_key(const mert_corpus *c, int64_t item)
{
    return c->manifest.rows[c->items[item].row].path;
}

void mert_corpus_metas(const mert_corpus *c, mert_labels_meta *metas)
{
    for (int k = 0; k < c->K; k++) {
        metas[k] = c->codebooks[k].labels.meta;
        metas[k].classes = c->codebooks[k].classes;
    }
}

int mert_corpus_fits(const mert_corpus *a, const mert_corpus *b, mert_error *e)
{
    if (a->K != b->K)
        return mert_fail(e, "%s: %d codebooks, %s has %d", b->codebooks[0].labels.path, b->K,
                         a->codebooks[0].labels.path, a->K);
    for (int k = 0; k < a->K; k++) {
        const mert_codebook *x = &a->codebooks[k], *y = &b->codebooks[k];
        const mert_labels_meta *mx = &x->labels.meta, *my = &y->labels.meta;
        if (x->classes != y->classes)
            return mert_fail(e, "%s: %lld classes, %s has %lld", y->labels.path, (long long)y->classes, x->labels.path,
                             (long long)x->classes);
        if (x->rate_num * y->rate_den != y->rate_num * x->rate_den)
            return mert_fail(e, "%s: %g labels per second, %s has %g", y->labels.path,
                             (double)y->rate_num / (double)y->rate_den, x->labels.path,
                             (double)x->rate_num / (double)x->rate_den);
        if (mx->codebook && my->codebook && (mx->codebook != my->codebook || mx->codebook_index != my->codebook_index))
            return mert_fail(e, "%s: made by codebook %016llx:%lld, %s by %016llx:%lld", y->labels.path,
                             (unsigned long long)my->codebook, (long long)my->codebook_index, x->labels.path,
                             (unsigned long long)mx->codebook, (long long)mx->codebook_index);
    }
    return 0;
}

double mert_corpus_entropy(const mert_corpus *c, int k)
{
    const mert_codebook *b = &c->codebooks[k];
    double bits = 0;
    for (int64_t v = 0; v < b->classes; v++)
        if (b->counts[v])
            bits -= (double)b->counts[v] * log2((double)b->counts[v] / (double)b->total);
    return b->total ? bits / (double)b->total : 0;
}

double mert_corpus_cross_entropy(const mert_corpus *model, const mert_corpus *on, int k)
{
    const mert_codebook *m = &model->codebooks[k], *b = &on->codebooks[k];
    double bits = 0;
    for (int64_t v = 0; v < b->classes; v++)
        if (b->counts[v])
            bits -= (double)b->counts[v] * log2((double)(m->counts[v] + 1) / (double)(m->total + m->classes));
    return b->total ? bits / (double)b->total : 0;
}

/* ---- reading ---- */

int64_t mert_corpus_frames(const mert_corpus *c, int64_t item, int64_t first)
{
    int64_t fewest = INT64_MAX;
    for (int k = 0; k < c->K; k++) {
        int64_t end = frame_from(c, &c->codebooks[k], mert_labels_count(&c->codebooks[k].labels, c->items[item].row));
        if (end - first < fewest)
            fewest = end - first;
    }
    return fewest;
}

int mert_corpus_labels(const mert_corpus *c, int64_t item, int k, int64_t first, int64_t T, int32_t *to, mert_error *e)
{
    const mert_codebook *b = &c->codebooks[k];
    int64_t begin = label_at(c, b, first), n = label_at(c, b, first + T - 1) - begin + 1;
    int32_t *room = to;
    int bad;
    if (n > T && !(room = malloc((size_t)n * sizeof *room)))
        return mert_fail(e, "%s: out of memory", b->labels.path);
    bad = mert_labels_read(&b->labels, c->items[item].row, begin, n, room, e);
    /* From the end if labels are sparser than frames, so that spreading them in place overwrites none that is still
     * needed. */
    if (!bad && room == to)
        for (int64_t t = T - 1; t >= 0; t--)
            to[t] = to[label_at(c, b, first + t) - begin];
    else if (!bad)
        for (int64_t t = 0; t < T; t++)
            to[t] = room[label_at(c, b, first + t) - begin];
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
        to[i] = (float)((const int16_t *)data)[skip + i] * 0x1p-15f;
}

/* The open record's samples from `first` on. */
static int read_chunks(mts_reader *r, int64_t first, int64_t n, float *to, mert_error *e)
{
    int64_t at = 0, done = 0;
    while (done < n) {
        int event = mts_next(r);
        if (event == MTS_CHUNK) {
            int64_t size = mts_reader_frames(r), skip = first + done - at, take;
            at += size;
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

int mert_corpus_audio(mert_corpus *c, int64_t item, int64_t first, int64_t n, float *to, mert_error *e)
{
    const mert_corpus_item *i = &c->items[item];
    struct mert_corpus_file *f = &c->files[i->file];
    mts_entry entry = {.offset = i->offset};
    int bad;
    if (!f->reader)
        return mert_fail(e, "%s: out of memory", f->name);
    if (mts_reader_seek(f->reader, &entry) || mts_next(f->reader) != MTS_RECORD)
        bad = mert_fail(e, "%s: %s", mert_corpus_key(c, item), mts_reader_error(f->reader));
    else
        bad = read_chunks(f->reader, first, n, to, e);
    /* A reader that failed stays failed: the next item gets a new one. */
    if (bad) {
        mts_reader_close(f->reader);
        f->reader = mts_reader_open(f->stream, f->name);
    }
    return bad;
}
