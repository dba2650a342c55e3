# pipelines/train: labels and training of a recipe in one command, interrupted and run again.
. tests/shell
t=$TEST_TMP
encodec=tests/golden/encodec-tiny/encodec.th
words='VALID=40 SHARDS=2'
go() { # recipe options...: with small models
    recipe=$1; shift
    env -u MAKEFLAGS -u MAKELEVEL AUDIO="${AUDIO-$t/music}" PREPARE="$words ${more:-}" JOBS=2 SAVE="${SAVE:-}" MODEL="${MODEL-$encodec}" \
        pipelines/train "$recipe" "$t/d" -q --set encoder_layers=1 --set encoder_embed_dim=32 --set encoder_ffn_embed_dim=32 --set encoder_attention_heads=2 \
        --set conv_pos=8 --set conv_pos_groups=4 --set conv_feature_layers='8x10/5 8x3/2*4 8x2/2*2' --set min_sample_size=16000 --set max_sample_size=24000 \
        --set max_tokens=96000 --set warmup_updates=1 --set total_updates=4 --set log_interval=1 --set sharding_data=0 --set update_batches=1 "$@"
}

mkdir -p "$t/music/a b"
for i in 1 2 3 4 5 6 7; do
    ffmpeg -nostdin -v error -f lavfi -i "sine=$((110 * i)):d=1.$((i + 2)),volume=2[a];anoisesrc=d=1.$((i + 2)):a=0.05:seed=$i[b];[a][b]amix" -ac 1 "$t/music/a b/$i.wav" || exit 1
done

# ---- the official one, with a tiny EnCodec's first codebooks ----

more=CODEBOOKS=2
check "MERT_RVQ-VAE_CQT_95M: labels and two updates" go MERT_RVQ-VAE_CQT_95M --set max_update=2
there() { [ -s "$t/d/train.encodec_1" ] && [ -s "$t/d/pcm/train.00000.mts" ] && [ -d "$t/d/MERT_RVQ-VAE_CQT_95M/checkpoint-2" ] && [ ! -d "$t/d/MERT_RVQ-VAE_CQT_95M/checkpoint-4" ]; }
check "they are where they should be" there
stamps() { find "$t/d" -name '*.mts' -printf '%p %T@\n' -o -name 'train.*' -printf '%p %T@\n' | sort; }
stamps > "$t/before"
check "given again, it goes on" go MERT_RVQ-VAE_CQT_95M
on() { [ -d "$t/d/MERT_RVQ-VAE_CQT_95M/checkpoint-4" ] && stamps | cmp - "$t/before"; }
check "and makes nothing twice" on
straight() { SAVE=$t/straight go MERT_RVQ-VAE_CQT_95M && cmp "$t/straight/model/model.safetensors" "$t/d/MERT_RVQ-VAE_CQT_95M/model/model.safetensors"; }
check "to where one run comes" straight
unasked() { AUDIO='' SAVE=$t/unasked go MERT_RVQ-VAE_CQT_95M && cmp "$t/straight/model/model.safetensors" "$t/unasked/model/model.safetensors"; }
check "the music is where the manifest says" unasked
cut() { rm "$t/d/codes/encodec/train.00001.mts" "$t/d/train.encodec_0"; cp "$t/d/train.encodec_1" "$t/kept"; SAVE=$t/cut go MERT_RVQ-VAE_CQT_95M && cmp "$t/kept" "$t/d/train.encodec_1" && cmp "$t/straight/model/model.safetensors" "$t/cut/model/model.safetensors"; }
check "what is missing is made again" cut

grows() { # one file more: it is labelled, and a run that is under way goes on with it
    SAVE=$t/grown go MERT_RVQ-VAE_CQT_95M --set max_update=2 && cp "$t/music/a b/3.wav" "$t/music/a b/8.wav" && SAVE=$t/grown go MERT_RVQ-VAE_CQT_95M && [ -d "$t/grown/checkpoint-4" ] &&
        grep -q '"update":2,"kind":"change","name":"corpus"' "$t/grown/log.jsonl" && grep -q '8.wav' "$t/d/train.tsv" "$t/d/valid.tsv"
}
check "one song more, and the same command goes on with it" grows

# ---- the others ----

rm -rf "$t/d"
more='K.kmeans=8 K.chroma=6'
check "MERT_KMEANS_CHROMA_95M: two label sets" go MERT_KMEANS_CHROMA_95M
two() { grep -qx classes=8 "$t/d/train.km.meta" && grep -qx classes=6 "$t/d/train.chroma_km.meta" && grep -qx frame_rate=16000/320 "$t/d/train.chroma_km.meta" &&
    head -n 1 "$t/d/MERT_KMEANS_CHROMA_95M/log.tsv" | grep -q ce_1 && ! head -n 1 "$t/d/MERT_KMEANS_CHROMA_95M/log.tsv" | grep -q ce_2; }
check "of 300 and 200 classes, here 8 and 6" two
more='K=16'
mine() { cp pipelines/recipes/small "$t/mine" && go "$t/mine" && [ -s "$t/d/train.rvq_1" ] && [ -d "$t/d/mine/model" ]; }
check "small, as a file of one's own" mine

# ---- refusals ----

check_fails "no such recipe" 1 'no such recipe; there are MERT2_632M MERT2_FSQ_632M MERT2_RANDOM_330M MERT_KMEANS_CHROMA_95M MERT_MELRVQ_25HZ_95M MERT_RANDOM_25HZ_95M MERT_RVQ-VAE_CQT_330M MERT_RVQ-VAE_CQT_95M small small-conformer tiny$' go MERT
check_fails "a recipe for mert-train --task" 1 'finetune: no line .# prepare: TEACHERS=.* is for mert-train --task.$' go finetune
check_fails "no DATA" 2 'usage: pipelines/train RECIPE DATA' pipelines/train small
no_model() { MODEL='' go MERT_RVQ-VAE_CQT_330M; }
check_fails "no EnCodec" 2 'MODEL=FILE: MERT_RVQ-VAE_CQT_330M learns from' no_model
nothing_held_out() { rm -rf "$t/d"; words='VALID=0 SHARDS=1' go small; }
late() { nothing_held_out > /dev/null 2> "$t/said"; [ $? -eq 2 ] && grep -q 'nothing is held out' "$t/said" && [ ! -e "$t/d/pcm" ]; }
check "nothing held out: before anything is decoded" late
no_audio() { rm -rf "$t/d"; AUDIO='' go small; }
check_fails "no music" 2 'AUDIO=FOLDER: where the music is' no_audio
silent() { grep -v prepare pipelines/recipes/small > "$t/silent"; go "$t/silent"; }
check_fails "a recipe that says nothing of labels" 1 'no line .# prepare: TEACHERS' silent
