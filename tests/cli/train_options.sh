# mert-train's settings with the real program: each one changes the model, or only the storage of the data and not the
# model.
. tests/shell
t=$TEST_TMP
cd "$t" || exit 1

# ---- ten short items, two codebooks, as in train.sh, and the same cut into three shards ----

mkdir -p audio
for i in 0 1 2 3 4 5 6 7 8 9; do
    ffmpeg -nostdin -v error -y -f lavfi -i "aevalsrc=0.3*sin(2*PI*(150+90*$i)*t*(1+t/8))+0.05*sin(2*PI*3000*t):s=24000:d=1.$((i + 1))" -c:a pcm_s16le audio/s$i.wav
done
rows() { for i in "$@"; do printf 's%s.wav\t%d\n' "$i" $((($(wc -c < "audio/s$i.wav") - 78) / 2)); done; }
manifest() { to=$1; shift; { echo "$t/audio"; rows "$@"; } > "$to"; }
labels() { # manifest codebook: classes of an item depend on its name alone
    sed 1d "$1" | awk -v k="$2" -F'\t' '{n = int(($2 + 319) / 320); s = substr($1, 2, 1); for (i = 0; i < n; i++) printf "%s%d", i ? " " : "", (int(i / 3) * 7 + s * 5 + k * 3) % 16; print ""}'
}
labelled() { # half
    for k in 0 1; do
        labels "$1.tsv" $k > "$1.q_$k"
        printf 'classes=16\nframe_rate=24000/320\ncodebook=00000000000c0de5\ncodebook_index=%s\nrows=%s\nfailed_rows=0\n' $k $(($(wc -l < "$1.tsv") - 1)) > "$1.q_$k.meta"
    done
}
manifest train.tsv 0 1 2 3 4 5 6 7
manifest valid.tsv 8 9
labelled train; labelled valid
for half in train valid; do mert-decode -q --manifest $half.tsv > $half.mts || exit 1; done
cat > micro <<'END'
conv_feature_layers = 8x10/5 8x3/2*4 8x2/2*2
encoder_layers = 1
encoder_embed_dim = 32
encoder_ffn_embed_dim = 32
encoder_attention_heads = 2
conv_pos = 8
conv_pos_groups = 4
final_dim = 8
audio_cqt_bins = 28
max_sample_size = 24000
min_sample_size = 20000
max_tokens = 96000
inbatch_noise_augment_len_range = 2000 6000
lr = 0.003
warmup_updates = 1
total_updates = 6
log_interval = 1
validate_interval = 0
save_interval = 0
END
train() { save=$1; shift; mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$save" "$@"; }
same() { cmp "$1/checkpoint-6/model.safetensors" "$2/checkpoint-6/model.safetensors" && cmp "$1/checkpoint-6/optimizer.safetensors" "$2/checkpoint-6/optimizer.safetensors"; }
log() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i} NR > 1 {printf "%s ", $c}' "$1/log.tsv"; }

check "as it is" train plain

# ---- each setting gives a different model from the same data ----

number=0
changes() { # settings...
    number=$((number + 1)); save=other$number; sets=; for s in "$@"; do sets="$sets --set $s"; done
    # shellcheck disable=SC2086
    train "$save" $sets && ! cmp -s "$save/model/model.safetensors" plain/model/model.safetensors
}
check "random_codebook" changes random_codebook=1
check "mask_replace" changes mask_replace=0.3
in_batch() { changes mask_replace=0.3 mask_replace_type=in_batch && ! cmp -s other2/model/model.safetensors "$save/model/model.safetensors"; }
check "mask_replace_type" in_batch
check "mask_origin" changes mask_origin=0.3
check "mask_channel_prob" changes mask_channel_prob=0.3 mask_channel_length=4
spans() { before=$save; changes mask_channel_prob=0.3 mask_channel_length=8 && ! cmp -s "$before/model/model.safetensors" "$save/model/model.safetensors"; }
check "mask_channel_length" spans
check "crop_jitter" changes crop_jitter=yes
for s in learnable_temp=yes target_glu=yes untie_final_proj=no audio_mel_loss_m=yes pred_nomask_weight=0.5 logit_temp=0.2 deepnorm=yes layer_norm_first=yes; do check "$s" changes "$s"; done

check "mask_with" changes mask_with=noise
louder() { before=$save; changes mask_with=noise mask_noise=0.5 && ! cmp -s "$before/model/model.safetensors" "$save/model/model.safetensors"; }
check "mask_noise" louder
check "inbatch_noise_augment_volume" changes inbatch_noise_augment_volume=0.3
check "adam_eps" changes adam_eps=0.01
heavier() { changes audio_mel_loss_m=yes && before=$save && changes audio_mel_loss_m=yes mel_loss_weight=3 && ! cmp -s "$before/model/model.safetensors" "$save/model/model.safetensors"; }
check "mel_loss_weight" heavier
unused() { train unused --set dropout_features=0.5 && same plain unused; }
check "dropout_features: no effect, as in fairseq" unused

check "activations" changes activations=bf16
check "precision" changes precision=bf16

# ---- less memory, the same model ----

recomputed() { train again --recompute && same plain again && grep -qx 'recompute = yes' again/recipe; }
check "--recompute" recomputed
midway() { train again2 --set recompute=yes --set max_update=3 && train again2 --resume && same plain again2; }
check "and from one to the other at a checkpoint" midway

# ---- settings that change during the run: one codebook at a time, masks, crops ----

# one of the two codebooks has a loss in each update, and both are used
one_each() { log other1 ce_0 > a; log other1 ce_1 > b; [ "$(tr ' ' '\n' < a | grep -c nan)" -gt 0 ] && [ "$(tr ' ' '\n' < b | grep -c nan)" -gt 0 ] &&
    awk 'NR == FNR {for (i = 1; i <= NF; i++) x[i] = $i; next} {for (i = 1; i <= NF; i++) if ((x[i] ~ /nan/) == ($i ~ /nan/)) exit 1}' a b; }
check "a random codebook at a time" one_each

masked() { log "$1" masked_frames; }
dynamic() {
    train probs --set 'mask_dynamic_prob_step=2 4' --set 'mask_dynamic_prob=0.1 0.8 0.3' && masked probs > m &&
        awk '{exit !($1 < 0.4 * $3 && $2 < 0.4 * $4 && $5 < 0.7 * $3 && $6 < 0.7 * $4 && $5 > 1.5 * $1)}' m
}
check "mask_dynamic_prob" dynamic
resumed() { train probs2 --set 'mask_dynamic_prob_step=2 4' --set 'mask_dynamic_prob=0.1 0.8 0.3' --set max_update=3 &&
    train probs2 --set 'mask_dynamic_prob_step=2 4' --set 'mask_dynamic_prob=0.1 0.8 0.3' --resume && same probs probs2; }
check "mask_dynamic_prob, resumed in its middle" resumed
lengths() { train lens --set mask_dynamic_len_step=3 --set 'mask_dynamic_len=5 20' && masked lens > m && masked plain > p &&
    [ "$(cut -d' ' -f 1-3 m)" = "$(cut -d' ' -f 1-3 p)" ] && [ "$(cut -d' ' -f 4-6 m)" != "$(cut -d' ' -f 4-6 p)" ]; }
check "mask_dynamic_len" lengths
crops() { # epochs of 8 items: two batches of 4, then (0.5 s) one of 8
    train crops --set min_sample_size=12000 --set 'dynamic_crops=1 0.5 0.9' --set 'dynamic_crops_epoches=1 2 4' && log crops epoch > e &&
        [ "$(cat e)" = '0 0 1 2 3 3 ' ] && masked crops > m && awk '{exit !($3 > 0.8 * ($1 + $2) / 2 && $5 + $6 < 0.95 * ($1 + $2))}' m
}
check "dynamic_crops" crops
crops_resumed() { train crops2 --set min_sample_size=12000 --set 'dynamic_crops=1 0.5 0.9' --set 'dynamic_crops_epoches=1 2 4' --set max_update=4 &&
    train crops2 --set min_sample_size=12000 --set 'dynamic_crops=1 0.5 0.9' --set 'dynamic_crops_epoches=1 2 4' --resume && same crops crops2; }
check "dynamic_crops, resumed" crops_resumed

# ---- an extractor from another model ----

pretrained() { train from --set pretrained_weights=plain/model --set encoder_embed_dim=16 --set total_updates=2; }
check "pretrained_weights, into a model of another width" pretrained
kept() {
    for init in none plain/model; do
        train "frozen-${init%/*}" --set "pretrained_weights=$init" --set feature_grad_mult=0 --set weight_decay=0 --set lr=0 --set total_updates=2 || return
    done
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save init --init plain/model --set lr=0 --set total_updates=2 || return
    # features_pen is the mean square of the extractor's output: with lr 0 and the extractor of `plain` it equals that
    # of `plain`
    log frozen-plain features_pen > a; log init features_pen > b; log frozen-none features_pen > c
    cmp a b && ! cmp -s a c
}
check "the extractor is that model's, and only where it is asked for" kept
check_fails "pretrained_weights of another shape" 1 'pretrained_weights: plain/model: tensor feature_extractor.conv_layers.0.0.weight is of another shape' train no --set pretrained_weights=plain/model --set 'conv_feature_layers=8x12/5 8x3/2*4 8x2/2*2'
gone() { cp -R plain/model there && train part --set pretrained_weights=there --set max_update=1 && rm -r there && train part --set pretrained_weights=there --resume; }
check "a run goes on without it" gone
at_first() { mert-model init -q --recipe micro --set pretrained_weights=plain/model --seed 5 -o made && ! mert-model init -q --recipe micro --set pretrained_weights=nothing --seed 5 -o other 2> said && grep -q nothing said; }
check "mert-model init knows it, too" at_first

# ---- the same labels in other files ----

as_arrays() {
    mkdir -p arrays
    for half in train valid; do
        mert-tensor from-labels -q --manifest $half.tsv "$half.q_%d" > $half.codes.mts && mert-tensor labels -q -o "arrays/$half.q_%d.npy" $half.codes.mts || return
        cp $half.tsv arrays/
    done
    mert-train -q --recipe micro --manifest arrays/train.tsv --labels "$1" --pcm train.mts --valid-pcm valid.mts --save "$2" && same plain "$2"
}
check "arrays padded with -1 give the run of text, bit for bit" as_arrays 'arrays/train.q_%d.npy' arrayed
check "found by the name without .npy" as_arrays 'arrays/train.q_%d' found
as_codes() { mert-train -q --recipe micro --manifest train.tsv --labels train.codes.mts --pcm train.mts --save coded && same plain coded; }
check "and so does a packed stream of codes" as_codes
one_of() { mert-train -q --recipe micro --manifest train.tsv --labels train.codes.mts --pcm train.mts --save one_of --set codebooks=1 && ! head -n 1 one_of/log.tsv | grep -q ce_1; }
check "or its first codebook" one_of
other_rates() { # a set at a third of the frames' rate beside the usual one
    for half in train valid; do
        awk '{for (i = 1; i <= NF; i += 3) printf "%s%s", (i > 1 ? " " : ""), $i; print ""}' $half.q_0 > $half.slow
        sed 's/24000.320/24000\/960/' $half.q_0.meta > $half.slow.meta
    done
    train slow --labels train.slow && head -n 1 slow/log.tsv | grep -q 'ce_2' && [ "$(log slow ce_2)" != "$(log slow ce_0)" ]
}
check "label sets of two rates" other_rates

# ---- shards ----

shards() {
    manifest train_0_3.tsv 0 3 6; manifest train_1_3.tsv 1 4 7; manifest train_2_3.tsv 2 5
    for i in 0 1 2; do labelled train_${i}_3; done
    mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$@" --set sharding_data=3 --set max_tokens=120000
}
check "an epoch for each of three shards" shards sharded --set load_random_data_shard=no
in_turn() { log sharded epoch > e; [ "$(cat e)" = '0 1 2 3 4 5 ' ]; }
check "one batch each" in_turn
audio_of() { # seconds of audio of each update, by the frames that took part: 3, 3 and 2 items
    log sharded masked_frames > m; awk '{exit !($3 < 0.8 * $1 && $6 < 0.8 * $4)}' m
}
check "of which the last has fewer items" audio_of
at_random() { shards drawn && ! cmp -s sharded/model/model.safetensors drawn/model/model.safetensors; }
check "in any order" at_random
packed_by_shard() { # without packed audio each shard is packed by itself, once, and the run is the same
    mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --save unpacked --set sharding_data=3 --set max_tokens=120000 --set load_random_data_shard=no 2> said &&
        [ "$(grep -c ': packing' said)" -eq 4 ] && [ -s unpacked/train_2_3.pcm.mts ] && same sharded unpacked
}
check "packed one by one" packed_by_shard
cut_rows() {
    mkdir -p one; cp train.tsv valid.tsv one/
    mert-train -q --recipe micro --manifest one/train.tsv --labels 'train.q_%d' --valid-labels 'valid.q_%d' --pcm train.mts --valid-pcm valid.mts --save cut --set sharding_data=4 --set load_random_data_shard=no &&
        [ "$(log cut epoch)" = '0 1 2 3 4 5 ' ]
}
check "rows of one manifest cut into shards" cut_rows
check_fails "a shard that is missing" 1 'train_1_3.tsv: No such file' sh -c "mv train_1_3.tsv away; mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save none --set sharding_data=3; rc=\$?; mv away train_1_3.tsv; exit \$rc"
check_fails "a shard with fewer codebooks" 1 'shard 2 has 1 codebooks, the first has 2' sh -c "rm train_2_3.q_1; mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save none --set sharding_data=3"
