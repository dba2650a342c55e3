/* mert-mel: mel spectrograms and MFCC.
 *
 *   in    pcm [T], mono, f32 or i16
 *   out   mel [T', bins], T' = floor(T / hop) + 1; mfcc [T', 39], T' = whole 25 ms windows every 10 ms
 *         --preset mert2: the log-mel spectrum that is the input of a MERT-v2 model, T' = floor(T / hop)
 *
 * --stats sums mean and variance of the output exactly, so that statistics of shards can be merged. --normalize-with
 * reads such files and writes (x - mean) / deviation. Without input, --merge only merges; standard input counts as
 * input if it is a pipe, a socket, or a file that is not empty. */
#include "formats/array.h"
#include "formats/stream/mts.h"
#include "libcommon/base/integer.h"
#include "libcommon/dsp/feature_stats.h"
#include "libcommon/dsp/mel.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/models/mel_input.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int mfcc, bins = 229, n_fft = 2048, hop = 320, power, logarithm, normalized, deltas = 2, preset;
static const char *const presets[] = {"none", "mert2", NULL};
static double fmin_hz = 32.7, fmax_hz, log_floor = 1e-5;
static const char *stats_path, *model_path;
static mert_strings merge_paths, normalize_paths;

static const mert_option options[] = {
    {"mfcc", 0, MERT_FLAG, &mfcc, NULL, 0, 0, NULL,
     "13 MFCC as in Kaldi, with deltas and delta-deltas, as HuBERT uses them"},
    {"preset", 0, MERT_CHOICE, &preset, "NAME", 0, 0, presets,
     "mert2: the log-mel spectrum that a MERT-v2 model takes"},
    {"model", 'm', MERT_STRING, &model_path, "MODEL", 0, 0, NULL,
     "--preset: window, filters, mean and deviation of this model (default: the usual ones, mean 0, deviation 1)"},
    {"bins", 0, MERT_INT, &bins, "N", 1, 4096, NULL, "mel bins"},
    {"power", 0, MERT_FLAG, &power, NULL, 0, 0, NULL, "write power (the default)"},
    {"log", 0, MERT_FLAG, &logarithm, NULL, 0, 0, NULL, "write ln(power + floor)"},
    {"log-floor", 0, MERT_DOUBLE, &log_floor, "X", 1e-30, 1e6, NULL, "the floor of --log"},
    {"n-fft", 0, MERT_INT, &n_fft, "N", 4, 65536, NULL, "samples of a window (even)"},
    {"hop", 0, MERT_INT, &hop, "N", 1, 65536, NULL, "samples from one frame to the next"},
    {"fmin", 0, MERT_DOUBLE, &fmin_hz, "HZ", 0, 1e6, NULL, "lower end of the mel bins"},
    {"fmax", 0, MERT_DOUBLE, &fmax_hz, "HZ", 0, 1e6, NULL, "upper end (0: half of the sample rate)"},
    {"normalized", 0, MERT_FLAG, &normalized, NULL, 0, 0, NULL,
     "divide spectra by the square root of the window's energy"},
    {"deltas", 0, MERT_INT, &deltas, "N", 0, 2, NULL, "--mfcc: number of orders of deltas"},
    {"stats", 0, MERT_STRING, &stats_path, "FILE", 0, 0, NULL, "write mean and variance of all frames, as exact sums"},
    {"merge", 0, MERT_LIST, &merge_paths, "FILE", 0, 0, NULL, "--stats: begin with these statistics"},
    {"normalize-with", 0, MERT_LIST, &normalize_paths, "FILE", 0, 0, NULL,
     "subtract the mean and divide by the standard deviation of these statistics"},
    {0}};
static const mert_tool tool = {"mert-mel", "mel spectrograms and MFCC of pcm streams", "[options] [FILE...]",
                               "Reads pcm streams, writes mel [T, bins] or mfcc [T, 39].", options, NULL};

enum { BLOCK = 64 };

typedef struct state {
    char settings[512], of[560];           /* description of the transform; the same with the program's name, for
                                            * statistics */
    mert_weights model;                    /* --preset: only its front end is used */
    mert_config config;
    mert_pcm pcm;
    mert_mel *mel;
    int rate;                              /* of mel, in Hz */
    mert_feature_stats all, item, given;   /* --stats: of complete items; of the open item; --normalize-with: the sum
                                            * of the files */
    int measuring, normalizing;
    float *mean, *scale, *rows;            /* --normalize-with: [width], [width], [BLOCK, width] */
    mert_sink *sink;
} state;

/* Makes the transform for this sample rate, unless the last item had the same. */
static int prepare(state *s, int64_t rate, mert_error *e)
{
    if (preset && rate != s->config.sample_rate)
        return mert_fail(e, "sample rate is %" PRId64 " Hz, this preset needs %d Hz (mert-decode --rate %d)", rate,
                         s->config.sample_rate, s->config.sample_rate);
    if (s->mel && s->rate == rate) {
        mert_mel_reset(s->mel);
        return 0;
    }
    mert_mel_free(s->mel);
    s->rate = (int)rate;
    if (mfcc) {
        mert_mfcc_config c = mert_mfcc_default;
        c.sample_rate = (int)rate;
        c.orders = deltas;
        s->mel = mert_mfcc_new(&c, 1, e);
    } else if (preset) {
        s->mel = model_path ? mert_mel_input_new(&s->model, 1, e) : mert_mel_input_plain(&s->config, 1, e);
    } else {
        mert_mel_config c = {(int)rate, n_fft, hop, bins, fmin_hz, fmax_hz, normalized, logarithm, log_floor};
        s->mel = mert_mel_new(&c, 1, e);
    }
    return s->mel ? 0 : -1;
}

/* Statistics belong to one sample rate: the same settings compute something else at another rate. */
static int begin_statistics(state *s, int64_t rate, mert_error *e)
{
    char of[sizeof s->all.of];
    snprintf(of, sizeof of, "%s%" PRId64, s->of, rate);
    if (s->normalizing && strcmp(of, s->given.of))
        return mert_fail(e, "the input is '%s', and --normalize-with has '%s'", of, s->given.of);
    if (!s->measuring)
        return 0;
    if (!s->all.width && mert_feature_stats_new(&s->all, mert_mel_width(s->mel), of, e))
        return -1;
    if (strcmp(of, s->all.of))
        return mert_fail(e, "the input is '%s', and --stats has '%s'", of, s->all.of);
    if (!s->item.width)
        return mert_feature_stats_new(&s->item, s->all.width, of, e);
    mert_feature_stats_clear(&s->item);
    return 0;
}

static int begin(void *self, const mts_record *in, mts_record *out, mert_error *e)
{
    state *s = self;
    if (mert_pcm_begin(&s->pcm, in, e) || prepare(s, in->sample_rate, e))
        return -1;
    if (mfcc && in->shape[0] >= 0 && !mert_mel_frames(s->mel, in->shape[0]))
        return mert_fail(e, "%" PRId64 " samples are shorter than one window of 25 ms", in->shape[0]);
    if (begin_statistics(s, in->sample_rate, e))
        return -1;
    strcpy(out->kind, mfcc ? "mfcc" : "mel");
    out->dtype = MTS_F32;
    out->ndim = 2;
    out->shape[0] = in->shape[0] < 0 ? -1 : mert_mel_frames(s->mel, in->shape[0]);
    out->shape[1] = mert_mel_width(s->mel);
    out->frame_rate_num = in->sample_rate;
    out->frame_rate_den = mert_mel_hop(s->mel);
    return 0;
}

static int put(void *to, const float *rows, int64_t n, mert_error *e)
{
    state *s = to;
    int width = mert_mel_width(s->mel);
    if (s->measuring && mert_feature_stats_add(&s->item, rows, n, e))
        return -1;
    if (!s->normalizing)
        return mert_sink_write(s->sink, rows, n, e);
    for (int64_t at = 0; at < n; at += BLOCK) {
        int64_t some = mert_smaller(n - at, BLOCK);
        for (int64_t t = 0; t < some; t++)
            for (int i = 0; i < width; i++)
                s->rows[t * width + i] = (rows[(at + t) * width + i] - s->mean[i]) * s->scale[i];
        if (mert_sink_write(s->sink, s->rows, some, e))
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
        const float *x = mert_pcm_read(&s->pcm, data, &some, e);
        if (!x || mert_mel_push(s->mel, x, some, put, s, e))
            return -1;
        data = (const char *)data + (size_t)some * mts_dtype_size(s->pcm.dtype);
        n -= some;
    }
    return 0;
}

static int end(void *self, mert_sink *sink, mert_error *e)
{
    state *s = self;
    s->sink = sink;
    if (mert_pcm_end(&s->pcm, e))
        return -1;
    if (!mert_mel_frames(s->mel, s->pcm.samples))
        return preset ? mert_fail(e, "%" PRId64 " samples give no frame: this preset needs at least %d", s->pcm.samples,
                                  s->config.conformer.n_fft / 2 + 1)
                      : mert_fail(e, "%" PRId64 " samples are shorter than one window of 25 ms", s->pcm.samples);
    if (mert_mel_finish(s->mel, put, s, e))
        return -1;
    return s->measuring ? mert_feature_stats_merge(&s->all, &s->item, e) : 0;
}

static void drop(void *self)
{
    mert_mel_reset(((state *)self)->mel);
}

static int finish(void *self, mert_error *e)
{
    state *s = self;
    if (!s->measuring)
        return 0;
    if (!s->all.width)
        return mert_fail(e, "%s: not written: there is no item to measure", stats_path);
    return mert_feature_stats_write(&s->all, stats_path, e);
}

/* ---- statistics ---- */

/* Sums the statistics of several files. They must be of the same output as this run (`of`), and all of one sample
 * rate. */
static int read_together(mert_feature_stats *to, const mert_strings *paths, const char *of, int width, mert_error *e)
{
    for (int i = 0; i < paths->n; i++) {
        mert_feature_stats one;
        int bad = 0;
        if (mert_feature_stats_read(&one, paths->items[i], e))
            return -1;
        if (one.width != width || strncmp(one.of, of, strlen(of)))
            bad = mert_fail(e, "statistics of '%s' (%d dimensions) do not go with '%s' (%d)", one.of, one.width, of,
                            width);
        else if (i > 0)
            bad = mert_feature_stats_merge(to, &one, e);
        if (i > 0 || bad)
            mert_feature_stats_free(&one);
        else
            *to = one;
        if (bad)
            return mert_fail_in(e, "%s", paths->items[i]);
    }
    return 0;
}

static int open_statistics(state *s, int width, mert_error *e)
{
    s->measuring = stats_path != NULL;
    s->normalizing = normalize_paths.n > 0;
    if (s->measuring && read_together(&s->all, &merge_paths, s->of, width, e))
        return -1;
    if (!s->normalizing)
        return 0;
    s->mean = mert_array_zeroed(width, sizeof *s->mean);
    s->scale = mert_array_zeroed(width, sizeof *s->scale);
    s->rows = mert_array_zeroed(mert_array_count(width, BLOCK), sizeof *s->rows);
    if (!s->mean || !s->scale || !s->rows)
        return mert_fail(e, "out of memory");
    if (read_together(&s->given, &normalize_paths, s->of, width, e))
        return -1;
    if (!s->given.rows)
        return mert_fail(e, "%s: no rows in these statistics", normalize_paths.items[0]);
    for (int i = 0; i < width; i++) {
        double mean, std;
        mert_feature_stats_of(&s->given, i, &mean, &std);
        s->mean[i] = (float)mean;
        s->scale[i] = std > 0 ? (float)(1 / std) : 0; /* a constant value becomes 0 */
    }
    return 0;
}

/* --preset: uses the front end of the model, or the standard one. */
static int open_preset(state *s, mert_error *e)
{
    s->config = mert_config_mert2();
    if (model_path && mert_weights_open(&s->model, model_path, e))
        return -1;
    if (model_path && !s->model.layout.constants)
        return mert_fail(e, "%s: its input is not a log-mel spectrum, as that of MERT-v2 models is", model_path);
    if (model_path)
        s->config = s->model.layout.config;
    bins = s->config.conformer.mels;
    n_fft = s->config.conformer.n_fft;
    hop = s->config.conformer.hop;
    return 0;
}

/* The hash of the model's tables. */
static uint64_t hash_tables(const state *s)
{
    const mert_layout *l = &s->model.layout;
    uint64_t hash = 0;
    for (int i = 0; i < l->count && l->parameters[i].offset < l->constants; i++)
        hash = mts_xxh64(mert_weights_values(&s->model, &l->parameters[i]), (size_t)l->parameters[i].n * sizeof(float),
                         hash);
    return hash;
}

static void describe(state *s)
{
    size_t size = sizeof s->settings;
    int n;
    if (preset) {
        n = snprintf(s->settings, size, "preset=%s bins=%d n-fft=%d window=%d hop=%d", presets[preset], bins, n_fft,
                     s->config.conformer.win_length, hop);
        if (model_path)
            snprintf(s->settings + n, size - (size_t)n, " tables=%016" PRIx64, hash_tables(s));
        return;
    }
    if (mfcc) {
        snprintf(s->settings, size, "mfcc deltas=%d", deltas);
        return;
    }
    n = snprintf(s->settings, size, "bins=%d n-fft=%d hop=%d fmin=%.9g fmax=%.9g normalized=%d", bins, n_fft, hop,
                 fmin_hz, fmax_hz, normalized);
    if (logarithm)
        snprintf(s->settings + n, size - (size_t)n, " log log-floor=%.9g", log_floor);
    else
        snprintf(s->settings + n, size - (size_t)n, " power");
}

static int nothing_to_read(int named)
{
    struct stat in;
    return !named && (fstat(STDIN_FILENO, &in) || S_ISCHR(in.st_mode) || (S_ISREG(in.st_mode) && !in.st_size));
}

/* Refuses options that would change nothing. */
static void check_filters(int filters, int floor, int orders)
{
    if (mfcc && filters)
        mert_usage_error("--mfcc has windows of 25 ms every 10 ms and filters of its own: no --bins, --n-fft, --hop, "
                         "--fmin, --fmax or --normalized beside it");
    if (preset && (mfcc || power || logarithm || filters))
        mert_usage_error("--preset sets all of the spectrum: no --mfcc, --power, --log, --bins, --n-fft, --hop, --fmin, "
                         "--fmax or --normalized beside it");
    if (floor && !logarithm)
        mert_usage_error("--log-floor is for --log");
    if (orders && !mfcc)
        mert_usage_error("--deltas is for --mfcc");
}

int main(int argc, char **argv)
{
    static const mert_stage stage = {.begin = begin, .frames = frames, .end = end, .drop = drop, .finish = finish};
    static state s;
    mert_filter f = {.stage = &stage, .self = &s, .settings = s.settings};
    mert_error e;
    int status;
    static const char *const of_filters[] = {"--bins", "--n-fft", "--hop", "--fmin", "--fmax"};
    int filters = 0, floor = mert_option_given(argc, argv, "--log-floor"), orders = mert_option_given(argc, argv, "--deltas");
    for (size_t i = 0; i < sizeof of_filters / sizeof *of_filters; i++)
        filters += mert_option_given(argc, argv, of_filters[i]);
    mert_options_parse(&tool, &argc, &argv);
    if (power + logarithm + mfcc > 1)
        mert_usage_error("--power, --log and --mfcc exclude each other");
    if (n_fft % 2)
        mert_usage_error("--n-fft %d is odd", n_fft);
    if (merge_paths.n && !stats_path)
        mert_usage_error("--merge needs --stats FILE to write to");
    check_filters(filters || normalized, floor, orders);
    if (model_path && !preset)
        mert_usage_error("-m MODEL is for --preset mert2");
    if (preset && open_preset(&s, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    f.output = stats_path;
    describe(&s);
    snprintf(s.of, sizeof s.of, "mert-mel %s rate=", s.settings);
    status = open_statistics(&s, mfcc ? 13 * (1 + deltas) : bins, &e);
    if (!status && s.normalizing) {
        size_t n = strlen(s.settings);
        uint64_t hash = mert_feature_stats_hash(&s.given);
        snprintf(s.settings + n, sizeof s.settings - n, " normalize-with=%016" PRIx64, hash);
        if (!hash)
            status = mert_fail(&e, "out of memory");
    }
    if (!status && merge_paths.n && nothing_to_read(argc))
        status = finish(&s, &e);
    else if (!status)
        return mert_filter_run(&f, argv, argc);
    if (status)
        mert_log_error("%s", e.text);
    return status ? 1 : 0;
}
