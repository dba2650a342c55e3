# mert-train --pieces: labels, predictions and masks of held-out pieces as a stream, against the accuracies of valid.tsv; and in the
# page of mert-plot report.
. tests/shell
golden=$(cd "$golden" && pwd)
. tests/training

# Validation's crops are the beginnings of the two items, so both must find the same.
here() { train "$@" --threads 1 --set special_rows=0 --set valid_sample_size=26000 --set max_update=4 --set validate_interval=2 --pieces 2; }
written() { here run && mert-tensor check run/predictions.mts && [ "$(mert-tensor ls run/predictions.mts | cut -f 2-5)" = "$(printf 's%d.wav\tcodes\ti32\t[%d,5]\n' 8 81 9 81)" ]; }
check "labels, predictions and mask of each piece" written
text() { for k in 0 1 2 3 4; do mert-tensor text --no-heads --codebook $k run/predictions.mts | tr ' ' '\n' > c$k || return; done; }
labelled() { text && for k in 0 1; do cut -d ' ' -f 1-81 valid.q_$k | tr ' ' '\n' | cmp - c$k || return; done; }
check "the labels are those of the files" labelled
column() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} {last = $c} END {print last}' "$1"; }
same() {
    for k in 0 1; do
        share=$(paste c$k c$((k + 2)) c4 | awk '$3 { n++; same += $1 == $2 } END { printf "%.5f", same / n }') && listed=$(column run/valid.tsv accuracy_$k) &&
            awk -v a="$share" -v b="$listed" 'BEGIN { d = a - b; exit !(d < 1e-4 && d > -1e-4) }' || { echo "$share $listed"; return 1; }
    done
}
check "masked predictions agree as often as valid.tsv says" same
guarded() { here guarded --device guard && cmp run/predictions.mts guarded/predictions.mts; }
check "the same on a device that the host cannot look into" guarded
pair() { here pair --processes 2 && mert-tensor ls pair/predictions.mts | cut -f 2-5 > pair.ls && mert-tensor ls run/predictions.mts | cut -f 2-5 | cmp - pair.ls; }
check "with two processes one of them writes" pair
glu() { here glu --set target_glu=yes --set untie_final_proj=no --set mask_with=noise --set mask_spans=grid && mert-tensor text --no-heads --codebook 2 glu/predictions.mts | tr ' ' '\n' > g2 && mert-tensor text --no-heads --codebook 0 glu/predictions.mts | tr ' ' '\n' > g0 && mert-tensor text --no-heads --codebook 4 glu/predictions.mts | tr ' ' '\n' > g4 &&
    share=$(paste g0 g2 g4 | awk '$3 { n++; same += $1 == $2 } END { print same / n }') && listed=$(column glu/valid.tsv accuracy_0) && awk -v a="$share" -v b="$listed" 'BEGIN { d = a - b; exit !(d < 1e-4 && d > -1e-4) }'; }
check "with GLU, one projection and noise, too" glu
check_fails "not with shared weights" 2 'pieces needs all weights in one process' train none --shard full --pieces 1
check_fails "not so many" 2 'pieces: 33 is outside 0 to 32' train none --pieces 33

command -v mert-plot > found || { skip "in the report" "built without cairo"; exit; }
reported() {
    mert-plot report -o run.html run && grep -q '>Predictions<' run.html && grep -q '<title>.*labels' run.html &&
        paste c0 c2 c1 c3 c4 | head -n 81 | awk '$5 { n += 2; same += ($1 == $2) + ($3 == $4) } !$5 { m += 2; other += ($1 == $2) + ($3 == $4) } END { printf "s8.wav: %.1f %% of the predictions of masked frames agree with the labels, %.1f %% of the others", 100 * same / n, 100 * other / m }' > share &&
        grep -qF "$(cat share)" run.html
}
check "in the report, with the share that agrees" reported
forged() { cp -r run forged && mert-tensor from-npy --kind codes --rate 24000 --frame-rate 75 --classes 64 --transpose "$golden/encodec-tiny/codes.npy" > forged/predictions.mts && mert-plot report -o forged.html forged; }
check_fails "another stream in its place" 1 'forged/predictions.mts: not written by mert-train --pieces' forged
cut_short() { cp -r run short && head -c 300 run/predictions.mts > short/predictions.mts && mert-plot report -o short.html short; }
check_fails "half of it" 1 'short/predictions.mts' cut_short
