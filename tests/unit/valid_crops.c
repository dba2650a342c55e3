/* Validation with valid_sample_size: the same crops of the same items with the same masks, whatever the training's
 * crops and batches are; also at another frame rate, where masks differ. */
#include "tests/unit/train_corpus.h"

enum { LENGTH = 48000, MOST = 64 };

/* What is heard of each item: where its crop begins, and the mask of its T frames. */
typedef struct heard {
    int crops, batches;
    int64_t item[MOST], start[MOST], T[MOST];
    uint8_t mask[MOST][512];
    float noise[MOST];
} heard;

static int by_item(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Validation by recipe r; the samples of the corpus tell item and position. Sorted by item and start. */
static void listen(heard *h, const mert_recipe *r, const mert_config *m)
{
    static heard as_they_come;
    mert_corpus c;
    mert_corpus_config with = config;
    mert_epoch_plan p;
    mert_load l = {0};
    int64_t order[MOST][2];
    with.stride = mert_config_stride(m);
    memset(h, 0, sizeof *h);
    CHECK(!open_files(&c, &usual, &with) && !mert_epoch_plan_make(&p, &c, r, MERT_VALIDATION, &e));
    for (int64_t i = 0; i < p.n; i++) {
        CHECK(!mert_load_fill(&l, &c, r, m, &p, MERT_VALIDATION, i, 0, i, &e));
        CHECK(l.batch.L == LENGTH && l.batch.T <= 512);
        for (int64_t b = 0; b < l.batch.B; b++) {
            int n = as_they_come.crops = h->crops++;
            CHECK(n < MOST);
            as_they_come.item[n] = l.corpus_items[b];
            as_they_come.start[n] = (int64_t)l.batch.clean[b * l.batch.L] - l.corpus_items[b] * ROW;
            as_they_come.T[n] = l.batch.T;
            memcpy(as_they_come.mask[n], l.batch.mask + b * l.batch.T, (size_t)l.batch.T);
            for (int64_t s = 0; s < l.batch.L; s++)
                as_they_come.noise[n] += l.batch.audio[b * l.batch.L + s] - l.batch.clean[b * l.batch.L + s];
            order[n][0] = as_they_come.item[n] * ROW + as_they_come.start[n], order[n][1] = n;
        }
    }
    h->batches = (int)p.n;
    qsort(order, (size_t)h->crops, sizeof *order, by_item);
    for (int i = 0; i < h->crops; i++) {
        int from = (int)order[i][1];
        h->item[i] = as_they_come.item[from], h->start[i] = as_they_come.start[from], h->T[i] = as_they_come.T[from];
        memcpy(h->mask[i], as_they_come.mask[from], sizeof h->mask[i]);
        h->noise[i] = as_they_come.noise[from];
    }
    memset(&as_they_come, 0, sizeof as_they_come);
    mert_load_free(&l), mert_epoch_plan_free(&p), mert_corpus_close(&c);
}

static int same_crops(const heard *a, const heard *b)
{
    return a->crops == b->crops && !memcmp(a->item, b->item, sizeof a->item) &&
           !memcmp(a->start, b->start, sizeof a->start);
}

/* Of the frames that both have. */
static int same_masks(const heard *a, const heard *b)
{
    for (int i = 0; i < a->crops; i++)
        if (memcmp(a->mask[i], b->mask[i], (size_t)(a->T[i] < b->T[i] ? a->T[i] : b->T[i])))
            return 0;
    return 1;
}

TEST(other_crops_and_batches_in_training_validate_on_the_same_frames)
{
    static heard a, b;
    static const char *const others[] = {"max_sample_size=160000", "min_sample_size=30000", "max_tokens=170000",
                                         "required_batch_size_multiple=1", "seed=7", "crop_jitter=yes", NULL};
    mert_recipe r = recipe(), s;
    mert_config m = model();
    mert_corpus c;
    int masked = 0, frames = 0;
    CHECK(!make(&c, &usual));
    mert_corpus_close(&c);
    r.valid_sample_size = LENGTH;
    CHECK(!mert_recipe_check(&r, &e));
    listen(&a, &r, &m);
    CHECK(a.crops == ITEMS - 4); /* of 2 s and more, although min_sample_size is 1 s */
    for (int i = 0; i < a.crops; i++) {
        CHECK(a.start[i] % 24000 == 0 && a.start[i] + LENGTH <= samples_of(a.item[i]));
        for (int t = 0; t < a.T[i]; t++, frames++)
            masked += a.mask[i][t];
    }
    CHECK(masked > 0.5 * frames && masked < 0.65 * frames); /* as the rule for one clip alone: 217.9 of 374 */
    s = r;
    for (int i = 0; others[i]; i++) {
        CHECK(!mert_recipe_set(&s, others[i], &e));
        listen(&b, &s, &m);
        CHECK(same_crops(&a, &b) && same_masks(&a, &b));
    }
    CHECK(b.batches > a.batches);
    s.valid_seed = 8;
    listen(&b, &s, &m);
    CHECK(!same_crops(&a, &b) && !same_masks(&a, &b));
}

TEST(more_crops_of_an_item_include_the_fewer)
{
    static heard a, b;
    mert_recipe r = recipe();
    mert_config m = model();
    int found = 0;
    r.valid_sample_size = LENGTH;
    listen(&a, &r, &m);
    r.crops_per_item = 0;
    listen(&b, &r, &m);
    CHECK(b.crops > a.crops + 10);
    for (int i = 0; i < a.crops; i++)
        for (int j = 0; j < b.crops; j++)
            if (a.item[i] == b.item[j] && a.start[i] == b.start[j] && !memcmp(a.mask[i], b.mask[j], 140)) {
                found++;
                break;
            }
    CHECK(found == a.crops);
}

TEST(another_frame_rate_hears_the_same_samples)
{
    static heard a, b;
    mert_recipe r = recipe();
    mert_config m = model(), slow = model();
    r.valid_sample_size = LENGTH;
    listen(&a, &r, &m);
    slow.convs = 8;
    slow.conv[7].dim = 512, slow.conv[7].kernel = slow.conv[7].stride = 3; /* 25 frames per second */
    CHECK(mert_config_stride(&slow) == 960);
    listen(&b, &r, &slow);
    CHECK(same_crops(&a, &b) && b.T[0] == a.T[0] / 3);
}

TEST(noise_is_the_item_s_too)
{
    static heard a, b;
    mert_recipe r = recipe();
    mert_config m = model();
    int differ = 0;
    r.valid_sample_size = LENGTH;
    r.mask_with = 1, r.mask_spans = 1;
    listen(&a, &r, &m);
    r.max_tokens = 100000;
    listen(&b, &r, &m);
    CHECK(same_crops(&a, &b) && same_masks(&a, &b) && b.batches > a.batches);
    for (int i = 0; i < a.crops; i++) {
        CHECK(a.T[i] != b.T[i] || a.noise[i] == b.noise[i]);
        differ += i > 0 && a.noise[i] != a.noise[i - 1];
    }
    CHECK(differ == a.crops - 1);
}

TEST(without_it_nothing_changes)
{
    static const char *const wrong[][2] = {
        {"valid_sample_size=500000", "max_tokens 400000: not even one crop of valid_sample_size 500000 fits a batch"},
        {"valid_sample_size=1500", "valid_sample_size 1500: 4 frames have no room for mask_length 5"}};
    mert_recipe r = recipe();
    CHECK(r.valid_sample_size == 0 && mert_recipe_crop(&r, MERT_VALIDATION) == r.max_sample_size);
    CHECK(mert_recipe_shortest(&r, MERT_VALIDATION) == r.min_sample_size && !mert_recipe_fixed(&r, MERT_VALIDATION));
    r.valid_sample_size = LENGTH / 2;
    CHECK(mert_recipe_crop(&r, 0) == r.max_sample_size && mert_recipe_shortest(&r, 0) == r.min_sample_size);
    CHECK(mert_recipe_fixed(&r, MERT_VALIDATION) && !mert_recipe_fixed(&r, 0));
    for (int i = 0; i < 2; i++) {
        CHECK(!mert_recipe_set(&r, wrong[i][0], &e) && mert_recipe_check(&r, &e));
        CHECK(says(wrong[i][1]));
    }
}

int main(void)
{
    RUN(other_crops_and_batches_in_training_validate_on_the_same_frames);
    RUN(more_crops_of_an_item_include_the_fewer);
    RUN(another_frame_rate_hears_the_same_samples);
    RUN(noise_is_the_item_s_too);
    RUN(without_it_nothing_changes);
    return test_done();
}
