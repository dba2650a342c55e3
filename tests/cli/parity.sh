# The trainer compared with reference training: both norm orders, CPU and guard backend, one process and two; and that
# the comparison can fail.
. tests/shell
for d in train-post-ln train-pre-ln; do
    check "$d" train-parity "$golden/$d"
    check "$d on the guard backend" train-parity --device guard "$golden/$d"
    check "$d with recomputation" train-parity --recompute "$golden/$d"
    for shard in none optimizer full; do
        check "$d on two processes, --shard $shard" train-parity --processes 2 --threads 1 --shard $shard "$golden/$d"
    done
    check "$d on two processes and the guard backend" train-parity --processes 2 --threads 1 --shard full --device guard --recompute "$golden/$d"
done
for precision in bf16 fp16; do
    check "$precision" train-parity --precision $precision "$golden/train-pre-ln"
    check "$precision on the guard backend and two processes" train-parity --precision $precision --device guard --processes 2 --threads 1 --shard full "$golden/train-post-ln"
done
overflown() { train-parity --precision fp16 --loss-scale 1e12 "$@" "$golden/train-post-ln" > "$TEST_TMP/said" && grep -q 'after [1-9][0-9]* overflows: within' "$TEST_TMP/said"; }
check "a loss scale that overflows until it fits" overflown
check "for two processes alike" overflown --processes 2 --threads 1
check "one thread gives the same" train-parity --threads 1 "$golden/train-post-ln"
cp -r "$golden/train-post-ln" "$TEST_TMP/wrong"
sed -i 's/"lr": 0.0005/"lr": 0.0006/' "$TEST_TMP/wrong/expect.json"
wrong() { ! train-parity "$@" "$TEST_TMP/wrong"; }
check "another learning rate is noticed" wrong
check "by two processes, too" wrong --processes 2
