/* Joint counts of labels: HuBERT's measures for a small table, computed by hand, and the counting. */
#include "libcommon/tensor/joint.h"
#include "tests/test.h"

static mert_error err;

/* p(z, y) = n / 8:    y = 0   1      H(y) = 1 bit, H(z) = 1/2 1 + 2 (1/4 2) = 1.5 bits
 *              z = 0      3   1      H(y | z) = 4/8 h(3/4) + 2/8 0 + 2/8 1, h(3/4) = 2 - 3/4 log2 3
 *              z = 1      0   2      phone purity (3 + 2 + 1) / 8, cluster purity (3 + 2) / 8
 *              z = 2      1   1      I = H(y) - H(y | z) = 1 - (1 - 3/8 log2 3) - 1/4 */
static const int table[][3] = {{0, 0, 3}, {0, 1, 1}, {1, 1, 2}, {2, 0, 1}, {2, 1, 1}};

static mert_joint *from_table(int64_t z, int64_t y, int swapped, int64_t *budget)
{
    mert_joint *j = mert_joint_new(z, y, budget);
    for (size_t i = 0; j && i < sizeof table / sizeof *table; i++)
        for (int n = 0; n < table[i][2]; n++)
            if (mert_joint_add(j, table[i][swapped], table[i][!swapped], &err))
                abort();
    return j;
}

static void check_by_hand(const mert_joint *j)
{
    mert_joint_measures m;
    const double mutual = 3. / 8 * log2(3) - 0.25;
    CHECK(!mert_joint_measure(j, &m, &err) && m.frames == 8 && m.pairs == 5);
    CHECK_NEAR(m.entropy, 1.5, 1e-12);
    CHECK_NEAR(m.reference_entropy, 1, 1e-12);
    CHECK_NEAR(m.mutual, mutual, 1e-12);
    CHECK_NEAR(m.pnmi, mutual, 1e-12);
    CHECK(m.phone_purity == 0.75 && m.cluster_purity == 0.625);
}

TEST(measures_of_a_table_worked_out_by_hand)
{
    int64_t budget = 1 << 20;
    mert_joint *dense = from_table(3, 2, 0, &budget), *sparse = from_table(1 << 20, 1 << 22, 0, &budget);
    check_by_hand(dense);
    CHECK(budget == (1 << 20) - 6 * 8 - 1024 * 16);
    check_by_hand(sparse);
    mert_joint_free(dense);
    mert_joint_free(sparse);
    CHECK(budget == 1 << 20);
}

TEST(the_other_way_round_only_the_reference_changes)
{
    int64_t budget = 1 << 20;
    mert_joint *j = from_table(2, 3, 1, &budget);
    mert_joint_measures m;
    CHECK(!mert_joint_measure(j, &m, &err));
    CHECK_NEAR(m.mutual, 3. / 8 * log2(3) - 0.25, 1e-12);
    CHECK_NEAR(m.pnmi, (3. / 8 * log2(3) - 0.25) / 1.5, 1e-12);
    CHECK(m.phone_purity == 0.625 && m.cluster_purity == 0.75);
    mert_joint_free(j);
}

TEST(extremes)
{
    int64_t budget = 1 << 20;
    mert_joint *same = mert_joint_new(7, 7, &budget), *independent = mert_joint_new(4, 5, &budget),
               *constant = mert_joint_new(4, 5, &budget), *empty = mert_joint_new(4, 5, &budget);
    mert_joint_measures m;
    for (int i = 0; i < 700; i++) {
        (void)!mert_joint_add(same, i % 7, 6 - i % 7, &err);
        (void)!mert_joint_add(independent, i % 4, i % 5, &err);
        (void)!mert_joint_add(constant, i % 4, 3, &err);
    }
    CHECK(!mert_joint_measure(same, &m, &err) && m.phone_purity == 1 && m.cluster_purity == 1);
    CHECK_NEAR(m.pnmi, 1, 1e-12);
    CHECK_NEAR(m.mutual, log2(7), 1e-12);
    CHECK(!mert_joint_measure(independent, &m, &err) && m.mutual >= 0);
    CHECK_NEAR(m.pnmi, 0, 1e-12);
    CHECK_NEAR(m.phone_purity, 0.2, 1e-12);
    CHECK(!mert_joint_measure(constant, &m, &err) && isnan(m.pnmi) && m.mutual == 0 && m.phone_purity == 1);
    CHECK_NEAR(m.cluster_purity, 0.25, 1e-12);
    CHECK(!mert_joint_measure(empty, &m, &err) && m.frames == 0 && m.pairs == 0);
    mert_joint_free(same);
    mert_joint_free(independent);
    mert_joint_free(constant);
    mert_joint_free(empty);
}

/* Counts stay correct while the cells grow and are replaced by a table; compared with plain arrays. */
TEST(counts_survive_growing)
{
    enum { Z = 300, Y = 200, N = 300000 };
    static int64_t plain[Z][Y], zs[Z], ys[Y];
    int64_t budget = 1 << 30, pairs = 0;
    mert_joint *wide = mert_joint_new(1 << 21, 1 << 21, &budget), *narrow = mert_joint_new(Z, Y, &budget);
    mert_joint_measures a, b;
    uint64_t seed = 1;
    double mutual = 0;
    for (int i = 0; i < N; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        int z = (int)((seed >> 33) % Z), y = (int)((seed >> 50) % 90 + (unsigned)z % 110);
        CHECK(!mert_joint_add(narrow, z, y, &err) && !mert_joint_add(wide, 7001 * z, 10007 * y, &err));
        plain[z][y]++;
        zs[z]++;
        ys[y]++;
    }
    for (int z = 0; z < Z; z++)
        for (int y = 0; y < Y; y++)
            if (plain[z][y]) {
                pairs++;
                mutual += (double)plain[z][y] / N * log2((double)plain[z][y] * N / ((double)zs[z] * (double)ys[y]));
            }
    CHECK(!mert_joint_measure(narrow, &a, &err) && !mert_joint_measure(wide, &b, &err));
    CHECK(a.frames == N && b.frames == N && a.pairs == pairs && b.pairs == pairs && pairs > 20000);
    CHECK_NEAR(a.mutual, mutual, 1e-9);
    CHECK_NEAR(b.mutual, mutual, 1e-9);
    CHECK(a.phone_purity == b.phone_purity && a.cluster_purity == b.cluster_purity);
    CHECK(budget >= (1 << 30) - Z * Y * 8 - 2 * 2 * 16 * 65536);
    mert_joint_free(wide);
    mert_joint_free(narrow);
}

TEST(memory_has_an_end)
{
    int64_t budget = 1 << 20, n = 0;
    mert_joint *j = mert_joint_new(1 << 20, 1 << 20, &budget);
    while (n < 1 << 20 && !mert_joint_add(j, n, n, &err))
        n++;
    CHECK(n == (1 << 20) / 16 / 2 && strstr(err.text, "more pairs of labels occur than there is room to count"));
    mert_joint_free(j);
    CHECK(budget == 1 << 20);
}

int main(void)
{
    RUN(measures_of_a_table_worked_out_by_hand);
    RUN(the_other_way_round_only_the_reference_changes);
    RUN(extremes);
    RUN(counts_survive_growing);
    RUN(memory_has_an_end);
    return test_done();
}
