/* A device that computes nothing (the dry backend) and counts what it is given. */
#ifndef TEST_COUNTING_H
#define TEST_COUNTING_H

#include "tests/unit/nn.h"

typedef struct counts { int64_t operations, waits, memory, each[MERT_OPS_COUNT]; } counts;

static mert_ops *counting_inner; /* the test closes it */
static counts counted;

static void *counting_alloc(mert_ops *o, size_t bytes)
{
    (void)o;
    counted.memory++;
    return counting_inner->alloc(counting_inner, bytes);
}

static void counting_release(mert_ops *o, void *p)
{
    (void)o;
    counted.memory += p != NULL;
    counting_inner->release(counting_inner, p);
}

static int counting_wait(mert_ops *o, mert_error *e)
{
    (void)o;
    counted.waits++;
    return counting_inner->wait(counting_inner, e);
}

static int counting_wait_mark(mert_ops *o, int64_t mark, mert_error *e)
{
    (void)o;
    counted.waits++;
    return counting_inner->wait_mark(counting_inner, mark, e);
}

static void counting_run(mert_ops *o, mert_op op, const void *args, size_t size)
{
    (void)o;
    counted.operations++;
    counted.each[op]++;
    counting_inner->run(counting_inner, op, args, size);
}

static size_t counting_packs_nothing(const mert_ops *o, int64_t rows, int64_t n, int64_t k, mert_packing as)
{
    (void)o, (void)rows, (void)n, (void)k, (void)as;
    return 0;
}

static int64_t counting_all_at_once(const mert_ops *o, mert_block block)
{
    (void)o, (void)block;
    return INT64_MAX;
}

/* With elements of this type. It packs nothing, and takes everything at once. */
static mert_ops counting_device(mert_element_type type)
{
    mert_ops as = *mert_ops_cpu(), counting;
    as.type = type;
    as.packed_bytes = counting_packs_nothing;
    as.rows_at_once = counting_all_at_once;
    as.cqt = 1;
    counting_inner = mert_ops_dry(&as);
    counting = *counting_inner;
    counting.packed_bytes = counting_packs_nothing;
    counting.rows_at_once = counting_all_at_once;
    counting.alloc = counting_alloc;
    counting.release = counting_release;
    counting.wait = counting_wait;
    counting.wait_mark = counting_wait_mark;
    counting.run = counting_run;
    return counting;
}

#endif
