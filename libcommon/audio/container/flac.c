#include "libcommon/audio/container/flac.h"

#include <stdio.h>
#include <string.h>

int mert_flac_bits(const char *path)
{
    unsigned char head[10] = {0}, info[22];
    int bits = 0;
    FILE *f = fopen(path, "rb");
    if (!f)
        return 0;
    while (fread(head, 1, sizeof head, f) == sizeof head && !memcmp(head, "ID3", 3)) {
        long size = (long)(head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | (head[9] & 127);
        if (fseek(f, size + (head[5] & 16 ? 10 : 0), SEEK_CUR))
            break;
    }
    /* "fLaC", a block header, STREAMINFO: in it from byte 10 on 20 bits of rate, 3 of channels, 5 of bits. */
    memcpy(info, head, sizeof head);
    if (!memcmp(info, "fLaC", 4) && !(info[4] & 127) && fread(info + sizeof head, 1, 12, f) == 12)
        bits = ((info[20] & 1) << 4 | info[21] >> 4) + 1;
    fclose(f);
    return bits;
}
