#include "tools/mert-decode/crops.h"

#include "formats/array.h"
#include "libcommon/audio/crop.h"
#include "libcommon/dsp/pcm.h"
#include "libcommon/program/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COUNT_MAX = 1 << 28 }; /* samples of a crop: 3 hours at 24000 Hz */

typedef struct room {
    float *samples;
    unsigned char *bytes;
    int64_t n;
} room;

static int make_room(room *r, int64_t n, mert_error *e)
{
    if (n <= r->n)
        return 0;
    free(r->samples);
    free(r->bytes);
    r->samples = mert_array(n, sizeof *r->samples);
    r->bytes = mert_array(n, 2);
    r->n = r->samples && r->bytes ? n : 0;
    return r->n ? 0 : mert_fail(e, "out of memory");
}

/* Samples as they are sent. */
static void narrow(const room *r, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint16_t v = (uint16_t)mert_pcm_to_i16(r->samples[i]);
        r->bytes[2 * i] = (unsigned char)(v & 255);
        r->bytes[2 * i + 1] = (unsigned char)(v >> 8);
    }
}

static int answer(const char *request, int rate, room *r, int64_t *n, mert_error *e)
{
    mert_audio_crop crop = {.rate = rate};
    int path = 0;
    if (sscanf(request, "%" SCNd64 " %" SCNd64 " %" SCNd64 "%n", &crop.first, &crop.n, &crop.whole, &path) != 3 ||
        request[path] != ' ' || crop.first < 0 || crop.n < 1 || crop.n > COUNT_MAX || crop.first > INT64_MAX / 2)
        return mert_fail(e, "no request: FIRST COUNT WHOLE PATH");
    if (make_room(r, crop.n, e) || mert_audio_crop_read(request + path + 1, &crop, r->samples, e))
        return -1;
    narrow(r, crop.n);
    *n = crop.n;
    return 0;
}

/* Ends the process once the other end of its socket is gone: nobody waits for the answer, and the main thread may hang
 * in a file. */
static void *watch(void *unused)
{
    struct pollfd other_end = {.fd = STDIN_FILENO};
    while (poll(&other_end, 1, -1) < 0 && errno == EINTR)
        ;
    _exit(0);
    return unused;
}

/* A pipe that is closed may still have requests in it. */
static void watch_socket(void)
{
    pthread_t thread;
    struct stat s;
    if (!fstat(STDIN_FILENO, &s) && S_ISSOCK(s.st_mode) && !pthread_create(&thread, NULL, watch, NULL))
        pthread_detach(thread);
}

int crops_answer(int rate)
{
    room r = {0};
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    watch_socket();
    while ((length = getline(&line, &size, stdin)) > 0) {
        mert_error e = {{0}};
        int64_t n = 0;
        if (line[length - 1] == '\n')
            line[length - 1] = 0;
        if (answer(line, rate, &r, &n, &e)) {
            for (char *p = e.text; *p; p++)
                *p = *p == '\n' ? ' ' : *p;
            printf("failed %s\n", e.text);
        } else {
            fputs("ok\n", stdout);
            fwrite(r.bytes, 2, (size_t)n, stdout);
        }
        if (fflush(stdout))
            break;
    }
    free(line);
    free(r.samples);
    free(r.bytes);
    return mert_log_stdout();
}
