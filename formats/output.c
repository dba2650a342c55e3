/* Output files (file.h). */
#define _GNU_SOURCE
#include "formats/file.h"

#include "formats/array.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- for the handler of a signal ----
 *
 * A second list of the temporary names, in a static array that a handler can read at any moment. A name that does not
 * fit into it is not removed if a signal ends the process. */
enum { PLACES = 256 };
enum { FREE, CLAIMED, THERE };
static struct place {
    int state;
    pid_t owner; /* a forked child must not remove them */
    char name[PATH_MAX];
} places[PLACES];

static void remember(const char *name)
{
    size_t n = strlen(name) + 1;
    for (int i = 0; n <= PATH_MAX && i < PLACES; i++) {
        int state = FREE;
        if (__atomic_compare_exchange_n(&places[i].state, &state, CLAIMED, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            memcpy(places[i].name, name, n);
            places[i].owner = getpid();
            __atomic_store_n(&places[i].state, THERE, __ATOMIC_RELEASE);
            return;
        }
    }
}

static void forget(const char *name)
{
    for (int i = 0; i < PLACES; i++)
        if (__atomic_load_n(&places[i].state, __ATOMIC_ACQUIRE) == THERE && !strcmp(places[i].name, name))
            __atomic_store_n(&places[i].state, FREE, __ATOMIC_RELEASE);
}

void mert_outputs_unlink(void)
{
    for (int i = 0; i < PLACES; i++)
        if (__atomic_load_n(&places[i].state, __ATOMIC_ACQUIRE) == THERE && places[i].owner == getpid())
            unlink(places[i].name);
}

/* ---- files that are read or being written: they must not be replaced ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static mert_output *on_their_way;
static struct input {
    dev_t device;
    ino_t inode;
} *inputs;
static int64_t ninputs, inputs_room;

int mert_input_note(const char *path, mert_error *e)
{
    struct stat s, out;
    if ((strcmp(path, "-") ? stat(path, &s) : fstat(STDIN_FILENO, &s)) || !S_ISREG(s.st_mode))
        return 0;
    if (!fstat(STDOUT_FILENO, &out) && out.st_dev == s.st_dev && out.st_ino == s.st_ino)
        return mert_fail(e, "%s: is where standard output goes, too", strcmp(path, "-") ? path : "standard input");
    pthread_mutex_lock(&lock);
    if (ninputs == inputs_room) {
        struct input *grown = mert_array_grow(inputs, &inputs_room, ninputs + 1, sizeof *grown);
        if (grown)
            inputs = grown;
    }
    if (ninputs < inputs_room)
        inputs[ninputs++] = (struct input){s.st_dev, s.st_ino};
    pthread_mutex_unlock(&lock);
    return 0;
}

static int is_input(const struct stat *s)
{
    int found = 0;
    pthread_mutex_lock(&lock);
    for (int64_t i = 0; i < ninputs && !found; i++)
        found = inputs[i].device == s->st_dev && inputs[i].inode == s->st_ino;
    pthread_mutex_unlock(&lock);
    return found;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* "": the current folder. To be freed. */
static char *folder_of(const char *path)
{
    size_t n = (size_t)(last_part(path) - path);
    return n ? strndup(path, n) : strdup("./");
}

/* why: errno. For a link, the message names the target that cannot be created. */
static int cannot_create(const mert_output *o, int why, mert_error *e)
{
    if (o->target && strcmp(o->path, o->target))
        return mert_fail(e, "%s: cannot create: it is a link to %s: %s", o->path, o->target, strerror(why));
    return mert_fail(e, "%s: cannot create: %s", o->path, strerror(why));
}

static int enter(mert_output *o, mert_error *e)
{
    struct stat s;
    char *folder = folder_of(o->target);
    int bad = !folder || stat(folder, &s), twice = 0;
    free(folder);
    if (bad)
        return cannot_create(o, folder ? errno : ENOMEM, e);
    o->folder[0] = s.st_dev;
    o->folder[1] = s.st_ino;
    pthread_mutex_lock(&lock);
    for (const mert_output *p = on_their_way; p && !o->special; p = p->next)
        twice |= !p->special && !memcmp(p->folder, o->folder, sizeof o->folder)
                 && !strcmp(last_part(p->target), last_part(o->target));
    if (!twice) {
        o->next = on_their_way;
        on_their_way = o;
    }
    pthread_mutex_unlock(&lock);
    return twice ? mert_fail(e, "%s: two outputs of this command have this name", o->path) : 0;
}

static void leave(const mert_output *o)
{
    pthread_mutex_lock(&lock);
    for (mert_output **p = &on_their_way; *p; p = &(*p)->next)
        if (*p == o) {
            *p = o->next;
            break;
        }
    pthread_mutex_unlock(&lock);
}

/* ---- the target ---- */

/* Resolves the links of a path. *by_number: one of them refers to an open descriptor (/dev/stdout), which has no name
 * of its own. To be freed; NULL with errno. */
static char *follow(const char *path, int *by_number)
{
    char link[PATH_MAX], *at = strdup(path), *folder, *next;
    ssize_t n;
    *by_number = 0;
    for (int links = 0; at && (n = readlink(at, link, sizeof link - 1)) >= 0; links++) {
        link[n] = 0;
        *by_number |= !strncmp(at, "/proc/", 6);
        folder = *link == '/' ? strdup("") : folder_of(at);
        next = folder && links < 40 ? mert_path_join(folder, link) : NULL;
        errno = links < 40 ? ENOMEM : ELOOP;
        free(folder);
        free(at);
        at = next;
    }
    return at;
}

/* Fills in target and special. *s: the file that exists there; st_mode 0: none. */
static int find_target(mert_output *o, struct stat *s, mert_error *e)
{
    struct stat named;
    int by_number;
    memset(s, 0, sizeof *s);
    if (!*o->path)
        return mert_fail(e, "an output has an empty name");
    if (stat(o->path, s)) {
        if (errno != ENOENT)
            return mert_fail(e, "%s: cannot create: %s", o->path, strerror(errno));
        s->st_mode = 0;
    }
    if (S_ISDIR(s->st_mode))
        return mert_fail(e, "%s: is a folder, not a file to write", o->path);
    if (S_ISSOCK(s->st_mode) || S_ISBLK(s->st_mode))
        return mert_fail(e, "%s: is %s, which no output is written to", o->path, mert_file_kind(s->st_mode));
    if (!(o->target = follow(o->path, &by_number)))
        return mert_fail(e, "%s: cannot create: %s", o->path, strerror(errno));
    o->special = s->st_mode
                 && (!S_ISREG(s->st_mode) || by_number || lstat(o->target, &named) || named.st_ino != s->st_ino
                     || named.st_dev != s->st_dev);
    if (o->special) {
        free(o->target);
        if (!(o->target = strdup(o->path)))
            return mert_fail(e, "%s: out of memory", o->path);
    }
    if (s->st_mode && faccessat(AT_FDCWD, o->path, W_OK, AT_EACCESS))
        return mert_fail(e, "%s: cannot replace it: %s", o->path, strerror(errno));
    if (!o->special && s->st_mode && is_input(s))
        return mert_fail(e, "%s: is an input of this command, too: name another output", o->path);
    return 0;
}

int mert_output_check(const char *path, char *const *files, int n, mert_error *e)
{
    mert_output o = {.path = (char *)path};
    struct stat s, in;
    int bad = find_target(&o, &s, e);
    char *folder = bad ? NULL : folder_of(o.target);
    if (!bad && !o.special && (!folder || faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS)))
        bad = cannot_create(&o, errno, e);
    for (int i = 0; !bad && !o.special && s.st_mode && i < n; i++)
        if (strcmp(files[i], "-") && !stat(files[i], &in) && in.st_dev == s.st_dev && in.st_ino == s.st_ino)
            bad = mert_fail(e, "%s: is an input of this command, too: name another output", path);
    free(folder);
    free(o.target);
    return bad;
}

/* ---- the temporary ---- */

/* Creates x.tmp-HOST-PROCESS-N beside x. If the name is taken (by a process that was killed, or by another user), the
 * next N is tried. Returns the descriptor, or -1 with errno. */
static int open_beside(mert_output *o, mode_t mode)
{
    enum { BASE = 128, HOST = 64, TRIES = 10000 };
    char host[HOST + 1] = "";
    const char *base = last_part(o->target);
    int fd = -1;
    if (gethostname(host, HOST) || !*host)
        strcpy(host, "host");
    for (char *p = host; *p; p++)
        if (*p == '/' || (unsigned char)*p <= ' ')
            *p = '_';
    for (int i = 0; i < TRIES; i++) {
        if (asprintf(&o->temporary, "%.*s%.*s.tmp-%s-%ld-%d", (int)(base - o->target), o->target, BASE, base, host,
                     (long)getpid(), i) < 0) {
            o->temporary = NULL;
            errno = ENOMEM;
            return -1;
        }
        remember(o->temporary);
        fd = open(o->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd >= 0)
            return fd;
        int why = errno;
        forget(o->temporary);
        free(o->temporary);
        o->temporary = NULL;
        errno = why;
        if (why != EEXIST)
            break;
    }
    return -1;
}

static int open_aside(mert_output *o)
{
    const char *folder = getenv("TMPDIR");
    int fd;
    o->temporary = mert_path_join(folder && *folder ? folder : "/tmp", "mert.tmp-XXXXXX");
    if (!o->temporary) {
        errno = ENOMEM;
        return -1;
    }
    fd = mkostemp(o->temporary, O_CLOEXEC);
    if (fd >= 0) {
        remember(o->temporary);
        return fd;
    }
    int why = errno;
    free(o->temporary);
    o->temporary = NULL;
    errno = why;
    return -1;
}

/* Gives the file the mode and owner of the file that it replaces. Only a privileged process can keep the owner. */
static int keep_mode(int fd, const struct stat *s)
{
    struct stat now;
    if (!fstat(fd, &now) && (now.st_uid != s->st_uid || now.st_gid != s->st_gid)
        && fchown(fd, s->st_uid, s->st_gid))
        errno = 0;
    return fchmod(fd, s->st_mode & 0777);
}

static void output_free(mert_output *o)
{
    if (o->temporary)
        forget(o->temporary);
    free(o->path);
    free(o->target);
    free(o->temporary);
    free(o);
}

mert_output *mert_output_open(const char *path, mert_error *e)
{
    mert_output *o = calloc(1, sizeof *o);
    struct stat s;
    int fd;
    if (!o || !(o->path = strdup(path))) {
        mert_fail(e, "%s: out of memory", path);
        free(o);
        return NULL;
    }
    if (find_target(o, &s, e) || enter(o, e)) {
        output_free(o);
        return NULL;
    }
    fd = o->special ? open_aside(o) : open_beside(o, s.st_mode ? s.st_mode & 0777 & ~(mode_t)077 : 0666);
    if (fd < 0 || (!o->special && s.st_mode && keep_mode(fd, &s)) || !(o->stream = fdopen(fd, "wb"))) {
        cannot_create(o, errno, e);
        if (fd >= 0) {
            close(fd);
            unlink(o->temporary);
        }
        leave(o);
        output_free(o);
        return NULL;
    }
    return o;
}

void mert_output_abandon(mert_output *o)
{
    if (!o)
        return;
    if (o->stream)
        fclose(o->stream);
    unlink(o->temporary);
    leave(o);
    output_free(o);
}

/* ---- commit ---- */

/* Makes the rename itself survive a power cut. */
static void sync_folder_of(const char *path)
{
    char *folder = folder_of(path);
    if (folder)
        mert_sync_folder(folder);
    free(folder);
}

int mert_output_clear(const mert_output *o, mert_error *e)
{
    if (!o->special && unlink(o->target) && errno != ENOENT)
        return mert_fail(e, "%s: cannot replace: %s", o->path, strerror(errno));
    return 0;
}

/* Opening a FIFO succeeds only when it has a reader. */
static int open_special(const char *path)
{
    struct timespec pause = {0, 20 * 1000 * 1000};
    int fd = -1;
    for (int i = 0; i < 50 * MERT_FIFO_SECONDS; i++) {
        fd = open(path, O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0 || (errno != ENXIO && errno != EINTR))
            break;
        nanosleep(&pause, NULL);
    }
    if (fd >= 0 && fcntl(fd, F_SETFL, O_APPEND)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int write_into(const mert_output *o, mert_error *e)
{
    char block[1 << 16];
    int from = open(o->temporary, O_RDONLY | O_CLOEXEC), to = from < 0 ? -1 : open_special(o->target), why = 0;
    ssize_t got = 0;
    if (to < 0)
        why = errno;
    while (!why && (got = read(from, block, sizeof block)) != 0) {
        if (got < 0)
            why = errno;
        for (ssize_t done = 0, n; !why && done < got; done += n > 0 ? n : 0)
            if ((n = write(to, block + done, (size_t)(got - done))) < 0 && errno != EINTR)
                why = errno;
    }
    if (to >= 0 && close(to) && !why)
        why = errno;
    if (from >= 0)
        close(from);
    if (why == ENXIO)
        return mert_fail(e, "%s: this FIFO has no reader", o->path);
    return why ? mert_fail(e, "%s: cannot write: %s", o->path, strerror(why)) : 0;
}

static int rename_into(const mert_output *o, mert_error *e)
{
    struct stat s;
    if (!lstat(o->target, &s)) {
        if (!S_ISREG(s.st_mode))
            return mert_fail(e, "%s: cannot replace what is there now: it is no file", o->path);
        if (is_input(&s))
            return mert_fail(e, "%s: is an input of this command, too: name another output", o->path);
    }
    if (rename(o->temporary, o->target))
        return mert_fail(e, "%s: cannot write: %s", o->path, strerror(errno));
    return 0;
}

int mert_output_commit(mert_output *o, mert_error *e)
{
    int bad = fflush(o->stream) || ferror(o->stream) || (!o->special && fsync(fileno(o->stream)));
    int why = errno;
    if (fclose(o->stream) && !bad) {
        bad = 1;
        why = errno;
    }
    o->stream = NULL;
    if (bad)
        mert_fail(e, "%s: cannot write: %s", o->path, strerror(why));
    else
        bad = o->special ? write_into(o, e) : rename_into(o, e);
    if (bad || o->special) {
        mert_output_abandon(o);
        return bad ? -1 : 0;
    }
    leave(o);
    sync_folder_of(o->target);
    output_free(o);
    return 0;
}
