# mert-train with 16-bit elements: bfloat16, and float16 with a loss scale that changes. A gradient that overflows is
# forced by a weight of the CQT's loss that float16 cannot hold until the scale is small.
. tests/shell
. tests/training
sed -i 's/^total_updates.*/total_updates = 6/; s/^validate_interval.*/validate_interval = 0/; s/^log_interval.*/log_interval = 1/' micro
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "$1/checkpoint-6/$f" "$2/checkpoint-6/$f" || return; done; }
log() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i} NR > 1 && c {printf "%s ", $c}' "$1/log.tsv"; }
number() { sed -n "s/.*\"$2\": \([-+.e0-9]*\),*\$/\1/p" "$1/checkpoint-$3/state.json"; }
half() { save=$1; shift; train "$save" --set precision=fp16 --set cqt_loss_weight=1e6 "$@"; }

check "float32" train plain
check "has no loss scale in its log" test -z "$(log plain loss_scale)"
other() { train bf16 --set precision=bf16 && ! cmp -s bf16/model/model.safetensors plain/model/model.safetensors && [ -z "$(log bf16 overflows)" ]; }
check "bfloat16 makes another model, without a loss scale" other
close() { { log plain loss; log "$1" loss; } | awk -v most="$2" '{for (i = 1; i <= 6; i++) {d = $i / $(i + 6) - 1; if (d > most || d < -most) bad = 1}} END {exit bad || NF != 12}'; }
check "whose losses are close" close bf16 0.02
slower='precision = bf16 is slower than f32 on this CPU'
loud() { mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$1" --set precision=bf16 2> said; }
without() { MERT_ISA=avx512 loud without && grep -q "$slower" said; }
check "without instructions for bfloat16 it says that it is slower" without
check "and the losses are close" close without 0.02
if grep -q avx512_bf16 /proc/cpuinfo && grep -q HAVE_BF16 "$OUT/features.mk"; then
    with() { loud with && grep -q 'million parameters' said && ! grep -q "$slower" said; }
    check "with them it does not" with
else
    skip "with them it does not" "this CPU, or the compiler, has no AVX-512 BF16"
fi

check "float16" train fp16 --set precision=fp16
check "its losses are closer" close fp16 0.003
scale() { [ "$(log fp16 loss_scale)" = "128 128 128 128 128 128 " ] && [ "$(log fp16 overflows)" = "0 0 0 0 0 0 " ] && [ "$(number fp16 loss_scale_good 6)" = 6 ]; }
check "the loss scale begins with 128, and nothing overflows" scale

# ---- overflows ----

check "a loss that float16 cannot hold" half over -v
overflows=$(number over overflows 6)
halved() {
    [ "$overflows" -gt 2 ] && awk -v n="$overflows" -v s="$(number over loss_scale 6)" 'BEGIN {exit !(128 / 2 ^ n == s)}' &&
        [ "$(log over update)" = "1 2 3 4 5 6 " ] && [ "$(log over skipped)" = "0 0 0 0 0 0 " ] &&
        [ "$(grep -c '^{"update":.*"kind":"train".*"loss_scale":.*"overflows":' over/log.jsonl)" -eq 6 ]
}
check "each overflow halves the scale, and no update is left out" halved
schedule() { [ "$(log over lr)" = "$(log fp16 lr)" ]; }
check "the schedule waits for them" schedule
onwards() { [ "$(number over batch 6)" != "$(number fp16 batch 6)" ] || [ "$(number over epoch 6)" != "$(number fp16 epoch 6)" ]; }
check "the batches do not" onwards
resumed() { for n in 1 3; do rm -rf half && half half --set max_update=$n && half half --resume && same over half && for c in update loss grad_norm lr loss_scale overflows; do [ "$(log half $c)" = "$(log over $c)" ] || return; done || return; done; }
check "resumed in between: the same bytes" resumed
guarded() { half guard --device guard && same over guard; }
check "on memory that the host cannot touch: the same bytes" guarded
two() { half two --processes 2 --threads 1 --set update_freq=1 "$@"; }
shared() { two && [ "$(number two overflows 6)" -gt 2 ] && rm -rf three && mv two three && two --shard full && same two three; }
check "two processes agree on what overflows" shared
as_one() { half one --set update_freq=2 && [ "$(number one overflows 6)" = "$(number two overflows 6)" ] && [ "$(number one loss_scale 6)" = "$(number two loss_scale 6)" ]; }
check "and with one that hears both batches" as_one
check_fails "another precision is another run" 1 'the run was begun with another precision' train over --resume --set cqt_loss_weight=1e6 --set precision=bf16 --set max_update=7
runaway() {
    train away --set precision=fp16 --set lr=1000 --set clip_norm=0 --set total_updates=60 "$@" 2> said
    [ $? -eq 1 ] && [ "$(grep -c 'and 0.0001 is the least: the loss is probably exploding' said)" -eq 1 ]
}
check "a scale that has come to its least ends the run" runaway
runaway_two() { rm -rf away; runaway --processes 2 --threads 1; }
check "and all of its processes, once" runaway_two

# ---- the estimate ----

largest() { mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --plan --set precision="$1" | sed -n 's/^ *largest batch *\([0-9.]*\) MB.*/\1/p'; }
smaller() { awk -v a="$(largest f32)" -v b="$(largest fp16)" 'BEGIN {exit !(b > 0 && b < 0.7 * a)}'; }
check "a batch of 16 bits takes less memory" smaller
