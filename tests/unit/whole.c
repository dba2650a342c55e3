/* Checks of truncated containers: correct results for small files that are made here; no crash on damaged ones. */
#include "tests/test.h"

#include "libcommon/audio/container/whole.h"

#include <stdint.h>

static unsigned char bytes[4096];
static size_t n;

static void put(const void *p, size_t size)
{
    memcpy(bytes + n, p, size);
    n += size;
}

static void put_big(uint64_t x, int size)
{
    while (size-- > 0)
        bytes[n++] = (unsigned char)(x >> 8 * size);
}

static void put_little(uint64_t x, int size)
{
    for (; size-- > 0; x >>= 8)
        bytes[n++] = (unsigned char)x;
}

static void put_zeros(size_t size)
{
    memset(bytes + n, 0, size);
    n += size;
}

/* The result for the first `size` bytes. */
static mert_whole check(const char *demuxer, size_t size)
{
    mert_whole w;
    FILE *f = fopen(test_tmp("file"), "wb");
    if (!f || fwrite(bytes, 1, size, f) != size || fclose(f))
        abort();
    if (mert_whole_check(demuxer, test_tmp("file"), &w, NULL))
        abort();
    return w;
}

/* ---- one file of each kind, with 200 bytes of samples ---- */

static void make_wav(void)
{
    put("RIFF", 4), put_little(236, 4), put("WAVEfmt ", 8), put_little(16, 4);
    put_little(1, 2), put_little(1, 2), put_little(8000, 4), put_little(16000, 4), put_little(2, 2), put_little(16, 2);
    put("data", 4), put_little(200, 4), put_zeros(200);
}

static void make_aiff(void)
{
    put("FORM", 4), put_big(254, 4), put("AIFFCOMM", 8), put_big(18, 4);
    put_big(1, 2), put_big(100, 4), put_big(16, 2), put_zeros(10);
    put("SSND", 4), put_big(208, 4), put_zeros(208);
}

static void make_au(void)
{
    put(".snd", 4), put_big(24, 4), put_big(200, 4), put_big(3, 4), put_big(8000, 4), put_big(1, 4), put_zeros(200);
}

static void make_caf(void)
{
    put("caff", 4), put_big(0x10000, 4), put("desc", 4), put_big(32, 8), put_zeros(32);
    put("data", 4), put_big(204, 8), put_zeros(204);
}

static void make_mp4(void)
{
    put_big(16, 4), put("ftypM4A ", 8), put_zeros(4), put_big(208, 4), put("mdat", 4), put_zeros(200);
}

static void make_avi(void)
{
    put("RIFF", 4), put_little(216, 4), put("AVI LIST", 8), put_little(204, 4), put("movi", 4), put_zeros(200);
}

static void make_flv(void)
{
    put("FLV\1\4", 5), put_big(9, 4), put_big(0, 4);
    put_big(8, 1), put_big(200, 3), put_zeros(7), put_zeros(200), put_big(211, 4);
}

static void make_matroska(void)
{
    put("\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\0\0\0\0\0\0\xc8", 17), put_zeros(200);
}

static void make_musepack(void)
{
    put("MPCKAP\x81\x4c", 8), put_zeros(200), put("SE\x03", 3);
}

static void make_adts(void)
{
    for (int i = 0; i < 2; i++)
        put("\xff\xf1\x50\x80\x0c\x9f\xfc", 7), put_zeros(93); /* 100 bytes */
}

static void make_real(void)
{
    put(".RMF", 4), put_big(18, 4), put_zeros(10), put("DATA", 4), put_big(218, 4), put_zeros(210);
}

static const struct {
    const char *demuxer;
    void (*make)(void);
    size_t tail;   /* bytes at the end that can be removed without being missed */
    const char *says; /* the message for a file without the tail and 30 more bytes */
} kinds[] = {{"wav", make_wav, 0, "its data chunk promises 200 bytes, 170 are there"},
             {"aiff", make_aiff, 0, "its SSND chunk promises 208 bytes, 178 are there"},
             {"au", make_au, 0, "its header promises 200 bytes, 170 are there"},
             {"caf", make_caf, 0, "its data chunk promises 204 bytes, 174 are there"},
             {"mov,mp4,m4a,3gp,3g2,mj2", make_mp4, 0, "its box mdat promises 208 bytes, 178 are there"},
             {"avi", make_avi, 0, "its list of packets promises 204 bytes, 174 are there"},
             {"flv", make_flv, 4, "its last tag promises 200 bytes, 170 are there"},
             {"matroska,webm", make_matroska, 0, "its segment promises 200 bytes, 170 are there"},
             {"mpc8", make_musepack, 3, "its last packet promises 204 bytes, 174 are there"},
             {"aac", make_adts, 0, "its last frame, at byte 100, promises 100 bytes, 70 are there"},
             {"rm", make_real, 18, "its DATA chunk promises 200 bytes, 170 are there"}};

enum { KINDS = sizeof kinds / sizeof *kinds };

static void make(int kind)
{
    n = 0;
    kinds[kind].make();
}

TEST(what_is_whole_misses_nothing)
{
    for (int i = 0; i < KINDS; i++) {
        make(i);
        CHECK(!*check(kinds[i].demuxer, n).cut.text);
        put_zeros(100); /* not cut, with zeros after it */
        CHECK(!*check(kinds[i].demuxer, n).cut.text);
    }
}

TEST(what_is_cut_says_both_figures)
{
    for (int i = 0; i < KINDS; i++) {
        make(i);
        CHECK(!strcmp(check(kinds[i].demuxer, n - kinds[i].tail - 30).cut.text, kinds[i].says));
        CHECK(*check(kinds[i].demuxer, n - kinds[i].tail - 1).cut.text);
    }
}

TEST(sizes_of_a_pipe_promise_nothing)
{
    static const struct {
        const char *demuxer;
        void (*make)(void);
        size_t at;
        const char *size;
        size_t bytes;
    } piped[] = {
        {"wav", make_wav, 40, "\xff\xff\xff\xff", 4}, {"wav", make_wav, 40, "\0\0\0\0", 4},
        {"wav", make_wav, 40, "\xff\xff\xff\x7f", 4}, {"au", make_au, 8, "\xff\xff\xff\xff", 4},
        {"caf", make_caf, 56, "\xff\xff\xff\xff\xff\xff\xff\xff", 8}, {"avi", make_avi, 16, "\xff\xff\xff\xff", 4},
        {"mov,mp4,m4a,3gp,3g2,mj2", make_mp4, 16, "\0\0\0\0", 4},
        {"matroska,webm", make_matroska, 9, "\x01\xff\xff\xff\xff\xff\xff\xff", 8}};
    for (size_t i = 0; i < sizeof piped / sizeof *piped; i++) {
        n = 0;
        piped[i].make();
        memcpy(bytes + piped[i].at, piped[i].size, piped[i].bytes);
        CHECK(!*check(piped[i].demuxer, n - 30).cut.text);
    }
}

TEST(audio_ends_before_what_others_put_behind_it)
{
    size_t whole;
    make(10 - 1); /* ADTS */
    whole = n;
    put("APETAGEX and more", 17);
    CHECK(check("aac", n).end == (int64_t)whole);
    make(2);
    whole = n;
    put("TAG", 3);
    CHECK(check("au", n).end == (int64_t)whole);
    make(8);
    whole = n;
    put("APETAGEX", 8);
    CHECK(check("mpc8", n).end == (int64_t)whole);
}

/* 300 samples, the first 20 are silence; the decoder adds 481. */
TEST(musepack_says_which_samples_count)
{
    mert_whole w;
    n = 0;
    put("MPCKSH\x0b\0\0\0\0\x08\x82\x2c\x14", 15), put("SE\x03", 3);
    w = check("mpc8", n);
    CHECK(w.skip == 501);
    CHECK(w.keep == 280);
    make(8); /* without a header */
    CHECK(check("mpc8", n).keep == -1);
}

TEST(tags_in_front_are_passed)
{
    for (int i = 0; i < KINDS; i++) {
        unsigned char front[30] = "ID3\4\0\0\0\0\0\x14";
        make(i);
        memmove(bytes + 30, bytes, n);
        memcpy(bytes, front, 30);
        CHECK(!*check(kinds[i].demuxer, n + 30).cut.text);
        CHECK(*check(kinds[i].demuxer, n + 30 - kinds[i].tail - 1).cut.text);
    }
}

TEST(any_bytes_have_an_answer)
{
    uint32_t state = 1;
    for (int i = 0; i < KINDS; i++)
        for (int trial = 0; trial < 300; trial++) {
            mert_whole w;
            make(i);
            for (int flips = trial % 7 + 1; flips > 0; flips--) {
                state = state * 1664525 + 1013904223;
                bytes[(state >> 8) % (trial & 1 ? n : 64)] = (unsigned char)(state & 1 ? 0xff : state >> 24);
            }
            w = check(kinds[i].demuxer, n - (state >> 16) % 50);
            CHECK(w.end >= -1 && strlen(w.cut.text) < sizeof w.cut.text);
        }
}

int main(void)
{
    RUN(what_is_whole_misses_nothing);
    RUN(what_is_cut_says_both_figures);
    RUN(sizes_of_a_pipe_promise_nothing);
    RUN(audio_ends_before_what_others_put_behind_it);
    RUN(musepack_says_which_samples_count);
    RUN(tags_in_front_are_passed);
    RUN(any_bytes_have_an_answer);
    return test_done();
}
