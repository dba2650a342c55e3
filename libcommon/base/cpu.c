#ifdef MERT_HAVE_AMX
#define _GNU_SOURCE
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "libcommon/base/cpu.h"

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
    static int chosen = -1; /* no lock needed: every thread finds the same value */
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

int mert_cpu_isa_known(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return 1;
    return 0;
}

const char *mert_cpu_isa_name(void)
{
    return names[mert_cpu_isa()];
}

#if defined(MERT_HAVE_AMX) || defined(MERT_HAVE_BF16) || defined(MERT_HAVE_VNNI)
/* An extension of AVX-512 is not used if $MERT_ISA is set: no name stands for it. */
static int pinned(void)
{
    const char *wish = getenv("MERT_ISA");
    return (wish && mert_cpu_isa_known(wish)) || mert_cpu_isa() != MERT_ISA_AVX512;
}
#endif

#ifdef MERT_HAVE_AMX
/* The state of the tiles is large, so Linux needs a request for it, once per process. */
static int have_amx(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    return !pinned() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) &&
           (d & AMX_TILE) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

int mert_cpu_amx(void)
{
    static int known = -1; /* no lock needed: every thread finds the same value */
    int now = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (now < 0) {
        now = have_amx();
        __atomic_store_n(&known, now, __ATOMIC_RELAXED);
    }
    return now;
}
#else
int mert_cpu_amx(void)
{
    return 0;
}
#endif

int mert_cpu_bf16(void)
{
#ifdef MERT_HAVE_BF16
    return !pinned() && __builtin_cpu_supports("avx512bf16");
#else
    return 0;
#endif
}

int mert_cpu_vnni(void)
{
#ifdef MERT_HAVE_VNNI
    return !pinned() && __builtin_cpu_supports("avx512vnni");
#else
    return 0;
#endif
}
