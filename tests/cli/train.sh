# mert-train with the real programs: a very small model on generated audio, resumed in every way, and refusals.
. tests/shell
. tests/training

# ---- a run and its files ----

check "a run" train whole
rows() { [ "$(wc -l < whole/log.tsv)" -eq 6 ] && [ "$(wc -l < whole/valid.tsv)" -eq 4 ] && [ "$(cut -f 1 whole/valid.tsv | tr '\n' ' ')" = 'update 0 5 10 ' ]; }
check "a row per interval, and validation before, between and after" rows
columns() { awk -F'\t' '{n[NF]++} END {for (i in n) k++; exit k != 1}' whole/log.tsv whole/log.tsv && head -n 1 whole/valid.tsv | grep -q 'ce_1.*accuracy_1.*entropy_1.*unigram_1.*neighbours_1'; }
check "as many columns in each row as names" columns
learned() { awk -F'\t' 'NR == 2 {a = $3} {b = $3} END {exit !(b < a)}' whole/valid.tsv; }
check "the held-out loss falls" learned
opens() { mert-encode -m whole/model valid.mts | mert-tensor ls | grep -q hidden; }
check "the model opens with mert-encode" opens
opens_checkpoint() { mert-encode -m whole/last valid.mts | mert-tensor ls | grep -q hidden; }
check "and so does the checkpoint" opens_checkpoint
again() { mert-train --print-recipe --recipe whole/recipe > printed && cmp printed whole/recipe; }
check "the effective recipe reads back" again

# ---- an interrupted run has the same result ----

same() { # the run in $1 ended as the undisturbed one, and its last validation says so (rows of intervals that were cut differ)
    for f in model.safetensors optimizer.safetensors state.json; do cmp "whole/checkpoint-10/$f" "$1/checkpoint-10/$f" || return; done
    tail -n 1 whole/valid.tsv > a; tail -n 1 "$1/valid.tsv" > b; cmp a b
}
in_parts() { train parted --set max_update=3 && train parted --resume --set max_update=4 && train parted --resume && same parted &&
    [ "$(cut -f 1 parted/log.tsv | tr '\n' ' ')" = 'update 2 3 4 6 8 10 ' ]; }
check "in three parts" in_parts
repeated() { train twice && same twice && cmp whole/valid.tsv twice/valid.tsv && cut -f 1-14 whole/log.tsv > a && cut -f 1-14 twice/log.tsv | cmp - a; }
check "once more" repeated
killed() {
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save killed --set save_interval=1 --set keep=2 & pid=$!
    while [ ! -d killed/checkpoint-3 ] && kill -0 $pid 2> kill.err; do sleep 0.02; done
    kill -9 $pid 2> kill.err; wait $pid
    train killed --resume --set save_interval=1 --set keep=2 && same killed && [ "$(ls -d killed/checkpoint-* | wc -l)" -eq 2 ]
}
check "killed in the middle, with checkpoints at every update" killed
terminated() {
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save stopped --set save_interval=1 --set keep=1 & pid=$!
    while [ ! -d stopped/checkpoint-1 ] && kill -0 $pid 2> kill.err; do sleep 0.02; done
    kill -TERM $pid; wait $pid; rc=$?
    { [ $rc -eq 143 ] || [ -d stopped/checkpoint-10 ]; } && train stopped --resume && same stopped
}
check "ended by SIGTERM, which leaves a checkpoint" terminated
half_written() { mkdir -p parted/checkpoint-99.new && touch parted/checkpoint-99.new/model.safetensors && train parted --resume --set max_update=9 && same parted; }
check "a half-written checkpoint is passed over" half_written

# ---- other ways in ----

init() { train warm --init whole/model --set max_update=2 && ! cmp -s whole/model/model.safetensors warm/model/model.safetensors; }
check "begun with another model's weights" init
smaller() { train smaller --init whole/model --set max_update=1 --set final_dim=4; }
check "heads of another size keep random values" smaller
packing() {
    mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --save child 2> said && same child && [ "$(grep -c '^mert-train: packing' said)" -eq 2 ] &&
        mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --save child --resume 2> said && ! grep -q packing said
}
check "audio packed by a child, once" packing
two_sets() { mert-train -q --recipe micro --manifest train.tsv --labels train.q_0 --labels train.q_1 --pcm train.mts --save sets && same sets; }
check "label sets named one by one" two_sets
failed_rows() {
    for half in train valid; do mkdir -p holes; cp $half.tsv $half.mts holes/; done
    for k in 0 1; do cp valid.q_$k valid.q_$k.meta holes/; sed 3s/.*// train.q_$k > holes/train.q_$k; sed s/failed_rows=0/failed_rows=1/ train.q_$k.meta > holes/train.q_$k.meta; done
    mert-train --recipe micro --manifest holes/train.tsv --labels 'holes/train.q_%d' --pcm holes/train.mts --save some --set max_update=1 "$@" 2> said
}
counted() { failed_rows; [ $? -eq 1 ] && [ -d some/model ] && grep -q '1 rows left out .* the first is s2.wav' said; }
check "a row that failed before is left out, said, and counts" counted
rm -rf some
check "and --max-failed allows it" failed_rows --max-failed 1
rm -rf some
moved() { # a row damaged into another valid one, its labels' .meta of a version that knew no manifest
    failed_rows --max-failed 1; rm -rf some; cp train.q_* holes/; sed -i s/^s2.wav/s2.wbv/ holes/train.tsv
    mert-train -q --recipe micro --manifest holes/train.tsv --labels 'holes/train.q_%d' --pcm holes/train.mts --save some --set max_update=1 "$@" 2> said
}
wrong_row='s2.wbv: is in the manifest, but not in holes/train.mts (holes/train.tsv): if the manifest is right, make that anew from it; --max-failed N trains without such rows'
named() { moved "$@"; [ $? -eq 1 ] && [ -d some/model ] && grep -qxF "mert-train: $wrong_row" said && [ "$(wc -l < said)" -eq 1 ] || { cat said; return 1; }; }
check "a row that the packed audio knows nothing of is named" named
check "by one of two processes" named --processes 2
fast() { moved --fail-fast; [ $? -eq 1 ] && [ ! -d some/model ] && grep -qxF "mert-train: $wrong_row" said; }
check "and ends the run at once where that is wanted" fast
check "and --max-failed allows it, too" moved --max-failed 1

# ---- refusals, in one line ----

bad() { mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save refused "$@"; }
other() { # files of the run in another folder, to be spoilt there
    rm -rf other; mkdir other; cp ./*.tsv ./*.q_* ./*.mts other/
    "$@" || { echo "$*: failed" >&2; return 99; }
    mert-train -q --recipe micro --manifest other/train.tsv --labels 'other/train.q_%d' --pcm other/train.mts --save refused
}
check_fails "no recipe" 1 'nothing: No such file' bad --recipe nothing
check_fails "an unknown setting" 1 "no setting 'encoder_layer'" bad --set encoder_layer=3
check_fails "a value out of range" 1 'encoder_layers: 0 is outside' bad --set encoder_layers=0
check_fails "no manifest" 1 'absent/train.tsv: No such file' bad --manifest absent/train.tsv
check_fails "no labels" 1 'absent/train.q_0: No such file' bad --labels 'absent/train.q_%d'
check_fails "no audio" 1 'absent.mts' bad --pcm absent.mts
check_fails "a run that is there already" 1 'whole contains a run at update 10: --resume' bad --save whole
check_fails "a run of another recipe" 1 'whole: the run was begun with another lr' bad --save whole --resume --set lr=1
check_fails "a run of other labels" 1 'train.q_1: the run was begun without it' bad --save whole --resume --labels train.q_1 --labels train.q_0
check_fails "wrong use" 2 'are needed' mert-train -q --recipe micro
slow() { (cd audio && mert-decode --rate 16000 s[0-7].wav) > other/train.mts; }
check_fails "audio at another rate" 1 'other/train.mts: s0.wav: sample rate is 16000 Hz, the recipe needs 24000 Hz' other slow
stranger() { mert-decode audio/s0.wav > other/train.mts; }
check_fails "audio of other items" 1 'other/train.tsv: none of its 8 rows has both labels and audio' other stranger
fewer() { sed '$d' train.q_0 > other/train.q_0; rm other/train.q_0.meta; }
check_fails "labels a line short" 1 'other/train.q_0: ' other fewer
shorter() { sed '4s/^[0-9]* [0-9]* [0-9]* [0-9]* [0-9]* [0-9]* [0-9]* [0-9]* [0-9]* //' train.q_1 > other/train.q_1; }
left_out() { # within --max-failed: counted, the first named
    cp train.q_0 train.q_1 train.q_0.meta train.q_1.meta other/ && shorter && mert-train --recipe micro --manifest train.tsv --labels 'other/train.q_%d' --valid-labels 'valid.q_%d' --pcm train.mts --save left --set max_update=2 --max-failed 1 2> said &&
        grep -q 's3.wav: other/train.q_1: line 4 .s3.wav.: 96 labels cover 1.28 s' said && grep -q 'training: 7 items' said && grep -q 'training: 1 rows left out because of their labels, the first is s3.wav' said
}
check "they are left out within --max-failed" left_out
check_fails "labels shorter than the audio" 1 'other/train.q_1: line 4 .s3.wav.: 96 labels cover 1.28 s, the audio lasts 1.40 s' other shorter
beyond() { sed '2s/ 5 / 16 /' train.q_0 > other/train.q_0; }
check_fails "a label beyond its classes" 1 "other/train.q_0:2:[0-9]*: '16' is no label" other beyond
mismatch() { echo manifest=00000000000000aa >> other/train.q_0.meta; }
check_fails "labels of another manifest" 1 'other/train.q_0: made for another manifest' other mismatch
codebook() { sed 's/c0de5/bad00/' valid.q_1.meta > other/valid.q_1.meta; }
check_fails "validation labels of another codebook" 1 'other/valid.q_1: made by codebook 00000000000bad00' other codebook
unknown() { rm other/train.q_0.meta; }
check_fails "classes that nobody knows" 1 'other/train.q_0: the number of classes is not known' other unknown
constant() { sed 's/[0-9][0-9]*/3/g' train.q_1 > other/train.q_1; }
check_fails "labels that are all the same" 1 'other/train.q_1: all labels are the same' other constant
check_fails "a validation set without items" 1 'the validation set is empty' bad --set min_sample_size=46000 --set max_sample_size=48000
refused() { [ ! -e refused/checkpoint-0 ] && [ ! -e refused/model ]; }
check "and nothing was begun" refused

# ---- divergence ----

runaway() {
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save away --set lr=1000 --set clip_norm=0 --set total_updates=60 2> said
    [ $? -eq 1 ] && grep -q 'update [0-9]* left out, not finite: s[0-7].wav' said && tail -n 1 said | grep -q '10 updates in a row were not finite'
}
check "updates that are not finite are left out and named, ten in a row end it" runaway

# ---- the page agrees with the program ----

cd - > /dev/null || exit 1
page() { mert-train --print-recipe | grep ' = ' | sort > "$t/settings"; sed -n 's/^\.It Ic //p' man/mert-recipe.5 | sort | cmp - "$t/settings"; }
check "mert-recipe(5) has every setting with its default" page
recipes() { for r in pipelines/recipes/*; do mert-train --print-recipe --recipe "$r" > "$t/printed" || return; done; }
check "every recipe of the package reads" recipes
