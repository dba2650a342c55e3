#define _GNU_SOURCE
#include "libcommon/plot/colour.h"

#include <math.h>

/* White of D65, and the cube root of CIELAB with its linear part: (6/29)^3, 3 (6/29)^2. */
static const double white[3] = {0.95047, 1, 1.08883};

static double cube(double t)
{
    return t > 6.0 / 29 ? t * t * t : 3 * (6.0 / 29) * (6.0 / 29) * (t - 4.0 / 29);
}

static double to_srgb(double x) /* IEC 61966-2-1 */
{
    return x <= 0.0031308 ? 12.92 * x : 1.055 * pow(x, 1 / 2.4) - 0.055;
}

/* Lightness, chroma, hue in degrees -> sRGB from 0 to 1. Returns 1 if sRGB can represent it. */
static int from_lch(double l, double c, double h, double rgb[3])
{
    const double to[3][3] = {{3.2404542, -1.5371385, -0.4985314},
                             {-0.9692660, 1.8760108, 0.0415560},
                             {0.0556434, -0.2040259, 1.0572252}};
    const double fy = (l + 16) / 116, angle = h * M_PI / 180;
    const double xyz[3] = {white[0] * cube(fy + c * cos(angle) / 500), white[1] * cube(fy),
                           white[2] * cube(fy - c * sin(angle) / 200)};
    int inside = 1;
    for (int i = 0; i < 3; i++) {
        double x = to[i][0] * xyz[0] + to[i][1] * xyz[1] + to[i][2] * xyz[2];
        inside &= x > -1e-4 && x < 1 + 1e-4;
        rgb[i] = to_srgb(fmin(fmax(x, 0), 1));
    }
    return inside;
}

/* The same, with the chroma reduced until sRGB can represent it. */
static mert_colour colour(double l, double c, double h)
{
    double rgb[3], low = 0, high = c;
    if (!from_lch(l, c, h, rgb)) {
        for (int i = 0; i < 20; i++) {
            const double middle = (low + high) / 2;
            if (from_lch(l, middle, h, rgb))
                low = middle;
            else
                high = middle;
        }
        from_lch(l, low, h, rgb);
    }
    return (mert_colour){(unsigned char)lround(255 * rgb[0]), (unsigned char)lround(255 * rgb[1]),
                         (unsigned char)lround(255 * rgb[2])};
}

void mert_colour_table(mert_colour_map map, mert_colour table[MERT_MAP_SIZE])
{
    for (int i = 0; i < MERT_MAP_SIZE; i++) {
        const double t = (double)i / (MERT_MAP_SIZE - 1), up = map == MERT_MAP_DARK ? t : 1 - t;
        table[i] = colour(4 + 93 * up, map == MERT_MAP_GREY ? 0 : 62 * sin(M_PI * (0.06 + 0.8 * up)), 285 + 175 * up);
    }
}

mert_colour mert_colour_class(int64_t c)
{
    const double whole = (double)(uint64_t)c;
    return colour(35 + 50 * fmod(whole * 0.6180339887, 1), 55, 360 * fmod(whole * 0.7548776662, 1));
}

mert_colour mert_colour_line(int i)
{
    static const mert_colour lines[] = {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167},
                                        {230, 159, 0}, {86, 180, 233}, {0, 0, 0}};
    return lines[(unsigned)i % (sizeof lines / sizeof *lines)];
}

double mert_colour_lightness(mert_colour c)
{
    const double part[3] = {0.2126729, 0.7151522, 0.0721750}, rgb[3] = {c.r / 255.0, c.g / 255.0, c.b / 255.0};
    double y = 0;
    for (int i = 0; i < 3; i++)
        y += part[i] * (rgb[i] <= 0.04045 ? rgb[i] / 12.92 : pow((rgb[i] + 0.055) / 1.055, 2.4));
    return y > 216.0 / 24389 ? 116 * cbrt(y) - 16 : y * 24389 / 27;
}
