/* Initial weights for the extractor's first layer (recipe: extractor_init = sinusoids): instead of random kernels,
 * windowed sinusoids at frequencies that are evenly spaced in pitch, in triples of one frequency and phases a third of
 * a period apart. The rectified outputs of a triple add up to the magnitude at that frequency, within 7 % for any
 * phase. So the layer begins as a filter bank, and is trained from there. Large models with much music learn such
 * filters from random ones; small ones with little music do not.
 *
 * With n triples, sample rate sr and kernel k, triple i has
 *
 *     f_i = low * (high / low)^(i / (n - 1)),  low = max(40 Hz, 1.5 sr / k),  high = 0.4 sr
 *     h_ij[t] = hann(t; l_i) * cos(2 pi (f_i (t - k/2) / sr + j/3)),  j = 0, 1, 2
 *     l_i = min(k, 16 sr / f_i) samples around k/2
 *
 * each with sum h^2 = 2, like random ones. Channels that do not fill a triple stay random. */
#ifndef MERT_SINUSOIDS_H
#define MERT_SINUSOIDS_H

#include "libcommon/models/weights/weights.h"

/* Overwrites feature_extractor.conv_layers.0.0.weight. A kernel below 32 samples is an error. */
int mert_filters_sinusoids(mert_weights *w, mert_error *e) MERT_MUST_USE;

#endif
