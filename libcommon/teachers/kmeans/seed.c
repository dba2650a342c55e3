#include "libcommon/teachers/kmeans/kmeans.h"

#include "formats/array.h"
#include "libcommon/base/integer.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/random.h"
#include "libcommon/nn/cpu/rows.h"
#include "libcommon/teachers/codes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TILE = 192 };

/* All starts are computed together. The columns of the product are the candidates of all starts: column l * starts + s
 * is trial l of start s. */
typedef struct seeding {
    const float *x;        /* [n, d] minus the mean */
    float *x2;             /* [n] */
    int64_t n, d, k, starts, trials, tiles;
    float *closest;        /* [n, starts] squared distance to the nearest centre so far */
    double *pot;           /* [tiles, starts] its sums */
    float *trial_pot;      /* [tiles, starts * trials] the sums with each candidate */
    mert_rows *candidates, *chosen;
    float *candidate_rows; /* [starts * trials, d] */
    float *chosen_rows;    /* [starts, d] */
    float *candidate2, *chosen2;
    int64_t *candidate;    /* [starts * trials] index of the point */
    int64_t *centre;       /* [starts, k] */
    float *scratch;        /* [workers][TILE + 1, starts * trials] */
    int first;
} seeding;

static inline float squared(float x2, float c2, float dot)
{
    float d = x2 + c2 - 2 * dot;
    return d > 0 ? d : 0;
}

static int64_t tile_rows(const seeding *s, int64_t tile)
{
    return s->n - tile * TILE < TILE ? s->n - tile * TILE : TILE;
}

static float *scratch_of(const seeding *s, int worker)
{
    return s->scratch + worker * (TILE + 1) * s->starts * s->trials;
}

/* closest = min(closest, distance to the centres chosen last). */
static void update_tile(void *arg, int64_t tile, int worker)
{
    seeding *s = arg;
    int64_t rows = tile_rows(s, tile), S = s->starts;
    float *score = scratch_of(s, worker);
    double *pot = s->pot + tile * S;
    mert_rows_apply(s->chosen, s->x + tile * TILE * s->d, s->d, rows, score, S, 0);
    memset(pot, 0, (size_t)S * sizeof *pot);
    for (int64_t r = 0; r < rows; r++) {
        float *closest = s->closest + (tile * TILE + r) * S, x2 = s->x2[tile * TILE + r];
        for (int64_t j = 0; j < S; j++) {
            float d = squared(x2, s->chosen2[j], score[r * S + j]);
            closest[j] = s->first || d < closest[j] ? d : closest[j];
            pot[j] += closest[j];
        }
    }
}

static void trial_tile(void *arg, int64_t tile, int worker)
{
    seeding *s = arg;
    int64_t rows = tile_rows(s, tile), S = s->starts, L = s->trials;
    float *score = scratch_of(s, worker), *closest = score + TILE * S * L;
    float *pot = s->trial_pot + tile * S * L;
    const mert_codes_kernels *v = MERT_CODES_KERNELS;
    mert_rows_apply(s->candidates, s->x + tile * TILE * s->d, s->d, rows, score, S * L, 0);
    memset(pot, 0, (size_t)(S * L) * sizeof *pot);
    for (int64_t r = 0; r < rows; r++) {
        memcpy(closest, s->closest + (tile * TILE + r) * S, (size_t)S * sizeof *closest);
        for (int64_t l = 1; l < L; l *= 2) /* the same for each trial */
            memcpy(closest + l * S, closest, (size_t)(mert_smaller(l, L - l) * S) * sizeof *closest);
        v->add_nearer(pot, score + r * S * L, s->x2[tile * TILE + r], s->candidate2, closest, S * L);
    }
}

static double total(const double *per_tile, int64_t tiles, int64_t columns, int64_t j)
{
    double t = 0;
    for (int64_t i = 0; i < tiles; i++)
        t += per_tile[i * columns + j];
    return t;
}

/* The point at which the running sum of start j's squared distances passes u times the whole. */
static int64_t draw(const seeding *s, int64_t j, double pot, double u)
{
    double left = u * pot;
    int64_t tile = 0, last = -1;
    if (!(pot > 0))
        return (int64_t)(u * (double)s->n);
    while (tile + 1 < s->tiles && left >= s->pot[tile * s->starts + j]) {
        left -= s->pot[tile * s->starts + j];
        tile++;
    }
    for (int64_t r = tile * TILE; r < s->n; r++) {
        double c = s->closest[r * s->starts + j];
        if (c > 0)
            last = r;
        if (c > 0 && left < c)
            return r;
        left -= c;
    }
    return last >= 0 ? last : s->n - 1; /* after the end because of rounding */
}

static void choose(seeding *s, int64_t at, const int64_t *point)
{
    for (int64_t j = 0; j < s->starts; j++) {
        s->centre[j * s->k + at] = point[j];
        memcpy(s->chosen_rows + j * s->d, s->x + point[j] * s->d, (size_t)s->d * sizeof(float));
        s->chosen2[j] = s->x2[point[j]];
    }
    mert_rows_set(s->chosen, s->chosen_rows, s->d);
    s->first = at == 0;
    mert_pool_run(s->tiles, update_tile, s);
}

static void next_centre(seeding *s, int64_t at, uint64_t seed, int64_t *point)
{
    int64_t S = s->starts, L = s->trials;
    mert_random key = mert_random_key(seed, MERT_FOR_KMEANS_SEED, (uint64_t)at, 0, 0);
    for (int64_t j = 0; j < S; j++) {
        double pot = total(s->pot, s->tiles, S, j);
        for (int64_t l = 0; l < L; l++) {
            int64_t p = draw(s, j, pot, mert_random_uniform(&key, (uint32_t)(j * L + l)));
            s->candidate[l * S + j] = p;
            memcpy(s->candidate_rows + (l * S + j) * s->d, s->x + p * s->d, (size_t)s->d * sizeof(float));
            s->candidate2[l * S + j] = s->x2[p];
        }
    }
    mert_rows_set(s->candidates, s->candidate_rows, s->d);
    mert_pool_run(s->tiles, trial_tile, s);
    for (int64_t j = 0; j < S; j++) {
        double least = INFINITY;
        point[j] = s->candidate[j];
        for (int64_t l = 0; l < L; l++) {
            double pot = 0;
            for (int64_t i = 0; i < s->tiles; i++)
                pot += s->trial_pot[(i * L + l) * S + j];
            if (pot < least) {
                least = pot;
                point[j] = s->candidate[l * S + j];
            }
        }
    }
}

static int allocate(seeding *s)
{
    int64_t columns = mert_array_count(s->starts, s->trials);
    s->x2 = mert_array(s->n, sizeof(float));
    s->closest = mert_array(mert_array_count(s->n, s->starts), sizeof(float));
    s->pot = mert_array(mert_array_count(s->tiles, s->starts), sizeof(double));
    s->trial_pot = mert_array(mert_array_count(s->tiles, columns), sizeof(float));
    s->candidate_rows = mert_array_zeroed(mert_array_count(columns, s->d), sizeof(float));
    s->chosen_rows = mert_array_zeroed(mert_array_count(s->starts, s->d), sizeof(float));
    s->candidate2 = mert_array(columns, sizeof(float));
    s->chosen2 = mert_array(s->starts, sizeof(float));
    s->candidate = mert_array(columns, sizeof(int64_t));
    s->centre = mert_array(mert_array_count(s->starts, s->k), sizeof(int64_t));
    s->scratch = mert_array(mert_array_count(mert_pool_threads(), columns), (TILE + 1) * sizeof(float));
    if (s->candidate_rows && s->chosen_rows) {
        s->candidates = mert_rows_new(s->candidate_rows, s->d, columns, s->d, NULL);
        s->chosen = mert_rows_new(s->chosen_rows, s->d, s->starts, s->d, NULL);
    }
    return s->x2 && s->closest && s->pot && s->trial_pot && s->candidate2 && s->chosen2 && s->candidate && s->centre &&
                   s->scratch && s->candidates && s->chosen
               ? 0 : -1;
}

static void release(seeding *s)
{
    free(s->x2);
    free(s->closest);
    free(s->pot);
    free(s->trial_pot);
    free(s->candidate_rows);
    free(s->chosen_rows);
    free(s->candidate2);
    free(s->chosen2);
    free(s->candidate);
    free(s->centre);
    free(s->scratch);
    mert_rows_free(s->candidates);
    mert_rows_free(s->chosen);
}

/* Returns a copy of x minus its mean: this reduces cancellation in distances that are computed by products. */
static float *about_mean(const float *x, int64_t n, int64_t d)
{
    float *z = mert_array(mert_array_count(n, d), sizeof *z);
    double *mean = mert_array_zeroed(d, sizeof *mean);
    if (z && mean) {
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < d; i++)
                mean[i] += x[r * d + i];
        for (int64_t r = 0; r < n; r++)
            for (int64_t i = 0; i < d; i++)
                z[r * d + i] = (float)((double)x[r * d + i] - mean[i] / (double)n);
    } else {
        free(z);
        z = NULL;
    }
    free(mean);
    return z;
}

double mert_kmeans_seed(const mert_kmeans_options *o, const float *x, int64_t n, int64_t d, float *centroids)
{
    seeding s = {.n = n, .d = d, .k = o->k, .starts = o->n_init > 0 ? o->n_init : 1,
                 .trials = 2 + (int64_t)log((double)o->k),
                 .tiles = (n + TILE - 1) / TILE};
    float *z = about_mean(x, n, d);
    int64_t *point = mert_array(s.starts, sizeof *point), best = 0;
    double least = INFINITY;
    mert_random key = mert_random_key(o->seed, MERT_FOR_KMEANS_SEED, 0, 1, 0);
    s.x = z;
    if (!z || !point || allocate(&s)) {
        least = -1;
        goto done;
    }
    for (int64_t r = 0; r < n; r++) {
        float t = 0;
        for (int64_t i = 0; i < d; i++)
            t += z[r * d + i] * z[r * d + i];
        s.x2[r] = t;
    }
    for (int64_t j = 0; j < s.starts; j++)
        point[j] = mert_random_below(&key, (uint32_t)j, (uint32_t)n);
    choose(&s, 0, point);
    for (int64_t at = 1; at < s.k; at++) {
        next_centre(&s, at, o->seed, point);
        choose(&s, at, point);
        if (o->progress)
            o->progress(o->progress_self, "seeding", at + 1, s.k, -1);
    }
    for (int64_t j = 0; j < s.starts; j++) {
        double pot = total(s.pot, s.tiles, s.starts, j);
        if (pot < least) {
            least = pot;
            best = j;
        }
    }
    for (int64_t c = 0; c < s.k; c++)
        memcpy(centroids + c * d, x + s.centre[best * s.k + c] * d, (size_t)d * sizeof(float));
done:
    release(&s);
    free(z);
    free(point);
    return least;
}
