#include "libcommon/train/monitor/events.h"

#include "formats/file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* ---- bytes ---- */

static uint32_t crc32c(const unsigned char *data, size_t n)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void put(mert_events *v, const void *data, size_t n)
{
    if (v->bytes + n > v->room) {
        size_t room = 2 * v->room + n + 256;
        unsigned char *grown = realloc(v->summary, room);
        if (!grown) {
            v->failed = 1;
            return;
        }
        v->summary = grown;
        v->room = room;
    }
    memcpy(v->summary + v->bytes, data, n);
    v->bytes += n;
}

/* Little-endian, whatever the machine is. */
static size_t whole(unsigned char *to, uint64_t x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (unsigned char)(x >> 8 * i);
    return n;
}

static size_t varint(unsigned char *to, uint64_t x)
{
    size_t n = 0;
    for (; x > 127; x >>= 7)
        to[n++] = (unsigned char)(x | 128);
    to[n++] = (unsigned char)x;
    return n;
}

/* Key of a field: its number and type (0 varint, 1 eight bytes, 2 bytes with their length, 5 four bytes). */
static size_t key(unsigned char *to, int field, int type)
{
    to[0] = (unsigned char)(field << 3 | type);
    return 1;
}

/* ---- records ---- */

static uint32_t masked(const unsigned char *data, size_t n)
{
    uint32_t crc = crc32c(data, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* An event: wall time, step, and a field of n bytes. */
static int record(mert_events *v, int64_t step, int field, const void *bytes, size_t n, mert_error *e)
{
    struct timespec now;
    double seconds;
    uint64_t bits;
    unsigned char head[64], frame[12], crc[4], *data;
    size_t used = key(head, 1, 1);
    clock_gettime(CLOCK_REALTIME, &now);
    seconds = (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
    memcpy(&bits, &seconds, sizeof bits);
    used += whole(head + used, bits, 8);
    used += key(head + used, 2, 0);
    used += varint(head + used, (uint64_t)step);
    used += key(head + used, field, 2);
    used += varint(head + used, n);
    if (!(data = malloc(used + n)))
        return mert_fail(e, "%s: out of memory", v->path);
    memcpy(data, head, used);
    memcpy(data + used, bytes, n);
    whole(frame, used + n, 8);
    whole(frame + 8, masked(frame, 8), 4);
    whole(crc, masked(data, used + n), 4);
    fwrite(frame, 1, sizeof frame, v->stream);
    fwrite(data, 1, used + n, v->stream);
    fwrite(crc, 1, sizeof crc, v->stream);
    free(data);
    return fflush(v->stream) || ferror(v->stream) ? mert_fail(e, "%s: cannot write: %s", v->path, strerror(errno)) : 0;
}

int mert_events_open(mert_events *v, const char *folder, int64_t after, mert_error *e)
{
    static const char version[] = "brain.Event:2";
    static const unsigned char start[] = {1 << 3, 1};
    char host[64] = "", name[128];
    *v = (mert_events){.bytes = 0};
    if (gethostname(host, sizeof host - 1) || !*host || strchr(host, '/'))
        strcpy(host, "localhost");
    snprintf(name, sizeof name, "events.out.tfevents.%" PRId64 ".%s.%ld", (int64_t)time(NULL), host, (long)getpid());
    if (mert_make_directory(folder, e))
        return -1;
    if (!(v->path = mert_path_join(folder, name)))
        return mert_fail(e, "out of memory");
    if (!(v->stream = fopen(v->path, "wb")))
        mert_fail(e, "%s: %s", v->path, strerror(errno));
    else if (!record(v, 0, 3, version, sizeof version - 1, e) &&
             (after <= 0 || !record(v, after + 1, 7, start, sizeof start, e)))
        return 0;
    (void)!mert_events_close(v, NULL);
    return -1;
}

void mert_events_add(mert_events *v, const char *tag, double value)
{
    unsigned char outer[16], head[16], number[5];
    float x = (float)value;
    uint32_t bits;
    size_t n = strlen(tag), used, length, around;
    if (!v->stream || !isfinite(value))
        return;
    memcpy(&bits, &x, sizeof bits);
    used = key(head, 1, 2); /* the tag */
    used += varint(head + used, n);
    length = used + n + sizeof number;
    key(number, 2, 5);
    whole(number + 1, bits, 4);
    around = key(outer, 1, 2); /* a value of the summary */
    around += varint(outer + around, length);
    put(v, outer, around);
    put(v, head, used);
    put(v, tag, n);
    put(v, number, sizeof number);
}

int mert_events_step(mert_events *v, int64_t step, mert_error *e)
{
    int bad = 0;
    if (v->stream)
        bad = v->failed ? mert_fail(e, "%s: out of memory", v->path) : record(v, step, 5, v->summary, v->bytes, e);
    v->bytes = 0;
    return bad;
}

int mert_events_close(mert_events *v, mert_error *e)
{
    int bad = v->stream && fclose(v->stream) ? mert_fail(e, "%s: cannot write: %s", v->path, strerror(errno)) : 0;
    free(v->path);
    free(v->summary);
    *v = (mert_events){.bytes = 0};
    return bad;
}
