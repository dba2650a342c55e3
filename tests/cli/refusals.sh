# Input that every teacher refuses, for every program that makes or uses one: one clear line, exit status 1, and no
# output file.
. tests/shell
t=$TEST_TMP
npy() { # SHAPE: float32 from stdin
    printf '\223NUMPY\001\000\166\000%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': ($1), }"; cat
}
features() { name=$1; shift; mert-tensor from-npy --allow-nonfinite --kind "${kind:-mel}" --rate "${rate:-24000}" --frame-rate "${frame_rate:-24000/320}" --key "$name" "$t/$name.npy" > "$t/$name.mts"; }
zeros() { head -c $((4 * $1)) /dev/zero; }
nan='\000\000\300\177' infinity='\000\000\200\377'

# 16,000 frames of 12 values, and bad variants of them.
cp "$golden/kmeans/features.npy" "$t/good.npy"
values() { tail -c +129 "$t/good.npy"; }
features good
kind=mfcc; cp "$t/good.npy" "$t/kind.npy"; features kind
kind=mel rate=16000 frame_rate=75; cp "$t/good.npy" "$t/rate.npy"; features rate
rate=24000 frame_rate=50; cp "$t/good.npy" "$t/frames.npy"; features frames
frame_rate=24000/320
values | npy '19200, 10' > "$t/wide.npy"; features wide
{ values | head -c $((4 * 12 * 7000)); printf "$nan"; values | tail -c +$((4 * 12 * 7000 + 5)); } | npy '16000, 12' > "$t/nan.npy"; features nan
{ printf "$infinity"; values | tail -c +5; } | npy '16000, 12' > "$t/infinity.npy"; features infinity
zeros 1200 | npy '100, 12' > "$t/constant.npy"; features constant
values | head -c $((4 * 12 * 5)) | npy '5, 12' > "$t/five.npy"; features five
npy '0, 12' < /dev/null > "$t/none.npy"; features none

# Teachers of each kind.
mert-kmeans init -k 8 --n-init 1 -o "$t/kmeans" "$t/good.mts"
mert-rvq train --codebooks 2 --classes 8 --passes 1 -o "$t/rvq" "$t/good.mts"
mert-rvq train --method melrvq --codebooks 2 --classes 8 --width 4 --passes 1 -o "$t/melrvq" "$t/good.mts"
mert-rvq train --method random --classes 8 --width 4 -o "$t/random" "$t/good.mts"
mert-rvq train --method fsq --levels 3,4 --hidden 4 --updates 3 -o "$t/fsq" "$t/good.mts"
mert-rvq train --method random-fsq --levels 3,4 -o "$t/random-fsq" "$t/good.mts"

# train NAME METHOD...: the command that makes a teacher of 8 (fsq: 12) classes in $t/new
train() {
    case $1 in
    kmeans|init) [ "$1" = init ] || set -- train; mert-kmeans "$1" -k 8 -o "$t/new" "$t/$input.mts" ;;
    rvq) mert-rvq train --codebooks 2 --classes 8 -o "$t/new" "$t/$input.mts" ;;
    fsq) mert-rvq train --method fsq --levels 3,4 --updates 3 -o "$t/new" "$t/$input.mts" ;;
    random-fsq) mert-rvq train --method "$1" --levels 3,4 -o "$t/new" "$t/$input.mts" ;;
    *) mert-rvq train --method "$1" --codebooks 1 --classes 8 --width 4 -o "$t/new" "$t/$input.mts" ;;
    esac
}
# use PROGRAM MODEL: applies a teacher to $t/$input.mts
use() {
    case $1 in
    accumulate) mert-kmeans accumulate -m "$2" -o "$t/new" "$t/$input.mts" ;;
    assign) mert-kmeans assign -m "$2" --labels "$t/new" "$t/$input.mts" > "$t/codes.mts" ;;
    encode) mert-rvq encode -m "$2" --labels "$t/new_%d" "$t/$input.mts" > "$t/codes.mts" ;;
    esac
}
nothing_left() { [ -z "$(ls "$t" | grep '^new')" ] || { ls "$t" | grep '^new'; rm -f "$t"/new*; return 1; }; }
refused() { check_fails "$@"; check "$1: nothing is left" nothing_left; }
# The item fails, not the run: if there are other items, its line of labels is empty.
refused_item() { check_fails "$@"; rm -f "$t"/new*; }
for input in nan infinity; do
    frame=7000 what='NaN'; [ $input = nan ] || frame=0
    for m in kmeans init rvq melrvq random fsq random-fsq; do refused "$m: training on $input" 1 "$input: frame $frame holds a NaN, an infinity" train $m; done
    refused_item "accumulate: $input" 1 "$input: frame $frame holds" use accumulate "$t/kmeans"
    refused_item "assign: $input" 1 "$input: frame $frame holds" use assign "$t/kmeans"
    for m in rvq melrvq random fsq random-fsq; do refused_item "encode with $m: $input" 1 "$input: frame $frame holds" use encode "$t/$m"; done
done

input=constant
for m in kmeans init rvq melrvq random fsq random-fsq; do refused "$m: training on features that are all the same" 1 'all [0-9]+ frames are the same' train $m; done
input=five
for m in kmeans init; do refused "$m: more clusters than frames" 1 '8 clusters need at least as many frames, but 5 came in' train $m; done
for m in rvq melrvq; do refused "$m: more classes than frames" 1 '8 .*need at least as many frames, but [0-9]+ came in' train $m; done
input=none
for m in kmeans init rvq melrvq random fsq random-fsq; do refused "$m: training on nothing" 1 'no features|no frames|but 0 came in' train $m; done

for input in wide kind rate frames; do
    case $input in
    wide) differs='10 values .*this codebook is for 12' ;;
    kind) differs='features are mfcc, this codebook is for mel' ;;
    rate) differs='audio at 16000 Hz, this codebook is for 24000 Hz' ;;
    frames) differs='50/1 frames per second, this codebook is for 24000/320' ;;
    esac
    refused_item "accumulate: $input" 1 "$input: .*$differs" use accumulate "$t/kmeans"
    refused_item "assign: $input" 1 "$input: .*$differs" use assign "$t/kmeans"
    for m in rvq melrvq random fsq random-fsq; do refused_item "encode with $m: $input" 1 "$input: .*$differs" use encode "$t/$m"; done
done

# ---- files of codebooks ----

# The offset of a tensor's values in a safetensors file, and the file with one of them replaced.
begins() { header=$(od -An -tu8 -N8 "$1" | tr -d ' '); echo $((8 + header + $(head -c $((header + 8)) "$1" | tail -c +9 | grep -oE "\"$2\": *\{[^}]*" | sed 's/.*\[\([0-9]*\), *[0-9]*\]$/\1/'))); }
# The checksum is removed from the files that are changed below, so that later checks are tested.
unsummed() { LC_ALL=C sed 's/"mert_xxh64":"[0-9a-f]*"/"mert_xxh64":"0000000000000000"/' "$t/$1" > "$t/$2"; }
spoilt() { # MODEL TENSOR ELEMENT FLOAT: $t/spoilt.MODEL
    unsummed "$1" "spoilt.$1" && printf "$4" | dd of="$t/spoilt.$1" bs=1 seek=$(($(begins "$t/$1" "$2") + 4 * $3)) conv=notrunc 2> /dev/null
}
hollow() { # MODEL: a codebook of no classes, with the config of a real one
    config=$(LC_ALL=C grep -ao '{"type".*}' "$t/$1" | tail -n 1)
    head="{\"codebooks.0\":{\"dtype\":\"F32\",\"shape\":[0,12],\"data_offsets\":[0,0]},\"config\":{\"dtype\":\"U8\",\"shape\":[${#config}],\"data_offsets\":[0,${#config}]}}"
    printf "\\$(printf %o $((${#head} % 256)))\\$(printf %o $((${#head} / 256)))\\0\\0\\0\\0\\0\\0%s%s" "$head" "$config" > "$t/hollow.$1"
}
same() { # MODEL: its first codebook's words all alike
    unsummed "$1" "same.$1" && zeros "$2" | dd of="$t/same.$1" bs=1 seek="$(begins "$t/$1" codebooks.0)" conv=notrunc 2> /dev/null
}
input=good
for m in kmeans rvq melrvq random; do
    program=encode; [ $m != kmeans ] || program=assign
    spoilt $m codebooks.0 5 "$nan"
    refused "$program: a $m codebook that holds a NaN" 1 "spoilt.$m: tensor codebooks.0 holds a NaN, .*element 5" use $program "$t/spoilt.$m"
    hollow $m
    refused "$program: an empty $m codebook" 1 "hollow.$m: tensor codebooks.0 does not have the shape" use $program "$t/hollow.$m"
    width=4; case $m in kmeans|rvq) width=12 ;; esac
    same $m $((8 * width))
    refused "$program: a $m codebook of equal words" 1 "same.$m: all 8 codewords are the same" use $program "$t/same.$m"
    head -c 200 "$t/$m" > "$t/short.$m"
    refused "$program: half a $m codebook" 1 "short.$m: " use $program "$t/short.$m"
done
spoilt rvq codebooks.1 17 "$infinity"
refused "encode: a later codebook that holds an infinity" 1 'spoilt.rvq: tensor codebooks.1 holds .*element 17' use encode "$t/spoilt.rvq"
spoilt melrvq project.1 3 "$nan"
refused "encode: a projection that holds a NaN" 1 'spoilt.melrvq: tensor project.1 holds .*element 3' use encode "$t/spoilt.melrvq"
spoilt fsq hidden.0 7 "$nan"
refused "encode: an encoder that holds a NaN" 1 'spoilt.fsq: tensor hidden.0 holds .*element 7' use encode "$t/spoilt.fsq"
spoilt random-fsq levels 1 '\000\000\040\100'
refused "encode: two and a half levels" 1 'spoilt.random-fsq: tensor levels: 2.5 is no number of levels' use encode "$t/spoilt.random-fsq"
head -c 200 "$t/fsq" > "$t/short.fsq"
refused "encode: half an fsq codebook" 1 "short.fsq: " use encode "$t/short.fsq"
refused "assign: a scalar quantiser" 1 'fsq: is a codebook of kind fsq' use assign "$t/fsq"
spoilt kmeans codebooks.0 0 "$nan"
refused "accumulate: a codebook that holds a NaN" 1 'spoilt.kmeans: tensor codebooks.0 holds' use accumulate "$t/spoilt.kmeans"
refused "assign: codebooks of another kind" 1 'rvq: is a codebook of kind rvq' use assign "$t/rvq"
refused "encode: centroids" 1 'kmeans: .*k-?means' use encode "$t/kmeans"

# An EnCodec model, whose codebooks are some of its tensors.
cp "$golden/encodec-tiny/model.safetensors" "$t/encodec"
cp "$golden/encodec-tiny/config.json" "$t/"
zeros 4000 | npy '4000,' > "$t/silence.npy"
mert-tensor from-npy --kind pcm --rate 24000 --key silence "$t/silence.npy" > "$t/silence.mts"
input=silence
check "(the model works)" use encode "$t/encodec"
rm -f "$t"/new*
name=quantizer.layers.1.codebook.embed
spoilt encodec "$name" 40 "$nan"
refused "encode: an EnCodec codebook that holds a NaN" 1 "spoilt.encodec: .*tensor $name holds a NaN or an infinity at element 40" use encode "$t/spoilt.encodec"
input=good
refused_item "encode: features for an EnCodec model" 1 'good: is mel, this model needs pcm' use encode "$t/encodec"
input=silence
refused_item "encode: pcm for codebooks" 1 'silence: needs features .*got pcm' use encode "$t/rvq"
refused_item "assign: pcm" 1 'silence: needs features .*got pcm' use assign "$t/kmeans"
for m in kmeans rvq; do refused "$m: training on pcm" 1 'silence: needs features .*got pcm' train $m; done
