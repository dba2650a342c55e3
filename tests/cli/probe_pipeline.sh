# pipelines/probe on a folder that has music already: the tables of labels, the scores of all features and models, and
# refusals.
. tests/shell
t=$TEST_TMP
here=$PWD

wavs "$t/d/audio" 0 20
mkdir -p "$t/d/labels/00" "$t/d/labels/01"
awk -v d="$t/d" 'BEGIN { OFS = "\t"
    print "file", "key", "mode", "tempo", "meter", "form", "seconds", "instruments", "seed", "container", "rate", "channels" > (d "/pieces.tsv")
    for (i = 0; i < 20; i++) {
        name = sprintf("%02d/%04d", i / 10, i)
        print name ".wav", i % 2 ? "C#" : "D", i % 2 ? "minor" : "major", 90 + i, "4/4", "AB", i ? "0.2" : "12.5", i % 3 ? "flute, drums" : "flute, piano", 1, "wav", 24000, 1 > (d "/pieces.tsv")
        f = d "/labels/" name ".chords.tsv"
        print "start", "end", "chord", "root", "quality", "pitch_classes" > f
        print "0.000", "0.100", "C#m7", 1, "m7", "1,4,8,11" > f
        print "0.100", "0.200", i ? "D" : "Bdim", i ? 2 : 11, i ? "maj7" : "dim", i ? "2,6,9,1" : "11,2,5" > f
        close(f)
    }
}'
probe() { MERT_PROBE_OPTIONS='--folds 3 --seeds 2 --decay 0.1' sh pipelines/probe "$t/d" "$@"; }
runs() { MERT_PROBE_TASKS='key chord tempo' probe "mine=$golden/mert-post-ln" "its=$golden/mert-cqt-input"; }
check "all of it" runs
is() { printf "$2" > "$t/expected"; cmp "$t/d/probe/$1" "$t/expected" || { cat "$t/d/probe/$1"; return 1; }; }
tables() {
    head -n 4 "$t/d/probe/labels/key.tsv" > "$t/d/probe/head" && is head '00/0000.wav\t0.000\t4.167\tD major\n00/0000.wav\t4.167\t8.333\tD major\n00/0000.wav\t8.333\t12.500\tD major\n00/0001.wav\t0.000\t0.200\tC# minor\n' &&
        head -n 4 "$t/d/probe/labels/chord.tsv" > "$t/d/probe/head" && is head '00/0000.wav\t0.000\t0.100\tC#:min\n00/0000.wav\t0.100\t0.200\tB:dim\n00/0001.wav\t0.000\t0.100\tC#:min\n00/0001.wav\t0.100\t0.200\tD:maj\n' &&
        tail -n 1 "$t/d/probe/labels/pitch.tsv" > "$t/d/probe/head" && is head '01/0019.wav\t0.100\t0.200\t2,6,9,1\n' &&
        tail -n 1 "$t/d/probe/labels/instrument.tsv" > "$t/d/probe/head" && is head '01/0019.wav\t0.000\t0.200\tflute, drums\n' &&
        tail -n 1 "$t/d/probe/labels/tempo.tsv" > "$t/d/probe/head" && is head '01/0019.wav\t0.000\t0.200\t109\n'
}
check "labels are those of the music" tables
results() {
    cut -f 1-3 "$t/d/probe/results.tsv" > "$t/d/probe/head" && { printf 'task\tmetric\tfeatures\n'; for m in 'key\taccuracy' 'chord\taccuracy' 'tempo\tr2'; do printf "$m\t%s\n" guess chroma mfcc mine its; done; } > "$t/expected" &&
        cmp "$t/d/probe/head" "$t/expected" && [ "$(cut -f 8 "$t/d/probe/results.tsv" | sort | uniq -c | tr -s ' \n' ' ')" = " 15 2 1 seeds " ]
}
check "one table, guesses first" results
best() { # the best layer of a model is the best of its own table
    awk -F'\t' 'FILENAME ~ /results/ && $1 == "tempo" && $3 == "mine" { layer = $4; mean = $5 }
        FILENAME !~ /results/ && $2 == "r2" && $1 != "prior" { n++; if ($3 > mean || ($1 == layer && $3 != mean)) exit bad = 1 }
        END { exit bad || n != 4 }' "$t/d/probe/results.tsv" "$t/d/probe/scores/tempo.mine.tsv"
}
check "the best layer of each" best
again() { MERT_PROBE_TASKS=key probe "mine=$golden/mert-post-ln" > "$t/said" && ! grep -qE 'mert-(decode|mel|cqt|encode)' "$t/said" && [ "$(wc -l < "$t/d/probe/results.tsv")" -eq 5 ]; }
check "features are made once" again

check_fails "a model without a name" 2 'give models as NAME=MODEL' sh pipelines/probe "$t/d" "$golden/mert-post-ln"
check_fails "a name that is taken" 2 'none of chroma, mfcc' sh pipelines/probe "$t/d" "mfcc=$golden/mert-post-ln"
check_fails "no folder" 2 'usage: probe DIR' sh pipelines/probe
unknown() { MERT_PROBE_TASKS=mood sh "$here/pipelines/probe" "$t/d" > "$t/said"; }
check_fails "an unknown task" 2 "no task 'mood'" unknown
missing() { env PATH="$OUT/bin:/usr/bin:/bin" sh pipelines/probe "$t/empty" > "$t/said"; }
check_fails "nothing to compose with" 1 "no program 'score'" missing

# ---- names, and one at a time ----

odd="$t/it's \$HOME; touch ran #"
names() { mkdir "$odd" && cp -R "$t/d/audio" "$t/d/labels" "$t/d/pieces.tsv" "$odd" && cp -R "$golden/mert-post-ln" "$odd/its model" && MERT_PROBE_TASKS=key MERT_PROBE_OPTIONS='--folds 3 --seeds 2 --decay 0.1' sh pipelines/probe "$odd" "mine=$odd/its model" &&
    mert-tensor cmp "$odd/probe/mine.mts" "$t/d/probe/mine.mts" > "$t/said" && cmp "$odd/probe/results.tsv" "$t/d/probe/results.tsv" && [ ! -e ran ]; }
check "names of all kinds" names
own() { mkdir -p "$t/own/audio" && : > "$t/own/audio/mine" && sh pipelines/probe "$t/own" > "$t/said"; }
check_fails "audio of one's own is left alone" 2 'own/audio is there without .*pieces.tsv' own
kept() { [ -e "$t/own/audio/mine" ]; }
check "it is there" kept
check_fails "a model that is none" 2 'no model that mert-encode opens' sh pipelines/probe "$t/d" "x=$golden/encodec-tiny/encodec.th"
mkfifo "$t/hold"
sh pipelines/hold probe "$t/d/probe" sh -c 'echo > "$1/is"; read -r _ < "$1/hold"' - "$t" & holder=$!
n=0; until [ -e "$t/is" ]; do sleep 0.1; n=$((n + 1)); [ $n -lt 600 ] || break; done
check_fails "one at a time" 2 "^probe: .*/d/probe: in use by process $holder on" probe
echo > "$t/hold"; wait $holder
