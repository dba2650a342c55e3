# mert-train with many processes: the same as one process with more accumulation, the same bytes for every sharding of
# the state, and the end of the run if a process dies. (With MPI: train_mpi.sh.)
. tests/shell
. tests/training
sed -i 's/^total_updates.*/total_updates = 6/; s/^validate_interval.*/validate_interval = 3/' micro
run() { processes=$1; shift; train "$@" --processes "$processes" --threads 1; }
# the last validation, and the models' outputs for the same audio
numbers() { tail -n 1 "$1/valid.tsv" | cut -f 2-5; }
near() {
    { numbers "$1"; numbers "$2"; } | awk '{for (i = 1; i <= NF; i++) if (NR == 1) a[i] = $i; else if ((a[i] - $i) ^ 2 > 1e-8 * a[i] ^ 2) bad = 1} END {exit bad || NR != 2}' || return
    for r in "$1" "$2"; do mert-encode -q -m "$r/model" valid.mts > hidden.$$.mts && mv hidden.$$.mts "$r.hidden.mts" || return; done
    mert-tensor cmp --rtol 1e-3 --atol 1e-3 "$1.hidden.mts" "$2.hidden.mts"
}
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "$1/checkpoint-6/$f" "$2/checkpoint-6/$f" || return; done; }

# ---- one process, or many ----

check "one process, four batches per update" train one --set update_freq=4 --threads 1
check "two processes, two batches each" run 2 two
check "come to the same" near one two
other() { train other --set update_freq=3 --threads 1 && ! near one other > differ; }
check "which three batches do not" other
again() { run 2 again && same two again && cut -f 1-14 two/log.tsv > a && cut -f 1-14 again/log.tsv | cmp - a; }
check "and once more, to the same bytes" again
check "four processes, a batch each" run 4 four --set update_freq=1
shared() { run 4 four-shared --set update_batches=4 && same four four-shared && run 2 two-shared --set update_batches=4 && near one two-shared; }
check "an update of so many batches in all" shared
check_fails "more processes than batches" 1 'an update is 3 batches: too few for 4 processes' run 4 few --set update_batches=3
check "come to the same, too" near one four

# ---- sharding of the state ----

sharded() { run 4 "four-$1" --set update_freq=1 --shard "$1" && same four "four-$1"; }
check "the optimiser's state in pieces: the same bytes" sharded optimizer
check "weights and gradients in pieces, too: the same bytes" sharded full
full() { run 2 two-full --shard full && near one two-full; }
check "and with two batches each the same up to rounding" full
offload() { run 2 two-disk --shard optimizer --offload disk && same two two-disk && ! ls two-disk/moments* 2> ls.err; }
check "the optimiser's state on disk: the same bytes" offload
alone() { train one-disk --set update_freq=4 --threads 1 --offload disk && same one one-disk; }
check "of one process, too" alone
guarded() { run 2 two-guard --shard full --offload host --device guard && same two-full two-guard; }
check "on memory that the host cannot touch: the same bytes" guarded

# ---- other numbers of processes ----

moved() { n=$1; shift; run 2 "moved-$n" --set max_update=2 && run "$n" "moved-$n" --resume "$@" && near one "moved-$n"; }
check "begun with two, resumed with one" moved 1
check "with three, of which one has two batches" moved 3 --shard optimizer
check "with four, everything in pieces" moved 4 --shard full
uneven() { run 2 uneven --set max_update=2 && run 3 uneven --resume --shard full --offload disk && near one uneven; }
check "with three, everything in pieces and on disk" uneven
check_fails "but not with more than an update has batches" 1 'an update of this run is 4 batches: too few for 5 processes' run 5 two --resume --set max_update=7

# ---- errors ----

check_fails "what is wrong for all is said once" 1 'absent/train.q_0: No such file' run 3 refused --labels absent/train.q_0
check_fails "a folder that is none" 1 'nowhere: cannot make a file for the optimiser' run 2 refused --offload nowhere
runaway() {
    run 2 away --set lr=1000 --set clip_norm=0 --set total_updates=60 2> said
    [ $? -eq 1 ] && grep -q 'process 1: update [0-9]* left out, not finite: s[0-7].wav' said && [ "$(grep -c '10 updates in a row were not finite' said)" -eq 1 ]
}
check "updates that are not finite end all processes, and it is said once" runaway
no_room() {
    (trap '' XFSZ; ulimit -f 400; run 2 no_room --set save_interval=2) 2> said
    [ $? -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q 'optimizer.safetensors: ' said && [ ! -e no_room/checkpoint-2 ]
}
check "no room while saving: one line, and nobody waits for ever" no_room

children() { cat /proc/[0-9]*/stat 2> stat.err | awk -v p="$1" '{sub(/^.*\) /, $1 " ")} $3 == p {print $1}'; }
start() { # SAVE: two processes in the background; $pid: the one that started them; returns after the first checkpoint
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$1" --processes 2 --threads 1 \
        --set save_interval=1 --set keep=3 2> said & pid=$!
    while [ ! -d "$1/checkpoint-1" ] && kill -0 $pid 2> kill.err; do sleep 0.02; done
}
killed() {
    start killed
    victim=$(children $pid | tail -n 1)
    kill -9 "$victim" 2> kill.err
    wait $pid; rc=$?
    [ -d killed/checkpoint-6 ] || { [ $rc -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] &&
        grep -q 'process [01] of 2 was killed by signal 9 .Killed.: the others are ended; killed/checkpoint-[0-9]* is whole: --resume' said; } || { cat said; return 1; }
    [ -z "$(children $pid)" ] && run 2 killed --resume && same two killed
}
check "a process that is killed ends the others, is named, and the run goes on from the last checkpoint" killed
alive() { for p in "$@"; do kill -0 "$p" 2> kill.err && return; done; return 1; }
beheaded() {
    start beheaded
    left=$(children $pid)
    kill -9 $pid 2> kill.err
    wait $pid
    n=0; while alive $left && [ $n -lt 6000 ]; do sleep 0.02; n=$((n + 1)); done # they are killed with it, but not in the same moment
    run 2 beheaded --resume && same two beheaded
}
check "the one that started them is killed: likewise" beheaded
terminated() {
    start stopped
    kill -TERM $pid 2> kill.err; wait $pid; rc=$?
    { [ $rc -eq 143 ] || [ -d stopped/checkpoint-6 ]; } && [ ! -s said ] && run 2 stopped --resume && same two stopped
}
check "SIGTERM ends all after the same update, with a checkpoint" terminated
