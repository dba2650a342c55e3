#define _GNU_SOURCE
#include "libcommon/audio/container/whole.h"

#include "libcommon/audio/container/bytes.h"
#include "libcommon/audio/container/pipe.h"
#include "libcommon/audio/container/place.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- bytes ---- */

static void pass_id3(mert_bytes *b)
{
    const unsigned char *p;
    int64_t tag;
    while ((p = mert_bytes_at(b, 0, 10)) && !memcmp(p, "ID3", 3)) {
        tag = 10 + ((p[6] & 127) << 21 | (p[7] & 127) << 14 | (p[8] & 127) << 7 | (p[9] & 127)) + (p[5] & 16 ? 10 : 0);
        tag = tag < b->size ? tag : b->size;
        b->base += tag;
        b->size -= tag;
        b->n = 0;
    }
}

static mert_bytes *new_bytes(void)
{
    mert_bytes *b = malloc(sizeof *b);
    if (!b)
        return NULL;
    b->fd = -1;
    b->pipe = NULL;
    b->n = 0;
    b->from = b->base = b->origin = 0;
    return b;
}

mert_bytes *mert_bytes_of_pipe(AVIOContext *pipe)
{
    mert_bytes *b = new_bytes();
    if (!b)
        return NULL;
    b->pipe = pipe;
    b->size = INT64_MAX / 2;
    pass_id3(b);
    return b;
}

mert_bytes *mert_bytes_open(const char *path)
{
    mert_bytes *b = new_bytes();
    mert_place file;
    mert_error unsaid;
    if (!b)
        return NULL;
    /* A FIFO is not opened: its writer would take this for the real reader, and could finish before that one opens
     * it. */
    if (mert_place_open(&file, path, &unsaid)) {
        int why = errno;
        mert_bytes_close(b);
        errno = why;
        return NULL;
    }
    b->fd = file.fd;
    b->origin = file.begin;
    b->size = file.size;
    pass_id3(b);
    return b;
}

void mert_bytes_close(mert_bytes *b)
{
    if (b && b->fd >= 0)
        close(b->fd);
    free(b);
}

const unsigned char *mert_bytes_at(mert_bytes *b, int64_t at, size_t n)
{
    const unsigned char *first;
    if (at < 0 || n > sizeof b->window || at > b->size - (int64_t)n)
        return NULL;
    if (b->pipe) {
        first = mert_pipe_look(b->pipe, (size_t)(b->base + at) + n);
        return first ? first + b->base + at : NULL;
    }
    if (at < b->from || at + (int64_t)n > b->from + (int64_t)b->n) {
        int64_t begin = b->origin + b->base + at;
        ssize_t got = 0;
        b->from = at;
        for (b->n = 0; b->n < n; b->n += (size_t)got)
            if ((got = pread(b->fd, b->window + b->n, sizeof b->window - b->n, begin + (int64_t)b->n)) <= 0)
                return NULL;
    }
    return b->window + (at - b->from);
}

int mert_bytes_read(mert_bytes *b, int64_t at, void *to, size_t n)
{
    const unsigned char *p = mert_bytes_at(b, at, n);
    if (p)
        memcpy(to, p, n);
    return p != NULL;
}

uint64_t mert_little(const unsigned char *p, int n)
{
    uint64_t x = 0;
    while (n-- > 0)
        x = x << 8 | p[n];
    return x;
}

uint64_t mert_big(const unsigned char *p, int n)
{
    uint64_t x = 0;
    for (int i = 0; i < n; i++)
        x = x << 8 | p[i];
    return x;
}

/* ---- all containers ---- */

void mert_whole_hold(mert_whole *w, const mert_bytes *b, const char *what, int64_t at, uint64_t size)
{
    if (!*w->cut.text && size < UINT64_C(1) << 56 && (int64_t)size > b->size - at)
        mert_fail(&w->cut, "%s promises %" PRIu64 " bytes, %" PRId64 " are there", what, size, b->size - at);
}

static const struct {
    const char *demuxer;
    mert_check_container *check;
} containers[] = {{"wav", mert_check_wav},
                  {"w64", mert_check_w64},
                  {"avi", mert_check_avi},
                  {"aiff", mert_check_aiff},
                  {"au", mert_check_au},
                  {"caf", mert_check_caf},
                  {"mov,mp4,m4a,3gp,3g2,mj2", mert_check_mp4},
                  {"asf", mert_check_asf},
                  {"flv", mert_check_flv},
                  {"matroska,webm", mert_check_matroska},
                  {"rm", mert_check_real},
                  {"mpc8", mert_check_musepack},
                  {"aac", mert_check_adts},
                  {"ac3", mert_check_ac3},
                  {"eac3", mert_check_ac3}};

int mert_whole_check(const char *demuxer, const char *path, mert_whole *w, mert_error *e)
{
    mert_bytes *b = NULL;
    int bad = 0;
    *w->cut.text = 0;
    w->end = w->keep = -1;
    w->skip = 0;
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++) {
        if (strcmp(demuxer, containers[i].demuxer))
            continue;
        errno = 0;
        if ((b = mert_bytes_open(path)))
            containers[i].check(b, w);
        else if (errno)
            bad = mert_fail(e, "cannot be looked at: %s", strerror(errno));
    }
    mert_bytes_close(b);
    return bad;
}
