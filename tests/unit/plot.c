/* Pictures: ticks, colours, what stands for many values in few columns and pixels, texts, tables. */
#include "libcommon/plot/canvas.h"
#include "libcommon/plot/figure.h"
#include "libcommon/plot/table.h"
#include "tests/test.h"

static const char *tick(const mert_axis *a, double at)
{
    for (int i = 0; i < a->nticks; i++)
        if (fabs(a->ticks[i].at - at) < 1e-6 * (a->high - a->low))
            return a->ticks[i].text;
    return "none";
}

TEST(steps_are_one_two_five)
{
    CHECK_NEAR(mert_axis_step(10, 10), 1, 1e-12);
    CHECK_NEAR(mert_axis_step(10, 6), 2, 1e-12);
    CHECK_NEAR(mert_axis_step(10, 3), 5, 1e-12);
    CHECK_NEAR(mert_axis_step(0.07, 8), 0.01, 1e-12);
    CHECK_NEAR(mert_axis_step(3e6, 4), 1e6, 1e-3);
    for (double span = 1e-6; span < 1e9; span *= 3.7)
        for (int most = 1; most < 12; most++) {
            const double n = span / mert_axis_step(span, most);
            CHECK(n <= most * (1 + 1e-9) && n > most / 2.6);
        }
}

TEST(linear_ticks)
{
    mert_axis a;
    mert_axis_linear(&a, -1, 1, 5, "x");
    CHECK(a.nticks == 5 && !strcmp(tick(&a, 0), "0.0") && !strcmp(tick(&a, -0.5), "-0.5"));
    mert_axis_linear(&a, 3, 3, 5, "x"); /* one value is a range, too */
    CHECK(a.high > a.low && a.nticks > 0);
    mert_axis_linear(&a, 0, 8e6, 5, "x");
    CHECK(!strcmp(tick(&a, 2e6), "2e+06"));
    mert_axis_linear(&a, 0, 1e-3, 2, "x");
    CHECK(!strcmp(tick(&a, 5e-4), "0.0005"));
}

TEST(times)
{
    mert_axis a;
    mert_axis_seconds(&a, 0, 10, 5);
    CHECK(!strcmp(tick(&a, 4), "4") && !strcmp(a.label, "s"));
    mert_axis_seconds(&a, 0, 180, 8);
    CHECK(!strcmp(tick(&a, 90), "1:30") && !strcmp(a.label, "min:s"));
    mert_axis_seconds(&a, 0, 4000, 8);
    CHECK(!strcmp(tick(&a, 3600), "1:00:00"));
    mert_axis_seconds(&a, 61, 62, 5);
    CHECK(!strcmp(tick(&a, 61.2), "1:01.2"));
    mert_axis_seconds(&a, 1.5, 1.6, 5);
    CHECK(!strcmp(tick(&a, 1.52), "1.52"));
}

TEST(frequencies_and_notes)
{
    mert_axis a;
    mert_axis_notes(&a, 32.703195662574829, 12, 84, 7);
    CHECK(!strcmp(tick(&a, 0.5), "C1") && !strcmp(tick(&a, 36.5), "C4"));
    mert_axis_octaves(&a, 50, 24, 240, 12); /* 100 Hz is an octave above */
    CHECK(!strcmp(tick(&a, 24.5), "100") && !strcmp(tick(&a, 24 * log2(1000 / 50.0) + 0.5), "1k"));
    mert_axis_mel(&a, 0, 8000, 40, 7); /* bin i has the centre (i + 1) mel(8000) / 41 */
    CHECK(!strcmp(tick(&a, 41 * log10(1 + 2000 / 700.0) / log10(1 + 8000 / 700.0) - 0.5), "2k"));
    mert_axis_classes(&a, 32.703195662574829, 12, 12);
    CHECK(!strcmp(tick(&a, 0.5), "C") && !strcmp(tick(&a, 9.5), "A"));
    mert_axis_classes(&a, 440, 24, 12); /* begins with A, two classes for a semitone */
    CHECK(!strcmp(tick(&a, 0.5), "A") && !strcmp(tick(&a, 6.5), "C"));
    mert_axis_bins(&a, 5, 8, "layer");
    CHECK(a.nticks == 5 && !strcmp(tick(&a, 4.5), "4"));
    mert_axis_decades(&a, 0.001, 1, 8, "share");
    CHECK(a.nticks == 4 && !strcmp(tick(&a, -2), "0.01"));
}

/* Lightness rises by the same steps; a reader who sees no hues sees the order, and so does a grey printer. */
TEST(maps_rise_evenly_in_lightness)
{
    mert_colour table[MERT_MAP_SIZE];
    for (int m = MERT_MAP_DARK; m <= MERT_MAP_GREY; m++) {
        mert_colour_table((mert_colour_map)m, table);
        const double first = mert_colour_lightness(table[0]), last = mert_colour_lightness(table[255]);
        CHECK(fabs(last - first) > 90 && (last > first) == (m == MERT_MAP_DARK));
        for (int i = 0; i < 256; i++)
            CHECK_NEAR(mert_colour_lightness(table[i]), first + (last - first) * i / 255, 0.8);
        for (int i = 0; i < 256; i++)
            CHECK(m != MERT_MAP_GREY || (table[i].r == table[i].g && table[i].g == table[i].b));
    }
    CHECK_NEAR(mert_colour_lightness((mert_colour){255, 255, 255}), 100, 1e-3);
    CHECK_NEAR(mert_colour_lightness((mert_colour){119, 119, 119}), 50.03, 0.01);
}

TEST(near_classes_differ)
{
    for (int64_t c = 0; c < 2000; c++) {
        const mert_colour a = mert_colour_class(c), b = mert_colour_class(c + 1);
        CHECK(abs(a.r - b.r) + abs(a.g - b.g) + abs(a.b - b.b) > 40);
        CHECK(mert_colour_lightness(a) > 30 && mert_colour_lightness(a) < 90);
    }
}

/* Columns against the definition: column k stands for rows k * step to (k + 1) * step. */
static int columns_are(mert_reduction keep, int64_t rows, int64_t room)
{
    mert_columns c;
    mert_error e;
    float x[2];
    int good = 1;
    if (mert_columns_begin(&c, keep, 2, room, &e))
        return 0;
    for (int64_t i = 0; i < rows; i++) {
        x[0] = (float)(i * 37 % 101);
        x[1] = (float)(i * 53 % 97);
        mert_columns_add(&c, x);
    }
    good &= c.rows == rows && c.n <= room && (c.n > room / 2 || rows <= room) && c.n == (rows + c.step - 1) / c.step;
    for (int64_t k = 0; k < c.n; k++) {
        double low = 1e9, high = -1e9, sum = 0, n = 0;
        for (int64_t i = k * c.step; i < (k + 1) * c.step && i < rows; i++, n++) {
            low = fmin(low, (double)(i * 37 % 101));
            high = fmax(high, (double)(i * 53 % 97));
            sum += (double)(i * 53 % 97);
        }
        const double first = (double)(k * c.step * 53 % 97);
        const double want = keep == MERT_KEEP_MEAN ? sum / n : keep == MERT_KEEP_FIRST ? first : high;
        good &= fabs(c.values[2 * k + 1] - want) < 1e-3 && (keep != MERT_KEEP_RANGE || c.values[2 * k] == (float)low);
    }
    mert_columns_free(&c);
    return good;
}

TEST(columns_stand_for_their_rows)
{
    for (int keep = MERT_KEEP_MAX; keep <= MERT_KEEP_RANGE; keep++)
        for (int64_t rows = 1; rows < 2000; rows = rows * 3 / 2 + 1) {
            CHECK(columns_are((mert_reduction)keep, rows, 16));
            CHECK(columns_are((mert_reduction)keep, rows, 600));
        }
}

TEST(pixels_stand_for_their_cells)
{
    float values[6 * 4];
    unsigned char rgb[3 * 12 * 8];
    mert_colour table[MERT_MAP_SIZE];
    mert_panel p = {.type = MERT_IMAGE, .columns = 6, .rows = 4, .span = 1, .values = values, .keep = MERT_KEEP_MAX,
                    .high = 255, .x = {.high = 6}, .y = {.high = 4}};
    mert_colour_table(MERT_MAP_DARK, table);
    for (int i = 0; i < 24; i++)
        values[i] = (float)i; /* column k, row r: 4 k + r */
    CHECK(!mert_panel_pixels(&p, MERT_MAP_DARK, 12, 8, rgb)); /* each cell is 2 x 2 pixels, row 0 at the bottom */
    for (int y = 0; y < 8; y++)
        for (int x = 0; x < 12; x++)
            CHECK(!memcmp(rgb + 3 * (12 * y + x), &table[4 * (x / 2) + 3 - y / 2], 3));
    CHECK(!mert_panel_pixels(&p, MERT_MAP_DARK, 3, 2, rgb)); /* each pixel is 2 x 2 cells: the largest */
    for (int y = 0; y < 2; y++)
        for (int x = 0; x < 3; x++)
            CHECK(!memcmp(rgb + 3 * (3 * y + x), &table[4 * (2 * x + 1) + 3 - 2 * y], 3));
    p.keep = MERT_KEEP_MEAN;
    values[20] = NAN; /* nothing there: the mean of the others */
    CHECK(!mert_panel_pixels(&p, MERT_MAP_DARK, 3, 2, rgb));
    CHECK(!memcmp(rgb + 3 * 5, &table[(int)lround((16 + (17 + 21) / 2.0) / 2)], 3));
    p.x.low = 10, p.x.high = 20; /* nothing at all */
    CHECK(!mert_panel_pixels(&p, MERT_MAP_DARK, 3, 2, rgb));
    CHECK(rgb[0] == rgb[1] && rgb[1] == rgb[2]);
}

static int written(const char *want, const char *text, const unsigned char *data, size_t size)
{
    char *got = NULL;
    size_t n;
    FILE *f = open_memstream(&got, &n);
    int same;
    if (!f)
        return 0;
    if (text)
        mert_xml_text(f, text);
    else
        mert_base64(f, data, size);
    fclose(f);
    same = !strcmp(got, want);
    if (!same)
        printf("# '%s' is not '%s'\n", got, want);
    free(got);
    return same;
}

#define LOST "\xef\xbf\xbd" /* U+FFFD */
TEST(texts_are_escaped)
{
    CHECK(written("a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#39;", "a <b> & \"c\" 'd'", NULL, 0));
    CHECK(written("\xc3\xbc \xe2\x99\xaa \xf0\x9f\x8e\xb5", "\xc3\xbc \xe2\x99\xaa \xf0\x9f\x8e\xb5", NULL, 0));
    CHECK(written(LOST "x" LOST, "\xffx\x01", NULL, 0));
    CHECK(written(LOST LOST, "\xc0\xaf", NULL, 0));         /* too long */
    CHECK(written(LOST LOST LOST, "\xed\xa0\x80", NULL, 0)); /* half of a pair */
    CHECK(written(LOST, "\xc3", NULL, 0));                   /* cut off */
    CHECK(written(LOST LOST LOST, "\xef\xbf\xbf", NULL, 0)); /* no character */
}

TEST(base64_of_rfc_4648)
{
    CHECK(written("", NULL, (const unsigned char *)"", 0));
    CHECK(written("Zg==", NULL, (const unsigned char *)"f", 1));
    CHECK(written("Zm8=", NULL, (const unsigned char *)"fo", 2));
    CHECK(written("Zm9vYmFy", NULL, (const unsigned char *)"foobar", 6));
    CHECK(written("//79", NULL, (const unsigned char *)"\xff\xfe\xfd", 3));
}

static int table(mert_table *t, const char *text, mert_error *e)
{
    FILE *f = fmemopen((void *)text, strlen(text), "r");
    const int bad = f ? mert_table_read(t, f, "t.tsv", e) : -1;
    if (f)
        fclose(f);
    return bad;
}

TEST(logs)
{
    mert_table t;
    mert_error e;
    mert_panel p = {0};
    CHECK(!table(&t, "# a\nupdate\tce_0\tce_1\tlr\n10\t8\tnan\t1\n20\t7\t5\t2\n30\t6", &e)); /* the last line is cut */
    CHECK(t.rows == 2 && mert_table_is_log(&t) && !mert_table_is_scores(&t) && mert_table_column(&t, "lr") == 3);
    CHECK(mert_table_number(&t, 1, 1) == 7 && isnan(mert_table_number(&t, 0, 2)));
    CHECK(mert_table_fits(&t, "x,ce_*") && !mert_table_fits(&t, "ce"));
    CHECK(!mert_table_curves(&t, "lr,ce_?", "", &p, &e));
    CHECK(p.nlines == 3 && !strcmp(p.lines[0].name, "ce_0") && p.lines[2].y[1] == 2 && p.lines[0].x[0] == 10);
    CHECK(mert_table_curves(&t, "loss", "", &p, &e) && test_says(e.text, "t.tsv: no column 'loss'"));
    for (int i = 0; i < p.nlines; i++) {
        free(p.lines[i].x);
        free(p.lines[i].y);
    }
    free(p.lines);
    mert_table_free(&t);
}

TEST(cells_that_are_no_numbers_are_refused)
{
    static const char *const wrong[][3] = {
        {"update\tloss\n10\t8\n20\tabc\n", "loss", "t.tsv: row 2 (update 20): 'abc' in column 'loss' is no number"},
        {"update\tloss\n10\t\n20\t4\n", "loss", "t.tsv: row 1 (update 10): '' in column 'loss' is no number"},
        {"update\tloss\nx\t8\n", "loss", "t.tsv: row 1 (update x): 'x' in column 'update' is no number"},
        {"update\tloss\n1\t8x\n", "l*", "t.tsv: row 1 (update 1): '8x' in column 'loss' is no number"}};
    mert_table t;
    mert_error e;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        mert_figure f = {0};
        mert_panel *p = mert_figure_add(&f);
        CHECK(p && !table(&t, wrong[i][0], &e) && mert_table_curves(&t, wrong[i][1], "", p, &e) == -1);
        CHECK(!strcmp(e.text, wrong[i][2]));
        mert_figure_free(&f);
        mert_table_free(&t);
    }
    mert_figure f = {0};
    mert_panel *p = mert_figure_add(&f);
    CHECK(p && !table(&t, "layer\tmetric\tmean\tmin\tmax\n0\taccuracy\tzero\t0\t1\n", &e));
    CHECK(mert_table_scores(&t, NULL, p, &e) == -1);
    CHECK(!strcmp(e.text, "t.tsv: row 1 (layer 0): 'zero' in column 'mean' is no number"));
    mert_figure_free(&f);
    mert_table_free(&t);
}

TEST(curves_have_a_limit)
{
    char *text = malloc(40000), *at = text;
    mert_table t;
    mert_error e;
    mert_figure f = {0};
    mert_panel *p = mert_figure_add(&f);
    CHECK(text && p);
    at += sprintf(at, "update");
    for (int i = 0; i < 1001; i++)
        at += sprintf(at, "\tx%d", i);
    at += sprintf(at, "\n1");
    for (int i = 0; i < 1001; i++)
        at += sprintf(at, "\t%d", i);
    sprintf(at, "\n");
    CHECK(!table(&t, text, &e) && mert_table_curves(&t, "x*", "", p, &e) == -1);
    CHECK(test_says(e.text, "t.tsv: more than 1000 columns are to be drawn in one panel"));
    mert_figure_free(&f);
    mert_table_free(&t);
    free(text);
}

TEST(long_logs_become_means)
{
    char *text = malloc(200000), *at = text;
    mert_table t;
    mert_error e;
    mert_figure f = {0};
    mert_panel *p = mert_figure_add(&f);
    CHECK(text && p);
    at += sprintf(at, "update\tloss\n");
    for (int i = 1; i <= 5000; i++)
        at += sprintf(at, "%d\t%d\n", i, 2 * i);
    CHECK(!table(&t, text, &e) && !mert_table_curves(&t, "loss", "", p, &e));
    CHECK(p->lines[0].n <= 2000 && p->lines[0].x[0] == 3 && p->lines[0].y[0] == 4); /* of 3 rows */
    mert_figure_free(&f);
    mert_table_free(&t);
    free(text);
}

int main(void)
{
    RUN(steps_are_one_two_five);
    RUN(linear_ticks);
    RUN(times);
    RUN(frequencies_and_notes);
    RUN(maps_rise_evenly_in_lightness);
    RUN(near_classes_differ);
    RUN(columns_stand_for_their_rows);
    RUN(pixels_stand_for_their_cells);
    RUN(texts_are_escaped);
    RUN(base64_of_rfc_4648);
    RUN(logs);
    RUN(cells_that_are_no_numbers_are_refused);
    RUN(curves_have_a_limit);
    RUN(long_logs_become_means);
    return test_done();
}
