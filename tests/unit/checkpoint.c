/* Valid model files. Hostile and damaged ones: checkpoint_hostile.c. */
#include "tests/unit/model_file.h"

#include "formats/checkpoint/model_hash.h"
#include "formats/checkpoint/write.h"
#include "formats/stream/mts.h"

/* Converts fairseq's name of a tensor to that of transformers; man/model.md 13.3. "": there is none. */
static void hf_name(const char *fairseq, char to[200])
{
    static const char *const whole[][2] = {{"post_extract_proj.", "feature_projection.projection."},
                                           {"layer_norm.", "feature_projection.layer_norm."},
                                           {"mask_emb", "masked_spec_embed"},
                                           {"final_proj", NULL},
                                           {"label_embs_concat", NULL},
                                           {"encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."}};
    static const char *const inside[][2] = {{"self_attn.", "attention."},
                                            {"self_attn_layer_norm.", "layer_norm."},
                                            {"fc1.", "feed_forward.intermediate_dense."},
                                            {"fc2.", "feed_forward.output_dense."}};
    int i;
    char rest[100];
    for (size_t k = 0; k < sizeof whole / sizeof *whole; k++)
        if (!strncmp(fairseq, whole[k][0], strlen(whole[k][0]))) {
            snprintf(to, 200, "%s%s", whole[k][1] ? whole[k][1] : "", whole[k][1] ? fairseq + strlen(whole[k][0]) : "");
            return;
        }
    if (sscanf(fairseq, "feature_extractor.conv_layers.%d.0.%99s", &i, rest) == 2)
        snprintf(to, 200, "feature_extractor.conv_layers.%d.conv.%s", i, rest);
    else if (sscanf(fairseq, "feature_extractor.conv_layers.%d.2.%99s", &i, rest) == 2)
        snprintf(to, 200, "feature_extractor.conv_layers.%d.layer_norm.%s", i, rest[0] == '1' ? rest + 2 : rest);
    else if (sscanf(fairseq, "encoder.layers.%d.%99s", &i, rest) == 2) {
        snprintf(to, 200, "encoder.layers.%d.%s", i, rest);
        for (size_t k = 0; k < 4; k++)
            if (!strncmp(rest, inside[k][0], strlen(inside[k][0])))
                snprintf(to, 200, "encoder.layers.%d.%s%s", i, inside[k][1], rest + strlen(inside[k][0]));
    } else
        snprintf(to, 200, "%s", fairseq);
}

static int same_tensor(const mert_tensor *a, const mert_tensor *b)
{
    if (!a || !b || a->type != b->type || a->ndim != b->ndim ||
        memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape))
        return 0;
    return !memcmp(a->data, b->data, (size_t)a->elements * mert_dtype_size(a->type));
}

static uint64_t hash_of(const mert_checkpoint *c, int fairseq)
{
    size_t n = mert_checkpoint_count(c), kept = 0;
    mert_named_values *v = calloc(n, sizeof *v);
    char (*names)[200] = calloc(n, sizeof *names);
    uint64_t h;
    mert_error e;
    for (size_t i = 0; v && names && i < n; i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        float *to = malloc((size_t)t->elements * sizeof *to);
        if (!to || mert_tensor_read(t, to, &e))
            abort();
        if (fairseq)
            hf_name(t->name + 6, names[kept]);
        else
            snprintf(names[kept], 200, "%s", t->name);
        if (*names[kept]) {
            v[kept] = (mert_named_values){names[kept], to, t->elements};
            kept++;
        } else
            free(to);
    }
    h = mert_model_hash(v, kept);
    for (size_t i = 0; i < kept; i++)
        free((void *)v[i].values);
    free(v);
    free(names);
    return h;
}

TEST(all_containers_hold_the_same_model)
{
    static const struct { const char *file, *container; int fairseq; size_t tensors; } files[] = {
        {"mert-post-ln/pytorch_model.bin", "torch zip", 0, 67},
        {"mert-post-ln/pytorch_model_legacy.bin", "torch pickle", 0, 67},
        {"mert-post-ln/fairseq_checkpoint.pt", "torch zip", 1, 70},
        {"mert-post-ln/fairseq_checkpoint_omegaconf.pt", "torch zip", 1, 70}};
    mert_error e;
    mert_checkpoint *a = mert_checkpoint_open(test_golden("mert-post-ln/model.safetensors"), &e);
    CHECK(a && mert_checkpoint_count(a) == 67 && !strcmp(mert_checkpoint_container(a), "safetensors") &&
          !mert_checkpoint_extras(a));
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        mert_checkpoint *b = mert_checkpoint_open(test_golden(files[f].file), &e);
        size_t found = 0;
        if (!b)
            printf("# %s\n", e.text);
        CHECK(b && mert_checkpoint_count(b) == files[f].tensors &&
              !strcmp(mert_checkpoint_container(b), files[f].container));
        for (size_t i = 0; i < mert_checkpoint_count(b); i++) {
            const mert_tensor *t = mert_checkpoint_tensor(b, i);
            char name[200];
            CHECK(!files[f].fairseq || !strncmp(t->name, "model.", 6));
            hf_name(t->name + (files[f].fairseq ? 6 : 0), name);
            if (!files[f].fairseq)
                snprintf(name, sizeof name, "%s", t->name);
            CHECK(mert_checkpoint_find(b, t->name) == t);
            if (!*name)
                continue;
            if (!same_tensor(t, mert_checkpoint_find(a, name)))
                printf("# %s: %s differs from %s\n", files[f].file, t->name, name);
            CHECK(same_tensor(t, mert_checkpoint_find(a, name)));
            found++;
        }
        CHECK(found == mert_checkpoint_count(a));
        CHECK(hash_of(b, files[f].fairseq) == hash_of(a, 0));
        mert_checkpoint_close(b);
    }
    CHECK(mert_checkpoint_find(a, "no such tensor") == NULL);
    mert_checkpoint_close(a);
}

TEST(fairseq_configuration_is_plain)
{
    static const char *const files[] = {"mert-post-ln/fairseq_checkpoint.pt",
                                    "mert-post-ln/fairseq_checkpoint_omegaconf.pt"};
    for (int f = 0; f < 2; f++) {
        mert_error e;
        mert_checkpoint *c = mert_checkpoint_open(test_golden(files[f]), &e);
        const mert_json *x, *model;
        int64_t n = 0;
        int untied = 0;
        CHECK(c && (x = mert_checkpoint_extras(c)) && (model = mert_json_get(mert_json_get(x, "cfg"), "model")));
        CHECK(mert_json_int(model, "encoder_layers", &n) == 0 && n == 3);
        CHECK(mert_json_bool(model, "untie_final_proj", &untied) == 0 && untied == 1);
        CHECK(!strcmp(mert_json_string(model, "conv_feature_layers"), "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2"));
        CHECK(mert_json_int(mert_json_get(mert_json_get(x, "cfg"), "task"), "sample_rate", &n) == 0 && n == 24000);
        CHECK(mert_json_get(x, "model") == NULL);
        CHECK(mert_json_int(mert_json_get(mert_json_get(x, "extra_state"), "ns"), "a", &n) == 0 &&
              n == 1); /* a Namespace */
        mert_checkpoint_close(c);
    }
}

TEST(hash_is_of_sorted_names_and_values)
{
    static const float a[] = {1, 2, 3}, b[] = {-0.5f};
    mert_named_values v[] = {{"b", b, 1}, {"a.x", a, 3}}, w[] = {v[1], v[0]};
    bytes all = {0};
    put(&all, "a.x", 4);
    put(&all, a, sizeof a);
    put(&all, "b", 2);
    put(&all, b, sizeof b);
    CHECK(mert_model_hash(v, 2) == mts_xxh64(all.p, all.n, 0));
    CHECK(mert_model_hash(w, 2) == mert_model_hash(v, 2));
    free(all.p);
}

/* ---- folders ---- */

static int write_part(const char *path, const mert_checkpoint *c, size_t first, size_t end, mert_error *e)
{
    mert_tensor_out *t = calloc(end - first + 1, sizeof *t);
    int rc;
    for (size_t i = first; t && i < end; i++) {
        const mert_tensor *s = mert_checkpoint_tensor(c, i);
        t[i - first] = (mert_tensor_out){s->name, s->type, s->ndim, {0}, s->data};
        memcpy(t[i - first].shape, s->shape, sizeof s->shape);
    }
    rc = t ? mert_safetensors_write(path, t, end - first, e) : -1;
    free(t);
    return rc;
}

/* shards.dir: two shards and their index; `lie`: 1 names the wrong shard of one tensor, 2 a file outside the folder, 3
 * a tensor that is not there */
static int write_index(const char *dir, const mert_checkpoint *c, size_t half, int lie)
{
    char path[1100];
    FILE *f;
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", dir);
    if (!(f = fopen(path, "w")))
        return -1;
    fprintf(f, "{\"metadata\": {\"total_size\": 1}, \"weight_map\": {");
    for (size_t i = 0; i < mert_checkpoint_count(c); i++)
        fprintf(f, "%s\"%s%s\": \"%s\"", i ? ", " : "", mert_checkpoint_tensor(c, i)->name,
                lie == 3 && i == 4 ? "x" : "",
                lie == 2 && i == 4                    ? "../a.safetensors"
                : (i < half) == !(lie == 1 && i == 4) ? "model-1.safetensors"
                                                      : "model-2.safetensors");
    fprintf(f, "}}\n");
    return fclose(f);
}

TEST(folders_and_shards)
{
    static const char *const lies[] = {NULL, "in model-2.safetensors, where it is not", "not the name of a file",
                                       "where it is not"};
    mert_error e;
    mert_checkpoint *a, *b, *d;
    char dir[1024], path[1100];
    size_t half = 30;
    CHECK((a = mert_checkpoint_open(test_golden("mert-post-ln"), &e)));
    CHECK(mert_checkpoint_config(a) && mert_json_get(mert_checkpoint_config(a), "hidden_size") &&
          !mert_checkpoint_preprocessor(a));
    snprintf(dir, sizeof dir, "%s", test_tmp("shards"));
    CHECK(!mert_make_directory(dir, &e));
    CHECK(!mert_checkpoint_open(dir, &e) && strstr(e.text, "no model in this folder"));
    snprintf(path, sizeof path, "%s/model-1.safetensors", dir);
    CHECK(!write_part(path, a, 0, half, &e));
    CHECK(!write_index(dir, a, half, 0));
    CHECK(!mert_checkpoint_open(dir, &e) && strstr(e.text, "model-2.safetensors"));
    snprintf(path, sizeof path, "%s/model-2.safetensors", dir);
    CHECK(!write_part(path, a, half, mert_checkpoint_count(a), &e));
    b = mert_checkpoint_open(dir, &e);
    CHECK(b && !strcmp(mert_checkpoint_container(b), "sharded safetensors") &&
          mert_checkpoint_count(b) == mert_checkpoint_count(a));
    CHECK(hash_of(a, 0) == hash_of(b, 0));
    mert_checkpoint_close(b);
    for (int lie = 1; lie <= 3; lie++) {
        CHECK(!write_index(dir, a, half, lie));
        d = mert_checkpoint_open(dir, &e);
        if (d || !strstr(e.text, lies[lie]))
            printf("# lie %d: %s\n", lie, d ? "accepted" : e.text);
        CHECK(!d && strstr(e.text, lies[lie]));
    }
    CHECK(!write_part(path, a, half - 1, mert_checkpoint_count(a), &e) && !write_index(dir, a, half, 0));
    CHECK(!mert_checkpoint_open(dir, &e) && strstr(e.text, "two tensors of this name"));
    mert_checkpoint_close(a);
}

TEST(preprocessor_and_a_bad_config)
{
    static const float x[1] = {1};
    mert_tensor_out t = {"x", MERT_E_F32, 1, {1}, x};
    mert_error e;
    mert_checkpoint *c;
    char dir[1024], path[1100];
    FILE *f;
    int b = 0;
    snprintf(dir, sizeof dir, "%s", test_tmp("beside"));
    snprintf(path, sizeof path, "%s/any.safetensors", dir);
    CHECK(!mert_make_directory(dir, &e) && !mert_safetensors_write(path, &t, 1, &e));
    snprintf(path, sizeof path, "%s/preprocessor_config.json", dir);
    CHECK((f = fopen(path, "w")) && fputs("{\"do_normalize\": true}", f) > 0 && !fclose(f));
    snprintf(path, sizeof path, "%s/any.safetensors", dir);
    CHECK((c = mert_checkpoint_open(path, &e)) && !mert_checkpoint_config(c));
    CHECK(mert_json_bool(mert_checkpoint_preprocessor(c), "do_normalize", &b) == 0 && b == 1);
    mert_checkpoint_close(c);
    snprintf(path, sizeof path, "%s/config.json", dir);
    CHECK((f = fopen(path, "w")) && fputs("{", f) > 0 && !fclose(f));
    snprintf(path, sizeof path, "%s/any.safetensors", dir);
    CHECK(!mert_checkpoint_open(path, &e) && strstr(e.text, "config.json: line"));
}

/* ---- element types ---- */

TEST(element_types)
{
    static const uint16_t half[] = {0x3c00, 0xc000, 0x0001, 0x8001, 0x03ff, 0x7bff, 0x7c00, 0xfc00, 0x0000, 0x3555};
    static const float of_half[] = {1,     -2,       0x1p-24f,  -0x1p-24f, 0x1.ff8p-15f,
                                    65504, INFINITY, -INFINITY, 0,         0x1.554p-2f};
    static const uint16_t brain[] = {0x3f80, 0xc040, 0x7f80, 0x0001};
    static const float of_brain[] = {1, -3, INFINITY, 0x1p-133f};
    static const double wide[] = {0.1, -1e300, 3};
    static const float of_wide[] = {0.1f, -INFINITY, 3};
    static const int64_t i64[] = {-5, 1LL << 40};
    static const int32_t i32[] = {-7};
    static const int16_t i16[] = {-300};
    static const int8_t i8[] = {-8};
    static const uint8_t u8[] = {200}, truth[] = {0, 1};
    static const float of_i64[] = {-5, 0x1p40f}, of_i32[] = {-7}, of_i16[] = {-300}, of_i8[] = {-8}, of_u8[] = {200},
                       of_truth[] = {0, 1};
    static const struct { mert_tensor_out t; const float *expect; } cases[] = {
        {{"half", MERT_E_F16, 2, {2, 5}, half}, of_half}, {{"brain", MERT_E_BF16, 1, {4}, brain}, of_brain},
        {{"wide", MERT_E_F64, 1, {3}, wide}, of_wide},    {{"i64", MERT_E_I64, 1, {2}, i64}, of_i64},
        {{"i32", MERT_E_I32, 0, {0}, i32}, of_i32},       {{"i16", MERT_E_I16, 1, {1}, i16}, of_i16},
        {{"i8", MERT_E_I8, 1, {1}, i8}, of_i8},           {{"u8", MERT_E_U8, 1, {1}, u8}, of_u8},
        {{"truth", MERT_E_BOOL, 1, {2}, truth}, of_truth}, {{"empty", MERT_E_F32, 2, {0, 7}, NULL}, NULL}};
    enum { N = sizeof cases / sizeof *cases };
    mert_tensor_out t[N];
    mert_error e;
    mert_checkpoint *c;
    float to[10];
    mert_mapping m;
    for (int i = 0; i < N; i++)
        t[i] = cases[i].t;
    CHECK(!mert_safetensors_write(test_tmp("types.safetensors"), t, N, &e));
    CHECK(!mert_mapping_open(&m, test_tmp("types.safetensors"), &e));
    CHECK((mert_le(m.data, 8) + 8) % 64 == 0);
    mert_mapping_close(&m);
    CHECK((c = mert_checkpoint_open(test_tmp("types.safetensors"), &e)) && mert_checkpoint_count(c) == N);
    for (int i = 0; i < N; i++) {
        const mert_tensor *r = mert_checkpoint_tensor(c, (size_t)i);
        CHECK(!strcmp(r->name, t[i].name) && r->type == t[i].type && r->ndim == t[i].ndim); /* in the order given */
        CHECK(!mert_tensor_read(r, to, &e));
        CHECK(!r->elements || !memcmp(to, cases[i].expect, (size_t)r->elements * sizeof *to));
    }
    mert_checkpoint_close(c);
    t[1].name = "half";
    CHECK(mert_safetensors_write(test_tmp("twice.safetensors"), t, N, &e) && strstr(e.text, "two tensors named half"));
    t[1].name = "\xff";
    CHECK(mert_safetensors_write(test_tmp("twice.safetensors"), t, N, &e) && strstr(e.text, "UTF-8"));
    CHECK(mert_safetensors_write(test_tmp("no/such/folder.safetensors"), t, 1, &e) && strstr(e.text, "cannot create"));
}

/* ---- torch files: views of storages ---- */

static const float numbers[6] = {0, 1, 2, 3, 4, 5};

TEST(strided_tensors_are_gathered)
{
    static const int shape[] = {2, 3}, rows[] = {3, 1}, columns[] = {1, 2}, four[] = {2, 2}, skip[] = {3, 2},
                     one[] = {1, 3}, odd[] = {77, 1};
    static const float transposed[] = {0, 2, 4, 1, 3, 5};
    bytes plain = tensor_opcodes("torch FloatStorage", "k", 6, 0, 2, shape, rows),
          turned = tensor_opcodes("torch FloatStorage", "k", 6, 0, 2, shape, columns);
    bytes part = tensor_opcodes("torch FloatStorage", "k", 6, 0, 2, four, skip),
          row = tensor_opcodes("torch FloatStorage", "k", 6, 3, 2, one, odd);
    bytes scalar = tensor_opcodes("torch.cuda FloatStorage", "k", 6, 5, 0, NULL, NULL), pkl = {0};
    mert_error e;
    mert_checkpoint *c;
    const mert_tensor *t;
    float to[6];
    pickle(&pkl, "}( %s %p %s %p %s ]( %p %p e %s } %s %p s u.", "plain", &plain, "turned", &turned, "list", &part,
           &row, "deep", "scalar", &scalar);
    c = open_bytes("views.pt", torch_zip(&pkl, numbers, sizeof numbers), &e);
    if (!c)
        printf("# %s\n", e.text);
    CHECK(c && mert_checkpoint_count(c) == 5 && !mert_checkpoint_extras(c));
    CHECK((t = mert_checkpoint_find(c, "plain")) && !memcmp(t->data, numbers, sizeof numbers));
    CHECK((t = mert_checkpoint_find(c, "turned")) && t->shape[0] == 2 && !mert_tensor_read(t, to, &e) &&
          !memcmp(to, transposed, sizeof to));
    CHECK((t = mert_checkpoint_find(c, "list.0")) && !mert_tensor_read(t, to, &e) && to[0] == 0 && to[1] == 2 &&
          to[2] == 3 && to[3] == 5);
    CHECK((t = mert_checkpoint_find(c, "list.1")) && t->elements == 3 && !memcmp(t->data, numbers + 3, 12));
    CHECK((t = mert_checkpoint_find(c, "deep.scalar")) && t->ndim == 0 && t->elements == 1 &&
          !mert_tensor_read(t, to, &e) && to[0] == 5);
    mert_checkpoint_close(c);
    free(plain.p), free(turned.p), free(part.p), free(row.p), free(scalar.p);
}

TEST(parameters_and_untyped_storages)
{
    static const int shape[] = {6}, one[] = {1};
    bytes t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, shape, one), pkl = {0};
    mert_error e;
    mert_checkpoint *c;
    const mert_tensor *v;
    pickle(&pkl, "}( %s %c ( %p \x88 ) tR u.", "w", "torch._utils _rebuild_parameter", &t);
    c = open_bytes("parameter.pt", torch_zip(&pkl, numbers, sizeof numbers), &e);
    CHECK(c && (v = mert_checkpoint_find(c, "w")) && !memcmp(v->data, numbers, sizeof numbers));
    mert_checkpoint_close(c);
    free(t.p);
    pickle(&pkl, "}( %s %c (( %s %c %s %s %i tQ %i ( %i t( %i t \x89 )%c tR u.", "w", "torch._utils _rebuild_tensor_v3",
           "storage", "torch.storage UntypedStorage", "k", "cpu", 24, 2, 4, 1, "torch float32");
    c = open_bytes("untyped.pt", torch_zip(&pkl, numbers, sizeof numbers), &e);
    if (!c)
        printf("# %s\n", e.text);
    CHECK(c && (v = mert_checkpoint_find(c, "w")) && v->elements == 4 && !memcmp(v->data, numbers + 2, 16));
    mert_checkpoint_close(c);
    pickle(&pkl, "}( %s %c (( %s %c %s %s %i tQ %i ( %i t( %i t \x89 )%c tR u.", "w", "torch._utils _rebuild_tensor_v3",
           "storage", "torch.storage UntypedStorage", "k", "cpu", 24, 2, 5, 1, "torch float32");
    CHECK(!open_bytes("untyped.pt", torch_zip(&pkl, numbers, sizeof numbers), &e) &&
          strstr(e.text, "w: needs element 6 of a storage of 6"));
}

TEST(values_beside_tensors_become_json)
{
    static const int shape[] = {6}, one[] = {1};
    bytes t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, shape, one), pkl = {0};
    mert_error e;
    mert_checkpoint *c;
    char *text;
    /* a cycle, an opaque object, numbers that JSON does not have, keys that are not text, tensors between values */
    pickle(&pkl,
           "}( %s }q%b( %s h%b %i %s N %s u %s %f %s %f %s \x8a%b\1\2\3\4\5\6\7\x08\x09 %s %c ) R } %s %i s b %s ]( %p "
           "%i e %s %c (%s tR %s %c ]( %i e \x85R u.",
           "loop", 1, "self", 1, 3, "three", "none", "inf", INFINITY, "nan", NAN, "big", 9, "object",
           "some.module Thing", "size", 2, "mixed", &t, 4, "path", "pathlib PosixPath", "x", "set", "__builtin__ set",
           1);
    c = open_bytes("values.pt", torch_zip(&pkl, numbers, sizeof numbers), &e);
    if (!c)
        printf("# %s\n", e.text);
    CHECK(c && mert_checkpoint_find(c, "mixed.0"));
    CHECK((text = mert_json_text(mert_checkpoint_extras(c), 0)));
    if (!strstr(text, "\"set\": [1]"))
        printf("# %s\n", text);
    CHECK(strstr(text, "\"loop\": {\"self\": null, \"3\": \"three\", \"None\": \"none\"}, \"inf\": \"inf\", \"nan\": "
                       "\"nan\", \"big\": \"0x090807060504030201\""));
    CHECK(strstr(text, "\"object\": {\"__class__\": \"some.module.Thing\", \"size\": 2}, \"mixed\": [null, 4], "
                       "\"path\": {\"__class__\": \"pathlib.PosixPath\", \"__args__\": [\"x\"]}, \"set\": [1]}"));
    free(text);
    mert_checkpoint_close(c);
    free(t.p);
}

TEST(zip64_entries_and_sizes_in_local_headers)
{
    static const int shape[] = {6}, one[] = {1};
    for (int variant = 0; variant < 3; variant++) {
        bytes t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, shape, one), pkl = {0};
        zip_part parts[] = {{.name = "a/b/data.pkl"},
                            {.name = "a/b/data/k", .data = numbers, .size = sizeof numbers},
                            {.name = "a/b/byteorder", .data = "little", .size = 6}};
        mert_error e;
        mert_checkpoint *c;
        pickle(&pkl, "%p.", &t);
        parts[0].data = pkl.p;
        parts[0].size = pkl.n;
        for (int i = 0; i < 3; i++) {
            parts[i].zip64 = variant == 1;
            parts[i].no_descriptor = variant == 2;
        }
        c = open_bytes("zip64.pt", zip_file(parts, 3, NULL), &e);
        if (!c)
            printf("# %s\n", e.text);
        CHECK(c && mert_checkpoint_count(c) == 1 &&
              !memcmp(mert_checkpoint_tensor(c, 0)->data, numbers, sizeof numbers));
        CHECK(!strcmp(mert_checkpoint_tensor(c, 0)->name, "tensor"));
        mert_checkpoint_close(c);
        free(pkl.p);
        free(t.p);
    }
}

/* torch files that we write: the same values are read back, data are aligned to 64 bytes, and the bytes are the same
 * every time. */
TEST(torch_files_written)
{
    static const char text[] = "{\"args\": null, \"cfg\": {\"model\": {\"lr\": 0.1, \"n\": -3, \"big\": 4294967296, "
                               "\"on\": true, \"list\": [1, \"x\", []]}}}";
    static const uint16_t half[] = {0x3c00, 0xc000};
    mert_tensor_out t[3] = {{"a.w", MERT_E_F32, 2, {2, 3}, numbers},
                            {"h", MERT_E_F16, 1, {2}, half},
                            {"scalar", MERT_E_F32, 0, {0}, numbers + 4}};
    mert_error e;
    mert_json *extras = mert_json_parse(text, strlen(text), "extras", &e);
    mert_checkpoint *c;
    mert_mapping m, again;
    int64_t checked;
    char *back;
    CHECK(extras && !mert_torch_write(test_tmp("written.pt"), "model", t, 3, extras, &e));
    c = mert_checkpoint_open(test_tmp("written.pt"), &e);
    if (!c)
        printf("# %s\n", e.text);
    CHECK(c && mert_checkpoint_count(c) == 3 && !mert_checkpoint_verify(c, &checked, &e) && checked > 24);
    for (int i = 0; i < 3; i++) {
        char name[32];
        mert_tensor expect = {.type = t[i].type, .ndim = t[i].ndim, .data = t[i].data};
        const mert_tensor *r;
        snprintf(name, sizeof name, "model.%s", t[i].name);
        CHECK((r = mert_checkpoint_find(c, name)) && r->elements == (i == 0 ? 6 : i == 1 ? 2 : 1));
        memcpy(expect.shape, t[i].shape, sizeof expect.shape);
        expect.elements = r->elements;
        CHECK(same_tensor(r, &expect));
        CHECK((uintptr_t)r->data % 64 == 0); /* mappings are aligned to pages */
    }
    CHECK((back = mert_json_text(mert_checkpoint_extras(c), 0)));
    CHECK(strstr(back, "\"n\": -3, \"big\": 4294967296, \"on\": true, \"list\": [1, \"x\", []]") &&
          strstr(back, "\"args\": null"));
    free(back);
    mert_checkpoint_close(c);
    CHECK(!mert_torch_write(test_tmp("again.pt"), "model", t, 3, extras, &e));
    CHECK(!mert_mapping_open(&m, test_tmp("written.pt"), &e) && !mert_mapping_open(&again, test_tmp("again.pt"), &e));
    CHECK(m.size == again.size && !memcmp(m.data, again.data, m.size));
    mert_mapping_close(&m);
    mert_mapping_close(&again);
    mert_json_free(extras);
}

int main(void)
{
    RUN(all_containers_hold_the_same_model);
    RUN(fairseq_configuration_is_plain);
    RUN(hash_is_of_sorted_names_and_values);
    RUN(folders_and_shards);
    RUN(preprocessor_and_a_bad_config);
    RUN(element_types);
    RUN(strided_tensors_are_gathered);
    RUN(parameters_and_untyped_storages);
    RUN(values_beside_tensors_become_json);
    RUN(zip64_entries_and_sizes_in_local_headers);
    RUN(torch_files_written);
    return test_done();
}
