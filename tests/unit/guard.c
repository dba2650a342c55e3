/* The guard backend (contract B2): it computes the same as the CPU backend, and detects every violation of the rules.
 * Violations that end in a signal run in a child. */
#include "tests/unit/nn.h"

#include "libcommon/nn/conv.h"
#include "libcommon/nn/cpu/cpu.h"

#include <signal.h>
#include <sys/resource.h>

/* ---- the same bytes as the CPU's ---- */

enum { B = 2, T = 45, D = 24, H = 3, V = 11, RESULT = D * 2 * 3 + B * T * V };

/* A training step of a small model: convolution, norm, attention, losses, backward pass and update, queued without a
 * wait. result: the new weights of the convolution, and the gradients of the logits. */
static void one_step(float result[RESULT], double numbers_for_people[4])
{
    mert_conv_shape s = {B, 2 * T, T, 3, D, 2, 2};
    int64_t rows = B * T, nx = B * 2 * T * 3, nw = D * 2 * 3, all = rows * D; /* nw + rows * V: RESULT */
    mert_dropout_key key = {1, 2, 3};
    float *w = put(numbers(nw, 2), nw), *x = put(numbers(nx, 1), nx), *q = put(numbers(D * D, 3), D * D);
    float *e = put(numbers(V * D, 4), V * D);
    float *one = room(D), *zero = room(D), *pre = room(all), *h = room(all), *n1 = room(all), *mean = room(rows);
    float *rstd = room(rows);
    float *qkv = room(all), *a = room(all), *lse = room(B * H * T), *unit = room(all), *norm = room(rows);
    float *logits = room(rows * V);
    float *dunit = room(all), *da = room(all), *dq = room(all), *dk = room(all), *dv = room(all), *dh = room(all);
    float *dw = room(nw), *dn = room(D);
    float *dqw = room(D * D), *m = room(nw), *v = room(nw), *out = room(RESULT);
    int32_t *target = keep((size_t)rows * sizeof *target);
    double *sums = put_bytes(zeros(4), 4 * sizeof *sums);
    for (int64_t r = 0; r < rows; r++)
        target[r] = (int32_t)(r * 3 % V);
    target = put_bytes(target, (size_t)rows * sizeof *target);
    mert_fill(ops, .to = one, .value = 1, .n = D);
    mert_fill(ops, .to = zero, .n = D);
    mert_conv(ops, .y = pre, .x = x, .w = w, .shape = s);
    mert_gelu(ops, .y = h, .x = pre, .n = all);
    mert_layer_norm(ops, .y = n1, .x = h, .w = one, .b = zero, .mean = mean, .rstd = rstd, .rows = rows, .columns = D,
                    .eps = 1e-5f);
    mert_linear(ops, rows, D, D, n1, q, NULL, NULL, 0, NULL, qkv);
    mert_attention(ops, .out = a, .lse = lse, .q = qkv, .k = qkv, .v = qkv, .B = B, .T = T, .H = H, .dh = D / H,
                   .ld = D, .scale = 0.3f, .p = 0.1, .key = key);
    mert_normalize(ops, .y = unit, .norm = norm, .x = a, .rows = rows, .D = D, .ld = D);
    mert_linear(ops, rows, D, V, unit, e, NULL, NULL, 0, NULL, logits);
    mert_cross_entropy(ops, .logits = logits, .target = target, .sums = sums, .rows = rows, .V = V, .scale = 10,
                       .grad = 1);
    mert_gemm(ops, .M = rows, .N = D, .K = V, .a = logits, .lda = V, .b = e, .ldb = D, .c = dunit, .ldc = D);
    mert_normalize_backward(ops, .dx = da, .dy = dunit, .y = unit, .norm = norm, .rows = rows, .D = D, .ld = D);
    mert_attention_backward(ops, .dq = dq, .dk = dk, .dv = dv, .dout = da, .out = a, .lse = lse, .q = qkv, .k = qkv,
                            .v = qkv, .B = B, .T = T, .H = H, .dh = D / H, .ld = D, .scale = 0.3f, .p = 0.1,
                            .key = key);
    mert_axpy(ops, .to = dq, .from = dk, .n = all);
    mert_axpy(ops, .to = dq, .from = dv, .n = all);
    mert_fill(ops, .to = dqw, .n = D * D);
    mert_fill(ops, .to = dn, .n = D);
    mert_fill(ops, .to = dw, .n = nw);
    mert_fill(ops, .to = m, .n = nw);
    mert_fill(ops, .to = v, .n = nw);
    mert_linear_backward(ops, rows, D, D, n1, q, dq, dqw, NULL, dh, 0);
    mert_layer_norm_backward(ops, .dx = dh, .dw = dn, .db = zero, .dy = dh, .x = h, .w = one, .mean = mean,
                             .rstd = rstd, .rows = rows, .columns = D);
    mert_gelu_backward(ops, .dx = dh, .dy = dh, .x = pre, .n = all);
    mert_conv_backward(ops, .dw = dw, .dy = dh, .x = x, .w = w, .shape = s);
    mert_sum_squares(ops, .sum = sums + 2, .x = dw, .n = nw);
    mert_adam(ops, .w = w, .m = m, .v = v, .g = dw, .n = nw, .gradient_scale = 1, .lr = 1e-3, .step = 1e-3,
              .beta1 = 0.9, .beta2 = 0.98, .eps = 1e-6, .weight_decay = 0.01);
    mert_copy(ops, .to = out, .from = w, .bytes = (size_t)nw * sizeof *w);
    mert_copy(ops, .to = out + nw, .from = logits, .bytes = (size_t)(rows * V) * sizeof *logits);
    ops->download(ops, result, out, RESULT * sizeof *out);
    ops->download(ops, numbers_for_people, sums, 4 * sizeof *sums);
    CHECK(!ops->wait(ops, NULL));
    forget();
}

TEST(a_step_has_the_bytes_of_the_cpu)
{
    static float at_once[RESULT], late[RESULT];
    mert_ops *guard = ops;
    double counted[2][4], size = 0;
    one_step(late, counted[0]);
    ops = mert_ops_cpu();
    one_step(at_once, counted[1]);
    ops = guard;
    for (int i = 0; i < RESULT; i++)
        size += fabs(at_once[i]);
    CHECK(size > 1 && size < 1e6);
    CHECK(counted[1][0] > 0 && counted[1][1] > 0 && counted[1][2] > 0);
    CHECK(!memcmp(at_once, late, sizeof late) && !memcmp(counted[0], counted[1], sizeof counted[0]));
}

/* ---- delayed: nothing happens before the wait ---- */

TEST(a_download_holds_poison_until_the_wait)
{
    float x[3] = {1, 2, 3}, y[3] = {7, 7, 7}, *d = put(x, 3);
    mert_axpy(ops, .to = d, .from = d, .n = 3);
    ops->download(ops, y, d, sizeof y);
    for (int i = 0; i < 3; i++)
        CHECK(y[i] != y[i]);
    CHECK(!ops->wait(ops, NULL));
    CHECK(y[0] == 2 && y[1] == 4 && y[2] == 6);
}

TEST(an_upload_whose_source_changes_early_shows)
{
    float x[2] = {1, 2}, *d = put(x, 2), *y;
    x[1] = 5;
    y = get(d, 2);
    CHECK(y[0] == 1 && y[1] == 5);
    x[0] = 9; /* after the wait it does not matter */
    y = get(d, 2);
    CHECK(y[0] == 1);
}

TEST(a_mark_waits_for_what_is_before_it_alone)
{
    float x[2] = {1, 2}, y[2], z[2], *d = put(x, 2);
    int64_t first, second;
    ops->download(ops, y, d, sizeof y);
    first = ops->mark(ops);
    x[0] = 3;
    ops->upload(ops, d, x, sizeof x);
    ops->download(ops, z, d, sizeof z);
    second = ops->mark(ops);
    CHECK(first && second);
    x[0] = 1;
    CHECK(!ops->wait_mark(ops, first, NULL));
    CHECK(y[0] == 1 && y[1] == 2 && z[0] != z[0]); /* the second upload has not read its source */
    x[0] = 4;
    CHECK(!ops->wait_mark(ops, second, NULL));
    CHECK(z[0] == 4 && z[1] == 2);
    CHECK(!ops->wait_mark(ops, first, NULL) && !ops->wait_mark(ops, second, NULL)); /* once more: long done */
}

TEST(an_upload_ahead_of_the_queue)
{
    float x[2] = {1, 2}, y[2], z[2], *d = put(x, 2), *from = ops->pin(ops, sizeof x);
    CHECK(from && !ops->wait(ops, NULL));
    from[0] = from[1] = 5;
    ops->download(ops, y, d, sizeof y);
    ops->upload_ahead(ops, d, from, sizeof x); /* too early: the download is yet to come */
    ops->download(ops, z, d, sizeof z);
    from[1] = 6; /* too early */
    CHECK(!ops->wait(ops, NULL));
    CHECK(z[0] == 5 && z[1] == 6);
    CHECK(y[0] != y[0] && y[1] != y[1]);
    ops->unpin(ops, from);
    ops->unpin(ops, NULL);
}

TEST(arguments_are_taken_at_once)
{
    float x[2] = {1, 2}, *d = put(x, 2);
    mert_axpy_args a = {.to = d, .from = d, .n = 2};
    ops->run(ops, MERT_OP_AXPY, &a, sizeof a);
    memset(&a, 0xff, sizeof a);
    CHECK(get(d, 2)[1] == 4);
}

TEST(release_waits)
{
    float x[2] = {1, 2}, y[2];
    float *d = ops->alloc(ops, sizeof x), *other;
    CHECK(d);
    ops->upload(ops, d, x, sizeof x);
    mert_axpy(ops, .to = d, .from = d, .n = 2);
    ops->download(ops, y, d, sizeof y);
    ops->release(ops, NULL);
    CHECK(y[0] != y[0]); /* nothing to release, nothing to wait for */
    other = room(1);
    ops->release(ops, d);
    CHECK(y[0] == 2 && y[1] == 4);
    (void)other;
}

TEST(close_runs_what_is_queued)
{
    float x[2] = {1, 2}, y[2] = {0, 0};
    mert_ops *mine = mert_ops_open("guard", MERT_ELEMENT_F32, NULL);
    float *d;
    CHECK(mine && !strcmp(mine->name, "guard"));
    d = mine->alloc(mine, sizeof x);
    mine->upload(mine, d, x, sizeof x);
    mine->download(mine, y, d, sizeof y);
    mine->close(mine); /* with a block that was not released */
    CHECK(y[0] == 1 && y[1] == 2);
    mine = mert_ops_guard(mert_ops_cpu()); /* closed at once, unused */
    CHECK(mine);
    mine->close(mine);
}

TEST(a_full_queue_holds_the_caller_up)
{
    enum { MANY = 20000 }; /* more than the queue has places */
    float x[3] = {0, 0, 0}, ones[3] = {1, 1, 1}, *d = put(x, 3), *one = put(ones, 3), *y;
    for (int i = 0; i < MANY; i++)
        mert_axpy(ops, .to = d, .from = one, .n = 3);
    y = get(d, 3);
    CHECK(y[0] == MANY && y[2] == MANY);
}

/* ---- memory ---- */

TEST(fresh_memory_is_poison)
{
    static const int64_t sizes[] = {1, 3, 1024, 1025, 70001};
    for (int i = 0; i < 5; i++) {
        float *p = room(sizes[i]), *y = get(p, sizes[i]);
        CHECK((uintptr_t)p % 64 == 0);
        for (int64_t k = 0; k < sizes[i]; k++)
            CHECK(y[k] != y[k]);
    }
    CHECK(!ops->alloc(ops, SIZE_MAX) && !ops->alloc(ops, SIZE_MAX - 4000) && !ops->alloc(ops, SIZE_MAX / 4));
}

/* Memory that was never written becomes NaN in the result, also through products and softmax. */
TEST(poison_spreads)
{
    int64_t n = 6 * 4;
    float *x = put(numbers(n, 1), n), *hole = room(n), *y = room(n), *out, *w = put(numbers(16, 2), 16);
    mert_linear(ops, 6, 4, 4, hole, w, NULL, NULL, 1, NULL, y);
    out = get(y, n);
    CHECK(out[0] != out[0] && out[n - 1] != out[n - 1]);
    mert_attention(ops, .out = y, .q = x, .k = hole, .v = x, .B = 1, .T = 6, .H = 1, .dh = 4, .ld = 4, .scale = 1);
    out = get(y, n);
    CHECK(out[0] != out[0] && out[n - 1] != out[n - 1]);
    mert_layer_norm(ops, .y = y, .x = hole, .w = w, .b = w, .rows = 6, .columns = 4, .eps = 1e-5f);
    out = get(y, n);
    CHECK(out[0] != out[0] && out[n - 1] != out[n - 1]);
    mert_dropout(ops, .x = hole, .B = 1, .n = n, .p = 0.9, .key = {1, 2, 3});
    out = get(hole, n);
    for (int64_t i = 0; i < n; i++)
        CHECK(out[i] != out[i]); /* even where the factor is 0 */
}

/* ---- violations that end a process ---- */

/* The signal that ends a child that does this; 0: none. */
static int signal_of(void (*breach)(float *device), float *device)
{
    int status = 0;
    pid_t child;
    fflush(stdout);
    child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGSEGV, SIG_DFL); /* not the sanitizer's */
        signal(SIGABRT, SIG_DFL);
        breach(device);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void reads(float *device)
{
    volatile float *p = device;
    if (*p == 12345)
        _exit(3);
}

static void writes(float *device)
{
    *(volatile float *)device = 1;
}

static void reads_the_end(float *device)
{
    reads(device + 999);
}

static void releases_twice(float *device)
{
    ops->release(ops, device);
    ops->release(ops, device);
}

/* ---- errors: out of memory ---- */

static void refuses_after_a_failure(mert_ops *o)
{
    float x[3] = {1, 2, 3}, y[3] = {0}, *d = o->alloc(o, sizeof x);
    mert_error e = {{0}};
    o->upload(o, d, x, sizeof x);
    CHECK(d && !o->wait(o, &e));
    CHECK(!mert_cpu_scratch(0, SIZE_MAX / 64) && !mert_cpu_shared_scratch(SIZE_MAX / 64));
    mert_axpy(o, .to = d, .from = d, .n = 3);
    CHECK(o->wait(o, &e) == -1 && strstr(e.text, "out of memory"));
    CHECK(o->wait(o, NULL) == -1); /* each wait says so */
    CHECK(!o->renew(o, &e) && !o->wait(o, &e));
    o->download(o, y, d, sizeof y);
    CHECK(!o->wait(o, &e) && !memcmp(x, y, sizeof x)); /* the operation did not run */
    mert_axpy(o, .to = d, .from = d, .n = 3);
    o->download(o, y, d, sizeof y);
    CHECK(!o->wait(o, &e) && y[0] == 2 && y[2] == 6);
    CHECK(mert_cpu_scratch(0, 1000) && mert_cpu_shared_scratch(1000)); /* can be allocated again */
    o->release(o, d);
}

TEST(a_failed_queue_refuses_until_it_is_renewed)
{
    refuses_after_a_failure(ops);
    refuses_after_a_failure(mert_ops_cpu());
}

TEST(the_host_cannot_touch_device_memory)
{
    float *d = room(1000);
    CHECK(signal_of(reads, d) == SIGSEGV);
    CHECK(signal_of(writes, d) == SIGSEGV);
    CHECK(signal_of(reads_the_end, d) == SIGSEGV);
    mert_fill(ops, .to = d, .n = 1000);
    CHECK(!ops->wait(ops, NULL)); /* nor afterwards */
    CHECK(signal_of(reads, d) == SIGSEGV);
    CHECK(signal_of(writes, d) == SIGSEGV);
    CHECK(get(d, 1000)[0] == 0);
}

TEST(what_is_right_survives)
{
    float x[1000] = {0};
    CHECK(signal_of(reads, x) == 0);
    CHECK(signal_of(writes, x) == 0);
}

TEST(a_second_release_is_noticed)
{
    float *d = ops->alloc(ops, 64);
    CHECK(d && signal_of(releases_twice, d) == SIGABRT);
    ops->release(ops, d);
}

#define RUN_ON_GUARD(name) \
    do {                   \
        RUN(name);         \
        forget();          \
    } while (0)

int main(void)
{
    use_threads(2);
    ops = mert_ops_guard(mert_ops_cpu());
    RUN_ON_GUARD(a_step_has_the_bytes_of_the_cpu);
    RUN_ON_GUARD(a_download_holds_poison_until_the_wait);
    RUN_ON_GUARD(an_upload_whose_source_changes_early_shows);
    RUN_ON_GUARD(a_mark_waits_for_what_is_before_it_alone);
    RUN_ON_GUARD(an_upload_ahead_of_the_queue);
    RUN_ON_GUARD(arguments_are_taken_at_once);
    RUN_ON_GUARD(release_waits);
    RUN_ON_GUARD(close_runs_what_is_queued);
    RUN_ON_GUARD(a_full_queue_holds_the_caller_up);
    RUN_ON_GUARD(fresh_memory_is_poison);
    RUN_ON_GUARD(poison_spreads);
    RUN_ON_GUARD(a_failed_queue_refuses_until_it_is_renewed);
    RUN_ON_GUARD(the_host_cannot_touch_device_memory);
    RUN_ON_GUARD(what_is_right_survives);
    RUN_ON_GUARD(a_second_release_is_noticed);
    ops->close(ops);
    use_threads(1);
    return test_done();
}
