#include "libcommon/base/fraction.h"

#include <inttypes.h>
#include <stdio.h>

static mert_fraction lowest(int64_t num, int64_t den)
{
    int64_t a = num, b = den;
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return (mert_fraction){num / a, den / a};
}

/* Reads up to six digits and returns their number; -1: none, or more. */
static int digits(const char **p, int64_t *value)
{
    int n = 0;
    for (*value = 0; **p >= '0' && **p <= '9'; (*p)++)
        if (++n <= 6)
            *value = 10 * *value + (**p - '0');
    return n >= 1 && n <= 6 ? n : -1;
}

int mert_fraction_parse(mert_fraction *f, const char *text)
{
    const char *p = text;
    int64_t num, den = 1, decimals;
    int n;
    if (digits(&p, &num) < 0)
        return -1;
    if (*p == '/') {
        p++;
        if (digits(&p, &den) < 0)
            return -1;
    } else if (*p == '.') {
        p++;
        if ((n = digits(&p, &decimals)) < 0)
            return -1;
        while (n--)
            den *= 10;
        num = num * den + decimals;
    }
    if (*p || num < 1 || den < 1)
        return -1;
    *f = lowest(num, den);
    return 0;
}

mert_fraction mert_fraction_times(mert_fraction f, int64_t num, int64_t den)
{
    return lowest(f.num * num, f.den * den); /* fits: below 10^12 * 2^20 */
}

const char *mert_fraction_print(char to[48], mert_fraction f)
{
    if (f.den == 1)
        snprintf(to, 48, "%" PRId64, f.num);
    else
        snprintf(to, 48, "%" PRId64 "/%" PRId64, f.num, f.den);
    return to;
}
