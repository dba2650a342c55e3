# The libraries in another program, which is compiled outside the tree and encodes a clip in two threads at once, each
# with a pool of its own.
. tests/shell
cat > "$TEST_TMP/clip.c" <<'END'
#include "libcommon/base/pool.h"
#include "libcommon/models/inference/inference.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static float pcm[8000], answers[2][100000];
static mert_weights weights;

static void *encode(void *to)
{
    mert_error e;
    const float *rows;
    int64_t n = 0;
    mert_pool *pool = mert_pool_new(to == answers[0] ? 1 : 3);
    mert_inference *m;
    mert_pool_use(pool);
    m = mert_inference_new(&weights, mert_ops_cpu(), MERT_PACKED_F32, &weights.layout.config.layers, 1, &e);
    if (!m || mert_inference_run(m, pcm, 8000, &rows, &n, &e))
        return NULL;
    memcpy(to, rows, (size_t)(n * mert_inference_width(m)) * sizeof *rows);
    mert_inference_free(m);
    mert_pool_free(pool);
    return to;
}

int main(int argc, char **argv)
{
    mert_error e;
    pthread_t other;
    void *b = NULL;
    if (argc < 2 || mert_weights_load(&weights, argv[1], 0, &e))
        return 2;
    for (int i = 0; i < 8000; i++)
        pcm[i] = (float)((i * 37) % 200 - 100) / 200;
    if (pthread_create(&other, NULL, encode, answers[1]) || !encode(answers[0]) || pthread_join(other, &b) || !b)
        return 1;
    fwrite(answers[0], sizeof answers[0], 1, stdout);
    return memcmp(answers[0], answers[1], sizeof answers[0]) != 0;
}
END
libs=$(sed -n 's/^FEATURE_LIBS = //p' "$OUT/features.mk")
# shellcheck disable=SC2086 # flags
compiles() {
    ${CC:-cc} ${MERT_SANITIZED:+-fsanitize=address,undefined} -std=c11 -D_POSIX_C_SOURCE=200809L -I. -o "$TEST_TMP/clip" "$TEST_TMP/clip.c" \
        "$OUT/libmert.a" "$OUT/libmertformats.a" "$OUT/libmts.a" $libs -lm -ldl -pthread
}
check "it compiles against the three libraries" compiles
quiet() { "$TEST_TMP/clip" "$golden/mert-post-ln" > "$TEST_TMP/a.raw" 2> "$TEST_TMP/a.err" && [ ! -s "$TEST_TMP/a.err" ]; }
check "two threads of a program encode at once, and nothing is printed" quiet
