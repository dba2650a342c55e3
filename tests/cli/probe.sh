# mert-probe: correct scores for features with known contents, with every kind of probe and however it is run; refusals.
. tests/shell
t=$TEST_TMP

# Sums of three uniform numbers: about normal, deviation 1/2. Different for every item.
awk -v t="$t" '
function noise() { return rand() + rand() + rand() - 1.5 }
function short(x) { return int(x * 1024) / 1024 } # exact as float32, and so are sums
BEGIN {
    srand(7)
    for (i = 0; i < 96; i++) {
        c = i % 4; n = 4 + i % 3; key = sprintf("a b/%02d%%25.wav", i); raw = sprintf("a_b/%02d.wav", i)
        # three layers of eight columns: noise, the class with much noise, the class; column 7 of all is the number i
        # with noise
        line = ""
        for (f = 0; f < n; f++) for (l = 0; l < 3; l++) for (d = 0; d < 8; d++)
            line = line sprintf(" %.10f", short(100 * (d == 6) + noise() + (d == c) * (l == 1 ? 0.6 : l == 2 ? 6 : 0) + (d == 7) * i / 10))
        print raw line > (t "/items")
        print raw "\tclass " c > (t "/classes")
        print raw "\t" (c == 3 ? "" : c ? "one, not zero" : "one,zero") > (t "/tags")
        print raw "\t" 60 + i > (t "/numbers")
        print raw "\t" 60 + i "," (0 - i % 7) > (t "/pairs")
        if (!i) print "key\tlabel\tsplit\tother\tgroup" > (t "/columns")
        print raw "\tclass " c "\t" (i < 48 ? "train" : i < 64 ? "valid" : "test") "\t" i % 2 "\tg" int(i / 4) > (t "/columns")
        print raw "\t0" > (t "/one_class")
    }
    # One item of 80 frames at 10 a second: spans of half a second, four classes in turn; the next item the same, shifted by one.
    for (k = 0; k < 6; k++) {
        line = ""
        for (f = 0; f < 80; f++) for (d = 0; d < 4; d++) line = line sprintf(" %.5f", noise() + 5 * (d == (int(f / 5) + k) % 4))
        print "long" k line > (t "/long")
        for (s = 0; s < 16; s++) printf "long%d\t%g\t%g\tspan %d\n", k, s / 2, s / 2 + 0.5, (s + k) % 4 > (t "/spans")
    }
}'
hidden() { text-stream hidden 3 8 10 < "$1"; }
hidden "$t/items" > "$t/items.mts"
text-stream mfcc 1 4 10 < "$t/long" > "$t/long.mts"
probe() { mert-probe -q "$@"; }

# value LAYER METRIC [COLUMN]: from the last table.
value() { awk -F'\t' -v l="$1" -v m="$2" -v c="${3:-mean}" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next } $1 == l && $2 == m { print $at[c] }' "$t/table"; }
within() { # LOW HIGH LAYER METRIC
    awk -v low="$1" -v high="$2" -v v="$(value "$3" "$4")" 'BEGIN { if (v == "" || v + 0 < low || v + 0 > high) { print "is " v; exit 1 } }'
}
all_within() { while [ $# -gt 0 ]; do within "$1" "$2" "$3" "$4" || { echo "$3 $4"; return 1; }; shift 4; done; }

# ---- scores ----

classes() {
    probe -l "$t/classes" "$t/items.mts" > "$t/table" && [ "$(wc -l < "$t/table")" -eq 21 ] &&
        [ "$(head -n 1 "$t/table" | tr '\t' ' ')" = "layer metric mean min max n" ] &&
        all_within 1 1 2 accuracy 1 1 2 roc_auc 1 1 2 ap 1 1 2 f1_macro 1 1 2 balanced_accuracy 0.05 0.45 0 accuracy 0.35 0.65 0 roc_auc \
            0.5 0.95 1 accuracy 0.5 0.5 prior roc_auc 0 0.25 prior accuracy && [ "$(value 1 accuracy n)" = 5 ] &&
        awk -v a="$(value 1 accuracy min)" -v b="$(value 1 accuracy)" -v c="$(value 1 accuracy max)" 'BEGIN { exit !(a < b && b < c) }'
}
check "classes: perfect, between, chance" classes
cp "$t/table" "$t/expected"
net() {
    probe -l "$t/classes" --probe mlp --hidden 16 --weighted --seeds 2 --epochs 60 "$t/items.mts" > "$t/table" &&
        all_within 0.99 1 2 accuracy 0.05 0.45 0 accuracy 0.97 1 weighted accuracy
}
check "a hidden layer, and a mixture of layers" net
steps() { # each setting of the steps gives other scores; its default by its number the same
    scored() { probe -l "$t/classes" --probe mlp --hidden 8 --seeds 1 --epochs 20 --layer 1 --predictions "$1" "$t/items.mts" "$2" "$3" > "$t/table"; }
    scored "$t/usual" --max-failed 0 || return
    for o in --patience --batch --lr --dropout; do
        d=$(mert-probe --help | sed -n "s/^ *$o .*[[]\([^]]*\)[]].*/\1/p") && scored "$t/same" $o "$d" && cmp "$t/usual" "$t/same" || { echo "$o $d"; return 1; }
    done
    for o in '--batch 3' '--lr 0.05' '--dropout 0.9'; do scored "$t/other" ${o% *} ${o#* } && ! cmp -s "$t/usual" "$t/other" || { echo "$o"; return 1; }; done
}
patient() { # with a rate that is much too high the loss of validation soon rises
    for p in 1 200; do probe -l "$t/classes" --probe mlp --hidden 8 --seeds 1 --epochs 200 --lr 0.5 --layer 1 --patience $p --predictions "$t/patience.$p" "$t/items.mts" > "$t/table" || return; done
    ! cmp -s "$t/patience.1" "$t/patience.200"
}
check "--patience ends the training" patient
check "--batch, --lr, --dropout" steps
mixture() { # the layer that knows has the largest share
    probe -l "$t/classes" --weighted --seeds 2 --epochs 60 --json "$t/items.mts" > "$t/json" &&
        sed -n 's/.*"mixture": \[\(.*\)\].*/\1/p' "$t/json" | tr -d , | awk '{ exit !(NF == 3 && $3 > $1 && $3 > $2 && $1 + $2 + $3 > 0.999 && $1 + $2 + $3 < 1.001) }'
}
check "the mixture turns to the layer that knows" mixture
tags() {
    probe -l "$t/tags" --task multilabel "$t/items.mts" > "$t/table" &&
        all_within 1 1 2 roc_auc 0.999 1 2 ap 0.9 1 2 f1_macro 0.95 1 2 f1_micro 0.35 0.65 0 roc_auc
}
check "several labels, or none" tags
numbers() {
    probe -l "$t/numbers" --task regress "$t/items.mts" > "$t/table" && all_within 0.98 1 0 r2 0.1 4 0 mae -0.1 0.02 prior r2 20 28 prior mae
}
check "numbers" numbers
pairs() {
    probe -l "$t/pairs" --task regress "$t/items.mts" > "$t/table" && all_within 0.95 1 0 r2_1 -0.6 0.2 0 r2_2 &&
        awk -v a="$(value 0 r2_1)" -v b="$(value 0 r2_2)" -v m="$(value 0 r2)" 'BEGIN { d = (a + b) / 2 - m; exit !(d < 2e-4 && d > -2e-4) }'
}
check "several numbers, each on its own" pairs

# ---- spans and frames ----

spans() { probe -l "$t/spans" "$t/long.mts" --folds 3 > "$t/table" && all_within 1 1 mfcc accuracy && [ "$(value mfcc accuracy n)" = 5 ]; }
check "time spans" spans
shifted() { # labels half a span late are right half of the time at most
    awk -F'\t' -v OFS='\t' '{ $2 += 0.25; $3 += 0.25; print }' "$t/spans" > "$t/late" &&
        probe --frames -l "$t/late" "$t/long.mts" --folds 3 > "$t/table" && all_within 0.3 0.7 mfcc accuracy
}
check "spans that come late are another matter" shifted
frames() { probe --frames -l "$t/spans" "$t/long.mts" --folds 3 > "$t/table" && all_within 0.99 1 mfcc accuracy; }
check "single frames of spans" frames
counted() { mert-probe -v --frames "$@" 2>&1 > /dev/null | grep -o '^mert-probe: [0-9]* frames of [0-9]* items'; }
some() { [ "$(counted -l "$t/spans" "$t/long.mts" --folds 3)" = "mert-probe: 480 frames of 6 items" ] &&
    [ "$(counted --max-frames 200 -l "$t/spans" "$t/long.mts" --folds 3)" = "mert-probe: 200 frames of 6 items" ]; }
check "no more frames than asked for" some
overlapping() { # the whole item as one more span of its own class
    { cat "$t/spans"; for k in 0 1 2 3 4 5; do printf 'long%d\t0\t8\tall\n' $k; done; } > "$t/over" &&
        probe -l "$t/over" "$t/long.mts" --folds 3 --json > "$t/json" && grep -q '"instances": 102, "groups": 6' "$t/json" &&
        grep -q '"classes": \["all", "span 0", "span 1", "span 2", "span 3"\]' "$t/json"
}
check "spans may overlap" overlapping
# The mean over an item equals a pooled stream: the same table, in its order of layers.
awk '{ n = (NF - 1) / 24; printf "%s", $1; for (k = 0; k < 24; k++) { s = 0; for (f = 0; f < n; f++) s += $(2 + f * 24 + k); printf " %.17g", s / n }; print "" }' "$t/items" > "$t/pooled"
pooled() { text-stream hidden 3 8 0 < "$t/pooled" | probe -l "$t/classes" > "$t/table" && cmp "$t/table" "$t/expected"; }
check "pooled features" pooled

# ---- the same result however it is run ----

threads() { # OPTIONS
    probe --threads 1 "$@" "$t/items.mts" --json > "$t/one" && probe --threads 2 "$@" "$t/items.mts" --json > "$t/two" && cmp "$t/one" "$t/two"
}
check "one thread or two: linear" threads -l "$t/classes"
check "one thread or two: mlp, mixture" threads -l "$t/classes" --probe mlp --weighted --hidden 8 --seeds 2 --epochs 10
check "one thread or two: frames" threads -l "$t/numbers" --task regress --frames --max-frames 100
tac "$t/items" > "$t/items.back"
head -n 40 "$t/items.back" > "$t/first"; tail -n +41 "$t/items.back" > "$t/second"
hidden "$t/first" > "$t/first.mts"; hidden "$t/second" > "$t/second.mts"
order() { probe "$@" "$t/items.mts" > "$t/one" && probe "$@" "$t/first.mts" "$t/second.mts" > "$t/two" && cmp "$t/one" "$t/two"; }
check "items in another order, in two files" order -l "$t/classes"
check "a sample of frames, too" order -l "$t/classes" --frames --max-frames 150 --seeds 1
seeds() { probe -l "$t/classes" --seed 6 "$t/items.mts" > "$t/table" && ! cmp -s "$t/table" "$t/expected"; }
check "another seed deals anew" seeds

# ---- splits and groups ----

split() { probe -l "$t/columns" "$t/items.mts" > "$t/table" && all_within 1 1 2 accuracy && [ "$(value 2 accuracy n)" = 1 ]; }
check "a column gives the split; nothing is random then" split
cut -f 1,2 "$t/columns" | sed 1d > "$t/plain"
manifests() {
    for part in train valid test; do
        { echo /music; awk -F'\t' -v p=$part '$3 == p { print $1 "\t1" }' "$t/columns"; } > "$t/$part.tsv"
    done
    probe -l "$t/plain" --train "$t/train.tsv" --valid "$t/valid.tsv" --test "$t/test.tsv" "$t/items.mts" > "$t/two" && cmp "$t/table" "$t/two"
}
check "manifests give the same" manifests
carved() { probe -l "$t/plain" --train "$t/train.tsv" --test "$t/test.tsv" "$t/items.mts" > "$t/table" && [ "$(value 2 accuracy n)" = 5 ] && all_within 1 1 2 accuracy; }
check "without a valid part one is taken from train" carved
column() { probe -l "$t/columns" --column other --task regress "$t/items.mts" > "$t/table" && within 0 0.2 2 mae; }
check "another column holds the labels" column
# A column that identifies groups, and labels by group: useless if groups are not divided.
awk -v t="$t" 'BEGIN { srand(3); for (g = 0; g < 16; g++) { c = g % 2; for (i = 0; i < 6; i++) {
    printf "g%d-%d", g, i > (t "/marks"); for (d = 0; d < 16; d++) printf " %.4f", (d == g) + 0.02 * rand() > (t "/marks"); print "" > (t "/marks")
    printf "g%d-%d\tc%d\tgroup %d\n", g, i, c, g > (t "/grouped") } } }'
text-stream emb 1 16 0 < "$t/marks" > "$t/marks.mts"
sed -i '1i key\tlabel\tgroup' "$t/grouped"
cut -f 1,2 "$t/grouped" | sed 1d > "$t/ungrouped"
groups() {
    probe -l "$t/ungrouped" "$t/marks.mts" > "$t/table" && all_within 0.95 1 emb accuracy &&
        probe -l "$t/grouped" "$t/marks.mts" > "$t/table" && all_within 0 0.6 emb accuracy
}
check "groups stay on one side" groups

# ---- names, notes, output ----

mert-tensor from-npy --kind pcm --rate 24000 --key a "$golden/mert-post-ln/audio.npy" > "$t/a.mts"
for k in b c d; do mert-tensor from-npy --kind pcm --rate 24000 --key $k "$golden/mert-pre-ln/audio.npy"; done > "$t/bcd.mts"
printf 'a\tx\nb\ty\nc\tx\nd\ty\n' > "$t/abcd"
named() {
    mert-encode -q -m "$golden/mert-post-ln" --layers 2,0 "$t/a.mts" "$t/bcd.mts" > "$t/named.mts" && probe --frames --folds 3 -l "$t/abcd" "$t/named.mts" > "$t/table" &&
        [ "$(cut -f 1 "$t/table" | uniq | tr '\n' ' ')" = "layer prior 2 0 " ]
}
check "layers have the numbers that mert-encode gave them" named
notes() {
    { sed 3,6d "$t/classes"; printf 'nobody\tclass 0\n'; } > "$t/part" && mert-probe -l "$t/part" "$t/items.mts" > "$t/table" 2> "$t/notes" && [ "$(wc -l < "$t/notes")" -eq 1 ] &&
        grep -q "part: 4 items without a row (the first: 'a_b/02.wav'); 1 row without features$" "$t/notes"
}
check "what does not meet is said once, with counts" notes
empty() { { cat "$t/spans"; printf 'long0\t9\t10\tspan 0\nlong0\t1\t1.001\tspan 0\n'; } > "$t/more" && mert-probe -l "$t/more" --folds 3 "$t/long.mts" 2>&1 > /dev/null | grep -q 'more: 2 spans without a frame$'; }
check "spans without a frame are counted" empty
escaped() { sed 's/_/%5F/; s/\.wav/%2ewav/' "$t/classes" > "$t/escaped" && probe -l "$t/escaped" "$t/items.mts" > "$t/table" && cmp "$t/table" "$t/expected"; }
check "keys are written as mert-tensor ls writes them" escaped
crlf() { sed 's/$/\r/' "$t/classes" > "$t/crlf" && probe -l "$t/crlf" "$t/items.mts" > "$t/table" && cmp "$t/table" "$t/expected"; }
check "lines may end in CR LF" crlf
best() { mert-probe -v -l "$t/classes" "$t/items.mts" 2>&1 > /dev/null | grep -q '96 items of 96 items or groups, 4 classes; best accuracy: layer 2, 1.000 (1.000 to 1.000 over 5 seeds); a guess: 0\.'; }
check "-v names the best layer" best
json() { probe -l "$t/classes" --json "$t/items.mts" > "$t/json" && grep -c '"values": \[[0-9., ]*\]' "$t/json" | grep -qx 20 && grep -q '"seeds": \[1, 2, 3, 4, 5\]' "$t/json"; }
check "JSON has every seed" json
check_fails "a full disk" 1 'standard output: No space' sh -c "mert-probe -q -l '$t/classes' '$t/items.mts' > /dev/full"

# ---- refusals ----

refused() { # NAME PATTERN TABLE [OPTIONS]: the table's text
    name=$1 pattern=$2; printf "$3" > "$t/bad"; shift 3
    check_fails "$name" 1 "$pattern" mert-probe -q -l "$t/bad" "$@" "$t/items.mts"
}
a=a_b/00.wav b=a_b/01.wav
refused "no row fits" "bad: no item has a row: the first item is 'a_b/00.wav', the first key 'x'" 'x\ty\n'
check_fails "one class" 1 "one class only, '0'" mert-probe -q -l "$t/one_class" "$t/items.mts"
check_fails "one number" 1 'all rows with features have the same number, 0' mert-probe -q --task regress -l "$t/one_class" "$t/items.mts"
check_fails "one label that all have" 1 'the one label there is' mert-probe -q --task multilabel -l "$t/one_class" "$t/items.mts"
refused "fewer items than folds" 'bad: 2 items or groups cannot be divided into 5 folds' "$a\tx\n$b\ty\n"
refused "several labels for one class" 'line 2: .x,y. holds a comma.*multilabel' "$a\tx\n$b\tx,y\n"
refused "an empty class" 'line 2: the label is empty' "$a\tx\n$b\t\n"
refused "an empty label between others" 'line 1: an empty label between commas' "$a\tx,,y\n$b\tx\n" --task multilabel
refused "a word for a number" "line 2: 'fast' is no number" "$a\t1\n$b\tfast\n" --task regress
refused "too few numbers" 'line 2: 1 numbers, the others have 2' "$a\t1,2\n$b\t3\n" --task regress
refused "an item twice" "line 3: 'a_b/00.wav' is there already, in line 1" "$a\tx\n$b\ty\n$a\ty\n"
refused "a line without a tab" 'line 2 has 1 field, the first one has 2' "$a\tx\nnothing\n"
refused "three columns without names" 'line 1 has 3 fields' "$a\tx\ty\n"
refused "an empty table" 'no labels in it' ''
refused "an empty key" 'line 1: the key is empty' '\tx\n'
refused "a key that is badly escaped" 'line 1: a % in a key' 'a%%2\tx\n'
refused "a NUL byte" ':1: a NUL byte' 'a\000b\tx\n'
refused "a span that ends before it begins" 'line 1: the span ends at 1 s, but begins at 2 s' "$a\t2\t1\tx\n"
refused "a time that is none" "line 1: 'soon' is no time" "$a\t0\tsoon\tx\n"
refused "a column that is not there" "names no column 'mood'" "key\tlabel\n$a\tx\n" --column mood
refused "a column of a table without names" "does not begin with 'key'" "$a\tx\n" --column mood
refused "a start without an end" "'start' without 'end'" "key\tlabel\tstart\n$a\tx\t0\n"
refused "a column twice" "'label' is there twice" "key\tlabel\tlabel\n$a\tx\ty\n"
refused "an unknown split" "line 2: split 'dev' is none" "key\tlabel\tsplit\n$a\tx\tdev\n"
refused "a split without test" 'no features to test on' "key\tlabel\tsplit\n$a\tx\ttrain\n$b\ty\ttrain\n"
refused "a group on two sides" "line 3: group 'g' is on two sides" "key\tlabel\tsplit\tgroup\n$a\tx\ttrain\tg\n$b\ty\ttest\tg\n"
refused "spans of an item on two sides" 'has another split in line 3 than in line 2' "key\tlabel\tstart\tend\tsplit\n$a\tx\t0\t1\ttrain\n$a\ty\t1\t2\ttest\n"
check_fails "a split twice" 1 "has a column 'split'" mert-probe -q -l "$t/columns" --train "$t/train.tsv" --test "$t/test.tsv" "$t/items.mts"
check_fails "an item in two manifests" 1 'test.tsv: .a_b/64.wav. is in another part' mert-probe -q -l "$t/plain" --train "$t/test.tsv" --test "$t/test.tsv" "$t/items.mts"
check_fails "a table that is not there" 1 'none: No such file' mert-probe -q -l "$t/none" "$t/items.mts"
check_fails "no table is wrong use" 2 '--labels FILE is needed' mert-probe "$t/items.mts"
check_fails "train without test is wrong use" 2 'go together' mert-probe -l "$t/classes" --train "$t/train.tsv" "$t/items.mts"
check_fails "a decay that is none is wrong use" 2 'no list of numbers' mert-probe -l "$t/classes" --decay 1,x "$t/items.mts"

# Failed items are named, and the table is made from the others.
awk 'NR == 5 { $9 = "nan" } 1' "$t/items" > "$t/nan"
hidden "$t/nan" > "$t/nan.mts"
check_fails "NaN is an item that failed" 1 'a_b/04.wav: frame 0 holds a NaN' sh -c "mert-probe -q -l '$t/classes' '$t/nan.mts' > '$t/table'"
check "the others make the table" within 1 1 2 accuracy
check_fails "an item that comes twice" 1 'a_b/03.wav: came twice' sh -c "sed -n 4p '$t/items' | text-stream hidden 3 8 10 | mert-probe -q -l '$t/classes' '$t/items.mts' - > '$t/table'"
check_fails "an item without frames" 1 'a_b/03.wav: has no frames' sh -c "sed '4s/ .*/ /' '$t/items' | text-stream hidden 3 8 10 | mert-probe -q -l '$t/classes' > '$t/table'"
sed -n 4p "$t/items" > "$t/odd"; sed 4d "$t/items" | text-stream hidden 3 8 10 > "$t/rest.mts"
odd() { check_fails "$1" 1 "$2" sh -c "text-stream $3 10 < '$t/odd' | mert-probe -q -l '$t/classes' '$t/rest.mts' - > '$t/table'"; }
odd "another number of layers" 'a_b/03.wav: hidden of 6 x 4 values, but the items before it were hidden of 3 x 8' 'hidden 6 4'
odd "another kind" 'a_b/03.wav: mfcc of 1 x 24 values' 'mfcc 1 24'
head -n 5 "$t/long" | text-stream mfcc 1 4 10 > "$t/long5.mts"
check_fails "spans of pooled features" 1 'long5: has no frames per second' sh -c "tail -n 1 '$t/long' | text-stream mfcc 1 4 0 | mert-probe -q -l '$t/spans' --folds 3 '$t/long5.mts' - > '$t/table'"
constant() { sed 's/ .*/ 1 2 3/' "$t/items" | text-stream emb 1 3 0 | mert-probe -q -l "$t/classes"; }
check_fails "features that are all the same" 1 'all features are the same' constant
pcm() { mert-probe -q -l "$t/abcd" "$t/a.mts" 2> "$t/log"; rc=$?; sed 1q "$t/log" >&2; return $rc; }
check_fails "samples are no features" 1 'a: needs features' pcm
head -c 3000 "$t/items.mts" > "$t/cut.mts"
check_fails "a stream that stops makes no table" 1 'cut.mts' sh -c "mert-probe -q -l '$t/classes' '$t/cut.mts' > '$t/table'"
check "really none" test ! -s "$t/table"
