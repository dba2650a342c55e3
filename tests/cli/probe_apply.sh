# mert-probe -o and `mert-probe apply`: a probe that was trained on all rows answers for new features, and refuses those
# of another model, layer or width.
. tests/shell
t=$TEST_TMP

# Items of 40 frames at 10 a second: three layers of six columns; layer 1 knows the class, layer 2 the number.
awk -v t="$t" '
function item(f, key, c, i,    line, k, l, d) {
    line = key
    for (k = 0; k < 40; k++) for (l = 0; l < 3; l++) for (d = 0; d < 6; d++)
        line = line sprintf(" %.5f", 3 + rand() + (l == 1 && d == c ? 2 : 0) + (l == 2 && d == 5 ? i / 10 : 0))
    print line > f
}
BEGIN {
    srand(11)
    for (i = 0; i < 60; i++) {
        key = "old" i; item(t "/old", key, i % 3, i)
        print key "\tclass " i % 3 > (t "/classes"); print key "\t" 100 + i > (t "/numbers"); print key "\t" (i % 3 ? "yes" : "") (i % 3 > 1 ? ",no" : "") > (t "/tags")
    }
    for (i = 0; i < 12; i++) item(t "/new", "new%" i, i % 3, 5 * i)
}'
hidden() { text-stream hidden "${2:-3}" "${3:-6}" 10 < "$1"; }
hidden "$t/old" > "$t/old.mts"; hidden "$t/new" > "$t/new.mts"
probe() { mert-probe -q --folds 3 --seeds 1 "$@" "$t/old.mts" > "$t/table"; }
apply() { mert-probe apply -q "$@" > "$t/said"; }
head_is() { [ "$(head -n 1 "$1" | tr '\t' '|')" = "$2" ] || { head -n 1 "$1"; return 1; }; }

best() { mert-probe --folds 3 --seeds 1 -l "$t/classes" -o "$t/p" "$t/old.mts" 2>&1 > "$t/table" | grep -q 'p: a probe for layer 1$'; }
check "a probe of the best layer" best
classes() {
    apply -m "$t/p" "$t/new.mts" && head_is "$t/said" 'key|start|end|layer|seed|fold|label|predicted|score:class 0|score:class 1|score:class 2' &&
        awk -F'\t' 'NR > 1 { i = NR - 2; if ($1 != "new%25" i || $2 $3 != "--" || $4 != 1 || $5 $6 $7 != "---" || $8 != "class " i % 3 || $(9 + i % 3) < 0.5) exit 1 } END { exit NR != 13 }' "$t/said"
}
check "it answers for new items" classes
cp "$t/said" "$t/answers.a"
tolerance() { # the scores of both are equal but for rounding
    awk -F'\t' -v a="$1" 'FILENAME == a { for (i = 9; i <= NF; i++) was[FNR "," i] = $i; next } FNR > 1 { for (i = 9; i <= NF; i++) { d = $i - was[FNR "," i]; n++; if (d > 2e-5 || d < -2e-5) exit bad = 1 } } END { exit bad || !n }' "$1" "$2"
}
pooled() { awk '{ printf "%s", $1; for (k = 0; k < 18; k++) { s = 0; for (f = 0; f < 40; f++) s += $(2 + f * 18 + k); printf " %.17g", s / 40 }; print "" }' "$t/new" | text-stream hidden 3 6 0 | apply -m "$t/p" && tolerance "$t/answers.a" "$t/said"; }
check "pooled features are as good" pooled
same() {
    apply -m "$t/p" "$t/old.mts" && awk -F'\t' 'FILENAME ~ /classes/ { c[$1] = $2 } FILENAME ~ /said/ && FNR > 1 { n++; if (c[$1] != $8) exit bad = 1 } END { exit bad || n != 60 }' "$t/classes" "$t/said"
}
check "and knows the old ones" same
spans() {
    apply -m "$t/p" --span 1.5 "$t/new.mts" && [ "$(wc -l < "$t/said")" -eq 37 ] && [ "$(sed -n '2,4p' "$t/said" | cut -f 2,3 | tr '\t\n' ' ,')" = "0 1.5,1.5 3,3 4," ] &&
        cp "$t/said" "$t/spanwise" && apply -m "$t/p" --span 1.5 --per-item "$t/new.mts" &&
        awk -F'\t' 'FILENAME ~ /spanwise/ && FNR > 1 { s[$1] += $9 / 3 } FILENAME ~ /said/ && FNR > 1 { d = s[$1] - $9; if (d > 1e-5 || d < -1e-5) exit 1; n++ } END { exit n != 12 }' "$t/spanwise" "$t/said"
}
check "spans, and their mean" spans
frames() {
    apply -m "$t/p" --frames "$t/new.mts" && [ "$(wc -l < "$t/said")" -eq 481 ] && [ "$(sed -n 3p "$t/said" | cut -f 1-3)" = "$(printf 'new%%250\t0.1\t0.2')" ] && cp "$t/said" "$t/framewise" &&
        cut -d ' ' -f 1-37 "$t/new" > "$t/cut" && hidden "$t/cut" | apply -m "$t/p" --frames && tail -n +2 "$t/said" > "$t/a" && awk -F'\t' 'NR > 1 && $2 < 0.15' "$t/framewise" | cmp - "$t/a"
}
check "frames, the same however many there are" frames
probe -l "$t/classes" --frames --max-frames 500 -o "$t/framed" --layer 1
as_trained() { apply -m "$t/framed" "$t/new.mts" && [ "$(wc -l < "$t/said")" -eq 481 ] && apply -m "$t/framed" --no-frames "$t/new.mts" && [ "$(wc -l < "$t/said")" -eq 13 ]; }
check "frames, as it was trained" as_trained
tags() { probe -l "$t/tags" --task multilabel -o "$t/m" && apply -m "$t/m" "$t/new.mts" && head_is "$t/said" 'key|start|end|layer|seed|fold|label|predicted|score:no|score:yes' && [ "$(sed -n 2,4p "$t/said" | cut -f 8 | tr '\n' ' ')" = " yes no,yes " ]; }
check "several labels" tags
numbers() { probe -l "$t/numbers" --task regress -o "$t/n" && apply -m "$t/n" "$t/new.mts" && head_is "$t/said" 'key|start|end|layer|seed|fold|label|predicted' && awk -F'\t' 'NR > 1 { d = $8 - (100 + 5 * (NR - 2)); if (d > 4 || d < -4 || $4 != 2) exit 1 } END { exit NR != 13 }' "$t/said"; }
check "numbers" numbers
net() { probe -l "$t/classes" --probe mlp --hidden 16 --epochs 40 --weighted --layer "$1" -o "$t/net" && apply -m "$t/net" "$t/new.mts" && awk -F'\t' -v l="$1" 'NR > 1 { n++; right += $8 == "class " (NR - 2) % 3; if ($4 != l) exit bad = 1 } END { exit bad || right < 11 }' "$t/said"; }
check "a hidden layer" net 1
check "a mixture of layers" net weighted
threads() { probe -l "$t/classes" --threads 1 -o "$t/one" && probe -l "$t/classes" --threads 2 -o "$t/two" && cmp "$t/one" "$t/two"; }
check "the same file with any number of threads" threads
split() { awk -v OFS='\t' 'BEGIN { print "key", "label", "split" } { print $0, NR % 5 ? "train" : "test" }' "$t/classes" > "$t/split" && mert-probe -q --folds 3 --seeds 1 -l "$t/split" -o "$t/all" "$t/old.mts" > "$t/table" && cmp "$t/all" "$t/one"; }
check "all rows, whatever the split" split

# ---- layers by name; other features ----

awk '{ printf "%s", $1; for (f = 0; f < 40; f++) for (d = 0; d < 6; d++) printf " %s", $(2 + f * 18 + 6 + d); print "" }' "$t/new" | head -n 1 > "$t/only1"
head -n 1 "$t/new" > "$t/first"
refused() { check_fails "$1" 1 "$2" mert-probe apply -q -m "$t/${4:-p}" "$3"; }
hidden "$t/only1" 1 > "$t/only1.mts"
refused "a layer that is not there" "new%0: has no layer 1, which the probe is for, but 0" "$t/only1.mts"
text-stream mfcc 3 6 10 < "$t/first" > "$t/mfcc.mts"
refused "another kind" "new%0: is mfcc, but the probe is for hidden" "$t/mfcc.mts"
hidden "$t/first" 2 9 > "$t/wide.mts"
refused "another width" "new%0: has 9 values in a layer, but the probe is for 6" "$t/wide.mts"
mert-tensor from-npy --kind pcm --rate 24000 --key a "$golden/mert-post-ln/audio.npy" > "$t/a.mts"
for k in b c d; do mert-tensor from-npy --kind pcm --rate 24000 --key $k "$golden/mert-pre-ln/audio.npy"; done > "$t/bcd.mts"
printf 'a\tx\nb\ty\nc\tx\nd\ty\n' > "$t/abcd"
encode() { mert-encode -q -m "$golden/$1" --layers "$2" "$t/a.mts" "$t/bcd.mts"; }
encode mert-post-ln all > "$t/all.mts"; encode mert-post-ln 2 > "$t/two.mts"; 
mert-encode -q -m "$golden/mert-post-ln" --layers 0,1 "$t/a.mts" > "$t/others.mts"
mert-encode -q -m "$golden/mert-layernorm-extractor" "$t/a.mts" > "$t/pre.mts"
mert-encode -q -m "$golden/mert-post-ln" --layers 2 --window 0.08 --hop 0.04 "$t/a.mts" > "$t/windows.mts"
mert-probe -q -l "$t/abcd" --folds 3 --seeds 1 --layer 2 -o "$t/h" "$t/all.mts" > "$t/table"
named() { apply -m "$t/h" "$t/all.mts" && cp "$t/said" "$t/a" && apply -m "$t/h" "$t/two.mts" && cmp "$t/said" "$t/a" && mert-encode -q -m "$golden/mert-post-ln" --layers 1,2 --pool mean "$t/a.mts" "$t/bcd.mts" | apply -m "$t/h" && tolerance "$t/a" "$t/said"; }
check "layers have the names that mert-encode gave them" named
refused "the layer is missing, by name" 'a: has no layer 2, which the probe is for, but 0, 1' "$t/others.mts" h
refused "another model" 'a: is of model [0-9a-f]*, but the probe is for model [0-9a-f]*' "$t/pre.mts" h
refused "other settings" "a: was made by 'mert-encode.*window=.*any-settings" "$t/windows.mts" h
check "other settings if they are wanted" apply -m "$t/h" --any-settings "$t/windows.mts"

# ---- items and files that fail ----

awk 'NR == 2 { $(30 * 18) = "nan" } 1' "$t/new" > "$t/nan"; hidden "$t/nan" > "$t/nan.mts"
fails() { mert-probe apply -q -m "$t/p" --span 1 "$t/nan.mts" > "$t/said"; rc=$?; [ "$(wc -l < "$t/said")" -eq 45 ] && ! grep -q new%251$'\t' "$t/said" || return 9; return $rc; }
check_fails "an item that fails has no rows" 1 'new%1: frame .* holds a NaN' fails
check_fails "spans of pooled features" 1 'no frames per second' sh -c "text-stream hidden 3 6 0 < '$t/only1' | mert-probe apply -q -m '$t/p' --span 1 > '$t/said'"
check_fails "no probe is wrong use" 2 '-m PROBE is needed' mert-probe apply "$t/new.mts"
check_fails "frames and spans are wrong use" 2 'frames or --span' mert-probe apply -m "$t/p" --frames --span 1 "$t/new.mts"
check_fails "a model is no probe" 1 'not a probe' mert-probe apply -m "$golden/mert-post-ln/model.safetensors" "$t/new.mts"
damaged() { cp "$t/p" "$t/bad" && size=$(wc -c < "$t/p") && printf '\377' | dd of="$t/bad" bs=1 seek=$((size - 4)) conv=notrunc 2> "$t/dd" && ! cmp -s "$t/p" "$t/bad" && mert-probe apply -m "$t/bad" "$t/new.mts"; }
check_fails "a damaged probe" 1 'bad: .*(checksum|damaged)' damaged
check_fails "a full disk" 1 'standard output: .*No space' sh -c "mert-probe apply -q -m '$t/p' '$t/new.mts' > /dev/full"
check_fails "the probe is not overwritten by itself" 1 'is an input' mert-probe -q --folds 3 -l "$t/classes" -o "$t/classes" "$t/old.mts"
help() { mert-probe --help | grep -q '^  apply ' && mert-probe apply --help | grep -q -- '--any-settings' && mert-probe --help | grep -q -- '--predictions'; }
check "help" help
