# mert-probe --labels with a folder of .lab files, and --chords: the same as with a table of spans; bad lines by file
# and line.
. tests/shell
t=$TEST_TMP

# Items of 80 frames at 10 a second: chords of half a second, of four triads in turn, in a table and in .lab files, with
# blanks or tabs.
mkdir -p "$t/labs/disc 1" "$t/labs/disc 2"
awk -v t="$t" 'BEGIN {
    srand(9); split("C,A:min,F#,N", plain, ","); split("C:maj7/3,A:min7(9),Gb:7,N", written, ","); split("C:maj A:min F#:maj N", reduced, " ")
    for (k = 0; k < 8; k++) {
        stem = sprintf("disc %d/it.em_%d", 1 + k % 2, k); file = t "/labs/" stem ".lab"; line = sprintf("disc_%d/it.em_%d.wav", 1 + k % 2, k)
        for (f = 0; f < 80; f++) for (d = 0; d < 4; d++) line = line sprintf(" %.4f", rand() + 3 * (d == (int(f / 5) + k) % 4))
        print line > (t "/items")
        for (s = 0; s < 16; s++) {
            c = (s + k) % 4 + 1
            printf k % 2 ? "%.6f\t%.6f\t%s\n" : " %.3f   %.3f  %s\r\n", s / 2, s / 2 + 0.5, written[c] > file
            printf "disc_%d/it.em_%d.wav\t%g\t%g\t%s\n", 1 + k % 2, k, s / 2, s / 2 + 0.5, reduced[c] > (t "/spans")
        }
        print "" > file; print "# the end" > file
        close(file)
    }
}'
mv "$t/labs/disc 1" "$t/labs/disc_1"; mv "$t/labs/disc 2" "$t/labs/disc_2"; : > "$t/labs/notes.txt"; : > "$t/labs/.lab"
text-stream mfcc 1 4 10 < "$t/items" > "$t/items.mts"
probe() { mert-probe -q --folds 3 --seeds 2 "$@" "$t/items.mts" > "$t/table"; }
value() { awk -F'\t' -v l="$1" -v m="$2" '$1 == l && $2 == m { print $3 }' "$t/table"; }
probe --frames -l "$t/spans" --predictions "$t/p"; cp "$t/table" "$t/expected"

same() { probe --frames -l "$1" --chords majmin --predictions "$t/q" && cmp "$t/table" "$t/expected" && cmp "$t/p" "$t/q" && [ "$(value mfcc accuracy)" = 1.0000 ]; }
check "a folder of .lab files" same "$t/labs"
check "with a slash" same "$t/labs/"
table() { sed 's/C:maj$/C:9\/5/; s/A:min$/A:minmaj7/; s/F#:maj$/Gb:(1,3,5)/' "$t/spans" > "$t/written" && same "$t/written"; }
check "chords in a table" table
as_written() { probe --frames -l "$t/labs" --predictions "$t/q" && [ "$(sed 1d "$t/q" | cut -f 7 | sort -u | tr '\n' ' ')" = "A:min7(9) C:maj7/3 Gb:7 N " ]; }
check "labels as they are written" as_written
left_out() { # what the rule has no name for is counted
    mkdir -p "$t/some" && cp -R "$t/labs/." "$t/some" && sed -i '1s/[^ ]*\r$/C:dim\r/; 2s/[^ ]*\r$/X\r/; 3s/[^ ]*\r$/D:sus4\r/' "$t/some/disc_1/it.em_0.lab" &&
        mert-probe --seeds 1 --folds 3 -l "$t/some" --chords majmin "$t/items.mts" 2>&1 > "$t/table" | grep -q 'some: 3 rows of chords that --chords majmin has no name for' &&
        mert-probe --seeds 1 --folds 3 -l "$t/some" --chords thirds "$t/items.mts" 2>&1 > "$t/table" | grep -q 'some: 2 rows of chords that --chords thirds'
}
check "chords that the rule leaves out" left_out
between() { # spans that end within a frame: its middle decides
    mkdir -p "$t/mid/disc_1" && printf '0 0.44 C\n0.44 0.96 N\n' > "$t/mid/disc_1/it.em_0.lab" && cp "$t/labs/disc_1/it.em_2.lab" "$t/labs/disc_1/it.em_4.lab" "$t/mid/disc_1" &&
        probe --frames -l "$t/mid" --chords majmin --predictions "$t/q" && [ "$(awk -F'\t' '$1 ~ /em_0/ && $5 == 1 { printf "%s ", $7 }' "$t/q")" = "C:maj C:maj C:maj C:maj N N N N N N " ]
}
check "a frame belongs to the span that its middle is in" between
manifests() {
    { echo /music; awk '{ print $1 "\t1" }' "$t/items" | head -n 5; } > "$t/train.tsv"; { echo /music; awk '{ print $1 "\t1" }' "$t/items" | tail -n +6; } > "$t/test.tsv"
    probe -l "$t/labs" --train "$t/train.tsv" --test "$t/test.tsv" --predictions "$t/q" && [ "$(sed 1d "$t/q" | cut -f 1 | sort -u | wc -l)" -eq 3 ]
}
check "parts by manifests" manifests
label() { mkdir -p "$t/words/disc_1" && printf '0 4 verse  one\n4 8 chorus\n' | tee "$t/words/disc_1/it.em_0.lab" "$t/words/disc_1/it.em_2.lab" > "$t/words/disc_1/it.em_4.lab" && probe -l "$t/words" --predictions "$t/q" && [ "$(sed 1d "$t/q" | cut -f 7 | sort -u)" = "$(printf 'chorus\nverse  one')" ]; }
check "labels with blanks" label

refused() { # NAME PATTERN LINE: as the second line of a file
    mkdir -p "$t/bad/disc_1"; printf "0 1 C\n$3\n" > "$t/bad/disc_1/it.em_0.lab"; name=$1 pattern=$2; shift 3
    check_fails "$name" 1 "$pattern" probe -l "$t/bad" "$@"
}
refused "no label" "bad/disc_1/it.em_0.lab: line 2 is not 'start end label'" '1 2'
refused "no end" "it.em_0.lab: line 2 is not 'start end label'" '1 C'
refused "words for times" "it.em_0.lab: line 2 is not" 'from to C'
refused "a negative time" "it.em_0.lab: line 2 is not" '-1 2 C'
refused "an end before the start" "it.em_0.lab: line 2: the span ends at 1 s, but begins at 2 s" '2 1 C'
refused "a span of no length" "it.em_0.lab: line 2: the span ends at 1 s" '1 1 C'
refused "a NUL byte" "it.em_0.lab:2: a NUL byte" '1 2 C\000'
refused "a label that is no chord" "it.em_0.lab: line 2: 'Hm' is not a chord" '1 2 Hm' --chords majmin
refused "two labels for a class" "it.em_0.lab: line 2: 'a,b' holds a comma" '1 2 a,b'
mkdir "$t/empty"
check_fails "a folder without .lab files" 1 'empty: no labels in .lab files' probe -l "$t/empty"
check_fails "a folder has no columns" 1 "labs: a folder of .lab files has no column 'mood'" probe -l "$t/labs" --column mood
check_fails "only chords that are left out" 1 'no chord is major' sh -c "printf 'a\t0\t1\tX\n' > '$t/x' && mert-probe -l '$t/x' --chords majmin '$t/items.mts'"
check_fails "no item has a .lab file" 1 "no item has a row: the first item is 'disc_1/it.em_0.wav', the first key 'other'" sh -c "mkdir '$t/o' && echo 0 1 C > '$t/o/other.lab' && mert-probe -q -l '$t/o' '$t/items.mts'"
check_fails "a .lab file is not overwritten" 1 'is an input' probe -l "$t/labs" --predictions "$t/labs/disc_1/it.em_0.lab"
check_fails "chords of several labels are wrong use" 2 'for --task classify' probe -l "$t/labs" --chords majmin --task multilabel
loop() { mkdir -p "$t/loop" && ln -s . "$t/loop/again" && probe -l "$t/loop"; }
check_fails "a link that leads back" 1 'more than 32 folders deep' loop
