/* mert-train: audio and labels in, a model out (man/model.md 3: HuBERT's masked prediction over K codebooks, with the
 * CQT beside it).
 *
 *     train.tsv, train.encodec_0 .. K-1, packed pcm  ->  SAVE/checkpoint-N/, SAVE/model/, SAVE/log.tsv, SAVE/valid.tsv
 *
 * The library does the work (libcommon/train/session.h); here stands what is said, and when what is done. */
#include "formats/file.h"
#include "formats/lock.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/program/report.h"
#include "libcommon/train/monitor/metrics.h"
#include "libcommon/train/session.h"
#include "tools/mert-train/corpora.h"
#include "tools/mert-train/course.h"
#include "tools/mert-train/limits.h"
#include "tools/mert-train/processes.h"
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
static corpus_names train_names, valid_names, older_names;
static int resume, recompute, print_recipe, check, plan, processes = 1, sharding = MERT_SHARD_NONE;
static const char *offload, *stop_after, *hang_after_text = "30m";
static int log_norms, tensorboard;
static double hang_after; /* seconds */
static const char *const shardings[] = {"none", "optimizer", "full", NULL};
static mert_exchange *x; /* the processes of this run */
static mert_lock *lock;  /* of SAVE: process 0 has it */
static mert_ops *ops;    /* what computes, once it is open */
static mert_device_rates rates; /* --plan: of a device; without a name: of none */

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
    {"valid-manifest", 0, MERT_STRING, &valid_names.manifest, "FILE", 0, 0, NULL,
     "the items for validation (default: 'valid' in place of 'train' in the name)"},
    {"valid-labels", 0, MERT_LIST, &valid_names.labels, "PATTERN", 0, 0, NULL,
     "their labels (default: found in the same way)"},
    {"valid-pcm", 0, MERT_LIST, &valid_names.pcm, "FILE", 0, 0, NULL,
     "their packed audio (default: found in the same way, or SAVE/valid.pcm.mts)"},
    {"replay-manifest", 0, MERT_STRING, &older_names.manifest, "FILE", 0, 0, NULL,
     "items of an old corpus, see replay_share in mert-recipe(5)"},
    {"replay-labels", 0, MERT_LIST, &older_names.labels, "PATTERN", 0, 0, NULL,
     "their labels, from the same codebooks"},
    {"replay-pcm", 0, MERT_LIST, &older_names.pcm, "FILE", 0, 0, NULL,
     "their packed audio (default: SAVE/replay.pcm.mts)"},
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
     "with many processes: end the run if one has not answered the others for this time (default: 30m)"},
    {"norms", 0, MERT_FLAG, &log_norms, NULL, 0, 0, NULL,
     "also write SAVE/norms.tsv: the norms of gradient and weights of each layer, at each row of the log"},
    {"tensorboard", 0, MERT_FLAG, &tensorboard, NULL, 0, 0, NULL,
     "also write the rows of the logs to SAVE/tensorboard, as event files of TensorBoard"},
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
    "--recipe FILE --manifest DIR/train.tsv --labels 'DIR/train.encodec_%d' --save DIR [options]",
    "Reads packed audio, its manifest and one label file per codebook; trains a model to predict labels and CQT of "
    "masked frames.\n"
    "Writes SAVE/model (for mert-encode -m), SAVE/checkpoint-N (for --resume), SAVE/log.tsv and SAVE/valid.tsv.",
    options,
    NULL};

static course the_course = {.validated = -1};

static void check_names(void)
{
    if (plan && (!recipe_name || !train_names.manifest))
        mert_usage_error("--recipe and --manifest are needed");
    if (!recipe_name || !train_names.manifest || (!train_names.labels.n && !plan) || (!save && !plan))
        mert_usage_error("--recipe, --manifest, --labels and --save are needed");
    if (!older_names.manifest != !older_names.labels.n || (!older_names.manifest && older_names.pcm.n))
        mert_usage_error("--replay-manifest and --replay-labels come together");
    int named = valid_names.manifest != NULL;
    corpora_default_names(&train_names, &valid_names);
    if (plan && !train_names.labels.n && !named && access(valid_names.manifest, F_OK))
        valid_names.manifest = NULL; /* a plan does not need it */
}

static void read_limits(void)
{
    if (changes.n && !resume)
        mert_usage_error("--change is for a run that goes on: --resume; --set is for one that begins");
    if (stop_after)
        limits_stop_after(limits_duration("stop-after", stop_after));
    hang_after = limits_duration("hang-after", hang_after_text);
}

/* ---- where to begin ---- */

static int read_recipe(mert_recipe *r, mert_error *e)
{
    mert_recipe_defaults(r);
    if (recipe_name && mert_recipe_read(r, recipe_name, e))
        return -1;
    for (int i = 0; i < settings.n; i++)
        if (mert_recipe_set(r, settings.items[i], e))
            return mert_fail_in(e, "--set");
    r->recompute |= recompute;
    return mert_recipe_check(r, e) ? recipe_name ? mert_fail_in(e, "%s", recipe_name) : -1 : 0;
}

/* What --init and pretrained_weights name, before hours of decoding. */
static int check_models(const mert_recipe *r, mert_error *e)
{
    mert_recipe encoder = *r;
    mert_config model;
    encoder.codebooks = encoder.classes = 0; /* the labels say the rest, and nothing here depends on it */
    if (mert_recipe_model(&encoder, NULL, 0, &model, e) || mert_recipe_pretrained_check(r, &model, e))
        return -1;
    return init && (mert_state_verify_model(init, e) < 0 || mert_state_init_check(init, &model, e)) ? -1 : 0;
}

/* What can be wrong without any data. */
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

/* --plan --device cuda:NAME: a device that need not be here, by its data sheet; what is measured is the CPU. */
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

/* The rates of the device that is here; or why it is not, and how to plan for one that is not. */
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

/* Each process has a device of its own. */
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

/* What computes, and where the optimiser's state goes. */
static int check_places(const mert_recipe *r, mert_error *e)
{
    if (open_device(r, e))
        return -1;
    if (offload && strcmp(offload, "host") && strcmp(offload, "disk") && !mert_path_is_directory(offload))
        return mert_fail(e, "%s: cannot make a file for the optimiser's state: there is no such folder", offload);
    return 0;
}

/* newest: the checkpoint that SAVE has come to; -1: none. */
static int check_save(int64_t newest, mert_error *e)
{
    return newest < 0 || resume
               ? 0
               : mert_fail(e,
                           "%s holds a run that has come to update %" PRId64 ": --resume goes on with it; another one "
                           "takes another --save, and begins with this one's model by --init %s/model",
                           save, newest, save);
}

/* One run at a time in SAVE. */
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

/* What --change asks for. A run that only begins has it from its first update on. */
static int make_changes(mert_session *s, int64_t newest, mert_error *e)
{
    static const char corpus[] = MERT_CHANGED_CORPUS "=";
    const char *const *given = (const char *const *)changes.items;
    if (newest >= 0)
        return mert_session_change(s, newest, given, changes.n, e);
    for (int i = 0; i < changes.n; i++)
        if (strncmp(given[i], corpus, sizeof corpus - 1) && mert_recipe_set(&s->recipe, given[i], e))
            return mert_fail_in(e, "--change");
    return mert_recipe_check(&s->recipe, e);
}

/* What process 0 does before the others: the folder, and packed audio. */
static int prepare(mert_session *s, int64_t *newest, mert_error *e)
{
    mert_recipe *r = &s->recipe;
    *newest = mert_state_newest(save);
    if (!x->rank) {
        if (mert_state_check_names(save, e) || (*newest < 0 && check_models(r, e)) || check_places(r, e) || take_folder(e))
            return -1;
        *newest = mert_state_newest(save); /* nobody else adds one from now on */
        if (check_save(*newest, e))
            return -1;
    }
    if (make_changes(s, *newest, e) ||
        (!x->rank && corpora_check(s, *newest, &train_names, &valid_names, &older_names, e)))
        return -1;
    return corpora_pack(&train_names, &valid_names, &older_names, r, save, x->rank ? PACK_ELSEWHERE : PACK_NOW, e);
}

static int take_weights(mert_session *s, mert_error *e)
{
    char names[800];
    int fresh, taken = mert_state_init(&s->weights, init, &fresh, names, sizeof names, e);
    if (taken < 0)
        return -1;
    mert_log_note("%d tensors of %s%s%s", taken, init, fresh ? "; these begin afresh: " : "", names);
    return 0;
}

/* Whether an update hears as much as lr was chosen for. */
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

static int open_run(mert_session *s, int64_t newest, mert_error *e)
{
    if (open_device(&s->recipe, e) ||
        corpora_open(s, &train_names, &valid_names, &older_names, MERT_INDEX_KEEP, e) || mert_session_model(s, e))
        return -1;
    mert_log_note("model: %.2f million parameters", (double)s->weights.layout.elements / 1e6);
    if (s->recipe.precision != MERT_ELEMENT_F32 && ops->host_memory)
        mert_log_note("precision = %s is slower than f32 on a CPU, which rounds and then multiplies in float32: it is "
                      "for devices", s->recipe.precision == MERT_ELEMENT_F16 ? "fp16" : "bf16");
    if (newest >= 0) {
        int unverified = mert_session_resume(s, newest, e);
        if (unverified < 0 || (!x->rank && mert_state_settle(save, newest, &s->recipe, e)))
            return -1;
        if (!x->rank && s->state.best.update == newest && mert_state_place_best(save, newest, e))
            return -1; /* the process may have died before it did */
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
    if (x->ranks > 1)
        mert_log_note("%d processes; an update is %" PRId64 " batches", x->ranks, s->state.batches);
    if (!x->rank && (write_recipe(&s->recipe, e) || mert_session_neighbours(s, the_course.neighbours, e)))
        return -1;
    return mert_session_begin(s, ops, e);
}

static int open_metrics(mert_session *s, mert_metrics *j, mert_error *e)
{
    mert_metrics_kind kind = {.K = s->train.K,
                              .scaled = s->recipe.precision == MERT_ELEMENT_F16,
                              .events = tensorboard,
                              .norms = log_norms ? mert_trainer_parts(s->trainer)->n : 0};
    if (mert_metrics_open(j, save, &kind, s->state.position.update, e))
        return -1;
    the_course.validated = j->validated;
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

/* The devices exchange among themselves, or by the host's memory. */
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

/* All of what comes before the first update; the processes agree on whether it went well. */
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
    return processes_agree(x, join(s, e), NULL, 0, e);
}

/* Without labels: assumes codebooks and classes of the recipe, or else those of EnCodec for the published models. */
static void assume_labels(mert_recipe *r)
{
    r->codebooks = r->codebooks ? r->codebooks : 8;
    r->classes = r->classes ? r->classes : 1024;
}

/* Looks at what there is, and leaves it as it is; refuses what the run would refuse. */
static int plan_only(void)
{
    mert_session s = {.save = save};
    mert_error e = {{0}};
    int64_t newest = save ? mert_state_newest(save) : -1;
    int bad = read_recipe(&s.recipe, &e) || (save && mert_state_check_names(save, &e)) || check_save(newest, &e) ||
              (newest < 0 && check_models(&s.recipe, &e)) || plan_from_rates(&e) ||
              plan_device(check_places(&s.recipe, &e), &e);
    bad = bad || make_changes(&s, newest, &e);
    if (!bad && !train_names.labels.n)
        assume_labels(&s.recipe);
    bad = bad ||
              corpora_pack(&train_names, &valid_names, &older_names, &s.recipe, save ? save : "", PACK_NOT, &e) ||
              corpora_open(&s, &train_names, &valid_names, &older_names, MERT_INDEX_FORGET, &e) ||
              mert_session_check(&s, newest, &e) ||
              (valid_names.manifest && mert_session_plan_validation(&s, &e));
    if (bad)
        mert_report_broken("%s", e.text);
    else
        bad = watch_plan(&s, ops, rates.name ? &rates : NULL, processes, (mert_sharding)sharding, offload);
    mert_session_end(&s);
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
    x->patience = hang_after;
    the_course.log_norms = log_norms;
    bad = !begun || course_run(&the_course, &s, &j, &e);
    unfinished = !bad && the_course.stop & LIMITS_TIME && !the_course.ended &&
                 (s.state.position.update < mert_session_last(&s) || the_course.owes);
    if (mert_metrics_close(&j, bad ? NULL : &e))
        bad = 1;
    if (bad && begun && x->ranks > 1 && !the_course.same_failure) {
        mert_report_broken("%s", e.text);
        mert_lock_release(lock);
        x->abandon(x);
        _exit(1); /* what is still on its way to the others will never arrive */
    }
    if (bad && (begun ? !x->rank : *e.text != 0))
        mert_report_broken("%s", e.text);
    mert_session_end(&s);
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
    if (print_recipe)
        return show_recipe(&shown);
    if (check)
        return check_only();
    if (compare && !save)
        mert_usage_error("--compare needs the run's --save");
    if (compare)
        return watch_compare(save, compare);
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
