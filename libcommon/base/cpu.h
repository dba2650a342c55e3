/* Which copy of the vectorised loops runs. Files named *.kernels.c are compiled once per instruction set with MERT_ISA
 * set to its name; each defines MERT_KERNEL(name) functions and one table of them, and the caller picks a table by
 * mert_cpu_isa(). $MERT_ISA (generic, avx2, avx512) limits the choice, as $OPENBLAS_CORETYPE does for OpenBLAS
 * (contract A1). */
#ifndef MERT_CPU_H
#define MERT_CPU_H

typedef enum mert_isa { MERT_ISA_GENERIC, MERT_ISA_AVX2, MERT_ISA_AVX512 } mert_isa;

mert_isa mert_cpu_isa(void);            /* the best of this machine and this build, or that of $MERT_ISA */
const char *mert_cpu_isa_name(void);
int mert_cpu_isa_known(const char *name); /* 1: one of the names above, even if this machine does not have it */
/* 1: bfloat16 matrix tiles (AMX) can be used: compiler, processor and operating system support them, and $MERT_ISA is
 * not set to a name above. */
int mert_cpu_amx(void);
/* 1: products of bfloat16 numbers with AVX-512 (BF16) can be used: compiler and processor have them, and $MERT_ISA is
 * not set to a name above. */
int mert_cpu_bf16(void);
/* 1: products of bytes with AVX-512 (VNNI) can be used: compiler and processor have them, and $MERT_ISA is not set to a
 * name above. */
int mert_cpu_vnni(void);

#define MERT_KERNEL_JOIN2(a, b) a##_##b
#define MERT_KERNEL_JOIN(a, b) MERT_KERNEL_JOIN2(a, b)
#define MERT_KERNEL(name) MERT_KERNEL_JOIN(name, MERT_ISA) /* inside *.kernels.c */

/* The table called `name` for this machine: MERT_KERNEL_TABLE(mert_vector) with tables mert_vector_generic, _avx2,
 * _avx512, all declared by MERT_KERNEL_DECLARE(type, name). */
#define MERT_KERNEL_DECLARE_GENERIC(type, name) extern const type name##_generic;
#ifdef MERT_HAVE_AVX2
#define MERT_KERNEL_DECLARE_AVX2(type, name) extern const type name##_avx2;
#define MERT_KERNEL_PICK_AVX2(name) mert_cpu_isa() == MERT_ISA_AVX2 ? &name##_avx2 :
#else
#define MERT_KERNEL_DECLARE_AVX2(type, name)
#define MERT_KERNEL_PICK_AVX2(name)
#endif
#ifdef MERT_HAVE_AVX512
#define MERT_KERNEL_DECLARE_AVX512(type, name) extern const type name##_avx512;
#define MERT_KERNEL_PICK_AVX512(name) mert_cpu_isa() == MERT_ISA_AVX512 ? &name##_avx512 :
#else
#define MERT_KERNEL_DECLARE_AVX512(type, name)
#define MERT_KERNEL_PICK_AVX512(name)
#endif
#define MERT_KERNEL_DECLARE(type, name) \
    MERT_KERNEL_DECLARE_GENERIC(type, name) MERT_KERNEL_DECLARE_AVX2(type, name) MERT_KERNEL_DECLARE_AVX512(type, name)
#define MERT_KERNEL_TABLE(name) (MERT_KERNEL_PICK_AVX512(name) MERT_KERNEL_PICK_AVX2(name) &name##_generic)

#endif
