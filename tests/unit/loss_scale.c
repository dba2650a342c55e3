/* The loss scale against fairseq's rule, as its options have it by default: updates and overflows are counted by one
 * number; the scale doubles after a good one if that number is a multiple of the window away from the last
 * overflow's. */
#include "libcommon/train/loss_scale.h"
#include "tests/test.h"

TEST(as_the_rule_says)
{
    for (int64_t window = 1; window <= 5; window++) {
        mert_loss_scale s = mert_loss_scale_first(MERT_ELEMENT_F16);
        mert_error e;
        double scale = 128;
        int64_t overflow = -1, overflows = 0;
        for (int64_t i = 0; i < 400; i++) {
            int over = i % 7 == 3 || (i > 100 && i < 105) || i == 300;
            if (over) {
                scale /= 2;
                overflow = i;
                overflows++;
                CHECK(!mert_loss_scale_overflow(&s, &e));
            } else {
                scale *= (i - overflow) % window == 0 ? 2 : 1;
                mert_loss_scale_good(&s, window);
            }
            CHECK(s.scale == scale && s.overflows == overflows && s.good == i - overflow);
            if (i % 50 == 49) { /* stays within what a double holds */
                scale = 1024;
                s.scale = 1024;
            }
        }
    }
}

TEST(the_window_is_so_many_batches)
{
    CHECK(mert_loss_scale_window(1) == 16384 && mert_loss_scale_window(64) == 256 && mert_loss_scale_window(3) == 5461);
    CHECK(mert_loss_scale_window(16384) == 1 && mert_loss_scale_window(100000) == 1);
}

TEST(it_stops_at_the_least)
{
    mert_loss_scale s = mert_loss_scale_first(MERT_ELEMENT_F16), before;
    mert_error e = {{0}};
    int halved = 0;
    while (before = s, !mert_loss_scale_overflow(&s, &e))
        halved++;
    CHECK(halved == 20); /* 128 / 2^20 is 1.2e-4 */
    CHECK(!memcmp(&before, &s, sizeof s) && strstr(e.text, "0.0001 is the least"));
}

TEST(other_elements_need_none)
{
    CHECK(mert_loss_scale_first(MERT_ELEMENT_F32).scale == 1 && mert_loss_scale_first(MERT_ELEMENT_BF16).scale == 1);
}

int main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    RUN(as_the_rule_says);
    RUN(the_window_is_so_many_batches);
    RUN(it_stops_at_the_least);
    RUN(other_elements_need_none);
    return test_done();
}
