#include "formats/finite.h"

#include <inttypes.h>
#include <string.h>

enum { AT_ONCE = 4096 };

/* Whether any element has an exponent of all ones. No branches inside the loops, so that the compiler vectorises
 * them. */
static int any32(const unsigned char *p, int64_t n)
{
    uint32_t bits, any = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(&bits, p + 4 * i, 4);
        any |= (bits & 0x7f800000) == 0x7f800000;
    }
    return any != 0;
}

static int any16(const unsigned char *p, int64_t n, uint16_t exponent)
{
    uint16_t bits, any = 0;
    for (int64_t i = 0; i < n; i++) {
        memcpy(&bits, p + 2 * i, 2);
        any |= (bits & exponent) == exponent;
    }
    return any != 0;
}

static int any(mts_dtype type, const unsigned char *p, int64_t n)
{
    switch (type) {
    case MTS_F32: return any32(p, n);
    case MTS_F16: return any16(p, n, 0x7c00);
    case MTS_BF16: return any16(p, n, 0x7f80);
    default: return 0;
    }
}

int64_t mert_not_finite(mts_dtype type, const void *data, int64_t n)
{
    const unsigned char *p = data;
    size_t size = mts_dtype_size(type);
    for (int64_t at = 0; at < n; at += AT_ONCE) {
        int64_t end = n - at < AT_ONCE ? n : at + AT_ONCE;
        if (!any(type, p + (size_t)at * size, end - at))
            continue;
        while (!any(type, p + (size_t)at * size, 1))
            at++;
        return at;
    }
    return -1;
}

/* "nan", "inf", "-inf" */
static const char *name_of(mts_dtype type, const unsigned char *p)
{
    uint32_t bits = 0;
    uint16_t half;
    memcpy(type == MTS_F32 ? (void *)&bits : (void *)&half, p, mts_dtype_size(type));
    if (type == MTS_F16)
        bits = (uint32_t)(half & 0x8000) << 16 | 0x7f800000 | (uint32_t)(half & 0x3ff) << 13;
    else if (type == MTS_BF16)
        bits = (uint32_t)half << 16;
    return bits & 0x7fffff ? "nan" : bits >> 31 ? "-inf" : "inf";
}

int mert_finite_check(mts_dtype type, const void *data, int64_t frames, int64_t width, int64_t first, mert_error *e)
{
    int64_t at = mert_not_finite(type, data, frames * width);
    const char *why = type == MTS_F16 ? " (f16 holds numbers up to 65504)" : "";
    if (at < 0)
        return 0;
    return mert_fail(e, "frame %" PRId64 ", value %" PRId64 " of %" PRId64 " is %s%s", first + at / width, at % width,
                     width, name_of(type, (const unsigned char *)data + (size_t)at * mts_dtype_size(type)), why);
}
