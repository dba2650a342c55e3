/* Repeating crops of an old corpus: their number, their contents, and that they do not depend on where a run was
 * resumed. */
#include "tests/unit/train_corpus.h"

static const spec new_one = {"new", MTS_F32, 24000, 320, 2, -1, -1, -1, 0xc0de, 0, 24000, 0, 0};
static const spec old_one = {"old", MTS_I16, 24000, 320, 2, 11, 12, -1, 0xc0de, 0, 24000, 0, 0};

static mert_corpus c, replay;

static int open_both(void)
{
    return make(&c, &new_one) || make(&replay, &old_one) || mert_corpus_join(&c, &replay, &e);
}

static void close_both(void)
{
    mert_corpus_close(&c);
    mert_corpus_close(&replay);
}

/* Returns the number of crops of the old corpus in an epoch; *all: of both; count [2 * ITEMS]: += number of crops of
 * each item. */
static int64_t replayed(const mert_recipe *r, int64_t epoch, int64_t *all, int64_t *count)
{
    mert_epoch_plan p;
    int64_t old = 0;
    uint8_t *seen;
    int good = 1;
    if (mert_epoch_plan_make(&p, &c, r, epoch, &e))
        return -1;
    seen = calloc((size_t)p.crops_n + 1, 1);
    for (int64_t i = 0; i < p.crops_n; i++) {
        old += p.crops[i].item >= c.n;
        count[p.crops[i].item]++;
        if (p.crops[i].number < 0 || p.crops[i].number >= p.crops_n || seen[p.crops[i].number]++)
            good = 0; /* item numbers are keys of random numbers */
    }
    good = good && old == p.replayed;
    *all = p.crops_n;
    free(seen);
    mert_epoch_plan_free(&p);
    return good ? old : -1;
}

TEST(shares_are_what_the_recipe_says)
{
    static const double shares[] = {0.01, 0.1, 0.25, 0.5, 0.9};
    mert_recipe r = recipe();
    CHECK(!open_both());
    CHECK(replay.n == ITEMS - 2 && c.n == ITEMS);
    for (int crops = 0; crops < 3; crops++)
        for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
            int64_t all, count[2 * ITEMS] = {0}, old;
            r.crops_per_item = crops;
            r.replay_share = shares[i];
            old = replayed(&r, 3, &all, count);
            CHECK(old >= 0 && fabs((double)old - shares[i] * (double)all) <= 1);
        }
    r.replay_share = 0;
    r.crops_per_item = 1;
    {
        int64_t all, count[2 * ITEMS] = {0};
        CHECK(replayed(&r, 0, &all, count) == 0 && all == ITEMS - 1);
    }
    close_both();
}

TEST(every_item_has_its_turn)
{
    mert_recipe r = recipe();
    int64_t all, count[2 * ITEMS] = {0}, fewest = INT64_MAX, most = 0, first[2 * ITEMS] = {0}, second[2 * ITEMS] = {0};
    CHECK(!open_both());
    r.replay_share = 0.2;
    for (int64_t epoch = 0; epoch < 400; epoch++)
        CHECK(replayed(&r, epoch, &all, count) == 10); /* of 37 crops */
    for (int64_t i = c.n; i < c.n + replay.n; i++)
        if (replay.items[i - c.n].samples >= r.min_sample_size) {
            fewest = count[i] < fewest ? count[i] : fewest;
            most = count[i] > most ? count[i] : most;
        } else
            CHECK(count[i] == 0);
    CHECK(fewest > 70 && most < 150); /* mean 108, standard deviation 9 */
    CHECK(replayed(&r, 0, &all, first) == 10 && replayed(&r, 1, &all, second) == 10);
    CHECK(memcmp(first, second, sizeof first)); /* drawn again */
    for (int64_t i = c.n; i < c.n + replay.n; i++)
        CHECK(first[i] <= 1); /* without replacement */
    close_both();
}

/* Repeated crops have audio and labels of the old corpus, and messages name its items. */
TEST(crops_are_of_the_old_corpus)
{
    mert_recipe r = recipe();
    mert_config m = model();
    mert_epoch_plan p;
    mert_load l = {0};
    int64_t old = 0;
    static float audio[ROW];
    CHECK(!open_both());
    r.replay_share = 0.5;
    CHECK(!mert_epoch_plan_make(&p, &c, &r, 1, &e));
    for (int64_t i = 0; i < p.n; i++) {
        const mert_batch *b = &l.batch;
        CHECK(!mert_load_fill(&l, &c, &r, &m, &p, 1, i, 7, 0, &e));
        for (int64_t k = 0; k < b->B; k++) {
            int64_t item = l.corpus_items[k] - c.n, row, start = -1;
            if (item < 0)
                continue;
            old++;
            row = replay.items[item].row;
            CHECK(!strcmp(mert_corpus_key(&c, l.corpus_items[k]), mert_corpus_key(&replay, item)));
            CHECK(!mert_corpus_audio(&replay, item, 0, replay.items[item].samples, audio, &e));
            for (int64_t s = 0; start < 0 && s + b->L <= replay.items[item].samples; s += STRIDE)
                if (!memcmp(audio + s, b->clean + k * b->L, (size_t)b->L * sizeof *audio))
                    start = s;
            CHECK(start >= 0);
            for (int64_t t = 0; t < b->T; t++)
                CHECK(b->labels[k * b->T + t] == label_of(row, 0, start / STRIDE + t));
        }
    }
    CHECK(old == p.replayed && old == ITEMS - 1);
    mert_load_free(&l);
    mert_epoch_plan_free(&p);
    close_both();
}

/* Digests of the batches of a run that begins at `from`; digests [n], of updates 1 .. n. */
static int digests_from(const mert_recipe *r, mert_position from, uint64_t *digests, mert_position *after, int64_t n)
{
    mert_config m = model();
    mert_loader *loader = mert_loader_start(&c, r, &m, from, NULL, NULL, &e);
    int bad = !loader;
    for (int64_t u = from.update; !bad && u < n; u++) {
        const mert_load *l = mert_loader_next(loader, NULL, &e);
        bad = !l;
        if (l) {
            digests[u] = hash_of(l);
            after[u] = (mert_position){u + 1, l->epoch, l->index + 1};
        }
    }
    mert_loader_stop(loader);
    return bad;
}

TEST(a_resumed_run_hears_the_same)
{
    enum { UPDATES = 40 };
    mert_recipe r = recipe();
    uint64_t whole[UPDATES], parts[UPDATES];
    mert_position after[UPDATES], again[UPDATES];
    CHECK(!open_both());
    r.replay_share = 0.3;
    CHECK(!digests_from(&r, (mert_position){0}, whole, after, UPDATES));
    CHECK(after[UPDATES - 1].epoch >= 2);
    for (int64_t from = 1; from < UPDATES; from += 7) {
        memset(parts, 0, sizeof parts);
        CHECK(!digests_from(&r, after[from - 1], parts, again, UPDATES));
        CHECK(!memcmp(parts + from, whole + from, (UPDATES - (size_t)from) * sizeof *whole));
    }
    close_both();
}

TEST(another_old_corpus_is_another_run)
{
    mert_corpus alone;
    uint64_t joined;
    CHECK(!open_both());
    joined = mert_corpus_hash(&c);
    CHECK(!open_files(&alone, &new_one, &config) && mert_corpus_hash(&alone) != joined);
    CHECK(!mert_corpus_join(&alone, &c, &e) && mert_corpus_hash(&alone) != joined);
    mert_corpus_close(&alone);
    close_both();
}

TEST(labels_of_another_codebook_are_refused)
{
    spec other = old_one;
    other.codebook = 0xbad;
    CHECK(!make(&c, &new_one) && !make(&replay, &other));
    CHECK(mert_corpus_join(&c, &replay, &e) == -1 && says("old.codes_0: made by codebook 0000000000000bad:0"));
    close_both();
    other = old_one;
    other.K = 1;
    CHECK(!make(&c, &new_one));
    other.name = "fewer";
    CHECK(!make(&replay, &other));
    CHECK(mert_corpus_join(&c, &replay, &e) == -1 && says("1 codebooks"));
    close_both();
}

TEST(an_old_corpus_without_an_item_long_enough)
{
    mert_recipe r = recipe();
    mert_epoch_plan p;
    CHECK(!open_both());
    r.replay_share = 0.1;
    for (int64_t i = 0; i < replay.n; i++)
        replay.items[i].samples = 100;
    CHECK(mert_epoch_plan_make(&p, &c, &r, 0, &e) == -1
          && says("no item of the old corpus is as long as min_sample_size"));
    close_both();
}

int main(void)
{
    RUN(shares_are_what_the_recipe_says);
    RUN(every_item_has_its_turn);
    RUN(crops_are_of_the_old_corpus);
    RUN(a_resumed_run_hears_the_same);
    RUN(another_old_corpus_is_another_run);
    RUN(labels_of_another_codebook_are_refused);
    RUN(an_old_corpus_without_an_item_long_enough);
    return test_done();
}
