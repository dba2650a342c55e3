#include "formats/tar.h"

#include "formats/array.h"
#include "formats/stream/mts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BLOCK = 512,
    EXTENDED_MAX = 1 << 20, /* bytes of an extended header */
    WORTH = 64              /* fewer members get no index file */
};

/* A header (POSIX.1-1988, ustar; GNU tar has other fields behind magic). */
enum { NAME = 0, NAME_SIZE = 100, SIZE = 124, SIZE_SIZE = 12, SUM = 148, SUM_SIZE = 8, TYPE = 156, MAGIC = 257,
       PREFIX = 345, PREFIX_SIZE = 155 };

/* A tar file whose headers are being read. */
typedef struct walk {
    const char *path;
    int fd;
    int64_t size, at; /* of the file; of the header */
    unsigned char block[BLOCK];
    /* What extended headers say of the next member. */
    char name[MERT_TAR_NAME_MAX]; /* "": nothing */
    int64_t told_size;            /* -1: nothing */
    /* What was found. */
    mert_tar_member *members;
    int64_t n, room;
    char *names;
    int64_t names_n, names_room;
} walk;

static int refuse(const walk *w, const char *why, mert_error *e)
{
    return mert_fail(e, "%s: no sound tar file: the header at byte %" PRId64 " %s", w->path, w->at, why);
}

static int read_at(const walk *w, int64_t at, void *to, size_t n, mert_error *e)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(w->fd, (char *)to + done, n - done, at + (int64_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return mert_fail(e, "%s: %s", w->path, got ? strerror(errno) : "became shorter while it was read");
        done += (size_t)got;
    }
    return 0;
}

/* ---- fields ---- */

/* An octal number, or a binary one after a byte 0x80 (GNU); -1: neither, or too large. */
static int64_t number(const unsigned char *p, int n)
{
    int64_t x = 0;
    int i = 0, digits = 0;
    if (*p & 0x80) {
        if (*p != 0x80)
            return -1;
        for (i = 1; i < n; i++) {
            if (x >> 48)
                return -1;
            x = x << 8 | p[i];
        }
        return x;
    }
    while (i < n && p[i] == ' ')
        i++;
    for (; i < n && p[i] >= '0' && p[i] <= '7'; i++, digits++)
        x = x << 3 | (p[i] - '0');
    return digits && (i == n || p[i] == ' ' || !p[i]) ? x : -1;
}

/* The sum of the header's bytes, its own field as blanks. Old programs have added signed bytes. */
static int sum_fits(const unsigned char *block)
{
    int64_t told = number(block + SUM, SUM_SIZE), sum = 0, with_sign = 0;
    for (int i = 0; i < BLOCK; i++) {
        unsigned char b = i >= SUM && i < SUM + SUM_SIZE ? ' ' : block[i];
        sum += b;
        with_sign += (signed char)b;
    }
    return told == sum || told == with_sign;
}

static int is_zero(const unsigned char *block)
{
    for (int i = 0; i < BLOCK; i++)
        if (block[i])
            return 0;
    return 1;
}

/* The name in the header itself, with ustar's prefix in front. */
static int header_name(const walk *w, char to[MERT_TAR_NAME_MAX])
{
    const char *name = (const char *)w->block + NAME, *prefix = (const char *)w->block + PREFIX;
    int has_prefix = !memcmp(w->block + MAGIC, "ustar", 6) && *prefix;
    return snprintf(to, MERT_TAR_NAME_MAX, "%.*s%s%.*s", has_prefix ? PREFIX_SIZE : 0, prefix, has_prefix ? "/" : "",
                    NAME_SIZE, name) > 0;
}

/* ---- extended headers ---- */

/* The contents of an extended header, with a NUL behind; NULL: refused. */
static char *contents(const walk *w, int64_t size, mert_error *e)
{
    char *text;
    if (size < 1 || size > EXTENDED_MAX) {
        refuse(w, "is an extended one without contents, or of more than 1 MiB", e);
        return NULL;
    }
    if (!(text = malloc((size_t)size + 1))) {
        mert_fail(e, "%s: out of memory", w->path);
        return NULL;
    }
    text[size] = 0;
    if (read_at(w, w->at + BLOCK, text, (size_t)size, e)) {
        free(text);
        return NULL;
    }
    return text;
}

static int set_name(walk *w, const char *name, size_t n, mert_error *e)
{
    if (!n || n >= sizeof w->name || memchr(name, 0, n))
        return refuse(w, "has an empty name, one with a NUL, or one that is too long", e);
    memcpy(w->name, name, n);
    w->name[n] = 0;
    return 0;
}

/* One entry of a pax header: KEY=VALUE. */
static int take_entry(walk *w, const char *key, const char *value, size_t n, mert_error *e)
{
    char *end;
    size_t length = (size_t)(value - 1 - key);
    if (length == 4 && !memcmp(key, "path", 4))
        return set_name(w, value, n, e);
    if (length >= 10 && !memcmp(key, "GNU.sparse", 10))
        return refuse(w, "is of a sparse file, which is not read", e);
    if (length != 4 || memcmp(key, "size", 4))
        return 0;
    errno = 0;
    w->told_size = *value >= '0' && *value <= '9' ? strtoll(value, &end, 10) : -1;
    return w->told_size < 0 || errno || end != value + n ? refuse(w, "has a size that is no number", e) : 0;
}

/* Entries "LENGTH KEY=VALUE\n"; LENGTH counts all of these bytes. */
static int take_pax(walk *w, const char *text, int64_t size, mert_error *e)
{
    for (int64_t at = 0; at < size;) {
        char *key;
        long long length = text[at] >= '1' && text[at] <= '9' ? strtoll(text + at, &key, 10) : 0;
        const char *value, *end = text + at + length - 1;
        if (length < 5 || length > size - at || *key != ' ' || *end != '\n' || ++key >= end ||
            !(value = memchr(key, '=', (size_t)(end - key))))
            return refuse(w, "is a pax one with a damaged entry", e);
        value++;
        if (take_entry(w, key, value, (size_t)(end - value), e))
            return -1;
        at += length;
    }
    return 0;
}

static int take_extended(walk *w, char type, int64_t size, mert_error *e)
{
    char *text;
    int bad = 0;
    if (type == 'g' || type == 'K') /* of all members, where neither names nor sizes stand; the target of a link */
        return 0;
    if (!(text = contents(w, size, e)))
        return -1;
    if (type == 'x')
        bad = take_pax(w, text, size, e);
    else
        bad = strlen(text) + 1 < (size_t)size ? refuse(w, "is a long name with something behind it", e)
                                              : set_name(w, text, strlen(text), e);
    free(text);
    return bad;
}

/* ---- members ---- */

static int add_member(walk *w, int64_t offset, int64_t size, mert_error *e)
{
    char name[MERT_TAR_NAME_MAX];
    size_t n;
    mert_tar_member *members;
    char *names;
    if (*w->name)
        strcpy(name, w->name);
    else if (!header_name(w, name))
        return refuse(w, "has no name", e);
    n = strlen(name) + 1;
    if (name[n - 2] == '/') /* how old programs write a folder */
        return 0;
    if (!(members = mert_array_grow(w->members, &w->room, w->n + 1, sizeof *members)))
        return mert_fail(e, "%s: out of memory", w->path);
    w->members = members;
    if (!(names = mert_array_grow(w->names, &w->names_room, w->names_n + (int64_t)n, 1)))
        return mert_fail(e, "%s: out of memory", w->path);
    w->names = names;
    memcpy(names + w->names_n, name, n);
    w->members[w->n++] = (mert_tar_member){mts_xxh64(name, n - 1, 0), offset, size, w->names_n};
    w->names_n += (int64_t)n;
    return 0;
}

/* Reads the header at w->at, and moves to the next one. 1: the end. */
static int step(walk *w, mert_error *e)
{
    char type = (char)w->block[TYPE];
    int64_t size = number(w->block + SIZE, SIZE_SIZE);
    int extended = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    int regular = type == '0' || !type || type == '7', link = type == '1' || type == '2';
    if (!sum_fits(w->block))
        return refuse(w, w->at ? "has a wrong checksum" : "has a wrong checksum (compressed ones are not read)", e);
    if (type == 'S' || type == 'M')
        return refuse(w, "is of a sparse file or a continued volume, which is not read", e);
    if (!extended && w->told_size >= 0)
        size = w->told_size;
    if (type >= '1' && type <= '6') /* links, devices, folders: nothing follows, whatever the size says */
        size = 0;
    if (size < 0)
        return refuse(w, "has a size that is no number", e);
    if (size > w->size - w->at - BLOCK)
        return refuse(w, "promises more bytes than the file has", e);
    if (extended ? take_extended(w, type, size, e)
                 : (regular || link) && add_member(w, link ? 0 : w->at + BLOCK, size, e))
        return -1;
    if (!extended) {
        *w->name = 0;
        w->told_size = -1;
    }
    w->at += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
    return 0;
}

/* Behind the end there may be anything, but no member: a header in front of it was overwritten by zeros, or several tar
 * files stand one behind the other. */
static int check_behind(walk *w, mert_error *e)
{
    int64_t end = w->at;
    for (int64_t at = end + BLOCK; at <= w->size - BLOCK; at += BLOCK) {
        if (read_at(w, at, w->block, BLOCK, e))
            return -1;
        if (!memcmp(w->block + MAGIC, "ustar", 5) && sum_fits(w->block))
            return mert_fail(e, "%s: no sound tar file: it ends at byte %" PRId64 ", but there is a member at byte "
                             "%" PRId64 " (zeros in place of headers, or several tar files in one?)", w->path, end, at);
    }
    return 0;
}

static int read_headers(walk *w, mert_error *e)
{
    for (int ended = 0; !ended;) {
        if (w->at > w->size - BLOCK)
            return mert_fail(e, "%s: no sound tar file: it ends at byte %" PRId64 " without the blocks that end one: "
                             "is it cut off?", w->path, w->size);
        if (read_at(w, w->at, w->block, BLOCK, e))
            return -1;
        ended = is_zero(w->block);
        if (!ended && step(w, e))
            return -1;
    }
    if (*w->name || w->told_size >= 0)
        return refuse(w, "should be that of a member: an extended one stands in front", e);
    return check_behind(w, e);
}

static int by_hash(const void *a, const void *b)
{
    const mert_tar_member *x = a, *y = b;
    return x->hash != y->hash ? (x->hash < y->hash ? -1 : 1) : (x->offset > y->offset) - (x->offset < y->offset);
}

enum { MEMBERS, NAMES, SECTIONS };

static int find_out(void *arg, mert_index_part *parts, int *worth, mert_error *e)
{
    walk *w = calloc(1, sizeof *w);
    struct stat s;
    int bad;
    if (!w)
        return mert_fail(e, "%s: out of memory", (const char *)arg);
    w->path = arg;
    w->told_size = -1;
    w->fd = open(w->path, O_RDONLY | O_CLOEXEC);
    bad = w->fd < 0 || fstat(w->fd, &s) ? mert_fail(e, "%s: %s", w->path, strerror(errno)) : 0;
    w->size = bad ? 0 : s.st_size;
    bad = bad || read_headers(w, e);
    if (w->fd >= 0)
        close(w->fd);
    if (bad) {
        free(w->members);
        free(w->names);
        free(w);
        return -1;
    }
    if (w->n)
        qsort(w->members, (size_t)w->n, sizeof *w->members, by_hash);
    parts[MEMBERS] = (mert_index_part){w->members, (size_t)w->n * sizeof *w->members};
    parts[NAMES] = (mert_index_part){w->names, (size_t)w->names_n};
    *worth = w->n >= WORTH;
    free(w);
    return 0;
}

/* ---- looking up ---- */

int mert_tar_open(mert_tar *t, const char *path, mert_index_keeping keeping, mert_error *e)
{
    size_t bytes, names;
    memset(t, 0, sizeof *t);
    if (mert_index_get(&t->index, path, ".index", "tar", 0, SECTIONS, keeping, find_out, (void *)path, e))
        return -1;
    t->members = mert_index_section(&t->index, MEMBERS, &bytes);
    t->names = mert_index_section(&t->index, NAMES, &names);
    t->n = (int64_t)(bytes / sizeof *t->members);
    for (int64_t i = 0; i < t->n; i++)
        if (t->members[i].name < 0 || (uint64_t)t->members[i].name >= names || t->names[names - 1] ||
            t->members[i].size < 0 || (t->members[i].offset < BLOCK && (t->members[i].offset || t->members[i].size))) {
            mert_tar_close(t);
            return mert_fail(e, "%s.index: is not of this file: remove it", path);
        }
    return 0;
}

void mert_tar_close(mert_tar *t)
{
    mert_index_close(&t->index);
    memset(t, 0, sizeof *t);
}

const mert_tar_member *mert_tar_find(const mert_tar *t, const char *name)
{
    uint64_t hash = mts_xxh64(name, strlen(name), 0);
    const mert_tar_member *found = NULL;
    int64_t low = 0, high = t->n;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (t->members[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < t->n && t->members[low].hash == hash; low++)
        if (!strcmp(mert_tar_name(t, &t->members[low]), name))
            found = &t->members[low];
    return found;
}

const char *mert_tar_member_of(const char *path)
{
    static const char mark[] = ".tar:";
    struct stat s;
    if (!strstr(path, mark) || !stat(path, &s))
        return NULL;
    for (const char *p = path; (p = strstr(p, mark)); p++) {
        const char *member = p + sizeof mark - 1;
        char *tar = strndup(path, (size_t)(member - 1 - path));
        int is = tar && !stat(tar, &s) && S_ISREG(s.st_mode) && *member;
        free(tar);
        if (is)
            return member;
    }
    return NULL;
}
