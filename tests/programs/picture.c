/* Looks at PNG files, for tests:
 *   picture size A         "WIDTH HEIGHT"
 *   picture at A X Y       the colour there, "#rrggbb"
 *   picture brightest A X  the row of column X, from 0 at the top, whose colour is lightest
 *   picture near A B MEAN  succeeds if both have the same size, and bytes that differ by at most MEAN on average */
#include "libcommon/plot/colour.h"

#include <cairo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct picture {
    cairo_surface_t *surface;
    int width, height;
} picture;

static picture open_picture(const char *path)
{
    picture p = {.surface = cairo_image_surface_create_from_png(path)};
    if (cairo_surface_status(p.surface) != CAIRO_STATUS_SUCCESS) {
        fprintf(stderr, "picture: %s: %s\n", path, cairo_status_to_string(cairo_surface_status(p.surface)));
        exit(2);
    }
    p.width = cairo_image_surface_get_width(p.surface);
    p.height = cairo_image_surface_get_height(p.surface);
    return p;
}

static mert_colour at(const picture *p, int x, int y)
{
    const unsigned char *data = cairo_image_surface_get_data(p->surface);
    uint32_t word;
    if (x < 0 || y < 0 || x >= p->width || y >= p->height) {
        fprintf(stderr, "picture: %d %d is outside of %d x %d\n", x, y, p->width, p->height);
        exit(2);
    }
    memcpy(&word, data + (size_t)y * (size_t)cairo_image_surface_get_stride(p->surface) + 4 * (size_t)x, sizeof word);
    return (mert_colour){(unsigned char)(word >> 16), (unsigned char)(word >> 8), (unsigned char)word};
}

static int near(const picture *a, const picture *b, double most)
{
    double sum = 0;
    if (a->width != b->width || a->height != b->height) {
        printf("%d x %d is not %d x %d\n", a->width, a->height, b->width, b->height);
        return 1;
    }
    for (int y = 0; y < a->height; y++)
        for (int x = 0; x < a->width; x++) {
            const mert_colour c = at(a, x, y), d = at(b, x, y);
            sum += abs(c.r - d.r) + abs(c.g - d.g) + abs(c.b - d.b);
        }
    sum /= 3.0 * a->width * a->height;
    if (sum > most)
        printf("mean difference %.3f, more than %g\n", sum, most);
    return sum > most;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    const picture a = argc > 2 ? open_picture(argv[2]) : (picture){0};
    int status = 0;
    if (!strcmp(what, "size") && argc == 3) {
        printf("%d %d\n", a.width, a.height);
    } else if (!strcmp(what, "at") && argc == 5) {
        const mert_colour c = at(&a, atoi(argv[3]), atoi(argv[4]));
        printf("#%02x%02x%02x\n", c.r, c.g, c.b);
    } else if (!strcmp(what, "brightest") && argc == 4) {
        int best = 0;
        for (int y = 1; y < a.height; y++)
            if (mert_colour_lightness(at(&a, atoi(argv[3]), y)) > mert_colour_lightness(at(&a, atoi(argv[3]), best)))
                best = y;
        printf("%d\n", best);
    } else if (!strcmp(what, "near") && argc == 5) {
        const picture b = open_picture(argv[3]);
        status = near(&a, &b, atof(argv[4]));
        cairo_surface_destroy(b.surface);
    } else {
        fprintf(stderr, "picture: size A | at A X Y | brightest A X | near A B MEAN\n");
        status = 2;
    }
    if (a.surface)
        cairo_surface_destroy(a.surface);
    return status;
}
