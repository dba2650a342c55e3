# Model files from various sources: several files that describe one model, pointers and web pages in place of a file,
# one flipped bit.
. tests/shell
t=$TEST_TMP
m=$golden/mert-post-ln
fact() { mert-model info "$2" 2>> "$t/notes" | sed -n "s/^$1: *//p"; }
hash=$(fact hash "$m")

# ---- the input of the model ----

mkdir -p "$t/said"; cp "$m/config.json" "$m/model.safetensors" "$t/said/"
say() { rm -f "$t"/said/p*.json; [ -z "$1" ] || printf '%s' "$1" > "$t/said/preprocessor_config.json"; [ -z "$2" ] || printf '%s' "$2" > "$t/said/processor_config.json"; }
hears() { say "$1" "$2"; fact input "$t/said" | grep -q "24000 Hz, $3;"; }
normalised='normalised per clip: (x - mean) / sqrt(var + 1e-7)'
check "nothing said: as they are" hears '' '' 'not normalised'
check "do_normalize left out: its default" hears '{"sampling_rate": 24000}' '' "$normalised"
check "processor_config.json" hears '' '{"feature_extractor": {"sampling_rate": 24000, "do_normalize": true}}' "$normalised"
check "both, and they agree" hears '{"sampling_rate": 24000, "do_normalize": false}' \
    '{"feature_extractor": {"sampling_rate": 24000, "do_normalize": false}}' 'not normalised'
check "a processor that says nothing of it" hears '' '{"processor_class": "Wav2Vec2Processor"}' 'not normalised'
differ() { say "$2" "$3"; check_fails "$1" 1 "$4" mert-model info "$t/said"; }
differ "do_normalize in two ways" '{"sampling_rate": 24000, "do_normalize": false}' '{"feature_extractor": {"sampling_rate": 24000}}' \
    'do_normalize is false in preprocessor_config.json and true \(its default\) in processor_config.json'
differ "sampling_rate in two ways" '{"sampling_rate": 24000}' '{"feature_extractor": {"sampling_rate": 16000}}' \
    'sampling_rate is 24000 Hz in preprocessor_config.json and 16000 Hz in processor_config.json'
differ "another rate than the model's" '' '{"feature_extractor": {"do_normalize": true}}' \
    'sample_rate is 24000 Hz in config.json, but sampling_rate is 16000 Hz \(its default\) in processor_config.json'
differ "another class" '{"feature_extractor_type": "WhisperFeatureExtractor"}' '' "feature_extractor_type is 'WhisperFeatureExtractor'"

# ---- eps ----

pcm() { mert-tensor from-npy --kind pcm --rate 24000 --key a "$m/audio.npy"; }
states() { pcm | mert-encode -m "$1" --layers "$2" | zstd -dcq; }
mkdir -p "$t/eps"; cp "$m/model.safetensors" "$t/eps/"
sed 's/"layer_norm_eps": 1e-05/"layer_norm_eps": 0.01/' "$m/config.json" > "$t/eps/config.json"
not_the_extractors() { # with no layers behind it, only the projection's norm hears of layer_norm_eps
    states "$m" 0 > "$t/h0" && states "$t/eps" 0 > "$t/h1" && ! cmp -s "$t/h0" "$t/h1" &&
        mert-model convert -q --to hf -m "$t/eps" -o "$t/eps2" && states "$t/eps2" 0 | cmp - "$t/h1"
}
check "layer_norm_eps goes out as it came in" not_the_extractors

# ---- correct results (tests/golden/found) ----

right() { # every value within 2e-5 of the largest
    d=tests/golden/found/$1
    mert-tensor from-npy --kind pcm --rate 16000 --key a "$d/audio.npy" | mert-encode -m "$d$2" > "$t/got.mts" &&
        mert-tensor from-npy --kind hidden --rate 16000 --frame-rate 16000/320 --key a "$d/expect.npy" > "$t/want.mts" &&
        top=$(mert-tensor stat "$t/want.mts" | largest) && [ -n "$top" ] &&
        mert-tensor cmp --rtol 0 --atol "$(awk "BEGIN { print 2e-5 * $top }")" "$t/got.mts" "$t/want.mts"
}
largest() { awk -F '\t' 'NR == 2 { print (-$5 > $6 + 0) ? -$5 : $6 + 0 }'; }
check "norms of the extractor have their own eps (group)" right eps-group-1e-3 ''
check "norms of the extractor have their own eps (layer)" right eps-layer-1e-6 ''
check "do_normalize is true where it is left out" right normalize-key-missing ''
check "do_normalize in processor_config.json" right normalize-processor-config ''
check "torch's neg bit" right neg-bit-all-matrices ''
check "fairseq normalises with 1e-5" right fairseq-normalize-quiet /checkpoint.pt
check "a fairseq model as wide as its extractor" right fairseq-no-post-extract-proj /checkpoint.pt
keeps() { mert-model convert --to "$1" -m tests/golden/found/fairseq-normalize-quiet/checkpoint.pt -o "$t/keeps" 2> "$t/note" && fact input "$t/keeps$2" | grep -q 'var + 1e-5'; }
check "and keeps that in our own directory" keeps native ''
check "packed" keeps packed ''
said_so() { keeps hf '' && grep -q 'transformers has 1e-7 alone' "$t/note"; }
check "in HF's, where it is said that transformers differs" said_so
back() { mert-model convert --to fairseq -m tests/golden/found/fairseq-no-post-extract-proj/checkpoint.pt -o "$t/thin" && [ "$(fact hash "$t/thin/checkpoint.pt")" = "$(fact hash tests/golden/found/fairseq-no-post-extract-proj/checkpoint.pt)" ]; }
check "no projection goes back to fairseq as none" back

# ---- other files in place of a model ----

printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 377552312\n' 0 > "$t/pytorch_model.bin"
check_fails "a git-lfs pointer" 1 'pytorch_model.bin: this is a git-lfs pointer of 377552312 bytes; fetch the file with git lfs pull' mert-model info "$t/pytorch_model.bin"
printf '\n<!DOCTYPE html><html>404' > "$t/page.safetensors"
check_fails "a web page" 1 'page.safetensors: .*web page' mert-model info "$t/page.safetensors"
: > "$t/empty.pt"; check_fails "nothing" 1 'empty.pt: the file is empty' mert-model info "$t/empty.pt"
head -c 100000 /dev/zero > "$t/zero.bin"; check_fails "zeros" 1 'zero.bin: .*it contains zeros' mert-model info "$t/zero.bin"
mkdir -p "$t/shards"; cp "$m/config.json" "$t/shards/"
echo '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}' > "$t/shards/model.safetensors.index.json"
check_fails "shards that are not there" 1 'index.json: 2 of the 2 files .* not in this folder: model-1.safetensors model-2.safetensors' mert-model info "$t/shards"
blanks() { # a header of 640 bytes, modulo 65536, begins with 80 02, as a pickle does
    n=$(od -An -tu8 -N8 "$m/model.safetensors" | tr -d ' ')
    mkdir -p "$t/blanks" && cp "$m/config.json" "$t/blanks/" && [ "$n" -lt 66176 ] &&
        { printf '\200\002\001\000\000\000\000\000'; tail -c +9 "$m/model.safetensors" | head -c "$n"
          printf "%$((66176 - n))s" ''; tail -c "+$((9 + n))" "$m/model.safetensors"; } > "$t/blanks/model.safetensors" &&
        [ "$(fact hash "$t/blanks")" = "$hash" ]
}
check "a safetensors file that begins like a pickle" blanks

# ---- EnCodec: settings that are not implemented ----

mkdir -p "$t/codec"; cp "$golden"/encodec-tiny/*.safetensors "$golden"/encodec-tiny/config.json "$t/codec/"
codec() { # NAME PATTERN CONFIG-EDIT [PREPROCESSOR]
    sed "$3" "$golden/encodec-tiny/config.json" > "$t/codec/config.json"; rm -f "$t/codec/preprocessor_config.json"
    [ -z "${4:-}" ] || printf '%s' "$4" > "$t/codec/preprocessor_config.json"
    pcm > "$t/pcm.mts"; check_fails "$1" 1 "$2" sh -c "mert-rvq encode -m $t/codec $t/pcm.mts > $t/out.mts"
}
codec "codes of chunks" 'config.json: chunk_length_s is 0.2: this model codes a file in chunks, each by itself, which is not done here; null makes codes of whole files, which are other codes' 's/{/{"chunk_length_s": 0.2, "overlap": 0.01,/'
codec "chunks that the audio is padded to" 'preprocessor_config.json: chunk_length_s is 1: this model has audio padded to whole chunks, which is not done here' '' '{"chunk_length_s": 1.0, "sampling_rate": 24000}'
codec "a chunk of no length" 'config.json: chunk_length_s is no number' 's/{/{"chunk_length_s": "1",/'
codec "stereo audio" 'preprocessor_config.json: feature_size is 2' '' '{"feature_size": 2, "sampling_rate": 24000}'

# ---- one bit ----

flip() { # FILE OFFSET: its lowest bit
    b=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "\\$(printf %o $((b ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>> "$t/dd"
}
mert-model convert -q --to native -m "$m" -o "$t/own" && mert-model convert -q --to packed -m "$m" -o "$t/packed"
flipped() { # MODEL FILE PLACES COMMAND...: every place by itself is refused, by the file's name
    from=$1 file=$2 places=$3; shift 3
    for at in $places; do
        rm -rf "$t/bit"; cp -r "$from" "$t/bit"; flip "$t/bit/$file" "$at"
        "$@" > "$t/out" 2> "$t/err" && { echo "$file, $at: passed"; return 1; }
        [ "$(wc -l < "$t/err")" -eq 1 ] && grep -q "bit" "$t/err" || { echo "$file, $at:"; cat "$t/err"; return 1; }
    done
}
encode() { pcm | mert-encode -m "$t/bit" --layers last; }
end=$(($(wc -c < "$t/own/model.safetensors") - 3))
check "a bit of our own model, when it is used" flipped "$t/own" model.safetensors "0 9 12 35 45 60 100 500 40000 $end" encode
check "its configuration" flipped "$t/own" config.json "4 30 200 500" encode
check "its preprocessor's" flipped "$t/own" preprocessor_config.json "5 20 100" encode
end=$(($(wc -c < "$t/packed/model.safetensors") - 3))
check "a packed model, when it was used" flipped "$t/packed" model.safetensors "40000 $end" encode
check "and when it is verified" flipped "$t/packed" model.safetensors "0 9 20 45 60 100 40000 $end" mert-model verify "$t/bit"
check "its configuration" flipped "$t/packed" config.json "4 30 60 90 300" encode
on_purpose() {
    rm -rf "$t/bit"; cp -r "$t/own" "$t/bit"
    sed -i 's/"layer_norm_eps"/"mert_edited": true, "layer_norm_eps"/' "$t/bit/config.json" && encode > "$t/out"
}
check "what was changed on purpose says so" on_purpose

# ---- the last state, before and after the final norm ----

both() {
    p=$golden/mert-pre-ln
    mert-tensor from-npy --kind pcm --rate 24000 "$p/audio.npy" | mert-encode -m "$p" --layers 2,last,last-raw | mert-tensor ls > "$t/ls" &&
        [ "$(states_of last-raw)" != "$(states_of last)" ] && [ "$(states_of last-raw,last)" != "$(states_of last,last-raw)" ]
}
states_of() { mert-tensor from-npy --kind pcm --rate 24000 "$p/audio.npy" | mert-encode -m "$p" --layers "$1" | zstd -dcq | cksum; }
check "last and last-raw" both
check_fails "a post-LN model has no last-raw" 2 'post-LN.* no such norm' mert-encode -m "$m" --layers last-raw
