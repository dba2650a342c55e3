/* kill-at N MARK COMMAND...: runs the command and kills it, like kill -9, before the N-th system call of its first
 * thread that changes a file or a folder. Calls are counted from the first one whose path contains MARK; consecutive
 * writes to the same file count once. So all states of the disk that a killed process can leave are covered, except how
 * much of a file was written. Exit status 137 if it was killed; otherwise that of the command, and the number of calls
 * is printed. 77: ptrace is not possible here. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* The calls, and the number of the argument that is a path (-1: none; a second path at `second`). */
static const struct call { long number; int path, second; } calls[] = {
#ifdef SYS_open
    {SYS_open, 0, -1},      {SYS_mkdir, 0, -1}, {SYS_rename, 0, 1}, {SYS_unlink, 0, -1},
    {SYS_rmdir, 0, -1},     {SYS_link, 0, 1},   {SYS_symlink, 0, 1},
#endif
#ifdef SYS_renameat
    {SYS_renameat, 1, 3},
#endif
    {SYS_openat, 1, -1},    {SYS_mkdirat, 1, -1}, {SYS_renameat2, 1, 3},  {SYS_unlinkat, 1, -1},
    {SYS_linkat, 1, 3},     {SYS_symlinkat, 0, 2}, {SYS_ftruncate, -1, -1}, {SYS_write, -1, -1},
    {SYS_pwrite64, -1, -1}, {SYS_writev, -1, -1}};

static const struct call *changes(const struct ptrace_syscall_info *i)
{
    long number = (long)i->entry.nr;
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++)
        if (calls[k].number == number) {
            if (number == SYS_openat && !(i->entry.args[2] & O_CREAT))
                return NULL;
#ifdef SYS_open
            if (number == SYS_open && !(i->entry.args[1] & O_CREAT))
                return NULL;
#endif
            return &calls[k];
        }
    return NULL;
}

static int names(pid_t pid, uint64_t address, const char *mark)
{
    char text[4096];
    size_t n = 0;
    for (; n < sizeof text - 1; n++) { /* byte by byte: memory after the end may not be mapped */
        struct iovec to = {text + n, 1}, from = {(void *)(uintptr_t)(address + n), 1};
        if (process_vm_readv(pid, &to, 1, &from, 1, 0) != 1 || !text[n])
            break;
    }
    text[n] = 0;
    return strstr(text, mark) != NULL;
}

static int holds(pid_t pid, const struct ptrace_syscall_info *i, const struct call *c, const char *mark)
{
    return (c->path >= 0 && names(pid, i->entry.args[c->path], mark)) ||
           (c->second >= 0 && names(pid, i->entry.args[c->second], mark));
}

static long trace(long request, pid_t pid, uintptr_t address, uintptr_t data)
{
    return syscall(SYS_ptrace, request, pid, address, data);
}

static void start(char **command)
{
    if (trace(PTRACE_TRACEME, 0, 0, 0))
        _exit(77);
    raise(SIGSTOP);
    execvp(*command, command);
    _exit(127);
}

int main(int argc, char **argv)
{
    long wanted = argc > 3 ? atol(argv[1]) : 0, count = 0, last_file = -1;
    const char *mark = argv[2];
    int status, marked = 0, deliver = 0;
    pid_t pid = argc > 3 ? fork() : -1;
    if (pid < 0)
        return 2;
    if (!pid)
        start(argv + 3);
    if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status) ||
        trace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL))
        return 77;
    while (!trace(PTRACE_SYSCALL, pid, 0, (uintptr_t)deliver) && waitpid(pid, &status, 0) >= 0) {
        struct ptrace_syscall_info info;
        const struct call *c;
        deliver = 0;
        if (WIFEXITED(status))
            break;
        if (WIFSIGNALED(status))
            return 128 + WTERMSIG(status);
        if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
            deliver = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
            continue;
        }
        if (trace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, (uintptr_t)&info) <= 0)
            return 77;
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY || !(c = changes(&info)))
            continue;
        marked |= holds(pid, &info, c, mark);
        if (c->number == SYS_write && (long)info.entry.args[0] == last_file)
            continue; /* another write to the same file */
        last_file = c->number == SYS_write ? (long)info.entry.args[0] : -1;
        if (marked && ++count == wanted) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
            return 137;
        }
    }
    printf("%ld\n", count);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
