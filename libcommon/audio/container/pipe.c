#include "libcommon/audio/container/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER = 1 << 15 };

typedef struct source {
    int fd;
    unsigned char *first;    /* the bytes that were looked at, and how many of them were returned */
    size_t n, given;
    int begun;               /* bytes after them were returned */
    int lacking;             /* out of memory while looking: the next read returns the error */
} source;

/* read(2), with FFmpeg's error code instead of -1. */
static ssize_t get(int fd, void *to, size_t n)
{
    ssize_t got;
    while ((got = read(fd, to, n)) < 0 && errno == EINTR)
        ;
    return got < 0 ? AVERROR(errno) : got;
}

static int read_some(void *self, uint8_t *to, int n)
{
    source *s = self;
    ssize_t got;
    if (s->lacking)
        return AVERROR(ENOMEM);
    if (s->given < s->n) {
        size_t some = s->n - s->given < (size_t)n ? s->n - s->given : (size_t)n;
        memcpy(to, s->first + s->given, some);
        s->given += some;
        return (int)some;
    }
    s->begun = 1;
    got = get(s->fd, to, (size_t)n);
    return got ? (int)got : AVERROR_EOF;
}

/* Only answers the question for the size, with 0, as FFmpeg's own pipe protocol does; demuxers expect that. */
static int64_t seek(void *self, int64_t offset, int whence)
{
    (void)self, (void)offset;
    return whence & AVSEEK_SIZE ? 0 : AVERROR(ESPIPE);
}

AVIOContext *mert_pipe_open(const char *path, mert_error *e)
{
    source *s = calloc(1, sizeof *s);
    unsigned char *buffer = av_malloc(BUFFER);
    AVIOContext *io = s && buffer ? avio_alloc_context(buffer, BUFFER, 0, s, read_some, NULL, seek) : NULL;
    if (!io) {
        av_free(buffer);
        free(s);
        mert_fail(e, "out of memory");
        return NULL;
    }
    io->seekable = 0;
    if ((s->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
        mert_fail(e, "cannot be opened: %s", strerror(errno));
        mert_pipe_close(&io);
    }
    return io;
}

void mert_pipe_close(AVIOContext **io)
{
    source *s = *io ? (*io)->opaque : NULL;
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    free(s->first);
    free(s);
    av_freep(&(*io)->buffer);
    avio_context_free(io);
}

const unsigned char *mert_pipe_look(AVIOContext *io, size_t n)
{
    source *s = io->opaque;
    ssize_t got;
    if (n > MERT_PIPE_LOOK_MAX || (n > s->n && s->begun))
        return NULL;
    if (n > s->n) {
        unsigned char *more = realloc(s->first, n);
        if (!more) {
            s->lacking = 1;
            return NULL;
        }
        s->first = more;
    }
    for (; s->n < n; s->n += (size_t)got)
        if ((got = get(s->fd, s->first + s->n, n - s->n)) <= 0)
            return NULL;
    return s->first;
}
