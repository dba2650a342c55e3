/* A piece as a standard MIDI file of format 1: one track of title, tempo, meter and key, and one for each part. */
#ifndef DEMO_MIDI_H
#define DEMO_MIDI_H

#include "pipelines/demo/compose.h"

/* -1: errno says why. */
int write_midi(const piece *p, const char *path);

#endif
