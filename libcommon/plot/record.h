/* A picture of a record of a stream, made while its frames arrive, in bounded memory. Its contents depend on the
 * record's kind and on its provenance: frequencies and units of a spectrum are known if mert-cqt or mert-mel made it.
 *
 *     mert_view *v = mert_view_begin(&options, record, provenance, e);   // NULL: no such picture of this record
 *     mert_view_frames(v, data, n, e); ...
 *     mert_view_end(v, panel, e);
 *     mert_view_free(v);
 *
 *     pcm      waveform: the smallest and the largest sample of each column (channels: their mean)
 *     cqt      decibels below the largest value, 80 of them; the largest value of a column
 *     mel      the same, of power
 *     chroma   unchanged, with names of notes
 *     mfcc     each coefficient minus its mean, divided by its deviation, over the part that is shown
 *     codes    a colour for each class, a row for each codebook; the first label of a column
 *     hidden   layers, or with one layer similarity
 *
 * similarity: the cosine between the states of two times, after the mean over time is subtracted. layers: 1 minus the
 * cosine between a layer's state and its mean over time. Both are computed from at most a few hundred means over equal
 * spans of time. */
#ifndef MERT_PLOT_RECORD_H
#define MERT_PLOT_RECORD_H

#include "formats/stream/mts.h"
#include "libcommon/plot/figure.h"
#include "libcommon/tensor/statistics.h"

typedef enum mert_view_kind {
    MERT_VIEW_AUTO,
    MERT_VIEW_WAVEFORM,
    MERT_VIEW_MATRIX,     /* all values of a time step; of hidden states, those of one layer */
    MERT_VIEW_CODES,
    MERT_VIEW_CLASSES,    /* use of classes of one record; of all records together: mert_class_panel */
    MERT_VIEW_SIMILARITY,
    MERT_VIEW_LAYERS
} mert_view_kind;

typedef struct mert_view_options {
    mert_view_kind kind;
    int layer;       /* index in the stream, from 0; -1: the last layer */
    double from, to; /* seconds */
    int ranged;      /* low and high are given; otherwise they follow from the values */
    double low, high;
} mert_view_options;

typedef struct mert_view mert_view;

mert_view *mert_view_begin(const mert_view_options *o, const mts_record *r, const char *provenance, mert_error *e);
int mert_view_frames(mert_view *v, const void *data, int64_t n, mert_error *e) MERT_MUST_USE;
/* Fills an empty panel; the figure then owns its memory. */
int mert_view_end(mert_view *v, mert_panel *to, mert_error *e) MERT_MUST_USE;
void mert_view_free(mert_view *v);

/* How often the classes of each codebook occur, the most frequent first. The names of the lines have the number of
 * classes that occur, and the entropy. */
int mert_class_panel(const mert_code_counts *c, mert_panel *to, mert_error *e) MERT_MUST_USE;

#endif
