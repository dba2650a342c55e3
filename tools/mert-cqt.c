/* mert-cqt: constant-Q transform.
 *
 *   in    pcm [T], mono, f32 or i16
 *   out   cqt [T', bins] magnitudes or logarithms, or [T', bins, 2] complex; chroma [T', classes] with --chroma
 *
 * T samples give T' = floor(T / hop) + 1 frames. Without settings this is MERT's transform, which is defined at 24 kHz;
 * other rates are refused. With settings on the command line, every rate that is possible with them is accepted.
 * */
#include "libcommon/base/integer.h"
#include "libcommon/dsp/cqt.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16, CLASSES_MAX = 1024 };

static int bins = 336, bins_per_octave = 48, hop = 320, form, chroma, per_crop;
static double fmin_hz = 32.7, log_floor = 1e-5;
static const char *const forms[] = {"magnitude", "log", "complex", "log-power", NULL};

static const mert_option options[] = {
    {"bins", 0, MERT_INT, &bins, "N", 1, 4096, NULL, "frequency bins (--chroma: seven octaves)"},
    {"bins-per-octave", 0, MERT_INT, &bins_per_octave, "N", 1, 1024, NULL, "bins per octave (--chroma: its classes)"},
    {"fmin", 0, MERT_DOUBLE, &fmin_hz, "HZ", 0.01, 1e6, NULL, "frequency of the lowest bin"},
    {"hop", 0, MERT_INT, &hop, "N", 1, 65536, NULL, "samples from one frame to the next"},
    {"form", 0, MERT_CHOICE, &form, "FORM", 0, 0, forms, "what is written for each bin; log-power: log10(1 + 10000 magnitude^2)"},
    {"log-floor", 0, MERT_DOUBLE, &log_floor, "X", 1e-30, 1e6, NULL, "--form log: ln(magnitude + X)"},
    {"chroma", 0, MERT_INT, &chroma, "N", 0, CLASSES_MAX, NULL,
     "write chroma of N classes, divided by the largest of the frame (0: no)"},
    {"per-crop", 0, MERT_INT, &per_crop, "N", 0, 1 << 30, NULL,
     "transform crops of N samples separately, extended by zeros (0: the whole item)"},
    {0}};
static const mert_tool tool = {"mert-cqt", "constant-Q transform of pcm streams", "[options] [FILE...]",
                               "Reads pcm streams, writes cqt [T, bins]. The defaults are MERT's, for 24 kHz.",
                               options, NULL};

typedef struct state {
    mert_pcm pcm;
    mert_cqt_config config; /* the configuration of the plan */
    mert_cqt_plan *plan;
    mert_cqt *cqt;
    int preset;             /* no setting was given */
    int in_crop;            /* samples of the open crop */
    int64_t rows_left;      /* rows still to be written for the open crop */
    mert_sink *sink;
    float classes[BLOCK * CLASSES_MAX]; /* --chroma: a block of output rows */
} state;

/* Makes the plan for this sample rate, if the rate has changed. */
static int prepare(state *s, int64_t rate, mert_error *e)
{
    if (s->plan && s->config.sample_rate == rate) {
        mert_cqt_reset(s->cqt);
        return 0;
    }
    mert_cqt_free(s->cqt);
    mert_cqt_plan_free(s->plan);
    s->cqt = NULL;
    s->config = (mert_cqt_config){(int)rate, hop, bins, bins_per_octave, fmin_hz, (mert_cqt_form)form, log_floor, 0};
    s->plan = mert_cqt_plan_new(&s->config, e);
    if (s->plan)
        s->cqt = mert_cqt_new(s->plan, 1, e);
    if (s->cqt)
        return 0;
    mert_cqt_plan_free(s->plan);
    s->plan = NULL;
    return -1;
}

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    if (mert_pcm_begin(&s->pcm, in, e))
        return -1;
    if (s->preset && in->sample_rate != mert_cqt_default.sample_rate)
        return mert_fail(e, "sample rate is %" PRId64 " Hz, this preset needs %d Hz", in->sample_rate,
                         mert_cqt_default.sample_rate);
    if (prepare(s, in->sample_rate, e))
        return -1;
    s->in_crop = 0;
    s->rows_left = per_crop / hop;
    strcpy(out->kind, chroma ? "chroma" : "cqt");
    out->dtype = MTS_F32;
    out->ndim = form == MERT_CQT_COMPLEX ? 3 : 2;
    out->shape[0] = in->shape[0] < 0 ? -1 : mert_cqt_frames(&s->config, in->shape[0]);
    out->shape[1] = chroma ? chroma : bins;
    out->shape[2] = form == MERT_CQT_COMPLEX ? 2 : 0;
    out->frame_rate_num = in->sample_rate;
    out->frame_rate_den = hop;
    return 0;
}

static int put(void *to, const float *rows, int64_t n, mert_error *e)
{
    state *s = to;
    if (per_crop && n > s->rows_left)
        n = s->rows_left;
    s->rows_left -= n;
    if (!chroma)
        return mert_sink_write(s->sink, rows, n, e);
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t some = mert_smaller(n - at, BLOCK);
        mert_cqt_chroma(rows + at * bins, some, bins, chroma, s->classes);
        if (mert_sink_write(s->sink, s->classes, some, e))
            return -1;
    }
    return 0;
}

static int frames(void *self, const void *data, int64_t n, mert_sink *sink, mert_error *e)
{
    state *s = self;
    s->sink = sink;
    while (n > 0) {
        int64_t some = n;
        const float *x;
        if (per_crop && s->in_crop == per_crop) { /* only when more samples follow: the last crop also has the frame at
                                                     its end */
            if (mert_cqt_finish(s->cqt, put, s, e))
                return -1;
            s->in_crop = 0;
            s->rows_left = per_crop / hop;
        }
        if (per_crop && some > per_crop - s->in_crop)
            some = per_crop - s->in_crop;
        x = mert_pcm_read(&s->pcm, data, &some, e);
        if (!x || mert_cqt_push(s->cqt, x, some, put, s, e))
            return -1;
        data = (const char *)data + (size_t)some * mts_dtype_size(s->pcm.dtype);
        s->in_crop += per_crop ? (int)some : 0;
        n -= some;
    }
    return 0;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    state *s = self;
    s->sink = sink;
    s->rows_left++;
    return mert_pcm_end(&s->pcm, e) || mert_cqt_finish(s->cqt, put, s, e) ? -1 : 0;
}

static void drop(void *self)
{
    mert_cqt_reset(((state *)self)->cqt);
}

int main(int argc, char **argv)
{
    static const mert_stage stage = {.begin = begin, .frames = frames, .end = end, .drop = drop};
    static state s;
    char settings[256];
    int has_bins = mert_option_given(argc, argv, "--bins"), has_octave = mert_option_given(argc, argv, "--bins-per-octave");
    int has_floor = mert_option_given(argc, argv, "--log-floor");
    int has_others = mert_option_given(argc, argv, "--fmin") || mert_option_given(argc, argv, "--hop"), n, status;
    s.preset = !has_bins && !has_octave && !has_others;
    mert_options_parse(&tool, &argc, &argv);
    if (has_floor && form != MERT_CQT_LOG)
        mert_usage_error("--log-floor is for --form log");
    if (chroma) {
        if (form != MERT_CQT_MAGNITUDE)
            mert_usage_error("--chroma is made of magnitudes: it does not go with --form %s", forms[form]);
        if (has_octave && bins_per_octave != chroma)
            mert_usage_error("--chroma %d has so many bins per octave, not %d", chroma, bins_per_octave);
        bins_per_octave = chroma;
        bins = has_bins ? bins : 7 * chroma;
        s.preset = 0;
        if (bins < chroma || bins > 4096)
            mert_usage_error("--chroma %d needs --bins from %d to 4096, not %d", chroma, chroma, bins);
    }
    if (per_crop % hop)
        mert_usage_error("--per-crop %d is not a whole number of hops of %d samples", per_crop, hop);
    n = snprintf(settings, sizeof settings, "bins=%d bins-per-octave=%d fmin=%.9g hop=%d form=%s", bins,
                 bins_per_octave, fmin_hz, hop, forms[form]);
    if (form == MERT_CQT_LOG)
        n += snprintf(settings + n, sizeof settings - (size_t)n, " log-floor=%.9g", log_floor);
    if (chroma)
        n += snprintf(settings + n, sizeof settings - (size_t)n, " chroma=%d", chroma);
    if (per_crop)
        snprintf(settings + n, sizeof settings - (size_t)n, " per-crop=%d", per_crop);
    status = mert_filter_run(&(mert_filter){.stage = &stage, .self = &s, .settings = settings}, argv, argc);
    mert_cqt_free(s.cqt);
    mert_cqt_plan_free(s.plan);
    return status;
}
