/* Reads formats/stream/valid and invalid, and compares the results with the tables in their READMEs. */
#include "tests/unit/stream.h"

#include <dirent.h>

#define SAMPLES "formats/stream/"

/* "| a | b | c | d |": the cells, trimmed. 0 if the line is no row of a sample. */
static int cells(char *line, char *cell[4])
{
    int n = 0;
    for (char *p = strtok(line, "|\n"); p && n < 4; p = strtok(NULL, "|\n")) {
        while (*p == ' ' || *p == '`')
            p++;
        for (size_t k = strlen(p); k && (p[k - 1] == ' ' || p[k - 1] == '`');)
            p[--k] = 0;
        cell[n++] = p;
    }
    return n == 4 && strlen(cell[0]) > 4 && !strcmp(cell[0] + strlen(cell[0]) - 4, ".mts");
}

static int said(const seen *s, const char *what)
{
    int found = strstr(s->error, what) != NULL;
    for (int i = 0; i < s->failures && i < SEEN_MAX; i++)
        found |= s->failure[i].here && strstr(s->failure[i].reason, what);
    for (int i = 0; i < s->damages && i < SEEN_MAX; i++)
        found |= strstr(s->damage[i].reason, what) != NULL;
    return found;
}

static int count_samples(const char *dir)
{
    DIR *d = opendir(dir);
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));)
        n += strlen(e->d_name) > 4 && !strcmp(e->d_name + strlen(e->d_name) - 4, ".mts");
    if (d)
        closedir(d);
    return n;
}

static int replay(const char *dir, int valid)
{
    static seen s;
    char path[512], line[1024], *cell[4];
    int n = 0;
    snprintf(path, sizeof path, "%sREADME.md", dir);
    FILE *table = fopen(path, "r");
    while (table && fgets(line, sizeof line, table)) {
        if (!cells(line, cell))
            continue;
        snprintf(path, sizeof path, "%s%s", dir, cell[0]);
        FILE *f = fopen(path, "rb");
        if (!f)
            return printf("# %s: is not there\n", path), -1;
        read_file(f, path, &s, 0);
        fclose(f);
        int good = !s.order && s.records == atoi(cell[2]);
        if (valid)
            good = good && s.final == MTS_EOF && !s.damages && s.failures == atoi(cell[3]);
        else
            good = good && (s.final == MTS_ERROR || s.damages || s.failures) && said(&s, cell[3]);
        if (!good)
            return printf("# %s: final %d, %d records, %d failed, %d damages, order %d: %s\n", path, s.final, s.records,
                          s.failures, s.damages, s.order, s.error),
                   -1;
        n++;
    }
    if (table)
        fclose(table);
    return n > 0 && n == count_samples(dir)
               ? 0
               : (printf("# %s: %d in the table, %d there\n", dir, n, count_samples(dir)), -1);
}

TEST(valid_samples_read_as_their_table_says) { CHECK(!replay(SAMPLES "valid/", 1)); }

TEST(invalid_samples_fail_as_their_table_says) { CHECK(!replay(SAMPLES "invalid/", 0)); }

/* Missing bytes of tensors are found even if the tensors are skipped. */
TEST(skipping_notices_what_is_missing)
{
    static const char *const names[] = {"short-record.mts", "long-record.mts", "chunk-numbers.mts",
                                        "wrong-count.mts",  "flip-data.mts",   "flip-chunk.mts"};
    static seen s;
    char path[256];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, SAMPLES "invalid/%s", names[i]);
        FILE *f = fopen(path, "rb");
        CHECK(f);
        read_file(f, path, &s, 1);
        fclose(f);
        CHECK(s.final == MTS_EOF && s.failures == 1 && !s.order);
    }
}

/* The values: 0 to 23 in each of the six types. */
TEST(sample_values_are_right)
{
    FILE *f = fopen(SAMPLES "valid/types-and-shapes.mts", "rb");
    CHECK(f);
    mts_reader *r = mts_reader_open(f, "types-and-shapes.mts");
    int event, types = 0;
    while ((event = mts_next(r)) > 0) {
        if (event != MTS_CHUNK)
            continue;
        const mts_record *x = mts_reader_record(r);
        const unsigned char *p = mts_reader_data(r);
        CHECK(mts_reader_frames(r) * mts_record_width(x) == 24 && (int)x->dtype == types);
        for (int i = 0; i < 24; i++) {
            uint32_t word = 0;
            float value;
            for (size_t k = 0; k < mts_dtype_size(x->dtype); k++)
                word |= (uint32_t)p[(size_t)i * mts_dtype_size(x->dtype) + k] << 8 * k;
            switch (x->dtype) {
            case MTS_F32: memcpy(&value, &word, 4); break;
            case MTS_BF16: word <<= 16, memcpy(&value, &word, 4); break;
            case MTS_F16:
                value = i ? ldexpf(1 + (float)(word & 1023) / 1024, (int)(word >> 10) - 15) : (float)word;
                break;
            default: value = (float)word;
            }
            CHECK(value == (float)i);
        }
        types++;
    }
    CHECK(event == MTS_EOF && types == MTS_DTYPES);
    mts_reader_close(r);
    fclose(f);
}

int main(void)
{
    RUN(valid_samples_read_as_their_table_says);
    RUN(invalid_samples_fail_as_their_table_says);
    RUN(skipping_notices_what_is_missing);
    RUN(sample_values_are_right);
    return test_done();
}
