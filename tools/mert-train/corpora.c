#include "tools/mert-train/corpora.h"

#include "formats/array.h"
#include "formats/file.h"
#include "libcommon/program/log.h"
#include "libcommon/program/report.h"
#include "libcommon/train/data/files.h"
#include "libcommon/train/data/pack.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- names ---- */

/* The name with `valid` in place of the last `train` in its file name; never freed; NULL: there is no `train`. */
static char *valid_name(const char *name)
{
    const char *base = strrchr(name, '/'), *at = NULL;
    char *to;
    for (const char *p = strstr(base ? base : name, "train"); p; p = strstr(p + 1, "train"))
        at = p;
    if (!at)
        return NULL;
    if (!(to = strdup(name)))
        mert_no_memory();
    memcpy(to + (at - name), "valid", 5);
    return to;
}

static void add(mert_strings *list, const char *item)
{
    const char **grown = mert_array_resize(list->items, list->n + 1, sizeof *grown);
    if (!grown || !item)
        mert_no_memory();
    list->items = grown;
    list->items[list->n++] = item;
}

void corpora_default_names(const corpus_names *train, corpus_names *valid)
{
    if (!valid->manifest && !(valid->manifest = valid_name(train->manifest)))
        mert_usage_error("%s: without 'train' in its name, --valid-manifest is needed", train->manifest);
    for (int i = 0, given = valid->labels.n; !given && i < train->labels.n; i++) {
        const char *name = valid_name(train->labels.items[i]);
        if (!name)
            mert_usage_error("%s: without 'train' in its name, --valid-labels is needed", train->labels.items[i]);
        add(&valid->labels, name);
    }
    for (int i = 0, given = valid->pcm.n; !given && i < train->pcm.n; i++) {
        char *name = valid_name(train->pcm.items[i]);
        if (name && !access(name, F_OK))
            add(&valid->pcm, name);
        else
            free(name);
    }
}

/* ---- packed audio ---- */

/* Frees a list, and its names from number `given` on, which corpora_pack made. */
static void forget(mert_strings *list, int given)
{
    for (int i = given; i < list->n; i++)
        free((char *)list->items[i]);
    free(list->items);
    *list = (mert_strings){0};
}

/* If there is no packed audio: uses SAVE/NAME, and packs it now unless it exists. */
static int pack_one(mert_strings *list, const char *name, const char *of, double patience, int64_t rate,
                    const char *save, corpora_packing packing, mert_error *e)
{
    mert_manifest m;
    char *path;
    uint64_t hash;
    int there;
    if (list->n || !of)
        return 0;
    if (mert_file_regular(of, e) || mert_manifest_read(&m, of, e)) /* mert-decode reads it again */
        return -1;
    hash = m.hash;
    mert_manifest_free(&m);
    if (!(path = mert_path_join(save, name)))
        return mert_fail(e, "out of memory");
    there = packing == PACK_ELSEWHERE ||
            mert_pack_fits(path, hash, rate, packing == PACK_NOT ? MERT_INDEX_FORGET : MERT_INDEX_KEEP);
    if (!there && packing == PACK_NOW) {
        mert_log_note("packing the audio of %s into %s", of, path);
        if (mert_pack_make(path, of, rate, patience, e)) {
            free(path);
            return -1;
        }
        there = 1;
    }
    if (there)
        add(list, path);
    else
        free(path);
    return 0;
}

/* Packs the audio of training: one file, or one for each shard with its own manifest. */
static int pack_training(corpus_names *train, const mert_recipe *r, const char *save,
                         corpora_packing packing, mert_error *e)
{
    int shards = (int)r->sharding_data, bad = 0;
    mert_strings all = {0};
    if (train->in_place)
        return 0;
    if (!mert_shards_apart(train->manifest, shards) || train->pcm.n)
        return pack_one(&train->pcm, "train.pcm.mts", train->manifest, train->patience, r->sample_rate, save, packing,
                        e);
    for (int i = 0; !bad && i < shards; i++) {
        mert_strings one = {0};
        char *of = mert_shard_name(train->manifest, i, shards), *name = mert_shard_name("train.pcm.mts", i, shards);
        if (!of || !name)
            bad = mert_fail(e, "out of memory");
        else if (!(bad = pack_one(&one, name, of, train->patience, r->sample_rate, save, packing, e)) && one.n)
            add(&all, one.items[0]);
        free(one.items);
        free(name);
        free(of);
    }
    if (!bad && all.n == shards) /* the corpus needs all of them */
        train->pcm = all;
    else
        forget(&all, 0);
    return bad;
}

int corpora_pack(corpus_names *train, corpus_names *valid, corpus_names *replay, const mert_recipe *r, const char *save,
                 corpora_packing packing, mert_error *e)
{
    return pack_training(train, r, save, packing, e) ||
                   pack_one(&valid->pcm, "valid.pcm.mts", valid->manifest, train->patience, r->sample_rate, save,
                            packing, e) ||
                   (replay->manifest && !replay->in_place &&
                    pack_one(&replay->pcm, "replay.pcm.mts", replay->manifest, train->patience, r->sample_rate, save,
                             packing, e))
               ? -1
               : 0;
}

/* ---- corpora ---- */

typedef enum saying { ALOUD, ELSEWHERE, SILENTLY } saying; /* whether to print notes; ELSEWHERE: process 0 prints them,
                                                              and counts the failed items */

/* Rows that failed before were reported by the program in which they failed; missing rows are reported here. */
static int report(const mert_corpus *c, mert_error *e)
{
    char reason[sizeof e->text];
    for (int64_t i = 0; i < c->nabsent; i++) {
        const struct mert_corpus_absent *a = &c->absent[i];
        snprintf(reason, sizeof reason,
                 "is in the manifest, but not in %s (%s): if the manifest is right, make that anew from it; "
                 "--max-failed N trains without such rows",
                 a->file ? a->file : "any file of packed audio", a->manifest);
        if (mert_report_failed(a->key, reason, 1))
            return mert_fail(e, "stopped at the first failure (--fail-fast)");
    }
    for (int64_t i = 0; i < c->nbad; i++)
        if (mert_report_failed(c->bad_key, c->bad_why, !i))
            return mert_fail(e, "stopped at the first failure (--fail-fast)");
    for (int64_t i = c->nabsent + c->nbad; i < c->failed; i++)
        if (mert_report_failed(c->failed_key, "", 0))
            return mert_fail(e, "%s: failed before (--fail-fast)", c->failed_key);
    return 0;
}

static int open_corpus(mert_corpus *c, const mert_recipe *r, int64_t shards, const corpus_names *n, saying how,
                       mert_index_keeping keeping, mert_error *e)
{
    mert_corpus_config config = {.sample_rate = r->sample_rate,
                                 .stride = mert_recipe_stride(r),
                                 .codebooks = (int)r->codebooks,
                                 .classes = r->classes,
                                 .label_rate = r->label_rate,
                                 .label_tolerance = r->label_tolerance,
                                 .jitter = r->crop_jitter,
                                 .shards = (int)shards,
                                 .unpacked = !n->pcm.n && !n->in_place,
                                 .in_place = n->in_place,
                                 .patience = n->patience,
                                 .bad_max = mert_options.max_failed,
                                 .bad_percent = mert_options.max_failed_percent,
                                 .keeping = keeping};
    if (how == SILENTLY) /* the manifest may count samples at another rate: the packed audio is checked later */
        config.label_tolerance = INFINITY;
    if (mert_corpus_open(c, &config, n->manifest, n->labels.items, n->labels.n, n->pcm.items, n->pcm.n, e))
        return -1;
    return how == ALOUD ? report(c, e) : 0;
}

int corpora_pack_one(corpus_names *n, const char *name, const mert_recipe *r, const char *save, corpora_packing packing,
                     mert_error *e)
{
    return pack_one(&n->pcm, name, n->manifest, n->patience, r->sample_rate, save, packing, e);
}

int corpora_open_one(mert_corpus *c, const mert_recipe *r, const corpus_names *n, int aloud, mert_index_keeping keeping,
                     mert_error *e)
{
    return open_corpus(c, r, 0, n, aloud ? ALOUD : ELSEWHERE, keeping, e);
}

static void describe(const char *what, const mert_corpus *c)
{
    char bits[1024] = "";
    size_t used = 0;
    if (!c->K) {
        mert_log_note("%s: %" PRId64 " items, %.0f s; no labels yet", what, c->n, c->seconds);
        return;
    }
    for (int k = 0; k < c->K && used + 16 < sizeof bits; k++)
        used += (size_t)snprintf(bits + used, sizeof bits - used, " %.2f", mert_corpus_entropy(c, k));
    mert_log_note("%s: %" PRId64 " items, %.0f s; %d codebook%s, entropy%s bits (what a guess would score)", what, c->n,
                  c->seconds, c->K, c->K == 1 ? "" : "s", bits);
    for (int k = 0; k < c->K; k++)
        if (!c->codebooks[k].verified)
            mert_log_note("%s: unverified: no .meta file beside it", c->codebooks[k].path);
    if (c->failed_key)
        mert_log_note("%s: %" PRId64 " rows left out because they failed before (no labels or no audio), the first is "
                      "%s; --max-failed says how many may",
                      what, c->failed - c->nabsent - c->nbad, c->failed_key);
    if (c->nbad)
        mert_log_note("%s: %" PRId64 " rows left out because of their labels, the first is %s", what, c->nbad,
                      c->bad_key);
    if (c->off_count)
        mert_log_note("%s: %" PRId64 " rows have another length in the manifest than in the packed audio, which counts",
                      what, c->off_count);
}

static const char train_files[] = "train.files", replay_files[] = "replay.files"; /* in SAVE (data/files.h) */

/* Looks at the files of audio in place, for a run that begins, or that has begun with their states. */
static int look_at_files(const mert_session *s, mert_corpus *c, const char *name, saying how,
                         mert_index_keeping keeping, mert_error *e)
{
    char *path;
    int bad = 0;
    if (!c->config.in_place || how == ELSEWHERE || !s->save)
        return 0;
    if (!(path = mert_path_join(s->save, name)))
        return mert_fail(e, "out of memory");
    if ((how == ALOUD && keeping == MERT_INDEX_KEEP) || !access(path, F_OK))
        bad = mert_corpus_files_look(c, path, e);
    free(path);
    return bad;
}

static int store_files(const mert_session *s, mert_corpus *c, const char *name, mert_error *e)
{
    char *path = mert_path_join(s->save, name);
    int bad = path ? mert_corpus_files_store(c, path, e) : mert_fail(e, "out of memory");
    free(path);
    return bad;
}

int corpora_store(mert_session *s, mert_error *e)
{
    return store_files(s, &s->train, train_files, e) || store_files(s, &s->replay, replay_files, e) ? -1 : 0;
}

static int open_replay(mert_session *s, const corpus_names *replay, saying how, mert_index_keeping keeping,
                       mert_error *e)
{
    double share = s->recipe.replay_share;
    if (!replay->manifest)
        return share > 0 ? mert_fail(e, "replay_share is %g, but there is no --replay-manifest", share) : 0;
    if (!(share > 0))
        return mert_fail(e, "%s: an old corpus, of which replay_share = 0 uses nothing", replay->manifest);
    if (open_corpus(&s->replay, &s->recipe, 0, replay, how, keeping, e) || mert_corpus_join(&s->train, &s->replay, e) ||
        look_at_files(s, &s->replay, replay_files, how, keeping, e) ||
        mert_run_inputs_add(&s->inputs, "replay", &s->replay, e))
        return -1;
    if (how == ALOUD)
        describe("replay", &s->replay);
    return 0;
}

static int open_all(mert_session *s, const corpus_names *train, const corpus_names *valid, const corpus_names *replay,
                    saying how, mert_index_keeping keeping, mert_error *e)
{
    if (open_corpus(&s->train, &s->recipe, s->recipe.sharding_data, train, how, keeping, e) ||
        (valid->manifest && (open_corpus(&s->valid, &s->recipe, 0, valid, how, keeping, e) ||
                             mert_corpus_fits(&s->train, &s->valid, e))))
        return -1;
    for (int k = 0; k < s->train.K; k++)
        if (!(mert_corpus_entropy(&s->train, k) > 0))
            return mert_fail(e, "%s: all labels are the same: there is nothing to learn",
                             s->train.codebooks[k].path);
    if (look_at_files(s, &s->train, train_files, how, keeping, e) ||
        mert_run_inputs_add(&s->inputs, "train", &s->train, e) ||
        mert_run_inputs_add(&s->inputs, "valid", &s->valid, e))
        return -1;
    if (how == ALOUD) {
        describe("training", &s->train);
        if (valid->manifest)
            describe("validation", &s->valid);
    }
    return open_replay(s, replay, how, keeping, e);
}

int corpora_open(mert_session *s, const corpus_names *train, const corpus_names *valid, const corpus_names *replay,
                 mert_index_keeping keeping, mert_error *e)
{
    return open_all(s, train, valid, replay, s->sharing.exchange && s->sharing.exchange->rank ? ELSEWHERE : ALOUD,
                    keeping, e);
}

/* Its audio has to be packed. */
static int unpacked(const corpus_names *names)
{
    return names->manifest && !names->pcm.n && !names->in_place;
}

/* A copy of the list, so that adding to it does not change the original. */
static mert_strings copy_of(const mert_strings *list)
{
    mert_strings copy = {0};
    for (int i = 0; i < list->n; i++)
        add(&copy, list->items[i]);
    return copy;
}

int corpora_check(const mert_session *run, int64_t newest, const corpus_names *train, const corpus_names *valid,
                  const corpus_names *replay, mert_error *e)
{
    corpus_names t = *train, v = *valid, o = *replay;
    mert_session s = {
        .recipe = run->recipe, .save = run->save, .changes = run->changes, .other_corpus = run->other_corpus};
    int bad;
    t.pcm = copy_of(&train->pcm);
    v.pcm = copy_of(&valid->pcm);
    o.pcm = copy_of(&replay->pcm);
    bad = corpora_pack(&t, &v, &o, &s.recipe, s.save, PACK_NOT, e);
    if (!bad && (unpacked(&t) || unpacked(&v) || unpacked(&o)))
        bad = open_all(&s, &t, &v, &o, SILENTLY, MERT_INDEX_KEEP, e) || mert_session_check(&s, newest, e);
    s.changes = (mert_changes){0}; /* run's */
    mert_session_end(&s);
    forget(&t.pcm, train->pcm.n);
    forget(&v.pcm, valid->pcm.n);
    forget(&o.pcm, replay->pcm.n);
    return bad ? -1 : 0;
}
