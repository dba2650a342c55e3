/* mert-decode: audio files in, one pcm record [T] each out: one channel, 24000 Hz, float32.
 *
 *     FILE...  or  rows of a manifest (all, or a shard of them)
 *       -> mert_ahead (decode, mean of the channels, resample, cut the segment; next files in parallel)
 *       -> records: key = the path as given or as in the manifest, row = operand or manifest row;
 *                   or "failed" with the reason
 *
 * This is the only program that resamples; the others refuse unsuitable rates. */
#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"
#include "libcommon/audio/ahead.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/program/report.h"
#include "libcommon/program/signals.h"
#include "tools/mert-decode/crops.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DTYPE_F32, DTYPE_I16, PIECE = 16384 };

static mert_audio_settings settings = {.rate = 24000, .duration = -1, .stream = -1};
static const char *manifest_path, *shard_text;
static int dtype = DTYPE_F32, check_length = 1, crops;
static const char *const dtypes[] = {"f32", "i16", NULL};

static const mert_option options[] = {
    {"rate", 0, MERT_INT, &settings.rate, "HZ", 0, MERT_AUDIO_RATE_MAX, NULL,
     "sample rate of the output; 0: the rate of each file"},
    {"manifest", 0, MERT_STRING, &manifest_path, "TSV", 0, 0, NULL,
     "decode the rows of this manifest instead of named files"},
    {"shard", 0, MERT_STRING, &shard_text, "R/N", 0, 0, NULL, "only part R (from 0) of N of the manifest's rows"},
    {"dtype", 0, MERT_CHOICE, &dtype, "TYPE", 0, 0, dtypes, "type of the samples"},
    {"start", 0, MERT_DOUBLE, &settings.start, "S", 0, 1e9, NULL, "begin at this second of each file"},
    {"duration", 0, MERT_DOUBLE, &settings.duration, "S", -1, 1e9, NULL,
     "decode this many seconds of each file; negative: to its end"},
    {"stream", 0, MERT_INT, &settings.stream, "N", -1, 1000, NULL,
     "number of the audio stream, from 0; -1: the best one"},
    {"salvage", 0, MERT_FLAG, &settings.salvage, NULL, 0, 0, NULL, "keep the samples before a fault, with a message"},
    {"crops", 0, MERT_FLAG, &crops, NULL, 0, 0, NULL,
     "answer requests for parts of files on standard input, as mert-train --in-place does"},
    {"check-length", 0, MERT_FLAG, &check_length, NULL, 0, 0, NULL,
     "fail rows that are longer or shorter than the manifest says"},
    {0}};

static const mert_tool tool = {
    "mert-decode", "decode audio files to pcm streams", "[options] FILE... | --manifest TSV [--shard R/N] | --crops",
    "Reads audio files that FFmpeg knows; writes one pcm record [T] per file: the mean of its channels at --rate.",
    options, NULL};

/* The processing of one item. */
typedef struct run {
    mts_writer *writer;
    mert_ahead *ahead;
    const char *key, *root; /* root: the folder to which the key is relative; NULL: the key is the path */
    int64_t row, expected; /* expected: samples in the manifest; -1: not known */
} run;

/* Handles a failed write: if the reader has ended, the program ends without a message; otherwise the reason is
 * printed. */
static int write_failed(const run *r)
{
    if (mts_writer_pipe_closed(r->writer))
        mert_end_by_sigpipe();
    mert_report_broken("%s", mts_writer_error(r->writer));
    return -1;
}

static int write_samples(const run *r, const float *samples, int64_t n)
{
    int16_t narrow[PIECE];
    int bad = 0;
    if (dtype == DTYPE_F32)
        return mts_write_frames(r->writer, samples, n);
    for (int64_t some; n > 0 && bad >= 0; n -= some, samples += some) {
        some = n < PIECE ? n : PIECE;
        for (int64_t i = 0; i < some; i++)
            narrow[i] = mert_pcm_to_i16(samples[i]);
        bad = mts_write_frames(r->writer, narrow, some);
    }
    return bad;
}

static int check_count(const run *r, const mert_audio *a, int64_t n, mert_error *e)
{
    int64_t first, count, whole = r->expected, expected;
    if (whole < 0 || !check_length || mert_audio_salvaged(a))
        return 0;
    mert_audio_segment(&settings, mert_audio_rate(a), &first, &count);
    expected = whole - first < 0 ? 0 : whole - first;
    if (count >= 0 && count < expected)
        expected = count;
    if (n == expected)
        return 0;
    return mert_fail(e, "the manifest says %" PRId64 " samples%s, decoded at %d Hz there are %" PRId64 "%s", expected,
                     expected == whole ? "" : " for this segment", mert_audio_rate(a), n,
                     llabs(n - expected) > expected / 50 ? " (was it made for another rate? mert-manifest --rate)"
                                                         : "");
}

/* 0: done, 1: the item failed (e says why), -1: writing failed. */
static int decode_item(const run *r, double *seconds, mert_error *e)
{
    const float *samples;
    mts_record record = {.kind = "pcm", .row = r->row, .ndim = 1, .shape = {-1}, .frame_rate_den = 1};
    const mert_audio *a = mert_ahead_open(r->ahead, e);
    int64_t n, total = 0;
    int bad;
    if (!a) {
        if (r->root && *r->key != '/')
            mert_fail_in(e, "%s%s%s", r->root, r->root[strlen(r->root) - 1] == '/' ? "" : "/", r->key);
        return 1;
    }
    snprintf(record.key, sizeof record.key, "%s", r->key);
    record.dtype = dtype == DTYPE_F32 ? MTS_F32 : MTS_I16;
    record.sample_rate = record.frame_rate_num = mert_audio_rate(a);
    bad = mts_write_record(r->writer, &record) < 0;
    while (!bad && (n = mert_ahead_read(r->ahead, &samples, e)) > 0) {
        bad = write_samples(r, samples, n) < 0;
        total += n;
    }
    *seconds = (double)total / mert_audio_rate(a);
    if (bad)
        bad = write_failed(r);
    else if (n < 0 || check_count(r, a, total, e))
        bad = 1;
    else if (mts_write_record_end(r->writer) < 0)
        bad = write_failed(r);
    else if (mert_audio_salvaged(a))
        mert_log_note("%s: kept the first %.3f s: %s", r->key, *seconds, mert_audio_salvaged(a));
    return bad;
}

/* 0, or -1: the run must end. */
static int run_item(run *r)
{
    mert_error e = {{0}};
    double seconds = 0;
    int bad;
    if (strlen(r->key) >= MTS_KEY_MAX) {
        mert_report_broken("%s: a name of more than %d bytes cannot be a key", r->key, MTS_KEY_MAX - 1);
        return -1;
    }
    bad = decode_item(r, &seconds, &e);
    if (bad < 0)
        return -1;
    mert_ahead_close(r->ahead);
    if (!bad) {
        mert_report_item(seconds);
        return 0;
    }
    if (mts_write_failed(r->writer, r->key, r->row, mert_tool_name(), e.text) < 0)
        return write_failed(r);
    if (!mert_report_failed(r->key, e.text, 1))
        return 0;
    mert_report_broken("stopped at the first failure (--fail-fast)");
    return -1;
}

static void describe_settings(char *to, size_t size)
{
    char versions[160], more[160] = "";
    size_t n = 0;
    mert_audio_versions(versions, sizeof versions);
    if (settings.start > 0)
        n += (size_t)snprintf(more + n, sizeof more - n, " start=%.9g", settings.start);
    if (settings.duration >= 0)
        n += (size_t)snprintf(more + n, sizeof more - n, " duration=%.9g", settings.duration);
    if (settings.stream >= 0)
        n += (size_t)snprintf(more + n, sizeof more - n, " stream=%d", settings.stream);
    if (settings.salvage)
        snprintf(more + n, sizeof more - n, " salvage=1");
    snprintf(to, size, "%s %s rate=%d channels=mean dtype=%s%s %s\n", mert_tool_name(), mert_version(), settings.rate,
             dtypes[dtype], more, versions);
}

static int close_stream(run *r, int bad)
{
    char why[512];
    if (mts_writer_pipe_closed(r->writer))
        write_failed(r);
    if (mts_writer_close(r->writer, !bad, why, sizeof why) && !bad)
        mert_report_broken("%s", why);
    return mert_report_finish();
}

/* The items to decode: files, or rows of a manifest. */
typedef struct work {
    const mert_manifest *manifest;
    char **files;         /* NULL: the rows of the manifest */
    int64_t first, end;
} work;

static char *path_of(void *self, int64_t i)
{
    const work *w = self;
    return w->files ? strdup(w->files[i]) : mert_manifest_item(w->manifest, w->first + i);
}

static int run_rows(mts_begin *b, work *w)
{
    run r = {.expected = -1, .root = w->files ? NULL : w->manifest->root};
    mert_error e;
    int bad = 0;
    describe_settings(b->provenance, sizeof b->provenance);
    r.writer = mts_writer_open(stdout, "standard output", b, mert_options.level);
    r.ahead = mert_ahead_new(w->end - w->first, path_of, w, &settings, mert_options.threads, &e);
    if (!r.writer || !r.ahead) {
        mert_report_broken("out of memory");
        bad = -1;
    }
    mert_report_expect(w->end - w->first);
    for (r.row = w->first; r.row < w->end && !bad; r.row++) {
        r.key = w->files ? w->files[r.row] : w->manifest->rows[r.row].path;
        r.expected = w->files ? -1 : w->manifest->rows[r.row].samples;
        bad = run_item(&r);
    }
    mert_ahead_free(r.ahead);
    return r.writer ? close_stream(&r, bad) : mert_report_finish();
}

static void parse_shard(int *shard, int *shards)
{
    char more;
    if (sscanf(shard_text, "%d/%d%c", shard, shards, &more) != 2 || *shard < 0 || *shards < 1 || *shard >= *shards)
        mert_usage_error("--shard: '%s' is not R/N with R from 0 to N-1", shard_text);
}

int main(int argc, char **argv)
{
    static mts_begin b;
    mert_manifest m = {0};
    mert_error e;
    work w;
    int shard = 0, shards = 1, status;
    mert_options_parse(&tool, &argc, &argv);
    if (crops && (argc || manifest_path || shard_text))
        mert_usage_error("--crops takes its files from standard input");
    if (crops && settings.rate < MERT_AUDIO_RATE_MIN)
        mert_usage_error("--crops needs a --rate of at least %d", MERT_AUDIO_RATE_MIN);
    if (crops)
        return crops_answer(settings.rate);
    if (!manifest_path == !argc)
        mert_usage_error(argc ? "files and --manifest exclude each other" : "name files, or --manifest");
    if (shard_text && !manifest_path)
        mert_usage_error("--shard goes with --manifest");
    if (shard_text)
        parse_shard(&shard, &shards);
    if (settings.rate && settings.rate < MERT_AUDIO_RATE_MIN)
        mert_usage_error("--rate: %d is neither 0 nor at least %d", settings.rate, MERT_AUDIO_RATE_MIN);
    if (isatty(STDOUT_FILENO))
        mert_usage_error("a tensor stream is not written to a terminal: redirect it, or pipe it into mert-tensor");
    b.rows_total = argc;
    if (!manifest_path)
        b.input = mert_files_hash(argv, argc);
    if (manifest_path && mert_manifest_read(&m, manifest_path, &e)) {
        mert_report_broken("%s", e.text);
        return mert_report_finish();
    }
    if (manifest_path) {
        settings.regular = 1;
        b.manifest = m.hash;
        b.rows_total = m.n;
    }
    mert_shard_rows(b.rows_total, shard, shards, &b.row_first, &b.row_end);
    w = (work){&m, manifest_path ? NULL : argv, b.row_first, b.row_end};
    status = run_rows(&b, &w);
    mert_manifest_free(&m);
    return status;
}
