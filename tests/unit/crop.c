/* Crops of audio in place: a resampler that begins in the middle, and decoders that fail. Real files are in
 * tests/cli/train_in_place.sh. */
#include "libcommon/audio/resample.h"
#include "libcommon/train/data/decoders.h"
#include "tests/unit/signal.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static mert_error e;

/* ---- resampling from the middle ---- */

static int whole(mert_samples *to, int from_rate, int to_rate, const float *x, int64_t n)
{
    mert_resampler *r = mert_resampler_new(from_rate, to_rate, &e);
    int bad = !r || mert_resampler_push(r, x, n, to, &e) || mert_resampler_finish(r, to, &e);
    mert_resampler_free(r);
    return bad;
}

/* Samples from `first` on, by a resampler that begins as late as it may, fed in pieces. */
static int from_middle(mert_samples *to, int64_t *begun, int from_rate, int to_rate, const float *x, int64_t n,
                       int64_t first)
{
    mert_resampler *r = mert_resampler_new(from_rate, to_rate, &e);
    int64_t in, out;
    int bad = !r;
    if (bad)
        return -1;
    mert_resampler_begin_at(r, first, &in, &out);
    *begun = in;
    for (int64_t at = in, piece = 1; !bad && at < n; at += piece) {
        piece = 1 + (at * 7919) % 5000;
        piece = piece < n - at ? piece : n - at;
        bad = mert_resampler_push(r, x + at, piece, to, &e);
    }
    bad = bad || mert_resampler_finish(r, to, &e);
    mert_resampler_free(r);
    if (!bad && out <= first && to->n >= first - out) {
        to->n -= first - out;
        memmove(to->data, to->data + (first - out), (size_t)to->n * sizeof *to->data);
    }
    return bad || out > first;
}

TEST(a_resampler_that_begins_in_the_middle_gives_the_same_samples)
{
    static const int rates[][2] = {{44100, 24000}, {48000, 24000}, {22050, 24000}, {44100, 16000}, {8000, 24000},
                                   {96000, 24000}, {11025, 16000}, {24000, 24000}, {44056, 24000}, {24000, 44100}};
    enum { N = 60000, TRIES = 12 };
    float *x = signal_music(N, 44100);
    int64_t sought = 0;
    for (size_t k = 0; k < sizeof rates / sizeof *rates; k++) {
        mert_samples all = {0};
        CHECK(!whole(&all, rates[k][0], rates[k][1], x, N));
        CHECK(all.n == mert_resampled_count(N, rates[k][0], rates[k][1]));
        for (int i = 0; i < TRIES; i++) {
            int64_t first = i == TRIES - 1 ? all.n - 1 : all.n * i / TRIES + i * 37, begun;
            mert_samples part = {0};
            CHECK(!from_middle(&part, &begun, rates[k][0], rates[k][1], x, N, first));
            CHECK(part.n == all.n - first);
            CHECK(!memcmp(part.data, all.data + first, (size_t)part.n * sizeof *part.data));
            CHECK(begun <= first * rates[k][0] / rates[k][1]);
            sought += begun > 0;
            free(part.data);
        }
        free(all.data);
    }
    CHECK(sought > TRIES * 6);
    free(x);
}

/* ---- decoders that fail ---- */

/* The program mert-decode is this script, from now on. "": there is none, even if mert is installed in /usr/bin. */
static void act_as(const char *script)
{
    char path[512];
    FILE *f;
    snprintf(path, sizeof path, "%s/mert-decode", test_tmp("bin"));
    mkdir(test_tmp("bin"), 0777);
    unlink(path);
    if (*script && (!(f = fopen(path, "w")) || fprintf(f, "#!/bin/sh\n%s\n", script) < 0 || fclose(f) ||
                    chmod(path, 0755)))
        abort();
    snprintf(path, sizeof path, "%s%s", test_tmp("bin"), *script ? ":/usr/bin:/bin" : "");
    setenv("PATH", path, 1);
}

enum { WORK = 5, SAMPLES = 3 };

static double patience; /* of the next decoders */

static int decode(mert_decoding work[WORK], float to[WORK][SAMPLES], int processes)
{
    static char names[WORK][16];
    mert_decoders *d = mert_decoders_new(processes, 24000, patience, &e);
    int bad;
    if (!d)
        abort();
    for (int i = 0; i < WORK; i++) {
        snprintf(names[i], sizeof names[i], "item %d", i);
        work[i] = (mert_decoding){.path = names[i], .whole = -1, .first = i, .n = SAMPLES, .to = to[i]};
    }
    e.text[0] = 0;
    bad = mert_decoders_run(d, work, WORK, &e);
    mert_decoders_free(d, NULL);
    return bad;
}

/* Answers samples 1, 2 and the letter at the end of the name. */
static const char good[] = "printf 'ok\\n\\001\\000\\002\\000%s\\000' \"${name#item }\"";
static const char loop[] = "while read -r first count whole name; do case $name in %s) %s ;; *) %s ;; esac; done";

TEST(a_decoder_that_dies_costs_its_item)
{
    mert_decoding work[WORK];
    float to[WORK][SAMPLES];
    char script[512];
    for (int processes = 1; processes <= 3; processes++) {
        snprintf(script, sizeof script, loop, "'item 2'", "kill -SEGV $$", good);
        act_as(script);
        CHECK(!decode(work, to, processes));
        for (int i = 0; i < WORK; i++) {
            CHECK(work[i].bad == (i == 2 ? -1 : 0));
            CHECK(i == 2 || (to[i][0] == 1 * 0x1p-15f && to[i][1] == 2 * 0x1p-15f));
            CHECK(i == 2 || to[i][2] == (float)('0' + i) * 0x1p-15f);
        }
        CHECK(test_says(work[2].why.text, "mert-decode was ended by signal 11 while it decoded this"));
    }
}

TEST(a_reason_is_passed_on)
{
    mert_decoding work[WORK];
    float to[WORK][SAMPLES];
    char script[512];
    snprintf(script, sizeof script, loop, "'item 1'", "echo failed no such sound", good);
    act_as(script);
    CHECK(!decode(work, to, 2) && !work[0].bad && work[1].bad && !work[2].bad);
    CHECK(!strcmp(work[1].why.text, "no such sound"));
}

TEST(a_program_that_does_not_answer_ends_the_run)
{
    mert_decoding work[WORK];
    float to[WORK][SAMPLES];
    act_as("exit 3");
    CHECK(decode(work, to, 2) && test_says(e.text, "mert-decode --crops ended with exit status 3, at item"));
    act_as("read -r line; echo something else; read -r line");
    CHECK(decode(work, to, 2) && test_says(e.text, "gave no answer that is known"));
    act_as("head -c 4000 /dev/zero; read -r line");
    CHECK(decode(work, to, 1) && test_says(e.text, "gave no answer that is known"));
    act_as("");
    CHECK(decode(work, to, 2) && test_says(e.text, "cannot start mert-decode: No such file"));
}

TEST(a_decoder_that_hangs_ends_the_run)
{
    static const char *const hung[] = {"read -r line; exec sleep 100",
                                       "read -r line; printf 'ok\\n\\001'; exec sleep 100",
                                       "read -r line; kill -STOP $$", "read -r line; sleep 100"};
    mert_decoding work[WORK];
    float to[WORK][SAMPLES];
    patience = 0.02; /* nothing here answers ever */
    for (size_t i = 0; i < sizeof hung / sizeof *hung; i++) {
        act_as(hung[i]);
        CHECK(decode(work, to, 1) && test_says(e.text, "item 0: mert-decode has not answered for 0.02 s while"));
    }
    patience = 0;
}

TEST(a_decoder_that_does_not_end_is_killed)
{
    mert_decoding work = {.path = (char *)"item 1", .whole = -1, .n = SAMPLES};
    float to[SAMPLES];
    mert_decoders *d = mert_decoders_new(1, 24000, 60, &e);
    char script[512];
    work.to = to;
    snprintf(script, sizeof script, "read -r first count whole name; %s; kill -STOP $$", good);
    act_as(script);
    CHECK(d && !mert_decoders_run(d, &work, 1, &e) && !work.bad);
    mert_decoders_free(d, NULL); /* waits for a few seconds */
}

/* mert-decode --crops, which is asked for the end of a file of hours of decoding. *status: of the process. */
static void leave(const char *file, int *status)
{
    static const unsigned char head[24] = {'.', 's', 'n', 'd', 0, 0, 0, 24, 255, 255, 255, 255, 0, 0, 0, 1,
                                           0, 0, 0x5d, 0xc0, 0, 0, 0, 1};
    int64_t bytes = INT64_C(1) << 38;
    int both[2], fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    pid_t pid;
    CHECK(fd >= 0 && write(fd, head, sizeof head) == sizeof head && !ftruncate(fd, bytes) && !close(fd));
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, both) || (pid = fork()) < 0)
        abort();
    if (!pid) {
        if (dup2(both[1], 0) == 0 && dup2(both[1], 1) == 1 && !close(both[0]) && !close(both[1]))
            execlp("mert-decode", "mert-decode", "--crops", "--rate", "24000", (char *)NULL);
        _exit(127);
    }
    close(both[1]);
    CHECK(dprintf(both[0], "%lld 10 -1 %s\n", (long long)bytes - 100, file) > 0);
    close(both[0]);
    alarm(300); /* ends this test */
    CHECK(waitpid(pid, status, 0) == pid);
    alarm(0);
}

TEST(mert_decode_ends_with_the_one_who_asked)
{
    int status = -1;
    leave(test_tmp("long.au"), &status);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    unlink(test_tmp("long.au"));
}

int main(void)
{
    RUN(mert_decode_ends_with_the_one_who_asked); /* the real one: the others change PATH */
    RUN(a_resampler_that_begins_in_the_middle_gives_the_same_samples);
    RUN(a_decoder_that_dies_costs_its_item);
    RUN(a_reason_is_passed_on);
    RUN(a_program_that_does_not_answer_ends_the_run);
    RUN(a_decoder_that_hangs_ends_the_run);
    RUN(a_decoder_that_does_not_end_is_killed);
    return test_done();
}
