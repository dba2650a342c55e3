/* Tar files: members are found, and every malformed header is refused in a line. tests/cli/train_in_place.sh reads
 * those that tar(1) writes. */
#include "formats/file.h"
#include "formats/tar.h"
#include "tests/test.h"

#include <unistd.h>

static mert_error e;
static unsigned char file[1 << 20];
static size_t end;

static void finish_header(unsigned char *h)
{
    unsigned sum = 0;
    memset(h + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += h[i];
    snprintf((char *)h + 148, 8, "%06o", sum);
}

/* Appends a header, and `size` bytes of contents if there are any. */
static unsigned char *add(const char *name, char type, const void *contents, size_t size)
{
    unsigned char *h = file + end;
    memset(h, 0, 512);
    memcpy(h, name, strlen(name) < 100 ? strlen(name) : 100);
    snprintf((char *)h + 124, 12, "%011o", (unsigned)size);
    h[156] = (unsigned char)type;
    memcpy(h + 257, "ustar\00000", 8);
    finish_header(h);
    end += 512;
    if (contents) {
        memset(file + end, 0, (size + 511) / 512 * 512);
        memcpy(file + end, contents, size);
        end += (size + 511) / 512 * 512;
    }
    return h;
}

static int open_it(mert_tar *t)
{
    const char *path = test_tmp("x.tar");
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(file, 1, end, f) != end || fclose(f))
        abort();
    return mert_tar_open(t, path, MERT_INDEX_KEEP, &e);
}

static void finish(void)
{
    memset(file + end, 0, 1024);
    end += 1024;
}

static int refused(const char *why)
{
    mert_tar t;
    finish();
    return open_it(&t) && test_says(e.text, "x.tar: no sound tar file: ") && test_says(e.text, why);
}

static int has(const mert_tar *t, const char *name, const char *contents)
{
    const mert_tar_member *m = mert_tar_find(t, name);
    return m && m->size == (int64_t)strlen(contents) && !memcmp(file + m->offset, contents, strlen(contents));
}

TEST(members_are_found)
{
    mert_tar t;
    char pax[600], name[200], path[256];
    unsigned char *h;
    memset(name, 'n', 150);
    name[150] = 0;
    end = 0;
    add("folder/", '5', NULL, 0);
    add("folder/a", '0', "first", 5);
    add("old", 0, "type NUL", 8);
    add("link", '2', NULL, 7); /* its size says nothing */
    snprintf(pax, sizeof pax, "%d path=%s\n", 10 + 150, name);
    add("pax", 'g', "16 comment=what\n", 16);
    add("pax", 'x', pax, strlen(pax));
    add("short", '0', "long", 4);
    name[0] = 'g';
    add("././@LongLink", 'L', name, 151);
    add("short", '0', "gnu", 3);
    h = add("tail", '0', "prefixed", 8);
    memcpy(h + 345, "front/of", 8);
    finish_header(h);
    h = add("binary", '0', "256", 3);
    memset(h + 124, 0, 12);
    h[124] = 0x80;
    h[135] = 3;
    finish_header(h);
    add("folder/a", '0', "again: this one counts", 22);
    add("empty", '0', "", 0);
    finish();
    memset(file + end, 0xff, 100); /* behind the end: not read */
    end += 100;
    CHECK(!open_it(&t) && t.n == 9);
    CHECK(has(&t, "old", "type NUL") && has(&t, name, "gnu") && has(&t, "front/of/tail", "prefixed"));
    name[0] = 'n';
    CHECK(has(&t, name, "long") && has(&t, "binary", "256") && has(&t, "empty", ""));
    CHECK(has(&t, "folder/a", "again: this one counts"));
    CHECK(!mert_tar_find(&t, "short") && !mert_tar_find(&t, "folder/"));
    CHECK(mert_tar_find(&t, "link") && !mert_tar_find(&t, "link")->offset); /* found, so that it can be named */
    mert_tar_close(&t);
    snprintf(path, sizeof path, "%s:folder/a", test_tmp("x.tar"));
    CHECK(mert_tar_member_of(path) && !strcmp(mert_tar_member_of(path), "folder/a"));
    CHECK(!mert_tar_member_of("nowhere.tar:a") && !mert_tar_member_of(test_tmp("x.tar")));
}

TEST(an_index_stands_beside_it_and_is_made_again_for_another_file)
{
    enum { MEMBERS = 100 };
    mert_tar t;
    char name[32], text[32], index[256];
    snprintf(index, sizeof index, "%s.index", test_tmp("x.tar"));
    for (int turn = 0; turn < 3; turn++) {
        end = 0;
        for (int i = 0; i < MEMBERS; i++) {
            snprintf(name, sizeof name, "%d", i);
            snprintf(text, sizeof text, "%d of turn %d", i, turn);
            add(name, '0', text, strlen(text));
        }
        finish();
        snprintf(text, sizeof text, "77 of turn %d", turn);
        CHECK(!open_it(&t) && t.n == MEMBERS && has(&t, "77", text));
        mert_tar_close(&t);
        CHECK(!access(index, F_OK));
        CHECK(!mert_tar_open(&t, test_tmp("x.tar"), MERT_INDEX_FORGET, &e) && t.index.mapping.data && !t.index.made);
        mert_tar_close(&t);
    }
    unlink(index);
}

TEST(every_malformed_header_is_refused)
{
    mert_tar t;
    unsigned char *h;
    end = 0;
    add("a", '0', "x", 1)[0] = 'b';
    CHECK(refused("the header at byte 0 has a wrong checksum"));
    end = 0;
    add("a", '0', "x", 1);
    memset(file + end, 'z', 512);
    end += 512;
    CHECK(refused("the header at byte 1024 has a wrong checksum"));
    end = 0;
    add("a", '0', NULL, 5000);
    CHECK(refused("promises more bytes than the file has"));
    end = 0;
    h = add("a", '0', "x", 1);
    memcpy(h + 124, "9z", 3);
    finish_header(h);
    CHECK(refused("has a size that is no number"));
    end = 0;
    h = add("a", '0', "x", 1);
    memset(h + 124, 0xff, 12); /* a negative binary size */
    finish_header(h);
    CHECK(refused("has a size that is no number"));
    end = 0;
    add("", '0', "x", 1);
    CHECK(refused("has no name"));
    end = 0;
    add("a", 'S', "x", 1);
    CHECK(refused("sparse"));
    end = 0;
    add("pax", 'x', "22 GNU.sparse.major=1\n", 22);
    CHECK(refused("sparse"));
    end = 0;
    add("pax", 'x', "99 path=a\n", 10);
    CHECK(refused("is a pax one with a damaged entry"));
    end = 0;
    add("pax", 'x', "10 pathaa\n", 10);
    CHECK(refused("is a pax one with a damaged entry"));
    end = 0;
    add("pax", 'x', "11 size=1x\n", 11);
    CHECK(refused("has a size that is no number"));
    end = 0;
    add("pax", 'x', "10 path=a\n", 10);
    CHECK(refused("an extended one stands in front"));
    end = 0;
    add("././@LongLink", 'L', "a\0b", 4);
    CHECK(refused("is a long name with something behind it"));
    end = 0;
    add("././@LongLink", 'L', "", 0);
    CHECK(refused("is an extended one without contents"));
    end = 0;
    add("a", '0', "x", 1);
    CHECK(open_it(&t) && test_says(e.text, "ends at byte 1024 without the blocks that end one"));
    end = 700;
    CHECK(open_it(&t) && test_says(e.text, "ends at byte 700 without the blocks that end one"));
    end = 0;
    CHECK(open_it(&t));
    end = 0;
    h = add("a", '0', "x", 1);
    add("b", '0', "y", 1);
    memset(h + 1024, 0, 512); /* zeros in place of a header */
    add("c", '0', "z", 1);
    CHECK(refused("ends at byte 1024, but there is a member at byte 2048"));
    end = 0;
    add("a", '0', "x", 1);
    finish();
    add("b", '0', "y", 1); /* two tar files, one behind the other */
    CHECK(refused("ends at byte 1024, but there is a member at byte 2048"));
}

int main(void)
{
    RUN(members_are_found);
    RUN(an_index_stands_beside_it_and_is_made_again_for_another_file);
    RUN(every_malformed_header_is_refused);
    return test_done();
}
