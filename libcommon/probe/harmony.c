#include "libcommon/probe/harmony.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MINOR = 12 };

/* Reads a letter and its accidentals; *at is after them. -1: there is no letter of a note. */
static int read_root(const char **at, int any_case)
{
    static const int notes[] = {9, 11, 0, 2, 4, 5, 7}; /* A ... G */
    const char *s = *at;
    int root;
    if (*s >= 'A' && *s <= 'G')
        root = notes[*s - 'A'];
    else if (any_case && *s >= 'a' && *s <= 'g')
        root = notes[*s - 'a'];
    else
        return -1;
    for (s++; *s == '#' || *s == 'b'; s++)
        root += *s == '#' ? 1 : 11;
    *at = s;
    return root % 12;
}

int mert_key_parse(const char *name)
{
    static const struct { const char *name; int is; } modes[] = {
        {"major", 0}, {"maj", 0}, {"minor", MINOR}, {"min", MINOR}};
    int tonic = read_root(&name, 1);
    if (tonic < 0 || !*name || !strchr(" :_-", *name))
        return -1;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcasecmp(name + 1, modes[i].name))
            return tonic + modes[i].is;
    return -1;
}

double mert_key_score(int truth, int answer)
{
    int apart = (answer - truth + 24) % 12, minor = truth >= MINOR;
    if (minor == (answer >= MINOR))
        return apart == 0 ? 1 : apart == 7 ? 0.5 : 0;
    return apart == 0 ? 0.2 : apart == (minor ? 3 : 9) ? 0.3 : 0;
}

/* ---- chords ---- */

/* Semitones of the third and the fifth above the root; 0: none. */
typedef struct triad { int third, fifth; } triad;

static const struct { const char *name; triad is; } qualities[] = {
    {"maj", {4, 7}},    {"min", {3, 7}},   {"dim", {3, 6}},   {"aug", {4, 8}},     {"maj7", {4, 7}}, {"min7", {3, 7}},
    {"7", {4, 7}},      {"dim7", {3, 6}},  {"hdim7", {3, 6}}, {"minmaj7", {3, 7}}, {"maj6", {4, 7}}, {"min6", {3, 7}},
    {"6", {4, 7}},      {"9", {4, 7}},     {"maj9", {4, 7}},  {"min9", {3, 7}},    {"b9", {4, 7}},   {"#9", {4, 7}},
    {"11", {4, 7}},     {"maj11", {4, 7}}, {"min11", {3, 7}}, {"#11", {4, 7}},     {"13", {4, 7}},   {"b13", {4, 7}},
    {"maj13", {4, 7}},  {"min13", {3, 7}}, {"aug7", {4, 8}},  {"sus2", {0, 7}},    {"sus4", {0, 7}}, {"5", {0, 7}},
    {"1", {0, 0}}};

/* Reads an interval: accidentals and a number from 1 to 13. Returns the number; *shift: the accidentals. 0: none. */
static int read_degree(const char **at, int *shift)
{
    const char *s = *at;
    char *stop;
    long degree;
    for (*shift = 0; *s == '#' || *s == 'b'; s++)
        *shift += *s == '#' ? 1 : -1;
    if (*s < '1' || *s > '9')
        return 0;
    degree = strtol(s, &stop, 10);
    *at = stop;
    return degree > 13 ? 0 : (int)degree;
}

/* Reads "(1,b3,*5)" and changes the triad by it; -1: not such a list. */
static int read_list(const char **at, triad *t)
{
    const char *s = *at + 1;
    for (;; s++) {
        int left_out, shift, degree;
        s += strspn(s, " ");
        left_out = *s == '*';
        s += left_out;
        if (!(degree = read_degree(&s, &shift)))
            return -1;
        if (degree == 3)
            t->third = left_out ? 0 : 4 + shift;
        else if (degree == 5)
            t->fifth = left_out ? 0 : 7 + shift;
        s += strspn(s, " ");
        if (*s == ')')
            break;
        if (*s != ',')
            return -1;
    }
    *at = s + 1;
    return 0;
}

static int read_quality(const char **at, triad *t)
{
    size_t n = strcspn(*at, "(/");
    if (!n && **at != '(')
        return -1;
    *t = (triad){0, 0};
    if (n) {
        size_t i = 0, all = sizeof qualities / sizeof *qualities;
        while (i < all && (strlen(qualities[i].name) != n || strncmp(qualities[i].name, *at, n)))
            i++;
        if (i == all)
            return -1;
        *t = qualities[i].is;
        *at += n;
    }
    return **at == '(' ? read_list(at, t) : 0;
}

int mert_chord_reduce(const char *label, mert_chord_rule rule, char to[MERT_CHORD_MAX])
{
    static const char *const roots[] = {"C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"};
    triad t = {4, 7};
    int root, shift;
    if (!strcmp(label, "N")) {
        snprintf(to, MERT_CHORD_MAX, "N");
        return 0;
    }
    if (!strcmp(label, "X"))
        return 1;
    root = read_root(&label, 0);
    if (root < 0)
        return -1;
    if (*label == ':') {
        label++;
        if (read_quality(&label, &t))
            return -1;
    }
    if (*label == '/') {
        label++;
        if (!read_degree(&label, &shift))
            return -1;
    }
    if (*label)
        return -1;
    if ((t.third != 3 && t.third != 4) || (rule == MERT_CHORDS_MAJMIN && t.fifth != 7))
        return 1;
    snprintf(to, MERT_CHORD_MAX, "%s:%s", roots[root], t.third == 4 ? "maj" : "min");
    return 0;
}
