/* Makes model files byte by byte: pickles, zip files with correct or wrong directories, safetensors. */
#ifndef MODEL_FILE_H
#define MODEL_FILE_H

#include "formats/bytes.h"
#include "formats/checkpoint/checkpoint.h"
#include "formats/file.h"
#include "tests/test.h"

#include <stdarg.h>

typedef struct bytes {
    unsigned char *p;
    size_t n, room;
} bytes;

static inline void put(bytes *b, const void *p, size_t n)
{
    if (b->n + n > b->room) {
        b->room = 2 * (b->n + n);
        b->p = realloc(b->p, b->room);
        if (!b->p)
            abort();
    }
    if (n)
        memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void put_le(bytes *b, uint64_t v, int width)
{
    unsigned char p[8];
    for (int i = 0; i < width; i++)
        p[i] = (unsigned char)(v >> 8 * i);
    put(b, p, (size_t)width);
}

static inline void put_text(bytes *b, const char *s) { put(b, s, strlen(s)); }

/* Makes a pickle from a format: %c class "module name", %s text, %i integer, %f float, %b byte, %w 32-bit word, %p
 * other bytes; any other character is an opcode (blanks are ignored). */
static inline void pickle(bytes *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put(b, "\x80\2", 2);
    for (const char *f = format; *f; f++) {
        if (*f == ' ')
            continue;
        if (*f != '%') {
            put(b, f, 1);
            continue;
        }
        switch (*++f) {
        case 's': {
            const char *s = va_arg(ap, const char *);
            put_text(b, "X");
            put_le(b, strlen(s), 4);
            put_text(b, s);
            break;
        }
        case 'c': {
            const char *s = va_arg(ap, const char *), *blank = strchr(s, ' ');
            put_text(b, "c");
            put(b, s, (size_t)(blank - s));
            put_text(b, "\n");
            put_text(b, blank + 1);
            put_text(b, "\n");
            break;
        }
        case 'i': put_text(b, "J"); put_le(b, (uint64_t)(int64_t)va_arg(ap, int), 4); break;
        case 'b': put_le(b, (uint64_t)va_arg(ap, int), 1); break;
        case 'w': put_le(b, (uint64_t)va_arg(ap, int), 4); break;
        case 'f': {
            double v = va_arg(ap, double);
            uint64_t u;
            put_text(b, "G");
            memcpy(&u, &v, 8);
            for (int i = 7; i >= 0; i--)
                put_le(b, u >> 8 * i, 1);
            break;
        }
        case 'p': {
            const bytes *part = va_arg(ap, const bytes *);
            put(b, part->p, part->n);
            break;
        } /* opcodes from elsewhere */
        default: abort();
        }
    }
    va_end(ap);
}

/* Opcodes of a float32 tensor of storage key: "k" with `numel` elements, as torch writes them. shape and stride: up to
 * two numbers. */
static inline bytes tensor_opcodes(const char *class, const char *key, int numel, int offset, int ndim,
                                   const int *shape, const int *stride)
{
    bytes all = {0}, b = {0};
    pickle(&all, "%c (( %s %c %s %s %i tQ %i (", "torch._utils _rebuild_tensor_v2", "storage", class, key, "cpu", numel,
           offset);
    for (int i = 0; i < ndim; i++) {
        put_text(&all, "J");
        put_le(&all, (uint64_t)(int64_t)shape[i], 4);
    }
    put_text(&all, "t(");
    for (int i = 0; i < ndim; i++) {
        put_text(&all, "J");
        put_le(&all, (uint64_t)(int64_t)stride[i], 4);
    }
    put_text(&all, "t\x89)tR"); /* requires_grad False, hooks () */
    put(&b, all.p + 2, all.n - 2); /* without the protocol */
    free(all.p);
    return b;
}

/* ---- zip ---- */

typedef struct zip_part {
    const char *name;
    const void *data;
    size_t size;
    /* errors and variants, 0: none */
    int method, zip64, no_descriptor, local_name, wrong_crc,
        agree; /* agree: the local header has the same wrong size */
    int64_t size_more, offset_more;
} zip_part;

typedef struct zip_lies {
    int entries_more, size_more, offset_more; /* in the end record */
} zip_lies;

static inline bytes zip_file(const zip_part *parts, size_t n, const zip_lies *lies)
{
    static const zip_lies none;
    bytes b = {0}, d = {0};
    size_t start;
    if (!lies)
        lies = &none;
    for (size_t i = 0; i < n; i++) {
        const zip_part *z = &parts[i];
        size_t name = strlen(z->name), local = b.n;
        uint64_t size = z->size + (uint64_t)z->size_more, at = local + (uint64_t)z->offset_more;
        uint32_t crc = mert_crc32(0, z->data, z->size) ^ (z->wrong_crc ? 1u : 0u);
        int flags = z->no_descriptor ? 0 : 8;
        put_le(&b, 0x04034b50, 4);
        put_le(&b, 0, 2);
        put_le(&b, (uint64_t)flags, 2);
        put_le(&b, (uint64_t)z->method, 2);
        put_le(&b, 0, 4);
        put_le(&b, flags ? 0 : crc, 4);
        put_le(&b, flags ? 0 : z->agree ? size : z->size, 4);
        put_le(&b, flags ? 0 : z->agree ? size : z->size, 4);
        put_le(&b, name, 2);
        put_le(&b, 0, 2);
        put(&b, z->name, name);
        if (z->local_name)
            b.p[b.n - 1] ^= 1;
        put(&b, z->data, z->size);
        if (flags) {
            put_le(&b, 0x08074b50, 4);
            put_le(&b, crc, 4);
            put_le(&b, z->size, 4);
            put_le(&b, z->size, 4);
        }
        put_le(&d, 0x02014b50, 4);
        put_le(&d, 0, 4);
        put_le(&d, (uint64_t)flags, 2);
        put_le(&d, (uint64_t)z->method, 2);
        put_le(&d, 0, 4);
        put_le(&d, crc, 4);
        put_le(&d, z->zip64 ? 0xffffffff : size, 4);
        put_le(&d, z->zip64 ? 0xffffffff : size, 4);
        put_le(&d, name, 2);
        put_le(&d, z->zip64 ? 28 : 0, 2);
        put_le(&d, 0, 8); /* comment, disk, attributes */
        put_le(&d, 0, 2);
        if (z->zip64 || at > 0xffffffff)
            put_le(&d, 0xffffffff, 4);
        else
            put_le(&d, at, 4);
        put(&d, z->name, name);
        if (z->zip64) {
            put_le(&d, 1, 2);
            put_le(&d, 24, 2);
            put_le(&d, size, 8);
            put_le(&d, size, 8);
            put_le(&d, at, 8);
        }
    }
    start = b.n;
    put(&b, d.p, d.n);
    put_le(&b, 0x06054b50, 4);
    put_le(&b, 0, 4);
    put_le(&b, n + (uint64_t)lies->entries_more, 2);
    put_le(&b, n + (uint64_t)lies->entries_more, 2);
    put_le(&b, d.n + (uint64_t)lies->size_more, 4);
    put_le(&b, start + (uint64_t)lies->offset_more, 4);
    put_le(&b, 0, 2);
    free(d.p);
    return b;
}

/* ---- files ---- */

static inline const char *file_of(const char *name, const void *p, size_t n)
{
    const char *path = test_tmp(name);
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(p, 1, n, f) != n) || fclose(f)) {
        perror(path);
        abort();
    }
    return path;
}

/* Opens these bytes as a model file; the bytes are freed. */
static inline mert_checkpoint *open_bytes(const char *name, bytes b, mert_error *e)
{
    mert_checkpoint *c = mert_checkpoint_open(file_of(name, b.p, b.n), e);
    free(b.p);
    return c;
}

/* A torch zip of this pickle (freed) and one storage "k". */
static inline bytes torch_zip(bytes *pkl, const void *storage, size_t size)
{
    zip_part parts[] = {{.name = "m/data.pkl", .data = pkl->p, .size = pkl->n},
                        {.name = "m/data/k", .data = storage, .size = size},
                        {.name = "m/version", .data = "3\n", .size = 2}};
    bytes b = zip_file(parts, 3, NULL);
    free(pkl->p);
    *pkl = (bytes){0};
    return b;
}

#endif
