#define _GNU_SOURCE
#include "container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint32_t little(const unsigned char *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* ---- WAV ---- */

enum { PIPE_SIZE_MIN = 0x7ffff000 }; /* programs that write into a pipe put such sizes, or 0 */

int64_t mert_wav_missing(const char *path)
{
    unsigned char head[12], chunk[8], ds64[16];
    struct stat s;
    int64_t big = 0, size, missing = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    if (fstat(fileno(f), &s) || !S_ISREG(s.st_mode) || fread(head, 1, 12, f) != 12 ||
        (memcmp(head, "RIFF", 4) && memcmp(head, "RF64", 4)) || memcmp(head + 8, "WAVE", 4))
        goto done;
    while (fread(chunk, 1, 8, f) == 8) {
        size = little(chunk + 4);
        if (!memcmp(chunk, "ds64", 4) && size >= 16) {
            if (fread(ds64, 1, 16, f) != 16)
                break;
            big = (int64_t)little(ds64 + 8) | (int64_t)little(ds64 + 12) << 32;
            size -= 16;
        } else if (!memcmp(chunk, "data", 4)) {
            if (size == 0xffffffff && big > 0)
                size = big;
            else if (size >= PIPE_SIZE_MIN)
                break;
            missing = size - (s.st_size - ftello(f));
            break;
        }
        if (fseeko(f, size + (size & 1), SEEK_CUR))
            break;
    }
done:
    fclose(f);
    return missing > 0 ? missing : 0;
}
