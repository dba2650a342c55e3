/* Inconsistent, damaged and hostile model files: each is refused with one line that says what is wrong. None crashes,
 * hangs, or allocates memory because a header says so. */
#include "tests/unit/model_file.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static const float numbers[6] = {0, 1, 2, 3, 4, 5};
static const int six[] = {6}, unit[] = {1};

static int refused(const char *name, bytes b, const char *says)
{
    mert_error e;
    mert_checkpoint *c = open_bytes(name, b, &e);
    int ok = !c && strstr(e.text, says) && strstr(e.text, name) && !strchr(e.text, '\n');
    if (!ok)
        printf("# %s: %s (expected: %s)\n", name, c ? "accepted" : e.text, says);
    mert_checkpoint_close(c);
    return ok;
}

/* ---- safetensors ---- */

static bytes safetensors(const char *header, size_t data)
{
    bytes b = {0};
    put_le(&b, strlen(header), 8);
    put_text(&b, header);
    for (size_t i = 0; i < data; i++)
        put_le(&b, i, 1);
    return b;
}

TEST(lying_safetensors)
{
    static const struct { const char *header; size_t data; const char *says;
    } bad[] =
        {{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}", 8, "not JSON"},
         {"[1]", 0, "no object"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],"
          "\"data_offsets\":[8,16]}}",
          16, "duplicate"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "a: data_offsets [0, 8] are outside"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "a: data_offsets"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "a: data_offsets"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "a: its shape"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "a: its shape"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,2],\"data_offsets\":[0,0]}}", 0, "a: its shape"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, "a: its shape"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "a: needs"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", 8, "a: dimension 0"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,9]}}", 8, "a: needs"},
         {"{\"a\":7}", 0, "a: needs"},
         {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1, "a: 9 dimensions"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
          "\"data_offsets\":[4,12]}}",
          12, "b: its data begin at 4, inside"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],"
          "\"data_offsets\":[12,20]}}",
          20, "b: its data begin at 12, behind a hole"},
         {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, "1 bytes at the end"},
         {"{\"a\\nb\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "a?b: its shape"}};
    bytes huge = {0}, cut = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(refused("lie.safetensors", safetensors(bad[i].header, bad[i].data), bad[i].says));
    put_le(&huge, UINT64_MAX, 8);
    put_text(&huge, "{}");
    CHECK(refused("huge.safetensors", huge, "a header of 18446744073709551615 bytes"));
    put_le(&cut, 3, 8);
    put_text(&cut, "{}");
    CHECK(refused("cut.safetensors", cut, "truncated"));
    CHECK(refused("tiny.safetensors", (bytes){0}, "empty"));
}

TEST(files_of_no_known_kind)
{
    bytes text = {0}, pkl = {0};
    mert_error e;
    put_text(&text, "#!/bin/sh\necho I am no model\n");
    CHECK(refused("script.pt", text, "neither safetensors nor a torch file"));
    pickle(&pkl, "}.");
    CHECK(refused("plain.pkl", pkl, "not one that torch.save wrote"));
    CHECK(!mert_checkpoint_open(test_tmp("none.pt"), &e) && strstr(e.text, "none.pt"));
}

/* ---- torch zip ---- */

static bytes tensor_pickle(void)
{
    bytes t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, six, unit), pkl = {0};
    pickle(&pkl, "}( %s %p %s %i u.", "w", &t, "n", 1);
    free(t.p);
    return pkl;
}

TEST(zips_with_a_lying_directory)
{
    static const struct { zip_part part; const char *says; } bad[] = {
        {{.method = 8}, "m/data/k: compressed"},
        {{.local_name = 1}, "m/data/k: the zip directory is wrong: offset"},
        {{.size_more = 1000}, "m/data/k: the zip directory is wrong"},
        {{.size_more = 4}, "m/data/k: the zip directory is wrong"},
        {{.size_more = -4}, "m/data/k: the zip directory is wrong: its data do not end after 20"},
        {{.size_more = -4, .no_descriptor = 1, .agree = 1}, "m/data/k: 20 bytes, data.pkl says 6 elements of 4"},
        {{.size_more = 4, .no_descriptor = 1}, "m/data/k: the zip directory is wrong: 28 bytes here, 24 at offset"},
        {{.size_more = INT64_MAX, .zip64 = 1}, "m/data/k: the zip directory is wrong"},
        {{.offset_more = 4}, "m/data/k: the zip directory is wrong: no entry at offset"},
        {{.offset_more = 1 << 30}, "m/data/k: the zip directory is wrong: no entry at offset"},
        {{.offset_more = -8, .zip64 = 1}, "m/data/k: the zip directory is wrong: no entry at offset"},
        {{.offset_more = INT64_MIN, .zip64 = 1}, "m/data/k: the zip directory is wrong: no entry at offset"}};
    static const struct { zip_lies lies; const char *says; } ends[] = {
        {{.entries_more = 1}, "3 entries in a zip directory"},
        {{.entries_more = 60000}, "entries in a zip directory"}, {{.entries_more = -1}, "goes on behind"},
        {{.size_more = 1}, "is said to be"}, {{.size_more = -1}, "is said to be"},
        {{.offset_more = 1}, "is said to be"}, {{.offset_more = -1}, "is said to be"},
        {{.offset_more = 1 << 30}, "is said to be"}};
    bytes pkl = tensor_pickle();
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        zip_part parts[] = {{.name = "m/data.pkl", .data = pkl.p, .size = pkl.n},
                            bad[i].part,
                            {.name = "m/version", .data = "3\n", .size = 2}};
        parts[1].name = "m/data/k";
        parts[1].data = numbers;
        parts[1].size = sizeof numbers;
        CHECK(refused("lie.pt", zip_file(parts, 3, NULL), bad[i].says));
    }
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        zip_part parts[] = {{.name = "m/data.pkl", .data = pkl.p, .size = pkl.n},
                            {.name = "m/data/k", .data = numbers, .size = sizeof numbers}};
        CHECK(refused("end.pt", zip_file(parts, 2, &ends[i].lies), ends[i].says));
    }
    free(pkl.p);
}

TEST(zips_that_lack_or_repeat_something)
{
    bytes pkl = tensor_pickle();
    zip_part all[] = {{.name = "m/data.pkl", .data = pkl.p, .size = pkl.n},
                      {.name = "m/data/k", .data = numbers, .size = sizeof numbers}};
    zip_part twice[] = {all[0], all[1], all[1]}, two[] = {all[0], all[1], all[0]},
             big[] = {all[0], all[1], {.name = "m/byteorder", .data = "big", .size = 3}};
    zip_part damaged[] = {all[0], all[1]};
    two[2].name = "n/data.pkl";
    damaged[0].wrong_crc = 1;
    CHECK(refused("lacks.pt", zip_file(all, 1, NULL), "m/data/k: not in the zip file"));
    CHECK(refused("nopkl.pt", zip_file(all + 1, 1, NULL), "without data.pkl"));
    CHECK(refused("twice.pt", zip_file(twice, 3, NULL), "m/data/k: twice"));
    CHECK(refused("two.pt", zip_file(two, 3, NULL), "two data.pkl"));
    CHECK(refused("big.pt", zip_file(big, 3, NULL), "big-endian"));
    CHECK(refused("crc.pt", zip_file(damaged, 2, NULL), "data.pkl: the checksum"));
    free(pkl.p);
}

TEST(entries_that_overlap)
{
    bytes pkl = tensor_pickle(), b;
    zip_part parts[] = {{.name = "m/data.pkl", .data = pkl.p, .size = pkl.n},
                        {.name = "m/data/k", .data = numbers, .size = sizeof numbers},
                        {.name = "m/data/j", .data = numbers, .size = sizeof numbers}};
    /* The size of the first entry reaches into the header of the next one. */
    parts[1].size_more = 20;
    parts[1].no_descriptor = parts[1].agree = 1;
    b = zip_file(parts, 3, NULL);
    CHECK(refused("overlap.pt", b, "m/data/k: the zip directory is wrong: it overlaps m/data/j"));
    free(pkl.p);
}

TEST(verify_finds_a_flipped_weight)
{
    bytes pkl = tensor_pickle(), b = torch_zip(&pkl, numbers, sizeof numbers);
    mert_error e;
    mert_checkpoint *c;
    int64_t n;
    unsigned char *at = NULL;
    for (size_t i = 0; i + sizeof numbers <= b.n && !at; i++)
        if (!memcmp(b.p + i, numbers, sizeof numbers))
            at = b.p + i;
    CHECK(at);
    c = mert_checkpoint_open(file_of("good.pt", b.p, b.n), &e);
    CHECK(c && !mert_checkpoint_verify(c, &n, &e) && n > (int64_t)sizeof numbers);
    mert_checkpoint_close(c);
    at[5] ^= 1;
    CHECK((c = open_bytes("flipped.pt", b, &e)));
    CHECK(mert_checkpoint_verify(c, &n, &e) && strstr(e.text, "flipped.pt: m/data/k: the checksum"));
    mert_checkpoint_close(c);
}

/* ---- tensors that do not fit their storage ---- */

TEST(tensors_that_reach_beyond)
{
    static const struct { const char *class; int numel, offset, ndim, shape[2], stride[2]; const char *says; } bad[] = {
        {"torch FloatStorage", 6, 1, 1, {6}, {1}, "w: needs element 6 of a storage of 6"},
        {"torch FloatStorage", 6, 0, 2, {2, 3}, {4, 1}, "w: needs element 6"},
        {"torch FloatStorage", 6, 0, 2, {2147483647, 2147483647}, {2147483647, 2147483647}, "w: "},
        {"torch FloatStorage", 6, -1, 1, {6}, {1}, "w: a tensor that is not described"},
        {"torch FloatStorage", 6, 0, 1, {-6}, {1}, "w: a tensor whose shape"},
        {"torch FloatStorage", 6, 0, 1, {6}, {-1}, "w: a tensor whose shape"},
        {"torch FloatStorage", 6, 0, 2, {2147483647, 6}, {0, 1}, "w: tensors that are not contiguous unfold to more"},
        {"torch FloatStorage", 7, 0, 1, {6}, {1}, "m/data/k: 24 bytes, data.pkl says 7 elements of 4"},
        {"torch FloatStorage", -6, 0, 1, {6}, {1}, "a storage that is not described"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bytes t = tensor_opcodes(bad[i].class, "k", bad[i].numel, bad[i].offset, bad[i].ndim, bad[i].shape,
                                 bad[i].stride),
              pkl = {0};
        pickle(&pkl, "}( %s %p u.", "w", &t);
        free(t.p);
        CHECK(refused("beyond.pt", torch_zip(&pkl, numbers, sizeof numbers), bad[i].says));
    }
}

TEST(names_that_collide)
{
    bytes t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, six, unit), pkl = {0};
    pickle(&pkl, "}( %s %p %s } %s %p s u.", "a.b", &t, "a", "b", &t);
    CHECK(refused("collide.pt", torch_zip(&pkl, numbers, sizeof numbers), "a.b: two tensors of this name"));
    free(t.p);
}

/* ---- hostile pickles ---- */

TEST(attacks_are_named)
{
    bytes pkl = {0};
    pickle(&pkl, "}( %s %c ( %s tR u.", "model", "posix system", "touch /tmp/owned");
    CHECK(refused("attack.pt", torch_zip(&pkl, numbers, sizeof numbers),
                  "data.pkl: offset 14: asks to run posix.system"));
    pickle(&pkl, "%c ( %s tR.", "builtins eval", "1");
    CHECK(refused("attack.bin", pkl, "asks to run builtins.eval"));
}

TEST(values_that_unfold_a_thousandfold)
{
    bytes pkl = {0}, deep = {0}, t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, six, unit);
    /* Ten references to a list of ten references to ..., thirty levels. */
    pickle(&pkl, "](%se q%b", "laugh", 0);
    for (int i = 1; i < 30; i++) {
        put_text(&pkl, "0](");
        for (int k = 0; k < 10; k++) {
            put_text(&pkl, "h");
            put_le(&pkl, (uint64_t)i - 1, 1);
        }
        put_text(&pkl, "eq");
        put_le(&pkl, (uint64_t)i, 1);
    }
    put_text(&pkl, ".");
    CHECK(refused("laughs.pt", torch_zip(&pkl, numbers, sizeof numbers), "unfold to far more"));
    /* The same with tensors at the bottom, under names that grow. */
    pickle(&pkl, "%p q%b", &t, 0);
    for (int i = 1; i < 30; i++) {
        put_text(&pkl, "0](");
        for (int k = 0; k < 10; k++) {
            put_text(&pkl, "h");
            put_le(&pkl, (uint64_t)i - 1, 1);
        }
        put_text(&pkl, "eq");
        put_le(&pkl, (uint64_t)i, 1);
    }
    put_text(&pkl, ".");
    CHECK(refused("tensors.pt", torch_zip(&pkl, numbers, sizeof numbers), "unfold to far more"));
    free(t.p);
    pickle(&deep, "]");
    for (int i = 0; i < 200000; i++)
        put_text(&deep, "]");
    for (int i = 0; i < 200000; i++)
        put_text(&deep, "a");
    put_text(&deep, ".");
    CHECK(refused("deep.pt", torch_zip(&deep, numbers, sizeof numbers), "nested too deeply"));
}

/* ---- damage ---- */

static bytes legacy_file(void)
{
    bytes b = {0}, part = {0}, t = tensor_opcodes("torch FloatStorage", "k", 6, 0, 1, six, unit);
    put(&b, "\x80\2\x8a\n\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
    put(&b, "\x80\2M\xe9\3.", 6);
    pickle(&part, "}( %s \x88 u.", "little_endian");
    put(&b, part.p, part.n);
    part.n = 0;
    pickle(&part, "}( %s %p %s %i u.", "w", &t, "n", 1);
    put(&b, part.p, part.n);
    part.n = 0;
    pickle(&part, "]( %s e.", "k");
    put(&b, part.p, part.n);
    put_le(&b, 6, 8);
    put(&b, numbers, sizeof numbers);
    free(part.p);
    free(t.p);
    return b;
}

/* Reads all data of an accepted file, so that a sanitizer finds sizes that are too large. */
static int use(const char *path)
{
    mert_error e;
    mert_checkpoint *c = mert_checkpoint_open(path, &e);
    int64_t n;
    if (!c)
        return strchr(e.text, '\n') || !*e.text ? -1 : 0;
    for (size_t i = 0; i < mert_checkpoint_count(c); i++) {
        const mert_tensor *t = mert_checkpoint_tensor(c, i);
        float *to = t->elements < 1 << 24 ? malloc((size_t)t->elements * sizeof *to + 1) : NULL;
        if (!to || (mert_tensor_read(t, to, &e) && t->type != MERT_E_OTHER) || !mert_checkpoint_find(c, t->name))
            return -1;
        free(to);
    }
    (void)!mert_checkpoint_verify(c, &n, &e);
    mert_checkpoint_close(c);
    return 1;
}

/* Changes every byte of a small file, with several patterns, and cuts it at every length. */
static int damage(const char *name, bytes b)
{
    static const unsigned char patterns[] = {1, 4, 0x80, 0xff, 0x20};
    const char *path = file_of(name, b.p, b.n);
    char keep[1024];
    int fd, bad = 0;
    snprintf(keep, sizeof keep, "%s", path);
    if (use(keep) != 1 || (fd = open(keep, O_WRONLY)) < 0)
        return -1;
    for (size_t i = 0; i < b.n && !bad; i++)
        for (size_t k = 0; k < sizeof patterns && !bad; k++) {
            unsigned char x = b.p[i] ^ patterns[k];
            if (pwrite(fd, &x, 1, (off_t)i) != 1 || use(keep) < 0)
                bad = 1;
            if (pwrite(fd, b.p + i, 1, (off_t)i) != 1)
                bad = 1;
        }
    for (size_t n = b.n - 1; n > 0 && !bad; n--)
        if (ftruncate(fd, (off_t)n) || use(keep) != 0)
            bad = 1;
    close(fd);
    free(b.p);
    return bad;
}

TEST(damage_to_every_byte_of_small_files)
{
    bytes pkl = tensor_pickle();
    CHECK(
        !damage("damage.safetensors", safetensors("{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\","
                                                  "\"shape\":[1,2],\"data_offsets\":[0,8]},"
                                                  "\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[8,12]}}  ",
                                                  12)));
    CHECK(!damage("damage.pt", torch_zip(&pkl, numbers, sizeof numbers)));
    CHECK(!damage("damage.bin", legacy_file()));
}

TEST(damage_to_real_files)
{
    static const char *const files[] = {"model.safetensors", "pytorch_model.bin", "pytorch_model_legacy.bin",
                                    "fairseq_checkpoint_omegaconf.pt"};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char from[256], to[1024];
        mert_error e;
        mert_mapping m;
        int fd;
        snprintf(from, sizeof from, "mert-post-ln/%s", files[f]);
        CHECK(!mert_mapping_open(&m, test_golden(from), &e));
        snprintf(to, sizeof to, "%s", file_of(files[f], m.data, m.size));
        CHECK((fd = open(to, O_WRONLY)) >= 0);
        /* more densely in the first and last 24 KB, which have the structure */
        for (size_t i = 3; i < m.size; i += i < 24000 || i + 24000 > m.size ? 97 : 40961) {
            unsigned char x = m.data[i] ^ 0x10;
            CHECK(pwrite(fd, &x, 1, (off_t)i) == 1);
            CHECK(use(to) >= 0);
            CHECK(pwrite(fd, m.data + i, 1, (off_t)i) == 1);
        }
        CHECK(use(to) == 1);
        for (size_t n = m.size - 1; n > 20000; n -= 19997) {
            CHECK(!ftruncate(fd, (off_t)n));
            CHECK(use(to) == 0);
        }
        close(fd);
        mert_mapping_close(&m);
    }
}

int main(void)
{
    /* No test needs more than a few megabytes, unless a size is used before it is checked. (Sanitizers reserve
     * terabytes of addresses.) */
    struct rlimit limit = {1u << 30, 1u << 30};
    if (!getenv("MERT_SANITIZED"))
        setrlimit(RLIMIT_AS, &limit);
    RUN(lying_safetensors);
    RUN(files_of_no_known_kind);
    RUN(zips_with_a_lying_directory);
    RUN(zips_that_lack_or_repeat_something);
    RUN(entries_that_overlap);
    RUN(verify_finds_a_flipped_weight);
    RUN(tensors_that_reach_beyond);
    RUN(names_that_collide);
    RUN(attacks_are_named);
    RUN(values_that_unfold_a_thousandfold);
    RUN(damage_to_every_byte_of_small_files);
    RUN(damage_to_real_files);
    return test_done();
}
