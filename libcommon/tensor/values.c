#include "libcommon/tensor/values.h"

#include "formats/checkpoint/checkpoint.h"
#include "libcommon/base/integer.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    int integer, digits;
    mert_dtype element;
} types[MTS_DTYPES] = {[MTS_F32] = {0, 9, MERT_E_F32}, [MTS_F16] = {0, 5, MERT_E_F16}, [MTS_BF16] = {0, 4, MERT_E_BF16},
                       [MTS_I16] = {1, 0, MERT_E_I16}, [MTS_U16] = {1, 0, MERT_E_I16}, [MTS_I32] = {1, 0, MERT_E_I32}};

int mert_dtype_is_integer(mts_dtype t)
{
    return types[t].integer;
}

static void read_block(mts_dtype t, const unsigned char *p, int64_t n, double *to)
{
    float block[MERT_VALUES_BLOCK];
    if (!types[t].integer)
        mert_elements_to_floats(types[t].element, p, n, block);
    for (int64_t i = 0; i < n; i++) {
        int16_t narrow;
        int32_t wide;
        switch (t) {
        case MTS_I16: memcpy(&narrow, p + 2 * i, 2); to[i] = narrow; break;
        case MTS_U16: memcpy(&narrow, p + 2 * i, 2); to[i] = (uint16_t)narrow; break;
        case MTS_I32: memcpy(&wide, p + 4 * i, 4); to[i] = wide; break;
        default: to[i] = block[i];
        }
    }
}

void mert_values_read(mts_dtype t, const void *data, int64_t n, double *to)
{
    const unsigned char *p = data;
    for (int64_t at = 0, now; at < n; at += now) {
        now = mert_smaller(n - at, MERT_VALUES_BLOCK);
        read_block(t, p + (size_t)at * mts_dtype_size(t), now, to + at);
    }
}

int mert_value_print(char *to, size_t size, mts_dtype t, double v)
{
    if (types[t].integer)
        return snprintf(to, size, "%" PRId64, (int64_t)v);
    return snprintf(to, size, "%.*g", types[t].digits, v);
}

const char *mert_shape_print(char *to, size_t size, const mts_record *r)
{
    size_t n = 0;
    for (int i = 0; i < r->ndim && n < size; i++)
        n += (size_t)(r->shape[i] < 0 ? snprintf(to + n, size - n, "%s?", i ? "," : "[")
                                      : snprintf(to + n, size - n, "%s%" PRId64, i ? "," : "[", r->shape[i]));
    if (n < size)
        snprintf(to + n, size - n, "]");
    return to;
}

const char *mert_key_print(char *to, size_t size, const char *key)
{
    size_t n = 0;
    for (; *key && n + 4 < size; key++) {
        unsigned char c = (unsigned char)*key;
        if (c < 0x20 || c == 0x7f || c == '%')
            n += (size_t)snprintf(to + n, size - n, "%%%02X", c);
        else
            to[n++] = (char)c;
    }
    to[n] = 0;
    return to;
}
