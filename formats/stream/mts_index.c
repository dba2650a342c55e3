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

static int out_of_memory(const mts_reader *r, char *error, size_t size)
{
    return snprintf(error, size, "%s: out of memory for the index", r->name), -1;
}

/* Uses a reader that skips data frames by seeking. */
static int collect(mts_index *x, mts_reader *r, char *error, size_t size)
{
    size_t room = 0, failures_room = 0;
    int64_t stream = -1, at = 0;
    for (int event; (event = mts_next(r)) != MTS_EOF;) {
        switch (event) {
        case MTS_ERROR:
            return snprintf(error, size, "%s", mts_reader_error(r)), -1;
        case MTS_BEGIN:
            stream++;
            break;
        case MTS_RECORD:
            at = r->frame_at;
            mts_skip(r);
            break;
        case MTS_FAILED:
        case MTS_DAMAGE:
            if (!r->failure.here) {
                struct mts_failed_item *f;
                if (grow((void **)&x->failures, &failures_room, (size_t)x->failed, sizeof *x->failures))
                    return out_of_memory(r, error, size);
                f = &x->failures[x->failed++];
                memcpy(f->key, r->failure.key, sizeof f->key);
                f->row = r->failure.row;
            } else if (!x->damaged++)
                snprintf(error, size, "%s", r->failure.reason);
            break;
        case MTS_RECORD_END:
            if (grow((void **)&x->entries, &room, x->n, sizeof *x->entries))
                return out_of_memory(r, error, size);
            x->entries[x->n].offset = at;
            x->entries[x->n].stream = stream;
            x->entries[x->n].payload = r->frame.payload;
            x->entries[x->n++].record = r->record;
            break;
        }
    }
    return 0;
}

int mts_index_make(mts_index *x, FILE *f, const char *name, char *error, size_t size)
{
    mts_reader *r;
    memset(x, 0, sizeof *x);
    if (size)
        error[0] = 0;
    if (fseeko(f, 0, SEEK_SET))
        return snprintf(error, size, "%s: cannot seek: %s", name, strerror(errno)), -1;
    if (!(r = mts_reader_open(f, name)))
        return snprintf(error, size, "%s: out of memory", name), -1;
    r->jump = 1;
    int rc = collect(x, r, error, size);
    mts_reader_close(r);
    rewind(f);
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
