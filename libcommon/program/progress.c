#include "libcommon/program/progress.h"

#include <inttypes.h>
#include <stdio.h>

/* "1:02:03" */
static const char *hours(char to[32], double seconds)
{
    const long long s = (long long)(seconds + 0.5);
    snprintf(to, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    return to;
}

void mert_progress_text(char *to, size_t size, const mert_progress *p)
{
    const int64_t done = p->items - p->items_before;
    char all[32] = "", audio[80] = "", left[64] = "", text[32];
    if (p->expected >= p->items && p->expected > 0)
        snprintf(all, sizeof all, " of %" PRId64, p->expected);
    if (p->audio > 0)
        snprintf(audio, sizeof audio, ", %s of audio, %.1f times real time", hours(text, p->audio),
                 p->audio / (p->seconds + 1e-9));
    if (*all && done > 0)
        snprintf(left, sizeof left, ", %s left", hours(text, (p->seconds - p->seconds_before) / (double)done *
                                                                 (double)(p->expected - p->items)));
    snprintf(to, size, "%" PRId64 "%s item%s%s%s", p->items, all, p->items == 1 && !*all ? "" : "s", audio, left);
}
