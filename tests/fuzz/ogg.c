/* Ogg pages: unchanged, and with corrected checksums; as a file and as a pipe, which must give the same. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/audio/container/ogg.h"
#include "libcommon/audio/container/pipe.h"
#include "tests/fuzz/ogg_pages.h"

/* Reads all links of a pipe, as FFmpeg does. Returns the number of bytes. */
static int64_t read_pipe(mert_ogg_pipe *pipe)
{
    static unsigned char some[4096];
    AVIOContext *io;
    mert_error e;
    int64_t all = 0;
    int n;
    do {
        FUZZ_CHECK((io = mert_ogg_pipe_next(pipe, &e)));
        while ((n = avio_read(io, some, sizeof some)) > 0)
            all += n;
    } while (mert_ogg_pipe_more(pipe));
    return all;
}

static void check(const char *path, int64_t size)
{
    mert_ogg file, piped;
    mert_error e;
    AVIOContext *io = mert_pipe_open(path, &e);
    mert_ogg_pipe *pipe = io ? mert_ogg_pipe_new(io, &piped, &e) : NULL;
    FUZZ_CHECK(pipe && !mert_ogg_read(path, &file, &e) && read_pipe(pipe) <= size);
    FUZZ_CHECK(file.n == piped.n && file.fault_at == piped.fault_at && file.fault_at <= size);
    for (int64_t i = 0; i < file.n; i++) {
        const mert_ogg_link *a = &file.links[i], *b = &piped.links[i];
        FUZZ_CHECK(a->begin == b->begin && a->begin <= a->end && a->n == b->n);
        for (int k = 0; k < a->n; k++)
            FUZZ_CHECK(a->streams[k].skip == b->streams[k].skip && a->streams[k].total == b->streams[k].total &&
                       a->streams[k].skip >= 0 && a->streams[k].total >= -1);
    }
    mert_ogg_pipe_free(pipe);
    mert_pipe_close(&io);
    mert_ogg_free(&file);
    mert_ogg_free(&piped);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *mended = ogg_mended("mended", data, size);
    check(fuzz_file("x", data, size), (int64_t)size);
    if (mended)
        check(mended, (int64_t)size);
    return 0;
}
