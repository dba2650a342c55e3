/* Reads a stream from memory to its end, in all possible ways. */
#ifndef MERT_FUZZ_STREAM_READ_H
#define MERT_FUZZ_STREAM_READ_H

#include "tests/fuzz/fuzz.h"

#include "formats/stream/mts.h"

/* every: skips the rest of every n-th record; 0: never. Returns the number of complete records. */
static inline int fuzz_read(FILE *f, int every)
{
    mts_reader *r = mts_reader_open(f, "x");
    int event, records = 0, open = 0, whole = 0;
    FUZZ_CHECK(r);
    while ((event = mts_next(r)) != MTS_EOF && event != MTS_ERROR) {
        FUZZ_CHECK(event != MTS_CHUNK || open);
        if (event == MTS_RECORD) {
            const mts_record *x = mts_reader_record(r);
            open = 1;
            FUZZ_CHECK(x->ndim >= 1 && x->ndim <= MTS_NDIM_MAX && mts_record_step(x) <= MTS_CHUNK_MAX);
            if (every && ++records % every == 0)
                FUZZ_CHECK(records % 2 ? mts_skip(r) >= -1 : mts_skip_to(r, records) >= -1);
        } else if (event == MTS_CHUNK) {
            const unsigned char *data = mts_reader_data(r);
            size_t n = (size_t)mts_reader_frames(r) * mts_record_step(mts_reader_record(r)), sum = 0;
            FUZZ_CHECK(mts_reader_frames(r) >= 1 && n <= MTS_CHUNK_MAX);
            for (size_t i = 0; i < n; i++)
                sum += data[i];
            FUZZ_CHECK(sum <= n * 255);
        } else if (event == MTS_RECORD_END) {
            FUZZ_CHECK(open && mts_reader_record(r)->shape[0] >= 0);
            open = 0;
            whole++;
        } else if (event == MTS_FAILED || event == MTS_DAMAGE) {
            FUZZ_CHECK(*mts_reader_failure(r)->reason);
            open = event == MTS_FAILED ? 0 : open;
        }
    }
    FUZZ_CHECK(event == MTS_EOF || *mts_reader_error(r));
    mts_reader_close(r);
    return whole;
}

static inline void fuzz_stream(const uint8_t *data, size_t size)
{
    FILE *f = fopen(fuzz_file("x.mts", data, size), "rb");
    mts_index x = {0};
    char error[MTS_REASON_MAX];
    int whole;
    FUZZ_CHECK(f);
    whole = fuzz_read(f, 0);
    for (int every = 1; every <= 2; every++) {
        rewind(f);
        FUZZ_CHECK(fuzz_read(f, every) >= whole); /* skipped data is not decompressed, so its damage is not found */
    }
    rewind(f);
    if (!mts_index_make(&x, f, "x", error, sizeof error))
        for (size_t i = 0; i < x.n; i++) {
            mts_reader *r;
            rewind(f);
            r = mts_reader_open(f, "x");
            FUZZ_CHECK(r && mts_reader_seek(r, &x.entries[i]) == 0 && mts_next(r) == MTS_RECORD);
            mts_reader_close(r);
        }
    mts_index_free(&x);
    fclose(f);
}

#endif
