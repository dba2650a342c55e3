/* LD_PRELOAD=fail-nth.so PROGRAM ...: makes one allocation, or one start of a thread, fail.
 *
 * FAIL_CALL malloc, calloc, realloc, aligned_alloc, posix_memalign, mmap or pthread_create; memory (the default): any
 *                  of the first six
 *     FAIL_AT      the call that fails, from 1 as they are made; without it none does
 *     FAIL_ON      set: all after it fail, too
 *     FAIL_SEEN    a file that is told at the end how many calls there were
 *     FAIL_TRACE   set: who made the call that fails, on stderr
 *
 * All calls after the beginning of main are counted, except those of the dynamic linker, OpenBLAS, FFTW and FFmpeg: out
 * of memory, these end the process, or lose a packet silently (FFmpeg 5.1, while it looks for streams). For glibc. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);
int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*end)(void), void *stack);

enum { OTHERS_MAX = 32 };
static struct { uintptr_t first, end; } others[OTHERS_MAX]; /* code whose calls do not count */
static int n_others, started, on, trace;
static long seen, at;
static const char *call = "memory";
static int (*real_main)(int, char **, char **);
static pid_t process;

static int note_other(struct dl_phdr_info *info, size_t size, void *arg)
{
    static const char *const names[] = {"/ld-linux", "/libopenblas", "/libblas", "/libfftw3", "/libgfortran", "/libgomp",
                                        "/libav", "/libsw"};
    (void)size;
    (void)arg;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        if (strstr(info->dlpi_name, names[k]))
            for (int i = 0; i < info->dlpi_phnum && n_others < OTHERS_MAX; i++)
                if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
                    others[n_others].first = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
                    others[n_others].end = others[n_others].first + info->dlpi_phdr[i].p_memsz;
                    n_others++;
                }
    return 0;
}

/* 1: this call, made from this address, must fail. */
static int fails(const char *name, const void *from)
{
    long n;
    if (!started || strcmp(call, strcmp(call, "memory") == 0 && strcmp(name, "pthread_create") != 0 ? "memory" : name) != 0)
        return 0;
    for (int i = 0; i < n_others; i++)
        if ((uintptr_t)from >= others[i].first && (uintptr_t)from < others[i].end)
            return 0;
    n = __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
    if (!at || (on ? n < at : n != at))
        return 0;
    if (trace) {
        void *stack[32];
        started = 0; /* the calls of the trace do not count */
        backtrace_symbols_fd(stack, backtrace(stack, 32), 2);
        started = 1;
    }
    return 1;
}

static void tell(void)
{
    const char *path = getenv("FAIL_SEEN");
    int fd = path && getpid() == process ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;
    started = 0;
    if (fd >= 0) {
        dprintf(fd, "%ld\n", seen);
        close(fd);
    }
}

static int counted_main(int argc, char **argv, char **environment)
{
    const char *text = getenv("FAIL_AT");
    at = text ? atol(text) : 0;
    text = getenv("FAIL_ON");
    on = text && *text;
    trace = getenv("FAIL_TRACE") != NULL;
    call = getenv("FAIL_CALL") ? getenv("FAIL_CALL") : call;
    process = getpid();
    unsetenv("LD_PRELOAD"); /* not in child processes */
    dl_iterate_phdr(note_other, NULL);
    if (atexit(tell))
        return 3;
    started = 1;
    return real_main(argc, argv, environment);
}

int __libc_start_main(int (*program)(int, char **, char **), int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*end)(void), void *stack)
{
    int (*real)(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void), void (*)(void), void *);
    *(void **)&real = dlsym(RTLD_NEXT, "__libc_start_main");
    real_main = program;
    return real(counted_main, argc, argv, init, fini, end, stack);
}

#define FROM __builtin_return_address(0)

static void *none(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t n)
{
    return fails("malloc", FROM) ? none() : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails("calloc", FROM) ? none() : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails("realloc", FROM) ? none() : __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
    return fails("aligned_alloc", FROM) ? none() : __libc_memalign(align, n);
}

int posix_memalign(void **to, size_t align, size_t n)
{
    void *p = fails("posix_memalign", FROM) ? NULL : __libc_memalign(align, n);
    if (!p)
        return ENOMEM;
    *to = p;
    return 0;
}

void *mmap(void *p, size_t n, int may, int flags, int fd, off_t first)
{
    if (!fails("mmap", FROM))
        return (void *)syscall(SYS_mmap, p, n, may, flags, fd, first);
    errno = ENOMEM;
    return MAP_FAILED;
}

void *mmap64(void *p, size_t n, int may, int flags, int fd, off64_t first) __attribute__((alias("mmap")));

int pthread_create(pthread_t *thread, const pthread_attr_t *as, void *(*run)(void *), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (fails("pthread_create", FROM))
        return EAGAIN;
    *(void **)&real = dlsym(RTLD_NEXT, "pthread_create");
    return real(thread, as, run, arg);
}
