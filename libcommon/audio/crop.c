#include "libcommon/audio/crop.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int read_samples(mert_audio *a, const mert_audio_crop *crop, float *to, mert_error *e)
{
    mert_audio_piece decoded = {0}, ready = {0};
    int64_t n = 0;
    int bad = 0;
    do {
        mert_audio_decode(a, &decoded);
        mert_audio_resample(a, &decoded, &ready);
        if (ready.samples.n > crop->n - n) /* not to be expected */
            ready.samples.n = crop->n - n;
        if (ready.samples.n)
            memcpy(to + n, ready.samples.data, (size_t)ready.samples.n * sizeof *to);
        n += ready.samples.n;
    } while (ready.how == MERT_PIECE_MORE);
    if (ready.how == MERT_PIECE_FAULT)
        bad = mert_fail(e, "%s", ready.why.text);
    else if (n < crop->n)
        bad = mert_fail(e, "samples %" PRId64 " to %" PRId64 " are wanted, at %d Hz there are only %" PRId64,
                        crop->first, crop->first + crop->n - 1, crop->rate, crop->first + n);
    free(decoded.samples.data);
    free(ready.samples.data);
    return bad;
}

int mert_audio_crop_read(const char *path, const mert_audio_crop *crop, float *to, mert_error *e)
{
    const mert_audio_settings s = {.rate = crop->rate,
                                   .start = (double)crop->first / crop->rate, /* rounding gives `first` back */
                                   .duration = (double)crop->n / crop->rate,
                                   .stream = -1,
                                   .seek = 1,
                                   .regular = 1};
    mert_audio *a = mert_audio_open(path, &s, e);
    int64_t total;
    int bad = !a;
    if (bad)
        return -1;
    total = mert_audio_total(a);
    if (crop->whole >= 0 && total >= 0 && total != crop->whole)
        bad = mert_fail(e, "%" PRId64 " samples are expected, at %d Hz there are %" PRId64 " (a manifest of another "
                        "rate, or of another file?)", crop->whole, crop->rate, total);
    bad = bad || read_samples(a, crop, to, e);
    mert_audio_close(a);
    return bad ? -1 : 0;
}
