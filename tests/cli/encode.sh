# mert-encode: the reference's hidden states, the same bytes however it is run, and refusals.
. tests/shell
t=$TEST_TMP
pcm() { mert-tensor from-npy --kind pcm --rate "$1" --key "$3" "$2"; }

for m in mert-post-ln mert-pre-ln mert-layernorm-extractor mert-deepnorm mert-cqt-input; do
    rate=24000; [ $m = mert-cqt-input ] && rate=16000
    reference() { # $1 device
        pcm $rate "$golden/$m/audio.npy" a | mert-encode -m "$golden/$m" --device "$1" |
            mert-tensor to-npy -o "$t/hidden.npy" &&
            hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy"
    }
    check "$m: all layers agree with the reference" reference cpu
    check "$m: on the guard backend, too" reference guard
done

m=$golden/mert-post-ln
pcm 24000 "$golden/mert-post-ln/audio.npy" a > "$t/a.mts"
pcm 24000 "$golden/mert-pre-ln/audio.npy" b > "$t/b.mts"
mert-encode -m "$m" "$t/a.mts" | zstd -dcq > "$t/a.raw"
mert-encode -m "$m" "$t/b.mts" | zstd -dcq > "$t/b.raw"
cat "$t/a.raw" "$t/b.raw" > "$t/ab.raw"
same() { cmp "$t/ab.raw" "$1"; }
together() { mert-encode -m "$m" --threads "$1" "$t/a.mts" "$t/b.mts" |
    zstd -dcq > "$t/together.raw"; same "$t/together.raw"; }
check "items together give the bytes of items alone, one thread" together 1
check "and three threads" together 3
piped() { cat "$t/a.mts" "$t/b.mts" | mert-encode -m "$m" | zstd -dcq > "$t/piped.raw"; same "$t/piped.raw"; }
check "cat of two streams is a stream" piped

layers() {
    mert-encode -m "$m" --layers 2,0 "$t/a.mts" | mert-tensor to-npy -o "$t/some.npy" &&
        mert-encode -m "$m" --layers 0 "$t/a.mts" | zstd -dcq > "$t/0.raw" &&
            mert-encode -m "$m" --layers last "$t/a.mts" | zstd -dcq > "$t/last.raw" &&
        mert-encode -m "$m" --layers 3 "$t/a.mts" | zstd -dcq | cmp - "$t/last.raw" && ! cmp -s "$t/0.raw" "$t/last.raw"
}
check "layers are chosen by number" layers
shape() { mert-encode -m "$m" "$@" "$t/a.mts" | mert-tensor ls | grep -qE "$pattern"; }
pattern="[[]1,4,48[]]"
check "pooled items have one step" shape --pool mean
pattern='f16'
check "half precision is written when asked for" shape --dtype f16
check_fails "an infinity as f16 is an item that failed, by frame and value" 1 'a: frame 0, value [0-9]+ of 48 is -?inf \(f16' \
    sh -c "mert-encode -m $m --weights 1e6,0,0,0 --dtype f16 $t/a.mts > $t/x.mts"
pattern=bf16
check "the same number as bf16 is none" shape --weights 1e6,0,0,0 --dtype bf16
largest() { mert-encode -m "$m" --weights 0,0,0,1 "$1" | mert-tensor stat | awk 'NR == 2 { x = -$5 > $6 ? -$5 : $6; print x }'; }
one_of_two() { # the factor that takes the louder of the two beyond 65504, and leaves the other below
    a=$(largest "$t/a.mts") b=$(largest "$t/b.mts") factor=$(awk "BEGIN { print 2 * 65504 / ($a + $b) }")
    fails=a stays=b; awk "BEGIN { exit !($a < $b) }" && fails=b stays=a
    for order in "$t/a.mts $t/b.mts $t/a.mts" "$t/b.mts $t/a.mts $t/b.mts"; do
        mert-encode -m "$m" --weights 0,0,0,$factor --dtype f16 --threads "$1" $order > "$t/x.mts" 2> "$t/said"
        [ $? -eq 1 ] && grep -q "$fails: frame" "$t/said" && ! grep -q "$stays: frame" "$t/said" || return
        mert-tensor ls --max-failed 100% "$t/x.mts" > "$t/ls" 2> "$t/ls.said"
        [ "$(grep -c hidden "$t/ls")" -eq "$(echo "$order" | tr ' ' '\n' | grep -c "/$stays.mts")" ] || return
    done
}
check "and costs itself alone, before and behind others" one_of_two 1
check "with three threads, too" one_of_two 3
normalised() { mert-encode -m "$m" --normalize "$t/a.mts" | zstd -dcq > "$t/n.raw"; [ -s "$t/n.raw" ] &&
    ! cmp -s "$t/n.raw" "$t/a.raw"; }
check "--normalize changes the input" normalised

# A clip with an offset, which GroupNorm removes: the rounding error of its product with large weights must not remain.
npy() { printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($1,), }"; cat; }
fill() { awk -v n="$1" -v x="$2" 'BEGIN { while (n--) printf "%s", x }'; } # the text x, n times
hear() { pcm 24000 "$1" a | mert-encode -m tests/golden/mert-post-ln | mert-tensor to-npy -o "$2"; }
printf "$(fill 2400 '\\000\\000\\000\\077')" | npy 2400 > "$t/half.npy"
head -c 9600 /dev/zero | npy 2400 > "$t/silence.npy"
constant() { hear "$t/half.npy" "$t/half.hidden.npy" && hear "$t/silence.npy" "$t/silence.hidden.npy" && cmp "$t/half.hidden.npy" "$t/silence.hidden.npy"; }
check "a constant clip is silence" constant
printf "$(fill 343 '\\000\\200\\376\\076\\000\\000\\377\\076\\000\\200\\377\\076\\000\\000\\000\\077\\000\\100\\000\\077\\000\\200\\000\\077\\000\\300\\000\\077')" | head -c 9600 | npy 2400 > "$t/level.npy" # 0.5 + (t % 7 - 3) / 1024
level() { hear "$t/level.npy" "$t/level.hidden.npy" && hidden-near "$t/level.hidden.npy" tests/golden/mert-post-ln/level.npy 2e-6; }
check "a clip around a level agrees with the reference in float64" level

pcm 16000 "$golden/mert-post-ln/audio.npy" slow > "$t/slow.mts"
check_fails "another sample rate is refused, both named" 1 'slow: .*16000 Hz.*24000 Hz' \
    sh -c "mert-encode -m $m $t/slow.mts > /dev/null"
mert-tensor from-npy --kind pcm --rate 44100 --key cd "$golden/mert-post-ln/audio.npy" > "$t/cd.mts"
check_fails "44.1 kHz, too" 1 'cd: .*44100 Hz.*24000 Hz \(mert-decode --rate 24000\)' sh -c "mert-encode -m $m $t/cd.mts > /dev/null"
{ printf '\223NUMPY\001\000\166\000';
  printf "%-117s\n" "{'descr': '<f4', 'fortran_order': False, 'shape': (12000, 2), }";
  zstd -dcq "$t/a.mts"; } > "$t/stereo.npy"
mert-tensor from-npy --kind pcm --rate 44100 --key both "$t/stereo.npy" > "$t/both.mts"
check_fails "stereo at another rate" 1 'both: .*44100 Hz.*24000 Hz' sh -c "mert-encode -m $m $t/both.mts > /dev/null"
pcm 24000 "$t/stereo.npy" stereo > "$t/stereo.mts"
check_fails "stereo is refused, with both counts and rates" 1 'stereo: 2 channels at 24000 Hz, .*needs 1 at 24000 Hz' \
    sh -c "mert-encode -m $m $t/stereo.mts > /dev/null"
check_fails "a model that is not there" 1 'nowhere' sh -c "mert-encode -m $t/nowhere $t/a.mts > /dev/null"
check_fails "a layer that is not there" 2 'layers' sh -c "mert-encode -m $m --layers 9 $t/a.mts > /dev/null"
short() { { mert-encode -m "$m" "$t/a.mts" "$t/few.mts" > "$t/out.mts";
    echo $? > "$t/status"; } 2> "$t/err"; grep -q 'few.*399 samples.*400' "$t/err" &&
    [ "$(cat "$t/status")" = 1 ] && [ "$(mert-tensor ls "$t/out.mts" | grep -c hidden)" = 1 ]; }
dd if="$t/a.raw" of="$t/few.raw" bs=4 count=399 2> /dev/null
{ printf '\223NUMPY\001\000\166\000';
  printf "%-117s\n" "{'descr': '<f4', 'fortran_order': False, 'shape': (399,), }";
    cat "$t/few.raw"; } > "$t/few.npy"
pcm 24000 "$t/few.npy" few > "$t/few.mts"
check "an item shorter than the receptive field fails by name, the others go on" short

cp -r "$m" "$t/lacking"
renamed() {
    sed 's/final_layer_norm.weight/final_layer_norm.wright/' "$m/model.safetensors" > "$t/lacking/model.safetensors"; }
renamed
check_fails "a renamed tensor is named" 1 'final_layer_norm' sh -c "mert-encode -m $t/lacking $t/a.mts > /dev/null"
head -c 300000 "$m/model.safetensors" > "$t/lacking/model.safetensors"
check_fails "a truncated file" 1 'lacking/model.safetensors: .*truncated' \
    sh -c "mert-encode -m $t/lacking $t/a.mts > /dev/null"
cp "$m/model.safetensors" "$t/lacking/"
sed 's/"intermediate_size": 96/"intermediate_size": 64/' "$m/config.json" \
    > "$t/lacking/config.json"
check_fails "a configuration that contradicts the tensors" 1 \
    'lacking: tensor .* is \[96, 48\], and the configuration makes it \[64, 48\]' \
    sh -c "mert-encode -m $t/lacking $t/a.mts > /dev/null"
printf '\200\002cposix\nsystem\n(X\014\000\000\000touch %s/owned\205R.' "$t" > "$t/attack.pt"
check_fails "a pickle that asks to run something" 1 'attack.pt: offset 2: asks to run posix.system: refused' \
    sh -c "mert-encode -m $t/attack.pt $t/a.mts > /dev/null"
many() { # more items than are computed at a time, short ones among them, in the order in which they came
    for i in 1 2 3 4; do cat "$t/a.mts" "$t/few.mts" "$t/b.mts"; done > "$t/many.mts"
    for i in 1 2 3 4; do cat "$t/ab.raw"; done > "$t/want.raw"
    mert-encode -m "$m" --threads "$1" --max-failed 4 "$t/many.mts" 2> "$t/err" > "$t/many.out" &&
        zstd -dcq < "$t/many.out" | cmp - "$t/want.raw" &&
        [ "$(mert-tensor ls "$t/many.out" 2> "$t/err" | cut -f 2 | tr '\n' ' ')" = "$order" ]
}
order=$(for i in 1 2 3 4; do printf 'a few b '; done)
check "many items, some of which fail, keep their order" many 3
check "in one thread" many 1
fail_fast() { # "few" is too short
    cat "$t/a.mts" "$t/few.mts" "$t/b.mts" | mert-encode -m "$m" --threads "$1" --fail-fast > "$t/fast.out" 2> "$t/said"
    [ $? -eq 1 ] && grep -q 'stopped at the first failure' "$t/said" && mert-tensor ls "$t/fast.out" > "$t/ls" 2> "$t/said"
    [ $? -eq 1 ] && grep -q 'stops without an end record' "$t/said" && [ "$(cut -f 2,3 "$t/ls" | tr '\t\n' '  ')" = 'a hidden few failed ' ]
}
check "--fail-fast" fail_fast 3
check "--fail-fast in one thread" fail_fast 1
