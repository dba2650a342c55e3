#include "libcommon/models/config/json.h"

#include <inttypes.h>
#include <string.h>

int mert_config_within(int64_t v, int64_t low, int64_t high, const char *what, mert_error *e)
{
    if (v >= low && v <= high)
        return 0;
    return mert_fail(e, "%s is %" PRId64 ", which is outside %" PRId64 " to %" PRId64, what, v, low, high);
}

int mert_config_read_int(const mert_json *j, const char *key, int *to, mert_error *e)
{
    int64_t v = *to;
    if (!mert_json_get(j, key))
        return 0;
    if (mert_json_int(j, key, &v) || v < -(1 << 30) || v > 1 << 30)
        return mert_fail(e, "%s is not a whole number of a sane size", key);
    *to = (int)v;
    return 0;
}

int mert_config_read_bool(const mert_json *j, const char *key, int *to, mert_error *e)
{
    return mert_json_get(j, key) && mert_json_bool(j, key, to) ? mert_fail(e, "%s is neither true nor false", key) : 0;
}

/* The key is present and not null (null means the default). */
static int given(const mert_json *j, const char *key)
{
    const mert_json *v = mert_json_get(j, key);
    return v && !mert_json_is_null(v);
}

int mert_config_read_double(const mert_json *j, const char *key, double *to, mert_error *e)
{
    return given(j, key) && mert_json_double(j, key, to) ? mert_fail(e, "%s is not a number", key) : 0;
}

int mert_config_read_string(const mert_json *j, const char *key, const char **to, mert_error *e)
{
    *to = mert_json_string(j, key);
    return given(j, key) && !*to ? mert_fail(e, "%s is not a string", key) : 0;
}

int mert_config_must_be(const mert_json *j, const char *key, const char *value, mert_error *e)
{
    const char *s;
    if (mert_config_read_string(j, key, &s, e))
        return -1;
    return s && strcmp(s, value) ? mert_fail(e, "%s is '%s', and only '%s' is computed here", key, s, value) : 0;
}

int mert_config_must_not(const mert_json *j, const char *key, int value, mert_error *e)
{
    int v = !value;
    if (given(j, key) && mert_json_bool(j, key, &v))
        return mert_fail(e, "%s is neither true nor false", key);
    return v == value ? mert_fail(e, "%s is %s, which is not computed here", key, value ? "true" : "false") : 0;
}

int mert_config_read_list(const mert_json *j, const char *key, int *to, int room, int *n, mert_error *e)
{
    const mert_json *list = mert_json_get(j, key);
    int64_t v;
    if (!list)
        return 0;
    if (!mert_json_size(list) || mert_json_size(list) > (size_t)room)
        return mert_fail(e, "%s is not a list of 1 to %d whole numbers", key, room);
    for (int i = 0; i < (int)mert_json_size(list); i++) {
        if (mert_json_as_int(mert_json_at(list, (size_t)i), &v) || v < -(1 << 30) || v > 1 << 30)
            return mert_fail(e, "%s is not a list of whole numbers of a sane size", key);
        to[i] = (int)v;
    }
    *n = (int)mert_json_size(list);
    return 0;
}

const char *mert_config_yes_no(int v)
{
    return v ? "true" : "false";
}
