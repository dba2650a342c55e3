/* How training with devices that exchange among themselves (ops.h) queues their exchanges: each part's gradients as
 * soon as they are complete, while the backward pass goes on; weights ahead of their use; and no wait for any of it.
 * Seen by a device that counts what it is given. */
#include "tests/unit/counting.h"

#include "libcommon/train/data/mask.h"
#include "libcommon/train/trainer.h"

enum { CLIPS = 2, SAMPLES = 24000, NOTED = 256 };

typedef struct noted {
    mert_exchange_what what;
    int64_t n, at; /* at: operations that were queued before */
} noted;

static noted exchanges[NOTED];
static int64_t queued, finished, joined;

static int note_join(mert_ops *o, const mert_peers *peers, mert_error *e)
{
    (void)o, (void)e;
    joined = peers->ranks;
    return 0;
}

static int64_t note_exchange(mert_ops *o, mert_exchange_what what, float *data, int64_t n, int64_t each)
{
    (void)o, (void)data, (void)each;
    if (queued < NOTED)
        exchanges[queued] = (noted){what, n, counted.operations};
    return ++queued;
}

static void note_finish(mert_ops *o, int64_t number)
{
    (void)o;
    finished = number > finished ? number : finished;
}

static int both_have(mert_exchange *x, const void *one, void *all, size_t bytes, mert_error *e)
{
    (void)x, (void)e;
    memcpy(all, one, bytes);
    memcpy((char *)all + bytes, one, bytes);
    return 0;
}

static void forget_notes(void)
{
    counted = (counts){0};
    queued = finished = 0;
}

/* ---- a model, and a batch of nothing ---- */

static mert_config config;
static mert_weights w;
static mert_batch b;
static mert_ops device;
static mert_exchange two = {.name = "two", .ranks = 2, .neighbours = 2, .collect = both_have};
static mert_trainer *trainer;

static int begin(mert_sharding sharding)
{
    static int64_t items[CLIPS] = {0, 1};
    mert_objective_config o = {.features_pen_weight = 10, .logit_temperature = 0.1};
    mert_adam_config a = {.beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6};
    mert_sharing sharing = {.exchange = &two, .sharding = sharding};
    mert_error e = {{0}};
    int64_t T;
    uint8_t *mask;
    config = mert_config_95m();
    config.codebooks = 2, config.classes[0] = config.classes[1] = 16, config.special_rows = 4, config.final_dim = 8;
    T = mert_config_frames(&config, SAMPLES);
    mask = keep((size_t)(CLIPS * T));
    b = (mert_batch){.B = CLIPS, .L = SAMPLES, .T = T, .K = 2, .items = items, .mask = mask};
    b.clean = b.audio = keep(CLIPS * SAMPLES * sizeof(float));
    b.labels = keep((size_t)(CLIPS * T * 2) * sizeof(int32_t));
    w = (mert_weights){0};
    if (mert_mask_make(&(mert_mask_config){.prob = 0.8, .length = 5, .min_spans = 2}, 1, 1, 0, items, CLIPS, T, mask,
                       &e) ||
        mert_layout_make(&w.layout, &config, &e))
        return -1;
    w.values = calloc((size_t)w.layout.size, sizeof(float)); /* never touched: it takes no memory */
    device = counting_device(MERT_ELEMENT_F32);
    device.join = note_join;
    device.exchange = note_exchange;
    device.finish = note_finish;
    trainer = mert_trainer_new(&w, &device, &o, &a, &sharing, &e);
    if (trainer && !mert_trainer_join(trainer, &e) && joined == 2)
        return 0;
    printf("# %s\n", e.text);
    return -1;
}

static int pass(int last)
{
    mert_forward_options how = {.training = 1, .feature_grad_mult = 0.1, .update = 1};
    mert_error e;
    forget_notes();
    mert_trainer_batch(trainer, last, 0);
    return mert_trainer_accumulate(trainer, &how, &b, NULL, &e);
}

static void end(void)
{
    mert_trainer_free(trainer);
    mert_weights_free(&w);
    counting_inner->close(counting_inner);
    forget();
}

/* So many exchanges of this kind, and all floats of the model once. */
static int all_once(int64_t from, int64_t n, mert_exchange_what what)
{
    int64_t floats = 0;
    for (int64_t i = from; i < from + n; i++) {
        if (exchanges[i].what != what)
            return 0;
        floats += exchanges[i].n;
    }
    return floats == w.layout.size;
}

/* ---- the tests ---- */

static void gradients_while(mert_sharding sharding, mert_exchange_what what)
{
    int parts;
    mert_error e;
    double norm;
    CHECK(!begin(sharding));
    parts = mert_trainer_groups(trainer)->n;
    CHECK(!pass(0) && queued == 0); /* not the last batch of the update */
    CHECK(!pass(1) && queued == parts && all_once(0, parts, what));
    CHECK(counted.waits == 1 && finished == 0); /* for the batch before */
    for (int i = 1; i < parts; i++) /* the layers, from the last: operations of the next one in between */
        CHECK(exchanges[i].at > exchanges[i - 1].at || i == parts - 2);
    CHECK(exchanges[0].at < counted.operations * 2 / 3);
    CHECK(!mert_trainer_sum(trainer, &e) && finished == parts);
    CHECK(mert_trainer_update(trainer, 1, 1e-3, 1, &norm, &e) >= 0);
    CHECK(queued == (sharding == MERT_SHARD_NONE ? parts : 2 * parts) && finished == queued);
    CHECK(sharding == MERT_SHARD_NONE || all_once(parts, parts, MERT_ALL_GATHER));
    end();
}

TEST(gradients_set_out_during_the_backward_pass)
{
    gradients_while(MERT_SHARD_NONE, MERT_ALL_REDUCE);
    gradients_while(MERT_SHARD_OPTIMIZER, MERT_REDUCE_SCATTER);
}

TEST(weights_come_before_they_are_needed)
{
    int64_t gathered = 0, reduced = 0, layers;
    CHECK(!begin(MERT_SHARD_FULL));
    layers = config.layers;
    CHECK(!pass(0) && !pass(1)); /* the second finds slots of the first */
    CHECK(counted.waits == 1);
    for (int64_t i = 0; i < queued; i++) {
        gathered += exchanges[i].what == MERT_ALL_GATHER;
        reduced += exchanges[i].what == MERT_REDUCE_SCATTER;
    }
    CHECK(reduced == mert_trainer_groups(trainer)->n);
    CHECK(gathered >= 2 * layers - 5 && gathered <= 2 * (layers + 3)); /* twice, but for what the slots still hold */
    end();
}

int main(int argc, char **argv)
{
    static const nn_test tests[] = {NN_TEST(gradients_set_out_during_the_backward_pass),
                                    NN_TEST(weights_come_before_they_are_needed)};
    (void)argc, (void)argv;
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        test_bad = 0;
        tests[i].run();
        test_report(tests[i].name, NULL);
    }
    return test_done();
}
