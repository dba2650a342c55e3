# mert-train --resume --change: settings and the corpus of a run that is going on.
. tests/shell
. tests/training
value() { awk -F'\t' -v c="$2" -v r="${3:-2}" 'NR == 1 {for (i = 1; i <= NF; i++) if ($i == c) n = i} NR == r && n {print $n}' "$1"; } # FILE COLUMN ROW
go() { to=$1; shift; train "$to" --resume "$@"; }
same() { for f in model.safetensors optimizer.safetensors; do cmp "$1/checkpoint-10/$f" "$2/checkpoint-10/$f" || return; done; }

check "half a run" train half --set max_update=4
copy() { rm -rf "$1"; cp -r half "$1"; }

# ---- settings ----

lr() { copy lr && go lr --change lr=0.001 --change clip_norm=1 --set log_interval=1 && [ "$(value lr/log.tsv lr 4)" = 0.00075 ] && [ "$(value half/log.tsv lr 3)" = 0.002625 ]; } # of updates 5 and 4, by the schedule from there
check "another learning rate" lr
recorded() {
    grep -c '"kind":"change"' lr/log.jsonl | grep -qx 2 && grep -q '^{"update":4,"kind":"change","name":"lr","from":"0.003","to":"0.001"}$' lr/log.jsonl && grep -q '{"update": 4, "name": "clip_norm", "from": "10", "to": "1"}' lr/checkpoint-10/state.json &&
        grep -qx 'lr = 0.001' lr/recipe
}
check "the log and the checkpoint tell it" recorded
kept() { # resumed by its first command, and by the changed one
    copy parts && go parts --change lr=0.001 --change clip_norm=1 --set max_update=6 && go parts --set max_update=8 && go parts --change lr=0.001 && same lr parts && grep -c '"kind":"change"' parts/log.jsonl | grep -qx 2
}
check "a run that is resumed by its first command keeps it" kept
moments() { # the moments are kept: a run of its own with this model ends elsewhere
    ! cmp -s lr/checkpoint-10/optimizer.safetensors half/checkpoint-4/optimizer.safetensors && copy same && go same --change lr=0.003 && train whole && same whole same && ! grep -q change same/log.jsonl
}
check "a change to the same value is none" moments
back() { copy back && go back --change lr=0.001 --set max_update=6 && go back --change lr=0.003 --set max_update=8 && go back && grep -qx 'lr = 0.003' back/recipe && grep -c '"kind":"change"' back/log.jsonl | grep -qx 2; }
check "and back again" back
longer() { go lr --change total_updates=12 --change log_interval=3 && [ -d lr/checkpoint-12 ] && [ "$(tail -n 1 lr/log.tsv | cut -f 1)" = 12 ]; }
check "more updates, and another interval" longer
tokens() { copy tokens && go tokens --change max_tokens=48000 --change weight_decay=0.1 --change cqt_loss_weight=0.5 --change features_pen_weight=1 && grep -q '"update": 4, "name": "max_tokens"' tokens/checkpoint-10/state.json && ! cmp -s tokens/model/model.safetensors lr/model/model.safetensors; }
check "batches, weight decay, weights of losses" tokens
two() { copy two && go two --processes 2 --threads 1 --change lr=0.001 --change clip_norm=1 && grep -c '"kind":"change"' two/log.jsonl | grep -qx 2; }
check "two processes" two

blanks() { copy blanks && go blanks --change ' lr = 0.001' --set max_update=5 && grep -q '"name":"lr","from":"0.003","to":"0.001"' blanks/log.jsonl; }
check "blanks around the name and the value" blanks

# ---- what does not go ----

check_fails "what cannot change: both values, and the way on" 1 'change: encoder_layers is 2 in this run, and cannot become 3: .* --init' go half --change encoder_layers=3
check_fails "an unknown name" 1 "change: a recipe has no setting 'learning_rate'" go half --change learning_rate=1
check_fails "a value out of range" 1 'change: lr: -1 is outside' go half --change lr=-1
check_fails "by --set" 1 "half: the run was begun with another lr: --resume needs the same, 0.003 and not 0.5; --change 'lr=0.5'" go half --set lr=0.5
check_fails "by --set, what cannot change" 1 'half: the run was begun with another encoder_layers: --resume needs the same, 2 and not 3; .* --init' go half --set encoder_layers=3
check_fails "a change of a run that begins" 2 'change is for a run that goes on' train half --change lr=1
check_fails "the corpus, and nothing else" 1 "'corpus=new': corpus=yes lets" go half --change corpus=new
unchanged() { [ ! -d half/checkpoint-10 ] && cmp half/recipe tokens/recipe > cmp.out; [ $? -eq 1 ]; }
check "and nothing was begun" unchanged

# ---- the corpus ----

mkdir more
grow() { # a song more in front of the others, which renumbers all rows
    ffmpeg -nostdin -v error -y -f lavfi -i "aevalsrc=0.2*sin(2*PI*333*t):s=24000:d=1.3" -c:a pcm_s16le audio/a.wav &&
        sed "1a a.wav	$((($(wc -c < audio/a.wav) - 78) / 2))" train.tsv > more/train.tsv && mert-decode --manifest more/train.tsv > more/train.mts && cp valid.tsv valid.q_* more/ || return
    for k in 0 1; do labels more/train $k 16 > more/train.q_$k; sed "s/^rows=.*/rows=9/" train.q_$k.meta > more/train.q_$k.meta; done
}
check "a song more" grow
grown() { to=$1; shift; mert-train --recipe micro --manifest more/train.tsv --labels 'more/train.q_%d' --pcm more/train.mts --valid-pcm valid.mts --save "$to" --resume "$@"; }
check_fails "not without a word" 1 'more/train.tsv: another manifest than the run was begun with .hash [0-9a-f]*, it was [0-9a-f]*.: --resume needs the same, or --change corpus=yes; ' grown half -q
larger() {
    copy larger && grown larger --change corpus=yes 2> said && [ -d larger/checkpoint-10 ] && grep -q 'changed after update 4: corpus from [0-9a-f]* to [0-9a-f]*$' said && grep -q '"update":4,"kind":"change","name":"corpus"' larger/log.jsonl &&
        [ "$(value larger/log.tsv epoch 3)" -lt "$(value larger/log.tsv epoch 4)" ] && grep -q '"name": "corpus"' larger/checkpoint-10/state.json
}
check "the run goes on with it, and says so" larger
later() { copy later && grown later -q --change corpus=yes --set max_update=6 && grown later -q --set max_update=8 && grown later -q --change corpus=yes && same larger later && grep -c '"kind":"change"' later/log.jsonl | grep -qx 1; }
check "from then on it is the run's" later
shards() { copy shards && go shards --change sharding_data=2 && grep -q '"name": "sharding_data"' shards/checkpoint-10/state.json; }
check "other shards" shards
sed -i 's/c0de5/bad00/' more/*.meta
other_book() { copy book; grown book -q --change corpus=yes; }
check_fails "labels of another codebook are refused all the same" 1 'book: more/train.q_0: made by codebook 00000000000bad00, the run was begun with 00000000000c0de5' other_book
