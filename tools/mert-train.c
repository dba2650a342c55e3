/* mert-train: audio and labels in, a model out (REFERENCE: HuBERT's masked prediction over K codebooks, with the CQT
 * beside it).
 *
 *     train.tsv, train.encodec_0 .. K-1, packed pcm  ->  SAVE/checkpoint-N/, SAVE/model/, SAVE/log.tsv, SAVE/valid.tsv
 *
 * The library does the work (libcommon/train/session.h); here stands what is said, and when what is done. */
#include "../formats/file.h"
#include "../libcommon/base/log.h"
#include "../libcommon/base/options.h"
#include "../libcommon/base/report.h"
#include "../libcommon/train/journal.h"
#include "../libcommon/train/pack.h"
#include "../libcommon/train/session.h"
#include "mert-train/processes.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SKIPS_MAX = 10 }; /* updates in a row without a finite loss, after which nothing will help any more */

static const char *recipe_name, *manifest, *valid_manifest, *save, *init, *device = "cpu";
static mert_strings settings, labels, valid_labels, pcm, valid_pcm;
static int resume, print_recipe, processes = 1, sharding = MERT_SHARD_NONE;
static const char *offload;
static const char *const shardings[] = {"none", "optimizer", "full", NULL};
static mert_exchange *x; /* the processes of this run */

static const mert_option options[] = {
    {"recipe", 0, MERT_STRING, &recipe_name, "FILE", 0, 0, NULL, "what to train, and how: mert-recipe(5)"},
    {"set", 0, MERT_LIST, &settings, "NAME=VALUE", 0, 0, NULL,
     "changes a setting of the recipe (may come several times)"},
    {"print-recipe", 0, MERT_FLAG, &print_recipe, NULL, 0, 0, NULL,
     "print all settings with their meanings, and do nothing else"},
    {"manifest", 0, MERT_STRING, &manifest, "FILE", 0, 0, NULL, "the training items: DIR/train.tsv"},
    {"labels", 0, MERT_LIST, &labels, "PATTERN", 0, 0, NULL,
     "their labels: 'DIR/train.encodec_%d' (several times: more codebooks)"},
    {"pcm", 0, MERT_LIST, &pcm, "FILE", 0, 0, NULL,
     "their audio, packed by mert-decode (several times: in parts; default: SAVE/train.pcm.mts, made if need be)"},
    {"valid-manifest", 0, MERT_STRING, &valid_manifest, "FILE", 0, 0, NULL,
     "the items to validate with (default: 'valid' for 'train' in the name)"},
    {"valid-labels", 0, MERT_LIST, &valid_labels, "PATTERN", 0, 0, NULL, "their labels (default: likewise)"},
    {"valid-pcm", 0, MERT_LIST, &valid_pcm, "FILE", 0, 0, NULL, "their audio (default: likewise; SAVE/valid.pcm.mts)"},
    {"save", 0, MERT_STRING, &save, "DIR", 0, 0, NULL, "folder of the run: checkpoints, logs, the model"},
    {"init", 0, MERT_STRING, &init, "MODEL", 0, 0, NULL, "begin with the weights of this model, as far as they fit"},
    {"resume", 0, MERT_FLAG, &resume, NULL, 0, 0, NULL, "go on from the newest checkpoint in DIR, if there is one"},
    {"device", 0, MERT_STRING, &device, "NAME", 0, 0, NULL, "what computes"},
    {"processes", 0, MERT_INT, &processes, "N", 1, MERT_LOCAL_MAX, NULL,
     "so many processes of this machine train together; of any number of machines: mpirun or srun mert-train ..."},
    {"shard", 0, MERT_CHOICE, &sharding, "WHAT", 0, 0, shardings,
     "of what each of many processes keeps a part only: nothing, the optimiser's state, or weights and gradients, too"},
    {"offload", 0, MERT_STRING, &offload, "WHERE", 0, 0, NULL,
     "keep the optimiser's state in host memory ('host'), in a file in SAVE ('disk'), or in one in this folder"},
    {0}};

static const mert_tool tool = {
    "mert-train",
    "train a MERT model",
    "--recipe FILE --manifest DIR/train.tsv --labels 'DIR/train.encodec_%d' --save DIR [options]",
    "Reads packed audio, its manifest and one label file per codebook; learns to predict the labels, and the CQT, of "
    "masked frames.\n"
    "Writes SAVE/model (for mert-encode -m), SAVE/checkpoint-N (to go on from), SAVE/log.tsv and SAVE/valid.tsv.",
    options,
    NULL};

static double neighbours[MERT_CODEBOOKS_MAX]; /* what the nearest labels tell of the masked ones of validation, in bits */

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = number;
}

/* The first signal ends the run after the present update, with a checkpoint; the second at once. */
static void catch_signals(void)
{
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESTART | SA_RESETHAND)};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    sigaction(SIGUSR1, &a, NULL); /* the one that mpirun passes on */
}

/* ---- what to train on ---- */

/* The name with `valid` for the last `train` in its file name, for the program's life; NULL: there is none. */
static const char *valid_name(const char *name)
{
    const char *base = strrchr(name, '/'), *at = NULL;
    char *to;
    for (const char *p = strstr(base ? base : name, "train"); p; p = strstr(p + 1, "train"))
        at = p;
    if (!at || !(to = strdup(name)))
        return NULL;
    memcpy(to + (at - name), "valid", 5);
    return to;
}

static void add(mert_strings *list, const char *item)
{
    const char **grown = realloc(list->items, (size_t)(list->n + 1) * sizeof *grown);
    if (!grown || !item)
        mert_usage_error("out of memory");
    list->items = grown;
    list->items[list->n++] = item;
}

static void default_names(void)
{
    if (!recipe_name || !manifest || !labels.n || !save)
        mert_usage_error("--recipe, --manifest, --labels and --save are needed");
    if (!valid_manifest && !(valid_manifest = valid_name(manifest)))
        mert_usage_error("%s: without 'train' in its name, --valid-manifest is needed", manifest);
    for (int i = 0, given = valid_labels.n; !given && i < labels.n; i++) {
        const char *name = valid_name(labels.items[i]);
        if (!name)
            mert_usage_error("%s: without 'train' in its name, --valid-labels is needed", labels.items[i]);
        add(&valid_labels, name);
    }
    for (int i = 0, given = valid_pcm.n; !given && i < pcm.n; i++) {
        const char *name = valid_name(pcm.items[i]);
        if (name && !access(name, F_OK))
            add(&valid_pcm, name);
    }
}

/* Without packed audio: SAVE/NAME, packed now unless it is there already. */
static int pack_if_need_be(mert_strings *list, const char *name, const char *of, int64_t rate, mert_error *e)
{
    mert_manifest m;
    char *path;
    uint64_t hash;
    if (list->n)
        return 0;
    if (mert_manifest_read(&m, of, e))
        return -1;
    hash = m.hash;
    mert_manifest_free(&m);
    if (!(path = mert_path_join(save, name)))
        return mert_fail(e, "out of memory");
    add(list, path);
    if (x->rank || mert_pack_fits(path, hash, rate))
        return 0;
    mert_log_note("packing the audio of %s into %s", of, path);
    return mert_pack_make(path, of, rate, e);
}

/* The training's: one file, or one for each shard that has a manifest of its own. */
static int pack_training(const mert_recipe *r, mert_error *e)
{
    int shards = (int)r->sharding_data, bad = 0;
    if (!mert_shards_apart(manifest, shards) || pcm.n)
        return pack_if_need_be(&pcm, "train.pcm.mts", manifest, r->sample_rate, e);
    for (int i = 0; !bad && i < shards; i++) {
        mert_strings one = {0};
        char *of = mert_shard_name(manifest, i, shards), *name = mert_shard_name("train.pcm.mts", i, shards);
        if (!of || !name)
            bad = mert_fail(e, "out of memory");
        else if (!(bad = pack_if_need_be(&one, name, of, r->sample_rate, e)))
            add(&pcm, one.items[0]);
        free(one.items);
        free(name);
        free(of);
    }
    return bad;
}

static int open_corpus(mert_corpus *c, const mert_recipe *r, int64_t shards, const char *name, const mert_strings *l,
                       const mert_strings *audio, mert_error *e)
{
    mert_corpus_config config = {.sample_rate = r->sample_rate,
                                 .stride = mert_recipe_stride(r),
                                 .codebooks = (int)r->codebooks,
                                 .classes = r->classes,
                                 .label_rate = r->label_rate,
                                 .label_tolerance = r->label_tolerance,
                                 .jitter = r->crop_jitter,
                                 .shards = (int)shards};
    if (mert_corpus_open(c, &config, name, l->items, l->n, audio->items, audio->n, e))
        return -1;
    for (int64_t i = 0; i < c->failed; i++)
        if (mert_report_failed(c->failed_key, "", 0))
            return mert_fail(e, "%s: failed before (--fail-fast)", c->failed_key);
    return 0;
}

static void describe_corpus(const char *what, const mert_corpus *c)
{
    char bits[1024] = "";
    size_t used = 0;
    for (int k = 0; k < c->K && used + 16 < sizeof bits; k++)
        used += (size_t)snprintf(bits + used, sizeof bits - used, " %.2f", mert_corpus_entropy(c, k));
    mert_log_note("%s: %lld items, %.0f s; %d codebook%s, entropy%s bits (what a guess would score)", what,
                  (long long)c->n, c->seconds, c->K, c->K == 1 ? "" : "s", bits);
    for (int k = 0; k < c->K; k++)
        if (!c->codebooks[k].verified)
            mert_log_note("%s: unverified: no .meta file beside it", c->codebooks[k].path);
    if (c->failed)
        mert_log_note("%s: %lld rows left out because they failed before (no labels or no audio), the first is %s",
                      what, (long long)c->failed, c->failed_key);
    if (c->off_count)
        mert_log_note("%s: %lld rows have another length in the manifest than in the packed audio, which counts", what,
                      (long long)c->off_count);
}

static int open_data(mert_session *s, mert_error *e)
{
    if (open_corpus(&s->train, &s->recipe, s->recipe.sharding_data, manifest, &labels, &pcm, e) ||
        open_corpus(&s->valid, &s->recipe, 0, valid_manifest, &valid_labels, &valid_pcm, e) ||
        mert_corpus_fits(&s->train, &s->valid, e))
        return -1;
    for (int k = 0; k < s->train.K; k++)
        if (!(mert_corpus_entropy(&s->train, k) > 0))
            return mert_fail(e, "%s: all labels are the same: there is nothing to learn",
                             s->train.codebooks[k].path);
    describe_corpus("training", &s->train);
    describe_corpus("validation", &s->valid);
    return 0;
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
    return mert_recipe_check(r, e) ? recipe_name ? mert_fail_in(e, "%s", recipe_name) : -1 : 0;
}

static int show_recipe(mert_recipe *r)
{
    mert_error e = {{0}};
    char *text = read_recipe(r, &e) ? NULL : mert_recipe_text(r, 1);
    int bad = !text || fputs(text, stdout) < 0 || fflush(stdout);
    free(text);
    if (bad)
        mert_log_error("%s", *e.text ? e.text : "cannot write to standard output");
    return bad;
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

/* What process 0 does before the others: the folder, and packed audio. */
static int prepare(const mert_recipe *r, int64_t *newest, mert_error *e)
{
    if (!x->rank && mert_make_directory(save, e))
        return -1;
    *newest = mert_state_newest(save);
    if (!x->rank && *newest >= 0 && !resume)
        return mert_fail(e, "%s holds a run that has come to update %lld: --resume goes on with it", save,
                         (long long)*newest);
    return pack_training(r, e) || pack_if_need_be(&valid_pcm, "valid.pcm.mts", valid_manifest, r->sample_rate, e) ? -1 : 0;
}

static int open_run(mert_session *s, int64_t newest, mert_error *e)
{
    int fresh = 0, taken;
    mert_ops *ops = mert_ops_open(device);
    if (!ops)
        return mert_fail(e, "no device '%s'", device);
    if (open_data(s, e) || mert_session_model(s, e))
        return -1;
    mert_log_note("model: %.2f million parameters", (double)s->weights.layout.elements / 1e6);
    if (newest >= 0) {
        if (mert_session_resume(s, newest, e))
            return -1;
        mert_log_note("going on after update %lld", (long long)newest);
    } else if (mert_recipe_pretrained(&s->recipe, &s->weights, e)) {
        return -1;
    } else if (init) {
        if ((taken = mert_state_init(&s->weights, init, &fresh, e)) < 0)
            return -1;
        mert_log_note("%d tensors of %s, %d random ones", taken, init, fresh);
    }
    if (x->ranks > 1)
        mert_log_note("%d processes; an update is %lld batches", x->ranks, (long long)s->state.batches);
    return (!x->rank && (write_recipe(&s->recipe, e) || mert_session_neighbours(s, neighbours, e))) || mert_session_begin(s, ops, e) ? -1 : 0;
}

/* All of what comes before the first update; the processes agree on whether it went well. */
static int begin(mert_session *s, mert_journal *j, mert_error *e)
{
    int64_t newest = -1;
    int bad = read_recipe(&s->recipe, e) || prepare(&s->recipe, &newest, e);
    if (processes_agree(x, bad, &newest, sizeof newest, e))
        return -1;
    bad = open_run(s, newest, e) || (!x->rank && mert_journal_open(j, save, s->train.K, s->state.position.update, e));
    return processes_agree(x, bad, NULL, 0, e);
}

/* ---- the run ---- */

static int validate(mert_session *s, mert_journal *j, mert_error *e)
{
    double entropy[MERT_CODEBOOKS_MAX], unigram[MERT_CODEBOOKS_MAX];
    mert_valid_row row = {.update = s->state.position.update, .entropy = entropy, .unigram = unigram, .neighbours = neighbours};
    char line[1024];
    for (int k = 0; k < s->train.K; k++) {
        entropy[k] = mert_corpus_entropy(&s->valid, k);
        unigram[k] = mert_corpus_cross_entropy(&s->train, &s->valid, k);
    }
    if (mert_session_validate(s, &row.sums, e))
        return mert_fail_in(e, "validation");
    if (x->rank)
        return 0;
    if (mert_journal_valid(j, &row, line, sizeof line, e))
        return mert_fail_in(e, "validation");
    mert_log_note("%s", line);
    return 0;
}

static int same_failure; /* of all processes, in the same way */

static int one_update(mert_session *s, mert_train_row *row, int *stop, mert_error *e)
{
    mert_step step;
    double began = mert_seconds();
    if (mert_session_update(s, &step, e))
        return -1;
    *stop = step.stop;
    row->seconds += mert_seconds() - began;
    row->waited += step.waited;
    row->audio_seconds += (double)step.sums.samples / (double)s->recipe.sample_rate;
    mert_sums_add(&row->sums, &step.sums);
    row->grad_norm = step.norm;
    row->lr = step.lr;
    mert_report_item((double)step.sums.samples / (double)s->recipe.sample_rate);
    if (step.unreadable && mert_report_failed(step.unreadable_key, step.unreadable_why, 1))
        return mert_fail(e, "stopped at the first failure (--fail-fast)");
    if (step.skipped) {
        if (*step.why)
            mert_log_error("update %lld left out, not finite: %s", (long long)s->state.position.update, step.why);
        same_failure = s->state.skipped_in_row >= SKIPS_MAX;
        if (same_failure)
            return mert_fail(e, "%d updates in a row were not finite", SKIPS_MAX);
    }
    return 0;
}

static int log_row(mert_session *s, mert_journal *j, mert_train_row *row, mert_error *e)
{
    char line[1024];
    row->update = s->state.position.update;
    row->epoch = s->state.position.epoch;
    row->skipped = s->state.skipped;
    if (!x->rank && mert_journal_train(j, row, mert_session_last(s), line, sizeof line, e))
        return -1;
    if (!x->rank)
        mert_log_note("%s", line);
    *row = (mert_train_row){0};
    return 0;
}

static int due(int64_t update, int64_t interval)
{
    return interval && update % interval == 0;
}

static int train(mert_session *s, mert_journal *j, mert_error *e)
{
    const mert_recipe *r = &s->recipe;
    mert_train_row row = {0};
    int64_t last = mert_session_last(s), *update = &s->state.position.update, saved = *update;
    int stop = 0; /* by a signal to any of the processes: they end after the same update */
    if (*update == 0 && validate(s, j, e))
        return -1;
    while (*update < last && !stop && !(x->ranks == 1 && signalled)) {
        if (one_update(s, &row, &stop, e))
            return -1;
        if ((due(*update, r->log_interval) || *update == last) && log_row(s, j, &row, e))
            return -1;
        if ((due(*update, r->validate_interval) || *update == last) && validate(s, j, e))
            return -1;
        if (due(*update, r->save_interval)) {
            if (mert_session_save(s, e))
                return -1;
            saved = *update;
        }
    }
    return saved != *update ? mert_session_save(s, e) : 0;
}

static int run(void)
{
    mert_session s = {.sharing = {x, (mert_sharding)sharding, offload && !strcmp(offload, "disk") ? save : offload},
                      .save = save,
                      .stop = &signalled};
    mert_journal j = {0};
    mert_error e = {{0}};
    int begun = !begin(&s, &j, &e), bad = !begun || train(&s, &j, &e);
    if (mert_journal_close(&j, bad ? NULL : &e))
        bad = 1;
    if (bad && begun && x->ranks > 1 && !same_failure) {
        mert_report_broken("%s", e.text);
        x->abandon(x); /* the others are still in the middle of it */
        return 1;
    }
    if (bad && (begun ? !x->rank : *e.text != 0))
        mert_report_broken("%s", e.text);
    mert_session_end(&s);
    x->close(x);
    return mert_report_finish() || bad;
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
    mert_options_parse(&tool, &argc, &argv);
    if (argc)
        mert_usage_error("no operands are taken, but there is '%s'", argv[0]);
    if (print_recipe)
        return show_recipe(&shown);
    default_names();
    catch_signals();
    if ((x = processes_join(processes, save, &status)))
        status = run();
    if (signalled || status < 0)
        die_by(signalled ? signalled : -status);
    return status;
}
