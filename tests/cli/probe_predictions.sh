# mert-probe --predictions, --confusion, --per-item: the tables agree with the scores and with each other.
. tests/shell
t=$TEST_TMP

# Six items of 80 frames at 10 a second, spans of half a second of four keys in turn; classes overlap, so that there are
# errors. "whole" has one label for all spans of an item.
awk -v t="$t" 'BEGIN {
    srand(5); split("C major,G major,a minor,C:min", name, ",")
    for (k = 0; k < 12; k++) {
        line = ""
        for (f = 0; f < 80; f++) for (l = 0; l < 2; l++) for (d = 0; d < 4; d++)
            line = line sprintf(" %.4f", 2 * rand() + (0.25 + 0.5 * l) * (d == (int(f / 5) + k) % 4) + 0.15 * (d == k % 4))
        printf "it%%em_%d%s\n", k, line > (t "/long")
        for (s = 0; s < 16; s++) {
            span = sprintf("it%%25em_%d\t%g\t%g", k, s / 2, s / 2 + 0.5)
            print span "\t" name[(s + k) % 4 + 1] > (t "/spans")
            print span "\t" (k % 4 > 1 ? "low" : "high") > (t "/whole")
            print span "\t" (s % 2 ? "odd" : "") ((s + k) % 4 ? "" : s % 2 ? ",first" : "first") > (t "/tags")
            print span "\t" (s + k) % 4 "," k % 4 > (t "/numbers")
        }
    }
}'
text-stream hidden 2 4 10 < "$t/long" > "$t/long.mts"
probe() { mert-probe -q --folds 3 "$@" "$t/long.mts" > "$t/table"; }
value() { awk -F'\t' -v l="$1" -v m="$2" '$1 == l && $2 == m { print $3 }' "$t/table"; }
near() { awk -v a="$1" -v b="$2" 'BEGIN { d = a - b; if (a == "" || b == "" || d > 1e-4 || d < -1e-4) { print a, b; exit 1 } }'; }
head_is() { [ "$(head -n 1 "$1" | tr '\t' '|')" = "$2" ] || { head -n 1 "$1"; return 1; }; }

# ---- predictions ----

whole_table() { # every layer and seed, each instance once
    probe -l "$t/spans" --seeds 2 --predictions "$t/p" --confusion "$t/c" &&
        head_is "$t/p" 'key|start|end|layer|seed|fold|label|predicted|score:C major|score:C:min|score:G major|score:a minor' &&
        [ "$(wc -l < "$t/p")" -eq 769 ] && [ "$(sed 1d "$t/p" | cut -f 1-5 | sort -u | wc -l)" -eq 768 ] &&
        sed 1d "$t/p" | awk -F'\t' '$4 == 0 && $5 == 1' | cut -f 1-3,7 > "$t/again" && LC_ALL=C sort "$t/spans" > "$t/a" && LC_ALL=C sort "$t/again" | cmp - "$t/a"
}
check "every prediction, with key and span as in the table of labels" whole_table
agree() { # accuracy and key score, from the predictions
    awk -F'\t' 'BEGIN { s["C major,G major"] = 0.5; s["a minor,C major"] = 0.3; s["C major,a minor"] = 0.3; s["C:min,C major"] = 0.2; s["C major,C:min"] = 0.2 }
        NR > 1 { n[$4]++; right[$4] += $7 == $8; keys[$4] += $7 == $8 ? 1 : s[$7 "," $8] } END { for (l in n) print l, right[l] / n[l], keys[l] / n[l] }' "$t/p" | sort > "$t/counted"
    while read -r l right keys; do near "$(value "$l" accuracy)" "$right" && near "$(value "$l" weighted_key_score)" "$keys" || return; done < "$t/counted"
    [ "$(wc -l < "$t/counted")" -eq 2 ] && awk '{ exit !($2 > 0.3 && $2 < 0.98) }' "$t/counted"
}
check "accuracy and key score are those of the predictions" agree
probabilities() { awk -F'\t' 'NR > 1 { s = $9 + $10 + $11 + $12; if (s < 0.9999 || s > 1.0001) exit 1
    best = 9; for (c = 10; c <= 12; c++) if ($c > $best) best = c; split("C major,C:min,G major,a minor", name, ","); if (name[best - 8] != $8) exit 1 }' "$t/p"; }
check "scores are probabilities, and the highest is the prediction" probabilities
folds() { awk -F'\t' 'NR > 1 { if ($5 $1 in f && f[$5 $1] != $6) exit 1; f[$5 $1] = $6; n[$6]++ } END { for (k in n) { m++; if (n[k] != 256) exit 1 } exit m != 3 }' "$t/p"; }
check "an item is in one fold" folds
confusion() {
    head_is "$t/c" 'layer|label|C major|C:min|G major|a minor' && [ "$(wc -l < "$t/c")" -eq 9 ] &&
        awk -F'\t' 'FILENAME ~ /c$/ && FNR == 1 { for (i = 3; i <= NF; i++) name[i] = $i } FILENAME ~ /c$/ && FNR > 1 { for (i = 3; i <= NF; i++) c[$1 "," $2 "," name[i]] = $i }
            FILENAME ~ /p$/ && FNR > 1 { n[$4 "," $7 "," $8]++ } END { for (k in c) if (c[k] != n[k] + 0) exit 1; for (k in n) if (n[k] != c[k]) exit 1 }' "$t/c" "$t/p"
}
check "confusion counts the predictions" confusion
one_layer() { probe -l "$t/spans" --seeds 1 --layer 1 --predictions "$t/p1" --confusion "$t/c1" && [ "$(sed 1d "$t/p1" | cut -f 4,5 | sort -u)" = "$(printf '1\t1')" ] && awk -F'\t' 'NR == 1 || $4 == 1 && $5 == 1' "$t/p" | cmp - "$t/p1" && [ "$(sed 1d "$t/c1" | cut -f 1 | sort -u)" = 1 ]; }
check "one layer of them" one_layer
threads() { probe -l "$t/spans" --seeds 2 --threads 1 --predictions "$t/p2" && cmp "$t/p" "$t/p2"; }
check "one thread or more" threads
tags() {
    probe -l "$t/tags" --task multilabel --seeds 1 --predictions "$t/m" --confusion "$t/mc" && head_is "$t/m" 'key|start|end|layer|seed|fold|label|predicted|score:first|score:odd' &&
        head_is "$t/mc" 'layer|label|true_positive|false_negative|false_positive|true_negative' &&
        awk -F'\t' 'function has(l, x) { return index("," l ",", "," x ",") > 0 } FILENAME ~ /m$/ && FNR > 1 { for (i = 9; i <= 10; i++) { x = i == 9 ? "first" : "odd"; if (has($8, x) != ($i > 0.5)) exit bad = 1; n[$4 x has($7, x) has($8, x)]++ } }
            FILENAME ~ /mc$/ && FNR > 1 { rows++; if ($3 != n[$1 $2 "11"] + 0 || $4 != n[$1 $2 "10"] + 0 || $5 != n[$1 $2 "01"] + 0 || $6 != n[$1 $2 "00"] + 0) exit bad = 1 } END { exit bad || rows != 4 }' "$t/m" "$t/mc"
}
check "several labels" tags
numbers() {
    probe -l "$t/numbers" --task regress --seeds 1 --layer 1 --predictions "$t/n" && head_is "$t/n" 'key|start|end|layer|seed|fold|label|predicted' &&
        awk -F'\t' 'NR > 1 { split($7, y, ","); split($8, p, ","); for (i = 1; i <= 2; i++) { d = y[i] - p[i]; e += d < 0 ? -d : d; n++ } } END { printf "%.6f\n", e / n }' "$t/n" > "$t/mae" && near "$(value 1 mae)" "$(cat "$t/mae")"
}
check "numbers" numbers
frames() {
    probe -l "$t/spans" --frames --max-frames 300 --seeds 1 --layer 1 --predictions "$t/f" && [ "$(wc -l < "$t/f")" -eq 301 ] &&
        awk -F'\t' 'FILENAME ~ /spans/ { label[$1 "," int($2 * 2)] = $4 } FILENAME !~ /spans/ && FNR > 1 { if ($1 == key && $2 <= at) exit 1; key = $1; at = $2; d = $3 - $2; if (d < 0.0999 || d > 0.1001 || label[$1 "," int(2 * $2 + 0.01)] != $7) exit 1 }' "$t/spans" "$t/f"
}
check "frames, in order, with their times" frames
whole() { awk '{ print $1 "\t" (NR % 2 ? "x" : "y") }' "$t/long" | sed 's/%/%25/' > "$t/items" && probe -l "$t/items" --seeds 1 --layer 0 --predictions "$t/w" && [ "$(sed 1d "$t/w" | cut -f 2,3 | sort -u)" = "$(printf '%s\t-' -)" ] && [ "$(wc -l < "$t/w")" -eq 13 ]; }
check "whole items have no span" whole
split() { awk -F'\t' -v OFS='\t' 'BEGIN { print "key", "start", "end", "label", "split" } { k = substr($1, 9) + 0; print $0, k < 6 ? "train" : k < 9 ? "valid" : "test" }' "$t/spans" > "$t/split" && probe -l "$t/split" --predictions "$t/s" && [ "$(sed 1d "$t/s" | cut -f 1 | sort -u | tr '\n' ' ')" = 'it%25em_10 it%25em_11 it%25em_9 ' ] && [ "$(sed 1d "$t/s" | cut -f 6 | sort -u)" = 0 ]; }
check "of a fixed split, the test part" split

# ---- items ----

items() { # the mean of the probabilities of spans
    probe -l "$t/whole" --seeds 2 --predictions "$t/a" && cp "$t/table" "$t/spanwise" && probe -l "$t/whole" --seeds 2 --per-item --predictions "$t/b" --confusion "$t/bc" && [ "$(wc -l < "$t/b")" -eq 49 ] &&
        awk -F'\t' 'FILENAME ~ /a$/ && FNR > 1 { k = $1 "," $4 "," $5; s[k] += $9; n[k]++ }
            FILENAME ~ /b$/ && FNR > 1 { k = $1 "," $4 "," $5; d = s[k] / n[k] - $9; if (n[k] != 16 || d > 1e-5 || d < -1e-5 || $2 != "-" || $8 != ($9 > 0.5 ? "high" : "low")) exit 1 }' "$t/a" "$t/b" &&
        near "$(value 1 accuracy)" "$(awk -F'\t' '$4 == 1 { n++; r += $7 == $8 } END { print r / n }' "$t/b")" && ! cmp -s "$t/table" "$t/spanwise" &&
        [ "$(awk -F'\t' 'NR > 1 { s += $3 + $4 } END { print s }' "$t/bc")" -eq 48 ]
}
check "the mean over the spans of an item" items
means() { awk -F'\t' -v OFS='\t' '{ k = substr($1, 9); print $1, $2, $3, k % 4 + 1 }' "$t/spans" > "$t/level" && probe -l "$t/level" --task regress --seeds 1 --layer 1 --predictions "$t/a" && probe -l "$t/level" --task regress --seeds 1 --layer 1 --per-item --predictions "$t/b" &&
    awk -F'\t' 'FILENAME ~ /a$/ && FNR > 1 { s[$1] += $8; n[$1]++ } FILENAME ~ /b$/ && FNR > 1 { d = s[$1] / n[$1] - $8; if (d > 1e-5 || d < -1e-5) exit 1; m++ } END { exit m != 12 }' "$t/a" "$t/b"; }
check "the mean of numbers" means
check_fails "an item of several labels" 1 'spans: line 2: .it%em_0. has another label than in line 1: --per-item needs one label' probe -l "$t/spans" --per-item

# ---- refusals ----

check_fails "confusion of numbers is wrong use" 2 'for classes and labels' probe -l "$t/numbers" --task regress --confusion "$t/x"
check_fails "a layer that there is not" 1 "no layer '7': the first one is '0'" probe -l "$t/spans" --layer 7
check_fails "the labels are not overwritten" 1 'spans: is an input of this command' probe -l "$t/spans" --predictions "$t/spans"
check_fails "nor the features" 1 'long.mts: is an input of this command' probe -l "$t/spans" --confusion "$t/long.mts"
check_fails "one file for two tables is wrong use" 2 'the same file' probe -l "$t/spans" --predictions "$t/x" --confusion "$t/x"
check_fails "a full disk" 1 '^mert-probe: /dev/full: cannot write.*No space' probe -l "$t/spans" --predictions /dev/full
none() { mert-probe -q -l "$t/none.tsv" --predictions "$t/left" "$t/long.mts" 2> "$t/said"; probe -l "$t/items" --folds 20 --predictions "$t/left" 2> "$t/said"; [ $? -eq 1 ] && [ ! -e "$t/left" ] && ! ls "$t"/left* 2> "$t/said"; }
check "no table of a run that failed" none
