/* Writes many-voiced music as standard MIDI files, from a seed: score --seed N --minutes M --out DIR
 *
 *     DIR/midi/NAME.mid            SMF format 1: melody, second voice, chords, bass, pad, drums
 *     DIR/labels/NAME.chords.tsv   what is being played: start s, end s, chord, root, quality, pitch classes
 *     DIR/pieces.tsv               one line per piece: key, tempo, instruments, and how its audio is to be encoded
 */
#include "pipelines/demo/compose.h"
#include "pipelines/demo/midi.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void die(const char *what) { fprintf(stderr, "score: %s: %s\n", what, strerror(errno)); exit(1); }

/* ---- tables ---- */

static void write_chords(const piece *p, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) die(path);
    double tick = 60.0 / p->tempo / QUARTER;
    fputs("start\tend\tchord\troot\tquality\tpitch_classes\n", f);
    for (int i = 0; i < p->nchords; i++) {
        const chord *c = &p->chords[i];
        const char *root = key_names[p->mode][c->root], *kind = qualities[c->quality].name;
        fprintf(f, "%.3f\t%.3f\t%s%s\t%d\t%s\t", c->start * tick, (c->start + c->length) * tick, root, kind, c->root,
                *kind ? kind : "maj");
        for (int k = 0; k < qualities[c->quality].n; k++)
            fprintf(f, "%s%d", k ? "," : "", (c->root + qualities[c->quality].steps[k]) % 12);
        fputc('\n', f);
    }
    if (ferror(f) | fclose(f)) die(path);
}

static void write_row(FILE *f, const piece *p)
{
    fprintf(f, "%s.%s\t%s\t%s\t%d\t%d/4\t%s\t%.1f\t", p->name, p->container, key_names[p->mode][p->tonic],
            mode_names[p->mode], p->tempo, p->beats, p->form, p->seconds);
    for (int i = 0, some = 0; i < PARTS; i++)
        if (p->parts[i].instrument) fprintf(f, "%s%s", some++ ? ", " : "", p->parts[i].instrument->name);
    fprintf(f, "\t%" PRIu64 "\t%s\t%d\t%d\n", p->seed, p->container, p->rate, p->channels);
}

static void name_piece(piece *p)
{
    static const char *const containers[] = {"flac", "mp3", "ogg", "wav"};
    static const int rates[] = {44100, 48000, 22050, 32000, 44100};
    const char *key = key_names[p->mode][p->tonic];
    snprintf(p->name, sizeof p->name, "%02d-%c%s-%s", p->number, key[0] - 'A' + 'a',
             key[1] == 'b' ? "-flat" : key[1] == '#' ? "-sharp" : "", mode_names[p->mode]);
    p->container = containers[p->number % 4];
    p->rate = rates[p->number % 5]; /* 4 and 5 share no factor: every container comes at every rate */
    p->channels = p->number % 3 == 2 ? 1 : 2;
}

static void make_directory(const char *path)
{
    if (mkdir(path, 0777) && errno != EEXIST) die(path);
}

static const char *join(char *to, size_t n, const char *dir, const char *a, const char *b, const char *c)
{
    if ((size_t)snprintf(to, n, "%s/%s%s%s", dir, a, b, c) >= n) errno = ENAMETOOLONG, die(dir);
    return to;
}

int main(int argc, char **argv)
{
    static piece p;
    const char *out = NULL;
    uint64_t seed = 1;
    double minutes = 10, total = 0;
    char path[4096];
    int keys[24];
    for (int i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (value && !strcmp(argv[i], "--seed")) seed = strtoull(value, NULL, 10);
        else if (value && !strcmp(argv[i], "--minutes")) minutes = strtod(value, NULL);
        else if (value && !strcmp(argv[i], "--out")) out = value;
        else out = NULL, i = argc;
    }
    if (!out || !(minutes > 0 && minutes <= 10000)) {
        fputs("usage: score [--seed N] [--minutes M] --out DIR\n", stderr);
        return 2;
    }
    make_directory(out);
    make_directory(join(path, sizeof path, out, "midi", "", ""));
    make_directory(join(path, sizeof path, out, "labels", "", ""));
    FILE *table = fopen(join(path, sizeof path, out, "pieces.tsv", "", ""), "w");
    if (!table) die(path);
    band players = hire_band(seed);
    fputs("file\tkey\tmode\ttempo\tmeter\tform\tseconds\tinstruments\tseed\tcontainer\trate\tchannels\n", table);
    for (int i = 0; total < 60 * minutes - 12; i++) { /* stops where one piece more would be further away */
        memset(&p, 0, sizeof p);
        p.number = i + 1, p.seed = seed;
        if (i % 24 == 0) shuffle_keys(keys, seed, i / 24);
        compose(&p, keys[i % 24], &players);
        name_piece(&p);
        if (write_midi(&p, join(path, sizeof path, out, "midi/", p.name, ".mid"))) die(path);
        write_chords(&p, join(path, sizeof path, out, "labels/", p.name, ".chords.tsv"));
        write_row(table, &p);
        total += p.seconds;
    }
    if (ferror(table) | fclose(table)) die("pieces.tsv");
    return 0;
}
