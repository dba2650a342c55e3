# Text files of various editors and programs: byte order marks, line ends, blanks, absolute paths.
. tests/shell
t=$TEST_TMP
tab=$(printf '\t')
mark=$(printf '\357\273\277')
mkdir -p "$t/music/sub"
ffmpeg -nostdin -v error -y -f lavfi -i "sine=300:sample_rate=8000:duration=0.25" -c:a pcm_s16le "$t/music/a.wav" || exit 1
cp "$t/music/a.wav" "$t/music/ blanks .wav"
keys() { mert-decode --rate 8000 --manifest "$1" | mert-tensor ls | cut -f 2; }

# ---- manifests ----
marked() { printf '%s%s\r\na.wav\t2000 \r\n' "$mark" "$t/music" > "$t/m.tsv"; [ "$(keys "$t/m.tsv")" = a.wav ]; }
check a_byte_order_mark_is_passed_over marked
absolute() { printf '/\n%s\t2000\n' "$t/music/a.wav" > "$t/m.tsv"; [ "$(keys "$t/m.tsv")" = "$t/music/a.wav" ]; }
check absolute_paths_below_the_root absolute
beside() { printf '/nowhere\n%s\t2000\n' "$t/music/a.wav" > "$t/m.tsv"; [ "$(keys "$t/m.tsv")" = "$t/music/a.wav" ]; }
check absolute_paths_stand_for_themselves beside
blanks() { printf '%s\n blanks .wav\t2000' "$t/music" > "$t/m.tsv"; mert-decode --rate 8000 --manifest "$t/m.tsv" | mert-tensor check; }
check blanks_belong_to_a_path blanks
wide() { printf '\377\376/\0' > "$t/m.tsv"; mert-decode --rate 8000 --manifest "$t/m.tsv" > /dev/null; }
check_fails utf_16_is_named 1 "$t/m.tsv: a text in UTF-16" wide
absent() { printf '%s/music\nno.wav\t5\n' "$t" > "$t/m.tsv"; mert-decode --manifest "$t/m.tsv" > /dev/null; }
check_fails a_file_that_is_not_there_is_named_whole 1 "$t/music/no.wav: No such file" absent

# ---- recipes ----
printf '%sencoder_layers = 2\r\nencoder_embed_dim = 48 # narrow\r\nseed = 5' "$mark" > "$t/marked.recipe"
printf 'encoder_layers = 2\nencoder_embed_dim = 48 # narrow\nseed = 5\n' > "$t/plain.recipe"
recipes() { for r in marked plain; do mert-train --recipe "$t/$r.recipe" --print-recipe > "$t/$r.out" || return 1; done; cmp "$t/marked.out" "$t/plain.out"; }
check recipes_from_another_editor recipes

# ---- tables ----
for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do
    echo "i$i $((i % 3)) $((i % 2)) 1 $((i % 3)) 0 1" >> "$t/items"
    printf 'i%d\tc%d\n' $i $((i % 3)) >> "$t/table"
done
text-stream mfcc 1 2 10 < "$t/items" > "$t/items.mts"
probe() { mert-probe -q --seeds 1 --folds 3 --labels "$1" "$t/items.mts" > "$2"; }
edited() {
    { printf %s "$mark"; sed '3s/$/ /; 5s/\t/\t /; s/$/\r/' "$t/table"; } > "$t/edited"
    probe "$t/table" "$t/plain.out" && probe "$t/edited" "$t/edited.out" && cmp "$t/plain.out" "$t/edited.out"
}
check blanks_make_no_class_of_their_own edited

# ---- git-lfs pointers and web pages in place of a file ----

printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 12345\n' 0 > "$t/pointer"
printf '\n<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>\n' > "$t/page"
printf '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>' > "$t/denied"
mert-model init -q --recipe tiny -o "$t/stood"
mert-model init -q --recipe tiny -o "$t/configured"
as() { # NAME COMMAND...: each of the three under that name
    as=$1; shift
    for what in pointer page denied; do
        cp "$t/$what" "$as"; "$@" > "$t/now.said" 2> "$t/err"; rc=$?
        case $what in pointer) why='this is a git-lfs pointer of 12345 bytes; fetch the file with git lfs pull$' ;; *) why='this is a web page, perhaps of an error, saved under this name; fetch the file again$' ;; esac
        [ $rc -eq 1 ] && [ "$(wc -l < "$t/err")" -eq 1 ] && grep "$(basename "$as"): " "$t/err" | grep -q "$why" || { echo "$what: exit $rc"; cat "$t/err"; return 1; }
    done
}
check "as a model" as "$t/stood/model.safetensors" mert-model info "$t/stood"
check "as a configuration" as "$t/configured/config.json" mert-model info "$t/configured"
check "as a codebook" as "$t/x.km" mert-kmeans assign -m "$t/x.km" "$t/items.mts"
check "as audio" as "$t/x.wav" mert-decode "$t/x.wav"
counted() { mert-manifest -q --out "$t/counted" "$t/found"; }
mkdir -p "$t/found"; cp "$t/music/a.wav" "$t/found/"
check "as audio to be counted" as "$t/found/x.wav" counted
check "as an array" as "$t/x.npy" mert-tensor from-npy --kind mel "$t/x.npy"
check "as a manifest" as "$t/x.tsv" mert-decode --manifest "$t/x.tsv"
check "as labels" as "$t/x.labels" mert-tensor from-labels "$t/x.labels"
check "as a table" as "$t/x.table" mert-probe -q --labels "$t/x.table" "$t/items.mts"
check "as a recipe" as "$t/x.recipe" mert-train --print-recipe --recipe "$t/x.recipe"

# ---- every kind of text, every variant ----

# Equal contents: with a byte order mark, with CR LF, without the last line end, with all of these; with ignored blanks.
alike() { # HOW < plain
    case $1 in
    mark) printf %s "$mark"; cat ;;
    crlf) sed 's/$/\r/' ;;
    unended) awk 'NR > 1 {print line} {line = $0} END {printf "%s", line}' ;;
    all) printf %s "$mark"; awk 'NR > 1 {printf "%s\r\n", line} {line = $0} END {printf "%s", line}' ;;
    blanks) sed 's/^/ /; s/$/ \t/' ;;
    esac
}
# Different contents: UTF-16 and UTF-32 with their marks, a CR or a NUL byte inside the second line.
unlike() { # HOW < plain
    case $1 in
    utf16le) printf '\377\376'; sed 's/./&@/g; s/$/\r@/' | tr '@\n' '\0\n' ;;
    utf16be) printf '\376\377'; sed 's/./@&/g' | tr @ '\0' ;;
    utf32le) printf '\377\376\0\0'; sed 's/./&@@@/g' | tr @ '\0' ;;
    utf32be) printf '\0\0\376\377'; sed 's/./@@@&/g' | tr @ '\0' ;;
    cr) sed '2s/./&\r/' ;;
    nul) sed '2s/./&@/' | tr @ '\0' ;;
    esac
}
# KIND FILE 'EQUAL VARIANTS' 'REFUSED VARIANTS' COMMAND...: compares the command's output for each, or expects one line
# that names the file
grid() {
    kind=$1 file=$2 same=$3 refused=$4; shift 4
    cp "$file" "$t/plain.text"
    "$@" > "$t/plain.said" 2> "$t/err" && [ -s "$t/plain.said" ] || { echo "$kind: the plain one fails"; cat "$t/err"; return 1; }
    for how in $same; do
        alike "$how" < "$t/plain.text" > "$file"; "$@" > "$t/now.said" 2> "$t/err" || { echo "$kind, $how: refused"; cat "$t/err"; return 1; }
        cmp "$t/plain.said" "$t/now.said" || { echo "$kind, $how: another answer"; return 1; }
    done
    for how in $refused; do
        case $how in utf16*) why='UTF-16' ;; utf32*) why='UTF-32' ;; cr) why=':2: a carriage return|line 2.*carriage return|:2:[0-9]*: .* is no(ne| label)' ;; nul) why=':2: a NUL byte|NUL|:2:[0-9]*: .* is no(ne| label)|not a list' ;; esac
        unlike "$how" < "$t/plain.text" > "$file"; "$@" > "$t/now.said" 2> "$t/err"; rc=$?
        [ $rc -ne 0 ] && [ $rc -lt 128 ] && [ "$(wc -l < "$t/err")" -eq 1 ] && grep -F "$file" "$t/err" | grep -qE -- "$why" || { echo "$kind, $how: exit $rc"; cat "$t/err"; return 1; }
    done
    cp "$t/plain.text" "$file"
}
each='mark crlf unended all'
wide='utf16le utf16be utf32le utf32be'
printf '%s\na.wav\t2000\nsub/../a.wav\t2000\n' "$t/music" | sed 's,sub/../a,b,' > "$t/g.tsv"; cp "$t/music/a.wav" "$t/music/b.wav"
listed() { mert-decode --rate 8000 --manifest "$1" > "$t/g.mts" && mert-tensor ls "$t/g.mts"; }
check "manifests" grid manifest "$t/g.tsv" "$each" "$wide cr nul" listed "$t/g.tsv"
printf '1 2 3\n0 11 2\n3 3\n' > "$t/train.km"; printf 'classes=16\nframe_rate=50/1\nrows=3\n' > "$t/train.km.meta"
codes() { mert-tensor from-labels -q "$t/train.km" > "$t/codes.mts" && mert-tensor text "$t/codes.mts"; }
check "labels" grid labels "$t/train.km" "mark crlf blanks" "$wide cr nul" codes
check "what says what labels are" grid meta "$t/train.km.meta" "$each blanks" "$wide cr nul" codes
sed -i 's/$/ /' "$t/train.km"; rm "$t/train.km.meta"; printf '%d 1\n' 0 1 2 3 11 > "$t/dict.km.txt"
counts() { mert-tensor from-labels -q --frame-rate 50/1 "$t/train.km" > "$t/codes.mts" 2> "$t/note"; rc=$?; grep -v unverified "$t/note" >&2; [ $rc -eq 0 ] && mert-tensor text "$t/codes.mts"; }
check "labels with a dictionary" grid labels "$t/train.km" "$each blanks" "$wide cr nul" counts
check "dictionaries" grid dictionary "$t/dict.km.txt" "$each blanks" "$wide cr nul" counts
check "tables of items" grid table "$t/table" "$each" "$wide cr nul" probe "$t/table" /dev/stdout
{ printf 'key\tstart\tend\tgroup\tsplit\tlabel\n'; for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17; do
    case $((i % 6)) in 4) part=valid ;; 5) part=test ;; *) part=train ;; esac
    printf 'i%d\t0\t0.2\tg%d\t%s\tc%d\n' $i $i $part $((i % 3)); done; } > "$t/spans"
check "tables of spans, groups and splits" grid spans "$t/spans" "$each" "$wide cr nul" probe "$t/spans" /dev/stdout
for part in train valid test; do
    { echo /nowhere; awk -F'\t' -v p=$part '$5 == p {print $1 "\t9"}' "$t/spans"; } > "$t/$part.tsv"
done
parted() { mert-probe -q --seeds 1 --labels "$t/table" --train "$t/train.tsv" --valid "$t/valid.tsv" --test "$t/test.tsv" "$t/items.mts"; }
check "the manifests of a split" grid split "$t/test.tsv" "$each" "$wide cr nul" parted
check "recipes of every kind" grid recipe "$t/plain.recipe" "$each blanks" "$wide cr nul" mert-train --print-recipe --recipe "$t/plain.recipe"
mert-model init -q --recipe tiny -o "$t/model"
for f in config preprocessor_config; do sed -i '1s/{/{"mert_edited": true,/' "$t/model/$f.json"; done
check "config.json" grid configuration "$t/model/config.json" "$each blanks" "$wide nul" mert-model info "$t/model"
check "preprocessor_config.json" grid preprocessor "$t/model/preprocessor_config.json" "$each blanks" "$wide nul" mert-model info "$t/model"
mert-decode -q --rate 16000 "$t/music/a.wav" > "$t/a.mts"
layers=$(sed -n 's/.*"num_hidden_layers": *\([0-9]*\).*/\1/p' "$t/model/config.json")
seq 1 $((layers + 1)) > "$t/weights"
mixed() { mert-encode -q -m "$t/model" --layers all --weights "$t/weights" "$t/a.mts"; }
check "weights of layers" grid weights "$t/weights" "$each blanks" "$wide nul" mixed
