/* A pickle is a program for a stack machine. This is the machine: a stack with marks, a memo, and the values that the
 * program creates. pickle.c reads the bytes and calls one of these functions for each opcode. Opcodes and their
 * effects: the comments of CPython's pickletools.py. Functions that can fail return -1 (or NULL) and fill the error,
 * which has the offset of the opcode. */
#ifndef MERT_PICKLE_MACHINE_H
#define MERT_PICKLE_MACHINE_H

#include "formats/checkpoint/pickle.h"

struct mert_pickle {
    struct mert_pickle_chunk *chunks; /* the memory of all values */
    mert_pickle_value *root;
    mert_pickle_value **persistents;
    size_t npersistents;
    int64_t persistents_room;
    mert_pickle_value none, no, yes, nothing; /* None, False, True, (): immutable, so one of each is enough */
};

typedef struct mert_pickle_machine {
    mert_pickle *p;
    mert_pickle_value **stack, **memo;
    size_t *marks;      /* heights of the stack */
    size_t n, nmemo, nmarks;
    int64_t room, memo_room, marks_room;
    size_t at;          /* offset of the opcode that runs */
    size_t size;        /* size of the pickle: the number of memos is smaller */
    mert_error *e;
} mert_pickle_machine;

/* m must be freed in any case, also on error. To keep the pickle, set m->p to NULL before m is freed. */
int mert_pickle_machine_init(mert_pickle_machine *m, size_t size, mert_error *e) MERT_MUST_USE;
void mert_pickle_machine_free(mert_pickle_machine *m);

/* Fills the error; is -1. */
int mert_pickle_fail(const mert_pickle_machine *m, const char *format, ...) MERT_PRINTF(2, 3);

/* A new value of this type, the rest zero, that lives as long as the pickle. */
mert_pickle_value *mert_pickle_make(mert_pickle_machine *m, mert_pickle_type type);
/* Called by push when the stack is full. */
int mert_pickle_stack_grow(mert_pickle_machine *m);

/* ---- the stack: nothing is taken from below the last mark ---- */

/* v may be NULL: then making it failed, and the error is set already. */
static inline int mert_pickle_push(mert_pickle_machine *m, mert_pickle_value *v)
{
    if (!v || ((int64_t)m->n == m->room && mert_pickle_stack_grow(m)))
        return -1;
    m->stack[m->n++] = v;
    return 0;
}

int mert_pickle_mark(mert_pickle_machine *m);
int mert_pickle_pop(mert_pickle_machine *m);          /* a value, or a mark if that is on top */
int mert_pickle_pop_marked(mert_pickle_machine *m);   /* the last mark and all above it */
int mert_pickle_push_again(mert_pickle_machine *m);   /* the value on top once more */

int mert_pickle_memo_get(mert_pickle_machine *m, uint64_t i);
int mert_pickle_memo_put(mert_pickle_machine *m, uint64_t i); /* the value on top */

/* ---- collections: of the last n values, or of all above the last mark ---- */

int mert_pickle_push_tuple(mert_pickle_machine *m, size_t n);
int mert_pickle_push_marked(mert_pickle_machine *m, mert_pickle_type type);
/* Puts them into the list, set, dictionary (pairs) or object below them. */
int mert_pickle_extend(mert_pickle_machine *m, size_t n, int pairs);
int mert_pickle_extend_marked(mert_pickle_machine *m, int pairs);

/* ---- names and calls ---- */

/* The class or function module.name. The strings have no NUL. */
int mert_pickle_push_class(mert_pickle_machine *m, const char *module, size_t module_size, const char *name,
                           size_t name_size);
int mert_pickle_take_class(mert_pickle_machine *m); /* the same with its two names from the stack */
/* Replaces n values of the stack (a class, its arguments, and for n = 3 its keywords) by an OBJECT: a call. */
int mert_pickle_call(mert_pickle_machine *m, size_t n);
int mert_pickle_build(mert_pickle_machine *m); /* the value on top is the state of the object below it */
int mert_pickle_persistent(mert_pickle_machine *m);

#endif
