/* damage SEED TRIALS FILE...: cuts, flips and splices streams in memory, TRIALS times each, and reads them. All damage
 * must be reported (contracts S5, S6). Failures are
 *
 *     silent   nothing was reported, but the items are not those of the undamaged stream; or a complete item is none of
 *              the undamaged streams'
 *     unnamed  damage was reported, and the input and all of its streams ended well, but no report has the key, row or
 *              number of a missing item
 *
 * A cut between two concatenated streams is not damage, because the rest is a valid stream. Frames are not spliced from
 * a stream with the same id (samples that were made without a manifest and an input), because these cannot be
 * distinguished. Prints a line for each kind of damage; exit status 1 if something was silent or unnamed. */
#include "tests/unit/stream.h"

#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = 64, FRAMES_MAX = 512 };

typedef struct sound {
    const char *name;
    bytes b;
    seen items;
    size_t at[FRAMES_MAX + 1]; /* where each frame (with its data) begins; the last one is the size */
    int frames, end[FRAMES_MAX + 1]; /* the frames after which a stream ends */
} sound;

static sound all[FILES_MAX];
static int nfiles;
static uint64_t state;

static uint64_t any(uint64_t below)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return (z ^ z >> 31) % below;
}

static void die(const char *what)
{
    fprintf(stderr, "damage: %s\n", what);
    exit(2);
}

/* ---- undamaged streams ---- */

static void find_frames(sound *s)
{
    for (size_t i = 0; i + 16 < s->b.size; i++) {
        const unsigned char *p = (const unsigned char *)s->b.data + i;
        if (memcmp(p, "T*M\x18", 4) || memcmp(p + 8, "MTS1 ", 5))
            continue;
        if (s->frames == FRAMES_MAX)
            die("too many frames in one file");
        s->end[s->frames] = !memcmp(p + 13, "end\n", 4);
        s->at[s->frames++] = i;
        i += 8 + ((size_t)p[4] | (size_t)p[5] << 8) - 1;
    }
    s->at[s->frames] = s->b.size;
}

static void load(const char *name)
{
    sound *s = &all[nfiles++];
    FILE *f = nfiles <= FILES_MAX ? fopen(name, "rb") : NULL;
    if (!f)
        die(name);
    s->name = name;
    fseek(f, 0, SEEK_END);
    s->b.size = (size_t)ftell(f);
    rewind(f);
    s->b.data = calloc(s->b.size + 1, 1);
    if (!s->b.data || fread(s->b.data, 1, s->b.size, f) != s->b.size)
        die("cannot read");
    fclose(f);
    find_frames(s);
    read_bytes(s->b.data, s->b.size, &s->items, 0);
    if (s->items.final != MTS_EOF || s->items.damages || s->items.records + s->items.failures > SEEN_MAX)
        die("the sound stream does not read, or is too long");
}

/* Whether frames of both have the same stream id. */
static int same_stream(const sound *a, const sound *b)
{
    for (int i = 0; i < a->frames; i++)
        for (int k = 0; k < b->frames; k++) {
            const char *p = strstr(a->b.data + a->at[i] + 8, "\nstream="), *q = strstr(b->b.data + b->at[k] + 8, "\nstream=");
            if (p && q && !memcmp(p, q, 24))
                return 1;
        }
    return 0;
}

/* ---- the result of reading a damaged stream ---- */

static int is_item(const seen *of, const seen *s, int i)
{
    for (int k = 0; k < of->records; k++)
        if (same_record(&s->record[i].record, &of->record[k].record) && s->record[i].hash == of->record[k].hash)
            return 1;
    return 0;
}

static int same_items(const seen *a, const seen *b)
{
    if (a->records != b->records || a->failures != b->failures)
        return 0;
    for (int i = 0; i < a->records; i++)
        if (!same_record(&a->record[i].record, &b->record[i].record) || a->record[i].hash != b->record[i].hash)
            return 0;
    for (int i = 0; i < a->failures; i++)
        if (strcmp(a->failure[i].key, b->failure[i].key) || a->failure[i].row != b->failure[i].row
            || strcmp(a->failure[i].reason, b->failure[i].reason))
            return 0;
    return 1;
}

/* Whether every item of the undamaged stream is there, complete or failed, or is named by a failure; a failure with
 * only a number can be any item. */
static int all_named(const seen *then, const seen *now)
{
    char name[MTS_KEY_MAX + 2];
    int missing = 0, numbers = 0;
    for (int k = 0; k < now->failures; k++)
        numbers += now->failure[k].here && !now->failure[k].key[0] && now->failure[k].row < 0;
    for (int i = 0; i < then->records + then->failures; i++) {
        const char *key = i < then->records ? then->record[i].record.key : then->failure[i - then->records].key;
        int64_t row = i < then->records ? then->record[i].record.row : then->failure[i - then->records].row;
        int known = 0;
        for (int k = 0; k < now->records && i < then->records && !known; k++)
            known = same_record(&then->record[i].record, &now->record[k].record)
                    && then->record[i].hash == now->record[k].hash;
        for (int k = 0; k < now->failures && !known; k++)
            known = now->failure[k].key[0] ? !strcmp(now->failure[k].key, key)
                                           : row >= 0 && now->failure[k].row == row;
        snprintf(name, sizeof name, "(%s)", key);
        for (int k = 0; k < now->damages && k < SEEN_MAX && !known; k++)
            known = strstr(now->damage[k].reason, name) != NULL;
        missing += !known;
    }
    return missing <= numbers;
}

typedef struct tally {
    int trials, whole, between, said, silent, unnamed;
} tally;

/* between: whole streams may be missing */
static void judge(tally *t, const sound *s, const char *data, size_t size, int between, const char *what)
{
    static seen now;
    int bad = 0, loud, here = 0;
    read_bytes(data, size, &now, 0);
    t->trials++;
    if (now.records > SEEN_MAX || now.failures > SEEN_MAX)
        die("too many items");
    for (int i = 0; i < now.failures; i++)
        here += now.failure[i].here;
    loud = now.final == MTS_ERROR || now.damages || here;
    for (int i = 0; i < now.records && !bad; i++) {
        bad = 1;
        for (int k = 0; k < nfiles && bad; k++)
            bad = !is_item(&all[k].items, &now, i);
    }
    bad |= now.order != 0;
    if (between && !bad)
        t->between++;
    else if (bad || (!loud && !same_items(&s->items, &now)))
        t->silent++, printf("# silent: %s, %s: %d records, %d failed\n", s->name, what, now.records, now.failures);
    else if (now.final == MTS_EOF && now.ends >= s->items.ends && !all_named(&s->items, &now))
        t->unnamed++, printf("# unnamed: %s, %s: %d records, %d failed\n", s->name, what, now.records, now.failures);
    else if (loud)
        t->said++;
    else
        t->whole++;
}

/* ---- the three kinds of damage ---- */

static int boundary(const sound *s, size_t at)
{
    if (!at || at == s->b.size)
        return 1;
    for (int i = 1; i < s->frames; i++)
        if (s->at[i] == at)
            return s->end[i - 1];
    return 0;
}

/* Removes the end, the beginning, or a part in between; half of the time at the beginning of a frame. */
static void cut(tally *t, const sound *s)
{
    char *to = malloc(s->b.size + 1), what[128];
    size_t from = any(s->b.size), till = any(4) ? s->b.size : from + 1 + any(s->b.size - from);
    if (any(2))
        from = s->at[any((uint64_t)s->frames)];
    if (any(8) == 0) {
        till = from + !from;
        from = 0;
    } else if (till < from) {
        till = s->b.size;
    }
    memcpy(to, s->b.data, from);
    memcpy(to + from, s->b.data + till, s->b.size - till);
    snprintf(what, sizeof what, "without bytes %zu to %zu", from, till);
    judge(t, s, to, s->b.size - (till - from), boundary(s, from) && boundary(s, till) && till - from < s->b.size, what);
    free(to);
}

/* Changes one to three bytes, or writes a block of zeros. */
static void flip(tally *t, const sound *s)
{
    char *to = malloc(s->b.size), what[128];
    size_t at = any(s->b.size), n = any(4) ? 1 : 1 + any(600);
    memcpy(to, s->b.data, s->b.size);
    if (n > 1)
        memset(to + at, 0, at + n < s->b.size ? n : s->b.size - at);
    else
        for (int i = 1 + (any(4) ? 0 : (int)any(3)); i > 0; i--) {
            to[at] = (char)(to[at] ^ (any(2) ? 1 << any(8) : (int)(1 + any(255))));
            at = any(s->b.size);
        }
    snprintf(what, sizeof what, "%zu bytes wrong near %zu", n, at);
    judge(t, s, to, s->b.size, 0, what);
    free(to);
}

/* Whether each of its streams still has a frame among these. */
static int all_left(const sound *s, const sound *const *of, const int *frame, int n)
{
    for (int first = 0, last; first < s->frames; first = last + 1) {
        int left = 0;
        for (last = first; last + 1 < s->frames && !s->end[last];)
            last++;
        for (int i = 0; i < n && !left; i++)
            left = of[i] == s && frame[i] >= first && frame[i] <= last;
        if (!left)
            return 0;
    }
    return 1;
}

/* Once or twice: drops, doubles, moves or exchanges frames, or inserts some of another stream. */
static void splice(tally *t, const sound *s)
{
    const sound *of[2 * FRAMES_MAX];
    int frame[2 * FRAMES_MAX], n = s->frames;
    char what[256] = "", *data = NULL;
    size_t size = 0;
    for (int i = 0; i < n; i++)
        of[i] = s, frame[i] = i;
    for (int step = 1 + (int)any(2); step > 0 && n > 0; step--) {
        const sound *donor = any(2) ? &all[any((uint64_t)nfiles)] : s;
        donor = same_stream(s, donor) ? s : donor;
        int from = (int)any((uint64_t)donor->frames), at = (int)any((uint64_t)n), how = (int)any(4);
        int count = 1 + (int)any(3), other = (int)any((uint64_t)n), f;
        const sound *o;
        if (count > donor->frames - from)
            count = donor->frames - from;
        size_t used = strlen(what);
        snprintf(what + used, sizeof what - used, "%s %d frames of %s from %d at %d (%d);",
                 (const char *[]){"dropped", "inserted", "replaced", "exchanged"}[how], count, donor->name, from, at, other);
        if (how == 0 || how == 2) { /* remove */
            int out = count < n - at ? count : n - at;
            memmove(of + at, of + at + out, (size_t)(n - at - out) * sizeof *of);
            memmove(frame + at, frame + at + out, (size_t)(n - at - out) * sizeof *frame);
            n -= out;
        }
        if (how == 1 || how == 2) { /* insert */
            memmove(of + at + count, of + at, (size_t)(n - at) * sizeof *of);
            memmove(frame + at + count, frame + at, (size_t)(n - at) * sizeof *frame);
            for (int i = 0; i < count; i++)
                of[at + i] = donor, frame[at + i] = from + i;
            n += count;
        }
        if (how == 3) {
            o = of[at], of[at] = of[other], of[other] = o;
            f = frame[at], frame[at] = frame[other], frame[other] = f;
        }
    }
    FILE *m = open_memstream(&data, &size);
    for (int i = 0; i < n; i++)
        fwrite(of[i]->b.data + of[i]->at[frame[i]], 1, of[i]->at[frame[i] + 1] - of[i]->at[frame[i]], m);
    fclose(m);
    judge(t, s, data, size, !all_left(s, of, frame, n), what);
    free(data);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*do_it)(tally *, const sound *);
    } sorts[] = {{"cuts", cut}, {"flips", flip}, {"splices", splice}};
    if (argc < 4)
        die("SEED TRIALS FILE...");
    state = strtoull(argv[1], NULL, 10);
    for (int i = 3; i < argc; i++)
        load(argv[i]);
    for (size_t k = 0; k < sizeof sorts / sizeof *sorts; k++) {
        tally t = {0};
        for (int i = 0; i < atoi(argv[2]); i++)
            sorts[k].do_it(&t, &all[i % nfiles]);
        printf("%d %s over %d streams: %d said, %d changed nothing, %d between joined streams, %d unnamed, %d silent\n", t.trials,
               sorts[k].name, nfiles, t.said, t.whole, t.between, t.unnamed, t.silent);
        test_bad |= t.silent || t.unnamed;
    }
    return test_bad;
}
