/* mert-manifest: a folder of audio in, DIR/train.tsv and DIR/valid.tsv out, as HuBERT has them.
 *
 *     walk ROOT (names sorted bytewise, links followed, loops skipped)
 *       -> count each file's samples at --rate, several files at a time: mert-decode's own count
 *       -> the hash of seed and relative path decides which files are for validation, so new files change nothing
 *       -> with --shards: files without a shard are put into new ones (mert-manifest/shards.c), and the counts
 *          are stored in DIR/files.tsv (mert-manifest/files.c)
 *
 * With --tar, members of tar files are listed, too, as FILE.tar:MEMBER (formats/tar.h).
 *
 * Files that cannot be decoded are named and left out; the manifests are written, and the exit status is 1. Files with
 * other endings are skipped and counted (mert-manifest/endings.c). */
#define _GNU_SOURCE
#include "formats/array.h"
#include "tools/mert-manifest/endings.h"
#include "tools/mert-manifest/scan.h"

#include "formats/file.h"
#include "formats/labels/manifest.h"
#include "formats/stream/mts.h"
#include "formats/tar.h"
#include "libcommon/audio/decode.h"
#include "libcommon/base/pool.h"
#include "libcommon/program/log.h"
#include "libcommon/program/options.h"
#include "libcommon/program/report.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static mert_audio_settings settings = {.rate = 24000, .duration = -1, .stream = -1};
static const char *out_dir;
static const char *extensions; /* NULL: endings_known */
static double valid_percent = 1, shard_hours = 8;
static int64_t seed, shards;
static int from_headers, verify, tars;

static const mert_option options[] = {
    {"out", 'o', MERT_STRING, &out_dir, "DIR", 0, 0, NULL, "folder for train.tsv and valid.tsv"},
    {"ext", 0, MERT_STRING, &extensions, "LIST", 0, 0, NULL,
     "name endings of the files to list, in upper or lower case (default: all audio and video)"},
    {"valid-percent", 0, MERT_DOUBLE, &valid_percent, "P", 0, 100, NULL,
     "percentage of the files that go into valid.tsv"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "seed of the choice of files for valid.tsv"},
    {"rate", 0, MERT_INT, &settings.rate, "HZ", MERT_AUDIO_RATE_MIN, MERT_AUDIO_RATE_MAX, NULL,
     "sample rate at which samples are counted"},
    {"shards", 0, MERT_INT64, &shards, "N", 0, 99999, NULL,
     "divide files that have no shard yet into N new ones, with manifests in DIR/shards; count only new files"},
    {"shard-hours", 0, MERT_DOUBLE, &shard_hours, "H", 0, 1e6, NULL,
     "make more shards, so that each has about H hours at most (0: no limit)"},
    {"salvage", 0, MERT_FLAG, &settings.salvage, NULL, 0, 0, NULL,
     "count the samples before a fault instead of leaving the file out"},
    {"verify", 0, MERT_FLAG, &verify, NULL, 0, 0, NULL,
     "also decode FLAC and WAV files instead of trusting their headers"},
    {"tar", 0, MERT_FLAG, &tars, NULL, 0, 0, NULL,
     "also list the members of uncompressed tar files (*.tar) with these endings, as FILE.tar:MEMBER"},
    {"from-headers", 0, MERT_FLAG, &from_headers, NULL, 0, 0, NULL,
     "take lengths from headers: fast, but for many formats an estimate"},
    {0}};

static const mert_tool tool = {
    "mert-manifest", "list the audio files of a folder as train.tsv and valid.tsv", "[options] --out DIR ROOT",
    "Each row is the path relative to ROOT, a tab, and the number of samples at --rate.", options, NULL};

/* ---- the files below the root ---- */

/* The folders from the root to the current one. */
typedef struct folder {
    const struct folder *above;
    dev_t device;
    ino_t inode;
} folder;

static void out_of_memory(void)
{
    mert_log_error("out of memory");
    exit(1);
}

static int wanted(const char *name)
{
    int want = endings_want(extensions ? extensions : endings_known, name);
    if (want < 0)
        out_of_memory();
    return want;
}

static char *join(const char *dir, const char *name)
{
    char *path = *dir ? mert_path_join(dir, name) : strdup(name);
    if (!path)
        out_of_memory();
    return path;
}

static int64_t nanoseconds(const struct stat *s)
{
    return s->st_mtim.tv_sec * INT64_C(1000000000) + s->st_mtim.tv_nsec;
}

/* full: of the tar file; path: relative to the root. */
static void list_members(scan_list *l, const char *full, const char *path, int64_t mtime)
{
    mert_tar t;
    mert_error e;
    if (mert_tar_open(&t, full, MERT_INDEX_KEEP, &e)) {
        mert_report_failed(path, e.text, 1);
        return;
    }
    for (int64_t i = 0; i < t.n; i++) {
        const char *name = mert_tar_name(&t, &t.members[i]), *base = strrchr(name, '/');
        char *item;
        if (mert_tar_find(&t, name) != &t.members[i] || !wanted(base ? base + 1 : name))
            continue;
        if (asprintf(&item, "%s:%s", path, name) < 0 || scan_add(l, item, t.members[i].size, mtime))
            out_of_memory();
    }
    mert_tar_close(&t);
}

static int is_tar(const char *name)
{
    size_t n = strlen(name);
    return n > 4 && !strcmp(name + n - 4, ".tar");
}

static void walk(scan_list *l, const char *root, const char *relative, const folder *above)
{
    char *dir = join(root, relative);
    struct stat s;
    DIR *d = opendir(dir);
    folder here = {.above = above};
    if (!d || stat(dir, &s)) {
        mert_report_failed(*relative ? relative : root, strerror(errno), 1);
        if (d)
            closedir(d);
        free(dir);
        return;
    }
    here.device = s.st_dev;
    here.inode = s.st_ino;
    for (const folder *f = above; f; f = f->above)
        if (f->device == s.st_dev && f->inode == s.st_ino) {
            closedir(d); /* a link to a parent folder: it is being walked already */
            free(dir);
            return;
        }
    for (struct dirent *entry; (entry = readdir(d)); ) {
        char *path, *full;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        path = join(relative, entry->d_name);
        full = join(dir, entry->d_name);
        /* If stat fails (a dangling link), the count reports the error. */
        int known = stat(full, &s) == 0;
        if (known && S_ISDIR(s.st_mode))
            walk(l, root, path, &here);
        if (tars && known && S_ISREG(s.st_mode) && is_tar(entry->d_name)) {
            list_members(l, full, path, nanoseconds(&s));
            free(path);
        } else if ((!known || S_ISREG(s.st_mode)) && wanted(entry->d_name)) {
            if (scan_add(l, path, known ? s.st_size : 0, known ? nanoseconds(&s) : 0))
                out_of_memory();
        } else {
            free(path);
        }
        free(full);
    }
    closedir(d);
    free(dir);
}

/* ---- counting samples ---- */

enum { BLOCK = 256, SAVE_SECONDS = 60 }; /* BLOCK: files counted at a time; SAVE_SECONDS: between saves */

typedef struct counting {
    mert_audio_count_how how;
    const char *root;
    const scan_file *files[BLOCK];
    int64_t at[BLOCK], samples[BLOCK];
    mert_error why[BLOCK];
} counting;

static void count_one(void *arg, int64_t i, int worker)
{
    counting *c = arg;
    const char *fault = mert_manifest_path_fault(c->files[i]->path);
    char *path;
    (void)worker;
    if (fault) {
        c->samples[i] = mert_fail(&c->why[i], "its name %s", fault);
        return;
    }
    if (!(path = mert_path_join(c->root, c->files[i]->path))) {
        c->samples[i] = mert_fail(&c->why[i], "out of memory");
        return;
    }
    c->samples[i] = mert_audio_count(path, &settings, c->how, &c->why[i]);
    free(path);
}

static int is_valid(const char *path)
{
    uint64_t h = mts_xxh64(path, strlen(path), (uint64_t)seed);
    return (double)(h >> 11) * 0x1p-53 * 100 < valid_percent;
}

/* The first line of DIR/files.tsv: the settings that the counts depend on. */
static const char *count_settings(void)
{
    static char text[96];
    snprintf(text, sizeof text, "# mert-manifest rate=%d count=%s salvage=%d", settings.rate,
             from_headers ? "headers" : verify ? "decode" : "exact", settings.salvage);
    return text;
}

/* Fills a block with the next files that are not counted yet, from *next on; returns their number. */
static int64_t fill_block(counting *c, const scan_list *l, int64_t *next)
{
    int64_t n = 0;
    for (; *next < l->n && n < BLOCK; ++*next)
        if (l->files[*next].samples < 0) {
            c->files[n] = &l->files[*next];
            c->at[n++] = *next;
        }
    return n;
}

/* remembered: the file in which the counts so far are saved from time to time; NULL: none. -1: stopped, for the reason
 * in e. */
static int count_all(scan_list *l, const char *root, const char *remembered, mert_error *e)
{
    counting *c = malloc(sizeof *c);
    time_t saved = time(NULL);
    int64_t unknown = 0;
    int bad = 0;
    if (!c)
        out_of_memory();
    for (int64_t i = 0; i < l->n; i++)
        unknown += l->files[i].samples < 0;
    mert_report_expect(unknown);
    c->how = from_headers ? MERT_COUNT_HEADER : verify ? MERT_COUNT_DECODE : MERT_COUNT_EXACT;
    c->root = root;
    for (int64_t next = 0, n; !bad && (n = fill_block(c, l, &next)) > 0;) {
        mert_pool_run(n, count_one, c);
        for (int64_t i = 0; i < n && !bad; i++) {
            l->files[c->at[i]].samples = c->samples[i];
            if (c->samples[i] >= 0)
                mert_report_item((double)c->samples[i] / settings.rate);
            else if (mert_report_failed(c->files[i]->path, c->why[i].text, 1))
                bad = mert_fail(e, "stopped at the first failure (--fail-fast)");
        }
        if (!bad && remembered && time(NULL) >= saved + SAVE_SECONDS) {
            bad = scan_write(l, 1, remembered, count_settings(), e);
            saved = time(NULL);
        }
    }
    free(c);
    return bad;
}

/* ---- writing ---- */

/* Writes the manifest of one half, unless it has the right contents already: make then sees no newer file. */
static int write_half(const scan_list *l, int half, char *root, mert_error *e)
{
    char name[16], *path;
    mert_manifest m = {.root = root, .rows = mert_array(l->n + 1, sizeof *m.rows)};
    int bad = 0;
    snprintf(name, sizeof name, "%s.tsv", scan_half_name[half]);
    path = join(out_dir, name);
    if (!m.rows)
        out_of_memory();
    for (int64_t i = 0; i < l->n; i++)
        if (l->files[i].samples >= 0 && l->files[i].half == half)
            m.rows[m.n++] = (mert_manifest_row){l->files[i].path, l->files[i].samples};
    if (!mert_manifest_is(&m, path))
        bad = mert_manifest_write(&m, path, e);
    free(m.rows);
    free(path);
    return bad;
}

/* files.tsv is written last: a run that ends before that is repeated from the previous state. */
static int write_all(scan_list *l, char *root, const char *remembered, mert_error *e)
{
    char *dir = join(out_dir, "shards");
    int bad = 0;
    if (shards) {
        scan_assign(l, shards, shard_hours * 3600 * settings.rate);
        bad = scan_write_shards(l, root, dir, e);
    }
    free(dir);
    for (int half = 0; half < SCAN_HALVES; half++)
        bad = bad || write_half(l, half, root, e);
    return bad || (shards && scan_write(l, 0, remembered, count_settings(), e)) ? -1 : 0;
}

static int make_manifests(scan_list *l, char *root, mert_error *e)
{
    scan_list known = {0};
    char *remembered = join(out_dir, "files.tsv");
    int bad;
    walk(l, root, "", NULL);
    scan_sort(l);
    for (int64_t i = 0; i < l->n; i++)
        l->files[i].half = is_valid(l->files[i].path) ? SCAN_VALID : SCAN_TRAIN;
    if (!l->n && mert_report_all_failed()) /* tar files that cannot be read */
        bad = mert_fail(e, "%s: nothing that could be listed", root);
    else
        bad = l->n ? 0 : mert_fail(e, "%s: no files ending in %s (%s)", root, extensions ? extensions : endings_known,
                                   endings_passed_over() ? endings_passed_over() : "nor any other");
    bad = bad || mert_make_directory(out_dir, e) || (shards && scan_read(&known, remembered, count_settings(), e));
    if (!bad)
        scan_take_over(l, &known);
    for (int64_t i = 0; i < l->n; i++) /* known from before: items, too, of which --max-failed allows a share to fail */
        if (l->files[i].samples >= 0)
            mert_report_item((double)l->files[i].samples / settings.rate);
    bad = bad || count_all(l, root, shards ? remembered : NULL, e) || write_all(l, root, remembered, e);
    scan_free(&known);
    free(remembered);
    return bad;
}

int main(int argc, char **argv)
{
    scan_list files = {0};
    mert_error e;
    char *root;
    mert_options_parse(&tool, &argc, &argv);
    if (argc != 1)
        mert_usage_error("name one root folder");
    if (!out_dir || !*out_dir)
        mert_usage_error("--out DIR is needed");
    if (from_headers && verify)
        mert_usage_error("--verify and --from-headers exclude each other");
    if (!(root = realpath(argv[0], NULL)))
        mert_report_broken("%s: %s", argv[0], strerror(errno));
    else if (make_manifests(&files, root, &e))
        mert_report_broken("%s", e.text);
    else if (from_headers)
        mert_log_note("lengths are as the files' headers have them, an estimate: nothing was counted");
    if (files.n && endings_passed_over())
        mert_log_note("%s", endings_passed_over());
    scan_free(&files);
    free(root);
    return mert_report_finish();
}
