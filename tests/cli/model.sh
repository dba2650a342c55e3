# mert-model: information from every container; random models; conversion of layouts; damaged and hostile files give one
# line.
. tests/shell
t=$TEST_TMP
m=$golden/mert-post-ln
mkdir -p "$t/alone"

# ---- info ----

fact() { mert-model info "$2" | sed -n "s/^$1: *//p"; }
hash=$(fact hash "$m")
described() {
    mert-model info "$m" > "$t/info" &&
        grep -q '^architecture: 3 layers, post-LN, width 48, 4 heads, feed-forward 96$' "$t/info" &&
        grep -q '^input: *mono float at 24000 Hz, not normalised; at least 400 samples$' "$t/info" &&
        grep -q '^output: *4 hidden states \[T, 48\].* 75 frames per second$' "$t/info" &&
        grep -q '^parameters: *149344$' "$t/info"
}
check "info describes a model" described
same_hash() {
    [ -n "$hash" ] || return
    for f in model.safetensors pytorch_model.bin pytorch_model_legacy.bin fairseq_checkpoint.pt \
        fairseq_checkpoint_omegaconf.pt; do
        [ "$(fact hash "$m/$f")" = "$hash" ] || { echo "$f: $(fact hash "$m/$f"), not $hash"; return 1; }
    done
}
check "the hash is the same for every container" same_hash
inside() {
    for f in fairseq_checkpoint.pt fairseq_checkpoint_omegaconf.pt; do
        cp "$m/$f" "$t/alone/" && mert-model info "$t/alone/$f" | sed '1,2d; /^left out:/d' > "$t/inside" &&
        sed '1,2d' "$t/info" | cmp - "$t/inside" || return
    done
}
check "fairseq's configuration is read from inside" inside
listed() {
    mert-model info --tensors "$m" > "$t/out" && [ "$(grep -c '^tensor: ' "$t/out")" -eq 67 ] &&
        grep -q 'masked_spec_embed F32 \[48\]$' "$t/out"
}
check "tensors are listed" listed
extras() { mert-model info --extras "$m/fairseq_checkpoint_omegaconf.pt" | grep -q '"encoder_layers": 3'; }
check "extras are shown as JSON" extras
other() { mert-model info "$golden/encodec-tiny/encodec.th" | grep -q 'not a MERT, HuBERT or wav2vec2 encoder'; }
check "another kind of model is described by its container" other
check_fails "a file that is none" 1 'neither safetensors nor a torch file' mert-model info tests/shell
check_fails "a file that is not there" 1 'no-such-model' mert-model info "$t/no-such-model"
check_fails "no model named" 2 'of which model' mert-model info

# ---- init ----

init() { mert-model init --recipe pipelines/recipes/tiny --set encoder_layers=2 "$@"; }
seeded() {
    init --seed 5 -o "$t/a" && init --seed 5 -o "$t/b" && cmp "$t/a/model.safetensors" "$t/b/model.safetensors" &&
        init --seed 6 -o "$t/c" && ! cmp -s "$t/a/model.safetensors" "$t/c/model.safetensors"
}
check "init is a function of recipe and seed" seeded
known() {
    mert-model info "$t/a" > "$t/out" && grep -q '^heads: *none$' "$t/out" &&
        grep -q '^architecture: 2 layers, pre-LN, width 192, 4 heads, feed-forward 768$' "$t/out"
}
check "init makes what the recipe says" known
cqt_input() { # one row of weights for each bin, and no more parameters than that
    init --set feature_extractor_cqt=no --seed 5 -o "$t/without" && init --set feature_extractor_cqt=yes --set feature_extractor_cqt_bins=42 --seed 5 -o "$t/with" && grep -q '"feature_extractor_cqt_bins": 42' "$t/with/config.json" &&
        ! mert-model info "$t/without" | grep -q "^  *CQT of" && mert-model info "$t/with" | grep -q "^  *CQT of 42 bins, hop 320"
}
check "feature_extractor_cqt and its bins" cqt_input
angles() { mert-model init --recipe pipelines/recipes/small-conformer --set rotary_embedding_base=500 --seed 5 -o "$t/angles" && grep -q '"rotary_embedding_base": 500' "$t/angles/config.json"; }
check "rotary_embedding_base" angles
heads() {
    init --set codebooks=3 --set classes=50 --seed 5 -o "$t/heads" &&
        fact heads "$t/heads" > "$t/out" &&
        grep -qE '^3 codebooks of 50 50 50 classes .and 4 special .*, cosine in 64 .*, untied, CQT of 84 bins$' "$t/out"
}
check "heads where codebooks and classes are given" heads
check_fails "an unknown setting" 1 'no_such' init --set no_such=1 -o "$t/d"
check_fails "a recipe that is not there" 1 'no-recipe' mert-model init --recipe "$t/no-recipe" -o "$t/d"
check_fails "nowhere to write" 2 'needs --recipe' mert-model init --recipe pipelines/recipes/tiny
check_fails "a folder that cannot be made" 1 '/proc/nowhere' init -o /proc/nowhere

# ---- convert ----

to_hf() {
    for f in model.safetensors pytorch_model.bin pytorch_model_legacy.bin fairseq_checkpoint.pt; do
        mert-model convert --to hf -m "$m/$f" -o "$t/hf" && cmp_or_keep || { echo "$f"; return 1; }
    done
    mert-model convert --to hf -m "$t/alone/fairseq_checkpoint.pt" -o "$t/hf" && cmp_or_keep &&
        [ "$(fact hash "$t/hf")" = "$hash" ] && grep -q '"model_type": "hubert"' "$t/hf/config.json" &&
        [ -s "$t/hf/preprocessor_config.json" ]
}
cmp_or_keep() {
    [ -f "$t/first" ] || cp "$t/hf/model.safetensors" "$t/first"
    cmp "$t/first" "$t/hf/model.safetensors"
}
check "every container gives the same HF directory" to_hf
same_values() { # HF's own file and ours hold the same tensors
    mert-model info --tensors "$m" | grep '^tensor' | sort > "$t/theirs" &&
        mert-model info --tensors "$t/hf" | grep '^tensor' | sort | cmp - "$t/theirs"
}
check "HF's names and shapes" same_values
around() { # native -> fairseq -> native, heads and all
    mert-model convert --to fairseq -m "$t/heads" -o "$t/fairseq" &&
        mert-model verify "$t/fairseq/checkpoint.pt" > "$t/out" &&
        [ "$(fact hash "$t/fairseq/checkpoint.pt")" = "$(fact hash "$t/heads")" ] &&
        cp "$t/heads/config.json" "$t/fairseq/" &&
        mert-model convert --to native -m "$t/fairseq/checkpoint.pt" -o "$t/back" &&
        cmp "$t/heads/model.safetensors" "$t/back/model.safetensors"
}
check "to fairseq and back, heads and all" around
hidden() { mert-tensor from-npy --kind pcm --rate 24000 --key a "$m/audio.npy" | mert-encode -m "$1" | zstd -dcq; }
same_hidden() {
    hidden "$m" > "$t/h0" && hidden "$t/hf" > "$t/h1" && hidden "$t/alone/fairseq_checkpoint.pt" > "$t/h2" &&
        [ -s "$t/h0" ] && cmp "$t/h0" "$t/h1" && cmp "$t/h0" "$t/h2"
}
check "the same hidden states from all of them" same_hidden
says_heads() {
    mert-model convert --to hf -m "$t/heads" -o "$t/hf2" 2> "$t/note" && mert-model verify "$t/hf2" > "$t/out" &&
        grep -qE \
            'heads: left out, 5 tensors that are no part of the encoder: .*label_embs_concat final_proj.weight' \
            "$t/note"
}
check "HF has no heads, and that is said" says_heads
says_training() { # what fairseq's own training leaves in its file
    mert-model convert --to hf -m "$m/fairseq_checkpoint.pt" -o "$t/hf3" 2> "$t/note" &&
        [ "$(wc -l < "$t/note")" -eq 1 ] &&
        grep -qE \
            'fairseq_checkpoint.pt: left out, [0-9]+ tensors that are no part of the encoder: .*final_proj.weight' \
            "$t/note" &&
        mert-model info "$m/fairseq_checkpoint.pt" | grep -qE '^left out: .*final_proj.weight'
}
check "nor has it what training left in a file of fairseq's" says_training
other_code() { mert-model convert --to hf -m "$golden/mert-deepnorm" -o "$t/hf4" 2> "$t/note" &&
    grep -q 'deepnorm: .*MERT.s own' "$t/note"; }
check "what HuBERT's code does not compute is named" other_code
mkdir -p "$t/eps"; cp "$m/model.safetensors" "$t/eps/";
    sed 's/"layer_norm_eps": 1e-05/"layer_norm_eps": 1e-06/' "$m/config.json" > "$t/eps/config.json"
check_fails "what fairseq has no option for is refused" 1 'checkpoint.pt: layer_norm_eps is 1e-06, and fairseq' \
    mert-model convert --to fairseq -m "$t/eps" -o "$t/x"
mkdir -p "$t/deep"; cp "$m/model.safetensors" "$t/deep/"
sed 's/"num_hidden_layers": 3/"num_hidden_layers": 4/' "$m/config.json" > "$t/deep/config.json"
check_fails "a missing tensor is named" 1 'deep: 16 tensors are missing: encoder.layers.3' \
    mert-model convert --to hf -m "$t/deep" -o "$t/x"
sed 's/"num_hidden_layers": 3/"num_hidden_layers": 2/' "$m/config.json" > "$t/deep/config.json"
check_fails "a tensor without a place is named" 1 'deep: 16 tensors that .* no place for: encoder.layers.2' \
    mert-model convert -m "$t/deep" -o "$t/x"
check_fails "an unknown layout" 2 'onnx' mert-model convert --to onnx -m "$m" -o "$t/x"
check_fails "a full disk" 1 'cannot' mert-model convert -m "$m" -o /dev/full

# ---- verify ----

sound() {
    mert-model verify "$m" "$m/pytorch_model.bin" "$golden/encodec-tiny/encodec.th" > "$t/out" &&
        [ "$(grep -c ': sound: ' "$t/out")" -eq 3 ] && grep -q "model hash $hash" "$t/out"
}
check "sound models" sound
poke() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2> "$t/dd"; }
cp "$m/pytorch_model.bin" "$t/flipped.bin"; cp "$m/config.json" "$t/"
poke "$t/flipped.bin" 300001 '\252'
check_fails "a flipped weight" 1 'flipped.bin: pytorch_model/data/[0-9]*: the checksum' \
    mert-model verify "$t/flipped.bin"
cp "$m/model.safetensors" "$t/nan.safetensors"
poke "$t/nan.safetensors" "$(($(wc -c < "$t/nan.safetensors") - 4))" '\000\000\300\177'
check_fails "a value that is no number" 1 'nan.safetensors: .*: value [0-9]* is -?nan' \
    mert-model verify "$t/nan.safetensors"
for to in hf fairseq native packed; do
    check_fails "nor is it written as $to" 1 'nan.safetensors: tensor .*: value [0-9]* is -?nan' mert-model convert --to $to -m "$t/nan.safetensors" -o "$t/nan.$to"
done
nothing_written() { ! ls -d "$t"/nan.hf "$t"/nan.fairseq "$t"/nan.native "$t"/nan.packed 2> /dev/null; }
check "and nothing is" nothing_written
no_direction() { # the positional convolution's, which weight norm divides by its length
    cp "$m/model.safetensors" "$t/flat.safetensors"
    size=$(od -A n -t u8 -N 8 "$m/model.safetensors" | tr -d ' ')
    range=$(head -c "$((8 + size))" "$m/model.safetensors" | grep -ao 'pos_conv_embed.conv.weight_v"[^]]*][^]]*]' | sed 's/.*[[]\(.*\), \(.*\)[]]/\1 \2/')
    head -c "$((${range#* } - ${range% *}))" /dev/zero | dd of="$t/flat.safetensors" bs=1024 seek="$((8 + size + ${range% *}))" oflag=seek_bytes conv=notrunc 2> "$t/dd"
}
no_direction
for to in hf packed; do
    check_fails "a direction of zeros is not converted to $to" 1 'flat.safetensors: tensor [a-z_.0-9]*: all weights of tap 0 are zero' \
        mert-model convert --to $to -m "$t/flat.safetensors" -o "$t/flat.$to"
done
check_fails "nor computed with" 1 'flat.safetensors: tensor [a-z_.0-9]*: all weights of tap 0 are zero' \
    sh -c "mert-tensor from-npy --kind pcm --rate 24000 $m/audio.npy | mert-encode -m $t/flat.safetensors > $t/flat.mts"
head -c 400000 "$m/pytorch_model.bin" > "$t/cut.bin"
check_fails "a truncated torch zip" 1 'cut.bin: a zip file without its directory' mert-model verify "$t/cut.bin"
head -c 400000 "$m/pytorch_model_legacy.bin" > "$t/cut.pt"
check_fails "a truncated torch pickle" 1 'cut.pt: offset [0-9]*: the file ends inside storage' \
    mert-model verify "$t/cut.pt"
head -c 400000 "$m/model.safetensors" > "$t/cut.safetensors"
check_fails "a truncated safetensors" 1 'cut.safetensors: .*truncated' mert-model verify "$t/cut.safetensors"
printf '\200\002cposix\nsystem\n(X\014\000\000\000touch %s/owned\205R.' "$t" > "$t/attack.pt"
check_fails "a pickle that asks to run something" 1 'attack.pt: offset 2: asks to run posix.system: refused' \
    mert-model info "$t/attack.pt"
untouched() { [ ! -e "$t/owned" ]; }
check "and nothing ran" untouched
full() { mert-model info "$m" > /dev/full 2> "$t/err"; [ $? -eq 1 ] && grep -qx 'mert-model: cannot write to standard output: No space left on device' "$t/err"; }
check "a full disk behind info" full

# ---- self-test ----

knows() { mert-model verify "$1" > "$t/out" && grep -q ': sound: .*, its known answer within ' "$t/out"; }
check "a new model knows what it answers" knows "$t/a"
check "one with heads" knows "$t/heads"
check "one made HF's" knows "$t/hf"
packs() {
    mert-model convert --to packed -m "$t/a" -o "$t/packed" && knows "$t/packed" &&
        [ "$(fact hash "$t/packed")" = "$(fact hash "$t/a")" ] &&
        fact architecture "$t/packed" | grep -q '^2 layers, pre-LN'
}
check "one packed" packs
each() { # architecture: CQT input, deepnorm, LayerNorm extractor, pre-LN
    for a in pre-ln layernorm-extractor deepnorm cqt-input; do
        mert-model convert -q --to native -m "$golden/mert-$a" -o "$t/native" && knows "$t/native" ||
            { echo "$a"; return 1; }
    done
}
check "one of each architecture" each
none() { mert-model verify "$m" > "$t/out" && grep -q 'no known answer' "$t/out"; }
check "one from elsewhere does not" none
wrong() { rm -rf "$t/wrong"; cp -r "$t/$1" "$t/wrong"; }
end_of() { echo $(($(wc -c < "$1") - $2)); }
answer=$t/wrong/known_answer.safetensors
wrong a; poke "$t/wrong/model.safetensors" "$(end_of "$t/wrong/model.safetensors" 5001)" '\076' # an exponent
check_fails "a weight that changed" 1 'wrong/model.safetensors: header and tensors: the checksum does not fit' \
    mert-model verify "$t/wrong"
wrong a; poke "$answer" "$(end_of "$answer" 2)" '\300\100'
check_fails "an answer that changed" 1 'wrong/known_answer.safetensors: the checksum does not fit' \
    mert-model verify "$t/wrong"
wrong a; head -c 30000 "$t/a/known_answer.safetensors" > "$answer"
check_fails "half an answer" 1 'known_answer.safetensors: .*truncated' \
    mert-model verify "$t/wrong"
wrong a; cp "$t/heads/model.safetensors" "$answer"
check_fails "no answer at all" 1 'config.json: not the file that was written with this model' \
    mert-model verify "$t/wrong"
wrong packed; poke "$t/wrong/model.safetensors" "$(end_of "$t/wrong/model.safetensors" 5001)" '\076'
check_fails "a packed weight that changed" 1 'wrong/model.safetensors: header and tensors: the checksum does not fit' \
    mert-model verify "$t/wrong"
for where in a a/.; do
    check_fails "a model is not written over itself ($where)" 1 'is the model itself' \
        mert-model convert -q --to packed -m "$t/a" -o "$t/$where"
done
check "and is still there" mert-model verify -q "$t/a"
named() { mert-model init --recipe tiny --seed 1 -o "$t/named" && [ -s "$t/named/model.safetensors" ]; }
check "a recipe that came with the program goes by its name" named
