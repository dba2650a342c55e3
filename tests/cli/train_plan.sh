# mert-train --plan and --compare: the cost of a run, and the comparison with a reference run.
. tests/shell
. tests/training

threads='--threads 1' # measuring how fast the machine is costs less
plan() { mert-train -q --plan $threads --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts "$@"; }
has() { grep -qE -- "$1" plan || { echo "no line like '$1' in"; cat plan; return 1; }; }

# ---- the output of --plan ----

says() {
    plan > plan || return
    has '^    training +8 items +0\.003 hours$' && has '^    validation +2 items +0\.001 hours$' &&
        has '^    codebook 1 +16 classes +75\.000 per second, entropy +3\.9' && has '^    an epoch +8 crops in 2 batches$' &&
        has '^    the largest +4 crops of 24000 samples \(1\.00 s\)$' && has '^    an update +2 batches, 8\.0 s of audio$' &&
        has '^    the run +10 updates, 10\.00 epochs$' && has 'measured now' && has '^    the run, on this machine +[0-9.]+ days'
}
check "corpus, batches, work" says
nowhere() { plan --save nowhere > plan && [ ! -e nowhere ] && [ "$(ls -d ./*pcm.mts 2> ls.err | wc -l)" -eq 0 ]; }
check "nothing is touched" nowhere
parameters() { # as the model of a run has them
    train run && mert-model info run/model > info && millions=$(awk '$1 == "all" && $3 == "million" {print $2}' plan) &&
        n=$(mert-train --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save again --set max_update=1 2>&1 | sed -n 's/.*model: \([0-9.]*\) million.*/\1/p') &&
        awk -v a="$millions" -v b="$n" 'BEGIN {exit !(a > 0 && a - b < 0.006 && b - a < 0.006)}'
}
check "parameters are those of the model" parameters
unpacked() { # audio that is still to be packed: the same plan, and room for it on the disk
    mert-train -q --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' > later && plan > plan || return
    sed -n '/^batches/,/^parameters/p' plan > a; sed -n '/^batches/,/^parameters/p' later > b
    cmp a b && grep -q 'training .*not packed yet' later && grep -q 'packed audio  *1\.3 MB' later && ! grep -q 'packed audio' plan
}
check "audio that is not packed yet" unpacked
packed() { mert-train -q --recipe micro --manifest train.tsv --labels 'train.q_%d' --save child --set max_update=1 &&
    mert-train -q --plan --recipe micro --manifest train.tsv --labels 'train.q_%d' --save child --resume > plan && ! grep -q 'not packed yet' plan; }
check "audio that an earlier run has packed" packed
updates() { plan --set update_freq=3 --processes 2 > plan && has 'an update +6 batches, 24\.0 s' && has 'the run +10 updates, 30\.00 epochs' && has '^memory of each process'; }
check "an update of several processes" updates
shared() { plan --set update_batches=6 --processes 2 > plan && has 'an update +6 batches, 24\.0 s' && has 'the run +10 updates, 30\.00 epochs'; }
check "an update of so many batches in all" shared
hears() { plan --set lr_seconds=48 > plan && has 'lr = 0.003 was chosen for 48 s: take a smaller one, or update_batches=12$' && plan --set lr_seconds=48 --set update_batches=11 > plan && ! has 'was chosen'; }
check "an update that hears less than lr was chosen for" hears
number() { awk -v name="$1" 'index($0, "    " name " ") == 1 {sub(name, ""); print $1; exit}' "$2"; }
sharded() { plan --processes 4 > whole && plan --processes 4 --shard optimizer > plan &&
    [ "$(number weights whole)" = "$(number weights plan)" ] && wide > wide && wide --processes 4 --shard optimizer > parts &&
    awk -v a="$(number optimiser wide)" -v b="$(number optimiser parts)" 'BEGIN {exit !(a > 4 && b > 0.24 * a && b < 0.26 * a)}'; }
wide() { plan --set encoder_embed_dim=128 --set encoder_ffn_embed_dim=512 --set encoder_layers=6 "$@"; }
check "a sharded optimiser takes its share" sharded
kept() { plan --set save_interval=1 > all && plan --set save_interval=1 --set keep=2 > two && grep -q 'at most  *10$' all && grep -q 'at most  *3$' two; }
check "checkpoints that are kept, and the one being written" kept
dynamic() { plan --set min_sample_size=12000 --set 'dynamic_crops=0.5 1' --set 'dynamic_crops_epoches=1 3' > plan && has 'an epoch +8 crops in 1 batches' && has 'the largest +4 crops of 24000 samples'; }
check "the largest batch of any epoch" dynamic

unlabelled_plan() { # a manifest and a recipe are enough: the same batches, the same model
    mkdir -p only && cp train.tsv only && mert-train -q --plan $threads --recipe micro --manifest only/train.tsv --set codebooks=2 --set classes=16 > later && plan > plan || return
    for part in batches parameters; do sed -n "/^$part/,/^[a-z]/p" plan > a; sed -n "/^$part/,/^[a-z]/p" later > b; cmp a b || return; done
    grep -q 'no labels yet: 2 codebooks of 16 classes at 75 per second' later && grep -q 'labelling .*0\.003 hours of audio' later && ! grep -q 'validation  *[0-9]* items' later && ! grep -q labelling plan
}
check "before there are labels" unlabelled_plan
assumed() { mert-train -q --plan $threads --recipe micro --manifest train.tsv > later && grep -q 'no labels yet: 8 codebooks of 1024 classes' later && grep -q 'validation  *2 items' later; }
check "as many as are usual, where the recipe does not say" assumed

# ---- audio, batches and updates ----

column() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} {printf "%s ", $c}' "$1"; }
logits() { column run/log.tsv attention_logit > a && awk '{exit !(NF == 5 && $1 > 0 && $5 > $1)}' a; }
check "the largest attention logit, which grows" logits
anywhere() { # on another backend, and on another number of threads
    train guarded --device guard && column guarded/log.tsv attention_logit | cmp - a && train threads --threads 3 && column threads/log.tsv attention_logit | cmp - a
}
check "is the same wherever and however it is computed" anywhere
json() { # the rows of both, in the order of time, with the same numbers
    [ "$(sed 's/.*"kind":"\([a-z]*\)".*/\1/' run/log.jsonl | tr '\n' ' ')" = 'valid train train valid train train train valid ' ] &&
        sed -n 's/.*"kind":"train".*"attention_logit":\([^,]*\),.*/\1/p' run/log.jsonl | tr '\n' ' ' | cmp - a
}
check "and the rows are lines of JSON, too" json
again() { cp run/log.jsonl before && train parts_of --set max_update=4 && train parts_of --resume --set max_update=6 && train parts_of --resume &&
    grep -c . parts_of/log.jsonl > lines && [ "$(sed 's/^{"update":\([0-9]*\).*/\1/' parts_of/log.jsonl | sort -n | uniq | tr '\n' ' ')" = '0 2 4 5 6 8 10 ' ]; }
check "none is lost or doubled when a run goes on" again

# ---- memory, compared with real runs ----

# Within 20% plus 4 MB of variation between runs.
predicted() {
    threads=
    plan "$@" > plan && rm -rf memory && mert-train -v --recipe micro --manifest train.tsv --labels 'train.q_%d' --pcm train.mts --save memory "$@" 2> said || { cat said; return 1; }
    said=$(number 'at most, together' plan) took=$(sed -n 's/.*peak \([0-9.]*\) MB.*/\1/p' said)
    echo "predicted $said MB, took $took MB"
    awk -v a="$said" -v b="$took" 'BEGIN {exit !(a > 0 && b > 0 && a < 1.2 * b + 4 && b < 1.2 * a + 4)}'
}
if [ -n "${MERT_SANITIZED:-}" ]; then
    skip "memory" "sanitizers take more"
else
    check "memory: mostly activations" predicted --set encoder_layers=8 --set encoder_embed_dim=128 --set max_tokens=192000 --set pred_nomask_weight=1 --set total_updates=3
    check "memory: recomputed" predicted --set encoder_layers=8 --set encoder_embed_dim=128 --set max_tokens=192000 --set recompute=yes --set total_updates=3
    check "memory: activations of 16 bits" predicted --set encoder_layers=8 --set encoder_embed_dim=128 --set max_tokens=192000 --set activations=bf16 --set total_updates=3
    check "memory: an extractor" predicted --set 'conv_feature_layers=128x10/5 128x3/2*4 128x2/2*2' --set total_updates=3
    check "memory: mostly the model" predicted --set encoder_layers=6 --set encoder_embed_dim=256 --set encoder_ffn_embed_dim=1024 --set max_tokens=24000 --set total_updates=3
fi

# ---- refusals ----

bad() { plan "$@"; }
unlabelled() { mert-train -q --plan --recipe micro --manifest train.tsv --labels 'absent/train.q_%d' --pcm train.mts; }
check_fails "no labels" 1 'absent/train.q_0: No such file' unlabelled
check_fails "a recipe that does not fit" 1 'lr: 2000 is outside' bad --set lr=2000
check_fails "items that are too short" 1 'none of its 2 items is as long as min_sample_size' bad --set min_sample_size=96000 --set max_sample_size=96000
check_fails "no manifest" 2 'are needed' mert-train -q --plan --recipe micro --labels 'train.q_%d'

# ---- --compare ----

compare() { mert-train --compare "$1" --save "$2" > compared; }
with_itself() { compare run/log.tsv run && tail -n 1 compared | grep -q '^on track: 5 of 5 rows within the bands, up to update 10$'; }
check "a run is on its own track" with_itself
commented() { { echo '# from elsewhere'; head -n 4 run/log.tsv; } > part.tsv && compare part.tsv run && tail -n 1 compared | grep -q '^on track: 3 of 3 rows .* up to update 6$'; }
check "with the rows that both have" commented
seed() { train seed --set seed=5 && compare run/log.tsv seed; }
check "another seed is on track" seed
validation() { compare run/valid.tsv run && grep -q '^on track: 3 of 3' compared; }
check "and so is its validation" validation
astray() {
    train fast --set lr=0.3 --set clip_norm=0 && compare run/log.tsv fast; [ $? -eq 1 ] && tail -n 1 compared | grep -q '^not on track: ' &&
        grep -q '^first outside of its band at update [0-9]*:$' compared && grep -q 'outside$' compared
}
check "a learning rate that is a hundred times too high is not" astray
check_fails "a reference that is none" 1 'micro: line 1: not the log of a training run' mert-train --compare micro --save run
check_fails "a run that is none" 1 'nowhere/log.tsv: No such file' mert-train --compare run/log.tsv --save nowhere
check_fails "of which run?" 2 'compare needs' mert-train --compare run/log.tsv
check_fails "labels of another number" 1 'no column ce_1' sh -c "mert-train -q --recipe micro --manifest train.tsv --labels train.q_0 --pcm train.mts --save one --set max_update=2 && mert-train --compare run/log.tsv --save one"
if : 2> /dev/null > /dev/full; then
    for what in "--compare run/log.tsv --save run" "--plan --recipe micro --manifest train.tsv --labels train.q_%d --pcm train.mts"; do
        check_fails "${what%% *} onto a full disk" 1 '^mert-train: cannot write to standard output: No space left on device$' sh -c "mert-train -q $what > /dev/full"
    done
fi

# ---- the reference log of the package ----

cd - > /dev/null || exit 1
reference() { # reads, and is of the recipe tiny: its updates
    mkdir -p "$t/itself" && grep -v '^#' pipelines/reference/tiny.tsv > "$t/itself/log.tsv" && mert-train --compare pipelines/reference/tiny.tsv --save "$t/itself" > "$t/compared" &&
        last=$(mert-train --print-recipe --recipe pipelines/recipes/tiny | sed -n 's/^total_updates = //p') && grep -q "^on track: .* up to update $last$" "$t/compared"
}
check "the reference log of the recipe tiny" reference
# The columns of a log that is written now, without the number of the codebook; and what `loss` is: of masked frames,
# the sum over codebooks, and for this recipe little else (the CQT, the extractor's penalty).
columns() { grep -v '^#' "$1" | head -n 1 | tr '\t' '\n' | sed 's/_[0-9]*$//' | uniq | xargs; }
as_now() { [ "$(columns pipelines/reference/tiny.tsv)" = "$(columns "$t/run/log.tsv")" ] || { columns pipelines/reference/tiny.tsv; columns "$t/run/log.tsv"; return 1; }; }
check "has the columns of a log that is written now (make reference)" as_now
sums() {
    awk -F '\t' '/^#/ { next } !n++ { for (i = 1; i <= NF; i++) at[$i] = i; next }
        { s = $at["ce_0"] + $at["ce_1"] + $at["ce_2"]; d = $at["loss"] - s; if (d < 0 || d > 0.05 * s) { print; bad = 1 } }
        END { exit bad || n != 17 }' pipelines/reference/tiny.tsv
}
check "its loss is that of masked frames" sums
