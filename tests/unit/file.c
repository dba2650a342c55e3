/* Output files (formats/file.h), and existing files of the same name. */
#define _GNU_SOURCE
#include "formats/file.h"
#include "formats/memory.h"
#include "tests/test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static mert_error err;

static int says(const char *expected) { return test_says(err.text, expected); }

/* A new folder for each test. */
static const char *fresh(const char *name)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s-XXXXXX", test_tmp(name));
    return mkdtemp(folder);
}

static const char *in(const char *folder, const char *name)
{
    static char path[8][2048];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int put(const char *path, const char *text)
{
    mert_output *o = mert_output_open(path, &err);
    return o ? fputs(text, o->stream), mert_output_commit(o, &err) : -1;
}

static int holds(const char *path, const char *text)
{
    size_t n;
    char *got = mert_file_read(path, 1 << 20, &n, &err);
    int same = got && !strcmp(got, text);
    free(got);
    return same;
}

static int entries(const char *folder)
{
    DIR *d = opendir(folder);
    int n = -2;
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

TEST(a_file_appears_whole_and_alone)
{
    const char *d = fresh("whole");
    mert_output *o = mert_output_open(in(d, "x"), &err);
    CHECK(o && entries(d) == 1 && access(in(d, "x"), F_OK));
    fputs("one", o->stream);
    CHECK(!mert_output_commit(o, &err) && entries(d) == 1 && holds(in(d, "x"), "one"));
    CHECK((o = mert_output_open(in(d, "x"), &err)));
    fputs("two", o->stream);
    mert_output_abandon(o);
    CHECK(entries(d) == 1 && holds(in(d, "x"), "one"));
}

TEST(the_mode_of_what_is_replaced_stays)
{
    const char *d = fresh("mode");
    struct stat s;
    CHECK(!put(in(d, "x"), "old") && !chmod(in(d, "x"), 0640));
    CHECK(!put(in(d, "x"), "new") && !stat(in(d, "x"), &s) && (s.st_mode & 07777) == 0640);
    if (!geteuid()) {
        CHECK(!chown(in(d, "x"), 1234, 2345));
        CHECK(!put(in(d, "x"), "newer") && !stat(in(d, "x"), &s));
        CHECK(s.st_uid == 1234 && s.st_gid == 2345 && (s.st_mode & 07777) == 0640);
    }
}

TEST(links_stay_and_what_they_lead_to_is_replaced)
{
    const char *d = fresh("links");
    struct stat s;
    CHECK(!mkdir(in(d, "far"), 0777) && !put(in(d, "far/real"), "old"));
    CHECK(!symlink("far/real", in(d, "one")) && !symlink(in(d, "one"), in(d, "two")));
    CHECK(!put(in(d, "two"), "new") && holds(in(d, "far/real"), "new"));
    CHECK(!lstat(in(d, "one"), &s) && S_ISLNK(s.st_mode) && !lstat(in(d, "two"), &s) && S_ISLNK(s.st_mode));
    CHECK(!symlink("far/none", in(d, "dangling")));
    CHECK(!put(in(d, "dangling"), "made") && holds(in(d, "far/none"), "made"));
    CHECK(entries(d) == 4 && entries(in(d, "far")) == 2);
    CHECK(!symlink("round", in(d, "about")) && !symlink("about", in(d, "round")));
    CHECK(put(in(d, "round"), "x") && says("round: cannot create: Too many levels of symbolic links"));
    CHECK(!symlink("nowhere/x", in(d, "lost")));
    CHECK(put(in(d, "lost"), "x") && says("lost: cannot create: it is a link to "));
    CHECK(strstr(err.text, "/nowhere/x: No such file or directory"));
    CHECK(mert_output_check(in(d, "lost"), NULL, 0, &err) && says("lost: cannot create: it is a link to "));
}

/* A child that reads the FIFO and writes the bytes into a file. */
static pid_t reader_of(const char *fifo, const char *into)
{
    pid_t child = fork();
    if (child)
        return child;
    FILE *f = fopen(fifo, "r"), *to = fopen(into, "w");
    for (int c; f && to && (c = getc(f)) != EOF;)
        putc(c, to);
    _exit(!f || !to || fclose(to));
}

TEST(a_fifo_is_written_into)
{
    const char *d = fresh("fifo");
    struct stat s;
    int status;
    CHECK(!mkfifo(in(d, "f"), 0666));
    pid_t child = reader_of(in(d, "f"), in(d, "got"));
    mert_output *o = mert_output_open(in(d, "f"), &err);
    CHECK(o);
    fputs("....", o->stream);
    CHECK(!fseeko(o->stream, 0, SEEK_SET)); /* as the writer of arrays does */
    fputs("1234", o->stream);
    CHECK(!mert_output_commit(o, &err));
    CHECK(waitpid(child, &status, 0) == child && !status && holds(in(d, "got"), "1234"));
    CHECK(!lstat(in(d, "f"), &s) && S_ISFIFO(s.st_mode) && entries(d) == 2);
}

TEST(a_device_is_written_into)
{
    const char *d = fresh("device");
    const char *null = in(d, "null"), *full = in(d, "full");
    struct stat s;
    /* as links, where nodes cannot be made or do not work */
    if (mknod(null, S_IFCHR | 0666, 1 << 8 | 3) || mknod(full, S_IFCHR | 0666, 1 << 8 | 7) || access("/dev/full", W_OK))
        CHECK((unlink(null), unlink(full), !symlink("/dev/null", null)) && !symlink("/dev/full", full));
    int there = open(full, O_WRONLY); /* fails if the file system does not allow device nodes */
    if (there < 0)
        CHECK(!unlink(null) && !unlink(full) && !symlink("/dev/null", null) && !symlink("/dev/full", full));
    else
        close(there);
    CHECK(!put(null, "x") && !stat(null, &s) && S_ISCHR(s.st_mode));
    CHECK(put(full, "x") && says("full: cannot write: No space left") && !stat(full, &s) && S_ISCHR(s.st_mode));
    CHECK(entries(d) == 2);
}

TEST(standard_output_by_name_keeps_what_was_there)
{
    const char *d = fresh("stdout");
    if (access("/proc/self/fd/1", F_OK))
        return;
    CHECK(!put(in(d, "log"), "before\n"));
    pid_t child = fork();
    if (!child) {
        int fd = open(in(d, "log"), O_WRONLY | O_APPEND);
        _exit(fd < 0 || dup2(fd, 1) < 0 || put("/dev/stdout", "after\n") || put("/proc/self/fd/1", "last\n"));
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child && !status && holds(in(d, "log"), "before\nafter\nlast\n"));
}

TEST(what_can_hold_no_file_is_refused)
{
    const char *d = fresh("refused");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0), here = open(".", O_RDONLY);
    CHECK(put(d, "x") && says("is a folder"));
    CHECK(!symlink(".", in(d, "self")) && put(in(d, "self"), "x") && says("is a folder"));
    strcpy(a.sun_path, "s"); /* a longer path may not fit */
    CHECK(here >= 0 && !chdir(d) && !bind(s, (struct sockaddr *)&a, sizeof a));
    CHECK(put("s", "x") && says("s: is a socket"));
    CHECK(!fchdir(here));
    CHECK(put("", "x") && says("empty name"));
    CHECK(put(in(d, "none/x"), "x") && says("none/x: cannot create: No such file"));
    CHECK(!put(in(d, "file"), "1") && put(in(d, "file/x"), "x") && says("file/x: cannot create: Not a directory"));
    CHECK(mert_file_regular("s", &err) && says("s: No such file"));
    CHECK(mert_file_regular(in(d, "s"), &err) && says("s: is a socket, not a regular file"));
    close(s);
    close(here);
}

TEST(folders_are_made_and_what_is_in_the_way_is_named)
{
    const char *d = fresh("folders");
    CHECK(!mert_make_directory(in(d, "a/b//c/"), &err) && mert_path_is_directory(in(d, "a/b/c")));
    CHECK(!mert_make_directory(in(d, "a/b/./../b"), &err) && !symlink("a", in(d, "link")));
    CHECK(!mert_make_directory(in(d, "link"), &err) && !mert_make_directory(in(d, "link/new"), &err));
    CHECK(mert_path_is_directory(in(d, "a/new")) && !put(in(d, "file"), "1") && !mkfifo(in(d, "fifo"), 0666));
    CHECK(mert_make_directory(in(d, "file"), &err) && says("/file is a regular file"));
    CHECK(mert_make_directory(in(d, "fifo/x"), &err) && says("/fifo is a FIFO"));
    CHECK(!symlink("no/where", in(d, "lost")) && mert_make_directory(in(d, "lost"), &err));
    CHECK(says("lost: cannot make the folder: ") && says("/lost is a link to no/where: No such file"));
    CHECK(mert_make_directory(in(d, "lost/x/y"), &err) && says("/lost is a link to no/where: No such file"));
    CHECK(mert_make_directory("", &err) && says("cannot make the folder: No such file"));
}

TEST(two_outputs_of_one_name_are_refused)
{
    const char *d = fresh("twice");
    mert_output *o = mert_output_open(in(d, "x"), &err);
    CHECK(o && !mert_output_open(in(d, "x"), &err) && says("two outputs"));
    CHECK(!mert_output_open(in(d, "./x"), &err) && says("two outputs"));
    CHECK(!symlink("x", in(d, "y")) && !mert_output_open(in(d, "y"), &err) && says("y: two outputs"));
    CHECK(!put(in(d, "z"), "z"));
    CHECK(!mert_output_commit(o, &err) && !put(in(d, "x"), "one after the other"));
}

TEST(an_input_is_not_replaced)
{
    const char *d = fresh("input");
    CHECK(!put(in(d, "x"), "x") && !mert_input_note(in(d, "x"), &err));
    CHECK(put(in(d, "x"), "y") && says("x: is an input"));
    CHECK(!link(in(d, "x"), in(d, "l")) && put(in(d, "l"), "y") && says("l: is an input"));
    /* read only later */
    CHECK(!put(in(d, "z"), "z"));
    mert_output *o = mert_output_open(in(d, "z"), &err);
    CHECK(o && !mert_input_note(in(d, "z"), &err));
    CHECK(mert_output_commit(o, &err) && says("z: is an input") && holds(in(d, "z"), "z") && entries(d) == 3);
    /* mert_output_check */
    char *files[] = {"-", (char *)in(d, "w"), (char *)in(d, "none")};
    CHECK(!put(in(d, "w"), "w") && !mert_output_check(in(d, "w"), files, 1, &err));
    CHECK(mert_output_check(in(d, "w"), files, 3, &err) && says("w: is an input"));
    CHECK(!mert_output_check(in(d, "new"), files, 3, &err) && entries(d) == 4);
    CHECK(mert_output_check(in(d, "no/new"), files, 3, &err) && says("no/new: cannot create"));
}

/* Files of a killed process with the same number, and files of others. */
TEST(names_that_are_taken_are_let_be)
{
    const char *d = fresh("taken");
    mert_output *o = mert_output_open(in(d, "x"), &err);
    CHECK(o);
    char first[2048];
    snprintf(first, sizeof first, "%s", o->temporary);
    mert_output_abandon(o);
    CHECK(!symlink(in(d, "victim"), first));
    CHECK(!put(in(d, "x"), "x") && holds(in(d, "x"), "x") && access(in(d, "victim"), F_OK));
    CHECK(!unlink(first) && !put(first, "left behind") && !put(in(d, "x"), "y"));
    CHECK(holds(first, "left behind") && holds(in(d, "x"), "y") && entries(d) == 2);
    char name[300]; /* as long as names may be */
    memset(name, 'n', 255);
    name[255] = 0;
    CHECK(!put(in(d, name), "long") && holds(in(d, name), "long"));
}

TEST(a_file_that_grows_too_large_leaves_nothing)
{
    const char *d = fresh("large");
    struct rlimit was, tight;
    char block[4096] = "";
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!put(in(d, "x"), "old") && !getrlimit(RLIMIT_FSIZE, &was));
    tight = was;
    tight.rlim_cur = 10000;
    mert_output *o = mert_output_open(in(d, "x"), &err);
    CHECK(o && !setrlimit(RLIMIT_FSIZE, &tight));
    for (int i = 0; i < 10; i++)
        fwrite(block, 1, sizeof block, o->stream);
    int bad = mert_output_commit(o, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    CHECK(bad && says("x: cannot write: File too large") && entries(d) == 1 && holds(in(d, "x"), "old"));
}

/* Rights hold for others than root. */
TEST(a_folder_and_a_file_that_may_not_be_written)
{
    const char *d = fresh("rights");
    int status;
    CHECK(!put(in(d, "x"), "old") && !chmod(in(d, "x"), 0444) && !chmod(d, 0555));
    pid_t child = fork();
    if (!child) {
        if (!geteuid() && setuid(65534))
            _exit(9);
        int bad = !put(in(d, "new"), "x") || !says("new: cannot create: ");
        bad |= !put(in(d, "x"), "x") || !says("x: cannot ");
        bad |= !mert_output_check(in(d, "new"), NULL, 0, &err);
        _exit(bad);
    }
    CHECK(waitpid(child, &status, 0) == child && !status);
    CHECK(!chmod(d, 0777) && holds(in(d, "x"), "old") && entries(d) == 1);
}

TEST(a_stream_into_memory)
{
    mert_memory m;
    FILE *f = mert_memory_open(&m);
    char *text;
    CHECK(f);
    for (int i = 0; i < 20000; i++)
        CHECK(fprintf(f, "%05d\n", i) == 6);
    text = mert_memory_close(f, &m);
    CHECK(text && m.size == 120000 && strlen(text) == m.size && !strncmp(text + 6 * 12345, "12345\n12346", 11));
    free(text);
    text = mert_memory_close(mert_memory_open(&m), &m);
    CHECK(text && !*text && !m.size);
    free(text);
    CHECK(!mert_memory_close(NULL, &m)); /* as after an open that failed */
}

int main(void)
{
    RUN(a_stream_into_memory);
    RUN(a_file_appears_whole_and_alone);
    RUN(the_mode_of_what_is_replaced_stays);
    RUN(links_stay_and_what_they_lead_to_is_replaced);
    RUN(a_fifo_is_written_into);
    RUN(a_device_is_written_into);
    RUN(standard_output_by_name_keeps_what_was_there);
    RUN(what_can_hold_no_file_is_refused);
    RUN(folders_are_made_and_what_is_in_the_way_is_named);
    RUN(two_outputs_of_one_name_are_refused);
    RUN(an_input_is_not_replaced);
    RUN(names_that_are_taken_are_let_be);
    RUN(a_file_that_grows_too_large_leaves_nothing);
    RUN(a_folder_and_a_file_that_may_not_be_written);
    return test_done();
}
