#include "libcommon/train/data/files.h"

#include "formats/array.h"
#include "formats/file.h"
#include "formats/tar.h"
#include "libcommon/base/pool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { ENDS = 1 << 16, BLOCK = 256 /* rows that a thread takes at a time */ };
enum { UNREADABLE = -1, NO_ITEM = -2 };

static const char magic[8] = "MERTFIL1";

typedef struct stored {
    char magic[8];
    uint64_t sum;
    int64_t n;
} stored;

/* ---- one file ---- */

static void set_times(mert_file_state *to, const struct stat *s)
{
    struct timespec now;
    to->modified[0] = s->st_mtim.tv_sec;
    to->modified[1] = s->st_mtim.tv_nsec;
    to->changed[0] = to->changed[1] = 0;
    if (clock_gettime(CLOCK_REALTIME, &now) || now.tv_sec - s->st_ctim.tv_sec > 1) {
        to->changed[0] = s->st_ctim.tv_sec;
        to->changed[1] = s->st_ctim.tv_nsec;
    }
}

static int same_times(const mert_file_state *a, const mert_file_state *b)
{
    return a->changed[0] && !memcmp(a->changed, b->changed, sizeof a->changed) &&
           !memcmp(a->modified, b->modified, sizeof a->modified);
}

/* XXH64 of the ends of bytes [from, from + size). */
static int hash_ends(int fd, int64_t from, int64_t size, unsigned char *block, uint64_t *ends)
{
    mts_xxh64_state x;
    int64_t first = size < ENDS ? size : ENDS, last = size < 2 * ENDS ? first : size - ENDS;
    mts_xxh64_begin(&x, 0);
    if (pread(fd, block, (size_t)first, (off_t)from) != first)
        return -1;
    mts_xxh64_add(&x, block, (size_t)first);
    if (pread(fd, block, (size_t)(size - last), (off_t)(from + last)) != size - last)
        return -1;
    mts_xxh64_add(&x, block, (size_t)(size - last));
    *ends = mts_xxh64_end(&x, 0);
    return 0;
}

/* The tar file that was read last: its members are often in a row. */
typedef struct open_tar {
    char *path; /* NULL: none */
    mert_tar tar;
    mert_index_keeping keeping;
} open_tar;

static void forget_tar(open_tar *t)
{
    if (t->path)
        mert_tar_close(&t->tar);
    free(t->path);
    t->path = NULL;
}

static const mert_tar_member *find_member(open_tar *t, const char *tar, const char *member)
{
    if (!t->path || strcmp(t->path, tar)) {
        mert_error unsaid = {{0}};
        forget_tar(t);
        if (mert_tar_open(&t->tar, tar, t->keeping, &unsaid))
            return NULL;
        if (!(t->path = strdup(tar))) {
            mert_tar_close(&t->tar);
            return NULL;
        }
    }
    return mert_tar_find(&t->tar, member);
}

/* Reads the ends of a file, or of a member of a tar file, unless its times are those of `before`. */
static void look_at(char *path, const mert_file_state *before, open_tar *tar, unsigned char *block, mert_file_state *to)
{
    const char *inside = mert_tar_member_of(path);
    const mert_tar_member *member;
    struct stat s;
    int64_t from = 0;
    int fd = -1;
    if (inside)
        path[inside - 1 - path] = 0;
    *to = (mert_file_state){.size = UNREADABLE};
    if (stat(path, &s) || !S_ISREG(s.st_mode)) /* a FIFO is not opened */
        return;
    set_times(to, &s);
    if (before && before->size >= 0 && same_times(before, to) && (inside || before->size == s.st_size)) {
        *to = *before;
        return;
    }
    to->size = s.st_size;
    if (inside) {
        member = find_member(tar, path, inside);
        from = member ? member->offset : 0;
        to->size = member && member->offset ? member->size : UNREADABLE;
    }
    if (to->size >= 0)
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || hash_ends(fd, from, to->size, block, &to->ends))
        *to = (mert_file_state){.size = UNREADABLE};
    if (fd >= 0)
        close(fd);
}

/* ---- all files ---- */

typedef struct looking {
    mert_corpus *c;
    const mert_file_state *before; /* [rows]; NULL: none */
    int out_of_memory;
} looking;

static void look_at_block(void *arg, int64_t block, int worker)
{
    looking *l = arg;
    mert_corpus *c = l->c;
    unsigned char *bytes = malloc(ENDS);
    open_tar tar = {.keeping = c->config.keeping};
    int64_t end = (block + 1) * BLOCK < c->n ? (block + 1) * BLOCK : c->n;
    (void)worker;
    for (int64_t i = block * BLOCK; i < end; i++) {
        const mert_corpus_item *item = &c->items[i];
        int64_t row = c->parts[item->part].first + item->row;
        char *path = bytes ? mert_manifest_item(&c->parts[item->part].manifest, item->row) : NULL;
        if (path)
            look_at(path, l->before ? &l->before[row] : NULL, &tar, bytes, &c->states[row]);
        else
            __atomic_store_n(&l->out_of_memory, 1, __ATOMIC_RELAXED);
        free(path);
    }
    forget_tar(&tar);
    free(bytes);
}

/* The states that were stored for these rows; NULL: there are none. */
static mert_file_state *read_states(const char *path, int64_t rows)
{
    size_t size, wanted = sizeof(stored) + (size_t)rows * sizeof(mert_file_state);
    char *text = mert_file_read(path, wanted, &size, NULL);
    stored head;
    mert_file_state *states = NULL;
    if (text && size == wanted) {
        memcpy(&head, text, sizeof head);
        if (!memcmp(head.magic, magic, sizeof magic) && head.n == rows &&
            head.sum == mts_xxh64(text + offsetof(stored, n), size - offsetof(stored, n), 0) &&
            (states = mert_array(rows, sizeof *states)))
            memcpy(states, text + sizeof head, (size_t)rows * sizeof *states);
    }
    free(text);
    return states;
}

/* Compares with the states before, and hashes those of each part. */
static void sum_up(mert_corpus *c, const mert_file_state *before)
{
    mts_xxh64_state x;
    for (int64_t i = 0; i < c->n; i++) {
        const mert_corpus_item *item = &c->items[i];
        mert_corpus_part *p = &c->parts[item->part];
        const mert_file_state *is = &c->states[p->first + item->row], *was = before ? before + (is - c->states) : NULL;
        int64_t facts[] = {item->row, is->size, (int64_t)is->ends};
        if (!i || item->part != c->items[i - 1].part)
            mts_xxh64_begin(&x, 0);
        mts_xxh64_add(&x, facts, sizeof facts);
        p->sound = mts_xxh64_end(&x, 0);
        if (was && was->size != NO_ITEM && (was->size != is->size || was->ends != is->ends) && !p->other) {
            p->other = mert_corpus_key(c, i);
            p->gone = is->size < 0;
        } else if (was && is->size >= 0 && was->size == is->size && was->ends == is->ends &&
                 memcmp(was->modified, is->modified, sizeof is->modified) && !c->touched++)
            c->touched_key = mert_corpus_key(c, i);
    }
}

int mert_corpus_files_look(mert_corpus *c, const char *before, mert_error *e)
{
    mert_file_state *was;
    looking l = {.c = c};
    if (!c->config.in_place)
        return 0;
    l.before = was = before ? read_states(before, c->rows) : NULL;
    if ((c->states = mert_array(c->rows, sizeof *c->states))) {
        for (int64_t i = 0; i < c->rows; i++)
            c->states[i] = (mert_file_state){.size = NO_ITEM};
        mert_pool_run((c->n + BLOCK - 1) / BLOCK, look_at_block, &l);
    }
    if (!c->states || l.out_of_memory) {
        free(was);
        return mert_fail(e, "out of memory for the files of %" PRId64 " rows", c->rows);
    }
    sum_up(c, was);
    free(was);
    return 0;
}

int mert_corpus_files_store(mert_corpus *c, const char *path, mert_error *e)
{
    stored head = {.n = c->rows};
    mts_xxh64_state x;
    mert_output *o;
    if (!c->states)
        return 0;
    if (!(o = mert_output_open(path, e)))
        return -1;
    mts_xxh64_begin(&x, 0);
    mts_xxh64_add(&x, &head.n, sizeof head.n);
    mts_xxh64_add(&x, c->states, (size_t)c->rows * sizeof *c->states);
    memcpy(head.magic, magic, sizeof magic);
    head.sum = mts_xxh64_end(&x, 0);
    fwrite(&head, sizeof head, 1, o->stream);
    fwrite(c->states, sizeof *c->states, (size_t)c->rows, o->stream);
    free(c->states);
    c->states = NULL;
    return mert_output_commit(o, e);
}
