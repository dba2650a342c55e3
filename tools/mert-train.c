/* mert-train: audio and labels in, a model out (man/model.md 3: HuBERT's masked prediction over K codebooks, and the
 * CQT regression).
 *
 *     train.tsv, train.encodec_0 .. K-1, packed pcm  ->  SAVE/checkpoint-N/, SAVE/model/, SAVE/log.tsv, SAVE/valid.tsv
 *
 * The library does the work (libcommon/train/session.h). The program decides when to call it, and prints. */
#include "formats/file.h"
#include "formats/lock.h"
#include "libcommon/base/cpu.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/program/report.h"
#include "libcommon/train/head.h"
#include "libcommon/train/monitor/metrics.h"
#include "libcommon/train/session.h"
#include "tools/mert-train/corpora.h"
#include "tools/mert-train/course.h"
#include "tools/mert-train/limits.h"
#include "tools/mert-train/processes.h"
#include "tools/mert-train/tasks.h"
#include "tools/mert-train/watch.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *recipe_name, *save, *init, *device = "cpu", *compare;
static mert_strings settings, changes;
static corpus_names train_names, valid_names, replay_names;
static tasks the_task; /* table NULL: pre-training */
static const char *const chord_rules[] = {"as-written", "majmin", "thirds", NULL}; /* mert_chord_rule */
static int in_place, resume, recompute, print_recipe, check, plan, processes = 1, sharding = MERT_SHARD_NONE;
static const char *offload, *stop_after, *hang_after_text = "10m";
static int log_norms, tensorboard, pieces;
static double hang_after; /* how long a process waits for another one, in seconds */
static const double DECODER_SHARE = 0.75; /* of it, for a decoder: its file is named before others name its process */
static const char *const shardings[] = {"none", "optimizer", "full", NULL};
static mert_exchange *x; /* the processes of this run */
static mert_lock *lock;  /* of SAVE; in process 0 */
static mert_ops *ops;    /* the backend, once it is open */
static mert_device_rates rates; /* --plan: the rates of the device to plan for; no name: none */

static const mert_option options[] = {
    {"recipe", 0, MERT_STRING, &recipe_name, "FILE", 0, 0, NULL,
     "the recipe: a file or the name of an installed one, see mert-recipe(5)"},
    {"set", 0, MERT_LIST, &settings, "NAME=VALUE", 0, 0, NULL,
     "change a setting of the recipe (may be repeated)"},
    {"plan", 0, MERT_FLAG, &plan, NULL, 0, 0, NULL,
     "print an estimate of the run (batches, parameters, memory, operations, days, disk), and do nothing else"},
    {"check", 0, MERT_FLAG, &check, NULL, 0, 0, NULL,
     "check recipe, --set and --init, and do nothing else; no data is needed"},
    {"compare", 0, MERT_STRING, &compare, "LOG", 0, 0, NULL,
     "compare the run in --save with the log of another run, and do nothing else"},
    {"print-recipe", 0, MERT_FLAG, &print_recipe, NULL, 0, 0, NULL,
     "print all settings with their meanings, and do nothing else"},
    {"manifest", 0, MERT_STRING, &train_names.manifest, "FILE", 0, 0, NULL, "the training items: DIR/train.tsv"},
    {"labels", 0, MERT_LIST, &train_names.labels, "PATTERN", 0, 0, NULL,
     "their labels: 'DIR/train.encodec_%d' (may be repeated for more codebooks)"},
    {"pcm", 0, MERT_LIST, &train_names.pcm, "FILE", 0, 0, NULL,
     "their packed audio (may be repeated for parts; default: SAVE/train.pcm.mts, which is made if needed)"},
    {"in-place", 0, MERT_FLAG, &in_place, NULL, 0, 0, NULL,
     "decode the audio of training from the manifest's own files during the run, instead of packing it"},
    {"valid-manifest", 0, MERT_STRING, &valid_names.manifest, "FILE", 0, 0, NULL,
     "the items for validation (default: 'valid' in place of 'train' in the name)"},
    {"valid-labels", 0, MERT_LIST, &valid_names.labels, "PATTERN", 0, 0, NULL,
     "their labels (default: found in the same way)"},
    {"valid-pcm", 0, MERT_LIST, &valid_names.pcm, "FILE", 0, 0, NULL,
     "their packed audio (default: found in the same way, or SAVE/valid.pcm.mts)"},
    {"replay-manifest", 0, MERT_STRING, &replay_names.manifest, "FILE", 0, 0, NULL,
     "items of an old corpus, see replay_share in mert-recipe(5)"},
    {"replay-labels", 0, MERT_LIST, &replay_names.labels, "PATTERN", 0, 0, NULL,
     "their labels, from the same codebooks"},
    {"replay-pcm", 0, MERT_LIST, &replay_names.pcm, "FILE", 0, 0, NULL,
     "their packed audio (default: SAVE/replay.pcm.mts)"},
    {"task", 0, MERT_STRING, &the_task.table, "TABLE", 0, 0, NULL,
     "fine-tune the model of --init on this table of labels, as mert-probe reads it, in place of --labels"},
    {"column", 0, MERT_STRING, &the_task.column, "NAME", 0, 0, NULL,
     "the column of TABLE with the labels (default: label)"},
    {"chords", 0, MERT_CHOICE, &the_task.chords, "RULE", 0, 0, chord_rules,
     "labels of TABLE are chords: reduce them to root and major or minor"},
    {"test-manifest", 0, MERT_STRING, &the_task.test.manifest, "FILE", 0, 0, NULL,
     "the items that the task is tested with (default: as TABLE splits them, or one of the recipe's task_folds)"},
    {"test-pcm", 0, MERT_LIST, &the_task.test.pcm, "FILE", 0, 0, NULL,
     "their packed audio (default: SAVE/test.pcm.mts)"},
    {"predictions", 0, MERT_STRING, &the_task.predictions, "FILE", 0, 0, NULL,
     "also write the predictions for the test part of TABLE"},
    {"save", 0, MERT_STRING, &save, "DIR", 0, 0, NULL, "folder of the run: checkpoints, logs, the model"},
    {"init", 0, MERT_STRING, &init, "MODEL", 0, 0, NULL, "begin with the weights of this model, as far as they fit"},
    {"resume", 0, MERT_FLAG, &resume, NULL, 0, 0, NULL,
     "continue from the newest checkpoint in the folder of the run, if there is one"},
    {"change", 0, MERT_LIST, &changes, "NAME=VALUE", 0, 0, NULL,
     "with --resume: change a setting of the run, or let it have another corpus: corpus=yes (may be repeated)"},
    {"recompute", 0, MERT_FLAG, &recompute, NULL, 0, 0, NULL,
     "need less memory and more time: compute layers again in the backward pass; the model is the same"},
    {"stop-after", 0, MERT_STRING, &stop_after, "TIME", 0, 0, NULL,
     "end the run after the update in which this time has passed, with a checkpoint, and exit status 75: 3h55m, 90m"},
    {"hang-after", 0, MERT_STRING, &hang_after_text, "TIME", 0, 0, NULL,
     "end the run if one of many processes has not answered the others for this time, or mert-decode gives nothing "
     "for three quarters of it (default: 10m)"},
    {"norms", 0, MERT_FLAG, &log_norms, NULL, 0, 0, NULL,
     "also write SAVE/norms.tsv: the norms of gradient and weights of each layer, at each row of the log"},
    {"tensorboard", 0, MERT_FLAG, &tensorboard, NULL, 0, 0, NULL,
     "also write the rows of the logs to SAVE/tensorboard, as event files of TensorBoard"},
    {"pieces", 0, MERT_INT, &pieces, "N", 0, 32, NULL,
     "at each validation, write labels and predictions of the first N items of it to SAVE/predictions.mts"},
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL,
     "what computes: cpu, guard (a test of the program itself), cuda or cuda:N; --plan: also cuda:NAME"},
    {"processes", 0, MERT_INT, &processes, "N", 1, MERT_LOCAL_MAX, NULL,
     "number of processes on this machine; for several machines use mpirun or srun"},
    {"shard", 0, MERT_CHOICE, &sharding, "WHAT", 0, 0, shardings,
     "divide among the processes: nothing, the optimiser state, or also weights and gradients"},
    {"offload", 0, MERT_STRING, &offload, "WHERE", 0, 0, NULL,
     "keep the optimiser state in host memory ('host'), in a file in SAVE ('disk'), or in a file in this folder"},
    {0}};

static const mert_tool tool = {
    "mert-train",
    "train a MERT model",
    "--recipe FILE --manifest DIR/train.tsv --labels 'DIR/train.encodec_%d' --save DIR [options]\n"
    "       mert-train --task TABLE --init MODEL --manifest FILE --save DIR [options]",
    "Reads packed audio, its manifest and one label file per codebook; trains a model to predict labels and CQT of "
    "masked frames.\n"
    "Writes SAVE/model (for mert-encode -m), SAVE/checkpoint-N (for --resume), SAVE/log.tsv and SAVE/valid.tsv.\n"
    "--task: trains a model and a head on labels of items or spans; prints scores on the test part.",
    options,
    NULL};

static course the_course = {.validated = -1};

/* Those of fine-tuning. */
static void check_task(void)
{
    if (!train_names.manifest || (!save && !plan) || (!init && !resume))
        mert_usage_error("--task needs --init, --manifest and --save");
    if (train_names.labels.n || valid_names.labels.n || replay_names.manifest || replay_names.labels.n)
        mert_usage_error("--task has its labels in TABLE: no --labels, --valid-labels or --replay-manifest");
    if (valid_names.manifest && !the_task.test.manifest)
        mert_usage_error("--valid-manifest of a task goes with --test-manifest");
    if (sharding == MERT_SHARD_FULL)
        mert_usage_error("--shard full is not for --task: 'optimizer' is");
    if (pieces)
        mert_usage_error("--pieces is for labels of frames: --task has --predictions");
    if (in_place)
        mert_usage_error("--in-place is for labels of frames: the audio of a --task is packed");
    if (the_task.test.pcm.n && !the_task.test.manifest)
        mert_usage_error("--test-pcm goes with --test-manifest");
    if (replay_names.pcm.n || (valid_names.pcm.n && !valid_names.manifest))
        mert_usage_error("--task: a --valid-pcm goes with a --valid-manifest, and there is no --replay-pcm");
}

static void check_names(void)
{
    train_names.patience = valid_names.patience = replay_names.patience = DECODER_SHARE * hang_after;
    the_task.test.patience = train_names.patience;
    if (the_task.table) {
        check_task();
        return;
    }
    if (the_task.column || the_task.chords || the_task.test.manifest || the_task.test.pcm.n || the_task.predictions)
        mert_usage_error("--column, --chords, --test-manifest, --test-pcm and --predictions are for --task");
    if (plan && (!recipe_name || !train_names.manifest))
        mert_usage_error("--recipe and --manifest are needed");
    if (!recipe_name || !train_names.manifest || (!train_names.labels.n && !plan) || (!save && !plan))
        mert_usage_error("--recipe, --manifest, --labels and --save are needed");
    if (!replay_names.manifest != !replay_names.labels.n || (!replay_names.manifest && replay_names.pcm.n))
        mert_usage_error("--replay-manifest and --replay-labels come together");
    if (pieces && sharding == MERT_SHARD_FULL)
        mert_usage_error("--pieces needs all weights in one process: it does not go with --shard full");
    if (in_place && train_names.pcm.n)
        mert_usage_error("--in-place is instead of --pcm");
    train_names.in_place = in_place;
    replay_names.in_place = in_place && !replay_names.pcm.n;
    int named = valid_names.manifest != NULL;
    corpora_default_names(&train_names, &valid_names);
    if (plan && !train_names.labels.n && !named && access(valid_names.manifest, F_OK)) {
        free((char *)valid_names.manifest); /* corpora_default_names made it; it is not needed for a plan */
        valid_names.manifest = NULL;
    }
}

static void read_limits(void)
{
    if (changes.n && !resume)
        mert_usage_error("--change is for a run that goes on: --resume; --set is for one that begins");
    if (stop_after)
        limits_stop_after(limits_duration("stop-after", stop_after));
}

/* ---- start ---- */

static int check_recipe(const mert_recipe *r, mert_error *e)
{
    return the_task.table ? mert_recipe_check_task(r, e) : mert_recipe_check(r, e);
}

static int read_recipe(mert_recipe *r, mert_error *e)
{
    mert_recipe_defaults(r);
    if (recipe_name && mert_recipe_read(r, recipe_name, e))
        return -1;
    for (int i = 0; i < settings.n; i++)
        if (mert_recipe_set(r, settings.items[i], e))
            return mert_fail_in(e, "--set");
    r->recompute |= recompute;
    if (the_task.table && (tasks_take_model(r, init, save, save ? mert_state_newest(save) : -1, &settings, e)))
        return -1;
    return check_recipe(r, e) ? recipe_name ? mert_fail_in(e, "%s", recipe_name) : -1 : 0;
}

/* Checks the models of --init and pretrained_weights, before hours of decoding. */
static int check_models(const mert_recipe *r, mert_error *e)
{
    mert_recipe encoder = *r;
    mert_config model;
    encoder.codebooks = encoder.classes = 0; /* the number of codebooks and classes follows from the labels, and is
                                              * not needed here */
    if (mert_recipe_model(&encoder, NULL, 0, &model, e) || mert_recipe_pretrained_check(r, &model, e))
        return -1;
    return init && (mert_state_verify_model(init, e) < 0 || mert_state_init_check(init, &model, e)) ? -1 : 0;
}

/* Checks everything that can be checked without data. */
static int check_only(void)
{
    mert_recipe r;
    mert_error e = {{0}};
    if (!recipe_name)
        mert_usage_error("--check needs a --recipe");
    if (!read_recipe(&r, &e) && !check_models(&r, &e))
        return 0;
    mert_log_error("%s", e.text);
    return 1;
}

static int show_recipe(mert_recipe *r)
{
    mert_error e = {{0}};
    char *text = read_recipe(r, &e) ? NULL : mert_recipe_text(r, 1);
    if (!text) {
        mert_log_error("%s", *e.text ? e.text : "out of memory");
        return 1;
    }
    fputs(text, stdout);
    free(text);
    return mert_log_stdout();
}

static int write_recipe(const mert_recipe *r, mert_error *e)
{
    char *text = mert_recipe_text(r, 1), *path = mert_path_join(save, "recipe");
    mert_output *o = text && path ? mert_output_open(path, e) : NULL;
    int bad = -1;
    if (!text || !path)
        mert_fail(e, "out of memory");
    else if (o) {
        fputs(text, o->stream);
        bad = mert_output_commit(o, e);
    }
    free(text);
    free(path);
    return bad;
}

static void close_device(void)
{
    if (ops)
        ops->close(ops);
}

/* --plan --device cuda:NAME: plans for a device of the table, which this machine need not have. Only the CPU is
 * measured. */
static int plan_from_rates(mert_error *e)
{
    static const char cuda[] = "cuda:";
    const char *name = device + sizeof cuda - 1;
    if (strncmp(device, cuda, sizeof cuda - 1) || !name[strspn(name, "0123456789")])
        return 0;
    if (mert_device_find(&rates, name, e))
        return -1;
    device = "cpu";
    return 0;
}

/* Finds the rates of the device of this machine. If there is none, the error says why, and how to plan for another. */
static int plan_device(int bad, mert_error *e)
{
    char names[256], why[sizeof e->text];
    if (!bad && ops->device && !mert_device_recognise(&rates, ops->device) && ops->memory > 0)
        rates.memory = (double)ops->memory;
    if (!bad || ops || strncmp(device, "cuda", 4))
        return bad;
    mert_device_names(names, sizeof names);
    snprintf(why, sizeof why, "%s", e->text);
    return mert_fail(e, "%.700s; for one that is not here: --plan --device cuda:NAME (%s)", why, names);
}

/* Opens the device of this process; each process has its own. */
static int open_device(const mert_recipe *r, mert_error *e)
{
    char name[128];
    if (ops)
        return 0;
    if (mert_exchange_device(x ? x : mert_exchange_alone(), device, name, sizeof name, e))
        return -1;
    if ((ops = mert_ops_open(name, (mert_element_type)r->precision, e)))
        return 0;
    return x && x->neighbours > 1 ? mert_fail_in(e, "%d processes of this machine", x->neighbours) : -1;
}

/* Checks the options --device and --offload. */
static int check_places(const mert_recipe *r, mert_error *e)
{
    if (open_device(r, e))
        return -1;
    if (offload && strcmp(offload, "host") && strcmp(offload, "disk") && !mert_path_is_directory(offload))
        return mert_fail(e, "%s: cannot make a file for the optimiser's state: there is no such folder", offload);
    return 0;
}

/* newest: the newest checkpoint in SAVE; -1: none. */
static int check_save(int64_t newest, mert_error *e)
{
    return newest < 0 || resume
               ? 0
               : mert_fail(e,
                           "%s contains a run at update %" PRId64 ": --resume continues it; a new run needs "
                           "another --save, and can start with this model by --init %s/model",
                           save, newest, save);
}

/* Takes the lock of SAVE: one run at a time. */
static int take_folder(mert_error *e)
{
    char *path = mert_path_join(save, "lock"), text[sizeof e->text];
    int bad = !path ? mert_fail(e, "out of memory") : mert_make_directory(save, e);
    if (!bad && !(lock = mert_lock_take(path, e))) {
        snprintf(text, sizeof text, "%s", e->text);
        bad = mert_fail(e, "%.900s: wait until it ends, or name another --save", text);
    }
    free(path);
    return bad;
}

/* Makes the changes of --change. In a new run they hold from the first update on. */
static int make_changes(mert_session *s, int64_t newest, mert_error *e)
{
    static const char corpus[] = MERT_CHANGED_CORPUS "=";
    const char *const *given = (const char *const *)changes.items;
    if (newest >= 0)
        return mert_session_change(s, newest, given, changes.n, e);
    for (int i = 0; i < changes.n; i++)
        if (strncmp(given[i], corpus, sizeof corpus - 1) && mert_recipe_set(&s->recipe, given[i], e))
            return mert_fail_in(e, "--change");
    return check_recipe(&s->recipe, e);
}

/* What process 0 does before the others start: the folder, and packed audio. */
static int prepare(mert_session *s, int64_t *newest, mert_error *e)
{
    mert_recipe *r = &s->recipe;
    corpora_packing packing = x->rank ? PACK_ELSEWHERE : PACK_NOW;
    *newest = mert_state_newest(save);
    if (!x->rank) {
        if (mert_state_check_names(save, e) || (*newest < 0 && check_models(r, e)) || check_places(r, e) || take_folder(e))
            return -1;
        *newest = mert_state_newest(save); /* no other process adds a checkpoint from now on */
        if (check_save(*newest, e))
            return -1;
    }
    if (the_task.table)
        return tasks_read(&the_task, s, &train_names, &valid_names, e) || make_changes(s, *newest, e) ||
                       tasks_pack(&the_task, &train_names, &valid_names, r, save, packing, e)
                   ? -1
                   : 0;
    if (make_changes(s, *newest, e) ||
        (!x->rank && corpora_check(s, *newest, &train_names, &valid_names, &replay_names, e)))
        return -1;
    return corpora_pack(&train_names, &valid_names, &replay_names, r, save, packing, e);
}

static int take_weights(mert_session *s, mert_error *e)
{
    char names[800];
    int fresh, taken = mert_state_init(&s->weights, init, &fresh, names, sizeof names, e);
    if (taken < 0)
        return -1;
    if (s->task)
        mert_head_reset(&s->weights);
    mert_log_note("%d tensors of %s%s%s", taken, init, fresh ? "; these keep random values: " : "", names);
    return 0;
}

/* Compares the audio per update with that for which lr was chosen. */
static int compare_update(const mert_session *s, mert_error *e)
{
    const mert_recipe *r = &s->recipe;
    double seconds;
    if (!(r->lr_seconds > 0))
        return 0;
    if (mert_session_update_seconds(s, &seconds, e))
        return -1;
    if (seconds < 0.9 * r->lr_seconds)
        mert_log_note("an update has %.0f s of audio; lr = %g was chosen for %.0f s: use a smaller lr, or "
                      "update_batches=%.0f",
                      seconds, r->lr, r->lr_seconds, ceil(r->lr_seconds / seconds * (double)s->state.batches));
    return 0;
}

static int open_corpora(mert_session *s, mert_index_keeping keeping, mert_error *e)
{
    return the_task.table ? tasks_open(&the_task, s, &train_names, &valid_names, keeping, e)
                          : corpora_open(s, &train_names, &valid_names, &replay_names, keeping, e);
}

static int open_run(mert_session *s, int64_t newest, mert_error *e)
{
    if (open_device(&s->recipe, e) || open_corpora(s, MERT_INDEX_KEEP, e) || mert_session_model(s, e))
        return -1;
    mert_log_note("model: %.2f million parameters", (double)s->weights.layout.elements / 1e6);
    if (s->recipe.precision == MERT_ELEMENT_F16 && ops->host_memory)
        mert_log_note("precision = fp16 is slower than f32 on a CPU, which rounds and then multiplies in float32: it is "
                      "for devices");
    if (s->recipe.precision == MERT_ELEMENT_BF16 && ops->host_memory && !mert_cpu_bf16() && !mert_cpu_amx())
        mert_log_note("precision = bf16 is slower than f32 on this CPU, which rounds and then multiplies in float32: it "
                      "is for devices, and for CPUs with AVX-512 BF16 or AMX");
    if (newest >= 0) {
        int unverified = mert_session_resume(s, newest, e);
        if (unverified < 0 || (!x->rank && mert_state_settle(save, newest, &s->recipe, e)))
            return -1;
        if (!x->rank && s->state.best.update == newest && mert_state_place_best(save, newest, e))
            return -1; /* a process that died before that */
        if (unverified && !x->rank)
            mert_log_error("%s/checkpoint-%" PRId64 ": unverified: it was written by a version that wrote no hashes",
                           save, newest);
        mert_log_note("going on after update %" PRId64, newest);
    } else if (mert_recipe_pretrained(&s->recipe, &s->weights, e)) {
        return -1;
    } else if (init && take_weights(s, e)) {
        return -1;
    }
    if (!x->rank && compare_update(s, e))
        return -1;
    if (pieces && s->model.codebooks > MERT_PREDICTED_MAX)
        return mert_fail(e, "--pieces: %d codebooks, a stream has room for those of %d", s->model.codebooks,
                         MERT_PREDICTED_MAX);
    if (x->ranks > 1)
        mert_log_note("%d processes; an update is %" PRId64 " batches", x->ranks, s->state.batches);
    if (!x->rank && (corpora_store(s, e) || write_recipe(&s->recipe, e) ||
                     (!s->task && mert_session_neighbours(s, the_course.neighbours, e))))
        return -1;
    return mert_session_begin(s, ops, e);
}

/* Files of audio in place that were written again, but seem to have the same bytes: says so, also in the log. */
static int touched(const mert_session *s, mert_metrics *j, mert_error *e)
{
    const mert_corpus *of[] = {&s->train, &s->replay};
    for (int i = 0; i < 2; i++) {
        char files[MTS_KEY_MAX + 64];
        mert_change made = {s->state.position.update, (char *)"audio", (char *)"", files};
        if (!of[i]->touched)
            continue;
        snprintf(files, sizeof files, "%" PRId64 " written again, the first: %s", of[i]->touched, of[i]->touched_key);
        mert_log_error("files of audio in place: %s; size, beginning and end are the same, so the run goes on", files);
        if (mert_metrics_change(j, &made, e))
            return -1;
    }
    return 0;
}

static int open_metrics(mert_session *s, mert_metrics *j, mert_error *e)
{
    mert_metrics_kind kind = {.K = s->train.K,
                              .scaled = s->recipe.precision == MERT_ELEMENT_F16,
                              .events = tensorboard,
                              .task = s->task ? &the_task.columns : NULL,
                              .norms = log_norms ? mert_trainer_groups(s->trainer)->n : 0};
    if (mert_metrics_open(j, save, &kind, s->state.position.update, e))
        return -1;
    the_course.validated = j->validated;
    if (s->state.position.update && touched(s, j, e))
        return -1;
    for (int i = 0; i < s->changes.n; i++) {
        const mert_change *made = &s->changes.items[i];
        if (made->update != s->state.position.update)
            continue;
        mert_log_note("changed after update %" PRId64 ": %s from %s to %s", made->update, made->name,
                      made->from, made->to);
        if (mert_metrics_change(j, made, e))
            return -1;
    }
    return 0;
}

/* Lets the devices exchange directly; otherwise they exchange through host memory. */
static int join(mert_session *s, mert_error *e)
{
    mert_error why = {{0}};
    int bad = mert_trainer_join(s->trainer, &why);
    if (bad < 0)
        *e = why;
    else if (bad)
        mert_log_note("the processes exchange by host memory, which is slow: %s", why.text);
    return bad < 0 ? -1 : 0;
}

/* Everything before the first update. If it fails in one process, it fails in all. */
static int begin(mert_session *s, mert_metrics *j, mert_error *e)
{
    int64_t newest = -1;
    int bad = read_recipe(&s->recipe, e);
    if (x->ranks > 1 && processes_agree(x, bad || open_device(&s->recipe, e), NULL, 0, e)) /* before hours of packing */
        return -1;
    bad = bad || prepare(s, &newest, e);
    if (processes_agree(x, bad, &newest, sizeof newest, e))
        return -1;
    bad = open_run(s, newest, e) || (!x->rank && open_metrics(s, j, e));
    if (processes_agree(x, bad, &the_course.validated, sizeof the_course.validated, e))
        return -1;
    x->patience = hang_after; /* before, one of them may pack audio for hours */
    return processes_agree(x, join(s, e), NULL, 0, e);
}

/* Without labels: assumes codebooks and classes of the recipe, or else those of EnCodec for the published models. */
static void assume_labels(mert_recipe *r)
{
    r->codebooks = r->codebooks ? r->codebooks : 8;
    r->classes = r->classes ? r->classes : 1024;
}

static int plan_packing(const mert_recipe *r, mert_error *e)
{
    const char *in = save ? save : "";
    return the_task.table ? tasks_pack(&the_task, &train_names, &valid_names, r, in, PACK_NOT, e)
                          : corpora_pack(&train_names, &valid_names, &replay_names, r, in, PACK_NOT, e);
}

/* Prints a plan and changes nothing. Refuses what the run would refuse. */
static int plan_only(void)
{
    mert_session s = {.save = save};
    mert_error e = {{0}};
    int64_t newest = save ? mert_state_newest(save) : -1;
    int bad = read_recipe(&s.recipe, &e) || (save && mert_state_check_names(save, &e)) || check_save(newest, &e) ||
              (newest < 0 && check_models(&s.recipe, &e)) || plan_from_rates(&e) ||
              plan_device(check_places(&s.recipe, &e), &e);
    bad = bad || (the_task.table && tasks_read(&the_task, &s, &train_names, &valid_names, &e)) ||
          make_changes(&s, newest, &e);
    if (!bad && !train_names.labels.n && !the_task.table)
        assume_labels(&s.recipe);
    bad = bad || plan_packing(&s.recipe, &e) || open_corpora(&s, MERT_INDEX_FORGET, &e) ||
              mert_session_check(&s, newest, &e) ||
              (valid_names.manifest && mert_session_plan_validation(&s, &e));
    if (bad)
        mert_report_broken("%s", e.text);
    else
        bad = watch_plan(&s, ops, rates.name ? &rates : NULL, processes, (mert_sharding)sharding, offload);
    mert_session_end(&s);
    tasks_close(&the_task);
    close_device();
    return mert_report_finish() || bad;
}

/* ---- the run ---- */

static int run(void)
{
    mert_session s = {.sharing = {x, (mert_sharding)sharding, offload && !strcmp(offload, "disk") ? save : offload},
                      .save = save,
                      .stop = limits_reached};
    mert_metrics j = {0};
    mert_error e = {{0}};
    int begun = !begin(&s, &j, &e), bad, unfinished;
    the_course.log_norms = log_norms;
    the_course.pieces = pieces;
    bad = !begun || course_run(&the_course, &s, &j, &e);
    unfinished = !bad && the_course.stop & LIMITS_TIME && !the_course.ended &&
                 (s.state.position.update < mert_session_last(&s) || the_course.owes);
    if (!bad && s.task && !the_course.stop && tasks_test(&the_task, &s, &e))
        bad = 1;
    if (mert_metrics_close(&j, bad ? NULL : &e))
        bad = 1;
    if (bad && begun && x->ranks > 1 && !the_course.same_failure) {
        processes_report(e.text, save);
        mert_lock_release(lock);
        x->abandon(x);
        _exit(1); /* data for other processes that is not sent yet will never arrive */
    }
    if (bad && (begun ? !x->rank : *e.text != 0))
        mert_report_broken("%s", e.text);
    mert_session_end(&s);
    tasks_close(&the_task);
    close_device();
    mert_lock_release(lock);
    x->close(x);
    bad = mert_report_finish() || bad;
    return bad ? 1 : unfinished ? LIMITS_STATUS : 0;
}

static void die_by(int number)
{
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv)
{
    mert_recipe shown;
    int status;
    limits_begin();
    mert_options_parse(&tool, &argc, &argv);
    if (argc)
        mert_usage_error("no operands are taken, but there is '%s'", argv[0]);
    if (the_task.table && !recipe_name)
        recipe_name = "finetune";
    if (print_recipe)
        return show_recipe(&shown);
    if (check)
        return check_only();
    if (compare && !save)
        mert_usage_error("--compare needs the run's --save");
    if (compare)
        return watch_compare(save, compare);
    hang_after = limits_duration("hang-after", hang_after_text);
    check_names();
    if (plan)
        return plan_only();
    read_limits();
    limits_catch_signals();
    if ((x = processes_join(processes, save, &status)))
        status = run();
    if (limits_signal() || status < 0)
        die_by(limits_signal() ? limits_signal() : -status);
    return status;
}
