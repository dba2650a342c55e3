/* TensorBoard's event files, read back by a reader of the documented format that knows nothing of the writer. */
#include "libcommon/train/monitor/events.h"

#include "formats/file.h"
#include "tests/test.h"

#include <dirent.h>
#include <math.h>

static mert_error e;

/* ---- the reader ---- */

/* CRC-32C by division of polynomials, the most significant bit first: the reflected input, and the result reflected. */
static uint32_t reflect(uint32_t x, int bits)
{
    uint32_t y = 0;
    for (int i = 0; i < bits; i++)
        y |= (x >> i & 1) << (bits - 1 - i);
    return y;
}

static uint32_t crc_of(const uint8_t *p, size_t n)
{
    uint32_t rest = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        rest ^= reflect(p[i], 8) << 24;
        for (int bit = 0; bit < 8; bit++)
            rest = rest & 0x80000000 ? rest << 1 ^ 0x1edc6f41 : rest << 1;
    }
    return reflect(~rest, 32);
}

static uint64_t little(const uint8_t *p, int n)
{
    uint64_t x = 0;
    for (int i = n - 1; i >= 0; i--)
        x = x << 8 | p[i];
    return x;
}

static int crc_fits(const uint8_t *p, size_t n, const uint8_t *stored)
{
    uint32_t crc = crc_of(p, n);
    return (uint32_t)little(stored, 4) == (uint32_t)(((crc >> 15) | (crc << 17)) + 0xa282ead8);
}

typedef struct field {
    int number, type;
    uint64_t value; /* or the length */
    const uint8_t *bytes;
} field;

static uint64_t read_varint(const uint8_t **p)
{
    uint64_t x = 0;
    int shift = 0;
    for (; **p & 128; shift += 7)
        x |= (uint64_t)(*(*p)++ & 127) << shift;
    return x | (uint64_t)*(*p)++ << shift;
}

static field read_field(const uint8_t **p)
{
    uint64_t head = read_varint(p);
    field f = {.number = (int)(head >> 3), .type = (int)(head & 7)};
    if (f.type == 0)
        f.value = read_varint(p);
    else if (f.type == 2)
        f.value = read_varint(p);
    else
        f.value = f.type == 1 ? 8 : 4;
    f.bytes = *p;
    *p += f.type == 0 ? 0 : f.value;
    return f;
}

typedef struct event {
    double wall;
    int64_t step;
    field what; /* 3, 5 or 7 */
} event;

/* The record at *p, which moves on. 0: damaged. */
static int read_event(const uint8_t **p, const uint8_t *end, event *v)
{
    uint64_t n = little(*p, 8), bits;
    const uint8_t *at = *p + 12, *stop = at + n;
    if (end - *p < 16 || (uint64_t)(end - *p) < 16 + n || !crc_fits(*p, 8, *p + 8) || !crc_fits(at, n, stop))
        return 0;
    *v = (event){.step = -1};
    while (at < stop) {
        field f = read_field(&at);
        if (f.number == 1) {
            bits = little(f.bytes, 8);
            memcpy(&v->wall, &bits, sizeof bits);
        } else if (f.number == 2)
            v->step = (int64_t)f.value;
        else
            v->what = f;
    }
    *p = stop + 4;
    return at == stop;
}

/* Value i of a summary; NAN: it has not so many. */
static double value_of(const event *v, int i, char tag[64])
{
    const uint8_t *p = v->what.bytes, *end = p + v->what.value;
    while (p < end) {
        field value = read_field(&p);
        const uint8_t *at = value.bytes;
        field name = read_field(&at), number = read_field(&at);
        uint32_t bits = (uint32_t)little(number.bytes, 4);
        float x;
        memcpy(&x, &bits, sizeof x);
        if (value.number != 1 || name.number != 1 || number.number != 2 || number.type != 5 || i--)
            continue;
        snprintf(tag, 64, "%.*s", (int)name.value, (const char *)name.bytes);
        return (double)x;
    }
    return NAN;
}

/* The only file of a folder, read and removed. */
static uint8_t *only_file(const char *folder, size_t *size)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    uint8_t *text = NULL;
    int n = 0;
    while (d && (entry = readdir(d)))
        if (strstr(entry->d_name, "events.out.tfevents.") == entry->d_name) {
            char *path = mert_path_join(folder, entry->d_name);
            free(text);
            text = (uint8_t *)mert_file_read(path, 1 << 20, size, &e);
            remove(path);
            free(path);
            n++;
        }
    if (d)
        closedir(d);
    return n == 1 ? text : NULL;
}

/* ---- tests ---- */

TEST(the_reader_knows_the_published_checksum)
{
    CHECK(crc_of((const uint8_t *)"123456789", 9) == 0xe3069283); /* the check value of CRC-32C */
}

TEST(rows_come_back)
{
    mert_events v;
    char tag[64];
    size_t size = 0;
    uint8_t *text;
    const uint8_t *p;
    event seen;
    CHECK(!mert_events_open(&v, test_tmp("board"), 0, &e));
    mert_events_add(&v, "train/loss", 2.5);
    mert_events_add(&v, "train/ce_11", NAN);
    mert_events_add(&v, "train/accuracy_0", -0.125);
    CHECK(!mert_events_step(&v, 300, &e));
    mert_events_add(&v, "valid/ce", 1e30);
    CHECK(!mert_events_step(&v, 1LL << 40, &e) && !mert_events_close(&v, &e));
    p = text = only_file(test_tmp("board"), &size);
    CHECK(text && read_event(&p, text + size, &seen) && seen.what.number == 3);
    CHECK(seen.what.value == 13 && !memcmp(seen.what.bytes, "brain.Event:2", 13) && seen.wall > 1.7e9);
    CHECK(read_event(&p, text + size, &seen) && seen.what.number == 5 && seen.step == 300);
    CHECK(value_of(&seen, 0, tag) == 2.5 && !strcmp(tag, "train/loss"));
    CHECK(value_of(&seen, 1, tag) == -0.125 && !strcmp(tag, "train/accuracy_0") && isnan(value_of(&seen, 2, tag)));
    CHECK(read_event(&p, text + size, &seen) && seen.step == 1LL << 40);
    CHECK(value_of(&seen, 0, tag) == (double)1e30f && !strcmp(tag, "valid/ce"));
    CHECK(p == text + size);
    free(text);
}

TEST(a_run_that_goes_on_takes_back_later_rows)
{
    mert_events v;
    size_t size = 0;
    uint8_t *text;
    const uint8_t *p;
    event seen;
    CHECK(!mert_events_open(&v, test_tmp("board"), 200, &e) && !mert_events_close(&v, &e));
    p = text = only_file(test_tmp("board"), &size);
    CHECK(text && read_event(&p, text + size, &seen) && seen.what.number == 3);
    CHECK(read_event(&p, text + size, &seen) && seen.what.number == 7 && seen.step == 201);
    CHECK(seen.what.value == 2 && seen.what.bytes[0] == 8 && seen.what.bytes[1] == 1 && p == text + size);
    text[size - 6] ^= 1; /* and the reader sees a damaged bit */
    p = text + 16 + little(text, 8);
    CHECK(!read_event(&p, text + size, &seen));
    free(text);
}

TEST(a_folder_that_cannot_be_made)
{
    mert_events v;
    FILE *f = fopen(test_tmp("file"), "w");
    CHECK(f && !fclose(f) && mert_events_open(&v, test_tmp("file"), 0, &e) == -1 && strstr(e.text, "file"));
}

int main(void)
{
    RUN(the_reader_knows_the_published_checksum);
    RUN(rows_come_back);
    RUN(a_run_that_goes_on_takes_back_later_rows);
    RUN(a_folder_that_cannot_be_made);
    return test_done();
}
