/* What compilers are told of functions: MERT_PRINTF(f, a) of the format, parameter f, of arguments from a on (as printf
 * has them); MERT_MUST_USE of a result that must not be passed over, since it says whether the call failed. */
#ifndef MERT_ATTRIBUTES_H
#define MERT_ATTRIBUTES_H

#if defined __GNUC__
#define MERT_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define MERT_MUST_USE __attribute__((warn_unused_result))
#define MERT_NO_RETURN __attribute__((noreturn))
#else
#define MERT_PRINTF(f, a)
#define MERT_MUST_USE
#define MERT_NO_RETURN
#endif

#endif
