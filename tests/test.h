/* The test framework. A test program prints TAP: lines "ok - NAME" or "not ok - NAME", and the plan last. tests/run
 * counts them.
 *
 *     TEST(reads_back_what_it_wrote) { CHECK(f() == 0); CHECK_NEAR(x, y, 1e-6); }
 *     int main(void) { RUN(reads_back_what_it_wrote); return test_done(); }
 *
 * A CHECK that fails prints its line and condition, and ends that test. */
#ifndef MERT_TEST_H
#define MERT_TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int test_bad, test_ran, test_failures;

/* Prints the result of a test; detail: printed in brackets after the name; NULL: none. */
static inline void test_report(const char *name, const char *detail)
{
    printf("%sok - %s%s%s%s\n", test_bad ? "not " : "", name, detail ? " (" : "", detail ? detail : "", detail ? ")" : "");
    fflush(stdout);
    test_ran++;
    test_failures += test_bad;
}

/* Prints that a test was skipped, and why. */
static inline void test_skip(const char *name, const char *why)
{
    printf("ok - %s # SKIP %s\n", name, why);
    test_ran++;
}

/* 1: the text (of an error) contains `expected`; otherwise prints both. */
static inline int test_says(const char *text, const char *expected)
{
    if (strstr(text, expected))
        return 1;
    printf("# '%s' lacks '%s'\n", text, expected);
    return 0;
}

#define TEST(name) static void test_##name(void)
#define RUN(name)                                                     \
    do {                                                              \
        test_bad = 0;                                                 \
        test_##name();                                                \
        test_report(#name, NULL);                                     \
    } while (0)
#define CHECK(cond)                                                   \
    do {                                                              \
        if (!(cond)) {                                                \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);       \
            test_bad = 1;                                             \
            return;                                                   \
        }                                                             \
    } while (0)
#define CHECK_NEAR(a, b, tolerance)                                                                           \
    do {                                                                                                      \
        double test_a = (a), test_b = (b);                                                                    \
        if (!(fabs(test_a - test_b) <= (tolerance))) {                                                        \
            printf("# %s:%d: %s = %.9g, %s = %.9g, allowed %g\n", __FILE__, __LINE__, #a, test_a, #b, test_b, \
                   (double)(tolerance));                                                                      \
            test_bad = 1;                                                                                     \
            return;                                                                                           \
        }                                                                                                     \
    } while (0)

static inline int test_done(void)
{
    printf("1..%d\n", test_ran);
    return test_failures != 0;
}

/* The path of a reference vector: in $MERT_GOLDEN, or in the subset in the repository. Tests run in the repository's
 * root. */
static inline const char *test_golden(const char *name)
{
    static char path[8][1024];
    static int turn;
    const char *dir = getenv("MERT_GOLDEN");
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir ? dir : "tests/golden", name);
    return path[turn];
}

/* A path in the test's own folder, $TEST_TMP, which tests/run empties. */
static inline const char *test_tmp(const char *name)
{
    static char path[8][1024];
    static int turn;
    const char *dir = getenv("TEST_TMP");
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", dir ? dir : "/tmp", name);
    return path[turn];
}

#endif
