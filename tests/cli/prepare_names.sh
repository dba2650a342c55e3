# pipelines/prepare.mk and pipelines/train with names and values that make or sh would interpret: they work, or are
# refused before the first command, and nothing in a value is executed.
. tests/shell
t=$TEST_TMP
raw() { env -u MAKEFLAGS -u MAKELEVEL make -s --no-print-directory -f "${mk:-pipelines/prepare.mk}" "$@"; }
prepare() { raw VALID=30 SHARDS=2 K=4 FEATURES='mert-mel --bins 16 --n-fft 512 --log' TRAIN.kmeans='--n-init 1 --max-iter 3' -j2 "$@"; }
nl='
'
tab=$(printf '\t')
wavs "$t/music" 0 8

# ---- OUT ----

mkdir -p "$t/precious"
: > "$t/precious/mine"
refused() { # NAME TEXT PATTERN: of OUT
    check_fails "OUT: $1" 2 "$3" prepare AUDIO="$t/music" OUT="$2"
}
for c in ' ' "'" '"' '$' '`' ';' '&' '#' '%' ':' '*' '?' '[' '\' '(' ')' '|' '=' '<' '>' '{' '}' '!'; do
    [ "$c" = ' ' ] && is=blank || is=$c
    refused "$is is refused" "$t/precious${c}x" "OUT: [$is] in|OUT: blank in|OUT: \\$is in"
done
refused "a tab is refused" "$t/precious${tab}x" 'OUT: tab in'
refused "a newline is refused" "$t/precious${nl}x" 'OUT: there is a newline in it'
refused "the root is" / 'OUT: /'
refused "nothing is" '' 'OUT: nothing is given'
refused "an option is" -x "OUT: '-x' begins like an option"
refused "a home folder that the shell left is" '~/data' "OUT: '~/data': the shell has not"
refused "a variable is, as it was written" '$(shell touch '"$t"'/ran)' 'OUT: blank in .[$][(]shell'
untouched() { [ -f "$t/precious/mine" ] && [ "$(ls -A "$t/precious")" = mine ] && [ "$(ls -A "$t" | grep -c '^precious')" -eq 1 ] && [ ! -e "$t/ran" ]; }
check "nothing was made, run or removed" untouched
above() { mkdir -p "$t/up/here/pcm" "$t/up/pcm" && : > "$t/up/pcm/mine.mts" && top=$PWD && (cd "$t/up/here" && mk=$top/pipelines/prepare.mk prepare AUDIO="$t/music" OUT=..) && [ -s "$t/up/train.km" ] && [ -e "$t/up/pcm/mine.mts" ]; }
check "OUT=.. works, and leaves what is not its own" above
odd() { (top=$PWD && cd "$t" && mk=$top/pipelines/prepare.mk prepare AUDIO=music OUT='Bücher,+@^_-/') && [ -s "$t/Bücher,+@^_-/train.km" ]; }
check "a relative OUT of other letters works" odd

# ---- the other names ----

name="o'dd \"\$HOME\$(touch ran)\`touch ran\`;&#%:*?[\\~(|=,  x"
places() (
    mkdir -p "$t/$name/AU" && cp -R pipelines "$t/$name/" && ln -s "$OUT/bin" "$t/$name/bin" && wavs "$t/$name/AU" 0 8 &&
        cp -R "$golden/encodec-tiny" "$t/$name/model" && cd "$t" && mkdir work && cd work &&
        mk=$t/$name/pipelines/prepare.mk prepare AUDIO="$t/$name/AU" BIN="$t/$name/bin/" MODEL="$t/$name/model/encodec.th" TEACHERS='kmeans encodec' CODEBOOKS=2 OUT="$t/places" &&
        [ -s "$t/places/train.km" ] && [ -s "$t/places/valid.encodec_1" ] && [ -z "$(ls -A "$t/work")" ] && [ ! -e "$t/ran" ]
)
check "AUDIO, MODEL, BIN and the pipelines themselves lie anywhere" places
plain() { prepare AUDIO="$t/music" OUT="$t/plain" && cmp "$t/plain/train.km" "$t/places/train.km" && cmp "$t/plain/kmeans.safetensors" "$t/places/kmeans.safetensors"; }
check "and the labels are the same" plain
for v in AUDIO MODEL BIN; do
    check_fails "a newline in $v" 2 "$v: there is a newline" prepare AUDIO="$t/music" OUT="$t/plain" "$v=a${nl}b"
done
for w in 'FEATURES=mert-mel; touch ran' 'FEATURES.mfcc=mert-mel $(touch ran)' 'TRAIN.kmeans=`touch ran`' 'K=$(shell touch ran)' 'EXT=wav;x' 'SHARDS=2 3' 'SHARDS=two' 'SEED=' 'VALID=5;' \
    'LAYER=$(x)' 'SALVAGE=maybe' 'MAX_FAILED=all' 'RATE=16k' 'VALLID=10' 'TEACHERS=kmeans $(shell touch ran)' 'ANY=$(shell touch ran)'; do
    check_fails "refused: $w" 2 "\*\*\* ${w%%=*}:" prepare AUDIO="$t/music" OUT="$t/plain" "$w"
done
check_fails "salvaged audio has to be packed" 2 'SALVAGE: what was salvaged can be trained on from packed audio only: leave out SALVAGE or IN_PLACE' prepare AUDIO="$t/music" OUT="$t/plain" SALVAGE=yes IN_PLACE=yes
not_run() { [ ! -e ran ] && [ ! -e "$t/ran" ]; }
check "none of it was run" not_run

# ---- RATE ----

rates() { grep -q 'frame_rate=16000/160' "$t/r/train.mfcc_km.meta" && grep -qx RATE=16000 "$t/r/.split"; }
mert-model init -q --recipe pipelines/recipes/tiny --seed 1 -o "$t/m16"
follows() { prepare AUDIO="$t/music" OUT="$t/r" TEACHERS='mfcc hubert' MODEL="$t/m16" LAYER=1 && rates; }
check "RATE follows MODEL" follows
stays() { prepare AUDIO="$t/music" OUT="$t/r" TEACHERS=mfcc && rates; }
check "and stays with OUT" stays
check_fails "another RATE than MODEL's" 2 'RATE=24000, but the model needs 16000 .*m16' prepare AUDIO="$t/music" OUT="$t/r" TEACHERS=hubert MODEL="$t/m16" RATE=24000
check_fails "an OUT of another RATE than MODEL's" 2 'RATE: .*plain has 24000 .* 16000' prepare AUDIO="$t/music" OUT="$t/plain" TEACHERS=hubert MODEL="$t/m16"
check_fails "two models that disagree" 2 'encodec.th needs 24000 .*m16 16000' prepare AUDIO="$t/music" OUT="$t/r" TEACHERS='encodec hubert' ENCODEC="$golden/encodec-tiny/encodec.th" HUBERT="$t/m16"

# ---- recipes ----

train() { AUDIO="$t/music" PREPARE=${PREPARE:-VALID=30} JOBS=2 SAVE='' MODEL='' pipelines/train "$@"; }
for w in 'FEATURES=$(shell touch ran)' 'FEATURES=`touch ran`' 'FEATURES=mert-mel;touch' "FEATURES='touch ran'" 'TRAIN.rvq=-oran' 'AUDIO=/' 'OUT=/' 'BIN=/tmp/' 'SHELL=/tmp/x' 'K:=3' 'retrain' "K='3"; do
    sed "s;^# prepare:.*;# prepare: TEACHERS=rvq;" pipelines/recipes/small > "$t/bad"
    printf '# prepare: %s\n' "$w" >> "$t/bad"
    check_fails "a recipe with $w" 1 'bad: .*# prepare:' train "$t/bad" "$t/new"
done
check_fails "a setting that there is not" 1 'learning_rate' train tiny "$t/new" --set learning_rate=1
check_fails "a model to begin with of another shape" 1 'm16: .*recipe makes' train small "$t/new" --init "$t/m16"
check_fails "a model to begin with that is not there" 1 'nothere' train small "$t/new" --init "$t/nothere"
check_fails "another rate than the recipe's" 1 'RATE=24000, but tiny has sample_rate = 16000' env PREPARE=RATE=24000 AUDIO="$t/music" pipelines/train tiny "$t/new"
for d in "$t/a b" "$t/a;b" "$t/a\$b" "$t/a%b" -x '~/x'; do check_fails "DATA '${d##*/}'" 2 'DATA: ' train tiny "$d"; done
nothing() { [ ! -e "$t/new" ] && [ ! -e ran ] && [ ! -e "$t/ran" ]; }
check "nothing was made, nothing was run" nothing
glob() { PREPARE='VALID=30 *.md' train tiny "$t/new" > "$t/said" 2>&1; [ $? -ne 0 ] && grep -qF '*.md: no such goal' "$t/said" && [ ! -e "$t/new" ]; }
check "PREPARE is not expanded" glob
crlf() { sed 's/$/\r/' pipelines/recipes/tiny > "$t/crlf"; sed -n "s/\r\$//; s/^# prepare: //p" "$t/crlf" | grep -q TEACHERS; AUDIO='' pipelines/train "$t/crlf" "$t/new"; }
check_fails "line ends of another system" 2 'AUDIO=FOLDER' crlf

# ---- three thousand shards: more names than one command of make can have ----

many() {
    d=$t/many/$(printf '%060d' 1)
    mkdir -p "$d/shards" "$d/pcm" "$d/features/features" "$d/codes/kmeans" "$t/stub/"
    printf '#!/bin/sh\nn=0; for a; do case $a in *.mts) n=$((n + 1)); [ -e "$a" ] || exit 1 ;; -o) o=1 ;; *) [ "${o:-}" != 1 ] || { : > "$a"; o=; } ;; esac; done\necho "$1 $n" >> "%s"\n' "$t/counted" > "$t/stub/mert-tensor"
    cp "$t/stub/mert-tensor" "$t/stub/mert-kmeans"; chmod +x "$t/stub"/*
    printf '%s\n' "$d" > "$d/train.tsv"; cp "$d/train.tsv" "$d/valid.tsv"
    : > "$d/.settings.pcm"; : > "$d/.settings.features-features"; : > "$d/.settings.kmeans"
    seq -f "$d/shards/train.%05g.tsv" 0 2999 | xargs touch; touch "$d/shards/valid.00000.tsv"
    for f in "$d"/shards/*.tsv; do f=${f##*/}; echo "$d/pcm/${f%.tsv}.mts"; done | xargs touch
    for f in "$d"/shards/*.tsv; do f=${f##*/}; echo "$d/features/features/${f%.tsv}.mts"; done | xargs touch
    raw HELD=yes SCANNED=yes AUDIO="$t/music" OUT="$d" BIN="$t/stub/" "$d/kmeans.safetensors" && [ -e "$d/kmeans.safetensors" ] || return 1
    for f in "$d"/shards/*.tsv; do f=${f##*/}; echo "$d/codes/kmeans/${f%.tsv}.mts"; done | xargs touch
    raw HELD=yes SCANNED=yes AUDIO="$t/music" OUT="$d" BIN="$t/stub/" labels
    [ "$(grep -c 'train 3000$' "$t/counted")" -eq 1 ] && [ "$(grep -c 'gather 3000$' "$t/counted")" -eq 1 ]
}
check "three thousand parts" many
