# mert-train that is ended early, sees what it does, and writes checkpoints for safety: --stop-after, --hang-after,
# --norms, save_minutes, signals, and the columns of the logs.
. tests/shell
. tests/training
base() { to=$1; shift; mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$to" "$@"; }
value() { awk -F'\t' -v c="$2" -v r="${3:-2}" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == c) n = i} NR == r && n {print $n}' "$1"; } # FILE COLUMN ROW
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "whole/checkpoint-10/$f" "$1/checkpoint-10/$f" || return; done; }

# ---- what a run tells ----

whole() { base whole --norms 2> whole.said; }
check "a run" whole
clock() {
    date -u -d "$(value whole/log.tsv time 6)" +%s > at && now=$(date +%s) && [ $((now - $(cat at))) -ge -1 ] && [ $((now - $(cat at))) -lt 3600 ] &&
        awk -v a="$(value whole/log.tsv wall_seconds 2)" -v b="$(value whole/log.tsv wall_seconds 6)" 'BEGIN {exit !(0 < a && a < b)}'
}
check "time of day and seconds of the process" clock
left() { [ "$(value whole/log.tsv updates_left 2)" = 8 ] && [ "$(value whole/log.tsv updates_left 6)" = 0 ] && [ "$(value whole/log.tsv eta_seconds 6)" = 0 ] && grep -q 'update 4 of 10: .*, [0-9]* s left$\|update 4 of 10: .* min .* left$' whole.said; }
check "what is left of it" left
heard() { awk -F'\t' 'NR == 1 {for (i = 1; i <= NF; i++) n[$i] = i; next} {h = $n["hours_heard"]; bad = bad || h <= last; last = h} END {exit bad || h < 0.01 || h > 0.05}' whole/log.tsv; } # 20 batches of up to 4 s
check "hours heard" heard
used() { awk -F'\t' 'NR == 1 {for (i = 1; i <= NF; i++) n[$i] = i; next} {u = $n["used_1"]; bad = bad || u < 1 || u > 16} END {exit bad}' "$1"; }
check "classes that were predicted" used whole/log.tsv
check "... in validation" used whole/valid.tsv
norms() { # of all parts together: the column grad_norm
    awk -F'\t' 'NR == FNR {if (FNR == 1) for (i = 1; i <= NF; i++) {if ($i == "grad_norm") g = i} else norm[$1] = $g; next} FNR > 1 {s = 0; for (i = 2; i <= 6; i++) s += $i * $i; d = sqrt(s) - norm[$1]; bad = bad || d * d > 1e-6 * s; rows++} END {exit bad || rows != 5}' whole/log.tsv whole/norms.tsv &&
        grep -c '"kind":"norms"' whole/log.jsonl | grep -qx 5
}
check "norms of each part, which together are the gradient's" norms
quiet() { train plain && same plain && [ ! -e plain/norms.tsv ]; }
check "norms change nothing" quiet
two_norms() {
    base sharded --processes 2 --threads 1 --shard full --set update_freq=1 --norms && base shared --processes 2 --threads 1 --set update_freq=1 --norms &&
        paste whole/norms.tsv shared/norms.tsv sharded/norms.tsv | awk -F'\t' 'NR > 1 {for (i = 1; i <= 11; i++) for (j = 1; j < 3; j++) {d = $i - $(i + 11 * j); bad = bad || d * d > 1e-4 * $i * $i}} END {exit bad || NR != 6}' &&
        [ "$(value shared/log.tsv used_0)" = "$(value whole/log.tsv used_0)" ] && [ "$(value sharded/log.tsv hours_heard 6)" = "$(value whole/log.tsv hours_heard 6)" ]
}
check "two processes say the same" two_norms
board() { # a file for each process, with the rows of both logs
    train board --tensorboard --set max_update=4 && train board --tensorboard --resume && [ "$(ls board/tensorboard/events.out.tfevents.* | wc -l)" -eq 2 ] &&
        cat board/tensorboard/* | tr -c '[:print:]' '\n' > strings && grep -q 'train/loss' strings && grep -q 'valid/ce_1' strings && grep -q 'train/used_0' strings && grep -c 'brain.Event:2' strings | grep -qx 2 && same board && [ ! -e plain/tensorboard ]
}
check "event files of TensorBoard" board
unmasked() {
    train both --set pred_nomask_weight=0.5 && c=both/log.tsv &&
        awk -v objective="$(value $c objective)" -v loss="$(value $c loss)" -v u="$(value $c unmasked_ce_0)" -v m="$(value $c ce_0)" 'BEGIN {exit !(u > 0 && m > 0 && objective > 0 && objective < loss)}' &&
        [ "$(value whole/log.tsv unmasked_ce)" = nan ] && [ "$(value whole/log.tsv objective)" = "$(value whole/log.tsv loss)" ]
}
check "frames that are not masked have columns of their own" unmasked
agrees() { # the same model and crops: the first update has lr 0, so losses of training are those of validation, apart from dropout and masks
    train agree --set pred_nomask_weight=1 --set log_interval=1 --set max_update=1 &&
        awk -v t="$(value agree/log.tsv loss)" -v v="$(value agree/valid.tsv loss)" 'BEGIN {d = t / v; exit !(d > 0.8 && d < 1.25)}'
}
check "the loss of training means what that of validation means" agrees
old_logs() { # of a version that wrote fewer columns
    train older --set max_update=4 && n=$(awk -F'\t' 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "skipped") print i}' older/log.tsv) &&
        cut -f "1-$n" older/log.tsv > cut && mv cut older/log.tsv && train older --resume && same older && [ "$(value older/log.tsv time 2)" = nan ] && [ "$(value older/log.tsv updates_left 6)" = 0 ] &&
        mert-train --compare whole/log.tsv --save older > compared
}
check "a log with fewer columns gets the new ones" old_logs
old_state() { # hours heard are not known
    train before --set max_update=4 && sed -i '/samples_heard/d' before/checkpoint-4/state.json && rm before/checkpoint-4/hashes && sed -i 's/mert-train 2/mert-train 1/' before/checkpoint-4/state.json &&
        train before --resume && [ "$(value before/log.tsv hours_heard 6)" = nan ]
}
check "... and a checkpoint that does not know the hours" old_state

little_audio() {
    base less --set lr_seconds=48 --set max_update=1 2> said && [ "$(grep -c 'an update has 8 s of audio; lr = 0.003 was chosen for 48 s: use a smaller lr, or update_batches=12$' said)" -eq 1 ] &&
        base enough --set lr_seconds=48 --set lr=0.001 --set max_update=1 2> said && ! grep 'was chosen' said
}
check "an update with less audio than lr was chosen for" little_audio

# ---- ended early ----

stops() { base limited --set total_updates=100000000 --set log_interval=1000000 --set validate_interval=0 --stop-after 1s 2> said; [ $? -eq 75 ] && grep -q 'stopped by --stop-after after update [0-9]*, which is saved: --resume goes on' said && [ "$(ls -d limited/checkpoint-* | wc -l)" -eq 1 ]; }
check "--stop-after: a checkpoint, and an exit status of its own" stops
stops_two() { base limited2 --processes 2 --threads 1 --set total_updates=100000000 --set log_interval=1000000 --set validate_interval=0 --stop-after 1s 2> said; [ $? -eq 75 ] && [ "$(grep -c 'stopped by --stop-after' said)" -eq 1 ] && [ -d limited2/model ]; }
check "of two processes" stops_two
parts() { # an update at a time, to where one run comes; each but the last leaves no checkpoint for ever
    i=0; rc=75; while [ $rc -eq 75 ] && [ $i -lt 12 ]; do i=$((i + 1)); mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save steps --resume --stop-after 0h0m1s --set log_interval=1 & pid=$!
        wait $pid; rc=$?; done
    [ $rc -eq 0 ] && same steps && [ "$(ls -d steps/checkpoint-* | wc -l)" -eq 1 ] && tail -n 1 whole/valid.tsv > a && tail -n 1 steps/valid.tsv | cmp - a && [ "$(cut -f 1 steps/valid.tsv | tr '\n' ' ')" = 'update 0 5 10 ' ]
}
check "again and again, it comes to the end" parts
in_time() { base timely --stop-after 12h30m; }
check "in time: 0" in_time
for wrong in 5 h 1x 3m2h 0s ''; do check_fails "--stop-after '$wrong'" 2 "stop-after: '$wrong' is no time" base refused --stop-after "$wrong"; done
by_signal() { # SIGNAL STATUS: during a validation that would take minutes, too
    rm -rf signalled
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save signalled --set total_updates=100000000 --set validate_interval=1 --set save_interval=2 --set keep=1 & pid=$!
    while [ ! -d signalled/checkpoint-2 ] && kill -0 $pid; do sleep 0.02; done
    kill "-$1" $pid; wait $pid; [ $? -eq "$2" ] && [ "$(ls -d signalled/checkpoint-* | wc -l)" -le 2 ] && [ -d signalled/last/ ]
}
check "SIGTERM" by_signal TERM 143
check "SIGUSR1" by_signal USR1 138
check "SIGHUP" by_signal HUP 129
left_out() { # what the signal has left out is made up for
    n=$(readlink signalled/last); n=${n#checkpoint-}
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save signalled --resume --set total_updates=100000000 --set validate_interval=1 --set save_interval=2 --set keep=1 --set max_update=$((n + 2)) &&
        cut -f 1 signalled/valid.tsv | sed 1d > rows && seq 0 $((n + 2)) | cmp - rows
}
check "a validation that a signal left out comes when the run goes on" left_out

# ---- checkpoints by time ----

by_time() { train often --set save_minutes=0.00001 --set save_interval=5 && same often && [ "$(ls -d often/checkpoint-* | sort | tr '\n' ' ')" = 'often/checkpoint-10 often/checkpoint-5 ' ]; }
check "after each update, and the next one takes its place" by_time
passing() { train passing --set save_minutes=0.00001 --set max_update=7 && [ -d passing/checkpoint-7 ] && grep -q '"passing": 0' passing/checkpoint-7/state.json; }
check "the last of a run stays" passing

# ---- a process that hangs ----

hangs() { # one of two processes is stopped while they train
    mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save hung --processes 2 --threads 1 --set total_updates=100000000 --set validate_interval=0 --set save_interval=2 --set keep=1 --hang-after 2s 2> said & pid=$!
    while [ ! -d hung/checkpoint-2 ] && kill -0 $pid; do sleep 0.05; done
    kill -STOP "$(cut -d " " -f 2 "/proc/$pid/task/$pid/children")"; wait $pid
    [ $? -eq 1 ] && grep -q 'no answer for 2 s (--hang-after) from process 1 of 2: hung, stopped or lost' said && [ "$(grep -c "no answer" said)" -eq 1 ] || { cat said; return 1; }
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save hung --resume --set total_updates=100000000 --set validate_interval=0 --stop-after 1s; [ $? -eq 75 ]
}
check "it is named, the run ends, and goes on from the last checkpoint" hangs

# ---- validation, whatever the seed ----

seeds() { # the same crops, masks and labels: whatever the run hears
    train seed1 --set seed=1 --set max_update=1 --init whole/model --set lr=0 && train seed2 --set seed=2 --set max_update=1 --init whole/model --set lr=0 && cut -f 1-11 seed1/valid.tsv > a && cut -f 1-11 seed2/valid.tsv | cmp - a &&
        train seed3 --set seed=2 --set valid_seed=3 --set max_update=1 --init whole/model --set lr=0 && ! cut -f 1-11 seed3/valid.tsv | cmp -s - a
}
check "runs of any seed validate alike" seeds
cosine() { train cosine --set lr_schedule=cosine --set log_interval=1 && awk -v a="$(value cosine/log.tsv lr 8)" -v b="$(value cosine/log.tsv lr 4)" 'BEGIN {exit !(a > 0.001499 && a < 0.001501 && b > 0.002999)}'; } # half of it in the middle of the fall
check "another schedule" cosine

# ---- normalised items ----

normal() {
    train normal --set normalize=yes --set extractor_mode=layer_norm --set conv_bias=yes && grep -q '"do_normalize": true' normal/model/preprocessor_config.json && mert-model info normal/model | grep -q '^input:.*normalised' &&
        ! mert-model info normal/model | grep -q 'not normalised' && mert-encode -q -m normal/model valid.mts | mert-tensor ls | grep -q hidden && mert-model verify normal/model
}
check "a model that hears normalised items says so" normal
conformer() { mert-train --check --recipe small-conformer --set normalize=yes; }
check_fails "a Conformer takes samples as they are" 1 'normalize: has no effect with model = conformer' conformer
