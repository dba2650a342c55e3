/* Residual quantisers. encode: pcm (EnCodec) or features (codebooks of `train`) in, codes [T, K] out, and HuBERT label
 * files. decode: codes in, pcm or features out. train: features in, a file of codebooks out.
 *
 *     mert-decode --manifest train.tsv | mert-rvq encode -m encodec_24khz.th --labels 'train.encodec_%d' > codes.mts
 *     mert-rvq decode -m encodec_24khz.th codes.mts | zstd -dc | play -t f32 -r 24000 -c 1 - */
#include "formats/array.h"
#include "libcommon/program/filter.h"
#include "libcommon/program/label_writer.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/teachers/encodec/codec.h"
#include "libcommon/teachers/gather.h"
#include "libcommon/teachers/rvq/fsq.h"
#include "libcommon/teachers/rvq/projected.h"
#include "libcommon/teachers/rvq/rvq.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ---- */

enum { RVQ, MELRVQ, RANDOM, FSQ, RANDOM_FSQ };
static const char *const methods[] = {"rvq", "melrvq", "random", "fsq", "random-fsq", NULL};
static int method = RVQ;
static int64_t codebooks, classes, stack, width, hidden, seed, batch, passes = 5, updates, max_frames, items = 16;
static const char *model, *labels, *levels, *device = "cpu";
static int any_settings, normalise = 1;

static const mert_option train_options[] = {
    {"method", 0, MERT_CHOICE, &method, "METHOD", 0, 0, methods,
     "residual codebooks, Mel-RVQ as in MuQ, random projections as in BEST-RQ, finite scalar quantisation with a "
     "trained encoder, or with random projections as in OMAR-RQ"},
    {"codebooks", 0, MERT_INT64, &codebooks, "K", 0, MTS_CODEBOOKS_MAX, NULL,
     "number of codebooks (0: 8 for melrvq, 1 for random, fsq and random-fsq; required for rvq)"},
    {"classes", 0, MERT_INT64, &classes, "V", 0, 1 << 20, NULL,
     "codewords of each codebook (0: 1024; random: 8192); not for fsq and random-fsq"},
    {"levels", 0, MERT_STRING, &levels, "L,L,...", 0, 0, NULL,
     "fsq, random-fsq: levels of each value, whose product is the number of classes (default: 8,5,5,5; random-fsq: "
     "6,6,6,6,6)"},
    {"hidden", 0, MERT_INT64, &hidden, "H", 0, 4096, NULL, "fsq: width of the hidden layers (0: 256)"},
    {"stack", 0, MERT_INT64, &stack, "N", 0, 64, NULL, "frames that one code represents (0: 4; rvq: always 1)"},
    {"width", 0, MERT_INT64, &width, "D", 0, 64, NULL, "melrvq, random: number of values of a codeword (0: 16)"},
    {"output", 'o', MERT_STRING, &model, "MODEL", 0, 0, NULL, "codebook file to write (.safetensors)"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "seed of all random choices"},
    {"normalize", 0, MERT_FLAG, &normalise, NULL, 0, 0, NULL,
     "normalise every dimension to mean 0 and standard deviation 1 first"},
    {"batch", 0, MERT_INT64, &batch, "N", 0, 1 << 28, NULL, "frames of an update (0: 10000; fsq: 256)"},
    {"passes", 0, MERT_INT64, &passes, "N", 0, 1000000, NULL, "number of passes over the sample for each codebook"},
    {"updates", 0, MERT_INT64, &updates, "N", 0, 1e9, NULL, "fsq: number of updates for each codebook (0: 4000)"},
    {"max-frames", 0, MERT_INT64, &max_frames, "N", 0, 4e9, NULL,
     "frames kept in memory, as a uniform sample (0: as many as fit into 1 GiB)"},
    {0}};

static const mert_option encode_options[] = {
    {"model", 'm', MERT_STRING, &model, "MODEL", 0, 0, NULL,
     "EnCodec model (.th, directory, .safetensors), or codebook file of 'train'"},
    {"codebooks", 0, MERT_INT64, &codebooks, "K", 1, MTS_CODEBOOKS_MAX, NULL,
     "use the first K codebooks (default: 8 for EnCodec, all for a codebook file)"},
    {"labels", 0, MERT_STRING, &labels, "PATTERN", 0, 0, NULL,
     "also write HuBERT's label files, each with a .meta; %d in the name is the codebook"},
    {"batch", 0, MERT_INT64, &items, "N", 1, 1024, NULL,
     "number of items that EnCodec encodes together (1: one by one)"},
    {"any-settings", 0, MERT_FLAG, &any_settings, NULL, 0, 0, NULL,
     "accept features made with other settings than those of the codebooks"},
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL,
     "what computes EnCodec: cpu, guard (a test of the program itself), cuda or cuda:N"},
    {0}};

static const mert_option decode_options[] = {
    {"model", 'm', MERT_STRING, &model, "MODEL", 0, 0, NULL, "the model that made the codes"},
    {0}};

/* ---- train ---- */

static void show(void *self, int64_t codebook, const char *what, int64_t step, int64_t steps, double error)
{
    (void)self;
    if (error < 0)
        mert_log_progress("codebook %" PRId64 " of %" PRId64 ": %s %" PRId64 " of %" PRId64, codebook + 1, codebooks,
                          what, step, steps);
    else
        mert_log_progress("codebook %" PRId64 " of %" PRId64 ": %s %" PRId64 " of %" PRId64
                          ", mean squared distance %.6g", codebook + 1, codebooks, what, step, steps, error);
}

static int scalar(void)
{
    return method == FSQ || method == RANDOM_FSQ;
}

/* Called at the end of the input: trains on the sample x [n, width] and writes the codebook file. */
static int write_codebooks(void *self, const mert_features *f, float *x, int64_t n, int64_t seen, mert_error *e)
{
    mert_rvq_options o = mert_rvq_defaults;
    mert_rvq_result r;
    mert_codebook book = {.features = *f, .count = codebooks, .classes = classes, .stack = stack};
    int bad = 0, counted = method == RVQ || method == MELRVQ;
    (void)self;
    snprintf(book.type, sizeof book.type, "%s", methods[method]);
    book.width = method == RVQ ? f->width : width;
    book.hidden = method == FSQ ? hidden : 0;
    if (scalar() && mert_codebook_levels(&book, levels, e))
        return -1;
    o.count = codebooks;
    o.classes = classes;
    o.seed = (uint64_t)seed;
    o.batch = batch;
    o.passes = passes;
    o.updates = updates;
    o.progress = show;
    if (counted && classes > n)
        return mert_fail(e, "%" PRId64 " classes need at least as many frames, but %" PRId64 " came in", classes, n);
    if (normalise)
        bad = mert_codebook_normalise(&book, x, n * stack, e);
    if (!bad && method == RVQ) {
        book.codewords = mert_array(mert_array_count(mert_array_count(codebooks, classes), f->width), sizeof(float));
        bad = book.codewords ? mert_rvq_train(&o, x, n, f->width, book.codewords, &r, e)
                             : mert_fail(e, "out of memory");
    } else if (!bad && scalar())
        bad = method == FSQ ? mert_fsq_train(&book, &o, x, n, &r, e) : mert_fsq_random(&book, (uint64_t)seed, e);
    else if (!bad)
        bad = method == MELRVQ ? mert_projected_train(&book, &o, x, n, &r, e)
                               : mert_projected_random(&book, (uint64_t)seed, e);
    if (!bad && mert_options.verbose && method == FSQ)
        mert_log_note("%" PRId64 " of %" PRId64 " frames, error %.4g of the power %.4g (%.2f dB), "
                      "%" PRId64 " of %" PRId64 " codes occur", n, seen, r.error, r.power,
                      10 * log10(r.power / r.error), r.used, codebooks * book.classes);
    if (!bad && mert_options.verbose && counted)
        mert_log_note("%" PRId64 " of %" PRId64 " frames, error %.4g of the power %.4g (%.2f dB), "
                      "%" PRId64 " codewords replaced", n, seen,
                      r.error, r.power, 10 * log10(r.power / r.error), r.replaced);
    bad = bad || mert_codebook_write(&book, model, e);
    mert_codebook_free(&book);
    return bad ? -1 : 0;
}

/* Refuses options of another method, and levels that cannot be. */
static void check_method(void)
{
    mert_codebook b = {0};
    mert_error e;
    if (levels && !scalar())
        mert_usage_error("--levels goes with --method fsq and random-fsq");
    if ((hidden || updates) && method != FSQ)
        mert_usage_error("--%s goes with --method fsq", hidden ? "hidden" : "updates");
    if (classes && scalar())
        mert_usage_error("--classes: those of --method %s are the product of its --levels", methods[method]);
    if (width && (scalar() || method == RVQ))
        mert_usage_error("--width goes with --method melrvq and random");
    if (width == 1)
        mert_usage_error("--width: 2 to 64");
    levels = levels ? levels : method == FSQ ? "8,5,5,5" : "6,6,6,6,6";
    if (scalar() && mert_codebook_levels(&b, levels, &e))
        mert_usage_error("--%s", e.text);
}

static int train(int argc, char **argv)
{
    static mert_gather g;
    mert_filter f = {.stage = &mert_gather_stage, .self = &g, .no_output = 1};
    int status;
    check_method();
    if (!codebooks && method == RVQ)
        mert_usage_error("--codebooks K is needed");
    if (stack > 1 && method == RVQ)
        mert_usage_error("--stack goes with --method melrvq, random, fsq and random-fsq");
    if (classes == 1)
        mert_usage_error("--classes: one class is not enough");
    codebooks = codebooks ? codebooks : method == MELRVQ ? 8 : 1;
    classes = classes ? classes : method == RANDOM ? 8192 : 1024;
    width = width ? width : 16;
    hidden = hidden ? hidden : 256;
    updates = updates ? updates : 4000;
    batch = batch ? batch : method == FSQ ? 256 : 10000;
    stack = method == RVQ ? 1 : stack ? stack : 4;
    if (!model)
        mert_usage_error("where to? -o MODEL");
    f.output = model;
    g.seed = (uint64_t)seed;
    g.max_frames = max_frames;
    g.stack = stack;
    g.least = method == RVQ || method == MELRVQ ? classes : 2;
    g.finish = write_codebooks;
    status = mert_filter_run(&f, argv, argc);
    mert_gather_free(&g);
    return status;
}

/* ---- encode and decode: teachers/encodec/codec.h does the work ---- */

static int run(int decode, int argc, char **argv)
{
    mert_label_writer writer = {0};
    mert_error e;
    char settings[96];
    mert_filter f = {.settings = settings};
    mert_ops *ops = NULL;
    mert_codec *c = NULL;
    int status = 1;
    if (!model)
        mert_usage_error("-m MODEL is needed");
    /* The CPU's backend is opened, too: that ends the threads of OpenBLAS, which nothing here uses. */
    if ((ops = mert_ops_open(device, MERT_ELEMENT_F32, &e)))
        c = mert_codec_open(model, codebooks, decode, any_settings, items, strcmp(device, "cpu") ? ops : NULL, &e);
    if (!c || (labels && mert_label_writer_open(&writer, labels, &e))) {
        mert_log_error("%s", e.text);
    } else {
        if (decode)
            snprintf(settings, sizeof settings, "decode model=%016" PRIx64, mert_codec_hash(c));
        else
            snprintf(settings, sizeof settings, "encode model=%016" PRIx64 " codebooks=%" PRId64, mert_codec_hash(c),
                     mert_codec_codebooks(c));
        f.stage = mert_codec_stage(c);
        f.self = c;
        if (labels) {
            f.observer = &mert_label_writer_calls;
            f.observer_self = &writer;
        }
        status = mert_filter_run(&f, argv, argc);
    }
    mert_label_writer_close(&writer);
    mert_codec_free(c);
    if (ops)
        ops->close(ops);
    return status;
}

static int encode(int argc, char **argv)
{
    return run(0, argc, argv);
}

static int decode(int argc, char **argv)
{
    return run(1, argc, argv);
}

static const mert_command commands[] = {
    {"train", "[options] --codebooks K -o MODEL [FILE...]", "read features, write K residual codebooks", train_options,
     train},
    {"encode", "[options] -m MODEL [FILE...]", "read pcm or features, write codes [T, K]", encode_options, encode},
    {"decode", "-m MODEL [FILE...]", "read codes, write pcm or features", decode_options, decode},
    {0}};

static const mert_tool tool = {"mert-rvq",
                               "residual vector quantisers: EnCodec, and codebooks trained on any features",
                               "COMMAND [options] [FILE...]", NULL, NULL, commands};

int main(int argc, char **argv)
{
    return mert_tool_main(&tool, argc, argv);
}
