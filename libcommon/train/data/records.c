#include "libcommon/train/data/records.h"

#include "formats/array.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FACTS, PLACES, KINDS, FAILED, SECTIONS };
enum { WORTH = 16 }; /* files with fewer records get no index file */

uint64_t mert_record_key(const char *key)
{
    return mts_xxh64(key, strlen(key), 0);
}

/* ---- making an index ---- */

typedef struct finding {
    mert_records_facts facts;
    mert_record_place *places;
    mert_record_kind *kinds;
    uint64_t *failed;
    int64_t places_room, kinds_room, failed_room;
} finding;

/* The number of the record's kind, which is added if it is new; -1: out of memory. */
static int64_t kind_of(finding *f, const mts_record *r)
{
    mert_record_kind k = {.dtype = r->dtype, .ndim = r->ndim, .sample_rate = r->sample_rate,
                          .frame_rate_num = r->frame_rate_num, .frame_rate_den = r->frame_rate_den,
                          .ncodebooks = r->ncodebooks, .model = r->model};
    mert_record_kind *grown;
    snprintf(k.kind, sizeof k.kind, "%s", r->kind);
    for (int i = 1; i < r->ndim; i++)
        k.shape[i] = r->shape[i];
    for (int i = 0; i < r->ncodebooks; i++)
        k.classes[i] = r->classes[i];
    for (int64_t i = f->facts.kinds - 1; i >= 0; i--)
        if (!memcmp(&f->kinds[i], &k, sizeof k))
            return i;
    if (!(grown = mert_array_grow(f->kinds, &f->kinds_room, f->facts.kinds + 1, sizeof *grown)))
        return -1;
    f->kinds = grown;
    f->kinds[f->facts.kinds] = k;
    return f->facts.kinds++;
}

static int add_record(void *arg, const mts_entry *entry)
{
    finding *f = arg;
    int64_t kind = kind_of(f, &entry->record);
    mert_record_place *grown = mert_array_grow(f->places, &f->places_room, f->facts.records + 1, sizeof *grown);
    if (grown)
        f->places = grown;
    if (kind < 0 || !grown)
        return -1;
    f->places[f->facts.records++] = (mert_record_place){.offset = entry->offset,
                                                        .steps = entry->record.shape[0],
                                                        .key = mert_record_key(entry->record.key),
                                                        .payload = entry->payload,
                                                        .kind = kind};
    return 0;
}

static int add_failed(void *arg, const mts_failure *failure)
{
    finding *f = arg;
    uint64_t *grown = mert_array_grow(f->failed, &f->failed_room, f->facts.failed + 1, sizeof *grown);
    if (!grown)
        return -1;
    f->failed = grown;
    f->failed[f->facts.failed++] = mert_record_key(failure->key);
    f->facts.nameless |= !*failure->key;
    return 0;
}

static uint64_t manifest_of(FILE *f, const char *path)
{
    mts_reader *r = mts_reader_open(f, path);
    uint64_t manifest = r && mts_next(r) == MTS_BEGIN ? mts_reader_begin(r)->manifest : 0;
    mts_reader_close(r);
    return manifest;
}

static int find_out(void *arg, mert_index_part *parts, int *worth, mert_error *e)
{
    const char *path = arg;
    finding f = {.places = NULL};
    const mts_index_visitor visitor = {add_record, add_failed, &f};
    mert_records_facts *facts = NULL;
    int64_t damaged = 0;
    FILE *stream = fopen(path, "rb");
    int bad = !stream ? mert_fail(e, "%s: %s", path, strerror(errno))
                      : mts_index_scan(stream, path, &visitor, &damaged, e->text, sizeof e->text) || damaged;
    if (!bad && !(facts = malloc(sizeof *facts)))
        bad = mert_fail(e, "%s: out of memory", path);
    if (!bad)
        f.facts.manifest = manifest_of(stream, path);
    if (stream)
        fclose(stream);
    if (bad) {
        free(f.places);
        free(f.kinds);
        free(f.failed);
        return -1;
    }
    *facts = f.facts;
    parts[FACTS] = (mert_index_part){facts, sizeof *facts};
    parts[PLACES] = (mert_index_part){f.places, (size_t)f.facts.records * sizeof *f.places};
    parts[KINDS] = (mert_index_part){f.kinds, (size_t)f.facts.kinds * sizeof *f.kinds};
    parts[FAILED] = (mert_index_part){f.failed, (size_t)f.facts.failed * sizeof *f.failed};
    *worth = f.facts.records + f.facts.failed >= WORTH;
    return 0;
}

/* ---- using an index ---- */

int mert_records_open(mert_records *r, const char *path, mert_index_keeping keeping, mert_error *e)
{
    size_t bytes[SECTIONS];
    const mert_records_facts *f;
    memset(r, 0, sizeof *r);
    if (mert_index_get(&r->index, path, ".index", "stream", 0, SECTIONS, keeping, find_out, (void *)path, e))
        return -1;
    r->facts = f = mert_index_section(&r->index, FACTS, &bytes[FACTS]);
    r->places = mert_index_section(&r->index, PLACES, &bytes[PLACES]);
    r->kinds = mert_index_section(&r->index, KINDS, &bytes[KINDS]);
    r->failed = mert_index_section(&r->index, FAILED, &bytes[FAILED]);
    if (bytes[FACTS] == sizeof *f && bytes[PLACES] == (size_t)f->records * sizeof *r->places &&
        bytes[KINDS] == (size_t)f->kinds * sizeof *r->kinds && bytes[FAILED] == (size_t)f->failed * sizeof *r->failed)
        return 0;
    mert_records_close(r);
    return mert_fail(e, "%s.index: is not of this file: remove it", path);
}

void mert_records_close(mert_records *r)
{
    mert_index_close(&r->index);
    memset(r, 0, sizeof *r);
}

mts_record mert_record_of(const mert_record_kind *k)
{
    mts_record r = {.row = -1, .dtype = (mts_dtype)k->dtype, .ndim = (int)k->ndim, .shape = {-1},
                    .sample_rate = k->sample_rate, .frame_rate_num = k->frame_rate_num,
                    .frame_rate_den = k->frame_rate_den, .ncodebooks = (int)k->ncodebooks, .model = k->model};
    memcpy(r.kind, k->kind, sizeof r.kind);
    for (int i = 1; i < r.ndim; i++)
        r.shape[i] = k->shape[i];
    for (int i = 0; i < r.ncodebooks; i++)
        r.classes[i] = k->classes[i];
    return r;
}

int mert_records_seek(mts_reader *r, const char *path, int64_t offset, const char *key, int64_t steps, mert_error *e)
{
    mts_entry entry = {.offset = offset};
    const mts_record *is;
    if (mts_reader_seek(r, &entry) || mts_next(r) != MTS_RECORD)
        return mert_fail(e, "%s: %s", key, mts_reader_error(r));
    is = mts_reader_record(r);
    if (strcmp(is->key, key) || (is->shape[0] >= 0 && is->shape[0] != steps))
        return mert_fail(e, "%s: byte %" PRId64 ": is %s of %" PRId64 " time steps, not %s of %" PRId64
                         ": the file was changed since it was indexed",
                         path, offset, is->key, is->shape[0], key, steps);
    return 0;
}
