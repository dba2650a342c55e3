#include "formats/checkpoint/pickle.h"

#include "formats/bytes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef mert_pickle_value value;

enum { PICKLE_MAX = 64 << 20, CHUNK = 1 << 16 };

typedef struct chunk {
    struct chunk *next;
    size_t used, room;
    _Alignas(16) unsigned char bytes[];
} chunk;

struct mert_pickle {
    chunk *chunks;
    value *root;
    value **persistents;
    size_t npersistents, persistents_room;
    value none, no, yes, nothing; /* None, False, True, (): immutable, so one of each will do */
};

/* The machine while it runs. Opcodes and their effects: the comments of CPython's pickletools.py. */
typedef struct machine {
    const unsigned char *data;
    size_t size, at, op_at;
    int cut;              /* size is PICKLE_MAX, there is more */
    mert_pickle *p;
    value **stack, **memo;
    size_t *marks;
    size_t n, room, nmemo, memo_room, nmarks, marks_room;
    mert_error *e;
} machine;

__attribute__((format(printf, 2, 3))) static int fail(const machine *m, const char *format, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    mert_fail(m->e, "offset %zu: %s", m->op_at, text);
    return -1;
}

static int no_memory(const machine *m)
{
    return fail(m, "out of memory");
}

/* ---- memory: all values live as long as the pickle ---- */

static void *take(mert_pickle *p, size_t size)
{
    chunk *c = p->chunks;
    size = (size + 15) / 16 * 16;
    if (!c || size > c->room - c->used) {
        size_t room = size > CHUNK ? size : CHUNK;
        if (!(c = malloc(sizeof *c + room)))
            return NULL;
        *c = (chunk){p->chunks, 0, room};
        p->chunks = c;
    }
    c->used += size;
    return memset(c->bytes + c->used - size, 0, size);
}

static value *make(machine *m, mert_pickle_type type)
{
    value *v = take(m->p, sizeof *v);
    if (v)
        v->type = type;
    else
        no_memory(m);
    return v;
}

/* Doubling from the arena leaves at most as much behind as it holds. */
static int append(machine *m, value *list, value *const *items, size_t n)
{
    if (n > list->room - list->size) {
        size_t room = list->room ? 2 * list->room : 4;
        value **more;
        while (room < list->size + n)
            room *= 2;
        if (!(more = take(m->p, room * sizeof *more)))
            return no_memory(m);
        if (list->size)
            memcpy(more, list->items, list->size * sizeof *more);
        list->items = more;
        list->room = room;
    }
    if (n)
        memcpy(list->items + list->size, items, n * sizeof *items);
    list->size += n;
    return 0;
}

static int grow(void *array, size_t *room, size_t need, size_t size)
{
    size_t more = *room ? *room : 256;
    void *p;
    if (need <= *room)
        return 0;
    while (more < need)
        more *= 2;
    if (!(p = realloc(*(void **)array, more * size)))
        return -1;
    *(void **)array = p;
    *room = more;
    return 0;
}

/* ---- the stack ---- */

static int push(machine *m, value *v)
{
    if (!v)
        return -1;
    if (grow(&m->stack, &m->room, m->n + 1, sizeof *m->stack))
        return no_memory(m);
    m->stack[m->n++] = v;
    return 0;
}

/* Nothing may be taken from below the last mark. */
static int has(const machine *m, size_t count)
{
    size_t floor = m->nmarks ? m->marks[m->nmarks - 1] : 0;
    return m->n - floor >= count ? 1 : (fail(m, "takes more from the stack than there is"), 0);
}

/* Everything above the last mark leaves the stack: items[0..n), valid until the next push. */
static int pop_mark(machine *m, value ***items, size_t *n)
{
    size_t from;
    if (!m->nmarks)
        return fail(m, "no mark on the stack");
    from = m->marks[--m->nmarks];
    *items = m->stack ? m->stack + from : NULL; /* a mark may be all there ever was */
    *n = m->n - from;
    m->n = from;
    return 0;
}

/* ---- the input ---- */

static const unsigned char *bytes(machine *m, uint64_t n)
{
    const unsigned char *p = m->data + m->at;
    if (n > m->size - m->at) {
        if (m->cut)
            fail(m, "a pickle of more than %d MiB", PICKLE_MAX >> 20);
        else
            fail(m, "%" PRIu64 " bytes wanted, %zu are left (truncated?)", n, m->size - m->at);
        return NULL;
    }
    m->at += (size_t)n;
    return p;
}

static int number(machine *m, int width, uint64_t *to)
{
    const unsigned char *p = bytes(m, (uint64_t)width);
    if (!p)
        return -1;
    *to = mert_le(p, width);
    return 0;
}

static int line(machine *m, const char **text, size_t *n)
{
    const unsigned char *from = m->data + m->at, *end = memchr(from, '\n', m->size - m->at);
    if (!end)
        return fail(m, "a line without an end");
    *text = (const char *)from;
    *n = (size_t)(end - from);
    m->at += *n + 1;
    return 0;
}

/* ---- opcodes; each group returns 1: done, 0: not one of mine, -1: error ---- */

static int done(int rc)
{
    return rc ? -1 : 1;
}

static int push_int(machine *m, int64_t n)
{
    value *v = make(m, MERT_P_INT);
    if (v)
        v->number = n;
    return push(m, v);
}

static int push_float(machine *m)
{
    const unsigned char *p = bytes(m, 8);
    value *v = p ? make(m, MERT_P_FLOAT) : NULL;
    uint64_t bits = 0;
    for (int i = 0; p && i < 8; i++) /* the one big-endian number of the format */
        bits = bits << 8 | p[i];
    if (v)
        memcpy(&v->real, &bits, sizeof bits);
    return push(m, v);
}

static int push_long(machine *m, const unsigned char *p, size_t n)
{
    value *v;
    uint64_t bits = n && p[n - 1] & 0x80 ? UINT64_MAX : 0;
    if (n > 8) {
        if (!(v = make(m, MERT_P_BIG)))
            return -1;
        v->text = (const char *)p;
        v->size = n;
        return push(m, v);
    }
    for (size_t i = n; i-- > 0;)
        bits = bits << 8 | p[i];
    return push_int(m, (int64_t)bits);
}

static int step_constant(machine *m, int op)
{
    static const struct { unsigned char op, width; mert_pickle_type type; } sized[] = {
        {'X', 4, MERT_P_TEXT}, {0x8c, 1, MERT_P_TEXT}, {0x8d, 8, MERT_P_TEXT}, {'T', 4, MERT_P_TEXT},
        {'U', 1, MERT_P_TEXT}, {'B', 4, MERT_P_BYTES}, {'C', 1, MERT_P_BYTES}, {0x8e, 8, MERT_P_BYTES},
        {0x96, 8, MERT_P_BYTES}, {0x8a, 1, MERT_P_BIG}, {0x8b, 4, MERT_P_BIG}};
    uint64_t n;
    switch (op) {
    case 'N': return done(push(m, &m->p->none));
    case 0x88: return done(push(m, &m->p->yes));
    case 0x89: return done(push(m, &m->p->no));
    case ')': return done(push(m, &m->p->nothing));
    case 'K': return done(number(m, 1, &n) || push_int(m, (int64_t)n));
    case 'M': return done(number(m, 2, &n) || push_int(m, (int64_t)n));
    case 'J': return done(number(m, 4, &n) || push_int(m, (int32_t)(uint32_t)n));
    case 'G': return done(push_float(m));
    }
    for (size_t i = 0; i < sizeof sized / sizeof *sized; i++)
        if (op == sized[i].op) {
            const unsigned char *p = number(m, sized[i].width, &n) ? NULL : bytes(m, n);
            value *v;
            if (!p)
                return -1;
            if (sized[i].type == MERT_P_BIG)
                return done(push_long(m, p, (size_t)n));
            if ((v = make(m, sized[i].type))) {
                v->text = (const char *)p;
                v->size = (size_t)n;
            }
            return done(push(m, v));
        }
    return 0;
}

static int push_of(machine *m, mert_pickle_type type, value *const *items, size_t n)
{
    value *v = make(m, type);
    return !v || append(m, v, items, n) ? -1 : push(m, v);
}

static int push_marked(machine *m, mert_pickle_type type)
{
    value **items = NULL;
    size_t n = 0;
    if (pop_mark(m, &items, &n))
        return -1;
    if (type == MERT_P_DICT && n % 2)
        return fail(m, "a dictionary of an odd number of keys and values");
    return push_of(m, type, items, n);
}

/* Puts items into the list, set, dictionary or object on top of the stack. */
static int extend(machine *m, value *const *items, size_t n, int pairs)
{
    value *v;
    if (!has(m, 1))
        return -1;
    v = m->stack[m->n - 1];
    if (v->type == MERT_P_OBJECT) {
        value **part = pairs ? &v->dict : &v->list;
        if (!*part && !(*part = make(m, pairs ? MERT_P_DICT : MERT_P_LIST)))
            return -1;
        v = *part;
    }
    if (pairs ? v->type != MERT_P_DICT : v->type != MERT_P_LIST && v->type != MERT_P_SET)
        return fail(m, "items for something that is no %s", pairs ? "dictionary" : "list");
    if (pairs && n % 2)
        return fail(m, "a key without a value");
    return append(m, v, items, n);
}

static int extend_marked(machine *m, int pairs)
{
    value **items = NULL;
    size_t n = 0;
    return pop_mark(m, &items, &n) || extend(m, items, n, pairs);
}

static int step_container(machine *m, int op)
{
    size_t n;
    switch (op) {
    case ']': return done(push(m, make(m, MERT_P_LIST)));
    case '}': return done(push(m, make(m, MERT_P_DICT)));
    case 0x8f: return done(push(m, make(m, MERT_P_SET)));
    case 't': return done(push_marked(m, MERT_P_TUPLE));
    case 'l': return done(push_marked(m, MERT_P_LIST));
    case 'd': return done(push_marked(m, MERT_P_DICT));
    case 0x91: return done(push_marked(m, MERT_P_SET));
    case 0x85:
    case 0x86:
    case 0x87:
        n = (size_t)op - 0x84;
        if (!has(m, n))
            return -1;
        m->n -= n;
        return done(push_of(m, MERT_P_TUPLE, m->stack + m->n, n));
    case 'a':
    case 's':
        n = op == 'a' ? 1 : 2;
        if (!has(m, n))
            return -1;
        m->n -= n;
        return done(extend(m, m->stack + m->n, n, op == 's'));
    case 'e': return done(extend_marked(m, 0));
    case 0x90: return done(extend_marked(m, 0));
    case 'u': return done(extend_marked(m, 1));
    }
    return 0;
}

static int memo_get(machine *m, int width)
{
    uint64_t i;
    if (number(m, width, &i))
        return -1;
    if (i >= m->nmemo || !m->memo[i])
        return fail(m, "memo %" PRIu64 " was never set", i);
    return push(m, m->memo[i]);
}

/* A pickle of n bytes cannot set n memos: an index beyond is a lie, and decides no allocation. */
static int memo_put(machine *m, uint64_t i)
{
    if (!has(m, 1))
        return -1;
    if (i >= m->size)
        return fail(m, "memo %" PRIu64 " in a pickle of %zu bytes", i, m->size);
    if (grow(&m->memo, &m->memo_room, (size_t)i + 1, sizeof *m->memo))
        return no_memory(m);
    while (m->nmemo <= i)
        m->memo[m->nmemo++] = NULL;
    m->memo[i] = m->stack[m->n - 1];
    return 0;
}

static int step_stack(machine *m, int op)
{
    value **items = NULL;
    uint64_t i;
    size_t n;
    switch (op) {
    case '(':
        if (grow(&m->marks, &m->marks_room, m->nmarks + 1, sizeof *m->marks))
            return no_memory(m);
        m->marks[m->nmarks++] = m->n;
        return 1;
    case '0':
        if (m->nmarks && m->marks[m->nmarks - 1] == m->n)
            return done(pop_mark(m, &items, &n));
        if (!has(m, 1))
            return -1;
        m->n--;
        return 1;
    case '1': return done(pop_mark(m, &items, &n));
    case '2': return has(m, 1) ? done(push(m, m->stack[m->n - 1])) : -1;
    case 'h': return done(memo_get(m, 1));
    case 'j': return done(memo_get(m, 4));
    case 'q': return done(number(m, 1, &i) || memo_put(m, i));
    case 'r': return done(number(m, 4, &i) || memo_put(m, i));
    case 0x94: return done(memo_put(m, m->nmemo));
    case 0x95:
        if (number(m, 8, &i))
            return -1;
        if (i > m->size - m->at)
            return fail(m, "a frame of %" PRIu64 " bytes, %zu are left (truncated?)", i, m->size - m->at);
        return 1;
    }
    return 0;
}

/* ---- names and calls ---- */

static int push_class(machine *m, const char *module, size_t module_size, const char *name, size_t name_size)
{
    value *v;
    char *text;
    if (!module_size || !name_size || memchr(module, 0, module_size) || memchr(name, 0, name_size))
        return fail(m, "a class without a name");
    if (!(v = make(m, MERT_P_CLASS)) || !(text = take(m->p, module_size + name_size + 2)))
        return v ? no_memory(m) : -1;
    memcpy(text, module, module_size);
    memcpy(text + module_size + 1, name, name_size);
    if (mert_pickle_refuses(text, text + module_size + 1))
        return fail(m, "asks to run %s.%s: refused", mert_show(module, module_size).text,
                    mert_show(name, name_size).text);
    text[module_size] = '.';
    v->text = text;
    v->size = module_size + name_size + 1;
    return push(m, v);
}

/* 'c', and 'i' of the oldest protocols, which torch never wrote but attackers write by hand: it is worth saying what it
 * asked for. */
static int read_class(machine *m)
{
    const char *module = NULL, *name = NULL;
    size_t module_size = 0, name_size = 0;
    if (line(m, &module, &module_size) || line(m, &name, &name_size))
        return -1;
    return push_class(m, module, module_size, name, name_size);
}

static int stack_class(machine *m)
{
    const value *module, *name;
    if (!has(m, 2))
        return -1;
    m->n -= 2;
    module = m->stack[m->n];
    name = m->stack[m->n + 1];
    if (module->type != MERT_P_TEXT || name->type != MERT_P_TEXT)
        return fail(m, "a class whose name is no text");
    return push_class(m, module->text, module->size, name->text, name->size);
}

static int is_class(const value *v, const char *name)
{
    return v->type == MERT_P_CLASS && !strcmp(v->text, name);
}

/* What calling `of` with args gives: dictionaries that start empty are dictionaries, all else stays opaque. */
static int call(machine *m, value *of, value *args, value *keywords)
{
    value *v;
    if (of->type != MERT_P_CLASS)
        return fail(m, "calls something that is no class or function");
    if (args->type != MERT_P_TUPLE)
        return fail(m, "calls %s with something that is no tuple", mert_show(of->text, of->size).text);
    if (args->size && args->items[0]->type == MERT_P_CLASS &&
        (is_class(of, "copy_reg._reconstructor") || is_class(of, "copyreg._reconstructor") ||
         is_class(of, "copyreg.__newobj__") || is_class(of, "copy_reg.__newobj__"))) {
        of = args->items[0];
        args = &m->p->nothing;
    }
    if ((is_class(of, "collections.OrderedDict") && !args->size) || is_class(of, "collections.defaultdict") ||
        ((is_class(of, "builtins.dict") || is_class(of, "__builtin__.dict")) && !args->size)) {
        if ((v = make(m, MERT_P_DICT)))
            v->of = of;
        return push(m, v);
    }
    if (!(v = make(m, MERT_P_OBJECT)))
        return -1;
    v->of = of;
    v->args = args;
    v->state = keywords;
    return push(m, v);
}

static int build(machine *m)
{
    value *to, *state;
    if (!has(m, 2))
        return -1;
    state = m->stack[--m->n];
    to = m->stack[m->n - 1];
    if (to->type == MERT_P_DICT)
        return 0; /* attributes of an OrderedDict: torch's _metadata, of no use here */
    if (to->type != MERT_P_OBJECT)
        return fail(m, "attributes for something that is no object");
    to->state = state;
    return 0;
}

/* Old torch files wrap the class of a whole module, to carry its source text: ("module", class, file, text). It stays a
 * name. */
static value *wrapped_class(const value *id)
{
    int is = id->type == MERT_P_TUPLE && id->size >= 2 && mert_pickle_is_text(id->items[0], "module") &&
             id->items[1]->type == MERT_P_CLASS;
    return is ? id->items[1] : NULL;
}

static int persistent(machine *m)
{
    mert_pickle *p = m->p;
    value *v;
    if (!has(m, 1))
        return -1;
    if ((v = wrapped_class(m->stack[--m->n])))
        return push(m, v);
    if (!(v = make(m, MERT_P_PERSISTENT)) || append(m, v, m->stack + m->n, 1))
        return -1;
    if (grow(&p->persistents, &p->persistents_room, p->npersistents + 1, sizeof *p->persistents))
        return no_memory(m);
    p->persistents[p->npersistents++] = v;
    return push(m, v);
}

static int step_call(machine *m, int op)
{
    size_t n = op == 0x92 ? 3 : 2;
    switch (op) {
    case 'c': return done(read_class(m));
    case 0x93: return done(stack_class(m));
    case 'i':
        return read_class(m) ? -1 : fail(m, "opcode 'i' is not one that torch.save writes");
    case 'R':
    case 0x81:
    case 0x92:
        if (!has(m, n))
            return -1;
        m->n -= n;
        return done(call(m, m->stack[m->n], m->stack[m->n + 1], n == 3 ? m->stack[m->n + 2] : NULL));
    case 'b': return done(build(m));
    case 'Q': return done(persistent(m));
    }
    return 0;
}

static int run(machine *m)
{
    const unsigned char *p = bytes(m, 2);
    if (!p)
        return -1;
    if (p[0] != 0x80 || p[1] < 2 || p[1] > 5)
        return fail(m, "no pickle of protocol 2 to 5");
    for (;;) {
        int op, rc;
        m->op_at = m->at;
        if (!(p = bytes(m, 1)))
            return -1;
        op = *p;
        if (op == '.')
            break;
        if (!(rc = step_constant(m, op)) && !(rc = step_stack(m, op)) && !(rc = step_container(m, op)) &&
            !(rc = step_call(m, op)))
            return fail(m, "opcode 0x%02x is not one that torch.save writes", op);
        if (rc < 0)
            return -1;
    }
    if (m->n != 1 || m->nmarks)
        return fail(m, "ends with %zu values on the stack", m->n);
    return 0;
}

mert_pickle *mert_pickle_read(const unsigned char *data, size_t size, size_t *used, mert_error *e)
{
    mert_pickle *p = calloc(1, sizeof *p);
    machine m = {.data = data, .size = size < PICKLE_MAX ? size : PICKLE_MAX, .cut = size > PICKLE_MAX, .p = p, .e = e};
    int rc;
    if (p) {
        p->no.type = p->yes.type = MERT_P_BOOL; /* none is MERT_P_NONE already */
        p->yes.number = 1;
        p->nothing.type = MERT_P_TUPLE;
    }
    rc = p ? run(&m) : mert_fail(e, "out of memory");
    if (!rc)
        p->root = m.stack[0];
    free(m.stack);
    free(m.memo);
    free(m.marks);
    if (rc) {
        mert_pickle_free(p);
        return NULL;
    }
    *used = m.at;
    return p;
}

void mert_pickle_free(mert_pickle *p)
{
    if (!p)
        return;
    for (chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(p->persistents);
    free(p);
}

mert_pickle_value *mert_pickle_root(const mert_pickle *p)
{
    return p->root;
}

size_t mert_pickle_persistents(const mert_pickle *p, mert_pickle_value ***list)
{
    *list = p->persistents;
    return p->npersistents;
}
