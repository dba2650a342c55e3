#include "libcommon/train/data/corpus.h"

#include "formats/array.h"
#include "formats/file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- parts ---- */

static int open_part(mert_corpus *c, const char *manifest, const char *const *labels, int nlabels, int shard,
                     mert_error *e)
{
    mert_corpus_part *p = &c->parts[c->nparts++];
    if (mert_corpus_part_open(p, &c->config, manifest, labels, nlabels, shard, c->codebooks, &c->K, e))
        return -1;
    p->first = c->rows;
    c->rows += p->manifest.n;
    return 0;
}

static int open_parts(mert_corpus *c, const char *manifest, const char *const *labels, int nlabels, mert_error *e)
{
    int shards = c->config.shards > 1 ? c->config.shards : 1, bad = 0;
    c->parts = mert_array_zeroed(shards, sizeof *c->parts);
    c->codebooks = mert_array_zeroed(MERT_CODEBOOKS_MAX, sizeof *c->codebooks);
    if (!c->parts || !c->codebooks)
        return mert_fail(e, "%s: out of memory", manifest);
    if (!mert_shards_apart(manifest, shards))
        return open_part(c, manifest, labels, nlabels, -1, e);
    for (int i = 0; !bad && i < shards; i++) {
        char *name = mert_shard_name(manifest, i, shards);
        bad = name ? open_part(c, name, labels, nlabels, i, e) : mert_fail(e, "%s: out of memory", manifest);
        free(name);
    }
    return bad;
}

/* The shard of a row: its part or, with a single manifest, by its position. */
static int shard_of(const mert_corpus *c, int part, int64_t row)
{
    int64_t first, end;
    if (c->nparts > 1 || c->config.shards < 2)
        return part;
    for (int i = 0; i < c->config.shards; i++) {
        mert_shard_rows(c->rows, i, c->config.shards, &first, &end);
        if (row < end)
            return i;
    }
    return c->config.shards - 1;
}

/* ---- packed audio ---- */

static int check_pcm(const mert_corpus *c, const char *file, const mts_record *r, mert_error *e)
{
    if (strcmp(r->kind, "pcm"))
        return mert_fail(e, "%s: %s: a record of kind %s, pcm is needed: audio goes through mert-decode", file,
                         r->key, r->kind);
    if (r->sample_rate != c->config.sample_rate)
        return mert_fail(e, "%s: %s: sample rate is %" PRId64 " Hz, the recipe needs %" PRId64
                         " Hz: mert-decode --rate %" PRId64, file, r->key, r->sample_rate, c->config.sample_rate,
                         c->config.sample_rate);
    if (mts_record_width(r) != 1)
        return mert_fail(e, "%s: %s: %" PRId64 " channels, one is needed", file, r->key, mts_record_width(r));
    if (r->dtype != MTS_F32 && r->dtype != MTS_I16)
        return mert_fail(e, "%s: %s: samples are %s, f32 or i16 are needed", file, r->key, mts_dtype_name(r->dtype));
    return 0;
}

typedef struct named_row {
    const char *key;
    int64_t row; /* number of the row over all parts */
} named_row;

static int by_key(const void *a, const void *b)
{
    return strcmp(((const named_row *)a)->key, ((const named_row *)b)->key);
}

/* Finds the row of a record by its key, because packed audio may have other items, too, in another order. -1: none. */
static int64_t row_of(const mert_corpus *c, const named_row *names, const char *key)
{
    named_row wanted = {key, 0}, *found = bsearch(&wanted, names, (size_t)c->rows, sizeof *names, by_key);
    return found ? found->row : -1;
}

static int begins_as_stream(FILE *f)
{
    unsigned char head[4];
    return !fseeko(f, 0, SEEK_SET) && fread(head, 1, sizeof head, f) == sizeof head &&
           !memcmp(head, "\x54\x2a\x4d\x18", sizeof head);
}

static int add_way_on(mert_error *e)
{
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": audio goes through mert-decode");
    return -1;
}

enum { ABSENT = -1, FAILED = -2 }; /* values of `samples`: not found yet; reported as failed */

/* places: [rows of all manifests]. */
static int index_file(mert_corpus *c, int number, const named_row *names, mert_corpus_item *places, mert_error *e)
{
    struct mert_corpus_file *f = &c->files[number];
    mts_index x;
    int bad = 0;
    if (mts_index_make(&x, f->stream, f->name, e->text, sizeof e->text))
        return begins_as_stream(f->stream) ? -1 : add_way_on(e);
    if (x.damaged)
        bad = -1;
    for (int64_t i = 0; !bad && i < x.failed; i++) {
        int64_t row = row_of(c, names, x.failures[i].key);
        c->nameless |= !*x.failures[i].key;
        if (row >= 0 && places[row].samples == ABSENT)
            places[row].samples = FAILED;
    }
    for (size_t i = 0; !bad && i < x.n; i++) {
        const mts_record *r = &x.entries[i].record;
        int64_t row = row_of(c, names, r->key);
        if (row < 0)
            continue;
        if (check_pcm(c, f->name, r, e))
            bad = -1;
        else if (places[row].samples >= 0)
            bad = mert_fail(e, "%s: %s: a second time, after %s", f->name, r->key, c->files[places[row].file].name);
        else {
            places[row].samples = r->shape[0];
            places[row].offset = x.entries[i].offset;
            places[row].sound = x.entries[i].payload;
            places[row].file = number;
        }
    }
    mts_index_free(&x);
    return bad;
}

static int open_file(mert_corpus *c, const char *name, mert_error *e)
{
    struct mert_corpus_file *f = &c->files[c->nfiles];
    if (mert_file_regular(name, e)) /* the reader seeks in it */
        return -1;
    if (!(f->stream = fopen(name, "rb")))
        return mert_fail(e, "%s: %s", name, strerror(errno));
    c->nfiles++;
    f->name = strdup(name);
    return f->name ? 0 : mert_fail(e, "%s: out of memory", name);
}

/* The part of a row, which is numbered over all parts. */
static int part_with(const mert_corpus *c, int64_t row)
{
    int p = c->nparts - 1;
    while (p > 0 && c->parts[p].first > row)
        p--;
    return p;
}

/* All rows, sorted by name; a name that is there twice is an error. NULL: error. */
static named_row *name_rows(const mert_corpus *c, mert_error *e)
{
    named_row *names = mert_array(c->rows, sizeof *names);
    if (!names) {
        mert_fail(e, "out of memory");
        return NULL;
    }
    for (int p = 0; p < c->nparts; p++)
        for (int64_t i = 0; i < c->parts[p].manifest.n; i++)
            names[c->parts[p].first + i] = (named_row){c->parts[p].manifest.rows[i].path, c->parts[p].first + i};
    qsort(names, (size_t)c->rows, sizeof *names, by_key);
    for (int64_t i = 1; i < c->rows; i++)
        if (!strcmp(names[i - 1].key, names[i].key)) {
            mert_fail(e, "%s stands in two shards: %s and %s", names[i].key, c->parts[part_with(c, names[i - 1].row)].path,
                      c->parts[part_with(c, names[i].row)].path);
            free(names);
            return NULL;
        }
    return names;
}

static int open_audio(mert_corpus *c, const char *const *pcm, int npcm, mert_corpus_item *places, mert_error *e)
{
    named_row *names = name_rows(c, e);
    int bad = 0;
    if (!names)
        return -1;
    c->files = mert_array_zeroed(npcm, sizeof *c->files);
    if (!c->files)
        bad = mert_fail(e, "out of memory");
    for (int64_t row = 0; !bad && c->config.unpacked && row < c->rows; row++)
        places[row].samples = c->parts[places[row].part].manifest.rows[places[row].row].samples;
    for (int i = 0; !bad && i < npcm; i++)
        bad = open_file(c, pcm[i], e) || index_file(c, i, names, places, e);
    free(names);
    return bad;
}

/* ---- joining labels and audio ---- */

static int count_labels(mert_corpus *c, const mert_corpus_item *item, int k, int32_t **room, int64_t *size,
                        mert_error *e)
{
    mert_codebook_labels *b = &c->codebooks[k];
    const mert_labels *l = &c->parts[item->part].labels[k];
    int64_t n = mert_corpus_part_count(&c->parts[item->part], k, item->row);
    double audio = (double)item->samples / (double)c->config.sample_rate,
           labels = (double)n * (double)b->rate_den / (double)b->rate_num;
    if (fabs(audio - labels) > c->config.label_tolerance)
        return mert_fail(e, "%s: line %" PRId64 " (%s): %" PRId64 " labels cover %.2f s, the audio lasts %.2f s%s",
                         l->path, item->row + 1, c->parts[item->part].manifest.rows[item->row].path, n, labels, audio,
                         c->config.unpacked ? " if the manifest was made for the recipe's rate" : "");
    if (n > *size) {
        int32_t *grown = mert_array_resize(*room, n, sizeof *grown);
        if (!grown)
            return mert_fail(e, "%s: out of memory", l->path);
        *room = grown;
        *size = n;
    }
    if (n > INT32_MAX)
        return mert_fail(e, "%s: line %" PRId64 ": %" PRId64 " labels: at most %d", l->path, item->row + 1, n,
                         INT32_MAX);
    c->labelled[(c->n - 1) * c->K + k] = (int32_t)n;
    if (mert_corpus_part_read(&c->parts[item->part], k, item->row, 0, n, *room, e))
        return -1;
    mts_xxh64_add(&c->parts[item->part].columns[k].sum, &n, sizeof n);
    mts_xxh64_add(&c->parts[item->part].columns[k].sum, *room, (size_t)n * sizeof **room);
    for (int64_t i = 0; i < n; i++) {
        if ((*room)[i] < 0 || (*room)[i] >= b->classes)
            return mert_fail(e, "%s: line %" PRId64 ": label %d is not below the %" PRId64 " classes", l->path,
                             item->row + 1, (int)(*room)[i], b->classes);
        b->counts[(*room)[i]]++;
    }
    b->total += n;
    return 0;
}

static int row_failed(const mert_corpus *c, const mert_corpus_item *place)
{
    int failed = place->samples < 0;
    for (int k = 0; k < c->K; k++)
        failed |= mert_corpus_part_count(&c->parts[place->part], k, place->row) == 0;
    return failed;
}

/* Counts a row that is left out: it failed before (empty labels, or a failed record), or the streams have no record of
 * it. */
static int leave_out(mert_corpus *c, const mert_corpus_item *place, mert_error *e)
{
    const mert_corpus_part *p = &c->parts[place->part];
    const char *key = p->manifest.rows[place->row].path, *file = NULL;
    int absent = place->samples == ABSENT && !c->nameless;
    if (absent && c->nfiles == 1)
        file = c->files[0].name;
    for (int k = 0; k < c->K; k++)
        if (p->columns[k].codes && place->samples != FAILED && mert_codes_absent(p->columns[k].codes, place->row)) {
            file = absent ? file : p->columns[k].codes->path;
            absent = 1;
        } else if (mert_corpus_part_count(p, k, place->row) == 0) {
            absent = 0;
            break;
        }
    c->failed++;
    if (!absent) {
        c->failed_key = c->failed_key ? c->failed_key : key;
        return 0;
    }
    if (!(c->nabsent & (c->nabsent - 1))) { /* grows at powers of two */
        void *grown = mert_array_resize(c->absent, c->nabsent ? 2 * c->nabsent : 1, sizeof *c->absent);
        if (!grown)
            return mert_fail(e, "out of memory");
        c->absent = grown;
    }
    c->absent[c->nabsent++] = (struct mert_corpus_absent){key, p->path, file};
    return 0;
}

/* Keeps and checks the rows that have labels and audio, and counts their labels. */
static int gather(mert_corpus *c, mert_error *e)
{
    int32_t *room = NULL;
    int64_t size = 0;
    int bad = 0;
    if (!(c->labelled = mert_array(mert_array_count(c->rows, c->K), sizeof *c->labelled)))
        return mert_fail(e, "out of memory for %" PRId64 " rows", c->rows);
    for (int64_t row = 0; !bad && row < c->rows; row++) {
        mert_corpus_item item = c->items[row];
        const mert_manifest_row *listed = &c->parts[item.part].manifest.rows[item.row];
        if (row_failed(c, &item)) {
            bad = leave_out(c, &item, e);
            continue;
        }
        c->items[c->n++] = item;
        c->off_count += item.samples != listed->samples;
        c->seconds += (double)item.samples / (double)c->config.sample_rate;
        for (int k = 0; !bad && k < c->K; k++)
            bad = count_labels(c, &item, k, &room, &size, e);
    }
    free(room);
    return bad;
}

static int name_items(mert_corpus *c, mert_error *e)
{
    c->items = mert_array(c->rows, sizeof *c->items);
    if (!c->items)
        return mert_fail(e, "out of memory for %" PRId64 " rows", c->rows);
    for (int p = 0; p < c->nparts; p++)
        for (int64_t i = 0; i < c->parts[p].manifest.n; i++)
            c->items[c->parts[p].first + i] =
                (mert_corpus_item){.row = i, .part = p, .shard = shard_of(c, p, i), .samples = ABSENT};
    return 0;
}

int mert_corpus_open(mert_corpus *c, const mert_corpus_config *config, const char *manifest, const char *const *labels,
                     int nlabels, const char *const *pcm, int npcm, mert_error *e)
{
    memset(c, 0, sizeof *c);
    c->config = *config;
    if (open_parts(c, manifest, labels, nlabels, e) || name_items(c, e) || open_audio(c, pcm, npcm, c->items, e) ||
        gather(c, e))
        goto fail;
    if (!c->n && c->nabsent && c->absent->file) {
        mert_fail(e, "%s: none of its %" PRId64 " rows has both labels and audio: %s is not in %s", manifest, c->rows,
                  c->absent->key, c->absent->file);
        goto fail;
    }
    if (!c->n) {
        mert_fail(e, "%s: none of its %" PRId64 " rows has both labels and audio", manifest, c->rows);
        goto fail;
    }
    return 0;
fail:
    mert_corpus_close(c);
    return -1;
}

void mert_corpus_close(mert_corpus *c)
{
    mert_corpus_read_end(c);
    for (int p = 0; p < c->nparts; p++)
        mert_corpus_part_close(&c->parts[p]);
    for (int k = 0; k < c->K; k++)
        free(c->codebooks[k].counts);
    for (int i = 0; i < c->nfiles; i++) {
        fclose(c->files[i].stream);
        free(c->files[i].name);
    }
    free(c->parts);
    free(c->codebooks);
    free(c->files);
    free(c->items);
    free(c->absent);
    free(c->labelled);
    memset(c, 0, sizeof *c);
}

int mert_corpus_join(mert_corpus *c, mert_corpus *older, mert_error *e)
{
    if (mert_corpus_fits(c, older, e))
        return -1;
    c->older = older;
    return 0;
}

const char *mert_corpus_key(const mert_corpus *c, int64_t item)
{
    c = mert_corpus_owner(c, &item);
    return c->parts[c->items[item].part].manifest.rows[c->items[item].row].path;
}

void mert_corpus_metas(const mert_corpus *c, mert_labels_meta *metas)
{
    for (int k = 0; k < c->K; k++) {
        metas[k] = c->codebooks[k].meta;
        metas[k].classes = c->codebooks[k].classes;
    }
}

uint64_t mert_corpus_hash(const mert_corpus *c)
{
    mts_xxh64_state x;
    mts_xxh64_begin(&x, 0);
    for (int p = 0; p < c->nparts; p++)
        mts_xxh64_add(&x, &c->parts[p].manifest.hash, sizeof c->parts[p].manifest.hash);
    for (int k = 0; k < c->K; k++) {
        const mert_codebook_labels *b = &c->codebooks[k];
        int64_t facts[] = {b->classes, b->rate_num, b->rate_den, (int64_t)b->meta.codebook, b->meta.codebook_index,
                           b->total};
        mts_xxh64_add(&x, facts, sizeof facts);
    }
    if (c->older) {
        uint64_t older = mert_corpus_hash(c->older);
        mts_xxh64_add(&x, &older, sizeof older);
    }
    return mts_xxh64_end(&x, 0);
}

int mert_corpus_fits(const mert_corpus *a, const mert_corpus *b, mert_error *e)
{
    if (a->K != b->K)
        return mert_fail(e, "%s: %d codebooks, %s has %d", b->codebooks[0].path, b->K,
                         a->codebooks[0].path, a->K);
    for (int k = 0; k < a->K; k++) {
        const mert_codebook_labels *x = &a->codebooks[k], *y = &b->codebooks[k];
        const mert_labels_meta *mx = &x->meta, *my = &y->meta;
        if (x->classes != y->classes)
            return mert_fail(e, "%s: %" PRId64 " classes, %s has %" PRId64, y->path, y->classes, x->path, x->classes);
        if (x->rate_num * y->rate_den != y->rate_num * x->rate_den)
            return mert_fail(e, "%s: %g labels per second, %s has %g", y->path,
                             (double)y->rate_num / (double)y->rate_den, x->path,
                             (double)x->rate_num / (double)x->rate_den);
        if (mx->codebook && my->codebook && (mx->codebook != my->codebook || mx->codebook_index != my->codebook_index))
            return mert_fail(e, "%s: made by codebook %016" PRIx64 ":%" PRId64 ", %s by %016" PRIx64 ":%" PRId64,
                             y->path, my->codebook, my->codebook_index, x->path, mx->codebook, mx->codebook_index);
    }
    return 0;
}
