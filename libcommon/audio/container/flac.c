#include "libcommon/audio/container/flac.h"

#include "libcommon/audio/container/bytes.h"

#include <string.h>

int mert_flac_bits(const char *path)
{
    mert_bytes *b = mert_bytes_open(path); /* behind ID3v2 tags */
    unsigned char info[22];
    int bits = 0;
    /* "fLaC", a block header, STREAMINFO: in it from byte 10 on 20 bits of rate, 3 of channels, 5 of bits. */
    if (b && mert_bytes_read(b, 0, info, sizeof info) && !memcmp(info, "fLaC", 4) && !(info[4] & 127))
        bits = ((info[20] & 1) << 4 | info[21] >> 4) + 1;
    mert_bytes_close(b);
    return bits;
}
