/* text-stream KIND LAYERS WIDTH RATE: lines "key number number ..." on stdin become a stream of records [T, WIDTH], or
 * [T, LAYERS, WIDTH] for hidden, with RATE frames a second (0: none). For tests that need features with known contents.
 */
#include "formats/stream/mts.h"

#include <stdlib.h>
#include <string.h>

static void die(const char *why)
{
    fprintf(stderr, "text-stream: %s\n", why);
    exit(1);
}

static int64_t read_values(char *line, float **to, int64_t *room)
{
    int64_t n = 0;
    for (char *s = strtok(line, " "); s; s = strtok(NULL, " ")) {
        if (n == *room) {
            *room = 2 * *room + 64;
            *to = realloc(*to, (size_t)*room * sizeof **to);
            if (!*to)
                die("out of memory");
        }
        (*to)[n++] = strtof(s, NULL);
    }
    return n;
}

int main(int argc, char **argv)
{
    static mts_begin begin = {.row_first = -1, .row_end = -1, .rows_total = -1};
    char error[256], *line = NULL;
    size_t size = 0;
    float *x = NULL;
    int64_t room = 0, layers, width;
    mts_writer *w;
    if (argc != 5)
        die("KIND LAYERS WIDTH RATE");
    layers = atoi(argv[2]);
    width = atoi(argv[3]);
    w = mts_writer_open(stdout, "standard output", &begin, 1);
    for (ssize_t n; w && (n = getline(&line, &size, stdin)) > 0;) {
        mts_record r = {.row = -1, .dtype = MTS_F32, .frame_rate_num = atoi(argv[4]), .frame_rate_den = 1};
        char *values = strchr(line, ' ');
        line[n - 1] = 0;
        if (!values)
            die("a line without numbers");
        *values++ = 0;
        snprintf(r.kind, sizeof r.kind, "%s", argv[1]);
        snprintf(r.key, sizeof r.key, "%s", line);
        r.shape[0] = read_values(values, &x, &room) / (layers * width);
        r.ndim = strcmp(argv[1], "hidden") ? 2 : 3;
        r.shape[1] = r.ndim == 3 ? layers : width;
        r.shape[2] = r.ndim == 3 ? width : 0;
        if (mts_write_record(w, &r) || mts_write_frames(w, x, r.shape[0]) || mts_write_record_end(w))
            die(mts_writer_error(w));
    }
    free(line);
    free(x);
    if (!w || mts_writer_close(w, 1, error, sizeof error))
        die(w ? error : "out of memory");
    return 0;
}
