/* .npy files: NumPy's files are read, ours follow NumPy's rules, invalid ones are refused. */
#include "formats/npy.h"
#include "tests/npy.h"
#include "tests/test.h"

static int save(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wb");
    int bad = !f || fwrite(data, 1, size, f) != size;
    return (f && fclose(f)) || bad;
}

/* Makes a version 1.0 file with this header text, followed by bytes 0, 1, 2, ... */
static const char *forge(const char *header, size_t bytes)
{
    static unsigned char file[4096];
    size_t n = strlen(header);
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (unsigned char)n;
    file[9] = (unsigned char)(n >> 8);
    memcpy(file + 10, header, n);
    for (size_t i = 0; i < bytes; i++)
        file[10 + n + i] = (unsigned char)i;
    return save(test_tmp("forged.npy"), file, 10 + n + bytes) ? "" : test_tmp("forged.npy");
}

TEST(reads_files_of_numpy)
{
    mert_npy a;
    mert_error e;
    CHECK(!mert_npy_open(&a, test_golden("kmeans/centroids.npy"), &e));
    CHECK(a.type == MERT_NPY_F32 && a.ndim == 2 && a.shape[0] == 40 && a.shape[1] == 12 && a.elements == 480);
    float *x = mert_npy_floats(&a, &e);
    CHECK(x && !memcmp(x, a.data, 480 * sizeof *x));
    free(x);
    mert_npy_close(&a);
    CHECK(!mert_npy_open(&a, test_golden("kmeans/labels.npy"), &e));
    CHECK(a.type == MERT_NPY_I32 && a.ndim == 1 && a.elements == 16000);
    int64_t last[3];
    CHECK(!mert_npy_to_ints(&a, 15997, 3, last));
    for (int i = 0; i < 3; i++)
        CHECK(last[i] >= 0 && last[i] < 40 && last[i] == a.data[4 * (15997 + i)]);
    mert_npy_close(&a);
}

TEST(every_type_comes_back)
{
    static const int64_t values[] = {0, 1, 2, 100, -3, 127};
    for (int t = 0; t < MERT_NPY_TYPES; t++) {
        unsigned char data[6 * 8];
        static const uint16_t halves[] = {0, 0x3c00, 0x4000, 0x5640, 0xc200, 0x57f0};
        int64_t shape[] = {-1, 3}, ints[6];
        float floats[6];
        mert_npy a;
        mert_error e;
        int has_sign = t != MERT_NPY_U16 && t != MERT_NPY_U8 && t != MERT_NPY_BOOL;
        for (int i = 0; i < 6; i++) {
            int64_t v = has_sign || values[i] >= 0 ? values[i] : 0;
            float f = (float)v;
            double d = (double)v;
            v = t == MERT_NPY_BOOL ? v != 0 : v;
            size_t size = mert_npy_type_size((mert_npy_type)t);
            const void *from = t == MERT_NPY_F32   ? (void *)&f
                               : t == MERT_NPY_F64 ? (void *)&d
                               : t == MERT_NPY_F16 ? (void *)&halves[i]
                                                   : (void *)&v;
            memcpy(data + (size_t)i * size, from, size);
        }
        mert_npy_writer *w = mert_npy_create(test_tmp("t.npy"), (mert_npy_type)t, 2, shape, &e);
        CHECK(w && !mert_npy_append(w, data, 3, &e));
        CHECK(!mert_npy_append(w, data + 3 * mert_npy_type_size((mert_npy_type)t), 3, &e));
        CHECK(!mert_npy_commit(w, &e));
        CHECK(!mert_npy_open(&a, test_tmp("t.npy"), &e));
        CHECK((int)a.type == t && a.ndim == 2 && a.shape[0] == 2 && a.shape[1] == 3 && a.elements == 6);
        CHECK((a.data - a.mapping.data) % 64 == 0);
        mert_npy_to_floats(&a, 0, 6, floats);
        CHECK(mert_npy_to_ints(&a, 0, 6, ints) == (mert_npy_type_is_integer((mert_npy_type)t) ? 0 : -1));
        for (int i = 0; i < 6; i++) {
            int64_t v = t == MERT_NPY_BOOL ? values[i] > 0 : has_sign || values[i] >= 0 ? values[i] : 0;
            v = t == MERT_NPY_BOOL && i == 4 ? 0 : v;
            CHECK(floats[i] == (float)v);
            CHECK(!mert_npy_type_is_integer((mert_npy_type)t) || ints[i] == v);
        }
        mert_npy_close(&a);
    }
}

TEST(halves_are_exact)
{
    static const uint16_t halves[] = {0x0001, 0x83ff, 0x0400, 0x7bff, 0x3555, 0xbc00, 0x7c00, 0xfc00, 0x7e00};
    static const float floats[] = {0x1p-24f, -1023 * 0x1p-24f, 0x1p-14f, 65504, 0x1.554p-2f, -1, INFINITY, -INFINITY};
    int64_t shape[] = {9};
    float back[9];
    mert_npy a;
    mert_error e;
    CHECK(!put_npy(test_tmp("h.npy"), MERT_NPY_F16, 1, shape, halves, &e)
          && !mert_npy_open(&a, test_tmp("h.npy"), &e));
    mert_npy_to_floats(&a, 0, 9, back);
    CHECK(!memcmp(back, floats, sizeof floats) && isnan(back[8]));
    mert_npy_close(&a);
}

TEST(shapes_of_every_rank)
{
    mert_npy a;
    mert_error e;
    float x = 7;
    int64_t shape[MERT_NPY_NDIM_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
    for (int ndim = 0; ndim <= MERT_NPY_NDIM_MAX; ndim++) {
        CHECK(!put_npy(test_tmp("r.npy"), MERT_NPY_F32, ndim, shape, &x, &e));
        CHECK(!mert_npy_open(&a, test_tmp("r.npy"), &e) && a.ndim == ndim && a.elements == 1 && !memcmp(a.data, &x, 4));
        mert_npy_close(&a);
    }
    shape[1] = 0;
    CHECK(!put_npy(test_tmp("r.npy"), MERT_NPY_F32, 2, shape, &x, &e));
    CHECK(!mert_npy_open(&a, test_tmp("r.npy"), &e) && a.elements == 0 && !a.data);
    mert_npy_close(&a);
    CHECK(!mert_npy_open(&a, forge("{'shape': (3,), 'descr': \"|u1\", 'fortran_order': False}\n", 3), &e)
          && a.data[2] == 2);
    mert_npy_close(&a);
}

TEST(fortran_order_is_turned)
{
    mert_npy a;
    mert_error e;
    CHECK(!mert_npy_open(&a, forge("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }\n", 24), &e));
    CHECK(a.ndim == 3 && a.elements == 24);
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++)
                CHECK(a.data[(i * 3 + j) * 4 + k] == i + 2 * j + 6 * k);
    mert_npy_close(&a);
    CHECK(!mert_npy_open(&a, forge("{'descr': '<u2', 'fortran_order': True, 'shape': (3,), }\n", 6), &e));
    CHECK(!a.row_major && a.data[5] == 5);
    mert_npy_close(&a);
    CHECK(!mert_npy_open(&a, forge("{'descr': '<u2', 'fortran_order': True, 'shape': (3, 0), }\n", 0), &e)
          && a.elements == 0);
    mert_npy_close(&a);
}

TEST(the_shape_must_be_filled)
{
    mert_error e;
    int64_t shape[] = {2, 3};
    float data[6] = {0};
    mert_npy_writer *w = mert_npy_create(test_tmp("short.npy"), MERT_NPY_F32, 2, shape, &e);
    CHECK(w && !mert_npy_append(w, data, 5, &e) && mert_npy_commit(w, &e) == -1
          && strstr(e.text, "do not fill its shape"));
    FILE *f = fopen(test_tmp("short.npy"), "rb");
    CHECK(!f); /* contract F4: no incomplete file has the name */
}

static int refuses(const char *header, size_t bytes, const char *why)
{
    mert_npy a;
    mert_error e = {{0}};
    int bad = mert_npy_open(&a, forge(header, bytes), &e) == -1 && strstr(e.text, why)
              && strstr(e.text, "forged.npy: ");
    if (!bad)
        printf("# '%s' instead of '%s'\n", e.text, why);
    return bad;
}

TEST(what_lies_is_refused_by_name)
{
    CHECK(refuses("{'descr': '<f4', 'fortran_order': True, 'shape': (4294967296, 4294967296), }", 8,
                  "less than its shape needs"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2, 2), }", 16, "at fortran_order"));
    CHECK(refuses("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8, "type '>f4'"));
    CHECK(refuses("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", 16, "type '<c8'"));
    CHECK(refuses("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 16, "type '|O'"));
    CHECK(refuses("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, "structured"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8, "less than its shape needs"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 8,
                  "holds 8 bytes of data where its shape needs 4"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 4), }", 8, ""));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", 8,
                  "less than its shape needs"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999999,), }", 8, ""));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 8, "bad shape"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 4, "bad shape"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False, 'shape': (1 1), }", 4, "bad shape"));
    CHECK(refuses("{'descr': '<f4', 'fortran_order': False}", 4, "not complete"));
    CHECK(refuses("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "twice"));
    CHECK(refuses("{'descr': '<f4', 'extra': 1}", 4, "field 'extra'"));
    CHECK(refuses("{'descr': '<f4", 4, "structured"));
    CHECK(refuses("", 0, "no dictionary"));
    mert_npy a;
    mert_error e;
    CHECK(!save(test_tmp("a.npy"), "\x93NUMPY\1\0\xff\xff{", 11));
    CHECK(mert_npy_open(&a, test_tmp("a.npy"), &e) == -1 && strstr(e.text, "cut short"));
    CHECK(!save(test_tmp("a.npy"), "\x93NUMPY\2\0\xff\xff\xff\xff{", 13));
    CHECK(mert_npy_open(&a, test_tmp("a.npy"), &e) == -1 && strstr(e.text, "absurdly long"));
    CHECK(!save(test_tmp("a.npy"), "\x93NUMPY\3\0\xff\xff\xff\xff{", 13));
    CHECK(mert_npy_open(&a, test_tmp("a.npy"), &e) == -1 && strstr(e.text, "version 3.0"));
    CHECK(!save(test_tmp("a.npy"), "RIFF", 4));
    CHECK(mert_npy_open(&a, test_tmp("a.npy"), &e) == -1 && strstr(e.text, "not a npy file"));
    CHECK(mert_npy_open(&a, test_tmp("none.npy"), &e) == -1 && strstr(e.text, "No such file"));
}

TEST(every_cut_is_refused)
{
    char file[256];
    mert_npy a;
    mert_error e;
    FILE *f = fopen(forge("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }\n", 16), "rb");
    size_t size = fread(file, 1, sizeof file, f);
    fclose(f);
    for (size_t n = 0; n < size; n++) {
        CHECK(!save(test_tmp("cut.npy"), file, n));
        CHECK(mert_npy_open(&a, test_tmp("cut.npy"), &e) == -1);
    }
}

int main(void)
{
    RUN(reads_files_of_numpy);
    RUN(every_type_comes_back);
    RUN(halves_are_exact);
    RUN(shapes_of_every_rank);
    RUN(fortran_order_is_turned);
    RUN(the_shape_must_be_filled);
    RUN(what_lies_is_refused_by_name);
    RUN(every_cut_is_refused);
    return test_done();
}
