/* Lock files: the owner, a dead owner, and children of the owner. */
#define _GNU_SOURCE
#include "formats/lock.h"

#include "formats/file.h"
#include "tests/test.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static mert_error e;

typedef mert_lock *(*taker)(const char *path, mert_error *e);
static const taker takers[] = {mert_lock_take, mert_lock_take_by_name};

static char *text_of(const char *name)
{
    return mert_file_read(test_tmp(name), 4096, NULL, NULL);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(test_tmp(name), "w");
    if (!f || fputs(text, f) < 0 || fclose(f))
        abort();
}

/* A child that takes the lock, reports that, and waits to be killed. */
static pid_t start_owner(taker take, const char *path)
{
    int ready[2];
    char c;
    pid_t pid;
    if (pipe(ready) || (pid = fork()) < 0)
        abort();
    if (!pid) {
        if (!take(path, NULL) || write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    if (read(ready[0], &c, 1) != 1)
        abort();
    close(ready[0]);
    return pid;
}

TEST(one_at_a_time_and_the_other_is_named)
{
    char path[1024], expected[512], host[256] = "";
    gethostname(host, sizeof host - 1);
    for (int i = 0; i < 2; i++) {
        pid_t pid;
        mert_lock *l;
        snprintf(path, sizeof path, "%s", test_tmp("lock"));
        pid = start_owner(takers[i], path);
        CHECK(!takers[i](path, &e));
        snprintf(expected, sizeof expected, "lock: in use by process %ld on %s", (long)pid, host);
        CHECK(strstr(e.text, expected));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        CHECK(!access(path, F_OK)); /* the child could not remove it */
        CHECK((l = takers[i](path, &e)) != NULL);
        mert_lock_release(l);
        CHECK(access(path, F_OK));
    }
}

TEST(it_is_free_again_and_names_its_owner)
{
    char mine[64];
    snprintf(mine, sizeof mine, "process %ld on ", (long)getpid());
    for (int i = 0; i < 2; i++)
        for (int again = 0; again < 2; again++) {
            mert_lock *l = takers[i](test_tmp("lock"), &e);
            char *text = text_of("lock");
            CHECK(l && text && !strncmp(text, mine, strlen(mine)) && text[strlen(text) - 1] == '\n');
            CHECK(!takers[i](test_tmp("lock"), &e) && strstr(e.text, "lock: in use by process "));
            mert_lock_release(l);
            CHECK(!text_of("lock"));
            free(text);
        }
    mert_lock_release(NULL);
}

TEST(a_child_of_the_owner_does_not_let_go)
{
    for (int i = 0; i < 2; i++) {
        mert_lock *l = takers[i](test_tmp("lock"), &e);
        pid_t pid = l ? fork() : -1;
        int status;
        CHECK(pid >= 0);
        if (!pid) {
            mert_lock_release(l);
            _exit(0);
        }
        waitpid(pid, &status, 0);
        CHECK(!access(test_tmp("lock"), F_OK) && !takers[i](test_tmp("lock"), &e));
        mert_lock_release(l);
    }
}

TEST(by_name_another_machine_is_believed)
{
    put("lock", "process 1 on elsewhere.example started 5\n");
    CHECK(!mert_lock_take_by_name(test_tmp("lock"), &e));
    CHECK(strstr(e.text, "lock: in use by process 1 on elsewhere.example; if it runs no longer, remove this file"));
    put("lock", "");
    CHECK(!mert_lock_take_by_name(test_tmp("lock"), &e) && strstr(e.text, "in use by another process; if it runs no"));
    unlink(test_tmp("lock"));
}

TEST(by_name_a_number_that_another_process_has_now_is_nobody)
{
    char text[400], host[256] = "";
    mert_lock *l;
    gethostname(host, sizeof host - 1);
    snprintf(text, sizeof text, "process %ld on %s started 1\n", (long)getppid(), host);
    put("lock", text);
    CHECK((l = mert_lock_take_by_name(test_tmp("lock"), &e)) != NULL);
    mert_lock_release(l);
}

TEST(a_folder_that_is_not_there)
{
    for (int i = 0; i < 2; i++)
        CHECK(!takers[i](test_tmp("nowhere/lock"), &e) && strstr(e.text, "nowhere/lock: cannot lock: No such file"));
}

/* Files that are not regular are not opened (a FIFO would block) and not changed; a link may point to another file. */
TEST(what_is_no_file_is_no_lock)
{
    static const char *const kinds[] = {"a FIFO", "a folder", "a link", "a socket", "a device"};
    const char *path = test_tmp("lock");
    struct stat before, after;
    put("far", "process 1 on elsewhere.example started 5\n");
    for (int k = 0; k < 5; k++) {
        mode_t mode[] = {S_IFIFO, 0, 0, S_IFSOCK, S_IFCHR};
        if (k == 1)
            CHECK(!mkdir(path, 0777));
        else if (k == 2)
            CHECK(!symlink("far", path));
        else if (mknod(path, mode[k] | 0666, 1 << 8 | 3)) /* creating devices may not be allowed */
            continue;
        CHECK(!lstat(path, &before));
        for (int i = 0; i < 2; i++) {
            CHECK(!takers[i](path, &e) && strstr(e.text, "lock: is ") && strstr(e.text, kinds[k]));
            CHECK(strstr(e.text, ", not a regular file, which a lock must be"));
        }
        CHECK(!lstat(path, &after) && before.st_ino == after.st_ino && before.st_mode == after.st_mode && !remove(path));
    }
    CHECK(!access(test_tmp("far"), F_OK));
}

int main(void)
{
    RUN(one_at_a_time_and_the_other_is_named);
    RUN(it_is_free_again_and_names_its_owner);
    RUN(a_child_of_the_owner_does_not_let_go);
    RUN(by_name_another_machine_is_believed);
    RUN(by_name_a_number_that_another_process_has_now_is_nobody);
    RUN(a_folder_that_is_not_there);
    RUN(what_is_no_file_is_no_lock);
    return test_done();
}
