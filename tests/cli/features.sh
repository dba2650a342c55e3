# pipelines/features: the numbers of one pipe over all files, and only what is new; names, settings, the lock, kill -9, files that fail.
. tests/shell
t=$TEST_TMP
m=$golden/mert2-small
features() { sh pipelines/features "$m" "${music:-$t/music}" "$@" 2> "$t/said.features" || { s=$?; cat "$t/said.features" >&2; return $s; }; }
direct() { mert-decode "$t"/music/*/*.wav | mert-encode -m "$m" "$@"; }
tree() { (cd "$t/$1" && find . -type f ! -name .lock ! -name files.tsv | LC_ALL=C sort); }
same() { # all that a run leaves, but for its lock and the list with times
    tree whole > "$t/a"; tree "$1" > "$t/b"
    cmp "$t/a" "$t/b" || return
    while IFS= read -r f; do cmp "$t/whole/$f" "$t/$1/$f" || return; done < "$t/a"
}
newer() { (cd "$t/$1" && find npy all.npy index.tsv -type f -newer "$t/mark" | LC_ALL=C sort | tr '\n' ' '); }
wavs "$t/music" 0 12

# ---- the numbers ----

whole() {
    JOBS=3 features "$t/whole" --pool mean && direct --pool mean | mert-tensor to-npy -o "$t/all.npy" --join && cmp "$t/all.npy" "$t/whole/all.npy" &&
        (cd "$t/music" && find . -name '*.wav') | sed 's,^./,,' | LC_ALL=C sort | cmp - "$t/whole/all.keys"
}
check "one array of all, by three processes" whole
one() { mert-decode "$t/music/00/0003.wav" | mert-encode -m "$m" --pool mean | mert-tensor to-npy -o "$t/one.npy" && cmp "$t/one.npy" "$t/whole/npy/00/0003.wav.npy"; }
check "and one of each file" one
table() {
    head -n 1 "$t/whole/index.tsv" | grep -qx "key	file	seconds	frames" && cut -f 1 "$t/whole/index.tsv" | sed 1d | cmp - "$t/whole/all.keys" &&
        sed 1d "$t/whole/index.tsv" | cut -f 2 | while read -r f; do [ -s "$t/whole/$f" ] || return 1; done &&
        awk -F '\t' 'NR == FNR { if (NR > 1) seconds[$1] = sprintf("%.3f", $2 / 24000); next } FNR > 1 && ($3 != seconds[$1] || $4 != 1) { exit 1 }' "$t/whole/.features/manifest/train.tsv" "$t/whole/index.tsv"
}
check "the table has each, its length and its frames" table
alone() { JOBS=1 features "$t/alone" --pool=mean && same alone; }
check "one process makes the same bytes" alone
frames() {
    features "$t/frames" --layers 1-2 --format f16 && direct --layers 1,2 --dtype f16 | mert-tensor to-npy -d "$t/frames.npy" --tree --index "$t/frames.tsv" && [ ! -e "$t/frames/all.npy" ] || return
    for f in "$t"/music/*/*.wav; do cmp "$t/frames.npy/%2F${f#/}.npy" "$t/frames/npy/${f#"$t/music/"}.npy" || return; done
    sed 1d "$t/frames/index.tsv" | cut -f 4 | sort > "$t/a"; cut -f 3 "$t/frames.tsv" | sort | cmp - "$t/a"
}
check "frames of some layers, of half the size" frames
spans() { features "$t/spans" --pool mean,std --span 0.1 --window 8/25 && direct --pool mean,std --span 0.1 --window 8/25 | mert-tensor to-npy -d "$t/spans.npy" --tree && cmp "$t/spans.npy/%2F${t#/}/music/00/0007.wav.npy" "$t/spans/npy/00/0007.wav.npy" && [ ! -e "$t/spans/all.npy" ]; }
check "spans, statistics and windows" spans
mert-model init -q --recipe pipelines/recipes/tiny --seed 1 -o "$t/m16"
rate() { sh pipelines/features "$t/m16" "$t/music" "$t/r16" --pool mean && grep -qx rate=16000 "$t/r16/settings.txt" && mert-decode --rate 16000 "$t"/music/*/*.wav | mert-encode -m "$t/m16" --pool mean | mert-tensor to-npy -o "$t/all.npy" --join && cmp "$t/all.npy" "$t/r16/all.npy"; }
check "audio at the model's rate" rate
packed() { mert-model convert -q --to packed -m "$m" -o "$t/packed" && sh pipelines/features "$t/packed" "$t/music" "$t/p" --pool mean && same p; }
check "a packed model is the same model" packed

# ---- only what is new ----

touch "$t/mark"; sleep 0.01
nothing() { features "$t/alone" --pool mean && [ -z "$(newer alone)" ] || { newer alone; return 1; }; }
check "nothing new, nothing done" nothing
wavs "$t/other" 20 24
added() { mkdir -p "$t/music/x" && cp "$t/other/02/0020.wav" "$t/music/x/" && features "$t/alone" --pool mean && [ "$(newer alone)" = 'all.npy index.tsv npy/x/0020.wav.npy ' ] || { newer alone; return 1; }; }
check "a file more is one more" added
changed() { touch "$t/mark"; sleep 0.01; cp "$t/other/02/0021.wav" "$t/music/x/0020.wav" && features "$t/alone" --pool mean && [ "$(newer alone)" = 'all.npy index.tsv npy/x/0020.wav.npy ' ] || { newer alone; return 1; }; }
check "one that was changed is made again" changed
lost() { rm "$t/alone/npy/00/0005.wav.npy" && features "$t/alone" --pool mean && cmp "$t/whole/npy/00/0005.wav.npy" "$t/alone/npy/00/0005.wav.npy"; }
check "an array that is lost, too" lost
gone() { rm -r "$t/music/x" && features "$t/alone" --pool mean && [ ! -e "$t/alone/npy/x" ] && same alone; }
check "what is gone leaves nothing" gone

# ---- settings ----

check_fails "another setting is refused" 2 'alone was made with pool=mean, not pool=max: name another OUT, or --anew makes all again' features "$t/alone" --pool max
check_fails "another folder is" 2 'alone was made with folder=.*music, not folder=.*other: name another OUT, or --anew takes away' sh pipelines/features "$m" "$t/other" "$t/alone" --pool mean
check "and nothing was touched" same alone
anew() { features "$t/anew" --pool max --ext wav && features "$t/anew" --pool mean --anew && same_but_settings anew; }
same_but_settings() { cmp "$t/whole/all.npy" "$t/$1/all.npy" && cmp "$t/whole/index.tsv" "$t/$1/index.tsv" && cmp "$t/whole/settings.txt" "$t/$1/settings.txt"; }
check "--anew makes all again" anew
moved() { cp -R -p "$t/music" "$t/moved" && touch "$t/mark" && sleep 0.01 && music=$t/moved features "$t/anew" --pool mean --anew && [ -z "$(newer anew)" ] || { newer anew; return 1; }; }
check "but not the features of the same files elsewhere" moved
mkdir "$t/precious"; echo mine > "$t/precious/index.tsv"
check_fails "a folder that is somebody else's" 2 'precious/index.tsv is there, and was not made by this program' features "$t/precious"
untouched() { [ "$(ls -A "$t/precious")" = index.tsv ] && [ "$(cat "$t/precious/index.tsv")" = mine ]; }
check "is left as it is" untouched
refused() { check_fails "refused: $1" 2 "$2" sh pipelines/features "$m" "$t/music" "$t/no" "$@"; }
refused --layers=9 'mert-encode: --layers: 9 is outside 0 to 3'
refused --pool=median "--pool: 'median' is neither"
refused --bogus=1 "no such option '--bogus'"
refused --layers "option '--layers' needs a value"
refused --pool= '--pool: nothing is given'
refused --format=f64 "--format: f32 or f16, not 'f64'"
refused more "'more': one operand too many"
check_fails "a newline" 2 'a newline in what was given' features "$t/no
"
check_fails "an OUT like an option" 2 "'-x' begins like an option" features -- -x
check_fails "the home folder, not put in" 2 "'~/x': the shell has not" features '~/x'
check_fails "no model" 1 'nomodel: No such file' sh pipelines/features "$t/nomodel" "$t/music" "$t/no"
check_fails "no music" 1 'nothere: no such folder' sh pipelines/features "$m" "$t/nothere" "$t/no"
for v in MAX_FAILED=all MAX_FAILED=101% SALVAGE=maybe JOBS=two JOBS=0; do check_fails "refused: $v" 2 "${v%%=*}: " env "$v" sh pipelines/features "$m" "$t/music" "$t/no"; done
made_nothing() { [ ! -e "$t/no" ]; }
check "none of these made anything" made_nothing
printf '#!/bin/sh\necho "Filesystem 1024-blocks Used Available"; echo "x 1 1 0 100%% /"\n' > "$t/df"; mkdir "$t/small"; mv "$t/df" "$t/small/"; chmod +x "$t/small/df"
check_fails "too little room is said before" 1 'about 0.0 GB will be written, and there are 0.0 in .*: --pool mean, fewer' env PATH="$t/small:$PATH" sh pipelines/features "$m" "$t/music" "$t/room"

page() { # its options and those of the page
    sh pipelines/features --help | grep -oE -- '--[a-z]+' | sort -u > "$t/a"
    { sed -n 's/^\.It //p' man/mert-features.1 | grep -oE 'Fl Fl [a-z]+' | sed 's/Fl Fl /--/'; } | grep -v -- --help | sort -u | cmp - "$t/a"
}
check "the page has its options" page

# ---- names ----

odd="o'dd \"\$HOME\$(touch ran)\`touch ran\`;&#%:*?[\\~(|=,  x"
names() (
    mkdir -p "$t/$odd/Björk/日本 & co" "$t/$odd/-n" && cp "$t/other/02/0020.wav" "$t/$odd/Björk/日本 & co/01 - Jóga (50%) .wav" &&
        cp "$t/other/02/0021.wav" "$t/$odd/$odd.wav" && cp "$t/other/02/0022.wav" "$t/$odd/-n/-x.wav" && cp "$t/other/02/0023.wav" "$t/$odd/$(printf 'latin\351').wav" || return
    music=$t/$odd JOBS=1 features "$t/out of $odd" --pool mean && cd "$t/out of $odd" && [ "$(wc -l < all.keys)" -eq 4 ] &&
        [ -s "npy/Björk/日本 & co/01 - Jóga (50%25) .wav.npy" ] && [ -s npy/-n/-x.wav.npy ] && [ -s npy/latin%E9.wav.npy ] && [ -s "npy/$(printf %s "$odd" | sed 's/%/%25/g').wav.npy" ] &&
        sed 1d index.tsv | cut -f 2 | while IFS= read -r f; do [ -s "$f" ] || return 1; done && [ ! -e ran ] && [ ! -e "$t/ran" ] && [ ! -e "$OLDPWD/ran" ]
)
check "names are what they are, and nothing in them is run" names

# ---- one at a time; killed ----

within() { n=0; until "$@"; do sleep 0.1; n=$((n + 1)); [ $n -lt 1200 ] || return 1; done; }
mkfifo "$t/hold"
sh pipelines/hold features "$t/alone" sh -c 'echo > "$1/is"; read -r _ < "$1/hold"' - "$t" & holder=$!
within test -e "$t/is"
check_fails "a second run is refused" 2 "features: $t/alone: in use by process $holder on $(uname -n): wait for it, or end it" features "$t/alone" --pool mean
echo > "$t/hold"; wait $holder
# All of it at once, as a power cut; and the first process alone, whose batches go on.
killed() {
    for i in 1 2 3 4; do
        d=$t/killed$((i % 2)); [ $i -gt 2 ] || rm -rf "$d"
        JOBS=2 setsid sh pipelines/features "$m" "$t/music" "$d" --pool mean 2> "$t/said" & top=$!
        sleep "$(awk -v i=$i 'BEGIN { srand(i); rand(); printf "%.3f", 0.1 + 0.9 * rand() }')"
        if [ $i -le 2 ]; then kill -9 -- -$top; else kill -9 $top; fi 2> "$t/said"
        wait $top 2> "$t/said"
        [ ! -e "$d/.lock" ] || within flock -n "$d/.lock" true || return
    done
    for i in 0 1; do features "$t/killed$i" --pool mean && same killed$i || return; done
}
check "killed at four moments, it goes on to the same bytes" killed
# A program that ends badly stops the run, and the next run goes on.
mkdir "$t/bin"; for p in "$OUT"/bin/mert-*; do ln -s "$p" "$t/bin/"; done
rm "$t/bin/mert-encode"; printf '#!/bin/sh\ncase "$*" in *jobs*|*--threads*-m*|*-m*--threads*) [ ! -e "%s/fail" ] || kill -9 $$ ;; esac\nexec "%s/bin/mert-encode" "$@"\n' "$t" "$OUT" > "$t/bin/mert-encode"; chmod +x "$t/bin/mert-encode"
dies() { : > "$t/fail"; BIN=$t/bin/ features "$t/dies" --pool mean > "$t/out.dies" 2> "$t/said"; s=$?; rm "$t/fail"; [ $s -ne 0 ] && [ ! -e "$t/dies/index.tsv" ] && features "$t/dies" --pool mean && same dies; }
check "a program that dies ends the run, and the next one goes on" dies

# ---- files that fail ----

echo broken > "$t/music/00/broken.mp3"; head -c 4000 "$t/music/00/0001.wav" > "$t/music/00/cut.wav"
fails() { features "$t/fails" --pool mean 2> "$t/said"; [ $? -eq 1 ] && grep -q '^mert-manifest: 00/broken.mp3: ' "$t/said" && grep -q '^mert-manifest: 00/cut.wav: ' "$t/said" && grep -q '^features: some files have no features; MAX_FAILED=' "$t/said" && cmp "$t/fails/all.npy" "$t/whole/all.npy"; }
check "files that fail are named, the others made, and the status is 1" fails
allowed() { MAX_FAILED=2 features "$t/fails" --pool mean && MAX_FAILED=20% features "$t/fails" --pool mean; }
check "MAX_FAILED allows them" allowed
salvaged() { SALVAGE=yes MAX_FAILED=1 features "$t/salvaged" --pool mean && [ "$(wc -l < "$t/salvaged/all.keys")" -eq 13 ] && grep -q cut.wav "$t/salvaged/all.keys"; }
check "SALVAGE takes what plays" salvaged
rm "$t/music/00/broken.mp3" "$t/music/00/cut.wav"
short() { # decodes, and is too short for the model
    ffmpeg -loglevel error -i "$t/music/00/0001.wav" -ss 0 -t 0.02 "$t/music/00/short.wav" < /dev/null || return
    features "$t/alone" --pool mean 2> "$t/said"; [ $? -eq 1 ] && grep -q 'mert-encode: 00/short.wav: ' "$t/said" && [ "$(wc -l < "$t/alone/all.keys")" -eq 12 ] && MAX_FAILED=1 features "$t/alone" --pool mean 2> "$t/said"
}
if command -v ffmpeg > /dev/null; then check "a file that the model cannot take, too" short; else skip "a file that the model cannot take, too" "no program ffmpeg"; fi
