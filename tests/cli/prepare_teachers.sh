# pipelines/prepare.mk: every teacher, several in one run, k-means over shards.
. tests/shell
t=$TEST_TMP
prepare() { env -u MAKEFLAGS -u MAKELEVEL make -s --no-print-directory -f pipelines/prepare.mk AUDIO="$t/music" OUT="$t/d" VALID=30 SHARDS=2 -j2 "$@"; }
wavs "$t/music" 0 24
golden_encodec=$golden/encodec-tiny/encodec.th

# LABELS CLASSES RATE: the train and valid files exist, and agree with their manifests.
labels() {
    for h in train valid; do
        f=$t/d/$h.$1
        [ "$(wc -l < "$f")" -eq $(($(wc -l < "$t/d/$h.tsv") - 1)) ] && grep -qx "classes=$2" "$f.meta" && grep -qx "frame_rate=$3" "$f.meta" && grep -q '[1-9]' "$f" || { echo "$f"; cat "$f.meta"; return 1; }
    done
}
many() { prepare TEACHERS='kmeans chroma rvq melrvq random fsq random-fsq encodec' MODEL="$golden_encodec" K=12 CODEBOOKS=2 LEVELS.fsq=3,4 TRAIN.fsq='--updates 20 --hidden 8' FEATURES='mert-mel --bins 20 --log'; }
check eight_teachers_in_one_run many
check kmeans labels km 12 24000/320
check chroma labels chroma_km 12 24000/320
check rvq labels rvq_1 12 24000/320
check melrvq labels melrvq_1 12 24000/960
check random labels random_0 12 24000/960
check fsq labels fsq_1 12 24000/960
check random-fsq labels random-fsq_1 7776 24000/960
check encodec labels encodec_1 64 24000/320
encodec_alone() { mert-decode --dtype i16 --manifest "$t/d/train.tsv" | mert-rvq encode -m "$golden_encodec" --codebooks 2 --labels "$t/e_%d" > "$t/x.mts" && cmp "$t/e_0" "$t/d/train.encodec_0" && cmp "$t/e_1" "$t/d/train.encodec_1"; }
check encodec_codes_are_those_of_one_run encodec_alone
shared() { [ "$(ls "$t/d/features" | tr '\n' ' ')" = 'chroma features mel ' ]; }
check features_are_made_once_for_all_who_look_at_them shared
again() { prepare TEACHERS='kmeans chroma rvq melrvq random fsq random-fsq encodec' MODEL="$golden_encodec" K=12 CODEBOOKS=2 LEVELS.fsq=3,4 TRAIN.fsq='--updates 20 --hidden 8' FEATURES='mert-mel --bins 20 --log' K.chroma=7 --no-silent > "$t/did" && ! grep '^mert' "$t/did" | grep -v chroma && labels chroma_km 7 24000/320; }
check a_teacher_has_its_own_settings again

# HuBERT: MFCC first, then a layer of a model that was trained on them.
model() { rm -rf "$t/model" && mert-model init --recipe pipelines/recipes/tiny --seed "$1" -o "$t/model"; }
check a_model_of_no_great_wisdom model 1
second() { prepare OUT="$t/h" RATE=16000 TEACHERS='mfcc hubert' MODEL="$t/model" LAYER=2 K=10 LLOYD=2 && mv "$t/d" "$t/aside" && mv "$t/h" "$t/d"; }
check both_iterations_of_hubert second
check mfcc labels mfcc_km 10 16000/160
check hubert labels hubert_km 10 16000/320
# The pipes of mert(7).
by_hand() {
    hidden() { mert-decode --rate 16000 --dtype i16 --manifest "$t/d/train.tsv" | mert-encode -m "$t/model" --layers 2 --dtype f16; }
    hidden | mert-kmeans train -k 10 --seed 1 --lloyd 2 -o "$t/layer" && cmp "$t/layer" "$t/d/hubert.safetensors" &&
        hidden | mert-kmeans assign -m "$t/layer" --labels "$t/train.layer" > "$t/x.mts" && cmp "$t/train.layer" "$t/d/train.hubert_km"
}
check the_pipe_by_hand_is_the_same by_hand
with_xargs() {
    (cd "$t" && mert-manifest --out by/hand --shards 3 --valid-percent 30 --seed 1 music && ls by/hand/shards | xargs -P 2 -I % sh -c 'mert-decode --manifest by/hand/shards/% | mert-rvq encode --threads 1 -m "$1" --codebooks 2 > by/hand/%.part && mv by/hand/%.part by/hand/%.mts' - "$1" &&
        for half in train valid; do
            mert-tensor gather --manifest by/hand/$half.tsv by/hand/$half.?????.tsv.mts | mert-tensor labels -o "by/hand/$half.encodec_%d" && cmp by/hand/$half.encodec_1 aside/$half.encodec_1 && cmp by/hand/$half.encodec_0.meta aside/$half.encodec_0.meta || exit
        done)
}
case $golden_encodec in /*) ;; *) golden_encodec=$PWD/$golden_encodec ;; esac
check shards_and_xargs_by_hand_are_the_same with_xargs "$golden_encodec"
lloyd() {
    cat "$t"/d/features/mfcc/train.*.mts > "$t/mfcc.mts" && mert-kmeans train -k 10 --seed 1 --lloyd 2 -o "$t/lloyd" "$t/mfcc.mts" && cmp "$t/lloyd" "$t/d/mfcc.safetensors" && [ -z "$(ls "$t/d/lloyd")" ] &&
        mert-kmeans train -k 10 --seed 1 -o "$t/none" "$t/mfcc.mts" && ! cmp -s "$t/none" "$t/lloyd"
}
check full_iterations_part_by_part_make_the_same_alphabet lloyd
on_a_device() { # the same on the guard; another number is no other kind of device
    cp "$t/d/train.hubert_km" "$t/before" && set -- OUT="$t/d" RATE=16000 TEACHERS='mfcc hubert' MODEL="$t/model" LAYER=2 K=10 LLOYD=2 &&
        prepare "$@" DEVICE=guard --no-silent > "$t/did" && grep -q 'mert-encode .*--device guard ' "$t/did" && cmp "$t/before" "$t/d/train.hubert_km" &&
        prepare "$@" DEVICE=guard:1 --no-silent > "$t/did" && ! grep -q '^mert-encode' "$t/did"
}
check hidden_states_by_a_device on_a_device
codes_on_a_device() { # the same on the guard, which is another kind of device; guard:1 is not
    set -- OUT="$t/aside" TEACHERS=encodec MODEL="$golden_encodec" CODEBOOKS=2 && cp "$t/aside/train.encodec_1" "$t/before" &&
        prepare "$@" DEVICE=guard --no-silent > "$t/did" && grep -q 'mert-rvq encode --codebooks 2 --device guard ' "$t/did" && cmp "$t/before" "$t/aside/train.encodec_1" &&
        prepare "$@" DEVICE=guard:1 --no-silent > "$t/did" && ! grep -q '^mert-rvq' "$t/did"
}
check codes_by_a_device codes_on_a_device
check_fails a_device_that_sh_would_take_apart 2 "DEVICE: ; in 'x;y'" prepare OUT="$t/d" TEACHERS=kmeans DEVICE='x;y'
other_model() {
    cp "$t/d/hubert.safetensors" "$t/before" && model 2 && prepare OUT="$t/d" RATE=16000 TEACHERS='mfcc hubert' MODEL="$t/model" LAYER=2 K=10 LLOYD=2 --no-silent > "$t/did" &&
        ! cmp -s "$t/before" "$t/d/hubert.safetensors" && ! grep -q mert-mel "$t/did" && labels hubert_km 10 16000/320
}
check another_model_is_noticed other_model
unknown() { prepare TEACHERS='kmeans wav2vec' > /dev/null; }
check_fails unknown_teachers_are_named 2 'TEACHERS: wav2vec: there are kmeans mfcc' unknown
nowhere() { prepare TEACHERS='kmeans encodec' MODEL="$t/no where" OUT="$t/n" > /dev/null; }
check_fails a_model_that_is_not_there_is_named_at_once 2 'no where: no such file' nowhere
no_levels() { prepare TEACHERS=fsq LEVELS.fsq='8 5' OUT="$t/n" > /dev/null; }
check_fails levels_are_numbers_and_commas 2 "LEVELS.fsq: blank in '8 5'|LEVELS.fsq: '8 5' is no list" no_levels
fewer() {
    for n in 3 2; do prepare TEACHERS=rvq OUT="$t/f" K=12 CODEBOOKS=$n FEATURES='mert-mel --bins 20 --log' || return; done
    [ -s "$t/f/train.rvq_1" ] && [ -s "$t/f/valid.rvq_1.meta" ] && [ -z "$(ls "$t"/f/*.rvq_2* 2> /dev/null)" ]
}
check fewer_codebooks_leave_no_stale_labels fewer
