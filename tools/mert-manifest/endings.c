#include "tools/mert-manifest/endings.h"

#include "formats/array.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const endings_known =
    "3g2,3ga,3gp,aa,aac,aax,ac3,adts,aif,aifc,aiff,alac,amr,ape,asf,ast,au,avi,awb,bw64,bwf,caf,dff,dsf,dts,dtshd,eac3,"
    "ec3,f4a,f4v,flac,flv,gsm,ircam,latm,m2ts,m4a,m4b,m4r,m4v,mka,mkv,mlp,mov,mp+,mp1,mp2,mp3,mp4,mpa,mpc,mpeg,mpg,"
    "mpga,mpp,mxf,nut,oga,ogg,ogv,ogx,oma,opus,qt,ra,rf64,rifx,rm,rmvb,sf,shn,snd,sox,spx,tak,thd,truehd,ts,tta,vob,"
    "voc,vqf,w64,wav,wave,weba,webm,wma,wmv,wtv,wv,xa";

enum { SHOWN = 12, ENDING_MAX = 16 };

typedef struct ending {
    char name[ENDING_MAX]; /* "": no ending */
    int64_t files;
} ending;

static ending *passed;
static size_t n_passed;

static int count_passed(const char *name)
{
    ending e = {"", 1}, *more;
    for (size_t i = 0; name[i]; i++) {
        if (i == ENDING_MAX - 1 || !isgraph((unsigned char)name[i])) { /* a dot in the name, but not an ending */
            e.name[0] = 0;
            break;
        }
        e.name[i] = (char)tolower((unsigned char)name[i]);
    }
    for (size_t i = 0; i < n_passed; i++)
        if (!strcmp(passed[i].name, e.name)) {
            passed[i].files++;
            return 0;
        }
    if (!(more = mert_array_resize(passed, (int64_t)n_passed + 1, sizeof *passed)))
        return -1;
    passed = more;
    passed[n_passed++] = e;
    return 0;
}

int endings_want(const char *list, const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *own = dot && dot > name ? dot + 1 : "";
    size_t n = strlen(own);
    for (const char *p = list; n && *p; p += strspn(p, ", ")) {
        size_t length = strcspn(p, ", ");
        const char *one = *p == '.' ? p + 1 : p;
        if (n == length - (size_t)(one - p) && !strncasecmp(own, one, n))
            return 1;
        p += length;
    }
    return count_passed(own);
}

static int most_first(const void *x, const void *y)
{
    const ending *a = x, *b = y;
    return a->files != b->files ? (a->files < b->files ? 1 : -1) : strcmp(a->name, b->name);
}

const char *endings_passed_over(void)
{
    static char line[(SHOWN + 2) * (ENDING_MAX + 32)];
    int64_t others = 0;
    size_t at;
    if (!n_passed)
        return NULL;
    qsort(passed, n_passed, sizeof *passed, most_first);
    at = (size_t)snprintf(line, sizeof line, "passed over:");
    for (size_t i = 0; i < n_passed; i++) {
        if (i >= SHOWN)
            others += passed[i].files;
        else
            at += (size_t)snprintf(line + at, sizeof line - at, "%s %" PRId64 " %s", i ? "," : "", passed[i].files,
                                   *passed[i].name ? passed[i].name : "without an ending");
    }
    if (others)
        snprintf(line + at, sizeof line - at, ", %" PRId64 " of other endings", others);
    return line;
}
