# mert-manifest: lengths agree with mert-decode; order and choice of files are stable; files that are left out are
# named.
. tests/shell
t=$TEST_TMP
m=$t/music
make_audio() { ffmpeg -nostdin -v error -y "$@"; }
mkdir -p "$m/b/deep" "$m/a b"
make_audio -f lavfi -i 'aevalsrc=0.3*sin(2*PI*(200+400*t)*t)|0.3*sin(2*PI*(900-90*t)*t):s=44100:d=2.2' "$m/b/1.wav" "$m/b/deep/2.flac" \
    -c:a libmp3lame "$m/a b/3.MP3" -c:a libvorbis "$m/Z.ogg" -c:a libopus "$m/4.opus" -c:a aac "$m/ä.m4a" -ar 8000 -ac 1 "$m/low.flac" \
    -ar 96000 -c:a pcm_f32le "$m/float.wav" -c:a pcm_s24le "$m/deep.wav"
ln -s ../b "$m/b/loop"
ln -s b "$m/c"
echo text > "$m/notes.txt"
root=$(cd "$m" && pwd -P)

check "writes both manifests" mert-manifest --out "$t/made/new" --valid-percent 0 "$m"
expected() {
    printf '%s\n' "$root" 4.opus Z.ogg 'a b/3.MP3' b/1.wav b/deep/2.flac c/1.wav c/deep/2.flac deep.wav float.wav low.flac ä.m4a > "$t/expected"
    cut -f 1 "$t/made/new/train.tsv" | cmp - "$t/expected" && echo "$root" | cmp - "$t/made/new/valid.tsv"
}
check "root, then paths in the order of their bytes, links followed but not in circles" expected
decodes() { mert-decode --manifest "$t/made/new/train.tsv" > "$t/all.mts" && [ "$(mert-tensor ls "$t/all.mts" | grep -c pcm)" -eq 11 ]; }
check "every row decodes to its count" decodes
length() { [ "$(awk -F'\t' '$1 == "b/deep/2.flac" { print $2 }' "$t/made/new/train.tsv")" -eq 52800 ]; }
check "2.2 s at 24 kHz are 52800 samples" length
same() { mert-manifest --out "$t/other" --valid-percent 0 "$@" "$m" 2> "$t/note" && cmp "$t/made/new/train.tsv" "$t/other/train.tsv"; }
check "counting by decoding alone gives the same" same --verify
check "and one thread" same --threads 1
check "and five" same --threads 5
rated() { mert-manifest --out "$t/r" --valid-percent 0 --rate 16000 "$m" && mert-decode --rate 16000 --manifest "$t/r/train.tsv" > "$t/x"; }
check "counts at another rate" rated
wrong_rate() { check_fails "$1" 1 '4.opus: the manifest says 35200 samples, decoded at 24000 Hz there are 52800' \
    sh -c "mert-decode --fail-fast --manifest $t/r/train.tsv 2>&1 > $t/x | head -n 1 >&2; exit 1"; }
wrong_rate "a manifest for another rate is noticed"
headers() { mert-manifest --from-headers --out "$t/h" --valid-percent 0 "$m" 2> "$t/note" && grep -q estimate "$t/note" && [ "$(grep -c . "$t/h/train.tsv")" -eq 12 ] &&
    awk -F'\t' 'NR > 1 && ($2 < 52000 || $2 > 54000) { bad = 1 } END { exit bad }' "$t/h/train.tsv"; }
check "--from-headers estimates, and says so" headers
ext() { mert-manifest --out "$t/e" --ext .FLAC,mp3 --valid-percent 0 "$m" && [ "$(sed 1d "$t/e/train.tsv" | cut -f 1 | tr '\n' ' ')" = 'a b/3.MP3 b/deep/2.flac c/deep/2.flac low.flac ' ]; }
check "--ext chooses by ending, in any case" ext

# ---- the fraction for validation ----

mkdir -p "$t/many"
i=0; while [ $i -lt 200 ]; do ln -s "$m/low.flac" "$t/many/$i.flac"; i=$((i + 1)); done
split() { mert-manifest --out "$t/$1" --valid-percent 20 --seed "$2" "$t/many"; }
share() { split s 1 && n=$(grep -c flac "$t/s/valid.tsv") && [ $n -gt 20 ] && [ $n -lt 60 ] && [ $((n + $(grep -c flac "$t/s/train.tsv"))) -eq 200 ] &&
    [ -z "$(cat "$t/s/train.tsv" "$t/s/valid.tsv" | grep flac | sort | uniq -d)" ]; }
check "about every fifth file, each in one of both" share
other_seed() { split s2 2 && ! cmp -s "$t/s/valid.tsv" "$t/s2/valid.tsv"; }
check "another seed, another choice" other_seed
stable() {
    cp -R "$t/s" "$t/before"
    i=200; while [ $i -lt 230 ]; do ln -s "$m/low.flac" "$t/many/$i.flac"; i=$((i + 1)); done
    split s 1 && sed 1d "$t/before/valid.tsv" | while read -r row; do grep -qxF "$row" "$t/s/valid.tsv" || echo moved; done > "$t/moved"
    sed 1d "$t/before/train.tsv" | while read -r row; do grep -qxF "$row" "$t/s/train.tsv" || echo moved; done >> "$t/moved"
    [ ! -s "$t/moved" ] && [ "$(cat "$t/s/train.tsv" "$t/s/valid.tsv" | grep -c flac)" -eq 230 ]
}
check "files that are added move none" stable

# ---- shards ----

by_hours() { # 200 files of 2.2 s are 440 s; shards of at most 44 s are 10 or a few more, and with 0 there is one
    mkdir "$t/long" && i=0 && while [ $i -lt 200 ]; do ln -s "$m/low.flac" "$t/long/$i.flac"; i=$((i + 1)); done
    mert-manifest --out "$t/hours" --valid-percent 0 --shards 1 --shard-hours "$1" "$t/long" && ls "$t/hours/shards" > "$t/shards" && n=$(grep -c . "$t/shards") && echo "$n shards" && [ "$n" -ge "$2" ] && [ "$n" -le "$3" ] || return
    cat "$t"/hours/shards/*.tsv | grep -c '^[0-9]*[.]flac' | grep -qx 200; n=$?; rm -r "$t/long" "$t/hours"; return $n
}
check "--shard-hours: as many shards as that takes" by_hours 0.012222222 10 14
check "--shard-hours 0: no limit" by_hours 0 1 1

# ---- files that are left out ----

faulty=$t/faulty
mkdir -p "$faulty"
cp "$m/low.flac" "$faulty/good.flac"
tab=$(printf 'a\tb.flac') line=$(printf 'a\nb.flac')
cp "$m/low.flac" "$faulty/$tab"
cp "$m/low.flac" "$faulty/$line"
head -c 12000 "$m/low.flac" > "$faulty/cut.flac"
head -c 90000 "$m/b/1.wav" > "$faulty/cut.wav"
echo text > "$faulty/text.mp3"
: > "$faulty/empty.ogg"
ln -s nowhere "$faulty/dangling.wav"
left_out() {
    mert-manifest --out "$t/b" --valid-percent 0 "$faulty" 2> "$t/err"; [ $? -eq 1 ] || return
    cat "$t/err"
    [ "$(grep -c . "$t/err")" -eq 7 ] && [ "$(sed 1d "$t/b/train.tsv" | cut -f 1)" = good.flac ] &&
        grep -q 'cut.flac: fault at' "$t/err" && grep -q 'cut.wav: fault at.*promises' "$t/err" && grep -q 'text.mp3: ' "$t/err" &&
        grep -q 'empty.ogg: is empty' "$t/err" && grep -q 'dangling.wav: No such file' "$t/err" && [ "$(grep -c 'its name has a tab or a line end' "$t/err")" -eq 2 ]
}
check "what cannot be counted or named is left out, each in a line, exit 1" left_out
allowed() { mert-manifest --max-failed 7 --out "$t/b" "$faulty" 2> "$t/err"; }
check "--max-failed allows it" allowed
salvage() { rm "$faulty/$tab" "$faulty/$line" "$faulty/text.mp3" "$faulty/empty.ogg" "$faulty/dangling.wav"; mert-manifest --salvage --out "$t/b" --valid-percent 0 "$faulty" &&
    [ "$(grep -c . "$t/b/train.tsv")" -eq 4 ] && mert-decode --salvage --manifest "$t/b/train.tsv" > "$t/x" 2> "$t/err" && [ "$(grep -c 'kept the first' "$t/err")" -eq 2 ]; }
check "--salvage counts what decodes" salvage
tar_only() { mkdir -p "$t/tars" && head -c 100 /dev/zero > "$t/tars/cut.tar" && ! mert-manifest --tar --out "$t/n" "$t/tars" 2> "$t/said" && sed 1d "$t/said" > "$t/last" && grep -q "tars: nothing that could be listed$" "$t/last" && [ ! -e "$t/n" ]; }
check "nothing but a damaged tar file" tar_only
check_fails "nothing found" 1 "no files ending in" mert-manifest --out "$t/n" --ext xyz "$m"
check_fails "no root" 1 "absent: No such file" mert-manifest --out "$t/n" "$t/absent"
check_fails "a place that cannot be written to" 1 "Not a directory|cannot make" mert-manifest --out "$m/low.flac/x" "$faulty" --salvage
check_fails "no --out" 2 '--out DIR is needed' mert-manifest "$m"
check_fails "two roots" 2 'one root' mert-manifest --out "$t/n" "$m" "$faulty"
