/* Shared by the fuzz targets. A target is one file, tests/fuzz/NAME.c, which calls a parser of foreign bytes with
 * arbitrary bytes. With libFuzzer (`make fuzz`) it is a fuzzer; with replay.c it reads the inputs of its corpus again
 * (`make check`), under the sanitizers too (`make asan`).
 *
 * Parsers that read files get them in a temporary folder of the process. */
#ifndef MERT_FUZZ_H
#define MERT_FUZZ_H

#define _GNU_SOURCE /* memmem: targets include this first */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A condition that must hold; otherwise the target aborts. */
#define FUZZ_CHECK(condition)                                                      \
    do {                                                                           \
        if (!(condition)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                               \
        }                                                                          \
    } while (0)

static char fuzz_dir[64];

static inline void fuzz_clean(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_dir);
    if (system(command))
        fprintf(stderr, "%s: cannot be removed\n", fuzz_dir);
}

/* A path in the process's folder; valid for the next seven calls. */
static inline const char *fuzz_path(const char *name)
{
    static char path[8][256];
    static int turn;
    if (!*fuzz_dir) {
        strcpy(fuzz_dir, access("/dev/shm", W_OK) ? "/tmp/mert-fuzz-XXXXXX" : "/dev/shm/mert-fuzz-XXXXXX");
        FUZZ_CHECK(mkdtemp(fuzz_dir));
        atexit(fuzz_clean);
    }
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", fuzz_dir, name);
    return path[turn];
}

static inline const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    const char *path = fuzz_path(name);
    FILE *f = fopen(path, "wb");
    FUZZ_CHECK(f && fwrite(data, 1, size, f) == size && !fclose(f));
    return path;
}

/* Divides an input at lines "--" into several files; a part that is missing or "none" gives no file. */
static inline void fuzz_files(const char *const *names, const uint8_t *data, size_t size)
{
    static const char line[] = "\n--\n";
    for (; *names; names++) {
        const uint8_t *end = size ? memmem(data, size, line, 4) : NULL;
        size_t n = end ? (size_t)(end - data) + 1 : size, used = end ? n + 3 : n; /* the newline belongs to the file */
        if (!n || (n >= 4 && !memcmp(data, "none", 4)))
            unlink(fuzz_path(*names));
        else
            fuzz_file(*names, data, n);
        data += used;
        size -= used;
    }
}

#endif
