/* Parsers of audio containers: each parser gets every input as a file and, if it reads pipes, as a pipe. Both results
 * must be equal. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/audio/container/bytes.h"
#include "libcommon/audio/container/flac.h"
#include "libcommon/audio/container/front.h"
#include "libcommon/audio/container/mp3.h"
#include "libcommon/audio/container/pipe.h"
#include "libcommon/audio/container/riff.h"

static void check_containers(const char *path, int64_t size)
{
    static const char *const names[] = {"wav", "w64", "avi", "aiff", "au", "caf", "mov,mp4,m4a,3gp,3g2,mj2", "asf",
                                        "flv", "matroska,webm", "rm", "mpc8", "aac", "ac3"};
    const char *name;
    mert_whole w;
    mert_error e;
    int64_t front = mert_front(path, &name);
    int bits = mert_flac_bits(path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        FUZZ_CHECK(!mert_whole_check(names[i], path, &w, &e));
        FUZZ_CHECK(w.end >= -1 && w.skip >= 0 && w.keep >= -1 && !strchr(w.cut.text, '\n'));
    }
    FUZZ_CHECK(front >= 0 && (front < size || !size) && (!front || name) && bits >= 0 && bits <= 32);
}

static void check_mp3(const char *path)
{
    mert_mp3 m;
    mert_error e;
    mert_mp3_is_free_format(path);
    if (mert_mp3_read(path, &m, &e) > 0)
        FUZZ_CHECK(m.head <= m.begin && m.begin < m.end && m.end <= m.size && m.frames >= 0 && m.told >= -1 &&
                   m.delay >= -1 && m.delay < 4096 && m.padding >= -1 && m.padding < 4096 && m.rate > 0);
}

static void check_wav(const char *path)
{
    AVCodecParameters *p = avcodec_parameters_alloc(), *q = avcodec_parameters_alloc();
    int64_t frames, frames_of_pipe;
    int how;
    mert_error e;
    AVIOContext *pipe = mert_pipe_open(path, &e);
    FUZZ_CHECK(p && q && pipe);
    how = mert_wav_settle(path, NULL, p, &frames, &e);
    FUZZ_CHECK(!mert_wav_look(pipe, &e));
    FUZZ_CHECK(mert_wav_settle(NULL, pipe, q, &frames_of_pipe, &e) == how && frames == frames_of_pipe);
    FUZZ_CHECK(p->codec_id == q->codec_id && frames >= -1);
    mert_pipe_close(&pipe);
    avcodec_parameters_free(&p);
    avcodec_parameters_free(&q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("x", data, size);
    check_containers(path, (int64_t)size);
    check_mp3(path);
    check_wav(path);
    return 0;
}
