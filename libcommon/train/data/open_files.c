#include "libcommon/train/data/open_files.h"

#include "formats/array.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPEN_MAX = 64,    /* the most files that all threads keep open; each thread may keep one */
       OPEN_EACH = 4,    /* the most files that one thread keeps open */
       SEEK_BUFFER = 512 /* bytes that are read at a place after a seek: the header of a chunk has about 200 */
};

typedef struct open_file {
    const char *name; /* NULL: unused */
    FILE *stream;
    mts_reader *reader;
    int64_t used; /* number of the thread's call that used it last */
    char buffer[SEEK_BUFFER];
} open_file;

struct mert_open_files {
    int threads, room; /* a thread keeps so many files open */
    struct thread_files {
        open_file files[OPEN_EACH], *last;
        int64_t calls;
    } *thread;
};

static void close_file(open_file *f)
{
    mts_reader_close(f->reader);
    if (f->stream)
        fclose(f->stream);
    f->name = NULL;
    f->stream = NULL;
    f->reader = NULL;
}

mert_open_files *mert_open_files_new(int threads)
{
    mert_open_files *f = calloc(1, sizeof *f);
    int room = OPEN_MAX / threads;
    if (!f || !(f->thread = mert_array_zeroed(threads, sizeof *f->thread))) {
        free(f);
        return NULL;
    }
    f->threads = threads;
    f->room = room < 1 ? 1 : room < OPEN_EACH ? room : OPEN_EACH;
    return f;
}

void mert_open_files_free(mert_open_files *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->threads; i++)
        for (int k = 0; k < f->room; k++)
            close_file(&f->thread[i].files[k]);
    free(f->thread);
    free(f);
}

int mert_open_files_threads(const mert_open_files *f)
{
    return f->threads;
}

static int open_it(open_file *f, const char *name, mert_error *e)
{
    if (!(f->stream = fopen(name, "rb")))
        return mert_fail(e, "%s: %s", name, strerror(errno));
    f->name = name;
    setvbuf(f->stream, f->buffer, _IOFBF, sizeof f->buffer);
    if (!(f->reader = mts_reader_open(f->stream, name))) {
        close_file(f);
        return mert_fail(e, "%s: out of memory", name);
    }
    return 0;
}

/* A file that is not open takes the place of the one that was not used for the longest time. */
mts_reader *mert_open_files_reader(mert_open_files *all, int thread, const char *name, mert_error *e)
{
    struct thread_files *t = &all->thread[thread];
    open_file *f = t->files;
    for (int i = 0; i < all->room && f->name != name; i++)
        if (t->files[i].name == name || !t->files[i].name || (f->name && t->files[i].used < f->used))
            f = &t->files[i];
    t->last = f;
    if (f->name != name) {
        close_file(f);
        if (open_it(f, name, e))
            return NULL;
    }
    f->used = ++t->calls;
    return f->reader;
}

void mert_open_files_drop(mert_open_files *f, int thread)
{
    if (f->thread[thread].last)
        close_file(f->thread[thread].last);
}
