/* loader [--threads N] [--batches N] [--host-cqt] [--set NAME=VALUE] RECIPE MANIFEST LABELS [PCM]: how fast batches of
 * the recipe come out of packed audio (without PCM: out of the manifest's own files) and labels, down to what is
 * uploaded, and are queued on a device. The device is the dry backend, which takes no time. Prints "audio wall loader
 * queue", separated by tabs: seconds of audio, of wall time, of CPU time that making batches took (all threads but the
 * main one, and the decoders), and of CPU time that queueing them took. */
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/train/data/decoders.h"
#include "libcommon/train/loader.h"
#include "tests/bench/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static int batches = 30, packed, host_cqt;
static mert_strings settings;
static const mert_option options[] = {
    {"batches", 0, MERT_INT, &batches, "N", 1, 100000, NULL, "so many of them"},
    {"host-cqt", 0, MERT_FLAG, &host_cqt, NULL, 0, 0, NULL, "CQT targets are made by the loader, not by the device"},
    {"set", 0, MERT_LIST, &settings, "NAME=VALUE", 0, 0, NULL,
     "changes a setting of the recipe (may come several times)"},
    {0}};
static const mert_tool tool = {
    "loader", "batches of a recipe, made and queued", "[options] RECIPE MANIFEST LABELS [PCM]", NULL, options, NULL};

/* Of the decoders, which have ended. */
static double cpu_of_children(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + 1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static double cpu(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int measure(const mert_recipe *r, mert_corpus *c, const mert_config *model, mert_trainer *t, mert_error *e)
{
    mert_forward_options how = mert_recipe_forward_options(r);
    double began = bench_now(), all = cpu(CLOCK_PROCESS_CPUTIME_ID), mine = cpu(CLOCK_THREAD_CPUTIME_ID), norm;
    mert_loader *l = mert_loader_start(c, r, model, (mert_position){0}, NULL, mert_trainer_preparer(t), e);
    mert_sums sums = {0};
    int bad = !l;
    for (int i = 0; !bad && i < batches; i++) {
        const mert_load *load = mert_loader_next(l, NULL, e);
        how.update = (uint64_t)i + 1;
        bad = !load || mert_trainer_accumulate(t, &how, &load->batch, &sums, e) ||
              mert_trainer_update(t, i + 1, r->lr, 1, &norm, e) < 0;
    }
    began = bench_now() - began;
    mine = cpu(CLOCK_THREAD_CPUTIME_ID) - mine;
    mert_loader_stop(l);
    all = cpu(CLOCK_PROCESS_CPUTIME_ID) - all;
    mert_decoders_free(c->decoders, NULL); /* so that their processor time counts */
    c->decoders = NULL;
    all += cpu_of_children();
    /* the batches that were made ahead count in the CPU time alone: a few of many */
    printf("%.2f\t%.3f\t%.3f\t%.3f\n", (double)sums.samples / (double)r->sample_rate, began, all - mine, mine);
    return bad ? -1 : 0;
}

static int run(char **argv, mert_error *e)
{
    mert_recipe r;
    mert_config model;
    mert_corpus c = {0};
    mert_corpus_config how;
    mert_labels_meta metas[MERT_CODEBOOKS_MAX];
    mert_weights w;
    mert_trainer *t = NULL;
    mert_ops *dry = mert_ops_dry(NULL);
    mert_objective_config objective;
    mert_adam_config adam;
    const char *labels[] = {argv[2]}, *pcm[] = {packed ? argv[3] : NULL};
    int bad;
    mert_recipe_defaults(&r);
    bad = !dry || mert_recipe_read(&r, argv[0], e);
    if (dry && host_cqt)
        dry->cqt = 0;
    for (int i = 0; !bad && i < settings.n; i++)
        bad = mert_recipe_set(&r, settings.items[i], e);
    if (bad || mert_recipe_check(&r, e))
        return -1;
    how = (mert_corpus_config){.sample_rate = r.sample_rate, .stride = mert_recipe_stride(&r),
                               .label_rate = r.label_rate, .label_tolerance = r.label_tolerance, .classes = r.classes,
                               .jitter = r.crop_jitter, .in_place = !packed};
    if (mert_corpus_open(&c, &how, argv[1], labels, 1, pcm, packed, e))
        return -1;
    mert_corpus_metas(&c, metas);
    if (mert_recipe_model(&r, metas, c.K, &model, e) || mert_weights_init(&w, &model, 1, e))
        return -1;
    objective = mert_recipe_objective(&r);
    adam = mert_recipe_adam(&r);
    t = mert_trainer_new(&w, dry, &objective, &adam, NULL, e);
    bad = !t || measure(&r, &c, &model, t, e);
    mert_trainer_free(t);
    mert_weights_free(&w);
    mert_corpus_close(&c);
    dry->close(dry);
    return bad ? -1 : 0;
}

int main(int argc, char **argv)
{
    mert_error e = {{0}};
    mert_options_parse(&tool, &argc, &argv);
    packed = argc == 4;
    if (argc != 3 && argc != 4)
        mert_usage_error("recipe, manifest and labels are needed");
    if (run(argv, &e)) {
        mert_log_error("%s", e.text);
        return 1;
    }
    return 0;
}
