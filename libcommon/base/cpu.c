#include "cpu.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"generic", "avx2", "avx512"};

static mert_isa best(void)
{
#ifdef MERT_HAVE_AVX512
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
        return MERT_ISA_AVX512;
#endif
#ifdef MERT_HAVE_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return MERT_ISA_AVX2;
#endif
    return MERT_ISA_GENERIC;
}

mert_isa mert_cpu_isa(void)
{
    static int chosen = -1; /* every thread would choose the same */
    int now = __atomic_load_n(&chosen, __ATOMIC_RELAXED);
    if (now < 0) {
        const char *wish = getenv("MERT_ISA");
        now = best();
        for (int i = 0; wish && i < now; i++)
            if (!strcmp(wish, names[i]))
                now = i;
        __atomic_store_n(&chosen, now, __ATOMIC_RELAXED);
    }
    return (mert_isa)now;
}

const char *mert_cpu_isa_name(void)
{
    return names[mert_cpu_isa()];
}
