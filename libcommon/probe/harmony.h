/* Names of keys and of chords.
 *
 * A key is a tonic and a mode: "C major", "c minor", "F# min", "Bb:maj", "A:min". A chord is written as in Harte's
 * syntax (C. Harte et al., Symbolic representation of musical chords, ISMIR 2005): "N" (no chord), "X" (not known),
 * "C", "A:min7/b3", "Eb:maj(9)", "G:(1,b3,5)". Capital or small letters in the name of a key's tonic mean the same. */
#ifndef MERT_PROBE_HARMONY_H
#define MERT_PROBE_HARMONY_H

/* The tonic (0: C ... 11: B), plus 12 in minor; -1: the name is not a key's. */
int mert_key_parse(const char *name);
/* The score of an answer, as in MIREX: 1 for the same key; 0.5 for a fifth above it, in the same mode; 0.3 for the
 * relative key; 0.2 for the parallel key (the same tonic); otherwise 0. */
double mert_key_score(int truth, int answer);

typedef enum mert_chord_rule {
    MERT_CHORDS_AS_WRITTEN,
    /* The root, and maj or min if the chord's third is major or minor and its fifth is perfect. */
    MERT_CHORDS_MAJMIN,
    /* The root, and maj or min by the third alone: dim is min, aug is maj. */
    MERT_CHORDS_THIRDS
} mert_chord_rule;

enum { MERT_CHORD_MAX = 8 };
/* Reduces a chord to "C:maj", "C#:min" (roots: C C# D D# E F F# G G# A A# B) or "N"; the bass does not count.
 * 1: the rule has no name for it (X, a chord without a third ...); -1: not a chord. */
int mert_chord_reduce(const char *label, mert_chord_rule rule, char to[MERT_CHORD_MAX]);

#endif
