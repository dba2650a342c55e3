# The recipes for 25 labels per second and crops of 30 s, by Mel-RVQ, random projections and scalar quantisation: --plan prices them, and a
# small cut of each, with the labels that it asks for, learns. What is refused of their settings.
. tests/shell
t=$TEST_TMP
mkdir -p "$t/music"
for i in 0 1 2 3 4 5 6 7 8 9; do
    ffmpeg -nostdin -v error -y -f lavfi -i "aevalsrc=0.3*sin(2*PI*(150+90*$i)*t*(1+t/8))*(0.6+0.4*sin(2*PI*(1+$i/4)*t))+0.05*sin(2*PI*(900+400*floor(2*t))*t):s=24000:d=4" -c:a pcm_s16le "$t/music/s$i.wav" || exit 1
done

cat > "$t/all" <<'SETTINGS'
classes = 0
encoder_layers = 2
encoder_embed_dim = 48
encoder_ffn_embed_dim = 96
encoder_attention_heads = 4
final_dim = 8
max_sample_size = 72000
min_sample_size = 48000
max_tokens = 288000
update_batches = 1
lr = 0.005
lr_schedule = inverse_sqrt
warmup_updates = 2
total_updates = 30
dropout = 0
attention_dropout = 0
activation_dropout = 0
dropout_input = 0
recompute = no
log_interval = 10
validate_interval = 0
save_interval = 0
SETTINGS
{ cat "$t/all"; cat <<'SETTINGS'; } > "$t/transformer"
conv_feature_layers = 16x10/5 16x3/2*4 16x2/2*2 16x3/3
conv_pos = 8
conv_pos_groups = 4
audio_cqt_bins = 28
inbatch_noise_augment_len_range = 2000 6000
SETTINGS
{ cat "$t/all"; cat <<'SETTINGS'; } > "$t/conformer"
num_mel_bins = 32
n_fft = 512
win_length = 512
subsampling_channels = 32 40 48
subsampling_depths = 1 2 1
conv_depthwise_kernel_size = 5
SETTINGS
kind() { case $1 in MERT2*) echo conformer ;; *) echo transformer ;; esac; }
column() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} {printf "%s ", $c}' "$1"; }
run_of() { # RECIPE OPTIONS...
    which=$1; shift
    while IFS= read -r line; do set -- --set "$line" "$@"; done < "$t/$(kind "$which")"
    AUDIO=$t/music JOBS=2 PREPARE="VALID=30 SHARDS=1 K.melrvq=12 K.random=12 LEVELS.random-fsq=3,4 CODEBOOKS.melrvq=2" \
        pipelines/train "$which" "$t/d" -q --threads 1 --set codebooks=0 "$@"
}
learns() { # the loss of what is held out falls
    run_of "$1" && column "$t/d/$1/valid.tsv" loss > "$t/loss" && cat "$t/loss" && awk '{exit !(NF == 2 && $2 < 0.97 * $1)}' "$t/loss"
}
# A manifest and a recipe are enough for the price.
{ echo /nowhere; for i in 1 2 3 4 5 6 7 8; do printf '%s.flac\t4800000\n' $i; done; } | tee "$t/train.tsv" > "$t/valid.tsv"
priced() { # RECIPE CODEBOOKS CLASSES MILLIONS
    mert-train --recipe "$1" --manifest "$t/train.tsv" --plan > "$t/plan" && cat "$t/plan" && grep -Eq "no labels yet: $2 codebooks? of $3 classes at 25 per second" "$t/plan" &&
        awk -v most="$4" '/^ *all / {ok = $2 > 0.97 * most && $2 < 1.03 * most} END {exit !ok}' "$t/plan" && grep -q 'crops* of 720000 samples (30.00 s)' "$t/plan"
}
while read -r r codebooks classes millions; do
    check "$r: --plan prices it" priced "$r" "$codebooks" "$classes" "$millions"
    check "$r: a small cut of it learns" learns "$r"
done <<'RECIPES'
MERT_MELRVQ_25HZ_95M 8 1024 93.4
MERT_RANDOM_25HZ_95M 1 8192 92.7
MERT2_RANDOM_330M 1 4096 343
MERT2_FSQ_632M 2 7776 633.8
MERT2_632M 8 1024 633
RECIPES
labels() { grep -qx "classes=$2" "$t/d/train.$1.meta" && grep -qx 'frame_rate=24000/960' "$t/d/train.$1.meta"; }
check "labels of Mel-RVQ" labels melrvq_1 12
check "labels of random projections" labels random_0 12
check "labels of random scalar quantisation" labels random-fsq_1 12
