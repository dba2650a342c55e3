#include "formats/array.h"
#include "tests/test.h"

TEST(counts_that_cannot_be_are_minus_one)
{
    CHECK(mert_array_count(3, 7) == 21 && mert_array_count(0, 7) == 0 && mert_array_count(7, 0) == 0);
    CHECK(mert_array_count(-1, 7) == -1 && mert_array_count(7, -1) == -1 && mert_array_count(-1, -1) == -1);
    CHECK(mert_array_count(INT64_MAX, 1) == INT64_MAX && mert_array_count(1, INT64_MAX) == INT64_MAX);
    CHECK(mert_array_count(INT64_MAX, 2) == -1 && mert_array_count(INT64_C(1) << 32, INT64_C(1) << 31) == -1);
    CHECK(mert_array_count(mert_array_count(INT64_MAX, 2), 3) == -1);
}

static int refused(int64_t n, size_t size)
{
    void *made = mert_array(n, size), *zeroed = mert_array_zeroed(n, size), *resized = mert_array_resize(NULL, n, size);
    int none = !made && !zeroed && !resized;
    free(made);
    free(zeroed);
    free(resized);
    return none;
}

TEST(what_cannot_be_counted_is_no_memory)
{
    CHECK(refused(-1, 1) && refused(INT64_MIN, 8) && refused(-1, 0));
    CHECK(refused(INT64_MAX, 2) && refused(INT64_MAX, 8) && refused(2, SIZE_MAX / 2 + 1) && refused(1, SIZE_MAX));
    CHECK(refused((INT64_C(1) << 61) + 1, 8)); /* 2^64 + 8 bytes, which overflows to 8 */
}

TEST(nothing_is_an_array)
{
    float *made = mert_array(0, sizeof *made), *zeroed = mert_array_zeroed(0, sizeof *zeroed);
    float *resized = mert_array(3, sizeof *resized), *none = mert_array_resize(resized, 0, sizeof *none);
    CHECK(made && zeroed && none);
    free(made);
    free(zeroed);
    free(none);
}

TEST(zeroed_is_zero)
{
    int64_t *x = mert_array_zeroed(1000, sizeof *x), sum = 0;
    CHECK(x);
    for (int i = 0; i < 1000; i++)
        sum |= x[i];
    CHECK(sum == 0);
    free(x);
}

TEST(growing_keeps_what_is_there)
{
    int64_t *x = NULL, room = 0, n = 0, times = 0;
    for (int64_t i = 0; i < 100000; i++) {
        int64_t before = room, *more = mert_array_grow(x, &room, n + 1, sizeof *x);
        CHECK(more && room > n && room >= before);
        times += room != before;
        x = more;
        x[n++] = i;
    }
    for (int64_t i = 0; i < n; i++)
        CHECK(x[i] == i);
    CHECK(times < 20);
    x = mert_array_grow(x, &room, 3 * room, sizeof *x);
    CHECK(x && room >= 300000 && x[n - 1] == n - 1);
    free(x);
}

TEST(growing_that_fails_changes_nothing)
{
    int64_t room = 0;
    char *x = mert_array_grow(NULL, &room, 3, 1);
    int64_t before = room;
    CHECK(x && room >= 3);
    x[2] = 'x';
    CHECK(!mert_array_grow(x, &room, INT64_MAX, 8) && room == before && x[2] == 'x');
    CHECK(mert_array_grow(x, &room, -1, 1) == x && mert_array_grow(x, &room, 2, 1) == x && room == before);
    room = 0;
    CHECK(!mert_array_grow(NULL, &room, INT64_MAX, 2) && room == 0);
    free(x);
    x = mert_array_grow(NULL, &room, 0, 1);
    CHECK(x);
    free(x);
}

int main(void)
{
    RUN(counts_that_cannot_be_are_minus_one);
    RUN(what_cannot_be_counted_is_no_memory);
    RUN(nothing_is_an_array);
    RUN(zeroed_is_zero);
    RUN(growing_keeps_what_is_there);
    RUN(growing_that_fails_changes_nothing);
    return test_done();
}
