#include "libcommon/audio/ff_error.h"

#include <errno.h>
#include <libavutil/error.h>
#include <libavutil/log.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char said[200];

static void listen_to(void *context, int level, const char *format, va_list ap)
{
    (void)context;
    if (level > AV_LOG_ERROR || *said)
        return;
    vsnprintf(said, sizeof said, format, ap);
    said[strcspn(said, "\n")] = 0;
    for (size_t n = strlen(said); n && (said[n - 1] == '.' || said[n - 1] == ' '); )
        said[--n] = 0;
}

static void set_listener(void)
{
    av_log_set_callback(listen_to);
}

void mert_ff_listen(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_listener);
}

void mert_ff_forget(void)
{
    *said = 0;
}

const char *mert_ff_said(void)
{
    return said;
}

/* errno codes that can be trusted. FFmpeg's demuxers return others (EPERM, which is -1, and EIO) for unrelated
 * reasons. */
static int is_of_the_system(int code)
{
    switch (-code) {
    case ENOMEM: case EACCES: case ENOENT: case EISDIR: case EMFILE: case ENFILE: case ESPIPE: case ENXIO:
    case ESTALE: case EBADF: return 1;
    default: return 0;
    }
}

/* FFmpeg's text for a code; 0: none, or one without information. */
static int words(int code, char *to, size_t size)
{
    if (!code || code == AVERROR(EPERM) || code == AVERROR_UNKNOWN || code == AVERROR_BUG || code == AVERROR_BUG2)
        return 0;
    return av_strerror(code, to, size) == 0;
}

void mert_ff_add(mert_error *e, int code)
{
    char text[AV_ERROR_MAX_STRING_SIZE];
    size_t n;
    if (!e)
        return;
    n = strlen(e->text);
    if (is_of_the_system(code))
        snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(-code));
    else if (*said)
        snprintf(e->text + n, sizeof e->text - n, " (FFmpeg: %s)", said);
    else if (words(code, text, sizeof text))
        snprintf(e->text + n, sizeof e->text - n, " (FFmpeg: %s)", text);
    else if (code)
        snprintf(e->text + n, sizeof e->text - n, " (FFmpeg gives no reason but its number %d)", code);
}
