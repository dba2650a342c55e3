/* Writing a checkpoint of a session, from what all processes have. */
#include "libcommon/train/session.h"

#include <stdlib.h>

/* The moments, one parameter group at a time: all processes gather a group together, and process 0 writes it. */
typedef struct moments_by_group {
    mert_trainer *trainer;
    int which, group;
    float *room;
} moments_by_group;

static const float *next_moment(void *arg, int which, const mert_parameter *p, mert_error *e)
{
    moments_by_group *m = arg;
    const mert_groups *groups = mert_trainer_groups(m->trainer);
    int group = mert_groups_find(groups, p->offset);
    if (group != m->group || which != m->which) {
        if (mert_trainer_moment(m->trainer, which, group, m->room, e))
            return NULL;
        m->group = group;
        m->which = which;
    }
    return m->room + (p->offset - groups->group[group].from);
}

static int bring_moments(moments_by_group *m, mert_error *e)
{
    for (int i = 0; i < 2 * mert_trainer_groups(m->trainer)->n; i++)
        if (mert_trainer_moment(m->trainer, i / mert_trainer_groups(m->trainer)->n,
                                i % mert_trainer_groups(m->trainer)->n, m->room, e))
            return -1;
    return 0;
}

static int write_checkpoint(const mert_session *s, const float *weights, moments_by_group *m, mert_error *e)
{
    mert_weights w = {.layout = s->weights.layout, .values = (float *)weights};
    mert_moment_source source = {next_moment, m, s->ema};
    return mert_state_save(s->save, &s->state, &s->inputs, &s->changes, &s->recipe, &w, &source, e);
}

int mert_session_save(mert_session *s, mert_error *e)
{
    int here = mert_session_exchange(s)->rank == 0, bad = 0;
    const float *weights = mert_trainer_weights(s->trainer);
    const mert_groups *groups = mert_trainer_groups(s->trainer);
    moments_by_group m = {.trainer = s->trainer, .group = -1};
    float *copy = NULL;
    int64_t most = 0;
    for (int i = 0; i < groups->n; i++)
        most = groups->group[i].n > most ? groups->group[i].n : most;
    m.room = malloc((size_t)most * sizeof *m.room);
    if (!weights)
        weights = copy = malloc(here ? (size_t)s->weights.layout.size * sizeof *copy : sizeof *copy);
    if (!m.room || !weights)
        bad = mert_fail(e, "out of memory for a copy of the state to save");
    if (!bad && copy)
        bad = mert_trainer_get(s->trainer, &(mert_shards_arrays){.weights = copy}, here, e);
    if (!bad)
        bad = here ? write_checkpoint(s, weights, &m, e) : bring_moments(&m, e);
    if (!bad)
        bad = mert_exchange_barrier(mert_session_exchange(s), e);
    free(m.room);
    free(copy);
    return bad ? -1 : 0;
}
