/* Opens and closes a reader, and returns its fields. The reading itself is in mts_read.c. */
#include "mts_reader.h"

#include <stdlib.h>
#include <string.h>

mts_reader *mts_reader_open(FILE *f, const char *name)
{
    mts_reader *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->in.f = f;
    r->name = strdup(name);
    r->zstd = ZSTD_createDCtx();
    if (!r->name || !r->zstd) {
        mts_reader_close(r);
        return NULL;
    }
    /* zstd's own checksum is not needed: `data` covers the compressed frame, and `payload` covers the decompressed
     * bytes. */
    ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_forceIgnoreChecksum, ZSTD_d_ignoreChecksum);
    return r;
}

void mts_reader_close(mts_reader *r)
{
    if (!r)
        return;
    mts_input_free(&r->in);
    ZSTD_freeDCtx(r->zstd);
    free(r->raw);
    free(r->name);
    free(r);
}

void mts_reader_stop(mts_reader *r)
{
    __atomic_store_n(&r->in.stop, 1, __ATOMIC_RELAXED);
}

int mts_skip(mts_reader *r)
{
    if (r->error[0])
        return -1;
    r->skipping = 1;
    return 0;
}

int mts_skip_to(mts_reader *r, int64_t frame)
{
    if (r->error[0])
        return -1;
    r->pass_to = frame;
    r->pass_unseen = 0;
    return 0;
}

int mts_jump_to(mts_reader *r, int64_t frame)
{
    if (mts_skip_to(r, frame))
        return -1;
    r->pass_unseen = 1;
    return 0;
}

const mts_begin *mts_reader_begin(const mts_reader *r)
{
    return &r->begin;
}

const mts_record *mts_reader_record(const mts_reader *r)
{
    return &r->record;
}

const void *mts_reader_data(const mts_reader *r)
{
    return r->raw;
}

void *mts_reader_take(mts_reader *r, void *memory, size_t *room)
{
    void *taken = r->raw;
    size_t size = r->raw_room;
    r->raw = memory;
    r->raw_room = memory ? *room : 0;
    *room = size;
    return taken;
}

int64_t mts_reader_frames(const mts_reader *r)
{
    return r->raw_frames;
}

int64_t mts_reader_first(const mts_reader *r)
{
    return r->raw_first;
}

const mts_failure *mts_reader_failure(const mts_reader *r)
{
    return &r->failure;
}

const char *mts_reader_error(const mts_reader *r)
{
    return r->error;
}
