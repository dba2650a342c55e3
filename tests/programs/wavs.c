/* wavs DIR FIRST END: DIR/00/0000.wav and so on, from number FIRST to END - 1, ten to a folder: short tones in noise,
 * all different, made from their number alone. 0.2 to 1 s at 24000 Hz, one channel, 16 bit. */
#include "formats/error.h"
#include "formats/file.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE = 24000, LONGEST = RATE };

static void little_endian(unsigned char *to, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(v >> 8 * i);
}

static uint32_t scrambled(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

static int make(const char *dir, int number, mert_error *e)
{
    static unsigned char out[44 + 2 * LONGEST];
    char path[1024];
    uint32_t seed = scrambled((uint32_t)number + 1), n = RATE / 5 + seed % (LONGEST - RATE / 5);
    double hz = 110 * pow(2, (double)(seed >> 8) / (1 << 24) * 5);
    FILE *f;
    snprintf(path, sizeof path, "%s/%02d", dir, number / 10);
    if (mert_make_directory(path, e))
        return -1;
    snprintf(path, sizeof path, "%s/%02d/%04d.wav", dir, number / 10, number);
    memcpy(out, "RIFF....WAVEfmt ", 16);
    little_endian(out + 4, 36 + 2 * n, 4);
    little_endian(out + 16, 16, 4);
    little_endian(out + 20, 1, 2);
    little_endian(out + 22, 1, 2);
    little_endian(out + 24, RATE, 4);
    little_endian(out + 28, 2 * RATE, 4);
    little_endian(out + 32, 2, 2);
    little_endian(out + 34, 16, 2);
    memcpy(out + 36, "data", 4);
    little_endian(out + 40, 2 * n, 4);
    for (uint32_t i = 0; i < n; i++) {
        double x = 9000 * sin(6.283185307179586 * hz * i / RATE) + (double)(scrambled(seed + i) >> 20);
        little_endian(out + 44 + 2 * i, (uint32_t)(int32_t)x, 2);
    }
    if (!(f = fopen(path, "wb")))
        return mert_fail(e, "%s: cannot make it", path);
    if (fwrite(out, 44 + 2 * n, 1, f) != 1)
        mert_fail(e, "%s: cannot write it", path);
    return fclose(f) ? mert_fail(e, "%s: cannot write it", path) : 0;
}

int main(int argc, char **argv)
{
    mert_error e = {{0}};
    if (argc != 4)
        return 2;
    for (int i = atoi(argv[2]); i < atoi(argv[3]); i++)
        if (make(argv[1], i, &e)) {
            fprintf(stderr, "wavs: %s\n", e.text);
            return 1;
        }
    return 0;
}
