/* Headers of tar files, as they are, and with right checksums, which let more of them through. What is found lies
 * inside of the file, and is found again by its name. */
#include "tests/fuzz/fuzz.h"

#include "formats/tar.h"

enum { BLOCK = 512, SUM = 148, MAGIC = 257 };

static void read_one(const uint8_t *data, size_t size)
{
    mert_tar t;
    mert_error e;
    if (mert_tar_open(&t, fuzz_file("x.tar", data, size), MERT_INDEX_FORGET, &e))
        return;
    for (int64_t i = 0; i < t.n; i++) {
        const mert_tar_member *m = &t.members[i], *found = mert_tar_find(&t, mert_tar_name(&t, m));
        FUZZ_CHECK(m->size >= 0 && (uint64_t)(m->offset + m->size) <= size);
        FUZZ_CHECK(m->offset >= BLOCK || (!m->offset && !m->size)); /* the latter: a link */
        FUZZ_CHECK(found && !strcmp(mert_tar_name(&t, found), mert_tar_name(&t, m)));
    }
    mert_tar_close(&t);
}

/* Blocks with ustar's or GNU tar's magic are taken for headers. */
static void mend(uint8_t *block)
{
    char text[8];
    unsigned sum = 0;
    if (memcmp(block + MAGIC, "ustar", 5))
        return;
    memset(block + SUM, ' ', 8);
    for (int i = 0; i < BLOCK; i++)
        sum += block[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(block + SUM, text, 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1);
    FUZZ_CHECK(copy);
    read_one(data, size);
    memcpy(copy, data, size);
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK)
        mend(copy + at);
    read_one(copy, size);
    free(copy);
    return 0;
}
