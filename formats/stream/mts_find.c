/* Finds the frames of an input: the next one at its expected place or, if bytes are damaged, by searching. */
#include "mts_reader.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { SEARCH = 1 << 20 }; /* a stream has its first undamaged descriptive frame within so many bytes */

int mts_fatal(mts_reader *r, const char *format, ...)
{
    va_list ap;
    char text[MTS_REASON_MAX / 2];
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    snprintf(r->error, sizeof r->error, "%.400s: %s", r->name, text);
    return MTS_ERROR;
}

void mts_note(mts_reader *r, int64_t at, const char *format, ...)
{
    va_list ap;
    if (r->damage.active)
        return;
    r->damage.active = 1;
    r->damage.at = at;
    va_start(ap, format);
    vsnprintf(r->damage.what, sizeof r->damage.what, format, ap);
    va_end(ap);
}

/* Tries the bytes at the current place. 1: pending; 0: no frame, see why; -1: fatal. */
static int frame_here(mts_reader *r, int searching, mts_why *why)
{
    int version = 0;
    long n;
    r->frame_at = r->in.offset;
    if (!mts_input_need(&r->in, MTS_FRAME_HEAD))
        return !mts_because(why, "cut short");
    if ((n = mts_frame_size(r->in.data)) < 0)
        return !mts_because(why, "no header where one must stand");
    if (!mts_input_need(&r->in, MTS_FRAME_HEAD + 4) || memcmp(r->in.data + MTS_FRAME_HEAD, "MTS", 3)
        || !mts_input_need(&r->in, MTS_FRAME_HEAD + (size_t)n))
        return !mts_because(why, "a header that is damaged or cut short");
    const char *text = (const char *)r->in.data + MTS_FRAME_HEAD;
    if (!mts_frame_valid(text, (size_t)n, &version))
        return !mts_because(why, "a header with a wrong checksum");
    if (version != MTS_VERSION) {
        mts_because(why, "version %d of the format", version);
        if (searching)
            return 0;
        return mts_fatal(r, "byte %" PRId64 ": version %d of the stream format; only version %d is known here",
                         r->frame_at, version, MTS_VERSION);
    }
    if (mts_frame_parse(&r->frame, text, (size_t)n, why))
        return 0;
    mts_input_drop(&r->in, MTS_FRAME_HEAD + (size_t)n);
    r->pending = 1;
    return 1;
}

static void printable(const unsigned char *p, size_t n, char *to, size_t size)
{
    size_t used = 0;
    to[0] = 0;
    for (size_t i = 0; i < n && used + 5 < size; i++)
        used += (size_t)snprintf(to + used, size - used, p[i] >= 0x20 && p[i] < 0x7f ? "%c" : "\\x%02x", p[i]);
}

int mts_fatal_end(mts_reader *r)
{
    char text[4 * sizeof r->first + 1];
    if (r->in.error)
        return mts_fatal(r, "byte %" PRId64 ": cannot read: %s", r->in.offset + (int64_t)r->in.n,
                         strerror(r->in.error));
    if (!r->begun && !r->first_n)
        return mts_fatal(r, "empty: no tensor stream, not even its begin");
    if (!r->begun) {
        printable(r->first, r->first_n, text, sizeof text);
        return mts_fatal(r, "not a tensor stream: it begins with \"%s\"", text);
    }
    if (!r->in_stream)
        return mts_fatal(r, "byte %" PRId64 ": what follows the end of the stream is no stream", r->damage.at);
    if (r->damage.active)
        return mts_fatal(r, "stops without an end record at byte %" PRId64 " (unreadable from byte %" PRId64 " on: %s)",
                         r->in.offset + (int64_t)r->in.n, r->damage.at, r->damage.what);
    return mts_fatal(r, "stops without an end record at byte %" PRId64 " (was its writer killed?)",
                     r->in.offset + (int64_t)r->in.n);
}

/* Searches for the next undamaged descriptive frame. 1: pending; -1: there is none. */
static int resync(mts_reader *r)
{
    const int64_t from = r->in.offset;
    mts_why why;
    while (r->begun || r->in.offset - from < SEARCH) {
        if (r->in.n < MTS_FRAME_HEAD && !mts_input_need(&r->in, 1 << 16) && !r->in.n)
            break;
        unsigned char *p = memchr(r->in.data, MTS_MAGIC & 0xff, r->in.n);
        mts_input_drop(&r->in, p ? (size_t)(p - r->in.data) : r->in.n);
        if (!p)
            continue;
        if (frame_here(r, 1, &why) == 1)
            return 1;
        mts_input_drop(&r->in, 1);
    }
    return mts_fatal_end(r);
}

int mts_fetch(mts_reader *r)
{
    mts_why why;
    if (!mts_input_need(&r->in, 1))
        return r->in.error ? mts_fatal_end(r) : 0;
    if (!r->begun && !r->first_n) {
        mts_input_need(&r->in, sizeof r->first);
        r->first_n = r->in.n < sizeof r->first ? r->in.n : sizeof r->first;
        memcpy(r->first, r->in.data, r->first_n);
    }
    int found = frame_here(r, 0, &why);
    if (found)
        return found;
    if (r->in.error)
        return mts_fatal_end(r);
    mts_note(r, r->frame_at, "%s", why.text);
    mts_input_drop(&r->in, 1);
    return resync(r);
}

/* Whether an undamaged descriptive frame follows the data frame. Then the data frame is at the right place, but its
 * bytes are damaged. */
static int frame_behind(mts_reader *r, size_t size)
{
    int version;
    long n;
    if (!mts_input_need(&r->in, size + MTS_FRAME_HEAD) || (n = mts_frame_size(r->in.data + size)) < 0)
        return 0;
    return mts_input_need(&r->in, size + MTS_FRAME_HEAD + (size_t)n)
           && mts_frame_valid((const char *)r->in.data + size + MTS_FRAME_HEAD, (size_t)n, &version);
}

int mts_take_data(mts_reader *r, int drop)
{
    size_t size = (size_t)r->frame.size;
    r->pending = 0;
    if (r->jump || (drop && r->pass_unseen))
        return mts_input_jump(&r->in, (int64_t)size) ? mts_fatal_end(r) : 1;
    if (mts_input_need(&r->in, size) && mts_xxh64(r->in.data, size, 0) == r->frame.data) {
        if (drop)
            mts_input_drop(&r->in, size);
        return 1;
    }
    if (r->in.error)
        return mts_fatal_end(r);
    mts_note(r, r->in.offset, "the data of chunk %" PRId64 " %s", r->frame.chunk,
             r->in.n < size ? "is cut short" : "has a wrong checksum");
    if (r->in.n >= size && frame_behind(r, size)) {
        mts_input_drop(&r->in, size);
        return 0;
    }
    return resync(r) < 0 ? -1 : 0;
}
