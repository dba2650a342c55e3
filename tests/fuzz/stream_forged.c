/* Streams with corrected checksums, so that the fuzzer reaches the code that checks the fields of descriptive
 * frames. */
#include "tests/fuzz/stream_read.h"

static void put_hash(uint8_t *to, uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)hash);
    memcpy(to, text, 16);
}

/* The value of a field in a frame's text, 16 bytes of it; NULL: none. */
static uint8_t *field(uint8_t *text, size_t size, const char *name)
{
    size_t n = strlen(name);
    uint8_t *at = memmem(text, size, name, n);
    return at && at + n + 16 <= text + size ? at + n : NULL;
}

static void repair(uint8_t *data, size_t size)
{
    uint64_t id = 0;
    for (size_t i = 0; i + 8 <= size;) {
        size_t n = (size_t)data[i + 4] | (size_t)data[i + 5] << 8 | (size_t)data[i + 6] << 16;
        uint8_t *text = data + i + 8, *hash, *value, *number;
        if (memcmp(data + i, "\x54\x2a\x4d\x18", 4) || n < 32 || n > size - i - 8 || memcmp(text, "MTS1 ", 5) ||
            memcmp(text + n - 23, "xxh64=", 6)) {
            i++;
            continue;
        }
        hash = text + n - 17;
        if (!memcmp(text + 5, "begin", 5))
            id = mts_xxh64(text, n - 23, 0);
        else if (id && (value = field(text, n, "\nstream="))) /* without a begin frame the ids are unchanged */
            put_hash(value, id);
        if (!memcmp(text + 5, "chunk", 5) && (value = field(text, n, "\ndata=")) && (number = field(text, n, "\nsize="))) {
            size_t bytes = strtoull((const char *)number, NULL, 10), rest = size - i - 8 - n;
            put_hash(value, mts_xxh64(text + n, bytes < rest ? bytes : rest, 0));
        }
        put_hash(hash, mts_xxh64(text, n - 23, 0));
        i += 8 + n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    FUZZ_CHECK(copy);
    memcpy(copy, data, size);
    copy[size] = 0;
    repair(copy, size);
    fuzz_stream(copy, size);
    free(copy);
    return 0;
}
