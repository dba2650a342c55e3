#include "formats/checkpoint/zip.h"

#include "formats/array.h"
#include "formats/bytes.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Layout: APPNOTE.TXT of PKWARE, 4.3.7 (local header), 4.3.12 (central header), 4.3.14 to 4.3.16 (the ends). */
enum { LOCAL_SIZE = 30, CENTRAL_SIZE = 46, END_SIZE = 22, LOCATOR_SIZE = 20, END64_SIZE = 56, COMMENT_MAX = 65535 };
enum { LOCAL_MAGIC = 0x04034b50, CENTRAL_MAGIC = 0x02014b50, DESCRIPTOR_MAGIC = 0x08074b50,
       END_MAGIC = 0x06054b50, LOCATOR_MAGIC = 0x07064b50, END64_MAGIC = 0x06064b50 };
enum { FLAG_ENCRYPTED = 1, FLAG_DESCRIPTOR = 8 };

typedef struct directory {
    uint64_t entries, offset, size;
} directory;

/* Finds the end record: its comment ends exactly at the end of the file. */
static int find_end(const mert_mapping *m, size_t *at)
{
    if (m->size < END_SIZE)
        return -1;
    for (size_t back = END_SIZE; back <= m->size && back <= END_SIZE + COMMENT_MAX; back++) {
        const unsigned char *p = m->data + m->size - back;
        if (mert_le(p, 4) == END_MAGIC && mert_le(p + 20, 2) == back - END_SIZE) {
            *at = m->size - back;
            return 0;
        }
    }
    return -1;
}

static int read_end(const mert_mapping *m, directory *d, mert_error *e)
{
    const unsigned char *p;
    size_t at, end;
    if (find_end(m, &at))
        return mert_fail(e, "a zip file without its directory (truncated?)");
    p = m->data + at;
    end = at;
    *d = (directory){mert_le(p + 10, 2), mert_le(p + 16, 4), mert_le(p + 12, 4)};
    if (mert_le(p + 4, 2) || mert_le(p + 6, 2) || mert_le(p + 8, 2) != d->entries)
        return mert_fail(e, "offset %zu: a zip of several volumes", at);
    if (at >= LOCATOR_SIZE + END64_SIZE && mert_le(p - LOCATOR_SIZE, 4) == LOCATOR_MAGIC) {
        uint64_t where = mert_le(p - LOCATOR_SIZE + 8, 8);
        if (where > at - LOCATOR_SIZE - END64_SIZE || mert_le(m->data + where, 4) != END64_MAGIC ||
            mert_le(m->data + where + 4, 8) != at - LOCATOR_SIZE - where - 12)
            return mert_fail(e, "offset %zu: the zip64 locator points at no zip64 record", at - LOCATOR_SIZE);
        p = m->data + where;
        end = (size_t)where;
        if ((d->entries != 0xffff && d->entries != mert_le(p + 32, 8)) ||
            (d->offset != 0xffffffff && d->offset != mert_le(p + 48, 8)) ||
            (d->size != 0xffffffff && d->size != mert_le(p + 40, 8)) || mert_le(p + 24, 8) != mert_le(p + 32, 8))
            return mert_fail(e, "offset %zu: the two ends of the zip directory disagree", end);
        *d = (directory){mert_le(p + 32, 8), mert_le(p + 48, 8), mert_le(p + 40, 8)};
    }
    if (d->offset > end || d->size != end - d->offset)
        return mert_fail(e, "offset %zu: the zip directory is said to be %" PRIu64 " bytes at %" PRIu64 ", and is not",
                         at, d->size, d->offset);
    if (d->entries > d->size / CENTRAL_SIZE)
        return mert_fail(e, "offset %zu: %" PRIu64 " entries in a zip directory of %" PRIu64 " bytes", at, d->entries,
                         d->size);
    return 0;
}

/* If a field is 0xffffffff, its value is in the zip64 extra field (4.5.3), in this order. */
static int read_zip64(const unsigned char *extra, size_t size, uint64_t *raw, uint64_t *packed, uint64_t *local)
{
    uint64_t *wanted[3] = {raw, packed, local};
    while (size >= 4) {
        size_t id = mert_le(extra, 2), n = mert_le(extra + 2, 2), at = 4;
        if (n > size - 4)
            return -1;
        for (int i = 0; id == 1 && i < 3; i++)
            if (wanted[i] && *wanted[i] == 0xffffffff) {
                if (at + 8 > n + 4)
                    return -1;
                *wanted[i] = mert_le(extra + at, 8);
                at += 8;
            }
        extra += 4 + n;
        size -= 4 + n;
        if (id == 1)
            break;
    }
    return 0;
}

/* After the data, if the local header has no sizes: [signature], CRC-32, and the sizes in 4 or 8 bytes each (4.3.9). */
static int has_descriptor(const mert_zip_entry *z, const unsigned char *end)
{
    const unsigned char *p = z->data + z->size;
    for (int signature = 4; signature >= 0; signature -= 4)
        for (int width = 4; width <= 8; width += 4)
            if (end - p >= signature + 4 + 2 * width && (!signature || mert_le(p, 4) == DESCRIPTOR_MAGIC) &&
                mert_le(p + signature, 4) == z->crc && mert_le(p + signature + 4, width) == z->size &&
                mert_le(p + signature + 4 + width, width) == z->size)
                return 1;
    return 0;
}

/* The local header repeats the name, and the sizes unless a descriptor follows the data (then it may say 0). */
static int check_local(const mert_mapping *m, const directory *d, mert_zip_entry *z, unsigned flags, mert_error *e)
{
    mert_shown shown = mert_show(z->name, z->name_size);
    const unsigned char *p = z->local > d->offset || d->offset - z->local < LOCAL_SIZE ? NULL : m->data + z->local;
    uint64_t name_size, extra_size, raw, packed, room;
    if (!p || mert_le(p, 4) != LOCAL_MAGIC)
        return mert_fail(e, "%s: the zip directory is wrong: no entry at offset %" PRIu64, shown.text, z->local);
    room = d->offset - z->local - LOCAL_SIZE;
    name_size = mert_le(p + 26, 2);
    extra_size = mert_le(p + 28, 2);
    if (name_size + extra_size > room || z->size > room - name_size - extra_size)
        return mert_fail(e, "%s: the zip directory is wrong: %zu bytes at offset %" PRIu64 " reach beyond the data",
                         shown.text, z->size, z->local);
    if (name_size != z->name_size || memcmp(p + LOCAL_SIZE, z->name, name_size))
        return mert_fail(e, "%s: the zip directory is wrong: offset %" PRIu64 " has another name", shown.text,
                         z->local);
    packed = mert_le(p + 18, 4);
    raw = mert_le(p + 22, 4);
    if (mert_le(p + 8, 2) != 0 || (mert_le(p + 6, 2) & FLAG_ENCRYPTED) ||
        read_zip64(p + LOCAL_SIZE + name_size, (size_t)extra_size, &raw, &packed, NULL))
        return mert_fail(e, "%s: the zip directory is wrong: offset %" PRIu64 " is not stored", shown.text, z->local);
    z->data = p + LOCAL_SIZE + name_size + extra_size;
    if ((flags & FLAG_DESCRIPTOR) && raw == 0 && packed == 0 && z->size) {
        if (!has_descriptor(z, m->data + d->offset))
            return mert_fail(e, "%s: the zip directory is wrong: its data do not end after %zu bytes", shown.text,
                             z->size);
    } else if (raw != z->size || packed != z->size)
        return mert_fail(e, "%s: the zip directory is wrong: %zu bytes here, %" PRIu64 " at offset %" PRIu64,
                         shown.text, z->size, raw, z->local);
    return 0;
}

/* Reads the directory's entry at *at; moves *at to its end. */
static int read_entry(const mert_mapping *m, const directory *d, uint64_t *at, mert_zip_entry *z, mert_error *e)
{
    const unsigned char *p = m->data + *at;
    uint64_t left = d->offset + d->size - *at, raw, packed, rest;
    unsigned flags;
    mert_shown shown;
    if (left < CENTRAL_SIZE || mert_le(p, 4) != CENTRAL_MAGIC)
        return mert_fail(e, "offset %" PRIu64 ": no entry of the zip directory", *at);
    z->name_size = mert_le(p + 28, 2);
    rest = CENTRAL_SIZE + z->name_size + mert_le(p + 30, 2) + mert_le(p + 32, 2);
    if (rest > left)
        return mert_fail(e, "offset %" PRIu64 ": an entry larger than the zip directory", *at);
    z->name = (const char *)p + CENTRAL_SIZE;
    shown = mert_show(z->name, z->name_size);
    flags = (unsigned)mert_le(p + 8, 2);
    z->crc = (uint32_t)mert_le(p + 16, 4);
    packed = mert_le(p + 20, 4);
    raw = mert_le(p + 24, 4);
    z->local = mert_le(p + 42, 4);
    if (flags & FLAG_ENCRYPTED)
        return mert_fail(e, "%s: encrypted", shown.text);
    if (mert_le(p + 10, 2) != 0)
        return mert_fail(e, "%s: compressed (method %d); torch stores its tensors uncompressed", shown.text,
                         (int)mert_le(p + 10, 2));
    if (read_zip64(p + CENTRAL_SIZE + z->name_size, (size_t)mert_le(p + 30, 2), &raw, &packed, &z->local) ||
        raw != packed || raw > m->size)
        return mert_fail(e, "%s: the zip directory is wrong: impossible sizes (%" PRIu64 " and %" PRIu64 " bytes)",
                         shown.text, raw, packed);
    z->size = (size_t)raw;
    *at += rest;
    return check_local(m, d, z, flags, e);
}

static int by_local(const void *a, const void *b)
{
    const mert_zip_entry *x = a, *y = b;
    return x->local < y->local ? -1 : x->local > y->local;
}

static int compare_names(const char *a, size_t na, const char *b, size_t nb)
{
    int c = memcmp(a, b, na < nb ? na : nb);
    return c ? c : na < nb ? -1 : na > nb;
}

static int by_name(const void *a, const void *b)
{
    const mert_zip_entry *x = a, *y = b;
    return compare_names(x->name, x->name_size, y->name, y->name_size);
}

static int check_entries(mert_zip *z, const unsigned char *base, mert_error *e)
{
    qsort(z->entries, z->n, sizeof *z->entries, by_local);
    for (size_t i = 1; i < z->n; i++) {
        const mert_zip_entry *a = &z->entries[i - 1], *b = &z->entries[i];
        if ((uint64_t)(a->data - base) + a->size > b->local)
            return mert_fail(e, "%s: the zip directory is wrong: it overlaps %s", mert_show(a->name, a->name_size).text,
                             mert_show(b->name, b->name_size).text);
    }
    qsort(z->entries, z->n, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->n; i++)
        if (!by_name(&z->entries[i - 1], &z->entries[i]))
            return mert_fail(e, "%s: twice in the zip directory",
                             mert_show(z->entries[i].name, z->entries[i].name_size).text);
    return 0;
}

int mert_zip_read(mert_zip *z, const mert_mapping *m, mert_error *e)
{
    directory d;
    uint64_t at;
    *z = (mert_zip){0};
    if (read_end(m, &d, e))
        return -1;
    if (!(z->entries = mert_array_zeroed(d.entries + 1, sizeof *z->entries)))
        return mert_fail(e, "out of memory");
    for (at = d.offset; z->n < d.entries; z->n++)
        if (read_entry(m, &d, &at, &z->entries[z->n], e))
            goto fail;
    if (at != d.offset + d.size) {
        mert_fail(e, "offset %" PRIu64 ": the zip directory goes on behind its %" PRIu64 " entries", at, d.entries);
        goto fail;
    }
    if (!check_entries(z, m->data, e))
        return 0;
fail:
    mert_zip_free(z);
    return -1;
}

void mert_zip_free(mert_zip *z)
{
    free(z->entries);
    *z = (mert_zip){0};
}

const mert_zip_entry *mert_zip_find(const mert_zip *z, const char *name, size_t name_size)
{
    mert_zip_entry key = {.name = name, .name_size = name_size};
    return z->n ? bsearch(&key, z->entries, z->n, sizeof key, by_name) : NULL;
}
