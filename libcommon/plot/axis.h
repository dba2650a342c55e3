/* Axes: a range of positions, and ticks with their texts. On an axis of bins, bin i covers the positions from i to i +
 * 1; its centre is i + 1/2. */
#ifndef MERT_AXIS_H
#define MERT_AXIS_H

enum { MERT_TICKS_MAX = 32 };

typedef struct mert_tick {
    double at;
    char text[40];
} mert_tick;

typedef struct mert_axis {
    double low, high;
    int nticks;
    mert_tick ticks[MERT_TICKS_MAX];
    char label[48];
} mert_axis;

/* The smallest of 1, 2 and 5 times a power of ten with at most `most` steps in span > 0. */
double mert_axis_step(double span, int most);

/* Each of these functions sets all of the axis. `most`: the number of ticks for which there is room, approximately. */
void mert_axis_linear(mert_axis *a, double low, double high, int most, const char *label);
/* Time: whole seconds, minutes, hours; "1:30" from one minute on. */
void mert_axis_seconds(mert_axis *a, double low, double high, int most);
/* Bins whose centres are fmin 2^(i / per_octave) Hz. */
void mert_axis_octaves(mert_axis *a, double fmin, double per_octave, int bins, int most);
/* The same, with ticks at the notes C; "C4" is 261.6 Hz. */
void mert_axis_notes(mert_axis *a, double fmin, double per_octave, int bins, int most);
/* Bins whose centres are evenly spaced on the mel scale 2595 log10(1 + f / 700) between two frequencies, which are not
 * centres (triangular filters). */
void mert_axis_mel(mert_axis *a, double fmin, double fmax, int bins, int most);
/* Pitch classes; class 0 is that of the frequency fmin. */
void mert_axis_classes(mert_axis *a, double fmin, int classes, int most);
/* Bins by number. */
void mert_axis_bins(mert_axis *a, int bins, int most, const char *label);
/* A range of values, in powers of ten: positions are log10. */
void mert_axis_decades(mert_axis *a, double low, double high, int most, const char *label);

#endif
