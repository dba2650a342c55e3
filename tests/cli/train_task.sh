# mert-train --task: a whole model on a table of labels, of items and of spans, all kinds of tasks, on both kinds of
# model; its scores, predictions and head; gone on with, frozen, spread over processes; what is refused.
. tests/shell
. tests/training

{ cat train.tsv; sed 1d valid.tsv; } > all.tsv
cat train.mts valid.mts > all.mts
# low or high, tags, a number; spans of 0.4 s of two kinds in turn
sed 1d all.tsv | awk -F'\t' '
    BEGIN { print "key\tlabel\tsplit\ttags\tnumber" > "items"; print "key\tlabel\tgroup" > "folds"; print "key\tstart\tend\tlabel\tsplit" > "spans" }
    { i = substr($1, 2, 1); part = i % 5 == 2 ? "valid" : i % 5 == 4 ? "test" : "train"
      print $1 "\t" (i < 5 ? "low" : "high") "\t" part "\t" (i % 3 ? i < 5 ? "a" : "a,b" : "") "\t" i * 10 "," 3 - i > "items"
      print $1 "\t" (i % 2 ? "odd" : "even") "\tg" i > "folds"
      for (s = 0; s < 2; s++) print $1 "\t" s * 0.4 "\t" s * 0.4 + 0.4 "\t" ((i + s) % 2 ? "C:maj" : "A:min7") "\t" part > "spans" }'
cat > tuning <<'END'
freeze_updates = 2
head_init = zero
head_lr = 3
layer_decay = 0.7
mask_length = 1
dropout = 0
dropout_input = 0
encoder_layerdrop = 0
feature_grad_mult = 1
max_sample_size = 60000
min_sample_size = 12000
max_tokens = 120000
crop_jitter = yes
required_batch_size_multiple = 1
lr = 0.003
warmup_updates = 2
total_updates = 16
log_interval = 4
validate_interval = 8
save_interval = 0
best_metric = score
END
mert-model init -q --recipe micro --seed 1 -o base || exit 1
tune() { save=$1 table=$2; shift 2; mert-train -q --recipe tuning --task "$table" --init base --manifest all.tsv --pcm all.mts --save "$save" "$@"; }
value() { awk -F'\t' -v l="$2" -v m="$3" '$1 == l && $2 == m {print $3}' "$1"; } # TABLE LAYER METRIC
column() { awk -F'\t' -v name="$2" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == name) c = i; next} {printf "%s ", $c}' "$1"; }

# ---- classes of items ----

run() { tune run items --predictions said > scores && [ "$(head -n 1 scores | tr '\t' ' ')" = "layer metric mean min max n" ] && [ "$(wc -l < scores)" -eq 11 ] && [ "$(value scores prior roc_auc)" = 0.5000 ]; }
check "a run prints a table as mert-probe does" run
learns() { column run/valid.tsv loss > loss && cat loss && awk '{exit !(NF == 3 && $3 < 0.9 * $1)}' loss && column run/log.tsv examples | awk '{exit !($1 > 0)}' && [ "$(head -n 1 run/valid.tsv | tr '\t' ' ')" = "update loss examples accuracy balanced_accuracy f1_macro roc_auc ap hours_heard" ]; }
check "the loss falls on the validation part, and the log has the task's figures" learns
right() { [ "$(value scores weighted accuracy)" = 1.0000 ]; }
check "what is easy is learned" right
predictions() {
    [ "$(head -n 1 said | tr '\t' ' ')" = "key start end layer seed fold label predicted score:high score:low" ] &&
        sed 1d said | cut -f 1-8 | tr '\t' ' ' > rows && printf '%s\n' 's4.wav - - weighted 1337 0 low low' 's9.wav - - weighted 1337 0 high high' | cmp - rows
}
check "predictions are of the test part alone" predictions
best() { b=$(awk -F'\t' 'NR > 2 && (NR == 3 || $4 > a) {a = $4; u = $1} END {print u}' run/valid.tsv) && echo "$b" && [ -s run/best/model.safetensors ] && grep -q "\"best_update\": $b," run/checkpoint-16/state.json && mert-model verify run/best; }
check "the best model is that of the highest first score" best
head_file() { # on the features of the tested model
    mert-encode -q -m run/best all.mts | mert-probe apply -m run/head.safetensors > applied &&
        awk -F'\t' 'NR == FNR {p[$1] = $9; q[$1] = $8; next} FNR > 1 && $1 in p {n++; d = $9 - p[$1]; if (d * d > 1e-6 || $8 != q[$1]) exit 1} END {exit n != 2}' said applied
}
check "mert-probe apply with the head that was written predicts the same" head_file
encoder() { mert-encode -q -m base valid.mts > a && mert-encode -q -m run/model valid.mts > b && ! cmp -s a b; }
check "the encoder was trained" encoder
frozen() { tune frozen items --set freeze_updates=16 > table && mert-encode -q -m frozen/model valid.mts | cmp - a && column frozen/valid.tsv loss | awk '{exit !($3 < $1)}'; }
check "frozen to the end it stays, and the head learns" frozen
one() { tune one items --set task_layer=1 --set head_hidden=8 --set head_dropout=0.1 > table && value table 1 accuracy | grep . && mert-encode -q -m run/model -q valid.mts > b && mert-encode -q -m one/best all.mts | mert-probe apply -m one/head.safetensors > applied && [ "$(wc -l < applied)" -eq 11 ]; }
check "one hidden state, and a hidden layer" one

value_of() { awk -F'\t' 'NR == FNR {p[$1] = $9; q[$1] = $8; next} FNR > 1 && $1 in p {n++; d = $9 - p[$1]; if (d * d > 1e-5 || $8 != q[$1]) exit 1} END {exit n != 2}' "$1" "$2"; } # PREDICTIONS PREDICTIONS
probed() { # the first update has a learning rate of 0
    tune linear items --set head_init=probe --set task_layer=1 --set max_update=1 --predictions said > table &&
        mert-encode -q -m base --layers 1 all.mts | mert-probe -q --labels items --predictions still.tsv > table2 && value_of said still.tsv &&
        for m in accuracy roc_auc ap f1_macro; do [ "$(value table 1 $m)" = "$(value table2 1 $m)" ] && [ "$(value table prior $m)" = "$(value table2 prior $m)" ] || return; done
}
check "the head begins as mert-probe's linear probe" probed
weighted() { tune mixed items --set head_init=probe --set max_update=1 > table && column mixed/valid.tsv loss | awk '{exit !($1 < 0.6)}'; }
check "also on the sum of all hidden states" weighted

# ---- other labels ----

multilabel() { tune tags items --column tags --set task_kind=multilabel --predictions said > table && value table weighted f1_micro | grep . && grep -q 'score:a.score:b' said && mert-encode -q -m tags/best all.mts | mert-probe apply -m tags/head.safetensors | awk -F'\t' 'FNR == NR {p[$1] = $10; next} $1 in p {d = $10 - p[$1]; if (d * d > 1e-6) exit 1}' said -; }
check "labels" multilabel
no_share() { column tags/log.tsv accuracy | grep -q '^nan nan' && column run/log.tsv accuracy | awk '{exit !($NF > 0.5 && $NF <= 1)}'; }
check "the log has a share of right answers for classes alone" no_share
regress() { tune numbers items --column number --set task_kind=regress --set best_metric=loss --predictions said > table && value table weighted r2_2 | grep . && mert-encode -q -m numbers/best all.mts | mert-probe apply -m numbers/head.safetensors | awk -F'\t' 'FNR == NR {p[$1] = $8; next} FNR > 1 && $1 in p {n++; split(p[$1], x, ","); split($8, y, ","); d = x[1] - y[1]; if (d * d > 1e-2) exit 1} END {exit n != 2}' said -; }
check "numbers" regress
spans() { tune chords spans --chords majmin --predictions said > table && value table weighted accuracy | grep . && sed 1d said | cut -f 1-3,7 | head -n 2 | tr '\t' ' ' > rows && printf '%s\n' 's4.wav 0 0.4 A:min' 's4.wav 0.4 0.8 C:maj' | cmp - rows; }
check "spans of chords" spans
pieces() { tune pieces items --set max_sample_size=16000 --set min_sample_size=12000 --set crops_per_item=0 --predictions said > table && [ "$(wc -l < said)" -eq 3 ]; }
check "items that are longer than a crop" pieces
folds() {
    tune f0 folds --set max_update=1 --predictions p0 > table && tune f1 folds --set max_update=1 --set task_fold=1 --predictions p1 > table &&
        sed 1d p0 | cut -f 1,6 > k0 && sed 1d p1 | cut -f 1,6 > k1 && [ "$(wc -l < k0)" -eq 2 ] && [ "$(wc -l < k1)" -eq 2 ] && [ -z "$(cut -f 1 k0 k1 | sort | uniq -d)" ] &&
        mert-encode -q -m base all.mts | mert-probe -q --seeds 1 --seed 1337 -l folds --predictions all > table && awk -F'\t' '$4 == 0 && $6 < 2 {print $1 "\t" $6}' all | sort > probed && sort k0 k1 | cmp - probed
}
check "without a split the parts are those of mert-probe's folds" folds
three() { tune f2 folds --set max_update=1 --set task_folds=3 --predictions p2 > table && [ "$(sed 1d p2 | grep -c .)" -ge 3 ] && [ "$(sed 1d p2 | grep -c .)" -le 4 ]; } # of ten
check "of three parts, one is a third" three
check_fails "a fold beyond three" 1 'task_fold 3: there are task_folds 3, from 0' tune x folds --set task_folds=3 --set task_fold=3
manifests() { sed -n '1p;2,8p' all.tsv > first.tsv; sed -n '1p;9,11p' all.tsv > last.tsv; cut -f 1,2 items | sed 1d > plain; mert-train -q --recipe tuning --task plain --init base --manifest first.tsv --pcm all.mts --test-manifest last.tsv --test-pcm all.mts --save bymanifest --predictions said > table && [ "$(sed 1d said | cut -f 1 | tr '\n' ' ')" = "s7.wav s8.wav s9.wav " ]; }
check "parts by manifests" manifests

# ---- however it is run ----

same() { for f in model.safetensors optimizer.safetensors state.json; do cmp "run/checkpoint-16/$f" "$1/checkpoint-16/$f" || return; done; cmp run/head.safetensors "$1/head.safetensors"; }
parted() { tune parted items --set max_update=8 > table && tune parted items --resume > table && same parted && cmp table scores; }
check "in parts: the same model and scores" parted
again() { tune run items --resume --predictions again > table && cmp table scores && [ "$(wc -l < again)" -eq 3 ] && mert-train -q --recipe tuning --task items --manifest all.tsv --pcm all.mts --save run --resume > table && cmp table scores; }
check "a run that is done is tested again, also without --init" again
threads() { tune threads items --threads 3 > table && same threads && tune guarded items --device guard > table && same guarded; }
check "with other threads, and on memory that the host cannot touch" threads
two() { tune alone items --set update_batches=2 --threads 1 > table && tune two items --set update_batches=2 --processes 2 --threads 1 --predictions p2 > table2 && tune halved items --set update_batches=2 --processes 2 --threads 1 --shard optimizer > table3 && cmp table2 table3 && cmp two/best/model.safetensors halved/best/model.safetensors && awk -F'\t' 'NR == FNR {v[NR] = $2; next} FNR > 1 {d = $2 - v[FNR]; if (d * d > 1e-4) exit 1}' alone/valid.tsv two/valid.tsv; }
check "two processes do as one" two
half() { tune half items --set precision=bf16 > table && column half/valid.tsv loss | awk '{exit !($3 < $1)}'; }
check "in bfloat16" half
recomputed() { tune less items --recompute > table && same less; }
check "with less kept" recomputed
plan() { mert-train --recipe tuning --task items --init base --manifest all.tsv --pcm all.mts --plan > planned && grep -q 'task .* 10 examples, 6 to train on, 2 outputs' planned && grep -q 'at most, together' planned && [ ! -e plan ]; }
check "--plan" plan
shipped() { mert-train -q --task items --init base --manifest all.tsv --pcm all.mts --save shipped --set max_update=1 > table && grep -q '^task_kind = classify' shipped/recipe; }
check "by the installed recipe" shipped
conformer() {
    { printf '%s\n' 'model = conformer' 'num_mel_bins = 32' 'n_fft = 512' 'win_length = 512' 'subsampling_channels = 32 40 48' 'subsampling_depths = 1 2 1' 'conv_depthwise_kernel_size = 7' 'encoder_layers = 2' 'encoder_embed_dim = 48' 'encoder_ffn_embed_dim = 96' 'encoder_attention_heads = 4'; } > other
    mert-model init -q --recipe other --seed 1 -o mel && grep -v feature_grad_mult tuning > lean &&
        mert-train -q --recipe lean --task items --init mel --manifest all.tsv --pcm all.mts --save tuned --predictions said > table && column tuned/valid.tsv loss | awk '{exit !($3 < $1)}' &&
        mert-encode -q -m tuned/best all.mts | mert-probe apply -m tuned/head.safetensors | awk -F'\t' 'NR == FNR {p[$1] = $9; next} FNR > 1 && $1 in p {n++; d = $9 - p[$1]; if (d * d > 1e-6) exit 1} END {exit n != 2}' said -
}
check "a Conformer" conformer
exported() { mert-model convert -q --to hf -m run/best -o hf && mert-train -q --recipe tuning --task items --init hf --manifest all.tsv --pcm all.mts --save fromhf --set max_update=1 > table && mert-encode -q -m hf valid.mts | mert-tensor ls | grep -q hidden && mert-train -q --recipe tuning --task folds --init run/best --manifest all.tsv --pcm all.mts --save next --set max_update=1 > table; }
check "of an exported model, and of one that was tuned before" exported

# ---- refusals ----

check_fails "no model" 2 'needs --init, --manifest and --save' mert-train --task items --manifest all.tsv --save x
check_fails "labels beside the table" 2 'labels in TABLE' tune x items --labels train.q_0
check_fails "a column without a table" 2 'are for --task' mert-train --recipe micro --manifest all.tsv --labels train.q_0 --save x --column tags
check_fails "everything divided" 2 '--shard full is not for --task' tune x items --shard full
check_fails "a figure of pre-training" 1 'best_metric = ce: of a task it is loss or score' tune x items --set best_metric=ce
check_fails "the other way round" 1 'best_metric = score: of a task alone' train x --set best_metric=score
check_fails "a layer that is not there" 1 'task_layer 5: the model has hidden states 0 to 2' tune x items --set task_layer=5
check_fails "no such fold" 1 'task_fold 7' tune x folds --set task_fold=7
check_fails "another model by --set" 1 '^mert-train: --set: encoder_layers=3: the model has encoder_layers 2, and a task trains it as it is: leave the setting out$' tune x items --set encoder_layers=3
check_fails "also with blanks" 1 'the model has encoder_layers 2' tune x items --set ' encoder_layers = 3'
allowed() { tune stated items --set encoder_layers=3 --set encoder_layers=2 --set max_update=1 > table; }
check "what is set last counts" allowed
sed 's/^encoder_layers = .*/encoder_layers = 5/' micro > large
unused() { mert-train --recipe large --set mask_length=1 --set min_sample_size=12000 --set max_update=1 --task items --init base --manifest all.tsv --pcm all.mts --save other.run 2> err > table && grep -q '^mert-train: the model is that of base; not used of the recipe: encoder_layers 2 (not 5)$' err; }
check "another model in the recipe is told" unused
for to in items all.tsv all.mts; do
    cp $to $to.kept
    check_fails "predictions in place of $to" 1 "^mert-train: --predictions: $to: is an input of this command, too" tune y items --predictions $to
    check "which stays" cmp $to $to.kept
done
check_fails "predictions that cannot be written" 1 '^mert-train: --predictions: nowhere/p: cannot create' tune y items --predictions nowhere/p
untrained() { [ ! -e y/model ]; }
check "before the run" untrained
mkdir -p z/head.safetensors
check_fails "a head that cannot be written" 1 'z/head.safetensors: is a folder' tune z items
check_fails "another task" 1 "'0,3' holds a comma" tune x items --column number
printf 'a\tx\nb\ty\n' > strange
check_fails "other items" 1 'strange: no key is an item of' tune x strange
sed '2s/low/high/' items > others
check_fails "other labels on the way" 1 'others: other labels than the run was begun with' tune run others --resume
check_fails "another head on the way" 1 'another head_hidden' tune run items --resume --set head_hidden=4
check_fails "no model there" 1 'nowhere' mert-train -q --recipe tuning --task items --init nowhere --manifest all.tsv --pcm all.mts --save x
