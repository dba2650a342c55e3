#include "libcommon/audio/container/span.h"

#include "libcommon/audio/container/place.h"

#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 15 };

typedef struct span {
    int fd;
    int64_t begin, size, at; /* begin: in the file; size and at: of the span */
} span;

static int read_some(void *self, uint8_t *to, int n)
{
    span *s = self;
    ssize_t got;
    if (n > s->size - s->at)
        n = (int)(s->size - s->at);
    if (n <= 0)
        return AVERROR_EOF;
    while ((got = pread(s->fd, to, (size_t)n, s->begin + s->at)) < 0 && errno == EINTR)
        ;
    if (got <= 0)
        return got ? AVERROR(errno) : AVERROR_EOF;
    s->at += got;
    return (int)got;
}

static int64_t seek(void *self, int64_t offset, int whence)
{
    span *s = self;
    int64_t to = offset;
    if (whence & AVSEEK_SIZE)
        return s->size;
    whence &= ~AVSEEK_FORCE;
    if (whence == SEEK_CUR)
        to += s->at;
    else if (whence == SEEK_END)
        to += s->size;
    if (to < 0)
        return AVERROR(EINVAL);
    return s->at = to;
}

AVIOContext *mert_span_open(const char *path, int64_t begin, int64_t end, mert_error *e)
{
    span *s = calloc(1, sizeof *s);
    unsigned char *buffer = av_malloc(BUFFER);
    AVIOContext *io = NULL;
    mert_place file = {.fd = -1};
    if (s)
        s->fd = -1;
    if (!s || !buffer) {
        mert_fail(e, "out of memory");
        goto fail;
    }
    if (mert_place_open(&file, path, e))
        goto fail;
    s->fd = file.fd;
    s->begin = begin < file.size ? begin : file.size;
    s->size = (end < file.size ? end : file.size) - s->begin;
    s->begin += file.begin;
    if (!(io = avio_alloc_context(buffer, BUFFER, 0, s, read_some, NULL, seek))) {
        mert_fail(e, "out of memory");
        goto fail;
    }
    return io;
fail:
    if (s && s->fd >= 0)
        close(s->fd);
    av_free(buffer);
    free(s);
    return NULL;
}

void mert_span_close(AVIOContext **io)
{
    span *s = *io ? (*io)->opaque : NULL;
    if (!s)
        return;
    close(s->fd);
    free(s);
    av_freep(&(*io)->buffer);
    avio_context_free(io);
}
