/* Decodes audio files: some packets, or all of a small file. A count without decoding must equal the number of decoded
 * samples. */
#include "tests/fuzz/fuzz.h"

#include "libcommon/audio/decode.h"

enum { PIECES = 8 };

/* Returns the number of samples; *how: how it ended. */
static int64_t decode(mert_audio *a, mert_piece_how *how)
{
    mert_audio_piece decoded = {0}, ready = {0};
    int64_t n = 0;
    int pieces = 0;
    do {
        mert_audio_decode(a, &decoded);
        mert_audio_resample(a, &decoded, &ready);
        n += ready.samples.n;
    } while (ready.how == MERT_PIECE_MORE && ++pieces < PIECES);
    FUZZ_CHECK(ready.how != MERT_PIECE_FAULT || *ready.why.text);
    *how = ready.how;
    free(decoded.samples.data);
    free(ready.samples.data);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mert_audio_settings s = {.rate = 0, .duration = -1, .stream = -1};
    const char *path = fuzz_file("x", data, size);
    mert_piece_how how = MERT_PIECE_MORE;
    mert_error e = {{0}};
    int64_t n = 0, counted;
    mert_audio *a = mert_audio_open(path, &s, &e);
    FUZZ_CHECK(a || (*e.text && !strchr(e.text, '\n')));
    if (a)
        n = decode(a, &how);
    mert_audio_close(a);
    if (a && how == MERT_PIECE_LAST && (counted = mert_audio_count(path, &s, MERT_COUNT_EXACT, &e)) >= 0)
        FUZZ_CHECK(counted == n);
    return 0;
}
