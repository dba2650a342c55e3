# MERT-v2: the reference's hidden states, the same answer however it is run, layouts and back, adapters, and what is refused.
. tests/shell
t=$TEST_TMP
pcm() { mert-tensor from-npy --kind pcm --rate "$1" --key "$3" "$2"; }

models=mert2-small; [ -d "$golden/mert2-frontend" ] && models="$models mert2-frontend"
for m in $models; do
    rate=$(sed -n 's/.*"sampling_rate": *\([0-9]*\).*/\1/p' "$golden/$m/config.json")
    pcm "$rate" "$golden/$m/audio.npy" a > "$t/$m.mts"
    reference() { # MODEL option...
        mert-encode -m "$@" "$t/$m.mts" | mert-tensor to-npy -o "$t/hidden.npy" && hidden-near "$t/hidden.npy" "$golden/$m/hidden.npy"
    }
    front_end() {
        mert-mel --preset mert2 -m "$golden/$m" "$t/$m.mts" | mert-tensor to-npy -o "$t/mel.npy" && near "$t/mel.npy" "$golden/$m/mel.npy"
    }
    near() { mert-tensor from-npy --kind mel --rate "$rate" --frame-rate 100 "$1" > "$t/one" && mert-tensor from-npy --kind mel --rate "$rate" --frame-rate 100 --key "$(basename "$1" .npy)" "$2" > "$t/two" &&
        mert-tensor cmp --rtol 0 --atol 2e-6 "$t/one" "$t/two"; }
    check "$m: all layers agree with the reference" reference "$golden/$m"
    check "$m: on the guard backend, too" reference "$golden/$m" --device guard
    check "$m: the front end alone" front_end
    packed() { mert-model convert -q --to packed -m "$golden/$m" -o "$t/$m.packed" && reference "$t/$m.packed" && mert-model verify "$t/$m.packed" | grep -q 'its known answer within'; }
    check "$m: packed" packed
    there_and_back() {
        mert-model convert -q --to native -m "$golden/$m" -o "$t/$m.native" && mert-model convert -q --to hf -m "$t/$m.native" -o "$t/$m.hf" &&
            reference "$t/$m.hf" && mert-model verify "$t/$m.hf" "$t/$m.native" > "$t/said" && [ "$(grep -c 'its known answer within' "$t/said")" -eq 2 ]
    }
    check "$m: our own layout, and back to the published one" there_and_back
done

m=$golden/mert2-small a=$t/mert2-small.mts
fact() { mert-model info "$2" | sed -n "s/^$1: *//p"; }
described() {
    [ "$(fact architecture "$m")" = "MERT-v2, 3 Conformer blocks, width 48, 4 heads, feed-forward 96, convolution of 7" ] &&
        [ "$(fact parameters "$m")" -eq 170392 ] && fact output "$m" | grep -q '^4 hidden states \[T, 48\].* 25 frames per second$' &&
        fact input "$m" | grep -q 'not normalised, at least 960 samples; log-mel spectrum of 32 bins, n_fft 512'
}
check "info describes a model" described
same_hash() { for x in native hf packed; do [ "$(fact hash "$t/mert2-small.$x")" = "$(fact hash "$m")" ] || return; done; }
check "the hash is the same for every layout" same_hash

# ---- the same answer however it is run ----

raw() { zstd -dcq; }
head -c 120000 /dev/urandom > "$t/noise" # any samples do
ffmpeg -nostdin -v error -y -f s16le -ar 24000 -ac 1 -i "$t/noise" "$t/noise.wav"
mert-decode -q --key b "$t/noise.wav" > "$t/b.mts" 2> /dev/null || mert-decode -q "$t/noise.wav" > "$t/b.mts"
mert-encode -q -m "$m" "$a" | raw > "$t/a.raw"
mert-encode -q -m "$m" "$t/b.mts" | raw > "$t/b.raw"
cat "$t/a.raw" "$t/b.raw" > "$t/ab.raw"
together() { mert-encode -q -m "$m" --threads "$1" "$a" "$t/b.mts" | raw | cmp - "$t/ab.raw"; }
check "items together give the bytes of items alone, one thread" together 1
check "and three threads" together 3
chunks() { for n in 1 777 2400; do rechunk $n < "$a" | mert-encode -q -m "$m" | raw | cmp - "$t/a.raw" || return; done; }
check "however the samples come" chunks
subsampler() { mert-encode -q -m "$m" --layers 0 "$a" | mert-tensor ls | grep -q '[[]62,1,48[]]' && mert-encode -q -m "$m" --layers last "$a" | raw > "$t/last" &&
    mert-encode -q -m "$m" --layers 3 "$a" | raw | cmp - "$t/last"; }
check "layer 0 is the subsampler's output, 3 the last" subsampler
pooled() { mert-encode -q -m "$m" --pool mean --span 1 --weights 0.25,0.25,0.25,0.25 "$a" | mert-tensor ls | grep -q '[[]3,1,48[]]'; }
check "weighted, and pooled over spans" pooled
windows() { mert-encode -q -m "$m" --window 1 --hop 0.6 --join fade "$a" | mert-tensor ls | grep -q '[[]62,4,48[]]'; }
check "windows by name" windows

# ---- adapters ----


adapter() { # NAME ALPHA: a file with one pair, of rank 1, for the queries of block 0: B A has 1 in its first row
    printf '%s' "{\"adapter.layers.0.attn.query_proj.lora_A.weight\":{\"dtype\":\"F32\",\"shape\":[1,48],\"data_offsets\":[0,192]},\"adapter.layers.0.attn.query_proj.lora_B.weight\":{\"dtype\":\"F32\",\"shape\":[48,1],\"data_offsets\":[192,384]}}" > "$t/header"
    n=$(wc -c < "$t/header"); pad=$(((8 - n % 8) % 8))
    { printf "\\$(printf %03o $(((n + pad) % 256)))\\$(printf %03o $(((n + pad) / 256)))\\0\\0\\0\\0\\0\\0"; cat "$t/header"; printf "%${pad}s" ""
      i=0; while [ $i -lt 48 ]; do printf '\0\0\200\077'; i=$((i + 1)); done; printf '\0\0\200\077'; head -c 188 /dev/zero; } > "$1"
}
adapter "$t/adapter.safetensors"
merged() {
    mert-encode -m "$m" --adapter "$t/adapter.safetensors" --adapter-alpha 0.5 "$a" 2> "$t/said" | raw > "$t/merged.raw" &&
        grep -q 'merged into 1 layer: rank 1, alpha 0.5$' "$t/said" && ! cmp -s "$t/merged.raw" "$t/a.raw" &&
        mert-model convert -q --to hf -m "$m" --adapter "$t/adapter.safetensors" --adapter-alpha 0.5 -o "$t/merged" && mert-encode -q -m "$t/merged" "$a" | raw | cmp - "$t/merged.raw" &&
        mert-model convert -q --to packed -m "$t/merged" -o "$t/merged.packed" && mert-encode -q -m "$t/merged.packed" "$a" | raw | cmp - "$t/merged.raw"
}
check "an adapter, merged when encoding and when converting" merged
mkdir -p "$t/peft"; cp "$t/adapter.safetensors" "$t/peft/adapter_model.safetensors"; echo '{"lora_alpha": 0.5, "r": 1}' > "$t/peft/adapter_config.json"
configured() { mert-encode -q -m "$m" --adapter "$t/peft" "$a" | raw | cmp - "$t/merged.raw"; }
check "its alpha from adapter_config.json" configured
check_fails "an adapter for a packed model" 1 'the model is packed: an adapter goes into the model that it was made of' mert-encode -m "$t/mert2-small.packed" --adapter "$t/peft" "$a"
check_fails "an adapter of another kind of model" 1 'adapter.layers.0.attn.query_proj.lora_A.weight: the model has no such linear layer' mert-encode -m "$golden/mert-pre-ln" --adapter "$t/peft" "$a"
check_fails "a file without pairs" 1 'there are no tensors LAYER.lora_A.weight and LAYER.lora_B.weight in it' mert-encode -m "$m" --adapter "$m/model.safetensors" "$a"

# ---- what is refused ----

changed() { # SED: a model whose config.json was changed so
    rm -rf "$t/changed"; mkdir -p "$t/changed"; cp "$m/model.safetensors" "$t/changed/"; sed "$1" "$m/config.json" > "$t/changed/config.json"
}
refused() { check_fails "$1" 1 "$3" mert-model info "$t/changed"; }
changed 's/"variant"/"attention_window": 5, "variant"/'; refused "a setting that is not known" '' 'attention_window: a MERT-v2 model of this version has no such setting'
changed 's/"model_type": "mert2"/"model_type": "hubert"/'; refused "another kind's tensors" '' 'config.json describes a HuBERT or MERT-v1 model, and the tensors are those of a MERT-v2 model'
changed 's/"num_attention_heads": 4/"num_attention_heads": 5/'; refused "heads that do not divide the width" '' 'hidden_size 48 is not a multiple of num_attention_heads 5'
changed 's/"num_mel_bins": 32/"num_mel_bins": 31/'; refused "other mel bins than the filters have" '' 'feature_extractor.mel_scale.fb is \[257, 32\], and the configuration makes it \[257, 31\]'
changed 's/"num_hidden_layers": 3/"num_hidden_layers": 2/'; refused "a layer too many in the file" '' 'the configuration has no place for: layers.2.attn'
changed 's/"num_hidden_layers": 3/"num_hidden_layers": 4/'; refused "a layer too few" '' '31 tensors are missing: layers.3.ffn1_layer_norm.weight'
echo '{"do_normalize": true}' > "$t/changed/preprocessor_config.json"; cp "$m/config.json" "$t/changed/"; refused "a preprocessor that normalises" '' 'do_normalize is true: a MERT-v2 model takes samples as they are'
check_fails "--normalize" 2 'a MERT-v2 model takes samples as they are' mert-encode -m "$m" --normalize "$a"
check_fails "fairseq's layout" 1 'MERT-v2 model, which fairseq.s code does not have' mert-model convert --to fairseq -m "$m" -o "$t/f"
head -c 1918 "$t/noise" > "$t/short"; ffmpeg -nostdin -v error -y -f s16le -ar 24000 -ac 1 -i "$t/short" "$t/short.wav"
check_fails "a clip without a frame" 1 '959 samples give no frame: this model needs at least 960' sh -c "mert-decode -q $t/short.wav | mert-encode -m $m > $t/x"
check_fails "and without one of the spectrum" 1 '959 samples give no frame: this preset needs at least 1025' sh -c "mert-decode -q $t/short.wav | mert-mel --preset mert2 > $t/x"
check_fails "the front end at another rate" 1 'sample rate is 16000 Hz, this preset needs 24000 Hz \(mert-decode --rate 24000\)' sh -c "mert-decode -q --rate 16000 $t/noise.wav | mert-mel --preset mert2 > $t/x"
