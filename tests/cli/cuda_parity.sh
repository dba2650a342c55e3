# The CUDA plugin on the emulated device: reference training, and the hidden states of the reference. With the detector on: nothing is
# reported. The orders of threads that tests/cuda/race adds are those of make race.
. tests/shell
t=$TEST_TMP
if [ ! -f "$OUT/lib/mert/device-emulated.so" ]; then
    skip "the emulated device" "no C++17 compiler built it"
    exit 0
fi
parity() { train-parity --device emulated --threads 1 "$@"; }
for d in train-post-ln train-pre-ln; do
    check "$d" parity "$golden/$d"
    for shard in none optimizer full; do
        check "$d on two processes, --shard $shard" parity --processes 2 --shard $shard "$golden/$d"
    done
done
check "on three processes, with recomputation" parity --processes 3 --shard full --recompute "$golden/train-pre-ln"
for precision in bf16 fp16; do
    check "$precision" parity --precision $precision "$golden/train-pre-ln"
    check "$precision on two processes" parity --precision $precision --processes 2 --shard full "$golden/train-post-ln"
done
for d in "$golden"/train-*; do # the others, where MERT_GOLDEN has them: other targets and rates, heads of 64 channels (tensor cores)
    case $d in */train-post-ln | */train-pre-ln) continue ;; esac
    [ -d "$d" ] || continue
    for precision in f32 bf16 fp16; do check "$(basename "$d"), $precision" parity --precision $precision "$d"; done
done
overflown() {
    parity --precision fp16 --loss-scale 4096 "$golden/train-pre-ln" > "$t/said" && grep -q 'after [1-9][0-9]* overflows: within' "$t/said"
}
check "a loss scale that overflows until it fits" overflown
ordered() { EMU_SEED=$1 parity "$golden/train-pre-ln"; }
for seed in 1 2; do check "threads, blocks and streams in order $seed" ordered $seed; done
detected() {
    MERT_PLUGINS=$OUT/tests/race parity --recompute "$golden/train-pre-ln" > "$t/out" 2> "$t/said"
    rc=$?
    cat "$t/out" "$t/said"
    [ $rc -eq 0 ] && [ ! -s "$t/said" ]
}
check "under the detector" detected

for m in mert-post-ln mert-pre-ln mert-layernorm-extractor mert-deepnorm mert-cqt-input mert2-small; do
    rate=24000; [ $m = mert-cqt-input ] && rate=16000
    [ $m != mert2-small ] || rate=$(sed -n 's/.*"sampling_rate": *\([0-9]*\).*/\1/p' "$golden/$m/config.json")
    mert-tensor from-npy --kind pcm --rate $rate --key a "$golden/$m/audio.npy" > "$t/a.mts"
    reference() {
        mert-encode -m "$golden/$m" --device emulated "$t/a.mts" | mert-tensor to-npy -o "$t/hidden.npy" &&
            hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy"
    }
    check "$m: all layers agree with the reference" reference
done

# Contract A1: an item's bytes do not depend on the others.
m=$golden/mert-post-ln
for k in a b; do
    from=mert-post-ln; [ $k = b ] && from=mert-pre-ln
    mert-tensor from-npy --kind pcm --rate 24000 --key $k "$golden/$from/audio.npy" > "$t/$k.mts"
    mert-encode -m "$m" --device emulated "$t/$k.mts" | zstd -dcq > "$t/$k.raw"
done
together() {
    cat "$t/b.raw" "$t/a.raw" "$t/b.raw" > "$t/alone.raw"
    mert-encode -m "$m" --device emulated "$t/b.mts" "$t/a.mts" "$t/b.mts" | zstd -dcq | cmp - "$t/alone.raw"
}
check "items together give the bytes of items alone" together
