# mert-train with many processes, each with an emulated CUDA device: the devices exchange among themselves. The same as
# one process with more accumulation; the same bytes again, for every sharding, and as if they exchanged by host memory.
# A process that is killed or stopped in the middle of an exchange ends the others.
. tests/shell
if [ ! -f "$OUT/lib/mert/device-emulated.so" ]; then
    skip "processes on emulated devices" "no C++17 compiler built them"
    exit 0
fi
. tests/training
sed -i 's/^warmup_updates.*/warmup_updates = 1/; s/^total_updates.*/total_updates = 2/; s/^validate_interval.*/validate_interval = 2/; s/^log_interval.*/log_interval = 1/; s/^max_tokens.*/max_tokens = 48000/' micro
on_device() { save=$1; shift; train "$save" --device emulated --threads 1 "$@"; }
run() { n=$1; shift; on_device "$@" --processes "$n"; }
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "$1/checkpoint-2/$f" "$2/checkpoint-2/$f" || return; done; }
numbers() { tail -n 1 "$1/valid.tsv" | cut -f 2-5; }
near() { { numbers "$1"; numbers "$2"; } | awk '{for (i = 1; i <= NF; i++) if (NR == 1) a[i] = $i; else if ((a[i] - $i) ^ 2 > 1e-8 * a[i] ^ 2) bad = 1} END {exit bad || NR != 2}'; }
log() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i} NR > 1 && c {printf "%s ", $c}' "$1/log.tsv"; }

# ---- one process, or many ----

check "one process, two batches per update" on_device one
check "two processes, a batch each" run 2 two --set update_freq=1
check "come to the same" near one two
host() { EMU_NO_NCCL=1 run 2 host --set update_freq=1 && same two host; }
check "exchange by host memory: the same bytes" host
for shard in optimizer full; do
    sharded() { run 2 "two-$shard" --set update_freq=1 --shard $shard && same two "two-$shard"; }
    check "--shard $shard: the same bytes" sharded
done
kept() { run 2 kept --set update_freq=1 --shard full --recompute --offload disk && same two kept; }
check "with recomputation, and the optimiser's state on disk: the same bytes" kept
three() { run 3 three --shard full --offload host --set update_freq=1 && run 3 again --shard full --set update_freq=1 && same three again; }
check "three processes, twice: the same bytes" three
accumulated() { run 2 most --shard optimizer && on_device alone --set update_freq=4 && near alone most; }
check "two batches each" accumulated
ordered() { EMU_SEED=3 run 2 seed --set update_freq=1 --shard full && same two seed; }
check "streams in another order: the same bytes" ordered

half() { save=$1; shift; run "$1" "$save" --set precision=fp16 --set cqt_loss_weight=1e6 --set update_freq="$2"; }
overflow() {
    half half-1 1 2 && half half-2 2 1 && [ "$(log half-2 overflows | awk '{print $NF}')" -gt 2 ] &&
        [ "$(log half-1 overflows)" = "$(log half-2 overflows)" ] && [ "$(log half-1 loss_scale)" = "$(log half-2 loss_scale)" ]
}
check "two processes agree on what overflows float16, and with one" overflow

# ---- refusals ----

few() { EMU_DEVICES=2 run 3 refused; }
check_fails "more processes than devices" 1 "3 processes of this machine: device 'emulated:2': there is no device 2: there are 0 to 1\$" few
check_fails "a device for all" 1 "emulated:1: each of 2 processes takes a device of its own" train refused --device emulated:1 --processes 2
check "before anything is begun" test ! -e refused
noted() { EMU_NO_NCCL=1 mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save noted --device emulated --processes 2 --set max_update=1 2> said && grep -q 'exchange by host memory, which is slow: .*there is no cuda-nccl.so' said; }
check "without the library: a note" noted

# ---- processes that are lost in the middle of an exchange ----

suffers() { # SIGNAL LINE OPTION...
    signal=$1 line=$2; shift 2
    rm -rf lost
    EMU_SIGNAL=1:7:$signal run 3 lost --set update_freq=1 --set validate_interval=0 --hang-after 15s "$@" 2> said
    rc=$?
    cat said
    [ $rc -eq 1 ] && [ "$(wc -l < said)" -eq 1 ] && grep -q "$line" said
}
for shard in none full; do
    check "one is killed, --shard $shard" suffers 9 'process 1 of 3 was killed by signal 9' --shard $shard
    check "one is stopped, --shard $shard" suffers 19 'no answer for 15 s (--hang-after) from process 1 of 3: hung, stopped or lost' --shard $shard
done

# ---- by mpirun ----

if command -v mpirun > found && [ -e "$OUT/lib/mert/exchange-mpi.so" ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
    [ -z "${MERT_SANITIZED:-}" ] || export ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS" # MPI's own
    mpi() { save=$1; shift; mpirun --oversubscribe -n 2 mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --threads 1 --device emulated --set update_freq=1 --save "$save" "$@"; }
    by_mpi() { mpi mpi --shard full && same two mpi; }
    check "by mpirun: the same bytes" by_mpi
    mpi_stops() {
        EMU_SIGNAL=1:7:19 mpi stopped --set validate_interval=0 --hang-after 15s > said 2>&1
        rc=$?
        cat said
        [ $rc -ne 0 ] && grep -q 'no answer for 15 s (--hang-after) from process 1 of 2: .* (exchange 7)' said
    }
    check "one is stopped" mpi_stops
else
    skip "by mpirun" "there is no mpirun, or no MPI to build the plugin with"
fi
