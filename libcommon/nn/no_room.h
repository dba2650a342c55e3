/* The error message for a device that has no memory left. */
#ifndef MERT_NO_ROOM_H
#define MERT_NO_ROOM_H

#include "libcommon/nn/ops.h"

/* If e is "out of memory ..." of a backend with memory of its own: adds the device, the size of its memory, and way_on,
 * which tells the user what takes less memory. Any other error stays as it is. */
void mert_ops_no_room(const mert_ops *o, const char *way_on, mert_error *e);

#endif
