#include "mts_input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 1 << 16 };

/* Makes room after data[n): first by moving the data to the front of the buffer, then by doubling it. */
static int make_room(mts_input *in, size_t want)
{
    size_t room = in->room ? 2 * in->room : SMALLEST;
    unsigned char *grown;
    if (in->data != in->buffer) {
        memmove(in->buffer, in->data, in->n);
        in->data = in->buffer;
    }
    if (in->n < in->room)
        return 0;
    if (room > want && want > in->room)
        room = want;
    if (!(grown = realloc(in->buffer, room)))
        return -1;
    in->data = in->buffer = grown;
    in->room = room;
    return 0;
}

int mts_input_need(mts_input *in, size_t want)
{
    while (in->n < want && !in->error) {
        if (__atomic_load_n(&in->stop, __ATOMIC_RELAXED)) {
            in->error = ECANCELED;
            break;
        }
        if ((!in->room || in->data + in->n == in->buffer + in->room
             || (in->data != in->buffer && (size_t)(in->data - in->buffer) + want > in->room))
            && make_room(in, want)) {
            in->error = ENOMEM;
            break;
        }
        size_t space = (size_t)(in->buffer + in->room - (in->data + in->n)), ask = want - in->n;
        if (ask > space)
            ask = space;
        errno = 0;
        size_t got = fread(in->data + in->n, 1, ask, in->f);
        in->n += got;
        if (got < ask) {
            if (ferror(in->f))
                in->error = errno ? errno : EIO;
            break;
        }
    }
    return in->n >= want;
}

void mts_input_drop(mts_input *in, size_t n)
{
    in->n -= n;
    in->offset += (int64_t)n;
    in->data = in->n ? in->data + n : in->buffer;
}

int mts_input_jump(mts_input *in, int64_t n)
{
    size_t have = (int64_t)in->n < n ? in->n : (size_t)n;
    mts_input_drop(in, have);
    n -= (int64_t)have;
    if (!n)
        return 0;
    /* Seeking beyond the end is no error, so the last byte is read. */
    if (fseeko(in->f, (off_t)(n - 1), SEEK_CUR)) {
        in->error = errno;
        return -1;
    }
    if (getc(in->f) == EOF)
        return -1;
    in->offset += n;
    return 0;
}

void mts_input_free(mts_input *in)
{
    free(in->buffer);
}
