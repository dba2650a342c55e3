# mert-train: the best model by a figure of validations, and the end of a run that gets no better.
. tests/shell
. tests/training
value() { awk -F'\t' -v c="$2" -v r="${3:-2}" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == c) n = i} NR == r && n {print $n}' "$1"; } # FILE COLUMN ROW
best_of() { # FILE COLUMN: the update of the smallest value after update 0
    awk -F'\t' -v c="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == c) n = i} NR > 2 && (NR == 3 || $n < best) {best = $n; u = $1} END {print u}' "$1"
}
# A run whose loss soon rises again: it learns too fast.
rises() { to=$1; shift; train "$to" --set validate_interval=1 --set lr=0.1 --set warmup_updates=3 --set total_updates=24 --set max_update=10 --set best_metric=loss "$@"; }
check "a run" rises whole --set save_interval=1
best() { u=$(best_of whole/valid.tsv loss) && echo "best: $u" && [ "$u" -lt 10 ] && cmp whole/best/model.safetensors "whole/checkpoint-$u/model.safetensors" && ! cmp -s whole/best/model.safetensors whole/model/model.safetensors && mert-model verify whole/best; }
check "the best model is that of the smallest loss" best
few() { rises few --set keep=1 && cmp whole/best/model.safetensors few/best/model.safetensors && [ "$(ls -d few/checkpoint-* | wc -l)" -eq 1 ] && cmp whole/model/model.safetensors few/model/model.safetensors; }
check "it stays when its checkpoint goes" few
patient() {
    rises patient --set patience=2 && n=$(cut -f 1 patient/valid.tsv | tail -n 1) && [ "$n" -lt 10 ] && b=$(best_of patient/valid.tsv loss) && [ "$n" -eq $((b + 2)) ] && [ -d "patient/checkpoint-$n" ] && cmp patient/best/model.safetensors "whole/checkpoint-$b/model.safetensors"
}
check "after two validations without a better one it ends" patient
said() { mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save patient --set validate_interval=1 --set lr=0.1 --set warmup_updates=3 --set total_updates=24 --set max_update=10 --set best_metric=loss --resume "$@" 2> said; }
again() { said --set patience=2 && grep -q "ended after update [0-9]*: 2 validations were not better than that of update [0-9]*, whose model is patient/best" said && [ "$(cut -f 1 patient/valid.tsv | tail -n 1)" -eq "$n" ]; }
check "given again, it says so" again
on() { said --set patience=100 && [ -d patient/checkpoint-10 ] && cmp patient/best/model.safetensors whole/best/model.safetensors; }
check "with more patience it goes on" on
killed() { # before SAVE/best was made
    rises killed --set max_update="$(best_of whole/valid.tsv loss)" && rm -r killed/best && rises killed --resume && cmp killed/best/model.safetensors whole/best/model.safetensors
}
check "a run that was killed makes up for it" killed
parts() { rises pieces --set max_update=3 && rises pieces --set max_update=4 --resume && rises pieces --resume && cmp pieces/best/model.safetensors whole/best/model.safetensors && cmp pieces/checkpoint-10/state.json whole/checkpoint-10/state.json; }
check "in parts: the same" parts
two() { train two --set validate_interval=5 --set best_metric=accuracy --processes 2 --threads 1 && [ -s two/best/model.safetensors ] && train ce --set best_metric=ce && cmp ce/best/model.safetensors "ce/model/model.safetensors"; }
check "by other figures, and of two processes" two
none() { train plain && [ ! -e plain/best ]; }
check "without a figure there is none" none
check_fails "patience for nothing" 1 'patience 3 needs a best_metric' train refused --set patience=3

# ---- the moving mean of the weights ----

floats() { tail -c 40000 "$1" | od -An -v -w4 -tf4; } # the last 10,000 numbers
ema() { to=$1; shift; train "$to" --set ema_decay=0.75 --set total_updates=4 --set warmup_updates=1 --set save_interval=1 "$@"; }
check "a run" ema mean
by_definition() { # from the models before the first update (lr is 0 in it) and after each
    for u in 1 2 3 4; do floats mean/checkpoint-$u/model.safetensors > w$u; done
    floats mean/ema/model.safetensors > m
    paste w1 w2 w3 w4 m | awk '{x = $1; for (i = 2; i <= 4; i++) x += 0.25 * ($i - x); d = x - $5; s = $1 * $1 + $4 * $4; bad = bad || d * d > 1e-11 * s; moved = moved || $5 != $4} END {exit bad || !moved || NR != 10000}'
}
check "it is the mean by its definition" by_definition
check "its model is whole" mert-model verify mean/ema
same() { for f in model.safetensors optimizer.safetensors ema.safetensors state.json hashes; do cmp "mean/checkpoint-4/$f" "$1/checkpoint-4/$f" || return; done; cmp mean/ema/model.safetensors "$1/ema/model.safetensors"; }
resumed() { ema resumed --set max_update=2 && ema resumed --set max_update=3 --resume && ema resumed --resume && same resumed; }
check "resumed: the same bytes" resumed
spread() { ema pair --processes 2 --threads 1 --set update_batches=2 && ema full --processes 2 --threads 1 --set update_batches=2 --shard full && cmp pair/ema/model.safetensors full/ema/model.safetensors && ema guarded --device guard && same guarded; }
check "in processes, in pieces, and where the host cannot read the weights" spread
late() { train later --set total_updates=4 --set max_update=2 && train later --set total_updates=4 --resume --change ema_decay=0.5 && mert-model verify later/ema && ! cmp -s later/ema/model.safetensors later/model/model.safetensors; }
check "begun in the middle of a run" late
damaged() { cp -r mean damaged && printf x | dd of=damaged/checkpoint-4/ema.safetensors bs=1 seek=5000 conv=notrunc 2> dd.err && ema damaged --resume; }
check_fails "a damaged one is refused" 1 'damaged/checkpoint-4/ema.safetensors' damaged
