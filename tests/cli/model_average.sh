# mert-model average: the mean of weights, of models and of checkpoints of a run; what is no mean is refused.
. tests/shell
. tests/training
make_one() { mert-model init --recipe micro --seed "$1" -o "$2"; }
three() { make_one 1 a && make_one 2 b && make_one 3 c; }
check "three models" three
floats() { tail -c 40000 "$1/model.safetensors" | od -An -v -w4 -tf4; } # the last 10,000 numbers
mean() {
    mert-model average a b c -o abc && floats a > fa && floats b > fb && floats c > fc && floats abc > fabc && [ "$(wc -l < fabc)" -eq 10000 ] &&
        paste fa fb fc fabc | awk '{m = ($1 + $2 + $3) / 3; d = m - $4; s = $1 * $1 + $2 * $2 + $3 * $3; bad = bad || d * d > 1e-12 * s; moved = moved || d * d < ($1 - $4) ^ 2} END {exit bad || !moved}'
}
check "the mean of each number" mean
order() { mert-model average c a b -o cab && cmp abc/model.safetensors cab/model.safetensors; }
check "in any order" order
itself() { mert-model average a a -o aa && cmp a/model.safetensors aa/model.safetensors; }
check "of a model and itself: the same bytes" itself
check "it is whole" mert-model verify abc
used() { mert-encode -q -m abc valid.mts | mert-tensor ls | grep -q hidden; }
check "and opens" used
run() { train run --set save_interval=5 && mert-model average run/checkpoint-5 run/checkpoint-10 -o last && train on --init last --set max_update=1 2> said && mert-model convert --to hf -m last -o exported; }
check "checkpoints of a run, with heads: they go on by --init, and are exported" run
heads() { train with-heads --init last --set max_update=1 --set lr=0 && cmp last/model.safetensors with-heads/model/model.safetensors; }
check "heads are averaged, too" heads
without() { mert-model average run/model exported -o mixed && ! mert-model info --tensors mixed | grep -q label_embs && mert-model info --tensors last | grep -q label_embs; }
check "without heads where one has none" without
other() { mert-model init --recipe micro --set "$1" -o other > "$TEST_TMP/made" && mert-model average a other -o refused; }
check_fails "another width" 1 'other: another model than a: "hidden_size": 64 instead of "hidden_size": 32' other encoder_embed_dim=64
check_fails "other layers of the extractor" 1 'other: another model than a: .* instead of ' other 'conv_feature_layers=8x10/5 16x3/2*4 16x2/2*2'
check_fails "one model" 2 'two models or more' mert-model average a -o refused
check_fails "no output" 2 'two models or more' mert-model average a b
check_fails "onto one of them" 1 'a: is the model itself' mert-model average a b -o a
check_fails "a model that is not there" 1 'nowhere' mert-model average a nowhere -o refused
check "nothing was written" test ! -e refused
