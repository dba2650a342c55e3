# mert-train starting from other models and with other music: --init from published models, an old corpus beside the new
# one, and which checkpoints are kept.
. tests/shell
. tests/training

# ---- --init ----

check "a model to begin with" train first
begun() { # MODEL NAME OPTION...: an update of learning rate 0, which leaves the weights as they were taken
    model=$1 to=$2; shift 2
    rm -rf "$to"; mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save "$to" --init "$model" --set max_update=1 "$@" 2> said
}
whole() { begun first/model native && grep -q "tensors of first/model$" said && cmp first/model/model.safetensors native/model/model.safetensors; }
check "our own: all of it, heads as well" whole
fresh() { sed -n 's/.*these keep random values: //p' said | tr ' ' '\n' | sort; }
all_heads='encoder_cqt_model.fc.bias encoder_cqt_model.fc.weight final_proj.bias final_proj.weight label_embs_concat'
encoder_kept() { # the encoder is the first's: hidden states are the same bytes
    mert-encode -q -m first/model valid.mts | zstd -dc > a && mert-encode -q -m "$1/model" valid.mts | zstd -dc > b && cmp a b
}
hf() { mert-model convert -q --to hf -m first/model -o hf && begun hf from_hf && [ "$(fresh | tr '\n' ' ')" = "$all_heads " ] && encoder_kept from_hf; }
check "Hugging Face's layout: the encoder; heads keep random values, by name" hf
fairseq() { mert-model convert -q --to fairseq -m first/model -o fairseq && begun fairseq/checkpoint.pt from_fairseq && grep -q 'tensors of fairseq/checkpoint.pt$' said && cmp first/model/model.safetensors from_fairseq/model/model.safetensors; }
check "fairseq's layout: heads as well" fairseq
sizes() { begun first/model sizes --set final_dim=4 && [ "$(fresh | tr '\n' ' ')" = 'final_proj.bias final_proj.weight label_embs_concat ' ] && encoder_kept sizes; }
check "heads of other sizes keep random values, by name" sizes
check_fails "no such model, before anything is packed" 1 'nowhere: No such file' mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --save early --init nowhere
check "and nothing was" test ! -e early/train.pcm.mts
check_fails "a plan says so, too" 1 'nowhere: No such file' mert-train --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --init nowhere
check_fails "an encoder of another size" 1 'first/model: tensor .* is \[.*\], the recipe makes it \[.*\]: --init takes a model of the recipe.s shape' mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save other --init first/model --set encoder_embed_dim=64
check_fails "a plan says so of a size, too, and before anything is packed" 1 'first/model: tensor .* is \[.*\], the recipe makes it' mert-train -q --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --init first/model --set encoder_embed_dim=64
check_fails "of the number of layers" 1 'first/model: 2 layers, the recipe makes 1: ' train other --init first/model --set encoder_layers=1
check_fails "and of what no shape tells" 1 'first/model: 2 attention heads, the recipe makes 4: ' train other --init first/model --set encoder_attention_heads=4
check_fails "... where the layers' norms are" 1 'first/model: layer_norm_first is no in this model, yes in the recipe: ' train other --init first/model --set layer_norm_first=yes
check "no folder is left of any of these" test ! -e other/recipe

# ---- without any data ----

check "--check: recipe, settings and model fit" mert-train --check --recipe micro --set lr=0.01 --init first/model
check_fails "--check: a setting that there is not" 1 "no setting 'learning_rate'" mert-train --check --recipe micro --set learning_rate=1
check_fails "--check: a model of another shape" 1 'first/model: tensor .* is \[' mert-train --check --recipe micro --set encoder_embed_dim=64 --init first/model
check_fails "--check: an extractor of another shape" 1 'pretrained_weights: first/model: tensor .* is of another shape' mert-train --check --recipe micro --set pretrained_weights=first/model --set 'conv_feature_layers=8x10/5 16x3/2*4 16x2/2*2'
check_fails "--check: no recipe" 2 'check needs a --recipe' mert-train --check
rewarmed() { # the schedule is the new recipe's from its first update on
    train warm --init hf --set lr=0.01 --set warmup_updates=4 --set total_updates=6 --set log_interval=1 &&
        awk -F'\t' 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == "lr") c = i; next} {printf "%s ", $c}' warm/log.tsv > lr && [ "$(cat lr)" = '0 0.0025 0.005 0.0075 0.01 0.005 ' ]
}
check "the schedule begins anew, with its own warm-up" rewarmed

# ---- an old corpus ----

mkdir -p old
cp valid.tsv old/train.tsv; cp valid.mts old/train.mts
for k in 0 1; do cp valid.q_$k old/train.q_$k; cp valid.q_$k.meta old/train.q_$k.meta; done
again() { save=$1; shift; train "$save" --replay-manifest old/train.tsv --replay-labels 'old/train.q_%d' --replay-pcm old/train.mts --set replay_share=0.4 "$@"; }
same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "$1/checkpoint-10/$f" "$2/checkpoint-10/$f" || return; done; }
replayed() { train alone --set required_batch_size_multiple=1 && again replay --set required_batch_size_multiple=1 && ! cmp -s alone/model/model.safetensors replay/model/model.safetensors &&
    head -n 2 alone/valid.tsv | cut -f 1-7 > a && head -n 2 replay/valid.tsv | cut -f 1-7 | cmp - a; } # the losses before the first update
check "an old corpus is heard, and not validated with" replayed
resumed() { again resumed --set required_batch_size_multiple=1 --set max_update=3 && again resumed --set required_batch_size_multiple=1 --set max_update=4 --resume &&
    again resumed --set required_batch_size_multiple=1 --resume && same replay resumed; }
check "resumed, it ends with the same bytes" resumed
packed() { train packed --replay-manifest old/train.tsv --replay-labels 'old/train.q_%d' --set replay_share=0.4 --set required_batch_size_multiple=1 && [ -s packed/replay.pcm.mts ] && same replay packed; }
check "its audio is packed if need be" packed
shares() { # 8 crops of the new one and 5 of the old: 0.385 is as near as it comes
    mert-train --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --replay-manifest old/train.tsv --replay-labels 'old/train.q_%d' --set replay_share=0.4 > plan 2> said &&
        grep -q 'an epoch  *13 crops' plan && grep -q 'replay  *2 items' plan && grep -q ': replay: 2 items' said
}
check "its share of the crops" shares
bad() { train refused "$@"; }
check_fails "a share of nothing" 1 'replay_share is 0.1, but there is no --replay-manifest' bad --set replay_share=0.1
check_fails "no share of it" 1 'old/train.tsv: an old corpus, of which replay_share = 0 uses nothing' bad --replay-manifest old/train.tsv --replay-labels 'old/train.q_%d' --replay-pcm old/train.mts
check_fails "without its labels" 2 'come together' bad --replay-manifest old/train.tsv --set replay_share=0.1
sed -i 's/c0de5/bad00/' old/train.q_1.meta
check_fails "labels of another codebook" 1 'old/train.q_1: made by codebook 00000000000bad00' again refused
sed -i 's/bad00/c0de5/' old/train.q_1.meta
check_fails "going on without it" 1 'resumed: the run was begun with another replay_share' train resumed --resume --set required_batch_size_multiple=1

# ---- which checkpoints are kept ----

checkpoints() { ls "$1" | sed -n 's/^checkpoint-//p' | sort -n | tr '\n' ' '; }
stay() { # NAME EXPECTED SETTING...: of ten
    to=$1 expected=$2; shift 2
    sets=; for s in "$@"; do sets="$sets --set $s"; done
    # shellcheck disable=SC2086
    rm -rf "$to" && train "$to" --set save_interval=1 $sets && [ "$(checkpoints "$to")" = "$expected " ] || { checkpoints "$to"; return 1; }
}
check "all, without a word" stay all '1 2 3 4 5 6 7 8 9 10'
check "the newest" stay newest '8 9 10' keep=3
check "every fourth, and the last" stay fourth '4 8 10' keep_interval=4
check "every fourth, and the newest" stay both '4 8 9 10' keep=2 keep_interval=4
check "those of the last hour: all of these" stay hour '1 2 3 4 5 6 7 8 9 10' keep=1 keep_hours=1
old_ones() { # two hours ago, all but one of them
    for i in 1 2 3 4 5 7 8; do touch -d '2 hours ago' hour/checkpoint-$i; done
    train hour --resume --set save_interval=1 --set keep=1 --set keep_hours=1 --set max_update=10 && [ "$(checkpoints hour)" = '1 2 3 4 5 6 7 8 9 10 ' ] && # nothing is saved, nothing goes
        rm -rf hour/checkpoint-10 && train hour --resume --set save_interval=1 --set keep=1 --set keep_hours=1 && [ "$(checkpoints hour)" = '6 9 10 ' ] || { checkpoints hour; return 1; }
}
check "and older ones go" old_ones
