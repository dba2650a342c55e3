#include "pipelines/demo/compose.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- random numbers: splitmix64 (Steele et al. 2014) ---- */

static uint64_t next(rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static rng fork_rng(uint64_t seed, uint64_t number, uint64_t what)
{
    rng r = {seed};
    r.s = next(&r) ^ number;
    r.s = next(&r) ^ what;
    next(&r);
    return r;
}

static int below(rng *r, int n) { return (int)(next(r) >> 33) % n; }
static double uniform(rng *r) { return (double)(next(r) >> 11) * 0x1p-53; }
static int chance(rng *r, double p) { return uniform(r) < p; }
static double spread(rng *r) { return uniform(r) + uniform(r) + uniform(r) - 1.5; } /* about normal, deviation 0.5 */

/* ---- what can be played ---- */

static const instrument melodies[] = {{73, "flute", 67, 91},      {68, "oboe", 62, 84},        {71, "clarinet", 58, 82},
                                      {40, "violin", 62, 88},     {56, "trumpet", 60, 80},     {65, "alto sax", 56, 78},
                                      {11, "vibraphone", 60, 86}, {26, "jazz guitar", 55, 79}, {0, "piano", 64, 88},
                                      {22, "harmonica", 62, 84},  {80, "square lead", 64, 86}, {12, "marimba", 60, 84}};
static const instrument chordals[] = {
    {0, "piano", 55, 74},         {4, "electric piano", 55, 74}, {24, "nylon guitar", 52, 71},
    {25, "steel guitar", 52, 71}, {6, "harpsichord", 55, 74},    {16, "organ", 55, 74},
    {46, "harp", 55, 76},         {7, "clavinet", 52, 71},       {27, "clean guitar", 52, 71}};
static const instrument basses[] = {{32, "acoustic bass", 28, 48}, {33, "fingered bass", 28, 48},
                                    {34, "picked bass", 28, 48},   {35, "fretless bass", 28, 48},
                                    {38, "synth bass", 28, 48},    {43, "contrabass", 28, 48},
                                    {58, "tuba", 29, 50}};
static const instrument pads[] = {
    {48, "strings", 52, 76}, {49, "slow strings", 52, 76}, {52, "choir", 52, 74}, {89, "warm pad", 50, 74},
    {61, "brass section", 52, 72}, {19, "church organ", 50, 74}};

static void hire(rng *r, const instrument *table, int n, const instrument **to, int wanted)
{
    for (int i = 0; i < n && wanted > 0; i++)
        if (below(r, n - i) < wanted) to[--wanted] = &table[i];
}
#define HIRE(r, table, to) hire(r, table, (int)(sizeof(table) / sizeof *(table)), to, (int)(sizeof(to) / sizeof *(to)))
#define PICK(r, players) ((players)[below(r, (int)(sizeof(players) / sizeof *(players)))])

enum { MAJ, MIN, DIM, DOM7, MAJ7, MIN7 };
const quality qualities[] = {
    {"", 3, {0, 4, 7}}, {"m", 3, {0, 3, 7}}, {"dim", 3, {0, 3, 6}}, {"7", 4, {0, 4, 7, 10}}, {"maj7", 4, {0, 4, 7, 11}},
    {"m7", 4, {0, 3, 7, 10}}};

/* The chords of each function (tonic, subdominant, dominant), the plainest first. */
typedef struct degree { int step, quality; } degree;
static const struct { degree of[3][4]; int n[3];
} harmony[2] = {{{{{0, MAJ}, {9, MIN}, {4, MIN}, {0, MAJ7}},
                  {{5, MAJ}, {2, MIN}, {2, MIN7}, {5, MAJ7}},
                  {{7, MAJ}, {7, DOM7}, {11, DIM}, {0, 0}}},
                 {4, 4, 3}},
                {{{{0, MIN}, {8, MAJ}, {3, MAJ}, {0, MIN7}},
                  {{5, MIN}, {8, MAJ}, {2, DIM}, {5, MIN7}},
                  {{7, MAJ}, {7, DOM7}, {10, MAJ}, {0, 0}}},
                 {4, 4, 3}}};
enum { TONIC, SUBDOMINANT, DOMINANT };
static const int scales[2][7] = {{0, 2, 4, 5, 7, 9, 11}, {0, 2, 3, 5, 7, 8, 10}};

const char *const key_names[2][12] = {{"C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"},
                                      {"C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"}};
const char *const mode_names[2] = {"major", "minor"};

/* Drum patterns in sixteenths: kick, snare, hat. 4/4, then 3/4. */
static const char *const grooves[2][4][3] = {{{"x.......x.......", "....x.......x...", "x.x.x.x.x.x.x.x."},
                                              {"x.....x.x..x....", "....x.......x..x", "xxx.xxx.xxx.xxx."},
                                              {"x...x...x...x...", "....x.......x...", "..x...x...x...x."},
                                              {"x.........x.....", "........x.......", "x...x...x...x..."}},
                                             {{"x...........", "....x...x...", "x.x.x.x.x.x."},
                                              {"x.....x.....", "........x...", "x...x...x..."},
                                              {"x...........", "....x...x...", "..x...x...x."},
                                              {"x.......x...", "....x.......", "x.x.x.x.x.xx"}}};

/* ---- a piece ---- */

static int chord_mask(const chord *c)
{
    int mask = 0;
    for (int i = 0; i < qualities[c->quality].n; i++)
        mask |= 1 << (c->root + qualities[c->quality].steps[i]) % 12;
    return mask;
}

/* The scale under a chord: where the chord has a note beside the scale (the raised seventh), it replaces its neighbour.
 */
static int scale_mask(const piece *p, const chord *c)
{
    int mask = 0, chordal = chord_mask(c);
    for (int i = 0; i < 7; i++) mask |= 1 << (p->tonic + scales[p->mode][i]) % 12;
    for (int pc = 0; pc < 12; pc++)
        if ((chordal >> pc & 1) && !(mask >> pc & 1)) mask &= ~(1 << (pc + 11) % 12);
    return mask | chordal;
}

/* The first pitch at or beyond `from` in a direction whose pitch class is in the mask. */
static int seek(int from, int direction, int mask)
{
    while (!(mask >> from % 12 & 1)) from += direction;
    return from;
}

static int nearest(int from, int mask)
{
    int up = seek(from, 1, mask), down = seek(from, -1, mask);
    return up - from < from - down ? up : down;
}

/* Nobody plays exactly on the grid or equally loud: a few milliseconds, a few steps of velocity, and swung off-beats.
 */
static void play(piece *p, int which, int start, int length, int pitch, double loudness)
{
    part *t = &p->parts[which];
    if (!t->instrument || t->n == NOTES_MAX) return;
    double tick = 60.0 / p->tempo / QUARTER, late = spread(&p->human) * (which == DRUMS ? 0.004 : 0.010) / tick;
    if (p->swing > 0 && start % QUARTER == EIGHTH) late += p->swing * QUARTER;
    int velocity = (int)(loudness * 127 + spread(&p->human) * 10), at = start + (int)late;
    t->notes[t->n++] = (note){at < 0 ? 0 : at, length, pitch, velocity < 12 ? 12 : velocity > 127 ? 127 : velocity};
}

/* ---- harmony ---- */

static void add_chord(piece *p, int bar, int start, int length, degree d)
{
    int at = bar * bar_ticks(p);
    if (start == 0) p->bar_chord[bar] = p->nchords;
    p->chords[p->nchords++] = (chord){at + start, length, (p->tonic + d.step) % 12, d.quality};
}

static degree choose(const piece *p, rng *r, int function)
{
    int n = harmony[p->mode].n[function], i = below(r, n);
    return harmony[p->mode].of[function][chance(r, 0.4) ? 0 : i];
}

/* Four bars: away from where the section starts, and to a half cadence (on the dominant) or a full one (home). */
static void write_phrase(piece *p, int bar, char section, int full)
{
    rng r = fork_rng(p->seed, (uint64_t)p->number, (uint64_t)section);
    int whole = bar_ticks(p), half = 2 * QUARTER;
    degree home = harmony[p->mode].of[TONIC][0], away = choose(p, &r, below(&r, 2));
    add_chord(p, bar, 0, whole, section == 'A' ? home : away);
    int second = chance(&r, 0.5) ? TONIC : SUBDOMINANT;
    if (chance(&r, 0.25)) {
        add_chord(p, bar + 1, 0, half, choose(p, &r, second));
        add_chord(p, bar + 1, half, whole - half, choose(p, &r, SUBDOMINANT));
    } else {
        add_chord(p, bar + 1, 0, whole, choose(p, &r, second));
    }
    degree before = choose(p, &r, SUBDOMINANT);
    if (full) {
        add_chord(p, bar + 2, 0, half, before);
        add_chord(p, bar + 2, half, whole - half, harmony[p->mode].of[DOMINANT][1]);
        add_chord(p, bar + 3, 0, whole, home);
    } else {
        add_chord(p, bar + 2, 0, whole, before);
        add_chord(p, bar + 3, 0, whole, harmony[p->mode].of[DOMINANT][0]);
    }
}

/* ---- the parts, bar by bar; `loud` is the section's dynamic ---- */

static const chord *chord_at(const piece *p, int tick)
{
    int i = p->nchords - 1;
    while (i > 0 && p->chords[i].start > tick) i--;
    return &p->chords[i];
}

/* A rhythm in eighths for one bar: cells of a half note (4/4) or a dotted half (3/4) cut at random, remembered by the
 * caller. */
static int write_rhythm(rng *r, int beats, int to[12])
{
    static const int cells[][5] = {{4, 0},          {2, 2, 0}, {3, 1, 0},  {1, 1, 2, 0}, {2, 1, 1, 0},
                                   {1, 1, 1, 1, 0}, {2, 2, 0}, {-2, 2, 0}, {-1, 1, 2, 0}};
    static const int threes[][5] = {{2, 2, 2, 0}, {4, 2, 0},     {2, 1, 1, 2, 0}, {3, 1, 2, 0},
                                    {6, 0},       {-2, 2, 2, 0}, {2, 2, 1, 1, 0}};
    int n = 0;
    for (int half = 0; half < (beats == 4 ? 2 : 1); half++) {
        const int *cell = beats == 4 ? cells[below(r, 9)] : threes[below(r, 7)];
        for (; *cell; cell++) to[n++] = *cell;
    }
    return n;
}

/* Two rhythms per section, used x x y x; the pitches walk: chord notes on the beat, scale steps between. Sections with
 * the same letter draw the same numbers, so the same tune comes again, bent only where the chords differ. */
static void write_melody(piece *p, int bar, int bars, char section, double loud, int doubled)
{
    rng r = fork_rng(p->seed, (uint64_t)p->number, (uint64_t)section << 8);
    const instrument *voice = p->parts[MELODY].instrument;
    int rhythm[2][12], n[2];
    for (int i = 0; i < 2; i++) n[i] = write_rhythm(&r, p->beats, rhythm[i]);
    int pitch = (voice->low + voice->high) / 2 + below(&r, 7) - 3;
    for (int b = 0; b < bars; b++) {
        int which = b % 4 == 2, tick = (bar + b) * bar_ticks(p);
        for (int i = 0; i < n[which]; i++) {
            int length = abs(rhythm[which][i]) * EIGHTH, step = below(&r, 5) - 2, direction = step < 0 ? -1 : 1;
            const chord *c = chord_at(p, tick);
            if (pitch < voice->low + 3) step = direction = 1;
            if (pitch > voice->high - 3) step = -1, direction = -1;
            if (tick % QUARTER == 0) pitch = nearest(pitch + 2 * step, chord_mask(c));
            else if (step) pitch = seek(pitch + direction, direction, scale_mask(p, c));
            else pitch = nearest(pitch, scale_mask(p, c));
            if (rhythm[which][i] > 0) {
                double accent = tick % bar_ticks(p) == 0 ? 0.08 : tick % QUARTER ? -0.05 : 0;
                play(p, MELODY, tick, length * 9 / 10, pitch, loud + accent);
                if (doubled && tick % QUARTER == 0)
                    play(p, SECOND, tick, length * 9 / 10, seek(pitch - 3, -1, chord_mask(c)), loud - 0.12);
            }
            tick += length;
        }
    }
}

/* Close position in the instrument's range, starting where the previous chord lay: the voices move little. */
static int voice_chord(const chord *c, const instrument *in, int *anchor, int to[4])
{
    int n = qualities[c->quality].n, mask = chord_mask(c), pitch = nearest(*anchor, mask);
    if (pitch > in->high - 7) pitch = seek(pitch - 12, 1, mask);
    if (pitch < in->low) pitch = seek(in->low, 1, mask);
    *anchor = pitch;
    for (int i = 0; i < n; i++, pitch++) to[i] = pitch = seek(pitch, 1, mask);
    return n;
}

static void write_chord(piece *p, const chord *c, int *anchor, double loud)
{
    int v[4], n = voice_chord(c, p->parts[CHORDS].instrument, anchor, v), end = c->start + c->length;
    for (int tick = c->start; tick < end; tick += EIGHTH) {
        int eighth = (tick - c->start) / EIGHTH, length = EIGHTH;
        switch (p->comping) {
        case 0: /* held */
            if (eighth) continue;
            length = c->length;
            break;
        case 1: /* on the beats after the first */
            if (tick % QUARTER || tick % bar_ticks(p) == 0) continue;
            length = QUARTER * 3 / 4;
            break;
        case 2: /* off the beat */
            if (tick % QUARTER == 0) continue;
            break;
        default: /* broken, up or up and down */
            play(p, CHORDS, tick, EIGHTH * 2,
                 v[p->comping == 3 ? eighth % n : abs((eighth + n - 1) % (2 * n - 2) - n + 1)], loud);
            continue;
        }
        for (int i = 0; i < n; i++) play(p, CHORDS, tick + 4 * i, length * 19 / 20, v[i], loud - 0.04);
    }
}

static void write_bass(piece *p, const chord *c, double loud)
{
    const instrument *in = p->parts[BASS].instrument;
    int root = seek(in->low + 4, 1, 1 << c->root),
        fifth = seek(root + 1, 1, 1 << (c->root + qualities[c->quality].steps[2]) % 12);
    int scale = scale_mask(p, c), walk = root;
    for (int tick = c->start; tick < c->start + c->length; tick += EIGHTH) {
        int beat = (tick - c->start) / QUARTER, on = tick % QUARTER == 0;
        switch (p->bassing) {
        case 0: /* root and fifth, two beats each */
            if (on && beat % 2 == 0) play(p, BASS, tick, QUARTER * 7 / 4, beat ? fifth : root, loud);
            break;
        case 1: /* eighths on the root */
            play(p, BASS, tick, EIGHTH * 4 / 5, root, loud - (on ? 0 : 0.1));
            break;
        case 2: /* walking in quarters */
            if (!on) break;
            play(p, BASS, tick, QUARTER * 9 / 10, walk, loud);
            walk = beat % 2 ? seek(walk + 1, 1, scale) : seek(walk + 2, 1, chord_mask(c));
            break;
        default: /* held */
            if (tick == c->start) play(p, BASS, tick, c->length * 19 / 20, root, loud);
        }
    }
}

static void write_drums(piece *p, int bar, double loud, int fill)
{
    static const int drum[3] = {36, 38, 42};
    for (int i = 0; i < 4 * p->beats; i++) {
        int tick = bar * bar_ticks(p) + i * SIXTEENTH, last = i >= 4 * (p->beats - 1);
        if (fill && last) {
            play(p, DRUMS, tick, SIXTEENTH / 2, 50 - 2 * (i % 4) - (i % 4 > 1), loud); /* down the toms */
            continue;
        }
        for (int d = 0; d < 3; d++)
            if (grooves[p->beats == 3][p->groove][d][i] == 'x')
                play(p, DRUMS, tick, SIXTEENTH / 2, drum[d], loud - (d == 2 ? 0.2 : 0) - (i % 4 ? 0.08 : 0));
    }
}

static void write_accompaniment(piece *p, int bar, int bars, double loud, int thin)
{
    int anchor = 60, pad_anchor = 60, v[4];
    int first = p->bar_chord[bar], last = bar + bars < p->bars ? p->bar_chord[bar + bars] : p->nchords;
    for (int i = first; i < last; i++) {
        const chord *c = &p->chords[i];
        write_chord(p, c, &anchor, loud - 0.08);
        write_bass(p, c, loud + 0.05);
        if (p->parts[PAD].instrument && !thin) {
            int n = voice_chord(c, p->parts[PAD].instrument, &pad_anchor, v);
            for (int k = 0; k < n; k++) play(p, PAD, c->start, c->length * 49 / 50, v[k], loud - 0.2);
        }
    }
    if (!thin)
        for (int b = bar; b < bar + bars; b++) write_drums(p, b, loud, b == bar + bars - 1);
}

/* Everybody ends on the tonic, held. */
static void write_ending(piece *p)
{
    int bar = p->bars - 1, start = bar * bar_ticks(p), length = bar_ticks(p), v[4], anchor = 60;
    add_chord(p, bar, 0, length, harmony[p->mode].of[TONIC][0]);
    const chord *c = &p->chords[p->nchords - 1];
    int root = 1 << c->root, n = voice_chord(c, p->parts[CHORDS].instrument, &anchor, v);
    for (int i = 0; i < n; i++) {
        play(p, CHORDS, start + 10 * i, length, v[i], 0.6);
        play(p, PAD, start, length, v[i], 0.5);
    }
    play(p, BASS, start, length, seek(p->parts[BASS].instrument->low + 4, 1, root), 0.65);
    play(p, MELODY, start, length,
         nearest((p->parts[MELODY].instrument->low + p->parts[MELODY].instrument->high) / 2, root), 0.65);
    play(p, DRUMS, start, QUARTER, 49, 0.6); /* crash */
}

static void set_part(piece *p, rng *r, int which, const instrument *in, int volume, int pan)
{
    p->parts[which] = (part){.instrument = in, .volume = volume + below(r, 13) - 6, .pan = pan + below(r, 17) - 8};
}

void compose(piece *p, int key, const band *b)
{
    static const instrument kit = {0, "drums", 0, 127};
    static const struct { const char *form; double slowest, fastest; } shapes[2][2] = {
        {{"ABA", 124, 168}, {"AB", 92, 140}}, {{"ABA", 100, 150}, {"AB", 80, 120}}};
    rng r = fork_rng(p->seed, (uint64_t)p->number, 0);
    p->human = fork_rng(p->seed, (uint64_t)p->number, 1);
    p->tonic = key % 12, p->mode = key / 12;
    p->beats = chance(&r, 0.3) ? 3 : 4;
    int shape = below(&r, 2);
    snprintf(p->form, sizeof p->form, "%s", shapes[p->beats == 3][shape].form);
    double slow = shapes[p->beats == 3][shape].slowest, fast = shapes[p->beats == 3][shape].fastest;
    p->tempo = (int)(slow + (fast - slow) * uniform(&r));
    p->bars = 4 * (int)strlen(p->form) + 1;
    p->comping = below(&r, 5), p->bassing = below(&r, 4), p->groove = below(&r, 4);
    p->swing = chance(&r, 0.2) ? 1.0 / 6 : 0;
    set_part(p, &r, MELODY, PICK(&r, b->melody), 104, 64);
    set_part(p, &r, SECOND, chance(&r, 0.7) ? PICK(&r, b->melody) : NULL, 84, 40);
    if (p->parts[SECOND].instrument == p->parts[MELODY].instrument) p->parts[SECOND].instrument = NULL;
    set_part(p, &r, CHORDS, PICK(&r, b->chords), 84, 88);
    set_part(p, &r, BASS, PICK(&r, b->bass), 98, 60);
    set_part(p, &r, PAD, chance(&r, 0.7) ? PICK(&r, b->pad) : NULL, 74, 50);
    set_part(p, &r, DRUMS, chance(&r, 0.8) ? &kit : NULL, 88, 64);

    int sections = (int)strlen(p->form);
    for (int s = 0; s < sections; s++) /* the first A asks, the later ones answer; B leads back */
        write_phrase(p, 4 * s, p->form[s], p->form[s] == 'A' && s > 0);
    for (int s = 0; s < sections; s++) {
        double loud = 0.55 + 0.05 * s + 0.06 * uniform(&r);
        write_melody(p, 4 * s, 4, p->form[s], loud, s >= sections - 2);
        write_accompaniment(p, 4 * s, 4, loud, s == 0 && chance(&r, 0.5));
    }
    write_ending(p);
    p->seconds = (double)p->bars * p->beats * 60 / p->tempo + 1;
}

band hire_band(uint64_t seed)
{
    band b;
    rng r = fork_rng(seed, 0, 3);
    HIRE(&r, melodies, b.melody);
    HIRE(&r, chordals, b.chords);
    HIRE(&r, basses, b.bass);
    HIRE(&r, pads, b.pad);
    return b;
}

void shuffle_keys(int keys[24], uint64_t seed, int turn)
{
    rng r = fork_rng(seed, (uint64_t)turn, 2);
    for (int i = 0; i < 24; i++) keys[i] = i;
    for (int i = 23; i > 0; i--) {
        int j = below(&r, i + 1), k = keys[i];
        keys[i] = keys[j], keys[j] = k;
    }
}
