#include "formats/checkpoint/torch.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef mert_pickle_value value;

enum { DEPTH_MAX = 200, WORK_PER_BYTE = 8, WORK_FREE = 1 << 16, WORK_MAX = 1 << 25, TENSOR_PRICE = 8 };

typedef struct collector {
    mert_checkpoint *c;
    const mert_storages *storages;
    char *path;               /* of the current value: "cfg.model" */
    size_t path_size, path_room;
    int depth;
    uint64_t work;            /* how much more may be done */
    mert_error *e;
} collector;

static int visit(collector *w, value *v, json_t **to);

/* Puts the path of the current value before the error's text. */
static int fail_here(collector *w)
{
    mert_shown at = mert_show(w->path, w->path_size);
    return w->path_size ? mert_fail_in(w->e, "%s", at.text) : -1;
}

static int fail(collector *w, const char *text)
{
    mert_fail(w->e, "%s", text);
    return fail_here(w);
}

/* Each value and each byte of text or names in the output costs work. */
static int pay(collector *w, uint64_t price)
{
    if (w->work < price)
        return fail(w, "values that are shared so often that they unfold to far more than the file holds: refused");
    w->work -= price;
    return 0;
}

static int enter(collector *w, const char *name, size_t size, size_t *back)
{
    size_t need = w->path_size + size + 2;
    *back = w->path_size;
    if (need > w->path_room) {
        char *more = realloc(w->path, 2 * need);
        if (!more)
            return fail(w, "out of memory");
        w->path = more;
        w->path_room = 2 * need;
    }
    if (w->path_size)
        w->path[w->path_size++] = '.';
    memcpy(w->path + w->path_size, name, size);
    w->path_size += size;
    return 0;
}

/* ---- plain values ---- */

static json_t *text_json(const char *text, size_t size)
{
    json_t *j = json_stringn(text, size);
    if (!j) /* not UTF-8: Python 2 used the same type for bytes */
        j = json_string(mert_show(text, size).text);
    return j;
}

/* Integers of more than 64 bits: hexadecimal, as a string; negative ones in two's complement. */
static json_t *big_json(const value *v)
{
    char text[2 + 2 * 64 + 1] = "0x", *p = text + 2;
    if (v->size > 64)
        return json_string("an integer of more than 512 bits");
    for (size_t i = v->size; i-- > 0;)
        p += snprintf(p, 3, "%02x", (unsigned char)v->text[i]);
    return json_string(text);
}

static json_t *plain_json(const value *v)
{
    switch (v->type) {
    case MERT_P_NONE: return json_null();
    case MERT_P_BOOL: return json_boolean(v->number);
    case MERT_P_INT: return json_integer(v->number);
    case MERT_P_BIG: return big_json(v);
    case MERT_P_FLOAT:
        if (isfinite(v->real))
            return json_real(v->real);
        return json_string(isnan(v->real) ? "nan" : v->real > 0 ? "inf" : "-inf");
    case MERT_P_TEXT: return text_json(v->text, v->size);
    case MERT_P_CLASS: return text_json(v->text, v->size);
    case MERT_P_BYTES: return json_pack("{s:s, s:I}", "__class__", "bytes", "size", (json_int_t)v->size);
    default: return NULL;
    }
}

/* The text of a dictionary's key in names and in JSON. */
static const char *key_text(const value *k, char buffer[32], size_t *size)
{
    switch (k->type) {
    case MERT_P_TEXT:
    case MERT_P_BYTES:
    case MERT_P_CLASS: *size = k->size; return k->text;
    case MERT_P_INT: snprintf(buffer, 32, "%" PRId64, k->number); break;
    case MERT_P_FLOAT: snprintf(buffer, 32, "%.17g", k->real); break;
    case MERT_P_BOOL: snprintf(buffer, 32, "%s", k->number ? "True" : "False"); break;
    case MERT_P_NONE: snprintf(buffer, 32, "None"); break;
    default: snprintf(buffer, 32, "(key)"); break;
    }
    *size = strlen(buffer);
    return buffer;
}

static int set(collector *w, json_t *object, const char *key, size_t size, json_t *j)
{
    mert_shown shown;
    if (memchr(key, 0, size) || json_object_setn_new(object, key, size, json_incref(j))) {
        shown = mert_show(key, size); /* not UTF-8 */
        if (json_object_set(object, shown.text, j)) {
            json_decref(j);
            return fail(w, "out of memory");
        }
    }
    json_decref(j);
    return 0;
}

/* ---- containers: *to is NULL if they hold only tensors ---- */

/* Visits one entry; its JSON, if any, is added to `object`. */
static int visit_entry(collector *w, const value *key, value *v, json_t *object)
{
    char buffer[32];
    size_t size, back;
    const char *name = key_text(key, buffer, &size);
    json_t *j = NULL;
    if (pay(w, size) || enter(w, name, size, &back) || visit(w, v, &j))
        return -1;
    w->path_size = back;
    return j ? set(w, object, name, size, j) : 0;
}

static int visit_pairs(collector *w, const value *dict, json_t *object)
{
    for (size_t i = 0; dict && dict->type == MERT_P_DICT && i + 1 < dict->size; i += 2)
        if (visit_entry(w, dict->items[i], dict->items[i + 1], object))
            return -1;
    return 0;
}

static int visit_dict(collector *w, const value *v, json_t **to)
{
    json_t *object = json_object();
    if (!object || visit_pairs(w, v, object)) {
        json_decref(object);
        return object ? -1 : fail(w, "out of memory");
    }
    if (v->size && !json_object_size(object)) {
        json_decref(object);
        object = NULL;
    }
    *to = object;
    return 0;
}

static int visit_list(collector *w, const value *v, json_t **to)
{
    json_t *array = json_array(), *j;
    size_t back, left = 0;
    char name[32];
    if (!array)
        return fail(w, "out of memory");
    for (size_t i = 0; i < v->size; i++) {
        snprintf(name, sizeof name, "%zu", i);
        j = NULL;
        if (enter(w, name, strlen(name), &back) || visit(w, v->items[i], &j)) {
            json_decref(array);
            return -1;
        }
        w->path_size = back;
        left += j != NULL;
        if (json_array_append_new(array, j ? j : json_null())) {
            json_decref(array);
            return fail(w, "out of memory");
        }
    }
    if (v->size && !left) {
        json_decref(array);
        array = NULL;
    }
    *to = array;
    return 0;
}

/* ---- objects ---- */

/* Attributes: BUILD's dictionary, or (dictionary or None, dictionary of slots). */
static int visit_attributes(collector *w, const value *state, json_t *object)
{
    if (state && state->type == MERT_P_TUPLE && state->size == 2)
        return visit_pairs(w, state->items[0], object) || visit_pairs(w, state->items[1], object) ? -1 : 0;
    return visit_pairs(w, state, object);
}

/* omegaconf wraps every value in a node with its parent, type and flags: only the value is used. */
static value *unwrapped(const value *v)
{
    value *inner = NULL;
    if (v->of && !strncmp(v->of->text, "omegaconf.", 10)) {
        inner = mert_pickle_get(v->state, "_content");
        if (!inner)
            inner = mert_pickle_get(v->state, "_val");
        if (!inner)
            inner = mert_pickle_get(v->state, "content"); /* omegaconf 1 */
    }
    return inner;
}

/* For calls whose result is their first argument: that argument. */
static value *stands_for(const value *v)
{
    static const char *const same[] = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state",
                                   "torch.Size", "builtins.set", "builtins.frozenset", "builtins.list",
                                   "builtins.tuple", "__builtin__.set", "__builtin__.frozenset", "__builtin__.list",
                                   "__builtin__.tuple"};
    for (size_t i = 0; v->args && v->args->size && i < sizeof same / sizeof *same; i++)
        if (mert_pickle_is_of(v, same[i]))
            return v->args->items[0];
    return NULL;
}

/* OrderedDict([[key, value], ...]), as Python 2 wrote it. */
static const value *pairs_of(const value *v)
{
    const value *list;
    if (!mert_pickle_is_of(v, "collections.OrderedDict") || !v->args || v->args->size != 1)
        return NULL;
    list = v->args->items[0];
    if (list->type != MERT_P_LIST)
        return NULL;
    for (size_t i = 0; i < list->size; i++)
        if ((list->items[i]->type != MERT_P_LIST && list->items[i]->type != MERT_P_TUPLE) || list->items[i]->size != 2)
            return NULL;
    return list;
}

static int visit_opaque(collector *w, const value *v, json_t *object)
{
    const value *pairs = pairs_of(v);
    const char *class = v->of->text;
    int plain = pairs || !strcmp(class, "argparse.Namespace") || !strcmp(class, "types.SimpleNamespace");
    json_t *j = NULL;
    if (!plain && set(w, object, "__class__", 9, text_json(class, v->of->size)))
        return -1;
    for (size_t i = 0; pairs && i < pairs->size; i++)
        if (visit_entry(w, pairs->items[i]->items[0], pairs->items[i]->items[1], object))
            return -1;
    if (!pairs && v->args && v->args->size) {
        if (visit(w, v->args, &j) || (j && set(w, object, "__args__", 8, j)))
            return -1;
        j = NULL;
    }
    if (visit_attributes(w, v->state, object) || visit_pairs(w, v->dict, object))
        return -1;
    return v->list && (visit(w, v->list, &j) || (j && set(w, object, "__items__", 9, j))) ? -1 : 0;
}

static int visit_object(collector *w, const value *v, json_t **to)
{
    value *inner = unwrapped(v);
    json_t *object;
    int tensor;
    if (!inner)
        inner = stands_for(v);
    if (inner)
        return visit(w, inner, to);
    if (pay(w, w->path_size + TENSOR_PRICE))
        return -1;
    tensor = w->path_size ? mert_torch_tensor(w->c, w->storages, v, w->path, w->path_size, w->e)
                          : mert_torch_tensor(w->c, w->storages, v, "tensor", 6, w->e);
    if (tensor <= 0)
        return tensor ? fail_here(w) : 0;
    if (!(object = json_object()) || visit_opaque(w, v, object)) {
        json_decref(object);
        return object ? -1 : fail(w, "out of memory");
    }
    *to = object;
    return 0;
}

/* *to: the value as JSON, or NULL if it holds only tensors. */
static int visit(collector *w, value *v, json_t **to)
{
    int rc;
    if (pay(w, 1))
        return -1;
    if (v->type == MERT_P_PERSISTENT)
        return 0;
    if (v->type < MERT_P_LIST || v->type == MERT_P_CLASS) {
        if (v->type != MERT_P_BYTES && v->type >= MERT_P_BIG && v->type != MERT_P_FLOAT && pay(w, v->size))
            return -1;
        *to = plain_json(v);
        return *to ? 0 : fail(w, "out of memory");
    }
    if (v->visiting) { /* a cycle: a child that refers to its parent */
        *to = json_null();
        return 0;
    }
    if (w->depth == DEPTH_MAX)
        return fail(w, "values nested too deeply: refused");
    w->depth++;
    v->visiting = 1;
    if (v->type == MERT_P_OBJECT)
        rc = visit_object(w, v, to);
    else
        rc = v->type == MERT_P_DICT ? visit_dict(w, v, to) : visit_list(w, v, to);
    v->visiting = 0;
    w->depth--;
    return rc;
}

int mert_torch_collect(mert_checkpoint *c, const mert_pickle *p, const mert_storages *s, size_t pickle_size,
                       mert_error *e)
{
    uint64_t work = (uint64_t)WORK_PER_BYTE * pickle_size + WORK_FREE;
    collector w = {.c = c, .storages = s, .work = work < WORK_MAX ? work : WORK_MAX, .e = e};
    json_t *extras = NULL;
    int rc = visit(&w, mert_pickle_root(p), &extras);
    free(w.path);
    if (rc || (c->extras && extras)) {
        json_decref(extras);
        return rc;
    }
    if (extras)
        c->extras = extras;
    return 0;
}
