/* fairseq's configurations: read from hydra's cfg and from the args before it, and written back. */
#include "libcommon/models/weights/fairseq.h"
#include "tests/test.h"

static int from(const char *text, mert_config *c, mert_error *e)
{
    mert_json *j = mert_json_parse(text, strlen(text), "extras", e);
    int bad = j ? mert_config_from_fairseq(c, j, e) : -2;
    mert_json_free(j);
    return bad;
}

TEST(what_is_left_out_has_fairseqs_default)
{
    mert_config c, base = mert_config_95m();
    mert_error e;
    CHECK(!from("{\"args\": null, \"cfg\": {\"model\": {\"_name\": \"mert\"}, \"task\": {\"normalize\": true}}}", &c,
                &e));
    CHECK(c.layers == 12 && c.width == 768 && c.sample_rate == 16000 && c.normalize == 1 && !c.pre_ln &&
          !c.extractor_layer_norm);
    CHECK(c.convs == base.convs && !memcmp(c.conv, base.conv, sizeof c.conv) && c.codebooks == 0);
}

TEST(args_of_old_checkpoints)
{
    mert_config c;
    mert_error e;
    CHECK(!from("{\"args\": {\"encoder_layers\": 24, \"encoder_embed_dim\": 1024, \"encoder_ffn_embed_dim\": 4096, "
                "\"encoder_attention_heads\": 16, \"layer_norm_first\": true, \"extractor_mode\": \"layer_norm\", "
                "\"sample_rate\": 24000.0, \"normalize\": true, \"conv_feature_layers\": \"[(512, 10, 5)] + "
                "[(512,3,2)]*4\"}}",
                &c, &e));
    CHECK(c.layers == 24 && c.width == 1024 && c.pre_ln && c.extractor_layer_norm && c.sample_rate == 24000 &&
          c.convs == 5);
}

TEST(pickled_enumerations)
{
    mert_config c;
    mert_error e;
    CHECK(!from("{\"cfg\": {\"model\": {\"extractor_mode\": {\"__class__\": \"fairseq.X\", \"__args__\": "
                "[\"layer_norm\"]}}}}",
                &c, &e));
    CHECK(c.extractor_layer_norm);
}

TEST(written_and_read_back)
{
    mert_config c = mert_config_95m(), back;
    mert_error e;
    char *text;
    c.layers = 5;
    c.pre_ln = c.conv_bias = c.extractor_layer_norm = c.normalize = 1;
    c.cqt_input = 1;
    c.cqt_input_bins = 84;
    c.sample_rate = 16000;
    c.attention_relax = 32;
    c.conv[3].dim = 96;
    CHECK((text = mert_config_to_fairseq(&c)) && !from(text, &back, &e));
    free(text);
    CHECK(back.layers == 5 && back.pre_ln && back.conv_bias && back.extractor_layer_norm && back.normalize &&
          back.cqt_input);
    CHECK(back.cqt_input_bins == 84 && back.sample_rate == 16000 && back.attention_relax == 32 && !back.deepnorm);
    CHECK(back.convs == c.convs && !memcmp(back.conv, c.conv, sizeof c.conv));
    c.pre_ln = 0;
    c.deepnorm = 1;
    CHECK((text = mert_config_to_fairseq(&c)) && !from(text, &back, &e) && back.deepnorm && !back.pre_ln);
    free(text);
}

TEST(refuses_by_name)
{
    static const char *const bad[][2] = {{"{}", "no configuration"},
                                         {"{\"cfg\": null, \"args\": null}", "no configuration"},
                                         {"{\"args\": {\"encoder_layers\": 0}}", "num_hidden_layers"},
                                         {"{\"args\": {\"encoder_layers\": \"x\"}}", "encoder_layers"},
                                         {"{\"args\": {\"extractor_mode\": \"other\"}}", "extractor_mode"},
                                         {"{\"args\": {\"activation_fn\": \"relu\"}}", "activation_fn"},
                                         {"{\"args\": {\"layer_type\": \"conformer\"}}", "layer_type"},
                                         {"{\"args\": {\"conv_feature_layers\": \"[] * 9\"}}", "conv_feature"},
                                         {"{\"args\": {\"sample_rate\": -1, \"x\": 1}}", "sample_rate"},
                                         {"{\"args\": {\"encoder_attention_heads\": 7}}", "heads"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mert_config c;
        mert_error e;
        int rc = from(bad[i][0], &c, &e);
        if (rc != -1 || !strstr(e.text, bad[i][1]))
            printf("# %s: %s\n", bad[i][0], rc ? e.text : "accepted");
        CHECK(rc == -1 && strstr(e.text, bad[i][1]));
    }
}

int main(void)
{
    RUN(what_is_left_out_has_fairseqs_default);
    RUN(args_of_old_checkpoints);
    RUN(pickled_enumerations);
    RUN(written_and_read_back);
    RUN(refuses_by_name);
    return test_done();
}
