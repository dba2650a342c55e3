#include "formats/checkpoint/pickle.h"

#include "formats/bytes.h"
#include "formats/checkpoint/pickle_machine.h"

#include <inttypes.h>
#include <string.h>

typedef mert_pickle_value value;
typedef mert_pickle_machine machine;

enum { PICKLE_MAX = 64 << 20 };

typedef struct reader {
    const unsigned char *data;
    size_t size, at;
    int cut;              /* size is PICKLE_MAX, and there is more data */
    machine m;
} reader;

/* ---- the input ---- */

static const unsigned char *bytes(reader *r, uint64_t n)
{
    const unsigned char *p = r->data + r->at;
    if (n > r->size - r->at) {
        if (r->cut)
            mert_pickle_fail(&r->m, "a pickle of more than %d MiB", PICKLE_MAX >> 20);
        else
            mert_pickle_fail(&r->m, "%" PRIu64 " bytes wanted, %zu are left (truncated?)", n, r->size - r->at);
        return NULL;
    }
    r->at += (size_t)n;
    return p;
}

static int number(reader *r, int width, uint64_t *to)
{
    const unsigned char *p = bytes(r, (uint64_t)width);
    if (!p)
        return -1;
    *to = mert_le(p, width);
    return 0;
}

static int line(reader *r, const char **text, size_t *n)
{
    const unsigned char *from = r->data + r->at, *end = memchr(from, '\n', r->size - r->at);
    if (!end)
        return mert_pickle_fail(&r->m, "a line without an end");
    *text = (const char *)from;
    *n = (size_t)(end - from);
    r->at += *n + 1;
    return 0;
}

/* ---- opcodes; the function of each group returns 1: done, 0: not in this group, -1: error ---- */

static int done(int rc)
{
    return rc ? -1 : 1;
}

static int push_int(machine *m, int64_t n)
{
    value *v = mert_pickle_make(m, MERT_P_INT);
    if (v)
        v->number = n;
    return mert_pickle_push(m, v);
}

static int push_float(reader *r)
{
    const unsigned char *p = bytes(r, 8);
    value *v = p ? mert_pickle_make(&r->m, MERT_P_FLOAT) : NULL;
    uint64_t bits = 0;
    for (int i = 0; p && i < 8; i++) /* the only big-endian number of the format */
        bits = bits << 8 | p[i];
    if (v)
        memcpy(&v->real, &bits, sizeof bits);
    return mert_pickle_push(&r->m, v);
}

static int push_long(machine *m, const unsigned char *p, size_t n)
{
    value *v;
    uint64_t bits = n && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    if (n > 8) {
        if (!(v = mert_pickle_make(m, MERT_P_BIG)))
            return -1;
        v->text = (const char *)p;
        v->size = n;
        return mert_pickle_push(m, v);
    }
    for (size_t i = n; i-- > 0;)
        bits = bits << 8 | p[i];
    return push_int(m, (int64_t)bits);
}

static int step_constant(reader *r, int op)
{
    machine *m = &r->m;
    static const struct { unsigned char op, width; mert_pickle_type type; } sized[] = {
        {'X', 4, MERT_P_TEXT}, {0x8c, 1, MERT_P_TEXT}, {0x8d, 8, MERT_P_TEXT}, {'T', 4, MERT_P_TEXT},
        {'U', 1, MERT_P_TEXT}, {'B', 4, MERT_P_BYTES}, {'C', 1, MERT_P_BYTES}, {0x8e, 8, MERT_P_BYTES},
        {0x96, 8, MERT_P_BYTES}, {0x8a, 1, MERT_P_BIG}, {0x8b, 4, MERT_P_BIG}};
    uint64_t n;
    switch (op) {
    case 'N': return done(mert_pickle_push(m, &m->p->none));
    case 0x88: return done(mert_pickle_push(m, &m->p->yes));
    case 0x89: return done(mert_pickle_push(m, &m->p->no));
    case ')': return done(mert_pickle_push(m, &m->p->nothing));
    case 'K': return done(number(r, 1, &n) || push_int(m, (int64_t)n));
    case 'M': return done(number(r, 2, &n) || push_int(m, (int64_t)n));
    case 'J': return done(number(r, 4, &n) || push_int(m, (int32_t)(uint32_t)n));
    case 'G': return done(push_float(r));
    }
    for (size_t i = 0; i < sizeof sized / sizeof *sized; i++)
        if (op == sized[i].op) {
            const unsigned char *p = number(r, sized[i].width, &n) ? NULL : bytes(r, n);
            value *v;
            if (!p)
                return -1;
            if (sized[i].type == MERT_P_BIG)
                return done(push_long(m, p, (size_t)n));
            if ((v = mert_pickle_make(m, sized[i].type))) {
                v->text = (const char *)p;
                v->size = (size_t)n;
            }
            return done(mert_pickle_push(m, v));
        }
    return 0;
}

static int step_container(machine *m, int op)
{
    switch (op) {
    case ']': return done(mert_pickle_push(m, mert_pickle_make(m, MERT_P_LIST)));
    case '}': return done(mert_pickle_push(m, mert_pickle_make(m, MERT_P_DICT)));
    case 0x8f: return done(mert_pickle_push(m, mert_pickle_make(m, MERT_P_SET)));
    case 't': return done(mert_pickle_push_marked(m, MERT_P_TUPLE));
    case 'l': return done(mert_pickle_push_marked(m, MERT_P_LIST));
    case 'd': return done(mert_pickle_push_marked(m, MERT_P_DICT));
    case 0x91: return done(mert_pickle_push_marked(m, MERT_P_SET));
    case 0x85:
    case 0x86:
    case 0x87: return done(mert_pickle_push_tuple(m, (size_t)op - 0x84));
    case 'a': return done(mert_pickle_extend(m, 1, 0));
    case 's': return done(mert_pickle_extend(m, 2, 1));
    case 'e': return done(mert_pickle_extend_marked(m, 0));
    case 0x90: return done(mert_pickle_extend_marked(m, 0));
    case 'u': return done(mert_pickle_extend_marked(m, 1));
    }
    return 0;
}

static int step_stack(reader *r, int op)
{
    machine *m = &r->m;
    uint64_t i;
    switch (op) {
    case '(': return done(mert_pickle_mark(m));
    case '0': return done(mert_pickle_pop(m));
    case '1': return done(mert_pickle_pop_marked(m));
    case '2': return done(mert_pickle_push_again(m));
    case 'h': return done(number(r, 1, &i) || mert_pickle_memo_get(m, i));
    case 'j': return done(number(r, 4, &i) || mert_pickle_memo_get(m, i));
    case 'q': return done(number(r, 1, &i) || mert_pickle_memo_put(m, i));
    case 'r': return done(number(r, 4, &i) || mert_pickle_memo_put(m, i));
    case 0x94: return done(mert_pickle_memo_put(m, m->nmemo));
    case 0x95:
        if (number(r, 8, &i))
            return -1;
        if (i > r->size - r->at)
            return mert_pickle_fail(m, "a frame of %" PRIu64 " bytes, %zu are left (truncated?)", i, r->size - r->at);
        return 1;
    }
    return 0;
}

/* 'c', and 'i' of the oldest protocols. torch never wrote 'i', but attackers do: reading it lets the error name the
 * class. */
static int read_class(reader *r)
{
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    if (line(r, &module, &module_size) || line(r, &name, &name_size))
        return -1;
    return mert_pickle_push_class(&r->m, module, module_size, name, name_size);
}

static int step_call(reader *r, int op)
{
    machine *m = &r->m;
    switch (op) {
    case 'c': return done(read_class(r));
    case 0x93: return done(mert_pickle_take_class(m));
    case 'i':
        return read_class(r) ? -1 : mert_pickle_fail(m, "opcode 'i' is not one that torch.save writes");
    case 'R':
    case 0x81: return done(mert_pickle_call(m, 2));
    case 0x92: return done(mert_pickle_call(m, 3));
    case 'b': return done(mert_pickle_build(m));
    case 'Q': return done(mert_pickle_persistent(m));
    }
    return 0;
}

static int run(reader *r)
{
    machine *m = &r->m;
    const unsigned char *p = bytes(r, 2);
    if (!p)
        return -1;
    if (p[0] != 0x80 || p[1] < 2 || p[1] > 5)
        return mert_pickle_fail(m, "no pickle of protocol 2 to 5");
    for (;;) {
        int op, rc;
        m->at = r->at;
        if (!(p = bytes(r, 1)))
            return -1;
        op = *p;
        if (op == '.')
            break;
        if (!(rc = step_constant(r, op)) && !(rc = step_stack(r, op)) && !(rc = step_container(m, op)) &&
            !(rc = step_call(r, op)))
            return mert_pickle_fail(m, "opcode 0x%02x is not one that torch.save writes", op);
        if (rc < 0)
            return -1;
    }
    if (m->n != 1 || m->nmarks)
        return mert_pickle_fail(m, "ends with %zu values on the stack", m->n);
    return 0;
}

mert_pickle *mert_pickle_read(const unsigned char *data, size_t size, size_t *used, mert_error *e)
{
    reader r = {.data = data, .size = size < PICKLE_MAX ? size : PICKLE_MAX, .cut = size > PICKLE_MAX};
    mert_pickle *p = NULL;
    if (!mert_pickle_machine_init(&r.m, r.size, e) && !run(&r)) {
        *used = r.at;
        p = r.m.p;
        p->root = r.m.stack[0];
        r.m.p = NULL;
    }
    mert_pickle_machine_free(&r.m);
    return p;
}
