# mert-plot: the pictures of streams against those that tests/golden/plot has, which were computed from the reference
# vectors by other code; of tables by the places of known values; what is refused; the terminal.
. tests/shell
t=$TEST_TMP
command -v mert-plot > "$t/found" || { skip "mert-plot" "built without cairo"; exit; }
if [ -n "${MERT_SANITIZED:-}" ]; then # fontconfig keeps what it read
    echo leak:libfontconfig > "$t/leaks"; export LSAN_OPTIONS="suppressions=$t/leaks:print_suppressions=0"
fi
pcm() { mert-tensor from-npy --allow-nonfinite --kind pcm --rate "$1" --key a "$2"; }
pcm 24000 "$golden/cqt/audio_24k.npy" > "$t/a.mts"
pcm 24000 "$golden/mert-post-ln/audio.npy" | mert-encode -m "$golden/mert-post-ln" --layers all > "$t/hidden.mts"
labels() { awk "BEGIN { for (t = 0; t < 96; t++) printf \"%d%s\", $1, t < 95 ? \" \" : \"\\n\" }"; }
labels 'int(t * t / 7) % 5' > "$t/l.0"; labels 'int(t / 8)' > "$t/l.1"
mert-tensor from-labels --classes 12 --frame-rate 50/1 "$t/l.%d" > "$t/codes.mts"

# ---- the data of each kind ----
like() { # NAME MEAN OPTIONS...: a picture of the stream on standard input
    name=$1 mean=$2; shift 2
    mert-plot --bare --width 48 --height 20 "$@" -o "$t/$name.png" && picture near "$t/$name.png" "$golden/plot/$name.png" "$mean"
}
cqt() { mert-cqt "$t/a.mts" | like cqt 0.3; }
complex() { mert-cqt --form complex "$t/a.mts" | like cqt 0.3; }
logarithm() { mert-cqt --form log --log-floor 1e-12 "$t/a.mts" | like cqt 0.3; }
chroma() { mert-cqt --chroma 12 "$t/a.mts" | like chroma 0.3; }
mel() { pcm 24000 "$golden/features/audio_24k.npy" | mert-mel --bins 229 | like mel 0.3; }
mfcc() { pcm 16000 "$golden/features/audio_16k.npy" | mert-mel --mfcc | like mfcc 0.3; }
waveform() { like waveform 6 < "$t/a.mts"; }
short() { pcm 24000 "$golden/features/audio_24k.npy" | mert-plot --bare --width 48 --height 20 -o "$t/waveform.png" && ! picture near "$t/waveform.png" "$golden/plot/waveform.png" 6; }
layers() { like layers 0.3 < "$t/hidden.mts"; }
similarity() { like similarity 0.3 --kind similarity < "$t/hidden.mts"; }
codes() { like codes 0.3 < "$t/codes.mts"; }
check "constant-Q spectrum" cqt
check "complex constant-Q spectrum" complex
check "logarithms are the same decibels" logarithm
check "chroma" chroma
check "mel spectrum" mel
check "MFCC" mfcc
check "waveform" waveform
check "another waveform is another picture" short
check "layers" layers
check "similarity" similarity
check "labels" codes
svg_image() { # the image in an SVG file is the same
    mert-cqt "$t/a.mts" | mert-plot --bare --width 48 --height 20 -o "$t/cqt.svg" &&
        sed -n 's/.*base64,\([^"]*\)".*/\1/p' "$t/cqt.svg" | base64 -d > "$t/inside.png" && picture near "$t/inside.png" "$golden/plot/cqt.png" 0.3
}
check "an image inside of SVG" svg_image
tone() { # 440 Hz: bin 48 log2(440 / 32.7) = 180 of 336, so row 336 - 1 - 180 = 155 from the top
    awk 'BEGIN { printf "a"; for (i = 0; i < 24000; i++) printf " %.6f", sin(6.283185307 * 440 * i / 24000); print "" }' |
        text-stream pcm 1 1 24000 | mert-tensor to-npy -o "$t/tone.npy" && pcm 24000 "$t/tone.npy" | mert-cqt |
        mert-plot --bare --width 40 --height 336 -o "$t/tone.png" && row=$(picture brightest "$t/tone.png" 20) && [ "$row" -ge 154 ] && [ "$row" -le 156 ]
}
check "440 Hz is where it belongs" tone
parts() { # the second half alone is the right half of the whole: 96 labels at 50 per second
    mert-plot --bare --width 48 --height 20 -o "$t/whole.png" "$t/codes.mts" && mert-plot --bare --width 24 --height 20 --from 0.96 -o "$t/half.png" "$t/codes.mts" || return 1
    for x in 0 7 23; do [ "$(picture at "$t/half.png" $x 3)" = "$(picture at "$t/whole.png" $((24 + x)) 3)" ] || return 1; done
    mert-plot --bare --width 24 --height 20 --to 0.96 -o "$t/half.png" "$t/codes.mts" && [ "$(picture at "$t/half.png" 23 3)" = "$(picture at "$t/whole.png" 23 3)" ]
}
check "--from and --to" parts
long() { # 50,000 frames: the largest value of a pixel is seen; more frames than columns are kept
    awk 'BEGIN { printf "a"; for (i = 0; i < 50000; i++) printf " %d", i == 30001; print "" }' | text-stream mel 1 1 10 |
        mert-plot --bare --width 100 --height 4 -o "$t/long.png" && [ "$(picture at "$t/long.png" 60 1)" != "$(picture at "$t/long.png" 10 1)" ] &&
        [ "$(picture at "$t/long.png" 61 1)" = "$(picture at "$t/long.png" 10 1)" ]
}
check "one loud frame among many is seen" long
maps() { # low values are light with --colours light
    mert-cqt "$t/a.mts" > "$t/cqt.mts" && mert-plot --bare --width 40 --height 40 --colours light --range 1e6,2e6 -o "$t/light.png" "$t/cqt.mts" &&
        mert-plot --bare --width 40 --height 40 --range 1e6,2e6 -o "$t/dark.png" "$t/cqt.mts" && [ "$(picture at "$t/light.png" 3 3)" != "$(picture at "$t/dark.png" 3 3)" ] &&
        mert-plot --bare --width 40 --height 40 --colours grey --range -2e6,-1e6 -o "$t/grey.png" "$t/cqt.mts" && picture at "$t/grey.png" 3 3 | grep -qE '^#(..)\1\1$'
}
check "--colours and --range" maps
several() { # two items below each other, or beside each other
    mert-plot --bare --width 60 --height 40 -o "$t/two.png" "$t/codes.mts" "$t/hidden.mts" && [ "$(picture size "$t/two.png")" = "60 40" ] &&
        mert-plot --bare --width 96 --height 20 --across 2 -o "$t/two.png" "$t/codes.mts" "$t/cqt.mts" && mert-plot --bare --width 48 --height 20 -o "$t/one.png" "$t/codes.mts" &&
        [ "$(picture at "$t/two.png" 30 5)" = "$(picture at "$t/one.png" 30 5)" ] && [ "$(picture at "$t/two.png" 90 5)" = "$(picture at "$t/cqt.png" 42 5)" ]
}
check "several inputs" several
first_items() { # of each stream
    printf 'b 1 2 3\nc 1 2 3\nd 1 2 3\n' | text-stream mel 1 1 1 > "$t/three.mts" && mert-plot --items 2 -o "$t/x.svg" "$t/three.mts" "$t/three.mts" 2> "$t/said" &&
        grep -q '2 more are not' "$t/said" && [ "$(grep -c 'bold">[bc]: mel spectrum<' "$t/x.svg")" -eq 4 ] && ! grep -q '>d: ' "$t/x.svg"
}
check "items that are not drawn are counted" first_items

# ---- texts and axes, in SVG ----
texts() { mert-plot -o "$t/x.svg" "$@" && sed -n 's/.*<text[^>]*>\(.*\)<\/text>.*/\1/p' "$t/x.svg" > "$t/texts"; }
has() { for w; do grep -qx -- "$w" "$t/texts" || { echo "no text '$w'"; cat "$t/texts"; return 1; }; done; }
notes() { texts "$t/cqt.mts" && has C4 C7 500 1k s dB 'a: constant-Q spectrum'; }
classes() { mert-cqt --chroma 12 "$t/a.mts" > "$t/chroma.mts" && texts "$t/chroma.mts" && has C 'C#' B; }
titles() { texts --title 'a < b & "c"' "$t/cqt.mts" && has 'a &lt; b &amp; &quot;c&quot;'; }
minutes() { awk 'BEGIN { printf "a"; for (i = 0; i < 200; i++) printf " %d", i; print "" }' | text-stream mel 1 1 1 > "$t/m.mts" && texts "$t/m.mts" && has 1:00 3:00 min:s; }
strange() { awk 'BEGIN { printf "\303(<\001>&" ; for (i = 0; i < 20; i++) printf " %d", i; print "" }' | text-stream mel 1 1 1 > "$t/k.mts" && texts "$t/k.mts" && mert-plot -o "$t/k.png" "$t/k.mts"; }
check "notes, frequencies, seconds" notes
check "names of pitch classes" classes
check "a title is escaped" titles
untitled() { texts --title '' "$t/cqt.mts" && has C4 s dB && ! grep 'spectrum' "$t/texts"; }
check "an empty title: none" untitled
check "minutes" minutes
check "a key that is no UTF-8" strange
usage() { # entropies by their definition
    bits() { tr ' ' '\n' < "$1" | sort | uniq -c | awk '{ h -= $1 / 96 * log($1 / 96) / log(2) } END { printf "%d of 12, %.2f bits", NR, h }'; }
    texts --kind classes "$t/codes.mts" && has "0: $(bits "$t/l.0")" "1: $(bits "$t/l.1")"
}
check "use of classes" usage
whole() { mert-plot -o - "$t/cqt.mts" > "$t/x.png" && [ "$(picture size "$t/x.png")" = "1000 230" ] && mert-plot --format svg -o - "$t/cqt.mts" | grep -q '</svg>'; }
check "to standard output" whole

# ---- tables ----
{ echo '# a comment'; printf 'update\tloss\tce_0\tlate\n'; for i in 0 1 2 3 4; do printf '%d\t%d\t%d\tnan\n' $((100 * i)) $((50 - 10 * i)) $((8 - i)); done; printf '500\t1'; } > "$t/log.tsv"
scores() { printf 'layer\tmetric\tmean\tmin\tmax\tn\n'; for l in prior 0 1; do printf '%s\taccuracy\t%s\t0\t1\t5\n%s\tf1\t0.5\t0\t1\t5\n' $l "$1" $l; shift; done; }
scores 0.1 0.2 0.9 > "$t/key.tsv"; scores 0.1 0.5 0.3 > "$t/chord.tsv"
curve() { # loss falls from 50 to 10, with a margin of 4% above and below
    mert-plot --bare --width 100 --height 100 --columns loss -o "$t/x.png" "$t/log.tsv" && [ "$(picture at "$t/x.png" 50 50)" = "$(printf '#%02x%02x%02x' 0 114 178)" ] &&
        [ "$(picture at "$t/x.png" 50 20)" = '#ffffff' ]
}
check "a curve goes through its values" curve
named() { texts --columns 'loss,ce_*' "$t/log.tsv" && has update loss ce_0 400 && ! grep -q late "$t/texts"; }
check "columns by name" named
usual() { mert-plot --format svg -o - "$t/log.tsv" | grep -q 'bits per frame'; }
check "cross entropies if none is named" usual
piped() { texts - < "$t/log.tsv" && has 'standard input' update; }
check "a table from a pipe" piped
tasks() { # the best layer is lightest; a row for each table
    mert-plot --bare --width 30 --height 20 -o "$t/x.png" "$t/key.tsv" "$t/chord.tsv" && [ "$(picture brightest "$t/x.png" 25)" -lt 10 ] && [ "$(picture brightest "$t/x.png" 15)" -ge 10 ] &&
        texts "$t/key.tsv" "$t/chord.tsv" && has prior 0 1 'key, accuracy' 'chord, accuracy' && texts --metric f1 "$t/key.tsv" "$t/chord.tsv" && has 'key, f1'
}
check "layer by task" tasks
one_task() { texts "$t/key.tsv" && has prior score accuracy f1 && texts --metric accuracy "$t/key.tsv" && has min max; }
check "scores of one task" one_task

# ---- the terminal ----
ascii() { LC_ALL=C mert-plot --term "$t/cqt.mts" > "$t/x" && grep -q 'constant-Q spectrum, dB' "$t/x" && grep -q ' C4$' "$t/x" && ! LC_ALL=C grep -q '[^ -~]' "$t/x"; }
blocks() { LC_ALL=C.UTF-8 COLORTERM=truecolor TERM=xterm mert-plot --term "$t/cqt.mts" > "$t/x" && grep -q '38;2;[0-9]*;[0-9]*;[0-9]*;48;2;.*▀' "$t/x"; }
palette() { LC_ALL=C.UTF-8 COLORTERM='' TERM=xterm mert-plot --term "$t/cqt.mts" > "$t/x" && grep -q '38;5;[0-9]*;48;5;.*▀' "$t/x"; }
inked() { LC_ALL=C mert-plot --term "$t/log.tsv" > "$t/x" && [ "$(grep -c '[+=*#%@]' "$t/x")" -ge 6 ]; }
check "letters where there is no UTF-8" ascii
check "half blocks in 24 bits" blocks
check "half blocks in 256 colours" palette
check "a curve in letters" inked

# ---- refusals ----
check_fails "no output is named" 2 'an output is needed: -o FILE.png' mert-plot "$t/cqt.mts"
check_fails "an ending that says nothing" 2 'neither .png nor .svg' mert-plot -o "$t/x.jpg" "$t/cqt.mts"
check_fails "not both" 2 'no -o beside it' mert-plot --term -o "$t/x.png" "$t/cqt.mts"
check_fails "--to before --from" 2 'is not after' mert-plot --from 3 --to 2 -o "$t/x.png" "$t/cqt.mts"
check_fails "a range of one number" 2 'two numbers' mert-plot --range 3 -o "$t/x.png" "$t/cqt.mts"
check_fails "a kind that the record has not" 1 'a: kind is cqt, of which there is no such picture' mert-plot --kind codes -o "$t/x.png" "$t/cqt.mts"
check_fails "a layer that there is not" 1 'a: --layer 7: there are' mert-plot --kind matrix --layer 7 -o "$t/x.png" "$t/hidden.mts"
check_fails "nothing from there on" 1 'a: no frame from 100' mert-plot --from 100 -o "$t/x.png" "$t/cqt.mts"
check_fails "too few pixels" 1 'x.png: 10 x 10 pixels are too few for 1 panel|10 x 10 pixels' mert-plot --width 10 --height 10 -o "$t/x.png" "$t/cqt.mts"
check_fails "a column that there is not" 1 "log.tsv: no column 'wind'" mert-plot --columns wind -o "$t/x.png" "$t/log.tsv"
printf 'update\tloss\n1\t2\n2\n3\t4\n' > "$t/bad.tsv"
check_fails "a row without its columns" 1 'bad.tsv: line 3: 1 columns' mert-plot -o "$t/x.png" "$t/bad.tsv"
printf 'update\tloss\n' > "$t/none.tsv"
check_fails "a table without rows" 1 'none.tsv: no rows' mert-plot -o "$t/x.png" "$t/none.tsv"
printf 'layers of cake\n' > "$t/cake"
check_fails "a text that is no table" 1 'cake: neither a stream nor a table' mert-plot -o "$t/x.png" "$t/cake"
check_fails "streams and tables" 2 'not drawn in one picture' mert-plot -o "$t/x.png" "$t/cqt.mts" "$t/log.tsv"
check_fails "a folder that there is not" 1 'nowhere' mert-plot -o "$t/nowhere/x.png" "$t/cqt.mts"
check_fails "its own input" 1 'cqt.mts' mert-plot --format png -o "$t/cqt.mts" "$t/cqt.mts"
kept() { rm -f "$t/y.png"; ! mert-plot -o "$t/y.png" "$t/cake" 2> "$t/said" && [ ! -e "$t/y.png" ] && head -c 3000 "$t/cqt.mts" | { ! mert-plot -o "$t/y.png" 2> "$t/said"; } && [ ! -e "$t/y.png" ]; }
check "no picture of an input that is cut off" kept
full() { ! mert-plot -o - "$t/cqt.mts" > /dev/full 2> "$t/said" && [ "$(wc -l < "$t/said")" -eq 1 ] && grep -q 'standard output' "$t/said"; }
check "a full disk" full
if command -v script > "$t/found"; then
    screen() { script -qec "mert-plot -o - $t/cqt.mts" /dev/null > "$t/said" < /dev/null; [ $? -eq 2 ] && grep -q 'not written to a terminal' "$t/said"; }
    check "not to a terminal" screen
else skip "not to a terminal" "no script(1)"; fi
