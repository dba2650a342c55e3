#include "libcommon/models/weights/weights.h"
#include "libcommon/train/recipe/recipe.h"
#include "tests/test.h"

static mert_error e;

static int says(const char *expected) { return test_says(e.text, expected); }

static int read_text(mert_recipe *r, const char *text)
{
    const char *path = test_tmp("recipe");
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f))
        abort();
    mert_recipe_defaults(r);
    return mert_recipe_read(r, path, &e);
}

TEST(reads_what_is_written)
{
    mert_recipe r;
    CHECK(!read_text(&r, "# a comment\n\n lr = 1e-3 # another\nencoder_layers=4\nlayer_norm_first = yes\n"
                         "adam_betas = 0.8 0.99\nextractor_mode = layer_norm\ninbatch_noise_augment_len_range = 10 20\n"
                         "conv_feature_layers = 64x10/5 32x3/2*3"));
    CHECK(r.lr == 1e-3 && r.encoder_layers == 4 && r.layer_norm_first == 1 && r.extractor_mode == 1);
    CHECK(r.adam_betas[0] == 0.8 && r.adam_betas[1] == 0.99 && r.mixture_length[0] == 10 && r.mixture_length[1] == 20);
    CHECK(r.conv_feature_layers.n == 4 && r.conv_feature_layers.layer[0].dim == 64 &&
          r.conv_feature_layers.layer[0].kernel == 10);
    CHECK(r.conv_feature_layers.layer[3].dim == 32 && r.conv_feature_layers.layer[3].stride == 2 &&
          mert_recipe_stride(&r) == 40);
    CHECK(r.encoder_embed_dim == 768); /* not set: the default */
}

TEST(its_own_text_says_the_same)
{
    mert_recipe a, b;
    for (int comments = 0; comments < 2; comments++) {
        char *text;
        mert_recipe_defaults(&a);
        CHECK(!mert_recipe_set(&a, "lr=0.1234567890123", &e) && !mert_recipe_set(&a, "adam_betas = 0.1 0.3", &e) &&
              !mert_recipe_set(&a, "max_update=7", &e) && !mert_recipe_set(&a, "conv_bias=yes", &e));
        text = mert_recipe_text(&a, comments);
        CHECK(text && !read_text(&b, text));
        CHECK(!memcmp(&a, &b, sizeof a));
        free(text);
    }
}

TEST(editors_of_other_systems)
{
    mert_recipe r;
    CHECK(!read_text(&r, "\xef\xbb\xbf" "encoder_layers = 3\r\n\tlr = 0.25 \r\n# last"));
    CHECK(r.encoder_layers == 3 && r.lr == 0.25);
}

TEST(wrong_lines_are_named)
{
    mert_recipe r;
    CHECK(read_text(&r, "lr = 1\n\nencoder_layer = 4\n") &&
          says("recipe: line 3: a recipe has no setting 'encoder_layer'"));
    CHECK(read_text(&r, "lr = 1\nlr = 2\n") && says("line 2: lr is already set in line 1"));
    CHECK(read_text(&r, "lr\n") && says("line 1: 'lr' is not of the form name = value"));
    CHECK(read_text(&r, "lr =\n") && says("lr: no value"));
    CHECK(read_text(&r, "lr = fast\n") && says("lr: 'fast' is not a number"));
    CHECK(read_text(&r, "lr = 1 2\n") && says("left over"));
    CHECK(read_text(&r, "lr = nan\n") && says("outside"));
    CHECK(read_text(&r, "lr = 1e999\n") && says("lr"));
    CHECK(read_text(&r, "encoder_layers = 4.5\n") && says("encoder_layers: '4.5' is not a whole number"));
    CHECK(read_text(&r, "encoder_layers = 0\n") && says("encoder_layers: 0 is outside 1 to 128"));
    CHECK(read_text(&r, "encoder_layers = 99999999999999999999\n") && says("encoder_layers"));
    CHECK(read_text(&r, "adam_betas = 0.9\n") && says("adam_betas: 2 numbers are needed"));
    CHECK(read_text(&r, "conv_bias = maybe\n") && says("conv_bias: 'maybe' is neither yes nor no"));
    CHECK(read_text(&r, "extractor_mode = group\n") && says("extractor_mode: 'group' is none of: default layer_norm"));
    CHECK(read_text(&r, "conv_feature_layers = 512x10\n") && says("conv_feature_layers"));
    CHECK(read_text(&r, "conv_feature_layers = 512x10/5*17\n") && says("more than 16 layers"));
    CHECK(read_text(&r, "conv_feature_layers = 512x10/5 512x0/2\n") && says("below 1"));
    CHECK(mert_recipe_read(&r, test_tmp("none"), &e) && says("none: No such file"));
    CHECK(mert_recipe_set(&r, "momentum=1", &e) && says("a recipe has no setting 'momentum'"));
}

TEST(what_does_not_fit_together)
{
    mert_recipe r;
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_check(&r, &e));
    CHECK(!mert_recipe_set(&r, "encoder_attention_heads=7", &e) && mert_recipe_check(&r, &e));
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_set(&r, "warmup_updates=400000", &e) && mert_recipe_check(&r, &e) && says("warmup_updates"));
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_set(&r, "max_tokens=1000", &e) && mert_recipe_check(&r, &e) && says("max_tokens"));
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_set(&r, "min_sample_size=800", &e) && mert_recipe_check(&r, &e) && says("mask_length"));
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_set(&r, "inbatch_noise_augment_number_range=3 1", &e) && mert_recipe_check(&r, &e) &&
          says("3 is more than 1"));
}

TEST(lists_and_names)
{
    mert_recipe r, back;
    char *text;
    CHECK(!read_text(&r, "mask_dynamic_prob_step = 10000 40000\nmask_dynamic_prob = 0.2 0.5 0.8\n"
                         "dynamic_crops = 1 2.5\ndynamic_crops_epoches = 1 10\npretrained_weights = a b/c\n"
                         "mask_replace_type = in_batch\n"));
    CHECK(r.mask_dynamic_prob_step.n == 2 && r.mask_dynamic_prob.value[2] == 0.8 && r.dynamic_crops.value[1] == 2.5);
    CHECK(!strcmp(r.pretrained_weights, "a b/c") && r.mask_replace_type == 1 && r.mask_dynamic_len.n == 0);
    text = mert_recipe_text(&r, 1);
    CHECK(text && !read_text(&back, text) && !memcmp(&r, &back, sizeof r));
    free(text);
    CHECK(!mert_recipe_set(&back, "mask_dynamic_prob=0.2 0.5 0.7", &e) &&
          !strcmp(mert_recipe_difference(&r, &back), "mask_dynamic_prob"));
    back = r;
    CHECK(!mert_recipe_set(&back, "pretrained_weights=none", &e) && !*back.pretrained_weights &&
          !strcmp(mert_recipe_difference(&r, &back), "pretrained_weights"));
    CHECK(!mert_recipe_set(&back, "dynamic_crops=none", &e) && back.dynamic_crops.n == 0);
    CHECK(read_text(&r, "mask_dynamic_len_step = 1e4\n") && says("'1e4' is not a whole number"));
    CHECK(read_text(&r, "mask_dynamic_prob = 0.2 1.5\n") && says("1.5 is outside 0.01 to 1"));
    CHECK(mert_recipe_set(&r, "dynamic_crops=1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", &e) && says("more than 16"));
    CHECK(mert_recipe_set(&r, "pretrained_weights=a#b", &e) && says("cannot hold a name with a #"));
}

TEST(masks_change_after_given_updates)
{
    mert_recipe r;
    static const struct {
        int64_t update;
        double prob;
        int64_t length;
    } expected[] = {{1, 0.2, 2}, {10, 0.2, 2}, {11, 0.5, 2}, {20, 0.5, 2}, {21, 0.5, 10},
                    {40, 0.5, 10}, {41, 0.8, 10}, {MERT_LAST_UPDATE, 0.8, 10}};
    mert_recipe_defaults(&r);
    CHECK(mert_recipe_mask(&r, 5).prob == 0.8 && mert_recipe_mask(&r, MERT_LAST_UPDATE).length == 5);
    CHECK(!mert_recipe_set(&r, "mask_dynamic_prob_step=10 40", &e) &&
          !mert_recipe_set(&r, "mask_dynamic_prob=0.2 0.5 0.8", &e) &&
          !mert_recipe_set(&r, "mask_dynamic_len_step=20", &e) && !mert_recipe_set(&r, "mask_dynamic_len=2 10", &e));
    CHECK(!mert_recipe_check(&r, &e));
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        mert_mask_config m = mert_recipe_mask(&r, expected[i].update);
        CHECK(m.prob == expected[i].prob && m.length == expected[i].length && m.min_spans == 2);
    }
}

TEST(crops_and_shards_change_by_epoch)
{
    mert_recipe r;
    int seen[6] = {0};
    mert_recipe_defaults(&r);
    CHECK(mert_recipe_crop(&r, 0) == 120000 && mert_recipe_shard(&r, 3) == 0);
    CHECK(!mert_recipe_set(&r, "dynamic_crops=1 2.5 10", &e) &&
          !mert_recipe_set(&r, "dynamic_crops_epoches=1 3 4", &e) && !mert_recipe_check(&r, &e));
    CHECK(mert_recipe_crop(&r, 0) == 24000 && mert_recipe_crop(&r, 1) == 24000 && mert_recipe_crop(&r, 2) == 60000);
    CHECK(mert_recipe_crop(&r, 3) == 240000 && mert_recipe_crop(&r, 99) == 240000);
    CHECK(mert_recipe_crop(&r, -1) == 120000); /* validation */
    CHECK(!mert_recipe_set(&r, "sharding_data=6", &e));
    for (int epoch = 0; epoch < 600; epoch++)
        seen[mert_recipe_shard(&r, epoch)]++;
    for (int i = 0; i < 6; i++)
        CHECK(seen[i] > 60 && seen[i] < 150);
    r.load_random_data_shard = 0;
    for (int epoch = 0; epoch < 20; epoch++)
        CHECK(mert_recipe_shard(&r, epoch) == epoch % 6);
}

/* sets: settings with blanks between, applied to the defaults; the check must say `expected`. */
static int refuses(const char *const *sets, const char *expected)
{
    mert_recipe r;
    mert_recipe_defaults(&r);
    for (; *sets; sets++)
        if (mert_recipe_set(&r, *sets, &e))
            return 0;
    return mert_recipe_check(&r, &e) && says(expected);
}

#define REFUSES(expected, ...) CHECK(refuses((const char *const[]){__VA_ARGS__, NULL}, expected))

TEST(changes_that_do_not_fit_together)
{
    REFUSES("mask_dynamic_prob: 2 values for 2 steps", "mask_dynamic_prob_step=1 2", "mask_dynamic_prob=0.1 0.2");
    REFUSES("mask_dynamic_len: 1 values for 0 steps", "mask_dynamic_len=3");
    REFUSES("mask_dynamic_prob: 5 does not come after 5",
            "mask_dynamic_prob_step=5 5", "mask_dynamic_prob=0.1 0.2 0.3");
    REFUSES("dynamic_crops: 2 lengths for the 1 epochs", "dynamic_crops=1 2", "dynamic_crops_epoches=1");
    REFUSES("the first epoch must be 1", "dynamic_crops=1 2", "dynamic_crops_epoches=2 3");
    REFUSES("dynamic_crops, 4800000 fits a batch", "dynamic_crops=1 200", "dynamic_crops_epoches=1 2");
    REFUSES("dynamic_crops, 1200: 3 frames have no room for mask_length 5", "dynamic_crops=0.05",
            "dynamic_crops_epoches=1");
    REFUSES("have no room for mask_length 300", "mask_dynamic_len_step=7", "mask_dynamic_len=5 300");
    REFUSES("mask_channel_length 768: the width is 768", "mask_channel_prob=0.1", "mask_channel_length=768");
    REFUSES("random_codebook 3: there are 2 codebooks", "codebooks=2", "classes=5", "random_codebook=3");
}

TEST(an_extractor_of_another_model)
{
    mert_recipe r, small;
    mert_config c;
    mert_weights w, random, from;
    const char *path = test_tmp("extractor");
    char set[600];
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_set(&r, "conv_feature_layers=8x10/5 8x3/2", &e) &&
          !mert_recipe_set(&r, "encoder_layers=1", &e) &&
          !mert_recipe_set(&r, "encoder_embed_dim=16", &e) && !mert_recipe_set(&r, "encoder_attention_heads=2", &e) &&
          !mert_recipe_set(&r, "conv_pos_groups=4", &e) && !mert_recipe_set(&r, "conv_bias=yes", &e));
    small = r;
    small.seed = 7;
    CHECK(!mert_recipe_model(&small, NULL, 0, &c, &e) && !mert_recipe_weights(&small, &c, &from, &e) &&
          !mert_weights_save(&from, path, &e));
    snprintf(set, sizeof set, "pretrained_weights=%s", path);
    /* another width: all tensors but those of the extractor have other shapes, and are not used */
    CHECK(!mert_recipe_set(&r, set, &e) && !mert_recipe_set(&r, "encoder_embed_dim=32", &e));
    CHECK(!mert_recipe_model(&r, NULL, 0, &c, &e) && !mert_recipe_weights(&r, &c, &w, &e) &&
          !mert_recipe_weights(&r, &c, &random, &e));
    CHECK(!mert_recipe_pretrained(&r, &w, &e));
    for (int i = 0; i < w.layout.count; i++) {
        const mert_parameter *p = &w.layout.parameters[i], *q = mert_layout_find(&from.layout, p->name);
        int extractor = !strncmp(p->name, "feature_extractor.", 18);
        size_t bytes = (size_t)p->n * sizeof(float);
        CHECK(extractor ? !memcmp(w.values + p->offset, from.values + q->offset, bytes)
                        : !memcmp(w.values + p->offset, random.values + p->offset, bytes));
        if (extractor && strstr(p->name, ".0.weight"))
            CHECK(memcmp(w.values + p->offset, random.values + p->offset, bytes));
    }
    mert_weights_free(&w);
    mert_weights_free(&random);
    CHECK(!mert_recipe_set(&r, "conv_feature_layers=8x10/5 8x4/2", &e) && !mert_recipe_model(&r, NULL, 0, &c, &e) &&
          !mert_recipe_weights(&r, &c, &w, &e));
    CHECK(mert_recipe_pretrained(&r, &w, &e) &&
          says("feature_extractor.conv_layers.1.0.weight is of another shape than the recipe makes it"));
    CHECK(!mert_recipe_set(&r, "pretrained_weights=nowhere/at/all", &e) && mert_recipe_pretrained(&r, &w, &e) &&
          says("pretrained_weights: ") && says("nowhere/at/all"));
    mert_weights_free(&w);
    mert_weights_free(&from);
}

TEST(a_resumed_run_may_change_only_how_it_is_watched)
{
    mert_recipe a, b;
    mert_recipe_defaults(&a);
    b = a;
    CHECK(!mert_recipe_set(&b, "log_interval=1", &e) && !mert_recipe_set(&b, "max_update=10", &e) &&
          !mert_recipe_difference(&a, &b));
    CHECK(!mert_recipe_set(&b, "dropout=0.2", &e) && !strcmp(mert_recipe_difference(&a, &b), "dropout"));
    b = a;
    CHECK(!mert_recipe_set(&b, "conv_feature_layers=512x10/5 512x3/2*4 512x2/2 256x2/2", &e));
    CHECK(!strcmp(mert_recipe_difference(&a, &b), "conv_feature_layers"));
}

/* The official model has 95,550,160 parameters with its heads (man/model.md 2.7). */
TEST(the_official_95m)
{
    mert_recipe r, defaults;
    mert_config c;
    mert_layout l;
    mert_labels_meta metas[8] = {{0}};
    for (int k = 0; k < 8; k++)
        metas[k].classes = 1024;
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_read(&r, "pipelines/recipes/MERT_RVQ-VAE_CQT_95M", &e) && !mert_recipe_check(&r, &e));
    mert_recipe_defaults(&defaults);
    CHECK(r.update_batches == 64 && mert_recipe_batches(&r, 1) == 64 && mert_recipe_batches(&r, 8) == 64);
    defaults.update_batches = 64;
    CHECK(!mert_recipe_difference(&r, &defaults));
    CHECK(!mert_recipe_model(&r, metas, 8, &c, &e) && mert_config_frames(&c, 120000) == 374);
    CHECK(!mert_layout_make(&l, &c, &e));
    CHECK(l.elements == 95550160);
    mert_layout_free(&l);
}

/* Of settings that say the same thing in two ways the later one counts. */
TEST(the_later_one_counts)
{
    mert_recipe r;
    mert_recipe_defaults(&r);
    CHECK(mert_recipe_batches(&r, 3) == 3);
    CHECK(!mert_recipe_set(&r, "update_freq=4", &e) && mert_recipe_batches(&r, 3) == 12);
    CHECK(!mert_recipe_set(&r, "update_batches=10", &e) && mert_recipe_batches(&r, 3) == 10 && r.update_freq == 1);
    CHECK(!mert_recipe_set(&r, "update_freq=2", &e) && mert_recipe_batches(&r, 3) == 6 && r.update_batches == 0);
    CHECK(!mert_recipe_set(&r, "update_batches=0", &e) && mert_recipe_batches(&r, 3) == 6);
    CHECK(!mert_recipe_set(&r, "lr_seconds=100", &e) && r.lr_seconds == 100);
    CHECK(!mert_recipe_set(&r, "lr=0.1", &e) && r.lr_seconds == 0);
}

TEST(the_others)
{
    mert_recipe r;
    mert_config c;
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_read(&r, "pipelines/recipes/MERT_RVQ-VAE_CQT_330M", &e) && !mert_recipe_check(&r, &e));
    CHECK(r.update_batches == 512 && r.lr_seconds > 18000);
    CHECK(!mert_recipe_model(&r, NULL, 0, &c, &e) && c.width == 1024 && c.pre_ln && c.codebooks == 0);
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_read(&r, "pipelines/recipes/tiny", &e) && !mert_recipe_check(&r, &e));
}

TEST(heads_come_from_the_labels)
{
    mert_recipe r;
    mert_config c;
    mert_labels_meta metas[2] = {{.classes = 300}, {.classes = 200}};
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_model(&r, metas, 2, &c, &e) && c.codebooks == 2 && c.classes[0] == 300 && c.classes[1] == 200);
    CHECK(c.cqt_target_bins == 336 && c.special_rows == 4 && c.final_dim == 64);
    metas[1].classes = 0;
    CHECK(mert_recipe_model(&r, metas, 2, &c, &e) && says("classes of codebook 1 is not known"));
    r.classes = 200;
    CHECK(mert_recipe_model(&r, metas, 2, &c, &e) && says("codebook 0 has 300 classes, the recipe says 200"));
    r.codebooks = 3;
    CHECK(!mert_recipe_model(&r, NULL, 0, &c, &e) && c.codebooks == 3 && c.classes[2] == 200);
}

/* libcommon/train/recipe/sinusoids.h: three channels of one frequency; the sum of their rectified outputs is about the
 * same for every phase, and largest at the triple's own frequency. */
static double answer(const mert_weights *w, int triple, double f, double phase)
{
    const mert_config *c = &w->layout.config;
    int k = c->conv[0].kernel;
    const float *h = w->values + mert_layout_offset(&w->layout, "feature_extractor.conv_layers.0.0.weight") +
                     3L * triple * k;
    double sum = 0;
    for (int j = 0; j < 3; j++) {
        double x = 0;
        for (int t = 0; t < k; t++)
            x += h[j * k + t] * sin(6.283185307179586 * (f * t / c->sample_rate + phase));
        sum += x > 0 ? x : 0;
    }
    return sum;
}

/* logits = cosine * exp(parameter): they begin as those of the fixed temperature. */
TEST(learnable_temperatures_begin_at_logit_temp)
{
    mert_recipe r;
    mert_config c;
    mert_weights w;
    const mert_parameter *p;
    mert_recipe_defaults(&r);
    r.encoder_layers = 1;
    CHECK(!mert_recipe_set(&r, "learnable_temp=yes", &e) && !mert_recipe_set(&r, "logit_temp=0.05", &e));
    CHECK(!mert_recipe_set(&r, "codebooks=3", &e) && !mert_recipe_set(&r, "classes=10", &e));
    CHECK(!mert_recipe_model(&r, NULL, 0, &c, &e) && !mert_recipe_weights(&r, &c, &w, &e));
    CHECK((p = mert_layout_find(&w.layout, "logit_temp_list")) && p->n == 3);
    for (int k = 0; k < 3; k++)
        CHECK_NEAR(exp(w.values[p->offset + k]), 20, 1e-5);
    mert_weights_free(&w);
}

TEST(sinusoids_answer_to_their_frequency)
{
    mert_recipe r;
    mert_config c;
    mert_weights w, again;
    enum { TRIPLES = 40 };
    mert_recipe_defaults(&r);
    CHECK(!mert_recipe_set(&r, "conv_feature_layers=121x1024/160 16x4/2", &e) &&
          !mert_recipe_set(&r, "encoder_layers=1", &e));
    CHECK(!mert_recipe_set(&r, "extractor_init=sinusoids", &e) && !mert_recipe_model(&r, NULL, 0, &c, &e));
    CHECK(!mert_recipe_weights(&r, &c, &w, &e) && !mert_weights_init(&again, &c, (uint64_t)r.seed, &e));
    for (int i = 0; i < TRIPLES; i++) {
        double f = 40 * pow(9600.0 / 40, i / (TRIPLES - 1.0)), least = 1e9, most = 0;
        for (double phase = 0; phase < 1; phase += 0.05) {
            double a = answer(&w, i, f, phase);
            least = fmin(least, a);
            most = fmax(most, a);
        }
        CHECK(least > 0.8 * most);
        CHECK(f < 200 || answer(&w, i, f / 1.5, 0.3) < 0.5 * least); /* lower ones have too few periods */
    }
    /* the last channel is not part of a triple: it does not change, nor does anything else */
    {
        int64_t at = mert_layout_offset(&w.layout, "feature_extractor.conv_layers.0.0.weight");
        CHECK(!memcmp(w.values + at + 120 * 1024, again.values + at + 120 * 1024, 1024 * sizeof(float)));
        CHECK(memcmp(w.values + at + 119 * 1024, again.values + at + 119 * 1024, 1024 * sizeof(float)));
        CHECK(!memcmp(w.values + at + 121 * 1024, again.values + at + 121 * 1024,
                      (size_t)(w.layout.size - at - 121 * 1024) * sizeof(float)));
    }
    mert_weights_free(&w);
    mert_weights_free(&again);
    CHECK(!mert_recipe_set(&r, "conv_feature_layers=512x10/5 512x3/2*4 512x2/2*2", &e) &&
          !mert_recipe_model(&r, NULL, 0, &c, &e));
    CHECK(mert_recipe_weights(&r, &c, &w, &e) && says("kernel has 10 samples"));
}

int main(void)
{
    RUN(reads_what_is_written);
    RUN(its_own_text_says_the_same);
    RUN(editors_of_other_systems);
    RUN(wrong_lines_are_named);
    RUN(what_does_not_fit_together);
    RUN(lists_and_names);
    RUN(masks_change_after_given_updates);
    RUN(crops_and_shards_change_by_epoch);
    RUN(changes_that_do_not_fit_together);
    RUN(an_extractor_of_another_model);
    RUN(a_resumed_run_may_change_only_how_it_is_watched);
    RUN(the_official_95m);
    RUN(the_later_one_counts);
    RUN(the_others);
    RUN(heads_come_from_the_labels);
    RUN(learnable_temperatures_begin_at_logit_temp);
    RUN(sinusoids_answer_to_their_frequency);
    return test_done();
}
