#include "pipelines/demo/midi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct event { int tick, order; unsigned char bytes[3]; int size; } event;
typedef struct track { unsigned char *data; size_t n, size; int tick, failed; } track; /* failed: out of memory */

static void put(track *t, int byte)
{
    if (t->n == t->size) {
        size_t size = t->size ? 2 * t->size : 4096;
        unsigned char *data = t->failed ? NULL : realloc(t->data, size);
        if ((t->failed = !data)) return;
        t->data = data, t->size = size;
    }
    t->data[t->n++] = (unsigned char)byte;
}

static void put_delta(track *t, int tick)
{
    int delta = tick - t->tick;
    for (int shift = 21; shift > 0; shift -= 7)
        if (delta >> shift) put(t, (delta >> shift & 127) | 128);
    put(t, delta & 127);
    t->tick = tick;
}

static void put_meta(track *t, int tick, int type, const void *data, size_t n)
{
    put_delta(t, tick);
    put(t, 0xff), put(t, type), put(t, (int)n);
    for (size_t i = 0; i < n; i++) put(t, ((const unsigned char *)data)[i]);
}

static void put_message(track *t, int tick, int status, int a, int b)
{
    put_delta(t, tick);
    put(t, status), put(t, a);
    if (b >= 0) put(t, b);
}

/* Ends the track; t is empty again. */
static int write_track(FILE *f, track *t, int end)
{
    put_meta(t, end, 0x2f, "", 0);
    unsigned char head[8] = {'M', 'T', 'r', 'k', (unsigned char)(t->n >> 24), (unsigned char)(t->n >> 16),
                             (unsigned char)(t->n >> 8), (unsigned char)t->n};
    int rc = t->failed || fwrite(head, 1, 8, f) != 8 || fwrite(t->data, 1, t->n, f) != t->n ? -1 : 0;
    free(t->data);
    *t = (track){0};
    return rc;
}

static int by_time(const void *a, const void *b)
{
    const event *x = a, *y = b;
    return x->tick != y->tick ? (x->tick > y->tick) - (x->tick < y->tick) : x->order - y->order;
}

/* At one tick notes end before others begin. */
static void put_notes(track *t, const part *p, int channel)
{
    event *e = malloc(2 * (size_t)p->n * sizeof *e);
    if (!e && p->n) {
        t->failed = 1;
        return;
    }
    for (int i = 0; i < p->n; i++) {
        const note *n = &p->notes[i];
        unsigned char pitch = (unsigned char)n->pitch;
        e[2 * i] =
            (event){n->start, 2 * p->n + i, {(unsigned char)(0x90 | channel), pitch, (unsigned char)n->velocity}, 3};
        e[2 * i + 1] = (event){n->start + n->length, i, {(unsigned char)(0x80 | channel), pitch, 64}, 3};
    }
    qsort(e, 2 * (size_t)p->n, sizeof *e, by_time);
    for (int i = 0; i < 2 * p->n; i++) put_message(t, e[i].tick, e[i].bytes[0], e[i].bytes[1], e[i].bytes[2]);
    free(e);
}

int write_midi(const piece *p, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f) return -1;
    int tracks = 1, end = p->bars * bar_ticks(p) + p->tempo * QUARTER / 60; /* one second to die away */
    for (int i = 0; i < PARTS; i++) tracks += p->parts[i].instrument != NULL;
    unsigned char head[14] = {'M',          'T',          'h', 'd', 0, 0, 0, 6, 0, 1, 0, (unsigned char)tracks,
                              QUARTER >> 8, QUARTER & 255};
    int rc = fwrite(head, 1, sizeof head, f) != sizeof head ? -1 : 0;

    track t = {0};
    int us = 60000000 / p->tempo, fifths = ((p->tonic + 3 * p->mode) * 7 + 6) % 12 - 6; /* Gb .. F: -6 .. 5 */
    put_meta(&t, 0, 0x03, p->name, strlen(p->name));
    put_meta(&t, 0, 0x51, (unsigned char[]){(unsigned char)(us >> 16), (unsigned char)(us >> 8), (unsigned char)us}, 3);
    put_meta(&t, 0, 0x58, (unsigned char[]){(unsigned char)p->beats, 2, 24, 8}, 4);
    put_meta(&t, 0, 0x59, (unsigned char[]){(unsigned char)fifths, (unsigned char)p->mode}, 2);
    rc |= write_track(f, &t, end);
    for (int i = 0; i < PARTS; i++) {
        const part *v = &p->parts[i];
        if (!v->instrument) continue;
        int channel = i == DRUMS ? 9 : i;
        put_meta(&t, 0, 0x03, v->instrument->name, strlen(v->instrument->name));
        put_message(&t, 0, 0xc0 | channel, v->instrument->program, -1);
        put_message(&t, 0, 0xb0 | channel, 7, v->volume);
        put_message(&t, 0, 0xb0 | channel, 10, v->pan);
        put_message(&t, 0, 0xb0 | channel, 91, i == BASS ? 10 : 40); /* reverb */
        put_notes(&t, v, channel);
        rc |= write_track(f, &t, end);
    }
    return fclose(f) || rc ? -1 : 0;
}
