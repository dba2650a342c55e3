# mert-train and train-parity under mpirun, if it is installed and the plugin was built.
. tests/shell
. tests/training
sed -i 's/^total_updates.*/total_updates = 6/; s/^validate_interval.*/validate_interval = 3/' micro
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "$1/checkpoint-6/$f" "$2/checkpoint-6/$f" || return; done; }
children() { cat /proc/[0-9]*/stat 2> stat.err | awk -v p="$1" '{sub(/^.*\) /, $1 " ")} $3 == p {print $1}'; }

no_plugin() { env -u MERT_PLUGINS OMPI_COMM_WORLD_SIZE=2 MERT_PLUGINS=nowhere mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --save refused; }
check_fails "without the plugin" 1 '2 processes were started, but the MPI plugin cannot be loaded: nowhere/exchange-mpi.so' no_plugin
if command -v mpirun > found && [ -e "$OUT/lib/mert/exchange-mpi.so" ]; then
    # for containers: root, fewer cores than processes, no access to each other's memory
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_btl_vader_single_copy_mechanism=none
    [ -z "${MERT_SANITIZED:-}" ] || export ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS" # MPI's own
    mpi() { mpirun --oversubscribe -n "$@"; } # the option, not a variable: 4 and 5 name that differently
    micro="mert-train -q --recipe micro --manifest train.tsv --labels train.q_%d --pcm train.mts --threads 1"
    check "two processes without MPI" train two --processes 2 --threads 1
    check "four" train four --processes 4 --threads 1 --set update_freq=1
    mpi_two() { mpi 2 $micro --save mpi-two && same two mpi-two; }
    check "by mpirun: the same bytes as without" mpi_two
    mpi_full() { mpi 4 $micro --save mpi-full --set update_freq=1 --shard full --offload disk && same four mpi-full; }
    check "by mpirun, everything in pieces: likewise" mpi_full
    mpi_dies() {
        mpirun --oversubscribe -n 2 $micro --save mpi-dies --set save_interval=1 > said 2>&1 & pid=$!
        while [ ! -d mpi-dies/checkpoint-1 ] && kill -0 $pid 2> kill.err; do sleep 0.02; done
        kill -9 "$(children $pid | tail -n 1)" 2> kill.err
        wait $pid; rc=$?
        { { [ $rc -ne 0 ] && grep -q 'signal 9' said; } || [ -d mpi-dies/checkpoint-6 ] || { cat said; return 1; }; } && mpi 2 $micro --save mpi-dies --resume && same two mpi-dies
    }
    check "a process that is killed ends the others, and mpirun says so" mpi_dies
    mpi_refused() { mpi 2 $micro --save refused --labels absent/train.q_0 2> said; [ $? -ne 0 ] && [ "$(grep -c 'mert-train.*absent/train.q_0' said)" -eq 1 ]; }
    check "what is wrong for all is said once" mpi_refused
    cd - > found || exit 1
    for d in train-post-ln train-pre-ln; do check "$d on two processes of MPI" mpi 2 train-parity --threads 1 "$golden/$d"; done
else
    skip "MPI" "there is no mpirun, or no MPI to build the plugin with"
fi
