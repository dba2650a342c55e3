/* rechunk SECONDS < STREAM > STREAM: the same tensors in chunks of so many seconds (0: as long as a chunk may be),
 * which our writer never makes and other writers may. */
#include "formats/stream/mts_frame.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>

static unsigned char head[MTS_FRAME_HEAD + MTS_TEXT_MAX];
static mts_frame frame;
static uint64_t stream;
static int64_t records, failed, chunks;

static void die(const char *why)
{
    fprintf(stderr, "rechunk: %s\n", why);
    exit(1);
}

static void put(mts_frame_type type)
{
    size_t n;
    frame.type = type;
    frame.stream = stream;
    frame.number = records;
    n = mts_frame_write(&frame, head);
    if (!n || fwrite(head, 1, n, stdout) != n)
        die("cannot write");
}

static void put_chunk(ZSTD_CCtx *zstd, const unsigned char *data, int64_t frames, size_t step)
{
    size_t room = ZSTD_compressBound((size_t)frames * step), n = 0;
    unsigned char *packed = malloc(room);
    if (!packed || ZSTD_isError(n = ZSTD_compress2(zstd, packed, room, data, (size_t)frames * step)))
        die("cannot compress");
    frame.frames = frames;
    frame.raw = frames * (int64_t)step;
    frame.size = (int64_t)n;
    frame.data = mts_xxh64(packed, n, 0);
    put(MTS_FRAME_CHUNK);
    if (fwrite(packed, 1, n, stdout) != n)
        die("cannot write");
    free(packed);
    frame.chunk++;
    chunks++;
}

/* Whole records in memory: this is for tests. */
static void put_record(ZSTD_CCtx *zstd, const mts_record *r, const unsigned char *data, size_t size, double seconds)
{
    size_t step = mts_record_step(r);
    double rate = r->frame_rate_den ? (double)r->frame_rate_num / (double)r->frame_rate_den : 0;
    int64_t most = MTS_CHUNK_MAX / (int64_t)step, each = seconds > 0 && rate > 0 ? (int64_t)(seconds * rate) : most;
    each = each < 1 ? 1 : each > most ? most : each;
    frame.record = *r;
    put(MTS_FRAME_RECORD);
    frame.chunk = 0;
    for (int64_t at = 0, n = (int64_t)(size / step); at < n; at += each)
        put_chunk(zstd, data + (size_t)at * step, n - at < each ? n - at : each, step);
    frame.frames = (int64_t)(size / step);
    frame.chunks = frame.chunk;
    frame.payload = mts_xxh64(data, size, 0);
    put(MTS_FRAME_DONE);
    records++;
}

static void put_failed(const mts_failure *f)
{
    snprintf(frame.record.key, sizeof frame.record.key, "%s", f->key);
    snprintf(frame.stage, sizeof frame.stage, "%s", f->stage);
    snprintf(frame.reason, sizeof frame.reason, "%s", f->reason);
    frame.record.row = f->row;
    for (frame.copy = 1; frame.copy <= 2; frame.copy++)
        put(MTS_FRAME_FAILED);
    records++;
    failed++;
}

int main(int argc, char **argv)
{
    double seconds = argc == 2 ? atof(argv[1]) : -1;
    mts_reader *r = mts_reader_open(stdin, "<stdin>");
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    mts_record record; /* as it began: the length may not be known then */
    unsigned char *data = NULL;
    size_t size = 0;
    if (seconds < 0 || !r || !zstd)
        die("usage: rechunk SECONDS");
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    for (int event; (event = mts_next(r)) != MTS_EOF;)
        switch (event) {
        case MTS_BEGIN:
            frame.begin = *mts_reader_begin(r);
            put(MTS_FRAME_BEGIN);
            stream = frame.sum;
            records = failed = chunks = 0;
            break;
        case MTS_RECORD:
            record = *mts_reader_record(r);
            size = 0;
            break;
        case MTS_CHUNK: {
            size_t n = (size_t)mts_reader_frames(r) * mts_record_step(mts_reader_record(r));
            if (!(data = realloc(data, size + n)))
                die("out of memory");
            memcpy(data + size, mts_reader_data(r), n);
            size += n;
            break;
        }
        case MTS_RECORD_END:
            put_record(zstd, &record, data, size, seconds);
            break;
        case MTS_FAILED:
            put_failed(mts_reader_failure(r));
            break;
        case MTS_END:
            frame.records = records;
            frame.failed = failed;
            frame.chunks = chunks;
            put(MTS_FRAME_END);
            break;
        default:
            die(event == MTS_ERROR ? mts_reader_error(r) : mts_reader_failure(r)->reason);
        }
    mts_reader_close(r);
    ZSTD_freeCCtx(zstd);
    free(data);
    return fclose(stdout) ? 1 : 0;
}
