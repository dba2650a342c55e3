#define _GNU_SOURCE
#include "libcommon/plot/axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double c0 = 16.351597831287414; /* Hz: A4 = 440 Hz, 57 semitones below */
static const char *const names[12] = {"C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"};

static void begin(mert_axis *a, double low, double high, const char *label)
{
    memset(a, 0, sizeof *a);
    a->low = low;
    a->high = high > low ? high : low + 1;
    snprintf(a->label, sizeof a->label, "%s", label);
}

static mert_tick *add(mert_axis *a, double at)
{
    mert_tick *t = a->nticks < MERT_TICKS_MAX ? &a->ticks[a->nticks] : NULL;
    if (!t || at < a->low - 1e-9 * (a->high - a->low) || at > a->high + 1e-9 * (a->high - a->low))
        return NULL;
    a->nticks++;
    t->at = at;
    return t;
}

double mert_axis_step(double span, int most)
{
    const double least = span / (most > 0 ? most : 1), ten = pow(10, floor(log10(least)));
    const double times[] = {1, 2, 5};
    for (int i = 0; i < 3; i++)
        if (times[i] * ten >= least * (1 - 1e-9))
            return times[i] * ten;
    return 10 * ten;
}

/* "0.25": with no more digits than `step` needs. */
static void number(char text[40], double x, double step)
{
    const int digits = (int)fmax(0, -floor(log10(step) + 1e-9));
    if (fabs(x) < step * 1e-6)
        x = 0;
    if (fabs(x) >= 1e6 || digits > 6)
        snprintf(text, 40, "%.3g", x);
    else
        snprintf(text, 40, "%.*f", digits, x);
}

void mert_axis_linear(mert_axis *a, double low, double high, int most, const char *label)
{
    begin(a, low, high, label);
    const double step = mert_axis_step(a->high - a->low, most);
    for (double k = ceil(a->low / step - 1e-9); k * step <= a->high + 1e-9 * step && a->nticks < MERT_TICKS_MAX; k++) {
        mert_tick *t = add(a, k * step);
        if (t)
            number(t->text, k * step, step);
    }
}

/* Steps of more than a second are units of time: 10 s, 1 min, 1 h ... */
void mert_axis_seconds(mert_axis *a, double low, double high, int most)
{
    static const double steps[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000, 86400};
    double step;
    begin(a, low, high, "");
    step = mert_axis_step(a->high - a->low, most);
    for (int i = (int)(sizeof steps / sizeof *steps) - 1; i >= 0 && step > 0.6; i--)
        if ((a->high - a->low) / steps[i] <= most)
            step = steps[i];
    snprintf(a->label, sizeof a->label, "%s", a->high < 60 ? "s" : a->high < 3600 ? "min:s" : "h:min:s");
    for (double k = ceil(a->low / step - 1e-9); k * step <= a->high + 1e-9 * step && a->nticks < MERT_TICKS_MAX; k++) {
        mert_tick *t = add(a, k * step);
        const double x = k * step;
        const long long whole = (long long)floor(x + 1e-9);
        char rest[40] = ""; /* the fraction of the seconds */
        if (!t)
            continue;
        if (step < 1)
            number(rest, x - (double)whole, step);
        if (a->high < 60)
            number(t->text, x, step);
        else if (a->high < 3600)
            snprintf(t->text, sizeof t->text, "%lld:%02lld%.12s", whole / 60, whole % 60, *rest ? rest + 1 : "");
        else
            snprintf(t->text, sizeof t->text, "%lld:%02lld:%02lld%.8s", whole / 3600, whole / 60 % 60, whole % 60,
                     *rest ? rest + 1 : "");
    }
}

/* ---- frequencies ---- */

typedef struct bins_of {
    double fmin, per_octave; /* bins by octave; per_octave 0: by mel, up to fmax */
    double fmax;
    int bins;
} bins_of;

static double mel(double f)
{
    return 2595 * log10(1 + f / 700);
}

static double place(const bins_of *b, double f) /* the position of the centre of the bin with this frequency */
{
    if (b->per_octave > 0)
        return b->per_octave * log2(f / b->fmin) + 0.5;
    return (mel(f) - mel(b->fmin)) / (mel(b->fmax) - mel(b->fmin)) * (b->bins + 1) - 0.5;
}

/* Ticks at 1, 2 and 5 times powers of ten, if there is room for them. */
static void frequencies(mert_axis *a, const bins_of *b, int most)
{
    const double least = (a->high - a->low) / (most > 0 ? most : 1);
    double last = -INFINITY;
    for (double ten = 1; ten < 1e6; ten *= 10)
        for (int i = 0; i < 3; i++) {
            const double f = ten * (i == 0 ? 1 : i == 1 ? 2 : 5), at = place(b, f);
            mert_tick *t = at - last < least ? NULL : add(a, at);
            if (!t)
                continue;
            last = at;
            snprintf(t->text, sizeof t->text, f < 1000 ? "%.0f" : "%.0fk", f < 1000 ? f : f / 1000);
        }
}

void mert_axis_octaves(mert_axis *a, double fmin, double per_octave, int bins, int most)
{
    begin(a, 0, bins, "Hz");
    frequencies(a, &(bins_of){.fmin = fmin, .per_octave = per_octave, .bins = bins}, most);
}

void mert_axis_mel(mert_axis *a, double fmin, double fmax, int bins, int most)
{
    begin(a, 0, bins, "Hz");
    frequencies(a, &(bins_of){.fmin = fmin, .fmax = fmax, .bins = bins}, most);
}

void mert_axis_notes(mert_axis *a, double fmin, double per_octave, int bins, int most)
{
    const bins_of b = {.fmin = fmin, .per_octave = per_octave, .bins = bins};
    const int every = (int)ceil(bins / per_octave / (most > 0 ? most : 1));
    begin(a, 0, bins, "");
    for (int octave = 0; octave < 12; octave += every > 0 ? every : 1) {
        mert_tick *t = add(a, place(&b, c0 * pow(2, octave)));
        if (t)
            snprintf(t->text, sizeof t->text, "C%d", octave);
    }
}

void mert_axis_classes(mert_axis *a, double fmin, int classes, int most)
{
    const double first = 12 * log2(fmin / c0); /* semitones above C */
    const int by = most >= 12 ? 1 : most >= 6 ? 2 : 3;
    begin(a, 0, classes, "");
    for (int i = 0; i < 12; i += by) {
        double at = fmod((i - first) / 12 * classes, classes);
        mert_tick *t;
        if (at < -0.25)
            at += classes;
        t = add(a, at + 0.5);
        if (t)
            snprintf(t->text, sizeof t->text, "%s", names[i]);
    }
}

void mert_axis_bins(mert_axis *a, int bins, int most, const char *label)
{
    const double step = fmax(1, mert_axis_step(bins, most));
    begin(a, 0, bins, label);
    for (double i = 0; i < bins && a->nticks < MERT_TICKS_MAX; i += step) {
        mert_tick *t = add(a, i + 0.5);
        if (t)
            snprintf(t->text, sizeof t->text, "%.0f", i);
    }
}

void mert_axis_decades(mert_axis *a, double low, double high, int most, const char *label)
{
    begin(a, log10(low), log10(high), label);
    const double step = fmax(1, ceil((a->high - a->low) / (most > 0 ? most : 1)));
    for (double k = ceil(a->low - 1e-9); k <= a->high + 1e-9 && a->nticks < MERT_TICKS_MAX; k += step) {
        mert_tick *t = add(a, k);
        if (t)
            snprintf(t->text, sizeof t->text, "%.3g", pow(10, k));
    }
}
