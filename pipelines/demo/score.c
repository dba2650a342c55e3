/* Writes many-voiced music as standard MIDI files, from a seed: score --seed N --minutes M --out DIR
 *
 *     DIR/midi/NAME.mid            SMF format 1: melody, second voice, chords, bass, pad, drums
 *     DIR/labels/NAME.chords.tsv   what is being played: start s, end s, chord, root, quality, pitch classes
 *     DIR/pieces.tsv               one line per piece: key, tempo, instruments, and how its audio is to be encoded
 *
 * The music is made so that there is something to learn in it: sections (A A B A) that come again, a functional
 * progression with cadences under a melody that follows the chords, one of 24 keys, a few instruments out of many. */
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { QUARTER = 480, EIGHTH = 240, SIXTEENTH = 120, BARS_MAX = 20, CHORDS_MAX = 2 * BARS_MAX, NOTES_MAX = 4096 };
enum { MELODY, SECOND, CHORDS, BASS, PAD, DRUMS, PARTS };

/* ---- random numbers: splitmix64 (Steele et al. 2014) ---- */

typedef struct rng { uint64_t s; } rng;

static uint64_t next(rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static rng fork_rng(uint64_t seed, uint64_t piece, uint64_t what)
{
    rng r = {seed};
    r.s = next(&r) ^ piece;
    r.s = next(&r) ^ what;
    next(&r);
    return r;
}

static int below(rng *r, int n) { return (int)(next(r) >> 33) % n; }
static double uniform(rng *r) { return (double)(next(r) >> 11) * 0x1p-53; }
static int chance(rng *r, double p) { return uniform(r) < p; }
static double spread(rng *r) { return uniform(r) + uniform(r) + uniform(r) - 1.5; } /* about normal, deviation 0.5 */

/* ---- what can be played ---- */

typedef struct instrument { int program; const char *name; int low, high; } instrument;

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

/* The band: which of these a seed's pieces are played on. Small enough that every instrument is heard in several
 * pieces. */
typedef struct band { const instrument *melody[4], *chords[3], *bass[2], *pad[2]; } band;

static void hire(rng *r, const instrument *table, int n, const instrument **to, int wanted)
{
    for (int i = 0; i < n && wanted > 0; i++)
        if (below(r, n - i) < wanted) to[--wanted] = &table[i];
}
#define HIRE(r, table, to) hire(r, table, (int)(sizeof(table) / sizeof *(table)), to, (int)(sizeof(to) / sizeof *(to)))
#define PICK(r, players) ((players)[below(r, (int)(sizeof(players) / sizeof *(players)))])

enum { MAJ, MIN, DIM, DOM7, MAJ7, MIN7 };
static const struct { const char *name; int n, steps[4]; } qualities[] = {
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

static const char *const key_names[2][12] = {{"C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"},
                                             {"C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"}};
static const char *const mode_names[2] = {"major", "minor"};

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

typedef struct note { int start, length, pitch, velocity; } note; /* ticks */
typedef struct chord { int start, length, root, quality; } chord;

typedef struct part {
    const instrument *instrument; /* NULL: this piece does without */
    int volume, pan;
    note notes[NOTES_MAX];
    int n;
} part;

typedef struct piece {
    int number, tonic, mode, tempo, beats, bars;
    uint64_t seed;
    char name[64], form[8];
    const char *container;
    int rate, channels;
    chord chords[CHORDS_MAX];
    int nchords, bar_chord[BARS_MAX + 1]; /* first chord of each bar */
    part parts[PARTS];
    int comping, bassing, groove;
    double swing, seconds;
    rng human;
} piece;

static int bar_ticks(const piece *p) { return p->beats * QUARTER; }
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

static void compose(piece *p, int key, const band *b)
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

/* ---- standard MIDI files ---- */

typedef struct event { int tick, order; unsigned char bytes[3]; int size; } event;
typedef struct track { unsigned char *data; size_t n, size; int tick; } track;

static void die(const char *what) { fprintf(stderr, "score: %s: %s\n", what, strerror(errno)); exit(1); }

static void put(track *t, int byte)
{
    if (t->n == t->size) {
        t->size = t->size ? 2 * t->size : 4096;
        t->data = realloc(t->data, t->size);
        if (!t->data) die("memory");
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

static void write_track(FILE *f, track *t, int end)
{
    put_meta(t, end, 0x2f, "", 0);
    unsigned char head[8] = {'M', 'T', 'r', 'k', (unsigned char)(t->n >> 24), (unsigned char)(t->n >> 16),
                             (unsigned char)(t->n >> 8), (unsigned char)t->n};
    fwrite(head, 1, 8, f);
    fwrite(t->data, 1, t->n, f);
    free(t->data);
    *t = (track){0};
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
    if (!e && p->n) die("memory");
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

static void write_midi(const piece *p, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f) die(path);
    int tracks = 1, end = p->bars * bar_ticks(p) + p->tempo * QUARTER / 60; /* one second to die away */
    for (int i = 0; i < PARTS; i++) tracks += p->parts[i].instrument != NULL;
    unsigned char head[14] = {'M',          'T',          'h', 'd', 0, 0, 0, 6, 0, 1, 0, (unsigned char)tracks,
                              QUARTER >> 8, QUARTER & 255};
    fwrite(head, 1, sizeof head, f);

    track t = {0};
    int us = 60000000 / p->tempo, fifths = ((p->tonic + 3 * p->mode) * 7 + 6) % 12 - 6; /* Gb .. F: -6 .. 5 */
    put_meta(&t, 0, 0x03, p->name, strlen(p->name));
    put_meta(&t, 0, 0x51, (unsigned char[]){(unsigned char)(us >> 16), (unsigned char)(us >> 8), (unsigned char)us}, 3);
    put_meta(&t, 0, 0x58, (unsigned char[]){(unsigned char)p->beats, 2, 24, 8}, 4);
    put_meta(&t, 0, 0x59, (unsigned char[]){(unsigned char)fifths, (unsigned char)p->mode}, 2);
    write_track(f, &t, end);
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
        write_track(f, &t, end);
    }
    if (ferror(f) | fclose(f)) die(path);
}

/* ---- tables ---- */

static void write_chords(const piece *p, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) die(path);
    double tick = 60.0 / p->tempo / QUARTER;
    fputs("start\tend\tchord\troot\tquality\tpitch_classes\n", f);
    for (int i = 0; i < p->nchords; i++) {
        const chord *c = &p->chords[i];
        const char *root = key_names[p->mode][c->root], *quality = qualities[c->quality].name;
        fprintf(f, "%.3f\t%.3f\t%s%s\t%d\t%s\t", c->start * tick, (c->start + c->length) * tick, root, quality, c->root,
                *quality ? quality : "maj");
        for (int k = 0; k < qualities[c->quality].n; k++)
            fprintf(f, "%s%d", k ? "," : "", (c->root + qualities[c->quality].steps[k]) % 12);
        fputc('\n', f);
    }
    if (ferror(f) | fclose(f)) die(path);
}

static void write_row(FILE *f, const piece *p)
{
    fprintf(f, "%s.%s\t%s\t%s\t%d\t%d/4\t%s\t%.1f\t", p->name, p->container, key_names[p->mode][p->tonic],
            mode_names[p->mode], p->tempo, p->beats, p->form, p->seconds);
    for (int i = 0, some = 0; i < PARTS; i++)
        if (p->parts[i].instrument) fprintf(f, "%s%s", some++ ? ", " : "", p->parts[i].instrument->name);
    fprintf(f, "\t%llu\t%s\t%d\t%d\n", (unsigned long long)p->seed, p->container, p->rate, p->channels);
}

static void name_piece(piece *p)
{
    static const char *const containers[] = {"flac", "mp3", "ogg", "wav"};
    static const int rates[] = {44100, 48000, 22050, 32000, 44100};
    const char *key = key_names[p->mode][p->tonic];
    snprintf(p->name, sizeof p->name, "%02d-%c%s-%s", p->number, key[0] - 'A' + 'a',
             key[1] == 'b' ? "-flat" : key[1] == '#' ? "-sharp" : "", mode_names[p->mode]);
    p->container = containers[p->number % 4];
    p->rate = rates[p->number % 5]; /* 4 and 5 share no factor: every container comes at every rate */
    p->channels = p->number % 3 == 2 ? 1 : 2;
}

static void shuffle_keys(int keys[24], uint64_t seed, int turn)
{
    rng r = fork_rng(seed, (uint64_t)turn, 2);
    for (int i = 0; i < 24; i++) keys[i] = i;
    for (int i = 23; i > 0; i--) {
        int j = below(&r, i + 1), k = keys[i];
        keys[i] = keys[j], keys[j] = k;
    }
}

static void make_directory(const char *path)
{
    if (mkdir(path, 0777) && errno != EEXIST) die(path);
}

static const char *join(char *to, size_t n, const char *dir, const char *a, const char *b, const char *c)
{
    if ((size_t)snprintf(to, n, "%s/%s%s%s", dir, a, b, c) >= n) errno = ENAMETOOLONG, die(dir);
    return to;
}

int main(int argc, char **argv)
{
    static piece p;
    band players;
    const char *out = NULL;
    uint64_t seed = 1;
    double minutes = 10, total = 0;
    char path[4096];
    int keys[24];
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && !strcmp(argv[i], "--seed")) seed = strtoull(value, NULL, 10);
        else if (value && !strcmp(argv[i], "--minutes")) minutes = strtod(value, NULL);
        else if (value && !strcmp(argv[i], "--out")) out = value;
        else out = NULL, i = argc;
    }
    if (!out || !(minutes > 0 && minutes <= 10000)) {
        fputs("usage: score [--seed N] [--minutes M] --out DIR\n", stderr);
        return 2;
    }
    make_directory(out);
    make_directory(join(path, sizeof path, out, "midi", "", ""));
    make_directory(join(path, sizeof path, out, "labels", "", ""));
    FILE *table = fopen(join(path, sizeof path, out, "pieces.tsv", "", ""), "w");
    if (!table) die(path);
    rng r = fork_rng(seed, 0, 3);
    HIRE(&r, melodies, players.melody);
    HIRE(&r, chordals, players.chords);
    HIRE(&r, basses, players.bass);
    HIRE(&r, pads, players.pad);
    fputs("file\tkey\tmode\ttempo\tmeter\tform\tseconds\tinstruments\tseed\tcontainer\trate\tchannels\n", table);
    for (int i = 0; total < 60 * minutes - 12; i++) { /* stops where one piece more would be further away */
        memset(&p, 0, sizeof p);
        p.number = i + 1, p.seed = seed;
        if (i % 24 == 0) shuffle_keys(keys, seed, i / 24);
        compose(&p, keys[i % 24], &players);
        name_piece(&p);
        write_midi(&p, join(path, sizeof path, out, "midi/", p.name, ".mid"));
        write_chords(&p, join(path, sizeof path, out, "labels/", p.name, ".chords.tsv"));
        write_row(table, &p);
        total += p.seconds;
    }
    if (ferror(table) | fclose(table)) die("pieces.tsv");
    return 0;
}
