/* Random access to the members of an uncompressed tar file (POSIX ustar and pax, GNU tar), by an index beside it
 * (formats/index.h): TAR.index, kind "tar". A member is named TAR:MEMBER ("shards/00.tar:dir/a.flac"), as in
 * manifests and messages; MEMBER as the tar file has it. If a name is there more than once, the last one counts, as for
 * tar. Sections of the index:
 *
 *     0   mert_tar_member for each member that is a regular file or a link, by hash, those of equal hash in the file's
 *         order
 *     1   their names, each with a NUL
 *
 * Refused, with the position of the header: a wrong checksum, a size that is no number or goes beyond the file, a name
 * or an extended header that does not end, sparse members, continued volumes, a file that ends without the two zero
 * blocks (it is cut off), a header behind the first zero block (a header in front of it is lost), compressed tar files.
 * Links are in the index, so that they can be named; they are not followed. */
#ifndef MERT_TAR_H
#define MERT_TAR_H

#include "formats/index.h"

#include <stddef.h>
#include <stdint.h>

enum { MERT_TAR_NAME_MAX = 4096 }; /* bytes of a member's name, with its NUL */

typedef struct mert_tar_member {
    uint64_t hash;        /* XXH64 of the name */
    int64_t offset, size; /* of its bytes in the tar file; both 0: a link */
    int64_t name;         /* where its name begins in the names */
} mert_tar_member;

typedef struct mert_tar {
    mert_index index;
    const mert_tar_member *members; /* [n] */
    int64_t n;
    const char *names;
} mert_tar;

/* Opens the index of a tar file, or makes it by reading all headers. */
int mert_tar_open(mert_tar *t, const char *path, mert_index_keeping keeping, mert_error *e) MERT_MUST_USE;
void mert_tar_close(mert_tar *t); /* a zeroed one is fine */

/* NULL: there is no such member. */
const mert_tar_member *mert_tar_find(const mert_tar *t, const char *name);
static inline const char *mert_tar_name(const mert_tar *t, const mert_tar_member *m)
{
    return t->names + m->name;
}

/* The MEMBER in a path "FILE.tar:MEMBER" of which FILE.tar is a regular file; NULL: it is none, or there is a file of
 * the whole name. The tar file's name is the part before the colon. */
const char *mert_tar_member_of(const char *path);

#endif
