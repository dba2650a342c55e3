#include "libcommon/train/data/corpus.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/train/data/decoders.h"
#include "libcommon/train/data/keys.h"
#include "libcommon/train/data/open_files.h"
#include "libcommon/train/data/records.h"

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

static int check_pcm(const mert_corpus *c, const char *file, const mert_record_kind *kind, const char *key,
                     mert_error *e)
{
    const mts_record r = mert_record_of(kind);
    if (strcmp(r.kind, "pcm"))
        return mert_fail(e, "%s: %s: a record of kind %s, pcm is needed: audio goes through mert-decode", file, key,
                         r.kind);
    if (r.sample_rate != c->config.sample_rate)
        return mert_fail(e, "%s: %s: sample rate is %" PRId64 " Hz, the recipe needs %" PRId64
                         " Hz: mert-decode --rate %" PRId64, file, key, r.sample_rate, c->config.sample_rate,
                         c->config.sample_rate);
    if (mts_record_width(&r) != 1)
        return mert_fail(e, "%s: %s: %" PRId64 " channels, one is needed", file, key, mts_record_width(&r));
    if (r.dtype != MTS_F32 && r.dtype != MTS_I16)
        return mert_fail(e, "%s: %s: samples are %s, f32 or i16 are needed", file, key, mts_dtype_name(r.dtype));
    return 0;
}

static int begins_as_stream(const char *path)
{
    unsigned char head[4];
    FILE *f = fopen(path, "rb");
    int does = f && fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head, "\x54\x2a\x4d\x18", sizeof head);
    if (f)
        fclose(f);
    return does;
}

static int add_way_on(mert_error *e)
{
    size_t n = strlen(e->text);
    snprintf(e->text + n, sizeof e->text - n, ": audio goes through mert-decode");
    return -1;
}

enum { ABSENT = -1, FAILED = -2 }; /* values of `samples`: not found yet; reported as failed */

/* The rows of all manifests, while they are looked up in packed audio, which may have other items, too, in another
 * order. */
typedef struct search {
    mert_keys keys;
    mert_corpus_item *places; /* [rows] */
    uint64_t *sounds;         /* [rows]: XXH64 of their packed samples */
} search;

static const char *row_key(const mert_corpus *c, const mert_corpus_item *i)
{
    return c->parts[i->part].manifest.rows[i->row].path;
}

static int take_records(mert_corpus *c, int number, const mert_records *r, search *s, mert_error *e)
{
    const char *name = c->files[number];
    int64_t unknown = 0, row; /* kinds below it were checked */
    for (int64_t i = 0; i < r->facts->failed; i++) {
        row = mert_keys_find(&s->keys, r->failed[i]);
        if (row >= 0 && s->places[row].samples == ABSENT)
            s->places[row].samples = FAILED;
    }
    c->nameless |= (int)r->facts->nameless;
    for (int64_t i = 0; i < r->facts->records; i++) {
        const mert_record_place *p = &r->places[i];
        mert_corpus_item *to;
        if ((row = mert_keys_find(&s->keys, p->key)) < 0)
            continue;
        to = &s->places[row];
        if (p->kind < 0 || p->kind >= r->facts->kinds)
            return mert_fail(e, "%s.index: is not of this file: remove it", name);
        if (p->kind >= unknown) {
            if (check_pcm(c, name, &r->kinds[p->kind], row_key(c, to), e))
                return -1;
            unknown = p->kind == unknown ? unknown + 1 : unknown;
        }
        if (to->samples >= 0)
            return mert_fail(e, "%s: %s: a second time, after %s", name, row_key(c, to), c->files[to->file]);
        to->samples = p->steps;
        to->offset = p->offset;
        to->file = number;
        s->sounds[row] = p->payload;
    }
    return 0;
}

static int index_file(mert_corpus *c, const char *name, search *s, mert_error *e)
{
    mert_records r;
    int bad;
    if (!(c->files[c->nfiles] = strdup(name)))
        return mert_fail(e, "%s: out of memory", name);
    c->nfiles++;
    if (mert_file_regular(name, e)) /* the readers seek in it */
        return -1;
    if (mert_records_open(&r, name, c->config.keeping, e))
        return begins_as_stream(name) || access(name, R_OK) ? -1 : add_way_on(e);
    bad = take_records(c, c->nfiles - 1, &r, s, e);
    mert_records_close(&r);
    return bad;
}

/* The part of a row, which is numbered over all parts. */
static int part_with(const mert_corpus *c, int64_t row)
{
    int p = c->nparts - 1;
    while (p > 0 && c->parts[p].first > row)
        p--;
    return p;
}

/* All rows by the hash of their names; a name that is there twice is an error. */
static int name_rows(const mert_corpus *c, mert_keys *keys, mert_error *e)
{
    if (mert_keys_begin(keys, c->rows, e))
        return -1;
    for (int64_t row = 0; row < c->rows; row++) {
        const char *key = row_key(c, &c->items[row]);
        int64_t there = mert_keys_add(keys, mert_record_key(key));
        if (there < 0)
            continue;
        if (strcmp(key, row_key(c, &c->items[there]))) /* not to be expected, but it would mix up two items */
            return mert_fail(e, "%s and %s have the same hash: rename one of them", key, row_key(c, &c->items[there]));
        return mert_fail(e, "%s stands in two shards: %s and %s", key, c->parts[part_with(c, there)].path,
                         c->parts[part_with(c, row)].path);
    }
    return 0;
}

static int open_audio(mert_corpus *c, const char *const *pcm, int npcm, search *s, mert_error *e)
{
    int bad = name_rows(c, &s->keys, e);
    c->files = mert_array_zeroed(npcm, sizeof *c->files);
    if (!bad && !c->files)
        bad = mert_fail(e, "out of memory");
    for (int64_t row = 0; !bad && (c->config.unpacked || c->config.in_place) && row < c->rows; row++)
        s->places[row].samples = c->parts[s->places[row].part].manifest.rows[s->places[row].row].samples;
    for (int i = 0; !bad && i < npcm; i++)
        bad = index_file(c, pcm[i], s, e);
    mert_keys_free(&s->keys);
    return bad;
}

/* ---- joining labels and audio ---- */

/* Checks the labels of a row: as long as the audio, all below the number of classes. */
static int check_labels(const mert_corpus *c, const mert_corpus_item *item, int k, mert_error *e)
{
    const mert_codebook_labels *b = &c->codebooks[k];
    const mert_labels *l = &c->parts[item->part].labels[k];
    int64_t n = mert_corpus_part_count(&c->parts[item->part], k, item->row);
    double audio = (double)item->samples / (double)c->config.sample_rate,
           labels = (double)n * (double)b->rate_den / (double)b->rate_num;
    if (fabs(audio - labels) > c->config.label_tolerance)
        return mert_fail(e, "%s: line %" PRId64 " (%s): %" PRId64 " labels cover %.2f s, the audio lasts %.2f s%s",
                         l->path, item->row + 1, row_key(c, item), n, labels, audio,
                         c->config.unpacked || c->config.in_place ? " if the manifest was made for the recipe's rate" : "");
    if (n > INT32_MAX)
        return mert_fail(e, "%s: line %" PRId64 ": %" PRId64 " labels: at most %d", l->path, item->row + 1, n,
                         INT32_MAX);
    return mert_corpus_part_check(&c->parts[item->part], k, item->row, b->classes, e);
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
        file = c->files[0];
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

/* Leaves out a row with bad labels; fails if it is one more than allowed. */
static int leave_out_bad(mert_corpus *c, const mert_corpus_item *item, const mert_error *why, mert_error *e)
{
    int64_t most = c->config.bad_max < 0 ? (int64_t)((double)c->rows * c->config.bad_percent / 100) : c->config.bad_max;
    if (c->nbad >= most)
        return mert_fail(e, "%s%s", why->text, c->nbad ? ": one bad row more than --max-failed says" : "");
    if (!c->nbad) {
        c->bad_key = row_key(c, item);
        if (!(c->bad_why = strdup(why->text)))
            return mert_fail(e, "out of memory");
    }
    c->nbad++;
    c->failed++;
    return 0;
}

/* Keeps and checks the rows that have labels and audio. */
static int gather(mert_corpus *c, search *s, mert_error *e)
{
    mts_xxh64_state sound;
    for (int64_t row = 0, part = -1; row < c->rows; row++) {
        mert_corpus_item item = s->places[row];
        mert_corpus_part *p = &c->parts[item.part];
        uint64_t facts[] = {(uint64_t)item.samples, s->sounds[row]};
        mert_error why = {{0}};
        int bad = 0;
        if (item.part != part)
            mts_xxh64_begin(&sound, 0);
        part = item.part;
        if (row % 65536 == 0)
            mert_corpus_part_rest(p);
        if (row_failed(c, &item)) {
            if (leave_out(c, &item, e))
                return -1;
            continue;
        }
        for (int k = 0; !bad && k < c->K; k++)
            bad = check_labels(c, &item, k, &why);
        if (bad) {
            if (leave_out_bad(c, &item, &why, e))
                return -1;
            continue;
        }
        item.labels = (int32_t)mert_corpus_part_count(p, 0, item.row);
        for (int k = 1; k < c->K; k++)
            if (mert_corpus_part_count(p, k, item.row) != item.labels)
                item.labels = -1;
        c->items[c->n++] = item;
        p->items++;
        mts_xxh64_add(&sound, facts, sizeof facts);
        p->sound = mts_xxh64_end(&sound, 0);
        c->off_count += item.samples != p->manifest.rows[item.row].samples;
        c->seconds += (double)item.samples / (double)c->config.sample_rate;
    }
    return 0;
}

/* Goes through the items of a part in the order of its rows. */
typedef struct row_cursor {
    const mert_corpus *c;
    int part;
    int64_t first, at; /* the part's first item; the next one */
} row_cursor;

static void begin_rows(void *arg)
{
    row_cursor *w = arg;
    w->at = w->first;
}

static int is_item(void *arg, int64_t row)
{
    row_cursor *w = arg;
    while (w->at < w->c->n && w->c->items[w->at].part == w->part && w->c->items[w->at].row < row)
        w->at++;
    return w->at < w->c->n && w->c->items[w->at].part == w->part && w->c->items[w->at].row == row;
}

static int add_up(mert_corpus *c, mert_error *e)
{
    int64_t first = 0;
    for (int p = 0; p < c->nparts; first += c->parts[p++].items)
        for (int k = 0; k < c->K; k++) {
            row_cursor w = {c, p, first, first};
            const mert_corpus_rows items = {begin_rows, is_item, &w};
            if (mert_corpus_part_add_up(&c->parts[p], k, &c->codebooks[k], &items, c->config.keeping, e))
                return -1;
        }
    return 0;
}

/* Finds the audio of the rows, and keeps those that have labels, too. */
static int bring_together(mert_corpus *c, const char *const *pcm, int npcm, mert_error *e)
{
    search s = {.places = c->items, .sounds = mert_array_zeroed(c->rows, sizeof *s.sounds)};
    int bad = !s.sounds ? mert_fail(e, "out of memory for %" PRId64 " rows", c->rows)
                        : open_audio(c, pcm, npcm, &s, e) || gather(c, &s, e);
    mert_keys_free(&s.keys);
    free(s.sounds);
    return bad || add_up(c, e) ? -1 : 0;
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
    if (open_parts(c, manifest, labels, nlabels, e) || name_items(c, e) || bring_together(c, pcm, npcm, e))
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
    mert_open_files_free(c->open_files);
    mert_decoders_free(c->decoders, NULL);
    for (int p = 0; p < c->nparts; p++)
        mert_corpus_part_close(&c->parts[p]);
    for (int k = 0; k < c->K; k++)
        free(c->codebooks[k].counts);
    for (int i = 0; i < c->nfiles; i++)
        free(c->files[i]);
    free(c->parts);
    free(c->codebooks);
    free(c->files);
    free(c->items);
    free(c->levels);
    free(c->states);
    free(c->absent);
    free(c->bad_why);
    memset(c, 0, sizeof *c);
}

void mert_corpus_keep(mert_corpus *c, int (*keep)(void *arg, const char *key), void *arg)
{
    int64_t n = 0;
    c->seconds = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (keep(arg, row_key(c, &c->items[i]))) {
            c->seconds += (double)c->items[i].samples / (double)c->config.sample_rate;
            c->items[n++] = c->items[i];
        }
    c->n = n;
}

int mert_corpus_join(mert_corpus *c, mert_corpus *replay, mert_error *e)
{
    if (mert_corpus_fits(c, replay, e))
        return -1;
    c->replay = replay;
    return 0;
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
    if (c->replay) {
        uint64_t replay = mert_corpus_hash(c->replay);
        mts_xxh64_add(&x, &replay, sizeof replay);
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
