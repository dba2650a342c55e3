#include "formats/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void mert_error_set(mert_error *e, const char *format, ...)
{
    va_list ap;
    if (e) {
        va_start(ap, format);
        vsnprintf(e->text, sizeof e->text, format, ap);
        va_end(ap);
    }
}

void mert_error_set_in(mert_error *e, const char *format, ...)
{
    va_list ap;
    char where[sizeof e->text], all[2 * sizeof e->text + 4];
    if (e) {
        va_start(ap, format);
        vsnprintf(where, sizeof where, format, ap);
        va_end(ap);
        snprintf(all, sizeof all, "%s: %s", where, e->text);
        all[sizeof e->text - 1] = 0;
        memcpy(e->text, all, sizeof e->text);
    }
}
