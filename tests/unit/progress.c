/* The text of the progress line. */
#include "libcommon/program/progress.h"
#include "tests/test.h"

static int says(mert_progress p, const char *want)
{
    char text[160];
    mert_progress_text(text, sizeof text, &p);
    if (strcmp(text, want))
        printf("# '%s' is not '%s'\n", text, want);
    return !strcmp(text, want);
}

TEST(what_is_known)
{
    CHECK(says((mert_progress){.items = 1, .seconds = 2}, "1 item"));
    CHECK(says((mert_progress){.items = 7, .audio = 3723, .seconds = 100},
               "7 items, 1:02:03 of audio, 37.2 times real time"));
    /* 12 items in 60 s, so 288 need 1440 s */
    CHECK(says((mert_progress){.items = 12, .expected = 300, .audio = 600, .seconds = 60},
               "12 of 300 items, 0:10:00 of audio, 10.0 times real time, 0:24:00 left"));
    CHECK(says((mert_progress){.items = 300, .expected = 300, .seconds = 60}, "300 of 300 items, 0:00:00 left"));
    CHECK(says((mert_progress){.items = 1, .expected = 1, .seconds = 60}, "1 of 1 items, 0:00:00 left"));
}

TEST(items_that_took_no_time)
{
    /* 90 were known after 1 s; 2 in 4 s, so 8 need 16 s */
    CHECK(says((mert_progress){.items = 92, .expected = 100, .seconds = 5, .items_before = 90, .seconds_before = 1},
               "92 of 100 items, 0:00:16 left"));
    CHECK(says((mert_progress){.items = 90, .expected = 100, .seconds = 5, .items_before = 90, .seconds_before = 1},
               "90 of 100 items"));
}

TEST(more_items_than_expected)
{
    CHECK(says((mert_progress){.items = 5, .expected = 4, .seconds = 5}, "5 items"));
}

int main(void)
{
    RUN(what_is_known);
    RUN(items_that_took_no_time);
    RUN(more_items_than_expected);
    return test_done();
}
