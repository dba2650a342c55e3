# mert-train: errors are found before long work. Nothing is packed before names, recipe, settings, labels and models are
# checked, and --plan gives the same errors as the run.
. tests/shell
. tests/training

early() { # NAME 'PATTERN' OPTION...: the run and its plan are refused in one line, and nothing was packed
    name=$1 pattern=$2; shift 2
    check_fails "$name" 1 "$pattern" mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --save early "$@"
    check_fails "$name: the plan, too" 1 "$pattern" mert-train -q --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --save early "$@"
    check "$name: nothing was packed" nothing_packed
    rm -rf early
}
nothing_packed() { ! ls early/*.mts* early/checkpoint-* early/recipe 2> ls.err; }
spoil() { rm -rf other; mkdir other; cp ./*.tsv ./*.q_* other/; sed -i "1s,.*,$t/audio," other/train.tsv other/valid.tsv; "$@"; }
other="--manifest other/train.tsv --labels other/train.q_%d"

# ---- recipe and settings ----

early "a recipe that there is not, and those that there are" 'nothing: No such file or directory: the recipes that come with the program are MERT2_632M MERT2_FSQ_632M MERT2_RANDOM_330M MERT_KMEANS_CHROMA_95M MERT_MELRVQ_25HZ_95M MERT_RANDOM_25HZ_95M MERT_RVQ-VAE_CQT_330M MERT_RVQ-VAE_CQT_95M finetune small small-conformer tiny$' --recipe nothing
early "a recipe of a folder that is not there" 'absent/nothing: No such file or directory$' --recipe absent/nothing
early "a setting that there is not" "no setting 'learning_rate': mert-train --print-recipe lists them" --set learning_rate=1
early "a value that there is not, and those that there are" "extractor_mode: 'group' is none of: default layer_norm$" --set extractor_mode=group
early "a device that there is not" "no device 'gpu': there are cpu and guard" --device gpu
early "a folder for the optimiser that there is not" 'nowhere: cannot make a file for the optimiser.s state: there is no such folder' --offload nowhere

# ---- labels ----

early "no labels" 'absent/train.q_0: No such file' --labels 'absent/train.q_%d'
early "no validation labels" 'absent/valid.q_0: No such file' --valid-labels 'absent/valid.q_%d'
early "no validation manifest" 'absent/valid.tsv: No such file' --valid-manifest absent/valid.tsv
early "no replay labels" 'absent/train.q_0: No such file' --set replay_share=0.1 --replay-manifest valid.tsv --replay-labels 'absent/train.q_%d'
fewer() { sed '$d' train.q_0 > other/train.q_0; rm other/train.q_0.meta; }
spoil fewer; early "labels a line short" 'other/train.q_0: 7 lines for the 8 rows of the manifest' $other --set classes=16
fewer_valid() { sed '$d' valid.q_1 > other/valid.q_1; rm other/valid.q_1.meta; }
spoil fewer_valid; early "validation labels a line short" 'other/valid.q_1: 1 lines for the 2 rows of the manifest' $other --set classes=16
early "other classes than the recipe's" 'train.q_0: 16 classes, the recipe says 100' --set classes=100
early "another rate than the recipe's" 'train.q_0: 75 labels per second, the recipe says 50' --set label_rate=50
codebook() { sed -i 's/c0de5/bad00/' other/valid.q_1.meta; }
spoil codebook; early "validation labels of another codebook" 'other/valid.q_1: made by codebook 00000000000bad00:1, other/train.q_1 by 00000000000c0de5:1' $other
unknown() { sed '3s/^[0-9]*/16/' train.q_0 > other/train.q_0; rm other/train.q_0.meta; }
spoil unknown; early "a label beyond its classes" "other/train.q_0:3:1: '16' is no label|other/train.q_0: line 3: label 16 is not below" $other --set classes=16
early "fewer codebooks than the recipe's" 'train.q_.d: 2 codebooks, the recipe asks for 8' --set codebooks=8

# ---- models ----

check "a model of another architecture" mert-model init -q --recipe micro --set encoder_embed_dim=64 -o wide
early "--init of another architecture" 'wide: tensor .* is \[.*\], the recipe makes it \[.*\]: --init takes a model of the recipe.s shape' --init wide
early "--init of nothing" 'nowhere: No such file' --init nowhere
early "pretrained_weights of another architecture" 'pretrained_weights: wide: tensor feature_extractor.* is of another shape' --set pretrained_weights=wide --set 'conv_feature_layers=8x10/5 16x3/2*4 16x2/2*2'
check_fails "a recipe that fits the model and no data: --check" 1 "extractor_mode: 'group' is none of" mert-train --check --recipe micro --init wide --set extractor_mode=group

# ---- an existing run ----

check "a run" train whole --set max_update=2
one_label() { sed -i '2s/^[0-9]*/3/' other/train.q_1; sed -i '/^hash=/d' other/train.q_1.meta; }
spoil one_label
again() { check_fails "$1" 1 "$2" mert-train -q --recipe micro --manifest train.tsv --labels "$5" --save whole "$3" "$4" "${6:---device=cpu}"; }
for plan in --device=cpu --plan; do
    again "is not begun again ($plan)" 'whole contains a run at update 2: --resume continues it; a new run needs another --save, and can start with this model by --init whole/model' $plan --device=cpu 'train.q_%d'
    again "nor resumed with another recipe ($plan)" 'whole: the run was begun with another lr: --resume needs the same' $plan --resume 'train.q_%d' --set=lr=1
    again "nor with other labels ($plan)" 'other/train.q_1: other labels than the run was begun with' $plan --resume 'other/train.q_%d'
done
check "and nothing was packed into it" sh -c '! ls whole/*.mts* 2> ls.err'

# ---- audio ----

bad() { mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --save refused "$@"; }
check_fails "a sound file in the place of packed audio" 1 'audio/s0.wav: .*audio goes through mert-decode' bad --pcm audio/s0.wav
mert-mel -q train.mts > mel.mts
check_fails "a stream of something else" 1 'mel.mts: s0.wav: a record of kind .*: audio goes through mert-decode' bad --pcm mel.mts
check "a record twice" sh -c '(cd audio && mert-decode -q s0.wav) > again.mts && cat train.mts again.mts > twice.mts'
check_fails "a record twice in packed audio" 1 'twice.mts: s0.wav: a second time, after twice.mts$' bad --pcm twice.mts
check_fails "a record twice, in two files" 1 'again.mts: s0.wav: a second time, after train.mts$' bad --pcm train.mts --pcm again.mts
