/* Runs a target on the inputs of a corpus, without a fuzzer: replay CORPUS... (files, or folders of them). */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

static long replayed;

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = NULL;
    long size;
    FUZZ_CHECK(f && !fseek(f, 0, SEEK_END) && (size = ftell(f)) >= 0);
    rewind(f);
    FUZZ_CHECK((data = malloc(size ? (size_t)size : 1)) && fread(data, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    replayed++;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        struct dirent *entry;
        char path[4096];
        if (!d) {
            replay_file(argv[i]);
            continue;
        }
        while ((entry = readdir(d)))
            if (*entry->d_name != '.') {
                snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
                replay_file(path);
            }
        closedir(d);
    }
    printf("%ld inputs\n", replayed);
    return replayed ? 0 : 1;
}
