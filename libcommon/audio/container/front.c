#include "libcommon/audio/container/front.h"

#include "libcommon/audio/container/bytes.h"

#include <string.h>

/* The first bytes of containers; a dot matches any byte. */
static const struct {
    char first[29];
    int n;
    const char *name;
} containers[] = {{"RIFF....WAVE", 12, "a WAV file"},
                  {"RIFX....WAVE", 12, "a WAV file"},
                  {"RF64....WAVE", 12, "a WAV file"},
                  {"BW64....WAVE", 12, "a WAV file"},
                  {"riff....................wave", 28, "a W64 file"},
                  {"RIFF....AVI ", 12, "an AVI file"},
                  {"FORM....AIF", 11, "an AIFF file"},
                  {"caff\0\1\0\0", 8, "a CAF file"},
                  {"fLaC.\0\0\x22", 8, "a FLAC file"},
                  {"OggS\0\2", 6, "an Ogg file"},
                  {"wvpk....", 8, "a WavPack file"},
                  {"TTA1\1\0", 6, "a TTA file"},
                  {"MPCKSH", 6, "a Musepack file"},
                  {"....ftyp", 8, "an MP4 file"},
                  {"\x1a\x45\xdf\xa3.\x42\x86", 7, "a Matroska file"},
                  {"\x30\x26\xb2\x75\x8e\x66\xcf\x11", 8, "an ASF file"}};

enum { LOOK = 1 << 16, HEAD = 28 };

static const char *name_at(const unsigned char *p)
{
    for (size_t i = 0; i < sizeof containers / sizeof *containers; i++) {
        const char *first = containers[i].first;
        int same = 0;
        while (same < containers[i].n && (first[same] == '.' || (char)p[same] == first[same]))
            same++;
        if (same == containers[i].n)
            return containers[i].name;
    }
    return NULL;
}

int64_t mert_front(const char *path, const char **name)
{
    mert_bytes *b = mert_bytes_open(path);
    const unsigned char *p;
    int64_t at = 0, found = 0;
    *name = NULL;
    for (; b && at < LOOK && !*name && (p = mert_bytes_at(b, at, HEAD)); at++)
        if ((*name = name_at(p)) && (at || !memcmp(p + 4, "ftyp", 4)))
            found = b->base + at;
    mert_bytes_close(b);
    return found;
}
