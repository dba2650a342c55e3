#include "formats/checkpoint/pickle_machine.h"

#include "formats/array.h"
#include "formats/bytes.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef mert_pickle_value value;
typedef mert_pickle_machine machine;
typedef struct mert_pickle_chunk chunk;

enum { CHUNK = 1 << 16 };

struct mert_pickle_chunk {
    chunk *next;
    size_t used, room;
    _Alignas(16) unsigned char bytes[];
};

int mert_pickle_fail(const machine *m, const char *format, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    mert_fail(m->e, "offset %zu: %s", m->at, text);
    return -1;
}

static int no_memory(const machine *m)
{
    return mert_pickle_fail(m, "out of memory");
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

value *mert_pickle_make(machine *m, mert_pickle_type type)
{
    value *v = take(m->p, sizeof *v);
    if (v)
        v->type = type;
    else
        no_memory(m);
    return v;
}

/* The capacity doubles, so the old arrays that stay in the arena are together no larger than the new one. */
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

/* ---- the stack ---- */

int mert_pickle_stack_grow(machine *m)
{
    value **more = mert_array_grow(m->stack, &m->room, (int64_t)m->n + 1, sizeof *more);
    if (!more)
        return no_memory(m);
    m->stack = more;
    return 0;
}

/* Checks that `count` values are above the last mark. */
static int has(const machine *m, size_t count)
{
    size_t floor = m->nmarks ? m->marks[m->nmarks - 1] : 0;
    return m->n - floor >= count ? 1 : (mert_pickle_fail(m, "takes more from the stack than there is"), 0);
}

/* Removes n values from the stack: items[0..n), valid until the next push. */
static int pop(machine *m, size_t n, value ***items)
{
    if (!has(m, n))
        return -1;
    m->n -= n;
    *items = m->stack ? m->stack + m->n : NULL;
    return 0;
}

/* Removes the last mark and everything above it: items[0..n), valid until the next push. */
static int pop_mark(machine *m, value ***items, size_t *n)
{
    size_t from;
    if (!m->nmarks)
        return mert_pickle_fail(m, "no mark on the stack");
    from = m->marks[--m->nmarks];
    *items = m->stack ? m->stack + from : NULL; /* NULL if no value was ever pushed */
    *n = m->n - from;
    m->n = from;
    return 0;
}

int mert_pickle_mark(machine *m)
{
    size_t *more = mert_array_grow(m->marks, &m->marks_room, (int64_t)m->nmarks + 1, sizeof *more);
    if (!more)
        return no_memory(m);
    m->marks = more;
    m->marks[m->nmarks++] = m->n;
    return 0;
}

int mert_pickle_pop_marked(machine *m)
{
    value **items = NULL;
    size_t n = 0;
    return pop_mark(m, &items, &n);
}

int mert_pickle_pop(machine *m)
{
    if (m->nmarks && m->marks[m->nmarks - 1] == m->n)
        return mert_pickle_pop_marked(m);
    if (!has(m, 1))
        return -1;
    m->n--;
    return 0;
}

int mert_pickle_push_again(machine *m)
{
    return has(m, 1) ? mert_pickle_push(m, m->stack[m->n - 1]) : -1;
}

/* ---- the memo ---- */

int mert_pickle_memo_get(machine *m, uint64_t i)
{
    if (i >= m->nmemo || !m->memo[i])
        return mert_pickle_fail(m, "memo %" PRIu64 " was never set", i);
    return mert_pickle_push(m, m->memo[i]);
}

/* A pickle of n bytes cannot set n memos. A larger index is an error, so it cannot cause a large allocation. */
int mert_pickle_memo_put(machine *m, uint64_t i)
{
    value **more;
    if (!has(m, 1))
        return -1;
    if (i >= m->size)
        return mert_pickle_fail(m, "memo %" PRIu64 " in a pickle of %zu bytes", i, m->size);
    if (!(more = mert_array_grow(m->memo, &m->memo_room, (int64_t)i + 1, sizeof *more)))
        return no_memory(m);
    m->memo = more;
    while (m->nmemo <= i)
        m->memo[m->nmemo++] = NULL;
    m->memo[i] = m->stack[m->n - 1];
    return 0;
}

/* ---- collections ---- */

static int push_of(machine *m, mert_pickle_type type, value *const *items, size_t n)
{
    value *v = mert_pickle_make(m, type);
    return !v || append(m, v, items, n) ? -1 : mert_pickle_push(m, v);
}

int mert_pickle_push_tuple(machine *m, size_t n)
{
    value **items = NULL;
    return pop(m, n, &items) ? -1 : push_of(m, MERT_P_TUPLE, items, n);
}

int mert_pickle_push_marked(machine *m, mert_pickle_type type)
{
    value **items = NULL;
    size_t n = 0;
    if (pop_mark(m, &items, &n))
        return -1;
    if (type == MERT_P_DICT && n % 2)
        return mert_pickle_fail(m, "a dictionary of an odd number of keys and values");
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
        if (!*part && !(*part = mert_pickle_make(m, pairs ? MERT_P_DICT : MERT_P_LIST)))
            return -1;
        v = *part;
    }
    if (pairs ? v->type != MERT_P_DICT : v->type != MERT_P_LIST && v->type != MERT_P_SET)
        return mert_pickle_fail(m, "items for something that is no %s", pairs ? "dictionary" : "list");
    if (pairs && n % 2)
        return mert_pickle_fail(m, "a key without a value");
    return append(m, v, items, n);
}

int mert_pickle_extend(machine *m, size_t n, int pairs)
{
    value **items = NULL;
    return pop(m, n, &items) ? -1 : extend(m, items, n, pairs);
}

int mert_pickle_extend_marked(machine *m, int pairs)
{
    value **items = NULL;
    size_t n = 0;
    return pop_mark(m, &items, &n) ? -1 : extend(m, items, n, pairs);
}

/* ---- names and calls ---- */

int mert_pickle_push_class(machine *m, const char *module, size_t module_size, const char *name, size_t name_size)
{
    value *v;
    char *text;
    if (!module_size || !name_size || memchr(module, 0, module_size) || memchr(name, 0, name_size))
        return mert_pickle_fail(m, "a class without a name");
    if (!(v = mert_pickle_make(m, MERT_P_CLASS)) || !(text = take(m->p, module_size + name_size + 2)))
        return v ? no_memory(m) : -1;
    memcpy(text, module, module_size);
    memcpy(text + module_size + 1, name, name_size);
    if (mert_pickle_refuses(text, text + module_size + 1))
        return mert_pickle_fail(m, "asks to run %s.%s: refused", mert_show(module, module_size).text,
                                mert_show(name, name_size).text);
    text[module_size] = '.';
    v->text = text;
    v->size = module_size + name_size + 1;
    return mert_pickle_push(m, v);
}

int mert_pickle_take_class(machine *m)
{
    const value *module, *name;
    value **items = NULL;
    if (pop(m, 2, &items))
        return -1;
    module = items[0];
    name = items[1];
    if (module->type != MERT_P_TEXT || name->type != MERT_P_TEXT)
        return mert_pickle_fail(m, "a class whose name is no text");
    return mert_pickle_push_class(m, module->text, module->size, name->text, name->size);
}

static int is_class(const value *v, const char *name)
{
    return v->type == MERT_P_CLASS && !strcmp(v->text, name);
}

/* The value of calling `of` with args: an empty DICT for dictionary classes, otherwise an opaque OBJECT. */
static int call(machine *m, value *of, value *args, value *keywords)
{
    value *v;
    if (of->type != MERT_P_CLASS)
        return mert_pickle_fail(m, "calls something that is no class or function");
    if (args->type != MERT_P_TUPLE)
        return mert_pickle_fail(m, "calls %s with something that is no tuple", mert_show(of->text, of->size).text);
    if (args->size && args->items[0]->type == MERT_P_CLASS &&
        (is_class(of, "copy_reg._reconstructor") || is_class(of, "copyreg._reconstructor") ||
         is_class(of, "copyreg.__newobj__") || is_class(of, "copy_reg.__newobj__"))) {
        of = args->items[0];
        args = &m->p->nothing;
    }
    if ((is_class(of, "collections.OrderedDict") && !args->size) || is_class(of, "collections.defaultdict") ||
        ((is_class(of, "builtins.dict") || is_class(of, "__builtin__.dict")) && !args->size)) {
        if ((v = mert_pickle_make(m, MERT_P_DICT)))
            v->of = of;
        return mert_pickle_push(m, v);
    }
    if (!(v = mert_pickle_make(m, MERT_P_OBJECT)))
        return -1;
    v->of = of;
    v->args = args;
    v->state = keywords;
    return mert_pickle_push(m, v);
}

int mert_pickle_call(machine *m, size_t n)
{
    value **items = NULL;
    return pop(m, n, &items) ? -1 : call(m, items[0], items[1], n == 3 ? items[2] : NULL);
}

int mert_pickle_build(machine *m)
{
    value *to, *state;
    if (!has(m, 2))
        return -1;
    state = m->stack[--m->n];
    to = m->stack[m->n - 1];
    if (to->type == MERT_P_DICT)
        return 0; /* attributes of an OrderedDict: torch's _metadata, not used here */
    if (to->type != MERT_P_OBJECT)
        return mert_pickle_fail(m, "attributes for something that is no object");
    to->state = state;
    return 0;
}

/* Old torch files store the class of a whole module with its source text: ("module", class, file, text). Only the class
 * is kept, as a name. */
static value *wrapped_class(const value *id)
{
    int is = id->type == MERT_P_TUPLE && id->size >= 2 && mert_pickle_is_text(id->items[0], "module") &&
             id->items[1]->type == MERT_P_CLASS;
    return is ? id->items[1] : NULL;
}

int mert_pickle_persistent(machine *m)
{
    mert_pickle *p = m->p;
    value *v, **more;
    if (!has(m, 1))
        return -1;
    if ((v = wrapped_class(m->stack[--m->n])))
        return mert_pickle_push(m, v);
    if (!(v = mert_pickle_make(m, MERT_P_PERSISTENT)) || append(m, v, m->stack + m->n, 1))
        return -1;
    if (!(more = mert_array_grow(p->persistents, &p->persistents_room, (int64_t)p->npersistents + 1, sizeof *more)))
        return no_memory(m);
    p->persistents = more;
    p->persistents[p->npersistents++] = v;
    return mert_pickle_push(m, v);
}

/* ---- begin and end ---- */

int mert_pickle_machine_init(machine *m, size_t size, mert_error *e)
{
    mert_pickle *p = calloc(1, sizeof *p);
    *m = (machine){.p = p, .size = size, .e = e};
    if (!p)
        return mert_fail(e, "out of memory");
    p->no.type = p->yes.type = MERT_P_BOOL; /* none is MERT_P_NONE already */
    p->yes.number = 1;
    p->nothing.type = MERT_P_TUPLE;
    return 0;
}

void mert_pickle_machine_free(machine *m)
{
    free(m->stack);
    free(m->memo);
    free(m->marks);
    mert_pickle_free(m->p);
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
