/* The layers in records of features. */
#ifndef MERT_PROBE_LAYERS_H
#define MERT_PROBE_LAYERS_H

#include "libcommon/teachers/features.h"

typedef char mert_layer_name[MTS_KIND_MAX];

/* The number of layers: hidden [T, layers, D] has several, other features have one. */
int64_t mert_layers_count(const mts_record *r);
/* Their names, in order: those of the provenance of mert-encode ("layers=0,6,12"), otherwise 0, 1, 2 ...; the kind of
 * features that are not hidden. To be freed; NULL: out of memory. */
mert_layer_name *mert_layers_names(const mert_features *f, const mts_record *r);

#endif
