/* Music of several voices, composed from a seed. It is made so that there is something to learn in it: sections
 * (A A B A) that come again, a functional progression with cadences under a melody that follows the chords, one of 24
 * keys, a few instruments out of many.
 *
 *     band players = hire_band(seed);
 *     piece p = {.seed = seed, .number = 1};
 *     compose(&p, key, &players);            // key: 0 to 11 major, 12 to 23 minor, from C upwards */
#ifndef DEMO_COMPOSE_H
#define DEMO_COMPOSE_H

#include <stdint.h>

enum { QUARTER = 480, EIGHTH = 240, SIXTEENTH = 120, BARS_MAX = 20, CHORDS_MAX = 2 * BARS_MAX, NOTES_MAX = 4096 };
enum { MELODY, SECOND, CHORDS, BASS, PAD, DRUMS, PARTS };

typedef struct rng { uint64_t s; } rng; /* splitmix64 */

typedef struct instrument { int program; const char *name; int low, high; } instrument; /* General MIDI; its range */
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

/* The band: which of these a seed's pieces are played on. Small enough that every instrument is heard in several
 * pieces. */
typedef struct band { const instrument *melody[4], *chords[3], *bass[2], *pad[2]; } band;

typedef struct quality { const char *name; int n, steps[4]; } quality; /* "" is major; semitones over the root */
extern const quality qualities[];                                       /* of chords, by chord.quality */
extern const char *const key_names[2][12], *const mode_names[2];        /* by piece.mode and pitch class */

band hire_band(uint64_t seed);
/* The keys of pieces 24 * turn + 1 and on: each of the 24 once. */
void shuffle_keys(int keys[24], uint64_t seed, int turn);
/* Fills a piece of which number and seed are set, and all else is zero; name, container, rate and channels stay. */
void compose(piece *p, int key, const band *b);

static inline int bar_ticks(const piece *p) { return p->beats * QUARTER; }

#endif
