/* mert-manifest: a folder of audio in, DIR/train.tsv and DIR/valid.tsv out, as HuBERT has them.
 *
 *     walk ROOT (names sorted bytewise, links followed, loops left)
 *       -> count each file's samples at --rate, several files at a time: mert-decode's own count
 *       -> a file is for validation if the hash of seed and relative path says so: what is added later moves nothing
 *
 * Files that cannot be decoded are named and left out; the manifests are written all the same, and the exit status is
 * 1. */
#define _GNU_SOURCE
#include "../formats/file.h"
#include "../formats/manifest.h"
#include "../formats/stream/mts.h"
#include "../libcommon/audio/decode.h"
#include "../libcommon/base/log.h"
#include "../libcommon/base/options.h"
#include "../libcommon/base/pool.h"
#include "../libcommon/base/report.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static mert_audio_settings settings = {.rate = 24000, .duration = -1, .stream = -1};
static const char *out_dir;
static const char *extensions = "aac,aif,aifc,aiff,ape,au,caf,flac,m4a,m4b,mka,mp2,mp3,mp4,oga,ogg,opus,tta,wav,wma,wv";
static double valid_percent = 1;
static int64_t seed;
static int from_headers, verify;

static const mert_option options[] = {
    {"out", 'o', MERT_STRING, &out_dir, "DIR", 0, 0, NULL, "where train.tsv and valid.tsv go"},
    {"ext", 0, MERT_STRING, &extensions, "LIST", 0, 0, NULL, "endings of the files to take, in any case"},
    {"valid-percent", 0, MERT_DOUBLE, &valid_percent, "P", 0, 100, NULL, "share of the files that goes into valid.tsv"},
    {"seed", 0, MERT_INT64, &seed, "N", 0, 9e15, NULL, "another seed, another choice of files for valid.tsv"},
    {"rate", 0, MERT_INT, &settings.rate, "HZ", MERT_AUDIO_RATE_MIN, MERT_AUDIO_RATE_MAX, NULL,
     "sample rate at which samples are counted"},
    {"salvage", 0, MERT_FLAG, &settings.salvage, NULL, 0, 0, NULL,
     "count what decodes before a fault instead of leaving the file out"},
    {"verify", 0, MERT_FLAG, &verify, NULL, 0, 0, NULL, "decode FLAC and WAV, too, instead of believing whole headers"},
    {"from-headers", 0, MERT_FLAG, &from_headers, NULL, 0, 0, NULL,
     "take lengths from headers: fast, and for many formats an estimate"},
    {0}};

static const mert_tool tool = {
    "mert-manifest", "list a folder of audio as train.tsv and valid.tsv", "[options] --out DIR ROOT",
    "Each row is the path relative to ROOT, a tab, and the number of samples at --rate.", options, NULL};

/* ---- what lies under the root ---- */

typedef struct listing {
    char **paths; /* relative to the root */
    int64_t n, room;
} listing;

/* The folders from the root down to where the walk is. */
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
    const char *dot = strrchr(name, '.');
    size_t n = dot ? strlen(dot + 1) : 0;
    for (const char *p = extensions; n && *p; p += strspn(p, ", ")) {
        size_t length = strcspn(p, ", ");
        const char *ending = *p == '.' ? p + 1 : p;
        if (n == length - (size_t)(ending - p) && !strncasecmp(dot + 1, ending, n))
            return 1;
        p += length;
    }
    return 0;
}

static void add_path(listing *l, char *path)
{
    if (l->n == l->room) {
        l->room = l->room ? 2 * l->room : 256;
        if (!(l->paths = realloc(l->paths, (size_t)l->room * sizeof *l->paths)))
            out_of_memory();
    }
    l->paths[l->n++] = path;
}

static char *join(const char *dir, const char *name)
{
    char *path = *dir ? mert_path_join(dir, name) : strdup(name);
    if (!path)
        out_of_memory();
    return path;
}

static void walk(listing *l, const char *root, const char *relative, const folder *above)
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
            closedir(d); /* a link back up: all of it is being walked already */
            free(dir);
            return;
        }
    for (struct dirent *entry; (entry = readdir(d)); ) {
        char *path, *full;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        path = join(relative, entry->d_name);
        full = join(dir, entry->d_name);
        /* What cannot be looked at (a link into nowhere) is left for the counting to complain about. */
        int known = stat(full, &s) == 0;
        if (known && S_ISDIR(s.st_mode))
            walk(l, root, path, &here);
        if ((!known || S_ISREG(s.st_mode)) && wanted(entry->d_name))
            add_path(l, path);
        else
            free(path);
        free(full);
    }
    closedir(d);
    free(dir);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* ---- how long each is ---- */

enum { BLOCK = 256 }; /* files counted before the next look at what came of them */

typedef struct counting {
    mert_audio_count_how how;
    const char *root;
    char **paths;
    int64_t samples[BLOCK];
    mert_error why[BLOCK];
} counting;

static void count_one(void *arg, int64_t i, int worker)
{
    counting *c = arg;
    const char *fault = mert_manifest_path_fault(c->paths[i]);
    char *path;
    (void)worker;
    if (fault) {
        c->samples[i] = mert_fail(&c->why[i], "its name %s", fault);
        return;
    }
    if (!(path = mert_path_join(c->root, c->paths[i]))) {
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

/* Rows of what could be counted, dealt into two. -1: stopped by --fail-fast. */
static int count_all(const listing *l, const char *root, mert_manifest *train, mert_manifest *valid)
{
    counting *c = malloc(sizeof *c);
    int stop = 0;
    train->rows = calloc((size_t)l->n + 1, sizeof *train->rows);
    valid->rows = calloc((size_t)l->n + 1, sizeof *valid->rows);
    if (!c || !train->rows || !valid->rows)
        out_of_memory();
    c->how = from_headers ? MERT_COUNT_HEADER : verify ? MERT_COUNT_DECODE : MERT_COUNT_EXACT;
    c->root = root;
    for (int64_t at = 0; at < l->n && !stop; at += BLOCK) {
        int64_t n = l->n - at < BLOCK ? l->n - at : BLOCK;
        c->paths = l->paths + at;
        mert_pool_run(n, count_one, c);
        for (int64_t i = 0; i < n && !stop; i++) {
            mert_manifest *m = is_valid(c->paths[i]) ? valid : train;
            if (c->samples[i] < 0) {
                stop = mert_report_failed(c->paths[i], c->why[i].text, 1);
                continue;
            }
            m->rows[m->n++] = (mert_manifest_row){c->paths[i], c->samples[i]};
            mert_report_item((double)c->samples[i] / settings.rate);
        }
    }
    free(c);
    return stop ? -1 : 0;
}

static int write_manifest(mert_manifest *m, char *root, const char *name)
{
    char *path = join(out_dir, name);
    mert_error e;
    int bad;
    m->root = root;
    bad = mert_manifest_write(m, path, &e);
    if (bad)
        mert_report_broken("%s", e.text);
    free(path);
    return bad;
}

static void make_manifests(char *root)
{
    listing l = {0};
    mert_manifest train = {0}, valid = {0};
    mert_error e;
    walk(&l, root, "", NULL);
    if (l.n)
        qsort(l.paths, (size_t)l.n, sizeof *l.paths, by_bytes);
    else
        mert_report_broken("%s: no files ending in %s", root, extensions);
    if (count_all(&l, root, &train, &valid))
        mert_report_broken("stopped at the first failure (--fail-fast); nothing was written");
    else if (mert_make_directory(out_dir, &e))
        mert_report_broken("%s", e.text);
    else if (!write_manifest(&train, root, "train.tsv") && !write_manifest(&valid, root, "valid.tsv") && from_headers)
        mert_log_note("lengths are as the files' headers have them, an estimate: nothing was counted");
    free(train.rows);
    free(valid.rows);
    for (int64_t i = 0; i < l.n; i++)
        free(l.paths[i]);
    free(l.paths);
}

int main(int argc, char **argv)
{
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
    else
        make_manifests(root);
    free(root);
    return mert_report_finish();
}
