#include "mts_reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for one more element after n; -1: out of memory. */
static int grow(void **list, size_t *room, size_t n, size_t size)
{
    void *grown;
    if (n < *room)
        return 0;
    if (!(grown = realloc(*list, (*room ? 2 * *room : 64) * size)))
        return -1;
    *list = grown;
    *room = *room ? 2 * *room : 64;
    return 0;
}

/* Uses a reader that skips data frames by seeking. */
static int scan(mts_reader *r, const mts_index_visitor *v, int64_t *damaged, char *error, size_t size)
{
    mts_entry entry = {.stream = -1};
    for (int event; (event = mts_next(r)) != MTS_EOF;) {
        switch (event) {
        case MTS_ERROR:
            return snprintf(error, size, "%s", mts_reader_error(r)), -1;
        case MTS_BEGIN:
            entry.stream++;
            break;
        case MTS_RECORD:
            entry.offset = r->frame_at;
            mts_skip(r);
            break;
        case MTS_FAILED:
        case MTS_DAMAGE:
            if (!r->failure.here) {
                if (v->failed && v->failed(v->arg, &r->failure))
                    return snprintf(error, size, "%s: out of memory for the index", r->name), -1;
            } else if (!(*damaged)++)
                snprintf(error, size, "%s", r->failure.reason);
            break;
        case MTS_RECORD_END:
            entry.payload = r->frame.payload;
            entry.record = r->record;
            if (v->record && v->record(v->arg, &entry))
                return snprintf(error, size, "%s: out of memory for the index", r->name), -1;
            break;
        }
    }
    return 0;
}

int mts_index_scan(FILE *f, const char *name, const mts_index_visitor *visitor, int64_t *damaged, char *error,
                   size_t size)
{
    mts_reader *r;
    *damaged = 0;
    if (size)
        error[0] = 0;
    if (fseeko(f, 0, SEEK_SET))
        return snprintf(error, size, "%s: cannot seek: %s", name, strerror(errno)), -1;
    if (!(r = mts_reader_open(f, name)))
        return snprintf(error, size, "%s: out of memory", name), -1;
    r->jump = 1;
    int rc = scan(r, visitor, damaged, error, size);
    mts_reader_close(r);
    rewind(f);
    return rc;
}

typedef struct collection {
    mts_index *index;
    size_t room, failures_room;
} collection;

static int collect_record(void *arg, const mts_entry *entry)
{
    collection *c = arg;
    if (grow((void **)&c->index->entries, &c->room, c->index->n, sizeof *entry))
        return -1;
    c->index->entries[c->index->n++] = *entry;
    return 0;
}

static int collect_failure(void *arg, const mts_failure *failure)
{
    collection *c = arg;
    mts_index *x = c->index;
    struct mts_failed_item *f;
    if (grow((void **)&x->failures, &c->failures_room, (size_t)x->failed, sizeof *x->failures))
        return -1;
    f = &x->failures[x->failed++];
    memcpy(f->key, failure->key, sizeof f->key);
    f->row = failure->row;
    return 0;
}

int mts_index_make(mts_index *x, FILE *f, const char *name, char *error, size_t size)
{
    collection c = {.index = x};
    const mts_index_visitor visitor = {collect_record, collect_failure, &c};
    memset(x, 0, sizeof *x);
    int rc = mts_index_scan(f, name, &visitor, &x->damaged, error, size);
    if (rc)
        mts_index_free(x);
    return rc;
}

void mts_index_free(mts_index *x)
{
    free(x->entries);
    free(x->failures);
    memset(x, 0, sizeof *x);
}

int mts_reader_seek(mts_reader *r, const mts_entry *entry)
{
    clearerr(r->in.f);
    if (fseeko(r->in.f, (off_t)entry->offset, SEEK_SET)) {
        snprintf(r->error, sizeof r->error, "%.400s: cannot seek: %s", r->name, strerror(errno));
        return -1;
    }
    mts_input_drop(&r->in, r->in.n);
    r->in.offset = entry->offset;
    r->in.error = 0;
    r->pending = r->finished = r->unended = r->announce = 0;
    r->damage.active = 0;
    r->adopt = 1;
    return r->error[0] ? -1 : 0;
}
