/* Function attributes for the compiler. MERT_PRINTF(f, a): parameter f is a printf format, its arguments begin at
 * parameter a. MERT_MUST_USE: the result says whether the call failed, so the caller must not ignore it. */
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
