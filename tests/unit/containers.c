/* Ogg pages and MP3 headers, in files that are made here byte by byte; and that parsers end on damaged files. */
#include "libcommon/audio/container/flac.h"
#include "libcommon/audio/container/mp3.h"
#include "libcommon/audio/container/ogg.h"
#include "libcommon/audio/container/pipe.h"
#include "libcommon/audio/container/riff.h"
#include "tests/test.h"

enum { ROOM = 1 << 16, FRAME = 960, PRE_SKIP = 312 };

static unsigned char file[ROOM];
static size_t size;
static mert_error e;
static mert_ogg ogg;
static mert_mp3 mp3;

static const char *write_file(void)
{
    const char *path = test_tmp("file");
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(file, 1, size, f) != size || fclose(f))
        return "/nowhere";
    return path;
}

static void put(const void *bytes, size_t n)
{
    memcpy(file + size, bytes, n);
    size += n;
}

static uint32_t page_number;

/* A page of packets of at most 254 bytes each. The checksum by polynomial division, bit by bit. */
static void put_page(uint32_t serial, int flags, int64_t granule, int n, const int *sizes, const unsigned char *bytes)
{
    unsigned char *p = file + size;
    uint32_t crc = 0;
    size_t length = 27 + (size_t)n;
    if (flags & 2)
        page_number = 0;
    memcpy(p, "OggS", 5);
    p[5] = (unsigned char)flags;
    for (int i = 0; i < 8; i++)
        p[6 + i] = (unsigned char)((uint64_t)granule >> 8 * i);
    for (int i = 0; i < 4; i++) {
        p[14 + i] = (unsigned char)(serial >> 8 * i);
        p[18 + i] = (unsigned char)(page_number >> 8 * i);
        p[22 + i] = 0;
    }
    page_number++;
    p[26] = (unsigned char)n;
    for (int i = 0; i < n; i++) {
        p[27 + i] = (unsigned char)sizes[i];
        memcpy(p + length, bytes, (size_t)sizes[i]);
        length += (size_t)sizes[i];
    }
    for (size_t i = 0; i < length; i++) {
        crc ^= (uint32_t)p[i] << 24;
        for (int bit = 0; bit < 8; bit++)
            crc = crc << 1 ^ (crc >> 31 ? 0x04c11db7 : 0);
    }
    for (int i = 0; i < 4; i++)
        p[22 + i] = (unsigned char)(crc >> 8 * i);
    size += length;
}

/* The headers of Opus with a pre-skip of 312. */
static void put_opus_head(uint32_t serial)
{
    unsigned char head[19] = "OpusHead\1\1\70\1\200\273", tags[16] = "OpusTags";
    put_page(serial, 2, 0, 1, (int[]){19}, head);
    put_page(serial, 0, 0, 1, (int[]){16}, tags);
}

/* A page of n packets of 20 ms each: 960 samples. */
static void put_audio(uint32_t serial, int flags, int64_t granule, int n)
{
    unsigned char packets[2 * 50];
    int sizes[50];
    for (int i = 0; i < n; i++) {
        sizes[i] = 2;
        packets[2 * i] = 0xf8;
        packets[2 * i + 1] = 0;
    }
    put_page(serial, flags, granule, n, sizes, packets);
}

static int read_ogg(void)
{
    mert_ogg_free(&ogg);
    return mert_ogg_read(write_file(), &ogg, &e);
}

static void begin(void)
{
    size = 0;
    put_opus_head(7);
}

static int is(int64_t link, int64_t skip, int64_t total)
{
    return ogg.links[link].n == 1 && ogg.links[link].streams[0].skip == skip && ogg.links[link].streams[0].total == total;
}

TEST(the_last_granule_is_the_end)
{
    begin();
    put_audio(7, 0, 10 * FRAME, 10);
    put_audio(7, 4, 15 * FRAME - 1500, 5); /* cuts more than the last packet */
    CHECK(!read_ogg() && ogg.n == 1 && ogg.fault_at == -1 && is(0, PRE_SKIP, 15 * FRAME - 1500 - PRE_SKIP));
}

TEST(one_page_is_cut_at_its_end)
{
    begin();
    put_audio(7, 4, 1000, 3);
    CHECK(!read_ogg() && ogg.fault_at == -1 && is(0, PRE_SKIP, 1000 - PRE_SKIP));
    begin();
    put_audio(7, 4, 5 * FRAME, 3); /* no more samples than in its packets */
    CHECK(!read_ogg() && is(0, PRE_SKIP, 3 * FRAME - PRE_SKIP));
}

TEST(the_first_granule_is_the_start)
{
    begin();
    put_audio(7, 0, 2 * FRAME - 100, 2); /* 100 samples in front of zero */
    put_audio(7, 4, 4 * FRAME - 100, 2);
    CHECK(!read_ogg() && is(0, PRE_SKIP + 100, 4 * FRAME - 100 - PRE_SKIP));
    begin();
    put_audio(7, 0, 1000000, 2); /* from a longer stream: no silence is added, nothing is dropped */
    put_audio(7, 4, 1000000 + 2 * FRAME - 60, 2);
    CHECK(!read_ogg() && is(0, PRE_SKIP, 4 * FRAME - 60 - PRE_SKIP));
}

TEST(a_granule_far_in_front_of_zero)
{
    begin();
    put_audio(7, 0, INT64_MIN, 2); /* all of the page is dropped */
    put_audio(7, 4, 2 * FRAME - 60, 2);
    CHECK(!read_ogg() && ogg.fault_at == -1 && is(0, PRE_SKIP + 2 * FRAME, 2 * FRAME - 60 - PRE_SKIP));
}

TEST(links_of_a_chain)
{
    int64_t second;
    begin();
    put_audio(7, 4, 2 * FRAME, 2);
    second = (int64_t)size;
    put_opus_head(7); /* the same serial number */
    put_audio(7, 4, 3 * FRAME, 3);
    CHECK(!read_ogg() && ogg.n == 2 && ogg.fault_at == -1);
    CHECK(is(0, PRE_SKIP, 2 * FRAME - PRE_SKIP) && is(1, PRE_SKIP, 3 * FRAME - PRE_SKIP));
    CHECK(ogg.links[0].begin == 0 && ogg.links[0].end == second && ogg.links[1].begin == second);
}

TEST(a_link_without_its_last_page_is_a_fault)
{
    int64_t second;
    begin();
    put_audio(7, 0, 2 * FRAME, 2);
    second = (int64_t)size;
    put_opus_head(8);
    put_audio(8, 4, 3 * FRAME, 3);
    CHECK(!read_ogg() && ogg.n == 1 && ogg.fault_at == second && strstr(ogg.fault.text, "without its last page"));
}

TEST(a_stream_beside_the_audio)
{
    begin();
    size = 0;
    put_page(5, 2, 0, 1, (int[]){8}, (const unsigned char *)"fishead");
    put_opus_head(7);
    put_audio(7, 4, 2 * FRAME, 2);
    page_number = 1;
    put_page(5, 0, 0, 1, (int[]){8}, (const unsigned char *)"fisbone"); /* a last page is not needed */
    CHECK(!read_ogg() && ogg.n == 1 && ogg.fault_at == -1 && ogg.links[0].n == 2);
    CHECK(!ogg.links[0].streams[0].audio && ogg.links[0].streams[1].total == 2 * FRAME - PRE_SKIP);
}

TEST(opus_packets)
{
    static const struct { unsigned char p[2]; int n; } of[] = {
        {{0xf8, 0}, 960}, {{0x00, 0}, 480}, {{0x18, 0}, 2880}, {{0x60, 0}, 480}, {{0x68, 0}, 960}, {{0x80, 0}, 120},
        {{0xf9, 0}, 1920}, {{0xfa, 0}, 1920}, {{0xfb, 3}, 2880}, {{0xfb, 7}, 0}, {{0x1b, 0x82}, 5760}};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        CHECK(mert_opus_samples(of[i].p, 2) == of[i].n);
    CHECK(mert_opus_samples(of[8].p, 1) == 0 && mert_opus_samples(of[8].p, 0) == 0);
}

/* ---- MP3: MPEG-1 layer III, 44.1 kHz, 128 kbit/s, one channel: 417 bytes a frame ---- */

enum { MP3 = 417 };

static void put_frames(int n)
{
    for (int i = 0; i < n; i++) {
        memset(file + size, 0x55, MP3);
        memcpy(file + size, "\xff\xfb\x90\xc0", 4);
        size += MP3;
    }
}

/* An Info frame with these numbers of frames and bytes; LAME: 576 samples of delay, 1000 of padding. */
static void put_info(uint32_t frames, uint32_t bytes)
{
    unsigned char *p = file + size + 4 + 17;
    put_frames(1);
    memset(file + size - MP3 + 4, 0, MP3 - 4);
    memcpy(p, "Info\0\0\0\3", 8);
    for (int i = 0; i < 4; i++) {
        p[8 + i] = (unsigned char)(frames >> 8 * (3 - i));
        p[12 + i] = (unsigned char)(bytes >> 8 * (3 - i));
    }
    memcpy(p + 16, "LAME3.100", 9);
    memcpy(p + 37, "\x24\x03\xe8", 3);
}

static int read_mp3(void) { return mert_mp3_read(write_file(), &mp3, &e); }

TEST(an_mp3_between_other_bytes)
{
    unsigned char ape[32] = "APETAGEX";
    ape[12] = 132; /* items of 100 bytes, and this footer */
    size = 0;
    put("ID3\3\0\0\0\0\0\12----------", 20);
    put("\0\0\0\0\0\0\0\0\0", 9); /* not in the tag */
    put_info(8, 9 * MP3);
    put_frames(8);
    memset(file + size, 1, 100);
    size += 100;
    put(ape, 32);
    memcpy(file + size, "TAG", 3);
    memset(file + size + 3, 0, 125);
    size += 128;
    CHECK(read_mp3() == 1);
    CHECK(mp3.head == 20 && mp3.begin == 29 && mp3.end == 29 + 9 * MP3 && mp3.size == (int64_t)size);
    CHECK(mp3.rate == 44100 && mp3.samples == 1152 && mp3.frames == 8 && mp3.told == 8 && mp3.told_bytes == 9 * MP3);
    CHECK(mp3.delay == 576 && mp3.padding == 1000);
}

TEST(an_mp3_that_tells_nothing)
{
    size = 0;
    put_frames(5);
    put("garbage", 7);
    CHECK(read_mp3() == 1 && mp3.begin == 0 && mp3.end == 5 * MP3 && mp3.frames == 5 && mp3.told == -1 && mp3.delay == -1);
    size = 100;
    memset(file, 0xff, size);
    CHECK(read_mp3() == 0);
}

TEST(free_format)
{
    size = 0;
    for (int i = 0; i < 4; i++) {
        memset(file + size, 0x11, 700);
        memcpy(file + size, "\xff\xfb\x00\xc0", 4);
        size += 700;
    }
    CHECK(mert_mp3_is_free_format(write_file()));
    file[700] = 0;
    CHECK(!mert_mp3_is_free_format(write_file()));
    size = 0;
    put_frames(4);
    CHECK(!mert_mp3_is_free_format(write_file()));
}

/* The number of frames in the header, read as a file and as a pipe; -2: these differ. */
static int64_t frames_of_wav(int how)
{
    AVCodecParameters *p = avcodec_parameters_alloc(), *q = avcodec_parameters_alloc();
    const char *path = write_file();
    AVIOContext *pipe = mert_pipe_open(path, &e);
    int64_t n, piped;
    int same = p && q && pipe && mert_wav_settle(path, NULL, p, &n, &e) == how &&
               mert_wav_settle(NULL, pipe, q, &piped, &e) == how && n == piped;
    mert_pipe_close(&pipe);
    avcodec_parameters_free(&p);
    avcodec_parameters_free(&q);
    return same ? n : -2;
}

static void put_little(uint64_t x, int n)
{
    for (; n-- > 0; x >>= 8)
        file[size++] = (unsigned char)x;
}

static void put_format(void)
{
    put_little(1, 2), put_little(1, 2), put_little(8000, 4), put_little(16000, 4), put_little(2, 2), put_little(16, 2);
}

TEST(frames_of_wav_and_w64)
{
    size = 0;
    put("RIFF\0\0\0\0WAVEfmt \20\0\0", 20);
    put_format();
    CHECK(frames_of_wav(1) == -1); /* no samples: the count is not known, which is not 0 */
    put("data", 4), put_little(6, 4), put("......", 6);
    CHECK(frames_of_wav(1) == 3);
    size = 0;
    put("riff............................................", 40);
    put("fmt ............", 16), put_little(UINT64_C(1) << 33 | 40, 8), put_format(); /* beyond the end of the file */
    put("data............", 16), put_little(30, 8), put("......", 6);
    CHECK(frames_of_wav(1) == -1);
    memset(file + 40 + 20, 0, 4); /* the size's upper half */
    CHECK(frames_of_wav(1) == 3);
}

TEST(bits_of_flac)
{
    size = 0;
    put("ID3\4\0\0\0\0\0\3abc", 13);
    put("fLaC\0\0\0\42", 8);
    put("\20\0\20\0\0\0\0\0\0\0\12\304\101\360\0\0\0\0", 18);
    CHECK(mert_flac_bits(write_file()) == 32);
    file[13 + 21] = 0x70;
    file[13 + 20] = 0x42;
    CHECK(mert_flac_bits(write_file()) == 8);
    size = 5;
    CHECK(mert_flac_bits(write_file()) == 0);
}

/* ---- damage ---- */

static uint32_t random_state = 1;

static uint32_t next_random(void) { return random_state = random_state * 1664525 + 1013904223; }

/* Changes bytes and cuts the file, 400 times: every parser ends, and its positions are inside the file. */
TEST(damage_ends_every_walk)
{
    static unsigned char good[2][ROOM];
    size_t sizes[2];
    begin();
    put_audio(7, 0, 2 * FRAME, 50);
    put_audio(7, 4, 90 * FRAME, 50);
    put_opus_head(8);
    put_audio(8, 4, 3 * FRAME, 3);
    memcpy(good[0], file, sizes[0] = size);
    size = 0;
    put("ID3\3\0\0\0\0\0\12----------", 20);
    put_info(20, 21 * MP3);
    put_frames(20);
    memcpy(good[1], file, sizes[1] = size);
    for (int turn = 0; turn < 400; turn++) {
        int which = turn & 1;
        memcpy(file, good[which], size = sizes[which]);
        for (uint32_t n = next_random() % 8 + 1; n--;)
            file[next_random() % size >> (next_random() % 3 ? 0 : 4)] = (unsigned char)(next_random() >> 20);
        if (next_random() & 0x10000)
            size = next_random() % size;
        CHECK(!read_ogg() && ogg.fault_at < (int64_t)size + 1 && ogg.n <= 2);
        CHECK(read_mp3() >= 0 && mp3.end <= (int64_t)size && mp3.frames <= 21);
        mert_mp3_is_free_format(test_tmp("file"));
        mert_flac_bits(test_tmp("file"));
    }
}

int main(void)
{
    RUN(the_last_granule_is_the_end);
    RUN(one_page_is_cut_at_its_end);
    RUN(the_first_granule_is_the_start);
    RUN(a_granule_far_in_front_of_zero);
    RUN(links_of_a_chain);
    RUN(a_link_without_its_last_page_is_a_fault);
    RUN(a_stream_beside_the_audio);
    RUN(opus_packets);
    RUN(an_mp3_between_other_bytes);
    RUN(an_mp3_that_tells_nothing);
    RUN(free_format);
    RUN(frames_of_wav_and_w64);
    RUN(bits_of_flac);
    RUN(damage_ends_every_walk);
    mert_ogg_free(&ogg);
    return test_done();
}
