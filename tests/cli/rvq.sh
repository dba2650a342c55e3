# mert-rvq through real pipes: the reference's codes and audio, independence of items, our own codebooks, and refusals.
. tests/shell
t=$TEST_TMP
g=$golden/encodec-tiny
pcm() { mert-tensor from-npy --allow-nonfinite --kind pcm --rate "${rate:-24000}" "$@"; }
npy() { # SHAPE [TYPE]: values from stdin
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '${2:-<f4}', 'fortran_order': False, 'shape': ($1), }"; cat
}
pcm --key music "$g/audio.npy" > "$t/music.mts"
mert-tensor from-npy --kind codes --rate 24000 --frame-rate 24000/320 --transpose --classes 64 "$g/codes.npy" > "$t/codes.mts"
pcm "$g/decoded.npy" > "$t/decoded.mts"

# ---- EnCodec ----

for m in encodec.th model.safetensors .; do
    same_codes() { mert-rvq encode -m "$g/$m" --codebooks 4 "$t/music.mts" | mert-tensor cmp - "$t/codes.mts"; }
    check "$m: codes equal the reference's" same_codes
    same_audio() { mert-rvq encode -m "$g/$m" --codebooks 4 "$t/music.mts" | mert-rvq decode -m "$g/$m" | mert-tensor cmp --ptol 2e-5 - "$t/decoded.mts"; }
    check "$m: decoded audio equals the reference's" same_audio
    mert-rvq encode -m "$g/$m" "$t/music.mts" > "$t/$(basename "$m").codes.mts"
done
same_bytes() { cmp "$t/encodec.th.codes.mts" "$t/model.safetensors.codes.mts" && cmp "$t/encodec.th.codes.mts" "$t/..codes.mts"; }
check "every container gives the same bytes" same_bytes
m=$g/model.safetensors

no_direction() { # of the first convolution, which weight norm divides by its length
    cp "$m" "$t/flat.safetensors"
    size=$(od -A n -t u8 -N 8 "$m" | tr -d ' ')
    range=$(head -c "$((8 + size))" "$m" | grep -ao 'encoder.layers.0.conv.weight_v"[^]]*][^]]*]' | sed 's/.*[[]\(.*\), *\(.*\)[]]/\1 \2/')
    head -c "$((${range#* } - ${range% *}))" /dev/zero | dd of="$t/flat.safetensors" bs=1024 seek="$((8 + size + ${range% *}))" oflag=seek_bytes conv=notrunc 2> "$t/dd"
}
no_direction; cp "$g/config.json" "$t/config.json"
check_fails "a direction of zeros" 1 'flat.safetensors: tensor encoder.layers.0.conv.weight_v: row 0 of [0-9]* is all zero' \
    sh -c "mert-rvq encode -m $t/flat.safetensors $t/music.mts > $t/flat.mts"

# Three items of different length, the shortest has three samples, in one stream; then one by one, with other numbers of
# threads.
head -c 12 < "$g/audio.npy" | npy '3,' > "$t/tiny.npy"
tail -c 40000 "$g/audio.npy" | npy '10000,' > "$t/part.npy"
pcm "$t/part.npy" "$g/audio.npy" "$t/tiny.npy" > "$t/three.mts"
one_by_one() {
    mert-rvq encode -m "$m" --labels "$t/train.encodec_%d" "$t/three.mts" > "$t/three.codes.mts" || return
    for n in 1 2 3; do
        set -- "$t/part.npy" "$g/audio.npy" "$t/tiny.npy"; shift $((n - 1))
        pcm "$1" | mert-rvq encode -m "$m" --threads $n | mert-tensor text --codebook 3 --no-heads || return
    done > "$t/single.txt"
    cmp "$t/single.txt" "$t/train.encodec_3"
}
check "items are the same alone, in a stream, with 1, 2, 3 threads" one_by_one
# --fail-fast: the first item that fails is the last that is processed, and the stream has no end.
head -c 12 < "$g/audio.npy" | npy '3,' > "$t/ok.npy"; printf '\000\000\300\177' | npy '1,' > "$t/bad.npy"
{ pcm --key ok "$t/ok.npy"; pcm --key bad "$t/bad.npy"; pcm --key late "$t/ok.npy"; } > "$t/fast.mts"
fail_fast() {
    mert-rvq encode -m "$m" --fail-fast "$t/fast.mts" > "$t/fast.out" 2> "$t/said"
    [ $? -eq 1 ] && grep -q 'stopped at the first failure' "$t/said" && mert-tensor ls "$t/fast.out" > "$t/ls" 2> "$t/said"
    [ $? -eq 1 ] && grep -q 'stops without an end record' "$t/said" && [ "$(cut -f 2,3 "$t/ls" | tr '\t\n' '  ')" = 'ok codes bad failed ' ]
}
check "--fail-fast" fail_fast

# In a batch or one by one: the same stream, byte for byte; and the same labels if some items fail.
{ tail -c 40000 "$g/audio.npy"; printf '\000\000\300\177'; } | npy '10001,' > "$t/nan.npy"
npy '0,' < /dev/null > "$t/none.npy"
pcm "$t/nan.npy" "$t/part.npy" "$t/none.npy" "$g/audio.npy" "$t/nan.npy" "$t/tiny.npy" "$t/part.npy" "$t/none.npy" > "$t/mixed.mts"
side_by_side() {
    for b in 1 2 3 16; do
        mert-rvq encode -m "$m" --batch $b --threads $((b % 3 + 1)) "$t/three.mts" | cmp - "$t/three.codes.mts" || return
        mert-rvq encode -m "$m" --batch $b --max-failed 4 --labels "$t/mixed${b}_%d" "$t/mixed.mts" > "$t/mixed$b" 2> "$t/log" || return
        cmp "$t/mixed1_2" "$t/mixed${b}_2" && [ "$(awk '!NF { printf "%d ", NR }' "$t/mixed${b}_0")" = "1 3 5 8 " ] || return
        [ "$(grep -c 'none.npy: holds no samples\|nan.npy: sample 10000' "$t/log")" -eq 4 ] && mert-tensor check "$t/mixed$b" 2> "$t/check"
        mert-tensor ls "$t/mixed$b" 2> /dev/null | awk '/npy/ { print $1, $2 }' > "$t/ls$b"; [ -s "$t/ls1" ] && cmp "$t/ls1" "$t/ls$b" || return
    done
}
check "items side by side give the same stream, failed ones in their places" side_by_side
# On a device: the guard, and the emulated CUDA device. The same streams: a device is not in them.
for device in guard emulated; do
    [ "$device" != emulated ] || [ -f "$OUT/lib/mert/device-emulated.so" ] || { skip "codes on the emulated device" "no C++17 compiler built it"; continue; }
    on_device() {
        for b in 1 16; do
            mert-rvq encode -m "$m" --device $device --batch $b "$t/three.mts" | cmp - "$t/three.codes.mts" || return
        done
        mert-rvq encode -m "$g/encodec.th" --device $device --codebooks 4 "$t/music.mts" | mert-tensor cmp - "$t/codes.mts" || return
        mert-rvq encode -m "$m" --device $device --batch 3 --max-failed 4 --labels "$t/device_%d" "$t/mixed.mts" 2> "$t/log" | cmp - "$t/mixed3" && cmp "$t/device_2" "$t/mixed3_2" &&
            [ "$(grep -c 'none.npy: holds no samples\|nan.npy: sample 10000' "$t/log")" -eq 4 ]
    }
    check "$device: the same streams and labels" on_device
done
large_weights() { # of the last convolution: embeddings of 1e30
    cp "$m" "$t/large.safetensors"
    size=$(od -A n -t u8 -N 8 "$m" | tr -d ' ')
    range=$(head -c "$((8 + size))" "$m" | grep -ao 'encoder.layers.15.conv.weight_g"[^]]*][^]]*]' | sed 's/.*[[]\(.*\), *\(.*\)[]]/\1 \2/')
    for i in $(seq $(((${range#* } - ${range% *}) / 4))); do printf '\312\362\111\161'; done | dd of="$t/large.safetensors" bs=1024 seek="$((8 + size + ${range% *}))" oflag=seek_bytes conv=notrunc 2> "$t/dd"
}
large_weights
as_the_cpu() {
    for device in cpu guard; do mert-rvq encode -m "$t/large.safetensors" --device $device --max-failed 3 "$t/three.mts" > "$t/large.$device" 2> "$t/said.$device"; done
    cmp "$t/said.cpu" "$t/said.guard" && cmp "$t/large.cpu" "$t/large.guard" && grep -q 'audio.npy: frame 0: a NaN, an infinity or a value too large to square' "$t/said.cpu"
}
check "embeddings that are too large fail their items, as on the CPU" as_the_cpu
check_fails "no such device" 1 "no device 'nowhere'" mert-rvq encode -m "$m" --device nowhere "$t/three.mts"
if [ -f "$OUT/lib/mert/device-emulated.so" ]; then
    small() { env EMU_MEMORY="$1" mert-rvq encode -m "$m" --device emulated "$t/three.mts"; }
    check_fails "no memory on the device for the weights" 1 'model.safetensors: out of memory for the weights: device emulated:0 .* a smaller model, or --device cpu$' small 20000
    check_fails "none for the items" 1 'out of memory for [0-9]* frames: device emulated:0 .* a smaller --batch takes less$' small 600000
fi
stops() { # what was whole before the input stopped comes out, all the same
    head -c 90000 "$t/three.mts" > "$t/cut.mts"
    mert-rvq encode -m "$m" "$t/cut.mts" > "$t/cut.16" 2> /dev/null; [ $? -eq 1 ] || return
    mert-rvq encode -m "$m" --batch 1 "$t/cut.mts" > "$t/cut.1" 2> /dev/null; [ $? -eq 1 ] || return
    mert-tensor ls "$t/cut.1" > "$t/ls.1" 2> /dev/null; mert-tensor ls "$t/cut.16" > "$t/ls.16" 2> /dev/null
    [ "$(sed -n 2p "$t/ls.1")" = "$(sed -n 2p "$t/ls.16")" ] && grep -q part.npy "$t/ls.16"
}
check "an input that stops" stops
labels() {
    for k in 0 1 2 3 4 5; do
        mert-tensor text --no-heads --codebook $k "$t/three.codes.mts" | cmp - "$t/train.encodec_$k" || return
        grep -qx "codebook_index=$k" "$t/train.encodec_$k.meta" && grep -qx 'classes=64' "$t/train.encodec_$k.meta" &&
            grep -qx 'frame_rate=24000/320' "$t/train.encodec_$k.meta" || return
    done
    [ ! -e "$t/train.encodec_6" ]
}
check "--labels writes a file for each codebook" labels
half_scale() { # 16-bit samples are 1/32768: 16384 is 0.5
    { for i in $(seq 500); do printf '\000\100\000\300'; done; } | npy '1000,' '<i2' > "$t/i16.npy"
    { for i in $(seq 500); do printf '\000\000\000\077\000\000\000\277'; done; } | npy '1000,' > "$t/f32.npy"
    pcm "$t/i16.npy" | mert-rvq encode -m "$m" > "$t/i16.mts" && pcm "$t/f32.npy" | mert-rvq encode -m "$m" | mert-tensor cmp - "$t/i16.mts"
}
check "i16 samples are f32 samples" half_scale

refused() { # NAME PATTERN COMMAND: its stdin is $t/odd.mts
    check_fails "$1" 1 "$2" sh -c "$3 < $t/odd.mts > $t/out.mts"
}
rate=16000 pcm "$g/audio.npy" > "$t/odd.mts"
refused "another sample rate" 'audio.npy: sample rate is 16000 Hz, this model needs 24000 Hz .mert-decode --rate 24000.' "mert-rvq encode -m $m"
head -c 800 /dev/zero | npy '100, 2' > "$t/stereo.npy"
pcm "$t/stereo.npy" > "$t/odd.mts"
refused "stereo" 'stereo.npy: has 2 channels, this model needs 1' "mert-rvq encode -m $m"
npy '0,' < /dev/null > "$t/empty.npy"
pcm "$t/empty.npy" > "$t/odd.mts"
refused "no samples" 'empty.npy: holds no samples' "mert-rvq encode -m $m"
{ head -c 400 /dev/zero; printf '\000\000\200\177'; } | npy '101,' > "$t/inf.npy"
pcm "$t/inf.npy" > "$t/odd.mts"
refused "an infinity" 'inf.npy: sample 100 is' "mert-rvq encode -m $m"
cp "$t/codes.mts" "$t/odd.mts"
refused "codes" 'is codes, this model needs pcm' "mert-rvq encode -m $m"
cp "$t/music.mts" "$t/odd.mts"
refused "pcm to decode" 'is pcm, decoding needs codes' "mert-rvq decode -m $m"
refused "more codebooks than there are" 'model.safetensors: has 6 codebooks, not 7' "mert-rvq encode -m $m --codebooks 7"
LC_ALL=C sed 's/"encoder.layers.3.conv.weight_v"/"encoder.layers.3.conv.weight_w"/' "$m" > "$t/lacks.safetensors"
refused "a model that lacks a tensor" 'lacks.safetensors: tensor encoder.layers.3.conv.weight_v is missing' "mert-rvq encode -m $t/lacks.safetensors"
mert-tensor from-npy --kind codes --rate 24000 --frame-rate 75 --transpose --classes 70 "$g/codes.npy" > "$t/odd.mts"
refused "codes of other classes" 'codebook 0 has 70 classes, this model.s have 64' "mert-rvq decode -m $m"

# ---- our own codebooks on features ----

features() { mert-tensor from-npy --allow-nonfinite --kind "${kind:-mel}" --rate 24000 --frame-rate 24000/320 --key f "$@"; }
features "$golden/kmeans/features.npy" > "$t/features.mts"
train() { mert-rvq train --codebooks 3 --classes 32 --passes 1 --seed 4 "$@" "$t/features.mts"; }
own() {
    train --threads 1 -o "$t/own.safetensors" && train --threads 2 -o "$t/own2.safetensors" && cmp "$t/own.safetensors" "$t/own2.safetensors" &&
        mert-rvq encode -m "$t/own.safetensors" --labels "$t/own_%d" "$t/features.mts" > "$t/own.mts" &&
        [ "$(mert-tensor ls "$t/own.mts" | cut -f 3-5)" = "$(printf 'codes\tu16\t[16000,3]')" ] &&
        mert-tensor text --no-heads --codebook 2 "$t/own.mts" | cmp - "$t/own_2"
}
check "own codebooks: train, encode, labels, whatever the threads" own
check_fails "own codebooks on a device" 1 'own.safetensors: is no EnCodec model, and only EnCodec runs on a device$' mert-rvq encode -m "$t/own.safetensors" --device guard "$t/features.mts"
closer() { # each codebook brings what is decoded closer to the features
    for n in 1 2 3; do
        mert-rvq encode -m "$t/own.safetensors" --codebooks $n "$t/features.mts" | mert-rvq decode -m "$t/own.safetensors" |
            mert-tensor to-npy -o "$t/back.npy" || return
        tail -c +129 "$t/back.npy" | od -An -v -w4 -tf4 > "$t/back.txt"
        paste "$t/back.txt" "$t/features.txt" | awk '{ s += ($1 - $2) * ($1 - $2) } END { print s / NR }' >> "$t/errors"
    done
    awk 'NR > 1 && !($1 < 0.8 * last) { exit 1 } { last = $1 } END { exit NR != 3 }' "$t/errors"
}
tail -c +129 "$golden/kmeans/features.npy" | od -An -v -w4 -tf4 > "$t/features.txt"
check "each codebook brings what is decoded closer" closer
kind=cqt features "$golden/kmeans/centroids.npy" > "$t/odd.mts"
refused "features of another kind" 'features are cqt, this codebook is for mel' "mert-rvq encode -m $t/own.safetensors"
head -c 400 /dev/zero | npy '10, 10' > "$t/ten.npy"
features "$t/ten.npy" > "$t/odd.mts"
refused "features of another width" '10 values.*this codebook is for 12' "mert-rvq encode -m $t/own.safetensors"
mert-rvq encode -m "$m" "$t/music.mts" > "$t/odd.mts"
refused "codes of another model" 'codes are of model [0-9a-f]*, this model is [0-9a-f]*' "mert-rvq decode -m $t/own.safetensors"
features "$golden/kmeans/centroids.npy" > "$t/odd.mts"
check_fails "an item that comes twice is not counted twice" 1 'came before: the inputs must not hold an item twice' mert-rvq train -q --codebooks 2 --classes 8 -o "$t/n.safetensors" "$t/features.mts" "$t/features.mts"
refused "more classes than frames" '64 classes need at least as many frames, but 40 came in' "mert-rvq train --codebooks 2 --classes 64 -o $t/n.safetensors"
refused "a k-means codebook" 'of kind kmeans' "mert-kmeans train -k 3 -q -o $t/km.safetensors $t/odd.mts && mert-rvq encode -m $t/km.safetensors"

# ---- Mel-RVQ and random projections ----

mel() { mert-rvq train --classes 16 --width 5 --seed 4 "$@" "$t/features.mts"; }
mel_rvq() { # 16000 frames of 12, four of which make a code
    mel --method melrvq --codebooks 3 --threads 1 -o "$t/mel.a" && mel --method melrvq --codebooks 3 --threads 3 -o "$t/mel.b" && cmp "$t/mel.a" "$t/mel.b" &&
        mert-rvq encode -m "$t/mel.a" --labels "$t/mel_%d" "$t/features.mts" > "$t/mel.mts" &&
        [ "$(mert-tensor ls "$t/mel.mts" | cut -f 3-7)" = "$(printf 'codes\tu16\t[4000,3]\t24000\t24000/1280')" ] &&
        grep -qx frame_rate=24000/1280 "$t/mel_2.meta" && grep -qx classes=16 "$t/mel_2.meta"
}
check "Mel-RVQ: codes at a quarter of the frame rate, whatever the threads" mel_rvq
sample() { # of 16000 frames, at most so many; all of them by their number
    for n in 16000 2000; do mel --method melrvq --codebooks 1 --max-frames $n -o "$t/mel.$n" || return; done
    mel --method melrvq --codebooks 1 -o "$t/mel.all" && cmp "$t/mel.all" "$t/mel.16000" && ! cmp -s "$t/mel.all" "$t/mel.2000"
}
check "--max-frames trains with a sample" sample
settings() {
    for floor in 1e-5 1e-6; do mert-decode -q --rate 16000 "$t/tone.wav" | mert-mel --log --log-floor $floor --bins 12 > "$t/floor.$floor.mts" || return; done
    mert-rvq train --method random --classes 16 --width 5 --seed 4 -o "$t/floored" "$t/floor.1e-5.mts" && mert-rvq encode -m "$t/floored" --any-settings "$t/floor.1e-6.mts" | mert-tensor ls | grep -q codes
}
ffmpeg -nostdin -v error -f lavfi -i 'aevalsrc=0.3*sin(2*PI*(200+400*t)*t):s=16000:d=1.5' "$t/tone.wav"
check "--any-settings takes features of other settings" settings
cp "$t/floor.1e-6.mts" "$t/odd.mts"
refused "which are refused without it" "features were made by '.*see --any-settings" "mert-rvq encode -m $t/floored"
mel_back() {
    mert-rvq decode -m "$t/mel.a" "$t/mel.mts" > "$t/back.mts" && [ "$(mert-tensor ls "$t/back.mts" | cut -f 3-7)" = "$(mert-tensor ls "$t/features.mts" | cut -f 3-7)" ]
}
check "and back to features" mel_back
random() {
    mel --method random -o "$t/random.a" && mel --method random -o "$t/random.b" && cmp "$t/random.a" "$t/random.b" &&
        mert-rvq encode -m "$t/random.a" "$t/features.mts" | mert-tensor ls | grep -q '\[4000,1\]'
}
check "random projections: nothing but the seed decides" random
mert-rvq encode -m "$t/random.a" "$t/features.mts" > "$t/odd.mts"
refused "which cannot be decoded" 'of kind random: its codes cannot be decoded' "mert-rvq decode -m $t/random.a"
head -c 144 "$golden/kmeans/features.npy" | tail -c 144 | npy '3, 12' > "$t/short.npy"
features "$t/short.npy" > "$t/odd.mts"
refused "fewer frames than a code stands for" 'has 3 frames, and one code stands for 4' "mert-rvq encode -m $t/mel.a"
LC_ALL=C sed 's/"stack": 4/"stack": 5/; s/"mert_xxh64":"[0-9a-f]*"/"mert_xxh64":"0000000000000000"/' "$t/mel.a" > "$t/mel.c"
refused "a file whose parts do not fit" 'mel.c: tensor project.0 does not fit 5 frames' "mert-rvq encode -m $t/mel.c"
fsq() { mert-rvq train --levels 5,4,3 --seed 4 "$@" "$t/features.mts"; }
scalar() { # four frames make a code of 60 classes
    fsq --method fsq --codebooks 2 --hidden 16 --updates 400 --batch 128 --threads 1 -o "$t/fsq.a" && fsq --method fsq --codebooks 2 --hidden 16 --updates 400 --batch 128 --threads 3 -o "$t/fsq.b" && cmp "$t/fsq.a" "$t/fsq.b" &&
        mert-rvq encode -m "$t/fsq.a" --labels "$t/fsq_%d" "$t/features.mts" > "$t/fsq.mts" &&
        [ "$(mert-tensor ls "$t/fsq.mts" | cut -f 3-7)" = "$(printf 'codes\tu16\t[4000,2]\t24000\t24000/1280')" ] &&
        grep -qx classes=60 "$t/fsq_1.meta" && mert-rvq encode -m "$t/fsq.a" --threads 2 "$t/features.mts" | cmp - "$t/fsq.mts"
}
check "finite scalar quantisation: codes at a quarter of the frame rate, whatever the threads" scalar
scalar_back() { # nearer to the features with the second codebook
    for n in 1 2; do
        mert-rvq encode -m "$t/fsq.a" --codebooks $n "$t/features.mts" | mert-rvq decode -m "$t/fsq.a" > "$t/back$n.mts" || return
        mert-tensor to-npy -o "$t/back.npy" "$t/back$n.mts" && tail -c +129 "$t/back.npy" | od -An -v -w4 -tf4 > "$t/back.txt" || return
        paste "$t/back.txt" "$t/features.txt" | awk '{ s += ($1 - $2) * ($1 - $2); p += $2 * $2 } END { print s / p }' >> "$t/scalar"
    done
    awk 'NR > 1 && !($1 < 0.95 * last) { exit 1 } { last = $1 } END { exit !(NR == 2 && last < 0.8) }' "$t/scalar"
}
check "and back to features, the nearer the more codebooks" scalar_back
random_fsq() {
    fsq --method random-fsq -o "$t/rfsq.a" && fsq --method random-fsq -o "$t/rfsq.b" && cmp "$t/rfsq.a" "$t/rfsq.b" &&
        mert-rvq encode -m "$t/rfsq.a" "$t/features.mts" | mert-tensor ls | grep -q '\[4000,1\]' &&
        mert-rvq train --method random-fsq -o "$t/rfsq.c" "$t/features.mts" && mert-rvq encode -m "$t/rfsq.c" --labels "$t/omar_%d" "$t/features.mts" > "$t/omar.mts" &&
        grep -qx classes=7776 "$t/omar_0.meta"
}
check "with random projections, as OMAR-RQ" random_fsq
mert-rvq encode -m "$t/rfsq.a" "$t/features.mts" > "$t/odd.mts"
refused "whose codes cannot be decoded" 'of kind random-fsq: its codes cannot be decoded' "mert-rvq decode -m $t/rfsq.a"
misused() { check_fails "$1" 2 "$2" mert-rvq train -o "$t/n.safetensors" $3 "$t/features.mts"; }
misused "levels of another method" 'levels goes with --method fsq and random-fsq' '--method melrvq --levels 8,5'
misused "classes of a scalar quantiser" 'classes: those of --method fsq are the product of its --levels' '--method fsq --classes 1000'
misused "the width of a scalar quantiser" 'width goes with --method melrvq and random' '--method fsq --width 4'
misused "hidden layers that do not exist" 'hidden goes with --method fsq' '--method random-fsq --hidden 8'
misused "updates of another method" 'updates goes with --method fsq' '--method rvq --codebooks 1 --updates 8'
misused "one level" '--levels: 1 is less than 2' '--method fsq --levels 8,1'
misused "levels that are no list" "--levels: '8;5' is no list of whole numbers like 8,5,5,5" '--method fsq --levels 8;5'
misused "too many classes" 'levels: together they are more than 1048576 classes' '--method fsq --levels 2000,2000'
misused "no such method" "'fqs' is none of: rvq melrvq random fsq random-fsq" '--method fqs'
check_fails "--stack without projections" 2 'stack goes with' mert-rvq train --codebooks 2 --stack 4 -o "$t/n.safetensors" "$t/odd.mts"
head -c $((40 * 12 * 4)) /dev/zero | npy '40, 12' > "$t/constant.npy"
features "$t/constant.npy" > "$t/odd.mts"
refused "features that are all the same" 'all 40 frames are the same' "mert-rvq train --codebooks 2 --classes 4 -o $t/n.safetensors"
