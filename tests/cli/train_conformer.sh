# mert-train of a Conformer: what it learns, and that it goes on, is spread over processes, is kept and is encoded as the first kind is;
# from published weights; what is refused.
. tests/shell
golden=$(cd "$golden" && pwd)
. tests/training

cat > micro <<'END'
model = conformer
num_mel_bins = 32
n_fft = 512
win_length = 512
subsampling_channels = 32 40 48
subsampling_depths = 1 2 1
conv_depthwise_kernel_size = 7
encoder_layers = 3
encoder_embed_dim = 48
encoder_ffn_embed_dim = 96
encoder_attention_heads = 4
final_dim = 8
audio_cqt_bins = 28
audio_mel_loss_m = yes
audio_mel_bins = 20
encoder_layerdrop = 0.2
mask_spans = grid
mask_prob = 0.6
max_sample_size = 24000
min_sample_size = 20000
max_tokens = 96000
inbatch_noise_augment_len_range = 2000 6000
update_freq = 2
lr = 0.003
warmup_updates = 2
total_updates = 10
log_interval = 2
validate_interval = 5
save_interval = 0
END

column() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} {printf "%s ", $c}' "$1"; }
learns() { train run --threads 1 && column run/valid.tsv loss > loss && awk '{exit !(NF == 3 && $3 < 0.98 * $1)}' loss; }
check "the loss falls on what is held out" learns
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "$1/checkpoint-10/$f" "$2/checkpoint-10/$f" || return; done; }
resumed() { train resumed --threads 1 --set max_update=4 && train resumed --threads 1 --resume && same run resumed; }
check "an interrupted run goes on to the same bytes" resumed
recomputed() { train recomputed --threads 1 --set recompute=yes && same run recomputed; }
check "with less kept, too" recomputed
threads() { train threads --threads 3 && same run threads; }
check "and with more threads" threads
guarded() { train guarded --threads 1 --device guard && same run guarded; }
check "and on memory that the host cannot touch" guarded
# The CUDA plugin on the emulated device: the same losses but for the order of sums; in 16 bits, as the CPU rounds.
near() { # FILE FILE SHARE: the first five columns, which are losses
    cut -f1-5 "$1" | tr '\t' '\n' > a && cut -f1-5 "$2" | tr '\t' '\n' > b && paste a b |
        awk -v share="$3" '$1 != $2 { d = $1 - $2; if (d < 0) d = -d; if (!(d <= share * $1)) { print; bad = 1 } } END { exit bad || NR < 15 }'
}
emulated() { # PRECISION SHARE
    for d in cpu emulated; do
        train "$1-$d" --threads 1 --device $d --set precision="$1" --set dropout=0.1 --set max_update=3 --set log_interval=1 || return
    done
    near "$1-cpu/log.tsv" "$1-emulated/log.tsv" "$2" && near "$1-cpu/valid.tsv" "$1-emulated/valid.tsv" "$2"
}
if [ -f "$OUT/lib/mert/device-emulated.so" ]; then
    check "on the emulated device" emulated f32 1e-4
    check "on the emulated device, in 16 bits" emulated bf16 5e-3
else
    skip "on the emulated device" "no C++17 compiler built it"
fi
rounded() { train rounded --threads 1 --set activations=bf16 && column rounded/valid.tsv loss > loss && awk '{exit !($3 < 0.98 * $1)}' loss && ! cmp -s run/model/model.safetensors rounded/model/model.safetensors; }
check "with activations rounded to bfloat16 it learns as well" rounded
processes() { # the same bytes however the state is kept
    for shard in none optimizer full; do train "$shard" --processes 2 --threads 1 --set update_freq=1 --shard $shard || return; done
    same none optimizer && same none full
}
check "two processes, in every way to share the state" processes

# ---- the model ----

encodes() { mert-encode -q -m run/model valid.mts > hidden.mts && [ "$(mert-tensor ls hidden.mts | grep -c '[[][0-9]*,4,48[]]')" -eq 2 ] && mert-model verify run/model > said && grep -q 'its known answer within' said; }
check "it is encoded, and verified" encodes
published() { mert-model convert -q --to hf -m run/model -o hf && grep -q '"model_type": "mert2"' hf/config.json && mert-encode -q -m hf valid.mts > hf.mts && mert-tensor cmp hidden.mts hf.mts; }
check "in the published layout" published
tables() { # mean and deviation of the recipe, never trained
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save decayed --set mel_mean=5 --set mel_std=20 --set weight_decay=100 --set max_update=6 &&
        mert-model init -q --recipe micro --set mel_mean=5 --set mel_std=20 -o init && mert-mel -q --preset mert2 -m init valid.mts > a.mts && mert-mel -q --preset mert2 -m decayed/model valid.mts > b.mts && mert-tensor cmp a.mts b.mts &&
        mert-mel -q --preset mert2 -m run/model valid.mts > c.mts && ! mert-tensor cmp a.mts c.mts > differ
}
check "the front end's tables stay as they are" tables
other() { # stages, strides and kernels that the published code does not have
    train other --set subsampling_channels='40 48' --set subsampling_depths='1 1' --set subsampling_strides='2 3' --set subsampling_kernel_size=5 --set num_mel_bins=40 --set hop_length=160 --set max_update=2 &&
        mert-encode -q -m other/model valid.mts > other.mts && mert-tensor ls other.mts | grep -q '24000/960$' && mert-model verify other/model > said && grep -q 'its known answer within' said &&
        mert-model convert -q --to hf -m other/model -o other-hf && grep -q '"model_type": "mert_conformer"' other-hf/config.json && mert-encode -q -m other-hf valid.mts > again.mts && mert-tensor cmp other.mts again.mts
}
check "another subsampler" other

grep -vE 'num_mel_bins|n_fft|win_length' micro > wave.recipe
printf '%s\n' 'front_end = waveform' 'features_pen_weight = 1' 'feature_grad_mult = 1' 'conv_feature_layers = 16x10/5 16x3/2*4 32x3/3' >> wave.recipe
wave() { save=$1; shift; mert-train -q --recipe wave.recipe --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$save" "$@"; }
waveform() { # 25 frames per second from an extractor of 100
    wave wave --threads 1 && column wave/valid.tsv loss > loss && awk '{exit !($3 < 0.98 * $1)}' loss && mert-model info wave/model | grep -q '^extractor: .*3)\]' &&
        mert-encode -q -m wave/model valid.mts > wave.mts && mert-tensor ls wave.mts | grep -q '24000/960$' && mert-encode -q -m wave/model --device guard valid.mts > again.mts && mert-tensor cmp wave.mts again.mts &&
        mert-model verify wave/model > said && grep -q 'its known answer within' said && mert-model convert -q --to packed -m wave/model -o wave.packed && mert-encode -q -m wave.packed valid.mts > again.mts && mert-tensor cmp wave.mts again.mts &&
        mert-model convert -q --to hf -m wave/model -o wave.hf && mert-encode -q -m wave.hf valid.mts > again.mts && mert-tensor cmp wave.mts again.mts
}
check "a front end that hears the waveform" waveform
check_fails "which has no spectrum" 1 'wave/model: its input is not a log-mel spectrum' mert-mel --preset mert2 -m wave/model valid.mts
wave_resumed() { wave w2 --threads 1 --set max_update=4 --set recompute=yes && wave w2 --resume && same wave w2; }
check "and goes on to the same bytes" wave_resumed

# ---- masks ----

noise() { train noise --set mask_with=noise --set max_update=2 && train vector --set max_update=2 && ! cmp -s noise/model/model.safetensors vector/model/model.safetensors && train again --set mask_with=noise --set max_update=2 && cmp noise/model/model.safetensors again/model/model.safetensors; }
check "noise in the place of masked spans" noise
first_kind() { # which a transformer can be given as well
    printf 'encoder_layers = 1\nencoder_embed_dim = 16\nencoder_ffn_embed_dim = 16\nencoder_attention_heads = 2\nconv_feature_layers = 16x10/5 16x3/2*4 16x2/2*2\nconv_pos = 8\nconv_pos_groups = 2\nfinal_dim = 8\naudio_cqt_bins = 28\nmax_sample_size = 24000\nmin_sample_size = 20000\nmax_tokens = 96000\ninbatch_noise_augment_len_range = 2000 6000\ntotal_updates = 2\nwarmup_updates = 1\n' > other.recipe
    for with in vector noise; do mert-train -q --recipe other.recipe --set mask_with=$with --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save first.$with || return; done
    ! cmp -s first.vector/model/model.safetensors first.noise/model/model.safetensors
}
check "of the first kind of model, too" first_kind

# ---- published weights ----

begun() { # at learning rate 0 the encoder stays as it was taken
    rm -rf "$2"; mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$2" --init "$1" --set max_update=1 2> said
}
from_published() {
    begun "$golden/mert2-small" begun && sed -n 's/.*these keep random values: //p' said | grep -q 'mask_emb' && ! sed -n 's/.*these keep random values: //p' said | grep -q 'layers\.' &&
        mert-encode -q -m "$golden/mert2-small" valid.mts > a.mts && mert-encode -q -m begun/model valid.mts > b.mts && mert-tensor cmp a.mts b.mts
}
check "published weights with new heads" from_published
own() { begun run/model own && grep -q 'tensors of run/model$' said && cmp run/model/model.safetensors own/model/model.safetensors; }
check "our own: all of it, heads as well" own
check_fails "another kind of model" 1 'this model is a transformer, and the recipe makes a Conformer' mert-train --check --recipe micro --init first.vector/model

# ---- a plan, and what is refused ----

priced() { mert-train -q --plan --threads 1 --recipe MERT2_632M --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --set min_sample_size=20000 > plan && grep -qE 'all +63[0-9.]+ million' plan; }
check "the published size is priced" priced
recipe() { mert-train --check --recipe micro "$@"; }
check_fails "a setting of the other kind" 1 'conv_pos: has no effect with model = conformer with front_end = mel' recipe --set conv_pos=64
check_fails "a setting of a front end that there is not" 1 'features_pen_weight: has no effect' recipe --set features_pen_weight=1
check "its zero is allowed" recipe --set features_pen_weight=0
check_fails "a width that is not the subsampler's" 1 'subsampling_channels' recipe --set encoder_embed_dim=64
check_fails "stages of other numbers" 1 '3, 2 and 3 stages' recipe --set 'subsampling_depths=1 1'
check_fails "an even kernel" 1 'conv_depthwise_kernel_size is 8, and must be odd' recipe --set conv_depthwise_kernel_size=8
check_fails "noise and replacement" 1 'mask_origin' mert-train --check --recipe other.recipe --set mask_with=noise --set mask_origin=0.1
